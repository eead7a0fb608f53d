/* The applier, see apply.h. Rules: protocol.md section 5. */
#include "engine/apply.h"

#include "base/gojson.h"
#include "base/json.h"
#include "engine/deed.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct applier {
	struct tables tables;
	struct buf scratch; /* decoded text; lives for one binding */
	struct deed deed;   /* the event at hand */
	deed_done *done;    /* who looks on, or NULL */
	void *done_ctx;
};

/* The event at hand. */
struct job {
	struct applier *a;
	struct table *t;
	const struct event *ev;
	bool valid;         /* its payload is JSON */
	struct deed *d;
	enum applied *what;
	struct err *err;
};

const char *
applied_reason(enum applied what)
{
	switch (what) {
	case APPLIED_ORPHAN:
		return "orphaned_parent";
	case APPLIED_BAD:
		return "quarantined";
	default:
		return NULL;
	}
}

static enum rc
no_memory(struct err *err)
{
	return err_set(err, RC_FAULT, "out of memory");
}

static bool
any_cascades(const struct tables *t)
{
	for (size_t i = 0; i < t->n; i++)
		if (t->list[i].n_parents > 0)
			return true;
	return false;
}

/* Without foreign keys rows would stay that any other replica loses. */
static enum rc
check_foreign_keys(const struct tables *t, struct err *err)
{
	sqlite3_stmt *st = NULL;
	bool row = false;
	enum rc rc;

	if (!any_cascades(t))
		return RC_OK;
	rc = db_prepare(t->db, "PRAGMA foreign_keys", &st, err);
	if (rc == RC_OK)
		rc = db_step(st, &row, err);
	if (rc == RC_OK && (!row || sqlite3_column_int(st, 0) == 0))
		rc = err_set(err, RC_FAULT, "foreign keys are off: events can't be applied");
	sqlite3_finalize(st);
	return rc;
}

enum rc
applier_new(sqlite3 *db, const char *schema, const struct profile *p,
            struct applier **out, struct err *err)
{
	struct applier *a;
	enum rc rc;

	*out = NULL;
	a = calloc(1, sizeof(*a));
	if (a == NULL)
		return no_memory(err);
	if ((rc = tables_read(&a->tables, db, schema, p, err)) != RC_OK ||
	    (rc = check_foreign_keys(&a->tables, err)) != RC_OK) {
		applier_free(a);
		return rc;
	}
	*out = a;
	return RC_OK;
}

void
applier_free(struct applier *a)
{
	if (a == NULL)
		return;
	tables_free(&a->tables);
	buf_free(&a->scratch);
	free(a);
}

/* --- outcomes --- */

/* The event can't be applied, ever. */
static enum rc
quarantine(struct job *j, const char *why)
{
	*j->what = APPLIED_BAD;
	return err_set(j->err, RC_OK, "%s %s/%.*s: %s", action_name(j->ev->action),
	               j->t->entity->table, (int)j->ev->id.len,
	               j->ev->id.p == NULL ? "" : j->ev->id.p, why);
}

/* The same for what SQLite would say of a column or table that is missing. */
static enum rc
quarantine_missing(struct job *j, const char *kind, const char *name)
{
	struct err why;

	err_set(&why, RC_OK, "%s: no such %s: %s (%d)", sqlite3_errstr(SQLITE_ERROR),
	        kind, name, SQLITE_ERROR);
	return quarantine(j, why.text);
}

/*
 * Judge the result of a step and of the bindings before it: what lies in the
 * event is quarantined, what lies in the environment is returned. The
 * statement's own changes are undone in both cases.
 */
static enum rc
judge(struct job *j, int code)
{
	struct err why;

	switch (code & 0xff) {
	case SQLITE_CONSTRAINT:
	case SQLITE_TOOBIG:
		err_set(&why, RC_OK, "%s: %s (%d)", sqlite3_errstr(code & 0xff),
		        sqlite3_errmsg(j->a->tables.db), code);
		return quarantine(j, why.text);
	case SQLITE_MISMATCH:
		return quarantine(j, "a number is too large");
	default:
		return db_rc(j->a->tables.db, code, "apply", j->err);
	}
}

/*
 * An event that needs several statements: all of them happen, or where one is
 * refused none. steps_begin(), the statements, and what became of them to
 * steps_end().
 */
static enum rc
steps_begin(struct job *j)
{
	return db_exec(j->a->tables.db, "SAVEPOINT steps", j->err);
}

