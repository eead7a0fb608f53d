/* The library's calls, see tdsync.h. */
#include "tdsync.h"

#include "base/clock.h"
#include "base/id.h"
#include "base/json.h"
#include "client/conflicts.h"
#include "client/entries.h"
#include "client/offer.h"
#include "profiles/profile.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TIMEOUT_S 30
#define RETRIES 4

static const char *const names[] = {
	[TDSYNC_OK] = "TDSYNC_OK",
	[TDSYNC_INVALID] = "TDSYNC_INVALID",
	[TDSYNC_NOT_LINKED] = "TDSYNC_NOT_LINKED",
	[TDSYNC_LOCAL] = "TDSYNC_LOCAL",
	[TDSYNC_NETWORK] = "TDSYNC_NETWORK",
	[TDSYNC_BUSY] = "TDSYNC_BUSY",
	[TDSYNC_UNAUTHORIZED] = "TDSYNC_UNAUTHORIZED",
	[TDSYNC_FORBIDDEN] = "TDSYNC_FORBIDDEN",
	[TDSYNC_NOT_FOUND] = "TDSYNC_NOT_FOUND",
	[TDSYNC_REFUSED] = "TDSYNC_REFUSED",
	[TDSYNC_LOG_CHANGED] = "TDSYNC_LOG_CHANGED",
	[TDSYNC_FAULT] = "TDSYNC_FAULT",
};

const char *
tdsync_rc_name(enum tdsync_rc rc)
{
	return (size_t)rc < sizeof(names) / sizeof(names[0]) ? names[rc] : "TDSYNC_?";
}

/* --- handles --- */

enum tdsync_rc
tdsync_open(const struct tdsync_options *options, struct tdsync **out, char *error,
            size_t error_size)
{
	static const struct tdsync_options defaults = { 0 };
	const struct tdsync_options *o = options == NULL ? &defaults : options;
	struct tdsync *t = calloc(1, sizeof(*t));
	struct err err = { "" };
	enum rc rc = RC_FAULT;

	*out = NULL;
	if (t == NULL || (t->dir = strdup(o->dir == NULL ? "." : o->dir)) == NULL)
		err_set(&err, rc, "out of memory");
	else if ((rc = settings_load(o->url, o->token, o->device_id, &t->settings,
	                             &err)) == RC_OK &&
	         (rc = settings_threshold(o->snapshot_threshold, &t->snapshot_threshold,
	                                  &err)) == RC_OK)
		rc = transport_http(t->settings.url, &t->transport, &err);
	if (rc == RC_OK) {
		t->timeout_s = o->timeout_s > 0 ? o->timeout_s : TIMEOUT_S;
		t->waiting = o->waiting;
		t->waiting_ctx = o->waiting_ctx;
		t->retries = o->retries < 0 ? 0 : o->retries == 0 ? RETRIES : o->retries;
		*out = t;
		return TDSYNC_OK;
	}
	tdsync_close(t);
	if (error != NULL && error_size > 0)
		snprintf(error, error_size, "%s", err.text);
	return rc == RC_FAULT ? TDSYNC_FAULT : TDSYNC_INVALID;
}

void
tdsync_close(struct tdsync *t)
{
	if (t == NULL)
		return;
	if (t->transport != NULL)
		t->transport->free(t->transport);
	settings_free(&t->settings);
	words_free(&t->words);
	buf_free(&t->lost_devices);
	free(t->dir);
	free(t);
}

const char *
tdsync_error(const struct tdsync *t)
{
	return t->err.text;
}

void
tdsync_use_transport(struct tdsync *t, struct transport *tr)
{
	if (t->transport != NULL)
		t->transport->free(t->transport);
	t->transport = tr;
}

void
tdsync_on_step(struct tdsync *t, bool (*step)(void *ctx, const char *name), void *ctx)
{
	t->step = step;
	t->step_ctx = ctx;
}

