/*
 * Faults between the client and the server, put in front of the client's
 * transport, and the record of what really went over the wire, kept behind
 * them: a push whose answer is lost was still taken by the server, and that
 * ack is a promise.
 *
 * Over FastCGI the damaged ones happen on a real connection (proxy.h); over
 * CGI and straight into the engine the client gets what libcurl would tell.
 */
#ifndef TDSYNC_HARNESS_FAULTS_H
#define TDSYNC_HARNESS_FAULTS_H

#include "rng.h"

#include "client/transport.h"

enum fault {
	FAULT_NONE,
	FAULT_SLOW,         /* some milliseconds on the way */
	FAULT_TWICE,        /* it arrives twice; the client gets the second answer */
	FAULT_AT_ONCE,      /* it arrives twice at the same instant */
	FAULT_TOO_LARGE,    /* 413 to a push of several events; one alone is taken */
	FAULT_KILLED,       /* who serves it is killed at one of its writes */
	/* From here on the client gets no good answer. */
	FAULT_LOST_REQUEST, /* it never arrived */
	FAULT_LOST_ANSWER,  /* the server did it, the client never hears of it */
	FAULT_BUSY,         /* 503 in HTML from something on the way */
	FAULT_LIMITED,      /* 429 and when to come again */
	FAULT_GATEWAY,      /* 502: it never arrived */
	FAULT_LATE,         /* 504, but the server did it */
	FAULT_HTML,         /* 200 and a page of HTML, as where one has to log in */
	FAULT_CUT_REQUEST,  /* the connection ends in the middle of the request */
	FAULT_CUT_ANSWER,   /* ... of the answer */
	FAULT_LENGTH,       /* the answer's length is told wrong */
	FAULT_GARBLED,      /* a byte of the answer has its highest bit flipped (what
	                     * other bits say, only TLS can tell) */
	FAULT_HANG,         /* the server did it, but no answer comes until a time-out */
	FAULT__MAX
};
const char *fault_name(enum fault f);
enum fault fault_find(const char *name); /* FAULT_NONE when unknown */

/* Whether a call that meets it fails. */
bool fault_is_lossy(enum fault f);

/* What shall go wrong. */
struct faults {
	enum fault kind;       /* strikes `times` requests ... */
	const char *where;     /* whose path holds this; NULL: any */
	int times;             /* -1: all */
	unsigned percent[FAULT__MAX]; /* besides, by chance */
	struct rng rng;
	int struck;            /* how often anything but a delay did strike */
	int64_t snapshot_at;   /* who asks for the newest snapshot gets that of this
	                        * seq; 0: the newest */
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
	int log;               /* which of the run's logs took it: 0, 1, ... */
};

/*
 * Walk the recorded pushes in order. Returns false as soon as `visit` does.
 */
bool faults_pushes(struct run *run, bool (*visit)(void *ctx, const struct exchange *x),
                   void *ctx);

#endif
