/*
 * Pages of history, kept on disk: through nginx, by a worker without it, as
 * CGI; and whatever may be wrong with a file.
 */
#include "http_test.h"

#include "fcgi_client.h"
#include "harm.h"

#include "temp.h"

#include "base/fs.h"
#include "http/pages.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zlib.h>

#define PULL "/v1/projects/{p}/sync/pull?after_server_seq="
#define KEEP_MS 10000 /* a page is kept a moment after its answer */
#define CHECKS 600    /* requests until a sampled check has come, surely */
#define HERD 16

/* --- the log and its files --- */

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
	static const struct { const char *header; bool packed, by_worker; } takes[] = {
		{ NULL }, { "Accept-Encoding: gzip", true }, { "Accept-Encoding: br" },
		{ "Accept-Encoding: gzip;q=0" }, { "Accept-Encoding: br, gzip;q=0.5", true },
		{ "Range: bytes=0-9" }, { "If-None-Match: \"x\"" },
		{ "If-Modified-Since: Mon, 01 Jan 2035 00:00:00 GMT" },
		/* nginx would find these false: a page has neither tag nor date */
		{ "If-Match: \"x\"", false, true },
		{ "If-Unmodified-Since: Thu, 01 Jan 1970 00:00:00 GMT", false, true },
	};
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
		const char *header = takes[i].header;

		ck_assert_int_eq(pull(w, 1000, "", header), 200);
		ck_assert_str_eq(web_header(&w->answer, "Content-Encoding"), takes[i].packed ? "gzip" : "");
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
		ck_assert_msg(web_header_count(&w->answer, "Cache-Control") == 1, "%zu %s", i, w->answer.headers.p);
		/* nginx says it once more of what a worker sends */
		ck_assert_int_eq(web_header_count(&w->answer, "Vary"),
		                 takes[i].by_worker && w->site.kind == SITE_FASTCGI ? 2 : 1);
		if (takes[i].packed) { /* as it is kept: nobody packed it anew */
			ck_assert_int_eq(fs_read(file_of(w, 1000), 1 << 24, &file, NULL), RC_OK);
			ck_assert(pull(w, 1000, "", header) == 200 && is_body(w, &file));
			buf_reset(&file);
			gunzip(&w->answer.body);
		}
		ck_assert_msg(is_body(w, &made), "%s", header != NULL ? header : "-");
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


/* --- files that are not what they should be --- */

static void
to_other(const char *path, struct buf *b)
{
	char other[PATH_MAX + 160];

	snprintf(other, sizeof(other), "%.*s/0.json.gz", (int)(strrchr(path, '/') - path), path);
	buf_reset(b);
	ck_assert_int_eq(fs_read(other, 1 << 24, b, NULL), RC_OK);
	harm_put(path, buf_span(b));
}

static const struct harm other = { "another page in its place", to_other };

static void
damaged(struct world *w)
{
	struct buf made = { 0 }, first = { 0 }, file = { 0 };
	char path[PATH_MAX + 128];
	struct stat st;
	int i;

	fill(w, 1, 2000);
	pull_until_kept(w, 0, &made);
	pull_until_kept(w, 1000, &made);
	snprintf(path, sizeof(path), "%s", file_of(w, 1000));
	ck_assert_int_eq(fs_read(path, 1 << 24, &first, NULL), RC_OK);
	for (size_t n = 0; n <= HARMS; n++) {
		const struct harm *harm = n < HARMS ? &harms[n] : &other;

		buf_reset(&file);
		buf_add_span(&file, buf_span(&first));
		harm->harm(path, &file);
		ck_assert_msg(pull(w, 1000, "", NULL) == 200 && is_body(w, &made), "%s", harm->what);
		ck_assert_msg(is_kept(w, 1000, &st) && S_ISREG(st.st_mode), "%s", harm->what);
		buf_reset(&file);
		ck_assert_int_eq(fs_read(path, 1 << 24, &file, NULL), RC_OK);
		ck_assert_msg(span_eq(buf_span(&file), buf_span(&first)), "%s", harm->what);
	}
	/* A bit of the content: found at once by who sends the file itself; else
	 * by one of PAGES_CHECK_EACH requests, and no client can take it for good. */
	file.p[file.len / 2] ^= 16;
	harm_put(path, buf_span(&file));
	for (i = 0; i < CHECKS; i++) {
		ck_assert_int_eq(pull(w, 1000, "", "Accept-Encoding: gzip"), 200);
		if (!is_body(w, &file))
			break;
		ck_assert_int_eq(w->site.kind, SITE_FASTCGI);
	}
	if (strcmp(web_header(&w->answer, "Content-Encoding"), "gzip") == 0)
		gunzip(&w->answer.body);
	ck_assert(is_body(w, &made));
	ck_assert_int_lt(i, w->site.kind == SITE_CGI ? 1 : CHECKS);
	ck_assert(is_kept(w, 1000, &st));
	buf_reset(&file);
	ck_assert_int_eq(fs_read(path, 1 << 24, &file, NULL), RC_OK);
	ck_assert(span_eq(buf_span(&file), buf_span(&first)));
	buf_free(&made);
	buf_free(&first);
	buf_free(&file);
}

