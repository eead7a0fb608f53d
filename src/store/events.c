/* The event log of one project, see events.h. */
#include "store/events.h"

#include "base/clock.h"
#include "base/fs.h"
#include "base/id.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "store/db.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * A payload of this many bytes is written piece by piece into its row: in one
 * statement SQLite would hold it a second time. It then is a BLOB in a column
 * of TEXT; the bytes are the same.
 */
#define LARGE EVENT_LARGE

#define FORMAT 1 /* of events.db; a newer one is refused */

/* When to checkpoint, in bytes of WAL (design.md, "One lock file per project"). */
#define WAL_TRY (4 << 20)       /* if the lock is free at once */
#define WAL_WAIT (16 << 20)     /* wait for the lock */
#define WAL_TRUNCATE (64 << 20) /* and for readers, for a second */

static const char schema[] =
    "CREATE TABLE meta("
    " key TEXT PRIMARY KEY,"          /* 'format', 'profile', 'heal_from', 'moved_to'; 'gap '
                                       * and 19 digits: what was passed over */
    " value NOT NULL"
    ") WITHOUT ROWID;"
    "CREATE TABLE head("              /* one row: the end of the log */
    " id INTEGER PRIMARY KEY CHECK (id = 1),"
    " log_id BLOB NOT NULL,"          /* which log this is */
    " seq INTEGER NOT NULL,"          /* last one given */
    " count INTEGER NOT NULL,"        /* events in the log */
    " time_us INTEGER NOT NULL,"      /* server time of the last event */
    " visible INTEGER NOT NULL"       /* last seq that is not parked */
    ");"
    "CREATE TABLE author("            /* who sent events, as small integers */
    " id INTEGER PRIMARY KEY,"
    " device TEXT NOT NULL,"
    " session TEXT NOT NULL,"
    " user TEXT NOT NULL,"
    " UNIQUE (device, session, user)"
    ");"
    "CREATE TABLE event("
    " seq INTEGER PRIMARY KEY,"       /* its place */
    " author INTEGER NOT NULL REFERENCES author(id),"
    " action_id INTEGER NOT NULL,"    /* the author's number, 0: none */
    " digest BLOB NOT NULL,"          /* what happened, engine/digest.h */
    " action INTEGER NOT NULL,"       /* enum action */
    " by_server INTEGER NOT NULL,"    /* the server itself wrote it */
    " parked INTEGER NOT NULL,"       /* not sent, not applied */
    " server_us INTEGER NOT NULL,"    /* when it was logged */
    " type TEXT NOT NULL,"            /* entity type, canonical where known */
    " entity TEXT NOT NULL,"          /* entity id */
    " time TEXT NOT NULL,"            /* the author's timestamp, RFC 3339 */
    " payload TEXT NOT NULL"          /* JSON as it came, local fields cut; a
                                       * large one as a blob */
    ");"
    /* The only index: it grows at its end where each device's numbers grow. */
    "CREATE UNIQUE INDEX event_key ON event(action_id, digest);";

enum query { Q_HEAD, Q_HEAD_SET, Q_AUTHOR, Q_AUTHOR_ADD, Q_APPEND, Q_FIND,
             Q_WALK, Q_GET, Q_GLANCE, Q_BEFORE, Q_BYTES, Q_LARGE, Q_DIGEST, Q_HOLD, Q_LET_GO, Q_BEGIN, Q_COMMIT,
             Q_HEAL_FROM, Q_SET_HEAL_FROM, Q_MOVED_TO, Q_SET_MOVED_TO, Q_GAP, Q_GAPS, Q_SET_GAP, Q__MAX };

/* What read_event() reads. */
#define SELECT_WITH(payload) \
	"SELECT e.seq, a.device, a.session, a.user, e.action_id, e.digest," \
	" e.action, e.by_server, e.parked, e.server_us, e.type, e.entity," \
	" e.time, " payload " FROM event e JOIN author a ON a.id = e.author"
#define SELECT_EVENT SELECT_WITH("e.payload")

#define SELECT_GAP "SELECT CAST(substr(key, 5) AS INTEGER), value FROM meta"
#define SET_GAP "INSERT OR REPLACE INTO meta VALUES (printf('gap %019d', :after), :until)"

static const char *const queries[Q__MAX] = {
	[Q_HEAD] =
	    "SELECT log_id, seq, count, time_us, visible FROM head WHERE id = 1",
	[Q_HEAD_SET] =
	    "UPDATE head SET seq = :seq, count = :count, time_us = :time_us,"
	    " visible = :visible WHERE id = 1",
	[Q_AUTHOR] =
	    "SELECT id FROM author"
	    " WHERE device = :device AND session = :session AND user = :user",
	[Q_AUTHOR_ADD] =
	    "INSERT INTO author(device, session, user)"
	    " VALUES (:device, :session, :user)",
	[Q_APPEND] =
	    "INSERT INTO event(seq, author, action_id, digest, action, by_server,"
	    " parked, server_us, type, entity, time, payload)"
	    " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)"
	    " ON CONFLICT (action_id, digest) DO NOTHING",
	[Q_FIND] =
	    "SELECT seq FROM event WHERE action_id = :action_id AND digest = :digest",
	[Q_GET] = SELECT_EVENT " WHERE e.seq = :seq",
	[Q_GLANCE] = SELECT_WITH("''") " WHERE e.seq = :seq",
	[Q_WALK] = /* whether it is a BLOB is seen without reading it */
	    SELECT_WITH("CASE WHEN :small AND typeof(e.payload) = 'blob' THEN NULL"
	                " ELSE e.payload END")
	    " WHERE e.seq > :after AND e.seq <= :last AND e.parked <= :parked"
	    " ORDER BY e.seq",
	[Q_BEFORE] =
	    "SELECT seq FROM event WHERE seq < :seq AND parked = 0"
	    " ORDER BY seq DESC LIMIT 1",
	[Q_BYTES] =
	    "SELECT c.page_count * s.page_size FROM pragma_page_count() c,"
	    " pragma_page_size() s",
	[Q_HOLD] = "BEGIN",
	[Q_LET_GO] = "ROLLBACK", /* nothing was written */
	[Q_BEGIN] = "BEGIN IMMEDIATE",
	[Q_COMMIT] = "COMMIT",
	[Q_LARGE] = /* a large one is a BLOB, whose length is in its row */
	    "SELECT CASE typeof(payload) WHEN 'blob' THEN length(payload) ELSE 0 END"
	    " FROM event WHERE seq > :after AND parked = 0 ORDER BY seq LIMIT 1",
	[Q_DIGEST] =
	    "SELECT digest FROM event WHERE seq = :seq",
	[Q_HEAL_FROM] = "SELECT value FROM meta WHERE key = 'heal_from'",
	[Q_SET_HEAL_FROM] = "INSERT OR REPLACE INTO meta VALUES ('heal_from', :seq)",
	[Q_MOVED_TO] = "SELECT value FROM meta WHERE key = 'moved_to'",
	[Q_SET_MOVED_TO] = "INSERT OR REPLACE INTO meta VALUES ('moved_to', :seq)",
	[Q_GAP] =
	    SELECT_GAP " WHERE key >= 'gap ' AND key < printf('gap %019d', :seq)"
	    " ORDER BY key DESC LIMIT 1",
	[Q_GAPS] = SELECT_GAP " WHERE key >= 'gap ' AND key < 'gap:' ORDER BY key",
	[Q_SET_GAP] = SET_GAP,
};

