/*
 * Push: what is pending, as a stock client would send it, in requests of a
 * bounded size. An answer is written down under td's lock; a call that ends
 * before sends the same events again and learns their places then.
 */
#include "client/work.h"

#include "base/json.h"
#include "client/entries.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BATCH_EVENTS 500
#define BATCH_BYTES ((size_t)2 << 20)

/* The session of what we push; td's own are those of people and agents. */
#define SESSION "td-sync"

/* One entry of a request, copied. */
struct sent {
	struct entry entry;    /* its spans point into text */
	char *text;
	struct event ev;       /* type and action are static, the rest is in text */
	char why[128];         /* not sent, for this reason; "" when it is */
};

struct batch {
	struct work *w;
	struct sent *sent;
	size_t n, cap;
	size_t max_events, max_bytes;
	size_t events;         /* of the n, those that are sent */
	bool full;
	/* Where the last request ended, in the order of entries. */
	bool after_first;
	int64_t after_rowid;
	struct buf body, scratch;
};

static void
clear(struct batch *b)
{
	for (size_t i = 0; i < b->n; i++)
		free(b->sent[i].text);
	b->n = b->events = 0;
	b->full = false;
	buf_reset(&b->body);
}

static enum rc
no_memory(struct err *err)
{
	return err_set(err, RC_FAULT, "out of memory");
}

/* Copy what is needed to know the entry again. */
static bool
copy_entry(struct sent *s, const struct entry *e)
{
	const struct span *from[] = { &e->id, &e->action_type, &e->entity_type, &e->entity_id,
		&e->previous_data, &e->new_data, &e->timestamp };
	struct span *to[] = { &s->entry.id, &s->entry.action_type, &s->entry.entity_type,
		&s->entry.entity_id, &s->entry.previous_data, &s->entry.new_data,
		&s->entry.timestamp };
	size_t n = 1;
	char *p;

	s->entry = *e;
	for (size_t i = 0; i < sizeof(from) / sizeof(from[0]); i++)
		n += from[i]->len;
	if ((p = s->text = malloc(n)) == NULL)
		return false;
	for (size_t i = 0; i < sizeof(from) / sizeof(from[0]); i++) {
		if (from[i]->len > 0)
			memcpy(p, from[i]->p, from[i]->len);
		*to[i] = (struct span){ p, from[i]->len };
		p += from[i]->len;
	}
	return true;
}

static struct sent *
add_sent(struct batch *b, const struct entry *e)
{
	struct sent *s;

	if (b->n == b->cap) {
		size_t cap = b->cap == 0 ? 64 : 2 * b->cap;
		struct sent *grown = realloc(b->sent, cap * sizeof(*grown));

		if (grown == NULL)
			return NULL;
		b->sent = grown;
		b->cap = cap;
	}
	s = &b->sent[b->n];
	memset(s, 0, sizeof(*s));
	if (!copy_entry(s, e))
		return NULL;
	b->n++;
	return s;
}

/* Whether an entry comes after where the last request ended. */
static bool
comes_after(const struct batch *b, const struct entry *e)
{
	if (e->first != b->after_first)
		return b->after_first;
	return e->rowid > b->after_rowid;
}

/* An entry of the log: put it into the request while it fits. */
static enum rc
gather(void *ctx, const struct entry *e, bool *stop, struct err *err)
{
	struct batch *b = ctx;
	size_t before = b->body.len;
	struct sent *s;
	struct err why = { "" };
	struct event ev;
	enum rc rc;

	if (!comes_after(b, e))
		return RC_OK;
	rc = entry_event(e, &ev, &b->scratch, &why);
	if (rc == RC_NOT_FOUND)
		return RC_OK; /* not synced */
	if (rc == RC_FAULT)
		return err_set(err, rc, "%s", why.text);
	if (b->events == b->max_events) {
		b->full = *stop = true;
		return RC_OK;
	}
	if (rc == RC_OK) {
		if (b->events > 0)
			buf_add_byte(&b->body, ',');
		entry_add_wire(&ev, &b->body);
		if (b->events > 0 && b->body.len > b->max_bytes) {
			b->body.len = before; /* it begins the next one */
			b->full = *stop = true;
			return RC_OK;
		}
	}
	if (b->body.failed || (s = add_sent(b, e)) == NULL)
		return no_memory(err);
	if (rc == RC_OK) {
		s->ev = (struct event){ .action = ev.action, .type = ev.type,
			.id = s->entry.entity_id, .device = span_of(b->w->device) };
		b->events++;
	} else {
		snprintf(s->why, sizeof(s->why), "%.127s", why.text);
	}
	return RC_OK;
}

