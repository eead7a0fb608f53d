/*
 * Whether a request is one too many: the worker's own limits (http/rates.h), put to
 * whose it is and what it asks for. nginx/td-sync.conf.in does the same by its maps.
 */
#ifndef TDSYNC_HTTP_ADMIT_H
#define TDSYNC_HTTP_ADMIT_H

#include "http/request.h"

/* Count a request whose path was looked up; nothing else of it is judged yet. False:
 * it is too many, and the answer says so. */
bool admit(struct request *r);

#endif
