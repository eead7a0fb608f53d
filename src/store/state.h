/*
 * What a log adds up to: state.db beside events.db, under a lock file of its
 * own. It is derived: made anew from the log where it is missing, damaged,
 * another log's or made by other rules. It holds the tables of the profile,
 * which the applier fills, and of our own (all named tdsync_...): which events
 * made a row what it is, conflicts, events that could not be applied, sums.
 *
 * Every write, every checkpoint and every opening happens under state.lock;
 * whoever has it may remove the files. A push never waits for it.
 * One handle belongs to one process and one thread.
 */
#ifndef TDSYNC_STORE_STATE_H
#define TDSYNC_STORE_STATE_H

#include "store/db.h"
#include "store/events.h"

#define STATE_DB "state.db"
#define STATE_LOCK "state.lock"

/* By what a state is made. */
struct state_kind {
	const char *mark;   /* profile and version, "td/1": another one is made anew */
	const char *schema; /* SQL that makes the profile's tables, and its seeds */
};

struct state; /* fields are private to state.c */

/*
 * A handle on the state of the log in a folder; nothing is opened yet. On RC_OK
 * *out is new: state_free() it. Folder and kind are copied.
 */
enum rc state_new(const char *dir, const struct state_kind *kind, struct state **out,
                  struct err *err);

/* An open transaction is rolled back. NULL is fine. */
void state_free(struct state *s);

/*
 * Take state.lock, waiting until the deadline (clock_mono_ms()), and see to it
 * that what lies there is a state of this log: else it is emptied. RC_BUSY: not
 * got. On RC_OK state_unlock() it.
 */
enum rc state_lock(struct state *s, struct events *log, int64_t deadline_ms,
                   struct err *err);
void state_unlock(struct state *s);

/* Make it empty, under the lock. */
enum rc state_empty(struct state *s, struct events *log, struct err *err);

/* A transaction that writes, under the lock. After anything but RC_OK nothing
 * of it is left; a file that was found damaged is emptied at the next lock. */
enum rc state_begin(struct state *s, struct err *err);
enum rc state_commit(struct state *s, struct err *err);
void state_rollback(struct state *s);

/* Whether the file was found damaged: the next lock empties it. */
bool state_damaged(const struct state *s);

/* It tells of an event that its log doesn't hold, so it is damaged, though SQLite
 * sees nothing: always RC_UNAVAILABLE. */
enum rc state_doubt(struct state *s, int64_t seq, struct err *err);

/* What is due when the lock is about to be let go: a checkpoint, where the WAL
 * is large. Failures are logged. */
void state_maintain(struct state *s);

/*
 * Read the state as it is now, until state_let_go(); without the lock.
 * RC_NOT_FOUND: it is not open, or other files lie there by now, or it is not a
 * state of this log: lock first. Whoever wrote to a database that he attached
 * commits before he lets go.
 */
enum rc state_hold(struct state *s, struct events *log, struct err *err);
void state_let_go(struct state *s);

/* The connection; which changes with state_lock() where state_opened() does. */
sqlite3 *state_db(struct state *s);
unsigned state_opened(const struct state *s);

/* How many bytes of the file's pages may be kept in memory; 0: as many as at
 * first, 2 MB. */
void state_cache(struct state *s, size_t bytes);

/* Give back the memory that caches pages of the file. */
void state_relax(struct state *s);

/* The log up to here is in it: as read at lock or hold, and set since; the
 * digest is that of the event there. 0: none. */
int64_t state_seq(const struct state *s);
void state_set_seq(struct state *s, const struct event *ev);

const unsigned char *state_digest(const struct state *s);

/* The log's id. Borrowed. */
const unsigned char *state_log_id(const struct state *s);

/* The folder, borrowed. */
const char *state_dir(const struct state *s);

/* --- rows of our own. Types are numbers of the profile's entities. --- */

/* What an event was to a row that it was about. Stored. */
enum version_what {
	VERSION_APPLIED = 0,
	VERSION_ORPHAN = 1,   /* skipped, as in engine/apply.h */
	VERSION_EDGE = 2,
	VERSION_BAD = 3,
	VERSION_NOTHING = 4,  /* applied, and the row was not there */
	VERSION_TAKEN = 5     /* the event took the row along */
};

/* Note that an event was about a row. Needs state_begin(). */
enum rc state_add_version(struct state *s, int type, struct span id, int64_t seq,
                          enum version_what what, struct err *err);

/* Called for each version; *stop ends the walk. */
typedef enum rc state_visit_version(void *ctx, int64_t seq, enum version_what what,
                                    bool *stop, struct err *err);

