/* Files and folders, see fs.h. */
#define _GNU_SOURCE /* statx */
#include "base/fs.h"

#include "base/id.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

static enum rc
failed(struct err *err, const char *what, const char *path)
{
	return err_set(err, RC_UNAVAILABLE, "can't %s %s: %s", what, path, strerror(errno));
}

/* The folder that a path lies in, for the caller to free(). */
static char *
parent_of(const char *path)
{
	size_t n = strlen(path);

	while (n > 1 && path[n - 1] == '/') /* "a/b/" lies in "a" */
		n--;
	while (n > 0 && path[n - 1] != '/')
		n--;
	while (n > 1 && path[n - 1] == '/')
		n--;
	return n == 0 ? strdup(".") : span_dup((struct span){ path, n });
}

enum rc
fs_sync(const char *path, struct err *err)
{
	enum rc rc = RC_OK;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return failed(err, "open", path);
	/* EINVAL: a file system that has nothing to sync in a folder */
	if (fsync(fd) != 0 && errno != EINVAL)
		rc = failed(err, "sync", path);
	close(fd);
	return rc;
}

enum rc
fs_sync_parent(const char *path, struct err *err)
{
	char *dir = parent_of(path);
	enum rc rc;

	if (dir == NULL)
		return err_set(err, RC_FAULT, "out of memory");
	rc = fs_sync(dir, err);
	free(dir);
	return rc;
}

enum rc
fs_mkdir(const char *path, struct err *err)
{
	struct stat st;

	if (mkdir(path, 0770) != 0) {
		if (errno != EEXIST)
			return failed(err, "make folder", path);
		if (stat(path, &st) != 0)
			return failed(err, "look at", path);
		if (!S_ISDIR(st.st_mode)) {
			errno = ENOTDIR;
			return failed(err, "make folder", path);
		}
	}
	/* Also for one that exists: its maker may have died before this. */
	return fs_sync_parent(path, err);
}

bool
fs_folder(const char *path, mode_t mode, bool *made)
{
	*made = mkdir(path, mode) == 0;
	return *made ? chmod(path, mode) == 0 : errno == EEXIST;
}

void
fs_remove(int dir, const char *name)
{
	struct dirent *entry;
	int fd;
	DIR *d;

	if (unlinkat(dir, name, 0) == 0 || errno == ENOENT)
		return;
	fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return;
	if ((d = fdopendir(fd)) == NULL) {
		close(fd);
		return;
	}
	while ((entry = readdir(d)) != NULL)
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			fs_remove(fd, entry->d_name);
	closedir(d);
	unlinkat(dir, name, AT_REMOVEDIR);
}

enum rc
fs_read(const char *path, size_t max, struct buf *out, struct err *err)
{
	size_t start = out->len;
	enum rc rc = RC_OK;
	ssize_t n = 0;
	int fd;

	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		if (errno == ENOENT || errno == ENOTDIR)
			return err_set(err, RC_NOT_FOUND, "no such file: %s", path);
		return failed(err, "read", path);
	}
	for (;;) {
		if (!buf_reserve(out, 4096)) {
			rc = err_set(err, RC_FAULT, "out of memory");
			break;
		}
		n = read(fd, out->p + out->len, out->cap - out->len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		out->len += (size_t)n;
		if (out->len - start > max) {
			rc = err_set(err, RC_TOO_LARGE, "%s is larger than %zu bytes", path, max);
			break;
		}
	}
	if (n < 0)
		rc = failed(err, "read", path);
	if (rc != RC_OK)
		out->len = start;
	close(fd);
	return rc;
}

static bool
write_all(int fd, struct span s)
{
	while (s.len > 0) {
		ssize_t n = write(fd, s.p, s.len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return false;
		s.p += n;
		s.len -= (size_t)n;
	}
	return true;
}

/* Write the temporary file and sync it. */
static enum rc
write_temp(const char *tmp, struct span content, mode_t mode, struct err *err)
{
	int fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
	enum rc rc = RC_OK;

	if (fd < 0)
		return failed(err, "make", tmp);
	if (fchmod(fd, mode) != 0 || !write_all(fd, content) || fsync(fd) != 0)
		rc = failed(err, "write", tmp);
	if (close(fd) != 0 && rc == RC_OK)
		rc = failed(err, "write", tmp);
	return rc;
}

enum rc
fs_write(const char *path, struct span content, mode_t mode, struct err *err)
{
	struct buf name = { 0 };
	const char *tmp = NULL;
	char id[ID_MAX];
	enum rc rc;

	if (id_new(".tmp-", 8, id) != RC_OK)
		return err_set(err, RC_FAULT, "no random numbers");
	buf_add_str(&name, path);
	buf_add_str(&name, id);
	tmp = buf_cstr(&name);
	if (tmp == NULL) {
		buf_free(&name);
		return err_set(err, RC_FAULT, "out of memory");
	}
	rc = write_temp(tmp, content, mode, err);
	if (rc == RC_OK && rename(tmp, path) != 0)
		rc = failed(err, "write", path);
	if (rc != RC_OK)
		unlink(tmp);
	else
		rc = fs_sync_parent(path, err);
	buf_free(&name);
	return rc;
}

/* Not by stat(): whose times were looked at, gets new ones with each write. */
static bool
identify(int dir, const char *path, int flags, struct fs_id *out)
{
	struct statx st;

	*out = (struct fs_id){ 0 };
	if (statx(dir, path, flags, STATX_INO, &st) != 0)
		return false;
	out->dev = makedev(st.stx_dev_major, st.stx_dev_minor);
	out->ino = st.stx_ino;
	return true;
}

bool
fs_identify(const char *path, struct fs_id *out)
{
	return identify(AT_FDCWD, path, 0, out);
}

bool
fs_identify_open(int fd, struct fs_id *out)
{
	return identify(fd, "", AT_EMPTY_PATH, out);
}

bool
fs_same(struct fs_id a, struct fs_id b)
{
	return a.dev == b.dev && a.ino == b.ino;
}

bool
fs_read_only(const char *path)
{
	char *dir = parent_of(path);
	bool yes = dir != NULL && access(dir, W_OK) != 0 &&
	           (errno == EROFS || errno == EACCES);

	free(dir);
	return yes;
}

const char *
fs_network_type(uint32_t type)
{
	/* linux/magic.h has most of them, but not on every system. */
	static const struct {
		uint32_t type;
		const char *name;
	} known[] = {
		{ 0x00006969, "NFS" },
		{ 0x0000517b, "SMB" },
		{ 0xff534d42, "CIFS" },
		{ 0xfe534d42, "SMB2" },
		{ 0x01021997, "9p" },
		{ 0x00c36400, "Ceph" },
		{ 0x5346414f, "AFS" },
		{ 0x6b414653, "AFS" },
		{ 0x7461636f, "OCFS2" },
		{ 0x0bd00bd0, "Lustre" },
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (known[i].type == type)
			return known[i].name;
	return NULL;
}

const char *
fs_network(const char *path)
{
	struct statfs st;
	const char *name = NULL;
	char *at = strdup(path);

	/* What is still to be made will lie where its folder lies. */
	while (at != NULL) {
		char *up;

		if (statfs(at, &st) == 0) {
			name = fs_network_type((uint32_t)st.f_type);
			break;
		}
		if ((errno != ENOENT && errno != ENOTDIR) ||
		    strcmp(at, "/") == 0 || strcmp(at, ".") == 0)
			break;
		up = parent_of(at);
		free(at);
		at = up;
	}
	free(at);
	return name;
}
