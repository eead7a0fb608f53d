/* Bytes, see buf.h. */
#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct span
span_of(const char *s)
{
	return (struct span){ s, s == NULL ? 0 : strlen(s) };
}

bool
span_eq(struct span a, struct span b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.p, b.p, a.len) == 0);
}

int
span_compare(struct span a, struct span b)
{
	size_t n = a.len < b.len ? a.len : b.len;
	int cmp = n == 0 ? 0 : memcmp(a.p, b.p, n);

	return cmp != 0 ? cmp : a.len < b.len ? -1 : a.len > b.len;
}

bool
span_is(struct span a, const char *s)
{
	return span_eq(a, span_of(s));
}

bool
span_is_nocase(struct span a, const char *s)
{
	return a.len == strlen(s) && (a.len == 0 || strncasecmp(a.p, s, a.len) == 0);
}

char *
span_dup(struct span a)
{
	char *s = malloc(a.len + 1);

	if (s == NULL)
		return NULL;
	if (a.len > 0)
		memcpy(s, a.p, a.len);
	s[a.len] = '\0';
	return s;
}

void
buf_free(struct buf *b)
{
	free(b->p);
	*b = (struct buf){ 0 };
}

void
buf_reset(struct buf *b)
{
	b->len = 0;
	b->failed = false;
}

bool
buf_reserve(struct buf *b, size_t n)
{
	size_t cap = b->cap < 256 ? 256 : b->cap;
	char *p;

	if (b->failed)
		return false;
	if (n <= b->cap - b->len)
		return true;
	while (cap - b->len < n) {
		if (cap > SIZE_MAX / 2) {
			b->failed = true;
			return false;
		}
		cap *= 2;
	}
	p = realloc(b->p, cap);
	if (p == NULL) {
		b->failed = true;
		return false;
	}
	b->p = p;
	b->cap = cap;
	return true;
}

void
buf_add(struct buf *b, const void *p, size_t n)
{
	if (n == 0 || !buf_reserve(b, n))
		return;
	memcpy(b->p + b->len, p, n);
	b->len += n;
}

void
buf_add_span(struct buf *b, struct span s)
{
	buf_add(b, s.p, s.len);
}

void
buf_add_str(struct buf *b, const char *s)
{
	buf_add(b, s, strlen(s));
}

void
buf_add_byte(struct buf *b, char c)
{
	buf_add(b, &c, 1);
}

void
buf_add_int(struct buf *b, int64_t n)
{
	char s[24];
	char *p = s + sizeof(s);
	uint64_t u = n < 0 ? -(uint64_t)n : (uint64_t)n;

	do
		*--p = (char)('0' + u % 10);
	while ((u /= 10) != 0);
	if (n < 0)
		*--p = '-';
	buf_add(b, p, (size_t)(s + sizeof(s) - p));
}

void
buf_addf(struct buf *b, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n < 0 || !buf_reserve(b, (size_t)n + 1)) {
		b->failed = true;
		return;
	}
	va_start(ap, fmt);
	vsnprintf(b->p + b->len, (size_t)n + 1, fmt, ap);
	va_end(ap);
	b->len += (size_t)n;
}

/* RFC 3629, the table of section 4. */
size_t
utf8_sequence(const char *text, size_t n)
{
	const unsigned char *p = (const unsigned char *)text;
	unsigned char low = 0x80, high = 0xbf; /* range of the second byte */
	size_t len;

	if (n == 0)
		return 0;
	if (p[0] < 0x80)
		return 1;
	if (p[0] < 0xc2 || p[0] > 0xf4)
		return 0;
	len = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
	switch (p[0]) {
	case 0xe0: low = 0xa0; break;
	case 0xed: high = 0x9f; break;
	case 0xf0: low = 0x90; break;
	case 0xf4: high = 0x8f; break;
	}
	if (n < len || p[1] < low || p[1] > high)
		return 0;
	for (size_t i = 2; i < len; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	return len;
}

/* Whether a byte goes into a JSON string as it is, whatever follows. */
static bool
plain(unsigned char c)
{
	return c >= 0x20 && c < 0x80 && c != '"' && c != '\\' && c != '<' &&
	    c != '>' && c != '&';
}

/* The escape of an ASCII character that is not plain. */
static const char *
escape_ascii(unsigned char c, char hex[7])
{
	switch (c) {
	case '"':  return "\\\"";
	case '\\': return "\\\\";
	case '\n': return "\\n";
	case '\r': return "\\r";
	case '\t': return "\\t";
	case '\b': return "\\b";
	case '\f': return "\\f";
	}
	snprintf(hex, 7, "\\u%04x", c);
	return hex;
}

/* The escape of what is not plain at p, *len bytes long; NULL for none. */
static const char *
escape(const char *p, size_t n, size_t *len, char hex[7])
{
	*len = 1;
	if ((unsigned char)*p < 0x80)
		return escape_ascii((unsigned char)*p, hex);
	*len = utf8_sequence(p, n);
	if (*len == 0) {
		*len = 1;
		return "\\ufffd";
	}
	if (*len == 3 && memcmp(p, "\xe2\x80\xa8", 3) == 0)
		return "\\u2028";
	if (*len == 3 && memcmp(p, "\xe2\x80\xa9", 3) == 0)
		return "\\u2029";
	return NULL;
}

void
buf_add_json(struct buf *b, struct span s)
{
	size_t done = 0, len; /* bytes before `done` are written */
	const char *e;
	char hex[7];

	buf_add_byte(b, '"');
	for (size_t i = 0; i < s.len; i += len) {
		len = 1;
		if (plain((unsigned char)s.p[i]))
			continue;
		e = escape(s.p + i, s.len - i, &len, hex);
		if (e == NULL)
			continue;
		buf_add(b, s.p + done, i - done);
		buf_add_str(b, e);
		done = i + len;
	}
	if (s.len > done)
		buf_add(b, s.p + done, s.len - done);
	buf_add_byte(b, '"');
}

void
buf_add_hex(struct buf *b, const unsigned char *p, size_t n)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < n; i++) {
		buf_add_byte(b, digits[p[i] >> 4]);
		buf_add_byte(b, digits[p[i] & 15]);
	}
}

struct span
buf_span(const struct buf *b)
{
	return (struct span){ b->p, b->len };
}

const char *
buf_cstr(struct buf *b)
{
	if (!buf_reserve(b, 1))
		return NULL;
	b->p[b->len] = '\0';
	return b->p;
}
