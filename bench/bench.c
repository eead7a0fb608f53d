/* What the rows share, see bench.h. */
#include "bench/bench.h"

#include "tests/temp.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Whether one is the beginning of the other, up to a '/'. */
static bool
is_below(const char *a, const char *b, size_t b_len)
{
	size_t n = strlen(a) < b_len ? strlen(a) : b_len;

	return strncmp(a, b, n) == 0 &&
	       (strlen(a) == b_len || (a[n] == '/' || (b_len > n && b[n] == '/')));
}

bool
bench_wants(const struct bench *b, const char *id)
{
	const char *p = b->only;

	if (p == NULL)
		return true;
	for (;;) {
		size_t n = strcspn(p, ",");

		if (is_below(id, p, n))
			return true;
		if (p[n] == '\0')
			return false;
		p += n + 1;
	}
}

void
bench_fail(struct bench *b, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fputs("bench: ", stderr);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
	b->failed = true;
}

void
bench_say(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
}

static int
ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

double
bench_median(double *values, size_t n)
{
	if (n == 0)
		return NAN;
	qsort(values, n, sizeof(*values), ascending);
	return (values[(n - 1) / 2] + values[n / 2]) / 2;
}

/* --- a server --- */

bool
place_start(struct bench *b, struct place *p, const char *idle_seconds,
            const char *locations)
{
	const char *pool[] = { "--workers", "4", "--max-workers", "64",
	                       idle_seconds != NULL ? "--idle-seconds" : NULL,
	                       idle_seconds, NULL };
	struct site_options o = {
		.kind = SITE_FASTCGI, .dir = b->dir, .arguments = pool,
		.without_limits = true, .locations = locations,
	};
	char data[PATH_MAX];
	static int number;

	/* Each has its own data; what lies beside it is written anew. */
	*p = (struct place){ 0 };
	snprintf(data, sizeof(data), "%s/%d", b->dir, ++number);
	if (mkdir(data, 0700) != 0)
		bench_fail(b, "can't make %s", data);
	o.dir = data;
	if (!site_start(&p->site, &o)) {
		bench_fail(b, "the server does not start");
		return false;
	}
	p->port = atoi(strrchr(p->site.url, ':') + 1);
	site_user(&p->site, "bench@example.com", p->user);
	p->token = site_token(&p->site, p->user, SCOPE_READ | SCOPE_WRITE, NULL, NULL);
	return true;
}

void
place_stop(struct bench *b, struct place *p)
{
	if (!site_stop(&p->site))
		bench_fail(b, "the server did not end well");
	temp_remove(p->site.dir);
	free(p->token);
}

/* --- pushes --- */

void
tally_new(struct place *p, struct tally *t)
{
	*t = (struct tally){ 0 };
	site_project(&p->site, "bench", p->user, t->id);
}

void
tally_dir(const struct place *p, const struct tally *t, char out[PATH_MAX])
{
	snprintf(out, PATH_MAX, "%.*s/projects/%s", PATH_MAX - 64, p->site.data, t->id);
}

void
tally_check(struct bench *b, struct place *p, const struct tally *t)
{
	struct load_client c = { .keep = true };
	int64_t all = t->base + t->acked, count = -1, head = -1;
	uint64_t n = (uint64_t)t->acked, want = n * (uint64_t)t->base + n * (n + 1) / 2;
	char path[128];

	snprintf(path, sizeof(path), "/v1/projects/%s/sync/status", t->id);
	load_head(&c.head, "GET", path, p->token, NULL, 0);
	if (load_run(&c, 1, p->port, 0, 1) < 0 || buf_cstr(&c.answer) == NULL ||
	    sscanf(c.answer.p, "{\"event_count\":%" SCNd64
	                ",\"last_server_seq\":%" SCNd64, &count, &head) != 2)
		bench_fail(b, "no status of %s", t->id);
	else if (head != all || count != all)
		bench_fail(b, "%s: %lld events were acked, the log has %lld and ends at %lld",
		           t->id, (long long)all, (long long)count, (long long)head);
	else if (t->seqs != want)
		bench_fail(b, "%s: a number was given twice, or left out", t->id);
	load_free(&c);
}

