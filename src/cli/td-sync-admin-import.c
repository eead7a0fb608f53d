/*
 * td-sync-admin import: a project of what export wrote. Its log is made where nobody sees
 * it; then one transaction makes project and members. Its id is the one in the file where
 * that is free; the log's own id is always a new one, for two logs may go different ways.
 */
#include "cli/td-sync-admin.h"

#include "base/json.h"
#include "engine/digest.h"
#include "engine/page.h"
#include "engine/push.h"
#include "store/imports.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A longer line is not read to its end. */
#define LINE_MAX_BYTES (128 << 20)

/* A member, as found here. */
struct joining {
	struct user u;
	struct member m;
};

struct importing {
	struct admin *a;
	FILE *from;
	struct buf line, scratch, payload;
	int64_t at;            /* the line's number */
	struct project p;
	char profile[PROFILE_NAME_MAX + 1];
	struct installed in;
	const struct profile *types; /* the profile; NULL: PROFILE_NONE */
	bool same_id;          /* it keeps the id that it had */
	int64_t head, count, heal_from, moved_to; /* as the header says */
	struct events_gap *gaps;
	size_t n_gaps, gap;    /* `gap`: the first that doesn't end before the line's event */
	struct joining *members;
	size_t n;
	int64_t events, last;  /* that were read */
	struct making making;
};

static enum rc __attribute__((format(printf, 2, 3)))
bad(struct importing *m, const char *fmt, ...)
{
	char why[200];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	return err_set(&m->a->err, RC_INVALID, "line %" PRId64 ": %s", m->at, why);
}

/* The next line, without its end. False: there is none, or *rc says what is wrong. */
static bool
next_line(struct importing *m, enum rc *rc)
{
	char piece[65536];
	size_t n;

	*rc = RC_OK;
	buf_reset(&m->line);
	m->at++;
	while (fgets(piece, sizeof(piece), m->from) != NULL) {
		n = strlen(piece); /* what comes behind a NUL is no JSON, and misses then */
		buf_add(&m->line, piece, n);
		if (m->line.failed)
			*rc = err_set(&m->a->err, RC_FAULT, "out of memory");
		else if (m->line.len > LINE_MAX_BYTES)
			*rc = bad(m, "it is longer than %d bytes", LINE_MAX_BYTES);
		if (*rc != RC_OK)
			return false;
		if (n > 0 && piece[n - 1] == '\n') {
			m->line.len--;
			return true;
		}
	}
	if (ferror(m->from))
		*rc = err_set(&m->a->err, RC_UNAVAILABLE, "can't read %s: %s", m->a->args[0],
		              strerror(errno));
	return *rc == RC_OK && m->line.len > 0;
}

/* The line as one JSON object. */
static enum rc
read_object(struct importing *m, struct span *out)
{
	struct span rest;
	struct err why;

	if (json_scan(buf_span(&m->line), JSON_MAX_DEPTH + 1, out, &rest, &why) != RC_OK)
		return bad(m, "it is not JSON (%s)", why.text);
	if (json_type(*out) != JSON_OBJECT || out->len != m->line.len)
		return bad(m, "it is not one JSON object");
	return RC_OK;
}

/* --- the header --- */

static bool
get_text(struct span object, const char *name, char *out, size_t cap)
{
	struct buf text = { 0 };
	struct span value;
	bool ok = json_get(object, name, &value) && json_type(value) == JSON_STRING &&
	          !json_string_odd(value) && json_string(value, &text) && !text.failed &&
	          text.len < cap;

	if (ok && text.len > 0)
		memcpy(out, text.p, text.len);
	out[ok ? text.len : 0] = '\0';
	buf_free(&text);
	return ok;
}

static bool
get_number(struct span object, const char *name, int64_t *out)
{
	struct span value;

	return json_get(object, name, &value) && json_int64(value, out) && *out >= 0;
}

static bool
get_time(struct span object, const char *name, int64_t *out)
{
	char text[64];
	struct instant at;
	bool ok = get_text(object, name, text, sizeof(text)) &&
	          time_parse_rfc3339(span_of(text), &at);

	*out = ok ? at.sec : 0;
	return ok;
}

