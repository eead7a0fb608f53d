/* Rows fair/...: 32 clients push to one project, each as fast as it can; four
 * others work on another one, as people do. */
#include "bench/bench.h"

#include <stdio.h>
#include <stdlib.h>

#define CROWD 32
#define OTHERS 4 /* half of them push, half poll */
#define ALL (CROWD + OTHERS)
#define PAUSE_US 20000

struct crowd {
	struct tally tallies[2]; /* the crowd's project and the other one */
	struct pusher pushers[ALL];
	struct load_client clients[ALL];
};

static void
start(struct place *p, struct crowd *c)
{
	char path[160];

	for (int i = 0; i < 2; i++)
		tally_new(p, &c->tallies[i]);
	for (size_t i = 0; i < CROWD; i++)
		pusher_init(&c->pushers[i], &c->clients[i], p, i, 100, &c->tallies[0], 1);
	snprintf(path, sizeof(path), "/v1/projects/%s/sync/pull?after_server_seq=0&limit=1",
	         c->tallies[1].id);
	for (size_t i = CROWD; i < ALL; i++) {
		if (i % 2 == 0)
			pusher_init(&c->pushers[i], &c->clients[i], p, i, 1, &c->tallies[1], 1);
		else
			getters_init(&c->clients[i], 1, p, path, NULL);
		c->clients[i].pause_us = PAUSE_US;
	}
}

static void
end(struct bench *b, struct place *p, struct crowd *c)
{
	for (int i = 0; i < 2; i++)
		tally_check(b, p, &c->tallies[i]);
	for (size_t i = 0; i < ALL; i++)
		if (i < CROWD || i % 2 == 0)
			pusher_free(&c->pushers[i], &c->clients[i]);
		else
			load_free(&c->clients[i]);
}

/* A row whose value is of its figures. */
static struct row *
add(struct bench *b, const char *id, double value, const char *unit, enum aim aim,
    double target)
{
	static struct row ignored;

	return bench_wants(b, id) ? table_add(&b->table, id, value, unit, aim, target)
	                          : &ignored;
}

static void
crowd_rows(struct bench *b, const struct crowd *c, const struct spent *sum)
{
	size_t count, least = SIZE_MAX, most = 0, refused = 0;
	uint32_t *times = load_times(c->clients, CROWD, &count);
	struct spent ours = *sum;
	struct row *row;

	for (size_t i = 0; i < CROWD; i++) {
		least = c->clients[i].n < least ? c->clients[i].n : least;
		most = c->clients[i].n > most ? c->clients[i].n : most;
		refused += c->clients[i].refused;
	}
	ours.requests = count; /* what the others cost is in it: it is little */
	row = add(b, "fair/p99-over-p50", load_quantile(times, count, 0.99) /
	          load_quantile(times, count, 0.5), "x", AIM_AT_MOST, 5);
	bench_figures(row, c->clients, CROWD, &ours, 100);
	add(b, "fair/slowest-over-fastest", (double)least / (double)most, "x",
	    AIM_AT_LEAST, 0.7);
	add(b, "fair/refused", (double)refused, "", AIM_AT_MOST, 0);
	free(times);
}

/* One kind of the others. */
static void
others_row(struct bench *b, const struct crowd *c, const char *id, size_t first)
{
	struct load_client kind[OTHERS / 2];
	struct row *row;
	uint32_t *times;
	size_t count;

	for (size_t i = 0; i < OTHERS / 2; i++)
		kind[i] = c->clients[first + 2 * i];
	times = load_times(kind, OTHERS / 2, &count);
	row = add(b, id, load_quantile(times, count, 0.99), "ms", AIM_AT_MOST, 25);
	row->figures[F_P50] = load_quantile(times, count, 0.5);
	row->figures[F_P99] = load_quantile(times, count, 0.99);
	free(times);
}

void
fair_rows(struct bench *b)
{
	static struct crowd c;
	struct spent sum = { 0 };
	size_t failures = 0;
	struct place p;

	bench_say("a crowd");
	if (!place_start(b, &p, NULL))
		return;
	start(&p, &c);
	bench_warm_up(b, &p, c.clients, ALL);
	bench_slot(b, &p, c.clients, ALL, b->quick ? b->slot : 10, ALL, &sum);
	for (size_t i = CROWD; i < ALL; i++)
		failures += c.clients[i].failed + c.clients[i].refused;
	crowd_rows(b, &c, &sum);
	others_row(b, &c, "fair/other-push-p99", CROWD);
	others_row(b, &c, "fair/other-poll-p99", CROWD + 1);
	add(b, "fair/other-failures", (double)failures, "", AIM_AT_MOST, 0);
	end(b, &p, &c);
	place_stop(b, &p);
}
