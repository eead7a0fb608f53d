/*
 * server.db, see accounts.h.
 *
 * Two connections: one that only reads (query_only), and one that is opened
 * at the first write. A write holds server.lock from BEGIN IMMEDIATE until
 * after COMMIT, and until the checkpoint that may follow: commits and
 * checkpoints of different processes must not meet (platform.md 4.1).
 */
#include "store/accounts.h"

#include "base/fs.h"
#include "base/lock.h"
#include "store/db.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* The format this code reads and writes; kept in meta. */
#define FORMAT 1

/* "tdsA": whose file it is, in SQLite's header. */
#define APPLICATION_ID 0x74647341

/* A WAL above this is checkpointed after a write. */
#define WAL_MAX_BYTES (4 << 20)

/* How often the use of a token is noted, in seconds. */
#define USED_EVERY 3600

static const char schema[] =
	"CREATE TABLE meta ("
	"  key TEXT PRIMARY KEY," /* format, server_id */
	"  value NOT NULL"
	") WITHOUT ROWID;"
	"CREATE TABLE user ("
	"  n INTEGER PRIMARY KEY,"    /* order of creation; what others refer to */
	"  id TEXT NOT NULL UNIQUE,"  /* u_ + 16 hex */
	"  email TEXT NOT NULL UNIQUE COLLATE NOCASE," /* as given */
	"  created_at INTEGER NOT NULL" /* seconds since 1970, as all times here */
	");"
	"CREATE TABLE project ("
	"  n INTEGER PRIMARY KEY,"
	"  id TEXT NOT NULL UNIQUE,"   /* p_ + 16 hex; its folder's name */
	"  name TEXT NOT NULL,"
	"  description TEXT NOT NULL,"
	"  slug TEXT NOT NULL UNIQUE," /* never changes, never given again */
	"  created_at INTEGER NOT NULL,"
	"  updated_at INTEGER NOT NULL,"
	"  deleted_at INTEGER NOT NULL DEFAULT 0" /* 0: not deleted */
	");"
	"CREATE TABLE member ("
	"  n INTEGER PRIMARY KEY,"     /* order in lists */
	"  project INTEGER NOT NULL REFERENCES project (n),"
	"  user INTEGER NOT NULL REFERENCES user (n),"
	"  role INTEGER NOT NULL CHECK (role BETWEEN 1 AND 3)," /* enum role */
	"  invited_by INTEGER REFERENCES user (n)," /* NULL: the operator, or the maker */
	"  created_at INTEGER NOT NULL,"
	"  UNIQUE (project, user)"
	");"
	"CREATE INDEX member_user ON member (user, project);"
	"CREATE TABLE token ("
	"  n INTEGER PRIMARY KEY,"
	"  id TEXT NOT NULL UNIQUE,"   /* its jti: ak_ + 16 hex */
	"  user INTEGER REFERENCES user (n)," /* NULL: a share link */
	"  name TEXT NOT NULL,"        /* what it is for, in its maker's words */
	"  scope TEXT NOT NULL,"       /* as in the token; for lists only */
	"  projects TEXT NOT NULL,"    /* * or ids with blanks between; as above */
	"  created_at INTEGER NOT NULL,"
	"  expires_at INTEGER NOT NULL,"
	"  last_used_at INTEGER NOT NULL DEFAULT 0," /* to the hour; 0: never */
	"  revoked_at INTEGER NOT NULL DEFAULT 0"    /* 0: not revoked */
	");";

enum query {
	Q_META,
	Q_META_ADD,
	Q_ACCESS,
	Q_USER_ADD,
	Q_USER_BY_EMAIL,
	Q_USER_BY_ID,
	Q_USER_LIST,
	Q_PROJECT_ADD,
	Q_PROJECT_BY_ID,
	Q_PROJECT_BY_SLUG,
	Q_PROJECT_CHANGE,
	Q_PROJECT_DELETE,
	Q_PROJECT_LIST,
	Q_PROJECT_LIST_OF,
	Q_MEMBER_ADD,
	Q_MEMBER_GET,
	Q_MEMBER_CHANGE,
	Q_MEMBER_REMOVE,
	Q_MEMBER_LIST,
	Q_OTHER_OWNER,
	Q_TOKEN_ADD,
	Q_TOKEN_GET,
	Q_TOKEN_REVOKE,
	Q_TOKEN_LIST,
	Q_TOKEN_USED,
	Q__MAX
};

