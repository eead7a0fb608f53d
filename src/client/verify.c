/*
 * A replica checks itself: its state against the server's digests at the same
 * seq, row by row against a snapshot where they differ; and td's rows against the
 * state, with own entries on top.
 */
#include "client/snapshot.h"

#include "base/json.h"
#include "client/kinds.h"
#include "client/words.h"
#include "engine/sums.h"
#include "engine/value.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* How often to pull again where the log moves on before its digest is asked for. */
#define TRIES 5

/* What a table of the state is to the server's. */
enum judgement { AGREES, DIFFERS, OTHER_COLUMNS };

struct verify {
	struct work *w;
	void (*visit)(void *ctx, const struct tdsync_difference *d);
	void *ctx;
	struct tdsync_verification *out;
	struct remote_answer digest;
	struct span theirs;         /* its "tables" */
	struct tables state;        /* ours, in td-sync.db */
	enum judgement *judged;     /* of them, by number */
	struct snapshot snapshot;   /* no path: rows can't be told */
	struct words words;
};

static enum rc
no_memory(struct err *err)
{
	return err_set(err, RC_FAULT, "out of memory");
}

static enum rc
report(struct verify *v, struct tdsync_difference d, struct err *err)
{
	bool failed = v->words.failed;

	v->out->differences += d.finding != TDSYNC_NOT_COMPARABLE;
	if (v->visit != NULL && !failed)
		v->visit(v->ctx, &d);
	words_clear(&v->words);
	return failed ? no_memory(err) : RC_OK;
}

/* --- rows of one table in two places --- */

/* Two SELECTs of the same columns, by id, and what to say where they differ. */
struct pair {
	struct verify *v;
	enum tdsync_finding finding;
	const char *table;
	sqlite3_stmt *here, *there;
	bool on_here, on_there;     /* they stand on a row */
};

static struct span
bytes(sqlite3_stmt *st, int col)
{
	return value_bytes(sqlite3_column_value(st, col));
}

/* Whether two values are the same. To a digest 1 and 1.0 are not; of td's rows,
 * a pull would let that be. */
static bool
same(const struct pair *p, int col)
{
	if (p->finding == TDSYNC_STATE_DIFFERS &&
	    sqlite3_column_type(p->here, col) != sqlite3_column_type(p->there, col))
		return false;
	return value_same(sqlite3_column_value(p->here, col),
	                  sqlite3_column_value(p->there, col),
	                  profile_is_time(sqlite3_column_name(p->here, col), ""));
}

static const char *
value(struct verify *v, sqlite3_stmt *st, int col)
{
	struct buf b = { 0 };
	const char *text;

	value_json(sqlite3_column_value(st, col), false, &b);
	text = words_add(&v->words, buf_span(&b));
	v->words.failed = v->words.failed || b.failed;
	buf_free(&b);
	return text;
}

/* Compare the rows that both stand on, of the same id. */
static enum rc
compare_rows(struct pair *p, struct err *err)
{
	struct words *w = &p->v->words;

	for (int i = 1; i < sqlite3_column_count(p->here); i++)
		if (!same(p, i))
			return report(p->v, (struct tdsync_difference){ p->finding, p->table,
				words_add(w, bytes(p->here, 0)),
				sqlite3_column_name(p->here, i), value(p->v, p->here, i),
				value(p->v, p->there, i) }, err);
	return RC_OK;
}

/* A row that only one side has. Of td's it is none where the log never held it: it
 * is offered with the next push. */
static enum rc
report_alone(struct pair *p, bool here, struct err *err)
{
	struct span id = bytes(here ? p->here : p->there, 0);
	bool held = true;
	enum rc rc = RC_OK;

	if (here && p->finding == TDSYNC_ROWS_DIFFER)
		rc = books_is_held(p->v->w->l, p->table, id, &held, err);
	if (rc != RC_OK || !held)
		return rc;
	return report(p->v, (struct tdsync_difference){ p->finding, p->table,
		words_add(&p->v->words, id), "", here ? "" : NULL, here ? NULL : "" }, err);
}

static int
compare_ids(const struct pair *p)
{
	if (!p->on_here || !p->on_there)
		return p->on_here ? -1 : 1;
	return span_compare(bytes(p->here, 0), bytes(p->there, 0));
}

