/* For transports that have an answer in memory: its body goes where the client
 * wants it (src/client/transport.h). */
#ifndef TDSYNC_HARNESS_INTO_FILE_H
#define TDSYNC_HARNESS_INTO_FILE_H

#include "client/transport.h"

/* Move a good answer's body into the file, where the request has one; a 206
 * goes on where the file ends. RC_UNAVAILABLE: it can't be written. */
enum rc into_file(const struct transport_request *rq, struct transport_reply *re,
                  const char *tag, struct err *err);

#endif
