/* Plain CGI, see cgi.h. */
#include "http/cgi.h"

#include "http/limit.h"
#include "http/request.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The one request. */
struct cgi {
	long long taken; /* bytes of the body that were read */
	bool begun;      /* the answer is going out */
};

bool
cgi_asked(void)
{
	return getenv("GATEWAY_INTERFACE") != NULL || getenv("REQUEST_METHOD") != NULL;
}

static const char *
io_param(void *ctx, const char *name)
{
	(void)ctx;
	return getenv(name);
}

/* Nothing interrupts us but the end of the limit. */
static void
io_limit(void *ctx, int64_t ms)
{
	(void)ctx;
	if (ms > 0)
		limit_start(ms);
	else
		limit_stop();
}

static size_t
io_read(void *ctx, void *p, size_t n)
{
	struct cgi *cgi = ctx;
	size_t done = 0;
	ssize_t got;

	while (done < n) {
		got = read(STDIN_FILENO, (char *)p + done, n - done);
		if (got <= 0)
			break;
		done += (size_t)got;
	}
	cgi->taken += (long long)done;
	return done;
}

/*
 * Read what nobody wanted of the body: Apache loses the answer of a program that did not
 * take all of it. Without an announced length stdin ends with it only where it came in
 * chunks. Whoever calls has set the limit for it.
 */
static void
drain(const struct cgi *cgi)
{
	const char *length = getenv("CONTENT_LENGTH"), *coding = getenv("HTTP_TRANSFER_ENCODING");
	long long left = length != NULL && length[0] != '\0' ? strtoll(length, NULL, 10)
	                 : coding != NULL && strcmp(coding, "chunked") == 0 ? LLONG_MAX : 0;
	char trash[65536];
	ssize_t got = 1;

	for (left -= cgi->taken; left > 0 && got > 0; left -= got)
		got = read(STDIN_FILENO, trash, left < (long long)sizeof(trash) ? (size_t)left
		                                                               : sizeof(trash));
}

static bool
io_write(void *ctx, const void *p, size_t n)
{
	struct cgi *cgi = ctx;
	const char *at = p;
	ssize_t put;

	if (!cgi->begun)
		drain(cgi);
	cgi->begun = true;
	while (n > 0) {
		put = write(STDOUT_FILENO, at, n);
		if (put <= 0)
			return false;
		at += put;
		n -= (size_t)put;
	}
	return true;
}

/* The web server ends its answer when stdout closes. The number stays taken:
 * a file that got it by chance would be written to by whoever prints. */
static void
io_finish(void *ctx)
{
	int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);

	io_limit(ctx, 0);
	if (fd < 0 || dup2(fd, STDOUT_FILENO) < 0)
		close(STDOUT_FILENO);
	if (fd > STDOUT_FILENO)
		close(fd);
}

static bool
io_wanted(void *ctx, int ms)
{
	(void)ctx;
	usleep((useconds_t)ms * 1000);
	return false; /* it has a process of its own */
}

static const struct io cgi_io = {
	io_param, io_limit, io_read, io_write, io_finish, io_wanted,
};

/* A web server that loses patience sends TERM: not in the middle of this. */
static void
hold_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
}

int
cgi_run(struct server *s)
{
	struct cgi cgi = { 0 };
	struct request r;

	hold_signals();
	limit_init();
	request_init(&r, s);
	request_serve(&r, &cgi_io, &cgi);
	request_free(&r);
	return 0;
}

void
cgi_fail(void)
{
	static const char answer[] =
	    "Status: 500 Internal Server Error\r\n"
	    "Content-Type: application/json\r\n"
	    "Cache-Control: private, no-store\r\n"
	    "\r\n"
	    "{\"error\":{\"code\":\"internal_error\",\"message\":\"The server's "
	    "configuration is not right; its error log tells why.\"}}\n";

	hold_signals();
	io_write(&(struct cgi){ 0 }, answer, sizeof(answer) - 1);
}
