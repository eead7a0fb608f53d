/*
 * The master of a pool of workers: holds the listening socket (fd 0), forks
 * workers while all are busy, lets idle ones go, and replaces those that
 * leave or die, slower and slower where they die at once.
 *
 * HUP: read the configuration again, reopen the logs, and replace the workers
 * one by one; no request is lost. TERM, INT, USR1: stop; each worker ends its
 * request first and, where the socket is our own, all that wait are served.
 *
 * A worker that does not come to the end of a request is killed: whoever asked
 * has long given up, and an event that was acked is in the log.
 */
#ifndef TDSYNC_HTTP_MASTER_H
#define TDSYNC_HTTP_MASTER_H

#include "http/config.h"

struct master_options {
	int workers;          /* the fewest, 1 or more */
	int max_workers;      /* the most */
	int64_t max_requests; /* a worker leaves after about that many; 0: never */
	int idle_seconds;     /* how long not all were busy before one is let go */
	int stuck_seconds;    /* in one request: said, and killed after twice that */
	const char *listen;   /* a Unix socket to make; NULL: fd 0 is one */
	const char *pid_file; /* NULL: none */
	const char *config_file, *data; /* as given to config_load() */
};

/*
 * Make a listening Unix socket, 0660, and put it on fd 0. A stale one is
 * replaced; one that somebody listens on is RC_CONFLICT.
 */
enum rc master_listen(const char *path, struct err *err);

/* Run the pool until it is told to stop. Returns the exit status. */
int master_run(struct config *config, const struct master_options *options);

#endif
