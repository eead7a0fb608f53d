/* The tables that an applier writes to, see table.h. */
#include "engine/table.h"

#include <stdlib.h>
#include <string.h>

static enum rc
no_memory(struct err *err)
{
	return err_set(err, RC_FAULT, "out of memory");
}

/* --- what they are like --- */

static int
column_named(const struct table *t, const char *name)
{
	return name == NULL ? -1 : table_column(t, span_of(name), 0);
}

/* Evaluate the text of a DEFAULT clause. */
static enum rc
read_default(sqlite3 *db, struct column *c, const char *text, struct err *err)
{
	struct buf sql = { 0 };
	sqlite3_stmt *st = NULL;
	bool row;
	enum rc rc;

	c->now = text != NULL && sqlite3_stricmp(text, "CURRENT_TIMESTAMP") == 0;
	if (text == NULL || c->now)
		return RC_OK;
	buf_add_str(&sql, "SELECT ");
	buf_add_str(&sql, text);
	rc = buf_cstr(&sql) == NULL ? no_memory(err) : db_prepare(db, sql.p, &st, err);
	if (rc == RC_OK && (rc = db_step(st, &row, err)) == RC_OK) {
		c->fallback = sqlite3_value_dup(sqlite3_column_value(st, 0));
		if (c->fallback == NULL)
			rc = no_memory(err);
	}
	sqlite3_finalize(st);
	buf_free(&sql);
	return rc;
}

static enum rc
read_column(sqlite3 *db, struct table *t, sqlite3_stmt *st, struct err *err)
{
	const char *name = (const char *)sqlite3_column_text(st, 0);
	const char *type = (const char *)sqlite3_column_text(st, 1);
	const char *fallback = (const char *)sqlite3_column_text(st, 3);
	const struct profile_column *known;
	struct column *c;

	if (name == NULL || type == NULL)
		return no_memory(err);
	if (t->n_columns == TABLE_COLUMNS)
		return err_set(err, RC_UNAVAILABLE, "table %s has more than %d columns",
		               t->entity->table, TABLE_COLUMNS);
	c = &t->columns[t->n_columns];
	c->name = strdup(name);
	if (c->name == NULL)
		return no_memory(err);
	t->n_columns++;
	c->len = strlen(name);
	known = profile_column(t->entity, span_of(name));
	c->is_key = strcmp(name, "id") == 0;
	c->not_null = sqlite3_column_int(st, 2) != 0;
	c->never_null = sqlite3_stricmp(type, "TEXT") == 0 && fallback != NULL &&
	    strcmp(fallback, "''") == 0;
	c->local = known != NULL && (known->flags & PROFILE_LOCAL);
	c->csv = known != NULL && (known->flags & PROFILE_CSV);
	c->time = profile_is_time(name, type);
	c->datetime = sqlite3_stricmp(type, "DATETIME") == 0;
	c->session = profile_is_session(name);
	return read_default(db, c, fallback, err);
}

static enum rc
read_parent(sqlite3 *db, struct table *t, sqlite3_stmt *st, struct err *err)
{
	const char *from = (const char *)sqlite3_column_text(st, 0);
	const char *table = (const char *)sqlite3_column_text(st, 1);
	const char *to = (const char *)sqlite3_column_text(st, 2);
	bool takes = sqlite3_column_int(st, 3) != 0;
	struct parent *p;

	(void)db;
	if (from == NULL || table == NULL)
		return no_memory(err);
	if (!takes && (t->n_bound == TABLE_PARENTS || column_named(t, from) < 0))
		return RC_OK; /* these are only for healing */
	if (t->n_bound == TABLE_PARENTS)
		return err_set(err, RC_UNAVAILABLE, "table %s has more than %d parents",
		               t->entity->table, TABLE_PARENTS);
	p = &t->parents[t->n_bound++];
	t->n_parents += takes;
	p->column = column_named(t, from);
	p->table = strdup(table);
	p->key = strdup(to != NULL ? to : "id");
	if (p->table == NULL || p->key == NULL)
		return no_memory(err);
	if (p->column < 0) /* SQLite takes it in any case, we don't */
		return err_set(err, RC_UNAVAILABLE, "table %s spells its column %s in two ways",
		               t->entity->table, from);
	return RC_OK;
}

/* Whether an index that begins with this column finds edges by their ends. */
static enum rc
read_reverse(sqlite3 *db, struct table *t, sqlite3_stmt *st, struct err *err)
{
	(void)db;
	(void)err;
	if (span_is(db_span(st, 0), t->entity->edge->to))
		t->finds_to = true;
	return RC_OK;
}

