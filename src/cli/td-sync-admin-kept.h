/*
 * A backup's folder: server.db, projects/ID/events.db, keys/ if it holds any, and
 * backup.json, which is written last and says what there must be: each file with its
 * size and SHA-256, each log with its head, all of it under a SHA-256 of its own.
 */
#ifndef TDSYNC_CLI_ADMIN_KEPT_H
#define TDSYNC_CLI_ADMIN_KEPT_H

#include "base/hash.h"
#include "base/lock.h"
#include "cli/td-sync-admin.h"
#include "store/copies.h"

#define KEPT_FORMAT 1 /* of backup.json; a newer one is refused */
#define KEPT_NAME "td-sync-" /* and a time, as 20261127T004100Z */
#define KEPT_LIST "backup.json"

/* A file of a backup. */
struct kept_file {
	char path[96];              /* below the backup's folder */
	char project[ID_MAX];       /* a log's; "": it is none */
	int64_t bytes;
	unsigned char hash[HASH_LEN];
	struct events_head head;    /* of a log */
};

struct kept {
	char dir[PATH_MAX];
	char server_id[ID_MAX];
	char at[TIME_TEXT];         /* when it was begun */
	struct kept_file *files;
	size_t n;
};

void kept_free(struct kept *k);

/* Add a file that lies in the folder, with its size and hash. *out may be NULL; it is
 * borrowed until the next call. */
enum rc kept_add(struct kept *k, const char *path, struct kept_file **out, struct err *err);

/* Whether all files are what the list says, and right in themselves: SQLite's own
 * check, heads and numbers of events. RC_UNAVAILABLE: err says what is wrong. */
enum rc kept_check(const struct kept *k, struct err *err);

/* Write the list into the folder. */
enum rc kept_write(const struct kept *k, struct err *err);

/* Read a backup's list. RC_NOT_FOUND: the folder holds no whole backup. RC_UNAVAILABLE:
 * err says why it can't be used. On RC_OK kept_free() it. */
enum rc kept_read(const char *dir, struct kept *out, struct err *err);

/* The log of a project; NULL: it holds none. Borrowed. */
const struct kept_file *kept_log(const struct kept *k, const char *project);

/* How many logs there are, and events in them. */
int64_t kept_logs(const struct kept *k);
int64_t kept_events(const struct kept *k);

/* Join paths. RC_INVALID: too long. */
enum rc kept_path(char out[PATH_MAX], const char *dir, const char *name, struct err *err);

/* One backup or restore of a data folder at a time. RC_CONFLICT: somebody is at it. On
 * RC_OK lock_close() it. */
enum rc kept_lock(const char *data, struct lock **out, struct err *err);

#endif
