/*
 * A disk that fails: at each call that writes which a push, a first push, a
 * checkpoint or a sealed page makes. After each of them what was acked, or
 * served, would survive a power cut, and the server goes on without help.
 */
#include "torture.h"

#include "mishap.h"
#include "powercut.h"
#include "temp.h"
#include "web.h"

#include "base/clock.h"
#include "store/events.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define MOST_CALLS 500   /* of one of these; more would be a loop */
#define CHECKPOINT_BYTES ((4 << 20) + 65536) /* of WAL, see store/events.c */

/* The ways a call fails. */
static const struct {
	int action;
	bool lasting;      /* so do all after it, until the request is answered */
	enum site_kind kind;
} ways[] = {
	{ EIO, false, SITE_FASTCGI },       { EIO, true, SITE_FASTCGI },
	{ ENOSPC, false, SITE_FASTCGI },    { ENOSPC, true, SITE_FASTCGI },
	{ MISHAP_SHORT, false, SITE_FASTCGI },
	{ EIO, false, SITE_CGI },           { ENOSPC, false, SITE_CGI },
	{ MISHAP_KILL, false, SITE_CGI }, /* a pool would wait before it forks again */
};
#define WAYS (int)(sizeof(ways) / sizeof(ways[0]))

/* A site whose disk is ours. */
struct lab {
	struct torture t;
	struct follower follower;
	char dir[TEMP_PATH];
	char disk[TEMP_PATH + 16], after[TEMP_PATH + 16]; /* see powercut.h */
};

static void
lab_start(struct lab *l, enum site_kind kind)
{
	static const char *const one[] = { "--workers", "1", "--max-workers", "1", NULL };
	char plan[TEMP_PATH + 16], env[TEMP_PATH + 48];
	const char *const wrapper[] = { "/usr/bin/env", "LD_PRELOAD=" MISHAP_LIBRARY, env,
		"ASAN_OPTIONS=verify_asan_link_order=0", NULL };
	struct site_options options = { .kind = kind, .arguments = one, .wrapper = wrapper };

	memset(l, 0, sizeof(*l));
	temp_make(l->dir);
	options.dir = l->dir;
	snprintf(plan, sizeof(plan), "%s/plan", l->dir);
	ck_assert(mishap_share(plan));
	snprintf(env, sizeof(env), "TD_SYNC_MISHAP=%s", plan);
	snprintf(l->disk, sizeof(l->disk), "%s/disk", l->dir);
	snprintf(l->after, sizeof(l->after), "%s/after", l->dir);
	ck_assert(mkdir(l->disk, 0700) == 0 && mkdir(l->after, 0700) == 0);
	torture_start(&l->t, &options);
	snprintf(mishap->disk, sizeof(mishap->disk), "%s", l->disk);
	ck_assert_int_eq(powercut_begin(l->disk, l->t.dir), 0);
}

static void
lab_stop(struct lab *l)
{
	follower_free(&l->follower);
	mishap->disk[0] = '\0';
	torture_stop(&l->t);
	temp_remove(l->dir);
}

/* What was acked and what was served: the log has it, and so would it have
 * after a power cut now. */
static void
lab_check(struct lab *l, const char *what, int n)
{
	const struct follower *f = &l->follower;

	ck_assert_msg(ledger_agrees(l->t.ledger, l->t.dir, &f, 1), "%s: call %d", what, n);
	ck_assert_int_eq(powercut_copy(l->disk, l->t.dir, l->after), 0);
	ck_assert_msg(ledger_agrees(l->t.ledger, l->after, &f, 1),
	              "%s: call %d: gone after a power cut", what, n);
	temp_remove(l->after);
	ck_assert_int_eq(mkdir(l->after, 0700), 0);
}

static bool
lab_follow(struct lab *l)
{
	return crowd_follow(&l->t.crowd, l->t.site.url, &l->follower);
}

/*
 * Push n events, with a failure at the at-th call; then again as the client
 * would. False: the push did not come that far.
 */
static bool
push_through(struct lab *l, size_t n, int at, int action, bool lasting)
{
	struct crowd *c = &l->t.crowd;
	size_t first = ledger_make(l->t.ledger, 0, n);
	bool struck;
	int status;

	mishap_plan(at, action, lasting, "/projects/");
	status = crowd_push(c, l->t.site.url, 0, first, n, "ses_0");
	if (!lasting)
		lab_follow(l); /* whatever a reader is told holds as well */
	mishap_none();
	struck = mishap->struck > 0;
	/* 503 says what is to be mended; of who died the web server tells. */
	ck_assert_msg(status == 200 || (struck && (status == 503 || action == MISHAP_KILL)),
	              "call %d: %d", at, status);
	lab_check(l, "the push", at);
	status = crowd_push(c, l->t.site.url, 0, first, n, "ses_1");
	ck_assert_msg(status == 200, "after call %d: %d", at, status);
	ck_assert(lab_follow(l));
	lab_check(l, "the push again", at);
	return struck;
}

