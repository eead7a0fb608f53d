/*
 * Snapshots: what a log adds up to, as a database that the application opens as
 * one of its own (design.md, "Snapshots"). It has the tables of the profile with
 * their rows, and what the application keeps beside them, empty; nothing of
 * ours. Its file has no journal and is in no WAL mode.
 */
#ifndef TDSYNC_ENGINE_SNAPSHOT_H
#define TDSYNC_ENGINE_SNAPSHOT_H

#include "base/hash.h"
#include "engine/follow.h"

/* What a snapshot is. */
struct snapshot {
	int64_t seq;                            /* the log up to here is in it */
	unsigned char last[EVENT_DIGEST_LEN];   /* of the event there; not of a replay */
	unsigned char log_id[LOG_ID_LEN];
	unsigned char digest[HASH_LEN];         /* of its rows: sums_digest() */
};

/*
 * Write the state as it is at `seq` or later (a log's `visible`), brought there
 * if need be, to a file, which is made (0640) or must be empty. Waits and
 * applying end at the deadline: RC_BUSY. On RC_OK the file is whole, but not
 * synced; else it may hold anything. The log must not be held.
 */
enum rc snapshot_write(struct follower *f, struct events *log, int64_t seq,
                       int64_t deadline_ms, const char *path, struct snapshot *out,
                       struct err *err);

/*
 * Write what the log added up to at `seq`, by replaying it from its beginning,
 * beside the state. RC_BUSY: it is not done by the deadline. The file as above.
 */
enum rc snapshot_replay(struct events *log, const struct profile *p, int64_t seq,
                        int64_t deadline_ms, const char *path, struct snapshot *out,
                        struct err *err);

/*
 * Look at a snapshot's file: SQLite's own check, and whether its rows are those that
 * its digest is of. `wrong` (reset first): what is wrong, empty for nothing.
 */
enum rc snapshot_check(const char *path, const struct profile *p,
                       const struct snapshot *s, struct buf *wrong, struct err *err);

#endif
