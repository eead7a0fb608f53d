/* The keys that sign tokens, see keyring.h. */
#include "auth/keyring.h"

#include "base/clock.h"
#include "base/fs.h"
#include "base/id.h"
#include "base/json.h"

#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/core_names.h>
#include <openssl/pem.h>

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define KEY_FILE_MAX 16384 /* bytes of a key file */
#define SECRET_MIN 32      /* bytes of an HS256 secret */
#define SECRET_MAX 256
#define RSA_MIN_BITS 2048

/*
 * A folder's mtime has the granularity of a clock tick: a change right after
 * the folder was read may leave it as it was. So one that was young when it
 * was read is read once more, this long after (microseconds).
 */
#define YOUNG_US 1000000

struct keyring {
	char *dir;
	struct stat read; /* the folder as it was before it was read */
	bool young;       /* it had changed less than YOUNG_US before */
	struct key *keys; /* in order of creation */
	size_t n;
};

/* --- one key file --- */

static void
key_wipe(struct key *k)
{
	if (k->secret != NULL)
		OPENSSL_cleanse(k->secret, k->secret_len);
	if (k->signing != NULL)
		OPENSSL_cleanse(k->signing, k->signing_len);
	free(k->secret);
	free(k->signing);
	*k = (struct key){ 0 };
}

/* A copy with a NUL behind it; NULL when out of memory. */
static unsigned char *
copy(const void *p, size_t n)
{
	unsigned char *c = malloc(n + 1);

	if (c == NULL)
		return NULL;
	memcpy(c, p, n);
	c[n] = '\0';
	return c;
}

static bool
kid_ok(struct span kid)
{
	static const char good[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	                           "0123456789-_";

	if (kid.len == 0 || kid.len >= sizeof(((struct key *)0)->kid))
		return false;
	for (size_t i = 0; i < kid.len; i++)
		if (memchr(good, kid.p[i], sizeof(good) - 1) == NULL)
			return false;
	return true;
}

/* The text of a string member, decoded, into b (reset first). */
static bool
member(struct span object, const char *name, struct buf *b)
{
	struct span v;

	buf_reset(b);
	return json_get(object, name, &v) && json_string(v, b) && !json_string_odd(v) &&
	    buf_cstr(b) != NULL;
}

/* A time member in seconds; 0 where there is none. */
static bool
time_member(struct span object, const char *name, int64_t *out, struct buf *b)
{
	struct instant at;
	struct span v;

	*out = 0;
	if (!json_get(object, name, &v))
		return true;
	if (!member(object, name, b) || !time_parse_rfc3339(buf_span(b), &at))
		return false;
	*out = at.sec;
	return at.sec > 0;
}

static const char *
read_secret(struct span object, struct key *k, struct buf *b)
{
	unsigned char bytes[SECRET_MAX];
	size_t n;

	if (!member(object, "secret", b))
		return "has no secret";
	n = b->len / 2;
	if (n > SECRET_MAX || b->len % 2 != 0 || !id_unhex(buf_span(b), bytes, n))
		return "has a secret that is not hex, or too long";
	if (n < SECRET_MIN) {
		OPENSSL_cleanse(bytes, n);
		return "has a secret of less than 32 bytes";
	}
	k->secret = copy(bytes, n);
	k->signing = copy(bytes, n);
	k->secret_len = k->signing_len = n;
	OPENSSL_cleanse(bytes, n);
	return k->secret != NULL && k->signing != NULL ? NULL : "finds no memory";
}

/* What speaks against a key for its algorithm; NULL: nothing. */
static const char *
judge_pkey(const char *alg, EVP_PKEY *pkey)
{
	char group[80] = "";

	if (strcmp(alg, "RS256") == 0) {
		if (!EVP_PKEY_is_a(pkey, "RSA"))
			return "is not an RSA key";
		return EVP_PKEY_get_bits(pkey) < RSA_MIN_BITS ? "has less than 2048 bits" : NULL;
	}
	if (!EVP_PKEY_is_a(pkey, "EC"))
		return "is not an EC key";
	EVP_PKEY_get_utf8_string_param(pkey, OSSL_PKEY_PARAM_GROUP_NAME, group,
	    sizeof(group), NULL);
	return strcmp(group, "prime256v1") != 0 ? "is not on the curve P-256" : NULL;
}

/* Never ask for a pass phrase on the terminal. */
static int
no_passphrase(char *buf, int size, int writing, void *ctx)
{
	(void)buf;
	(void)size;
	(void)writing;
	(void)ctx;
	return -1;
}

/* The public key as PEM; NULL when OpenSSL fails. */
static unsigned char *
public_pem(EVP_PKEY *pkey, size_t *len)
{
	BIO *bio = BIO_new(BIO_s_mem());
	unsigned char *pem = NULL;
	char *p;
	long n;

	*len = 0;
	if (bio != NULL && PEM_write_bio_PUBKEY(bio, pkey) == 1 &&
	    (n = BIO_get_mem_data(bio, &p)) > 0) {
		pem = copy(p, (size_t)n);
		*len = (size_t)n;
	}
	BIO_free(bio);
	return pem;
}

static const char *
read_pem(struct span object, struct key *k, struct buf *b)
{
	const char *why = "finds no memory";
	EVP_PKEY *pkey = NULL;
	BIO *bio;
	bool private = true;

	if (!member(object, "pem", b))
		return "has no pem";
	bio = BIO_new_mem_buf(b->p, (int)b->len);
	if (bio == NULL)
		return why;
	pkey = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);
	if (pkey == NULL) {
		private = false;
		BIO_reset(bio);
		pkey = PEM_read_bio_PUBKEY(bio, NULL, no_passphrase, NULL);
	}
	BIO_free(bio);
	if (pkey == NULL)
		return "has a pem that holds no usable key";
	why = judge_pkey(k->alg, pkey);
	if (why == NULL) {
		k->secret = public_pem(pkey, &k->secret_len);
		if (private) {
			k->signing = copy(b->p, b->len);
			k->signing_len = b->len;
		}
		if (k->secret == NULL || (private && k->signing == NULL))
			why = "finds no memory";
	}
	EVP_PKEY_free(pkey);
	return why;
}

