/* The master of a pool, see master.h. */
#define _GNU_SOURCE /* ppoll */
#include "http/master.h"

#include "base/clock.h"
#include "base/log.h"
#include "http/board.h"
#include "http/fcgi.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define TICK_MS 1000          /* how often the pool is looked over */
#define YOUNG_MS 2000         /* a worker that dies before that is a failure */
#define BACKOFF_MIN_MS 100    /* after one failure; doubled with each more */
#define BACKOFF_MAX_MS 10000
#define GRACE_MS 30000        /* for a worker that was told to leave */

/* A worker as the master knows it; its slot on the board has its index. */
struct worker {
	pid_t pid;            /* 0: none */
	int64_t started_ms;
	unsigned generation;  /* of the configuration it runs with */
	int64_t leaving_ms;   /* when it was told to leave; 0: it was not */
	bool stuck;           /* it was said how long its request takes */
};

struct master {
	struct config *config;
	const struct master_options *options;
	struct board *board;
	struct worker *workers;   /* options->max_workers of them */
	pid_t pid;                /* our own */
	unsigned generation;
	int failures;             /* in a row */
	int64_t next_start_ms;    /* no fork before that */
	int64_t all_busy_ms;      /* when no worker was idle, the last time */
	int pid_fd;               /* the locked pid file, or -1 */
	sigset_t waiting;         /* the mask while it waits */
};

static volatile sig_atomic_t stop, reload;

static void
on_signal(int sig)
{
	if (sig == SIGHUP)
		reload = 1;
	else if (sig != SIGCHLD)
		stop = 1;
}

/* Signals come only while the master waits. */
static void
hold_signals(struct master *m)
{
	static const int signals[] = { SIGTERM, SIGINT, SIGUSR1, SIGHUP, SIGCHLD };
	struct sigaction sa = { .sa_handler = on_signal };
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
		sigaddset(&set, signals[i]);
		sigaction(signals[i], &sa, NULL);
	}
	signal(SIGPIPE, SIG_IGN);
	sigprocmask(SIG_BLOCK, &set, &m->waiting);
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		sigdelset(&m->waiting, signals[i]);
}

/* --- the socket and the pid file --- */

/* Whether somebody accepts connections there. */
static bool
is_served(const struct sockaddr_un *addr)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool served = fd >= 0 &&
	              connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) == 0;

	if (fd >= 0)
		close(fd);
	return served;
}

/* Bind with 0660 from the start; only the master's one thread sees the mask. */
static int
bind_socket(int fd, const struct sockaddr_un *addr)
{
	mode_t mask = umask(0117);
	int rc = bind(fd, (const struct sockaddr *)addr, sizeof(*addr));

	umask(mask);
	return rc;
}

enum rc
master_listen(const char *path, struct err *err)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct stat st;
	enum rc rc = RC_OK;
	int fd;

	if (strlen(path) >= sizeof(addr.sun_path))
		return err_set(err, RC_INVALID, "%s: a socket's path has at most %zu bytes",
		               path, sizeof(addr.sun_path) - 1);
	memcpy(addr.sun_path, path, strlen(path));
	if (lstat(path, &st) == 0) {
		if (!S_ISSOCK(st.st_mode))
			return err_set(err, RC_CONFLICT, "%s is there and no socket", path);
		if (is_served(&addr))
			return err_set(err, RC_CONFLICT, "%s: a server listens there already", path);
		unlink(path);
	}
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	if (fd < 0 || bind_socket(fd, &addr) != 0 || listen(fd, SOMAXCONN) != 0 ||
	    (fd != STDIN_FILENO && dup2(fd, STDIN_FILENO) < 0))
		rc = err_set(err, RC_UNAVAILABLE, "can't listen on %s: %s", path,
		             strerror(errno));
	if (fd > STDIN_FILENO)
		close(fd);
	return rc;
}

/* Write our pid to the file and keep it locked: a second master is refused. */
static bool
take_pid_file(struct master *m)
{
	const char *path = m->options->pid_file;
	char text[24];
	int n;

	m->pid_fd = -1;
	if (path == NULL)
		return true;
	m->pid_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	if (m->pid_fd < 0) {
		log_write(LOG_ERROR, "can't open %s: %s", path, strerror(errno));
		return false;
	}
	if (flock(m->pid_fd, LOCK_EX | LOCK_NB) != 0) {
		log_write(LOG_ERROR, "%s: a server runs with this pid file already", path);
		close(m->pid_fd);
		return false;
	}
	n = snprintf(text, sizeof(text), "%d\n", (int)getpid());
	if (ftruncate(m->pid_fd, 0) != 0 || write(m->pid_fd, text, (size_t)n) != n) {
		log_write(LOG_ERROR, "can't write %s: %s", path, strerror(errno));
		return false;
	}
	return true;
}

static void
drop_pid_file(struct master *m)
{
	if (m->pid_fd < 0)
		return;
	unlink(m->options->pid_file);
	close(m->pid_fd);
}

