/*
 * A replica lives again what another td database's action log tells: by the
 * rules for events (emit_log), or entry by entry with td's own writes (emit_entry).
 */
#include "command.h"

#include "base/json.h"
#include "engine/apply.h"

#include <stdio.h>
#include <string.h>

static void
add_entry(struct emit *e, sqlite3_stmt *st)
{
	sqlite3_stmt *in = sql_prepare(e->db, "INSERT INTO action_log(id, session_id,"
	    " action_type, entity_type, entity_id, previous_data, new_data, timestamp,"
	    " undone) VALUES(?,?,?,?,?,?,?,?,?)", "");
	int i;

	for (i = 0; i < 9; i++)
		sqlite3_bind_value(in, i + 1, sqlite3_column_value(st, i));
	while (sql_next(&in))
		;
}

/* A time of an action log, in whatever form, as RFC 3339. */
static const char *
wire_time(struct span stored, struct buf *out)
{
	struct instant at;

	if (!time_parse_any(stored, &at))
		die("not a time: %.*s", (int)stored.len, stored.p);
	buf_reset(out);
	time_add_rfc3339(out, at);
	return buf_cstr(out);
}

static void
add_or_empty(struct buf *out, const char *name, struct span json)
{
	buf_addf(out, "\"%s\":", name);
	if (json.len == 0)
		buf_add_str(out, "{}");
	else
		buf_add_span(out, json);
}

/* Change the rows as the entry says; its columns start at 2. */
static void
effect(struct emit *e, struct applier *a, sqlite3_stmt *st)
{
	struct buf payload = { 0 }, time = { 0 };
	struct event ev = { 0 };
	const struct profile_entity *entity = profile_entity(&profile_td, sql_col(st, 3));
	enum applied what;
	struct err err;

	if (entity == NULL)
		return;
	buf_add_byte(&payload, '{');
	add_or_empty(&payload, "new_data", sql_col(st, 6));
	buf_add_byte(&payload, ',');
	add_or_empty(&payload, "previous_data", sql_col(st, 5));
	buf_add_str(&payload, ",\"schema_version\":1}");
	ev.type = span_of(entity->table);
	ev.action = profile_local_action(&profile_td, sql_col(st, 2));
	ev.id = sql_col(st, 4);
	ev.payload = buf_span(&payload);
	ev.time = span_of(wire_time(sql_col(st, 7), &time));
	if (applier_apply(a, &ev, &what, &err) != RC_OK)
		die("replay of %.*s: %s", (int)ev.id.len, ev.id.p, err.text);
	e->entries++;
	buf_free(&payload);
	buf_free(&time);
}

/* --- as td wrote it --- */

/* td keeps a note's times to the second. */
static void
cut_time(struct emit *e, const char *id, const char *column)
{
	struct instant at;
	struct buf text = { 0 };

	if (time_parse_any(span_of(get(e, "notes", id, column)), &at)) {
		at.nsec = 0;
		time_add_rfc3339(&text, at);
		set(e, "notes", id, column, buf_cstr(&text));
	}
	buf_free(&text);
}

/* Deleted, or not any more: that and its time are all that td writes then. */
static void
hide(struct emit *e, const struct kind *k, const char *id, bool hidden)
{
	bool note = strcmp(k->table, "notes") == 0;

	set(e, k->table, id, "deleted_at", !hidden ? NULL :
	    note ? second_text(e, false) : local_time(e));
	set(e, k->table, id, "updated_at", note ? second_text(e, false) : local_time(e));
}

/* What td has in a row more precisely than it tells. */
static void
refine(struct emit *e, const struct kind *k, const char *id, bool insert)
{
	if (strcmp(k->table, "notes") == 0) { /* or less */
		cut_time(e, id, "updated_at");
		if (insert)
			cut_time(e, id, "created_at");
	} else if (strcmp(k->table, "board_issue_positions") == 0) {
		set(e, k->table, id, "added_at", local_time(e));
	} else if (strcmp(k->table, "issue_files") == 0) {
		set(e, k->table, id, "linked_at", local_time(e));
	} else if (strcmp(k->table, "handoffs") == 0) {
		set(e, k->table, id, "timestamp", local_time(e));
	}
}

static void
write_as_td(struct emit *e, const struct kind *k, const char *type, const char *id,
            struct span row)
{
	enum action action = profile_local_action(&profile_td, span_of(type));
	bool there = exists(e, k->table, id);
	char sql[100];
	struct span inner;

	if (json_get(row, "issue", &inner))
		row = inner;
	if (action == ACTION_DELETE) {
		snprintf(sql, sizeof(sql), "DELETE FROM \"%s\" WHERE id = ?", k->table);
		sql_run(e->db, sql, "s", id);
	} else if (action == ACTION_SOFT_DELETE || (action == ACTION_RESTORE && there)) {
		hide(e, k, id, action == ACTION_SOFT_DELETE);
	} else {
		/* A board's change is a create on the wire, not here. */
		bool insert = action != ACTION_UPDATE && strcmp(type, "board_update") != 0;

		write_row(e, k, id, row, insert);
		refine(e, k, id, insert);
	}
}

void
emit_entry(struct emit *e, sqlite3_stmt *st)
{
	const struct profile_entity *entity = profile_entity(&profile_td, sql_col(st, 3));
	struct span row = { 0 }, text = sql_col(st, 6);
	const struct kind *k;

	if (entity == NULL || (k = kind_find(entity->table)) == NULL)
		die("an entry of %s", (const char *)sqlite3_column_text(st, 3));
	if (text.len > 0 && json_scan(text, JSON_MAX_DEPTH, &row, NULL, NULL) != RC_OK)
		die("not JSON: %.80s", text.p);
	if (!time_parse_any(sql_col(st, 7), &e->now))
		die("not a time: %s", (const char *)sqlite3_column_text(st, 7));
	e->now.offset = e->r->zone;
	add_entry(e, st);
	write_as_td(e, k, (const char *)sqlite3_column_text(st, 2),
	    (const char *)sqlite3_column_text(st, 4), row);
}

/* --- by the rules for events --- */

int
emit_log(struct emit *e, const char *path, int64_t from, int64_t to)
{
	sqlite3 *source = sql_open_frozen(path);
	sqlite3_stmt *st;
	struct applier *a;
	struct err err;
	int n = 0;

	if (applier_new(e->db, "main", &profile_td, &a, &err) != RC_OK)
		die("%s", err.text);
	st = sql_prepare(source, "SELECT id, session_id, action_type, entity_type,"
	    " entity_id, previous_data, new_data, timestamp, undone FROM action_log"
	    " WHERE rowid > ? AND rowid <= ? ORDER BY rowid", "ii", from, to);
	while (sql_next(&st)) {
		add_entry(e, st);
		effect(e, a, st);
		n++;
	}
	applier_free(a);
	sql_close(source);
	return n;
}
