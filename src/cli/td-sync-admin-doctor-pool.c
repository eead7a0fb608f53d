/* td-sync-admin doctor: the processes that serve the data folder, and who holds locks. */
#include "cli/td-sync-admin-doctor.h"

#include "base/fs.h"
#include "base/lock.h"
#include "base/metrics.h"

#include <dirent.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define HELD_MS (LOCK_WAIT_MS + 200) /* who waits for so long gives up */
#define LOOK_MS 40
#define PROGRAM "td-sync.fcgi"

/* --- processes --- */

/* A small file of /proc; "" where it can't be read. */
static void
read_proc(long pid, const char *file, struct buf *out)
{
	char path[64];

	buf_reset(out);
	snprintf(path, sizeof(path), "/proc/%ld/%s", pid, file);
	fs_read(path, 1 << 20, out, NULL);
	if (buf_cstr(out) == NULL)
		buf_reset(out);
}

/* Whether a NUL-terminated list of words has the data folder, alone or behind '='; or,
 * where the configuration is another file, that. */
static bool
names_data(const struct doctor *d, const struct buf *words)
{
	char real[PATH_MAX];

	for (size_t i = 0; i < words->len; i += strlen(words->p + i) + 1) {
		const char *word = words->p + i, *value = strchr(word, '=');

		value = value != NULL ? value + 1 : word;
		if (value[0] == '/' && realpath(value, real) != NULL &&
		    strcmp(real, d->data) == 0)
			return true;
		if (d->a->config != NULL && strcmp(value, d->a->config) == 0)
			return true;
	}
	return false;
}

/* Whether a process has a file of the data folder open or mapped: a worker that has
 * served a request. */
static bool
has_data(const struct doctor *d, long pid, struct buf *scratch)
{
	size_t n = strlen(d->data);

	read_proc(pid, "maps", scratch);
	for (const char *p = scratch->len > 0 ? scratch->p : NULL;
	     p != NULL && (p = strstr(p, d->data)) != NULL; p++)
		if (p[n] == '/')
			return true;
	return false;
}

static bool
serves(const struct doctor *d, long pid)
{
	struct buf b = { 0 };
	bool yes;

	read_proc(pid, "comm", &b);
	yes = b.len > 0 && strcmp(b.p, PROGRAM "\n") == 0;
	if (yes) {
		read_proc(pid, "cmdline", &b);
		yes = names_data(d, &b);
		if (!yes) {
			read_proc(pid, "environ", &b);
			yes = names_data(d, &b);
		}
		yes = yes || has_data(d, pid, &b);
	}
	buf_free(&b);
	return yes;
}

static long
parent_of(long pid)
{
	struct buf b = { 0 };
	const char *p;
	long parent = 0;

	read_proc(pid, "stat", &b); /* the name is in brackets, and may hold anything */
	if (b.len > 0 && (p = strrchr(b.p, ')')) != NULL)
		sscanf(p, ") %*c %ld", &parent);
	buf_free(&b);
	return parent;
}

/* Those that serve the folder: who has a child among them is a master. */
static void
count_pool(const struct doctor *d, int *masters, int *workers, long *master)
{
	long pids[512];
	size_t n = 0;
	DIR *dir = opendir("/proc");
	const struct dirent *e;

	*masters = *workers = 0;
	*master = 0;
	while (dir != NULL && n < sizeof(pids) / sizeof(pids[0]) && (e = readdir(dir)) != NULL) {
		long pid = strtol(e->d_name, NULL, 10);

		if (pid > 0 && serves(d, pid))
			pids[n++] = pid;
	}
	if (dir != NULL)
		closedir(dir);
	for (size_t i = 0; i < n; i++) {
		bool is_master = false;

		for (size_t k = 0; k < n; k++)
			is_master = is_master || parent_of(pids[k]) == pids[i];
		if (is_master)
			*master = pids[i];
		*(is_master ? masters : workers) += 1;
	}
}

