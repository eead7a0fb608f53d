/*
 * Snapshots: through nginx, by a worker without it, as CGI; many who ask at once;
 * and whatever may be wrong with a file, a state or a disk.
 */
#include "http_test.h"

#include "fcgi_client.h"
#include "harm.h"
#include "patience.h"
#include "temp.h"

#include "base/fs.h"
#include "engine/apply.h"
#include "engine/sums.h"
#include "http/places.h"
#include "http/range.h"

#include <dirent.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define SNAPSHOT "/v1/projects/{p}/sync/snapshot"
#define CHECKS 600 /* requests until a sampled check has come, surely */

/* --- asking --- */

static int
get(struct world *w, const char *more, const char *header)
{
	char path[128];

	snprintf(path, sizeof(path), SNAPSHOT "%s", more);
	return ask(w, READER, "GET", path, NULL, header);
}

static int64_t
seq_of(const struct world *w)
{
	return atoll(web_header(&w->answer, "X-Snapshot-Seq"));
}

/* A path in the folder of the project's snapshots. */
static const char *
path_of(const struct world *w, const char *name)
{
	static char path[2][PATH_MAX + 128];
	static int turn;

	turn = 1 - turn;
	snprintf(path[turn], sizeof(path[turn]), "%s/snapshots/%s/%s", w->site.data, w->project,
	         name);
	return path[turn];
}

static int
by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* What the folder holds, by name, with a space behind each; "" where it is not. */
static const char *
listing(const struct world *w)
{
	static char text[4096];
	char *names[64];
	struct dirent *e;
	size_t n = 0;
	DIR *d = opendir(path_of(w, ""));

	while (d != NULL && (e = readdir(d)) != NULL && n < 64)
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			names[n++] = strdup(e->d_name);
	if (d != NULL)
		closedir(d);
	qsort(names, n, sizeof(*names), by_name);
	text[0] = '\0';
	for (size_t i = 0; i < n; i++) {
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s ", names[i]);
		free(names[i]);
	}
	return text;
}

/* How many were made. */
static int
builds(const struct world *w)
{
	return said(w, " bytes in ");
}

/* --- what came --- */

/* The last answer's body as a database. */
static sqlite3 *
open_body(const struct world *w)
{
	unsigned char *copy = sqlite3_malloc64(w->answer.body.len);
	sqlite3 *db;

	ck_assert_uint_gt(w->answer.body.len, 0);
	ck_assert_int_eq(sqlite3_open(":memory:", &db), SQLITE_OK);
	memcpy(copy, w->answer.body.p, w->answer.body.len);
	ck_assert_int_eq(sqlite3_deserialize(db, "main", copy, (sqlite3_int64)w->answer.body.len,
	                                     (sqlite3_int64)w->answer.body.len,
	                                     SQLITE_DESERIALIZE_FREEONCLOSE), SQLITE_OK);
	return db;
}

static int64_t
count(sqlite3 *db, const char *sql)
{
	sqlite3_stmt *st;
	int64_t n;

	ck_assert_msg(sqlite3_prepare_v2(db, sql, -1, &st, NULL) == SQLITE_OK, "%s",
	              sqlite3_errmsg(db));
	ck_assert_int_eq(sqlite3_step(st), SQLITE_ROW);
	n = sqlite3_column_int64(st, 0);
	sqlite3_finalize(st);
	return n;
}

/* The digest of its rows, as the header tells it. */
static void
digest_of(sqlite3 *db, char out[2 * HASH_LEN + 1])
{
	struct tables all = { 0 };
	unsigned char digest[HASH_LEN];
	struct sum sums[64];
	struct err err;

	ck_assert_int_eq(tables_read(&all, db, "main", &profile_td, &err), RC_OK);
	ck_assert_int_eq(sums_scan_all(&all, sums, &err), RC_OK);
	ck_assert_int_eq(sums_digest(&all, sums, digest), RC_OK);
	for (size_t i = 0; i < HASH_LEN; i++)
		snprintf(out + 2 * i, 3, "%02x", digest[i]);
	tables_free(&all);
}

/* The last answer is a whole snapshot that td can open, of so many issues. */
static void
check_body(const struct world *w, int64_t issues)
{
	char digest[2 * HASH_LEN + 1];
	sqlite3 *db = open_body(w);

	ck_assert_int_eq(count(db, "SELECT integrity_check = 'ok' FROM pragma_integrity_check"), 1);
	ck_assert_int_eq(count(db, "SELECT count(*) FROM pragma_foreign_key_check"), 0);
	ck_assert_int_eq(count(db, "SELECT count(*) FROM sqlite_schema WHERE name LIKE 'tdsync%'"), 0);
	ck_assert_int_eq(count(db, "SELECT value FROM schema_info WHERE key = 'version'"), 38);
	ck_assert_int_eq(count(db, "SELECT count(*) FROM issues"), issues);
	digest_of(db, digest);
	ck_assert_str_eq(digest, web_header(&w->answer, "X-Snapshot-Digest"));
	sqlite3_close(db);
}

/* The digest of the log's event at a seq, as X-Log-Last tells it. */
static void
last_of(const struct world *w, int64_t seq, char out[80])
{
	unsigned char digest[EVENT_DIGEST_LEN];
	char dir[PATH_MAX + 64];
	struct events *log;
	int n;

	snprintf(dir, sizeof(dir), "%s/projects/%s", w->site.data, w->project);
	ck_assert_int_eq(events_open(dir, &log, NULL), RC_OK);
	ck_assert_int_eq(events_digest(log, seq, digest, NULL), RC_OK);
	events_close(log);
	n = snprintf(out, 80, "%lld:", (long long)seq);
	for (size_t i = 0; i < EVENT_DIGEST_LEN; i++)
		n += snprintf(out + n, 3, "%02x", digest[i]);
}

/* Headers that every answer with a snapshot has, whole or not, once each. */
static void
check_headers(const struct world *w, int64_t seq)
{
	static const char *const once[] = { "X-Snapshot-Seq", "X-Snapshot-Digest", "X-Log-Id",
		"X-Log-Last", "ETag", "Cache-Control", "X-Request-Id", "X-Content-Type-Options" };
	static const char *const none[] = { "X-Accel-Redirect", "Last-Modified",
		"Content-Encoding", "Transfer-Encoding" };
	char id[33], last[80];

	log_id(w, id);
	last_of(w, seq, last);
	ck_assert_int_eq(seq_of(w), seq);
	ck_assert_str_eq(web_header(&w->answer, "X-Log-Id"), id);
	ck_assert_str_eq(web_header(&w->answer, "X-Log-Last"), last);
	ck_assert_str_eq(web_header(&w->answer, "Cache-Control"), "private, no-store");
	ck_assert_str_eq(web_header(&w->answer, "X-Content-Type-Options"), "nosniff");
	ck_assert_uint_eq(strlen(web_header(&w->answer, "X-Snapshot-Digest")), 64);
	for (size_t i = 0; i < sizeof(once) / sizeof(*once); i++)
		ck_assert_msg(web_header_count(&w->answer, once[i]) == 1, "%s: %s", once[i],
		              w->answer.headers.p);
	for (size_t i = 0; i < sizeof(none) / sizeof(*none); i++)
		ck_assert_msg(web_header_count(&w->answer, none[i]) == 0, "%s: %s", none[i],
		              w->answer.headers.p);
}

