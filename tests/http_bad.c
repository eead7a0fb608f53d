/*
 * Bad input: whatever a request holds, the answer is a documented status with
 * a message that names the cause, and the log is as it was.
 */
#include "http_test.h"

#include "fcgi_client.h"

#include "fcgi_client.h"

#include "base/json.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define PUSH "/v1/projects/{p}/sync/push"
#define PULL "/v1/projects/{p}/sync/pull"
#define STATUS "/v1/projects/{p}/sync/status"

/* A push of one event, in parts. */
#define HEAD "{\"device_id\":\"d\",\"session_id\":\"s\",\"events\":[{\"client_action_id\":1," \
             "\"action_type\":\"create\","
#define TYPE "\"entity_type\":\"issues\","
#define ID "\"entity_id\":\"td-1\","
#define PAYLOAD "\"payload\":{\"new_data\":{\"id\":\"td-1\",\"title\":\"T\"}},"
#define TIME "\"client_timestamp\":\"2026-03-01T10:00:00Z\""
#define TAIL "}]}"

/* --- requests that web servers pass on --- */

static const struct row {
	const char *why;
	const char *method, *path;
	const char *body;    /* NULL: none */
	int status;
	const char *says;    /* part of the message */
	const char *header;
	enum who who;        /* OWNER where it is not named */
} rows[] = {
	{ "not JSON", "POST", PUSH, "push it", 400, "invalid json body" },
	{ "nothing", "POST", PUSH, "", 400, "invalid json body" },
	{ "blank", "POST", PUSH, " \n", 400, "invalid json body" },
	{ "cut short", "POST", PUSH, "{\"device_id\":\"d\",\"session_id\":\"s\",\"events\":[",
	  400, "invalid json body" },
	{ "an array", "POST", PUSH, "[]", 400, "invalid json body" },
	{ "a string", "POST", PUSH, "\"push\"", 400, "invalid json body" },
	{ "single quotes", "POST", PUSH, "{'device_id':'d'}", 400, "invalid json body" },
	{ "no device", "POST", PUSH, "{\"session_id\":\"s\",\"events\":[{}]}", 400,
	  "device_id is required" },
	{ "no session", "POST", PUSH, "{\"device_id\":\"d\",\"events\":[{}]}", 400,
	  "session_id is required" },
	{ "a number for a device", "POST", PUSH,
	  "{\"device_id\":1,\"session_id\":\"s\",\"events\":[{}]}", 400, "device_id" },
	{ "no events", "POST", PUSH, "{\"device_id\":\"d\",\"session_id\":\"s\",\"events\":[]}",
	  400, "events array is empty" },
	{ "events an object", "POST", PUSH,
	  "{\"device_id\":\"d\",\"session_id\":\"s\",\"events\":{}}", 400, "events must be an array" },
	{ "an event a number", "POST", PUSH,
	  "{\"device_id\":\"d\",\"session_id\":\"s\",\"events\":[1]}", 400, "an event must be" },
	{ "the same envelope key twice", "POST", PUSH,
	  "{\"device_id\":\"d\",\"device_id\":\"e\",\"session_id\":\"s\",\"events\":[{}]}", 400,
	  "device_id is there twice" },
	{ "the same envelope key twice, escaped", "POST", PUSH,
	  "{\"device_id\":\"d\",\"device\\u005fid\":\"e\",\"session_id\":\"s\",\"events\":[{}]}",
	  400, "device_id is there twice" },
	{ "the same key of an event twice", "POST", PUSH,
	  HEAD TYPE ID ID PAYLOAD TIME TAIL, 400, "entity_id twice" },
	{ "the server's own device", "POST", PUSH,
	  "{\"device_id\":\"td-sync\",\"session_id\":\"s\",\"events\":[{}]}", 400, "td-sync" },
	{ "an action id that is a string", "POST", PUSH,
	  "{\"device_id\":\"d\",\"session_id\":\"s\",\"events\":[{\"client_action_id\":\"1\","
	  "\"action_type\":\"create\"," TYPE ID PAYLOAD TIME TAIL, 400, "client_action_id" },
	{ "an action id with a fraction", "POST", PUSH,
	  "{\"device_id\":\"d\",\"session_id\":\"s\",\"events\":[{\"client_action_id\":1.5,"
	  "\"action_type\":\"create\"," TYPE ID PAYLOAD TIME TAIL, 400, "client_action_id" },
	{ "an action id above 2^63", "POST", PUSH,
	  "{\"device_id\":\"d\",\"session_id\":\"s\",\"events\":[{\"client_action_id\":"
	  "9223372036854775808,\"action_type\":\"create\"," TYPE ID PAYLOAD TIME TAIL, 400,
	  "client_action_id" },
	{ "invalid UTF-8 in an id", "POST", PUSH,
	  HEAD TYPE "\"entity_id\":\"td-\xff\"," PAYLOAD TIME TAIL, 400, "invalid json body" },
	{ "invalid UTF-8 in a payload", "POST", PUSH,
	  HEAD TYPE ID "\"payload\":\"\xc0\xaf\"," TIME TAIL, 400, "invalid json body" },
	{ "a raw newline in a string", "POST", PUSH,
	  HEAD TYPE ID "\"payload\":\"a\nb\"," TIME TAIL, 400, "invalid json body" },
	{ "NaN", "POST", PUSH, HEAD TYPE ID "\"payload\":NaN," TIME TAIL, 400,
	  "invalid json body" },
	{ "a NUL in an id", "POST", PUSH,
	  HEAD TYPE "\"entity_id\":\"td-\\u0000\"," PAYLOAD TIME TAIL, 400, "entity_id" },
	{ "half a surrogate pair in an id", "POST", PUSH,
	  HEAD TYPE "\"entity_id\":\"td-\\ud800\"," PAYLOAD TIME TAIL, 400, "entity_id" },
	{ "an id that is a number", "POST", PUSH,
	  HEAD TYPE "\"entity_id\":7," PAYLOAD TIME TAIL, 400, "entity_id" },
	{ "a type with a blank", "POST", PUSH,
	  HEAD "\"entity_type\":\"wid gets\"," ID PAYLOAD TIME TAIL, 400, "invalid entity_type" },
	{ "a type in capitals that nobody knows", "POST", PUSH,
	  HEAD "\"entity_type\":\"Widgets\"," ID PAYLOAD TIME TAIL, 400, "invalid entity_type" },
	{ "a type that is SQL", "POST", PUSH,
	  HEAD "\"entity_type\":\"issues;drop\"," ID PAYLOAD TIME TAIL, 400, "invalid entity_type" },
	{ "no timestamp", "POST", PUSH, HEAD TYPE ID PAYLOAD "\"x\":1" TAIL, 400,
	  "invalid timestamp for action 1" },
	{ "a day that is none", "POST", PUSH,
	  HEAD TYPE ID PAYLOAD "\"client_timestamp\":\"2026-02-30T10:00:00Z\"" TAIL, 400,
	  "invalid timestamp for action 1" },
	{ "a timestamp without zone", "POST", PUSH,
	  HEAD TYPE ID PAYLOAD "\"client_timestamp\":\"2026-02-20T10:00:00\"" TAIL, 400,
	  "invalid timestamp for action 1" },
	{ "a reader pushes", "POST", PUSH, HEAD TYPE ID PAYLOAD TIME TAIL, 403,
	  "have reader, need writer", NULL, READER },
	{ "a stranger pushes", "POST", PUSH, HEAD TYPE ID PAYLOAD TIME TAIL, 403,
	  "not a member", NULL, STRANGER },
	{ "a stranger pulls", "GET", PULL, NULL, 403, "not a member", NULL, STRANGER },
	{ "nobody pushes", "POST", PUSH, HEAD TYPE ID PAYLOAD TIME TAIL, 401,
	  "missing authorization header", NULL, NOBODY },
	{ "a deleted project", "POST", "/v1/projects/{gone}/sync/push",
	  HEAD TYPE ID PAYLOAD TIME TAIL, 404, "project not found" },
	{ "a deleted project is pulled", "GET", "/v1/projects/{gone}/sync/pull", NULL, 404,
	  "project not found" },
	{ "a deleted project's status", "GET", "/v1/projects/{gone}/sync/status", NULL, 404,
	  "project not found" },
	{ "a log id that is none", "GET", PULL, NULL, 400, "invalid X-Log-Id", "X-Log-Id: 12" },
	{ "a last event without digest", "GET", PULL, NULL, 400, "invalid X-Log-Last",
	  "X-Log-Last: 5" },
	{ "a last event of no number", "GET", STATUS, NULL, 400, "invalid X-Log-Last",
	  "X-Log-Last: x:00000000000000000000000000000000" },
	{ "a limit beyond numbers", "GET", PULL "?limit=99999999999999999999", NULL, 400,
	  "invalid limit" },
	{ "a NUL in a number", "GET", PULL "?after_server_seq=1%00", NULL, 400,
	  "invalid after_server_seq" },
	{ "another method", "DELETE", PULL, NULL, 405, "method" },
	{ "OPTIONS", "OPTIONS", PULL, NULL, 405, "method" },
	{ "a method nobody knows", "BREW", PULL, NULL, 405, "method" },
	{ "a slash at the end", "GET", PULL "/", NULL, 404, "path" },
	{ "an encoded slash in the id", "GET", "/v1/projects/..%2f..%2fserver/sync/pull", NULL,
	  404, "path" },
	{ "dots as an id", "GET", "/v1/projects/.../sync/pull", NULL, 404, "path" },
	{ "a path below data", "GET", "/projects/{p}/events.db", NULL, 404, "path" },
	{ "invalid UTF-8 in the path", "GET", "/v1/projects/%ff%fe/sync/pull", NULL, 404, "path" },
	{ "an encoded escape", "GET", "/v1/projects/%252e%252e/sync/pull", NULL, 404, "path" },
	{ "a blank after the id", "GET", "/v1/projects/{p}%20/sync/pull", NULL, 404, "path" },
	{ "a newline after the id", "GET", "/v1/projects/{p}%0a/sync/pull", NULL, 404, "path" },
	{ "the path in capitals", "GET", "/V1/projects/{p}/sync/pull", NULL, 404, "path" },
	{ "a project of no such id", "GET", "/v1/projects/server.db/sync/pull", NULL, 404,
	  "path" },
	{ "an id of other letters", "GET", "/v1/projects/p_zzzz/sync/pull", NULL, 403,
	  "not a member" },
	{ "a name that is a number", "POST", "/v1/projects", "{\"name\":7}", 400,
	  "name must be a string" },
	{ "a name with a NUL", "POST", "/v1/projects", "{\"name\":\"a\\u0000b\"}", 400, "name" },
	{ "a role that is none", "PATCH", "/v1/projects/{p}/members/u_0123456789abcdef",
	  "{\"role\":\"god\"}", 400, "unknown role" },
	{ "a reader makes itself an owner", "POST", "/v1/projects/{p}/members",
	  "{\"email\":\"reader@example.com\",\"role\":\"owner\"}", 403, "need owner", NULL, READER },
};

