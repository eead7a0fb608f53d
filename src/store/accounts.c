/*
 * server.db, see accounts.h.
 *
 * Two connections: one that only reads (query_only), and one that is opened
 * at the first write. A write holds server.lock from BEGIN IMMEDIATE until
 * after COMMIT, and until the checkpoint that may follow: commits and
 * checkpoints of different processes must not meet (platform.md 4.1).
 */
#include "store/accounts_int.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* The format this code reads and writes; kept in meta. */
#define FORMAT 3

/* "tdsA": whose file it is, in SQLite's header. */
#define APPLICATION_ID 0x74647341

/* A WAL above this is checkpointed after a write. */
#define WAL_MAX_BYTES (4 << 20)

/* So many answers of access_get() are known again: 50 kB. */
#define KNOWN 256

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

/* What each format has beside the one before it: [1] makes 2 of 1, and so on. A new
 * server.db is made of `schema` and of all these. */
static const char *const additions[FORMAT] = {
	[1] =
	"ALTER TABLE project ADD COLUMN public INTEGER NOT NULL DEFAULT 0;" /* 1: all may read */
	"ALTER TABLE project ADD COLUMN purged_at INTEGER NOT NULL DEFAULT 0;" /* its files went */
	"ALTER TABLE token ADD COLUMN link INTEGER REFERENCES project (n);" /* a share link's */
	"ALTER TABLE token ADD COLUMN made_by INTEGER REFERENCES user (n);" /* who shared it */
	"CREATE INDEX token_user ON token (user) WHERE user IS NOT NULL;"
	"CREATE INDEX token_link ON token (link) WHERE link IS NOT NULL;"
	"CREATE INDEX token_made_by ON token (made_by) WHERE made_by IS NOT NULL;"
	"CREATE INDEX member_invited_by ON member (invited_by) WHERE invited_by IS NOT NULL;"
	"CREATE TABLE invitation ("
	"  n INTEGER PRIMARY KEY,"
	"  id TEXT NOT NULL UNIQUE,"   /* inv_ + 16 hex */
	"  project INTEGER NOT NULL REFERENCES project (n),"
	"  email TEXT NOT NULL COLLATE NOCASE," /* in lower case */
	"  role INTEGER NOT NULL CHECK (role BETWEEN 1 AND 3),"
	"  invited_by TEXT NOT NULL,"  /* a user's id */
	"  status INTEGER NOT NULL DEFAULT 0," /* enum invitation_status */
	"  created_at INTEGER NOT NULL,"
	"  expires_at INTEGER NOT NULL,"
	"  accepted_at INTEGER NOT NULL DEFAULT 0"
	");"
	"CREATE INDEX invitation_project ON invitation (project);"
	"CREATE INDEX invitation_email ON invitation (email);"
	/* Logins in progress: of secrets only the SHA-256. */
	"CREATE TABLE login ("
	"  n INTEGER PRIMARY KEY,"
	"  code BLOB NOT NULL UNIQUE," /* of the code that the device polls with */
	"  email TEXT NOT NULL COLLATE NOCASE,"
	"  selector TEXT UNIQUE,"      /* the first half of a mailed link; NULL: by code */
	"  secret BLOB,"               /* of its second half */
	"  challenge TEXT,"            /* PKCE, S256 */
	"  user_code TEXT UNIQUE,"     /* what a person types in; NULL: by link */
	"  device TEXT NOT NULL,"      /* what it calls itself */
	"  address TEXT NOT NULL,"     /* where it asked from */
	"  created_at INTEGER NOT NULL,"
	"  expires_at INTEGER NOT NULL,"
	"  verified_at INTEGER NOT NULL DEFAULT 0,"
	"  issued_at INTEGER NOT NULL DEFAULT 0"
	");"
	"CREATE INDEX login_email ON login (email, created_at);"
	"CREATE INDEX login_expires ON login (expires_at);"
	/* Who did what, from where; ids stay when what they name has gone. */
	"CREATE TABLE audit ("
	"  n INTEGER PRIMARY KEY,"
	"  at INTEGER NOT NULL,"
	"  user TEXT NOT NULL,"        /* who did it; \"\": the operator, or nobody known */
	"  token TEXT NOT NULL,"       /* by which token; \"\": by none */
	"  address TEXT NOT NULL,"     /* from where; \"\": this machine's command line */
	"  action TEXT NOT NULL,"      /* as \"token.create\" */
	"  project TEXT NOT NULL,"     /* in which project; \"\": in none */
	"  subject TEXT NOT NULL,"     /* to what or whom: an id */
	"  detail TEXT NOT NULL"       /* a few words; never a secret */
	");"
	"CREATE INDEX audit_at ON audit (at);",
	[2] =
	"ALTER TABLE token ADD COLUMN key BLOB;" /* of an opaque key the SHA-256; NULL: a JWT */
	"CREATE UNIQUE INDEX token_key ON token (key) WHERE key IS NOT NULL;",
};

