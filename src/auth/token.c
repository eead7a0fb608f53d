/*
 * Tokens, see token.h. The order of what is checked is platform.md's, section
 * 6: length, the header's alg and kid, the key of that kid, its one algorithm,
 * the signature, the algorithm once more, the claims.
 *
 * Header and claims are read from the very bytes that were signed, by the
 * strict scanner: libjwt's own reading takes a number written as a string for
 * 0, and the last of two claims of the same name.
 */
#include "auth/token.h"

#include "base/base64url.h"
#include "base/json.h"

#include <jwt.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The nesting of header and claims: an object, and the list of projects. */
#define DEPTH 4

/* The most members of either. What more could there be? */
#define MEMBERS_MAX 32

/* --- scopes --- */

static const struct { const char *name; unsigned bit; } scopes[] = {
	{ "sync:read",     SCOPE_READ },
	{ "sync:write",    SCOPE_WRITE },
	{ "project:admin", SCOPE_PROJECT_ADMIN },
	{ "server:admin",  SCOPE_SERVER_ADMIN },
};
#define N_SCOPES (sizeof(scopes) / sizeof(scopes[0]))

static unsigned
scope_bit(struct span name)
{
	for (size_t i = 0; i < N_SCOPES; i++)
		if (span_is(name, scopes[i].name))
			return scopes[i].bit;
	return 0;
}

bool
scope_parse(struct span text, unsigned *out)
{
	unsigned all = 0;
	size_t from = 0;

	*out = 0;
	for (size_t i = 0; i <= text.len; i++) {
		struct span name = { text.p == NULL ? NULL : text.p + from, i - from };
		unsigned bit;

		if (i < text.len && text.p[i] != ' ')
			continue;
		from = i + 1;
		if (name.len == 0)
			continue;
		if ((bit = scope_bit(name)) == 0)
			return false;
		all |= bit;
	}
	*out = all;
	return all != 0;
}

void
scope_add(struct buf *out, unsigned scope)
{
	const char *gap = "";

	for (size_t i = 0; i < N_SCOPES; i++) {
		if ((scope & scopes[i].bit) == 0)
			continue;
		buf_add_str(out, gap);
		buf_add_str(out, scopes[i].name);
		gap = " ";
	}
}

/* --- claims --- */

void
claims_free(struct claims *c)
{
	free(c->projects);
	*c = (struct claims){ 0 };
}

bool
claims_cover(const struct claims *c, const char *project_id)
{
	if (c->all_projects)
		return true;
	for (size_t i = 0; i < c->n_projects; i++)
		if (strcmp(c->projects[i], project_id) == 0)
			return true;
	return false;
}

/* --- signing --- */

static void
add_string(struct buf *out, const char *name, const char *value)
{
	buf_addf(out, "\"%s\":", name);
	buf_add_json(out, span_of(value));
	buf_add_byte(out, ',');
}

/* The claims as JSON. */
static void
add_claims(struct buf *out, const char *issuer, const struct claims *c)
{
	struct buf scope = { 0 };

	scope_add(&scope, c->scope);
	if (buf_cstr(&scope) == NULL)
		out->failed = true;
	buf_add_byte(out, '{');
	add_string(out, "iss", issuer);
	add_string(out, "aud", TOKEN_AUDIENCE);
	if (c->sub[0] != '\0')
		add_string(out, "sub", c->sub);
	add_string(out, "jti", c->jti);
	add_string(out, "scope", scope.p == NULL ? "" : scope.p);
	buf_addf(out, "\"iat\":%lld,\"nbf\":%lld,\"exp\":%lld,\"prj\":",
	    (long long)c->iat, (long long)c->nbf, (long long)c->exp);
	if (c->all_projects) {
		buf_add_str(out, "\"*\"");
	} else {
		for (size_t i = 0; i < c->n_projects; i++) {
			buf_add_byte(out, i == 0 ? '[' : ',');
			buf_add_json(out, span_of(c->projects[i]));
		}
		buf_add_str(out, c->n_projects == 0 ? "[]" : "]");
	}
	buf_add_byte(out, '}');
	buf_free(&scope);
}

/* The signed token for claims as JSON; NULL when libjwt fails. free() it. */
static char *
sign(const struct key *key, const char *claims)
{
	jwt_t *jwt = NULL;
	char *token = NULL;

	if (jwt_new(&jwt) == 0 &&
	    jwt_add_grants_json(jwt, claims) == 0 &&
	    jwt_add_header(jwt, "kid", key->kid) == 0 &&
	    jwt_set_alg(jwt, jwt_str_alg(key->alg), key->signing,
	    (int)key->signing_len) == 0)
		token = jwt_encode_str(jwt);
	jwt_free(jwt);
	return token;
}