START_TEST(a_damaged_page_is_made_anew)
{
	with_each(damaged);
}
END_TEST

/* Let a file look as if it was written so many seconds ago. */
static void
make_old(const char *path, int seconds)
{
	struct timespec at[2] = { { .tv_nsec = UTIME_OMIT } };

	at[1].tv_sec = clock_now_us() / 1000000 - seconds;
	ck_assert_int_eq(utimensat(AT_FDCWD, path, at, AT_SYMLINK_NOFOLLOW), 0);
}

static void
dead_writers(struct world *w)
{
	char here[PATH_MAX + 140], there[PATH_MAX + 140];
	struct buf made = { 0 };
	struct stat st;

	fill(w, 1, 3000);
	pull_until_kept(w, 0, &made);
	snprintf(here, sizeof(here), "%s.tmp", file_of(w, 1000));
	snprintf(there, sizeof(there), "%s.tmp", file_of(w, 5000));
	harm_put(here, span_of("half a p"));
	harm_put(there, span_of("half a p"));
	/* somebody is at it */
	ck_assert_int_eq(pull(w, 1000, "", NULL), 200);
	usleep(100000);
	ck_assert(stat(file_of(w, 1000), &st) != 0 && stat(here, &st) == 0);
	/* nobody can be any more */
	make_old(here, 400);
	make_old(there, 400);
	pull_until_kept(w, 1000, &made);
	ck_assert(stat(here, &st) != 0);
	/* the others are found by a worker's first page; this kind has one each */
	if (w->site.kind == SITE_CGI) {
		for (int i = 0; i < KEEP_MS / 5 && stat(there, &st) == 0; i++)
			usleep(5000);
		ck_assert(stat(there, &st) != 0);
	}
	buf_free(&made);
}

START_TEST(what_a_writer_left_behind_is_in_nobodys_way)
{
	with_each(dead_writers);
}
END_TEST

#define KILLS 10   /* in the middle of writing */
#define TRIES 1000

START_TEST(a_writer_killed_at_any_moment_leaves_no_page_that_is_half)
{
	struct site_options options = { .kind = SITE_CGI };
	struct buf made = { 0 };
	char path[PATH_MAX + 128], temp[PATH_MAX + 140];
	int64_t start, whole_us;
	int cut = 0, i;
	struct world w;
	struct stat st;

	world_start(&w, &options);
	fill(&w, 1, 1000);
	pull_until_kept(&w, 0, &made);
	snprintf(path, sizeof(path), "%s", file_of(&w, 0));
	snprintf(temp, sizeof(temp), "%s.tmp", path);
	unlink(path);
	start = clock_mono_us();
	ck_assert_int_eq(run_cgi(&w, "sync/pull", 0), 0);
	whole_us = clock_mono_us() - start;
	for (i = 0; i < TRIES && cut < KILLS; i++) {
		unlink(path);
		unlink(temp);
		run_cgi(&w, "sync/pull", (useconds_t)(1 + whole_us * (i % 40) / 30));
		cut += stat(temp, &st) == 0;
		/* what is there under its name is whole */
		if (stat(path, &st) == 0)
			ck_assert(pull(&w, 0, "", NULL) == 200 && is_body(&w, &made));
		ck_assert_int_eq(said(&w, "made anew"), 0);
	}
	ck_assert_int_eq(cut, KILLS);
	ck_assert(pull(&w, 0, "", NULL) == 200 && is_body(&w, &made));
	buf_free(&made);
	world_stop(&w);
}
END_TEST

/* --- many at once --- */

struct puller {
	pthread_t thread;
	struct world *w;
	const struct buf *want;
	int wrong;
};

static void *
pull_away(void *ctx)
{
	struct puller *p = ctx;
	struct web_answer answer = { 0 };
	char path[128];
	struct web_call call = { .url = p->w->site.url, .path = path,
	                         .token = p->w->tokens[READER] };

	for (int i = 0; i < 3; i++) {
		snprintf(path, sizeof(path), "/v1/projects/%s/sync/pull?after_server_seq=%d",
		         p->w->project, i * 1000);
		p->wrong += !web_call(&call, &answer) || answer.status != 200 ||
		            !span_eq(buf_span(&answer.body), buf_span(&p->want[i]));
	}
	web_free(&answer);
	return NULL;
}

