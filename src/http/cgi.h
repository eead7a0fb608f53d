/* Plain CGI: one request from the environment, stdin and stdout. */
#ifndef TDSYNC_HTTP_CGI_H
#define TDSYNC_HTTP_CGI_H

#include "http/server.h"

/* Whether this process was started as a CGI program. */
bool cgi_asked(void);

/* Serve the one request. Returns the exit status. */
int cgi_run(struct server *s);

/* Answer the one request with 500: the server can't even start. */
void cgi_fail(void);

#endif
