/*
 * The span scanner (base/json.h) against json-c and SQLite, and its
 * spellings against a plain reference.
 *
 * Both say whether a text is JSON and what is in it, but neither is strict.
 * Where they differ from us, and we mean it:
 *
 *                                  ours     json-c 0.16    SQLite 3.40
 *   not UTF-8 (RFC 3629)           refused  some accepted  accepted
 *   NUL in the text                refused  ends it        ends it
 *   deeper than 64                 refused  as told        2000
 *   control character in a string  refused  accepted       refused
 *   1. -.5 00 -01 NaN Infinity     refused  accepted       refused
 *   'key'                          refused  accepted       refused
 *   {["key"]:1}                    refused  refused        accepted
 *   integer beyond 64 bits         kept     clamped        a double
 *   double                         nearest  nearest        about
 *   \u0000 in a string             kept     kept; a key    ends it
 *                                           ends there
 *   lone surrogate                 U+FFFD   U+FFFD         three bytes
 *   equal keys                     in order last           in order
 *
 * So a text that we accept must pass both. One that we refuse must fail
 * SQLite, unless it holds one of the first three or SQLite's own liberty, and
 * json-c, unless it holds one of json-c's.
 */
#include "base/json.h"

#include "fuzz/fuzz.h"

#define json_type json_c_type
#include <json-c/json.h>
#undef json_type
#include <inttypes.h>
#include <math.h>
#include <sqlite3.h>
#include <string.h>
#include <strings.h>

static sqlite3 *db;
static sqlite3_stmt *valid, *tree;

static void
open_sqlite(void)
{
	FUZZ_CHECK(sqlite3_open(":memory:", &db) == SQLITE_OK, "no SQLite");
	sqlite3_prepare_v2(db, "SELECT json_valid(?1)", -1, &valid, NULL);
	sqlite3_prepare_v2(db, "SELECT key, type, atom FROM json_tree(?1)", -1, &tree, NULL);
	FUZZ_CHECK(valid != NULL && tree != NULL, "%s", sqlite3_errmsg(db));
}

static void
close_sqlite(void)
{
	sqlite3_finalize(valid);
	sqlite3_finalize(tree);
	sqlite3_close(db);
}

static bool
sqlite_accepts(struct span text)
{
	bool yes;

	sqlite3_bind_text(valid, 1, text.p, (int)text.len, SQLITE_STATIC);
	FUZZ_CHECK(sqlite3_step(valid) == SQLITE_ROW, "%s", sqlite3_errmsg(db));
	yes = sqlite3_column_int(valid, 0) != 0;
	sqlite3_reset(valid);
	return yes;
}

/* json-c's value of a whole text, to json_object_put(); *ok whether it took it. */
static struct json_object *
jsonc_parse(struct span text, bool *ok)
{
	struct json_tokener *tok = json_tokener_new_ex(JSON_MAX_DEPTH);
	char *copy = span_dup(text); /* a number ends at the NUL */
	struct json_object *o;

	json_tokener_set_flags(tok, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
	o = json_tokener_parse_ex(tok, copy, (int)text.len + 1);
	*ok = json_tokener_get_error(tok) == json_tokener_success &&
	    json_tokener_get_parse_end(tok) >= text.len;
	if (!*ok) {
		json_object_put(o);
		o = NULL;
	}
	json_tokener_free(tok);
	free(copy);
	return o;
}

/* --- a reference: slow, and by other means than json.c --- */

/* The length of the UTF-8 sequence at p and its code point; 0 for none. */
static size_t
ref_utf8(const char *text, size_t left, uint32_t *c)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	const unsigned char *p = (const unsigned char *)text;
	size_t n = p[0] < 0x80 ? 1 : p[0] >> 5 == 6 ? 2 : p[0] >> 4 == 14 ? 3 :
	    p[0] >> 3 == 30 ? 4 : 0;

	if (n == 0 || n > left)
		return 0;
	*c = n == 1 ? p[0] : p[0] & (0x7fu >> n);
	for (size_t i = 1; i < n; i++) {
		if (p[i] >> 6 != 2)
			return 0;
		*c = *c << 6 | (p[i] & 0x3f);
	}
	if (*c < least[n] || *c > 0x10ffff || (*c >= 0xd800 && *c < 0xe000))
		return 0;
	return n;
}

