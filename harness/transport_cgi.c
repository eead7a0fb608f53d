#include "transport_cgi.h"

#include "into_file.h"

#include "tests/mishap.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/wait.h>
#include <unistd.h>

#define VARIABLES 28

struct cgi {
	struct transport base; /* first: a transport is a cgi */
	char *program, *data, *logs;
	size_t cut;            /* the next body ends after so many bytes */
};

/* The environment of one request; each string is owned. */
struct env {
	char *v[VARIABLES + 1];
	size_t n;
};

static void
put(struct env *e, const char *name, const char *value, const char *more)
{
	struct buf b = { 0 };

	if (value == NULL || e->n == VARIABLES)
		return;
	buf_addf(&b, "%s=%s%s", name, value, more);
	buf_cstr(&b);
	e->v[e->n++] = b.p;
}

static void
fill_env(struct env *e, const struct cgi *c, const struct transport_request *rq)
{
	const char *query = strchr(rq->path, '?');
	char length[40], path[600];

	snprintf(length, sizeof(length), "%zu", rq->body.len);
	snprintf(path, sizeof(path), "%.*s", query ? (int)(query - rq->path) :
	    (int)strlen(rq->path), rq->path);
	put(e, "GATEWAY_INTERFACE", "CGI/1.1", "");
	put(e, "SERVER_PROTOCOL", "HTTP/1.1", "");
	put(e, "SERVER_NAME", "localhost", "");
	put(e, "SERVER_PORT", "80", "");
	put(e, "REMOTE_ADDR", "127.0.0.1", "");
	put(e, "REQUEST_METHOD", rq->method, "");
	put(e, "REQUEST_URI", rq->path, "");
	put(e, "SCRIPT_NAME", "/td-sync.cgi", "");
	put(e, "PATH_INFO", path, "");
	put(e, "QUERY_STRING", query ? query + 1 : "", "");
	if (rq->body.len > 0) {
		put(e, "CONTENT_LENGTH", length, "");
		put(e, "CONTENT_TYPE", "application/json", "");
	}
	if (rq->token != NULL)
		put(e, "HTTP_AUTHORIZATION", "Bearer ", rq->token);
	put(e, "HTTP_X_LOG_ID", rq->log_id, "");
	put(e, "HTTP_X_LOG_LAST", rq->log_last, "");
	put(e, "HTTP_PREFER", rq->prefer, "");
	if (rq->file != NULL && rq->file->have > 0 && rq->file->tag[0] != '\0') {
		snprintf(length, sizeof(length), "bytes=%lld-", (long long)rq->file->have);
		put(e, "HTTP_RANGE", length, "");
		put(e, "HTTP_IF_RANGE", rq->file->tag, "");
	}
	put(e, "TD_SYNC_SERVER_DATA", c->data, "");
	put(e, "TD_SYNC_SERVER_ERROR_LOG", c->logs, "/error.log");
	put(e, "TD_SYNC_SERVER_ACCESS_LOG", c->logs, "/access.log");
	put(e, "ASAN_OPTIONS", getenv("ASAN_OPTIONS"), "");
	if (mishap_file() != NULL) {
		put(e, "LD_PRELOAD", MISHAP_LIBRARY, "");
		put(e, "TD_SYNC_MISHAP", mishap_file(), "");
	}
	put(e, "LD_LIBRARY_PATH", getenv("LD_LIBRARY_PATH"), "");
}

/* Start the program; its stdin and stdout are *in and *out. */
static pid_t
start(const struct cgi *c, struct env *e, int *in, int *out)
{
	int to[2], from[2];
	char *argv[] = { c->program, NULL };
	pid_t pid;

	if (pipe2(to, O_CLOEXEC) != 0)
		return -1;
	if (pipe2(from, O_CLOEXEC) != 0) {
		close(to[0]);
		close(to[1]);
		return -1;
	}
	pid = fork();
	if (pid == 0) {
		dup2(to[0], STDIN_FILENO);
		dup2(from[1], STDOUT_FILENO);
		signal(SIGPIPE, SIG_DFL);
		execve(c->program, argv, e->v);
		_exit(127);
	}
	close(to[0]);
	close(from[1]);
	*in = to[1];
	*out = from[0];
	return pid;
}

/* Write the body and read the answer, both as they go. Closes both ends. */
static bool
talk(int in, int out, struct span body, struct buf *answer)
{
	struct pollfd p[2] = { { out, POLLIN, 0 }, { in, POLLOUT, 0 } };
	char chunk[65536];
	ssize_t n = 1;

	fcntl(in, F_SETFL, O_NONBLOCK);
	if (body.len == 0) {
		close(in);
		p[1].fd = -1;
	}
	while (n != 0) {
		if (poll(p, 2, -1) < 0 && errno != EINTR)
			break;
		if (p[1].fd >= 0 && p[1].revents != 0) {
			n = write(in, body.p, body.len);
			if (n > 0) {
				body.p += n;
				body.len -= (size_t)n;
			}
			if (body.len == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
				close(in);
				p[1].fd = -1;
			}
			n = 1;
		}
		if (p[0].revents != 0) {
			n = read(out, chunk, sizeof(chunk));
			if (n > 0)
				buf_add(answer, chunk, (size_t)n);
			else if (n < 0 && errno != EINTR)
				break;
		}
	}
	if (p[1].fd >= 0)
		close(in);
	close(out);
	return n == 0;
}

