/* Copies of server.db, see copies.h. */
#include "store/copies.h"

#include "store/accounts_int.h"

#include <fcntl.h>
#include <unistd.h>

enum rc
accounts_copy(struct accounts *a, const char *path, struct err *err)
{
	return db_copy(a->rd.db, path, err);
}

/* --- looking at one --- */

static enum rc
each_project(sqlite3 *db, accounts_visit_kept *visit, void *ctx, struct err *err)
{
	static const char sql[] =
	    "SELECT id, name, slug, created_at, deleted_at, purged_at FROM project ORDER BY n";
	sqlite3_stmt *st = NULL;
	struct project p = { 0 };
	bool row;
	enum rc rc = db_prepare(db, sql, &st, err);

	while (rc == RC_OK && (rc = db_step(st, &row, err)) == RC_OK && row) {
		acc_column(st, 0, p.id, sizeof(p.id));
		acc_column(st, 1, p.name, sizeof(p.name));
		acc_column(st, 2, p.slug, sizeof(p.slug));
		p.created_at = sqlite3_column_int64(st, 3);
		p.deleted_at = sqlite3_column_int64(st, 4);
		p.purged_at = sqlite3_column_int64(st, 5);
		rc = visit(ctx, &p);
	}
	sqlite3_finalize(st);
	return rc;
}

/* Whose it is; RC_UNAVAILABLE: nobody's that we know. */
static enum rc
read_owner(sqlite3 *db, char server_id[ID_MAX], struct err *err)
{
	static const char sql[] =
	    "SELECT (SELECT value FROM meta WHERE key = 'server_id'),"
	    " CAST((SELECT value FROM meta WHERE key = 'format') AS INTEGER)";
	sqlite3_stmt *st = NULL;
	bool row = false;
	int64_t format;
	enum rc rc = db_prepare(db, sql, &st, err);

	server_id[0] = '\0';
	if (rc == RC_OK && (rc = db_step(st, &row, err)) == RC_OK) {
		acc_column(st, 0, server_id, ID_MAX);
		format = sqlite3_column_int64(st, 1);
		if (format > acc_format() || format < 2)
			rc = err_set(err, RC_UNAVAILABLE, "it has format %lld; this td-sync takes"
			             " formats 2 to %d", (long long)format, acc_format());
	}
	sqlite3_finalize(st);
	return rc;
}

enum rc
accounts_inspect(const char *path, char server_id[ID_MAX], accounts_visit_kept *visit,
                 void *ctx, struct buf *wrong, struct err *err)
{
	sqlite3 *db = NULL;
	struct err why = { "" };
	enum rc rc;

	buf_reset(wrong);
	server_id[0] = '\0';
	if ((rc = db_open(path, DB_KEPT, &db, err)) != RC_OK)
		return rc;
	rc = read_owner(db, server_id, &why);
	if (rc == RC_OK)
		rc = db_check(db, wrong, &why);
	if (rc == RC_OK && wrong->len == 0 && visit != NULL)
		rc = each_project(db, visit, ctx, &why);
	sqlite3_close(db);
	return rc == RC_OK ? rc : err_set(err, rc, "%s: %s", path, why.text);
}

enum rc
accounts_format(const char *data, int *format, int *known, struct err *err)
{
	struct buf path = { 0 };
	sqlite3_stmt *st = NULL;
	sqlite3 *db = NULL;
	bool row = false;
	enum rc rc;

	*format = 0;
	*known = acc_format();
	buf_addf(&path, "%s/server.db", data);
	if (buf_cstr(&path) == NULL)
		rc = err_set(err, RC_FAULT, "out of memory");
	else if (access(path.p, F_OK) != 0)
		rc = err_set(err, RC_NOT_FOUND, "there is no server.db in %s", data);
	else if ((rc = acc_check_ours(path.p, err)) == RC_OK)
		rc = db_open(path.p, DB_SERVER, &db, err);
	if (rc == RC_OK)
		rc = db_prepare(db, "SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'format'",
		                &st, err);
	if (rc == RC_OK && (rc = db_step(st, &row, err)) == RC_OK && row)
		*format = sqlite3_column_int(st, 0);
	sqlite3_finalize(st);
	sqlite3_close(db);
	buf_free(&path);
	return rc;
}

