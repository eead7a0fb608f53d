/* Lock files, see lock.h. */
#include "base/lock.h"

#include "base/clock.h"
#include "base/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <assert.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/time.h>
#include <unistd.h>

/* How often the alarm is repeated: see wait_for(). */
#define AGAIN_MS 10

struct lock {
	char *path;
	int fd;          /* -1: the path could not be opened again */
	struct fs_id id; /* of the file that is open */
	bool held;
};

/* Open the file, or the one that the path names now. */
static bool
open_file(struct lock *l)
{
	if (l->fd >= 0)
		close(l->fd);
	l->fd = open(l->path, O_RDWR | O_CREAT | O_CLOEXEC, 0660);
	return l->fd >= 0 && fs_identify_open(l->fd, &l->id);
}

enum rc
lock_open(const char *path, struct lock **out, struct err *err)
{
	struct lock *l = calloc(1, sizeof(*l));

	*out = NULL;
	if (l == NULL || (l->path = strdup(path)) == NULL) {
		free(l);
		return err_set(err, RC_FAULT, "out of memory");
	}
	l->fd = -1;
	if (!open_file(l)) {
		err_set(err, RC_UNAVAILABLE, "can't open the lock file %s: %s",
		        path, strerror(errno));
		lock_close(l);
		return RC_UNAVAILABLE;
	}
	*out = l;
	return RC_OK;
}

void
lock_close(struct lock *l)
{
	if (l == NULL)
		return;
	lock_release(l);
	if (l->fd >= 0)
		close(l->fd);
	free(l->path);
	free(l);
}

static void
on_alarm(int sig)
{
	(void)sig; /* only there to end flock(2) with EINTR */
}

/* What a wait changes of the process, to be put back after it. */
struct alarm {
	struct sigaction action;
	struct itimerval timer;
	sigset_t mask;
	int64_t start_us;
};

static struct timeval
timeval_of_us(int64_t us)
{
	if (us < 1)
		us = 1; /* 0 would mean: no timer */
	return (struct timeval){ us / 1000000, us % 1000000 };
}

static void
alarm_start(struct alarm *a, int64_t in_ms)
{
	struct sigaction sa = { .sa_handler = on_alarm }; /* no SA_RESTART */
	struct itimerval timer = {
		.it_value = timeval_of_us(in_ms * 1000),
		.it_interval = timeval_of_us(AGAIN_MS * 1000),
	};
	sigset_t set;

	sigemptyset(&sa.sa_mask);
	sigemptyset(&set);
	sigaddset(&set, SIGALRM);
	a->start_us = clock_mono_us();
	sigaction(SIGALRM, &sa, &a->action);
	setitimer(ITIMER_REAL, &timer, &a->timer);
	pthread_sigmask(SIG_UNBLOCK, &set, &a->mask);
}

static void
alarm_stop(struct alarm *a)
{
	struct itimerval off = { 0 };

	/* In this order: no alarm of ours may meet the caller's handler. */
	setitimer(ITIMER_REAL, &off, NULL);
	pthread_sigmask(SIG_SETMASK, &a->mask, NULL);
	sigaction(SIGALRM, &a->action, NULL);
	if (a->timer.it_value.tv_sec != 0 || a->timer.it_value.tv_usec != 0) {
		int64_t left = (int64_t)a->timer.it_value.tv_sec * 1000000 +
		    a->timer.it_value.tv_usec - (clock_mono_us() - a->start_us);

		a->timer.it_value = timeval_of_us(left);
		setitimer(ITIMER_REAL, &a->timer, NULL);
	}
}

/*
 * Stand in the kernel's queue until the deadline. EINTR loses the place in
 * it, so the first alarm comes at the deadline and not before; one that comes
 * just before flock() sleeps is lost, therefore it repeats.
 */
static bool
wait_for(struct lock *l, int64_t deadline_ms)
{
	int64_t left = deadline_ms - clock_mono_ms();
	struct alarm alarm;
	bool got = false;

	if (left <= 0)
		return false;
	alarm_start(&alarm, left);
	do {
		if (flock(l->fd, LOCK_EX) == 0) {
			got = true;
			break;
		}
	} while (errno == EINTR && clock_mono_ms() < deadline_ms);
	alarm_stop(&alarm);
	return got;
}

/* Whether the path still names the file that this handle has open. */
static bool
still_there(const struct lock *l)
{
	struct fs_id now;

	return l->fd >= 0 && fs_identify(l->path, &now) && fs_same(now, l->id);
}

enum rc
lock_take(struct lock *l, int64_t deadline_ms)
{
	assert(!l->held);
	for (;;) {
		if (l->fd >= 0 && flock(l->fd, LOCK_EX | LOCK_NB) != 0) {
			if (errno != EWOULDBLOCK && errno != EINTR)
				return RC_FAULT;
			if (!wait_for(l, deadline_ms))
				return RC_BUSY;
		}
		if (still_there(l))
			break;
		/*
		 * Somebody removed or replaced the file: others lock the one
		 * that the path names now, so this lock would mean nothing.
		 */
		if (!open_file(l))
			return RC_UNAVAILABLE;
	}
	l->held = true;
	return RC_OK;
}

void
lock_release(struct lock *l)
{
	if (!l->held)
		return;
	flock(l->fd, LOCK_UN);
	l->held = false;
}

struct fs_id
lock_file(const struct lock *l)
{
	return l->id;
}

bool
lock_held(const struct lock *l)
{
	return l->held;
}

void
lock_note(struct lock *l, const char *note, size_t n)
{
	assert(l->held);
	if (pwrite(l->fd, note, n, 0) != (ssize_t)n)
		return; /* an older note, or part of one, stays */
}

size_t
lock_noted(const struct lock *l, char *note, size_t n)
{
	ssize_t got = l->fd < 0 ? 0 : pread(l->fd, note, n, 0);

	return got < 0 ? 0 : (size_t)got;
}
