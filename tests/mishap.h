/*
 * Mishaps at the calls a program makes of libc: at the nth one that writes the
 * process is killed, or the call fails; the wall clock is off. A test program
 * that links mishap.c has them itself, with what it forks. Into a program of
 * ours they come with LD_PRELOAD=MISHAP_LIBRARY and the plan's file in
 * TD_SYNC_MISHAP.
 *
 * Counted are write, writev, pwrite, fsync, fdatasync, ftruncate, rename,
 * unlink, mkdir, send, sendto, sendmsg, open where it makes a file, and mmap of
 * a file that is shared. (What libc calls for itself is not: printf.)
 */
#ifndef TDSYNC_TESTS_MISHAP_H
#define TDSYNC_TESTS_MISHAP_H

#include <stdbool.h>
#include <stdint.h>

#define MISHAP_KILL (-1)
#define MISHAP_SHORT (-2) /* half of a pwrite is done, and told; others: ENOSPC */

/* The plan: memory that all these processes share. */
struct mishap {
	int32_t at;        /* strike at the nth call from now on; 0: never */
	int32_t action;    /* one of the above, or the errno that the call fails with */
	int32_t lasting;   /* all later calls fail as well, until `at` is 0 */
	int32_t count;     /* calls so far */
	int32_t struck;    /* how often it did */
	int64_t clock_s;   /* how far the wall clock is ahead */
	char where[200];   /* only files whose path holds this; "": whatever is
	                    * written to, sockets as well */
	char call[16];     /* only calls whose name holds this, as "sync"; "": all */
	char disk[200];    /* a folder for what a disk would hold, see powercut.h;
	                    * "": for nothing */
};
extern struct mishap *mishap; /* never NULL */

#define MISHAP_LIBRARY TOP_BUILDDIR "/tests/.libs/mishap.so"

/* Share the plan by a file, which is made. False: errno says why. */
bool mishap_share(const char *path);

/* That file; NULL: it is not shared. */
const char *mishap_file(void);

/* From now on: `action` at the nth call, at files whose path holds `where`. */
void mishap_plan(int at, int action, bool lasting, const char *where);

/* No more mishaps (the clock stays as it is). */
void mishap_none(void);

#endif
