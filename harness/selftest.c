#include "selftest.h"

#include "check.h"
#include "plan.h"
#include "script.h"
#include "shrink.h"
#include "sync.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char script[] =
    "new 38; new 31\n"
    "A create i1 One; A create i2 Two; A comment i1 'Seen'; A depend i1 i2; A note n1\n"
    "all sync; B title i1 Uno; B close i2; all random 8; all sync\n";

/* Where a sabotage strikes: with SQL in a database, or with lines of a script.
 * FORGOTTEN: the harness is not told that a script put another log in place. */
enum place { IN_LOG, IN_STATE, IN_A, IN_B, IN_BOOKS_OF_B, ON_WIRE, BETWEEN, FORGOTTEN };

/* Lines that make a conflict. */
#define CONFLICT "A title i1 'By A'; B title i1 'By B'; A sync; B sync; A sync"

static const struct sabotage {
	const char *name;
	enum place where;
	const char *sql;    /* what it does there */
	const char *says;   /* what the check has to say */
	const char *before, *after; /* lines that run before it and after it */
} sabotages[] = {
	{ "nothing at all", IN_A, "SELECT 1", NULL },
	{ "the last event is gone", IN_LOG,
	  "DELETE FROM event WHERE seq = (SELECT max(seq) FROM event)",
	  "but the head says" },
	{ "the last event is gone, and the head hides it", IN_LOG,
	  "DELETE FROM event WHERE seq = (SELECT max(seq) FROM event);"
	  "UPDATE head SET seq = seq - 1, count = count - 1, visible = seq - 1",
	  "was acked as seq", "A title i1 Due; A sync; B sync" }, /* none of the server's */
	{ "an event in the middle is gone", IN_LOG, "DELETE FROM event WHERE seq = 3",
	  "where 3 was due" },
	{ "an event is there twice", IN_LOG,
	  "INSERT INTO event SELECT (SELECT max(seq) + 1 FROM event), author, action_id,"
	  " zeroblob(16), action, by_server, parked, server_us, type, entity, time, payload"
	  " FROM event WHERE seq = 2;"
	  "UPDATE head SET seq = seq + 1, count = count + 1, visible = seq + 1",
	  "the same event twice" },
	{ "an event that nobody sent", IN_LOG,
	  "INSERT INTO event SELECT (SELECT max(seq) + 1 FROM event), author, 4711,"
	  " zeroblob(16), action, by_server, parked, server_us, type, entity, time, payload"
	  " FROM event WHERE seq = 2;"
	  "UPDATE head SET seq = seq + 1, count = count + 1, visible = seq + 1",
	  "was never sent" },
	{ "two events changed places", IN_LOG,
	  "UPDATE event SET seq = -1 WHERE seq = 1; UPDATE event SET seq = 1 WHERE seq = 2;"
	  "UPDATE event SET seq = 2 WHERE seq = -1", "is another event" },
	{ "a letter of a payload is another", IN_LOG,
	  "UPDATE event SET payload = replace(payload, '\"One\"', '\"0ne\"') WHERE seq = 1",
	  "was never sent" },
	{ "an event is hidden from pulls", IN_LOG,
	  "UPDATE event SET parked = 1 WHERE seq = 2", "differs from what the log" },
	{ "a value in a replica is another", IN_A,
	  "UPDATE issues SET title = 'No' WHERE title = 'Uno'", "title: 'No' here" },
	{ "a number became a text", IN_A,
	  "UPDATE board_issue_positions SET position = 'x'; UPDATE issues SET minor = 'no'",
	  "minor: 'no' here" },
	{ "a time is a second off", IN_B,
	  "UPDATE comments SET created_at = '2027-01-31T10:00:59Z'", "created_at:" },
	{ "a row is missing in a replica", IN_B,
	  "PRAGMA foreign_keys = OFF; DELETE FROM issue_dependencies"
	  " WHERE id = (SELECT min(id) FROM issue_dependencies)", "absent here" },
	{ "a row too many in a replica", IN_A,
	  "INSERT INTO notes(id, title, content, created_at, updated_at)"
	  " VALUES('nt-zzzz', '', '', '', '')", "absent by the log" },
	{ "a title in other letters' case", IN_B,
	  "UPDATE issues SET title = 'uno' WHERE title = 'Uno'", "title: 'uno' here" },
	{ "an action is marked as sent under another number", IN_A,
	  "UPDATE action_log SET server_seq = server_seq - 1 WHERE rowid = 3", "says seq" },
	{ "an action was marked as sent and never was", IN_A,
	  "INSERT INTO action_log(id, session_id, action_type, entity_type, entity_id,"
	  " synced_at) VALUES('al-x', 's', 'create', 'issue', 'td-none', 'now')",
	  "is not in the log" },
	{ "an action is pending still", IN_B,
	  "UPDATE action_log SET synced_at = NULL, server_seq = NULL"
	  " WHERE rowid = (SELECT min(rowid) FROM action_log WHERE undone = 0)",
	  "is still pending" },
	{ "td's cursor is one short", IN_A,
	  "UPDATE sync_state SET last_pulled_server_seq = last_pulled_server_seq - 1",
	  "td's cursor" },
	{ "a replica lacks a conflict", IN_BOOKS_OF_B, "DELETE FROM conflict",
	  "it lacks a conflict", CONFLICT },
	{ "a replica has a conflict too many", IN_BOOKS_OF_B,
	  "INSERT INTO conflict(id, seq, kind, certain, type, entity, fields, kept, lost)"
	  " SELECT '0-0', seq, kind, certain, type, entity, fields, kept, lost FROM conflict"
	  " WHERE place = (SELECT max(place) FROM conflict)", "a conflict too many", CONFLICT },
	{ "a lost value is another in a replica", IN_BOOKS_OF_B,
	  "UPDATE conflict SET fields = replace(fields, 'By A', 'By C')",
	  "is another than the server's", CONFLICT },
	{ "a value in the server's state is another", IN_STATE,
	  "UPDATE issues SET title = 'No' WHERE title = 'Uno'", "state differs" },
	{ "a value was written over, and the server does not tell", IN_STATE,
	  "DELETE FROM tdsync_conflict", "no conflict tells", CONFLICT },
	{ "an ack that the log does not know", ON_WIRE, "lost log", "the log ends at" },
	{ "an edit after the last sync", BETWEEN, "A title i1 Late", "differs" },
	{ "a server that does not know a push again", IN_LOG,
	  "UPDATE event SET digest = zeroblob(16) WHERE seq = (SELECT max(seq) FROM event)",
	  "the same event twice", "A title i1 Due; A push lost-answer", "A sync; B sync" },
	{ "a server that forgets what it acked and gives the number again", FORGOTTEN,
	  "server keep-log old; A title i1 Due; A sync; server set-back-log old;"
	  "B create i3 Three; B sync; A sync; B sync", "is another event" },
	{ "a log that is replaced, and nobody has what was in it", BETWEEN, "server new-log",
	  "was acked, then lost with the log" },
	{ "a garbled answer that meets no request", BETWEEN, "A push garbled",
	  "the fault met no request" },
	{ "a full disk that takes everything", BETWEEN,
	  "server disk-full; server disk-well; A title i1 Due; A push fails", "TDSYNC_OK" },
	{ "a disk that stays full", BETWEEN, "A title i1 Due; server disk-full; quiet",
	  "sync without faults" },
	{ "a lock that is never let go", BETWEEN, "A title i1 Due; server lock; quiet",
	  "sync without faults" },
};

