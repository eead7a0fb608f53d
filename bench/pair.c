/* A log and its state, see pair.h. */
#include "bench/pair.h"

#include "base/clock.h"
#include "bench/history.h"
#include "tests/temp.h"

#include <stdio.h>
#include <sys/resource.h>

#define LONG_MS 600000 /* for what is not to end by time */

bool
bench_ok(struct bench *b, enum rc rc, const struct err *err)
{
	if (rc != RC_OK)
		bench_fail(b, "%s", err->text);
	return rc == RC_OK;
}

bool
pair_open(struct bench *b, struct pair *p)
{
	struct err err;

	p->log = NULL;
	p->f = NULL;
	return bench_ok(b, events_open(p->dir, &p->log, &err), &err) &&
	       bench_ok(b, follower_new(p->dir, &profile_td, &p->f, &err), &err);
}

void
pair_close(struct pair *p)
{
	follower_free(p->f);
	events_close(p->log);
}

bool
pair_make(struct bench *b, struct pair *p, int64_t events)
{
	struct err err;

	*p = (struct pair){ .log = NULL };
	snprintf(p->dir, sizeof(p->dir), "%s/pair", b->dir);
	return bench_ok(b, events_create(p->dir, "td", &err), &err) && pair_open(b, p) &&
	       pair_append(b, p, events);
}

void
pair_remove(struct pair *p)
{
	pair_close(p);
	temp_remove(p->dir);
}

bool
pair_append(struct bench *b, struct pair *p, int64_t events)
{
	struct events_head head;
	struct err err;

	return bench_ok(b, events_head(p->log, &head, &err), &err) &&
	       bench_ok(b, history_append(p->log, head.count, events, &err), &err);
}

/* Of this process, in microseconds. */
static int64_t
cpu_us(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (int64_t)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000000 + u.ru_utime.tv_usec +
	       u.ru_stime.tv_usec;
}

double
pair_follow(struct bench *b, struct pair *p, double *cpu)
{
	int64_t start = clock_mono_us(), spent = cpu_us(), end = clock_mono_ms() + LONG_MS;
	struct follow_limits limits = { end, end, false };
	struct err err;

	if (!bench_ok(b, follower_run(p->f, p->log, &limits, &err), &err))
		return -1;
	if (cpu != NULL)
		*cpu = (double)(cpu_us() - spent) / 1e6;
	return (double)(clock_mono_us() - start) / 1e6;
}
