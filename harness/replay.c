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

/* Notes are kept to the second, in UTC. */
static void
cut_times(struct emit *e, const char *id)
{
	static const char *const columns[] = { "created_at", "updated_at" };
	struct instant at;
	struct buf text = { 0 };
	size_t i;

	for (i = 0; i < 2; i++) {
		if (!time_parse_any(span_of(get(e, "notes", id, columns[i])), &at))
			continue;
		at.nsec = at.offset = 0;
		buf_reset(&text);
		time_add_rfc3339(&text, at);
		set(e, "notes", id, columns[i], buf_cstr(&text));
	}
	buf_free(&text);
}

static void
hide(struct emit *e, const struct kind *k, const char *id)
{
	bool note = strcmp(k->table, "notes") == 0;

	set(e, k->table, id, "deleted_at", note ? second_text(e, true) : local_time(e));
	set(e, k->table, id, "updated_at", note ? second_text(e, true) : local_time(e));
}

static void
write_as_td(struct emit *e, const struct kind *k, const char *type, const char *id,
            struct span row)
{
	char sql[100];
	struct span inner;

	if (json_get(row, "issue", &inner))
		row = inner;
	switch (profile_local_action(&profile_td, span_of(type))) {
	case ACTION_CREATE: /* a board's change is one on the wire, not here */
		write_row(e, k, id, row, strcmp(type, "board_update") != 0);
		break;
	case ACTION_UPDATE:
		write_row(e, k, id, row, false);
		break;
	case ACTION_RESTORE:
		write_row(e, k, id, row, !exists(e, k->table, id));
		break;
	case ACTION_SOFT_DELETE:
		hide(e, k, id);
		return;
	case ACTION_DELETE:
		snprintf(sql, sizeof(sql), "DELETE FROM \"%s\" WHERE id = ?", k->table);
		sql_run(e->db, sql, "s", id);
		return;
	}
	if (strcmp(k->table, "notes") == 0)
		cut_times(e, id);
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
