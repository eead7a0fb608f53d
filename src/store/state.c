/* What a log adds up to, see state.h. */
#include "store/state.h"

#include "base/clock.h"
#include "base/fs.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/metrics.h"

#include <assert.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define FORMAT 4 /* of what is ours; another one is made anew */

#define CACHE_KIB (size_t)2000 /* SQLite's own default */

/* When to checkpoint, in pages of WAL. */
#define WAL_TRY 1024       /* 4 MiB */
#define WAL_TRUNCATE 16384 /* 64 MiB: and cut the file, if no reader is in the way */

static const char schema[] =
    "CREATE TABLE tdsync_state("      /* one row: what this is the state of */
    " one INTEGER PRIMARY KEY CHECK (one = 1),"
    " format INTEGER NOT NULL,"
    " mark TEXT NOT NULL,"            /* profile and version */
    " log_id BLOB NOT NULL,"
    " seq INTEGER NOT NULL,"          /* the log up to here, */
    " digest BLOB NOT NULL"           /* which is this event */
    ");"
    "CREATE TABLE tdsync_version("    /* the events that a row was in */
    " type INTEGER NOT NULL,"
    " id TEXT NOT NULL,"
    " seq INTEGER NOT NULL,"
    " what INTEGER NOT NULL,"         /* enum version_what */
    " PRIMARY KEY (type, id, seq)"
    ") WITHOUT ROWID;"
    "CREATE TABLE tdsync_conflict("
    " seq INTEGER NOT NULL,"          /* the event it came with, */
    " n INTEGER NOT NULL,"            /* which may have several */
    " kind INTEGER NOT NULL,"         /* enum conflict_kind */
    " certain INTEGER NOT NULL,"
    " type INTEGER NOT NULL,"
    " id TEXT NOT NULL,"
    " fields TEXT NOT NULL,"          /* JSON: what was kept, what was lost */
    " kept_seq INTEGER NOT NULL,"     /* by whom; 0: not known */
    " lost_seq INTEGER NOT NULL,"
    " UNIQUE (seq, n)"
    ");"
    "CREATE TABLE tdsync_skipped("    /* events that could not be applied */
    " seq INTEGER PRIMARY KEY,"
    " reason TEXT NOT NULL,"          /* td's word for it */
    " why TEXT NOT NULL"              /* a sentence */
    ");"
    "CREATE TABLE tdsync_orphan("     /* events that may want a parent, by that */
    " type INTEGER NOT NULL,"
    " id TEXT NOT NULL,"
    " seq INTEGER NOT NULL,"
    " reason INTEGER NOT NULL,"       /* for which it is a cause then */
    " PRIMARY KEY (type, id, seq)"
    ") WITHOUT ROWID;"
    "CREATE TABLE tdsync_cause("      /* that the server has yet to answer */
    " seq INTEGER NOT NULL,"          /* the event */
    " reason INTEGER NOT NULL,"       /* enum cause_reason */
    " PRIMARY KEY (seq, reason)"
    ") WITHOUT ROWID;"
    "CREATE TABLE tdsync_sum("        /* of all rows of a table, engine/sums.h */
    " seq INTEGER NOT NULL,"          /* as of there; 0: now */
    " type INTEGER NOT NULL,"
    " rows INTEGER NOT NULL,"
    " sum BLOB NOT NULL,"
    " PRIMARY KEY (seq, type)"
    ") WITHOUT ROWID;";

enum query { Q_BEGIN, Q_HOLD, Q_COMMIT, Q_ROLLBACK, Q_PLACE, Q_SET_PLACE, Q_ADD_VERSION,
             Q_VERSIONS, Q_HISTORY, Q_ADD_CONFLICT, Q_CONFLICTS, Q_CONFLICT, Q_ADD_SKIPPED, Q_SKIPPED,
             Q_ADD_ORPHAN, Q_ORPHANS, Q_ADD_CAUSE, Q_END_CAUSES, Q_CAUSE, Q_PUT_SUM, Q_SUMS, Q__MAX };

#define SELECT_CONFLICT \
	"SELECT seq, n, kind, certain, type, id, fields, kept_seq, lost_seq" \
	" FROM tdsync_conflict"

