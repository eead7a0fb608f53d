/* A run by chance: who is there, how often they sync, what goes wrong. */
#include "scenario.h"

#include "emit.h"
#include "sync.h"

#include <stdio.h>
#include <string.h>

/* How somebody works. */
struct habit {
	unsigned edits;  /* per turn, at most */
	unsigned syncs;  /* percent of turns that end with a sync */
	bool dies;       /* its process is killed now and then */
};

static struct habit
add_replica(struct run *run)
{
	static const int schemas[] = { 38, 38, 38, 31, 27 };
	struct rng *rng = &run->rng;
	struct replica *r = run_add(run, schemas[rng_below(rng, 5)]);
	struct habit h;

	if (rng_chance(rng, 40))
		r->skew_s = (int64_t)rng_below(rng, 3600) - 1800;
	h.edits = 1 + (unsigned)rng_below(rng, 8);
	h.syncs = rng_chance(rng, 50) ? 90 : 20; /* fast or slow */
	h.dies = rng_chance(rng, 40);
	return h;
}

static void
work(struct run *run, struct replica *r, unsigned n)
{
	struct emit *e = emit_open(r, true);
	const struct command *c;
	char id[ID_MAX];
	int before;

	while (n-- > 0) {
		before = emit_entries(e);
		if ((c = emit_random(e, id)) != NULL)
			trace_line(&run->trace, "edit", "s:replica", r->name, "s:command",
			    c->name, "s:id", id, "i:entries",
			    (int64_t)(emit_entries(e) - before), NULL);
	}
	emit_close(e);
}

/* A call that may fail for the faults' sake, and for nothing else. */
static void
call(struct run *run, struct replica *r, const struct habit *h)
{
	enum call c = rng_chance(&run->rng, 60) ? CALL_SYNC :
	    rng_chance(&run->rng, 50) ? CALL_PUSH : CALL_PULL;
	struct plan p = { 0 };
	struct outcome out;

	if (h->dies && rng_chance(&run->rng, 25))
		p.die_at = 1 + (int)rng_below(&run->rng, 14);
	sync_call(run, r, c, &p, &out);
	if (!out.died && out.rc != TDSYNC_OK && out.rc != TDSYNC_NETWORK &&
	    out.rc != TDSYNC_BUSY)
		run_fail(run, "%s: %s: %s", r->name, tdsync_rc_name(out.rc), out.error);
}

void
random_run(struct run *run)
{
	struct habit habits[RUN_REPLICAS];
	struct rng *rng = &run->rng;
	size_t people = 2 + rng_below(rng, 3), turns = 10 + rng_below(rng, 20), i, who;
	struct plan none = { 0 };
	struct outcome out;

	for (i = 0; i < people; i++)
		habits[i] = add_replica(run);
	for (i = 0; i < run->n; i++) /* the link itself without faults */
		sync_call(run, &run->replicas[i], CALL_LINK, &none, &out);
	run->faults.rng = rng_split(rng);
	if (rng_chance(rng, 70)) {
		run->faults.percent[FAULT_SLOW] = 2;
		run->faults.percent[FAULT_LOST_REQUEST] = 8;
		run->faults.percent[FAULT_LOST_ANSWER] = 12;
		run->faults.percent[FAULT_TWICE] = 12;
		run->faults.percent[FAULT_BUSY] = 3;
	}
	while (turns-- > 0 && run_ok(run)) {
		who = rng_below(rng, run->n);
		work(run, &run->replicas[who], 1 + (unsigned)rng_below(rng, habits[who].edits));
		if (rng_chance(rng, habits[who].syncs))
			call(run, &run->replicas[who], &habits[who]);
		if (run->n < RUN_REPLICAS && rng_chance(rng, 3)) { /* somebody joins */
			habits[run->n] = add_replica(run);
		}
	}
}
