/* The idempotency key, see digest.h. */
#include "engine/digest.h"

#include "base/hash.h"
#include "base/json.h"

#include <string.h>

/* A field with its length before it, so that no two lists of fields read alike. */
static void
add_field(struct buf *b, struct span s)
{
	buf_add_int(b, (int64_t)s.len);
	buf_add_byte(b, ':');
	buf_add_span(b, s);
}

enum rc
event_digest(struct event *ev, struct instant at, struct buf *scratch)
{
	unsigned char hash[HASH_LEN];
	enum rc rc;

	buf_reset(scratch);
	add_field(scratch, ev->type);
	add_field(scratch, ev->id);
	add_field(scratch, span_of(action_name(ev->action)));
	buf_add_int(scratch, at.sec);
	buf_add_byte(scratch, '.');
	buf_add_int(scratch, at.nsec);
	buf_add_byte(scratch, ':');
	if (ev->action_id == 0) {
		add_field(scratch, ev->device);
		add_field(scratch, ev->session);
	}
	json_canonical(ev->payload, scratch);
	if (scratch->failed)
		return RC_FAULT;
	if ((rc = hash_sha256(buf_span(scratch), hash)) != RC_OK)
		return rc;
	memcpy(ev->digest, hash, EVENT_DIGEST_LEN);
	return RC_OK;
}
