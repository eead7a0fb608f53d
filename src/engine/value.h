/* Stored values: as bytes, as JSON, and whether two are the same to a person. */
#ifndef TDSYNC_ENGINE_VALUE_H
#define TDSYNC_ENGINE_VALUE_H

#include "base/buf.h"
#include "store/db.h"

/* A text's or blob's bytes, borrowed from it. */
struct span value_bytes(sqlite3_value *v);

/* Whether it is an integer or a floating-point number. */
bool value_is_number(sqlite3_value *v);

/* Whether two are the same: numbers by what they are worth; `time`: of a column
 * that holds times, which are compared as instants. */
bool value_same(sqlite3_value *a, sqlite3_value *b, bool time);

/*
 * Append a value as td writes it in a payload. `datetime`: of a column declared
 * DATETIME, whose times td writes as RFC 3339. NULL for v is a NULL.
 */
void value_json(sqlite3_value *v, bool datetime, struct buf *out);

/* The same for a text that is no stored value yet. */
void value_text_json(struct span text, bool datetime, struct buf *out);

#endif
