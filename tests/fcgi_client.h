/*
 * The other end of FastCGI, as small as can be: for what no web server would
 * send, and for requests that must be on their way at an exact moment.
 */
#ifndef TDSYNC_TESTS_FCGI_CLIENT_H
#define TDSYNC_TESTS_FCGI_CLIENT_H

#include "base/buf.h"

/* Connect to a Unix socket; -1: nobody is there. */
int fcgi_connect(const char *path);

/* Send the parameters of a request, and its body in as many parts as one
 * likes; an empty part ends it. False: nobody takes it. */
bool fcgi_begin(int fd, const char *const *params, bool keep);
bool fcgi_body(int fd, struct span part);

/*
 * Send a whole request: parameters as name, value, ..., NULL; a body, of which the
 * web server says that it is whole. `keep` asks to keep the connection.
 */
bool fcgi_send(int fd, const char *const *params, struct span body, bool keep);

/* Read the answer (CGI header and body) to its end and close. False: it has
 * no end. `out` is reset first and NUL-terminated. */
bool fcgi_receive(int fd, struct buf *out);

#endif
