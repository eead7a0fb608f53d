/* The two databases of a replica, see local.h. */
#include "client/local.h"

#include "base/clock.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define WAIT_MS 5000 /* for td's lock and for SQLite's, as td itself waits */

static char *
join(const char *a, const char *b)
{
	struct buf s = { 0 };

	buf_addf(&s, "%s%s", a, b);
	buf_cstr(&s);
	return s.p;
}

/* The part of a path from ".todos/" on, for messages. */
static const char *
brief(const char *path)
{
	const char *p = strstr(path, "/.todos/");

	for (const char *next = p; next != NULL; next = strstr(next + 1, "/.todos/"))
		p = next;
	return p == NULL ? path : p + 1;
}

enum rc
local_failed(struct local *l, enum rc rc, struct err *err)
{
	const char *file = brief(l->file);
	int code = sqlite3_errcode(l->db) & 0xff;

	if (rc == RC_OK || rc == RC_INVALID || rc == RC_CONFLICT)
		return rc;
	switch (code) {
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return err_set(err, RC_BUSY, "%s has been locked by another program for %d s: "
		               "try again when it is done", file, WAIT_MS / 1000);
	case SQLITE_READONLY:
		return err_set(err, RC_UNAVAILABLE, "%s or its folder is read-only", file);
	case SQLITE_PERM:
	case SQLITE_CANTOPEN:
	case SQLITE_AUTH:
		return err_set(err, RC_UNAVAILABLE, "can't open %s or a file beside it: "
		               "check who may write to the folder", file);
	case SQLITE_FULL:
		return err_set(err, RC_UNAVAILABLE, "no room on the disk for %s", file);
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return err_set(err, RC_UNAVAILABLE, "%s or %s beside it is damaged (%s): restore "
		               "the first from a backup, or move the second away",
		               file, brief(l->books), sqlite3_errmsg(l->db));
	case SQLITE_IOERR:
		return err_set(err, RC_UNAVAILABLE, "reading or writing %s failed: %s",
		               file, sqlite3_errmsg(l->db));
	}
	return rc;
}

/* --- opening --- */

/* Set l->file and l->books; RC_UNAVAILABLE when there is no td project. */
static enum rc
find_files(struct local *l, const char *dir, struct err *err)
{
	char *real = realpath(dir, NULL);
	enum rc rc = RC_OK;

	if (real == NULL)
		return err_set(err, RC_UNAVAILABLE, "no such folder: %s", dir);
	l->file = join(real, "/.todos/issues.db");
	l->books = join(real, "/.todos/td-sync.db");
	if (l->file == NULL || l->books == NULL)
		rc = err_set(err, RC_FAULT, "out of memory");
	else if (!fs_identify(l->file, &l->id))
		rc = err_set(err, RC_UNAVAILABLE, "%s holds no td project (.todos/issues.db): "
		             "run `td init` there first, or name another folder", real);
	free(real);
	return rc;
}

static enum rc
open_main(struct local *l, struct err *err)
{
	int code = sqlite3_open_v2(l->file, &l->db,
	                           SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX |
	                               SQLITE_OPEN_EXRESCODE, NULL);

	if (l->db == NULL)
		return err_set(err, RC_FAULT, "out of memory");
	if (code == SQLITE_OK)
		code = sqlite3_busy_timeout(l->db, WAIT_MS);
	/* Close without a checkpoint: we hold no lock then (platform.md 4.1). */
	if (code == SQLITE_OK)
		code = sqlite3_db_config(l->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	return db_rc(l->db, code, brief(l->file), err);
}

static enum rc
ask_int(struct local *l, const char *sql, int64_t *out, struct err *err)
{
	sqlite3_stmt *st = NULL;
	bool row = false;
	enum rc rc = db_prepare(l->db, sql, &st, err);

	*out = 0;
	if (rc == RC_OK)
		rc = db_step(st, &row, err);
	if (row)
		*out = sqlite3_column_int64(st, 0);
	sqlite3_finalize(st);
	return rc;
}

bool
local_has_table(struct local *l, const char *table)
{
	return sqlite3_table_column_metadata(l->db, "main", table, NULL, NULL, NULL, NULL,
	                                     NULL, NULL) == SQLITE_OK;
}

/* What td wrote it, and can this work on it? */
static enum rc
check_schema(struct local *l, struct err *err)
{
	static const char *const needed[] = {
		"schema_info", "action_log", "sync_state", "sync_history", "sync_conflicts",
		"issues"
	};
	int64_t v;
	enum rc rc;

	/* Any read that is no lookup of a table finds out about a damaged file. */
	if ((rc = ask_int(l, "SELECT count(*) FROM main.sqlite_master", &v, err)) != RC_OK)
		return rc;
	if (!local_has_table(l, "schema_info") || !local_has_table(l, "action_log"))
		return err_set(err, RC_INVALID, "%s is not a td database", brief(l->file));
	rc = ask_int(l, "SELECT value FROM main.schema_info WHERE key = 'version'", &v, err);
	if (rc != RC_OK)
		return rc;
	if (v < LOCAL_SCHEMA_MIN || v > LOCAL_SCHEMA_MAX)
		return err_set(err, RC_INVALID, "%s has schema %lld; this td-sync works on %d to "
		               "%d: use a %s", brief(l->file), (long long)v, LOCAL_SCHEMA_MIN,
		               LOCAL_SCHEMA_MAX, v > LOCAL_SCHEMA_MAX ? "newer td-sync"
		               : "newer td once, which brings it up to date");
	for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++)
		if (!local_has_table(l, needed[i]))
			return err_set(err, RC_INVALID, "%s has no table %s: is it a td database?",
			               brief(l->file), needed[i]);
	l->schema = (int)v;
	return RC_OK;
}

