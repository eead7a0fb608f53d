/*
 * The server of a run, in one of three forms: none at all (calls straight
 * into the engine), a process for every request (plain CGI), workers behind
 * a real nginx (FastCGI). The data lies in the run's folder in each case.
 */
#ifndef TDSYNC_HARNESS_SERVER_H
#define TDSYNC_HARNESS_SERVER_H

#include "client/transport.h"

#include "base/id.h"

#define SERVER_TOKENS 4 /* of as many people */

enum server_kind { SERVER_DIRECT, SERVER_CGI, SERVER_FASTCGI, SERVER__MAX };
const char *server_kind_name(enum server_kind k);

/* Why there can't be such a server here ("nginx is not installed"), or NULL. */
const char *server_missing(enum server_kind k);

struct server {
	enum server_kind kind;
	char dir[512];        /* its folder; data/ is in it */
	char data[600];
	char project[ID_MAX];
	char *tokens[SERVER_TOKENS]; /* one a member, of different users */
	char url[128];        /* FastCGI: where nginx listens */
	void *handle;         /* of what was started */
};

/* Make the data folder, a project and its members, and start what there is to
 * start. Ends the program when that fails. `project` is the id to use where
 * it can be chosen. */
void server_start(struct server *s, enum server_kind kind, const char *dir,
                  const char *project);

/* A way to it for member i (its token is in tokens[i]). */
struct transport *server_connect(struct server *s, size_t i);

/* The folder of the project's log. Returns out. */
const char *server_log(const struct server *s, char out[700]);

/* Stop what was started. */
void server_stop(struct server *s);

#endif
