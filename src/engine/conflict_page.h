/*
 * A page of a project's conflicts as JSON, with who wrote what was kept and what
 * was lost. It starts behind a cursor and ends at the limit, or at a byte limit,
 * but never within an event: its last seq is the next cursor.
 */
#ifndef TDSYNC_ENGINE_CONFLICT_PAGE_H
#define TDSYNC_ENGINE_CONFLICT_PAGE_H

#include "engine/follow.h"

/*
 * Write the page after a cursor, {"conflicts","last_server_seq","has_more"} and a
 * newline, to out (appended). The state must be held, and the log that it
 * follows, since then. RC_TOO_LARGE: a conflict is larger than a page, or those of
 * an event than two, and `large` is false. On failure out is as it was.
 */
enum rc conflict_page_write(struct follower *f, struct events *log, int64_t after,
                            int64_t limit, bool large, struct buf *out, struct err *err);

#endif
