/* SQLite as td-sync uses it, see db.h. */
#include "store/db.h"

#include "base/fs.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

void
db_lean(void)
{
	sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
}

enum rc
db_rc(sqlite3 *db, int code, const char *doing, struct err *err)
{
	enum rc rc = RC_FAULT;
	const char *mend = "";

	switch (code & 0xff) {
	case SQLITE_OK:
	case SQLITE_ROW:
	case SQLITE_DONE:
		return RC_OK;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		rc = RC_BUSY;
		break;
	case SQLITE_NOTADB:
	case SQLITE_CORRUPT:
		mend = ": put it back from a backup";
		/* fall through */
	case SQLITE_FULL:
	case SQLITE_READONLY:
	case SQLITE_CANTOPEN:
	case SQLITE_PERM:
		rc = RC_UNAVAILABLE;
		break;
	case SQLITE_IOERR:
		if (code == SQLITE_IOERR_NOMEM)
			break;
		rc = RC_UNAVAILABLE;
		/* The first thing that finds no room, where nobody else has it open. */
		mend = code == SQLITE_IOERR_SHMSIZE ? ": is the disk full?"
		       : ": the disk fails, the system's log tells more";
		break;
	}
	return err_set(err, rc, "%s: %s (%d)%s", doing,
	               db != NULL ? sqlite3_errmsg(db) : sqlite3_errstr(code), code, mend);
}

enum rc
db_exec(sqlite3 *db, const char *sql, struct err *err)
{
	return db_rc(db, sqlite3_exec(db, sql, NULL, NULL, NULL), "database", err);
}

static bool
has_wal(enum db_mode mode)
{
	return mode == DB_SERVER || mode == DB_DERIVED;
}

/* The settings of a connection that writes a WAL. */
static enum rc
configure_wal(sqlite3 *db, enum db_mode mode, struct err *err)
{
	static const char pragmas[] =
	    "PRAGMA journal_mode=WAL;"
	    "PRAGMA wal_autocheckpoint=0;"
	    "PRAGMA foreign_keys=ON;"
	    "PRAGMA trusted_schema=OFF;";
	enum rc rc;
	int code;

	/* A checkpoint by close would run without the lock (platform.md 4.1). */
	code = sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	if (code != SQLITE_OK)
		return db_rc(db, code, "database", err);
	if ((rc = db_exec(db, pragmas, err)) != RC_OK)
		return rc;
	return db_exec(db, mode == DB_SERVER ? "PRAGMA synchronous=FULL"
	                                     : "PRAGMA synchronous=NORMAL", err);
}

/* What every connection of a mode is set to. */
static enum rc
configure(sqlite3 *db, enum db_mode mode, struct err *err)
{
	int code = sqlite3_busy_timeout(db, has_wal(mode) ? DB_BUSY_MS : 0);

	if (code != SQLITE_OK)
		return db_rc(db, code, "database", err);
	if (has_wal(mode))
		return configure_wal(db, mode, err);
	if (mode == DB_KEPT || mode == DB_FOREIGN)
		return db_exec(db, "PRAGMA trusted_schema=OFF", err);
	if (mode == DB_ADVICE)
		return db_exec(db, "PRAGMA journal_mode=DELETE; PRAGMA synchronous=OFF;", err);
	return db_exec(db, "PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=MEMORY;"
	                   " PRAGMA synchronous=OFF; PRAGMA foreign_keys=ON;", err);
}

static enum rc
open_file(const char *name, int flags, enum db_mode mode, sqlite3 **out, struct err *err)
{
	sqlite3 *db = NULL;
	int code = sqlite3_open_v2(name, &db, flags | SQLITE_OPEN_NOMUTEX |
	                           SQLITE_OPEN_EXRESCODE, NULL);
	enum rc rc = db_rc(db, code, "can't open it", err);

	if (rc == RC_OK)
		rc = configure(db, mode, err);
	if (rc != RC_OK) {
		sqlite3_close(db);
		db = NULL;
	}
	*out = db;
	return rc;
}

/* Whether the database's WAL is missing or empty: the file has everything. */
static bool
is_whole(const char *path)
{
	struct buf wal = { 0 };
	struct stat st;
	bool whole;

	buf_addf(&wal, "%s-wal", path);
	whole = buf_cstr(&wal) != NULL &&
	        (stat(wal.p, &st) == 0 ? st.st_size == 0 : errno == ENOENT);
	buf_free(&wal);
	return whole;
}

