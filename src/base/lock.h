/*
 * Lock files: who may write. Locked by flock(2), so a lock is gone with its
 * holder; the file itself is never unlinked. Waiters queue in the kernel, in
 * order; a timer signal ends the wait at the deadline (design.md, "The
 * server's data"). Its content is the holder's.
 */
#ifndef TDSYNC_BASE_LOCK_H
#define TDSYNC_BASE_LOCK_H

#include "base/fs.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct lock; /* fields are private to lock.c */

/* How long all waits of a request may take together, in milliseconds. */
#define LOCK_WAIT_MS 3000

/*
 * Open (create, 0660 & ~umask) a lock file; nothing is locked yet. On RC_OK
 * *out is new: lock_close() it. RC_UNAVAILABLE: err says what to mend.
 */
enum rc lock_open(const char *path, struct lock **out, struct err *err);

/* Release if held, close, free. NULL is fine. The file stays. */
void lock_close(struct lock *l);

/*
 * Wait for the lock until clock_mono_ms() reaches the deadline; a deadline
 * in the past means: only if it is free at once. RC_BUSY: not got. Where the
 * file was removed or replaced meanwhile, the lock is that of the file which
 * the path names now (made anew if need be; RC_UNAVAILABLE when it can't be).
 * Must not be called while held.
 *
 * Uses SIGALRM and ITIMER_REAL while it waits and puts both back afterwards;
 * it works with all signals blocked. In a process of several threads the
 * others must keep SIGALRM blocked.
 */
enum rc lock_take(struct lock *l, int64_t deadline_ms);

/* Let go; fine when not held. */
void lock_release(struct lock *l);

/*
 * A note of n bytes that stays in the file for the next holder; never synced,
 * so an older one may be there after a power cut. Write it while held, and
 * always with the same length; a failure is swallowed. Reading: the number of
 * bytes that are there, at most n; 0 for none.
 */
void lock_note(struct lock *l, const char *note, size_t n);
size_t lock_noted(const struct lock *l, char *note, size_t n);

/* Which file is open; while the lock is held that is the one at its path. */
struct fs_id lock_file(const struct lock *l);

/* Whether this handle holds the lock. */
bool lock_held(const struct lock *l);

#endif
