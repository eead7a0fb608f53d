/*
 * Pages of history, kept on disk: through nginx, by a worker without it, as
 * CGI; and whatever may be wrong with a file.
 */
#include "http_test.h"

#include "fcgi_client.h"

#include "base/fs.h"
#include "http/pages.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#define PULL "/v1/projects/{p}/sync/pull?after_server_seq="
#define KEEP_MS 10000 /* a page is kept a moment after its answer */
#define CHECKS 600    /* requests until a sampled check has come, surely */
#define HERD 16

static const enum site_kind kinds[] = { SITE_FASTCGI, SITE_CGI };

/* Runs a test's body with each kind of site that can be here. */
static void
with_each(void (*body)(struct world *w))
{
	for (size_t i = 0; i < 2; i++) {
		struct site_options options = { .kind = kinds[i] };
		struct world w;

		if (!http_can_run(kinds[i]))
			continue;
		world_start(&w, &options);
		body(&w);
		world_stop(&w);
	}
}

/* --- the log and its files --- */

/* Push n events with distinct numbers from `first`, 500 at a time. */
static void
fill(struct world *w, int first, int n)
{
	for (int done = 0; done < n; done += 500)
		ck_assert_int_eq(push_some(w, "d", first + done, n - done < 500 ? n - done : 500), 200);
}

/* Push n events of that many bytes each. */
static void
fill_large(struct world *w, int first, int n, size_t bytes)
{
	for (int i = first; i < first + n; i++) {
		struct buf b = { 0 };
		unsigned noise = (unsigned)i;

		buf_addf(&b, "{\"device_id\":\"large\",\"session_id\":\"s\",\"events\":["
		         "{\"client_action_id\":%d,\"action_type\":\"create\",\"entity_type\":"
		         "\"issues\",\"entity_id\":\"td-l%d\",\"payload\":{\"schema_version\":1,"
		         "\"new_data\":{\"id\":\"td-l%d\",\"title\":\"", i, i, i);
		for (size_t k = 0; k < bytes; k++) { /* compresses to about a half */
			noise = noise * 1103515245 + 12345;
			buf_add_byte(&b, "abcdefghijklmnop"[noise >> 16 & 15]);
		}
		buf_add_str(&b, "\"},\"previous_data\":{}},\"client_timestamp\":"
		            "\"2026-03-01T10:00:00Z\"}]}");
		ck_assert_int_eq(ask_as(w, w->tokens[WRITER], "POST", "/v1/projects/{p}/sync/push",
		                        buf_span(&b), NULL), 200);
		buf_free(&b);
	}
}

/* The log's id, as files are named by it. The last answer stays. */
static void
log_id(const struct world *w, char out[33])
{
	char dir[PATH_MAX + 64];
	struct events_head head;
	struct events *log;

	snprintf(dir, sizeof(dir), "%s/projects/%s", w->site.data, w->project);
	ck_assert_int_eq(events_open(dir, &log, NULL), RC_OK);
	ck_assert_int_eq(events_head(log, &head, NULL), RC_OK);
	events_close(log);
	for (size_t i = 0; i < LOG_ID_LEN; i++)
		snprintf(out + 2 * i, 3, "%02x", head.log_id[i]);
}

/* The file of the page after a cursor. */
static const char *
file_of(struct world *w, int64_t after)
{
	static char path[PATH_MAX + 128];
	char id[33];

	log_id(w, id);
	snprintf(path, sizeof(path), "%s/pages/%s/%s/%lld.json.gz", w->site.data, w->project,
	         id, (long long)after);
	return path;
}

/* Wait until a file is kept; false: it is not. */
static bool
is_kept(struct world *w, int64_t after, struct stat *st)
{
	const char *path = file_of(w, after);
	struct stat temp;
	char name[PATH_MAX + 140];

	snprintf(name, sizeof(name), "%s.tmp", path);
	for (int i = 0; i < KEEP_MS / 5; i++) {
		if (stat(path, st) == 0 && st->st_size > 0 && lstat(name, &temp) != 0)
			return true;
		usleep(5000);
	}
	return false;
}

static int
pull(struct world *w, int64_t after, const char *more, const char *header)
{
	char path[128];

	snprintf(path, sizeof(path), PULL "%lld%s", (long long)after, more);
	return ask(w, READER, "GET", path, NULL, header);
}