void
tdsync_skew_clock(struct tdsync *t, int64_t seconds)
{
	t->skew_s = seconds;
}

void
tdsync_no_pauses(struct tdsync *t)
{
	t->no_pauses = true;
}

/* --- push, pull, sync --- */

/*
 * Where nobody knows yet what of our rows the log holds, it has to be read
 * before anything is offered to it (offer.h); and where the state is behind td's
 * rows, before it is judged whether an undone entry has to be sent.
 */
static bool
must_pull_first(const struct work *w)
{
	return w->books.target == TARGET_HEAD ||
	    (w->undone > 0 && w->books.cursor < w->td.cursor);
}

/* The first entry that local rows show beyond the state: is it acked? */
static enum rc
is_acked(void *ctx, const struct entry *e, bool *stop, struct err *err)
{
	(void)err;
	*(bool *)ctx = e->seq > 0;
	*stop = true;
	return RC_OK;
}

/*
 * Entries that were acked but not pulled yet are lost if the log was set back
 * to a backup since: then they must be sent again before what is newer, or an
 * old value would win. Only where there are some, it takes a look at the log's
 * id.
 */
static enum tdsync_rc
look_at_log(struct work *w)
{
	struct remote_answer a = { 0 };
	struct buf path = { 0 };
	bool acked = false;
	enum tdsync_rc rc;

	rc = work_local(w, entries_walk(w->l, &w->books, ENTRIES_OVERLAY, is_acked, &acked,
	                                &w->t->err));
	if (rc != TDSYNC_OK || !acked)
		return rc;
	if ((rc = work_path(w, "status", &path)) == TDSYNC_OK &&
	    (rc = remote_call(&w->remote, path.p, (struct span){ 0 }, true, &a,
	                      &w->t->err)) == TDSYNC_OK &&
	    strcmp(a.reply.log_id, w->books.log_id) != 0 &&
	    (rc = work_begin(w)) == TDSYNC_OK) {
		if ((rc = work_local(w, work_log_id(w, a.reply.log_id))) == TDSYNC_OK)
			rc = work_commit(w);
		else
			local_rollback(w->l);
	}
	buf_free(&path);
	remote_answer_free(&a);
	return rc;
}

enum tdsync_rc
pull_run(struct work *w)
{
	enum tdsync_rc rc = fetch_run(w);

	return rc == TDSYNC_OK ? conflicts_run(w) : rc;
}

/* What was undone before it was sent may be needed by what is sent now. */
static enum tdsync_rc
revive_undone(struct work *w)
{
	struct err *err = &w->t->err;
	struct kinds *kinds;
	int64_t made = 0;
	enum tdsync_rc rc = TDSYNC_OK;

	if (w->undone == 0 || (rc = work_local(w, kinds_new(w->l, &kinds, err))) != TDSYNC_OK)
		return rc;
	if ((rc = work_begin(w)) == TDSYNC_OK) {
		rc = work_local(w, offer_undone(kinds, &w->books, &made, err));
		if (rc == TDSYNC_OK && made > 0)
			rc = work_commit(w);
		else
			local_rollback(w->l);
	}
	kinds_free(kinds);
	return rc;
}

static enum tdsync_rc
push(struct work *w)
{
	enum tdsync_rc rc = must_pull_first(w) ? fetch_run(w) : look_at_log(w);

	w->send_again = false;
	if (rc == TDSYNC_OK)
		rc = revive_undone(w);
	if (rc == TDSYNC_OK && (rc = send_run(w)) == TDSYNC_OK && w->send_again)
		rc = send_run(w); /* an answer told of another log: older ones wait too */
	w->send_again = false;
	return rc;
}

