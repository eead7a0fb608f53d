/* Tests of the span scanner (src/base/json.c). */
#include "base/json.h"

#include "base_test.h"

#define json_type json_c_type /* a name in both; see base/json.h */
#include <json-c/json.h>
#undef json_type
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * Scan a copy that ends where its memory ends, so that a sanitizer (or
 * valgrind) sees any look beyond. *value borrows from *copy: free() it.
 */
static enum rc
scan_copy(struct span text, int depth, char **copy, struct span *value,
          struct span *rest, struct err *err)
{
	*copy = malloc(text.len > 0 ? text.len : 1);
	ck_assert_ptr_nonnull(*copy);
	if (text.len > 0)
		memcpy(*copy, text.p, text.len);
	return json_scan((struct span){ *copy, text.len }, depth, value, rest, err);
}

/* Whether the whole text is one JSON value. */
static bool
is_json(struct span text, int depth)
{
	struct span value, rest;
	struct err err;
	char *copy;
	bool ok = scan_copy(text, depth, &copy, &value, &rest, &err) == RC_OK;

	for (size_t i = 0; ok && i < rest.len; i++)
		ok = strchr(" \t\r\n", rest.p[i]) != NULL && rest.p[i] != '\0';
	free(copy);
	return ok;
}

static struct span
value_of(const char *text)
{
	struct span value, rest;
	struct err err = { "" };

	ck_assert_msg(json_scan(span_of(text), JSON_MAX_DEPTH, &value, &rest, &err) == RC_OK,
	              "%s: %s", text, err.text);
	ck_assert_msg(rest.len == 0, "%s: more than a value", text);
	return value;
}

/* For "%.*s": Check dies of long messages. */
#define SHOW(s) (int)((s).len < 1000 ? (s).len : 1000), (s).p

#define ck_span(got, want) do { \
	struct span got_ = (got); \
	ck_assert_msg(span_is(got_, (want)), "got %.*s, want %s", \
	              SHOW(got_), (want)); \
} while (0)

/* --- json_scan --- */

static const struct span good[] = {
	/* scalars */
	LIT("null"), LIT("true"), LIT("false"), LIT("\"\""), LIT("\"a\""),
	LIT("0"), LIT("-0"), LIT("1"), LIT("-1"), LIT("10"), LIT("1234567890"),
	LIT("0.0"), LIT("-0.0"), LIT("1.5"), LIT("0.1e1"), LIT("1e5"), LIT("1E5"),
	LIT("1e+5"), LIT("1e-5"), LIT("1E+05"), LIT("0e0"), LIT("0e+00"),
	LIT("1e999999"), LIT("-1e-999999"),
	LIT("123456789012345678901234567890123456789012345678901234567890"),
	LIT("0.123456789012345678901234567890123456789012345678901234567890"),
	/* white space, all four kinds, everywhere it may be */
	LIT(" \t\r\n0 \t\r\n"), LIT("[ \t\r\n]"), LIT("{ \t\r\n}"),
	LIT(" { \"a\" \n : \t [ 1 , 2 \r ] , \"b\" : { } } "),
	/* containers */
	LIT("[]"), LIT("{}"), LIT("[1]"), LIT("[1,2,3]"), LIT("[[],[[]],{}]"),
	LIT("{\"a\":1}"), LIT("{\"a\":{\"b\":[{}]}}"), LIT("[null,true,false,\"\",0,{},[]]"),
	LIT("{\"\":0}"), LIT("{\"a\":1,\"a\":2}"), LIT("{\"a\":1,\"\\u0061\":2}"),
	/* strings: each escape, each length of UTF-8 with its limits */
	LIT("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\""), LIT("\"\\u0041\\uABCD\\uabcd\""),
	LIT("\"\\u0000\""), LIT("\"\\\\u12\""), LIT("\"\\\\\\\\\""), LIT("\"\\\\\\\"\""),
	LIT("\"\x7f\""), LIT("\"\xc2\x80\""), LIT("\"\xdf\xbf\""), LIT("\"\xe0\xa0\x80\""),
	LIT("\"\xec\x80\x80\""), LIT("\"\xed\x9f\xbf\""), LIT("\"\xee\x80\x80\""),
	LIT("\"\xef\xbf\xbf\""), LIT("\"\xf0\x90\x80\x80\""), LIT("\"\xf4\x8f\xbf\xbf\""),
	LIT("\"\xe2\x80\xa8\xe2\x80\xa9\""),
	/* surrogates: a pair, and alone (accepted on purpose) */
	LIT("\"\\ud83d\\ude00\""), LIT("\"\\ud800\""), LIT("\"\\udc00\""),
	LIT("\"\\udc00\\ud800\""), LIT("\"\\ud800\\ud800\\udc00\""), LIT("\"\\ud800x\""),
	/* each kind of byte at each place of the eight that are looked at at once */
	LIT("\"12345678\""), LIT("\"1234567\\n\""), LIT("\"\\n1234567\""),
	LIT("\"1234\xc3\xa4""67\xc3\xa4""12345678\""), LIT("\" !#$%&'()*+,-./[]^_`{|}~\""),
};

START_TEST(valid_texts_are_accepted)
{
	ck_assert_msg(is_json(good[_i], JSON_MAX_DEPTH), "%.*s",
	              SHOW(good[_i]));
}
END_TEST