/* Fill *k from a key file's text. NULL, or what is wrong with it. */
static const char *
parse_key(struct span text, struct span kid, struct key *k, struct buf *b)
{
	struct span object;

	if (json_scan(text, 2, &object, NULL, NULL) != RC_OK ||
	    json_type(object) != JSON_OBJECT)
		return "is not a JSON object";
	if (!member(object, "kid", b) || !span_eq(buf_span(b), kid))
		return "has a kid that is not the file's name";
	snprintf(k->kid, sizeof(k->kid), "%s", b->p);
	if (!time_member(object, "created_at", &k->created_at, b) || k->created_at == 0)
		return "has no created_at (RFC 3339)";
	if (!time_member(object, "retired_at", &k->retired_at, b))
		return "has a retired_at that is no time (RFC 3339)";
	if (!member(object, "alg", b) ||
	    (!span_is(buf_span(b), "HS256") && !span_is(buf_span(b), "ES256") &&
	    !span_is(buf_span(b), "RS256")))
		return "has an alg that is none of HS256, ES256, RS256";
	snprintf(k->alg, sizeof(k->alg), "%s", b->p);
	return strcmp(k->alg, "HS256") == 0 ? read_secret(object, k, b)
	                                    : read_pem(object, k, b);
}

/* Read DIR/KID.json. RC_NOT_FOUND when it has just gone. */
static enum rc
read_key(const char *dir, struct span kid, struct key *k, struct err *err)
{
	struct buf path = { 0 }, text = { 0 }, value = { 0 };
	const char *name, *why;
	struct stat st;
	enum rc rc;

	*k = (struct key){ 0 };
	buf_addf(&path, "%s/%.*s.json", dir, (int)kid.len, kid.p);
	name = buf_cstr(&path);
	if (name == NULL) {
		rc = err_set(err, RC_FAULT, "out of memory");
		goto done;
	}
	if (stat(name, &st) != 0)
		rc = errno == ENOENT ? RC_NOT_FOUND
		    : err_set(err, RC_UNAVAILABLE, "%s: %s", name, strerror(errno));
	else if ((st.st_mode & 077) != 0)
		rc = err_set(err, RC_UNAVAILABLE, "%s is open to others than its owner:"
		    " chmod 600 it", name);
	else
		rc = fs_read(name, KEY_FILE_MAX, &text, err);
	if (rc == RC_TOO_LARGE)
		rc = err_set(err, RC_UNAVAILABLE, "%s is too large for a key", name);
	if (rc != RC_OK)
		goto done;
	why = parse_key(buf_span(&text), kid, k, &value);
	if (why != NULL) {
		key_wipe(k);
		rc = err_set(err, RC_UNAVAILABLE, "%s %s", name, why);
	}
done:
	if (text.p != NULL)
		OPENSSL_cleanse(text.p, text.len);
	if (value.p != NULL)
		OPENSSL_cleanse(value.p, value.len);
	buf_free(&value);
	buf_free(&text);
	buf_free(&path);
	return rc;
}

