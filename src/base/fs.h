/* Files and folders: made durable, checked for what they lie on. */
#ifndef TDSYNC_BASE_FS_H
#define TDSYNC_BASE_FS_H

#include "base/buf.h"
#include "base/rc.h"

#include <sys/types.h>

/*
 * Make a folder (0770 & ~umask) and sync its parent, so that it survives a
 * power cut. RC_OK also when it exists. RC_UNAVAILABLE: err says why not.
 */
enum rc fs_mkdir(const char *path, struct err *err);

/* Make a folder of that mode, whatever the umask; *made: it was not there. Not
 * synced. False: errno says why not. */
bool fs_folder(const char *path, mode_t mode, bool *made);

/* Remove a file, or a folder with all that is in it, in a folder (AT_FDCWD: the
 * current one); errno says whether it was there. */
void fs_remove(int dir, const char *name);

/* Sync a file or folder to disk, by path. */
enum rc fs_sync(const char *path, struct err *err);

/* Make the entries of the folder that a path lies in durable. */
enum rc fs_sync_parent(const char *path, struct err *err);

/*
 * Read a whole file of at most max bytes into out (appended). RC_NOT_FOUND,
 * RC_TOO_LARGE, RC_UNAVAILABLE (err names path and cause).
 */
enum rc fs_read(const char *path, size_t max, struct buf *out, struct err *err);

/*
 * Write a file whole and durably: to a temporary name beside it (the path and
 * ".tmp-" and 16 hex digits) with exactly the given mode, synced, renamed, the
 * folder synced. Never half a file; a crash may leave the temporary one.
 */
enum rc fs_write(const char *path, struct span content, mode_t mode, struct err *err);

/*
 * Which file a path names now, or which one is open; kept by holders of a handle
 * to learn that it was deleted or replaced. False when there is none. The file's
 * times are not looked at: since Linux 6.13 each write after such a look gives
 * the file a new time, which a sync of its neighbour (a database) then writes.
 */
struct fs_id {
	dev_t dev;
	ino_t ino;
};
bool fs_identify(const char *path, struct fs_id *out);
bool fs_identify_open(int fd, struct fs_id *out);
bool fs_same(struct fs_id a, struct fs_id b);

/* Whether nothing can be written into the folder that a path lies in: a disk
 * mounted read-only, or no permission. */
bool fs_read_only(const char *path);

/*
 * The name of the network file system a path lies on ("NFS"), else NULL:
 * WAL's shared memory does not work there (platform.md 4.6). For a path that
 * does not exist yet its folder counts. FUSE can't be told: it passes. Static.
 */
const char *fs_network(const char *path);

/* The same by the number that statfs(2) gives a file system as f_type. */
const char *fs_network_type(uint32_t type);

#endif
