/*
 * Whatever may happen to a state (store/state.h): its files deleted, cut, filled
 * with garbage, swapped, of another time or log; processes killed while they apply,
 * disks that fail, several at once. Afterwards it is what the log says, each time,
 * which engine/verify.h tells: it makes another one and compares them row by row.
 */
#include "base/fs.h"
#include "base/lock.h"
#include "engine/verify.h"
#include "mishap.h"
#include "tests/read_only.h"
#include "tests/recorded.h"
#include "tests/steps.h"
#include "tests/temp.h"

#include <check.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <string.h>

static char dir[TEMP_PATH], log_dir[TEMP_PATH + 16], state_path[TEMP_PATH + 32];
static struct events *events;
static struct follower *follower;
static struct err err;

static void
must(enum rc rc)
{
	ck_assert_msg(rc == RC_OK, "%s: %s", rc_name(rc), err.text);
}

static void
setup(void)
{
	temp_make(dir);
	snprintf(log_dir, sizeof(log_dir), "%s/p", dir);
	snprintf(state_path, sizeof(state_path), "%s/" STATE_DB, log_dir);
}

static void
teardown(void)
{
	mishap_none();
	follower_free(follower);
	follower = NULL;
	events_close(events);
	events = NULL;
	temp_remove(dir);
}

