/*
 * The FastCGI worker: takes connections from the listening socket on fd 0,
 * one after the other. A signal never meets a request: TERM, INT and USR1
 * are let in only between two of them.
 */
#ifndef TDSYNC_HTTP_FCGI_H
#define TDSYNC_HTTP_FCGI_H

#include "http/board.h"
#include "http/server.h"

/* Whether fd 0 is a listening socket. */
bool fcgi_asked(void);

/*
 * Serve until told to leave, or for max_requests of them (0: for ever).
 * `board` is the pool's, `slot` our place on it; NULL and 0 for a worker of
 * its own. Returns the exit status.
 */
int fcgi_run(struct server *s, struct board *board, int slot, int64_t max_requests);

#endif
