/*
 * The two databases of a replica on one connection: td's own
 * .todos/issues.db as "main", ours, .todos/td-sync.db, attached as "tdsync".
 * Opened and written under td's rules (protocol.md section 6): every write
 * under a flock on .todos/db.lock, the journal mode never changed. One
 * transaction changes both.
 *
 * Where issues.db is in WAL mode, a crash between the two commits leaves main
 * a transaction ahead of tdsync: the books (books.h) notice it, since td's
 * cursor is then not as they left it.
 */
#ifndef TDSYNC_CLIENT_LOCAL_H
#define TDSYNC_CLIENT_LOCAL_H

#include "base/fs.h"
#include "base/lock.h"
#include "store/db.h"

/* Schema versions of td that this works on. */
#define LOCAL_SCHEMA_MIN 27
#define LOCAL_SCHEMA_MAX 38

/* The attached database's name. */
#define TDSYNC "tdsync"

/* Room for statements that are prepared once for the handle. */
#define LOCAL_STATEMENTS 40

struct local {
	sqlite3 *db;
	struct lock *lock;
	char *file;         /* DIR/.todos/issues.db, absolute */
	char *books;        /* DIR/.todos/td-sync.db */
	struct fs_id id;    /* of the file that is open */
	int schema;         /* td's schema version */
	bool has_books;     /* td-sync.db is there; else "tdsync" is in memory */
	bool began;
	sqlite3_stmt *kept[LOCAL_STATEMENTS]; /* books.c's, by its numbers */
};

/*
 * Open the databases of the folder that holds .todos/; issues.db is never
 * created. `write`: make td-sync.db where it is missing. Without, a missing
 * one is stood in for by an empty one in memory. On RC_OK *out is new:
 * local_close() it.
 *   RC_INVALID      not a td database, or of a version this can't work on
 *   RC_BUSY         in use for longer than 5 s
 *   RC_UNAVAILABLE  missing, read-only, damaged, no room: err says which
 */
enum rc local_open(const char *dir, bool write, struct local **out, struct err *err);

/* An open transaction is rolled back. NULL is fine. */
void local_close(struct local *l);

/*
 * Take td's lock and begin a transaction that may write. RC_CONFLICT: another
 * file was put in place of issues.db since it was opened: close and open anew.
 * On RC_OK end it by local_commit() or local_rollback().
 */
enum rc local_begin(struct local *l, struct err *err);
enum rc local_commit(struct local *l, struct err *err);
void local_rollback(struct local *l);

/*
 * Remove what SQLite leaves beside the databases when a commit to both dies: the
 * list of their journals. Needs local_begin(), which has rolled both back.
 */
void local_tidy(const struct local *l);

/*
 * Whether foreign keys are enforced from now on. They are while events are
 * applied to the state (td's rules need them), not while rows are written to
 * td's tables, where nothing may cascade that the log does not say. Works
 * within a transaction, between statements.
 */
void local_foreign_keys(struct local *l, bool on);

/*
 * The outcome of a statement that failed, as one line for a person, naming
 * the file and what to do. rc is what db_*() returned; RC_OK stays.
 */
enum rc local_failed(struct local *l, enum rc rc, struct err *err);

/*
 * For a diagnosis: the journal mode of issues.db, and what SQLite finds wrong with it
 * at first sight (quick_check; empty: nothing), in `wrong`.
 */
enum rc local_check(struct local *l, char mode[16], struct buf *wrong, struct err *err);

/* Likewise whether it could be written now: td's lock is taken, and let go. RC_BUSY:
 * somebody holds it for long; RC_UNAVAILABLE: there is no right to write. */
enum rc local_try_lock(struct local *l, struct err *err);

/* Whether main has that table. */
bool local_has_table(struct local *l, const char *table);

#endif
