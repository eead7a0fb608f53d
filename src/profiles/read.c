/* Reading a profile's file, see read.h. */
#include "profiles/read.h"

#include "base/fs.h"
#include "base/json.h"
#include "profiles/schema.h"

#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEPTH 8 /* of a file that is right: 6 */

/* Memory of a profile, freed with it. */
struct block {
	struct block *next;
	max_align_t bytes[];
};

/* A profile as profile_read() gives it. */
struct file {
	struct profile profile; /* the first: a pointer to it is one to the file */
	struct block *blocks;
};

/* A file while it is read. */
struct reading {
	struct file *file;
	char where[192]; /* what is being read, as "entity books, column id"; or "" */
	struct err *err;
};

void
profile_free(struct profile *p)
{
	struct file *f = (struct file *)p;
	struct block *b;

	if (f == NULL)
		return;
	while ((b = f->blocks) != NULL) {
		f->blocks = b->next;
		free(b);
	}
	free(f);
}

static enum rc
no_memory(struct reading *r)
{
	return err_set(r->err, RC_FAULT, "out of memory");
}

/* The file is wrong, printf-like, at the place where we are. */
static enum rc wrong(struct reading *r, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

static enum rc
wrong(struct reading *r, const char *fmt, ...)
{
	struct err why;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why.text, sizeof(why.text), fmt, ap);
	va_end(ap);
	return err_set(r->err, RC_INVALID, "%s%s%s", r->where,
	               r->where[0] != '\0' ? ": " : "", why.text);
}

/* --- memory --- */

/* Zeroed memory that lives as long as the profile; NULL when there is none. */
static void *
keep(struct reading *r, size_t size)
{
	struct block *b = calloc(1, sizeof(*b) + size);

	if (b == NULL)
		return NULL;
	b->next = r->file->blocks;
	r->file->blocks = b;
	return b->bytes;
}

/* A buffer's text, kept; the buffer is freed. */
static enum rc
keep_text(struct reading *r, struct buf *b, const char **out)
{
	char *copy = b->failed ? NULL : keep(r, b->len + 1);

	if (copy != NULL && b->len > 0)
		memcpy(copy, b->p, b->len);
	buf_free(b);
	*out = copy;
	return copy != NULL ? RC_OK : no_memory(r);
}

/* --- values --- */

/* A value must be there, and of a type; `name` is what it is, and the type is
 * called so. */
static enum rc
need_type(struct reading *r, struct span v, enum json_type type, const char *name,
          const char *called)
{
	if (v.len == 0)
		return wrong(r, "there is no \"%s\"", name);
	if (json_type(v) != type)
		return wrong(r, "\"%s\" must be %s", name, called);
	return RC_OK;
}

/* The same for one that may be missing. */
static enum rc
allow_type(struct reading *r, struct span v, enum json_type type, const char *name,
           const char *called)
{
	return v.len == 0 ? RC_OK : need_type(r, v, type, name, called);
}

static size_t
count(struct span list)
{
	struct json_iter it;
	struct span key, value;
	size_t n = 0;

	json_iter_init(&it, list);
	while (json_next(&it, &key, &value))
		n++;
	return n;
}

/* A text that is not empty; `name` is what it is. */
static enum rc
take_text(struct reading *r, struct span v, const char *name, const char **out)
{
	struct buf b = { 0 };
	enum rc rc;

	*out = NULL;
	if ((rc = need_type(r, v, JSON_STRING, name, "a text")) != RC_OK)
		return rc;
	if (json_string_odd(v))
		return wrong(r, "\"%s\" holds a NUL or half a surrogate pair", name);
	json_string(v, &b);
	if (b.len == 0 && !b.failed)
		return wrong(r, "\"%s\" is empty", name);
	return keep_text(r, &b, out);
}

static bool
starts(const char *text, const char *with)
{
	return strncmp(text, with, strlen(with)) == 0;
}