static bool
ref_is_utf8(struct span s)
{
	uint32_t c;
	size_t n;

	for (size_t i = 0; i < s.len; i += n)
		if ((n = ref_utf8(s.p + i, s.len - i, &c)) == 0)
			return false;
	return true;
}

/* The deepest nesting of brackets outside strings. */
static int
ref_depth(struct span s)
{
	int depth = 0, deepest = 0;
	bool string = false;

	for (size_t i = 0; i < s.len; i++) {
		char c = s.p[i];

		if (string && c == '\\')
			i++;
		else if (c == '"')
			string = !string;
		else if (!string && (c == '[' || c == '{'))
			deepest = ++depth > deepest ? depth : deepest;
		else if (!string && (c == ']' || c == '}'))
			depth--;
	}
	return deepest;
}

static uint32_t
ref_unit(const char *p)
{
	char hex[5] = { p[2], p[3], p[4], p[5], '\0' };

	return (uint32_t)strtoul(hex, NULL, 16);
}

/* Take one character of a string's inside; a lone surrogate as itself. */
static uint32_t
ref_char(struct span *s)
{
	uint32_t c, low;
	size_t n = 2;

	if (s->p[0] != '\\') {
		n = ref_utf8(s->p, s->len, &c);
	} else if (s->p[1] != 'u') {
		const char *at = strchr("b\bf\fn\nr\rt\t", s->p[1]);

		c = (unsigned char)(at != NULL ? at[1] : s->p[1]);
	} else {
		n = 6;
		c = ref_unit(s->p);
		if (c >> 10 == 0x36 && s->len >= 12 && s->p[6] == '\\' && s->p[7] == 'u' &&
		    (low = ref_unit(s->p + 6)) >> 10 == 0x37) {
			n = 12;
			c = 0x10000 + ((c & 0x3ff) << 10 | (low & 0x3ff));
		}
	}
	s->p += n;
	s->len -= n;
	return c;
}

static void
ref_add_utf8(uint32_t c, struct buf *out)
{
	static const unsigned char first[] = { 0, 0, 0xc0, 0xe0, 0xf0 };
	int n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;

	buf_add_byte(out, (char)(first[n] | c >> 6 * (n - 1)));
	while (--n > 0)
		buf_add_byte(out, (char)(0x80 | (c >> 6 * (n - 1) & 0x3f)));
}

/* How a character is spelt within a string. */
typedef void spell(uint32_t c, struct buf *out, uint32_t *random);

static void
spell_decoded(uint32_t c, struct buf *out, uint32_t *random)
{
	(void)random;
	ref_add_utf8(c >> 11 == 0x1b ? 0xfffd : c, out);
}

static void
spell_canonical(uint32_t c, struct buf *out, uint32_t *random)
{
	static const char escaped[] = "\"\\\b\f\n\r\t", names[] = "\"\\bfnrt";
	const char *at = c > 0 && c < 0x80 ? strchr(escaped, (int)c) : NULL;

	(void)random;
	if (at != NULL)
		buf_addf(out, "\\%c", names[at - escaped]);
	else if (c < 0x20 || c >> 11 == 0x1b)
		buf_addf(out, "\\u%04x", (unsigned)c);
	else
		ref_add_utf8(c, out);
}

/* In any of the ways in which it may be spelt. */
static void
spell_otherwise(uint32_t c, struct buf *out, uint32_t *random)
{
	uint32_t r = fuzz_next(random) % 4;
	const char *hex = r == 0 ? "\\u%04x" : "\\u%04X";

	if (r > 1 && c == '/')
		buf_add_str(out, "\\/");
	else if (r > 1)
		spell_canonical(c, out, random);
	else if (c < 0x10000)
		buf_addf(out, r == 0 ? "\\u%04x" : "\\u%04X", (unsigned)c);
	else
		for (int i = 0; i < 2; i++)
			buf_addf(out, *hex == '\\' && r == 0 ? "\\u%04x" : "\\u%04X",
			         (unsigned)(i == 0 ? 0xd7c0 + (c >> 10) : 0xdc00 + (c & 0x3ff)));
}