/* Versions of a row with seq < before, newest first, at most `limit`. */
enum rc state_walk_versions(struct state *s, int type, struct span id, int64_t before,
                            int64_t limit, state_visit_version *visit, void *ctx,
                            struct err *err);

/* The same with seq > after, oldest first. */
enum rc state_walk_history(struct state *s, int type, struct span id, int64_t after,
                           int64_t limit, state_visit_version *visit, void *ctx,
                           struct err *err);

/* A conflict, as it is kept. Spans are borrowed. */
struct state_conflict {
	int64_t seq;       /* the event that it came with */
	int n;             /* the event's first is 1 */
	int kind;          /* enum conflict_kind, engine/conflict.h */
	bool certain;
	int type;
	struct span id;
	struct span fields;        /* JSON */
	int64_t kept_seq, lost_seq; /* whose values; 0: not known */
};

enum rc state_add_conflict(struct state *s, const struct state_conflict *c, struct err *err);

typedef enum rc state_visit_conflict(void *ctx, const struct state_conflict *c, bool *stop,
                                     struct err *err);

/* Conflicts with seq > after, in order. */
enum rc state_walk_conflicts(struct state *s, int64_t after, state_visit_conflict *visit,
                             void *ctx, struct err *err);

/* The conflict of that number. RC_NOT_FOUND: there is none. */
enum rc state_find_conflict(struct state *s, int64_t seq, int n,
                            state_visit_conflict *visit, void *ctx, struct err *err);

/* An event that was not applied: td's reason and sentence. */
enum rc state_add_skipped(struct state *s, int64_t seq, const char *reason,
                          const char *why, struct err *err);
typedef enum rc state_visit_skipped(void *ctx, int64_t seq, const char *reason,
                                    const char *why, struct err *err);
enum rc state_walk_skipped(struct state *s, state_visit_skipped *visit, void *ctx,
                           struct err *err);

/* That an event which was not applied names a row as its parent: where that is made,
 * it is a cause for that reason. */
enum rc state_add_orphan(struct state *s, int type, struct span id, int64_t seq, int reason,
                         struct err *err);

/* The first such event after a seq that names a parent. RC_NOT_FOUND: none does. */
enum rc state_next_orphan(struct state *s, int type, struct span id, int64_t after,
                          int64_t *seq, int *reason, struct err *err);

/*
 * Causes (engine/cause.h): what the server has yet to answer; and that one has been,
 * or need not be, and all before it. Needs state_begin().
 */
enum rc state_add_cause(struct state *s, int64_t seq, int reason, struct err *err);
enum rc state_end_causes(struct state *s, int64_t seq, int reason, struct err *err);

/* The first cause with seq >= from. RC_NOT_FOUND: there is none. */
enum rc state_next_cause(struct state *s, int64_t from, int64_t *seq, int *reason,
                         struct err *err);

/* The sum of a table's rows (engine/sums.h). At seq 0: of the state as it is. */
#define STATE_SUM 32
enum rc state_put_sum(struct state *s, int64_t seq, int type, int64_t rows,
                      const unsigned char sum[STATE_SUM], struct err *err);
typedef enum rc state_visit_sum(void *ctx, int type, int64_t rows,
                                const unsigned char sum[STATE_SUM], struct err *err);
enum rc state_walk_sums(struct state *s, int64_t seq, state_visit_sum *visit, void *ctx,
                        struct err *err);

/*
 * Compare what two states that are held at the same seq keep beside the tables of
 * the profile: the events of each row, conflicts, skipped events, sums. `odd`
 * (reset first): the first that is not the same, as "conflict 42-1"; empty: none.
 * *conflicts and *skipped: how many there are.
 */
enum rc state_compare(struct state *a, struct state *b, int64_t *conflicts,
                      int64_t *skipped, struct buf *odd, struct err *err);

/* What lies in a folder as its state, for a diagnosis. */
struct state_glance {
	char mark[96];           /* by what it was made: "td/1" */
	unsigned char log_id[LOG_ID_LEN];
	int64_t seq;             /* the log up to here is in it */
	int64_t skipped;         /* events that could not be applied, */
	int64_t first_skipped;   /* the first of them */
	char reason[40];         /* and td's reason for it */
};

/*
 * Look at it, under its lock where that is free at once (else RC_BUSY: somebody is at
 * it). Makes nothing, and empties nothing. RC_NOT_FOUND: there is none, or none of a
 * format that this td-sync knows; it will be made.
 */
enum rc state_look(const char *dir, struct state_glance *out, struct err *err);

/* A statement of state.c, for its test: that each compiles. NULL past the end. */
const char *state_query(size_t i);

#endif