/* The same for a name. */
static enum rc
take_name(struct reading *r, struct span v, const char *name, const char **out)
{
	enum rc rc = take_text(r, v, name, out);

	if (rc != RC_OK || profile_is_name(span_of(*out)))
		return rc;
	return wrong(r, "\"%s\" is no name: 1 to %d of a-z, 0-9 and _, a letter first",
	             *out, PROFILE_NAME_MAX);
}

/* The same for the name of a table or an index, of which some are not free. */
static enum rc
take_own_name(struct reading *r, struct span v, const char *name, const char **out)
{
	enum rc rc = take_name(r, v, name, out);

	if (rc == RC_OK && starts(*out, "sqlite_"))
		return wrong(r, "\"%s\" is not free: sqlite_ is SQLite's", *out);
	if (rc == RC_OK && starts(*out, "tdsync_"))
		return wrong(r, "\"%s\" is not free: tdsync_ is td-sync's", *out);
	return rc;
}

/* A piece of SQL. */
static enum rc
take_sql(struct reading *r, struct span v, const char *name, const char **out)
{
	const char *why;
	enum rc rc = take_text(r, v, name, out);

	if (rc == RC_OK && (why = schema_piece(*out)) != NULL)
		return wrong(r, "%s: %s", why, *out);
	return rc;
}

/*
 * The members of an object: values[i] is that of names[i], empty where it is
 * missing. No other member is allowed, and none twice.
 */
static enum rc
take_members(struct reading *r, struct span object, const char *const *names, size_t n,
             struct span *values)
{
	struct json_iter it;
	struct span key, value;
	size_t i;

	memset(values, 0, n * sizeof(*values));
	json_iter_init(&it, object);
	while (json_next(&it, &key, &value)) {
		if ((i = json_which(key, names, n)) == n)
			return wrong(r, "unknown member %.*s", (int)key.len, key.p);
		if (values[i].len > 0)
			return wrong(r, "\"%s\" is there twice", names[i]);
		values[i] = value;
	}
	return RC_OK;
}

/* --- parts of an entity --- */

/* Put the place within an entity behind the entity's own. */
static void
place(struct reading *r, const struct profile_entity *e, const char *what, const char *name)
{
	snprintf(r->where, sizeof(r->where), "entity %s%s%s%s%s", e->table,
	         what != NULL ? ", " : "", what != NULL ? what : "",
	         name != NULL ? " " : "", name != NULL ? name : "");
}

/* The same for the n-th of something, which has no name. */
static void
place_nth(struct reading *r, const struct profile_entity *e, const char *what, size_t n)
{
	snprintf(r->where, sizeof(r->where), "entity %s, %s %zu", e->table, what, n);
}

static enum rc
take_flag(struct reading *r, struct span v, unsigned *flags)
{
	unsigned flag = json_string_is(v, "local") ? PROFILE_LOCAL
	                : json_string_is(v, "csv") ? PROFILE_CSV : 0;

	if (flag == 0)
		return wrong(r, "unknown flag %.*s: \"local\" or \"csv\"", (int)v.len, v.p);
	if (*flags & flag)
		return wrong(r, "the flag %.*s is there twice", (int)v.len, v.p);
	*flags |= flag;
	return RC_OK;
}

/* ["name", "declaration", "flag"...] */
static enum rc
take_column(struct reading *r, const struct profile_entity *e, size_t nth, struct span v,
            struct profile_column *out)
{
	struct span key, name = { 0 }, decl = { 0 }, flag;
	struct json_iter it;
	enum rc rc;

	place_nth(r, e, "column", nth + 1);
	if (json_type(v) != JSON_ARRAY)
		return wrong(r, "it must be a list: name, declaration, flags");
	json_iter_init(&it, v);
	json_next(&it, &key, &name);
	json_next(&it, &key, &decl);
	if ((rc = take_name(r, name, "name", &out->name)) != RC_OK)
		return rc;
	place(r, e, "column", out->name);
	if (profile_column(e, span_of(out->name)) != out)
		return wrong(r, "it is there twice");
	rc = take_sql(r, decl, "declaration", &out->decl);
	while (rc == RC_OK && json_next(&it, &key, &flag))
		rc = take_flag(r, flag, &out->flags);
	return rc;
}

