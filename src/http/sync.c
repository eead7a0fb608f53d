/* What routes of a project's log and state share, see sync.h. */
#include "http/sync.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "engine/digest.h"
#include "engine/heal.h"
#include "engine/page.h"
#include "http/places.h"

#include <stdio.h>
#include <string.h>

/* After so long no more is begun after an answer. */
#define AFTER_MS 1000

/* After so many pushes it is seen to, though no other worker is idle. */
#define SKIP 32

/* For how long a pull waits for what the server itself has to say. */
#define SETTLE_MS 200

/* With more than so many events to apply it doesn't wait at all. */
#define SETTLE_EVENTS 1000

/* A wait for the state that is no longer than this needs no place: it is what
 * the last pushes take to apply. */
#define STATE_SOON_MS 100

#define ID "HTTP_X_LOG_ID"
#define LAST "HTTP_X_LOG_LAST"

/* "SEQ:DIGEST", the last event the caller has. */
static bool
parse_last(const char *text, int64_t *seq, unsigned char digest[EVENT_DIGEST_LEN])
{
	const char *colon = strchr(text, ':');
	struct span number = { text, colon == NULL ? 0 : (size_t)(colon - text) };

	return colon != NULL && json_int64(number, seq) && *seq > 0 &&
	       id_unhex(span_of(colon + 1), digest, EVENT_DIGEST_LEN);
}

/* Whether it is of an event that an imported log has twice: the caller can't tell. */
static bool
is_twin(const unsigned char digest[EVENT_DIGEST_LEN], int64_t seq,
        const unsigned char ours[EVENT_DIGEST_LEN])
{
	struct event ev = { .seq = seq };

	memcpy(ev.digest, digest, EVENT_DIGEST_LEN);
	return event_digest_twin(&ev) == RC_OK && memcmp(ev.digest, ours, EVENT_DIGEST_LEN) == 0;
}

/* Whether the log holds the event that the caller saw last. */
static enum rc
check_last(struct request *r, const char *text)
{
	unsigned char theirs[EVENT_DIGEST_LEN], ours[EVENT_DIGEST_LEN];
	int64_t seq;
	enum rc rc;

	if (!parse_last(text, &seq, theirs))
		return err_set(&r->err, RC_INVALID, "invalid X-Log-Last");
	rc = events_digest(r->project->log, seq, ours, &r->err);
	if (rc == RC_OK && memcmp(ours, theirs, sizeof(ours)) != 0 &&
	    !is_twin(theirs, seq, ours))
		return RC_LOG_CHANGED;
	return rc == RC_NOT_FOUND ? RC_LOG_CHANGED : rc;
}

/*
 * What a stock client sends, nothing, is fine. The event decides where it is
 * given: a restored log that holds it is as good as the old one, and its new
 * id goes out with the answer. The id decides for who has no event yet.
 */
static enum rc
check_known(struct request *r)
{
	const char *id = request_header(r, ID);
	const char *last = request_header(r, LAST);
	unsigned char theirs[LOG_ID_LEN];

	if (id != NULL && !id_unhex(span_of(id), theirs, LOG_ID_LEN))
		return err_set(&r->err, RC_INVALID, "invalid X-Log-Id");
	if (last != NULL)
		return check_last(r, last);
	if (id != NULL && memcmp(theirs, r->head.log_id, LOG_ID_LEN) != 0)
		return RC_LOG_CHANGED;
	return RC_OK;
}

enum rc
sync_open(struct request *r)
{
	return projects_get(&r->server->projects, r->project_id, &r->project, &r->err);
}

bool
sync_claims(const struct request *r)
{
	return request_header(r, ID) != NULL || request_header(r, LAST) != NULL;
}

enum rc
sync_begin(struct request *r, bool hold)
{
	struct events *log;
	enum rc rc;

	if ((rc = sync_open(r)) != RC_OK)
		return rc;
	log = r->project->log;
	if (hold && (rc = events_hold(log, &r->err)) != RC_OK)
		return rc;
	if ((rc = events_head(log, &r->head, &r->err)) == RC_OK) {
		r->has_head = true;
		rc = check_known(r);
	}
	if (rc != RC_OK)
		events_let_go(log);
	return rc;
}

/* --- pages --- */

enum rc
sync_query(struct request *r, int64_t *after, int64_t *limit)
{
	enum rc rc;

	*after = 0;
	*limit = PAGE_LIMIT;
	if ((rc = request_query_int(r, "after_server_seq", after)) != RC_OK ||
	    (rc = request_query_int(r, "limit", limit)) != RC_OK)
		return rc;
	if (*limit <= 0)
		return err_set(&r->err, RC_INVALID, "invalid limit");
	if (*after < 0)
		*after = 0;
	if (*limit > PAGE_MAX_LIMIT)
		*limit = PAGE_MAX_LIMIT;
	return RC_OK;
}

enum rc
sync_cursor(struct request *r, int64_t after)
{
	return after <= r->head.seq ? RC_OK
	    : err_set(&r->err, RC_CURSOR_AHEAD, "a cursor beyond the end of the log");
}

