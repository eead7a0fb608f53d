/*
 * Pull: pages are fetched, then applied in one local transaction: the state
 * follows the log, and td's rows become what the state says with what is not
 * in it yet on top (design.md, "The replica").
 *
 * A local row is looked at twice. Before: is it what state and own entries
 * make of it? If not, somebody changed it without an entry, and it is kept in
 * sync_conflicts when the log writes over it. After: is it what they make of
 * it now? If not, it is written.
 */
#include "client/snapshot.h"

#include "base/clock.h"
#include "base/json.h"
#include "client/entries.h"
#include "client/offer.h"
#include "client/rows.h"
#include "engine/apply.h"
#include "engine/digest.h"
#include "engine/page.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Pages for one transaction: fewer syncs and fewer looks at own entries, but
 * td waits 5 s for its lock. */
#define BATCH_PAGES 8
#define BATCH_BYTES ((size_t)16 << 20)

struct fetch {
	struct work *w;
	struct kinds *kinds;
	struct rows *rows;
	struct applier *applier;
	struct remote_answer pages[BATCH_PAGES];
	struct span events[BATCH_PAGES]; /* their "events" */
	size_t n;
	size_t bytes;
	int64_t cursor;       /* after the pages */
	bool cut;             /* no more pages into this batch */
	bool more;            /* the log goes on after them */
	bool follows;         /* td's rows follow the state, in this transaction */
	const struct event *event; /* the one that is looked for among entries */
	struct buf scratch, payload;
	struct buf resend;    /* ids of entries, each ended by a NUL */
};

/* --- pages --- */

static void
clear(struct fetch *f)
{
	for (size_t i = 0; i < f->n; i++)
		remote_answer_free(&f->pages[i]);
	f->n = f->bytes = 0;
}

/* Find a page's events and where it ends; false when it makes no sense. */
static bool
look_at_page(struct fetch *f, struct span json, struct span *events)
{
	struct json_iter it;
	struct span v, k, ev, last = { 0 };
	int64_t end;
	struct event e;

	if (!json_get(json, "events", events) || json_type(*events) != JSON_ARRAY ||
	    !json_get(json, "last_server_seq", &v) || !json_int64(v, &end) ||
	    !json_get(json, "has_more", &v) ||
	    (json_type(v) != JSON_TRUE && json_type(v) != JSON_FALSE))
		return false;
	f->more = json_type(v) == JSON_TRUE;
	json_iter_init(&it, *events);
	while (json_next(&it, &k, &ev))
		last = ev;
	if (last.len == 0) {
		f->more = false; /* an empty page is the end */
		return true;
	}
	if (page_event(last, &e, &f->scratch, NULL) != RC_OK || e.seq <= f->cursor)
		return false;
	f->cursor = e.seq;
	return true;
}

static enum tdsync_rc
fetch_page(struct fetch *f)
{
	struct work *w = f->w;
	struct buf path = { 0 };
	char route[80];
	enum tdsync_rc rc;

	snprintf(route, sizeof(route), "pull?after_server_seq=%lld&limit=%d",
	         (long long)f->cursor, PAGE_LIMIT);
	if ((rc = work_path(w, route, &path)) == TDSYNC_OK)
		rc = remote_call(&w->remote, path.p, (struct span){ 0 }, true, &f->pages[f->n],
		                 &w->t->err);
	buf_free(&path);
	if (rc == TDSYNC_OK && !look_at_page(f, f->pages[f->n].json, &f->events[f->n]))
		rc = remote_nonsense(&w->remote, "a page of events makes no sense", &w->t->err);
	if (rc != TDSYNC_OK) {
		remote_answer_free(&f->pages[f->n]);
		return rc;
	}
	if (strcmp(f->pages[f->n].reply.log_id, f->pages[0].reply.log_id) != 0) {
		/* The log was replaced between two pages: the next batch asks, by the
		 * last event of this one, whether it is still the same. */
		remote_answer_free(&f->pages[f->n]);
		f->more = f->cut = true;
		return TDSYNC_OK;
	}
	w->remote.log_last[0] = '\0'; /* the state is not there yet */
	f->bytes += f->pages[f->n].reply.body.len;
	f->n++;
	return work_step(w, "pull.fetched");
}