static void
herd(struct world *w)
{
	struct puller pullers[HERD];
	struct buf made[3] = { { 0 } };
	struct stat st;

	fill(w, 1, 3000);
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(pull(w, i * 1000, "", NULL), 200);
		buf_add_span(&made[i], buf_span(&w->answer.body));
	}
	for (int i = 0; i < 3; i++) {
		ck_assert(is_kept(w, i * 1000, &st));
		ck_assert_int_eq(unlink(file_of(w, i * 1000)), 0);
	}
	for (int i = 0; i < HERD; i++) {
		pullers[i] = (struct puller){ .w = w, .want = made };
		ck_assert_int_eq(pthread_create(&pullers[i].thread, NULL, pull_away, &pullers[i]), 0);
	}
	for (int i = 0; i < HERD; i++) {
		pthread_join(pullers[i].thread, NULL);
		ck_assert_int_eq(pullers[i].wrong, 0);
	}
	for (int i = 0; i < 3; i++) {
		ck_assert(is_kept(w, i * 1000, &st));
		ck_assert(pull(w, i * 1000, "", NULL) == 200 && is_body(w, &made[i]));
		buf_free(&made[i]);
	}
}

START_TEST(all_who_ask_first_at_once_get_the_same)
{
	with_each(herd);
}
END_TEST

/* --- the bound --- */

/* Start a site on another's data with that bound. */
static void
start_bound(struct world *w, struct site *s, int64_t bound)
{
	char config[64];
	struct site_options o = { .kind = w->site.kind, .data = s->data, .config = config };

	snprintf(config, sizeof(config), "page_cache_bytes = %lld\n", (long long)bound);
	*s = w->site;
	ck_assert(site_start(&w->site, &o));
}

static void
stop_bound(struct world *w, const struct site *s)
{
	ck_assert(site_stop(&w->site));
	w->site = *s;
}

#define PAGES 4

static void
bound(struct world *w)
{
	int64_t size[PAGES], sum = 0;
	int least = 0, old[PAGES - 1], n = 0;
	struct buf made = { 0 };
	struct stat st;
	struct site site;

	fill(w, 1, PAGES * 1000);
	for (int i = 0; i < PAGES; i++) {
		pull_until_kept(w, i * 1000, &made);
		ck_assert(is_kept(w, i * 1000, &st));
		size[i] = st.st_size;
		least = size[i] < size[least] ? i : least;
	}
	/* The smallest comes last: for it, the oldest of the others must go. */
	for (int i = 0; i < PAGES; i++)
		if (i != least) {
			old[n++] = i * 1000;
			sum += size[i];
		}
	for (int less = 0; less < 2; less++) {
		start_bound(w, &site, sum - less);
		for (int i = 0; i < PAGES; i++)
			unlink(file_of(w, i * 1000));
		for (int i = 0; i < PAGES - 1; i++) {
			pull_until_kept(w, old[i], &made);
			make_old(file_of(w, old[i]), 7200 - 1000 * i);
		}
		usleep(200000);
		/* as many bytes as there may be, or one more */
		ck_assert_int_eq(stat(file_of(w, old[0]), &st) != 0, less);
		ck_assert(stat(file_of(w, old[1]), &st) == 0 && stat(file_of(w, old[2]), &st) == 0);
		if (!less) {
			pull_until_kept(w, least * 1000, &made);
			for (int i = 0; i < 400 && stat(file_of(w, old[0]), &st) == 0; i++)
				usleep(5000);
			ck_assert(stat(file_of(w, old[0]), &st) != 0);
			ck_assert(stat(file_of(w, old[1]), &st) == 0);
			ck_assert(stat(file_of(w, least * 1000), &st) == 0);
		}
		stop_bound(w, &site);
	}
	buf_free(&made);
}

START_TEST(all_pages_together_stay_within_the_bound_and_the_oldest_goes)
{
	with_each(bound);
}
END_TEST