static void
check_whole(const struct world *w, int64_t seq)
{
	char length[32];

	check_headers(w, seq);
	snprintf(length, sizeof(length), "%zu", w->answer.body.len);
	ck_assert_str_eq(web_header(&w->answer, "Content-Type"), "application/x-sqlite3");
	ck_assert_str_eq(web_header(&w->answer, "Accept-Ranges"), "bytes");
	ck_assert_str_eq(web_header(&w->answer, "Content-Length"), length);
	check_body(w, seq);
}

/* --- what is sent --- */

static void
sent(struct world *w)
{
	static const char *const takes[] = { NULL, "Accept-Encoding: gzip", "Accept-Encoding: br",
		"If-Modified-Since: Mon, 01 Jan 2035 00:00:00 GMT", "If-None-Match: \"other\"" };
	struct buf first = { 0 };
	char tag[128], header[256];

	fill(w, 1, 300);
	for (size_t i = 0; i < sizeof(takes) / sizeof(*takes); i++) {
		ck_assert_int_eq(get(w, "", takes[i]), 200);
		check_whole(w, 300);
		if (i == 0)
			buf_add_span(&first, buf_span(&w->answer.body));
		ck_assert(span_eq(buf_span(&first), buf_span(&w->answer.body)));
	}
	ck_assert_int_eq(ask(w, READER, "HEAD", SNAPSHOT, NULL, NULL), 200);
	check_headers(w, 300);
	ck_assert_int_eq(w->answer.body.len, 0);
	ck_assert_str_eq(web_header(&w->answer, "Content-Type"), "application/x-sqlite3");
	ck_assert_int_eq(atoll(web_header(&w->answer, "Content-Length")), (long long)first.len);
	ck_assert_int_eq(builds(w), 1);
	/* who has it already */
	snprintf(tag, sizeof(tag), "%s", web_header(&w->answer, "ETag"));
	ck_assert(tag[0] == '"' && tag[strlen(tag) - 1] == '"');
	for (int i = 0; i < 3; i++) {
		snprintf(header, sizeof(header), "If-None-Match: %s%s%s", i == 1 ? "\"x\", W/" : "",
		         tag, i == 2 ? ",\"y\"" : "");
		ck_assert_int_eq(get(w, "", header), 304);
		check_headers(w, 300);
		ck_assert_int_eq(w->answer.body.len, 0);
	}
	/* another one has another tag */
	fill(w, 301, 1);
	snprintf(header, sizeof(header), "If-None-Match: %s", tag);
	ck_assert_int_eq(get(w, "", header), 200);
	check_whole(w, 301);
	ck_assert_str_ne(web_header(&w->answer, "ETag"), tag);
	buf_free(&first);
}

START_TEST(a_snapshot_is_a_database_with_its_seq_and_digest)
{
	with_each(sent);
}
END_TEST

/* Parts, of a file of so many bytes ("S" stands for them, "T" for its tag). What
 * makes no sense is left alone by us (RFC 9110, 14.2), and 416 to nginx. */
static const struct {
	const char *range, *only;
	int status, nginx;       /* nginx: its own where it is another one, else 0 */
	int64_t from, n;         /* negative: from the end */
} parts[] = {
	{ "bytes=0-99", NULL, 206, 0, 0, 100 },
	{ "bytes=0-0", NULL, 206, 0, 0, 1 },
	{ "bytes=4096-8191", NULL, 206, 0, 4096, 4096 },
	{ "bytes=100-", NULL, 206, 0, 100, -1 },
	{ "bytes=0-", NULL, 206, 0, 0, -1 },
	{ "bytes=-10", NULL, 206, 0, -10, 10 },
	{ "bytes=-99999999999", NULL, 206, 0, 0, -1 },
	{ "bytes=10-99999999999", NULL, 206, 0, 10, -1 },
	{ "bytes= 5-6 ", NULL, 206, 0, 5, 2 },
	{ "bytes=0-99", "T", 206, 0, 0, 100 },
	{ "bytes=0-99", "\"x\"", 200, 0, 0, -1 },
	{ "bytes=0-99", "W/T", 200, 0, 0, -1 },
	{ "bytes=0-99", "Mon, 01 Jan 2035 00:00:00 GMT", 200, 0, 0, -1 },
	{ "bytes=0-9,20-29", NULL, 200, 0, 0, -1 },
	{ "lines=0-99", NULL, 200, 0, 0, -1 },
	{ "bytes=S-", NULL, 416, 0, 0, 0 },
	{ "bytes=99999999999-", NULL, 416, 0, 0, 0 },
	{ "bytes=-0", NULL, 416, 0, 0, 0 },
	{ "bytes=9-5", NULL, 200, 416, 0, -1 },
	{ "bytes=a-b", NULL, 200, 416, 0, -1 },
	{ "bytes=", NULL, 200, 0, 0, -1 },
	{ "bytes=-", NULL, 200, 416, 0, -1 },
	{ "bytes=1-2x", NULL, 200, 416, 0, -1 },
};

/* Put the size and the tag into a text. */
static void
fill_in(const char *text, int64_t size, const char *tag, struct buf *out)
{
	for (; *text != '\0'; text++)
		if (*text == 'S')
			buf_add_int(out, size);
		else if (*text == 'T')
			buf_add_str(out, tag);
		else
			buf_add_byte(out, *text);
}

static int
get_part(struct world *w, size_t row, const char *path, int64_t size, const char *tag)
{
	struct buf range = { 0 }, only = { 0 }, filled = { 0 };
	struct web_call call = { .url = w->site.url, .token = w->tokens[READER] };

	buf_add_str(&range, "Range: ");
	fill_in(parts[row].range, size, tag, &range);
	call.headers[0] = buf_cstr(&range);
	if (parts[row].only != NULL) {
		buf_add_str(&only, "If-Range: ");
		/* a date has letters, too */
		if (strlen(parts[row].only) > 4)
			buf_add_str(&only, parts[row].only);
		else
			fill_in(parts[row].only, size, tag, &only);
		call.headers[1] = buf_cstr(&only);
	}
	buf_addf(&filled, "/v1/projects/%s/sync/snapshot%s", w->project, path);
	call.path = buf_cstr(&filled);
	if (!web_call(&call, &w->answer))
		w->answer.status = 0;
	buf_free(&range);
	buf_free(&only);
	buf_free(&filled);
	return w->answer.status;
}