/* Whether the last answer is an error with that status and message. */
static void
check_error(struct world *w, const char *why, int status, const char *says)
{
	struct span body, error, message = { NULL, 0 }, code = { NULL, 0 };

	ck_assert_msg(w->answer.status == status, "%s: status %d, not %d: %s", why,
	              w->answer.status, status, w->answer.body.p);
	ck_assert_msg(json_scan(buf_span(&w->answer.body), 8, &body, NULL, NULL) == RC_OK &&
	              json_get(body, "error", &error) && json_get(error, "code", &code) &&
	              json_get(error, "message", &message), "%s: %s", why, w->answer.body.p);
	ck_assert_msg(memmem(message.p, message.len, says, strlen(says)) != NULL,
	              "%s: \"%.*s\" does not say \"%s\"", why, (int)message.len, message.p, says);
	ck_assert_msg(id_is(span_of(web_header(&w->answer, "X-Request-Id")), "", 32),
	              "%s: no X-Request-Id", why);
	ck_assert_msg(strstr(w->answer.body.p, w->site.dir) == NULL, "%s: %s", why,
	              w->answer.body.p);
}

static void
try_rows(struct world *w)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct row *r = &rows[i];

		ask(w, r->who, r->method, r->path, r->body, r->header);
		check_error(w, r->why, r->status, r->says);
		ck_assert_msg(log_count(w) == 3, "%s: the log changed", r->why);
	}
}