static void
bound_elsewhere(struct world *w)
{
	char pages[PATH_MAX + 16], elsewhere[PATH_MAX + 16];
	struct buf made = { 0 };
	struct stat st;
	struct site site;

	snprintf(pages, sizeof(pages), "%s/pages", w->site.data);
	snprintf(elsewhere, sizeof(elsewhere), "%s/elsewhere", w->site.data);
	fill(w, 1, 2000);
	pull_until_kept(w, 1000, &made);
	ck_assert(is_kept(w, 1000, &st));
	temp_remove(pages);
	ck_assert(mkdir(elsewhere, 0750) == 0 && symlink("elsewhere", pages) == 0);
	start_bound(w, &site, st.st_size + st.st_size / 2); /* for one of two */
	pull_until_kept(w, 0, &made);
	make_old(file_of(w, 0), 3600);
	pull_until_kept(w, 1000, &made);
	for (int i = 0; i < 400 && stat(file_of(w, 0), &st) == 0; i++)
		usleep(5000);
	ck_assert(stat(file_of(w, 0), &st) != 0);
	ck_assert(stat(file_of(w, 1000), &st) == 0);
	stop_bound(w, &site);
	buf_free(&made);
}

START_TEST(the_bound_holds_where_the_folder_is_a_link_to_another_disk)
{
	with_each(bound_elsewhere);
}
END_TEST

static void
not_kept(struct world *w)
{
	char pages[PATH_MAX + 16];
	struct buf made = { 0 };
	struct stat st;
	struct site site;

	snprintf(pages, sizeof(pages), "%s/pages", w->site.data);
	fill(w, 1, 1500);
	for (int bytes = 0; bytes < 2000; bytes += 1000) {
		start_bound(w, &site, bytes);
		for (int i = 0; i < 12; i++) {
			ck_assert_int_eq(pull(w, 0, "", NULL), 200);
			ck_assert(i == 0 || is_body(w, &made));
			buf_reset(&made);
			buf_add_span(&made, buf_span(&w->answer.body));
		}
		usleep(200000);
		if (bytes == 0)
			ck_assert(stat(pages, &st) != 0);
		else
			ck_assert(stat(file_of(w, 0), &st) != 0);
		/* each worker says it once; as CGI each process is one */
		if (bytes == 0)
			ck_assert_int_eq(said(w, "larger than page_cache_bytes"), 0);
		else if (w->site.kind == SITE_FASTCGI)
			ck_assert(said(w, "larger than page_cache_bytes") >= 1 &&
			          said(w, "larger than page_cache_bytes") <= 8);
		stop_bound(w, &site);
	}
	/* no folder can be made */
	temp_remove(pages);
	harm_put(pages, span_of("in the way"));
	for (int i = 0; i < 12; i++)
		ck_assert(pull(w, 0, "", NULL) == 200 && is_body(w, &made));
	usleep(200000);
	ck_assert_int_ge(said(w, "pages can't be kept"), 1);
	ck_assert_int_eq(said(w, "it is made anew"), 0); /* there was none to remove */
	if (w->site.kind == SITE_FASTCGI)
		ck_assert_int_le(said(w, "pages can't be kept"), 8);
	buf_free(&made);
}

START_TEST(where_none_can_be_kept_each_is_made)
{
	with_each(not_kept);
}
END_TEST

static void
full_disk(struct world *w)
{
	char pages[PATH_MAX + 16], temp[PATH_MAX + 140];
	struct buf made = { 0 };
	struct stat st;

	snprintf(pages, sizeof(pages), "%s/pages", w->site.data);
	ck_assert_int_eq(mkdir(pages, 0750), 0);
	if (mount("pages", pages, "tmpfs", 0, "size=4k") != 0) {
		fprintf(stderr, "skipped: pages on a full disk: no disk can be mounted here\n");
		return;
	}
	fill(w, 1, 1500);
	for (int i = 0; i < 12; i++) {
		ck_assert_int_eq(pull(w, 0, "", NULL), 200);
		ck_assert(i == 0 || is_body(w, &made));
		buf_reset(&made);
		buf_add_span(&made, buf_span(&w->answer.body));
	}
	usleep(200000);
	snprintf(temp, sizeof(temp), "%s.tmp", file_of(w, 0));
	ck_assert(stat(file_of(w, 0), &st) != 0 && stat(temp, &st) != 0);
	ck_assert_int_ge(said(w, "No space left"), 1);
	if (w->site.kind == SITE_FASTCGI) /* once for each worker */
		ck_assert_int_le(said(w, "No space left"), 8);
	ck_assert_int_eq(umount2(pages, MNT_DETACH), 0);
	buf_free(&made);
}

START_TEST(on_a_full_disk_each_is_made)
{
	with_each(full_disk);
}
END_TEST

/* --- who may see them --- */