static enum rc
take_columns(struct reading *r, struct span list, struct profile_entity *e)
{
	struct profile_column *columns;
	struct span key, v;
	struct json_iter it;
	size_t n = count(list), i = 0;
	enum rc rc;

	if ((rc = need_type(r, list, JSON_ARRAY, "columns", "a list")) != RC_OK)
		return rc;
	if (n > PROFILE_COLUMNS_MAX)
		return wrong(r, "it has %zu columns: %d are the most", n, PROFILE_COLUMNS_MAX);
	if ((columns = keep(r, (n + 1) * sizeof(*columns))) == NULL)
		return no_memory(r);
	e->columns = columns;
	json_iter_init(&it, list);
	for (; rc == RC_OK && json_next(&it, &key, &v); i++)
		rc = take_column(r, e, i, v, &columns[i]);
	if (rc != RC_OK)
		return rc;
	place(r, e, NULL, NULL);
	return profile_column(e, span_of("id")) != NULL ? RC_OK
	                                                : wrong(r, "it has no column id");
}

/* A column that the entity must have. */
static enum rc
take_known_column(struct reading *r, struct span v, const char *name,
                  const struct profile_entity *e, const char **out)
{
	enum rc rc = take_name(r, v, name, out);

	if (rc == RC_OK && profile_column(e, span_of(*out)) == NULL)
		return wrong(r, "\"%s\": there is no column %s", name, *out);
	return rc;
}

/* Lists of constraints become one text, as CREATE TABLE has them. */
static enum rc
take_constraints(struct reading *r, struct span list, struct profile_entity *e)
{
	struct buf all = { 0 };
	struct span key, v;
	struct json_iter it;
	const char *one;
	size_t n = 0;
	enum rc rc = allow_type(r, list, JSON_ARRAY, "constraints", "a list of texts");

	json_iter_init(&it, list);
	while (rc == RC_OK && json_next(&it, &key, &v)) {
		place_nth(r, e, "constraint", ++n);
		if ((rc = take_sql(r, v, "constraint", &one)) == RC_OK)
			buf_addf(&all, "%s%s", n > 1 ? ",\n\t" : "", one);
	}
	if (rc == RC_OK && n > 0)
		return keep_text(r, &all, &e->constraints);
	buf_free(&all);
	return rc;
}

/* ["name", "(columns) WHERE condition"] */
static enum rc
take_index(struct reading *r, const struct profile_entity *e, size_t nth, struct span v,
           struct profile_index *out)
{
	struct span key, name = { 0 }, on = { 0 }, more;
	struct json_iter it;
	enum rc rc;

	place_nth(r, e, "index", nth + 1);
	json_iter_init(&it, v);
	json_next(&it, &key, &name);
	json_next(&it, &key, &on);
	if (json_type(v) != JSON_ARRAY || json_next(&it, &key, &more))
		return wrong(r, "it must be a list: name, columns");
	if ((rc = take_own_name(r, name, "name", &out->name)) != RC_OK)
		return rc;
	place(r, e, "index", out->name);
	if ((rc = take_sql(r, on, "columns", &out->on)) != RC_OK)
		return rc;
	return out->on[0] == '(' ? RC_OK : wrong(r, "its columns must be in brackets");
}

