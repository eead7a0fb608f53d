#include "check.h"

#include "clobber.h"
#include "compare.h"

#include "base/fs.h"
#include "base/hash.h"
#include "base/json.h"
#include "engine/apply.h"
#include "engine/cause.h"
#include "store/state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- the log, in memory --- */

struct logged {
	struct event ev;
	unsigned char key[HASH_LEN]; /* what happened, by our own reckoning */
};

struct log {
	struct logged *at;     /* in order of seq */
	size_t n, cap;
	struct events_head head;
	const struct profile *profile;
};

static struct span
copy(struct span s)
{
	char *p = span_dup(s);

	if (p == NULL)
		die("out of memory");
	return (struct span){ p, s.len };
}

static void
uncopy(struct span s)
{
	free((void *)(uintptr_t)s.p);
}

static enum rc
visit_event(void *ctx, const struct event *ev, bool *stop)
{
	struct log *l = ctx;
	struct event *e;

	(void)stop;
	if (l->n == l->cap) {
		l->cap = l->cap ? l->cap * 2 : 256;
		if ((l->at = realloc(l->at, l->cap * sizeof(*l->at))) == NULL)
			die("out of memory");
	}
	e = &l->at[l->n++].ev;
	*e = *ev;
	e->device = copy(ev->device);
	e->session = copy(ev->session);
	e->user = copy(ev->user);
	e->type = copy(ev->type);
	e->id = copy(ev->id);
	e->payload = copy(ev->payload);
	e->time = copy(ev->time);
	return RC_OK;
}

static void
log_free(struct log *l)
{
	size_t i;

	for (i = 0; i < l->n; i++) {
		uncopy(l->at[i].ev.device);
		uncopy(l->at[i].ev.session);
		uncopy(l->at[i].ev.user);
		uncopy(l->at[i].ev.type);
		uncopy(l->at[i].ev.id);
		uncopy(l->at[i].ev.payload);
		uncopy(l->at[i].ev.time);
	}
	free(l->at);
}

/* Members that belong to one machine; the server cuts them out. */
static bool
local_member(struct span key)
{
	return json_string_is(key, "worktree_id") || json_string_is(key, "worktree_root") ||
	    json_string_is(key, "repo_root");
}

/* The payload in one spelling, without what is local. */
static void
canonical(struct span v, int depth, struct buf *out)
{
	struct span key, value;
	struct json_iter it;

	if (json_type(v) != JSON_OBJECT || depth == 3) {
		json_canonical(v, out);
		return;
	}
	buf_add_byte(out, '{');
	for (json_iter_init(&it, v); json_next(&it, &key, &value);) {
		if (local_member(key))
			continue;
		json_canonical(key, out);
		buf_add_byte(out, ':');
		canonical(value, depth + 1, out);
		buf_add_byte(out, ',');
	}
	buf_add_byte(out, '}');
}

/* The key of what happened: number, type, entity, action, instant, payload. */
static void
key_of(int64_t number, struct span type, struct span id, enum action action,
       struct span time, struct span payload, unsigned char key[HASH_LEN])
{
	const struct profile_entity *e = profile_entity(&profile_td, type);
	struct buf text = { 0 };
	struct instant at = { 0 };
	struct err err;
	struct span value;

	time_parse_any(time, &at);
	buf_addf(&text, "%lld|", (long long)number);
	buf_add_span(&text, e != NULL ? span_of(e->table) : type);
	buf_add_byte(&text, '|');
	buf_add_span(&text, id);
	buf_addf(&text, "|%s|%lld.%09d|", action_name(action), (long long)at.sec,
	    (int)at.nsec);
	if (json_scan(payload, JSON_MAX_DEPTH, &value, NULL, &err) == RC_OK)
		canonical(value, 0, &text);
	if (text.failed || hash_sha256(buf_span(&text), key) != RC_OK)
		die("no SHA-256");
	buf_free(&text);
}

