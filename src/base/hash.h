/* SHA-256 (OpenSSL). */
#ifndef TDSYNC_BASE_HASH_H
#define TDSYNC_BASE_HASH_H

#include "base/buf.h"
#include "base/rc.h"

#define HASH_LEN 32

/* SHA-256 of the bytes of a span. RC_FAULT when OpenSSL fails. */
enum rc hash_sha256(struct span text, unsigned char out[HASH_LEN]);

#endif
