/*
 * The applier: what an event does to the rows of a state or replica
 * (protocol.md section 5). The result is a pure function of the log and the
 * profile: where a column's default is the current time, a row gets the
 * event's. Used by the server's state and by replicas alike.
 */
#ifndef TDSYNC_ENGINE_APPLY_H
#define TDSYNC_ENGINE_APPLY_H

#include "profiles/profile.h"
#include "store/db.h"
#include "store/events.h"

struct applier; /* fields are private to apply.c */

/* What became of an event. */
enum applied {
	APPLIED,          /* done, or rightly nothing to do */
	APPLIED_ORPHAN,   /* a create whose cascading parent is gone: skipped */
	APPLIED_EDGE,     /* a dependency that the cycle rule dropped */
	APPLIED_BAD       /* can never succeed: quarantined */
};

/* The reason td writes into sync_skipped_events: "orphaned_parent",
 * "quarantined"; NULL for APPLIED and APPLIED_EDGE. Static. */
const char *applied_reason(enum applied what);

/*
 * Prepare to apply to the tables of one schema ("main", or an attached one)
 * of a connection. Foreign keys must be on, RC_FAULT otherwise, but for tables
 * that know no ON DELETE CASCADE: td's before it enforced foreign keys (schema
 * 27) hold some that its rows break, and want them off.
 * The tables may be of another version than the profile's: columns that they
 * lack are ignored, columns that only they have are used, events of a table
 * that is missing are APPLIED_BAD. They must not be altered while the applier
 * lives. On RC_OK *out is new: applier_free() it before the connection is
 * closed.
 */
enum rc applier_new(sqlite3 *db, const char *schema, const struct profile *p,
                    struct applier **out, struct err *err);

/* NULL is fine. */
void applier_free(struct applier *a);

/*
 * Apply one event. Needs an open transaction. RC_OK: *what says what became of it, and err the sentence for
 * one that was not applied (in td's words where it has some); nothing of such
 * an event is left in the tables. Anything else is the environment's failure:
 * roll the transaction back.
 */
enum rc applier_apply(struct applier *a, const struct event *ev,
                      enum applied *what, struct err *err);

#endif