/* --- bodies too long for a table --- */

static void
make_1001(struct buf *out)
{
	make_push(out, "d", 1, 1001);
}

/* Arrays in arrays, the payload at depth n. */
static void
make_deep(struct buf *out, int n)
{
	buf_add_str(out, HEAD TYPE ID "\"payload\":");
	for (int i = 0; i < n; i++)
		buf_add_byte(out, '[');
	for (int i = 0; i < n; i++)
		buf_add_byte(out, ']');
	buf_add_str(out, "," TIME TAIL);
}

static void
make_deep_65(struct buf *out)
{
	make_deep(out, 62); /* the envelope has three */
}

static void
make_deep_500000(struct buf *out)
{
	make_deep(out, 500000);
}

static void
make_open_million(struct buf *out)
{
	for (int i = 0; i < 1000000; i++)
		buf_add_byte(out, '[');
}

static void
make_long_id(struct buf *out)
{
	buf_add_str(out, HEAD TYPE "\"entity_id\":\"");
	for (int i = 0; i < 100000; i++)
		buf_add_byte(out, 'x');
	buf_add_str(out, "\"," PAYLOAD TIME TAIL);
}

static void
make_zeros(struct buf *out)
{
	for (int i = 0; i < 100; i++)
		buf_add_byte(out, '\0');
}

