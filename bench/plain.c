/* SQLite in one process, see plain.h. */
#include "bench/plain.h"

#include "base/clock.h"
#include "bench/sample.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct plain {
	sqlite3 *db;
	sqlite3_stmt *insert, *begin, *commit;
	int64_t seq;
};

static const char pragmas[] =
    "PRAGMA journal_mode=WAL;"
    "PRAGMA synchronous=FULL;";

/* The columns of events.db (store/events.c). */
static const char schema[] =
    "CREATE TABLE event("
    " seq INTEGER PRIMARY KEY,"
    " author INTEGER NOT NULL,"
    " action_id INTEGER NOT NULL,"
    " digest BLOB NOT NULL,"
    " action INTEGER NOT NULL,"
    " by_server INTEGER NOT NULL,"
    " parked INTEGER NOT NULL,"
    " server_us INTEGER NOT NULL,"
    " type TEXT NOT NULL,"
    " entity TEXT NOT NULL,"
    " time TEXT NOT NULL,"
    " payload TEXT NOT NULL"
    ");"
    "CREATE UNIQUE INDEX event_key ON event(action_id, digest);";

static void
must(sqlite3 *db, int code)
{
	if (code == SQLITE_OK || code == SQLITE_ROW || code == SQLITE_DONE)
		return;
	fprintf(stderr, "bench: plain SQLite: %s\n", sqlite3_errmsg(db));
	abort();
}

static sqlite3_stmt *
prepare(sqlite3 *db, const char *sql)
{
	sqlite3_stmt *st;

	must(db, sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, &st, NULL));
	return st;
}

/* Open it, where it is new with its tables. */
static struct plain *
open_it(const char *path, bool is_new)
{
	struct plain *p = calloc(1, sizeof(*p));

	if (p == NULL)
		abort();
	must(NULL, sqlite3_open(path, &p->db));
	must(p->db, sqlite3_exec(p->db, pragmas, NULL, NULL, NULL));
	if (is_new)
		must(p->db, sqlite3_exec(p->db, schema, NULL, NULL, NULL));
	p->insert = prepare(p->db, "INSERT INTO event VALUES (?,?,?,?,?,?,?,?,?,?,?,?)");
	p->begin = prepare(p->db, "BEGIN IMMEDIATE");
	p->commit = prepare(p->db, "COMMIT");
	return p;
}

struct plain *
plain_new(const char *path)
{
	return open_it(path, true);
}

struct plain *
plain_open(const char *path)
{
	return open_it(path, false);
}

void
plain_free(struct plain *p)
{
	sqlite3_finalize(p->insert);
	sqlite3_finalize(p->begin);
	sqlite3_finalize(p->commit);
	sqlite3_close(p->db);
	free(p);
}

static void
run(struct plain *p, sqlite3_stmt *st)
{
	must(p->db, sqlite3_step(st));
	must(p->db, sqlite3_reset(st));
}

static void
text(sqlite3_stmt *st, int i, struct span s)
{
	sqlite3_bind_text64(st, i, s.p, s.len, SQLITE_STATIC, SQLITE_UTF8);
}

/* By several processes each author has numbers of his own, and SQLite gives the
 * row's. */
static void
insert(struct plain *p, const struct event *ev, int64_t author, int64_t now_us)
{
	sqlite3_stmt *st = p->insert;

	p->seq++;
	if (author == 0)
		sqlite3_bind_int64(st, 1, p->seq);
	sqlite3_bind_int64(st, 2, author);
	sqlite3_bind_int64(st, 3, (author << 32) + SAMPLE_FIRST + p->seq);
	sqlite3_bind_blob(st, 4, ev->digest, EVENT_DIGEST_LEN, SQLITE_STATIC);
	sqlite3_bind_int64(st, 5, ev->action);
	sqlite3_bind_int64(st, 6, 0);
	sqlite3_bind_int64(st, 7, 0);
	sqlite3_bind_int64(st, 8, now_us);
	text(st, 9, ev->type);
	text(st, 10, ev->id);
	text(st, 11, ev->time);
	text(st, 12, ev->payload);
	run(p, st);
}

