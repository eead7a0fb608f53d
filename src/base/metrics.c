/* What a server counts, see metrics.h. */
#include "base/metrics.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mapped.h"

#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>

/* Another one where the file's numbers mean something else and its size doesn't say so. */
#define FORMAT 1

/* After a failure: how long until the next attempt. */
#define AGAIN_MS 10000

const int64_t metric_buckets_us[METRIC_BUCKETS] = {
	100, 250, 500, 1000, 2500, 5000, 10000, 25000, 50000, 100000, 250000, 500000,
	1000000, 2500000, 5000000, 10000000, 30000000, 60000000,
};

typedef _Atomic uint64_t counter;

struct times {
	counter n[METRIC_BUCKETS + 1], sum_us;
};

/* The file. */
struct metrics {
	struct mapped head;
	counter single[METRIC__MAX];
	struct times times[METRIC_TIME__MAX];
	counter requests[METRIC_ROUTES][METRIC_STATUSES];
	struct times request_times[METRIC_ROUTES];
};

static struct metrics *metrics; /* NULL: nothing is counted */
static int64_t again_ms;        /* not opened before */
static bool said;               /* that it can't be */

int
metric_status(size_t i)
{
	return (int)(i / 32 + 2) * 100 + (int)(i % 32);
}

size_t
metric_status_index(int status)
{
	if (status < 200 || status > 599 || status % 100 > 31)
		return METRIC_STATUSES;
	return (size_t)(status / 100 - 2) * 32 + (size_t)(status % 100);
}

void
metrics_open(const char *data, uint64_t routes)
{
	char path[PATH_MAX];
	struct mapped *m;
	struct err err;
	int64_t now;

	if (metrics != NULL || (now = clock_mono_ms()) < again_ms)
		return; /* open, or hopeless for now */
	snprintf(path, sizeof(path), "%s/" METRICS_FILE, data);
	if (mapped_open(path, routes << 8 | FORMAT, sizeof(*metrics), &m, &err) == RC_OK) {
		metrics = (struct metrics *)m;
		return;
	}
	again_ms = now + AGAIN_MS;
	if (!said)
		log_write(LOG_WARN, "nothing is counted for /metrics: %s", err.text);
	said = true;
}

bool
metrics_are_on(void)
{
	return metrics != NULL;
}

void
metrics_close(void)
{
	mapped_close((struct mapped *)metrics, sizeof(*metrics));
	metrics = NULL;
	again_ms = 0;
}

/* Nothing is told by which of two counters was seen first. */
static void
add(counter *c, uint64_t n)
{
	atomic_fetch_add_explicit(c, n, memory_order_relaxed);
}

static uint64_t
get(const counter *c)
{
	return atomic_load_explicit(c, memory_order_relaxed);
}

static void
add_time(struct times *t, int64_t us)
{
	size_t i = 0;

	if (us < 0)
		us = 0;
	while (i < METRIC_BUCKETS && us > metric_buckets_us[i])
		i++;
	add(&t->n[i], 1);
	add(&t->sum_us, (uint64_t)us);
}

static void
get_time(const struct times *t, struct metric_times *out)
{
	for (size_t i = 0; i <= METRIC_BUCKETS; i++)
		out->n[i] = get(&t->n[i]);
	out->sum_us = get(&t->sum_us);
}

void
metrics_add(enum metric m, uint64_t n)
{
	if (metrics != NULL && n > 0)
		add(&metrics->single[m], n);
}

void
metrics_add_time(enum metric_time t, int64_t us)
{
	if (metrics != NULL)
		add_time(&metrics->times[t], us);
}

void
metrics_add_request(size_t route, int status, int64_t us)
{
	size_t i = metric_status_index(status);

	if (metrics == NULL || route >= METRIC_ROUTES || i == METRIC_STATUSES)
		return;
	add(&metrics->requests[route][i], 1);
	add_time(&metrics->request_times[route], us);
}

uint64_t
metrics_get(enum metric m)
{
	return metrics == NULL ? 0 : get(&metrics->single[m]);
}

void
metrics_get_time(enum metric_time t, struct metric_times *out)
{
	*out = (struct metric_times){ { 0 }, 0 };
	if (metrics != NULL)
		get_time(&metrics->times[t], out);
}

uint64_t
metrics_get_requests(size_t route, size_t status_index)
{
	return metrics == NULL ? 0 : get(&metrics->requests[route][status_index]);
}

void
metrics_get_request_times(size_t route, struct metric_times *out)
{
	*out = (struct metric_times){ { 0 }, 0 };
	if (metrics != NULL)
		get_time(&metrics->request_times[route], out);
}
