/*
 * What the server answers (engine/heal.h): each cause; where nothing is to be said;
 * that an answer has none; what is left alone; kills and limits. What devices make of
 * it is the harness's business.
 * In payloads of the tables below ' stands for ".
 */
#include "engine/heal.h"

#include "engine/conflict.h"
#include "engine/verify.h"
#include "mishap.h"
#include "tests/recorded.h"
#include "tests/steps.h"
#include "tests/temp.h"

#include <check.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define NOW INT64_C(1767312000000000) /* 2026-01-02T00:00:00Z */

static char dir[TEMP_PATH], log_dir[TEMP_PATH + 16];
static struct events *events;
static struct follower *follower;
static struct err err;
static struct buf said;

static void
must(enum rc rc)
{
	ck_assert_msg(rc == RC_OK, "%s: %s", rc_name(rc), err.text);
}

static void
open_log(void)
{
	must(events_open(log_dir, &events, &err));
	must(follower_new(log_dir, &profile_td, &follower, &err));
}

static void
setup(void)
{
	temp_make(dir);
	snprintf(log_dir, sizeof(log_dir), "%s/p", dir);
	must(events_create(log_dir, "td", &err));
	open_log();
}

static void
teardown(void)
{
	mishap_none();
	follower_free(follower);
	events_close(events);
	buf_free(&said);
	temp_remove(dir);
}

static void
follow(void)
{
	int64_t end = clock_mono_ms() + 60000;

	must(follower_run(follower, events, &(struct follow_limits){ end, end, false }, &err));
}

static enum rc
heal_once(bool notes, bool *more)
{
	return heal_run(follower, events, &(struct heal_rules){ notes, NOW },
	                clock_mono_ms() + 20000, more, &err);
}

/* Until nothing is left to say. */
static void
heal(bool notes)
{
	bool more;

	follow();
	do
		must(heal_once(notes, &more));
	while (more);
}

static int64_t
head(void)
{
	struct events_head h;

	must(events_head(events, &h, &err));
	return h.seq;
}

/* "create issues/td-1 undone_create 3 NEW <- OLD", without the ids in the rows. */
static enum rc
add_said(void *ctx, const struct event *ev, bool *stop)
{
	static const char *const keys[] = { "cause_seq", "reason", "new_data", "previous_data" };
	struct span v[4];

	(void)ctx;
	(void)stop;
	if (!ev->by_server)
		return RC_OK;
	ck_assert(span_is(ev->device, "td-sync") && span_is(ev->session, "server"));
	json_pick(ev->payload, keys, 4, v);
	buf_addf(&said, "%s %.*s/%.*s %.*s %.*s", action_name(ev->action), (int)ev->type.len,
	         ev->type.p, (int)ev->id.len, ev->id.p, (int)v[1].len - 2, v[1].p + 1,
	         (int)v[0].len, v[0].p);
	if (v[2].len > 2)
		buf_addf(&said, " %.*s", (int)v[2].len, v[2].p);
	if (v[3].len > 2)
		buf_addf(&said, " <- %.*s", (int)v[3].len, v[3].p);
	buf_add_byte(&said, '\n');
	return RC_OK;
}

/* All that the server has said, with ' for ". */
static const char *
all_said(void)
{
	struct events_head h;

	buf_reset(&said);
	must(events_walk(events, 0, INT64_MAX, false, &h, add_said, NULL, &err));
	for (size_t i = 0; i < said.len; i++)
		if (said.p[i] == '"')
			said.p[i] = '\'';
	return said.len == 0 ? "" : buf_cstr(&said);
}

/* A state that is made anew is the same. */
static void
must_be_right(void)
{
	struct state_check check = { 0 };
	char scratch[TEMP_PATH + 16];

	snprintf(scratch, sizeof(scratch), "%s/again", dir);
	must(fs_mkdir(scratch, &err));
	must(verify_state(follower, events, scratch, 20000, &check, &err));
	ck_assert_msg(check.wrong.len == 0, "%.*s", (int)check.wrong.len, check.wrong.p);
	buf_free(&check.wrong);
	temp_remove(scratch);
}

#define TIMES "'created_at':'2026-01-01T00:00:00Z','updated_at':'2026-01-01T00:00:00Z'"
#define ISSUE(id) "A create issues " id " {'new_data':{'title':'T'," TIMES "}}"
#define BOARD "A create boards bd-1 {'new_data':{'name':'B'," TIMES "}}"
#define PLACE(n) "A create board_issue_positions bip_" n " {'new_data':{'board_id':'bd-1'," \
	"'issue_id':'td-" n "','position':" n "}}"
