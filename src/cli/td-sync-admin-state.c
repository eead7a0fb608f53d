/* td-sync-admin project: what a project's log adds up to, and what was lost. */
#include "cli/td-sync-admin.h"

#include "base/clock.h"
#include "base/json.h"
#include "engine/conflict_page.h"

#include <inttypes.h>
#include <stdio.h>

/* How long a command waits for a lock: as long as a request does. */
#define WAIT_MS 3000

/* Conflicts that are read at one moment. */
#define PAGE 1000

enum rc
admin_view(struct admin *a, struct view *v)
{
	struct project p;
	int n;
	enum rc rc;

	*v = (struct view){ .a = a };
	if ((rc = admin_project(a, a->args[0], &p)) != RC_OK ||
	    (rc = admin_profiles(a, v->profiles)) != RC_OK)
		return rc;
	installed_init(&v->in, v->profiles);
	snprintf(v->id, sizeof(v->id), "%s", p.id);
	n = snprintf(v->dir, sizeof(v->dir), "%s/projects/%s", a->data, p.id);
	if (n >= (int)sizeof(v->dir))
		return err_set(&a->err, RC_INVALID, "the data folder's path is too long");
	rc = events_open(v->dir, &v->log, &a->err);
	if (rc == RC_NOT_FOUND)
		return err_set(&a->err, RC_UNAVAILABLE, "%s: the project's log is missing: put it "
		               "back from a backup", v->dir);
	if (rc == RC_OK)
		rc = installed_get(&v->in, events_profile(v->log), &v->profile, &a->err);
	if (rc == RC_OK && v->profile != NULL)
		rc = follower_new(v->dir, v->profile, &v->f, &a->err);
	return rc;
}

/* The same for a command that is about the state. */
static enum rc
view_state(struct admin *a, struct view *v)
{
	enum rc rc = admin_view(a, v);

	return rc == RC_OK && v->f == NULL
	    ? err_set(&a->err, RC_CONFLICT, "the project is for no profile, so its log adds up "
	              "to nothing") : rc;
}

void
admin_view_close(struct view *v)
{
	follower_free(v->f);
	events_close(v->log);
	installed_close(&v->in);
}

/* Hold the state as it is at the log's head. */
static enum rc
hold(struct view *v)
{
	struct follow_limits limits = { clock_mono_ms() + WAIT_MS, INT64_MAX, false };
	struct events_head head;
	enum rc rc;

	if ((rc = follower_run(v->f, v->log, &limits, &v->a->err)) != RC_OK ||
	    (rc = events_head(v->log, &head, &v->a->err)) != RC_OK)
		return rc;
	return follower_hold(v->f, v->log, head.visible, clock_mono_ms() + WAIT_MS,
	                     &v->a->err);
}

/* --- rebuild --- */

static enum rc
count_skipped(void *ctx, int64_t seq, const char *reason, const char *why, struct err *err)
{
	(void)seq;
	(void)reason;
	(void)why;
	(void)err;
	++*(int64_t *)ctx;
	return RC_OK;
}

static enum rc
count_conflict(void *ctx, const struct state_conflict *c, bool *stop, struct err *err)
{
	(void)c;
	(void)stop;
	(void)err;
	++*(int64_t *)ctx;
	return RC_OK;
}

/* What the state is that was just made. */
struct made {
	struct events_head head;
	int64_t skipped, conflicts, ms;
};

static enum rc
rebuild(struct view *v, struct made *m)
{
	int64_t start_ms = clock_mono_ms();
	struct state *s = follower_state(v->f);
	enum rc rc = follower_rebuild(v->f, v->log, start_ms + WAIT_MS, &v->a->err);

	m->ms = clock_mono_ms() - start_ms;
	if (rc != RC_OK || (rc = hold(v)) != RC_OK)
		return rc;
	if ((rc = events_head(v->log, &m->head, &v->a->err)) == RC_OK &&
	    (rc = state_walk_skipped(s, count_skipped, &m->skipped, &v->a->err)) == RC_OK)
		rc = state_walk_conflicts(s, 0, count_conflict, &m->conflicts, &v->a->err);
	state_let_go(s);
	return rc;
}

int
project_rebuild_run(struct admin *a)
{
	struct made m = { 0 };
	struct buf line;
	struct view v;
	enum rc rc = view_state(a, &v);

	if (rc == RC_OK)
		rc = rebuild(&v, &m);
	admin_view_close(&v);
	if (rc != RC_OK)
		return admin_fail(a, rc);
	if (!a->json) {
		line = (struct buf){ 0 };
		buf_addf(&line, "%" PRId64 " events, %" PRId64 " skipped, %" PRId64
		         " conflicts, %" PRId64 ".%03d s", m.head.count, m.skipped, m.conflicts,
		         m.ms / 1000, (int)(m.ms % 1000));
		out_line(&line);
		return 0;
	}
	out_begin(&line);
	out_int(&line, "event_count", m.head.count);
	out_int(&line, "last_server_seq", m.head.seq);
	out_int(&line, "skipped", m.skipped);
	out_int(&line, "conflicts", m.conflicts);
	out_int(&line, "ms", m.ms);
	out_end(&line);
	return 0;
}

