/*
 * Many at once: the same push from several places at the same instant, over
 * workers and CGI processes on one data folder; and writers beside checkpoints.
 */
#include "torture.h"

#include "temp.h"

#include "store/events.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sqlite3.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define TWIN_PUSHES 400   /* acked, each event by three pushes */
#define CHECKPOINTS 2000
#define WRITERS 4
#define EVENTS 5          /* of a transaction */
#define READ_MS 50        /* that a reader holds its place */

/* --- one push, sent three times at once --- */

START_TEST(the_same_push_at_the_same_instant_has_one_place_each)
{
	struct site_options fast = { .kind = SITE_FASTCGI }, slow = { .kind = SITE_CGI };
	struct torture t;
	struct site cgi;

	torture_start(&t, &fast);
	slow.data = t.site.data;
	ck_assert(site_start(&cgi, &slow));
	t.crowd.urls[1] = cgi.url;
	t.crowd.pushers = 4;
	t.crowd.followers = 3;
	t.crowd.twins = 3;
	crowd_start(&t.crowd);
	ck_assert(crowd_wait(&t.crowd, TWIN_PUSHES * torture_soak(), 300000 * torture_soak()));
	ck_assert(crowd_stop(&t.crowd));
	torture_check(&t, true);
	ck_assert_uint_eq(ledger_acked(t.ledger), ledger_made(t.ledger));
	ck_assert(site_stop(&cgi));
	torture_stop(&t);
}
END_TEST

/* --- writers and checkpoints (platform.md 4.1) --- */

/* What the processes share. */
struct shared {
	int checkpoints;
	bool stop;
	char acked[1 << 22]; /* who wrote the event of that number, + 1 */
};
static struct shared *shared;

int __real_sqlite3_wal_checkpoint_v2(sqlite3 *, const char *, int, int *, int *);
int __wrap_sqlite3_wal_checkpoint_v2(sqlite3 *, const char *, int, int *, int *);

int
__wrap_sqlite3_wal_checkpoint_v2(sqlite3 *db, const char *name, int mode, int *log, int *done)
{
	__atomic_add_fetch(&shared->checkpoints, 1, __ATOMIC_SEQ_CST);
	return __real_sqlite3_wal_checkpoint_v2(db, name, mode, log, done);
}

/* Append transactions as a worker does, with the housekeeping after each. */
static int
write_on(const char *dir, int me)
{
	static char text[9000];
	struct events *e;
	int64_t seqs[EVENTS];
	struct err err;
	int64_t n = 0;

	memset(text, 'x', sizeof(text));
	if (events_open(dir, &e, &err) != RC_OK)
		return 1;
	while (!__atomic_load_n(&shared->stop, __ATOMIC_SEQ_CST)) {
		enum rc rc = events_begin(e, clock_mono_ms() + 30000, &err);

		for (int i = 0; i < EVENTS && rc == RC_OK; i++) {
			struct event ev = { .device = span_of("d"), .session = span_of("s"),
				.user = span_of("u"), .action_id = ++n * WRITERS + me,
				.action = ACTION_CREATE, .type = span_of("issues"),
				.id = span_of(me == 0 ? "0" : me == 1 ? "1" : me == 2 ? "2" : "3"),
				.payload = { text, (size_t)(n * 7919 % 4000) + 2 },
				.time = span_of("2026-03-01T10:00:00Z") };

			memcpy(ev.digest, &n, sizeof(n));
			rc = events_append(e, &ev, &seqs[i], &err);
		}
		if (rc == RC_OK)
			rc = events_commit(e, &err);
		if (rc != RC_OK) {
			fprintf(stderr, "writer %d: %s %s\n", me, rc_name(rc), err.text);
			return 1;
		}
		for (int i = 0; i < EVENTS; i++)
			shared->acked[seqs[i]] = (char)(me + 1);
		if (seqs[EVENTS - 1] > (int64_t)sizeof(shared->acked) - 1000)
			break;
		events_maintain(e, true);
	}
	events_close(e);
	return 0;
}

