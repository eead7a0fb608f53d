/*
 * td's commands: what each writes. The rows are written as td's driver of
 * that schema version spells them, the entries as its encoder does; learned
 * from replay/{team,versions,conflicts}/after, action by action.
 */
#include "command.h"

#include "base/json.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- what many commands share --- */

static bool
is(struct emit *e, const char *table, const char *id, const char *column,
   const char *value)
{
	return strcmp(get(e, table, id, column), value) == 0;
}

bool
live(struct emit *e, const char *id)
{
	return sql_int(e->db, 0, "SELECT 1 FROM issues"
	    " WHERE id = ? AND deleted_at IS NULL", "s", id) != 0;
}

bool
exists(struct emit *e, const char *table, const char *id)
{
	char sql[80];

	snprintf(sql, sizeof(sql), "SELECT 1 FROM \"%s\" WHERE id = ?", table);
	return sql_int(e->db, 0, sql, "s", id) != 0;
}

const char *
one_of(struct emit *e, const char *const *list, const char *text)
{
	size_t n;

	for (n = 0; list[n] != NULL; n++)
		if (text != NULL && strcmp(list[n], text) == 0)
			return text;
	return list[rng_below(&e->r->rng, n)];
}

void
issue_before(struct emit *e, const char *id)
{
	if (!row_json(e, "issues", issue_fields, id, &e->prev))
		die("no issue %s", id);
}

void
issue_after(struct emit *e, const char *id, const char *action)
{
	set(e, "issues", id, "updated_at", local_time(e));
	row_json(e, "issues", issue_fields, id, &e->next);
	entry(e, action, "issue", id, &e->prev, &e->next);
}

static bool
change(struct emit *e, const char *id, const char *column, const char *value)
{
	if (!live(e, id))
		return false;
	issue_before(e, id);
	set(e, "issues", id, column, value);
	issue_after(e, id, "update");
	return true;
}

void
add_log(struct emit *e, const char *issue, const char *ws, const char *type,
        const char *message)
{
	char id[ID_MAX];

	tick(e);
	new_id(e, "logs", "lg-", 8, id);
	sql_run(e->db, "INSERT INTO logs(id, issue_id, session_id, work_session_id,"
	    " message, type, timestamp) VALUES(?,?,?,?,?,?,?)", "sssssss", id, issue,
	    e->r->session, ws, message, type, local_time(e));
	row_json(e, "logs", log_fields, id, &e->next);
	entry(e, "create", "logs", id, NULL, &e->next);
}

static void
add_handoff(struct emit *e, const char *issue, const char *done, const char *remaining)
{
	struct buf json = { 0 };
	char id[ID_MAX];

	tick(e);
	buf_add_byte(&json, '[');
	buf_add_json(&json, span_of(done));
	buf_add_byte(&json, ']');
	new_id(e, "handoffs", "ho-", 8, id);
	sql_run(e->db, "INSERT INTO handoffs(id, issue_id, session_id, done, remaining,"
	    " decisions, uncertain, timestamp) VALUES(?,?,?,?,?,'null',?,?)", "sssssss",
	    id, issue, e->r->session, buf_cstr(&json), remaining, remaining,
	    local_time(e));
	row_json(e, "handoffs", handoff_fields, id, &e->next);
	entry(e, "handoff", "handoff", id, NULL, &e->next);
	buf_free(&json);
}

const char *
second_text(struct emit *e, bool utc)
{
	struct instant at = e->now;

	at.nsec = 0;
	if (utc)
		at.offset = 0;
	buf_reset(&e->text);
	time_add_rfc3339(&e->text, at);
	return buf_cstr(&e->text);
}

/* --- issues --- */

static bool
create(struct emit *e, const struct emit_args *a, const char *type)
{
	static const char *const priorities[] = { "P0", "P1", "P2", "P3", "P4", NULL };
	static const char *const labels[] = { "", "", "zone-1", "zone-1,spring",
	    "docs,hardware,blocked-by-parts", NULL };
	char id[ID_MAX];

	new_id(e, "issues", "td-", 6, id);
	sql_run(e->db, "INSERT INTO issues(id, title, type, created_at, updated_at,"
	    " creator_session) VALUES(?1, ?2, ?3, ?4, ?4, ?5)", "sssss", id,
	    a->text ? a->text : "An issue", type, local_time(e), e->r->session);
	set(e, "issues", id, "priority", one_of(e, priorities, NULL));
	set(e, "issues", id, "labels", one_of(e, labels, NULL));
	if (rng_chance(&e->r->rng, 50))
		set(e, "issues", id, "created_branch", "main");
	if (a->other != NULL)
		set(e, "issues", id, "parent_id", a->other);
	row_json(e, "issues", issue_fields, id, &e->next);
	entry(e, "create", "issue", id, NULL, &e->next);
	snprintf(e->id, sizeof(e->id), "%s", id);
	return true;
}