static const char *const queries[Q__MAX] = {
	[Q_BEGIN] = "BEGIN IMMEDIATE",
	[Q_HOLD] = "BEGIN",
	[Q_COMMIT] = "COMMIT",
	[Q_ROLLBACK] = "ROLLBACK",
	[Q_PLACE] = "SELECT format, mark, log_id, seq, digest FROM tdsync_state",
	[Q_SET_PLACE] = "UPDATE tdsync_state SET seq = :seq, digest = :digest",
	[Q_ADD_VERSION] =
	    "INSERT INTO tdsync_version(type, id, seq, what) VALUES (?1, ?2, ?3, ?4)"
	    " ON CONFLICT DO NOTHING",
	[Q_VERSIONS] =
	    "SELECT seq, what FROM tdsync_version"
	    " WHERE type = :type AND id = :id AND seq < :before ORDER BY seq DESC LIMIT :limit",
	[Q_HISTORY] =
	    "SELECT seq, what FROM tdsync_version"
	    " WHERE type = :type AND id = :id AND seq > :after ORDER BY seq LIMIT :limit",
	[Q_ADD_CONFLICT] =
	    "INSERT INTO tdsync_conflict(seq, n, kind, certain, type, id, fields, kept_seq,"
	    " lost_seq) VALUES (:seq, :n, :kind, :certain, :type, :id, :fields, :kept, :lost)",
	[Q_CONFLICTS] = SELECT_CONFLICT " WHERE seq > :after ORDER BY seq, n",
	[Q_CONFLICT] = SELECT_CONFLICT " WHERE seq = :seq AND n = :n",
	[Q_ADD_SKIPPED] =
	    "INSERT INTO tdsync_skipped(seq, reason, why) VALUES (:seq, :reason, :why)",
	[Q_SKIPPED] = "SELECT seq, reason, why FROM tdsync_skipped ORDER BY seq",
	[Q_ADD_ORPHAN] =
	    "INSERT INTO tdsync_orphan(type, id, seq, reason)"
	    " VALUES (:type, :id, :seq, :reason) ON CONFLICT DO NOTHING",
	[Q_ORPHANS] =
	    "SELECT seq, reason FROM tdsync_orphan WHERE type = :type AND id = :id AND seq > :after"
	    " ORDER BY seq LIMIT 1",
	[Q_ADD_CAUSE] =
	    "INSERT INTO tdsync_cause(seq, reason) VALUES (:seq, :reason) ON CONFLICT DO NOTHING",
	[Q_END_CAUSES] = "DELETE FROM tdsync_cause WHERE (seq, reason) <= (:seq, :reason)",
	[Q_CAUSE] =
	    "SELECT seq, reason FROM tdsync_cause WHERE seq >= :from ORDER BY seq, reason LIMIT 1",
	[Q_PUT_SUM] =
	    "INSERT INTO tdsync_sum(seq, type, rows, sum) VALUES (:seq, :type, :rows, :sum)"
	    " ON CONFLICT DO UPDATE SET rows = excluded.rows, sum = excluded.sum",
	[Q_SUMS] = "SELECT type, rows, sum FROM tdsync_sum WHERE seq = :seq ORDER BY type",
};

const char *
state_query(size_t i)
{
	return i < Q__MAX ? queries[i] : NULL;
}

struct state {
	char *dir, *path, *lock_path;
	char *mark, *schema;      /* of the kind */
	struct lock *lock;
	sqlite3 *db;              /* NULL: not open */
	struct fs_id id;          /* the file behind it */
	unsigned opened;          /* how many times */
	sqlite3_stmt *st[Q__MAX];
	bool writing, holding;
	bool damaged;             /* empty it at the next lock */
	int wal_pages;            /* in the WAL after our last commit */
	unsigned char log_id[LOG_ID_LEN];
	int64_t seq;
	unsigned char digest[EVENT_DIGEST_LEN];
};

static enum rc
no_memory(struct err *err)
{
	return err_set(err, RC_FAULT, "out of memory");
}

static char *
join(const char *dir, const char *name)
{
	struct buf b = { 0 };

	buf_addf(&b, "%s/%s", dir, name);
	if (buf_cstr(&b) == NULL)
		buf_free(&b);
	return b.p;
}

enum rc
state_new(const char *dir, const struct state_kind *kind, struct state **out,
          struct err *err)
{
	struct state *s = calloc(1, sizeof(*s));
	enum rc rc;

	*out = NULL;
	if (s == NULL)
		return no_memory(err);
	s->dir = strdup(dir);
	s->path = join(dir, STATE_DB);
	s->lock_path = join(dir, STATE_LOCK);
	s->mark = strdup(kind->mark);
	s->schema = strdup(kind->schema);
	if (s->dir == NULL || s->path == NULL || s->lock_path == NULL || s->mark == NULL ||
	    s->schema == NULL)
		rc = no_memory(err);
	else
		rc = lock_open(s->lock_path, &s->lock, err);
	if (rc != RC_OK) {
		state_free(s);
		return rc;
	}
	*out = s;
	return RC_OK;
}

static void
close_db(struct state *s)
{
	for (int q = 0; q < Q__MAX; q++) {
		sqlite3_finalize(s->st[q]);
		s->st[q] = NULL;
	}
	/* _v2: whoever prepared statements of his own finalizes them after. */
	sqlite3_close_v2(s->db);
	s->db = NULL;
	s->writing = s->holding = false;
}

void
state_free(struct state *s)
{
	if (s == NULL)
		return;
	close_db(s);
	lock_close(s->lock);
	free(s->dir);
	free(s->path);
	free(s->lock_path);
	free(s->mark);
	free(s->schema);
	free(s);
}

/* --- what belongs together --- */

/*
 * What stands in the lock file: state.db as we left it. It changes only where
 * somebody checkpoints, under the lock. One that is not as it is noted was put
 * there by others, and a WAL that lies beside it was not written for it: SQLite
 * would take the two for one database, and find nothing wrong.
 */
#define NOTE "state.db: %19lld bytes of %19lld\n"
#define NOTE_LEN (10 + 19 + 10 + 19 + 1)

