/* The books of a replica, see books.h. */
#include "client/books.h"

#include "base/clock.h"
#include "client/entries.h"
#include "profiles/profile.h"
#include "tdsync.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FORMAT 2 /* of td-sync.db, its user_version */

/* Ours beside the state's tables, as they were at first. */
static const char schema[] =
    "CREATE TABLE " TDSYNC ".replica (\n"
    "	one INTEGER PRIMARY KEY CHECK (one = 1),\n"
    "	profile TEXT NOT NULL,              -- name and version the state was made by\n"
    "	device TEXT NOT NULL,               -- our id where td has none\n"
    "	project TEXT NOT NULL DEFAULT '',   -- whose log the state adds up\n"
    "	log_id TEXT NOT NULL DEFAULT '',\n"
    "	cursor INTEGER NOT NULL DEFAULT 0,  -- the state is the log up to here\n"
    "	last_seq INTEGER NOT NULL DEFAULT 0, -- the last event in it\n"
    "	last_digest TEXT NOT NULL DEFAULT '',\n"
    "	td_cursor INTEGER NOT NULL DEFAULT 0, -- td's side as we left it\n"
    "	td_file TEXT NOT NULL DEFAULT '',\n"
    "	td_schema INTEGER NOT NULL DEFAULT 0,\n"
    "	td_undone INTEGER NOT NULL DEFAULT 0,\n"
    "	target INTEGER NOT NULL DEFAULT 0,  -- enum books_target\n"
    "	rehome INTEGER NOT NULL DEFAULT 0,\n"
    "	foreign_rowid INTEGER NOT NULL DEFAULT 0\n"
    ");\n"
    "CREATE TABLE " TDSYNC ".acked (        -- own actions that are in a log\n"
    "	action_id TEXT PRIMARY KEY,         -- action_log.id\n"
    "	client_action_id INTEGER NOT NULL,  -- its rowid when it was sent\n"
    "	seq INTEGER NOT NULL,\n"
    "	log_id TEXT NOT NULL                -- the log that seq belongs to\n"
    ") WITHOUT ROWID;\n"
    "CREATE TABLE " TDSYNC ".rejected (     -- own actions that the server refused\n"
    "	action_id TEXT PRIMARY KEY,\n"
    "	client_action_id INTEGER NOT NULL,\n"
    "	reason TEXT NOT NULL,\n"
    "	at TEXT NOT NULL\n"
    ") WITHOUT ROWID;\n"
    "CREATE TABLE " TDSYNC ".offered (      -- actions we made for rows without any\n"
    "	action_id TEXT PRIMARY KEY,\n"
    "	type TEXT NOT NULL,\n"
    "	id TEXT NOT NULL,\n"
    "	first INTEGER NOT NULL              -- sent before all others\n"
    ") WITHOUT ROWID;\n"
    "CREATE INDEX " TDSYNC ".offered_row ON offered(type, id);\n"
    "CREATE TABLE " TDSYNC ".held (         -- rows that the log made at some time\n"
    "	type TEXT NOT NULL,\n"
    "	id TEXT NOT NULL,\n"
    "	PRIMARY KEY (type, id)\n"
    ") WITHOUT ROWID;\n";

/* And what format 2 adds. */
static const char schema_2[] =
    "ALTER TABLE " TDSYNC ".replica ADD COLUMN"
    " conflict_seq INTEGER NOT NULL DEFAULT 0;\n" /* conflicts are known up to here */
    "ALTER TABLE " TDSYNC ".replica ADD COLUMN"
    " snapshot_seq INTEGER NOT NULL DEFAULT 0;\n" /* the state began as a snapshot */
    "CREATE TABLE " TDSYNC ".conflict (     -- as the server has them, in its order\n"
    "	place INTEGER PRIMARY KEY,\n"
    "	id TEXT NOT NULL UNIQUE,            -- the server's name for it: 42-1\n"
    "	seq INTEGER NOT NULL,               -- the event it came with\n"
    "	kind TEXT NOT NULL,\n"
    "	certain INTEGER NOT NULL,\n"
    "	type TEXT NOT NULL,                 -- the entity\n"
    "	entity TEXT NOT NULL,\n"
    "	fields TEXT NOT NULL,               -- JSON as it came: what was kept and lost\n"
    "	kept TEXT NOT NULL,                 -- and by whom; null where nobody knows\n"
    "	lost TEXT NOT NULL\n"
    ");\n"
    "CREATE TABLE " TDSYNC ".revived (      -- undone actions that are sent all the same\n"
    "	action_id TEXT PRIMARY KEY\n"
    ") WITHOUT ROWID;\n"
    "CREATE TABLE " TDSYNC ".told (         -- conflicts that td was told of once\n"
    "	mark BLOB PRIMARY KEY               -- what happened, under whatever seq\n"
    ") WITHOUT ROWID;\n";

