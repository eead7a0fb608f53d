/*
 * Logging in and out, see tdsync.h: the flow of a device (protocol.md section 2). The
 * server mails a link; who asked proves by PKCE (RFC 7636, S256) that he is who asked.
 */
#include "client/authfile.h"
#include "client/work.h"

#include "base/base64url.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/id.h"
#include "base/json.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define START "/v1/auth/device/start"
#define POLL "/v1/auth/device/poll"
#define SELF "/v1/tokens/self"

/* Bounds of what a server may ask: seconds. */
#define EXPIRES_MAX 3600
#define INTERVAL_MAX 60

/* 32 bytes in base64url, with NUL. */
#define VERIFIER BASE64URL_MAX(HASH_LEN)

/* A login that goes on. */
struct login {
	struct tdsync *t;
	struct remote r;
	char verifier[VERIFIER];
	const char *code;      /* in t->words */
	int64_t expires_s, interval_s;
};

/* --- PKCE --- */

/* A new verifier, and its challenge. */
static enum rc
make_secrets(char verifier[VERIFIER], char challenge[VERIFIER])
{
	unsigned char bytes[HASH_LEN];
	enum rc rc = id_random(bytes, sizeof(bytes));

	if (rc != RC_OK)
		return rc;
	base64url_encode(bytes, HASH_LEN, verifier);
	if ((rc = hash_sha256(span_of(verifier), bytes)) == RC_OK)
		base64url_encode(bytes, HASH_LEN, challenge);
	return rc;
}

/* --- start --- */

static void
add_string(struct buf *out, const char *name, const char *value)
{
	buf_add_byte(out, out->len == 0 ? '{' : ',');
	buf_add_json(out, span_of(name));
	buf_add_byte(out, ':');
	buf_add_json(out, span_of(value));
}

/* A whole number that is one at least, and cut to a bound. */
static bool
read_seconds(struct span object, const char *name, int64_t max, int64_t *out)
{
	struct span v;

	if (!json_get(object, name, &v) || !json_int64(v, out) || *out < 1)
		return false;
	*out = *out > max ? max : *out;
	return true;
}

static enum tdsync_rc
read_start(struct login *l, struct span json)
{
	l->code = words_string(&l->t->words, json, "device_code");
	if (!settings_plain(l->code) || !read_seconds(json, "expires_in", EXPIRES_MAX,
	    &l->expires_s) || !read_seconds(json, "interval", INTERVAL_MAX, &l->interval_s))
		return remote_nonsense(&l->r, "its answer to a login makes no sense", &l->t->err);
	return TDSYNC_OK;
}

/* Why a login did not begin, in place of what was said of the answer. */
static enum tdsync_rc
explain_start(struct login *l, const char *email, enum tdsync_rc rc, int status)
{
	struct err *err = &l->t->err;

	if (status == 400) {
		err_set(err, RC_INVALID, "%s does not take \"%s\" as an address", l->r.url, email);
		return TDSYNC_INVALID;
	}
	if (status == 429)
		err_set(err, RC_BUSY, "%s: too many logins from here: try again in a minute", l->r.url);
	if (status == 404 || status == 405 || status == 410) {
		err_set(err, RC_NOT_FOUND, "%s: no login by mail at this address: is it the right one? "
		        "Else its operator can make you a token for TD_AUTH_KEY", l->r.url);
		return TDSYNC_REFUSED;
	}
	return rc;
}

/* Ask for a link. Not twice: a second one within a minute would not be mailed. */
static enum tdsync_rc
start(struct login *l, const char *email, const char *device)
{
	struct remote_answer a = { 0 };
	struct buf body = { 0 };
	char challenge[VERIFIER];
	enum tdsync_rc rc;

	if (make_secrets(l->verifier, challenge) != RC_OK) {
		err_set(&l->t->err, RC_FAULT, "the system gives no random bytes");
		return TDSYNC_FAULT;
	}
	add_string(&body, "email", email);
	add_string(&body, "code_challenge", challenge);
	add_string(&body, "code_challenge_method", "S256");
	add_string(&body, "device_name", device);
	buf_add_byte(&body, '}');
	if (body.failed) {
		err_set(&l->t->err, RC_FAULT, "out of memory");
		rc = TDSYNC_FAULT;
	} else {
		rc = remote_call(&l->r, START, buf_span(&body), false, &a, &l->t->err);
	}
	rc = rc == TDSYNC_OK ? read_start(l, a.json) : explain_start(l, email, rc, a.reply.status);
	buf_free(&body);
	remote_answer_free(&a);
	return rc;
}