/* Where the mistake is told, and some of the words it is told in. */
static const struct {
	struct span text;
	size_t at;
	const char *why;
} bad[] = {
	/* nothing, or not a value */
	{ LIT(" "), 1, "too early" }, { LIT("\xef\xbb\xbf{}"), 0, "value" },
	{ LIT("\0"), 0, "value" }, { LIT("x"), 0, "value" }, { LIT("}"), 0, "value" },
	{ LIT("]"), 0, "value" }, { LIT(","), 0, "value" }, { LIT(":"), 0, "value" },
	{ LIT("'a'"), 0, "value" }, { LIT("\x0b""1"), 0, "value" },
	{ LIT("\x0c""1"), 0, "value" }, { LIT("\xc2\xa0""1"), 0, "value" },
	{ LIT("/**/1"), 0, "value" }, { LIT("//\n1"), 0, "value" }, { LIT("#\n1"), 0, "value" },
	{ LIT("undefined"), 0, "value" }, { LIT("NaN"), 0, "value" },
	{ LIT("Infinity"), 0, "value" }, { LIT("\xff"), 0, "value" },
	/* words */
	{ LIT("nul"), 3, "too early" }, { LIT("nulL"), 3, "misspelt" },
	{ LIT("True"), 0, "value" }, { LIT("TRUE"), 0, "value" }, { LIT("tru3"), 3, "misspelt" },
	{ LIT("fals"), 4, "too early" }, { LIT("falsy"), 4, "misspelt" }, { LIT("Null"), 0, "value" },
	/* numbers */
	{ LIT("-"), 1, "too early" }, { LIT("-a"), 1, "digit" }, { LIT("--1"), 1, "digit" },
	{ LIT("+1"), 0, "value" }, { LIT(".5"), 0, "value" }, { LIT("-.5"), 1, "digit" },
	{ LIT("1."), 2, "too early" }, { LIT("[1.]"), 3, "digit" }, { LIT("1.e5"), 2, "digit" },
	{ LIT("1e"), 2, "too early" }, { LIT("1e+"), 3, "too early" }, { LIT("[1e+]"), 4, "digit" },
	{ LIT("1ee5"), 2, "digit" }, { LIT("1e5.5"), 3, NULL }, { LIT("01"), 1, NULL },
	{ LIT("-01"), 2, NULL }, { LIT("[01]"), 2, "comma" }, { LIT("[00]"), 2, "comma" },
	{ LIT("[0x1]"), 2, "comma" }, { LIT("[1 2]"), 3, "comma" }, { LIT("[1a]"), 2, "comma" },
	{ LIT("[-Infinity]"), 2, "digit" }, { LIT("[1_0]"), 2, "comma" },
	{ LIT("[\xd9\xa1]"), 1, "value" }, { LIT("[1\0]"), 2, "comma" },
	/* strings */
	{ LIT("\""), 1, "too early" }, { LIT("\"abc"), 4, "too early" },
	{ LIT("\"\\\""), 3, "too early" }, { LIT("\"\\"), 2, "too early" },
	{ LIT("\"\\x41\""), 2, "bad escape" }, { LIT("\"\\a\""), 2, "bad escape" },
	{ LIT("\"\\'\""), 2, "bad escape" }, { LIT("\"\\\0\""), 2, "bad escape" },
	{ LIT("\"\\\n\""), 2, "bad escape" }, { LIT("\"\\U0041\""), 2, "bad escape" },
	{ LIT("\"\\\xc3\xa4\""), 2, "bad escape" },
	{ LIT("\"\\u\""), 3, "\\u" }, { LIT("\"\\u004\""), 6, "\\u" },
	{ LIT("\"\\u00G0\""), 5, "\\u" }, { LIT("\"\\u-041\""), 3, "\\u" },
	{ LIT("\"\\u 041\""), 3, "\\u" }, { LIT("\"\\u004"), 6, "too early" },
	{ LIT("\"\0\""), 1, "control" }, { LIT("\"\n\""), 1, "control" },
	{ LIT("\"\t\""), 1, "control" }, { LIT("\"\x1f\""), 1, "control" },
	{ LIT("\"12345678\x1f\""), 9, "control" }, { LIT("\"1234567\x01""12345678\""), 8, "control" },
	/* UTF-8: stray, cut, overlong, surrogates, beyond, never used */
	{ LIT("\"\x80\""), 1, "UTF-8" }, { LIT("\"\xbf\""), 1, "UTF-8" },
	{ LIT("\"\xc3\""), 1, "UTF-8" }, { LIT("\"\xc3"), 1, "UTF-8" },
	{ LIT("\"\xe2\x82\""), 1, "UTF-8" }, { LIT("\"\xe2\x82"), 1, "UTF-8" },
	{ LIT("\"\xf0\x9f\x98\""), 1, "UTF-8" }, { LIT("\"\xf0\x9f\x98"), 1, "UTF-8" },
	{ LIT("\"\xe2\x28\xa1\""), 1, "UTF-8" }, { LIT("\"\xf0\x9f\x28\x80\""), 1, "UTF-8" },
	{ LIT("\"\xc0\x80\""), 1, "UTF-8" }, { LIT("\"\xc1\xbf\""), 1, "UTF-8" },
	{ LIT("\"\xc0\xaf\""), 1, "UTF-8" }, { LIT("\"\xe0\x9f\xbf\""), 1, "UTF-8" },
	{ LIT("\"\xf0\x8f\xbf\xbf\""), 1, "UTF-8" }, { LIT("\"\xed\xa0\x80\""), 1, "UTF-8" },
	{ LIT("\"\xed\xbf\xbf\""), 1, "UTF-8" }, { LIT("\"\xf4\x90\x80\x80\""), 1, "UTF-8" },
	{ LIT("\"\xf5\x80\x80\x80\""), 1, "UTF-8" }, { LIT("\"\xfe\""), 1, "UTF-8" },
	{ LIT("\"\xff\""), 1, "UTF-8" }, { LIT("\"12345678\xff\""), 9, "UTF-8" },
	{ LIT("\"\xc3\xa4\xa4\""), 3, "UTF-8" },
	/* arrays */
	{ LIT("["), 1, "too early" }, { LIT("[1"), 2, "too early" }, { LIT("[1,"), 3, "too early" },
	{ LIT("[,]"), 1, "value" }, { LIT("[1,]"), 3, "value" }, { LIT("[,1]"), 1, "value" },
	{ LIT("[1,,2]"), 3, "value" }, { LIT("[1}"), 2, "comma" }, { LIT("[1:2]"), 2, "comma" },
	{ LIT("[\"a\":1]"), 4, "comma" }, { LIT("[\"a\" \"b\"]"), 5, "comma" },
	{ LIT("[[]"), 3, "too early" }, { LIT("[1;2]"), 2, "comma" },
	/* objects */
	{ LIT("{"), 1, "too early" }, { LIT("{\"a\""), 4, "too early" },
	{ LIT("{\"a\":"), 5, "too early" }, { LIT("{\"a\":1"), 6, "too early" },
	{ LIT("{\"a\":1,"), 7, "too early" }, { LIT("{,}"), 1, "key" },
	{ LIT("{\"a\":1,}"), 7, "key" }, { LIT("{\"a\":1,,\"b\":2}"), 7, "key" },
	{ LIT("{\"a\"}"), 4, "colon" }, { LIT("{\"a\",1}"), 4, "colon" },
	{ LIT("{\"a\" 1}"), 5, "colon" }, { LIT("{\"a\"::1}"), 5, "value" },
	{ LIT("{\"a\":}"), 5, "value" }, { LIT("{:1}"), 1, "key" }, { LIT("{a:1}"), 1, "key" },
	{ LIT("{'a':1}"), 1, "key" }, { LIT("{1:1}"), 1, "key" }, { LIT("{null:1}"), 1, "key" },
	{ LIT("{[]:1}"), 1, "key" }, { LIT("{\"a\":1]"), 6, "comma" },
	{ LIT("{\"a\":1 \"b\":2}"), 7, "comma" }, { LIT("{\"a\":1;\"b\":2}"), 6, "comma" },
	{ LIT("{\"\xff\":1}"), 2, "UTF-8" }, { LIT("{\"a\":'b'}"), 5, "value" },
	{ LIT("{\"a\":1//\n}"), 6, "comma" }, { LIT("{\"a\":\0}"), 5, "value" },
};

START_TEST(invalid_texts_are_refused_with_place_and_cause)
{
	struct span value = { "x", 1 }, rest = { "x", 1 };
	struct err err = { "" };
	char *copy, place[40];
	enum rc rc;

	rc = scan_copy(bad[_i].text, JSON_MAX_DEPTH, &copy, &value, &rest, &err);
	if (bad[_i].why == NULL) { /* a value, and then something that is none */
		ck_assert_int_eq(rc, RC_OK);
		ck_assert_uint_eq(value.len, bad[_i].at);
		ck_assert_uint_eq(rest.len, bad[_i].text.len - bad[_i].at);
		ck_assert(!is_json(bad[_i].text, JSON_MAX_DEPTH));
	} else {
		ck_assert_msg(rc == RC_INVALID, "%.*s", SHOW(bad[_i].text));
		ck_assert_uint_eq(value.len, 0);
		ck_assert_uint_eq(rest.len, 0);
		snprintf(place, sizeof(place), ", at byte %zu", bad[_i].at);
		ck_assert_msg(strstr(err.text, bad[_i].why) != NULL &&
		              strstr(err.text, place) != NULL &&
		              strstr(err.text, place)[strlen(place)] == '\0',
		              "%.*s: %s; wanted %s%s", SHOW(bad[_i].text), err.text, bad[_i].why, place);
	}
	free(copy);
}
END_TEST

/* Strings are looked at eight bytes at a time: each place must see each byte. */
START_TEST(every_byte_is_judged_wherever_it_stands)
{
	char text[26];

	for (size_t at = 1; at <= 24; at++)
		for (int c = 0; c < 256; c++) {
			bool want = c >= 0x20 && c < 0x80 && c != '\\';

			memset(text, 'a', sizeof(text));
			text[0] = text[25] = '"';
			text[at] = (char)c;
			if (c == '"') /* it ends here, and the rest is too much */
				want = false;
			if (c == '\\' && at < 24)
				text[at + 1] = 'n', want = true;
			if (is_json((struct span){ text, sizeof(text) }, 0) != want)
				ck_abort_msg("byte %02x at %zu", c, at);
		}
}
END_TEST

START_TEST(no_text_is_refused)
{
	struct span value, none = { NULL, 0 };

	ck_assert_int_eq(json_scan(none, 64, &value, NULL, NULL), RC_INVALID);
	ck_assert_int_eq(json_scan(LIT(""), 64, &value, NULL, NULL), RC_INVALID);
}
END_TEST

START_TEST(every_start_of_a_text_is_refused)
{
	static const struct span text = LIT("{\"a\\u00e4\xf0\x9f\x98\x80\":[-1.5e+7,"
	    "true,false,null,{\"b\":\"\\ud83d\\ude00\\n\"}, {} ,[] ],\"c\":\"\"}");

	ck_assert(is_json(text, 64));
	for (size_t n = 0; n < text.len; n++)
		ck_assert_msg(!is_json((struct span){ text.p, n }, 64), "%zu bytes", n);
}
END_TEST

