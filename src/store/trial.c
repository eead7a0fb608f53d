/* Whether a folder is fit for databases, see trial.h. */
#include "store/trial.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/lock.h"
#include "store/db.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define OTHER_MS 10000 /* the other process may take so long */

bool
trial_has_bug(int version)
{
	return version >= 3007000 && version < 3051003 &&
	    !(version >= 3050007 && version < 3051000) &&
	    !(version >= 3044006 && version < 3045000);
}

const char *
trial_sqlite(bool *has_bug)
{
	*has_bug = trial_has_bug(sqlite3_libversion_number());
	return sqlite3_libversion();
}

/* --- the other process --- */

/* Run a step in another process; whether it said yes. */
static bool
in_other(bool (*step)(const char *dir), const char *dir)
{
	int64_t end = clock_mono_ms() + OTHER_MS;
	pid_t pid = fork(), got;
	int status = 1;

	if (pid == 0)
		_exit(step(dir) ? 0 : 1); /* nothing of the parent's is ended, nor printed */
	if (pid < 0)
		return false;
	while ((got = waitpid(pid, &status, WNOHANG)) == 0 && clock_mono_ms() < end)
		poll(NULL, 0, 2);
	if (got == 0) {
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
		return false;
	}
	return got == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* The path of a file there; false when it is too long. */
static bool
name(const char *dir, const char *file, char out[4096])
{
	return snprintf(out, 4096, "%s/%s", dir, file) < 4096;
}

/* --- locks --- */

/* Whether the lock file can be had at once. */
static bool
is_free(const char *dir)
{
	char path[4096];
	struct lock *l = NULL;
	bool yes = name(dir, "lock", path) && lock_open(path, &l, NULL) == RC_OK &&
	           lock_take(l, 0) == RC_OK;

	lock_close(l);
	return yes;
}

static bool
is_taken(const char *dir)
{
	char path[4096];
	struct lock *l = NULL;
	bool yes = name(dir, "lock", path) && lock_open(path, &l, NULL) == RC_OK &&
	           lock_take(l, 0) == RC_BUSY;

	lock_close(l);
	return yes;
}

static enum rc
try_locks(const char *dir, struct err *err)
{
	char path[4096];
	struct lock *l = NULL;
	bool kept_out, let_in;
	enum rc rc;

	if (!name(dir, "lock", path))
		return err_set(err, RC_INVALID, "the path is too long");
	if ((rc = lock_open(path, &l, err)) != RC_OK)
		return rc;
	if (lock_take(l, 0) != RC_OK) {
		lock_close(l);
		return err_set(err, RC_UNAVAILABLE, "a lock (flock) can't be had there: %s",
		               strerror(errno));
	}
	kept_out = in_other(is_taken, dir);
	lock_release(l);
	let_in = in_other(is_free, dir);
	lock_close(l);
	if (kept_out && let_in)
		return RC_OK;
	return err_set(err, RC_UNAVAILABLE, kept_out
	               ? "a lock (flock) that was let go is still held for another process"
	               : "a lock (flock) that one process holds does not keep another one out");
}

/* --- WAL --- */

static enum rc
count(sqlite3 *db, int64_t *out, struct err *err)
{
	sqlite3_stmt *st = NULL;
	bool row = false;
	enum rc rc = db_prepare(db, "SELECT count(*) FROM trial", &st, err);

	*out = -1;
	if (rc == RC_OK && (rc = db_step(st, &row, err)) == RC_OK && row)
		*out = sqlite3_column_int64(st, 0);
	sqlite3_finalize(st);
	return rc;
}

/* The trial's database, opened by this process too. */
static bool
open_trial(const char *dir, sqlite3 **db)
{
	char path[4096];

	*db = NULL;
	return name(dir, "trial.db", path) && db_open(path, DB_SERVER, db, NULL) == RC_OK;
}

/* See the row that the first process has committed, and add one; while the first has
 * the database open. */
static bool
see_and_add(const char *dir)
{
	sqlite3 *db;
	int64_t n = 0;
	bool yes = open_trial(dir, &db) && count(db, &n, NULL) == RC_OK && n == 1 &&
	    db_exec(db, "INSERT INTO trial VALUES (2)", NULL) == RC_OK;

	sqlite3_close(db);
	return yes;
}

/* While the first process writes (its transaction is open) nobody else may. */
static bool
may_not_write(const char *dir)
{
	sqlite3 *db;
	bool yes = open_trial(dir, &db) && sqlite3_busy_timeout(db, 0) == SQLITE_OK &&
	    db_exec(db, "BEGIN IMMEDIATE", NULL) == RC_BUSY;

	sqlite3_close(db);
	return yes;
}

static enum rc
try_wal(const char *dir, struct err *err)
{
	char path[4096];
	sqlite3 *db = NULL;
	int64_t n = 0;
	enum rc rc;

	if (!name(dir, "trial.db", path))
		return err_set(err, RC_INVALID, "the path is too long");
	if ((rc = db_open(path, DB_SERVER, &db, err)) == RC_OK)
		rc = db_exec(db, "CREATE TABLE trial(n); INSERT INTO trial VALUES (1);", err);
	if (rc == RC_OK && !in_other(see_and_add, dir))
		rc = err_set(err, RC_UNAVAILABLE, "SQLite's WAL does not work there: another process "
		             "doesn't see what was committed, or can't add to it");
	if (rc == RC_OK && (rc = count(db, &n, err)) == RC_OK && n != 2)
		rc = err_set(err, RC_UNAVAILABLE, "SQLite's WAL does not work there: what another "
		             "process has committed isn't seen");
	if (rc == RC_OK && (rc = db_exec(db, "BEGIN IMMEDIATE", err)) == RC_OK &&
	    !in_other(may_not_write, dir))
		rc = err_set(err, RC_UNAVAILABLE, "SQLite's locks (fcntl) do not keep two processes "
		             "apart there");
	sqlite3_close(db);
	return rc;
}

enum rc
trial_run(const char *dir, struct err *err)
{
	enum rc rc = try_locks(dir, err);

	return rc == RC_OK ? try_wal(dir, err) : rc;
}
