/* The scenarios: what each is for, and its script (script.h). */
#ifndef TDSYNC_HARNESS_SCENARIO_H
#define TDSYNC_HARNESS_SCENARIO_H

#include "run.h"

#define ON_DIRECT 1u
#define ON_CGI 2u
#define ON_FASTCGI 4u
#define ON_ALL 7u

struct scenario {
	const char *name, *about;
	unsigned on;           /* transports in a whole run, as 1 << server_kind */
	const char *script;    /* NULL: made from the seed ... */
	void (*plan)(uint64_t seed, struct buf *out); /* ... by this; NULL: random.c */
	bool heals;            /* it is about healing: without, it fails */
};

extern const struct scenario scenarios[]; /* ended by a NULL name */
const struct scenario *scenario_find(const char *name);

/* A run by chance: replicas, clocks, schemas, intervals, faults, all from
 * the run's seed. */
void random_run(struct run *run);

/*
 * Run a scenario to its end, the check included. The run says how it went;
 * run_end() is the caller's.
 */
void scenario_run(struct run *run, const struct scenario *s);

#endif
