/*
 * Requests to the program itself, with no web server in front: over FastCGI
 * or as CGI, whatever the site is. For clients that no web server lets
 * through: slow, broken, silent ones.
 */
#ifndef TDSYNC_TESTS_RAW_H
#define TDSYNC_TESTS_RAW_H

#include "site.h"

struct raw {
	int in, out;   /* what it reads, what it says; the same for FastCGI */
	pid_t pid;     /* of the CGI process; 0: FastCGI */
};

/* Send the parameters: name, value, ..., NULL. False: nobody takes them. */
bool raw_begin(struct raw *r, const struct site *s, const char *const *params);

/* Send a part of the body; raw_end(): that was all. */
bool raw_body(struct raw *r, struct span part);
bool raw_end(struct raw *r);

/*
 * Read the answer (CGI header and body) to its end, and let go. False: it has
 * none, or the process did not end well. `out` is reset first.
 */
bool raw_receive(struct raw *r, struct buf *out);

/* Hang up, whatever is on its way. */
void raw_close(struct raw *r);

/* All at once: the whole body, the whole answer. */
bool raw_call(const struct site *s, const char *const *params, struct span body,
              struct buf *out);

#endif
