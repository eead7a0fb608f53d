/*
 * Rows pull/...: pages. The one at the head against stepping through the same
 * rows and printing them in one process; pages of history against nginx with
 * the same bytes in a file; and what it costs a worker to make them, to send
 * them once they are kept, and to find nothing new.
 */
#include "bench/bench.h"

#include "base/fs.h"
#include "bench/plain.h"

#include <glob.h>
#include <stdio.h>
#include <unistd.h>

#define CLIENTS 8
#define BLOCK 1000
#define GZIP "Accept-Encoding: gzip\r\n"

static void
page_path(char out[160], const struct tally *t, int64_t after)
{
	snprintf(out, 160, "/v1/projects/%s/sync/pull?after_server_seq=%lld&limit=1000",
	         t->id, (long long)after);
}

/* Get a path once, as a client would; the body as it was sent. */
static void
get(struct bench *b, struct place *p, const char *path, const char *more,
    struct buf *out)
{
	struct load_client c;

	getters_init(&c, 1, p, path, more);
	c.keep = true;
	if (load_run(&c, 1, p->port, 0, 1) < 0 || c.status != 200)
		bench_fail(b, "no answer to %s", path);
	buf_reset(out);
	buf_add_span(out, buf_span(&c.answer));
	load_free(&c);
}

/* --- the page at the head --- */

static void
head_row(struct bench *b, struct place *p, const struct tally *t, const char *id,
         const char *more, double target)
{
	int64_t after = t->base - t->base % BLOCK;
	struct load_client clients[CLIENTS];
	double ratios[ROUNDS_MAX] = { 0 }, pages[ROUNDS_MAX] = { 0 };
	struct buf theirs = { 0 }, ours = { 0 };
	struct spent sum = { 0 };
	char path[160], dir[PATH_MAX];
	struct row *row;

	if (!bench_wants(b, id))
		return;
	page_path(path, t, after);
	tally_dir(p, t, dir);
	getters_init(clients, CLIENTS, p, path, more);
	bench_warm_up(b, p, clients, CLIENTS);
	for (size_t r = 0; r < b->rounds && !b->failed; r++) {
		pages[r] = plain_print(dir, after, b->slot, &theirs);
		ratios[r] = bench_slot(b, p, clients, CLIENTS, b->slot, 1, &sum) / pages[r];
	}
	get(b, p, path, NULL, &ours);
	if (!b->failed && !span_eq(buf_span(&ours), buf_span(&theirs)))
		bench_fail(b, "%s: the server's page is not the one that was printed", id);
	row = table_add(&b->table, id, bench_median(ratios, b->rounds), "x",
	                target > 0 ? AIM_AT_LEAST : AIM_NONE, target);
	bench_figures(row, clients, CLIENTS, &sum, 0);
	row->figures[F_REFERENCE] = bench_median(pages, b->rounds);
	clients_free(clients, CLIENTS);
	buf_free(&theirs);
	buf_free(&ours);
}

/* --- a page of history, asked for again and again --- */

/* A page is kept after its answer: wait until its file is there (design.md, "The
 * server's data"). */
static void
await_kept(struct bench *b, const struct place *p, const struct tally *t, int64_t after)
{
	char pattern[PATH_MAX];
	bool there = false;

	snprintf(pattern, sizeof(pattern), "%.*s/pages/%.*s/*/%lld.json.gz", PATH_MAX - 128,
	         p->site.data, ID_MAX, t->id, (long long)after);
	for (int i = 0; i < 1000 && !there; i++) {
		glob_t found;

		usleep(10000);
		there = glob(pattern, 0, NULL, &found) == 0;
		globfree(&found);
	}
	if (!there)
		bench_fail(b, "no page was kept: %s", pattern);
}

/* Keep a page, and have the same bytes in a file of nginx's. */
static void
seal(struct bench *b, struct place *p, const struct tally *t, const char *page,
     const char *more)
{
	struct buf body = { 0 };
	char file[PATH_MAX];

	get(b, p, page, more, &body);
	await_kept(b, p, t, 0);
	get(b, p, page, more, &body);
	snprintf(file, sizeof(file), "%s/page%s", p->site.dir, more != NULL ? ".gz" : "");
	if (fs_write(file, buf_span(&body), 0644, NULL) != RC_OK)
		bench_fail(b, "can't write %s", file);
	buf_free(&body);
}

