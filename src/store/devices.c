/* How far each device has been served, see devices.h. */
#include "store/devices.h"

#include "base/fs.h"
#include "store/db.h"

#define CLOCK_NEWS_MS 30000 /* a smaller change of a clock is none */

static const char schema[] =
    "CREATE TABLE IF NOT EXISTS device("
    " name TEXT PRIMARY KEY,"               /* device id, or a token's id */
    " served_seq INTEGER NOT NULL DEFAULT 0,"
    " served_us INTEGER NOT NULL DEFAULT 0," /* when, microseconds since 1970 */
    " ahead_ms INTEGER NOT NULL DEFAULT 0"   /* its clock against ours */
    ") WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS lost("       /* who holds events that we lost */
    " name TEXT PRIMARY KEY,"
    " after_seq INTEGER NOT NULL,"           /* behind this one */
    " until_seq INTEGER NOT NULL,"           /* up to this one, its cursor */
    " seen_us INTEGER NOT NULL"              /* when it last came from there */
    ") WITHOUT ROWID";

enum query { Q_GET, Q_SERVED, Q_CLOCK, Q_GREATEST, Q_LOST, Q_FOUND, Q_EACH_LOST, Q__MAX };

static const char *const queries[Q__MAX] = {
	[Q_GET] =
	    "SELECT served_seq, served_us, ahead_ms FROM device WHERE name = :name",
	[Q_SERVED] =
	    "INSERT INTO device(name, served_seq, served_us)"
	    " VALUES (:name, :seq, :now)"
	    " ON CONFLICT (name) DO UPDATE SET served_seq = :seq, served_us = :now",
	[Q_CLOCK] =
	    "INSERT INTO device(name, ahead_ms) VALUES (:name, :ahead)"
	    " ON CONFLICT (name) DO UPDATE SET ahead_ms = :ahead",
	[Q_GREATEST] =
	    "SELECT coalesce(max(served_seq), 0) FROM device /*scan*/",
	[Q_LOST] = /* a poll from the same place an hour later is news */
	    "INSERT INTO lost(name, after_seq, until_seq, seen_us)"
	    " VALUES (:name, :after, :until, :now)"
	    " ON CONFLICT (name) DO UPDATE SET after_seq = min(after_seq, :after),"
	    " until_seq = max(until_seq, :until), seen_us = :now"
	    " WHERE until_seq < :until OR after_seq > :after"
	    " OR seen_us < :now - 3600000000",
	[Q_FOUND] =
	    "DELETE FROM lost WHERE name = :name",
	[Q_EACH_LOST] =
	    "SELECT name, after_seq, until_seq, seen_us FROM lost ORDER BY name",
};

/* Open it; NULL where it can't be had: then nothing is known or noted. */
static sqlite3 *
open_db(const char *dir, bool create)
{
	struct buf path = { 0 };
	struct fs_id id;
	sqlite3 *db = NULL;

	buf_addf(&path, "%s/devices.db", dir);
	if (buf_cstr(&path) != NULL && (create || fs_identify(path.p, &id)) &&
	    db_open(path.p, DB_ADVICE, &db, NULL) == RC_OK) {
		if (db_exec(db, schema, NULL) != RC_OK) {
			sqlite3_close(db);
			db = NULL;
		}
	}
	buf_free(&path);
	return db;
}

static enum rc
read_state(sqlite3 *db, struct span device, struct device_state *out)
{
	sqlite3_stmt *st = NULL;
	bool row = false;
	enum rc rc;

	*out = (struct device_state){ 0 };
	if ((rc = db_prepare(db, queries[Q_GET], &st, NULL)) == RC_OK) {
		db_bind_text(st, ":name", device);
		rc = db_step(st, &row, NULL);
	}
	if (rc == RC_OK && row) {
		out->served_seq = sqlite3_column_int64(st, 0);
		out->served_us = sqlite3_column_int64(st, 1);
		out->ahead_ms = sqlite3_column_int64(st, 2);
	}
	sqlite3_finalize(st);
	return rc == RC_OK && !row ? RC_NOT_FOUND : rc;
}

void
devices_served(const char *dir, struct span device, int64_t seq, int64_t now_us)
{
	sqlite3 *db = open_db(dir, true);
	struct device_state now;
	sqlite3_stmt *st = NULL;

	if (db == NULL)
		return;
	if (!(read_state(db, device, &now) == RC_OK && now.served_seq >= seq) &&
	    db_prepare(db, queries[Q_SERVED], &st, NULL) == RC_OK) {
		db_bind_text(st, ":name", device);
		db_bind_int(st, ":seq", seq);
		db_bind_int(st, ":now", now_us);
		db_run(st, NULL);
	}
	sqlite3_finalize(st);
	sqlite3_close(db);
}

