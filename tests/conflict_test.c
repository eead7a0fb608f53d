/*
 * Which conflicts a log holds (engine/conflict.h): the recorded history of 28
 * cases, case by case; the other histories, record by record; each rule; and
 * what is other where a profile says upsert.
 * In payloads of the tables below ' stands for ".
 */
#include "engine/conflict.h"

#include "base/json.h"
#include "engine/conflict_page.h"
#include "engine/follow.h"
#include "engine/page.h"
#include "profiles/read.h"
#include "tests/fixture.h"
#include "tests/steps.h"
#include "tests/temp.h"

#include <check.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

static char dir[TEMP_PATH], log_dir[TEMP_PATH + 16];
static struct events *events;
static const struct profile *profile = &profile_td;
static struct follower *follower;
static struct err err;
static struct buf found;

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
	must(events_create(log_dir, profile->name, &err));
	must(events_open(log_dir, &events, &err));
}

static void
teardown(void)
{
	follower_free(follower);
	follower = NULL;
	events_close(events);
	events = NULL;
	buf_free(&found);
	temp_remove(dir);
}

/* A log as it was recorded; each device is its own user. */
static void
load(const char *name)
{
	struct buf text = { 0 }, scratch = { 0 };
	struct span rest, line;
	struct event ev;
	char path[128];
	int64_t seq;

	snprintf(path, sizeof(path), "replay/%s/log.jsonl", name);
	fixture_read(path, &text);
	rest = buf_span(&text);
	must(events_begin(events, clock_mono_ms() + 3000, &err));
	while (fixture_line(&rest, &line)) {
		must(page_event(line, &ev, &scratch, &err));
		ev.user = ev.device;
		must(events_append(events, &ev, &seq, &err));
		ck_assert_int_eq(seq, ev.seq);
	}
	must(events_commit(events, &err));
	buf_free(&text);
	buf_free(&scratch);
}

static void
follow(void)
{
	int64_t end = clock_mono_ms() + 60000;

	if (follower == NULL)
		must(follower_new(log_dir, profile, &follower, &err));
	must(follower_run(follower, events, &(struct follow_limits){ end, end, false }, &err));
}

/* --- how they are written here --- */

/* "title: A -> B": what was lost, what was kept. */
static void
add_fields(struct buf *out, struct span fields)
{
	struct span key, field, name, kept, lost;
	struct json_iter it;

	json_iter_init(&it, fields);
	while (json_next(&it, &key, &field)) {
		ck_assert(json_get(field, "field", &name) && json_get(field, "kept", &kept) &&
		          json_get(field, "lost", &lost));
		buf_add_str(out, "; ");
		json_string(name, out);
		buf_addf(out, ": %.*s -> %.*s", (int)lost.len, lost.p, (int)kept.len, kept.p);
	}
}

static enum rc
add_conflict(void *ctx, const struct state_conflict *c, bool *stop, struct err *e)
{
	struct buf *out = ctx;
	struct span whole;

	(void)stop;
	ck_assert(json_scan(c->fields, JSON_MAX_DEPTH, &whole, NULL, e) == RC_OK);
	ck_assert_uint_eq(whole.len, c->fields.len);
	buf_addf(out, "%" PRId64 "-%d %s%s %s %.*s %" PRId64 " over %" PRId64, c->seq, c->n,
	         conflict_name(c->kind), c->certain ? "" : "?",
	         profile->entities[c->type].table, (int)c->id.len, c->id.p, c->kept_seq,
	         c->lost_seq);
	add_fields(out, c->fields);
	buf_add_byte(out, '\n');
	return RC_OK;
}

/* All that the log holds, a line each, in `found`. */
static const char *
conflicts(void)
{
	struct state *s;

	follow();
	s = follower_state(follower);
	buf_reset(&found);
	must(state_hold(s, events, &err));
	must(state_walk_conflicts(s, 0, add_conflict, &found, &err));
	state_let_go(s);
	return found.len == 0 ? "" : buf_cstr(&found);
}

/* --- the recorded cases --- */

/* Case by case, what is recorded (events of the case as the history's README has
 * them), and why. NULL: nothing. */