/* The format that server.db had before ours. */
static enum rc
format_before(const char *data, int *out, struct err *err)
{
	struct buf path = { 0 };
	bool is_kept = false;

	for (*out = acc_format(); !is_kept && *out > 1;) {
		buf_reset(&path);
		buf_addf(&path, "%s/server.db.format%d", data, --*out);
		is_kept = buf_cstr(&path) != NULL && access(path.p, F_OK) == 0;
	}
	buf_free(&path);
	return is_kept ? RC_OK
	       : err_set(err, RC_NOT_FOUND, "there is no format to go back to: no "
	                 "server.db.formatN is in %s", data);
}

enum rc
accounts_go_back(const char *data, int *from, int *to, struct err *err)
{
	struct accounts *a = NULL;
	int known;
	enum rc rc = accounts_format(data, from, &known, err);

	*to = *from;
	if (rc != RC_OK || *from < known)
		return rc;
	if ((rc = accounts_open(data, &a, err)) == RC_OK && /* which says why, where it is newer */
	    (rc = format_before(data, to, err)) == RC_OK)
		rc = acc_go_back(a, *to, err);
	accounts_close(a);
	return rc;
}

/* --- restoring --- */

/* What of the server.db that is replaced (cur) goes on in the one that takes its place
 * (main). Rows are known by their ids; `n` is each file's own. A newer project whose slug
 * the copy has for another one gets its id as slug, as one gets whose name makes none. */
static const char merge[] =
    "CREATE TEMP TABLE newer AS SELECT id FROM cur.project"
    "  WHERE id NOT IN (SELECT id FROM main.project);"
    "INSERT INTO main.user (id, email, created_at) SELECT id, email, created_at"
    "  FROM cur.user WHERE id NOT IN (SELECT id FROM main.user)"
    "  AND email NOT IN (SELECT email FROM main.user) ORDER BY n;"
    "INSERT INTO main.project (id, name, description, slug, created_at, updated_at,"
    "  deleted_at, public, purged_at) SELECT id, name, description,"
    "  CASE WHEN slug IN (SELECT slug FROM main.project) THEN id ELSE slug END, created_at,"
    "  updated_at, deleted_at, public, purged_at FROM cur.project"
    "  WHERE id IN (SELECT id FROM newer) ORDER BY n;"
    "INSERT INTO main.member (project, user, role, invited_by, created_at)"
    "  SELECT np.n, nu.n, m.role, ni.n, m.created_at FROM cur.member m"
    "  JOIN cur.project p ON p.n = m.project JOIN main.project np ON np.id = p.id"
    "  JOIN cur.user u ON u.n = m.user JOIN main.user nu ON nu.email = u.email"
    "  LEFT JOIN cur.user i ON i.n = m.invited_by"
    "  LEFT JOIN main.user ni ON ni.email = i.email"
    "  WHERE p.id IN (SELECT id FROM newer) ORDER BY m.n;"
    "UPDATE main.project SET public = 0"
    "  WHERE id IN (SELECT id FROM cur.project WHERE public = 0);"
    "UPDATE main.token SET revoked_at = unixepoch() WHERE revoked_at = 0"
    "  AND id NOT IN (SELECT id FROM cur.token WHERE revoked_at = 0);"
    "DELETE FROM main.invitation;"
    "INSERT INTO main.invitation (id, project, email, role, invited_by, status, created_at,"
    "  expires_at, accepted_at) SELECT v.id, np.n, v.email, v.role, v.invited_by, v.status,"
    "  v.created_at, v.expires_at, v.accepted_at FROM cur.invitation v"
    "  JOIN cur.project p ON p.n = v.project JOIN main.project np ON np.id = p.id"
    "  ORDER BY v.n;"
    "INSERT OR IGNORE INTO main.audit SELECT * FROM cur.audit;";