static void
log_load(struct run *run, struct log *l)
{
	struct events *log;
	struct err err;
	char dir[700];
	size_t i;

	memset(l, 0, sizeof(*l));
	if (events_open(server_log(&run->server, dir), &log, &err) != RC_OK ||
	    events_walk(log, 0, INT64_MAX, true, &l->head, visit_event, l, &err) != RC_OK)
		die("%s", err.text);
	events_close(log);
	for (i = 0; i < l->n; i++)
		key_of(l->at[i].ev.action_id, l->at[i].ev.type, l->at[i].ev.id,
		    l->at[i].ev.action, l->at[i].ev.time, l->at[i].ev.payload, l->at[i].key);
	run->events = l->head.seq;
	for (run->servers = 0, i = 0; i < l->n; i++)
		run->servers += l->at[i].ev.by_server;
}

/* What the server itself wrote, and why. */
static void
tell_healed(struct run *run, const struct event *e)
{
	static const char *const keys[] = { CAUSE_SEQ, CAUSE_REASON };
	struct buf reason = { 0 };
	struct span payload, v[2];
	int64_t cause = 0;

	if (json_scan(e->payload, JSON_MAX_DEPTH, &payload, NULL, NULL) == RC_OK) {
		json_pick(payload, keys, 2, v);
		json_int64(v[0], &cause);
		json_string(v[1], &reason);
	}
	trace_line(&run->trace, "healed", "i:seq", e->seq, "s:action", action_name(e->action),
	    "b:type", e->type, "b:id", e->id, "i:cause", cause, "b:reason", buf_span(&reason),
	    NULL);
	buf_free(&reason);
}

static void
tell_log(struct run *run, const struct log *l)
{
	size_t i;

	for (i = 0; i < l->n; i++) {
		const struct event *e = &l->at[i].ev;

		trace_line(&run->trace, "event", "i:seq", e->seq, "b:device", e->device,
		    "i:action_id", e->action_id, "b:type", e->type, "b:id", e->id, "s:action",
		    action_name(e->action), "b:time", e->time, "i:parked",
		    (int64_t)e->parked, NULL);
		if (e->by_server)
			tell_healed(run, e);
	}
}

/* --- the log by itself --- */

static int
by_key(const void *a, const void *b)
{
	return memcmp(((const struct logged *)a)->key, ((const struct logged *)b)->key,
	    HASH_LEN);
}

static bool
check_numbers(struct run *run, const struct log *l)
{
	size_t i;

	for (i = 0; i < l->n; i++)
		if (l->at[i].ev.seq != (int64_t)i + 1)
			return run_fail(run, "log: seq %lld where %zu was due",
			    (long long)l->at[i].ev.seq, i + 1);
	if (l->head.seq != (int64_t)l->n || l->head.count != (int64_t)l->n)
		return run_fail(run, "log: %zu events, but the head says seq %lld, count %lld",
		    l->n, (long long)l->head.seq, (long long)l->head.count);
	return true;
}

static bool
check_once(struct run *run, const struct log *l)
{
	struct logged *sorted = malloc((l->n + 1) * sizeof(*sorted));
	size_t i;
	bool ok = true;

	if (sorted == NULL)
		die("out of memory");
	if (l->n > 0)
		memcpy(sorted, l->at, l->n * sizeof(*sorted));
	qsort(sorted, l->n, sizeof(*sorted), by_key);
	for (i = 1; i < l->n && ok; i++)
		if (by_key(&sorted[i - 1], &sorted[i]) == 0 && sorted[i].ev.action_id != 0)
			ok = run_fail(run, "log: the same event twice, seq %lld and %lld",
			    (long long)sorted[i - 1].ev.seq, (long long)sorted[i].ev.seq);
	free(sorted);
	return ok;
}

/* --- the log against the wire --- */

/* An event of a push as it was sent: its number and its key. */
struct item {
	unsigned char key[HASH_LEN];
	int64_t number;
	size_t seq;            /* by check_sent(): its place */
	struct span event;     /* as it was sent */
};
struct items {
	struct item *at;
	size_t n;
};

/* A string member of an event, decoded into out. */
static struct span
text_of(struct span object, const char *name, struct buf *out)
{
	struct span v;

	buf_reset(out);
	if (json_get(object, name, &v))
		json_string(v, out);
	return buf_span(out);
}