/* The file as it is now; false: there is none. */
static bool
describe(const struct state *s, char out[NOTE_LEN + 1])
{
	struct stat st;

	if (stat(s->path, &st) != 0)
		return false;
	snprintf(out, NOTE_LEN + 1, NOTE, (long long)st.st_size,
	         (long long)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec);
	return true;
}

static void
note(struct state *s)
{
	char text[NOTE_LEN + 1];

	if (describe(s, text))
		lock_note(s->lock, text, NOTE_LEN);
}

/* Before a checkpoint: whoever dies in one leaves a file that is as good. */
static void
note_checkpoint(struct state *s)
{
	char text[NOTE_LEN];

	memset(text, ' ', sizeof(text));
	text[NOTE_LEN - 1] = '\n';
	lock_note(s->lock, text, NOTE_LEN);
}

static bool
is_noted(const struct state *s)
{
	char now[NOTE_LEN + 1], noted[NOTE_LEN];

	return describe(s, now) && lock_noted(s->lock, noted, NOTE_LEN) == NOTE_LEN &&
	       (noted[0] == ' ' || memcmp(now, noted, NOTE_LEN) == 0);
}

/* --- opening --- */

static int
on_commit(void *ctx, sqlite3 *db, const char *name, int pages)
{
	struct state *s = ctx;

	(void)db;
	(void)name;
	s->wal_pages = pages;
	return SQLITE_OK;
}

/* Step a statement that returns no row; what it says of the file is noted. */
static enum rc
run(struct state *s, enum query q, struct err *err)
{
	enum rc rc = db_run(s->st[q], err);

	if (rc != RC_OK && db_damaged(s->db))
		s->damaged = true;
	return rc;
}

/* Read what this is the state of; *ours: of this log, by these rules. */
static enum rc
read_place(struct state *s, bool *ours, struct err *err)
{
	sqlite3_stmt *st = s->st[Q_PLACE];
	struct span log_id, digest;
	bool row;
	enum rc rc = db_step(st, &row, err);

	*ours = false;
	if (rc == RC_OK && row) {
		log_id = db_span(st, 2);
		digest = db_span(st, 4);
		*ours = sqlite3_column_int(st, 0) == FORMAT &&
		        span_is(db_span(st, 1), s->mark) && log_id.len == LOG_ID_LEN &&
		        digest.len == EVENT_DIGEST_LEN;
		s->seq = sqlite3_column_int64(st, 3);
		if (*ours) {
			memcpy(s->log_id, log_id.p, LOG_ID_LEN);
			memcpy(s->digest, digest.p, EVENT_DIGEST_LEN);
		}
	} else if (rc != RC_OK && db_damaged(s->db)) {
		s->damaged = true;
	}
	db_reset(st);
	return rc;
}

/* Whether the log has the event that the state was brought to. */
static enum rc
follows(struct state *s, struct events *log, bool *yes, struct err *err)
{
	unsigned char digest[EVENT_DIGEST_LEN];
	struct events_head head;
	enum rc rc;

	*yes = false;
	if ((rc = events_head(log, &head, err)) != RC_OK)
		return rc;
	if (memcmp(head.log_id, s->log_id, LOG_ID_LEN) != 0)
		return RC_OK;
	if (s->seq == 0) {
		*yes = true;
		return RC_OK;
	}
	rc = events_digest(log, s->seq, digest, err);
	if (rc == RC_NOT_FOUND)
		return RC_OK;
	*yes = rc == RC_OK && memcmp(digest, s->digest, EVENT_DIGEST_LEN) == 0;
	return rc;
}

/* Whether the file has a state's tables, or nothing at all. */
static enum rc
has_schema(struct state *s, bool *yes, bool *nothing, struct err *err)
{
	static const char sql[] = "SELECT count(*) = 0, sum(name = 'tdsync_state') > 0"
	                          " FROM sqlite_schema";
	sqlite3_stmt *st = NULL;
	bool row = false;
	enum rc rc = db_prepare(s->db, sql, &st, err);

	if (rc == RC_OK)
		rc = db_step(st, &row, err);
	*nothing = row && sqlite3_column_int(st, 0) != 0;
	*yes = row && sqlite3_column_int(st, 1) != 0;
	sqlite3_finalize(st);
	return rc;
}

/*
 * Indexes for the profile's foreign keys, where it has none. Each row that is
 * deleted, and REPLACE deletes, is looked for among those that refer to it: else
 * by reading all of them.
 */
static enum rc
index_keys(struct state *s, struct err *err)
{
	static const char missing[] =
	    "SELECT DISTINCT 'CREATE INDEX \"tdsync_' || t.name || '_' || k.\"from\" || '\" ON \"'"
	    " || t.name || '\"(\"' || k.\"from\" || '\")'"
	    " FROM sqlite_schema AS t, pragma_foreign_key_list(t.name) AS k"
	    " WHERE t.type = 'table' AND k.seq = 0 AND NOT EXISTS ("
	    "  SELECT 1 FROM pragma_index_list(t.name) AS i, pragma_index_info(i.name) AS c"
	    "  WHERE i.partial = 0 AND c.seqno = 0 AND c.name = k.\"from\")";
	struct buf sql = { 0 };
	sqlite3_stmt *st = NULL;
	bool row = false;
	enum rc rc = db_prepare(s->db, missing, &st, err);

	while (rc == RC_OK && (rc = db_step(st, &row, err)) == RC_OK && row) {
		buf_add_span(&sql, db_span(st, 0));
		buf_add_byte(&sql, ';');
	}
	sqlite3_finalize(st);
	if (rc == RC_OK)
		rc = buf_cstr(&sql) == NULL ? no_memory(err) : db_exec(s->db, sql.p, err);
	buf_free(&sql);
	return rc;
}

