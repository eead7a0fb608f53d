/* The tables of td and of the state, see kinds.h. */
#include "client/kinds.h"

#include "engine/value.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static enum rc
no_memory(struct err *err)
{
	return err_set(err, RC_FAULT, "out of memory");
}

static int
by_name(const void *a, const void *b)
{
	return strcmp(((const struct kind_column *)a)->name,
	              ((const struct kind_column *)b)->name);
}

/* A printf-like string; NULL when out of memory. */
static char *__attribute__((format(printf, 1, 2)))
text(const char *fmt, ...)
{
	va_list ap;
	char *s = NULL;

	va_start(ap, fmt);
	if (vasprintf(&s, fmt, ap) < 0)
		s = NULL;
	va_end(ap);
	return s;
}

/* Run a PRAGMA and call `each` for its rows. */
static enum rc
each_row(struct kinds *ts, char *sql, enum rc (*each)(struct kinds *, void *, sqlite3_stmt *,
         struct err *), void *ctx, struct err *err)
{
	sqlite3_stmt *st = NULL;
	bool row = false;
	enum rc rc;

	if (sql == NULL)
		return no_memory(err);
	rc = db_prepare(ts->l->db, sql, &st, err);
	while (rc == RC_OK && (rc = db_step(st, &row, err)) == RC_OK && row)
		rc = each(ts, ctx, st, err);
	sqlite3_finalize(st);
	free(sql);
	return local_failed(ts->l, rc, err);
}

/* A row of table_info of main: a column that td has. */
static enum rc
add_column(struct kinds *ts, void *ctx, sqlite3_stmt *st, struct err *err)
{
	struct kind *t = ctx;
	struct kind_column *c = &t->columns[t->n];
	struct span name = db_span(st, 1);
	const struct profile_column *p = profile_column(t->entity, name);

	(void)ts;
	if (p == NULL || (p->flags & PROFILE_LOCAL) != 0)
		return RC_OK;
	if (t->n == KIND_COLUMNS)
		return err_set(err, RC_FAULT, "table %s has too many columns", t->entity->table);
	if ((c->name = span_dup(name)) == NULL)
		return no_memory(err);
	c->state_cid = (int)(p - t->entity->columns);
	c->is_datetime = span_is_nocase(db_span(st, 2), "DATETIME");
	c->is_time = profile_is_time(c->name, c->is_datetime ? "DATETIME" : "");
	c->is_session = profile_is_session(c->name);
	t->n++;
	return RC_OK;
}

/* A row of index_info: a column of a UNIQUE. */
static enum rc
add_unique_column(struct kinds *ts, void *ctx, sqlite3_stmt *st, struct err *err)
{
	struct buf *b = ctx;

	(void)ts;
	(void)err;
	buf_addf(b, " AND \"%s\" = :%s", (const char *)sqlite3_column_text(st, 2),
	         (const char *)sqlite3_column_text(st, 2));
	return RC_OK;
}

static enum rc
add_place_column(struct kinds *ts, void *ctx, sqlite3_stmt *st, struct err *err)
{
	struct buf *b = ctx;

	(void)ts;
	(void)err;
	buf_addf(b, " AND p.\"%s\" = m.\"%s\"", (const char *)sqlite3_column_text(st, 2),
	         (const char *)sqlite3_column_text(st, 2));
	return RC_OK;
}

