/*
 * Who is let in: keys, tokens, and what server.db says of them. Tokens are
 * forged here with OpenSSL alone, so that libjwt does not judge itself.
 */
#include "auth/auth.h"
#include "auth/keyring.h"
#include "auth/token.h"
#include "base/fs.h"
#include "store/db.h"
#include "store/imports.h"
#include "tests/temp.h"

#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include <check.h>
#include <string.h>
#include <sys/stat.h>
#include <utime.h>

#define NOW 1700000000 /* when tokens are judged, where the test says when */
#define ISSUER "srv_test"
#define LEN(a) (sizeof(a) / sizeof((a)[0]))

static char dir[TEMP_PATH];
static char keys[TEMP_PATH + 8];
static struct err err;

#define ok(call) ck_assert_msg((call) == RC_OK, "%s", err.text)
#define is(call, want) \
	do { \
		enum rc rc_ = (call); \
		ck_assert_msg(rc_ == (want), "%s, not %s: %s", rc_name(rc_), \
		    rc_name(want), err.text); \
	} while (0)

static void
setup(void)
{
	temp_make(dir);
	snprintf(keys, sizeof(keys), "%s/keys", dir);
	ck_assert_int_eq(mkdir(keys, 0700), 0);
}

static void
teardown(void)
{
	temp_remove(dir);
}

/* --- making keys and tokens --- */

static const unsigned char secret[32] = "0123456789abcdef0123456789abcdef";
static const char secret_hex[] =
	"3031323334353637383961626364656630313233343536373839616263646566";

static void
write_file(const char *name, const char *content, mode_t mode)
{
	char path[2 * TEMP_PATH];

	snprintf(path, sizeof(path), "%s/%s", keys, name);
	ok(fs_write(path, span_of(content), mode, &err));
}

/* Write KID.json with members as given. */
static void
write_key(const char *kid, const char *members)
{
	struct buf b = { 0 };
	char name[64];

	snprintf(name, sizeof(name), "%s.json", kid);
	buf_addf(&b, "{\"kid\":\"%s\",%s,\"created_at\":\"2023-01-01T00:00:00Z\"}", kid,
	    members);
	write_file(name, buf_cstr(&b), 0600);
	buf_free(&b);
}

static void
write_hs256(const char *kid)
{
	char members[200];

	snprintf(members, sizeof(members), "\"alg\":\"HS256\",\"secret\":\"%s\"",
	    secret_hex);
	write_key(kid, members);
}

/* A key as PEM text; free() it. */
static char *
pem_of(EVP_PKEY *pkey, bool private)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *p, *text;
	long n;

	ck_assert_int_eq(private
	    ? PEM_write_bio_PrivateKey(bio, pkey, NULL, NULL, 0, NULL, NULL)
	    : PEM_write_bio_PUBKEY(bio, pkey), 1);
	n = BIO_get_mem_data(bio, &p);
	text = strndup(p, (size_t)n);
	BIO_free(bio);
	return text;
}

static void
write_pkey(const char *kid, const char *alg, EVP_PKEY *pkey, bool private)
{
	struct buf b = { 0 };
	char *pem = pem_of(pkey, private);

	buf_addf(&b, "\"alg\":\"%s\",\"pem\":", alg);
	buf_add_json(&b, span_of(pem));
	write_key(kid, buf_cstr(&b));
	buf_free(&b);
	free(pem);
}

static struct keyring *
open_keys(void)
{
	struct keyring *k;

	ok(keyring_open(keys, &k, &err));
	return k;
}

static void
add_base64url(struct buf *out, const void *p, size_t n)
{
	unsigned char text[16384];

	ck_assert_uint_lt(n, sizeof(text) / 4 * 3);
	EVP_EncodeBlock(text, p, (int)n);
	for (unsigned char *c = text; *c != '\0' && *c != '='; c++)
		buf_add_byte(out, *c == '+' ? '-' : *c == '/' ? '_' : (char)*c);
}

/* "HEADER.PAYLOAD" */
static void
add_content(struct buf *out, const char *header, const char *payload)
{
	add_base64url(out, header, strlen(header));
	buf_add_byte(out, '.');
	add_base64url(out, payload, strlen(payload));
}

/* The content and its HMAC. */
static void
forge_hmac(struct buf *out, const char *header, const char *payload,
           const EVP_MD *md, const void *key, size_t key_len)
{
	unsigned char mac[EVP_MAX_MD_SIZE];
	unsigned len;

	add_content(out, header, payload);
	ck_assert_ptr_nonnull(HMAC(md, key, (int)key_len, (unsigned char *)out->p, out->len,
	    mac, &len));
	buf_add_byte(out, '.');
	add_base64url(out, mac, len);
}

/* The content and its RSA signature, or the two numbers of an EC one. */
static void
forge_pkey(struct buf *out, const char *header, const char *payload, EVP_PKEY *pkey)
{
	unsigned char sig[512], raw[64];
	const unsigned char *p = sig;
	size_t len = sizeof(sig);
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	ECDSA_SIG *ec;

	add_content(out, header, payload);
	ck_assert_int_eq(EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, pkey), 1);
	ck_assert_int_eq(EVP_DigestSign(ctx, sig, &len, (unsigned char *)out->p, out->len), 1);
	EVP_MD_CTX_free(ctx);
	buf_add_byte(out, '.');
	if (!EVP_PKEY_is_a(pkey, "EC")) {
		add_base64url(out, sig, len);
		return;
	}
	ec = d2i_ECDSA_SIG(NULL, &p, (long)len);
	BN_bn2binpad(ECDSA_SIG_get0_r(ec), raw, 32);
	BN_bn2binpad(ECDSA_SIG_get0_s(ec), raw + 32, 32);
	ECDSA_SIG_free(ec);
	add_base64url(out, raw, sizeof(raw));
}

/* Good claims, as names and JSON values. */
static const struct { const char *name, *value; } good[] = {
	{ "iss", "\"" ISSUER "\"" },
	{ "aud", "\"td-sync\"" },
	{ "jti", "\"ak_0000000000000001\"" },
	{ "sub", "\"u_0000000000000001\"" },
	{ "scope", "\"sync:read sync:write\"" },
	{ "prj", "\"*\"" },
	{ "iat", "1700000000" },
	{ "nbf", "1700000000" },
	{ "exp", "1700000100" },
};

/* The good claims with one changed (value NULL: left out), or one more. */
static const char *
payload(const char *name, const char *value)
{
	static struct buf b;
	bool found = false;

	buf_reset(&b);
	buf_add_byte(&b, '{');
	for (size_t i = 0; i < LEN(good); i++) {
		bool same = name != NULL && strcmp(name, good[i].name) == 0;

		found = found || same;
		if (same && value == NULL)
			continue;
		buf_addf(&b, "%s\"%s\":%s", b.len > 1 ? "," : "", good[i].name,
		    same ? value : good[i].value);
	}
	if (name != NULL && !found)
		buf_addf(&b, ",\"%s\":%s", name, value);
	buf_add_byte(&b, '}');
	return buf_cstr(&b);
}

#define HS256 "{\"alg\":\"HS256\",\"typ\":\"JWT\",\"kid\":\"k_hs\"}"

/* Judge a token that is signed by the right key and has this payload. */
static enum rc
verify_payload(const struct keyring *k, const char *text, struct claims *c)
{
	struct buf token = { 0 };
	enum rc rc;

	forge_hmac(&token, HS256, text, EVP_sha256(), secret, sizeof(secret));
	rc = token_verify(k, ISSUER, buf_span(&token), NOW, c, &err);
	buf_free(&token);
	return rc;
}

static enum rc
verify(const struct keyring *k, const struct buf *token)
{
	struct claims c;
	enum rc rc = token_verify(k, ISSUER, buf_span(token), NOW, &c, &err);

	claims_free(&c);
	return rc;
}

/* --- scopes --- */

START_TEST(scopes_are_parsed_and_written)
{
	static const struct { const char *text; unsigned bits; const char *back; } rows[] = {
		{ "sync:read", SCOPE_READ, "sync:read" },
		{ "sync:write sync:read", SCOPE_READ | SCOPE_WRITE, "sync:read sync:write" },
		{ "  project:admin   server:admin ", SCOPE_PROJECT_ADMIN | SCOPE_SERVER_ADMIN,
		  "project:admin server:admin" },
		{ "sync:read sync:read", SCOPE_READ, "sync:read" },
		{ "", 0, NULL }, { " ", 0, NULL }, { "sync", 0, NULL },
		{ "Sync:read", 0, NULL }, { "sync:read,sync:write", 0, NULL },
		{ "sync:read x", 0, NULL }, { "sync:readx", 0, NULL },
	};

	for (size_t i = 0; i < LEN(rows); i++) {
		struct buf b = { 0 };
		unsigned bits = 99;

		ck_assert_int_eq(scope_parse(span_of(rows[i].text), &bits),
		    rows[i].back != NULL);
		ck_assert_uint_eq(bits, rows[i].bits);
		if (rows[i].back == NULL)
			continue;
		scope_add(&b, bits);
		ck_assert_str_eq(buf_cstr(&b), rows[i].back);
		buf_free(&b);
	}
	ck_assert(!scope_parse((struct span){ 0 }, &(unsigned){ 0 }));
}
END_TEST

/* --- keys --- */