START_TEST(a_push_on_a_disk_that_fails_at_any_call_acks_nothing_it_may_lose)
{
	struct lab l;
	int n = 0;

	lab_start(&l, ways[_i].kind);
	do
		ck_assert_int_lt(++n, MOST_CALLS);
	while (push_through(&l, 3, n, ways[_i].action, ways[_i].lasting));
	ck_assert_int_gt(n, 5);
	/* Which call is the nth differs from push to push; these are few. */
	strcpy(mishap->call, "sync");
	n = 0;
	do
		ck_assert_int_lt(++n, MOST_CALLS);
	while (push_through(&l, 3, n, ways[_i].action, ways[_i].lasting));
	mishap->call[0] = '\0';
	lab_stop(&l);
}
END_TEST

/* --- a checkpoint --- */

/* Append until the WAL is due for a checkpoint. */
static void
fill_wal(const char *dir, int64_t *n)
{
	static char text[65536];
	char wal[TEMP_PATH + 32];
	struct event ev = { .action = ACTION_CREATE, .type = span_of("issues"),
		.id = span_of("td-1"), .device = span_of("d"), .session = span_of("s"),
		.time = span_of("2026-03-01T10:00:00Z") };
	struct events *e;
	struct stat st;
	struct err err;
	int64_t seq;

	memset(text, 'x', sizeof(text));
	ev.payload = (struct span){ text, sizeof(text) };
	snprintf(wal, sizeof(wal), "%s/" EVENTS_DB "-wal", dir);
	ck_assert_int_eq(events_open(dir, &e, &err), RC_OK);
	do {
		ck_assert_int_eq(events_begin(e, clock_mono_ms() + 1000, &err), RC_OK);
		for (int i = 0; i < 8; i++) {
			ev.action_id = ++*n;
			ck_assert_int_eq(events_append(e, &ev, &seq, &err), RC_OK);
			ck_assert_int_eq(seq, *n);
		}
		ck_assert_int_eq(events_commit(e, &err), RC_OK);
	} while (stat(wal, &st) == 0 && st.st_size < CHECKPOINT_BYTES);
	events_close(e);
}

