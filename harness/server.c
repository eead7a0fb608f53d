#include "server.h"

#include "sql.h"
#include "transport_cgi.h"
#include "transport_direct.h"

#include "base/fs.h"
#include "base/lock.h"
#include "engine/heal.h"
#include "store/events.h"
#include "tests/mishap.h"
#include "tests/site.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *const kinds[SERVER__MAX] = { "direct", "cgi", "fastcgi" };

const char *
server_kind_name(enum server_kind k)
{
	return kinds[k];
}

const char *
server_missing(enum server_kind k)
{
	return k == SERVER_FASTCGI ? site_missing(SITE_FASTCGI) : NULL;
}

const char *
server_log(const struct server *s, char out[700])
{
	snprintf(out, 700, "%s/projects/%s", s->data, s->project);
	return out;
}

/* --- accounts, made as an operator makes them --- */

/* Run td-sync-admin with these arguments (ended by NULL); *out gets its
 * stdout without the newline. */
static void
admin(const struct server *s, struct buf *out, const char *const *args)
{
	const char *argv[16] = { TOP_BUILDDIR "/td-sync-admin", "--data", s->data };
	char chunk[4096];
	int ends[2], status, n = 3;
	ssize_t got;
	pid_t pid;

	while (*args != NULL && n < 15)
		argv[n++] = *args++;
	if (pipe(ends) != 0 || (pid = fork()) < 0)
		die("td-sync-admin: %s", strerror(errno));
	if (pid == 0) {
		dup2(ends[1], STDOUT_FILENO);
		close(ends[0]);
		execv(argv[0], (char *const *)(uintptr_t)argv);
		_exit(127);
	}
	close(ends[1]);
	buf_reset(out);
	while ((got = read(ends[0], chunk, sizeof(chunk))) > 0)
		buf_add(out, chunk, (size_t)got);
	close(ends[0]);
	if (waitpid(pid, &status, 0) != pid || status != 0)
		die("td-sync-admin %s: wait status %#x", argv[3], (unsigned)status);
	while (out->len > 0 && out->p[out->len - 1] == '\n')
		out->len--;
	buf_cstr(out);
}
#define ADMIN(s, out, ...) admin(s, out, (const char *const[]){ __VA_ARGS__, NULL })

static void
make_accounts(struct server *s)
{
	struct buf out = { 0 };
	char email[40];
	size_t i;

	ADMIN(s, &out, "init");
	ADMIN(s, &out, "user", "add", "owner@example.com");
	ADMIN(s, &out, "project", "add", "Greenhouse", "--owner", "owner@example.com");
	snprintf(s->project, sizeof(s->project), "%s", out.p);
	for (i = 0; i < SERVER_TOKENS; i++) {
		snprintf(email, sizeof(email), "user%zu@example.com", i);
		ADMIN(s, &out, "user", "add", email);
		ADMIN(s, &out, "member", "set", s->project, email, "writer");
		ADMIN(s, &out, "token", "create", "--user", email, "--project", s->project,
		    "--scope", "sync:read", "--scope", "sync:write");
		if ((s->tokens[i] = span_dup(buf_span(&out))) == NULL)
			die("out of memory");
	}
	buf_free(&out);
}

/* --- start, connect, stop --- */

/* The workers have mishap.h's library; nginx has not. */
struct fastcgi {
	struct site site;
	struct site_options options;
	char file[700];
	const char *wrapper[5];
};

static void
start_site(struct server *s)
{
	struct fastcgi *f = calloc(1, sizeof(*f));

	if (f == NULL)
		die("out of memory");
	snprintf(f->file, sizeof(f->file), "TD_SYNC_MISHAP=%s", mishap_file());
	f->wrapper[0] = "env";
	f->wrapper[1] = "LD_PRELOAD=" MISHAP_LIBRARY;
	f->wrapper[2] = f->file;
	f->options = (struct site_options){ .kind = SITE_FASTCGI, .dir = s->dir,
	    .config = "heal = on\n",
	    .data = s->data, .wrapper = f->wrapper };
	if (!site_start(&f->site, &f->options))
		die("nginx and its workers do not start");
	snprintf(s->url, sizeof(s->url), "%s", f->site.url);
	s->handle = f;
}

