/*
 * td-sync-admin project verify, rebuild, conflicts and skipped, as an operator runs
 * them: what they print, and their exit codes, on files that are as they should be
 * and on such that are not; and what asks first.
 */
#include "base/fs.h"
#include "base/json.h"
#include "base/lock.h"
#include "engine/follow.h"
#include "http/snapshots.h"
#include "tests/steps.h"
#include "tests/temp.h"

#include <check.h>
#include <pty.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <sys/wait.h>

static char dir[TEMP_PATH], data[TEMP_PATH + 16], project[32], log_dir[TEMP_PATH + 64];
static struct buf out; /* what the last command printed, errors too */

/* Run td-sync-admin with these arguments; its exit code. */
static int __attribute__((format(printf, 1, 2)))
admin(const char *fmt, ...)
{
	char args[256], command[1024], chunk[4096];
	va_list ap;
	FILE *f;
	size_t n;
	int status;

	va_start(ap, fmt);
	vsnprintf(args, sizeof(args), fmt, ap);
	va_end(ap);
	snprintf(command, sizeof(command), "TMPDIR='%s' '%s/td-sync-admin' --data '%s' %s 2>&1",
	         dir, TOP_BUILDDIR, data, args);
	f = popen(command, "r");
	ck_assert_ptr_nonnull(f);
	buf_reset(&out);
	while ((n = fread(chunk, 1, sizeof(chunk), f)) > 0)
		buf_add(&out, chunk, n);
	ck_assert_ptr_nonnull(buf_cstr(&out));
	status = pclose(f);
	ck_assert(WIFEXITED(status));
	return WEXITSTATUS(status);
}

/* Whether a command printed that; its whole output is shown where not. */
static void
printed(const char *text)
{
	ck_assert_msg(strstr(out.p, text) != NULL, "no \"%s\" in:\n%s", text, out.p);
}

static void
make_project(const char *more)
{
	ck_assert_int_eq(admin("project add p --owner a@example.com %s", more), 0);
	ck_assert_int_eq(sscanf(out.p, "%20s", project), 1);
	snprintf(log_dir, sizeof(log_dir), "%s/projects/%s", data, project);
}

static void
setup(void)
{
	temp_make(dir);
	snprintf(data, sizeof(data), "%s/data", dir);
	ck_assert_int_eq(admin("init"), 0);
	ck_assert_int_eq(admin("user add a@example.com"), 0);
	make_project("");
}

static void
teardown(void)
{
	buf_free(&out);
	temp_remove(dir);
}

/* Append to the project's log. */
static void
steps(const char *const *steps)
{
	struct events *log;

	ck_assert_int_eq(events_open(log_dir, &log, NULL), RC_OK);
	for (; *steps != NULL; steps++)
		step_append(log, *steps);
	events_close(log);
}

/* Two edit an issue at once, and a comment comes for one that is not there. */
static void
some_events(void)
{
	static const char *const some[] = {
		"A create issues td-1 {'new_data':{'title':'One'}}",
		"A update issues td-1 {'previous_data':{'title':'One'},'new_data':{'title':'Two'}}",
		"B update issues td-1 {'previous_data':{'title':'One'},'new_data':{'title':'Thr\\u001bee'}}",
		"B create comments cm-1 {'new_data':{'issue_id':'td-9','session_id':'s','text':'T'}}",
		NULL,
	};

	steps(some);
}

