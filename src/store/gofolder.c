/* The data folder of a Go server, see gofolder.h. */
#include "store/gofolder.h"

#include "store/db.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct go_folder {
	char dir[PATH_MAX];
	sqlite3 *db;        /* server.db */
	bool slugs;         /* its projects have slugs, which came later */
	bool invitations;   /* likewise */
	struct err why;     /* of the row at hand */
};

/* --- opening --- */

#define HEADER 20 /* bytes of an SQLite file's header that are looked at */
#define WAL_AT 18 /* there: 2 where it keeps a WAL */

/* What to do about a database that is in use. */
#define STOP_IT "stop the Go server and run this again (if it is stopped, it was " \
	"killed: start and stop it once)"

static enum rc
in_use(const char *path, const char *why, struct err *err)
{
	return err_set(err, RC_UNAVAILABLE, "%s is in use (%s): " STOP_IT, path, why);
}

/* Whether there is a file of that name with a suffix; *bytes: how large. */
static bool
has_beside(const char *path, const char *suffix, int64_t *bytes)
{
	char name[PATH_MAX + 16];
	struct stat st;

	snprintf(name, sizeof(name), "%s%s", path, suffix);
	if (lstat(name, &st) != 0)
		return false;
	*bytes = st.st_size;
	return true;
}

/* Read the header. An empty file is an empty database to SQLite; not to us. */
static enum rc
read_header(const char *path, unsigned char header[HEADER], struct err *err)
{
	static const char magic[] = "SQLite format 3";
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return err_set(err, errno == ENOENT || errno == ENOTDIR ? RC_NOT_FOUND : RC_UNAVAILABLE,
		               "%s can't be read: %s", path, strerror(errno));
	n = read(fd, header, HEADER);
	close(fd);
	if (n < HEADER || memcmp(header, magic, sizeof(magic)) != 0)
		return err_set(err, RC_INVALID, "%s is no SQLite database: it is cut short, or not a "
		               "Go server's", path);
	return RC_OK;
}

/* What says, before it is opened, that somebody is at work or was killed at it. */
static enum rc
look_beside(const char *path, bool wal, struct err *err)
{
	int64_t bytes;

	if (wal && (has_beside(path, "-wal", &bytes) || has_beside(path, "-shm", &bytes)))
		return in_use(path, "it has a -wal or -shm file", err);
	if (has_beside(path, "-journal", &bytes) && bytes > 0)
		return in_use(path, "it has a -journal file", err);
	return RC_OK;
}

/* Begin to read, which keeps others from writing, and see that nobody does. */
static enum rc
hold(sqlite3 *db, const char *path, struct err *err)
{
	sqlite3_file *file = NULL;
	struct err why;
	int reserved = 0;
	enum rc rc = db_exec(db, "BEGIN; SELECT count(*) FROM sqlite_schema", &why);

	if (rc == RC_BUSY)
		return in_use(path, "it is locked", err);
	if (rc != RC_OK)
		return err_set(err, db_damaged(db) ? RC_INVALID : rc, "%s can't be read: %s", path,
		               why.text);
	if (sqlite3_file_control(db, "main", SQLITE_FCNTL_FILE_POINTER, &file) == SQLITE_OK &&
	    file != NULL && file->pMethods != NULL &&
	    file->pMethods->xCheckReservedLock(file, &reserved) == SQLITE_OK && reserved)
		return in_use(path, "somebody writes to it", err);
	return RC_OK;
}

/*
 * Open a database that is not ours. One that keeps a WAL could not be read without
 * making files beside it, but as one that nobody changes; the others are read under
 * their lock. Of a link it is the file itself that a WAL or a journal lies beside.
 */