START_TEST(the_first_value_ends_where_the_rest_starts)
{
	static const struct { const char *text, *value, *rest; } t[] = {
		{ "  {\"a\":1}  [2]", "{\"a\":1}", "  [2]" },
		{ "[]]", "[]", "]" },
		{ "{}{}", "{}", "{}" },
		{ "12 34", "12", " 34" },
		{ "-1.5e3,", "-1.5e3", "," },
		{ "012", "0", "12" },
		{ "truefalse", "true", "false" },
		{ "\"a\"\"b\"", "\"a\"", "\"b\"" },
		{ "null\n", "null", "\n" },
	};
	struct span value, rest;

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		ck_assert_int_eq(json_scan(span_of(t[i].text), 64, &value, &rest, NULL), RC_OK);
		ck_span(value, t[i].value);
		ck_span(rest, t[i].rest);
	}
}
END_TEST

/* n brackets of a kind: 'a' arrays, 'o' objects, 'm' by turns. */
static void
nest(struct buf *b, char kind, int n)
{
	buf_reset(b);
	for (int i = 0; i < n; i++)
		buf_add_str(b, kind == 'a' || (kind == 'm' && i % 2) ? "[" : "{\"a\":");
	buf_add_str(b, "0");
	for (int i = n - 1; i >= 0; i--)
		buf_add_str(b, kind == 'a' || (kind == 'm' && i % 2) ? "]" : "}");
}

START_TEST(nesting_is_bounded_on_both_sides)
{
	static const char kinds[] = "aom";
	struct buf b = { 0 };
	struct span value;
	struct err err;

	for (const char *k = kinds; *k != '\0'; k++)
		for (int depth = 0; depth <= JSON_MAX_DEPTH; depth++) {
			nest(&b, *k, depth);
			ck_assert_msg(is_json(buf_span(&b), depth), "%c %d", *k, depth);
			nest(&b, *k, depth + 1);
			ck_assert_msg(!is_json(buf_span(&b), depth), "%c %d", *k, depth);
			ck_assert_int_eq(json_scan(buf_span(&b), depth, &value, NULL, &err), RC_INVALID);
			ck_assert_ptr_nonnull(strstr(err.text, "nested too deeply"));
		}
	/* Siblings don't add up, and a million brackets harm nobody. */
	ck_assert(is_json(LIT("[[],[],[[]],{\"a\":[]}]"), 3));
	nest(&b, 'm', 1000000);
	ck_assert(!is_json(buf_span(&b), JSON_MAX_DEPTH));
	buf_free(&b);
}
END_TEST

/* --- walking --- */

START_TEST(types_are_told_by_the_first_byte)
{
	static const struct { const char *text; enum json_type type; } t[] = {
		{ "null", JSON_NULL }, { "true", JSON_TRUE }, { "false", JSON_FALSE },
		{ "0", JSON_NUMBER }, { "-1", JSON_NUMBER }, { "9", JSON_NUMBER },
		{ "\"\"", JSON_STRING }, { "[]", JSON_ARRAY }, { "{}", JSON_OBJECT },
	};

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++)
		ck_assert_int_eq(json_type(value_of(t[i].text)), t[i].type);
	ck_assert_int_eq(json_type((struct span){ NULL, 0 }), JSON_NULL);
}
END_TEST

START_TEST(members_come_in_order_with_their_exact_spans)
{
	static const char *const keys[] = { "\"a\"", "\"b,}\"", "\"\\\"\"", "\"\\\\\"",
	                                    "\"\"", "\"a\"", "\"x\"" };
	static const char *const values[] = { "1", "[ 1 , \"]\" ]", "\"a\\\\\\\"b\"",
	                                      "{\"c\":{\"d\":[\"}\"]}}", "-1.5e+7",
	                                      "null", "true" };
	struct span v = value_of("{ \"a\" : 1 , \"b,}\":[ 1 , \"]\" ],\"\\\"\":\"a\\\\\\\"b\","
	    "\"\\\\\":{\"c\":{\"d\":[\"}\"]}}, \"\"\t:-1.5e+7\n,\"a\":null,\"x\":true\r\n}");
	struct json_iter it;
	struct span key, value;
	size_t n = 0;

	json_iter_init(&it, v);
	while (json_next(&it, &key, &value)) {
		ck_assert_uint_lt(n, 7);
		ck_span(key, keys[n]);
		ck_span(value, values[n]);
		n++;
	}
	ck_assert_uint_eq(n, 7);
	ck_assert(!json_next(&it, &key, &value)); /* and stays at the end */
	ck_assert_uint_eq(value.len, 0);
}
END_TEST

START_TEST(elements_come_in_order_without_keys)
{
	static const char *const values[] = { "\"a\"", "1", "[2,3]", "{\"a\":[4]}", "\":\"" };
	struct json_iter it;
	struct span key, value;
	size_t n = 0;

	json_iter_init(&it, value_of("[\"a\" , 1,[2,3], {\"a\":[4]} ,\":\" ]"));
	while (json_next(&it, &key, &value)) {
		ck_assert_uint_lt(n, 5);
		ck_assert_uint_eq(key.len, 0);
		ck_span(value, values[n]);
		n++;
	}
	ck_assert_uint_eq(n, 5);
}
END_TEST

START_TEST(other_values_have_no_members)
{
	static const char *const t[] = { "[]", "{}", "[ ]", "{\n}", "0", "\"[1]\"", "null" };
	struct json_iter it;
	struct span key, value;

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		json_iter_init(&it, value_of(t[i]));
		ck_assert(!json_next(&it, &key, &value));
	}
	json_iter_init(&it, (struct span){ NULL, 0 });
	ck_assert(!json_next(&it, &key, &value));
}
END_TEST

START_TEST(the_last_of_equal_keys_is_found)
{
	struct span v = value_of("{\"a\":1,\"b\":2,\"\\u0061\":3,\"A\":4,\"a\\u0000\":5,\"\":6,"
	                         "\"n\":{\"c\":7},\"\\u00e4\":8}");
	struct span got;

	ck_assert(json_get(v, "a", &got));
	ck_span(got, "3");
	ck_assert(json_get(v, "b", &got));
	ck_span(got, "2");
	ck_assert(json_get(v, "A", &got));
	ck_span(got, "4");
	ck_assert(json_get(v, "", &got));
	ck_span(got, "6");
	ck_assert(json_get(v, "\xc3\xa4", &got));
	ck_span(got, "8");
	got = LIT("x");
	ck_assert(!json_get(v, "c", &got)); /* only in a member's value */
	ck_assert_uint_eq(got.len, 0);
	ck_assert(!json_get(value_of("[\"a\"]"), "a", &got));
	ck_assert(!json_get(value_of("\"a\""), "a", &got));
	ck_assert(!json_get((struct span){ NULL, 0 }, "a", &got));
}
END_TEST

START_TEST(several_members_are_found_in_one_pass)
{
	static const char *const keys[] = { "a", "b", "c" };
	struct span got[3] = { LIT("x"), LIT("x"), LIT("x") };

	ck_assert_int_eq(json_pick(value_of("{\"c\":3,\"x\":{\"a\":0},\"\\u0061\":null}"),
	                           keys, 3, got), -1);
	ck_span(got[0], "null");
	ck_assert_ptr_null(got[1].p);
	ck_span(got[2], "3");
	/* twice: the last one counts, and it is told */
	ck_assert_int_eq(json_pick(value_of("{\"a\":1,\"b\":2,\"\\u0062\":3,\"x\":1,\"x\":2}"),
	                           keys, 3, got), 1);
	ck_span(got[0], "1");
	ck_span(got[1], "3");
	ck_assert_int_eq(json_pick(value_of("[\"a\",1]"), keys, 3, got), -1);
	ck_assert_ptr_null(got[0].p);
}
END_TEST

/* --- strings --- */

