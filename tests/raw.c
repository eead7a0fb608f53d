/* Requests to the program itself, see raw.h. */
#include "raw.h"

#include "fcgi_client.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* Run the program as CGI, its stdin and stdout in our hands. */
static bool
begin_cgi(struct raw *r, const struct site *s, const char *const *params)
{
	char config[PATH_MAX + 32];
	int in[2], out[2];

	/* A socket: one can write to it without a signal when nobody reads. */
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, in) != 0 ||
	    pipe2(out, O_CLOEXEC) != 0)
		return false;
	snprintf(config, sizeof(config), "%s/server.conf", s->dir);
	r->pid = fork();
	if (r->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		setenv("GATEWAY_INTERFACE", "CGI/1.1", 1);
		for (; params[0] != NULL; params += 2)
			setenv(params[0], params[1], 1);
		dup2(in[0], STDIN_FILENO);
		dup2(out[1], STDOUT_FILENO);
		execl(TOP_BUILDDIR "/td-sync.fcgi", "td-sync.fcgi", "--config", config,
		      (char *)NULL);
		_exit(127);
	}
	close(in[0]);
	close(out[1]);
	r->in = in[1];
	r->out = out[0];
	return r->pid > 0;
}

bool
raw_begin(struct raw *r, const struct site *s, const char *const *params)
{
	*r = (struct raw){ -1, -1, 0 };
	if (s->kind == SITE_CGI)
		return begin_cgi(r, s, params);
	r->in = r->out = fcgi_connect(s->socket);
	return r->in >= 0 && fcgi_begin(r->in, params, false);
}

bool
raw_body(struct raw *r, struct span part)
{
	if (r->pid == 0)
		return fcgi_body(r->in, part);
	while (part.len > 0) {
		ssize_t put = send(r->in, part.p, part.len, MSG_NOSIGNAL);

		if (put <= 0)
			return false;
		part.p += put;
		part.len -= (size_t)put;
	}
	return true;
}

bool
raw_end(struct raw *r)
{
	if (r->pid == 0)
		return fcgi_body(r->in, (struct span){ NULL, 0 });
	return shutdown(r->in, SHUT_WR) == 0;
}

bool
raw_receive(struct raw *r, struct buf *out)
{
	char part[65536];
	bool ok = true;
	ssize_t got;
	int status;

	if (r->pid == 0)
		return fcgi_receive(r->in, out);
	buf_reset(out);
	while ((got = read(r->out, part, sizeof(part))) > 0)
		buf_add(out, part, (size_t)got);
	close(r->in);
	close(r->out);
	ok = waitpid(r->pid, &status, 0) == r->pid && status == 0;
	return buf_cstr(out) != NULL && out->len > 0 && ok;
}

void
raw_close(struct raw *r)
{
	close(r->in);
	if (r->pid != 0) {
		close(r->out);
		waitpid(r->pid, NULL, 0);
	}
}

bool
raw_call(const struct site *s, const char *const *params, struct span body,
         struct buf *out)
{
	struct raw r;

	/* What is refused unread is not taken to its end. */
	if (!raw_begin(&r, s, params))
		return false;
	if (body.len == 0 || raw_body(&r, body))
		raw_end(&r);
	return raw_receive(&r, out);
}
