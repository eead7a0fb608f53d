/*
 * The keys that sign tokens: data/keys/{kid}.json, one file each, 0600. A key
 * has exactly one algorithm. The newest active key signs, all that are not
 * retired verify: so keys rotate with an overlap (design.md, "Tokens").
 */
#ifndef TDSYNC_AUTH_KEYRING_H
#define TDSYNC_AUTH_KEYRING_H

#include "base/buf.h"
#include "base/rc.h"

struct key {
	char kid[40];
	char alg[8];              /* "HS256", "ES256", "RS256" */
	unsigned char *secret;    /* HS256: 32 bytes or more; else a PEM, NUL-terminated */
	size_t secret_len;        /* never 0 */
	int64_t created_at;       /* seconds since 1970 */
	int64_t retired_at;       /* 0: in use; later: verifies until then */
};

struct keyring; /* fields are private to keyring.c */

/* Read all keys of a folder. An unreadable, empty, short or world-readable
 * key is an error that names the file (RC_UNAVAILABLE). */
enum rc keyring_open(const char *dir, struct keyring **out, struct err *err);
void keyring_close(struct keyring *k);

/* Whether the folder changed since (its mtime): open it anew. */
bool keyring_stale(const struct keyring *k);

/* The key of that id, NULL when there is none. Borrowed. */
const struct key *keyring_find(const struct keyring *k, const char *kid);

/* The key that signs now, NULL when there is none. Borrowed. */
const struct key *keyring_signer(const struct keyring *k);

/* The keys in order of creation; NULL past the last. Borrowed. */
const struct key *keyring_at(const struct keyring *k, size_t i);

/* Make a new HS256 key file and tell its kid. */
enum rc keyring_create(const char *dir, char kid[40], struct err *err);

/*
 * Make a new signing key; those in use until now verify for another
 * `overlap` seconds (the longest life of a token).
 */
enum rc keyring_rotate(const char *dir, int64_t overlap, char kid[40], struct err *err);

#endif