START_TEST(a_new_key_is_in_a_file_of_its_own_and_signs)
{
	struct keyring *k;
	struct stat st;
	char kid[40], path[2 * TEMP_PATH];

	k = open_keys();
	ck_assert_ptr_null(keyring_signer(k));
	ck_assert_ptr_null(keyring_at(k, 0));
	keyring_close(k);
	ok(keyring_create(keys, kid, &err));
	ck_assert(id_is(span_of(kid), "k_", 16));
	snprintf(path, sizeof(path), "%s/%s.json", keys, kid);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_int_eq(st.st_mode & 07777, 0600);
	k = open_keys();
	ck_assert_ptr_nonnull(keyring_signer(k));
	ck_assert_str_eq(keyring_signer(k)->kid, kid);
	ck_assert_str_eq(keyring_signer(k)->alg, "HS256");
	ck_assert_uint_ge(keyring_signer(k)->secret_len, 32);
	ck_assert_ptr_eq(keyring_find(k, kid), keyring_signer(k));
	ck_assert_ptr_null(keyring_find(k, "k_other"));
	keyring_close(k);
}
END_TEST

START_TEST(the_newest_key_signs_and_all_stay)
{
	char one[40], two[40], three[40];
	struct keyring *k;

	ok(keyring_create(keys, one, &err));
	ok(keyring_create(keys, two, &err));
	ok(keyring_rotate(keys, 3600, three, &err));
	k = open_keys();
	ck_assert_str_eq(keyring_signer(k)->kid, three);
	ck_assert_str_eq(keyring_at(k, 0)->kid, one);
	ck_assert_str_eq(keyring_at(k, 1)->kid, two);
	ck_assert_str_eq(keyring_at(k, 2)->kid, three);
	ck_assert_ptr_null(keyring_at(k, 3));
	for (size_t i = 0; i < 2; i++)
		ck_assert_int_le(llabs(keyring_at(k, i)->retired_at -
		    clock_now_us() / 1000000 - 3600), 5);
	ck_assert_int_eq(keyring_at(k, 2)->retired_at, 0);
	keyring_close(k);
}
END_TEST

START_TEST(a_bad_key_file_is_an_error_that_names_it)
{
	static const struct { const char *why, *content; bool fine; } rows[] = {
#define K(rest) "{\"kid\":\"k_x\"," rest "}"
#define AT ",\"created_at\":\"2023-01-01T00:00:00Z\""
#define S31 "00112233445566778899aabbccddeeff00112233445566778899aabbccddee"
		{ "the shortest secret", K("\"alg\":\"HS256\",\"secret\":\"" S31 "ff\"" AT), true },
		{ "31 bytes", K("\"alg\":\"HS256\",\"secret\":\"" S31 "\"" AT), false },
		{ "no bytes", K("\"alg\":\"HS256\",\"secret\":\"\"" AT), false },
		{ "half a byte", K("\"alg\":\"HS256\",\"secret\":\"" S31 "ff1\"" AT), false },
		{ "no hex", K("\"alg\":\"HS256\",\"secret\":\"" S31 "fg\"" AT), false },
		{ "no secret", K("\"alg\":\"HS256\"" AT), false },
		{ "a number", K("\"alg\":\"HS256\",\"secret\":1" AT), false },
		{ "another alg", K("\"alg\":\"HS512\",\"secret\":\"" S31 "ff\"" AT), false },
		{ "alg none", K("\"alg\":\"none\",\"secret\":\"" S31 "ff\"" AT), false },
		{ "no alg", K("\"secret\":\"" S31 "ff\"" AT), false },
		{ "a secret for ES256", K("\"alg\":\"ES256\",\"secret\":\"" S31 "ff\"" AT), false },
		{ "pem garbage", K("\"alg\":\"ES256\",\"pem\":\"-----BEGIN PUBLIC KEY-----\"" AT), false },
		{ "no time", K("\"alg\":\"HS256\",\"secret\":\"" S31 "ff\""), false },
		{ "no good time", K("\"alg\":\"HS256\",\"secret\":\"" S31 "ff\",\"created_at\":\"today\""), false },
		{ "retired at no time", K("\"alg\":\"HS256\",\"secret\":\"" S31 "ff\",\"retired_at\":0" AT), false },
		{ "another kid", "{\"kid\":\"k_y\",\"alg\":\"HS256\",\"secret\":\"" S31 "ff\"" AT "}", false },
		{ "no kid", "{\"alg\":\"HS256\",\"secret\":\"" S31 "ff\"" AT "}", false },
		{ "empty", "", false },
		{ "not JSON", "secret", false },
		{ "a list", "[]", false },
	};
	struct keyring *k;

	for (size_t i = 0; i < LEN(rows); i++) {
		enum rc rc;

		write_file("k_x.json", rows[i].content, 0600);
		rc = keyring_open(keys, &k, &err);
		ck_assert_msg(rc == (rows[i].fine ? RC_OK : RC_UNAVAILABLE), "%s: %s",
		    rows[i].why, rc_name(rc));
		ck_assert_msg(rows[i].fine || strstr(err.text, "k_x.json") != NULL, "%s: %s",
		    rows[i].why, err.text);
		ck_assert((k != NULL) == rows[i].fine);
		keyring_close(k);
	}
}
END_TEST

START_TEST(a_key_that_others_may_read_is_refused)
{
	static const mode_t modes[] = { 0640, 0604, 0620, 0602, 0601, 0644 };
	struct keyring *k;

	for (size_t i = 0; i < LEN(modes); i++) {
		char path[2 * TEMP_PATH];

		write_hs256("k_hs");
		snprintf(path, sizeof(path), "%s/k_hs.json", keys);
		ck_assert_int_eq(chmod(path, modes[i]), 0);
		is(keyring_open(keys, &k, &err), RC_UNAVAILABLE);
		ck_assert_ptr_nonnull(strstr(err.text, "k_hs.json"));
	}
	write_file("k_hs.json", "", 0600);
	write_hs256("k_hs");
	keyring_close(open_keys());
}
END_TEST

START_TEST(what_is_no_key_file_is_passed_over)
{
	struct keyring *k;

	write_hs256("k_hs");
	write_file("README", "x", 0644);
	write_file("k_hs.json.tmp-0011223344556677", "half", 0600);
	write_file(".json", "x", 0644);
	k = open_keys();
	ck_assert_str_eq(keyring_signer(k)->kid, "k_hs");
	ck_assert_ptr_null(keyring_at(k, 1));
	keyring_close(k);
	write_file("a key.json", "x", 0600);
	is(keyring_open(keys, &k, &err), RC_UNAVAILABLE);
	temp_remove(keys);
	is(keyring_open(keys, &k, &err), RC_UNAVAILABLE);
}
END_TEST

START_TEST(weak_and_foreign_key_pairs_are_refused)
{
	EVP_PKEY *rsa1024 = EVP_RSA_gen(1024), *p384 = EVP_EC_gen("P-384");
	EVP_PKEY *p256 = EVP_EC_gen("P-256"), *rsa = EVP_RSA_gen(2048);
	const struct { const char *alg; EVP_PKEY *pkey; bool fine; } rows[] = {
		{ "RS256", rsa1024, false }, { "RS256", p256, false }, { "RS256", rsa, true },
		{ "ES256", p384, false }, { "ES256", rsa, false }, { "ES256", p256, true },
	};
	struct keyring *k;

	for (size_t i = 0; i < LEN(rows); i++)
		for (int private = 0; private < 2; private++) {
			write_pkey("k_x", rows[i].alg, rows[i].pkey, private);
			is(keyring_open(keys, &k, &err),
			    rows[i].fine ? RC_OK : RC_UNAVAILABLE);
			/* a public key alone does not sign */
			if (rows[i].fine)
				ck_assert_int_eq(keyring_signer(k) != NULL, private);
			keyring_close(k);
		}
	EVP_PKEY_free(rsa1024);
	EVP_PKEY_free(p384);
	EVP_PKEY_free(p256);
	EVP_PKEY_free(rsa);
}
END_TEST

START_TEST(a_changed_folder_makes_the_keyring_stale)
{
	struct utimbuf old = { 1000, 1000 };
	struct keyring *k;
	char kid[40];

	write_hs256("k_hs");
	ck_assert_int_eq(utime(keys, &old), 0);
	k = open_keys();
	ck_assert(!keyring_stale(k));
	ok(keyring_create(keys, kid, &err));
	ck_assert(keyring_stale(k));
	keyring_close(k);
	/* One that had just changed is looked at again a little later: another
	 * change in the same tick of the clock would not show. */
	k = open_keys();
	ck_assert(!keyring_stale(k));
	usleep(1100000);
	ck_assert(keyring_stale(k));
	keyring_close(k);
	k = open_keys();
	ck_assert(!keyring_stale(k));
	temp_remove(keys);
	ck_assert(keyring_stale(k));
	keyring_close(k);
}
END_TEST

/* --- tokens --- */