/*
 * The values of Q_APPEND, in its order: to look each up by its name, for each
 * row, is a twentieth of a large push.
 */
enum append { A_SEQ = 1, A_AUTHOR, A_ACTION_ID, A_DIGEST, A_ACTION, A_BY_SERVER,
              A_PARKED, A_SERVER_US, A_TYPE, A_ENTITY, A_TIME, A_PAYLOAD };

struct events {
	sqlite3 *db;
	sqlite3_stmt *st[Q__MAX];
	struct lock *lock;        /* NULL on a read-only disk */
	char *path, *lock_path;
	struct fs_id id, lock_id; /* the files behind db and lock */
	char profile[80];         /* one that is cut is longer than any name */
	struct events_head head;  /* within a write transaction: its state */
	unsigned char log_id[LOG_ID_LEN]; /* as it was read last */
	bool read_only;           /* the disk is: others are told so */
	bool writing;             /* between begin and commit or rollback */
	bool holding;             /* between hold and let go */
	bool appended;            /* the transaction holds something */
	bool broken;              /* don't trust the handle */
	bool unsettled;           /* a commit failed, and may still be found (db_settle) */
	int64_t author;           /* id of the author below, 0: not looked up; in the
	                           * log of author_log */
	unsigned char author_log[LOG_ID_LEN];
	struct buf author_key;    /* device NUL session NUL user */
	int wal_pages;            /* in the WAL after our last commit */
};

static const char *const action_names[] = {
	[ACTION_CREATE] = "create",
	[ACTION_UPDATE] = "update",
	[ACTION_DELETE] = "delete",
	[ACTION_SOFT_DELETE] = "soft_delete",
	[ACTION_RESTORE] = "restore",
};

const char *
action_name(enum action a)
{
	assert(a >= ACTION_CREATE && a <= ACTION_RESTORE);
	return action_names[a];
}

enum action
action_find(struct span name)
{
	for (int a = ACTION_CREATE; a <= ACTION_RESTORE; a++)
		if (span_is(name, action_names[a]))
			return (enum action)a;
	return 0;
}

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
no_memory(struct err *err)
{
	return err_set(err, RC_FAULT, "out of memory");
}

/* --- making and opening --- */

static int
on_commit(void *ctx, sqlite3 *db, const char *name, int pages)
{
	struct events *e = ctx;

	(void)db;
	(void)name;
	e->wal_pages = pages;
	return SQLITE_OK;
}

/* Open the lock file; there need be none on a read-only disk. */
static enum rc
open_lock(struct events *e, struct err *err)
{
	enum rc rc = lock_open(e->lock_path, &e->lock, err);

	if (rc == RC_OK)
		e->lock_id = lock_file(e->lock);
	return rc == RC_UNAVAILABLE && fs_read_only(e->path) ? RC_OK : rc;
}

/* A handle with its files open, the schema not yet looked at. */
static enum rc
open_files(const char *dir, struct events **out, struct err *err)
{
	struct events *e = calloc(1, sizeof(*e));
	enum rc rc;

	*out = NULL;
	if (e == NULL)
		return no_memory(err);
	e->path = path_join(dir, EVENTS_DB);
	e->lock_path = path_join(dir, EVENTS_LOCK);
	if (e->path == NULL || e->lock_path == NULL)
		rc = no_memory(err);
	else if ((rc = open_lock(e, err)) == RC_OK)
		rc = db_open(e->path, DB_SERVER, &e->db, err);
	if (rc == RC_OK && !fs_identify(e->path, &e->id))
		rc = err_set(err, RC_UNAVAILABLE, "%s vanished while it was opened", dir);
	if (rc != RC_OK) {
		events_close(e);
		return rc;
	}
	e->read_only = e->lock == NULL || sqlite3_db_readonly(e->db, "main") == 1;
	sqlite3_wal_hook(e->db, on_commit, e);
	*out = e;
	return RC_OK;
}

static enum rc
has_schema(struct events *e, bool *yes, struct err *err)
{
	sqlite3_stmt *st;
	enum rc rc;

	*yes = false;
	rc = db_prepare(e->db, "SELECT 1 FROM sqlite_schema WHERE name = 'head'", &st, err);
	if (rc == RC_OK)
		rc = db_step(st, yes, err);
	sqlite3_finalize(st);
	return rc;
}

/* The tables and the head of an empty log, in the open transaction. */
static enum rc
write_schema(struct events *e, const char *profile, struct err *err)
{
	static const char insert[] =
	    "INSERT INTO meta VALUES ('format', :format), ('profile', :profile),"
	    " ('heal_from', 1)";
	static const char head[] =
	    "INSERT INTO head VALUES (1, :log_id, 0, 0, 0, 0)";
	unsigned char log_id[LOG_ID_LEN];
	sqlite3_stmt *st = NULL;
	enum rc rc;

	if ((rc = id_random(log_id, sizeof(log_id))) != RC_OK)
		return err_set(err, rc, "no random bytes for a log id");
	if ((rc = db_exec(e->db, schema, err)) != RC_OK ||
	    (rc = db_prepare(e->db, insert, &st, err)) != RC_OK)
		return rc;
	db_bind_int(st, ":format", FORMAT);
	db_bind_text(st, ":profile", span_of(profile));
	rc = db_run(st, err);
	sqlite3_finalize(st);
	if (rc != RC_OK || (rc = db_prepare(e->db, head, &st, err)) != RC_OK)
		return rc;
	db_bind_blob(st, ":log_id", log_id, sizeof(log_id));
	rc = db_run(st, err);
	sqlite3_finalize(st);
	return rc;
}

/*
 * What stands in the lock file behind each commit: which log it was, and how
 * far it went. So somebody's older copy, or another project's log, does not
 * pass for the log: numbers would be given twice, events be served to others.
 */
#define NOTE "log %s ends at %19" PRId64 "\n"
#define NOTE_LEN (4 + 2 * LOG_ID_LEN + 9 + 19 + 1)

static void
note_text(const unsigned char log_id[LOG_ID_LEN], int64_t seq, char out[NOTE_LEN + 1])
{
	char id[2 * LOG_ID_LEN + 1];

	id_hex(log_id, LOG_ID_LEN, id);
	snprintf(out, NOTE_LEN + 1, NOTE, id, seq);
}

