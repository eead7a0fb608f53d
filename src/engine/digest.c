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

/* Short pieces are collected, so that a long payload needs no copy. */
#define COLLECT 8192

struct digester {
	struct hash hash;
	struct buf *collected;
	bool failed; /* no memory to collect in */
};

static void
flush(struct digester *d)
{
	d->failed = d->failed || d->collected->failed;
	hash_add(&d->hash, buf_span(d->collected));
	buf_reset(d->collected);
}

static void
put(void *ctx, struct span piece)
{
	struct digester *d = ctx;

	if (d->collected->len + piece.len > COLLECT)
		flush(d);
	if (piece.len > COLLECT)
		hash_add(&d->hash, piece);
	else
		buf_add_span(d->collected, piece);
}

enum rc
event_digest(struct event *ev, struct instant at, struct buf *scratch)
{
	struct digester d = { .collected = scratch };
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
	hash_begin(&d.hash);
	json_canonical_pieces(ev->payload, put, &d);
	flush(&d);
	rc = hash_end(&d.hash, hash);
	if (rc != RC_OK || d.failed)
		return RC_FAULT;
	memcpy(ev->digest, hash, EVENT_DIGEST_LEN);
	return RC_OK;
}

enum rc
event_digest_twin(struct event *ev)
{
	unsigned char hash[HASH_LEN];
	struct buf text = { 0 };
	enum rc rc;

	buf_add_hex(&text, ev->digest, EVENT_DIGEST_LEN);
	buf_add_byte(&text, '@');
	buf_add_int(&text, ev->seq);
	rc = text.failed ? RC_FAULT : hash_sha256(buf_span(&text), hash);
	buf_free(&text);
	if (rc == RC_OK)
		memcpy(ev->digest, hash, EVENT_DIGEST_LEN);
	return rc;
}
