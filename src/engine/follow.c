/* The applier on the server, see follow.h. */
#include "engine/follow.h"

#include "base/clock.h"
#include "engine/cause.h"
#include "engine/value.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A transaction's length: what it costs to begin and commit one is nothing
 * then, and nobody waits for it for long. */
#define BATCH_EVENTS 1000
#define BATCH_MS 100

/* The same where memory is no concern: ids are random, so events touch pages all
 * over the state; a page that many of them touch is read and written once. */
#define BULK_EVENTS 50000
#define BULK_MS 2000
#define BULK_CACHE (64 << 20)

/* In spare time: how often the log is looked at, how many events more make it a
 * busy one, how far behind the state may be then (some two seconds of applying);
 * how often it may have fewer, but some (a transaction costs as much as a hundred
 * events); and for how long events are applied. */
#define LOOK_MS 20
#define BUSY_EVENTS 50
#define SLOW_LOOKS 25
#define FAR_EVENTS 100000
#define SPARE_MS 1000

/* A busy log's head moves on while its state is brought up to it: so often it is
 * looked at again. */
#define LOOKS 3

/* What is applied with the log's lock held, where pushes wait for it. */
#define LOCKED_EVENTS 200

struct follower {
	const struct profile *profile;
	struct state *state;
	unsigned opened;          /* state_opened() when the applier was made */
	struct applier *applier;
	struct recorder *recorder;
	struct events *log;       /* that is applied */
	const struct follow_limits *limits;
	const struct follow_spare *spare; /* whose time it is; NULL: ours */
	int64_t to;               /* no further than the event there; mostly INT64_MAX */
	bool stopped;             /* before an event that is too large */
	struct sum *sums;         /* of all tables, as of the event before */
	struct sum *now;          /* with the changes of the event at hand */
	bool loaded;              /* sums are those of the state */
	bool failed;              /* no memory in the hook */
	struct buf scratch;
	int64_t end_ms, events;   /* of the transaction, */
	int64_t most;             /* which has no more than these */
	struct err why;           /* of an event that could not be applied */
};

static enum rc
no_memory(struct err *err)
{
	return err_set(err, RC_FAULT, "out of memory");
}

void
follow_mark(const struct profile *p, char out[FOLLOW_MARK])
{
	snprintf(out, FOLLOW_MARK, "%s/%d", p->name, p->version);
}

enum rc
follower_new(const char *dir, const struct profile *p, struct follower **out,
             struct err *err)
{
	struct follower *f = calloc(1, sizeof(*f));
	char mark[FOLLOW_MARK];
	struct buf schema = { 0 };
	struct state_kind kind = { mark, NULL };
	enum rc rc = RC_FAULT;

	*out = NULL;
	if (f == NULL)
		return no_memory(err);
	f->profile = p;
	f->to = INT64_MAX;
	follow_mark(p, mark);
	profile_schema(p, "main", &schema);
	kind.schema = buf_cstr(&schema);
	rc = kind.schema == NULL ? no_memory(err) : state_new(dir, &kind, &f->state, err);
	buf_free(&schema);
	if (rc != RC_OK) {
		follower_free(f);
		return rc;
	}
	*out = f;
	return RC_OK;
}

/* What hangs on the state's connection. */
static void
drop_applier(struct follower *f)
{
	recorder_free(f->recorder);
	applier_free(f->applier);
	f->recorder = NULL;
	f->applier = NULL;
	free(f->sums);
	free(f->now);
	f->sums = f->now = NULL;
	f->loaded = false;
}

void
follower_free(struct follower *f)
{
	if (f == NULL)
		return;
	drop_applier(f);
	state_free(f->state);
	buf_free(&f->scratch);
	free(f);
}

/* --- the hook --- */

struct changed {
	sqlite3 *db;
	bool new;
};

static sqlite3_value *
changed_value(void *ctx, int column)
{
	const struct changed *c = ctx;
	sqlite3_value *v = NULL;
	int code = c->new ? sqlite3_preupdate_new(c->db, column, &v)
	                  : sqlite3_preupdate_old(c->db, column, &v);

	return code == SQLITE_OK ? v : NULL;
}

