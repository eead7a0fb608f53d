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

#include "client/local.h"
#include "profiles/profile.h"

/* A column that both sides have. */
struct row_column {
	char *name;
	int state_cid;   /* its place in the state's table */
	bool is_datetime; /* declared DATETIME: td reads and writes a time */
	bool is_time;    /* holds times, whatever it is declared */
	bool is_session; /* says in which session, not what */
};

#define ROW_COLUMNS 40
#define ROW_UNIQUES 4

/* A table that both sides have; columns sorted by name, as td writes JSON. */
struct row_table {
	const struct profile_entity *entity;
	struct row_column columns[ROW_COLUMNS];
	size_t n;
	size_t id;       /* index of the id */
	int state_id_cid;
	char *uniques[ROW_UNIQUES]; /* SELECT of the ids in a row's way */
	size_t n_uniques;
	struct buf places; /* a condition on a row m of main: its UNIQUE places are
	                   * free in the state */
	sqlite3_stmt *get_local, *get_state, *update, *insert, *del;
};

#define ROW_TABLES 16

struct rows; /* fields are private to rows.c */

/* Describe the tables. On RC_OK *out is new: rows_free() it before the
 * connection is closed. One at a time for a connection. */
enum rc rows_new(struct local *l, struct rows **out, struct err *err);
void rows_free(struct rows *r);

/* The tables in the profile's order, parents first; NULL past the last. */
const struct row_table *rows_table(const struct rows *r, size_t i);

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

/* Whether local rows of synced tables go with this one, by td's schema. */
enum rc rows_has_children(struct rows *r, const struct row_table *t, struct span id,
                          bool *out, struct err *err);

/* Append a local row as td would write it in new_data: columns by name, times
 * as RFC 3339. RC_NOT_FOUND: no such row. */
enum rc rows_local_json(struct rows *r, const struct row_table *t, struct span id,
                        struct buf *out, struct err *err);
enum rc rows_state_json(struct rows *r, const struct row_table *t, struct span id,
                        struct buf *out, struct err *err);

#endif
