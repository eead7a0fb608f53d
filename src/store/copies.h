/*
 * Copies of server.db, for keeping, and server.db restored from one. (Those of logs:
 * store/events.h.)
 */
#ifndef TDSYNC_STORE_COPIES_H
#define TDSYNC_STORE_COPIES_H

#include "store/accounts.h"

/* Copy server.db as it is at one moment to a new file: db_copy(). It is not locked,
 * others write on. */
enum rc accounts_copy(struct accounts *a, const char *path, struct err *err);

/* Called for each project of a copy. */
typedef enum rc accounts_visit_kept(void *ctx, const struct project *p);

/*
 * Look at such a copy: whose it is, its projects in order (visit may be NULL), and what
 * is wrong with it (reset first, empty for nothing). Reads all of it. RC_UNAVAILABLE:
 * it can't be read, is no server.db, or is of a newer format.
 */
enum rc accounts_inspect(const char *path, char server_id[ID_MAX],
                         accounts_visit_kept *visit, void *ctx, struct buf *wrong,
                         struct err *err);

/*
 * Restore server.db in a data folder, which need not hold one, from such a copy: in one
 * transaction, under server.lock, beside processes that have it open. What there was is
 * kept where the copy knows nothing of it: users and projects that are newer, with
 * members and tokens, invitations as they are now, the audit log. And nobody gets in who
 * could not get in before: a token that was revoked or removed since then is revoked,
 * a project that is private now stays so. Logins in progress begin anew. One that is
 * no database is kept beside, and `aside` (reset first) tells its path. RC_BUSY: the
 * lock was not got.
 */
enum rc accounts_restore(const char *data, const char *copy, struct buf *aside,
                         struct err *err);

/* A project's files are there again, as they were when it was deleted or not: it is
 * neither deleted nor purged, or only deleted. RC_NOT_FOUND: there is no such project. */
enum rc project_restored(struct accounts *a, const char *id, bool deleted, struct err *err);

/*
 * The format of the server.db in a data folder, and the one that this program reads and
 * writes; nothing is changed. accounts_open() brings an older one up to date, in one
 * transaction, and before that keeps it as server.db.formatN, a whole copy. RC_NOT_FOUND:
 * there is no server.db.
 */
enum rc accounts_format(const char *data, int *format, int *known, struct err *err);

/*
 * Bring server.db back to the format *to that it had before it was brought to ours (the
 * newest server.db.formatN tells which), in one transaction, so that the program of then
 * takes it. All that was written since stays in it. *from is what it was; one that is of
 * an older format already is left alone: *to is the same. RC_CONFLICT: that format has
 * no place for something that was written since; err says for what, and nothing is
 * changed. RC_NOT_FOUND: there is no server.db, or it was of no older format here.
 */
enum rc accounts_go_back(const char *data, int *from, int *to, struct err *err);

#endif