static void
make_above_limit(struct buf *out)
{
	make_push(out, "d", 1, 1);
	while (out->len <= 1 << 20)
		buf_add_byte(out, ' ');
}

static const struct {
	const char *why;
	void (*make)(struct buf *out);
	int status;
	const char *says;
} bodies[] = {
	{ "1001 events", make_1001, 400, "batch size 1001 exceeds max 1000" },
	{ "nested deeper than 64", make_deep_65, 400, "invalid json body" },
	{ "nested 500,000 deep", make_deep_500000, 400, "invalid json body" },
	{ "a million open brackets", make_open_million, 400, "invalid json body" },
	{ "an id of 100,000 bytes", make_long_id, 400, "entity_id is longer than" },
	{ "zeros", make_zeros, 400, "invalid json body" },
	{ "above the limit", make_above_limit, 413, "send less at a time" },
};

static void
try_bodies(struct world *w)
{
	char blank[70000];

	for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
		struct buf body = { 0 };

		bodies[i].make(&body);
		ask_as(w, w->tokens[WRITER], "POST", PUSH, buf_span(&body), NULL);
		check_error(w, bodies[i].why, bodies[i].status, bodies[i].says);
		ck_assert_msg(log_count(w) == 3, "%s: the log changed", bodies[i].why);
		buf_free(&body);
	}
	memset(blank, ' ', sizeof(blank));
	ask_as(w, w->tokens[OWNER], "POST", "/v1/projects",
	       (struct span){ blank, sizeof(blank) }, NULL);
	check_error(w, "a long body for a small route", 413, "send less");
}

/* --- tokens --- */

/* Base64url without padding, appended. */
static void
add_base64(struct buf *out, const void *p, size_t n)
{
	unsigned char *text = malloc(n * 2 + 8);
	int len = EVP_EncodeBlock(text, p, (int)n);

	for (int i = 0; i < len && text[i] != '='; i++)
		buf_add_byte(out, text[i] == '+' ? '-' : text[i] == '/' ? '_' : (char)text[i]);
	free(text);
}

