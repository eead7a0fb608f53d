/* td's auth.json, see authfile.h. */
#include "client/authfile.h"

#include "base/fs.h"
#include "base/json.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define MAX 65536 /* bytes */

/* Its path. RC_NOT_FOUND: there is no HOME. */
static enum rc
path_of(const char *name, struct buf *out, struct err *err)
{
	const char *home = getenv("HOME");

	if (home == NULL || home[0] == '\0')
		return err_set(err, RC_NOT_FOUND, "HOME is not set, so there is no place for "
		               AUTHFILE);
	buf_reset(out);
	buf_addf(out, "%s/.config%s", home, name);
	return buf_cstr(out) != NULL ? RC_OK : err_set(err, RC_FAULT, "out of memory");
}

static enum rc
file_path(struct buf *out, struct err *err)
{
	return path_of("/td/auth.json", out, err);
}

enum rc
authfile_read(struct buf *text, struct span *object, struct err *err)
{
	struct buf path = { 0 };
	enum rc rc = file_path(&path, err);

	buf_reset(text);
	*object = (struct span){ 0 };
	if (rc == RC_OK)
		rc = fs_read(path.p, MAX, text, err);
	if (rc == RC_OK && (json_scan(buf_span(text), JSON_MAX_DEPTH, object, NULL, NULL) != RC_OK ||
	                    json_type(*object) != JSON_OBJECT)) {
		*object = (struct span){ 0 };
		rc = err_set(err, RC_INVALID, "%s is not a JSON object: move it away, then log in "
		             "again with `td-sync login`", path.p);
	}
	buf_free(&path);
	return rc == RC_NOT_FOUND ? RC_OK : rc;
}

/* --- writing --- */

static bool
is_one(struct span key, const struct authfile_member *members, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (json_string_is(key, members[i].name))
			return true;
	return false;
}

static void
add_member(struct buf *out, struct span key, struct span value)
{
	buf_add_str(out, out->len > 1 ? ",\n  " : "\n  ");
	buf_add_span(out, key);
	buf_add_str(out, ": ");
	buf_add_span(out, value);
}

/* The object with the members in it. */
static void
compose(struct span object, const struct authfile_member *members, size_t n, struct buf *out)
{
	struct span key, value;
	struct buf name = { 0 }, text = { 0 };
	struct json_iter it;

	buf_add_byte(out, '{');
	json_iter_init(&it, object);
	while (json_next(&it, &key, &value))
		if (!is_one(key, members, n))
			add_member(out, key, value);
	for (size_t i = 0; i < n; i++) {
		if (members[i].value == NULL)
			continue;
		buf_reset(&name);
		buf_reset(&text);
		buf_add_json(&name, span_of(members[i].name));
		buf_add_json(&text, span_of(members[i].value));
		add_member(out, buf_span(&name), buf_span(&text));
		out->failed = out->failed || name.failed || text.failed;
	}
	buf_add_str(out, out->len > 1 ? "\n}\n" : "}\n");
	buf_free(&name);
	buf_free(&text);
}

/* Make the folders above it, as td does: for their owner only. */
static enum rc
make_folders(struct err *err)
{
	static const char *const names[] = { "", "/td" };
	struct buf path = { 0 };
	enum rc rc = RC_OK;

	for (size_t i = 0; i < 2 && rc == RC_OK; i++) {
		rc = path_of(names[i], &path, err);
		if (rc == RC_OK && mkdir(path.p, 0700) != 0 && errno != EEXIST)
			rc = err_set(err, RC_UNAVAILABLE, "can't make the folder %s: %s", path.p,
			             strerror(errno));
	}
	buf_free(&path);
	return rc == RC_NOT_FOUND ? RC_INVALID : rc;
}

enum rc
authfile_check(struct err *err)
{
	struct buf path = { 0 }, text = { 0 };
	struct span object;
	char *real = NULL;
	enum rc rc = make_folders(err);

	if (rc == RC_OK)
		rc = authfile_read(&text, &object, err);
	if (rc == RC_OK)
		rc = file_path(&path, err);
	if (rc == RC_OK)
		real = realpath(path.p, NULL); /* where authfile_write() writes */
	if (rc == RC_OK && fs_read_only(real != NULL ? real : path.p))
		rc = err_set(err, RC_UNAVAILABLE, "%s can't be written, and the key is to go there",
		             real != NULL ? real : path.p);
	free(real);
	buf_free(&path);
	buf_free(&text);
	return rc;
}

enum rc
authfile_write(const struct authfile_member *members, size_t n, struct err *err)
{
	struct buf path = { 0 }, text = { 0 }, out = { 0 };
	struct span object;
	char *real = NULL;
	enum rc rc = make_folders(err);

	if (rc == RC_OK)
		rc = authfile_read(&text, &object, err);
	if (rc == RC_OK)
		rc = file_path(&path, err);
	if (rc == RC_OK) {
		compose(object, members, n, &out);
		if (out.failed)
			rc = err_set(err, RC_FAULT, "out of memory");
	}
	if (rc == RC_OK) {
		real = realpath(path.p, NULL); /* a link to it stays one */
		rc = fs_write(real != NULL ? real : path.p, buf_span(&out), 0600, err);
	}
	free(real);
	buf_free(&path);
	buf_free(&text);
	buf_free(&out);
	return rc;
}