#define EDGE(who, id, from, to) who " create issue_dependencies " id " {'new_data':{" \
	"'issue_id':'" from "','depends_on_id':'" to "','relation_type':'depends_on'}}"

static const struct {
	const char *name;
	const char *log[12];
	const char *says;
} cases[] = {
	{ "nothing", { ISSUE("td-1"), "A update issues td-1 {'new_data':{'title':'U'},"
	               "'previous_data':{'title':'T'}}" }, "" },
	{ "an undone create that is deleted",
	  { "A soft_delete issues td-1 {'previous_data':{'title':'T'," TIMES "}}" },
	  "create issues/td-1 undone_create 1 {'id':'td-1','title':'T',"
	  "'created_at':'2026-01-01T00:00:00Z','updated_at':'2026-01-01T00:00:01Z',"
	  "'deleted_at':'2026-01-01T00:00:01Z'}\n" },
	{ "and restored",
	  { "A soft_delete issues td-1 {'previous_data':{'title':'T'," TIMES "}}",
	    "A restore issues td-1 {'new_data':{'title':'T'," TIMES "}}" },
	  "create issues/td-1 undone_create 1 {'id':'td-1','title':'T',"
	  "'created_at':'2026-01-01T00:00:00Z','updated_at':'2026-01-01T00:00:02Z'}\n" },
	{ "an undone create that is edited, with what hung on it",
	  { "A create comments cm-1 {'new_data':{'issue_id':'td-1','session_id':'s','text':'c'}}",
	    "A update issues td-1 {'new_data':{'title':'U'," TIMES "},'previous_data':{'title':'T'}}" },
	  "create issues/td-1 undone_create 2 {'id':'td-1','title':'U',"
	  "'created_at':'2026-01-01T00:00:00Z','updated_at':'2026-01-01T00:00:00Z'}\n"
	  "create comments/cm-1 undone_create 2 {'id':'cm-1','issue_id':'td-1','session_id':'s',"
	  "'text':'c','created_at':'2026-01-01T00:00:01Z'}\n" },
	{ "an undone create that says nothing of the row",
	  { "A soft_delete issues td-1 {}" }, "delete issues/td-1 undone_create 1\n" },
	{ "an undone create that is restored, which says what it saw",
	  { "A restore issues td-1 {'new_data':{},'previous_data':{'title':'T'," TIMES "}}" },
	  "create issues/td-1 undone_create 1 {'id':'td-1','title':'T',"
	  "'created_at':'2026-01-01T00:00:00Z','updated_at':'2026-01-01T00:00:01Z'}\n" },
	{ "two undone creates, the child's first",
	  { BOARD, "A soft_delete board_issue_positions bip_1 {'new_data':{},'previous_data':{"
	    "'board_id':'bd-1','issue_id':'td-1','position':1}}",
	    "A soft_delete issues td-1 {'new_data':{},'previous_data':{'title':'T'," TIMES "}}" },
	  "create issues/td-1 undone_create 3 {'id':'td-1','title':'T',"
	  "'created_at':'2026-01-01T00:00:00Z','updated_at':'2026-01-01T00:00:03Z',"
	  "'deleted_at':'2026-01-01T00:00:03Z'}\n"
	  "create board_issue_positions/bip_1 undone_create 3 {'id':'bip_1','board_id':'bd-1',"
	  "'issue_id':'td-1','position':1,'added_at':'2026-01-01T00:00:02Z',"
	  "'deleted_at':'2026-01-01T00:00:02Z'}\n" },
	{ "a child that was made and hidden before its parent, and when it was made",
	  { BOARD, "A create board_issue_positions bip_1 {'new_data':{'board_id':'bd-1',"
	    "'issue_id':'td-1','position':1,'added_at':'2025-12-31T00:00:00.5Z'}}",
	    "A soft_delete board_issue_positions bip_1 {'new_data':{},'previous_data':{"
	    "'board_id':'bd-1','issue_id':'td-1','position':1}}", ISSUE("td-1") },
	  "create board_issue_positions/bip_1 undone_create 2 {'id':'bip_1','board_id':'bd-1',"
	  "'issue_id':'td-1','position':1,'added_at':'2025-12-31T00:00:00.5Z',"
	  "'deleted_at':'2026-01-01T00:00:03Z'}\n" },
	{ "an undone create, and the row is gone at its author's",
	  { "A update issues td-1 {'new_data':{'title':'U'," TIMES "},'previous_data':{'title':'T'}}",
	    "A delete issues td-1 {}" }, "" },
	{ "an edit of what somebody deleted for good",
	  { ISSUE("td-1"), "A delete issues td-1 {}", "B update issues td-1 {'new_data':{'title':'U'},"
	    "'previous_data':{'title':'T'}}" }, "" },
	{ "a create that comes after its edit",
	  { "A update issues td-1 {'new_data':{'title':'U'," TIMES "},'previous_data':{'title':'T'}}",
	    ISSUE("td-1") }, "" },
	{ "a create that comes after what hangs on it",
	  { "A create comments cm-1 {'new_data':{'issue_id':'td-1','session_id':'s','text':'c'}}",
	    "A create issue_reviews rv-1 {'new_data':{'issue_id':'td-1','reviewer_session':'s',"
	    "'decision':'approved'}}", ISSUE("td-1") },
	  "create comments/cm-1 undone_create 1 {'id':'cm-1','issue_id':'td-1','session_id':'s',"
	  "'text':'c','created_at':'2026-01-01T00:00:01Z'}\n"
	  "create issue_reviews/rv-1 undone_create 2 {'id':'rv-1','issue_id':'td-1',"
	  "'reviewer_session':'s','decision':'approved','created_at':'2026-01-01T00:00:02Z'}\n" },
	{ "the undo of a handoff",
	  { ISSUE("td-1"), "A create handoffs ho-1 {'new_data':{'issue_id':'td-1','session_id':'s'}}",
	    "A soft_delete handoffs ho-1 {'previous_data':{'issue_id':'td-1','session_id':'s'}}" },
	  "delete handoffs/ho-1 no_such_column 3\n" },
	{ "the undo of a board's deletion",
	  { BOARD, "A delete boards bd-1 {}", "A restore boards bd-1 {'new_data':{'name':'B'," TIMES "}}" },
	  "create boards/bd-1 no_such_column 3 {'id':'bd-1','name':'B',"
	  "'created_at':'2026-01-01T00:00:00Z','updated_at':'2026-01-01T00:00:03Z'}\n" },
	{ "the undo of a board's deletion that was not sent",
	  { BOARD, ISSUE("td-1"), ISSUE("td-2"), PLACE("1"), PLACE("2"),
	    "B restore boards bd-1 {'new_data':{'name':'B'," TIMES "}}" },
	  "create board_issue_positions/bip_1 no_such_column 6 {'id':'bip_1','board_id':'bd-1',"
	  "'issue_id':'td-1','position':1,'added_at':'2026-01-01T00:00:04Z','deleted_at':null}\n"
	  "create board_issue_positions/bip_2 no_such_column 6 {'id':'bip_2','board_id':'bd-1',"
	  "'issue_id':'td-2','position':2,'added_at':'2026-01-01T00:00:05Z','deleted_at':null}\n" },
	{ "the undo of a board's deletion, which says nothing of the row",
	  { BOARD, "A delete boards bd-1 {}", "A restore boards bd-1 {}" },
	  "create boards/bd-1 no_such_column 3 {'id':'bd-1','name':'B',"
	  "'created_at':'2026-01-01T00:00:00Z','updated_at':'2026-01-01T00:00:03Z'}\n" },
	{ "a soft delete",
	  { "A create notes nt-1 {'new_data':{'title':'T','content':'C'," TIMES "}}",
	    "A soft_delete notes nt-1 {}" },
	  "update notes/nt-1 updated_at 2 {'id':'nt-1','title':'T','content':'C',"
	  "'created_at':'2026-01-01T00:00:00Z','updated_at':'2026-01-01T00:00:02Z','pinned':0,"
	  "'archived':0,'deleted_at':'2026-01-01 00:00:02+00:00'} <- {'id':'nt-1','title':'T',"
	  "'content':'C','created_at':'2026-01-01T00:00:00Z','updated_at':'2026-01-01T00:00:00Z',"
	  "'pinned':0,'archived':0,'deleted_at':'2026-01-01 00:00:02+00:00'}\n" },
	{ "a soft delete, and an edit after it",
	  { ISSUE("td-1"), "A soft_delete issues td-1 {}",
	    "A update issues td-1 {'new_data':{'title':'U','updated_at':'2026-01-01T00:00:03Z'},"
	    "'previous_data':{'title':'T','updated_at':'2026-01-01T00:00:02Z'}}" }, "" },
	{ "a soft delete, and a restore",
	  { ISSUE("td-1"), "A soft_delete issues td-1 {}", "A restore issues td-1 {}" }, "" },
	{ "an edit of a board", { BOARD, ISSUE("td-1"), ISSUE("td-2"), PLACE("1"), PLACE("2"),
	  "A create boards bd-1 {'new_data':{'name':'C'," TIMES "}}" },
	  "create board_issue_positions/bip_1 cascade 6 {'id':'bip_1','board_id':'bd-1',"
	  "'issue_id':'td-1','position':1,'added_at':'2026-01-01T00:00:04Z'}\n"
	  "create board_issue_positions/bip_2 cascade 6 {'id':'bip_2','board_id':'bd-1',"
	  "'issue_id':'td-2','position':2,'added_at':'2026-01-01T00:00:05Z'}\n" },
	{ "an edit of a board, and one who puts an issue there again",
	  { BOARD, ISSUE("td-1"), ISSUE("td-2"), PLACE("1"), PLACE("2"),
	    "A create boards bd-1 {'new_data':{'name':'C'," TIMES "}}", PLACE("1"),
	    "A delete board_issue_positions bip_2 {}" }, "" },
	{ "an edit of a board that is deleted then",
	  { BOARD, ISSUE("td-1"), PLACE("1"), "A create boards bd-1 {'new_data':{'name':'C'," TIMES "}}",
	    "A delete boards bd-1 {}" }, "" },
	{ "a hard delete means what goes with it",
	  { BOARD, ISSUE("td-1"), PLACE("1"), "B delete boards bd-1 {}" }, "" },
	{ "a cycle of two: who had taken the first away has the second",
	  { ISSUE("a"), ISSUE("b"), EDGE("A", "d1", "a", "b"), EDGE("B", "d2", "b", "a") },
	  "delete issue_dependencies/d2 cycle 4\n" },
	{ "a cycle of two, and the first goes before that is said",
	  { ISSUE("a"), ISSUE("b"), EDGE("A", "d1", "a", "b"), EDGE("B", "d2", "b", "a"),
	    "C delete issue_dependencies d1 {}" }, "delete issue_dependencies/d2 cycle 4\n" },
	{ "a cycle of two, turned", { ISSUE("a"), ISSUE("b"), EDGE("A", "d2", "b", "a"),
	  EDGE("B", "d1", "a", "b") }, "" },
	{ "a cycle of three that does not close",
	  { ISSUE("a"), ISSUE("b"), ISSUE("c"), EDGE("A", "d1", "a", "b"), EDGE("A", "d2", "b", "c"),
	    EDGE("B", "d3", "c", "a") },
	  "delete issue_dependencies/d3 cycle 6\n"
	  "create issue_dependencies/d1 cycle 6 {'id':'d1','issue_id':'a','depends_on_id':'b',"
	  "'relation_type':'depends_on'}\n"
	  "create issue_dependencies/d2 cycle 6 {'id':'d2','issue_id':'b','depends_on_id':'c',"
	  "'relation_type':'depends_on'}\n" },
	{ "a cycle of three that closes",
	  { ISSUE("a"), ISSUE("b"), ISSUE("c"), EDGE("A", "d2", "b", "c"), EDGE("A", "d3", "c", "a"),
	    EDGE("B", "d1", "a", "b") },
	  "delete issue_dependencies/d1 cycle 6\n"
	  "create issue_dependencies/d2 cycle 6 {'id':'d2','issue_id':'b','depends_on_id':'c',"
	  "'relation_type':'depends_on'}\n"
	  "create issue_dependencies/d3 cycle 6 {'id':'d3','issue_id':'c','depends_on_id':'a',"
	  "'relation_type':'depends_on'}\n" },
	{ "a cycle of three that does not close, and is open by then",
	  { ISSUE("a"), ISSUE("b"), ISSUE("c"), EDGE("A", "d1", "a", "b"), EDGE("A", "d2", "b", "c"),
	    EDGE("B", "d3", "c", "a"), "A delete issue_dependencies d1 {}" },
	  "delete issue_dependencies/d3 cycle 6\n"
	  "create issue_dependencies/d2 cycle 6 {'id':'d2','issue_id':'b','depends_on_id':'c',"
	  "'relation_type':'depends_on'}\n" },
	{ "a cycle of three that closes, and is open by then",
	  { ISSUE("a"), ISSUE("b"), ISSUE("c"), EDGE("A", "d2", "b", "c"), EDGE("A", "d3", "c", "a"),
	    EDGE("B", "d1", "a", "b"), "A delete issue_dependencies d2 {}" },
	  "create issue_dependencies/d3 cycle 6 {'id':'d3','issue_id':'c','depends_on_id':'a',"
	  "'relation_type':'depends_on'}\n" },
	{ "a cycle of three, and its author has opened it",
	  { ISSUE("a"), ISSUE("b"), ISSUE("c"), EDGE("A", "d1", "a", "b"), EDGE("A", "d2", "b", "c"),
	    EDGE("B", "d3", "c", "a"), "B delete issue_dependencies d3 {}" },
	  "create issue_dependencies/d1 cycle 6 {'id':'d1','issue_id':'a','depends_on_id':'b',"
	  "'relation_type':'depends_on'}\n"
	  "create issue_dependencies/d2 cycle 6 {'id':'d2','issue_id':'b','depends_on_id':'c',"
	  "'relation_type':'depends_on'}\n" },
	{ "a value that was written over",
	  { ISSUE("td-1"), "A update issues td-1 {'new_data':{'title':'Uno'},'previous_data':{'title':'T'}}",
	    "B update issues td-1 {'new_data':{'title':'Due'},'previous_data':{'title':'T'}}" },
	  "create logs/lg-* lost_value 3 {'id':'lg-*','issue_id':'td-1','session_id':'td-sync',"
	  "'message':'Written over by B in event 3, who had not seen title \\'Uno\\' by A in event 2"
	  " (td-sync conflict 3-1)','timestamp':'2026-01-02T00:00:00Z'}\n" },
	{ "a value that a delete took",
	  { ISSUE("td-1"), "A update issues td-1 {'new_data':{'title':'Uno','updated_at':'2026-01-01T00:00:02Z'},"
	    "'previous_data':{'title':'T','updated_at':'2026-01-01T00:00:00Z'}}",
	    "B soft_delete issues td-1 {'previous_data':{'title':'T'," TIMES "}}",
	    "B update issues td-1 {'new_data':{'updated_at':'2026-01-01T00:00:09Z'},"
	    "'previous_data':{'updated_at':'2026-01-01T00:00:02Z'}}" },
	  "create logs/lg-* lost_value 3 {'id':'lg-*','issue_id':'td-1','session_id':'td-sync',"
	  "'message':'Deleted by B in event 3, who had not seen title \\'Uno\\' by A in event 2"
	  " (td-sync conflict 3-1)','timestamp':'2026-01-02T00:00:00Z'}\n" },
	{ "a value that an uncertain write took",
	  { ISSUE("td-1"), "A update issues td-1 {'new_data':{'title':'Uno'},'previous_data':{'title':'T'}}",
	    "B create issues td-1 {'new_data':{'title':'Due'," TIMES "}}" }, "" },
};
#define CASES (sizeof(cases) / sizeof(cases[0]))