enum query {
	Q_LOAD, Q_INSERT, Q_SAVE, Q_TD_STATE, Q_TD_LINK, Q_TD_UNLINK, Q_TD_PULLED,
	Q_TD_PUSHED, Q_MARK, Q_ACKED, Q_REJECTED, Q_UNREJECT, Q_FORGIVE, Q_UNACK,
	Q_UNPLACE, Q_RESEND, Q_IS_HELD, Q_FORGET_ACKED, Q_FORGET_OFFERED, Q_LOST_OFFERS,
	Q_HELD, Q_FORGET_HELD, Q_HISTORY, Q_CONFLICT, Q_COUNT, Q_REJECTIONS, Q_UNDONE,
	Q_FOREIGN, Q_REVIVE, Q_FORGET_CONFLICTS, Q_FORGET_TOLD, Q_SKIPPED, Q__MAX
};

/* The seq of an action_log's row is not one of a project linked before. */
#define OF_THIS_LOG \
	"(rowid > :foreign OR EXISTS" \
	" (SELECT 1 FROM " TDSYNC ".acked k WHERE k.action_id = action_log.id))"

static const char *const queries[Q__MAX] = {
	[Q_LOAD] =
	    "SELECT device, project, log_id, cursor, last_seq, last_digest, td_cursor,"
	    " td_file, td_schema, target, rehome, foreign_rowid, profile, td_undone,"
	    " conflict_seq, snapshot_seq FROM " TDSYNC ".replica",
	[Q_INSERT] =
	    "INSERT INTO " TDSYNC ".replica (one, profile, device)"
	    " VALUES (1, :profile, :device)",
	[Q_SAVE] =
	    "UPDATE " TDSYNC ".replica SET project = :project, log_id = :log_id,"
	    " cursor = :cursor, last_seq = :last_seq, last_digest = :last_digest,"
	    " td_cursor = :td_cursor, td_file = :td_file, td_schema = :td_schema, td_undone = :td_undone,"
	    " target = :target, rehome = :rehome, conflict_seq = :conflict_seq,"
	    " snapshot_seq = :snapshot_seq,"
	    " foreign_rowid = :foreign_rowid, profile = :profile",
	[Q_TD_STATE] =
	    "SELECT project_id, coalesce(last_pulled_server_seq, 0), coalesce(sync_disabled, 0)"
	    " FROM main.sync_state LIMIT 1",
	[Q_TD_LINK] =
	    "INSERT INTO main.sync_state (project_id, last_pushed_action_id,"
	    " last_pulled_server_seq) VALUES (:project, 0, :cursor)",
	[Q_TD_UNLINK] = "DELETE FROM main.sync_state",
	[Q_TD_PULLED] =
	    "UPDATE main.sync_state SET last_pulled_server_seq = :cursor, last_sync_at = :now",
	[Q_TD_PUSHED] =
	    "UPDATE main.sync_state SET last_sync_at = :now,"
	    " last_pushed_action_id = max(coalesce(last_pushed_action_id, 0), :rowid)",
	/* Only if it is what was sent: the same id and number, the same content. */
	[Q_MARK] =
	    "UPDATE main.action_log SET synced_at = :now, server_seq = :seq"
	    " WHERE id = :id AND rowid = :rowid AND entity_id = :entity"
	    " AND action_type = :type AND coalesce(new_data, '') = :new_data"
	    " AND coalesce(previous_data, '') = :previous_data",
	[Q_ACKED] =
	    "INSERT INTO " TDSYNC ".acked (action_id, client_action_id, seq, log_id)"
	    " VALUES (:id, :rowid, :seq, :log_id) ON CONFLICT (action_id) DO UPDATE SET"
	    " client_action_id = excluded.client_action_id, seq = excluded.seq,"
	    " log_id = excluded.log_id",
	[Q_REJECTED] =
	    "INSERT INTO " TDSYNC ".rejected (action_id, client_action_id, reason, at)"
	    " VALUES (:id, :rowid, :reason, :now) ON CONFLICT (action_id) DO UPDATE SET"
	    " client_action_id = excluded.client_action_id, reason = excluded.reason,"
	    " at = excluded.at",
	[Q_UNREJECT] = "DELETE FROM " TDSYNC ".rejected WHERE action_id = :id",
	[Q_FORGIVE] = "DELETE FROM " TDSYNC ".rejected",
	[Q_UNACK] =
	    "UPDATE main.action_log SET synced_at = NULL, server_seq = NULL"
	    " WHERE server_seq > :after AND " BOOKS_COUNTS("action_log") " AND " OF_THIS_LOG,
	[Q_UNPLACE] =
	    "UPDATE main.action_log SET server_seq = NULL"
	    " WHERE server_seq IS NOT NULL AND " OF_THIS_LOG,
	[Q_RESEND] = "UPDATE main.action_log SET synced_at = NULL WHERE id = :id",
	[Q_IS_HELD] = "SELECT 1 FROM " TDSYNC ".held WHERE type = :type AND id = :id",
	[Q_FORGET_ACKED] = "DELETE FROM " TDSYNC ".acked WHERE seq > :after",
	[Q_FORGET_OFFERED] = "DELETE FROM " TDSYNC ".offered",
	[Q_LOST_OFFERS] =
	    "DELETE FROM " TDSYNC ".offered WHERE NOT EXISTS"
	    " (SELECT 1 FROM main.action_log a WHERE a.id = action_id)",
	[Q_HELD] =
	    "INSERT INTO " TDSYNC ".held (type, id) VALUES (:type, :id) ON CONFLICT DO NOTHING",
	[Q_FORGET_HELD] = "DELETE FROM " TDSYNC ".held",
	[Q_HISTORY] =
	    "INSERT INTO main.sync_history (direction, action_type, entity_type, entity_id,"
	    " server_seq, device_id, timestamp)"
	    " VALUES (:direction, :action, :type, :id, :seq, :device, :now)",
	[Q_CONFLICT] =
	    "INSERT INTO main.sync_conflicts (entity_type, entity_id, server_seq, local_data,"
	    " remote_data, overwritten_at)"
	    " VALUES (:type, :id, :seq, :local, nullif(:remote, ''), :now)",
	[Q_COUNT] =
	    "SELECT count(*) FROM main.action_log a"
	    " JOIN " TDSYNC ".rejected r ON r.action_id = a.id"
	    " WHERE a.synced_at IS NULL AND a.undone = 0",
	[Q_REJECTIONS] =
	    "SELECT a.id, a.entity_type, a.entity_id, a.action_type, r.reason"
	    " FROM main.action_log a JOIN " TDSYNC ".rejected r ON r.action_id = a.id"
	    " WHERE a.synced_at IS NULL AND a.undone = 0 ORDER BY a.rowid",
	[Q_UNDONE] =
	    "SELECT count(*) FROM main.action_log a WHERE undone = 1 AND (server_seq IS NULL"
	    " OR EXISTS (SELECT 1 FROM " TDSYNC ".revived r WHERE r.action_id = a.id))",
	[Q_REVIVE] =
	    "INSERT INTO " TDSYNC ".revived (action_id) VALUES (:id) ON CONFLICT DO NOTHING",
	[Q_FOREIGN] =
	    "SELECT coalesce(max(rowid), 0) FROM main.action_log WHERE server_seq IS NOT NULL",
	[Q_FORGET_CONFLICTS] = "DELETE FROM " TDSYNC ".conflict",
	[Q_FORGET_TOLD] = "DELETE FROM " TDSYNC ".told",
	[Q_SKIPPED] = /* last: older schemas lack the table */
	    "INSERT INTO main.sync_skipped_events (server_seq, device_id, action_type,"
	    " entity_type, entity_id, reason, error, payload, skipped_at)"
	    " VALUES (:seq, :device, :action, :type, :id, :reason, :why, :payload, :now)"
	    " ON CONFLICT DO NOTHING",
};