/* Pages for one transaction. After a failure those that came are still good. */
static enum tdsync_rc
fetch_batch(struct fetch *f)
{
	enum tdsync_rc rc;

	clear(f);
	f->cut = false;
	f->cursor = f->w->books.cursor;
	work_tell_log(f->w);
	do {
		if ((rc = fetch_page(f)) != TDSYNC_OK) {
			f->more = true;
			return rc;
		}
	} while (f->more && !f->cut && f->n < BATCH_PAGES && f->bytes < BATCH_BYTES);
	return TDSYNC_OK;
}

/* --- own entries on top of the state --- */

static enum rc
overlay_entry(void *ctx, const struct entry *e, bool *stop, struct err *err)
{
	struct fetch *f = ctx;
	enum applied what;
	struct err why = { "" };
	struct event ev;
	enum rc rc = entry_event(e, &ev, &f->payload, err);

	(void)stop;
	if (rc == RC_NOT_FOUND || rc == RC_INVALID)
		return RC_OK; /* never an event, nothing to show */
	if (rc == RC_OK &&
	    (rc = applier_apply(f->applier, &ev, &what, &why)) != RC_OK) {
		err_set(err, rc, "%s", why.text);
		rc = local_failed(f->w->l, rc, err);
	}
	/* One that no replica takes changes nothing that the hook would see, but
	 * td shows it. (A child whose parent the log lacks is let be.) */
	if (rc == RC_OK && (what == APPLIED_EDGE || what == APPLIED_BAD))
		rc = rows_note(f->rows, ev.type, ev.id, err);
	return rc;
}

/* Show the state with own entries; overlay_end() takes them back. */
static enum rc
overlay_begin(struct fetch *f, struct err *err)
{
	struct local *l = f->w->l;
	enum rc rc = local_failed(l, db_exec(l->db, "SAVEPOINT overlay", err), err);

	if (rc != RC_OK)
		return rc;
	rows_watch(f->rows, WATCH_KEYS);
	rc = entries_walk(l, &f->w->books, ENTRIES_OVERLAY, overlay_entry, f, err);
	rows_watch(f->rows, WATCH_OFF);
	return rc;
}

static enum rc
overlay_end(struct fetch *f, enum rc rc, struct err *err)
{
	struct local *l = f->w->l;

	if (rc != RC_OK)
		return rc; /* the whole transaction is rolled back */
	return local_failed(l, db_exec(l->db, "ROLLBACK TO overlay; RELEASE overlay", err), err);
}

/* td's rows stand where the state stands now: compare every one. */
static enum rc
compare_all(struct fetch *f, struct err *err)
{
	enum rc rc = overlay_begin(f, err);

	if (rc == RC_OK && (rc = rows_judge(f->rows, err)) == RC_OK)
		rc = rows_note_all(f->rows, err);
	rc = overlay_end(f, rc, err);
	f->follows = true;
	return rc;
}

/* td's rows stand where we left them: only own entries need a look before. */
static enum rc
compare_own(struct fetch *f, struct err *err)
{
	enum rc rc = overlay_begin(f, err);

	if (rc == RC_OK)
		rc = rows_judge(f->rows, err);
	rc = overlay_end(f, rc, err);
	f->follows = true;
	return rc;
}

/* --- events --- */

static void
remember_last(struct books *b, const struct event *ev)
{
	struct buf hex = { 0 };

	b->cursor = b->last_seq = ev->seq;
	buf_add_hex(&hex, ev->digest, EVENT_DIGEST_LEN);
	snprintf(b->last_digest, sizeof(b->last_digest), "%s",
	         buf_cstr(&hex) == NULL ? "" : hex.p);
	buf_free(&hex);
}