static bool
run_create(struct emit *e, const struct emit_args *a)
{
	static const char *const types[] = { "task", "bug", "feature", "chore", NULL };

	return create(e, a, one_of(e, types, NULL));
}

static bool
run_epic(struct emit *e, const struct emit_args *a)
{
	return create(e, a, "epic");
}

static bool
run_title(struct emit *e, const struct emit_args *a)
{
	return change(e, a->id, "title", a->text);
}

static bool
run_describe(struct emit *e, const struct emit_args *a)
{
	return change(e, a->id, "description", a->text);
}

static bool
run_accept(struct emit *e, const struct emit_args *a)
{
	return change(e, a->id, "acceptance", a->text);
}

static bool
run_priority(struct emit *e, const struct emit_args *a)
{
	static const char *const list[] = { "P0", "P1", "P2", "P3", "P4", NULL };

	return change(e, a->id, "priority", one_of(e, list, a->text));
}

static bool
run_points(struct emit *e, const struct emit_args *a)
{
	static const char *const list[] = { "0", "1", "2", "3", "5", "8", "13", "21", NULL };

	return change(e, a->id, "points", one_of(e, list, a->text));
}

static bool
run_labels(struct emit *e, const struct emit_args *a)
{
	static const char *const list[] = { "", "zone-1", "zone-1,urgent", "spring",
	    "zone-1,spring", "wörk,A<B", NULL };

	return change(e, a->id, "labels", one_of(e, list, a->text));
}

static bool
run_due(struct emit *e, const struct emit_args *a)
{
	static const char *const list[] = { "2026-12-07", "2027-01-31", "2028-02-29", NULL };
	const char *day = rng_chance(&e->r->rng, 30) ? NULL : one_of(e, list, a->text);
	bool defer = rng_chance(&e->r->rng, 50);

	if (e->r->schema < 31 ||
	    !change(e, a->id, defer ? "defer_until" : "due_date", day))
		return false;
	add_log(e, a->id, "", "progress", day == NULL ? "Date cleared" : "Date set");
	return true;
}

static bool
run_parent(struct emit *e, const struct emit_args *a)
{
	return live(e, a->other) && strcmp(a->id, a->other) != 0 &&
	    change(e, a->id, "parent_id", a->other);
}

static bool
run_orphan(struct emit *e, const struct emit_args *a)
{
	return change(e, a->id, "parent_id", "");
}

/* Begin a move between states, out of one of `from` (blanks around each);
 * issue_after() ends it. False, and nothing done, when it is in another. */
static bool
move(struct emit *e, const char *id, const char *from, const char *to)
{
	char status[40];

	if (!live(e, id))
		return false;
	snprintf(status, sizeof(status), " %s ", get(e, "issues", id, "status"));
	if (strstr(from, status) == NULL)
		return false;
	issue_before(e, id);
	set(e, "issues", id, "status", to);
	return true;
}

static bool
run_start(struct emit *e, const struct emit_args *a)
{
	if (!move(e, a->id, " open blocked ", "in_progress"))
		return false;
	set(e, "issues", a->id, "implementer_session", e->r->session);
	issue_after(e, a->id, "start");
	add_log(e, a->id, "", "progress", "Started work");
	return true;
}

static bool
run_unstart(struct emit *e, const struct emit_args *a)
{
	if (!move(e, a->id, " in_progress ", "open"))
		return false;
	set(e, "issues", a->id, "implementer_session", "");
	issue_after(e, a->id, "reopen");
	add_log(e, a->id, "", "progress", "Reverted to open");
	return true;
}

static bool
run_block(struct emit *e, const struct emit_args *a)
{
	if (!move(e, a->id, " open in_progress ", "blocked"))
		return false;
	issue_after(e, a->id, "block");
	add_log(e, a->id, "", "blocker", "Blocked: Parts");
	return true;
}

static bool
run_unblock(struct emit *e, const struct emit_args *a)
{
	if (!move(e, a->id, " blocked ", "open"))
		return false;
	issue_after(e, a->id, "unblock");
	add_log(e, a->id, "", "progress", "Unblocked");
	return true;
}