static enum rc
steps_end(struct job *j, enum rc rc)
{
	sqlite3 *db = j->a->tables.db;
	struct err why;

	if (rc != RC_OK)
		return rc; /* the caller rolls all of it back */
	if (*j->what != APPLIED)
		rc = db_exec(db, "ROLLBACK TO steps", &why);
	if (rc == RC_OK)
		rc = db_exec(db, "RELEASE steps", &why);
	if (rc != RC_OK)
		*j->err = why;
	return rc;
}

/* Run a bound statement that returns no row; `code` is that of its bindings. */
static int
run(struct job *j, sqlite3_stmt *st, int code)
{
	if (code == SQLITE_OK) {
		code = sqlite3_step(st);
		if (code != SQLITE_DONE)
			code = sqlite3_extended_errcode(j->a->tables.db);
	}
	sqlite3_reset(st); /* the message stays */
	sqlite3_clear_bindings(st);
	return code;
}

/* --- values --- */

static int
bind_span(sqlite3_stmt *st, int i, struct span s, sqlite3_destructor_type own)
{
	return sqlite3_bind_text64(st, i, s.p == NULL ? "" : s.p, s.len, own,
	                           SQLITE_UTF8);
}

static int
bind_id(struct job *j, sqlite3_stmt *st, int i)
{
	return bind_span(st, i, j->ev->id, SQLITE_STATIC);
}

/* Bind the scratch buffer's text, copied. */
static int
bind_scratch(struct job *j, sqlite3_stmt *st, int i)
{
	if (j->a->scratch.failed)
		return SQLITE_NOMEM;
	return bind_span(st, i, buf_span(&j->a->scratch), SQLITE_TRANSIENT);
}

/* The event's time as CURRENT_TIMESTAMP would read at that moment. */
static int
bind_now(struct job *j, sqlite3_stmt *st, int i)
{
	char text[TIME_TEXT];

	time_text(j->d->at.sec, text);
	text[10] = ' '; /* YYYY-MM-DD HH:MM:SS */
	return bind_span(st, i, (struct span){ text, 19 }, SQLITE_TRANSIENT);
}

static int
bind_string(struct job *j, sqlite3_stmt *st, int i, struct span v)
{
	struct span text = { v.p + 1, v.len - 2 };

	if (memchr(text.p, '\\', text.len) == NULL)
		return bind_span(st, i, text, SQLITE_STATIC);
	buf_reset(&j->a->scratch);
	json_string(v, &j->a->scratch);
	return bind_scratch(j, st, i);
}

/* td decodes every number to a double; the column's affinity does the rest. */
static int
bind_number(sqlite3_stmt *st, int i, struct span v)
{
	double number;
	int64_t n;

	if (json_int64(v, &n) && n > -(INT64_C(1) << 53) && n < INT64_C(1) << 53)
		return sqlite3_bind_double(st, i, (double)n);
	json_double(v, &number);
	if (!isfinite(number))
		return SQLITE_MISMATCH; /* as everywhere here: a number is too large */
	return sqlite3_bind_double(st, i, number);
}

/* An array as "a,b": strings as they are, anything else as JSON. */
static int
bind_csv(struct job *j, sqlite3_stmt *st, int i, struct span v)
{
	struct buf *text = &j->a->scratch;
	struct json_iter it;
	struct span key, value;
	bool first = true;

	buf_reset(text);
	json_iter_init(&it, v);
	while (json_next(&it, &key, &value)) {
		if (!first)
			buf_add_byte(text, ',');
		first = false;
		if (!json_string(value, text) && !gojson_add(value, text))
			return SQLITE_MISMATCH;
	}
	return bind_scratch(j, st, i);
}

static int
bind_json(struct job *j, sqlite3_stmt *st, int i, struct span v)
{
	buf_reset(&j->a->scratch);
	if (!gojson_add(v, &j->a->scratch))
		return SQLITE_MISMATCH;
	return bind_scratch(j, st, i);
}