static void
ref_spell_string(struct span str, spell *how, struct buf *out, uint32_t *random)
{
	struct span inside = { str.p + 1, str.len - 2 };

	while (inside.len > 0)
		how(ref_char(&inside), out, random);
}

static struct span
ref_take_string(const char *p, const char *end)
{
	const char *q = p + 1;

	while (q < end && *q != '"')
		q += *q == '\\' ? 2 : 1;
	return (struct span){ p, (size_t)(q + 1 - p) };
}

static void
add_some_space(struct buf *out, uint32_t *random)
{
	uint32_t r = fuzz_next(random);

	if (r % 4 == 0)
		buf_add(out, &" \n\t\r"[r >> 8 & 3], 1);
}

/* Spell a whole value anew; NULL: strings as they came. */
static void
ref_respell(struct span v, spell *how, struct buf *out, uint32_t *random)
{
	const char *end = v.p + v.len;

	for (const char *p = v.p; p < end;) {
		struct span str;

		if (*p == '"') {
			str = ref_take_string(p, end);
			p += str.len;
			if (how == NULL) {
				buf_add_span(out, str);
				continue;
			}
			buf_add_byte(out, '"');
			ref_spell_string(str, how, out, random);
			buf_add_byte(out, '"');
			continue;
		}
		if (how == spell_otherwise && strchr("[]{},:", *p) != NULL) {
			add_some_space(out, random);
			buf_add_byte(out, *p++);
			add_some_space(out, random);
		} else if (strchr(" \n\r\t", *p) != NULL) {
			p++;
		} else {
			buf_add_byte(out, *p++);
		}
	}
}

/* --- what a text holds that json-c, or SQLite, reads otherwise --- */

struct quirks {
	bool nul_key; /* \u0000 in a key; or more members than are looked up */
	bool big;     /* an integer beyond 64 bits, a number beyond the doubles */
};

static bool
ref_string_odd(struct span str, bool *nul)
{
	struct span inside = { str.p + 1, str.len - 2 };
	bool odd = false;

	*nul = false;
	while (inside.len > 0) {
		uint32_t c = ref_char(&inside);

		*nul = *nul || c == 0;
		odd = odd || c == 0 || c >> 11 == 0x1b;
	}
	return odd;
}

/* --- values, ours against json-c's --- */

static void check_value(struct span v, struct json_object *o, struct quirks *q);

static void
check_number(struct span v, struct json_object *o, struct quirks *q)
{
	char *text = span_dup(v), *end;
	bool plain = strpbrk(text, ".eE") == NULL, fits;
	double d, want = strtod(text, &end);
	int64_t n;

	FUZZ_CHECK(json_double(v, &d) && *end == '\0' && d == want,
	           "%s: %.17g, not %.17g", text, d, want);
	fits = json_int64(v, &n);
	if (plain && fits) {
		FUZZ_CHECK(json_object_get_type(o) == json_type_int &&
		           json_object_get_int64(o) == n, "%s", text);
	} else if (plain) {
		char digits[24];

		snprintf(digits, sizeof(digits), "%" PRId64, want < 0 ? INT64_MIN : INT64_MAX);
		FUZZ_CHECK(strlen(text) > strlen(digits) ||
		           (strlen(text) == strlen(digits) && strcmp(text, digits) > 0),
		           "%s fits", text);
		q->big = true;
	} else {
		FUZZ_CHECK(!fits && json_object_get_type(o) == json_type_double &&
		           json_object_get_double(o) == want, "%s", text);
		q->big = q->big || isinf(want);
	}
	free(text);
}

