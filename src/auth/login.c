/* Logging a device in, see login.h. */
#include "auth/login.h"

#include "base/base64url.h"
#include "base/hash.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SELECTOR 32 /* hex digits of a link's halves */
#define SECRET 64
#define CODE 64     /* of what a device polls with, and of the older flow */
#define OLD_CODE 40
#define USER_CODE 6
#define CHALLENGE (BASE64URL_MAX(HASH_LEN) - 1)

static int64_t
now_s(void)
{
	return clock_now_us() / 1000000;
}

/* --- secrets --- */

/* n hex digits of random bytes. */
static enum rc
random_hex(char *out, size_t n, struct err *err)
{
	unsigned char bytes[32];

	if (id_random(bytes, n / 2) != RC_OK)
		return err_set(err, RC_FAULT, "the system gives no random bytes");
	id_hex(bytes, n / 2, out);
	return RC_OK;
}

/*
 * A device's code says when it was made: its last 4 bytes are that time, hidden by its
 * first 4. So one that stands for nothing, as an unknown address gets it, ends when a
 * real one does.
 */
static enum rc
make_code(char out[CODE + 1], struct err *err)
{
	unsigned char bytes[CODE / 2];
	uint32_t now = (uint32_t)now_s();

	if (id_random(bytes, sizeof(bytes)) != RC_OK)
		return err_set(err, RC_FAULT, "the system gives no random bytes");
	for (size_t i = 0; i < 4; i++)
		bytes[sizeof(bytes) - 4 + i] = bytes[i] ^ (unsigned char)(now >> 8 * i);
	id_hex(bytes, sizeof(bytes), out);
	return RC_OK;
}

/* Whether a code was made so long ago that its login is over, but not too long. */
static bool
code_is_over(const char *code)
{
	unsigned char bytes[CODE / 2];
	uint32_t made = 0;
	int64_t age;

	if (!id_unhex(span_of(code), bytes, sizeof(bytes)))
		return false;
	for (size_t i = 0; i < 4; i++)
		made |= (uint32_t)(bytes[sizeof(bytes) - 4 + i] ^ bytes[i]) << 8 * i;
	age = now_s() - made;
	return age >= LOGIN_SECONDS && age < LOGIN_SECONDS + LOGIN_KEPT_SECONDS;
}

/* 6 characters that can't be mistaken for each other. */
static enum rc
make_user_code(char out[USER_CODE + 1], struct err *err)
{
	static const char letters[] = "ABCDEFGHJKMNPQRSTUVWXYZ23456789";
	unsigned char c;

	for (size_t i = 0; i < USER_CODE; i++) {
		do {
			if (id_random(&c, 1) != RC_OK)
				return err_set(err, RC_FAULT, "the system gives no random bytes");
		} while (c >= 256 / (sizeof(letters) - 1) * (sizeof(letters) - 1));
		out[i] = letters[c % (sizeof(letters) - 1)];
	}
	out[USER_CODE] = '\0';
	return RC_OK;
}

static enum rc
digest(const char *text, unsigned char out[HASH_LEN], struct err *err)
{
	return hash_sha256(span_of(text), out) == RC_OK
	       ? RC_OK : err_set(err, RC_FAULT, "SHA-256 can't be computed");
}

/* --- who may --- */

static enum rc
see_one(void *ctx, const struct invitation *i)
{
	(void)i;
	*(bool *)ctx = true;
	return RC_OK;
}

/* Whether that address may get an account by logging in. */
static enum rc
may_sign_up(struct accounts *a, enum sign_up policy, const char *email, bool *out,
            struct err *err)
{
	*out = policy == SIGN_UP_OPEN;
	if (policy != SIGN_UP_INVITED)
		return RC_OK;
	return invitation_list_of(a, span_of(email), see_one, out, err);
}

