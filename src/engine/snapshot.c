/* Snapshots, see snapshot.h. */
#include "engine/snapshot.h"

#include "base/clock.h"
#include "engine/apply.h"
#include "engine/deed.h"
#include "engine/sums.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Memory for pages of the file: of a copy, which comes and goes in order; of a
 * replay, whose rows come at random. */
#define COPY_CACHE_KIB "8000"
#define REPLAY_CACHE_KIB "48000"

/* A transaction of a replay: what it changes is in memory twice. */
#define BATCH_EVENTS 1000

static enum rc
no_memory(struct err *err)
{
	return err_set(err, RC_FAULT, "out of memory");
}

/* --- the file --- */

/* Make the file, which no one but its owner's group may read. */
static enum rc
make_file(const char *path, struct err *err)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0640);

	if (fd < 0 || fchmod(fd, 0640) != 0) {
		err_set(err, RC_UNAVAILABLE, "can't make %s: %s", path, strerror(errno));
		if (fd >= 0)
			close(fd);
		return RC_UNAVAILABLE;
	}
	close(fd);
	return RC_OK;
}

/* Make an empty database of the application and open it. */
static enum rc
make_database(const struct profile *p, const char *path, sqlite3 **out, struct err *err)
{
	struct buf sql = { 0 };
	enum rc rc;

	*out = NULL;
	buf_add_str(&sql, "BEGIN;");
	profile_database(p, &sql);
	buf_add_str(&sql, "COMMIT;");
	if (buf_cstr(&sql) == NULL)
		rc = no_memory(err);
	else if ((rc = make_file(path, err)) == RC_OK &&
	         (rc = db_open(path, DB_DRAFT, out, err)) == RC_OK)
		rc = db_exec(*out, sql.p, err);
	buf_free(&sql);
	return rc;
}

/* --- a copy of the state --- */

/* Attach the file to the state's connection, as "snapshot": no journal, no
 * syncs. Outside of a transaction, where that can be said. */
static enum rc
attach(sqlite3 *db, const char *path, struct err *err)
{
	sqlite3_stmt *st = NULL;
	enum rc rc;

	db_exec(db, "DETACH snapshot", NULL); /* one may have stayed, for lack of memory */
	if ((rc = db_prepare(db, "ATTACH :path AS snapshot", &st, err)) == RC_OK) {
		db_bind_text(st, ":path", span_of(path));
		rc = db_run(st, err);
	}
	sqlite3_finalize(st);
	return rc != RC_OK ? rc
	    : db_exec(db, "PRAGMA snapshot.locking_mode=EXCLUSIVE;"
	                  "PRAGMA snapshot.journal_mode=OFF;"
	                  "PRAGMA snapshot.synchronous=OFF;"
	                  "PRAGMA snapshot.cache_size=-" COPY_CACHE_KIB, err);
}

/* With the same schema on both sides, rows and index entries go over as they
 * are; which they don't where foreign keys are looked at. */
static enum rc
copy_rows(sqlite3 *db, const struct profile *p, struct err *err)
{
	struct buf sql = { 0 };
	enum rc rc;

	for (const struct profile_entity *e = p->entities; e->table != NULL; e++)
		if (!e->held_back)
			buf_addf(&sql, "INSERT INTO snapshot.\"%s\" SELECT * FROM main.\"%s\";",
			         e->table, e->table);
	buf_add_str(&sql, "COMMIT");
	sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_FKEY, 0, NULL);
	rc = buf_cstr(&sql) == NULL ? no_memory(err) : db_exec(db, sql.p, err);
	sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_FKEY, 1, NULL);
	buf_free(&sql);
	return rc;
}

/* What the state is that is held. */
static enum rc
describe(struct follower *f, struct snapshot *out, struct err *err)
{
	struct state *s = follower_state(f);
	struct tables *all = follower_tables(f);
	struct sum *sums = calloc(all->n, sizeof(*sums));
	enum rc rc;

	out->seq = state_seq(s);
	memcpy(out->last, state_digest(s), EVENT_DIGEST_LEN);
	memcpy(out->log_id, state_log_id(s), LOG_ID_LEN);
	rc = sums == NULL ? no_memory(err) : follower_sums(f, out->seq, sums, err);
	if (rc == RC_OK && sums_digest(all, sums, out->digest) != RC_OK)
		rc = no_memory(err);
	free(sums);
	return rc;
}

/* Copy the state into the empty database at the path. */
static enum rc
copy_state(struct follower *f, struct events *log, int64_t seq, int64_t deadline_ms,
           const char *path, struct snapshot *out, struct err *err)
{
	struct state *s = follower_state(f);
	enum rc rc;

	if ((rc = follower_hold(f, log, seq, deadline_ms, err)) != RC_OK)
		return rc;
	state_let_go(s);
	if ((rc = attach(state_db(s), path, err)) == RC_OK &&
	    (rc = state_hold(s, log, err)) == RC_OK) {
		if ((rc = describe(f, out, err)) == RC_OK)
			rc = copy_rows(state_db(s), follower_profile(f), err);
		state_let_go(s);
	}
	db_exec(state_db(s), "DETACH snapshot", NULL); /* where it is attached */
	return rc == RC_NOT_FOUND ? RC_BUSY : rc; /* replaced at this moment */
}