/* Change a database of the project by hand. */
static void
meddle(const char *file, const char *sql)
{
	char path[TEMP_PATH + 128];
	sqlite3 *db;
	char *why = NULL;

	snprintf(path, sizeof(path), "%s/%s", log_dir, file);
	ck_assert_int_eq(sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
	ck_assert_msg(sqlite3_exec(db, sql, NULL, NULL, &why) == SQLITE_OK, "%s: %s", sql, why);
	ck_assert_int_eq(sqlite3_close(db), SQLITE_OK);
}

/* Every line of the last output is a JSON object. */
static void
is_json(void)
{
	struct span rest = buf_span(&out), value;

	while (rest.len > 0) {
		ck_assert_msg(json_scan(rest, 8, &value, &rest, NULL) == RC_OK, "%s", out.p);
		ck_assert_int_eq(json_type(value), JSON_OBJECT);
		ck_assert(rest.len > 0 && rest.p[0] == '\n');
		rest.p++;
		rest.len--;
	}
}

/* Make a snapshot of the project as a server does; its path. */
static const char *
make_snapshot(void)
{
	static char path[TEMP_PATH + 128];
	struct follower *f;
	struct events_head head;
	struct snapshot_file file;
	struct snapshot_key key = { .data = data, .project = project, .profile = &profile_td,
	                            .head = &head, .from = 1 };
	struct err err = { "" };
	struct lock *lock;

	ck_assert_int_eq(events_open(log_dir, &key.log, &err), RC_OK);
	ck_assert_int_eq(events_head(key.log, &head, &err), RC_OK);
	ck_assert_int_eq(follower_new(log_dir, &profile_td, &f, &err), RC_OK);
	ck_assert_int_eq(snapshots_lock(&key, clock_mono_ms() + 1000, &lock, &err), RC_OK);
	ck_assert_msg(snapshots_make(&key, f, clock_mono_ms() + 20000, &file, &err) == RC_OK,
	              "%s", err.text);
	close(file.fd);
	lock_close(lock);
	follower_free(f);
	events_close(key.log);
	snprintf(path, sizeof(path), "%s/snapshots/%s/%d.db", data, project, (int)head.seq);
	return path;
}

/* --- what is as it should be --- */

START_TEST(verify_tells_what_it_looked_at)
{
	ck_assert_int_eq(admin("project verify p"), 0);
	ck_assert_str_eq(out.p, "log       ok     0 events, 0 of them parked, the last is 0\n"
	                 "state     ok     at 0, 1 rows, 0 conflicts, 0 skipped\n");
	some_events();
	make_snapshot();
	ck_assert_int_eq(admin("project verify %s", project), 0);
	ck_assert_str_eq(out.p, "log       ok     4 events, 0 of them parked, the last is 4\n"
	                 "state     ok     at 4, 2 rows, 1 conflicts, 1 skipped\n"
	                 "snapshot  ok     at 4\n");
	ck_assert_int_eq(admin("project verify p --json"), 0);
	is_json();
	printed("{\"check\":\"log\",\"ok\":true,\"event_count\":4,\"parked\":0,"
	        "\"last_server_seq\":4}\n");
	printed("{\"check\":\"state\",\"ok\":true,\"server_seq\":4,\"rows\":2,\"conflicts\":1,"
	        "\"skipped\":1}\n");
	printed("{\"check\":\"snapshot\",\"ok\":true,\"server_seq\":4}\n");
	/* What it made to compare with is gone again. */
	ck_assert_int_eq(system("ls -d ${TMPDIR:-/tmp}/td-sync-verify-* 2>/dev/null"), 2 << 8);
}
END_TEST

START_TEST(rebuild_makes_the_state_anew_and_says_what_is_in_it)
{
	unsigned seconds, ms;

	some_events();
	ck_assert_int_eq(admin("project rebuild p"), 0);
	ck_assert_msg(sscanf(out.p, "4 events, 1 skipped, 1 conflicts, %u.%u s", &seconds,
	                     &ms) == 2, "%s", out.p);
	meddle(STATE_DB, "UPDATE issues SET title = 'x'");
	ck_assert_int_eq(admin("project verify p"), 6);
	ck_assert_int_eq(admin("--json project rebuild p"), 0);
	is_json();
	printed("{\"event_count\":4,\"last_server_seq\":4,\"skipped\":1,\"conflicts\":1,\"ms\":");
	ck_assert_int_eq(admin("project verify p"), 0);
}
END_TEST

START_TEST(skipped_and_conflicts_are_listed)
{
	ck_assert_int_eq(admin("project skipped p"), 0);
	ck_assert_str_eq(out.p, "");
	ck_assert_int_eq(admin("project conflicts p"), 0);
	ck_assert_str_eq(out.p, "");
	some_events();
	ck_assert_int_eq(admin("project skipped p"), 0);
	ck_assert_str_eq(out.p, "4         orphaned_parent  comments/cm-1             orphaned "
	                 "comments/cm-1: issue_id references missing issues/td-9\n");
	ck_assert_int_eq(admin("project skipped p --json"), 0);
	is_json();
	ck_assert_str_eq(out.p, "{\"server_seq\":4,\"reason\":\"orphaned_parent\","
	                 "\"entity_type\":\"comments\",\"entity_id\":\"cm-1\",\"message\":\"orphaned "
	                 "comments/cm-1: issue_id references missing issues/td-9\"}\n");
	ck_assert_int_eq(admin("project conflicts p"), 0);
	ck_assert_str_eq(out.p, "3-1       field             issues/td-1  title: \"Two\" -> "
	                 "\"Thr\\u001bee\"\n");
	ck_assert_int_eq(admin("project conflicts p --json"), 0);
	is_json();
	printed("{\"id\":\"3-1\",\"server_seq\":3,\"kind\":\"field\",\"certain\":true,");
}
END_TEST

/* More than a page of them. */
START_TEST(all_conflicts_are_listed)
{
	char text[256];
	struct events *log;
	int lines = 0;

	ck_assert_int_eq(events_open(log_dir, &log, NULL), RC_OK);
	step_append(log, "A create issues td-1 {'new_data':{'title':'One'}}");
	for (int i = 0; i < 1200; i++) {
		snprintf(text, sizeof(text), "%c update issues td-1 {'previous_data':{'title':'?'},"
		         "'new_data':{'title':'%d'}}", 'A' + i % 2, i);
		step_append(log, text);
	}
	events_close(log);
	ck_assert_int_eq(admin("project conflicts p"), 0);
	for (const char *p = out.p; *p != '\0'; p++)
		lines += *p == '\n';
	ck_assert_int_eq(lines, 1199);
	printed("1201-1    field  ");
}
END_TEST

/* --- what is not --- */

static const struct {
	const char *file, *sql, *says;
} meddlings[] = {
	{ EVENTS_DB, "UPDATE event SET payload = '{\"new_data\":{\"title\":\"Twp\"}}' WHERE seq = 2",
	  "log       WRONG  2 events, 0 of them parked, the last is 2: event 2: it is not what its "
	  "digest is of\n" },
	{ EVENTS_DB, "UPDATE event SET payload = '{' WHERE seq = 2",
	  "event 2: its payload is not JSON\n" },
	{ EVENTS_DB, "UPDATE event SET time = 'noon' WHERE seq = 2",
	  "event 2: its time is not RFC 3339\n" },
	{ EVENTS_DB, "DELETE FROM event WHERE seq = 2",
	  "the head counts 4 events, there are 3\n" },
	{ EVENTS_DB, "DELETE FROM event WHERE seq = 4",
	  "the log lacks events after 3, it is said to go to 4: put it back from a backup\n" },
	{ EVENTS_DB, "UPDATE head SET visible = 3",
	  "the head says that the last visible event is 3, it is 4\n" },
	{ EVENTS_DB, "UPDATE head SET time_us = 5", "the head has another time than the last event\n" },
	{ EVENTS_DB, "UPDATE author SET id = 77 WHERE id = 1", "breaks a foreign key to author\n" },
	{ STATE_DB, "UPDATE issues SET title = 'x'",
	  "state     WRONG  at 4, 0 rows, 0 conflicts, 0 skipped: issues td-1 is not what the log "
	  "makes of it\n" },
	{ STATE_DB, "INSERT INTO notes VALUES('nt-1','T','','','',0,0,NULL)",
	  "notes nt-1 is not what the log makes of it\n" },
	{ STATE_DB, "DELETE FROM boards", "boards bd-all-issues is not what the log makes of it\n" },
	{ STATE_DB, "DELETE FROM tdsync_conflict", "conflict 3-1 is not what the log makes of it\n" },
	{ STATE_DB, "UPDATE tdsync_conflict SET certain = 0",
	  "conflict 3-1 is not what the log makes of it\n" },
	{ STATE_DB, "UPDATE tdsync_skipped SET why = ''",
	  "skipped event 4 is not what the log makes of it\n" },
	{ STATE_DB, "DELETE FROM tdsync_version WHERE seq = 2",
	  "version td-1 at 2 is not what the log makes of it\n" },
	{ STATE_DB, "UPDATE tdsync_sum SET rows = 7 WHERE type = 0",
	  "sum 0 at 0 is not what the log makes of it\n" },
	{ STATE_DB, "INSERT INTO comments VALUES('cm-7','td-8','s','T','')",
	  "comments breaks a foreign key to issues\n" },
	{ STATE_DB, "PRAGMA writable_schema = 1; UPDATE sqlite_schema SET sql = 'CREATE INDEX "
	  "idx_issues_status ON issues(title)' WHERE name = 'idx_issues_status'",
	  "missing from index idx_issues_status\n" },
};
#define MEDDLINGS (int)(sizeof(meddlings) / sizeof(*meddlings))

START_TEST(verify_finds_what_was_meddled_with)
{
	some_events();
	ck_assert_int_eq(admin("project verify p"), 0);
	meddle(meddlings[_i].file, meddlings[_i].sql);
	ck_assert_msg(admin("project verify p") == 6, "%s:\n%s", meddlings[_i].sql, out.p);
	printed(meddlings[_i].says);
	ck_assert_int_eq(admin("--json project verify p"), 6);
	printed("\"ok\":false,");
	printed(",\"wrong\":\"");
	if (strcmp(meddlings[_i].file, STATE_DB) != 0)
		return;
	printed("{\"check\":\"log\",\"ok\":true");
	ck_assert_int_eq(admin("project rebuild p"), 0);
	ck_assert_int_eq(admin("project verify p"), 0);
}
END_TEST

START_TEST(verify_finds_a_snapshot_that_is_not_what_was_made)
{
	const char *path;
	sqlite3 *db;
	FILE *f;

	some_events();
	path = make_snapshot();
	ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
	ck_assert_int_eq(sqlite3_exec(db, "UPDATE issues SET title = 'x'", NULL, NULL, NULL),
	                 SQLITE_OK);
	ck_assert_int_eq(sqlite3_close(db), SQLITE_OK);
	ck_assert_int_eq(admin("project verify p"), 6);
	printed("state     ok");
	printed("snapshot  WRONG  at 4: not the file that was made\n");
	f = fopen(path, "w");
	ck_assert(f != NULL && fclose(f) == 0);
	ck_assert_int_eq(admin("project verify p --json"), 6);
	printed("{\"check\":\"snapshot\",\"ok\":false,\"server_seq\":4,"
	        "\"wrong\":\"not the file that was made\"}\n");
}
END_TEST

/* --- what is asked first --- */

/* The same as admin() on a terminal, where somebody types an answer. */
static int
answered(const char *answer, const char *verb, const char *whom)
{
	char chunk[4096];
	int terminal, status;
	ssize_t n;
	pid_t pid = forkpty(&terminal, NULL, NULL, NULL);

	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		execl(TOP_BUILDDIR "/td-sync-admin", "td-sync-admin", "--data", data,
		      strcmp(verb, "remove") == 0 ? "user" : "project", verb, whom, NULL);
		_exit(127);
	}
	ck_assert_int_eq(write(terminal, answer, strlen(answer)), (ssize_t)strlen(answer));
	buf_reset(&out);
	while ((n = read(terminal, chunk, sizeof(chunk))) > 0) /* EIO: it has ended */
		buf_add(&out, chunk, (size_t)n);
	close(terminal);
	ck_assert_ptr_nonnull(buf_cstr(&out));
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFEXITED(status));
	return WEXITSTATUS(status);
}

