/*
 * A disk that takes nothing, for a child of a test: read_only() in the child, which ends
 * with 0 where all was as it should be; READ_ONLY_REFUSED where the system didn't let us.
 */
#ifndef TDSYNC_TESTS_READ_ONLY_H
#define TDSYNC_TESTS_READ_ONLY_H

#include <check.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/wait.h>

#define READ_ONLY_REFUSED 77

/* The folder is read-only, in a mount namespace of our own. False: we aren't let. */
static inline bool
read_only(const char *dir)
{
	return unshare(CLONE_NEWNS) == 0 &&
	       mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
	       mount(dir, dir, NULL, MS_BIND, NULL) == 0 &&
	       mount(NULL, dir, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL) == 0;
}

/* The child's end. */
static inline void
read_only_ended(pid_t child)
{
	int status;

	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert(WIFEXITED(status));
	if (WEXITSTATUS(status) == READ_ONLY_REFUSED)
		printf("skipped: a read-only mount needs root\n");
	else
		ck_assert_int_eq(WEXITSTATUS(status), 0);
}

#endif