START_TEST(a_signed_token_says_what_was_signed)
{
	char projects[2][ID_MAX] = { "p_0000000000000001", "p_0000000000000002" };
	struct claims c = { .jti = "ak_0000000000000001", .sub = "u_0000000000000001",
	                    .scope = SCOPE_READ | SCOPE_PROJECT_ADMIN, .projects = projects,
	                    .n_projects = 2, .iat = NOW, .nbf = NOW, .exp = NOW + 100 };
	struct claims back;
	struct buf token = { 0 };
	struct keyring *k;
	char kid[40];

	k = open_keys();
	is(token_sign(k, ISSUER, &c, &token, &err), RC_UNAVAILABLE);
	keyring_close(k);
	ok(keyring_create(keys, kid, &err));
	k = open_keys();
	ok(token_sign(k, ISSUER, &c, &token, &err));
	ok(token_verify(k, ISSUER, buf_span(&token), NOW, &back, &err));
	ck_assert_str_eq(back.jti, c.jti);
	ck_assert_str_eq(back.sub, c.sub);
	ck_assert_uint_eq(back.scope, c.scope);
	ck_assert(!back.all_projects);
	ck_assert_uint_eq(back.n_projects, 2);
	ck_assert_int_eq(back.iat, NOW);
	ck_assert_int_eq(back.nbf, NOW);
	ck_assert_int_eq(back.exp, NOW + 100);
	ck_assert_int_eq(back.until, NOW + 100);
	ck_assert(claims_cover(&back, "p_0000000000000002"));
	ck_assert(!claims_cover(&back, "p_0000000000000003"));
	ck_assert(!claims_cover(&back, ""));
	claims_free(&back);

	/* for all projects, without a user */
	buf_reset(&token);
	c = (struct claims){ .jti = "ak_2", .scope = SCOPE_READ, .all_projects = true,
	                     .iat = NOW, .nbf = NOW, .exp = NOW + 100 };
	ok(token_sign(k, ISSUER, &c, &token, &err));
	ok(token_verify(k, ISSUER, buf_span(&token), NOW, &back, &err));
	ck_assert_str_eq(back.sub, "");
	ck_assert(claims_cover(&back, "p_0000000000000003"));
	claims_free(&back);

	/* for none: it covers nothing */
	buf_reset(&token);
	c.all_projects = false;
	ok(token_sign(k, ISSUER, &c, &token, &err));
	ok(token_verify(k, ISSUER, buf_span(&token), NOW, &back, &err));
	ck_assert(!claims_cover(&back, "p_0000000000000001"));
	claims_free(&back);
	keyring_close(k);
	buf_free(&token);
}
END_TEST

START_TEST(claims_are_required_and_strictly_typed)
{
	static const struct { const char *why, *name, *value; bool fine; } rows[] = {
		{ "as they are", NULL, NULL, true },
		{ "one more", "x", "{\"a\":[1]}", true },
		{ "no exp", "exp", NULL, false },
		{ "exp as text", "exp", "\"1700000100\"", false },
		{ "exp as a fraction", "exp", "1700000100.0", false },
		{ "exp with an exponent", "exp", "17000001e2", false },
		{ "exp null", "exp", "null", false },
		{ "exp beyond 64 bits", "exp", "99999999999999999999", false },
		{ "exp now", "exp", "1700000000", false },
		{ "exp in a second", "exp", "1700000001", true },
		{ "exp long ago", "exp", "-1", false },
		{ "no iat", "iat", NULL, false },
		{ "iat as text", "iat", "\"1700000000\"", false },
		{ "iat a minute ahead", "iat", "1700000060", true },
		{ "iat 61 s ahead", "iat", "1700000061", false },
		{ "no nbf", "nbf", NULL, true },
		{ "nbf as text", "nbf", "\"0\"", false },
		{ "nbf as a fraction", "nbf", "1.5", false },
		{ "nbf a minute ahead", "nbf", "1700000060", true },
		{ "nbf 61 s ahead", "nbf", "1700000061", false },
		{ "nbf far ahead", "nbf", "9223372036854775807", false },
		{ "no iss", "iss", NULL, false },
		{ "another iss", "iss", "\"srv_other\"", false },
		{ "iss in a list", "iss", "[\"" ISSUER "\"]", false },
		{ "iss cut by a NUL", "iss", "\"" ISSUER "\\u0000x\"", false },
		{ "no aud", "aud", NULL, false },
		{ "another aud", "aud", "\"td\"", false },
		{ "aud in a list", "aud", "[\"td-sync\"]", false },
		{ "no jti", "jti", NULL, false },
		{ "an empty jti", "jti", "\"\"", false },
		{ "jti a number", "jti", "1", false },
		{ "the longest jti", "jti", "\"123456789012345678901234567890123456789\"", true },
		{ "a longer jti", "jti", "\"1234567890123456789012345678901234567890\"", false },
		{ "jti cut by a NUL", "jti", "\"ak_1\\u0000\"", false },
		{ "no sub", "sub", NULL, true },
		{ "an empty sub", "sub", "\"\"", false },
		{ "sub null", "sub", "null", false },
		{ "sub a number", "sub", "7", false },
		{ "no scope", "scope", NULL, false },
		{ "an unknown scope", "scope", "\"sync:all\"", false },
		{ "an unknown scope more", "scope", "\"sync:read x\"", false },
		{ "an empty scope", "scope", "\"\"", false },
		{ "scopes in a list", "scope", "[\"sync:read\"]", false },
		{ "no prj", "prj", NULL, false },
		{ "prj another text", "prj", "\"p_1\"", false },
		{ "prj true", "prj", "true", false },
		{ "prj null", "prj", "null", false },
		{ "prj a list", "prj", "[\"p_1\",\"p_2\"]", true },
		{ "prj an empty list", "prj", "[]", true },
		{ "prj a list with a number", "prj", "[\"p_1\",2]", false },
		{ "prj a list with an empty text", "prj", "[\"\"]", false },
		{ "prj an object", "prj", "{\"*\":1}", false },
	};
	struct keyring *k;
	struct claims c;

	write_hs256("k_hs");
	k = open_keys();
	for (size_t i = 0; i < LEN(rows); i++) {
		enum rc rc = verify_payload(k, payload(rows[i].name, rows[i].value), &c);

		ck_assert_msg(rc == (rows[i].fine ? RC_OK : RC_UNAUTHORIZED), "%s: %s, %s",
		    rows[i].why, rc_name(rc), err.text);
		claims_free(&c);
	}
	keyring_close(k);
}
END_TEST

START_TEST(claims_are_one_plain_object)
{
	static const struct { const char *why, *text; bool fine; } rows[] = {
#define GOOD "\"iss\":\"" ISSUER "\",\"aud\":\"td-sync\",\"jti\":\"ak_1\"," \
	"\"scope\":\"sync:read\",\"prj\":\"*\",\"iat\":1,\"exp\":1700000001"
		{ "as it is", "{" GOOD "}", true },
		{ "exp twice", "{" GOOD ",\"exp\":1700000002}", false },
		{ "prj twice, once escaped", "{" GOOD ",\"pr\\u006a\":\"*\"}", false },
		{ "an unknown one twice", "{" GOOD ",\"x\":1,\"x\":1}", false },
		{ "a list", "[1,2]", false },
		{ "a text", "\"x\"", false },
		{ "nothing", "{}", false },
		{ "cut short", "{" GOOD, false },
		{ "two objects", "{" GOOD "}{}", false },
		{ "a blank before", " {" GOOD "}", false },
		{ "a newline behind", "{" GOOD "}\n", false },
		{ "no UTF-8", "{" GOOD ",\"x\":\"\xff\"}", false },
		{ "too deep", "{" GOOD ",\"x\":[[[[[]]]]]}", false },
	};
	struct keyring *k;
	struct claims c;
	struct buf many = { 0 };

	write_hs256("k_hs");
	k = open_keys();
	for (size_t i = 0; i < LEN(rows); i++) {
		enum rc rc = verify_payload(k, rows[i].text, &c);

		ck_assert_msg(rc == (rows[i].fine ? RC_OK : RC_UNAUTHORIZED), "%s: %s, %s",
		    rows[i].why, rc_name(rc), err.text);
		claims_free(&c);
	}
	/* 7 members are there: 25 more is the limit */
	buf_add_str(&many, "{" GOOD);
	for (int i = 0; i < 25; i++)
		buf_addf(&many, ",\"x%d\":1", i);
	buf_add_str(&many, "}");
	is(verify_payload(k, buf_cstr(&many), &c), RC_OK);
	claims_free(&c);
	many.len--;
	buf_add_str(&many, ",\"y\":1}");
	is(verify_payload(k, buf_cstr(&many), &c), RC_UNAUTHORIZED);
	buf_free(&many);
	keyring_close(k);
}
END_TEST

START_TEST(a_header_must_name_the_key_and_its_one_algorithm)
{
	static const struct { const char *why, *header; bool fine; } rows[] = {
		{ "as it is", HS256, true },
		{ "without typ", "{\"alg\":\"HS256\",\"kid\":\"k_hs\"}", true },
		{ "an unknown member", "{\"alg\":\"HS256\",\"kid\":\"k_hs\",\"x5u\":\"http://x\"}", true },
		{ "an unknown kid", "{\"alg\":\"HS256\",\"kid\":\"k_no\"}", false },
		{ "another key's kid", "{\"alg\":\"HS256\",\"kid\":\"k_two\"}", false },
		{ "a retired key's kid", "{\"alg\":\"HS256\",\"kid\":\"k_old\"}", false },
		{ "a path for a kid", "{\"alg\":\"HS256\",\"kid\":\"../keys/k_hs\"}", false },
		{ "an empty kid", "{\"alg\":\"HS256\",\"kid\":\"\"}", false },
		{ "no kid", "{\"alg\":\"HS256\"}", false },
		{ "kid a number", "{\"alg\":\"HS256\",\"kid\":1}", false },
		{ "kid cut by a NUL", "{\"alg\":\"HS256\",\"kid\":\"k_hs\\u0000\"}", false },
		{ "two kids", "{\"alg\":\"HS256\",\"kid\":\"k_no\",\"kid\":\"k_hs\"}", false },
		{ "no alg", "{\"kid\":\"k_hs\"}", false },
		{ "alg none", "{\"alg\":\"none\",\"kid\":\"k_hs\"}", false },
		{ "alg None", "{\"alg\":\"None\",\"kid\":\"k_hs\"}", false },
		{ "alg in lower case", "{\"alg\":\"hs256\",\"kid\":\"k_hs\"}", false },
		{ "two algs", "{\"alg\":\"HS256\",\"alg\":\"none\",\"kid\":\"k_hs\"}", false },
		{ "two algs, once escaped", "{\"alg\":\"none\",\"\\u0061lg\":\"HS256\",\"kid\":\"k_hs\"}", false },
		{ "alg null", "{\"alg\":null,\"kid\":\"k_hs\"}", false },
		{ "crit", "{\"alg\":\"HS256\",\"kid\":\"k_hs\",\"crit\":[\"exp\"]}", false },
		{ "an empty crit", "{\"alg\":\"HS256\",\"kid\":\"k_hs\",\"crit\":[]}", false },
		{ "a list", "[\"HS256\"]", false },
		{ "nothing", "{}", false },
		{ "not JSON", "HS256", false },
		{ "something behind", "{\"alg\":\"HS256\",\"kid\":\"k_hs\"} ", false },
	};
	struct keyring *k;
	char members[200];

	write_hs256("k_hs");
	write_key("k_two", "\"alg\":\"HS256\",\"secret\":\"" S31 "ff\"");
	snprintf(members, sizeof(members), "\"alg\":\"HS256\",\"secret\":\"%s\","
	    "\"retired_at\":\"2023-11-14T22:13:20Z\"", secret_hex); /* NOW */
	write_key("k_old", members);
	k = open_keys();
	for (size_t i = 0; i < LEN(rows); i++) {
		struct buf token = { 0 };
		enum rc rc;

		forge_hmac(&token, rows[i].header, payload(NULL, NULL), EVP_sha256(), secret,
		    sizeof(secret));
		rc = verify(k, &token);
		ck_assert_msg(rc == (rows[i].fine ? RC_OK : RC_UNAUTHORIZED), "%s: %s, %s",
		    rows[i].why, rc_name(rc), err.text);
		buf_free(&token);
	}
	keyring_close(k);
}
END_TEST