/* --- poll --- */

/* Keep what was handed out. */
static enum tdsync_rc
keep(struct login *l, struct span json, struct tdsync_account *out)
{
	struct words *w = &l->t->words;
	const char *key = words_string(w, json, "api_key");
	struct authfile_member members[] = {
		{ "api_key", key },
		{ "user_id", words_string(w, json, "user_id") },
		{ "email", words_string(w, json, "email") },
		{ "server_url", l->t->settings.url },
		{ "expires_at", words_string(w, json, "expires_at") },
		{ "device_id", NULL },
	};
	char device[ID_MAX];
	/* td would be a new device at each command without one. */
	bool named = l->t->settings.device_id != NULL;
	enum rc rc = RC_OK;

	if (!settings_plain(key))
		return remote_nonsense(&l->r, "its key makes no sense", &l->t->err);
	if (!named && (rc = id_new("", 16, device)) != RC_OK)
		err_set(&l->t->err, rc, "the system gives no random bytes");
	members[5].value = named ? l->t->settings.device_id : device;
	if (rc == RC_OK && w->failed)
		rc = err_set(&l->t->err, RC_FAULT, "out of memory");
	if (rc == RC_OK)
		rc = authfile_write(members, 6, &l->t->err);
	*out = (struct tdsync_account){ members[1].value, members[2].value, members[4].value };
	return rc == RC_OK ? TDSYNC_OK : rc == RC_FAULT ? TDSYNC_FAULT : TDSYNC_LOCAL;
}

/* Read the answer to a poll; *done: it is no "pending". */
static enum tdsync_rc
read_poll(struct login *l, struct span json, bool *done, struct tdsync_account *out)
{
	struct span status;

	json_get(json, "status", &status);
	*done = !json_string_is(status, "pending");
	if (!*done)
		return TDSYNC_OK;
	if (!json_string_is(status, "complete"))
		return remote_nonsense(&l->r, "its answer to a login makes no sense", &l->t->err);
	return keep(l, json, out);
}

/* Poll once. *done: it has come to its end, which the outcome is. */
static enum tdsync_rc
poll(struct login *l, bool *done, struct tdsync_account *out)
{
	struct remote_answer a = { 0 };
	struct buf body = { 0 };
	enum tdsync_rc rc = TDSYNC_FAULT;
	int status;

	add_string(&body, "device_code", l->code);
	add_string(&body, "code_verifier", l->verifier);
	buf_add_byte(&body, '}');
	if (body.failed)
		err_set(&l->t->err, RC_FAULT, "out of memory");
	else
		rc = remote_call(&l->r, POLL, buf_span(&body), false, &a, &l->t->err);
	status = a.reply.status;
	if (rc == TDSYNC_OK) {
		rc = read_poll(l, a.json, done, out);
	} else if (status == 410) {
		err_set(&l->t->err, RC_EXPIRED, "%s: this login is over: begin again with `td-sync "
		        "login`", l->r.url);
		*done = true;
		rc = TDSYNC_REFUSED;
	} else {
		/* No answer, or one that may pass: the person is at his mail meanwhile. */
		*done = (rc != TDSYNC_NETWORK && rc != TDSYNC_BUSY) || status == 200;
	}
	buf_free(&body);
	remote_answer_free(&a);
	return rc;
}

static void
pause_s(const struct login *l)
{
	struct timespec ts = { l->interval_s, 0 };

	while (!l->t->no_pauses && nanosleep(&ts, &ts) != 0 && errno == EINTR)
		;
}

/* Poll until it is done. */
static enum tdsync_rc
wait_for(struct login *l, const char *email, struct tdsync_account *out)
{
	int64_t end_ms = clock_mono_ms() + l->expires_s * 1000;
	enum tdsync_rc rc = TDSYNC_OK;
	bool done = false;

	for (int64_t left = l->expires_s; left > 0 && clock_mono_ms() < end_ms && !done;
	     left -= l->interval_s) {
		pause_s(l);
		rc = poll(l, &done, out);
	}
	if (done || rc != TDSYNC_OK)
		return rc;
	err_set(&l->t->err, RC_EXPIRED, "nobody approved in time. Where no mail came: is %s the "
	        "address of your account at %s? A second mail goes out a minute after the first at "
	        "the earliest", email, l->r.url);
	return TDSYNC_REFUSED;
}

