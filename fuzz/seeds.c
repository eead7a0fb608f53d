/*
 * seeds FIXTURES OUT: makes the fuzz targets' first inputs from the
 * recordings, OUT/TARGET/HASH one each.
 */
#include "base/fs.h"
#include "base/hash.h"
#include "base/json.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Larger ones teach a fuzzer little more, and make it slow. */
#define LARGEST 4096       /* bytes */
#define LARGEST_LOG 16384
#define LARGEST_SPELLED 500 /* where every byte is looked at many times */

static const char *folder;

static void
die(const char *what, const char *why)
{
	fprintf(stderr, "seeds: %s: %s\n", what, why);
	exit(1);
}

static void
save(const char *target, struct span text, size_t largest)
{
	unsigned char hash[HASH_LEN];
	char path[1024];
	uint64_t name;
	struct err err;
	FILE *f;

	if (text.len == 0 || text.len > largest)
		return;
	snprintf(path, sizeof(path), "%s/%s", folder, target);
	if (fs_mkdir(path, &err) != RC_OK || hash_sha256(text, hash) != RC_OK)
		die(path, err.text);
	memcpy(&name, hash, sizeof(name));
	snprintf(path, sizeof(path), "%s/%s/%016" PRIx64, folder, target, name);
	if ((f = fopen(path, "wb")) == NULL ||
	    fwrite(text.p, 1, text.len, f) != text.len || fclose(f) != 0)
		die(path, strerror(errno));
}

/* A member by a path of keys; empty when there is none. */
static struct span
member(struct span v, const char *first, const char *second)
{
	json_get(v, first, &v);
	if (second != NULL)
		json_get(v, second, &v);
	return v;
}

static bool
ends_with(struct span s, const char *end)
{
	size_t n = strlen(end);

	return s.len >= n && memcmp(s.p + s.len - n, end, n) == 0;
}

/* A path with its project's id turned into the target's. */
static void
add_path(struct span path, struct buf *out)
{
	const char *at = memmem(path.p, path.len, "/p_", 3);
	size_t before = at == NULL ? path.len : (size_t)(at - path.p);

	buf_add(out, path.p, before);
	if (at == NULL)
		return;
	buf_add_str(out, "/p_0123456789abcdef");
	if (path.len > before + 19)
		buf_add(out, at + 19, path.len - before - 19);
}

/* A recorded request as fuzz/request.c reads it. */
static void
take_request(struct span rq)
{
	struct span headers, key, value;
	struct buf out = { 0 }, text = { 0 };
	struct json_iter it;

	buf_add_str(&out, "REQUEST_METHOD=");
	json_string(member(rq, "method", NULL), &out);
	buf_add_str(&out, "\nPATH_INFO=");
	json_string(member(rq, "path", NULL), &text);
	add_path(buf_span(&text), &out);
	buf_add_str(&out, "\nQUERY_STRING=");
	json_string(member(rq, "query", NULL), &out);
	headers = member(rq, "headers", NULL);
	json_iter_init(&it, headers);
	while (json_next(&it, &key, &value)) {
		size_t from;

		buf_add_str(&out, json_string_is(key, "Content-Length") ? "\n" : "\nHTTP_");
		from = out.len;
		json_string(key, &out);
		for (; from < out.len; from++)
			out.p[from] = out.p[from] == '-' ? '_' : (char)toupper((unsigned char)out.p[from]);
		buf_add_byte(&out, '=');
		if (json_string_is(key, "Authorization"))
			buf_add_str(&out, "TOKEN");
		else
			json_string(value, &out);
	}
	buf_add_str(&out, "\n\n");
	json_string(member(rq, "body", NULL), &out);
	save("request", buf_span(&out), LARGEST);
	buf_free(&out);
	buf_free(&text);
}

/* A recorded answer as fuzz/answers.c reads it. */
static void
take_answer(struct span v, struct span path, struct span body)
{
	struct buf out = { 0 };
	struct span status;

	if (!json_get(v, "response", &v) || !json_get(v, "status", &status))
		return;
	buf_addf(&out, "%s\n%.*s application/json =\n",
	         ends_with(path, "/sync/push\"") ? "push" :
	         memmem(path.p, path.len, "/sync/pull", 10) != NULL ? "pull" :
	         memmem(path.p, path.len, "/sync/status", 12) != NULL ? "tell" : "link",
	         (int)status.len, status.p);
	buf_add_span(&out, body);
	save("answers", buf_span(&out), LARGEST);
	buf_free(&out);
}

/* A recorded exchange. */
static void
take_exchange(struct span v)
{
	struct span path = member(v, "request", "path");
	struct buf body = { 0 }, answer = { 0 };
	static size_t n;

	json_string(member(v, "request", "body"), &body);
	json_string(member(v, "response", "body"), &answer);
	save("json", buf_span(&body), LARGEST_SPELLED);
	save("json", buf_span(&answer), LARGEST_SPELLED);
	if (n % 8 == 0) /* each costs the target 30 ms */
		take_answer(v, path, buf_span(&answer));
	if (n++ % 4 == 0) /* one that changes something costs the target 30 ms */
		take_request(member(v, "request", NULL));
	if (ends_with(path, "/sync/push\""))
		save("push", buf_span(&body), LARGEST);
	buf_free(&body);
	buf_free(&answer);
}

/* A recorded log: some events alone, and some with those after them. */
static void
take_log(struct span text)
{
	const char *part = text.p;
	struct span value;
	size_t n = 0;

	for (; json_scan(text, JSON_MAX_DEPTH, &value, &text, NULL) == RC_OK; n++) {
		if (n % 50 == 0)
			save("json", value, LARGEST_SPELLED);
		if (n % 60 == 0)
			part = value.p;
		if (n % 60 == 11) {
			struct span some = { part, (size_t)(text.p - part) };

			save("apply", some, LARGEST_LOG);
			save("follow", some, LARGEST_LOG);
		}
	}
}

static void
take_file(const char *path)
{
	struct buf text = { 0 };
	struct span rest, value;
	struct err err;

	if (fs_read(path, 64u << 20, &text, &err) != RC_OK)
		die(path, err.text);
	rest = buf_span(&text);
	if (ends_with(span_of(path), "/log.jsonl"))
		take_log(rest);
	else
		while (json_scan(rest, JSON_MAX_DEPTH, &value, &rest, NULL) == RC_OK)
			take_exchange(value);
	buf_free(&text);
}

/* Take every .jsonl below a folder, in order. */
static void
take_folder(const char *path)
{
	struct dirent **names;
	char inside[1024];
	int n = scandir(path, &names, NULL, alphasort);

	for (int i = 0; i < n; i++) {
		snprintf(inside, sizeof(inside), "%s/%s", path, names[i]->d_name);
		if (names[i]->d_type == DT_DIR && names[i]->d_name[0] != '.')
			take_folder(inside);
		else if (ends_with(span_of(inside), ".jsonl"))
			take_file(inside);
		free(names[i]);
	}
	if (n >= 0)
		free(names);
}

int
main(int argc, char **argv)
{
	struct err err;

	if (argc != 3)
		die("usage", "seeds FIXTURES OUT");
	folder = argv[2];
	if (fs_mkdir(folder, &err) != RC_OK)
		die(folder, err.text);
	take_folder(argv[1]);
	return 0;
}