START_TEST(a_token_ends_with_its_key)
{
	struct keyring *k;
	struct claims c;
	char members[200];

	snprintf(members, sizeof(members), "\"alg\":\"HS256\",\"secret\":\"%s\","
	    "\"retired_at\":\"2023-11-14T22:13:21Z\"", secret_hex); /* NOW + 1 */
	write_key("k_hs", members);
	k = open_keys();
	ck_assert_ptr_null(keyring_signer(k));
	is(verify_payload(k, payload(NULL, NULL), &c), RC_OK);
	ck_assert_int_eq(c.until, NOW + 1);
	ck_assert_int_eq(c.exp, NOW + 100);
	claims_free(&c);
	keyring_close(k);
}
END_TEST

START_TEST(no_other_algorithm_passes_for_the_right_one)
{
	EVP_PKEY *ec = EVP_EC_gen("P-256"), *rsa = EVP_RSA_gen(2048), *other;
	char *ec_pem = pem_of(ec, false), *rsa_pem = pem_of(rsa, false);
	struct keyring *k;
	struct buf t = { 0 };

	write_hs256("k_hs");
	write_pkey("k_ec", "ES256", ec, false);
	write_pkey("k_rsa", "RS256", rsa, true);
	k = open_keys();

	/* first: what must pass, does */
	forge_pkey(&t, "{\"alg\":\"ES256\",\"kid\":\"k_ec\"}", payload(NULL, NULL), ec);
	is(verify(k, &t), RC_OK);
	buf_reset(&t);
	forge_pkey(&t, "{\"alg\":\"RS256\",\"kid\":\"k_rsa\"}", payload(NULL, NULL), rsa);
	is(verify(k, &t), RC_OK);

	/* another key pair's signature */
	other = EVP_EC_gen("P-256");
	buf_reset(&t);
	forge_pkey(&t, "{\"alg\":\"ES256\",\"kid\":\"k_ec\"}", payload(NULL, NULL), other);
	is(verify(k, &t), RC_UNAUTHORIZED);
	EVP_PKEY_free(other);

	/* the public key, which everybody has, as a secret */
	buf_reset(&t);
	forge_hmac(&t, "{\"alg\":\"HS256\",\"kid\":\"k_ec\"}", payload(NULL, NULL),
	    EVP_sha256(), ec_pem, strlen(ec_pem));
	is(verify(k, &t), RC_UNAUTHORIZED);
	buf_reset(&t);
	forge_hmac(&t, "{\"alg\":\"HS256\",\"kid\":\"k_rsa\"}", payload(NULL, NULL),
	    EVP_sha256(), rsa_pem, strlen(rsa_pem));
	is(verify(k, &t), RC_UNAUTHORIZED);

	/* the right secret with a longer hash, which libjwt would take */
	buf_reset(&t);
	forge_hmac(&t, "{\"alg\":\"HS512\",\"kid\":\"k_hs\"}", payload(NULL, NULL),
	    EVP_sha512(), secret, sizeof(secret));
	is(verify(k, &t), RC_UNAUTHORIZED);
	buf_reset(&t);
	forge_hmac(&t, HS256, payload(NULL, NULL), EVP_sha512(), secret, sizeof(secret));
	is(verify(k, &t), RC_UNAUTHORIZED);

	/* one key's kid with another's signature */
	buf_reset(&t);
	forge_pkey(&t, "{\"alg\":\"ES256\",\"kid\":\"k_hs\"}", payload(NULL, NULL), ec);
	is(verify(k, &t), RC_UNAUTHORIZED);
	buf_reset(&t);
	forge_pkey(&t, "{\"alg\":\"RS256\",\"kid\":\"k_ec\"}", payload(NULL, NULL), rsa);
	is(verify(k, &t), RC_UNAUTHORIZED);

	/* an empty secret, no secret at all */
	buf_reset(&t);
	forge_hmac(&t, HS256, payload(NULL, NULL), EVP_sha256(), "", 0);
	is(verify(k, &t), RC_UNAUTHORIZED);
	buf_reset(&t);
	add_content(&t, "{\"alg\":\"none\",\"kid\":\"k_hs\"}", payload(NULL, NULL));
	is(verify(k, &t), RC_UNAUTHORIZED);
	buf_add_str(&t, ".");
	is(verify(k, &t), RC_UNAUTHORIZED);
	buf_add_str(&t, "AA");
	is(verify(k, &t), RC_UNAUTHORIZED);

	keyring_close(k);
	buf_free(&t);
	free(ec_pem);
	free(rsa_pem);
	EVP_PKEY_free(ec);
	EVP_PKEY_free(rsa);
}
END_TEST

START_TEST(our_own_key_pairs_sign_too)
{
	EVP_PKEY *pkeys[2] = { EVP_EC_gen("P-256"), EVP_RSA_gen(2048) };
	static const char *const algs[2] = { "ES256", "RS256" };
	struct claims c = { .jti = "ak_1", .scope = SCOPE_READ, .all_projects = true,
	                    .iat = NOW, .nbf = NOW, .exp = NOW + 1 };

	for (int i = 0; i < 2; i++) {
		struct keyring *k;
		struct buf t = { 0 };

		write_pkey("k_x", algs[i], pkeys[i], true);
		k = open_keys();
		ok(token_sign(k, ISSUER, &c, &t, &err));
		is(verify(k, &t), RC_OK);
		/* whoever has the public key only can judge, too */
		keyring_close(k);
		write_pkey("k_x", algs[i], pkeys[i], false);
		k = open_keys();
		is(verify(k, &t), RC_OK);
		keyring_close(k);
		buf_free(&t);
		EVP_PKEY_free(pkeys[i]);
	}
}
END_TEST

START_TEST(no_altered_character_passes)
{
	static const char alphabet[] =
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	struct keyring *k;
	struct buf t = { 0 };

	write_hs256("k_hs");
	k = open_keys();
	forge_hmac(&t, HS256, payload(NULL, NULL), EVP_sha256(), secret, sizeof(secret));
	is(verify(k, &t), RC_OK);
	for (size_t i = 0; i < t.len; i++) {
		static const char others[] = "AQgw_.=+/ \n\0";
		char c = t.p[i];

		for (size_t j = 0; j < sizeof(others); j++) {
			if (others[j] == c)
				continue;
			t.p[i] = others[j];
			ck_assert_msg(verify(k, &t) == RC_UNAUTHORIZED, "%zu", i);
		}
		t.p[i] = c;
	}
	/* the last character carries bits that mean nothing: one spelling only */
	for (size_t j = 0; j < 64; j++) {
		char c = t.p[t.len - 1];

		if (alphabet[j] == c)
			continue;
		t.p[t.len - 1] = alphabet[j];
		is(verify(k, &t), RC_UNAUTHORIZED);
		t.p[t.len - 1] = c;
	}
	is(verify(k, &t), RC_OK);
	keyring_close(k);
	buf_free(&t);
}
END_TEST

START_TEST(a_signature_has_one_spelling)
{
	static const char alphabet[] =
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	EVP_PKEY *ec = EVP_EC_gen("P-256");
	struct keyring *k;
	struct buf t = { 0 };
	int passed = 0;

	write_pkey("k_ec", "ES256", ec, false);
	k = open_keys();
	forge_pkey(&t, "{\"alg\":\"ES256\",\"kid\":\"k_ec\"}", payload(NULL, NULL), ec);
	/* 64 bytes in 86 characters: four bits of the last one mean nothing */
	for (size_t j = 0; j < 64; j++) {
		t.p[t.len - 1] = alphabet[j];
		passed += verify(k, &t) == RC_OK;
	}
	ck_assert_int_eq(passed, 1);
	keyring_close(k);
	buf_free(&t);
	EVP_PKEY_free(ec);
}
END_TEST