/* Ids of notes depend on the log's: "lg-*". */
static void
mask(struct buf *b)
{
	for (char *p; b->len > 0 && (p = strstr(b->p, "lg-")) != NULL && p[3] != '*';) {
		size_t rest = strlen(p + 11) + 1;

		p[0] = '\1'; /* found already */
		p[3] = '*';
		memmove(p + 4, p + 11, rest);
		b->len -= 7;
	}
	for (size_t i = 0; i < b->len; i++)
		if (b->p[i] == '\1')
			b->p[i] = 'l';
}

START_TEST(each_cause_is_answered)
{
	int64_t end;
	bool more;

	for (size_t i = 0; cases[_i].log[i] != NULL; i++)
		step_append(events, cases[_i].log[i]);
	heal(true);
	all_said();
	buf_cstr(&said);
	mask(&said);
	ck_assert_msg(strcmp(said.len == 0 ? "" : buf_cstr(&said), cases[_i].says) == 0,
	              "%s:\n%s", cases[_i].name, said.len == 0 ? "" : buf_cstr(&said));
	/* Nothing more is to be said, also where the state is made anew. */
	end = head();
	must_be_right();
	must(follower_rebuild(follower, events, clock_mono_ms() + 20000, &err));
	heal(true);
	must(heal_once(true, &more));
	ck_assert(!more);
	ck_assert_int_eq(head(), end);
}
END_TEST