/* Bind a value that a payload gives for a column (empty: a NULL). */
static int
bind_value(struct job *j, sqlite3_stmt *st, int i, const struct column *c,
           struct span v)
{
	switch (json_type(v)) {
	case JSON_NULL:
		if (c->never_null)
			return bind_span(st, i, span_of(""), SQLITE_STATIC);
		return sqlite3_bind_null(st, i);
	case JSON_FALSE:
	case JSON_TRUE:
		return sqlite3_bind_int(st, i, json_type(v) == JSON_TRUE);
	case JSON_NUMBER:
		return bind_number(st, i, v);
	case JSON_STRING:
		return bind_string(j, st, i, v);
	case JSON_ARRAY:
		return c->csv ? bind_csv(j, st, i, v) : bind_json(j, st, i, v);
	case JSON_OBJECT:
		return bind_json(j, st, i, v);
	}
	return SQLITE_MISUSE;
}

/* A column's default. Its text is not copied: it lives with the table. */
static int
bind_fallback(sqlite3_stmt *st, int i, sqlite3_value *v)
{
	if (v == NULL)
		return sqlite3_bind_null(st, i);
	if (sqlite3_value_type(v) != SQLITE_TEXT)
		return sqlite3_bind_value(st, i, v);
	return bind_span(st, i, (struct span){ (const char *)sqlite3_value_text(v),
	                                       (size_t)sqlite3_value_bytes(v) },
	                 SQLITE_STATIC);
}

/*
 * The same as bind_value() for a new row: an absent column has its default,
 * and so has a NULL where none may be (REPLACE would put it there itself, but
 * the current time as it is now; an upsert would not).
 */
static int
bind_new(struct job *j, sqlite3_stmt *st, int i, const struct column *c,
         struct span v)
{
	bool lacking = v.len == 0 || (c->not_null && json_type(v) == JSON_NULL);

	if (c->is_key)
		return bind_id(j, st, i);
	if (lacking)
		return c->now ? bind_now(j, st, i) : bind_fallback(st, i, c->fallback);
	return bind_value(j, st, i, c, v);
}

/* --- rows of payloads --- */

/* The column that a member's key names, -1 when there is none. */
static int
find_column(const struct table *t, struct span key, int hint)
{
	struct span name = { key.p + 1, key.len - 2 };

	if (memchr(name.p, '\\', name.len) == NULL)
		return table_column(t, name, hint);
	for (int i = 0; i < t->n_columns; i++)
		if (json_string_is(key, t->columns[i].name))
			return i;
	return -1;
}

/*
 * Find the values of the table's columns in an object, and the member that a
 * row may be wrapped in. The id, what is local and what the table doesn't
 * have is left out; of several members of one name the last counts.
 */
static struct span
read_members(struct job *j, struct span object, struct row *out)
{
	const char *unwrap = j->t->entity->unwrap;
	struct span key, value, inner = { NULL, 0 };
	struct json_iter it;
	int i = -1;

	memset(out->values, 0, (size_t)j->t->n_columns * sizeof(*out->values));
	json_iter_init(&it, object);
	while (json_next(&it, &key, &value)) {
		i = find_column(j->t, key, i + 1);
		if (i >= 0 && !j->t->columns[i].is_key && !j->t->columns[i].local)
			out->values[i] = value;
		else if (i < 0 && unwrap != NULL && json_string_is(key, unwrap))
			inner = value;
	}
	return inner;
}

/*
 * Read a row of a payload. Where it is wrapped, as td's approve does, *object
 * becomes the inner one.
 */
static void
read_row(struct job *j, struct span *object, struct row *out)
{
	struct span inner = read_members(j, *object, out);

	if (json_type(inner) != JSON_OBJECT)
		return;
	*object = inner;
	read_members(j, inner, out);
}

/* Append an object without its id. */
static void
add_without_id(struct span object, struct buf *out)
{
	struct span key, value;
	struct json_iter it;
	bool first = true;

	buf_add_byte(out, '{');
	json_iter_init(&it, object);
	while (json_next(&it, &key, &value)) {
		if (json_string_is(key, "id"))
			continue;
		if (!first)
			buf_add_byte(out, ',');
		first = false;
		buf_add_span(out, key);
		buf_add_byte(out, ':');
		buf_add_span(out, value);
	}
	buf_add_byte(out, '}');
}

/* Whether two rows are deeply equal but for their ids. */
static enum rc
same_but_id(struct job *j, struct span a, struct span b, bool *same)
{
	struct buf ta = { 0 }, tb = { 0 };
	bool failed;

	add_without_id(a, &ta);
	add_without_id(b, &tb);
	*same = json_equal(buf_span(&ta), buf_span(&tb));
	failed = ta.failed || tb.failed;
	buf_free(&ta);
	buf_free(&tb);
	return failed ? no_memory(j->err) : RC_OK;
}