static enum tdsync_rc
sync_once(struct work *w)
{
	struct err refused = { "" };
	enum tdsync_rc rc, sent;

	sent = push(w);
	if (sent == TDSYNC_FORBIDDEN || sent == TDSYNC_REFUSED)
		refused = w->t->err; /* one who may only read gets what there is */
	else if (sent != TDSYNC_OK)
		return sent;
	rc = fetch_run(w);
	if (rc == TDSYNC_OK && sent == TDSYNC_OK && w->send_again &&
	    (rc = send_run(w)) == TDSYNC_OK)
		rc = fetch_run(w);
	if (rc == TDSYNC_OK)
		rc = conflicts_run(w);
	if (rc == TDSYNC_OK && sent != TDSYNC_OK) {
		w->t->err = refused;
		rc = sent;
	}
	return rc;
}

enum tdsync_rc
sync_run(struct work *w)
{
	enum tdsync_rc rc = sync_once(w);

	if (rc == TDSYNC_LOG_CHANGED &&
	    (rc = work_rehome(w, w->remote.changed_to)) == TDSYNC_OK)
		rc = sync_once(w);
	return rc;
}

enum tdsync_rc
tdsync_push(struct tdsync *t, struct tdsync_result *out)
{
	return work_run(t, push, NULL, out);
}

enum tdsync_rc
tdsync_pull(struct tdsync *t, struct tdsync_result *out)
{
	return work_run(t, pull_run, NULL, out);
}

enum tdsync_rc
tdsync_sync(struct tdsync *t, struct tdsync_result *out)
{
	return work_run(t, sync_run, NULL, out);
}

/* --- link --- */

static bool
member_is(struct span object, const char *name, const char *want)
{
	struct span v;

	return json_get(object, name, &v) && json_string_is(v, want);
}

/* The id of a project object; TDSYNC_NETWORK when it has none. */
static enum tdsync_rc
project_id(struct remote *r, struct span object, char out[ID_MAX], struct err *err)
{
	struct buf b = { 0 };
	struct span v;
	bool ok;

	ok = json_get(object, "id", &v) && json_string(v, &b) &&
	    id_is(buf_span(&b), "p_", 16) && buf_cstr(&b) != NULL;
	if (ok)
		snprintf(out, ID_MAX, "%s", b.p);
	buf_free(&b);
	return ok ? TDSYNC_OK
	    : remote_nonsense(r, "a project without a proper id", err);
}

static enum tdsync_rc
find_by_name(struct remote *r, struct span list, const char *name, char out[ID_MAX],
             struct err *err)
{
	struct span k, item, found = { 0 };
	struct json_iter it;
	int n = 0;

	json_iter_init(&it, list);
	while (json_next(&it, &k, &item))
		if (member_is(item, "slug", name) || member_is(item, "name", name)) {
			found = item;
			n++;
		}
	if (n == 1)
		return project_id(r, found, out, err);
	err_set(err, RC_NOT_FOUND, n == 0 ? "you are in no project called \"%s\" at %s"
	        : "you are in several projects called \"%s\" at %s: use the id", name, r->url);
	return n == 0 ? TDSYNC_NOT_FOUND : TDSYNC_INVALID;
}

enum tdsync_rc
work_find_project(struct tdsync *t, const char *project, char out[ID_MAX])
{
	struct remote r = work_remote(t);
	struct remote_answer a = { 0 };
	bool by_id = id_is(span_of(project), "p_", 16);
	char path[80];
	enum tdsync_rc rc;

	out[0] = '\0';
	snprintf(path, sizeof(path), "/v1/projects%s%s", by_id ? "/" : "", by_id ? project : "");
	rc = remote_call(&r, path, (struct span){ 0 }, false, &a, &t->err);
	if (rc == TDSYNC_OK)
		rc = by_id ? project_id(&r, a.json, out, &t->err)
		    : find_by_name(&r, a.json, project, out, &t->err);
	remote_answer_free(&a);
	return rc;
}

