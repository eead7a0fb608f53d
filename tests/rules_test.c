/*
 * The rules by which an event changes rows (protocol.md section 5), one by
 * one: td's, then those of a profile that says upsert. In payloads of the
 * tables below ' stands for ".
 */
#include "base/json.h"
#include "engine/apply.h"
#include "tests/hungry.h"
#include "profiles/read.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static sqlite3 *db;
static const struct profile *profile = &profile_td;
static struct applier *applier;
static struct err err;
static struct buf scratch;

static void
exec(const char *sql)
{
	ck_assert_msg(db_exec(db, sql, &err) == RC_OK, "%s: %s", sql, err.text);
}

static void
new_applier(void)
{
	ck_assert_msg(applier_new(db, "main", profile, &applier, &err) == RC_OK,
	              "%s", err.text);
}

static void
renew_applier(void)
{
	applier_free(applier);
	new_applier();
}

/* Three issues, the second a child of the first, with all that hangs on them. */
static const char start[] =
    "INSERT INTO issues(id, title, description, parent_id, created_at, updated_at)"
    " VALUES ('td-1', 'One', 'text', '', 't1', 'u1'), ('td-2', 'Two', '', 'td-1', 't2', 'u2'),"
    " ('td-3', 'Three', '', '', 't3', 'u3');"
    "INSERT INTO boards(id, name) VALUES ('bd-1', 'Board'), ('bd-2', 'Other');"
    "INSERT INTO work_sessions(id, name, session_id) VALUES ('ws-1', 'Work', 's');"
    "INSERT INTO board_issue_positions(id, board_id, issue_id, position)"
    " VALUES ('bip-1', 'bd-1', 'td-1', 1), ('bip-2', 'bd-1', 'td-2', 2);"
    "INSERT INTO work_session_issues(id, work_session_id, issue_id)"
    " VALUES ('wsi-1', 'ws-1', 'td-1');"
    "INSERT INTO comments(id, issue_id, session_id, text) VALUES ('cm-1', 'td-1', 's', 'c');"
    "INSERT INTO handoffs(id, issue_id, session_id) VALUES ('ho-1', 'td-1', 's');"
    "INSERT INTO logs(id, issue_id, session_id, message) VALUES ('lg-1', 'td-1', 's', 'm');"
    "INSERT INTO issue_files(id, issue_id, file_path) VALUES ('fl-1', 'td-1', 'a.c');"
    "INSERT INTO issue_dependencies(id, issue_id, depends_on_id)"
    " VALUES ('dep-12', 'td-1', 'td-2');"
    "INSERT INTO notes(id, title, content, created_at, updated_at)"
    " VALUES ('nt-1', 'Note', '', 'nt', 'nu');";

/* A database with the profile's tables and some rows. */
static void
make_tables(const char *rows)
{
	struct buf sql = { 0 };

	ck_assert(sqlite3_open(":memory:", &db) == SQLITE_OK);
	exec("PRAGMA foreign_keys=ON");
	profile_schema(profile, "main", &sql);
	exec(buf_cstr(&sql));
	buf_free(&sql);
	exec(rows);
	new_applier();
}

static void
setup(void)
{
	make_tables(start);
}

static void
teardown(void)
{
	applier_free(applier);
	sqlite3_close(db);
	buf_free(&scratch);
}

/* An event in short. */
struct short_event {
	enum action action;
	const char *type, *id, *payload;
	const char *time; /* NULL: 10:00:00.5 in a zone of +02:00 */
};

/* The allocation that is to fail while an event is applied, -1: none; after
 * it -1 when it did fail. */
static long arm = -1;

static enum rc
apply(const struct short_event *e, enum applied *what)
{
	char *payload = strdup(e->payload);
	struct event ev = { .seq = 7, .action = e->action, .action_id = 1 };
	struct err bad;
	enum rc rc;

	for (char *p = payload; *p != '\0'; p++)
		if (*p == '\'')
			*p = '"';
	ev.device = span_of("d");
	ev.session = span_of("s");
	ev.type = span_of(e->type);
	ev.id = span_of(e->id);
	ev.time = span_of(e->time != NULL ? e->time : "2026-03-01T10:00:00.5+02:00");
	ck_assert_msg(json_scan(span_of(payload), JSON_MAX_DEPTH, &ev.payload, NULL,
	                        &bad) == RC_OK, "%s: %s", payload, bad.text);
	hungry_at = arm;
	rc = applier_apply(applier, &ev, what, &err);
	arm = hungry_at;
	hungry_at = -1;
	free(payload);
	return rc;
}

/* What a query gives: columns with | between, rows with ;. NULL is NULL. */
static const char *
look(const char *query)
{
	sqlite3_stmt *st;
	bool row;
	int n = 0;

	buf_reset(&scratch);
	ck_assert_msg(db_prepare(db, query, &st, &err) == RC_OK, "%s: %s", query, err.text);
	while (db_step(st, &row, &err) == RC_OK && row) {
		if (n++ > 0)
			buf_add_byte(&scratch, ';');
		for (int i = 0; i < sqlite3_column_count(st); i++) {
			if (i > 0)
				buf_add_byte(&scratch, '|');
			if (sqlite3_column_type(st, i) == SQLITE_NULL)
				buf_add_str(&scratch, "NULL");
			else
				buf_add_span(&scratch, db_span(st, i));
		}
	}
	sqlite3_finalize(st);
	ck_assert(buf_cstr(&scratch) != NULL);
	return scratch.p;
}

/* All that is in the database. */
static char *
everything(void)
{
	struct buf all = { 0 };
	char query[128], *copy;

	for (const struct profile_entity *e = profile->entities; e->table != NULL; e++) {
		if (e->held_back)
			continue;
		snprintf(query, sizeof(query), "SELECT * FROM \"%s\" ORDER BY id", e->table);
		buf_addf(&all, "%s: %s\n", e->table, look(query));
	}
	copy = strdup(buf_cstr(&all));
	buf_free(&all);
	return copy;
}

struct rule {
	const char *why;
	const char *before;         /* SQL, or NULL */
	struct short_event event;
	enum applied want;
	const char *sentence;       /* of an event that was not applied */
	const char *query, *after;  /* and what it gives; NULL: nothing changed */
};

#define CREATE ACTION_CREATE
#define UPDATE ACTION_UPDATE
#define NEW(x) "{'new_data':" x "}"
#define BOTH(x, y) "{'new_data':" x ",'previous_data':" y "}"
#define CHILDREN "SELECT (SELECT count(*) FROM board_issue_positions)," \
	" (SELECT count(*) FROM work_session_issues), (SELECT count(*) FROM comments)," \
	" (SELECT count(*) FROM handoffs), (SELECT count(*) FROM issue_files)," \
	" (SELECT count(*) FROM issue_dependencies), (SELECT count(*) FROM logs)," \
	" (SELECT parent_id FROM issues WHERE id = 'td-2')"
#define ALL_CHILDREN "2|1|1|1|1|1|1|td-1"