/* --- create --- */

/* Prepare and give a statement of the event's table. */
static enum rc
need(struct job *j, enum table_sql which, sqlite3_stmt **out)
{
	enum rc rc = table_need(&j->a->tables, j->t, which, j->err);

	*out = j->t->sql[which];
	return rc;
}

/* Step a bound query; `code` is that of its bindings. */
static enum rc
ask(struct job *j, sqlite3_stmt *st, int code, bool *row)
{
	*row = false;
	return code == SQLITE_OK ? db_step(st, row, j->err)
	                         : db_rc(j->a->tables.db, code, "apply", j->err);
}

/*
 * Whether a parent that takes its children along is missing; the sentence
 * for it goes to err. NULL and '' are no parent.
 */
static enum rc
parent_gone(struct job *j, struct parent *p, const struct row *row, bool *gone)
{
	const struct column *c = &j->t->columns[p->column];
	struct span id;
	enum rc rc;

	if ((rc = table_need_gone(&j->a->tables, p, j->err)) != RC_OK)
		return rc;
	rc = ask(j, p->gone, bind_new(j, p->gone, 1, c, row->values[p->column]), gone);
	if (*gone) {
		id = db_span(p->gone, 0);
		err_set(j->err, RC_OK, "orphaned %s/%.*s: %s references missing %s/%.*s",
		        j->t->entity->table, (int)j->ev->id.len, j->ev->id.p,
		        c->name, p->table, (int)id.len, id.p);
	}
	db_reset(p->gone);
	return rc;
}

/*
 * A create broke a constraint: tell an orphan (a new row whose parent is
 * gone) from a bad event. td looks for orphans first; asking only here saves
 * the look on the way of all others, since with foreign keys on an orphan
 * never gets in.
 */
static enum rc
judge_orphan(struct job *j, const struct row *row)
{
	struct err bad = *j->err;
	bool known, gone = false;
	enum rc rc;

	if (j->t->n_parents == 0)
		return RC_OK;
	if ((rc = table_exists(&j->a->tables, j->t, j->ev->id, &known, j->err)) != RC_OK || known)
		return rc;
	for (int i = 0; i < j->t->n_parents && rc == RC_OK && !gone; i++)
		rc = parent_gone(j, &j->t->parents[i], row, &gone);
	if (rc != RC_OK)
		return rc;
	if (gone)
		*j->what = APPLIED_ORPHAN;
	else
		*j->err = bad;
	return RC_OK;
}

/* Put a whole row in its place, as the profile's creates do. */
static enum rc
put_row(struct job *j, const struct row *row)
{
	struct table *t = j->t;
	sqlite3_stmt *st;
	int code = SQLITE_OK;
	enum rc rc;

	if ((rc = need(j, SQL_PUT, &st)) != RC_OK)
		return rc;
	for (int i = 0; i < t->n_columns && code == SQLITE_OK; i++)
		code = bind_new(j, st, i + 1, &t->columns[i], row->values[i]);
	code = run(j, st, code);
	rc = judge(j, code);
	return (code & 0xff) == SQLITE_CONSTRAINT ? judge_orphan(j, row) : rc;
}

/* --- edges --- */

/* The ends of an edge in a payload. */
struct edge {
	struct buf from, to;
};

/* Whether an edge's relation is the one that the rule is about. */
static bool
relation_counts(const struct table *t, const struct row *row)
{
	const struct column *c = &t->columns[t->relation];
	struct span v = row->values[t->relation];
	const char *text;

	if (json_type(v) == JSON_STRING)
		return json_string_is(v, t->entity->edge->value);
	if (json_type(v) != JSON_NULL || c->fallback == NULL)
		return false;
	/* Absent, or a NULL for which REPLACE puts the default. */
	text = (const char *)sqlite3_value_text(c->fallback);
	return text != NULL && strcmp(text, t->entity->edge->value) == 0;
}

/* Read the ends of an edge; false where the cycle rule has nothing to say. */
static bool
read_edge(const struct table *t, const struct row *row, struct edge *e)
{
	return t->from >= 0 && t->to >= 0 && t->relation >= 0 &&
	    relation_counts(t, row) &&
	    json_string(row->values[t->from], &e->from) &&
	    json_string(row->values[t->to], &e->to);
}