/* A row of index_list of main. */
static enum rc
add_unique(struct kinds *ts, void *ctx, sqlite3_stmt *st, struct err *err)
{
	struct kind *t = ctx;
	struct buf b = { 0 };
	enum rc rc;

	if (sqlite3_column_int(st, 2) == 0 || !span_is(db_span(st, 3), "u") ||
	    t->n_uniques == KIND_UNIQUES)
		return RC_OK;
	buf_addf(&b, "SELECT id FROM main.\"%s\" WHERE id <> :id", t->entity->table);
	rc = each_row(ts, text("PRAGMA main.index_info(\"%s\")",
	              (const char *)sqlite3_column_text(st, 1)), add_unique_column, &b, err);
	buf_addf(&t->places, " AND NOT EXISTS (SELECT 1 FROM " TDSYNC ".\"%s\" p WHERE 1",
	         t->entity->table);
	if (rc == RC_OK)
		rc = each_row(ts, text("PRAGMA main.index_info(\"%s\")",
		              (const char *)sqlite3_column_text(st, 1)), add_place_column,
		              &t->places, err);
	buf_add_byte(&t->places, ')');
	if (rc == RC_OK && (buf_cstr(&b) == NULL || buf_cstr(&t->places) == NULL))
		rc = no_memory(err);
	if (rc == RC_OK) {
		t->uniques[t->n_uniques++] = b.p;
		b = (struct buf){ 0 };
	}
	buf_free(&b);
	return rc;
}

static enum rc
prepare(struct kinds *ts, struct buf *sql, sqlite3_stmt **out, struct err *err)
{
	enum rc rc = buf_cstr(sql) == NULL ? no_memory(err)
	    : local_failed(ts->l, db_prepare(ts->l->db, sql->p, out, err), err);

	buf_reset(sql);
	return rc;
}

/* The statements of a table. Columns are :c0, :c1, ... in their order. */
static enum rc
prepare_table(struct kinds *ts, struct kind *t, struct err *err)
{
	struct buf list = { 0 }, set = { 0 }, values = { 0 }, sql = { 0 };
	const char *name = t->entity->table;
	enum rc rc = RC_OK;

	for (size_t i = 0; i < t->n; i++) {
		buf_addf(&list, "%s\"%s\"", i == 0 ? "" : ", ", t->columns[i].name);
		buf_addf(&values, "%s:c%zu", i == 0 ? "" : ", ", i);
		if (i != t->id)
			buf_addf(&set, "%s\"%s\" = :c%zu", set.len == 0 ? "" : ", ",
			         t->columns[i].name, i);
	}
	if (buf_cstr(&list) == NULL || buf_cstr(&set) == NULL || buf_cstr(&values) == NULL) {
		rc = no_memory(err);
		goto done;
	}
	buf_addf(&sql, "SELECT %s FROM main.\"%s\" WHERE id = :id", list.p, name);
	if ((rc = prepare(ts, &sql, &t->get_local, err)) != RC_OK)
		goto done;
	buf_addf(&sql, "SELECT %s FROM " TDSYNC ".\"%s\" WHERE id = :id", list.p, name);
	if ((rc = prepare(ts, &sql, &t->get_state, err)) != RC_OK)
		goto done;
	buf_addf(&sql, "UPDATE main.\"%s\" SET %s WHERE id = :c%zu", name, set.p, t->id);
	if ((rc = prepare(ts, &sql, &t->update, err)) != RC_OK)
		goto done;
	buf_addf(&sql, "INSERT INTO main.\"%s\" (%s) VALUES (%s)", name, list.p, values.p);
	if ((rc = prepare(ts, &sql, &t->insert, err)) != RC_OK)
		goto done;
	buf_addf(&sql, "DELETE FROM main.\"%s\" WHERE id = :id", name);
	rc = prepare(ts, &sql, &t->del, err);
done:
	buf_free(&list);
	buf_free(&set);
	buf_free(&values);
	buf_free(&sql);
	return rc;
}

static enum rc
add_table(struct kinds *ts, const struct profile_entity *e, struct err *err)
{
	struct kind *t = &ts->list[ts->n];
	enum rc rc;

	if (ts->n == KINDS_MAX)
		return err_set(err, RC_FAULT, "too many tables");
	*t = (struct kind){ .entity = e };
	ts->n++;
	rc = each_row(ts, text("PRAGMA main.table_info(\"%s\")", e->table), add_column, t, err);
	if (rc != RC_OK)
		return rc;
	qsort(t->columns, t->n, sizeof(t->columns[0]), by_name);
	for (t->id = 0; t->id < t->n; t->id++)
		if (strcmp(t->columns[t->id].name, "id") == 0)
			break;
	if (t->id == t->n)
		return err_set(err, RC_INVALID, "td's table %s has no column id", e->table);
	t->state_id_cid = t->columns[t->id].state_cid;
	rc = each_row(ts, text("PRAGMA main.index_list(\"%s\")", e->table), add_unique, t, err);
	return rc == RC_OK ? prepare_table(ts, t, err) : rc;
}