/* Open the databases and begin, for link and unlink. */
static enum tdsync_rc
begin(struct tdsync *t, struct work *w)
{
	struct err *err = &t->err;
	enum tdsync_rc rc = TDSYNC_FAULT;
	enum rc did;

	for (int i = 0; i < WORK_TRIES; i++) {
		work_let_others(i);
		*w = (struct work){ .t = t };
		if ((did = local_open(t->dir, true, &w->l, err)) == RC_OK &&
		    (did = local_begin(w->l, err)) == RC_OK &&
		    (did = books_prepare(w->l, err)) == RC_OK &&
		    (did = books_load(w->l, &w->books, err)) == RC_OK &&
		    (did = td_state_load(w->l, &w->td, err)) == RC_OK)
			return TDSYNC_OK;
		rc = work_local(w, did);
		work_close(w);
		if (!w->replaced)
			break;
	}
	return rc;
}

static enum tdsync_rc
link_to(struct work *w, const char *id)
{
	struct books *b = &w->books;
	struct err *err = &w->t->err;
	bool known = strcmp(b->project, id) == 0;
	enum rc rc;

	if (w->td.linked && strcmp(w->td.project, id) != 0) {
		err_set(err, RC_CONFLICT, "linked to %s already: `td-sync unlink` first",
		        w->td.project);
		return TDSYNC_INVALID;
	}
	/* What was refused once is tried once more. */
	if ((rc = books_forgive(w->l, err)) != RC_OK)
		return work_local(w, rc);
	if (!w->td.linked) {
		if (known && b->target == TARGET_NONE)
			b->target = TARGET_CURSOR;
		rc = td_state_link(w->l, id, known ? b->td_cursor : 0, err);
	}
	return rc == RC_OK ? work_commit(w) : work_local(w, rc);
}

enum tdsync_rc
tdsync_link(struct tdsync *t, const char *project)
{
	char id[ID_MAX];
	struct work w;
	enum tdsync_rc rc;

	t->err.text[0] = '\0';
	if (project == NULL || project[0] == '\0') {
		err_set(&t->err, RC_INVALID, "which project?");
		return TDSYNC_INVALID;
	}
	/* First whether there is a database at all: that needs no network. */
	if ((rc = begin(t, &w)) != TDSYNC_OK)
		return rc;
	work_close(&w);
	if ((rc = work_find_project(t, project, id)) != TDSYNC_OK ||
	    (rc = begin(t, &w)) != TDSYNC_OK)
		return rc;
	rc = link_to(&w, id);
	work_close(&w);
	return rc;
}

enum tdsync_rc
tdsync_unlink(struct tdsync *t)
{
	struct work w;
	enum tdsync_rc rc;

	t->err.text[0] = '\0';
	if ((rc = begin(t, &w)) != TDSYNC_OK)
		return rc;
	if (!w.td.linked) {
		err_set(&t->err, RC_NOT_FOUND, "not linked to a project");
		rc = TDSYNC_NOT_LINKED;
	} else if ((rc = work_local(&w, td_state_unlink(w.l, &t->err))) == TDSYNC_OK) {
		rc = work_commit(&w);
	}
	work_close(&w);
	return rc;
}

/* --- status --- */

static enum rc
count(void *ctx, const struct entry *e, bool *stop, struct err *err)
{
	const struct profile_entity *p = profile_entity(&profile_td, e->entity_type);

	(void)stop;
	(void)err;
	if (p != NULL && !p->held_back)
		++*(int64_t *)ctx;
	return RC_OK;
}

static enum rc
local_status(struct work *w, struct tdsync_status *out)
{
	struct err *err = &w->t->err;
	enum rc rc;

	if (!w->l->has_books && (rc = books_prepare(w->l, err)) != RC_OK)
		return rc;
	if (!books_ready(w->l))
		return err_set(err, RC_INVALID, ".todos/td-sync.db was written by another "
		               "version of td-sync");
	if ((rc = books_load(w->l, &w->books, err)) != RC_OK ||
	    (rc = td_state_load(w->l, &w->td, err)) != RC_OK ||
	    (rc = entries_walk(w->l, &w->books, ENTRIES_TO_SEND, count, &out->pending,
	                       err)) != RC_OK)
		return rc;
	return books_rejections(w->l, &out->rejected, err);
}

