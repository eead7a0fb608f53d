/* Boards, work sessions and notes, see command.c. */
#include "command.h"

#include <stdio.h>
#include <string.h>

/* --- boards --- */

bool
run_board(struct emit *e, const struct emit_args *a)
{
	static const char *const queries[] = { "", "status = open", "priority <= P1", NULL };
	char id[ID_MAX];

	new_id(e, "boards", "bd-", 8, id);
	sql_run(e->db, "INSERT INTO boards(id, name, query, created_at, updated_at)"
	    " VALUES(?1, ?2, ?3, ?4, ?4)", "ssss", id, a->text,
	    one_of(e, queries, NULL), local_time(e));
	row_json(e, "boards", board_fields, id, &e->next);
	entry(e, "board_create", "board", id, NULL, &e->next);
	snprintf(e->id, sizeof(e->id), "%s", id);
	return true;
}

bool
run_board_edit(struct emit *e, const struct emit_args *a)
{
	static const char *const modes[] = { "swimlanes", "backlog", NULL };

	if (!exists(e, "boards", a->id))
		return false;
	if (one_of(e, modes, a->text) == a->text) { /* it is one of them */
		set(e, "boards", a->id, "view_mode", a->text);
		set(e, "boards", a->id, "updated_at", local_time(e));
		row_json(e, "boards", board_fields, a->id, &e->prev); /* td looks too late */
		tick(e);
	} else {
		row_json(e, "boards", board_fields, a->id, &e->prev);
		set(e, "boards", a->id, "name", a->text);
	}
	set(e, "boards", a->id, "updated_at", local_time(e));
	row_json(e, "boards", board_fields, a->id, &e->next);
	entry(e, "board_update", "board", a->id, &e->prev, &e->next);
	return true;
}

bool
run_board_delete(struct emit *e, const struct emit_args *a)
{
	if (!exists(e, "boards", a->id))
		return false;
	if (e->r->schema < 31) /* nothing cascades there */
		sql_run(e->db, "DELETE FROM board_issue_positions WHERE board_id = ?",
		    "s", a->id);
	remove_row(e, "boards", board_fields, "board_delete", "board", a->id);
	return true;
}

bool
run_place(struct emit *e, const struct emit_args *a)
{
	static const char *const steps[] = { "65536", "131072", "196608", "32768", "0", NULL };
	char id[ID_MAX];

	if (!exists(e, "boards", a->id) || !live(e, a->other))
		return false;
	digest_id("bip_", a->id, a->other, NULL, id);
	sql_run(e->db, "INSERT OR REPLACE INTO board_issue_positions(id, board_id, issue_id,"
	    " position, added_at) VALUES(?,?,?,CAST(? AS INTEGER),?)", "sssss", id, a->id,
	    a->other, one_of(e, steps, a->text), second_text(e, true));
	row_json(e, "board_issue_positions", position_fields, id, &e->next);
	entry(e, "board_set_position", "board_issue_positions", id, NULL, &e->next);
	set(e, "board_issue_positions", id, "added_at", local_time(e)); /* told to the second */
	return true;
}

bool
run_unplace(struct emit *e, const struct emit_args *a)
{
	char id[ID_MAX];

	digest_id("bip_", a->id, a->other, NULL, id);
	if (sql_int(e->db, 0, "SELECT 1 FROM board_issue_positions"
	    " WHERE id = ? AND deleted_at IS NULL", "s", id) == 0)
		return false;
	row_json(e, "board_issue_positions", unposition_fields, id, &e->prev);
	set(e, "board_issue_positions", id, "deleted_at", local_time(e));
	entry(e, "board_unposition", "board_issue_positions", id, &e->prev, NULL);
	return true;
}

/* --- work sessions --- */

bool
run_ws_start(struct emit *e, const struct emit_args *a)
{
	char id[ID_MAX], sha[48];

	new_id(e, "work_sessions", "ws-", 4, id);
	rng_id(&e->r->rng, "", 40, sha, sizeof(sha));
	sql_run(e->db, "INSERT INTO work_sessions(id, name, session_id, started_at,"
	    " start_sha) VALUES(?,?,?,?,?)", "sssss", id, a->text, e->r->session,
	    local_time(e), rng_chance(&e->r->rng, 50) ? sha : "");
	/* local to a machine: in the row, never on the wire */
	set(e, "work_sessions", id, "worktree_id", "wt_9dad1e4e08b0");
	set(e, "work_sessions", id, "worktree_root", e->r->dir);
	set(e, "work_sessions", id, "repo_root", e->r->dir);
	tick(e);
	row_json(e, "work_sessions", ws_start_fields, id, &e->next);
	entry(e, "create", "work_sessions", id, NULL, &e->next);
	snprintf(e->id, sizeof(e->id), "%s", id);
	return true;
}

