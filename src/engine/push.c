/* A push: parsed, judged, appended; see push.h. */
#include "engine/push.h"

#include "base/clock.h"
#include "base/gojson.h"
#include "base/json.h"
#include "base/metrics.h"
#include "engine/digest.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum member { M_ACTION_ID, M_ACTION, M_TYPE, M_ID, M_PAYLOAD, M_TIME, M__MAX };

static const char *const members[M__MAX] = {
	[M_ACTION_ID] = "client_action_id",
	[M_ACTION] = "action_type",
	[M_TYPE] = "entity_type",
	[M_ID] = "entity_id",
	[M_PAYLOAD] = "payload",
	[M_TIME] = "client_timestamp",
};

/* One event of a push: as it was read, then as it was judged. */
struct item {
	struct span value[M__MAX]; /* empty where there is none */
	struct span new_data;      /* of the payload */
	enum json_type type;       /* of the event itself */
	int twice;                 /* the member that is there twice, -1: none */

	struct event ev;
	bool rewritten;     /* the Go server would store its payload in another spelling */
	const char *reason; /* why it is rejected, NULL where it is not */
	bool duplicate;     /* the log had it, at seq */
	int64_t seq;        /* its place in the log; 0: none */
};

/* Text that had to be made anew, freed with the push. */
struct owned {
	struct owned *next;
	struct buf b;
};

#define SOME 4 /* creates that are looked for first */

struct push {
	const struct profile *profile;
	struct push_rules rules;
	struct span device, session;
	struct item *items;
	size_t n, room; /* n counts on where there are too many to keep */
	int64_t newest_us;
	struct owned *owned;
	struct buf scratch; /* canonical texts */
	int64_t known_at;   /* the log's last event when duplicates were looked for; 0: none
	                     * was found */
};

void
push_free(struct push *p)
{
	struct owned *o;

	if (p == NULL)
		return;
	while ((o = p->owned) != NULL) {
		p->owned = o->next;
		buf_free(&o->b);
		free(o);
	}
	buf_free(&p->scratch);
	free(p->items);
	free(p);
}

struct span
push_device(const struct push *p)
{
	return p->device;
}

int64_t
push_newest_us(const struct push *p)
{
	return p->newest_us;
}

/* A buffer that lives as long as the push; NULL when out of memory. */
static struct buf *
own(struct push *p)
{
	struct owned *o = calloc(1, sizeof(*o));

	if (o == NULL)
		return NULL;
	o->next = p->owned;
	p->owned = o;
	return &o->b;
}

static enum rc
no_memory(struct err *err)
{
	return err_set(err, RC_FAULT, "out of memory");
}

/*
 * The text of a string member; absent and null are "" (as in Go). It borrows
 * from the body where nothing is escaped.
 */
static enum rc
text(struct push *p, struct span value, const char *name, struct span *out,
     struct err *err)
{
	struct buf *b;

	*out = (struct span){ "", 0 };
	if (json_type(value) == JSON_NULL)
		return RC_OK;
	if (json_type(value) != JSON_STRING)
		return err_set(err, RC_INVALID, "invalid json body: %s must be a string", name);
	if (memchr(value.p, '\\', value.len) == NULL) {
		*out = (struct span){ value.p + 1, value.len - 2 };
		return RC_OK;
	}
	if (json_string_odd(value))
		return err_set(err, RC_INVALID, "%s holds a NUL or half a surrogate pair", name);
	if ((b = own(p)) == NULL || !json_string(value, b) || b->failed)
		return no_memory(err);
	*out = buf_span(b);
	return RC_OK;
}

/* As text(), for an id: bounded. */
static enum rc
id_text(struct push *p, struct span value, const char *name, struct span *out,
        struct err *err)
{
	enum rc rc = text(p, value, name, out, err);

	if (rc == RC_OK && out->len > PUSH_ID_BYTES)
		return err_set(err, RC_INVALID, "%s is longer than %d bytes", name, PUSH_ID_BYTES);
	return rc;
}

/* --- reading: the whole body, once --- */