static void
check_parts(struct world *w, const char *path, bool nginx)
{
	struct buf all = { 0 };
	char tag[128], want[80];
	int64_t size, from, n;

	ck_assert_int_eq(get(w, path, NULL), 200);
	buf_add_span(&all, buf_span(&w->answer.body));
	snprintf(tag, sizeof(tag), "%s", web_header(&w->answer, "ETag"));
	size = (int64_t)all.len;
	for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++) {
		int status = nginx && parts[i].nginx != 0 ? parts[i].nginx : parts[i].status;

		ck_assert_msg(get_part(w, i, path, size, tag) == status, "%s: %d", parts[i].range,
		              w->answer.status);
		if (status == 416) {
			snprintf(want, sizeof(want), "bytes */%lld", (long long)size);
			ck_assert_str_eq(web_header(&w->answer, "Content-Range"), want);
			ck_assert(web_is_json(&w->answer));
			ck_assert_ptr_nonnull(strstr(w->answer.body.p, "\"range_not_satisfiable\""));
			continue;
		}
		from = parts[i].from < 0 ? size + parts[i].from : parts[i].from;
		n = parts[i].n < 0 ? size - from : parts[i].n;
		ck_assert_msg(span_eq(buf_span(&w->answer.body),
		                      (struct span){ all.p + from, (size_t)n }), "%s", parts[i].range);
		ck_assert_str_eq(web_header(&w->answer, "ETag"), tag);
		ck_assert_str_eq(web_header(&w->answer, "Content-Type"), "application/x-sqlite3");
		snprintf(want, sizeof(want), "bytes %lld-%lld/%lld", (long long)from,
		         (long long)(from + n - 1), (long long)size);
		ck_assert_str_eq(web_header(&w->answer, "Content-Range"), status == 206 ? want : "");
	}
	buf_free(&all);
}

static void
in_parts(struct world *w)
{
	char tag[128];

	fill(w, 1, 50);
	check_parts(w, "", w->site.kind == SITE_FASTCGI);
	check_parts(w, "?at_seq=30", false); /* a worker sends it */
	/* A condition that nginx would find false, for it does not know the tag. */
	ck_assert_int_eq(ask(w, READER, "GET", SNAPSHOT, NULL, NULL), 200);
	snprintf(tag, sizeof(tag), "If-Match: %s", web_header(&w->answer, "ETag"));
	ck_assert_int_eq(ask(w, READER, "GET", SNAPSHOT, NULL, tag), 200);
	ck_assert_str_eq(web_header(&w->answer, "ETag"), tag + strlen("If-Match: "));
}

START_TEST(a_snapshot_comes_in_parts)
{
	with_each(in_parts);
}
END_TEST

START_TEST(a_range_is_within_the_file)
{
	int64_t from, n;

	for (int64_t size = 1; size < 6; size++)
		for (int64_t a = 0; a < 8; a++)
			for (int64_t b = 0; b < 8; b++) {
				char text[64];
				enum range is;

				snprintf(text, sizeof(text), "bytes=%d-%d", (int)a, (int)b);
				is = range_of(text, size, &from, &n);
				ck_assert_int_eq(is, b < a ? RANGE_ALL : a >= size ? RANGE_NONE : RANGE_PART);
				if (is != RANGE_PART)
					continue;
				ck_assert_int_eq(from, a);
				ck_assert_int_eq(n, (b < size ? b + 1 : size) - a);
			}
	ck_assert_int_eq(range_of("bytes=-5", 0, &from, &n), RANGE_PART);
	ck_assert(from == 0 && n == 0);
	ck_assert_int_eq(range_of("bytes=99999999999999999999999999-", 5, &from, &n), RANGE_NONE);
	ck_assert_int_eq(range_of("bytes=1-99999999999999999999999999", 5, &from, &n), RANGE_PART);
	ck_assert(from == 1 && n == 4);
	ck_assert_int_eq(range_of(NULL, 5, &from, &n), RANGE_ALL);
	ck_assert(from == 0 && n == 5);
}
END_TEST

/* --- how new --- */

static void
newest(struct world *w)
{
	struct stat st;

	fill(w, 1, 10);
	ck_assert_int_eq(get(w, "", NULL), 200);
	check_whole(w, 10);
	ck_assert_str_eq(listing(w), "10.db 10.json lock ");
	ck_assert(stat(path_of(w, "10.db"), &st) == 0);
	ck_assert_int_eq(st.st_mode & 07777, 0640);
	ck_assert(stat(path_of(w, ""), &st) == 0);
	ck_assert_int_eq(st.st_mode & 07777, 0750);
	for (int n = 11; n < 14; n++) {
		char want[80];

		fill(w, n, 1);
		ck_assert_int_eq(get(w, "", NULL), 200);
		check_whole(w, n);
		snprintf(want, sizeof(want), "%d.db %d.json %d.db %d.json lock ", n - 1, n - 1, n, n);
		ck_assert_str_eq(listing(w), want);
	}
	ck_assert_int_eq(builds(w), 4);
	ck_assert_int_eq(get(w, "", NULL), 200);
	ck_assert_int_eq(builds(w), 4);
	/* a client that knows another log, or more than there is */
	ck_assert_int_eq(get(w, "", "X-Log-Id: 00000000000000000000000000000000"), 409);
	ck_assert_ptr_nonnull(strstr(w->answer.body.p, "\"log_changed\""));
}

START_TEST(a_snapshot_is_of_the_head_and_two_are_kept)
{
	with_each(newest);
}
END_TEST

static void
lagging(struct world *w)
{
	fill(w, 1, 5); /* fewer events than it may be behind */
	ck_assert_int_eq(get(w, "", NULL), 200);
	check_whole(w, 5);
	fill(w, 6, 10);
	ck_assert_int_eq(get(w, "", NULL), 200);
	check_whole(w, 5); /* ten behind */
	fill(w, 16, 1);
	ck_assert_int_eq(get(w, "", NULL), 200);
	check_whole(w, 16); /* eleven would be too many */
	ck_assert_int_eq(builds(w), 2);
}

START_TEST(a_snapshot_may_lag_by_so_many_events)
{
	with_each_of("snapshot_lag = 10\n", lagging);
}
END_TEST

/* --- who, and what not --- */

static void
judged(struct world *w)
{
	char path[256];

	ck_assert_int_eq(get(w, "", NULL), 404);
	ck_assert_ptr_nonnull(strstr(w->answer.body.p, "\"code\":\"no_events\""));
	ck_assert_int_eq(get(w, "?at_seq=1", NULL), 404);
	ck_assert_str_eq(listing(w), "");
	fill(w, 1, 20);
	ck_assert_int_eq(get(w, "", NULL), 200);
	ck_assert_int_eq(ask(w, NOBODY, "GET", SNAPSHOT, NULL, NULL), 401);
	ck_assert_int_eq(ask(w, STRANGER, "GET", SNAPSHOT, NULL, NULL), 403);
	ck_assert_int_eq(ask(w, READER, "POST", SNAPSHOT, "", NULL), 405);
	ck_assert_str_eq(web_header(&w->answer, "Allow"), "GET, HEAD");
	/* the file itself, by whatever name */
	snprintf(path, sizeof(path), "/.td-sync/snapshots/%s/20.db", w->project);
	ck_assert_int_eq(ask(w, READER, "GET", path, NULL, NULL), 404);
	ck_assert(web_is_json(&w->answer));
	ck_assert_int_eq(ask(w, NOBODY, "GET", "/.td-sync/snapshots/", NULL, NULL), 404);
	/* no client says how a snapshot is to be sent */
	ck_assert_int_eq(get(w, "", "TD-SYNC-SNAPSHOTS: /v1"), 200);
	check_whole(w, 20);
	/* a member who is none any more, a project that is gone */
	snprintf(path, sizeof(path), "/v1/projects/{p}/members/%s", w->users[READER]);
	ck_assert_int_eq(ask(w, OWNER, "DELETE", path, NULL, NULL), 204);
	ck_assert_int_eq(get(w, "", NULL), 403);
	ck_assert_int_eq(ask(w, OWNER, "DELETE", "/v1/projects/{p}", NULL, NULL), 204);
	ck_assert_int_eq(ask(w, WRITER, "GET", SNAPSHOT, NULL, NULL), 404);
	ck_assert_ptr_null(strstr(w->answer.body.p, "no_events"));
}