void
server_start(struct server *s, enum server_kind kind, const char *dir,
             const char *project)
{
	struct err err = { "" };

	memset(s, 0, sizeof(*s));
	s->kind = kind;
	snprintf(s->dir, sizeof(s->dir), "%s", dir);
	snprintf(s->data, sizeof(s->data), "%s/data", dir);
	snprintf(s->project, sizeof(s->project), "%s", project);
	if (fs_mkdir(s->dir, &err) != RC_OK)
		die("%s", err.text);
	if (kind == SERVER_DIRECT) {
		if (fs_mkdir(s->data, &err) != RC_OK ||
		    direct_project(s->data, project, &err) != RC_OK)
			die("%s", err.text);
		return;
	}
	make_accounts(s);
	if (kind == SERVER_FASTCGI)
		start_site(s);
}

struct transport *
server_connect(struct server *s, size_t i)
{
	struct transport *t = NULL;
	struct err err = { "" };
	char user[24];
	enum rc rc;

	switch (s->kind) {
	case SERVER_DIRECT:
		snprintf(user, sizeof(user), "u_%016zx", i);
		if ((rc = transport_direct(s->data, user, &t, &err)) == RC_OK && !s->unhealed)
			direct_heals(t);
		break;
	case SERVER_CGI:
		rc = transport_cgi(TOP_BUILDDIR "/td-sync.fcgi", s->data, s->dir, &t, &err);
		break;
	default:
		rc = transport_http(s->url, &t, &err);
		break;
	}
	if (rc != RC_OK)
		die("%s", err.text);
	return t;
}

/* --- what happens to it --- */

/* The pool's master and all its workers; or the workers alone. */
static void
kill_pool(struct fastcgi *f, bool master, int sig)
{
	pid_t pids[64];
	size_t n = site_workers(&f->site, pids, 64), i;

	if (master) {
		kill(f->site.pool, sig);
		while (waitpid(f->site.pool, NULL, 0) < 0 && errno == EINTR)
			;
		f->site.pool = 0;
		unlink(f->site.socket); /* dying workers hold it: wait for a new one */
	}
	for (i = 0; i < n && i < 64 && sig == SIGKILL; i++)
		kill(pids[i], SIGKILL);
}

static void
start_pool(struct fastcgi *f)
{
	if (f->site.pool == 0 && !site_start_pool(&f->site, &f->options))
		die("the workers do not start again");
}