/* A payload; its new_data is asked for at once. */
static struct span
read_payload(struct json_reader *r, struct span *new_data)
{
	struct span key, value = { 0 };
	const char *from = r->p;

	*new_data = value;
	if (!json_enter(r, '{')) {
		json_value(r, &value);
		return value;
	}
	while (json_member(r, &key) && json_value(r, &value))
		if (json_string_is(key, "new_data"))
			*new_data = value;
	return (struct span){ from, (size_t)(r->p - from) };
}

static void
read_event(struct json_reader *r, struct item *it)
{
	struct span key, value, *v = it->value;
	size_t m;

	it->twice = -1;
	it->type = JSON_OBJECT;
	if (!json_enter(r, '{')) {
		json_value(r, &value);
		it->type = json_type(value);
		return;
	}
	while (json_member(r, &key)) {
		m = json_which(key, members, M__MAX);
		if (m == M_PAYLOAD)
			value = read_payload(r, &it->new_data);
		else
			json_value(r, &value);
		if (m == M__MAX)
			continue;
		if (v[m].p != NULL)
			it->twice = (int)m;
		v[m] = value;
	}
}

/* Room for one more event, all zero; NULL when out of memory. */
static struct item *
new_item(struct push *p)
{
	struct item *items = p->items;

	if (p->n == p->room) {
		size_t room = p->room == 0 ? 16 : 2 * p->room;

		if ((items = realloc(items, room * sizeof(*items))) == NULL)
			return NULL;
		p->items = items;
		p->room = room;
	}
	memset(&items[p->n], 0, sizeof(*items));
	return &items[p->n];
}

/* The elements; those beyond the greatest number are only counted. */
static enum rc
read_events(struct push *p, struct json_reader *r, struct err *err)
{
	struct span value;
	struct item *it;

	for (; json_element(r); p->n++) {
		if (p->n >= PUSH_MAX_EVENTS) {
			json_value(r, &value);
			continue;
		}
		if ((it = new_item(p)) == NULL)
			return no_memory(err);
		read_event(r, it);
	}
	return RC_OK;
}

enum envelope { E_DEVICE, E_SESSION, E_EVENTS, E__MAX };

static const char *const envelope[E__MAX] = {
	[E_DEVICE] = "device_id",
	[E_SESSION] = "session_id",
	[E_EVENTS] = "events",
};

/* What is in the body: JSON, an object, nothing in it twice. */
static enum rc
read_body(struct push *p, struct span body, struct span v[E__MAX], struct err *err)
{
	struct json_reader r;
	struct span key, value;
	struct err why;
	size_t m;
	int twice = -1;
	bool object;
	enum rc rc;

	json_reader_init(&r, body, JSON_MAX_DEPTH);
	if (!(object = json_enter(&r, '{')))
		json_value(&r, &value);
	while (object && json_member(&r, &key)) {
		const char *from = r.p;

		m = json_which(key, envelope, E__MAX);
		if (m == E_EVENTS && v[m].p == NULL && json_enter(&r, '[')) {
			if ((rc = read_events(p, &r, err)) != RC_OK)
				return rc;
			value = (struct span){ from, (size_t)(r.p - from) };
		} else {
			json_value(&r, &value);
		}
		if (m == E__MAX)
			continue;
		if (v[m].p != NULL)
			twice = (int)m;
		v[m] = value;
	}
	if (json_reader_outcome(&r, &why) != RC_OK)
		return err_set(err, RC_INVALID, "invalid json body: %s", why.text);
	if (!object)
		return err_set(err, RC_INVALID, "invalid json body: it must be an object");
	if (twice >= 0)
		return err_set(err, RC_INVALID, "invalid json body: %s is there twice",
		               envelope[twice]);
	return RC_OK;
}

/* --- judging: one event --- */

/* Canonical type; NULL in *entity for one that the profile doesn't know. */
static enum rc
judge_type(const struct profile *p, bool refuse_unknown, struct event *ev,
           const struct profile_entity **entity, struct err *err)
{
	*entity = p == NULL ? NULL : profile_entity(p, ev->type);
	if (*entity != NULL) {
		ev->type = span_of((*entity)->table);
		return RC_OK;
	}
	if (!profile_is_name(ev->type) || (refuse_unknown && p != NULL))
		return err_set(err, RC_INVALID, "invalid entity_type: %.*s",
		               (int)(ev->type.len < PROFILE_NAME_MAX ? ev->type.len
		                                                     : PROFILE_NAME_MAX),
		               ev->type.p);
	/* Without a profile nothing is known, and everything forwarded. */
	ev->parked = p != NULL;
	return RC_OK;
}