static const char *const queries[Q__MAX] = {
	[Q_META] =
	    "SELECT value FROM meta WHERE key = :key",
	[Q_META_ADD] =
	    "INSERT INTO meta (key, value) VALUES (:key, :value)",

	/* One row always. A user who is not the token's counts as unknown. */
	[Q_ACCESS] =
	    "SELECT t.n IS NOT NULL, t.revoked_at, t.expires_at, t.last_used_at,"
	    " t.n IS NOT NULL AND t.user IS u.n AND (u.n IS NOT NULL OR :user = ''),"
	    " p.n IS NOT NULL, p.deleted_at, m.role"
	    " FROM (SELECT 1)"
	    " LEFT JOIN token t ON t.id = :token"
	    " LEFT JOIN user u ON u.id = :user"
	    " LEFT JOIN project p ON p.id = :project"
	    " LEFT JOIN member m ON m.project = p.n AND m.user = u.n",

	[Q_USER_ADD] =
	    "INSERT INTO user (id, email, created_at) VALUES (:id, :email, :now)",
	[Q_USER_BY_EMAIL] =
	    "SELECT id, email, created_at FROM user WHERE email = :email",
	[Q_USER_BY_ID] =
	    "SELECT id, email, created_at FROM user WHERE id = :id",
	[Q_USER_LIST] =
	    "SELECT id, email, created_at FROM user ORDER BY n",

	[Q_PROJECT_ADD] =
	    "INSERT INTO project (id, name, description, slug, created_at, updated_at)"
	    " VALUES (:id, :name, :description, :slug, :now, :now)",
	[Q_PROJECT_BY_ID] =
	    "SELECT id, name, description, slug, created_at, updated_at, deleted_at"
	    " FROM project WHERE id = :id",
	[Q_PROJECT_BY_SLUG] =
	    "SELECT id, name, description, slug, created_at, updated_at, deleted_at"
	    " FROM project WHERE slug = :slug",
	[Q_PROJECT_CHANGE] =
	    "UPDATE project SET name = :name, description = :description,"
	    " updated_at = :now WHERE id = :id",
	[Q_PROJECT_DELETE] =
	    "UPDATE project SET deleted_at = :now, updated_at = :now WHERE id = :id",
	[Q_PROJECT_LIST] =
	    "SELECT id, name, description, slug, created_at, updated_at, deleted_at"
	    " FROM project ORDER BY n",
	[Q_PROJECT_LIST_OF] =
	    "SELECT p.id, p.name, p.description, p.slug, p.created_at, p.updated_at,"
	    " p.deleted_at"
	    " FROM user u JOIN member m ON m.user = u.n JOIN project p ON p.n = m.project"
	    " WHERE u.id = :user AND p.deleted_at = 0 ORDER BY p.n",

	[Q_MEMBER_ADD] =
	    "INSERT INTO member (project, user, role, invited_by, created_at)"
	    " SELECT p.n, u.n, :role, (SELECT n FROM user WHERE id = :by), :now"
	    " FROM project p, user u WHERE p.id = :project AND u.id = :user",
	[Q_MEMBER_GET] =
	    "SELECT p.id, u.id, i.id, u.email, m.role, m.created_at"
	    " FROM project p JOIN user u JOIN member m ON m.project = p.n AND m.user = u.n"
	    " LEFT JOIN user i ON i.n = m.invited_by"
	    " WHERE p.id = :project AND u.id = :user AND p.deleted_at = 0",
	[Q_MEMBER_CHANGE] =
	    "UPDATE member SET role = :role"
	    " WHERE project = (SELECT n FROM project WHERE id = :project)"
	    " AND user = (SELECT n FROM user WHERE id = :user)",
	[Q_MEMBER_REMOVE] =
	    "DELETE FROM member"
	    " WHERE project = (SELECT n FROM project WHERE id = :project)"
	    " AND user = (SELECT n FROM user WHERE id = :user)",
	[Q_MEMBER_LIST] =
	    "SELECT p.id, u.id, i.id, u.email, m.role, m.created_at"
	    " FROM project p JOIN member m ON m.project = p.n JOIN user u ON u.n = m.user"
	    " LEFT JOIN user i ON i.n = m.invited_by"
	    " WHERE p.id = :project ORDER BY m.n",
	[Q_OTHER_OWNER] =
	    "SELECT 1 FROM project p JOIN member m ON m.project = p.n"
	    " JOIN user u ON u.n = m.user"
	    " WHERE p.id = :project AND m.role = 3 AND u.id <> :user LIMIT 1",

	[Q_TOKEN_ADD] =
	    "INSERT INTO token (id, user, name, scope, projects, created_at, expires_at)"
	    " VALUES (:id, (SELECT n FROM user WHERE id = :user), :name, :scope,"
	    " :projects, :created_at, :expires_at)",
	[Q_TOKEN_GET] =
	    "SELECT revoked_at FROM token WHERE id = :id",
	[Q_TOKEN_REVOKE] =
	    "UPDATE token SET revoked_at = :now WHERE id = :id",
	[Q_TOKEN_LIST] =
	    "SELECT t.id, u.id, t.name, t.scope, t.projects, t.created_at, t.expires_at,"
	    " t.last_used_at, t.revoked_at"
	    " FROM token t LEFT JOIN user u ON u.n = t.user ORDER BY t.n",
	[Q_TOKEN_USED] =
	    "UPDATE token SET last_used_at = :now WHERE id = :id",
};

/* A connection and its statements, prepared when first needed. */
struct conn {
	sqlite3 *db;
	sqlite3_stmt *st[Q__MAX];
};

struct accounts {
	char *path;         /* of server.db */
	char *lock_path;    /* of server.lock */
	struct fs_id file;  /* server.db as it was opened */
	struct conn rd;     /* query_only */
	struct conn wr;     /* open from the first write on */
	struct lock *lock;  /* likewise */
	int wal_pages;      /* in the WAL after the last commit of wr */
	bool broken;        /* a commit's outcome is unknown */
	char server_id[ID_MAX];
};

/* --- roles --- */

static const char *const roles[] = {
	[ROLE_NONE] = "none",
	[ROLE_READER] = "reader",
	[ROLE_WRITER] = "writer",
	[ROLE_OWNER] = "owner",
};

const char *
role_name(enum role r)
{
	return r >= ROLE_NONE && r <= ROLE_OWNER ? roles[r] : "none";
}

bool
role_find(struct span name, enum role *out)
{
	*out = ROLE_NONE;
	for (int r = ROLE_READER; r <= ROLE_OWNER; r++)
		if (span_is(name, roles[r])) {
			*out = (enum role)r;
			return true;
		}
	return false;
}

/* --- connections, statements, transactions --- */

static int64_t
now_s(void)
{
	return clock_now_us() / 1000000;
}

static void
conn_close(struct conn *c)
{
	for (int q = 0; q < Q__MAX; q++)
		sqlite3_finalize(c->st[q]);
	sqlite3_close(c->db);
	*c = (struct conn){ 0 };
}

/* The statement of a query, reset and without bindings. */
static enum rc
get(struct conn *c, enum query q, sqlite3_stmt **out, struct err *err)
{
	enum rc rc = RC_OK;

	if (c->st[q] == NULL)
		rc = db_prepare(c->db, queries[q], &c->st[q], err);
	*out = c->st[q];
	return rc;
}

