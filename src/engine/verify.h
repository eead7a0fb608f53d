/*
 * Whether a project's files are what they should be. Beside a server: nobody waits
 * for longer than for a push, or for the reading of a state.
 */
#ifndef TDSYNC_ENGINE_VERIFY_H
#define TDSYNC_ENGINE_VERIFY_H

#include "engine/follow.h"

/* What was looked at in a log, and the first thing that is wrong with it. */
struct log_check {
	int64_t events, parked;
	int64_t last;        /* seq of the last event, 0: there is none */
	struct buf wrong;    /* a sentence; empty: nothing */
};

/*
 * Read a log up to its head: SQLite's own check, seqs in order, the head's count,
 * end and time, each payload JSON, each digest computed again. Zero-initialise
 * *out and buf_free() its `wrong`. Anything but RC_OK: it could not be read.
 */
enum rc verify_log(struct events *log, struct log_check *out, struct err *err);

/* What was looked at in a state. */
struct state_check {
	int64_t seq;         /* it was compared as of there */
	int64_t rows, conflicts, skipped;
	unsigned char digest[HASH_LEN]; /* sums_digest() of it */
	struct buf wrong;    /* as above */
};

/*
 * Bring the state up to its log's head, make another one of the log in `scratch`,
 * an empty folder, which is left for the caller to remove, and compare them, row
 * by row. Waits for the state's lock for so long; the rest takes what it takes.
 */
enum rc verify_state(struct follower *f, struct events *log, const char *scratch,
                     int64_t wait_ms, struct state_check *out, struct err *err);

#endif
