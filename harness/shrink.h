/*
 * A plan that fails is shrunk: lines are left out as long as what is left still
 * fails, until none can go (Zeller's ddmin).
 */
#ifndef TDSYNC_HARNESS_SHRINK_H
#define TDSYNC_HARNESS_SHRINK_H

#include "run.h"

struct shrink {
	enum server_kind kind;
	uint64_t seed;
	const char *parent;    /* a folder for the runs, each of which is removed */
	char why[640];         /* how the last that failed did */
	int runs;              /* that it took */
};

/*
 * Run a script, whole, in a process of its own. True when a check fails then; not
 * where the harness itself gives up (that script is none), or it takes too long.
 */
bool shrink_fails(struct shrink *s, const char *script);

/* Put the shortest that still fails into out. False when the script doesn't. */
bool shrink_script(struct shrink *s, const char *script, struct buf *out);

#endif