/* Read a push that was sent. Free items->at. */
static bool
read_push(struct span body, struct items *items)
{
	struct buf type = { 0 }, id = { 0 }, action = { 0 }, time = { 0 };
	struct span root, events, key, ev, payload, v;
	struct json_iter it;
	struct item *item;

	memset(items, 0, sizeof(*items));
	if (json_scan(body, JSON_MAX_DEPTH, &root, NULL, NULL) != RC_OK ||
	    !json_get(root, "events", &events))
		return false;
	for (json_iter_init(&it, events); json_next(&it, &key, &ev);)
		items->n++;
	if ((items->at = calloc(items->n + 1, sizeof(*items->at))) == NULL)
		die("out of memory");
	item = items->at;
	for (json_iter_init(&it, events); json_next(&it, &key, &ev); item++) {
		if (json_get(ev, "client_action_id", &v))
			json_int64(v, &item->number);
		item->event = ev;
		json_get(ev, "payload", &payload);
		key_of(item->number, text_of(ev, "entity_type", &type),
		    text_of(ev, "entity_id", &id),
		    profile_action(&profile_td, text_of(ev, "action_type", &action)),
		    text_of(ev, "client_timestamp", &time), payload, item->key);
	}
	buf_free(&type);
	buf_free(&id);
	buf_free(&action);
	buf_free(&time);
	return true;
}

struct wire {
	struct run *run;
	const struct log *log;
	struct item *places;   /* the log's keys, sorted */
	unsigned char *seen;   /* by seq - 1: it was sent */
	int64_t acks;
};

static int
by_item(const void *a, const void *b)
{
	return memcmp(a, b, HASH_LEN);
}

/* Mark what a push sent. */
static bool
visit_sent(void *ctx, const struct exchange *x)
{
	struct wire *w = ctx;
	struct items items;
	const struct item *at;
	size_t i;

	if (x->status != 0) /* the same bytes were noted before they were sent */
		return true;
	if (!read_push(x->sent, &items))
		return run_fail(w->run, "%s: sent something that is no push", x->device);
	for (i = 0; i < items.n; i++) {
		at = bsearch(&items.at[i], w->places, w->log->n, sizeof(*w->places), by_item);
		if (at != NULL)
			w->seen[at->seq - 1] = 1;
	}
	free(items.at);
	return true;
}

/* Whether the server made it for somebody who restored a conflict. */
static bool
puts_back(const struct event *ev)
{
	struct span payload, v;

	return json_scan(ev->payload, JSON_MAX_DEPTH, &payload, NULL, NULL) == RC_OK &&
	    json_get(payload, "restored_conflict", &v);
}

static bool
check_sent(struct run *run, const struct log *l)
{
	struct wire w = { run, l, calloc(l->n + 1, sizeof(*w.places)),
	    calloc(l->n + 1, 1), 0 };
	size_t i;
	bool ok;

	if (w.places == NULL || w.seen == NULL)
		die("out of memory");
	for (i = 0; i < l->n; i++) {
		memcpy(w.places[i].key, l->at[i].key, HASH_LEN);
		w.places[i].seq = i + 1;
	}
	qsort(w.places, l->n, sizeof(*w.places), by_item);
	ok = faults_pushes(run, visit_sent, &w);
	for (i = 0; i < l->n && ok; i++)
		if (!w.seen[i] && !l->at[i].ev.by_server && !puts_back(&l->at[i].ev))
			ok = run_fail(run, "log: seq %zu (%.*s) was never sent", i + 1,
			    (int)l->at[i].ev.id.len, l->at[i].ev.id.p);
	free(w.places);
	free(w.seen);
	return ok;
}

/* Whether the log has anything about an entity. */
static bool
is_known(const struct log *l, struct span id)
{
	size_t i;

	for (i = 0; i < l->n; i++)
		if (span_eq(l->at[i].ev.id, id))
			return true;
	return false;
}

/*
 * What a log acked that another took the place of: the numbers were that
 * one's, but no issue is lost (td never deletes one for good).
 */
