/*
 * The one source of chance of a run: splitmix64, seeded, so that a run can be
 * had again from its seed. Never rand(), never the clock.
 */
#ifndef TDSYNC_HARNESS_RNG_H
#define TDSYNC_HARNESS_RNG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rng {
	uint64_t state;
};

uint64_t rng_next(struct rng *r);

/* A number from 0 to n - 1; n is not 0. */
uint64_t rng_below(struct rng *r, uint64_t n);

/* True in that many of a hundred cases. */
bool rng_chance(struct rng *r, unsigned percent);

/* Write prefix and so many lower-case hex digits, NUL-terminated. */
void rng_id(struct rng *r, const char *prefix, size_t digits, char *out, size_t size);

/* A generator of its own, so that what one does leaves the other alone. */
struct rng rng_split(struct rng *r);

#endif