static const struct {
	const char *name;
	int first, last; /* events of the case */
	const char *want;
	const char *why;
} cases[] = {
	{ "same-field", 41, 42,
	  "42-1 field issues td-f3ab54 42 over 41; title: \"Title written on device A\""
	  " -> \"Title written on device B\"\n",
	  "B had not seen A's title" },
	{ "same-reverse", 43, 44,
	  "44-1 field issues td-0acfa8 44 over 43; title: \"Title written late on device A\""
	  " -> \"Title written early on device B\"\n",
	  "arrival counts, not the clock" },
	{ "diff-field", 45, 46, NULL, "both edits survive" },
	{ "labels", 47, 48,
	  "48-1 field issues td-5d527d 48 over 47; labels: \"zone-1,spring\" -> \"zone-1,urgent\"\n",
	  "labels are one field" },
	{ "whole", 49, 50,
	  "50-1 field issues td-12dddb 50 over 49; title: \"Whole edit on device B\""
	  " -> \"Whole edit on device A\"\n",
	  "only the title was written by both" },
	{ "delete-first", 51, 52,
	  "52-1 edit_of_deleted issues td-98ebb2 51 over 52; title:"
	  " \"Edited after it was deleted elsewhere\" -> null\n",
	  "nobody sees the new title" },
	{ "update-first", 53, 54,
	  "54-1 delete issues td-39cb06 54 over 53; title:"
	  " \"Edited before it was deleted elsewhere\" -> null\n",
	  "the deleter had not seen the new title" },
	{ "restore-late", 55, 57, NULL,
	  "both restored it, then B deleted what it had restored itself" },
	{ "restore-early", 58, 60, NULL,
	  "A deleted the row as it is: no edit was in it that A had not seen" },
	{ "dep cycle", 61, 62,
	  "62-1 edge issue_dependencies dep_30d75696cc0947a9 62 over 61; issue_id:"
	  " \"td-aef160\" -> null; depends_on_id: \"td-6c04ae\" -> null\n",
	  "the later edge sorts lower, the earlier one went" },
	{ "dep cycle 2", 63, 64,
	  "64-1 edge issue_dependencies dep_78077c8e34150676 63 over 64; issue_id:"
	  " \"td-4f1832\" -> null; depends_on_id: \"td-3882d4\" -> null; relation_type:"
	  " \"depends_on\" -> null\n",
	  "the later edge was dropped" },
	{ "dep triangle", 65, 66,
	  "66-1 edge issue_dependencies dep_1cf5fb47d84515f6 65 over 66; issue_id:"
	  " \"td-522ed2\" -> null; depends_on_id: \"td-0c38d7\" -> null; relation_type:"
	  " \"depends_on\" -> null\n",
	  "the closing edge was dropped; 65 is the newest of those it would close" },
	{ "dep triangle 2", 67, 68, NULL, "the cycle is there, no edge was lost" },
	{ "status", 69, 78,
	  "71-1 field issues td-e3dc88 71 over 69; status: \"in_progress\" -> \"closed\"\n",
	  "B closed what A had started" },
	{ "review", 79, 82,
	  "81-1 field issues td-0be96b 81 over 79; status: \"closed\" -> \"open\"\n",
	  "B rejected what A had approved" },
	{ "position", 83, 84, NULL, "both put it at the same place" },
	{ "orphan", 85, 86,
	  "86-1 cascade board_issue_positions bip_b26756f8040d3a4f 85 over 86; board_id:"
	  " \"bd-3ed1553f\" -> null; issue_id: \"td-795f26\" -> null; position: 65536 -> null;"
	  " added_at: \"2026-11-23T17:44:04Z\" -> null\n",
	  "the board was gone when the place on it came" },
	{ "file", 87, 88, NULL, "the role that went is the default" },
	{ "worksession", 89, 91,
	  "91-1 cascade work_session_issues wsi_727b933a911790ab 91 over 38; work_session_id:"
	  " \"ws-000d\" -> null; issue_id: \"td-4245e2\" -> null; tagged_at:"
	  " \"2026-11-23T17:43:51.853864787Z\" -> null\n"
	  "91-2 cascade work_session_issues wsi_373c4dbe72d55afb 91 over 89; work_session_id:"
	  " \"ws-000d\" -> null; issue_id: \"td-2c4719\" -> null; tagged_at:"
	  " \"2026-11-23T17:44:05.824094594Z\" -> null\n",
	  "the replaced row took its tags along" },
	{ "note, both edit; note, deleted and edited", 92, 95,
	  "94-1 field notes nt-10f557 94 over 92; content: \"Content of A\" -> \"Content of B\"\n"
	  "95-1 edit_of_deleted notes nt-79deec 93 over 95; content: \"Edited on B\" -> null\n",
	  "one content over another; an edit that nobody sees" },
	{ "comment", 96, 97, NULL, "a soft delete takes no comment along" },
	{ "parent", 98, 99, NULL, "nobody wrote what the other wrote" },
	{ "undo", 100, 102, NULL, "A undid its own title; the description is B's" },
	{ "both new", 103, 106, NULL, "two boards, two issues" },
	{ "the set-up", 1, 40, NULL, "one device alone" },
};
#define N_CASES (int)(sizeof(cases) / sizeof(*cases))

START_TEST(the_recorded_cases_lose_what_is_listed_and_nothing_else)
{
	const char *line, *end;
	struct buf of_case = { 0 };
	int seq, first = cases[_i].first, last = cases[_i].last;

	load("conflicts");
	for (line = conflicts(); (end = strchr(line, '\n')) != NULL; line = end + 1) {
		seq = atoi(line);
		if (seq >= first && seq <= last)
			buf_add(&of_case, line, (size_t)(end + 1 - line));
	}
	ck_assert_msg(strcmp(of_case.len == 0 ? "" : buf_cstr(&of_case),
	                     cases[_i].want == NULL ? "" : cases[_i].want) == 0,
	              "%s (%s):\n%s", cases[_i].name, cases[_i].why, of_case.p);
	buf_free(&of_case);
}
END_TEST

START_TEST(every_event_of_the_recording_is_in_a_case)
{
	bool in[107] = { false };

	for (int i = 0; i < N_CASES; i++)
		for (int seq = cases[i].first; seq <= cases[i].last; seq++)
			in[seq] = true;
	for (int seq = 1; seq <= 106; seq++)
		ck_assert_msg(in[seq], "%d", seq);
}
END_TEST

/* The other histories: each record was looked at, tests/conflicts/NAME.result. */
static const char *const histories[] = { "autosync", "team", "versions", "large",
                                         "legacy", "legacy-backfill" };