const char *
books_query(size_t i)
{
	return i < Q__MAX ? queries[i] : NULL;
}

/* A statement, prepared at its first use and kept as long as the handle. */
static enum rc
statement(struct local *l, enum query q, sqlite3_stmt **out, struct err *err)
{
	enum rc rc = RC_OK;

	if (l->kept[q] == NULL)
		rc = local_failed(l, db_prepare(l->db, queries[q], &l->kept[q], err), err);
	*out = l->kept[q];
	return rc;
}

static enum rc
run(struct local *l, sqlite3_stmt *st, struct err *err)
{
	enum rc rc = local_failed(l, db_run(st, err), err);

	db_reset(st);
	return rc;
}

/* Run a statement without parameters. */
static enum rc
run_plain(struct local *l, enum query q, struct err *err)
{
	sqlite3_stmt *st;
	enum rc rc = statement(l, q, &st, err);

	return rc == RC_OK ? run(l, st, err) : rc;
}

/* --- td-sync.db --- */

/* "td/1": what a state was made by. */
static void
profile_mark(char out[32])
{
	snprintf(out, 32, "%s/%d", profile_td.name, profile_td.version);
}

static enum rc
make_state(struct local *l, struct err *err)
{
	struct buf sql = { 0 };
	enum rc rc = RC_FAULT;

	profile_schema(&profile_td, TDSYNC, &sql);
	if (buf_cstr(&sql) != NULL)
		rc = local_failed(l, db_exec(l->db, sql.p, err), err);
	buf_free(&sql);
	return rc;
}

