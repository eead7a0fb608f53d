#include "stock.h"

#include "base/json.h"
#include "engine/apply.h"
#include "engine/page.h"

#include <stdio.h>
#include <string.h>

#define PUSH_EVENTS 500
#define PAGE 1000

struct stock {
	struct run *run;
	struct replica *r;
	struct transport *t;
	sqlite3 *db;
	struct transport_reply reply;
	struct err *why;
};

static bool
ask(struct stock *s, const char *method, const char *path, struct span body)
{
	size_t place = (size_t)(s->r - s->run->replicas);
	struct transport_request rq = { .method = method, .path = path,
	    .token = s->run->server.tokens[place % SERVER_TOKENS], .body = body,
	    .timeout_s = 30 };

	transport_reply_free(&s->reply);
	memset(&s->reply, 0, sizeof(s->reply));
	if (s->t->send(s->t, &rq, &s->reply, s->why) != RC_OK)
		return false;
	if (s->reply.status == 200)
		return true;
	err_set(s->why, RC_BUSY, "status %d: %.150s", s->reply.status,
	    s->reply.body.len ? buf_cstr(&s->reply.body) : "");
	return false;
}

/* --- push --- */

/* One pending entry as an event. */
static void
add_event(struct buf *b, sqlite3_stmt *st)
{
	const struct profile_entity *e = profile_entity(&profile_td, sql_col(st, 2));
	struct span prev = sql_col(st, 4), next = sql_col(st, 5), time = sql_col(st, 6);
	struct instant at = { 0 };

	time_parse_any(time, &at);
	at.nsec = 0; /* to the second */
	buf_addf(b, "{\"client_action_id\":%lld,\"action_type\":\"%s\",\"entity_type\":\"%s\","
	    "\"entity_id\":", (long long)sqlite3_column_int64(st, 0),
	    action_name(profile_local_action(&profile_td, sql_col(st, 1))),
	    e ? e->table : "unknown");
	buf_add_json(b, sql_col(st, 3));
	buf_add_str(b, ",\"payload\":{\"new_data\":");
	buf_add_span(b, next.len ? next : span_of("{}"));
	buf_add_str(b, ",\"previous_data\":");
	buf_add_span(b, prev.len ? prev : span_of("{}"));
	buf_add_str(b, ",\"schema_version\":1},\"client_timestamp\":\"");
	time_add_rfc3339(b, at);
	buf_add_str(b, "\"}");
}

/* The body of the next push; false when nothing is pending. */
static bool
push_body(struct stock *s, struct buf *b)
{
	sqlite3_stmt *st;
	bool any = false;

	buf_reset(b);
	buf_addf(b, "{\"device_id\":\"%s\",\"session_id\":\"%s\",\"events\":[", s->r->device,
	    s->r->session);
	st = sql_prepare(s->db, "SELECT rowid, action_type, entity_type, entity_id,"
	    " previous_data, new_data, timestamp FROM action_log"
	    " WHERE synced_at IS NULL AND undone = 0 ORDER BY rowid LIMIT ?", "i",
	    (int64_t)PUSH_EVENTS);
	while (sql_next(&st)) {
		if (any)
			buf_add_byte(b, ',');
		add_event(b, st);
		any = true;
	}
	buf_add_str(b, "]}");
	return any;
}

/* Mark what the answer names: acks, and duplicates with a seq. */
static void
mark(struct stock *s, const char *list)
{
	struct span root, array, key, one, v;
	struct json_iter it;
	int64_t number, seq;

	if (json_scan(buf_span(&s->reply.body), JSON_MAX_DEPTH, &root, NULL, NULL) != RC_OK ||
	    !json_get(root, list, &array))
		return;
	for (json_iter_init(&it, array); json_next(&it, &key, &one);)
		if (json_get(one, "client_action_id", &v) && json_int64(v, &number) &&
		    json_get(one, "server_seq", &v) && json_int64(v, &seq))
			sql_run(s->db, "UPDATE action_log SET synced_at = CURRENT_TIMESTAMP,"
			    " server_seq = ?1 WHERE rowid = ?2", "ii", seq, number);
}

