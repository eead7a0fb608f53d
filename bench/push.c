/*
 * Rows push/EVENTS/CLIENTS/PROJECTS: pushes against the plain loop that inserts
 * the same rows; push/1/CLIENTS/least: the least that does the same over HTTP;
 * push/EVENTS/eight: eight clients of eight projects against eight of one;
 * first/push: the first event of a project.
 */
#include "bench/bench.h"

#include "bench/hello.h"
#include "bench/plain.h"
#include "tests/temp.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

enum { EIGHT_OF_ONE = 1, EIGHT_OF_EIGHT = 4 }; /* of these */

#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

/* One row while it is measured. */
struct cell {
	bool wanted;
	struct tally tallies[PROJECTS];
	struct pusher pushers[CLIENTS];
	struct load_client clients[CLIENTS];
	struct spent sum;
	double ratios[ROUNDS_MAX];
	double rates[ROUNDS_MAX];
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
	size_t refused = 0;

	for (size_t i = 0; i < kinds[k].clients; i++) {
		refused += c->clients[i].refused;
		pusher_free(&c->pushers[i], &c->clients[i]);
	}
	if (refused > 0)
		bench_say("%zu pushes of %zu clients were refused", refused,
		          kinds[k].clients);
	for (size_t i = 0; i < kinds[k].projects; i++) {
		tally_check(b, p, &c->tallies[i]);
		tally_dir(p, &c->tallies[i], dir);
		temp_remove(dir);
	}
}

/* The plain loop, and what it adds up to. */
struct reference {
	struct plain *plain;
	double rates[ROUNDS_MAX]; /* the last one of each round */
	double rows;
	struct usage usage;
};

/* A slot of it; the rows a second. */
static double
reference_run(struct bench *b, struct place *p, struct reference *ref, size_t events)
{
	struct usage from, to;
	size_t rows;
	double rate;

	usage_now(&p->site, &from);
	rate = plain_insert(ref->plain, events, b->slot, &rows);
	usage_now(&p->site, &to);
	usage_add(&ref->usage, &from, &to);
	ref->rows += (double)rows;
	return rate;
}

/* One round: the plain loop, three kinds, the plain loop, three kinds. */
static void
round_run(struct bench *b, struct place *p, struct cell *cells, struct reference *ref,
          size_t events, size_t round)
{
	double before = 0;

	for (size_t k = 0; k < KINDS; k++) {
		struct cell *c = &cells[k];

		if (k % 3 == 0)
			before = reference_run(b, p, ref, events);
		if (!c->wanted)
			continue;
		c->rates[round] = (double)events *
			bench_slot(b, p, c->clients, kinds[k].clients, b->slot,
			           b->quick ? 1 : 3 * kinds[k].clients, &c->sum);
		c->ratios[round] = c->rates[round] / before;
	}
	ref->rates[round] = before;
}

/* Eight projects together against one. */
static void
eight_row(struct bench *b, const struct cell *cells, size_t events)
{
	const struct cell *one = &cells[EIGHT_OF_ONE], *eight = &cells[EIGHT_OF_EIGHT];
	double ratios[ROUNDS_MAX];
	struct row *row;
	char id[48];

	snprintf(id, sizeof(id), "push/%zu/eight", events);
	if (!bench_wants(b, id))
		return;
	for (size_t r = 0; r < b->rounds; r++)
		ratios[r] = eight->rates[r] / one->rates[r];
	row = table_add(&b->table, id, bench_median(ratios, b->rounds), "x", AIM_AT_LEAST, 1);
	row->figures[F_RATE] = bench_median(eight->rates, b->rounds);
	row->figures[F_REFERENCE] = bench_median(one->rates, b->rounds);
}

static void
cell_row(struct bench *b, const struct cell *c, const struct reference *ref, size_t s,
         size_t k)
{
	double target = kinds[k].projects > 1 ? 0
	                : kinds[k].clients == 1 ? sizes[s].one
	                : kinds[k].clients == 8 ? sizes[s].eight : 0;
	struct row *row;
	char id[48];

	cell_id(id, sizes[s].events, k);
	row = table_add(&b->table, id, bench_median(c->ratios, b->rounds), "x",
	                target > 0 ? AIM_AT_LEAST : AIM_NONE, target);
	bench_figures(row, c->clients, kinds[k].clients, &c->sum, sizes[s].events);
	row->figures[F_RATE] = bench_median(c->rates, b->rounds);
	row->figures[F_REFERENCE] = bench_median(ref->rates, b->rounds);
	row->figures[F_REFERENCE_BYTES] = ref->usage.own_written / ref->rows;
}

static void
size_rows(struct bench *b, struct place *p, size_t s)
{
	struct cell *cells = calloc(KINDS, sizeof(*cells));
	size_t events = sizes[s].events;
	struct reference ref = { 0 };
	char path[PATH_MAX + 32], id[48], eight[48];

	if (cells == NULL)
		abort();
	snprintf(eight, sizeof(eight), "push/%zu/eight", events);
	snprintf(path, sizeof(path), "%s/plain-%zu.db", p->site.dir, events);
	ref.plain = plain_new(path);
	for (size_t k = 0; k < KINDS; k++) {
		cell_id(id, events, k);
		cells[k].wanted = bench_wants(b, id) ||
			((k == EIGHT_OF_ONE || k == EIGHT_OF_EIGHT) && bench_wants(b, eight));
		if (cells[k].wanted)
			cell_start(&cells[k], p, events, k);
	}
	for (size_t k = 0; k < KINDS; k++)
		if (cells[k].wanted)
			bench_warm_up(b, p, cells[k].clients, kinds[k].clients);
	for (size_t r = 0; r < b->rounds && !b->failed; r++)
		round_run(b, p, cells, &ref, events, r);
	for (size_t k = 0; k < KINDS; k++) {
		if (!cells[k].wanted)
			continue;
		cell_row(b, &cells[k], &ref, s, k);
		cell_end(b, p, &cells[k], k);
	}
	eight_row(b, cells, events);
	plain_free(ref.plain);
	free(cells);
}