static int __attribute__((format(printf, 1, 2)))
shell(const char *fmt, ...)
{
	char command[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(command, sizeof(command), fmt, ap);
	va_end(ap);
	return system(command);
}

/* A log with a history of a hundred events. */
static void
load(void)
{
	events = recorded_log("conflicts", log_dir, INT64_MAX);
	must(follower_new(log_dir, &profile_td, &follower, &err));
}

static enum rc
run(struct follower *f)
{
	int64_t now = clock_mono_ms();

	return follower_run(f, events, &(struct follow_limits){ now + 20000, now + 60000, false },
	                    &err);
}

/* As another process does that has nothing open yet. */
static void
begin_anew(void)
{
	follower_free(follower);
	events_close(events);
	must(events_open(log_dir, &events, &err));
	must(follower_new(log_dir, &profile_td, &follower, &err));
}

/* The state is brought up to the log and is what that says. */
static void
must_be_right(const char *what)
{
	struct state_check check = { 0 };
	struct events_head head;
	char scratch[TEMP_PATH + 16];

	snprintf(scratch, sizeof(scratch), "%s/again", dir);
	must(fs_mkdir(scratch, &err));
	ck_assert_msg(verify_state(follower, events, scratch, 20000, &check, &err) == RC_OK,
	              "%s: %s", what, err.text);
	ck_assert_msg(check.wrong.len == 0, "%s: %.*s", what, (int)check.wrong.len, check.wrong.p);
	must(events_head(events, &head, &err));
	ck_assert_int_eq(check.seq, head.visible);
	buf_free(&check.wrong);
	temp_remove(scratch);
}

/* So that a file that is written to has another time than before. */
static void
let_time_pass(void)
{
	usleep(30000);
}

/* All that is in the -wal goes into the file, and the -wal away. */
static void
settle_file(void)
{
	sqlite3 *db;

	begin_anew();
	ck_assert_int_eq(sqlite3_open(state_path, &db), SQLITE_OK);
	must(db_exec(db, "PRAGMA wal_checkpoint(TRUNCATE)", &err));
	ck_assert_int_eq(sqlite3_close(db), SQLITE_OK);
}

/* Three more events, and the state follows. */
static void
go_on(void)
{
	step_append(events, "A create issues td-x1 {'new_data':{'title':'One'}}");
	step_append(events, "B update issues td-x1 {'previous_data':{'title':'One'},"
	            "'new_data':{'title':'Two'}}");
	step_append(events, "A update issues td-x1 {'previous_data':{'title':'One'},"
	            "'new_data':{'title':'Three'}}");
	must(run(follower));
}

/* --- files --- */

/* Another project's state, in the folder q. */
static void
make_other(void)
{
	struct events *mine = events;
	char other_dir[TEMP_PATH + 16];
	struct follower *f;

	snprintf(other_dir, sizeof(other_dir), "%s/q", dir);
	events = recorded_log("versions", other_dir, INT64_MAX);
	must(follower_new(other_dir, &profile_td, &f, &err));
	must(run(f));
	follower_free(f);
	events_close(events);
	events = mine;
	/* All of it in one file. */
	ck_assert_int_eq(shell("cd '%s' && sqlite3 " STATE_DB " 'PRAGMA wal_checkpoint(TRUNCATE)'"
	                       " >/dev/null", other_dir), 0);
}

/* What is done to the files, by a command that has them in its folder; q/ has
 * another project's, old/ the same project's as they were before go_on(). */
static const struct {
	const char *what, *command;
	bool closed; /* nobody has them open: SQLite's own files are in the way */
} harms[] = {
	{ "deleted", "rm state.db", false },
	{ "deleted, all of them", "rm state.db*", false },
	{ "emptied", ": >state.db", false },
	{ "cut to 100 bytes", "truncate -s 100 state.db", false },
	{ "cut to a page", "truncate -s 4096 state.db", false },
	{ "cut in two", "truncate -s $(($(stat -c %s state.db) / 2)) state.db", false },
	{ "longer by a page and a half", "truncate -s +6000 state.db", false },
	{ "filled with garbage", "n=$(stat -c %s state.db); head -c $n /dev/urandom >state.db",
	  false },
	{ "its first page filled with garbage",
	  "head -c 4096 /dev/urandom | dd of=state.db conv=notrunc status=none", false },
	{ "every other page filled with garbage", "for i in $(seq 1 2 39); do head -c 4096 "
	  "/dev/urandom | dd of=state.db conv=notrunc bs=4096 seek=$i status=none; done", false },
	{ "all but the first page filled with zeros",
	  "n=$(stat -c %s state.db); truncate -s 4096 state.db; truncate -s $n state.db", false },
	{ "a text file", "echo 'no database' >state.db", false },
	{ "a folder", "rm state.db; mkdir state.db; touch state.db/x", false },
	{ "a link to nowhere", "rm state.db; ln -s nowhere state.db", false },
	{ "another project's, by name", "mv ../q/state.db state.db", false },
	{ "another project's, in its place", "cat ../q/state.db >state.db", false },
	{ "another project's, alone", "rm state.db*; cp ../q/state.db .", false },
	{ "an older one, by name", "cp ../old/state.db new; mv new state.db", false },
	{ "an older one, in its place", "cat ../old/state.db >state.db", false },
	{ "an older one, alone", "rm state.db*; cp ../old/state.db .", true },
	{ "no -shm", "rm -f state.db-shm", true },
	{ "garbage in the -shm", "head -c 32768 /dev/urandom >state.db-shm", true },
	{ "no -wal", "rm -f state.db-wal", true },
	{ "garbage in the -wal", "head -c 50000 /dev/urandom >state.db-wal", true },
	{ "a -wal cut in two", "[ ! -f state.db-wal ] || truncate -s $(($(stat -c %s state.db-wal)"
	  " / 2)) state.db-wal", true },
	{ "garbage in the lock file", "head -c 200 /dev/urandom >state.lock", false },
	{ "no lock file", "rm state.lock", false },
};
#define HARMS (int)(sizeof(harms) / sizeof(*harms))

/* Read all of the state, as requests do bit by bit: what is found damaged is made
 * anew by the next one. */
static void
read_all(void)
{
	struct state *s = follower_state(follower);
	struct tables *all;
	struct sum sum;

	if (follower_hold(follower, events, 1, clock_mono_ms() + 20000, &err) != RC_OK)
		return;
	all = follower_tables(follower);
	for (size_t i = 0; i < all->n; i++)
		if (sums_scan(all, &all->list[i], &sum, NULL) != RC_OK)
			break;
	state_let_go(s);
}

/* Where the pages lie when it happens. */
enum { IN_WAL, IN_FILE, IN_BOTH, PLACES };
static const char *const places[] = { "all in the -wal", "all in the file", "in both" };

static void
harm(int which, int place, bool open)
{
	char what[128];

	snprintf(what, sizeof(what), "%s, %s, %s", harms[which].what, places[place],
	         open ? "open" : "closed");
	load();
	make_other();
	must(run(follower));
	if (place != IN_WAL)
		settle_file();
	ck_assert_int_eq(shell("mkdir '%s/old' && cp '%s'/state.db* '%s/old'", dir, log_dir, dir),
	                 0);
	if (place != IN_FILE)
		go_on();
	else
		must(run(follower));
	if (!open)
		begin_anew();
	let_time_pass();
	ck_assert_msg(shell("cd '%s' && { %s; }", log_dir, harms[which].command) == 0, "%s", what);
	read_all();
	must_be_right(what);
	/* Nor does it go wrong later, or for others. */
	go_on();
	must_be_right(what);
	begin_anew();
	must_be_right(what);
}

START_TEST(a_state_that_is_harmed_is_what_the_log_says_all_the_same)
{
	harm(_i / PLACES, _i % PLACES, false);
	teardown();
	setup();
	if (!harms[_i / PLACES].closed)
		harm(_i / PLACES, _i % PLACES, true);
}
END_TEST

/* --- what it says of itself --- */

static const char *const lies[] = {
	"UPDATE tdsync_state SET mark = 'td/0'",
	"UPDATE tdsync_state SET mark = 'shelf/1'",
	"UPDATE tdsync_state SET format = 0",
	"UPDATE tdsync_state SET format = 99",
	"UPDATE tdsync_state SET log_id = zeroblob(16)",
	"UPDATE tdsync_state SET log_id = x'00'",
	"UPDATE tdsync_state SET digest = zeroblob(16)",
	"UPDATE tdsync_state SET seq = 100000", /* from the future */
	"UPDATE tdsync_state SET seq = seq - 1",
	"UPDATE tdsync_state SET seq = -1",
	"DELETE FROM tdsync_state",
	"DROP TABLE tdsync_state",
	"DROP TABLE tdsync_version",
	"DROP TABLE tdsync_conflict",
	"ALTER TABLE tdsync_skipped ADD COLUMN x NOT NULL DEFAULT 1",
};
#define LIES (int)(sizeof(lies) / sizeof(*lies))

START_TEST(a_state_that_says_it_is_another_is_made_anew)
{
	sqlite3 *db;

	/* Whoever has it open when a table goes sees an error; the next one doesn't. */
	for (int open = 0; open < (strncmp(lies[_i], "DROP", 4) == 0 ? 1 : 2); open++) {
		load();
		must(run(follower));
		if (!open)
			begin_anew();
		ck_assert_int_eq(sqlite3_open(state_path, &db), SQLITE_OK);
		must(db_exec(db, lies[_i], &err));
		ck_assert_int_eq(sqlite3_close(db), SQLITE_OK);
		if (_i < LIES - 1) /* a column more does no harm */
			must_be_right(lies[_i]);
		go_on();
		if (_i < LIES - 1)
			must_be_right(lies[_i]);
		teardown();
		setup();
	}
}
END_TEST

/* The log is an older copy of itself: what the state holds beyond its end was never
 * there. Then the same numbers are given to other events. */
START_TEST(a_state_from_the_future_of_its_log_is_made_anew)
{
	load();
	must(run(follower));
	begin_anew();
	ck_assert_int_eq(shell("mkdir '%s/log' && cp '%s'/events.db* '%s/log'", dir, log_dir, dir),
	                 0);
	go_on();
	follower_free(follower);
	follower = NULL;
	events_close(events);
	/* As its message says: the lock file goes, too. */
	ck_assert_int_eq(shell("cd '%s' && rm events.db* lock && cp ../log/* .", log_dir), 0);
	must(events_open(log_dir, &events, &err));
	must(follower_new(log_dir, &profile_td, &follower, &err));
	must_be_right("an older log");
	for (int i = 0; i < 5; i++)
		step_append(events, "C create issues td-y1 {'new_data':{'title':'Other'}}");
	must_be_right("an older log that went on");
}
END_TEST

/* The log tells of an end that it does not hold: that is said, and not looked for
 * for ever. */
START_TEST(a_log_that_lacks_its_end_is_said_to)
{
	char path[TEMP_PATH + 32];
	sqlite3 *db;

	load();
	snprintf(path, sizeof(path), "%s/events.db", log_dir);
	ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
	must(db_exec(db, "DELETE FROM event WHERE seq > 100", &err));
	ck_assert_int_eq(sqlite3_close(db), SQLITE_OK);
	ck_assert_int_eq(run(follower), RC_UNAVAILABLE);
	ck_assert_ptr_nonnull(strstr(err.text, "lacks events after 100"));
	ck_assert_int_eq(follower_rebuild(follower, events, clock_mono_ms() + 20000, &err),
	                 RC_UNAVAILABLE);
	ck_assert_int_eq(follower_begin(follower, events, false, clock_mono_ms() + 20000, &err),
	                 RC_UNAVAILABLE);
	/* What there is can be read. */
	must(follower_hold(follower, events, 100, clock_mono_ms() + 20000, &err));
	state_let_go(follower_state(follower));
}
END_TEST

/* What a state says of its rows can be as wrong as the rest: nobody is told that
 * something is not there, for ever, which is only there to be made anew. */
START_TEST(a_state_that_tells_of_events_that_never_were_is_made_anew)
{
	sqlite3 *db;

	load();
	go_on();
	ck_assert_int_eq(sqlite3_open(state_path, &db), SQLITE_OK);
	must(db_exec(db, "UPDATE tdsync_version SET seq = -seq WHERE id = 'td-x1'", &err));
	ck_assert_int_eq(sqlite3_close(db), SQLITE_OK);
	step_append(events, "C update issues td-x1 {'previous_data':{'title':'One'},"
	            "'new_data':{'title':'Four'}}");
	must(run(follower));
	must_be_right("made anew");
}
END_TEST

/* --- others --- */

/* A WAL that others recover is waited for, after a checkpoint, too, which waits for
 * nobody. */
START_TEST(a_checkpoint_changes_nothing_of_who_is_waited_for)
{
	struct buf text = { 0 };
	sqlite3_stmt *st;
	bool row;
	int ms[2];

	load();
	must(run(follower));
	for (int i = 0; i < 2; i++) {
		must(db_prepare(state_db(follower_state(follower)), "PRAGMA busy_timeout", &st, &err));
		must(db_step(st, &row, &err));
		ms[i] = sqlite3_column_int(st, 0);
		sqlite3_finalize(st);
		buf_reset(&text);
		buf_add_str(&text, "A create issues td-x1 {'new_data':{'title':'");
		for (int k = 0; k < 5 << 20; k++)
			buf_add_byte(&text, 'x');
		buf_add_str(&text, "'}}");
		step_append(events, buf_cstr(&text));
		must(run(follower));
	}
	ck_assert_int_gt(ms[0], 0);
	ck_assert_int_eq(ms[1], ms[0]);
	buf_free(&text);
}
END_TEST

/* Pushes wait for the log's lock, and whoever applies never asks for it: so no push
 * waits for that. (Nor does a push ask for the state's: http_state.c.) */
START_TEST(the_logs_lock_is_no_concern_of_who_applies)
{
	char path[TEMP_PATH + 32];
	struct events_head head;
	struct lock *lock;

	load();
	must(events_head(events, &head, &err));
	snprintf(path, sizeof(path), "%s/" EVENTS_LOCK, log_dir);
	must(lock_open(path, &lock, &err));
	ck_assert_int_eq(lock_take(lock, clock_mono_ms() + 1000), RC_OK);
	must(run(follower));
	must(follower_rebuild(follower, events, clock_mono_ms() + 1000, &err));
	must(follower_hold(follower, events, head.visible, clock_mono_ms() + 1000, &err));
	state_let_go(follower_state(follower));
	must_be_right("beside who has the log's lock");
	lock_close(lock);
}
END_TEST

START_TEST(a_stranger_who_has_the_lock_is_waited_for_and_not_for_ever)
{
	char path[TEMP_PATH + 32];
	struct lock *lock;
	int64_t start;

	load();
	snprintf(path, sizeof(path), "%s/" STATE_LOCK, log_dir);
	must(lock_open(path, &lock, &err));
	must(lock_take(lock, clock_mono_ms()));
	start = clock_mono_ms();
	ck_assert_int_eq(follower_run(follower, events, &(struct follow_limits){ start + 300,
	                              start + 60000, false }, &err), RC_BUSY);
	ck_assert_int_ge(clock_mono_ms() - start, 290);
	ck_assert_int_lt(clock_mono_ms() - start, 20000);
	ck_assert_int_eq(follower_hold(follower, events, 1, clock_mono_ms() + 100, &err),
	                 RC_BUSY);
	ck_assert_ptr_nonnull(strstr(err.text, "try again in a moment"));
	lock_close(lock);
	must_be_right("after it was let go");
}
END_TEST

/* A process of its own that runs a function. */
static pid_t
start(void (*work)(void))
{
	pid_t pid;

	fflush(NULL);
	if ((pid = fork()) == 0) {
		follower = NULL; /* the parent's */
		events = NULL;
		if (events_open(log_dir, &events, &err) != RC_OK ||
		    follower_new(log_dir, &profile_td, &follower, &err) != RC_OK)
			_exit(2);
		work();
		_exit(0);
	}
	ck_assert_int_gt(pid, 0);
	return pid;
}

static void
must_end(pid_t pid)
{
	int status;

	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%d", status);
}

static void
follow_for_a_while(void)
{
	int64_t end = clock_mono_ms() + 1500;

	while (clock_mono_ms() < end)
		if (run(follower) != RC_OK)
			_exit(3);
}

static void
empty_for_a_while(void)
{
	int64_t end = clock_mono_ms() + 1500;

	while (clock_mono_ms() < end)
		if (follower_rebuild(follower, events, clock_mono_ms() + 20000, &err) != RC_OK)
			_exit(3);
}

/* Three follow, one begins again and again, while events come. */
START_TEST(many_who_follow_at_once_make_one_state)
{
	pid_t pids[4];

	load();
	for (int i = 0; i < 4; i++)
		pids[i] = start(i == 3 ? empty_for_a_while : follow_for_a_while);
	for (int i = 0; i < 100; i++) {
		step_append(events, "A create notes nt-z {'new_data':{'title':'T','content':'C',"
		            "'created_at':'2026-01-01T00:00:00Z','updated_at':'2026-01-01T00:00:00Z'}}");
		usleep(5000);
	}
	for (int i = 0; i < 4; i++)
		must_end(pids[i]);
	must_be_right("after many at once");
}
END_TEST

static void
rebuild(void)
{
	if (follower_rebuild(follower, events, clock_mono_ms() + 20000, &err) != RC_OK)
		_exit(3);
}

static enum rc
count(void *ctx, const struct state_conflict *c, bool *stop, struct err *e)
{
	(void)c;
	(void)stop;
	(void)e;
	++*(int *)ctx;
	return RC_OK;
}

/* Who reads goes on reading what it began with. */
START_TEST(a_reader_is_not_disturbed_by_who_empties_the_state)
{
	int before = 0, after = 0;
	struct events_head head;
	struct state *s;

	load();
	must(events_head(events, &head, &err));
	must(follower_hold(follower, events, head.visible, clock_mono_ms() + 20000, &err));
	s = follower_state(follower);
	must(state_walk_conflicts(s, 0, count, &before, &err));
	ck_assert_int_gt(before, 10);
	must_end(start(rebuild));
	must(state_walk_conflicts(s, 0, count, &after, &err));
	ck_assert_int_eq(after, before);
	state_let_go(s);
	/* And sees the new one when it comes again. */
	go_on();
	must_be_right("after it was emptied");
}
END_TEST

/* --- kills --- */

static void
follow_once(void)
{
	if (run(follower) != RC_OK)
		_exit(3);
}

/* The same in short transactions, as a worker does after its answer. */
static void
follow_in_steps(void)
{
	int64_t now = clock_mono_ms();
	struct follow_limits limits = { now + 20000, now + 60000, true };

	if (follower_run(follower, events, &limits, &err) != RC_OK)
		_exit(3);
}

/* At each of its writes to the state, until it comes through. */
START_TEST(a_process_that_is_killed_at_any_write_leaves_a_state_that_goes_on)
{
	int killed = 0, status, n = 0;
	pid_t pid;

	load();
	for (;;) {
		ck_assert_int_lt(++n, 5000);
		mishap_plan(n, MISHAP_KILL, false, "/" STATE_DB);
		pid = start(_i == 0 ? follow_once : rebuild);
		ck_assert_int_eq(waitpid(pid, &status, 0), pid);
		mishap_none();
		if (WIFEXITED(status)) {
			ck_assert_int_eq(WEXITSTATUS(status), 0);
			break;
		}
		ck_assert_int_eq(WTERMSIG(status), SIGKILL);
		killed++;
		if (n < 20 || n % 16 == 0)
			must_be_right("after a kill");
		if (_i == 0) /* there is something to do again */
			ck_assert_int_eq(shell("rm -f '%s'/state.db*", log_dir), 0);
		n += n > 40 ? 6 : 0; /* the middle is all alike */
	}
	ck_assert_int_gt(killed, 10);
	must_be_right("after all kills");
}
END_TEST

/* At any moment, while it applies 6,000 events, of which one goes on where the
 * other was killed. */
START_TEST(processes_that_are_killed_at_any_moment_come_to_the_end_all_the_same)
{
	int status, kills = 0;
	unsigned seed = (unsigned)clock_now_us();
	pid_t pid;

	printf("kills: seed %u\n", seed);
	srand(seed);
	events = recorded_log("large", log_dir, INT64_MAX);
	for (int i = 0; i < 60; i++) {
		pid = start(i % 3 == 0 ? follow_once : follow_in_steps);
		usleep((useconds_t)(rand() % 60000));
		kill(pid, SIGKILL);
		ck_assert_int_eq(waitpid(pid, &status, 0), pid);
		kills += WIFSIGNALED(status);
		if (!WIFSIGNALED(status)) /* it came through: begin again */
			ck_assert_int_eq(shell("rm -f '%s'/state.db*", log_dir), 0);
	}
	ck_assert_int_gt(kills, 10);
	must(follower_new(log_dir, &profile_td, &follower, &err));
	must_be_right("after kills at any moment");
}
END_TEST

/* --- disks --- */

/* A disk that fails at the nth write, once or from then on: it says so, and when
 * the disk works again the state is made. */
static const struct {
	int action;
	bool lasting;
} ways[] = {
	{ ENOSPC, false }, { ENOSPC, true }, { EIO, false }, { EIO, true }, { MISHAP_SHORT, false },
};
#define WAYS (int)(sizeof(ways) / sizeof(*ways))

START_TEST(a_disk_that_fails_at_any_write_is_said_to_and_the_state_goes_on)
{
	int n = 0;
	bool struck;
	enum rc rc;

	load();
	do {
		ck_assert_int_lt(++n, 5000);
		ck_assert_int_eq(shell("rm -f '%s'/state.db*", log_dir), 0);
		begin_anew();
		mishap_plan(n, ways[_i].action, ways[_i].lasting, "/" STATE_DB);
		rc = run(follower);
		struck = mishap->struck > 0;
		mishap_none();
		ck_assert_msg(rc == RC_OK || (struck && (rc == RC_UNAVAILABLE || rc == RC_FAULT)),
		              "call %d: %s: %s", n, rc_name(rc), err.text);
		if (n < 20 || n % 16 == 0)
			must_be_right("after a failure");
		n += n > 40 ? 6 : 0;
	} while (struck);
	ck_assert_int_gt(n, 10);
}
END_TEST

/* What an operator is told on a disk that takes nothing. */
static int
read_only_child(void)
{
	enum rc rc;

	if (!read_only(log_dir))
		return READ_ONLY_REFUSED;
	if ((rc = follower_new(log_dir, &profile_td, &follower, &err)) == RC_OK) {
		rc = run(follower);
		follower_free(follower);
	}
	follower = NULL;
	return rc == RC_UNAVAILABLE && strstr(err.text, "Read-only") != NULL ? 0 : 1;
}

START_TEST(a_read_only_disk_is_said_to_be_one)
{
	pid_t pid;

	events = recorded_log("conflicts", log_dir, INT64_MAX);
	if (_i == 1) {
		must(follower_new(log_dir, &profile_td, &follower, &err));
		must(run(follower));
		follower_free(follower);
		follower = NULL;
	}
	fflush(NULL);
	if ((pid = fork()) == 0)
		_exit(read_only_child());
	read_only_ended(pid);
	must(follower_new(log_dir, &profile_td, &follower, &err));
	must_be_right("when it can be written again");
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("state_fault");
	TCase *t = tcase_create("state_fault");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 300);
	tcase_add_loop_test(t, a_state_that_is_harmed_is_what_the_log_says_all_the_same, 0,
	                    HARMS * PLACES);
	tcase_add_loop_test(t, a_state_that_says_it_is_another_is_made_anew, 0, LIES);
	tcase_add_test(t, a_state_from_the_future_of_its_log_is_made_anew);
	tcase_add_test(t, a_log_that_lacks_its_end_is_said_to);
	tcase_add_test(t, a_state_that_tells_of_events_that_never_were_is_made_anew);
	tcase_add_test(t, a_checkpoint_changes_nothing_of_who_is_waited_for);
	tcase_add_test(t, the_logs_lock_is_no_concern_of_who_applies);
	tcase_add_test(t, a_stranger_who_has_the_lock_is_waited_for_and_not_for_ever);
	tcase_add_test(t, many_who_follow_at_once_make_one_state);
	tcase_add_test(t, a_reader_is_not_disturbed_by_who_empties_the_state);
	tcase_add_loop_test(t, a_process_that_is_killed_at_any_write_leaves_a_state_that_goes_on,
	                    0, 2);
	tcase_add_test(t, processes_that_are_killed_at_any_moment_come_to_the_end_all_the_same);
	tcase_add_loop_test(t, a_disk_that_fails_at_any_write_is_said_to_and_the_state_goes_on, 0,
	                    WAYS);
	tcase_add_loop_test(t, a_read_only_disk_is_said_to_be_one, 0, 2);
	suite_add_tcase(s, t);
	runner = srunner_create(s);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
