/* Files in the memory of many processes, see mapped.h. */
#include "base/mapped.h"

#include "base/fs.h"
#include "base/id.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* How often to begin again, where others make the file or remove it. */
#define TRIES 16

_Static_assert(sizeof(struct mapped) == 64, "a cache line");

/* Map an open file if it is whole and what is expected, else NULL. */
static struct mapped *
map(int fd, uint64_t layout, size_t size)
{
	struct mapped *m;
	struct stat st;

	if (fstat(fd, &st) != 0 || st.st_size != (off_t)size)
		return NULL;
	m = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (m == MAP_FAILED)
		return NULL;
	if (atomic_load(&m->layout) == layout)
		return m;
	mapped_close(m, size);
	return NULL;
}

/*
 * Fill an empty file; 0, or errno. With blocks on the disk: to write where there
 * are none would be a fatal signal once the disk is full.
 */
static int
fill(int fd, uint64_t layout, size_t size)
{
	struct mapped head = { .layout = 0 };
	int failed = posix_fallocate(fd, 0, (off_t)size);

	if (failed != 0)
		return failed;
	if (id_random(head.random, sizeof(head.random)) != RC_OK)
		return EIO;
	if (pwrite(fd, &head, sizeof(head), 0) != (ssize_t)sizeof(head) ||
	    pwrite(fd, &layout, sizeof(layout), 0) != (ssize_t)sizeof(layout))
		return errno;
	return 0;
}

/* Whether an open file is the one at the path. */
static bool
is_at(int fd, const char *path)
{
	struct fs_id there, ours;

	return fs_identify(path, &there) && fs_identify_open(fd, &ours) &&
	       fs_same(there, ours);
}

static int
open_file(const char *path)
{
	return open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
}

/*
 * Make the file, each time one process only. What is there is never shortened
 * (that would kill those who have it mapped) but removed; whoever waited for its
 * lock meanwhile finds that it is gone, and begins again. NULL: errno says why.
 */
static struct mapped *
make(const char *path, uint64_t layout, size_t size)
{
	struct mapped *m = NULL;
	struct stat st;
	int fd, failed = 0;

	for (int tries = 0; tries < TRIES && m == NULL && failed == 0; tries++) {
		if ((fd = open_file(path)) < 0)
			return NULL;
		if (flock(fd, LOCK_EX) != 0)
			failed = errno == EINTR ? 0 : errno;
		else if (is_at(fd, path) && (m = map(fd, layout, size)) == NULL) {
			if (fstat(fd, &st) != 0 || st.st_size != 0)
				failed = unlink(path) == 0 ? 0 : errno;
			else if ((failed = fill(fd, layout, size)) != 0)
				unlink(path);
		}
		flock(fd, LOCK_UN); /* a mapping would keep it */
		close(fd);
	}
	errno = failed != 0 ? failed : EBUSY;
	return m;
}

enum rc
mapped_open(const char *path, uint64_t layout, size_t size, struct mapped **out,
            struct err *err)
{
	int fd = open_file(path);

	assert(layout != 0 && size > sizeof(struct mapped));
	*out = NULL;
	if (fd >= 0) {
		*out = map(fd, layout, size);
		close(fd);
		if (*out == NULL)
			*out = make(path, layout, size);
	}
	if (*out == NULL)
		return err_set(err, RC_UNAVAILABLE, "%s: %s", path, strerror(errno));
	return RC_OK;
}

void
mapped_close(struct mapped *m, size_t size)
{
	if (m != NULL)
		munmap(m, size);
}
