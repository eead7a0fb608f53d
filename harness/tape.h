/*
 * A recorded log as a server: it takes each event of a push for the one that the
 * device recorded under that number, and gives pages and snapshots as the Go server
 * did, up to where its log ended at that moment.
 */
#ifndef TDSYNC_HARNESS_TAPE_H
#define TDSYNC_HARNESS_TAPE_H

#include "run.h"

#include "client/transport.h"

struct tape_line {
	struct span text;
	int64_t seq, number;
	struct span device;  /* with its quotes */
};

struct tape {
	struct transport base; /* first: a transport is a tape */
	struct run *run;       /* fails where something else is pushed than was */
	const char *history;
	const char *who;       /* whose turn it is */
	struct buf text;
	struct tape_line *lines;
	size_t n;
	int64_t head;          /* the log ends there at this moment */
	int64_t push_us, pull_us; /* what time it is then; 0: as it is */
};

/* Begin with the text of a log, a line an event; tape_free() it. */
void tape_init(struct tape *t, struct run *run, const char *history, struct span text);
void tape_free(struct tape *t);

/* The member of an object; empty when there is none. */
struct span tape_member(struct span object, const char *name);

#endif
