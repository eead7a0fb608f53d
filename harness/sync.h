/*
 * The client library at work in a replica: one call in one handle, as a
 * process of the command line would do it; optionally in a process of its
 * own that is killed on the way.
 */
#ifndef TDSYNC_HARNESS_SYNC_H
#define TDSYNC_HARNESS_SYNC_H

#include "run.h"

#include "client/client.h"

enum call {
	CALL_LINK, CALL_PUSH, CALL_PULL, CALL_SYNC, CALL_STATUS,
	CALL_PUT_BACK /* what the last conflict took that is not there again */
};

/* What shall happen during a call. Zero-initialised: nothing. A stock td's calls
 * (stock.h) have the same plan and outcome. */
struct plan {
	struct faults faults;
	int die_at;          /* the process gets SIGKILL at its n-th step; 0: never */
	const char *at_step; /* call the hook at steps of this name, "*": at each */
	void (*hook)(void *ctx, const char *step);
	void *ctx;
	int retries;         /* of the library; 0: none */
	int64_t snapshot_at; /* snapshots are of this seq; 0: the newest */
};

struct outcome {
	enum tdsync_rc rc;
	struct tdsync_result result;
	int steps;           /* steps that were passed */
	char step[48];       /* the last of them */
	bool died;
	bool wedged;         /* of a stock td: an event that it never gets past */
	int64_t pending, cursor, rejected; /* of CALL_STATUS */
	int64_t ended;       /* in a process of its own: when, by the trace */
	char error[256];
};

/*
 * Make a call. It links first where the replica never was. Where a stock td alone
 * works it is td's command of that name (stock.h); it knows no status, and can
 * only sync where something is to be put back.
 */
void sync_call(struct run *run, struct replica *r, enum call c, struct plan *p,
               struct outcome *out);

/* All replicas sync at once, each in a process of its own. False when one of
 * the processes did not end well. */
bool sync_crowd(struct run *run);

/*
 * All replicas sync, without faults, until nothing is pending and nothing is
 * to be fetched; a few rounds have to do, and after the last push two syncs of each.
 * False (and the run fails) else.
 */
bool sync_quiet(struct run *run);

/*
 * Two more join: one begins with a snapshot of some seq and pulls the rest, the
 * other pulls the whole log. Check that all are the same after that. Nothing
 * where the log is empty. False (and the run fails) when they can't.
 */
bool sync_join(struct run *run);

/* The call of that name; false when there is none. */
bool sync_find(const char *name, enum call *c);

#endif
