/*
 * Plain CGI without a web server: for every request the real td-sync.fcgi is
 * executed, with the environment, stdin and stdout that a web server gives a
 * CGI program.
 */
#ifndef TDSYNC_HARNESS_TRANSPORT_CGI_H
#define TDSYNC_HARNESS_TRANSPORT_CGI_H

#include "client/transport.h"

/*
 * A transport that executes `program` for a data folder; its logs go into
 * `logs`. All are copied. On RC_OK *out is new: (*out)->free(*out).
 */
enum rc transport_cgi(const char *program, const char *data, const char *logs,
                      struct transport **out, struct err *err);

/* The next request's body ends after so many bytes, whatever its length says. */
void transport_cgi_cut(struct transport *t, size_t after);

#endif
