/* Ids: random ones from the system's CSPRNG, and the shapes we accept. */
#ifndef TDSYNC_BASE_ID_H
#define TDSYNC_BASE_ID_H

#include "base/buf.h"
#include "base/rc.h"

/* Room for any id that id_new() makes, NUL included. */
#define ID_MAX 40

/* Fill p with n random bytes (OpenSSL); RC_FAULT when there are none. */
enum rc id_random(void *p, size_t n);

/*
 * Make "PREFIX" + 2 * bytes lower-case hex digits, as "p_" and 8 for a
 * project (protocol.md section 1). The result must fit ID_MAX.
 */
enum rc id_new(const char *prefix, size_t bytes, char out[ID_MAX]);

/* Whether text is the prefix and exactly n lower-case hex digits. */
bool id_is(struct span text, const char *prefix, size_t n);

/* Write n bytes as 2 * n lower-case hex digits and a NUL. */
void id_hex(const unsigned char *p, size_t n, char *out);

/* Decode exactly 2 * n hex digits of either case; false otherwise. */
bool id_unhex(struct span hex, unsigned char *out, size_t n);

#endif