static enum rc
take_indexes(struct reading *r, struct span list, struct profile_entity *e)
{
	struct profile_index *indexes;
	struct span key, v;
	struct json_iter it;
	size_t i = 0;
	enum rc rc = allow_type(r, list, JSON_ARRAY, "indexes", "a list");

	if (rc != RC_OK || list.len == 0)
		return rc;
	if ((indexes = keep(r, (count(list) + 1) * sizeof(*indexes))) == NULL)
		return no_memory(r);
	e->indexes = indexes;
	json_iter_init(&it, list);
	for (; rc == RC_OK && json_next(&it, &key, &v); i++)
		rc = take_index(r, e, i, v, &indexes[i]);
	return rc;
}

/* A text as SQL has it. */
static void
add_quoted(struct buf *sql, struct span text)
{
	buf_add_byte(sql, '\'');
	for (size_t i = 0; i < text.len; i++) {
		if (text.p[i] == '\'')
			buf_add_byte(sql, '\'');
		buf_add_byte(sql, text.p[i]);
	}
	buf_add_byte(sql, '\'');
}

static enum rc
add_value(struct reading *r, struct span v, struct buf *sql)
{
	struct buf text = { 0 };
	int64_t n;

	if (json_type(v) == JSON_NULL) {
		buf_add_str(sql, "NULL");
	} else if (json_int64(v, &n)) {
		buf_add_int(sql, n);
	} else if (json_type(v) == JSON_STRING && !json_string_odd(v)) {
		json_string(v, &text);
		add_quoted(sql, buf_span(&text));
		sql->failed = sql->failed || text.failed;
		buf_free(&text);
	} else {
		return wrong(r, "a value must be a text, a whole number or null, not %.*s",
		             (int)v.len, v.p);
	}
	return RC_OK;
}

/* "(columns) VALUES (...), (...)"; how many values belong in a row SQLite
 * knows. */
static enum rc
add_seed(struct reading *r, const struct profile_entity *e, struct span columns,
         struct span rows, struct buf *sql)
{
	struct span key, row, v;
	struct json_iter it, in;
	const char *comma = "(", *name;
	enum rc rc = RC_OK;
	size_t n = 0;

	json_iter_init(&it, columns);
	for (; rc == RC_OK && json_next(&it, &key, &v); comma = ", ")
		if ((rc = take_known_column(r, v, "column", e, &name)) == RC_OK)
			buf_addf(sql, "%s\"%s\"", comma, name);
	buf_add_str(sql, ") VALUES ");
	json_iter_init(&it, rows);
	while (rc == RC_OK && json_next(&it, &key, &row)) {
		place_nth(r, e, "seed row", ++n);
		if (json_type(row) != JSON_ARRAY)
			return wrong(r, "it must be a list of values");
		buf_add_str(sql, n == 1 ? "(" : ", (");
		json_iter_init(&in, row);
		for (comma = ""; rc == RC_OK && json_next(&in, &key, &v); comma = ", ") {
			buf_add_str(sql, comma);
			rc = add_value(r, v, sql);
		}
		buf_add_byte(sql, ')');
	}
	return rc;
}

static enum rc
take_seed(struct reading *r, struct span seed, struct profile_entity *e)
{
	static const char *const names[] = { "columns", "rows" };
	struct span v[2];
	struct buf sql = { 0 };
	enum rc rc;

	if (seed.len == 0)
		return RC_OK;
	place(r, e, "seed", NULL);
	if (json_type(seed) != JSON_OBJECT)
		return wrong(r, "it must be an object: columns, rows");
	if ((rc = take_members(r, seed, names, 2, v)) != RC_OK ||
	    (rc = need_type(r, v[0], JSON_ARRAY, "columns", "a list of names")) != RC_OK ||
	    (rc = need_type(r, v[1], JSON_ARRAY, "rows", "a list of lists")) != RC_OK)
		return rc;
	if ((rc = add_seed(r, e, v[0], v[1], &sql)) == RC_OK)
		return keep_text(r, &sql, &e->seed);
	buf_free(&sql);
	return rc;
}