START_TEST(what_can_not_be_undone_is_asked_first)
{
	static const char *const no[] = { "n\n", "\n", "yesterday\n", "Y\n", "\4" };

	ck_assert_int_eq(admin("user add b@example.com"), 0);
	ck_assert_int_eq(admin("token create --user b@example.com"), 0);
	for (size_t i = 0; i < sizeof(no) / sizeof(*no); i++) {
		ck_assert_msg(answered(no[i], "remove", "b@example.com") == 2, "%s", out.p);
		printed("Remove b@example.com, 1 token and all memberships? [y/N] ");
		printed("nothing was changed");
	}
	ck_assert_int_eq(answered("yes\n", "remove", "b@example.com"), 0);
	ck_assert_int_eq(admin("user list"), 0);
	ck_assert_ptr_null(strstr(out.p, "b@example.com"));
	ck_assert_int_eq(answered("n\n", "delete", "p"), 2);
	printed("Delete the project p (p), for all its members? [y/N] ");
	ck_assert_int_eq(answered("y\n", "delete", "p"), 0);
	ck_assert_int_eq(answered("n\n", "purge", "p"), 2);
	printed("Remove all files of the project p (p), for good? [y/N] ");
	ck_assert_int_eq(access(log_dir, F_OK), 0);
	ck_assert_int_eq(answered("y\n", "purge", "p"), 0);
	ck_assert_int_ne(access(log_dir, F_OK), 0);
}
END_TEST