/* The address of the last login. */
static enum tdsync_rc
last_email(struct tdsync *t, const char **out)
{
	struct buf text = { 0 };
	struct span object;
	enum rc rc = authfile_read(&text, &object, &t->err);

	*out = words_string(&t->words, object, "email");
	buf_free(&text);
	if (rc == RC_OK && (*out)[0] != '\0')
		return TDSYNC_OK;
	if (rc == RC_OK)
		err_set(&t->err, RC_INVALID, "give the address of your account: "
		        "`td-sync login --email ADDRESS`");
	return TDSYNC_INVALID;
}

enum tdsync_rc
tdsync_login(struct tdsync *t, const char *email, const char *device,
             void (*mailed)(void *ctx, const char *email, int seconds), void *ctx,
             struct tdsync_account *out)
{
	struct login l = { .t = t, .r = work_remote(t) };
	struct tdsync_account account = { "", "", "" };
	enum tdsync_rc rc = TDSYNC_OK;

	t->err.text[0] = '\0';
	words_clear(&t->words);
	l.r.token = NULL;
	l.r.retries = 0;
	if (email == NULL && (rc = last_email(t, &email)) != TDSYNC_OK)
		return rc;
	switch (authfile_check(&t->err)) {
	case RC_OK:
		break;
	case RC_INVALID:
	case RC_TOO_LARGE:
		return TDSYNC_INVALID;
	default:
		return TDSYNC_LOCAL;
	}
	if ((rc = start(&l, email, device)) == TDSYNC_OK) {
		mailed(ctx, email, (int)l.expires_s);
		rc = wait_for(&l, email, &account);
	}
	if (out != NULL)
		*out = account;
	return rc;
}

/* --- logout --- */

/* Remove the key; the address stays, for the next login. */
static enum tdsync_rc
forget(struct tdsync *t, struct err *err)
{
	static const struct authfile_member members[] = {
		{ "api_key", NULL }, { "user_id", NULL }, { "expires_at", NULL },
	};
	enum rc rc = authfile_write(members, 3, err);

	if (rc == RC_OK) {
		free(t->settings.token);
		t->settings.token = NULL;
	}
	return rc == RC_OK ? TDSYNC_OK : rc == RC_FAULT ? TDSYNC_FAULT : TDSYNC_LOCAL;
}

/* The server where the login was made is told, and no other: that one would not know the
 * key, which looks like one that is over. */
static enum rc
check_server(struct tdsync *t)
{
	struct buf text = { 0 };
	struct span object;
	const char *url;
	enum rc rc = authfile_read(&text, &object, &t->err);

	words_clear(&t->words);
	url = words_string(&t->words, object, "server_url");
	if (rc == RC_OK && url[0] != '\0' && strcmp(url, t->settings.url) != 0)
		rc = err_set(&t->err, RC_INVALID, "the login is one at %s, not at %s: log out without "
		             "--server, and TD_SYNC_URL unset", url, t->settings.url);
	buf_free(&text);
	return rc;
}

enum tdsync_rc
tdsync_logout(struct tdsync *t)
{
	struct remote r = work_remote(t);
	struct remote_answer a = { 0 };
	struct err why;
	enum tdsync_rc told, rc;

	t->err.text[0] = '\0';
	if (t->settings.token == NULL) {
		err_set(&t->err, RC_NOT_FOUND, "nobody is logged in here");
		return TDSYNC_UNAUTHORIZED;
	}
	if (!t->settings.token_kept) {
		err_set(&t->err, RC_INVALID, "the token in use is not that of a login (" AUTHFILE ") but "
		        "TD_AUTH_KEY: unset that; `td-sync token revoke self` ends it everywhere");
		return TDSYNC_INVALID;
	}
	if (check_server(t) != RC_OK)
		return TDSYNC_INVALID;
	told = remote_delete(&r, SELF, &a, &why);
	remote_answer_free(&a);
	if (told == TDSYNC_UNAUTHORIZED) /* it was over already */
		told = TDSYNC_OK;
	rc = forget(t, &t->err);
	if (rc != TDSYNC_OK)
		return rc;
	if (told != TDSYNC_OK)
		err_set(&t->err, RC_BUSY, "logged out here, but the server was not told, so the key is "
		        "still good for who has it: %s", why.text);
	return told;
}