static enum rc
drop_state(struct local *l, struct err *err)
{
	struct buf sql = { 0 };
	enum rc rc = RC_FAULT;

	for (const struct profile_entity *e = profile_td.entities; e->table != NULL; e++)
		buf_addf(&sql, "DROP TABLE IF EXISTS " TDSYNC ".\"%s\";", e->table);
	local_foreign_keys(l, false);
	if (buf_cstr(&sql) != NULL)
		rc = local_failed(l, db_exec(l->db, sql.p, err), err);
	local_foreign_keys(l, true);
	buf_free(&sql);
	return rc;
}

/* Keep td-sync.db as it is before its format changes. (By a connection of its own: from
 * one that is in a transaction SQLite copies nothing.) */
static enum rc
keep_format(struct local *l, int v, struct err *err)
{
	struct buf path = { 0 };
	sqlite3 *db = NULL;
	struct err why;
	enum rc rc = RC_FAULT;

	buf_addf(&path, "%s.format%d", l->books, v);
	if (buf_cstr(&path) == NULL)
		err_set(&why, rc, "out of memory");
	else if ((rc = db_open(l->books, DB_FOREIGN, &db, &why)) == RC_OK)
		rc = db_keep(db, path.p, &why);
	if (rc != RC_OK)
		err_set(err, rc, "can't keep .todos/td-sync.db, which has format %d, before it "
		        "becomes %d: %s", v, FORMAT, why.text);
	sqlite3_close(db);
	buf_free(&path);
	return rc;
}

static enum rc
add_format_2(struct local *l, struct err *err)
{
	enum rc rc = db_exec(l->db, schema_2, err);

	if (rc == RC_OK)
		rc = db_exec(l->db, "PRAGMA " TDSYNC ".user_version = 2", err);
	return local_failed(l, rc, err);
}

static enum rc
make_books(struct local *l, struct err *err)
{
	char device[ID_MAX], mark[32];
	sqlite3_stmt *st = NULL;
	enum rc rc;

	if ((rc = id_new("", 16, device)) != RC_OK)
		return err_set(err, rc, "no random numbers");
	profile_mark(mark);
	if ((rc = local_failed(l, db_exec(l->db, schema, err), err)) != RC_OK ||
	    (rc = add_format_2(l, err)) != RC_OK || (rc = make_state(l, err)) != RC_OK ||
	    (rc = statement(l, Q_INSERT, &st, err)) != RC_OK)
		return rc;
	db_bind_text(st, ":profile", span_of(mark));
	db_bind_text(st, ":device", span_of(device));
	return run(l, st, err);
}

static int
format(struct local *l)
{
	sqlite3_stmt *st = NULL;
	int v = -1;

	if (sqlite3_prepare_v2(l->db, "PRAGMA " TDSYNC ".user_version", -1, &st, NULL) ==
	    SQLITE_OK && sqlite3_step(st) == SQLITE_ROW)
		v = sqlite3_column_int(st, 0);
	sqlite3_finalize(st);
	return v;
}

bool
books_ready(struct local *l)
{
	return format(l) == FORMAT;
}

