#include "clobber.h"

#include "base/json.h"

#include <stdio.h>

/* What people write, and what it is worth to nobody. */
static const struct watched {
	const char *table, *column, *none;
} watched[] = {
	{ "issues", "title", "" }, { "issues", "description", "" },
	{ "issues", "acceptance", "" }, { "issues", "status", "open" },
	{ "issues", "type", "task" }, { "issues", "priority", "P2" },
	{ "issues", "points", "0" }, { "issues", "parent_id", "" },
	{ "notes", "title", "" }, { "notes", "content", "" },
};
#define WATCHED (sizeof(watched) / sizeof(watched[0]))

void
clobber_begin(sqlite3 *db)
{
	sql_run(db, "CREATE TEMP TABLE wrote(id, col, value, user, PRIMARY KEY(id, col));"
	    "CREATE TEMP TABLE clobbered(seq, id, col, value)", "");
}

/* A member of an object as the table would hold it; "" where there is none. */
static const char *
member(struct span object, const char *name, struct buf *out)
{
	struct span v;

	buf_reset(out);
	if (json_type(object) == JSON_OBJECT && json_get(object, name, &v) &&
	    !json_string(v, out) && json_type(v) != JSON_NULL)
		buf_add_span(out, v);
	return buf_cstr(out);
}

/* The value of a row's column; false where there is no row. */
static bool
value_of(sqlite3 *db, const struct watched *w, struct span id, struct buf *out)
{
	char sql[120];

	snprintf(sql, sizeof(sql), "SELECT coalesce(\"%s\", '') FROM \"%s\" WHERE id = ?",
	    w->column, w->table);
	buf_reset(out);
	return sql_text(db, out, sql, "b", id);
}

void
clobber_before(sqlite3 *db, const struct event *ev)
{
	struct span before = { 0 }, after = { 0 }, v;
	struct buf has = { 0 }, saw = { 0 }, writes = { 0 };
	size_t i;

	if (ev->by_server || ev->action != ACTION_UPDATE ||
	    !json_get(ev->payload, "previous_data", &before) ||
	    !json_get(ev->payload, "new_data", &after) || !json_get(before, "id", &v) ||
	    !json_get(after, "id", &v))
		return;
	for (i = 0; i < WATCHED; i++) {
		const struct watched *w = &watched[i];

		if (!span_is(ev->type, w->table) || !value_of(db, w, ev->id, &has) ||
		    span_is(buf_span(&has), w->none) || buf_span(&has).len == 0)
			continue;
		member(before, w->column, &saw);
		member(after, w->column, &writes);
		if (!span_eq(buf_span(&saw), buf_span(&writes)) &&
		    !span_eq(buf_span(&has), buf_span(&saw)) &&
		    !span_eq(buf_span(&has), buf_span(&writes)))
			sql_run(db, "INSERT INTO clobbered SELECT ?1, id, col, value FROM wrote"
			    " WHERE id = ?2 AND col = ?3 AND value = ?4 AND user <> ?5", "ibsbb",
			    ev->seq, ev->id, w->column, buf_span(&has), ev->user);
	}
	buf_free(&has);
	buf_free(&saw);
	buf_free(&writes);
}

void
clobber_after(sqlite3 *db, const struct event *ev)
{
	struct buf has = { 0 };
	size_t i;

	for (i = 0; i < WATCHED; i++)
		if (span_is(ev->type, watched[i].table) &&
		    value_of(db, &watched[i], ev->id, &has))
			sql_run(db, "INSERT INTO wrote VALUES(?1, ?2, ?3, ?4) ON CONFLICT DO"
			    " UPDATE SET value = ?3, user = ?4 WHERE value <> ?3", "bsbb", ev->id,
			    watched[i].column, buf_span(&has), ev->user);
	buf_free(&has);
}

/* Whether a conflict tells of that field of that event. */
static bool
tells(struct span conflict, int64_t seq, struct span id, struct span column)
{
	struct span v, fields, key, one;
	struct json_iter it;
	int64_t number = 0;
	bool found = false;
	struct buf text = { 0 };

	if (!json_get(conflict, "server_seq", &v) || !json_int64(v, &number) || number != seq ||
	    !json_get(conflict, "entity_id", &v) || !json_string(v, &text) ||
	    !span_eq(buf_span(&text), id) || !json_get(conflict, "fields", &fields)) {
		buf_free(&text);
		return false;
	}
	for (json_iter_init(&it, fields); !found && json_next(&it, &key, &one);) {
		buf_reset(&text);
		found = json_get(one, "field", &v) && json_string(v, &text) &&
		    span_eq(buf_span(&text), column);
	}
	buf_free(&text);
	return found;
}

bool
clobber_check(struct run *run, sqlite3 *db, struct span list)
{
	sqlite3_stmt *st = sql_prepare(db, "SELECT seq, id, col, value FROM clobbered"
	    " ORDER BY seq, id, col", "");
	struct span key, one;
	struct json_iter it;
	bool found = true;

	while (found && sql_next(&st)) {
		found = false;
		for (json_iter_init(&it, list); !found && json_next(&it, &key, &one);)
			found = tells(one, sqlite3_column_int64(st, 0), sql_col(st, 1),
			    sql_col(st, 2));
		run->clobbered++;
		if (!found)
			run_fail(run, "seq %lld took %s %s '%.80s' from somebody, and no conflict"
			    " tells", (long long)sqlite3_column_int64(st, 0),
			    (const char *)sqlite3_column_text(st, 1),
			    (const char *)sqlite3_column_text(st, 2),
			    (const char *)sqlite3_column_text(st, 3));
	}
	sqlite3_finalize(st);
	return found;
}
