#include "stock.h"

#include "backfill.h"
#include "check.h"

#include "base/fs.h"
#include "base/json.h"
#include "engine/apply.h"
#include "engine/deed.h"
#include "engine/page.h"

#include <stdio.h>
#include <string.h>

#define PUSH_EVENTS 500
#define PAGE 1000
#define THRESHOLD 100 /* of events, for a snapshot, unless said otherwise */

#define TODAYS 38     /* the schema of v0.62; what is older is v0.45 to us */

struct stock {
	const struct stock_server *server;
	struct replica *r;
	struct plan *p;
	struct outcome *out;
	sqlite3 *db;
	struct transport_reply reply;
	char last_sync[40];   /* sync_state.last_sync_at as the call began; "" for none */
};

static const char *const hows[] = { "sync", "push", "pull", "auto" };

bool
stock_find(const char *name, enum stock_how *how)
{
	for (*how = STOCK_SYNC; *how <= STOCK_AUTO; (*how)++)
		if (strcmp(hows[*how], name) == 0)
			return true;
	return false;
}

/* A step is passed; false where the process dies at it. */
static bool
step(struct stock *s, const char *name)
{
	struct outcome *out = s->out;

	out->steps++;
	snprintf(out->step, sizeof(out->step), "%s", name);
	if (s->p->die_at == out->steps) {
		out->died = true;
		out->rc = TDSYNC_FAULT;
		return false;
	}
	if (s->p->hook != NULL && (strcmp(s->p->at_step, "*") == 0 ||
	    strcmp(s->p->at_step, name) == 0))
		s->p->hook(s->p->ctx, name);
	return true;
}

/* The call fails, in words. Returns false. */
static bool
fail(struct stock *s, enum tdsync_rc rc, const char *why)
{
	s->out->rc = rc;
	snprintf(s->out->error, sizeof(s->out->error), "%s", why);
	return false;
}

/* Send a request to the project's `what`; false where no answer came, or one that
 * is not 200 or (where there need not be anything) 404. */
static bool
ask(struct stock *s, const char *method, const char *what, struct span body, bool need)
{
	char path[240], why[240];
	struct transport *t = s->server->transport;
	struct transport_request rq = { .method = method, .path = path,
	    .token = s->server->token, .body = body, .timeout_s = 30 };
	struct err err = { "" };

	snprintf(path, sizeof(path), "/v1/projects/%s/sync/%s", s->server->project, what);
	transport_reply_free(&s->reply);
	memset(&s->reply, 0, sizeof(s->reply));
	if (t->send(t, &rq, &s->reply, &err) != RC_OK)
		return fail(s, TDSYNC_NETWORK, err.text);
	if (s->reply.status == 200 || (s->reply.status == 404 && !need))
		return true;
	snprintf(why, sizeof(why), "status %d: %.150s", s->reply.status,
	    s->reply.body.len ? buf_cstr(&s->reply.body) : "");
	return fail(s, TDSYNC_NETWORK, why);
}

/* The answer as JSON. */
static bool
answer(struct stock *s, struct span *root)
{
	struct err err = { "" };

	return (json_scan(buf_span(&s->reply.body), JSON_MAX_DEPTH, root, NULL, &err) == RC_OK &&
	    json_type(*root) == JSON_OBJECT) ||
	    fail(s, TDSYNC_NETWORK, "the answer is no JSON object");
}