enum rc
books_prepare(struct local *l, struct err *err)
{
	struct books b;
	int v = format(l);
	enum rc rc;

	if (v > FORMAT)
		return err_set(err, RC_INVALID, ".todos/td-sync.db was written by a newer "
		               "td-sync: use that one");
	if (v < 0)
		return local_failed(l, err_set(err, RC_FAULT, "can't read .todos/td-sync.db"),
		                    err);
	if (v == 0)
		return make_books(l, err);
	if (v == 1 && ((rc = keep_format(l, v, err)) != RC_OK ||
	               (rc = add_format_2(l, err)) != RC_OK))
		return rc;
	if ((rc = books_load(l, &b, err)) != RC_OK || !b.other_profile)
		return rc;
	if ((rc = books_reset_state(l, &b, err)) == RC_OK)
		rc = books_save(l, &b, err);
	return rc;
}

/* Copy a text column; cut when it is longer than anything we ever wrote. */
static void
copy(sqlite3_stmt *st, int col, char *out, size_t size)
{
	struct span s = db_span(st, col);

	snprintf(out, size, "%.*s", (int)s.len, s.p == NULL ? "" : s.p);
}

enum rc
books_load(struct local *l, struct books *b, struct err *err)
{
	char mark[32];
	sqlite3_stmt *st;
	bool row = false;
	enum rc rc;

	*b = (struct books){ 0 };
	if ((rc = statement(l, Q_LOAD, &st, err)) != RC_OK)
		return rc;
	if ((rc = local_failed(l, db_step(st, &row, err), err)) == RC_OK && !row)
		rc = err_set(err, RC_UNAVAILABLE, ".todos/td-sync.db is damaged: move it away, "
		             "it is made anew");
	if (rc == RC_OK) {
		profile_mark(mark);
		copy(st, 0, b->device, sizeof(b->device));
		copy(st, 1, b->project, sizeof(b->project));
		copy(st, 2, b->log_id, sizeof(b->log_id));
		b->cursor = sqlite3_column_int64(st, 3);
		b->last_seq = sqlite3_column_int64(st, 4);
		copy(st, 5, b->last_digest, sizeof(b->last_digest));
		b->td_cursor = sqlite3_column_int64(st, 6);
		copy(st, 7, b->td_file, sizeof(b->td_file));
		b->td_schema = sqlite3_column_int(st, 8);
		b->target = (enum books_target)sqlite3_column_int(st, 9);
		b->rehome = sqlite3_column_int(st, 10) != 0;
		b->foreign_rowid = sqlite3_column_int64(st, 11);
		b->td_undone = sqlite3_column_int64(st, 13);
		b->conflict_seq = sqlite3_column_int64(st, 14);
		b->snapshot_seq = sqlite3_column_int64(st, 15);
		b->other_profile = !span_is(db_span(st, 12), mark);
	}
	db_reset(st);
	return rc;
}

enum rc
books_save(struct local *l, const struct books *b, struct err *err)
{
	char mark[32];
	sqlite3_stmt *st;
	enum rc rc = statement(l, Q_SAVE, &st, err);

	if (rc != RC_OK)
		return rc;
	profile_mark(mark);
	db_bind_text(st, ":profile", span_of(mark));
	db_bind_text(st, ":project", span_of(b->project));
	db_bind_text(st, ":log_id", span_of(b->log_id));
	db_bind_int(st, ":cursor", b->cursor);
	db_bind_int(st, ":last_seq", b->last_seq);
	db_bind_text(st, ":last_digest", span_of(b->last_digest));
	db_bind_int(st, ":td_cursor", b->td_cursor);
	db_bind_text(st, ":td_file", span_of(b->td_file));
	db_bind_int(st, ":td_schema", b->td_schema);
	db_bind_int(st, ":td_undone", b->td_undone);
	db_bind_int(st, ":target", b->target);
	db_bind_int(st, ":rehome", b->rehome);
	db_bind_int(st, ":foreign_rowid", b->foreign_rowid);
	db_bind_int(st, ":conflict_seq", b->conflict_seq);
	db_bind_int(st, ":snapshot_seq", b->snapshot_seq);
	return run(l, st, err);
}

enum rc
books_reset_state(struct local *l, struct books *b, struct err *err)
{
	enum rc rc;

	b->cursor = b->last_seq = b->conflict_seq = b->snapshot_seq = 0;
	b->last_digest[0] = '\0';
	b->other_profile = false;
	if (b->target == TARGET_NONE)
		b->target = TARGET_CURSOR;
	if ((rc = drop_state(l, err)) == RC_OK && (rc = make_state(l, err)) == RC_OK &&
	    (rc = run_plain(l, Q_FORGET_HELD, err)) == RC_OK)
		rc = run_plain(l, Q_FORGET_CONFLICTS, err);
	return rc;
}