static void
note_head(struct events *e)
{
	char text[NOTE_LEN + 1];

	note_text(e->head.log_id, e->head.seq, text);
	lock_note(e->lock, text, NOTE_LEN);
}

/* Whether a head may come behind what is noted; none, or half a note: yes. */
static bool
follows_note(const char *note, size_t n, const struct events_head *head, int64_t *seq)
{
	char ours[NOTE_LEN + 1], *end;

	note_text(head->log_id, head->seq, ours);
	*seq = strtoll(note + NOTE_LEN - 20, &end, 10);
	if (n != NOTE_LEN || *end != '\n')
		return true;
	return memcmp(note, ours, NOTE_LEN - 20) == 0 && head->seq >= *seq;
}

static void
note_nothing(struct events *e)
{
	char text[NOTE_LEN];

	memset(text, ' ', sizeof(text));
	text[NOTE_LEN - 1] = '\n';
	lock_note(e->lock, text, sizeof(text));
}

enum rc
events_create(const char *dir, const char *profile, struct err *err)
{
	struct events *e;
	bool there = false;
	enum rc rc;

	if ((rc = fs_mkdir(dir, err)) != RC_OK ||
	    (rc = open_files(dir, &e, err)) != RC_OK)
		return rc;
	rc = lock_take(e->lock, clock_mono_ms() + LOCK_WAIT_MS);
	if (rc != RC_OK)
		err_set(err, rc, "%s is locked", e->lock_path);
	else if ((rc = has_schema(e, &there, err)) == RC_OK && there)
		rc = err_set(err, RC_CONFLICT, "%s holds a log already", dir);
	if (rc == RC_OK)
		rc = db_exec(e->db, "BEGIN IMMEDIATE", err);
	if (rc == RC_OK)
		rc = write_schema(e, profile, err);
	if (rc == RC_OK)
		rc = db_exec(e->db, "COMMIT", err);
	if (rc == RC_OK) {
		note_nothing(e); /* of a log that was here before */
		rc = fs_sync(dir, err);
	}
	events_close(e);
	return rc;
}

static enum rc
not_written_last(const struct events *e, const struct events_head *head, int64_t seq,
                 struct err *err)
{
	return err_set(err, RC_UNAVAILABLE, "%s is not the log that was written here last: "
	               "it ends at %" PRId64 ", that one at %" PRId64 ". Put the right file "
	               "back; or, to go on with this one all the same, stop the server and "
	               "remove %s", e->path, head->seq, seq, e->lock_path);
}

/*
 * Read the head, and hold it against the note. Without the lock somebody may
 * commit in between: so the note comes first; and one that was read while it
 * was written is read again.
 */
static enum rc
check_head(struct events *e, struct events_head *head, struct err *err)
{
	char note[NOTE_LEN + 1] = "";
	int64_t seq = 0;
	enum rc rc;

	for (int tries = 0; tries < 2; tries++) {
		size_t n = e->lock == NULL ? 0 : lock_noted(e->lock, note, NOTE_LEN);

		if ((rc = events_head(e, head, err)) != RC_OK || follows_note(note, n, head, &seq))
			return rc;
	}
	return not_written_last(e, head, seq, err);
}

static enum rc
check_format(const struct events *e, int64_t format, struct err *err)
{
	return format == FORMAT ? RC_OK
	       : err_set(err, RC_UNAVAILABLE,
	                 "%s has format %" PRId64 ", this td-sync knows %d: "
	                 "use the version that made it", e->path, format, FORMAT);
}

/* Check the format and remember the profile. */
static enum rc
read_meta(struct events *e, struct err *err)
{
	static const char sql[] =
	    "SELECT (SELECT value FROM meta WHERE key = 'format'),"
	    " (SELECT value FROM meta WHERE key = 'profile')";
	sqlite3_stmt *st = NULL;
	struct span profile;
	bool row = false;
	enum rc rc;

	if ((rc = db_prepare(e->db, sql, &st, err)) == RC_OK)
		rc = db_step(st, &row, err);
	if (rc == RC_OK)
		rc = check_format(e, sqlite3_column_int64(st, 0), err);
	if (rc == RC_OK) {
		profile = db_span(st, 1);
		snprintf(e->profile, sizeof(e->profile), "%.*s", (int)profile.len,
		         profile.p == NULL ? "" : profile.p);
	}
	sqlite3_finalize(st);
	return rc;
}

/* The same where there is a file. */
static enum rc
open_there(const char *dir, struct events **out, struct err *err)
{
	char *path = path_join(dir, EVENTS_DB);
	struct fs_id id;
	enum rc rc;

	*out = NULL;
	if (path == NULL)
		return no_memory(err);
	if (!fs_identify(path, &id))
		rc = err_set(err, RC_NOT_FOUND, "there is no log at %s", path);
	else
		rc = open_files(dir, out, err);
	free(path);
	return rc;
}

enum rc
events_open(const char *dir, struct events **out, struct err *err)
{
	struct events *e;
	bool there = false;
	enum rc rc = open_there(dir, &e, err);

	*out = NULL;
	if (rc == RC_OK && (rc = has_schema(e, &there, err)) == RC_OK && !there)
		rc = err_set(err, RC_NOT_FOUND, "%s is not an event log", e->path);
	if (rc == RC_OK)
		rc = read_meta(e, err);
	for (int q = 0; q < Q__MAX && rc == RC_OK; q++)
		rc = db_prepare(e->db, queries[q], &e->st[q], err);
	if (rc == RC_OK)
		rc = check_head(e, &e->head, err);
	if (rc != RC_OK) {
		events_close(e);
		return rc;
	}
	*out = e;
	return RC_OK;
}

void
events_close(struct events *e)
{
	if (e == NULL)
		return;
	for (int q = 0; q < Q__MAX; q++)
		sqlite3_finalize(e->st[q]);
	sqlite3_close(e->db); /* rolls back; before the lock is let go */
	lock_close(e->lock);
	buf_free(&e->author_key);
	free(e->path);
	free(e->lock_path);
	free(e);
}

/* Whether what lies at the path is the file that is open. */
static bool
is_ours(const struct events *e)
{
	struct fs_id id;

	return fs_identify(e->path, &id) && fs_same(id, e->id);
}

bool
events_stale(const struct events *e)
{
	struct fs_id lock_id;

	if (e->broken || !is_ours(e))
		return true;
	if (e->read_only) /* what was opened as never changing may change again */
		return !fs_read_only(e->path);
	return !fs_identify(e->lock_path, &lock_id) || !fs_same(lock_id, e->lock_id);
}

void
events_relax(struct events *e)
{
	sqlite3_db_release_memory(e->db);
}

const char *
events_profile(const struct events *e)
{
	return e->profile;
}

/* --- reading --- */

