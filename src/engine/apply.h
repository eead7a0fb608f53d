/*
 * The applier: what an event does to the rows of a state or replica
 * (protocol.md section 5). The result is a pure function of the log and the
 * profile. Used by the server's state and by replicas alike.
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
 * of a connection. Foreign keys must be on. The tables may be of another
 * version than the profile's: columns they lack are ignored. On RC_OK *out is
 * new: applier_free() it before the connection is closed.
 */
enum rc applier_new(sqlite3 *db, const char *schema, const struct profile *p,
                    struct applier **out, struct err *err);

/* NULL is fine. */
void applier_free(struct applier *a);

/*
 * Apply one event. Needs an open transaction. RC_OK: *what says what became
 * of it, and err the sentence for a skipped one (in td's words). Anything
 * else is the environment's failure: roll the transaction back.
 */
enum rc applier_apply(struct applier *a, const struct event *ev,
                      enum applied *what, struct err *err);

#endif
