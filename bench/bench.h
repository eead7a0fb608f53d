/*
 * td-sync-bench: what the rows share. A place is a server of its own, nginx
 * and a pool as they are installed but for the rate limits, in a temporary
 * folder.
 */
#ifndef TDSYNC_BENCH_BENCH_H
#define TDSYNC_BENCH_BENCH_H

#include "bench/load.h"
#include "bench/sample.h"
#include "bench/table.h"
#include "bench/usage.h"

#define ROUNDS_MAX 32

struct bench {
	const char *dir;        /* all files are made below it */
	const char *only;       /* the rows wanted, with commas between; NULL: all */
	bool quick;             /* only whether it works */
	size_t rounds;          /* of every comparison, at most ROUNDS_MAX */
	double slot;            /* seconds of each part of a round */
	int64_t long_log;       /* events of the long one */
	double mixed_seconds;   /* of mixed load */
	struct results table;
	bool failed;            /* something was lost, or went wrong: stderr says what */
};

/* Whether a row is asked for; for the beginning of ids, whether any of them may be. */
bool bench_wants(const struct bench *b, const char *id);

/* Note that something is wrong, and say it. */
void bench_fail(struct bench *b, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* Say what is being measured, on stderr. */
void bench_say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Of at most ROUNDS_MAX values; NAN of none. */
double bench_median(const double *values, size_t n);

/* --- a server --- */

struct place {
	struct site site;
	int port;
	char user[ID_MAX];
	char *token;
};

/* What else nginx has there: a worker behind the socket `hello` in the site's
 * folder (hello.h), and files of it, one compressed. */
#define PLACE_HELLO "/bench/hello"
#define PLACE_INSERT "/bench/insert"
#define PLACE_FILE "/bench/page"
#define PLACE_FILE_GZIP "/bench/page.gz"

/* Start one; `idle_seconds` is the pool's, NULL: its default. */
bool place_start(struct bench *b, struct place *p, const char *idle_seconds);

/* The same with other lines for its td-sync.conf. */
bool place_start_with(struct bench *b, struct place *p, const char *idle_seconds,
                      const char *config);
void place_stop(struct bench *b, struct place *p);

/* --- pushes, every ack remembered --- */

/* What a project has acked. */
struct tally {
	char id[ID_MAX];
	int64_t base;      /* events before the first push */
	int64_t acked;
	uint64_t seqs;     /* sum of the numbers that were given */
};

/* Make a project. */
void tally_new(struct place *p, struct tally *t);

/* Write events straight into its log, which must be empty: of FILL_DEVICES
 * devices, the first ones that pusher_init() makes, in turn. */
#define FILL_DEVICES 8
void tally_fill(struct bench *b, struct place *p, struct tally *t, int64_t events);

/* Ask the server whether its log holds what it acked, no more and no less, and
 * whether no number was given twice. */
void tally_check(struct bench *b, struct place *p, const struct tally *t);

/* The folder of its log. */
void tally_dir(const struct place *p, const struct tally *t, char out[PATH_MAX]);

/* A device that pushes to its projects in turn. */
struct pusher {
	struct tally *tallies;
	size_t n, turn;
	struct body body;
	int64_t next_id;
	const char *token;
	struct tally *now;
};

/* Device number i with `events` a push; c->ctx is the pusher then. */
void pusher_init(struct pusher *p, struct load_client *c, const struct place *place,
                 size_t i, size_t events, struct tally *tallies, size_t n);
void pusher_free(struct pusher *p, struct load_client *c);

/* --- clients that ask for one thing --- */

void getters_init(struct load_client *clients, size_t n, const struct place *p,
                  const char *path, const char *more);
void clients_free(struct load_client *clients, size_t n);

/* --- measuring --- */

/* What rounds of one kind add up to. */
struct spent {
	double seconds;
	size_t requests;
	struct usage usage;
};

void sum_add(struct spent *to, const struct spent *s);

/* Run the clients for so long (and at least `min` answers in all) and add what
 * it cost to sum. The requests a second; negative: failed. */
double bench_slot(struct bench *b, struct place *p, struct load_client *clients,
                  size_t n, double seconds, size_t min, struct spent *sum);

/* An answer to each, not measured: what is opened at first is open then. */
void bench_warm_up(struct bench *b, struct place *p, struct load_client *clients,
                   size_t n);

/* Fill in a row's figures from that; `events`: in a request, 0: it is no push. */
void bench_figures(struct row *r, const struct load_client *clients, size_t n,
                   const struct spent *sum, size_t events);

/* --- the rows, a file each --- */

void push_rows(struct bench *b);   /* push/... */
void heal_rows(struct bench *b);   /* heal/push */
void first_rows(struct bench *b);  /* first/... */
void poll_rows(struct bench *b);
void pull_rows(struct bench *b);
void flat_rows(struct bench *b);
void fair_rows(struct bench *b);
void memory_rows(struct bench *b);
void state_rows(struct bench *b);
void snapshot_rows(struct bench *b);
void accounts_rows(struct bench *b);

#endif