static bool
run_close(struct emit *e, const struct emit_args *a)
{
	if (!move(e, a->id, " open in_progress blocked ", "closed"))
		return false;
	set(e, "issues", a->id, "closed_at", local_time(e));
	set(e, "issues", a->id, "closed_by_session", e->r->session);
	tick(e);
	issue_after(e, a->id, "close");
	add_log(e, a->id, "", "progress", "Closed (ADMIN: Enough)");
	return true;
}

static bool
run_reopen(struct emit *e, const struct emit_args *a)
{
	if (!move(e, a->id, " closed ", "open"))
		return false;
	set(e, "issues", a->id, "closed_at", NULL);
	issue_after(e, a->id, "reopen");
	add_log(e, a->id, "", "progress", "Reopened");
	return true;
}

/* `td review` hands off first where nobody did. */
static bool
run_review(struct emit *e, const struct emit_args *a)
{
	if (!live(e, a->id) || !(is(e, "issues", a->id, "status", "open") ||
	    is(e, "issues", a->id, "status", "in_progress")))
		return false;
	add_handoff(e, a->id, "Auto-generated for review submission", "[]");
	move(e, a->id, " open in_progress ", "in_review");
	set(e, "issues", a->id, "implementer_session", e->r->session);
	set(e, "issues", a->id, "review_requested_by_session", e->r->session);
	issue_after(e, a->id, "review");
	add_log(e, a->id, "", "progress", "Submitted for review");
	return true;
}

static void
add_review(struct emit *e, const char *issue, const char *decision, char id[ID_MAX])
{
	new_id(e, "issue_reviews", "rv-", 8, id);
	sql_run(e->db, "INSERT INTO issue_reviews(id, issue_id, reviewer_session, decision,"
	    " summary, requested_by_session, created_at) VALUES(?,?,?,?,?,?,?)", "sssssss",
	    id, issue, e->r->session, decision, "Looks right", e->r->session,
	    local_time(e));
	if (rng_chance(&e->r->rng, 50))
		set(e, "issue_reviews", id, "self_review", "1");
	row_json(e, "issue_reviews", review_fields, id, &e->next);
	entry(e, "create", "issue_reviews", id, NULL, &e->next);
}

/* The approval of today's td wraps the issue: {"issue":{…},"created_review_id":…}. */
static void
after_wrapped(struct emit *e, const char *id, const char *action, const char *review)
{
	struct buf wrapped = { 0 };

	tick(e);
	set(e, "issues", id, "updated_at", local_time(e));
	row_json(e, "issues", issue_fields, id, &e->next);
	buf_add_str(&wrapped, "{\"issue\":");
	buf_add_span(&wrapped, buf_span(&e->next));
	buf_addf(&wrapped, ",\"created_review_id\":\"%s\"}", review);
	buf_cstr(&wrapped);
	entry(e, action, "issue", id, &e->prev, &wrapped);
	buf_free(&wrapped);
}

static bool
approve(struct emit *e, const char *id, bool record_only)
{
	char review[ID_MAX];

	if (!live(e, id) || !is(e, "issues", id, "status", "in_review"))
		return false;
	if (e->r->schema >= 38)
		add_review(e, id, "approved", review);
	issue_before(e, id);
	set(e, "issues", id, "reviewer_session", e->r->session);
	set(e, "issues", id, "reviewed_at", local_time(e));
	if (!record_only) {
		set(e, "issues", id, "status", "closed");
		set(e, "issues", id, "closed_at", local_time(e));
		set(e, "issues", id, "closed_by_session", e->r->session);
	}
	if (e->r->schema >= 38)
		after_wrapped(e, id, record_only ? "review_approve" : "approve", review);
	else
		issue_after(e, id, "approve");
	add_log(e, id, "", record_only ? "progress" : "security",
	    record_only ? "Review recorded (approved)" : "Approved");
	return true;
}

static bool
run_approve(struct emit *e, const struct emit_args *a)
{
	return approve(e, a->id, false);
}

static bool
run_record(struct emit *e, const struct emit_args *a)
{
	return e->r->schema >= 38 && approve(e, a->id, true);
}