/* Whether a known column besides `id` is among a row's members. */
static bool
has_known_column(const struct profile_entity *e, struct span row)
{
	struct json_iter it;
	struct span key, value;
	const struct profile_column *c;

	json_iter_init(&it, row);
	while (json_next(&it, &key, &value)) {
		if (json_string_is(key, "id"))
			continue;
		c = profile_column(e, (struct span){ key.p + 1, key.len - 2 });
		if (c != NULL && !(c->flags & PROFILE_LOCAL))
			return true;
	}
	return false;
}

/*
 * A create or update whose new_data sets nothing that is known: a stock
 * client stops at it for ever (protocol.md section 7).
 */
static bool
sets_nothing(const struct profile_entity *e, enum action action, struct span row)
{
	struct span inner;

	if ((action != ACTION_CREATE && action != ACTION_UPDATE) || row.len == 0)
		return false;
	switch (json_type(row)) {
	case JSON_NULL:
		return true;
	case JSON_OBJECT:
		if (has_known_column(e, row))
			return false;
		/* It may be wrapped: {"issue":{...}}. */
		return e->unwrap == NULL || !json_get(row, e->unwrap, &inner) ||
		       json_type(inner) != JSON_OBJECT || !has_known_column(e, inner);
	default:
		return false; /* every client quarantines it */
	}
}

static bool
key_is_local(const struct profile_entity *e, struct span key)
{
	for (const struct profile_column *c = e->columns; c->name != NULL; c++)
		if ((c->flags & PROFILE_LOCAL) && json_string_is(key, c->name))
			return true;
	return false;
}

static bool
has_local(const struct profile_entity *e, struct span row)
{
	struct json_iter it;
	struct span key, value;

	json_iter_init(&it, json_type(row) == JSON_OBJECT ? row : (struct span){ 0 });
	while (json_next(&it, &key, &value))
		if (key_is_local(e, key))
			return true;
	return false;
}

/*
 * Writes over the text that is read from: what is left of it is never longer
 * than what was read.
 */
static void
put(char **at, const char *p, size_t n)
{
	memmove(*at, p, n);
	*at += n;
}

static void
put_member(char **at, const char *comma, struct span key)
{
	put(at, comma, strlen(comma));
	put(at, key.p, key.len);
	put(at, ":", 1);
}

/* An object's members, local ones left out. */
static void
put_row(const struct profile_entity *e, struct span row, char **at)
{
	struct json_iter it;
	struct span key, value;
	const char *comma = "";

	json_iter_init(&it, row);
	put(at, "{", 1);
	while (json_next(&it, &key, &value)) {
		if (key_is_local(e, key))
			continue;
		put_member(at, comma, key);
		put(at, value.p, value.len);
		comma = ",";
	}
	put(at, "}", 1);
}

static bool
is_row(struct span key)
{
	return json_string_is(key, "new_data") || json_string_is(key, "previous_data");
}

/*
 * Cut the fields that belong to one machine out of the payload, in its place.
 * It stays the bytes that came where there are none.
 */
static void
cut_local(const struct profile_entity *e, struct event *ev)
{
	struct json_iter it;
	struct span key, value;
	char *start = (char *)(uintptr_t)ev->payload.p, *at = start; /* the body is ours */
	const char *comma = "";
	bool local = false, row;

	json_iter_init(&it, ev->payload);
	while (!local && json_next(&it, &key, &value))
		local = is_row(key) && has_local(e, value);
	if (!local)
		return;
	json_iter_init(&it, ev->payload);
	put(&at, "{", 1);
	while (json_next(&it, &key, &value)) {
		row = is_row(key) && json_type(value) == JSON_OBJECT;
		put_member(&at, comma, key); /* which moves the key */
		if (row)
			put_row(e, value, &at);
		else
			put(&at, value.p, value.len);
		comma = ",";
	}
	put(&at, "}", 1);
	ev->payload.len = (size_t)(at - start);
}

