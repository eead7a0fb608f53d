/* A crowd of clients, see crowd.h. */
#include "crowd.h"

#include "web.h"

#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define GIVE_UP_MS 30000 /* once told to stop */

static void
spoil(struct crowd *c, const char *what, const struct web_answer *a)
{
	if (!atomic_exchange(&c->wrong, true))
		fprintf(stderr, "crowd: %s: %d %s\n", what, a->status,
		        a->body.p != NULL ? a->body.p : "");
}

/* Make a call; its status. Nothing may take longer than nginx waits. */
static int
call(struct crowd *c, const struct web_call *what, struct web_answer *a)
{
	long long start = clock_mono_ms(), took, slowest = atomic_load(&c->slowest_ms);

	if (!web_call(what, a))
		a->status = 0;
	took = clock_mono_ms() - start;
	while (took > slowest &&
	       !atomic_compare_exchange_weak(&c->slowest_ms, &slowest, took))
		;
	return a->status;
}

/* Whether an answer means: come again. */
static bool
passes(int status)
{
	return status == 0 || status >= 500 || status == 429;
}

int
crowd_push(struct crowd *c, const char *url, int device, size_t first, size_t n,
           const char *session)
{
	struct web_answer answer = { 0 };
	struct buf body = { 0 };
	char path[128], name[32];
	struct web_call push = { .method = "POST", .url = url, .path = path,
	                         .token = c->token };
	int status;

	snprintf(path, sizeof(path), "/v1/projects/%s/sync/push", c->project);
	snprintf(name, sizeof(name), "device-%d", device);
	ledger_write_push(c->ledger, first, n, name, session, &body);
	push.body = buf_span(&body);
	status = call(c, &push, &answer);
	if (status == 200) {
		if (!ledger_take_answer(c->ledger, first, n, buf_span(&answer.body)))
			spoil(c, "a push's answer", &answer);
	} else if (!passes(status)) {
		spoil(c, "a push is refused", &answer);
	}
	web_free(&answer);
	buf_free(&body);
	return status;
}

/* One of those who send the same push at the same instant. */
struct twin {
	struct crowd *c;
	const char *url;
	pthread_t thread;
	pthread_barrier_t *start;
	int device;
	char session[24];
	size_t first, n;
};

/* Send until it is acked. */
static void *
be_twin(void *ctx)
{
	struct twin *t = ctx;
	struct crowd *c = t->c;
	int64_t end = 0;
	int status;

	if (t->start != NULL)
		pthread_barrier_wait(t->start);
	while ((status = crowd_push(c, t->url, t->device, t->first, t->n, t->session)) != 200 &&
	       !atomic_load(&c->wrong)) {
		atomic_fetch_add(&c->again, 1);
		if (end == 0 && atomic_load(&c->stop))
			end = clock_mono_ms() + GIVE_UP_MS;
		if (end != 0 && clock_mono_ms() > end) {
			fprintf(stderr, "crowd: a push is not taken: %d\n", status);
			atomic_store(&c->wrong, true);
		}
		usleep(5000);
	}
	if (status == 200)
		atomic_fetch_add(&c->answered, 1);
	return NULL;
}

/* The same events at the same instant: from the same device, under other
 * sessions, and from devices that never had them. */
static void
push_by_many(struct crowd *c, int me, size_t first, size_t n)
{
	struct twin twins[8];
	pthread_barrier_t start;

	pthread_barrier_init(&start, NULL, c->twins);
	for (unsigned i = 0; i < c->twins; i++) {
		twins[i] = (struct twin){ .c = c, .start = &start, .first = first, .n = n,
			.device = i % 3 == 2 ? 100 + me : me,
			.url = c->urls[1] != NULL ? c->urls[i % 2] : c->urls[0] };
		snprintf(twins[i].session, sizeof(twins[i].session), "ses_%u", i % 2);
		if (pthread_create(&twins[i].thread, NULL, be_twin, &twins[i]) != 0)
			abort();
	}
	for (unsigned i = 0; i < c->twins; i++)
		pthread_join(twins[i].thread, NULL);
	pthread_barrier_destroy(&start);
}

static void
be_pusher(struct crowd *c, int me, const char *url)
{
	unsigned most = c->most_events > 0 ? (unsigned)c->most_events : 20, seed;
	struct twin alone = { .c = c, .url = url, .device = me };

	seed = (unsigned)me * 2654435761u + 1;
	while (!atomic_load(&c->stop) && !atomic_load(&c->wrong)) {
		alone.n = 1 + (size_t)rand_r(&seed) % most;
		alone.first = ledger_make(c->ledger, me, alone.n);
		/* A stock client's session changes with its terminal. */
		snprintf(alone.session, sizeof(alone.session), "ses_%d", rand_r(&seed) % 3);
		if (c->twins > 1)
			push_by_many(c, me, alone.first, alone.n);
		else
			be_twin(&alone);
	}
}

bool
crowd_follow(struct crowd *c, const char *url, struct follower *f)
{
	struct web_answer answer = { 0 };
	char path[160];
	struct web_call pull = { .url = url, .path = path, .token = c->token };
	bool more = true, ok = true;

	while (ok && more) {
		snprintf(path, sizeof(path), "/v1/projects/%s/sync/pull?after_server_seq=%lld",
		         c->project, (long long)f->cursor);
		if (call(c, &pull, &answer) != 200) {
			ok = false;
			if (!passes(answer.status))
				spoil(c, "a pull is refused", &answer);
		} else if (!follower_take(c->ledger, f, buf_span(&answer.body), &more)) {
			ok = false;
			spoil(c, "a page", &answer);
		}
	}
	web_free(&answer);
	return ok;
}

static void
be_follower(struct crowd *c, struct follower *f, const char *url)
{
	int64_t end = 0;
	bool stop, read;

	do {
		stop = atomic_load(&c->stop);
		read = crowd_follow(c, url, f);
		if (stop && end == 0)
			end = clock_mono_ms() + GIVE_UP_MS;
		usleep(2000);
	} while (!atomic_load(&c->wrong) &&
	         (!stop || (!read && clock_mono_ms() < end)));
	if (!read && !atomic_exchange(&c->wrong, true))
		fputs("crowd: a follower can't read\n", stderr);
}

static void *
be_client(void *ctx)
{
	struct crowd *c = ctx;
	int me = atomic_fetch_add(&c->next, 1);
	const char *url = c->urls[1] != NULL ? c->urls[me % 2] : c->urls[0];

	if (me < c->pushers)
		be_pusher(c, me, url);
	else
		be_follower(c, &c->follow[me - c->pushers], url);
	return NULL;
}

void
crowd_start(struct crowd *c)
{
	for (int i = 0; i < c->pushers + c->followers; i++)
		if (pthread_create(&c->threads[i], NULL, be_client, c) != 0)
			abort();
}

bool
crowd_stop(struct crowd *c)
{
	atomic_store(&c->stop, true);
	for (int i = 0; i < c->pushers + c->followers; i++)
		pthread_join(c->threads[i], NULL);
	return !atomic_load(&c->wrong);
}

bool
crowd_wait(struct crowd *c, int answered, int ms)
{
	int64_t end = clock_mono_ms() + ms;

	while (atomic_load(&c->answered) < answered && !atomic_load(&c->wrong) &&
	       clock_mono_ms() < end)
		usleep(2000);
	return atomic_load(&c->answered) >= answered;
}
