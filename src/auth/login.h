/*
 * Logging a device in (protocol.md section 2): by a link that is mailed to the person
 * (PKCE S256), or by the older flow's code, which anyone may type in. Who may, what
 * the secrets are, and when a login gets its key; sending mail and showing pages is
 * the caller's. Of secrets only their SHA-256 is kept, so a copy of server.db opens
 * nothing.
 */
#ifndef TDSYNC_AUTH_LOGIN_H
#define TDSYNC_AUTH_LOGIN_H

#include "auth/auth.h"

/* Who may get an account by logging in (the key `signup`). */
enum sign_up {
	SIGN_UP_CLOSED,
	SIGN_UP_INVITED, /* whose address has an invitation that waits */
	SIGN_UP_OPEN
};

#define LOGIN_KEY_DAYS 365 /* a login's key lives */

/* What a new login is known by; text with NUL. */
struct login_secrets {
	char device_code[65];           /* 64 hex digits, of a code's login 40 */
	char link[33 + 65];             /* SELECTOR.SECRET, 32 and 64 hex digits */
	char user_code[7];              /* for people: 6 characters */
};

/*
 * Begin a login by link. l has email, challenge, device and address. RC_OK: mail the link.
 * RC_NOT_FOUND: nobody may log in with that address. RC_CROWDED: its mail went out a moment
 * ago. Both are nobody's to know: out->device_code is there all the same, and
 * will be answered like any other.
 */
enum rc login_begin(struct accounts *a, enum sign_up policy, const struct login *l,
                    struct login_secrets *out, struct err *err);

/* Its mail did not go out: the next one may begin at once. */
void login_unmailed(struct accounts *a, const char *device_code);

/* Begin one by code. RC_FORBIDDEN: there is no such user, and sign-up is closed to him. */
enum rc login_begin_code(struct accounts *a, enum sign_up policy, const struct login *l,
                         struct login_secrets *out, struct err *err);

/* Where a login is. */
enum login_at {
	LOGIN_UNKNOWN,  /* there is none of that code or link, or it is long over */
	LOGIN_PENDING,  /* waits for its approval */
	LOGIN_APPROVED,
	LOGIN_ISSUED,   /* has its key */
	LOGIN_OVER      /* was not approved in time */
};

/* The login of a mailed link ("SELECTOR.SECRET"), or of a code that a person typed (any
 * case, '-' and blanks ignored). A wrong secret is LOGIN_UNKNOWN. */
enum rc login_of_link(struct accounts *a, const char *link, struct login *out,
                      enum login_at *at, struct err *err);
enum rc login_of_user_code(struct accounts *a, struct span typed, struct login *out,
                           enum login_at *at, struct err *err);

/* Whether a link has both its halves. */
bool login_link_ok(const char *link);

/* Approve a pending login; its user is made where the policy lets him sign up.
 * RC_CONFLICT: it is no longer pending. RC_NOT_FOUND: nobody has that address. */
enum rc login_approve(struct accounts *a, enum sign_up policy, const struct login *l,
                      struct err *err);

/* The login that a device polls for. A code that was never given looks pending, and
 * over when one as old would be: it can't be told from one for an unknown address. out
 * is all zeros where there is no login. */
enum rc login_of_device(struct accounts *a, const char *device_code, struct login *out,
                        enum login_at *at, struct err *err);

/* Whether a verifier is the one of the login's challenge (RFC 7636, S256). */
bool login_verifier_ok(const struct login *l, struct span verifier);

/* Whether a text can be an S256 challenge: 43 characters of base64url. */
bool login_challenge_ok(struct span challenge);

/*
 * Give an approved login its key, once, even to two polls at the same instant. The key is
 * appended to out. RC_CONFLICT: it has one. RC_NOT_FOUND: the user has gone since.
 */
enum rc login_issue_key(struct auth *a, const struct login *l, struct user *user,
                        struct buf *out, int64_t *expires_at, struct err *err);

#endif