/* A page, and once more until it comes from its file. */
static void
pull_until_kept(struct world *w, int64_t after, struct buf *out)
{
	struct stat st;

	ck_assert_int_eq(pull(w, after, "", NULL), 200);
	buf_reset(out);
	buf_add_span(out, buf_span(&w->answer.body));
	buf_cstr(out);
	ck_assert_msg(is_kept(w, after, &st), "page %lld is not kept", (long long)after);
}

/* Whether the last answer came from a file: its inode's time of access tells
 * nothing, but the worker's log of what it sent does. */
static bool
is_body(const struct world *w, const struct buf *want)
{
	return span_eq(buf_span(&w->answer.body), buf_span(want));
}

static void
gunzip(struct buf *b)
{
	static char text[32 << 20];
	z_stream z = { 0 };

	ck_assert_int_eq(inflateInit2(&z, MAX_WBITS + 16), Z_OK);
	z.next_in = (unsigned char *)b->p;
	z.avail_in = (uInt)b->len;
	z.next_out = (unsigned char *)text;
	z.avail_out = sizeof(text);
	ck_assert_int_eq(inflate(&z, Z_FINISH), Z_STREAM_END);
	ck_assert_int_eq(z.avail_in, 0);
	buf_reset(b);
	buf_add(b, text, z.total_out);
	inflateEnd(&z);
}

/* --- what is sent --- */

static void
same_bytes(struct world *w)
{
	static const char *const takes[] = { NULL, "Accept-Encoding: gzip", "Accept-Encoding: br",
	    "Accept-Encoding: gzip;q=0", "Accept-Encoding: br, gzip;q=0.5",
	    "Range: bytes=0-9", "If-Modified-Since: Mon, 01 Jan 2035 00:00:00 GMT" };
	static const bool packed[] = { false, true, false, false, true, false, false };
	struct buf made = { 0 }, file = { 0 };
	struct stat before, after;
	char id[33];

	fill(w, 1, 2200);
	log_id(w, id);
	pull_until_kept(w, 1000, &made);
	ck_assert_int_eq(answer_number(w, "last_server_seq"), 2000);
	ck_assert(is_kept(w, 1000, &before));
	ck_assert_int_eq(before.st_mode & 07777, 0640);
	for (size_t i = 0; i < sizeof(takes) / sizeof(*takes); i++) {
		ck_assert_int_eq(pull(w, 1000, "", takes[i]), 200);
		ck_assert_str_eq(web_header(&w->answer, "Content-Encoding"), packed[i] ? "gzip" : "");
		ck_assert_str_eq(web_header(&w->answer, "X-Log-Id"), id);
		ck_assert_str_eq(web_header(&w->answer, "Content-Type"), "application/json");
		ck_assert_str_eq(web_header(&w->answer, "Cache-Control"), "private, no-store");
		ck_assert_str_eq(web_header(&w->answer, "X-Content-Type-Options"), "nosniff");
		ck_assert_str_eq(web_header(&w->answer, "Vary"), "Accept-Encoding");
		ck_assert_str_eq(web_header(&w->answer, "ETag"), "");
		ck_assert_str_eq(web_header(&w->answer, "Last-Modified"), "");
		ck_assert_str_eq(web_header(&w->answer, "Accept-Ranges"), "");
		ck_assert_str_eq(web_header(&w->answer, "X-Accel-Redirect"), "");
		ck_assert_int_eq(web_header_count(&w->answer, "X-Request-Id"), 1);
		ck_assert_int_eq(web_header_count(&w->answer, "X-Log-Id"), 1);
		ck_assert_int_eq(web_header_count(&w->answer, "Cache-Control"), 1);
		ck_assert_int_eq(web_header_count(&w->answer, "Vary"), 1);
		if (packed[i]) { /* as it is kept: nobody packed it anew */
			ck_assert_int_eq(fs_read(file_of(w, 1000), 1 << 24, &file, NULL), RC_OK);
			ck_assert(pull(w, 1000, "", takes[i]) == 200 && is_body(w, &file));
			buf_reset(&file);
			gunzip(&w->answer.body);
		}
		ck_assert_msg(is_body(w, &made), "%s", takes[i] != NULL ? takes[i] : "-");
	}
	/* with a limit that does not cut it, and one that does */
	ck_assert(pull(w, 1000, "&limit=1000", NULL) == 200 && is_body(w, &made));
	ck_assert_int_eq(pull(w, 1000, "&limit=999", NULL), 200);
	ck_assert_int_eq(answer_number(w, "last_server_seq"), 1999);
	ck_assert_int_eq(ask(w, READER, "HEAD", PULL "1000", NULL, NULL), 200);
	ck_assert_int_eq(w->answer.body.len, 0);
	ck_assert_str_eq(web_header(&w->answer, "X-Log-Id"), id);
	/* made once */
	ck_assert(is_kept(w, 1000, &after));
	ck_assert(before.st_ino == after.st_ino && before.st_mtime == after.st_mtime);
	buf_free(&made);
	buf_free(&file);
}

