/*
 * A real server for tests: nginx and a pool of workers, or a web server that
 * runs the program as CGI; with a data folder, in a temporary folder, on a
 * free port of 127.0.0.1. Everything it starts dies with the test.
 */
#ifndef TDSYNC_TESTS_SITE_H
#define TDSYNC_TESTS_SITE_H

#include "auth/auth.h"

#include <limits.h>
#include <sys/types.h>

enum site_kind { SITE_FASTCGI, SITE_CGI };

struct site_options {
	enum site_kind kind;
	const char *dir;      /* an existing folder to live in; NULL: a temporary one,
	                       * removed by site_stop() */
	const char *data;     /* another site's data folder; NULL: made in its own */
	const char *config;   /* lines for td-sync.conf, or NULL; "heal" is off where they
	                       * don't say: a test counts its own events */
	const char *const *arguments; /* more of td-sync.fcgi's, NULL at the end; or NULL:
	                       * then it is a pool of --workers 2 --max-workers 8 */
	bool limits;          /* nginx's rate limits, as they are shipped; false: none */
	const char *locations; /* further ones of nginx's server, or NULL */
	const char *nginx_edits;      /* a program for sed that edits nginx's td-sync.conf,
	                       * or NULL */
	const char *below;    /* the path that they put the service below: "/sync"; or NULL */
	const char *const *wrapper;   /* what to run td-sync.fcgi with, as
	                       * { "valgrind", "-q", NULL }; NULL: nothing */
};

struct site {
	enum site_kind kind;
	char dir[PATH_MAX - 256];
	char data[PATH_MAX];
	char url[128];        /* without a slash at the end; CGI: with a path */
	pid_t pool;           /* td-sync.fcgi, the master; 0: CGI */
	pid_t web;            /* nginx or the gateway */
	bool own_dir;
	/* Files of the folder, for tests that read them. */
	char error_log[PATH_MAX], access_log[PATH_MAX], web_log[PATH_MAX];
	char socket[PATH_MAX];
};

/* Why such a site can't be started here ("nginx is not installed"), or NULL. */
const char *site_missing(enum site_kind kind);

/* Start one and wait until it answers. False: stderr says why. */
bool site_start(struct site *s, const struct site_options *o);

/* Stop all of it and remove a temporary folder. False: something did not end
 * by itself, or not with status 0, or a sanitizer found something. */
bool site_stop(struct site *s);

/* Start only the workers again, after they were stopped by hand. */
bool site_start_pool(struct site *s, const struct site_options *o);

/* The pids of the pool's workers; how many there are (at most max told). */
size_t site_workers(const struct site *s, pid_t *pids, size_t max);

/* Print what the logs hold to stderr: for a test that fails. */
void site_print_logs(const struct site *s);

/* --- accounts, made in the data folder; they abort when that fails --- */

void site_user(const struct site *s, const char *email, char id[ID_MAX]);
void site_project(const struct site *s, const char *name, const char *owner_id,
                  char id[ID_MAX]);
void site_member(const struct site *s, const char *project_id, const char *user_id,
                 enum role role);

/* A token; project NULL: all of the user's. `id` may be NULL. For the caller
 * to free(). */
char *site_token(const struct site *s, const char *user_id, unsigned scope,
                 const char *project, char id[ID_MAX]);

/* One that has expired already (it takes a second). */
char *site_expired_token(const struct site *s, const char *user_id);

#endif