static bool
has_local_columns(const struct profile_entity *e)
{
	for (const struct profile_column *c = e->columns; c->name != NULL; c++)
		if (c->flags & PROFILE_LOCAL)
			return true;
	return false;
}

/*
 * The timestamp in the one spelling that every parser takes: Go's, which
 * judges it on its way in, lets one-digit hours and decimal commas pass, but
 * not when it reads them from JSON. What is spelt well stays as it came.
 */
static enum rc
spell_time(struct push *p, struct event *ev, struct instant at, struct err *err)
{
	struct buf *b = &p->scratch, *mine;

	buf_reset(b);
	time_add_rfc3339(b, at);
	if (!b->failed && span_eq(buf_span(b), ev->time))
		return RC_OK;
	if ((mine = own(p)) == NULL)
		return no_memory(err);
	time_add_rfc3339(mine, at);
	ev->time = buf_span(mine);
	return mine->failed ? no_memory(err) : RC_OK;
}

/* RC_INVALID: the event is malformed; what is merely refused is rejected. */
static enum rc
judge_event(struct push *p, struct item *it, struct err *err)
{
	const struct profile_entity *entity;
	struct event *ev = &it->ev;
	const struct span *v = it->value;
	struct span action;
	struct instant at;
	int64_t us;
	enum rc rc;

	if (it->type != JSON_OBJECT && it->type != JSON_NULL)
		return err_set(err, RC_INVALID, "invalid json body: an event must be an object");
	if (it->twice >= 0)
		return err_set(err, RC_INVALID, "invalid json body: an event has %s twice",
		               members[it->twice]);
	if (json_type(v[M_ACTION_ID]) != JSON_NULL &&
	    !json_int64(v[M_ACTION_ID], &ev->action_id))
		return err_set(err, RC_INVALID,
		               "invalid json body: client_action_id must be an integer");
	ev->device = p->device;
	ev->session = p->session;
	if ((rc = text(p, v[M_ACTION], "action_type", &action, err)) != RC_OK ||
	    (rc = text(p, v[M_TYPE], "entity_type", &ev->type, err)) != RC_OK ||
	    (rc = id_text(p, v[M_ID], "entity_id", &ev->id, err)) != RC_OK ||
	    (rc = text(p, v[M_TIME], "client_timestamp", &ev->time, err)) != RC_OK ||
	    (rc = judge_type(p->profile, p->rules.refuse_unknown, ev, &entity, err)) != RC_OK)
		return rc;
	ev->action = profile_action(p->profile, action);
	if (!time_parse_rfc3339(ev->time, &at))
		return err_set(err, RC_INVALID, "invalid timestamp for action %" PRId64,
		               ev->action_id);
	ev->payload = v[M_PAYLOAD];
	if (ev->id.len == 0)
		it->reason = "empty entity_id";
	else if (ev->payload.len == 0)
		it->reason = "missing payload";
	if (it->reason != NULL)
		return RC_OK;
	if ((rc = spell_time(p, ev, at, err)) != RC_OK)
		return rc;
	if (entity != NULL && sets_nothing(entity, ev->action, it->new_data))
		ev->parked = true;
	if (entity != NULL && has_local_columns(entity)) {
		cut_local(entity, ev);
		it->rewritten = true;
	}
	us = at.sec * 1000000 + at.nsec / 1000;
	if (us > p->newest_us)
		p->newest_us = us;
	if ((rc = event_digest(ev, at, &p->scratch)) != RC_OK)
		return no_memory(err);
	return RC_OK;
}

/* --- judging: the push --- */

