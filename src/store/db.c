/* SQLite as td-sync uses it, see db.h. */
#include "store/db.h"

#include "base/fs.h"

#include <assert.h>
#include <string.h>

/* How long a statement waits for a lock of SQLite's own: a second net, the
 * lock files keep writers apart. */
#define BUSY_MS 5000

enum rc
db_rc(sqlite3 *db, int code, const char *doing, struct err *err)
{
	enum rc rc = RC_FAULT;

	switch (code & 0xff) {
	case SQLITE_OK:
	case SQLITE_ROW:
	case SQLITE_DONE:
		return RC_OK;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		rc = RC_BUSY;
		break;
	case SQLITE_FULL:
	case SQLITE_READONLY:
	case SQLITE_CANTOPEN:
	case SQLITE_PERM:
	case SQLITE_NOTADB:
	case SQLITE_CORRUPT:
		rc = RC_UNAVAILABLE;
		break;
	}
	return err_set(err, rc, "%s: %s (%d)", doing,
	               db != NULL ? sqlite3_errmsg(db) : sqlite3_errstr(code), code);
}

enum rc
db_exec(sqlite3 *db, const char *sql, struct err *err)
{
	return db_rc(db, sqlite3_exec(db, sql, NULL, NULL, NULL), "database", err);
}

/* The settings of a connection that holds something dear. */
static enum rc
configure_server(sqlite3 *db, struct err *err)
{
	static const char pragmas[] =
	    "PRAGMA journal_mode=WAL;"
	    "PRAGMA synchronous=FULL;"
	    "PRAGMA wal_autocheckpoint=0;"
	    "PRAGMA foreign_keys=ON;"
	    "PRAGMA trusted_schema=OFF;";
	int code;

	/* A checkpoint by close would run without the lock (platform.md 4.1). */
	code = sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	if (code != SQLITE_OK)
		return db_rc(db, code, "database", err);
	return db_exec(db, pragmas, err);
}

enum rc
db_open(const char *path, enum db_mode mode, sqlite3 **out, struct err *err)
{
	const char *network = fs_network(path);
	struct err why;
	sqlite3 *db = NULL;
	enum rc rc;
	int code;

	*out = NULL;
	if (network != NULL && mode == DB_SERVER)
		return err_set(err, RC_UNAVAILABLE,
		               "%s lies on a network file system (%s), where SQLite's WAL "
		               "does not work: move the data folder to a local disk",
		               path, network);
	code = sqlite3_open_v2(path, &db,
	                       SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE |
	                           SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, NULL);
	if (code == SQLITE_OK)
		code = sqlite3_busy_timeout(db, mode == DB_SERVER ? BUSY_MS : 0);
	rc = db_rc(db, code, "can't open it", &why);
	if (rc == RC_OK && mode == DB_SERVER)
		rc = configure_server(db, &why);
	if (rc == RC_OK && mode == DB_ADVICE)
		rc = db_exec(db, "PRAGMA journal_mode=DELETE; PRAGMA synchronous=OFF;", &why);
	if (rc != RC_OK) {
		sqlite3_close(db);
		return err_set(err, rc, "%s: %s", path, why.text);
	}
	*out = db;
	return RC_OK;
}

enum rc
db_prepare(sqlite3 *db, const char *sql, sqlite3_stmt **out, struct err *err)
{
	int code = sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, out, NULL);

	return db_rc(db, code, "statement", err);
}

static int
parameter(sqlite3_stmt *st, const char *name)
{
	int i = sqlite3_bind_parameter_index(st, name);

	assert(i > 0);
	return i;
}

void
db_bind_int(sqlite3_stmt *st, const char *name, int64_t v)
{
	sqlite3_bind_int64(st, parameter(st, name), v);
}

void
db_bind_text(sqlite3_stmt *st, const char *name, struct span v)
{
	sqlite3_bind_text64(st, parameter(st, name), v.p == NULL ? "" : v.p, v.len,
	                    SQLITE_STATIC, SQLITE_UTF8);
}

void
db_bind_blob(sqlite3_stmt *st, const char *name, const void *p, size_t n)
{
	sqlite3_bind_blob64(st, parameter(st, name), p, n, SQLITE_STATIC);
}

void
db_bind_null(sqlite3_stmt *st, const char *name)
{
	sqlite3_bind_null(st, parameter(st, name));
}

enum rc
db_step(sqlite3_stmt *st, bool *row, struct err *err)
{
	int code = sqlite3_step(st);

	*row = code == SQLITE_ROW;
	return db_rc(sqlite3_db_handle(st), code, "database", err);
}

enum rc
db_run(sqlite3_stmt *st, struct err *err)
{
	bool row;
	enum rc rc = db_step(st, &row, err);

	assert(rc != RC_OK || !row);
	db_reset(st);
	return rc;
}

void
db_reset(sqlite3_stmt *st)
{
	if (st == NULL)
		return;
	sqlite3_reset(st);
	sqlite3_clear_bindings(st);
}

struct span
db_span(sqlite3_stmt *st, int col)
{
	const void *p = sqlite3_column_blob(st, col); /* text comes as UTF-8 bytes */
	int n = sqlite3_column_bytes(st, col);

	return (struct span){ p, (size_t)n };
}

bool
db_wal_bug(void)
{
	int v = sqlite3_libversion_number();

	if (v >= 3051003)
		return false;
	if ((v >= 3044006 && v < 3045000) || (v >= 3050007 && v < 3051000))
		return false;
	return v >= 3007000;
}
