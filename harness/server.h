/*
 * The server of a run, in one of three forms: none at all (calls straight
 * into the engine), a process for every request (plain CGI), workers behind
 * a real nginx (FastCGI). The data lies in the run's folder in each case.
 */
#ifndef TDSYNC_HARNESS_SERVER_H
#define TDSYNC_HARNESS_SERVER_H

#include "client/transport.h"

#include "base/id.h"

#include <sys/types.h>

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
	int64_t clock_s;      /* how far its clock is ahead */
	bool unhealed;        /* direct: healing is switched off */
	void *handle;         /* of what was started */
	pid_t stranger;       /* who holds the log's lock; 0: nobody */
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

/*
 * What happens to a server. False: it can't happen to one of this kind, or
 * there is nothing of that name.
 *	kill-workers, kill-master   by SIGKILL; the master is started again
 *	down, up                    nobody is behind nginx, or somebody again
 *	lock, unlock                a stranger takes the log's lock
 *	disk-full, disk-read-only, disk-broken, disk-well   its writes fail
 *	lose-log                    its events.db is gone
 *	new-log                     and an empty one is there
 *	cut-log                     little of it is left
 *	heal-off, heal-on           healing is switched off, or on again (direct)
 */
bool server_suffer(struct server *s, const char *what);

/* Copy the log aside; put a copy in its place, as somebody does who has no
 * better way: the file alone, by a rename, while the server runs. */
void server_keep_log(const struct server *s, const char *as);
void server_set_back_log(const struct server *s, const char *as);

/* Stop what was started. */
void server_stop(struct server *s);

#endif