/* Fill the batch with what comes next. */
static enum tdsync_rc
fill(struct batch *b)
{
	struct work *w = b->w;
	enum rc rc;

	clear(b);
	buf_add_str(&b->body, "{\"device_id\":");
	buf_add_json(&b->body, span_of(w->device));
	buf_add_str(&b->body, ",\"session_id\":\"" SESSION "\",\"events\":[");
	rc = entries_walk(w->l, &w->books, ENTRIES_TO_SEND, gather, b, &w->t->err);
	buf_add_str(&b->body, "]}");
	if (rc == RC_OK && b->body.failed)
		rc = no_memory(&w->t->err);
	return work_local(w, rc);
}

/* --- the answer --- */

static int
by_rowid(const void *a, const void *b)
{
	int64_t x = ((const struct sent *)a)->entry.rowid;
	int64_t y = ((const struct sent *)b)->entry.rowid;

	return x < y ? -1 : x > y;
}

/* What the answer says of one event goes into td's log and the books. */
static enum rc
mark_taken(struct batch *b, const struct sent *s, int64_t seq, int64_t *greatest,
           struct err *err)
{
	struct work *w = b->w;
	int64_t now = work_now_us(w);
	bool marked;
	enum rc rc = books_acked(w->l, &s->entry, seq, w->books.log_id, now, &marked, err);

	if (rc == RC_OK && marked) {
		if (s->entry.rowid > *greatest)
			*greatest = s->entry.rowid;
		rc = td_history(w->l, "push", &s->ev, seq, now, err);
	}
	/* The state had it all along, and what came after it: the row, which showed
	 * it on top of that, has to be compared. */
	if (seq <= w->books.cursor && w->books.target == TARGET_NONE)
		w->books.target = TARGET_CURSOR;
	return rc;
}

/*
 * One member of "acks" or "rejected". RC_INVALID: it makes no sense; one for
 * an action that was not sent is passed over.
 */
static enum rc
mark_one(struct batch *b, struct span item, bool is_ack, int64_t *greatest, struct err *err)
{
	struct tdsync_result *res = b->w->result;
	struct sent key = { 0 }, *s;
	struct buf reason = { 0 };
	struct span v;
	int64_t seq = 0;
	enum rc rc;

	if (!json_get(item, "client_action_id", &v) || !json_int64(v, &key.entry.rowid))
		return RC_INVALID;
	if (json_get(item, "server_seq", &v) && (!json_int64(v, &seq) || seq <= 0))
		return RC_INVALID;
	s = bsearch(&key, b->sent, b->n, sizeof(*s), by_rowid);
	if (s == NULL || s->why[0] != '\0')
		return RC_OK;
	if (is_ack) {
		if (seq == 0)
			return RC_INVALID;
		res->pushed++;
		return mark_taken(b, s, seq, greatest, err);
	}
	if (!json_get(item, "reason", &v) || !json_string(v, &reason)) {
		buf_free(&reason);
		return RC_INVALID;
	}
	if (seq > 0 && span_is(buf_span(&reason), "duplicate")) {
		res->duplicates++;
		rc = mark_taken(b, s, seq, greatest, err);
	} else {
		res->rejected++;
		rc = books_rejected(b->w->l, &s->entry, buf_span(&reason), work_now_us(b->w), err);
	}
	buf_free(&reason);
	return rc;
}

static enum rc
mark_list(struct batch *b, struct span json, const char *name, bool is_ack,
          int64_t *greatest, struct err *err)
{
	struct json_iter it;
	struct span list, k, item;
	enum rc rc = RC_OK;

	if (!json_get(json, name, &list) || json_type(list) == JSON_NULL)
		return RC_OK;
	if (json_type(list) != JSON_ARRAY)
		return RC_INVALID;
	json_iter_init(&it, list);
	while (rc == RC_OK && json_next(&it, &k, &item))
		rc = mark_one(b, item, is_ack, greatest, err);
	return rc;
}

