/*
 * Snapshots: what the log adds up to at some seq, as a database that the server
 * made (design.md, "Snapshots"). Downloaded into a file beside td's, and checked
 * from its header to its digest before anything of it is used.
 */
#ifndef TDSYNC_CLIENT_SNAPSHOT_H
#define TDSYNC_CLIENT_SNAPSHOT_H

#include "client/work.h"

/* The name it is attached by. */
#define SNAPSHOT "snapshot"

struct snapshot {
	char *path;           /* .todos/td-sync.snapshot; NULL: there is none */
	int fd;               /* it is ours alone while this is open */
	int64_t seq;          /* the log up to here is in it */
	char log_id[2 * LOG_ID_LEN + 1];
	char last_digest[2 * EVENT_DIGEST_LEN + 1]; /* of the event there; "" when
	                       * the server did not say */
	bool attached;
};

/*
 * Get the snapshot of a seq, or the newest (0). TDSYNC_OK and no path: the
 * server has none, or none that this can use (a Go server's, one of another
 * version), or another td-sync is at it in this folder; err says which. A file
 * that isn't what it should be is TDSYNC_NETWORK. snapshot_drop() it in any case.
 */
enum tdsync_rc snapshot_fetch(struct work *w, int64_t at_seq, struct snapshot *out);

/* Attach the file to the connection of td's database, outside of a transaction;
 * snapshot_drop() takes it away. */
enum rc snapshot_attach(struct snapshot *s, struct local *l, struct err *err);

/* Detach it (`l` may be NULL: it was not attached) and remove the file. */
void snapshot_drop(struct snapshot *s, struct local *l);

/* Remove a file that was left by who died, unless another td-sync is at it. *left:
 * there was one. */
enum rc snapshot_clean(const struct local *l, bool *left, struct err *err);

/*
 * Begin with a snapshot where that is due (protocol.md section 6): this replica
 * has never pulled, nothing waits to be sent, the log is long enough, and all rows
 * that are here are in the snapshot (bootstrap.c). Else it does nothing, and
 * the log is pulled as ever.
 */
enum tdsync_rc bootstrap_run(struct work *w);

#endif
