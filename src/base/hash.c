/* SHA-256, see hash.h. */
#include "base/hash.h"

#include <openssl/evp.h>
#include <pthread.h>

/*
 * The algorithm, looked up once: OpenSSL 3 otherwise searches its providers
 * at every call, which costs more than hashing an event. Never freed.
 */
static EVP_MD *sha256;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void
fetch(void)
{
	sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
}

static const EVP_MD *
algorithm(void)
{
	return pthread_once(&once, fetch) == 0 ? sha256 : NULL;
}

static void
fail(struct hash *h)
{
	EVP_MD_CTX_free(h->ctx);
	h->ctx = NULL;
}

void
hash_begin(struct hash *h)
{
	const EVP_MD *md = algorithm();

	h->ctx = md == NULL ? NULL : EVP_MD_CTX_new();
	if (h->ctx != NULL && EVP_DigestInit_ex2(h->ctx, md, NULL) != 1)
		fail(h);
}

void
hash_add(struct hash *h, struct span piece)
{
	if (h->ctx != NULL && piece.len > 0 &&
	    EVP_DigestUpdate(h->ctx, piece.p, piece.len) != 1)
		fail(h);
}

enum rc
hash_end(struct hash *h, unsigned char out[HASH_LEN])
{
	bool done = h->ctx != NULL && EVP_DigestFinal_ex(h->ctx, out, NULL) == 1;

	fail(h);
	return done ? RC_OK : RC_FAULT;
}

enum rc
hash_sha256(struct span text, unsigned char out[HASH_LEN])
{
	struct hash h;

	hash_begin(&h);
	hash_add(&h, text);
	return hash_end(&h, out);
}