/* --- workers --- */

static int
count(const struct master *m)
{
	int n = 0;

	for (int i = 0; i < m->options->max_workers; i++)
		n += m->workers[i].pid != 0;
	return n;
}

/* Workers that are there to stay. */
static int
count_staying(const struct master *m)
{
	int n = 0;

	for (int i = 0; i < m->options->max_workers; i++)
		n += m->workers[i].pid != 0 && m->workers[i].leaving_ms == 0;
	return n;
}

/* Recycling spread by a tenth, so that the workers don't leave together. */
static int64_t
requests_of(const struct master *m, int slot)
{
	int64_t max = m->options->max_requests;

	return max - max / 10 * slot / m->options->max_workers;
}

/* The worker's life, in the child. */
static void
be_worker(struct master *m, int slot)
{
	struct server s;
	int rc;

	/* A master that was killed leaves no pool behind. */
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != m->pid)
		exit(0);
	signal(SIGCHLD, SIG_DFL);
	if (m->pid_fd >= 0)
		close(m->pid_fd);
	server_init(&s, m->config, m->options->max_workers);
	rc = fcgi_run(&s, m->board, slot, requests_of(m, slot));
	server_close(&s);
	free(m->workers);
	board_free(m->board);
	exit(rc);
}

/* Fork one worker into a free slot, unless failures say to wait. */
static bool
start_worker(struct master *m)
{
	int64_t now = clock_mono_ms();
	pid_t pid;
	int i;

	for (i = 0; i < m->options->max_workers && m->workers[i].pid != 0; i++)
		;
	if (i == m->options->max_workers || now < m->next_start_ms)
		return false;
	board_set(m->board, i, SLOT_STARTING);
	pid = fork();
	if (pid == 0)
		be_worker(m, i);
	if (pid < 0) {
		log_write(LOG_ERROR, "can't fork a worker: %s", strerror(errno));
		board_set(m->board, i, SLOT_FREE);
		m->next_start_ms = now + TICK_MS;
		return false;
	}
	m->workers[i] = (struct worker){ pid, now, m->generation, 0, false };
	return true;
}

static void
tell_to_leave(struct master *m, int slot)
{
	struct worker *w = &m->workers[slot];

	if (w->leaving_ms == 0)
		w->leaving_ms = clock_mono_ms();
	kill(w->pid, SIGTERM);
}

/* A worker died by itself: say so, and wait longer each time in a row. */
static void
note_failure(struct master *m, const struct worker *w, int status)
{
	int64_t now = clock_mono_ms(), wait = BACKOFF_MIN_MS;

	if (WIFSIGNALED(status))
		log_write(LOG_ERROR, "worker %d died of signal %d (%s)", (int)w->pid,
		          WTERMSIG(status), strsignal(WTERMSIG(status)));
	else
		log_write(LOG_ERROR, "worker %d failed with status %d", (int)w->pid,
		          WEXITSTATUS(status));
	if (now - w->started_ms >= YOUNG_MS) {
		m->failures = 0;
		return;
	}
	for (int i = 0; i < m->failures && wait < BACKOFF_MAX_MS; i++)
		wait *= 2;
	m->failures++;
	m->next_start_ms = now + (wait < BACKOFF_MAX_MS ? wait : BACKOFF_MAX_MS);
}

/* Collect those that ended. */
static void
reap(struct master *m)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		int i;

		for (i = 0; i < m->options->max_workers && m->workers[i].pid != pid; i++)
			;
		if (i == m->options->max_workers)
			continue; /* a child of whoever was this process before exec */
		if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
			m->failures = 0;
		else
			note_failure(m, &m->workers[i], status);
		m->workers[i] = (struct worker){ 0 };
		board_set(m->board, i, SLOT_FREE);
	}
}

/* Whether a worker has been at one request for too long; said half-way. */
static bool
is_stuck(struct master *m, int slot)
{
	int64_t limit = m->options->stuck_seconds * INT64_C(1000);
	int64_t busy = board_busy_ms(m->board, slot);
	struct worker *w = &m->workers[slot];

	if (busy < limit) {
		w->stuck = false;
	} else if (!w->stuck) {
		w->stuck = true;
		log_write(LOG_WARN, "worker %d has been at one request for %d s",
		          (int)w->pid, m->options->stuck_seconds);
	}
	return busy >= 2 * limit;
}

/* Kill those that don't end their request. */
static void
kill_stuck(struct master *m)
{
	int64_t now = clock_mono_ms();

	for (int i = 0; i < m->options->max_workers; i++) {
		struct worker *w = &m->workers[i];

		if (w->pid == 0 || (w->leaving_ms != 0 ? now - w->leaving_ms < GRACE_MS
		                                       : !is_stuck(m, i)))
			continue;
		log_write(LOG_ERROR, "worker %d does not end its request: killed", (int)w->pid);
		kill(w->pid, SIGKILL);
		w->leaving_ms = now;
	}
}

/* --- the size of the pool --- */

