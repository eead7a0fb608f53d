/* What push, pull and status share: the log, and what the caller knows of it. */
#ifndef TDSYNC_HTTP_SYNC_H
#define TDSYNC_HTTP_SYNC_H

#include "http/request.h"

/* Open the project's log: r->project. */
enum rc sync_open(struct request *r);

/* Whether the caller says what it knows of the log. */
bool sync_claims(const struct request *r);

/*
 * Open the project's log and read its head (r->project, r->head), then
 * compare with what the caller says it knows (X-Log-Id, X-Log-Last;
 * protocol.md section 8): RC_LOG_CHANGED where that isn't in this log.
 * `hold`: on RC_OK the log is held as it is, until events_let_go().
 */
enum rc sync_begin(struct request *r, bool hold);

#endif
