/* Conflicts, see conflicts.h. */
#include "client/conflicts.h"

#include "base/clock.h"
#include "base/hash.h"
#include "base/json.h"
#include "client/kinds.h"
#include "client/words.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGE 200 /* records asked for at a time */

#define MARK_LEN 16 /* bytes by which a conflict is known again */

static const char insert_conflict[] =
    "INSERT INTO " TDSYNC ".conflict (id, seq, kind, certain, type, entity, fields, kept,"
    " lost) VALUES (:id, :seq, :kind, :certain, :type, :entity, :fields, :kept, :lost)"
    " ON CONFLICT DO NOTHING";
static const char insert_told[] =
    "INSERT INTO " TDSYNC ".told (mark) VALUES (:mark) ON CONFLICT DO NOTHING";
/* Where td-sync.db was lost, td may still have it. */
static const char tell_td[] =
    "INSERT INTO main.sync_conflicts (entity_type, entity_id, server_seq, local_data,"
    " remote_data, overwritten_at) SELECT :type, :entity, :seq, :local, :remote, :at"
    " WHERE NOT EXISTS (SELECT 1 FROM main.sync_conflicts c WHERE c.entity_type = :type"
    "  AND c.entity_id = :entity AND c.server_seq = :seq AND c.local_data = :local"
    "  AND c.remote_data = :remote)";
static const char select_all[] =
    "SELECT id, seq, kind, certain, type, entity, fields, kept, lost FROM " TDSYNC ".conflict"
    " ORDER BY place";

/* A page at work. */
struct page {
	struct work *w;
	struct remote_answer answer;
	struct span list;        /* its "conflicts" */
	int64_t end;             /* the last seq in it */
	bool more;               /* it goes on after it */
	sqlite3_stmt *add, *told, *tell;
	struct buf texts[4];     /* decoded: id, kind, type, entity */
	struct buf local, remote, at, scratch;
};

static enum rc
no_memory(struct err *err)
{
	return err_set(err, RC_FAULT, "out of memory");
}

/* --- what the server says --- */

/* A string of a record that is not empty, decoded. */
static bool
take_text(struct span object, const char *name, struct buf *text, struct span *out)
{
	struct span v;

	buf_reset(text);
	if (!json_get(object, name, &v) || !json_string(v, text))
		return false;
	*out = buf_span(text);
	return text->len > 0 && memchr(text->p, '\0', text->len) == NULL;
}

static bool
is_author(struct span v)
{
	return json_type(v) == JSON_NULL || json_type(v) == JSON_OBJECT;
}

static bool
are_fields(struct span list)
{
	struct json_iter it;
	struct span k, field, v;

	if (json_type(list) != JSON_ARRAY)
		return false;
	json_iter_init(&it, list);
	while (json_next(&it, &k, &field))
		if (!json_get(field, "field", &v) || json_type(v) != JSON_STRING ||
		    !json_get(field, "kept", &v) || json_type(v) >= JSON_ARRAY ||
		    !json_get(field, "lost", &v) || json_type(v) >= JSON_ARRAY)
			return false;
	return true;
}

/* A record of the answer; false where it makes no sense. */
static bool
read_conflict(struct page *p, struct span json, struct conflict *c)
{
	struct span v;

	*c = (struct conflict){ 0 };
	if (!take_text(json, "id", &p->texts[0], &c->id) ||
	    !take_text(json, "kind", &p->texts[1], &c->kind) ||
	    !take_text(json, "entity_type", &p->texts[2], &c->type) ||
	    !take_text(json, "entity_id", &p->texts[3], &c->entity) ||
	    !json_get(json, "server_seq", &v) || !json_int64(v, &c->seq) ||
	    !json_get(json, "certain", &v) ||
	    (json_type(v) != JSON_TRUE && json_type(v) != JSON_FALSE))
		return false;
	c->certain = json_type(v) == JSON_TRUE;
	return json_get(json, "fields", &c->fields) && are_fields(c->fields) &&
	    json_get(json, "kept", &c->kept) && is_author(c->kept) &&
	    json_get(json, "lost", &c->lost) && is_author(c->lost);
}