/* FNV-1a; never 0. */
static uint64_t
hash_of(struct span name)
{
	uint64_t h = UINT64_C(14695981039346656037);

	for (size_t i = 0; i < name.len; i++)
		h = (h ^ (unsigned char)name.p[i]) * UINT64_C(1099511628211);
	return h != 0 ? h : 1;
}

static bool
is_news(int64_t noted_ms, int64_t ahead_ms)
{
	return ahead_ms - noted_ms > CLOCK_NEWS_MS || noted_ms - ahead_ms > CLOCK_NEWS_MS;
}

/* Write it where it is news; *noted is then what stands there. */
static bool
note_clock(sqlite3 *db, struct span device, int64_t ahead_ms, int64_t *noted)
{
	struct device_state now;
	sqlite3_stmt *st = NULL;
	enum rc rc = read_state(db, device, &now);

	*noted = now.ahead_ms;
	if (rc != RC_OK && rc != RC_NOT_FOUND)
		return false;
	if (!is_news(now.ahead_ms, ahead_ms))
		return true;
	if ((rc = db_prepare(db, queries[Q_CLOCK], &st, NULL)) == RC_OK) {
		db_bind_text(st, ":name", device);
		db_bind_int(st, ":ahead", ahead_ms);
		rc = db_run(st, NULL);
	}
	sqlite3_finalize(st);
	*noted = ahead_ms;
	return rc == RC_OK;
}

void
devices_clock(const char *dir, struct devices_known *known, struct span device,
              int64_t ahead_ms)
{
	uint64_t hash = hash_of(device);
	int64_t noted;
	sqlite3 *db;
	int i = (int)(hash % DEVICES_KNOWN);

	if (known->clock[i].device == hash && !is_news(known->clock[i].ahead_ms, ahead_ms))
		return;
	if ((db = open_db(dir, true)) == NULL)
		return;
	if (note_clock(db, device, ahead_ms, &noted)) {
		known->clock[i].device = hash;
		known->clock[i].ahead_ms = noted;
	}
	sqlite3_close(db);
}

enum rc
devices_get(const char *dir, struct span device, struct device_state *out)
{
	sqlite3 *db = open_db(dir, false);
	enum rc rc;

	*out = (struct device_state){ 0 };
	if (db == NULL)
		return RC_NOT_FOUND;
	rc = read_state(db, device, out);
	sqlite3_close(db);
	return rc == RC_OK ? RC_OK : RC_NOT_FOUND;
}

int64_t
devices_greatest(const char *dir)
{
	sqlite3 *db = open_db(dir, false);
	sqlite3_stmt *st = NULL;
	int64_t seq = 0;
	bool row = false;

	if (db == NULL)
		return 0;
	if (db_prepare(db, queries[Q_GREATEST], &st, NULL) == RC_OK &&
	    db_step(st, &row, NULL) == RC_OK && row)
		seq = sqlite3_column_int64(st, 0);
	sqlite3_finalize(st);
	sqlite3_close(db);
	return seq;
}

void
devices_lost(const char *dir, const struct device_lost *d)
{
	sqlite3 *db = open_db(dir, true);
	sqlite3_stmt *st = NULL;

	if (db == NULL)
		return;
	if (db_prepare(db, queries[Q_LOST], &st, NULL) == RC_OK) {
		db_bind_text(st, ":name", d->name);
		db_bind_int(st, ":after", d->after);
		db_bind_int(st, ":until", d->until);
		db_bind_int(st, ":now", d->seen_us);
		db_run(st, NULL);
	}
	sqlite3_finalize(st);
	sqlite3_close(db);
}

void
devices_found(const char *dir, struct span device)
{
	sqlite3 *db = open_db(dir, false);
	sqlite3_stmt *st = NULL;

	if (db == NULL)
		return;
	if (db_prepare(db, queries[Q_FOUND], &st, NULL) == RC_OK) {
		db_bind_text(st, ":name", device);
		db_run(st, NULL);
	}
	sqlite3_finalize(st);
	sqlite3_close(db);
}

enum rc
devices_each_lost(const char *dir, devices_visit *visit, void *ctx)
{
	sqlite3 *db = open_db(dir, false);
	sqlite3_stmt *st = NULL;
	struct device_lost d;
	bool row;
	enum rc rc;

	if (db == NULL)
		return RC_OK;
	rc = db_prepare(db, queries[Q_EACH_LOST], &st, NULL);
	while (rc == RC_OK && (rc = db_step(st, &row, NULL)) == RC_OK && row) {
		d.name = db_span(st, 0);
		d.after = sqlite3_column_int64(st, 1);
		d.until = sqlite3_column_int64(st, 2);
		d.seen_us = sqlite3_column_int64(st, 3);
		rc = visit(ctx, &d);
	}
	sqlite3_finalize(st);
	sqlite3_close(db);
	return rc;
}
