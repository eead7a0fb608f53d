/*
 * Bytes: a span that borrows them and a buffer that owns and grows them.
 * A buffer that could not grow remembers it (`failed`) and ignores further
 * additions, so that a writer checks once, at the end.
 */
#ifndef TDSYNC_BASE_BUF_H
#define TDSYNC_BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Borrowed bytes; not NUL-terminated. p is NULL where there is nothing. */
struct span {
	const char *p;
	size_t len;
};

/* A span over a NUL-terminated string (borrowed); NULL gives an empty span. */
struct span span_of(const char *s);

/* Whether both hold the same bytes. */
bool span_eq(struct span a, struct span b);

/* <0, 0 or >0 in the order of bytes, as SQLite sorts blobs. */
int span_compare(struct span a, struct span b);

/* Whether the span holds exactly the string. */
bool span_is(struct span a, const char *s);

/* Whether the span holds the string, ASCII letters in any case. */
bool span_is_nocase(struct span a, const char *s);

/* A NUL-terminated copy for the caller to free(); NULL when out of memory. */
char *span_dup(struct span a);

/*
 * The length of the UTF-8 sequence that n bytes start with, 1 to 4; 0 when
 * they start with none (RFC 3629: nothing overlong, no surrogates, nothing
 * above U+10FFFF; cut short is none too).
 */
size_t utf8_sequence(const char *p, size_t n);

/* Owned bytes. Zero-initialise ({0}) before use, buf_free() after. */
struct buf {
	char *p;     /* NULL until the first byte */
	size_t len;
	size_t cap;
	bool failed; /* an addition found no memory: the content is not whole */
};

/* Free the bytes; the buffer is empty and usable again. */
void buf_free(struct buf *b);

/* Forget the content and the failure, keep the memory. */
void buf_reset(struct buf *b);

/* Make room for n more bytes; false (and failed set) when out of memory. */
bool buf_reserve(struct buf *b, size_t n);

/* Append bytes, a span, a string, one byte, a decimal number. */
void buf_add(struct buf *b, const void *p, size_t n);
void buf_add_span(struct buf *b, struct span s);
void buf_add_str(struct buf *b, const char *s);
void buf_add_byte(struct buf *b, char c);
void buf_add_int(struct buf *b, int64_t n);

/* Append printf-like; for cold paths. */
void buf_addf(struct buf *b, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/*
 * Append text as a JSON string, quotes included, escaped as the Go server
 * does (protocol.md section 1): control characters, '"', '\\', and '<', '>',
 * '&', U+2028 and U+2029 as \uXXXX. A byte that is not UTF-8 becomes \ufffd:
 * the result is valid JSON whatever came in.
 */
void buf_add_json(struct buf *b, struct span utf8);

/* Append n bytes in lower-case hex. */
void buf_add_hex(struct buf *b, const unsigned char *p, size_t n);

/* The content as a span (borrowed until the buffer changes). */
struct span buf_span(const struct buf *b);

/* The content NUL-terminated (the NUL is not counted); NULL when failed. */
const char *buf_cstr(struct buf *b);

#endif
