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
	int64_t iat, nbf, exp; /* seconds since 1970 */
};
void claims_free(struct claims *c);

/* Whether the token is good for that project. */
bool claims_cover(const struct claims *c, const char *project_id);

/* Sign claims with the keyring's signer; the token is appended to out. */
enum rc token_sign(const struct keyring *k, const char *issuer,
                   const struct claims *c, struct buf *out, struct err *err);

/*
 * Verify a token's signature and claims at a time (60 s of skew allowed for
 * nbf and iat). RC_UNAUTHORIZED: err says why, for the log; callers are told the
 * same for all causes. On RC_OK *out is filled: claims_free() it.
 */
enum rc token_verify(const struct keyring *k, const char *issuer,
                     struct span token, int64_t now, struct claims *out,
                     struct err *err);

#endif
