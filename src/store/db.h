/*
 * SQLite as td-sync uses it: how a database is opened, how its codes become
 * outcomes, how statements are kept. Only store/, the applier and what tries a
 * profile's schema see it.
 */
#ifndef TDSYNC_STORE_DB_H
#define TDSYNC_STORE_DB_H

#include "base/buf.h"
#include "base/rc.h"

#include <sqlite3.h>

/* What a connection is for. */
enum db_mode {
	DB_SERVER,   /* WAL, synchronous=FULL: the log, the accounts */
	DB_DERIVED,  /* WAL, synchronous=NORMAL: a power cut may take the last
	              * transactions, never part of one */
	DB_ADVICE,   /* journal_mode=DELETE, synchronous=OFF, never waited for: may be lost */
	DB_DRAFT,    /* a new file that nobody else has yet: no locks, no syncs, a
	              * journal in memory */
	DB_KEPT,     /* one that nobody changes any more: only read */
	DB_FOREIGN,  /* another program's, which keeps no WAL: read under its locks,
	              * and nothing is ever made beside it */
};

/*
 * For a program's main(), before any database is opened: SQLite does not count the
 * memory it takes, which it does under a lock, at each piece (a fifth of the time
 * that a copy of a state takes). Not for a library: it is for all of the process.
 */
void db_lean(void);

/* How long a statement waits for a lock of SQLite's own: a second net, the
 * lock files keep writers apart. */
#define DB_BUSY_MS 5000

/*
 * Open (create) a database of the server. Every connection gets
 * wal_autocheckpoint=0 and NO_CKPT_ON_CLOSE: checkpoints happen only under
 * the lock file (design.md; platform.md 4.1). On a network file system
 * RC_UNAVAILABLE. A server database on a read-only disk opens for reading
 * (sqlite3_db_readonly()) where its WAL allows it, else RC_UNAVAILABLE, and
 * err says what to do. On RC_OK *out is new: sqlite3_close() it.
 *
 * What can be read from a server database is on the disk: a writer that was
 * killed between writing and syncing may have left a whole transaction in the
 * WAL, which the next one to open it finds; so the WAL is synced here.
 */
enum rc db_open(const char *path, enum db_mode mode, sqlite3 **out, struct err *err);

/*
 * The outcome for an SQLite code: SQLITE_BUSY and LOCKED are RC_BUSY, a full
 * or read-only disk and what is no database RC_UNAVAILABLE, the rest
 * RC_FAULT; DONE, ROW and OK are RC_OK. err gets `doing` and the message.
 */
enum rc db_rc(sqlite3 *db, int code, const char *doing, struct err *err);

/* Run statements that return no rows. */
enum rc db_exec(sqlite3 *db, const char *sql, struct err *err);

/*
 * After a COMMIT that failed, with the lock still held: see to it that nobody
 * ever finds the transaction. All of it may stand in the WAL, where the next
 * process that recovers the WAL takes it for committed, though the disk never
 * got it: a sync that failed has marked it clean, so no later one would write
 * or miss it. A commit that changes nothing of meaning (PRAGMA user_version)
 * takes its place. Until that has worked the connection must stay open, for
 * while one is open nobody recovers; and nothing else may be committed.
 */
enum rc db_settle(sqlite3 *db, struct err *err);

/*
 * Make a database what another one is, by SQLite's backup API, in one transaction: of
 * the source as it is at one moment, beside whoever writes it. A database that others
 * use is filled under its lock file.
 */
enum rc db_fill(sqlite3 *to, sqlite3 *from, struct err *err);

/*
 * The same to a new file, for keeping: in no WAL mode, synced. What an earlier call left
 * at the path is removed first; what fails leaves nothing there.
 */
enum rc db_copy(sqlite3 *from, const char *path, struct err *err);

/*
 * Keep a database as it is, before its format changes: db_copy() to the path with ".tmp"
 * behind it, with the rights of its source, looked through for damage, renamed, on the
 * disk. What an earlier call left at the path stays until then. What is written by
 * another connection that has not committed is not in it.
 */
enum rc db_keep(sqlite3 *from, const char *path, struct err *err);

/* Remove a database's file and what SQLite keeps beside it. */
void db_remove(const char *path);

/* Whether what lies at the path can't be read as a database at all. */
bool db_is_no_database(const char *path);

/* Whether it is a database of another program, which does not have that application_id.
 * Nothing is made beside it, and DB_SERVER would make it keep a WAL. One with
 * something in its WAL is not judged, for the header may stand there. */
bool db_is_foreign(const char *path, uint32_t application_id);

/* Rename such a file, under its lock, so that another can take its place: what it is
 * called now to out, for the caller to free. */
enum rc db_set_aside(const char *path, struct buf *out, struct err *err);

/* Prepare one statement to be kept (SQLITE_PREPARE_PERSISTENT). */
enum rc db_prepare(sqlite3 *db, const char *sql, sqlite3_stmt **out, struct err *err);

/*
 * Bind by name (":after"). The name must exist: a typo is an assert, a
 * binding that fails for memory shows at the next step.
 */
void db_bind_int(sqlite3_stmt *st, const char *name, int64_t v);
void db_bind_text(sqlite3_stmt *st, const char *name, struct span v); /* borrowed until reset */
void db_bind_blob(sqlite3_stmt *st, const char *name, const void *p, size_t n);

/* Fill in a value that was bound as a zeroblob: SQLite makes no copy of it. */
enum rc db_write(sqlite3 *db, const char *table, const char *column, int64_t rowid,
                 struct span bytes, struct err *err);

/* Step once: RC_OK with *row telling whether a row came. */
enum rc db_step(sqlite3_stmt *st, bool *row, struct err *err);

/* Step a statement that returns no row, then reset it and its bindings. */
enum rc db_run(sqlite3_stmt *st, struct err *err);

/* Whether the last call on the connection found the file to be damaged, or no
 * database at all. */
bool db_damaged(sqlite3 *db);

/*
 * Step two databases through the same query, whose first column names a row, up to
 * the first row that is not the same on both sides. *rows: how many were. `odd`
 * (reset first): the name of that row, of two names the lower; empty: none.
 */
enum rc db_compare(sqlite3 *a, sqlite3 *b, const char *sql, int64_t *rows,
                   struct buf *odd, struct err *err);

/* What SQLite finds wrong with a database and its indexes, or with its foreign
 * keys, in `wrong` (reset first); empty: nothing. Reads all of it. */
enum rc db_check(sqlite3 *db, struct buf *wrong, struct err *err);

/* Reset and forget bindings; NULL is fine. */
void db_reset(sqlite3_stmt *st);

/* A text or blob column as a span, borrowed until the next step or reset. */
struct span db_span(sqlite3_stmt *st, int col);

#endif