static enum rc
walk(struct pair *p, struct err *err)
{
	enum rc rc;
	int cmp;

	if ((rc = db_step(p->here, &p->on_here, err)) == RC_OK)
		rc = db_step(p->there, &p->on_there, err);
	while (rc == RC_OK && (p->on_here || p->on_there)) {
		cmp = compare_ids(p);
		rc = cmp == 0 ? compare_rows(p, err) : report_alone(p, cmp < 0, err);
		if (rc == RC_OK && cmp <= 0)
			rc = db_step(p->here, &p->on_here, err);
		if (rc == RC_OK && cmp >= 0)
			rc = db_step(p->there, &p->on_there, err);
	}
	return rc;
}

/* Compare a table in two schemas over a list of columns (", \"name\"..."). */
static enum rc
compare_tables(struct pair *p, const char *here, const char *there, const struct buf *columns,
               struct err *err)
{
	struct local *l = p->v->w->l;
	struct buf sql = { 0 };
	enum rc rc = RC_OK;

	for (int i = 0; i < 2 && rc == RC_OK; i++) {
		buf_reset(&sql);
		buf_addf(&sql, "SELECT id%s FROM %s.\"%s\"%s ORDER BY CAST(id AS BLOB)",
		         columns->len == 0 ? "" : columns->p, i == 0 ? here : there, p->table,
		         /* of td's an init's, whose times nobody compares */
		         strcmp(here, "main") == 0 && strcmp(p->table, "boards") == 0
		         ? " WHERE is_builtin = 0" : "");
		rc = buf_cstr(&sql) == NULL ? no_memory(err)
		    : db_prepare(l->db, sql.p, i == 0 ? &p->here : &p->there, err);
	}
	if (rc == RC_OK)
		rc = walk(p, err);
	rc = local_failed(l, rc, err);
	sqlite3_finalize(p->here);
	sqlite3_finalize(p->there);
	buf_free(&sql);
	return rc;
}

/* --- the state against the server's digests --- */

/* Append names that one list has and the other lacks. */
static void
add_missing(struct span has, struct span lacks, struct buf *out)
{
	struct json_iter it, other;
	struct span k, name, v;

	json_iter_init(&it, has);
	while (json_next(&it, &k, &name)) {
		bool found = false;

		json_iter_init(&other, lacks);
		while (!found && json_next(&other, &k, &v))
			found = json_equal(name, v);
		if (!found) {
			if (out->len > 0)
				buf_add_str(out, ", ");
			json_string(name, out);
		}
	}
}

/* What the server says of a table; false when it does not know it. */
static bool
find_theirs(const struct verify *v, const char *table, struct span *out)
{
	struct json_iter it;
	struct span k, name;

	json_iter_init(&it, v->theirs);
	while (json_next(&it, &k, out))
		if (json_get(*out, "table", &name) && json_string_is(name, table))
			return true;
	return false;
}

static enum rc
judge_table(struct verify *v, const struct table *t, enum judgement *how, struct err *err)
{
	struct buf columns = { 0 }, hex = { 0 };
	struct span theirs, digest, names, rows;
	struct sum sum;
	int64_t n;
	enum rc rc = RC_OK;

	*how = OTHER_COLUMNS;
	sums_columns(t, &columns);
	if (find_theirs(v, t->entity->table, &theirs) && json_get(theirs, "columns", &names) &&
	    json_equal(names, buf_span(&columns)) && !columns.failed) {
		if ((rc = sums_scan(&v->state, t, &sum, err)) == RC_OK) {
			buf_add_hex(&hex, sum.sum, HASH_LEN);
			*how = json_get(theirs, "rows", &rows) && json_int64(rows, &n) &&
			    n == sum.rows && json_get(theirs, "digest", &digest) &&
			    buf_cstr(&hex) != NULL && json_string_is(digest, hex.p)
			    ? AGREES : DIFFERS;
			v->out->tables++;
			v->out->rows += sum.rows;
		}
	}
	if (columns.failed || hex.failed)
		rc = no_memory(err);
	buf_free(&columns);
	buf_free(&hex);
	return local_failed(v->w->l, rc, err);
}

/* Judge all tables; *differ: there is one to look into. */
static enum rc
judge_state(struct verify *v, bool *differ, struct err *err)
{
	enum rc rc;

	*differ = false;
	v->out->tables = v->out->rows = 0;
	tables_free(&v->state);
	free(v->judged);
	v->state = (struct tables){ 0 };
	v->judged = NULL;
	if ((rc = tables_read(&v->state, v->w->l->db, TDSYNC, &profile_td, err)) != RC_OK)
		return local_failed(v->w->l, rc, err);
	if ((v->judged = calloc(v->state.n, sizeof(*v->judged))) == NULL)
		return no_memory(err);
	for (size_t i = 0; i < v->state.n && rc == RC_OK; i++)
		if (!v->state.list[i].entity->held_back) {
			rc = judge_table(v, &v->state.list[i], &v->judged[i], err);
			*differ = *differ || v->judged[i] == DIFFERS;
		}
	return rc;
}

