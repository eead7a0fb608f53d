/*
 * The harness against itself: a run is sabotaged once all is quiet, in the
 * log, in a replica, on the wire; the check has to say so, and what it says
 * has to be the cause. A check that can't fail proves nothing.
 */
#ifndef TDSYNC_HARNESS_SELFTEST_H
#define TDSYNC_HARNESS_SELFTEST_H

#include "scenario.h"

/* The sabotages: how many, what the n-th is called. */
size_t selftest_count(void);
const char *selftest_name(size_t n);

/* Do the n-th in a run that has begun. The run ends well when the check saw
 * it, and fails when it did not. */
void selftest_run(struct run *run, size_t n);

/* A scenario about healing has to fail where the server does not heal. */
void selftest_unhealed(struct run *run, const struct scenario *s);

/* A plan that is sabotaged has to be shrunk (shrink.h) to what that takes. */
void selftest_shrink(struct run *run);

#endif