START_TEST(the_other_histories_have_no_false_ones)
{
	char path[512];
	struct buf want = { 0 };

	snprintf(path, sizeof(path), "replay/%s/log.jsonl", histories[_i]);
	if (!fixture_find(path, (char[FIXTURE_PATH]){ 0 })) {
		printf("skipped: %s: no such recording here\n", histories[_i]);
		return;
	}
	load(histories[_i]);
	conflicts();
	snprintf(path, sizeof(path), "%s/tests/conflicts/%s.result", TOP_SRCDIR, histories[_i]);
	if (fs_read(path, 1 << 20, &want, &err) != RC_OK)
		buf_reset(&want); /* nothing was lost there */
	if (!span_eq(buf_span(&want), buf_span(&found)))
		printf("%s:\n%.*s", histories[_i], (int)found.len,
		       found.p == NULL ? "" : found.p);
	ck_assert_msg(span_eq(buf_span(&want), buf_span(&found)), "%s: others are recorded",
	              histories[_i]);
	buf_free(&want);
}
END_TEST

/* --- the rules --- */

#define MAX_STEPS 12

struct rule {
	const char *what;
	const char *steps[MAX_STEPS]; /* as step_append() takes them; event 1, 2, ... */
	const char *want;             /* NULL: no conflict */
};

/* An issue that A made, and B has seen. */
#define ISSUE \
	"A create issues td-1 {'new_data':{'title':'One','description':'d','points':3}}"
#define UPDATE(who, before, after) \
	who " update issues td-1 {'previous_data':{" before "},'new_data':{" after "}}"

