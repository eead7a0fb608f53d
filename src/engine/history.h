/*
 * What happened to an entity, event by event, out of the log: the state knows
 * which events were about it, and what came of them.
 */
#ifndef TDSYNC_ENGINE_HISTORY_H
#define TDSYNC_ENGINE_HISTORY_H

#include "engine/follow.h"

/*
 * Write {"entity_type","entity_id","versions","has_more"} and a newline to out
 * (appended): at most `limit` versions after a cursor, oldest first, fewer where
 * they are large. The state must be held, and the log that it follows, since
 * then. RC_NOT_FOUND: no event was about the entity. RC_TOO_LARGE: an event is
 * larger than a page, and `large` is false. On failure out is as it was.
 */
enum rc history_write(struct follower *f, struct events *log,
                      const struct profile_entity *entity, struct span id, int64_t after,
                      int64_t limit, bool large, struct buf *out, struct err *err);

#endif
