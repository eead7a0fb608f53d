/*
 * Putting back what a conflict took, by an ordinary event of the person who does:
 * an update of the row with the lost values, a restore of one that was deleted, a
 * create of one that is gone. It is computed from the row as it is now, with whole
 * rows on both sides, so that every td sets just what is meant (protocol.md
 * section 8). That it is a restore its payload tells: "restored_conflict":"42-1".
 */
#ifndef TDSYNC_ENGINE_RESTORE_H
#define TDSYNC_ENGINE_RESTORE_H

#include "engine/conflict.h"
#include "engine/follow.h"

/* Who puts it back, and when. Borrowed. */
struct restorer {
	struct span user, device, session;
	int64_t now_us; /* since 1970 */
};

/*
 * Append the event and write the answer, {"server_seq","entity_type","entity_id",
 * "action_type"} and a newline. All waits end at the deadline. RC_NOT_FOUND: no
 * such conflict. RC_CONFLICT: err says why nothing is to be done (any more).
 * RC_TOO_LARGE: what it lists, or the row, is more than a megabyte, and `large` is
 * false. On anything but RC_OK nothing was written, and *answer is reset.
 */
enum rc restore_conflict(struct follower *f, struct events *log, struct conflict_id id,
                         const struct restorer *by, bool large, int64_t deadline_ms,
                         struct buf *answer, struct err *err);

#endif