static enum rc
look(void *ctx, const struct event *ev, bool *stop)
{
	int64_t *last = ctx;

	if (ev->seq != *last + 1)
		return RC_FAULT;
	*last = ev->seq;
	if (*last % 1000 == 0)
		usleep(READ_MS * 1000);
	*stop = __atomic_load_n(&shared->stop, __ATOMIC_SEQ_CST);
	return RC_OK;
}

/*
 * Follow the log, without haste: while somebody reads, a WAL that is large can't
 * begin anew, and a checkpoint follows each commit.
 */
static int
read_on(const char *dir)
{
	int64_t last = 0;
	struct events *e;
	struct err err = { "" };

	if (events_open(dir, &e, &err) != RC_OK)
		return 1;
	while (!__atomic_load_n(&shared->stop, __ATOMIC_SEQ_CST)) {
		enum rc rc = events_walk(e, last, INT64_MAX, true, NULL, look, &last, &err);

		if (rc != RC_OK) {
			fprintf(stderr, "reader at %lld: %s %s\n", (long long)last, rc_name(rc),
			        err.text);
			return 1;
		}
	}
	events_close(e);
	return 0;
}

/* The log is whole: all acked, nothing else, in order. */
static void
check_log(const char *dir)
{
	char path[TEMP_PATH + 64];
	sqlite3_stmt *st;
	sqlite3 *db;
	int64_t n = 0;

	snprintf(path, sizeof(path), "%s/events.db", dir);
	ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
	ck_assert_int_eq(sqlite3_prepare_v2(db, "PRAGMA integrity_check", -1, &st, NULL), 0);
	ck_assert_int_eq(sqlite3_step(st), SQLITE_ROW);
	ck_assert_str_eq((const char *)sqlite3_column_text(st, 0), "ok");
	sqlite3_finalize(st);
	ck_assert_int_eq(sqlite3_prepare_v2(db, "SELECT seq, entity FROM event ORDER BY seq",
	                                    -1, &st, NULL), 0);
	while (sqlite3_step(st) == SQLITE_ROW) {
		ck_assert_int_eq(sqlite3_column_int64(st, 0), ++n);
		ck_assert_int_eq(sqlite3_column_int(st, 1) + 1, shared->acked[n]);
	}
	sqlite3_finalize(st);
	ck_assert_int_eq(shared->acked[n + 1], 0);
	sqlite3_close(db);
}

START_TEST(writers_beside_checkpoints_corrupt_nothing)
{
	char dir[TEMP_PATH], log[TEMP_PATH + 8];
	int want = CHECKPOINTS * torture_soak(), status;
	int64_t end = clock_mono_ms() + 300000 * torture_soak();
	pid_t pids[WRITERS + 1];

	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
	              MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ck_assert(shared != MAP_FAILED);
	temp_make(dir);
	snprintf(log, sizeof(log), "%s/log", dir);
	ck_assert_int_eq(events_create(log, "td", NULL), RC_OK);
	for (int i = 0; i <= WRITERS; i++)
		if ((pids[i] = fork()) == 0)
			_exit(i < WRITERS ? write_on(log, i) : read_on(log));
	while (__atomic_load_n(&shared->checkpoints, __ATOMIC_SEQ_CST) < want &&
	       clock_mono_ms() < end && waitpid(pids[0], &status, WNOHANG) == 0)
		usleep(10000);
	__atomic_store_n(&shared->stop, true, __ATOMIC_SEQ_CST);
	for (int i = 0; i <= WRITERS; i++)
		if (waitpid(pids[i], &status, 0) == pids[i])
			ck_assert_int_eq(status, 0);
	ck_assert_int_ge(shared->checkpoints, want);
	check_log(log);
	munmap(shared, sizeof(*shared));
	temp_remove(dir);
}
END_TEST

static TCase *
crowd_case(void)
{
	TCase *tc = tcase_create("crowd");

	tcase_set_timeout(tc, 400 * torture_soak());
	tcase_add_test(tc, writers_beside_checkpoints_corrupt_nothing);
	if (torture_can_run())
		tcase_add_test(tc, the_same_push_at_the_same_instant_has_one_place_each);
	return tc;
}

int
main(void)
{
	TCase *(*const cases[])(void) = { crowd_case, NULL };

	return torture_main("crowd", cases);
}
