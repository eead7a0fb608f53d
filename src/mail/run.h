/* A program that is run, given its input, and waited for. */
#ifndef TDSYNC_MAIL_RUN_H
#define TDSYNC_MAIL_RUN_H

#include "base/buf.h"
#include "base/rc.h"

/* How a program ended. */
struct ran {
	bool late;      /* it did not end in time and was killed, with its group */
	int status;     /* of waitpid(2) */
	char said[512]; /* the start of what it printed, on both outputs: one line of
	                 * UTF-8 without control characters; "" for nothing */
};

/*
 * Run argv[0], a path, with `input` as a file on its standard input, and wait for
 * its end, `seconds` at most. It begins with nothing of ours: a process group of
 * its own, all signals at their defaults and none blocked, no descriptor but 0 to
 * 2, and of the environment PATH, HOME, USER, LOGNAME, TMPDIR, TZ and LANG alone
 * (a CGI program's is written by who asks).
 *
 * RC_OK: it ran, see *out. RC_UNAVAILABLE: it could not be started, err says why.
 */
enum rc run_program(const char *const *argv, struct span input, int64_t seconds,
                    struct ran *out, struct err *err);

#endif
