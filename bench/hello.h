/* The least that a FastCGI worker can do: one fixed answer, by libfcgi, with
 * FCGX_Detach as ours; a pool of them behind the same nginx. And the least that a
 * push can be: before it answers it inserts an event into SQLite, under a lock. */
#ifndef TDSYNC_BENCH_HELLO_H
#define TDSYNC_BENCH_HELLO_H

#include <stddef.h>
#include <sys/types.h>

#define HELLO_MAX 64 /* workers */

struct hello {
	pid_t pids[HELLO_MAX];
	size_t n;
};

/* Start n workers on a socket at the path; with a database of plain_new() they
 * insert an event for each request. It aborts where it can't; they die with us. */
void hello_start(struct hello *h, const char *path, size_t n, const char *db);
void hello_stop(struct hello *h);

#endif