/* Against nginx with the same bytes in a file. */
static void
sealed_row(struct bench *b, struct place *p, const struct tally *t, const char *id,
           const char *more)
{
	struct load_client ours[CLIENTS], files[CLIENTS];
	double ratios[ROUNDS_MAX] = { 0 }, rates[ROUNDS_MAX] = { 0 };
	struct spent sum = { 0 }, of_files = { 0 };
	struct row *row;
	char page[160];

	if (!bench_wants(b, id))
		return;
	page_path(page, t, 0);
	seal(b, p, t, page, more);
	getters_init(ours, CLIENTS, p, page, more);
	getters_init(files, CLIENTS, p, more != NULL ? PLACE_FILE_GZIP : PLACE_FILE, more);
	bench_warm_up(b, p, ours, CLIENTS);
	for (size_t r = 0; r < b->rounds && !b->failed; r++) {
		rates[r] = bench_slot(b, p, files, CLIENTS, b->slot, 1, &of_files);
		ratios[r] = bench_slot(b, p, ours, CLIENTS, b->slot, 1, &sum) / rates[r];
		if (ours[0].answer_bytes != files[0].answer_bytes)
			bench_fail(b, "%s: %zu bytes, the file has %zu", id,
			           ours[0].answer_bytes, files[0].answer_bytes);
	}
	row = table_add(&b->table, id, bench_median(ratios, b->rounds), "x", AIM_NONE, 0);
	bench_figures(row, ours, CLIENTS, &sum, 0);
	row->figures[F_REFERENCE] = bench_median(rates, b->rounds);
	clients_free(ours, CLIENTS);
	clients_free(files, CLIENTS);
}

/* Two requests in turn. */
struct turns {
	struct buf head[2];
	size_t n;
};

static void
turn_next(struct load_client *c)
{
	struct turns *t = c->ctx;

	buf_reset(&c->head);
	buf_add_span(&c->head, buf_span(&t->head[t->n++ % 2]));
}

/*
 * What a page of history costs the worker beside what an empty poll costs it.
 * With each poll nginx sends the page out of a file: so it does the same beside
 * both, to the caches of the processors too.
 */
static void
sealed_cpu_row(struct bench *b, struct place *p, const struct tally *t)
{
	struct load_client ours[CLIENTS], polls[CLIENTS];
	struct turns turns[CLIENTS] = { 0 };
	double cpu[ROUNDS_MAX] = { 0 };
	struct spent sum = { 0 };
	char page[160], nothing[160];
	struct row *row;

	if (!bench_wants(b, "pull/sealed-cpu"))
		return;
	page_path(page, t, 0);
	page_path(nothing, t, t->base);
	seal(b, p, t, page, GZIP);
	getters_init(ours, CLIENTS, p, page, GZIP);
	getters_init(polls, CLIENTS, p, nothing, GZIP);
	for (size_t i = 0; i < CLIENTS; i++) {
		load_head(&turns[i].head[0], "GET", nothing, p->token, GZIP, 0);
		load_head(&turns[i].head[1], "GET", PLACE_FILE_GZIP, p->token, GZIP, 0);
		polls[i].next = turn_next;
		polls[i].ctx = &turns[i];
	}
	bench_warm_up(b, p, ours, CLIENTS);
	for (size_t r = 0; r < b->rounds && !b->failed; r++) {
		struct spent one = { 0 }, both = { 0 };

		bench_slot(b, p, ours, CLIENTS, b->slot, 1, &one);
		bench_slot(b, p, polls, CLIENTS, b->slot, 2 * CLIENTS, &both);
		cpu[r] = one.usage.workers_us / (double)one.requests /
		         (both.usage.workers_us / ((double)both.requests / 2));
		sum_add(&sum, &one);
	}
	row = table_add(&b->table, "pull/sealed-cpu", bench_median(cpu, b->rounds), "x",
	                AIM_AT_MOST, 1);
	bench_figures(row, ours, CLIENTS, &sum, 0);
	clients_free(ours, CLIENTS);
	clients_free(polls, CLIENTS);
	for (size_t i = 0; i < CLIENTS; i++) {
		buf_free(&turns[i].head[0]);
		buf_free(&turns[i].head[1]);
	}
}