static bool
check_former(struct wire *w, const struct exchange *x)
{
	struct span root, events, key, ev;
	struct buf type = { 0 }, id = { 0 };
	struct json_iter it;
	bool ok = true;

	if (json_scan(x->sent, JSON_MAX_DEPTH, &root, NULL, NULL) != RC_OK ||
	    !json_get(root, "events", &events))
		return run_fail(w->run, "%s: sent something that is no push", x->device);
	for (json_iter_init(&it, events); ok && json_next(&it, &key, &ev);)
		if (span_is(text_of(ev, "entity_type", &type), "issues") &&
		    !is_known(w->log, text_of(ev, "entity_id", &id)))
			ok = run_fail(w->run, "%s: issue %.*s was acked, then lost with the log",
			    x->device, (int)id.len, id.p);
	buf_free(&type);
	buf_free(&id);
	w->acks++;
	return ok;
}

/* Whether a create was there already, by another event that is of the same row. */
static bool
is_known_create(const struct item *item, const struct event *logged)
{
	struct buf type = { 0 }, id = { 0 }, action = { 0 };
	struct span payload, sent, has;
	bool known;

	known = span_is(text_of(item->event, "action_type", &action), "create") &&
	    span_eq(text_of(item->event, "entity_type", &type), logged->type) &&
	    span_eq(text_of(item->event, "entity_id", &id), logged->id) &&
	    json_get(item->event, "payload", &payload) &&
	    json_get(payload, "new_data", &sent) &&
	    json_get(logged->payload, "new_data", &has) && json_equal(sent, has);
	buf_free(&type);
	buf_free(&id);
	buf_free(&action);
	return known;
}

/* An ack names an event of its push and its place in the log. */
static bool
check_ack(struct wire *w, const struct exchange *x, const struct items *items,
          struct span ack)
{
	struct span v;
	int64_t number = 0, seq = 0;
	size_t i;

	if (json_get(ack, "client_action_id", &v))
		json_int64(v, &number);
	if (!json_get(ack, "server_seq", &v) || !json_int64(v, &seq))
		return run_fail(w->run, "%s: an answer without a seq: %.*s", x->device,
		    (int)ack.len, ack.p);
	w->acks++;
	if (seq < 1 || seq > (int64_t)w->log->n)
		return run_fail(w->run, "%s: action %lld was acked as seq %lld, the log ends"
		    " at %zu", x->device, (long long)number, (long long)seq, w->log->n);
	for (i = 0; i < items->n && items->at[i].number != number; i++)
		;
	if (i == items->n)
		return run_fail(w->run, "%s: an ack for action %lld, which was not sent",
		    x->device, (long long)number);
	if (memcmp(items->at[i].key, w->log->at[seq - 1].key, HASH_LEN) != 0 &&
	    !(json_get(ack, "reason", &v) &&
	      is_known_create(&items->at[i], &w->log->at[seq - 1].ev)))
		return run_fail(w->run, "%s: action %lld was acked as seq %lld, which is"
		    " another event (%.*s)", x->device, (long long)number, (long long)seq,
		    (int)w->log->at[seq - 1].ev.id.len, w->log->at[seq - 1].ev.id.p);
	return true;
}

/* What a server's answer to a push promises. */
static bool
visit_answer(void *ctx, const struct exchange *x)
{
	struct wire *w = ctx;
	struct span root, list, key, one, reason;
	struct json_iter it;
	struct items items;
	bool ok = true;

	if (x->status != 200)
		return true;
	if (x->log != w->run->log)
		return check_former(w, x);
	if (!read_push(x->sent, &items) ||
	    json_scan(x->answer, JSON_MAX_DEPTH, &root, NULL, NULL) != RC_OK)
		return run_fail(w->run, "%s: the answer to a push is no JSON", x->device);
	json_get(root, "acks", &list);
	for (json_iter_init(&it, list); ok && json_next(&it, &key, &one);)
		ok = check_ack(w, x, &items, one);
	json_get(root, "rejected", &list);
	for (json_iter_init(&it, list); ok && json_next(&it, &key, &one);) {
		if (!json_get(one, "reason", &reason) || !json_string_is(reason, "duplicate"))
			ok = run_fail(w->run, "%s: refused: %.*s", x->device, (int)one.len,
			    one.p);
		else
			ok = check_ack(w, x, &items, one);
	}
	free(items.at);
	return ok;
}

