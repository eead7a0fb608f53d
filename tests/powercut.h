/*
 * What a disk would hold of a log if the power went now: beside every events.db
 * and events.db-wal that mishap.c's library sees written, a file with the bytes
 * that were synced and no others. What a failed sync was about is lost, also for
 * later ones: Linux marks it clean.
 */
#ifndef TDSYNC_TESTS_POWERCUT_H
#define TDSYNC_TESTS_POWERCUT_H

#include <stddef.h>
#include <stdint.h>

/* Called for calls that were done. `disk` is a folder, "" for: none of this. */
void powercut_wrote(const char *disk, int fd, int64_t at, const void *p, size_t n);
void powercut_cut(const char *disk, int fd, int64_t size);

/* Called before a sync, with what will come of it. */
void powercut_sync(const char *disk, int fd, int works);

/* The disk has what the log in `dir` holds now, which others made. 0, or -1 with
 * errno. */
int powercut_begin(const char *disk, const char *dir);

/* Make in `to` (a folder) what a disk would hold of the log in `dir`. Returns
 * 0, or -1 with errno. */
int powercut_copy(const char *disk, const char *dir, const char *to);

#endif
