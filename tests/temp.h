/*
 * A temporary folder for a test, removed with all it holds: by the test, or,
 * where that was killed, by a later one. Who uses it (or what that started)
 * holds a lock on it.
 */
#ifndef TDSYNC_TESTS_TEMP_H
#define TDSYNC_TESTS_TEMP_H

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define TEMP_PATH 128

static inline int
temp_remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static inline void
temp_remove(const char *path)
{
	nftw(path, temp_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* Remove what killed tests left in `base`: folders that nobody has locked.
 * (One that is an hour old was locked long ago, if it ever is.) */
static inline void
temp_sweep(const char *base)
{
	DIR *dir = opendir(base);
	struct dirent *e;
	struct stat st;
	char path[4096];
	int fd;

	while (dir != NULL && (e = readdir(dir)) != NULL) {
		if (strncmp(e->d_name, "td-sync-test-", 13) != 0)
			continue;
		snprintf(path, sizeof(path), "%s/%s", base, e->d_name);
		fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (fd >= 0 && fstat(fd, &st) == 0 && st.st_uid == geteuid() &&
		    st.st_ctime < time(NULL) - 3600 && flock(fd, LOCK_EX | LOCK_NB) == 0)
			temp_remove(path);
		if (fd >= 0)
			close(fd);
	}
	if (dir != NULL)
		closedir(dir);
}

/* Make one; its path goes to out. Aborts when that fails. */
static inline void
temp_make(char out[TEMP_PATH])
{
	const char *base = getenv("TMPDIR");

	if (base == NULL)
		base = "/tmp";
	temp_sweep(base);
	snprintf(out, TEMP_PATH, "%s/td-sync-test-XXXXXX", base);
	/* The descriptor stays open: the lock ends with the process. */
	if (mkdtemp(out) == NULL ||
	    flock(open(out, O_RDONLY | O_DIRECTORY | O_CLOEXEC), LOCK_EX) != 0) {
		perror(out);
		abort();
	}
}

#endif