void
books_file_id(const struct local *l, char out[48])
{
	snprintf(out, 48, "%jx:%jx", (uintmax_t)l->id.dev, (uintmax_t)l->id.ino);
}

/* --- what became of actions --- */

/* A time as SQLite's CURRENT_TIMESTAMP has it, which td writes here. */
static struct span
plain_time(int64_t now_us, char out[TIME_TEXT])
{
	time_text(now_us / 1000000, out); /* 2026-11-23T17:44:09Z */
	out[10] = ' ';
	out[19] = '\0';
	return span_of(out);
}

/* A time as Go's driver writes it: with its fraction and offset. */
static struct span
full_time(int64_t now_us, struct buf *out)
{
	time_add_sqlite(out, time_of_us(now_us));
	return buf_span(out);
}

enum rc
books_acked(struct local *l, const struct entry *a, int64_t seq, const char *log_id,
            int64_t now_us, bool *marked, struct err *err)
{
	char now[TIME_TEXT];
	sqlite3_stmt *st;
	enum rc rc;

	*marked = false;
	if ((rc = statement(l, Q_MARK, &st, err)) != RC_OK)
		return rc;
	db_bind_text(st, ":now", plain_time(now_us, now));
	db_bind_int(st, ":seq", seq);
	db_bind_text(st, ":id", a->id);
	db_bind_int(st, ":rowid", a->rowid);
	db_bind_text(st, ":entity", a->entity_id);
	db_bind_text(st, ":type", a->action_type);
	db_bind_text(st, ":new_data", a->new_data);
	db_bind_text(st, ":previous_data", a->previous_data);
	if ((rc = run(l, st, err)) != RC_OK)
		return rc;
	*marked = sqlite3_changes(l->db) > 0;
	if ((rc = statement(l, Q_ACKED, &st, err)) != RC_OK)
		return rc;
	db_bind_text(st, ":id", a->id);
	db_bind_int(st, ":rowid", a->rowid);
	db_bind_int(st, ":seq", seq);
	db_bind_text(st, ":log_id", span_of(log_id));
	if ((rc = run(l, st, err)) != RC_OK ||
	    (rc = statement(l, Q_UNREJECT, &st, err)) != RC_OK)
		return rc;
	db_bind_text(st, ":id", a->id);
	return run(l, st, err);
}

enum rc
books_rejected(struct local *l, const struct entry *a, struct span reason,
               int64_t now_us, struct err *err)
{
	char now[TIME_TEXT];
	sqlite3_stmt *st;
	enum rc rc = statement(l, Q_REJECTED, &st, err);

	if (rc != RC_OK)
		return rc;
	db_bind_text(st, ":id", a->id);
	db_bind_int(st, ":rowid", a->rowid);
	db_bind_text(st, ":reason", reason);
	db_bind_text(st, ":now", plain_time(now_us, now));
	return run(l, st, err);
}

enum rc
books_forgive(struct local *l, struct err *err)
{
	return run_plain(l, Q_FORGIVE, err);
}

enum rc
books_unack(struct local *l, int64_t after, int64_t foreign, bool *any, struct err *err)
{
	sqlite3_stmt *st;
	enum rc rc;

	*any = false;
	if ((rc = statement(l, Q_UNACK, &st, err)) != RC_OK)
		return rc;
	db_bind_int(st, ":after", after);
	db_bind_int(st, ":foreign", foreign);
	if ((rc = run(l, st, err)) != RC_OK)
		return rc;
	*any = sqlite3_changes(l->db) > 0;
	if ((rc = statement(l, Q_FORGET_ACKED, &st, err)) != RC_OK)
		return rc;
	db_bind_int(st, ":after", after);
	return run(l, st, err);
}

enum rc
books_lose_log(struct local *l, int64_t foreign, struct err *err)
{
	sqlite3_stmt *st;
	enum rc rc;

	if ((rc = statement(l, Q_UNPLACE, &st, err)) != RC_OK)
		return rc;
	db_bind_int(st, ":foreign", foreign);
	if ((rc = run(l, st, err)) != RC_OK ||
	    (rc = run_plain(l, Q_FORGET_OFFERED, err)) != RC_OK ||
	    (rc = statement(l, Q_FORGET_ACKED, &st, err)) != RC_OK)
		return rc;
	db_bind_int(st, ":after", -1);
	return run(l, st, err);
}