/* Likewise the tokens that are newer, whichever columns they have; but for those of
 * users who are not there. */
static const char newer_tokens[] =
    "SELECT 'INSERT INTO main.token (user, link, made_by, ' || c || ') SELECT nu.n, nl.n,"
    " nb.n, t.' || replace(c, ', ', ', t.') || ' FROM cur.token t"
    " LEFT JOIN cur.user u ON u.n = t.user LEFT JOIN main.user nu ON nu.id = u.id"
    " LEFT JOIN cur.project l ON l.n = t.link LEFT JOIN main.project nl ON nl.id = l.id"
    " LEFT JOIN cur.user b ON b.n = t.made_by LEFT JOIN main.user nb ON nb.id = b.id"
    " WHERE t.id NOT IN (SELECT id FROM main.token)"
    " AND (t.user IS NULL) = (nu.n IS NULL) ORDER BY t.n'"
    " FROM (SELECT group_concat(name, ', ') AS c FROM pragma_table_info('token')"
    " WHERE name NOT IN ('n', 'user', 'link', 'made_by'))";

static enum rc
merge_tokens(sqlite3 *db, struct err *err)
{
	sqlite3_stmt *st = NULL;
	struct buf sql = { 0 };
	bool row = false;
	enum rc rc = db_prepare(db, newer_tokens, &st, err);

	if (rc == RC_OK && (rc = db_step(st, &row, err)) == RC_OK)
		buf_add_span(&sql, db_span(st, 0));
	sqlite3_finalize(st);
	if (rc == RC_OK && buf_cstr(&sql) == NULL)
		rc = err_set(err, RC_FAULT, "out of memory");
	if (rc == RC_OK)
		rc = db_exec(db, sql.p, err);
	buf_free(&sql);
	return rc;
}

/* Whether cur holds anything: a restore that died may have left an empty database. */
static enum rc
has_rows(sqlite3 *db, bool *out, struct err *err)
{
	sqlite3_stmt *st = NULL;
	enum rc rc = db_prepare(db, "SELECT 1 FROM cur.sqlite_schema WHERE name = 'project'", &st,
	                        err);

	*out = false;
	if (rc == RC_OK)
		rc = db_step(st, out, err);
	sqlite3_finalize(st);
	return rc;
}

/* Bring what goes on of the server.db at `path` into the draft. */
static enum rc
merge_into(struct accounts *draft, const char *path, struct err *err)
{
	sqlite3_stmt *st = NULL;
	bool row;
	enum rc rc;

	/* Attached before the transaction begins: in one nothing can be. */
	if ((rc = acc_begin(draft, err)) != RC_OK ||
	    (rc = acc_finish(draft, RC_OK, err)) != RC_OK ||
	    (rc = db_prepare(draft->wr.db, "ATTACH :path AS cur", &st, err)) != RC_OK)
		return rc;
	db_bind_text(st, ":path", span_of(path));
	rc = db_step(st, &row, err);
	sqlite3_finalize(st);
	if (rc == RC_OK && (rc = has_rows(draft->wr.db, &row, err)) == RC_OK && row &&
	    (rc = acc_begin(draft, err)) == RC_OK) {
		rc = db_exec(draft->wr.db, merge, err);
		if (rc == RC_OK)
			rc = merge_tokens(draft->wr.db, err);
		rc = acc_finish(draft, rc, err);
	}
	db_exec(draft->wr.db, "DETACH cur", NULL);
	return rc;
}

