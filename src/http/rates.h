/*
 * How often one may ask: a second line behind nginx's limits, for where there is
 * no nginx. The same classes and rates (docs/limits.md), counted over all processes
 * of a data folder, in a file that they have mapped (base/mapped.h).
 *
 * A caller has a bucket: a minute's worth of requests may be made at once, then
 * each waits for its turn; here it isn't made to wait, as by nginx, for that would
 * hold a process, but refused.
 */
#ifndef TDSYNC_HTTP_RATES_H
#define TDSYNC_HTTP_RATES_H

#include "base/buf.h"
#include "base/mapped.h"

#include <stdbool.h>

#define RATES_FILE "rates" /* in the data folder */

/* What is counted apart. */
enum rate {
	RATE_PUSH,    /* pushes of a token in a project */
	RATE_PULL,    /* its pulls */
	RATE_OTHER,   /* what else it asks for */
	RATE_AUTH,    /* logins of an address */
	RATE_POLL,    /* whether a login was approved: its polls */
	RATE_ADDRESS, /* all of an address */
	RATE__MAX
};

/* A request is given back every so many milliseconds; as many may be made at once. */
struct rate_limit {
	int64_t each_ms, at_once;
};
extern const struct rate_limit rate_limits[RATE__MAX];

struct rates {
	const char *data;      /* borrowed; NULL: nothing is limited */
	struct mapped *file;   /* NULL: not open */
	int64_t again_ms;      /* not opened before */
	bool said;             /* that it can't be */
};

/* `data` is the data folder; NULL: let everything pass. Opens nothing yet. */
void rates_init(struct rates *r, const char *data);
void rates_close(struct rates *r);

/*
 * Take one of a caller's requests, at a time of clock_mono_ms(). 0: it may pass;
 * else after how many milliseconds one may. Of callers there is room for some
 * 30,000; the one that was longest idle gives way. Where the file can't be had
 * everything passes: that is said in the log once, and tried again after a while.
 */
int64_t rates_take(struct rates *r, enum rate rate, struct span caller, int64_t now_ms);

#endif
