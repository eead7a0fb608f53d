/*
 * Digests of what a state holds (design.md, "One applier"): for each table the
 * number of its rows and the sum, modulo 2^256, of SHA-256 over each row's
 * canonical text. So a row's change costs two hashes whatever the table's size,
 * and the order of rows does not count.
 *
 * Canonical text of a row: the table's name, then each column in the order of
 * the schema but those that are local to a machine, as NAME TYPE LENGTH:VALUE.
 * TYPE is N (NULL), I (integer, decimal), R (real, as %.17g), S (text), B (blob),
 * or T for a time in a column that holds times: seconds since 1970, a dot, and
 * nanoseconds, so that the spelling of a time does not count.
 */
#ifndef TDSYNC_ENGINE_SUMS_H
#define TDSYNC_ENGINE_SUMS_H

#include "base/hash.h"
#include "engine/table.h"

/* Of one table. */
struct sum {
	int64_t rows;
	unsigned char sum[HASH_LEN]; /* the greatest byte first */
};

/* A row as it is read: the value of a column by its place in the table. */
typedef sqlite3_value *sums_value(void *ctx, int column);

/*
 * Add a row to a table's sum, or take it away. `scratch` is reset and used.
 * RC_FAULT: no memory, or a value could not be read.
 */
enum rc sums_add(const struct table *t, sums_value *value, void *ctx, bool add,
                 struct sum *sum, struct buf *scratch);

/* Sum up a table by reading all of it. */
enum rc sums_scan(struct tables *all, const struct table *t, struct sum *out,
                  struct err *err);

/* Sum up all tables, each to its number's place; those held back are left out. */
enum rc sums_scan_all(struct tables *all, struct sum *out, struct err *err);

/*
 * One digest of all tables: SHA-256 of a text with a line "TABLE ROWS SUM" for
 * each, in the profile's order (rows decimal, the sum as 64 hex digits, a newline
 * behind it); those held back are left out. `sums` are by the tables' numbers.
 */
enum rc sums_digest(const struct tables *all, const struct sum *sums,
                    unsigned char out[HASH_LEN]);

/* The columns that count, as a JSON array of names: replicas whose arrays differ
 * can't be compared. */
void sums_columns(const struct table *t, struct buf *out);

#endif