static enum rc
take_aliases(struct reading *r, struct span list, struct profile_entity *e)
{
	const char **aliases;
	struct span key, v;
	struct json_iter it;
	size_t i = 0;
	enum rc rc = allow_type(r, list, JSON_ARRAY, "aliases", "a list of names");

	if (rc != RC_OK)
		return rc;
	if ((aliases = keep(r, (count(list) + 1) * sizeof(*aliases))) == NULL)
		return no_memory(r);
	e->aliases = aliases;
	json_iter_init(&it, list);
	while (rc == RC_OK && json_next(&it, &key, &v))
		rc = take_name(r, v, "alias", &aliases[i++]);
	return rc;
}

static enum rc
take_edge(struct reading *r, struct span v, struct profile_entity *e)
{
	static const char *const names[] = { "from", "to", "relation", "value" };
	struct profile_edge *edge;
	struct span m[4];
	enum rc rc;

	if (v.len == 0)
		return RC_OK;
	place(r, e, "edge", NULL);
	if (json_type(v) != JSON_OBJECT)
		return wrong(r, "it must be an object: from, to, relation, value");
	if ((edge = keep(r, sizeof(*edge))) == NULL)
		return no_memory(r);
	e->edge = edge;
	if ((rc = take_members(r, v, names, 4, m)) != RC_OK ||
	    (rc = take_known_column(r, m[0], names[0], e, &edge->from)) != RC_OK ||
	    (rc = take_known_column(r, m[1], names[1], e, &edge->to)) != RC_OK ||
	    (rc = take_known_column(r, m[2], names[2], e, &edge->relation)) != RC_OK)
		return rc;
	return take_text(r, m[3], names[3], &edge->value);
}

/* --- entities --- */

enum member { M_TABLE, M_COMMENT, M_ALIASES, M_COLUMNS, M_CONSTRAINTS, M_INDEXES, M_SEED,
              M_UNWRAP, M_PARENT, M_EDGE, M_HELD_BACK, M__MAX };

static const char *const members[M__MAX] = {
	[M_TABLE] = "table",
	[M_COMMENT] = "comment",
	[M_ALIASES] = "aliases",
	[M_COLUMNS] = "columns",
	[M_CONSTRAINTS] = "constraints",
	[M_INDEXES] = "indexes",
	[M_SEED] = "seed",
	[M_UNWRAP] = "unwrap",
	[M_PARENT] = "parent",
	[M_EDGE] = "edge",
	[M_HELD_BACK] = "held_back",
};

/* The members that need no list. */
static enum rc
take_simple(struct reading *r, const struct span v[M__MAX], struct profile_entity *e)
{
	const char *comment;
	enum rc rc;

	if (v[M_COMMENT].len > 0 &&
	    (rc = take_text(r, v[M_COMMENT], members[M_COMMENT], &comment)) != RC_OK)
		return rc;
	if (v[M_UNWRAP].len > 0 &&
	    (rc = take_name(r, v[M_UNWRAP], members[M_UNWRAP], &e->unwrap)) != RC_OK)
		return rc;
	if (e->unwrap != NULL && profile_column(e, span_of(e->unwrap)) != NULL)
		return wrong(r, "\"unwrap\": %s is a column", e->unwrap);
	if (v[M_PARENT].len > 0 &&
	    (rc = take_known_column(r, v[M_PARENT], members[M_PARENT], e, &e->parent)) != RC_OK)
		return rc;
	e->held_back = json_type(v[M_HELD_BACK]) == JSON_TRUE;
	if (v[M_HELD_BACK].len > 0 && !e->held_back &&
	    json_type(v[M_HELD_BACK]) != JSON_FALSE)
		return wrong(r, "\"held_back\" must be true or false");
	return RC_OK;
}

/* How many entities, so far, have a name as their own or as an alias. */
static size_t
times(const struct profile *p, const char *name)
{
	size_t n = 0;

	for (const struct profile_entity *e = p->entities; e->table != NULL; e++) {
		n += strcmp(e->table, name) == 0;
		for (const char *const *a = e->aliases; *a != NULL; a++)
			n += strcmp(*a, name) == 0;
	}
	return n;
}

