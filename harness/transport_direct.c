/* A server without HTTP, see transport_direct.h. */
#include "transport_direct.h"

#include "into_file.h"

#include "base/clock.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/id.h"
#include "base/lock.h"
#include "engine/conflict_page.h"
#include "engine/heal.h"
#include "engine/history.h"
#include "engine/page.h"
#include "engine/push.h"
#include "engine/restore.h"
#include "engine/snapshot.h"
#include "engine/sums_page.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Nobody else waits for this server: it may take its time, as under a sanitizer. */
#define PATIENCE_MS (10 * LOCK_WAIT_MS)

#define PROJECTS "/v1/projects"

struct direct {
	struct transport base; /* first: a transport is a direct */
	char *dir, *user;
	char project[ID_MAX];  /* whose log is open; "" for none */
	struct events *log;
	struct follower *follower; /* of that log, made when first needed */
	bool heals;
};

static char *
project_dir(const char *dir, const char *project)
{
	struct buf b = { 0 };

	buf_addf(&b, "%s/projects/%s", dir, project);
	buf_cstr(&b);
	return b.p;
}

enum rc
direct_project(const char *dir, const char *project, struct err *err)
{
	char *path = project_dir(dir, "");
	enum rc rc = path == NULL ? RC_FAULT : fs_mkdir(path, err);

	free(path);
	path = project_dir(dir, project);
	if (rc == RC_OK)
		rc = path == NULL ? RC_FAULT : events_create(path, profile_td.name, err);
	free(path);
	return rc;
}

/* Open a project's log, or keep the one that is open. */
static enum rc
use(struct direct *d, const char *project, struct err *err)
{
	char *path;
	enum rc rc;

	if (d->log != NULL && strcmp(d->project, project) == 0 && !events_stale(d->log))
		return RC_OK;
	follower_free(d->follower);
	events_close(d->log);
	d->follower = NULL;
	d->log = NULL;
	if (!id_is(span_of(project), "p_", 16))
		return err_set(err, RC_NOT_FOUND, "project not found");
	snprintf(d->project, sizeof(d->project), "%s", project);
	if ((path = project_dir(d->dir, project)) == NULL)
		return RC_FAULT;
	rc = events_open(path, &d->log, err);
	free(path);
	return rc;
}

static void
answer_error(struct transport_reply *re, int status, const char *code, const char *message)
{
	re->status = status;
	buf_reset(&re->body);
	buf_addf(&re->body, "{\"error\":{\"code\":\"%s\",\"message\":", code);
	buf_add_json(&re->body, span_of(message));
	buf_add_str(&re->body, "}}\n");
}

static void
answer_rc(struct transport_reply *re, enum rc rc, const struct err *err)
{
	switch (rc) {
	case RC_OK:
		re->status = 200;
		return;
	case RC_INVALID:
		answer_error(re, 400, "bad_request", err->text);
		return;
	case RC_NOT_FOUND:
		answer_error(re, 404, "not_found", err->text);
		return;
	case RC_BUSY:
	case RC_UNAVAILABLE:
		answer_error(re, 503, "unavailable", err->text);
		return;
	default:
		answer_error(re, 500, "internal_error", err->text);
		return;
	}
}

static void
set_log_id(struct transport_reply *re, const struct events_head *head)
{
	struct buf b = { 0 };

	buf_add_hex(&b, head->log_id, LOG_ID_LEN);
	if (buf_cstr(&b) != NULL)
		snprintf(re->log_id, sizeof(re->log_id), "%s", b.p);
	buf_free(&b);
}

/* The 409s of protocol.md section 8. */
static void
answer_changed(struct transport_reply *re, const struct events_head *head,
               const char *code, const char *message)
{
	answer_error(re, 409, code, message);
	re->body.len -= strlen("}\n");
	buf_addf(&re->body, ",\"log_id\":\"%s\",\"last_server_seq\":%lld}\n", re->log_id,
	         (long long)head->seq);
}

/* Whether the event that the client has last is in the log; if not, *re says so. */
static bool
judge_last(struct direct *d, const char *last, const struct events_head *head,
           struct transport_reply *re)
{
	unsigned char has[EVENT_DIGEST_LEN], want[EVENT_DIGEST_LEN];
	char *colon;
	long long seq = strtoll(last, &colon, 10);

	if (*colon != ':' ||
	    !id_unhex(span_of(colon + 1), want, sizeof(want))) {
		answer_error(re, 400, "bad_request", "X-Log-Last is not SEQ:DIGEST");
		return false;
	}
	if (seq > head->seq) {
		answer_changed(re, head, "cursor_ahead",
		               "your cursor is beyond the end of this project's log");
		return false;
	}
	if (events_digest(d->log, seq, has, NULL) == RC_OK &&
	    memcmp(has, want, sizeof(has)) == 0)
		return true;
	answer_changed(re, head, "log_changed",
	               "your last event is not in this project's log");
	return false;
}

