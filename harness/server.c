#include "server.h"

#include "sql.h"
#include "transport_cgi.h"
#include "transport_direct.h"

#include "base/fs.h"
#include "tests/site.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

static void
start_site(struct server *s)
{
	struct site_options o = { .kind = SITE_FASTCGI, .dir = s->dir, .data = s->data };
	struct site *site = calloc(1, sizeof(*site));

	if (site == NULL || !site_start(site, &o))
		die("nginx and its workers do not start");
	snprintf(s->url, sizeof(s->url), "%s", site->url);
	s->handle = site;
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
		rc = transport_direct(s->data, user, &t, &err);
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

void
server_stop(struct server *s)
{
	size_t i;

	if (s->handle != NULL && !site_stop(s->handle))
		fprintf(stderr, "td-sync-harness: the server did not stop well\n");
	free(s->handle);
	for (i = 0; i < SERVER_TOKENS; i++)
		free(s->tokens[i]);
	memset(s, 0, sizeof(*s));
}
