/* A log and its state, without any server. */
#ifndef TDSYNC_BENCH_PAIR_H
#define TDSYNC_BENCH_PAIR_H

#include "bench/bench.h"
#include "engine/follow.h"

struct pair {
	char dir[PATH_MAX];
	struct events *log;
	struct follower *f;
};

/* Open those in p->dir. False: it failed, and was told. Close it in any case. */
bool pair_open(struct bench *b, struct pair *p);
void pair_close(struct pair *p);

/* The same in a folder of its own, with events of the history (history.h), which
 * goes with pair_remove(). */
bool pair_make(struct bench *b, struct pair *p, int64_t events);
void pair_remove(struct pair *p);

/* Append that many more of the history, which the log holds only events of. */
bool pair_append(struct bench *b, struct pair *p, int64_t events);

/* Bring the state up to the log. The seconds and the CPU's, in *cpu (NULL is fine);
 * negative: failed. */
double pair_follow(struct bench *b, struct pair *p, double *cpu);

/* Note an outcome; true for RC_OK. */
bool bench_ok(struct bench *b, enum rc rc, const struct err *err);

#endif