/* Now as CURRENT_TIMESTAMP reads. Returns out. */
static const char *
now_text(const struct stock *s, char out[TIME_TEXT])
{
	time_text(replica_now(s->r).sec, out);
	out[10] = ' ';
	out[19] = '\0';
	return out;
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

/* The body of the next push: entries behind *last, which becomes its last one.
 * False when there are none. */
static bool
push_body(struct stock *s, int64_t *last, struct buf *b)
{
	sqlite3_stmt *st;
	bool any = false;

	buf_reset(b);
	buf_addf(b, "{\"device_id\":\"%s\",\"session_id\":\"%s\",\"events\":[", s->r->device,
	    s->r->session);
	st = sql_prepare(s->db, "SELECT rowid, action_type, entity_type, entity_id,"
	    " previous_data, new_data, timestamp FROM action_log"
	    " WHERE synced_at IS NULL AND undone = 0 AND rowid > ?1 ORDER BY rowid LIMIT ?2",
	    "ii", *last, (int64_t)PUSH_EVENTS);
	for (; sql_next(&st); any = true) {
		if (any)
			buf_add_byte(b, ',');
		add_event(b, st);
		*last = sqlite3_column_int64(st, 0);
	}
	buf_add_str(b, "]}");
	return any;
}

/* What an answer names: acks, and duplicates with a seq. */
struct ack {
	int64_t number, seq;
};

/* Collect them from a list of the answer; returns how many. */
static int
collect(struct span root, const char *list, struct buf *acks)
{
	struct span array, key, one, v;
	struct json_iter it;
	struct ack a;
	int n = 0;

	if (!json_get(root, list, &array))
		return 0;
	for (json_iter_init(&it, array); json_next(&it, &key, &one);)
		if (json_get(one, "client_action_id", &v) && json_int64(v, &a.number) &&
		    json_get(one, "server_seq", &v) && json_int64(v, &a.seq)) {
			buf_add(acks, &a, sizeof(a));
			n++;
		}
	return n;
}

static void
mark(struct stock *s, const struct buf *acks)
{
	char now[TIME_TEXT];
	struct ack a;
	size_t at;

	now_text(s, now);
	for (at = 0; at < acks->len; at += sizeof(a)) {
		memcpy(&a, acks->p + at, sizeof(a));
		sql_run(s->db, "UPDATE action_log SET synced_at = ?1, server_seq = ?2"
		    " WHERE rowid = ?3", "sii", now, a.seq, a.number);
	}
	if (acks->len > 0)
		sql_run(s->db, "UPDATE sync_state SET last_sync_at = ?, last_pushed_action_id ="
		    " (SELECT max(rowid) FROM action_log WHERE synced_at IS NOT NULL)", "s", now);
}

/* All that is pending, 500 at a time; marked when all of it is there. */
static bool
push_all(struct stock *s)
{
	struct buf body = { 0 }, acks = { 0 };
	struct span root;
	int64_t last = 0;
	bool ok = true;

	while (ok && push_body(s, &last, &body)) {
		ok = ask(s, "POST", "push", buf_span(&body), true) && answer(s, &root);
		if (ok) {
			s->out->result.pushed += collect(root, "acks", &acks);
			s->out->result.duplicates += collect(root, "rejected", &acks);
			ok = step(s, "pushed");
		}
	}
	if (ok) {
		mark(s, &acks);
		ok = step(s, "marked");
	}
	buf_free(&body);
	buf_free(&acks);
	return ok;
}

/* td holds its local transaction over HTTP: what fails half-way takes the marks of
 * all that was taken along, and the backfill. */
static bool
push(struct stock *s)
{
	bool ok = true;

	sql_run(s->db, "BEGIN IMMEDIATE", "");
	if (sql_int(s->db, 0, "SELECT last_pulled_server_seq FROM sync_state", "") == 0)
		ok = backfill(s->db, s->r) == 0 || step(s, "backfilled");
	ok = ok && push_all(s);
	sql_run(s->db, ok ? "COMMIT" : "ROLLBACK", "");
	return ok && step(s, "pushed-all");
}

/* --- pull --- */

/* Whether an event writes a whole row, and what it knows of it. */
static bool
is_whole(struct applier *a, const struct event *ev, struct deed *d)
{
	if (profile_entity(&profile_td, ev->type) == NULL || ev->action > ACTION_UPDATE)
		return false;
	applier_read(a, ev, d);
	return d->has_row && d->table->n_columns > 0 && /* it has the table */
	    (ev->action == ACTION_CREATE || !d->has_before || d->set == 0);
}

/* v0.62 has no statement for a row of no column, and takes that for a failure
 * that may pass. */
static bool
is_empty(const struct deed *d)
{
	int i;

	for (i = 0; i < d->table->n_columns; i++)
		if (d->row.values[i].len > 0)
			return false;
	return true;
}

/*
 * The row that another device's event replaces goes into sync_conflicts, where it
 * is later than the last sync, or nothing tells when it is of. v0.45 has its own
 * events for others', too.
 */
static bool
is_conflict(struct stock *s, const struct event *ev, const char *table, struct buf *row)
{
	static const char *const times[] = { "updated_at", "timestamp", "created_at", NULL };
	struct instant of, last;
	struct span object, v = { 0 };
	struct buf id = { 0 }, text = { 0 };
	bool found, dated = false;
	int i;

	buf_add_span(&id, ev->id);
	found = backfill_row(s->db, table, buf_cstr(&id), row);
	buf_free(&id);
	if (!found || s->last_sync[0] == '\0' ||
	    (s->r->schema >= TODAYS && span_is(ev->device, s->r->device)) ||
	    json_scan(buf_span(row), JSON_MAX_DEPTH, &object, NULL, NULL) != RC_OK)
		return false;
	for (i = 0; times[i] != NULL && !dated; i++)
		if (json_get(object, times[i], &v) && json_string(v, &text))
			dated = time_parse_any(buf_span(&text), &of);
	buf_free(&text);
	return !dated || (time_parse_any(span_of(s->last_sync), &last) &&
	    time_compare(of, last) > 0);
}

static void
note_conflict(struct stock *s, const struct event *ev, const char *table,
              const struct buf *row)
{
	struct buf at = { 0 };
	struct span v;

	json_get(ev->payload, "new_data", &v);
	time_add_sqlite(&at, replica_now(s->r));
	sql_run(s->db, "INSERT INTO sync_conflicts(entity_type, entity_id, server_seq,"
	    " local_data, remote_data, overwritten_at) VALUES(?,?,?,?,?,?)", "sbibbb", table,
	    ev->id, ev->seq, buf_span(row), v, buf_span(&at));
	buf_free(&at);
}

static void
note_skipped(struct stock *s, const struct event *ev, enum applied what, const char *why)
{
	char now[TIME_TEXT];

	sql_run(s->db, "INSERT OR REPLACE INTO sync_skipped_events(server_seq, device_id,"
	    " action_type, entity_type, entity_id, reason, error, payload, skipped_at)"
	    " VALUES(?,?,?,?,?,?,?,?,?)", "ibsbbssbs", ev->seq, ev->device,
	    action_name(ev->action), ev->type, ev->id, applied_reason(what), why, ev->payload,
	    now_text(s, now));
	s->out->result.skipped++;
}

/* v0.45 does not unwrap an approval: none of its members is a column. */
static bool
is_wrapped(const struct event *ev)
{
	struct span row, inner;

	return json_get(ev->payload, "new_data", &row) && json_get(row, "issue", &inner);
}

/* The driver of v0.45 writes a time as Go prints it. */
static void
respell(struct stock *s, const struct event *ev, const char *table)
{
	struct buf sql = { 0 }, text = { 0 };
	struct instant at;

	if (!time_parse_rfc3339(ev->time, &at) || !sql_has(s->db, table, "deleted_at"))
		return;
	time_add_sqlite(&text, at);
	text.len -= 6;
	buf_addf(&text, " %+03d%02d %s", at.offset / 3600, at.offset / 60 % 60,
	    at.offset == 0 ? "UTC" : s->r->zone_name);
	buf_addf(&sql, "UPDATE \"%s\" SET %s = ? WHERE id = ?", table,
	    ev->action == ACTION_RESTORE ? "updated_at" : "deleted_at");
	sql_run(s->db, buf_cstr(&sql), "bb", buf_span(&text), ev->id);
	buf_free(&sql);
	buf_free(&text);
}

/* Apply one event; false where td stops at it, for ever. */
static bool
apply(struct stock *s, struct applier *a, const struct event *ev)
{
	struct deed d;
	const struct profile_entity *e = profile_entity(&profile_td, ev->type);
	bool todays = s->r->schema >= TODAYS, conflict = false;
	struct err err = { "" };
	struct buf row = { 0 };
	enum applied what;

	if (!todays && is_wrapped(ev))
		return true;
	if (is_whole(a, ev, &d)) {
		if (todays && is_empty(&d))
			return fail(s, TDSYNC_FAULT, "an event has no column that td knows");
		conflict = is_conflict(s, ev, e->table, &row);
	}
	if (applier_apply(a, ev, &what, &err) != RC_OK)
		die("a stock td: %s", err.text);
	s->out->result.applied += what == APPLIED;
	if (conflict && what == APPLIED)
		note_conflict(s, ev, e->table, &row);
	if (!todays && what == APPLIED && ev->action >= ACTION_SOFT_DELETE)
		respell(s, ev, e->table);
	buf_free(&row);
	if (what != APPLIED_ORPHAN && what != APPLIED_BAD)
		return true;
	if (!todays)
		return fail(s, TDSYNC_FAULT, err.text);
	note_skipped(s, ev, what, err.text);
	return true;
}

static bool
apply_events(struct stock *s, struct applier *a, struct span events, int64_t *cursor)
{
	struct buf scratch = { 0 };
	struct err err = { "" };
	struct span key, one;
	struct json_iter it;
	struct event ev;
	bool ok = true;

	for (json_iter_init(&it, events); ok && json_next(&it, &key, &one);) {
		if (page_event(one, &ev, &scratch, &err) != RC_OK)
			ok = fail(s, TDSYNC_NETWORK, err.text);
		else if (!(ok = apply(s, a, &ev)))
			s->out->wedged = true;
		*cursor = ev.seq;
		s->out->result.pulled += ok;
	}
	buf_free(&scratch);
	return ok;
}

/* Apply one page in one transaction. */
static bool
apply_page(struct stock *s, struct applier *a, int64_t *cursor, bool *more)
{
	struct span root, events, v;
	int64_t last = *cursor;
	char now[TIME_TEXT];
	bool ok;

	if (!answer(s, &root) || !step(s, "fetched"))
		return false;
	if (!json_get(root, "events", &events))
		return fail(s, TDSYNC_NETWORK, "a page without events");
	*more = json_get(root, "has_more", &v) && json_type(v) == JSON_TRUE;
	sql_run(s->db, "BEGIN IMMEDIATE", "");
	ok = apply_events(s, a, events, &last);
	if (ok)
		sql_run(s->db, "UPDATE sync_state SET last_pulled_server_seq = ?,"
		    " last_sync_at = ?", "is", last, now_text(s, now));
	ok = ok && step(s, "applied");
	sql_run(s->db, ok ? "COMMIT" : "ROLLBACK", "");
	if (!ok)
		return false;
	if (last == *cursor)
		*more = false; /* a stock client stops at an empty page */
	*cursor = last;
	return step(s, "pulled");
}

static bool
pull(struct stock *s, bool automatic)
{
	struct applier *a;
	struct err err = { "" };
	char what[120];
	int64_t cursor = sql_int(s->db, 0,
	    "SELECT last_pulled_server_seq FROM sync_state", "");
	bool more = true, ok = true;

	if (applier_new(s->db, "main", &profile_td, &a, &err) != RC_OK)
		die("%s", err.text);
	while (ok && more) {
		snprintf(what, sizeof(what), "pull?after_server_seq=%lld&limit=%d%s%s",
		    (long long)cursor, PAGE, automatic ? "&exclude_client=" : "",
		    automatic ? s->r->device : "");
		ok = ask(s, "GET", what, (struct span){ 0 }, true) &&
		    apply_page(s, a, &cursor, &more);
	}
	applier_free(a);
	s->out->result.server_seq = cursor;
	return ok;
}

/* --- a snapshot --- */

/* Whether td would begin with one. What older ones did is not known: they don't. */
static bool
is_due(struct stock *s, bool *due)
{
	int threshold = s->r->threshold == 0 ? THRESHOLD : s->r->threshold;
	struct span root, v;
	int64_t events;

	*due = false;
	if (s->r->schema < TODAYS || threshold < 0 || sql_int(s->db, 0, "SELECT"
	    " last_pulled_server_seq <> 0 OR EXISTS (SELECT 1 FROM action_log"
	    " WHERE synced_at IS NULL AND undone = 0) FROM sync_state", "") != 0)
		return true;
	if (!ask(s, "GET", "status", (struct span){ 0 }, true) || !answer(s, &root))
		return false;
	*due = json_get(root, "event_count", &v) && json_int64(v, &events) &&
	    events >= threshold;
	return true;
}

static void
write_file(const char *path, struct span content)
{
	struct err err;

	if (fs_write(path, content, 0600, &err) != RC_OK)
		die("%s", err.text);
}

/* Whether the file is a whole database; it may be anything. */
static bool
is_sound(const char *path, struct span content)
{
	sqlite3 *db;
	sqlite3_stmt *st = NULL;
	bool sound = false;

	if (content.len < 512 || memcmp(content.p, "SQLite format 3", 16) != 0)
		return false;
	if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL) == SQLITE_OK &&
	    sqlite3_prepare_v2(db, "PRAGMA integrity_check", -1, &st, NULL) == SQLITE_OK &&
	    sqlite3_step(st) == SQLITE_ROW)
		sound = span_is(sql_col(st, 0), "ok");
	sqlite3_finalize(st);
	sqlite3_close(db);
	return sound;
}

