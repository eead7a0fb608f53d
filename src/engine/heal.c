/* The server heals, see heal.h. */
#include "engine/heal.h"

#include "base/hash.h"
#include "base/id.h"
#include "base/json.h"
#include "engine/cause.h"
#include "engine/digest.h"
#include "engine/lost.h"
#include "engine/push.h"
#include "engine/value.h"

#include <string.h>

/* A transaction's end, after the cause at hand: pushes wait for it. */
#define CAUSES_AT_ONCE 50
#define EVENTS_AT_ONCE 200

/* What may have come since the state was brought up; with more it is left for later. */
#define EVENTS_BEHIND 200

/* How many events of a row are looked at for what it was like. */
#define LOOK_BACK 1000

#define SESSION "server" /* protocol.md section 8 */
#define DEPTH 4         /* rows that hang on rows that hang on rows */
#define QUOTE_BYTES 160 /* of a lost value, in a note */

struct healer {
	struct follower *f;
	struct events *log;
	struct state *state;
	struct tables *all;
	const struct heal_rules *rules;
	const struct profile *profile;
	struct instant at;       /* now, */
	struct buf now;          /* RFC 3339 */
	int64_t seq;             /* the cause at hand */
	enum cause_reason reason;
	size_t events;           /* written in this transaction */
	struct buf payload, scratch;
	struct err *err;
};

static enum rc
no_memory(struct healer *h)
{
	return err_set(h->err, RC_FAULT, "out of memory");
}

/* --- events that are read --- */

/* A copy of an event, and what it says. */
struct kept {
	struct event ev;
	struct deed d;
	struct buf text;
};

/* Append a piece of an event to the copy, and a NUL, which JSON has not. */
static size_t
put(struct buf *b, struct span s)
{
	size_t at = b->len;

	buf_add_span(b, s);
	buf_add_byte(b, '\0');
	return at;
}

static struct span
piece(const struct buf *b, size_t at, size_t len)
{
	return (struct span){ b->p + at, len };
}

static enum rc
keep(struct healer *h, const struct event *ev, struct kept *k)
{
	struct buf *b = &k->text;
	size_t type, id, time, payload;

	buf_reset(b);
	type = put(b, ev->type);
	id = put(b, ev->id);
	time = put(b, ev->time);
	payload = put(b, ev->payload);
	if (b->failed)
		return no_memory(h);
	k->ev = *ev;
	k->ev.type = piece(b, type, ev->type.len);
	k->ev.id = piece(b, id, ev->id.len);
	k->ev.time = piece(b, time, ev->time.len);
	k->ev.payload = piece(b, payload, ev->payload.len);
	k->ev.device = k->ev.session = k->ev.user = (struct span){ 0 }; /* not kept */
	applier_read(follower_applier(h->f), &k->ev, &k->d);
	return RC_OK;
}

static enum rc
fetch(struct healer *h, int64_t seq, struct kept *k)
{
	struct event ev;
	enum rc rc = events_get(h->log, seq, &ev, h->err);

	if (rc == RC_OK)
		rc = keep(h, &ev, k);
	events_got(h->log);
	return rc;
}

/* --- rows as they are --- */

static enum rc
exists(struct healer *h, struct table *t, struct span id, bool *yes)
{
	return table_exists(h->all, t, id, yes, h->err);
}

/* Append the row as td writes it, with another value in one column; -1: in none.
 * *was: what that column holds, appended to `was`, which may be NULL. */
static enum rc
write_row(struct healer *h, struct table *t, struct span id, int column, struct span value,
          struct buf *out, struct buf *was)
{
	struct buf text = { 0 };
	sqlite3_stmt *st;
	enum rc rc = table_row(h->all, t, id, &st, h->err);

	if (rc == RC_OK && st == NULL)
		rc = RC_NOT_FOUND;
	for (int i = 0; rc == RC_OK && i < t->n_columns; i++) {
		if (t->columns[i].local)
			continue;
		buf_reset(&text);
		value_json(sqlite3_column_value(st, i), t->columns[i].datetime, &text);
		if (i == column && was != NULL)
			buf_add_span(was, buf_span(&text));
		lost_member(&t->columns[i], i == column ? value : buf_span(&text), out);
	}
	buf_add_byte(out, '}');
	db_reset(st);
	if (rc == RC_OK && (text.failed || out->failed || (was != NULL && was->failed)))
		rc = no_memory(h);
	buf_free(&text);
	return rc;
}

/* --- what became of a row --- */

/* The newest event about a row; 0: none. */
static enum rc
take_newest(void *ctx, int64_t seq, enum version_what what, bool *stop, struct err *err)
{
	(void)what;
	(void)err;
	*(int64_t *)ctx = seq;
	*stop = true;
	return RC_OK;
}