typedef enum rc read_one(sqlite3 *db, struct table *t, sqlite3_stmt *st,
                         struct err *err);

/* Run a PRAGMA as a query and read each row. */
static enum rc
read_all(struct tables *all, struct table *t, const char *sql, read_one *one,
         struct err *err)
{
	sqlite3_stmt *st = NULL;
	bool row = true;
	enum rc rc;

	if ((rc = db_prepare(all->db, sql, &st, err)) != RC_OK)
		return rc;
	db_bind_text(st, ":table", span_of(t->entity->table));
	db_bind_text(st, ":schema", span_of(all->schema));
	while ((rc = db_step(st, &row, err)) == RC_OK && row)
		if ((rc = one(all->db, t, st, err)) != RC_OK)
			break;
	sqlite3_finalize(st);
	return rc;
}

static enum rc
read_table(struct tables *all, struct table *t, struct err *err)
{
	static const char columns[] =
	    "SELECT name, type, \"notnull\", dflt_value"
	    " FROM pragma_table_info(:table, :schema) ORDER BY cid";
	/* td has no key of several columns; one would be left to SQLite alone. */
	static const char parents[] =
	    "SELECT \"from\", \"table\", \"to\", on_delete = 'CASCADE'"
	    " FROM pragma_foreign_key_list(:table, :schema) AS k"
	    " WHERE NOT EXISTS ("
	    "  SELECT 1 FROM pragma_foreign_key_list(:table, :schema) AS m"
	    "  WHERE m.id = k.id AND m.seq > 0)"
	    " ORDER BY on_delete <> 'CASCADE', id";
	/* Of each index the column that it begins with. */
	static const char reverse[] =
	    "SELECT c.name FROM pragma_index_list(:table, :schema) AS i,"
	    " pragma_index_info(i.name, :schema) AS c WHERE c.seqno = 0 AND i.partial = 0";
	const struct profile_edge *edge = t->entity->edge;
	enum rc rc;

	t->columns = calloc(TABLE_COLUMNS, sizeof(*t->columns));
	if (t->columns == NULL)
		return no_memory(err);
	if ((rc = read_all(all, t, columns, read_column, err)) != RC_OK ||
	    (rc = read_all(all, t, parents, read_parent, err)) != RC_OK)
		return rc;
	if (t->n_columns > 0 && column_named(t, "id") < 0)
		return err_set(err, RC_UNAVAILABLE, "table %s has no column id",
		               t->entity->table);
	t->deleted_at = column_named(t, "deleted_at");
	t->updated_at = column_named(t, "updated_at");
	t->parent = column_named(t, t->entity->parent);
	t->from = edge == NULL ? -1 : column_named(t, edge->from);
	t->to = edge == NULL ? -1 : column_named(t, edge->to);
	t->relation = edge == NULL ? -1 : column_named(t, edge->relation);
	return edge == NULL ? RC_OK : read_all(all, t, reverse, read_reverse, err);
}

enum rc
tables_read(struct tables *t, sqlite3 *db, const char *schema,
            const struct profile *p, struct err *err)
{
	size_t n = 0;
	enum rc rc = RC_OK;

	while (p->entities[n].table != NULL)
		n++;
	t->db = db;
	t->create = p->create;
	t->schema = strdup(schema);
	t->list = calloc(n, sizeof(*t->list));
	if (t->schema == NULL || t->list == NULL)
		return no_memory(err);
	t->n = n;
	for (size_t i = 0; i < n && rc == RC_OK; i++) {
		t->list[i].entity = &p->entities[i];
		if (!p->entities[i].held_back)
			rc = read_table(t, &t->list[i], err);
	}
	return rc;
}

static void
table_free(struct table *t)
{
	for (int i = 0; i < SQL__MAX; i++)
		sqlite3_finalize(t->sql[i]);
	for (int i = 0; i < TABLE_UPDATES; i++)
		sqlite3_finalize(t->updates[i].st);
	for (int i = 0; i < t->n_bound; i++) {
		sqlite3_finalize(t->parents[i].gone);
		sqlite3_finalize(t->parents[i].children);
		free(t->parents[i].table);
		free(t->parents[i].key);
	}
	for (int i = 0; i < t->n_columns; i++) {
		sqlite3_value_free(t->columns[i].fallback);
		free(t->columns[i].name);
	}
	free(t->columns);
}

