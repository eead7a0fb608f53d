/*
 * The applier on the server (design.md, "One applier"): a project's state
 * follows its log, event by event, with conflicts and sums. Whoever needs the
 * state brings it up to date, under state.lock, in transactions of some hundred
 * events: killed at any point, the next one goes on where it was.
 */
#ifndef TDSYNC_ENGINE_FOLLOW_H
#define TDSYNC_ENGINE_FOLLOW_H

#include "engine/apply.h"
#include "engine/sums.h"
#include "store/state.h"

struct follower; /* fields are private to follow.c */

/*
 * A state of the log in a folder, by a profile, which is borrowed. Opens only
 * the lock file. On RC_OK *out is new: follower_free() it.
 */
enum rc follower_new(const char *dir, const struct profile *p, struct follower **out,
                     struct err *err);

/* NULL is fine. */
void follower_free(struct follower *f);

/* How far to go. Times are those of clock_mono_ms(). */
struct follow_limits {
	int64_t lock_ms;    /* wait until then for whoever is at it already */
	int64_t until_ms;   /* begin no batch after that */
	bool small;         /* stop before a large event (EVENT_LARGE): to apply it takes
	                     * some four times its memory. Else memory is no concern:
	                     * 64 MB may go into pages of the state, for as long as
	                     * events are applied */
};

/*
 * Bring the state up to the log's head, within limits. RC_BUSY: the lock was
 * not got. The log must not be held or written.
 */
enum rc follower_run(struct follower *f, struct events *log,
                     const struct follow_limits *limits, struct err *err);

/* Who applies in spare time, and for whom. */
struct follow_spare {
	/* Let so many milliseconds pass; true, and at once: there is something
	 * better to do. */
	bool (*wanted)(void *ctx, int ms);
	void *ctx;
};

/*
 * Bring the state up to the log's head in spare time, at most for about a second.
 * While events come thick it waits for the end of that, so that those who push have
 * the CPU, but not when the state is far behind; while they come slowly, for some more,
 * half a second at most; the lock is taken only to apply.
 * Large events are left to who needs the state. RC_BUSY: there is something better to
 * do, whoever pushes next or needs the state does it. One process at a time is enough.
 */
enum rc follower_spare(struct follower *f, struct events *log,
                       const struct follow_spare *spare, struct err *err);

/* As follower_run(), but no further than an event of that seq. */
enum rc follower_run_to(struct follower *f, struct events *log, int64_t seq,
                        const struct follow_limits *limits, struct err *err);

/*
 * Hold the state as it is at `seq` or later (a log's `visible`), bringing it
 * there if need be; all waits and work end at the deadline: RC_BUSY. On RC_OK
 * state_let_go() it.
 */
enum rc follower_hold(struct follower *f, struct events *log, int64_t seq,
                      int64_t deadline_ms, struct err *err);

/*
 * Open the state, if nobody else is at it: for follower_last(). The log must not be
 * held or written.
 */
enum rc follower_open(struct follower *f, struct events *log, struct err *err);

/*
 * The last event about a row, as far as events are applied now; 0: none is known, or
 * it was not applied. Costs one look at an index, without any lock; whether the state
 * is this log's the caller has to see, by what the event is about.
 */
enum rc follower_last(struct follower *f, struct span type, struct span id, int64_t *seq,
                      struct err *err);

/*
 * For who writes an event that is computed from what the log adds up to: take the
 * state's lock and then the log's, with the state at the log's head; all waits and
 * work end at the deadline, or, `small`, at a large event: RC_BUSY. On RC_OK
 * events_commit() or events_rollback() the log, and then follower_end().
 */
enum rc follower_begin(struct follower *f, struct events *log, bool small,
                       int64_t deadline_ms, struct err *err);
void follower_end(struct follower *f);

/*
 * For the server's own events, after follower_begin(): each is appended and applied
 * at once, so that the next one is computed from what it made. follower_append()
 * gives the event its seq; follower_append_end() commits where rc is RC_OK, takes
 * all of it back else, lets both locks go and returns what became of it.
 */
enum rc follower_append_begin(struct follower *f, struct err *err);
enum rc follower_append(struct follower *f, struct events *log, struct event *ev,
                        struct err *err);
enum rc follower_append_end(struct follower *f, struct events *log, enum rc rc,
                            struct err *err);

/* What an event would do to the state. */
struct tried {
	enum applied what;
	char why[256];   /* td's sentence for one that would not be applied */
	bool changes;    /* its row would become another one, but for updated_at */
	char takes[256]; /* "boards/bd-1": another row that would go with it; "": none */
};

/* Apply an event to the state and take it back, after follower_begin(); also within
 * follower_append_begin() and _end(). */
enum rc follower_try(struct follower *f, const struct event *ev, struct tried *out,
                     struct err *err);

/*
 * The sum of each table of the profile (`out` has room for them) in the state
 * that is held: as it stands, or as it was at an earlier seq. RC_NOT_FOUND: none
 * are kept of that seq, it is none that SUMS_EACH divides.
 */
#define SUMS_EACH 1000
enum rc follower_sums(struct follower *f, int64_t seq, struct sum *out, struct err *err);

/* Empty the state and bring it up from nothing. */
enum rc follower_rebuild(struct follower *f, struct events *log, int64_t deadline_ms,
                         struct err *err);

/* The state, which is borrowed; its tables and what applies to them, for as long
 * as it is held. */
struct state *follower_state(struct follower *f);
struct tables *follower_tables(struct follower *f);
struct applier *follower_applier(struct follower *f);
const struct profile *follower_profile(const struct follower *f);

/* Give back the memory that caches pages of the file. */
void follower_relax(struct follower *f);

/* "td/1": the mark of a state made by a profile. */
#define FOLLOW_MARK 96
void follow_mark(const struct profile *p, char out[FOLLOW_MARK]);

#endif
