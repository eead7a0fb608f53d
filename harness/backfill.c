#include "backfill.h"

#include "compare.h"

#include "base/json.h"
#include "profiles/profile.h"

#include <stdio.h>
#include <string.h>

/* The times by which td dates an entry for a row: the first that a table has. */
static const char *const dates[] = { "created_at", "timestamp", "added_at", "started_at",
    "tagged_at", "linked_at", NULL };

/* --- a row --- */

/* A value as Go's encoder writes it: what is declared DATETIME as RFC 3339. */
static void
add_value(struct buf *out, sqlite3_stmt *st, int col)
{
	const char *decl = sqlite3_column_decltype(st, col);
	struct buf time = { 0 };
	struct instant at;

	switch (sqlite3_column_type(st, col)) {
	case SQLITE_NULL:
		buf_add_str(out, "null");
		break;
	case SQLITE_TEXT:
		if (decl != NULL && strcmp(decl, "DATETIME") == 0 &&
		    time_parse_any(sql_col(st, col), &at)) {
			time_add_rfc3339(&time, at);
			buf_add_json(out, buf_span(&time));
			buf_free(&time);
		} else {
			buf_add_json(out, sql_col(st, col));
		}
		break;
	default:
		buf_add_span(out, sql_col(st, col));
	}
}

/* SELECT of the columns by name; for those of one machine td has no place. */
static void
select_row(sqlite3 *db, const char *table, struct buf *sql)
{
	const struct profile_entity *e = profile_entity(&profile_td, span_of(table));
	sqlite3_stmt *st = sql_prepare(db, "SELECT name FROM pragma_table_info(?)"
	    " ORDER BY name", "s", table);
	const struct profile_column *c;
	const char *comma = "SELECT ";

	while (sql_next(&st)) {
		c = e == NULL ? NULL : profile_column(e, sql_col(st, 0));
		if (c != NULL && (c->flags & PROFILE_LOCAL) != 0)
			continue;
		buf_addf(sql, "%s\"%s\"", comma, (const char *)sqlite3_column_text(st, 0));
		comma = ", ";
	}
	buf_addf(sql, " FROM \"%s\" WHERE id = ?", table);
}

bool
backfill_row(sqlite3 *db, const char *table, const char *id, struct buf *out)
{
	struct buf sql = { 0 };
	sqlite3_stmt *st;
	bool found;
	int i;

	select_row(db, table, &sql);
	st = sql_prepare(db, buf_cstr(&sql), "s", id);
	buf_free(&sql);
	buf_reset(out);
	found = sql_next(&st);
	for (i = 0; found && i < sqlite3_column_count(st); i++) {
		buf_addf(out, "%c\"%s\":", i == 0 ? '{' : ',', sqlite3_column_name(st, i));
		add_value(out, st, i);
	}
	if (found)
		buf_add_byte(out, '}');
	sqlite3_finalize(st);
	return found;
}

/* --- entries --- */

/* A `create` of the row as it is, dated by one of its times. */
static void
add_create(sqlite3 *db, struct replica *r, const char *table, const char *id,
           struct span date)
{
	struct buf row = { 0 }, when = { 0 };
	struct instant at;
	char al[ID_MAX];

	if (!time_parse_any(date, &at))
		at = replica_now(r);
	time_add_sqlite(&when, at);
	backfill_row(db, table, id, &row);
	rng_id(&r->rng, "al-", 8, al, sizeof(al));
	sql_run(db, "INSERT INTO action_log(id, session_id, action_type, entity_type,"
	    " entity_id, previous_data, new_data, timestamp)"
	    " VALUES(?, ?, 'create', ?, ?, '', ?, ?)", "ssssbb", al, r->session,
	    strcmp(table, "issues") == 0 ? "issue" : table, id, buf_span(&row),
	    buf_span(&when));
	buf_free(&row);
	buf_free(&when);
}

/* Rows of a table that no entry creates, or none that was not undone. */
static int
add_orphans(sqlite3 *db, struct replica *r, const char *table)
{
	struct buf sql = { 0 };
	const char *date = "NULL";
	sqlite3_stmt *st;
	int i, n = 0;

	if (!sql_has(db, table, "id"))
		return 0; /* an older schema */
	for (i = 0; dates[i] != NULL; i++)
		if (sql_has(db, table, dates[i])) {
			date = dates[i];
			break;
		}
	buf_addf(&sql, "SELECT id, %s FROM \"%s\" t WHERE NOT EXISTS (SELECT 1 FROM action_log"
	    " WHERE entity_id = t.id AND undone = 0 AND action_type IN ('create', 'handoff',"
	    " 'add_dependency', 'link_file', 'board_create', 'board_set_position',"
	    " 'board_add_issue', 'work_session_tag'))%s ORDER BY rowid", date, table,
	    strcmp(table, "boards") == 0 ? " AND is_builtin = 0" : "");
	st = sql_prepare(db, buf_cstr(&sql), "");
	for (; sql_next(&st); n++)
		add_create(db, r, table, (const char *)sqlite3_column_text(st, 0),
		    sql_col(st, 1));
	buf_free(&sql);
	return n;
}

/* The member of an entry's new_data, which may wrap its issue; "" for none. */
static void
logged(struct span entry, const char *name, struct buf *out)
{
	struct span object, inner, v;

	buf_reset(out);
	if (json_scan(entry, JSON_MAX_DEPTH, &object, NULL, NULL) != RC_OK)
		return;
	if (json_get(object, "issue", &inner))
		object = inner;
	if (json_get(object, name, &v))
		json_string(v, out);
}

/* Whether an issue is later than the last entry that tells of it, or is deleted
 * or has another status there. */
static bool
is_stale(sqlite3_stmt *st)
{
	struct buf v = { 0 };
	struct instant row, told;
	bool stale;

	logged(sql_col(st, 5), "status", &v);
	stale = !span_eq(buf_span(&v), sql_col(st, 2));
	logged(sql_col(st, 5), "deleted_at", &v);
	if (sqlite3_column_type(st, 3) != SQLITE_NULL && v.len == 0)
		stale = true;
	if (time_parse_any(sql_col(st, 1), &row) && time_parse_any(sql_col(st, 4), &told) &&
	    time_compare(row, told) > 0)
		stale = true;
	buf_free(&v);
	return stale;
}

/*
 * The last entry is the last by its text, in which a 'T' comes after any blank:
 * an issue that was created and deleted is stale at each push, since its own
 * entry is always the last, and does not tell of the deletion.
 */
static int
add_stale(sqlite3 *db, struct replica *r)
{
	sqlite3_stmt *st = sql_prepare(db, "SELECT i.id, i.updated_at, i.status, i.deleted_at,"
	    " a.timestamp, a.new_data FROM issues i JOIN action_log a ON a.rowid = (SELECT rowid"
	    " FROM action_log WHERE entity_id = i.id AND entity_type IN ('issue', 'issues')"
	    " AND undone = 0 AND new_data <> '' ORDER BY timestamp DESC, rowid DESC LIMIT 1)"
	    " ORDER BY i.rowid", "");
	int n = 0;

	while (sql_next(&st))
		if (is_stale(st)) {
			add_create(db, r, "issues", (const char *)sqlite3_column_text(st, 0),
			    sql_col(st, 1));
			n++;
		}
	return n;
}

int
backfill(sqlite3 *db, struct replica *r)
{
	int i, n = 0;

	for (i = 0; compare_tables[i] != NULL; i++)
		n += add_orphans(db, r, compare_tables[i]);
	return n + add_stale(db, r);
}