START_TEST(a_token_is_three_parts_and_nothing_else)
{
	struct keyring *k;
	struct buf t = { 0 }, u = { 0 };

	write_hs256("k_hs");
	k = open_keys();
	forge_hmac(&t, HS256, payload(NULL, NULL), EVP_sha256(), secret, sizeof(secret));
	for (size_t n = 0; n < t.len; n++)
		is(token_verify(k, ISSUER, (struct span){ t.p, n }, NOW,
		    &(struct claims){ 0 }, &err), RC_UNAUTHORIZED);
	static const char *const tails[] = { "=", "==", ".", ".AA", "A", " ", "\n", "\t" };
	for (size_t i = 0; i < LEN(tails); i++) {
		buf_reset(&u);
		buf_add_span(&u, buf_span(&t));
		buf_add_str(&u, tails[i]);
		is(verify(k, &u), RC_UNAUTHORIZED);
		buf_reset(&u);
		buf_add_str(&u, tails[i]);
		buf_add_span(&u, buf_span(&t));
		is(verify(k, &u), RC_UNAUTHORIZED);
	}
	buf_reset(&u);
	buf_add_span(&u, buf_span(&t));
	buf_add(&u, "\0", 1);
	is(verify(k, &u), RC_UNAUTHORIZED);
	static const char *const others[] = { "", ".", "..", "...", "a.b.c", "td_live_unknown" };
	for (size_t i = 0; i < LEN(others); i++)
		is(token_verify(k, ISSUER, span_of(others[i]), NOW, &(struct claims){ 0 },
		    &err), RC_UNAUTHORIZED);
	keyring_close(k);
	buf_free(&t);
	buf_free(&u);
}
END_TEST

/* A good token of exactly that length, by a claim that nobody reads. */
static void
forge_length(struct buf *out, size_t want)
{
	/* The length of base64url can't be 4n + 1, so the header's is varied too. */
	for (size_t pad = 0; pad < 3; pad++)
		for (size_t fill = want > 600 ? (want - 600) * 3 / 4 : 0; fill < want; fill++) {
			struct buf header = { 0 }, value = { 0 };

			buf_addf(&header, "{\"alg\":\"HS256\",\"kid\":\"k_hs\",\"x\":\"%.*s\"}",
			    (int)pad, "xxx");
			buf_add_byte(&value, '"');
			for (size_t i = 0; i < fill; i++)
				buf_add_byte(&value, 'x');
			buf_add_byte(&value, '"');
			buf_reset(out);
			forge_hmac(out, buf_cstr(&header), payload("x", buf_cstr(&value)),
			    EVP_sha256(), secret, sizeof(secret));
			buf_free(&header);
			buf_free(&value);
			if (out->len == want)
				return;
			if (out->len > want)
				break;
		}
	ck_abort_msg("no token of %zu bytes", want);
}

START_TEST(a_long_token_is_not_looked_at)
{
	struct keyring *k;
	struct buf t = { 0 };
	size_t huge = 9u << 20;
	char *p;

	write_hs256("k_hs");
	k = open_keys();
	forge_length(&t, TOKEN_MAX);
	is(verify(k, &t), RC_OK);
	forge_length(&t, TOKEN_MAX + 1);
	is(verify(k, &t), RC_UNAUTHORIZED);
	ck_assert_ptr_nonnull(strstr(err.text, "too long"));
	buf_free(&t);
	/* as long as one that overflows the stack in libjwt */
	p = malloc(huge);
	memset(p, 'A', huge);
	p[huge / 3] = p[huge / 3 * 2] = '.';
	is(token_verify(k, ISSUER, (struct span){ p, huge }, NOW, &(struct claims){ 0 },
	    &err), RC_UNAUTHORIZED);
	free(p);
	keyring_close(k);
}
END_TEST

START_TEST(a_token_for_too_many_projects_is_not_signed)
{
	enum { MANY = 400 };
	struct claims c = { .jti = "ak_1", .scope = SCOPE_READ, .iat = NOW, .nbf = NOW,
	                    .exp = NOW + 1, .projects = calloc(MANY, ID_MAX) };
	struct buf t = { 0 };
	struct keyring *k;
	enum rc rc = RC_OK;

	write_hs256("k_hs");
	k = open_keys();
	while (rc == RC_OK && c.n_projects < MANY) {
		snprintf(c.projects[c.n_projects], ID_MAX, "p_%016zx", c.n_projects);
		c.n_projects++;
		buf_reset(&t);
		rc = token_sign(k, ISSUER, &c, &t, &err);
		/* what is signed, verifies */
		if (rc == RC_OK)
			is(verify(k, &t), RC_OK);
	}
	is(rc, RC_INVALID);
	ck_assert_uint_eq(t.len, 0);
	ck_assert_uint_gt(c.n_projects, 100);
	keyring_close(k);
	claims_free(&c);
	buf_free(&t);
}
END_TEST

/* --- who is calling --- */

static struct auth *a;
static struct user owner, writer, reader, stranger;
#define P1 "p_0000000000000001"
#define P2 "p_0000000000000002"
#define GONE "p_0000000000000003"
#define ALL (SCOPE_READ | SCOPE_WRITE | SCOPE_PROJECT_ADMIN)

static struct accounts *
accounts(void)
{
	struct accounts *acc;

	ok(auth_accounts(a, &acc, &err));
	return acc;
}

static struct user
add_user(const char *email)
{
	struct user u;

	ok(user_add(accounts(), span_of(email), &u, &err));
	return u;
}

static void
add_project(const char *id)
{
	struct project p;
	struct member m;

	ok(project_add(accounts(), id, span_of(id), span_of(""), owner.id, &p, &err));
	ok(member_add(accounts(), id, writer.id, ROLE_WRITER, owner.id, &m, &err));
	ok(member_add(accounts(), id, reader.id, ROLE_READER, owner.id, &m, &err));
}

static void
setup_server(void)
{
	char kid[40];

	setup();
	ok(keyring_create(keys, kid, &err));
	ok(accounts_create(dir, &err));
	ok(auth_open(dir, &a, &err));
	owner = add_user("owner@example.com");
	writer = add_user("writer@example.com");
	reader = add_user("reader@example.com");
	stranger = add_user("stranger@example.com");
	add_project(P1);
	add_project(P2);
	add_project(GONE);
	ok(project_delete(accounts(), GONE, &err));
}

static void
teardown_server(void)
{
	auth_close(a);
	teardown();
}

/* "Bearer TOKEN" of a user for all projects (NULL) or one; free() it. */
static char *
bearer(const struct user *u, unsigned scope, const char *project, int64_t lifetime)
{
	struct buf b = { 0 };
	struct token_row row;

	buf_add_str(&b, "Bearer ");
	ok(auth_issue(a, &(struct token_plan){
		.user_id = u == NULL ? "" : u->id, .name = "test", .scope = scope,
		.projects = project == NULL ? NULL : &project, .n_projects = project != NULL,
		.lifetime_s = lifetime,
	}, &row, &b, &err));
	ck_assert(id_is(span_of(row.id), "ak_", 16));
	ck_assert_ptr_nonnull(buf_cstr(&b));
	return b.p;
}

static enum rc
check(const char *header, const char *project, unsigned scope, enum role role)
{
	struct caller c;

	return auth_check(a, header, project, scope, role, GUESTS_LINK, &c, &err);
}

/* The outcome and its message; the header is freed. */
static void
expect(char *header, const char *project, unsigned scope, enum role role,
       enum rc want, const char *message)
{
	is(check(header, project, scope, role), want);
	if (message != NULL)
		ck_assert_str_eq(err.text, message);
	free(header);
}

START_TEST(headers_are_judged_as_recorded)
{
	char *good_header = bearer(&owner, ALL, NULL, 100);
	static const struct { const char *header, *message; } rows[] = {
		{ NULL, "missing authorization header" },
		{ "", "missing authorization header" },
		{ "Basic abc", "invalid authorization format" },
		{ "bearer td_live_EXAMPLE", "invalid authorization format" },
		{ "BEARER td_live_EXAMPLE", "invalid authorization format" },
		{ "Bearer ", "invalid authorization format" },
		{ "Bearer", "invalid authorization format" },
		{ "Bearer\ttd_live_EXAMPLE", "invalid authorization format" },
		{ " Bearer td_live_EXAMPLE", "invalid authorization format" },
		{ "Bearer td_live_unknown", "invalid or expired api key" },
		{ "Bearer  ", "invalid or expired api key" },
	};
	char text[4096];

	for (size_t i = 0; i < LEN(rows); i++) {
		is(check(rows[i].header, NULL, SCOPE_READ, ROLE_NONE), RC_UNAUTHORIZED);
		ck_assert_str_eq(err.text, rows[i].message);
	}
	is(check(good_header, NULL, SCOPE_READ, ROLE_NONE), RC_OK);
	snprintf(text, sizeof(text), "%s x", good_header);
	is(check(text, NULL, SCOPE_READ, ROLE_NONE), RC_UNAUTHORIZED);
	ck_assert_str_eq(err.text, "invalid or expired api key");
	snprintf(text, sizeof(text), "bearer %s", good_header + 7);
	is(check(text, NULL, SCOPE_READ, ROLE_NONE), RC_UNAUTHORIZED);
	ck_assert_str_eq(err.text, "invalid authorization format");
	free(good_header);
}
END_TEST

/* Who is let in beside members, by route; [guests], as the outcome. */
static const struct {
	const char *why;
	bool is_public;
	enum { NO_TOKEN, BAD_TOKEN, OF_STRANGER, OF_SERVER, OF_READER, OF_LINK, OF_OTHER_LINK } who;
	enum rc want[3];
} guests[] = {
	{ "no token", false, NO_TOKEN,
	  { RC_UNAUTHORIZED, RC_UNAUTHORIZED, RC_UNAUTHORIZED } },
	{ "no token, public", true, NO_TOKEN, { RC_UNAUTHORIZED, RC_UNAUTHORIZED, RC_OK } },
	{ "a bad one", true, BAD_TOKEN,
	  { RC_UNAUTHORIZED, RC_UNAUTHORIZED, RC_UNAUTHORIZED } },
	{ "a stranger", false, OF_STRANGER, { RC_FORBIDDEN, RC_FORBIDDEN, RC_FORBIDDEN } },
	{ "a stranger, public", true, OF_STRANGER, { RC_FORBIDDEN, RC_FORBIDDEN, RC_OK } },
	{ "another scope", false, OF_SERVER, { RC_SCOPE, RC_SCOPE, RC_SCOPE } },
	{ "another scope, public", true, OF_SERVER, { RC_SCOPE, RC_SCOPE, RC_OK } },
	{ "a reader", false, OF_READER, { RC_OK, RC_OK, RC_OK } },
	{ "a link", false, OF_LINK, { RC_FORBIDDEN, RC_OK, RC_OK } },
	{ "a link, public", true, OF_LINK, { RC_FORBIDDEN, RC_OK, RC_OK } },
	{ "another's link", false, OF_OTHER_LINK, { RC_FORBIDDEN, RC_FORBIDDEN, RC_FORBIDDEN } },
	{ "another's link, public", true, OF_OTHER_LINK,
	  { RC_FORBIDDEN, RC_FORBIDDEN, RC_OK } },
};