/* Two cycles that share edges, the one's closing edge among the other's paths: both
 * are cut. */
START_TEST(cycles_that_share_edges_are_all_cut)
{
	static const char *const ids[] = { "a", "b", "c", "d", "f" };
	char text[160];

	for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
		snprintf(text, sizeof(text), "A create issues %s {'new_data':{'title':'T'," TIMES "}}",
		         ids[i]);
		step_append(events, text);
	}
	step_append(events, EDGE("A", "d1", "a", "f"));
	step_append(events, EDGE("A", "d2", "f", "c"));
	step_append(events, EDGE("A", "d3", "a", "b"));
	step_append(events, EDGE("A", "d4", "c", "d"));
	step_append(events, EDGE("A", "d5", "d", "b"));
	step_append(events, EDGE("B", "x", "c", "a")); /* 11: a, f, c */
	step_append(events, EDGE("C", "y", "b", "c")); /* 12: c, d, b; and a way from a to c */
	heal(true);
	ck_assert_ptr_nonnull(strstr(all_said(), "delete issue_dependencies/x cycle 11\n"));
	ck_assert_ptr_nonnull(strstr(buf_cstr(&said), "delete issue_dependencies/y cycle 12\n"));
	must_be_right();
}
END_TEST

static enum rc
count_cascades(void *ctx, const struct state_conflict *c, bool *stop, struct err *e)
{
	(void)stop;
	(void)e;
	*(int *)ctx += c->kind == CONFLICT_CASCADE;
	return RC_OK;
}