/* The devices that an answer names, to lend them. */
static const char *
lost_devices(struct tdsync *t, struct span answer)
{
	struct buf *out = &t->lost_devices;
	struct json_iter it;
	struct span list, key, device, id;

	buf_reset(out);
	json_get(answer, "holds_lost_events", &list);
	json_iter_init(&it, list);
	while (json_next(&it, &key, &device))
		if (json_get(device, "device_id", &id)) {
			if (out->len > 0)
				buf_add_str(out, ", ");
			json_string(id, out);
		}
	return buf_cstr(out) != NULL ? out->p : "";
}

static void
ask_status(struct work *w, struct tdsync_status *out)
{
	struct remote_answer a = { 0 };
	struct buf path = { 0 };
	struct span v;

	snprintf(w->books.project, sizeof(w->books.project), "%s", w->td.project);
	if (work_path(w, "status", &path) == TDSYNC_OK &&
	    remote_call(&w->remote, path.p, (struct span){ 0 }, false, &a,
	                &w->t->err) == TDSYNC_OK) {
		out->server_reached =
		    json_get(a.json, "last_server_seq", &v) && json_int64(v, &out->server_seq) &&
		    json_get(a.json, "event_count", &v) && json_int64(v, &out->server_events);
		if (!out->server_reached)
			remote_nonsense(&w->remote, "its status makes no sense", &w->t->err);
		if (out->server_reached)
			out->lost_devices = lost_devices(w->t, a.json);
		if (out->server_reached && a.reply.server_time != 0)
			out->clock_ahead_ms = (work_now_us(w) / 1000000 - a.reply.server_time) * 1000;
	}
	buf_free(&path);
	remote_answer_free(&a);
}

enum tdsync_rc
tdsync_get_status(struct tdsync *t, bool ask_server, struct tdsync_status *out)
{
	struct work w = { .t = t, .remote = work_remote(t) };
	bool known;
	enum tdsync_rc rc;

	t->err.text[0] = '\0';
	*out = (struct tdsync_status){ .url = t->settings.url, .project_id = "",
		.device_id = "", .log_id = "", .lost_devices = "" };
	if ((rc = work_local(&w, local_open(t->dir, false, &w.l, &t->err))) != TDSYNC_OK)
		return rc;
	out->schema = w.l->schema;
	if ((rc = work_local(&w, local_status(&w, out))) != TDSYNC_OK)
		goto done;
	if (!w.td.linked) {
		err_set(&t->err, RC_NOT_FOUND, "not linked to a project: `td-sync link PROJECT`");
		rc = TDSYNC_NOT_LINKED;
		goto done;
	}
	known = strcmp(w.books.project, w.td.project) == 0;
	snprintf(t->project, sizeof(t->project), "%s", w.td.project);
	snprintf(t->device, sizeof(t->device), "%s",
	         t->settings.device_id != NULL ? t->settings.device_id
	         : w.l->has_books ? w.books.device : "");
	snprintf(t->log_id, sizeof(t->log_id), "%s", known ? w.books.log_id : "");
	out->project_id = t->project;
	out->device_id = t->device;
	out->log_id = t->log_id;
	out->cursor = w.td.cursor;
	if (ask_server)
		ask_status(&w, out);
done:
	work_close(&w);
	return rc;
}

enum tdsync_rc
tdsync_each_rejection(struct tdsync *t,
                      void (*visit)(void *ctx, const struct tdsync_rejection *r),
                      void *ctx)
{
	struct work w = { .t = t };
	enum tdsync_rc rc;

	t->err.text[0] = '\0';
	if ((rc = work_local(&w, local_open(t->dir, false, &w.l, &t->err))) == TDSYNC_OK &&
	    w.l->has_books && books_ready(w.l))
		rc = work_local(&w, books_each_rejection(w.l, visit, ctx, &t->err));
	work_close(&w);
	return rc;
}