/* Whether an entry is the event; *stop says so. */
static enum rc
is_event(void *ctx, const struct entry *e, bool *stop, struct err *err)
{
	struct fetch *f = ctx;
	struct buf canonical = { 0 };
	struct instant at;
	struct event ev;
	bool marked;
	enum rc rc = entry_event(e, &ev, &f->payload, err);

	*stop = false;
	if (rc == RC_NOT_FOUND || rc == RC_INVALID || !time_parse_rfc3339(ev.time, &at))
		return RC_OK;
	if (rc == RC_OK && (rc = event_digest(&ev, at, &canonical)) != RC_OK)
		err_set(err, rc, "out of memory");
	if (rc == RC_OK && memcmp(ev.digest, f->event->digest, EVENT_DIGEST_LEN) == 0)
		rc = books_acked(f->w->l, e, f->event->seq, f->w->books.log_id,
		                 work_now_us(f->w), &marked, err);
	buf_free(&canonical);
	return rc;
}

/*
 * An event may be an entry of ours that nobody acked: the answer was lost, or
 * the log is another one than that which did. It need not be sent then.
 */
static enum rc
recognise(struct fetch *f, const struct event *ev, struct err *err)
{
	if (ev->action_id == 0)
		return RC_OK;
	f->event = ev;
	return entry_find(f->w->l, ev->action_id, ev->id, is_event, f, err);
}

/* One event of the log: into the state, and into td's books where td's rows
 * follow it. */
static enum rc
apply_event(struct fetch *f, const struct event *ev, struct err *err)
{
	struct work *w = f->w;
	const struct profile_entity *e = profile_entity(&profile_td, ev->type);
	int64_t now = work_now_us(w);
	enum applied what;
	struct err why = { "" };
	enum rc rc;

	rows_watch(f->rows, f->follows ? WATCH_OLD : WATCH_OFF);
	rc = applier_apply(f->applier, ev, &what, &why);
	rows_watch(f->rows, WATCH_OFF);
	if (rc != RC_OK) {
		err_set(err, rc, "event %lld: %s", (long long)ev->seq, why.text);
		return local_failed(w->l, rc, err);
	}
	remember_last(&w->books, ev);
	if ((rc = recognise(f, ev, err)) != RC_OK)
		return rc;
	if (what == APPLIED)
		w->result->applied++;
	else
		w->result->skipped++;
	/* Only a create makes a row; what became of it, the log decides. */
	if (ev->action == ACTION_CREATE && e != NULL &&
	    (rc = books_held(w->l, e->table, ev->id, err)) != RC_OK)
		return rc;
	if (applied_reason(what) != NULL &&
	    (rc = td_skipped(w->l, ev, applied_reason(what), why.text, now, err)) != RC_OK)
		return rc;
	return f->follows ? td_history(w->l, "pull", ev, ev->seq, now, err) : RC_OK;
}

static enum rc
apply_page(struct fetch *f, struct span events, struct err *err)
{
	struct work *w = f->w;
	struct json_iter it;
	struct span k, text;
	struct event ev;
	enum rc rc = RC_OK;

	json_iter_init(&it, events);
	while (rc == RC_OK && json_next(&it, &k, &text)) {
		if ((rc = page_event(text, &ev, &f->scratch, err)) != RC_OK)
			return rc;
		if (ev.seq <= w->books.cursor)
			return err_set(err, RC_INVALID, "event %lld comes after event %lld",
			               (long long)ev.seq, (long long)w->books.cursor);
		w->result->pulled++;
		if (!f->follows && w->books.target == TARGET_CURSOR &&
		    ev.seq > w->td.cursor && (rc = compare_all(f, err)) != RC_OK)
			return rc;
		rc = apply_event(f, &ev, err);
	}
	return rc;
}

/* --- the transaction --- */

/*
 * Offer what the log lacks; the state is at its end. Not only after a full
 * comparison: an undone `create` leaves a row that no entry will ever make.
 */
static enum rc
offer(struct fetch *f, struct err *err)
{
	struct work *w = f->w;
	enum offer_what what = w->books.rehome ? OFFER_NEWER
	    : w->books.target == TARGET_HEAD ? OFFER_BACKFILL : OFFER_ROWS;
	int64_t made;
	enum rc rc = offer_rows(f->kinds, &w->books, what, work_now_us(w), &made, err);

	w->send_again = w->send_again || made > 0;
	return rc;
}