/* The way back, [1] from 2 to 1: what is there that has no place in the format before,
 * and what takes the rest away. (Logins in progress begin anew.) */
static const struct {
	const char *more;    /* says in its first row what that is; no row: nothing */
	const char *removal;
} removals[FORMAT] = {
	[1] = {
	"SELECT 'the project ' || slug || ' is public' FROM project WHERE public != 0"
	" UNION ALL SELECT 'the project ' || slug || ' was purged' FROM project"
	"  WHERE purged_at != 0"
	" UNION ALL SELECT 'there is the share link ' || id FROM token"
	"  WHERE link IS NOT NULL OR made_by IS NOT NULL"
	" UNION ALL SELECT 'there is the invitation ' || id FROM invitation"
	" UNION ALL SELECT 'there is the audit log' FROM audit",
	"DROP INDEX token_user;"
	"DROP INDEX token_link;"
	"DROP INDEX token_made_by;"
	"DROP INDEX member_invited_by;"
	"DROP TABLE invitation;"
	"DROP TABLE login;"
	"DROP TABLE audit;"
	"ALTER TABLE token DROP COLUMN made_by;"
	"ALTER TABLE token DROP COLUMN link;"
	"ALTER TABLE project DROP COLUMN purged_at;"
	"ALTER TABLE project DROP COLUMN public;" },
	[2] = {
	"SELECT 'the token ' || id || ' is a key' FROM token WHERE key IS NOT NULL",
	"DROP INDEX token_key;"
	"ALTER TABLE token DROP COLUMN key;" },
};

#define TOKEN_SELECT \
	"SELECT t.id, u.id, t.name, t.scope, t.projects, t.created_at, t.expires_at," \
	" t.last_used_at, t.revoked_at, l.id, b.id" \
	" FROM token t LEFT JOIN user u ON u.n = t.user" \
	" LEFT JOIN project l ON l.n = t.link LEFT JOIN user b ON b.n = t.made_by"
#define INVITATION_SELECT \
	"SELECT i.id, p.id, i.email, i.role, i.invited_by, i.status, i.created_at," \
	" i.expires_at, i.accepted_at FROM invitation i JOIN project p ON p.n = i.project"
#define LOGIN_SELECT \
	"SELECT n, email, secret, challenge, device, address, created_at, expires_at," \
	" verified_at, issued_at FROM login"