static void
judged(struct world *w)
{
	char path[256], header[64];
	struct buf made = { 0 };
	char id[33];

	fill(w, 1, 1500);
	pull_until_kept(w, 0, &made);
	log_id(w, id);
	ck_assert_int_eq(ask(w, NOBODY, "GET", PULL "0", NULL, NULL), 401);
	ck_assert_int_eq(ask(w, STRANGER, "GET", PULL "0", NULL, NULL), 403);
	/* the file itself, by whatever name */
	snprintf(path, sizeof(path), "/.td-sync/pages/%s/%s/0.json", w->project, id);
	ck_assert_int_eq(ask(w, READER, "GET", path, NULL, NULL), 404);
	ck_assert(web_is_json(&w->answer));
	ck_assert_int_eq(ask(w, NOBODY, "GET", path, NULL, NULL), 404);
	strcat(path, ".gz");
	ck_assert_int_eq(ask(w, NOBODY, "GET", path, NULL, NULL), 404);
	ck_assert_int_eq(ask(w, NOBODY, "GET", "/.td-sync/pages/../pages/", NULL, NULL), 404);
	ck_assert_int_eq(ask(w, NOBODY, "GET", "/.td-sync/pages/", NULL, NULL), 404);
	ck_assert(web_is_json(&w->answer));
	/* no client says how a page is to be sent */
	snprintf(header, sizeof(header), "TD-SYNC-PAGES: /v1");
	ck_assert(pull(w, 0, "", header) == 200 && is_body(w, &made));
	/* a member who is none any more, a project that is gone */
	snprintf(path, sizeof(path), "/v1/projects/{p}/members/%s", w->users[READER]);
	ck_assert_int_eq(ask(w, OWNER, "DELETE", path, NULL, NULL), 204);
	ck_assert_int_eq(pull(w, 0, "", NULL), 403);
	ck_assert_int_eq(ask(w, OWNER, "DELETE", "/v1/projects/{p}", NULL, NULL), 204);
	ck_assert_int_eq(ask(w, WRITER, "GET", PULL "0", NULL, NULL), 404);
	buf_free(&made);
}

START_TEST(a_kept_page_is_for_who_may_read_the_log)
{
	with_each(judged);
}
END_TEST

/* --- another log --- */

static void
replaced(struct world *w)
{
	struct buf made = { 0 };
	char before[PATH_MAX + 128], id[33];
	struct stat st;

	fill(w, 1, 2500);
	pull_until_kept(w, 0, &made);
	pull_until_kept(w, 1000, &made);
	/* another log of that id: its pages are not what is kept */
	change_log(w, "UPDATE event SET payload = '{\"other\":1}', digest = randomblob(16)"
	              " WHERE seq = 2000");
	ck_assert_int_eq(pull(w, 1000, "", NULL), 200);
	ck_assert_ptr_nonnull(strstr(w->answer.body.p, "{\"other\":1}"));
	ck_assert_int_eq(said(w, "not of the log as it is now"), 1);
	pull_until_kept(w, 1000, &made);
	ck_assert_ptr_nonnull(strstr(made.p, "{\"other\":1}"));
	ck_assert(pull(w, 1000, "", NULL) == 200 && is_body(w, &made));
	/* one that ends before */
	change_log(w, "UPDATE head SET seq = 1999, visible = 1999, count = 1999");
	ck_assert_int_eq(pull(w, 1000, "", NULL), 200);
	ck_assert_int_eq(pull(w, 2000, "", NULL), 409);
	change_log(w, "UPDATE head SET seq = 2500, visible = 2500, count = 2500");
	/* another id, as a restore gives: the first page kept sweeps the old ones */
	snprintf(before, sizeof(before), "%s", file_of(w, 0));
	ck_assert_int_eq(stat(before, &st), 0);
	change_log(w, "UPDATE head SET log_id = randomblob(16)");
	pull_until_kept(w, 0, &made);
	log_id(w, id);
	ck_assert_str_eq(web_header(&w->answer, "X-Log-Id"), id);
	for (int i = 0; i < 400 && stat(before, &st) == 0; i++)
		usleep(5000);
	ck_assert(stat(before, &st) != 0);
	*strrchr(before, '/') = '\0';
	ck_assert(stat(before, &st) != 0);
	ck_assert(pull(w, 0, "", NULL) == 200 && is_body(w, &made));
	buf_free(&made);
}

START_TEST(pages_of_another_log_are_never_sent)
{
	with_each(replaced);
}
END_TEST