/* The tables of an empty state, in one transaction. */
static enum rc
write_schema(struct state *s, struct events *log, struct err *err)
{
	static const char place[] =
	    "INSERT INTO tdsync_state(one, format, mark, log_id, seq, digest)"
	    " VALUES (1, :format, :mark, :log_id, 0, zeroblob(16))";
	struct events_head head;
	sqlite3_stmt *st = NULL;
	enum rc rc;

	if ((rc = events_head(log, &head, err)) != RC_OK ||
	    (rc = db_exec(s->db, "BEGIN IMMEDIATE", err)) != RC_OK)
		return rc;
	if ((rc = db_exec(s->db, schema, err)) == RC_OK &&
	    (rc = db_exec(s->db, s->schema, err)) == RC_OK &&
	    (rc = index_keys(s, err)) == RC_OK)
		rc = db_prepare(s->db, place, &st, err);
	if (rc == RC_OK) {
		db_bind_int(st, ":format", FORMAT);
		db_bind_text(st, ":mark", span_of(s->mark));
		db_bind_blob(st, ":log_id", head.log_id, LOG_ID_LEN);
		rc = db_run(st, err);
	}
	sqlite3_finalize(st);
	if (rc == RC_OK)
		return db_exec(s->db, "COMMIT", err);
	db_exec(s->db, "ROLLBACK", NULL);
	return rc;
}

/* Remove the files. Whoever has them open still reads the old ones. */
static enum rc
remove_files(struct state *s, struct err *err)
{
	static const char *const suffixes[] = { "", "-wal", "-shm", "-journal" };
	struct fs_id id;

	close_db(s);
	for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
		struct buf path = { 0 };

		buf_addf(&path, "%s%s", s->path, suffixes[i]);
		if (buf_cstr(&path) == NULL)
			return no_memory(err);
		fs_remove(AT_FDCWD, path.p);
		buf_free(&path);
	}
	if (fs_identify(s->path, &id))
		return err_set(err, RC_UNAVAILABLE, "%s can't be used and can't be removed: "
		               "remove it, it is made anew", s->path);
	return RC_OK;
}

static bool
has_wal(const struct state *s)
{
	struct buf wal = { 0 };
	struct stat st;
	bool has;

	buf_addf(&wal, "%s-wal", s->path);
	has = buf_cstr(&wal) != NULL && stat(wal.p, &st) == 0 && st.st_size > 0;
	buf_free(&wal);
	return has;
}

/* Open what lies there, under the lock; *ours: it is a state of this log. */
static enum rc
open_db(struct state *s, struct events *log, bool *ours, struct err *err)
{
	bool there, nothing;
	enum rc rc;

	*ours = false;
	close_db(s);
	if (!is_noted(s) && has_wal(s)) {
		log_write(LOG_WARN, "%s was replaced, beside a -wal of another one: it is made "
		          "anew from the log", s->path);
		if ((rc = remove_files(s, err)) != RC_OK)
			return rc;
	}
	if ((rc = db_open(s->path, DB_DERIVED, &s->db, err)) != RC_OK)
		return rc;
	s->opened++;
	s->wal_pages = 0;
	sqlite3_wal_hook(s->db, on_commit, s);
	if (!fs_identify(s->path, &s->id))
		return err_set(err, RC_UNAVAILABLE, "%s vanished while it was opened", s->path);
	if ((rc = has_schema(s, &there, &nothing, err)) != RC_OK)
		return rc;
	if (nothing && (rc = write_schema(s, log, err)) != RC_OK)
		return rc;
	note(s);
	if (!there && !nothing) /* whatever it is */
		return RC_OK;
	/* Of another format, these may not fit the tables. */
	for (int q = 0; q < Q__MAX; q++)
		if (db_prepare(s->db, queries[q], &s->st[q], err) != RC_OK)
			return db_damaged(s->db) ? RC_UNAVAILABLE : RC_OK;
	return read_place(s, ours, err);
}

enum rc
state_empty(struct state *s, struct events *log, struct err *err)
{
	bool ours = false;
	enum rc rc;

	assert(lock_held(s->lock) && !s->writing);
	s->damaged = false;
	if ((rc = remove_files(s, err)) == RC_OK &&
	    (rc = open_db(s, log, &ours, err)) == RC_OK && !ours)
		rc = err_set(err, RC_FAULT, "%s: a new state is not what it should be", s->path);
	if (rc != RC_OK)
		close_db(s); /* it may be half open */
	return rc;
}

static bool
is_open(const struct state *s)
{
	struct fs_id id;

	return s->db != NULL && fs_identify(s->path, &id) && fs_same(id, s->id) &&
	       is_noted(s);
}

