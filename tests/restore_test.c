/*
 * Putting back what conflicts took (engine/restore.h), on a log and its state:
 * which event does it, what the row is then, and when there is nothing to do.
 * (Events are in short, tests/steps.h; in payloads and rows ' stands for ".)
 */
#include "engine/restore.h"

#include "base/lock.h"
#include "engine/conflict.h"
#include "tests/steps.h"
#include "tests/temp.h"

#include <check.h>
#include <inttypes.h>
#include <string.h>

#define NOW_US INT64_C(1772359200123456) /* 2026-03-01T10:00:00.123456Z */
#define NOW "2026-03-01T10:00:00.123456Z"

static char dir[TEMP_PATH], log_dir[TEMP_PATH + 16];
static struct events *events;
static struct follower *follower;
static struct err err;
static struct buf answer;

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
	must(events_create(log_dir, "td", &err));
	must(events_open(log_dir, &events, &err));
	must(follower_new(log_dir, &profile_td, &follower, &err));
}

static void
teardown(void)
{
	follower_free(follower);
	events_close(events);
	buf_free(&answer);
	temp_remove(dir);
}

static enum rc
restore(const char *id)
{
	struct restorer by = { span_of("u_me"), span_of("web"), span_of("s"), NOW_US };
	struct conflict_id conflict;

	err.text[0] = '\0';
	ck_assert(conflict_id_parse(span_of(id), &conflict));
	return restore_conflict(follower, events, conflict, &by, true, clock_mono_ms() + 20000, &answer,
	                        &err);
}

static void
follow(void)
{
	int64_t end = clock_mono_ms() + 20000;

	must(follower_run(follower, events, &(struct follow_limits){ end, end, false }, &err));
}

static int64_t
head(void)
{
	struct events_head h;

	must(events_head(events, &h, &err));
	return h.seq;
}

/* What a query gives, a blank between columns; NULL is ~. */
static const char *
query(const char *sql)
{
	static struct buf out;
	sqlite3_stmt *st = NULL;
	bool row;

	buf_reset(&out);
	ck_assert_msg(db_prepare(state_db(follower_state(follower)), sql, &st, &err) == RC_OK,
	              "%s: %s", sql, err.text);
	while (db_step(st, &row, &err) == RC_OK && row)
		for (int i = 0; i < sqlite3_column_count(st); i++) {
			if (out.len > 0)
				buf_add_byte(&out, ' ');
			if (sqlite3_column_type(st, i) == SQLITE_NULL)
				buf_add_byte(&out, '~');
			else
				buf_add_span(&out, db_span(st, i));
		}
	ck_assert(sqlite3_finalize(st) == SQLITE_OK);
	return buf_cstr(&out);
}

/* --- the event --- */

/*
 * The last event of the log in short: "update issues td-1: title, updated_at" with
 * the members of new_data that are not in previous_data, or not the same. That
 * both are whole rows, or there is nothing before, is asserted.
 */
static const char *
last_event(void)
{
	static struct buf out;
	struct span new, old, key, value, before, name;
	struct json_iter it;
	struct event ev;
	int n_new = 0, n_old = 0;

	buf_reset(&out);
	must(events_get(events, head(), &ev, &err));
	ck_assert(span_is(ev.user, "u_me") && span_is(ev.device, "web") && ev.action_id == 0);
	ck_assert(span_is(ev.time, NOW) && !ev.by_server && !ev.parked);
	buf_addf(&out, "%s %.*s %.*s:", action_name(ev.action), (int)ev.type.len, ev.type.p,
	         (int)ev.id.len, ev.id.p);
	ck_assert(json_get(ev.payload, "schema_version", &value) && span_is(value, "1"));
	ck_assert(json_get(ev.payload, "new_data", &new) &&
	          json_get(ev.payload, "previous_data", &old));
	ck_assert(json_get(new, "id", &value) && json_type(value) == JSON_STRING);
	json_iter_init(&it, old);
	while (json_next(&it, &key, &value))
		n_old++;
	json_iter_init(&it, new);
	for (; json_next(&it, &key, &value); n_new++) {
		name = (struct span){ key.p + 1, key.len - 2 };
		if (json_get(old, strndupa(name.p, name.len), &before) && json_equal(before, value))
			continue;
		buf_addf(&out, " %.*s", (int)name.len, name.p);
	}
	ck_assert(n_old == (ev.action == ACTION_CREATE ? 0 : n_new));
	events_got(events);
	return buf_cstr(&out);
}

