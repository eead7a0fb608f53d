/* What the sync routes share: the log, what the caller knows of it, and what it
 * adds up to. */
#ifndef TDSYNC_HTTP_SYNC_H
#define TDSYNC_HTTP_SYNC_H

#include "http/request.h"

/*
 * Open the project's log and read its head (r->project, r->head), then
 * compare with what the caller says it knows (X-Log-Id, X-Log-Last;
 * protocol.md section 8): RC_LOG_CHANGED where that isn't in this log.
 * `hold`: on RC_OK the log is held as it is, until events_let_go().
 */
enum rc sync_begin(struct request *r, bool hold);

/* An event with a larger payload than this is left to who needs the state: to
 * apply it takes some four times its memory. */
#define SYNC_SMALL_PAYLOAD (1 << 20)

/*
 * Bring the project's state up to a seq of its log (a `visible`), as far as the
 * deadline allows; for what is large a place is taken first (RC_CROWDED), and
 * kept: request_leave_large(). *out is borrowed. The log must not be held.
 */
enum rc sync_follow(struct request *r, int64_t seq, int64_t deadline_ms,
                    struct follower **out);

#endif
