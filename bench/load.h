/*
 * The generator: many HTTP clients in one process and one thread (epoll), each
 * with a connection that is kept, one request at a time. It costs little, and
 * its own CPU is in the table.
 */
#ifndef TDSYNC_BENCH_LOAD_H
#define TDSYNC_BENCH_LOAD_H

#include "base/buf.h"

/* A client. Zero-initialise, fill in the first part, load_free() after. */
struct load_client {
	void (*next)(struct load_client *c);  /* set head and body of the next request;
	                                       * NULL: the same again */
	bool (*judge)(struct load_client *c); /* whether the answer is right; NULL: a 200 is */
	void *ctx;             /* the caller's */
	bool keep;             /* collect the answer's body in `answer` */
	int64_t pause_us;      /* between an answer and the next request */
	struct buf head;       /* request line and headers, with the empty line */
	struct span body;      /* borrowed until the answer */

	/* The answer, for judge(). */
	int status;
	struct buf answer;
	size_t answer_bytes;   /* of the body, as sent */

	/* What happened, over all runs. */
	uint32_t *us;          /* how long each good answer took */
	size_t n;              /* good answers */
	size_t refused;        /* 503 and 429 */
	size_t failed;         /* anything else: it is told on stderr */

	struct load_link *link; /* private to load.c */
};

/*
 * Let them all run for so long, and until there are `min` answers; then every
 * request is waited for. The time from the first request to the last answer in
 * seconds; negative: something did not answer at all (stderr says what).
 */
double load_run(struct load_client *clients, size_t n, int port, double seconds,
                size_t min);

void load_free(struct load_client *c);

/* Write a request's head: path, token and further lines, each with CR LF. */
void load_head(struct buf *out, const char *method, const char *path,
               const char *token, const char *more, size_t body);

/* Forget what happened. */
void load_forget(struct load_client *c);

/* All good answers' times of several clients in ascending order, for the
 * caller to free(); *count is their number. */
uint32_t *load_times(const struct load_client *clients, size_t n, size_t *count);

/* That part (0 to 1) of ascending times, in milliseconds; NAN without any. */
double load_quantile(const uint32_t *times, size_t n, double part);

#endif