/* Bind ?1 and ?2 to an edge's ends turned round, ?3 to the relation. */
static int
bind_reverse(struct job *j, sqlite3_stmt *st, const struct edge *e)
{
	int code = bind_span(st, 1, buf_span(&e->to), SQLITE_STATIC);

	if (code == SQLITE_OK)
		code = bind_span(st, 2, buf_span(&e->from), SQLITE_STATIC);
	if (code == SQLITE_OK)
		code = bind_span(st, 3, span_of(j->t->entity->edge->value), SQLITE_STATIC);
	return code;
}

static enum rc
closes_cycle(struct job *j, const struct edge *e, bool *cycle)
{
	sqlite3_stmt *st;
	enum rc rc;

	if ((rc = need(j, SQL_PATH, &st)) != RC_OK)
		return rc;
	rc = ask(j, st, bind_reverse(j, st, e), cycle);
	db_reset(st);
	return rc;
}

static enum rc
count_edge(void *ctx, struct span id, struct err *err)
{
	(void)id;
	(void)err;
	++*(int *)ctx;
	return RC_OK;
}

/* Whether more than the edge's reverse leads back. */
static enum rc
is_long(struct job *j, const struct edge *e, bool *is)
{
	int n = 0;
	enum rc rc = table_cycle(&j->a->tables, j->t, buf_span(&e->from), buf_span(&e->to),
	                         count_edge, &n, j->err);

	*is = n > 1;
	return rc;
}

/* Of an edge and its reverse the one whose "from|to" sorts lower wins. */
static enum rc
edge_wins(struct job *j, const struct edge *e, bool *wins)
{
	struct buf mine = { 0 }, other = { 0 };
	enum rc rc = RC_OK;

	buf_add_span(&mine, buf_span(&e->from));
	buf_add_byte(&mine, '|');
	buf_add_span(&mine, buf_span(&e->to));
	buf_add_span(&other, buf_span(&e->to));
	buf_add_byte(&other, '|');
	buf_add_span(&other, buf_span(&e->from));
	if (mine.failed || other.failed)
		rc = no_memory(j->err);
	else
		*wins = memcmp(mine.p, other.p, mine.len) < 0; /* both are as long */
	buf_free(&mine);
	buf_free(&other);
	return rc;
}

/* The edge goes in and its reverse out, or nothing happens. */
static enum rc
turn_edge(struct job *j, const struct row *row, const struct edge *e)
{
	sqlite3_stmt *st;
	enum rc rc;

	if ((rc = need(j, SQL_CUT, &st)) != RC_OK || (rc = steps_begin(j)) != RC_OK)
		return rc;
	rc = judge(j, run(j, st, bind_reverse(j, st, e)));
	if (rc == RC_OK && *j->what == APPLIED)
		rc = put_row(j, row);
	return steps_end(j, rc);
}

static enum rc
judge_edge(struct job *j, const struct row *row, const struct edge *e)
{
	bool cycle = false, wins = false;
	enum rc rc;

	if (e->from.failed || e->to.failed)
		return no_memory(j->err);
	if ((rc = closes_cycle(j, e, &cycle)) != RC_OK)
		return rc;
	if (!cycle)
		return put_row(j, row);
	if ((rc = is_long(j, e, &j->d->cycle)) != RC_OK || (rc = edge_wins(j, e, &wins)) != RC_OK)
		return rc;
	j->d->cycle = j->d->cycle || !wins;
	if (wins)
		return turn_edge(j, row, e);
	rc = quarantine(j, "it would close a cycle");
	*j->what = APPLIED_EDGE;
	return rc;
}

static enum rc
create(struct job *j)
{
	const struct row *row = &j->d->row;
	struct edge e = { 0 };
	enum rc rc;

	j->d->whole = true;
	if (read_edge(j->t, row, &e))
		rc = judge_edge(j, row, &e);
	else
		rc = put_row(j, row);
	buf_free(&e.from);
	buf_free(&e.to);
	return rc;
}

/* --- update --- */

/* The columns that an update changed, by what it says that it saw. */
static uint64_t
changed_columns(const struct deed *d)
{
	uint64_t set = 0;

	for (int i = 0; i < d->table->n_columns; i++)
		if (!span_eq(d->row.values[i], d->before.values[i]) &&
		    !json_equal(d->row.values[i], d->before.values[i]))
			set |= UINT64_C(1) << i;
	return set;
}

