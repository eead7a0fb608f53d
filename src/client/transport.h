/*
 * How a request reaches the server. The real one is HTTP by libcurl
 * (transport.c); the harness has others (straight into the engine, plain
 * CGI) and puts faults in front of them.
 */
#ifndef TDSYNC_CLIENT_TRANSPORT_H
#define TDSYNC_CLIENT_TRANSPORT_H

#include "base/buf.h"
#include "base/rc.h"

/*
 * A file that the body of a good answer goes to, as it comes. Where a part of it
 * is there, `have` bytes of the file that `tag` names, only the rest is asked for;
 * the server may send all of it, and then it is written anew. Afterwards `have` is
 * what is there, also where the answer broke off.
 */
struct transport_file {
	int fd;                  /* open for writing */
	int64_t have;
	char tag[128];           /* its ETag; "" for none: it can't be gone on with */
};

/* A request; all borrowed. */
struct transport_request {
	const char *method;      /* "GET", "POST", "DELETE" */
	const char *path;        /* "/v1/projects/p_…/sync/pull?after_server_seq=0" */
	const char *token;       /* NULL: none */
	const char *log_id;      /* X-Log-Id, NULL: none */
	const char *log_last;    /* X-Log-Last, NULL: none */
	const char *prefer;      /* Prefer, NULL: none */
	struct span body;        /* empty: none */
	struct transport_file *file; /* NULL: the body goes into the reply */
	int timeout_s;           /* of the whole; with a file: without a byte */
};

/* An answer. Zero-initialise before use, transport_reply_free() after. */
struct transport_reply {
	int status;              /* HTTP status */
	struct buf body;
	char content_type[64];
	char log_id[33];         /* X-Log-Id, "" when none */
	char log_last[64];       /* X-Log-Last, likewise */
	char snapshot_digest[65]; /* X-Snapshot-Digest, likewise */
	int64_t snapshot_seq;    /* X-Snapshot-Seq, 0 when none */
	int retry_after_s;       /* Retry-After, 0 when none */
	int64_t server_time;     /* Date, seconds since 1970; 0 when none */
};
void transport_reply_free(struct transport_reply *r);

/*
 * RC_OK: an answer came, whole, whatever its status. RC_BUSY: none came, or
 * a part of it; the server may have done it; err says why.
 */
struct transport {
	enum rc (*send)(struct transport *t, const struct transport_request *rq,
	                struct transport_reply *reply, struct err *err);
	void (*free)(struct transport *t);
};

/* HTTP by libcurl to a base URL ("http://host:8080", "https://h/td-sync").
 * On RC_OK *out is new: (*out)->free(*out). */
enum rc transport_http(const char *url, struct transport **out, struct err *err);

#endif