/* A member of the last event's new_data (or another row), as JSON. */
static const char *
last_value(const char *row, const char *name)
{
	static struct buf out;
	struct span object, value;
	struct event ev;

	buf_reset(&out);
	must(events_get(events, head(), &ev, &err));
	ck_assert(json_get(ev.payload, row, &object) && json_get(object, name, &value));
	buf_add_span(&out, value);
	events_got(events);
	return buf_cstr(&out);
}

/* --- kinds, and what became of the row since --- */

#define ISSUE \
	"A create issues td-1 {'new_data':{'title':'One','points':3,'labels':['x','y']}}"
#define UPDATE(who, before, after) \
	who " update issues td-1 {'previous_data':{" before "},'new_data':{" after "}}"
#define BOARD "A create boards bd-1 {'new_data':{'name':'B'}}"
#define POSITION \
	"A create board_issue_positions bip_1 {'new_data':{'board_id':'bd-1','issue_id':'td-1'," \
	"'position':7}}"
#define EDGE(who, id, from, to) \
	who " create issue_dependencies " id " {'new_data':{'issue_id':'" from "'," \
	"'depends_on_id':'" to "'}}"

static const struct {
	const char *what;
	const char *steps[10];
	const char *id;
	enum rc want;
	const char *says;  /* the event in short; or what the sentence holds */
	const char *sql, *row; /* what the state holds then; NULL: nothing is asked */
} rows[] = {
	{ "a field",
	  { ISSUE, UPDATE("A", "'title':'One'", "'title':'Two'"),
	    UPDATE("B", "'title':'One'", "'title':'Three'") },
	  "3-1", RC_OK, "update issues td-1: title updated_at",
	  "SELECT title, points, labels, updated_at FROM issues", "Two 3 x,y " NOW },
	{ "a field that others have changed since",
	  { ISSUE, UPDATE("A", "'title':'One'", "'title':'Two'"),
	    UPDATE("B", "'title':'One'", "'title':'Three'"),
	    UPDATE("C", "'title':'Three','points':3", "'title':'Four','points':5") },
	  "3-1", RC_OK, "update issues td-1: title updated_at",
	  "SELECT title, points FROM issues", "Two 5" },
	{ "two fields, of which one is back",
	  { ISSUE, UPDATE("A", "'title':'One','points':3", "'title':'Two','points':4"),
	    UPDATE("B", "'title':'One','points':3", "'title':'Three','points':5"),
	    UPDATE("C", "'points':5", "'points':4") },
	  "3-1", RC_OK, "update issues td-1: title updated_at",
	  "SELECT title, points FROM issues", "Two 4" },
	{ "a field that is back",
	  { ISSUE, UPDATE("A", "'title':'One'", "'title':'Two'"),
	    UPDATE("B", "'title':'One'", "'title':'Three'"),
	    UPDATE("C", "'title':'Three'", "'title':'Two'") },
	  "3-1", RC_CONFLICT, "stand there already", NULL, NULL },
	{ "a field of a row that is deleted now",
	  { ISSUE, UPDATE("A", "'title':'One'", "'title':'Two'"),
	    UPDATE("B", "'title':'One'", "'title':'Three'"),
	    "B soft_delete issues td-1 {'new_data':{},'previous_data':{'title':'Three'}}" },
	  "3-1", RC_OK, "update issues td-1: title updated_at",
	  "SELECT title, deleted_at IS NULL FROM issues", "Two 0" },
	{ "a field of a row that is gone",
	  { ISSUE, UPDATE("A", "'title':'One'", "'title':'Two'"),
	    UPDATE("B", "'title':'One'", "'title':'Three'"),
	    "B delete issues td-1 {'new_data':{},'previous_data':{'title':'Three'}}" },
	  "3-1", RC_CONFLICT, "The row is gone", NULL, NULL },
	{ "a field whose value the table does not take any more",
	  { ISSUE, UPDATE("A", "'title':'One'", "'title':'Two'"),
	    UPDATE("B", "'title':'One'", "'title':null") },
	  "3-1", RC_NOT_FOUND, "no such conflict", NULL, NULL },
	{ "a time, in which spelling ever",
	  { ISSUE,
	    UPDATE("A", "'status':'open'", "'status':'closed','closed_at':'2026-01-02 03:04:05.5 +0100 CET'"),
	    UPDATE("B", "'status':'open','closed_at':null", "'status':'in_review','closed_at':'2026-01-09T00:00:00Z'") },
	  "3-1", RC_OK, "update issues td-1: status updated_at closed_at",
	  "SELECT status, closed_at FROM issues", "closed 2026-01-02T03:04:05.5+01:00" },
	{ "text that JSON escapes, and a list",
	  { ISSUE,
	    UPDATE("A", "'description':''", "'description':'\\u003c\\\\\\n\\u00fc','labels':['p','q']"),
	    UPDATE("B", "'description':'','labels':['x','y']", "'description':'b','labels':['z']") },
	  "3-1", RC_OK, "update issues td-1: description labels updated_at",
	  "SELECT description = '<\\' || char(10) || 'ü', labels FROM issues", "1 p,q" },
	{ "a whole row over a whole row",
	  { ISSUE, "B create issues td-1 {'new_data':{'title':'Other','priority':'P1'}}" },
	  "2-1", RC_OK, "update issues td-1: title points labels updated_at",
	  "SELECT title, points, labels, priority FROM issues", "One 3 x,y P1" },
	{ "an edit that was deleted",
	  { ISSUE, UPDATE("A", "'title':'One'", "'title':'Two'"),
	    "B soft_delete issues td-1 {'new_data':{},'previous_data':{'title':'One'}}" },
	  "3-1", RC_OK, "restore issues td-1: updated_at deleted_at",
	  "SELECT title, deleted_at, updated_at FROM issues",
	  "Two ~ 2026-03-01 10:00:00.123456+00:00" },
	{ "an edit that was deleted, and restored by others",
	  { ISSUE, UPDATE("A", "'title':'One'", "'title':'Two'"),
	    "B soft_delete issues td-1 {'new_data':{},'previous_data':{'title':'One'}}",
	    "C restore issues td-1 {'new_data':{'title':'Two'}}" },
	  "3-1", RC_CONFLICT, "stand there already", NULL, NULL },
	{ "an edit that was deleted, restored and edited by others",
	  { ISSUE, UPDATE("A", "'title':'One'", "'title':'Two'"),
	    "B soft_delete issues td-1 {'new_data':{},'previous_data':{'title':'One'}}",
	    "C restore issues td-1 {'new_data':{'title':'Two'}}",
	    UPDATE("C", "'title':'Two'", "'title':'Three'") },
	  "3-1", RC_OK, "update issues td-1: title updated_at",
	  "SELECT title, deleted_at FROM issues", "Two ~" },
	{ "an edit that was deleted, and the row removed since",
	  { ISSUE, UPDATE("A", "'title':'One'", "'title':'Two'"),
	    "B soft_delete issues td-1 {'new_data':{},'previous_data':{'title':'One'}}",
	    "B delete issues td-1 {'new_data':{}}" },
	  "3-1", RC_CONFLICT, "The row is gone", NULL, NULL },
	{ "an edit of a row that was removed",
	  { ISSUE, UPDATE("A", "'title':'One'", "'title':'Two'"),
	    "B delete issues td-1 {'new_data':{},'previous_data':{'title':'One','points':3}}" },
	  "3-1", RC_OK, "create issues td-1: id title points labels created_at updated_at",
	  "SELECT title, points, labels, status, updated_at FROM issues",
	  "Two 3 x,y open " NOW },
	{ "an edit of a deleted row",
	  { ISSUE, "A soft_delete issues td-1 {'new_data':{},'previous_data':{'title':'One'}}",
	    UPDATE("B", "'title':'One'", "'title':'Two'") },
	  "3-1", RC_OK, "restore issues td-1: updated_at deleted_at",
	  "SELECT title, deleted_at FROM issues", "Two ~" },
	{ "an edit of a row that is not there",
	  { ISSUE, "A delete issues td-1 {'new_data':{},'previous_data':{'title':'One'}}",
	    UPDATE("B", "'title':'One','points':3", "'title':'Two','points':3") },
	  "3-1", RC_OK, "create issues td-1: id title points created_at updated_at",
	  "SELECT title, points, status FROM issues", "Two 3 open" },
	{ "an edit of a deleted row that was removed since",
	  { ISSUE, "A soft_delete issues td-1 {'new_data':{},'previous_data':{'title':'One'}}",
	    UPDATE("B", "'title':'One','points':3", "'title':'Two','points':3"),
	    "A delete issues td-1 {'new_data':{}}" },
	  "3-1", RC_OK, "create issues td-1: id title points created_at updated_at",
	  "SELECT title, points, status FROM issues", "Two 3 open" },
	{ "an edit that would not make a row",
	  { ISSUE, "A delete issues td-1 {'new_data':{},'previous_data':{'title':'One'}}",
	    UPDATE("B", "'points':3", "'points':4") },
	  "3-1", RC_CONFLICT, "can't be put back: constraint failed", NULL, NULL },
	{ "a row that went with its board, which is gone",
	  { ISSUE, BOARD, POSITION, "B delete boards bd-1 {'new_data':{}}" },
	  "4-1", RC_CONFLICT, "What it belonged to is gone (board_id references missing "
	  "boards/bd-1)", NULL, NULL },
	{ "a row that went with its board, which is back",
	  { ISSUE, BOARD, POSITION, "B delete boards bd-1 {'new_data':{}}", BOARD },
	  "4-1", RC_OK, "create board_issue_positions bip_1: id board_id issue_id position added_at",
	  "SELECT board_id, issue_id, position FROM board_issue_positions", "bd-1 td-1 7" },
	{ "a row that went with its board, and is back, elsewhere",
	  { ISSUE, BOARD, POSITION, "B delete boards bd-1 {'new_data':{}}", BOARD,
	    "C create board_issue_positions bip_1 {'new_data':{'board_id':'bd-1','issue_id':"
	    "'td-1','position':9}}" },
	  "4-1", RC_OK, "update board_issue_positions bip_1: position added_at",
	  "SELECT position FROM board_issue_positions", "7" },
	{ "the same, deleted since: by no restore, which no td could apply",
	  { ISSUE, BOARD, POSITION, "B delete boards bd-1 {'new_data':{}}", BOARD, POSITION,
	    "C soft_delete board_issue_positions bip_1 {'new_data':{}}" },
	  "4-1", RC_OK, "update board_issue_positions bip_1: added_at deleted_at",
	  "SELECT position, deleted_at FROM board_issue_positions", "7 ~" },
	{ "a row that was deleted when it went, and is back so, elsewhere",
	  { ISSUE, BOARD, POSITION, "A soft_delete board_issue_positions bip_1 {'new_data':{}}",
	    "B create boards bd-1 {'new_data':{'name':'C'}}",
	    "C create board_issue_positions bip_1 {'new_data':{'board_id':'bd-1','issue_id':'td-1',"
	    "'position':9,'added_at':'2026-01-01T00:00:03Z','deleted_at':'2026-01-01T00:00:04Z'}}" },
	  "5-2", RC_OK, "update board_issue_positions bip_1: position",
	  "SELECT position, deleted_at IS NULL FROM board_issue_positions", "7 0" },
	{ "a row that was deleted when it went, and is back so",
	  { ISSUE, BOARD, POSITION, "A soft_delete board_issue_positions bip_1 {'new_data':{}}",
	    "B create boards bd-1 {'new_data':{'name':'C'}}",
	    "C create board_issue_positions bip_1 {'new_data':{'board_id':'bd-1','issue_id':'td-1',"
	    "'position':7,'added_at':'2026-01-01T00:00:03Z','deleted_at':'2026-01-01T00:00:04Z'}}" },
	  "5-2", RC_CONFLICT, "stand there already", NULL, NULL },
	{ "a row whose place another one has",
	  { ISSUE, BOARD, POSITION,
	    "B create board_issue_positions bip_2 {'new_data':{'board_id':'bd-1','issue_id':"
	    "'td-1','position':9}}" },
	  "4-1", RC_CONFLICT, "Another row has its place, and would be lost: "
	  "board_issue_positions/bip_2", NULL, NULL },
	{ "a row that came when its board was gone, which is back",
	  { ISSUE, BOARD, "A delete boards bd-1 {'new_data':{}}",
	    "B create board_issue_positions bip_1 {'new_data':{'board_id':'bd-1','issue_id':"
	    "'td-1','position':9}}", BOARD },
	  "4-1", RC_OK, "create board_issue_positions bip_1: id board_id issue_id position added_at",
	  "SELECT position, added_at FROM board_issue_positions", "9 " NOW },
	{ "an empty text where there must be one",
	  { ISSUE, "A create comments cm-1 {'new_data':{'issue_id':'td-1','session_id':'s','text':"
	    "'','created_at':'2026-01-01T00:00:00Z'}}",
	    "B delete issues td-1 {'new_data':{},'previous_data':{'title':'One','points':3}}",
	    ISSUE },
	  "3-2", RC_OK, "create comments cm-1: id issue_id session_id text created_at",
	  "SELECT issue_id, session_id, length(text) FROM comments", "td-1 s 0" },
	{ "an edge that would close a cycle again",
	  { ISSUE, "A create issues td-2 {'new_data':{'title':'Two'}}",
	    EDGE("A", "dep_1", "td-1", "td-2"), EDGE("B", "dep_2", "td-2", "td-1") },
	  "4-1", RC_CONFLICT, "would close a cycle again", NULL, NULL },
	{ "an edge that would close none any more",
	  { ISSUE, "A create issues td-2 {'new_data':{'title':'Two'}}",
	    EDGE("A", "dep_1", "td-1", "td-2"), EDGE("B", "dep_2", "td-2", "td-1"),
	    "A delete issue_dependencies dep_1 {'new_data':{}}" },
	  "4-1", RC_OK, "create issue_dependencies dep_2: id issue_id depends_on_id",
	  "SELECT issue_id, depends_on_id, relation_type FROM issue_dependencies",
	  "td-2 td-1 depends_on" },
	{ "an edge that was turned",
	  { ISSUE, "A create issues td-2 {'new_data':{'title':'Two'}}",
	    EDGE("A", "dep_2", "td-2", "td-1"), EDGE("B", "dep_1", "td-1", "td-2") },
	  "4-1", RC_CONFLICT, "would close a cycle again", NULL, NULL },
	{ "the second of an event's", 
	  { ISSUE, "A create issues td-2 {'new_data':{'title':'Two'}}", BOARD, POSITION,
	    "A create board_issue_positions bip_2 {'new_data':{'board_id':'bd-1','issue_id':"
	    "'td-2','position':8}}", "B delete boards bd-1 {'new_data':{}}", BOARD },
	  "6-2", RC_OK, "create board_issue_positions bip_2: id board_id issue_id position added_at",
	  "SELECT id, position FROM board_issue_positions", "bip_2 8" },
	{ "the third of an event's two",
	  { ISSUE, BOARD, POSITION, "B delete boards bd-1 {'new_data':{}}", BOARD },
	  "4-3", RC_NOT_FOUND, "no such conflict", NULL, NULL },
	{ "of an event that is not there",
	  { ISSUE }, "9-1", RC_NOT_FOUND, "no such conflict", NULL, NULL },
	{ "notes have times that are text",
	  { "A create notes nt-1 {'new_data':{'title':'T','content':'One','created_at':"
	    "'2026-01-01T00:00:00Z','updated_at':'2026-01-01T00:00:00Z'}}",
	    "A update notes nt-1 {'previous_data':{'content':'One'},'new_data':{'content':'Two'}}",
	    "B soft_delete notes nt-1 {'new_data':{},'previous_data':{'content':'One'}}" },
	  "3-1", RC_OK, "restore notes nt-1: updated_at deleted_at",
	  "SELECT content, deleted_at FROM notes", "Two ~" },
};
#define N_ROWS (int)(sizeof(rows) / sizeof(*rows))