/* The snapshot takes the database's place: the action log, sessions, conflicts
 * and all rows that were never told of are gone from it. */
static void
replace_database(struct stock *s, const char *by)
{
	struct buf old = { 0 };
	char path[PATH_LEN + 60];
	struct err err;

	sql_close(s->db);
	snprintf(path, sizeof(path), "%s.pre-snapshot-backup", s->r->db);
	if (fs_read(s->r->db, SIZE_MAX / 2, &old, &err) != RC_OK)
		die("%s", err.text);
	write_file(path, buf_span(&old));
	buf_free(&old);
	if (rename(by, s->r->db) != 0)
		die("%s: no rename", by);
	s->db = replica_open(s->r);
}

/* td sync-project link: where nothing says that it is. */
static void
link_project(struct stock *s)
{
	if (sql_int(s->db, 0, "SELECT count(*) FROM sync_state", "") == 0)
		sql_run(s->db, "INSERT INTO sync_state(project_id) VALUES(?)", "s",
		    s->server->project);
}

static bool
begin(struct stock *s)
{
	char path[PATH_LEN + 60], now[TIME_TEXT];
	bool due;

	if (!is_due(s, &due) || (due && !ask(s, "GET", "snapshot", (struct span){ 0 }, false)))
		return false;
	if (!due || s->reply.status == 404)
		return true; /* replay instead */
	snprintf(path, sizeof(path), "%s.snapshot", s->r->db);
	write_file(path, buf_span(&s->reply.body));
	if (!is_sound(path, buf_span(&s->reply.body)))
		return fail(s, TDSYNC_NETWORK, "the snapshot is damaged");
	if (!step(s, "snapshot"))
		return false;
	replace_database(s, path);
	if (!step(s, "replaced"))
		return false;
	link_project(s);
	sql_run(s->db, "UPDATE sync_state SET last_pulled_server_seq = ?, last_sync_at = ?",
	    "is", s->reply.snapshot_seq, now_text(s, now));
	s->out->result.snapshot_seq = s->reply.snapshot_seq;
	replica_new_session(s->r, s->db); /* the old one's row is gone */
	return step(s, "began");
}