/* Who has the log open, and comes to make a snapshot when it was purged. */
START_TEST(no_snapshot_is_begun_of_a_log_that_is_gone)
{
	struct snapshot_key key = { .data = data, .project = project };
	char path[TEMP_PATH + 128];
	struct lock *lock;
	struct err err;

	ck_assert_int_eq(events_open(log_dir, &key.log, &err), RC_OK);
	ck_assert_int_eq(snapshots_lock(&key, clock_mono_ms() + 1000, &lock, &err), RC_OK);
	lock_close(lock);
	ck_assert_int_eq(admin("project delete p --yes"), 0);
	ck_assert_int_eq(admin("project purge p --yes"), 0);
	ck_assert_int_eq(snapshots_lock(&key, clock_mono_ms() + 1000, &lock, &err), RC_BUSY);
	ck_assert_ptr_null(lock);
	snprintf(path, sizeof(path), "%s/snapshots/%s", data, project);
	ck_assert_int_ne(access(path, F_OK), 0);
	events_close(key.log);
}
END_TEST

/* --- who can't be helped --- */

START_TEST(what_makes_no_sense_is_refused)
{
	static const char *const verbs[] = { "verify", "rebuild", "conflicts", "skipped" };

	for (int i = 0; i < 4; i++) {
		ck_assert_int_eq(admin("project %s", verbs[i]), 2);
		ck_assert_int_eq(admin("project %s p q", verbs[i]), 2);
		ck_assert_int_eq(admin("project %s nowhere", verbs[i]), 3);
		printed("there is no project with the id or slug nowhere");
	}
	/* A project that is for no profile has a log only. */
	make_project("--profile none");
	for (int i = 1; i < 4; i++) {
		ck_assert_int_eq(admin("project %s %s", verbs[i], project), 4);
		printed("the project is for no profile");
	}
	ck_assert_int_eq(admin("project verify %s", project), 0);
	ck_assert_str_eq(out.p, "log       ok     0 events, 0 of them parked, the last is 0\n");
}
END_TEST

