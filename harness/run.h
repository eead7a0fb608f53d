/*
 * A run: one scenario over one transport from one seed, in a temporary
 * folder of its own with its own server and its own replicas.
 */
#ifndef TDSYNC_HARNESS_RUN_H
#define TDSYNC_HARNESS_RUN_H

#include "faults.h"
#include "replica.h"
#include "server.h"
#include "trace.h"

#define RUN_REPLICAS 10
#define RUN_PEOPLE 8 /* of them; the others come when all is quiet */
#define RUN_NAMES 160

#define RUN_BEGINS INT64_C(1801389600) /* by its own clock: 2027-01-31T10:00:00Z */

struct run {
	const char *scenario;
	uint64_t seed;
	char dir[PATH_LEN - 40];   /* leaves room for names in it */
	struct rng rng;
	struct wall wall;
	struct trace trace;
	struct server server;
	struct faults faults;      /* ambient: may hit any request */
	struct replica replicas[RUN_REPLICAS];
	size_t n;
	/* What the script calls things: "i1" is an issue of some id. */
	struct {
		char name[16], id[ID_MAX];
	} names[RUN_NAMES];
	size_t n_names;
	bool tell_states;          /* to the trace, after every call */
	int depth;                 /* within how many calls of the library we are */
	int log;                   /* how often another log took the place of its log */
	int64_t events;            /* in the log at the end */
	int64_t servers;           /* of them the server's own */
	int64_t clobbered;         /* values that somebody had not seen and wrote over */
	int rounds;                /* of syncs until all was quiet, the last time */
	int settled;               /* syncs that some device needed after the last push */
	char skipped[160];         /* why it could not run here; "" when it could */
	char why[640];             /* the first thing that went wrong, "" for none */
};

/* Note what does not hold; the first cause stays. Returns false. */
bool run_fail(struct run *run, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* Whether nothing has gone wrong so far. */
bool run_ok(const struct run *run);

/* Note in the trace what happens to a replica, or to the server (NULL). */
void run_tell(struct run *run, const struct replica *r, const char *what);

/* Where a recording is: below the build's copy, or ../shared, which may not have
 * it. Returns out. */
const char *run_fixture(const char *name, char out[PATH_LEN]);

/* Add a replica: empty, of a schema version; or a copy of a td database
 * (see replica_copy()). Borrowed. */
struct replica *run_add(struct run *run, int schema);
struct replica *run_copy(struct run *run, const char *from, enum replica_copying how);

/* What happens from now on is by chance of its own, so many seconds after the run
 * began: whatever was before. */
void run_at(struct run *run, int64_t seconds, uint64_t seed);

/* The replica of that name, or NULL. */
struct replica *run_replica(struct run *run, const char *name);

/*
 * Begin: the folder below `parent`, the server. End: what was started is
 * stopped, and the folder goes unless it is to be kept.
 */
void run_begin(struct run *run, const char *scenario, enum server_kind kind,
               uint64_t seed, const char *parent, const char *trace);
void run_end(struct run *run, bool keep);

/* Remove the folder of a run that did not come to its end; nothing where there is none. */
void run_remove(const char *parent, const char *scenario, enum server_kind kind,
                uint64_t seed);

#endif