static void
on_change(void *ctx, sqlite3 *db, int op, const char *schema, const char *name,
          sqlite3_int64 before, sqlite3_int64 after)
{
	struct follower *f = ctx;
	struct tables *all = applier_tables(f->applier);
	const struct table *t = tables_find(all, span_of(name));
	struct sum *sum;

	(void)schema;
	(void)before;
	(void)after;
	if (t == NULL)
		return; /* one of our own */
	sum = &f->now[tables_number(all, t)];
	if (op != SQLITE_INSERT && sums_add(t, changed_value, &(struct changed){ db, false },
	                                    false, sum, &f->scratch) != RC_OK)
		f->failed = true;
	if (op != SQLITE_DELETE && sums_add(t, changed_value, &(struct changed){ db, true },
	                                    true, sum, &f->scratch) != RC_OK)
		f->failed = true;
	recorder_on_change(f->recorder, db, op, t);
}

static size_t
sums_size(struct follower *f)
{
	return applier_tables(f->applier)->n * sizeof(*f->sums);
}

/* The event is done; what was changed and taken back does not count. */
static enum rc
on_done(void *ctx, const struct deed *d, enum applied what, const char *why,
        struct err *err)
{
	struct follower *f = ctx;
	struct recorded done;
	enum rc rc;

	if (f->failed)
		return no_memory(err);
	if (what == APPLIED)
		memcpy(f->sums, f->now, sums_size(f));
	else
		memcpy(f->now, f->sums, sums_size(f));
	if ((rc = recorder_done(f->recorder, f->log, d, what, why, &done, err)) != RC_OK ||
	    !f->profile->heals)
		return rc;
	return cause_note(f->state, f->applier, f->profile, d, what, &done, err);
}

/* --- sums --- */

/* Sums as they are read: of all tables, and how many were there. */
struct taken {
	struct sum *sums;
	size_t n, room;
};

static enum rc
take_sum(void *ctx, int type, int64_t rows, const unsigned char sum[STATE_SUM],
         struct err *err)
{
	struct taken *t = ctx;

	(void)err;
	if (type >= 0 && (size_t)type < t->room) {
		t->sums[type].rows = rows;
		memcpy(t->sums[type].sum, sum, STATE_SUM);
		t->n++;
	}
	return RC_OK;
}

/* The sums that are kept at a seq; 0: those of now. RC_NOT_FOUND: none are. */
static enum rc
read_sums(struct follower *f, int64_t seq, struct sum *out, struct err *err)
{
	struct taken t = { out, 0, applier_tables(f->applier)->n };
	enum rc rc;

	memset(out, 0, sums_size(f));
	rc = state_walk_sums(f->state, seq, take_sum, &t, err);
	return rc == RC_OK && t.n == 0 ? RC_NOT_FOUND : rc;
}

/* The sums of now; of a state that has none, it is new, they are summed up. */
static enum rc
current_sums(struct follower *f, struct sum *out, struct err *err)
{
	struct tables *all = applier_tables(f->applier);
	enum rc rc = read_sums(f, 0, out, err);

	if (rc != RC_NOT_FOUND)
		return rc;
	return sums_scan_all(all, out, err);
}

static enum rc
load_sums(struct follower *f, struct err *err)
{
	enum rc rc = current_sums(f, f->sums, err);

	memcpy(f->now, f->sums, sums_size(f));
	f->loaded = rc == RC_OK;
	return rc;
}

enum rc
follower_sums(struct follower *f, int64_t seq, struct sum *out, struct err *err)
{
	if (seq == state_seq(f->state))
		return current_sums(f, out, err);
	return seq > 0 ? read_sums(f, seq, out, err) : RC_NOT_FOUND;
}

static enum rc
save_sums(struct follower *f, int64_t seq, struct err *err)
{
	struct tables *all = applier_tables(f->applier);
	enum rc rc = RC_OK;

	for (size_t i = 0; i < all->n && rc == RC_OK; i++)
		if (!all->list[i].entity->held_back)
			rc = state_put_sum(f->state, seq, (int)i, f->sums[i].rows, f->sums[i].sum,
			                   err);
	return rc;
}

/* --- applying --- */

/* Whether what works on the connection that is open now is there, all of it. */
static bool
is_ready(const struct follower *f)
{
	return f->now != NULL && state_db(f->state) != NULL &&
	       f->opened == state_opened(f->state);
}