static enum rc
replace_if_present(struct job *j)
{
	bool exists;
	enum rc rc = table_exists(&j->a->tables, j->t, j->ev->id, &exists, j->err);

	j->d->whole = true;
	return rc != RC_OK || !exists ? rc : put_row(j, &j->d->row);
}

/* Set the columns of a set; a row that is missing stays so. */
static enum rc
set_columns(struct job *j)
{
	const struct row *row = &j->d->row;
	uint64_t set = j->d->set;
	sqlite3_stmt *st;
	int code = SQLITE_OK, n = 0;
	enum rc rc;

	if ((rc = table_need_update(&j->a->tables, j->t, set, &st, j->err)) != RC_OK)
		return rc;
	for (int i = 0; i < j->t->n_columns && code == SQLITE_OK; i++)
		if (set >> i & 1)
			code = bind_value(j, st, ++n, &j->t->columns[i], row->values[i]);
	if (code == SQLITE_OK)
		code = bind_id(j, st, n + 1);
	return judge(j, run(j, st, code));
}

/*
 * With previous_data the author says what it saw: only what it changed is
 * set. Without, or where it changed nothing, the row is replaced.
 */
static enum rc
update(struct job *j, struct span object, struct span previous)
{
	struct deed *d = j->d;
	bool same;
	enum rc rc;

	if (!d->has_before)
		return replace_if_present(j);
	d->set = changed_columns(d);
	if (d->set != 0)
		return set_columns(j);
	if ((rc = same_but_id(j, object, previous, &same)) != RC_OK || !same)
		return rc; /* this table has no column for what it changed */
	return replace_if_present(j);
}

/* --- delete, soft_delete, restore --- */

/* Run a statement about the event's row. */
static enum rc
run_on_row(struct job *j, enum table_sql which)
{
	sqlite3_stmt *st;
	enum rc rc = need(j, which, &st);

	return rc == RC_OK ? judge(j, run(j, st, bind_id(j, st, 1))) : rc;
}

static enum rc
delete_row(struct job *j)
{
	enum rc rc;

	if (j->t->parent < 0)
		return run_on_row(j, SQL_DELETE);
	if ((rc = steps_begin(j)) != RC_OK)
		return rc;
	rc = run_on_row(j, SQL_DELETE);
	if (rc == RC_OK && *j->what == APPLIED && sqlite3_changes(j->a->tables.db) > 0)
		rc = run_on_row(j, SQL_ORPHAN);
	return steps_end(j, rc);
}

/* Write the event's time to a row. */
static enum rc
stamp(struct job *j, enum table_sql which)
{
	sqlite3_stmt *st;
	enum rc rc;
	int code;

	if (j->t->deleted_at < 0)
		return quarantine_missing(j, "column", "deleted_at");
	if (which == SQL_SHOW && j->t->updated_at < 0)
		return quarantine_missing(j, "column", "updated_at");
	if ((rc = need(j, which, &st)) != RC_OK)
		return rc;
	buf_reset(&j->a->scratch);
	time_add_sqlite(&j->a->scratch, j->d->at);
	code = bind_scratch(j, st, 1);
	if (code == SQLITE_OK)
		code = bind_id(j, st, 2);
	return judge(j, run(j, st, code));
}

/* --- an event --- */

/* A row that a payload holds: an object, or empty for none. */
static bool
is_row(struct span v)
{
	return json_type(v) == JSON_OBJECT || json_type(v) == JSON_NULL;
}

/* Read the rows of a payload, unwrapped; an object without members is none. */
static void
read_rows(struct job *j, struct span *object, struct span *previous)
{
	struct deed *d = j->d;
	struct json_iter it;
	struct span key, value;

	d->has_row = json_type(*object) == JSON_OBJECT;
	if (d->has_row)
		read_row(j, object, &d->row);
	if (json_type(*previous) != JSON_OBJECT)
		return;
	read_row(j, previous, &d->before);
	json_iter_init(&it, *previous);
	d->has_before = json_next(&it, &key, &value);
}

static void
find_rows(const struct event *ev, struct span values[2])
{
	static const char *const keys[] = { "new_data", "previous_data" };

	json_pick(ev->payload, keys, 2, values);
}

static void
read_payload(struct job *j)
{
	struct span values[2];

	find_rows(j->ev, values);
	read_rows(j, &values[0], &values[1]);
}

