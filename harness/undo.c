/* td undo, see command.c. */
#include "command.h"

#include "base/json.h"

#include <stdio.h>
#include <string.h>

/* Take back a change of an issue, review and all. */
static void
undo_change(struct emit *e, const char *id, struct span prev, struct span next)
{
	struct span review;

	if (json_get(next, "created_review_id", &review)) {
		struct buf rv = { 0 };

		json_string(review, &rv);
		if (exists(e, "issue_reviews", buf_cstr(&rv)))
			remove_row(e, "issue_reviews", review_fields, "review_delete",
			    "issue_reviews", rv.p);
		buf_free(&rv);
	}
	issue_before(e, id);
	write_row(e, kind_find("issues"), id, prev, false);
	issue_after(e, id, "update");
}

/* Do the reverse of an entry; false where td would not. */
static bool
reverse(struct emit *e, const char *action, const char *type, const char *id,
        struct span prev, struct span next)
{
	struct buf a = { 0 }, b = { 0 };
	bool done = true;

	if (strcmp(type, "issue") == 0 && !exists(e, "issues", id)) {
		done = false;
	} else if (strcmp(type, "issue") == 0) {
		if (strcmp(action, "create") == 0)
			delete_issue(e, id);
		else if (strcmp(action, "restore") == 0)
			done = false; /* td says that it can't */
		else if (strcmp(action, "delete") == 0)
			restore_issue(e, id);
		else
			undo_change(e, id, prev, next);
	} else if (strcmp(action, "add_dependency") == 0) {
		done = exists(e, "issue_dependencies", id);
		if (done)
			remove_row(e, "issue_dependencies", edge_fields,
			    "remove_dependency", "issue_dependencies", id);
	} else if (strcmp(action, "remove_dependency") == 0) {
		field_value(e, prev, &edge_fields[2], &a);
		field_value(e, prev, &edge_fields[0], &b);
		done = !exists(e, "issue_dependencies", id) &&
		    exists(e, "issues", buf_cstr(&a)) && exists(e, "issues", buf_cstr(&b)) &&
		    !leads(e, b.p, a.p);
		if (done)
			add_edge(e, id, a.p, b.p);
	} else if (strcmp(action, "link_file") == 0) {
		done = exists(e, "issue_files", id);
		if (done)
			remove_row(e, "issue_files", file_fields, "unlink_file",
			    "issue_files", id);
	} else if (strcmp(action, "handoff") == 0) {
		done = exists(e, "handoffs", id);
		if (done) /* on the wire a soft_delete, of a table that knows none */
			remove_row(e, "handoffs", handoff_fields, "delete", "handoff", id);
	} else if (strcmp(action, "board_delete") == 0) {
		done = !exists(e, "boards", id);
		if (done) {
			write_row(e, kind_find("boards"), id, prev, true);
			row_json(e, "boards", board_fields, id, &e->next);
			entry(e, "restore", "board", id, NULL, &e->next);
		}
	} else {
		done = false;
	}
	buf_free(&a);
	buf_free(&b);
	return done;
}

static struct span
json_of(const char *text)
{
	struct span value = { 0 };

	if (text[0] != '\0' &&
	    json_scan(span_of(text), JSON_MAX_DEPTH, &value, NULL, NULL) != RC_OK)
		die("not JSON: %.80s", text);
	return value;
}

/*
 * td undo: the last action of the session that can be undone, by its time (as
 * text, in which what the backfill dates is before all others). It is marked,
 * and its reverse is done and logged: so a pending one is never pushed, what
 * takes it back is.
 */
bool
run_undo(struct emit *e, const struct emit_args *a)
{
	sqlite3_stmt *st;
	int64_t rowid;
	bool done;

	(void)a;
	st = sql_prepare(e->db, "SELECT rowid, action_type, entity_type, entity_id,"
	    " previous_data, new_data FROM action_log WHERE undone = 0 AND session_id = ?"
	    " AND (entity_type IN ('issue','issue_files','handoff') OR action_type IN"
	    " ('add_dependency','remove_dependency','board_delete'))"
	    " ORDER BY timestamp DESC, rowid DESC LIMIT 1", "s", e->r->session);
	if (!sql_next(&st))
		return false;
	rowid = sqlite3_column_int64(st, 0);
	snprintf(e->id, sizeof(e->id), "%s", (const char *)sqlite3_column_text(st, 3));
	done = reverse(e, (const char *)sqlite3_column_text(st, 1),
	    (const char *)sqlite3_column_text(st, 2), e->id,
	    json_of((const char *)sqlite3_column_text(st, 4)),
	    json_of((const char *)sqlite3_column_text(st, 5)));
	sqlite3_finalize(st);
	if (done)
		sql_run(e->db, "UPDATE action_log SET undone = 1 WHERE rowid = ?", "i", rowid);
	return done;
}
