/*
 * The rows of a replica: those of the state ("tdsync") and td's own ("main").
 * Which ones an event changed, REPLACE and cascades included, is told by
 * SQLite's preupdate hook; those are compared, and td's are written over
 * where they differ. Times are compared as times, columns that belong to one
 * machine are left alone, and nothing is removed from td's tables that the
 * log does not say without a copy in td's sync_conflicts.
 *
 * The order of calls is fetch.c's. All need an open transaction.
 */
#ifndef TDSYNC_CLIENT_ROWS_H
#define TDSYNC_CLIENT_ROWS_H

#include "client/kinds.h"

struct rows; /* fields are private to rows.c */

/* On RC_OK *out is new: rows_free() it before the kinds. One at a time for a
 * connection, whose preupdate hook it is. */
enum rc rows_new(struct kinds *kinds, struct rows **out, struct err *err);
void rows_free(struct rows *r);

/* Forget all keys: a new transaction begins. `migrated`: td's schema changed
 * since its rows were written, so a column may be empty without a person's
 * doing. */
void rows_clear(struct rows *r, bool migrated);

/* What the hook notes of changes to the state. */
enum rows_watch {
	WATCH_OFF,
	WATCH_KEYS, /* which rows */
	WATCH_OLD   /* and what they were before the first change */
};
void rows_watch(struct rows *r, enum rows_watch watch);

/* Note a row that an event is about, though it changed nothing in the state. */
enum rc rows_note(struct rows *r, struct span type, struct span id, struct err *err);

/* Note every row whose local and state sides differ, but for local rows that
 * the log never held (they are offered to it). */
enum rc rows_note_all(struct rows *r, struct err *err);

/*
 * Judge the rows noted since the last call: is the local row what it should
 * be, that is what the state had (WATCH_OLD) or has now? One that is not, in
 * more than times and sessions, is copied, to be kept if it is written over.
 */
enum rc rows_judge(struct rows *r, struct err *err);

/* Read what the local rows of all noted keys should become: the state as it
 * is now. One that the log never held stays. */
enum rc rows_want(struct rows *r, struct err *err);

/*
 * Write it. Foreign keys are off meanwhile. `seq`: where the rows then stand.
 * *written is the number of rows that were changed.
 */
enum rc rows_write(struct rows *r, int64_t seq, int64_t now_us, int64_t *written,
                   struct err *err);

#endif
