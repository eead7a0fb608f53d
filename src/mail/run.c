/* A program that is run, see run.h. */
#define _GNU_SOURCE /* memfd_create(), pipe2(), addclosefrom_np */
#include "mail/run.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

/* How often it is looked whether the program has ended, in ms: no signal of the
 * worker's and no pid descriptor (Linux 5.3) is needed for that. */
#define LOOK_MS 5

#define PATH_DEFAULT "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

/* What the program may know of our environment, and room for all of it. */
static const char *const kept[] = { "PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "TZ", "LANG" };
#define N_KEPT (sizeof(kept) / sizeof(kept[0]))

struct environment {
	struct buf text;
	char *list[N_KEPT + 1];
};

static bool
environment_make(struct environment *e)
{
	size_t at[N_KEPT], n = 0;

	for (size_t i = 0; i < N_KEPT; i++) {
		const char *value = getenv(kept[i]);

		if (value == NULL && i == 0)
			value = PATH_DEFAULT;
		if (value == NULL)
			continue;
		at[n++] = e->text.len;
		buf_addf(&e->text, "%s=%s", kept[i], value);
		buf_add_byte(&e->text, '\0');
	}
	if (e->text.failed)
		return false;
	for (size_t i = 0; i < n; i++) /* now that it moves no more */
		e->list[i] = e->text.p + at[i];
	e->list[n] = NULL;
	return true;
}

/* The input as a file that has no name: however little of it the program
 * reads, nobody waits and no signal is raised. -1: errno says why not. */
static int
input_file(struct span input)
{
	int fd = memfd_create("mail", MFD_CLOEXEC);

	for (ssize_t n; fd >= 0 && input.len > 0; input.p += n, input.len -= (size_t)n)
		if ((n = write(fd, input.p, input.len)) < 0) {
			close(fd);
			fd = -1;
		}
	if (fd >= 0)
		lseek(fd, 0, SEEK_SET);
	return fd;
}

/* Start it; an errno, 0 for none. */
static int
start(const char *const *argv, char **env, int in, int out, pid_t *pid)
{
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attr;
	sigset_t all, none;
	int no;

	if ((no = posix_spawn_file_actions_init(&files)) != 0)
		return no;
	if ((no = posix_spawnattr_init(&attr)) != 0) {
		posix_spawn_file_actions_destroy(&files);
		return no;
	}
	sigfillset(&all);
	sigemptyset(&none);
	/* `in` was opened before `out`: even where some of 0 to 2 were closed, none
	 * of these overwrites what a later one needs. */
	if ((no = posix_spawn_file_actions_adddup2(&files, in, STDIN_FILENO)) == 0 &&
	    (no = posix_spawn_file_actions_adddup2(&files, out, STDOUT_FILENO)) == 0 &&
	    (no = posix_spawn_file_actions_adddup2(&files, out, STDERR_FILENO)) == 0 &&
	    (no = posix_spawn_file_actions_addclosefrom_np(&files, 3)) == 0 &&
	    (no = posix_spawnattr_setsigdefault(&attr, &all)) == 0 &&
	    (no = posix_spawnattr_setsigmask(&attr, &none)) == 0 &&
	    (no = posix_spawnattr_setpgroup(&attr, 0)) == 0 &&
	    (no = posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETPGROUP |
	                                   POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK)) == 0)
		no = posix_spawn(pid, argv[0], &files, &attr, (char *const *)(uintptr_t)argv, env);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&files);
	return no;
}

/* What was printed, while it comes. */
struct output {
	int fd;
	bool ended;
	size_t len;
	char p[sizeof(((struct ran *)NULL)->said)];
};

/* Take what is there; beyond the room for it, it is dropped. */
static void
take_output(struct output *o)
{
	char more[4096];
	ssize_t n;

	while (!o->ended && (n = read(o->fd, more, sizeof(more))) >= 0) {
		size_t room = sizeof(o->p) - o->len;

		o->ended = n == 0;
		memcpy(o->p + o->len, more, (size_t)n < room ? (size_t)n : room);
		o->len += (size_t)n < room ? (size_t)n : room;
	}
}

/* Make one clean line of it: white space is one blank, what else is no text '?'. */
static void
clean(const struct output *o, char said[sizeof(o->p)])
{
	size_t len, n = 0;

	for (size_t i = 0; i < o->len; i += len) {
		unsigned char c = (unsigned char)o->p[i];

		len = utf8_sequence(o->p + i, o->len - i);
		if (c == ' ' || (c >= '\t' && c <= '\r')) {
			if (n > 0 && said[n - 1] != ' ')
				said[n++] = ' ';
		} else if (len == 0 || c < 0x20 || c == 0x7f ||
		           (c == 0xc2 && (unsigned char)o->p[i + 1] < 0xa0)) {
			len = len == 0 ? 1 : len;
			said[n++] = '?';
		} else {
			memcpy(said + n, o->p + i, len);
			n += len;
		}
		if (n + 4 >= sizeof(o->p)) /* no room for a sequence and the end */
			break;
	}
	while (n > 0 && said[n - 1] == ' ')
		n--;
	said[n] = '\0';
}

/* Wait for the end, with what is printed until then. What the program leaves
 * behind (a delivery, as sendmail does) may keep the pipe: it isn't waited for. */
static void
wait_for_end(pid_t pid, int64_t until_ms, struct output *o, struct ran *out)
{
	for (;;) {
		struct pollfd p = { o->ended ? -1 : o->fd, POLLIN, 0 };
		pid_t gone;

		poll(&p, 1, LOOK_MS);
		take_output(o);
		gone = waitpid(pid, &out->status, WNOHANG);
		if (gone == pid || (gone < 0 && errno != EINTR)) {
			take_output(o);
			return;
		}
		if (clock_mono_ms() < until_ms)
			continue;
		kill(-pid, SIGKILL);
		while (waitpid(pid, &out->status, 0) < 0 && errno == EINTR)
			;
		out->late = true;
		return;
	}
}

enum rc
run_program(const char *const *argv, struct span input, int64_t seconds,
            struct ran *out, struct err *err)
{
	struct sigaction child = { .sa_handler = SIG_DFL }, before;
	struct environment env = { 0 };
	struct output o = { 0 };
	int ends[2] = { -1, -1 }, in = -1, no;
	pid_t pid;
	enum rc rc = RC_UNAVAILABLE;

	*out = (struct ran){ 0 };
	if (!environment_make(&env)) {
		rc = err_set(err, RC_FAULT, "out of memory");
		goto done;
	}
	if ((in = input_file(input)) < 0 || pipe2(ends, O_CLOEXEC) != 0 ||
	    fcntl(ends[0], F_SETFL, O_NONBLOCK) != 0) {
		err_set(err, rc, "can't run %s: %s", argv[0], strerror(errno));
		goto done;
	}
	/* Where we were started with this signal ignored there is no exit status. */
	sigaction(SIGCHLD, &child, &before);
	no = start(argv, env.list, in, ends[1], &pid);
	close(ends[1]);
	ends[1] = -1;
	if (no == 0) {
		o.fd = ends[0];
		wait_for_end(pid, clock_mono_ms() + seconds * 1000, &o, out);
		clean(&o, out->said);
		rc = RC_OK;
	} else
		err_set(err, rc, "can't run %s: %s", argv[0], strerror(no));
	sigaction(SIGCHLD, &before, NULL);
done:
	for (int i = 0; i < 2; i++)
		if (ends[i] >= 0)
			close(ends[i]);
	if (in >= 0)
		close(in);
	buf_free(&env.text);
	return rc;
}