/* td holds its local transaction over HTTP. */
static bool
push(struct stock *s)
{
	struct buf body = { 0 };
	char path[120];
	bool ok = true;

	snprintf(path, sizeof(path), "/v1/projects/%s/sync/push", s->run->server.project);
	sql_run(s->db, "BEGIN IMMEDIATE", "");
	while (ok && push_body(s, &body) &&
	    (ok = ask(s, "POST", path, buf_span(&body)))) {
		mark(s, "acks");
		mark(s, "rejected");
		sql_run(s->db, "UPDATE sync_state SET last_sync_at = CURRENT_TIMESTAMP,"
		    " last_pushed_action_id = (SELECT max(rowid) FROM action_log"
		    " WHERE synced_at IS NOT NULL)", "");
	}
	sql_run(s->db, "COMMIT", "");
	buf_free(&body);
	return ok;
}

/* --- pull --- */

/* Apply one page in one transaction. */
static bool
apply_page(struct stock *s, struct applier *a, int64_t *cursor, bool *more)
{
	struct span root, events, key, one, v;
	struct buf scratch = { 0 };
	struct err err = { "" };
	struct json_iter it;
	struct event ev;
	enum applied what;
	size_t n = 0;

	if (json_scan(buf_span(&s->reply.body), JSON_MAX_DEPTH, &root, NULL, &err) != RC_OK ||
	    !json_get(root, "events", &events))
		return err_set(s->why, RC_INVALID, "no page: %s", err.text) == RC_OK;
	*more = json_get(root, "has_more", &v) && json_type(v) == JSON_TRUE;
	sql_run(s->db, "BEGIN IMMEDIATE", "");
	for (json_iter_init(&it, events); json_next(&it, &key, &one); n++) {
		if (page_event(one, &ev, &scratch, &err) != RC_OK ||
		    applier_apply(a, &ev, &what, &err) != RC_OK)
			die("a stock td: %s", err.text);
		*cursor = ev.seq;
	}
	sql_run(s->db, "UPDATE sync_state SET last_pulled_server_seq = ?,"
	    " last_sync_at = CURRENT_TIMESTAMP", "i", *cursor);
	sql_run(s->db, "COMMIT", "");
	buf_free(&scratch);
	if (n == 0)
		*more = false; /* a stock client stops at an empty page */
	return true;
}

static bool
pull(struct stock *s, bool automatic)
{
	struct applier *a;
	struct err err = { "" };
	char path[240];
	int64_t cursor = sql_int(s->db, 0,
	    "SELECT last_pulled_server_seq FROM sync_state", "");
	bool more = true, ok = true;

	if (applier_new(s->db, "main", &profile_td, &a, &err) != RC_OK)
		die("%s", err.text);
	while (ok && more) {
		snprintf(path, sizeof(path), "/v1/projects/%s/sync/pull?after_server_seq=%lld"
		    "&limit=%d%s%s", s->run->server.project, (long long)cursor, PAGE,
		    automatic ? "&exclude_client=" : "", automatic ? s->r->device : "");
		ok = ask(s, "GET", path, (struct span){ 0 }) &&
		    apply_page(s, a, &cursor, &more);
	}
	applier_free(a);
	return ok;
}

bool
stock_sync(struct run *run, struct replica *r, bool do_push, bool do_pull,
           bool automatic, struct err *why)
{
	struct stock s = { .run = run, .r = r, .why = why };
	int64_t began = trace_now(&run->trace);
	bool ok = true;
	int lock;

	s.t = faults_wrap(run, r, NULL,
	    server_connect(&run->server, (size_t)(r - run->replicas)));
	replica_lock(r, true, &lock);
	s.db = replica_open(r);
	if (sql_int(s.db, 0, "SELECT count(*) FROM sync_state", "") == 0)
		sql_run(s.db, "INSERT INTO sync_state(project_id) VALUES(?)", "s",
		    run->server.project); /* td sync-project link */
	if (do_push)
		ok = push(&s);
	if (ok && do_pull)
		ok = pull(&s, automatic);
	trace_line(&run->trace, "call", "s:replica", r->name, "s:call", "stock", "s:outcome",
	    ok ? "OK" : "failed", "s:error", ok ? "" : why->text, "t:began", began, "t:ended",
	    trace_now(&run->trace), NULL);
	sql_close(s.db);
	replica_unlock(lock);
	transport_reply_free(&s.reply);
	s.t->free(s.t);
	return ok;
}