static enum rc
judge_envelope(struct push *p, const struct span v[E__MAX], struct err *err)
{
	enum rc rc;

	if (json_type(v[E_EVENTS]) != JSON_ARRAY && json_type(v[E_EVENTS]) != JSON_NULL)
		return err_set(err, RC_INVALID, "invalid json body: events must be an array");
	if ((rc = id_text(p, v[E_DEVICE], "device_id", &p->device, err)) != RC_OK ||
	    (rc = id_text(p, v[E_SESSION], "session_id", &p->session, err)) != RC_OK)
		return rc;
	if (p->device.len == 0)
		return err_set(err, RC_INVALID, "device_id is required");
	if (p->session.len == 0)
		return err_set(err, RC_INVALID, "session_id is required");
	if (span_is(p->device, PUSH_SERVER_DEVICE))
		return err_set(err, RC_INVALID, "device_id " PUSH_SERVER_DEVICE " is the server's own");
	if (p->n == 0)
		return err_set(err, RC_INVALID, "events array is empty");
	if (p->n > PUSH_MAX_EVENTS)
		return err_set(err, RC_INVALID, "batch size %zu exceeds max %d", p->n,
		               PUSH_MAX_EVENTS);
	return RC_OK;
}

/* Refuse one event for a reason that the error text holds. */
static enum rc
reject(struct push *p, struct item *it, const struct err *why)
{
	struct buf *b = own(p);

	if (b == NULL)
		return RC_FAULT;
	buf_add_str(b, why->text);
	it->reason = buf_cstr(b);
	return it->reason == NULL ? RC_FAULT : RC_OK;
}

static enum rc
judge_events(struct push *p, struct err *err)
{
	struct err why;
	enum rc rc;

	for (size_t i = 0; i < p->n; i++) {
		rc = judge_event(p, &p->items[i], &why);
		if (rc == RC_INVALID && p->rules.lenient) {
			if (reject(p, &p->items[i], &why) != RC_OK)
				return no_memory(err);
		} else if (rc != RC_OK) {
			return err_set(err, rc, "%s", why.text);
		}
	}
	return RC_OK;
}

enum rc
push_parse(struct buf *body, const struct profile *profile, struct push_rules rules,
           struct push **out, struct err *err)
{
	struct push *p = calloc(1, sizeof(*p));
	struct span v[E__MAX] = { { 0 } };
	enum rc rc;

	*out = NULL;
	if (p == NULL)
		return no_memory(err);
	p->profile = profile;
	p->rules = rules;
	rc = read_body(p, buf_span(body), v, err);
	if (rc == RC_OK)
		rc = judge_envelope(p, v, err);
	if (rc == RC_OK)
		rc = judge_events(p, err);
	if (rc != RC_OK) {
		push_free(p);
		return rc;
	}
	*out = p;
	return RC_OK;
}

/* Whether nothing is to be appended for it. */
static bool
is_settled(const struct item *it)
{
	return it->reason != NULL || it->duplicate;
}

/* --- what another server has taken --- */

enum rc
push_adopt(const struct profile *profile, struct event *ev, struct buf *scratch,
           struct err *err)
{
	const struct profile_entity *entity;
	struct span value, rest, new_data;
	struct instant at;
	enum rc rc = judge_type(profile, false, ev, &entity, err);

	if (rc != RC_OK)
		return rc;
	if (ev->id.len == 0)
		return err_set(err, RC_INVALID, "empty entity_id");
	if (!time_parse_rfc3339(ev->time, &at))
		return err_set(err, RC_INVALID, "its time is not RFC 3339");
	if ((rc = json_scan(ev->payload, JSON_MAX_DEPTH, &value, &rest, err)) != RC_OK)
		return rc;
	if (value.len != ev->payload.len)
		return err_set(err, RC_INVALID, "its payload is not one JSON value alone");
	json_get(ev->payload, "new_data", &new_data);
	if (entity != NULL && sets_nothing(entity, ev->action, new_data))
		ev->parked = true;
	if (event_digest(ev, at, scratch) != RC_OK)
		return no_memory(err);
	return RC_OK;
}

/*
 * A retry of what came from a Go server, where it was stored in another spelling: the
 * digest is of that one (design.md, "The idempotency key is what happened").
 */
static enum rc
find_rewritten(struct push *p, struct item *it, struct events *log, int64_t moved_to,
               struct err *err)
{
	struct event stored = it->ev;
	struct buf payload = { 0 };
	struct instant at;
	enum rc rc = RC_OK;