static void
check_string(struct span v, struct json_object *o)
{
	struct buf text = { 0 }, want = { 0 };
	bool nul, odd = ref_string_odd(v, &nul);

	FUZZ_CHECK(json_string(v, &text), "not decoded");
	ref_spell_string(v, spell_decoded, &want, NULL);
	FUZZ_CHECK(span_eq(buf_span(&text), buf_span(&want)), "%.*s", FUZZ_SPAN(v));
	FUZZ_CHECK(json_string_odd(v) == odd, "%.*s", FUZZ_SPAN(v));
	if (o != NULL)
		FUZZ_CHECK(json_object_get_type(o) == json_type_string &&
		           (size_t)json_object_get_string_len(o) == text.len &&
		           (text.len == 0 || memcmp(json_object_get_string(o), text.p, text.len) == 0),
		           "%.*s", FUZZ_SPAN(v));
	if (!nul) {
		FUZZ_CHECK(json_string_is(v, buf_cstr(&text)), "%.*s", FUZZ_SPAN(v));
		if (text.len > 0) {
			text.p[--text.len] = '\0';
			FUZZ_CHECK(!json_string_is(v, text.p), "%.*s", FUZZ_SPAN(v));
		}
		buf_add_str(&text, "xx");
		FUZZ_CHECK(!json_string_is(v, buf_cstr(&text)), "%.*s", FUZZ_SPAN(v));
	}
	buf_free(&text);
	buf_free(&want);
}

static void
check_array(struct span v, struct json_object *o, struct quirks *q)
{
	struct json_iter it;
	struct span key, element;
	size_t n = 0;

	FUZZ_CHECK(json_object_get_type(o) == json_type_array, "%.*s", FUZZ_SPAN(v));
	json_iter_init(&it, v);
	for (; json_next(&it, &key, &element); n++) {
		FUZZ_CHECK(n < json_object_array_length(o) && key.len == 0, "%.*s", FUZZ_SPAN(v));
		check_value(element, json_object_array_get_idx(o, n), q);
	}
	FUZZ_CHECK(n == json_object_array_length(o), "%.*s", FUZZ_SPAN(v));
}

/* The last member that decodes to this key, by comparing decoded keys. */
static struct span
ref_last(struct span object, struct span name, size_t *times)
{
	struct json_iter it;
	struct span key, value, last = { NULL, 0 };
	struct buf text = { 0 };

	*times = 0;
	json_iter_init(&it, object);
	while (json_next(&it, &key, &value)) {
		buf_reset(&text);
		ref_spell_string(key, spell_decoded, &text, NULL);
		if (!span_eq(buf_span(&text), name))
			continue;
		last = value;
		++*times;
	}
	buf_free(&text);
	return last;
}

/* This many members of an object are looked up: each lookup walks them all. */
#define LOOKUPS 24

static void
check_lookup(struct span v, const char *name, struct span last, size_t times)
{
	const char *keys[] = { "no such key\x01", name };
	struct span found, picked[2];

	FUZZ_CHECK(json_get(v, name, &found) && found.p == last.p && found.len == last.len,
	           "%s in %.*s", name, FUZZ_SPAN(v));
	FUZZ_CHECK(json_pick(v, keys, 2, picked) == (times > 1 ? 1 : -1) &&
	           picked[0].p == NULL && picked[1].p == last.p, "%s in %.*s", name,
	           FUZZ_SPAN(v));
}

/* Whether json-c cuts one of the keys, and so may take it for another. */
static bool
has_nul_key(struct span object)
{
	struct json_iter it;
	struct span key, value;
	bool nul = false;

	json_iter_init(&it, object);
	while (!nul && json_next(&it, &key, &value))
		ref_string_odd(key, &nul);
	return nul;
}

static void
check_object(struct span v, struct json_object *o, struct quirks *q)
{
	struct json_iter it;
	struct span key, value, last;
	struct buf name = { 0 };
	struct json_object *member;
	size_t n = 0, repeats = 0, times;

	FUZZ_CHECK(json_object_get_type(o) == json_type_object, "%.*s", FUZZ_SPAN(v));
	if (has_nul_key(v)) {
		q->nul_key = true;
		return;
	}
	json_iter_init(&it, v);
	for (; n < LOOKUPS && json_next(&it, &key, &value); n++) {
		check_string(key, NULL);
		buf_reset(&name);
		FUZZ_CHECK(json_string(key, &name) && buf_cstr(&name) != NULL, "no key");
		last = ref_last(v, buf_span(&name), &times);
		check_lookup(v, name.p, last, times);
		FUZZ_CHECK(json_object_object_get_ex(o, name.p, &member), "%s in %.*s", name.p,
		           FUZZ_SPAN(v));
		if (value.p == last.p)
			check_value(value, member, q);
		else
			repeats++;
	}
	if (n < LOOKUPS)
		FUZZ_CHECK((size_t)json_object_object_length(o) == n - repeats, "%.*s", FUZZ_SPAN(v));
	else
		q->nul_key = true;
	buf_free(&name);
}