/* What a writer that died wrote and never synced: now it is on the disk. */
static enum rc
sync_wal(const char *path, struct err *err)
{
	struct buf wal = { 0 };
	enum rc rc = RC_OK;

	if (is_whole(path))
		return RC_OK;
	buf_addf(&wal, "%s-wal", path);
	rc = buf_cstr(&wal) != NULL ? fs_sync(wal.p, err)
	                            : err_set(err, RC_FAULT, "out of memory");
	buf_free(&wal);
	return rc;
}

/*
 * On a read-only disk SQLite can't make the shared memory that WAL needs. A
 * file that has everything is opened as one that nobody can change.
 */
static enum rc
open_immutable(const char *path, enum db_mode mode, sqlite3 **out, struct err *err)
{
	struct buf uri = { 0 };
	enum rc rc;

	if (!is_whole(path))
		return err_set(err, RC_UNAVAILABLE, "the data folder is read-only, and the "
		               "database's last changes are in a -wal file that can't be "
		               "read there: make it writable once");
	buf_add_str(&uri, "file:");
	for (const char *p = path; *p != '\0'; p++)
		if (strchr("%?#", *p) != NULL)
			buf_addf(&uri, "%%%02X", (unsigned char)*p);
		else
			buf_add_byte(&uri, *p);
	buf_add_str(&uri, "?immutable=1");
	if (buf_cstr(&uri) == NULL)
		rc = err_set(err, RC_FAULT, "out of memory");
	else
		rc = open_file(uri.p, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, mode, out, err);
	buf_free(&uri);
	return rc;
}

enum rc
db_open(const char *path, enum db_mode mode, sqlite3 **out, struct err *err)
{
	const char *network = fs_network(path);
	struct fs_id id;
	struct err why;
	enum rc rc;

	*out = NULL;
	if (network != NULL && has_wal(mode))
		return err_set(err, RC_UNAVAILABLE,
		               "%s lies on a network file system (%s), where SQLite's WAL "
		               "does not work: move the data folder to a local disk",
		               path, network);
	if (mode == DB_KEPT)
		rc = open_immutable(path, mode, out, &why);
	else if (mode == DB_FOREIGN)
		rc = open_file(path, SQLITE_OPEN_READONLY, mode, out, &why);
	else
		rc = open_file(path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, mode, out, &why);
	if (rc == RC_UNAVAILABLE && has_wal(mode) && fs_read_only(path) &&
	    fs_identify(path, &id))
		rc = open_immutable(path, mode, out, &why);
	else if (rc == RC_OK && mode == DB_SERVER && (rc = sync_wal(path, &why)) != RC_OK) {
		sqlite3_close(*out);
		*out = NULL;
	}
	if (rc != RC_OK)
		return err_set(err, rc, "%s: %s", path, why.text);
	return RC_OK;
}

enum rc
db_settle(sqlite3 *db, struct err *err)
{
	char sql[64];
	sqlite3_stmt *st = NULL;
	bool row = false;
	enum rc rc;

	if (!sqlite3_get_autocommit(db) && (rc = db_exec(db, "ROLLBACK", err)) != RC_OK)
		return rc;
	rc = db_prepare(db, "PRAGMA user_version", &st, err);
	if (rc == RC_OK)
		rc = db_step(st, &row, err);
	snprintf(sql, sizeof(sql), "PRAGMA user_version = %d",
	         rc == RC_OK && row ? (sqlite3_column_int(st, 0) + 1) & 0xffff : 1);
	sqlite3_finalize(st);
	return rc == RC_OK ? db_exec(db, sql, err) : rc;
}

enum rc
db_fill(sqlite3 *to, sqlite3 *from, struct err *err)
{
	sqlite3_backup *b = sqlite3_backup_init(to, "main", from, "main");
	int code;

	if (b == NULL)
		return db_rc(to, sqlite3_errcode(to), "can't be copied", err);
	code = sqlite3_backup_step(b, -1);
	sqlite3_backup_finish(b);
	if (code == SQLITE_DONE)
		return RC_OK;
	return err_set(err, db_rc(NULL, code, "copy", NULL), "can't be copied: %s (%d)%s",
	               sqlite3_errstr(code), code,
	               (code & 0xff) == SQLITE_FULL ? ": the disk is full" : "");
}

/* What SQLite keeps beside a database. */
static const char *const beside[] = { "-wal", "-shm", "-journal" };

void
db_remove(const char *path)
{
	struct buf b = { 0 };

	unlink(path);
	for (size_t i = 0; i < sizeof(beside) / sizeof(beside[0]); i++) {
		buf_reset(&b);
		buf_addf(&b, "%s%s", path, beside[i]);
		if (buf_cstr(&b) != NULL)
			unlink(b.p);
	}
	buf_free(&b);
}

