/* Whether a project's files are what they should be, see verify.h. */
#include "engine/verify.h"

#include "base/clock.h"
#include "base/json.h"
#include "engine/digest.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* As many are read at one moment: a long read keeps the WAL from being cut. */
#define BATCH_EVENTS 10000

static enum rc
no_memory(struct err *err)
{
	return err_set(err, RC_FAULT, "out of memory");
}

/* --- a log --- */

struct log_walk {
	struct log_check *out;
	int64_t last_visible;
	int64_t last_us;      /* when the last event was logged */
	int batch;
	struct buf scratch;
};

/* What is wrong with an event, NULL: nothing. */
static const char *
judge_event(struct log_walk *w, const struct event *ev)
{
	struct event again = *ev;
	struct span value, rest;
	struct instant at;

	if (ev->seq <= w->out->last)
		return "it is out of order";
	if (!time_parse_rfc3339(ev->time, &at))
		return "its time is not RFC 3339";
	if (json_scan(ev->payload, JSON_MAX_DEPTH, &value, &rest, NULL) != RC_OK ||
	    rest.len > 0)
		return "its payload is not JSON";
	if (event_digest(&again, at, &w->scratch) != RC_OK)
		return "out of memory";
	if (memcmp(again.digest, ev->digest, EVENT_DIGEST_LEN) == 0)
		return NULL;
	if (event_digest_twin(&again) != RC_OK)
		return "out of memory";
	return memcmp(again.digest, ev->digest, EVENT_DIGEST_LEN) == 0 ? NULL
	    : "it is not what its digest is of";
}

static enum rc
visit(void *ctx, const struct event *ev, bool *stop)
{
	struct log_walk *w = ctx;
	const char *why = judge_event(w, ev);

	if (why != NULL)
		buf_addf(&w->out->wrong, "event %" PRId64 ": %s", ev->seq, why);
	w->out->events++;
	w->out->parked += ev->parked;
	w->out->last = ev->seq;
	if (!ev->parked)
		w->last_visible = ev->seq;
	w->last_us = ev->server_us;
	*stop = why != NULL || ++w->batch >= BATCH_EVENTS;
	return RC_OK;
}

/* The head against what was read up to it. A restore moves it on: then it lies
 * behind the last event. */
static void
judge_head(struct log_walk *w, const struct events_head *head)
{
	struct buf *wrong = &w->out->wrong;

	if (head->count != w->out->events)
		buf_addf(wrong, "the head counts %" PRId64 " events, there are %" PRId64,
		         head->count, w->out->events);
	else if (head->visible != w->last_visible)
		buf_addf(wrong, "the head says that the last visible event is %" PRId64 ", it is %"
		         PRId64, head->visible, w->last_visible);
	else if (head->seq == w->out->last && head->time_us != w->last_us)
		buf_addf(wrong, "the head has another time than the last event");
}

static enum rc
walk(struct log_walk *w, struct events *log, struct err *err)
{
	struct events_head head;
	enum rc rc = events_head(log, &head, err);

	do {
		w->batch = 0;
		if (rc == RC_OK)
			rc = events_walk(log, w->out->last, head.seq, true, NULL, visit, w, err);
	} while (rc == RC_OK && w->out->wrong.len == 0 && w->batch == BATCH_EVENTS);
	if (rc == RC_OK && w->out->wrong.len == 0)
		judge_head(w, &head);
	return rc;
}

enum rc
verify_log(struct events *log, struct log_check *out, struct err *err)
{
	struct log_walk w = { .out = out };
	enum rc rc = events_check(log, &out->wrong, err);

	if (rc == RC_OK && out->wrong.len == 0)
		rc = walk(&w, log, err);
	buf_free(&w.scratch);
	return rc == RC_OK && out->wrong.failed ? no_memory(err) : rc;
}

/* --- a state --- */

