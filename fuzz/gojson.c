/*
 * Go's spelling of a value (base/gojson.h). Without Go at hand its own
 * promises are the oracle: the value stays what it was, keys are sorted, a
 * second time changes nothing, and a double has the fewest digits that read
 * back, the nearest of them.
 */
#include "base/gojson.h"

#include "base/json.h"
#include "fuzz/fuzz.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

/* Digits and exponent of a spelling: 0.00120 and 1.2e-3 alike. */
struct digits {
	char text[32];
	int n, exponent; /* 0.text times ten to it */
};

static struct digits
take_digits(const char *p)
{
	struct digits d = { .n = 0 };
	bool point = false;

	for (; *p != '\0' && *p != 'e'; p++) {
		if (*p == '.') {
			point = true;
		} else if (*p >= '0' && *p <= '9' && (d.n > 0 || *p != '0')) {
			FUZZ_CHECK(d.n < 25, "too many digits");
			d.text[d.n++] = *p;
			d.exponent += !point;
		} else if (*p == '0' && point) {
			d.exponent--;
		}
	}
	if (*p == 'e')
		d.exponent += atoi(p + 1);
	while (d.n > 0 && d.text[d.n - 1] == '0')
		d.n--;
	d.text[d.n] = '\0';
	return d;
}

static void
check_double(double v)
{
	struct buf text = { 0 };
	struct digits got, want;
	char rounded[64];
	double a = fabs(v);

	gojson_add_double(v, &text);
	FUZZ_CHECK(buf_cstr(&text) != NULL && strtod(text.p, NULL) == v &&
	           (text.p[0] == '-') == (signbit(v) != 0), "%.17g: %s", v, text.p);
	FUZZ_CHECK((strchr(text.p, 'e') != NULL) == (a != 0 && (a < 1e-6 || a >= 1e21)), "%s",
	           text.p);
	got = take_digits(text.p);
	for (int n = 1; n <= 17 && a != 0; n++) {
		snprintf(rounded, sizeof(rounded), "%.*e", n - 1, v);
		if (strtod(rounded, NULL) != v)
			continue;
		/* The nearest of n digits reads back: it is that, or shorter. */
		want = take_digits(rounded);
		FUZZ_CHECK(got.n < n || (strcmp(got.text, want.text) == 0 &&
		           got.exponent == want.exponent), "%s, not %s", text.p, rounded);
		FUZZ_CHECK(got.n <= n, "%s, not %s", text.p, rounded);
		break;
	}
	buf_free(&text);
}

/* Every object's keys are sorted, and there once. */
static void
check_sorted(struct span v)
{
	struct buf last = { 0 }, text = { 0 };
	struct span key, value;
	struct json_iter it;
	size_t n = 0;

	json_iter_init(&it, v);
	for (; json_next(&it, &key, &value); n++) {
		check_sorted(value);
		buf_reset(&text);
		if (key.len == 0)
			continue;
		json_string(key, &text);
		if (n > 0) {
			size_t len = text.len < last.len ? text.len : last.len;
			int diff = len == 0 ? 0 : memcmp(last.p, text.p, len);

			FUZZ_CHECK(diff < 0 || (diff == 0 && last.len < text.len), "%.*s", FUZZ_SPAN(v));
		}
		buf_reset(&last);
		buf_add_span(&last, buf_span(&text));
	}
	buf_free(&last);
	buf_free(&text);
}

static bool
all_numbers_fit(struct span v)
{
	struct span key, value;
	struct json_iter it;
	double d;

	if (json_type(v) == JSON_NUMBER)
		return json_double(v, &d) && isfinite(d);
	json_iter_init(&it, v);
	while (json_next(&it, &key, &value))
		if (!all_numbers_fit(value))
			return false;
	return true;
}

static void
check_value(struct span v)
{
	struct buf once = { 0 }, twice = { 0 };
	struct span again, rest;
	struct err err;

	if (!gojson_add(v, &once)) {
		FUZZ_CHECK(!all_numbers_fit(v), "%.*s", FUZZ_SPAN(v));
		buf_free(&once);
		return;
	}
	FUZZ_CHECK(json_scan(buf_span(&once), JSON_MAX_DEPTH, &again, &rest, &err) == RC_OK &&
	           rest.len == 0, "%s: %.*s", err.text, FUZZ_SPAN(buf_span(&once)));
	FUZZ_CHECK(json_equal(v, again), "%.*s: %.*s", FUZZ_SPAN(v), FUZZ_SPAN(again));
	check_sorted(again);
	FUZZ_CHECK(gojson_add(again, &twice) && span_eq(buf_span(&once), buf_span(&twice)),
	           "%.*s: %.*s", FUZZ_SPAN(buf_span(&once)), FUZZ_SPAN(buf_span(&twice)));
	buf_free(&once);
	buf_free(&twice);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span text = fuzz_copy(data, size), value;
	double v;

	if (json_scan(text, JSON_MAX_DEPTH, &value, NULL, NULL) == RC_OK)
		check_value(value);
	if (size >= sizeof(v)) {
		memcpy(&v, data, sizeof(v));
		if (isfinite(v))
			check_double(v);
	}
	free((char *)(uintptr_t)text.p);
	return 0;
}