START_TEST(guests_are_let_in_where_the_route_and_the_project_say_so)
{
	struct project p;
	struct caller c;

	for (size_t i = 0; i < LEN(guests); i++) {
		char *headers[] = {
			[NO_TOKEN] = NULL, [BAD_TOKEN] = strdup("Bearer x.y.z"),
			[OF_STRANGER] = bearer(&stranger, ALL, NULL, 100),
			[OF_SERVER] = bearer(&reader, SCOPE_SERVER_ADMIN, NULL, 100),
			[OF_READER] = bearer(&reader, ALL, NULL, 100),
			[OF_LINK] = bearer(NULL, SCOPE_READ, P1, 100),
			[OF_OTHER_LINK] = bearer(NULL, SCOPE_READ, P2, 100),
		};
		const char *header = headers[guests[i].who];

		ok(project_publish(accounts(), P1, guests[i].is_public, &p, &err));
		for (enum guests g = GUESTS_NONE; g <= GUESTS_ANYONE; g++) {
			enum rc rc = auth_check(a, header, P1, SCOPE_READ, ROLE_READER, g, &c, &err);

			ck_assert_msg(rc == guests[i].want[g], "%s, %d: %s", guests[i].why, (int)g,
			              rc_name(rc));
			if (rc != RC_OK)
				continue;
			ck_assert_int_eq(c.role, ROLE_READER);
			ck_assert_msg(c.guest == (guests[i].who != OF_READER &&
			                          guests[i].who != OF_LINK), "%s", guests[i].why);
			ck_assert((c.token_id[0] == '\0') == (header == NULL));
			/* It is for reading, whatever the token may elsewhere. */
			is(auth_allows(&c, SCOPE_WRITE, ROLE_WRITER, &err),
			   (c.scope & SCOPE_WRITE) != 0 ? RC_FORBIDDEN : RC_SCOPE);
		}
		for (size_t j = 0; j < LEN(headers); j++)
			free(headers[j]);
	}
	/* What is gone is nobody's to read; there is nothing without a project. */
	ok(project_publish(accounts(), P1, true, &p, &err));
	is(auth_check(a, NULL, NULL, SCOPE_READ, ROLE_NONE, GUESTS_ANYONE, &c, &err),
	   RC_UNAUTHORIZED);
	is(auth_check(a, NULL, "p_0000000000000000", SCOPE_READ, ROLE_READER, GUESTS_ANYONE, &c,
	              &err), RC_UNAUTHORIZED);
	ok(auth_check(a, NULL, P1, SCOPE_READ, ROLE_READER, GUESTS_ANYONE, &c, &err));
	ok(project_delete(accounts(), P1, &err));
	is(auth_check(a, NULL, P1, SCOPE_READ, ROLE_READER, GUESTS_ANYONE, &c, &err),
	   RC_UNAUTHORIZED);
}
END_TEST

START_TEST(a_share_link_is_recorded_with_its_project_and_its_maker)
{
	struct buf t = { 0 };
	struct token_row row, known;

	is(auth_share(a, P1, "x", 0, 0, owner.id, &row, &t, &err), RC_INVALID);
	is(auth_share(a, P1, "x", LINK_DAYS_MAX + 1, 0, owner.id, &row, &t, &err), RC_INVALID);
	ok(auth_share(a, P1, "x", LINK_DAYS_MAX, 0, owner.id, &row, &t, &err));
	ok(token_get(accounts(), row.id, &known, &err));
	ck_assert_str_eq(known.link_id, P1);
	ck_assert_str_eq(known.made_by, owner.id);
	ck_assert_str_eq(known.user_id, "");
	ck_assert_str_eq(known.projects, P1);
	ck_assert_str_eq(known.scope, "sync:read");
	ck_assert_int_eq(known.expires_at - known.created_at, LINK_DAYS_MAX * INT64_C(86400));
	/* It does not outlive the token that makes it. */
	ok(auth_share(a, P1, "x", 7, known.created_at + 3600, owner.id, &row, &t, &err));
	ck_assert_int_le(llabs(row.expires_at - known.created_at - 3600), 5);
	ok(auth_share(a, P1, "x", 7, known.created_at + 8 * 86400, owner.id, &row, &t, &err));
	ck_assert_int_eq(row.expires_at - row.created_at, 7 * 86400);
	ck_assert_int_eq(known.expires_at - known.created_at, LINK_DAYS_MAX * 86400);
	buf_free(&t);
}
END_TEST

START_TEST(a_caller_is_known_by_token_user_scope_and_role)
{
	char *h = bearer(&writer, ALL, NULL, 100);
	struct caller c;

	ok(auth_check(a, h, P1, SCOPE_READ, ROLE_READER, GUESTS_LINK, &c, &err));
	ck_assert_str_eq(c.user_id, writer.id);
	ck_assert(id_is(span_of(c.token_id), "ak_", 16));
	ck_assert_uint_eq(c.scope, ALL);
	ck_assert(c.all_projects);
	ck_assert_int_eq(c.role, ROLE_WRITER);
	ok(auth_check(a, h, NULL, SCOPE_READ, ROLE_NONE, GUESTS_LINK, &c, &err));
	ck_assert_str_eq(c.user_id, writer.id);
	ck_assert_int_eq(c.role, ROLE_NONE);
	free(h);
	/* a token that reaches less than its user's role */
	h = bearer(&owner, SCOPE_READ, P1, 100);
	ok(auth_check(a, h, P1, SCOPE_READ, ROLE_READER, GUESTS_LINK, &c, &err));
	ck_assert_int_eq(c.role, ROLE_READER);
	ck_assert(!c.all_projects);
	free(h);
}
END_TEST

START_TEST(roles_are_judged_as_recorded)
{
	const struct {
		const struct user *who;
		const char *project;
		enum role need;
		enum rc want;
		const char *message;
	} rows[] = {
		{ &owner, P1, ROLE_OWNER, RC_OK, NULL },
		{ &writer, P1, ROLE_WRITER, RC_OK, NULL },
		{ &reader, P1, ROLE_READER, RC_OK, NULL },
		{ &reader, P1, ROLE_WRITER, RC_FORBIDDEN,
		  "insufficient permissions: have reader, need writer" },
		{ &writer, P1, ROLE_OWNER, RC_FORBIDDEN,
		  "insufficient permissions: have writer, need owner" },
		{ &stranger, P1, ROLE_READER, RC_FORBIDDEN, "not a member of project " P1 },
		{ &owner, "p_0000000000000000", ROLE_READER, RC_FORBIDDEN,
		  "not a member of project p_0000000000000000" },
		{ &owner, "", ROLE_READER, RC_FORBIDDEN, "not a member of project " },
		{ &owner, "../" P1, ROLE_READER, RC_FORBIDDEN, "not a member of project ../" P1 },
		{ &owner, GONE, ROLE_READER, RC_NOT_FOUND, "project not found" },
		{ &reader, GONE, ROLE_OWNER, RC_NOT_FOUND, "project not found" },
		{ &stranger, GONE, ROLE_READER, RC_FORBIDDEN, "not a member of project " GONE },
	};

	for (size_t i = 0; i < LEN(rows); i++)
		expect(bearer(rows[i].who, ALL, NULL, 100), rows[i].project, SCOPE_READ,
		    rows[i].need, rows[i].want, rows[i].message);
}
END_TEST

START_TEST(scopes_are_judged_before_membership_and_limit_roles)
{
	const struct {
		unsigned have, need;
		const char *project;
		enum role role;
		enum rc want;
		const char *message;
	} rows[] = {
		{ SCOPE_READ, SCOPE_READ, P1, ROLE_READER, RC_OK, NULL },
		{ SCOPE_WRITE, SCOPE_WRITE, P1, ROLE_WRITER, RC_OK, NULL },
		{ SCOPE_PROJECT_ADMIN, SCOPE_PROJECT_ADMIN, P1, ROLE_OWNER, RC_OK, NULL },
		{ SCOPE_READ, SCOPE_WRITE, P1, ROLE_WRITER, RC_SCOPE,
		  "key does not have the sync:write scope required for this route" },
		{ SCOPE_WRITE, SCOPE_READ, P1, ROLE_READER, RC_SCOPE,
		  "key does not have the sync:read scope required for this route" },
		{ SCOPE_SERVER_ADMIN, SCOPE_READ, NULL, ROLE_NONE, RC_SCOPE,
		  "key does not have the sync:read scope required for this route" },
		/* a route that names no scope is still held to the role's */
		{ SCOPE_READ, 0, P1, ROLE_WRITER, RC_SCOPE,
		  "key does not have the sync:write scope required for this route" },
		{ SCOPE_READ | SCOPE_WRITE, SCOPE_READ, P1, ROLE_OWNER, RC_SCOPE,
		  "key does not have the project:admin scope required for this route" },
		{ SCOPE_SERVER_ADMIN, 0, P1, ROLE_READER, RC_SCOPE, NULL },
		/* before membership */
		{ SCOPE_READ, SCOPE_WRITE, "p_0000000000000000", ROLE_WRITER, RC_SCOPE, NULL },
	};

	for (size_t i = 0; i < LEN(rows); i++)
		expect(bearer(&owner, rows[i].have, NULL, 100), rows[i].project, rows[i].need,
		    rows[i].role, rows[i].want, rows[i].message);
}
END_TEST