/* --- entries that the log of before had and this one lacks --- */

/* What of an edit is still to be done. */
struct edit {
	bool is_one;     /* an update that says what it found, of a row that is there */
	size_t remains;  /* fields that are in the state as it found them */
};

/* Apply an entry to the state, `back`: what it takes back. Not an event: OK. */
static enum rc
apply_entry(struct fetch *f, const struct entry *e, bool back, struct err *err)
{
	struct entry turned = *e;
	enum applied what;
	struct event ev;
	enum rc rc;

	if (back) {
		turned.previous_data = e->new_data;
		turned.new_data = e->previous_data;
	}
	rc = entry_event(&turned, &ev, &f->payload, err);
	if (rc == RC_NOT_FOUND || rc == RC_INVALID)
		return RC_OK;
	if (rc == RC_OK)
		rc = local_failed(f->w->l, applier_apply(f->applier, &ev, &what, err), err);
	return rc;
}

/* Fields that differ between the first two, and not between the second and the
 * third. A row's own time is no field: any edit moves it. */
static size_t
count_fields(struct span edited, struct span found, struct span now)
{
	struct json_iter it;
	struct span key, v, was, is;
	size_t n = 0;

	json_iter_init(&it, edited);
	while (json_next(&it, &key, &v)) {
		struct buf name = { 0 };

		if (json_string(key, &name) && buf_cstr(&name) != NULL &&
		    strcmp(name.p, "updated_at") != 0 && json_get(found, name.p, &was) &&
		    json_get(now, name.p, &is))
			n += !json_equal(v, was) && json_equal(was, is);
		buf_free(&name);
	}
	return n;
}

static const struct kind *
kind_of(const struct fetch *f, const struct profile_entity *p)
{
	for (size_t i = 0; i < f->kinds->n; i++)
		if (f->kinds->list[i].entity == p)
			return &f->kinds->list[i];
	return NULL;
}

/* The state says it itself, as it would hold the values: take the edit back,
 * and see what that leaves as it is; do it again, and see what it does. */
static enum rc
look_at_edit(struct fetch *f, const struct entry *e, const struct kind *k,
             struct edit *out, struct err *err)
{
	struct buf now = { 0 }, found = { 0 }, edited = { 0 };
	enum rc rc = kind_state_json(f->kinds, k, e->entity_id, &now, err);

	if (rc == RC_OK && (rc = apply_entry(f, e, true, err)) == RC_OK &&
	    (rc = kind_state_json(f->kinds, k, e->entity_id, &found, err)) == RC_OK &&
	    (rc = apply_entry(f, e, false, err)) == RC_OK &&
	    (rc = kind_state_json(f->kinds, k, e->entity_id, &edited, err)) == RC_OK) {
		out->is_one = true;
		out->remains = count_fields(buf_span(&edited), buf_span(&found),
		                            buf_span(&now));
		if (now.failed || found.failed || edited.failed)
			rc = err_set(err, RC_FAULT, "out of memory");
	}
	buf_free(&now);
	buf_free(&found);
	buf_free(&edited);
	return rc == RC_NOT_FOUND ? RC_OK : rc; /* the row is not there */
}

static enum rc
judge_edit(struct fetch *f, const struct entry *e, const struct profile_entity *p,
           struct edit *out, struct err *err)
{
	struct local *l = f->w->l;
	const struct kind *k = kind_of(f, p);
	enum rc rc;

	*out = (struct edit){ 0 };
	if (k == NULL || e->previous_data.len <= 2 ||
	    profile_local_action(&profile_td, e->action_type) != ACTION_UPDATE)
		return RC_OK;
	rc = local_failed(l, db_exec(l->db, "SAVEPOINT edit", err), err);
	if (rc == RC_OK && (rc = look_at_edit(f, e, k, out, err)) == RC_OK)
		rc = local_failed(l, db_exec(l->db, "ROLLBACK TO edit; RELEASE edit", err), err);
	return rc;
}