/* Under the lock: make it. */
static enum rc
prepare(struct follower *f, struct err *err)
{
	sqlite3 *db = state_db(f->state);
	size_t n;
	enum rc rc;

	if (is_ready(f))
		return RC_OK;
	drop_applier(f);
	f->opened = state_opened(f->state);
	if ((rc = applier_new(db, "main", f->profile, &f->applier, err)) != RC_OK ||
	    (rc = recorder_new(f->state, f->applier, &f->recorder, err)) != RC_OK)
		return rc;
	n = applier_tables(f->applier)->n;
	f->sums = calloc(n, sizeof(*f->sums));
	f->now = calloc(n, sizeof(*f->now));
	if (f->sums == NULL || f->now == NULL) {
		drop_applier(f);
		return no_memory(err);
	}
	applier_watch(f->applier, on_done, f);
	return RC_OK;
}

static enum rc
apply_event(void *ctx, const struct event *ev, bool *stop)
{
	struct follower *f = ctx;
	int64_t mark = (ev->seq - 1) / SUMS_EACH * SUMS_EACH;
	enum applied what;
	enum rc rc = RC_OK;

	if (f->limits->small && ev->payload.len == 0) { /* not read: it is large */
		f->stopped = *stop = true;
		return RC_OK;
	}
	f->why.text[0] = '\0';
	if (mark > 0 && state_seq(f->state) <= mark)
		rc = save_sums(f, mark, &f->why);
	if (rc == RC_OK)
		rc = applier_apply(f->applier, ev, &what, &f->why);
	if (rc != RC_OK)
		return rc;
	state_set_seq(f->state, ev);
	*stop = ++f->events >= f->most || clock_mono_ms() >= f->end_ms;
	return RC_OK;
}

/* Where the state is to be brought, of a log with that head. */
static int64_t
target(const struct follower *f, const struct events_head *head)
{
	return head->visible < f->to ? head->visible : f->to;
}

/* When a transaction that begins now is to end. */
static int64_t
end_of_batch(const struct follower *f)
{
	int64_t now = clock_mono_ms(), end = now + BATCH_MS;

	if (!f->limits->small && f->limits->until_ms > end)
		end = f->limits->until_ms < now + BULK_MS ? f->limits->until_ms : now + BULK_MS;
	return end;
}

/* A transaction; *done: the log's head was reached. */
static enum rc
apply_batch(struct follower *f, bool *done, struct err *err)
{
	struct events_head head;
	enum rc rc;

	*done = false;
	if ((rc = state_begin(f->state, err)) != RC_OK)
		return rc;
	f->end_ms = end_of_batch(f);
	f->events = 0;
	f->failed = false;
	f->why.text[0] = '\0';
	if (!f->loaded)
		rc = load_sums(f, err);
	sqlite3_preupdate_hook(state_db(f->state), on_change, f);
	if (rc == RC_OK)
		rc = f->limits->small
		    ? events_walk_small(f->log, state_seq(f->state), f->to, &head, apply_event, f,
		                        err)
		    : events_walk(f->log, state_seq(f->state), f->to, false, &head, apply_event,
		                  f, err);
	sqlite3_preupdate_hook(state_db(f->state), NULL, NULL);
	if (rc != RC_OK && f->why.text[0] != '\0')
		err_set(err, rc, "%s", f->why.text);
	if (rc == RC_OK && f->events > 0)
		rc = save_sums(f, 0, err);
	else if (rc == RC_OK && !f->stopped && state_seq(f->state) < target(f, &head))
		rc = err_set(err, RC_UNAVAILABLE, "the log lacks events after %" PRId64 ", it is said "
		             "to go to %" PRId64 ": put it back from a backup",
		             state_seq(f->state), target(f, &head));
	if (rc == RC_OK) {
		*done = state_seq(f->state) >= target(f, &head);
		if (f->events > 0)
			rc = state_commit(f->state, err);
		else
			state_rollback(f->state);
	} else {
		state_rollback(f->state);
	}
	if (rc != RC_OK) {
		f->loaded = false;
		recorder_forget(f->recorder);
	}
	return rc;
}

/* Under the lock that was just taken: make ready to apply. */
static enum rc
start(struct follower *f, struct events *log, const struct follow_limits *limits,
      int64_t most, struct err *err)
{
	f->log = log;
	f->limits = limits;
	f->most = most;
	f->stopped = false;
	f->loaded = false; /* another process may have been at it */
	return prepare(f, err);
}

/* Apply under the lock until the head, or a limit. */
static enum rc
apply_all(struct follower *f, struct events *log, const struct follow_limits *limits,
          struct err *err)
{
	bool bulk = !limits->small, done = false;
	enum rc rc = start(f, log, limits, bulk ? BULK_EVENTS : BATCH_EVENTS, err);