static bool
check_acks(struct run *run, const struct log *l)
{
	struct wire w = { .run = run, .log = l };

	if (!faults_pushes(run, visit_answer, &w))
		return false;
	if (w.acks == 0 && l->n > 0)
		return run_fail(run, "%zu events in the log, but no ack was seen", l->n);
	return true;
}

/* --- the replicas' books --- */

/* Whether an event has the row that an entry creates: it was there already. */
static bool
is_known_row(struct span row, const struct event *ev)
{
	struct span v, has;

	return json_scan(row, JSON_MAX_DEPTH, &v, NULL, NULL) == RC_OK &&
	    json_get(ev->payload, "new_data", &has) && json_equal(v, has);
}

/* An entry of a replica's action log against the event it became. */
static bool
check_entry(struct run *run, const struct replica *r, const struct log *l,
            sqlite3_stmt *st)
{
	int64_t rowid = sqlite3_column_int64(st, 0), seq = sqlite3_column_int64(st, 1);
	struct span id = sql_col(st, 2), type = sql_col(st, 3), action = sql_col(st, 4);
	const struct profile_entity *e = profile_entity(&profile_td, type);
	enum action local = profile_local_action(&profile_td, action);
	const struct event *ev;

	if (e == NULL)
		return true;
	if (run->log > 0) /* its number may be of a log before */
		return !span_is(span_of(e->table), "issues") || is_known(l, id) ||
		    run_fail(run, "%s: issue %.*s is not in the log", r->name, (int)id.len,
		    id.p);
	if (seq < 1 || seq > (int64_t)l->n)
		return run_fail(run, "%s: action %lld (%.*s %.*s) is not in the log: seq %lld",
		    r->name, (long long)rowid, (int)action.len, action.p, (int)id.len, id.p,
		    (long long)seq);
	ev = &l->at[seq - 1].ev;
	if (!span_eq(ev->id, id) || !span_is(ev->type, e->table) ||
	    (ev->action != local && !(local == ACTION_CREATE &&
	     is_known_row(sql_col(st, 6), ev))))
		return run_fail(run, "%s: action %lld (%.*s %.*s) says seq %lld, which is"
		    " %s %.*s", r->name, (long long)rowid, (int)action.len, action.p,
		    (int)id.len, id.p, (long long)seq, action_name(ev->action),
		    (int)ev->id.len, ev->id.p);
	return true;
}

static bool
check_books(struct run *run, const struct replica *r, const struct log *l)
{
	sqlite3 *db = sql_open(r->db, false);
	sqlite3_stmt *st;
	int64_t cursor;
	bool ok = true;

	st = sql_prepare(db, "SELECT rowid, server_seq, entity_id, entity_type, action_type,"
	    " synced_at, new_data FROM action_log WHERE undone = 0 OR synced_at IS NOT NULL"
	    " ORDER BY rowid", "");
	while (ok && sql_next(&st)) {
		if (sqlite3_column_type(st, 5) == SQLITE_NULL)
			ok = run_fail(run, "%s: action %lld is still pending", r->name,
			    (long long)sqlite3_column_int64(st, 0));
		else
			ok = check_entry(run, r, l, st);
	}
	sqlite3_finalize(st);
	cursor = sql_int(db, -1, "SELECT last_pulled_server_seq FROM sync_state", "");
	if (ok && cursor != l->head.visible)
		ok = run_fail(run, "%s: td's cursor is %lld, the log's last event %lld",
		    r->name, (long long)cursor, (long long)l->head.visible);
	if (ok && sql_int(db, 0, "SELECT count(*) FROM pragma_integrity_check"
	    " WHERE integrity_check <> 'ok'", "") != 0)
		ok = run_fail(run, "%s: its database is damaged", r->name);
	sql_close(db);
	return ok;
}

/* --- what the server answers --- */

/* Have an answer to a GET. False (and the run fails) when it is none; free it in any
 * case. */
