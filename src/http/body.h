/* Small JSON bodies: an object whose members are text, mostly. */
#ifndef TDSYNC_HTTP_BODY_H
#define TDSYNC_HTTP_BODY_H

#include "http/request.h"

/* A member to look for. */
struct body_field {
	const char *name;
	struct buf *text; /* its decoded text, empty where it is absent; NULL: any value will do */
	bool given;       /* it is there and not null */
	struct span value; /* as it stands in the body; empty where it is absent */
};

/*
 * Read the members out of r->body as the Go server does: the first JSON value
 * counts, unknown members are ignored, null is as if absent. RC_INVALID
 * "invalid json body: CAUSE" for anything but an object, or another type of
 * member. `fields` ends with a NULL name.
 */
enum rc body_parse(struct request *r, struct body_field *fields);

#endif