/* As import-go takes them, too: not each is one that we would make. */
static bool
is_user_id(const char *id)
{
	return id[0] != '\0' && strspn(id, "abcdefghijklmnopqrstuvwxyz0123456789_") == strlen(id);
}

/* A member with the account that he has here, or will get. */
static enum rc
read_member(struct importing *m, struct span object)
{
	struct joining *all = realloc(m->members, (m->n + 1) * sizeof(*all)), *j;
	struct user there;
	char role[16];
	enum rc rc;

	if (all == NULL)
		return err_set(&m->a->err, RC_FAULT, "out of memory");
	m->members = all;
	j = &all[m->n];
	*j = (struct joining){ 0 };
	if (!get_text(object, "user_id", j->u.id, sizeof(j->u.id)) ||
	    !is_user_id(j->u.id) ||
	    !get_text(object, "email", j->u.email, sizeof(j->u.email)) || j->u.email[0] == '\0' ||
	    !get_text(object, "role", role, sizeof(role)) ||
	    !role_find(span_of(role), &j->m.role) ||
	    !get_time(object, "created_at", &j->m.created_at))
		return bad(m, "a member is not what it should be");
	j->u.created_at = j->m.created_at;
	rc = user_by_email(m->a->accounts, span_of(j->u.email), &there, &m->a->err);
	if (rc == RC_OK)
		j->u = there;
	else if (rc == RC_NOT_FOUND &&
	         (rc = user_by_id(m->a->accounts, j->u.id, &there, &m->a->err)) == RC_OK)
		rc = id_new("u_", 8, j->u.id); /* the id is somebody else's here */
	if (rc != RC_OK && rc != RC_NOT_FOUND)
		return rc;
	snprintf(j->m.user_id, sizeof(j->m.user_id), "%s", j->u.id);
	m->n++;
	return RC_OK;
}

static enum rc
read_members(struct importing *m, struct span list)
{
	struct json_iter it;
	struct span key, value;
	bool owned = false;
	enum rc rc = RC_OK;

	json_iter_init(&it, list);
	while (rc == RC_OK && json_next(&it, &key, &value))
		rc = read_member(m, value);
	for (size_t i = 0; i < m->n; i++)
		owned = owned || m->members[i].m.role == ROLE_OWNER;
	if (rc == RC_OK && !owned)
		rc = bad(m, "no member is an owner: give --owner EMAIL");
	return rc;
}

/* Numbers that its server passed over, in order; files of older versions tell of none. */
static enum rc
read_gaps(struct importing *m, struct span header)
{
	struct json_iter it;
	struct span list, key, value;
	int64_t from = 0;

	if (!json_get(header, "gaps", &list))
		return RC_OK;
	if (json_type(list) != JSON_ARRAY)
		return bad(m, "the gaps are no list");
	json_iter_init(&it, list);
	while (json_next(&it, &key, &value)) {
		struct events_gap *all = realloc(m->gaps, (m->n_gaps + 1) * sizeof(*all)), g;

		if (all == NULL)
			return err_set(&m->a->err, RC_FAULT, "out of memory");
		m->gaps = all;
		if (!get_number(value, "after_seq", &g.after) ||
		    !get_number(value, "until_seq", &g.until) ||
		    g.after < from || g.until <= g.after || g.until > m->head)
			return bad(m, "a gap is not what it should be");
		from = g.until;
		m->gaps[m->n_gaps++] = g;
	}
	return RC_OK;
}

/* --owner: that user, and nobody else. */
static enum rc
take_owner(struct importing *m)
{
	enum rc rc;

	if ((m->members = calloc(1, sizeof(*m->members))) == NULL)
		return err_set(&m->a->err, RC_FAULT, "out of memory");
	if ((rc = admin_user(m->a, m->a->owner, &m->members->u)) != RC_OK)
		return rc;
	snprintf(m->members->m.user_id, sizeof(m->members->m.user_id), "%s", m->members->u.id);
	m->members->m.role = ROLE_OWNER;
	m->members->m.created_at = clock_now_us() / 1000000;
	m->n = 1;
	return RC_OK;
}