void
tables_free(struct tables *t)
{
	for (size_t i = 0; i < t->n; i++)
		table_free(&t->list[i]);
	free(t->list);
	free(t->schema);
}

int
tables_number(const struct tables *t, const struct table *table)
{
	return (int)(table - t->list);
}

struct table *
tables_find(struct tables *t, struct span type)
{
	for (size_t i = 0; i < t->n; i++)
		if (span_is(type, t->list[i].entity->table))
			return &t->list[i];
	return NULL;
}

static bool
is_named(const struct column *c, struct span name)
{
	return c->len == name.len && memcmp(c->name, name.p, name.len) == 0;
}

int
table_column(const struct table *t, struct span name, int hint)
{
	for (int i = hint; i < t->n_columns; i++)
		if (is_named(&t->columns[i], name))
			return i;
	for (int i = 0; i < hint && i < t->n_columns; i++)
		if (is_named(&t->columns[i], name))
			return i;
	return -1;
}

/* --- statements --- */

/* Append a name quoted for SQL. */
static void
add_name(struct buf *sql, const char *name)
{
	buf_add_byte(sql, '"');
	for (; *name != '\0'; name++) {
		if (*name == '"')
			buf_add_byte(sql, '"');
		buf_add_byte(sql, *name);
	}
	buf_add_byte(sql, '"');
}

/*
 * Append SQL in which %s stands for the next of the names, quoted; the
 * schema and the table are the first two.
 */
static void
add_sql(struct buf *sql, const char *text, const char *const *names)
{
	const char *mark;

	while ((mark = strstr(text, "%s")) != NULL) {
		buf_add(sql, text, (size_t)(mark - text));
		add_name(sql, *names++);
		text = mark + 2;
	}
	buf_add_str(sql, text);
}

static void
add_put(struct buf *sql, const struct table *t)
{
	for (int i = 0; i < t->n_columns; i++) {
		buf_add_byte(sql, i == 0 ? '(' : ',');
		add_name(sql, t->columns[i].name);
	}
	buf_add_str(sql, ") VALUES ");
	for (int i = 0; i < t->n_columns; i++)
		buf_add_str(sql, i == 0 ? "(?" : ",?");
	buf_add_byte(sql, ')');
}

/* A row of that id gets all values. It is in nobody's way: another row that
 * is, by UNIQUE, breaks the constraint. */
static void
add_upsert(struct buf *sql, const struct table *t)
{
	const char *lead = " DO UPDATE SET ";

	buf_add_str(sql, " ON CONFLICT(id)");
	for (int i = 0; i < t->n_columns; i++) {
		if (t->columns[i].is_key)
			continue;
		buf_add_str(sql, lead);
		add_sql(sql, "%s = excluded.%s",
		        (const char *const[]){ t->columns[i].name, t->columns[i].name });
		lead = ", ";
	}
	if (t->n_columns == 1)
		buf_add_str(sql, " DO NOTHING");
}

/* Prepare and free a text. */
static enum rc
prepare(sqlite3 *db, struct buf *sql, sqlite3_stmt **out, struct err *err)
{
	enum rc rc = buf_cstr(sql) == NULL ? no_memory(err)
	                                   : db_prepare(db, sql->p, out, err);

	buf_free(sql);
	return rc;
}

enum rc
table_need(struct tables *all, struct table *t, enum table_sql which,
           struct err *err)
{
	const struct profile_edge *e = t->entity->edge;
	const char *schema = all->schema, *table = t->entity->table;
	struct buf sql = { 0 };

