/* The FastCGI worker, see fcgi.h. */
#include "http/fcgi.h"

#include "base/clock.h"
#include "base/log.h"
#include "http/limit.h"
#include "http/request.h"

#include <errno.h>
#include <fcgiapp.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

/* What a web server may have sent beyond a body before we no longer read it
 * all, but let the library wait for it to hang up. */
#define DRAIN_BYTES 65536

/* How often a worker that lets time pass looks whether it is wanted. */
#define MOMENT_US 2000

static volatile sig_atomic_t stop;   /* leave after this request */
static volatile sig_atomic_t reopen; /* open the log files again */

static void
on_stop(int sig)
{
	(void)sig;
	stop = 1;
}

static void
on_reopen(int sig)
{
	(void)sig;
	reopen = 1;
}

bool
fcgi_asked(void)
{
	int listening = 0;
	socklen_t n = sizeof(listening);

	return getsockopt(STDIN_FILENO, SOL_SOCKET, SO_ACCEPTCONN, &listening, &n) == 0 &&
	       listening;
}

/*
 * Handle the signals that end or disturb a worker, and block them; *waiting
 * is the mask while we wait for a request. The timer of limits and locks
 * (SIGALRM) stays free. Handlers of ours, set first, are kept by libfcgi.
 */
static void
hold_signals(bool in_pool, sigset_t *waiting)
{
	struct sigaction sa = { .sa_handler = on_stop };
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, waiting);
	for (int i = 1; i < NSIG; i++)
		if (sigismember(&set, i) == 1)
			sigdelset(waiting, i);
	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGUSR1, &sa, NULL);
	/* A terminal's INT and HUP go to the whole group: the master tells us. */
	if (in_pool)
		sa.sa_handler = SIG_IGN;
	sigaction(SIGINT, &sa, NULL);
	if (!in_pool)
		sa.sa_handler = on_reopen;
	sigaction(SIGHUP, &sa, NULL);
	sa.sa_handler = SIG_IGN;
	sigaction(SIGPIPE, &sa, NULL);
}

/* Something to wait with: a connection wakes one worker, not all. */
static int
make_waiter(void)
{
	struct epoll_event ev = { .events = EPOLLIN | EPOLLEXCLUSIVE };
	int flags = fcntl(STDIN_FILENO, F_GETFL);
	int fd = epoll_create1(EPOLL_CLOEXEC);

	/* Another worker may take the connection that woke us: then accept()
	 * must come back, or signals would stay blocked. */
	if (fd >= 0 && flags >= 0 &&
	    fcntl(STDIN_FILENO, F_SETFL, flags | O_NONBLOCK) == 0 &&
	    epoll_ctl(fd, EPOLL_CTL_ADD, STDIN_FILENO, &ev) == 0)
		return fd;
	log_write(LOG_ERROR, "can't wait for connections: %s", strerror(errno));
	if (fd >= 0)
		close(fd);
	return -1;
}

/*
 * Wait for a connection with signals let in. 1: look for one, 0: we are to
 * leave, -1: failed. A signal that came during the last request takes effect
 * before the wait: epoll_pwait() alone would pass it over for as long as
 * requests keep coming.
 */
static int
wait_for_request(int waiter, const sigset_t *waiting, const struct board *board)
{
	struct epoll_event ev;
	sigset_t held;
	int n;

	sigprocmask(SIG_SETMASK, waiting, &held);
	sigprocmask(SIG_SETMASK, &held, NULL);
	if (reopen) {
		reopen = 0;
		log_reopen();
	}
	if (stop && (board == NULL || !board_draining(board)))
		return 0;
	n = epoll_pwait(waiter, &ev, 1, stop ? 0 : -1, waiting);
	if (n < 0 && errno != EINTR) {
		log_write(LOG_ERROR, "can't wait for connections: %s", strerror(errno));
		return -1;
	}
	if (n < 0 && stop && (board == NULL || !board_draining(board)))
		return 0;
	/* A service manager that starts another command on this socket, as for a
	 * reload, makes it a blocking one again, for all. */
	fcntl(STDIN_FILENO, F_SETFL, fcntl(STDIN_FILENO, F_GETFL) | O_NONBLOCK);
	return n == 0 ? 0 : 1; /* 0: told to leave, and the queue is empty */
}

/* The library's request and what we know of it. */
struct connection {
	FCGX_Request fcgx;
	const struct board *board; /* of the pool; NULL: nobody knows of other workers */
};

static const char *
io_param(void *ctx, const char *name)
{
	struct connection *c = ctx;

	return FCGX_GetParam(name, c->fcgx.envp);
}

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
	struct connection *c = ctx;
	size_t done = 0;

	while (done < n) { /* the library takes EINTR for the end */
		size_t part = n - done > 1 << 20 ? 1 << 20 : n - done;
		int got = FCGX_GetStr((char *)p + done, (int)part, c->fcgx.in);

		if (got <= 0)
			break;
		done += (size_t)got;
	}
	return done;
}