static bool
fetch(struct run *run, const char *path, struct transport_reply *reply)
{
	struct transport *t = server_connect(&run->server, 0);
	struct err err = { "" };
	struct transport_request rq = { .method = "GET", .path = path,
	    .token = run->server.tokens[0], .timeout_s = 30 };
	bool ok = t->send(t, &rq, reply, &err) == RC_OK && reply->status == 200;

	t->free(t);
	return ok || run_fail(run, "%s: status %d: %s", path, reply->status, err.text);
}

/* The server's list of conflicts; it lies in the reply. */
static bool
fetch_conflicts(struct run *run, struct transport_reply *reply, struct span *list)
{
	struct span root;
	char path[200];

	snprintf(path, sizeof(path), "/v1/projects/%s/sync/conflicts?limit=10000",
	    run->server.project);
	*list = (struct span){ 0 };
	if (!fetch(run, path, reply))
		return false;
	return (json_scan(buf_span(&reply->body), JSON_MAX_DEPTH, &root, NULL, NULL) == RC_OK &&
	    json_get(root, "conflicts", list)) || run_fail(run, "conflicts: not a list");
}

/* --- the log as it is served --- */

/* An event of a page against the log, member by member. */
static bool
check_served(struct run *run, const struct event *ev, struct span served)
{
	static const char *const names[] = { "device_id", "session_id", "action_type",
	    "entity_type", "entity_id", "client_timestamp" };
	const struct span want[] = { ev->device, ev->session,
	    span_of(action_name(ev->action)), ev->type, ev->id, ev->time };
	struct span v;
	struct buf text = { 0 };
	int64_t seq = 0, number = 0;
	size_t i;
	bool ok = true;

	if (json_get(served, "server_seq", &v))
		json_int64(v, &seq);
	if (json_get(served, "client_action_id", &v))
		json_int64(v, &number);
	if (seq != ev->seq || number != ev->action_id)
		return run_fail(run, "pull: seq %lld, action %lld where the log has %lld, %lld",
		    (long long)seq, (long long)number, (long long)ev->seq,
		    (long long)ev->action_id);
	for (i = 0; i < sizeof(want) / sizeof(want[0]) && ok; i++) {
		buf_reset(&text);
		if (!json_get(served, names[i], &v) || !json_string(v, &text) ||
		    !span_eq(buf_span(&text), want[i]))
			ok = run_fail(run, "pull: seq %lld has another %s: %.*s",
			    (long long)seq, names[i], (int)v.len, v.p);
	}
	buf_free(&text);
	if (ok && (!json_get(served, "payload", &v) || !span_eq(v, ev->payload)))
		ok = run_fail(run, "pull: seq %lld has another payload", (long long)seq);
	return ok;
}

/* One page against the log from *at on. */
static bool
check_page(struct run *run, const struct log *l, struct span body, size_t *at,
           int64_t *cursor, bool *more)
{
	struct span root, events, key, one, v;
	struct json_iter it;
	size_t n = 0;

	if (json_scan(body, JSON_MAX_DEPTH, &root, NULL, NULL) != RC_OK ||
	    !json_get(root, "events", &events) || json_type(events) != JSON_ARRAY)
		return run_fail(run, "pull: not a page: %.*s", (int)(body.len > 100 ? 100 :
		    body.len), body.p);
	for (json_iter_init(&it, events); json_next(&it, &key, &one); n++) {
		while (*at < l->n && l->at[*at].ev.parked)
			(*at)++;
		if (*at == l->n)
			return run_fail(run, "pull: an event beyond the log's end");
		if (!check_served(run, &l->at[*at].ev, one))
			return false;
		*cursor = l->at[(*at)++].ev.seq;
	}
	*more = json_get(root, "has_more", &v) && json_type(v) == JSON_TRUE;
	if (n == 0 && (*more || *cursor < l->head.visible))
		return run_fail(run, "pull: an empty page after seq %lld of %lld",
		    (long long)*cursor, (long long)l->head.visible);
	return true;
}