/* What the server deletes because somebody undid it may have others' work on it. */
START_TEST(what_goes_with_a_delete_of_the_server_is_recorded)
{
	int cascades = 0;

	step_append(events, BOARD);
	step_append(events, ISSUE("td-1"));
	step_append(events, "B create board_issue_positions bip_1 {'new_data':{'board_id':'bd-1',"
	            "'issue_id':'td-1','position':1}}");
	step_append(events, "A soft_delete boards bd-1 {'previous_data':{'name':'B'," TIMES "}}");
	heal(true);
	ck_assert_str_eq(all_said(), "delete boards/bd-1 no_such_column 4\n");
	must(state_hold(follower_state(follower), events, &err));
	must(state_walk_conflicts(follower_state(follower), 4, count_cascades, &cascades, &err));
	state_let_go(follower_state(follower));
	ck_assert_int_eq(cascades, 1);
	must_be_right();
}
END_TEST

/* A push is not refused because a state can't be read, nor does it end the worker. */
START_TEST(a_state_that_can_not_be_opened_knows_nothing)
{
	char command[TEMP_PATH * 4];
	int64_t end, seq;

	step_append(events, ISSUE("td-1"));
	follow();
	must(follower_open(follower, events, &err));
	must(follower_last(follower, span_of("issues"), span_of("td-1"), &seq, &err));
	ck_assert_int_eq(seq, 1);
	snprintf(command, sizeof(command), "rm '%s'/state.db*", log_dir);
	ck_assert_int_eq(system(command), 0);
	mishap_plan(1, EACCES, true, "state.db");
	end = clock_mono_ms() + 1000;
	step_append(events, ISSUE("td-2"));
	ck_assert_int_ne(follower_run(follower, events, &(struct follow_limits){ end, end, false },
	                              &err), RC_OK);
	ck_assert_int_ne(follower_open(follower, events, &err), RC_OK);
	must(follower_last(follower, span_of("issues"), span_of("td-1"), &seq, &err));
	ck_assert_int_eq(seq, 0);
	mishap_none();
	heal(true);
	must_be_right();
}
END_TEST