/* What follows the log, made when first needed. */
static enum rc
follow(struct direct *d, struct err *err)
{
	char *path;
	enum rc rc;

	if (d->follower != NULL)
		return RC_OK;
	if ((path = project_dir(d->dir, d->project)) == NULL)
		return RC_FAULT;
	rc = follower_new(path, &profile_td, &d->follower, err);
	free(path);
	return rc;
}

/* Say what the server has to say, up to the log's head. */
static enum rc
heal(struct direct *d, struct err *err)
{
	int64_t until = clock_mono_ms() + PATIENCE_MS;
	struct follow_limits limits = { until, until, false };
	struct heal_rules rules = { true, clock_now_us() };
	bool more = true;
	enum rc rc = follow(d, err);

	while (rc == RC_OK && more)
		if ((rc = follower_run(d->follower, d->log, &limits, err)) == RC_OK)
			rc = heal_run(d->follower, d->log, &rules, until, &more, err);
	return rc;
}

static void
do_push(struct direct *d, const struct transport_request *rq, struct transport_reply *re)
{
	struct push_rules rules = { 0 };
	struct push *p = NULL;
	struct buf body = { 0 };
	struct err err = { "" };
	enum rc rc;

	rules.lenient = rq->prefer != NULL && strstr(rq->prefer, "handling=lenient") != NULL;
	buf_add_span(&body, rq->body); /* the engine's to change */
	rc = push_parse(&body, &profile_td, rules, &p, &err);
	if (rc == RC_OK && d->heals && (rc = follow(d, &err)) == RC_OK)
		rc = push_find_known(p, d->follower, d->log, &err);
	if (rc == RC_OK)
		rc = push_append(p, d->log, span_of(d->user), clock_now_us(),
		                 clock_mono_ms() + PATIENCE_MS, &re->body, NULL, &err);
	push_free(p);
	buf_free(&body);
	answer_rc(re, rc, &err);
	if (rc == RC_OK)
		events_maintain(d->log, true);
	if (rc == RC_OK && d->heals)
		heal(d, &err); /* what fails is done when somebody pulls */
}

/* The number of a query parameter, or what it is without. */
static long long
parameter(const char *query, const char *name, long long otherwise)
{
	size_t n = strlen(name);

	for (const char *p = query; p != NULL && *p != '\0'; p = strchr(p, '&')) {
		if (*p == '?' || *p == '&')
			p++;
		if (strncmp(p, name, n) == 0 && p[n] == '=')
			return strtoll(p + n + 1, NULL, 10);
	}
	return otherwise;
}

static void
do_pull(struct direct *d, const char *query, struct transport_reply *re)
{
	struct err err = { "" };
	struct page page;
	enum rc rc = d->heals ? heal(d, &err) : RC_OK;

	if (rc == RC_OK)
		rc = page_write(d->log, parameter(query, "after_server_seq", 0),
		                parameter(query, "limit", PAGE_LIMIT), &re->body, &page, &err);
	if (rc == RC_CURSOR_AHEAD)
		answer_changed(re, &page.head, "cursor_ahead", err.text);
	else
		answer_rc(re, rc, &err);
}

/* Hold the state as it is at the log's head. */
static enum rc
hold(struct direct *d, struct err *err)
{
	struct events_head head;
	enum rc rc;

	if ((rc = follow(d, err)) != RC_OK || (rc = events_head(d->log, &head, err)) != RC_OK)
		return rc;
	return follower_hold(d->follower, d->log, head.visible, clock_mono_ms() + PATIENCE_MS,
	                     err);
}

/* Writes a page about the state, which is held. */
typedef enum rc state_page(struct direct *d, const char *query, struct buf *out,
                           struct err *err);

static enum rc
conflicts_page(struct direct *d, const char *query, struct buf *out, struct err *err)
{
	return conflict_page_write(d->follower, d->log, parameter(query, "after_server_seq", 0),
	                           parameter(query, "limit", PAGE_LIMIT), true, out, err);
}

static enum rc
digest_page(struct direct *d, const char *query, struct buf *out, struct err *err)
{
	return sums_page_write(d->follower, events_log_id(d->log), parameter(query, "seq", -1),
	                       out, err);
}

/* `query` begins with the type and the id: "issues/td-4aa226/history?..." */
static enum rc
history_page(struct direct *d, const char *query, struct buf *out, struct err *err)
{
	size_t type = strcspn(query, "/"), id = strcspn(query + type + 1, "/");
	const struct profile_entity *e =
	    profile_entity(&profile_td, (struct span){ query, type });
	const char *parameters = strchr(query, '?');

	if (e == NULL)
		return err_set(err, RC_NOT_FOUND, "no entities of that type are known here");
	return history_write(d->follower, d->log, e, (struct span){ query + type + 1, id },
	                     parameter(parameters, "after_server_seq", 0),
	                     parameter(parameters, "limit", PAGE_LIMIT), true, out, err);
}