static const struct rule rules[] = {
	/* --- what is none --- */
	{ "different fields",
	  { ISSUE, UPDATE("B", "'title':'One','points':3", "'title':'Two','points':3"),
	    UPDATE("C", "'title':'One','points':3", "'title':'One','points':5") }, NULL },
	{ "the same value twice",
	  { ISSUE, UPDATE("B", "'title':'One'", "'title':'Two'"),
	    UPDATE("C", "'title':'One'", "'title':'Two'") }, NULL },
	{ "an author's own succession, though it says it had not seen it",
	  { ISSUE, UPDATE("B", "'title':'One'", "'title':'Two'"),
	    UPDATE("B", "'title':'One'", "'title':'Three'") }, NULL },
	{ "times alone",
	  { ISSUE, UPDATE("B", "'updated_at':'2026-01-01T00:00:00Z'", "'closed_at':'2026-01-02T00:00:00Z'"),
	    UPDATE("C", "'updated_at':'2026-01-01T00:00:00Z'", "'closed_at':'2026-01-03T00:00:00Z'") }, NULL },
	{ "sessions alone",
	  { ISSUE, UPDATE("B", "'title':'One'", "'title':'One','implementer_session':'b'"),
	    UPDATE("C", "'title':'One'", "'title':'One','implementer_session':'c'") }, NULL },
	{ "a default that was lost",
	  { ISSUE, UPDATE("B", "'points':3", "'points':0"), UPDATE("C", "'points':3", "'points':8") },
	  NULL },
	{ "a NULL that was lost",
	  { ISSUE, UPDATE("B", "'due_date':'x'", "'title':'One'"),
	    UPDATE("C", "'due_date':'x'", "'due_date':'y'") }, NULL },
	{ "a time in another spelling",
	  { "A create issues td-1 {'new_data':{'title':'One','defer_until':'x','closed_at':'2026-01-01T10:00:00Z'}}",
	    "B update issues td-1 {'previous_data':{'title':'One','closed_at':'2026-01-01T11:00:00+01:00'},"
	    "'new_data':{'title':'Two','closed_at':'2026-01-05T10:00:00Z'}}" }, NULL },
	{ "labels as an array were seen as text",
	  { "A create issues td-1 {'new_data':{'title':'One','labels':['a','b']}}",
	    UPDATE("B", "'labels':'a,b'", "'labels':'c'") }, NULL },
	{ "a boolean was seen as a number",
	  { "A create issues td-1 {'new_data':{'title':'One','minor':true}}",
	    UPDATE("B", "'minor':1", "'minor':false") }, NULL },
	{ "a number was seen as text",
	  { ISSUE, UPDATE("B", "'points':'3'", "'points':5") }, NULL },
	{ "a delete of what was seen",
	  { ISSUE, "B soft_delete issues td-1 {'previous_data':{'title':'One','description':'d','points':3}}" },
	  NULL },
	{ "a delete of what is deleted",
	  { ISSUE, UPDATE("B", "'title':'One'", "'title':'Two'"),
	    "B soft_delete issues td-1 {'previous_data':{'title':'Two','description':'d','points':3}}",
	    "C soft_delete issues td-1 {'previous_data':{'title':'One','description':'d','points':3}}" },
	  NULL },
	{ "a hard delete without a word of a row that only its maker wrote",
	  { "A create boards bd-1 {'new_data':{'name':'Board'}}", "B delete boards bd-1 {'new_data':{}}" },
	  NULL },
	{ "a row sent twice by its author's machines: the same user, one-shot devices",
	  { "u/x create issues td-1 {'new_data':{'title':'One'}}",
	    "u/y create issues td-1 {'new_data':{'title':'Two'}}" }, NULL },
	{ "an edit of a row that nobody ever made",
	  { UPDATE("A", "'title':'One'", "'title':'Two'") }, NULL },
	{ "an edit by who deleted it",
	  { ISSUE, "A soft_delete issues td-1 {}", UPDATE("A", "'title':'One'", "'title':'Two'") },
	  NULL },
	{ "an edit that knows of the deletion",
	  { ISSUE, "A soft_delete issues td-1 {}",
	    UPDATE("B", "'title':'One','deleted_at':'2026-01-01T00:00:00Z'",
	           "'title':'Two','deleted_at':'2026-01-01T00:00:00Z'") }, NULL },
	{ "children that the deleter had put there itself",
	  { ISSUE, "A create boards bd-1 {'new_data':{'name':'Board'}}",
	    "A create board_issue_positions p-1 {'new_data':{'board_id':'bd-1','issue_id':'td-1','position':1}}",
	    "A delete boards bd-1 {}" }, NULL },
	{ "a child whose parent never arrives",
	  { "A create comments cm-1 {'new_data':{'issue_id':'td-9','session_id':'s','text':'t'}}" }, NULL },

	/* --- fields --- */
	{ "a value that was not seen",
	  { ISSUE, UPDATE("B", "'title':'One'", "'title':'Two'"),
	    UPDATE("C", "'title':'One'", "'title':'Three'") },
	  "3-1 field issues td-1 3 over 2; title: \"Two\" -> \"Three\"\n" },
	{ "several at once, by several: one record, the newest is named",
	  { ISSUE, UPDATE("B", "'title':'One'", "'title':'Two'"), UPDATE("C", "'points':3", "'points':5"),
	    UPDATE("D", "'title':'One','points':3", "'title':'Four','points':8") },
	  "4-1 field issues td-1 4 over 3; title: \"Two\" -> \"Four\"; points: 5 -> 8\n" },
	{ "sessions and times go with what counts; the row's own time does not",
	  { ISSUE, UPDATE("B", "'status':'open','updated_at':'2026-01-01T00:00:00Z'",
	           "'status':'closed','closed_at':'2026-01-02T00:00:00Z','updated_at':'2026-01-02T00:00:00Z'"),
	    UPDATE("C", "'status':'open','updated_at':'2026-01-01T00:00:00Z'",
	           "'status':'blocked','closed_at':'2026-01-03T00:00:00Z','updated_at':'2026-01-03T00:00:00Z'") },
	  "3-1 field issues td-1 3 over 2; status: \"closed\" -> \"blocked\"; closed_at:"
	  " \"2026-01-02T00:00:00Z\" -> \"2026-01-03T00:00:00Z\"\n" },
	{ "a field that was emptied",
	  { ISSUE, UPDATE("B", "'description':'d'", "'description':'two'"),
	    UPDATE("C", "'description':'d'", "'points':3") },
	  "3-1 field issues td-1 3 over 2; description: \"two\" -> \"\"\n" },
	{ "an undo over another's edit",
	  { ISSUE, UPDATE("A", "'title':'One'", "'title':'Two'"), UPDATE("B", "'title':'Two'", "'title':'B'"),
	    UPDATE("A", "'title':'Two'", "'title':'One'") },
	  "4-1 field issues td-1 4 over 3; title: \"B\" -> \"One\"\n" },
	{ "an approval, wrapped",
	  { ISSUE, UPDATE("B", "'title':'One'", "'title':'Two'"),
	    UPDATE("C", "'title':'One'", "'issue':{'title':'Three'}") },
	  "3-1 field issues td-1 3 over 2; title: \"Two\" -> \"Three\"\n" },
	{ "a previous_data that lies",
	  { ISSUE, UPDATE("B", "'title':'never was'", "'title':'Two'") },
	  "2-1 field issues td-1 2 over 1; title: \"One\" -> \"Two\"\n" },

	/* --- deletes --- */
	{ "a delete over an edit",
	  { ISSUE, UPDATE("B", "'title':'One'", "'title':'Two'"),
	    "C soft_delete issues td-1 {'previous_data':{'title':'One','description':'d','points':3}}" },
	  "3-1 delete issues td-1 3 over 2; title: \"Two\" -> null\n" },
	{ "a delete that does not say what it saw: after the row was made, uncertain",
	  { ISSUE, UPDATE("B", "'title':'One'", "'title':'Two'"), "C soft_delete issues td-1 {}" },
	  "3-1 delete? issues td-1 3 over 2; title: \"Two\" -> null\n" },
	{ "a delete that does not say what it saw: after its own last event",
	  { ISSUE, UPDATE("B", "'title':'One'", "'title':'Two'"), UPDATE("C", "'points':3", "'points':5"),
	    "C soft_delete issues td-1 {}" }, NULL },
	{ "a hard delete over an edit: the whole row is kept",
	  { "A create boards bd-1 {'new_data':{'name':'Board','query':'q'}}",
	    "B update boards bd-1 {'previous_data':{'name':'Board','query':'q'},'new_data':{'name':'Bench','query':'q'}}",
	    "C delete boards bd-1 {'previous_data':{'name':'Board','query':'q'}}" },
	  "3-1 delete boards bd-1 3 over 2; name: \"Bench\" -> null; created_at:"
	  " \"2026-01-01 00:00:01\" -> null; updated_at: \"2026-01-01 00:00:01\" -> null;"
	  " query: \"q\" -> null\n" },

	/* --- edits of what is deleted --- */
	{ "an edit of a deleted row",
	  { ISSUE, "A soft_delete issues td-1 {}",
	    UPDATE("B", "'title':'One','updated_at':'2026-01-01T00:00:00Z'",
	           "'title':'Two','updated_at':'2026-01-02T00:00:00Z'") },
	  "3-1 edit_of_deleted issues td-1 2 over 3; title: \"Two\" -> null\n" },
	{ "an edit of a row that is gone",
	  { "A create boards bd-1 {'new_data':{'name':'Board'}}", "A delete boards bd-1 {}",
	    "B update boards bd-1 {'previous_data':{'name':'Board','query':'q'},'new_data':{'name':'Bench','query':'q'}}" },
	  "3-1 edit_of_deleted boards bd-1 2 over 3; name: \"Bench\" -> null; query: \"q\" -> null\n" },
	{ "of a row that went with its parent",
	  { ISSUE, "A create comments cm-1 {'new_data':{'issue_id':'td-1','session_id':'s','text':'t'}}",
	    "A delete issues td-1 {}",
	    "B update comments cm-1 {'previous_data':{'text':'t'},'new_data':{'issue_id':'td-1','text':'u'}}" },
	  "4-1 edit_of_deleted comments cm-1 3 over 4; issue_id: \"td-1\" -> null; text: \"u\" -> null\n" },
	{ "of one that was made anew there is none",
	  { "A create boards bd-1 {'new_data':{'name':'Board'}}", "A delete boards bd-1 {}",
	    "A create boards bd-1 {'new_data':{'name':'Board'}}",
	    "B update boards bd-1 {'previous_data':{'name':'Board'},'new_data':{'name':'Bench'}}" },
	  NULL },

	/* --- whole rows --- */
	{ "a create over a row that its author may not have seen",
	  { ISSUE, "B create issues td-1 {'new_data':{'title':'Two','points':3}}" },
	  "2-1 create? issues td-1 2 over 1; title: \"One\" -> \"Two\"; description: \"d\" -> \"\"\n" },
	{ "a create over what others wrote since its author's last event",
	  { ISSUE, "B create issues td-1 {'new_data':{'title':'One','description':'d','points':3}}",
	    UPDATE("A", "'title':'One'", "'title':'Two'"), UPDATE("C", "'points':3", "'points':5"),
	    UPDATE("B", "'description':'d'", "'description':'e'"),
	    UPDATE("C", "'points':5", "'points':8"),
	    "B create issues td-1 {'new_data':{'title':'B','description':'B','points':1}}" },
	  "7-1 create? issues td-1 7 over 6; points: 8 -> 1\n" },
	{ "a create that says what it saw",
	  { "A create boards bd-1 {'new_data':{'name':'Board','query':'q'}}",
	    "B create boards bd-1 {'previous_data':{'name':'Board','query':'q'},'new_data':{'name':'Board','query':'b'}}",
	    "C create boards bd-1 {'previous_data':{'name':'Board','query':'q'},'new_data':{'name':'Bench','query':'q'}}" },
	  "3-1 create boards bd-1 3 over 2; query: \"b\" -> \"q\"\n" },
	{ "an update that does not say what it saw is a whole row",
	  { "A create work_sessions ws-1 {'new_data':{'name':'W','session_id':'s','start_sha':'1'}}",
	    "B update work_sessions ws-1 {'new_data':{'name':'V','session_id':'s','start_sha':'1'}}",
	    "A update work_sessions ws-1 {'new_data':{'name':'W','session_id':'s','start_sha':'1','end_sha':'2'}}" },
	  "3-1 create? work_sessions ws-1 3 over 2; name: \"V\" -> \"W\"\n" },

	/* --- rows that went along --- */
	{ "children of a row that was replaced, whoever made them",
	  { ISSUE, "A create boards bd-1 {'new_data':{'name':'Board'}}",
	    "A create board_issue_positions p-1 {'new_data':{'board_id':'bd-1','issue_id':'td-1','position':1}}",
	    "A create boards bd-1 {'previous_data':{'name':'Board'},'new_data':{'name':'Bench'}}" },
	  "4-1 cascade board_issue_positions p-1 4 over 3; board_id: \"bd-1\" -> null; issue_id:"
	  " \"td-1\" -> null; position: 1 -> null; added_at: \"2026-01-01 00:00:03\" -> null\n" },
	{ "children of others, of a row that was deleted: uncertain",
	  { ISSUE, "A create boards bd-1 {'new_data':{'name':'Board'}}",
	    "B create board_issue_positions p-1 {'new_data':{'board_id':'bd-1','issue_id':'td-1','position':1,'added_at':'x'}}",
	    "A delete boards bd-1 {}" },
	  "4-1 cascade? board_issue_positions p-1 4 over 3; board_id: \"bd-1\" -> null; issue_id:"
	  " \"td-1\" -> null; position: 1 -> null; added_at: \"x\" -> null\n" },
	{ "a row in the way of another by UNIQUE",
	  { ISSUE, "A create issue_files f-1 {'new_data':{'issue_id':'td-1','file_path':'a.c','linked_sha':'1','linked_at':'x'}}",
	    "B create issue_files f-2 {'new_data':{'issue_id':'td-1','file_path':'a.c','linked_sha':'2','linked_at':'x'}}" },
	  "3-1 cascade issue_files f-1 3 over 2; issue_id: \"td-1\" -> null; file_path:"
	  " \"a.c\" -> null; linked_sha: \"1\" -> null; linked_at: \"x\" -> null\n" },
	{ "a child whose parent arrives after it is in nobody's way",
	  { "B create comments cm-1 {'new_data':{'issue_id':'td-1','session_id':'s','text':'t'}}", ISSUE },
	  NULL },
	{ "a child whose parent was deleted in between",
	  { ISSUE, "A delete issues td-1 {}",
	    "B create comments cm-1 {'new_data':{'issue_id':'td-1','session_id':'s','text':'t'}}" },
	  "3-1 cascade comments cm-1 2 over 3; issue_id: \"td-1\" -> null; session_id:"
	  " \"s\" -> null; text: \"t\" -> null\n" },

	/* --- odd payloads --- */
	{ "ids that differ by case are two rows",
	  { "A create issues td-A {'new_data':{'title':'One'}}", "B create issues td-a {'new_data':{'title':'Two'}}" },
	  NULL },
	{ "ids that differ by Unicode form are two rows",
	  { "A create issues td-\xc3\xa9 {'new_data':{'title':'One'}}",
	    "B create issues td-e\xcc\x81 {'new_data':{'title':'Two'}}" }, NULL },
	{ "columns that nobody knows, with names that are SQL",
	  { ISSUE, UPDATE("B", "'x':1", "'title':'One','\\\"; DROP TABLE issues; --':2,'x':3"),
	    UPDATE("C", "'x':1", "'x':2") }, NULL },
	{ "values of other types",
	  { ISSUE, UPDATE("B", "'points':3", "'points':'many'"), UPDATE("C", "'points':3", "'points':[1,2]") },
	  "3-1 field issues td-1 3 over 2; points: \"many\" -> \"[1,2]\"\n" },
	{ "a previous_data that is no object does nothing to anybody",
	  { ISSUE, "B update issues td-1 {'previous_data':[1],'new_data':{'title':'Two'}}" }, NULL },
};
#define N_RULES (int)(sizeof(rules) / sizeof(*rules))