static enum rc
open_foreign(const char *name, sqlite3 **out, struct err *err)
{
	char real[PATH_MAX];
	const char *path = realpath(name, real) != NULL ? real : name;
	unsigned char header[HEADER];
	struct err why;
	bool wal;
	enum rc rc = read_header(path, header, err);

	*out = NULL;
	wal = rc == RC_OK && header[WAL_AT] == 2;
	if (rc != RC_OK || (rc = look_beside(path, wal, err)) != RC_OK)
		return rc;
	if ((rc = db_open(path, wal ? DB_KEPT : DB_FOREIGN, out, &why)) != RC_OK)
		return err_set(err, rc == RC_BUSY ? RC_UNAVAILABLE : rc, "%s", why.text);
	if ((rc = hold(*out, path, err)) != RC_OK) {
		sqlite3_close(*out);
		*out = NULL;
	}
	return rc;
}

/* Look at all of it: one that was cut short is not read half. (Not at foreign keys: what
 * refers to nothing there is for the caller to leave out.) */
static enum rc
check_whole(sqlite3 *db, const char *path, struct err *err)
{
	sqlite3_stmt *st = NULL;
	struct err why;
	bool row;
	enum rc rc = db_prepare(db, "SELECT integrity_check FROM pragma_integrity_check(1)"
	                            " WHERE integrity_check <> 'ok'", &st, &why);

	if (rc == RC_OK && (rc = db_step(st, &row, &why)) == RC_OK && row)
		rc = err_set(err, RC_INVALID, "%s is damaged: %.*s", path, (int)db_span(st, 0).len,
		             db_span(st, 0).p);
	else if (rc != RC_OK)
		rc = err_set(err, db_damaged(db) ? RC_INVALID : rc, "%s is damaged or cut short: %s",
		             path, why.text);
	sqlite3_finalize(st);
	return rc;
}

/* The number that a statement gives; -1: it gives none, or can't be run. */
static int64_t
number(sqlite3 *db, const char *sql)
{
	sqlite3_stmt *st = NULL;
	bool row = false;
	int64_t n = -1;

	if (db_prepare(db, sql, &st, NULL) == RC_OK && db_step(st, &row, NULL) == RC_OK && row)
		n = sqlite3_column_int64(st, 0);
	sqlite3_finalize(st);
	return n;
}

/* Whose it is, and of which version. */
static enum rc
check_schema(struct go_folder *g, const char *path, struct err *err)
{
	int64_t version;

	if (number(g->db, "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name IN"
	                  " ('meta', 'user', 'project', 'member', 'token')") == 5)
		return err_set(err, RC_INVALID, "%s is not a Go server's but one of this td-sync: "
		               "td-sync-admin export and import move its projects", path);
	if (number(g->db, "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name IN"
	                  " ('users', 'api_keys', 'projects', 'memberships', 'schema_info')") != 5)
		return err_set(err, RC_INVALID, "%s is not the server.db of a Go td-sync server", path);
	version = number(g->db, "SELECT CAST(value AS INTEGER) FROM schema_info"
	                        " WHERE key = 'version'");
	if (version < 1)
		return err_set(err, RC_INVALID, "%s says no schema version: it is not a Go server's",
		               path);
	if (version > GO_SCHEMA)
		return err_set(err, RC_INVALID, "%s is of a newer Go server (schema %" PRId64 ", this "
		               "td-sync knows up to %d): a newer td-sync is needed", path, version,
		               GO_SCHEMA);
	g->slugs = number(g->db, "SELECT count(*) FROM pragma_table_info('projects')"
	                         " WHERE name = 'slug'") == 1;
	g->invitations = number(g->db, "SELECT count(*) FROM sqlite_schema"
	                               " WHERE type = 'table' AND name = 'invitations'") == 1;
	return RC_OK;
}

enum rc
go_open(const char *dir, struct go_folder **out, struct err *err)
{
	struct go_folder *g = calloc(1, sizeof(*g));
	char path[PATH_MAX];
	enum rc rc;

	*out = NULL;
	if (g == NULL)
		return err_set(err, RC_FAULT, "out of memory");
	if (snprintf(g->dir, sizeof(g->dir), "%s", dir) >= (int)sizeof(g->dir) ||
	    snprintf(path, sizeof(path), "%s/server.db", dir) >= (int)sizeof(path))
		rc = err_set(err, RC_INVALID, "the path %s is too long", dir);
	else
		rc = open_foreign(path, &g->db, err);
	if (rc == RC_NOT_FOUND)
		err_set(err, rc, "there is no server.db in %s: give the data folder of the Go server",
		        dir);
	if (rc == RC_OK)
		rc = check_schema(g, path, err);
	if (rc == RC_OK)
		rc = check_whole(g->db, path, err);
	if (rc != RC_OK) {
		go_close(g);
		return rc;
	}
	*out = g;
	return RC_OK;
}