/* However often somebody edits a row that was deleted for good, it is not made again. */
START_TEST(an_edit_of_what_is_gone_may_come_a_thousand_times)
{
	step_append(events, ISSUE("td-1"));
	step_append(events, "A delete issues td-1 {}");
	step_append_times(events, "B update issues td-1 {'new_data':{'title':'U'," TIMES "},"
	                  "'previous_data':{'title':'T'," TIMES "}}", 1001);
	heal(true);
	ck_assert_str_eq(all_said(), "");
}
END_TEST

/* Each recorded history, whole: it settles at once, and is little. */
START_TEST(a_history_settles)
{
	static const char *const names[] = { "team", "conflicts", "autosync", "versions" };
	struct events_head h;
	int64_t end;

	teardown();
	temp_make(dir);
	snprintf(log_dir, sizeof(log_dir), "%s/p", dir);
	events = recorded_log(names[_i], log_dir, INT64_MAX);
	must(follower_new(log_dir, &profile_td, &follower, &err));
	must(events_head(events, &h, &err));
	heal(true);
	end = head();
	printf("%s: %lld events, %lld of the server's\n", names[_i], (long long)h.seq,
	       (long long)(end - h.seq));
	ck_assert_int_le(5 * (end - h.seq), h.seq);
	heal(true);
	ck_assert_int_eq(head(), end);
	must_be_right();
}
END_TEST

/* The same while it grows: healed after every few events, as it would have been. */
START_TEST(a_history_is_healed_as_it_grows)
{
	static const char *const names[] = { "team", "conflicts", "autosync", "versions" };
	struct buf text = { 0 }, scratch = { 0 };
	struct span rest, line;
	struct event ev;
	char path[128];
	int64_t seq, clients = 0, end;

	snprintf(path, sizeof(path), "replay/%s/log.jsonl", names[_i]);
	fixture_read(path, &text);
	rest = buf_span(&text);
	while (fixture_line(&rest, &line)) {
		must(page_event(line, &ev, &scratch, &err));
		ev.user = ev.device;
		must(events_begin(events, clock_mono_ms() + 3000, &err));
		must(events_append(events, &ev, &seq, &err));
		must(events_commit(events, &err));
		if (++clients % 7 == 0)
			heal(true);
	}
	heal(true);
	end = head();
	printf("%s, as it grows: %lld events, %lld of the server's\n", names[_i],
	       (long long)clients, (long long)(end - clients));
	ck_assert_int_le(5 * (end - clients), clients);
	heal(true);
	ck_assert_int_eq(head(), end);
	must_be_right();
	buf_free(&text);
	buf_free(&scratch);
}
END_TEST