static const struct rule creates[] = {
	{ "what is not given has its default, times the event's", NULL,
	  { CREATE, "issues", "td-9", NEW("{'id':'td-9','title':'New'}") }, APPLIED, NULL,
	  "SELECT title, description, status, type, priority, points, typeof(points), labels,"
	  " parent_id, created_at, updated_at, closed_at, deleted_at, minor, due_date"
	  " FROM issues WHERE id = 'td-9'",
	  "New||open|task|P2|0|integer|||2026-03-01 08:00:00|2026-03-01 08:00:00|NULL|NULL|0|NULL" },
	{ "a row that is there is replaced, what is not given is lost", NULL,
	  { CREATE, "issues", "td-1", NEW("{'id':'td-1','title':'Again'}") }, APPLIED, NULL,
	  "SELECT title, description, created_at FROM issues WHERE id = 'td-1'",
	  "Again||2026-03-01 08:00:00" },
	{ "replacing an issue takes its children along, but no logs and no sub-issues", NULL,
	  { CREATE, "issues", "td-1", NEW("{'id':'td-1','title':'Again'}") }, APPLIED, NULL,
	  CHILDREN, "1|0|0|0|0|0|1|td-1" },
	{ "replacing an issue leaves its reviews",
	  "INSERT INTO issue_reviews(id, issue_id, reviewer_session, decision)"
	  " VALUES ('rv-1', 'td-1', 's', 'approved')",
	  { CREATE, "issues", "td-1", NEW("{'title':'Again'}") }, APPLIED, NULL,
	  "SELECT title, rv.id FROM issues i JOIN issue_reviews rv ON rv.issue_id = i.id",
	  "Again|rv-1" },
	{ "replacing a board empties it", NULL,
	  { CREATE, "boards", "bd-1", NEW("{'id':'bd-1','name':'Edited'}") }, APPLIED, NULL,
	  "SELECT name, (SELECT count(*) FROM board_issue_positions) FROM boards"
	  " WHERE id = 'bd-1'", "Edited|0" },
	{ "the event's id counts, not that of its row", NULL,
	  { CREATE, "issues", "td-9", NEW("{'id':'td-1','title':'New'}") }, APPLIED, NULL,
	  "SELECT id, title FROM issues ORDER BY id",
	  "td-1|One;td-2|Two;td-3|Three;td-9|New" },
	{ "a row without an id has the event's", NULL,
	  { CREATE, "issues", "td-9", NEW("{'title':'New'}") }, APPLIED, NULL,
	  "SELECT title FROM issues WHERE id = 'td-9'", "New" },
	{ "an id in other case is another id", NULL,
	  { CREATE, "issues", "TD-1", NEW("{'title':'Big'}") }, APPLIED, NULL,
	  "SELECT id, title FROM issues WHERE lower(id) = 'td-1' ORDER BY id",
	  "TD-1|Big;td-1|One" },
	{ "an id is data, whatever is in it", NULL,
	  { CREATE, "issues", "a\"b'); DROP TABLE issues;-- %s \xc3\xa9", NEW("{'title':'Odd'}") },
	  APPLIED, NULL, "SELECT id FROM issues WHERE title = 'Odd'",
	  "a\"b'); DROP TABLE issues;-- %s \xc3\xa9" },
	{ "an empty row lacks its title", NULL,
	  { CREATE, "issues", "td-9", NEW("{}") }, APPLIED_BAD,
	  "create issues/td-9: constraint failed: NOT NULL constraint failed: issues.title (1299)" },
	{ "a bad row leaves the one that it would replace", NULL,
	  { CREATE, "issues", "td-1", NEW("{'id':'td-1'}") }, APPLIED_BAD,
	  "create issues/td-1: constraint failed: NOT NULL constraint failed: issues.title (1299)" },
	{ "no new_data", NULL,
	  { CREATE, "issues", "td-1", "{'schema_version':1}" }, APPLIED_BAD,
	  "create issues/td-1: no new_data" },
	{ "new_data null", NULL,
	  { CREATE, "issues", "td-1", NEW("null") }, APPLIED_BAD,
	  "create issues/td-1: no new_data" },
	{ "new_data a string", NULL,
	  { CREATE, "issues", "td-1", NEW("'{}'") }, APPLIED_BAD,
	  "create issues/td-1: new_data is not an object" },
	{ "new_data an array", NULL,
	  { CREATE, "issues", "td-1", NEW("[{}]") }, APPLIED_BAD,
	  "create issues/td-1: new_data is not an object" },
	{ "payload null", NULL,
	  { CREATE, "issues", "td-1", "null" }, APPLIED_BAD,
	  "create issues/td-1: no new_data" },
	{ "payload a string", NULL,
	  { CREATE, "issues", "td-1", "'text'" }, APPLIED_BAD,
	  "create issues/td-1: the payload is not an object" },
	{ "payload an array", NULL,
	  { CREATE, "issues", "td-1", "[]" }, APPLIED_BAD,
	  "create issues/td-1: the payload is not an object" },
	{ "the last of two new_data counts", NULL,
	  { CREATE, "issues", "td-9", "{'new_data':null,'new_data':{'title':'New'}}" },
	  APPLIED, NULL, "SELECT title FROM issues WHERE id = 'td-9'", "New" },
	{ "no id", NULL,
	  { CREATE, "issues", "", NEW("{'title':'New'}") }, APPLIED_BAD,
	  "create issues/: empty entity ID" },
	{ "a time that is none", NULL,
	  { CREATE, "issues", "td-9", NEW("{'title':'New'}"), "yesterday" }, APPLIED_BAD,
	  "create issues/td-9: the time is not RFC 3339" },

	{ "NULL in a text that is never NULL becomes ''", NULL,
	  { CREATE, "issues", "td-9", NEW("{'title':'N','description':null,'labels':null,"
	    "'sprint':null,'closed_at':null,'points':null,'due_date':null}") }, APPLIED, NULL,
	  "SELECT description, labels, sprint, closed_at, points, due_date FROM issues"
	  " WHERE id = 'td-9'", "|||NULL|NULL|NULL" },
	{ "NULL where it is not allowed becomes the default", NULL,
	  { CREATE, "issues", "td-9", NEW("{'title':'N','status':null,'created_at':null}") },
	  APPLIED, NULL, "SELECT status, created_at FROM issues WHERE id = 'td-9'",
	  "open|2026-03-01 08:00:00" },
	{ "NULL where it is not allowed and nothing is the default", NULL,
	  { CREATE, "issues", "td-9", NEW("{'title':null}") }, APPLIED_BAD,
	  "create issues/td-9: constraint failed: NOT NULL constraint failed: issues.title (1299)" },
	{ "NULL in a time that may be NULL stays, though its default is now", NULL,
	  { CREATE, "board_issue_positions", "b", NEW("{'board_id':'bd-2','issue_id':'td-1',"
	    "'position':3,'added_at':null}") }, APPLIED, NULL,
	  "SELECT position, added_at FROM board_issue_positions WHERE id = 'b'", "3|NULL" },
	{ "a time that is not given is the event's, where it may be NULL too", NULL,
	  { CREATE, "board_issue_positions", "b", NEW("{'board_id':'bd-2','issue_id':'td-1',"
	    "'position':3}") }, APPLIED, NULL,
	  "SELECT added_at FROM board_issue_positions WHERE id = 'b'", "2026-03-01 08:00:00" },

	{ "labels in an array become text with commas", NULL,
	  { CREATE, "issues", "td-9", NEW("{'title':'N','labels':['a','b c','\\u00e9']}") },
	  APPLIED, NULL, "SELECT labels FROM issues WHERE id = 'td-9'", "a,b c,\xc3\xa9" },
	{ "no labels", NULL,
	  { CREATE, "issues", "td-9", NEW("{'title':'N','labels':[]}") },
	  APPLIED, NULL, "SELECT labels, typeof(labels) FROM issues WHERE id = 'td-9'", "|text" },
	{ "labels as text stay", NULL,
	  { CREATE, "issues", "td-9", NEW("{'title':'N','labels':'a,b'}") },
	  APPLIED, NULL, "SELECT labels FROM issues WHERE id = 'td-9'", "a,b" },
	{ "labels that are no strings", NULL,
	  { CREATE, "issues", "td-9", NEW("{'title':'N','labels':[1,true,['x'],'y']}") },
	  APPLIED, NULL, "SELECT labels FROM issues WHERE id = 'td-9'", "1,true,[\"x\"],y" },
	{ "other arrays and objects become JSON, as Go writes it", NULL,
	  { CREATE, "handoffs", "ho-9", NEW("{'issue_id':'td-1','session_id':'s',"
	    "'done':[ 'a' , '<b>' ],'remaining':{'z':1.50,'a':[1e21,-0.0,1e-7],'z':2},"
	    "'decisions':[],'uncertain':'[ \\'x\\' ]'}") }, APPLIED, NULL,
	  "SELECT done, remaining, decisions, uncertain FROM handoffs WHERE id = 'ho-9'",
	  "[\"a\",\"\\u003cb\\u003e\"]|{\"a\":[1e+21,-0,1e-7],\"z\":2}|[]|[ \"x\" ]" },
	{ "booleans become 0 and 1", NULL,
	  { CREATE, "issues", "td-9", NEW("{'title':true,'minor':true,'points':false}") },
	  APPLIED, NULL, "SELECT title, typeof(title), minor, typeof(minor), points FROM issues"
	  " WHERE id = 'td-9'", "1|text|1|integer|0" },
	{ "numbers are doubles, and become what the column likes", NULL,
	  { CREATE, "issues", "td-9", NEW("{'title':3,'description':2.50,'points':1e3,'minor':-0,"
	    "'defer_count':9007199254740993,'sprint':-1,'closed_at':20.0}") }, APPLIED, NULL,
	  "SELECT title, description, points, typeof(points), minor, defer_count,"
	  " typeof(defer_count), sprint, closed_at, typeof(closed_at)"
	  " FROM issues WHERE id = 'td-9'",
	  "3.0|2.5|1000|integer|0|9007199254740992|integer|-1.0|20|integer" },
	{ "a fraction in an integer column stays one", NULL,
	  { CREATE, "issues", "td-9", NEW("{'title':'N','points':2.5}") }, APPLIED, NULL,
	  "SELECT points, typeof(points) FROM issues WHERE id = 'td-9'", "2.5|real" },
	{ "a number beyond any double", NULL,
	  { CREATE, "issues", "td-9", NEW("{'title':'N','points':1e999}") }, APPLIED_BAD,
	  "create issues/td-9: a number is too large" },
	{ "a number beyond any double inside an array", NULL,
	  { CREATE, "issues", "td-9", NEW("{'title':'N','sprint':[[-1e999]]}") }, APPLIED_BAD,
	  "create issues/td-9: a number is too large" },
	{ "text in an integer column", NULL,
	  { CREATE, "issues", "td-9", NEW("{'title':'N','points':'12','minor':'x'}") },
	  APPLIED, NULL, "SELECT points, typeof(points), minor, typeof(minor) FROM issues"
	  " WHERE id = 'td-9'", "12|integer|x|text" },
	{ "escapes are decoded", NULL,
	  { CREATE, "issues", "td-9", NEW("{'title':'\\u003c\\/\\n\\ud83c\\udf31','sprint':"
	    "'\\ud800!','description':'a\\u0000b'}") }, APPLIED, NULL,
	  "SELECT title, sprint, hex(description), typeof(description) FROM issues"
	  " WHERE id = 'td-9'", "</\n\xf0\x9f\x8c\xb1|\xef\xbf\xbd!|610062|text" },
	{ "times stay as they came", NULL,
	  { CREATE, "issues", "td-9", NEW("{'title':'N','created_at':'2026-01-02T03:04:05.6-08:00',"
	    "'updated_at':'2026-02-03 20:53:53.5 -0800 PST m=+0.03','due_date':'2026-05-01'}") },
	  APPLIED, NULL, "SELECT created_at, updated_at, due_date FROM issues WHERE id = 'td-9'",
	  "2026-01-02T03:04:05.6-08:00|2026-02-03 20:53:53.5 -0800 PST m=+0.03|2026-05-01" },

	{ "columns that the table lacks are ignored", NULL,
	  { CREATE, "issues", "td-9", NEW("{'title':'N','mood':'fine','rowid':99,'_':{}}") },
	  APPLIED, NULL, "SELECT title, rowid < 99 FROM issues WHERE id = 'td-9'", "N|1" },
	{ "names of columns never become SQL", NULL,
	  { CREATE, "issues", "td-9", NEW("{'title':'N','title\\') VALUES (1); DROP TABLE issues; --"
	    "':'x','title` = 1':'y','':'z','\\u0000':'w'}") }, APPLIED, NULL,
	  "SELECT title, (SELECT count(*) FROM issues) FROM issues WHERE id = 'td-9'", "N|4" },
	{ "names count exactly, however they are escaped", NULL,
	  { CREATE, "issues", "td-9", NEW("{'ti\\u0074le':'N','Status':'closed','title ':'x'}") },
	  APPLIED, NULL, "SELECT title, status FROM issues WHERE id = 'td-9'", "N|open" },
	{ "the last of two members of one name counts", NULL,
	  { CREATE, "issues", "td-9", NEW("{'title':'first','status':'x','\\u0074itle':'last'}") },
	  APPLIED, NULL, "SELECT title FROM issues WHERE id = 'td-9'", "last" },
	{ "what is local to a machine is left out", NULL,
	  { CREATE, "work_sessions", "ws-9", NEW("{'name':'W','session_id':'s','worktree_id':'w',"
	    "'worktree_root':'/r','repo_root':'/r','start_sha':'abc'}") }, APPLIED, NULL,
	  "SELECT name, worktree_id, worktree_root, repo_root, start_sha FROM work_sessions"
	  " WHERE id = 'ws-9'", "W||||abc" },

	{ "an issue that is wrapped", NULL,
	  { CREATE, "issues", "td-9", NEW("{'issue':{'title':'In'},'title':'Out','status':'x'}") },
	  APPLIED, NULL, "SELECT title, status FROM issues WHERE id = 'td-9'", "In|open" },
	{ "an issue is unwrapped once", NULL,
	  { CREATE, "issues", "td-9", NEW("{'issue':{'title':'In','issue':{'title':'Deep'}}}") },
	  APPLIED, NULL, "SELECT title FROM issues WHERE id = 'td-9'", "In" },
	{ "what is in `issue` is no row", NULL,
	  { CREATE, "issues", "td-9", NEW("{'issue':'td-1','title':'Out'}") },
	  APPLIED, NULL, "SELECT title FROM issues WHERE id = 'td-9'", "Out" },
	{ "only issues are wrapped", NULL,
	  { CREATE, "boards", "bd-9", NEW("{'issue':{'name':'In'},'name':'Out'}") },
	  APPLIED, NULL, "SELECT name FROM boards WHERE id = 'bd-9'", "Out" },

	{ "of two positions of an issue on a board the later one stays", NULL,
	  { CREATE, "board_issue_positions", "other", NEW("{'board_id':'bd-1','issue_id':'td-1',"
	    "'position':9}") }, APPLIED, NULL,
	  "SELECT id, position FROM board_issue_positions ORDER BY id", "bip-2|2;other|9" },
	{ "of two tags the later one stays", NULL,
	  { CREATE, "work_session_issues", "other", NEW("{'work_session_id':'ws-1',"
	    "'issue_id':'td-1'}") }, APPLIED, NULL, "SELECT id FROM work_session_issues", "other" },
	{ "of two links to a file the later one stays", NULL,
	  { CREATE, "issue_files", "other", NEW("{'issue_id':'td-1','file_path':'a.c',"
	    "'role':'test'}") }, APPLIED, NULL, "SELECT id, role FROM issue_files", "other|test" },
	{ "one row may displace two", NULL,
	  { CREATE, "board_issue_positions", "bip-2", NEW("{'board_id':'bd-1','issue_id':'td-1',"
	    "'position':9}") }, APPLIED, NULL,
	  "SELECT id, issue_id FROM board_issue_positions", "bip-2|td-1" },
	{ "what would displace a row but is bad displaces none", NULL,
	  { CREATE, "board_issue_positions", "other", NEW("{'board_id':'bd-1','issue_id':'td-1'}") },
	  APPLIED_BAD, "create board_issue_positions/other: constraint failed: NOT NULL constraint"
	  " failed: board_issue_positions.position (1299)" },

	{ "a position on a board that is gone", NULL,
	  { CREATE, "board_issue_positions", "b", NEW("{'board_id':'bd-x','issue_id':'td-1',"
	    "'position':1}") }, APPLIED_ORPHAN,
	  "orphaned board_issue_positions/b: board_id references missing boards/bd-x" },
	{ "a position of an issue that is gone", NULL,
	  { CREATE, "board_issue_positions", "b", NEW("{'board_id':'bd-1','issue_id':'td-\\u0078',"
	    "'position':1}") }, APPLIED_ORPHAN,
	  "orphaned board_issue_positions/b: issue_id references missing issues/td-x" },
	{ "a tag of a session that is gone", NULL,
	  { CREATE, "work_session_issues", "w", NEW("{'work_session_id':'ws-x','issue_id':'td-1'}") },
	  APPLIED_ORPHAN,
	  "orphaned work_session_issues/w: work_session_id references missing work_sessions/ws-x" },
	{ "a comment on an issue that is gone", NULL,
	  { CREATE, "comments", "c", NEW("{'issue_id':'td-x','session_id':'s','text':'t'}") },
	  APPLIED_ORPHAN, "orphaned comments/c: issue_id references missing issues/td-x" },
	{ "a handoff of an issue that is gone", NULL,
	  { CREATE, "handoffs", "h", NEW("{'issue_id':'td-x','session_id':'s'}") },
	  APPLIED_ORPHAN, "orphaned handoffs/h: issue_id references missing issues/td-x" },
	{ "a link of an issue that is gone", NULL,
	  { CREATE, "issue_files", "f", NEW("{'issue_id':'td-x','file_path':'p'}") },
	  APPLIED_ORPHAN, "orphaned issue_files/f: issue_id references missing issues/td-x" },
	{ "an edge to an issue that is gone", NULL,
	  { CREATE, "issue_dependencies", "d", NEW("{'issue_id':'td-1','depends_on_id':'td-x'}") },
	  APPLIED_ORPHAN,
	  "orphaned issue_dependencies/d: depends_on_id references missing issues/td-x" },
	{ "of two parents that are gone SQLite's first is named, the last declared", NULL,
	  { CREATE, "board_issue_positions", "b", NEW("{'board_id':'bd-x','issue_id':'td-x',"
	    "'position':1}") }, APPLIED_ORPHAN,
	  "orphaned board_issue_positions/b: issue_id references missing issues/td-x" },
	{ "an orphan that lacks a text too is an orphan", NULL,
	  { CREATE, "comments", "c", NEW("{'issue_id':'td-x','session_id':'s'}") },
	  APPLIED_ORPHAN, "orphaned comments/c: issue_id references missing issues/td-x" },
	{ "'' is no parent, so not one that is missing", NULL,
	  { CREATE, "comments", "c", NEW("{'issue_id':'','session_id':'s','text':'t'}") },
	  APPLIED_BAD, "create comments/c: constraint failed: FOREIGN KEY constraint failed (787)" },
	{ "NULL is no parent, so not one that is missing", NULL,
	  { CREATE, "comments", "c", NEW("{'issue_id':null,'session_id':'s','text':'t'}") },
	  APPLIED_BAD, "create comments/c: constraint failed: NOT NULL constraint failed:"
	  " comments.issue_id (1299)" },
	{ "a row that is there and loses its parent is no orphan", NULL,
	  { CREATE, "comments", "cm-1", NEW("{'issue_id':'td-x','session_id':'s','text':'t'}") },
	  APPLIED_BAD, "create comments/cm-1: constraint failed: FOREIGN KEY constraint failed (787)" },
	{ "a review of an issue that is gone is no orphan: it does not cascade", NULL,
	  { CREATE, "issue_reviews", "rv", NEW("{'issue_id':'td-x','reviewer_session':'s',"
	    "'decision':'approved'}") }, APPLIED_BAD,
	  "create issue_reviews/rv: constraint failed: FOREIGN KEY constraint failed (787)" },
	{ "a log needs no issue", NULL,
	  { CREATE, "logs", "lg-9", NEW("{'issue_id':'td-x','session_id':'s','message':'m'}") },
	  APPLIED, NULL, "SELECT issue_id FROM logs WHERE id = 'lg-9'", "td-x" },
	{ "an issue needs no parent", NULL,
	  { CREATE, "issues", "td-9", NEW("{'title':'N','parent_id':'td-x'}") },
	  APPLIED, NULL, "SELECT parent_id FROM issues WHERE id = 'td-9'", "td-x" },
	{ "the built-in board is always there", NULL,
	  { CREATE, "board_issue_positions", "b", NEW("{'board_id':'bd-all-issues',"
	    "'issue_id':'td-1','position':1}") }, APPLIED, NULL,
	  "SELECT board_id FROM board_issue_positions WHERE id = 'b'", "bd-all-issues" },

	{ "sessions are held back", NULL,
	  { CREATE, "sessions", "s-1", NEW("{'name':'x'}") }, APPLIED_BAD,
	  "invalid entity type: \"sessions\"" },
	{ "git snapshots are held back", NULL,
	  { CREATE, "git_snapshots", "g-1", NEW("{'issue_id':'td-1'}") }, APPLIED_BAD,
	  "invalid entity type: \"git_snapshots\"" },
	{ "session histories are held back", NULL,
	  { CREATE, "issue_session_history", "h", NEW("{'issue_id':'td-1'}") }, APPLIED_BAD,
	  "invalid entity type: \"issue_session_history\"" },
	{ "a type that nobody knows", NULL,
	  { CREATE, "sqlite_master", "x", NEW("{'name':'x'}") }, APPLIED_BAD,
	  "invalid entity type: \"sqlite_master\"" },
	{ "a table that is missing", "DROP TABLE issue_reviews",
	  { CREATE, "issue_reviews", "rv", NEW("{'issue_id':'td-1'}") }, APPLIED_BAD,
	  "create issue_reviews/rv: SQL logic error: no such table: issue_reviews (1)" },
	{ "a column that only the table has",
	  "ALTER TABLE issues ADD COLUMN \"mo\"\"od\" TEXT DEFAULT 'fine'",
	  { CREATE, "issues", "td-9", NEW("{'title':'N','mo\\'od':'bad'}") }, APPLIED, NULL,
	  "SELECT \"mo\"\"od\" FROM issues WHERE id IN ('td-1', 'td-9') ORDER BY id", "fine;bad" },
};

