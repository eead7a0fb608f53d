/* Plain upserts, see rows.h. */
#include "bench/rows.h"

#include "base/clock.h"
#include "base/json.h"
#include "bench/history.h"
#include "engine/table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TABLES 32

/* A row, or the end of one, as values: parts of its texts. */
struct change {
	struct table *table;
	enum action action;
	char *texts;
	size_t at[TABLE_COLUMNS], len[TABLE_COLUMNS]; /* at 0: NULL */
};

struct rows {
	sqlite3 *db;
	struct tables tables;
	sqlite3_stmt *put[TABLES], *hide[TABLES], *show[TABLES], *cut[TABLES];
	struct change changes[ROWS_MAX];
};

static void
must(sqlite3 *db, int code)
{
	if (code == SQLITE_OK || code == SQLITE_ROW || code == SQLITE_DONE)
		return;
	fprintf(stderr, "bench: plain SQLite: %s\n", sqlite3_errmsg(db));
	abort();
}

static void
prepare(sqlite3 *db, sqlite3_stmt **out, struct buf *sql)
{
	must(db, sqlite3_prepare_v3(db, buf_cstr(sql), -1, SQLITE_PREPARE_PERSISTENT, out, NULL));
	buf_free(sql);
}

/* The statements of a table, as anybody would write them. */
static void
prepare_table(struct rows *r, size_t i)
{
	const struct table *t = &r->tables.list[i];
	const char *name = t->entity->table;
	struct buf sql = { 0 };

	buf_addf(&sql, "INSERT INTO %s VALUES (", name);
	for (int c = 0; c < t->n_columns; c++)
		buf_addf(&sql, "%s?%d", c > 0 ? "," : "", c + 1);
	buf_add_str(&sql, ") ON CONFLICT(id) DO UPDATE SET ");
	for (int c = 0; c < t->n_columns; c++)
		buf_addf(&sql, "%s%s = excluded.%s", c > 0 ? "," : "", t->columns[c].name,
		         t->columns[c].name);
	prepare(r->db, &r->put[i], &sql);
	buf_addf(&sql, "DELETE FROM %s WHERE id = ?1", name);
	prepare(r->db, &r->cut[i], &sql);
	if (t->deleted_at < 0)
		return;
	buf_addf(&sql, "UPDATE %s SET deleted_at = ?2 WHERE id = ?1", name);
	prepare(r->db, &r->hide[i], &sql);
	buf_addf(&sql, "UPDATE %s SET deleted_at = NULL WHERE id = ?1", name);
	prepare(r->db, &r->show[i], &sql);
}

struct rows *
rows_new(const char *path)
{
	struct rows *r = calloc(1, sizeof(*r));
	struct buf schema = { 0 };
	struct err err;

	if (r == NULL)
		abort();
	must(NULL, sqlite3_open(path, &r->db));
	must(r->db, sqlite3_exec(r->db, "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;"
	                         "PRAGMA cache_size=-65536", NULL, NULL, NULL));
	profile_schema(&profile_td, "main", &schema);
	must(r->db, sqlite3_exec(r->db, buf_cstr(&schema), NULL, NULL, NULL));
	buf_free(&schema);
	if (tables_read(&r->tables, r->db, "main", &profile_td, &err) != RC_OK ||
	    r->tables.n > TABLES)
		abort();
	for (size_t i = 0; i < r->tables.n; i++)
		if (r->tables.list[i].n_columns > 0)
			prepare_table(r, i);
	return r;
}

void
rows_free(struct rows *r)
{
	for (int i = 0; i < ROWS_MAX; i++)
		free(r->changes[i].texts);
	for (size_t i = 0; i < r->tables.n; i++) {
		sqlite3_finalize(r->put[i]);
		sqlite3_finalize(r->hide[i]);
		sqlite3_finalize(r->show[i]);
		sqlite3_finalize(r->cut[i]);
	}
	tables_free(&r->tables);
	sqlite3_close(r->db);
	free(r);
}

/* A value as it will be bound: a text, of which SQLite makes a number where the
 * column is for one. */
static void
take_value(struct change *c, int column, struct span v, struct buf *texts)
{
	sqlite3_value *fallback = c->table->columns[column].fallback;

	if (v.len == 0 ? fallback == NULL : json_type(v) == JSON_NULL)
		return;
	c->at[column] = texts->len;
	if (v.len == 0)
		buf_add_str(texts, (const char *)sqlite3_value_text(fallback));
	else if (!json_string(v, texts))
		buf_add_span(texts, v);
	c->len[column] = texts->len - c->at[column];
}

/* Read an event: this is not measured. */
static void
take_change(struct rows *r, struct change *c, const struct event *ev)
{
	struct span row = { NULL, 0 };
	struct buf texts = { 0 };

	free(c->texts);
	memset(c, 0, sizeof(*c));
	c->table = tables_find(&r->tables, ev->type);
	c->action = ev->action;
	json_get(ev->payload, "new_data", &row);
	buf_add_byte(&texts, ' ');
	for (int i = 0; i < c->table->n_columns; i++) {
		struct span v = { NULL, 0 };

		if (json_type(row) == JSON_OBJECT)
			json_get(row, c->table->columns[i].name, &v);
		if (c->table->columns[i].is_key) {
			c->at[i] = texts.len;
			c->len[i] = ev->id.len;
			buf_add_span(&texts, ev->id);
		} else {
			take_value(c, i, v, &texts);
		}
	}
	if (buf_cstr(&texts) == NULL)
		abort();
	c->texts = texts.p;
}

static void
bind(sqlite3_stmt *st, int i, const struct change *c, int column)
{
	if (c->at[column] > 0)
		sqlite3_bind_text64(st, i, c->texts + c->at[column], c->len[column], SQLITE_STATIC,
		                    SQLITE_UTF8);
}

static void
write_change(struct rows *r, const struct change *c)
{
	size_t i = (size_t)tables_number(&r->tables, c->table);
	sqlite3_stmt *st = r->put[i];

	if (c->action == ACTION_CREATE || c->action == ACTION_UPDATE) {
		for (int k = 0; k < c->table->n_columns; k++)
			bind(st, k + 1, c, k);
	} else {
		st = c->action == ACTION_DELETE ? r->cut[i]
		     : c->action == ACTION_RESTORE ? r->show[i] : r->hide[i];
		bind(st, 1, c, 0);
		if (c->action == ACTION_SOFT_DELETE)
			sqlite3_bind_text(st, 2, "2026-11-23 17:00:00+00:00", -1, SQLITE_STATIC);
	}
	must(r->db, sqlite3_step(st));
	sqlite3_reset(st);
	sqlite3_clear_bindings(st);
}

double
rows_write(struct rows *r, int64_t first, int64_t n)
{
	int64_t start;

	for (int64_t i = 0; i < n; i++)
		take_change(r, &r->changes[i], history_event(first + i));
	start = clock_mono_us();
	must(r->db, sqlite3_exec(r->db, "BEGIN", NULL, NULL, NULL));
	for (int64_t i = 0; i < n; i++)
		write_change(r, &r->changes[i]);
	must(r->db, sqlite3_exec(r->db, "COMMIT", NULL, NULL, NULL));
	return (double)(clock_mono_us() - start) / 1e6;
}
