#include "replica.h"

#include "base/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* Zones as td's users have them; two of them not by whole hours. */
static const struct {
	const char *name;
	int32_t east;
} zones[] = {
	{ "UTC", 0 },
	{ "PST", -8 * 3600 },
	{ "CET", 3600 },
	{ "IST", 5 * 3600 + 1800 },
	{ "+0545", 5 * 3600 + 2700 },
	{ "NZDT", 13 * 3600 },
};
#define ZONES (sizeof(zones) / sizeof(zones[0]))

static void
mkdir_or_die(const char *path)
{
	if (mkdir(path, 0700) != 0 && errno != EEXIST)
		die("%s: %s", path, strerror(errno));
}

void
replica_new_device(struct replica *r)
{
	rng_id(&r->rng, "dev_", 16, r->device, sizeof(r->device));
}

void
replica_init(struct replica *r, const char *name, int place, const char *parent,
             struct wall *wall, struct rng rng)
{
	memset(r, 0, sizeof(*r));
	snprintf(r->name, sizeof(r->name), "%s", name);
	snprintf(r->dir, sizeof(r->dir), "%s/%s", parent, name);
	snprintf(r->db, sizeof(r->db), "%s/.todos/issues.db", r->dir);
	r->zone = zones[(size_t)place % ZONES].east;
	r->zone_name = zones[(size_t)place % ZONES].name;
	r->wall = wall;
	r->rng = rng;
	replica_new_device(r);
	rng_id(&r->rng, "ses_", 6, r->session, sizeof(r->session));
}

static void
make_folder(struct replica *r)
{
	char path[PATH_LEN + 24];

	mkdir_or_die(r->dir);
	snprintf(path, sizeof(path), "%s/.todos", r->dir);
	mkdir_or_die(path);
}

int
replica_version(sqlite3 *db)
{
	return (int)sql_int(db, 0, "SELECT value FROM schema_info WHERE key = 'version'", "");
}

sqlite3 *
replica_empty(const char *path, int schema)
{
	char name[PATH_LEN];
	struct buf sql = { 0 };
	struct err err;
	sqlite3 *db;

	snprintf(name, sizeof(name), "%s/harness/schema/v%d.sql", TOP_SRCDIR, schema);
	if (fs_read(name, 1 << 20, &sql, &err) != RC_OK || buf_cstr(&sql) == NULL)
		die("%s", err.text);
	db = sql_open(path, true);
	sql_run(db, "PRAGMA synchronous = OFF; BEGIN", "");
	sql_run(db, sql.p, "");
	sql_run(db, "COMMIT", "");
	buf_free(&sql);
	return db;
}

static void
add_session(const struct replica *r, sqlite3 *db)
{
	char now[TIME_TEXT];

	time_text(r->wall->us / 1000000, now);
	now[10] = ' ';
	now[19] = '\0';
	sql_run(db, "INSERT INTO sessions(id, branch, agent_type, started_at)"
	    " VALUES(?, 'default', 'terminal', ?)", "ss", r->session, now);
}

void
replica_new_session(struct replica *r, sqlite3 *db)
{
	rng_id(&r->rng, "ses_", 6, r->session, sizeof(r->session));
	add_session(r, db);
}

void
replica_make(struct replica *r, int schema)
{
	char now[TIME_TEXT];
	sqlite3 *db;

	make_folder(r);
	r->schema = schema;
	db = replica_empty(r->db, schema);
	/* td kept a WAL until schema 31 (the real databases have one). */
	if (schema < 38)
		sql_run(db, "PRAGMA journal_mode = WAL", "");
	time_text(r->wall->us / 1000000, now);
	now[10] = ' ';
	now[19] = '\0';
	sql_run(db, "INSERT INTO boards(id, name, is_builtin, created_at, updated_at)"
	    " VALUES('bd-all-issues', 'All Issues', 1, ?1, ?1)", "s", now);
	add_session(r, db);
	sql_close(db);
}

void
replica_renew(struct replica *r)
{
	static const char *const names[] = { "issues.db", "issues.db-wal", "issues.db-shm",
	    "issues.db-journal", "td-sync.db", "td-sync.db-wal", "td-sync.db-shm",
	    "td-sync.db-journal" };
	char path[PATH_LEN + 40];
	size_t i;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(path, sizeof(path), "%s/.todos/%s", r->dir, names[i]);
		remove(path);
	}
	replica_make(r, r->schema);
	r->linked = false;
}