static enum rc
count_conflict(void *ctx, const struct state_conflict *c, bool *stop, struct err *e)
{
	(void)c;
	(void)stop;
	(void)e;
	++*(int *)ctx;
	return RC_OK;
}

static int
conflicts_after(int64_t seq)
{
	int n = 0;

	must(state_hold(follower_state(follower), events, &err));
	must(state_walk_conflicts(follower_state(follower), seq, count_conflict, &n, &err));
	state_let_go(follower_state(follower));
	return n;
}

START_TEST(each_kind)
{
	int64_t before;
	char want[128];

	for (int i = 0; i < 10 && rows[_i].steps[i] != NULL; i++)
		step_append(events, rows[_i].steps[i]);
	before = head();
	ck_assert_msg(restore(rows[_i].id) == rows[_i].want, "%s: %s", rows[_i].what, err.text);
	if (rows[_i].want != RC_OK) {
		ck_assert_msg(strstr(err.text, rows[_i].says) != NULL, "%s: %s", rows[_i].what,
		              err.text);
		ck_assert_int_eq(head(), before);
		ck_assert_uint_eq(answer.len, 0);
		follow(); /* the trial left nothing behind */
		ck_assert_str_eq(query("SELECT seq FROM tdsync_state"),
		                 query("SELECT max(seq) FROM tdsync_version"));
		return;
	}
	ck_assert_int_eq(head(), before + 1);
	ck_assert_msg(strcmp(last_event(), rows[_i].says) == 0, "%s: %s", rows[_i].what,
	              last_event());
	snprintf(want, sizeof(want), "{\"server_seq\":%" PRId64 ",\"entity_type\":\"", head());
	ck_assert_int_eq(strncmp(buf_cstr(&answer), want, strlen(want)), 0);
	follow();
	ck_assert_msg(strcmp(query(rows[_i].sql), rows[_i].row) == 0, "%s: %s", rows[_i].what,
	              query(rows[_i].sql));
	/* It knew all that it wrote over: nothing more is lost by it. */
	ck_assert_int_eq(conflicts_after(before), 0);
	/* And it was all there was to do. */
	ck_assert_int_eq(restore(rows[_i].id), RC_CONFLICT);
	ck_assert_ptr_nonnull(strstr(err.text, "stand there already"));
	ck_assert_int_eq(head(), before + 1);
}
END_TEST