/* Write a key file, whole and durably. */
static enum rc
write_key(const char *dir, const struct key *k, struct err *err)
{
	struct buf path = { 0 }, text = { 0 };
	char at[TIME_TEXT];
	enum rc rc;

	buf_addf(&path, "%s/%s.json", dir, k->kid);
	buf_addf(&text, "{\"kid\":\"%s\",\"alg\":\"%s\",", k->kid, k->alg);
	if (strcmp(k->alg, "HS256") == 0) {
		buf_add_str(&text, "\"secret\":\"");
		buf_add_hex(&text, k->secret, k->secret_len);
		buf_add_str(&text, "\"");
	} else {
		const unsigned char *pem = k->signing != NULL ? k->signing : k->secret;

		buf_add_str(&text, "\"pem\":");
		buf_add_json(&text, span_of((const char *)pem));
	}
	buf_addf(&text, ",\"created_at\":\"%s\"", time_text(k->created_at, at));
	if (k->retired_at != 0)
		buf_addf(&text, ",\"retired_at\":\"%s\"", time_text(k->retired_at, at));
	buf_add_str(&text, "}\n");
	if (text.failed || buf_cstr(&path) == NULL)
		rc = err_set(err, RC_FAULT, "out of memory");
	else
		rc = fs_write(path.p, buf_span(&text), 0600, err);
	if (text.p != NULL)
		OPENSSL_cleanse(text.p, text.len);
	buf_free(&text);
	buf_free(&path);
	return rc;
}

/* --- the keyring --- */

void
keyring_close(struct keyring *k)
{
	if (k == NULL)
		return;
	for (size_t i = 0; i < k->n; i++)
		key_wipe(&k->keys[i]);
	free(k->keys);
	free(k->dir);
	free(k);
}

static int
by_creation(const void *a, const void *b)
{
	const struct key *x = a, *y = b;

	if (x->created_at != y->created_at)
		return x->created_at < y->created_at ? -1 : 1;
	return strcmp(x->kid, y->kid);
}

/* Add the key of a directory entry, if it is one. */
static enum rc
add_entry(struct keyring *k, const char *name, struct err *err)
{
	size_t len = strlen(name);
	struct span kid = { name, len < 5 ? 0 : len - 5 };
	struct key *keys, key;
	enum rc rc;

	if (len < 5 || strcmp(name + kid.len, ".json") != 0 || name[0] == '.')
		return RC_OK;
	if (!kid_ok(kid))
		return err_set(err, RC_UNAVAILABLE, "%s/%s: a key's name has at most 39"
		    " letters, digits, '-' and '_'", k->dir, name);
	rc = read_key(k->dir, kid, &key, err);
	if (rc != RC_OK)
		return rc == RC_NOT_FOUND ? RC_OK : rc;
	keys = realloc(k->keys, (k->n + 1) * sizeof(*keys));
	if (keys == NULL) {
		key_wipe(&key);
		return err_set(err, RC_FAULT, "out of memory");
	}
	k->keys = keys;
	k->keys[k->n++] = key;
	return RC_OK;
}

static int64_t
mtime_us(const struct stat *st)
{
	return (int64_t)st->st_mtim.tv_sec * 1000000 + st->st_mtim.tv_nsec / 1000;
}

static bool
is_young(const struct stat *st)
{
	int64_t age = clock_now_us() - mtime_us(st);

	return age > -YOUNG_US && age < YOUNG_US;
}