enum rc
books_revive(struct local *l, const struct entry *a, struct err *err)
{
	sqlite3_stmt *st;
	enum rc rc = statement(l, Q_REVIVE, &st, err);

	if (rc != RC_OK)
		return rc;
	db_bind_text(st, ":id", a->id);
	return run(l, st, err);
}

enum rc
books_resend(struct local *l, const struct entry *a, struct err *err)
{
	sqlite3_stmt *st;
	enum rc rc = statement(l, Q_RESEND, &st, err);

	if (rc != RC_OK)
		return rc;
	db_bind_text(st, ":id", a->id);
	return run(l, st, err);
}

enum rc
books_forget_project(struct local *l, struct err *err)
{
	sqlite3_stmt *st;
	enum rc rc;

	if ((rc = statement(l, Q_FORGET_ACKED, &st, err)) != RC_OK)
		return rc;
	db_bind_int(st, ":after", -1);
	if ((rc = run(l, st, err)) == RC_OK &&
	    (rc = run_plain(l, Q_FORGET_OFFERED, err)) == RC_OK &&
	    (rc = run_plain(l, Q_FORGET_TOLD, err)) == RC_OK)
		rc = run_plain(l, Q_FORGIVE, err);
	return rc;
}

enum rc
books_lost_offers(struct local *l, bool *any, struct err *err)
{
	enum rc rc = run_plain(l, Q_LOST_OFFERS, err);

	*any = rc == RC_OK && sqlite3_changes(l->db) > 0;
	return rc;
}

enum rc
books_held(struct local *l, const char *type, struct span id, struct err *err)
{
	sqlite3_stmt *st;
	enum rc rc = statement(l, Q_HELD, &st, err);

	if (rc != RC_OK)
		return rc;
	db_bind_text(st, ":type", span_of(type));
	db_bind_text(st, ":id", id);
	return run(l, st, err);
}

enum rc
books_is_held(struct local *l, const char *type, struct span id, bool *out, struct err *err)
{
	sqlite3_stmt *st;
	enum rc rc = statement(l, Q_IS_HELD, &st, err);

	*out = false;
	if (rc != RC_OK)
		return rc;
	db_bind_text(st, ":type", span_of(type));
	db_bind_text(st, ":id", id);
	rc = local_failed(l, db_step(st, out, err), err);
	db_reset(st);
	return rc;
}

/* The number that a query without parameters gives. */
static enum rc
ask(struct local *l, enum query q, int64_t *out, struct err *err)
{
	sqlite3_stmt *st;
	bool row = false;
	enum rc rc = statement(l, q, &st, err);

	*out = 0;
	if (rc != RC_OK)
		return rc;
	if ((rc = local_failed(l, db_step(st, &row, err), err)) == RC_OK && row)
		*out = sqlite3_column_int64(st, 0);
	db_reset(st);
	return rc;
}

enum rc
books_rejections(struct local *l, int64_t *out, struct err *err)
{
	return ask(l, Q_COUNT, out, err);
}

enum rc
books_each_rejection(struct local *l,
                     void (*visit)(void *ctx, const struct tdsync_rejection *r),
                     void *ctx, struct err *err)
{
	sqlite3_stmt *st;
	bool row = false;
	enum rc rc = statement(l, Q_REJECTIONS, &st, err);

	if (rc != RC_OK)
		return rc;
	while ((rc = local_failed(l, db_step(st, &row, err), err)) == RC_OK && row) {
		struct tdsync_rejection r = {
			(const char *)sqlite3_column_text(st, 0),
			(const char *)sqlite3_column_text(st, 1),
			(const char *)sqlite3_column_text(st, 2),
			(const char *)sqlite3_column_text(st, 3),
			(const char *)sqlite3_column_text(st, 4),
		};

		visit(ctx, &r);
	}
	db_reset(st);
	return rc;
}

enum rc
books_undone(struct local *l, int64_t *out, struct err *err)
{
	return ask(l, Q_UNDONE, out, err);
}

enum rc
books_foreign(struct local *l, int64_t *out, struct err *err)
{
	return ask(l, Q_FOREIGN, out, err);
}

/* --- td's books --- */

