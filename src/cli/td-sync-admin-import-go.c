/*
 * td-sync-admin import-go: everything that a Go server's data folder holds. First all of
 * it is judged; then the logs are made, each compared with its source before it gets its
 * place; then one transaction in server.db lets everybody in. Killed before that, nobody
 * saw anything, and the next run goes on with the logs that are in their places.
 */
#include "cli/td-sync-admin.h"

#include "engine/digest.h"
#include "engine/push.h"
#include "store/gofolder.h"
#include "store/imports.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PROFILE "td" /* whose server the Go server is */

/* A project of the source. */
struct source {
	struct project p;
	int64_t events, last; /* how many, and the last one's seq */
	int64_t head;         /* the last number that was given: its event may be gone */
	int64_t bytes;        /* of their payloads */
	int64_t parked;
	bool there;           /* its log has its place here, and is the same so far */
};

/* How many were taken, and how many were there. */
struct tally {
	int64_t made, there;
};

struct moving {
	struct admin *a;
	struct go_folder *go;
	struct installed in;
	const struct profile *profile;
	struct source *all;
	size_t n;
	struct source *now;       /* the one at hand */
	struct making making;
	struct events *log;       /* that the source is compared with */
	int64_t found;            /* events that were */
	struct buf scratch;
	bool bad;                 /* something can't be taken */
	bool for_real;            /* no rehearsal */
	struct tally users, keys, projects, members, invitations, events;
};

/* --- saying --- */

/* Something that is not taken, or not as it is. */
static void
note(struct moving *m, const char *what, const char *id, const char *why)
{
	struct buf line = { 0 };

	if (m->a->json) {
		out_begin(&line);
		out_string(&line, "note", what);
		out_string(&line, "id", id);
		out_string(&line, "why", why);
		out_end(&line);
		return;
	}
	out_clean(&line, what);
	buf_add_byte(&line, ' ');
	out_clean(&line, id);
	buf_add_str(&line, ": ");
	out_clean(&line, why);
	out_line(&line);
}

static void
show_project(struct moving *m, const struct source *s)
{
	const char *state = s->there ? "here" : "new";
	struct buf line = { 0 };

	if (m->a->json) {
		out_begin(&line);
		out_string(&line, "project", s->p.id);
		out_string(&line, "name", s->p.name);
		out_string(&line, "log", state);
		out_int(&line, "event_count", s->events);
		out_int(&line, "last_server_seq", s->head);
		out_int(&line, "parked", s->parked);
		out_time(&line, "deleted_at", s->p.deleted_at);
		out_end(&line);
		return;
	}
	out_column(&line, s->p.id, 18);
	out_column(&line, state, 4);
	buf_addf(&line, "%" PRId64 " events, the last is %" PRId64, s->events, s->last);
	if (s->parked > 0)
		buf_addf(&line, ", %" PRId64 " of them parked", s->parked);
	buf_add_str(&line, s->p.deleted_at != 0 ? "  (deleted)  " : "  ");
	out_clean(&line, s->p.name);
	out_line(&line);
}

static void
show_tally(struct moving *m, const char *name, const struct tally *t, struct buf *line)
{
	char key[40];

	if (!m->a->json) {
		buf_addf(line, "%s%" PRId64 " %s", line->len > 0 ? ", " : "", t->made, name);
		if (t->there > 0)
			buf_addf(line, " (%" PRId64 " more here already)", t->there);
		return;
	}
	out_int(line, name, t->made);
	snprintf(key, sizeof(key), "%s_here", name);
	out_int(line, key, t->there);
}

static void
show_result(struct moving *m)
{
	bool any = m->users.made + m->keys.made + m->projects.made > 0;
	struct buf line = { 0 }, text = { 0 };

	if (m->a->json)
		out_begin(&line);
	show_tally(m, "users", &m->users, &line);
	show_tally(m, "keys", &m->keys, &line);
	show_tally(m, "projects", &m->projects, &line);
	show_tally(m, "members", &m->members, &line);
	show_tally(m, "invitations", &m->invitations, &line);
	show_tally(m, "events", &m->events, &line);
	if (m->a->json) {
		out_string(&line, "status", m->a->dry_run ? "dry run" : any ? "imported" : "unchanged");
		out_end(&line);
		return;
	}
	buf_add_str(&text, m->a->dry_run ? "would be taken: " : any ? "taken over: "
	            : "all of it was here already, nothing was changed: ");
	buf_add_span(&text, buf_span(&line));
	out_line(&text);
	buf_free(&line);
}

/* --- events --- */