	if (!time_parse_rfc3339(stored.time, &at) || !gojson_add(stored.payload, &payload)) {
		buf_free(&payload); /* the Go server refused it */
		return RC_OK;
	}
	stored.payload = buf_span(&payload);
	if (payload.failed || event_digest(&stored, at, &p->scratch) != RC_OK)
		rc = no_memory(err);
	else
		rc = events_find(log, &stored, &it->seq, err);
	if (it->seq > moved_to) /* pushed here: judged as it came */
		it->seq = 0;
	it->duplicate = it->seq != 0;
	buf_free(&payload);
	return rc;
}

/* Find what the log has from a Go server. Before anything is appended. */
static enum rc
find_moved(struct push *p, struct events *log, struct err *err)
{
	int64_t moved_to = -1; /* not asked for yet */
	enum rc rc = RC_OK;

	for (size_t i = 0; i < p->n && rc == RC_OK && moved_to != 0; i++) {
		if (!p->items[i].rewritten || is_settled(&p->items[i]))
			continue;
		if (moved_to < 0)
			rc = events_moved_to(log, &moved_to, err);
		if (rc == RC_OK && moved_to != 0)
			rc = find_rewritten(p, &p->items[i], log, moved_to, err);
	}
	return rc;
}

/* --- what is known --- */

static bool
may_be_known(const struct item *it)
{
	return it->reason == NULL && !it->ev.parked && it->ev.action == ACTION_CREATE &&
	       it->new_data.len > 0;
}

/* Whether the log's event says the same of the same entity. */
static bool
is_same_row(const struct item *it, const struct event *last)
{
	struct span new_data;

	return (last->action == ACTION_CREATE || last->action == ACTION_UPDATE) &&
	       span_eq(last->type, it->ev.type) && span_eq(last->id, it->ev.id) &&
	       json_get(last->payload, "new_data", &new_data) &&
	       json_equal(new_data, it->new_data);
}

/* Whether the last event about the row says it already; *seq: which that is, or, of a
 * retry, the event itself. */
static enum rc
find_known(const struct item *it, struct follower *f, struct events *log, int64_t *seq,
           struct err *err)
{
	struct event last;
	int64_t itself = 0;
	enum rc rc = follower_last(f, it->ev.type, it->ev.id, seq, err);

	if (rc != RC_OK || *seq == 0)
		return rc;
	rc = events_get(log, *seq, &last, err);
	if (rc != RC_OK || !is_same_row(it, &last))
		*seq = 0;
	events_got(log);
	if (rc == RC_OK && *seq != 0 && (rc = events_find(log, &it->ev, &itself, err)) == RC_OK &&
	    itself != 0)
		*seq = itself;
	return rc == RC_NOT_FOUND ? RC_OK : rc; /* of another log */
}

/* Whether an earlier event of the push may change what is known of the i-th. */
static bool
is_touched(const struct push *p, size_t i)
{
	const struct event *ev = &p->items[i].ev;

	for (size_t k = 0; k < i; k++) {
		const struct item *it = &p->items[k];

		if (it->reason == NULL && !it->duplicate &&
		    (it->ev.action == ACTION_DELETE ||
		     (span_eq(it->ev.id, ev->id) && span_eq(it->ev.type, ev->type))))
			return true;
	}
	return false;
}

/* The next create from the i-th event on; n: none. */
static size_t
next_create(const struct push *p, size_t i)
{
	while (i < p->n && !may_be_known(&p->items[i]))
		i++;
	return i;
}

/*
 * Whether it is worth the while to look at each: td sends all of its backfill again,
 * so of some creates from all over the push one is known then.
 */
static enum rc
find_some(const struct push *p, struct follower *f, struct events *log, bool *any,
          struct err *err)
{
	enum rc rc = RC_OK;

	*any = false;
	for (size_t k = 0; k < SOME && !*any && rc == RC_OK; k++) {
		size_t i = next_create(p, p->n * k / SOME);
		int64_t seq = 0;

		if (i < p->n)
			rc = find_known(&p->items[i], f, log, &seq, err);
		*any = seq != 0;
	}
	return rc;
}

