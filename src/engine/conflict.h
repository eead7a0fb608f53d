/*
 * Conflicts, decided by cause, not by clock (design.md): what an event took from
 * others who had not been seen by its author. Recorded while the event is
 * applied to the server's state, from the log alone: so the record is the same
 * for everyone. The last arrival wins; what lost is kept here.
 *
 * One record for each event and row. What the author saw is its previous_data;
 * where it gives none, its own last event on the row tells (its device's, else
 * its user's; who changes or deletes a row has seen it made): then a record is
 * not certain. Values are compared as stored, times as instants to the second.
 * None is: the same value twice, an author's own succession, a lost NULL or
 * default, times and sessions alone.
 */
#ifndef TDSYNC_ENGINE_CONFLICT_H
#define TDSYNC_ENGINE_CONFLICT_H

#include "engine/deed.h"
#include "store/state.h"

/* The values are stored. */
enum conflict_kind {
	CONFLICT_FIELD = 1,           /* an update over values that it had not seen */
	CONFLICT_DELETE = 2,          /* a delete over an edit that it had not seen */
	CONFLICT_EDIT_OF_DELETED = 3, /* an edit of a row that is deleted, or gone */
	CONFLICT_CREATE = 4,          /* a whole row over a whole row */
	CONFLICT_CASCADE = 5,         /* a row that REPLACE or a hard delete took along */
	CONFLICT_EDGE = 6             /* an edge that the cycle rule dropped */
};

/* The wire's name of a kind: "edit_of_deleted". Static. */
const char *conflict_name(enum conflict_kind kind);

/* A conflict's id on the wire, "42-1": its event, and which of it. */
struct conflict_id {
	int64_t seq;
	int n;
};
#define CONFLICT_ID_TEXT 40
/* False: it is none, or not in its one spelling. */
bool conflict_id_parse(struct span text, struct conflict_id *out);
char *conflict_id_text(struct conflict_id id, char out[CONFLICT_ID_TEXT]);

struct recorder; /* fields are private to conflict.c */

/* Records into a state what an applier does to its tables. Both are borrowed.
 * On RC_OK *out is new: recorder_free() it. */
enum rc recorder_new(struct state *s, struct applier *a, struct recorder **out,
                     struct err *err);

/* NULL is fine. */
void recorder_free(struct recorder *r);

/* A row changes: to be called from SQLite's preupdate hook, with its arguments. */
void recorder_on_change(struct recorder *r, sqlite3 *db, int op, const struct table *t);

/* What there was to record of an event. */
struct recorded {
	enum version_what version;
	bool noted;   /* a certain conflict of kind field or delete */
	bool took;    /* by REPLACE it took rows of other tables along */
};

/*
 * The event is done: write its conflicts and versions, or that it was skipped.
 * To be called at the end of each event; the log is the one it came from.
 */
enum rc recorder_done(struct recorder *r, struct events *log, const struct deed *d,
                      enum applied what, const char *why, struct recorded *out,
                      struct err *err);

/* The event came to no end, and what it changed is rolled back. */
void recorder_forget(struct recorder *r);

#endif
