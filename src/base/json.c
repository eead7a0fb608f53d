/*
 * The span scanner, see json.h. Two halves: the reader judges a text byte by
 * byte; everything else walks text that was judged before, and so only asks
 * where a value ends.
 */
#include "base/json.h"

#include <math.h>
#include <stdio.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* --- the judging half --- */

/* Every scanning function gives the place behind what it scanned, or this. */
static const char *
wrong(struct json_reader *r, const char *at, const char *why)
{
	r->why = at == r->end ? "the text ends too early" : why;
	r->at = at;
	return NULL;
}

static const char *
skip_space(const char *p, const char *end)
{
	while (p < end && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t'))
		p++;
	return p;
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* The value of a hex digit, -1 for any other character. */
static int
hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)(c | 0x20);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

#define ONES 0x0101010101010101u
#define HIGH 0x8080808080808080u

/*
 * Eight bytes at a time: a subtraction borrows into the high bit of a byte
 * that was below; a false alarm behind a true one is harmless, because only
 * the first one counts.
 */
#define BELOW(v, c) ((v) - ONES * (c)) /* for a v of ASCII */
#define EQUAL(v, c) ((((v) ^ ONES * (c)) - ONES) & ~((v) ^ ONES * (c)))

/* How many bytes come before the first one marked, in the text's order. */
static size_t
first_marked(uint64_t marks)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	return (size_t)__builtin_ctzll(marks) / 8;
#else
	(void)marks;
	return 0; /* the bytes are looked at one by one */
#endif
}

/*
 * Skip what needs no look in a string: all but quotes, backslashes, control
 * characters and non-ASCII.
 */
static const char *
skip_plain(const char *p, const char *end)
{
	for (; end - p >= 8; p += 8) {
		uint64_t v, hit;

		memcpy(&v, p, 8);
		hit = (v | BELOW(v, ' ') | EQUAL(v, '"') | EQUAL(v, '\\')) & HIGH;
		if (hit != 0) {
			p += first_marked(hit);
			break;
		}
	}
	while (p < end) {
		unsigned char c = (unsigned char)*p;

		if (c < 0x20 || c == '"' || c == '\\' || c >= 0x80)
			break;
		p++;
	}
	return p;
}

/* The first quote or backslash, or the end: in a string that was judged. */
static const char *
skip_text(const char *p, const char *end)
{
	for (; end - p >= 8; p += 8) {
		uint64_t v, hit;

		memcpy(&v, p, 8);
		hit = (EQUAL(v, '"') | EQUAL(v, '\\')) & HIGH;
		if (hit != 0) {
			p += first_marked(hit);
			break;
		}
	}
	while (p < end && *p != '"' && *p != '\\')
		p++;
	return p;
}

/* A string; p is at its opening quote. */
static const char *
scan_string(struct json_reader *r, const char *p)
{
	for (p++;;) {
		p = skip_plain(p, r->end);
		if (p == r->end)
			return wrong(r, p, "");
		if (*p == '"')
			return p + 1;
		if ((unsigned char)*p >= 0x80) {
			size_t n = utf8_sequence(p, (size_t)(r->end - p));

			if (n == 0)
				return wrong(r, p, "invalid UTF-8");
			p += n;
		} else if (*p != '\\')
			return wrong(r, p, "a control character in a string");
		else if (++p == r->end)
			return wrong(r, p, "");
		else if (*p == 'u') {
			p++;
			for (int i = 0; i < 4; i++, p++)
				if (p == r->end || hex_value(*p) < 0)
					return wrong(r, p, "a bad \\u escape");
		} else if (*p != '\0' && strchr("\"\\/bfnrt", *p) != NULL)
			p++;
		else
			return wrong(r, p, "a bad escape");
	}
}

/* One digit or more. */
static const char *
scan_digits(struct json_reader *r, const char *p)
{
	if (p == r->end || !is_digit(*p))
		return wrong(r, p, "a digit is missing");
	while (p < r->end && is_digit(*p))
		p++;
	return p;
}