static enum rc
check_names(struct reading *r, const struct profile_entity *e)
{
	const struct profile *p = &r->file->profile;
	const char *const *a = e->aliases;

	for (const char *name = e->table; name != NULL; name = *a++)
		if (times(p, name) > 1)
			return wrong(r, "the name %s is there twice", name);
	return RC_OK;
}

static enum rc
take_entity(struct reading *r, size_t nth, struct span object, struct profile_entity *e)
{
	struct span v[M__MAX];
	enum rc rc;

	snprintf(r->where, sizeof(r->where), "entity %zu", nth + 1);
	if (json_type(object) != JSON_OBJECT)
		return wrong(r, "it must be an object");
	json_get(object, members[M_TABLE], &v[M_TABLE]);
	if ((rc = take_own_name(r, v[M_TABLE], members[M_TABLE], &e->table)) != RC_OK)
		return rc;
	place(r, e, NULL, NULL);
	if ((rc = take_members(r, object, members, M__MAX, v)) != RC_OK ||
	    (rc = take_aliases(r, v[M_ALIASES], e)) != RC_OK ||
	    (rc = check_names(r, e)) != RC_OK ||
	    (rc = take_columns(r, v[M_COLUMNS], e)) != RC_OK ||
	    (rc = take_simple(r, v, e)) != RC_OK ||
	    (rc = take_constraints(r, v[M_CONSTRAINTS], e)) != RC_OK)
		return rc;
	place(r, e, NULL, NULL);
	if ((rc = take_indexes(r, v[M_INDEXES], e)) != RC_OK ||
	    (rc = take_edge(r, v[M_EDGE], e)) != RC_OK)
		return rc;
	return take_seed(r, v[M_SEED], e);
}

/* --- the profile --- */

static enum rc
take_entities(struct reading *r, struct span list)
{
	struct profile_entity *entities;
	struct span key, v;
	struct json_iter it;
	size_t n = count(list), i = 0;
	enum rc rc;

	if ((rc = need_type(r, list, JSON_ARRAY, "entities", "a list of objects")) != RC_OK)
		return rc;
	if (n == 0)
		return wrong(r, "\"entities\" is empty");
	if ((entities = keep(r, (n + 1) * sizeof(*entities))) == NULL)
		return no_memory(r);
	r->file->profile.entities = entities;
	json_iter_init(&it, list);
	for (; rc == RC_OK && json_next(&it, &key, &v); i++)
		rc = take_entity(r, i, v, &entities[i]);
	return rc;
}

/* { "alias": "action" } */
static enum rc
take_actions(struct reading *r, struct span object)
{
	struct profile *p = &r->file->profile;
	struct profile_alias *a;
	struct span key, v;
	struct json_iter it;
	enum rc rc = allow_type(r, object, JSON_OBJECT, "actions", "an object");

	if (rc != RC_OK)
		return rc;
	if ((a = keep(r, (count(object) + 1) * sizeof(*a))) == NULL)
		return no_memory(r);
	p->actions = a;
	json_iter_init(&it, object);
	for (; json_next(&it, &key, &v); a++) {
		if ((rc = take_name(r, key, "action", &a->type)) != RC_OK)
			return rc;
		snprintf(r->where, sizeof(r->where), "action %s", a->type);
		if (action_find(span_of(a->type)) != 0)
			return wrong(r, "it is one of the five itself");
		for (const struct profile_alias *b = p->actions; b < a; b++)
			if (strcmp(a->type, b->type) == 0)
				return wrong(r, "it is there twice");
		for (enum action is = ACTION_CREATE; is <= ACTION_RESTORE; is++)
			if (json_string_is(v, action_name(is)))
				a->action = is;
		if (a->action == 0)
			return wrong(r, "it must be \"create\", \"update\", \"delete\", "
			             "\"soft_delete\" or \"restore\"");
	}
	r->where[0] = '\0';
	return RC_OK;
}