#define EDGE(id, a, b) { CREATE, "issue_dependencies", id, \
	NEW("{'issue_id':'" a "','depends_on_id':'" b "','relation_type':'depends_on'}") }
#define EDGES "SELECT id FROM issue_dependencies ORDER BY id"
#define CHAIN(rows) "DELETE FROM issue_dependencies;" \
	"INSERT INTO issue_dependencies(id, issue_id, depends_on_id) VALUES " rows
#define SKIPPED(id) "create issue_dependencies/" id ": it would close a cycle"

static const struct rule edges[] = {
	{ "an edge that closes no cycle goes in", NULL,
	  EDGE("dep-23", "td-2", "td-3"), APPLIED, NULL, EDGES, "dep-12;dep-23" },
	{ "the reverse of an edge that sorts lower is skipped", NULL,
	  EDGE("dep-21", "td-2", "td-1"), APPLIED_EDGE, SKIPPED("dep-21") },
	{ "an edge that sorts lower puts its reverse out",
	  CHAIN("('dep-21', 'td-2', 'td-1')"),
	  EDGE("dep-12", "td-1", "td-2"), APPLIED, NULL, EDGES, "dep-12" },
	{ "an edge that sorts higher than its reverse is skipped, if it closes three",
	  CHAIN("('dep-12', 'td-1', 'td-2'), ('dep-23', 'td-2', 'td-3')"),
	  EDGE("dep-31", "td-3", "td-1"), APPLIED_EDGE, SKIPPED("dep-31") },
	{ "an edge that sorts lower than its reverse closes a cycle of three",
	  CHAIN("('dep-23', 'td-2', 'td-3'), ('dep-31', 'td-3', 'td-1')"),
	  EDGE("dep-12", "td-1", "td-2"), APPLIED, NULL, EDGES, "dep-12;dep-23;dep-31" },
	{ "an edge that puts its reverse out may leave a longer cycle",
	  CHAIN("('dep-21', 'td-2', 'td-1'), ('dep-23', 'td-2', 'td-3'), ('dep-31', 'td-3', 'td-1')"),
	  EDGE("dep-12", "td-1", "td-2"), APPLIED, NULL, EDGES, "dep-12;dep-23;dep-31" },
	{ "two ways to one issue are no cycle",
	  CHAIN("('dep-12', 'td-1', 'td-2'), ('dep-13', 'td-1', 'td-3')"),
	  EDGE("dep-23", "td-2", "td-3"), APPLIED, NULL, EDGES, "dep-12;dep-13;dep-23" },
	{ "the search ends in a graph that has a cycle",
	  "INSERT INTO issues(id, title) VALUES ('td-4', 'Four');"
	  CHAIN("('dep-12', 'td-1', 'td-2'), ('dep-23', 'td-2', 'td-3'), ('dep-31', 'td-3', 'td-1')"),
	  EDGE("dep-41", "td-4", "td-1"), APPLIED, NULL, EDGES, "dep-12;dep-23;dep-31;dep-41" },
	{ "an issue does not depend on itself", NULL,
	  EDGE("dep-33", "td-3", "td-3"), APPLIED_EDGE, SKIPPED("dep-33") },
	{ "the same edge again", NULL,
	  EDGE("dep-12", "td-1", "td-2"), APPLIED, NULL, EDGES, "dep-12" },
	{ "the same edge under another id", NULL,
	  EDGE("dep-xx", "td-1", "td-2"), APPLIED, NULL, EDGES, "dep-xx" },
	{ "an edge of a cycle that is there already",
	  CHAIN("('dep-12', 'td-1', 'td-2'), ('dep-23', 'td-2', 'td-3'), ('dep-31', 'td-3', 'td-1')"),
	  EDGE("dep-31", "td-3", "td-1"), APPLIED_EDGE, SKIPPED("dep-31") },
	{ "without a relation it is depends_on", NULL,
	  { CREATE, "issue_dependencies", "dep-21",
	    NEW("{'issue_id':'td-2','depends_on_id':'td-1'}") },
	  APPLIED_EDGE, SKIPPED("dep-21") },
	{ "with a relation of NULL it is depends_on", NULL,
	  { CREATE, "issue_dependencies", "dep-21",
	    NEW("{'issue_id':'td-2','depends_on_id':'td-1','relation_type':null}") },
	  APPLIED_EDGE, SKIPPED("dep-21") },
	{ "escapes don't hide a cycle", NULL,
	  { CREATE, "issue_dependencies", "dep-21",
	    NEW("{'issue_id':'td\\u002d2','depends_on_id':'td-\\u0031',"
	        "'relation_type':'depends\\u005fon'}") },
	  APPLIED_EDGE, SKIPPED("dep-21") },
	{ "other relations may form a cycle", NULL,
	  { CREATE, "issue_dependencies", "rel-21",
	    NEW("{'issue_id':'td-2','depends_on_id':'td-1','relation_type':'relates'}") },
	  APPLIED, NULL, EDGES, "dep-12;rel-21" },
	{ "other relations are no part of a cycle",
	  "UPDATE issue_dependencies SET relation_type = 'relates'",
	  EDGE("dep-21", "td-2", "td-1"), APPLIED, NULL, EDGES, "dep-12;dep-21" },
	{ "other relations of the reverse stay",
	  CHAIN("('dep-21', 'td-2', 'td-1');"
	        "INSERT INTO issue_dependencies VALUES ('rel-21', 'td-2', 'td-1', 'relates')"),
	  EDGE("dep-12", "td-1", "td-2"), APPLIED, NULL, EDGES, "dep-12;rel-21" },
	{ "an edge that wins but can't go in leaves its reverse",
	  CHAIN("('dep-21', 'td-2', 'td-1');")
	  "CREATE TRIGGER never BEFORE INSERT ON issue_dependencies"
	  " BEGIN SELECT RAISE(ABORT, 'never'); END",
	  EDGE("dep-12", "td-1", "td-2"), APPLIED_BAD,
	  "create issue_dependencies/dep-12: constraint failed: never (1811)" },
	{ "an update of an edge is not asked for cycles", NULL,
	  { UPDATE, "issue_dependencies", "dep-12",
	    BOTH("{'issue_id':'td-1','depends_on_id':'td-1'}",
	         "{'issue_id':'td-1','depends_on_id':'td-2'}") },
	  APPLIED, NULL, "SELECT depends_on_id FROM issue_dependencies", "td-1" },
};