static const char *
scan_number(struct json_reader *r, const char *p)
{
	if (*p == '-')
		p++;
	if (p < r->end && *p == '0') /* no digit may follow a leading zero */
		p++;
	else if ((p = scan_digits(r, p)) == NULL)
		return NULL;
	if (p < r->end && *p == '.' && (p = scan_digits(r, p + 1)) == NULL)
		return NULL;
	if (p < r->end && (*p == 'e' || *p == 'E')) {
		p++;
		if (p < r->end && (*p == '+' || *p == '-'))
			p++;
		return scan_digits(r, p);
	}
	return p;
}

static const char *
scan_word(struct json_reader *r, const char *p, const char *word)
{
	for (; *word != '\0'; word++, p++)
		if (p == r->end || *p != *word)
			return wrong(r, p, "a misspelt word");
	return p;
}

/*
 * To the value of the next member, or with *more false behind the closing
 * bracket. *key is the member's key with its quotes, empty in an array.
 */
static const char *
scan_step(struct json_reader *r, const char *p, bool object, bool first,
          struct span *key, bool *more)
{
	*key = (struct span){ NULL, 0 };
	p = skip_space(p, r->end);
	*more = p == r->end || *p != (object ? '}' : ']');
	if (!*more)
		return p + 1;
	if (!first) {
		if (p == r->end || *p != ',')
			return wrong(r, p, "a comma is missing");
		p = skip_space(p + 1, r->end);
	}
	if (!object)
		return p;
	if (p == r->end || *p != '"')
		return wrong(r, p, "a key is missing");
	key->p = p;
	if ((p = scan_string(r, p)) == NULL)
		return NULL;
	key->len = (size_t)(p - key->p);
	p = skip_space(p, r->end);
	if (p == r->end || *p != ':')
		return wrong(r, p, "a colon is missing");
	return skip_space(p + 1, r->end);
}

static const char *scan_value(struct json_reader *r, const char *p, int depth);

/* The members behind an opening bracket, up to and with the closing one. */
static const char *
scan_members(struct json_reader *r, const char *p, bool object, int depth)
{
	struct span key;
	bool more;

	for (bool first = true;; first = false) {
		p = scan_step(r, p, object, first, &key, &more);
		if (p == NULL || !more || (p = scan_value(r, p, depth)) == NULL)
			return p;
	}
}

/* A value; depth is that of the container it lies in. */
static const char *
scan_value(struct json_reader *r, const char *p, int depth)
{
	if (p == r->end)
		return wrong(r, p, "");
	switch (*p) {
	case '{':
	case '[':
		if (depth >= r->max_depth)
			return wrong(r, p, "nested too deeply");
		return scan_members(r, p + 1, *p == '{', depth + 1);
	case '"':
		return scan_string(r, p);
	case 't':
		return scan_word(r, p, "true");
	case 'f':
		return scan_word(r, p, "false");
	case 'n':
		return scan_word(r, p, "null");
	}
	if (*p == '-' || is_digit(*p))
		return scan_number(r, p);
	return wrong(r, p, "a value is missing");
}

void
json_reader_init(struct json_reader *r, struct span text, int max_depth)
{
	*r = (struct json_reader){ .start = text.p, .p = text.p,
	                           .end = text.len > 0 ? text.p + text.len : text.p,
	                           .max_depth = max_depth };
	if (text.len == 0)
		r->why = "no text";
	else
		r->p = skip_space(text.p, r->end);
}

bool
json_enter(struct json_reader *r, char bracket)
{
	if (r->why != NULL || r->p == r->end || *r->p != bracket)
		return false;
	if (r->depth >= r->max_depth) {
		wrong(r, r->p, "nested too deeply");
		return false;
	}
	r->depth++;
	r->p++;
	r->first = true;
	return true;
}

/* The next member of an object or element of an array; false: none, or wrong. */
static bool
step(struct json_reader *r, bool object, struct span *key)
{
	const char *p;
	bool more;

	if (r->why != NULL || (p = scan_step(r, r->p, object, r->first, key, &more)) == NULL)
		return false;
	r->p = p;
	r->first = false;
	if (!more)
		r->depth--;
	return more;
}

bool
json_member(struct json_reader *r, struct span *key)
{
	return step(r, true, key);
}

bool
json_element(struct json_reader *r)
{
	struct span none;

	return step(r, false, &none);
}

