/* The rows of a replica, see rows.h. */
#include "client/rows.h"

#include "base/clock.h"
#include "client/books.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* A row that something happened to. */
struct key {
	struct key *chain;      /* with the same hash */
	struct row_table *table;
	char *id;
	size_t id_len;
	bool judged;
	bool has_old;           /* old is known; NULL: there was no row */
	sqlite3_value **old;    /* of the state, by the table's columns */
	bool local_there;       /* there is a local row */
	bool differs;           /* the local row is not what is wanted */
	sqlite3_value **want;   /* NULL: no row */
	struct buf lost;        /* the local row as JSON, when it may be lost */
};

/* A child table of td's whose rows go with their parent. */
struct cascade {
	struct row_table *parent;
	struct row_table *child; /* NULL: local to the machine */
	char *find;              /* SELECT rowid, id: the children of :id */
	char *remove;            /* DELETE of them */
};

struct rows {
	struct local *l;
	struct row_table tables[ROW_TABLES];
	size_t n_tables;
	struct cascade *cascades;
	size_t n_cascades;
	enum rows_watch watch;
	bool migrated;
	bool failed;            /* no memory in the hook */
	struct key **buckets;
	size_t n_buckets;       /* a power of 2 */
	struct key **keys;      /* in the order they were noted */
	size_t n_keys, cap_keys;
};

static enum rc
no_memory(struct err *err)
{
	return err_set(err, RC_FAULT, "out of memory");
}

/* --- keys --- */

static void
free_values(const struct row_table *t, sqlite3_value **v)
{
	if (v == NULL)
		return;
	for (size_t i = 0; i < t->n; i++)
		sqlite3_value_free(v[i]);
	free(v);
}

static void
free_key(struct key *k)
{
	free_values(k->table, k->old);
	free_values(k->table, k->want);
	buf_free(&k->lost);
	free(k->id);
	free(k);
}

void
rows_clear(struct rows *r, bool migrated)
{
	for (size_t i = 0; i < r->n_keys; i++)
		free_key(r->keys[i]);
	r->n_keys = 0;
	if (r->buckets != NULL)
		memset(r->buckets, 0, r->n_buckets * sizeof(*r->buckets));
	r->watch = WATCH_OFF;
	r->migrated = migrated;
	r->failed = false;
}

static size_t
hash(const struct row_table *t, struct span id)
{
	uint64_t h = 14695981039346656037u ^ (uintptr_t)t; /* FNV-1a */

	for (size_t i = 0; i < id.len; i++)
		h = (h ^ (unsigned char)id.p[i]) * 1099511628211u;
	return (size_t)(h ^ h >> 29);
}

static void
chain(struct rows *r, struct key *k)
{
	struct span id = { k->id, k->id_len };
	struct key **b = &r->buckets[hash(k->table, id) & (r->n_buckets - 1)];

	k->chain = *b;
	*b = k;
}

static bool
grow(struct rows *r)
{
	size_t cap = r->cap_keys == 0 ? 256 : 2 * r->cap_keys;
	struct key **keys, **buckets;

	if (r->n_keys < r->cap_keys)
		return true;
	buckets = calloc(2 * cap, sizeof(*buckets));
	keys = realloc(r->keys, cap * sizeof(*keys));
	if (keys != NULL)
		r->keys = keys;
	if (keys == NULL || buckets == NULL) {
		free(buckets);
		return false;
	}
	r->cap_keys = cap;
	free(r->buckets);
	r->buckets = buckets;
	r->n_buckets = 2 * cap;
	for (size_t i = 0; i < r->n_keys; i++)
		chain(r, r->keys[i]);
	return true;
}

/* The key of a row, noted now if it wasn't; NULL when out of memory. */
static struct key *
note(struct rows *r, struct row_table *t, struct span id)
{
	struct key *k;

	if (!grow(r))
		return NULL;
	for (k = r->buckets[hash(t, id) & (r->n_buckets - 1)]; k != NULL; k = k->chain)
		if (k->table == t && k->id_len == id.len && memcmp(k->id, id.p, id.len) == 0)
			return k;
	if ((k = calloc(1, sizeof(*k))) == NULL || (k->id = span_dup(id)) == NULL) {
		free(k);
		return NULL;
	}
	k->table = t;
	k->id_len = id.len;
	r->keys[r->n_keys++] = k;
	chain(r, k);
	return k;
}

/* --- the hook --- */

static struct row_table *
find_table(struct rows *r, const char *name)
{
	for (size_t i = 0; i < r->n_tables; i++)
		if (strcasecmp(r->tables[i].entity->table, name) == 0)
			return &r->tables[i];
	return NULL;
}