bool
run_ws_tag(struct emit *e, const struct emit_args *a)
{
	char id[ID_MAX];

	if (!exists(e, "work_sessions", a->id) || !live(e, a->other))
		return false;
	digest_id("wsi_", a->id, a->other, NULL, id);
	if (exists(e, "work_session_issues", id))
		return false;
	sql_run(e->db, "INSERT INTO work_session_issues(id, work_session_id, issue_id,"
	    " tagged_at) VALUES(?,?,?,?)", "ssss", id, a->id, a->other, local_time(e));
	row_json(e, "work_session_issues", tag_fields, id, &e->next);
	entry(e, "work_session_tag", "work_session_issues", id, NULL, &e->next);
	return true;
}

bool
run_ws_untag(struct emit *e, const struct emit_args *a)
{
	char id[ID_MAX];

	digest_id("wsi_", a->id, a->other, NULL, id);
	if (!row_json(e, "work_session_issues", untag_fields, id, &e->next))
		return false;
	sql_run(e->db, "DELETE FROM work_session_issues WHERE id = ?", "s", id);
	/* td puts the row that goes into new_data here */
	entry(e, "work_session_untag", "work_session_issues", id, NULL, &e->next);
	return true;
}

bool
run_ws_log(struct emit *e, const struct emit_args *a)
{
	if (!exists(e, "work_sessions", a->id))
		return false;
	add_log(e, "", a->id, "progress", a->text);
	return true;
}

bool
run_ws_end(struct emit *e, const struct emit_args *a)
{
	if (sql_int(e->db, 0, "SELECT 1 FROM work_sessions"
	    " WHERE id = ? AND ended_at IS NULL", "s", a->id) == 0)
		return false;
	set(e, "work_sessions", a->id, "ended_at", local_time(e));
	set(e, "work_sessions", a->id, "end_sha",
	    "a62b66d36852132e0a43a44d42de6dca07dacd27");
	tick(e);
	row_json(e, "work_sessions", ws_end_fields, a->id, &e->next);
	/* without previous_data: a REPLACE everywhere, which untags its issues */
	entry(e, "update", "work_sessions", a->id, NULL, &e->next);
	return true;
}

/* --- notes: td keeps their times to the second, but logs them whole --- */

static const char *
note_type(const struct emit *e)
{
	return e->r->schema < 31 ? "notes" : "note";
}

/* Write the row's times as td does, after the JSON was taken. */
static void
note_written(struct emit *e, const char *id, bool created)
{
	const char *at = second_text(e, e->r->schema < 31);

	set(e, "notes", id, "updated_at", at);
	if (created)
		set(e, "notes", id, "created_at", at);
}

bool
run_note(struct emit *e, const struct emit_args *a)
{
	struct buf at = { 0 };
	char id[ID_MAX];

	new_id(e, "notes", "nt-", e->r->schema < 31 ? 8 : 6, id);
	time_add_rfc3339(&at, e->now);
	sql_run(e->db, "INSERT INTO notes(id, title, content, created_at, updated_at)"
	    " VALUES(?1, 'A note', ?2, ?3, ?3)", "sss", id, a->text, buf_cstr(&at));
	row_json(e, "notes", note_fields, id, &e->next);
	note_written(e, id, true);
	entry(e, "create", note_type(e), id, NULL, &e->next);
	snprintf(e->id, sizeof(e->id), "%s", id);
	buf_free(&at);
	return true;
}

static bool
live_note(struct emit *e, const char *id)
{
	return sql_int(e->db, 0, "SELECT 1 FROM notes WHERE id = ? AND deleted_at IS NULL",
	    "s", id) != 0;
}

static bool
change_note(struct emit *e, const char *id, const char *column, const char *value,
            const char *action)
{
	struct buf at = { 0 };

	row_json(e, "notes", note_fields, id, &e->prev);
	set(e, "notes", id, column, value);
	time_add_rfc3339(&at, e->now);
	set(e, "notes", id, "updated_at", buf_cstr(&at));
	row_json(e, "notes", note_fields, id, &e->next);
	note_written(e, id, false);
	entry(e, action, note_type(e), id, &e->prev, &e->next);
	buf_free(&at);
	return true;
}

bool
run_note_edit(struct emit *e, const struct emit_args *a)
{
	return live_note(e, a->id) &&
	    change_note(e, a->id, rng_chance(&e->r->rng, 50) ? "content" : "title",
	                a->text, "update");
}

bool
run_note_pin(struct emit *e, const struct emit_args *a)
{
	return live_note(e, a->id) &&
	    change_note(e, a->id, rng_chance(&e->r->rng, 50) ? "pinned" : "archived",
	                rng_chance(&e->r->rng, 50) ? "1" : "0", "update");
}

bool
run_note_delete(struct emit *e, const struct emit_args *a)
{
	if (!live_note(e, a->id))
		return false;
	row_json(e, "notes", note_fields, a->id, &e->prev);
	set(e, "notes", a->id, "deleted_at", second_text(e, e->r->schema < 31));
	note_written(e, a->id, false);
	entry(e, "delete", note_type(e), a->id, &e->prev, NULL);
	return true;
}

bool
run_note_restore(struct emit *e, const struct emit_args *a)
{
	return exists(e, "notes", a->id) && !live_note(e, a->id) &&
	    change_note(e, a->id, "deleted_at", NULL, "restore");
}