size_t
selftest_count(void)
{
	return sizeof(sabotages) / sizeof(sabotages[0]);
}

const char *
selftest_name(size_t n)
{
	return sabotages[n].name;
}

/* Remove the note of where the log ended: else the server sees at once what the
 * harness is to find. */
static void
forget_end(struct run *run)
{
	char dir[700], path[800];

	snprintf(path, sizeof(path), "%s/lock", server_log(&run->server, dir));
	unlink(path);
}

/* The server forgets everything: a new, empty log under the same name. */
static void
lose_log(struct run *run)
{
	char dir[700], path[800];
	sqlite3 *db;

	snprintf(path, sizeof(path), "%s/events.db", server_log(&run->server, dir));
	db = sql_open(path, false);
	sql_run(db, "PRAGMA foreign_keys = OFF; DELETE FROM event;"
	    "UPDATE head SET seq = 0, count = 0, visible = 0", "");
	sql_close(db);
	forget_end(run);
}

static void
strike(struct run *run, const struct sabotage *s)
{
	char dir[700], path[800];
	sqlite3 *db;

	if (s->where == BETWEEN || s->where == FORGOTTEN) {
		script_run(run, s->sql);
		run->log = s->where == FORGOTTEN ? 0 : run->log;
		return;
	}
	if (s->where == ON_WIRE) {
		lose_log(run);
		return;
	}
	snprintf(path, sizeof(path), "%s/%s", server_log(&run->server, dir),
	    s->where == IN_STATE ? "state.db" : "events.db");
	if (s->where == IN_BOOKS_OF_B)
		snprintf(path, sizeof(path), "%s/.todos/td-sync.db", run->replicas[1].dir);
	db = sql_open(s->where == IN_A || s->where == IN_B ?
	    run->replicas[s->where == IN_A ? 0 : 1].db : path, false);
	sql_run(db, s->sql, "");
	if (s->says != NULL && sqlite3_total_changes(db) == 0)
		run_fail(run, "self-test: '%s' changed nothing", s->name);
	sql_close(db);
	if (s->where == IN_LOG)
		forget_end(run);
}

