/*
 * Places: how many processes may do something at the same time, over all
 * workers and CGI processes of a data folder. A place is an OFD lock on one
 * byte of a file; it is gone with a process that dies.
 */
#ifndef TDSYNC_HTTP_PLACES_H
#define TDSYNC_HTTP_PLACES_H

#include "base/rc.h"

#include <stdbool.h>

/* In a project's folder: who waits for the log's lock, so that one hot project
 * can't take the whole pool. Beyond the places for requests is one for the
 * worker that waits to checkpoint. */
#define WAITERS_FILE "waiters"
#define WAITERS_CHECKPOINT 4096

/* Likewise: who waits for its state. */
#define WAITERS_STATE "state.waiters"

/* Likewise: who applies its events in spare time. */
#define SPARE "state.spare"

/* Likewise: who replays its past, for which it takes a place among the large ones. */
#define REPLAYS "replays"

/* In the data folder: the guest who replays a public project's past. */
#define GUEST_REPLAY "guest-replay"

/* In the data folder: who has a large body in its memory. */
#define LARGE_FILE "large-bodies"

/*
 * Take one of the places 0, ..., n - 1, without waiting. On RC_OK give *place
 * back with place_leave(). RC_BUSY: all are taken, *place is -1. Where the
 * file can't be had, *place is -1 and the outcome RC_OK: this is protection,
 * not correctness.
 */
enum rc place_take(const char *path, int n, int *place);

/* Take a further place of the same file along: the i-th. False: it is taken. */
bool place_add(int place, int i);

/* -1 is fine. */
void place_leave(int place);

#endif