/* Bring a key of another server here that ends at a time. */
static void
bring_key(const char *id, const char *key, unsigned scope, int64_t expires_at)
{
	struct token_row t = { .projects = "*", .name = "laptop", .created_at = 1,
	                       .expires_at = expires_at };
	unsigned char hash[HASH_LEN];
	struct buf text = { 0 };
	bool made;

	ok(hash_sha256(span_of(key), hash));
	scope_add(&text, scope);
	snprintf(t.id, sizeof(t.id), "%s", id);
	snprintf(t.user_id, sizeof(t.user_id), "%s", owner.id);
	snprintf(t.scope, sizeof(t.scope), "%s", buf_cstr(&text));
	ok(import_begin(accounts(), &err));
	ok(import_end(accounts(), import_key(accounts(), &t, hash, &made, &err), &err));
	ck_assert(made);
	buf_free(&text);
}

START_TEST(an_opaque_key_is_a_token_by_its_hash)
{
	static const char key[] = "Bearer td_live_0123456789abcdefghijABCDEFGHIJKL";
	struct token_row row;
	struct caller c;

	is(check(key, P1, SCOPE_READ, ROLE_READER), RC_UNAUTHORIZED);
	ck_assert_str_eq(err.text, "invalid or expired api key");
	bring_key("ak_0000000000000001", key + 7, SCOPE_READ, IMPORT_NEVER);
	ok(auth_check(a, key, P1, SCOPE_READ, ROLE_READER, GUESTS_LINK, &c, &err));
	ck_assert_str_eq(c.token_id, "ak_0000000000000001");
	ck_assert_str_eq(c.user_id, owner.id);
	ck_assert(c.all_projects && c.scope == SCOPE_READ && c.expires_at == IMPORT_NEVER);
	ck_assert(auth_covers(a, key, P2));
	is(check(key, P1, SCOPE_WRITE, ROLE_WRITER), RC_SCOPE);
	is(check("Bearer td_live_0123456789abcdefghijABCDEFGHIJKM", P1, SCOPE_READ, ROLE_READER),
	   RC_UNAUTHORIZED);
	is(check("Bearer td_live_0123456789abcdefghijABCDEFGHIJK", P1, SCOPE_READ, ROLE_READER),
	   RC_UNAUTHORIZED);
	/* expired */
	bring_key("ak_0000000000000002", "td_live_x", ALL, clock_now_us() / 1000000 - 1);
	is(check("Bearer td_live_x", P1, SCOPE_READ, ROLE_READER), RC_UNAUTHORIZED);
	/* revoked, though its claims are known */
	ok(token_revoke(accounts(), "ak_0000000000000001", &err));
	is(check(key, P1, SCOPE_READ, ROLE_READER), RC_UNAUTHORIZED);
	ok(token_get(accounts(), "ak_0000000000000001", &row, &err));
	ck_assert_int_ne(row.revoked_at, 0);
}
END_TEST

START_TEST(a_token_for_one_project_is_good_for_no_other)
{
	char *h = bearer(&owner, ALL, P1, 100);
	struct caller c;

	is(check(h, P1, SCOPE_READ, ROLE_OWNER), RC_OK);
	is(check(h, P2, SCOPE_READ, ROLE_READER), RC_FORBIDDEN);
	ck_assert_str_eq(err.text, "the token is not for project " P2);
	/* the same whether or not there is such a project */
	is(check(h, "p_0000000000000000", SCOPE_READ, ROLE_READER), RC_FORBIDDEN);
	is(check(h, GONE, SCOPE_READ, ROLE_READER), RC_FORBIDDEN);
	ok(auth_check(a, h, NULL, SCOPE_READ, ROLE_NONE, GUESTS_LINK, &c, &err));
	ck_assert(auth_covers(a, h, P1));
	ck_assert(!auth_covers(a, h, P2));
	ck_assert(!auth_covers(a, "Bearer x", P1));
	ck_assert(!auth_covers(a, NULL, P1));
	free(h);
	h = bearer(&owner, ALL, NULL, 100);
	ck_assert(auth_covers(a, h, P2));
	free(h);
}
END_TEST

/* A walk over projects, and server.db is replaced in the middle of it. */
struct walk {
	const char *header;
	int seen;
};

static enum rc
replace_accounts(void *ctx, const struct project *p)
{
	struct walk *w = ctx;
	char path[TEMP_PATH + 16], moved[TEMP_PATH + 16];

	snprintf(path, sizeof(path), "%s/server.db", dir);
	snprintf(moved, sizeof(moved), "%s/moved.db", dir);
	if (w->seen++ == 0)
		ck_assert_int_eq(rename(path, moved), 0);
	ck_assert(auth_covers(a, w->header, p->id));
	return RC_OK;
}

START_TEST(a_list_is_walked_to_its_end_though_server_db_is_replaced)
{
	char *h = bearer(&owner, ALL, NULL, 100);
	struct walk w = { h, 0 };
	struct accounts *acc;
	struct caller c;

	ok(auth_check(a, h, NULL, SCOPE_READ, ROLE_NONE, GUESTS_LINK, &c, &err));
	ok(auth_accounts(a, &acc, &err));
	ok(project_list(acc, owner.id, replace_accounts, &w, &err));
	ck_assert_int_ge(w.seen, 2);
	is(auth_accounts(a, &acc, &err), RC_UNAVAILABLE);
	free(h);
}
END_TEST

START_TEST(what_server_db_says_counts_at_the_next_request)
{
	char *h = bearer(&writer, ALL, NULL, 100), *h2 = bearer(&writer, ALL, NULL, 100);
	struct caller c;

	ok(auth_check(a, h, P1, SCOPE_WRITE, ROLE_WRITER, GUESTS_LINK, &c, &err));
	ok(member_change(accounts(), P1, writer.id, ROLE_READER, &err));
	is(check(h, P1, SCOPE_WRITE, ROLE_WRITER), RC_FORBIDDEN);
	is(check(h, P1, SCOPE_READ, ROLE_READER), RC_OK);
	ok(member_remove(accounts(), P1, writer.id, &err));
	is(check(h, P1, SCOPE_READ, ROLE_READER), RC_FORBIDDEN);
	is(check(h, P2, SCOPE_WRITE, ROLE_WRITER), RC_OK);
	ok(project_delete(accounts(), P2, &err));
	is(check(h, P2, SCOPE_WRITE, ROLE_WRITER), RC_NOT_FOUND);
	ok(token_revoke(accounts(), c.token_id, &err));
	is(check(h, P2, SCOPE_WRITE, ROLE_WRITER), RC_UNAUTHORIZED);
	ck_assert_str_eq(err.text, "invalid or expired api key");
	is(check(h, NULL, 0, ROLE_NONE), RC_UNAUTHORIZED);
	is(check(h2, NULL, 0, ROLE_NONE), RC_OK);
	free(h);
	free(h2);
}
END_TEST

/* Change server.db as an operator would. */
static void
alter(const char *sql)
{
	char path[2 * TEMP_PATH];
	sqlite3 *db;

	snprintf(path, sizeof(path), "%s/server.db", dir);
	ok(db_open(path, DB_SERVER, &db, &err));
	ok(db_exec(db, sql, &err));
	sqlite3_close(db);
}

START_TEST(a_token_that_server_db_does_not_know_or_ends_is_refused)
{
	char *h = bearer(&owner, ALL, NULL, 100);

	is(check(h, NULL, 0, ROLE_NONE), RC_OK);
	alter("UPDATE token SET expires_at = 1000");
	is(check(h, NULL, 0, ROLE_NONE), RC_UNAUTHORIZED);
	alter("UPDATE token SET expires_at = 9999999999");
	is(check(h, NULL, 0, ROLE_NONE), RC_OK);
	/* somebody else's */
	alter("UPDATE token SET user = 2");
	is(check(h, NULL, 0, ROLE_NONE), RC_UNAUTHORIZED);
	alter("UPDATE token SET user = NULL");
	is(check(h, NULL, 0, ROLE_NONE), RC_UNAUTHORIZED);
	alter("DELETE FROM token");
	is(check(h, NULL, 0, ROLE_NONE), RC_UNAUTHORIZED);
	free(h);
}
END_TEST

START_TEST(an_expired_token_is_refused_though_it_was_seen_before)
{
	struct utimbuf old = { 1000, 1000 };
	char *h;

	/* a folder that changed long ago, so that the cache is kept */
	ck_assert_int_eq(utime(keys, &old), 0);
	h = bearer(&owner, ALL, NULL, 3); /* the first check comes in time, on a busy machine, too */
	alter("UPDATE token SET expires_at = 9999999999");
	is(check(h, NULL, 0, ROLE_NONE), RC_OK);
	usleep(3100000);
	is(check(h, NULL, 0, ROLE_NONE), RC_UNAUTHORIZED);
	free(h);
}
END_TEST