enum rc
push_find_known(struct push *p, struct follower *f, struct events *log, struct err *err)
{
	bool any;
	enum rc rc;

	if (next_create(p, 0) == p->n || follower_open(f, log, NULL) != RC_OK)
		return RC_OK;
	if ((rc = find_some(p, f, log, &any, err)) != RC_OK || !any ||
	    state_hold(follower_state(f), log, NULL) != RC_OK)
		return rc;
	p->known_at = state_seq(follower_state(f));
	for (size_t i = next_create(p, 0); i < p->n && rc == RC_OK; i = next_create(p, i + 1)) {
		int64_t seq = 0;

		rc = find_known(&p->items[i], f, log, &seq, err);
		if (seq != 0 && !is_touched(p, i)) {
			p->items[i].duplicate = true;
			p->items[i].seq = seq;
		}
	}
	state_let_go(follower_state(f));
	return rc;
}

/* What was known counts where the log has ended there; else it may not be so any
 * more. Before anything is appended. */
static enum rc
doubt_known(struct push *p, struct events *log, struct err *err)
{
	struct events_head head;
	enum rc rc;

	if (p->known_at == 0)
		return RC_OK;
	if ((rc = events_head(log, &head, err)) != RC_OK || head.visible == p->known_at)
		return rc;
	for (size_t i = 0; i < p->n; i++)
		if (p->items[i].duplicate) {
			p->items[i].duplicate = false;
			p->items[i].seq = 0;
		}
	p->known_at = 0;
	return RC_OK;
}

/* --- quotas --- */

/*
 * What a push adds to the log: at most, or, with a look at the log for each event,
 * exactly. (An event that is in the push twice counts twice: whoever sends half of it
 * is let in.)
 */
static enum rc
growth(const struct push *p, struct events *log, bool exactly, int64_t *events,
       int64_t *bytes, struct err *err)
{
	*events = *bytes = 0;
	for (size_t i = 0; i < p->n; i++) {
		const struct item *it = &p->items[i];
		int64_t seq = 0;
		enum rc rc;

		if (is_settled(it))
			continue;
		if (exactly && (rc = events_find(log, &it->ev, &seq, err)) != RC_OK)
			return rc;
		if (seq != 0)
			continue;
		++*events;
		*bytes += (int64_t)it->ev.payload.len;
	}
	return RC_OK;
}

static enum rc
judge_growth(const struct push_rules *rules, int64_t count, int64_t size, int64_t events,
             int64_t bytes, struct err *err)
{
	if (events > 0 && rules->max_events > 0 && count + events > rules->max_events)
		return err_set(err, RC_QUOTA, "The project has %" PRId64 " of the %" PRId64
		               " events that it may have (max_project_events): nothing was taken. "
		               "Ask whoever runs the server for more room, or begin a new project.",
		               count, rules->max_events);
	if (events > 0 && rules->max_bytes > 0 && size + bytes > rules->max_bytes)
		return err_set(err, RC_QUOTA, "The project has %" PRId64 " of the %" PRId64
		               " bytes that it may have (max_project_bytes): nothing was taken. "
		               "Ask whoever runs the server for more room, or begin a new project.",
		               size, rules->max_bytes);
	return RC_OK;
}

/* Whether there is room for it. Under the log's lock; only where there may be too
 * little of it is each event looked for. */
static enum rc
check_quotas(const struct push *p, struct events *log, struct err *err)
{
	const struct push_rules *rules = &p->rules;
	int64_t size, events, bytes;
	struct events_head head;
	enum rc rc;

	if (rules->max_events == 0 && rules->max_bytes == 0)
		return RC_OK;
	if ((rc = events_head(log, &head, err)) != RC_OK ||
	    (rc = events_bytes(log, &size, err)) != RC_OK ||
	    (rc = growth(p, log, false, &events, &bytes, err)) != RC_OK ||
	    judge_growth(rules, head.count, size, events, bytes, NULL) == RC_OK ||
	    (rc = growth(p, log, true, &events, &bytes, err)) != RC_OK)
		return rc;
	return judge_growth(rules, head.count, size, events, bytes, err);
}

/* --- appending --- */

