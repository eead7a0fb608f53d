/*
 * Faults of the network, put between the client and its transport, and the
 * record of what really went over the wire, kept behind them: a push whose
 * answer is lost was still taken by the server, and that ack is a promise.
 */
#ifndef TDSYNC_HARNESS_FAULTS_H
#define TDSYNC_HARNESS_FAULTS_H

#include "rng.h"

#include "client/transport.h"

enum fault {
	FAULT_NONE,
	FAULT_SLOW,         /* some milliseconds on the way */
	FAULT_LOST_REQUEST, /* it never arrived */
	FAULT_LOST_ANSWER,  /* the server did it, the client never hears of it */
	FAULT_TWICE,        /* it arrives twice; the client gets the second answer */
	FAULT_BUSY,         /* 503 from something on the way, not from the server */
	FAULT__MAX
};
const char *fault_name(enum fault f);
enum fault fault_find(const char *name); /* FAULT_NONE when unknown */

/* What shall go wrong. */
struct faults {
	enum fault kind;       /* strikes `times` requests ... */
	const char *where;     /* whose path holds this; NULL: any */
	int times;             /* -1: all */
	unsigned percent[FAULT__MAX]; /* besides, by chance */
	struct rng rng;
	int struck;            /* how often anything but a delay did strike */
};

struct run;
struct replica;

/*
 * Put faults and the record around a transport (taken over). `planned` is
 * for this call alone, the run's own faults come on top; both are borrowed.
 */
struct transport *faults_wrap(struct run *run, struct replica *r,
                              struct faults *planned, struct transport *inner);

/* One exchange as recorded: the body that was sent and what came back. */
struct exchange {
	char device[40];
	struct span sent;
	int status;            /* 0: no answer came, or its reader died first */
	struct span answer;
};

/*
 * Walk the recorded pushes in order. Returns false as soon as `visit` does.
 */
bool faults_pushes(struct run *run,
                   bool (*visit)(void *ctx, const struct exchange *x), void *ctx);

#endif