/* Read: in the table is "One" / "text"; the event says this. */
#define ONE "SELECT title, description, updated_at FROM issues WHERE id = 'td-1'"
#define LABELS "SELECT labels FROM issues WHERE id = 'td-1'"
#define LABELLED "UPDATE issues SET labels = 'kept' WHERE id = 'td-1'"
#define LABELS_ARE(now, before) { UPDATE, "issues", "td-1", \
	BOTH("{'title':'x','labels':" now "}", "{'title':'One','labels':" before "}") }

static const struct rule updates[] = {
	{ "only what the author changed is set", NULL,
	  { UPDATE, "issues", "td-1", BOTH("{'id':'td-1','title':'Mine','description':'old'}",
	    "{'id':'td-1','title':'One','description':'old'}") }, APPLIED, NULL,
	  ONE, "Mine|text|u1" },
	{ "it takes no children along", NULL,
	  { UPDATE, "issues", "td-1", BOTH("{'title':'Mine'}", "{'title':'One'}") },
	  APPLIED, NULL, CHILDREN, ALL_CHILDREN },
	{ "a field that is gone becomes '' or NULL",
	  "UPDATE issues SET closed_at = 'c', labels = 'l', points = 5",
	  { UPDATE, "issues", "td-1", BOTH("{'title':'One'}",
	    "{'title':'One','closed_at':'c','labels':['l'],'points':5,'description':'text'}") },
	  APPLIED, NULL, "SELECT closed_at, labels, points, description FROM issues"
	  " WHERE id = 'td-1'", "NULL||NULL|" },
	{ "a field that is gone and may not be", NULL,
	  { UPDATE, "issues", "td-1", BOTH("{'description':'x'}", "{'title':'One'}") },
	  APPLIED_BAD, "update issues/td-1: constraint failed: NOT NULL constraint failed:"
	  " issues.title (1299)" },
	{ "a field that is new is set", NULL,
	  { UPDATE, "issues", "td-1", BOTH("{'title':'One','sprint':'s1'}", "{'title':'One'}") },
	  APPLIED, NULL, "SELECT sprint FROM issues WHERE id = 'td-1'", "s1" },
	{ "a row that is missing stays so, with previous_data", NULL,
	  { UPDATE, "issues", "td-9", BOTH("{'title':'Mine'}", "{'title':'One'}") },
	  APPLIED, NULL, "SELECT count(*) FROM issues", "3" },
	{ "a row that is missing stays so, without", NULL,
	  { UPDATE, "issues", "td-9", NEW("{'title':'Mine'}") },
	  APPLIED, NULL, "SELECT count(*) FROM issues", "3" },
	{ "without previous_data the row is replaced, children and all", NULL,
	  { UPDATE, "issues", "td-1", NEW("{'title':'Mine'}") },
	  APPLIED, NULL, CHILDREN, "1|0|0|0|0|0|1|td-1" },
	{ "with previous_data {} the row is replaced", NULL,
	  { UPDATE, "work_sessions", "ws-1", BOTH("{'name':'W','session_id':'s','ended_at':'e'}", "{}") },
	  APPLIED, NULL, "SELECT name, ended_at, (SELECT count(*) FROM work_session_issues)"
	  " FROM work_sessions", "W|e|0" },
	{ "with previous_data null the row is replaced", NULL,
	  { UPDATE, "issues", "td-1", BOTH("{'title':'Mine'}", "null") },
	  APPLIED, NULL, ONE, "Mine||2026-03-01 08:00:00" },
	{ "where nothing differs the row is replaced", NULL,
	  { UPDATE, "issues", "td-1", BOTH("{'title':'Same','points':1}", "{'points':1.0, 'title':'Same'}") },
	  APPLIED, NULL, "SELECT title, points, description, (SELECT count(*) FROM comments)"
	  " FROM issues WHERE id = 'td-1'", "Same|1||0" },
	{ "where only the id differs the row is replaced", NULL,
	  { UPDATE, "issues", "td-1", BOTH("{'id':'td-1','title':'Same'}", "{'title':'Same','id':'td-7'}") },
	  APPLIED, NULL, ONE, "Same||2026-03-01 08:00:00" },
	{ "the id is never set", NULL,
	  { UPDATE, "issues", "td-1", BOTH("{'id':'td-7','title':'Mine'}", "{'id':'td-1','title':'One'}") },
	  APPLIED, NULL, "SELECT id, title FROM issues ORDER BY id", "td-1|Mine;td-2|Two;td-3|Three" },
	{ "what only a newer schema knows changes nothing", NULL,
	  { UPDATE, "issues", "td-1", BOTH("{'title':'x','mood':1}", "{'title':'x','mood':2}") },
	  APPLIED, NULL, ONE, "One|text|u1" },
	{ "what is local to a machine changes nothing", NULL,
	  { UPDATE, "work_sessions", "ws-1", BOTH("{'name':'x','worktree_id':'a'}",
	    "{'name':'x','worktree_id':'b'}") }, APPLIED, NULL,
	  "SELECT name, worktree_id, (SELECT count(*) FROM work_session_issues)"
	  " FROM work_sessions", "Work||1" },
	{ "a wrapped row beside a plain previous one, as approve sends it", NULL,
	  { UPDATE, "issues", "td-1", BOTH("{'issue':{'id':'td-1','title':'One','status':'closed'},"
	    "'created_review_id':'rv-1'}", "{'id':'td-1','title':'One','status':'open'}") },
	  APPLIED, NULL, "SELECT title, description, status FROM issues WHERE id = 'td-1'",
	  "One|text|closed" },
	{ "both rows wrapped", NULL,
	  { UPDATE, "issues", "td-1", BOTH("{'issue':{'title':'Mine','status':'x'}}",
	    "{'issue':{'title':'One','status':'x'}}") },
	  APPLIED, NULL, ONE, "Mine|text|u1" },
	{ "a wrapped previous row that is empty", NULL,
	  { UPDATE, "issues", "td-1", BOTH("{'title':'Mine'}", "{'issue':{}}") },
	  APPLIED, NULL, ONE, "Mine||2026-03-01 08:00:00" },
	{ "previous_data a string", NULL,
	  { UPDATE, "issues", "td-1", BOTH("{'title':'Mine'}", "'{}'") },
	  APPLIED_BAD, "update issues/td-1: previous_data is not an object" },
	{ "new_data a string", NULL,
	  { UPDATE, "issues", "td-1", BOTH("'{}'", "{'title':'One'}") },
	  APPLIED_BAD, "update issues/td-1: new_data is not an object" },
	{ "no new_data", NULL,
	  { UPDATE, "issues", "td-1", "{'previous_data':{'title':'One'}}" },
	  APPLIED_BAD, "update issues/td-1: no new_data" },
	{ "values are stored as in a create", NULL,
	  { UPDATE, "issues", "td-1", BOTH("{'labels':['a','b'],'minor':true,'points':3,'sprint':[1],"
	    "'description':'\\u00e9'}", "{'x':1}") }, APPLIED, NULL,
	  "SELECT labels, minor, typeof(minor), points, typeof(points), sprint, description"
	  " FROM issues WHERE id = 'td-1'", "a,b|1|integer|3|integer|[1]|\xc3\xa9" },
	{ "an update that takes another row's place", NULL,
	  { UPDATE, "board_issue_positions", "bip-1", BOTH("{'issue_id':'td-2'}", "{'issue_id':'td-1'}") },
	  APPLIED_BAD, "update board_issue_positions/bip-1: constraint failed: UNIQUE constraint failed:"
	  " board_issue_positions.board_id, board_issue_positions.issue_id (2067)" },
	{ "an update that loses its parent", NULL,
	  { UPDATE, "board_issue_positions", "bip-1", BOTH("{'board_id':'bd-x'}", "{'board_id':'bd-1'}") },
	  APPLIED_BAD, "update board_issue_positions/bip-1: constraint failed: FOREIGN KEY constraint"
	  " failed (787)" },
	{ "a number beyond any double", NULL,
	  { UPDATE, "issues", "td-1", BOTH("{'points':1e400}", "{'points':1}") },
	  APPLIED_BAD, "update issues/td-1: a number is too large" },

	{ "equal: white space", LABELLED, LABELS_ARE("['a','b']", "[ 'a' , 'b' ]"), APPLIED, NULL, LABELS, "kept" },
	{ "equal: escapes", LABELLED, LABELS_ARE("'a/b'", "'\\u0061\\/b'"), APPLIED, NULL, LABELS, "kept" },
	{ "equal: order of members", LABELLED, LABELS_ARE("{'a':1,'b':2}", "{'b':2,'a':1}"), APPLIED, NULL, LABELS, "kept" },
	{ "equal: spelling of numbers", LABELLED, LABELS_ARE("[1,100]", "[1.0,1e2]"), APPLIED, NULL, LABELS, "kept" },
	{ "equal: doubles that differ behind their last digit", LABELLED,
	  LABELS_ARE("9007199254740993", "9007199254740992"), APPLIED, NULL, LABELS, "kept" },
	{ "equal: null and null", LABELLED, LABELS_ARE("null", " null "), APPLIED, NULL, LABELS, "kept" },
	{ "different: order of elements", LABELLED, LABELS_ARE("['b','a']", "['a','b']"), APPLIED, NULL, LABELS, "b,a" },
	{ "different: an element more", LABELLED, LABELS_ARE("['a','b']", "['a']"), APPLIED, NULL, LABELS, "a,b" },
	{ "different: array and text", LABELLED, LABELS_ARE("['a']", "'a'"), APPLIED, NULL, LABELS, "a" },
	{ "different: case", LABELLED, LABELS_ARE("'A'", "'a'"), APPLIED, NULL, LABELS, "A" },
	{ "different: true and 1", LABELLED, LABELS_ARE("true", "1"), APPLIED, NULL, LABELS, "1" },
	{ "different: null and ''", LABELLED, LABELS_ARE("null", "''"), APPLIED, NULL, LABELS, "" },
	{ "different: null and nothing", LABELLED,
	  { UPDATE, "issues", "td-1", BOTH("{'title':'x','labels':null}", "{'title':'y'}") },
	  APPLIED, NULL, LABELS, "" },
	{ "different: deep inside", LABELLED, LABELS_ARE("{'a':[{'b':1}]}", "{'a':[{'b':2}]}"), APPLIED, NULL,
	  LABELS, "{\"a\":[{\"b\":1}]}" },
};

