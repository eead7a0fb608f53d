/* td-sync-admin doctor: the first thing to run when something is wrong. */
#include "cli/td-sync-admin-doctor.h"

#include "base/fs.h"
#include "base/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* What a doctor left behind that was killed outright goes after so many seconds. */
#define LEFT_BEHIND 600

/* --- findings --- */

static const char *const levels[] = {
	[LEVEL_OK] = "ok", [LEVEL_WARNING] = "warning", [LEVEL_ERROR] = "error",
};

void
doctor_group(struct doctor *d, const char *name)
{
	d->group = name;
	d->shown = false;
}

static void
show_json(const struct finding *f, const char *what)
{
	struct buf line;

	out_begin(&line);
	out_string(&line, "level", levels[f->level]);
	out_string(&line, "check", f->check);
	out_string(&line, "what", what);
	if (f->level != LEVEL_OK) {
		out_string(&line, "why", f->why);
		out_string(&line, "todo", f->todo);
	}
	out_end(&line);
}

static void
show_line(const char *name, const char *text)
{
	struct buf line = { 0 };

	buf_addf(&line, "  %-8s ", name);
	out_clean(&line, text);
	out_line(&line);
}

static void
show_text(struct doctor *d, const struct finding *f, const char *what)
{
	static const char *const words[] = {
		[LEVEL_OK] = "ok", [LEVEL_WARNING] = "WARNING", [LEVEL_ERROR] = "ERROR",
	};
	struct buf line = { 0 };

	if (!d->shown) {
		buf_add_str(&line, d->group);
		out_line(&line);
	}
	d->shown = true;
	buf_addf(&line, "%s: %s", f->check, what);
	if (buf_cstr(&line) != NULL)
		show_line(words[f->level], line.p);
	buf_free(&line);
	if (f->level == LEVEL_OK)
		return;
	show_line("   why", f->why);
	show_line("   do", f->todo);
}

static void
say(struct doctor *d, const struct finding *f, const char *fmt, va_list ap)
{
	char what[1024];

	vsnprintf(what, sizeof(what), fmt, ap);
	d->errors += f->level == LEVEL_ERROR;
	d->warnings += f->level == LEVEL_WARNING;
	if (d->a->json)
		show_json(f, what);
	else
		show_text(d, f, what);
}

void
doctor_say(struct doctor *d, const struct finding *f, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(d, f, fmt, ap);
	va_end(ap);
}

void
doctor_ok(struct doctor *d, const char *check, const char *fmt, ...)
{
	const struct finding f = { LEVEL_OK, check, NULL, NULL };
	va_list ap;

	va_start(ap, fmt);
	say(d, &f, fmt, ap);
	va_end(ap);
}

bool
doctor_path(const struct doctor *d, const char *name, char out[PATH_MAX])
{
	return snprintf(out, PATH_MAX, "%s/%s", d->data, name) < PATH_MAX;
}

/* --- files of its own, and signals --- */

/* The signals that end a program; when they came. */
static const int ends[] = { SIGHUP, SIGINT, SIGTERM, SIGPIPE };
static volatile sig_atomic_t came;

static void
on_signal(int sig)
{
	came = sig;
}

static void
each_end(void (*set)(int sig))
{
	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++)
		set(ends[i]);
}

static void
wait_with(int sig)
{
	struct sigaction sa = { .sa_handler = on_signal }; /* no SA_RESTART: it wakes poll() */

	sigemptyset(&sa.sa_mask);
	sigaction(sig, &sa, NULL);
}

static void
let_come(int sig)
{
	signal(sig, SIG_DFL);
}

bool
doctor_guard(struct doctor *d, char name[DOCTOR_NAME])
{
	unsigned char random[8];
	char hex[2 * sizeof(random) + 1];

	if (id_random(random, sizeof(random)) != RC_OK) {
		const struct finding f = { LEVEL_ERROR, "random", "without them no token can be made",
			"is /dev/urandom there?" };

		doctor_say(d, &f, "there are no random bytes");
		return false;
	}
	id_hex(random, sizeof(random), hex);
	snprintf(name, DOCTOR_NAME, DOCTOR_SCRATCH "%s", hex);
	each_end(wait_with);
	return true;
}

void
doctor_done(struct doctor *d, const char *name)
{
	char path[PATH_MAX];

	if (doctor_path(d, name, path))
		fs_remove(AT_FDCWD, path);
	each_end(let_come);
	if (came != 0) {
		fflush(stdout); /* what was found until then */
		raise(came);
	}
}