char *
sync_tag(const struct request *r, const char *what, int64_t a, int64_t b, int64_t c,
         char out[SYNC_TAG])
{
	char id[LOG_ID_LEN * 2 + 1];

	for (size_t i = 0; i < LOG_ID_LEN; i++)
		snprintf(id + 2 * i, 3, "%02x", r->head.log_id[i]);
	snprintf(out, SYNC_TAG, "\"%s-%s-%lld-%lld-%lld\"", id, what, (long long)a,
	         (long long)b, (long long)c);
	return out;
}

/* --- the state --- */

enum rc
sync_follower(struct request *r, struct follower **out)
{
	return projects_follower(&r->server->projects, r->project, out, &r->err);
}

enum rc
sync_follow(struct request *r, int64_t seq, int64_t deadline_ms, struct follower **out)
{
	struct follow_limits limits = { deadline_ms, clock_mono_ms(), true };
	struct events *log = r->project->log;
	enum rc rc = projects_follower(&r->server->projects, r->project, out, &r->err);

	if (rc == RC_OK) /* most of the time there is little to do */
		rc = follower_run(*out, log, &limits, &r->err);
	if (rc != RC_OK || state_seq(follower_state(*out)) >= seq)
		return rc;
	/* Much, or something large: with a place it may take memory. */
	if (request_take_large(r) == RC_OK)
		limits.small = false;
	limits.until_ms = deadline_ms;
	rc = follower_run(*out, log, &limits, &r->err);
	if (rc == RC_OK && limits.small && clock_mono_ms() < deadline_ms &&
	    state_seq(follower_state(*out)) < seq)
		rc = request_take_large(r); /* it stopped before something large */
	return rc;
}

enum rc
sync_wait(struct request *r, int *place)
{
	char path[PATH_MAX + sizeof("/" WAITERS_STATE)];
	/* Others wait for the log. */
	int n = r->server->max_waiting > 1 ? r->server->max_waiting / 2 : 1;

	snprintf(path, sizeof(path), "%s/" WAITERS_STATE, r->project->dir);
	if (place_take(path, n, place) != RC_OK)
		return err_set(&r->err, RC_BUSY, "%d requests wait for this project's state "
		               "already", n);
	return RC_OK;
}

/* Hold the state, waiting and working until then. */
static enum rc
hold_until(struct request *r, int64_t until_ms, struct follower **out)
{
	enum rc rc = sync_follow(r, r->head.visible, until_ms, out);

	return rc != RC_OK ? rc
	    : follower_hold(*out, r->project->log, r->head.visible, until_ms, &r->err);
}

static enum rc
hold_state(struct request *r, struct follower **out)
{
	int64_t soon = clock_mono_ms() + STATE_SOON_MS;
	int place;
	enum rc rc = hold_until(r, soon < r->deadline_ms ? soon : r->deadline_ms, out);

	if (rc != RC_BUSY || (rc = sync_wait(r, &place)) != RC_OK)
		return rc;
	rc = hold_until(r, r->deadline_ms, out);
	place_leave(place);
	return rc;
}

enum rc
sync_state(struct request *r, struct follower **out)
{
	struct events_head head;
	enum rc rc;

	if ((rc = hold_state(r, out)) != RC_OK)
		return rc;
	if ((rc = events_hold(r->project->log, &r->err)) == RC_OK &&
	    (rc = events_head(r->project->log, &head, &r->err)) == RC_OK)
		rc = sync_confirm(r);
	if (rc != RC_OK)
		sync_state_let_go(r, *out);
	return rc;
}

void
sync_state_let_go(struct request *r, struct follower *f)
{
	events_let_go(r->project->log);
	state_let_go(follower_state(f));
}

enum rc
sync_read(struct request *r, sync_write *write, const void *what)
{
	struct follower *f;
	enum rc rc;

	for (int i = 0; i < 2; i++) {
		if ((rc = sync_state(r, &f)) != RC_OK)
			return rc;
		rc = write(r, f, false, what);
		if (rc == RC_TOO_LARGE && (rc = request_take_large(r)) == RC_OK)
			rc = write(r, f, true, what);
		sync_state_let_go(r, f);
		if (rc == RC_OK || !state_damaged(follower_state(f)))
			break;
	}
	return rc;
}

enum rc
sync_confirm(struct request *r)
{
	const unsigned char *id = events_log_id(r->project->log);

	if (r->has_head && memcmp(id, r->head.log_id, LOG_ID_LEN) != 0)
		return err_set(&r->err, RC_BUSY, "the log was replaced during a request");
	memcpy(r->head.log_id, id, LOG_ID_LEN);
	r->has_head = true;
	return RC_OK;
}

/* --- healing --- */

bool
sync_heals(const struct request *r, const struct profile *p)
{
	return p != NULL && p->heals && r->server->config->heal;
}

/* Answer causes until there are none, or there is something better to do. True:
 * there are none. */
