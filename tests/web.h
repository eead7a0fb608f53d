/* HTTP for tests: one call, its whole answer (libcurl). */
#ifndef TDSYNC_TESTS_WEB_H
#define TDSYNC_TESTS_WEB_H

#include "base/buf.h"

struct web_call {
	const char *method;           /* NULL: GET */
	const char *url;              /* scheme, host, and a path the service lies under */
	const char *path;             /* sent as it is, with its query */
	const char *token;            /* NULL: no Authorization */
	struct span body;             /* p NULL: none */
	const char *headers[8];       /* further lines: "X-Log-Id: ..." */
};

struct web_answer {
	int status;                   /* 0: no answer */
	struct buf headers;           /* lines as they came, NUL-terminated */
	struct buf body;              /* NUL-terminated */
};

/* Make the call; `a` is reset first. False: no whole answer came. */
bool web_call(const struct web_call *c, struct web_answer *a);
void web_free(struct web_answer *a);

/* The value of a header, "" where there is none. Borrowed until the next call. */
const char *web_header(const struct web_answer *a, const char *name);

/* How many headers of that name there are. */
int web_header_count(const struct web_answer *a, const char *name);

/* Whether the body is one JSON value and a newline (judged by json-c). */
bool web_is_json(const struct web_answer *a);

#endif
