/* What came out: a row for each figure, as a table and as JSON. */
#ifndef TDSYNC_BENCH_TABLE_H
#define TDSYNC_BENCH_TABLE_H

#include "base/buf.h"
#include "base/rc.h"

/* What stands beside a row's value; NAN: does not apply. */
enum figure {
	F_RATE,       /* ours a second: events, or requests where nothing is pushed */
	F_REFERENCE,  /* what it is compared with, a second */
	F_P50, F_P99, /* of a request, in ms */
	F_CPU,        /* of the workers and their master for a request, in us */
	F_CPU_EVENT,  /* and for an event */
	F_NGINX,      /* of nginx for a request, in us */
	F_BYTES,      /* that the workers write for an event */
	F_REFERENCE_BYTES, /* and what it is compared with */
	F_GENERATOR,  /* CPU of the generator: 1 is a whole core */
	F__MAX
};

enum aim { AIM_NONE, AIM_AT_LEAST, AIM_AT_MOST };

struct row {
	char id[48];        /* "push/100/8/1" */
	double value;       /* NAN: could not be measured */
	const char *unit;   /* "x", "ms", "MB"; static */
	enum aim aim;
	double target;
	double figures[F__MAX];
};

struct results {
	struct row *rows;
	size_t n;
	bool judged;        /* whether to say what was met */
};

/* A row without figures, to be filled in; valid until the next one. */
struct row *table_add(struct results *t, const char *id, double value, const char *unit,
                      enum aim aim, double target);
void table_free(struct results *t);

/* Whether a row's target is met; true where it has none. */
bool row_met(const struct row *r);

void table_print(const struct results *t);

/* As JSON, to a file; `commit` says what was measured. */
enum rc table_write(const struct results *t, const char *commit, const char *path,
                    struct err *err);

/* Print two files side by side: how each value changed, and its CPU. False:
 * one of them can't be read. */
bool table_compare(const char *before, const char *after);

#endif
