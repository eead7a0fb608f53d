/* A temporary folder for a test, removed with all it holds. */
#ifndef TDSYNC_TESTS_TEMP_H
#define TDSYNC_TESTS_TEMP_H

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define TEMP_PATH 128

/* Make one; its path goes to out. Aborts when that fails. */
static inline void
temp_make(char out[TEMP_PATH])
{
	const char *base = getenv("TMPDIR");

	snprintf(out, TEMP_PATH, "%s/td-sync-test-XXXXXX", base != NULL ? base : "/tmp");
	if (mkdtemp(out) == NULL) {
		perror(out);
		abort();
	}
}

static inline int
temp_remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static inline void
temp_remove(const char *path)
{
	nftw(path, temp_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

#endif