void
go_close(struct go_folder *g)
{
	if (g == NULL)
		return;
	sqlite3_close(g->db);
	free(g);
}

/* --- rows of server.db --- */

/* Copy a text that has to fit and to be one line of UTF-8; NULL is "". */
static bool
take_text(struct go_folder *g, sqlite3_stmt *st, int col, const char *what, char *out,
          size_t cap)
{
	struct span s = db_span(st, col);
	size_t len;

	out[0] = '\0';
	if (s.len >= cap)
		err_set(&g->why, RC_INVALID, "its %s is longer than %zu bytes", what, cap - 1);
	for (size_t i = 0; i < s.len && g->why.text[0] == '\0'; i += len)
		if ((len = utf8_sequence(s.p + i, s.len - i)) == 0 || s.p[i] == '\0')
			err_set(&g->why, RC_INVALID, "its %s is not UTF-8", what);
	if (g->why.text[0] != '\0')
		return false;
	if (s.len > 0)
		memcpy(out, s.p, s.len);
	out[s.len] = '\0';
	return true;
}

/* An id as it may stand in a path and in lists. */
static bool
take_id(struct go_folder *g, sqlite3_stmt *st, int col, const char *what, char out[ID_MAX])
{
	if (!take_text(g, st, col, what, out, ID_MAX))
		return false;
	if (out[0] == '\0' || strspn(out, "abcdefghijklmnopqrstuvwxyz0123456789_") != strlen(out))
		err_set(&g->why, RC_INVALID, "its %s is no id: %s", what, out);
	return g->why.text[0] == '\0';
}

/* A time; 0 for none. */
static int64_t
take_time(struct go_folder *g, sqlite3_stmt *st, int col, const char *what)
{
	struct instant at = { 0 };
	struct span text = db_span(st, col);

	if (text.len > 0 && !time_parse_any(text, &at))
		err_set(&g->why, RC_INVALID, "its %s is no time", what);
	return at.sec;
}

static enum role
take_role(struct go_folder *g, sqlite3_stmt *st, int col)
{
	enum role role;

	if (!role_find(db_span(st, col), &role))
		err_set(&g->why, RC_INVALID, "it has no known role");
	return role;
}

/* Step through a query whose rows `take` reads and shows; the first column names them. */
typedef enum rc take(struct go_folder *g, sqlite3_stmt *st, void *visit, void *ctx);

/* How a visit of each kind is handed through. */
union visitor {
	user_visit *user;
	project_visit *project;
	member_visit *member;
	invitation_visit *invitation;
	go_key_visit *key;
};

static enum rc
each(struct go_folder *g, const char *sql, const char *project_id, const char *kind,
     take *take_row, union visitor *visit, void *ctx, struct err *err)
{
	sqlite3_stmt *st = NULL;
	bool row;
	enum rc rc = db_prepare(g->db, sql, &st, err);

	if (rc == RC_OK && project_id != NULL)
		db_bind_text(st, ":project", span_of(project_id));
	while (rc == RC_OK && (rc = db_step(st, &row, err)) == RC_OK && row) {
		g->why.text[0] = '\0';
		rc = take_row(g, st, visit, ctx);
		if (g->why.text[0] != '\0')
			rc = err_set(err, RC_INVALID, "%s/server.db: the %s %.*s can't be taken: %s: change "
			             "it there, or in a copy", g->dir, kind, (int)db_span(st, 0).len,
			             db_span(st, 0).p, g->why.text);
	}
	sqlite3_finalize(st);
	return rc;
}