START_TEST(a_snapshot_is_for_who_may_read_the_log)
{
	with_each(judged);
}
END_TEST

/* An event of a type that nobody knows is in the log, and in no snapshot. */
static void
parked(struct world *w)
{
	static const char body[] = "{\"device_id\":\"d\",\"session_id\":\"s\",\"events\":[{"
		"\"client_action_id\":1,\"action_type\":\"create\",\"entity_type\":\"moons\","
		"\"entity_id\":\"m\",\"payload\":{\"new_data\":{\"id\":\"m\"}},"
		"\"client_timestamp\":\"2026-03-01T10:00:00Z\"}]}";

	ck_assert_int_eq(ask(w, WRITER, "POST", "/v1/projects/{p}/sync/push", body, NULL), 200);
	ck_assert_int_eq(get(w, "", NULL), 404);
	ck_assert_ptr_nonnull(strstr(w->answer.body.p, "\"code\":\"no_events\""));
	fill(w, 2, 3);
	ck_assert_int_eq(get(w, "", NULL), 200);
	ck_assert_int_eq(seq_of(w), 4);
	check_body(w, 3);
	ck_assert_int_eq(get(w, "?at_seq=1", NULL), 200);
	ck_assert_int_eq(seq_of(w), 1);
	check_body(w, 0);
}

START_TEST(what_is_parked_is_in_no_snapshot)
{
	with_each(parked);
}
END_TEST

/* --- the past --- */

static void
past(struct world *w)
{
	static const char *const wrong[] = { "0", "-1", "x", "1.5", "1x", "+", "0x10",
		"99999999999999999999", "%20", "1%00" };
	struct buf now = { 0 };
	char path[64];
	int before;

	fill(w, 1, 2500);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
		snprintf(path, sizeof(path), "?at_seq=%s", wrong[i]);
		ck_assert_msg(get(w, path, NULL) == 400, "%s: %d", wrong[i], w->answer.status);
		ck_assert_ptr_nonnull(strstr(w->answer.body.p, "invalid at_seq"));
	}
	ck_assert_int_eq(get(w, "?at_seq=2501", NULL), 409);
	ck_assert_ptr_nonnull(strstr(w->answer.body.p, "\"cursor_ahead\""));
	/* the head is the ordinary one, as is none at all */
	ck_assert_int_eq(get(w, "?at_seq=2500", NULL), 200);
	check_whole(w, 2500);
	buf_add_span(&now, buf_span(&w->answer.body));
	ck_assert_int_eq(get(w, "?at_seq=", NULL), 200);
	ck_assert(span_eq(buf_span(&now), buf_span(&w->answer.body)));
	before = builds(w);
	for (int n = 1; n < 2500; n += 833) {
		snprintf(path, sizeof(path), "?at_seq=%d", n);
		ck_assert_int_eq(get(w, path, NULL), 200);
		ck_assert_int_eq(seq_of(w), n);
		check_body(w, n);
		ck_assert_str_eq(web_header(&w->answer, "Content-Type"), "application/x-sqlite3");
		ck_assert_str_eq(web_header(&w->answer, "Cache-Control"), "private, no-store");
		ck_assert_int_eq(ask(w, READER, "HEAD", SNAPSHOT "?at_seq=7", NULL, NULL), 200);
		ck_assert_int_eq(seq_of(w), 7);
		ck_assert_int_eq(w->answer.body.len, 0);
	}
	/* the past is nobody else's, and nothing is left of it */
	ck_assert_int_eq(builds(w), before);
	ck_assert_str_eq(listing(w), "2500.db 2500.json lock ");
	buf_free(&now);
}

START_TEST(a_snapshot_of_the_past_is_made_for_who_asks)
{
	with_each(past);
}
END_TEST

static void
too_far(struct world *w)
{
	fill(w, 1, 200);
	ck_assert_int_eq(get(w, "?at_seq=100", NULL), 200);
	check_body(w, 100);
	ck_assert_int_eq(get(w, "?at_seq=101", NULL), 400);
	ck_assert_ptr_nonnull(strstr(w->answer.body.p, "replays 100 events at most"));
	ck_assert_int_eq(get(w, "?at_seq=200", NULL), 200); /* it isn't replayed */
	check_body(w, 200);
}

START_TEST(a_replay_is_bounded)
{
	with_each_of("max_replay_events = 100\n", too_far);
}
END_TEST

/* --- many at once --- */

#define HERD 50

struct asker {
	pthread_t thread;
	struct world *w;
	const char *query;
	int64_t seq;
	int wrong, refused;
	struct web_answer answer;
};

/* Ask until it comes: 503 says when to come again. */
static void *
ask_away(void *ctx)
{
	struct asker *a = ctx;
	char path[160];
	struct web_call call = { .url = a->w->site.url, .path = path,
	                         .token = a->w->tokens[READER] };

	snprintf(path, sizeof(path), "/v1/projects/%s/sync/snapshot%s", a->w->project, a->query);
	for (int i = 0; i < 100; i++) {
		if (!web_call(&call, &a->answer)) {
			a->wrong++;
			break;
		}
		if (a->answer.status != 503)
			break;
		a->refused++;
		if (atoi(web_header(&a->answer, "Retry-After")) < 1)
			a->wrong++;
		usleep(200000);
	}
	a->seq = atoll(web_header(&a->answer, "X-Snapshot-Seq"));
	a->wrong += a->answer.status != 200;
	return NULL;
}

static void
begin_asking(struct world *w, struct asker *askers, int n, const char *query)
{
	for (int i = 0; i < n; i++) {
		askers[i] = (struct asker){ .w = w, .query = query };
		ck_assert_int_eq(pthread_create(&askers[i].thread, NULL, ask_away, &askers[i]), 0);
	}
}

static void
end_asking(struct asker *askers, int n)
{
	for (int i = 0; i < n; i++)
		pthread_join(askers[i].thread, NULL);
}

static void
herd(struct world *w)
{
	static struct asker askers[HERD];

	fill(w, 1, 4000);
	begin_asking(w, askers, HERD, "");
	end_asking(askers, HERD);
	for (int i = 0; i < HERD; i++) {
		ck_assert_int_eq(askers[i].wrong, 0);
		ck_assert_int_eq(askers[i].seq, 4000);
		ck_assert(span_eq(buf_span(&askers[i].answer.body), buf_span(&askers[0].answer.body)));
		if (i > 0)
			web_free(&askers[i].answer);
	}
	web_free(&askers[0].answer);
	ck_assert_int_eq(builds(w), 1);
}

