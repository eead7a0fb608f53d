/* SHA-256 (OpenSSL). */
#ifndef TDSYNC_BASE_HASH_H
#define TDSYNC_BASE_HASH_H

#include "base/buf.h"
#include "base/rc.h"

#define HASH_LEN 32

/* SHA-256 of the bytes of a span. RC_FAULT when OpenSSL fails. */
enum rc hash_sha256(struct span text, unsigned char out[HASH_LEN]);

/*
 * The same in pieces: begin, add as often as needed, end, which is to be
 * called in any case. The field is OpenSSL's.
 */
struct hash {
	struct evp_md_ctx_st *ctx; /* NULL after a failure */
};

void hash_begin(struct hash *h);
void hash_add(struct hash *h, struct span piece);
enum rc hash_end(struct hash *h, unsigned char out[HASH_LEN]);

#endif