/* Keep the number of pages in the WAL; an SQLite callback. */
static int
committed(void *ctx, sqlite3 *db, const char *name, int pages)
{
	struct accounts *a = ctx;

	(void)db;
	(void)name;
	a->wal_pages = pages;
	return SQLITE_OK;
}

/* Open the connection that writes; needs server.lock. */
static enum rc
open_writer(struct accounts *a, struct err *err)
{
	enum rc rc;

	if (a->wr.db != NULL)
		return RC_OK;
	rc = db_open(a->path, DB_SERVER, &a->wr.db, err);
	if (rc != RC_OK)
		return rc;
	sqlite3_wal_hook(a->wr.db, committed, a);
	return RC_OK;
}

static enum rc
take_lock(struct accounts *a, int64_t deadline_ms, struct err *err)
{
	enum rc rc = RC_OK;

	if (a->lock == NULL)
		rc = lock_open(a->lock_path, &a->lock, err);
	if (rc != RC_OK)
		return rc;
	rc = lock_take(a->lock, deadline_ms);
	if (rc == RC_BUSY)
		err_set(err, rc, "the accounts are being changed by others; try again");
	else if (rc != RC_OK)
		err_set(err, rc, "%s can't be locked", a->lock_path);
	return rc;
}

/* Begin a write; on RC_OK end it by finish(). */
static enum rc
begin_until(struct accounts *a, int64_t deadline_ms, struct err *err)
{
	enum rc rc = take_lock(a, deadline_ms, err);

	if (rc != RC_OK)
		return rc;
	rc = open_writer(a, err);
	if (rc == RC_OK)
		rc = db_exec(a->wr.db, "BEGIN IMMEDIATE", err);
	if (rc != RC_OK)
		lock_release(a->lock);
	return rc;
}

static enum rc
begin(struct accounts *a, struct err *err)
{
	return begin_until(a, clock_mono_ms() + LOCK_WAIT_MS, err);
}