enum rc
keyring_open(const char *dir, struct keyring **out, struct err *err)
{
	struct keyring *k = calloc(1, sizeof(*k));
	struct dirent *e;
	enum rc rc = RC_OK;
	DIR *d = NULL;

	*out = NULL;
	if (k == NULL || (k->dir = strdup(dir)) == NULL) {
		rc = err_set(err, RC_FAULT, "out of memory");
		goto fail;
	}
	if (stat(dir, &k->read) != 0 || (d = opendir(dir)) == NULL) {
		rc = err_set(err, RC_UNAVAILABLE, "the keys can't be read: %s: %s", dir,
		    strerror(errno));
		goto fail;
	}
	k->young = is_young(&k->read);
	while (rc == RC_OK && (e = readdir(d)) != NULL)
		rc = add_entry(k, e->d_name, err);
	closedir(d);
	if (rc != RC_OK)
		goto fail;
	if (k->n > 0)
		qsort(k->keys, k->n, sizeof(*k->keys), by_creation);
	*out = k;
	return RC_OK;
fail:
	keyring_close(k);
	return rc;
}

bool
keyring_stale(const struct keyring *k)
{
	struct stat st;

	if (stat(k->dir, &st) != 0 || st.st_ino != k->read.st_ino ||
	    st.st_dev != k->read.st_dev || mtime_us(&st) != mtime_us(&k->read))
		return true;
	return k->young && !is_young(&st);
}

const struct key *
keyring_find(const struct keyring *k, const char *kid)
{
	for (size_t i = 0; i < k->n; i++)
		if (strcmp(k->keys[i].kid, kid) == 0)
			return &k->keys[i];
	return NULL;
}

const struct key *
keyring_signer(const struct keyring *k)
{
	for (size_t i = k->n; i-- > 0;)
		if (k->keys[i].retired_at == 0 && k->keys[i].signing != NULL)
			return &k->keys[i];
	return NULL;
}

const struct key *
keyring_at(const struct keyring *k, size_t i)
{
	return i < k->n ? &k->keys[i] : NULL;
}

/* Make a key that is newer than all of k. */
static enum rc
create_after(const struct keyring *k, char kid[40], struct err *err)
{
	unsigned char secret[SECRET_MIN];
	struct key key = { .alg = "HS256", .secret = secret, .secret_len = SECRET_MIN };
	char id[ID_MAX];
	enum rc rc;

	key.created_at = clock_now_us() / 1000000;
	if (k->n > 0 && key.created_at <= k->keys[k->n - 1].created_at)
		key.created_at = k->keys[k->n - 1].created_at + 1;
	rc = id_new("k_", 8, id);
	if (rc == RC_OK)
		rc = id_random(secret, sizeof(secret));
	if (rc != RC_OK)
		return err_set(err, rc, "the system gives no random bytes");
	snprintf(key.kid, sizeof(key.kid), "%s", id);
	rc = write_key(k->dir, &key, err);
	OPENSSL_cleanse(secret, sizeof(secret));
	if (rc == RC_OK)
		snprintf(kid, sizeof(key.kid), "%s", id);
	return rc;
}

enum rc
keyring_create(const char *dir, char kid[40], struct err *err)
{
	struct keyring *k;
	enum rc rc = keyring_open(dir, &k, err);

	kid[0] = '\0';
	if (rc == RC_OK)
		rc = create_after(k, kid, err);
	keyring_close(k);
	return rc;
}

/*
 * The new key is there before an old one is retired, and only those retire
 * that were there before: so there is a signing key at any time, also when
 * two rotate at once or one dies half-way.
 */
enum rc
keyring_rotate(const char *dir, int64_t overlap, char kid[40], struct err *err)
{
	int64_t until = clock_now_us() / 1000000 + overlap;
	struct keyring *k;
	enum rc rc = keyring_open(dir, &k, err);

	kid[0] = '\0';
	if (rc == RC_OK)
		rc = create_after(k, kid, err);
	for (size_t i = 0; rc == RC_OK && i < k->n; i++) {
		struct key *key = &k->keys[i];

		if (key->retired_at != 0 && key->retired_at <= until)
			continue;
		key->retired_at = until;
		rc = write_key(dir, key, err);
	}
	keyring_close(k);
	return rc;
}
