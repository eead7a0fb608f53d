/* The SQL of a profile, see schema.h. */
#include "profiles/schema.h"

#include "store/db.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* --- a piece --- */

/* Past the end of what a quote or bracket opens, doubled ones left out; NULL
 * where it has none. */
static const char *
skip_quoted(const char *p)
{
	char end = *p == '[' ? ']' : *p;

	while ((p = strchr(p + 1, end)) != NULL) {
		if (p[1] != end || end == ']')
			return p + 1;
		p++;
	}
	return NULL;
}

/* What is wrong with a word, or NULL. */
static const char *
word_wrong(struct span word)
{
	if (span_is_nocase(word, "conflict"))
		return "ON CONFLICT is not for a profile's file: \"create\" says what happens";
	if (span_is_nocase(word, "deferred"))
		return "a key that is DEFERRED would fail too late, with others' events";
	return NULL;
}

static bool
is_word(char c)
{
	return isalnum((unsigned char)c) || c == '_';
}

const char *
schema_piece(const char *sql)
{
	const char *p = sql, *start, *why;
	int depth = 0;

	while (*p != '\0') {
		start = p++;
		if (strchr("'\"`[", *start) != NULL) {
			if ((p = skip_quoted(start)) == NULL)
				return "a quote is not closed";
		} else if (is_word(*start)) {
			while (is_word(*p))
				p++;
			why = word_wrong((struct span){ start, (size_t)(p - start) });
			if (why != NULL)
				return why;
		} else if ((*start == '-' && *p == '-') || (*start == '/' && *p == '*')) {
			return "a comment";
		} else if ((*start & 0x80) != 0) { /* to SQLite some are white space */
			return "a character outside of quotes that is not ASCII";
		} else if (*start == ';') {
			return "a semicolon";
		} else if (*start == ',' && depth == 0) {
			return "a comma outside of brackets";
		} else if (*start == '(') {
			depth++;
		} else if (*start == ')' && depth-- == 0) {
			return "a bracket is closed that is not open";
		}
	}
	return depth > 0 ? "a bracket is not closed" : NULL;
}

/* --- trying it --- */

/* An entity that is tried, or a statement of `local`. */
struct trial {
	sqlite3 *db;
	const struct profile *profile;
	const struct profile_entity *entity; /* NULL: a statement */
	int nth;                             /* its number, from 1 */
	struct err *err;
};

/* Whether a table is an entity's, which the statement at hand may not touch. */
static bool
is_taken(const struct trial *t, const char *table)
{
	return t->entity == NULL && table != NULL &&
	       profile_entity(t->profile, span_of(table)) != NULL;
}

/*
 * What making tables does, and nothing else. Functions are those that have
 * the same result always and never fail: a constraint that fails other than by
 * being broken would be taken for the disk's fault, and keep the state at that
 * event for ever.
 */
static int
authorize(void *ctx, int action, const char *a, const char *function, const char *schema,
          const char *trigger)
{
	static const char *const functions[] = { "coalesce", "ifnull", "instr", "json_valid",
	    "length", "lower", "ltrim", "nullif", "rtrim", "substr", "trim", "typeof", "upper" };

	(void)schema;
	(void)trigger;
	switch (action) {
	case SQLITE_INSERT:
	case SQLITE_UPDATE:
		return is_taken(ctx, a) ? SQLITE_DENY : SQLITE_OK;
	case SQLITE_CREATE_INDEX: /* the table, where others have the function */
		return is_taken(ctx, function) ? SQLITE_DENY : SQLITE_OK;
	case SQLITE_CREATE_TABLE:
	case SQLITE_REINDEX: /* a part of making an index */
	case SQLITE_READ:
	case SQLITE_SELECT:
		return SQLITE_OK;
	case SQLITE_FUNCTION:
		for (size_t i = 0; i < sizeof(functions) / sizeof(*functions); i++)
			if (strcmp(function, functions[i]) == 0)
				return SQLITE_OK;
	}
	return SQLITE_DENY;
}

