/*
 * Where the recordings are: those that travel with the source are unpacked
 * into the build folder (tests/fixtures/README.md), third-party ones are in
 * ../shared and may be missing.
 */
#ifndef TDSYNC_TESTS_FIXTURE_H
#define TDSYNC_TESTS_FIXTURE_H

#include "base/fs.h"
#include "base/json.h"

#include <check.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define FIXTURE_PATH 1024

/* Find a recording; false when it is in neither place. */
static inline bool
fixture_find(const char *name, char out[FIXTURE_PATH])
{
	snprintf(out, FIXTURE_PATH, "%s/tests/fixtures/%s", TOP_BUILDDIR, name);
	if (access(out, R_OK) == 0)
		return true;
	snprintf(out, FIXTURE_PATH, "%s/../shared/fixtures/%s", TOP_SRCDIR, name);
	return access(out, R_OK) == 0;
}

/* Read a recording that must be there. */
static inline void
fixture_read(const char *name, struct buf *out)
{
	char path[FIXTURE_PATH];
	struct err err;

	ck_assert_msg(fixture_find(name, path), "no recording %s", name);
	ck_assert_msg(fs_read(path, 256u << 20, out, &err) == RC_OK, "%s", err.text);
}

/* Copy a recording, so that a test may write to it. */
static inline void
fixture_copy(const char *name, const char *to)
{
	struct buf b = { 0 };
	FILE *f;

	fixture_read(name, &b);
	f = fopen(to, "wb");
	ck_assert_msg(f != NULL, "%s", to);
	ck_assert(fwrite(b.p, 1, b.len, f) == b.len);
	ck_assert(fclose(f) == 0);
	buf_free(&b);
}

/* Take the next line of a text that holds JSON values; false at its end. */
static inline bool
fixture_line(struct span *rest, struct span *value)
{
	struct err err;

	while (rest->len > 0 && (*rest->p == '\n' || *rest->p == ' ')) {
		rest->p++;
		rest->len--;
	}
	if (rest->len == 0)
		return false;
	ck_assert_msg(json_scan(*rest, JSON_MAX_DEPTH, value, rest, &err) == RC_OK,
	              "%s", err.text);
	return true;
}

#endif