static void
check_value(struct span v, struct json_object *o, struct quirks *q)
{
	struct json_iter it;
	struct span none;

	if (q->nul_key)
		return; /* json-c may have put another member there */
	switch (json_type(v)) {
	case JSON_OBJECT: check_object(v, o, q); return;
	case JSON_ARRAY:  check_array(v, o, q); return;
	case JSON_STRING: check_string(v, o);    break;
	case JSON_NUMBER: check_number(v, o, q); break;
	case JSON_NULL:
		FUZZ_CHECK(o == NULL && span_is(v, "null"), "%.*s", FUZZ_SPAN(v));
		break;
	default:
		FUZZ_CHECK(json_object_get_type(o) == json_type_boolean &&
		           span_is(v, json_object_get_boolean(o) ? "true" : "false"),
		           "%.*s", FUZZ_SPAN(v));
	}
	json_iter_init(&it, v); /* a scalar has no members */
	FUZZ_CHECK(!json_next(&it, &none, &none), "%.*s", FUZZ_SPAN(v));
}

/* --- values, ours against SQLite's --- */

static bool
has_exponent(struct span number)
{
	return memchr(number.p, 'e', number.len) != NULL ||
	    memchr(number.p, 'E', number.len) != NULL;
}

static void
check_sqlite_text(struct span str, int column)
{
	struct buf text = { 0 };
	bool nul;

	if (!ref_string_odd(str, &nul)) {
		json_string(str, &text);
		FUZZ_CHECK((size_t)sqlite3_column_bytes(tree, column) == text.len &&
		           (text.len == 0 ||
		            memcmp(sqlite3_column_text(tree, column), text.p, text.len) == 0),
		           "%.*s", FUZZ_SPAN(str));
	}
	buf_free(&text);
}

/* The next row of json_tree() is this value; its members are those after. */
static void
check_rows(struct span key, struct span v)
{
	static const char *const names[] = { "null", "false", "true", "", "text", "array",
	                                     "object" };
	struct json_iter it;
	struct span k, member;
	const char *type;
	int64_t n;

	FUZZ_CHECK(sqlite3_step(tree) == SQLITE_ROW, "a value more than SQLite: %.*s", FUZZ_SPAN(v));
	type = (const char *)sqlite3_column_text(tree, 1);
	if (json_type(v) == JSON_NUMBER) {
		bool plain = json_int64(v, &n);

		FUZZ_CHECK(strcmp(type, has_exponent(v) || memchr(v.p, '.', v.len) != NULL ?
		                  "real" : "integer") == 0, "%.*s", FUZZ_SPAN(v));
		FUZZ_CHECK(!plain || sqlite3_column_int64(tree, 2) == n, "%.*s", FUZZ_SPAN(v));
	} else {
		FUZZ_CHECK(strcmp(type, names[json_type(v)]) == 0, "%s, %.*s", type, FUZZ_SPAN(v));
	}
	if (key.len > 0)
		check_sqlite_text(key, 0);
	if (json_type(v) == JSON_STRING)
		check_sqlite_text(v, 2);
	json_iter_init(&it, v);
	while (json_next(&it, &k, &member))
		check_rows(k, member);
}

static void
check_sqlite(struct span v)
{
	sqlite3_bind_text(tree, 1, v.p, (int)v.len, SQLITE_STATIC);
	check_rows((struct span){ NULL, 0 }, v);
	FUZZ_CHECK(sqlite3_step(tree) == SQLITE_DONE, "SQLite has more than %.*s", FUZZ_SPAN(v));
	sqlite3_reset(tree);
}

/* --- spellings --- */

/* Rebuild a value from the spans of its members alone. */
static void
rebuild(struct span v, struct buf *out)
{
	bool object = json_type(v) == JSON_OBJECT, first = true;
	struct json_iter it;
	struct span key, value;

	if (!object && json_type(v) != JSON_ARRAY) {
		buf_add_span(out, v);
		return;
	}
	buf_add_byte(out, object ? '{' : '[');
	json_iter_init(&it, v);
	while (json_next(&it, &key, &value)) {
		if (!first)
			buf_add_byte(out, ',');
		first = false;
		buf_add_span(out, key);
		if (object)
			buf_add_byte(out, ':');
		rebuild(value, out);
	}
	buf_add_byte(out, object ? '}' : ']');
}