/* A head out of the columns of a row. */
static void
read_head(sqlite3_stmt *st, int col, struct events_head *out)
{
	struct span id = db_span(st, col);

	*out = (struct events_head){
		.seq = sqlite3_column_int64(st, col + 1),
		.count = sqlite3_column_int64(st, col + 2),
		.time_us = sqlite3_column_int64(st, col + 3),
		.visible = sqlite3_column_int64(st, col + 4),
	};
	if (id.len == LOG_ID_LEN)
		memcpy(out->log_id, id.p, LOG_ID_LEN);
}

enum rc
events_head(struct events *e, struct events_head *out, struct err *err)
{
	sqlite3_stmt *st = e->st[Q_HEAD];
	bool row;
	enum rc rc;

	*out = (struct events_head){ 0 };
	rc = db_step(st, &row, err);
	if (rc == RC_OK && row) {
		read_head(st, 0, out);
		memcpy(e->log_id, out->log_id, LOG_ID_LEN);
	} else if (rc == RC_OK) {
		rc = err_set(err, RC_UNAVAILABLE, "%s has lost its head row: "
		             "restore it from a backup", e->path);
	}
	db_reset(st);
	return rc;
}

enum rc
events_hold(struct events *e, struct err *err)
{
	enum rc rc;

	assert(!e->writing && !e->holding);
	rc = db_run(e->st[Q_HOLD], err);
	e->holding = rc == RC_OK;
	return rc;
}

void
events_let_go(struct events *e)
{
	if (e->holding && db_run(e->st[Q_LET_GO], NULL) != RC_OK)
		e->broken = true;
	e->holding = false;
}

const unsigned char *
events_log_id(const struct events *e)
{
	return e->log_id;
}

static void
read_event(sqlite3_stmt *st, struct event *ev)
{
	struct span digest = db_span(st, 5);

	*ev = (struct event){
		.seq = sqlite3_column_int64(st, 0),
		.device = db_span(st, 1),
		.session = db_span(st, 2),
		.user = db_span(st, 3),
		.action_id = sqlite3_column_int64(st, 4),
		.action = (enum action)sqlite3_column_int(st, 6),
		.by_server = sqlite3_column_int(st, 7) != 0,
		.parked = sqlite3_column_int(st, 8) != 0,
		.server_us = sqlite3_column_int64(st, 9),
		.type = db_span(st, 10),
		.id = db_span(st, 11),
		.time = db_span(st, 12),
		.payload = db_span(st, 13),
	};
	if (digest.len == EVENT_DIGEST_LEN)
		memcpy(ev->digest, digest.p, EVENT_DIGEST_LEN);
}

static enum rc
walk_rows(struct events *e, int64_t after, int64_t last, bool with_parked, bool small,
          events_visit *visit, void *ctx, struct err *err)
{
	sqlite3_stmt *st = e->st[Q_WALK];
	struct event ev;
	bool row, stop = false;
	enum rc rc;

	db_bind_int(st, ":after", after);
	db_bind_int(st, ":last", last);
	db_bind_int(st, ":small", small);
	db_bind_int(st, ":parked", with_parked);
	while ((rc = db_step(st, &row, err)) == RC_OK && row && !stop) {
		read_event(st, &ev);
		if ((rc = visit(ctx, &ev, &stop)) != RC_OK || stop)
			break;
	}
	db_reset(st);
	return rc;
}

static enum rc
walk(struct events *e, int64_t after, int64_t last, bool with_parked, bool small,
     struct events_head *head, events_visit *visit, void *ctx, struct err *err)
{
	struct events_head now;
	bool own = !e->writing && !e->holding;
	enum rc rc;

	if (own && (rc = events_hold(e, err)) != RC_OK)
		return rc;
	rc = events_head(e, &now, err);
	if (head != NULL)
		*head = now;
	/* A tail of parked events is not walked over at every poll. */
	if (rc == RC_OK && after < (with_parked ? now.seq : now.visible))
		rc = walk_rows(e, after, last, with_parked, small, visit, ctx, err);
	if (own)
		events_let_go(e);
	return rc;
}

enum rc
events_walk(struct events *e, int64_t after, int64_t last, bool with_parked,
            struct events_head *head, events_visit *visit, void *ctx,
            struct err *err)
{
	return walk(e, after, last, with_parked, false, head, visit, ctx, err);
}

enum rc
events_walk_small(struct events *e, int64_t after, int64_t last, struct events_head *head,
                  events_visit *visit, void *ctx, struct err *err)
{
	return walk(e, after, last, false, true, head, visit, ctx, err);
}

static enum rc
get(sqlite3_stmt *st, int64_t seq, struct event *out, struct err *err)
{
	bool row;
	enum rc rc;

	db_reset(st);
	db_bind_int(st, ":seq", seq);
	rc = db_step(st, &row, err);
	if (rc == RC_OK && row)
		read_event(st, out);
	else if (rc == RC_OK)
		rc = err_set(err, RC_NOT_FOUND, "no event %" PRId64, seq);
	if (rc != RC_OK)
		db_reset(st);
	return rc;
}

enum rc
events_get(struct events *e, int64_t seq, struct event *out, struct err *err)
{
	return get(e->st[Q_GET], seq, out, err);
}

enum rc
events_glance(struct events *e, int64_t seq, struct event *out, struct err *err)
{
	return get(e->st[Q_GLANCE], seq, out, err);
}

void
events_got(struct events *e)
{
	db_reset(e->st[Q_GET]);
	db_reset(e->st[Q_GLANCE]);
}

/* The number that a query gives for one parameter; 0 where it has no row. */
static enum rc
read_number(struct events *e, enum query q, const char *name, int64_t v, int64_t *out,
            struct err *err)
{
	sqlite3_stmt *st = e->st[q];
	bool row;
	enum rc rc;

	*out = 0;
	db_bind_int(st, name, v);
	rc = db_step(st, &row, err);
	if (rc == RC_OK && row)
		*out = sqlite3_column_int64(st, 0);
	db_reset(st);
	return rc;
}

enum rc
events_before(struct events *e, int64_t seq, int64_t *out, struct err *err)
{
	return read_number(e, Q_BEFORE, ":seq", seq, out, err);
}

enum rc
events_large_next(struct events *e, int64_t after, int64_t *bytes, struct err *err)
{
	return read_number(e, Q_LARGE, ":after", after, bytes, err);
}

enum rc
events_bytes(struct events *e, int64_t *bytes, struct err *err)
{
	sqlite3_stmt *st = e->st[Q_BYTES];
	bool row;
	enum rc rc = db_step(st, &row, err);

	*bytes = rc == RC_OK && row ? sqlite3_column_int64(st, 0) : 0;
	db_reset(st);
	return rc;
}

