/*
 * A limit on how long calls may block that know none of their own: those of
 * libfcgi, and read(2) and write(2) of a pipe. It uses the process's real-time
 * timer, and is on only while a request or an answer is on its way: waiting
 * for a lock (base/lock.c) uses the same.
 */
#ifndef TDSYNC_HTTP_LIMIT_H
#define TDSYNC_HTTP_LIMIT_H

#include <stdint.h>

/* Handle the timer's signal; once, before the others. */
void limit_init(void);

/* From so many milliseconds on no call blocks: it ends with EINTR. */
void limit_start(int64_t ms);

/* As long as they like again. */
void limit_stop(void);

#endif