/*
 * Where the row is in this log, the edit is sent again; else the row is offered
 * as it is now, which has the edit in it. A row's own create is not: whoever
 * brought the row had it from there, and may have written on; it would replace
 * all that. Nor is an edit of which nothing remains to be done: each of its
 * fields is as the edit left it, or as somebody wrote it since.
 */
static enum rc
send_lost(void *ctx, const struct entry *e, bool *stop, struct err *err)
{
	struct fetch *f = ctx;
	const struct profile_entity *p = profile_entity(&profile_td, e->entity_type);
	bool held = false;
	struct edit edit;
	enum rc rc;

	*stop = false;
	if (p == NULL || p->held_back || span_is(e->action_type, "create") ||
	    span_is(e->action_type, "board_create"))
		return RC_OK;
	rc = books_is_held(f->w->l, p->table, e->entity_id, &held, err);
	if (rc != RC_OK || !held ||
	    (rc = judge_edit(f, e, p, &edit, err)) != RC_OK ||
	    (edit.is_one && edit.remains == 0))
		return rc;
	/* For the edits after it the state has it already. */
	if ((rc = apply_entry(f, e, false, err)) != RC_OK)
		return rc;
	buf_add_span(&f->resend, e->id);
	buf_add_byte(&f->resend, '\0');
	return RC_OK;
}

/* Send again what is lost and still to be done. */
static enum rc
resend_lost(struct fetch *f, struct err *err)
{
	struct local *l = f->w->l;
	const struct buf *ids = &f->resend;
	enum rc rc;

	buf_reset(&f->resend);
	if ((rc = local_failed(l, db_exec(l->db, "SAVEPOINT lost", err), err)) != RC_OK ||
	    (rc = entries_walk(l, &f->w->books, ENTRIES_LOST, send_lost, f, err)) != RC_OK)
		return rc;
	rc = local_failed(l, db_exec(l->db, "ROLLBACK TO lost; RELEASE lost", err), err);
	if (rc == RC_OK && f->resend.failed)
		rc = err_set(err, RC_FAULT, "out of memory");
	for (size_t at = 0; rc == RC_OK && at < ids->len; at += strlen(ids->p + at) + 1) {
		struct entry e = { .id = span_of(ids->p + at) };

		f->w->send_again = true;
		rc = books_resend(l, &e, err);
	}
	return rc;
}

/* td's rows become what the state and own entries say. */
static enum rc
write_rows(struct fetch *f, struct err *err)
{
	struct work *w = f->w;
	struct books *b = &w->books;
	int64_t written = 0;
	enum rc rc;

	if ((rc = rows_judge(f->rows, err)) != RC_OK)
		return rc;
	if ((rc = overlay_begin(f, err)) == RC_OK)
		rc = rows_want(f->rows, err);
	if ((rc = overlay_end(f, rc, err)) != RC_OK ||
	    (rc = rows_judge(f->rows, err)) != RC_OK ||
	    (rc = rows_write(f->rows, b->cursor, work_now_us(w), &written, err)) != RC_OK ||
	    (rc = td_state_pulled(w->l, b->cursor, work_now_us(w), err)) != RC_OK)
		return rc;
	w->result->rows += written;
	b->td_cursor = b->cursor;
	b->td_schema = w->l->schema;
	b->td_undone = w->undone;
	books_file_id(w->l, b->td_file);
	b->target = TARGET_NONE;
	b->rehome = false;
	return RC_OK;
}

/* What is done with the pages in hand; `end`: the log ends after them. */
static enum rc
apply_batch(struct fetch *f, bool end, struct err *err)
{
	struct books *b = &f->w->books;
	enum rc rc = RC_OK;

	if (f->n > 0)
		rc = work_log_id(f->w, f->pages[f->n - 1].reply.log_id);
	if (rc == RC_OK && b->target == TARGET_NONE)
		rc = compare_own(f, err);
	for (size_t i = 0; i < f->n && rc == RC_OK; i++)
		rc = apply_page(f, f->events[i], err);
	if (rc != RC_OK)
		return rc;
	if (end && b->rehome)
		rc = resend_lost(f, err);
	if (rc == RC_OK && end)
		rc = offer(f, err);
	if (rc == RC_OK && end && !f->follows)
		rc = compare_all(f, err);
	return rc;
}