/* RC_NOT_FOUND: nobody may log in with that address. */
static enum rc
check_address(struct accounts *a, enum sign_up policy, const char *email, struct err *err)
{
	struct user u;
	bool may = false;
	enum rc rc = user_by_email(a, span_of(email), &u, err);

	if (rc != RC_NOT_FOUND)
		return rc;
	if ((rc = may_sign_up(a, policy, email, &may, err)) != RC_OK)
		return rc;
	return may ? RC_OK : err_set(err, RC_NOT_FOUND, "nobody logs in with that address");
}

/* --- begin --- */

enum rc
login_begin(struct accounts *a, enum sign_up policy, const struct login *l,
            struct login_secrets *out, struct err *err)
{
	struct login_keys k = { .selector = out->link };
	char *secret = out->link + SELECTOR + 1;
	char selector[SELECTOR + 1];
	enum rc rc;

	*out = (struct login_secrets){ 0 };
	rc = make_code(out->device_code, err);
	if (rc == RC_OK)
		rc = random_hex(selector, SELECTOR, err);
	if (rc == RC_OK)
		rc = random_hex(secret, SECRET, err);
	if (rc == RC_OK)
		rc = digest(out->device_code, k.code, err);
	if (rc == RC_OK)
		rc = digest(secret, k.secret, err);
	k.selector = selector;
	if (rc == RC_OK)
		rc = check_address(a, policy, l->email, err);
	if (rc == RC_OK)
		rc = login_add(a, &k, l, err);
	if (rc == RC_OK) {
		memcpy(out->link, selector, SELECTOR);
		out->link[SELECTOR] = '.';
	} else {
		out->link[0] = '\0';
	}
	return rc;
}

void
login_unmailed(struct accounts *a, const char *device_code)
{
	unsigned char hash[HASH_LEN];

	if (digest(device_code, hash, NULL) == RC_OK)
		login_forget(a, hash);
}

enum rc
login_begin_code(struct accounts *a, enum sign_up policy, const struct login *l,
                 struct login_secrets *out, struct err *err)
{
	struct login_keys k = { .user_code = out->user_code };
	enum rc rc;

	*out = (struct login_secrets){ 0 };
	rc = check_address(a, policy, l->email, err);
	if (rc == RC_NOT_FOUND)
		return err_set(err, RC_FORBIDDEN, "signups are disabled");
	if (rc == RC_OK)
		rc = random_hex(out->device_code, OLD_CODE, err);
	if (rc == RC_OK)
		rc = digest(out->device_code, k.code, err);
	while (rc == RC_OK) {
		if ((rc = make_user_code(out->user_code, err)) != RC_OK)
			break;
		if ((rc = login_add(a, &k, l, err)) != RC_CONFLICT)
			break;
		rc = RC_OK; /* that code is taken: another one */
	}
	return rc;
}

/* --- where it is --- */

static enum login_at
where(const struct login *l)
{
	if (l->issued_at != 0)
		return LOGIN_ISSUED;
	if (l->verified_at != 0)
		return LOGIN_APPROVED;
	return l->expires_at > now_s() ? LOGIN_PENDING : LOGIN_OVER;
}

bool
login_link_ok(const char *link)
{
	const char *dot = strchr(link, '.');

	return dot != NULL && dot != link && dot[1] != '\0';
}

enum rc
login_of_link(struct accounts *a, const char *link, struct login *out, enum login_at *at,
              struct err *err)
{
	unsigned char hash[HASH_LEN];
	char selector[SELECTOR + 1];
	enum rc rc;

	*at = LOGIN_UNKNOWN;
	if (strlen(link) != SELECTOR + 1 + SECRET || link[SELECTOR] != '.')
		return RC_OK;
	memcpy(selector, link, SELECTOR);
	selector[SELECTOR] = '\0';
	rc = digest(link + SELECTOR + 1, hash, err);
	if (rc == RC_OK)
		rc = login_by_selector(a, selector, out, err);
	if (rc == RC_OK && CRYPTO_memcmp(hash, out->secret, HASH_LEN) == 0)
		*at = where(out);
	return rc == RC_NOT_FOUND ? RC_OK : rc;
}

