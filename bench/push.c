/* Rows push/EVENTS/CLIENTS/PROJECTS and eight/EVENTS: pushes against the plain
 * loop that inserts the same rows. */
#include "bench/bench.h"

#include "bench/plain.h"
#include "tests/temp.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROUNDS 32   /* at most */
#define CLIENTS 32  /* at most */
#define PROJECTS 8

/* Issue 4, "How good"; 0: no target. */
static const struct {
	size_t events;
	double one, eight; /* clients, one project */
} sizes[] = {
	{ 1, 0.4, 0.6 },
	{ 100, 0.4, 0.5 },
	{ 500, 0.4, 0.6 },
	{ 1000, 0.4, 0.6 },
};

static const struct {
	size_t clients, projects;
} kinds[] = { { 1, 1 }, { 8, 1 }, { 32, 1 }, { 1, 8 }, { 8, 8 }, { 32, 8 } };

#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

/* One row while it is measured. */
struct cell {
	bool wanted;
	struct tally tallies[PROJECTS];
	struct pusher pushers[CLIENTS];
	struct load_client clients[CLIENTS];
	struct sum sum;
	double ratios[ROUNDS];
	double rates[ROUNDS];
};

static void
cell_id(char out[48], size_t events, size_t k)
{
	snprintf(out, 48, "push/%zu/%zu/%zu", events, kinds[k].clients, kinds[k].projects);
}

static void
cell_start(struct cell *c, struct place *p, size_t events, size_t k)
{
	for (size_t i = 0; i < kinds[k].projects; i++)
		tally_new(p, &c->tallies[i]);
	for (size_t i = 0; i < kinds[k].clients; i++)
		pusher_init(&c->pushers[i], &c->clients[i], p, i, events, c->tallies,
		            kinds[k].projects);
}

static void
cell_end(struct bench *b, struct place *p, struct cell *c, size_t k)
{
	char dir[PATH_MAX];

	for (size_t i = 0; i < kinds[k].clients; i++) {
		if (c->clients[i].refused > 0)
			bench_say("  %zu clients: %zu pushes of one were refused",
			          kinds[k].clients, c->clients[i].refused);
		pusher_free(&c->pushers[i], &c->clients[i]);
	}
	for (size_t i = 0; i < kinds[k].projects; i++) {
		tally_check(b, p, &c->tallies[i]);
		tally_dir(p, &c->tallies[i], dir);
		temp_remove(dir);
	}
}

/* A push of every client, for the pool to grow and logs to be opened. */
static void
warm_up(struct bench *b, struct place *p, struct cell *cells)
{
	struct sum ignored = { 0 };

	for (size_t k = 0; k < KINDS; k++) {
		struct cell *c = &cells[k];

		if (c->wanted)
			bench_slot(b, p, c->clients, kinds[k].clients, 0, 1, &ignored);
		for (size_t i = 0; i < kinds[k].clients; i++)
			load_forget(&c->clients[i]);
	}
}

/* One round: the plain loop, three kinds, the plain loop, three kinds. */
static void
round_run(struct bench *b, struct place *p, struct cell *cells, struct plain *plain,
          size_t events, size_t round, double *reference)
{
	double before = 0;

	for (size_t k = 0; k < KINDS; k++) {
		struct cell *c = &cells[k];

		if (k % 3 == 0)
			before = plain_insert(plain, events, b->slot);
		if (!c->wanted)
			continue;
		c->rates[round] = (double)events *
			bench_slot(b, p, c->clients, kinds[k].clients, b->slot,
			           b->quick ? 1 : 3 * kinds[k].clients, &c->sum);
		c->ratios[round] = c->rates[round] / before;
	}
	*reference = before;
}

static void
size_rows(struct bench *b, struct place *p, size_t s)
{
	struct cell *cells = calloc(KINDS, sizeof(*cells));
	size_t events = sizes[s].events, rounds = (size_t)b->rounds;
	double references[ROUNDS], median;
	char path[PATH_MAX], id[48];
	struct plain *plain;

	if (cells == NULL)
		abort();
	snprintf(path, sizeof(path), "%.*s/plain.db", PATH_MAX - 16, b->dir);
	plain = plain_new(path);
	for (size_t k = 0; k < KINDS; k++) {
		cell_id(id, events, k);
		cells[k].wanted = bench_wants(b, id);
		if (cells[k].wanted)
			cell_start(&cells[k], p, events, k);
	}
	warm_up(b, p, cells);
	for (size_t r = 0; r < rounds && !b->failed; r++)
		round_run(b, p, cells, plain, events, r, &references[r]);
	median = bench_median(references, rounds);
	for (size_t k = 0; k < KINDS; k++) {
		double target = kinds[k].projects > 1 || kinds[k].clients > 8 ? 0
		                : kinds[k].clients == 1 ? sizes[s].one : sizes[s].eight;
		struct row *row;

		if (!cells[k].wanted)
			continue;
		cell_id(id, events, k);
		row = table_add(&b->table, id, bench_median(cells[k].ratios, rounds), "x",
		                target > 0 ? AIM_AT_LEAST : AIM_NONE, target);
		bench_figures(row, cells[k].clients, kinds[k].clients, &cells[k].sum, events);
		row->figures[F_RATE] = bench_median(cells[k].rates, rounds);
		row->figures[F_REFERENCE] = median;
		cell_end(b, p, &cells[k], k);
	}
	plain_free(plain);
	temp_remove(path);
	free(cells);
}

void
push_rows(struct bench *b)
{
	struct place p;
	char id[48];

	if (!place_start(b, &p, NULL, NULL))
		return;
	for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]) && !b->failed; s++) {
		snprintf(id, sizeof(id), "push/%zu", sizes[s].events);
		if (!bench_wants(b, id))
			continue;
		bench_say("pushes of %zu events", sizes[s].events);
		size_rows(b, &p, s);
	}
	place_stop(b, &p);
}
