/*
 * What must hold after every run, once all is quiet:
 *   - the log's numbers have no gap, and no event is in it twice
 *   - nothing is in it that was not sent
 *   - every ack that ever left the server names an event that is there, under
 *     that number, whether the client lived to hear it or not
 *   - every action of every replica is in it, and the replica's books say so
 *   - a pull from 0 through the transport gives the log, byte for byte
 *   - every replica holds, row by row, what the log adds up to
 *   - and the server's conflict records, all of them, in its order, but for
 *     those of stock devices, which know of none
 */
#ifndef TDSYNC_HARNESS_CHECK_H
#define TDSYNC_HARNESS_CHECK_H

#include "run.h"

/* Check everything; false (and the run fails) at the first thing that does
 * not hold. Writes the log and the digests of all states to the trace. */
bool check_run(struct run *run);

/* Write a state to the trace: a digest of each table, over the columns that
 * `cols` has as well. */
void check_tell_state(struct run *run, const char *who, sqlite3 *db, sqlite3 *cols);

#endif