/* --- a log read from its beginning --- */

/* A reader's place: all of them share one, each page is asked for once. */
struct replay {
	const struct place *place;
	const struct tally *tally;
	int64_t after;
};

static void
replay_next(struct load_client *c)
{
	struct replay *re = c->ctx;
	char path[160];

	page_path(path, re->tally, re->after);
	re->after += BLOCK;
	load_head(&c->head, "GET", path, re->place->token, GZIP, 0);
}

/* Read a log once, one page after the other. The pages a second. */
static double
replay(struct bench *b, struct place *p, const struct tally *t, struct load_client *c,
       struct spent *sum)
{
	struct replay re = { .place = p, .tally = t };

	c->next = replay_next;
	c->ctx = &re;
	return bench_slot(b, p, c, 1, 0, (size_t)(t->base / BLOCK), sum);
}

/* The first time its pages are made, then they are there. Both by a client that
 * takes them compressed, as they are kept. */
static void
replay_rows(struct bench *b, struct place *p)
{
	double speed[ROUNDS_MAX] = { 0 }, pages[ROUNDS_MAX] = { 0 };
	double cpu[ROUNDS_MAX] = { 0 };
	struct load_client first = { 0 }, again = { 0 };
	struct spent made = { 0 }, kept = { 0 };
	struct buf page = { 0 };
	char dir[PATH_MAX];
	struct row *row;

	for (size_t r = 0; r < b->rounds && !b->failed; r++) {
		struct spent making = { 0 }, sending = { 0 };
		struct tally t;

		tally_new(p, &t);
		tally_fill(b, p, &t, (b->quick ? 3 : 100) * BLOCK);
		tally_dir(p, &t, dir);
		pages[r] = plain_print(dir, 0, b->slot, &page);
		speed[r] = replay(b, p, &t, &first, &making) / pages[r];
		await_kept(b, p, &t, t.base - BLOCK);
		replay(b, p, &t, &again, &sending);
		cpu[r] = sending.usage.workers_us / making.usage.workers_us;
		sum_add(&made, &making);
		sum_add(&kept, &sending);
	}
	if (bench_wants(b, "pull/history")) {
		row = table_add(&b->table, "pull/history", bench_median(speed, b->rounds), "x",
		                AIM_NONE, 0);
		bench_figures(row, &first, 1, &made, 0);
		row->figures[F_REFERENCE] = bench_median(pages, b->rounds);
	}
	if (bench_wants(b, "pull/replay-cpu")) {
		row = table_add(&b->table, "pull/replay-cpu", bench_median(cpu, b->rounds), "x",
		                AIM_AT_MOST, 0.02);
		bench_figures(row, &again, 1, &kept, 0);
	}
	load_free(&first);
	load_free(&again);
	buf_free(&page);
}

void
pull_rows(struct bench *b)
{
	struct place p;
	struct tally t;

	bench_say("pages");
	if (!place_start(b, &p, NULL))
		return;
	tally_new(&p, &t);
	tally_fill(b, &p, &t, 10 * BLOCK + BLOCK - 1);
	head_row(b, &p, &t, "pull/head", NULL, 0.5);
	head_row(b, &p, &t, "pull/head-gzip", GZIP, 0);
	sealed_row(b, &p, &t, "pull/sealed", NULL);
	sealed_row(b, &p, &t, "pull/sealed-gzip", GZIP);
	sealed_cpu_row(b, &p, &t);
	if (bench_wants(b, "pull/history") || bench_wants(b, "pull/replay-cpu"))
		replay_rows(b, &p);
	place_stop(b, &p);
}