/* Copy the WAL into the database when it has grown; needs server.lock. */
static void
checkpoint(struct accounts *a)
{
	int64_t page = 4096; /* db_open() leaves SQLite's default */

	if (a->wal_pages * page <= WAL_MAX_BYTES)
		return;
	/* Nothing depends on it: what is left waits for the next write. */
	sqlite3_wal_checkpoint_v2(a->wr.db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
}

/*
 * End a write: commit on RC_OK, else roll back; the lock is let go. Returns
 * rc, or what came of the commit. After a failed commit nobody knows what is
 * on the disk: the handle is given up.
 */
static enum rc
finish(struct accounts *a, enum rc rc, struct err *err)
{
	if (rc == RC_OK) {
		rc = db_exec(a->wr.db, "COMMIT", err);
		if (rc == RC_OK)
			checkpoint(a);
		else
			a->broken = true;
	}
	if (!sqlite3_get_autocommit(a->wr.db))
		db_exec(a->wr.db, "ROLLBACK", NULL);
	if (a->broken)
		conn_close(&a->wr);
	lock_release(a->lock);
	return rc;
}

/* --- values --- */

/* Copy a text column; what does not fit is cut. NULL gives "". */
static void
column(sqlite3_stmt *st, int col, char *out, size_t cap)
{
	struct span s = db_span(st, col);
	size_t n = s.len < cap ? s.len : cap - 1;

	if (n > 0)
		memcpy(out, s.p, n);
	out[n] = '\0';
}

static void
bind_str(sqlite3_stmt *st, const char *name, const char *s)
{
	db_bind_text(st, name, span_of(s));
}

/* A text that is kept in an array of max bytes and a NUL. */
static enum rc
check_text(const char *what, struct span s, size_t max, struct err *err)
{
	if (s.len > max)
		return err_set(err, RC_INVALID, "%s is too long: at most %zu bytes",
		    what, max);
	if (s.len > 0 && memchr(s.p, '\0', s.len) != NULL)
		return err_set(err, RC_INVALID, "%s holds a NUL character", what);
	return RC_OK;
}

/*
 * Step a bound statement for its one row. RC_OK: the row is there, db_reset()
 * when done with it. RC_NOT_FOUND: there is none, err is untouched.
 */
static enum rc
one_row(sqlite3_stmt *st, struct err *err)
{
	bool row = false;
	enum rc rc = db_step(st, &row, err);

	if (rc == RC_OK && row)
		return RC_OK;
	db_reset(st);
	return rc == RC_OK ? RC_NOT_FOUND : rc;
}

/* --- making and opening --- */

/* "DIR/NAME", to free(); NULL when out of memory. */
static char *
path_join(const char *dir, const char *name)
{
	struct buf b = { 0 };

	buf_addf(&b, "%s/%s", dir, name);
	if (buf_cstr(&b) == NULL)
		buf_free(&b);
	return b.p;
}

static enum rc
accounts_new(const char *data, struct accounts **out, struct err *err)
{
	struct accounts *a = calloc(1, sizeof(*a));

	*out = NULL;
	if (a != NULL) {
		a->path = path_join(data, "server.db");
		a->lock_path = path_join(data, "server.lock");
	}
	if (a == NULL || a->path == NULL || a->lock_path == NULL) {
		accounts_close(a);
		return err_set(err, RC_FAULT, "out of memory");
	}
	*out = a;
	return RC_OK;
}

void
accounts_close(struct accounts *a)
{
	if (a == NULL)
		return;
	conn_close(&a->wr);
	conn_close(&a->rd);
	lock_close(a->lock);
	free(a->lock_path);
	free(a->path);
	free(a);
}

/* The number that a statement without parameters gives; 0 for no row. */
static enum rc
number(sqlite3 *db, const char *sql, int64_t *out, struct err *err)
{
	sqlite3_stmt *st = NULL;
	bool row = false;
	enum rc rc = db_prepare(db, sql, &st, err);

	*out = 0;
	if (rc == RC_OK)
		rc = db_step(st, &row, err);
	if (rc == RC_OK && row)
		*out = sqlite3_column_int64(st, 0);
	sqlite3_finalize(st);
	return rc;
}

static enum rc
meta_get(struct conn *c, const char *key, char out[ID_MAX], struct err *err)
{
	sqlite3_stmt *st;
	enum rc rc = get(c, Q_META, &st, err);

	out[0] = '\0';
	if (rc != RC_OK)
		return rc;
	bind_str(st, ":key", key);
	rc = one_row(st, err);
	if (rc != RC_OK)
		return rc;
	column(st, 0, out, ID_MAX);
	db_reset(st);
	return RC_OK;
}

/* Whether the file is ours; RC_NOT_FOUND: accounts_create() was cut short. */
static enum rc
check_owner(struct accounts *a, struct err *err)
{
	int64_t application = 0, tables = 0;
	enum rc rc = number(a->rd.db, "PRAGMA application_id", &application, err);

	if (rc == RC_OK)
		rc = number(a->rd.db, "SELECT count(*) FROM sqlite_schema", &tables, err);
	if (rc != RC_OK || application == APPLICATION_ID)
		return rc;
	if (tables == 0)
		return err_set(err, RC_NOT_FOUND, "%s is empty: it was not made to its end",
		    a->path);
	return err_set(err, RC_UNAVAILABLE, "%s was not made by td-sync", a->path);
}

/* Whether the format is one that we know; reads the server's id. */
static enum rc
read_meta(struct accounts *a, struct err *err)
{
	char format[ID_MAX];
	enum rc rc;

	rc = meta_get(&a->rd, "format", format, err);
	if (rc == RC_OK && atoi(format) > FORMAT)
		return err_set(err, RC_UNAVAILABLE, "%s has format %d, made by a newer"
		    " td-sync; this one knows formats up to %d", a->path, atoi(format),
		    FORMAT);
	if (rc == RC_OK)
		rc = meta_get(&a->rd, "server_id", a->server_id, err);
	if (rc == RC_NOT_FOUND || (rc == RC_OK && atoi(format) < 1))
		return err_set(err, RC_UNAVAILABLE, "%s has no usable format or server id",
		    a->path);
	return rc;
}

enum rc
accounts_open(const char *data, struct accounts **out, struct err *err)
{
	struct accounts *a;
	struct stat st;
	enum rc rc = accounts_new(data, &a, err);

	*out = NULL;
	if (rc != RC_OK)
		return rc;
	/* An empty file is one that accounts_create() is about to fill. */
	if (stat(a->path, &st) != 0 || st.st_size == 0 ||
	    !fs_identify(a->path, &a->file))
		rc = err_set(err, RC_NOT_FOUND, "there is no server.db in %s", data);
	if (rc == RC_OK)
		rc = db_open(a->path, DB_SERVER, &a->rd.db, err);
	if (rc == RC_OK)
		rc = db_exec(a->rd.db, "PRAGMA query_only = ON", err);
	if (rc == RC_OK)
		rc = check_owner(a, err);
	if (rc == RC_OK)
		rc = read_meta(a, err);
	if (rc != RC_OK) {
		accounts_close(a);
		return rc;
	}
	*out = a;
	return RC_OK;
}

static enum rc
meta_add(struct conn *c, const char *key, const char *text, struct err *err)
{
	sqlite3_stmt *st;
	enum rc rc = get(c, Q_META_ADD, &st, err);

	if (rc != RC_OK)
		return rc;
	bind_str(st, ":key", key);
	bind_str(st, ":value", text);
	return db_run(st, err);
}

/* Fill an empty database; needs begin(). RC_CONFLICT: it is not empty. */
static enum rc
make_schema(struct accounts *a, struct err *err)
{
	char format[16], pragma[64], id[ID_MAX];
	int64_t tables = 0;
	enum rc rc;

	rc = number(a->wr.db, "SELECT count(*) FROM sqlite_schema", &tables, err);
	if (rc != RC_OK)
		return rc;
	if (tables > 0)
		return err_set(err, RC_CONFLICT, "there is a %s already", a->path);
	snprintf(format, sizeof(format), "%d", FORMAT);
	snprintf(pragma, sizeof(pragma), "PRAGMA application_id = %d", APPLICATION_ID);
	rc = id_new("srv_", 16, id);
	if (rc != RC_OK)
		return err_set(err, rc, "the system gives no random bytes");
	rc = db_exec(a->wr.db, schema, err);
	if (rc == RC_OK)
		rc = db_exec(a->wr.db, pragma, err);
	if (rc == RC_OK)
		rc = meta_add(&a->wr, "format", format, err);
	if (rc == RC_OK)
		rc = meta_add(&a->wr, "server_id", id, err);
	return rc;
}

/*
 * The file is there before its content is committed: a crash in between
 * leaves an empty database, which the next call fills.
 */
enum rc
accounts_create(const char *data, struct err *err)
{
	struct accounts *a;
	enum rc rc = accounts_new(data, &a, err);

	if (rc == RC_OK)
		rc = begin(a, err);
	if (rc == RC_OK)
		rc = finish(a, make_schema(a, err), err);
	accounts_close(a);
	return rc;
}

bool
accounts_stale(const struct accounts *a)
{
	struct fs_id now;

	return a->broken || !fs_identify(a->path, &now) || !fs_same(now, a->file);
}

const char *
accounts_server_id(const struct accounts *a)
{
	return a->server_id;
}

enum rc
accounts_ping(struct accounts *a, struct err *err)
{
	char format[ID_MAX];

	return meta_get(&a->rd, "format", format, err);
}

enum rc
accounts_prepare(struct accounts *a, struct err *err)
{
	sqlite3_stmt *st;
	enum rc rc = RC_OK;

	for (int q = 0; q < Q__MAX && rc == RC_OK; q++)
		rc = get(&a->rd, (enum query)q, &st, err);
	return rc;
}

/* --- users --- */

static void
read_user(sqlite3_stmt *st, struct user *out)
{
	*out = (struct user){ 0 };
	column(st, 0, out->id, sizeof(out->id));
	column(st, 1, out->email, sizeof(out->email));
	out->created_at = sqlite3_column_int64(st, 2);
}

/* The user that one of the two queries finds by :email or :id. */
static enum rc
find_user(struct conn *c, enum query q, const char *name, struct span value,
          struct user *out, struct err *err)
{
	sqlite3_stmt *st;
	enum rc rc = get(c, q, &st, err);

	*out = (struct user){ 0 };
	if (rc != RC_OK)
		return rc;
	db_bind_text(st, name, value);
	rc = one_row(st, err);
	if (rc == RC_NOT_FOUND)
		return err_set(err, rc, "user not found");
	if (rc != RC_OK)
		return rc;
	read_user(st, out);
	db_reset(st);
	return RC_OK;
}

enum rc
user_by_email(struct accounts *a, struct span email, struct user *out, struct err *err)
{
	return find_user(&a->rd, Q_USER_BY_EMAIL, ":email", email, out, err);
}

enum rc
user_by_id(struct accounts *a, const char *id, struct user *out, struct err *err)
{
	return find_user(&a->rd, Q_USER_BY_ID, ":id", span_of(id), out, err);
}

/* Insert a user whose address is free; needs begin(). */
static enum rc
insert_user(struct accounts *a, struct span email, struct user *out, struct err *err)
{
	sqlite3_stmt *st;
	char id[ID_MAX];
	enum rc rc = find_user(&a->wr, Q_USER_BY_EMAIL, ":email", email, out, err);

	if (rc == RC_OK)
		return err_set(err, RC_CONFLICT, "there is a user with that address already");
	if (rc != RC_NOT_FOUND)
		return rc;
	rc = id_new("u_", 8, id);
	if (rc == RC_OK)
		rc = get(&a->wr, Q_USER_ADD, &st, err);
	if (rc != RC_OK)
		return rc;
	bind_str(st, ":id", id);
	db_bind_text(st, ":email", email);
	db_bind_int(st, ":now", now_s());
	rc = db_run(st, err);
	if (rc != RC_OK)
		return rc;
	return find_user(&a->wr, Q_USER_BY_ID, ":id", span_of(id), out, err);
}

enum rc
user_add(struct accounts *a, struct span email, struct user *out, struct err *err)
{
	enum rc rc;

	*out = (struct user){ 0 };
	if (email.len == 0)
		return err_set(err, RC_INVALID, "email is required");
	rc = check_text("email", email, ACCOUNT_TEXT - 1, err);
	if (rc == RC_OK)
		rc = begin(a, err);
	if (rc != RC_OK)
		return rc;
	return finish(a, insert_user(a, email, out, err), err);
}

enum rc
user_list(struct accounts *a, user_visit *visit, void *ctx, struct err *err)
{
	struct user u;
	sqlite3_stmt *st;
	bool row = true;
	enum rc rc = get(&a->rd, Q_USER_LIST, &st, err);

	if (rc != RC_OK)
		return rc;
	while ((rc = db_step(st, &row, err)) == RC_OK && row) {
		read_user(st, &u);
		if ((rc = visit(ctx, &u)) != RC_OK)
			break;
	}
	db_reset(st);
	return rc;
}

/* --- projects --- */

enum rc
project_check(struct span name, struct span description, struct err *err)
{
	enum rc rc;

	if (name.len == 0)
		return err_set(err, RC_INVALID, "name is required");
	rc = check_text("name", name, PROJECT_NAME_MAX, err);
	if (rc == RC_OK)
		rc = check_text("description", description, PROJECT_DESCRIPTION_MAX, err);
	return rc;
}

static void
read_project(sqlite3_stmt *st, struct project *out)
{
	*out = (struct project){ 0 };
	column(st, 0, out->id, sizeof(out->id));
	column(st, 1, out->name, sizeof(out->name));
	column(st, 2, out->description, sizeof(out->description));
	column(st, 3, out->slug, sizeof(out->slug));
	out->created_at = sqlite3_column_int64(st, 4);
	out->updated_at = sqlite3_column_int64(st, 5);
	out->deleted_at = sqlite3_column_int64(st, 6);
}

/* The project that one of the two queries finds by :id or :slug. */
static enum rc
find_project(struct conn *c, enum query q, const char *name, struct span value,
             struct project *out, struct err *err)
{
	sqlite3_stmt *st;
	enum rc rc = get(c, q, &st, err);

	*out = (struct project){ 0 };
	if (rc != RC_OK)
		return rc;
	db_bind_text(st, name, value);
	rc = one_row(st, err);
	if (rc == RC_NOT_FOUND)
		return err_set(err, rc, "project not found");
	if (rc != RC_OK)
		return rc;
	read_project(st, out);
	db_reset(st);
	return RC_OK;
}

/* The same by id, and not deleted. */
static enum rc
find_live_project(struct conn *c, const char *id, struct project *out, struct err *err)
{
	enum rc rc = find_project(c, Q_PROJECT_BY_ID, ":id", span_of(id), out, err);

	if (rc == RC_OK && out->deleted_at != 0)
		rc = err_set(err, RC_NOT_FOUND, "project not found");
	return rc;
}

enum rc
project_get(struct accounts *a, const char *id, struct project *out, struct err *err)
{
	return find_project(&a->rd, Q_PROJECT_BY_ID, ":id", span_of(id), out, err);
}

enum rc
project_by_slug(struct accounts *a, struct span slug, struct project *out,
                struct err *err)
{
	return find_project(&a->rd, Q_PROJECT_BY_SLUG, ":slug", slug, out, err);
}

/*
 * The slug of a name, without regard to others (protocol.md section 2): ASCII
 * letters in lower case and digits stay, runs of anything else become '-',
 * none at the ends.
 */
static void
slug_of(struct span name, char out[PROJECT_NAME_MAX + 1])
{
	size_t n = 0;
	bool gap = false;

	for (size_t i = 0; i < name.len; i++) {
		char c = name.p[i];

		if (c >= 'A' && c <= 'Z')
			c = (char)(c - 'A' + 'a');
		if ((c < 'a' || c > 'z') && (c < '0' || c > '9')) {
			gap = true;
			continue;
		}
		if (gap && n > 0)
			out[n++] = '-';
		gap = false;
		out[n++] = c;
	}
	out[n] = '\0';
}

/* The first of SLUG, SLUG-2, SLUG-3 … that nobody has; the id for none. */
static enum rc
free_slug(struct accounts *a, const char *id, struct span name,
          char out[PROJECT_NAME_MAX + 33], struct err *err)
{
	char base[PROJECT_NAME_MAX + 1];
	struct project p;
	enum rc rc = RC_OK;

	slug_of(name, base);
	if (base[0] == '\0') {
		snprintf(out, ID_MAX, "%s", id);
		return RC_OK;
	}
	snprintf(out, PROJECT_NAME_MAX + 33, "%s", base);
	for (unsigned i = 2; rc == RC_OK; i++) {
		rc = find_project(&a->wr, Q_PROJECT_BY_SLUG, ":slug", span_of(out), &p,
		    err);
		if (rc == RC_OK)
			snprintf(out, PROJECT_NAME_MAX + 33, "%s-%u", base, i);
	}
	return rc == RC_NOT_FOUND ? RC_OK : rc;
}

/* Insert a membership; needs begin(), and all three to be there. */
static enum rc
insert_member(struct accounts *a, const char *project_id, const char *user_id,
              enum role role, const char *invited_by, struct err *err)
{
	sqlite3_stmt *st;
	enum rc rc = get(&a->wr, Q_MEMBER_ADD, &st, err);

	if (rc != RC_OK)
		return rc;
	bind_str(st, ":project", project_id);
	bind_str(st, ":user", user_id);
	bind_str(st, ":by", invited_by == NULL ? "" : invited_by);
	db_bind_int(st, ":role", role);
	db_bind_int(st, ":now", now_s());
	return db_run(st, err);
}

/* Insert a checked project and its owner; needs begin(). */
static enum rc
insert_project(struct accounts *a, const char *id, struct span name,
               struct span description, const char *owner_id,
               struct project *out, struct err *err)
{
	char slug[PROJECT_NAME_MAX + 33];
	struct user owner;
	sqlite3_stmt *st;
	enum rc rc;

	rc = find_user(&a->wr, Q_USER_BY_ID, ":id", span_of(owner_id), &owner, err);
	if (rc == RC_OK)
		rc = free_slug(a, id, name, slug, err);
	if (rc == RC_OK)
		rc = get(&a->wr, Q_PROJECT_ADD, &st, err);
	if (rc != RC_OK)
		return rc;
	bind_str(st, ":id", id);
	db_bind_text(st, ":name", name);
	db_bind_text(st, ":description", description);
	bind_str(st, ":slug", slug);
	db_bind_int(st, ":now", now_s());
	rc = db_run(st, err);
	if (rc == RC_OK)
		rc = insert_member(a, id, owner_id, ROLE_OWNER, "", err);
	if (rc == RC_OK)
		rc = find_live_project(&a->wr, id, out, err);
	return rc;
}

enum rc
project_add(struct accounts *a, const char *id, struct span name,
            struct span description, const char *owner_id,
            struct project *out, struct err *err)
{
	enum rc rc = project_check(name, description, err);

	*out = (struct project){ 0 };
	if (rc == RC_OK)
		rc = begin(a, err);
	if (rc != RC_OK)
		return rc;
	return finish(a, insert_project(a, id, name, description, owner_id, out, err),
	    err);
}

/* Change a live project; needs begin(). */
static enum rc
update_project(struct accounts *a, const char *id, const struct span *name,
               const struct span *description, struct project *out,
               struct err *err)
{
	sqlite3_stmt *st;
	enum rc rc = find_live_project(&a->wr, id, out, err);

	if (rc != RC_OK || (name == NULL && description == NULL))
		return rc;
	rc = get(&a->wr, Q_PROJECT_CHANGE, &st, err);
	if (rc != RC_OK)
		return rc;
	bind_str(st, ":id", id);
	db_bind_text(st, ":name", name != NULL ? *name : span_of(out->name));
	db_bind_text(st, ":description",
	    description != NULL ? *description : span_of(out->description));
	db_bind_int(st, ":now", now_s());
	rc = db_run(st, err);
	if (rc == RC_OK)
		rc = find_live_project(&a->wr, id, out, err);
	return rc;
}

enum rc
project_change(struct accounts *a, const char *id, const struct span *name,
               const struct span *description, struct project *out,
               struct err *err)
{
	static const struct span any = { "x", 1 };
	enum rc rc;

	*out = (struct project){ 0 };
	if (name != NULL && name->len == 0)
		return err_set(err, RC_INVALID, "name cannot be empty");
	rc = project_check(name != NULL ? *name : any,
	    description != NULL ? *description : any, err);
	if (rc == RC_OK)
		rc = begin(a, err);
	if (rc != RC_OK)
		return rc;
	return finish(a, update_project(a, id, name, description, out, err), err);
}

/* Mark a live project; needs begin(). */
static enum rc
mark_deleted(struct accounts *a, const char *id, struct err *err)
{
	struct project p;
	sqlite3_stmt *st;
	enum rc rc = find_live_project(&a->wr, id, &p, err);

	if (rc == RC_OK)
		rc = get(&a->wr, Q_PROJECT_DELETE, &st, err);
	if (rc != RC_OK)
		return rc;
	bind_str(st, ":id", id);
	db_bind_int(st, ":now", now_s());
	return db_run(st, err);
}

enum rc
project_delete(struct accounts *a, const char *id, struct err *err)
{
	enum rc rc = begin(a, err);

	return rc != RC_OK ? rc : finish(a, mark_deleted(a, id, err), err);
}

enum rc
project_list(struct accounts *a, const char *user_id, project_visit *visit,
             void *ctx, struct err *err)
{
	struct project p;
	sqlite3_stmt *st;
	bool row = true;
	enum rc rc;

	rc = get(&a->rd, user_id == NULL ? Q_PROJECT_LIST : Q_PROJECT_LIST_OF, &st, err);
	if (rc != RC_OK)
		return rc;
	if (user_id != NULL)
		bind_str(st, ":user", user_id);
	while ((rc = db_step(st, &row, err)) == RC_OK && row) {
		read_project(st, &p);
		if ((rc = visit(ctx, &p)) != RC_OK)
			break;
	}
	db_reset(st);
	return rc;
}

/* --- members --- */

static void
read_member(sqlite3_stmt *st, struct member *out)
{
	*out = (struct member){ 0 };
	column(st, 0, out->project_id, sizeof(out->project_id));
	column(st, 1, out->user_id, sizeof(out->user_id));
	column(st, 2, out->invited_by, sizeof(out->invited_by));
	column(st, 3, out->email, sizeof(out->email));
	out->role = (enum role)sqlite3_column_int(st, 4);
	out->created_at = sqlite3_column_int64(st, 5);
}

static enum rc
find_member(struct conn *c, const char *project_id, const char *user_id,
            struct member *out, struct err *err)
{
	sqlite3_stmt *st;
	enum rc rc = get(c, Q_MEMBER_GET, &st, err);

	*out = (struct member){ 0 };
	if (rc != RC_OK)
		return rc;
	bind_str(st, ":project", project_id);
	bind_str(st, ":user", user_id);
	rc = one_row(st, err);
	if (rc == RC_NOT_FOUND)
		return err_set(err, rc, "member not found");
	if (rc != RC_OK)
		return rc;
	read_member(st, out);
	db_reset(st);
	return RC_OK;
}

enum rc
member_get(struct accounts *a, const char *project_id, const char *user_id,
           struct member *out, struct err *err)
{
	return find_member(&a->rd, project_id, user_id, out, err);
}

/* Add who is not a member yet; needs begin(). */
static enum rc
join_member(struct accounts *a, const char *project_id, const char *user_id,
            enum role role, const char *invited_by, struct member *out,
            struct err *err)
{
	struct project p;
	struct user u;
	enum rc rc = find_live_project(&a->wr, project_id, &p, err);

	if (rc == RC_OK)
		rc = find_user(&a->wr, Q_USER_BY_ID, ":id", span_of(user_id), &u, err);
	if (rc != RC_OK)
		return rc;
	rc = find_member(&a->wr, project_id, user_id, out, err);
	if (rc == RC_OK)
		return err_set(err, RC_CONFLICT, "already a member");
	if (rc != RC_NOT_FOUND)
		return rc;
	rc = insert_member(a, project_id, user_id, role, invited_by, err);
	if (rc == RC_OK)
		rc = find_member(&a->wr, project_id, user_id, out, err);
	return rc;
}

enum rc
member_add(struct accounts *a, const char *project_id, const char *user_id,
           enum role role, const char *invited_by, struct member *out,
           struct err *err)
{
	enum rc rc;

	assert(role != ROLE_NONE);
	*out = (struct member){ 0 };
	rc = begin(a, err);
	if (rc == RC_OK)
		rc = finish(a, join_member(a, project_id, user_id, role, invited_by, out,
		    err), err);
	if (rc != RC_OK)
		*out = (struct member){ 0 };
	return rc;
}

/* Whether the project keeps an owner without this user; needs begin(). */
static enum rc
check_other_owner(struct accounts *a, const char *project_id, const char *user_id,
                  struct err *err)
{
	sqlite3_stmt *st;
	enum rc rc = get(&a->wr, Q_OTHER_OWNER, &st, err);

	if (rc != RC_OK)
		return rc;
	bind_str(st, ":project", project_id);
	bind_str(st, ":user", user_id);
	rc = one_row(st, err);
	if (rc == RC_NOT_FOUND)
		return err_set(err, RC_LAST_OWNER,
		    "a project must always have at least one owner");
	db_reset(st);
	return rc;
}

/* Give a member another role, ROLE_NONE: remove him; needs begin(). */
static enum rc
set_role(struct accounts *a, const char *project_id, const char *user_id,
         enum role role, struct err *err)
{
	struct member m;
	sqlite3_stmt *st;
	enum rc rc = find_member(&a->wr, project_id, user_id, &m, err);

	if (rc == RC_OK && m.role == ROLE_OWNER && role != ROLE_OWNER)
		rc = check_other_owner(a, project_id, user_id, err);
	if (rc == RC_OK)
		rc = get(&a->wr, role == ROLE_NONE ? Q_MEMBER_REMOVE : Q_MEMBER_CHANGE,
		    &st, err);
	if (rc != RC_OK)
		return rc;
	bind_str(st, ":project", project_id);
	bind_str(st, ":user", user_id);
	if (role != ROLE_NONE)
		db_bind_int(st, ":role", role);
	return db_run(st, err);
}

enum rc
member_change(struct accounts *a, const char *project_id, const char *user_id,
              enum role role, struct err *err)
{
	enum rc rc;

	assert(role != ROLE_NONE);
	rc = begin(a, err);
	return rc != RC_OK ? rc : finish(a, set_role(a, project_id, user_id, role, err),
	    err);
}

enum rc
member_remove(struct accounts *a, const char *project_id, const char *user_id,
              struct err *err)
{
	enum rc rc = begin(a, err);

	return rc != RC_OK ? rc : finish(a, set_role(a, project_id, user_id, ROLE_NONE,
	    err), err);
}

enum rc
member_list(struct accounts *a, const char *project_id, member_visit *visit,
            void *ctx, struct err *err)
{
	struct member m;
	sqlite3_stmt *st;
	bool row = true;
	enum rc rc = get(&a->rd, Q_MEMBER_LIST, &st, err);

	if (rc != RC_OK)
		return rc;
	bind_str(st, ":project", project_id);
	while ((rc = db_step(st, &row, err)) == RC_OK && row) {
		read_member(st, &m);
		if ((rc = visit(ctx, &m)) != RC_OK)
			break;
	}
	db_reset(st);
	return rc;
}

/* --- access --- */

enum rc
access_get(struct accounts *a, const char *token_id, const char *user_id,
           const char *project_id, struct access *out, struct err *err)
{
	sqlite3_stmt *st;
	enum rc rc = get(&a->rd, Q_ACCESS, &st, err);

	*out = (struct access){ 0 };
	if (rc != RC_OK)
		return rc;
	bind_str(st, ":token", token_id);
	bind_str(st, ":user", user_id);
	if (project_id != NULL)
		bind_str(st, ":project", project_id);
	rc = one_row(st, err);
	if (rc == RC_NOT_FOUND)
		return err_set(err, RC_FAULT, "the query for access gave no row");
	if (rc != RC_OK)
		return rc;
	out->token_known = sqlite3_column_int(st, 0) != 0;
	out->token_revoked_at = sqlite3_column_int64(st, 1);
	out->token_expires_at = sqlite3_column_int64(st, 2);
	out->token_last_used_at = sqlite3_column_int64(st, 3);
	out->user_known = sqlite3_column_int(st, 4) != 0;
	out->project_known = sqlite3_column_int(st, 5) != 0;
	out->project_deleted = sqlite3_column_int64(st, 6) != 0;
	out->role = (enum role)sqlite3_column_int(st, 7);
	db_reset(st);
	return RC_OK;
}

/* --- tokens --- */

/* Record a token; needs begin(). */
static enum rc
insert_token(struct accounts *a, const struct token_row *t, struct err *err)
{
	struct user u;
	sqlite3_stmt *st;
	enum rc rc = RC_OK;

	if (t->user_id[0] != '\0')
		rc = find_user(&a->wr, Q_USER_BY_ID, ":id", span_of(t->user_id), &u, err);
	if (rc == RC_OK)
		rc = get(&a->wr, Q_TOKEN_ADD, &st, err);
	if (rc != RC_OK)
		return rc;
	bind_str(st, ":id", t->id);
	bind_str(st, ":user", t->user_id);
	bind_str(st, ":name", t->name);
	bind_str(st, ":scope", t->scope);
	bind_str(st, ":projects", t->projects);
	db_bind_int(st, ":created_at", t->created_at);
	db_bind_int(st, ":expires_at", t->expires_at);
	return db_run(st, err);
}

enum rc
token_add(struct accounts *a, const struct token_row *t, struct err *err)
{
	enum rc rc = begin(a, err);

	return rc != RC_OK ? rc : finish(a, insert_token(a, t, err), err);
}

/* Stamp a token with now by one of the two updates; needs begin(). */
static enum rc
stamp_token(struct accounts *a, enum query q, const char *id, struct err *err)
{
	sqlite3_stmt *st;
	enum rc rc = get(&a->wr, q, &st, err);

	if (rc != RC_OK)
		return rc;
	bind_str(st, ":id", id);
	db_bind_int(st, ":now", now_s());
	return db_run(st, err);
}

/* Revoke a token that is not; needs begin(). */
static enum rc
mark_revoked(struct accounts *a, const char *id, struct err *err)
{
	sqlite3_stmt *st;
	int64_t revoked_at;
	enum rc rc = get(&a->wr, Q_TOKEN_GET, &st, err);

	if (rc != RC_OK)
		return rc;
	bind_str(st, ":id", id);
	rc = one_row(st, err);
	if (rc == RC_NOT_FOUND)
		return err_set(err, rc, "token not found");
	if (rc != RC_OK)
		return rc;
	revoked_at = sqlite3_column_int64(st, 0);
	db_reset(st);
	if (revoked_at != 0)
		return err_set(err, RC_CONFLICT, "the token is revoked already");
	return stamp_token(a, Q_TOKEN_REVOKE, id, err);
}

enum rc
token_revoke(struct accounts *a, const char *id, struct err *err)
{
	enum rc rc = begin(a, err);

	return rc != RC_OK ? rc : finish(a, mark_revoked(a, id, err), err);
}

static void
read_token(sqlite3_stmt *st, struct token_row *out)
{
	*out = (struct token_row){ 0 };
	column(st, 0, out->id, sizeof(out->id));
	column(st, 1, out->user_id, sizeof(out->user_id));
	column(st, 2, out->name, sizeof(out->name));
	column(st, 3, out->scope, sizeof(out->scope));
	column(st, 4, out->projects, sizeof(out->projects));
	out->created_at = sqlite3_column_int64(st, 5);
	out->expires_at = sqlite3_column_int64(st, 6);
	out->last_used_at = sqlite3_column_int64(st, 7);
	out->revoked_at = sqlite3_column_int64(st, 8);
}

enum rc
token_list(struct accounts *a, token_visit *visit, void *ctx, struct err *err)
{
	struct token_row t;
	sqlite3_stmt *st;
	bool row = true;
	enum rc rc = get(&a->rd, Q_TOKEN_LIST, &st, err);

	if (rc != RC_OK)
		return rc;
	while ((rc = db_step(st, &row, err)) == RC_OK && row) {
		read_token(st, &t);
		if ((rc = visit(ctx, &t)) != RC_OK)
			break;
	}
	db_reset(st);
	return rc;
}

void
token_used(struct accounts *a, const char *id, int64_t last_used_at)
{
	int64_t since = now_s() - last_used_at;

	if (since >= 0 && since < USED_EVERY)
		return;
	if (begin_until(a, 0, NULL) == RC_OK)
		finish(a, stamp_token(a, Q_TOKEN_USED, id, NULL), NULL);
}