static struct span
scan_whole(const struct buf *text)
{
	struct span v, rest, all = buf_span(text);
	struct err err;

	FUZZ_CHECK(json_scan(all, JSON_MAX_DEPTH, &v, &rest, &err) == RC_OK, "%s: %.*s",
	           err.text, FUZZ_SPAN(all));
	for (size_t i = 0; i < rest.len; i++)
		FUZZ_CHECK(strchr(" \n\r\t", rest.p[i]) != NULL, "more: %.*s", FUZZ_SPAN(all));
	return v;
}

static void
put(void *ctx, struct span piece)
{
	buf_add_span(ctx, piece);
}

static void
check_spellings(struct span v, struct json_object *o, uint32_t random)
{
	struct buf compact = { 0 }, canonical = { 0 }, want = { 0 }, again = { 0 };
	struct quirks q = { 0 };
	struct span other;

	json_compact(v, &compact);
	ref_respell(v, NULL, &want, NULL);
	FUZZ_CHECK(span_eq(buf_span(&compact), buf_span(&want)), "compact %.*s", FUZZ_SPAN(v));
	rebuild(v, &again);
	FUZZ_CHECK(span_eq(buf_span(&compact), buf_span(&again)), "members of %.*s", FUZZ_SPAN(v));

	json_canonical(v, &canonical);
	buf_reset(&want);
	ref_respell(v, spell_canonical, &want, NULL);
	FUZZ_CHECK(span_eq(buf_span(&canonical), buf_span(&want)), "canonical %.*s", FUZZ_SPAN(v));
	buf_reset(&again);
	json_canonical_pieces(v, put, &again);
	FUZZ_CHECK(span_eq(buf_span(&canonical), buf_span(&again)), "pieces of %.*s", FUZZ_SPAN(v));
	other = scan_whole(&canonical);
	check_value(other, o, &q);
	FUZZ_CHECK(json_equal(v, other), "%.*s", FUZZ_SPAN(v));
	buf_reset(&again);
	json_canonical(other, &again);
	FUZZ_CHECK(span_eq(buf_span(&canonical), buf_span(&again)), "twice %.*s", FUZZ_SPAN(v));

	buf_reset(&want);
	ref_respell(v, spell_otherwise, &want, &random);
	other = scan_whole(&want);
	FUZZ_CHECK(json_equal(v, other) && json_equal(other, v), "%.*s, %.*s", FUZZ_SPAN(v),
	           FUZZ_SPAN(other));
	buf_reset(&again);
	json_canonical(other, &again);
	FUZZ_CHECK(span_eq(buf_span(&canonical), buf_span(&again)), "%.*s, %.*s", FUZZ_SPAN(v),
	           FUZZ_SPAN(other));
	buf_free(&compact);
	buf_free(&canonical);
	buf_free(&want);
	buf_free(&again);
}

/* --- equality --- */

/* Deep equality of json-c's values, numbers as doubles. */
static bool
ref_equal(struct json_object *a, struct json_object *b)
{
	enum json_c_type ta = json_object_get_type(a), tb = json_object_get_type(b);
	struct json_object *other;

	if ((ta == json_type_int || ta == json_type_double) &&
	    (tb == json_type_int || tb == json_type_double))
		return json_object_get_double(a) == json_object_get_double(b);
	if (ta != tb)
		return false;
	if (ta == json_type_array) {
		if (json_object_array_length(a) != json_object_array_length(b))
			return false;
		for (size_t i = 0; i < json_object_array_length(a); i++)
			if (!ref_equal(json_object_array_get_idx(a, i), json_object_array_get_idx(b, i)))
				return false;
		return true;
	}
	if (ta != json_type_object)
		return json_object_equal(a, b);
	if (json_object_object_length(a) != json_object_object_length(b))
		return false;
	json_object_object_foreach(a, key, value) {
		if (!json_object_object_get_ex(b, key, &other) || !ref_equal(value, other))
			return false;
	}
	return true;
}

