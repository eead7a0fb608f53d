/*
 * A stock td at work in a replica, by protocol.md sections 3, 5 and 6: so
 * that both can be used by turns, and a td that knows nothing of us can be
 * among the replicas of a run.
 */
#ifndef TDSYNC_HARNESS_STOCK_H
#define TDSYNC_HARNESS_STOCK_H

#include "run.h"

/*
 * `td sync`: push what is pending, then pull from the cursor, all of it;
 * `automatic` leaves out its own events, as the automatic sync of td does
 * (where a server honours that). False, with the cause in `why`, where a
 * request did not come through.
 */
bool stock_sync(struct run *run, struct replica *r, bool push, bool pull,
                bool automatic, struct err *why);

#endif
