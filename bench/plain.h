/*
 * What ours is compared with: SQLite in one process, without any of what a
 * server adds. The same rows, as many in a transaction, one index beside the
 * primary key as in events.db, WAL, synchronous=FULL, SQLite's own
 * checkpoints; and the same rows of a log stepped through and printed as a page.
 */
#ifndef TDSYNC_BENCH_PLAIN_H
#define TDSYNC_BENCH_PLAIN_H

#include "base/buf.h"

struct plain; /* fields are private to plain.c */

/* Make an empty database at the path. It aborts where it can't. */
struct plain *plain_new(const char *path);

/* Open one that is there, for plain_add(), which inserts one sample in a
 * transaction: by several processes, but one at a time. */
struct plain *plain_open(const char *path);
void plain_add(struct plain *p);

/* Close it; the files stay. */
void plain_free(struct plain *p);

/* Insert the samples, so many in a transaction, for so many seconds. The rows
 * a second; *rows is how many it were. */
double plain_insert(struct plain *p, size_t batch, double seconds, size_t *rows);

/* Print the page of a log (a project's folder) after a cursor again and again;
 * the pages a second, *out is one. It aborts where it can't. */
double plain_print(const char *dir, int64_t after, double seconds, struct buf *out);

#endif