/* Make td-sync.db, with the rights of issues.db, unless it is there: to open and close
 * it then would drop the locks that another handle of this process has on it. */
static enum rc
make_books(struct local *l, struct err *err)
{
	struct stat st;
	int fd;

	if (stat(l->file, &st) != 0)
		st.st_mode = 0600;
	fd = open(l->books, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, st.st_mode & 0666);
	if (fd >= 0)
		close(fd);
	else if (errno != EEXIST)
		return err_set(err, RC_UNAVAILABLE, "can't write %s: %s", brief(l->books),
		               strerror(errno));
	return RC_OK;
}

static enum rc
attach_books(struct local *l, bool write, struct err *err)
{
	struct stat file;
	sqlite3_stmt *st = NULL;
	enum rc rc = RC_OK;

	if (write && (rc = make_books(l, err)) != RC_OK)
		return rc;
	l->has_books = write || (stat(l->books, &file) == 0 && file.st_size > 0);
	rc = db_prepare(l->db, "ATTACH :file AS " TDSYNC, &st, err);
	if (rc == RC_OK) {
		db_bind_text(st, ":file", span_of(l->has_books ? l->books : ":memory:"));
		rc = db_run(st, err);
	}
	sqlite3_finalize(st);
	return rc;
}

/*
 * Foreign keys on, no rename of the journal: where the file is in WAL mode it
 * stays so and ours follows, else both truncate their journals, as td does
 * (that is a habit of a connection, nothing in the file changes).
 */
static enum rc
configure(struct local *l, bool write, struct err *err)
{
	static const char rollback[] =
	    "PRAGMA main.journal_mode = TRUNCATE; PRAGMA " TDSYNC ".journal_mode = TRUNCATE;";
	static const char wal[] = "PRAGMA " TDSYNC ".journal_mode = WAL;";
	static const char common[] =
	    "PRAGMA main.synchronous = NORMAL; PRAGMA " TDSYNC ".synchronous = NORMAL;"
	    "PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF;"
	    "PRAGMA temp_store = MEMORY;";
	sqlite3_stmt *st = NULL;
	bool row = false, is_wal;
	enum rc rc = db_exec(l->db, common, err);

	if (rc != RC_OK || !write)
		return rc;
	if ((rc = db_prepare(l->db, "PRAGMA main.journal_mode", &st, err)) == RC_OK)
		rc = db_step(st, &row, err);
	is_wal = row && span_is(db_span(st, 0), "wal");
	sqlite3_finalize(st);
	return rc == RC_OK ? db_exec(l->db, is_wal ? wal : rollback, err) : rc;
}

/* The path of td's lock; NULL when out of memory. */
static char *
lock_path(const struct local *l)
{
	char *path = join(l->file, "");

	if (path != NULL)
		strcpy(strrchr(path, '/'), "/db.lock"); /* shorter than /issues.db */
	return path;
}

static enum rc
open_lock(struct local *l, struct err *err)
{
	char *path = lock_path(l);
	enum rc rc = path != NULL ? lock_open(path, &l->lock, err)
	                          : err_set(err, RC_FAULT, "out of memory");

	free(path);
	return rc;
}

enum rc
local_open(const char *dir, bool write, struct local **out, struct err *err)
{
	struct local *l = calloc(1, sizeof(*l));
	enum rc rc;

	*out = NULL;
	if (l == NULL)
		return err_set(err, RC_FAULT, "out of memory");
	if ((rc = find_files(l, dir, err)) != RC_OK)
		goto done;
	if ((rc = open_main(l, err)) == RC_OK && (rc = check_schema(l, err)) == RC_OK &&
	    write && sqlite3_db_readonly(l->db, "main") == 1)
		rc = err_set(err, RC_UNAVAILABLE, "%s is read-only", brief(l->file));
	else if (rc == RC_OK && (rc = attach_books(l, write, err)) == RC_OK)
		rc = configure(l, write, err);
	if (rc != RC_OK) {
		if (l->db != NULL && sqlite3_errcode(l->db) != SQLITE_OK)
			rc = local_failed(l, rc, err);
		goto done;
	}
	if (write && (rc = open_lock(l, err)) != RC_OK)
		goto done;
	*out = l;
	l = NULL;
done:
	local_close(l);
	return rc;
}