static void
check_rule(const struct rule *r)
{
	struct buf whole = { 0 };

	/* Event by event, and all at once: the same. */
	for (int i = 0; i < MAX_STEPS && r->steps[i] != NULL; i++) {
		step_append(events, r->steps[i]);
		follow();
	}
	ck_assert_msg(strcmp(conflicts(), r->want == NULL ? "" : r->want) == 0, "%s:\n%.*s",
	              r->what, (int)found.len, found.p == NULL ? "" : found.p);
	buf_add_span(&whole, buf_span(&found));
	must(follower_rebuild(follower, events, clock_mono_ms() + 3000, &err));
	conflicts();
	ck_assert_msg(span_eq(buf_span(&whole), buf_span(&found)), "%s: rebuilt", r->what);
	buf_free(&whole);
}

START_TEST(each_rule)
{
	check_rule(&rules[_i]);
}
END_TEST

/* --- upsert: conf/profiles/shelf.json --- */

static struct profile *shelf;

static void
setup_shelf(void)
{
	must(profile_read(TOP_SRCDIR "/conf/profiles/shelf.json", &shelf, &err));
	profile = shelf;
	setup();
}

static void
teardown_shelf(void)
{
	teardown();
	profile_free(shelf);
	profile = &profile_td;
}

#define BOOK "A create books b {'new_data':{'title':'One','isbn':'1234567890','pages':3}}"
#define UPDATE_BOOK(who, before, after) \
	who " update books b {'previous_data':{" before "},'new_data':{" after "}}"