bool
json_value(struct json_reader *r, struct span *value)
{
	const char *from = r->p, *p;

	*value = (struct span){ NULL, 0 };
	if (r->why != NULL || (p = scan_value(r, from, r->depth)) == NULL)
		return false;
	*value = (struct span){ from, (size_t)(p - from) };
	r->p = p;
	return true;
}

enum rc
json_reader_outcome(const struct json_reader *r, struct err *err)
{
	if (r->why == NULL)
		return RC_OK;
	if (r->at == NULL)
		return err_set(err, RC_INVALID, "invalid JSON: %s", r->why);
	return err_set(err, RC_INVALID, "invalid JSON: %s, at byte %zu", r->why,
	               (size_t)(r->at - r->start));
}

enum rc
json_scan(struct span text, int max_depth, struct span *value,
          struct span *rest, struct err *err)
{
	struct json_reader r;

	json_reader_init(&r, text, max_depth);
	json_value(&r, value);
	if (rest != NULL)
		*rest = (struct span){ NULL, 0 };
	if (rest != NULL && r.why == NULL)
		*rest = (struct span){ r.p, (size_t)(r.end - r.p) };
	return json_reader_outcome(&r, err);
}

/* --- the walking half: the text is valid --- */

enum json_type
json_type(struct span v)
{
	if (v.len == 0)
		return JSON_NULL;
	switch (v.p[0]) {
	case '{': return JSON_OBJECT;
	case '[': return JSON_ARRAY;
	case '"': return JSON_STRING;
	case 't': return JSON_TRUE;
	case 'f': return JSON_FALSE;
	case 'n': return JSON_NULL;
	}
	return JSON_NUMBER;
}

/* Behind the string that opens at p; whether anything in it is escaped. */
static const char *
string_end(const char *p, const char *end, bool *escaped)
{
	*escaped = false;
	for (p = skip_text(p + 1, end); p < end; p = skip_text(p + 2, end)) {
		if (*p == '"')
			return p + 1;
		*escaped = true; /* a backslash, and what it escapes */
	}
	return end;
}

/* Behind the array or object that opens at p. */
static const char *
container_end(const char *p, const char *end)
{
	size_t open = 0;
	bool escaped;

	while (p < end) {
		switch (*p) {
		case '"':
			p = string_end(p, end, &escaped);
			continue;
		case '{':
		case '[':
			open++;
			break;
		case '}':
		case ']':
			if (--open == 0)
				return p + 1;
			break;
		}
		p++;
	}
	return end;
}

static const char *
value_end(const char *p, const char *end)
{
	bool escaped;

	if (*p == '"')
		return string_end(p, end, &escaped);
	if (*p == '{' || *p == '[')
		return container_end(p, end);
	while (p < end && *p != ',' && *p != '}' && *p != ']' &&
	       *p != ' ' && *p != '\n' && *p != '\r' && *p != '\t')
		p++;
	return p;
}

void
json_iter_init(struct json_iter *it, struct span v)
{
	enum json_type type = json_type(v);

	*it = (struct json_iter){ NULL, NULL };
	if (type != JSON_ARRAY && type != JSON_OBJECT)
		return;
	it->p = v.p + 1; /* between the brackets */
	it->end = v.p + v.len - 1;
}

/* Take the value at it->p; what follows it up to the next one is skipped. */
static struct span
take_value(struct json_iter *it)
{
	struct span v = { it->p, 0 };

	it->p = value_end(it->p, it->end);
	v.len = (size_t)(it->p - v.p);
	it->p = skip_space(it->p, it->end);
	return v;
}

bool
json_next(struct json_iter *it, struct span *key, struct span *value)
{
	*key = *value = (struct span){ NULL, 0 };
	if (it->p == it->end)
		return false;
	it->p = skip_space(it->p, it->end);
	if (it->p < it->end && *it->p == ',')
		it->p = skip_space(it->p + 1, it->end);
	if (it->p == it->end)
		return false;
	*value = take_value(it);
	if (it->p < it->end && *it->p == ':') { /* so that was a key */
		*key = *value;
		it->p = skip_space(it->p + 1, it->end);
		*value = take_value(it);
	}
	return true;
}

/* Decodes a string piece by piece: a run of its bytes, or one escape. */
struct decoder {
	const char *p, *end;
};

