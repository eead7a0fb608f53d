/*
 * A transport in front of the one that goes straight into a log: a test may
 * answer a request itself, change it, or change what came back.
 */
#ifndef TDSYNC_TESTS_FRONT_H
#define TDSYNC_TESTS_FRONT_H

#include "tests/replica.h"

struct front {
	struct transport base; /* first: a transport is a front */
	struct transport *real;
	/* True: it has answered (or failed: *rc and err). NULL: never. */
	bool (*answer)(struct front *f, struct transport_request *rq,
	               struct transport_reply *re, enum rc *rc, struct err *err);
	/* After the real one answered. NULL: nothing. */
	void (*after)(struct front *f, const struct transport_request *rq,
	              struct transport_reply *re);
	const char *ask;       /* what of a path its hooks look for */
	int asked;             /* requests with it */
	const void *ctx;
};

static inline enum rc
front_send(struct transport *t, const struct transport_request *rq,
           struct transport_reply *re, struct err *err)
{
	struct front *f = (struct front *)t;
	struct transport_request copy = *rq;
	enum rc rc = RC_OK;

	if (f->ask == NULL || strstr(rq->path, f->ask) == NULL)
		return f->real->send(f->real, rq, re, err);
	f->asked++;
	if (f->answer != NULL && f->answer(f, &copy, re, &rc, err))
		return rc;
	rc = f->real->send(f->real, &copy, re, err);
	if (rc == RC_OK && f->after != NULL)
		f->after(f, &copy, re);
	return rc;
}

static inline void
front_free(struct transport *t)
{
	struct front *f = (struct front *)t;

	f->real->free(f->real);
}

/* Put it before a replica's server; fill in the hooks after. */
static inline void
front_use(struct replica *r, struct front *f, const char *ask)
{
	struct err err;

	*f = (struct front){ .base = { front_send, front_free }, .ask = ask };
	ck_assert(transport_direct(temp, "u_0000000000000001", &f->real, &err) == RC_OK);
	tdsync_use_transport(r->t, &f->base);
}

/* Answer with a status and a body; NULL for the type: JSON. */
static inline void
front_reply(struct transport_reply *re, int status, const char *type, const char *body)
{
	re->status = status;
	snprintf(re->content_type, sizeof(re->content_type), "%s",
	         type == NULL ? "application/json" : type);
	buf_reset(&re->body);
	buf_add_str(&re->body, body);
}

/* Let a request for a list ask for so many at a time. */
static inline void
front_limit(struct transport_request *rq, int limit)
{
	static char path[400];
	const char *at = strstr(rq->path, "&limit=");

	ck_assert_ptr_nonnull(at);
	snprintf(path, sizeof(path), "%.*s&limit=%d", (int)(at - rq->path), rq->path, limit);
	rq->path = path;
}

#endif
