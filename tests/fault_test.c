/*
 * What strangers do to a server: hold its locks, stop its processes, fill its
 * disk, make it read-only, take its files away and put others there, set its
 * clock. What was acked holds, and once it is put right the server goes on
 * without help.
 */
#include "torture.h"

#include "mishap.h"
#include "patience.h"
#include "temp.h"
#include "web.h"

#include "base/lock.h"
#include "store/events.h"

#include <signal.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#define STOPS 12
#define FULL_POINTS 12 /* how many pages are left of a full disk */
#define PIDS 64
#define DAY INT64_C(86400)

static int __attribute__((format(printf, 1, 2)))
shell(const char *fmt, ...)
{
	char text[4 * PATH_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return system(text);
}

static int
call(struct torture *t, const char *method, const char *path, const char *body,
     struct web_answer *a)
{
	struct web_call c = { .method = method, .url = t->site.url, .path = path,
	                      .token = t->token, .body = span_of(body) };

	return web_call(&c, a) ? a->status : 0;
}

/* --- processes that hold what others wait for --- */

START_TEST(stopped_workers_hold_nobody_for_good)
{
	struct site_options options = { .kind = SITE_FASTCGI };
	unsigned seed = torture_seed("stopped workers");
	struct torture t;
	pid_t pids[PIDS];

	torture_start(&t, &options);
	t.crowd.pushers = 6;
	t.crowd.followers = 1;
	crowd_start(&t.crowd);
	for (int i = 0; i < STOPS * torture_soak(); i++) {
		size_t n = site_workers(&t.site, pids, PIDS), k = (size_t)rand_r(&seed) % n;

		/* With some luck it holds the lock; the last one for longer than
		 * others wait for it, and it is killed so. */
		usleep((useconds_t)rand_r(&seed) % 20000);
		kill(pids[k], SIGSTOP);
		usleep(i == STOPS - 1 ? 3500000 : (useconds_t)rand_r(&seed) % 300000);
		kill(pids[k], i % 4 == 3 ? SIGKILL : SIGCONT);
	}
	ck_assert(crowd_stop(&t.crowd));
	torture_check(&t, true);
	ck_assert_uint_eq(ledger_acked(t.ledger), ledger_made(t.ledger));
	torture_stop(&t);
}
END_TEST

START_TEST(a_lock_held_by_a_stranger_is_503_in_time_and_then_forgotten)
{
	struct site_options options = { .kind = _i == 0 ? SITE_FASTCGI : SITE_CGI };
	struct web_answer answer = { 0 };
	struct lock *log, *accounts;
	char path[PATH_MAX + 128];
	struct torture t;
	int64_t start;

	torture_start(&t, &options);
	ck_assert_int_eq(torture_push(&t, 5), 200);
	snprintf(path, sizeof(path), "%s/" EVENTS_LOCK, t.dir);
	ck_assert_int_eq(lock_open(path, &log, NULL), RC_OK);
	ck_assert_int_eq(lock_take(log, clock_mono_ms() + 1000), RC_OK);
	snprintf(path, sizeof(path), "%s/server.lock", t.site.data);
	ck_assert_int_eq(lock_open(path, &accounts, NULL), RC_OK);
	ck_assert_int_eq(lock_take(accounts, clock_mono_ms() + 1000), RC_OK);
	start = clock_mono_ms();
	ck_assert_int_eq(torture_push(&t, 5), 503);
	ck_assert_int_eq(call(&t, "POST", "/v1/projects", "{\"name\":\"New\"}", &answer), 503);
	ck_assert_ptr_nonnull(strstr(answer.body.p, "\"busy\""));
	ck_assert_int_lt(clock_mono_ms() - start, SOON_MS);
	lock_close(accounts);
	ck_assert_int_eq(call(&t, "POST", "/v1/projects", "{\"name\":\"New\"}", &answer), 201);
	ck_assert_int_eq(torture_push(&t, 5), 503);
	lock_close(log);
	ck_assert_int_eq(torture_push(&t, 5), 200);
	torture_check(&t, false);
	web_free(&answer);
	torture_stop(&t);
}
END_TEST

/* --- a log that is not what it was --- */

/* In the project's folder; $1 is another project's folder, $2 an older copy of
 * the log. Afterwards pushes are refused until the files are back. */
static const struct {
	const char *what, *deed;
	enum { REFUSED, WRONG, /* it is whole, but not the log that was */
	       IN_PLACE        /* refused, unless all of it is in the WAL */
	} fate;
} deeds[] = {
	{ "deleted", "rm -f events.db events.db-wal events.db-shm" },
	{ "the file alone deleted", "rm -f events.db" },
	{ "emptied", "rm -f events.db-wal events.db-shm; : > events.db.new; mv events.db.new events.db" },
	{ "half of it", "rm -f events.db-wal events.db-shm; head -c 9000 events.db > n; mv n events.db" },
	{ "garbage", "rm -f events.db-wal events.db-shm; head -c 65536 /dev/urandom > n; mv n events.db" },
	{ "overwritten in place", "head -c 65536 /dev/urandom | dd of=events.db conv=notrunc status=none", IN_PLACE },
	{ "cut in place", ": > events.db", IN_PLACE },
	{ "another project's", "rm -f events.db-wal events.db-shm; cp $1/events.db n; cp $1/events.db-wal events.db-wal; mv n events.db", WRONG },
	{ "an older copy", "rm -f events.db-wal events.db-shm; cp $2/events.db n; cp $2/events.db-wal events.db-wal; mv n events.db", WRONG },
};
#define DEEDS (int)(sizeof(deeds) / sizeof(deeds[0]))

/* All of the log in its main file, as in one that has been used for long. */
static void
checkpoint(const struct torture *t)
{
	char path[PATH_MAX + 128];
	sqlite3 *db;

	snprintf(path, sizeof(path), "%s/events.db", t->dir);
	ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
	sqlite3_busy_timeout(db, 20000); /* for a worker that still applies what it took */
	ck_assert_int_eq(sqlite3_exec(db, "SELECT 1 FROM head", NULL, NULL, NULL), SQLITE_OK);
	ck_assert_int_eq(sqlite3_wal_checkpoint_v2(db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL,
	                                           NULL), SQLITE_OK);
	sqlite3_close(db);
}

START_TEST(a_log_that_was_taken_away_takes_no_events_until_it_is_back)
{
	struct site_options options = { .kind = _i % 2 == 0 ? SITE_FASTCGI : SITE_CGI };
	bool whole = _i / 2 % 2 == 1; /* nothing in the WAL */
	int d = _i / 4, status = 0, pulled;
	struct web_answer answer = { 0 };
	struct torture t;
	char other[ID_MAX], pull[128];

	torture_start(&t, &options);
	site_project(&t.site, "Other", t.user, other);
	ck_assert_int_eq(torture_push(&t, 20), 200);
	ck_assert_int_eq(shell("cd '%s' && mkdir ../old && cp events.db* ../old/", t.dir), 0);
	ck_assert_int_eq(torture_push(&t, 20), 200);
	if (whole)
		checkpoint(&t);
	ck_assert_int_eq(shell("cd '%s' && mkdir ../good && cp events.db* ../good/", t.dir), 0);
	ck_assert_int_eq(shell("cd '%s' && set ../%s ../old && %s", t.dir, other, deeds[d].deed), 0);
	snprintf(pull, sizeof(pull), "/v1/projects/%s/sync/pull", t.project);
	pulled = call(&t, "GET", pull, NULL, &answer);
	ck_assert(pulled == 503 || (pulled == 200 && deeds[d].fate != WRONG));
	/* Not by the ledger: what is acked here is not in the log that was. */
	snprintf(pull, sizeof(pull), "/v1/projects/%s/sync/push", t.project);
	/* What is found damaged in the middle of a request is opened anew: busy. */
	for (int tries = 0; tries < 5; tries++) {
		status = call(&t, "POST", pull, "{\"device_id\":\"d\",\"session_id\":\"s\",\"events\":["
		    "{\"client_action_id\":900,\"action_type\":\"create\",\"entity_type\":\"issues\","
		    "\"entity_id\":\"td-x\",\"payload\":{\"new_data\":{\"title\":\"t\"}},"
		    "\"client_timestamp\":\"2026-03-01T10:00:00Z\"}]}", &answer);
		if (status != 503 || strstr(answer.body.p, "\"busy\"") == NULL)
			break;
	}
	if (deeds[d].fate != IN_PLACE || whole || status != 200)
		ck_assert_msg(status == 503 && torture_logged(&t, deeds[d].fate == WRONG ?
		              "not the log that was written here last" : "from a backup"),
		              "%s: %d %s", deeds[d].what, status, answer.body.p);
	/* Where that was acked, the file that is put back is an older one. */
	ck_assert_int_eq(shell("cd '%s' && rm -f events.db* %s && cp ../good/events.db* .", t.dir,
	                       status == 200 ? "lock" : ""), 0);
	ck_assert_int_eq(torture_push(&t, 5), 200);
	torture_check(&t, false);
	web_free(&answer);
	torture_stop(&t);
}
END_TEST

/* --- disks --- */

/* Put the project's folder on a small disk of its own. */
static bool
mount_small(struct torture *t)
{
	/* devices.db may come and go meanwhile; it is made anew */
	ck_assert_int_eq(shell("cd '%s' && mkdir ../keep && mv events.db* lock ../keep",
	                       t->dir), 0);
	if (mount("none", t->dir, "tmpfs", 0, "size=2m") != 0) {
		fprintf(stderr, "skipped: can't mount a small file system\n");
		return false;
	}
	ck_assert_int_eq(shell("cd '%s' && mv ../keep/* .", t->dir), 0);
	return true;
}

START_TEST(a_full_disk_takes_nothing_and_goes_on_when_there_is_room)
{
	struct site_options options = { .kind = _i % 2 == 0 ? SITE_FASTCGI : SITE_CGI };
	struct torture t;

	torture_start(&t, &options);
	ck_assert_int_eq(torture_push(&t, 5), 200);
	if (mount_small(&t)) {
		/* Another point of a push where it is full, each time. */
		for (int i = 0; i < FULL_POINTS; i++) {
			int status;

			ck_assert_int_eq(shell("cd '%s' && { dd if=/dev/zero of=fill bs=4096 "
			    "2>/dev/null; truncate -s -%d fill; }", t.dir, 4096 * i), 0);
			while ((status = torture_push(&t, 3)) == 200)
				;
			ck_assert_int_eq(status, 503);
			ck_assert_int_eq(shell("rm '%s/fill'", t.dir), 0);
			ck_assert_int_eq(torture_push(&t, 1), 200);
		}
		torture_check(&t, false);
		ck_assert(torture_logged(&t, "full"));
		ck_assert_int_eq(umount2(t.dir, MNT_DETACH), 0);
	}
	torture_stop(&t);
}
END_TEST

/* Once the CGI process that answered has ended, and closed its files. */
static void
remount_read_only(const char *dir)
{
	int64_t deadline = clock_mono_ms() + 5000;

	while (mount("none", dir, "tmpfs", MS_REMOUNT | MS_RDONLY, NULL) != 0) {
		ck_assert_msg(errno == EBUSY && clock_mono_ms() < deadline, "%s: %s", dir,
		              strerror(errno));
		usleep(10000);
	}
}

START_TEST(a_read_only_disk_takes_nothing_and_goes_on_when_it_can_be_written)
{
	struct site_options options = { .kind = SITE_CGI };
	struct torture t;

	torture_start(&t, &options);
	ck_assert_int_eq(torture_push(&t, 5), 200);
	if (mount_small(&t)) {
		checkpoint(&t);
		ck_assert_int_eq(torture_push(&t, 5), 200);
		checkpoint(&t);
		remount_read_only(t.dir);
		ck_assert_int_eq(torture_push(&t, 5), 503);
		ck_assert(torture_logged(&t, "read-only"));
		ck_assert_int_eq(mount("none", t.dir, "tmpfs", MS_REMOUNT, NULL), 0);
		ck_assert_int_eq(torture_push(&t, 5), 200);
		torture_check(&t, false);
		ck_assert_int_eq(umount2(t.dir, MNT_DETACH), 0);
	}
	torture_stop(&t);
}
END_TEST

/* --- the clock --- */

START_TEST(a_clock_that_jumps_changes_no_place_and_hangs_nobody)
{
	static const int64_t jumps[] = { 0, 30 * 60, -30, 6 * 60 * 60, -50, 0 };
	const char *const wrapper[] = { "/usr/bin/env", "LD_PRELOAD=" MISHAP_LIBRARY,
		"ASAN_OPTIONS=verify_asan_link_order=0", NULL };
	struct site_options options = { .kind = _i == 0 ? SITE_FASTCGI : SITE_CGI,
	                                .wrapper = wrapper };
	char plan[TEMP_PATH], path[PATH_MAX + 128];
	struct torture t;
	struct lock *lock;
	int64_t start;
	int status;

	snprintf(plan, sizeof(plan), "/tmp/td-sync-clock-%d", (int)getpid());
	ck_assert(mishap_share(plan));
	setenv("TD_SYNC_MISHAP", plan, 1);
	torture_start(&t, &options);
	t.crowd.pushers = 3;
	t.crowd.followers = 1;
	crowd_start(&t.crowd);
	for (size_t i = 0; i < sizeof(jumps) / sizeof(jumps[0]); i++) {
		mishap->clock_s = jumps[i];
		ck_assert(crowd_wait(&t.crowd, atomic_load(&t.crowd.answered) + 6, 30000));
	}
	ck_assert(crowd_stop(&t.crowd));
	/* A day back the token isn't valid yet, to a process that has not seen it before;
	 * that passes with the jump. */
	mishap->clock_s = -DAY;
	status = torture_push(&t, 1);
	ck_assert_msg(status == 401 || (_i == 0 && status == 200), "%d", status);
	mishap->clock_s = 0;
	atomic_store(&t.crowd.wrong, false);
	ck_assert_int_eq(torture_push(&t, 1), 200);
	/* A wait ends when it should, whatever the wall clock says meanwhile. */
	snprintf(path, sizeof(path), "%s/" EVENTS_LOCK, t.dir);
	ck_assert_int_eq(lock_open(path, &lock, NULL), RC_OK);
	ck_assert_int_eq(lock_take(lock, clock_mono_ms() + 1000), RC_OK);
	start = clock_mono_ms();
	mishap->clock_s = -40;
	ck_assert_int_eq(torture_push(&t, 1), 503);
	ck_assert_int_ge(clock_mono_ms() - start, 2500);
	ck_assert_int_lt(clock_mono_ms() - start, SOON_MS); /* not 43 s */
	lock_close(lock);
	ck_assert_int_eq(torture_push(&t, 1), 200);
	torture_check(&t, true);
	unlink(plan);
	torture_stop(&t);
}
END_TEST

static TCase *
strangers_case(void)
{
	TCase *tc = tcase_create("strangers");
	bool nginx = torture_can_run();

	tcase_set_timeout(tc, 120 * torture_soak());
	tcase_add_loop_test(tc, a_lock_held_by_a_stranger_is_503_in_time_and_then_forgotten,
	                    nginx ? 0 : 1, 2);
	tcase_add_loop_test(tc, a_clock_that_jumps_changes_no_place_and_hangs_nobody,
	                    nginx ? 0 : 1, 2);
	tcase_add_loop_test(tc, a_full_disk_takes_nothing_and_goes_on_when_there_is_room,
	                    nginx ? 0 : 1, 2);
	tcase_add_test(tc, a_read_only_disk_takes_nothing_and_goes_on_when_it_can_be_written);
	if (nginx) {
		tcase_add_test(tc, stopped_workers_hold_nobody_for_good);
		tcase_add_loop_test(tc, a_log_that_was_taken_away_takes_no_events_until_it_is_back,
		                    0, 4 * DEEDS);
	}
	return tc;
}

int
main(void)
{
	TCase *(*const cases[])(void) = { strangers_case, NULL };

	return torture_main("fault", cases);
}