START_TEST(fifty_who_ask_at_once_cost_one_build)
{
	with_each(herd);
}
END_TEST

/* What one got is whole. */
static void
check_asker(struct world *w, struct asker *a)
{
	struct web_answer last = w->answer;

	w->answer = a->answer;
	check_body(w, a->seq);
	w->answer = last;
}

/* Push all the time while many ask: who asks gets at least what was there when he
 * asked, and whole. */
static void
beside_pushes(struct world *w)
{
	static struct asker askers[8];
	int next = 501;

	fill(w, 1, 500);
	for (int round = 0; round < 6; round++) {
		int64_t least = next - 1;

		begin_asking(w, askers, 8, "");
		for (int i = 0; i < 5; i++, next += 20)
			ck_assert_int_eq(push_some(w, "d", next, 20), 200);
		end_asking(askers, 8);
		for (int i = 0; i < 8; i++) {
			ck_assert_int_eq(askers[i].wrong, 0);
			ck_assert_int_ge(askers[i].seq, least);
			check_asker(w, &askers[i]);
			web_free(&askers[i].answer);
		}
	}
}

START_TEST(snapshots_beside_pushes_are_whole)
{
	with_each(beside_pushes);
}
END_TEST

/* --- waiting --- */

/* Hold the lock of who makes one; close it. */
static int
hold_lock(const struct world *w)
{
	int fd = open(path_of(w, "lock"), O_RDWR | O_CLOEXEC);

	ck_assert(fd >= 0 && flock(fd, LOCK_EX) == 0);
	return fd;
}

START_TEST(so_many_may_wait_for_a_snapshot_and_no_push_waits_for_them)
{
	static struct asker askers[2];
	const char *const pool[] = { "--workers", "8", "--max-workers", "8", NULL };
	struct site_options options = { .kind = SITE_FASTCGI, .arguments = pool };
	int64_t start;
	struct world w;
	int fd;

	world_start(&w, &options);
	fill(&w, 1, 100);
	ck_assert_int_eq(get(&w, "", NULL), 200);
	fill(&w, 101, 1);
	fd = hold_lock(&w);
	begin_asking(&w, askers, 2, ""); /* a quarter of the workers */
	usleep(300000);
	ck_assert_int_eq(get(&w, "", NULL), 503);
	ck_assert_str_eq(web_header(&w.answer, "Retry-After"), "1");
	ck_assert_int_eq(said(&w, "2 requests wait for this project's state already"), 1);
	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(askers[i].refused, 0);
	/* who is served by what is there waits for nobody */
	start = clock_mono_ms();
	ck_assert_int_eq(get(&w, "?at_seq=50", NULL), 200);
	for (int i = 0; i < 20; i++)
		ck_assert_int_eq(push_some(&w, "d", 102 + i, 1), 200);
	ck_assert_int_lt(clock_mono_ms() - start, SOON_MS);
	close(fd);
	end_asking(askers, 2);
	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(askers[i].wrong, 0);
		ck_assert_int_eq(askers[i].seq, 121); /* of the moment it was made */
		web_free(&askers[i].answer);
	}
	ck_assert_int_eq(builds(&w), 2);
	world_stop(&w);
}
END_TEST

static void
patience(struct world *w)
{
	int64_t start;
	int fd;

	fill(w, 1, 10);
	ck_assert_int_eq(get(w, "", NULL), 200);
	fill(w, 11, 1);
	fd = hold_lock(w);
	start = clock_mono_ms();
	ck_assert_int_eq(get(w, "", NULL), 503);
	ck_assert_int_ge(clock_mono_ms() - start, 24000);
	ck_assert_int_lt(clock_mono_ms() - start, 30000); /* when a stock td has left */
	close(fd);
	ck_assert_int_eq(get(w, "", NULL), 200);
	check_whole(w, 11);
}

START_TEST(a_wait_ends_before_a_stock_td_gives_up)
{
	with_each(patience);
}
END_TEST

/* What a pushing worker leaves to who needs the state takes a place. */
static void
large(struct world *w)
{
	char path[PATH_MAX + 32];
	int places[4];

	fill(w, 1, 10);
	snprintf(path, sizeof(path), "%s/" LARGE_FILE, w->site.data);
	for (int i = 0; i < 4; i++) {
		struct flock byte = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = i,
		                      .l_len = 1 };

		places[i] = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0660);
		ck_assert_int_eq(fcntl(places[i], F_OFD_SETLK, &byte), 0);
	}
	/* Now: in spare time it would be applied with a place, too. */
	fill_large(w, 11, 1, 1500000);
	fill(w, 12, 10);
	ck_assert_int_eq(get(w, "", NULL), 503);
	ck_assert_str_eq(web_header(&w->answer, "Retry-After"), "5");
	ck_assert_int_eq(get(w, "?at_seq=5", NULL), 503);
	ck_assert_str_eq(web_header(&w->answer, "Retry-After"), "5");
	close(places[2]);
	ck_assert_int_eq(get(w, "", NULL), 200);
	check_body(w, 21);
	ck_assert_int_eq(get(w, "?at_seq=15", NULL), 200);
	check_body(w, 15);
	for (int i = 0; i < 4; i++)
		if (i != 2)
			close(places[i]);
}

START_TEST(a_large_event_is_applied_by_few_at_a_time)
{
	with_each(large);
}
END_TEST

/* One project's past can't take all places for what is large: others' events and
 * snapshots need them, too. */
static void
past_of_one(struct world *w)
{
	char path[PATH_MAX + 128];
	int places[2];

	fill(w, 1, 10);
	snprintf(path, sizeof(path), "%s/projects/%s/" REPLAYS, w->site.data, w->project);
	for (int i = 0; i < 2; i++) {
		struct flock byte = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = i,
		                      .l_len = 1 };

		ck_assert_int_eq(get(w, "?at_seq=5", NULL), 200);
		places[i] = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0660);
		ck_assert_int_eq(fcntl(places[i], F_OFD_SETLK, &byte), 0);
	}
	ck_assert_int_eq(get(w, "?at_seq=5", NULL), 503);
	ck_assert_str_eq(web_header(&w->answer, "Retry-After"), "5");
	ck_assert_int_eq(get(w, "", NULL), 200);
	close(places[1]);
	ck_assert_int_eq(get(w, "?at_seq=5", NULL), 200);
	check_body(w, 5);
	close(places[0]);
}

START_TEST(the_past_of_one_project_leaves_places_to_others)
{
	with_each(past_of_one);
}
END_TEST

/* --- a slow reader --- */

/* Send a request by hand; its socket takes little at a time. */
static int
slow_request(const struct world *w)
{
	const char *host = strstr(w->site.url, "://") + 3, *base = strchr(host, '/');
	struct sockaddr_in to = { .sin_family = AF_INET,
	                          .sin_port = htons((uint16_t)atoi(strchr(host, ':') + 1)) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), little = 4096;
	struct buf b = { 0 };

	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &little, sizeof(little));
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	buf_addf(&b, "GET %s/v1/projects/%s/sync/snapshot HTTP/1.0\r\nHost: x\r\n"
	         "Authorization: Bearer %s\r\n\r\n", base != NULL ? base : "", w->project,
	         w->tokens[READER]);
	ck_assert_int_eq(send(fd, b.p, b.len, 0), (ssize_t)b.len);
	buf_free(&b);
	return fd;
}

