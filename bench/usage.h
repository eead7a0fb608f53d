/* What a server costs: CPU, bytes written, memory, from /proc. */
#ifndef TDSYNC_BENCH_USAGE_H
#define TDSYNC_BENCH_USAGE_H

#include "tests/site.h"

/* Grows only; take two and subtract. */
struct usage {
	double workers_us;  /* CPU of the master and all workers, the dead ones too */
	double nginx_us;    /* CPU of nginx, all its processes */
	double own_us;      /* CPU of this process: the generator, or the plain loop */
	double written;     /* bytes that master and workers made dirty in files
	                     * (write_bytes of /proc/PID/io: whole pages, what goes
	                     * to the disk unless it is deleted before) */
	double own_written; /* and this process */
};

void usage_now(const struct site *s, struct usage *u);

/* Add what lies between two to a sum. */
void usage_add(struct usage *sum, const struct usage *from, const struct usage *to);

/* Memory in bytes: proportional sets (a page shared by n counts 1/n) of the
 * pool with its master, and of nginx; the largest resident set of a worker. */
struct memory {
	double pool, nginx, worker;
};

void usage_memory(const struct site *s, struct memory *m);

#endif