static enum rc
write_row(struct job *j)
{
	struct span values[2];

	find_rows(j->ev, values);
	if (json_type(values[0]) == JSON_NULL)
		return quarantine(j, "no new_data");
	if (!is_row(values[0]))
		return quarantine(j, "new_data is not an object");
	if (j->ev->action == ACTION_UPDATE && !is_row(values[1]))
		return quarantine(j, "previous_data is not an object");
	read_rows(j, &values[0], &values[1]);
	if (j->ev->action == ACTION_CREATE)
		return create(j);
	return update(j, values[0], values[1]);
}

static enum rc
act(struct job *j)
{
	if (!is_row(j->ev->payload))
		return quarantine(j, "the payload is not an object");
	if (!time_parse_rfc3339(j->ev->time, &j->d->at))
		return quarantine(j, "the time is not RFC 3339");
	switch (j->ev->action) {
	case ACTION_CREATE:
	case ACTION_UPDATE:
		return write_row(j);
	case ACTION_DELETE:
		return delete_row(j);
	case ACTION_SOFT_DELETE:
		return stamp(j, SQL_HIDE);
	case ACTION_RESTORE:
		return stamp(j, SQL_SHOW);
	}
	return err_set(j->err, RC_FAULT, "an event without an action");
}

/* A disk may have changed what was judged when it came; what is no JSON must not
 * be walked over. */
static bool
is_json(struct span payload)
{
	struct span value, rest;

	return json_scan(payload, JSON_MAX_DEPTH, &value, &rest, NULL) == RC_OK &&
	       rest.len == 0;
}

static enum rc
apply(struct job *j)
{
	if (!j->valid && j->t != NULL)
		return quarantine(j, "the payload is not JSON");
	if (j->t == NULL || j->t->entity->held_back) {
		*j->what = APPLIED_BAD;
		return err_set(j->err, RC_OK, "invalid entity type: \"%.*s\"",
		               (int)j->ev->type.len, j->ev->type.p == NULL ? "" : j->ev->type.p);
	}
	if (j->ev->id.len == 0)
		return quarantine(j, "empty entity ID");
	if (j->t->n_columns == 0)
		return quarantine_missing(j, "table", j->t->entity->table);
	return act(j);
}

enum rc
applier_apply(struct applier *a, const struct event *ev, enum applied *what,
              struct err *err)
{
	struct deed *d = &a->deed;
	struct err unread = { "" };
	struct job j = { .a = a, .ev = ev, .valid = is_json(ev->payload), .d = d,
	                 .what = what, .err = err != NULL ? err : &unread };
	enum rc rc;

	*what = APPLIED;
	assert(!sqlite3_get_autocommit(a->tables.db)); /* a transaction is open */
	j.t = tables_find(&a->tables, ev->type);
	d->ev = ev;
	d->table = j.t;
	d->has_row = d->has_before = d->cycle = d->whole = false;
	d->set = 0;
	if (a->done != NULL && j.t != NULL && ev->action >= ACTION_DELETE && j.valid &&
	    json_type(ev->payload) == JSON_OBJECT)
		read_payload(&j); /* for who looks on; it isn't needed here */
	rc = apply(&j);
	if (rc == RC_OK && a->done != NULL)
		rc = a->done(a->done_ctx, d, *what, j.err->text, j.err);
	return rc;
}

void
applier_read(struct applier *a, const struct event *ev, struct deed *out)
{
	struct job j = { .a = a, .t = tables_find(&a->tables, ev->type), .ev = ev, .d = out };

	out->ev = ev;
	out->table = j.t;
	out->has_row = out->has_before = out->whole = false;
	out->set = 0;
	if (j.t == NULL || json_type(ev->payload) != JSON_OBJECT || !is_json(ev->payload))
		return;
	read_payload(&j);
	if (ev->action == ACTION_UPDATE && out->has_row && out->has_before)
		out->set = changed_columns(out);
}

const struct row *
deed_row(const struct deed *d)
{
	enum action a = d->ev->action;
	bool writes = a == ACTION_CREATE || a == ACTION_UPDATE;

	if (d->has_row && (writes || (a == ACTION_RESTORE && !d->has_before)))
		return &d->row;
	return d->has_before && a != ACTION_DELETE ? &d->before : NULL;
}

void
applier_watch(struct applier *a, deed_done *done, void *ctx)
{
	a->done = done;
	a->done_ctx = ctx;
}

const struct deed *
applier_deed(const struct applier *a)
{
	return &a->deed;
}

struct tables *
applier_tables(struct applier *a)
{
	return &a->tables;
}
