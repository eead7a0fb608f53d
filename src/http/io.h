/*
 * What a request needs of the outside, FastCGI and CGI alike: parameters, a
 * body, a place for the answer. The back-ends are fcgi.c and cgi.c.
 */
#ifndef TDSYNC_HTTP_IO_H
#define TDSYNC_HTTP_IO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct io {
	/* A CGI variable; NULL when it is not set. Lives until finish(). */
	const char *(*param)(void *ctx, const char *name);
	/* From so many milliseconds on, read() and write() fall short instead of
	 * waiting; 0: they may wait for as long as it takes. */
	void (*limit)(void *ctx, int64_t ms);
	/* Read up to n bytes of the body. Fewer mean that it ended, or broke. */
	size_t (*read)(void *ctx, void *p, size_t n);
	/* Write n bytes of the answer; false when nobody takes them any more. */
	bool (*write)(void *ctx, const void *p, size_t n);
	/* The answer is whole: send it off, so that the caller waits no longer.
	 * Ends the limit. */
	void (*finish)(void *ctx);
	/* After the answer: let so many milliseconds pass; true, and at once: another
	 * request waits for this process, or it was told to end. */
	bool (*wanted)(void *ctx, int ms);
};

#endif