static void
check_pool(struct doctor *d)
{
	const struct finding none = { LEVEL_WARNING, "pool", "then nobody serves it, unless a web "
		"server starts td-sync by itself (CGI)", "systemctl start td-sync, or how you start "
		"td-sync.fcgi --workers; where the web server starts it, set `url`, so that it can be "
		"asked" };
	const struct finding two = { LEVEL_WARNING, "pool", "that works, but twice the memory, and limits "
		"on how many may wait count for each", "stop the older one" };
	int masters, workers;
	long master;

	count_pool(d, &masters, &workers, &master);
	if (masters > 1)
		doctor_say(d, &two, "%d pools serve the same data folder", masters);
	else if (masters == 1)
		doctor_ok(d, "pool", "%d worker%s, master %ld", workers, workers == 1 ? "" : "s", master);
	else if (workers > 0)
		doctor_ok(d, "pool", "%d process%s, without a master", workers, workers == 1 ? "" : "es");
	else if (d->serves)
		doctor_ok(d, "pool", "none that can be seen from here, but it answers at %s", d->url);
	else
		doctor_say(d, &none, "no td-sync.fcgi runs on this data folder");
}

/* What is counted goes into one file, mapped by all. */
static void
check_metrics(struct doctor *d)
{
	const struct finding f = { LEVEL_WARNING, "metrics", "nothing is counted, so /metrics shows "
		"nothing", "may the server's user write it? its error log tells why" };
	char path[PATH_MAX];
	struct stat st;

	if (!doctor_path(d, METRICS_FILE, path) || stat(path, &st) != 0)
		return; /* no request has come yet */
	if (st.st_size == 0 || access(path, R_OK | W_OK) != 0)
		doctor_say(d, &f, "%s can't be used", path);
	else
		doctor_ok(d, "metrics", "are counted (GET /metrics)");
}

/* --- locks --- */

/* A lock file that is locked. */
struct held {
	char name[160];      /* "projects/p_.../lock" */
	dev_t dev;
	ino_t ino;
	long pid;
	int waiting;
	int missed;          /* looks since it was seen last */
};

/* The file changes while it is read, so that a line may be missed: not twice. */
#define MISSED_MAX 2

struct locks {
	struct held *list;
	size_t n, room;
};

/* Whether a process has that file open. */
static bool
has_open(long pid, const struct stat *file)
{
	char path[64 + NAME_MAX];
	const struct dirent *e;
	struct stat st;
	bool has = false;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%ld/fd", pid);
	dir = opendir(path);
	while (dir != NULL && !has && (e = readdir(dir)) != NULL) {
		snprintf(path, sizeof(path), "/proc/%ld/fd/%s", pid, e->d_name);
		has = stat(path, &st) == 0 && st.st_dev == file->st_dev && st.st_ino == file->st_ino;
	}
	if (dir != NULL)
		closedir(dir);
	return has;
}

/* Whether the kernel means that file: btrfs has one number for its locks, and another
 * one for each subvolume, all of no device; which a tmpfs with a file of that number
 * has, too. */
static bool
is_file(const struct held *h, const struct stat *file)
{
	return h->ino == file->st_ino && (h->dev == file->st_dev ||
	    (major(h->dev) == 0 && major(file->st_dev) == 0 && has_open(h->pid, file)));
}

/* A line of /proc/locks on a flock: whose, which file. */
static bool
read_line(const char *line, bool *waits, long *pid, dev_t *dev, uintmax_t *ino)
{
	unsigned major_number, minor_number;
	const char *p = strstr(line, "FLOCK");

	*waits = strstr(line, "->") != NULL && strstr(line, "->") < p;
	if (p == NULL || sscanf(p, "FLOCK %*s %*s %ld %x:%x:%ju", pid, &major_number,
	                        &minor_number, ino) != 4)
		return false;
	*dev = makedev(major_number, minor_number);
	return true;
}

/* Call for each flock that there is. */
static void
each_lock(void (*visit)(struct locks *l, bool waits, long pid, dev_t dev, ino_t ino),
          struct locks *l)
{
	FILE *f = fopen("/proc/locks", "re");
	char line[256];
	uintmax_t ino;
	bool waits;
	long pid;
	dev_t dev;

	while (f != NULL && fgets(line, sizeof(line), f) != NULL)
		if (read_line(line, &waits, &pid, &dev, &ino))
			visit(l, waits, pid, dev, (ino_t)ino);
	if (f != NULL)
		fclose(f);
}

static void
note_holder(struct locks *l, bool waits, long pid, dev_t dev, ino_t ino)
{
	size_t room = l->room == 0 ? 64 : 2 * l->room;
	struct held *more;

	if (waits)
		return;
	if (l->n == l->room) {
		if ((more = realloc(l->list, room * sizeof(*more))) == NULL)
			return;
		l->list = more;
		l->room = room;
	}
	l->list[l->n++] = (struct held){ .dev = dev, .ino = ino, .pid = pid };
}