double
plain_insert(struct plain *p, size_t batch, double seconds, size_t *rows)
{
	int64_t start = clock_mono_us(), end = start + (int64_t)(seconds * 1e6), now;

	*rows = 0;
	do {
		int64_t now_us = clock_now_us();

		run(p, p->begin);
		for (size_t i = 0; i < batch; i++)
			insert(p, sample_event(i), 0, now_us);
		run(p, p->commit);
		*rows += batch;
	} while ((now = clock_mono_us()) < end);
	return (double)*rows * 1e6 / (double)(now - start);
}

void
plain_add(struct plain *p)
{
	run(p, p->begin);
	insert(p, sample_event(0), getpid(), clock_now_us());
	run(p, p->commit);
}

/* --- reading --- */

static struct span
column(sqlite3_stmt *st, int i)
{
	const void *p = sqlite3_column_blob(st, i);

	return (struct span){ p, (size_t)sqlite3_column_bytes(st, i) };
}

static void
print_row(sqlite3_stmt *st, struct buf *b)
{
	buf_add_str(b, "{\"server_seq\":");
	buf_add_int(b, sqlite3_column_int64(st, 0));
	buf_add_str(b, ",\"device_id\":");
	buf_add_json(b, column(st, 1));
	buf_add_str(b, ",\"session_id\":");
	buf_add_json(b, column(st, 2));
	buf_add_str(b, ",\"client_action_id\":");
	buf_add_int(b, sqlite3_column_int64(st, 3));
	buf_add_str(b, ",\"action_type\":\"");
	buf_add_str(b, action_name((enum action)sqlite3_column_int(st, 4)));
	buf_add_str(b, "\",\"entity_type\":");
	buf_add_json(b, column(st, 5));
	buf_add_str(b, ",\"entity_id\":");
	buf_add_json(b, column(st, 6));
	buf_add_str(b, ",\"payload\":");
	buf_add_span(b, column(st, 7));
	buf_add_str(b, ",\"client_timestamp\":");
	buf_add_json(b, column(st, 8));
	buf_add_str(b, ",\"user_id\":");
	buf_add_json(b, column(st, 9));
	buf_add_str(b, ",\"server_timestamp\":\"");
	time_add_rfc3339(b, time_of_us(sqlite3_column_int64(st, 10)));
	buf_add_str(b, "\"}");
}

/* One page: to the end of the block, as engine/page.h says. */
static void
print_page(sqlite3 *db, sqlite3_stmt *st, int64_t after, struct buf *b)
{
	int64_t end = after - after % 1000 + 1000, last = after;

	buf_reset(b);
	buf_add_str(b, "{\"events\":[");
	sqlite3_bind_int64(st, 1, after);
	sqlite3_bind_int64(st, 2, end);
	while (sqlite3_step(st) == SQLITE_ROW) {
		if (last != after)
			buf_add_byte(b, ',');
		last = sqlite3_column_int64(st, 0);
		print_row(st, b);
	}
	must(db, sqlite3_reset(st));
	buf_add_str(b, "],\"last_server_seq\":");
	buf_add_int(b, last);
	buf_add_str(b, last == end ? ",\"has_more\":true}\n" : ",\"has_more\":false}\n");
}

double
plain_print(const char *dir, int64_t after, double seconds, struct buf *out)
{
	static const char sql[] =
	    "SELECT seq, device, session, action_id, action, type, entity, payload, time,"
	    " user, server_us FROM event JOIN author ON author.id = event.author"
	    " WHERE seq > ? AND seq <= ? ORDER BY seq";
	struct buf path = { 0 };
	int64_t start, end, now;
	sqlite3_stmt *st;
	size_t pages = 0;
	sqlite3 *db;

	buf_addf(&path, "%s/" EVENTS_DB, dir);
	must(NULL, sqlite3_open_v2(buf_cstr(&path), &db, SQLITE_OPEN_READWRITE, NULL));
	sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	st = prepare(db, sql);
	print_page(db, st, after, out); /* the first one fills the cache */
	start = clock_mono_us();
	end = start + (int64_t)(seconds * 1e6);
	do {
		print_page(db, st, after, out);
		pages++;
	} while ((now = clock_mono_us()) < end);
	sqlite3_finalize(st);
	sqlite3_close(db);
	buf_free(&path);
	return (double)pages * 1e6 / (double)(now - start);
}
