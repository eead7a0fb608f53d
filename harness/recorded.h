/*
 * The model of a stock device against the recordings (fixtures/README.md): each
 * device of a history lives its action log again and syncs when it did, with a
 * server that is the recorded log. It has to push what is recorded, and to end as
 * recorded: every row, spelling of times included, its action log, cursor,
 * conflicts and skipped events; and so in every difference of differences.tsv.
 */
#ifndef TDSYNC_HARNESS_RECORDED_H
#define TDSYNC_HARNESS_RECORDED_H

#include "run.h"

/* The histories: how many, what the n-th run says. */
size_t recorded_count(void);
const char *recorded_name(size_t n);

/* Live the n-th in a run that has begun. It fails at the first difference that
 * recorded.c does not list, or at a listed one that does not occur; it is skipped
 * where the recording is not here. */
void recorded_run(struct run *run, size_t n);

/* Pull events that wedge a td: an unknown type one before v0.60 (here v0.45), no
 * known column v0.62. */
void recorded_odd(struct run *run);

#endif