static bool
run_reject(struct emit *e, const struct emit_args *a)
{
	char review[ID_MAX];

	if (!move(e, a->id, " in_review ", "open"))
		return false;
	set(e, "issues", a->id, "implementer_session", "");
	set(e, "issues", a->id, "review_requested_by_session", "");
	issue_after(e, a->id, "reject");
	/* the review so far is superseded */
	if (e->r->schema >= 31 && sql_text(e->db, &e->text, "SELECT id FROM issue_reviews"
	    " WHERE issue_id = ? AND superseded_at IS NULL ORDER BY id", "s", a->id)) {
		snprintf(review, sizeof(review), "%s", e->text.p);
		row_json(e, "issue_reviews", review_fields, review, &e->prev);
		set(e, "issue_reviews", review, "superseded_at", local_time(e));
		row_json(e, "issue_reviews", review_fields, review, &e->next);
		entry(e, "update", "issue_reviews", review, &e->prev, &e->next);
	}
	add_log(e, a->id, "", "progress", "Rejected: No");
	return true;
}

void
delete_issue(struct emit *e, const char *id)
{
	issue_before(e, id);
	set(e, "issues", id, "deleted_at", local_time(e));
	set(e, "issues", id, "updated_at", local_time(e));
	entry(e, "delete", "issue", id, &e->prev, NULL);
}

void
restore_issue(struct emit *e, const char *id)
{
	issue_before(e, id);
	set(e, "issues", id, "deleted_at", NULL);
	issue_after(e, id, "restore");
}

static bool
run_delete(struct emit *e, const struct emit_args *a)
{
	if (!live(e, a->id))
		return false;
	delete_issue(e, a->id);
	return true;
}

static bool
run_restore(struct emit *e, const struct emit_args *a)
{
	if (!exists(e, "issues", a->id) || live(e, a->id))
		return false;
	restore_issue(e, a->id);
	return true;
}

/* --- what hangs on an issue --- */

static bool
run_comment(struct emit *e, const struct emit_args *a)
{
	char id[ID_MAX];

	if (!exists(e, "issues", a->id))
		return false;
	new_id(e, "comments", "cm-", 8, id);
	sql_run(e->db, "INSERT INTO comments(id, issue_id, session_id, text, created_at)"
	    " VALUES(?,?,?,?,?)", "sssss", id, a->id, e->r->session, a->text,
	    local_time(e));
	tick(e);
	row_json(e, "comments", comment_fields, id, &e->next);
	entry(e, "create", "comments", id, NULL, &e->next);
	return true;
}

static bool
run_log(struct emit *e, const struct emit_args *a)
{
	static const char *const types[] = { "progress", "tried", "decision", "result", NULL };

	if (!live(e, a->id))
		return false;
	add_log(e, a->id, "", one_of(e, types, NULL), a->text);
	return true;
}

static bool
run_handoff(struct emit *e, const struct emit_args *a)
{
	if (!live(e, a->id))
		return false;
	add_handoff(e, a->id, a->text, "null");
	return true;
}

bool
leads(struct emit *e, const char *from, const char *to)
{
	return sql_int(e->db, 0, "WITH RECURSIVE way(id) AS (VALUES(?1) UNION"
	    " SELECT depends_on_id FROM issue_dependencies, way WHERE issue_id = way.id)"
	    " SELECT 1 FROM way WHERE id = ?2", "ss", from, to) != 0;
}

void
add_edge(struct emit *e, const char *id, const char *issue, const char *on)
{
	sql_run(e->db, "INSERT INTO issue_dependencies(id, issue_id, depends_on_id,"
	    " relation_type) VALUES(?,?,?,'depends_on')", "sss", id, issue, on);
	row_json(e, "issue_dependencies", edge_fields, id, &e->next);
	entry(e, "add_dependency", "issue_dependencies", id, NULL, &e->next);
}

void
remove_row(struct emit *e, const char *table, const struct field *fields,
           const char *action, const char *type, const char *id)
{
	char sql[80];

	row_json(e, table, fields, id, &e->prev);
	snprintf(sql, sizeof(sql), "DELETE FROM \"%s\" WHERE id = ?", table);
	sql_run(e->db, sql, "s", id);
	entry(e, action, type, id, &e->prev, NULL);
}

static bool
run_depend(struct emit *e, const struct emit_args *a)
{
	char id[ID_MAX];

	if (!live(e, a->id) || !live(e, a->other) || leads(e, a->other, a->id))
		return false; /* td says: would create a cycle */
	digest_id("dep_", a->id, a->other, "depends_on", id);
	if (exists(e, "issue_dependencies", id))
		return false;
	add_edge(e, id, a->id, a->other);
	return true;
}