enum rc
events_gap(struct events *e, int64_t seq, struct events_gap *out, struct err *err)
{
	sqlite3_stmt *st = e->st[Q_GAP];
	bool row;
	enum rc rc;

	*out = (struct events_gap){ 0 };
	db_bind_int(st, ":seq", seq);
	rc = db_step(st, &row, err);
	if (rc == RC_OK && row) {
		out->after = sqlite3_column_int64(st, 0);
		out->until = sqlite3_column_int64(st, 1);
	} else if (rc == RC_OK) {
		rc = err_set(err, RC_NOT_FOUND, "no gap before %" PRId64, seq);
	}
	db_reset(st);
	return rc;
}

enum rc
events_each_gap(struct events *e, events_visit_gap *visit, void *ctx, struct err *err)
{
	sqlite3_stmt *st = e->st[Q_GAPS];
	bool row;
	enum rc rc;

	while ((rc = db_step(st, &row, err)) == RC_OK && row) {
		struct events_gap g = { sqlite3_column_int64(st, 0), sqlite3_column_int64(st, 1) };

		if ((rc = visit(ctx, &g)) != RC_OK)
			break;
	}
	db_reset(st);
	return rc;
}

enum rc
events_check(struct events *e, struct buf *wrong, struct err *err)
{
	return db_check(e->db, wrong, err);
}

enum rc
events_digest(struct events *e, int64_t seq, unsigned char out[EVENT_DIGEST_LEN],
              struct err *err)
{
	sqlite3_stmt *st = e->st[Q_DIGEST];
	struct span digest;
	bool row;
	enum rc rc;

	memset(out, 0, EVENT_DIGEST_LEN);
	db_bind_int(st, ":seq", seq);
	rc = db_step(st, &row, err);
	if (rc == RC_OK && !row)
		rc = err_set(err, RC_NOT_FOUND, "no event %" PRId64, seq);
	if (rc == RC_OK) {
		digest = db_span(st, 0);
		if (digest.len == EVENT_DIGEST_LEN)
			memcpy(out, digest.p, EVENT_DIGEST_LEN);
	}
	db_reset(st);
	return rc;
}

/* --- writing --- */

/* What a failed commit left in the WAL is made nobody's; needs the lock. */
static enum rc
settle(struct events *e, struct err *err)
{
	enum rc rc = db_settle(e->db, err);

	e->unsettled = rc != RC_OK;
	if (e->unsettled)
		log_write(LOG_ERROR, "%s: the disk failed at a commit and still does: nothing"
		          " is taken until it works again", e->path);
	return rc;
}

enum rc
events_begin(struct events *e, int64_t deadline_ms, struct err *err)
{
	int64_t left, start_us;
	enum rc rc;

	assert(!e->writing && !e->holding);
	if (e->broken)
		return err_set(err, RC_BUSY, "%s must be opened anew", e->path);
	if (e->read_only)
		return err_set(err, RC_UNAVAILABLE, "%s lies on a read-only disk", e->path);
	start_us = clock_mono_us();
	rc = lock_take(e->lock, deadline_ms);
	metrics_add_time(METRIC_WAIT_LOG, clock_mono_us() - start_us);
	if (rc != RC_OK)
		return err_set(err, rc, "the project is busy: try again in a moment");
	/* A restore may have held the lock that was waited for. (What is locked
	 * is what lies at its path.) */
	if (!is_ours(e) || !fs_same(lock_file(e->lock), e->lock_id)) {
		lock_release(e->lock);
		return err_set(err, RC_BUSY, "%s was replaced: open it anew", e->path);
	}
	/* Only somebody without our lock could make SQLite wait. */
	left = deadline_ms - clock_mono_ms();
	sqlite3_busy_timeout(e->db, left > 100 ? (int)left : 100);
	rc = e->unsettled ? settle(e, err) : RC_OK;
	if (rc == RC_OK)
		rc = db_run(e->st[Q_BEGIN], err);
	if (rc == RC_OK) {
		e->writing = true;
		e->appended = false;
		rc = check_head(e, &e->head, err);
	}
	if (memcmp(e->author_log, e->head.log_id, LOG_ID_LEN) != 0) {
		memcpy(e->author_log, e->head.log_id, LOG_ID_LEN);
		e->author = 0;
	}
	if (rc != RC_OK)
		events_rollback(e);
	return rc;
}

/* Whether the author that was looked up last is this one. */
static bool
author_is(struct events *e, const struct event *ev)
{
	struct buf *k = &e->author_key;
	size_t d = ev->device.len, s = ev->session.len, u = ev->user.len;

	return e->author != 0 && k->len == d + s + u + 2 &&
	       memcmp(k->p, ev->device.p, d) == 0 && k->p[d] == '\0' &&
	       memcmp(k->p + d + 1, ev->session.p, s) == 0 && k->p[d + 1 + s] == '\0' &&
	       (u == 0 || memcmp(k->p + d + s + 2, ev->user.p, u) == 0);
}

/* The author's number, made where it is new. */
static enum rc
author_id(struct events *e, const struct event *ev, struct err *err)
{
	struct buf *k = &e->author_key;
	bool row = false;
	enum rc rc = RC_OK;

	if (author_is(e, ev))
		return RC_OK;
	e->author = 0;
	for (int q = Q_AUTHOR; q <= Q_AUTHOR_ADD && rc == RC_OK && e->author == 0; q++) {
		db_bind_text(e->st[q], ":device", ev->device);
		db_bind_text(e->st[q], ":session", ev->session);
		db_bind_text(e->st[q], ":user", ev->user);
		rc = db_step(e->st[q], &row, err);
		if (rc == RC_OK && q == Q_AUTHOR_ADD)
			e->author = sqlite3_last_insert_rowid(e->db);
		else if (rc == RC_OK && row)
			e->author = sqlite3_column_int64(e->st[q], 0);
		db_reset(e->st[q]);
	}
	buf_reset(k);
	buf_add_span(k, ev->device);
	buf_add_byte(k, '\0');
	buf_add_span(k, ev->session);
	buf_add_byte(k, '\0');
	buf_add_span(k, ev->user);
	if (rc == RC_OK && k->failed)
		return no_memory(err);
	return rc;
}

enum rc
events_find(struct events *e, const struct event *ev, int64_t *seq, struct err *err)
{
	sqlite3_stmt *st = e->st[Q_FIND];
	bool row;
	enum rc rc;

	*seq = 0;
	db_bind_int(st, ":action_id", ev->action_id);
	db_bind_blob(st, ":digest", ev->digest, EVENT_DIGEST_LEN);
	rc = db_step(st, &row, err);
	if (rc == RC_OK && row)
		*seq = sqlite3_column_int64(st, 0);
	db_reset(st);
	return rc;
}

static void
bind_span(sqlite3_stmt *st, enum append at, struct span v)
{
	sqlite3_bind_text64(st, at, v.p == NULL ? "" : v.p, v.len, SQLITE_STATIC,
	                    SQLITE_UTF8);
}