/* Open it where it is not, and see whether it is a state of this log. */
static enum rc
settle(struct state *s, struct events *log, struct err *err)
{
	bool ours = false, damaged = s->damaged;
	struct err why = { "" };
	enum rc rc = RC_OK;

	if (!damaged && !is_open(s))
		rc = open_db(s, log, &ours, &why);
	else if (!damaged)
		rc = read_place(s, &ours, &why);
	if (rc == RC_OK && ours)
		rc = follows(s, log, &ours, &why);
	damaged = damaged || s->damaged || (s->db != NULL && rc != RC_OK && db_damaged(s->db)) ||
	          (s->db == NULL && rc == RC_UNAVAILABLE && !fs_read_only(s->path));
	if (rc == RC_OK && ours)
		return RC_OK;
	if (rc != RC_OK && !damaged) {
		close_db(s); /* it may be half open */
		return err_set(err, rc, "%s", why.text);
	}
	log_write(LOG_WARN, "%s is %s: it is made anew from the log", s->path,
	          damaged ? "damaged" : "not of this log, or of another version");
	return state_empty(s, log, err);
}

enum rc
state_lock(struct state *s, struct events *log, int64_t deadline_ms, struct err *err)
{
	int64_t start_us;
	enum rc rc;

	assert(!s->writing && !s->holding);
	start_us = clock_mono_us();
	rc = lock_take(s->lock, deadline_ms);
	metrics_add_time(METRIC_WAIT_STATE, clock_mono_us() - start_us);
	if (rc != RC_OK)
		return err_set(err, rc, "the project's state is being brought up to date: "
		               "try again in a moment");
	if ((rc = settle(s, log, err)) != RC_OK)
		lock_release(s->lock);
	return rc;
}

void
state_unlock(struct state *s)
{
	if (s->writing)
		state_rollback(s);
	if (s->db != NULL && db_damaged(s->db))
		s->damaged = true; /* by what was read last */
	lock_release(s->lock);
}

/* --- transactions --- */

enum rc
state_begin(struct state *s, struct err *err)
{
	enum rc rc;

	assert(lock_held(s->lock) && !s->writing && !s->holding);
	rc = run(s, Q_BEGIN, err);
	s->writing = rc == RC_OK;
	return rc;
}

enum rc
state_commit(struct state *s, struct err *err)
{
	sqlite3_stmt *st = s->st[Q_SET_PLACE];
	enum rc rc;

	assert(s->writing);
	db_bind_int(st, ":seq", s->seq);
	db_bind_blob(st, ":digest", s->digest, EVENT_DIGEST_LEN);
	if ((rc = run(s, Q_SET_PLACE, err)) == RC_OK) {
		int64_t start_us = clock_mono_us();

		rc = run(s, Q_COMMIT, err);
		metrics_add_time(METRIC_COMMIT_STATE, clock_mono_us() - start_us);
	}
	if (rc != RC_OK) {
		state_rollback(s);
		return rc;
	}
	s->writing = false;
	return RC_OK;
}

void
state_rollback(struct state *s)
{
	bool ours;

	if (db_damaged(s->db))
		s->damaged = true;
	s->writing = false;
	if (!sqlite3_get_autocommit(s->db) && db_run(s->st[Q_ROLLBACK], NULL) != RC_OK)
		s->damaged = true;
	else
		read_place(s, &ours, NULL);
}

void
state_maintain(struct state *s)
{
	int mode = s->wal_pages < WAL_TRUNCATE ? SQLITE_CHECKPOINT_PASSIVE
	                                       : SQLITE_CHECKPOINT_TRUNCATE;
	int pages = 0, done = 0, code;
	int64_t start_us;

	assert(lock_held(s->lock) && !s->writing);
	if (s->db == NULL || s->wal_pages < WAL_TRY)
		return;
	note_checkpoint(s);
	sqlite3_busy_timeout(s->db, 0); /* readers are not waited for */
	start_us = clock_mono_us();
	code = sqlite3_wal_checkpoint_v2(s->db, NULL, mode, &pages, &done);
	metrics_add_time(METRIC_CHECKPOINT_STATE, clock_mono_us() - start_us);
	sqlite3_busy_timeout(s->db, DB_BUSY_MS);
	if (code == SQLITE_OK && pages == done)
		s->wal_pages = 0;
	else if (code != SQLITE_OK && code != SQLITE_BUSY)
		log_write(LOG_ERROR, "checkpoint of %s: %s (%d)", s->path,
		          sqlite3_errstr(code), code);
	note(s);
}

enum rc
state_hold(struct state *s, struct events *log, struct err *err)
{
	bool ours;
	enum rc rc;

	assert(!s->writing && !s->holding);
	if (s->damaged || !is_open(s))
		return err_set(err, RC_NOT_FOUND, "%s is not open", s->path);
	if ((rc = run(s, Q_HOLD, err)) != RC_OK)
		return rc;
	s->holding = true;
	if ((rc = read_place(s, &ours, err)) == RC_OK && ours)
		rc = follows(s, log, &ours, err);
	if (rc == RC_OK && !ours)
		rc = err_set(err, RC_NOT_FOUND, "%s is not of this log, or of another version",
		             s->path);
	if (rc != RC_OK)
		state_let_go(s);
	return rc;
}

