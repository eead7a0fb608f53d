#include "shrink.h"

#include "scenario.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define SCENARIO "shrunk"
#define SECONDS 60 /* for a run */

/* The run itself, in its own process; says why it failed. */
static void
attempt(const struct shrink *s, const char *script, int fd)
{
	static struct run run;
	struct scenario scenario = { .name = SCENARIO, .script = script };
	int null = open("/dev/null", O_WRONLY);

	if (null >= 0)
		dup2(null, STDERR_FILENO);
	alarm(SECONDS);
	run_begin(&run, scenario.name, s->kind, s->seed, s->parent, NULL);
	scenario_run(&run, &scenario);
	if (!run_ok(&run) && write(fd, run.why, sizeof(run.why)) != (ssize_t)sizeof(run.why))
		_exit(2);
	run_end(&run, false);
	_exit(0);
}

bool
shrink_fails(struct shrink *s, const char *script)
{
	pid_t parent = getpid(), pid;
	int ends[2], status;
	char why[sizeof(s->why)];
	bool fails;

	s->runs++;
	fflush(NULL);
	if (pipe(ends) != 0 || (pid = fork()) < 0)
		die("fork: %s", strerror(errno));
	if (pid == 0) {
		close(ends[0]);
		setpgid(0, 0); /* so that all of it can be ended together */
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(2);
		attempt(s, script, ends[1]);
	}
	setpgid(pid, pid);
	close(ends[1]);
	fails = read(ends[0], why, sizeof(why)) == (ssize_t)sizeof(why);
	close(ends[0]);
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			die("waitpid: %s", strerror(errno));
	kill(-pid, SIGKILL); /* its group: what it started and left behind */
	run_remove(s->parent, SCENARIO, s->kind, s->seed);
	if (fails)
		memcpy(s->why, why, sizeof(why));
	return fails;
}

/* --- ddmin --- */

struct lines {
	struct span *at;
	size_t n;
};

static void
cut(struct span text, struct lines *out)
{
	size_t from = 0, to;

	out->n = 0;
	if ((out->at = malloc((text.len + 1) * sizeof(*out->at))) == NULL)
		die("out of memory");
	for (; from < text.len; from = to + 1) {
		for (to = from; to < text.len && text.p[to] != '\n'; to++)
			;
		if (to > from)
			out->at[out->n++] = (struct span){ text.p + from, to - from };
	}
}

/* All lines but those from `from` to before `to`, as a script. */
static const char *
join(const struct lines *l, size_t from, size_t to, struct buf *out)
{
	size_t i;

	buf_reset(out);
	for (i = 0; i < l->n; i++) {
		if (i >= from && i < to)
			continue;
		buf_add_span(out, l->at[i]);
		buf_add_byte(out, '\n');
	}
	return out->len > 0 ? buf_cstr(out) : "";
}

static void
leave_out(struct lines *l, size_t from, size_t to)
{
	memmove(&l->at[from], &l->at[to], (l->n - to) * sizeof(*l->at));
	l->n -= to - from;
}

bool
shrink_script(struct shrink *s, const char *script, struct buf *out)
{
	struct lines l;
	size_t part, from, to;
	bool less;

	s->runs = 0;
	buf_reset(out);
	if (!shrink_fails(s, script))
		return false;
	cut(span_of(script), &l);
	/* Ever smaller parts; single lines until none of them can go. */
	for (part = l.n / 2; part > 0; part = part > 1 ? part / 2 : less ? 1 : 0) {
		less = false;
		for (from = 0; from < l.n;) {
			to = from + part < l.n ? from + part : l.n;
			if (shrink_fails(s, join(&l, from, to, out))) {
				leave_out(&l, from, to);
				less = true;
			} else {
				from = to;
			}
		}
	}
	join(&l, 0, 0, out);
	free(l.at);
	shrink_fails(s, out->len > 0 ? buf_cstr(out) : ""); /* so that `why` is its */
	return true;
}