static bool
check_pull(struct run *run, const struct log *l)
{
	struct transport_reply reply = { 0 };
	char path[200];
	int64_t cursor = 0;
	size_t at = 0;
	bool more = true, ok = true;

	while (more && ok) {
		snprintf(path, sizeof(path), "/v1/projects/%s/sync/pull?after_server_seq=%lld",
		    run->server.project, (long long)cursor);
		transport_reply_free(&reply);
		memset(&reply, 0, sizeof(reply));
		ok = fetch(run, path, &reply) &&
		    check_page(run, l, buf_span(&reply.body), &at, &cursor, &more);
	}
	transport_reply_free(&reply);
	while (at < l->n && l->at[at].ev.parked)
		at++;
	if (ok && at != l->n)
		ok = run_fail(run, "pull: ends after seq %lld, the log has %zu events",
		    (long long)cursor, l->n);
	return ok;
}

/* --- the states --- */

void
check_tell_state(struct run *run, const char *who, sqlite3 *db, sqlite3 *cols)
{
	char hex[65];
	int64_t rows;
	int i;

	for (i = 0; compare_tables[i] != NULL; i++) {
		compare_digest(db, cols, compare_tables[i], hex, &rows);
		trace_line(&run->trace, "state", "s:who", who, "s:table", compare_tables[i],
		    "i:rows", rows, "s:digest", hex, NULL);
	}
}

static void
replay(sqlite3 *db, const struct log *l)
{
	struct applier *a;
	enum applied what;
	struct err err = { "" };
	size_t i;

	if (applier_new(db, "main", l->profile, &a, &err) != RC_OK)
		die("%s", err.text);
	clobber_begin(db);
	sql_run(db, "BEGIN", "");
	for (i = 0; i < l->n; i++) {
		const struct event *ev = &l->at[i].ev;

		if (ev->parked)
			continue;
		clobber_before(db, ev);
		if (applier_apply(a, ev, &what, &err) != RC_OK)
			die("seq %zu: %s", i + 1, err.text);
		clobber_after(db, ev);
	}
	applier_free(a);
	sql_run(db, "COMMIT", "");
}

static sqlite3 *
fresh(const char *path)
{
	sqlite3 *db = replica_empty(path, 38);

	sql_run(db, "PRAGMA foreign_keys = ON; INSERT INTO boards(id, name, is_builtin)"
	    " VALUES('bd-all-issues', 'All Issues', 1)", "");
	return db;
}

/* A database against what the log adds up to. */
static void
check_state(struct run *run, const char *who, sqlite3 *db, sqlite3 *want)
{
	struct difference d;

	check_tell_state(run, who, db, want);
	if (compare(db, want, &d))
		return;
	trace_line(&run->trace, "row", "s:replica", who, "s:table", d.table, "s:id", d.id,
	    "s:column", d.column, "s:here", d.left, "s:log", d.right, NULL);
	run_fail(run, "%s differs from what the log adds up to: %s %s %s: %s here, %s by the"
	    " log", who, d.table, d.id, d.column, d.left, d.right);
}

/* The server's own state, which has answered for the head of the log by now. */
static void
check_server(struct run *run, sqlite3 *want)
{
	char dir[700], path[800];
	sqlite3 *db;

	snprintf(path, sizeof(path), "%s/" STATE_DB, server_log(&run->server, dir));
	db = sql_open(path, false);
	check_state(run, "the server's state", db, want);
	sql_close(db);
}

/* A snapshot of the log's head. */
static void
check_snapshot(struct run *run, const struct log *l, sqlite3 *want)
{
	struct transport_reply reply = { 0 };
	struct err err = { "" };
	char path[200], file[PATH_LEN];
	sqlite3 *db;

	if (l->head.visible == 0)
		return;
	snprintf(path, sizeof(path), "/v1/projects/%s/sync/snapshot", run->server.project);
	if (!fetch(run, path, &reply))
		return;
	snprintf(file, sizeof(file), "%s/snapshot.db", run->dir);
	if (fs_write(file, buf_span(&reply.body), 0600, &err) != RC_OK)
		die("%s", err.text);
	transport_reply_free(&reply);
	db = sql_open(file, false);
	check_state(run, "a snapshot", db, want);
	sql_close(db);
}

