/* Ids, see id.h. */
#include "base/id.h"

#include <openssl/rand.h>
#include <string.h>

enum rc
id_random(void *p, size_t n)
{
	unsigned char *at = p;

	while (n > 0) {
		size_t part = n < 4096 ? n : 4096; /* RAND_bytes() counts in int */

		if (RAND_bytes(at, (int)part) != 1)
			return RC_FAULT;
		at += part;
		n -= part;
	}
	return RC_OK;
}

void
id_hex(const unsigned char *p, size_t n, char *out)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < n; i++) {
		*out++ = digits[p[i] >> 4];
		*out++ = digits[p[i] & 15];
	}
	*out = '\0';
}

enum rc
id_new(const char *prefix, size_t bytes, char out[ID_MAX])
{
	unsigned char raw[ID_MAX / 2];
	size_t n = strlen(prefix);

	out[0] = '\0';
	if (bytes > sizeof(raw) || n + 2 * bytes >= ID_MAX ||
	    id_random(raw, bytes) != RC_OK)
		return RC_FAULT;
	memcpy(out, prefix, n);
	id_hex(raw, bytes, out + n);
	return RC_OK;
}

bool
id_is(struct span text, const char *prefix, size_t n)
{
	size_t skip = strlen(prefix);

	if (text.len != skip + n || (skip > 0 && memcmp(text.p, prefix, skip) != 0))
		return false;
	for (size_t i = skip; i < text.len; i++) {
		char c = text.p[i];

		if (!(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'f'))
			return false;
	}
	return true;
}

/* The value of a hex digit, -1 for any other character. */
static int
hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

bool
id_unhex(struct span hex, unsigned char *out, size_t n)
{
	if (hex.len / 2 != n || hex.len % 2 != 0)
		return false;
	for (size_t i = 0; i < n; i++) {
		int hi = hex_value(hex.p[2 * i]), lo = hex_value(hex.p[2 * i + 1]);

		if (hi < 0 || lo < 0)
			return false;
		out[i] = (unsigned char)(hi << 4 | lo);
	}
	return true;
}