/* Answer with what a page says of the state at the log's head. */
static void
do_state(struct direct *d, state_page *page, const char *query, struct transport_reply *re)
{
	struct err err = { "" };
	enum rc rc = hold(d, &err);

	if (rc == RC_OK) {
		rc = page(d, query, &re->body, &err);
		state_let_go(follower_state(d->follower));
	}
	answer_rc(re, rc, &err);
}

/* Put back what a conflict took; `id` is followed by "/restore". */
static void
do_restore(struct direct *d, const struct transport_request *rq, const char *id,
           struct transport_reply *re)
{
	struct restorer by = { .user = span_of(d->user), .session = span_of("td-sync"),
		.now_us = clock_now_us() };
	struct buf device = { 0 };
	struct conflict_id which;
	struct span root, v;
	struct err err = { "" };
	enum rc rc = follow(d, &err);

	if (json_scan(rq->body, JSON_MAX_DEPTH, &root, NULL, NULL) == RC_OK &&
	    json_get(root, "device_id", &v))
		json_string(v, &device);
	by.device = device.len > 0 ? buf_span(&device) : span_of("web");
	if (rc == RC_OK && !conflict_id_parse((struct span){ id, strcspn(id, "/") }, &which))
		rc = err_set(&err, RC_NOT_FOUND, "no such conflict");
	if (rc == RC_OK)
		rc = restore_conflict(d->follower, d->log, which, &by, true,
		                      clock_mono_ms() + PATIENCE_MS, &re->body, &err);
	if (rc == RC_CONFLICT)
		answer_error(re, 409, "conflict", err.text);
	else
		answer_rc(re, rc, &err);
	buf_free(&device);
}

/* --- snapshots --- */

static void
add_hex(const unsigned char *p, size_t n, char *out, size_t size)
{
	struct buf b = { 0 };

	buf_add_hex(&b, p, n);
	snprintf(out, size, "%s", buf_cstr(&b) == NULL ? "" : b.p);
	buf_free(&b);
}

static enum rc
make_snapshot(struct direct *d, int64_t seq, const struct events_head *head,
              const char *path, struct transport_reply *re, struct err *err)
{
	int64_t deadline = clock_mono_ms() + PATIENCE_MS;
	struct snapshot s;
	char digest[2 * EVENT_DIGEST_LEN + 1];
	enum rc rc = follow(d, err);

	if (rc == RC_OK && seq > 0 && seq < head->visible)
		rc = snapshot_replay(d->log, &profile_td, seq, deadline, path, &s, err);
	else if (rc == RC_OK)
		rc = snapshot_write(d->follower, d->log, head->visible, deadline, path, &s, err);
	if (rc != RC_OK || (rc = fs_read(path, SIZE_MAX / 2, &re->body, err)) != RC_OK)
		return rc;
	re->snapshot_seq = s.seq;
	add_hex(s.digest, HASH_LEN, re->snapshot_digest, sizeof(re->snapshot_digest));
	add_hex(s.last, EVENT_DIGEST_LEN, digest, sizeof(digest));
	if (seq == 0)
		snprintf(re->log_last, sizeof(re->log_last), "%lld:%s", (long long)s.seq, digest);
	snprintf(re->content_type, sizeof(re->content_type), "application/x-sqlite3");
	return RC_OK;
}

/* Anything but RC_OK: it could not be written where the client wants it. */
static enum rc
do_snapshot(struct direct *d, const struct transport_request *rq, const char *query,
            const struct events_head *head, struct transport_reply *re, struct err *why)
{
	struct err err = { "" };
	struct buf path = { 0 };
	enum rc rc;

	if (head->visible == 0) {
		answer_error(re, 404, "no_events", "no events to snapshot");
		return RC_OK;
	}
	buf_addf(&path, "%s/snapshot-%ld.db", d->dir, (long)getpid());
	rc = buf_cstr(&path) == NULL ? RC_FAULT
	    : make_snapshot(d, parameter(query, "at_seq", 0), head, path.p, re, &err);
	answer_rc(re, rc, &err);
	if (path.p != NULL)
		unlink(path.p);
	buf_free(&path);
	return into_file(rq, re, "", why);
}

static void
do_status(const struct events_head *head, struct transport_reply *re)
{
	char time[TIME_TEXT];

	re->status = 200;
	buf_addf(&re->body, "{\"event_count\":%lld,\"last_server_seq\":%lld",
	         (long long)head->count, (long long)head->seq);
	if (head->time_us != 0)
		buf_addf(&re->body, ",\"last_event_time\":\"%s\"",
		         time_text(head->time_us / 1000000, time));
	buf_add_str(&re->body, "}\n");
}