/* Make one of ours of an event; what can't be taken is said. */
static enum rc
adopt(struct moving *m, struct event *ev, struct span action, struct err *why)
{
	ev->action = profile_action(m->profile, action);
	return push_adopt(m->profile, ev, &m->scratch, why);
}

static enum rc
judge_one(void *ctx, struct event *ev, struct span action)
{
	struct moving *m = ctx;
	struct source *s = m->now;
	char id[64];
	struct err why;
	enum rc rc;

	if (ev->seq <= s->last)
		rc = err_set(&why, RC_INVALID, "its server_seq is not above 0");
	else if (ev->seq > EVENTS_SEQ_TAKEN)
		rc = err_set(&why, RC_INVALID, "its server_seq is above %" PRId64, EVENTS_SEQ_TAKEN);
	else
		rc = adopt(m, ev, action, &why);
	if (rc == RC_INVALID) {
		snprintf(id, sizeof(id), "%" PRId64 " of %s", ev->seq, s->p.id);
		note(m, "event", id, why.text);
		m->bad = true;
	} else if (rc != RC_OK) {
		return err_set(&m->a->err, rc, "%s", why.text);
	}
	s->events++;
	s->last = ev->seq;
	s->bytes += (int64_t)ev->payload.len;
	s->parked += ev->parked;
	return RC_OK;
}

static enum rc
take_one(void *ctx, struct event *ev, struct span action)
{
	struct moving *m = ctx;
	enum rc rc = adopt(m, ev, action, &m->a->err);

	return rc == RC_OK ? making_add(&m->making, ev) : rc;
}

/* Whether two are the same event in the same place. */
static bool
is_same(const struct event *a, struct event *b)
{
	if (a->seq != b->seq || a->action_id != b->action_id || a->action != b->action ||
	    a->server_us != b->server_us || a->parked != b->parked || a->by_server ||
	    !span_eq(a->device, b->device) || !span_eq(a->session, b->session) ||
	    !span_eq(a->type, b->type) || !span_eq(a->id, b->id) || !span_eq(a->time, b->time) ||
	    !span_eq(a->payload, b->payload) || a->user.len > 0)
		return false;
	if (memcmp(a->digest, b->digest, EVENT_DIGEST_LEN) == 0)
		return true;
	return event_digest_twin(b) == RC_OK && memcmp(a->digest, b->digest, EVENT_DIGEST_LEN) == 0;
}

static enum rc
compare_one(void *ctx, struct event *ev, struct span action)
{
	struct moving *m = ctx;
	struct event ours;
	enum rc rc = adopt(m, ev, action, &m->a->err);

	if (rc != RC_OK)
		return rc;
	rc = events_get(m->log, ev->seq, &ours, &m->a->err);
	if (rc == RC_OK && !is_same(&ours, ev))
		rc = RC_NOT_FOUND;
	events_got(m->log);
	m->found++;
	return rc != RC_NOT_FOUND ? rc
	    : err_set(&m->a->err, RC_CONFLICT, "event %" PRId64 " of project %s is not here as it "
	          "is there", ev->seq, m->now->p.id);
}

/* Read the source once more and compare every event with a log, which may go on behind
 * the last one. RC_CONFLICT: it is another log. */
static enum rc
compare(struct moving *m, struct events *log)
{
	struct events_head head;
	enum rc rc;

	m->log = log;
	m->found = 0;
	rc = go_events(m->go, m->now->p.id, NULL, compare_one, m, &m->a->err);
	if (rc == RC_OK)
		rc = events_head(log, &head, &m->a->err);
	if (rc == RC_OK && (m->found != m->now->events || head.seq < m->now->last ||
	                    (head.seq <= m->now->head && head.count != m->now->events)))
		rc = err_set(&m->a->err, RC_CONFLICT, "project %s has %" PRId64 " events there and %"
		             PRId64 " here", m->now->p.id, m->found, head.count);
	return rc;
}

/* --- judging all of it --- */

static enum rc
keep_project(void *ctx, const struct project *p)
{
	struct moving *m = ctx;
	struct source *all = realloc(m->all, (m->n + 1) * sizeof(*all));

	if (all == NULL)
		return err_set(&m->a->err, RC_FAULT, "out of memory");
	m->all = all;
	all[m->n++] = (struct source){ .p = *p };
	return RC_OK;
}

/* Compare with the log that has the project's place here; none is fine, and so is one
 * whose project was purged. */
