#include "rng.h"

#include <assert.h>
#include <string.h>

uint64_t
rng_next(struct rng *r)
{
	uint64_t z = (r->state += 0x9e3779b97f4a7c15u);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

uint64_t
rng_below(struct rng *r, uint64_t n)
{
	assert(n > 0);
	return rng_next(r) % n; /* the bias is below 2^-50 for our n */
}

bool
rng_chance(struct rng *r, unsigned percent)
{
	return rng_below(r, 100) < percent;
}

void
rng_id(struct rng *r, const char *prefix, size_t digits, char *out, size_t size)
{
	static const char hex[] = "0123456789abcdef";
	size_t n = strlen(prefix), i;

	assert(n + digits < size);
	memcpy(out, prefix, n);
	for (i = 0; i < digits; i++)
		out[n + i] = hex[rng_below(r, 16)];
	out[n + digits] = '\0';
}

struct rng
rng_split(struct rng *r)
{
	return (struct rng){ rng_next(r) };
}