static void
slow_reader(struct world *w)
{
	struct buf got = { 0 }, want = { 0 };
	struct stat st;
	const char *body;
	ssize_t n;
	int fd;

	fill_large(w, 1, 12, 1000000);
	ck_assert_int_eq(get(w, "", NULL), 200);
	check_body(w, 12);
	buf_add_span(&want, buf_span(&w->answer.body));
	fd = slow_request(w);
	ck_assert(buf_reserve(&got, 32 << 20));
	ck_assert_int_gt(n = recv(fd, got.p, 1024, 0), 0);
	got.len = (size_t)n;
	/* two newer ones: the one that is read has no name any more */
	for (int i = 0; i < 3; i++) {
		fill(w, 20 + i, 1);
		ck_assert_int_eq(get(w, "", NULL), 200);
		ck_assert_int_eq(seq_of(w), 13 + i);
	}
	ck_assert(stat(path_of(w, "12.db"), &st) != 0);
	while ((n = recv(fd, got.p + got.len, got.cap - got.len, 0)) > 0)
		got.len += (size_t)n;
	close(fd);
	body = strstr(buf_cstr(&got), "\r\n\r\n");
	ck_assert_ptr_nonnull(body);
	ck_assert(strncmp(got.p, "HTTP/1.", 7) == 0 && strncmp(got.p + 8, " 200", 4) == 0);
	ck_assert(span_eq((struct span){ body + 4, got.len - (size_t)(body + 4 - got.p) },
	                  buf_span(&want)));
	buf_free(&got);
	buf_free(&want);
}

START_TEST(a_reader_is_never_cut_off_by_a_newer_one)
{
	with_each(slow_reader);
}
END_TEST

/* --- files that are not what they should be --- */

static void
flip_middle(const char *path, struct buf *b)
{
	b->p[b->len / 2] ^= 1;
	harm_put(path, buf_span(b));
}

/* The other snapshot's, that is older. */
static void
to_other(const char *path, struct buf *b)
{
	const char *suffix = strrchr(path, '.');
	char other[PATH_MAX + 160];

	snprintf(other, sizeof(other), "%.*s/30%s", (int)(strrchr(path, '/') - path), path, suffix);
	buf_reset(b);
	ck_assert_int_eq(fs_read(other, 1 << 24, b, NULL), RC_OK);
	harm_put(path, buf_span(b));
}

static const struct harm more_harms[] = {
	{ "a bit in its middle", flip_middle }, { "another snapshot in its place", to_other },
};

static void
damaged(struct world *w)
{
	static const char *const names[] = { "31.db", "31.json" };
	struct buf file = { 0 }, made = { 0 };
	char path[PATH_MAX + 128];

	fill(w, 1, 30);
	ck_assert_int_eq(get(w, "", NULL), 200);
	fill(w, 31, 1);
	ck_assert_int_eq(get(w, "", NULL), 200);
	buf_add_span(&made, buf_span(&w->answer.body));
	for (size_t f = 0; f < 2; f++)
		for (size_t i = 0; i < HARMS + 2; i++) {
			const struct harm *h = i < HARMS ? &harms[i] : &more_harms[i - HARMS];

			snprintf(path, sizeof(path), "%s", path_of(w, names[f]));
			buf_reset(&file);
			ck_assert_int_eq(fs_read(path, 1 << 24, &file, NULL), RC_OK);
			h->harm(path, &file);
			ck_assert_msg(get(w, "", NULL) == 200, "%s: %s", names[f], h->what);
			check_whole(w, 31);
			ck_assert(span_eq(buf_span(&made), buf_span(&w->answer.body)));
			ck_assert_str_eq(listing(w), "30.db 30.json 31.db 31.json lock ");
		}
	ck_assert_int_ge(said(w, "it is made anew"), 20);
	buf_free(&file);
	buf_free(&made);
}

START_TEST(a_damaged_snapshot_is_made_anew)
{
	with_each(damaged);
}
END_TEST

/* A bit that flips on the disk leaves the file's time alone: found at once by who
 * sends the file itself; else by one of SNAPSHOTS_CHECK_EACH requests. */
static void
rotten(struct world *w)
{
	struct buf file = { 0 }, made = { 0 };
	struct timespec times[2];
	struct stat st;
	int i;

	fill(w, 1, 31);
	ck_assert_int_eq(get(w, "", NULL), 200);
	buf_add_span(&made, buf_span(&w->answer.body));
	ck_assert_int_eq(fs_read(path_of(w, "31.db"), 1 << 24, &file, NULL), RC_OK);
	ck_assert(stat(path_of(w, "31.db"), &st) == 0);
	file.p[file.len / 2] ^= 16;
	harm_put(path_of(w, "31.db"), buf_span(&file));
	times[0] = st.st_atim;
	times[1] = st.st_mtim;
	ck_assert_int_eq(utimensat(AT_FDCWD, path_of(w, "31.db"), times, 0), 0);
	for (i = 0; i < CHECKS; i++) {
		ck_assert_int_eq(get(w, "", NULL), 200);
		if (!span_eq(buf_span(&w->answer.body), buf_span(&file)))
			break;
		ck_assert_int_eq(w->site.kind, SITE_FASTCGI);
	}
	ck_assert_int_lt(i, w->site.kind == SITE_CGI ? 1 : CHECKS);
	check_whole(w, 31);
	ck_assert(span_eq(buf_span(&made), buf_span(&w->answer.body)));
	ck_assert_int_eq(builds(w), 2);
	buf_free(&file);
	buf_free(&made);
}

START_TEST(a_bit_that_flips_on_the_disk_is_found)
{
	with_each(rotten);
}
END_TEST

/* What else may lie in the folder goes with the next one, but for what may still
 * be somebody's. */
static void
swept(struct world *w)
{
	struct timespec at[2] = { { .tv_nsec = UTIME_OMIT } };

	fill(w, 1, 5);
	ck_assert_int_eq(get(w, "", NULL), 200);
	harm_put(path_of(w, "draft"), span_of("half a s"));
	harm_put(path_of(w, "3.db"), span_of("no json"));
	harm_put(path_of(w, "9.json"), span_of("{}"));
	harm_put(path_of(w, "5.json.tmp-0123456789abcdef"), span_of("half a j"));
	harm_put(path_of(w, ".past-0000000000000001"), span_of("somebody's"));
	harm_put(path_of(w, ".past-0000000000000002"), span_of("nobody's"));
	at[1].tv_sec = clock_now_us() / 1000000 - 400;
	ck_assert_int_eq(utimensat(AT_FDCWD, path_of(w, ".past-0000000000000002"), at, 0), 0);
	fill(w, 6, 1);
	ck_assert_int_eq(get(w, "", NULL), 200);
	check_whole(w, 6);
	ck_assert_str_eq(listing(w), ".past-0000000000000001 5.db 5.json 6.db 6.json lock ");
	/* where nobody pushes any more, with the next one of the past */
	ck_assert_int_eq(utimensat(AT_FDCWD, path_of(w, ".past-0000000000000001"), at, 0), 0);
	harm_put(path_of(w, ".past-0000000000000003"), span_of("somebody's"));
	ck_assert_int_eq(get(w, "?at_seq=3", NULL), 200);
	check_body(w, 3);
	ck_assert_str_eq(listing(w), ".past-0000000000000003 5.db 5.json 6.db 6.json lock ");
}