static enum rc
newest(struct healer *h, const struct table *t, struct span id, int64_t *seq)
{
	*seq = 0;
	return state_walk_versions(h->state, tables_number(h->all, t), id, INT64_MAX, 1,
	                           take_newest, seq, h->err);
}

/* What the log knows of a row that is not there. */
struct content {
	struct healer *h;
	const struct table *t;
	bool created;          /* somebody created it */
	bool ended;            /* and it went, or was deleted, since */
	bool has;              /* `row` is an event that carries it */
	int looks;             /* so many events were looked at */
	struct kept row;
	bool timed;            /* `times` is one before it, and has the times that it lacks; */
	bool timeless;         /* there is none such */
	struct kept times;
	bool judged;           /* it was deleted or restored after that: */
	bool deleted;
	struct buf time;       /* then, as JSON */
};

/* Whether a time is missing for which each replica would put its own. */
static bool
lacks_time(const struct table *t, const struct row *row)
{
	for (int i = 0; i < t->n_columns; i++)
		if (t->columns[i].now && json_type(row->values[i]) == JSON_NULL)
			return true;
	return false;
}

/* Take the times that the row lacks, if an event before it has them: td tells no
 * added_at when it takes an issue off a board. */
static enum rc
look_for_times(struct content *c, const struct event *ev)
{
	const struct row *row;
	enum rc rc;

	if (ev->action == ACTION_DELETE) {
		c->timeless = true;
		return RC_OK;
	}
	if ((rc = keep(c->h, ev, &c->times)) != RC_OK)
		return rc;
	row = deed_row(&c->times.d);
	c->timed = row != NULL && !lacks_time(c->t, row);
	return RC_OK;
}

/* Newest first. */
static enum rc
look_at(void *ctx, int64_t seq, enum version_what what, bool *stop, struct err *err)
{
	struct content *c = ctx;
	bool known = c->has || c->ended; /* only who created it is still wanted, ... */
	bool times = c->has && !c->timed && !c->timeless && /* ... and when */
	             lacks_time(c->t, deed_row(&c->row.d));
	struct event ev;
	enum rc rc;

	rc = known && !times ? events_glance(c->h->log, seq, &ev, err)
	                     : events_get(c->h->log, seq, &ev, err);
	if (rc != RC_OK)
		return rc;
	if (++c->looks == LOOK_BACK)
		c->created = true; /* what lies behind nobody looked at */
	if (what == VERSION_TAKEN) { /* the event is another row's */
		c->ended = c->ended || (!c->has && !c->judged);
		return RC_OK;
	}
	c->created = c->created || ev.action == ACTION_CREATE;
	*stop = c->created && known && !times;
	if (known)
		return times ? look_for_times(c, &ev) : RC_OK;
	if (ev.action == ACTION_DELETE) {
		c->ended = !c->judged;
		return RC_OK;
	}
	if (!c->judged && (ev.action == ACTION_SOFT_DELETE || ev.action == ACTION_RESTORE)) {
		c->judged = true;
		c->deleted = ev.action == ACTION_SOFT_DELETE;
		buf_reset(&c->time);
		buf_add_json(&c->time, ev.time);
	}
	if ((rc = keep(c->h, &ev, &c->row)) == RC_OK)
		c->has = deed_row(&c->row.d) != NULL;
	return rc == RC_OK && c->time.failed ? no_memory(c->h) : rc;
}

static enum rc
find_content(struct healer *h, const struct table *t, struct span id, struct content *c)
{
	enum rc rc;

	c->h = h;
	c->t = t;
	rc = state_walk_versions(h->state, tables_number(h->all, t), id, INT64_MAX, LOOK_BACK,
	                         look_at, c, h->err);
	events_got(h->log);
	return rc;
}

static void
content_free(struct content *c)
{
	buf_free(&c->row.text);
	buf_free(&c->times.text);
	buf_free(&c->time);
}

/* The row as its author has it, as an object; and with all times, or replicas would put
 * theirs. */
static void
write_content(const struct table *t, struct span id, const struct content *c,
              struct buf *out)
{
	const struct row *row = deed_row(&c->row.d);
	struct buf key = { 0 }, then = { 0 };

	buf_add_json(&key, id);
	buf_add_json(&then, c->row.ev.time);
	for (int i = 0; i < t->n_columns; i++) {
		const struct column *column = &t->columns[i];
		struct span v = row->values[i];

		if (column->is_key)
			v = buf_span(&key);
		else if (c->judged && i == t->deleted_at)
			v = c->deleted ? buf_span(&c->time) : (struct span){ 0 };
		else if (c->judged && i == t->updated_at)
			v = buf_span(&c->time);
		else if (column->now && json_type(v) == JSON_NULL)
			v = c->timed ? deed_row(&c->times.d)->values[i] : buf_span(&then);
		if (!column->local && json_type(v) != JSON_NULL)
			lost_member(column, v, out);
	}
	buf_add_byte(out, '}');
	out->failed = out->failed || key.failed || then.failed;
	buf_free(&key);
	buf_free(&then);
}