START_TEST(keys_rotate_with_an_overlap)
{
	char *h1 = bearer(&owner, ALL, NULL, 100), *h2;
	char kid[40];

	is(check(h1, NULL, 0, ROLE_NONE), RC_OK);
	ok(keyring_rotate(keys, 3600, kid, &err));
	is(check(h1, NULL, 0, ROLE_NONE), RC_OK);
	h2 = bearer(&owner, ALL, NULL, 100);
	is(check(h2, NULL, 0, ROLE_NONE), RC_OK);
	is(check(h1, NULL, 0, ROLE_NONE), RC_OK);
	/* without overlap: the old keys end at once, though tokens are cached */
	ok(keyring_rotate(keys, 0, kid, &err));
	is(check(h1, NULL, 0, ROLE_NONE), RC_UNAUTHORIZED);
	is(check(h2, NULL, 0, ROLE_NONE), RC_UNAUTHORIZED);
	expect(bearer(&owner, ALL, NULL, 100), NULL, 0, ROLE_NONE, RC_OK, NULL);
	free(h1);
	free(h2);
}
END_TEST

START_TEST(a_broken_key_folder_is_an_operators_business_and_mends)
{
	char *h = bearer(&owner, ALL, NULL, 100);
	char bad[2 * TEMP_PATH];

	is(check(h, NULL, 0, ROLE_NONE), RC_OK);
	write_file("k_bad.json", "", 0600);
	is(check(h, NULL, 0, ROLE_NONE), RC_UNAVAILABLE);
	ck_assert_ptr_nonnull(strstr(err.text, "k_bad.json"));
	snprintf(bad, sizeof(bad), "%s/k_bad.json", keys);
	ck_assert_int_eq(unlink(bad), 0);
	is(check(h, NULL, 0, ROLE_NONE), RC_OK);
	free(h);
}
END_TEST

START_TEST(a_replaced_server_db_is_read_anew)
{
	char *h = bearer(&owner, ALL, NULL, 100);
	char from[2 * TEMP_PATH], to[2 * TEMP_PATH];
	static const char *const files[] = { "server.db", "server.db-wal", "server.db-shm" };
	struct user u;

	is(check(h, NULL, 0, ROLE_NONE), RC_OK);
	for (size_t i = 0; i < LEN(files); i++) {
		snprintf(from, sizeof(from), "%s/%s", dir, files[i]);
		snprintf(to, sizeof(to), "%s/old-%s", dir, files[i]);
		rename(from, to);
	}
	is(check(h, NULL, 0, ROLE_NONE), RC_UNAVAILABLE);
	ok(accounts_create(dir, &err));
	/* another server: its tokens are not the old one's */
	is(check(h, NULL, 0, ROLE_NONE), RC_UNAUTHORIZED);
	is(user_by_id(accounts(), owner.id, &u, &err), RC_NOT_FOUND);
	owner = add_user("owner@example.com");
	expect(bearer(&owner, ALL, NULL, 100), NULL, 0, ROLE_NONE, RC_OK, NULL);
	free(h);
}
END_TEST

START_TEST(a_share_link_reads_the_projects_it_lists_and_no_more)
{
	char *h = bearer(NULL, ALL, P1, 100);
	struct caller c;

	ok(auth_check(a, h, P1, SCOPE_READ, ROLE_READER, GUESTS_LINK, &c, &err));
	ck_assert_str_eq(c.user_id, "");
	ck_assert_int_eq(c.role, ROLE_READER);
	is(check(h, P1, SCOPE_WRITE, ROLE_WRITER), RC_FORBIDDEN);
	is(check(h, P2, SCOPE_READ, ROLE_READER), RC_FORBIDDEN);
	ok(project_delete(accounts(), P1, &err));
	is(check(h, P1, SCOPE_READ, ROLE_READER), RC_NOT_FOUND);
	free(h);
	h = bearer(NULL, SCOPE_READ, "p_0000000000000000", 100);
	is(check(h, "p_0000000000000000", SCOPE_READ, ROLE_READER), RC_FORBIDDEN);
	free(h);
	/* one for all projects is one for none */
	h = bearer(NULL, SCOPE_READ, NULL, 100);
	is(check(h, P2, SCOPE_READ, ROLE_READER), RC_FORBIDDEN);
	free(h);
}
END_TEST

START_TEST(more_tokens_than_the_cache_holds_are_all_judged_right)
{
	enum { MANY = 400 };
	char *h[MANY];

	for (int i = 0; i < MANY; i++)
		h[i] = bearer(i % 2 == 0 ? &writer : &stranger, ALL, NULL, 100);
	for (int round = 0; round < 3; round++)
		for (int i = 0; i < MANY; i++)
			is(check(h[i], P1, SCOPE_READ, ROLE_READER),
			    i % 2 == 0 ? RC_OK : RC_FORBIDDEN);
	for (int i = 0; i < MANY; i++)
		free(h[i]);
}
END_TEST

START_TEST(the_use_of_a_token_is_noted)
{
	char *h = bearer(&owner, ALL, NULL, 100);
	struct caller c;

	ok(auth_check(a, h, NULL, 0, ROLE_NONE, GUESTS_LINK, &c, &err));
	ck_assert_int_eq(c.last_used_at, 0);
	token_used(accounts(), c.token_id, c.last_used_at);
	ok(auth_check(a, h, NULL, 0, ROLE_NONE, GUESTS_LINK, &c, &err));
	ck_assert_int_le(llabs(c.last_used_at - clock_now_us() / 1000000), 5);
	free(h);
}
END_TEST

START_TEST(a_token_is_issued_for_a_known_user_only)
{
	struct buf t = { 0 };
	struct token_row row;
	char name[ACCOUNT_TEXT + 1];
	struct token_plan plan = { .user_id = "u_0000000000000000", .name = "x", .scope = ALL,
	                           .lifetime_s = 100 };

	is(auth_issue(a, &plan, &row, &t, &err), RC_NOT_FOUND);
	ck_assert_uint_eq(t.len, 0);
	plan.user_id = owner.id;
	plan.name = name;
	memset(name, 'n', sizeof(name));
	name[ACCOUNT_TEXT] = '\0';
	is(auth_issue(a, &plan, &row, &t, &err), RC_INVALID);
	name[ACCOUNT_TEXT - 1] = '\0';
	ok(auth_issue(a, &plan, &row, &t, &err));
	buf_free(&t);
}
END_TEST

START_TEST(a_folder_without_accounts_is_not_found)
{
	struct auth *b;

	is(auth_open(dir, &b, &err), RC_NOT_FOUND);
	ck_assert_ptr_null(b);
	ok(accounts_create(dir, &err));
	ok(auth_open(dir, &b, &err));
	auth_close(b);
	temp_remove(keys);
	is(auth_open(dir, &b, &err), RC_UNAVAILABLE);
}
END_TEST

static void
add_server_tests(Suite *s)
{
	TCase *t = tcase_create("auth");

	tcase_add_checked_fixture(t, setup_server, teardown_server);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, headers_are_judged_as_recorded);
	tcase_add_test(t, a_caller_is_known_by_token_user_scope_and_role);
	tcase_add_test(t, guests_are_let_in_where_the_route_and_the_project_say_so);
	tcase_add_test(t, a_share_link_is_recorded_with_its_project_and_its_maker);
	tcase_add_test(t, roles_are_judged_as_recorded);
	tcase_add_test(t, scopes_are_judged_before_membership_and_limit_roles);
	tcase_add_test(t, an_opaque_key_is_a_token_by_its_hash);
	tcase_add_test(t, a_token_for_one_project_is_good_for_no_other);
	tcase_add_test(t, a_list_is_walked_to_its_end_though_server_db_is_replaced);
	tcase_add_test(t, what_server_db_says_counts_at_the_next_request);
	tcase_add_test(t, a_token_that_server_db_does_not_know_or_ends_is_refused);
	tcase_add_test(t, an_expired_token_is_refused_though_it_was_seen_before);
	tcase_add_test(t, keys_rotate_with_an_overlap);
	tcase_add_test(t, a_broken_key_folder_is_an_operators_business_and_mends);
	tcase_add_test(t, a_replaced_server_db_is_read_anew);
	tcase_add_test(t, a_share_link_reads_the_projects_it_lists_and_no_more);
	tcase_add_test(t, more_tokens_than_the_cache_holds_are_all_judged_right);
	tcase_add_test(t, the_use_of_a_token_is_noted);
	tcase_add_test(t, a_token_is_issued_for_a_known_user_only);
	suite_add_tcase(s, t);
}

int
main(void)
{
	Suite *s = suite_create("auth");
	TCase *t = tcase_create("keys and tokens");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, scopes_are_parsed_and_written);
	tcase_add_test(t, a_new_key_is_in_a_file_of_its_own_and_signs);
	tcase_add_test(t, the_newest_key_signs_and_all_stay);
	tcase_add_test(t, a_bad_key_file_is_an_error_that_names_it);
	tcase_add_test(t, a_key_that_others_may_read_is_refused);
	tcase_add_test(t, what_is_no_key_file_is_passed_over);
	tcase_add_test(t, weak_and_foreign_key_pairs_are_refused);
	tcase_add_test(t, a_changed_folder_makes_the_keyring_stale);
	tcase_add_test(t, a_signed_token_says_what_was_signed);
	tcase_add_test(t, claims_are_required_and_strictly_typed);
	tcase_add_test(t, claims_are_one_plain_object);
	tcase_add_test(t, a_header_must_name_the_key_and_its_one_algorithm);
	tcase_add_test(t, a_token_ends_with_its_key);
	tcase_add_test(t, no_other_algorithm_passes_for_the_right_one);
	tcase_add_test(t, our_own_key_pairs_sign_too);
	tcase_add_test(t, no_altered_character_passes);
	tcase_add_test(t, a_signature_has_one_spelling);
	tcase_add_test(t, a_token_is_three_parts_and_nothing_else);
	tcase_add_test(t, a_long_token_is_not_looked_at);
	tcase_add_test(t, a_token_for_too_many_projects_is_not_signed);
	tcase_add_test(t, a_folder_without_accounts_is_not_found);
	suite_add_tcase(s, t);
	add_server_tests(s);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? 0 : 1;
}