#define LOAN "A create loans l {'new_data':{'book_id':'b','borrower':'Anna'}}"

static const struct rule upserts[] = {
	{ "a create over another's row: its values, and no child",
	  { BOOK, LOAN, "B create books b {'new_data':{'title':'Two'}}" },
	  "3-1 create? books b 3 over 1; title: \"One\" -> \"Two\"; isbn: \"1234567890\" -> null;"
	  " pages: 3 -> null\n" },
	{ "an update without previous_data, likewise",
	  { BOOK, LOAN, UPDATE_BOOK("B", "'pages':3", "'pages':4"),
	    UPDATE_BOOK("A", "'title':'One'", "'title':'Two'"),
	    "B update books b {'new_data':{'title':'One','isbn':'1234567890','pages':4}}" },
	  "5-1 create? books b 5 over 4; title: \"Two\" -> \"One\"\n" },
	{ "an own create again", { BOOK, LOAN, BOOK }, NULL },
	{ "a row in the way of another stays", /* and that one is quarantined */
	  { BOOK, LOAN, "B create books c {'new_data':{'title':'Two','isbn':'1234567890'}}" },
	  NULL },
	{ "a delete takes the children of others along",
	  { BOOK, "B create loans l {'new_data':{'book_id':'b','borrower':'Bob'}}",
	    "A delete books b {}" },
	  "3-1 cascade? loans l 3 over 2; book_id: \"b\" -> null; borrower: \"Bob\" -> null; "
	  "since: \"2026-01-01 00:00:02\" -> null\n" },
};

START_TEST(each_rule_of_upserts)
{
	check_rule(&upserts[_i]);
}
END_TEST