static void
decoder_init(struct decoder *d, struct span str)
{
	d->p = str.p + 1; /* without the quotes */
	d->end = str.p + str.len - 1;
}

/* The code unit of the \uXXXX escape at p; -1 when there is none. */
static int32_t
unit_at(const char *p, const char *end)
{
	if (end - p < 6 || p[0] != '\\' || p[1] != 'u')
		return -1;
	return hex_value(p[2]) << 12 | hex_value(p[3]) << 8 |
	    hex_value(p[4]) << 4 | hex_value(p[5]);
}

static bool
is_surrogate(int32_t c)
{
	return c >= 0xd800 && c <= 0xdfff;
}

/* The character an escape stands for; a lone surrogate as itself. */
static int32_t
take_escape(struct decoder *d)
{
	static const char names[] = "bfnrt", codes[] = "\b\f\n\r\t";
	int32_t c = unit_at(d->p, d->end), low;
	const char *name;

	if (c < 0) {
		name = strchr(names, d->p[1]);
		c = name != NULL ? codes[name - names] : d->p[1];
		d->p += 2;
		return c;
	}
	d->p += 6;
	if (c >= 0xd800 && c <= 0xdbff) {
		low = unit_at(d->p, d->end);
		if (low >= 0xdc00 && low <= 0xdfff) {
			d->p += 6;
			c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
		}
	}
	return c;
}

/*
 * The next piece. *run spans bytes that stand for themselves; it is empty
 * for an escape, and then *c is its character. False at the end.
 */
static bool
decoder_next(struct decoder *d, struct span *run, int32_t *c)
{
	const char *slash;

	*run = (struct span){ d->p, 0 };
	*c = -1;
	if (d->p == d->end)
		return false;
	if (*d->p == '\\') {
		*c = take_escape(d);
		return true;
	}
	slash = memchr(d->p, '\\', (size_t)(d->end - d->p));
	d->p = slash != NULL ? slash : d->end;
	run->len = (size_t)(d->p - run->p);
	return true;
}

static size_t
utf8_encode(int32_t c, char out[4])
{
	if (c < 0x80) {
		out[0] = (char)c;
		return 1;
	}
	if (c < 0x800) {
		out[0] = (char)(0xc0 | c >> 6);
		out[1] = (char)(0x80 | (c & 0x3f));
		return 2;
	}
	if (c < 0x10000) {
		out[0] = (char)(0xe0 | c >> 12);
		out[1] = (char)(0x80 | (c >> 6 & 0x3f));
		out[2] = (char)(0x80 | (c & 0x3f));
		return 3;
	}
	out[0] = (char)(0xf0 | c >> 18);
	out[1] = (char)(0x80 | (c >> 12 & 0x3f));
	out[2] = (char)(0x80 | (c >> 6 & 0x3f));
	out[3] = (char)(0x80 | (c & 0x3f));
	return 4;
}

/* The same as bytes: the next piece of the decoded text in UTF-8. */
static bool
decoder_bytes(struct decoder *d, char room[4], struct span *piece)
{
	int32_t c;

	if (!decoder_next(d, piece, &c))
		return false;
	if (piece->len == 0)
		*piece = (struct span){ room, utf8_encode(is_surrogate(c) ? 0xfffd : c, room) };
	return true;
}

static bool
has_escape(struct span str)
{
	return memchr(str.p, '\\', str.len) != NULL;
}

/* Order two strings by their decoded bytes: <0, 0, >0. */
static int
string_compare(struct span a, struct span b)
{
	struct span pa = { 0 }, pb = { 0 };
	struct decoder da, db;
	char ra[4], rb[4];

	decoder_init(&da, a);
	decoder_init(&db, b);
	for (;;) {
		size_t n;
		int diff;

		if (pa.len == 0 && !decoder_bytes(&da, ra, &pa))
			return pb.len > 0 || decoder_bytes(&db, rb, &pb) ? -1 : 0;
		if (pb.len == 0 && !decoder_bytes(&db, rb, &pb))
			return 1;
		n = pa.len < pb.len ? pa.len : pb.len;
		diff = memcmp(pa.p, pb.p, n);
		if (diff != 0)
			return diff;
		pa.p += n;
		pa.len -= n;
		pb.p += n;
		pb.len -= n;
	}
}

