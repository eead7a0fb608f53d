/*
 * Tokens: JWTs (design.md, "Tokens"). All libjwt calls are in token.c, which
 * pins the algorithm, demands a key, and checks every claim itself
 * (platform.md section 6). It never learns what an event is.
 */
#ifndef TDSYNC_AUTH_TOKEN_H
#define TDSYNC_AUTH_TOKEN_H

#include "auth/keyring.h"
#include "base/id.h"

#define TOKEN_MAX 4096 /* bytes of a token; a longer one is not looked at */

/* Scopes, as bits. */
#define SCOPE_READ 1u          /* sync:read */
#define SCOPE_WRITE 2u         /* sync:write */
#define SCOPE_PROJECT_ADMIN 4u /* project:admin */
#define SCOPE_SERVER_ADMIN 8u  /* server:admin */

/* The bits of "sync:read sync:write"; false for an unknown scope or none. */
bool scope_parse(struct span text, unsigned *out);

/* The text of a set of bits, scopes with blanks between. */
void scope_add(struct buf *out, unsigned scope);

/* What a valid token says. */
struct claims {
	char jti[ID_MAX];     /* the token's id */
	char sub[ID_MAX];     /* the user's id, "" for none (a share link) */
	unsigned scope;
	bool all_projects;    /* prj is "*" */
	char (*projects)[ID_MAX]; /* else the ids; owned */
	size_t n_projects;
	int64_t iat, nbf, exp; /* seconds since 1970; nbf 0: at once */
	int64_t until;        /* when it stops to be valid: exp, or earlier with
	                       * the key that signed it; set by token_verify() */
};
void claims_free(struct claims *c);

/* Whether the token is good for that project. */
bool claims_cover(const struct claims *c, const char *project_id);

/* What the `aud` of our tokens says. */
#define TOKEN_AUDIENCE "td-sync"

/* How far nbf and iat may lie ahead of our clock, in seconds. */
#define TOKEN_SKEW 60

/*
 * Sign claims with the keyring's signer; the token is appended to out.
 * RC_UNAVAILABLE: no key signs. RC_INVALID: it would be longer than TOKEN_MAX
 * (too many projects).
 */
enum rc token_sign(const struct keyring *k, const char *issuer,
                   const struct claims *c, struct buf *out, struct err *err);

/*
 * Verify a token's signature and claims at a time (TOKEN_SKEW is allowed for
 * nbf and iat, none for exp: a token ends with the second before it).
 * RC_UNAUTHORIZED: err says why, for the log; callers are told the same for all
 * causes. On RC_OK *out is filled: claims_free() it.
 */
enum rc token_verify(const struct keyring *k, const char *issuer,
                     struct span token, int64_t now, struct claims *out,
                     struct err *err);

#endif