void
selftest_run(struct run *run, size_t n)
{
	const struct sabotage *s = &sabotages[n];

	if (!script_run(run, script) || !sync_quiet(run) ||
	    (s->before != NULL && !script_run(run, s->before)))
		return;
	strike(run, s);
	if (run_ok(run) && s->after != NULL)
		script_run(run, s->after);
	if (run_ok(run))
		check_run(run);
	if (s->says == NULL)
		return;
	if (run_ok(run)) {
		run_fail(run, "self-test: '%s' went unnoticed", s->name);
	} else if (strstr(run->why, s->says) == NULL) {
		char why[sizeof(run->why)];

		memcpy(why, run->why, sizeof(why));
		run->why[0] = '\0';
		run_fail(run, "self-test: '%s' should say '%s', but it says: %.300s",
		    s->name, s->says, why);
	} else {
		run->why[0] = '\0';
	}
}

void
selftest_unhealed(struct run *run, const struct scenario *s)
{
	script_run(run, "server heal-off");
	scenario_run(run, s);
	if (run_ok(run))
		run_fail(run, "self-test: %s passes without healing, too", s->name);
	else
		run->why[0] = '\0';
}

/* --- the shrinker --- */

#define MADE "A create sabotage 'Sabotage' & A sync"
#define HARMED "A sql 'UPDATE issues SET points = 77 WHERE title = \"Sabotage\"'"

/* What has to be left of a plan with these two lines in it: they, and a device. */
static bool
is_least(const char *plan)
{
	size_t lines = 0;
	const char *p;

	for (p = plan; (p = strchr(p, '\n')) != NULL; p++)
		lines++;
	return lines == 3 && strstr(plan, MADE) != NULL && strstr(plan, HARMED) != NULL;
}

void
selftest_shrink(struct run *run)
{
	struct shrink s = { .kind = SERVER_DIRECT, .seed = run->seed, .parent = run->dir };
	struct buf plan = { 0 }, least = { 0 };

	plan_make(run->seed, &plan);
	buf_add_str(&plan, MADE "\n");
	if (shrink_fails(&s, buf_cstr(&plan)))
		run_fail(run, "self-test: the plan fails before anything is done to it: %s", s.why);
	buf_add_str(&plan, HARMED "\n");
	if (!shrink_script(&s, buf_cstr(&plan), &least))
		run_fail(run, "self-test: what is done to the plan goes unnoticed");
	else if (!is_least(buf_cstr(&least)) || strstr(s.why, "points: 77 here") == NULL)
		run_fail(run, "self-test: shrunk to what is not the least: %s: %.300s", s.why,
		    least.p);
	buf_free(&plan);
	buf_free(&least);
}
