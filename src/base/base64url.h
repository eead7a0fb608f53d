/* base64url without padding (RFC 4648, section 5), as JWTs and PKCE have it. */
#ifndef TDSYNC_BASE_BASE64URL_H
#define TDSYNC_BASE_BASE64URL_H

#include "base/buf.h"

/* Room for n bytes encoded, with NUL. */
#define BASE64URL_MAX(n) (((n) * 4 + 2) / 3 + 1)

/* Encode n bytes into out, with NUL. */
void base64url_encode(const unsigned char *p, size_t n, char *out);

/*
 * Decode; only the one spelling of the bytes is taken. out has room for 3/4 of the text.
 * False: it is something else.
 */
bool base64url_decode(struct span text, char *out, size_t *len);

#endif