	if (bulk)
		state_cache(f->state, BULK_CACHE);
	while (rc == RC_OK && !done && !f->stopped) {
		if ((rc = apply_batch(f, &done, err)) == RC_OK)
			state_maintain(f->state);
		if (clock_mono_ms() >= limits->until_ms ||
		    (f->spare != NULL && f->spare->wanted(f->spare->ctx, 0)))
			break;
	}
	if (bulk)
		state_cache(f->state, 0);
	return rc;
}

/* Whether the state stands at a seq or beyond it, as far as is seen without
 * the lock, and can be read. */
static bool
stands_at(struct follower *f, struct events *log, int64_t seq)
{
	if (!is_ready(f) || state_hold(f->state, log, NULL) != RC_OK)
		return false;
	state_let_go(f->state);
	return state_seq(f->state) >= seq;
}

/* Take the lock and apply; a state that proves damaged is made anew. */
static enum rc
run_once(struct follower *f, struct events *log, const struct follow_limits *limits,
         struct err *err)
{
	bool mended = false;
	enum rc rc;

	for (;;) {
		if ((rc = state_lock(f->state, log, limits->lock_ms, err)) != RC_OK)
			return rc;
		rc = apply_all(f, log, limits, err);
		state_unlock(f->state);
		if (rc == RC_OK || mended || !state_damaged(f->state))
			return rc;
		mended = true; /* the next lock empties it */
	}
}

enum rc
follower_run(struct follower *f, struct events *log, const struct follow_limits *limits,
             struct err *err)
{
	struct events_head head;
	enum rc rc;

	/* Who came meanwhile and found the lock taken has left it to us: so the
	 * head is looked at once more after it was let go. */
	for (int looks = 0; looks < LOOKS; looks++) {
		if ((rc = events_head(log, &head, err)) != RC_OK ||
		    stands_at(f, log, target(f, &head)) ||
		    (rc = run_once(f, log, limits, err)) != RC_OK ||
		    f->stopped || clock_mono_ms() >= limits->until_ms)
			break;
	}
	return rc;
}

/*
 * Let some time pass. *now: it is time to apply, else the log is busy; RC_BUSY: there
 * is something better to do. *done: the state stands at the head. *slow counts the
 * looks at which few events came.
 */
static enum rc
look(struct follower *f, struct events *log, const struct follow_spare *spare, int *slow,
     bool *now, bool *done, struct err *err)
{
	struct events_head head;
	int64_t before, more;
	bool wanted;
	enum rc rc;

	*now = *done = false;
	if ((rc = events_head(log, &head, err)) != RC_OK)
		return rc;
	*done = stands_at(f, log, head.visible);
	if (*done)
		return RC_OK;
	before = head.visible;
	wanted = spare->wanted(spare->ctx, LOOK_MS);
	if ((rc = events_head(log, &head, err)) != RC_OK)
		return rc;
	*now = head.visible - state_seq(f->state) >= FAR_EVENTS;
	if (!*now && wanted)
		return err_set(err, RC_BUSY, "left for later");
	more = head.visible - before;
	if (more > 0 && more < BUSY_EVENTS)
		++*slow;
	*now |= more == 0 || (more < BUSY_EVENTS && *slow >= SLOW_LOOKS);
	return RC_OK;
}

enum rc
follower_spare(struct follower *f, struct events *log, const struct follow_spare *spare,
               struct err *err)
{
	struct follow_limits limits = { .small = true };
	bool now, done = false;
	int slow = 0;
	enum rc rc;

	follower_open(f, log, NULL);
	f->stopped = false;
	while ((rc = look(f, log, spare, &slow, &now, &done, err)) == RC_OK && !done && !f->stopped) {
		if (!now)
			continue;
		slow = 0;
		limits.until_ms = clock_mono_ms() + SPARE_MS;
		f->spare = spare;
		rc = run_once(f, log, &limits, err);
		f->spare = NULL;
		if (rc == RC_BUSY)
			continue; /* somebody needs it, and applies */
		if (rc != RC_OK || clock_mono_ms() >= limits.until_ms)
			break;
	}
	return rc;
}

enum rc
follower_run_to(struct follower *f, struct events *log, int64_t seq,
                const struct follow_limits *limits, struct err *err)
{
	enum rc rc;

	f->to = seq;
	rc = follower_run(f, log, limits, err);
	f->to = INT64_MAX;
	return rc;
}