#define LEAST 8 /* clients, and workers */

/*
 * What single events could be at best through this nginx: a worker that does
 * nothing but insert one. Beside the plain loop, for one client and for eight.
 */
static void
least_rows(struct bench *b, struct place *p)
{
	static const struct { const char *id; size_t clients; } rows[] = {
		{ "push/1/1/least", 1 }, { "push/1/8/least", LEAST },
	};
	struct load_client clients[2][LEAST];
	double ratios[2][ROUNDS_MAX], rates[2][ROUNDS_MAX], plain[ROUNDS_MAX];
	char socket[PATH_MAX + 8], path[PATH_MAX + 32], body[1200];
	struct reference ref = { 0 };
	struct spent sums[2] = { 0 };
	struct hello workers;

	if (!bench_wants(b, rows[0].id) && !bench_wants(b, rows[1].id))
		return;
	memset(body, ' ', sizeof(body)); /* as large as a push of one event */
	snprintf(socket, sizeof(socket), "%s/insert", p->site.dir);
	snprintf(path, sizeof(path), "%s/least.db", p->site.dir);
	plain_free(plain_new(path));
	hello_start(&workers, socket, LEAST, path);
	snprintf(path, sizeof(path), "%s/plain-least.db", p->site.dir);
	ref.plain = plain_new(path);
	for (size_t i = 0; i < 2; i++)
		for (size_t k = 0; k < LEAST; k++) {
			struct load_client *c = &clients[i][k];

			*c = (struct load_client){ .body = { body, sizeof(body) } };
			load_head(&c->head, "POST", PLACE_INSERT, p->token, NULL, sizeof(body));
		}
	bench_warm_up(b, p, clients[1], LEAST);
	for (size_t r = 0; r < b->rounds && !b->failed; r++) {
		plain[r] = reference_run(b, p, &ref, 1);
		for (size_t i = 0; i < 2; i++) {
			rates[i][r] = bench_slot(b, p, clients[i], rows[i].clients, b->slot, 1,
			                         &sums[i]);
			ratios[i][r] = rates[i][r] / plain[r];
		}
	}
	for (size_t i = 0; i < 2; i++) {
		struct row *row;

		if (!bench_wants(b, rows[i].id))
			continue;
		row = table_add(&b->table, rows[i].id, bench_median(ratios[i], b->rounds), "x",
		                AIM_NONE, 0);
		bench_figures(row, clients[i], rows[i].clients, &sums[i], 0);
		row->figures[F_CPU] = NAN; /* ours did nothing */
		row->figures[F_RATE] = bench_median(rates[i], b->rounds);
		row->figures[F_REFERENCE] = bench_median(plain, b->rounds);
	}
	for (size_t i = 0; i < 2; i++)
		clients_free(clients[i], LEAST);
	plain_free(ref.plain);
	hello_stop(&workers);
}

void
push_rows(struct bench *b)
{
	struct place p;
	char id[48];

	if (!place_start(b, &p, NULL))
		return;
	for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]) && !b->failed; s++) {
		snprintf(id, sizeof(id), "push/%zu", sizes[s].events);
		if (!bench_wants(b, id))
			continue;
		bench_say("pushes of %zu events", sizes[s].events);
		size_rows(b, &p, s);
	}
	least_rows(b, &p);
	place_stop(b, &p);
}

/* Workers that have served somebody before: eight clients at once, so that it
 * isn't always the same one. */
static void
wake_workers(struct bench *b, struct place *p)
{
	struct load_client clients[8];
	struct spent ignored = { 0 };

	getters_init(clients, 8, p, "/v1/projects", NULL);
	bench_slot(b, p, clients, 8, b->slot, 8, &ignored);
	clients_free(clients, 8);
}

/* Each push is the first of its project: the log is opened by a worker that
 * never saw it. */
void
first_rows(struct bench *b)
{
	size_t n = b->quick ? 4 : 64;
	struct tally *tallies = calloc(n, sizeof(*tallies));
	struct load_client client;
	struct spent sum = { 0 };
	struct pusher pusher;
	struct row *row;
	struct place p;

	if (tallies == NULL)
		abort();
	bench_say("first pushes");
	if (place_start(b, &p, NULL)) {
		for (size_t i = 0; i < n; i++)
			tally_new(&p, &tallies[i]);
		wake_workers(b, &p);
		pusher_init(&pusher, &client, &p, 0, 1, tallies, n);
		bench_slot(b, &p, &client, 1, 0, n, &sum);
		row = table_add(&b->table, "first/push", NAN, "ms", AIM_AT_MOST, 10);
		bench_figures(row, &client, 1, &sum, 1);
		row->value = row->figures[F_P99];
		for (size_t i = 0; i < n; i++)
			tally_check(b, &p, &tallies[i]);
		pusher_free(&pusher, &client);
		place_stop(b, &p);
	}
	free(tallies);
}
