#include "proxy.h"

#include "sql.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATIENCE_S 1 /* of a client whose server hangs */

struct proxy {
	struct transport base; /* first: a transport is a proxy */
	struct transport *http;
	enum fault fault;
	pid_t pid;
};

/* --- the process in between --- */

static struct sockaddr_in
address(int port)
{
	return (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons((uint16_t)port),
	    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
}

/* Where the head of a message ends, after its empty line; 0: not yet. */
static size_t
head_end(const struct buf *b)
{
	const char *p = b->len == 0 ? NULL : memmem(b->p, b->len, "\r\n\r\n", 4);

	return p == NULL ? 0 : (size_t)(p - b->p) + 4;
}

/* A line of a head: where it begins, with the name; NULL: not there. */
static char *
find_line(struct buf *b, const char *name)
{
	char *p = buf_cstr(b) == NULL ? NULL : strcasestr(b->p, name);

	return p != NULL && (size_t)(p - b->p) < head_end(b) ? p : NULL;
}

/* Read a whole request. */
static void
read_request(int fd, struct buf *b)
{
	size_t want = SIZE_MAX;
	char chunk[65536], *length;
	ssize_t n;

	while (b->len < want && (n = read(fd, chunk, sizeof(chunk))) > 0) {
		buf_add(b, chunk, (size_t)n);
		if (want == SIZE_MAX && head_end(b) > 0) {
			length = find_line(b, "\r\nContent-Length:");
			want = head_end(b) +
			    (length == NULL ? 0 : strtoul(length + 17, NULL, 10));
		}
	}
}

static void
write_all(int fd, const char *p, size_t n)
{
	ssize_t did;

	for (; n > 0 && (did = write(fd, p, n)) > 0; n -= (size_t)did)
		p += did;
}

/* End a connection the hard way: the other side sees it reset. */
static void
reset(int fd)
{
	struct linger now = { 1, 0 };

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close(fd);
}

/* Ask the server, with the request as it came, to the end of its answer. */
static void
relay(int server, struct buf *request, struct buf *answer)
{
	size_t line = strcspn(request->p, "\n") + 1;
	char chunk[65536];
	ssize_t n;

	write_all(server, request->p, line);
	write_all(server, "Connection: close\r\n", 19);
	write_all(server, request->p + line, request->len - line);
	while ((n = read(server, chunk, sizeof(chunk))) > 0)
		buf_add(answer, chunk, (size_t)n);
}

/* Tell another length of a body than it has. */
static void
mistell(struct buf *answer, uint64_t chance)
{
	size_t body = answer->len - head_end(answer);
	char *line = find_line(answer, "\r\nTransfer-Encoding:"), text[40];

	if (line == NULL)
		line = find_line(answer, "\r\nContent-Length:");
	if (line == NULL)
		return;
	/* Of the same number of bytes as the line that it takes the place of. */
	snprintf(text, sizeof(text), "\r\nContent-Length:%*zu",
	    (int)(strcspn(line + 2, "\r") - strlen("Content-Length:")),
	    chance % 2 == 0 ? body / 2 : body + 7);
	memcpy(line, text, strlen(text));
}

/* Serve one connection, then end. */
static void
serve(int listener, int port, enum fault fault, uint64_t chance)
{
	struct sockaddr_in to = address(port);
	struct buf request = { 0 }, answer = { 0 };
	int client = accept(listener, NULL, NULL);
	int server = socket(AF_INET, SOCK_STREAM, 0);
	size_t n, head;
	char c;

	close(listener);
	if (client < 0 || server < 0 || connect(server, (struct sockaddr *)&to, sizeof(to)) != 0)
		_exit(1);
	read_request(client, &request);
	if (fault == FAULT_CUT_REQUEST) {
		write_all(server, request.p, 1 + chance % (request.len - 1));
		usleep(2000); /* nginx has begun to read it */
		reset(server);
		reset(client);
		_exit(0);
	}
	relay(server, &request, &answer);
	head = head_end(&answer);
	n = answer.len;
	if (fault == FAULT_HANG) {
		while (read(client, &c, 1) > 0)
			; /* until the client has enough of it */
		_exit(0);
	}
	if (fault == FAULT_CUT_ANSWER)
		n = 1 + chance % (answer.len - 1);
	else if (fault == FAULT_LENGTH)
		mistell(&answer, chance);
	else if (answer.len > head) /* not at its ends: a gzip header has idle bytes */
		answer.p[(answer.len + 3 * head) / 4 + chance % ((answer.len - head) / 2 + 1)] ^=
		    (char)0x80;
	write_all(client, answer.p, n);
	_exit(0);
}

/* --- the transport --- */

static enum rc
proxy_send(struct transport *t, const struct transport_request *rq,
           struct transport_reply *reply, struct err *err)
{
	struct proxy *p = (struct proxy *)t;
	struct transport_request mine = *rq;

	if (p->fault == FAULT_HANG)
		mine.timeout_s = PATIENCE_S;
	return p->http->send(p->http, &mine, reply, err);
}

static void
proxy_free(struct transport *t)
{
	struct proxy *p = (struct proxy *)t;

	p->http->free(p->http);
	kill(p->pid, SIGKILL);
	while (waitpid(p->pid, NULL, 0) < 0 && errno == EINTR)
		;
	free(p);
}

struct transport *
proxy_new(const char *url, enum fault fault, uint64_t chance)
{
	struct proxy *p = calloc(1, sizeof(*p));
	int port = atoi(strrchr(url, ':') + 1);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in at = address(0);
	socklen_t len = sizeof(at);
	struct err err = { "" };
	char mine[64];

	if (p == NULL || fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof(at)) != 0 ||
	    listen(fd, 4) != 0 || getsockname(fd, (struct sockaddr *)&at, &len) != 0)
		die("proxy: %s", strerror(errno));
	fflush(NULL);
	if ((p->pid = fork()) < 0)
		die("fork: %s", strerror(errno));
	if (p->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		signal(SIGPIPE, SIG_IGN);
		serve(fd, port, fault, chance);
	}
	close(fd);
	snprintf(mine, sizeof(mine), "http://127.0.0.1:%d", ntohs(at.sin_port));
	if (transport_http(mine, &p->http, &err) != RC_OK)
		die("%s", err.text);
	p->fault = fault;
	p->base.send = proxy_send;
	p->base.free = proxy_free;
	return &p->base;
}
