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
	char cache_control[64];  /* Cache-Control, "" when none */
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

/* What decides who gets what is sent to an address. */
struct origin {
	bool tls;
	char host[256];
	long port;
};

/* That of an address, as libcurl reads it when it asks there. False: it doesn't take it,
 * or the host's name is too long. */
bool transport_origin(const char *url, struct origin *out);

/* Whether what is sent to an address never leaves this machine (localhost, 127.*, ::1):
 * it goes there itself, whatever proxy the environment names, as Go's net/http has it. */
bool transport_is_here(const char *url);

/* --- a look at the way to a server --- */

/* Where a request came to its end. */
enum transport_stage {
	STAGE_NAME,    /* the host's name has no address */
	STAGE_CONNECT, /* nobody took the connection */
	STAGE_SECURE,  /* no secure one was agreed on: there is no TLS, most often */
	STAGE_TLS,     /* one whose certificate is not taken */
	STAGE_ANSWER,  /* no answer, or half of one */
	STAGE_BODY,    /* what was announced was asked for */
	STAGE_DONE     /* an answer came */
};

/* What to ask; all borrowed. */
struct transport_question {
	const char *url;         /* all of it */
	const char *token;       /* NULL: none */
	int64_t announced;       /* above 0: a POST that says it has so many bytes to send, and
	                          * sends none */
	int timeout_s;
};

/* What came of it. Zero-initialise before use, transport_found_free() after. */
struct transport_found {
	enum transport_stage stage;
	struct transport_reply reply; /* of its body the first 4 KiB at most */
	int64_t certificate_until;    /* seconds since 1970; 0: not known, or no TLS */
};
void transport_found_free(struct transport_found *f);

/* Ask once. RC_OK: see out->stage; where that is not STAGE_DONE, err says why in
 * libcurl's words. Else RC_FAULT. */
enum rc transport_look(const struct transport_question *q, struct transport_found *out,
                       struct err *err);

#endif