static bool
string_equal(struct span a, struct span b)
{
	return span_eq(a, b) ||
	    ((has_escape(a) || has_escape(b)) && string_compare(a, b) == 0);
}

bool
json_string_is(struct span str, const char *s)
{
	size_t left = strlen(s);
	struct decoder d;
	struct span piece;
	char room[4];

	if (json_type(str) != JSON_STRING)
		return false;
	if (str.len - 2 < left) /* an escape is longer than what it stands for */
		return false;
	if (!has_escape(str))
		return str.len - 2 == left && memcmp(str.p + 1, s, left) == 0;
	decoder_init(&d, str);
	while (decoder_bytes(&d, room, &piece)) {
		if (piece.len > left || memcmp(piece.p, s, piece.len) != 0)
			return false;
		s += piece.len;
		left -= piece.len;
	}
	return left == 0;
}

size_t
json_which(struct span str, const char *const *names, size_t n)
{
	size_t i = 0;

	while (i < n && !json_string_is(str, names[i]))
		i++;
	return i;
}

bool
json_get(struct span object, const char *key, struct span *value)
{
	struct span k, v;
	struct json_iter it;
	bool found = false;

	*value = (struct span){ NULL, 0 };
	if (json_type(object) != JSON_OBJECT)
		return false;
	json_iter_init(&it, object);
	while (json_next(&it, &k, &v))
		if (json_string_is(k, key)) {
			*value = v;
			found = true;
		}
	return found;
}

int
json_pick(struct span object, const char *const *keys, size_t n, struct span *values)
{
	struct json_iter it;
	struct span key, value;
	int twice = -1;

	for (size_t i = 0; i < n; i++)
		values[i] = (struct span){ NULL, 0 };
	if (json_type(object) != JSON_OBJECT)
		return twice;
	json_iter_init(&it, object);
	while (json_next(&it, &key, &value)) {
		size_t i = json_which(key, keys, n);

		if (i == n)
			continue;
		if (values[i].p != NULL)
			twice = (int)i;
		values[i] = value;
	}
	return twice;
}

bool
json_string(struct span str, struct buf *out)
{
	struct decoder d;
	struct span piece;
	char room[4];

	if (json_type(str) != JSON_STRING)
		return false;
	decoder_init(&d, str);
	while (decoder_bytes(&d, room, &piece))
		buf_add_span(out, piece);
	return true;
}

bool
json_string_odd(struct span str)
{
	struct decoder d;
	struct span run;
	int32_t c;

	if (json_type(str) != JSON_STRING)
		return false;
	decoder_init(&d, str);
	while (decoder_next(&d, &run, &c))
		if (run.len == 0 && (c == 0 || is_surrogate(c)))
			return true;
	return false;
}

bool
json_int64(struct span v, int64_t *out)
{
	bool minus;
	uint64_t n = 0, max;

	*out = 0;
	if (json_type(v) != JSON_NUMBER)
		return false;
	minus = v.p[0] == '-';
	max = (uint64_t)INT64_MAX + minus;
	for (size_t i = minus; i < v.len; i++) {
		unsigned digit = (unsigned)(v.p[i] - '0');

		if (!is_digit(v.p[i]) || n > (max - digit) / 10)
			return false;
		n = n * 10 + digit;
	}
	/* -n as int64_t, without overflow for the smallest one */
	*out = minus && n > 0 ? -(int64_t)(n - 1) - 1 : (int64_t)n;
	return true;
}

/*
 * More digits than this never change which double is nearest, but for
 * whether anything but zeros follows them.
 */
#define DIGITS 800

/* An exponent as written, far beyond any double's where it is larger. */
static int64_t
exponent_of(const char *p, const char *end)
{
	bool minus = p < end && *p == '-';
	int64_t n = 0;

	if (p < end && (*p == '-' || *p == '+'))
		p++;
	for (; p < end; p++)
		if (n < INT64_C(1000000000000))
			n = n * 10 + (*p - '0');
	return minus ? -n : n;
}

/*
 * strtod() wants a NUL behind the number and the decimal point of the locale.
 * So it gets the digits as an integer with an exponent, in a copy.
 */