enum rc
token_sign(const struct keyring *k, const char *issuer, const struct claims *c,
           struct buf *out, struct err *err)
{
	const struct key *key = keyring_signer(k);
	struct buf claims = { 0 };
	char *token = NULL;
	enum rc rc = RC_OK;

	if (key == NULL)
		return err_set(err, RC_UNAVAILABLE, "there is no key that signs tokens:"
		    " make one with td-sync-admin key create");
	add_claims(&claims, issuer, c);
	if (buf_cstr(&claims) != NULL)
		token = sign(key, claims.p);
	if (token == NULL)
		rc = err_set(err, RC_FAULT, "the token can't be signed with key %s",
		    key->kid);
	else if (strlen(token) > TOKEN_MAX)
		rc = err_set(err, RC_INVALID, "too many projects for one token: make it"
		    " for all projects, or make several");
	else
		buf_add_str(out, token);
	if (rc == RC_OK && out->failed)
		rc = err_set(err, RC_FAULT, "out of memory");
	free(token);
	buf_free(&claims);
	return rc;
}

/* --- verifying --- */

/* Split "a.b.c"; false when it isn't three non-empty parts. */
static bool
split(struct span token, struct span part[3])
{
	size_t from = 0, n = 0;

	for (size_t i = 0; i <= token.len; i++) {
		if (i < token.len && token.p[i] != '.')
			continue;
		if (n == 3 || i == from)
			return false;
		part[n++] = (struct span){ token.p + from, i - from };
		from = i + 1;
	}
	return n == 3;
}

/* Whether text is exactly one object of a few members, no two of one name. */
static bool
is_plain_object(struct span text)
{
	struct span keys[MEMBERS_MAX], object, key, value;
	struct json_iter it;
	size_t n = 0;

	if (json_scan(text, DEPTH, &object, NULL, NULL) != RC_OK ||
	    object.len != text.len || json_type(object) != JSON_OBJECT)
		return false;
	json_iter_init(&it, object);
	while (json_next(&it, &key, &value)) {
		if (n == MEMBERS_MAX)
			return false;
		for (size_t i = 0; i < n; i++)
			if (json_equal(keys[i], key))
				return false;
		keys[n++] = key;
	}
	return true;
}

/* A string member into an array. False: missing, no string, empty, too long. */
static bool
get_string(struct span object, const char *name, char *out, size_t cap)
{
	struct buf b = { 0 };
	struct span v;
	bool ok;

	out[0] = '\0';
	ok = json_get(object, name, &v) && json_string(v, &b) && !json_string_odd(v) &&
	    !b.failed && b.len > 0 && b.len < cap;
	if (ok) {
		memcpy(out, b.p, b.len);
		out[b.len] = '\0';
	}
	buf_free(&b);
	return ok;
}

static bool
get_time(struct span object, const char *name, int64_t *out)
{
	struct span v;

	*out = 0;
	return json_get(object, name, &v) && json_int64(v, out);
}

/* The member "prj": "*" or a list of ids. */
static bool
get_projects(struct span object, struct claims *c)
{
	struct span prj, key, value;
	struct json_iter it;
	size_t n = 0;

	if (!json_get(object, "prj", &prj))
		return false;
	if (json_type(prj) == JSON_STRING) {
		c->all_projects = json_string_is(prj, "*");
		return c->all_projects;
	}
	if (json_type(prj) != JSON_ARRAY)
		return false;
	json_iter_init(&it, prj);
	while (json_next(&it, &key, &value))
		n++;
	c->projects = calloc(n + 1, sizeof(*c->projects));
	if (c->projects == NULL)
		return false;
	json_iter_init(&it, prj);
	while (json_next(&it, &key, &value)) {
		struct buf b = { 0 };
		bool ok = json_string(value, &b) && !json_string_odd(value) && !b.failed &&
		    b.len > 0 && b.len < ID_MAX;

		if (ok)
			memcpy(c->projects[c->n_projects++], b.p, b.len);
		buf_free(&b);
		if (!ok)
			return false;
	}
	return true;
}