static bool
run_undepend(struct emit *e, const struct emit_args *a)
{
	char id[ID_MAX];

	if (a->other != NULL)
		digest_id("dep_", a->id, a->other, "depends_on", id);
	else
		snprintf(id, sizeof(id), "%s", sql_text(e->db, &e->text, "SELECT id FROM"
		    " issue_dependencies WHERE issue_id = ? ORDER BY id", "s", a->id) ?
		    e->text.p : "");
	if (!exists(e, "issue_dependencies", id))
		return false;
	remove_row(e, "issue_dependencies", edge_fields, "remove_dependency",
	    "issue_dependencies", id);
	return true;
}

static const char *const paths[] = { "src/gauge.c", "src/pump.c", "src/relay.c",
    "config/valves.ini", "docs/wiring.md", NULL };

static bool
run_link(struct emit *e, const struct emit_args *a)
{
	static const char *const roles[] = { "implementation", "test", "reference",
	    "config", NULL };
	const char *path = one_of(e, paths, a->text);
	const char *role = one_of(e, roles, NULL);
	char id[ID_MAX], sha[70];

	if (!live(e, a->id))
		return false;
	digest_id("ifl_", a->id, path, NULL, id);
	rng_id(&e->r->rng, "", 64, sha, sizeof(sha));
	sql_run(e->db, "INSERT OR REPLACE INTO issue_files(id, issue_id, file_path, role,"
	    " linked_sha, linked_at) VALUES(?,?,?,?,?,?)", "ssssss", id, a->id, path, role,
	    sha, local_time(e));
	row_json(e, "issue_files", file_fields, id, &e->next);
	entry(e, "link_file", "issue_files", id, NULL, &e->next);
	return true;
}

static bool
run_unlink(struct emit *e, const struct emit_args *a)
{
	char id[ID_MAX];

	digest_id("ifl_", a->id, one_of(e, paths, a->text), NULL, id);
	if (!exists(e, "issue_files", id))
		return false;
	remove_row(e, "issue_files", file_fields, "unlink_file", "issue_files", id);
	return true;
}

const struct command commands[] = {
	{ "create",       "+t",  14, run_create },
	{ "epic",         "+t",   2, run_epic },
	{ "title",        "it",   6, run_title },
	{ "describe",     "it",   4, run_describe },
	{ "accept",       "it",   2, run_accept },
	{ "priority",     "it",   4, run_priority },
	{ "points",       "it",   3, run_points },
	{ "labels",       "it",   3, run_labels },
	{ "date",         "it",   3, run_due },
	{ "parent",       "ij",   3, run_parent },
	{ "orphan",       "i",    1, run_orphan },
	{ "start",        "i",    6, run_start },
	{ "unstart",      "i",    2, run_unstart },
	{ "block",        "i",    2, run_block },
	{ "unblock",      "i",    2, run_unblock },
	{ "review",       "i",    4, run_review },
	{ "approve",      "i",    3, run_approve },
	{ "record",       "i",    2, run_record },
	{ "reject",       "i",    2, run_reject },
	{ "close",        "i",    4, run_close },
	{ "reopen",       "i",    2, run_reopen },
	{ "delete",       "i",    3, run_delete },
	{ "restore",      "d",    3, run_restore },
	{ "comment",      "it",   6, run_comment },
	{ "log",          "it",   5, run_log },
	{ "handoff",      "it",   2, run_handoff },
	{ "depend",       "ij",   6, run_depend },
	{ "undepend",     "i",    2, run_undepend },
	{ "link",         "it",   4, run_link },
	{ "unlink",       "it",   2, run_unlink },
	{ "board",        "+t",   2, run_board },
	{ "board-edit",   "bt",   2, run_board_edit },
	{ "board-delete", "b",    1, run_board_delete },
	{ "place",        "bit",  5, run_place },
	{ "unplace",      "bi",   2, run_unplace },
	{ "ws-start",     "+t",   2, run_ws_start },
	{ "ws-tag",       "wi",   4, run_ws_tag },
	{ "ws-untag",     "wi",   1, run_ws_untag },
	{ "ws-log",       "wt",   1, run_ws_log },
	{ "ws-end",       "w",    1, run_ws_end },
	{ "note",         "+t",   3, run_note },
	{ "note-edit",    "nt",   3, run_note_edit },
	{ "note-pin",     "n",    2, run_note_pin },
	{ "note-delete",  "n",    1, run_note_delete },
	{ "note-restore", "m",    1, run_note_restore },
	{ "undo",         "",     4, run_undo },
	{ NULL }
};
