/* Rows memory/...: what the server holds after a time of mixed load, when it is
 * at rest again, and whether that grew. */
#include "bench/bench.h"

#include "base/clock.h"

#include <stdio.h>
#include <unistd.h>

#define MB 1e6
#define PROJECTS 8
#define WORKERS 4         /* of the pool at rest: --workers of place_start() */
#define SHRINK_MS 120000

/* Who is there, about as in a busy organisation: some 700 events a second. */
static const struct {
	size_t clients, events;  /* 0: it reads */
	const char *path;        /* below /v1/projects/ID/sync/ */
	int64_t pause_us;
} kinds[] = {
	{ 6, 1, NULL, 50000 },
	{ 2, 100, NULL, 500000 },
	{ 1, 1000, NULL, 5000000 },
	{ 4, 0, "pull?after_server_seq=0&limit=1000", 100000 },
	{ 2, 0, "pull?after_server_seq=1000&limit=10000", 200000 },
	{ 2, 0, "status", 20000 },
	{ 1, 0, "snapshot", 500000 },
};

#define KINDS (sizeof(kinds) / sizeof(kinds[0]))
#define CLIENTS 18

struct mix {
	struct tally tallies[PROJECTS];
	struct pusher pushers[CLIENTS];
	struct load_client clients[CLIENTS];
};

static void
start(struct bench *b, struct place *p, struct mix *m)
{
	char path[160];
	size_t c = 0;

	for (size_t i = 0; i < PROJECTS; i++) {
		tally_new(p, &m->tallies[i]);
		tally_fill(b, p, &m->tallies[i], 3000);
	}
	for (size_t k = 0; k < KINDS; k++)
		for (size_t i = 0; i < kinds[k].clients; i++, c++) {
			struct tally *t = &m->tallies[c % PROJECTS];

			snprintf(path, sizeof(path), "/v1/projects/%s/sync/%s", t->id,
			         kinds[k].path != NULL ? kinds[k].path : "");
			if (kinds[k].events > 0)
				pusher_init(&m->pushers[c], &m->clients[c], p, c, kinds[k].events,
				            m->tallies, PROJECTS);
			else
				getters_init(&m->clients[c], 1, p, path, "Accept-Encoding: gzip\r\n");
			m->clients[c].pause_us = kinds[k].pause_us;
		}
}

static void
end(struct bench *b, struct place *p, struct mix *m)
{
	for (size_t i = 0; i < PROJECTS; i++)
		tally_check(b, p, &m->tallies[i]);
	for (size_t c = 0; c < CLIENTS; c++)
		if (m->clients[c].next != NULL)
			pusher_free(&m->pushers[c], &m->clients[c]);
		else
			load_free(&m->clients[c]);
}

/* The memory once the pool has shrunk. */
static void
at_rest(struct bench *b, struct place *p, struct memory *m)
{
	int64_t end_ms = clock_mono_ms() + SHRINK_MS;

	while (site_workers(&p->site, NULL, 0) != WORKERS && clock_mono_ms() < end_ms)
		usleep(50000);
	if (site_workers(&p->site, NULL, 0) != WORKERS)
		bench_fail(b, "the pool does not shrink");
	usage_memory(&p->site, m);
	bench_say("at rest: pool %.2f MB, nginx %.2f MB", m->pool / MB, m->nginx / MB);
}

void
memory_rows(struct bench *b)
{
	static struct mix m;
	struct memory early, peak, late;
	struct spent sum = { 0 };
	struct row *row;
	struct place p;

	bench_say("%g seconds of mixed load", b->mixed_seconds);
	if (!place_start(b, &p, "1"))
		return;
	start(b, &p, &m);
	bench_slot(b, &p, m.clients, CLIENTS, b->mixed_seconds / 4, 1, &sum);
	at_rest(b, &p, &early);
	bench_slot(b, &p, m.clients, CLIENTS, b->mixed_seconds * 3 / 4, 1, &sum);
	usage_memory(&p.site, &peak);
	at_rest(b, &p, &late);
	table_add(&b->table, "memory/worker", late.worker / MB, "MB", AIM_AT_MOST, 16);
	row = table_add(&b->table, "memory/pool+nginx", (late.pool + late.nginx) / MB, "MB",
	                AIM_AT_MOST, 50);
	bench_figures(row, m.clients, CLIENTS, &sum, 0);
	table_add(&b->table, "memory/under-load", (peak.pool + peak.nginx) / MB, "MB",
	          AIM_NONE, 0);
	/* Workers are replaced now and then; one that is new has 2 MB less. */
	table_add(&b->table, "memory/growth", (late.pool + late.nginx - early.pool -
	          early.nginx) / MB, "MB", AIM_AT_MOST, 3);
	end(b, &p, &m);
	place_stop(b, &p);
}
