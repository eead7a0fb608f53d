/* Rows poll/...: a request that finds nothing new, and the status, against a
 * worker that does nothing at all. */
#include "bench/bench.h"

#include "bench/hello.h"

#include <stdio.h>

#define CLIENTS 8

enum side { EMPTY, STATUS, HELLO, SIDES };

static const char *const ids[] = { [EMPTY] = "poll/empty", [STATUS] = "poll/status" };

/* All three in turn. */
static void
measure(struct bench *b, struct place *p, struct load_client clients[SIDES][CLIENTS])
{
	struct spent sums[SIDES] = { 0 };
	double ratios[HELLO][ROUNDS_MAX], rates[SIDES][ROUNDS_MAX];

	for (size_t r = 0; r < b->rounds && !b->failed; r++) {
		for (int s = 0; s < SIDES; s++)
			rates[s][r] = bench_slot(b, p, clients[s], CLIENTS, b->slot, 1, &sums[s]);
		for (int s = 0; s < HELLO; s++)
			ratios[s][r] = rates[s][r] / rates[HELLO][r];
	}
	for (int s = 0; s < HELLO && !b->failed; s++) {
		struct row *row;

		if (!bench_wants(b, ids[s]))
			continue;
		row = table_add(&b->table, ids[s], bench_median(ratios[s], b->rounds), "x",
		                AIM_AT_LEAST, 0.6);
		bench_figures(row, clients[s], CLIENTS, &sums[s], 0);
		row->figures[F_REFERENCE] = bench_median(rates[HELLO], b->rounds);
	}
}

void
poll_rows(struct bench *b)
{
	struct load_client clients[SIDES][CLIENTS];
	char paths[SIDES][160] = { [HELLO] = PLACE_HELLO }, socket[PATH_MAX];
	struct hello hello;
	struct place p;
	struct tally t;

	bench_say("polls and status");
	if (!place_start(b, &p, NULL))
		return;
	tally_new(&p, &t);
	tally_fill(b, &p, &t, 2000);
	snprintf(paths[EMPTY], sizeof(paths[0]), "/v1/projects/%s/sync/pull?"
	         "after_server_seq=%lld&limit=1000", t.id, (long long)t.base);
	snprintf(paths[STATUS], sizeof(paths[0]), "/v1/projects/%s/sync/status", t.id);
	for (int s = 0; s < SIDES; s++)
		getters_init(clients[s], CLIENTS, &p, paths[s], NULL);
	bench_warm_up(b, &p, clients[EMPTY], CLIENTS);
	bench_warm_up(b, &p, clients[STATUS], CLIENTS);
	snprintf(socket, sizeof(socket), "%s/hello", p.site.dir);
	/* As many as ours are by now. */
	hello_start(&hello, socket, site_workers(&p.site, NULL, 0), NULL);
	bench_warm_up(b, &p, clients[HELLO], CLIENTS);
	measure(b, &p, clients);
	hello_stop(&hello);
	for (int s = 0; s < SIDES; s++)
		clients_free(clients[s], CLIENTS);
	place_stop(b, &p);
}