bool
json_double(struct span v, double *out)
{
	char text[DIGITS + 32];
	const char *p = v.p, *end = v.p + v.len;
	int64_t exponent = 0;
	size_t n = 0, first;
	bool fraction = false, more = false;

	*out = 0;
	if (json_type(v) != JSON_NUMBER)
		return false;
	if (*p == '-')
		text[n++] = *p++;
	first = n;
	for (; p < end && *p != 'e' && *p != 'E'; p++) {
		if (*p == '.') {
			fraction = true;
			continue;
		}
		if (n - first < DIGITS) {
			if (n > first || *p != '0') /* no leading zeros */
				text[n++] = *p;
			exponent -= fraction;
		} else {
			more = more || *p != '0';
			exponent += !fraction;
		}
	}
	if (p < end)
		exponent += exponent_of(p + 1, end);
	if (n == first) {
		text[n++] = '0';
		exponent = 0;
	}
	if (more) {
		text[n++] = '1';
		exponent--;
	}
	if (exponent > 99999)
		exponent = 99999;
	if (exponent < -99999)
		exponent = -99999;
	snprintf(text + n, sizeof(text) - n, "e%d", (int)exponent);
	*out = strtod(text, NULL);
	return true;
}

/* --- equality --- */

/* A member of an object, with its place in it: the last of a key counts. */
struct member {
	struct span key, value;
};

/* This many members are compared without memory of their own. */
#define FEW 16

static int
by_key(const void *a, const void *b)
{
	const struct member *ma = a, *mb = b;
	int diff = string_compare(ma->key, mb->key);

	if (diff != 0)
		return diff;
	return (ma->key.p > mb->key.p) - (ma->key.p < mb->key.p);
}

static size_t
count_members(struct span v)
{
	struct json_iter it;
	struct span key, value;
	size_t n = 0;

	json_iter_init(&it, v);
	while (json_next(&it, &key, &value))
		n++;
	return n;
}

/* Collect an object's members sorted by key, the last one of each; how many. */
static size_t
sort_members(struct span object, struct member *m)
{
	struct json_iter it;
	size_t n = 0, kept = 0;

	json_iter_init(&it, object);
	while (json_next(&it, &m[n].key, &m[n].value))
		n++;
	qsort(m, n, sizeof(*m), by_key);
	for (size_t i = 0; i < n; i++)
		if (i + 1 == n || !string_equal(m[i].key, m[i + 1].key))
			m[kept++] = m[i];
	return kept;
}

/* Both in one array that has room for all members of both, and one more. */
static bool
sorted_equal(struct span a, struct span b, struct member *m)
{
	size_t na = sort_members(a, m);
	struct member *mb = m + na;

	if (sort_members(b, mb) != na)
		return false;
	for (size_t i = 0; i < na; i++)
		if (!string_equal(m[i].key, mb[i].key) ||
		    !json_equal(m[i].value, mb[i].value))
			return false;
	return true;
}

/* The last member whose key equals this one. */
static bool
find_last(struct span object, struct span key, struct member *out)
{
	struct json_iter it;
	struct member m;
	bool found = false;

	json_iter_init(&it, object);
	while (json_next(&it, &m.key, &m.value))
		if (string_equal(m.key, key)) {
			*out = m;
			found = true;
		}
	return found;
}

/* Every key of a is in b, its last values equal. Slow, but needs no memory. */
static bool
contained(struct span a, struct span b)
{
	struct json_iter it;
	struct member m, in_a, in_b;

	json_iter_init(&it, a);
	while (json_next(&it, &m.key, &m.value)) {
		if (!find_last(a, m.key, &in_a) || !find_last(b, m.key, &in_b) ||
		    !json_equal(in_a.value, in_b.value))
			return false;
	}
	return true;
}

static bool
objects_equal(struct span a, struct span b)
{
	size_t n = count_members(a) + count_members(b) + 1;
	struct member few[FEW], *m = few;
	bool equal;

	if (n > FEW && (m = calloc(n, sizeof(*m))) == NULL)
		return contained(a, b) && contained(b, a);
	equal = sorted_equal(a, b, m);
	if (m != few)
		free(m);
	return equal;
}