/* What one that was killed outright (SIGKILL, a power cut) could not remove. */
static void
remove_left_behind(struct doctor *d)
{
	int64_t before = clock_now_us() / 1000000 - LEFT_BEHIND;
	DIR *dir = opendir(d->data);
	const struct dirent *e;
	struct stat st;

	while (dir != NULL && (e = readdir(dir)) != NULL)
		if (strncmp(e->d_name, DOCTOR_SCRATCH, sizeof(DOCTOR_SCRATCH) - 1) == 0 &&
		    strlen(e->d_name) == DOCTOR_NAME - 1 &&
		    fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		    st.st_mtime < before)
			fs_remove(dirfd(dir), e->d_name);
	if (dir != NULL)
		closedir(dir);
}

/* --- programs --- */

static void
become(const char *const *argv, const char *setting, bool both, int out)
{
	int null = open("/dev/null", O_RDWR);

	each_end(let_come);
	if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(out, STDOUT_FILENO) < 0 ||
	    dup2(both ? out : null, STDERR_FILENO) < 0)
		_exit(127);
	if (setting != NULL && putenv((char *)(uintptr_t)setting) != 0)
		_exit(127);
	execv(argv[0], (char *const *)(uintptr_t)argv);
	_exit(127);
}

/* Read to the end; false: it took too long, or a signal came. */
static bool
read_all(int fd, int64_t deadline_ms, struct buf *out)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char piece[4096];
	ssize_t n;

	for (;;) {
		int64_t left = deadline_ms - clock_mono_ms();

		if (left <= 0 || came != 0 || poll(&p, 1, (int)left) <= 0)
			return false;
		if ((n = read(fd, piece, sizeof(piece))) <= 0)
			return n == 0;
		buf_add(out, piece, (size_t)n);
	}
}

int
doctor_program(const char *const *argv, const char *setting, bool both, int seconds,
               struct buf *out)
{
	int64_t deadline_ms = clock_mono_ms() + (int64_t)seconds * 1000;
	int ends_of_pipe[2], status = 0;
	pid_t pid;
	bool whole;

	if (pipe(ends_of_pipe) != 0)
		return -1;
	fcntl(ends_of_pipe[0], F_SETFD, FD_CLOEXEC);
	fcntl(ends_of_pipe[1], F_SETFD, FD_CLOEXEC);
	fflush(stdout); /* not twice */
	if ((pid = fork()) == 0)
		become(argv, setting, both, ends_of_pipe[1]);
	close(ends_of_pipe[1]);
	whole = pid > 0 && read_all(ends_of_pipe[0], deadline_ms, out);
	close(ends_of_pipe[0]);
	if (pid < 0)
		return -1;
	if (!whole)
		kill(pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return whole && WIFEXITED(status) && WEXITSTATUS(status) != 127 ? WEXITSTATUS(status) : -1;
}

/* --- the command --- */

static void
show_end(const struct doctor *d)
{
	struct buf line = { 0 };

	if (d->a->json)
		return;
	if (d->errors + d->warnings == 0)
		buf_add_str(&line, "nothing is wrong");
	else
		buf_addf(&line, "%d error%s, %d warning%s", d->errors, d->errors == 1 ? "" : "s",
		         d->warnings, d->warnings == 1 ? "" : "s");
	out_line(&line);
}

/* The log of a library's troubles is for the doctor to tell. */
static void
be_quiet(void)
{
	log_open("/dev/null", "/dev/null", NULL);
}

static void
look(struct doctor *d)
{
	struct admin *a = d->a;
	enum rc rc = config_load(a->config, a->data, &d->config, &a->err);

	d->has_config = rc == RC_OK;
	d->url = a->url != NULL ? a->url : d->has_config ? d->config.url : "";
	remove_left_behind(d);
	doctor_group(d, "data folder");
	doctor_disk(d);
	doctor_group(d, "settings");
	doctor_settings(d);
	doctor_group(d, "projects");
	doctor_logs(d);
	doctor_group(d, "web server");
	doctor_nginx(d);
	doctor_front(d);
	doctor_group(d, "server");
	doctor_pool(d);
}

int
doctor_run(struct admin *a)
{
	static struct doctor d; /* large */
	enum rc rc;

	d.a = a;
	be_quiet();
	if (realpath(a->data, d.data) == NULL)
		return admin_fail_with(a, RC_UNAVAILABLE, "%s: %s", a->data, strerror(errno));
	doctor_take_nginx(&d);
	if ((rc = admin_become_owner(a)) != RC_OK)
		return admin_fail(a, rc);
	look(&d);
	show_end(&d);
	buf_free(&d.nginx);
	return d.errors > 0 ? EXIT_WRONG : d.warnings > 0 ? EXIT_WARNED : 0;
}