static void
copy_file(const char *from, const char *to)
{
	struct buf content = { 0 };
	struct err err;
	int fd;

	if (fs_read(from, 1 << 30, &content, &err) != RC_OK)
		die("%s", err.text);
	fd = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	if (fd < 0 || write(fd, content.p, content.len) != (ssize_t)content.len ||
	    close(fd) != 0)
		die("%s: %s", to, strerror(errno));
	buf_free(&content);
}

static void
forget_syncs(sqlite3 *db)
{
	sql_run(db, "DELETE FROM sync_state; DELETE FROM sync_conflicts;"
	    " DELETE FROM sync_history;"
	    " UPDATE action_log SET synced_at = NULL, server_seq = NULL", "");
	if (sql_has(db, "sync_skipped_events", "server_seq"))
		sql_run(db, "DELETE FROM sync_skipped_events", "");
}

void
replica_copy(struct replica *r, const char *from, enum replica_copying how)
{
	sqlite3 *db;

	make_folder(r);
	copy_file(from, r->db);
	db = sql_open(r->db, false);
	sql_run(db, "PRAGMA synchronous = OFF", "");
	r->schema = replica_version(db);
	if (how != COPY_AS_IT_IS)
		forget_syncs(db);
	if (how == COPY_ROWS_ONLY)
		sql_run(db, "DELETE FROM action_log", "");
	sql_close(db);
}

/* What a repository with .todos/ in git would take back: the database alone,
 * its journal closed into it. Our own file beside it stays as it is. */
static void
git(const struct replica *r, const char *as, bool back)
{
	char path[PATH_LEN * 2], side[PATH_LEN * 2];
	sqlite3 *db;

	snprintf(path, sizeof(path), "%s/.todos/%s", r->dir, as);
	db = sql_open(r->db, false);
	sql_run(db, "PRAGMA wal_checkpoint(TRUNCATE)", "");
	sql_close(db);
	if (!back) {
		copy_file(r->db, path);
		return;
	}
	/* git writes a new file and renames it: another inode. */
	snprintf(side, sizeof(side), "%s.new", r->db);
	copy_file(path, side);
	if (rename(side, r->db) != 0)
		die("%s: %s", side, strerror(errno));
}

void
replica_keep(const struct replica *r, const char *as)
{
	git(r, as, false);
}

void
replica_set_back(const struct replica *r, const char *as)
{
	git(r, as, true);
}

sqlite3 *
replica_open(const struct replica *r)
{
	sqlite3 *db = sql_open(r->db, false);

	/* Before td enforced them, a parent_id of '' broke a foreign key. */
	sql_run(db, r->schema >= 30 ? "PRAGMA foreign_keys = ON"
	                            : "PRAGMA foreign_keys = OFF", "");
	sql_run(db, "PRAGMA synchronous = NORMAL", "");
	if (r->schema >= 38)
		sql_run(db, "PRAGMA journal_mode = TRUNCATE", "");
	return db;
}

bool
replica_lock(const struct replica *r, bool wait, int *fd)
{
	char path[PATH_LEN + 24];

	snprintf(path, sizeof(path), "%s/.todos/db.lock", r->dir);
	*fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (*fd < 0)
		die("%s: %s", path, strerror(errno));
	if (flock(*fd, LOCK_EX | (wait ? 0 : LOCK_NB)) == 0)
		return true;
	if (errno != EWOULDBLOCK)
		die("%s: %s", path, strerror(errno));
	close(*fd);
	*fd = -1;
	return false;
}

void
replica_unlock(int fd)
{
	close(fd);
}

struct instant
replica_now(const struct replica *r)
{
	struct instant at = time_of_us(r->wall->us);

	at.sec += r->skew_s;
	at.offset = r->zone;
	return at;
}

int64_t
replica_pending(const struct replica *r)
{
	sqlite3 *db = sql_open(r->db, false);
	int64_t n;

	n = sql_int(db, 0, "SELECT count(*) FROM action_log"
	    " WHERE synced_at IS NULL AND undone = 0", "");
	sql_close(db);
	return n;
}