static void
bind_event(sqlite3_stmt *st, int64_t seq, int64_t author, const struct event *ev)
{
	sqlite3_bind_int64(st, A_SEQ, seq);
	sqlite3_bind_int64(st, A_AUTHOR, author);
	sqlite3_bind_int64(st, A_ACTION_ID, ev->action_id);
	sqlite3_bind_blob(st, A_DIGEST, ev->digest, EVENT_DIGEST_LEN, SQLITE_STATIC);
	sqlite3_bind_int(st, A_ACTION, ev->action);
	sqlite3_bind_int(st, A_BY_SERVER, ev->by_server);
	sqlite3_bind_int(st, A_PARKED, ev->parked);
	sqlite3_bind_int64(st, A_SERVER_US, ev->server_us);
	bind_span(st, A_TYPE, ev->type);
	bind_span(st, A_ENTITY, ev->id);
	bind_span(st, A_TIME, ev->time);
	if (ev->payload.len < LARGE)
		bind_span(st, A_PAYLOAD, ev->payload);
	else
		sqlite3_bind_zeroblob64(st, A_PAYLOAD, ev->payload.len);
}

/* Append it at a place beyond the head. */
static enum rc
append(struct events *e, const struct event *ev, int64_t at, int64_t *seq, struct err *err)
{
	sqlite3_stmt *st = e->st[Q_APPEND];
	bool large = ev->payload.len >= LARGE;
	enum rc rc;

	assert(e->writing);
	*seq = 0;
	if (e->head.seq >= EVENTS_SEQ_MAX || at > EVENTS_SEQ_MAX)
		return err_set(err, RC_UNAVAILABLE, "%s is at its end: no event has a number above %"
		               PRId64, e->path, EVENTS_SEQ_MAX);
	assert(at > e->head.seq);
	if ((rc = author_id(e, ev, err)) != RC_OK)
		return rc;
	bind_event(st, at, e->author, ev);
	if ((rc = db_run(st, err)) != RC_OK)
		return rc;
	if (sqlite3_changes(e->db) == 0) {
		if ((rc = events_find(e, ev, seq, err)) == RC_OK && *seq == 0)
			rc = err_set(err, RC_FAULT, "%s: a duplicate without its event", e->path);
		return rc == RC_OK ? RC_DUPLICATE : rc;
	}
	if (large && (rc = db_write(e->db, "event", "payload", at, ev->payload, err)) != RC_OK)
		return rc;
	e->appended = true;
	*seq = e->head.seq = at;
	e->head.count++;
	e->head.time_us = ev->server_us;
	if (!ev->parked)
		e->head.visible = *seq;
	return RC_OK;
}

enum rc
events_append(struct events *e, const struct event *ev, int64_t *seq, struct err *err)
{
	int64_t next = e->head.seq < EVENTS_SEQ_MAX ? e->head.seq + 1 : e->head.seq;

	return append(e, ev, next, seq, err);
}

enum rc
events_append_at(struct events *e, const struct event *ev, struct err *err)
{
	int64_t seq;

	return append(e, ev, ev->seq, &seq, err);
}

void
events_raise(struct events *e, int64_t seq)
{
	assert(e->writing);
	if (seq <= e->head.seq)
		return;
	e->head.seq = seq;
	e->appended = true;
}

static void
bind_gap(sqlite3_stmt *st, int64_t after, int64_t until)
{
	db_bind_int(st, ":after", after);
	db_bind_int(st, ":until", until);
}

enum rc
events_set_gap(struct events *e, const struct events_gap *g, struct err *err)
{
	sqlite3_stmt *st = e->st[Q_SET_GAP];

	assert(e->writing);
	bind_gap(st, g->after, g->until);
	events_raise(e, g->until);
	return db_run(st, err);
}

enum rc
events_pass(struct events *e, struct err *err)
{
	struct events_gap g = { e->head.seq, clock_now_us() };

	return g.until > g.after ? events_set_gap(e, &g, err) : RC_OK;
}

/* The transaction is over: as before it, the lock let go. */
static void
end(struct events *e)
{
	e->writing = false;
	lock_release(e->lock);
}

enum rc
events_commit(struct events *e, struct err *err)
{
	sqlite3_stmt *st = e->st[Q_HEAD_SET];
	enum rc rc = RC_OK;

	assert(e->writing);
	if (e->appended) {
		db_bind_int(st, ":seq", e->head.seq);
		db_bind_int(st, ":count", e->head.count);
		db_bind_int(st, ":time_us", e->head.time_us);
		db_bind_int(st, ":visible", e->head.visible);
		rc = db_run(st, err);
	}
	if (rc == RC_OK) {
		int64_t start_us = clock_mono_us();

		rc = db_run(e->st[Q_COMMIT], err);
		metrics_add_time(METRIC_COMMIT_LOG, clock_mono_us() - start_us);
	}
	if (rc != RC_OK) {
		settle(e, NULL);
		events_rollback(e);
		return rc;
	}
	if (e->appended)
		note_head(e);
	end(e);
	return RC_OK;
}

void
events_rollback(struct events *e)
{
	if (!sqlite3_get_autocommit(e->db) &&
	    sqlite3_exec(e->db, "ROLLBACK", NULL, NULL, NULL) != SQLITE_OK)
		e->broken = true;
	e->author = 0; /* it may be one that was made here */
	end(e);
}

/* A number that stands in meta; 0: it doesn't. */
static enum rc
meta_number(struct events *e, enum query q, int64_t *seq, struct err *err)
{
	sqlite3_stmt *st = e->st[q];
	bool row;
	enum rc rc = db_step(st, &row, err);

	*seq = rc == RC_OK && row ? sqlite3_column_int64(st, 0) : 0;
	db_reset(st);
	return rc;
}

enum rc
events_heal_from(struct events *e, int64_t *seq, struct err *err)
{
	return meta_number(e, Q_HEAL_FROM, seq, err);
}

enum rc
events_moved_to(struct events *e, int64_t *seq, struct err *err)
{
	return meta_number(e, Q_MOVED_TO, seq, err);
}

enum rc
events_set_moved_to(struct events *e, int64_t seq, struct err *err)
{
	assert(e->writing);
	db_bind_int(e->st[Q_SET_MOVED_TO], ":seq", seq);
	return db_run(e->st[Q_SET_MOVED_TO], err);
}

enum rc
events_set_heal_from(struct events *e, int64_t seq, struct err *err)
{
	assert(e->writing);
	db_bind_int(e->st[Q_SET_HEAL_FROM], ":seq", seq);
	return db_run(e->st[Q_SET_HEAL_FROM], err);
}

/* --- after the answer --- */

static void
checkpoint(struct events *e, int mode)
{
	int64_t start_us = clock_mono_us();
	int log_pages = 0, done = 0;
	int code = sqlite3_wal_checkpoint_v2(e->db, NULL, mode, &log_pages, &done);

	metrics_add_time(METRIC_CHECKPOINT_LOG, clock_mono_us() - start_us);
	if (code == SQLITE_OK && log_pages == done)
		e->wal_pages = 0; /* the next writer starts the WAL anew */
	else if (code != SQLITE_OK && code != SQLITE_BUSY)
		log_write(LOG_ERROR, "checkpoint of %s: %s (%d)", e->path,
		          sqlite3_errstr(code), code);
}

