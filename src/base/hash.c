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

enum rc
hash_sha256(struct span text, unsigned char out[HASH_LEN])
{
	if (pthread_once(&once, fetch) != 0 || sha256 == NULL)
		return RC_FAULT;
	if (EVP_Digest(text.len > 0 ? text.p : "", text.len, out, NULL, sha256, NULL) != 1)
		return RC_FAULT;
	return RC_OK;
}