/* Copy the row as it was before the change. */
static bool
copy_old(sqlite3 *db, const struct row_table *t, struct key *k)
{
	sqlite3_value *v;

	if ((k->old = calloc(t->n, sizeof(*k->old))) == NULL)
		return false;
	for (size_t i = 0; i < t->n; i++)
		if (sqlite3_preupdate_old(db, t->columns[i].state_cid, &v) != SQLITE_OK ||
		    (k->old[i] = sqlite3_value_dup(v)) == NULL)
			return false;
	return true;
}

static void
on_change(void *ctx, sqlite3 *db, int op, const char *schema, const char *table,
          sqlite3_int64 before, sqlite3_int64 after)
{
	struct rows *r = ctx;
	struct row_table *t;
	sqlite3_value *v = NULL;
	struct key *k;
	int code;

	(void)before;
	(void)after;
	if (r->watch == WATCH_OFF || strcmp(schema, TDSYNC) != 0 ||
	    (t = find_table(r, table)) == NULL)
		return;
	code = op == SQLITE_INSERT ? sqlite3_preupdate_new(db, t->state_id_cid, &v)
	    : sqlite3_preupdate_old(db, t->state_id_cid, &v);
	if (code != SQLITE_OK || v == NULL) {
		r->failed = true;
		return;
	}
	k = note(r, t, (struct span){ sqlite3_value_blob(v), (size_t)sqlite3_value_bytes(v) });
	if (k == NULL) {
		r->failed = true;
		return;
	}
	if (r->watch != WATCH_OLD || k->judged || k->has_old)
		return;
	k->has_old = true;
	if (op != SQLITE_INSERT && !copy_old(db, t, k))
		r->failed = true;
}

void
rows_watch(struct rows *r, enum rows_watch watch)
{
	r->watch = watch;
}

enum rc
rows_note(struct rows *r, struct span type, struct span id, struct err *err)
{
	for (size_t i = 0; i < r->n_tables; i++)
		if (span_is(type, r->tables[i].entity->table))
			return note(r, &r->tables[i], id) != NULL ? RC_OK : no_memory(err);
	return RC_OK; /* td has no such table yet */
}

/* --- describing the tables --- */

static bool
ends_with(const char *s, const char *end)
{
	size_t n = strlen(s), m = strlen(end);

	return n >= m && strcmp(s + n - m, end) == 0;
}