static const char *const queries[Q__MAX] = {
	[Q_META] =
	    "SELECT value FROM meta WHERE key = :key",
	[Q_META_ADD] =
	    "INSERT INTO meta (key, value) VALUES (:key, :value)",

	[Q_META_SET] =
	    "INSERT INTO meta (key, value) VALUES (:key, :value)"
	    " ON CONFLICT (key) DO UPDATE SET value = excluded.value",

	/* Another number once somebody else has committed something. */
	[Q_VERSION] =
	    "PRAGMA data_version",

	/* One row always. A user who is not the token's counts as unknown. */
	[Q_ACCESS] =
	    "SELECT t.n IS NOT NULL, t.revoked_at, t.expires_at, t.last_used_at,"
	    " t.n IS NOT NULL AND t.user IS u.n AND (u.n IS NOT NULL OR :user = ''),"
	    " p.n IS NOT NULL, p.deleted_at, m.role, p.public"
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
	/* What refers to a user, before he goes. */
	[Q_USER_FORGET_TOKENS] =
	    "DELETE FROM token WHERE user = (SELECT n FROM user WHERE id = :id)",
	[Q_USER_FORGET_LINKS] =
	    "UPDATE token SET made_by = NULL,"
	    " revoked_at = CASE revoked_at WHEN 0 THEN unixepoch() ELSE revoked_at END"
	    " WHERE made_by = (SELECT n FROM user WHERE id = :id)",
	[Q_USER_FORGET_INVITED] =
	    "UPDATE member SET invited_by = NULL"
	    " WHERE invited_by = (SELECT n FROM user WHERE id = :id)",
	[Q_USER_FORGET_MEMBER] =
	    "DELETE FROM member WHERE user = (SELECT n FROM user WHERE id = :id)",
	[Q_USER_FORGET_LOGINS] =
	    "DELETE FROM login WHERE email = (SELECT email FROM user WHERE id = :id)",
	[Q_USER_REMOVE] =
	    "DELETE FROM user WHERE id = :id",
	/* A live project that would have no owner without him. */
	[Q_USER_SOLE_OWNER] =
	    "SELECT p.id FROM user u JOIN member m ON m.user = u.n AND m.role = 3"
	    " JOIN project p ON p.n = m.project AND p.deleted_at = 0"
	    " WHERE u.id = :id AND NOT EXISTS (SELECT 1 FROM member o"
	    "  WHERE o.project = p.n AND o.role = 3 AND o.user <> u.n) LIMIT 1",

	[Q_PROJECT_ADD] =
	    "INSERT INTO project (id, name, description, slug, created_at, updated_at)"
	    " VALUES (:id, :name, :description, :slug, :now, :now)",
	[Q_PROJECT_BY_ID] =
	    "SELECT id, name, description, slug, created_at, updated_at, deleted_at, public, purged_at"
	    " FROM project WHERE id = :id",
	[Q_PROJECT_BY_SLUG] =
	    "SELECT id, name, description, slug, created_at, updated_at, deleted_at, public, purged_at"
	    " FROM project WHERE slug = :slug",
	[Q_PROJECT_CHANGE] =
	    "UPDATE project SET name = :name, description = :description,"
	    " updated_at = :now WHERE id = :id",
	[Q_PROJECT_DELETE] =
	    "UPDATE project SET deleted_at = :now, updated_at = :now WHERE id = :id",
	[Q_PROJECT_PUBLIC] =
	    "UPDATE project SET public = :public, updated_at = :now WHERE id = :id",
	[Q_PROJECT_PURGED] =
	    "UPDATE project SET purged_at = :now, public = 0 WHERE id = :id",
	[Q_PROJECT_LIST] =
	    "SELECT id, name, description, slug, created_at, updated_at, deleted_at, public, purged_at"
	    " FROM project ORDER BY n",
	[Q_PROJECT_LIST_OF] =
	    "SELECT p.id, p.name, p.description, p.slug, p.created_at, p.updated_at,"
	    " p.deleted_at, p.public, p.purged_at"
	    " FROM user u JOIN member m ON m.user = u.n JOIN project p ON p.n = m.project"
	    " WHERE u.id = :user AND p.deleted_at = 0 ORDER BY p.n",
	[Q_PROJECT_OWNED] =
	    "SELECT count(*)"
	    " FROM user u JOIN member m ON m.user = u.n JOIN project p ON p.n = m.project"
	    " WHERE u.id = :user AND m.role = 3 AND p.deleted_at = 0",

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
	    "INSERT INTO token (id, user, name, scope, projects, created_at, expires_at,"
	    " link, made_by)"
	    " VALUES (:id, (SELECT n FROM user WHERE id = :user), :name, :scope,"
	    " :projects, :created_at, :expires_at, (SELECT n FROM project WHERE id = :link),"
	    " (SELECT n FROM user WHERE id = :made_by))",
	[Q_TOKEN_GET] =
	    TOKEN_SELECT " WHERE t.id = :id",
	[Q_TOKEN_BY_KEY] =
	    TOKEN_SELECT " WHERE t.key = :key",
	[Q_TOKEN_KEY] =
	    "SELECT key FROM token WHERE id = :id",
	[Q_TOKEN_REVOKE] =
	    "UPDATE token SET revoked_at = :now WHERE id = :id",
	[Q_TOKEN_LIST] =
	    TOKEN_SELECT " ORDER BY t.n",
	[Q_TOKEN_LIST_OF] =
	    TOKEN_SELECT " WHERE u.id = :user ORDER BY t.n",
	[Q_TOKEN_LINKS] =
	    TOKEN_SELECT " WHERE l.id = :project ORDER BY t.n",
	[Q_TOKEN_REVOKE_LINKS] =
	    "UPDATE token SET revoked_at = :now WHERE revoked_at = 0"
	    " AND made_by = (SELECT n FROM user WHERE id = :user)"
	    " AND link = (SELECT n FROM project WHERE id = :project)",
	[Q_TOKEN_USED] =
	    "UPDATE token SET last_used_at = :now WHERE id = :id",

	/* One that is unknown lets nobody in, either. */
	[Q_TOKEN_CLEAN] =
	    "DELETE FROM token WHERE expires_at < :before"
	    " OR (revoked_at <> 0 AND revoked_at < :before)",

	[Q_INVITATION_ADD] =
	    "INSERT INTO invitation (id, project, email, role, invited_by, created_at,"
	    " expires_at) SELECT :id, n, :email, :role, :by, :now, :expires"
	    " FROM project WHERE id = :project",
	[Q_INVITATION_GET] =
	    INVITATION_SELECT " WHERE i.id = :id AND p.deleted_at = 0",
	[Q_INVITATION_LIST] =
	    INVITATION_SELECT " WHERE p.id = :project ORDER BY i.n DESC",
	[Q_INVITATION_WAITING] =
	    "SELECT count(*) FROM invitation WHERE email = :email AND status = 0"
	    " AND project = (SELECT n FROM project WHERE id = :project)",
	/* Those of an address that wait. */
	[Q_INVITATION_LIST_OF] =
	    INVITATION_SELECT " WHERE i.email = :email AND i.status = 0"
	    " AND i.expires_at > :now AND p.deleted_at = 0"
	    " AND (i.invited_by = '' OR EXISTS (SELECT 1 FROM user w JOIN member m ON m.user = w.n"
	    "  WHERE w.id = i.invited_by AND m.project = i.project AND m.role = 3))"
	    " ORDER BY i.n DESC LIMIT 1000",
	[Q_INVITATION_STATUS] =
	    "UPDATE invitation SET status = :status, accepted_at = :accepted WHERE id = :id",
	[Q_INVITATION_CLEAN] =
	    "DELETE FROM invitation WHERE expires_at < :before",
	[Q_INVITATION_REMOVE] =
	    "DELETE FROM invitation WHERE id = :id",

	[Q_LOGIN_ADD] =
	    "INSERT INTO login (code, email, selector, secret, challenge, user_code, device,"
	    " address, created_at, expires_at) VALUES (:code, :email, :selector, :secret,"
	    " :challenge, :user_code, :device, :address, :now, :expires)",
	[Q_LOGIN_SINCE] =
	    "SELECT 1 FROM login WHERE email = :email AND selector IS NOT NULL"
	    " AND created_at > :since AND created_at <= :now LIMIT 1",
	[Q_LOGIN_BY_CODE] =
	    LOGIN_SELECT " WHERE code = :code",
	[Q_LOGIN_BY_SELECTOR] =
	    LOGIN_SELECT " WHERE selector = :selector",
	[Q_LOGIN_BY_USER_CODE] =
	    LOGIN_SELECT " WHERE user_code = :user_code",
	[Q_LOGIN_VERIFIED] =
	    "UPDATE login SET verified_at = :now WHERE n = :n AND verified_at = 0"
	    " AND expires_at > :now",
	[Q_LOGIN_ISSUED] =
	    "UPDATE login SET issued_at = :now WHERE n = :n AND issued_at = 0"
	    " AND verified_at <> 0",
	[Q_LOGIN_REMOVE] =
	    "DELETE FROM login WHERE code = :code",
	[Q_LOGIN_CLEAN] =
	    "DELETE FROM login WHERE expires_at <= :before",

	/* Rows of another server, with the ids and times that they have there. */
	[Q_IMPORT_USER] =
	    "INSERT INTO user (id, email, created_at) VALUES (:id, :email, :created_at)",
	[Q_IMPORT_KEY] =
	    "INSERT INTO token (id, user, name, scope, projects, created_at, expires_at,"
	    " last_used_at, key) VALUES (:id, (SELECT n FROM user WHERE id = :user), :name,"
	    " :scope, :projects, :created_at, :expires_at, :last_used_at, :key)",
	[Q_IMPORT_PROJECT] =
	    "INSERT INTO project (id, name, description, slug, created_at, updated_at,"
	    " deleted_at) VALUES (:id, :name, :description, :slug, :created_at, :updated_at,"
	    " :deleted_at)",
	[Q_IMPORT_MEMBER] =
	    "INSERT INTO member (project, user, role, invited_by, created_at)"
	    " SELECT p.n, u.n, :role, (SELECT n FROM user WHERE id = :by), :created_at"
	    " FROM project p, user u WHERE p.id = :project AND u.id = :user",
	[Q_IMPORT_INVITATION] =
	    "INSERT INTO invitation (id, project, email, role, invited_by, status, created_at,"
	    " expires_at, accepted_at) SELECT :id, n, :email, :role, :by, :status, :created_at,"
	    " :expires_at, :accepted_at FROM project WHERE id = :project"
	    " ON CONFLICT (id) DO NOTHING",

	[Q_AUDIT_ADD] =
	    "INSERT INTO audit (at, user, token, address, action, project, subject, detail)"
	    " VALUES (:now, :user, :token, :address, :action, :project, :subject, :detail)",
	[Q_AUDIT_CLEAN] =
	    "DELETE FROM audit WHERE at < :before",
	[Q_AUDIT_LIST] =
	    "SELECT n, at, user, token, address, action, project, subject, detail FROM audit"
	    " WHERE at >= :since AND (:user = '' OR user = :user OR subject = :user"
	    " OR instr(detail, :user) > 0)"
	    " AND (:project = '' OR project = :project) ORDER BY n",
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

int64_t
acc_now(void)
{
	return clock_now_us() / 1000000;
}

int
acc_format(void)
{
	return FORMAT;
}

static void
conn_close(struct conn *c)
{
	for (int q = 0; q < Q__MAX; q++)
		sqlite3_finalize(c->st[q]);
	sqlite3_close(c->db);
	*c = (struct conn){ 0 };
}

enum rc
acc_query(struct conn *c, enum query q, sqlite3_stmt **out, struct err *err)
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

/* What a handle writes to a file that was replaced would be lost: so it is
 * looked at once more, when nobody replaces it any longer. */
enum rc
acc_begin_until(struct accounts *a, int64_t deadline_ms, struct err *err)
{
	enum rc rc = take_lock(a, deadline_ms, err);

	if (rc != RC_OK)
		return rc;
	if (!a->making && accounts_stale(a))
		rc = err_set(err, RC_BUSY, "the accounts were replaced; try again");
	if (rc == RC_OK)
		rc = open_writer(a, err);
	if (rc == RC_OK)
		rc = db_exec(a->wr.db, "BEGIN IMMEDIATE", err);
	if (rc != RC_OK)
		lock_release(a->lock);
	return rc;
}

enum rc
acc_begin(struct accounts *a, struct err *err)
{
	return acc_begin_until(a, clock_mono_ms() + LOCK_WAIT_MS, err);
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

/* A commit that failed is made nobody's; where that fails as well the handle is
 * given up. */
enum rc
acc_finish(struct accounts *a, enum rc rc, struct err *err)
{
	if (rc == RC_OK) {
		rc = db_exec(a->wr.db, "COMMIT", err);
		if (rc == RC_OK)
			checkpoint(a);
		else if (db_settle(a->wr.db, NULL) != RC_OK)
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

void
acc_column(sqlite3_stmt *st, int col, char *out, size_t cap)
{
	struct span s = db_span(st, col);
	size_t n = s.len < cap ? s.len : cap - 1;

	if (n > 0)
		memcpy(out, s.p, n);
	out[n] = '\0';
}

void
acc_bind(sqlite3_stmt *st, const char *name, const char *s)
{
	db_bind_text(st, name, span_of(s));
}

enum rc
acc_check_text(const char *what, struct span s, size_t max, struct err *err)
{
	if (s.len > max)
		return err_set(err, RC_INVALID, "%s is too long: at most %zu bytes",
		    what, max);
	if (s.len > 0 && memchr(s.p, '\0', s.len) != NULL)
		return err_set(err, RC_INVALID, "%s holds a NUL character", what);
	return RC_OK;
}

enum rc
acc_row(sqlite3_stmt *st, struct err *err)
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
	free(a->known);
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
	enum rc rc = acc_query(c, Q_META, &st, err);

	out[0] = '\0';
	if (rc != RC_OK)
		return rc;
	acc_bind(st, ":key", key);
	rc = acc_row(st, err);
	if (rc != RC_OK)
		return rc;
	acc_column(st, 0, out, ID_MAX);
	db_reset(st);
	return RC_OK;
}

static enum rc
not_ours(const char *path, struct err *err)
{
	return err_set(err, RC_UNAVAILABLE, "%s was not made by td-sync", path);
}

enum rc
acc_check_ours(const char *path, struct err *err)
{
	return db_is_foreign(path, APPLICATION_ID) ? not_ours(path, err) : RC_OK;
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
	return not_ours(a->path, err);
}

/* The number of the format, if it is one that we know. */
static enum rc
read_format(struct accounts *a, struct conn *c, int *out, struct err *err)
{
	char format[ID_MAX];
	enum rc rc = meta_get(c, "format", format, err);

	*out = rc == RC_OK ? atoi(format) : 0;
	if (*out > FORMAT)
		return err_set(err, RC_UNAVAILABLE, "%s has format %d, made by a newer"
		    " td-sync; this one knows formats up to %d", a->path, *out, FORMAT);
	if (rc == RC_NOT_FOUND || (rc == RC_OK && *out < 1))
		return err_set(err, RC_UNAVAILABLE, "%s has no usable format or server id",
		    a->path);
	return rc;
}

/* Keep server.db as it is before its format changes, beside it, as copies.h
 * says; needs acc_begin(). */
static enum rc
keep_format(struct accounts *a, int format, struct err *err)
{
	struct buf path = { 0 };
	enum rc rc;

	buf_addf(&path, "%s.format%d", a->path, format);
	rc = buf_cstr(&path) != NULL ? db_keep(a->rd.db, path.p, err)
	                             : err_set(err, RC_FAULT, "out of memory");
	buf_free(&path);
	return rc;
}

static enum rc
write_format(struct accounts *a, int format, struct err *err)
{
	char sql[80];

	snprintf(sql, sizeof(sql), "UPDATE meta SET value = '%d' WHERE key = 'format'", format);
	return db_exec(a->wr.db, sql, err);
}

/* Add what the formats after that one have; needs acc_begin(). */
static enum rc
add_formats(struct accounts *a, struct err *err)
{
	int format;
	enum rc rc = read_format(a, &a->wr, &format, err);

	if (rc == RC_OK && format < FORMAT) /* else another process was first */
		rc = keep_format(a, format, err);
	for (; rc == RC_OK && format < FORMAT; format++)
		rc = db_exec(a->wr.db, additions[format], err);
	return rc == RC_OK ? write_format(a, FORMAT, err) : rc;
}

/* Take away what the format has beside the one before it, where nothing is in it. */
static enum rc
remove_format(struct accounts *a, int format, struct err *err)
{
	sqlite3_stmt *st = NULL;
	bool row = false;
	enum rc rc = db_prepare(a->wr.db, removals[format - 1].more, &st, err);

	if (rc == RC_OK && (rc = db_step(st, &row, err)) == RC_OK && row)
		rc = err_set(err, RC_CONFLICT, "%s can't go back to format %d, which has no place"
		             " for what was written since: %s", a->path, format - 1,
		             (const char *)sqlite3_column_text(st, 0));
	sqlite3_finalize(st);
	return rc == RC_OK ? db_exec(a->wr.db, removals[format - 1].removal, err) : rc;
}

enum rc
acc_go_back(struct accounts *a, int to, struct err *err)
{
	int format;
	enum rc rc = acc_begin(a, err);

	if (rc != RC_OK)
		return rc;
	rc = read_format(a, &a->wr, &format, err);
	for (; rc == RC_OK && format > to; format--)
		rc = remove_format(a, format, err);
	if (rc == RC_OK)
		rc = write_format(a, format, err);
	return acc_finish(a, rc, err);
}

/* Reads the format and the server's id; an older format is brought up to ours. */
static enum rc
read_meta(struct accounts *a, struct err *err)
{
	struct err why;
	int format;
	enum rc rc = read_format(a, &a->rd, &format, err);

	if (rc == RC_OK && format < FORMAT) {
		rc = acc_begin(a, &why);
		if (rc == RC_OK)
			rc = acc_finish(a, add_formats(a, &why), &why);
		/* A process that waited for that is not told to come again. */
		if (rc == RC_BUSY)
			rc = err_set(err, RC_UNAVAILABLE, "%s is being brought to format %d", a->path,
			    FORMAT);
		else if (rc != RC_OK)
			err_set(err, rc, "%s has format %d and can't be brought to format %d: %s",
			    a->path, format, FORMAT, why.text);
	}
	if (rc == RC_OK)
		rc = meta_get(&a->rd, "server_id", a->server_id, err);
	if (rc == RC_NOT_FOUND)
		rc = err_set(err, RC_UNAVAILABLE, "%s has no usable format or server id", a->path);
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
		rc = acc_check_ours(a->path, err);
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
	enum rc rc = acc_query(c, Q_META_ADD, &st, err);

	if (rc != RC_OK)
		return rc;
	acc_bind(st, ":key", key);
	acc_bind(st, ":value", text);
	return db_run(st, err);
}

/* Fill an empty database; needs acc_begin(). RC_CONFLICT: it is not empty. */
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
	for (int f = 1; f < FORMAT && rc == RC_OK; f++)
		rc = db_exec(a->wr.db, additions[f], err);
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

	if (rc == RC_OK) {
		a->making = true;
		rc = acc_begin(a, err);
	}
	if (rc == RC_OK)
		rc = acc_finish(a, make_schema(a, err), err);
	accounts_close(a);
	return rc;
}

bool
accounts_stale(const struct accounts *a)
{
	struct fs_id now;

	if (a->broken || !fs_identify(a->path, &now) || !fs_same(now, a->file))
		return true;
	/* On a read-only disk it may be open as a file that never changes. */
	return sqlite3_db_readonly(a->rd.db, "main") == 1 && !fs_read_only(a->path);
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
		rc = acc_query(&a->rd, (enum query)q, &st, err);
	return rc;
}

/* --- access --- */

/* Forget what is known where something was committed since it was read. */
static enum rc
forget_old(struct accounts *a, struct err *err)
{
	sqlite3_stmt *st;
	int64_t version;
	enum rc rc = acc_query(&a->rd, Q_VERSION, &st, err);

	if (rc == RC_OK)
		rc = acc_row(st, err);
	if (rc != RC_OK)
		return rc;
	version = sqlite3_column_int64(st, 0);
	db_reset(st);
	if (a->known == NULL)
		a->known = calloc(KNOWN, sizeof(*a->known));
	else if (version != a->version)
		memset(a->known, 0, KNOWN * sizeof(*a->known));
	a->version = version;
	return RC_OK;
}

/* The place of an answer among those that are known; NULL: there is none. */
static struct known *
place_of(struct accounts *a, const char *const ids[3])
{
	uint32_t h = 2166136261u; /* FNV-1a */

	for (size_t i = 0; i < 3; i++) {
		if (strlen(ids[i]) >= ID_MAX)
			return NULL;
		for (const char *p = ids[i]; *p != '\0'; p++)
			h = (h ^ (unsigned char)*p) * 16777619u;
	}
	return a->known == NULL ? NULL : &a->known[h % KNOWN];
}

static enum rc
read_access(struct accounts *a, const char *const ids[3], struct access *out,
            struct err *err)
{
	sqlite3_stmt *st;
	enum rc rc = acc_query(&a->rd, Q_ACCESS, &st, err);

	if (rc != RC_OK)
		return rc;
	acc_bind(st, ":token", ids[0]);
	acc_bind(st, ":user", ids[1]);
	acc_bind(st, ":project", ids[2]);
	rc = acc_row(st, err);
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
	out->project_public = sqlite3_column_int(st, 8) != 0;
	db_reset(st);
	return RC_OK;
}

enum rc
access_get(struct accounts *a, const char *token_id, const char *user_id,
           const char *project_id, struct access *out, struct err *err)
{
	const char *const ids[] = { token_id, user_id, project_id != NULL ? project_id : "" };
	struct known *k;
	enum rc rc;

	*out = (struct access){ 0 };
	if ((rc = forget_old(a, err)) != RC_OK)
		return rc;
	k = place_of(a, ids);
	if (k != NULL && k->token[0] != '\0' && strcmp(k->token, ids[0]) == 0 &&
	    strcmp(k->user, ids[1]) == 0 && strcmp(k->project, ids[2]) == 0) {
		*out = k->access;
		return RC_OK;
	}
	rc = read_access(a, ids, out, err);
	if (rc != RC_OK || k == NULL)
		return rc;
	strcpy(k->token, ids[0]);
	strcpy(k->user, ids[1]);
	strcpy(k->project, ids[2]);
	k->access = *out;
	return RC_OK;
}