/* A row of foreign_key_list: does the child go with a row of ours? */
static enum rc
add_cascade(struct kinds *ts, void *ctx, sqlite3_stmt *st, struct err *err)
{
	const char *child = ctx, *from;
	struct kind *parent = kinds_find(ts, (const char *)sqlite3_column_text(st, 2));
	struct cascade *grown, *c;

	if (parent == NULL || !span_is_nocase(db_span(st, 6), "CASCADE"))
		return RC_OK;
	grown = realloc(ts->cascades, (ts->n_cascades + 1) * sizeof(*grown));
	if (grown == NULL)
		return no_memory(err);
	ts->cascades = grown;
	c = &ts->cascades[ts->n_cascades++];
	from = (const char *)sqlite3_column_text(st, 3);
	*c = (struct cascade){
		.parent = parent,
		.child = kinds_find(ts, child),
		.find = text("SELECT id FROM main.\"%s\" WHERE \"%s\" = :id", child, from),
		.remove = text("DELETE FROM main.\"%s\" WHERE \"%s\" = :id", child, from),
	};
	return c->find == NULL || c->remove == NULL ? no_memory(err) : RC_OK;
}

/* A row of main's tables. */
static enum rc
add_child(struct kinds *ts, void *ctx, sqlite3_stmt *st, struct err *err)
{
	char *name = span_dup(db_span(st, 0));
	enum rc rc;

	(void)ctx;
	if (name == NULL)
		return no_memory(err);
	rc = each_row(ts, text("PRAGMA main.foreign_key_list(\"%s\")", name), add_cascade, name,
	              err);
	free(name);
	return rc;
}

enum rc
kinds_new(struct local *l, struct kinds **out, struct err *err)
{
	struct kinds *ts = calloc(1, sizeof(*ts));
	enum rc rc = RC_OK;

	*out = NULL;
	if (ts == NULL)
		return no_memory(err);
	ts->l = l;
	for (const struct profile_entity *e = profile_td.entities;
	     e->table != NULL && rc == RC_OK; e++)
		if (!e->held_back && local_has_table(l, e->table))
			rc = add_table(ts, e, err);
	if (rc == RC_OK)
		rc = each_row(ts, text("SELECT name FROM main.sqlite_master WHERE type = 'table'"),
		              add_child, NULL, err);
	if (rc != RC_OK) {
		kinds_free(ts);
		return rc;
	}
	*out = ts;
	return RC_OK;
}

static void
free_table(struct kind *t)
{
	for (size_t i = 0; i < t->n; i++)
		free(t->columns[i].name);
	for (size_t i = 0; i < t->n_uniques; i++)
		free(t->uniques[i]);
	buf_free(&t->places);
	sqlite3_finalize(t->get_local);
	sqlite3_finalize(t->get_state);
	sqlite3_finalize(t->update);
	sqlite3_finalize(t->insert);
	sqlite3_finalize(t->del);
}

void
kinds_free(struct kinds *ts)
{
	if (ts == NULL)
		return;
	for (size_t i = 0; i < ts->n; i++)
		free_table(&ts->list[i]);
	for (size_t i = 0; i < ts->n_cascades; i++) {
		free(ts->cascades[i].find);
		free(ts->cascades[i].remove);
	}
	free(ts->cascades);
	free(ts);
}

struct kind *
kinds_find(struct kinds *ts, const char *name)
{
	for (size_t i = 0; i < ts->n; i++)
		if (strcasecmp(ts->list[i].entity->table, name) == 0)
			return &ts->list[i];
	return NULL;
}

/* --- rows --- */

static sqlite3_value *
value(struct row row, size_t i)
{
	return row.st != NULL ? sqlite3_column_value(row.st, (int)i) : row.copy[i];
}