/* Find the page's records, and judge them all before one is taken. */
static bool
look_at_page(struct page *p, int64_t after)
{
	struct json_iter it;
	struct span v, k, one;
	struct conflict c;

	p->end = after;
	if (!json_get(p->answer.json, "conflicts", &p->list) ||
	    json_type(p->list) != JSON_ARRAY || !json_get(p->answer.json, "has_more", &v) ||
	    (json_type(v) != JSON_TRUE && json_type(v) != JSON_FALSE))
		return false;
	p->more = json_type(v) == JSON_TRUE;
	json_iter_init(&it, p->list);
	while (json_next(&it, &k, &one)) {
		/* All of one event are in one page. */
		if (!read_conflict(p, one, &c) || c.seq <= after || c.seq < p->end)
			return false;
		p->end = c.seq;
	}
	return !p->more || p->end > after;
}

/* Fetch the page after the records that are known. *offered: the server has
 * such things. */
static enum tdsync_rc
fetch_page(struct page *p, bool *offered)
{
	struct work *w = p->w;
	struct buf path = { 0 };
	char route[80];
	enum tdsync_rc rc;

	*offered = true;
	remote_answer_free(&p->answer);
	snprintf(route, sizeof(route), "conflicts?after_server_seq=%lld&limit=%d",
	         (long long)w->books.conflict_seq, PAGE);
	if ((rc = work_path(w, route, &path)) == TDSYNC_OK)
		rc = remote_call(&w->remote, path.p, (struct span){ 0 }, true, &p->answer,
		                 &w->t->err);
	buf_free(&path);
	if (rc != TDSYNC_OK &&
	    (p->answer.reply.status == 404 || p->answer.reply.status == 405)) {
		*offered = false;
		return TDSYNC_OK;
	}
	if (rc == TDSYNC_OK && !look_at_page(p, w->books.conflict_seq))
		rc = remote_nonsense(&w->remote, "a page of conflicts makes no sense", &w->t->err);
	return rc == TDSYNC_OK ? work_step(w, "conflicts.fetched") : rc;
}

/* --- telling td --- */

/*
 * What happened, whatever its seq: a log that was restored or filled anew has
 * other numbers, and td may have settled it long since.
 */
static enum rc
mark_of(struct page *p, const struct conflict *c, unsigned char mark[HASH_LEN])
{
	static const char *const members[] = { "device_id", "client_timestamp" };
	const struct span authors[] = { c->kept, c->lost };
	struct buf *text = &p->scratch;
	struct json_iter it;
	struct span k, field, v;

	buf_reset(text);
	buf_add_json(text, c->kind);
	buf_add_json(text, c->type);
	buf_add_json(text, c->entity);
	for (size_t i = 0; i < 4; i++)
		if (json_get(authors[i / 2], members[i % 2], &v))
			json_canonical(v, text);
	json_iter_init(&it, c->fields);
	while (json_next(&it, &k, &field))
		for (size_t i = 0; i < 3; i++) {
			static const char *const parts[] = { "field", "kept", "lost" };

			json_get(field, parts[i], &v);
			json_canonical(v, text);
		}
	return text->failed ? RC_FAULT : hash_sha256(buf_span(text), mark);
}

/* Append one side's values as an object, as td has rows there. */
static void
add_side(const struct conflict *c, const char *side, struct buf *out)
{
	struct json_iter it;
	struct span k, field, v;

	buf_reset(out);
	buf_add_str(out, "{\"id\":");
	buf_add_json(out, c->entity);
	json_iter_init(&it, c->fields);
	while (json_next(&it, &k, &field)) {
		json_get(field, "field", &v);
		buf_add_byte(out, ',');
		buf_add_span(out, v);
		buf_add_byte(out, ':');
		json_get(field, side, &v);
		buf_add_span(out, v);
	}
	buf_add_byte(out, '}');
}