void
local_close(struct local *l)
{
	if (l == NULL)
		return;
	local_rollback(l);
	for (size_t i = 0; i < LOCAL_STATEMENTS; i++)
		sqlite3_finalize(l->kept[i]);
	sqlite3_close_v2(l->db);
	lock_close(l->lock);
	free(l->file);
	free(l->books);
	free(l);
}

/* --- transactions --- */

static bool
same_file(const struct local *l)
{
	struct fs_id now;

	return fs_identify(l->file, &now) && fs_same(now, l->id);
}

enum rc
local_begin(struct local *l, struct err *err)
{
	enum rc rc;

	assert(l->lock != NULL && !l->began);
	rc = lock_take(l->lock, clock_mono_ms() + WAIT_MS);
	if (rc == RC_BUSY)
		return err_set(err, RC_BUSY, "another program has held .todos/db.lock for %d s: "
		               "try again when it is done", WAIT_MS / 1000);
	if (rc != RC_OK)
		return err_set(err, RC_UNAVAILABLE, "can't lock .todos/db.lock");
	if (!same_file(l)) {
		lock_release(l->lock);
		return err_set(err, RC_CONFLICT, "%s was replaced meanwhile", brief(l->file));
	}
	rc = local_failed(l, db_exec(l->db, "BEGIN IMMEDIATE", err), err);
	if (rc != RC_OK) {
		lock_release(l->lock);
		return rc;
	}
	l->began = true;
	return RC_OK;
}

enum rc
local_commit(struct local *l, struct err *err)
{
	enum rc rc;

	assert(l->began);
	rc = local_failed(l, db_exec(l->db, "COMMIT", err), err);
	if (rc != RC_OK) {
		local_rollback(l);
		return rc;
	}
	l->began = false;
	lock_release(l->lock);
	return RC_OK;
}

void
local_rollback(struct local *l)
{
	if (!l->began)
		return;
	l->began = false;
	if (sqlite3_get_autocommit(l->db) == 0)
		sqlite3_exec(l->db, "ROLLBACK", NULL, NULL, NULL);
	local_foreign_keys(l, true);
	lock_release(l->lock);
}

/* --- a diagnosis --- */

enum rc
local_check(struct local *l, char mode[16], struct buf *wrong, struct err *err)
{
	sqlite3_stmt *st = NULL;
	struct span says;
	bool row = false;
	enum rc rc;

	if ((rc = db_prepare(l->db, "PRAGMA main.journal_mode", &st, err)) == RC_OK)
		rc = db_step(st, &row, err);
	says = row ? db_span(st, 0) : (struct span){ "", 0 };
	snprintf(mode, 16, "%.*s", (int)says.len, says.p);
	sqlite3_finalize(st);
	st = NULL;
	buf_reset(wrong);
	if (rc == RC_OK &&
	    (rc = db_prepare(l->db, "PRAGMA main.quick_check(1)", &st, err)) == RC_OK)
		rc = db_step(st, &row, err);
	if (rc == RC_OK && row && !span_is(db_span(st, 0), "ok"))
		buf_add_span(wrong, db_span(st, 0));
	sqlite3_finalize(st);
	return local_failed(l, rc, err);
}

enum rc
local_try_lock(struct local *l, struct err *err)
{
	char *path = lock_path(l);
	struct lock *lock = NULL;
	struct fs_id id;
	enum rc rc = RC_OK;

	if (path == NULL)
		return err_set(err, RC_FAULT, "out of memory");
	if (access(l->file, W_OK) != 0 || fs_read_only(l->file))
		rc = err_set(err, RC_UNAVAILABLE, "%s or its folder is read-only", brief(l->file));
	else if (fs_identify(path, &id) && (rc = lock_open(path, &lock, err)) == RC_OK &&
	         (rc = lock_take(lock, clock_mono_ms() + WAIT_MS)) == RC_BUSY)
		err_set(err, rc, "another program has held .todos/db.lock for %d s", WAIT_MS / 1000);
	lock_close(lock);
	free(path);
	return rc;
}

void
local_tidy(const struct local *l)
{
	const char *name = strrchr(l->file, '/') + 1;
	char *folder = strndup(l->file, (size_t)(name - l->file));
	DIR *d = folder == NULL ? NULL : opendir(folder);
	const struct dirent *e;
	char digits[10];
	int n;

	/* "issues.db-mj", six digits, 9, and two more. */
	while (d != NULL && (e = readdir(d)) != NULL)
		if (sscanf(e->d_name, "issues.db-mj%9[0-9A-F]%n", digits, &n) == 1 &&
		    strlen(digits) == 9 && digits[6] == '9' && e->d_name[n] == '\0')
			unlinkat(dirfd(d), e->d_name, 0);
	if (d != NULL)
		closedir(d);
	free(folder);
}

void
local_foreign_keys(struct local *l, bool on)
{
	/* Not the pragma: it does nothing within a transaction. */
	sqlite3_db_config(l->db, SQLITE_DBCONFIG_ENABLE_FKEY, on ? 1 : 0, NULL);
}
