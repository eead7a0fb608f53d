/* What routes of a project's log and state share: opening them, what the caller
 * knows of the log, cursors, ETags. */
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

/*
 * The query of a page: after_server_seq (below 0: 0) and limit (PAGE_LIMIT where
 * there is none, PAGE_MAX_LIMIT at most). RC_INVALID: nonsense.
 */
enum rc sync_query(struct request *r, int64_t *after, int64_t *limit);

/* RC_CURSOR_AHEAD where a cursor lies beyond the head of the log (r->head). */
enum rc sync_cursor(struct request *r, int64_t after);

/* Room for an ETag: a log id, a word and three numbers. */
#define SYNC_TAG 256

/* The ETag of an answer of the log that follows from these: "LOG-WHAT-A-B-C",
 * quotes included. Returns out. */
char *sync_tag(const struct request *r, const char *what, int64_t a, int64_t b, int64_t c,
               char out[SYNC_TAG]);

/* What follows the project's log. Borrowed. RC_NOT_FOUND: the project is for no
 * profile, so its log adds up to nothing. */
enum rc sync_follower(struct request *r, struct follower **out);

/*
 * Bring the project's state up to a seq of its log (a `visible`), as far as the
 * deadline allows; for what is large a place is taken first (RC_CROWDED), and
 * kept: request_leave_large(). *out is borrowed. The log must not be held.
 */
enum rc sync_follow(struct request *r, int64_t seq, int64_t deadline_ms,
                    struct follower **out);

/*
 * After sync_begin() that did not hold: hold the state as it is at the log's head
 * or later, and the log since then, bringing the state there if need be. Of those
 * who wait for it one project's can't take the pool; who applies large events, or
 * waits for that, has a place for what is large. RC_BUSY, RC_CROWDED: not got in
 * time. On RC_OK sync_state_let_go() it.
 */
enum rc sync_state(struct request *r, struct follower **out);
void sync_state_let_go(struct request *r, struct follower *f);

/*
 * Write an answer to r->out from the state and the log, which are held meanwhile.
 * `large`: a place for what is larger than a page is taken; without, RC_TOO_LARGE
 * asks for one. Called again where that was so, or where the state was found
 * damaged and is made anew.
 */
typedef enum rc sync_write(struct request *r, struct follower *f, bool large,
                           const void *what);
enum rc sync_read(struct request *r, sync_write *write, const void *what);

/* A place among those who wait for the project's state; place_leave() it. RC_BUSY:
 * all are taken. */
enum rc sync_wait(struct request *r, int *place);

/*
 * Behind a commit: whether the log is the one that was looked at before
 * (r->head), where it was; its id goes out with the answer. RC_BUSY where a
 * restore came in between: then the caller sends again, which costs nothing.
 */
enum rc sync_confirm(struct request *r);

/* Whether the server writes events of its own for a profile (NULL: for none). */
bool sync_heals(const struct request *r, const struct profile *p);

/*
 * Let the server say what it has to say (engine/heal.h) before the log is read as
 * far as r->head, for a moment at most; r->project->settled tells up to where it
 * has. The log must not be held. False: not all was applied and healed, which may be
 * done after the answer.
 */
bool sync_settle(struct request *r);

/*
 * To be done after an answer that added to the log: bring the state up to date,
 * unless another process is at it, and heal. For a while only: who needs it does
 * the rest.
 */
void sync_after(struct request *r);

#endif