static enum rc
look_here(struct moving *m, struct source *s)
{
	char dir[PATH_MAX];
	struct events *log = NULL;
	struct project p;
	struct err why;
	bool known;
	enum rc rc;

	if (snprintf(dir, sizeof(dir), "%s/projects/%s", m->a->data, s->p.id) >= (int)sizeof(dir))
		return err_set(&m->a->err, RC_INVALID, "the data folder's path is too long");
	known = project_get(m->a->accounts, s->p.id, &p, NULL) == RC_OK;
	if (known && p.purged_at != 0) {
		s->there = true;
		note(m, "project", s->p.id, "it was purged here and stays so");
		return RC_OK;
	}
	rc = events_open(dir, &log, &m->a->err);
	if (rc == RC_NOT_FOUND) /* it may have gone on here before it was lost */
		return !known ? RC_OK : err_set(&m->a->err, RC_UNAVAILABLE, "%s: the log of a project "
		                                "that is here already is missing: put it back from a "
		                                "backup", dir);
	if (rc == RC_OK && (rc = compare(m, log)) == RC_CONFLICT) {
		why = m->a->err;
		rc = known ? err_set(&m->a->err, rc, "there is another project %s here already (%s): take "
		                     "the folder over into an empty data folder", s->p.id, why.text)
		           : err_set(&m->a->err, rc, "%s holds another log, of no project (%s): move it "
		                     "away", dir, why.text);
	}
	events_close(log);
	s->there = rc == RC_OK;
	return rc;
}

/* A log whose project was removed from server.db is nobody's. */
static enum rc
judge_folder(void *ctx, const char *project_id)
{
	struct moving *m = ctx;

	for (size_t i = 0; i < m->n; i++)
		if (strcmp(m->all[i].p.id, project_id) == 0)
			return RC_OK;
	note(m, "folder", project_id, "it is left out: server.db knows no such project");
	return RC_OK;
}

static enum rc
judge_projects(struct moving *m)
{
	int64_t given;
	enum rc rc = go_projects(m->go, keep_project, m, &m->a->err);

	if (rc == RC_OK)
		rc = go_folders(m->go, judge_folder, m, &m->a->err);
	for (size_t i = 0; i < m->n && rc == RC_OK; i++) {
		m->now = &m->all[i];
		rc = go_events(m->go, m->now->p.id, &given, judge_one, m, &m->a->err);
		m->now->head = given > m->now->last && given <= EVENTS_SEQ_TAKEN ? given : m->now->last;
		if (rc == RC_OK && !m->bad)
			rc = look_here(m, m->now);
		if (rc == RC_OK)
			show_project(m, m->now);
	}
	if (rc == RC_OK && m->bad)
		rc = err_set(&m->a->err, RC_INVALID, "some events can't be taken, they are named above: "
		             "take them out of a copy of the folder, and import that");
	return rc;
}

/* --- the logs --- */

static enum rc
make_log(struct moving *m, struct source *s)
{
	struct err why;
	enum rc rc = making_begin(&m->making, m->a, s->p.id, PROFILE);

	if (rc == RC_OK)
		rc = go_events(m->go, s->p.id, NULL, take_one, m, &m->a->err);
	if (rc == RC_OK)
		rc = making_end(&m->making, s->head, s->last + 1, s->last);
	if (rc == RC_OK && (rc = compare(m, m->making.log)) == RC_CONFLICT) {
		why = m->a->err;
		rc = err_set(&m->a->err, RC_UNAVAILABLE, "the source changed meanwhile (%s): stop the "
		             "Go server and run this again", why.text);
	}
	if (rc == RC_OK)
		rc = making_place(&m->making);
	making_drop(&m->making);
	return rc;
}

static enum rc
make_logs(struct moving *m)
{
	enum rc rc = RC_OK;

	for (size_t i = 0; i < m->n && rc == RC_OK; i++) {
		m->now = &m->all[i];
		if (!m->now->there)
			rc = make_log(m, m->now);
	}
	return rc;
}

/* --- server.db --- */

static void
count(struct tally *t, bool made)
{
	t->made += made;
	t->there += !made;
}

/* Say, once, that something is not taken; the rest is. */
static enum rc
left_out(struct moving *m, const char *what, const char *id, const char *why)
{
	char text[100];

	snprintf(text, sizeof(text), "it is left out: %s", why);
	if (!m->for_real)
		note(m, what, id, text);
	return RC_OK;
}

static enum rc
move_user(void *ctx, const struct user *u)
{
	struct moving *m = ctx;
	bool made;
	enum rc rc = import_user(m->a->accounts, u, &made, &m->a->err);

	count(&m->users, made);
	return rc;
}

/* What a key may do: "sync" is all that a member may; scopes of the Go server's admin API
 * mean nothing here. */
static unsigned
map_scopes(const char *scopes)
{
	const char *p = scopes;
	unsigned bits = 0;

	while (*p != '\0') {
		size_t n = strcspn(p, ", ");

		if (span_is((struct span){ p, n }, "sync"))
			bits = SCOPE_READ | SCOPE_WRITE | SCOPE_PROJECT_ADMIN;
		p += n + (p[n] != '\0');
	}
	return bits;
}