/* Parked events and a gap: pages end and start where events are. */
static void
gaps(struct world *w)
{
	struct buf made = { 0 };
	struct stat st;

	fill(w, 1, 3500);
	change_log(w, "UPDATE event SET parked = 1 WHERE seq > 998 AND seq <= 2003");
	pull_until_kept(w, 0, &made);
	ck_assert_int_eq(answer_number(w, "last_server_seq"), 998);
	for (int after = 999; after <= 2003; after += 251) /* the same page by other names */
		ck_assert_int_eq(pull(w, after, "", NULL), 200);
	pull_until_kept(w, 998, &made);
	ck_assert_int_eq(answer_number(w, "last_server_seq"), 3000);
	for (int after = 999; after <= 2003; after += 251)
		ck_assert(stat(file_of(w, after), &st) != 0);
	ck_assert(pull(w, 998, "", NULL) == 200 && is_body(w, &made));
	ck_assert(pull(w, 998, "&limit=997", NULL) == 200 && is_body(w, &made));
	ck_assert(pull(w, 998, "&limit=996", NULL) == 200 && !is_body(w, &made));
	buf_free(&made);
}

START_TEST(a_page_has_one_name)
{
	with_each(gaps);
}
END_TEST

/* --- nginx and workers --- */

START_TEST(where_nginx_finds_no_file_a_worker_sends_the_page)
{
	struct site_options options = { .kind = SITE_FASTCGI };
	struct buf made = { 0 }, config = { 0 }, moved = { 0 };
	char path[PATH_MAX + 64], id[33];
	const char *alias;
	struct world w;
	int i;

	world_start(&w, &options);
	fill(&w, 1, 1500);
	pull_until_kept(&w, 0, &made);
	log_id(&w, id);
	snprintf(path, sizeof(path), "%s/td-sync.conf", w.site.dir);
	ck_assert_int_eq(fs_read(path, 1 << 20, &config, NULL), RC_OK);
	alias = strstr(buf_cstr(&config), "/pages/\";");
	ck_assert_ptr_nonnull(alias);
	buf_add(&moved, config.p, (size_t)(alias - config.p));
	buf_addf(&moved, "/nowhere%s", alias);
	harm_put(path, buf_span(&moved));
	kill(w.site.web, SIGHUP);
	for (i = 0; i < 200; i++) { /* two requests reach the workers then */
		struct buf log = { 0 };
		int lines = 0;

		usleep(20000);
		truncate(w.site.access_log, 0);
		ck_assert(pull(&w, 0, "&exclude_client=a%20b", NULL) == 200 && is_body(&w, &made));
		fs_read(w.site.access_log, 1 << 20, &log, NULL);
		for (size_t k = 0; k < log.len; k++)
			lines += log.p[k] == '\n';
		buf_free(&log);
		if (lines == 2)
			break;
	}
	ck_assert_int_lt(i, 200);
	ck_assert_str_eq(web_header(&w.answer, "X-Log-Id"), id);
	ck_assert_int_eq(web_header_count(&w.answer, "X-Log-Id"), 1);
	ck_assert_int_eq(web_header_count(&w.answer, "X-Request-Id"), 1);
	ck_assert_int_eq(web_header_count(&w.answer, "Cache-Control"), 1);
	ck_assert_int_eq(pull(&w, 0, "", "Accept-Encoding: gzip"), 200);
	gunzip(&w.answer.body);
	ck_assert(is_body(&w, &made));
	ck_assert_int_eq(ask(&w, READER, "HEAD", PULL "0", NULL, NULL), 200);
	ck_assert_int_eq(w.answer.body.len, 0);
	buf_free(&made);
	buf_free(&config);
	buf_free(&moved);
	world_stop(&w);
}
END_TEST

/* As many servers have them: for dot files, and for kinds of files. */
START_TEST(what_else_lives_in_nginx_takes_no_page)
{
	static const char others[] = "\tlocation ~ /\\. { deny all; }\n"
	                             "\tlocation ~ \\.json$ { return 410; }\n";
	struct site_options options = { .kind = SITE_FASTCGI };
	struct buf made = { 0 }, config = { 0 }, both = { 0 };
	char path[PATH_MAX + 64];
	const char *at;
	struct world w;
	int i;

	world_start(&w, &options);
	fill(&w, 1, 1500);
	pull_until_kept(&w, 0, &made);
	snprintf(path, sizeof(path), "%s/td-sync.conf", w.site.dir);
	ck_assert_int_eq(fs_read(path, 1 << 20, &config, NULL), RC_OK);
	at = strstr(buf_cstr(&config), "\tlocation / {");
	ck_assert_ptr_nonnull(at);
	buf_add(&both, config.p, (size_t)(at - config.p));
	buf_addf(&both, "%s%s", others, at);
	harm_put(path, buf_span(&both));
	kill(w.site.web, SIGHUP);
	for (i = 0; i < 200; i++) { /* until the new ones are there */
		usleep(20000);
		if (ask(&w, READER, "GET", "/x.json", NULL, NULL) == 410)
			break;
	}
	ck_assert_int_lt(i, 200);
	ck_assert(pull(&w, 0, "", NULL) == 200 && is_body(&w, &made));
	buf_free(&made);
	buf_free(&config);
	buf_free(&both);
	world_stop(&w);
}
END_TEST

