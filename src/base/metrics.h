/*
 * What a server counts: numbers that only grow, summed over all processes of a
 * data folder, living and dead. They are in one file, mapped by all (mapped.h), so
 * to count is an atomic addition, and what was counted stays whoever dies. A
 * process has one such file, as it has one log; where none is open (tools, tests,
 * a disk that can't be written) counting does nothing.
 */
#ifndef TDSYNC_BASE_METRICS_H
#define TDSYNC_BASE_METRICS_H

#include "base/rc.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define METRICS_FILE "metrics" /* in the data folder */

/* Single numbers. */
enum metric {
	METRIC_EVENTS_ACCEPTED,  /* of pushes, committed */
	METRIC_EVENTS_DUPLICATE, /* of pushes: the log had them */
	METRIC_BYTES_IN,         /* bodies of requests */
	METRIC_BYTES_OUT,        /* and of answers */
	METRIC_TOKEN_HIT,        /* a token was verified before, by this process */
	METRIC_TOKEN_MISS,
	METRIC_PAGE_HIT,         /* a sealed page was on disk */
	METRIC_PAGE_MISS,        /* it had to be made */
	METRIC_PROJECT_HIT,      /* a project's log was open, in this process */
	METRIC_PROJECT_MISS,
	METRIC__MAX
};

/* How long things took. */
enum metric_time {
	METRIC_WAIT_LOG,         /* for the lock of a project's log */
	METRIC_WAIT_STATE,       /* and for that of its state */
	METRIC_COMMIT_LOG,       /* COMMIT of a log: until it is on the disk */
	METRIC_COMMIT_STATE,
	METRIC_CHECKPOINT_LOG,
	METRIC_CHECKPOINT_STATE,
	METRIC_TIME__MAX
};

/* A time is counted by the first of these that it is not above; one beyond all of
 * them goes into a place of its own. */
#define METRIC_BUCKETS 18
extern const int64_t metric_buckets_us[METRIC_BUCKETS];

struct metric_times {
	uint64_t n[METRIC_BUCKETS + 1]; /* in each bucket alone */
	uint64_t sum_us;
};

/* Routes are numbered by whoever has them; 0 is for requests without one. */
#define METRIC_ROUTES 96

/* The statuses that are told apart: 200 to 231, 300 to 331, 400 to 431, 500 to 531. */
#define METRIC_STATUSES 128

/* The status of an index, and the index of a status (METRIC_STATUSES: of none). */
int metric_status(size_t i);
size_t metric_status_index(int status);

/*
 * Count into data/metrics from now on. `routes` tells which numbers mean which
 * routes: where it is another number than the file's, that is made anew. Nothing
 * is done where it is open; where it could not be opened that is said in the log,
 * once, and tried again after a while.
 */
void metrics_open(const char *data, uint64_t routes);

/* Whether something is counted. */
bool metrics_are_on(void);

void metrics_close(void);

void metrics_add(enum metric m, uint64_t n);
void metrics_add_time(enum metric_time t, int64_t us);

/* A request is done. */
void metrics_add_request(size_t route, int status, int64_t us);

/* What was counted; 0 where nothing is. */
uint64_t metrics_get(enum metric m);
void metrics_get_time(enum metric_time t, struct metric_times *out);
uint64_t metrics_get_requests(size_t route, size_t status_index);
void metrics_get_request_times(size_t route, struct metric_times *out);

#endif
