/* What the harness and tests need of a tdsync handle beyond tdsync.h. */
#ifndef TDSYNC_CLIENT_CLIENT_H
#define TDSYNC_CLIENT_CLIENT_H

#include "client/transport.h"
#include "tdsync.h"

/* Use this transport instead of HTTP; the handle takes it over. */
void tdsync_use_transport(struct tdsync *t, struct transport *tr);

/*
 * Called at each named step of push and pull ("push.sent", "pull.applied",
 * ...); returning false makes the call end there, as if the process had died:
 * no clean-up but that of the open transaction. NULL: never.
 */
void tdsync_on_step(struct tdsync *t, bool (*step)(void *ctx, const char *name), void *ctx);

/* Add seconds to the clock that the client reads (for wrong clocks). */
void tdsync_skew_clock(struct tdsync *t, int64_t seconds);

/* Let no time pass between the polls of a login. */
void tdsync_no_pauses(struct tdsync *t);

#endif