static int64_t
wal_bytes(const struct events *e)
{
	return (int64_t)e->wal_pages * 4096;
}

bool
events_maintain_waits(const struct events *e)
{
	return !e->broken && wal_bytes(e) >= WAL_WAIT;
}

void
events_maintain(struct events *e, bool may_wait)
{
	bool waits = may_wait && events_maintain_waits(e);
	int64_t now = clock_mono_ms(), wal = wal_bytes(e);

	assert(!e->writing);
	if (e->broken || e->unsettled || wal < WAL_TRY)
		return;
	if (lock_take(e->lock, waits ? now + LOCK_WAIT_MS : now - 1) != RC_OK)
		return;
	if (wal < WAL_TRUNCATE || !may_wait) {
		checkpoint(e, SQLITE_CHECKPOINT_PASSIVE);
	} else {
		sqlite3_busy_timeout(e->db, 1000); /* for readers */
		checkpoint(e, SQLITE_CHECKPOINT_TRUNCATE);
	}
	lock_release(e->lock);
}

/* --- for a diagnosis --- */

/* Not kept with the others: hardly anybody asks. */
#define NEWEST \
	" FROM event WHERE seq >= coalesce((SELECT seq FROM event ORDER BY seq DESC" \
	" LIMIT 1 OFFSET :most), 0)"

/* Prepare a query on the newest events. */
static enum rc
prepare_newest(struct events *e, const char *sql, sqlite3_stmt **out, struct err *err)
{
	enum rc rc = db_prepare(e->db, sql, out, err);

	if (rc == RC_OK)
		db_bind_int(*out, ":most", EVENTS_NEWEST - 1);
	return rc;
}

/* Everything in one statement: to parse more of them would take most of the time. */
static enum rc
glance(struct events *e, struct events_glance *out, struct err *err)
{
	static const char sql[] =
	    "SELECT (SELECT value FROM meta WHERE key = 'format'),"
	    " (SELECT value FROM meta WHERE key = 'profile'), n, last, parked,"
	    " h.log_id, h.seq, h.count, h.time_us, h.visible"
	    " FROM head h, (SELECT count(*) AS n, coalesce(max(seq), 0) AS last,"
	    " coalesce(sum(parked), 0) AS parked" NEWEST ") WHERE h.id = 1";
	sqlite3_stmt *st = NULL;
	struct span profile;
	bool row = false;
	enum rc rc = prepare_newest(e, sql, &st, err);

	if (rc == RC_OK && (rc = db_step(st, &row, err)) == RC_OK && row) {
		rc = check_format(e, sqlite3_column_int64(st, 0), err);
		profile = db_span(st, 1);
		snprintf(out->profile, sizeof(out->profile), "%.*s", (int)profile.len,
		         profile.p == NULL ? "" : profile.p);
		out->rows = sqlite3_column_int64(st, 2);
		out->last = sqlite3_column_int64(st, 3);
		out->parked = sqlite3_column_int64(st, 4);
		read_head(st, 5, &out->head);
	} else if (rc == RC_OK) {
		rc = err_set(err, RC_UNAVAILABLE, "%s has lost its head row: "
		             "restore it from a backup", e->path);
	}
	sqlite3_finalize(st);
	return rc;
}

enum rc
events_look(const char *dir, struct events_glance *out, struct err *err)
{
	char note[NOTE_LEN + 1] = "";
	struct events *e = NULL;
	bool there = false;
	int64_t seq = 0;
	enum rc rc;
	size_t n;

	*out = (struct events_glance){ 0 };
	if ((rc = open_there(dir, &e, err)) != RC_OK)
		return rc;
	/* The note first, and twice: as in check_head(). */
	for (int tries = 0; tries < 2; tries++) {
		n = e->lock == NULL ? 0 : lock_noted(e->lock, note, NOTE_LEN);
		if ((rc = glance(e, out, err)) != RC_OK || follows_note(note, n, &out->head, &seq))
			break;
		if (tries == 1)
			rc = not_written_last(e, &out->head, seq, err);
	}
	if (rc != RC_OK && has_schema(e, &there, NULL) == RC_OK && !there)
		rc = err_set(err, RC_NOT_FOUND, "%s is not an event log", e->path);
	events_close(e);
	return rc;
}

enum rc
events_each_parked(struct events *e, events_visit_parked *visit, void *ctx, struct err *err)
{
	sqlite3_stmt *st = NULL;
	bool row = false;
	enum rc rc;

	rc = prepare_newest(e, "SELECT type, count(*), min(seq), server_us" NEWEST
	                    " AND parked = 1 GROUP BY type ORDER BY type /*sort*/", &st, err);
	while (rc == RC_OK && (rc = db_step(st, &row, err)) == RC_OK && row)
		visit(ctx, db_span(st, 0), sqlite3_column_int64(st, 1), sqlite3_column_int64(st, 2),
		      sqlite3_column_int64(st, 3)); /* server_us is that of the least seq */
	sqlite3_finalize(st);
	return rc;
}

/* --- copies --- */

enum rc
events_copy(struct events *e, const char *path, struct err *err)
{
	assert(!e->writing && !e->holding);
	return db_copy(e->db, path, err);
}

/* The head row of a database, with what it should be: what its events say. */
static enum rc
read_kept(sqlite3 *db, struct events_head *head, int64_t *count, int64_t *last,
          int64_t *format, struct err *err)
{
	static const char sql[] =
	    "SELECT h.log_id, h.seq, h.count, h.time_us, h.visible,"
	    " (SELECT count(*) FROM event), (SELECT coalesce(max(seq), 0) FROM event),"
	    " (SELECT value FROM meta WHERE key = 'format') FROM head h WHERE id = 1";
	sqlite3_stmt *st = NULL;
	struct span id;
	bool row = false;
	enum rc rc = db_prepare(db, sql, &st, err);

	*head = (struct events_head){ 0 };
	if (rc == RC_OK && (rc = db_step(st, &row, err)) == RC_OK && !row)
		rc = err_set(err, RC_UNAVAILABLE, "it has no head row");
	if (rc == RC_OK) {
		id = db_span(st, 0);
		if (id.len == LOG_ID_LEN)
			memcpy(head->log_id, id.p, LOG_ID_LEN);
		head->seq = sqlite3_column_int64(st, 1);
		head->count = sqlite3_column_int64(st, 2);
		head->time_us = sqlite3_column_int64(st, 3);
		head->visible = sqlite3_column_int64(st, 4);
		*count = sqlite3_column_int64(st, 5);
		*last = sqlite3_column_int64(st, 6);
		*format = sqlite3_column_int64(st, 7);
	}
	sqlite3_finalize(st);
	return rc;
}