/* --- answers --- */

static struct event
event_of(struct healer *h, enum action action, const struct table *t, struct span id)
{
	return (struct event){
		.device = span_of(PUSH_SERVER_DEVICE), .session = span_of(SESSION),
		.user = span_of(""), .action = action, .type = span_of(t->entity->table),
		.id = id, .payload = buf_span(&h->payload), .time = buf_span(&h->now),
		.server_us = h->rules->now_us, .by_server = true,
	};
}

/* Rows are objects, or empty for none. */
static enum rc
write_payload(struct healer *h, struct span new_row, struct span old_row)
{
	struct buf *b = &h->payload;

	buf_reset(b);
	buf_add_str(b, "{\"schema_version\":1,\"" CAUSE_SEQ "\":");
	buf_add_int(b, h->seq);
	buf_add_str(b, ",\"" CAUSE_REASON "\":\"");
	buf_add_str(b, cause_name(h->reason));
	buf_add_str(b, "\",\"new_data\":");
	buf_add_span(b, new_row.len > 0 ? new_row : span_of("{}"));
	buf_add_str(b, ",\"previous_data\":");
	buf_add_span(b, old_row.len > 0 ? old_row : span_of("{}"));
	buf_add_byte(b, '}');
	return b->failed ? no_memory(h) : RC_OK;
}

static enum rc
answer(struct healer *h, enum action action, const struct table *t, struct span id,
       struct span new_row, struct span old_row)
{
	struct event ev;
	enum rc rc;

	if ((rc = write_payload(h, new_row, old_row)) != RC_OK)
		return rc;
	ev = event_of(h, action, t, id);
	if (event_digest(&ev, h->at, &h->scratch) != RC_OK)
		return no_memory(h);
	h->events++;
	return follower_append(h->f, h->log, &ev, h->err);
}

/* Make a row, where it would get in and no other would go for it. */
static enum rc
make(struct healer *h, const struct table *t, struct span id, struct span row, bool *made)
{
	struct tried tried;
	struct event ev;
	enum rc rc;

	*made = false;
	if ((rc = write_payload(h, row, (struct span){ 0 })) != RC_OK)
		return rc;
	ev = event_of(h, ACTION_CREATE, t, id);
	if ((rc = follower_try(h->f, &ev, &tried, h->err)) != RC_OK)
		return rc;
	if (tried.what != APPLIED || tried.takes[0] != '\0')
		return RC_OK;
	*made = true;
	return answer(h, ACTION_CREATE, t, id, row, (struct span){ 0 });
}

static enum rc make_children(struct healer *h, struct table *t, struct span id, int depth);

/* Make a row that is not there of what the log has of it, and what hung on it. */
static enum rc
make_again(struct healer *h, struct table *t, struct span id, const struct content *c,
           int depth)
{
	struct buf row = { 0 };
	bool made = false;
	enum rc rc;

	write_content(t, id, c, &row);
	rc = row.failed ? no_memory(h) : make(h, t, id, buf_span(&row), &made);
	buf_free(&row);
	return rc == RC_OK && made ? make_children(h, t, id, depth) : rc;
}

/* A skipped event: its row, if nothing has become of that since. */
static enum rc
make_child(struct healer *h, int64_t seq, int depth)
{
	struct content c = { 0 };
	struct kept k = { 0 };
	struct table *t = NULL;
	bool there = true;
	enum rc rc;

	if ((rc = fetch(h, seq, &k)) == RC_OK && (t = tables_find(h->all, k.ev.type)) != NULL)
		rc = exists(h, t, k.ev.id, &there);
	if (rc == RC_OK && !there)
		rc = find_content(h, t, k.ev.id, &c);
	if (rc == RC_OK && !there && c.has && !c.ended)
		rc = make_again(h, t, k.ev.id, &c, depth);
	content_free(&c);
	buf_free(&k.text);
	return rc;
}

/* What was skipped because a row was not there. */
static enum rc
make_children(struct healer *h, struct table *t, struct span id, int depth)
{
	int64_t seq = 0;
	int reason;
	enum rc rc = RC_OK;

	while (depth < DEPTH && rc == RC_OK &&
	       (rc = state_next_orphan(h->state, tables_number(h->all, t), id, seq, &seq, &reason,
	                               h->err)) == RC_OK)
		rc = make_child(h, seq, depth + 1);
	return rc == RC_NOT_FOUND ? RC_OK : rc;
}

