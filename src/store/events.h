/*
 * The event log of one project: append-only, the only truth. A folder with
 * events.db and its lock file. Every event has its place, `seq`: strictly
 * increasing from 1, in commit order, never reused, never lowered.
 *
 * Writers: events_begin() .. events_append() .. events_commit(). Readers need
 * nothing. One handle belongs to one process and one thread.
 */
#ifndef TDSYNC_STORE_EVENTS_H
#define TDSYNC_STORE_EVENTS_H

#include "base/buf.h"
#include "base/clock.h"
#include "base/rc.h"

/* What an event does (protocol.md section 4). The values are stored. */
enum action {
	ACTION_CREATE = 1,
	ACTION_UPDATE = 2,
	ACTION_DELETE = 3,      /* hard */
	ACTION_SOFT_DELETE = 4,
	ACTION_RESTORE = 5
};

/* The wire's name of an action: "soft_delete". Static. */
const char *action_name(enum action a);

/* The action of that exact name, 0 when there is none. */
enum action action_find(struct span name);

/* An event with a payload of so many bytes is large: whoever reads it needs several
 * times its memory. */
#define EVENT_LARGE (1 << 20)

/* Bytes of an idempotency digest. */
#define EVENT_DIGEST_LEN 16

/* Bytes of a log's identity; 32 hex digits on the wire. */
#define LOG_ID_LEN 16

/* The greatest seq: JSON readers that know doubles alone (JavaScript, jq) round greater
 * ones. What comes from elsewhere has to leave room below it. */
#define EVENTS_SEQ_MAX ((INT64_C(1) << 53) - 1)
#define EVENTS_SEQ_TAKEN (EVENTS_SEQ_MAX - (INT64_C(1) << 40))

/* The name of the lock file in a log's folder, for those who copy it. */
#define EVENTS_LOCK "lock"
#define EVENTS_DB "events.db"

/* An event as the log holds it. All spans are borrowed from whoever made it. */
struct event {
	int64_t seq;            /* its place; 0 before it has one */
	struct span device;     /* who sent it: device, session, user id */
	struct span session;
	struct span user;
	int64_t action_id;      /* the author's number for it; 0: none */
	enum action action;
	struct span type;       /* canonical where the profile knows it */
	struct span id;         /* the entity's */
	struct span payload;    /* a JSON value, as stored */
	struct span time;       /* the author's timestamp, RFC 3339, its offset kept */
	int64_t server_us;      /* when it was logged, microseconds since 1970 */
	unsigned char digest[EVENT_DIGEST_LEN]; /* idempotency, engine/digest.h */
	bool by_server;         /* the server itself wrote it */
	bool parked;            /* logged, but not sent or applied (design.md,
	                         * "Nothing wedges a device") */
};

/* The end of a log. */
struct events_head {
	int64_t seq;       /* last seq given; 0: the log is empty */
	int64_t count;     /* events in the log */
	int64_t time_us;   /* when the last one was logged; 0: never */
	int64_t visible;   /* last seq that is not parked */
	unsigned char log_id[LOG_ID_LEN]; /* which log this is; changed by a restore */
};

struct events; /* fields are private to events.c */

/*
 * A log knows where it ended: after each commit its id and last seq are noted
 * in its lock file. Opening it, or beginning to write, is RC_UNAVAILABLE where
 * another log lies there, or an older copy: else numbers would be given twice,
 * or events be served to another project. Whoever puts another log in its place
 * on purpose removes the lock file with it.
 */

/*
 * Make the folder (durably), the lock file and an empty log with a new
 * log_id. RC_CONFLICT when there is a log already.
 */
enum rc events_create(const char *dir, const char *profile, struct err *err);

/*
 * Open an existing log. On RC_OK *out is new: events_close() it.
 * RC_NOT_FOUND: no log there. RC_UNAVAILABLE: err says what an operator
 * must do (not a database, a newer format, no permission).
 */
enum rc events_open(const char *dir, struct events **out, struct err *err);

/* Close and free; an open transaction is rolled back. NULL is fine. */
void events_close(struct events *e);

/*
 * Whether the files behind the handle are gone or others: close it and open
 * anew. Two stat calls.
 */
bool events_stale(const struct events *e);

/*
 * Give back the memory that caches pages of the file (up to 2 MB), for a
 * handle that is kept but not the one in use. The next use reads them again.
 */
void events_relax(struct events *e);

/* The name of the profile the log was made for. Borrowed. */
const char *events_profile(const struct events *e);