static const struct {
	const char *text;
	struct span decoded;
	bool odd;
	const char *canonical;
} strings[] = {
	{ "\"\"", LIT(""), false, "\"\"" },
	{ "\"abc\"", LIT("abc"), false, "\"abc\"" },
	{ "\"\\u0061\\u0062c\"", LIT("abc"), false, "\"abc\"" },
	{ "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", LIT("\"\\/\b\f\n\r\t"), false,
	  "\"\\\"\\\\/\\b\\f\\n\\r\\t\"" },
	{ "\"\\u0008\\u000C\\u000a\\u000D\\u0009\\u0022\\u005C\\u002f\"",
	  LIT("\b\f\n\r\t\"\\/"), false, "\"\\b\\f\\n\\r\\t\\\"\\\\/\"" },
	{ "\"\\u0001\\u001F\"", LIT("\x01\x1f"), false, "\"\\u0001\\u001f\"" },
	{ "\"\\u007f\"", LIT("\x7f"), false, "\"\x7f\"" },
	{ "\"\\u00E4\\u20ac\"", LIT("\xc3\xa4\xe2\x82\xac"), false, "\"\xc3\xa4\xe2\x82\xac\"" },
	{ "\"\\u0080\\u07ff\\u0800\\uffff\"", LIT("\xc2\x80\xdf\xbf\xe0\xa0\x80\xef\xbf\xbf"),
	  false, "\"\xc2\x80\xdf\xbf\xe0\xa0\x80\xef\xbf\xbf\"" },
	{ "\"\\uD83D\\uDE00\"", LIT("\xf0\x9f\x98\x80"), false, "\"\xf0\x9f\x98\x80\"" },
	{ "\"\\ud800\\udc00\\udbff\\udfff\"", LIT("\xf0\x90\x80\x80\xf4\x8f\xbf\xbf"), false,
	  "\"\xf0\x90\x80\x80\xf4\x8f\xbf\xbf\"" },
	{ "\"\\u003c\\u003E\\u0026\\u2028\"", LIT("<>&\xe2\x80\xa8"), false, "\"<>&\xe2\x80\xa8\"" },
	/* odd ones */
	{ "\"a\\u0000b\"", LIT("a\0b"), true, "\"a\\u0000b\"" },
	{ "\"\\uD800\"", LIT("\xef\xbf\xbd"), true, "\"\\ud800\"" },
	{ "\"\\uDFFF!\"", LIT("\xef\xbf\xbd!"), true, "\"\\udfff!\"" },
	{ "\"\\udc00\\ud800\"", LIT("\xef\xbf\xbd\xef\xbf\xbd"), true, "\"\\udc00\\ud800\"" },
	{ "\"\\ud800\\ud83d\\ude00\"", LIT("\xef\xbf\xbd\xf0\x9f\x98\x80"), true,
	  "\"\\ud800\xf0\x9f\x98\x80\"" },
	{ "\"\\ud800\\u0041\"", LIT("\xef\xbf\xbd""A"), true, "\"\\ud800A\"" },
	{ "\"\\ud800\\n\"", LIT("\xef\xbf\xbd\n"), true, "\"\\ud800\\n\"" },
	/* not odd: the backslash is escaped */
	{ "\"\\\\u0000\\\\ud800\"", LIT("\\u0000\\ud800"), false, "\"\\\\u0000\\\\ud800\"" },
};

START_TEST(strings_are_decoded_and_spelt_in_one_way)
{
	struct span v = value_of(strings[_i].text), got;
	struct buf b = { 0 };
	char object[128];

	buf_add_str(&b, "<"); /* appended to what is there */
	ck_assert(json_string(v, &b));
	got = buf_span(&b);
	ck_assert_uint_eq(got.len, strings[_i].decoded.len + 1);
	ck_assert_mem_eq(got.p + 1, strings[_i].decoded.p, strings[_i].decoded.len);
	ck_assert_int_eq(json_string_odd(v), strings[_i].odd);
	buf_reset(&b);
	json_canonical(v, &b);
	ck_span(buf_span(&b), strings[_i].canonical);
	/* a key is decoded likewise; \u0000 is no end of it */
	if (memchr(strings[_i].decoded.p, '\0', strings[_i].decoded.len) == NULL) {
		ck_assert(json_string_is(v, strings[_i].decoded.p));
		snprintf(object, sizeof(object), "{%s:1}", strings[_i].text);
		ck_assert(json_get(value_of(object), strings[_i].decoded.p, &got));
	} else
		ck_assert(!json_string_is(v, strings[_i].decoded.p));
	buf_free(&b);
}
END_TEST

START_TEST(a_string_is_only_what_it_decodes_to)
{
	struct buf b = { 0 };

	ck_assert(!json_string_is(value_of("\"abc\""), "ab"));
	ck_assert(!json_string_is(value_of("\"abc\""), "abcd"));
	ck_assert(!json_string_is(value_of("\"abc\""), "abd"));
	ck_assert(!json_string_is(value_of("\"a\\u0000\""), "a"));
	ck_assert(!json_string_is(value_of("\"\\u0061\""), "\\u0061"));
	ck_assert(!json_string_is(value_of("1"), "1"));
	ck_assert(!json_string_is((struct span){ NULL, 0 }, ""));
	ck_assert(!json_string(value_of("1"), &b));
	ck_assert(!json_string(value_of("null"), &b));
	ck_assert(!json_string_odd(value_of("[\"\\u0000\"]")));
	ck_assert_uint_eq(b.len, 0);
}
END_TEST

/* --- numbers --- */

START_TEST(integers_fit_or_are_refused)
{
	static const struct { const char *text; bool ok; int64_t n; } t[] = {
		{ "0", true, 0 }, { "-0", true, 0 }, { "7", true, 7 }, { "-7", true, -7 },
		{ "9223372036854775807", true, INT64_MAX },
		{ "9223372036854775806", true, INT64_MAX - 1 },
		{ "-9223372036854775808", true, INT64_MIN },
		{ "-9223372036854775807", true, INT64_MIN + 1 },
		{ "9223372036854775808", false, 0 }, { "-9223372036854775809", false, 0 },
		{ "9223372036854775810", false, 0 }, { "18446744073709551615", false, 0 },
		{ "18446744073709551616", false, 0 }, { "18446744073709551617", false, 0 },
		{ "-18446744073709551617", false, 0 }, { "92233720368547758070", false, 0 },
		{ "100000000000000000000000000000", false, 0 },
		{ "1.0", false, 0 }, { "1e2", false, 0 }, { "1E2", false, 0 }, { "0.0", false, 0 },
		{ "\"1\"", false, 0 }, { "true", false, 0 }, { "null", false, 0 }, { "[1]", false, 0 },
	};
	int64_t n;

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		n = 42;
		ck_assert_msg(json_int64(value_of(t[i].text), &n) == t[i].ok, "%s", t[i].text);
		ck_assert_int_eq(n, t[i].n);
	}
	ck_assert(!json_int64((struct span){ NULL, 0 }, &n));
}
END_TEST

START_TEST(doubles_are_the_nearest)
{
	static const char *const t[] = {
		"0", "-0", "1", "-1", "1.5", "0.1", "0.3", "1e5", "1E-5", "123.456e+7", "0e999999999999",
		"9007199254740993", "9007199254740992", "9223372036854775807",
		"2.2250738585072014e-308", "4.9e-324", "2.4703282292062327e-324",
		"2.4703282292062328e-324", "1.7976931348623157e308", "1.7976931348623158e308",
		"0.000000000000000000000000000000000000000001", "1e-400", "0.0000001e400",
		"100000000000000000000000000000000000000000000e-44",
		"9007199254740992.999999999999999999999999999999999999999", "1e23", "8.5e22",
	};
	double d;

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		ck_assert(json_double(value_of(t[i]), &d));
		ck_assert_msg(d == strtod(t[i], NULL) && signbit(d) == signbit(strtod(t[i], NULL)),
		              "%s: %.17g", t[i], d);
	}
	ck_assert(json_double(value_of("1e400"), &d) && isinf(d) && d > 0);
	ck_assert(json_double(value_of("-1e99999999999999999999"), &d) && isinf(d) && d < 0);
	ck_assert(json_double(value_of("1e-99999999999999999999"), &d) && d == 0);
	ck_assert(!json_double(value_of("\"1\""), &d));
	ck_assert(!json_double(value_of("null"), &d));
	ck_assert(!json_double((struct span){ NULL, 0 }, &d));
}
END_TEST