START_TEST(a_kept_page_is_the_same_bytes_as_a_made_one)
{
	with_each(same_bytes);
}
END_TEST

static void
which(struct world *w)
{
	static const struct { int64_t after; const char *more; bool kept; } rows[] = {
		{ 0, "&limit=999", false },    /* the limit cuts it */
		{ 500, "", false },            /* in the middle of a block */
		{ 999, "", false },
		{ 2000, "", false },           /* the block is not complete */
		{ 1000, "&limit=5000", true },
		{ 0, "", true },
	};
	struct stat st;

	fill(w, 1, 2500);
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		ck_assert_int_eq(pull(w, rows[i].after, rows[i].more, NULL), 200);
		if (rows[i].kept)
			ck_assert_msg(is_kept(w, rows[i].after, &st), "row %zu", i);
	}
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		if (!rows[i].kept && rows[i].after != 0)
			ck_assert_msg(stat(file_of(w, rows[i].after), &st) != 0, "row %zu", i);
	/* what was at the head is kept once its block is complete */
	fill(w, 2501, 500);
	ck_assert_int_eq(pull(w, 2000, "", NULL), 200);
	ck_assert(is_kept(w, 2000, &st));
	/* 304, cursor_ahead and the caller's knowledge are judged before */
	ck_assert_int_eq(pull(w, 0, "", "X-Log-Id: 00000000000000000000000000000000"), 409);
	ck_assert_int_eq(pull(w, 3001, "", NULL), 409);
}

START_TEST(only_pages_that_everyone_asks_for_are_kept)
{
	with_each(which);
}
END_TEST

/* Five events of 1.5 MB: two fit a page. Then one of 5 MB. */
static void
by_bytes(struct world *w)
{
	struct buf pages[4] = { { 0 } };
	int64_t at = 0;
	struct stat st;

	fill_large(w, 1, 5, 1500000);
	fill_large(w, 6, 1, 5 << 20);
	fill(w, 1, 1000);
	/* not behind one that is kept: not kept */
	ck_assert_int_eq(pull(w, 2, "", NULL), 200);
	usleep(100000);
	ck_assert(stat(file_of(w, 2), &st) != 0);
	for (int i = 0; i < 4; i++) {
		pull_until_kept(w, at, &pages[i]);
		at = answer_number(w, "last_server_seq");
		if (i == 0) { /* nor in the middle of one that is */
			ck_assert_int_eq(at, 2);
			ck_assert_int_eq(pull(w, 1, "", NULL), 200);
			usleep(100000);
			ck_assert(stat(file_of(w, 1), &st) != 0);
			ck_assert_int_eq(pull(w, 0, "", NULL), 200);
		}
	}
	ck_assert_int_eq(at, 6);
	at = 0;
	for (int i = 0; i < 4; i++) {
		ck_assert(pull(w, at, "", NULL) == 200 && is_body(w, &pages[i]));
		at = answer_number(w, "last_server_seq");
		ck_assert(pull(w, at, "", "Accept-Encoding: gzip") == 200);
		buf_free(&pages[i]);
	}
}

START_TEST(pages_that_the_byte_limit_cut_are_kept_in_their_order)
{
	with_each(by_bytes);
}
END_TEST

TCase *
pages_case(void)
{
	TCase *tc = tcase_create("pages");

	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, a_kept_page_is_the_same_bytes_as_a_made_one);
	tcase_add_test(tc, only_pages_that_everyone_asks_for_are_kept);
	tcase_add_test(tc, pages_that_the_byte_limit_cut_are_kept_in_their_order);
	return tc;
}