/* --- who does not give in --- */

/* Append an event again and again; after each the server says at most so much. */
static void
insist(const char *const *what, size_t n, int64_t most)
{
	for (int i = 0; i < 20; i++) {
		int64_t before = head();

		step_append(events, what[(size_t)i % n]);
		heal(true);
		ck_assert_msg(head() - before <= 1 + most, "%s: %lld events", what[(size_t)i % n],
		              (long long)(head() - before));
		before = head();
		heal(true);
		ck_assert_int_eq(head(), before);
	}
	must_be_right();
}

START_TEST(a_client_that_fights_is_answered_once_each_time)
{
	step_append(events, ISSUE("a"));
	step_append(events, ISSUE("b"));
	step_append(events, ISSUE("c"));
	step_append(events, EDGE("A", "d1", "a", "b"));
	step_append(events, EDGE("A", "d2", "b", "c"));
	insist((const char *const[]){ EDGE("B", "d3", "c", "a"), EDGE("A", "d1", "a", "b"),
	                              EDGE("B", "d2", "b", "c") }, 3, 3);
	insist((const char *const[]){
		"B soft_delete issues td-9 {'previous_data':{'title':'T'," TIMES "}}",
		"B delete issues td-9 {}" }, 2, 1);
}
END_TEST

START_TEST(two_who_undo_each_other_are_answered_once_each_time)
{
	step_append(events, ISSUE("td-1"));
	insist((const char *const[]){ "A soft_delete issues td-1 {}", "B restore issues td-1 {}" },
	       2, 1);
	step_append(events, BOARD);
	insist((const char *const[]){ "A delete boards bd-1 {}",
	                              "B restore boards bd-1 {'new_data':{'name':'B'," TIMES "}}" },
	       2, 1);
}
END_TEST

/* --- what is left alone --- */

static const char *const soft_delete[] = { ISSUE("td-1"), "A soft_delete issues td-1 {}" };

static void
append_all(const char *const *log, size_t n)
{
	for (size_t i = 0; i < n; i++)
		step_append(events, log[i]);
}

START_TEST(what_is_older_than_healing_is_left_alone)
{
	int64_t from;

	append_all(soft_delete, 2);
	must(heal_off(events, clock_mono_ms() + 1000, &err));
	must(events_heal_from(events, &from, &err));
	ck_assert_int_eq(from, 0);
	append_all(soft_delete, 2);
	heal(true); /* switched on */
	must(events_heal_from(events, &from, &err));
	ck_assert_int_eq(from, 5);
	heal(true);
	ck_assert_str_eq(all_said(), "");
	append_all(soft_delete, 2);
	heal(true);
	ck_assert_ptr_nonnull(strstr(all_said(), "update issues/td-1 updated_at 6 "));
	ck_assert_int_eq(head(), 7);
}
END_TEST

/* One that was made before there was healing does not say from where on. */
START_TEST(a_log_that_knows_nothing_of_healing_begins_at_its_head)
{
	char path[TEMP_PATH + 32];
	int64_t from;
	sqlite3 *db;

	append_all(soft_delete, 2);
	snprintf(path, sizeof(path), "%s/events.db", log_dir);
	ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
	ck_assert_int_eq(sqlite3_exec(db, "DELETE FROM meta WHERE key = 'heal_from'", NULL, NULL,
	                              NULL), SQLITE_OK);
	sqlite3_close(db);
	heal(true);
	must(events_heal_from(events, &from, &err));
	ck_assert_int_eq(from, 3);
	append_all(soft_delete, 2);
	heal(true);
	ck_assert_int_eq(head(), 5);
	ck_assert_ptr_nonnull(strstr(all_said(), " updated_at 4 "));
}
END_TEST

START_TEST(without_notes_a_loss_is_not_told)
{
	bool more;

	append_all((const char *const[]){
		ISSUE("td-1"),
		"A update issues td-1 {'new_data':{'title':'Uno'},'previous_data':{'title':'T'}}",
		"B update issues td-1 {'new_data':{'title':'Due'},'previous_data':{'title':'T'}}" }, 3);
	heal(false);
	ck_assert_str_eq(all_said(), "");
	must(heal_once(true, &more)); /* too late */
	ck_assert_int_eq(head(), 3);
}
END_TEST

/* --- many, and ends --- */

#define MANY 10000