#define DELETE ACTION_DELETE
#define HIDE ACTION_SOFT_DELETE
#define SHOW ACTION_RESTORE
#define DELETED "SELECT deleted_at, updated_at FROM issues WHERE id = 'td-1'"
#define HIDE_AT(time) { HIDE, "issues", "td-1", "{'new_data':{},'previous_data':{}}", time }

static const struct rule deletes[] = {
	{ "a deleted issue takes its children along and leaves its sub-issues", NULL,
	  { DELETE, "issues", "td-1", "{'new_data':{},'previous_data':{}}" }, APPLIED, NULL,
	  CHILDREN, "1|0|0|0|0|0|1|" },
	{ "sub-issues keep their time",  NULL,
	  { DELETE, "issues", "td-1", "null" }, APPLIED, NULL,
	  "SELECT id, parent_id, updated_at FROM issues ORDER BY id", "td-2||u2;td-3||u3" },
	{ "deleting what is not there changes nothing",
	  "UPDATE issues SET parent_id = 'td-x' WHERE id = 'td-3'",
	  { DELETE, "issues", "td-x", "{}" }, APPLIED, NULL,
	  "SELECT id, parent_id FROM issues ORDER BY id", "td-1|;td-2|td-1;td-3|td-x" },
	{ "a deleted board takes its positions along", NULL,
	  { DELETE, "boards", "bd-1", "{}" }, APPLIED, NULL,
	  "SELECT (SELECT count(*) FROM boards), (SELECT count(*) FROM board_issue_positions)", "2|0" },
	{ "an issue with reviews can't be deleted",
	  "INSERT INTO issue_reviews(id, issue_id, reviewer_session, decision)"
	  " VALUES ('rv-1', 'td-1', 's', 'approved')",
	  { DELETE, "issues", "td-1", "{}" }, APPLIED_BAD,
	  "delete issues/td-1: constraint failed: FOREIGN KEY constraint failed (787)" },
	{ "a delete with a payload that is none", NULL,
	  { DELETE, "issues", "td-1", "'text'" }, APPLIED_BAD,
	  "delete issues/td-1: the payload is not an object" },
	{ "ids count exactly", NULL,
	  { DELETE, "issues", "TD-1", "{}" }, APPLIED, NULL, "SELECT count(*) FROM issues", "3" },
	{ "sessions are held back, deleted too", NULL,
	  { DELETE, "sessions", "s", "{}" }, APPLIED_BAD, "invalid entity type: \"sessions\"" },

	{ "soft_delete in UTC", NULL, HIDE_AT("2026-03-01T10:00:00Z"), APPLIED, NULL,
	  DELETED, "2026-03-01 10:00:00+00:00|u1" },
	{ "soft_delete with an offset", NULL, HIDE_AT("2026-03-01T10:00:00-08:00"), APPLIED, NULL,
	  DELETED, "2026-03-01 10:00:00-08:00|u1" },
	{ "soft_delete with an offset of minutes", NULL, HIDE_AT("2026-03-01T10:00:00+05:30"), APPLIED, NULL,
	  DELETED, "2026-03-01 10:00:00+05:30|u1" },
	{ "soft_delete with a fraction", NULL, HIDE_AT("2026-03-01T10:00:00.123456789Z"), APPLIED, NULL,
	  DELETED, "2026-03-01 10:00:00.123456789+00:00|u1" },
	{ "soft_delete with a fraction that ends in zeros", NULL, HIDE_AT("2026-03-01T10:00:00.500Z"),
	  APPLIED, NULL, DELETED, "2026-03-01 10:00:00.5+00:00|u1" },
	{ "soft_delete takes no children along", NULL, HIDE_AT(NULL), APPLIED, NULL,
	  CHILDREN, ALL_CHILDREN },
	{ "soft_delete of what is deleted already", "UPDATE issues SET deleted_at = 'then'",
	  HIDE_AT("2026-03-01T10:00:00Z"), APPLIED, NULL, DELETED, "2026-03-01 10:00:00+00:00|u1" },
	{ "soft_delete of what is not there", NULL,
	  { HIDE, "issues", "td-x", "{}" }, APPLIED, NULL,
	  "SELECT count(*), count(deleted_at) FROM issues", "3|0" },
	{ "soft_delete of a note", NULL,
	  { HIDE, "notes", "nt-1", "{}" }, APPLIED, NULL, "SELECT deleted_at FROM notes",
	  "2026-03-01 10:00:00.5+02:00" },
	{ "soft_delete of a position", NULL,
	  { HIDE, "board_issue_positions", "bip-1", "{}" }, APPLIED, NULL,
	  "SELECT id, deleted_at FROM board_issue_positions ORDER BY id",
	  "bip-1|2026-03-01 10:00:00.5+02:00;bip-2|NULL" },
	{ "soft_delete of a board, which knows none", NULL,
	  { HIDE, "boards", "bd-1", "{}" }, APPLIED_BAD,
	  "soft_delete boards/bd-1: SQL logic error: no such column: deleted_at (1)" },
	{ "soft_delete at a time that is none", NULL, HIDE_AT("2026-03-01 10:00:00"), APPLIED_BAD,
	  "soft_delete issues/td-1: the time is not RFC 3339" },

	{ "restore", "UPDATE issues SET deleted_at = 'then'",
	  { SHOW, "issues", "td-1", "{'new_data':{'title':'not looked at'}}" }, APPLIED, NULL,
	  "SELECT title, deleted_at, updated_at FROM issues WHERE id = 'td-1'",
	  "One|NULL|2026-03-01 10:00:00.5+02:00" },
	{ "restore of what is not there", NULL,
	  { SHOW, "issues", "td-x", "{}" }, APPLIED, NULL, "SELECT count(*) FROM issues", "3" },
	{ "restore of a note", "UPDATE notes SET deleted_at = 'then'",
	  { SHOW, "notes", "nt-1", "null", "2026-03-01T10:00:00Z" }, APPLIED, NULL,
	  "SELECT deleted_at, updated_at FROM notes", "NULL|2026-03-01 10:00:00+00:00" },
	{ "restore of a board, in td's words", NULL,
	  { SHOW, "boards", "bd-1", "{}" }, APPLIED_BAD,
	  "restore boards/bd-1: SQL logic error: no such column: deleted_at (1)" },
	{ "restore of a position, which has no updated_at",
	  "UPDATE board_issue_positions SET deleted_at = 'then'",
	  { SHOW, "board_issue_positions", "bip-1", "{}" }, APPLIED_BAD,
	  "restore board_issue_positions/bip-1: SQL logic error: no such column: updated_at (1)" },
};

