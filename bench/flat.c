/* Rows flat/...: the same on a long log as on a short one, which has a page. How
 * many times as long it takes. */
#include "bench/bench.h"

#include <stdio.h>

#define CLIENTS 8
#define PAGE 999 /* events of a page at the head */

enum { SHORT, LONG, LOGS };

struct log {
	struct tally tally;
	struct pusher pushers[CLIENTS];
	struct load_client clients[CLIENTS];
	struct spent sum;
	double rates[ROUNDS_MAX];
};

/* Both logs in turn; then the row, with the figures of the long one. */
static void
measure(struct bench *b, struct place *p, struct log logs[LOGS], const char *id,
        size_t events)
{
	double ratios[ROUNDS_MAX] = { 0 };
	struct row *row;

	for (int l = 0; l < LOGS; l++) {
		logs[l].sum = (struct spent){ 0 };
		bench_warm_up(b, p, logs[l].clients, CLIENTS);
	}
	for (size_t r = 0; r < b->rounds && !b->failed; r++) {
		for (int l = 0; l < LOGS; l++)
			logs[l].rates[r] = bench_slot(b, p, logs[l].clients, CLIENTS, b->slot,
			                              CLIENTS, &logs[l].sum);
		ratios[r] = logs[SHORT].rates[r] / logs[LONG].rates[r];
	}
	row = table_add(&b->table, id, bench_median(ratios, b->rounds), "x", AIM_AT_MOST, 1.5);
	bench_figures(row, logs[LONG].clients, CLIENTS, &logs[LONG].sum, events);
	row->figures[F_REFERENCE] = bench_median(logs[SHORT].rates, b->rounds) *
	                            (double)(events > 0 ? events : 1);
}

static void
get_row(struct bench *b, struct place *p, struct log logs[LOGS], const char *id,
        const char *what, int64_t back)
{
	char path[200];

	if (!bench_wants(b, id) || b->failed)
		return;
	for (int l = 0; l < LOGS; l++) {
		const struct tally *t = &logs[l].tally;

		snprintf(path, sizeof(path), "/v1/projects/%.*s/sync/%s?after_server_seq=%lld",
		         ID_MAX, t->id, what, (long long)(t->base - back));
		getters_init(logs[l].clients, CLIENTS, p, path, NULL);
	}
	measure(b, p, logs, id, 0);
	for (int l = 0; l < LOGS; l++)
		clients_free(logs[l].clients, CLIENTS);
}

static void
push_row(struct bench *b, struct place *p, struct log logs[LOGS], const char *id,
         size_t events)
{
	if (!bench_wants(b, id) || b->failed)
		return;
	for (int l = 0; l < LOGS; l++)
		for (size_t i = 0; i < CLIENTS; i++) {
			pusher_init(&logs[l].pushers[i], &logs[l].clients[i], p, i, events,
			            &logs[l].tally, 1);
			logs[l].pushers[i].next_id += logs[l].tally.acked;
		}
	measure(b, p, logs, id, events);
	for (int l = 0; l < LOGS; l++)
		for (size_t i = 0; i < CLIENTS; i++)
			pusher_free(&logs[l].pushers[i], &logs[l].clients[i]);
}

void
flat_rows(struct bench *b)
{
	static struct log logs[LOGS];
	struct place p;

	if (!place_start(b, &p, NULL))
		return;
	bench_say("a log of %lld events", (long long)b->long_log);
	for (int l = 0; l < LOGS; l++) {
		tally_new(&p, &logs[l].tally);
		tally_fill(b, &p, &logs[l].tally, (l == LONG ? b->long_log : 0) + PAGE);
	}
	get_row(b, &p, logs, "flat/head", "pull", PAGE);
	get_row(b, &p, logs, "flat/poll", "pull", 0);
	get_row(b, &p, logs, "flat/status", "status", 0);
	push_row(b, &p, logs, "flat/push-1", 1);
	push_row(b, &p, logs, "flat/push-100", 100);
	for (int l = 0; l < LOGS; l++)
		tally_check(b, &p, &logs[l].tally);
	place_stop(b, &p);
}
