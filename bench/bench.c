/* What the rows share, see bench.h. */
#include "bench/bench.h"

#include "base/clock.h"
#include "engine/follow.h"
#include "tests/temp.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LONG_MS 600000 /* for what is not to end by time */

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
bench_median(const double *values, size_t n)
{
	double sorted[ROUNDS_MAX];

	if (n == 0)
		return NAN;
	memcpy(sorted, values, n * sizeof(*sorted));
	qsort(sorted, n, sizeof(*sorted), ascending);
	return (sorted[(n - 1) / 2] + sorted[n / 2]) / 2;
}

/* --- a server --- */

/* What PLACE_HELLO and the others are. */
static void
add_locations(struct buf *b, const char *dir)
{
	buf_addf(b, "\tlocation = " PLACE_HELLO " { fastcgi_pass unix:%s/hello; }\n", dir);
	buf_addf(b, "\tlocation = " PLACE_INSERT " { fastcgi_pass unix:%s/insert; }\n", dir);
	buf_addf(b, "\tlocation = " PLACE_FILE " { alias %s/page; gzip off;"
	         " default_type application/json; }\n", dir);
	buf_addf(b, "\tlocation = " PLACE_FILE_GZIP " { alias %s/page.gz; gzip off;"
	         " default_type application/json; add_header Content-Encoding gzip; }\n", dir);
}

bool
place_start(struct bench *b, struct place *p, const char *idle_seconds)
{
	return place_start_with(b, p, idle_seconds, "heal = on\n");
}

bool
place_start_with(struct bench *b, struct place *p, const char *idle_seconds,
                 const char *config)
{
	const char *pool[] = { "--workers", "4", "--max-workers", "64",
	                       idle_seconds != NULL ? "--idle-seconds" : NULL,
	                       idle_seconds, NULL };
	struct site_options o = {
		.kind = SITE_FASTCGI, .arguments = pool, .config = config,
	};
	struct buf locations = { 0 };
	char dir[PATH_MAX];
	static int number;
	bool up;

	*p = (struct place){ 0 };
	snprintf(dir, sizeof(dir), "%s/%d", b->dir, ++number);
	if (mkdir(dir, 0755) != 0)
		bench_fail(b, "can't make %s", dir);
	add_locations(&locations, dir);
	o.dir = dir;
	o.locations = buf_cstr(&locations);
	up = site_start(&p->site, &o);
	buf_free(&locations);
	if (!up) {
		bench_fail(b, "the server does not start");
		return false;
	}
	p->port = atoi(strrchr(p->site.url, ':') + 1);
	site_user(&p->site, "bench@example.com", p->user);
	p->token = site_token(&p->site, p->user,
	                      SCOPE_READ | SCOPE_WRITE | SCOPE_PROJECT_ADMIN, NULL, NULL);
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

static void
must(struct bench *b, enum rc rc, const struct err *err)
{
	if (rc != RC_OK)
		bench_fail(b, "%s", err->text);
}

/* Append so many events that come from one device, in a transaction. */
static enum rc
append(struct events *log, const struct place *p, size_t device, int64_t first_id,
       int64_t n, struct err *err)
{
	char name[40];
	enum rc rc = events_begin(log, clock_mono_ms() + 1000, err);
	int64_t seq;

	snprintf(name, sizeof(name), "%032zx", device + 1);
	for (int64_t i = 0; i < n && rc == RC_OK; i++) {
		struct event ev = *sample_event((size_t)i % SAMPLES);

		ev.device = span_of(name);
		ev.session = span_of("ses_5e5510");
		ev.user = span_of(p->user);
		ev.action_id = first_id + i;
		ev.server_us = clock_now_us();
		rc = events_append(log, &ev, &seq, err);
	}
	return rc == RC_OK ? events_commit(log, err) : rc;
}

/* As a log that has been there for long: applied, and nothing of it to be healed. */
static void
settle_log(struct bench *b, struct events *log, const char *dir)
{
	int64_t end = clock_mono_ms() + LONG_MS;
	struct follow_limits limits = { end, end, false };
	struct follower *f;
	struct events_head head;
	struct err err;

	must(b, events_begin(log, end, &err), &err);
	must(b, events_head(log, &head, &err), &err);
	must(b, events_set_heal_from(log, head.seq + 1, &err), &err);
	must(b, events_commit(log, &err), &err);
	must(b, follower_new(dir, &profile_td, &f, &err), &err);
	if (f != NULL)
		must(b, follower_run(f, log, &limits, &err), &err);
	follower_free(f);
}

void
tally_fill(struct bench *b, struct place *p, struct tally *t, int64_t events)
{
	int64_t ids[FILL_DEVICES];
	struct events *log;
	char dir[PATH_MAX];
	struct err err;
	enum rc rc;

	for (size_t d = 0; d < FILL_DEVICES; d++)
		ids[d] = SAMPLE_FIRST + SAMPLE_STRIDE * (int64_t)d;
	tally_dir(p, t, dir);
	must(b, events_open(dir, &log, &err), &err);
	for (size_t d = 0; log != NULL && t->base < events; d = (d + 1) % FILL_DEVICES) {
		int64_t n = events - t->base < SAMPLES ? events - t->base : SAMPLES;

		rc = append(log, p, d, ids[d], n, &err);
		must(b, rc, &err);
		if (rc != RC_OK)
			break;
		events_maintain(log, true);
		ids[d] += n;
		t->base += n;
	}
	if (log != NULL)
		settle_log(b, log, dir);
	events_close(log);
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
		.next_id = SAMPLE_FIRST + SAMPLE_STRIDE * (int64_t)i + tallies[0].base,
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

/* --- clients that ask for one thing --- */

void
getters_init(struct load_client *clients, size_t n, const struct place *p,
             const char *path, const char *more)
{
	for (size_t i = 0; i < n; i++) {
		clients[i] = (struct load_client){ 0 };
		load_head(&clients[i].head, "GET", path, p->token, more, 0);
	}
}

void
clients_free(struct load_client *clients, size_t n)
{
	for (size_t i = 0; i < n; i++)
		load_free(&clients[i]);
}

/* --- measuring --- */

void
sum_add(struct spent *to, const struct spent *s)
{
	static const struct usage nothing;

	to->seconds += s->seconds;
	to->requests += s->requests;
	usage_add(&to->usage, &nothing, &s->usage);
}

#define REST_MS 60

/* What is due after answers is part of their cost, and over before anything else
 * is measured: wait until the workers rest. */
static void
settle(const struct place *p)
{
	struct usage before, now;

	usage_now(&p->site, &now);
	do {
		before = now;
		usleep(REST_MS * 1000);
		usage_now(&p->site, &now);
	} while (now.workers_us - before.workers_us > REST_MS * 1000 * 0.02);
}

double
bench_slot(struct bench *b, struct place *p, struct load_client *clients, size_t n,
           double seconds, size_t min, struct spent *sum)
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
	settle(p);
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
bench_warm_up(struct bench *b, struct place *p, struct load_client *clients, size_t n)
{
	struct spent ignored = { 0 };

	if (b->quick)
		return;
	bench_slot(b, p, clients, n, 0, n, &ignored);
	for (size_t i = 0; i < n; i++)
		load_forget(&clients[i]);
}

void
bench_figures(struct row *r, const struct load_client *clients, size_t n,
              const struct spent *sum, size_t events)
{
	double requests = (double)sum->requests, all = requests * (double)events;
	double *f = r->figures;
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