/* --- rows that are there --- */

/* Ids of some rows, NUL behind each, but for one. */
struct ids {
	struct buf all;
	struct span but;
};

static enum rc
add_id(void *ctx, struct span id, struct err *err)
{
	struct ids *ids = ctx;

	(void)err;
	if (!span_eq(id, ids->but)) {
		buf_add_span(&ids->all, id);
		buf_add_byte(&ids->all, '\0');
	}
	return RC_OK;
}

/* The rows again, as they are, for devices that lack them. */
static enum rc
renew(struct healer *h, struct table *t, const struct ids *ids)
{
	struct buf row = { 0 };
	enum rc rc = ids->all.failed ? no_memory(h) : RC_OK;

	for (size_t at = 0; at < ids->all.len && rc == RC_OK; at += strlen(ids->all.p + at) + 1) {
		struct span id = span_of(ids->all.p + at);

		buf_reset(&row);
		if ((rc = write_row(h, t, id, -1, (struct span){ 0 }, &row, NULL)) == RC_OK)
			rc = answer(h, ACTION_CREATE, t, id, buf_span(&row), (struct span){ 0 });
		else if (rc == RC_NOT_FOUND)
			rc = RC_OK; /* another one took its place */
	}
	buf_free(&row);
	return rc;
}

/* The rows that hang on a row. */
static enum rc
renew_children(struct healer *h, const struct table *t, struct span id)
{
	struct ids ids = { .but = { 0 } };
	enum rc rc = RC_OK;

	for (size_t i = 0; i < h->all->n && rc == RC_OK; i++) {
		struct table *child = &h->all->list[i];

		buf_reset(&ids.all);
		for (int k = 0; k < child->n_parents && rc == RC_OK; k++)
			if (strcmp(child->parents[k].table, t->entity->table) == 0)
				rc = table_children(h->all, child, &child->parents[k], id, add_id, &ids,
				                    h->err);
		if (rc == RC_OK)
			rc = renew(h, child, &ids);
	}
	buf_free(&ids.all);
	return rc;
}

/* --- one cause each --- */

/*
 * An event about a row that is not there. Where somebody created it, it went since,
 * for all. Where nobody did, only its author has it.
 */
static enum rc
heal_unborn(struct healer *h, const struct kept *k, struct table *t)
{
	struct content c = { 0 };
	bool there;
	enum rc rc;

	if (k->ev.action == ACTION_CREATE) /* its parent was made after it */
		return make_child(h, k->ev.seq, 0);
	rc = exists(h, t, k->ev.id, &there);
	if (rc == RC_OK && !there)
		rc = find_content(h, t, k->ev.id, &c);
	if (rc == RC_OK && !there && !c.created && !c.ended)
		rc = c.has ? make_again(h, t, k->ev.id, &c, 0)
		           : answer(h, ACTION_DELETE, t, k->ev.id, (struct span){ 0 },
		                    (struct span){ 0 });
	content_free(&c);
	return rc;
}

/* An event that every device quarantines, and its author has done. */
static enum rc
heal_column(struct healer *h, const struct kept *k, struct table *t)
{
	struct content c = { 0 };
	int64_t last;
	bool there;
	enum rc rc;

	if ((rc = newest(h, t, k->ev.id, &last)) != RC_OK || last != k->ev.seq ||
	    (rc = exists(h, t, k->ev.id, &there)) != RC_OK)
		return rc;
	if (k->ev.action == ACTION_SOFT_DELETE)
		return !there ? RC_OK : answer(h, ACTION_DELETE, t, k->ev.id, (struct span){ 0 },
		                               (struct span){ 0 });
	/* Its author had deleted it before that was sent, with what hung on it. */
	if (there)
		return renew_children(h, t, k->ev.id);
	if ((rc = find_content(h, t, k->ev.id, &c)) == RC_OK && c.has)
		rc = make_again(h, t, k->ev.id, &c, 0);
	else if (rc == RC_OK)
		rc = answer(h, ACTION_DELETE, t, k->ev.id, (struct span){ 0 }, (struct span){ 0 });
	content_free(&c);
	return rc;
}

/* Whether an event after the cause settles what updated_at is. */
struct stamps {
	struct healer *h;
	const struct table *t;
	bool settled;
};