static enum rc
open_memory(sqlite3 **out, struct err *err)
{
	int code = sqlite3_open(":memory:", out);

	/* "x" is a name, never a text: SQLite can be built to take either. */
	if (code == SQLITE_OK)
		code = sqlite3_db_config(*out, SQLITE_DBCONFIG_DQS_DDL, 0, NULL);
	if (code == SQLITE_OK)
		code = sqlite3_db_config(*out, SQLITE_DBCONFIG_DQS_DML, 0, NULL);
	if (code == SQLITE_OK)
		code = sqlite3_db_config(*out, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	if (code == SQLITE_OK)
		code = sqlite3_db_config(*out, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
	if (code == SQLITE_OK)
		code = sqlite3_exec(*out, "PRAGMA foreign_keys=ON", NULL, NULL, NULL);
	return db_rc(*out, code, "a database in memory", err);
}

static enum rc wrong(const struct trial *t, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

static enum rc
wrong(const struct trial *t, const char *fmt, ...)
{
	struct err why;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why.text, sizeof(why.text), fmt, ap);
	va_end(ap);
	if (t->entity == NULL)
		return err_set(t->err, RC_INVALID, "statement %d of local: %s", t->nth, why.text);
	return err_set(t->err, RC_INVALID, "entity %s: %s", t->entity->table, why.text);
}

/* SQLite refused a statement: what it says, and the line it points at. */
static enum rc
refused(const struct trial *t, const char *sql)
{
	int code = sqlite3_errcode(t->db), at = sqlite3_error_offset(t->db);
	const char *line = sql, *end;

	if ((code & 0xff) == SQLITE_NOMEM)
		return err_set(t->err, RC_FAULT, "out of memory");
	if (at < 0)
		return wrong(t, "%s", sqlite3_errmsg(t->db));
	for (const char *p = sql; p < sql + at; p++)
		if (*p == '\n')
			line = p + 1;
	line += strspn(line, "\t");
	end = line + strcspn(line, "\n");
	return wrong(t, "%s, in: %.*s", sqlite3_errmsg(t->db), (int)(end - line), line);
}

typedef enum rc judge_row(const struct trial *t, sqlite3_stmt *st, int nth);

/* Ask about an entity's table, and judge each row of the answer. */
static enum rc
ask(const struct trial *t, const char *sql, judge_row *judge, int *n)
{
	sqlite3_stmt *st = NULL;
	bool row = false;
	enum rc rc = db_prepare(t->db, sql, &st, t->err);

	*n = 0;
	if (rc == RC_OK)
		db_bind_text(st, ":table", span_of(t->entity->table));
	while (rc == RC_OK && (rc = db_step(st, &row, t->err)) == RC_OK && row)
		rc = judge(t, st, (*n)++);
	sqlite3_finalize(st);
	return rc;
}

/* A default that is the same always: a text, a number, NULL, true or false; or
 * the current time, which is that of the event. */
static bool
default_is_plain(const char *text)
{
	static const char *const words[] = { "NULL", "TRUE", "FALSE", "CURRENT_TIMESTAMP" };

	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
		if (sqlite3_stricmp(text, words[i]) == 0)
			return true;
	if (*text == '\'') {
		const char *end = skip_quoted(text);

		return end != NULL && *end == '\0';
	}
	return strchr("+-.0123456789", *text) != NULL &&
	       text[strspn(text, "+-.0123456789eE")] == '\0';
}

static enum rc
judge_column(const struct trial *t, sqlite3_stmt *st, int nth)
{
	const struct profile_column *c = t->entity->columns;
	struct span name = db_span(st, 0), type = db_span(st, 1);
	const char *fallback = (const char *)sqlite3_column_text(st, 2);
	int key = sqlite3_column_int(st, 3);
	bool is_id = span_is(name, "id");

	for (int i = 0; i < nth && c->name != NULL; i++)
		c++;
	if (c->name == NULL || !span_is(name, c->name))
		return wrong(t, "its SQL makes a column %.*s that is not in its columns",
		             (int)name.len, name.p);
	if (sqlite3_column_int(st, 4) != 0)
		return wrong(t, "column %s: it must not be GENERATED", c->name);
	if (is_id ? key != 1 || !span_is_nocase(type, "TEXT") : key != 0)
		return wrong(t, "the primary key must be id alone, as TEXT");
	if (fallback != NULL && !default_is_plain(fallback))
		return wrong(t, "column %s: a DEFAULT must be a text, a number, NULL or "
		             "CURRENT_TIMESTAMP, not %s", c->name, fallback);
	return RC_OK;
}

/* An event is about the row of its id, not about one of an id that is much like it. */
static enum rc
judge_collation(const struct trial *t, struct span name)
{
	return span_is_nocase(name, "BINARY") ? RC_OK
	    : wrong(t, "ids must be told apart by each byte: no COLLATE");
}

static enum rc
judge_id_index(const struct trial *t, sqlite3_stmt *st, int nth)
{
	(void)nth;
	return judge_collation(t, db_span(st, 0));
}

/* How ids are compared where they are looked for, and in the key's index. */
static enum rc
look_at_id(const struct trial *t)
{
	static const char index[] =
	    "SELECT coll FROM pragma_index_list(:table) AS i, pragma_index_xinfo(i.name) AS c"
	    " WHERE i.origin = 'pk' AND c.key = 1";
	const char *name;
	enum rc rc;
	int n, code;

	code = sqlite3_table_column_metadata(t->db, "main", t->entity->table, "id", NULL, &name,
	                                     NULL, NULL, NULL);
	if ((rc = db_rc(t->db, code, "statement", t->err)) != RC_OK ||
	    (rc = judge_collation(t, span_of(name))) != RC_OK)
		return rc;
	return ask(t, index, judge_id_index, &n);
}

/* A key must refer to an entity that is there, and comes before. */
static enum rc
judge_key(const struct trial *t, sqlite3_stmt *st, int nth)
{
	struct span table = db_span(st, 0);
	bool cascades = sqlite3_column_int(st, 1) != 0;
	const struct profile_entity *e = t->profile->entities;

	(void)nth;
	while (e->table != NULL && !span_is(table, e->table))
		e++;
	if (e->table == NULL)
		return wrong(t, "it references %.*s, which is no entity", (int)table.len, table.p);
	if (e > t->entity)
		return wrong(t, "it references %s, which must come before it", e->table);
	if (e->held_back && !t->entity->held_back)
		return wrong(t, "it references %s, which is held back", e->table);
	if (e == t->entity && cascades) /* SQLite stops at the 1000th in a row */
		return wrong(t, "it references itself ON DELETE CASCADE");
	return RC_OK;
}

static enum rc
look_at_table(const struct trial *t)
{
	static const char columns[] =
	    "SELECT name, type, dflt_value, pk, hidden FROM pragma_table_xinfo(:table)"
	    " ORDER BY cid";
	static const char keys[] =
	    "SELECT \"table\", on_delete = 'CASCADE'"
	    " FROM pragma_foreign_key_list(:table)";
	static const char parents[] =
	    "SELECT \"table\", 1 FROM pragma_foreign_key_list(:table)"
	    " WHERE on_delete = 'CASCADE'";
	int n;
	enum rc rc;

	if ((rc = ask(t, columns, judge_column, &n)) != RC_OK)
		return rc;
	if (t->entity->columns[n].name != NULL)
		return wrong(t, "its SQL makes no column %s", t->entity->columns[n].name);
	if ((rc = look_at_id(t)) != RC_OK || (rc = ask(t, keys, judge_key, &n)) != RC_OK ||
	    (rc = ask(t, parents, judge_key, &n)) != RC_OK)
		return rc;
	if (n > PROFILE_PARENTS_MAX)
		return wrong(t, "it has %d foreign keys ON DELETE CASCADE: %d are the most", n,
		             PROFILE_PARENTS_MAX);
	return RC_OK;
}

/* Run a statement of the profile's; *rest becomes what follows it. */
static enum rc
run(const struct trial *t, const char **rest)
{
	const char *sql = *rest;
	sqlite3_stmt *st = NULL;
	enum rc rc = RC_OK;

	sqlite3_set_authorizer(t->db, authorize, (void *)(uintptr_t)t);
	if (sqlite3_prepare_v2(t->db, sql, -1, &st, rest) != SQLITE_OK ||
	    sqlite3_step(st) != SQLITE_DONE)
		rc = refused(t, sql);
	sqlite3_finalize(st);
	sqlite3_set_authorizer(t->db, NULL, NULL);
	*rest += strspn(*rest, "\n");
	return rc;
}

/*
 * That rows can be put into a table and deleted: what a constraint, an index or
 * a key is made of is looked at only now, as the parent's columns that a key
 * names.
 */
static enum rc
try_events(const struct trial *t)
{
	const char *table = t->entity->table;
	char put[64 + PROFILE_NAME_MAX], cut[64 + PROFILE_NAME_MAX];
	const char *const statements[] = { put, cut };
	sqlite3_stmt *st;
	enum rc rc = RC_OK;

	snprintf(put, sizeof(put), "INSERT OR REPLACE INTO \"%s\"(id) VALUES (?1)", table);
	snprintf(cut, sizeof(cut), "DELETE FROM \"%s\" WHERE id = ?1", table);
	for (size_t i = 0; i < 2 && rc == RC_OK; i++) {
		if (sqlite3_prepare_v2(t->db, statements[i], -1, &st, NULL) != SQLITE_OK)
			rc = refused(t, statements[i]);
		sqlite3_finalize(st);
	}
	return rc;
}

/* Make an entity's table, look at it, then its seed and its indexes. */
static enum rc
make_table(const struct trial *t)
{
	struct buf sql = { 0 };
	const char *rest;
	enum rc rc;

	profile_table(t->entity, "main", &sql);
	profile_seed(t->entity, "main", &sql);
	if ((rest = buf_cstr(&sql)) == NULL)
		rc = err_set(t->err, RC_FAULT, "out of memory");
	else if ((rc = run(t, &rest)) == RC_OK)
		rc = look_at_table(t);
	while (rc == RC_OK && *rest != '\0')
		rc = run(t, &rest);
	buf_free(&sql);
	return rc == RC_OK ? try_events(t) : rc;
}

/* Run the statements beside the entities. */
static enum rc
make_local(struct trial *t)
{
	enum rc rc = RC_OK;

	t->entity = NULL;
	for (const char *const *s = t->profile->local; rc == RC_OK && *s != NULL; s++) {
		const char *rest = *s;

		t->nth++;
		if ((rc = run(t, &rest)) == RC_OK && *rest != '\0')
			rc = wrong(t, "something follows it: %s", rest);
	}
	return rc;
}

enum rc
schema_try(const struct profile *p, struct err *err)
{
	struct trial t = { .profile = p, .err = err };
	enum rc rc = open_memory(&t.db, err);

	for (t.entity = p->entities; rc == RC_OK && t.entity->table != NULL; t.entity++)
		rc = make_table(&t);
	if (rc == RC_OK)
		rc = make_local(&t);
	sqlite3_close(t.db);
	return rc;
}