/* Which id it gets: its own where nobody has it; with --name, else another. */
static enum rc
choose_id(struct importing *m)
{
	struct project there;
	enum rc rc = project_get(m->a->accounts, m->p.id, &there, &m->a->err);

	m->same_id = rc == RC_NOT_FOUND;
	if (m->same_id)
		return RC_OK;
	if (rc == RC_OK && m->a->name == NULL)
		return err_set(&m->a->err, RC_CONFLICT, "there is a project %s (%s) here already, "
		               "nothing was changed: give --name NAME to make another one of the file",
		               there.id, there.slug);
	return rc == RC_OK ? id_new("p_", 8, m->p.id) : rc;
}

static enum rc
read_header(struct importing *m)
{
	struct project *p = &m->p;
	struct span o, members;
	char format[32];
	int64_t version = 0;
	enum rc rc;

	if (!next_line(m, &rc))
		return rc != RC_OK ? rc : bad(m, "the file is empty");
	if ((rc = read_object(m, &o)) != RC_OK)
		return rc;
	if (!get_text(o, "format", format, sizeof(format)) || strcmp(format, EXPORT_FORMAT) != 0)
		return bad(m, "the file was not written by td-sync-admin export");
	if (!get_number(o, "version", &version) || version > EXPORT_VERSION)
		return bad(m, "the file has version %" PRId64 ", this td-sync knows %d: a newer td-sync "
		           "is needed", version, EXPORT_VERSION);
	if (!get_text(o, "project_id", p->id, sizeof(p->id)) || !id_is(span_of(p->id), "p_", 16) ||
	    !get_text(o, "name", p->name, sizeof(p->name)) ||
	    !get_text(o, "description", p->description, sizeof(p->description)) ||
	    !get_text(o, "slug", p->slug, sizeof(p->slug)) ||
	    !get_time(o, "created_at", &p->created_at) ||
	    !get_time(o, "updated_at", &p->updated_at) ||
	    !get_text(o, "profile", m->profile, sizeof(m->profile)) ||
	    !get_number(o, "last_server_seq", &m->head) ||
	    !get_number(o, "event_count", &m->count) ||
	    !get_number(o, "heal_from_seq", &m->heal_from) ||
	    !get_number(o, "moved_to_seq", &m->moved_to) ||
	    !json_get(o, "members", &members))
		return bad(m, "the header is not what it should be");
	if (m->head > EVENTS_SEQ_TAKEN)
		return bad(m, "its last_server_seq is above %" PRId64, EVENTS_SEQ_TAKEN);
	if ((rc = read_gaps(m, o)) != RC_OK)
		return rc;
	if (m->a->name != NULL) {
		if ((rc = project_check(span_of(m->a->name), span_of(""), &m->a->err)) != RC_OK)
			return rc;
		snprintf(p->name, sizeof(p->name), "%s", m->a->name);
		p->slug[0] = '\0'; /* one that goes with the name */
	}
	if ((rc = choose_id(m)) != RC_OK)
		return rc;
	if (strcmp(m->profile, PROFILE_NONE) != 0 && (rc = admin_profile(m->a, m->profile)) != RC_OK)
		return rc;
	if ((rc = installed_get(&m->in, m->profile, &m->types, &m->a->err)) != RC_OK)
		return rc;
	return m->a->owner != NULL ? take_owner(m) : read_members(m, members);
}

/* --- the events --- */

static bool
is_true(struct span object, const char *name)
{
	struct span value;

	return json_get(object, name, &value) && json_type(value) == JSON_TRUE;
}

/* The payload as it was stored, where it stands there as a text; and what is not known
 * here is parked, as a push would park it. */