static bool
io_write(void *ctx, const void *p, size_t n)
{
	struct connection *c = ctx;
	const char *at = p;

	while (n > 0) {
		size_t part = n > 1 << 20 ? 1 << 20 : n;

		if (FCGX_PutStr(at, (int)part, c->fcgx.out) != (int)part)
			return false;
		at += part;
		n -= part;
	}
	return true;
}

/* Whether the request was read to its end; a little is read for that. */
static bool
read_whole(FCGX_Stream *in)
{
	char trash[4096];
	int got, all = 0;

	do
		got = FCGX_GetStr(trash, sizeof(trash), in);
	while (got == (int)sizeof(trash) && (all += got) < DRAIN_BYTES);
	return got < (int)sizeof(trash) && FCGX_GetError(in) == 0;
}

/*
 * Send the answer off. A detached connection is closed at once, which is
 * three times as fast as waiting for the web server to hang up; but with
 * bytes unread that would reset it and lose the answer (platform.md 1.2).
 */
static void
io_finish(void *ctx)
{
	struct connection *c = ctx;

	if (read_whole(c->fcgx.in))
		FCGX_Detach(&c->fcgx);
	FCGX_Finish_r(&c->fcgx);
	/* A kept connection would pin this worker: the next request on it is
	 * welcome on a new one. */
	if (c->fcgx.ipcFd >= 0)
		FCGX_Free(&c->fcgx, 1);
	limit_stop();
}

/* Whether a signal is held that waits for the end of this request. */
static bool
is_told(void)
{
	sigset_t pending;

	return sigpending(&pending) == 0 &&
	       (sigismember(&pending, SIGTERM) == 1 || sigismember(&pending, SIGUSR1) == 1 ||
	        sigismember(&pending, SIGINT) == 1 || sigismember(&pending, SIGHUP) == 1);
}

/* Whether another worker waits for requests, or will in a moment. */
static bool
has_idle(const struct board *b)
{
	return board_count(b, SLOT_IDLE) > 0 || board_count(b, SLOT_STARTING) > 0;
}

/*
 * Where it was told to leave, or no other worker of the pool is idle, the next request
 * will wait for this one; without a pool nobody knows of others, and in a pool of one there
 * are none: so one that is in the socket's queue does. (Else nothing would ever be done in
 * spare time.)
 */
static bool
io_wanted(void *ctx, int ms)
{
	const struct connection *c = ctx;
	struct pollfd queue = { STDIN_FILENO, POLLIN, 0 };
	int64_t end = clock_mono_ms() + ms;

	for (;; usleep(MOMENT_US)) {
		if (is_told() || (c->board != NULL ? !has_idle(c->board) : poll(&queue, 1, 0) > 0))
			return true;
		if (clock_mono_ms() >= end)
			return false;
	}
}

static const struct io fcgi_io = {
	io_param, io_limit, io_read, io_write, io_finish, io_wanted,
};

/*
 * Take one connection and serve it. 1: served, 0: there was none, -1: the
 * socket is broken. One whose parameters don't come in time is dropped.
 */
static int
serve_one(struct request *r, struct connection *c)
{
	int rc;

	limit_start(r->server->config->transfer_seconds * 1000);
	rc = FCGX_Accept_r(&c->fcgx);
	limit_stop();
	if (rc < 0) {
		if (rc == -EAGAIN || rc == -ECONNABORTED || rc == -EINTR)
			return 0;
		log_write(LOG_ERROR, "accept: %s (%d)", strerror(-rc), rc);
		return -1;
	}
	request_serve(r, &fcgi_io, c);
	return 1;
}

int
fcgi_run(struct server *s, struct board *board, int slot, int64_t max_requests)
{
	struct connection c = { .board = board != NULL && board_slots(board) > 1 ? board : NULL };
	struct request r;
	sigset_t waiting;
	int64_t served = 0;
	int waiter, rc = 0;

	s->board = board;
	hold_signals(board != NULL, &waiting);
	limit_init();
	if (FCGX_Init() != 0 || FCGX_InitRequest(&c.fcgx, STDIN_FILENO, 0) != 0 ||
	    (waiter = make_waiter()) < 0)
		return 1;
	request_init(&r, s);
	board_idle(board, slot);
	while (max_requests == 0 || served < max_requests) {
		if ((rc = wait_for_request(waiter, &waiting, board)) <= 0)
			break;
		board_busy(board, slot);
		rc = serve_one(&r, &c);
		board_idle(board, slot);
		if (rc < 0)
			break;
		served += rc;
	}
	request_free(&r);
	close(waiter);
	return rc < 0 ? 1 : 0;
}