void
state_let_go(struct state *s)
{
	if (s->holding && db_damaged(s->db))
		s->damaged = true; /* by what was read last */
	if (s->holding && !sqlite3_get_autocommit(s->db) && run(s, Q_ROLLBACK, NULL) != RC_OK)
		s->damaged = true;
	s->holding = false;
}

bool
state_damaged(const struct state *s)
{
	return s->damaged;
}

enum rc
state_doubt(struct state *s, int64_t seq, struct err *err)
{
	s->damaged = true;
	return err_set(err, RC_UNAVAILABLE, "%s tells of event %" PRId64 ", which is not in the "
	               "log", s->path, seq);
}

sqlite3 *
state_db(struct state *s)
{
	return s->db;
}

unsigned
state_opened(const struct state *s)
{
	return s->opened;
}

void
state_cache(struct state *s, size_t bytes)
{
	char sql[64];

	snprintf(sql, sizeof(sql), "PRAGMA cache_size = -%zu",
	         bytes > 0 ? bytes / 1024 : CACHE_KIB);
	if (s->db != NULL)
		db_exec(s->db, sql, NULL);
}

void
state_relax(struct state *s)
{
	if (s->db != NULL)
		sqlite3_db_release_memory(s->db);
}

int64_t
state_seq(const struct state *s)
{
	return s->seq;
}

void
state_set_seq(struct state *s, const struct event *ev)
{
	s->seq = ev->seq;
	memcpy(s->digest, ev->digest, EVENT_DIGEST_LEN);
}

const unsigned char *
state_digest(const struct state *s)
{
	return s->digest;
}

const unsigned char *
state_log_id(const struct state *s)
{
	return s->log_id;
}

const char *
state_dir(const struct state *s)
{
	return s->dir;
}

/* --- versions --- */

enum rc
state_add_version(struct state *s, int type, struct span id, int64_t seq,
                  enum version_what what, struct err *err)
{
	sqlite3_stmt *st = s->st[Q_ADD_VERSION];

	/* By place: this is done for every event. */
	sqlite3_bind_int(st, 1, type);
	sqlite3_bind_text64(st, 2, id.p == NULL ? "" : id.p, id.len, SQLITE_STATIC,
	                    SQLITE_UTF8);
	sqlite3_bind_int64(st, 3, seq);
	sqlite3_bind_int(st, 4, what);
	return run(s, Q_ADD_VERSION, err);
}

/* Visit the versions that a query gives, whose other parameters are bound. */
static enum rc
walk_versions(sqlite3_stmt *st, int type, struct span id, int64_t limit,
              state_visit_version *visit, void *ctx, struct err *err)
{
	bool row, stop = false;
	enum rc rc = RC_OK;

	db_bind_int(st, ":type", type);
	db_bind_text(st, ":id", id);
	db_bind_int(st, ":limit", limit);
	while (!stop && (rc = db_step(st, &row, err)) == RC_OK && row)
		if ((rc = visit(ctx, sqlite3_column_int64(st, 0),
		                (enum version_what)sqlite3_column_int(st, 1), &stop,
		                err)) != RC_OK)
			break;
	db_reset(st);
	return rc;
}

enum rc
state_walk_versions(struct state *s, int type, struct span id, int64_t before,
                    int64_t limit, state_visit_version *visit, void *ctx, struct err *err)
{
	db_bind_int(s->st[Q_VERSIONS], ":before", before);
	return walk_versions(s->st[Q_VERSIONS], type, id, limit, visit, ctx, err);
}

enum rc
state_walk_history(struct state *s, int type, struct span id, int64_t after,
                   int64_t limit, state_visit_version *visit, void *ctx, struct err *err)
{
	db_bind_int(s->st[Q_HISTORY], ":after", after);
	return walk_versions(s->st[Q_HISTORY], type, id, limit, visit, ctx, err);
}

/* --- conflicts --- */

enum rc
state_add_conflict(struct state *s, const struct state_conflict *c, struct err *err)
{
	sqlite3_stmt *st = s->st[Q_ADD_CONFLICT];

	db_bind_int(st, ":seq", c->seq);
	db_bind_int(st, ":n", c->n);
	db_bind_int(st, ":kind", c->kind);
	db_bind_int(st, ":certain", c->certain);
	db_bind_int(st, ":type", c->type);
	db_bind_text(st, ":id", c->id);
	db_bind_text(st, ":fields", c->fields);
	db_bind_int(st, ":kept", c->kept_seq);
	db_bind_int(st, ":lost", c->lost_seq);
	return run(s, Q_ADD_CONFLICT, err);
}

/* Visit the conflicts that a bound query gives; *any: there was one. */
static enum rc
walk_conflicts(sqlite3_stmt *st, state_visit_conflict *visit, void *ctx, bool *any,
               struct err *err)
{
	bool row, stop = false;
	enum rc rc = RC_OK;