static enum rc
look_at_stamp(void *ctx, int64_t seq, enum version_what what, bool *stop, struct err *err)
{
	struct stamps *s = ctx;
	struct event ev;
	struct deed d;
	enum rc rc;

	*stop = seq <= s->h->seq;
	if (*stop || what != VERSION_APPLIED)
		return RC_OK;
	if ((rc = events_get(s->h->log, seq, &ev, err)) != RC_OK)
		return rc;
	if (ev.action == ACTION_UPDATE)
		applier_read(follower_applier(s->h->f), &ev, &d);
	s->settled = ev.action != ACTION_UPDATE || d.set == 0 ||
	             (d.set >> s->t->updated_at & 1) != 0;
	*stop = s->settled;
	return RC_OK;
}

/* Set updated_at for all, and nothing else. */
static enum rc
set_stamp(struct healer *h, const struct kept *k, struct table *t)
{
	struct buf new_row = { 0 }, old_row = { 0 }, time = { 0 }, was = { 0 };
	enum rc rc;

	buf_add_json(&time, k->ev.time);
	rc = write_row(h, t, k->ev.id, t->updated_at, buf_span(&time), &new_row, &was);
	/* It has to differ, else the whole row would be replaced. */
	if (rc == RC_OK)
		rc = write_row(h, t, k->ev.id, t->updated_at,
		               json_equal(buf_span(&was), buf_span(&time)) ? span_of("null")
		                                                           : buf_span(&was),
		               &old_row, NULL);
	if (rc == RC_OK && time.failed)
		rc = no_memory(h);
	if (rc == RC_OK)
		rc = answer(h, ACTION_UPDATE, t, k->ev.id, buf_span(&new_row), buf_span(&old_row));
	buf_free(&new_row);
	buf_free(&old_row);
	buf_free(&time);
	buf_free(&was);
	return rc == RC_NOT_FOUND ? RC_OK : rc; /* the row is gone */
}

static enum rc
heal_stamp(struct healer *h, const struct kept *k, struct table *t)
{
	struct stamps s = { h, t, false };
	enum rc rc = state_walk_versions(h->state, tables_number(h->all, t), k->ev.id, INT64_MAX,
	                                 LOOK_BACK, look_at_stamp, &s, h->err);

	events_got(h->log);
	return rc != RC_OK || s.settled ? rc : set_stamp(h, k, t);
}

/*
 * The cycle has been opened since, or the edge went. Its author did not take what came
 * before it and would have closed the cycle there; where it lost, it still has it.
 */
static enum rc
settle(struct healer *h, const struct kept *k, struct table *t, struct span from,
       struct span to, bool holds)
{
	struct ids beside = { .but = k->ev.id };
	enum rc rc = table_beside(h->all, t, from, to, add_id, &beside, h->err);

	if (rc == RC_OK && holds)
		rc = answer(h, ACTION_DELETE, t, k->ev.id, (struct span){ 0 }, (struct span){ 0 });
	if (rc == RC_OK)
		rc = renew(h, t, &beside);
	buf_free(&beside.all);
	return rc;
}

/* Cut the edge, if it does close a cycle, or would. Who had taken one of its other edges
 * away before that was sent has this one. */
static enum rc
cut(struct healer *h, const struct kept *k, struct table *t, struct span from, struct span to)
{
	struct ids p = { .but = k->ev.id };
	bool there;
	enum rc rc;

	if ((rc = exists(h, t, k->ev.id, &there)) == RC_OK)
		rc = table_cycle(h->all, t, from, to, add_id, &p, h->err);
	if (rc == RC_OK && p.all.failed)
		rc = no_memory(h);
	if (rc == RC_OK && p.all.len == 0) {
		rc = settle(h, k, t, from, to, !there);
	} else if (rc == RC_OK) {
		rc = answer(h, ACTION_DELETE, t, k->ev.id, (struct span){ 0 }, (struct span){ 0 });
		/* Of an edge and its reverse all devices keep the same one. */
		if (rc == RC_OK && (there || strlen(p.all.p) + 1 < p.all.len))
			rc = renew(h, t, &p);
	}
	buf_free(&p.all);
	return rc;
}

/* The newest event about an edge that the server did not write. */
struct clients {
	struct healer *h;
	int64_t seq; /* 0: none */
	enum action action;
};

static enum rc
take_clients(void *ctx, int64_t seq, enum version_what what, bool *stop, struct err *err)
{
	struct clients *c = ctx;
	struct event ev;
	enum rc rc = events_glance(c->h->log, seq, &ev, err);

	(void)what;
	*stop = rc == RC_OK && !ev.by_server;
	if (*stop) {
		c->seq = seq;
		c->action = ev.action;
	}
	return rc;
}

