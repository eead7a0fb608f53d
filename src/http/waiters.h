/*
 * Who waits for a project's lock: so that one hot project can't take the whole
 * pool. A place is an OFD lock on one byte of the file `waiters` in the
 * project's folder; it is gone with a process that dies.
 */
#ifndef TDSYNC_HTTP_WAITERS_H
#define TDSYNC_HTTP_WAITERS_H

#include "base/rc.h"

#include <stdbool.h>

#define WAITERS_FILE "waiters"

/*
 * Take one of `max` places, without waiting. On RC_OK give *place back with
 * waiters_leave(). RC_BUSY: all are taken. Where the file can't be had, *place
 * is -1 and the outcome RC_OK: this is protection, not correctness.
 */
enum rc waiters_enter(const char *dir, int max, int *place, struct err *err);

/* -1 is fine. */
void waiters_leave(int place);

#endif