/* In transactions of some causes each, between which others may push. */
START_TEST(ten_thousand_at_once_are_answered_in_parts)
{
	char text[160];
	int64_t before;
	int rounds = 0;
	bool more = true;

	for (int i = 0; i < MANY; i++) {
		snprintf(text, sizeof(text), "A soft_delete issues td-%d {'previous_data':{'title':'T',"
		         TIMES "}}", i);
		step_append(events, text);
	}
	follow();
	while (more) {
		before = head();
		must(heal_once(true, &more));
		ck_assert_int_le(head() - before, 200);
		rounds++;
	}
	ck_assert_int_eq(head(), 2 * MANY);
	ck_assert_int_ge(rounds, MANY / 200);
	must_be_right();
}
END_TEST

/* Of a log that runs ahead of its state nothing is answered yet. */
START_TEST(a_busy_log_is_answered_later)
{
	bool more;

	append_all(soft_delete, 2);
	follow();
	step_append_times(events, "A delete notes nt-none {}", 201);
	must(heal_once(true, &more));
	ck_assert_int_eq(head(), 203);
	heal(true);
	ck_assert_int_eq(head(), 204);
}
END_TEST

/* At each of its writes; then the next one goes on, and says each once. */
START_TEST(a_kill_at_any_write_repeats_nothing)
{
	struct buf whole = { 0 };
	int status = 0, n = 0;
	pid_t pid;

	for (size_t i = 0; i < CASES; i++)
		if (strcmp(cases[i].name, "a cycle of three that does not close") == 0 ||
		    strcmp(cases[i].name, "an edit of a board") == 0)
			for (size_t k = 0; cases[i].log[k] != NULL; k++)
				step_append(events, cases[i].log[k]);
	append_all(soft_delete, 2);
	follow();
	follower_free(follower);
	events_close(events);
	do {
		char copy[TEMP_PATH * 4];

		snprintf(copy, sizeof(copy), "rm -rf '%s/k' && cp -a '%s' '%s/k'", dir, log_dir, dir);
		ck_assert_int_eq(system(copy), 0);
		snprintf(copy, sizeof(copy), "%s/k", dir);
		fflush(NULL);
		if ((pid = fork()) == 0) {
			bool more;

			if (events_open(copy, &events, &err) != RC_OK ||
			    follower_new(copy, &profile_td, &follower, &err) != RC_OK)
				_exit(2);
			follow();
			mishap_plan(n + 1, MISHAP_KILL, false, copy);
			do
				if (heal_once(true, &more) != RC_OK)
					_exit(3);
			while (more);
			_exit(0);
		}
		ck_assert_int_eq(waitpid(pid, &status, 0), pid);
		mishap_none();
		ck_assert_msg(WIFSIGNALED(status) || WEXITSTATUS(status) == 0, "%d at write %d", status,
		              n);
		must(events_open(copy, &events, &err));
		must(follower_new(copy, &profile_td, &follower, &err));
		heal(true);
		all_said();
		if (whole.len == 0)
			buf_add_span(&whole, buf_span(&said));
		else
			ck_assert_msg(said.len == whole.len && memcmp(said.p, whole.p, whole.len) == 0,
			              "at write %d: %s", n, buf_cstr(&said));
		must_be_right();
		follower_free(follower);
		events_close(events);
		n++;
	} while (WIFSIGNALED(status));
	ck_assert_int_gt(n, 5);
	follower = NULL;
	events = NULL;
	buf_free(&whole);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("heal");
	TCase *t = tcase_create("heal");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 120);
	tcase_add_loop_test(t, each_cause_is_answered, 0, CASES);
	tcase_add_test(t, cycles_that_share_edges_are_all_cut);
	tcase_add_test(t, what_goes_with_a_delete_of_the_server_is_recorded);
	tcase_add_test(t, a_state_that_can_not_be_opened_knows_nothing);
	tcase_add_test(t, an_edit_of_what_is_gone_may_come_a_thousand_times);
	tcase_add_loop_test(t, a_history_settles, 0, 4);
	tcase_add_loop_test(t, a_history_is_healed_as_it_grows, 0, 4);
	tcase_add_test(t, a_client_that_fights_is_answered_once_each_time);
	tcase_add_test(t, two_who_undo_each_other_are_answered_once_each_time);
	tcase_add_test(t, what_is_older_than_healing_is_left_alone);
	tcase_add_test(t, a_log_that_knows_nothing_of_healing_begins_at_its_head);
	tcase_add_test(t, without_notes_a_loss_is_not_told);
	tcase_add_test(t, ten_thousand_at_once_are_answered_in_parts);
	tcase_add_test(t, a_busy_log_is_answered_later);
	tcase_add_test(t, a_kill_at_any_write_repeats_nothing);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? 0 : 1;
}