enum rc
td_state_load(struct local *l, struct td_state *out, struct err *err)
{
	sqlite3_stmt *st;
	enum rc rc = statement(l, Q_TD_STATE, &st, err);

	*out = (struct td_state){ 0 };
	if (rc != RC_OK)
		return rc;
	if ((rc = local_failed(l, db_step(st, &out->linked, err), err)) == RC_OK &&
	    out->linked) {
		copy(st, 0, out->project, sizeof(out->project));
		out->cursor = sqlite3_column_int64(st, 1);
		out->disabled = sqlite3_column_int64(st, 2) != 0;
	}
	db_reset(st);
	return rc;
}

enum rc
td_state_link(struct local *l, const char *project, int64_t cursor, struct err *err)
{
	sqlite3_stmt *st;
	enum rc rc = statement(l, Q_TD_LINK, &st, err);

	if (rc != RC_OK)
		return rc;
	db_bind_text(st, ":project", span_of(project));
	db_bind_int(st, ":cursor", cursor);
	return run(l, st, err);
}

enum rc
td_state_unlink(struct local *l, struct err *err)
{
	return run_plain(l, Q_TD_UNLINK, err);
}

enum rc
td_state_pulled(struct local *l, int64_t cursor, int64_t now_us, struct err *err)
{
	char now[TIME_TEXT];
	sqlite3_stmt *st;
	enum rc rc = statement(l, Q_TD_PULLED, &st, err);

	if (rc != RC_OK)
		return rc;
	db_bind_int(st, ":cursor", cursor);
	db_bind_text(st, ":now", plain_time(now_us, now));
	return run(l, st, err);
}

enum rc
td_state_pushed(struct local *l, int64_t rowid, int64_t now_us, struct err *err)
{
	char now[TIME_TEXT];
	sqlite3_stmt *st;
	enum rc rc = statement(l, Q_TD_PUSHED, &st, err);

	if (rc != RC_OK)
		return rc;
	db_bind_int(st, ":rowid", rowid);
	db_bind_text(st, ":now", plain_time(now_us, now));
	return run(l, st, err);
}

enum rc
td_history(struct local *l, const char *direction, const struct event *ev, int64_t seq,
           int64_t now_us, struct err *err)
{
	struct buf now = { 0 };
	sqlite3_stmt *st;
	enum rc rc = statement(l, Q_HISTORY, &st, err);

	if (rc != RC_OK)
		return rc;
	db_bind_text(st, ":direction", span_of(direction));
	db_bind_text(st, ":action", span_of(action_name(ev->action)));
	db_bind_text(st, ":type", ev->type);
	db_bind_text(st, ":id", ev->id);
	db_bind_int(st, ":seq", seq);
	db_bind_text(st, ":device", ev->device);
	db_bind_text(st, ":now", full_time(now_us, &now));
	rc = run(l, st, err);
	buf_free(&now);
	return rc;
}

enum rc
td_skipped(struct local *l, const struct event *ev, const char *reason, const char *why,
           int64_t now_us, struct err *err)
{
	char now[TIME_TEXT];
	sqlite3_stmt *st;
	enum rc rc;

	if (!local_has_table(l, "sync_skipped_events"))
		return RC_OK;
	if ((rc = statement(l, Q_SKIPPED, &st, err)) != RC_OK)
		return rc;
	db_bind_int(st, ":seq", ev->seq);
	db_bind_text(st, ":device", ev->device);
	db_bind_text(st, ":action", span_of(action_name(ev->action)));
	db_bind_text(st, ":type", ev->type);
	db_bind_text(st, ":id", ev->id);
	db_bind_text(st, ":reason", span_of(reason));
	db_bind_text(st, ":why", span_of(why));
	db_bind_text(st, ":payload", ev->payload);
	db_bind_text(st, ":now", plain_time(now_us, now));
	return run(l, st, err);
}

enum rc
td_conflict(struct local *l, const char *type, struct span id, int64_t seq,
            struct span local_json, struct span remote_json, int64_t now_us,
            struct err *err)
{
	struct buf now = { 0 };
	sqlite3_stmt *st;
	enum rc rc = statement(l, Q_CONFLICT, &st, err);

	if (rc != RC_OK)
		return rc;
	db_bind_text(st, ":type", span_of(type));
	db_bind_text(st, ":id", id);
	db_bind_int(st, ":seq", seq);
	db_bind_text(st, ":local", local_json);
	db_bind_text(st, ":remote", remote_json);
	db_bind_text(st, ":now", full_time(now_us, &now));
	rc = run(l, st, err);
	buf_free(&now);
	return rc;
}