static void
check_rule(const struct rule *r)
{
	char *before, *after, sentence[sizeof(err.text)];
	enum applied what;
	enum rc rc;

	if (r->before != NULL) {
		exec(r->before);
		renew_applier(); /* it may have altered a table */
	}
	if (profile == &profile_td)
		exec("CREATE TABLE IF NOT EXISTS issue_reviews(id)"); /* for everything() */
	before = everything();
	exec("BEGIN");
	rc = apply(&r->event, &what);
	snprintf(sentence, sizeof(sentence), "%s", err.text);
	exec("COMMIT");
	ck_assert_msg(rc == RC_OK, "%s: %s %s", r->why, rc_name(rc), sentence);
	ck_assert_msg(what == r->want, "%s: %d: %s", r->why, what, sentence);
	if (r->sentence != NULL)
		ck_assert_msg(strcmp(sentence, r->sentence) == 0, "%s: \"%s\"", r->why, sentence);
	if (r->query != NULL)
		ck_assert_msg(strcmp(look(r->query), r->after) == 0, "%s: %s", r->why, scratch.p);
	after = everything();
	if (r->want != APPLIED)
		ck_assert_msg(strcmp(before, after) == 0, "%s: it left\n%s\nbefore it was\n%s",
		              r->why, after, before);
	ck_assert_str_eq(look("PRAGMA foreign_key_check"), "");
	free(before);
	free(after);
}

#define RULES(name, table) \
	START_TEST(name) { check_rule(&table[_i]); } END_TEST

RULES(a_create_puts_a_whole_row, creates)
RULES(a_dependency_forms_no_cycle_of_two, edges)
RULES(an_update_sets_what_its_author_changed, updates)
RULES(a_delete_removes_hides_or_shows, deletes)

/* --- a profile that says upsert: conf/profiles/shelf.json --- */

static struct profile *shelf;

static void
setup_shelf(void)
{
	ck_assert_msg(profile_read(TOP_SRCDIR "/conf/profiles/shelf.json", &shelf, &err) == RC_OK,
	              "%s", err.text);
	profile = shelf;
	make_tables("INSERT INTO places(id, name, inside)"
	            " VALUES ('room', 'Room', ''), ('rack', 'Rack', 'room');"
	            "INSERT INTO books(id, title, isbn, tags, place_id, added_at)"
	            " VALUES ('a', 'A', '1234567890', 'old', 'rack', 't'), ('b', 'B', NULL, '',"
	            " 'rack', 't'), ('c', 'C', '1234567890123', '', 'room', 't');"
	            "INSERT INTO loans(id, book_id, borrower, since) VALUES ('l', 'a', 'Anna', 't');"
	            "INSERT INTO orders(id, book_id, after_id) VALUES ('o', 'a', 'b')");
}

static void
teardown_shelf(void)
{
	teardown();
	profile_free(shelf);
	profile = &profile_td;
}

#define ORDER(id, book, after) { CREATE, "orders", id, \
	NEW("{'book_id':'" book "','after_id':'" after "'}") }
#define LOANS "SELECT (SELECT count(*) FROM loans), (SELECT count(*) FROM orders)"

static const struct rule upserts[] = {
	{ "a new row has its defaults, times the event's", NULL,
	  { CREATE, "books", "n", NEW("{'title':'New','tags':['x','y'],'file':'/home/n'}") },
	  APPLIED, NULL, "SELECT title, authors, tags, isbn, pages, place_id, file, added_at,"
	  " updated_at FROM books WHERE id = 'n'",
	  "New||x,y|NULL|0|place-none||2026-03-01 08:00:00|NULL" },
	{ "a row that is there takes all values: what is not given has its default", NULL,
	  { CREATE, "books", "a", NEW("{'title':'Again','isbn':'1234567890','pages':3}") },
	  APPLIED, NULL, "SELECT title, isbn, tags, pages, place_id, added_at FROM books"
	  " WHERE id = 'a'", "Again|1234567890||3|place-none|2026-03-01 08:00:00" },
	{ "and no child goes", NULL,
	  { CREATE, "books", "a", NEW("{'title':'Again'}") }, APPLIED, NULL, LOANS, "1|1" },
	{ "an update that says nothing of before does the same", NULL,
	  { UPDATE, "books", "a", NEW("{'title':'Again'}") }, APPLIED, NULL,
	  "SELECT title, tags, (SELECT count(*) FROM loans) FROM books WHERE id = 'a'",
	  "Again||1" },
	{ "it makes no row, either", NULL,
	  { UPDATE, "books", "x", NEW("{'title':'Again'}") }, APPLIED, NULL,
	  "SELECT count(*) FROM books", "3" },
	{ "an update with previous_data sets what it changed", NULL,
	  { UPDATE, "books", "a", BOTH("{'title':'Again','pages':5}", "{'title':'A','pages':5}") },
	  APPLIED, NULL, "SELECT title, tags, pages FROM books WHERE id = 'a'", "Again|old|0" },
	{ "NULL where it is not allowed becomes the default", NULL,
	  { CREATE, "books", "a", NEW("{'title':'T','pages':null,'added_at':null,'tags':null}") },
	  APPLIED, NULL, "SELECT pages, typeof(pages), added_at, tags FROM books WHERE id = 'a'",
	  "0|integer|2026-03-01 08:00:00|" },
	{ "NULL where it is not allowed and nothing is the default", NULL,
	  { CREATE, "books", "a", NEW("{'title':null}") }, APPLIED_BAD,
	  "create books/a: constraint failed: NOT NULL constraint failed: books.title (1299)" },
	{ "a wrapped row is unwrapped", NULL,
	  { CREATE, "books", "n", NEW("{'book':{'title':'In'},'by':'x'}") }, APPLIED, NULL,
	  "SELECT title FROM books WHERE id = 'n'", "In" },
	{ "another row in the way is left alone, as is the row itself", NULL,
	  { CREATE, "books", "c", NEW("{'title':'Thief','isbn':'1234567890'}") }, APPLIED_BAD,
	  "create books/c: constraint failed: UNIQUE constraint failed: books.isbn (2067)" },
	{ "likewise where the row is new", NULL,
	  { CREATE, "books", "n", NEW("{'title':'Thief','isbn':'1234567890'}") }, APPLIED_BAD,
	  "create books/n: constraint failed: UNIQUE constraint failed: books.isbn (2067)" },
	{ "likewise for an update without previous_data", NULL,
	  { UPDATE, "books", "c", NEW("{'title':'Thief','isbn':'1234567890'}") }, APPLIED_BAD,
	  "update books/c: constraint failed: UNIQUE constraint failed: books.isbn (2067)" },
	{ "likewise for one that sets the column alone", NULL,
	  { UPDATE, "books", "c", BOTH("{'isbn':'1234567890'}", "{'isbn':'1234567890123'}") },
	  APPLIED_BAD,
	  "update books/c: constraint failed: UNIQUE constraint failed: books.isbn (2067)" },
	{ "what a CHECK refuses", NULL,
	  { CREATE, "books", "a", NEW("{'title':'A','isbn':'12'}") }, APPLIED_BAD,
	  "create books/a: constraint failed: CHECK constraint failed: length(isbn) IN (10, 13) (275)" },
	{ "a child of what is not there is an orphan", NULL,
	  { CREATE, "loans", "n", NEW("{'book_id':'x','borrower':'Bob'}") }, APPLIED_ORPHAN,
	  "orphaned loans/n: book_id references missing books/x" },
	{ "a child that moves to what is not there stays", NULL,
	  { CREATE, "loans", "l", NEW("{'book_id':'x','borrower':'Anna'}") }, APPLIED_BAD,
	  "create loans/l: constraint failed: FOREIGN KEY constraint failed (787)" },
	{ "a delete takes the children along", NULL,
	  { DELETE, "books", "a", "{}" }, APPLIED, NULL, LOANS, "0|0" },
	{ "a delete empties the column of the children that name it", NULL,
	  { DELETE, "places", "room", "{}" }, APPLIED, NULL,
	  "SELECT id, inside FROM places WHERE id = 'rack'", "rack|" },
	{ "or nothing happens, where that is not allowed",
	  "DROP TABLE places; CREATE TABLE places(id TEXT PRIMARY KEY, name TEXT, inside TEXT"
	  " CHECK (inside <> '')); INSERT INTO places VALUES ('room', 'Room', NULL),"
	  " ('rack', 'Rack', 'room')",
	  { DELETE, "places", "room", "{}" }, APPLIED_BAD,
	  "delete places/room: constraint failed: CHECK constraint failed: inside <> '' (275)" },
	{ "soft_delete and restore are td's", "UPDATE books SET deleted_at = 'then'",
	  { SHOW, "books", "a", "{}" }, APPLIED, NULL,
	  "SELECT deleted_at, updated_at FROM books WHERE id = 'a'",
	  "NULL|2026-03-01 10:00:00.5+02:00" },
	{ "what is held back", NULL,
	  { CREATE, "readings", "r", NEW("{'book_id':'a'}") }, APPLIED_BAD,
	  "invalid entity type: \"readings\"" },
	{ "what is no entity of this profile", NULL,
	  { CREATE, "issues", "td-1", NEW("{'title':'T'}") }, APPLIED_BAD,
	  "invalid entity type: \"issues\"" },

	{ "an edge", NULL, ORDER("n", "b", "c"), APPLIED, NULL,
	  "SELECT id, book_id, after_id FROM orders ORDER BY id", "n|b|c;o|a|b" },
	{ "an edge that would turn one round, and sorts higher", NULL,
	  ORDER("n", "b", "a"), APPLIED_EDGE, "create orders/n: it would close a cycle" },
	{ "an edge that turns one round, and sorts lower",
	  "UPDATE orders SET book_id = 'c', after_id = 'b'", ORDER("n", "b", "c"), APPLIED, NULL,
	  "SELECT id, book_id, after_id FROM orders", "n|b|c" },
	{ "an edge that is there under another id", NULL,
	  ORDER("n", "a", "b"), APPLIED_BAD, "create orders/n: constraint failed: UNIQUE constraint"
	  " failed: orders.book_id, orders.after_id, orders.kind (2067)" },
};