/* Half-way cases that only a far digit decides, and giant spellings. */
START_TEST(doubles_of_many_digits_are_the_nearest)
{
	static const int lengths[] = { 20, 760, 799, 800, 801, 900, 5000 };
	struct buf b = { 0 };
	double d;

	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		/* 2^53 + 1 lies half-way: to even, unless anything follows */
		for (int last = 0; last <= 1; last++) {
			buf_reset(&b);
			buf_add_str(&b, "9007199254740993.");
			for (int n = 0; n < lengths[i]; n++)
				buf_add_byte(&b, '0');
			buf_addf(&b, "%d", last);
			ck_assert(json_double(value_of(buf_cstr(&b)), &d));
			ck_assert_msg(d == 9007199254740992.0 + 2 * last, "%d zeros, %d: %.17g",
			              lengths[i], last, d);
		}
		/* 1 as 0.000…1e+n and as 1000…e-n */
		buf_reset(&b);
		buf_add_str(&b, "0.");
		for (int n = 0; n < lengths[i]; n++)
			buf_add_byte(&b, '0');
		buf_addf(&b, "1e%d", lengths[i] + 1);
		ck_assert(json_double(value_of(buf_cstr(&b)), &d));
		ck_assert_msg(d == 1, "%d: %.17g", lengths[i], d);
		buf_reset(&b);
		buf_add_str(&b, "-1");
		for (int n = 0; n < lengths[i]; n++)
			buf_add_byte(&b, '0');
		buf_addf(&b, ".000e-%d", lengths[i]);
		ck_assert(json_double(value_of(buf_cstr(&b)), &d));
		ck_assert_msg(d == -1, "%d: %.17g", lengths[i], d);
	}
	buf_free(&b);
}
END_TEST

/* --- equality --- */

static const struct {
	const char *a, *b;
	bool equal;
} pairs[] = {
	{ "1", "1", true }, { "1", "1.0", true }, { "1", "1e0", true }, { "100", "1E2", true },
	{ "0", "-0", true }, { "0", "0e5", true }, { "1", "2", false }, { "1", "\"1\"", false },
	{ "9007199254740993", "9007199254740992", true }, /* as doubles */
	{ "9007199254740993", "9007199254740995", false },
	{ "1e400", "1e400", true }, { "1e400", "1e401", false },
	{ "true", "true", true }, { "true", "false", false }, { "null", "false", false },
	{ "null", "0", false }, { "null", "\"\"", false }, { "null", "{}", false },
	{ "[]", "{}", false }, { "[]", "[ ]", true }, { "{}", "{ }", true },
	{ "\"a\"", "\"\\u0061\"", true }, { "\"/\"", "\"\\/\"", true },
	{ "\"a\"", "\"A\"", false }, { "\"a\"", "\"ab\"", false }, { "\"a\"", "\"a\\u0000\"", false },
	{ "\"\\ud83d\\ude00\"", "\"\xf0\x9f\x98\x80\"", true },
	{ "\"\\ud800\"", "\"\\udfff\"", true }, /* both U+FFFD in Go */
	{ "\"\\ud800\"", "\"\xef\xbf\xbd\"", true }, { "\"\\n\"", "\"n\"", false },
	{ "[1,2]", "[1, 2.0]", true }, { "[1,2]", "[2,1]", false }, { "[1]", "[1,1]", false },
	{ "[1,1]", "[1]", false }, { "[[]]", "[[[]]]", false }, { "[null]", "[]", false },
	{ "{\"a\":1,\"b\":2}", "{\"b\":2,\"a\":1}", true },
	{ "{\"a\":1,\"b\":2}", "{\"a\":2,\"b\":1}", false },
	{ "{\"a\":1}", "{\"a\":1,\"b\":null}", false }, { "{\"a\":null}", "{\"b\":null}", false },
	{ "{\"a\":1}", "{\"\\u0061\":1.0}", true }, { "{\"a\":1}", "{\"A\":1}", false },
	{ "{\"a\":{\"b\":[1,{\"c\":\"x\"}]}}", "{\"a\":{\"b\":[1,{\"c\":\"\\u0078\"}]}}", true },
	{ "{\"a\":{\"b\":[1,{\"c\":\"x\"}]}}", "{\"a\":{\"b\":[1,{\"c\":\"y\"}]}}", false },
	/* duplicates: the last one counts, the others don't */
	{ "{\"a\":1,\"a\":2}", "{\"a\":2}", true }, { "{\"a\":1,\"a\":2}", "{\"a\":1}", false },
	{ "{\"a\":1,\"a\":2}", "{\"a\":3,\"\\u0061\":2}", true },
	{ "{\"a\":1,\"b\":2,\"a\":3}", "{\"a\":3,\"b\":2}", true },
	{ "{\"a\":1,\"a\":1}", "{\"a\":1,\"b\":1}", false },
	{ "{\"a\":1,\"b\":1}", "{\"a\":1,\"a\":1}", false },
	{ "{\"a\":1,\"a\":2,\"b\":3}", "{\"b\":3,\"a\":1,\"a\":2,\"a\":2}", true },
};

/* Either way round, with memory and without. */
static void
check_equal(struct span a, struct span b, bool equal, const char *why)
{
	for (int memory = -1; memory <= 1; memory++) {
		ck_assert_msg(STARVED(memory, json_equal(a, b)) == equal, "%s: %.*s and %.*s",
		              why, SHOW(a), SHOW(b));
		ck_assert_msg(STARVED(memory, json_equal(b, a)) == equal, "%s: %.*s and %.*s",
		              why, SHOW(b), SHOW(a));
	}
}

START_TEST(values_are_equal_as_go_compares_them)
{
	struct span a = value_of(pairs[_i].a), b = value_of(pairs[_i].b);
	struct buf wide_a = { 0 }, wide_b = { 0 };

	check_equal(a, b, pairs[_i].equal, "as they are");
	check_equal(a, a, true, "itself");
	check_equal(a, (struct span){ NULL, 0 }, false, "nothing");
	/* deep among many others, in the other order */
	for (int i = 0; i < 40; i++) {
		buf_addf(&wide_a, "%s\"k%d\":%d", i == 0 ? "{" : ",", i, i);
		buf_addf(&wide_b, "%s\"k%d\":%d", i == 0 ? "{" : ",", 39 - i, 39 - i);
	}
	buf_addf(&wide_a, ",\"z\":[%s]}", pairs[_i].a);
	buf_addf(&wide_b, ",\"z\":[%s]}", pairs[_i].b);
	a = value_of(buf_cstr(&wide_a));
	b = value_of(buf_cstr(&wide_b));
	check_equal(a, b, pairs[_i].equal, "among many");
	buf_free(&wide_a);
	buf_free(&wide_b);
}
END_TEST

START_TEST(nothing_equals_only_nothing)
{
	struct span none = { NULL, 0 };

	ck_assert(json_equal(none, none));
	ck_assert(!json_equal(none, value_of("null")));
	ck_assert(!json_equal(value_of("null"), none));
}
END_TEST

/* Large objects without memory fall back to a slower way: the same answers. */
START_TEST(large_objects_with_duplicates_are_equal_either_way)
{
	struct buf a = { 0 }, b = { 0 };
	struct span va, vb;

	for (int i = 0; i < 300; i++) {
		buf_addf(&a, "%s\"k%d\":%d", i == 0 ? "{" : ",", i % 100, i);
		buf_addf(&b, "%s\"\\u006b%d\":%d", i == 0 ? "{" : ",", 99 - i % 100, 299 - i % 100);
	}
	buf_add_str(&a, "}");
	buf_add_str(&b, "}");
	va = value_of(buf_cstr(&a));
	vb = value_of(buf_cstr(&b));
	check_equal(va, vb, true, "the same");
	b.p[b.len - 2] ^= 1;
	check_equal(va, vb, false, "the last value is another one");
	b.p[b.len - 2] ^= 1;
	b.len--;
	buf_add_str(&b, ",\"more\":null}");
	check_equal(va, value_of(buf_cstr(&b)), false, "one has more");
	buf_free(&a);
	buf_free(&b);
}
END_TEST

/* --- spelling --- */