enum rc
follower_hold(struct follower *f, struct events *log, int64_t seq, int64_t deadline_ms,
              struct err *err)
{
	struct follow_limits limits = { deadline_ms, deadline_ms, false };
	enum rc rc;

	if (!stands_at(f, log, seq) && (rc = follower_run(f, log, &limits, err)) != RC_OK)
		return rc;
	if ((rc = state_hold(f->state, log, err)) != RC_OK)
		return rc == RC_NOT_FOUND ? RC_BUSY : rc; /* replaced at this moment */
	if (state_seq(f->state) >= seq && is_ready(f))
		return RC_OK;
	state_let_go(f->state);
	return err_set(err, RC_BUSY, "the project's state is being brought up to date: "
	               "try again in a moment");
}

enum rc
follower_open(struct follower *f, struct events *log, struct err *err)
{
	enum rc rc;

	if (is_ready(f))
		return RC_OK;
	if ((rc = state_lock(f->state, log, 0, err)) != RC_OK) /* which opens it */
		return rc;
	rc = prepare(f, err);
	state_unlock(f->state);
	return rc;
}

static enum rc
take_last(void *ctx, int64_t seq, enum version_what what, bool *stop, struct err *err)
{
	(void)err;
	*(int64_t *)ctx = what == VERSION_APPLIED ? seq : 0;
	*stop = true;
	return RC_OK;
}

enum rc
follower_last(struct follower *f, struct span type, struct span id, int64_t *seq,
              struct err *err)
{
	const struct table *t = is_ready(f) ? tables_find(applier_tables(f->applier), type) : NULL;

	*seq = 0;
	return t == NULL ? RC_OK
	    : state_walk_versions(f->state, tables_number(applier_tables(f->applier), t), id,
	                          INT64_MAX, 1, take_last, seq, err);
}

enum rc
follower_rebuild(struct follower *f, struct events *log, int64_t deadline_ms,
                 struct err *err)
{
	struct follow_limits limits = { deadline_ms, INT64_MAX, false };
	enum rc rc = state_lock(f->state, log, deadline_ms, err);

	if (rc != RC_OK)
		return rc;
	if ((rc = state_empty(f->state, log, err)) == RC_OK)
		rc = apply_all(f, log, &limits, err);
	state_unlock(f->state);
	return rc;
}

/* --- both locks --- */

/* Under the state's lock: take the log's, and apply what came in between, if it
 * is little. Anything but RC_OK and *done: the log is let go. */
static enum rc
begin_log(struct follower *f, struct events *log, int64_t deadline_ms, bool *done,
          struct err *err)
{
	static const struct follow_limits limits = { .small = true };
	enum rc rc;

	*done = false;
	if ((rc = start(f, log, &limits, LOCKED_EVENTS, err)) != RC_OK ||
	    (rc = events_begin(log, deadline_ms, err)) != RC_OK)
		return rc;
	rc = apply_batch(f, done, err);
	if (rc != RC_OK || !*done)
		events_rollback(log);
	return rc;
}

enum rc
follower_begin(struct follower *f, struct events *log, bool small, int64_t deadline_ms,
               struct err *err)
{
	struct follow_limits limits = { deadline_ms, deadline_ms, small };
	bool done = false;
	enum rc rc;

	/* A busy project's head moves on: then once more. Never for long under
	 * the log's lock. */
	do {
		if ((rc = follower_run(f, log, &limits, err)) != RC_OK ||
		    (rc = state_lock(f->state, log, deadline_ms, err)) != RC_OK)
			return rc;
		rc = begin_log(f, log, deadline_ms, &done, err);
		if (rc != RC_OK || !done)
			state_unlock(f->state);
	} while (rc == RC_OK && !done && !f->stopped && clock_mono_ms() < deadline_ms);
	return rc != RC_OK || done ? rc
	    : err_set(err, RC_BUSY, "the project's state did not come up to its log in time");
}

void
follower_end(struct follower *f)
{
	state_maintain(f->state);
	state_unlock(f->state);
}

enum rc
follower_append_begin(struct follower *f, struct err *err)
{
	enum rc rc;

	if ((rc = state_begin(f->state, err)) != RC_OK)
		return rc;
	f->failed = false;
	if (!f->loaded && (rc = load_sums(f, err)) != RC_OK)
		state_rollback(f->state);
	return rc;
}