/* --- calls --- */

void
stock_call_to(const struct stock_server *server, struct replica *r, enum stock_how how,
              struct plan *p, struct outcome *out)
{
	struct stock s = { .server = server, .r = r, .p = p, .out = out };
	struct buf last = { 0 };
	bool ok = true;
	int lock;

	memset(out, 0, sizeof(*out));
	replica_lock(r, true, &lock);
	s.db = replica_open(r);
	link_project(&s);
	if (sql_text(s.db, &last, "SELECT last_sync_at FROM sync_state", ""))
		snprintf(s.last_sync, sizeof(s.last_sync), "%s", last.p);
	buf_free(&last);
	if (how == STOCK_SYNC)
		ok = begin(&s);
	if (ok && how != STOCK_PULL)
		ok = push(&s);
	if (ok && how != STOCK_PUSH)
		pull(&s, how == STOCK_AUTO);
	sql_close(s.db);
	replica_unlock(lock);
	transport_reply_free(&s.reply);
}

void
stock_call(struct run *run, struct replica *r, enum stock_how how, struct plan *p,
           struct outcome *out)
{
	size_t place = (size_t)(r - run->replicas);
	struct stock_server server = { faults_wrap(run, r, &p->faults,
	    server_connect(&run->server, place)), run->server.project,
	    run->server.tokens[place % SERVER_TOKENS] };
	int64_t began = trace_now(&run->trace);