/* Tell what is otherwise in a table of the state. */
static enum rc
tell_table(struct verify *v, const struct table *t, enum judgement how, struct err *err)
{
	struct pair p = { .v = v, .finding = TDSYNC_STATE_DIFFERS, .table = t->entity->table };
	struct buf columns = { 0 }, ours = { 0 };
	struct span theirs = { 0 }, names = { 0 };
	int64_t before = v->out->differences;
	enum rc rc = RC_OK;

	if (how == OTHER_COLUMNS) {
		sums_columns(t, &ours);
		if (find_theirs(v, t->entity->table, &theirs))
			json_get(theirs, "columns", &names);
		add_missing(buf_span(&ours), names, &columns);
		add_missing(names, buf_span(&ours), &columns);
		rc = ours.failed || buf_cstr(&columns) == NULL ? no_memory(err)
		    : report(v, (struct tdsync_difference){ TDSYNC_NOT_COMPARABLE, p.table, "",
		                                            columns.p, NULL, NULL }, err);
	} else if (how == DIFFERS) {
		for (int i = 0; v->snapshot.path != NULL && i < t->n_columns; i++)
			if (!t->columns[i].is_key && !t->columns[i].local)
				buf_addf(&columns, ", \"%s\"", t->columns[i].name);
		if (columns.failed)
			rc = no_memory(err);
		else if (v->snapshot.path != NULL)
			rc = compare_tables(&p, TDSYNC, SNAPSHOT, &columns, err);
		/* Without a snapshot, or where the difference is none to us. */
		if (rc == RC_OK && v->out->differences == before)
			rc = report(v, (struct tdsync_difference){ TDSYNC_STATE_DIFFERS, p.table, "",
			                                           "", NULL, NULL }, err);
	}
	buf_free(&columns);
	buf_free(&ours);
	return rc;
}

/* --- td's rows against the state --- */

static enum rc
compare_kind(struct verify *v, const struct kind *k, struct err *err)
{
	struct pair p = { .v = v, .finding = TDSYNC_ROWS_DIFFER, .table = k->entity->table };
	struct buf columns = { 0 }, lacks = { 0 };
	enum rc rc = RC_OK;

	for (size_t i = 0; i < k->n; i++)
		if (i != k->id)
			buf_addf(&columns, ", \"%s\"", k->columns[i].name);
	for (const struct profile_column *c = k->entity->columns; c->name != NULL; c++) {
		bool found = (c->flags & PROFILE_LOCAL) != 0;

		for (size_t i = 0; i < k->n && !found; i++)
			found = strcmp(k->columns[i].name, c->name) == 0;
		if (!found)
			buf_addf(&lacks, "%s%s", lacks.len == 0 ? "" : ", ", c->name);
	}
	if (columns.failed || lacks.failed)
		rc = no_memory(err);
	if (rc == RC_OK && lacks.len > 0)
		rc = report(v, (struct tdsync_difference){ TDSYNC_NOT_COMPARABLE, p.table, "",
		                                           buf_cstr(&lacks), NULL, NULL }, err);
	if (rc == RC_OK)
		rc = compare_tables(&p, "main", TDSYNC, &columns, err);
	buf_free(&columns);
	buf_free(&lacks);
	return rc;
}

static enum rc
compare_td(void *ctx, struct err *err)
{
	struct verify *v = ctx;
	struct kinds *kinds;
	enum rc rc = kinds_new(v->w->l, &kinds, err);

	for (size_t i = 0; rc == RC_OK && i < kinds->n; i++)
		rc = compare_kind(v, &kinds->list[i], err);
	kinds_free(kinds);
	return rc;
}

/* --- the whole --- */