enum rc
events_inspect(const char *path, struct events_head *head, struct buf *wrong,
               struct err *err)
{
	sqlite3 *db = NULL;
	int64_t count = 0, last = 0, format = 0;
	struct err why;
	enum rc rc;

	buf_reset(wrong);
	*head = (struct events_head){ 0 };
	if ((rc = db_open(path, DB_KEPT, &db, err)) != RC_OK)
		return rc;
	rc = read_kept(db, head, &count, &last, &format, &why);
	if (rc == RC_OK && format > FORMAT)
		err_set(&why, rc = RC_UNAVAILABLE, "it has format %" PRId64 ", made by a newer "
		        "td-sync; this one knows formats up to %d", format, FORMAT);
	if (rc == RC_OK)
		rc = db_check(db, wrong, &why);
	if (rc == RC_OK && wrong->len == 0 && (count != head->count || last > head->seq))
		buf_addf(wrong, "its head tells of %" PRId64 " events up to %" PRId64 ", but there "
		         "are %" PRId64 " up to %" PRId64, head->count, head->seq, count, last);
	if (rc == RC_OK && wrong->len == 0 && head->seq > EVENTS_SEQ_TAKEN)
		buf_addf(wrong, "its last event has the number %" PRId64 ", which is above %" PRId64,
		         head->seq, EVENTS_SEQ_TAKEN);
	sqlite3_close(db);
	return rc == RC_OK ? rc : err_set(err, rc, "%s: %s", path, why.text);
}

/* What a restore makes of a copy before it becomes the log. */
static enum rc
renew(const char *path, const struct events_head *kept, struct events_head *now,
      struct err *err)
{
	static const char head[] = "UPDATE head SET log_id = :log_id, seq = :seq WHERE id = 1";
	sqlite3 *db = NULL;
	sqlite3_stmt *st = NULL;
	enum rc rc;

	if ((rc = id_random(now->log_id, LOG_ID_LEN)) != RC_OK)
		return err_set(err, rc, "no random bytes for a log id");
	if ((rc = db_open(path, DB_DRAFT, &db, err)) == RC_OK &&
	    (rc = db_prepare(db, head, &st, err)) == RC_OK) {
		db_bind_blob(st, ":log_id", now->log_id, LOG_ID_LEN);
		db_bind_int(st, ":seq", now->seq);
		rc = db_run(st, err);
		sqlite3_finalize(st);
	}
	if (rc == RC_OK && now->seq > kept->seq &&
	    (rc = db_prepare(db, SET_GAP, &st, err)) == RC_OK) {
		bind_gap(st, kept->seq, now->seq);
		rc = db_run(st, err);
		sqlite3_finalize(st);
	}
	sqlite3_close(db);
	return rc;
}

/* No log gives numbers above EVENTS_SEQ_TAKEN: they are those of a damaged file. */
static void
raise(int64_t *to, int64_t seq)
{
	if (seq > *to && seq <= EVENTS_SEQ_TAKEN)
		*to = seq;
}

/* The log that is to be replaced: open for writing, its head as far as that can be
 * told; under the lock. */
static enum rc
open_replaced(const char *path, sqlite3 **out, struct events_head *was, struct buf *aside,
              struct err *err)
{
	int64_t unused;
	enum rc rc;

	buf_reset(aside);
	if (db_is_no_database(path) && (rc = db_set_aside(path, aside, err)) != RC_OK)
		return rc;
	if ((rc = db_open(path, DB_SERVER, out, err)) == RC_OK &&
	    read_kept(*out, was, &unused, &unused, &unused, NULL) != RC_OK)
		*was = (struct events_head){ 0 };
	return rc;
}

/* Under the lock: from now on the log is what the draft holds. A note of the old log
 * would refuse the new one, and the other way round: so there is none meanwhile. */
static enum rc
put_in_place(struct events *e, const char *draft, struct err *err)
{
	sqlite3 *from = NULL;
	enum rc rc = db_open(draft, DB_KEPT, &from, err);

	if (rc != RC_OK)
		return rc;
	note_nothing(e);
	if ((rc = db_fill(e->db, from, err)) != RC_OK) {
		db_settle(e->db, NULL);
		err_set(err, rc, "%s %s", e->path, err != NULL ? err->text : "");
	} else {
		note_head(e);
		/* All of the log is in the WAL, which is as large now. */
		sqlite3_busy_timeout(e->db, 1000); /* for readers */
		sqlite3_wal_checkpoint_v2(e->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
	}
	sqlite3_close(from);
	return rc;
}

enum rc
events_restore(const char *dir, const char *copy, int64_t least, int64_t deadline_ms,
               struct events_head *was, struct events_head *now, struct buf *aside,
               struct err *err)
{
	struct events e = { .path = path_join(dir, EVENTS_DB),
	                    .lock_path = path_join(dir, EVENTS_LOCK) };
	char *draft = path_join(dir, "restore.db"), note[NOTE_LEN + 1] = "";
	struct events_head kept;
	struct buf wrong = { 0 };
	sqlite3 *from = NULL;
	int64_t noted = 0;
	enum rc rc;

	*was = *now = (struct events_head){ 0 };
	if (e.path == NULL || e.lock_path == NULL || draft == NULL)
		rc = no_memory(err);
	else if ((rc = events_inspect(copy, &kept, &wrong, err)) == RC_OK && wrong.len > 0)
		rc = err_set(err, RC_UNAVAILABLE, "%s: %s", copy, buf_cstr(&wrong));
	if (rc == RC_OK && (rc = db_open(copy, DB_KEPT, &from, err)) == RC_OK)
		rc = db_copy(from, draft, err); /* the long part, before the lock */
	sqlite3_close(from);
	if (rc == RC_OK && (rc = lock_open(e.lock_path, &e.lock, err)) == RC_OK &&
	    (rc = lock_take(e.lock, deadline_ms)) != RC_OK)
		err_set(err, rc, "somebody writes to %s: try again", e.path);
	if (rc == RC_OK)
		rc = open_replaced(e.path, &e.db, was, aside, err);
	if (rc == RC_OK) {
		*now = kept;
		follows_note(note, lock_noted(e.lock, note, NOTE_LEN), &kept, &noted);
		raise(&now->seq, was->seq);
		raise(&now->seq, noted);
		raise(&now->seq, least);
		raise(&now->seq, clock_now_us());
		rc = renew(draft, &kept, now, err);
	}
	if (rc == RC_OK) {
		e.head = *now;
		rc = put_in_place(&e, draft, err);
	}
	sqlite3_close(e.db);
	if (draft != NULL)
		db_remove(draft);
	lock_close(e.lock);
	buf_free(&wrong);
	free(draft);
	free(e.lock_path);
	free(e.path);
	return rc;
}