enum rc
login_of_user_code(struct accounts *a, struct span typed, struct login *out,
                   enum login_at *at, struct err *err)
{
	char code[USER_CODE + 1];
	size_t n = 0;
	enum rc rc;

	*at = LOGIN_UNKNOWN;
	for (size_t i = 0; i < typed.len; i++) {
		char c = typed.p[i];

		if (c == '-' || c == ' ')
			continue;
		if (n == USER_CODE)
			return RC_OK;
		code[n++] = c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
	}
	code[n] = '\0';
	if (n < USER_CODE || strlen(code) != n)
		return RC_OK;
	rc = login_by_user_code(a, code, out, err);
	if (rc == RC_OK)
		*at = where(out);
	return rc == RC_NOT_FOUND ? RC_OK : rc;
}

enum rc
login_of_device(struct accounts *a, const char *device_code, struct login *out,
                enum login_at *at, struct err *err)
{
	unsigned char hash[HASH_LEN];
	enum rc rc = digest(device_code, hash, err);

	*at = LOGIN_UNKNOWN;
	*out = (struct login){ 0 };
	if (rc == RC_OK)
		rc = login_by_code(a, hash, out, err);
	if (rc == RC_OK)
		*at = where(out);
	if (rc == RC_NOT_FOUND)
		rc = RC_OK;
	/* A link's ends by its code, whether that stands for something or not. */
	if ((*at == LOGIN_UNKNOWN || *at == LOGIN_PENDING) && code_is_over(device_code))
		*at = LOGIN_OVER;
	return rc;
}

/* --- approve, issue --- */

enum rc
login_approve(struct accounts *a, enum sign_up policy, const struct login *l,
              struct err *err)
{
	bool may;
	enum rc rc = may_sign_up(a, policy, l->email, &may, err);

	return rc == RC_OK ? login_verify(a, l, may, err) : rc;
}

bool
login_challenge_ok(struct span challenge)
{
	char hash[HASH_LEN];
	size_t n;

	return challenge.len == CHALLENGE && base64url_decode(challenge, hash, &n);
}

bool
login_verifier_ok(const struct login *l, struct span verifier)
{
	unsigned char hash[HASH_LEN];
	char text[CHALLENGE + 1];

	if (strlen(l->challenge) != CHALLENGE || hash_sha256(verifier, hash) != RC_OK)
		return false;
	base64url_encode(hash, sizeof(hash), text);
	return CRYPTO_memcmp(text, l->challenge, CHALLENGE) == 0;
}

enum rc
login_issue_key(struct auth *a, const struct login *l, struct user *user, struct buf *out,
                int64_t *expires_at, struct err *err)
{
	struct token_row row;
	struct accounts *accounts;
	size_t before = out->len;
	char name[ACCOUNT_TEXT];
	enum rc rc = auth_accounts(a, &accounts, err);

	if (rc == RC_OK)
		rc = user_by_email(accounts, span_of(l->email), user, err);
	if (rc != RC_OK)
		return rc;
	snprintf(name, sizeof(name), "%s", l->device[0] != '\0' ? l->device : "login");
	rc = auth_make(a, &(struct token_plan){
		.user_id = user->id, .name = name,
		.scope = SCOPE_READ | SCOPE_WRITE | SCOPE_PROJECT_ADMIN,
		.lifetime_s = LOGIN_KEY_DAYS * INT64_C(86400),
	}, &row, out, err);
	if (rc == RC_OK) /* they may have been opened anew */
		rc = auth_accounts(a, &accounts, err);
	if (rc == RC_OK)
		rc = login_issue(accounts, l, &row, err);
	if (rc != RC_OK)
		out->len = before;
	*expires_at = row.expires_at;
	return rc;
}