/* The head as committed now. */
enum rc events_head(struct events *e, struct events_head *out, struct err *err);

/* The id of the log when its head was read last: while it was written, too.
 * Borrowed. */
const unsigned char *events_log_id(const struct events *e);

/*
 * Read the log as it is now, until events_let_go(), which is fine without:
 * everything that is read in between is of one moment. Not beside writing.
 */
enum rc events_hold(struct events *e, struct err *err);
void events_let_go(struct events *e);

/*
 * Take the log's lock (waiting until the deadline, clock_mono_ms()) and begin
 * a write transaction. RC_BUSY: not got, nothing is held; also where the log
 * was replaced before the lock was got (events_stale() says true): what went
 * into the old file would be lost. On RC_OK end it by events_commit() or
 * events_rollback().
 */
enum rc events_begin(struct events *e, int64_t deadline_ms, struct err *err);

/*
 * Append one event under the next seq. Needs events_begin(). RC_DUPLICATE:
 * (action_id, digest) is in the log already; either way *seq is its place.
 * RC_UNAVAILABLE: the head is at EVENTS_SEQ_MAX. ev->seq is ignored.
 */
enum rc events_append(struct events *e, const struct event *ev, int64_t *seq,
                      struct err *err);

/*
 * The same at ev->seq, which is beyond the head: for an import, which keeps numbers
 * with their gaps.
 */
enum rc events_append_at(struct events *e, const struct event *ev, struct err *err);

/* Move the head on to a seq (EVENTS_SEQ_MAX at most) without events up to there; one
 * behind it changes nothing. Needs events_begin(). */
void events_raise(struct events *e, int64_t seq);

/* The place of the event of that action_id and digest; 0: the log has none such. */
enum rc events_find(struct events *e, const struct event *ev, int64_t *seq,
                    struct err *err);

/*
 * Numbers that a restore or an import passed over, so that none is given twice: those
 * with after < seq <= until. What had one of them is lost here, but for devices that
 * got it.
 */
struct events_gap {
	int64_t after, until;
};

/* The last gap that begins before a seq (INT64_MAX: the last one). RC_NOT_FOUND: there
 * is none. */
enum rc events_gap(struct events *e, int64_t seq, struct events_gap *out, struct err *err);

/* Call visit for each of them, in order; borrowed for the call. Anything but RC_OK of
 * visit ends it with that outcome. */
typedef enum rc events_visit_gap(void *ctx, const struct events_gap *g);
enum rc events_each_gap(struct events *e, events_visit_gap *visit, void *ctx, struct err *err);

/* Record a gap, and move the head on to its end. Needs events_begin(). */
enum rc events_set_gap(struct events *e, const struct events_gap *g, struct err *err);

/*
 * Pass over the numbers up to the time in microseconds, as a restore does: whatever the
 * log gave elsewhere, no number is given twice. Needs events_begin().
 */
enum rc events_pass(struct events *e, struct err *err);

/* How large the log is: events.db, with what is still in its WAL. */
enum rc events_bytes(struct events *e, int64_t *bytes, struct err *err);

/*
 * The first event that may be a cause of the server's own (design.md, "The server
 * heals"); 0: none, it was switched off, or the log is older than that. A new log
 * begins with 1. Setting it needs events_begin().
 */
enum rc events_heal_from(struct events *e, int64_t *seq, struct err *err);
enum rc events_set_heal_from(struct events *e, int64_t seq, struct err *err);

/*
 * The last event that came from a Go server, which had stored some payloads
 * re-written; 0: none did. Setting it needs events_begin().
 */
enum rc events_moved_to(struct events *e, int64_t *seq, struct err *err);
enum rc events_set_moved_to(struct events *e, int64_t seq, struct err *err);

/*
 * Commit: the rows and the head move together, synced to disk. The result is
 * the answer: anything but RC_OK means that nothing was committed, also where
 * the disk failed at the last step. The lock is released in any case.
 */
enum rc events_commit(struct events *e, struct err *err);

/* Roll back and release the lock; fine when nothing was begun. */
void events_rollback(struct events *e);

/*
 * What is due after an answer went out: checkpoints by the size of the WAL
 * (design.md, "One lock file per project"). Takes the lock itself. Only where
 * it may wait does it wait for the lock, and for readers, as a large WAL asks
 * for; else that is left to whoever commits next. Failures are logged, never
 * returned: nothing depends on them.
 */
void events_maintain(struct events *e, bool may_wait);

/* Whether the WAL is large enough to wait for the lock. */
bool events_maintain_waits(const struct events *e);