START_TEST(white_space_goes_and_everything_else_stays)
{
	static const struct { const char *text, *compact, *canonical; } t[] = {
		{ " { \"b\" : [ 1.0 , -0 , 1E+2 ] ,\n\t\"a\" : { } , \"b\" : null }\r",
		  "{\"b\":[1.0,-0,1E+2],\"a\":{},\"b\":null}",
		  "{\"b\":[1.0,-0,1E+2],\"a\":{},\"b\":null}" },
		{ "[ \"a \\u0062 \\/ \\\" \" , \" [ , ] \" ]",
		  "[\"a \\u0062 \\/ \\\" \",\" [ , ] \"]", "[\"a b / \\\" \",\" [ , ] \"]" },
		{ "{\"\\u0061\":\"\\u00e4\"}", "{\"\\u0061\":\"\\u00e4\"}", "{\"a\":\"\xc3\xa4\"}" },
		{ "18446744073709551616", "18446744073709551616", "18446744073709551616" },
		{ "[true,false , null]", "[true,false,null]", "[true,false,null]" },
	};
	struct buf b = { 0 };
	struct span v;

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		ck_assert_int_eq(json_scan(span_of(t[i].text), 64, &v, NULL, NULL), RC_OK);
		buf_reset(&b);
		json_compact(v, &b);
		ck_span(buf_span(&b), t[i].compact);
		buf_reset(&b);
		json_canonical(v, &b);
		ck_span(buf_span(&b), t[i].canonical);
	}
	buf_reset(&b);
	json_canonical((struct span){ NULL, 0 }, &b);
	ck_assert_uint_eq(b.len, 0);
	buf_free(&b);
}
END_TEST

static void
collect(void *ctx, struct span piece)
{
	buf_add_span(ctx, piece);
}

START_TEST(pieces_add_up_to_the_canonical_spelling)
{
	static const char *const texts[] = {
		"1", "[ 1 , 2 ]", "\"a\\u00e9\\/b\\n\\\"\\u000a\\ud800\\ud83d\\ude00\"",
		"{ \"k\\u0022\" : [ \"\", \"\\\\\", {} ], \"plain\" : \"\303\251\" }",
	};
	struct buf whole = { 0 }, pieces = { 0 };

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		buf_reset(&whole);
		buf_reset(&pieces);
		json_canonical(value_of(texts[i]), &whole);
		json_canonical_pieces(value_of(texts[i]), collect, &pieces);
		ck_assert(span_eq(buf_span(&whole), buf_span(&pieces)));
	}
	ck_assert_str_eq(buf_cstr(&pieces), "{\"k\\\"\":[\"\",\"\\\\\",{}],\"plain\":\"\303\251\"}");
	buf_free(&whole);
	buf_free(&pieces);
}
END_TEST

/* Read a value by going into all there is, and spell it without white space. */
static void
read_through(struct json_reader *r, struct buf *out)
{
	struct span key, value;
	const char *comma = "";

	if (json_enter(r, '{')) {
		buf_add_byte(out, '{');
		while (json_member(r, &key)) {
			buf_add_str(out, comma);
			buf_add_span(out, key);
			buf_add_byte(out, ':');
			read_through(r, out);
			comma = ",";
		}
		buf_add_byte(out, '}');
	} else if (json_enter(r, '[')) {
		buf_add_byte(out, '[');
		while (json_element(r)) {
			buf_add_str(out, comma);
			read_through(r, out);
			comma = ",";
		}
		buf_add_byte(out, ']');
	} else if (json_value(r, &value)) {
		buf_add_span(out, value);
	}
}

/* Every start of these, whole ones, and some with a byte that is wrong. */
START_TEST(a_reader_reads_and_refuses_what_a_scan_does)
{
	static const char *const texts[] = {
		"[]", "{}", "[[],{}]", " { \"a\" : [ 1 , -2.5e3 , \"x\\n\" ] , \"b\" : { \"c\" : null } } ",
		"[1,]", "{\"a\":1,}", "{\"a\" 1}", "{a:1}", "[1 2]", "[1}", "{\"a\":1]", "[,1]", "[\"\001\"]",
		"[[[[]]]]", "[[[1]],[[{}]]]", "[tru]", "[\"\\q\"]", "[01]", "3", "nul", "\"",
	};
	struct buf ours = { 0 }, theirs = { 0 };
	struct err err, want;
	struct json_reader r;
	struct span value;

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		for (size_t n = 0; n <= strlen(texts[i]); n++)
			for (int depth = 1; depth <= 4; depth++) {
				struct span text = { texts[i], n };
				enum rc rc = json_scan(text, depth, &value, NULL, &want);

				buf_reset(&ours);
				buf_reset(&theirs);
				json_reader_init(&r, text, depth);
				read_through(&r, &ours);
				ck_assert_int_eq(json_reader_outcome(&r, &err), rc);
				if (rc != RC_OK) {
					ck_assert_str_eq(err.text, want.text);
					continue;
				}
				json_compact(value, &theirs);
				ck_assert(span_eq(buf_span(&ours), buf_span(&theirs)));
			}
	buf_free(&ours);
	buf_free(&theirs);
}
END_TEST

START_TEST(no_memory_for_a_spelling_is_remembered)
{
	struct span v = value_of("{\"a\":\"\\u0061\"}");
	struct buf b = { 0 };

	allocations_left = 0;
	json_canonical(v, &b);
	allocations_left = -1;
	ck_assert(b.failed);
	buf_reset(&b);
	allocations_left = 0;
	json_compact(v, &b);
	allocations_left = -1;
	ck_assert(b.failed);
	buf_reset(&b);
	ck_assert(STARVED(0, json_string(LIT("\"abc\""), &b)));
	ck_assert(b.failed);
	buf_free(&b);
}
END_TEST

/* --- generated texts, and json-c as the second opinion --- */