static void
note_still(struct locks *l, bool waits, long pid, dev_t dev, ino_t ino)
{
	for (size_t i = 0; i < l->n; i++)
		if (l->list[i].dev == dev && l->list[i].ino == ino) {
			if (!waits && l->list[i].pid == pid)
				l->list[i].missed = 0;
			l->list[i].waiting += waits;
		}
}

/* Give those of our lock files their names. */
static void
name_lock(struct doctor *d, struct locks *l, const char *name)
{
	char path[PATH_MAX];
	struct stat st;

	if (!doctor_path(d, name, path) || stat(path, &st) != 0)
		return;
	for (size_t i = 0; i < l->n; i++)
		if (is_file(&l->list[i], &st))
			snprintf(l->list[i].name, sizeof(l->list[i].name), "%s", name);
}

static void
keep_ours(struct doctor *d, struct locks *l)
{
	char path[PATH_MAX], name[128];
	DIR *dir = doctor_path(d, "projects", path) ? opendir(path) : NULL;
	const struct dirent *e;
	size_t n = 0;

	name_lock(d, l, "server.lock");
	while (dir != NULL && (e = readdir(dir)) != NULL) {
		if (e->d_name[0] == '.' || strlen(e->d_name) > 64)
			continue;
		snprintf(name, sizeof(name), "projects/%.64s/" EVENTS_LOCK, e->d_name);
		name_lock(d, l, name);
		snprintf(name, sizeof(name), "projects/%.64s/" STATE_LOCK, e->d_name);
		name_lock(d, l, name);
	}
	if (dir != NULL)
		closedir(dir);
	for (size_t i = 0; i < l->n; i++)
		if (l->list[i].name[0] != '\0')
			l->list[n++] = l->list[i];
	l->n = n;
}

/* Forget those that were let go meanwhile, or have another holder. */
static void
look_again(struct locks *l)
{
	size_t n = 0;

	for (size_t i = 0; i < l->n; i++) {
		l->list[i].missed++;
		l->list[i].waiting = 0;
	}
	each_lock(note_still, l);
	for (size_t i = 0; i < l->n; i++)
		if (l->list[i].missed < MISSED_MAX)
			l->list[n++] = l->list[i];
	l->n = n;
}

static void
tell_held(struct doctor *d, const struct held *h)
{
	const struct finding log = { LEVEL_ERROR, "lock", "pushes to the project wait for it, and then "
		"get 503", "what does that process do (a backup, a copy, a debugger)? kill PID ends it "
		"without harm: what was acked is in the log" };
	const struct finding state = { LEVEL_WARNING, "lock", "as long as that is so, what needs the "
		"project's state waits; pushes and pulls go on", "a large state may be in the making: look "
		"again in a minute" };
	const struct finding server = { LEVEL_ERROR, "lock", "as long as that is so nobody logs in, "
		"and no member, token or project is changed; pushes and pulls go on",
		"what does that process do? kill PID ends it without harm" };
	const struct finding *f = strchr(h->name, '/') == NULL ? &server
		: strstr(h->name, STATE_LOCK) != NULL ? &state : &log;
	struct buf name = { 0 };

	read_proc(h->pid, "comm", &name);
	if (name.len > 0 && name.p[name.len - 1] == '\n')
		name.p[--name.len] = '\0';
	doctor_say(d, f, "process %ld (%s) has held %s for more than %d s; %d "
	           "wait%s", h->pid, name.len > 0 ? name.p : "?", h->name, HELD_MS / 1000, h->waiting,
	           h->waiting == 1 ? "s" : "");
	buf_free(&name);
}

static void
check_locks(struct doctor *d)
{
	int64_t end = clock_mono_ms() + HELD_MS;
	struct locks l = { 0 };

	if (access("/proc/locks", R_OK) != 0) {
		doctor_ok(d, "locks", "not looked at: /proc/locks can't be read here");
		return;
	}
	each_lock(note_holder, &l);
	keep_ours(d, &l);
	while (l.n > 0 && clock_mono_ms() < end) {
		poll(NULL, 0, LOOK_MS);
		look_again(&l);
	}
	for (size_t i = 0; i < l.n; i++)
		tell_held(d, &l.list[i]);
	if (l.n == 0)
		doctor_ok(d, "locks", "nobody holds one for long");
	free(l.list);
}

void
doctor_pool(struct doctor *d)
{
	check_pool(d);
	check_metrics(d);
	check_locks(d);
}
