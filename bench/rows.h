/*
 * What applying is compared with: SQLite in one process that upserts the same rows
 * into the same tables, without reading any log or JSON: the values are there. WAL,
 * synchronous=NORMAL, SQLite's own checkpoints, a cache of 64 MB as ours.
 */
#ifndef TDSYNC_BENCH_ROWS_H
#define TDSYNC_BENCH_ROWS_H

#include <stdint.h>

#define ROWS_MAX 25000 /* at once */

struct rows; /* fields are private to rows.c */

/* Make an empty database at the path. It aborts where it can't. */
struct rows *rows_new(const char *path);

/* Close it; the files stay. */
void rows_free(struct rows *r);

/* Write the rows of the history's events (history.h) from `first` on, n of them, in
 * one transaction. The seconds that took, without reading the events. */
double rows_write(struct rows *r, int64_t first, int64_t n);

#endif