/* Somebody who holds the log's lock until he is killed. */
static pid_t
take_lock(const struct server *s)
{
	char dir[700], path[720];
	struct err err = { "" };
	struct lock *lock;
	int ends[2];
	pid_t pid;
	char c;

	snprintf(path, sizeof(path), "%s/" EVENTS_LOCK, server_log(s, dir));
	fflush(NULL);
	if (pipe(ends) != 0 || (pid = fork()) < 0)
		die("fork: %s", strerror(errno));
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (lock_open(path, &lock, &err) != RC_OK ||
		    lock_take(lock, clock_mono_ms() + LOCK_WAIT_MS) != RC_OK ||
		    write(ends[1], "x", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	close(ends[1]);
	if (read(ends[0], &c, 1) != 1)
		die("%s: %s", path, err.text);
	close(ends[0]);
	return pid;
}

static void
let_go(struct server *s)
{
	if (s->stranger == 0)
		return;
	kill(s->stranger, SIGKILL);
	waitpid(s->stranger, NULL, 0);
	s->stranger = 0;
}

/* The log and what belongs to it, the note of where it ended too. */
static void
remove_log(const struct server *s)
{
	static const char *const names[] = {
		EVENTS_DB, EVENTS_DB "-wal", EVENTS_DB "-shm", EVENTS_LOCK,
	};
	char dir[700], path[720];
	size_t i;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", server_log(s, dir), names[i]);
		unlink(path);
	}
}

/* Little of the log's file is left, and nothing of its WAL. */
static void
cut_log(const struct server *s)
{
	char dir[700], path[720];
	struct buf content = { 0 };
	struct err err;

	snprintf(path, sizeof(path), "%s/" EVENTS_DB, server_log(s, dir));
	if (fs_read(path, 1 << 30, &content, &err) != RC_OK)
		die("%s", err.text);
	content.len = content.len < 9000 ? content.len : 9000;
	remove_log(s);
	if (fs_write(path, buf_span(&content), 0600, &err) != RC_OK)
		die("%s", err.text);
	buf_free(&content);
}

/* All writes to the projects fail so. */
static void
break_disk(const struct server *s, int code)
{
	char where[sizeof(mishap->where)];

	/* The end of the path is enough to know it, and short. */
	snprintf(where, sizeof(where), "/server/data/projects/%s/", s->project);
	mishap_plan(1, code, true, where);
}

/* Switch healing off. A server does it when it comes to heal. */
static void
heal_not(struct server *s)
{
	char dir[700];
	struct err err = { "" };
	struct events *log;

	if (events_open(server_log(s, dir), &log, &err) != RC_OK ||
	    heal_off(log, clock_mono_ms() + LOCK_WAIT_MS, &err) != RC_OK)
		die("%s", err.text);
	events_close(log);
	s->unhealed = true;
}

bool
server_suffer(struct server *s, const char *what)
{
	struct fastcgi *f = s->handle;
	struct err err;
	char dir[700];

	if (strcmp(what, "kill-workers") == 0 && f != NULL) {
		kill_pool(f, false, SIGKILL);
	} else if (strcmp(what, "kill-master") == 0 && f != NULL) {
		kill_pool(f, true, SIGKILL);
		start_pool(f);
	} else if (strcmp(what, "down") == 0 && f != NULL) {
		kill_pool(f, true, SIGTERM);
	} else if (strcmp(what, "up") == 0 && f != NULL) {
		start_pool(f);
	} else if (strcmp(what, "lock") == 0) {
		s->stranger = take_lock(s);
	} else if (strcmp(what, "unlock") == 0) {
		let_go(s);
	} else if (strcmp(what, "disk-full") == 0) {
		break_disk(s, ENOSPC);
	} else if (strcmp(what, "disk-read-only") == 0) {
		break_disk(s, EROFS);
	} else if (strcmp(what, "disk-broken") == 0) {
		break_disk(s, EIO);
	} else if (strcmp(what, "disk-well") == 0) {
		mishap_none();
	} else if (strcmp(what, "lose-log") == 0) {
		remove_log(s);
	} else if (strcmp(what, "heal-off") == 0 && s->kind == SERVER_DIRECT) {
		heal_not(s);
	} else if (strcmp(what, "heal-on") == 0 && s->kind == SERVER_DIRECT) {
		s->unhealed = false;
	} else if (strcmp(what, "cut-log") == 0) {
		cut_log(s);
	} else if (strcmp(what, "new-log") == 0) {
		remove_log(s);
		if (events_create(server_log(s, dir), "td", &err) != RC_OK)
			die("%s", err.text);
	} else {
		return false;
	}
	return true;
}

static void
copy_log(const char *from, const char *to)
{
	struct buf content = { 0 };
	struct err err;

	if (fs_read(from, 1 << 30, &content, &err) != RC_OK ||
	    fs_write(to, buf_span(&content), 0600, &err) != RC_OK)
		die("%s", err.text);
	buf_free(&content);
}

void
server_keep_log(const struct server *s, const char *as)
{
	char dir[700], path[720], to[700];
	sqlite3 *db;

	snprintf(path, sizeof(path), "%s/" EVENTS_DB, server_log(s, dir));
	snprintf(to, sizeof(to), "%s/%s", s->dir, as);
	db = sql_open(path, false);
	sql_run(db, "PRAGMA wal_checkpoint(TRUNCATE)", "");
	sql_close(db);
	copy_log(path, to);
}

void
server_set_back_log(const struct server *s, const char *as)
{
	char dir[700], path[720], from[700];

	snprintf(path, sizeof(path), "%s/" EVENTS_DB, server_log(s, dir));
	snprintf(from, sizeof(from), "%s/%s", s->dir, as);
	remove_log(s);
	copy_log(from, path); /* writes aside and renames */
}

void
server_stop(struct server *s)
{
	struct fastcgi *f = s->handle;
	size_t i;

	let_go(s);
	mishap_none();
	if (f != NULL && !site_stop(&f->site))
		fprintf(stderr, "td-sync-harness: the server did not stop well\n");
	free(f);
	for (i = 0; i < SERVER_TOKENS; i++)
		free(s->tokens[i]);
	memset(s, 0, sizeof(*s));
}