RULES(an_upsert_touches_one_row, upserts)

START_TEST(a_table_of_ids_alone_can_be_put_into)
{
	static const struct profile_column columns[] = { { "id", "TEXT PRIMARY KEY" }, { 0 } };
	static const char *const aliases[] = { NULL };
	const struct profile_entity entities[] = {
		{ .table = "marks", .aliases = aliases, .columns = columns }, { 0 },
	};
	const struct profile marks = { .name = "marks", .version = 1,
		.create = PROFILE_UPSERT, .entities = entities };
	struct short_event e = { CREATE, "marks", "m", NEW("{}") };
	enum applied what;

	teardown();
	profile = &marks;
	make_tables("");
	exec("BEGIN");
	for (int i = 0; i < 2; i++)
		ck_assert_msg(apply(&e, &what) == RC_OK && what == APPLIED, "%s", err.text);
	exec("COMMIT");
	ck_assert_str_eq(look("SELECT id FROM marks"), "m");
}
END_TEST

/* --- the environment --- */

/* A row that needs several pages. */
static const struct short_event large = { CREATE, "issues", "td-9",
	NEW("{'title':'N','description':['0000000000000000000000000000000000000000000000']}") };

static enum rc
apply_in_transaction(const struct short_event *e)
{
	enum applied what;
	enum rc rc;

	exec("BEGIN");
	rc = apply(e, &what);
	exec(sqlite3_get_autocommit(db) ? "BEGIN; ROLLBACK" : "ROLLBACK");
	return rc;
}

START_TEST(a_disk_that_is_full_is_no_quarantine)
{
	char *before = everything(), *after;
	char sql[128];

	exec("CREATE TABLE fill(x); INSERT INTO fill VALUES (zeroblob(3000));");
	snprintf(sql, sizeof(sql), "PRAGMA max_page_count=%s", look("PRAGMA page_count"));
	exec(sql);
	exec("BEGIN");
	for (int i = 0; i < 1000; i++) {
		struct short_event e = large;
		enum applied what;
		char id[16];
		enum rc rc;

		snprintf(id, sizeof(id), "td-%d", 100 + i);
		e.id = id;
		rc = apply(&e, &what);
		if (rc == RC_OK)
			continue;
		ck_assert_msg(rc == RC_UNAVAILABLE, "%s", err.text);
		ck_assert(strstr(err.text, "full") != NULL);
		if (!sqlite3_get_autocommit(db))
			exec("ROLLBACK");
		after = everything();
		ck_assert_str_eq(before, after);
		free(before);
		free(after);
		return;
	}
	ck_abort_msg("it never got full");
}
END_TEST

START_TEST(a_database_that_is_read_only_is_no_quarantine)
{
	static const struct short_event events[] = {
		{ CREATE, "issues", "td-1", NEW("{'title':'N'}") },
		{ UPDATE, "issues", "td-1", BOTH("{'title':'N'}", "{'title':'One'}") },
		{ DELETE, "issues", "td-1", "{}" },
		{ HIDE, "issues", "td-1", "{}" },
		{ SHOW, "issues", "td-1", "{}" },
		EDGE("dep-12", "td-1", "td-2"),
	};

	exec(CHAIN("('dep-21', 'td-2', 'td-1')"));
	exec("PRAGMA query_only=ON");
	for (size_t i = 0; i < sizeof(events) / sizeof(*events); i++)
		ck_assert_msg(apply_in_transaction(&events[i]) == RC_UNAVAILABLE, "%zu: %s", i,
		              err.text);
	exec("PRAGMA query_only=OFF");
	ck_assert_msg(apply_in_transaction(&events[0]) == RC_OK, "%s", err.text);
}
END_TEST

/* Interrupts once, at the n-th call. */
static int
interrupt(void *calls)
{
	return (*(int *)calls)-- == 0;
}

static const struct {
	struct short_event event;
	enum applied want;
} interrupted[] = {
	{ EDGE("dep-12", "td-1", "td-2"), APPLIED }, /* puts its reverse out */
	{ EDGE("dep-31", "td-3", "td-3"), APPLIED_EDGE },
	{ { CREATE, "comments", "c", NEW("{'issue_id':'td-x','session_id':'s','text':'t'}") },
	  APPLIED_ORPHAN },
	{ { CREATE, "comments", "cm-1", NEW("{'issue_id':'td-x','session_id':'s','text':'t'}") },
	  APPLIED_BAD },
	{ { CREATE, "issues", "td-1", NEW("{'title':'Again'}") }, APPLIED },
	{ { UPDATE, "issues", "td-1", NEW("{'title':'Again'}") }, APPLIED },
	{ { UPDATE, "issues", "td-1", BOTH("{'title':'Again'}", "{'title':'One'}") }, APPLIED },
	{ { DELETE, "issues", "td-1", "{}" }, APPLIED },
	{ { HIDE, "issues", "td-1", "{}" }, APPLIED },
	{ { SHOW, "issues", "td-1", "{}" }, APPLIED },
};

/* Stop SQLite's work once, at every possible step: what is not done is told. */
START_TEST(an_event_that_is_interrupted_is_no_quarantine)
{
	char *before, *after;
	enum applied what;
	enum rc rc = RC_FAULT;
	int steps;

	exec(CHAIN("('dep-21', 'td-2', 'td-1')"));
	before = everything();
	for (steps = 0; rc != RC_OK; steps++) {
		int calls = steps;

		exec("BEGIN");
		sqlite3_progress_handler(db, 1, interrupt, &calls);
		rc = apply(&interrupted[_i].event, &what);
		sqlite3_progress_handler(db, 0, NULL, NULL);
		if (rc == RC_OK)
			break;
		ck_assert_msg(rc == RC_FAULT, "%s", err.text);
		exec(sqlite3_get_autocommit(db) ? "BEGIN; ROLLBACK" : "ROLLBACK");
		after = everything();
		ck_assert_str_eq(before, after);
		free(after);
	}
	exec("COMMIT");
	ck_assert_msg(what == interrupted[_i].want, "%s", err.text);
	ck_assert_int_gt(steps, 0);
	free(before);
}
END_TEST

static const struct short_event hungry[] = {
	EDGE("dep-12", "td-1", "td-2"), /* puts its reverse out */
	EDGE("dep-31", "td-3", "td-3"),
	{ CREATE, "comments", "c", NEW("{'issue_id':'td-\\u0078','session_id':'s','text':'t'}") },
	{ CREATE, "issues", "td-1", NEW("{'ti\\u0074le':'\\u00e9','labels':['a',{'b':['c']}]}") },
	{ CREATE, "handoffs", "ho-1", NEW("{'issue_id':'td-1','session_id':'s',"
	  "'done':[1.5e-7,'x\\n',{'b':1,'a':{'d':2,'c':[]}}]}") },
	{ UPDATE, "issues", "td-1", NEW("{'title':'Again'}") },
	{ UPDATE, "issues", "td-1", BOTH("{'title':'Same','x':[1]}", "{'x':[1.0],'title':'Same'}") },
	{ UPDATE, "issues", "td-1", BOTH("{'mood':1}", "{'mood':2}") },
	{ UPDATE, "issues", "td-1", BOTH("{'title':'\\u0041','sprint':[true]}", "{'title':'One'}") },
	{ DELETE, "issues", "td-1", "{}" },
	{ HIDE, "issues", "td-1", "{}" },
	{ SHOW, "issues", "td-1", "{}" },
};

/* With each allocation failing in turn the event is applied rightly, or it
 * is told that it was not. */