/* A part of a token, decoded. */
static void
decode_part(struct span part, struct buf *out)
{
	struct buf text = { 0 };
	size_t pad = (4 - part.len % 4) % 4;

	for (size_t i = 0; i < part.len; i++)
		buf_add_byte(&text, part.p[i] == '-' ? '+' : part.p[i] == '_' ? '/' : part.p[i]);
	buf_add(&text, "===", pad);
	buf_reserve(out, text.len);
	out->len = (size_t)EVP_DecodeBlock((unsigned char *)out->p,
	                                   (const unsigned char *)text.p, (int)text.len) - pad;
	buf_free(&text);
}

/* A text with one part of it replaced. */
static void
replace(struct buf *text, const char *from, const char *to)
{
	struct buf out = { 0 };
	const char *at = strstr(buf_cstr(text), from);

	ck_assert_msg(at != NULL, "%s has no %s", text->p, from);
	buf_add(&out, text->p, (size_t)(at - text->p));
	buf_add_str(&out, to);
	buf_add_str(&out, at + strlen(from));
	buf_free(text);
	*text = out;
}

/* How a good token is spoilt. */
static const struct forgery {
	const char *why;
	const char *alg;        /* NULL: HS256 */
	const char *claim, *as; /* replaced in the claims */
	int64_t move;           /* nbf, iat and exp by so many seconds */
	enum { GOOD, WRONG_KEY, NO_KEY, CUT, TWO_PARTS } signature;
} forgeries[] = {
	{ "forged, but in every way right", NULL, NULL, NULL, 0, GOOD },
	{ "alg none", "none", NULL, NULL, 0, NO_KEY },
	{ "alg none with a signature", "none", NULL, NULL, 0, GOOD },
	{ "another algorithm", "HS512", NULL, NULL, 0, GOOD },
	{ "an algorithm that is not there", "XS256", NULL, NULL, 0, GOOD },
	{ "another key", NULL, NULL, NULL, 0, WRONG_KEY },
	{ "no signature", NULL, NULL, NULL, 0, NO_KEY },
	{ "two parts", NULL, NULL, NULL, 0, TWO_PARTS },
	{ "a signature cut short", NULL, NULL, NULL, 0, CUT },
	{ "expired", NULL, NULL, NULL, -100000, GOOD },
	{ "not yet valid", NULL, NULL, NULL, 1000, GOOD },
	{ "another issuer", NULL, "\"iss\":\"", "\"iss\":\"x", 0, GOOD },
	{ "another audience", NULL, "\"aud\":\"", "\"aud\":\"x", 0, GOOD },
	{ "an id that was never given", NULL, "\"jti\":\"ak_", "\"jti\":\"ak_0", 0, GOOD },
	{ "without expiry", NULL, "\"exp\":", "\"xep\":", 0, GOOD },
	{ "expiry as text", NULL, "\"exp\":", "\"exp\":\"9\",\"x\":", 0, GOOD },
};

static int64_t
claim_of(struct span claims, const char *name)
{
	struct span value;
	int64_t n = 0;

	ck_assert(json_get(claims, name, &value) && json_int64(value, &n));
	return n;
}

/* Move the times of a token's claims. */
static void
move_times(struct buf *claims, int64_t by)
{
	static const char *const names[] = { "iat", "nbf", "exp" };
	char from[64], to[64];

	for (size_t i = 0; i < 3 && by != 0; i++) {
		int64_t at = claim_of(buf_span(claims), names[i]);

		snprintf(from, sizeof(from), "\"%s\":%lld", names[i], (long long)at);
		snprintf(to, sizeof(to), "\"%s\":%lld", names[i], (long long)(at + by));
		replace(claims, from, to);
	}
}