/* --- its payload --- */

START_TEST(it_says_which_conflict_it_put_back)
{
	struct span value;
	struct event ev;

	step_append(events, ISSUE);
	step_append(events, UPDATE("A", "'title':'One'", "'title':'Two'"));
	step_append(events, UPDATE("B", "'title':'One'", "'title':'Three'"));
	must(restore("3-1"));
	ck_assert_str_eq(buf_cstr(&answer), "{\"server_seq\":4,\"entity_type\":\"issues\","
	                 "\"entity_id\":\"td-1\",\"action_type\":\"update\"}\n");
	must(events_get(events, 4, &ev, &err));
	ck_assert(json_get(ev.payload, "restored_conflict", &value) &&
	          json_string_is(value, "3-1"));
	events_got(events);
	/* Whole rows: booleans and numbers as stored, lists as text, times as td has them. */
	ck_assert_str_eq(last_value("new_data", "labels"), "\"x,y\"");
	ck_assert_str_eq(last_value("new_data", "minor"), "0");
	ck_assert_str_eq(last_value("new_data", "closed_at"), "null");
	ck_assert_str_eq(last_value("new_data", "created_at"), "\"2026-01-01T00:00:01Z\"");
	ck_assert_str_eq(last_value("new_data", "updated_at"), "\"" NOW "\"");
	ck_assert_str_eq(last_value("previous_data", "updated_at"), "\"2026-01-01T00:00:01Z\"");
	ck_assert_str_eq(last_value("previous_data", "title"), "\"Three\"");
}
END_TEST

