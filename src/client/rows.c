/* The rows of a replica, see rows.h. */
#include "client/rows.h"

#include "client/books.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A row that something happened to. */
struct key {
	struct key *chain;      /* with the same hash */
	struct kind *table;
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

struct rows {
	struct local *l;
	struct kinds *kinds;
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
free_values(const struct kind *t, sqlite3_value **v)
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
hash(const struct kind *t, struct span id)
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
note(struct rows *r, struct kind *t, struct span id)
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

/* Copy the row as it was before the change. */
static bool
copy_old(sqlite3 *db, const struct kind *t, struct key *k)
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
	struct kind *t;
	sqlite3_value *v = NULL;
	struct key *k;
	int code;

	(void)before;
	(void)after;
	if (r->watch == WATCH_OFF || strcmp(schema, TDSYNC) != 0 ||
	    (t = kinds_find(r->kinds, table)) == NULL)
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
	for (size_t i = 0; i < r->kinds->n; i++)
		if (span_is(type, r->kinds->list[i].entity->table))
			return note(r, &r->kinds->list[i], id) != NULL ? RC_OK : no_memory(err);
	return RC_OK; /* td has no such table yet */
}

enum rc
rows_new(struct kinds *kinds, struct rows **out, struct err *err)
{
	struct rows *r = calloc(1, sizeof(*r));

	*out = NULL;
	if (r == NULL)
		return no_memory(err);
	r->l = kinds->l;
	r->kinds = kinds;
	sqlite3_preupdate_hook(r->l->db, on_change, r);
	*out = r;
	return RC_OK;
}

void
rows_free(struct rows *r)
{
	if (r == NULL)
		return;
	sqlite3_preupdate_hook(r->l->db, NULL, NULL);
	rows_clear(r, false);
	free(r->buckets);
	free(r->keys);
	free(r);
}

/* --- judging --- */

/* Compare the local row with what it should be, and copy it when a person
 * might miss it. False: no memory. */
static bool
judge_row(struct rows *r, struct key *k, struct row local, struct row other)
{
	k->judged = true;
	if (k->lost.len == 0 && kind_misses(k->table, local, other, r->migrated))
		kind_json(k->table, local, &k->lost);
	return !k->lost.failed;
}

static enum rc
judge_key(struct rows *r, struct key *k, struct err *err)
{
	struct kind *t = k->table;
	struct span id = { k->id, k->id_len };
	struct row local = { 0 }, other = { NULL, k->old };
	bool there = false, other_there = false, ok = true;
	enum rc rc = kind_get(r->kinds, t->get_local, id, &there, err);

	if (rc == RC_OK && !k->has_old &&
	    (rc = kind_get(r->kinds, t->get_state, id, &other_there, err)) == RC_OK && other_there)
		other.st = t->get_state;
	if (there)
		local.st = t->get_local;
	if (rc == RC_OK)
		ok = judge_row(r, k, local, other);
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

/* Both sides of a table, walked in the order of ids. */
struct walk {
	struct kind *t;
	sqlite3_stmt *local, *state;
	bool on_local, on_state; /* they stand on a row */
};

static enum rc
open_side(struct rows *r, const struct kind *t, const char *schema, sqlite3_stmt **out,
          struct err *err)
{
	struct buf sql = { 0 };
	enum rc rc;

	buf_add_str(&sql, "SELECT ");
	for (size_t i = 0; i < t->n; i++)
		buf_addf(&sql, "%s\"%s\"", i == 0 ? "" : ", ", t->columns[i].name);
	buf_addf(&sql, " FROM %s.\"%s\"%s ORDER BY CAST(id AS BLOB)", schema, t->entity->table,
	         /* a built-in board's times are its init's: nobody compares them */
	         strcmp(t->entity->table, "boards") == 0 ? " WHERE is_builtin = 0" : "");
	rc = buf_cstr(&sql) == NULL ? no_memory(err) : db_prepare(r->l->db, sql.p, out, err);
	buf_free(&sql);
	return rc;
}

/* Which side the walk stands on: <0 a local row alone, >0 one of the state
 * alone, 0 one that both have. */
static int
compare_ids(const struct walk *w)
{
	if (!w->on_local || !w->on_state)
		return w->on_local ? -1 : 1;
	return span_compare(db_span(w->local, (int)w->t->id), db_span(w->state, (int)w->t->id));
}

/* Note and judge the row that the walk stands on, if its sides differ. */
static enum rc
note_pair(struct rows *r, const struct walk *w, int cmp, struct err *err)
{
	struct row local = { w->local, NULL }, state = { w->state, NULL };
	struct span id = db_span(cmp > 0 ? w->state : w->local, (int)w->t->id);
	bool held = true;
	struct key *k;
	enum rc rc;

	if (cmp == 0 && !kind_differs(w->t, local, state))
		return RC_OK;
	if (cmp > 0)
		local.st = NULL;
	if (cmp < 0) {
		state.st = NULL;
		rc = books_is_held(r->l, w->t->entity->table, id, &held, err);
		if (rc != RC_OK || !held) /* one that the log never held is offered */
			return rc;
	}
	if ((k = note(r, w->t, id)) == NULL ||
	    (!k->judged && !judge_row(r, k, local, state)))
		return no_memory(err);
	return RC_OK;
}

static enum rc
note_table(struct rows *r, struct kind *t, struct err *err)
{
	struct walk w = { .t = t };
	enum rc rc;
	int cmp;

	if ((rc = open_side(r, t, "main", &w.local, err)) == RC_OK &&
	    (rc = open_side(r, t, TDSYNC, &w.state, err)) == RC_OK &&
	    (rc = db_step(w.local, &w.on_local, err)) == RC_OK)
		rc = db_step(w.state, &w.on_state, err);
	while (rc == RC_OK && (w.on_local || w.on_state)) {
		cmp = compare_ids(&w);
		rc = note_pair(r, &w, cmp, err);
		if (rc == RC_OK && cmp <= 0)
			rc = db_step(w.local, &w.on_local, err);
		if (rc == RC_OK && cmp >= 0)
			rc = db_step(w.state, &w.on_state, err);
	}
	rc = local_failed(r->l, rc, err);
	sqlite3_finalize(w.local);
	sqlite3_finalize(w.state);
	return rc;
}

enum rc
rows_note_all(struct rows *r, struct err *err)
{
	enum rc rc = RC_OK;

	for (size_t i = 0; i < r->kinds->n && rc == RC_OK; i++)
		rc = note_table(r, &r->kinds->list[i], err);
	return rc;
}

/* --- what is wanted, and writing it --- */

static sqlite3_value **
copy_row(const struct kind *t, sqlite3_stmt *st)
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
	struct kind *t = k->table;
	struct span id = { k->id, k->id_len };
	struct row local = { t->get_local, NULL }, state = { t->get_state, NULL };
	bool there = false, held = true;
	enum rc rc;

	if ((rc = kind_get(r->kinds, t->get_local, id, &k->local_there, err)) == RC_OK)
		rc = kind_get(r->kinds, t->get_state, id, &there, err);
	if (rc == RC_OK && k->local_there && !there)
		rc = books_is_held(r->l, t->entity->table, id, &held, err);
	if (rc == RC_OK && held) {
		k->differs = k->local_there != there || (there && kind_differs(t, local, state));
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
bind_row(const struct kind *t, sqlite3_stmt *st, sqlite3_value *const *v)
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
remove_row(struct rows *r, const struct kind *t, struct span id, struct err *err)
{
	enum rc rc;

	db_bind_text(t->del, ":id", id);
	rc = local_failed(r->l, db_run(t->del, err), err);
	db_reset(t->del);
	return rc;
}

/* Remove a local row that nobody spoke of, with a copy of it kept. */
static enum rc
push_aside(struct rows *r, const struct kind *t, struct span id, int64_t seq,
           int64_t now_us, struct err *err)
{
	struct buf json = { 0 };
	enum rc rc = kind_local_json(r->kinds, t, id, &json, err);

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
	const struct kind *t = k == NULL ? NULL : k->table;
	sqlite3_stmt *st = NULL;
	bool row = false;
	enum rc rc = db_prepare(r->l->db, sql, &st, err);
	struct buf name = { 0 };
	int p;

	*n = 0;
	if (rc == RC_OK)
		db_bind_text(st, ":id", id);
	for (size_t i = 0; rc == RC_OK && t != NULL && i < t->n; i++) {
		buf_reset(&name);
		buf_addf(&name, ":%s", t->columns[i].name);
		if (buf_cstr(&name) == NULL)
			rc = no_memory(err);
		else if (i != t->id && (p = sqlite3_bind_parameter_index(st, name.p)) > 0)
			sqlite3_bind_value(st, p, k->want[i]);
	}
	while (rc == RC_OK && (rc = db_step(st, &row, err)) == RC_OK && row) {
		struct span s = db_span(st, 0);

		buf_add(out, s.p, s.len);
		buf_add_byte(out, '\0');
		++*n;
	}
	sqlite3_finalize(st);
	buf_free(&name);
	return rc == RC_OK && out->failed ? no_memory(err) : local_failed(r->l, rc, err);
}

/* Push aside whatever local row holds a UNIQUE place that a wanted row needs. */
static enum rc
clear_way(struct rows *r, const struct key *k, int64_t seq, int64_t now_us, struct err *err)
{
	const struct kind *t = k->table;
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
cascade(struct rows *r, const struct kind *parent, struct span id, int64_t seq,
        int64_t now_us, struct err *err)
{
	enum rc rc = RC_OK;

	for (size_t i = 0; i < r->kinds->n_cascades && rc == RC_OK; i++) {
		const struct cascade *c = &r->kinds->cascades[i];
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

/* Keep a copy of a row that a person might miss, with what wins over it. */
static enum rc
keep(struct rows *r, const struct key *k, int64_t seq, int64_t now_us, struct err *err)
{
	struct buf won = { 0 };
	enum rc rc;

	if (k->lost.len == 0)
		return RC_OK;
	if (k->want != NULL)
		kind_json(k->table, (struct row){ NULL, k->want }, &won);
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
