/*
 * SQLite in few words, for a program that ends at the first error of its
 * own: whatever fails here is the harness's fault or the disk's, never
 * something a check may shrug at.
 *
 * Parameters follow a string of their types: 's' const char * (NULL is
 * NULL), 'i' int64_t, 'b' struct span.
 */
#ifndef TDSYNC_HARNESS_SQL_H
#define TDSYNC_HARNESS_SQL_H

#include "base/buf.h"

#include <sqlite3.h>

/* Say why on stderr and end the program with 2. */
void die(const char *fmt, ...)
	__attribute__((noreturn, format(printf, 1, 2)));

/* Open a database that exists (`create`: or make it); waits up to 5 s when busy. */
sqlite3 *sql_open(const char *path, bool create);

/* Open a file that nobody writes, and leave nothing beside it. */
sqlite3 *sql_open_frozen(const char *path);

void sql_close(sqlite3 *db);

/* Prepare and bind. Text is borrowed until the statement is finalised. */
sqlite3_stmt *sql_prepare(sqlite3 *db, const char *sql, const char *types, ...);

/* Step: true when a row came; at the end the statement is finalised and
 * *st is NULL. */
bool sql_next(sqlite3_stmt **st);

/* Run a statement, or several when there are no parameters. */
void sql_run(sqlite3 *db, const char *sql, const char *types, ...);

/* The first column of the first row: a number (`none` when there is no row
 * or it is NULL), or text put into out (false when there is none). */
int64_t sql_int(sqlite3 *db, int64_t none, const char *sql, const char *types, ...);
bool sql_text(sqlite3 *db, struct buf *out, const char *sql, const char *types, ...);

/* Whether the table has the column. */
bool sql_has(sqlite3 *db, const char *table, const char *column);

/* A column as a span; borrowed until the next step. */
struct span sql_col(sqlite3_stmt *st, int col);

#endif