static enum rc
heal_cycle(struct healer *h, const struct kept *k, struct table *t)
{
	struct buf from = { 0 }, to = { 0 };
	struct clients last = { .h = h };
	enum rc rc = state_walk_versions(h->state, tables_number(h->all, t), k->ev.id, INT64_MAX,
	                                 LOOK_BACK, take_clients, &last, h->err);
	bool is_last = last.seq == k->ev.seq;

	events_got(h->log);
	if (rc != RC_OK || (!is_last && last.action != ACTION_DELETE))
		return rc;
	if (t->from >= 0 && t->to >= 0 && json_string(k->d.row.values[t->from], &from) &&
	    json_string(k->d.row.values[t->to], &to)) {
		if (from.failed || to.failed)
			rc = no_memory(h);
		else if (is_last)
			rc = cut(h, k, t, buf_span(&from), buf_span(&to));
		else
			rc = settle(h, k, t, buf_span(&from), buf_span(&to), false);
	}
	buf_free(&from);
	buf_free(&to);
	return rc;
}

/* --- conflicts of a cause --- */

/* A conflict, copied. */
struct found {
	struct healer *h;
	int n;                  /* the last one that was taken */
	bool any;
	int kind, type;
	bool certain;
	int64_t kept_seq, lost_seq;
	struct buf id, fields;
};

static enum rc
take_conflict(void *ctx, const struct state_conflict *c, bool *stop, struct err *err)
{
	struct found *f = ctx;

	*stop = f->any = true;
	f->n = c->n;
	f->kind = c->kind;
	f->type = c->type;
	f->certain = c->certain;
	f->kept_seq = c->kept_seq;
	f->lost_seq = c->lost_seq;
	buf_reset(&f->id);
	buf_reset(&f->fields);
	buf_add_span(&f->id, c->id);
	buf_add_span(&f->fields, c->fields);
	return f->id.failed || f->fields.failed ? err_set(err, RC_FAULT, "out of memory") : RC_OK;
}

/* Do something about each conflict of the cause, one after the other: what is done
 * adds others. */
static enum rc
each_conflict(struct healer *h, enum rc (*heal)(struct healer *h, struct found *c))
{
	struct found c = { .h = h };
	enum rc rc;

	do {
		c.any = false;
		rc = state_find_conflict(h->state, h->seq, c.n + 1, take_conflict, &c, h->err);
		if (rc == RC_NOT_FOUND)
			rc = RC_OK; /* that was the last one */
		if (rc == RC_OK && c.any && c.type >= 0 && (size_t)c.type < h->all->n)
			rc = heal(h, &c);
	} while (rc == RC_OK && c.any);
	buf_free(&c.id);
	buf_free(&c.fields);
	return rc;
}

/* A row that went with another one: again, unless somebody has touched it since. */
static enum rc
put_back(struct healer *h, struct found *c)
{
	struct table *t = &h->all->list[c->type];
	struct buf row = { 0 };
	struct row lost;
	bool there, made;
	int64_t last;
	enum rc rc;

	if (c->kind != CONFLICT_CASCADE)
		return RC_OK;
	if ((rc = newest(h, t, buf_span(&c->id), &last)) != RC_OK || last != h->seq ||
	    (rc = exists(h, t, buf_span(&c->id), &there)) != RC_OK || there)
		return rc;
	if (!lost_read(t, buf_span(&c->fields), &lost))
		return no_memory(h);
	lost_row(t, buf_span(&c->id), &lost, true, (struct span){ 0 }, &row);
	rc = row.failed ? no_memory(h) : make(h, t, buf_span(&c->id), buf_span(&row), &made);
	buf_free(&row);
	return rc;
}

static enum rc
heal_cascade(struct healer *h, const struct kept *k, struct table *t)
{
	(void)k;
	(void)t;
	return each_conflict(h, put_back);
}

/* --- notes --- */

/* Append who an event is by: "u_... in event 8". */
static enum rc
add_author(struct healer *h, int64_t seq, struct buf *text)
{
	struct event ev;
	enum rc rc;

	if (seq == 0) {
		buf_add_str(text, "somebody");
		return RC_OK;
	}
	if ((rc = events_glance(h->log, seq, &ev, h->err)) == RC_OK)
		buf_addf(text, "%.*s in event %lld", (int)ev.user.len, ev.user.p, (long long)seq);
	events_got(h->log);
	return rc;
}

/* Append a value, as people read it and not too long. */
static void
add_quote(struct span json, struct buf *text)
{
	struct buf plain = { 0 };
	struct span v = json;

	if (json_string(json, &plain))
		v = buf_span(&plain);
	buf_add_byte(text, '"');
	if (v.len > QUOTE_BYTES) {
		v.len = QUOTE_BYTES;
		while (v.len > 0 && ((unsigned char)v.p[v.len] & 0xc0) == 0x80)
			v.len--; /* not within a character */
		buf_add_span(text, v);
		buf_add_str(text, "...");
	} else {
		buf_add_span(text, v);
	}
	buf_add_byte(text, '"');
	text->failed = text->failed || plain.failed;
	buf_free(&plain);
}

