/*
 * Whether two td databases hold the same (fixtures/README.md, "How to
 * compare"): the twelve synced tables, rows by id, the columns that both
 * have; local columns and built-in boards left out; times as instants,
 * everything else exactly, types included.
 */
#ifndef TDSYNC_HARNESS_COMPARE_H
#define TDSYNC_HARNESS_COMPARE_H

#include "base/buf.h"

#include <sqlite3.h>

/* The tables, ended by NULL. */
extern const char *const compare_tables[];

/* A thing in which two databases differ. */
struct difference {
	char table[40], id[80];
	char column[40];              /* "" for a row that one side lacks */
	char left[240], right[240];   /* the values, cut; "absent" for no row */
};

/* True when there is none; else the first is told. */
bool compare(sqlite3 *left, sqlite3 *right, struct difference *first);

/*
 * All of them, in the order of tables and ids, until `visit` says false. With
 * `spelling` two spellings of one time differ, too.
 */
void compare_each(sqlite3 *left, sqlite3 *right, bool spelling,
                  bool (*visit)(void *ctx, const struct difference *d), void *ctx);

/* The same for what a query gives in both: its first column tells the rows apart,
 * which come in its order as text. */
void compare_query(sqlite3 *left, sqlite3 *right, const char *name, const char *sql,
                   bool (*visit)(void *ctx, const struct difference *d), void *ctx);

/*
 * A digest of a table over the columns that `cols` has as well, in hex, and
 * the number of its rows. Equal content gives equal digests, whatever the
 * spelling of its times.
 */
void compare_digest(sqlite3 *db, sqlite3 *cols, const char *table, char hex[65],
                    int64_t *rows);

#endif