static int
by_name(const void *a, const void *b)
{
	return strcmp(((const struct row_column *)a)->name,
	              ((const struct row_column *)b)->name);
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
each_row(struct rows *r, char *sql, enum rc (*each)(struct rows *, void *, sqlite3_stmt *,
         struct err *), void *ctx, struct err *err)
{
	sqlite3_stmt *st = NULL;
	bool row = false;
	enum rc rc;

	if (sql == NULL)
		return no_memory(err);
	rc = db_prepare(r->l->db, sql, &st, err);
	while (rc == RC_OK && (rc = db_step(st, &row, err)) == RC_OK && row)
		rc = each(r, ctx, st, err);
	sqlite3_finalize(st);
	free(sql);
	return local_failed(r->l, rc, err);
}

/* A row of table_info of main: a column that td has. */
static enum rc
add_column(struct rows *r, void *ctx, sqlite3_stmt *st, struct err *err)
{
	struct row_table *t = ctx;
	struct row_column *c = &t->columns[t->n];
	struct span name = db_span(st, 1);
	const struct profile_column *p = profile_column(t->entity, name);

	(void)r;
	if (p == NULL || (p->flags & PROFILE_LOCAL) != 0)
		return RC_OK;
	if (t->n == ROW_COLUMNS)
		return err_set(err, RC_FAULT, "table %s has too many columns", t->entity->table);
	if ((c->name = span_dup(name)) == NULL)
		return no_memory(err);
	c->state_cid = (int)(p - t->entity->columns);
	c->is_datetime = span_is_nocase(db_span(st, 2), "DATETIME");
	c->is_time = c->is_datetime || ends_with(c->name, "_at") ||
	    strcmp(c->name, "timestamp") == 0;
	c->is_session = ends_with(c->name, "_session") || strcmp(c->name, "session_id") == 0;
	t->n++;
	return RC_OK;
}

/* A row of index_info: a column of a UNIQUE. */
static enum rc
add_unique_column(struct rows *r, void *ctx, sqlite3_stmt *st, struct err *err)
{
	struct buf *b = ctx;

	(void)r;
	(void)err;
	buf_addf(b, " AND \"%s\" = :%s", (const char *)sqlite3_column_text(st, 2),
	         (const char *)sqlite3_column_text(st, 2));
	return RC_OK;
}

static enum rc
add_place_column(struct rows *r, void *ctx, sqlite3_stmt *st, struct err *err)
{
	struct buf *b = ctx;

	(void)r;
	(void)err;
	buf_addf(b, " AND p.\"%s\" = m.\"%s\"", (const char *)sqlite3_column_text(st, 2),
	         (const char *)sqlite3_column_text(st, 2));
	return RC_OK;
}

/* A row of index_list of main. */
static enum rc
add_unique(struct rows *r, void *ctx, sqlite3_stmt *st, struct err *err)
{
	struct row_table *t = ctx;
	struct buf b = { 0 };
	enum rc rc;

	if (sqlite3_column_int(st, 2) == 0 || !span_is(db_span(st, 3), "u") ||
	    t->n_uniques == ROW_UNIQUES)
		return RC_OK;
	buf_addf(&b, "SELECT id FROM main.\"%s\" WHERE id <> :id", t->entity->table);
	rc = each_row(r, text("PRAGMA main.index_info(\"%s\")",
	              (const char *)sqlite3_column_text(st, 1)), add_unique_column, &b, err);
	buf_addf(&t->places, " AND NOT EXISTS (SELECT 1 FROM " TDSYNC ".\"%s\" p WHERE 1",
	         t->entity->table);
	if (rc == RC_OK)
		rc = each_row(r, text("PRAGMA main.index_info(\"%s\")",
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
prepare(struct rows *r, struct buf *sql, sqlite3_stmt **out, struct err *err)
{
	enum rc rc = buf_cstr(sql) == NULL ? no_memory(err)
	    : local_failed(r->l, db_prepare(r->l->db, sql->p, out, err), err);

	buf_reset(sql);
	return rc;
}

/* The statements of a table. Columns are :c0, :c1, ... in their order. */
static enum rc
prepare_table(struct rows *r, struct row_table *t, struct err *err)
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
	if ((rc = prepare(r, &sql, &t->get_local, err)) != RC_OK)
		goto done;
	buf_addf(&sql, "SELECT %s FROM " TDSYNC ".\"%s\" WHERE id = :id", list.p, name);
	if ((rc = prepare(r, &sql, &t->get_state, err)) != RC_OK)
		goto done;
	buf_addf(&sql, "UPDATE main.\"%s\" SET %s WHERE id = :c%zu", name, set.p, t->id);
	if ((rc = prepare(r, &sql, &t->update, err)) != RC_OK)
		goto done;
	buf_addf(&sql, "INSERT INTO main.\"%s\" (%s) VALUES (%s)", name, list.p, values.p);
	if ((rc = prepare(r, &sql, &t->insert, err)) != RC_OK)
		goto done;
	buf_addf(&sql, "DELETE FROM main.\"%s\" WHERE id = :id", name);
	rc = prepare(r, &sql, &t->del, err);
done:
	buf_free(&list);
	buf_free(&set);
	buf_free(&values);
	buf_free(&sql);
	return rc;
}

static enum rc
add_table(struct rows *r, const struct profile_entity *e, struct err *err)
{
	struct row_table *t = &r->tables[r->n_tables];
	enum rc rc;

	if (r->n_tables == ROW_TABLES)
		return err_set(err, RC_FAULT, "too many tables");
	*t = (struct row_table){ .entity = e };
	r->n_tables++;
	rc = each_row(r, text("PRAGMA main.table_info(\"%s\")", e->table), add_column, t, err);
	if (rc != RC_OK)
		return rc;
	qsort(t->columns, t->n, sizeof(t->columns[0]), by_name);
	for (t->id = 0; t->id < t->n; t->id++)
		if (strcmp(t->columns[t->id].name, "id") == 0)
			break;
	if (t->id == t->n)
		return err_set(err, RC_INVALID, "td's table %s has no column id", e->table);
	t->state_id_cid = t->columns[t->id].state_cid;
	rc = each_row(r, text("PRAGMA main.index_list(\"%s\")", e->table), add_unique, t, err);
	return rc == RC_OK ? prepare_table(r, t, err) : rc;
}

/* A row of foreign_key_list: does the child go with a row of ours? */
static enum rc
add_cascade(struct rows *r, void *ctx, sqlite3_stmt *st, struct err *err)
{
	const char *child = ctx, *from;
	struct row_table *parent = find_table(r, (const char *)sqlite3_column_text(st, 2));
	struct cascade *grown, *c;

	if (parent == NULL || !span_is_nocase(db_span(st, 6), "CASCADE"))
		return RC_OK;
	grown = realloc(r->cascades, (r->n_cascades + 1) * sizeof(*grown));
	if (grown == NULL)
		return no_memory(err);
	r->cascades = grown;
	c = &r->cascades[r->n_cascades++];
	from = (const char *)sqlite3_column_text(st, 3);
	*c = (struct cascade){
		.parent = parent,
		.child = find_table(r, child),
		.find = text("SELECT id FROM main.\"%s\" WHERE \"%s\" = :id", child, from),
		.remove = text("DELETE FROM main.\"%s\" WHERE \"%s\" = :id", child, from),
	};
	return c->find == NULL || c->remove == NULL ? no_memory(err) : RC_OK;
}

/* A row of main's tables. */
static enum rc
add_child(struct rows *r, void *ctx, sqlite3_stmt *st, struct err *err)
{
	char *name = span_dup(db_span(st, 0));
	enum rc rc;

	(void)ctx;
	if (name == NULL)
		return no_memory(err);
	rc = each_row(r, text("PRAGMA main.foreign_key_list(\"%s\")", name), add_cascade, name,
	              err);
	free(name);
	return rc;
}

enum rc
rows_new(struct local *l, struct rows **out, struct err *err)
{
	struct rows *r = calloc(1, sizeof(*r));
	enum rc rc = RC_OK;

	*out = NULL;
	if (r == NULL)
		return no_memory(err);
	r->l = l;
	for (const struct profile_entity *e = profile_td.entities;
	     e->table != NULL && rc == RC_OK; e++)
		if (!e->held_back && local_has_table(l, e->table))
			rc = add_table(r, e, err);
	if (rc == RC_OK)
		rc = each_row(r, text("SELECT name FROM main.sqlite_master WHERE type = 'table'"),
		              add_child, NULL, err);
	if (rc != RC_OK) {
		rows_free(r);
		return rc;
	}
	sqlite3_preupdate_hook(l->db, on_change, r);
	*out = r;
	return RC_OK;
}

static void
free_table(struct row_table *t)
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
rows_free(struct rows *r)
{
	if (r == NULL)
		return;
	sqlite3_preupdate_hook(r->l->db, NULL, NULL);
	rows_clear(r, false);
	for (size_t i = 0; i < r->n_tables; i++)
		free_table(&r->tables[i]);
	for (size_t i = 0; i < r->n_cascades; i++) {
		free(r->cascades[i].find);
		free(r->cascades[i].remove);
	}
	free(r->cascades);
	free(r->buckets);
	free(r->keys);
	free(r);
}

const struct row_table *
rows_table(const struct rows *r, size_t i)
{
	return i < r->n_tables ? &r->tables[i] : NULL;
}

/* --- comparing --- */

/* The value of a row: of a statement that stands on it, or of a copy. */
struct row {
	sqlite3_stmt *st;
	sqlite3_value *const *copy;
};

static sqlite3_value *
value(struct row row, size_t i)
{
	return row.st != NULL ? sqlite3_column_value(row.st, (int)i) : row.copy[i];
}

static struct span
bytes(sqlite3_value *v)
{
	const void *p = sqlite3_value_blob(v);

	return (struct span){ p, (size_t)sqlite3_value_bytes(v) };
}

static bool
same_time(sqlite3_value *a, sqlite3_value *b)
{
	struct instant x, y;

	return time_parse_any(bytes(a), &x) && time_parse_any(bytes(b), &y) &&
	    time_compare(x, y) == 0;
}

static bool
is_number(sqlite3_value *v)
{
	int type = sqlite3_value_type(v);

	return type == SQLITE_INTEGER || type == SQLITE_FLOAT;
}

static bool
same(const struct row_column *c, sqlite3_value *a, sqlite3_value *b)
{
	int x = sqlite3_value_type(a), y = sqlite3_value_type(b);

	if (x == SQLITE_NULL || y == SQLITE_NULL)
		return x == y;
	if (x == SQLITE_INTEGER && y == SQLITE_INTEGER)
		return sqlite3_value_int64(a) == sqlite3_value_int64(b);
	if (is_number(a) && is_number(b))
		return sqlite3_value_double(a) == sqlite3_value_double(b);
	if (is_number(a) != is_number(b))
		return false;
	return span_eq(bytes(a), bytes(b)) || (c->is_time && same_time(a, b));
}

static bool
is_empty(sqlite3_value *v)
{
	return sqlite3_value_type(v) == SQLITE_NULL ||
	    (is_number(v) ? sqlite3_value_double(v) == 0 : sqlite3_value_bytes(v) == 0);
}

/*
 * Whether a person might miss the local value. Not where only a time or a
 * session differs (the device that deletes sets another updated_at than the
 * log; when a board was looked at is never logged), nor NULL against '', nor
 * a column that td has made since.
 */
static bool
notable(const struct rows *r, const struct row_column *c, sqlite3_value *local,
        sqlite3_value *other)
{
	if (same(c, local, other) || c->is_session)
		return false;
	if (is_empty(local) && (is_empty(other) || r->migrated))
		return is_number(local) && is_number(other);
	if (c->is_time)
		return strcmp(c->name, "last_viewed_at") != 0 &&
		    is_empty(local) != is_empty(other);
	return true;
}

/* Step a get_*; the row is there until db_reset(st). */
static enum rc
get(struct rows *r, sqlite3_stmt *st, struct span id, bool *there, struct err *err)
{
	db_bind_text(st, ":id", id);
	return local_failed(r->l, db_step(st, there, err), err);
}

static void
add_value(const struct row_column *c, sqlite3_value *v, struct buf *out)
{
	struct instant at;

	switch (sqlite3_value_type(v)) {
	case SQLITE_NULL:
		buf_add_str(out, "null");
		return;
	case SQLITE_INTEGER:
		buf_add_int(out, sqlite3_value_int64(v));
		return;
	case SQLITE_FLOAT:
		buf_addf(out, "%.17g", sqlite3_value_double(v));
		return;
	}
	if (c->is_datetime && time_parse_any(bytes(v), &at)) {
		buf_add_byte(out, '"');
		time_add_rfc3339(out, at);
		buf_add_byte(out, '"');
	} else {
		buf_add_json(out, bytes(v));
	}
}

static void
add_row(const struct row_table *t, struct row row, struct buf *out)
{
	buf_add_byte(out, '{');
	for (size_t i = 0; i < t->n; i++) {
		buf_addf(out, "%s\"%s\":", i == 0 ? "" : ",", t->columns[i].name);
		add_value(&t->columns[i], value(row, i), out);
	}
	buf_add_byte(out, '}');
}

static enum rc
row_json(struct rows *r, const struct row_table *t, sqlite3_stmt *st, struct span id,
         struct buf *out, struct err *err)
{
	bool there = false;
	enum rc rc = get(r, st, id, &there, err);

	if (rc == RC_OK && there)
		add_row(t, (struct row){ st, NULL }, out);
	else if (rc == RC_OK)
		rc = RC_NOT_FOUND;
	db_reset(st);
	return rc == RC_OK && out->failed ? no_memory(err) : rc;
}

enum rc
rows_local_json(struct rows *r, const struct row_table *t, struct span id, struct buf *out,
                struct err *err)
{
	return row_json(r, t, t->get_local, id, out, err);
}

enum rc
rows_state_json(struct rows *r, const struct row_table *t, struct span id, struct buf *out,
                struct err *err)
{
	return row_json(r, t, t->get_state, id, out, err);
}

/* --- judging --- */

/*
 * Compare the local row with what it should be (other.st and other.copy NULL:
 * no row), and copy it when a person might miss it.
 */
static bool
judge_row(struct rows *r, struct key *k, bool there, struct row local, struct row other)
{
	const struct row_table *t = k->table;
	bool no_other = other.st == NULL && other.copy == NULL, miss = there && no_other;

	k->judged = true;
	for (size_t i = 0; there && !no_other && i < t->n && !miss; i++)
		miss = notable(r, &t->columns[i], value(local, i), value(other, i));
	if (miss && k->lost.len == 0)
		add_row(t, local, &k->lost);
	return !k->lost.failed;
}

static enum rc
judge_key(struct rows *r, struct key *k, struct err *err)
{
	struct row_table *t = k->table;
	struct span id = { k->id, k->id_len };
	struct row other = { NULL, k->old };
	bool there = false, other_there = false, ok = true;
	enum rc rc = get(r, t->get_local, id, &there, err);

	if (rc == RC_OK && !k->has_old &&
	    (rc = get(r, t->get_state, id, &other_there, err)) == RC_OK && other_there)
		other.st = t->get_state;
	if (rc == RC_OK)
		ok = judge_row(r, k, there, (struct row){ t->get_local, NULL }, other);
	db_reset(t->get_local);
	db_reset(t->get_state);
	return ok ? rc : no_memory(err);
}

enum rc
rows_judge(struct rows *r, struct err *err)
{
	enum rc rc = r->failed ? no_memory(err) : RC_OK;

	for (size_t i = 0; i < r->n_keys && rc == RC_OK; i++)
		if (!r->keys[i]->judged)
			rc = judge_key(r, r->keys[i], err);
	return rc;
}

/* Whether the two rows differ at all. */
static bool
differ(const struct row_table *t, struct row a, struct row b)
{
	for (size_t i = 0; i < t->n; i++)
		if (!same(&t->columns[i], value(a, i), value(b, i)))
			return true;
	return false;
}

/* Note what differs in one table, walking both sides in the order of ids. */
static enum rc
note_table(struct rows *r, struct row_table *t, struct err *err)
{
	struct buf sql = { 0 };
	sqlite3_stmt *local = NULL, *state = NULL, *held = NULL;
	bool a = false, b = false, is_held;
	size_t id = t->id;
	enum rc rc;

	for (int side = 0; side < 2; side++) {
		buf_add_str(&sql, "SELECT ");
		for (size_t i = 0; i < t->n; i++)
			buf_addf(&sql, "%s\"%s\"", i == 0 ? "" : ", ", t->columns[i].name);
		buf_addf(&sql, " FROM %s.\"%s\"", side == 0 ? "main" : TDSYNC,
		         t->entity->table);
		if (strcmp(t->entity->table, "boards") == 0)
			buf_add_str(&sql, " WHERE is_builtin = 0"); /* its times are the init's */
		buf_add_str(&sql, " ORDER BY CAST(id AS BLOB)");
		if ((rc = prepare(r, &sql, side == 0 ? &local : &state, err)) != RC_OK)
			goto done;
	}
	buf_add_str(&sql, "SELECT 1 FROM " TDSYNC ".held WHERE type = :type AND id = :id");
	if ((rc = prepare(r, &sql, &held, err)) != RC_OK ||
	    (rc = db_step(local, &a, err)) != RC_OK || (rc = db_step(state, &b, err)) != RC_OK)
		goto done;
	while (a || b) {
		struct span x = a ? db_span(local, (int)id) : (struct span){ 0 };
		struct span y = b ? db_span(state, (int)id) : (struct span){ 0 };
		size_t n = x.len < y.len ? x.len : y.len;
		int cmp = !a ? 1 : !b ? -1 : n == 0 ? 0 : memcmp(x.p, y.p, n);
		struct row left = { local, NULL }, right = { state, NULL };
		struct key *k = NULL;

		if (a && b && cmp == 0)
			cmp = x.len < y.len ? -1 : x.len > y.len;
		if (cmp < 0) {
			db_bind_text(held, ":type", span_of(t->entity->table));
			db_bind_text(held, ":id", x);
			rc = db_step(held, &is_held, err);
			db_reset(held);
			if (rc != RC_OK)
				goto done;
			right = (struct row){ NULL, NULL };
			if (is_held && (k = note(r, t, x)) == NULL)
				rc = no_memory(err);
		} else if (cmp > 0) {
			if ((k = note(r, t, y)) == NULL)
				rc = no_memory(err);
		} else if (differ(t, left, right)) {
			if ((k = note(r, t, x)) == NULL)
				rc = no_memory(err);
		}
		if (k != NULL && !k->judged && !judge_row(r, k, cmp <= 0, left, right))
			rc = no_memory(err);
		if (rc == RC_OK && cmp <= 0)
			rc = db_step(local, &a, err);
		if (rc == RC_OK && cmp >= 0)
			rc = db_step(state, &b, err);
		if (rc != RC_OK)
			goto done;
	}
done:
	rc = local_failed(r->l, rc, err);
	sqlite3_finalize(local);
	sqlite3_finalize(state);
	sqlite3_finalize(held);
	buf_free(&sql);
	return rc;
}

enum rc
rows_note_all(struct rows *r, struct err *err)
{
	enum rc rc = RC_OK;

	for (size_t i = 0; i < r->n_tables && rc == RC_OK; i++)
		rc = note_table(r, &r->tables[i], err);
	return rc;
}

/* --- what is wanted, and writing it --- */

static sqlite3_value **
copy_row(const struct row_table *t, sqlite3_stmt *st)
{
	sqlite3_value **v = calloc(t->n, sizeof(*v));

	for (size_t i = 0; v != NULL && i < t->n; i++)
		if ((v[i] = sqlite3_value_dup(sqlite3_column_value(st, (int)i))) == NULL) {
			free_values(t, v);
			v = NULL;
		}
	return v;
}

static enum rc
want_key(struct rows *r, struct key *k, struct err *err)
{
	struct row_table *t = k->table;
	struct span id = { k->id, k->id_len };
	struct row local = { t->get_local, NULL }, state = { t->get_state, NULL };
	bool there = false, held = true;
	enum rc rc;

	if ((rc = get(r, t->get_local, id, &k->local_there, err)) == RC_OK)
		rc = get(r, t->get_state, id, &there, err);
	if (rc == RC_OK && k->local_there && !there)
		rc = books_is_held(r->l, t->entity->table, id, &held, err);
	if (rc == RC_OK && held) {
		k->differs = k->local_there != there || (there && differ(t, local, state));
		if (k->differs && there && (k->want = copy_row(t, t->get_state)) == NULL)
			rc = no_memory(err);
	}
	db_reset(t->get_local);
	db_reset(t->get_state);
	return rc;
}

enum rc
rows_want(struct rows *r, struct err *err)
{
	enum rc rc = r->failed ? no_memory(err) : RC_OK;

	for (size_t i = 0; i < r->n_keys && rc == RC_OK; i++)
		rc = want_key(r, r->keys[i], err);
	return rc;
}

static void
bind_row(const struct row_table *t, sqlite3_stmt *st, sqlite3_value *const *v)
{
	char name[32];

	for (size_t i = 0; i < t->n; i++) {
		snprintf(name, sizeof(name), ":c%zu", i);
		sqlite3_bind_value(st, sqlite3_bind_parameter_index(st, name), v[i]);
	}
}

/* Step a write; *constraint tells that something is in its way. */
static enum rc
step_write(struct rows *r, sqlite3_stmt *st, bool *constraint, struct err *err)
{
	int code = sqlite3_step(st);
	enum rc rc;

	*constraint = (code & 0xff) == SQLITE_CONSTRAINT;
	rc = *constraint ? RC_OK
	    : local_failed(r->l, db_rc(r->l->db, code, "row", err), err);
	db_reset(st);
	return rc;
}

static enum rc
remove_row(struct rows *r, const struct row_table *t, struct span id, struct err *err)
{
	enum rc rc;

	db_bind_text(t->del, ":id", id);
	rc = local_failed(r->l, db_run(t->del, err), err);
	db_reset(t->del);
	return rc;
}

/* Remove a local row that nobody spoke of, with a copy of it kept. */
static enum rc
push_aside(struct rows *r, const struct row_table *t, struct span id, int64_t seq,
           int64_t now_us, struct err *err)
{
	struct buf json = { 0 };
	enum rc rc = rows_local_json(r, t, id, &json, err);

	if (rc == RC_OK)
		rc = td_conflict(r->l, t->entity->table, id, seq, buf_span(&json),
		                 (struct span){ 0 }, now_us, err);
	if (rc == RC_OK)
		rc = remove_row(r, t, id, err);
	buf_free(&json);
	return rc;
}

/* Ids that a SELECT finds, copied so that rows may go meanwhile. */
static enum rc
find_ids(struct rows *r, const char *sql, const struct key *k, struct span id,
         struct buf *out, size_t *n, struct err *err)
{
	const struct row_table *t = k == NULL ? NULL : k->table;
	sqlite3_stmt *st = NULL;
	bool row = false;
	enum rc rc = db_prepare(r->l->db, sql, &st, err);
	int p;

	*n = 0;
	if (rc == RC_OK)
		db_bind_text(st, ":id", id);
	for (size_t i = 0; rc == RC_OK && t != NULL && i < t->n; i++) {
		char *name = i == t->id ? NULL : text(":%s", t->columns[i].name);

		if (name != NULL && (p = sqlite3_bind_parameter_index(st, name)) > 0)
			sqlite3_bind_value(st, p, k->want[i]);
		free(name);
	}
	while (rc == RC_OK && (rc = db_step(st, &row, err)) == RC_OK && row) {
		struct span s = db_span(st, 0);

		buf_add(out, s.p, s.len);
		buf_add_byte(out, '\0');
		++*n;
	}
	sqlite3_finalize(st);
	return rc == RC_OK && out->failed ? no_memory(err) : local_failed(r->l, rc, err);
}

/* Push aside whatever local row holds a UNIQUE place that a wanted row needs. */
static enum rc
clear_way(struct rows *r, const struct key *k, int64_t seq, int64_t now_us, struct err *err)
{
	const struct row_table *t = k->table;
	struct span id = { k->id, k->id_len };
	struct buf ids = { 0 };
	enum rc rc = RC_OK;
	size_t n;

	for (size_t i = 0; i < t->n_uniques && rc == RC_OK; i++) {
		const char *p;

		buf_reset(&ids);
		rc = find_ids(r, t->uniques[i], k, id, &ids, &n, err);
		p = ids.p;
		for (size_t j = 0; j < n && rc == RC_OK; j++, p += strlen(p) + 1)
			rc = push_aside(r, t, span_of(p), seq, now_us, err);
	}
	buf_free(&ids);
	return rc;
}

/* Rows that are in the state but not local, and those an UPDATE gave up on. */
static enum rc
insert_key(struct rows *r, struct key *k, int64_t seq, int64_t now_us, struct err *err)
{
	bool constraint;
	enum rc rc;

	bind_row(k->table, k->table->insert, k->want);
	rc = step_write(r, k->table->insert, &constraint, err);
	if (rc != RC_OK || !constraint)
		return rc;
	if ((rc = clear_way(r, k, seq, now_us, err)) != RC_OK)
		return rc;
	bind_row(k->table, k->table->insert, k->want);
	rc = step_write(r, k->table->insert, &constraint, err);
	if (rc == RC_OK && constraint)
		rc = err_set(err, RC_UNAVAILABLE, "td's table %s does not take row %s of the "
		             "log: %s", k->table->entity->table, k->id,
		             sqlite3_errmsg(r->l->db));
	return rc;
}

/*
 * Write over rows that are there. One that is in another's way by a UNIQUE
 * (two rows that change places) is taken out, to be inserted when all others
 * have moved.
 */
static enum rc
update_key(struct rows *r, struct key *k, struct err *err)
{
	bool constraint;
	enum rc rc;

	bind_row(k->table, k->table->update, k->want);
	rc = step_write(r, k->table->update, &constraint, err);
	if (rc != RC_OK || !constraint)
		return rc;
	k->local_there = false;
	return remove_row(r, k->table, (struct span){ k->id, k->id_len }, err);
}

/*
 * What td's schema says goes with a row that was removed: rows that are local
 * to the machine, and such that nobody spoke of (with a copy).
 */
static enum rc
cascade(struct rows *r, const struct row_table *parent, struct span id, int64_t seq,
        int64_t now_us, struct err *err)
{
	enum rc rc = RC_OK;

	for (size_t i = 0; i < r->n_cascades && rc == RC_OK; i++) {
		const struct cascade *c = &r->cascades[i];
		struct buf ids = { 0 };
		const char *p;
		size_t n;

		if (c->parent != parent)
			continue;
		if (c->child == NULL) {
			sqlite3_stmt *st = NULL;

			rc = db_prepare(r->l->db, c->remove, &st, err);
			if (rc == RC_OK) {
				db_bind_text(st, ":id", id);
				rc = db_run(st, err);
			}
			rc = local_failed(r->l, rc, err);
			sqlite3_finalize(st);
			continue;
		}
		rc = find_ids(r, c->find, NULL, id, &ids, &n, err);
		p = ids.p;
		for (size_t j = 0; j < n && rc == RC_OK; j++, p += strlen(p) + 1)
			if ((rc = push_aside(r, c->child, span_of(p), seq, now_us, err)) == RC_OK)
				rc = cascade(r, c->child, span_of(p), seq, now_us, err);
		buf_free(&ids);
	}
	return rc;
}

enum rc
rows_has_children(struct rows *r, const struct row_table *t, struct span id, bool *out,
                  struct err *err)
{
	enum rc rc = RC_OK;

	*out = false;
	for (size_t i = 0; i < r->n_cascades && rc == RC_OK && !*out; i++) {
		sqlite3_stmt *st = NULL;

		if (r->cascades[i].parent != t || r->cascades[i].child == NULL)
			continue;
		rc = db_prepare(r->l->db, r->cascades[i].find, &st, err);
		if (rc == RC_OK) {
			db_bind_text(st, ":id", id);
			rc = db_step(st, out, err);
		}
		rc = local_failed(r->l, rc, err);
		sqlite3_finalize(st);
	}
	return rc;
}

/* Keep a copy of a row that a person might miss, with what wins over it. */
static enum rc
keep(struct rows *r, const struct key *k, int64_t seq, int64_t now_us, struct err *err)
{
	struct buf won = { 0 };
	enum rc rc;

	if (k->lost.len == 0)
		return RC_OK;
	if (k->want != NULL)
		add_row(k->table, (struct row){ NULL, k->want }, &won);
	rc = won.failed ? no_memory(err)
	    : td_conflict(r->l, k->table->entity->table, (struct span){ k->id, k->id_len },
	                  seq, buf_span(&k->lost), buf_span(&won), now_us, err);
	buf_free(&won);
	return rc;
}

/* Called for each key that differs, in the steps of rows_write(). */
enum step { STEP_KEEP, STEP_REMOVE, STEP_UPDATE, STEP_INSERT, STEP_CASCADE, STEP__MAX };

static enum rc
write_key(struct rows *r, struct key *k, enum step step, int64_t seq, int64_t now_us,
          struct err *err)
{
	struct span id = { k->id, k->id_len };

	switch (step) {
	case STEP_KEEP:
		return keep(r, k, seq, now_us, err);
	case STEP_REMOVE:
		return k->want == NULL ? remove_row(r, k->table, id, err) : RC_OK;
	case STEP_UPDATE:
		return k->want != NULL && k->local_there ? update_key(r, k, err) : RC_OK;
	case STEP_INSERT:
		return k->want != NULL && !k->local_there ? insert_key(r, k, seq, now_us, err)
		    : RC_OK;
	case STEP_CASCADE:
		return k->want == NULL ? cascade(r, k->table, id, seq, now_us, err) : RC_OK;
	default:
		return RC_FAULT;
	}
}

enum rc
rows_write(struct rows *r, int64_t seq, int64_t now_us, int64_t *written, struct err *err)
{
	enum rc rc = RC_OK;

	*written = 0;
	local_foreign_keys(r->l, false);
	for (enum step step = 0; step < STEP__MAX && rc == RC_OK; step++)
		for (size_t i = 0; i < r->n_keys && rc == RC_OK; i++)
			if (r->keys[i]->differs) {
				rc = write_key(r, r->keys[i], step, seq, now_us, err);
				*written += step == STEP_KEEP;
			}
	local_foreign_keys(r->l, true);
	return rc;
}
