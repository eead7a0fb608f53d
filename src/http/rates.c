/* How often one may ask, see rates.h. */
#include "http/rates.h"

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"

#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

/* What a place means; another one where that changes. */
#define FORMAT 1

/* A set is a cache line. */
#define SETS 4096
#define WAYS 8

/* After a failure: how long until the next attempt. */
#define AGAIN_MS 10000

const struct rate_limit rate_limits[RATE__MAX] = {
	[RATE_PUSH] = { 200, 300 },  [RATE_PULL] = { 100, 600 },
	[RATE_OTHER] = { 100, 600 }, [RATE_AUTH] = { 6000, 30 },
	[RATE_POLL] = { 200, 300 },  [RATE_ADDRESS] = { 10, 1000 },
};
#define LONGEST_MS (6000 * 30) /* until an empty one is full again: that of logins */

/*
 * A bucket is one number, so that there is nothing half done in it, whoever dies:
 * above, who it belongs to (never 0); below, when it will be full again, in
 * milliseconds of a clock that all processes share, modulo 2^32.
 */
typedef _Atomic uint64_t bucket;

struct buckets {
	struct mapped head;
	bucket set[SETS][WAYS];
};

void
rates_init(struct rates *r, const char *data)
{
	*r = (struct rates){ .data = data };
}

void
rates_close(struct rates *r)
{
	mapped_close(r->file, sizeof(struct buckets));
	rates_init(r, r->data);
}

/* Whether there is a table to count in. */
static bool
is_open(struct rates *r, int64_t now_ms)
{
	char path[PATH_MAX];
	struct err err;

	if (r->file != NULL || r->data == NULL || now_ms < r->again_ms)
		return r->file != NULL;
	snprintf(path, sizeof(path), "%s/" RATES_FILE, r->data);
	if (mapped_open(path, FORMAT, sizeof(struct buckets), &r->file, &err) == RC_OK)
		return true;
	r->again_ms = now_ms + AGAIN_MS;
	if (!r->said)
		log_write(LOG_WARN, "nothing is limited: %s", err.text);
	r->said = true;
	return false;
}

/* 64 bits of a caller that nobody can aim at: they are this file's own. */
static bool
hash_caller(const struct mapped *file, enum rate rate, struct span caller, uint64_t *out)
{
	unsigned char hash[HASH_LEN];
	char text[16 + 1 + 128];
	size_t n = caller.len < 128 ? caller.len : 128;

	memcpy(text, file->random, 16);
	text[16] = (char)rate;
	memcpy(text + 17, caller.p, n);
	if (hash_sha256((struct span){ text, 17 + n }, hash) != RC_OK)
		return false;
	memcpy(out, hash, sizeof(*out));
	return true;
}

/*
 * How long until a bucket is full again; 0: it is. A time that lies further ahead
 * than an empty one's is of before the machine was started anew, or of weeks ago:
 * it says nothing.
 */
static int64_t
until_full(uint64_t b, uint32_t now, int64_t most)
{
	int32_t ms = (int32_t)((uint32_t)b - now);

	return ms < 0 || ms > most ? 0 : ms;
}

/* How well one can do without a bucket: the longer it has been full the better. */
static uint32_t
idle(uint64_t b, uint32_t now)
{
	int32_t ms = (int32_t)((uint32_t)b - now);

	return b == 0 || ms > LONGEST_MS ? UINT32_MAX : (1u << 30) - (uint32_t)ms;
}

/* The caller's bucket, else the one of the set that gives way. */
static bucket *
find(bucket set[WAYS], uint32_t tag, uint32_t now)
{
	bucket *oldest = &set[0];

	for (size_t i = 0; i < WAYS; i++) {
		uint64_t b = atomic_load(&set[i]);

		if (b >> 32 == tag)
			return &set[i];
		if (idle(b, now) > idle(atomic_load(oldest), now))
			oldest = &set[i];
	}
	return oldest;
}

int64_t
rates_take(struct rates *r, enum rate rate, struct span caller, int64_t now_ms)
{
	const struct rate_limit *limit = &rate_limits[rate];
	int64_t most = limit->each_ms * limit->at_once, ms;
	uint32_t now = (uint32_t)now_ms, tag;
	uint64_t hash, old;
	bucket *b;

	if (!is_open(r, now_ms) || !hash_caller(r->file, rate, caller, &hash))
		return 0;
	tag = (uint32_t)(hash >> 32) | 1;
	do {
		b = find(((struct buckets *)r->file)->set[hash % SETS], tag, now);
		old = atomic_load(b);
		ms = old >> 32 == tag ? until_full(old, now, most) : 0;
		ms += limit->each_ms;
		if (ms > most)
			return ms - most;
	} while (!atomic_compare_exchange_weak(b, &old, (uint64_t)tag << 32 |
	                                                (uint32_t)(now + (uint32_t)ms)));
	return 0;
}
