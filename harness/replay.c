/* A replica lives again what another td database's action log tells. */
#include "command.h"

#include "engine/apply.h"

#include <string.h>

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

int
emit_log(struct emit *e, const char *path, int64_t from, int64_t to)
{
	sqlite3 *source = sql_open_frozen(path);
	sqlite3_stmt *st;
	struct applier *a;
	struct err err;
	int n = 0, i;

	if (applier_new(e->db, "main", &profile_td, &a, &err) != RC_OK)
		die("%s", err.text);
	st = sql_prepare(source, "SELECT id, session_id, action_type, entity_type,"
	    " entity_id, previous_data, new_data, timestamp, undone FROM action_log"
	    " WHERE rowid > ? AND rowid <= ? ORDER BY rowid", "ii", from, to);
	while (sql_next(&st)) {
		sqlite3_stmt *in = sql_prepare(e->db, "INSERT INTO action_log(id, session_id,"
		    " action_type, entity_type, entity_id, previous_data, new_data,"
		    " timestamp, undone) VALUES(?,?,?,?,?,?,?,?,?)", "");

		for (i = 0; i < 9; i++)
			sqlite3_bind_value(in, i + 1, sqlite3_column_value(st, i));
		while (sql_next(&in))
			;
		effect(e, a, st);
		n++;
	}
	applier_free(a);
	sql_close(source);
	return n;
}