START_TEST(a_state_that_others_have_locked_is_waited_for_and_not_for_ever)
{
	char path[TEMP_PATH + 128];
	struct lock *lock;

	some_events();
	snprintf(path, sizeof(path), "%s/" STATE_LOCK, log_dir);
	ck_assert_int_eq(lock_open(path, &lock, NULL), RC_OK);
	ck_assert_int_eq(lock_take(lock, clock_mono_ms()), RC_OK);
	ck_assert_int_eq(admin("project rebuild p"), 1);
	printed("try again");
	ck_assert_int_eq(admin("project skipped p"), 1);
	lock_close(lock);
	ck_assert_int_eq(admin("project skipped p"), 0);
}
END_TEST

START_TEST(a_log_that_is_gone_or_no_log_is_said_to_be)
{
	char path[TEMP_PATH + 128];

	/* It holds all of the log, so far. */
	snprintf(path, sizeof(path), "%s/" EVENTS_DB "-wal", log_dir);
	ck_assert_int_eq(unlink(path), 0);
	snprintf(path, sizeof(path), "%s/" EVENTS_DB, log_dir);
	ck_assert_int_eq(fs_write(path, span_of("no database, however long one looks"), 0600, NULL),
	                 RC_OK);
	ck_assert_int_eq(admin("project verify p"), 1);
	printed("file is not a database");
	ck_assert_int_eq(unlink(path), 0);
	ck_assert_int_eq(admin("project verify p"), 1);
	printed("the project's log is missing");
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("admin");
	TCase *t = tcase_create("admin");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 120);
	tcase_add_test(t, verify_tells_what_it_looked_at);
	tcase_add_test(t, rebuild_makes_the_state_anew_and_says_what_is_in_it);
	tcase_add_test(t, skipped_and_conflicts_are_listed);
	tcase_add_test(t, all_conflicts_are_listed);
	tcase_add_loop_test(t, verify_finds_what_was_meddled_with, 0, MEDDLINGS);
	tcase_add_test(t, verify_finds_a_snapshot_that_is_not_what_was_made);
	tcase_add_test(t, what_can_not_be_undone_is_asked_first);
	tcase_add_test(t, no_snapshot_is_begun_of_a_log_that_is_gone);
	tcase_add_test(t, what_makes_no_sense_is_refused);
	tcase_add_test(t, a_state_that_others_have_locked_is_waited_for_and_not_for_ever);
	tcase_add_test(t, a_log_that_is_gone_or_no_log_is_said_to_be);
	suite_add_tcase(s, t);
	runner = srunner_create(s);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
