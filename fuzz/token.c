/*
 * Tokens (auth/token.h). The first byte of an input says what the rest is:
 *
 *   r  a token, as it comes
 *   m  changes to a valid token, each a place, what to do, and a byte: it must
 *      be refused, unless it came out as it was
 *   c  claims, signed as they should be: what passes must be what json-c
 *      reads, and allowed
 *   h  a header, likewise: only the right algorithm and key pass
 */
#include "auth/token.h"

#include "base/fs.h"
#include "base/json.h"
#include "fuzz/fuzz.h"
#include "tests/temp.h"

#define json_type json_c_type
#include <json-c/json_object.h>
#include <json-c/json_tokener.h>
#undef json_type
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>

#define NOW 1700000000
#define ISSUER "srv_fuzz"
#define HEADER "{\"alg\":\"HS256\",\"kid\":\"one\"}"
#define CLAIMS "{\"iss\":\"" ISSUER "\",\"aud\":\"td-sync\",\"sub\":\"u_1\",\"jti\":\"ak_1\"," \
	"\"scope\":\"sync:read sync:write\",\"iat\":1699999000,\"nbf\":1699999000," \
	"\"exp\":1700000001,\"prj\":[\"p_1\",\"p_2\"]}"

static const unsigned char secret[32] = "0123456789abcdef0123456789abcdef";
static struct keyring *ring;
static struct err err;

/* --- keys and forged tokens --- */

static void
write_key(const char *dir, const char *kid, const char *more)
{
	char path[TEMP_PATH + 32];
	struct buf b = { 0 };

	buf_addf(&b, "{\"kid\":\"%s\",\"alg\":\"HS256\",\"secret\":\"", kid);
	buf_add_hex(&b, secret, sizeof(secret));
	buf_addf(&b, "\",\"created_at\":\"2023-01-01T00:00:00Z\"%s}", more);
	snprintf(path, sizeof(path), "%s/%s.json", dir, kid);
	FUZZ_CHECK(fs_write(path, buf_span(&b), 0600, &err) == RC_OK, "%s", err.text);
	buf_free(&b);
}

static void
close_ring(void)
{
	keyring_close(ring);
}

static void
open_ring(void)
{
	char dir[TEMP_PATH];

	temp_make(dir);
	write_key(dir, "one", "");
	write_key(dir, "old", ",\"retired_at\":\"2023-02-01T00:00:00Z\"");
	FUZZ_CHECK(keyring_open(dir, &ring, &err) == RC_OK, "%s", err.text);
	temp_remove(dir);
	atexit(close_ring);
}

static void
add_base64url(struct buf *out, const void *p, size_t n)
{
	char *text = malloc(n / 3 * 4 + 5);

	EVP_EncodeBlock((unsigned char *)text, p, (int)n);
	for (char *c = text; *c != '\0' && *c != '='; c++)
		buf_add_byte(out, (char)(*c == '+' ? '-' : *c == '/' ? '_' : *c));
	free(text);
}

static void
forge(struct span header, struct span claims, struct buf *out)
{
	unsigned char mac[EVP_MAX_MD_SIZE];
	unsigned n;

	add_base64url(out, header.p, header.len);
	buf_add_byte(out, '.');
	add_base64url(out, claims.p, claims.len);
	HMAC(EVP_sha256(), secret, sizeof(secret), (const unsigned char *)out->p, out->len,
	     mac, &n);
	buf_add_byte(out, '.');
	add_base64url(out, mac, n);
}

/* --- what may pass --- */

static struct json_object *
whole_object(struct span text)
{
	struct json_tokener *tok = json_tokener_new();
	struct json_object *o;
	bool whole;

	json_tokener_set_flags(tok, JSON_TOKENER_STRICT);
	o = json_tokener_parse_ex(tok, text.p, (int)text.len);
	whole = json_tokener_get_error(tok) == json_tokener_success &&
	    json_object_is_type(o, json_type_object);
	json_tokener_free(tok);
	FUZZ_CHECK(whole, "%.*s", FUZZ_SPAN(text));
	return o;
}

static bool
text_is(struct json_object *o, const char *name, const char *want)
{
	struct json_object *v;

	return json_object_object_get_ex(o, name, &v) &&
	    json_object_is_type(v, json_type_string) &&
	    strlen(want) == (size_t)json_object_get_string_len(v) &&
	    strcmp(json_object_get_string(v), want) == 0;
}

static bool
int_is(struct json_object *o, const char *name, int64_t want)
{
	struct json_object *v;

	return json_object_object_get_ex(o, name, &v) &&
	    json_object_is_type(v, json_type_int) && json_object_get_int64(v) == want;
}

static void
check_projects(struct json_object *o, const struct claims *c)
{
	struct json_object *v;

	FUZZ_CHECK(json_object_object_get_ex(o, "prj", &v), "no prj");
	if (c->all_projects) {
		FUZZ_CHECK(text_is(o, "prj", "*"), "prj");
		return;
	}
	FUZZ_CHECK(json_object_is_type(v, json_type_array) &&
	           json_object_array_length(v) == c->n_projects, "prj");
	for (size_t i = 0; i < c->n_projects; i++) {
		FUZZ_CHECK(strcmp(json_object_get_string(json_object_array_get_idx(v, i)),
		                  c->projects[i]) == 0, "prj");
		FUZZ_CHECK(claims_cover(c, c->projects[i]), "not covered");
	}
}