	*any = false;
	while (!stop && (rc = db_step(st, &row, err)) == RC_OK && row) {
		struct state_conflict c = {
			.seq = sqlite3_column_int64(st, 0),
			.n = sqlite3_column_int(st, 1),
			.kind = sqlite3_column_int(st, 2),
			.certain = sqlite3_column_int(st, 3) != 0,
			.type = sqlite3_column_int(st, 4),
			.id = db_span(st, 5),
			.fields = db_span(st, 6),
			.kept_seq = sqlite3_column_int64(st, 7),
			.lost_seq = sqlite3_column_int64(st, 8),
		};

		*any = true;
		if ((rc = visit(ctx, &c, &stop, err)) != RC_OK)
			break;
	}
	db_reset(st);
	return rc;
}

enum rc
state_walk_conflicts(struct state *s, int64_t after, state_visit_conflict *visit,
                     void *ctx, struct err *err)
{
	bool any;

	db_bind_int(s->st[Q_CONFLICTS], ":after", after);
	return walk_conflicts(s->st[Q_CONFLICTS], visit, ctx, &any, err);
}

enum rc
state_find_conflict(struct state *s, int64_t seq, int n, state_visit_conflict *visit,
                    void *ctx, struct err *err)
{
	bool any;
	enum rc rc;

	db_bind_int(s->st[Q_CONFLICT], ":seq", seq);
	db_bind_int(s->st[Q_CONFLICT], ":n", n);
	rc = walk_conflicts(s->st[Q_CONFLICT], visit, ctx, &any, err);
	return rc == RC_OK && !any ? err_set(err, RC_NOT_FOUND, "no such conflict") : rc;
}

/* --- skipped events --- */

enum rc
state_add_skipped(struct state *s, int64_t seq, const char *reason, const char *why,
                  struct err *err)
{
	sqlite3_stmt *st = s->st[Q_ADD_SKIPPED];

	db_bind_int(st, ":seq", seq);
	db_bind_text(st, ":reason", span_of(reason));
	db_bind_text(st, ":why", span_of(why));
	return run(s, Q_ADD_SKIPPED, err);
}

enum rc
state_walk_skipped(struct state *s, state_visit_skipped *visit, void *ctx, struct err *err)
{
	sqlite3_stmt *st = s->st[Q_SKIPPED];
	bool row;
	enum rc rc;

	while ((rc = db_step(st, &row, err)) == RC_OK && row) {
		const char *reason = (const char *)sqlite3_column_text(st, 1);
		const char *why = (const char *)sqlite3_column_text(st, 2);

		if (reason == NULL || why == NULL)
			rc = no_memory(err);
		else
			rc = visit(ctx, sqlite3_column_int64(st, 0), reason, why, err);
		if (rc != RC_OK)
			break;
	}
	db_reset(st);
	return rc;
}

/* The first event and reason that a bound query gives. RC_NOT_FOUND: none. */
static enum rc
next_cause(sqlite3_stmt *st, int64_t *seq, int *reason, struct err *err)
{
	bool row;
	enum rc rc;

	if ((rc = db_step(st, &row, err)) == RC_OK && row) {
		*seq = sqlite3_column_int64(st, 0);
		*reason = sqlite3_column_int(st, 1);
	} else if (rc == RC_OK) {
		rc = RC_NOT_FOUND;
	}
	db_reset(st);
	return rc;
}

enum rc
state_add_orphan(struct state *s, int type, struct span id, int64_t seq, int reason,
                 struct err *err)
{
	sqlite3_stmt *st = s->st[Q_ADD_ORPHAN];

	db_bind_int(st, ":type", type);
	db_bind_text(st, ":id", id);
	db_bind_int(st, ":seq", seq);
	db_bind_int(st, ":reason", reason);
	return run(s, Q_ADD_ORPHAN, err);
}

enum rc
state_next_orphan(struct state *s, int type, struct span id, int64_t after, int64_t *seq,
                  int *reason, struct err *err)
{
	sqlite3_stmt *st = s->st[Q_ORPHANS];

	db_bind_int(st, ":type", type);
	db_bind_text(st, ":id", id);
	db_bind_int(st, ":after", after);
	return next_cause(st, seq, reason, err);
}

/* --- causes --- */

enum rc
state_add_cause(struct state *s, int64_t seq, int reason, struct err *err)
{
	db_bind_int(s->st[Q_ADD_CAUSE], ":seq", seq);
	db_bind_int(s->st[Q_ADD_CAUSE], ":reason", reason);
	return run(s, Q_ADD_CAUSE, err);
}

enum rc
state_end_causes(struct state *s, int64_t seq, int reason, struct err *err)
{
	db_bind_int(s->st[Q_END_CAUSES], ":seq", seq);
	db_bind_int(s->st[Q_END_CAUSES], ":reason", reason);
	return run(s, Q_END_CAUSES, err);
}

enum rc
state_next_cause(struct state *s, int64_t from, int64_t *seq, int *reason, struct err *err)
{
	db_bind_int(s->st[Q_CAUSE], ":from", from);
	return next_cause(s->st[Q_CAUSE], seq, reason, err);
}

/* --- sums --- */

enum rc
state_put_sum(struct state *s, int64_t seq, int type, int64_t rows,
              const unsigned char sum[STATE_SUM], struct err *err)
{
	sqlite3_stmt *st = s->st[Q_PUT_SUM];

	db_bind_int(st, ":seq", seq);
	db_bind_int(st, ":type", type);
	db_bind_int(st, ":rows", rows);
	db_bind_blob(st, ":sum", sum, STATE_SUM);
	return run(s, Q_PUT_SUM, err);
}