/* What speaks against the claims at a time; NULL: nothing, and *c is full. */
static const char *
read_claims(struct span object, const char *issuer, int64_t now, struct claims *c)
{
	char text[256];
	struct span v;

	if (!get_string(object, "iss", text, sizeof(text)) || strcmp(text, issuer) != 0)
		return "it is of another issuer";
	if (!get_string(object, "aud", text, sizeof(text)) ||
	    strcmp(text, TOKEN_AUDIENCE) != 0)
		return "it is for another audience";
	if (!get_time(object, "exp", &c->exp))
		return "exp is missing or no whole number";
	if (!get_time(object, "iat", &c->iat))
		return "iat is missing or no whole number";
	if (json_get(object, "nbf", &v) && !get_time(object, "nbf", &c->nbf))
		return "nbf is no whole number";
	if (c->exp <= now)
		return "it is expired";
	if (c->nbf > now + TOKEN_SKEW || c->iat > now + TOKEN_SKEW)
		return "it is not valid yet";
	if (!get_string(object, "jti", c->jti, sizeof(c->jti)))
		return "jti is missing or no id";
	if (json_get(object, "sub", &v) &&
	    !get_string(object, "sub", c->sub, sizeof(c->sub)))
		return "sub is no id";
	if (!get_string(object, "scope", text, sizeof(text)) ||
	    !scope_parse(span_of(text), &c->scope))
		return "scope is missing or unknown";
	if (!get_projects(object, c))
		return "prj is missing, or neither * nor a list of ids";
	return NULL;
}

/* Whether the signature is the key's, by the key's algorithm. */
static bool
check_signature(const struct key *key, const char *token)
{
	jwt_t *jwt = NULL;
	const char *alg = NULL;
	bool ok;

	/* Without a key libjwt takes any signature. */
	if (key->secret == NULL || key->secret_len == 0)
		return false;
	ok = jwt_decode(&jwt, token, key->secret, (int)key->secret_len) == 0;
	if (ok)
		alg = jwt_alg_str(jwt_get_alg(jwt));
	ok = ok && alg != NULL && strcmp(alg, key->alg) == 0;
	jwt_free(jwt);
	return ok;
}

/* The key that the header names, for its one algorithm; NULL and *why else. */
static const struct key *
choose_key(const struct keyring *k, struct span header, int64_t now, const char **why)
{
	char alg[16], kid[sizeof(((struct key *)0)->kid)];
	const struct key *key;
	struct span v;

	*why = NULL;
	if (!is_plain_object(header))
		*why = "its header is no plain object";
	else if (json_get(header, "crit", &v))
		*why = "its header asks for extensions";
	else if (!get_string(header, "alg", alg, sizeof(alg)) ||
	    !get_string(header, "kid", kid, sizeof(kid)))
		*why = "its header lacks alg or kid";
	if (*why != NULL)
		return NULL;
	key = keyring_find(k, kid);
	if (key == NULL)
		*why = "its kid is unknown";
	else if (strcmp(alg, key->alg) != 0)
		*why = "its alg is not its key's";
	else if (key->retired_at != 0 && key->retired_at <= now)
		*why = "its key is retired";
	return *why == NULL ? key : NULL;
}

/* What speaks against the token; NULL: nothing, and *c is full. */
static const char *
judge(const struct keyring *k, const char *issuer, struct span token, int64_t now,
      struct claims *c)
{
	char text[TOKEN_MAX + 1], header[TOKEN_MAX], claims[TOKEN_MAX], sig[TOKEN_MAX];
	size_t header_len, claims_len, sig_len;
	struct span part[3], object;
	const struct key *key;
	const char *why;

	if (token.len > TOKEN_MAX)
		return "it is too long";
	if (!split(token, part) || !base64url_decode(part[0], header, &header_len) ||
	    !base64url_decode(part[1], claims, &claims_len) ||
	    !base64url_decode(part[2], sig, &sig_len))
		return "it is not three parts in base64url";
	key = choose_key(k, (struct span){ header, header_len }, now, &why);
	if (key == NULL)
		return why;
	memcpy(text, token.p, token.len);
	text[token.len] = '\0';
	if (!check_signature(key, text))
		return "its signature is not its key's";
	object = (struct span){ claims, claims_len };
	if (!is_plain_object(object))
		return "its claims are no plain object";
	why = read_claims(object, issuer, now, c);
	c->until = c->exp;
	if (key->retired_at != 0 && key->retired_at < c->until)
		c->until = key->retired_at;
	return why;
}

enum rc
token_verify(const struct keyring *k, const char *issuer, struct span token,
             int64_t now, struct claims *out, struct err *err)
{
	const char *why;

	*out = (struct claims){ 0 };
	why = judge(k, issuer, token, now, out);
	if (why == NULL)
		return RC_OK;
	claims_free(out);
	return err_set(err, RC_UNAUTHORIZED, "token refused: %s", why);
}