/* What is not for the client's eyes. */
struct extra {
	long length;
	char tag[128];
};

/* One header line of the answer. */
static void
header(struct transport_reply *re, const char *line, size_t len, struct extra *extra)
{
	char text[300], *value;

	snprintf(text, sizeof(text), "%.*s", (int)len, line);
	if ((value = strchr(text, ':')) == NULL)
		return;
	*value++ = '\0';
	value += strspn(value, " ");
	if (strcasecmp(text, "Status") == 0)
		re->status = atoi(value);
	else if (strcasecmp(text, "Content-Type") == 0)
		snprintf(re->content_type, sizeof(re->content_type), "%.63s", value);
	else if (strcasecmp(text, "X-Log-Id") == 0)
		snprintf(re->log_id, sizeof(re->log_id), "%.32s", value);
	else if (strcasecmp(text, "Retry-After") == 0)
		re->retry_after_s = atoi(value);
	else if (strcasecmp(text, "Content-Length") == 0)
		extra->length = atol(value);
	else if (strcasecmp(text, "X-Log-Last") == 0)
		snprintf(re->log_last, sizeof(re->log_last), "%.63s", value);
	else if (strcasecmp(text, "X-Snapshot-Seq") == 0)
		re->snapshot_seq = atoll(value);
	else if (strcasecmp(text, "X-Snapshot-Digest") == 0)
		snprintf(re->snapshot_digest, sizeof(re->snapshot_digest), "%.64s", value);
	else if (strcasecmp(text, "ETag") == 0)
		snprintf(extra->tag, sizeof(extra->tag), "%.127s", value);
}

/* Take the answer of a CGI program apart. */
static enum rc
parse(struct span answer, const struct transport_request *rq, struct transport_reply *re,
      struct err *err)
{
	const char *p = answer.p, *end = p + answer.len, *nl;
	struct extra extra = { .length = -1 };

	re->status = 200; /* CGI: without a Status */
	while (p < end && (nl = memchr(p, '\n', (size_t)(end - p))) != NULL) {
		size_t len = (size_t)(nl - p);

		if (len > 0 && p[len - 1] == '\r')
			len--;
		if (len == 0) {
			buf_add(&re->body, nl + 1, (size_t)(end - nl - 1));
			if (extra.length >= 0 && (size_t)extra.length != re->body.len)
				return err_set(err, RC_BUSY, "CGI: %zu bytes of %ld",
				    re->body.len, extra.length);
			return into_file(rq, re, extra.tag, err);
		}
		header(re, p, len, &extra);
		p = nl + 1;
	}
	return err_set(err, RC_BUSY, "CGI: no end of the header");
}

static enum rc
cgi_send(struct transport *t, const struct transport_request *rq,
         struct transport_reply *re, struct err *err)
{
	struct cgi *c = (struct cgi *)t;
	struct env e = { { NULL }, 0 };
	struct buf answer = { 0 };
	enum rc rc = RC_BUSY;
	struct span body = rq->body;
	int in, out, status = -1;
	pid_t pid;
	bool whole;

	fill_env(&e, c, rq);
	if (c->cut < body.len)
		body.len = c->cut;
	c->cut = SIZE_MAX;
	signal(SIGPIPE, SIG_IGN);
	pid = start(c, &e, &in, &out);
	if (pid > 0) {
		whole = talk(in, out, body, &answer);
		while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
			;
		if (!whole || status != 0 || answer.failed)
			err_set(err, rc, "CGI: wait status %#x", (unsigned)status);
		else
			rc = parse(buf_span(&answer), rq, re, err);
	} else {
		err_set(err, rc, "CGI: %s", strerror(errno));
	}
	while (e.n > 0)
		free(e.v[--e.n]);
	buf_free(&answer);
	return rc;
}

static void
cgi_free(struct transport *t)
{
	struct cgi *c = (struct cgi *)t;

	free(c->program);
	free(c->data);
	free(c->logs);
	free(c);
}

enum rc
transport_cgi(const char *program, const char *data, const char *logs,
              struct transport **out, struct err *err)
{
	struct cgi *c = calloc(1, sizeof(*c));

	*out = NULL;
	if (c == NULL)
		return err_set(err, RC_FAULT, "out of memory");
	c->base.send = cgi_send;
	c->base.free = cgi_free;
	c->cut = SIZE_MAX;
	c->program = strdup(program);
	c->data = strdup(data);
	c->logs = strdup(logs);
	if (c->program == NULL || c->data == NULL || c->logs == NULL) {
		cgi_free(&c->base);
		return err_set(err, RC_FAULT, "out of memory");
	}
	*out = &c->base;
	return RC_OK;
}

void
transport_cgi_cut(struct transport *t, size_t after)
{
	((struct cgi *)t)->cut = after;
}