START_TEST(what_dead_ones_left_behind_goes)
{
	with_each(swept);
}
END_TEST

/* --- killed, and out of disk --- */

#define KILLS 12
#define TRIES 1000

START_TEST(killed_at_any_moment_it_leaves_nothing_half)
{
	struct site_options options = { .kind = SITE_CGI };
	int64_t start, whole_us;
	struct world w;
	struct stat st;
	int cut = 0;

	world_start(&w, &options);
	fill(&w, 1, 3000);
	start = clock_mono_us();
	ck_assert_int_eq(run_cgi(&w, "sync/snapshot", 0), 0);
	whole_us = clock_mono_us() - start;
	for (int i = 0; i < TRIES && cut < KILLS; i++) {
		temp_remove(path_of(&w, ""));
		run_cgi(&w, "sync/snapshot", (useconds_t)(1 + whole_us * (i % 40) / 30));
		cut += stat(path_of(&w, "draft"), &st) == 0;
		if (i % 10 != 0)
			continue;
		ck_assert_int_eq(get(&w, "", NULL), 200);
		check_whole(&w, 3000);
		ck_assert_str_eq(listing(&w), "3000.db 3000.json lock ");
	}
	ck_assert_int_eq(cut, KILLS);
	/* one of the past: what is left of it is nobody's */
	for (int i = 0; i < 40; i++)
		run_cgi(&w, "sync/snapshot?at_seq=2900", (useconds_t)(1 + whole_us * i / 30));
	ck_assert_int_eq(get(&w, "", NULL), 200);
	check_whole(&w, 3000);
	ck_assert_int_eq(get(&w, "?at_seq=2900", NULL), 200);
	check_body(&w, 2900);
	ck_assert_int_eq(said(&w, "it is made anew"), 0);
	world_stop(&w);
}
END_TEST

/* A worker that is killed in the middle of it: the others go on. */
START_TEST(others_go_on_when_a_worker_is_killed)
{
	static struct asker askers[8];
	struct site_options options = { .kind = SITE_FASTCGI };
	pid_t pids[16];
	struct world w;
	size_t n;

	world_start(&w, &options);
	fill(&w, 1, 3000);
	for (int round = 0; round < 5; round++) {
		temp_remove(path_of(&w, ""));
		begin_asking(&w, askers, 8, "");
		usleep(20000 + 10000 * (useconds_t)round);
		n = site_workers(&w.site, pids, 16);
		for (size_t i = 0; i < n && i < 2; i++)
			kill(pids[i], SIGKILL);
		end_asking(askers, 8);
		for (int i = 0; i < 8; i++) {
			/* nginx says so of whose worker died */
			ck_assert(askers[i].answer.status == 200 || askers[i].answer.status == 502);
			if (askers[i].answer.status == 200) {
				ck_assert_int_eq(askers[i].seq, 3000);
				check_asker(&w, &askers[i]);
			}
			web_free(&askers[i].answer);
		}
		ck_assert_int_eq(get(&w, "", NULL), 200);
		check_whole(&w, 3000);
	}
	world_stop(&w);
}
END_TEST

static void
full_disk(struct world *w)
{
	char folder[PATH_MAX + 16], size[32];
	int whole, refused = 0, kib;

	fill(w, 1, 1500);
	ck_assert_int_eq(get(w, "", NULL), 200);
	whole = (int)(w->answer.body.len / 1024);
	snprintf(folder, sizeof(folder), "%s/snapshots", w->site.data);
	/* from much too small to just enough for all, the .json, too */
	for (kib = 8; w->answer.status != 200 || kib == 8; kib += kib < whole - 150 ? 150 : 4) {
		snprintf(size, sizeof(size), "size=%dk", kib);
		if (mount("snapshots", folder, "tmpfs", 0, size) != 0) {
			fprintf(stderr, "skipped: snapshots on a full disk: no disk can be mounted here\n");
			return;
		}
		ck_assert_int_lt(kib, whole + 64);
		if (get(w, "", NULL) != 200) {
			refused += kib >= whole;
			ck_assert_msg(w->answer.status == 503, "%d: %d", kib, w->answer.status);
			ck_assert(web_is_json(&w->answer));
			ck_assert_ptr_nonnull(strstr(w->answer.body.p, "\"code\":\"unavailable\""));
			ck_assert_ptr_null(strstr(w->answer.body.p, w->site.data));
			ck_assert_str_eq(web_header(&w->answer, "Retry-After"), "10");
			ck_assert_str_eq(listing(w), "lock ");
		}
		ck_assert_int_eq(umount2(folder, MNT_DETACH), 0);
	}
	ck_assert_int_ge(refused, 1); /* where only the .json found no room */
	snprintf(size, sizeof(size), "size=%dk", whole / 2);
	ck_assert_int_eq(mount("snapshots", folder, "tmpfs", 0, size), 0);
	ck_assert_int_eq(get(w, "?at_seq=1400", NULL), 503);
	ck_assert_str_eq(listing(w), "");
	ck_assert_int_eq(umount2(folder, MNT_DETACH), 0);
	/* pushes and pulls go on, and with room it is made */
	fill(w, 1501, 1);
	ck_assert_int_eq(get(w, "", NULL), 200);
	check_whole(w, 1501);
}

START_TEST(on_a_full_disk_there_is_a_reason_and_nothing_half)
{
	with_each(full_disk);
}
END_TEST

static void
no_folder(struct world *w)
{
	char folder[PATH_MAX + 16];

	fill(w, 1, 15);
	snprintf(folder, sizeof(folder), "%s/snapshots", w->site.data);
	harm_put(folder, span_of("in the way"));
	ck_assert_int_eq(get(w, "", NULL), 503);
	ck_assert_ptr_nonnull(strstr(w->answer.body.p, "can't"));
	ck_assert_ptr_null(strstr(w->answer.body.p, w->site.data));
	ck_assert_int_eq(get(w, "?at_seq=4", NULL), 503);
	ck_assert_int_eq(unlink(folder), 0);
	ck_assert_int_eq(get(w, "", NULL), 200);
	check_whole(w, 15);
}

START_TEST(where_no_folder_can_be_made_it_is_said)
{
	with_each(no_folder);
}
END_TEST

/* --- another log --- */