static void
pusher_next(struct load_client *c)
{
	struct pusher *p = c->ctx;
	char path[128];

	p->now = &p->tallies[p->turn++ % p->n];
	snprintf(path, sizeof(path), "/v1/projects/%s/sync/push", p->now->id);
	load_head(&c->head, "POST", path, p->token, NULL, p->body.text.len);
	body_number(&p->body, p->next_id);
	p->next_id += (int64_t)p->body.n;
	c->body = buf_span(&p->body.text);
}

/* Count the acks; each has a number. */
static bool
pusher_judge(struct load_client *c)
{
	static const char label[] = "\"server_seq\":";
	struct pusher *p = c->ctx;
	const char *at = c->status == 200 ? buf_cstr(&c->answer) : NULL;
	size_t acks = 0;

	if (at == NULL || strstr(at, "\"rejected\"") != NULL)
		return false;
	while ((at = strstr(at, label)) != NULL) {
		at += sizeof(label) - 1;
		p->now->seqs += strtoull(at, NULL, 10);
		acks++;
	}
	p->now->acked += (int64_t)acks;
	return acks == p->body.n;
}

void
pusher_init(struct pusher *p, struct load_client *c, const struct place *place,
            size_t i, size_t events, struct tally *tallies, size_t n)
{
	char device[40];

	snprintf(device, sizeof(device), "%032zx", i + 1);
	*p = (struct pusher){
		.tallies = tallies, .n = n, .turn = i, .token = place->token,
		.next_id = SAMPLE_FIRST + SAMPLE_STRIDE * (int64_t)i,
	};
	body_make(&p->body, events, device);
	*c = (struct load_client){
		.next = pusher_next, .judge = pusher_judge, .ctx = p, .keep = true,
	};
}

void
pusher_free(struct pusher *p, struct load_client *c)
{
	body_free(&p->body);
	load_free(c);
}

/* --- measuring --- */

/* What is due after an answer is part of its cost. */
static void
settle(void)
{
	usleep(20000);
}

double
bench_slot(struct bench *b, struct place *p, struct load_client *clients, size_t n,
           double seconds, size_t min, struct sum *sum)
{
	struct usage from, to;
	size_t before = 0, after = 0;
	double took;

	for (size_t i = 0; i < n; i++)
		before += clients[i].n;
	usage_now(&p->site, &from);
	took = load_run(clients, n, p->port, seconds, min);
	/* The generator's own is done. */
	usage_now(&p->site, &to);
	sum->usage.own_us += to.own_us - from.own_us;
	from.own_us = to.own_us;
	settle();
	usage_now(&p->site, &to);
	to.own_us = from.own_us;
	usage_add(&sum->usage, &from, &to);
	for (size_t i = 0; i < n; i++) {
		after += clients[i].n;
		if (clients[i].failed > 0)
			b->failed = true;
	}
	if (took < 0) {
		bench_fail(b, "a run broke off");
		return -1;
	}
	sum->seconds += took;
	sum->requests += after - before;
	return (double)(after - before) / took;
}

void
bench_figures(struct row *r, const struct load_client *clients, size_t n,
              const struct sum *sum, size_t events)
{
	double requests = (double)sum->requests, all = requests * (double)events, *f = r->figures;
	size_t count;
	uint32_t *times = load_times(clients, n, &count);

	f[F_RATE] = (events > 0 ? all : requests) / sum->seconds;
	f[F_P50] = load_quantile(times, count, 0.5);
	f[F_P99] = load_quantile(times, count, 0.99);
	f[F_CPU] = sum->usage.workers_us / requests;
	f[F_NGINX] = sum->usage.nginx_us / requests;
	f[F_GENERATOR] = sum->usage.own_us / sum->seconds / 1e6;
	if (events > 0) {
		f[F_CPU_EVENT] = sum->usage.workers_us / all;
		f[F_BYTES] = sum->usage.written / all;
	}
	free(times);
}