enum rc
snapshot_write(struct follower *f, struct events *log, int64_t seq, int64_t deadline_ms,
               const char *path, struct snapshot *out, struct err *err)
{
	sqlite3 *db;
	enum rc rc;

	for (int i = 0; i < 2; i++) {
		rc = make_database(follower_profile(f), path, &db, err);
		sqlite3_close(db);
		if (rc == RC_OK)
			rc = copy_state(f, log, seq, deadline_ms, path, out, err);
		if (rc == RC_OK || !state_damaged(follower_state(f)))
			break;
		unlink(path); /* once more, from a state that is made anew */
	}
	return rc;
}

/* --- a replay --- */

struct replay {
	struct applier *applier;
	sqlite3 *db;
	int64_t deadline_ms;
	int64_t at;               /* the last event's seq */
	int events;               /* of this transaction */
	struct err err;
};

/* The rows that are there before any event. */
static enum rc
add_seeds(sqlite3 *db, const struct profile *p, struct err *err)
{
	struct buf sql = { 0 };
	enum rc rc;

	for (const struct profile_entity *e = p->entities; e->table != NULL; e++)
		if (!e->held_back)
			profile_seed(e, "main", &sql);
	rc = buf_cstr(&sql) == NULL ? no_memory(err) : db_exec(db, sql.p, err);
	buf_free(&sql);
	return rc;
}

static enum rc
replay_event(void *ctx, const struct event *ev, bool *stop)
{
	struct replay *r = ctx;
	enum applied what;

	if (clock_mono_ms() >= r->deadline_ms)
		return err_set(&r->err, RC_BUSY, "the log is too long to be replayed in time");
	*stop = ++r->events == BATCH_EVENTS;
	r->at = ev->seq;
	return applier_apply(r->applier, ev, &what, &r->err);
}

/* Apply events up to `seq`, a transaction; *head is the log's then. */
static enum rc
replay_batch(struct replay *r, struct events *log, int64_t seq, struct events_head *head,
             struct err *err)
{
	enum rc rc = db_exec(r->db, "BEGIN", err);

	if (rc != RC_OK)
		return rc;
	r->events = 0;
	r->err.text[0] = '\0';
	rc = events_walk(log, r->at, seq, false, head, replay_event, r, err);
	if (rc != RC_OK && r->err.text[0] != '\0')
		err_set(err, rc, "%s", r->err.text);
	return rc == RC_OK ? db_exec(r->db, "COMMIT", err) : rc;
}

static enum rc
replay_log(struct replay *r, struct events *log, int64_t seq, struct snapshot *out,
           struct err *err)
{
	struct events_head head;
	enum rc rc = replay_batch(r, log, seq, &head, err);

	out->seq = seq;
	memcpy(out->log_id, head.log_id, LOG_ID_LEN);
	while (rc == RC_OK && r->events == BATCH_EVENTS)
		rc = replay_batch(r, log, seq, &head, err);
	if (rc == RC_OK && memcmp(out->log_id, head.log_id, LOG_ID_LEN) != 0)
		return err_set(err, RC_BUSY, "the log was replaced while it was replayed");
	return rc;
}

static enum rc
sum_up(struct tables *all, unsigned char digest[HASH_LEN], struct err *err)
{
	struct sum *sums = calloc(all->n, sizeof(*sums));
	enum rc rc = sums == NULL ? no_memory(err) : sums_scan_all(all, sums, err);

	if (rc == RC_OK && sums_digest(all, sums, digest) != RC_OK)
		rc = no_memory(err);
	free(sums);
	return rc;
}

enum rc
snapshot_replay(struct events *log, const struct profile *p, int64_t seq,
                int64_t deadline_ms, const char *path, struct snapshot *out,
                struct err *err)
{
	struct replay r = { .deadline_ms = deadline_ms };
	enum rc rc = make_database(p, path, &r.db, err);

	*out = (struct snapshot){ 0 };
	if (rc == RC_OK &&
	    (rc = db_exec(r.db, "PRAGMA cache_size=-" REPLAY_CACHE_KIB, err)) == RC_OK &&
	    (rc = add_seeds(r.db, p, err)) == RC_OK &&
	    (rc = applier_new(r.db, "main", p, &r.applier, err)) == RC_OK &&
	    (rc = replay_log(&r, log, seq, out, err)) == RC_OK)
		rc = sum_up(applier_tables(r.applier), out->digest, err);
	applier_free(r.applier);
	sqlite3_close(r.db);
	return rc;
}

/* --- looking at one --- */

static enum rc
check_rows(sqlite3 *db, const struct profile *p, const struct snapshot *s,
           struct buf *wrong, struct err *err)
{
	unsigned char digest[HASH_LEN];
	struct tables all = { 0 };
	enum rc rc = tables_read(&all, db, "main", p, err);

	if (rc == RC_OK)
		rc = sum_up(&all, digest, err);
	if (rc == RC_OK && memcmp(digest, s->digest, HASH_LEN) != 0)
		buf_add_str(wrong, "its rows are not those that its digest is of");
	tables_free(&all);
	return rc;
}

enum rc
snapshot_check(const char *path, const struct profile *p, const struct snapshot *s,
               struct buf *wrong, struct err *err)
{
	sqlite3 *db = NULL;
	enum rc rc = db_open(path, DB_KEPT, &db, err);

	buf_reset(wrong);
	if (rc == RC_OK && (rc = db_check(db, wrong, err)) == RC_OK && wrong->len == 0)
		rc = check_rows(db, p, s, wrong, err);
	sqlite3_close(db);
	return rc == RC_OK && wrong->failed ? no_memory(err) : rc;
}
