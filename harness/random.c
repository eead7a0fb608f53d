/* A run by chance: who is there, how often they sync, what goes wrong. */
#include "scenario.h"

#include "emit.h"
#include "stock.h"
#include "sync.h"

#include <stdio.h>
#include <string.h>

/* How somebody works. */
struct habit {
	unsigned edits;  /* per turn, at most */
	unsigned syncs;  /* percent of turns that end with a sync */
	bool dies;       /* its process is killed now and then */
	bool by_turns;   /* a stock td syncs there as well */
};

/* Somebody else who comes in between. */
struct other {
	struct run *run;
	struct replica *r;
	int left;        /* steps until then */
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
	h.by_turns = rng_chance(rng, 25);
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

/* At one step of somebody's call another one works and pushes. */
static void
come_between(void *ctx, const char *step)
{
	struct other *o = ctx;
	struct plan none = { 0 };
	struct outcome out;

	(void)step;
	if (--o->left != 0)
		return;
	work(o->run, o->r, 2);
	sync_call(o->run, o->r, CALL_PUSH, &none, &out);
}

/* A call that may fail for the faults' sake, and for nothing else. */
static void
call(struct run *run, struct replica *r, const struct habit *h)
{
	struct rng *rng = &run->rng;
	enum call c = rng_chance(rng, 60) ? CALL_SYNC : rng_chance(rng, 50) ? CALL_PUSH :
	    CALL_PULL;
	struct other other = { run, &run->replicas[rng_below(rng, run->n)],
	    1 + (int)rng_below(rng, 10) };
	struct plan p = { 0 };
	struct outcome out;

	if (h->by_turns && rng_chance(rng, 40)) {
		stock_call(run, r, c == CALL_PUSH ? STOCK_PUSH : c == CALL_PULL ? STOCK_PULL :
		    rng_chance(rng, 50) ? STOCK_AUTO : STOCK_SYNC, &p, &out);
		return;
	}
	if (h->dies && rng_chance(rng, 25)) {
		p.die_at = 1 + (int)rng_below(rng, 14);
	} else if (other.r != r && rng_chance(rng, 15)) {
		p.at_step = "*";
		p.hook = come_between;
		p.ctx = &other;
	}
	sync_call(run, r, c, &p, &out);
	if (!out.died && out.rc != TDSYNC_OK && out.rc != TDSYNC_NETWORK &&
	    out.rc != TDSYNC_BUSY)
		run_fail(run, "%s: %s: %s", r->name, tdsync_rc_name(out.rc), out.error);
}

/* What happens seldom. */
static void
seldom(struct run *run, struct habit *habits)
{
	struct rng *rng = &run->rng;
	struct replica *r = &run->replicas[rng_below(rng, run->n)];
	const char *what;
	struct faults ambient;
	struct plan none = { 0 };
	struct outcome out;

	switch (rng_below(rng, 8)) {
	case 0: /* somebody joins */
		if (run->n < RUN_PEOPLE)
			habits[run->n] = add_replica(run);
		break;
	case 1: /* a copy of somebody's database, as it is */
		if (run->n < RUN_PEOPLE) {
			run_tell(run, r, "copied");
			habits[run->n] = habits[r - run->replicas];
			replica_keep(r, "cloned.db");
			run_copy(run, r->db, COPY_AS_IT_IS);
		}
		break;
	case 2: /* git puts an older database in place */
		run_tell(run, r, r->kept ? "set back" : "kept aside");
		if (r->kept)
			replica_set_back(r, "kept.db");
		else
			replica_keep(r, "kept.db");
		r->kept = !r->kept;
		break;
	case 3:
		run_tell(run, r, "new device");
		replica_new_device(r);
		break;
	case 4: /* clocks jump: somebody's, the server's (tokens are of today) */
		run_tell(run, r, "clock jumps");
		run_tell(run, NULL, "clock jumps");
		r->skew_s = (int64_t)rng_below(rng, 7200) - 3600;
		run->server.clock_s = (int64_t)rng_below(rng, 80000);
		break;
	case 5: /* a disk takes nothing for a while */
		what = rng_chance(rng, 50) ? "disk-full" : "disk-broken";
		run_tell(run, NULL, what);
		server_suffer(&run->server, what);
		sync_call(run, r, CALL_SYNC, &none, &out);
		run_tell(run, NULL, "disk-well");
		server_suffer(&run->server, "disk-well");
		break;
	case 6: /* somebody puts back what was lost, if it can be */
		sync_call(run, r, CALL_PUT_BACK, &none, &out);
		if (out.rc != TDSYNC_OK && out.rc != TDSYNC_REFUSED && out.rc != TDSYNC_NETWORK &&
		    out.rc != TDSYNC_BUSY)
			run_fail(run, "%s: put-back: %s: %s", r->name, tdsync_rc_name(out.rc),
			    out.error);
		break;
	default: /* all at once; the order is the system's */
		ambient = run->faults;
		memset(run->faults.percent, 0, sizeof(run->faults.percent));
		sync_crowd(run);
		memcpy(run->faults.percent, ambient.percent, sizeof(ambient.percent));
	}
}

/* Percent of the requests. A pool that loses its workers too often makes
 * them wait, and hanging takes a second. */
static void
set_faults(struct run *run)
{
	bool pool = run->server.kind == SERVER_FASTCGI;
	enum fault f;

	for (f = FAULT_SLOW; f < FAULT__MAX; f++)
		run->faults.percent[f] = 2;
	run->faults.percent[FAULT_LOST_ANSWER] = 8;
	run->faults.percent[FAULT_TWICE] = 8;
	run->faults.percent[FAULT_KILLED] = pool ? 1 : 4;
	run->faults.percent[FAULT_HANG] = pool ? 0 : 1;
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
	if (rng_chance(rng, 70))
		set_faults(run);
	while (turns-- > 0 && run_ok(run)) {
		who = rng_below(rng, run->n);
		work(run, &run->replicas[who], 1 + (unsigned)rng_below(rng, habits[who].edits));
		if (rng_chance(rng, habits[who].syncs))
			call(run, &run->replicas[who], &habits[who]);
		if (rng_chance(rng, 6))
			seldom(run, habits);
	}
}