static char *
forge(const struct site *s, const char *good, const struct forgery *f)
{
	const char *dot = strchr(good, '.'), *dot2 = strchr(dot + 1, '.');
	struct buf header = { 0 }, claims = { 0 }, token = { 0 };
	unsigned char mac[EVP_MAX_MD_SIZE];
	char keys_dir[PATH_MAX + 8];
	struct keyring *keys;
	const struct key *key;
	unsigned mac_len;
	char *spoilt;

	decode_part((struct span){ good, (size_t)(dot - good) }, &header);
	decode_part((struct span){ dot + 1, (size_t)(dot2 - dot - 1) }, &claims);
	if (f->alg != NULL)
		replace(&header, "HS256", f->alg);
	if (f->claim != NULL)
		replace(&claims, f->claim, f->as);
	move_times(&claims, f->move);
	add_base64(&token, header.p, header.len);
	buf_add_byte(&token, '.');
	add_base64(&token, claims.p, claims.len);
	snprintf(keys_dir, sizeof(keys_dir), "%s/keys", s->data);
	ck_assert_int_eq(keyring_open(keys_dir, &keys, NULL), RC_OK);
	key = keyring_signer(keys);
	HMAC(f->alg != NULL && strcmp(f->alg, "HS512") == 0 ? EVP_sha512() : EVP_sha256(),
	     f->signature == WRONG_KEY ? (const unsigned char *)"another key, 32 bytes and more.."
	                               : key->secret,
	     f->signature == WRONG_KEY ? 32 : (int)key->secret_len,
	     (const unsigned char *)token.p, token.len, mac, &mac_len);
	keyring_close(keys);
	if (f->signature != TWO_PARTS)
		buf_add_byte(&token, '.');
	if (f->signature == GOOD || f->signature == WRONG_KEY)
		add_base64(&token, mac, mac_len);
	if (f->signature == CUT)
		add_base64(&token, mac, mac_len - 2);
	buf_free(&header);
	buf_free(&claims);
	spoilt = span_dup(buf_span(&token));
	buf_free(&token);
	return spoilt;
}

static void
try_tokens(struct world *w)
{
	static const char *const garbage[] = {
		"", "x", "...", "a.b.c", "td_live_00000000000000000000000000000000",
		"eyJhbGciOiJIUzI1NiJ9.e30.", "\xff\xfe", "a b",
	};
	char longest[6000] = "";

	for (size_t i = 0; i < sizeof(forgeries) / sizeof(forgeries[0]); i++) {
		char *token = forge(&w->site, w->tokens[WRITER], &forgeries[i]);
		int status = ask_as(w, token, "GET", STATUS, (struct span){ NULL, 0 }, NULL);

		if (i == 0) /* the forger can forge */
			ck_assert_int_eq(status, 200);
		else
			check_error(w, forgeries[i].why, 401, "invalid or expired api key");
		free(token);
	}
	for (size_t i = 0; i < sizeof(garbage) / sizeof(garbage[0]); i++) {
		ask_as(w, garbage[i], "GET", STATUS, (struct span){ NULL, 0 }, NULL);
		check_error(w, "garbage for a token", 401, "inval");
	}
	memset(longest, 'x', sizeof(longest) - 1);
	ask_as(w, longest, "GET", STATUS, (struct span){ NULL, 0 }, NULL);
	check_error(w, "a token of 6000 bytes", 401, "invalid or expired api key");
}

