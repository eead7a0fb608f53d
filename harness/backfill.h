/*
 * What td tells of rows that its action log does not: before the first pull a
 * push begins with a synthetic `create` of each (protocol.md section 6), and of
 * each issue whose log lags behind its row. Learned from the logs of
 * replay/{legacy-backfill,team,conflicts}/after.
 */
#ifndef TDSYNC_HARNESS_BACKFILL_H
#define TDSYNC_HARNESS_BACKFILL_H

#include "replica.h"

/*
 * Write those entries, in the transaction of the push: what rolls it back takes
 * them along, and their numbers are given again. Returns how many there are.
 */
int backfill(sqlite3 *db, struct replica *r);

/* Put a row as td tells it into out: all columns but those that are local to a
 * machine, by name. False when there is none. */
bool backfill_row(sqlite3 *db, const char *table, const char *id, struct buf *out);

#endif