	if (t->sql[which] != NULL)
		return RC_OK;
	switch (which) {
	case SQL_PUT:
		add_sql(&sql, all->create == PROFILE_UPSERT ? "INSERT INTO %s.%s"
		                                            : "INSERT OR REPLACE INTO %s.%s",
		        (const char *const[]){ schema, table });
		add_put(&sql, t);
		if (all->create == PROFILE_UPSERT)
			add_upsert(&sql, t);
		break;
	case SQL_FIND:
		add_sql(&sql, "SELECT 1 FROM %s.%s WHERE id = ?1",
		        (const char *const[]){ schema, table });
		break;
	case SQL_ROW:
		add_sql(&sql, "SELECT * FROM %s.%s WHERE id = ?1",
		        (const char *const[]){ schema, table });
		break;
	case SQL_DELETE:
		add_sql(&sql, "DELETE FROM %s.%s WHERE id = ?1",
		        (const char *const[]){ schema, table });
		break;
	case SQL_ORPHAN:
		add_sql(&sql, "UPDATE %s.%s SET %s = '' WHERE %s = ?1",
		        (const char *const[]){ schema, table, t->entity->parent,
		                               t->entity->parent });
		break;
	case SQL_HIDE:
		add_sql(&sql, "UPDATE %s.%s SET deleted_at = ?1 WHERE id = ?2",
		        (const char *const[]){ schema, table });
		break;
	case SQL_SHOW:
		add_sql(&sql, "UPDATE %s.%s SET deleted_at = NULL, updated_at = ?1"
		              " WHERE id = ?2",
		        (const char *const[]){ schema, table });
		break;
	case SQL_PATH: /* an entity reaches itself */
		add_sql(&sql, "WITH RECURSIVE reached(id) AS (VALUES (?1)"
		              " UNION SELECT t.%s FROM reached JOIN %s.%s AS t"
		              " ON t.%s = reached.id AND t.%s = ?3) SELECT 1 WHERE ",
		        (const char *const[]){ e->to, schema, table, e->from, e->relation });
		if (t->finds_to) /* most have no edge that leads to them: no need to look */
			add_sql(&sql, "(?1 = ?2 OR EXISTS (SELECT 1 FROM %s.%s WHERE %s = ?2"
			              " AND %s = ?3)) AND ",
			        (const char *const[]){ schema, table, e->to, e->relation });
		buf_add_str(&sql, "EXISTS (SELECT 1 FROM reached WHERE id = ?2)");
		break;
	case SQL_CUT:
		add_sql(&sql, "DELETE FROM %s.%s WHERE %s = ?1 AND %s = ?2 AND %s = ?3",
		        (const char *const[]){ schema, table, e->from, e->to, e->relation });
		break;
	case SQL_CYCLE: /* ends that are reached from ?1, and that reach ?2 */
	case SQL_BESIDE: /* or */
		add_sql(&sql, "WITH RECURSIVE down(id) AS (VALUES (?1)"
		              " UNION SELECT t.%s FROM down JOIN %s.%s AS t"
		              " ON t.%s = down.id AND t.%s = ?3),"
		              " up(id) AS (VALUES (?2)"
		              " UNION SELECT t.%s FROM up JOIN %s.%s AS t"
		              " ON t.%s = up.id AND t.%s = ?3)"
		              " SELECT t.id FROM %s.%s AS t WHERE t.%s = ?3",
		        (const char *const[]){ e->to, schema, table, e->from, e->relation,
		                               e->from, schema, table, e->to, e->relation,
		                               schema, table, e->relation });
		add_sql(&sql, which == SQL_CYCLE ? " AND t.%s IN (SELECT id FROM down)"
		                                   " AND t.%s IN (SELECT id FROM up)"
		                                 : " AND (t.%s IN (SELECT id FROM down)"
		                                   " OR t.%s IN (SELECT id FROM up))",
		        (const char *const[]){ e->from, e->to });
		break;
	case SQL__MAX:
		break;
	}
	return prepare(all->db, &sql, &t->sql[which], err);
}

static enum rc
prepare_update(struct tables *all, struct table *t, uint64_t set,
               sqlite3_stmt **out, struct err *err)
{
	struct buf sql = { 0 };
	bool first = true;

	add_sql(&sql, "UPDATE %s.%s",
	        (const char *const[]){ all->schema, t->entity->table });
	for (int i = 0; i < t->n_columns; i++) {
		if (!(set >> i & 1))
			continue;
		buf_add_str(&sql, first ? " SET " : ", ");
		add_name(&sql, t->columns[i].name);
		buf_add_str(&sql, " = ?");
		first = false;
	}
	buf_add_str(&sql, " WHERE id = ?");
	return prepare(all->db, &sql, out, err);
}

enum rc
table_need_update(struct tables *all, struct table *t, uint64_t set,
                  sqlite3_stmt **out, struct err *err)
{
	struct update *u;
	enum rc rc;

	*out = NULL;
	for (int i = 0; i < TABLE_UPDATES; i++)
		if (t->updates[i].set == set) {
			*out = t->updates[i].st;
			return RC_OK;
		}
	if ((rc = prepare_update(all, t, set, out, err)) != RC_OK)
		return rc;
	u = &t->updates[t->next_update];
	t->next_update = (t->next_update + 1) % TABLE_UPDATES;
	sqlite3_finalize(u->st);
	*u = (struct update){ set, *out };
	return RC_OK;
}

