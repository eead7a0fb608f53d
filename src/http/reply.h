/* Answers: which status an outcome is, how an error and a response look. */
#ifndef TDSYNC_HTTP_REPLY_H
#define TDSYNC_HTTP_REPLY_H

#include "http/request.h"

/* Append `lead` ("{" or ",") and a member whose value is text. */
void reply_text(struct buf *out, const char *lead, const char *name, const char *text);

/* Add a header line. */
void reply_header(struct request *r, const char *name, const char *value);

/* Make the answer an error with a status and code of its own. */
void reply_error(struct request *r, int status, const char *code, const char *message);

/*
 * Make the answer the error of an outcome, r->err its sentence (where the
 * client may see it). Faults go to the error log, with their cause.
 */
void reply_rc(struct request *r, enum rc rc);

/* Whether the caller has the answer of that ETag already (If-None-Match). */
bool reply_matches(const struct request *r, const char *etag);

/* Write the answer. */
void reply_send(struct request *r);

#endif