/* A token with these claims passed: rightly? */
static void
check_claims(struct span text, const struct claims *c)
{
	struct json_object *o = whole_object(text), *v;

	FUZZ_CHECK(text_is(o, "iss", ISSUER) && text_is(o, "aud", TOKEN_AUDIENCE), "%.*s",
	           FUZZ_SPAN(text));
	FUZZ_CHECK(text_is(o, "jti", c->jti) && c->jti[0] != '\0', "%.*s", FUZZ_SPAN(text));
	FUZZ_CHECK(json_object_object_get_ex(o, "sub", &v) ? text_is(o, "sub", c->sub) &&
	           c->sub[0] != '\0' : c->sub[0] == '\0', "%.*s", FUZZ_SPAN(text));
	FUZZ_CHECK(int_is(o, "exp", c->exp) && c->exp > NOW, "%.*s", FUZZ_SPAN(text));
	FUZZ_CHECK(int_is(o, "iat", c->iat) && c->iat <= NOW + TOKEN_SKEW, "%.*s", FUZZ_SPAN(text));
	FUZZ_CHECK(json_object_object_get_ex(o, "nbf", &v) ? int_is(o, "nbf", c->nbf) &&
	           c->nbf <= NOW + TOKEN_SKEW : c->nbf == 0, "%.*s", FUZZ_SPAN(text));
	FUZZ_CHECK(c->until == c->exp && c->scope != 0 && c->scope < 2 * SCOPE_SERVER_ADMIN,
	           "%.*s", FUZZ_SPAN(text));
	check_projects(o, c);
	json_object_put(o);
}

static void
check_header(struct span text)
{
	struct json_object *o = whole_object(text);

	FUZZ_CHECK(text_is(o, "alg", "HS256") && text_is(o, "kid", "one"), "%.*s", FUZZ_SPAN(text));
	json_object_put(o);
}

/* --- inputs --- */

static bool
passes(struct span token, struct claims *c)
{
	enum rc rc = token_verify(ring, ISSUER, token, NOW, c, &err);

	FUZZ_CHECK(rc == RC_OK || (rc == RC_UNAUTHORIZED && err.text[0] != '\0' &&
	           c->projects == NULL && c->scope == 0), "%d", rc);
	return rc == RC_OK;
}

/* Change a token: place (two bytes), what to do, a byte. */
static void
mutate(struct buf *token, struct span changes)
{
	for (; changes.len >= 4; changes.p += 4, changes.len -= 4) {
		size_t at = ((size_t)(unsigned char)changes.p[0] << 8 |
		             (unsigned char)changes.p[1]) % (token->len + 1);

		switch (changes.p[2] & 3) {
		case 0: /* another byte there */
			if (at < token->len)
				token->p[at] = changes.p[3];
			break;
		case 1: /* a byte more */
			buf_add_byte(token, 0);
			memmove(token->p + at + 1, token->p + at, token->len - 1 - at);
			token->p[at] = changes.p[3];
			break;
		case 2: /* a byte less */
			if (at < token->len)
				memmove(token->p + at, token->p + at + 1, --token->len - at);
			break;
		default: /* one bit */
			if (at < token->len)
				token->p[at] = (char)(token->p[at] ^ 1 << (changes.p[3] & 7));
		}
	}
}

static void
try_mutated(struct span changes)
{
	struct buf token = { 0 }, before = { 0 };
	struct span copy;
	struct claims c;

	forge(span_of(HEADER), span_of(CLAIMS), &token);
	buf_add_span(&before, buf_span(&token));
	mutate(&token, changes);
	copy = fuzz_copy((const uint8_t *)token.p, token.len);
	FUZZ_CHECK(passes(copy, &c) == span_eq(copy, buf_span(&before)), "%.*s", FUZZ_SPAN(copy));
	claims_free(&c);
	free((char *)(uintptr_t)copy.p);
	buf_free(&token);
	buf_free(&before);
}

static void
try_forged(struct span header, struct span claims)
{
	struct buf token = { 0 };
	struct claims c;

	forge(header, claims, &token);
	if (passes(buf_span(&token), &c)) {
		FUZZ_CHECK(token.len <= TOKEN_MAX, "%zu", token.len);
		check_header(header);
		check_claims(claims, &c);
	}
	claims_free(&c);
	buf_free(&token);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span rest;
	struct claims c;

	if (ring == NULL)
		open_ring();
	if (size == 0)
		return 0;
	rest = fuzz_copy(data + 1, size - 1);
	switch (data[0]) {
	case 'm':
		try_mutated(rest);
		break;
	case 'c':
		try_forged(span_of(HEADER), rest);
		break;
	case 'h':
		try_forged(rest, span_of(CLAIMS));
		break;
	default: /* a valid one has to be guessed */
		FUZZ_CHECK(!passes(rest, &c), "%.*s", FUZZ_SPAN(rest));
	}
	free((char *)(uintptr_t)rest.p);
	return 0;
}