static int
idle_workers(const struct master *m)
{
	return board_count(m->board, SLOT_IDLE) + board_count(m->board, SLOT_STARTING);
}

/* As many as asked for; one more whenever all are busy. */
static void
grow(struct master *m)
{
	while (count_staying(m) < m->options->workers && start_worker(m))
		;
	if (idle_workers(m) > 0)
		return;
	m->all_busy_ms = clock_mono_ms();
	start_worker(m);
}

/* One less, when for some time there was always an idle one to spare. */
static void
shrink(struct master *m)
{
	int64_t now = clock_mono_ms();

	if (count_staying(m) <= m->options->workers || idle_workers(m) < 2 ||
	    now - m->all_busy_ms < m->options->idle_seconds * INT64_C(1000))
		return;
	for (int i = m->options->max_workers - 1; i >= 0; i--)
		if (m->workers[i].pid != 0 && m->workers[i].leaving_ms == 0 &&
		    board_state(m->board, i) == SLOT_IDLE) {
			tell_to_leave(m, i);
			return;
		}
}

/* After HUP: replace the workers of older generations, one after the other,
 * each after the one before has gone and its successor is at work. */
static void
roll(struct master *m)
{
	int old = -1;

	for (int i = 0; i < m->options->max_workers; i++) {
		const struct worker *w = &m->workers[i];

		if (w->pid == 0)
			continue;
		if (w->leaving_ms != 0 || board_state(m->board, i) == SLOT_STARTING)
			return;
		if (w->generation != m->generation)
			old = i;
	}
	/* While new ones die young, the old ones stay. */
	if (old < 0 || clock_mono_ms() < m->next_start_ms)
		return;
	tell_to_leave(m, old);
	start_worker(m);
}

static void
load_again(struct master *m)
{
	struct config *fresh = malloc(sizeof(*fresh));
	struct err err;

	reload = 0;
	if (fresh != NULL && config_load(m->options->config_file, m->options->data,
	                                 fresh, &err) == RC_OK &&
	    config_open_logs(fresh, &err) == RC_OK) {
		*m->config = *fresh;
		log_write(LOG_INFO, "configuration read again; replacing the workers");
	} else {
		log_reopen();
		log_write(LOG_ERROR, "the configuration stays as it was: %s",
		          fresh != NULL ? err.text : "out of memory");
	}
	free(fresh);
	m->generation++;
}

/* --- the loop --- */

/* Wait for a signal, a worker that found all others busy, or a while. */
static void
wait_for_news(struct master *m, int ms)
{
	struct pollfd pfd = { board_fd(m->board), POLLIN, 0 };
	struct timespec t = { ms / 1000, ms % 1000 * 1000000L };

	if (ppoll(&pfd, 1, &t, &m->waiting) > 0)
		board_clear(m->board);
}

/* Whether workers are being replaced: some leave, start or are of an older generation. */
static bool
is_rolling(const struct master *m)
{
	for (int i = 0; i < m->options->max_workers; i++) {
		const struct worker *w = &m->workers[i];

		if (w->pid != 0 && (w->leaving_ms != 0 || w->generation != m->generation ||
		                    board_state(m->board, i) == SLOT_STARTING))
			return true;
	}
	return false;
}

/* How long to wait: shorter where something is about to happen. */
static int
next_wait(const struct master *m)
{
	int64_t left = m->next_start_ms - clock_mono_ms();

	if (is_rolling(m))
		return 50;
	return left > 0 && left < TICK_MS ? (int)left : TICK_MS;
}

static void
look_after(struct master *m)
{
	if (reload)
		load_again(m);
	grow(m);
	shrink(m);
	roll(m);
	kill_stuck(m);
}

/* Let all workers end what they do. Where the socket is ours, first nobody
 * new can come, and then all who came are served. */
static void
drain(struct master *m)
{
	log_write(LOG_INFO, "stopping");
	if (m->options->listen != NULL) {
		unlink(m->options->listen);
		board_drain(m->board);
	}
	for (int i = 0; i < m->options->max_workers; i++)
		if (m->workers[i].pid != 0)
			tell_to_leave(m, i);
	while (count(m) > 0) {
		wait_for_news(m, 100);
		reap(m);
		kill_stuck(m);
	}
}

int
master_run(struct config *config, const struct master_options *options)
{
	struct master m = {
		.config = config, .options = options, .pid = getpid(), .pid_fd = -1,
	};

	m.board = board_new(options->max_workers);
	m.workers = calloc((size_t)options->max_workers, sizeof(*m.workers));
	if (m.board == NULL || m.workers == NULL || !take_pid_file(&m))
		return 1;
	hold_signals(&m);
	log_write(LOG_INFO, "serving %s with %d to %d workers", config->data,
	          options->workers, options->max_workers);
	while (!stop) {
		look_after(&m);
		wait_for_news(&m, next_wait(&m));
		reap(&m);
	}
	drain(&m);
	drop_pid_file(&m);
	free(m.workers);
	board_free(m.board);
	return 0;
}