static bool
check_states(struct run *run, const struct log *l, struct span conflicts)
{
	char path[PATH_LEN];
	sqlite3 *want, *db;
	size_t i;

	snprintf(path, sizeof(path), "%s/expected.db", run->dir);
	remove(path);
	want = fresh(path);
	replay(want, l);
	check_tell_state(run, "log", want, want);
	for (i = 0; i < run->n; i++) {
		db = sql_open(run->replicas[i].db, false);
		check_state(run, run->replicas[i].name, db, want);
		sql_close(db);
	}
	check_server(run, want);
	check_snapshot(run, l, want);
	clobber_check(run, want, conflicts);
	sql_close(want);
	return run_ok(run);
}

/* --- conflict records --- */

/* The members of a record, in the order of a replica's columns. */
static const char *const record_members[] = { "id", "kind", "entity_type", "entity_id",
    "fields", "kept", "lost" };
#define RECORD_MEMBERS (sizeof(record_members) / sizeof(record_members[0]))

/* One record of the server's list against the replica's next; what differs is
 * told in the server's words. */
static bool
check_record(struct run *run, const struct replica *r, struct span record,
             sqlite3_stmt **st)
{
	struct buf text = { 0 };
	struct span v, want;
	bool ok = true, certain;
	size_t i;

	if (!sql_next(st))
		return run_fail(run, "%s: it lacks a conflict: %.*s", r->name, (int)record.len,
		    record.p);
	for (i = 0; i < RECORD_MEMBERS && ok; i++) {
		buf_reset(&text);
		json_get(record, record_members[i], &v);
		want = json_string(v, &text) ? buf_span(&text) : v;
		ok = span_eq(sql_col(*st, (int)i), want);
	}
	certain = json_get(record, "certain", &v) && json_type(v) == JSON_TRUE;
	if (!ok || certain != (sqlite3_column_int(*st, RECORD_MEMBERS) != 0))
		ok = run_fail(run, "%s: conflict %s is another than the server's: %.*s", r->name,
		    (const char *)sqlite3_column_text(*st, 0), (int)record.len, record.p);
	buf_free(&text);
	return ok;
}

/* A replica's records against the server's list, in order. */
static bool
check_records(struct run *run, const struct replica *r, struct span list)
{
	char path[PATH_LEN + 32];
	struct span key, one;
	struct json_iter it;
	sqlite3 *db;
	sqlite3_stmt *st;
	bool ok = true;

	snprintf(path, sizeof(path), "%s/.todos/td-sync.db", r->dir);
	db = sql_open(path, false);
	st = sql_prepare(db, "SELECT id, kind, type, entity, fields, kept, lost, certain"
	    " FROM conflict ORDER BY place", "");
	for (json_iter_init(&it, list); ok && json_next(&it, &key, &one);)
		ok = check_record(run, r, one, &st);
	if (ok && sql_next(&st))
		ok = run_fail(run, "%s: it has a conflict too many: %s", r->name,
		    (const char *)sqlite3_column_text(st, 0));
	sqlite3_finalize(st);
	sql_close(db);
	return ok;
}

static void
check_conflicts(struct run *run, struct span list)
{
	size_t i;

	for (i = 0; i < run->n && run_ok(run); i++)
		if (!run->replicas[i].stock)
			check_records(run, &run->replicas[i], list);
}

bool
check_run(struct run *run)
{
	struct transport_reply reply = { 0 };
	struct span conflicts;
	struct log l;
	size_t i;

	log_load(run, &l);
	l.profile = &profile_td;
	tell_log(run, &l);
	if (check_numbers(run, &l) && check_once(run, &l) && check_sent(run, &l) &&
	    check_acks(run, &l) && check_pull(run, &l) &&
	    fetch_conflicts(run, &reply, &conflicts))
		check_states(run, &l, conflicts);
	for (i = 0; i < run->n && run_ok(run); i++)
		check_books(run, &run->replicas[i], &l);
	if (run_ok(run))
		check_conflicts(run, conflicts);
	transport_reply_free(&reply);
	log_free(&l);
	return run_ok(run);
}