/* A copy, members from the last to the first; here and there one changed. */
static void
turn_round(struct span v, struct buf *out, uint32_t *random)
{
	bool object = json_type(v) == JSON_OBJECT, first = true;
	struct span key[16], value[16];
	struct json_iter it;
	size_t n = 0;

	if (!object && json_type(v) != JSON_ARRAY) {
		uint32_t r = fuzz_next(random) % 32;

		if (r == 0)
			buf_add_str(out, "null");
		else
			buf_add_span(out, v);
		if (r == 1 && json_type(v) == JSON_NUMBER && !has_exponent(v))
			buf_add_str(out, "e1");
		if (r == 2 && json_type(v) == JSON_STRING)
			out->p[out->len - 1] = 'x', buf_add_byte(out, '"');
		return;
	}
	buf_add_byte(out, object ? '{' : '[');
	json_iter_init(&it, v);
	while (n < 16 && json_next(&it, &key[n], &value[n]))
		n++;
	for (size_t i = 0; i < n; i++) {
		size_t at = object ? n - 1 - i : i;

		if (!first)
			buf_add_byte(out, ',');
		first = false;
		buf_add_span(out, key[at]);
		if (object)
			buf_add_byte(out, ':');
		turn_round(value[at], out, random);
	}
	buf_add_byte(out, object ? '}' : ']');
}

/* What q says of a is known. */
static void
check_equality(struct span a, struct json_object *oa, struct quirks q, struct span b)
{
	struct json_object *ob;
	bool ok, equal = json_equal(a, b);

	FUZZ_CHECK(equal == json_equal(b, a), "%.*s, %.*s", FUZZ_SPAN(a), FUZZ_SPAN(b));
	ob = jsonc_parse(b, &ok);
	FUZZ_CHECK(ok, "json-c: %.*s", FUZZ_SPAN(b));
	check_value(b, ob, &q);
	if (!q.nul_key && !q.big)
		FUZZ_CHECK(equal == ref_equal(oa, ob), "%.*s, %.*s", FUZZ_SPAN(a), FUZZ_SPAN(b));
	json_object_put(ob);
}

/* --- the reader --- */

static void read_value(struct json_reader *r, struct buf *out, uint32_t *random);

static void
read_container(struct json_reader *r, bool object, struct buf *out, uint32_t *random)
{
	struct span key = { NULL, 0 };
	bool first = true;

	buf_add_byte(out, object ? '{' : '[');
	while (object ? json_member(r, &key) : json_element(r)) {
		if (!first)
			buf_add_byte(out, ',');
		first = false;
		buf_add_span(out, key);
		if (object)
			buf_add_byte(out, ':');
		read_value(r, out, random);
	}
	buf_add_byte(out, object ? '}' : ']');
}

/* Read the next value, now as a whole and now piece by piece. */
static void
read_value(struct json_reader *r, struct buf *out, uint32_t *random)
{
	struct span v;

	if (fuzz_next(random) % 4 > 0) {
		if (json_enter(r, '{')) {
			read_container(r, true, out, random);
			return;
		}
		if (json_enter(r, '[')) {
			read_container(r, false, out, random);
			return;
		}
	}
	FUZZ_CHECK(json_value(r, &v) == (v.len > 0), "%.*s", FUZZ_SPAN(v));
	json_compact(v, out);
}

/* The reader and the scanner say the same of a text. */
static void
check_reader(struct span text, uint32_t random)
{
	struct buf got = { 0 }, want = { 0 };
	struct json_reader r;
	struct span value;
	struct err scanned = { 0 }, read = { 0 };
	enum rc rc = json_scan(text, JSON_MAX_DEPTH, &value, NULL, &scanned);

	json_reader_init(&r, text, JSON_MAX_DEPTH);
	read_value(&r, &got, &random);
	FUZZ_CHECK(json_reader_outcome(&r, &read) == rc && strcmp(read.text, scanned.text) == 0,
	           "%s, not %s: %.*s", read.text, scanned.text, FUZZ_SPAN(text));
	json_compact(value, &want);
	FUZZ_CHECK(rc != RC_OK || span_eq(buf_span(&got), buf_span(&want)), "%.*s, not %.*s",
	           FUZZ_SPAN(buf_span(&got)), FUZZ_SPAN(value));
	buf_free(&got);
	buf_free(&want);
}