static bool
same(const struct kind_column *c, sqlite3_value *a, sqlite3_value *b)
{
	return value_same(a, b, c->is_time);
}

bool
kind_differs(const struct kind *t, struct row a, struct row b)
{
	for (size_t i = 0; i < t->n; i++)
		if (!same(&t->columns[i], value(a, i), value(b, i)))
			return true;
	return false;
}

static bool
is_empty(sqlite3_value *v)
{
	return sqlite3_value_type(v) == SQLITE_NULL ||
	    (value_is_number(v) ? sqlite3_value_double(v) == 0 : sqlite3_value_bytes(v) == 0);
}

/*
 * Not missed is a value where only a time or a session differs (the device
 * that deletes sets another updated_at than the log; when a board was looked
 * at is never logged), nor NULL against '' or 0, nor a column's default that
 * td has made since.
 */
static bool
value_missed(const struct kind_column *c, sqlite3_value *local, sqlite3_value *other,
             bool migrated)
{
	if (same(c, local, other) || c->is_session ||
	    (is_empty(local) && (is_empty(other) || migrated)))
		return false;
	if (c->is_time)
		return strcmp(c->name, "last_viewed_at") != 0 &&
		    is_empty(local) != is_empty(other);
	return true;
}

bool
kind_misses(const struct kind *t, struct row local, struct row other, bool migrated)
{
	if (local.st == NULL && local.copy == NULL)
		return false;
	if (other.st == NULL && other.copy == NULL)
		return true;
	for (size_t i = 0; i < t->n; i++)
		if (value_missed(&t->columns[i], value(local, i), value(other, i), migrated))
			return true;
	return false;
}

void
kind_json(const struct kind *t, struct row row, struct buf *out)
{
	buf_add_byte(out, '{');
	for (size_t i = 0; i < t->n; i++) {
		buf_addf(out, "%s\"%s\":", i == 0 ? "" : ",", t->columns[i].name);
		value_json(value(row, i), t->columns[i].is_datetime, out);
	}
	buf_add_byte(out, '}');
}

enum rc
kind_get(struct kinds *ts, sqlite3_stmt *st, struct span id, bool *there, struct err *err)
{
	db_bind_text(st, ":id", id);
	return local_failed(ts->l, db_step(st, there, err), err);
}

static enum rc
get_json(struct kinds *ts, const struct kind *t, sqlite3_stmt *st, struct span id,
         struct buf *out, struct err *err)
{
	bool there = false;
	enum rc rc = kind_get(ts, st, id, &there, err);

	if (rc == RC_OK && there)
		kind_json(t, (struct row){ st, NULL }, out);
	else if (rc == RC_OK)
		rc = RC_NOT_FOUND;
	db_reset(st);
	return rc == RC_OK && out->failed ? no_memory(err) : rc;
}

enum rc
kind_local_json(struct kinds *ts, const struct kind *t, struct span id, struct buf *out,
                 struct err *err)
{
	return get_json(ts, t, t->get_local, id, out, err);
}

enum rc
kind_state_json(struct kinds *ts, const struct kind *t, struct span id, struct buf *out,
                 struct err *err)
{
	return get_json(ts, t, t->get_state, id, out, err);
}

enum rc
kind_has_children(struct kinds *ts, const struct kind *t, struct span id, bool *out,
                   struct err *err)
{
	enum rc rc = RC_OK;

	*out = false;
	for (size_t i = 0; i < ts->n_cascades && rc == RC_OK && !*out; i++) {
		sqlite3_stmt *st = NULL;

		if (ts->cascades[i].parent != t || ts->cascades[i].child == NULL)
			continue;
		rc = db_prepare(ts->l->db, ts->cascades[i].find, &st, err);
		if (rc == RC_OK) {
			db_bind_text(st, ":id", id);
			rc = db_step(st, out, err);
		}
		rc = local_failed(ts->l, rc, err);
		sqlite3_finalize(st);
	}
	return rc;
}
