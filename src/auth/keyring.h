/*
 * The keys that sign tokens: data/keys/{kid}.json, one file each, 0600. A key
 * has exactly one algorithm. The newest active key signs, all that are not
 * retired verify: so keys rotate with an overlap (design.md, "Tokens").
 */
#ifndef TDSYNC_AUTH_KEYRING_H
#define TDSYNC_AUTH_KEYRING_H

#include "base/buf.h"
#include "base/rc.h"

/*
 * A key file holds one JSON object:
 *   {"kid","alg":"HS256","secret":HEX,"created_at","retired_at"?}
 *   {"kid","alg":"ES256"|"RS256","pem":TEXT,"created_at","retired_at"?}
 * Times are RFC 3339. A PEM with a private key signs and verifies, one with a
 * public key only verifies. EC keys are on P-256, RSA keys have 2048 bits or
 * more, secrets 32 bytes or more.
 */
struct key {
	char kid[40];             /* letters, digits, '-', '_'; the file's name */
	char alg[8];              /* "HS256", "ES256", "RS256" */
	unsigned char *secret;    /* verifies. HS256: 32 bytes or more; else the
	                           * public key as PEM, NUL-terminated */
	size_t secret_len;        /* never 0; without the NUL */
	unsigned char *signing;   /* signs: the same, or the private PEM; NULL
	                           * where there is only a public key */
	size_t signing_len;
	int64_t created_at;       /* seconds since 1970 */
	int64_t retired_at;       /* 0: in use; else it verifies until then */
};

struct keyring; /* fields are private to keyring.c */

/*
 * Read all keys of a folder (*.json). RC_UNAVAILABLE: the folder is missing,
 * or a key is unreadable, malformed, weak, or open to others than its owner;
 * err names the file. A folder without keys is none of that.
 */
enum rc keyring_open(const char *dir, struct keyring **out, struct err *err);

/* NULL is fine. */
void keyring_close(struct keyring *k);

/* Whether the folder changed since (its mtime): open it anew. */
bool keyring_stale(const struct keyring *k);

/* The key of that id, NULL when there is none. Borrowed. */
const struct key *keyring_find(const struct keyring *k, const char *kid);

/* The key that signs now, NULL when there is none. Borrowed. */
const struct key *keyring_signer(const struct keyring *k);

/* The keys in order of creation; NULL past the last. Borrowed. */
const struct key *keyring_at(const struct keyring *k, size_t i);

/* Make a new HS256 key file and tell its kid. It signs from now on; the
 * others stay as they are. */
enum rc keyring_create(const char *dir, char kid[40], struct err *err);

/*
 * Make a new signing key; those in use until now verify for another
 * `overlap` seconds (the longest life of a token).
 */
enum rc keyring_rotate(const char *dir, int64_t overlap, char kid[40], struct err *err);

#endif
