/*
 * Rows state/...: bringing a state up to its log. What it is compared with is
 * SQLite in one process that upserts the same rows into the same tables, without
 * reading any log or JSON.
 */
#include "bench/bench.h"

#include "base/clock.h"
#include "bench/pair.h"
#include "bench/rows.h"
#include "engine/apply.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define SLICE 25000    /* events of each part of a round */
#define SLICES 4
#define SHORT_LOG 10000

/* --- the applier alone, without conflicts and sums, on a state of its own --- */

struct bare {
	struct state *state;
	struct applier *applier;
	struct err err;
};

static bool
bare_open(struct bench *b, struct bare *a, const char *dir, struct events *log)
{
	struct state_kind kind = { "bare", NULL };
	struct buf schema = { 0 };
	enum rc rc;

	*a = (struct bare){ NULL };
	mkdir(dir, 0755);
	profile_schema(&profile_td, "main", &schema);
	kind.schema = buf_cstr(&schema);
	if ((rc = state_new(dir, &kind, &a->state, &a->err)) == RC_OK &&
	    (rc = state_lock(a->state, log, clock_mono_ms(), &a->err)) == RC_OK)
		rc = applier_new(state_db(a->state), "main", &profile_td, &a->applier, &a->err);
	buf_free(&schema);
	if (rc == RC_OK)
		state_cache(a->state, 64 << 20);
	return bench_ok(b, rc, &a->err);
}

static void
bare_close(struct bare *a)
{
	applier_free(a->applier);
	state_free(a->state);
}

static enum rc
bare_apply(void *ctx, const struct event *ev, bool *stop)
{
	struct bare *a = ctx;
	enum applied what;

	(void)stop;
	state_set_seq(a->state, ev);
	return applier_apply(a->applier, ev, &what, &a->err);
}

static double
bare_follow(struct bench *b, struct bare *a, struct events *log, int64_t last)
{
	int64_t start = clock_mono_us();
	enum rc rc = state_begin(a->state, &a->err);

	if (rc == RC_OK)
		rc = events_walk(log, state_seq(a->state), last, false, NULL, bare_apply, a,
		                 &a->err);
	if (rc == RC_OK && (rc = state_commit(a->state, &a->err)) == RC_OK)
		state_maintain(a->state);
	return bench_ok(b, rc, &a->err) ? (double)(clock_mono_us() - start) / 1e6 : -1;
}

/* --- the rate --- */

static void
add_rate(struct bench *b, const char *id, double seconds, double reference, double events,
         double least)
{
	struct row *row;

	if (!bench_wants(b, id))
		return;
	row = table_add(&b->table, id, reference / seconds, "x", AIM_AT_LEAST, least);
	row->figures[F_RATE] = events / seconds;
	row->figures[F_REFERENCE] = events / reference;
}

/* All three in turn, a slice of the log each. */
static void
rate_rows(struct bench *b)
{
	int64_t slice = b->quick ? SLICE / 20 : SLICE, n = 0;
	double all = 0, alone = 0, plain = 0;
	char path[PATH_MAX + 16];
	struct bare bare;
	struct rows *rows;
	struct pair p;

	bench_say("applying");
	if (!pair_make(b, &p, 0))
		return;
	snprintf(path, sizeof(path), "%s/plain.db", p.dir);
	rows = rows_new(path);
	snprintf(path, sizeof(path), "%s/bare", p.dir);
	if (bare_open(b, &bare, path, p.log))
		for (; n < SLICES * slice && !b->failed; n += slice) {
			if (!pair_append(b, &p, slice))
				break;
			all += pair_follow(b, &p, NULL);
			alone += bare_follow(b, &bare, p.log, n + slice);
			plain += rows_write(rows, n, slice);
		}
	add_rate(b, "state/apply", all, plain, (double)n, 0.35);
	add_rate(b, "state/apply-alone", alone, plain, (double)n, 0.5);
	bare_close(&bare);
	rows_free(rows);
	pair_remove(&p);
}

/* --- a long log --- */

/* What an event of a log of so many costs, in seconds of the CPU; *rate is how many
 * were applied a second. */
static double
cost(struct bench *b, int64_t events, double *rate)
{
	double seconds = -1, cpu = -1;
	struct pair p;

	if (pair_make(b, &p, events))
		seconds = pair_follow(b, &p, &cpu);
	pair_remove(&p);
	*rate = (double)events / seconds;
	return cpu / (double)events;
}

/*
 * By the CPU's time: the long one takes a minute, in which a disk or a neighbour has
 * other moments than in the short ones, which are measured before it and after.
 */