/* The draft: the copy as a server.db in a folder of its own, of our format. */
static enum rc
open_draft(const char *dir, const char *copy, struct accounts **out, struct err *err)
{
	struct buf path = { 0 };
	sqlite3 *from = NULL;
	enum rc rc = fs_mkdir(dir, err);

	buf_addf(&path, "%s/server.db", dir);
	if (rc == RC_OK && buf_cstr(&path) == NULL)
		rc = err_set(err, RC_FAULT, "out of memory");
	if (rc == RC_OK && (rc = db_open(copy, DB_KEPT, &from, err)) == RC_OK)
		rc = db_copy(from, path.p, err);
	sqlite3_close(from);
	if (rc == RC_OK)
		rc = accounts_open(dir, out, err);
	buf_free(&path);
	return rc;
}

static enum rc
finish_draft(struct accounts *draft, struct err *err)
{
	enum rc rc = acc_begin(draft, err);

	if (rc != RC_OK)
		return rc;
	rc = db_exec(draft->wr.db, "DELETE FROM login", err);
	if (rc == RC_OK)
		rc = acc_audit(draft, "server.restore", "", "", "", err);
	return acc_finish(draft, rc, err);
}

enum rc
accounts_restore(const char *data, const char *copy, struct buf *aside, struct err *err)
{
	struct buf dir = { 0 }, path = { 0 }, lock_path = { 0 };
	struct accounts *draft = NULL;
	struct lock *lock = NULL;
	sqlite3 *to = NULL;
	enum rc rc = RC_OK;

	buf_reset(aside);
	buf_addf(&dir, "%s/restore.tmp", data);
	buf_addf(&path, "%s/server.db", data);
	buf_addf(&lock_path, "%s/server.lock", data);
	if (buf_cstr(&dir) == NULL || buf_cstr(&path) == NULL || buf_cstr(&lock_path) == NULL)
		rc = err_set(err, RC_FAULT, "out of memory");
	if (rc == RC_OK) {
		fs_remove(AT_FDCWD, dir.p);
		rc = open_draft(dir.p, copy, &draft, err);
	}
	if (rc == RC_OK && (rc = lock_open(lock_path.p, &lock, err)) == RC_OK &&
	    (rc = lock_take(lock, clock_mono_ms() + LOCK_WAIT_MS)) != RC_OK)
		err_set(err, rc, "the accounts are being changed by others; try again");
	if (rc == RC_OK && db_is_no_database(path.p))
		rc = db_set_aside(path.p, aside, err);
	else if (rc == RC_OK && access(path.p, F_OK) == 0)
		rc = merge_into(draft, path.p, err);
	if (rc == RC_OK)
		rc = finish_draft(draft, err);
	if (rc == RC_OK && (rc = db_open(path.p, DB_SERVER, &to, err)) == RC_OK) {
		if ((rc = db_fill(to, draft->rd.db, err)) != RC_OK)
			db_settle(to, NULL);
		else
			sqlite3_wal_checkpoint_v2(to, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
		sqlite3_close(to);
	}
	if (rc == RC_OK)
		rc = fs_sync(data, err);
	accounts_close(draft);
	if (dir.p != NULL)
		fs_remove(AT_FDCWD, dir.p);
	lock_close(lock);
	buf_free(&dir);
	buf_free(&path);
	buf_free(&lock_path);
	return rc;
}

enum rc
project_restored(struct accounts *a, const char *id, bool deleted, struct err *err)
{
	sqlite3_stmt *st = NULL;
	enum rc rc = acc_begin(a, err);

	if (rc != RC_OK)
		return rc;
	rc = db_prepare(a->wr.db, "UPDATE project SET purged_at = 0,"
	                " deleted_at = CASE WHEN :deleted THEN deleted_at ELSE 0 END"
	                " WHERE id = :id", &st, err);
	if (rc == RC_OK) {
		db_bind_int(st, ":deleted", deleted);
		acc_bind(st, ":id", id);
		rc = db_run(st, err);
	}
	sqlite3_finalize(st);
	if (rc == RC_OK && sqlite3_changes(a->wr.db) == 0)
		rc = err_set(err, RC_NOT_FOUND, "server.db knows no project %s", id);
	if (rc == RC_OK)
		rc = acc_audit(a, "project.restore", id, id, "", err);
	return acc_finish(a, rc, err);
}