/* A token's scope and projects cut down what its user may do. */
static void
try_scopes(struct world *w)
{
	static const struct span nothing = { NULL, 0 };
	char *reads = site_token(&w->site, w->users[OWNER], SCOPE_READ, NULL, NULL);
	char *writes = site_token(&w->site, w->users[OWNER], SCOPE_READ | SCOPE_WRITE, NULL, NULL);
	char *other = site_token(&w->site, w->users[OWNER],
	                         SCOPE_READ | SCOPE_WRITE | SCOPE_PROJECT_ADMIN, w->gone, NULL);
	char id[ID_MAX], *revoked = site_token(&w->site, w->users[OWNER], SCOPE_READ, NULL, id);
	struct accounts *a;

	ask_as(w, reads, "POST", PUSH, span_of(HEAD TYPE ID PAYLOAD TIME TAIL), NULL);
	check_error(w, "a read-only token pushes", 403, "scope");
	ck_assert_ptr_nonnull(strstr(w->answer.body.p, "insufficient_scope"));
	ask_as(w, writes, "DELETE", "/v1/projects/{p}", nothing, NULL);
	check_error(w, "a token without project:admin deletes", 403, "scope");
	ask_as(w, other, "GET", STATUS, nothing, NULL);
	check_error(w, "a token for another project", 403, "project");
	ask_as(w, other, "POST", "/v1/projects", span_of("{\"name\":\"x\"}"), NULL);
	check_error(w, "a token for one project makes another", 403, "certain projects");
	ck_assert_int_eq(ask_as(w, other, "GET", "/v1/projects", nothing, NULL), 200);
	ck_assert_str_eq(w->answer.body.p, "[]\n");
	ck_assert_int_eq(ask_as(w, revoked, "GET", STATUS, nothing, NULL), 200);
	ck_assert_int_eq(accounts_open(w->site.data, &a, NULL), RC_OK);
	ck_assert_int_eq(token_revoke(a, id, NULL), RC_OK);
	accounts_close(a);
	ask_as(w, revoked, "GET", STATUS, nothing, NULL);
	check_error(w, "a token revoked a moment ago", 401, "invalid or expired api key");
	ck_assert_int_eq(log_count(w), 3);
	free(reads);
	free(writes);
	free(other);
	free(revoked);
}

/* --- requests that no web server passes on --- */

static const struct {
	const char *why, *length, *says;
} lengths[] = {
	{ "a body shorter than its length", "1000", "ended after" },
	{ "no body at all", "7", "ended after" },
	{ "a length that is no number", "abc", "invalid Content-Length" },
	{ "a negative length", "-5", "invalid Content-Length" },
	{ "a length beyond numbers", "99999999999999999999", "invalid Content-Length" },
	{ "a length with a unit", "10k", "invalid Content-Length" },
};

/* Run the program as CGI by hand: parameters, a body; its whole answer. */
static void
run_cgi(const struct world *w, const char *const *params, struct span body, struct buf *out)
{
	int in = memfd_create("in", MFD_CLOEXEC), result = memfd_create("out", MFD_CLOEXEC);
	char config[PATH_MAX + 32], part[65536];
	pid_t pid;
	ssize_t got;
	int status;

	ck_assert(write(in, body.p != NULL ? body.p : "", body.len) == (ssize_t)body.len);
	lseek(in, 0, SEEK_SET);
	snprintf(config, sizeof(config), "%s/server.conf", w->site.dir);
	pid = fork();
	if (pid == 0) {
		for (; params[0] != NULL; params += 2)
			setenv(params[0], params[1], 1);
		dup2(in, STDIN_FILENO);
		dup2(result, STDOUT_FILENO);
		execl(TOP_BUILDDIR "/td-sync.fcgi", "td-sync.fcgi", "--config", config, (char *)NULL);
		_exit(127);
	}
	ck_assert(waitpid(pid, &status, 0) == pid && status == 0);
	lseek(result, 0, SEEK_SET);
	buf_reset(out);
	while ((got = read(result, part, sizeof(part))) > 0)
		buf_add(out, part, (size_t)got);
	buf_cstr(out);
	close(in);
	close(result);
}

/* The same over FastCGI or as CGI, whatever the site is. */
static void
ask_raw(struct world *w, const char *const *params, struct span body, struct buf *out)
{
	int fd;

	if (w->site.kind == SITE_CGI) {
		run_cgi(w, params, body, out);
		return;
	}
	fd = fcgi_connect(w->site.socket);
	ck_assert_int_ge(fd, 0);
	ck_assert(fcgi_send(fd, params, body, false));
	ck_assert(fcgi_receive(fd, out));
}