static enum rc
take_rules(struct reading *r, struct span version, struct span create)
{
	struct profile *p = &r->file->profile;
	int64_t n;

	if (version.len == 0)
		return wrong(r, "there is no \"version\"");
	if (!json_int64(version, &n) || n < 1 || n > INT_MAX)
		return wrong(r, "\"version\" must be a whole number from 1 to %d", INT_MAX);
	p->version = (int)n;
	if (create.len == 0)
		return wrong(r, "there is no \"create\"");
	p->create = json_string_is(create, "upsert") ? PROFILE_UPSERT : PROFILE_REPLACE;
	if (p->create == PROFILE_REPLACE && !json_string_is(create, "replace"))
		return wrong(r, "\"create\" must be \"replace\" or \"upsert\"");
	return RC_OK;
}

/* An entity that is there, by its table's name. */
static enum rc
take_known_entity(struct reading *r, struct span v, const char *name,
                  const struct profile_entity **out)
{
	const char *table;
	enum rc rc = take_name(r, v, name, &table);

	if (rc != RC_OK)
		return rc;
	for (*out = r->file->profile.entities; (*out)->table != NULL; (*out)++)
		if (strcmp((*out)->table, table) == 0)
			return RC_OK;
	return wrong(r, "there is no entity %s", table);
}

static enum rc
take_note(struct reading *r, struct span v)
{
	static const char *const names[] = { "of", "table", "prefix", "owner", "text",
	                                     "session", "time" };
	struct profile_note *n = keep(r, sizeof(*n));
	const struct profile_entity *of, *e;
	const char **columns[4];
	struct span m[7];
	enum rc rc;

	if (n == NULL)
		return no_memory(r);
	snprintf(r->where, sizeof(r->where), "heal, note");
	if (json_type(v) != JSON_OBJECT)
		return wrong(r, "it must be an object");
	if ((rc = take_members(r, v, names, 7, m)) != RC_OK ||
	    (rc = take_known_entity(r, m[0], names[0], &of)) != RC_OK ||
	    (rc = take_known_entity(r, m[1], names[1], &e)) != RC_OK ||
	    (rc = take_text(r, m[2], names[2], &n->prefix)) != RC_OK)
		return rc;
	n->of = of->table;
	n->table = e->table;
	columns[0] = &n->owner;
	columns[1] = &n->text;
	columns[2] = &n->session;
	columns[3] = &n->time;
	for (size_t i = 0; i < 4 && rc == RC_OK; i++)
		rc = take_known_column(r, m[3 + i], names[3 + i], e, columns[i]);
	r->file->profile.note = n;
	return rc;
}

/* That the profile heals, and how it tells of a loss; behind the entities. */
static enum rc
take_heal(struct reading *r, struct span v)
{
	static const char *const names[] = { "note", "comment" };
	const char *comment;
	struct span m[2];
	enum rc rc;

	r->where[0] = '\0';
	if (v.len == 0)
		return RC_OK;
	if ((rc = need_type(r, v, JSON_OBJECT, "heal", "an object")) != RC_OK)
		return rc;
	r->file->profile.heals = true;
	snprintf(r->where, sizeof(r->where), "heal");
	if ((rc = take_members(r, v, names, 2, m)) != RC_OK ||
	    (m[1].len > 0 && (rc = take_text(r, m[1], names[1], &comment)) != RC_OK))
		return rc;
	return m[0].len > 0 ? take_note(r, m[0]) : RC_OK;
}

/* Statements; schema_try() judges them. */
static enum rc
take_local(struct reading *r, struct span list)
{
	const char **s;
	struct span key, v;
	struct json_iter it;
	enum rc rc = allow_type(r, list, JSON_ARRAY, "local", "a list of texts");

	if (rc != RC_OK)
		return rc;
	if ((s = keep(r, (count(list) + 1) * sizeof(*s))) == NULL)
		return no_memory(r);
	r->file->profile.local = s;
	json_iter_init(&it, list);
	while (rc == RC_OK && json_next(&it, &key, &v))
		rc = take_text(r, v, "local", s++);
	return rc;
}