static bool
heal(struct request *r, struct follower *f, int64_t until_ms, bool (*wanted)(void *, int))
{
	struct heal_rules rules = { r->server->config->conflict_note, clock_now_us() };
	struct events *log = r->project->log;
	struct err err = { "" };
	bool more = false;
	enum rc rc;

	if (!follower_profile(f)->heals)
		return true;
	if (!r->server->config->heal)
		return heal_off(log, until_ms, &err) == RC_OK;
	do
		rc = heal_run(f, log, &rules, until_ms, &more, &err);
	while (rc == RC_OK && more && clock_mono_ms() < until_ms &&
	       (wanted == NULL || !wanted(r->io_ctx, 0)));
	if (rc != RC_OK && rc != RC_BUSY)
		log_write(LOG_ERROR, "healing %s: %s", r->project_id, err.text);
	return rc == RC_OK && !more;
}

/* Whether the log's head is so near that a pull may wait for it. */
static bool
is_near(struct request *r, struct follower *f)
{
	struct state *s = follower_state(f);
	int64_t seq = 0;

	if (follower_open(f, r->project->log, NULL) != RC_OK)
		return true; /* others are at it */
	if (state_hold(s, r->project->log, NULL) == RC_OK) {
		seq = state_seq(s);
		state_let_go(s);
	} /* else it is made anew */
	return r->head.visible - seq <= SETTLE_EVENTS;
}

bool
sync_settle(struct request *r)
{
	struct project_log *p = r->project;
	int64_t until = clock_mono_ms() + SETTLE_MS;
	struct follow_limits limits = { until, until, true };
	struct follower *f;
	struct err err = { "" };
	bool again;
	int place;
	enum rc rc = projects_follower(&r->server->projects, p, &f, &err);

	if (rc != RC_OK || !sync_heals(r, follower_profile(f))) {
		p->settled = r->head.visible; /* there is nothing to wait for */
		return true;
	}
	if (!is_near(r, f))
		return false;
	if (sync_wait(r, &place) != RC_OK)
		return true; /* enough others do */
	rc = follower_run(f, p->log, &limits, &err);
	again = rc == RC_OK ? !heal(r, f, until, NULL) : rc == RC_BUSY;
	place_leave(place);
	if (again)
		return false;
	if (rc != RC_OK)
		log_write(LOG_ERROR, "the state of %s: %s", r->project_id, err.text);
	/* Also where it can't be had: it is not tried for each who asks. */
	p->settled = rc == RC_OK ? state_seq(follower_state(f)) : r->head.visible;
	return p->settled >= r->head.visible;
}

/* Healing needs what is large, too: with a place it may take memory. */
static enum rc
apply_large(struct request *r, struct follower *f, struct err *err)
{
	int64_t now = clock_mono_ms(), bytes = 0;
	struct follow_limits limits = { now, now, false }; /* one batch */
	enum rc rc = events_large_next(r->project->log, state_seq(follower_state(f)), &bytes,
	                               err);

	if (rc != RC_OK || bytes == 0 || request_take_large(r) != RC_OK)
		return rc;
	rc = follower_run(f, r->project->log, &limits, err);
	request_leave_large(r);
	return rc;
}

/* Apply and heal; *done: nothing came meanwhile that others may have left to us. */
static enum rc
spend(struct request *r, struct follower *f, bool *done, struct err *err)
{
	struct follow_spare spare = { r->io->wanted, r->io_ctx };
	struct events *log = r->project->log;
	char path[PATH_MAX + sizeof("/" SPARE)];
	struct events_head head;
	int place;
	enum rc rc;

	*done = true;
	snprintf(path, sizeof(path), "%s/" SPARE, r->project->dir);
	if ((rc = place_take(path, 1, &place)) != RC_OK)
		return rc;
	if ((rc = follower_spare(f, log, &spare, err)) == RC_OK &&
	    (rc = apply_large(r, f, err)) == RC_OK)
		heal(r, f, clock_mono_ms() + SETTLE_MS, r->io->wanted);
	place_leave(place);
	if (rc == RC_OK && (rc = events_head(log, &head, err)) == RC_OK)
		*done = head.visible <= state_seq(follower_state(f));
	return rc;
}

void
sync_after(struct request *r)
{
	int64_t until = clock_mono_ms() + AFTER_MS;
	struct follower *f;
	struct err err = { "" };
	bool done = false;
	enum rc rc;

	/* With no worker to spare, not after each. */
	if (r->io->wanted(r->io_ctx, 0) && ++r->project->unapplied < SKIP)
		return;
	r->project->unapplied = 0;
	rc = projects_follower(&r->server->projects, r->project, &f, &err);
	if (rc == RC_NOT_FOUND) /* of no profile: there is no state */
		return;
	while (rc == RC_OK && !done && clock_mono_ms() < until)
		rc = spend(r, f, &done, &err);
	if (rc != RC_OK && rc != RC_BUSY)
		log_write(LOG_ERROR, "the state of %s: %s", r->project_id, err.text);
}