enum rc
follower_append(struct follower *f, struct events *log, struct event *ev, struct err *err)
{
	static const struct follow_limits none = { 0 };
	bool stop;
	enum rc rc;

	if ((rc = events_append(log, ev, &ev->seq, err)) != RC_OK)
		return rc;
	f->log = log;
	f->limits = &none;
	f->why.text[0] = '\0';
	sqlite3_preupdate_hook(state_db(f->state), on_change, f);
	rc = apply_event(f, ev, &stop);
	sqlite3_preupdate_hook(state_db(f->state), NULL, NULL);
	return rc == RC_OK ? rc : err_set(err, rc, "%s", f->why.text);
}

enum rc
follower_append_end(struct follower *f, struct events *log, enum rc rc, struct err *err)
{
	struct err why;

	if (rc == RC_OK)
		rc = events_commit(log, err);
	else
		events_rollback(log);
	/* What is in the log is so; a state that stays behind is brought up again. */
	if (rc != RC_OK || save_sums(f, 0, &why) != RC_OK || state_commit(f->state, &why) != RC_OK) {
		state_rollback(f->state);
		f->loaded = false;
		recorder_forget(f->recorder);
	}
	follower_end(f);
	return rc;
}

/* An event that is tried: what it does. */
struct trial {
	const struct event *ev;
	struct tables *all;
	struct tried *out;
};

/* Whether a row changes by more than its updated_at. */
static bool
row_changes(sqlite3 *db, const struct table *t)
{
	struct changed old = { db, false }, new = { db, true };

	for (int i = 0; i < t->n_columns; i++) {
		sqlite3_value *a = changed_value(&old, i), *b = changed_value(&new, i);

		if (i != t->updated_at &&
		    (a == NULL || b == NULL || !value_same(a, b, t->columns[i].time)))
			return true;
	}
	return false;
}

static void
on_trial(void *ctx, sqlite3 *db, int op, const char *schema, const char *name,
         sqlite3_int64 before, sqlite3_int64 after)
{
	struct trial *trial = ctx;
	const struct table *t = tables_find(trial->all, span_of(name));
	struct changed row = { db, op == SQLITE_INSERT };
	sqlite3_value *v;
	struct span id;

	(void)schema;
	(void)before;
	(void)after;
	if (t == NULL || (v = changed_value(&row, table_column(t, span_of("id"), 0))) == NULL)
		return;
	id = value_bytes(v);
	if (span_is(trial->ev->type, t->entity->table) && span_eq(id, trial->ev->id)) {
		if (op != SQLITE_UPDATE || row_changes(db, t))
			trial->out->changes = true;
	} else if (op == SQLITE_DELETE) {
		snprintf(trial->out->takes, sizeof(trial->out->takes), "%s/%.*s",
		         t->entity->table, (int)id.len, id.p);
	}
}

enum rc
follower_try(struct follower *f, const struct event *ev, struct tried *out,
             struct err *err)
{
	struct trial trial = { ev, applier_tables(f->applier), out };
	struct err why = { "" };
	enum rc rc;

	sqlite3 *db = state_db(f->state);

	*out = (struct tried){ .what = APPLIED };
	if ((rc = db_exec(db, "SAVEPOINT trial", err)) != RC_OK)
		return rc;
	applier_watch(f->applier, NULL, NULL);
	sqlite3_preupdate_hook(db, on_trial, &trial);
	rc = applier_apply(f->applier, ev, &out->what, &why);
	sqlite3_preupdate_hook(db, NULL, NULL);
	applier_watch(f->applier, on_done, f);
	if (db_exec(db, "ROLLBACK TO trial; RELEASE trial", rc == RC_OK ? &why : NULL) != RC_OK &&
	    rc == RC_OK)
		rc = RC_FAULT;
	snprintf(out->why, sizeof(out->why), "%s", why.text);
	return rc == RC_OK ? rc : err_set(err, rc, "%s", why.text);
}

struct state *
follower_state(struct follower *f)
{
	return f->state;
}

struct applier *
follower_applier(struct follower *f)
{
	return f->applier;
}

struct tables *
follower_tables(struct follower *f)
{
	return applier_tables(f->applier);
}

const struct profile *
follower_profile(const struct follower *f)
{
	return f->profile;
}

void
follower_relax(struct follower *f)
{
	state_relax(f->state);
}