/* Make an empty file, as SQLite would, which does not tell why it can't. */
static enum rc
make_file(const char *path, mode_t mode, struct err *err)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, mode);

	if (fd < 0)
		return err_set(err, RC_UNAVAILABLE, "can't make %s: %s", path, strerror(errno));
	close(fd);
	return RC_OK;
}

static enum rc
copy_to(const char *path, mode_t mode, sqlite3 *from, struct err *err)
{
	sqlite3 *to = NULL;
	struct err why;
	enum rc rc;

	db_remove(path);
	if ((rc = make_file(path, mode, err)) == RC_OK)
		rc = db_open(path, DB_DRAFT, &to, err);
	if (rc == RC_OK && (rc = db_fill(to, from, &why)) != RC_OK)
		err_set(err, rc, "%s: %s", path, why.text);
	if (sqlite3_close(to) != SQLITE_OK && rc == RC_OK)
		rc = err_set(err, RC_FAULT, "%s can't be closed", path);
	to = NULL;
	/* The copy says of itself that it is in WAL mode, as its source: no more. */
	if (rc == RC_OK && (rc = db_open(path, DB_ADVICE, &to, err)) == RC_OK)
		sqlite3_close(to);
	if (rc == RC_OK)
		rc = fs_sync(path, err);
	if (rc != RC_OK)
		db_remove(path);
	return rc;
}

enum rc
db_copy(sqlite3 *from, const char *path, struct err *err)
{
	return copy_to(path, 0644, from, err);
}

/* Whether SQLite finds nothing wrong with a copy. */
static enum rc
check_copy(const char *path, struct err *err)
{
	struct buf wrong = { 0 };
	sqlite3 *db;
	enum rc rc = db_open(path, DB_KEPT, &db, err);

	if (rc != RC_OK)
		return rc;
	if ((rc = db_check(db, &wrong, err)) == RC_OK && wrong.len > 0)
		rc = err_set(err, RC_UNAVAILABLE, "it is damaged: %s",
		             buf_cstr(&wrong) != NULL ? wrong.p : "");
	sqlite3_close(db);
	buf_free(&wrong);
	return rc;
}

enum rc
db_keep(sqlite3 *from, const char *path, struct err *err)
{
	struct buf temp = { 0 };
	struct stat st;
	enum rc rc;

	if (stat(sqlite3_db_filename(from, "main"), &st) != 0)
		st.st_mode = 0600;
	buf_addf(&temp, "%s.tmp", path);
	if (buf_cstr(&temp) == NULL)
		return err_set(err, RC_FAULT, "out of memory");
	if ((rc = copy_to(temp.p, st.st_mode & 0666, from, err)) == RC_OK &&
	    (rc = check_copy(temp.p, err)) == RC_OK && rename(temp.p, path) != 0)
		rc = err_set(err, RC_UNAVAILABLE, "can't rename %s: %s", temp.p, strerror(errno));
	if (rc != RC_OK)
		db_remove(temp.p);
	buf_free(&temp);
	return rc == RC_OK ? fs_sync_parent(path, err) : rc;
}

bool
db_is_no_database(const char *path)
{
	sqlite3 *db = NULL;
	bool damaged = false;

	if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) ==
	    SQLITE_OK &&
	    sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL) == SQLITE_OK)
		damaged = sqlite3_exec(db, "SELECT count(*) FROM sqlite_schema", NULL, NULL,
		                       NULL) != SQLITE_OK && db_damaged(db);
	sqlite3_close(db);
	return damaged;
}

bool
db_is_foreign(const char *path, uint32_t application_id)
{
	sqlite3_stmt *st = NULL;
	sqlite3 *db = NULL;
	bool foreign = false;

	/* By SQLite: to close a descriptor of one's own drops the locks of all connections. */
	if (is_whole(path) && db_open(path, DB_KEPT, &db, NULL) == RC_OK &&
	    db_prepare(db, "SELECT application_id <> :ours AND (SELECT count(*) FROM"
	               " sqlite_schema) > 0 FROM pragma_application_id", &st, NULL) == RC_OK) {
		db_bind_int(st, ":ours", application_id);
		foreign = sqlite3_step(st) == SQLITE_ROW && sqlite3_column_int(st, 0) != 0;
	}
	sqlite3_finalize(st);
	sqlite3_close(db);
	return foreign;
}