/*
 * How large the payload of the first event after a cursor is that is not
 * parked, where it is large (1 MiB or more), else 0; without reading it.
 */
enum rc events_large_next(struct events *e, int64_t after, int64_t *bytes,
                          struct err *err);

/*
 * Called for each event in order; the event is borrowed for the call. Setting
 * *stop ends the walk after it; returning anything but RC_OK ends it with
 * that outcome.
 */
typedef enum rc events_visit(void *ctx, const struct event *ev, bool *stop);

/*
 * Walk the events with after < seq <= last, parked ones left out unless
 * asked for, as they are at one moment. *head (may be NULL) is the head
 * then, filled before the first visit.
 */
enum rc events_walk(struct events *e, int64_t after, int64_t last,
                    bool with_parked, struct events_head *head,
                    events_visit *visit, void *ctx, struct err *err);

/* The same, but the payload of a large event (EVENT_LARGE bytes or more) is not read:
 * it is empty. */
enum rc events_walk_small(struct events *e, int64_t after, int64_t last,
                          struct events_head *head, events_visit *visit, void *ctx,
                          struct err *err);

/*
 * Read one event; it is borrowed until events_got(), which has to follow.
 * Another one may be read before that: it takes the place of the first.
 * RC_NOT_FOUND when there is none of that seq.
 */
enum rc events_get(struct events *e, int64_t seq, struct event *out, struct err *err);
void events_got(struct events *e);

/* The same, but the payload, which may be large, is not read: it is empty. */
enum rc events_glance(struct events *e, int64_t seq, struct event *out, struct err *err);

/* The last seq before this one of an event that is not parked; 0: none. */
enum rc events_before(struct events *e, int64_t seq, int64_t *out, struct err *err);

/* What SQLite finds wrong with the database, db_check(): empty for nothing. */
enum rc events_check(struct events *e, struct buf *wrong, struct err *err);

/* Copy the log as it is at one moment to a new file, for keeping: db_copy(). It is not
 * locked, writers go on. */
enum rc events_copy(struct events *e, const char *path, struct err *err);

/*
 * Look at such a copy: its head, and what is wrong with it (reset first, empty for
 * nothing). Reads all of it. RC_UNAVAILABLE: it can't be read, or is of a newer format.
 */
enum rc events_inspect(const char *path, struct events_head *head, struct buf *wrong,
                       struct err *err);

/*
 * Restore the log in a folder, which need not hold one, from such a copy (design.md, "A
 * log has an identity"): in one transaction, under the log's lock, beside processes
 * that have it open. It gets a new log_id, and its head moves on to the greatest of the
 * copy's, that of the log which was here, `least`, and the time in microseconds: what is
 * in between is a gap (events_gap()). A number above EVENTS_SEQ_TAKEN, that of a damaged
 * file, counts for none: it would leave none to give, and a cursor beyond the head is
 * told so. *now: its head; *was: that of the log that was
 * here, zero where there was none or it can't be read; one that is no database is kept
 * beside, and `aside` (reset first) tells its path. Killed anywhere, the log is the one
 * or the other. RC_BUSY: the lock was not got.
 */
enum rc events_restore(const char *dir, const char *copy, int64_t least,
                       int64_t deadline_ms, struct events_head *was,
                       struct events_head *now, struct buf *aside, struct err *err);

/* --- for a diagnosis: a look at the newest events alone, so that it costs little --- */

/* How many of the newest events are looked at. */
#define EVENTS_NEWEST 10000

struct events_glance {
	struct events_head head;
	char profile[80];
	int64_t rows;    /* of the newest events, how many there are, */
	int64_t last;    /* the last seq of them; 0: none */
	int64_t parked;  /* and how many are parked */
};

/* Look at a log; outcomes as events_open(), which takes five times as long. */
enum rc events_look(const char *dir, struct events_glance *out, struct err *err);

/* Called for each type of which some of them are parked: how many, the first one's seq,
 * and when that was logged. The span is borrowed for the call. */
typedef void events_visit_parked(void *ctx, struct span type, int64_t n, int64_t seq,
                                 int64_t server_us);
enum rc events_each_parked(struct events *e, events_visit_parked *visit, void *ctx,
                           struct err *err);

/*
 * The digest of the event at a seq. RC_NOT_FOUND when there is none.
 */
enum rc events_digest(struct events *e, int64_t seq,
                      unsigned char out[EVENT_DIGEST_LEN], struct err *err);

#endif
