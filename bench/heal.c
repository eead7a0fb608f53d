/* Row heal/push: pushes to a server that heals, beside those to one that doesn't. */
#include "bench/bench.h"

#define CLIENTS 8
#define EVENTS 100

enum { ON, OFF, PLACES };

/* A server, and those who push to it. */
struct side {
	struct place place;
	struct tally tally;
	struct pusher pushers[CLIENTS];
	struct load_client clients[CLIENTS];
	struct spent sum;
	double rates[ROUNDS_MAX];
};

static bool
side_start(struct bench *b, struct side *s, const char *config)
{
	if (!place_start_with(b, &s->place, NULL, config))
		return false;
	tally_new(&s->place, &s->tally);
	for (size_t i = 0; i < CLIENTS; i++)
		pusher_init(&s->pushers[i], &s->clients[i], &s->place, i, EVENTS, &s->tally, 1);
	bench_warm_up(b, &s->place, s->clients, CLIENTS);
	return true;
}

static void
side_end(struct bench *b, struct side *s)
{
	for (size_t i = 0; i < CLIENTS; i++)
		pusher_free(&s->pushers[i], &s->clients[i]);
	tally_check(b, &s->place, &s->tally);
	place_stop(b, &s->place);
}

static void
measure(struct bench *b, struct side sides[PLACES])
{
	double ratios[ROUNDS_MAX] = { 0 };
	struct row *row;

	for (size_t r = 0; r < b->rounds && !b->failed; r++) {
		for (int i = 0; i < PLACES; i++)
			sides[i].rates[r] = EVENTS * bench_slot(b, &sides[i].place, sides[i].clients,
			                                        CLIENTS, b->slot, CLIENTS,
			                                        &sides[i].sum);
		ratios[r] = sides[ON].rates[r] / sides[OFF].rates[r];
	}
	row = table_add(&b->table, "heal/push", bench_median(ratios, b->rounds), "x",
	                AIM_AT_LEAST, 0.95);
	bench_figures(row, sides[ON].clients, CLIENTS, &sides[ON].sum, EVENTS);
	row->figures[F_REFERENCE] = bench_median(sides[OFF].rates, b->rounds);
}

void
heal_rows(struct bench *b)
{
	static struct side sides[PLACES];

	if (!bench_wants(b, "heal/push"))
		return;
	bench_say("pushes to a server that heals");
	if (!side_start(b, &sides[ON], "heal = on\n"))
		return;
	if (side_start(b, &sides[OFF], "heal = off\n")) {
		measure(b, sides);
		side_end(b, &sides[OFF]);
	}
	side_end(b, &sides[ON]);
}