/* Compare the rows of a table, named by their ids. */
static enum rc
compare_table(struct follower *a, struct follower *b, const struct table *t,
              struct state_check *out, struct err *err)
{
	struct buf sql = { 0 }, odd = { 0 };
	int64_t rows = 0;
	enum rc rc;

	buf_addf(&sql, "SELECT id, * FROM \"%s\" ORDER BY id", t->entity->table);
	rc = buf_cstr(&sql) == NULL ? no_memory(err)
	    : db_compare(state_db(follower_state(a)), state_db(follower_state(b)), sql.p, &rows,
	                 &odd, err);
	out->rows += rows;
	if (odd.len > 0) {
		buf_addf(&out->wrong, "%s ", t->entity->table);
		buf_add_span(&out->wrong, buf_span(&odd));
		buf_add_str(&out->wrong, " is not what the log makes of it");
	}
	buf_free(&sql);
	buf_free(&odd);
	return rc;
}

/* Both are held, at the same seq. */
static enum rc
compare(struct follower *a, struct follower *b, struct state_check *out, struct err *err)
{
	struct tables *all = follower_tables(b);
	struct buf odd = { 0 };
	enum rc rc = RC_OK;

	for (size_t i = 0; i < all->n && rc == RC_OK && out->wrong.len == 0; i++)
		if (!all->list[i].entity->held_back)
			rc = compare_table(a, b, &all->list[i], out, err);
	if (rc == RC_OK && out->wrong.len == 0)
		rc = state_compare(follower_state(a), follower_state(b), &out->conflicts,
		                   &out->skipped, &odd, err);
	if (odd.len > 0) {
		buf_add_span(&out->wrong, buf_span(&odd));
		buf_add_str(&out->wrong, " is not what the log makes of it");
	}
	buf_free(&odd);
	return rc;
}

static enum rc
sum_up(struct follower *f, struct state_check *out, struct err *err)
{
	struct sum *sums = calloc(follower_tables(f)->n + 1, sizeof(*sums));
	enum rc rc = sums == NULL ? no_memory(err) : follower_sums(f, out->seq, sums, err);

	if (rc == RC_OK && sums_digest(follower_tables(f), sums, out->digest) != RC_OK)
		rc = no_memory(err);
	free(sums);
	return rc;
}

/* The state is held: bring the other one to the same event, and compare. */
static enum rc
compare_held(struct follower *f, struct follower *again, struct events *log,
             struct state_check *out, struct err *err)
{
	struct follow_limits limits = { clock_mono_ms(), INT64_MAX, false };
	enum rc rc;

	out->seq = state_seq(follower_state(f));
	if ((rc = db_check(state_db(follower_state(f)), &out->wrong, err)) != RC_OK ||
	    (rc = follower_run_to(again, log, out->seq, &limits, err)) != RC_OK ||
	    (rc = follower_hold(again, log, out->seq, clock_mono_ms(), err)) != RC_OK)
		return rc;
	if ((rc = compare(f, again, out, err)) == RC_OK)
		rc = sum_up(again, out, err);
	state_let_go(follower_state(again));
	return rc;
}

enum rc
verify_state(struct follower *f, struct events *log, const char *scratch,
             int64_t wait_ms, struct state_check *out, struct err *err)
{
	struct follow_limits limits = { clock_mono_ms(), INT64_MAX, false };
	struct follower *again = NULL;
	enum rc rc = follower_new(scratch, follower_profile(f), &again, err);

	/* The long part, beside the state: what comes meanwhile is little. */
	if (rc == RC_OK)
		rc = follower_run(again, log, &limits, err);
	limits.lock_ms = clock_mono_ms() + wait_ms;
	if (rc == RC_OK && (rc = follower_run(f, log, &limits, err)) == RC_OK)
		rc = follower_hold(f, log, state_seq(follower_state(again)), limits.lock_ms, err);
	if (rc == RC_OK) {
		rc = compare_held(f, again, log, out, err);
		state_let_go(follower_state(f));
	}
	follower_free(again);
	return rc == RC_OK && out->wrong.failed ? no_memory(err) : rc;
}
