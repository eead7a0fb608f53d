/* What a server costs, see usage.h. */
#include "bench/usage.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define MANY 1100 /* more than a pool can have */

/* A file of a process, "" where it is gone. */
static const char *
read_proc(pid_t pid, const char *name, char *out, size_t size)
{
	char path[64];
	size_t n = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	f = fopen(path, "r");
	if (f != NULL) {
		n = fread(out, 1, size - 1, f);
		fclose(f);
	}
	out[n] = '\0';
	return out;
}

/* The number after a label, 0 where there is none. */
static double
labelled(const char *text, const char *label)
{
	const char *at = strstr(text, label);
	int64_t v = 0;

	if (at != NULL)
		sscanf(at + strlen(label), "%" SCNd64, &v);
	return (double)v;
}

/* CPU of a living process, in microseconds: the scheduler's own count. */
static double
cpu_of(pid_t pid)
{
	char text[256];
	int64_t ns = 0;

	sscanf(read_proc(pid, "schedstat", text, sizeof(text)), "%" SCNd64, &ns);
	return (double)ns / 1e3;
}

/* CPU of its children that have ended, in microseconds (counted in ticks). */
static double
cpu_of_dead(pid_t pid)
{
	char text[1024], *after;
	unsigned long user = 0, system = 0;

	read_proc(pid, "stat", text, sizeof(text));
	after = strrchr(text, ')'); /* a name may hold anything */
	if (after != NULL)
		sscanf(after + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u"
		       " %lu %lu", &user, &system);
	return (double)(user + system) * 1e6 / (double)sysconf(_SC_CLK_TCK);
}

static size_t
children(pid_t pid, pid_t *out, size_t max)
{
	char path[64];
	size_t n = 0;
	FILE *f;
	int child;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)pid, (int)pid);
	f = fopen(path, "r");
	while (f != NULL && n < max && fscanf(f, "%d", &child) == 1)
		out[n++] = child;
	if (f != NULL)
		fclose(f);
	return n;
}

/* A parent and all its children, living and dead. */
static double
cpu_of_family(pid_t pid)
{
	pid_t pids[MANY];
	size_t n = children(pid, pids, MANY);
	double us = cpu_of(pid) + cpu_of_dead(pid);

	for (size_t i = 0; i < n; i++)
		us += cpu_of(pids[i]);
	return us;
}

static double
written_by(pid_t pid)
{
	char text[512];

	return labelled(read_proc(pid, "io", text, sizeof(text)), "\nwrite_bytes:");
}

/* The kernel adds what the dead ones wrote to the parent's count. */
static double
written_by_family(pid_t pid)
{
	pid_t pids[MANY];
	size_t n = children(pid, pids, MANY);
	double bytes = written_by(pid);

	for (size_t i = 0; i < n; i++)
		bytes += written_by(pids[i]);
	return bytes;
}

void
usage_now(const struct site *s, struct usage *u)
{
	struct rusage own;

	getrusage(RUSAGE_SELF, &own);
	*u = (struct usage){
		.workers_us = cpu_of_family(s->pool),
		.nginx_us = cpu_of_family(s->web),
		.own_us = (double)(own.ru_utime.tv_sec + own.ru_stime.tv_sec) * 1e6 +
		          (double)(own.ru_utime.tv_usec + own.ru_stime.tv_usec),
		.written = written_by_family(s->pool),
		.own_written = written_by(getpid()),
	};
}

void
usage_add(struct usage *sum, const struct usage *from, const struct usage *to)
{
	sum->workers_us += to->workers_us - from->workers_us;
	sum->nginx_us += to->nginx_us - from->nginx_us;
	sum->own_us += to->own_us - from->own_us;
	sum->written += to->written - from->written;
	sum->own_written += to->own_written - from->own_written;
}

static double
pss(pid_t pid)
{
	char text[4096];

	return labelled(read_proc(pid, "smaps_rollup", text, sizeof(text)), "\nPss:") * 1024;
}

void
usage_memory(const struct site *s, struct memory *m)
{
	char text[4096];
	pid_t pids[MANY];
	size_t n = children(s->pool, pids, MANY);

	*m = (struct memory){ .pool = pss(s->pool), .nginx = pss(s->web) };
	for (size_t i = 0; i < n; i++) {
		double rss = labelled(read_proc(pids[i], "status", text, sizeof(text)),
		                      "\nVmRSS:") * 1024;

		m->pool += pss(pids[i]);
		m->worker = rss > m->worker ? rss : m->worker;
	}
	n = children(s->web, pids, MANY);
	for (size_t i = 0; i < n; i++)
		m->nginx += pss(pids[i]);
}