START_TEST(an_event_without_memory_is_no_quarantine)
{
	char *before, *want, *got;
	enum applied should, what;
	long n;
	enum rc rc = RC_FAULT;

	exec(CHAIN("('dep-21', 'td-2', 'td-1')"));
	before = everything();
	exec("BEGIN");
	ck_assert(apply(&hungry[_i], &should) == RC_OK);
	want = everything();
	exec("ROLLBACK");
	for (n = 0; ; n++) {
		bool over;

		if (_i % 4 == 0) /* else its statements are there already */
			renew_applier();
		exec("BEGIN");
		arm = n;
		rc = apply(&hungry[_i], &what);
		over = arm >= 0;
		arm = -1;
		got = everything();
		if (rc == RC_OK) {
			ck_assert_msg(what == should, "%ld: %s", n, err.text);
			ck_assert_str_eq(got, want);
		} else {
			ck_assert_msg(rc == RC_FAULT, "%ld: %s: %s", n, rc_name(rc), err.text);
		}
		free(got);
		exec(sqlite3_get_autocommit(db) ? "BEGIN; ROLLBACK" : "ROLLBACK");
		got = everything();
		ck_assert_str_eq(got, before);
		free(got);
		if (over)
			break;
	}
	ck_assert(rc == RC_OK);
	ck_assert_int_gt(n, 0);
	free(before);
	free(want);
}
END_TEST

START_TEST(an_applier_without_memory_is_none)
{
	struct applier *a;
	enum rc rc = RC_FAULT;
	bool over = false;
	long n;

	for (n = 0; !over; n += n < 200 ? 1 : 17) { /* it makes thousands, all alike */
		hungry_at = n;
		rc = applier_new(db, "main", &profile_td, &a, &err);
		over = hungry_at >= 0;
		hungry_at = -1;
		ck_assert_msg((rc == RC_OK) == (a != NULL), "%ld", n);
		ck_assert_msg(rc == RC_OK || rc == RC_FAULT, "%ld: %s", n, err.text);
		applier_free(a);
	}
	ck_assert(rc == RC_OK);
	ck_assert_int_gt(n, 100);
}
END_TEST

START_TEST(a_profile_without_memory_is_none)
{
	struct profile *p;
	enum rc rc = RC_FAULT;
	bool over = false;
	long n;

	for (n = 0; !over; n++) {
		hungry_at = n;
		rc = profile_read(TOP_SRCDIR "/conf/profiles/shelf.json", &p, &err);
		over = hungry_at >= 0;
		hungry_at = -1;
		ck_assert_msg((rc == RC_OK) == (p != NULL), "%ld", n);
		ck_assert_msg(rc == RC_OK || rc == RC_FAULT, "%ld: %s", n, err.text);
		profile_free(p);
	}
	ck_assert(rc == RC_OK);
	ck_assert_int_gt(n, 100);
}
END_TEST

/* --- the applier itself --- */

START_TEST(foreign_keys_must_be_on)
{
	struct applier *a;

	exec("PRAGMA foreign_keys=OFF");
	ck_assert(applier_new(db, "main", &profile_td, &a, &err) == RC_FAULT);
	ck_assert(a == NULL);
	ck_assert(strstr(err.text, "foreign keys are off") != NULL);
}
END_TEST

START_TEST(an_attached_schema_is_written_alone)
{
	struct short_event events[] = {
		{ CREATE, "issues", "td-1", NEW("{'title':'There'}") },
		{ CREATE, "issues", "td-2", NEW("{'title':'Too','parent_id':'td-1'}") },
		{ CREATE, "comments", "cm-1", NEW("{'issue_id':'td-3','session_id':'s','text':'t'}") },
		EDGE("dep-12", "td-1", "td-2"),
		EDGE("dep-21", "td-2", "td-1"),
		{ UPDATE, "issues", "td-1", BOTH("{'title':'x'}", "{'title':'y'}") },
		{ UPDATE, "issues", "td-1", NEW("{'title':'z'}") },
		{ HIDE, "issues", "td-2", "{}" },
		{ SHOW, "issues", "td-2", "{}" },
		{ DELETE, "issues", "td-1", "{}" },
	};
	static const enum applied want[] = { APPLIED, APPLIED, APPLIED_ORPHAN, APPLIED,
	                                     APPLIED_EDGE, APPLIED, APPLIED, APPLIED,
	                                     APPLIED, APPLIED };
	struct buf sql = { 0 };
	enum applied what;
	char *before = everything(), *after;

	exec("ATTACH ':memory:' AS \"o\"\"ther\"");
	exec("ATTACH ':memory:' AS other");
	profile_schema(&profile_td, "other", &sql);
	exec(buf_cstr(&sql));
	buf_free(&sql);
	applier_free(applier);
	ck_assert(applier_new(db, "other", &profile_td, &applier, &err) == RC_OK);
	exec("BEGIN");
	for (size_t i = 0; i < sizeof(events) / sizeof(*events); i++) {
		ck_assert_msg(apply(&events[i], &what) == RC_OK, "%s", err.text);
		ck_assert_msg(what == want[i], "%zu: %s", i, err.text);
	}
	exec("COMMIT");
	ck_assert_str_eq(look("SELECT id, title, parent_id, deleted_at FROM other.issues"),
	                 "td-2|Too||NULL");
	after = everything();
	ck_assert_str_eq(before, after);
	free(before);
	free(after);
}
END_TEST

START_TEST(a_table_that_is_too_wide_is_refused)
{
	struct applier *a;
	char sql[128];

	for (int i = 0; i < 40; i++) {
		snprintf(sql, sizeof(sql), "ALTER TABLE issues ADD COLUMN extra%d TEXT", i);
		exec(sql);
	}
	ck_assert(applier_new(db, "main", &profile_td, &a, &err) == RC_UNAVAILABLE);
	ck_assert_str_eq(err.text, "table issues has more than 64 columns");
	ck_assert(a == NULL);
}
END_TEST

START_TEST(a_table_without_an_id_is_refused)
{
	struct applier *a;

	exec("ALTER TABLE notes RENAME COLUMN id TO key");
	ck_assert(applier_new(db, "main", &profile_td, &a, &err) == RC_UNAVAILABLE);
	ck_assert_str_eq(err.text, "table notes has no column id");
}
END_TEST

/* More sets of columns than UPDATE statements are kept, each set twice. */
START_TEST(updates_of_any_set_of_columns_are_right)
{
	static const char *const columns[] = { "description", "labels", "acceptance",
		"implementer_session", "sprint", "creator_session", "due_date" };
	struct buf now = { 0 }, want = { 0 };
	enum applied what;

	exec("BEGIN");
	for (int n = 1; n < 256; n++) {
		int set = n & 127;
		struct short_event e = { UPDATE, "issues", "td-1", NULL };

		buf_reset(&now);
		buf_reset(&want);
		exec("UPDATE issues SET description='-', labels='-', acceptance='-',"
		     " implementer_session='-', sprint='-', creator_session='-', due_date='-'");
		buf_add_str(&now, "{'previous_data':{'x':1},'new_data':{'x':1");
		for (int i = 0; i < 7; i++) {
			if (set >> i & 1)
				buf_addf(&now, ",'%s':'v%d.%d'", columns[i], n, i);
			if (i > 0)
				buf_add_byte(&want, '|');
			if (set >> i & 1)
				buf_addf(&want, "v%d.%d", n, i);
			else
				buf_add_byte(&want, '-');
		}
		buf_add_str(&now, "}}");
		e.payload = buf_cstr(&now);
		if (set == 0)
			continue;
		ck_assert(apply(&e, &what) == RC_OK && what == APPLIED);
		ck_assert_str_eq(look("SELECT description, labels, acceptance,"
		                      " implementer_session, sprint, creator_session, due_date"
		                      " FROM issues WHERE id = 'td-1'"), buf_cstr(&want));
	}
	exec("COMMIT");
	buf_free(&now);
	buf_free(&want);
}
END_TEST

START_TEST(reasons_are_tds)
{
	ck_assert_str_eq(applied_reason(APPLIED_ORPHAN), "orphaned_parent");
	ck_assert_str_eq(applied_reason(APPLIED_BAD), "quarantined");
	ck_assert(applied_reason(APPLIED) == NULL);
	ck_assert(applied_reason(APPLIED_EDGE) == NULL);
}
END_TEST

#define COUNT(a) ((int)(sizeof(a) / sizeof(*a)))

static Suite *
suite(void)
{
	Suite *s = suite_create("rules");
	TCase *t = tcase_create("events");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_loop_test(t, a_create_puts_a_whole_row, 0, COUNT(creates));
	tcase_add_loop_test(t, a_dependency_forms_no_cycle_of_two, 0, COUNT(edges));
	tcase_add_loop_test(t, an_update_sets_what_its_author_changed, 0, COUNT(updates));
	tcase_add_loop_test(t, a_delete_removes_hides_or_shows, 0, COUNT(deletes));
	tcase_add_test(t, reasons_are_tds);
	suite_add_tcase(s, t);
	t = tcase_create("upsert");
	tcase_add_checked_fixture(t, setup_shelf, teardown_shelf);
	tcase_add_loop_test(t, an_upsert_touches_one_row, 0, COUNT(upserts));
	tcase_add_test(t, a_table_of_ids_alone_can_be_put_into);
	suite_add_tcase(s, t);
	t = tcase_create("environment");
	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, a_disk_that_is_full_is_no_quarantine);
	tcase_add_test(t, a_database_that_is_read_only_is_no_quarantine);
	tcase_add_loop_test(t, an_event_that_is_interrupted_is_no_quarantine, 0,
	                    COUNT(interrupted));
	tcase_add_loop_test(t, an_event_without_memory_is_no_quarantine, 0, COUNT(hungry));
	tcase_add_test(t, an_applier_without_memory_is_none);
	tcase_add_test(t, a_profile_without_memory_is_none);
	suite_add_tcase(s, t);
	t = tcase_create("applier");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, foreign_keys_must_be_on);
	tcase_add_test(t, an_attached_schema_is_written_alone);
	tcase_add_test(t, a_table_that_is_too_wide_is_refused);
	tcase_add_test(t, a_table_without_an_id_is_refused);
	tcase_add_test(t, updates_of_any_set_of_columns_are_right);
	suite_add_tcase(s, t);
	return s;
}

int
main(void)
{
	SRunner *r;
	int failed;

	hungry_sqlite_too();
	r = srunner_create(suite());
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? 0 : 1;
}
