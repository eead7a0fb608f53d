#include "plan.h"

#include "rng.h"
#include "run.h"

#include <stdarg.h>
#include <stdio.h>

#define DEVICES 3
#define STEP_S 60 /* between two lines: more than what one of them takes */

struct plan_maker {
	struct rng rng;
	struct buf *out;
	int64_t seconds;
	bool stock[RUN_PEOPLE]; /* else our client works there */
	bool old[RUN_PEOPLE];   /* it has rows that are older than its log */
	int n;
};

static void add(struct plan_maker *m, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

static void
add(struct plan_maker *m, const char *fmt, ...)
{
	char line[200];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	m->seconds += STEP_S;
	buf_addf(m->out, "at %lld %llu : %s\n", (long long)m->seconds,
	    (unsigned long long)rng_below(&m->rng, 1000000), line);
}

/* What may go wrong with a call, as words behind it; mostly nothing. */
static const char *
mishap(struct plan_maker *m, char out[40])
{
	static const char *const words[] = { "lost-answer", "lost-answer", "lost-answer",
	    "lost-request", "twice", "busy", "late", "cut-answer", "html" };

	out[0] = '\0';
	if (rng_chance(&m->rng, 15))
		snprintf(out, 40, " may die %d", 1 + (int)rng_below(&m->rng, 6));
	else if (rng_chance(&m->rng, 20))
		snprintf(out, 40, " may %s%s", words[rng_below(&m->rng,
		    sizeof(words) / sizeof(words[0]))], rng_chance(&m->rng, 30) ? " on pull" : "");
	return out;
}

/* --- who is there --- */

static void
device(struct plan_maker *m, const char *threshold)
{
	int schema = 38;
	char name = (char)('A' + m->n);
	bool stock = rng_chance(&m->rng, 70);

	if (!stock && rng_chance(&m->rng, 30))
		schema = 31;
	m->stock[m->n++] = stock;
	if (threshold == NULL)
		add(m, "%s %d", stock ? "stock" : "new", schema);
	else
		add(m, "%s %d & %c threshold %s", stock ? "stock" : "new", schema, name, threshold);
	if (stock && rng_chance(&m->rng, 20))
		add(m, "%c one-shot", name);
	if (rng_chance(&m->rng, 25))
		add(m, "%c clock %d", name, (int)rng_below(&m->rng, 3600) - 1800);
	/* td tells of older rows only before its first pull: that must not come first. */
	if ((m->old[m->n - 1] = rng_chance(&m->rng, 25)))
		add(m, "%c random %d & %c forget-log", name, 1 + (int)rng_below(&m->rng, 8), name);
}

/* Somebody comes late, and begins with a snapshot or with the whole log. */
static void
late(struct plan_maker *m)
{
	if (m->n == RUN_PEOPLE)
		return;
	device(m, rng_chance(&m->rng, 50) ? "1" : "-1");
	add(m, "%c sync", 'A' + m->n - 1);
}

/* --- what they do --- */

static void
edit(struct plan_maker *m, char name)
{
	/* What healing is about, more often than chance has it. */
	static const char *const words[] = { "undo", "undo", "undo", "delete", "restore",
	    "depend", "depend", "board", "place", "board-edit", "board-delete", "ws-start",
	    "ws-tag", "ws-end", "handoff", "title", "note-delete" };

	if (rng_chance(&m->rng, 50))
		add(m, "%c random %d", name, 1 + (int)rng_below(&m->rng, 5));
	else
		add(m, "%c try %s", name, words[rng_below(&m->rng,
		    sizeof(words) / sizeof(words[0]))]);
	if (rng_chance(&m->rng, 8))
		add(m, "%c try create & %c try undo", name, name);
}

static void
stock_turn(struct plan_maker *m, char name, bool old)
{
	static const char *const hows[] = { "sync", "push", "auto", "sync", "pull", "auto" };
	char words[40];
	unsigned n = (unsigned)rng_below(&m->rng, 100);

	if (n < 35)
		add(m, "%c td chance%s", name, mishap(m, words));
	else if (n < 65)
		edit(m, name);
	else if (n < 93)
		add(m, "%c stock %s%s", name, hows[rng_below(&m->rng, old ? 3 :
		    sizeof(hows) / sizeof(hows[0]))], mishap(m, words));
	else
		add(m, "%c %s", name, n < 96 ? "new-session" : n < 98 ? "new-device" :
		    "stock unlink");
}

static void
our_turn(struct plan_maker *m, char name)
{
	static const char *const calls[] = { "sync", "sync", "push", "pull" };
	char words[40];

	if (rng_chance(&m->rng, 60))
		edit(m, name);
	else
		add(m, "%c %s%s", name, calls[rng_below(&m->rng,
		    sizeof(calls) / sizeof(calls[0]))], mishap(m, words));
}

/* What all have before they go their ways. */
static void
common(struct plan_maker *m)
{
	static const char *const words[] = { "create", "create", "create", "board", "place",
	    "place", "depend", "ws-start", "ws-tag", "note" };
	size_t i;
	int who;

	for (i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		add(m, "A try %s", words[i]);
	for (who = 0; who < m->n; who++)
		add(m, "%c sync", 'A' + who);
}

void
plan_make(uint64_t seed, struct buf *out)
{
	struct plan_maker m = { .rng = { seed }, .out = out };
	size_t turns, who;

	while (m.n < DEVICES)
		device(&m, NULL);
	if (rng_chance(&m.rng, 70))
		common(&m);
	for (turns = 15 + rng_below(&m.rng, 35); turns > 0; turns--) {
		who = rng_below(&m.rng, (uint64_t)m.n);
		if (m.stock[who])
			stock_turn(&m, (char)('A' + who), m.old[who]);
		else
			our_turn(&m, (char)('A' + who));
		if (rng_chance(&m.rng, 3))
			late(&m);
	}
}