START_TEST(ids_of_conflicts_are_read_strictly)
{
	static const char *const bad[] = { "", "-", "1", "1-", "-1", "0-1", "1-0", "-1-1", "1-1-1",
	                                   "1--1", "1-1x", "x-1", "01-1", "1 -1", "1-+1",
	                                   "9223372036854775808-1", "1-2147483648", "1e3-1" };
	struct conflict_id id;
	char text[CONFLICT_ID_TEXT];

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ck_assert_msg(!conflict_id_parse(span_of(bad[i]), &id), "%s", bad[i]);
	ck_assert(conflict_id_parse(span_of("9223372036854775807-2147483647"), &id));
	ck_assert(id.seq == INT64_MAX && id.n == INT32_MAX);
	ck_assert_str_eq(conflict_id_text(id, text), "9223372036854775807-2147483647");
}
END_TEST

/* --- large ones --- */

/* Without a place for what is large a megabyte may be put back, and no more: as the
 * conflict lists it, or of the row that it goes into. */
START_TEST(what_is_large_needs_a_place)
{
	static const struct { int lost, now; enum rc want; } cases[] = {
		{ 500000, 500000, RC_OK }, { 1100000, 10, RC_TOO_LARGE },
		{ 10, 1100000, RC_TOO_LARGE },
	};
	struct restorer by = { span_of("u_me"), span_of("web"), span_of("s"), NOW_US };
	struct conflict_id id = { 3, 1 };
	struct buf text = { 0 };

	step_append(events, ISSUE);
	for (int i = 0; i < 2; i++) {
		buf_reset(&text);
		buf_addf(&text, "%s update issues td-1 {'previous_data':{'title':'One'},'new_data':"
		         "{'title':'", i == 0 ? "A" : "B");
		for (int k = 0; k < (i == 0 ? cases[_i].lost : cases[_i].now); k++)
			buf_add_byte(&text, (char)('a' + i));
		buf_add_str(&text, "'}}");
		step_append(events, buf_cstr(&text));
	}
	ck_assert_int_eq(restore_conflict(follower, events, id, &by, false,
	                                  clock_mono_ms() + 20000, &answer, &err),
	                 cases[_i].want);
	ck_assert_int_eq(head(), cases[_i].want == RC_OK ? 4 : 3);
	ck_assert_int_eq(restore("3-1"), cases[_i].want == RC_OK ? RC_CONFLICT : RC_OK);
	ck_assert_int_eq(head(), 4);
	buf_free(&text);
}
END_TEST

