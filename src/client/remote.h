/*
 * The server as a client sees it: a request with retries, and what its
 * answer means as an outcome with one sentence. Holds no local state.
 */
#ifndef TDSYNC_CLIENT_REMOTE_H
#define TDSYNC_CLIENT_REMOTE_H

#include "client/transport.h"
#include "tdsync.h"

/* Room for "SEQ:DIGEST", NUL included. */
#define LOG_LAST_MAX 64

/* A server, and what the client tells it with each sync request. */
struct remote {
	struct transport *transport; /* owned */
	const char *url;      /* for messages; borrowed */
	const char *token;    /* NULL: none; borrowed */
	int timeout_s;        /* of one request */
	int retries;          /* of a failure that may pass */
	void (*waiting)(void *ctx, const char *why, int ms); /* NULL: tell nobody */
	void *waiting_ctx;
	char log_id[33];      /* X-Log-Id, "" for none */
	char log_last[LOG_LAST_MAX]; /* X-Log-Last, "" for none */
	char changed_to[33];  /* after TDSYNC_LOG_CHANGED: the log there is now */
};

/* An answer with its JSON found. Zero-initialise, remote_answer_free() after. */
struct remote_answer {
	struct transport_reply reply;
	struct span json;     /* the validated body; empty when there is none */
};
void remote_answer_free(struct remote_answer *a);

/*
 * Send a request and wait for its answer; failures that may pass (no answer,
 * 429, 502, 503, 504) are tried again with exponential back-off and jitter,
 * Retry-After honoured within bounds. `body` empty: GET, else POST. `sync`:
 * send log_id and log_last, and ask for lenient handling of a push.
 *
 * TDSYNC_OK: status 200 or 201 and a JSON body. Any other outcome has its
 * sentence in err, and the answer in *out as far as one came (so a caller can
 * look at its status: 413, 409).
 */
enum tdsync_rc remote_call(struct remote *r, const char *path, struct span body, bool sync,
                           struct remote_answer *out, struct err *err);

/* The same with DELETE; TDSYNC_OK is status 204, and there is no JSON. */
enum tdsync_rc remote_delete(struct remote *r, const char *path, struct remote_answer *out,
                             struct err *err);

/*
 * The same for a file: a GET whose good answer, of the type, goes into it. After
 * an answer that broke off the rest is asked for, again and again while something
 * comes. TDSYNC_LOCAL: it can't be written.
 */
enum tdsync_rc remote_fetch(struct remote *r, const char *path, const char *type,
                            struct transport_file *file, struct remote_answer *out,
                            struct err *err);

/* An outcome for an answer that is JSON, but not what it should be. */
enum tdsync_rc remote_nonsense(const struct remote *r, const char *what, struct err *err);

#endif