enum rc
db_set_aside(const char *path, struct buf *out, struct err *err)
{
	struct buf from = { 0 }, to = { 0 };
	enum rc rc = RC_OK;

	buf_addf(out, "%s.damaged-%lld", path, (long long)time(NULL));
	if (buf_cstr(out) == NULL)
		return err_set(err, RC_FAULT, "out of memory");
	/* The file itself last: until then it is there, and a next run goes on. */
	for (size_t i = 0; i < sizeof(beside) / sizeof(beside[0]) && rc == RC_OK; i++) {
		buf_reset(&from);
		buf_reset(&to);
		buf_addf(&from, "%s%s", path, beside[i]);
		buf_addf(&to, "%s%s", out->p, beside[i]);
		if (buf_cstr(&from) == NULL || buf_cstr(&to) == NULL)
			rc = err_set(err, RC_FAULT, "out of memory");
		else if (rename(from.p, to.p) != 0 && errno != ENOENT)
			rc = err_set(err, RC_UNAVAILABLE, "can't rename %s: %s", from.p, strerror(errno));
	}
	if (rc == RC_OK && rename(path, out->p) != 0)
		rc = err_set(err, RC_UNAVAILABLE, "can't rename %s: %s", path, strerror(errno));
	buf_free(&from);
	buf_free(&to);
	return rc;
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

enum rc
db_write(sqlite3 *db, const char *table, const char *column, int64_t rowid,
         struct span bytes, struct err *err)
{
	sqlite3_blob *blob = NULL;
	int code = sqlite3_blob_open(db, "main", table, column, rowid, 1, &blob), closed;

	if (code == SQLITE_OK)
		code = sqlite3_blob_write(blob, bytes.p, (int)bytes.len, 0);
	closed = sqlite3_blob_close(blob);
	if (code == SQLITE_OK)
		code = closed;
	return code == SQLITE_OK ? RC_OK : db_rc(db, code, "blob", err);
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

bool
db_damaged(sqlite3 *db)
{
	int code = sqlite3_errcode(db) & 0xff;

	return code == SQLITE_CORRUPT || code == SQLITE_NOTADB;
}

/* Whether two statements stand on the same row. */
static bool
same_row(sqlite3_stmt *a, sqlite3_stmt *b)
{
	for (int i = 0; i < sqlite3_column_count(a); i++)
		if (sqlite3_column_type(a, i) != sqlite3_column_type(b, i) ||
		    !span_eq(db_span(a, i), db_span(b, i)))
			return false;
	return true;
}

/* The lower of the names that two statements stand on; one may have no row. */
static void
add_name(sqlite3_stmt *a, bool has_a, sqlite3_stmt *b, bool has_b, struct buf *out)
{
	struct span x = has_a ? db_span(a, 0) : (struct span){ NULL, 0 };
	struct span y = has_b ? db_span(b, 0) : (struct span){ NULL, 0 };
	size_t n = x.len < y.len ? x.len : y.len;
	int order = !has_b ? -1 : !has_a ? 1 : n == 0 ? 0 : memcmp(x.p, y.p, n);

	buf_add_span(out, order < 0 || (order == 0 && x.len <= y.len) ? x : y);
	if (out->len == 0)
		buf_add_str(out, "''");
}

enum rc
db_compare(sqlite3 *a, sqlite3 *b, const char *sql, int64_t *rows, struct buf *odd,
           struct err *err)
{
	sqlite3_stmt *sa = NULL, *sb = NULL;
	bool has_a = true, has_b = true;
	enum rc rc;

	*rows = 0;
	buf_reset(odd);
	if ((rc = db_prepare(a, sql, &sa, err)) == RC_OK)
		rc = db_prepare(b, sql, &sb, err);
	while (rc == RC_OK && odd->len == 0 && (rc = db_step(sa, &has_a, err)) == RC_OK &&
	       (rc = db_step(sb, &has_b, err)) == RC_OK && (has_a || has_b)) {
		if (has_a && has_b && same_row(sa, sb))
			++*rows;
		else
			add_name(sa, has_a, sb, has_b, odd);
	}
	sqlite3_finalize(sa);
	sqlite3_finalize(sb);
	return rc;
}

/* The rows of a query as text, until there is some. */
static enum rc
add_rows(sqlite3 *db, const char *sql, struct buf *out, struct err *err)
{
	sqlite3_stmt *st = NULL;
	bool row;
	enum rc rc = db_prepare(db, sql, &st, err);

	while (rc == RC_OK && out->len == 0 && (rc = db_step(st, &row, err)) == RC_OK && row)
		buf_add_span(out, db_span(st, 0));
	sqlite3_finalize(st);
	return rc;
}

enum rc
db_check(sqlite3 *db, struct buf *wrong, struct err *err)
{
	enum rc rc;

	buf_reset(wrong);
	rc = add_rows(db, "SELECT integrity_check FROM pragma_integrity_check(1)"
	              " WHERE integrity_check <> 'ok'", wrong, err);
	if (rc == RC_OK)
		rc = add_rows(db, "SELECT \"table\" || ' breaks a foreign key to ' || parent"
		              " FROM pragma_foreign_key_check LIMIT 1", wrong, err);
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