/* --- cycles --- */

START_TEST(an_edge_that_closes_a_cycle_of_n_is_lost_to_the_newest_of_the_others)
{
	static const int lengths[] = { 2, 3, 10 };
	int n = lengths[_i];
	char text[256], want[128];

	for (int i = 0; i < n; i++) {
		snprintf(text, sizeof(text), "A create issues td-%02d {'new_data':{'title':'x'}}", i);
		step_append(events, text);
	}
	/* td-00 -> td-01 -> ... ; the last one, back to td-00, sorts above. */
	for (int i = 0; i < n; i++) {
		snprintf(text, sizeof(text), "%s create issue_dependencies dep-%02d {'new_data':"
		         "{'issue_id':'td-%02d','depends_on_id':'td-%02d'}}", i < n - 1 ? "A" : "B",
		         i, i, (i + 1) % n);
		step_append(events, text);
	}
	snprintf(want, sizeof(want), "%d-1 edge issue_dependencies dep-%02d %d over %d;", 2 * n,
	         n - 1, 2 * n - 1, 2 * n);
	ck_assert_msg(strncmp(conflicts(), want, strlen(want)) == 0, "%s\n%s", want, found.p);
}
END_TEST

START_TEST(an_own_edge_that_closes_a_cycle_is_no_conflict)
{
	step_append(events, "A create issues td-0 {'new_data':{'title':'x'}}");
	step_append(events, "A create issues td-1 {'new_data':{'title':'x'}}");
	step_append(events, "A create issue_dependencies d-0 {'new_data':{'issue_id':'td-0','depends_on_id':'td-1'}}");
	step_append(events, "A create issue_dependencies d-1 {'new_data':{'issue_id':'td-1','depends_on_id':'td-0'}}");
	ck_assert_str_eq(conflicts(), "");
}
END_TEST

/* --- once more --- */

/* What an event took is recorded once, though it did not come to its end at first. */
START_TEST(an_event_that_is_cut_short_is_recorded_once)
{
	static const char want[] =
	    "6-1 cascade board_issue_positions p-1 6 over 4; board_id: \"bd-1\" -> null;"
	    " issue_id: \"td-1\" -> null; position: 1 -> null; added_at: \"x\" -> null\n"
	    "6-2 cascade board_issue_positions p-2 6 over 5; board_id: \"bd-1\" -> null;"
	    " issue_id: \"td-2\" -> null; position: 2 -> null; added_at: \"x\" -> null\n";
	int64_t end = clock_mono_ms() + 60000;
	struct buf text = { 0 };
	sqlite3 *db;

	step_append(events, "A create boards bd-1 {'new_data':{'name':'Board'}}");
	step_append(events, ISSUE);
	step_append(events, "A create issues td-2 {'new_data':{'title':'Two'}}");
	step_append(events, "B create board_issue_positions p-1 {'new_data':{'board_id':'bd-1',"
	            "'issue_id':'td-1','position':1,'added_at':'x'}}");
	step_append(events, "B create board_issue_positions p-2 {'new_data':{'board_id':'bd-1',"
	            "'issue_id':'td-2','position':2,'added_at':'x'}}");
	follow();
	/* For what takes its place there is no room: the row is gone by then. */
	buf_add_str(&text, "A create boards bd-1 {'previous_data':{'name':'Board'},"
	            "'new_data':{'name':'Board','query':'");
	for (int i = 0; i < 100000; i++)
		buf_add_byte(&text, 'x');
	buf_add_str(&text, "'}}");
	step_append(events, buf_cstr(&text));
	db = state_db(follower_state(follower));
	must(db_exec(db, "PRAGMA max_page_count = 1", &err)); /* as many as there are */
	ck_assert_int_eq(follower_run(follower, events, &(struct follow_limits){ end, end, false },
	                              &err), RC_UNAVAILABLE);
	must(db_exec(db, "PRAGMA max_page_count = 1000000", &err));
	ck_assert_str_eq(conflicts(), want);
	ck_assert(db == state_db(follower_state(follower)));
	buf_free(&text);
}
END_TEST

/* --- large values --- */

START_TEST(a_field_of_a_megabyte_is_kept_whole)
{
	struct buf text = { 0 };

	step_append(events, ISSUE);
	buf_add_str(&text, "B update issues td-1 {'previous_data':{'description':'d'},"
	            "'new_data':{'description':'");
	for (int i = 0; i < 1 << 20; i++)
		buf_add_byte(&text, 'x');
	buf_add_str(&text, "'}}");
	step_append(events, buf_cstr(&text));
	step_append(events, UPDATE("C", "'description':'d'", "'description':'short'"));
	conflicts();
	ck_assert_uint_gt(found.len, 1 << 20);
	ck_assert(strstr(found.p, "xxx\" -> \"short\"") != NULL);
	buf_free(&text);
}
END_TEST

/* Comments of a megabyte each, of one issue. */
static void
add_large_comments(int n)
{
	struct buf text = { 0 };

	step_append(events, ISSUE);
	for (int i = 0; i < n; i++) {
		buf_reset(&text);
		buf_addf(&text, "B create comments cm-%d {'new_data':{'issue_id':'td-1',"
		         "'session_id':'s','text':'", i);
		for (int k = 0; k < 1 << 20; k++)
			buf_add_byte(&text, 'x');
		buf_add_str(&text, "'}}");
		step_append(events, buf_cstr(&text));
	}
	buf_free(&text);
}