	p->faults.snapshot_at = p->snapshot_at;
	run->depth++;
	stock_call_to(&server, r, how, p, out);
	run->depth--;
	trace_line(&run->trace, "call", "s:replica", r->name, "s:call", "stock", "s:how",
	    hows[how], "s:outcome", out->died ? "died" : out->wedged ? "wedged" :
	    tdsync_rc_name(out->rc), "i:pushed", out->result.pushed, "i:duplicates",
	    out->result.duplicates, "i:pulled", out->result.pulled, "i:applied",
	    out->result.applied, "i:skipped", out->result.skipped, "i:server_seq",
	    out->result.server_seq, "i:steps", (int64_t)out->steps, "s:step", out->step,
	    "s:error", out->error, "t:began", began, "t:ended", trace_now(&run->trace), NULL);
	server.transport->free(server.transport);
	if (run->tell_states) {
		sqlite3 *db = sql_open(r->db, false);

		check_tell_state(run, r->name, db, db);
		sql_close(db);
	}
}

void
stock_unlink(struct replica *r)
{
	sqlite3 *db = replica_open(r);

	sql_run(db, "DELETE FROM sync_state", "");
	sql_close(db);
}

/* --- commands --- */

/* Run it, or one by chance; how many entries it wrote. */
static int
edit(struct run *run, struct replica *r, const struct command *c,
     const struct emit_args *a, char id[ID_MAX])
{
	struct emit *e = emit_open(r, true);
	int n;

	if (c == NULL)
		c = emit_random(e, id);
	else if (a == NULL ? !emit_chance(e, c, 40, id) : !emit_run(e, c, a, id))
		c = NULL;
	n = emit_entries(e);
	emit_close(e);
	if (c != NULL)
		trace_line(&run->trace, "edit", "s:replica", r->name, "s:command", c->name,
		    "s:id", id, "i:entries", (int64_t)n, NULL);
	return n;
}

bool
stock_command(struct run *run, struct replica *r, const struct command *c,
              const struct emit_args *a, struct plan *p, char id[ID_MAX])
{
	struct plan none = { 0 }, again = p != NULL ? *p : none;
	struct outcome out;

	if (r->one_shot)
		replica_new_device(r);
	stock_call(run, r, STOCK_AUTO, p != NULL ? p : &none, &out);
	if (out.died || edit(run, r, c, a, id) == 0)
		return false;
	stock_call(run, r, STOCK_AUTO, &again, &out);
	return !out.died;
}
