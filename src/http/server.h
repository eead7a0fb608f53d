/* What a worker keeps from one request to the next. */
#ifndef TDSYNC_HTTP_SERVER_H
#define TDSYNC_HTTP_SERVER_H

#include "auth/auth.h"
#include "http/board.h"
#include "http/config.h"
#include "http/pages.h"
#include "http/projects.h"
#include "http/rates.h"

struct server {
	const struct config *config; /* borrowed */
	struct auth *auth;           /* NULL until it could be opened */
	struct projects projects;
	struct pages pages;
	struct rates rates;
	int max_waiting;             /* requests at one project's lock, in all */
	int max_large;               /* large bodies in all */
	const struct board *board;   /* of the pool, borrowed; NULL: there is none */
};

/*
 * `config` must live as long; max_workers is the pool's, 0 without one. Opens
 * nothing: server_auth() and projects_get() do, so that a worker can start
 * before its data folder is right.
 */
void server_init(struct server *s, const struct config *config, int max_workers);

/* Close everything; the server may be used again. */
void server_close(struct server *s);

/* Who may do what; opened where it is not yet. Borrowed. */
enum rc server_auth(struct server *s, struct auth **out, struct err *err);

/* The accounts behind it. Borrowed until the next call. */
enum rc server_accounts(struct server *s, struct accounts **out, struct err *err);

/* Whether the data folder can be served from: opened and closed again. */
enum rc server_check(const struct config *config, struct err *err);

#endif