static enum rc
take_profile(struct reading *r, struct span object)
{
	static const char *const names[] = { "name", "version", "create", "entities",
	                                     "actions", "comment", "local", "heal" };
	const char *comment;
	struct span v[8];
	enum rc rc;

	if (json_type(object) != JSON_OBJECT)
		return wrong(r, "it must be an object");
	if ((rc = take_members(r, object, names, 8, v)) != RC_OK ||
	    (rc = take_name(r, v[0], names[0], &r->file->profile.name)) != RC_OK ||
	    (rc = take_rules(r, v[1], v[2])) != RC_OK ||
	    (rc = take_actions(r, v[4])) != RC_OK || (rc = take_local(r, v[6])) != RC_OK)
		return rc;
	if (v[5].len > 0 && (rc = take_text(r, v[5], names[5], &comment)) != RC_OK)
		return rc;
	if ((rc = take_entities(r, v[3])) != RC_OK)
		return rc;
	return take_heal(r, v[7]);
}

/* The JSON value that the file is; a mistake in it is named with its line. */
static enum rc
scan(struct reading *r, struct span text, struct span *value)
{
	struct json_reader json;
	size_t line = 1;

	json_reader_init(&json, text, DEPTH);
	json_value(&json, value);
	while (json.why == NULL && json.p < json.end && strchr(" \t\r\n", *json.p) != NULL)
		json.p++;
	if (json.why == NULL && json.p < json.end) {
		json.why = "something follows";
		json.at = json.p;
	}
	if (json.why == NULL)
		return RC_OK;
	for (const char *c = text.p; json.at != NULL && c < json.at; c++)
		line += *c == '\n';
	return wrong(r, "line %zu: invalid JSON: %s", line, json.why);
}

/* The file is NAME.json: so a profile is found by its name. */
static enum rc
check_file_name(struct reading *r, const char *path)
{
	const char *slash = strrchr(path, '/'), *base = slash != NULL ? slash + 1 : path;
	const char *name = r->file->profile.name;
	size_t n = strlen(name);

	r->where[0] = '\0';
	if (strcmp(name, PROFILE_NONE) == 0)
		return wrong(r, "its name can't be " PROFILE_NONE ": that is for no profile");
	if (strncmp(base, name, n) != 0 || strcmp(base + n, PROFILE_SUFFIX) != 0)
		return wrong(r, "its name is %s, so the file must be called %s" PROFILE_SUFFIX,
		             name, name);
	return RC_OK;
}

enum rc
profile_read(const char *path, struct profile **out, struct err *err)
{
	struct err why;
	struct reading r = { .err = &why };
	struct buf text = { 0 };
	struct span value;
	enum rc rc;

	*out = NULL;
	if ((rc = fs_read(path, PROFILE_FILE_BYTES, &text, err)) != RC_OK) {
		buf_free(&text);
		return rc == RC_TOO_LARGE ? RC_INVALID : rc;
	}
	if ((r.file = calloc(1, sizeof(*r.file))) == NULL)
		rc = no_memory(&r);
	if (rc == RC_OK)
		rc = scan(&r, buf_span(&text), &value);
	if (rc == RC_OK)
		rc = take_profile(&r, value);
	if (rc == RC_OK)
		rc = check_file_name(&r, path);
	if (rc == RC_OK)
		rc = schema_try(&r.file->profile, &why);
	buf_free(&text);
	if (rc != RC_OK) {
		if (r.file != NULL)
			profile_free(&r.file->profile);
		return err_set(err, rc, "%s: %s", path, why.text);
	}
	*out = &r.file->profile;
	return RC_OK;
}