/* In a process of its own: a commit, then what follows its answer. */
static bool
checkpoint_through(const char *dir, int64_t *n, const char *call, int at, int action)
{
	pid_t child;
	int status;

	strcpy(mishap->call, call);
	mishap_plan(0, action, false, "/" EVENTS_DB);
	child = fork();
	if (child == 0) {
		struct event ev = { .action = ACTION_CREATE, .type = span_of("issues"),
			.id = span_of("td-1"), .device = span_of("d"),
			.session = span_of("s"), .payload = span_of("{}"),
			.time = span_of("2026-03-01T10:00:00Z"), .action_id = *n + 1 };
		struct events *e;
		int64_t seq;

		if (events_open(dir, &e, NULL) != RC_OK ||
		    events_begin(e, clock_mono_ms() + 1000, NULL) != RC_OK ||
		    events_append(e, &ev, &seq, NULL) != RC_OK ||
		    events_commit(e, NULL) != RC_OK)
			_exit(1);
		mishap_plan(at, action, false, "/" EVENTS_DB);
		events_maintain(e, false);
		_exit(0);
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
	++*n;
	mishap->call[0] = '\0';
	mishap->at = 0;
	return mishap->struck > 0;
}

static enum rc
count_event(void *ctx, const struct event *ev, bool *stop)
{
	int64_t *n = ctx;

	*stop = ev->seq != ++*n;
	return RC_OK;
}

/* All n events are there, in order, in a database that is whole. */
static void
check_whole(const char *dir, int64_t n)
{
	char path[TEMP_PATH + 32];
	struct events *e;
	struct err err;
	sqlite3 *db;
	sqlite3_stmt *st;
	int64_t seen = 0;

	ck_assert_int_eq(events_open(dir, &e, &err), RC_OK);
	ck_assert_int_eq(events_walk(e, 0, INT64_MAX, true, NULL, count_event, &seen, &err), RC_OK);
	ck_assert_int_eq(seen, n);
	events_close(e);
	snprintf(path, sizeof(path), "%s/" EVENTS_DB, dir);
	ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
	sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	ck_assert_int_eq(sqlite3_prepare_v2(db, "PRAGMA integrity_check", -1, &st, NULL), SQLITE_OK);
	ck_assert_int_eq(sqlite3_step(st), SQLITE_ROW);
	ck_assert_str_eq((const char *)sqlite3_column_text(st, 0), "ok");
	sqlite3_finalize(st);
	sqlite3_close(db);
}

START_TEST(a_checkpoint_on_a_disk_that_fails_at_any_call_loses_nothing)
{
	static const struct { const char *call; int step; } counted[] = {
		{ "sync", 1 }, { "write", 293 },
	};
	static const int actions[] = { EIO, ENOSPC, MISHAP_SHORT, MISHAP_KILL };
	char dir[TEMP_PATH], log[TEMP_PATH + 8];
	struct err err;
	int64_t n = 0;
	int struck = 0;

	temp_make(dir);
	snprintf(log, sizeof(log), "%s/plan", dir);
	ck_assert(mishap_share(log));
	snprintf(log, sizeof(log), "%s/log", dir);
	ck_assert_int_eq(events_create(log, "td", &err), RC_OK);
	for (size_t c = 0; c < 2; c++)
		for (size_t a = 0; a < 4; a++)
			for (int at = 1; at < 1200; at += counted[c].step) {
				bool hit;

				fill_wal(log, &n);
				hit = checkpoint_through(log, &n, counted[c].call, at, actions[a]);
				check_whole(log, n);
				if (!hit)
					break;
				struck++;
			}
	ck_assert_int_gt(struck, 4 * (2 + 2)); /* two syncs, a thousand pages */
	temp_remove(dir);
}
END_TEST

/* --- a page of history --- */

/* Until nothing more is written there: it is done after the answer. */
static void
wait_for_quiet(void)
{
	int32_t count;

	do {
		count = mishap->count;
		usleep(60000);
	} while (mishap->count != count);
}

/* Whatever meets who keeps a page: all are answered with the same bytes. */
START_TEST(a_page_that_can_not_be_kept_is_answered_all_the_same)
{
	static const int actions[] = { EIO, ENOSPC, MISHAP_SHORT, MISHAP_KILL };
	struct web_answer answer = { 0 };
	struct buf page = { 0 };
	struct web_call call = { .method = "GET" };
	struct lab l;
	char path[128], remove[TEMP_PATH + PATH_MAX];
	int struck = 0;
	bool hit;

	lab_start(&l, SITE_CGI);
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(torture_push(&l.t, 400), 200);
	snprintf(path, sizeof(path), "/v1/projects/%s/sync/pull", l.t.project);
	snprintf(remove, sizeof(remove), "rm -rf '%s/pages' 2>/dev/null", l.t.site.data);
	call.url = l.t.site.url;
	call.path = path;
	call.token = l.t.token;
	for (size_t a = 0; a < 4; a++)
		for (int n = 1; n < MOST_CALLS; n++) {
			for (int tries = 0; system(remove) != 0; tries++) {
				ck_assert_int_lt(tries, 50); /* somebody is at it still */
				usleep(20000);
			}
			mishap_plan(n, actions[a], false, "/pages/");
			for (int i = 0; i < 3; i++) {
				ck_assert(web_call(&call, &answer));
				ck_assert_int_eq(answer.status, 200);
				if (page.len == 0)
					buf_add_span(&page, buf_span(&answer.body));
				ck_assert(span_eq(buf_span(&page), buf_span(&answer.body)));
				wait_for_quiet();
			}
			hit = mishap->struck > 0;
			mishap_none();
			if (!hit)
				break;
			struck++;
		}
	ck_assert_int_gt(struck, 4 * 5);
	buf_free(&page);
	web_free(&answer);
	lab_stop(&l);
}
END_TEST

static TCase *
disk_case(void)
{
	TCase *tc = tcase_create("disk");
	int from = torture_can_run() ? 0 : 5;

	tcase_set_timeout(tc, 240);
	tcase_add_test(tc, a_checkpoint_on_a_disk_that_fails_at_any_call_loses_nothing);
	tcase_add_test(tc, a_page_that_can_not_be_kept_is_answered_all_the_same);
	tcase_add_loop_test(tc,
	    a_push_on_a_disk_that_fails_at_any_call_acks_nothing_it_may_lose, from, WAYS);
	return tc;
}

int
main(void)
{
	TCase *(*const cases[])(void) = { disk_case, NULL };

	return torture_main("disk", cases);
}