/* Append all that was not rejected; in an open transaction. */
static enum rc
append_items(struct push *p, struct events *log, struct span user, int64_t now_us,
             struct err *err)
{
	for (size_t i = 0; i < p->n; i++) {
		struct item *it = &p->items[i];
		enum rc rc;

		if (is_settled(it))
			continue;
		it->ev.user = user;
		it->ev.server_us = now_us;
		rc = events_append(log, &it->ev, &it->seq, err);
		if (rc != RC_OK && rc != RC_DUPLICATE)
			return rc;
		it->duplicate = rc == RC_DUPLICATE;
	}
	return RC_OK;
}

static void
write_ack(struct buf *b, const struct item *it)
{
	buf_add_str(b, "{\"client_action_id\":");
	buf_add_int(b, it->ev.action_id);
	if (it->duplicate || it->reason != NULL) {
		buf_add_str(b, ",\"reason\":");
		buf_add_json(b, span_of(it->duplicate ? "duplicate" : it->reason));
	}
	if (it->seq > 0) {
		buf_add_str(b, ",\"server_seq\":");
		buf_add_int(b, it->seq);
	}
	buf_add_byte(b, '}');
}

/* The acks, or the rejections, with commas between. */
static void
write_acks(const struct push *p, bool rejected, struct buf *b)
{
	size_t n = 0;

	for (size_t i = 0; i < p->n; i++) {
		const struct item *it = &p->items[i];

		if ((it->duplicate || it->reason != NULL) != rejected)
			continue;
		if (n++ > 0)
			buf_add_byte(b, ',');
		write_ack(b, it);
	}
}

static size_t
write_answer(const struct push *p, struct buf *b)
{
	size_t accepted = 0;

	for (size_t i = 0; i < p->n; i++)
		accepted += !p->items[i].duplicate && p->items[i].reason == NULL;
	buf_add_str(b, "{\"accepted\":");
	buf_add_int(b, (int64_t)accepted);
	buf_add_str(b, ",\"acks\":");
	if (accepted > 0) {
		buf_add_byte(b, '[');
		write_acks(p, false, b);
		buf_add_byte(b, ']');
	} else {
		buf_add_str(b, "null"); /* as the Go server */
	}
	if (accepted < p->n) {
		buf_add_str(b, ",\"rejected\":[");
		write_acks(p, true, b);
		buf_add_byte(b, ']');
	}
	buf_add_str(b, "}\n");
	return accepted;
}

static size_t
count_duplicates(const struct push *p)
{
	size_t n = 0;

	for (size_t i = 0; i < p->n; i++)
		n += p->items[i].duplicate;
	return n;
}

static bool
all_settled(const struct push *p)
{
	for (size_t i = 0; i < p->n; i++)
		if (!is_settled(&p->items[i]))
			return false;
	return true;
}

enum rc
push_append(struct push *p, struct events *log, struct span user, int64_t now_us,
            int64_t deadline_ms, struct buf *answer, size_t *accepted, struct err *err)
{
	struct events_head head;
	bool write;
	size_t n;
	enum rc rc;

	if (accepted != NULL)
		*accepted = 0;
	buf_reset(answer);
	if ((rc = doubt_known(p, log, err)) != RC_OK)
		return rc;
	write = !all_settled(p);
	rc = write ? events_begin(log, deadline_ms, err) : events_head(log, &head, err);
	if (rc != RC_OK)
		return rc;
	if (write && (rc = doubt_known(p, log, err)) == RC_OK &&
	    (rc = find_moved(p, log, err)) == RC_OK &&
	    (rc = check_quotas(p, log, err)) == RC_OK)
		rc = append_items(p, log, user, now_us, err);
	/* Written before COMMIT, so that nothing can fail after it. */
	n = write_answer(p, answer);
	if (rc == RC_OK && answer->failed)
		rc = no_memory(err);
	if (write && rc == RC_OK)
		rc = events_commit(log, err);
	else if (write)
		events_rollback(log);
	if (rc != RC_OK) {
		buf_reset(answer);
		return rc;
	}
	metrics_add(METRIC_EVENTS_ACCEPTED, n);
	metrics_add(METRIC_EVENTS_DUPLICATE, count_duplicates(p));
	if (accepted != NULL)
		*accepted = n;
	return RC_OK;
}