static enum tdsync_rc
apply(struct fetch *f, bool end)
{
	struct work *w = f->w;
	struct tdsync_result before = *w->result;
	struct err *err = &w->t->err;
	struct td_state td;
	enum tdsync_rc rc;
	enum rc did;

	if ((rc = work_begin(w)) != TDSYNC_OK)
		return rc;
	rows_clear(f->rows, w->books.td_schema != w->l->schema);
	f->follows = false;
	td = w->td;
	if ((rc = work_step(w, "pull.begun")) != TDSYNC_OK)
		goto done;
	did = apply_batch(f, end, err);
	if (did == RC_INVALID) {
		char why[120];

		snprintf(why, sizeof(why), "%.119s", err->text);
		rc = remote_nonsense(&w->remote, why, err);
		goto done;
	}
	if ((rc = work_local(w, did)) != TDSYNC_OK ||
	    (rc = work_step(w, "pull.applied")) != TDSYNC_OK)
		goto done;
	if (f->follows) {
		if ((rc = work_local(w, write_rows(f, err))) != TDSYNC_OK)
			goto done;
		td.cursor = w->books.cursor;
	}
	if ((rc = work_step(w, "pull.written")) == TDSYNC_OK)
		rc = work_commit(w);
done:
	rows_clear(f->rows, false);
	if (rc != TDSYNC_OK) {
		local_rollback(w->l);
		*w->result = before;
		return rc;
	}
	w->td = td;
	w->result->server_seq = w->books.cursor;
	return work_step(w, "pull.committed");
}

/* What works on the open databases; close_tools() in any case. */
static enum rc
open_tools(struct fetch *f, struct err *err)
{
	struct local *l = f->w->l;
	enum rc rc;

	if ((rc = kinds_new(l, &f->kinds, err)) != RC_OK ||
	    (rc = rows_new(f->kinds, &f->rows, err)) != RC_OK)
		return rc;
	return local_failed(l, applier_new(l->db, TDSYNC, &profile_td, &f->applier, err), err);
}

static void
close_tools(struct fetch *f)
{
	clear(f);
	applier_free(f->applier);
	rows_free(f->rows);
	kinds_free(f->kinds);
	buf_free(&f->scratch);
	buf_free(&f->payload);
	buf_free(&f->resend);
}

enum rc
fetch_with_own(struct work *w, enum rc (*call)(void *ctx, struct err *err), void *ctx,
               struct err *err)
{
	struct fetch f = { .w = w };
	enum rc rc = open_tools(&f, err);

	if (rc == RC_OK && (rc = overlay_begin(&f, err)) == RC_OK)
		rc = overlay_end(&f, call(ctx, err), err);
	close_tools(&f);
	return rc;
}

/*
 * Fetch and apply until the log's end. After a failure on the way what came
 * before it is applied; the failure is the outcome.
 */
enum tdsync_rc
fetch_run(struct work *w)
{
	struct fetch f = { .w = w };
	struct err *err = &w->t->err, failure = { "" };
	enum tdsync_rc rc, got;

	if ((rc = bootstrap_run(w)) != TDSYNC_OK)
		return rc;
	w->result->server_seq = w->books.cursor;
	if ((rc = work_local(w, open_tools(&f, err))) != TDSYNC_OK)
		goto done;
	do {
		got = fetch_batch(&f);
		failure = *err;
		if (got != TDSYNC_OK && (f.n == 0 || got == TDSYNC_FAULT)) {
			rc = got;
			break;
		}
		if ((rc = apply(&f, !f.more)) == TDSYNC_OK && got != TDSYNC_OK) {
			*err = failure;
			rc = got;
		}
	} while (rc == TDSYNC_OK && f.more);
done:
	close_tools(&f);
	return rc;
}