/* When the event that it came with was logged, as td writes times there. */
static void
add_time(struct page *p, const struct conflict *c)
{
	const struct span authors[] = { c->kept, c->lost };
	struct instant at = time_of_us(work_now_us(p->w));
	struct span v;
	int64_t seq;

	for (size_t i = 0; i < 2; i++) {
		buf_reset(&p->scratch);
		if (json_get(authors[i], "server_seq", &v) && json_int64(v, &seq) &&
		    seq == c->seq && json_get(authors[i], "server_timestamp", &v) &&
		    json_string(v, &p->scratch) && time_parse_any(buf_span(&p->scratch), &at))
			break;
	}
	buf_reset(&p->at);
	time_add_sqlite(&p->at, at);
}

static enum rc
tell(struct page *p, const struct conflict *c, struct err *err)
{
	struct local *l = p->w->l;
	unsigned char mark[HASH_LEN];
	enum rc rc;

	if (mark_of(p, c, mark) != RC_OK)
		return no_memory(err);
	db_bind_blob(p->told, ":mark", mark, MARK_LEN);
	rc = local_failed(l, db_run(p->told, err), err);
	if (rc != RC_OK || sqlite3_changes(l->db) == 0)
		return rc; /* told before */
	add_side(c, "lost", &p->local);
	add_side(c, "kept", &p->remote);
	add_time(p, c);
	if (p->local.failed || p->remote.failed || p->at.failed)
		return no_memory(err);
	db_bind_text(p->tell, ":type", c->type);
	db_bind_text(p->tell, ":entity", c->entity);
	db_bind_int(p->tell, ":seq", c->seq);
	db_bind_text(p->tell, ":local", buf_span(&p->local));
	db_bind_text(p->tell, ":remote", buf_span(&p->remote));
	db_bind_text(p->tell, ":at", buf_span(&p->at));
	if ((rc = local_failed(l, db_run(p->tell, err), err)) == RC_OK)
		p->w->result->conflicts += sqlite3_changes(l->db);
	return rc;
}

/* --- keeping them --- */

static enum rc
add_conflict(struct page *p, const struct conflict *c, struct err *err)
{
	db_bind_text(p->add, ":id", c->id);
	db_bind_int(p->add, ":seq", c->seq);
	db_bind_text(p->add, ":kind", c->kind);
	db_bind_int(p->add, ":certain", c->certain);
	db_bind_text(p->add, ":type", c->type);
	db_bind_text(p->add, ":entity", c->entity);
	db_bind_text(p->add, ":fields", c->fields);
	db_bind_text(p->add, ":kept", c->kept);
	db_bind_text(p->add, ":lost", c->lost);
	return local_failed(p->w->l, db_run(p->add, err), err);
}

/* Take the page's records; those of events that the state lacks are left for
 * the pull that brings it there. */
static enum rc
take(struct page *p, struct err *err)
{
	struct books *b = &p->w->books;
	struct json_iter it;
	struct span k, one;
	struct conflict c;
	enum rc rc = RC_OK;

	json_iter_init(&it, p->list);
	while (rc == RC_OK && json_next(&it, &k, &one)) {
		if (!read_conflict(p, one, &c))
			return no_memory(err); /* it was read once */
		if (c.seq > b->cursor) {
			p->more = false;
			break;
		}
		if ((rc = add_conflict(p, &c, err)) == RC_OK && c.certain)
			rc = tell(p, &c, err);
	}
	b->conflict_seq = p->more ? p->end : b->cursor;
	return rc;
}