/* However much goes with an event, a row at a time is in memory. */
START_TEST(rows_that_go_are_not_all_in_memory)
{
	struct follow_limits limits = { INT64_MAX, INT64_MAX, true };

	add_large_comments(40);
	follow();
	step_append(events, "C delete issues td-1 {}");
	sqlite3_memory_highwater(1);
	must(follower_run(follower, events, &limits, &err));
	ck_assert_int_lt(sqlite3_memory_highwater(0), 20 << 20);
	conflicts();
	ck_assert_uint_gt(found.len, 40 << 20);
}
END_TEST

/* --- the list --- */

/* What one event took is in one page; where it is much, who asks has a place for
 * what is large. */
START_TEST(rows_that_an_event_took_fill_no_memory_without_a_place)
{
	static const struct { int comments; enum rc want; } rows[] = {
		{ 8, RC_OK }, { 10, RC_TOO_LARGE },
	};
	int n = rows[_i].comments;
	struct buf page = { 0 };

	add_large_comments(n);
	step_append(events, "C delete issues td-1 {}");
	follow();
	must(state_hold(follower_state(follower), events, &err));
	ck_assert_int_eq(conflict_page_write(follower, events, 0, 1, false, &page, &err),
	                 rows[_i].want);
	if (rows[_i].want != RC_OK)
		ck_assert_uint_eq(page.len, 0);
	buf_reset(&page);
	must(conflict_page_write(follower, events, 0, 1, true, &page, &err));
	ck_assert_uint_gt(page.len, (size_t)n << 20);
	state_let_go(follower_state(follower));
	buf_free(&page);
}
END_TEST

/* (Whoever wrote a value is found, as long as it is one of a row's last 1000
 * events.) */
START_TEST(a_side_that_is_not_known_is_null_in_the_list)
{
	struct state_conflict c = { .seq = 1, .n = 1, .kind = CONFLICT_FIELD,
	                            .id = span_of("td-1"), .fields = span_of("[]") };
	struct state *s;

	step_append(events, ISSUE);
	follow();
	s = follower_state(follower);
	must(state_lock(s, events, clock_mono_ms(), &err));
	must(state_begin(s, &err));
	must(state_add_conflict(s, &c, &err));
	must(state_commit(s, &err));
	state_unlock(s);
	must(state_hold(s, events, &err));
	buf_reset(&found);
	must(conflict_page_write(follower, events, 0, 1, false, &found, &err));
	state_let_go(s);
	ck_assert_str_eq(buf_cstr(&found), "{\"conflicts\":[{\"id\":\"1-1\",\"server_seq\":1,"
	                 "\"kind\":\"field\",\"certain\":false,\"entity_type\":\"issues\","
	                 "\"entity_id\":\"td-1\",\"fields\":[],\"kept\":null,\"lost\":null}],"
	                 "\"last_server_seq\":1,\"has_more\":false}\n");
}
END_TEST

/* --- far back --- */

START_TEST(who_wrote_a_value_long_ago_is_found)
{
	char text[256];

	step_append(events, ISSUE);
	step_append(events, UPDATE("B", "'title':'One'", "'title':'Two'"));
	for (int i = 0; i < 900; i++) {
		snprintf(text, sizeof(text), "A update issues td-1 {'previous_data':{'points':%d},"
		         "'new_data':{'points':%d}}", i + 3, i + 4);
		step_append(events, text);
	}
	step_append(events, UPDATE("C", "'title':'One'", "'title':'Three'"));
	ck_assert_str_eq(conflicts(),
	                 "903-1 field issues td-1 903 over 2; title: \"Two\" -> \"Three\"\n");
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("conflict");
	TCase *t = tcase_create("conflict");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 120);
	tcase_add_loop_test(t, the_recorded_cases_lose_what_is_listed_and_nothing_else, 0,
	                    N_CASES);
	tcase_add_test(t, every_event_of_the_recording_is_in_a_case);
	tcase_add_loop_test(t, the_other_histories_have_no_false_ones, 0,
	                    sizeof(histories) / sizeof(*histories));
	tcase_add_loop_test(t, each_rule, 0, N_RULES);
	tcase_add_loop_test(t, an_edge_that_closes_a_cycle_of_n_is_lost_to_the_newest_of_the_others,
	                    0, 3);
	tcase_add_test(t, an_own_edge_that_closes_a_cycle_is_no_conflict);
	tcase_add_test(t, an_event_that_is_cut_short_is_recorded_once);
	tcase_add_test(t, a_field_of_a_megabyte_is_kept_whole);
	tcase_add_loop_test(t, rows_that_an_event_took_fill_no_memory_without_a_place, 0, 2);
	tcase_add_test(t, rows_that_go_are_not_all_in_memory);
	tcase_add_test(t, a_side_that_is_not_known_is_null_in_the_list);
	tcase_add_test(t, who_wrote_a_value_long_ago_is_found);
	suite_add_tcase(s, t);
	t = tcase_create("upsert");
	tcase_add_checked_fixture(t, setup_shelf, teardown_shelf);
	tcase_add_loop_test(t, each_rule_of_upserts, 0, sizeof(upserts) / sizeof(*upserts));
	suite_add_tcase(s, t);
	runner = srunner_create(s);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