/* --- both locks --- */

/* Events that come while it waits are applied first: what it does is computed from
 * the head. */
START_TEST(it_is_computed_at_the_head_of_the_log)
{
	step_append(events, ISSUE);
	step_append(events, UPDATE("A", "'title':'One'", "'title':'Two'"));
	step_append(events, UPDATE("B", "'title':'One'", "'title':'Three'"));
	follow();
	step_append(events, UPDATE("C", "'title':'Three'", "'title':'Two'"));
	ck_assert_int_eq(restore("3-1"), RC_CONFLICT);
	ck_assert_ptr_nonnull(strstr(err.text, "stand there already"));
}
END_TEST

/* Without the state's lock, or the log's, nothing is done; in time. */
START_TEST(it_waits_for_both_locks_and_no_longer_than_it_may)
{
	static const char *const files[] = { STATE_LOCK, EVENTS_LOCK };
	struct restorer by = { span_of("u_me"), span_of("web"), span_of("s"), NOW_US };
	char path[TEMP_PATH + 64];
	struct lock *lock;
	int64_t start;

	step_append(events, ISSUE);
	step_append(events, UPDATE("A", "'title':'One'", "'title':'Two'"));
	step_append(events, UPDATE("B", "'title':'One'", "'title':'Three'"));
	follow();
	for (int i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "%s/%s", log_dir, files[i]);
		must(lock_open(path, &lock, &err));
		must(lock_take(lock, clock_mono_ms()));
		start = clock_mono_ms();
		ck_assert_int_eq(restore_conflict(follower, events, (struct conflict_id){ 3, 1 }, &by,
		                                  true, start + 300, &answer, &err), RC_BUSY);
		ck_assert_int_ge(clock_mono_ms() - start, 290);
		ck_assert_int_lt(clock_mono_ms() - start, 5000);
		lock_close(lock);
		ck_assert_int_eq(head(), 3);
	}
	must(restore("3-1"));
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("restore");
	TCase *t = tcase_create("restore");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 120);
	tcase_add_loop_test(t, each_kind, 0, N_ROWS);
	tcase_add_test(t, it_says_which_conflict_it_put_back);
	tcase_add_test(t, ids_of_conflicts_are_read_strictly);
	tcase_add_loop_test(t, what_is_large_needs_a_place, 0, 3);
	tcase_add_test(t, it_is_computed_at_the_head_of_the_log);
	tcase_add_test(t, it_waits_for_both_locks_and_no_longer_than_it_may);
	suite_add_tcase(s, t);
	runner = srunner_create(s);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
