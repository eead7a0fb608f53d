/*
 * Snapshots on disk, the newest two of each project: data/snapshots/{project}/
 * {seq}.db (engine/snapshot.h), and beside each {seq}.json, which says what it
 * is. Derived: what is lost, damaged, of another log or by another profile is
 * made anew.
 *
 * The .json is written last, when the file is on the disk, and holds: which log
 * up to where, by which profile, the digest of its rows, and of the file size,
 * time and SHA-256; all of it under a checksum of its own. It is looked at each
 * time, with the file's size and time and one row of the log; all of the file
 * where a worker sends it itself and once in SNAPSHOTS_CHECK_EACH times where
 * nginx does.
 *
 * One process makes one, under `lock` in that folder; others wait for it. When
 * it is in its place all but the newest two go. Who has a file open reads it to
 * its end. Files are 0640 and folders 0750 whatever the umask: nginx may run as
 * another user of the workers' group.
 */
#ifndef TDSYNC_HTTP_SNAPSHOTS_H
#define TDSYNC_HTTP_SNAPSHOTS_H

#include "base/lock.h"
#include "engine/snapshot.h"

#define SNAPSHOTS_CHECK_EACH 8

/* Whose, and how new. Everything is borrowed. */
struct snapshot_key {
	const char *data;               /* the data folder */
	const char *project;            /* its id */
	const struct profile *profile;
	struct events *log;
	const struct events_head *head; /* of the log, as it was read last */
	int64_t from;                   /* the least seq that will do */
};

/* A snapshot's file, open. */
struct snapshot_file {
	int fd;                         /* -1: none */
	struct snapshot what;
	int64_t size;
	unsigned char hash[HASH_LEN];   /* SHA-256 of the file */
};

/* The path of one below data/snapshots/: "/p_.../7.db". */
#define SNAPSHOTS_NAME 80
void snapshots_name(const struct snapshot_key *key, int64_t seq, char out[SNAPSHOTS_NAME]);

/*
 * Open the newest one that will do; `whole`: check all of its file. RC_NOT_FOUND:
 * none; err is what is wrong with one that is there, or "". On RC_OK close its fd.
 */
enum rc snapshots_open(const struct snapshot_key *key, bool whole,
                       struct snapshot_file *out, struct err *err);

/*
 * Called for each that is kept, the newest first: its file, and what is wrong with
 * it (all of it is looked at), NULL for nothing. `what` is zero where that is not
 * known. Anything but RC_OK ends it with that outcome.
 */
typedef enum rc snapshots_visit(void *ctx, int64_t seq, const char *path,
                                const struct snapshot *what, const char *wrong);
enum rc snapshots_each(const struct snapshot_key *key, snapshots_visit *visit, void *ctx);

/* Wait until nobody else makes one of the project; before the state's lock and the
 * log's, never while they are held. RC_BUSY also where key->log, if it is not NULL,
 * is gone. On RC_OK lock_close() it. */
enum rc snapshots_lock(const struct snapshot_key *key, int64_t deadline_ms,
                       struct lock **out, struct err *err);

/*
 * Make one of the state as it is at `from` or later, under the lock, and put it
 * in its place. RC_BUSY: the state could not be brought there by the deadline.
 * RC_UNAVAILABLE: err says why it can't be kept. On RC_OK close its fd.
 */
enum rc snapshots_make(const struct snapshot_key *key, struct follower *f,
                       int64_t deadline_ms, struct snapshot_file *out, struct err *err);

/*
 * Make one of the past (snapshot_replay()), which nobody else gets: its file has
 * no name any more. Without the lock. On RC_OK close its fd.
 */
enum rc snapshots_past(const struct snapshot_key *key, int64_t seq, int64_t deadline_ms,
                       struct snapshot_file *out, struct err *err);

#endif