static void
try_lengths(struct world *w)
{
	char path[128], authorization[4200];
	struct buf answer = { 0 }, body = { 0 };

	make_push(&body, "d", 1, 1);
	snprintf(path, sizeof(path), "/v1/projects/%s/sync/push", w->project);
	snprintf(authorization, sizeof(authorization), "Bearer %s", w->tokens[WRITER]);
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		const char *const params[] = {
			"REQUEST_METHOD", "POST", "PATH_INFO", path, "GATEWAY_INTERFACE", "CGI/1.1",
			"HTTP_AUTHORIZATION", authorization, "CONTENT_LENGTH", lengths[i].length, NULL,
		};

		ask_raw(w, params, i == 1 ? (struct span){ NULL, 0 } : buf_span(&body), &answer);
		ck_assert_msg(strstr(answer.p, "Status: 400 ") != NULL &&
		              strstr(answer.p, lengths[i].says) != NULL, "%s: %s", lengths[i].why,
		              answer.p);
		ck_assert_int_eq(log_count(w), 3);
	}
	buf_free(&answer);
	buf_free(&body);
}

static void
try_all(enum site_kind kind)
{
	struct site_options options = { .kind = kind, .config = "max_push_bytes = 1048576\n" };
	struct world w;

	world_start(&w, &options);
	ck_assert_int_eq(push_some(&w, "before", 1, 3), 200);
	try_rows(&w);
	try_bodies(&w);
	try_tokens(&w);
	try_scopes(&w);
	try_lengths(&w);
	/* And it still works. */
	ck_assert_int_eq(push_some(&w, "after", 1, 1), 200);
	ck_assert_int_eq(log_count(&w), 4);
	world_stop(&w);
}

START_TEST(bad_input_changes_nothing_behind_nginx)
{
	try_all(SITE_FASTCGI);
}
END_TEST

START_TEST(bad_input_changes_nothing_by_cgi)
{
	try_all(SITE_CGI);
}
END_TEST

/* --- what nginx refuses itself --- */

static void
check_nginx(struct world *w, const char *why, int status)
{
	check_error(w, why, status, " ");
	ck_assert_str_eq(web_header(&w->answer, "Content-Type"), "application/json");
	ck_assert_int_eq(web_header_count(&w->answer, "X-Request-Id"), 1);
}

START_TEST(what_nginx_answers_itself_is_json_with_an_id)
{
	struct site_options options = { .kind = SITE_FASTCGI };
	static const struct span nothing = { NULL, 0 };
	struct buf large = { 0 };
	struct world w;

	world_start(&w, &options);
	buf_add_str(&large, "X-Large: ");
	while (large.len < 70000)
		buf_add_byte(&large, 'x');
	ask_as(&w, NULL, "GET", STATUS, nothing, buf_cstr(&large));
	check_nginx(&w, "a header of 70,000 bytes", 400);
	buf_reset(&large);
	buf_add_str(&large, STATUS "?");
	while (large.len < 70000)
		buf_add_byte(&large, 'x');
	ask_as(&w, NULL, "GET", buf_cstr(&large), nothing, NULL);
	check_nginx(&w, "an address of 70,000 bytes", 414);
	ask(&w, OWNER, "GET", "/v1/projects/%00", NULL, NULL);
	check_nginx(&w, "a NUL in the path", 400);
	ask(&w, OWNER, "GET", "/../../etc/passwd", NULL, NULL);
	check_nginx(&w, "out of the root", 400);
	ask(&w, OWNER, "POST", PUSH, "", "Content-Length: 70000000");
	check_nginx(&w, "a body above nginx's limit", 413);
	kill(w.site.pool, SIGTERM);
	waitpid(w.site.pool, NULL, 0);
	w.site.pool = 0;
	ask(&w, OWNER, "GET", STATUS, NULL, NULL);
	check_nginx(&w, "no workers", 503);
	ck_assert_str_ne(web_header(&w.answer, "Retry-After"), "");
	buf_free(&large);
	world_stop(&w);
}
END_TEST

TCase *
bad_input_case(void)
{
	TCase *tc = tcase_create("bad input");

	tcase_set_timeout(tc, 120);
	if (http_can_run(SITE_FASTCGI)) {
		tcase_add_test(tc, bad_input_changes_nothing_behind_nginx);
		tcase_add_test(tc, what_nginx_answers_itself_is_json_with_an_id);
	}
	tcase_add_test(tc, bad_input_changes_nothing_by_cgi);
	return tc;
}