static void
replaced(struct world *w)
{
	char before[128];

	fill(w, 1, 20);
	ck_assert_int_eq(get(w, "", NULL), 200);
	fill(w, 21, 1);
	ck_assert_int_eq(get(w, "", NULL), 200);
	snprintf(before, sizeof(before), "%s", web_header(&w->answer, "X-Snapshot-Digest"));
	/* another log of that id, and length */
	change_log(w, "UPDATE event SET payload = replace(payload, '\"T ', '\"U '),"
	              " digest = randomblob(16)");
	ck_assert_int_eq(get(w, "", NULL), 200);
	check_whole(w, 21);
	ck_assert_str_ne(web_header(&w->answer, "X-Snapshot-Digest"), before);
	ck_assert_str_eq(listing(w), "21.db 21.json lock ");
	/* another id, as a restore gives */
	change_log(w, "UPDATE head SET log_id = randomblob(16)");
	ck_assert_int_eq(get(w, "", NULL), 200);
	check_whole(w, 21);
	/* one that ends before */
	fill(w, 22, 1);
	ck_assert_int_eq(get(w, "", NULL), 200);
	change_log(w, "DELETE FROM event WHERE seq > 15;"
	              "UPDATE head SET seq = 15, visible = 15, count = 15");
	ck_assert_int_eq(get(w, "", NULL), 200);
	check_whole(w, 15);
	ck_assert_str_eq(listing(w), "15.db 15.json lock ");
}

START_TEST(a_snapshot_of_another_log_is_never_sent)
{
	with_each(replaced);
}
END_TEST

/* --- nginx and workers --- */

START_TEST(where_nginx_finds_no_file_a_worker_sends_the_snapshot)
{
	struct site_options options = { .kind = SITE_FASTCGI, .nginx_edits =
	    "s,/snapshots/\";,/nowhere/\";," };
	struct world w;

	world_start(&w, &options);
	fill(&w, 1, 50);
	ck_assert_int_eq(get(&w, "", NULL), 200);
	check_whole(&w, 50);
	check_parts(&w, "", false);
	ck_assert_int_eq(ask(&w, READER, "HEAD", SNAPSHOT, NULL, NULL), 200);
	check_headers(&w, 50);
	ck_assert_int_eq(w.answer.body.len, 0);
	ck_assert_int_eq(builds(&w), 1);
	world_stop(&w);
}
END_TEST

/* As many servers have them: for dot files, and for kinds of files. */
START_TEST(what_else_lives_in_nginx_takes_no_snapshot)
{
	struct site_options options = { .kind = SITE_FASTCGI, .locations =
	    "\tlocation ~ /\\. { deny all; }\n\tlocation ~ \\.db$ { return 410; }\n" };
	struct world w;

	world_start(&w, &options);
	fill(&w, 1, 50);
	ck_assert_int_eq(ask(&w, READER, "GET", "/x.db", NULL, NULL), 410);
	ck_assert_int_eq(get(&w, "", NULL), 200);
	check_whole(&w, 50);
	world_stop(&w);
}
END_TEST

START_TEST(a_worker_that_nginx_told_nothing_sends_the_file_itself)
{
	struct site_options options = { .kind = SITE_FASTCGI };
	struct buf file = { 0 }, answer = { 0 };
	char bearer[5000], path[256];
	const char *body;
	struct world w;
	int fd;

	world_start(&w, &options);
	fill(&w, 1, 100);
	ck_assert_int_eq(get(&w, "", NULL), 200);
	ck_assert_int_eq(fs_read(path_of(&w, "100.db"), 1 << 24, &file, NULL), RC_OK);
	snprintf(bearer, sizeof(bearer), "Bearer %s", w.tokens[READER]);
	snprintf(path, sizeof(path), "/v1/projects/%s/sync/snapshot", w.project);
	for (int i = 0; i < 3; i++) {
		const char *const params[] = {
			"REQUEST_METHOD", i < 2 ? "GET" : "HEAD", "PATH_INFO", path,
			"HTTP_AUTHORIZATION", bearer, "HTTP_TD_SYNC_SNAPSHOTS", "/x",
			"TD_SYNC_SNAPSHOTS", "", i == 1 ? "HTTP_RANGE" : "X", "bytes=4096-8191", NULL };

		fd = fcgi_connect(w.site.socket);
		ck_assert(fcgi_send(fd, params, (struct span){ NULL, 0 }, false));
		ck_assert(fcgi_receive(fd, &answer));
		ck_assert_ptr_nonnull(strstr(answer.p, i == 1 ? "Status: 206 " : "Status: 200 "));
		ck_assert_ptr_null(strstr(answer.p, "X-Accel-Redirect"));
		body = strstr(answer.p, "\r\n\r\n");
		ck_assert_ptr_nonnull(body);
		body += 4;
		ck_assert(span_eq((struct span){ body, answer.len - (size_t)(body - answer.p) },
		                  i == 0 ? buf_span(&file) :
		                  i == 1 ? (struct span){ file.p + 4096, 4096 } :
		                           (struct span){ NULL, 0 }));
	}
	buf_free(&file);
	buf_free(&answer);
	world_stop(&w);
}
END_TEST

TCase *
snapshot_case(void)
{
	TCase *tc = tcase_create("snapshot");

	tcase_set_timeout(tc, 240);
	tcase_add_test(tc, a_snapshot_is_a_database_with_its_seq_and_digest);
	tcase_add_test(tc, a_snapshot_comes_in_parts);
	tcase_add_test(tc, a_range_is_within_the_file);
	tcase_add_test(tc, a_snapshot_is_of_the_head_and_two_are_kept);
	tcase_add_test(tc, a_snapshot_may_lag_by_so_many_events);
	tcase_add_test(tc, a_snapshot_is_for_who_may_read_the_log);
	tcase_add_test(tc, what_is_parked_is_in_no_snapshot);
	tcase_add_test(tc, a_snapshot_of_the_past_is_made_for_who_asks);
	tcase_add_test(tc, a_replay_is_bounded);
	tcase_add_test(tc, fifty_who_ask_at_once_cost_one_build);
	tcase_add_test(tc, snapshots_beside_pushes_are_whole);
	tcase_add_test(tc, a_wait_ends_before_a_stock_td_gives_up);
	tcase_add_test(tc, the_past_of_one_project_leaves_places_to_others);
	tcase_add_test(tc, a_large_event_is_applied_by_few_at_a_time);
	tcase_add_test(tc, a_reader_is_never_cut_off_by_a_newer_one);
	tcase_add_test(tc, a_damaged_snapshot_is_made_anew);
	tcase_add_test(tc, a_bit_that_flips_on_the_disk_is_found);
	tcase_add_test(tc, what_dead_ones_left_behind_goes);
	tcase_add_test(tc, killed_at_any_moment_it_leaves_nothing_half);
	tcase_add_test(tc, on_a_full_disk_there_is_a_reason_and_nothing_half);
	tcase_add_test(tc, where_no_folder_can_be_made_it_is_said);
	tcase_add_test(tc, a_snapshot_of_another_log_is_never_sent);
	if (!http_can_run(SITE_FASTCGI))
		return tc;
	tcase_add_test(tc, so_many_may_wait_for_a_snapshot_and_no_push_waits_for_them);
	tcase_add_test(tc, others_go_on_when_a_worker_is_killed);
	tcase_add_test(tc, where_nginx_finds_no_file_a_worker_sends_the_snapshot);
	tcase_add_test(tc, what_else_lives_in_nginx_takes_no_snapshot);
	tcase_add_test(tc, a_worker_that_nginx_told_nothing_sends_the_file_itself);
	return tc;
}