static enum rc
take_user(struct go_folder *g, sqlite3_stmt *st, void *visit, void *ctx)
{
	struct user u = { 0 };

	if (!take_id(g, st, 0, "id", u.id) || !take_text(g, st, 1, "email", u.email, sizeof(u.email)))
		return RC_INVALID;
	u.created_at = take_time(g, st, 2, "created_at");
	for (const char *p = u.email; *p != '\0'; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			err_set(&g->why, RC_INVALID, "its email holds a control character");
	if (u.email[0] == '\0')
		err_set(&g->why, RC_INVALID, "it has no email");
	return g->why.text[0] != '\0' ? RC_INVALID : ((union visitor *)visit)->user(ctx, &u);
}

/* Addresses are compared without case here. */
static enum rc
check_addresses(struct go_folder *g, struct err *err)
{
	sqlite3_stmt *st = NULL;
	bool row;
	enum rc rc = db_prepare(g->db, "SELECT min(id), max(id), email FROM users"
	                        " GROUP BY email COLLATE NOCASE HAVING count(*) > 1", &st, err);

	if (rc == RC_OK && (rc = db_step(st, &row, err)) == RC_OK && row)
		rc = err_set(err, RC_INVALID, "%s/server.db: the users %.*s and %.*s have one address, "
		             "%.*s, but for capital letters: change it there, or in a copy", g->dir,
		             (int)db_span(st, 0).len, db_span(st, 0).p, (int)db_span(st, 1).len,
		             db_span(st, 1).p, (int)db_span(st, 2).len, db_span(st, 2).p);
	sqlite3_finalize(st);
	return rc;
}

enum rc
go_users(struct go_folder *g, user_visit *visit, void *ctx, struct err *err)
{
	enum rc rc = check_addresses(g, err);

	if (rc != RC_OK)
		return rc;
	return each(g, "SELECT id, email, created_at FROM users ORDER BY rowid", NULL, "user",
	            take_user, &(union visitor){ .user = visit }, ctx, err);
}

static enum rc
take_key(struct go_folder *g, sqlite3_stmt *st, void *visit, void *ctx)
{
	struct token_row t = { .projects = "*" };
	unsigned char key[HASH_LEN];

	if (!take_id(g, st, 0, "id", t.id) || !take_id(g, st, 1, "user_id", t.user_id) ||
	    !take_text(g, st, 3, "name", t.name, sizeof(t.name)) ||
	    !take_text(g, st, 4, "scopes", t.scope, sizeof(t.scope)))
		return RC_INVALID;
	if (!id_unhex(db_span(st, 2), key, HASH_LEN))
		err_set(&g->why, RC_INVALID, "its key_hash is no SHA-256");
	t.expires_at = take_time(g, st, 5, "expires_at");
	t.last_used_at = take_time(g, st, 6, "last_used_at");
	t.created_at = take_time(g, st, 7, "created_at");
	return g->why.text[0] != '\0' ? RC_INVALID : ((union visitor *)visit)->key(ctx, &t, key);
}

enum rc
go_keys(struct go_folder *g, go_key_visit *visit, void *ctx, struct err *err)
{
	return each(g, "SELECT id, user_id, key_hash, name, scopes, expires_at, last_used_at,"
	            " created_at FROM api_keys ORDER BY rowid", NULL, "key", take_key,
	            &(union visitor){ .key = visit }, ctx, err);
}

static enum rc
take_project(struct go_folder *g, sqlite3_stmt *st, void *visit, void *ctx)
{
	struct project p = { 0 };

	if (!take_id(g, st, 0, "id", p.id) || !take_text(g, st, 1, "name", p.name, sizeof(p.name)) ||
	    !take_text(g, st, 2, "description", p.description, sizeof(p.description)) ||
	    !take_text(g, st, 3, "slug", p.slug, sizeof(p.slug)))
		return RC_INVALID;
	p.created_at = take_time(g, st, 4, "created_at");
	p.updated_at = take_time(g, st, 5, "updated_at");
	p.deleted_at = take_time(g, st, 6, "deleted_at");
	if (!id_is(span_of(p.id), "p_", 16)) /* a backup holds no other */
		err_set(&g->why, RC_INVALID, "its id is not p_ and 16 hex digits, as every Go server "
		        "makes them");
	if (p.name[0] == '\0')
		err_set(&g->why, RC_INVALID, "it has no name");
	return g->why.text[0] != '\0' ? RC_INVALID : ((union visitor *)visit)->project(ctx, &p);
}

enum rc
go_projects(struct go_folder *g, project_visit *visit, void *ctx, struct err *err)
{
	return each(g, g->slugs ? "SELECT id, name, description, slug, created_at, updated_at,"
	            " deleted_at FROM projects ORDER BY rowid"
	            : "SELECT id, name, description, '', created_at, updated_at, deleted_at"
	            " FROM projects ORDER BY rowid", NULL, "project", take_project,
	            &(union visitor){ .project = visit }, ctx, err);
}

static enum rc
take_member(struct go_folder *g, sqlite3_stmt *st, void *visit, void *ctx)
{
	struct member m = { 0 };

	if (!take_id(g, st, 0, "user_id", m.user_id) ||
	    !take_id(g, st, 1, "project_id", m.project_id) ||
	    !take_text(g, st, 2, "invited_by", m.invited_by, sizeof(m.invited_by)))
		return RC_INVALID;
	m.role = take_role(g, st, 3);
	m.created_at = take_time(g, st, 4, "created_at");
	return g->why.text[0] != '\0' ? RC_INVALID : ((union visitor *)visit)->member(ctx, &m);
}

enum rc
go_members(struct go_folder *g, const char *project_id, member_visit *visit, void *ctx,
           struct err *err)
{
	return each(g, "SELECT user_id, project_id, invited_by, role, created_at FROM memberships"
	            " WHERE project_id = :project ORDER BY rowid", project_id, "membership of",
	            take_member, &(union visitor){ .member = visit }, ctx, err);
}

static enum rc
take_invitation(struct go_folder *g, sqlite3_stmt *st, void *visit, void *ctx)
{
	static const enum invitation_status all[] = { INVITATION_PENDING, INVITATION_ACCEPTED,
	                                              INVITATION_DECLINED, INVITATION_EXPIRED };
	struct invitation i = { 0 };
	size_t s = 0;

	if (!take_id(g, st, 0, "id", i.id) || !take_id(g, st, 1, "project_id", i.project_id) ||
	    !take_text(g, st, 2, "email", i.email, sizeof(i.email)) ||
	    !take_text(g, st, 3, "invited_by", i.invited_by, sizeof(i.invited_by)))
		return RC_INVALID;
	i.role = take_role(g, st, 4);
	while (s < 4 && !span_is(db_span(st, 5), invitation_status_name(all[s])))
		s++;
	if (s == 4)
		err_set(&g->why, RC_INVALID, "it has no known status");
	else
		i.status = all[s];
	i.created_at = take_time(g, st, 6, "created_at");
	i.expires_at = take_time(g, st, 7, "expires_at");
	i.accepted_at = take_time(g, st, 8, "accepted_at");
	return g->why.text[0] != '\0' ? RC_INVALID : ((union visitor *)visit)->invitation(ctx, &i);
}

enum rc
go_invitations(struct go_folder *g, const char *project_id, invitation_visit *visit,
               void *ctx, struct err *err)
{
	if (!g->invitations)
		return RC_OK;
	return each(g, "SELECT id, project_id, email, invited_by, role, status, created_at,"
	            " expires_at, accepted_at FROM invitations WHERE project_id = :project"
	            " ORDER BY rowid", project_id, "invitation", take_invitation,
	            &(union visitor){ .invitation = visit }, ctx, err);
}

/* --- a log --- */

static const char select_events[] =
    "SELECT server_seq, device_id, session_id, client_action_id, action_type, entity_type,"
    " entity_id, payload, client_timestamp, server_timestamp FROM events ORDER BY server_seq";

/* What the Go server answers for a time that its driver has written. */
static void
respell_time(struct span stored, struct buf *scratch, struct event *ev)
{
	struct instant at;

	ev->time = stored;
	if (!time_parse_any(stored, &at))
		return;
	buf_reset(scratch);
	time_add_rfc3339(scratch, at);
	ev->time = buf_span(scratch);
}

static enum rc
walk(sqlite3 *db, go_event_visit *visit, void *ctx, struct err *err)
{
	sqlite3_stmt *st = NULL;
	struct buf time = { 0 };
	struct instant at;
	int64_t server_us = 0;
	bool row;
	enum rc rc = db_prepare(db, select_events, &st, err);

	while (rc == RC_OK && (rc = db_step(st, &row, err)) == RC_OK && row) {
		struct event ev = {
			.seq = sqlite3_column_int64(st, 0), .device = db_span(st, 1),
			.session = db_span(st, 2), .action_id = sqlite3_column_int64(st, 3),
			.type = db_span(st, 5), .id = db_span(st, 6), .payload = db_span(st, 7),
		};

		respell_time(db_span(st, 8), &time, &ev);
		if (time_parse_any(db_span(st, 9), &at)) /* else as the one before */
			server_us = at.sec * 1000000 + at.nsec / 1000;
		ev.server_us = server_us;
		rc = time.failed ? err_set(err, RC_FAULT, "out of memory")
		                 : visit(ctx, &ev, db_span(st, 4));
	}
	sqlite3_finalize(st);
	buf_free(&time);
	return rc;
}

/* How many events server.db says the project has, for one whose file is missing. */
static int64_t
count_of(struct go_folder *g, const char *project_id)
{
	sqlite3_stmt *st = NULL;
	bool row = false;
	int64_t n = 0;

	if (db_prepare(g->db, "SELECT event_count FROM projects WHERE id = :project", &st,
	               NULL) == RC_OK) {
		db_bind_text(st, ":project", span_of(project_id));
		if (db_step(st, &row, NULL) == RC_OK && row)
			n = sqlite3_column_int64(st, 0);
	}
	sqlite3_finalize(st);
	return n;
}

enum rc
go_events(struct go_folder *g, const char *project_id, int64_t *given, go_event_visit *visit,
          void *ctx, struct err *err)
{
	char path[2 * PATH_MAX];
	struct err why = { "" }; /* stays so where visit says why */
	sqlite3 *db = NULL;
	enum rc rc;

	if (given != NULL)
		*given = 0;
	snprintf(path, sizeof(path), "%s/projects/%s/events.db", g->dir, project_id);
	rc = open_foreign(path, &db, err);
	if (rc == RC_NOT_FOUND)
		return count_of(g, project_id) == 0 ? RC_OK
		    : err_set(err, RC_INVALID, "%s is missing, though server.db says that the project "
		          "has events: put it back, or take the project out of a copy of the folder",
		          path);
	if (rc == RC_OK && number(db, "SELECT count(*) FROM sqlite_schema WHERE type = 'table'"
	                              " AND name = 'events'") != 1)
		rc = err_set(err, RC_INVALID, "%s is not the log of a Go server", path);
	if (rc == RC_OK && given != NULL && (rc = check_whole(db, path, err)) == RC_OK)
		*given = number(db, "SELECT seq FROM sqlite_sequence WHERE name = 'events'");
	if (rc == RC_OK && (rc = walk(db, visit, ctx, &why)) != RC_OK && why.text[0] != '\0')
		rc = err_set(err, db_damaged(db) ? RC_INVALID : rc, "%s: %s", path, why.text);
	sqlite3_close(db);
	return rc;
}

enum rc
go_folders(struct go_folder *g, go_folder_visit *visit, void *ctx, struct err *err)
{
	char path[2 * PATH_MAX];
	struct dirent *e;
	enum rc rc = RC_OK;
	DIR *d;

	snprintf(path, sizeof(path), "%s/projects", g->dir);
	if ((d = opendir(path)) == NULL)
		return errno == ENOENT ? RC_OK : err_set(err, RC_UNAVAILABLE, "can't read %s: %s", path,
		                                         strerror(errno));
	while (rc == RC_OK && (e = readdir(d)) != NULL) {
		snprintf(path, sizeof(path), "%s/projects/%s/events.db", g->dir, e->d_name);
		if (access(path, F_OK) == 0)
			rc = visit(ctx, e->d_name);
	}
	closedir(d);
	return rc;
}