/* --- a text --- */

static void
check_accepted(struct span v, struct span rest, uint32_t random)
{
	struct quirks q = { 0 };
	struct buf turned = { 0 };
	struct json_object *o;
	struct span again, second;
	int depth = ref_depth(v);
	bool ok;

	FUZZ_CHECK(ref_is_utf8(v) && memchr(v.p, '\0', v.len) == NULL, "%.*s", FUZZ_SPAN(v));
	FUZZ_CHECK(json_scan(v, depth, &again, NULL, NULL) == RC_OK && again.p == v.p &&
	           again.len == v.len, "%.*s", FUZZ_SPAN(v));
	FUZZ_CHECK(depth == 0 || json_scan(v, depth - 1, &again, NULL, NULL) == RC_INVALID,
	           "%.*s", FUZZ_SPAN(v));
	FUZZ_CHECK(sqlite_accepts(v), "SQLite refuses %.*s", FUZZ_SPAN(v));
	o = jsonc_parse(v, &ok);
	FUZZ_CHECK(ok, "json-c refuses %.*s", FUZZ_SPAN(v));
	check_value(v, o, &q);
	check_sqlite(v);
	check_spellings(v, o, random);
	turn_round(v, &turned, &random);
	check_equality(v, o, q, scan_whole(&turned));
	if (json_scan(rest, JSON_MAX_DEPTH, &second, NULL, NULL) == RC_OK)
		check_equality(v, o, q, second);
	buf_free(&turned);
	json_object_put(o);
}

/* Whether SQLite may take what we refuse: a key that ends with a bracket. */
static bool
sqlite_is_liberal(struct span text)
{
	char last = '\0';

	if (!ref_is_utf8(text) || memchr(text.p, '\0', text.len) != NULL ||
	    ref_depth(text) > JSON_MAX_DEPTH)
		return true;
	for (size_t i = 0; i < text.len; i++) {
		if (text.p[i] == ':' && (last == ']' || last == '}'))
			return true;
		if (strchr(" \n\r\t", text.p[i]) == NULL)
			last = text.p[i];
	}
	return false;
}

/* Whether json-c may take what we refuse. */
static bool
jsonc_is_liberal(struct span text)
{
	if (!ref_is_utf8(text))
		return true;
	for (size_t i = 0; i < text.len; i++) {
		unsigned char c = (unsigned char)text.p[i];
		unsigned char next = i + 1 < text.len ? (unsigned char)text.p[i + 1] : 0;

		if (c < 0x20 || c == '\'' || c == 'N' || c == 'I' ||
		    (c == '.' && !(next >= '0' && next <= '9')) || (c == '-' && next == '.') ||
		    (c == '0' && next >= '0' && next <= '9'))
			return true;
	}
	return false;
}

static void
check_refused(struct span text)
{
	bool ok;

	FUZZ_CHECK(sqlite_is_liberal(text) || !sqlite_accepts(text), "SQLite accepts %.*s",
	           FUZZ_SPAN(text));
	if (jsonc_is_liberal(text))
		return;
	json_object_put(jsonc_parse(text, &ok));
	FUZZ_CHECK(!ok, "json-c accepts %.*s", FUZZ_SPAN(text));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span text = fuzz_copy(data, size), value, rest;
	struct err err;
	enum rc rc;

	if (db == NULL) {
		open_sqlite();
		atexit(close_sqlite);
	}
	rc = json_scan(text, JSON_MAX_DEPTH, &value, &rest, &err);
	if (rc == RC_OK) {
		FUZZ_CHECK(rest.p == value.p + value.len && rest.p + rest.len == text.p + text.len,
		           "a gap");
		check_accepted(value, rest, fuzz_seed(data, size));
	} else {
		FUZZ_CHECK(rc == RC_INVALID && err.text[0] != '\0' && value.len == 0, "%d", rc);
		check_refused(text);
	}
	check_reader(text, fuzz_seed(data, size));
	free((char *)(uintptr_t)text.p);
	return 0;
}
