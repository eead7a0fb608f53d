/*
 * One request from its first parameter to what is done after its answer.
 * The struct is kept by a worker and used again and again: buffers keep their
 * memory (large ones are given back), nothing else survives.
 */
#ifndef TDSYNC_HTTP_REQUEST_H
#define TDSYNC_HTTP_REQUEST_H

#include "auth/auth.h"
#include "http/io.h"
#include "http/server.h"

/* Methods, in the order in which an Allow header lists them. */
enum method {
	METHOD_DELETE,
	METHOD_GET,
	METHOD_HEAD,
	METHOD_PATCH,
	METHOD_POST,
	METHOD_OTHER
};

/* How a method is called; "" for METHOD_OTHER. Static. */
const char *method_text(enum method m);

struct route;

/*
 * A body above this is large: few of them may be in the server's memory at
 * the same time. Our own client never sends one (it pushes 2 MiB at a time),
 * a stock one hardly ever (500 events of 8 kB).
 */
#define LARGE_BODY (4 << 20)

/* A part of a file. */
struct file_part {
	int fd;          /* -1: none */
	int64_t from, n; /* bytes */
};

struct request {
	struct server *server;
	const struct io *io;
	void *io_ctx;

	/* What is asked. Strings of `io` live until the answer is finished. */
	char id[33];                  /* request id: 32 hex digits */
	const char *method_name;      /* as sent */
	enum method method;
	const char *base;             /* the path the service lies under, or "" */
	const char *path;             /* below it, decoded, from "/" */
	const char *query;            /* as sent, without "?"; "" for none */
	int64_t body_length;          /* as announced; -1: until its end */
	struct buf body;              /* once it was read */
	int large_place;              /* of a large body or answer, -1: none */

	/* What the dispatcher found out. */
	const struct route *route;    /* NULL: no such */
	char project_id[ID_MAX];      /* from the path; "" for none */
	char user_id[ID_MAX];         /* a member's, from the path */
	char conflict_id[ID_MAX];     /* a conflict's, likewise */
	char token_id[ID_MAX];        /* a token's, likewise */
	char invitation_id[ID_MAX];   /* an invitation's, likewise */
	struct span entity_type;      /* of an entity, likewise: as it came */
	struct span entity_id;
	struct caller caller;
	int64_t now_us;               /* when it came, wall clock */
	int64_t started_us;           /* and clock_mono_us() */
	int64_t deadline_ms;          /* of all its waits, clock_mono_ms() */

	/* The answer. A handler that returns RC_OK has set status and out;
	 * otherwise err is the sentence. */
	int status;
	struct buf out;               /* the body */
	struct buf headers;           /* further header lines, each with CR LF */
	struct err err;
	bool has_head;                /* `head` is known: sync routes tell log_id */
	struct events_head head;
	const char *type;             /* of the body; static */
	struct page_file file;        /* the body is this page, instead of `out` */
	struct file_part part;        /* or this */
	int64_t bytes_out;            /* of the body, as we sent it */

	/* What is to do once the answer is out; NULL: nothing. The members below
	 * are its. */
	void (*after)(struct request *r);
	struct project_log *project;
	struct buf device;
	int64_t seq;
	struct page page;             /* a pull's */
	int64_t cursor;
	bool unsettled;               /* its log is to be applied and healed */
	struct events_gap gap;        /* that a pull came from the inside of; until 0: none */
	bool knows;                   /* who pulls told which log he knows */
	int waiter_place;             /* at the project's lock, -1: none */

	struct buf scratch;           /* for whoever needs one for a moment */
};

/* Make a request ready for its first use; request_free() it. */
void request_init(struct request *r, struct server *server);
void request_free(struct request *r);

/*
 * Serve what waits behind `io`: judge, handle, answer, finish, log, and then
 * do what the handler left for after the answer.
 */
void request_serve(struct request *r, const struct io *io, void *io_ctx);

/* The value of a request header by its CGI name ("HTTP_PREFER"), or NULL. */
const char *request_header(const struct request *r, const char *name);

/*
 * Where nginx takes files of a kind from, if it told us by that parameter (of
 * nginx/td-sync.conf.in; a client can't set those). NULL: the file is ours to
 * send, also where nginx would answer 412: it judges If-Match and
 * If-Unmodified-Since by a tag and a date that it has not.
 */
const char *request_file_place(const struct request *r, const char *name);

/* The Authorization header, under whichever name it came, or NULL. */
const char *request_authorization(const struct request *r);

/*
 * The first value of a query parameter, decoded into out (reset first) as Go
 * does: pairs with a bad escape or a ';' don't count. False: there is none.
 */
bool request_query(const struct request *r, const char *name, struct buf *out);

/* The same of a form that is the body (application/x-www-form-urlencoded). */
bool request_form(const struct request *r, const char *name, struct buf *out);

/*
 * The accounts, for a handler: what it writes there is the caller's deed in the audit
 * log. Borrowed until the next call. Outcomes as server_accounts().
 */
enum rc request_accounts(struct request *r, struct accounts **out);

/*
 * A query parameter that is a decimal integer, sign allowed; absent or empty
 * leaves *value alone. RC_INVALID: "invalid NAME".
 */
enum rc request_query_int(struct request *r, const char *name, int64_t *value);

/*
 * Take one of the places for what is large, for the time of this request.
 * RC_CROWDED: all are taken.
 */
enum rc request_take_large(struct request *r);

/* Give it back before: what was large is done with, body and `out` are freed. */
void request_leave_large(struct request *r);

/*
 * Read the body into r->body. RC_TOO_LARGE: above max. RC_CROWDED: it is
 * large, and so are as many others as may be. RC_SLOW: it did not come in
 * time. RC_INVALID: it ended before its announced length.
 */
enum rc request_read_body(struct request *r, int64_t max);

#endif
