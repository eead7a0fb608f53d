/* Rows snapshot/...: what it costs to get what a log adds up to. */
#include "bench/bench.h"

#include "base/clock.h"
#include "base/fs.h"
#include "bench/pair.h"
#include "tests/temp.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EVENTS 100000
#define HERD 50
#define PAUSE_US 100000 /* of who was told to come again */

struct setting {
	struct place place;
	struct tally tally;
	struct pusher pusher;
	struct load_client push, get;
	char path[160];
};

/* The milliseconds of one answer; NAN: it did not come. */
static double
one(struct bench *b, struct setting *s, struct load_client *c)
{
	struct spent ignored = { 0 };
	uint32_t *times;
	size_t n;
	double ms;

	load_forget(c);
	bench_slot(b, &s->place, c, 1, 0, 1, &ignored);
	times = load_times(c, 1, &n);
	ms = load_quantile(times, n, 0.5);
	free(times);
	return ms;
}

/* The milliseconds of a copy by SQLite itself. */
static double
vacuum_into(struct bench *b, struct setting *s)
{
	char dir[PATH_MAX], path[PATH_MAX + 16], copy[PATH_MAX], *sql;
	sqlite3 *db = NULL;
	int64_t start;
	double ms;

	tally_dir(&s->place, &s->tally, dir);
	snprintf(path, sizeof(path), "%s/" STATE_DB, dir);
	snprintf(copy, sizeof(copy), "%s/copy.db", b->dir);
	sql = sqlite3_mprintf("VACUUM INTO %Q", copy);
	sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL);
	sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	start = clock_mono_us();
	if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
		bench_fail(b, "VACUUM INTO: %s", sqlite3_errmsg(db));
	ms = (double)(clock_mono_us() - start) / 1000;
	sqlite3_free(sql);
	sqlite3_close(db);
	unlink(copy);
	return ms;
}

/* How many the workers say they made. */
static int
builds(struct setting *s)
{
	struct buf log = { 0 };
	int n = 0;

	fs_read(s->place.site.error_log, 64 << 20, &log, NULL);
	for (const char *p = buf_cstr(&log); p != NULL && (p = strstr(p, " bytes in ")) != NULL; p++)
		n++;
	buf_free(&log);
	return n;
}

/* The first of a log that nobody has applied, beside applying it. */
static void
first_row_of(struct bench *b, struct setting *s, int64_t events)
{
	static const char *const names[] = { STATE_DB, STATE_DB "-wal", STATE_DB "-shm" };
	char path[PATH_MAX + 32];
	double apply, first;
	struct pair p;
	struct row *row;

	tally_dir(&s->place, &s->tally, p.dir);
	apply = pair_open(b, &p) && pair_append(b, &p, events) ? pair_follow(b, &p, NULL) : -1;
	pair_close(&p);
	s->tally.base = events;
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		snprintf(path, sizeof(path), "%s/%s", p.dir, names[i]);
		unlink(path);
	}
	first = one(b, s, &s->get) / 1000;
	if (!bench_wants(b, "snapshot/first"))
		return;
	row = table_add(&b->table, "snapshot/first", first / apply, "x", AIM_AT_MOST, 1.5);
	row->figures[F_RATE] = (double)events / first;
	row->figures[F_REFERENCE] = (double)events / apply;
	row->figures[F_P50] = first * 1000;
}

/* The next one, a hundred events later. */
static void
next_row(struct bench *b, struct setting *s)
{
	double ours[ROUNDS_MAX] = { 0 }, more[ROUNDS_MAX] = { 0 };
	struct row *row;

	if (!bench_wants(b, "snapshot/next") || b->failed)
		return;
	for (size_t r = 0; r < b->rounds && !b->failed; r++) {
		one(b, s, &s->push);
		ours[r] = one(b, s, &s->get);
		more[r] = ours[r] - vacuum_into(b, s);
	}
	row = table_add(&b->table, "snapshot/next-over-vacuum", bench_median(more, b->rounds),
	                "ms", AIM_AT_MOST, 50);
	row->figures[F_P50] = bench_median(ours, b->rounds);
}

/* So many at once, of one that nobody has made yet. */
static void
herd_row(struct bench *b, struct setting *s)
{
	static struct load_client clients[HERD];
	struct spent spent = { 0 };
	struct row *row;
	int before;

	if (!bench_wants(b, "snapshot/herd") || b->failed)
		return;
	one(b, s, &s->push);
	before = builds(s);
	getters_init(clients, HERD, &s->place, s->path, NULL);
	for (size_t i = 0; i < HERD; i++)
		clients[i].pause_us = PAUSE_US;
	bench_slot(b, &s->place, clients, HERD, 0, HERD, &spent);
	row = table_add(&b->table, "snapshot/herd", builds(s) - before, "", AIM_AT_MOST, 1);
	bench_figures(row, clients, HERD, &spent, 0);
	clients_free(clients, HERD);
}

void
snapshot_rows(struct bench *b)
{
	static struct setting s;

	bench_say("snapshots");
	/* The history is of several devices, so there is something to heal. */
	if (!place_start_with(b, &s.place, NULL, "heal = off\n"))
		return;
	tally_new(&s.place, &s.tally);
	snprintf(s.path, sizeof(s.path), "/v1/projects/%s/sync/snapshot", s.tally.id);
	getters_init(&s.get, 1, &s.place, s.path, NULL);
	first_row_of(b, &s, b->quick ? 2000 : EVENTS);
	pusher_init(&s.pusher, &s.push, &s.place, 0, 100, &s.tally, 1);
	next_row(b, &s);
	herd_row(b, &s);
	tally_check(b, &s.place, &s.tally);
	pusher_free(&s.pusher, &s.push);
	load_free(&s.get);
	place_stop(b, &s.place);
}