/* A raw answer's body. */
static struct span
raw_body(const struct buf *answer)
{
	const char *at = strstr(answer->p, "\r\n\r\n");

	ck_assert_ptr_nonnull(at);
	at += 4;
	return (struct span){ at, answer->len - (size_t)(at - answer->p) };
}

START_TEST(a_worker_that_nginx_told_nothing_sends_the_file_itself)
{
	struct site_options options = { .kind = SITE_FASTCGI };
	struct buf made = { 0 }, file = { 0 }, answer = { 0 };
	char bearer[5000], path[256], length[64];
	struct world w;

	world_start(&w, &options);
	fill(&w, 1, 1500);
	pull_until_kept(&w, 0, &made);
	ck_assert_int_eq(fs_read(file_of(&w, 0), 1 << 24, &file, NULL), RC_OK);
	snprintf(bearer, sizeof(bearer), "Bearer %s", w.tokens[READER]);
	snprintf(path, sizeof(path), "/v1/projects/%s/sync/pull", w.project);
	for (int i = 0; i < 4; i++) {
		const char *const params[] = {
			"REQUEST_METHOD", i < 2 ? "GET" : "HEAD", "PATH_INFO", path,
			"HTTP_AUTHORIZATION", bearer, "HTTP_ACCEPT_ENCODING", i % 2 ? "GZIP" : "br",
			"HTTP_TD_SYNC_PAGES", "/x", "TD_SYNC_PAGES", "", NULL };
		const struct buf *want = i % 2 ? &file : &made;
		int fd = fcgi_connect(w.site.socket);

		ck_assert(fcgi_send(fd, params, (struct span){ NULL, 0 }, false));
		ck_assert(fcgi_receive(fd, &answer));
		ck_assert_ptr_nonnull(strstr(answer.p, "Status: 200 "));
		ck_assert_ptr_null(strstr(answer.p, "X-Accel-Redirect"));
		ck_assert((strstr(answer.p, "Content-Encoding: gzip\r\n") != NULL) == i % 2);
		snprintf(length, sizeof(length), "Content-Length: %zu\r\n", want->len);
		ck_assert_ptr_nonnull(strstr(answer.p, length));
		if (i < 2)
			ck_assert(span_eq(raw_body(&answer), buf_span(want)));
		else
			ck_assert_int_eq(raw_body(&answer).len, 0);
	}
	buf_free(&made);
	buf_free(&file);
	buf_free(&answer);
	world_stop(&w);
}
END_TEST

static void
noted(struct world *w)
{
	struct buf made = { 0 };
	struct device_state state;
	char dir[PATH_MAX + 64];
	int i;

	snprintf(dir, sizeof(dir), "%s/projects/%s", w->site.data, w->project);
	fill(w, 1, 2000);
	pull_until_kept(w, 0, &made);
	pull_until_kept(w, 1000, &made);
	for (i = 0; i < 3; i++)
		ck_assert_int_eq(pull(w, 0, "&exclude_client=dev", NULL), 200);
	usleep(50000);
	ck_assert_int_eq(devices_get(dir, span_of("dev"), &state), RC_NOT_FOUND);
	for (i = 0; i < 30 && state.served_seq < 2000; i++) {
		ck_assert_int_eq(pull(w, 1000, "&exclude_client=dev", NULL), 200);
		usleep(50000);
		devices_get(dir, span_of("dev"), &state);
	}
	ck_assert_int_eq(state.served_seq, 2000);
	buf_free(&made);
}

START_TEST(a_device_is_noted_where_a_kept_page_is_the_last)
{
	with_each(noted);
}
END_TEST

/* --- a replica --- */

/* A new replica of the project, by our client, out of the whole log; its folder
 * goes to dir. */
static void
replicate(struct world *w, const char *name, char dir[PATH_MAX])
{
	struct buf b = { 0 };

	snprintf(dir, PATH_MAX, "%s/%s", w->site.dir, name);
	buf_addf(&b, "set -e; mkdir -p '%s/.todos'; cp " TOP_BUILDDIR "/tests/fixtures/empty-v38.db"
	         " '%s/.todos/issues.db'; chmod u+w '%s/.todos/issues.db'; export HOME='%s'"
	         " TD_SYNC_URL='%s' TD_AUTH_KEY='%s' TD_SYNC_SNAPSHOT_THRESHOLD=0;"
	         " for c in 'link %s' pull; do "
	         TOP_BUILDDIR "/td-sync --quiet --dir '%s' $c; done",
	         dir, dir, dir, dir, w->site.url, w->tokens[WRITER], w->project, dir);
	ck_assert_int_eq(system(buf_cstr(&b)), 0);
	buf_free(&b);
}