/* A small generator (splitmix64); the same numbers everywhere. */
static uint64_t
next_random(uint64_t *state)
{
	uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

static unsigned
below(uint64_t *state, unsigned n)
{
	return (unsigned)(next_random(state) % n);
}

/*
 * A text is made from two seeds: `shape` says which value it is, `spell` how
 * it is written. Two texts of one shape are equal, however they look.
 */

static void
add_space(struct buf *b, uint64_t *spell)
{
	static const char kinds[] = " \t\r\n";

	while (below(spell, 4) == 0)
		buf_add_byte(b, kinds[below(spell, 4)]);
}

static void
add_escape(struct buf *b, uint32_t unit, uint64_t *spell)
{
	if (below(spell, 2) == 0)
		buf_addf(b, "\\u%04x", unit);
	else
		buf_addf(b, "\\u%04X", unit);
}

static void
add_one_char(struct buf *b, uint32_t c, uint64_t *spell)
{
	static const char codes[] = "\"\\/\b\f\n\r\t", names[] = "\"\\/bfnrt";
	const char *code = c > 0 && c < 0x80 ? strchr(codes, (int)c) : NULL;

	if (code != NULL && below(spell, 2) == 0)
		buf_addf(b, "\\%c", names[code - codes]);
	else if (c < 0x20 || c == '"' || c == '\\' || below(spell, 4) == 0) {
		if (c > 0xffff) {
			add_escape(b, 0xd800 + ((c - 0x10000) >> 10), spell);
			c = 0xdc00 + ((c - 0x10000) & 0x3ff);
		}
		add_escape(b, c, spell);
	} else if (c < 0x80)
		buf_add_byte(b, (char)c);
	else if (c < 0x800)
		buf_addf(b, "%c%c", (char)(0xc0 | c >> 6), (char)(0x80 | (c & 63)));
	else if (c < 0x10000)
		buf_addf(b, "%c%c%c", (char)(0xe0 | c >> 12), (char)(0x80 | (c >> 6 & 63)),
		         (char)(0x80 | (c & 63)));
	else
		buf_addf(b, "%c%c%c%c", (char)(0xf0 | c >> 18), (char)(0x80 | (c >> 12 & 63)),
		         (char)(0x80 | (c >> 6 & 63)), (char)(0x80 | (c & 63)));
}

/* A string that starts with a number, so that keys can be told apart. */
static void
add_text(struct buf *b, unsigned number, uint64_t shape, uint64_t *spell)
{
	static const uint32_t chars[] = { 'a', 'b', 'z', ' ', '0', '{', '}', '[', ']', ':', ',',
		'"', '\\', '/', '\b', '\f', '\n', '\r', '\t', 1, 0x1f, 0x7f, 0x80, 0xe4, 0x7ff,
		0x800, 0x20ac, 0x2028, 0xfffd, 0xffff, 0x10000, 0x1f600, 0x10ffff };
	unsigned n = below(&shape, 12);

	buf_addf(b, "\"%u", number);
	for (unsigned i = 0; i < n; i++)
		add_one_char(b, chars[below(&shape, sizeof(chars) / sizeof(chars[0]))], spell);
	buf_add_byte(b, '"');
}

static void
add_number(struct buf *b, uint64_t shape, uint64_t *spell)
{
	/* each a column of spellings of one double */
	static const char *const same[][3] = {
		{ "0", "0.0", "0e7" }, { "1", "1.0", "10e-1" }, { "-7", "-7.00", "-0.7E1" },
		{ "1.5", "15e-1", "0.15E+1" }, { "1000000", "1e6", "1E+06" },
		{ "123456789", "123456789.0", "1.23456789e8" },
		{ "-9007199254740991", "-9007199254740991.0", "-9007199254740991e0" },
		{ "0.1", "1e-1", "0.10000" },
	};

	buf_add_str(b, same[below(&shape, 8)][below(spell, 3)]);
}

static void
add_value(struct buf *b, uint64_t shape, uint64_t *spell, int depth)
{
	unsigned kind = below(&shape, depth > 4 ? 5 : 8), n, turn;
	uint64_t inner = next_random(&shape);
	bool object = kind != 5;

	switch (kind) {
	case 0: buf_add_str(b, "null"); return;
	case 1: buf_add_str(b, "true"); return;
	case 2: buf_add_str(b, "false"); return;
	case 3: add_number(b, inner, spell); return;
	case 4: add_text(b, 0, inner, spell); return;
	}
	n = below(&inner, depth == 0 ? 24 : 6);
	turn = object && n > 0 ? below(spell, n) : 0; /* members in any order */
	buf_add_byte(b, object ? '{' : '[');
	add_space(b, spell);
	for (unsigned i = 0; i < n; i++) {
		unsigned at = (i + turn) % n;
		uint64_t part = inner + at * UINT64_C(0x100000001b3);

		if (i > 0) {
			buf_add_byte(b, ',');
			add_space(b, spell);
		}
		if (object) {
			add_text(b, at, part + 1, spell);
			add_space(b, spell);
			buf_add_byte(b, ':');
			add_space(b, spell);
		}
		add_value(b, part, spell, depth + 1);
		add_space(b, spell);
	}
	buf_add_byte(b, object ? '}' : ']');
}

/* Break a text a little; often it stays valid. */
static void
mutate(struct buf *b, uint64_t *seed)
{
	static const char bytes[] = "\"\"\\\\{}[],:0123456789.eE+-untfabr/ \t\n'NI\x1f\x7f\x80\xc3\xa4\xed\xf0\xff";
	unsigned times = 1 + below(seed, 3);

	while (times-- > 0 && b->len > 0) {
		size_t at = below(seed, (unsigned)b->len), n = 1 + below(seed, 8);
		char c = bytes[below(seed, sizeof(bytes) - 1)];

		if (n > b->len - at)
			n = b->len - at;
		switch (below(seed, 5)) {
		case 0: /* another byte */
			b->p[at] = c;
			break;
		case 1: /* one more byte */
			buf_add_byte(b, c);
			memmove(b->p + at + 1, b->p + at, b->len - at - 1);
			b->p[at] = c;
			break;
		case 2: /* some fewer */
			memmove(b->p + at, b->p + at + n, b->len - at - n);
			b->len -= n;
			break;
		case 3: /* some twice */
			buf_reserve(b, n);
			memmove(b->p + at + n, b->p + at, b->len - at);
			b->len += n;
			break;
		default: /* cut short */
			if (below(seed, 4) == 0)
				b->len = at;
			break;
		}
	}
}

/* What json-c makes of a text; *ok false: it refuses it. */
static struct json_object *
second_opinion(struct buf *text, bool *ok)
{
	struct json_tokener *tok = json_tokener_new_ex(JSON_MAX_DEPTH);
	struct json_object *o;

	ck_assert_ptr_nonnull(tok);
	ck_assert_ptr_nonnull(buf_cstr(text));
	json_tokener_set_flags(tok, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
	o = json_tokener_parse_ex(tok, text->p, (int)text->len + 1);
	*ok = json_tokener_get_error(tok) == json_tokener_success &&
	    json_tokener_get_parse_end(tok) == text->len;
	json_tokener_free(tok);
	return o;
}

/*
 * Whether json-c is known to accept, wrongly, what we refuse at this place
 * for this reason (platform.md section 5; and "-01", "00").
 */
static bool
json_c_is_lax(const struct buf *text, struct span value, const struct err *err)
{
	const char *at = strstr(err->text, ", at byte ");
	size_t n;

	n = at != NULL ? strtoul(at + 10, NULL, 10) : (size_t)(value.p + value.len - text->p);
	if (n >= text->len) /* "1." and then nothing */
		return n > 0 && text->p[n - 1] == '.';
	if (n > 0 && text->p[n - 1] == '0' && strchr("0123456789", text->p[n]) != NULL &&
	    (n == 1 || strchr("0123456789.", text->p[n - 2]) == NULL))
		return true;
	if (strstr(err->text, "control character") != NULL)
		return (unsigned char)text->p[n] < 0x20;
	if (strstr(err->text, "invalid UTF-8") != NULL)
		return (unsigned char)text->p[n] >= 0x80;
	if (strstr(err->text, "digit is missing") != NULL && n > 0 && text->p[n - 1] == '.')
		return true;
	return text->p[n] == '\'' || strncmp(text->p + n, "NaN", 3) == 0 ||
	    strncmp(text->p + n, "Infinity", 8) == 0;
}

/* Ours and theirs hold the same. */
static bool
same_value(struct span v, struct json_object *o)
{
	struct buf text = { 0 };
	struct json_iter it;
	struct span key, value;
	double d;
	int64_t n;
	size_t members = 0;
	bool same = true;

	switch (json_type(v)) {
	case JSON_NULL:
		return o == NULL;
	case JSON_TRUE:
	case JSON_FALSE:
		return json_object_is_type(o, json_type_boolean) &&
		    json_object_get_boolean(o) == (json_type(v) == JSON_TRUE);
	case JSON_NUMBER:
		if (json_object_is_type(o, json_type_int) && !json_int64(v, &n))
			return true; /* too large: json-c takes the nearest that fits */
		if (json_int64(v, &n) && json_object_get_int64(o) != n)
			return false;
		return json_double(v, &d) && d == json_object_get_double(o);
	case JSON_STRING:
		same = json_string(v, &text) && json_object_is_type(o, json_type_string) &&
		    span_eq(buf_span(&text), (struct span){ json_object_get_string(o),
		            (size_t)json_object_get_string_len(o) });
		buf_free(&text);
		return same;
	case JSON_ARRAY:
		if (!json_object_is_type(o, json_type_array))
			return false;
		json_iter_init(&it, v);
		for (; json_next(&it, &key, &value); members++)
			if (members >= json_object_array_length(o) ||
			    !same_value(value, json_object_array_get_idx(o, members)))
				return false;
		return members == json_object_array_length(o);
	case JSON_OBJECT:
		break;
	}
	if (!json_object_is_type(o, json_type_object))
		return false;
	json_object_object_foreach(o, name, child) {
		members++;
		if (!json_get(v, name, &value) || !same_value(value, child))
			return false;
	}
	json_iter_init(&it, v);
	while (same && json_next(&it, &key, &value)) {
		buf_reset(&text);
		same = json_string(key, &text) &&
		    json_object_object_get_ex(o, buf_cstr(&text), NULL);
	}
	buf_free(&text);
	return same && members == (size_t)json_object_object_length(o);
}

/* Equality by json-c's tree, numbers as doubles: what json_equal() must say. */
static bool
same_tree(struct json_object *a, struct json_object *b)
{
	struct json_object *other;

	if (json_object_is_type(a, json_type_int) || json_object_is_type(a, json_type_double))
		return (json_object_is_type(b, json_type_int) ||
		        json_object_is_type(b, json_type_double)) &&
		    json_object_get_double(a) == json_object_get_double(b);
	if (json_object_get_type(a) != json_object_get_type(b))
		return false;
	switch (json_object_get_type(a)) {
	case json_type_array:
		if (json_object_array_length(a) != json_object_array_length(b))
			return false;
		for (size_t i = 0; i < json_object_array_length(a); i++)
			if (!same_tree(json_object_array_get_idx(a, i),
			               json_object_array_get_idx(b, i)))
				return false;
		return true;
	case json_type_object:
		if (json_object_object_length(a) != json_object_object_length(b))
			return false;
		json_object_object_foreach(a, name, child)
			if (!json_object_object_get_ex(b, name, &other) || !same_tree(child, other))
				return false;
		return true;
	default:
		return json_object_equal(a, b);
	}
}

/* Its spellings are valid, mean the same, and don't change any more. */
static void
check_spellings(struct span v, unsigned long long seed)
{
	struct buf once = { 0 }, twice = { 0 };
	struct span again, rest;

	for (int canonical = 0; canonical <= 1; canonical++) {
		void (*respell)(struct span, struct buf *) = canonical ? json_canonical : json_compact;

		buf_reset(&once);
		buf_reset(&twice);
		respell(v, &once);
		ck_assert_msg(json_scan(buf_span(&once), JSON_MAX_DEPTH, &again, &rest, NULL) == RC_OK &&
		              rest.len == 0, "seed %llu: %.*s", seed, SHOW(once));
		ck_assert_msg(json_equal(v, again), "seed %llu: %.*s", seed, SHOW(once));
		respell(again, &twice);
		ck_assert_msg(span_eq(buf_span(&once), buf_span(&twice)), "seed %llu: %.*s", seed,
		              SHOW(once));
	}
	buf_free(&once);
	buf_free(&twice);
}

#define ROUNDS 10000

START_TEST(generated_texts_of_one_value_are_equal)
{
	struct buf a = { 0 }, b = { 0 };
	struct span va, vb;
	bool ok;

	for (unsigned long long seed = 1; seed <= ROUNDS; seed++) {
		uint64_t spell_a = seed, spell_b = seed + 1000000;
		struct json_object *o;

		buf_reset(&a);
		buf_reset(&b);
		add_value(&a, seed, &spell_a, 0);
		add_value(&b, seed, &spell_b, 0);
		ck_assert_msg(is_json(buf_span(&a), 64), "seed %llu: %.*s", seed, SHOW(a));
		ck_assert_msg(is_json(buf_span(&b), 64), "seed %llu: %.*s", seed, SHOW(b));
		json_scan(buf_span(&a), 64, &va, NULL, NULL);
		json_scan(buf_span(&b), 64, &vb, NULL, NULL);
		ck_assert_msg(json_equal(va, vb), "seed %llu: %.*s and %.*s", seed,
		              SHOW(a), SHOW(b));
		o = second_opinion(&a, &ok);
		ck_assert_msg(ok && same_value(va, o), "seed %llu: %.*s", seed, SHOW(a));
		json_object_put(o);
		check_spellings(va, seed);
	}
	buf_free(&a);
	buf_free(&b);
}
END_TEST

START_TEST(mutated_texts_are_judged_as_json_c_judges_them)
{
	struct buf a = { 0 }, b = { 0 };
	unsigned both = 0, neither = 0, lax = 0, equal = 0, differ = 0;

	for (unsigned long long seed = 1; seed <= ROUNDS; seed++) {
		uint64_t spell = seed, dice = seed + 2000000;
		struct json_object *o, *oa;
		struct span v, va;
		struct err err = { "" };
		bool theirs, ours, ok;

		buf_reset(&a);
		buf_reset(&b);
		add_value(&a, seed, &spell, 0);
		buf_add(&b, a.p, a.len);
		mutate(&b, &dice);
		if (memchr(b.p, '\0', b.len) != NULL || strstr(buf_cstr(&b), "\\u0000") != NULL)
			continue; /* ends the text, or a key, at json-c */
		ours = is_json(buf_span(&b), JSON_MAX_DEPTH);
		json_scan(buf_span(&b), JSON_MAX_DEPTH, &v, NULL, &err);
		o = second_opinion(&b, &theirs);
		if (ours && theirs) {
			both++;
			ck_assert_msg(same_value(v, o), "seed %llu: %.*s", seed, SHOW(b));
			check_spellings(v, seed);
			oa = second_opinion(&a, &ok);
			ck_assert(ok && json_scan(buf_span(&a), 64, &va, NULL, NULL) == RC_OK);
			ok = same_tree(oa, o);
			ck_assert_msg(json_equal(va, v) == ok, "seed %llu: %d: %.*s and %.*s", seed, ok,
			              SHOW(a), SHOW(b));
			*(ok ? &equal : &differ) += 1;
			json_object_put(oa);
		} else if (!ours && theirs) {
			ck_assert_msg(json_c_is_lax(&b, v, &err), "seed %llu: json-c takes %.*s: %s",
			              seed, SHOW(b), err.text);
			lax++;
		} else {
			ck_assert_msg(!ours, "seed %llu: json-c refuses %.*s", seed, SHOW(b));
			neither++;
		}
		json_object_put(o);
	}
	/* The mill must have ground all four kinds, or it proves nothing. */
	ck_assert_msg(both > ROUNDS / 10 && neither > ROUNDS / 5 && equal > ROUNDS / 50 &&
	              differ > ROUNDS / 50, "both %u, neither %u, lax %u, equal %u, differ %u",
	              both, neither, lax, equal, differ);
	buf_free(&a);
	buf_free(&b);
}
END_TEST

Suite *
json_suite(void)
{
	Suite *s = suite_create("json");
	TCase *t = tcase_create("scan");

	tcase_add_loop_test(t, valid_texts_are_accepted, 0, sizeof(good) / sizeof(good[0]));
	tcase_add_loop_test(t, invalid_texts_are_refused_with_place_and_cause, 0,
	                    sizeof(bad) / sizeof(bad[0]));
	tcase_add_test(t, every_byte_is_judged_wherever_it_stands);
	tcase_add_test(t, no_text_is_refused);
	tcase_add_test(t, every_start_of_a_text_is_refused);
	tcase_add_test(t, the_first_value_ends_where_the_rest_starts);
	tcase_add_test(t, nesting_is_bounded_on_both_sides);
	suite_add_tcase(s, t);

	t = tcase_create("walk");
	tcase_add_test(t, types_are_told_by_the_first_byte);
	tcase_add_test(t, members_come_in_order_with_their_exact_spans);
	tcase_add_test(t, elements_come_in_order_without_keys);
	tcase_add_test(t, other_values_have_no_members);
	tcase_add_test(t, the_last_of_equal_keys_is_found);
	tcase_add_test(t, several_members_are_found_in_one_pass);
	tcase_add_loop_test(t, strings_are_decoded_and_spelt_in_one_way, 0,
	                    sizeof(strings) / sizeof(strings[0]));
	tcase_add_test(t, a_string_is_only_what_it_decodes_to);
	tcase_add_test(t, integers_fit_or_are_refused);
	tcase_add_test(t, doubles_are_the_nearest);
	tcase_add_test(t, doubles_of_many_digits_are_the_nearest);
	suite_add_tcase(s, t);

	t = tcase_create("equality and spelling");
	tcase_add_loop_test(t, values_are_equal_as_go_compares_them, 0,
	                    sizeof(pairs) / sizeof(pairs[0]));
	tcase_add_test(t, nothing_equals_only_nothing);
	tcase_add_test(t, large_objects_with_duplicates_are_equal_either_way);
	tcase_add_test(t, white_space_goes_and_everything_else_stays);
	tcase_add_test(t, pieces_add_up_to_the_canonical_spelling);
	tcase_add_test(t, a_reader_reads_and_refuses_what_a_scan_does);
	tcase_add_test(t, no_memory_for_a_spelling_is_remembered);
	suite_add_tcase(s, t);

	t = tcase_create("against json-c");
	tcase_set_timeout(t, 120);
	tcase_add_test(t, generated_texts_of_one_value_are_equal);
	tcase_add_test(t, mutated_texts_are_judged_as_json_c_judges_them);
	suite_add_tcase(s, t);
	return s;
}
