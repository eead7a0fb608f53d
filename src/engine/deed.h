/*
 * What an event does to its table, for those who look on while it is applied:
 * conflict records (conflict.h) and the state's sums (sums.h). Only the
 * applier and they use this.
 */
#ifndef TDSYNC_ENGINE_DEED_H
#define TDSYNC_ENGINE_DEED_H

#include "engine/apply.h"
#include "engine/table.h"

/* A row of a payload: the value of each column, empty where it has none. */
struct row {
	struct span values[TABLE_COLUMNS];
};

/* The event at hand. Everything is borrowed, for the time of applier_apply(). */
struct deed {
	const struct event *ev;
	struct table *table;     /* NULL: the profile has none for its type */
	struct instant at;       /* the event's time */
	bool has_row;            /* `row` is new_data, of a create or an update */
	bool has_before;         /* `before` is previous_data, which says something */
	struct row row, before;
	bool cycle;              /* an edge that would close a cycle; or did, of more than two */
	bool whole;              /* the whole row is written ... */
	uint64_t set;            /* ... or these columns */
};

/*
 * Look on from now on. `done` is called at the end of each applier_apply(),
 * with what became of the event; the rows of a payload are there for every
 * action then. NULL: no more. Anything but RC_OK becomes the outcome.
 */
typedef enum rc deed_done(void *ctx, const struct deed *d, enum applied what,
                          const char *why, struct err *err);
void applier_watch(struct applier *a, deed_done *done, void *ctx);

/*
 * Read an event of a table that is there, without applying it: what it would
 * write. `set` of an update is what it did write where the row was there.
 */
void applier_read(struct applier *a, const struct event *ev, struct deed *out);

/*
 * The row that an event carries, as it was made or as its author saw it last; NULL:
 * none. Deletes and restores may come with an empty new_data beside what was seen.
 */
const struct row *deed_row(const struct deed *d);

/* The deed that is done at this moment: for SQLite's hooks. */
const struct deed *applier_deed(const struct applier *a);

/* The tables that it works on. Borrowed. */
struct tables *applier_tables(struct applier *a);

#endif