/* A number out of two replicas' databases, "a" and "b". */
static int
compare(const char *a, const char *b, const char *sql)
{
	char path[PATH_MAX + 32];
	sqlite3_stmt *st;
	sqlite3 *db;
	int n;

	snprintf(path, sizeof(path), "%s/.todos/issues.db", a);
	ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
	snprintf(path, sizeof(path), "ATTACH '%s/.todos/issues.db' AS b", b);
	ck_assert_int_eq(sqlite3_exec(db, path, NULL, NULL, NULL), SQLITE_OK);
	ck_assert_msg(sqlite3_prepare_v2(db, sql, -1, &st, NULL) == SQLITE_OK, "%s",
	              sqlite3_errmsg(db));
	ck_assert_int_eq(sqlite3_step(st), SQLITE_ROW);
	n = sqlite3_column_int(st, 0);
	sqlite3_finalize(st);
	sqlite3_close(db);
	return n;
}

static void
replicas(struct world *w)
{
	char made[PATH_MAX], first[PATH_MAX], kept[PATH_MAX];
	struct stat st;
	struct site site;

	fill(w, 1, 3500);
	start_bound(w, &site, 0);
	replicate(w, "made", made);
	ck_assert(stat(file_of(w, 0), &st) != 0);
	/* the other site's folder goes with it: compare before */
	w->site.own_dir = false;
	stop_bound(w, &site);
	replicate(w, "first", first);
	for (int i = 0; i < 3; i++)
		ck_assert(is_kept(w, i * 1000, &st));
	replicate(w, "kept", kept);
	ck_assert_int_eq(compare(made, kept, "SELECT count(*) FROM main.issues"), 3500);
	ck_assert_int_eq(compare(made, kept, "SELECT count(*) FROM (SELECT * FROM main.issues"
	                                     " EXCEPT SELECT * FROM b.issues)"), 0);
	ck_assert_int_eq(compare(made, kept, "SELECT count(*) FROM (SELECT * FROM b.issues"
	                                     " EXCEPT SELECT * FROM main.issues)"), 0);
	ck_assert_int_eq(compare(first, kept, "SELECT count(*) FROM (SELECT * FROM b.issues"
	                                      " EXCEPT SELECT * FROM main.issues)"), 0);
	*strrchr(made, '/') = '\0';
	temp_remove(made);
}

START_TEST(a_replica_out_of_kept_pages_equals_one_without)
{
	with_each(replicas);
}
END_TEST

TCase *
pages_case(void)
{
	TCase *tc = tcase_create("pages");

	tcase_set_timeout(tc, 180);
	tcase_add_test(tc, a_kept_page_is_the_same_bytes_as_a_made_one);
	tcase_add_test(tc, only_pages_that_everyone_asks_for_are_kept);
	tcase_add_test(tc, pages_that_the_byte_limit_cut_are_kept_in_their_order);
	tcase_add_test(tc, a_damaged_page_is_made_anew);
	tcase_add_test(tc, what_a_writer_left_behind_is_in_nobodys_way);
	tcase_add_test(tc, a_writer_killed_at_any_moment_leaves_no_page_that_is_half);
	tcase_add_test(tc, all_who_ask_first_at_once_get_the_same);
	tcase_add_test(tc, all_pages_together_stay_within_the_bound_and_the_oldest_goes);
	tcase_add_test(tc, the_bound_holds_where_the_folder_is_a_link_to_another_disk);
	tcase_add_test(tc, where_none_can_be_kept_each_is_made);
	tcase_add_test(tc, on_a_full_disk_each_is_made);
	tcase_add_test(tc, a_kept_page_is_for_who_may_read_the_log);
	tcase_add_test(tc, pages_of_another_log_are_never_sent);
	tcase_add_test(tc, a_page_has_one_name);
	tcase_add_test(tc, a_device_is_noted_where_a_kept_page_is_the_last);
	tcase_add_test(tc, a_replica_out_of_kept_pages_equals_one_without);
	if (!http_can_run(SITE_FASTCGI))
		return tc;
	tcase_add_test(tc, where_nginx_finds_no_file_a_worker_sends_the_page);
	tcase_add_test(tc, what_else_lives_in_nginx_takes_no_page);
	tcase_add_test(tc, a_worker_that_nginx_told_nothing_sends_the_file_itself);
	return tc;
}
