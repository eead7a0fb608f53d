/* base64url, see base64url.h. */
#include "base/base64url.h"

void
base64url_encode(const unsigned char *p, size_t n, char *out)
{
	static const char digits[] =
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	unsigned bits = 0, waiting = 0;

	for (size_t i = 0; i < n; i++) {
		bits = bits << 8 | p[i];
		for (waiting += 8; waiting >= 6; waiting -= 6)
			*out++ = digits[bits >> (waiting - 6) & 63];
	}
	if (waiting > 0)
		*out++ = digits[bits << (6 - waiting) & 63];
	*out = '\0';
}

static int
value(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '-' ? 62 : c == '_' ? 63 : -1;
}

bool
base64url_decode(struct span text, char *out, size_t *len)
{
	uint32_t bits = 0;
	int n = 0; /* bits that wait */

	*len = 0;
	for (size_t i = 0; i < text.len; i++) {
		int v = value(text.p[i]);

		if (v < 0)
			return false;
		bits = (bits << 6 | (uint32_t)v) & 0xffff;
		n += 6;
		if (n >= 8) {
			n -= 8;
			out[(*len)++] = (char)(bits >> n & 0xff);
		}
	}
	return n < 6 && (bits & ((1u << n) - 1)) == 0;
}