enum rc
table_need_gone(struct tables *all, struct parent *p, struct err *err)
{
	struct buf sql = { 0 };

	if (p->gone != NULL)
		return RC_OK;
	add_sql(&sql, "SELECT ?1 WHERE ?1 <> '' AND NOT EXISTS"
	              " (SELECT 1 FROM %s.%s WHERE %s = ?1)",
	        (const char *const[]){ all->schema, p->table, p->key });
	return prepare(all->db, &sql, &p->gone, err);
}

/* Step a query of the table about a row. */
static enum rc
ask_of(struct tables *all, struct table *t, enum table_sql which, struct span id, bool *row,
       struct err *err)
{
	sqlite3_stmt *st;
	enum rc rc;

	*row = false;
	if ((rc = table_need(all, t, which, err)) != RC_OK)
		return rc;
	st = t->sql[which];
	sqlite3_bind_text64(st, 1, id.p == NULL ? "" : id.p, id.len, SQLITE_STATIC, SQLITE_UTF8);
	if ((rc = db_step(st, row, err)) != RC_OK || !*row)
		db_reset(st);
	return rc;
}

enum rc
table_exists(struct tables *all, struct table *t, struct span id, bool *yes,
             struct err *err)
{
	enum rc rc = ask_of(all, t, SQL_FIND, id, yes, err);

	db_reset(t->sql[SQL_FIND]);
	return rc;
}

enum rc
table_row(struct tables *all, struct table *t, struct span id, sqlite3_stmt **out,
          struct err *err)
{
	bool there;
	enum rc rc = ask_of(all, t, SQL_ROW, id, &there, err);

	*out = there ? t->sql[SQL_ROW] : NULL;
	return rc;
}

/* Visit the ids that a bound query gives. */
static enum rc
walk_ids(sqlite3_stmt *st, enum rc (*visit)(void *ctx, struct span id, struct err *err),
         void *ctx, struct err *err)
{
	bool row;
	enum rc rc;

	while ((rc = db_step(st, &row, err)) == RC_OK && row)
		if ((rc = visit(ctx, db_span(st, 0), err)) != RC_OK)
			break;
	db_reset(st);
	return rc;
}

enum rc
table_children(struct tables *all, struct table *t, struct parent *p, struct span id,
               enum rc (*visit)(void *ctx, struct span id, struct err *err), void *ctx,
               struct err *err)
{
	const char *column = t->columns[p->column].name;
	struct buf sql = { 0 };
	enum rc rc;

	if (p->children == NULL) {
		add_sql(&sql, "SELECT id FROM %s.%s WHERE %s = ?1 ORDER BY id",
		        (const char *const[]){ all->schema, t->entity->table, column });
		if ((rc = prepare(all->db, &sql, &p->children, err)) != RC_OK)
			return rc;
	}
	sqlite3_bind_text64(p->children, 1, id.p, id.len, SQLITE_STATIC, SQLITE_UTF8);
	return walk_ids(p->children, visit, ctx, err);
}

/* Visit edges of what leads on from `to`, and to `from`. */
static enum rc
walk_edges(struct tables *all, struct table *t, enum table_sql which, struct span from,
           struct span to, enum rc (*visit)(void *ctx, struct span id, struct err *err),
           void *ctx, struct err *err)
{
	sqlite3_stmt *st;
	enum rc rc;

	if ((rc = table_need(all, t, which, err)) != RC_OK)
		return rc;
	st = t->sql[which];
	sqlite3_bind_text64(st, 1, to.p, to.len, SQLITE_STATIC, SQLITE_UTF8);
	sqlite3_bind_text64(st, 2, from.p, from.len, SQLITE_STATIC, SQLITE_UTF8);
	sqlite3_bind_text(st, 3, t->entity->edge->value, -1, SQLITE_STATIC);
	return walk_ids(st, visit, ctx, err);
}

enum rc
table_cycle(struct tables *all, struct table *t, struct span from, struct span to,
            enum rc (*visit)(void *ctx, struct span id, struct err *err), void *ctx,
            struct err *err)
{
	return walk_edges(all, t, SQL_CYCLE, from, to, visit, ctx, err);
}

enum rc
table_beside(struct tables *all, struct table *t, struct span from, struct span to,
             enum rc (*visit)(void *ctx, struct span id, struct err *err), void *ctx,
             struct err *err)
{
	return walk_edges(all, t, SQL_BESIDE, from, to, visit, ctx, err);
}
