/*
 * A crowd of clients in threads, for tests that torture a server: some push,
 * some follow. A push that gets no answer, or one that asks to come again, is
 * sent again as a stock client would, the same events in the same words, until
 * it is acked.
 */
#ifndef TDSYNC_TESTS_CROWD_H
#define TDSYNC_TESTS_CROWD_H

#include "ledger.h"

#include <pthread.h>
#include <stdatomic.h>

#define CROWD_MAX 32

struct crowd {
	/* Given by the test. */
	struct ledger *ledger;
	const char *urls[2];     /* clients take them in turn; [1] may be NULL */
	const char *project, *token;
	int pushers, followers;
	int most_events;         /* of a push; 0: 20 */
	unsigned twins;          /* each push is sent by so many at once; 0: by one */
	/* What came of it. */
	atomic_int answered;     /* pushes with an ack */
	atomic_int again;        /* tries that had to be repeated */
	atomic_llong slowest_ms; /* call */
	atomic_bool wrong;       /* somebody was told something wrong: stderr says what */
	struct follower follow[CROWD_MAX]; /* one for each follower */
	/* Private. */
	atomic_bool stop;
	atomic_int next;
	pthread_t threads[CROWD_MAX];
};

void crowd_start(struct crowd *c);

/*
 * End it: each push still under way is acked first, within 30 s, and each
 * follower reads to the end. False: something was wrong, or it didn't get there.
 */
bool crowd_stop(struct crowd *c);

/* Wait until so many pushes have been acked since it began; false: not in time. */
bool crowd_wait(struct crowd *c, int answered, int ms);

/* One push as a client of its own, once; the status, 0 for none. */
int crowd_push(struct crowd *c, const char *url, int device, size_t first, size_t n,
               const char *session);

/* Read what is new for a follower until the end. False: it couldn't. */
bool crowd_follow(struct crowd *c, const char *url, struct follower *f);

#endif