/* Write an answer down (none: only what could not be sent). */
static enum tdsync_rc
mark(struct batch *b, const struct remote_answer *a)
{
	struct work *w = b->w;
	struct err *err = &w->t->err;
	struct tdsync_result before = *w->result;
	int64_t greatest = 0;
	enum tdsync_rc rc;
	enum rc did = RC_OK;

	if ((rc = work_begin(w)) != TDSYNC_OK)
		return rc;
	qsort(b->sent, b->n, sizeof(b->sent[0]), by_rowid);
	if (a != NULL && (did = work_log_id(w, a->reply.log_id)) == RC_OK &&
	    (did = mark_list(b, a->json, "acks", true, &greatest, err)) == RC_OK)
		did = mark_list(b, a->json, "rejected", false, &greatest, err);
	for (size_t i = 0; i < b->n && did == RC_OK; i++)
		if (b->sent[i].why[0] != '\0') {
			w->result->rejected++;
			did = books_rejected(w->l, &b->sent[i].entry, span_of(b->sent[i].why),
			                     work_now_us(w), err);
		}
	if (did == RC_OK && greatest > 0)
		did = td_state_pushed(w->l, greatest, work_now_us(w), err);
	if (did == RC_INVALID) {
		rc = remote_nonsense(&w->remote, "the answer to a push makes no sense", err);
	} else if ((rc = work_local(w, did)) == TDSYNC_OK &&
	    (rc = work_step(w, "push.marked")) == TDSYNC_OK) {
		rc = work_commit(w);
	}
	if (rc != TDSYNC_OK) {
		local_rollback(w->l);
		*w->result = before;
	}
	return rc;
}

/* Send the batch and write down what came of it; *again: it was too large,
 * the next one is smaller. */
static enum tdsync_rc
send_batch(struct batch *b, bool *again)
{
	struct work *w = b->w;
	struct remote_answer a = { 0 };
	struct buf path = { 0 };
	enum tdsync_rc rc;

	*again = false;
	if ((rc = work_path(w, "push", &path)) != TDSYNC_OK ||
	    (rc = work_step(w, "push.gathered")) != TDSYNC_OK)
		goto done;
	rc = remote_call(&w->remote, path.p, buf_span(&b->body), true, &a, &w->t->err);
	if (rc == TDSYNC_REFUSED && a.reply.status == 413) {
		if (b->events > 1) {
			b->max_events = b->events / 2;
			*again = true;
			rc = TDSYNC_OK;
		} else {
			for (size_t i = 0; i < b->n; i++)
				if (b->sent[i].why[0] == '\0')
					snprintf(b->sent[i].why, sizeof(b->sent[i].why),
					         "larger than the server takes");
			rc = mark(b, NULL);
		}
	} else if (rc == TDSYNC_OK && (rc = work_step(w, "push.sent")) == TDSYNC_OK &&
	    (rc = mark(b, &a)) == TDSYNC_OK) {
		rc = work_step(w, "push.committed");
	}
done:
	buf_free(&path);
	remote_answer_free(&a);
	return rc;
}

enum tdsync_rc
send_run(struct work *w)
{
	struct batch b = { .w = w, .max_events = BATCH_EVENTS, .max_bytes = BATCH_BYTES,
		.after_first = true, .after_rowid = INT64_MIN };
	enum tdsync_rc rc;
	bool again, more = true;

	while (more && (rc = fill(&b)) == TDSYNC_OK && b.n > 0) {
		bool first = b.sent[b.n - 1].entry.first;
		int64_t rowid = b.sent[b.n - 1].entry.rowid;

		again = false;
		more = b.full;
		if ((rc = b.events > 0 ? send_batch(&b, &again) : mark(&b, NULL)) != TDSYNC_OK)
			break;
		if (again) {
			more = true;
			continue;
		}
		b.after_first = first;
		b.after_rowid = rowid;
	}
	clear(&b);
	free(b.sent);
	buf_free(&b.body);
	buf_free(&b.scratch);
	return rc;
}