/* --- skipped --- */

static enum rc
show_skipped(void *ctx, int64_t seq, const char *reason, const char *why, struct err *err)
{
	struct view *v = ctx;
	struct buf line = { 0 }, entity = { 0 };
	struct event ev;
	char number[24];
	enum rc rc = events_glance(v->log, seq, &ev, err);

	if (rc != RC_OK)
		return rc;
	if (v->a->json) {
		out_begin(&line);
		out_int(&line, "server_seq", seq);
		out_string(&line, "reason", reason);
		out_span(&line, "entity_type", ev.type);
		out_span(&line, "entity_id", ev.id);
		out_string(&line, "message", why);
		out_end(&line);
	} else {
		snprintf(number, sizeof(number), "%" PRId64, seq);
		buf_add_span(&entity, ev.type);
		buf_add_byte(&entity, '/');
		buf_add_span(&entity, ev.id);
		out_column(&line, number, 8);
		out_column(&line, reason, 15);
		out_column(&line, buf_cstr(&entity) != NULL ? entity.p : "", 24);
		out_clean(&line, why);
		out_line(&line);
	}
	events_got(v->log);
	buf_free(&entity);
	return RC_OK;
}

int
project_skipped_run(struct admin *a)
{
	struct view v;
	enum rc rc = view_state(a, &v);

	if (rc == RC_OK && (rc = hold(&v)) == RC_OK) {
		rc = state_walk_skipped(follower_state(v.f), show_skipped, &v, &a->err);
		state_let_go(follower_state(v.f));
	}
	admin_view_close(&v);
	return rc == RC_OK ? 0 : admin_fail(a, rc);
}

/* --- conflicts --- */

/* A string member, decoded; empty where there is none. */
static const char *
text(struct span object, const char *name, struct buf *out)
{
	struct span value;

	buf_reset(out);
	if (json_get(object, name, &value) && !json_string(value, out))
		buf_add_span(out, value);
	return out->len > 0 && buf_cstr(out) != NULL ? out->p : "";
}

/* "title: "Theirs" -> "Mine"", field by field: what was lost, what is there. */
static void
add_fields(struct span conflict, struct buf *line)
{
	struct span fields, key, field, value;
	struct buf word = { 0 };
	struct json_iter it;
	const char *comma = "";

	json_get(conflict, "fields", &fields);
	json_iter_init(&it, fields);
	for (; json_next(&it, &key, &field); comma = "; ") {
		buf_add_str(line, comma);
		out_clean(line, text(field, "field", &word));
		buf_reset(&word);
		json_get(field, "lost", &value);
		buf_addf(&word, ": %.*s", (int)value.len, value.p);
		json_get(field, "kept", &value);
		buf_addf(&word, " -> %.*s", (int)value.len, value.p);
		if (buf_cstr(&word) != NULL)
			out_clean(line, word.p);
	}
	buf_free(&word);
}

static void
show_conflict(struct admin *a, struct span conflict)
{
	struct buf line = { 0 }, word = { 0 };
	struct span certain;

	if (a->json) {
		buf_add_span(&line, conflict);
		out_line(&line);
		return;
	}
	out_column(&line, text(conflict, "id", &word), 8);
	json_get(conflict, "certain", &certain);
	text(conflict, "kind", &word);
	if (json_type(certain) != JSON_TRUE)
		buf_add_byte(&word, '?');
	out_column(&line, buf_cstr(&word) != NULL ? word.p : "", 16);
	out_clean(&line, text(conflict, "entity_type", &word));
	buf_add_byte(&line, '/');
	out_clean(&line, text(conflict, "entity_id", &word));
	buf_add_str(&line, "  ");
	add_fields(conflict, &line);
	out_line(&line);
	buf_free(&word);
}

/* Show a page; *after moves behind it, to -1 behind the last one. */
static enum rc
show_page(struct view *v, int64_t *after)
{
	struct span page, list, key, conflict, more;
	struct buf text = { 0 };
	struct json_iter it;
	enum rc rc = conflict_page_write(v->f, v->log, *after, PAGE, true, &text, &v->a->err);

	if (rc == RC_OK)
		rc = json_scan(buf_span(&text), JSON_MAX_DEPTH, &page, NULL, &v->a->err);
	if (rc == RC_OK && json_get(page, "conflicts", &list)) {
		json_iter_init(&it, list);
		while (json_next(&it, &key, &conflict))
			show_conflict(v->a, conflict);
		json_get(page, "last_server_seq", &key);
		json_int64(key, after);
		if (!json_get(page, "has_more", &more) || json_type(more) != JSON_TRUE)
			*after = -1;
	}
	buf_free(&text);
	return rc;
}

int
project_conflicts_run(struct admin *a)
{
	int64_t after = 0;
	struct view v;
	enum rc rc = view_state(a, &v);

	if (rc == RC_OK && (rc = hold(&v)) == RC_OK) {
		while (rc == RC_OK && after >= 0)
			rc = show_page(&v, &after);
		state_let_go(follower_state(v.f));
	}
	admin_view_close(&v);
	return rc == RC_OK ? 0 : admin_fail(a, rc);
}
