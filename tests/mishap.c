/* Mishaps at calls that write, see mishap.h. */
#include "mishap.h"

#include "powercut.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static struct mishap own; /* until it is shared */
struct mishap *mishap = &own;
static char shared[600]; /* the plan's file; "": none */

static bool
map(const char *path, int flags)
{
	void *p = MAP_FAILED;
	int fd = open(path, flags | O_RDWR | O_CLOEXEC, 0600);

	if (fd >= 0 && ((flags & O_CREAT) == 0 || ftruncate(fd, sizeof(own)) == 0))
		p = mmap(NULL, sizeof(own), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (fd >= 0)
		close(fd);
	if (p == MAP_FAILED)
		return false;
	mishap = p;
	return true;
}

__attribute__((constructor)) static void
begin(void)
{
	const char *path = getenv("TD_SYNC_MISHAP");

	if (path != NULL && !map(path, 0))
		abort(); /* a test without its mishaps would prove nothing */
}

bool
mishap_share(const char *path)
{
	snprintf(shared, sizeof(shared), "%s", path);
	return map(path, O_CREAT | O_TRUNC);
}

const char *
mishap_file(void)
{
	return shared[0] != '\0' ? shared : NULL;
}

void
mishap_plan(int at, int action, bool lasting, const char *where)
{
	mishap->at = 0;
	mishap->action = action;
	mishap->lasting = lasting;
	mishap->count = mishap->struck = 0;
	snprintf(mishap->where, sizeof(mishap->where), "%s", where);
	__atomic_store_n(&mishap->at, at, __ATOMIC_SEQ_CST);
}

void
mishap_none(void)
{
	__atomic_store_n(&mishap->at, 0, __ATOMIC_SEQ_CST);
}

/* Whether a call on this file counts; path NULL: it is fd's. */
static bool
is_meant(int fd, const char *path)
{
	char link[40], name[4096];
	ssize_t n;

	if (mishap->where[0] == '\0')
		return true;
	if (path == NULL) {
		snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
		n = readlink(link, name, sizeof(name) - 1);
		name[n < 0 ? 0 : n] = '\0';
		path = name;
	}
	return strstr(path, mishap->where) != NULL;
}

/* Count a call; whether it shall fail, with errno set. Or end here. */
static bool
strikes(const char *call, int fd, const char *path)
{
	int at = __atomic_load_n(&mishap->at, __ATOMIC_SEQ_CST), n, before = errno;

	if (at == 0 || strstr(call, mishap->call) == NULL || !is_meant(fd, path)) {
		errno = before;
		return false;
	}
	n = __atomic_add_fetch(&mishap->count, 1, __ATOMIC_SEQ_CST);
	if (n < at || (n > at && !mishap->lasting)) {
		errno = before;
		return false;
	}
	__atomic_add_fetch(&mishap->struck, 1, __ATOMIC_SEQ_CST);
	if (mishap->action == MISHAP_KILL)
		kill(getpid(), SIGKILL);
	errno = mishap->action == MISHAP_SHORT ? ENOSPC : mishap->action;
	return true;
}

/* The function that ours stands in front of. */
static void *
next(const char *name)
{
	void *p = dlsym(RTLD_NEXT, name);

	if (p == NULL)
		abort();
	return p;
}
#define NEXT(result, name, ...) \
	static result (*real)(__VA_ARGS__); \
	if (real == NULL) \
		*(void **)&real = next(#name)

#pragma GCC visibility push(default)

ssize_t
write(int fd, const void *p, size_t n)
{
	NEXT(ssize_t, write, int, const void *, size_t);
	return strikes(__func__, fd, NULL) ? -1 : real(fd, p, n);
}

ssize_t
writev(int fd, const struct iovec *v, int n)
{
	NEXT(ssize_t, writev, int, const struct iovec *, int);
	return strikes(__func__, fd, NULL) ? -1 : real(fd, v, n);
}

ssize_t
pwrite64(int fd, const void *p, size_t n, off64_t at)
{
	ssize_t put;

	NEXT(ssize_t, pwrite64, int, const void *, size_t, off64_t);
	if (!strikes(__func__, fd, NULL))
		put = real(fd, p, n, at);
	else if (mishap->action == MISHAP_SHORT && n > 1)
		put = real(fd, p, n / 2, at);
	else
		return -1;
	if (put > 0)
		powercut_wrote(mishap->disk, fd, at, p, (size_t)put);
	return put;
}

int
fsync(int fd)
{
	bool works;

	NEXT(int, fsync, int);
	works = !strikes(__func__, fd, NULL);
	powercut_sync(mishap->disk, fd, works);
	return works ? real(fd) : -1;
}

int
fdatasync(int fd)
{
	bool works;

	NEXT(int, fdatasync, int);
	works = !strikes(__func__, fd, NULL);
	powercut_sync(mishap->disk, fd, works);
	return works ? real(fd) : -1;
}

int
ftruncate64(int fd, off64_t n)
{
	NEXT(int, ftruncate64, int, off64_t);
	if (strikes(__func__, fd, NULL))
		return -1;
	powercut_cut(mishap->disk, fd, n);
	return real(fd, n);
}

/* Where off_t has 64 bits they are the same. */
#undef pwrite
#undef ftruncate
ssize_t pwrite(int fd, const void *p, size_t n, off_t at)
	__attribute__((alias("pwrite64")));
int ftruncate(int fd, off_t n) __attribute__((alias("ftruncate64")));

int
rename(const char *from, const char *to)
{
	NEXT(int, rename, const char *, const char *);
	return strikes(__func__, -1, to) ? -1 : real(from, to);
}

int
unlink(const char *path)
{
	NEXT(int, unlink, const char *);
	return strikes(__func__, -1, path) ? -1 : real(path);
}

int
mkdir(const char *path, mode_t mode)
{
	NEXT(int, mkdir, const char *, mode_t);
	return strikes(__func__, -1, path) ? -1 : real(path, mode);
}

ssize_t
send(int fd, const void *p, size_t n, int flags)
{
	NEXT(ssize_t, send, int, const void *, size_t, int);
	return strikes(__func__, fd, NULL) ? -1 : real(fd, p, n, flags);
}

ssize_t
sendto(int fd, const void *p, size_t n, int flags, const struct sockaddr *to, socklen_t len)
{
	NEXT(ssize_t, sendto, int, const void *, size_t, int, const struct sockaddr *,
	     socklen_t);
	return strikes(__func__, fd, NULL) ? -1 : real(fd, p, n, flags, to, len);
}

ssize_t
sendmsg(int fd, const struct msghdr *m, int flags)
{
	NEXT(ssize_t, sendmsg, int, const struct msghdr *, int);
	return strikes(__func__, fd, NULL) ? -1 : real(fd, m, flags);
}

int
open64(const char *path, int flags, ...)
{
	mode_t mode = 0;
	va_list ap;

	NEXT(int, open64, const char *, int, ...);
	if ((flags & O_CREAT) != 0) {
		va_start(ap, flags);
		mode = (mode_t)va_arg(ap, int);
		va_end(ap);
		if (access(path, F_OK) != 0 && strikes(__func__, -1, path))
			return -1;
	}
	return real(path, flags, mode);
}
#undef open
int open(const char *path, int flags, ...) __attribute__((alias("open64")));

void *
mmap64(void *p, size_t n, int prot, int flags, int fd, off64_t at)
{
	NEXT(void *, mmap64, void *, size_t, int, int, int, off64_t);
	if (fd >= 0 && (flags & MAP_SHARED) != 0 && (prot & PROT_WRITE) != 0 &&
	    strikes(__func__, fd, NULL))
		return MAP_FAILED;
	return real(p, n, prot, flags, fd, at);
}
#undef mmap
void *mmap(void *p, size_t n, int prot, int flags, int fd, off_t at)
	__attribute__((alias("mmap64")));

int
clock_gettime(clockid_t clock, struct timespec *ts)
{
	int rc;

	NEXT(int, clock_gettime, clockid_t, struct timespec *);
	rc = real(clock, ts);
	if (clock == CLOCK_REALTIME)
		ts->tv_sec += mishap->clock_s;
	return rc;
}

time_t
time(time_t *out)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	if (out != NULL)
		*out = ts.tv_sec;
	return ts.tv_sec;
}

int
gettimeofday(struct timeval *restrict tv, void *restrict zone)
{
	struct timespec ts;

	(void)zone;
	clock_gettime(CLOCK_REALTIME, &ts);
	*tv = (struct timeval){ ts.tv_sec, ts.tv_nsec / 1000 };
	return 0;
}

#pragma GCC visibility pop
