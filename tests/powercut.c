/* What a disk would hold, see powercut.h. */
#include "powercut.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

static const char *const names[] = { "/events.db", "/events.db-wal" };

/* A change that was not synced yet, before its bytes; length -1: a cut. */
struct change {
	int64_t at, length;
};

static void
must(int yes)
{
	if (yes)
		return;
	perror("powercut");
	abort(); /* a test that models half a disk would prove nothing */
}

/* The disk's name for a path. */
static void
name_of(const char *disk, const char *path, const char *end, char out[PATH_MAX])
{
	int n = snprintf(out, PATH_MAX, "%s/", disk);

	for (const char *p = path; *p != '\0' && n < PATH_MAX - 16; p++)
		out[n++] = *p == '/' ? '%' : *p;
	snprintf(out + n, (size_t)(PATH_MAX - n), "%s", end);
}

/* The path behind a descriptor, if it is one of those that count. */
static int
is_meant(int fd, char out[PATH_MAX])
{
	char link[40];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, out, PATH_MAX - 1);
	out[n < 0 ? 0 : n] = '\0';
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		size_t len = strlen(names[i]);

		if (n > (ssize_t)len && strcmp(out + n - len, names[i]) == 0)
			return 1;
	}
	return 0;
}

/* The changes of a file, locked against others; -1: it doesn't count. */
static int
open_changes(const char *disk, int fd, char path[PATH_MAX])
{
	char name[PATH_MAX];
	int changes;

	if (disk[0] == '\0' || !is_meant(fd, path))
		return -1;
	name_of(disk, path, ".changes", name);
	changes = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	must(changes >= 0 && flock(changes, LOCK_EX) == 0);
	return changes;
}

static void
add(const char *disk, int fd, struct change c, const void *p)
{
	char path[PATH_MAX];
	int before = errno, changes = open_changes(disk, fd, path);

	if (changes >= 0) {
		lseek(changes, 0, SEEK_END);
		must(write(changes, &c, sizeof(c)) == (ssize_t)sizeof(c));
		must(c.length <= 0 || write(changes, p, (size_t)c.length) == c.length);
		close(changes);
	}
	errno = before;
}

void
powercut_wrote(const char *disk, int fd, int64_t at, const void *p, size_t n)
{
	add(disk, fd, (struct change){ at, (int64_t)n }, p);
}

void
powercut_cut(const char *disk, int fd, int64_t size)
{
	add(disk, fd, (struct change){ size, -1 }, NULL);
}

/* Make the changes to the disk's file. */
static void
apply(int changes, int file)
{
	struct change c;

	lseek(changes, 0, SEEK_SET);
	while (read(changes, &c, sizeof(c)) == (ssize_t)sizeof(c)) {
		char *bytes;

		if (c.length < 0) {
			must(ftruncate(file, c.at) == 0);
			continue;
		}
		bytes = malloc((size_t)c.length + 1);
		must(bytes != NULL && read(changes, bytes, (size_t)c.length) == c.length &&
		     pwrite(file, bytes, (size_t)c.length, c.at) == c.length);
		free(bytes);
	}
}

void
powercut_sync(const char *disk, int fd, int works)
{
	char path[PATH_MAX], name[PATH_MAX];
	int before = errno, changes = open_changes(disk, fd, path), file;

	if (changes >= 0) {
		name_of(disk, path, "", name);
		file = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
		must(file >= 0);
		if (works)
			apply(changes, file);
		must(ftruncate(changes, 0) == 0);
		close(file);
		close(changes);
	}
	errno = before;
}

/* Copy a file; one that is not there is one without content. */
static int
copy(const char *from, const char *to)
{
	int in = open(from, O_RDONLY | O_CLOEXEC);
	int out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	char part[65536];
	ssize_t n = 0;

	while (in >= 0 && out >= 0 && (n = read(in, part, sizeof(part))) > 0)
		must(write(out, part, (size_t)n) == n);
	if (in >= 0)
		close(in);
	if (out >= 0)
		close(out);
	return out < 0 || n < 0 ? -1 : 0;
}

int
powercut_begin(const char *disk, const char *dir)
{
	char path[PATH_MAX], name[PATH_MAX];
	int rc = 0;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(path, sizeof(path), "%s%s", dir, names[i]);
		name_of(disk, path, "", name);
		rc |= copy(path, name);
	}
	return rc;
}

int
powercut_copy(const char *disk, const char *dir, const char *to)
{
	char path[PATH_MAX], name[PATH_MAX];
	int rc = 0;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(path, sizeof(path), "%s%s", dir, names[i]);
		name_of(disk, path, "", name);
		snprintf(path, sizeof(path), "%s%s", to, names[i]);
		rc |= copy(name, path);
	}
	return rc;
}