static enum rc
move_key(void *ctx, const struct token_row *theirs, const unsigned char key[HASH_LEN])
{
	struct moving *m = ctx;
	struct token_row t = *theirs;
	struct buf scope = { 0 };
	unsigned bits = map_scopes(theirs->scope);
	bool made;
	enum rc rc;

	if (bits == 0)
		return left_out(m, "key", t.id, "none of its scopes means anything here");
	scope_add(&scope, bits);
	if (buf_cstr(&scope) == NULL)
		return err_set(&m->a->err, RC_FAULT, "out of memory");
	snprintf(t.scope, sizeof(t.scope), "%s", scope.p);
	buf_free(&scope);
	if (t.expires_at == 0)
		t.expires_at = IMPORT_NEVER;
	rc = import_key(m->a->accounts, &t, key, &made, &m->a->err);
	if (rc == RC_NOT_FOUND)
		return left_out(m, "key", t.id, "its user is not there");
	count(&m->keys, made);
	return rc;
}

static enum rc
move_member(void *ctx, const struct member *member)
{
	struct moving *m = ctx;
	enum rc rc = import_member(m->a->accounts, member, &m->a->err);

	if (rc == RC_NOT_FOUND)
		return left_out(m, "member", member->user_id, "no such user is there");
	m->members.made++;
	return rc;
}

static enum rc
move_invitation(void *ctx, const struct invitation *i)
{
	struct moving *m = ctx;
	enum rc rc = import_invitation(m->a->accounts, i, &m->a->err);

	m->invitations.made++;
	return rc;
}

/* A project that is there keeps the members that it has. */
static enum rc
move_project(struct moving *m, const struct source *s)
{
	struct project p = s->p;
	bool made;
	enum rc rc = import_project(m->a->accounts, &p, &made, &m->a->err);

	count(&m->projects, made);
	*(made ? &m->events.made : &m->events.there) += s->events;
	if (rc != RC_OK || !made)
		return rc;
	if (!m->for_real && s->p.slug[0] != '\0' && strcmp(p.slug, s->p.slug) != 0)
		note(m, "project", p.id, "its slug is taken here, it gets another one");
	rc = go_members(m->go, p.id, move_member, m, &m->a->err);
	return rc == RC_OK ? go_invitations(m->go, p.id, move_invitation, m, &m->a->err) : rc;
}

static enum rc
move_rows(struct moving *m)
{
	struct admin *a = m->a;
	enum rc rc = go_users(m->go, move_user, m, &a->err);

	if (rc == RC_OK)
		rc = go_keys(m->go, move_key, m, &a->err);
	for (size_t i = 0; i < m->n && rc == RC_OK; i++)
		rc = move_project(m, &m->all[i]);
	return rc;
}

/* All of it in one transaction; a rehearsal ends as if it had not been. */
static enum rc
move_accounts(struct moving *m, bool for_real)
{
	enum rc rc = import_begin(m->a->accounts, &m->a->err);

	if (rc != RC_OK)
		return rc;
	m->for_real = for_real;
	m->users = m->keys = m->projects = m->members = m->invitations = m->events =
	    (struct tally){ 0 };
	rc = move_rows(m);
	if (for_real)
		return import_end(m->a->accounts, rc, &m->a->err);
	import_forget(m->a->accounts);
	return rc;
}

/* --- the command --- */

static enum rc
move_all(struct moving *m)
{
	enum rc rc = judge_projects(m);

	if (rc == RC_OK)
		rc = move_accounts(m, false);
	if (rc != RC_OK || m->a->dry_run)
		return rc;
	rc = make_logs(m);
	return rc == RC_OK ? move_accounts(m, true) : rc;
}

int
import_go_run(struct admin *a)
{
	char profiles[PATH_MAX];
	struct moving m = { .a = a };
	struct lock *lock = NULL;
	enum rc rc = admin_profiles(a, profiles);

	installed_init(&m.in, profiles);
	if (rc == RC_OK)
		rc = installed_get(&m.in, PROFILE, &m.profile, &a->err);
	if (rc == RC_OK)
		rc = making_lock(a, &lock);
	if (rc == RC_OK)
		rc = go_open(a->args[0], &m.go, &a->err);
	if (rc == RC_OK)
		rc = move_all(&m);
	go_close(m.go);
	lock_close(lock);
	installed_close(&m.in);
	buf_free(&m.scratch);
	free(m.all);
	if (rc != RC_OK)
		return admin_fail(a, rc);
	show_result(&m);
	return 0;
}