static void
long_row(struct bench *b)
{
	double costs[ROUNDS_MAX], rates[ROUNDS_MAX], of_long = 0, rate = 0, of_short;
	size_t n = b->rounds < ROUNDS_MAX / 2 ? b->rounds : ROUNDS_MAX / 2;
	struct row *row;

	if (!bench_wants(b, "state/long"))
		return;
	bench_say("applying %lld events", (long long)b->long_log);
	for (size_t r = 0; r < 2 * n; r++) {
		if (r == n)
			of_long = cost(b, b->long_log, &rate);
		costs[r] = cost(b, b->quick ? SHORT_LOG / 20 : SHORT_LOG, &rates[r]);
	}
	of_short = bench_median(costs, 2 * n);
	row = table_add(&b->table, "state/long", of_long / of_short, "x", AIM_AT_MOST, 1.5);
	row->figures[F_RATE] = rate;
	row->figures[F_REFERENCE] = bench_median(rates, 2 * n);
	row->figures[F_CPU_EVENT] = of_long * 1e6;
}

/* --- pushes beside it --- */

#define PUSHERS 4
#define PAUSE_US 20000

/* Make a state anew again and again, in a process of its own, with handles of its
 * own. */
static pid_t
apply_beside(struct bench *b, const struct pair *theirs)
{
	struct pair p = *theirs;
	pid_t pid = fork();
	struct err err;

	if (pid != 0)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (!pair_open(b, &p))
		_exit(1);
	while (bench_ok(b, follower_rebuild(p.f, p.log, clock_mono_ms() + 10000, &err), &err))
		;
	_exit(1);
}

/* The median time of a push while somebody applies, or nobody does: for who holds
 * the state's lock keeps the workers from it. */
static double
push_p50(struct bench *b, struct place *p, struct load_client *clients,
         const struct pair *pair, bool beside, struct spent *spent)
{
	uint32_t *times;
	pid_t pid = 0;
	size_t count;
	struct err err;
	double p50;

	if (beside)
		pid = apply_beside(b, pair);
	else if (!bench_ok(b, state_lock(follower_state(pair->f), pair->log, clock_mono_ms() + 10000,
	                           &err), &err))
		return -1;
	for (size_t i = 0; i < PUSHERS; i++)
		load_forget(&clients[i]);
	bench_slot(b, p, clients, PUSHERS, b->quick ? b->slot : 2, PUSHERS, spent);
	times = load_times(clients, PUSHERS, &count);
	p50 = load_quantile(times, count, 0.5);
	free(times);
	if (!beside)
		state_unlock(follower_state(pair->f));
	else if (kill(pid, SIGKILL) == 0)
		waitpid(pid, NULL, 0);
	return p50;
}

static void
beside_rows(struct bench *b, struct place *p, struct pair *pair, struct tally *t)
{
	struct pusher pushers[PUSHERS];
	struct load_client clients[PUSHERS];
	double ratios[ROUNDS_MAX] = { 0 };
	struct spent spent = { 0 };
	struct row *row;

	for (size_t i = 0; i < PUSHERS; i++) {
		pusher_init(&pushers[i], &clients[i], p, i, 1, t, 1);
		clients[i].pause_us = PAUSE_US;
	}
	bench_warm_up(b, p, clients, PUSHERS);
	for (size_t r = 0; r < b->rounds && !b->failed; r++) {
		double without = push_p50(b, p, clients, pair, false, &spent);

		spent = (struct spent){ 0 };
		ratios[r] = push_p50(b, p, clients, pair, true, &spent) / without;
	}
	row = table_add(&b->table, "state/push-p50", bench_median(ratios, b->rounds), "x",
	                AIM_AT_MOST, 1.25);
	bench_figures(row, clients, PUSHERS, &spent, 1);
	for (size_t i = 0; i < PUSHERS; i++)
		pusher_free(&pushers[i], &clients[i]);
}

static void
beside_row(struct bench *b)
{
	int64_t events = b->quick ? 1000 : 100000;
	struct pair pair;
	struct place p;
	struct tally t;

	if (!bench_wants(b, "state/push-p50"))
		return;
	bench_say("pushes beside an applier");
	if (!place_start(b, &p, NULL))
		return;
	tally_new(&p, &t);
	tally_dir(&p, &t, pair.dir);
	if (pair_open(b, &pair) && pair_append(b, &pair, events)) {
		t.base = events;
		beside_rows(b, &p, &pair, &t);
		tally_check(b, &p, &t);
	}
	pair_close(&pair);
	place_stop(b, &p);
}

void
state_rows(struct bench *b)
{
	if (bench_wants(b, "state/apply") || bench_wants(b, "state/apply-alone"))
		rate_rows(b);
	if (!b->failed)
		long_row(b);
	if (!b->failed)
		beside_row(b);
}