/* The values that were lost: `title "Uno", points "3"`. */
static bool
add_values(const struct table *t, struct span fields, struct buf *text)
{
	struct row lost;
	const char *comma = "";

	if (!lost_read(t, fields, &lost))
		return false;
	for (int i = 0; i < t->n_columns; i++) {
		const struct column *c = &t->columns[i];

		if (lost.values[i].len == 0 || c->time || c->session)
			continue;
		buf_addf(text, "%s%s ", comma, c->name);
		add_quote(lost.values[i], text);
		comma = ", ";
	}
	return !text->failed;
}

static enum rc
write_note(struct healer *h, const struct table *t, const struct found *c, struct buf *text)
{
	char id[CONFLICT_ID_TEXT];
	enum rc rc;

	buf_add_str(text, c->kind == CONFLICT_DELETE ? "Deleted by " : "Written over by ");
	if ((rc = add_author(h, c->kept_seq, text)) != RC_OK)
		return rc;
	buf_add_str(text, ", who had not seen ");
	if (!add_values(t, buf_span(&c->fields), text))
		return no_memory(h);
	buf_add_str(text, " by ");
	if ((rc = add_author(h, c->lost_seq, text)) != RC_OK)
		return rc;
	buf_addf(text, " (td-sync conflict %s)",
	         conflict_id_text((struct conflict_id){ h->seq, c->n }, id));
	return text->failed ? no_memory(h) : RC_OK;
}

/* An id that this log gives this conflict, and no other. */
static enum rc
note_id(struct healer *h, const struct found *c, struct buf *out)
{
	unsigned char digest[HASH_LEN];
	char hex[9];

	buf_reset(&h->scratch);
	buf_add(&h->scratch, (const char *)events_log_id(h->log), LOG_ID_LEN);
	buf_addf(&h->scratch, "%lld-%d", (long long)h->seq, c->n);
	if (h->scratch.failed || hash_sha256(buf_span(&h->scratch), digest) != RC_OK)
		return no_memory(h);
	id_hex(digest, 4, hex);
	buf_add_str(out, h->profile->note->prefix);
	buf_add_str(out, hex);
	return out->failed ? no_memory(h) : RC_OK;
}

static void
add_text(struct buf *row, const char *name, struct span text)
{
	buf_addf(row, "%s\"%s\":", row->len == 0 ? "{" : ",", name);
	buf_add_json(row, text);
}

static enum rc
tell(struct healer *h, struct found *c)
{
	const struct profile_note *n = h->profile->note;
	struct table *t = &h->all->list[c->type];
	struct table *into = tables_find(h->all, span_of(n->table));
	struct buf id = { 0 }, text = { 0 }, row = { 0 };
	bool there, made;
	enum rc rc;

	if (!c->certain || (c->kind != CONFLICT_FIELD && c->kind != CONFLICT_DELETE) ||
	    strcmp(t->entity->table, n->of) != 0 || into == NULL)
		return RC_OK;
	if ((rc = exists(h, t, buf_span(&c->id), &there)) != RC_OK || !there)
		return rc;
	if ((rc = write_note(h, t, c, &text)) == RC_OK && (rc = note_id(h, c, &id)) == RC_OK &&
	    (rc = exists(h, into, buf_span(&id), &there)) == RC_OK && !there) {
		add_text(&row, "id", buf_span(&id));
		add_text(&row, n->owner, buf_span(&c->id));
		add_text(&row, n->session, span_of(PUSH_SERVER_DEVICE));
		add_text(&row, n->text, buf_span(&text));
		add_text(&row, n->time, buf_span(&h->now));
		buf_add_byte(&row, '}');
		rc = row.failed ? no_memory(h) : make(h, into, buf_span(&id), buf_span(&row), &made);
	}
	buf_free(&id);
	buf_free(&text);
	buf_free(&row);
	return rc;
}

static enum rc
heal_note(struct healer *h, const struct kept *k, struct table *t)
{
	(void)k;
	(void)t;
	return h->rules->notes && h->profile->note != NULL ? each_conflict(h, tell) : RC_OK;
}

/* --- all of them --- */