enum rc
state_walk_sums(struct state *s, int64_t seq, state_visit_sum *visit, void *ctx,
                struct err *err)
{
	sqlite3_stmt *st = s->st[Q_SUMS];
	struct span sum;
	bool row;
	enum rc rc;

	db_bind_int(st, ":seq", seq);
	while ((rc = db_step(st, &row, err)) == RC_OK && row) {
		sum = db_span(st, 2);
		if (sum.len != STATE_SUM)
			rc = err_set(err, RC_UNAVAILABLE, "%s has an odd sum", s->path);
		else
			rc = visit(ctx, sqlite3_column_int(st, 0), sqlite3_column_int64(st, 1),
			           (const unsigned char *)sum.p, err);
		if (rc != RC_OK)
			break;
	}
	db_reset(st);
	return rc;
}

/* --- comparing --- */

enum rc
state_compare(struct state *a, struct state *b, int64_t *conflicts, int64_t *skipped,
              struct buf *odd, struct err *err)
{
	int64_t versions, sums;
	const struct {
		const char *what, *sql;
		int64_t *rows;
	} all[] = {
		{ "conflict", "SELECT seq || '-' || n, * FROM tdsync_conflict ORDER BY seq, n",
		  conflicts },
		{ "skipped event", "SELECT * FROM tdsync_skipped ORDER BY seq", skipped },
		{ "version", "SELECT id || ' at ' || seq, * FROM tdsync_version"
		             " ORDER BY type, id, seq", &versions },
		{ "sum", "SELECT type || ' at ' || seq, * FROM tdsync_sum ORDER BY seq, type",
		  &sums },
	};
	struct buf name = { 0 };
	enum rc rc = RC_OK;

	buf_reset(odd);
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]) && rc == RC_OK; i++) {
		rc = db_compare(a->db, b->db, all[i].sql, all[i].rows, &name, err);
		if (rc != RC_OK || name.len == 0)
			continue;
		buf_addf(odd, "%s ", all[i].what);
		buf_add_span(odd, buf_span(&name));
		break;
	}
	buf_free(&name);
	return rc;
}

/* --- for a diagnosis --- */

static enum rc
read_glance(sqlite3 *db, struct state_glance *out, struct err *err)
{
	static const char sql[] =
	    "SELECT format, mark, log_id, seq, (SELECT count(*) FROM tdsync_skipped),"
	    " coalesce((SELECT min(seq) FROM tdsync_skipped), 0),"
	    " (SELECT reason FROM tdsync_skipped ORDER BY seq LIMIT 1) FROM tdsync_state";
	sqlite3_stmt *st = NULL;
	struct span mark, id, reason;
	bool row = false;
	enum rc rc = db_prepare(db, sql, &st, err);

	if (rc == RC_OK)
		rc = db_step(st, &row, err);
	if (rc == RC_OK && (!row || sqlite3_column_int(st, 0) != FORMAT))
		rc = RC_NOT_FOUND;
	if (rc == RC_OK) {
		mark = db_span(st, 1);
		id = db_span(st, 2);
		reason = db_span(st, 6);
		snprintf(out->mark, sizeof(out->mark), "%.*s", (int)mark.len, mark.p);
		if (id.len == LOG_ID_LEN)
			memcpy(out->log_id, id.p, LOG_ID_LEN);
		out->seq = sqlite3_column_int64(st, 3);
		out->skipped = sqlite3_column_int64(st, 4);
		out->first_skipped = sqlite3_column_int64(st, 5);
		if (reason.len > 0)
			snprintf(out->reason, sizeof(out->reason), "%.*s", (int)reason.len, reason.p);
	}
	sqlite3_finalize(st);
	/* A table that isn't there is an older format. */
	return rc == RC_FAULT && (sqlite3_errcode(db) & 0xff) == SQLITE_ERROR ? RC_NOT_FOUND : rc;
}

enum rc
state_look(const char *dir, struct state_glance *out, struct err *err)
{
	struct buf path = { 0 }, lock_path = { 0 };
	struct lock *lock = NULL;
	sqlite3 *db = NULL;
	struct fs_id id;
	enum rc rc = RC_OK;

	*out = (struct state_glance){ 0 };
	buf_addf(&path, "%s/" STATE_DB, dir);
	buf_addf(&lock_path, "%s/" STATE_LOCK, dir);
	if (buf_cstr(&path) == NULL || buf_cstr(&lock_path) == NULL)
		rc = err_set(err, RC_FAULT, "out of memory");
	else if (!fs_identify(path.p, &id))
		rc = RC_NOT_FOUND;
	else if ((rc = lock_open(lock_path.p, &lock, err)) == RC_OK &&
	         (rc = lock_take(lock, 0)) == RC_OK &&
	         (rc = db_open(path.p, DB_DERIVED, &db, err)) == RC_OK)
		rc = read_glance(db, out, err);
	sqlite3_close(db);
	lock_close(lock);
	buf_free(&path);
	buf_free(&lock_path);
	return rc;
}