/* Pull, and ask for the digest of where that ended, until the log stands still. */
static enum tdsync_rc
get_digest(struct verify *v)
{
	struct work *w = v->w;
	struct buf path = { 0 };
	char route[48];
	enum tdsync_rc rc = TDSYNC_NOT_FOUND;

	for (int i = 0; i < TRIES && rc == TDSYNC_NOT_FOUND; i++) {
		remote_answer_free(&v->digest);
		if ((rc = pull_run(w)) != TDSYNC_OK)
			break;
		snprintf(route, sizeof(route), "digest?seq=%" PRId64, w->books.cursor);
		if ((rc = work_path(w, route, &path)) == TDSYNC_OK &&
		    (rc = work_step(w, "verify.pulled")) == TDSYNC_OK)
			rc = remote_call(&w->remote, path.p, (struct span){ 0 }, true, &v->digest,
			                 &w->t->err);
	}
	buf_free(&path);
	if (rc == TDSYNC_NOT_FOUND) {
		err_set(&w->t->err, RC_BUSY, "%s: the log moves on faster than it can be compared: "
		        "try again", w->remote.url);
		rc = TDSYNC_BUSY;
	} else if (rc != TDSYNC_OK &&
	    (v->digest.reply.status == 404 || v->digest.reply.status == 405)) {
		err_set(&w->t->err, RC_NOT_FOUND, "%s: this server has no digests to compare with",
		        w->remote.url);
		rc = TDSYNC_REFUSED;
	}
	return rc;
}

static enum tdsync_rc
read_digest(struct verify *v)
{
	struct work *w = v->w;
	struct json_iter it;
	struct span k, table, x;
	int64_t seq;
	bool ok;

	v->theirs = (struct span){ 0 };
	ok = json_get(v->digest.json, "server_seq", &x) && json_int64(x, &seq) &&
	    seq == w->books.cursor && json_get(v->digest.json, "tables", &v->theirs) &&
	    json_type(v->theirs) == JSON_ARRAY;
	json_iter_init(&it, v->theirs);
	while (ok && json_next(&it, &k, &table))
		ok = json_get(table, "table", &x) && json_type(x) == JSON_STRING &&
		    json_get(table, "rows", &x) && json_type(x) == JSON_NUMBER &&
		    json_get(table, "digest", &x) && json_type(x) == JSON_STRING &&
		    json_get(table, "columns", &x) && json_type(x) == JSON_ARRAY;
	v->out->server_seq = w->books.cursor;
	return ok ? TDSYNC_OK
	    : remote_nonsense(&w->remote, "its digest makes no sense", &w->t->err);
}

/* Where tables differ, the server's rows at the same seq. Without them it can
 * still be told which tables. */
static enum tdsync_rc
get_rows(struct verify *v)
{
	struct work *w = v->w;
	enum tdsync_rc rc = snapshot_fetch(w, w->books.cursor, &v->snapshot);

	if (rc == TDSYNC_OK && v->snapshot.path != NULL && v->snapshot.seq != w->books.cursor)
		snapshot_drop(&v->snapshot, NULL);
	if (rc == TDSYNC_OK && v->snapshot.path != NULL)
		rc = work_local(w, snapshot_attach(&v->snapshot, w->l, &w->t->err));
	return rc;
}

static enum rc
tell_all(struct verify *v, struct err *err)
{
	bool differ;
	enum rc rc = judge_state(v, &differ, err);

	for (size_t i = 0; i < v->state.n && rc == RC_OK; i++)
		if (!v->state.list[i].entity->held_back)
			rc = tell_table(v, &v->state.list[i], v->judged[i], err);
	return rc == RC_OK ? fetch_with_own(v->w, compare_td, v, err) : rc;
}

static enum tdsync_rc
verify_run(struct work *w)
{
	struct verify *v = w->arg;
	struct err *err = &w->t->err;
	bool differ = false;
	enum tdsync_rc rc;

	v->w = w;
	v->out->differences = 0;
	if ((rc = get_digest(v)) != TDSYNC_OK || (rc = read_digest(v)) != TDSYNC_OK ||
	    (rc = work_begin(w)) != TDSYNC_OK)
		return rc;
	rc = work_local(w, judge_state(v, &differ, err));
	local_rollback(w->l);
	if (rc == TDSYNC_OK && differ)
		rc = get_rows(v);
	if (rc == TDSYNC_OK && (rc = work_begin(w)) == TDSYNC_OK) {
		rc = work_local(w, tell_all(v, err));
		local_rollback(w->l);
	}
	tables_free(&v->state);
	v->state = (struct tables){ 0 };
	snapshot_drop(&v->snapshot, w->l);
	return rc;
}

enum tdsync_rc
tdsync_verify(struct tdsync *t,
              void (*visit)(void *ctx, const struct tdsync_difference *d), void *ctx,
              struct tdsync_verification *out)
{
	struct tdsync_verification unused;
	struct verify v = { .visit = visit, .ctx = ctx, .out = out == NULL ? &unused : out,
		.snapshot = { .fd = -1 } };
	enum tdsync_rc rc;

	*v.out = (struct tdsync_verification){ 0 };
	rc = work_run(t, verify_run, &v, NULL);
	remote_answer_free(&v.digest);
	free(v.judged);
	words_free(&v.words);
	return rc;
}