static void
add_project(struct buf *b, const char *id)
{
	buf_addf(b, "{\"id\":\"%s\",\"name\":\"%s\",\"description\":\"\",\"slug\":\"%s\","
	         "\"created_at\":\"2026-01-01T00:00:00Z\","
	         "\"updated_at\":\"2026-01-01T00:00:00Z\"}", id, id, id);
}

static void
list_projects(struct direct *d, struct transport_reply *re)
{
	char *path = project_dir(d->dir, "");
	DIR *dir = path == NULL ? NULL : opendir(path);
	struct dirent *e;

	re->status = 200;
	buf_add_byte(&re->body, '[');
	while (dir != NULL && (e = readdir(dir)) != NULL) {
		if (!id_is(span_of(e->d_name), "p_", 16))
			continue;
		if (re->body.len > 1)
			buf_add_byte(&re->body, ',');
		add_project(&re->body, e->d_name);
	}
	buf_add_str(&re->body, "]\n");
	if (dir != NULL)
		closedir(dir);
	free(path);
}

/* A request below one project; `rest` is what follows its id in the path. */
static enum rc
do_project(struct direct *d, const struct transport_request *rq, const char *rest,
           struct transport_reply *re, struct err *why)
{
	struct events_head head;
	struct err err = { "" };
	enum rc rc = events_head(d->log, &head, &err);

	if (rc != RC_OK) {
		answer_rc(re, rc, &err);
		return RC_OK;
	}
	if (*rest == '\0') {
		re->status = 200;
		add_project(&re->body, d->project);
		return RC_OK;
	}
	set_log_id(re, &head);
	if (rq->log_last != NULL && !judge_last(d, rq->log_last, &head, re))
		return RC_OK;
	if (strcmp(rest, "/sync/push") == 0)
		do_push(d, rq, re);
	else if (strncmp(rest, "/sync/pull", 10) == 0)
		do_pull(d, rest + 10, re);
	else if (strncmp(rest, "/sync/conflicts/", 16) == 0)
		do_restore(d, rq, rest + 16, re);
	else if (strncmp(rest, "/sync/conflicts", 15) == 0)
		do_state(d, conflicts_page, rest + 15, re);
	else if (strncmp(rest, "/sync/digest", 12) == 0)
		do_state(d, digest_page, rest + 12, re);
	else if (strncmp(rest, "/entities/", 10) == 0)
		do_state(d, history_page, rest + 10, re);
	else if (strncmp(rest, "/sync/snapshot", 14) == 0)
		return do_snapshot(d, rq, rest + 14, &head, re, why);
	else if (strcmp(rest, "/sync/status") == 0)
		do_status(&head, re);
	else
		answer_error(re, 404, "not_found", "no such route");
	return RC_OK;
}

static enum rc
direct_send(struct transport *t, const struct transport_request *rq,
            struct transport_reply *re, struct err *err)
{
	struct direct *d = (struct direct *)t;
	const char *rest;
	char project[ID_MAX];
	struct err why = { "" };
	size_t n;
	enum rc rc;

	snprintf(re->content_type, sizeof(re->content_type), "application/json");
	re->server_time = clock_now_us() / 1000000;
	if (strcmp(rq->path, PROJECTS) == 0) {
		list_projects(d, re);
		return RC_OK;
	}
	if (strncmp(rq->path, PROJECTS "/", strlen(PROJECTS) + 1) != 0) {
		answer_error(re, 404, "not_found", "no such route");
		return RC_OK;
	}
	rest = rq->path + strlen(PROJECTS) + 1;
	n = strcspn(rest, "/");
	snprintf(project, sizeof(project), "%.*s", (int)n, rest);
	if ((rc = use(d, project, &why)) != RC_OK)
		answer_rc(re, rc, &why);
	else if ((rc = do_project(d, rq, rest + n, re, err)) != RC_OK)
		return rc;
	if (re->body.failed)
		return err_set(err, RC_FAULT, "out of memory");
	return RC_OK;
}

static void
direct_free(struct transport *t)
{
	struct direct *d = (struct direct *)t;

	follower_free(d->follower);
	events_close(d->log);
	free(d->dir);
	free(d->user);
	free(d);
}

enum rc
transport_direct(const char *dir, const char *user, struct transport **out,
                 struct err *err)
{
	struct direct *d = calloc(1, sizeof(*d));

	*out = NULL;
	if (d == NULL || (d->dir = strdup(dir)) == NULL || (d->user = strdup(user)) == NULL) {
		if (d != NULL)
			direct_free(&d->base);
		return err_set(err, RC_FAULT, "out of memory");
	}
	d->base.send = direct_send;
	d->base.free = direct_free;
	*out = &d->base;
	return RC_OK;
}

void
direct_heals(struct transport *t)
{
	((struct direct *)t)->heals = true;
}