static enum rc
take_payload(struct importing *m, struct span o, struct event *ev)
{
	struct span text, value, rest;
	struct instant at;
	struct err why;
	enum rc rc;

	if (json_get(o, "payload_text", &text)) {
		buf_reset(&m->payload);
		if (json_string_odd(text) || !json_string(text, &m->payload) || m->payload.failed)
			return bad(m, "its payload_text is no text");
		ev->payload = buf_span(&m->payload);
	}
	if (json_scan(ev->payload, JSON_MAX_DEPTH, &value, &rest, NULL) != RC_OK ||
	    value.len != ev->payload.len)
		return bad(m, "its payload is not JSON, or nested too deeply");
	if (!time_parse_rfc3339(ev->time, &at))
		return bad(m, "its client_timestamp is no time");
	if (m->types == NULL)
		return event_digest(ev, at, &m->line) == RC_OK ? RC_OK
		    : err_set(&m->a->err, RC_FAULT, "out of memory");
	rc = push_adopt(m->types, ev, &m->line, &why);
	return rc == RC_INVALID ? bad(m, "%s", why.text)
	    : rc != RC_OK ? err_set(&m->a->err, rc, "%s", why.text) : rc;
}

static enum rc
take_event(struct importing *m)
{
	struct span o;
	struct event ev;
	struct buf keep;
	struct err why;
	enum rc rc = read_object(m, &o);

	if (rc != RC_OK)
		return rc;
	if ((rc = page_event(o, &ev, &m->scratch, &why)) != RC_OK)
		return rc == RC_INVALID ? bad(m, "%s", why.text) : err_set(&m->a->err, rc, "%s", why.text);
	if (ev.seq <= m->last || ev.seq > m->head)
		return bad(m, "its server_seq %" PRId64 " is not above %" PRId64 " and up to %" PRId64,
		           ev.seq, m->last, m->head);
	while (m->gap < m->n_gaps && m->gaps[m->gap].until < ev.seq)
		m->gap++;
	if (m->gap < m->n_gaps && m->gaps[m->gap].after < ev.seq)
		return bad(m, "its server_seq %" PRId64 " lies in a gap", ev.seq);
	ev.by_server = is_true(o, "by_server");
	ev.parked = is_true(o, "parked");
	keep = m->line; /* the event borrows from it */
	m->line = (struct buf){ 0 };
	if ((rc = take_payload(m, o, &ev)) == RC_OK)
		rc = making_add(&m->making, &ev);
	buf_free(&m->line);
	m->line = keep;
	m->last = ev.seq;
	m->events++;
	return rc;
}

static enum rc
read_events(struct importing *m)
{
	enum rc rc;

	while (next_line(m, &rc)) {
		if ((rc = take_event(m)) != RC_OK)
			return rc;
	}
	if (rc == RC_OK && m->events != m->count)
		rc = err_set(&m->a->err, RC_INVALID, "the file has %" PRId64 " of the %" PRId64 " events "
		             "that it should have: it was cut short, or changed", m->events, m->count);
	for (size_t i = 0; i < m->n_gaps && rc == RC_OK; i++)
		rc = making_gap(&m->making, &m->gaps[i]);
	return rc;
}

/* --- the project --- */

/* Whether an event stands in another log likewise. */
static enum rc
compare_one(void *ctx, const struct event *ev, bool *stop)
{
	struct events *there = ctx;
	struct event other;
	enum rc rc = events_get(there, ev->seq, &other, NULL);

	*stop = false;
	if (rc == RC_OK && (memcmp(ev->digest, other.digest, EVENT_DIGEST_LEN) != 0 ||
	                    ev->action_id != other.action_id || ev->server_us != other.server_us ||
	                    !span_eq(ev->user, other.user) || !span_eq(ev->payload, other.payload)))
		rc = RC_NOT_FOUND;
	events_got(there);
	return rc;
}

/* Where the project keeps its id, it may have gone on elsewhere since the export, and
 * devices be past the head. */
static enum rc
pass(struct importing *m, struct events *log)
{
	struct events_head head;
	enum rc rc = m->same_id ? making_pass(m->a, log) : RC_OK;

	if (rc == RC_OK && (rc = events_head(log, &head, &m->a->err)) == RC_OK)
		m->head = head.seq;
	return rc;
}

/*
 * Put the log in its place. One may be there without a project: a run that was killed
 * just before its end has left it, and then it is the same, but that it passed over
 * fewer numbers.
 */