static enum rc
heal_one(struct healer *h)
{
	static enum rc (*const healers[])(struct healer *h, const struct kept *k,
	                                  struct table *t) = {
		[CAUSE_UNBORN] = heal_unborn,
		[CAUSE_NO_COLUMN] = heal_column,
		[CAUSE_STAMP] = heal_stamp,
		[CAUSE_CYCLE] = heal_cycle,
		[CAUSE_CASCADE] = heal_cascade,
		[CAUSE_NOTE] = heal_note,
	};
	struct kept k = { 0 };
	struct table *t;
	enum rc rc;

	if ((rc = fetch(h, h->seq, &k)) == RC_OK &&
	    (t = tables_find(h->all, k.ev.type)) != NULL)
		rc = healers[h->reason](h, &k, t);
	buf_free(&k.text);
	/* An answer has ended it; there may be none. */
	return rc == RC_OK ? state_end_causes(h->state, h->seq, h->reason, h->err) : rc;
}

/* The next cause; RC_NOT_FOUND: there is none. */
static enum rc
next_cause(struct healer *h, int64_t from)
{
	int reason;
	enum rc rc = state_next_cause(h->state, from, &h->seq, &reason, h->err);

	h->reason = (enum cause_reason)reason;
	return rc;
}

static enum rc
heal_some(struct healer *h, int64_t from, bool *more)
{
	enum rc rc = RC_OK;

	for (size_t n = 0; rc == RC_OK && n < CAUSES_AT_ONCE && h->events < EVENTS_AT_ONCE; n++)
		if ((rc = next_cause(h, from)) == RC_OK && (rc = heal_one(h)) == RC_NOT_FOUND)
			rc = state_doubt(h->state, h->seq, h->err);
	*more = rc == RC_OK;
	return rc == RC_NOT_FOUND ? RC_OK : rc;
}

/* Whether there is anything to do, without a lock; not yet where much of the log
 * isn't applied. */
static enum rc
is_due(struct healer *h, int64_t from, bool *due)
{
	struct events_head head;
	enum rc rc = events_head(h->log, &head, h->err);

	*due = false;
	if (rc != RC_OK)
		return rc;
	if ((rc = state_hold(h->state, h->log, h->err)) == RC_NOT_FOUND)
		return RC_OK; /* there is no state yet */
	if (rc == RC_OK) {
		rc = next_cause(h, from);
		*due = rc == RC_OK && head.visible - state_seq(h->state) <= EVENTS_BEHIND;
		state_let_go(h->state);
	}
	return rc == RC_NOT_FOUND ? RC_OK : rc;
}

/* Write from where on there is healing. */
static enum rc
set_from(struct events *log, bool on, int64_t deadline_ms, struct err *err)
{
	struct events_head head;
	int64_t from;
	enum rc rc;

	if ((rc = events_begin(log, deadline_ms, err)) != RC_OK)
		return rc;
	/* Another process may have been quicker. */
	if ((rc = events_heal_from(log, &from, err)) == RC_OK && (from != 0) != on &&
	    (rc = events_head(log, &head, err)) == RC_OK &&
	    (rc = events_set_heal_from(log, on ? head.seq + 1 : 0, err)) == RC_OK)
		return events_commit(log, err);
	events_rollback(log);
	return rc;
}

enum rc
heal_off(struct events *log, int64_t deadline_ms, struct err *err)
{
	int64_t from;
	enum rc rc = events_heal_from(log, &from, err);

	return rc != RC_OK || from == 0 ? rc : set_from(log, false, deadline_ms, err);
}

/* Under both locks. */
static enum rc
heal(struct healer *h, int64_t from, bool *more)
{
	enum rc rc;

	h->all = follower_tables(h->f);
	h->at = time_of_us(h->rules->now_us);
	time_add_rfc3339(&h->now, h->at);
	if (h->now.failed)
		rc = no_memory(h);
	else
		rc = follower_append_begin(h->f, h->err);
	if (rc != RC_OK) {
		events_rollback(h->log);
		follower_end(h->f);
		return rc;
	}
	return follower_append_end(h->f, h->log, heal_some(h, from, more), h->err);
}

enum rc
heal_run(struct follower *f, struct events *log, const struct heal_rules *rules,
         int64_t deadline_ms, bool *more, struct err *err)
{
	struct err unread;
	struct healer h = { .f = f, .log = log, .state = follower_state(f), .rules = rules,
	                    .profile = follower_profile(f), .err = err != NULL ? err : &unread };
	int64_t from;
	bool due = false;
	enum rc rc;

	*more = false;
	if ((rc = events_heal_from(log, &from, h.err)) != RC_OK)
		return rc;
	if (from == 0)
		return set_from(log, true, deadline_ms, h.err);
	if ((rc = is_due(&h, from, &due)) != RC_OK || !due ||
	    (rc = follower_begin(f, log, true, deadline_ms, h.err)) != RC_OK)
		return rc;
	rc = heal(&h, from, more);
	buf_free(&h.now);
	buf_free(&h.payload);
	buf_free(&h.scratch);
	return rc;
}