static enum tdsync_rc
keep_page(struct page *p)
{
	struct work *w = p->w;
	struct tdsync_result before = *w->result;
	enum tdsync_rc rc;

	if ((rc = work_begin(w)) != TDSYNC_OK)
		return rc;
	if ((rc = work_local(w, take(p, &w->t->err))) == TDSYNC_OK &&
	    (rc = work_step(w, "conflicts.kept")) == TDSYNC_OK)
		rc = work_commit(w);
	if (rc != TDSYNC_OK) {
		local_rollback(w->l);
		*w->result = before;
		return rc;
	}
	return work_step(w, "conflicts.committed");
}

static enum rc
prepare(struct page *p, struct err *err)
{
	sqlite3 *db = p->w->l->db;
	enum rc rc;

	if ((rc = db_prepare(db, insert_conflict, &p->add, err)) == RC_OK &&
	    (rc = db_prepare(db, insert_told, &p->told, err)) == RC_OK)
		rc = db_prepare(db, tell_td, &p->tell, err);
	return local_failed(p->w->l, rc, err);
}

enum tdsync_rc
conflicts_run(struct work *w)
{
	struct page p = { .w = w, .more = true };
	bool offered = true;
	enum tdsync_rc rc;

	if (w->books.conflict_seq == w->books.cursor)
		return TDSYNC_OK;
	rc = work_local(w, prepare(&p, &w->t->err));
	while (rc == TDSYNC_OK && p.more && (rc = fetch_page(&p, &offered)) == TDSYNC_OK &&
	       offered)
		/* Of another log: the next pull asks what that one is to this copy. */
		if (strcmp(p.answer.reply.log_id, w->books.log_id) != 0)
			break;
		else
			rc = keep_page(&p);
	remote_answer_free(&p.answer);
	sqlite3_finalize(p.add);
	sqlite3_finalize(p.told);
	sqlite3_finalize(p.tell);
	for (size_t i = 0; i < sizeof(p.texts) / sizeof(p.texts[0]); i++)
		buf_free(&p.texts[i]);
	buf_free(&p.local);
	buf_free(&p.remote);
	buf_free(&p.at);
	buf_free(&p.scratch);
	return rc;
}

enum rc
conflicts_walk(struct local *l, conflicts_visit *visit, void *ctx, struct err *err)
{
	sqlite3_stmt *st = NULL;
	bool row = false;
	enum rc rc = local_failed(l, db_prepare(l->db, select_all, &st, err), err);

	while (rc == RC_OK && (rc = local_failed(l, db_step(st, &row, err), err)) == RC_OK &&
	       row) {
		struct conflict c = { .id = db_span(st, 0), .seq = sqlite3_column_int64(st, 1),
			.kind = db_span(st, 2), .certain = sqlite3_column_int(st, 3) != 0,
			.type = db_span(st, 4), .entity = db_span(st, 5), .fields = db_span(st, 6),
			.kept = db_span(st, 7), .lost = db_span(st, 8) };

		rc = visit(ctx, &c, err);
	}
	sqlite3_finalize(st);
	return rc;
}

/* --- showing them --- */

struct list {
	struct local *l;
	struct kinds *kinds;
	void (*visit)(void *ctx, const struct tdsync_conflict *c);
	void *ctx;
	struct words words;
	struct tdsync_field *fields;
	size_t cap;
	struct buf row;
};

/* A value and a row's value of the same meaning; times in any spelling. */
static bool
same_value(struct span a, struct span b)
{
	struct buf x = { 0 }, y = { 0 };
	struct instant s, t;
	bool same = json_equal(a, b);

	if (!same && json_string(a, &x) && json_string(b, &y))
		same = time_parse_any(buf_span(&x), &s) && time_parse_any(buf_span(&y), &t) &&
		    time_compare(s, t) == 0;
	buf_free(&x);
	buf_free(&y);
	return same;
}

