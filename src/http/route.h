/*
 * The routes: one table that says what is checked before a handler runs, so
 * that handlers hold only their own work.
 */
#ifndef TDSYNC_HTTP_ROUTE_H
#define TDSYNC_HTTP_ROUTE_H

#include "http/request.h"

/* How much body a route takes. */
enum body {
	BODY_NONE,  /* none; one that comes is not looked at */
	BODY_SMALL, /* BODY_SMALL_MAX */
	BODY_PUSH   /* max_push_bytes */
};
#define BODY_SMALL_MAX (64 << 10)

/*
 * Does a route's work. RC_OK: r->status and r->out are the answer. Anything
 * else becomes an error answer by the table in reply.c, r->err its sentence.
 */
typedef enum rc handler(struct request *r);

#define SCOPE_NONE (1u << 30) /* no token is asked for */
#define SCOPE_ANY 0u          /* any token will do */

struct route {
	enum method method; /* METHOD_GET means HEAD, too */
	/* "{id}" is a project's id, "{user}" a user's, "{conflict}" a conflict's,
	 * "{key}" a token's, "{invitation}" an invitation's; "{type}" an entity's type,
	 * "{entity}" its id, which may hold anything. */
	const char *path;
	unsigned scope;     /* what the token must be good for, or one of these */
	enum role role;     /* the least role in the project; only with {id} */
	enum body body;
	handler *run;
	enum guests guests; /* who may beside the project's members */
};

/*
 * Routes by number, for what is counted by them: 1 and on, in the table's order; 0
 * stands for none. NULL: there is no such. route_table() is another number where
 * the table is another.
 */
size_t route_number(const struct route *route);
const struct route *route_at(size_t number);
uint64_t route_table(void);

/* Judge the caller, read the body, run the handler, and leave an answer in r:
 * errors, too. Never fails. */
void route_run(struct request *r);

#endif