static bool
arrays_equal(struct span a, struct span b)
{
	struct json_iter ia, ib;
	struct span key, va, vb;

	json_iter_init(&ia, a);
	json_iter_init(&ib, b);
	while (json_next(&ia, &key, &va))
		if (!json_next(&ib, &key, &vb) || !json_equal(va, vb))
			return false;
	return !json_next(&ib, &key, &vb);
}

static bool
numbers_equal(struct span a, struct span b)
{
	double da, db;

	/* Beyond every double all would look alike; these differ as text. */
	return json_double(a, &da) && json_double(b, &db) && !isinf(da) && da == db;
}

bool
json_equal(struct span a, struct span b)
{
	enum json_type type = json_type(a);

	if (a.len == 0 || b.len == 0)
		return a.len == b.len;
	if (span_eq(a, b))
		return true;
	if (type != json_type(b))
		return false;
	switch (type) {
	case JSON_OBJECT: return objects_equal(a, b);
	case JSON_ARRAY:  return arrays_equal(a, b);
	case JSON_STRING: return string_equal(a, b);
	case JSON_NUMBER: return numbers_equal(a, b);
	default:          return true;
	}
}

/* --- spelling --- */

/* Where a spelling goes. */
struct sink {
	json_put *put;
	void *ctx;
};

static void
emit(const struct sink *out, const char *p, size_t n)
{
	if (n > 0)
		out->put(out->ctx, (struct span){ p, n });
}

/* A character that was escaped, as the canonical spelling has it. */
static void
emit_char(const struct sink *out, int32_t c)
{
	static const char names[] = "btnfr\"\\", codes[] = "\b\t\n\f\r\"\\";
	const char *code = c == 0 || c > 0x7f ? NULL : strchr(codes, c);
	char room[8];

	if (code != NULL)
		emit(out, (char[]){ '\\', names[code - codes] }, 2);
	else if (c >= 0x20 && !is_surrogate(c))
		emit(out, room, utf8_encode(c, room));
	else
		emit(out, room, (size_t)snprintf(room, sizeof(room), "\\u%04x",
		                                 (unsigned)c & 0xffff));
}

/* Whether an escape is spelt in the canonical way: \n, \" and the like. */
static bool
is_canonical_escape(const char *p)
{
	return strchr("\"\\bfnrt", p[1]) != NULL;
}

/* A string with escapes. What is canonical goes out in runs. */
static void
emit_string(const struct sink *out, struct span str)
{
	struct decoder d;
	const char *run = str.p;

	decoder_init(&d, str);
	while ((d.p = memchr(d.p, '\\', (size_t)(d.end - d.p))) != NULL) {
		const char *from = d.p;

		if (is_canonical_escape(from)) {
			d.p += 2;
			continue;
		}
		emit(out, run, (size_t)(from - run));
		emit_char(out, take_escape(&d));
		run = d.p;
	}
	emit(out, run, (size_t)(str.p + str.len - run));
}

/*
 * A value without white space; strings as they came or canonical. What stays
 * as it is goes out in runs, mostly in one.
 */
static void
respell(struct span v, bool canonical, const struct sink *out)
{
	const char *p = v.p, *end = v.p + v.len, *run = p;

	while (p < end) {
		const char *from = p;
		bool escaped = false, space = (unsigned char)*p <= ' ';

		if (*p == '"')
			p = string_end(p, end, &escaped);
		else if (space)
			p = skip_space(p, end);
		else
			p++;
		if (!space && !(canonical && escaped))
			continue;
		emit(out, run, (size_t)(from - run));
		if (!space)
			emit_string(out, (struct span){ from, (size_t)(p - from) });
		run = p;
	}
	emit(out, run, (size_t)(end - run));
}

static void
put_in_buf(void *ctx, struct span piece)
{
	buf_add_span(ctx, piece);
}

/* Into a buffer that mostly needs to grow but once. */
static void
respell_into(struct span v, bool canonical, struct buf *out)
{
	if (v.len > 0 && buf_reserve(out, v.len))
		respell(v, canonical, &(struct sink){ put_in_buf, out });
}

void
json_canonical(struct span value, struct buf *out)
{
	respell_into(value, true, out);
}

void
json_canonical_pieces(struct span value, json_put *put, void *ctx)
{
	respell(value, true, &(struct sink){ put, ctx });
}

void
json_compact(struct span value, struct buf *out)
{
	respell_into(value, false, out);
}