/* Whether the state's row has all that was lost, and is not deleted. */
static enum rc
is_restored(struct list *v, const struct conflict *c, bool *out, struct err *err)
{
	struct kind *kind = NULL;
	struct json_iter it;
	struct span k, field, lost, value, row;
	enum rc rc;

	*out = false;
	for (size_t i = 0; i < v->kinds->n && kind == NULL; i++)
		if (span_is(c->type, v->kinds->list[i].entity->table))
			kind = &v->kinds->list[i];
	if (kind == NULL)
		return RC_OK;
	buf_reset(&v->row);
	if ((rc = kind_state_json(v->kinds, kind, c->entity, &v->row, err)) != RC_OK)
		return rc == RC_NOT_FOUND ? RC_OK : rc;
	row = buf_span(&v->row);
	*out = !json_get(row, "deleted_at", &value) || json_type(value) == JSON_NULL;
	json_iter_init(&it, c->fields);
	while (*out && json_next(&it, &k, &field)) {
		const char *column;

		json_get(field, "lost", &lost);
		column = words_string(&v->words, field, "field");
		*out = !json_get(row, column, &value) || same_value(lost, value);
	}
	return RC_OK;
}

static bool
list_fields(struct list *v, const struct conflict *c, size_t *n)
{
	struct json_iter it;
	struct span k, field, seq;

	*n = 0;
	json_iter_init(&it, c->fields);
	while (json_next(&it, &k, &field)) {
		struct tdsync_field *f;

		if (*n == v->cap) {
			size_t cap = v->cap == 0 ? 16 : 2 * v->cap;
			struct tdsync_field *grown = realloc(v->fields, cap * sizeof(*grown));

			if (grown == NULL)
				return false;
			v->fields = grown;
			v->cap = cap;
		}
		f = &v->fields[(*n)++];
		*f = (struct tdsync_field){
			.name = words_string(&v->words, field, "field"),
			.kept = words_json(&v->words, field, "kept", "null"),
			.lost = words_json(&v->words, field, "lost", "null"),
		};
		if (json_get(field, "lost_seq", &seq))
			json_int64(seq, &f->lost_seq);
	}
	return !v->words.failed;
}

static enum rc
list_one(void *ctx, const struct conflict *c, struct err *err)
{
	struct list *v = ctx;
	struct tdsync_author kept, lost;
	struct tdsync_conflict out = { .server_seq = c->seq, .certain = c->certain };
	enum rc rc;

	words_clear(&v->words);
	if ((rc = is_restored(v, c, &out.restored, err)) != RC_OK)
		return rc;
	out.id = words_add(&v->words, c->id);
	out.kind = words_add(&v->words, c->kind);
	out.entity_type = words_add(&v->words, c->type);
	out.entity_id = words_add(&v->words, c->entity);
	words_author(&v->words, c->kept, &kept);
	words_author(&v->words, c->lost, &lost);
	out.kept = json_type(c->kept) == JSON_NULL ? NULL : &kept;
	out.lost = json_type(c->lost) == JSON_NULL ? NULL : &lost;
	if (!list_fields(v, c, &out.n_fields) || v->words.failed)
		return no_memory(err);
	out.fields = v->fields;
	v->visit(v->ctx, &out);
	return RC_OK;
}

enum tdsync_rc
tdsync_each_conflict(struct tdsync *t,
                     void (*visit)(void *ctx, const struct tdsync_conflict *c), void *ctx)
{
	struct work w = { .t = t };
	struct list v = { .visit = visit, .ctx = ctx };
	struct err *err = &t->err;
	enum tdsync_rc rc;

	err->text[0] = '\0';
	if ((rc = work_local(&w, local_open(t->dir, false, &w.l, err))) == TDSYNC_OK &&
	    w.l->has_books && books_ready(w.l) &&
	    (rc = work_local(&w, kinds_new(w.l, &v.kinds, err))) == TDSYNC_OK)
		rc = work_local(&w, conflicts_walk(w.l, list_one, &v, err));
	kinds_free(v.kinds);
	words_free(&v.words);
	free(v.fields);
	buf_free(&v.row);
	work_close(&w);
	return rc;
}