static enum rc
place(struct importing *m)
{
	struct events *there = NULL;
	struct events_head head, ours;
	enum rc rc = events_open(m->making.place, &there, &m->a->err);

	if (rc == RC_NOT_FOUND) {
		rc = pass(m, m->making.log);
		return rc == RC_OK ? making_place(&m->making) : rc;
	}
	if (rc == RC_OK)
		rc = events_head(there, &head, &m->a->err);
	if (rc == RC_OK)
		rc = events_walk(m->making.log, 0, INT64_MAX, true, &ours, compare_one, there, &m->a->err);
	if (rc == RC_NOT_FOUND || (rc == RC_OK && (head.seq < ours.seq || head.count != ours.count)))
		rc = err_set(&m->a->err, RC_CONFLICT, "%s holds another log, of no project: move it away",
		             m->making.place);
	if (rc == RC_OK)
		rc = pass(m, there);
	events_close(there);
	return rc;
}

static enum rc
insert(struct importing *m)
{
	struct admin *a = m->a;
	bool made;
	enum rc rc = import_project(a->accounts, &m->p, &made, &a->err);

	if (rc == RC_OK && !made)
		rc = err_set(&a->err, RC_CONFLICT, "there is a project %s now", m->p.id);
	for (size_t i = 0; i < m->n && rc == RC_OK; i++) {
		struct joining *j = &m->members[i];

		snprintf(j->m.project_id, sizeof(j->m.project_id), "%s", m->p.id);
		if ((rc = import_user(a->accounts, &j->u, &made, &a->err)) == RC_OK)
			rc = import_member(a->accounts, &j->m, &a->err);
	}
	return rc;
}

/* What server.db would refuse is refused before there is a log, as if nothing had been. */
static enum rc
rehearse(struct importing *m)
{
	struct accounts *accounts = m->a->accounts;
	enum rc rc = import_begin(accounts, &m->a->err);

	if (rc == RC_OK) {
		rc = insert(m);
		import_forget(accounts);
	}
	return rc;
}

static enum rc
make(struct importing *m)
{
	struct admin *a = m->a;
	enum rc rc = read_header(m);

	if (rc == RC_OK)
		rc = rehearse(m);
	if (rc == RC_OK)
		rc = making_begin(&m->making, a, m->p.id, m->profile);
	if (rc == RC_OK)
		rc = read_events(m);
	if (rc == RC_OK)
		rc = making_end(&m->making, m->head, m->heal_from, m->moved_to);
	if (rc == RC_OK)
		rc = place(m);
	making_drop(&m->making);
	if (rc == RC_OK && (rc = import_begin(a->accounts, &a->err)) == RC_OK)
		rc = import_end(a->accounts, insert(m), &a->err);
	return rc;
}

static void
show(struct importing *m)
{
	struct buf line = { 0 };

	if (!m->a->json) {
		buf_add_str(&line, m->p.id);
		out_line(&line);
		return;
	}
	out_begin(&line);
	out_string(&line, "id", m->p.id);
	out_string(&line, "name", m->p.name);
	out_string(&line, "slug", m->p.slug);
	out_int(&line, "event_count", m->events);
	out_int(&line, "last_server_seq", m->head);
	out_end(&line);
}

int
import_run(struct admin *a)
{
	struct importing m = { .a = a, .from = stdin };
	char profiles[PATH_MAX];
	struct lock *lock = NULL;
	enum rc rc = admin_profiles(a, profiles);

	installed_init(&m.in, profiles);
	if (rc == RC_OK && strcmp(a->args[0], "-") != 0 && (m.from = fopen(a->args[0], "re")) == NULL)
		rc = err_set(&a->err, errno == ENOENT ? RC_NOT_FOUND : RC_UNAVAILABLE, "can't open %s: %s",
		             a->args[0], strerror(errno));
	if (rc == RC_OK)
		rc = making_lock(a, &lock);
	if (rc == RC_OK)
		rc = make(&m);
	lock_close(lock);
	installed_close(&m.in);
	if (m.from != NULL && m.from != stdin)
		fclose(m.from);
	buf_free(&m.line);
	buf_free(&m.scratch);
	buf_free(&m.payload);
	free(m.members);
	free(m.gaps);
	if (rc != RC_OK)
		return admin_fail(a, rc);
	show(&m);
	return 0;
}
