/* JSON as Go writes it, see gojson.h. */
#include "base/gojson.h"

#include "base/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A member of an object that is being sorted. */
struct member {
	size_t at, len;    /* the decoded key within `keys` */
	size_t order;      /* its place in the text */
	struct span value;
	const struct buf *keys;
};

static int
by_key(const void *va, const void *vb)
{
	const struct member *a = va, *b = vb;
	size_t n = a->len < b->len ? a->len : b->len;
	int c = n == 0 ? 0 : memcmp(a->keys->p + a->at, b->keys->p + b->at, n);

	if (c != 0)
		return c;
	if (a->len != b->len)
		return a->len < b->len ? -1 : 1;
	return a->order < b->order ? -1 : 1;
}

static bool
same_key(const struct member *a, const struct member *b)
{
	return a->len == b->len &&
	    (a->len == 0 || memcmp(a->keys->p + a->at, b->keys->p + b->at, a->len) == 0);
}

static size_t
count_members(struct span object)
{
	struct json_iter it;
	struct span key, value;
	size_t n = 0;

	json_iter_init(&it, object);
	while (json_next(&it, &key, &value))
		n++;
	return n;
}

/* Write members that are sorted; of equal keys the last in the text. */
static bool
add_sorted(const struct member *m, size_t n, struct buf *out)
{
	bool fits = true, first = true;

	buf_add_byte(out, '{');
	for (size_t i = 0; i < n && fits; i++) {
		if (i + 1 < n && same_key(&m[i], &m[i + 1]))
			continue;
		if (!first)
			buf_add_byte(out, ',');
		first = false;
		buf_add_json(out, m[i].len == 0 ? span_of("") : /* keys->p may be NULL */
		             (struct span){ m[i].keys->p + m[i].at, m[i].len });
		buf_add_byte(out, ':');
		fits = gojson_add(m[i].value, out);
	}
	buf_add_byte(out, '}');
	return fits;
}

static bool
add_object(struct span object, struct buf *out)
{
	struct buf keys = { 0 };
	struct json_iter it;
	struct span key, value;
	struct member *m;
	size_t n = 0, cap = count_members(object);
	bool fits = true;

	if (cap == 0) {
		buf_add_str(out, "{}");
		return true;
	}
	m = calloc(cap, sizeof(*m));
	json_iter_init(&it, object);
	while (m != NULL && json_next(&it, &key, &value)) {
		m[n] = (struct member){ .at = keys.len, .order = n, .value = value,
		                        .keys = &keys };
		json_string(key, &keys);
		m[n].len = keys.len - m[n].at;
		n++;
	}
	if (m == NULL || keys.failed) {
		out->failed = true;
	} else {
		qsort(m, n, sizeof(*m), by_key);
		fits = add_sorted(m, n, out);
	}
	free(m);
	buf_free(&keys);
	return fits;
}

static bool
add_array(struct span array, struct buf *out)
{
	struct json_iter it;
	struct span key, value;
	bool first = true;

	buf_add_byte(out, '[');
	json_iter_init(&it, array);
	while (json_next(&it, &key, &value)) {
		if (!first)
			buf_add_byte(out, ',');
		first = false;
		if (!gojson_add(value, out))
			return false;
	}
	buf_add_byte(out, ']');
	return true;
}

static void
add_string(struct span value, struct buf *out)
{
	struct buf text = { 0 };

	json_string(value, &text);
	buf_add_json(out, buf_span(&text));
	out->failed |= text.failed;
	buf_free(&text);
}

bool
gojson_add(struct span value, struct buf *out)
{
	double v;

	switch (json_type(value)) {
	case JSON_OBJECT:
		return add_object(value, out);
	case JSON_ARRAY:
		return add_array(value, out);
	case JSON_STRING:
		add_string(value, out);
		return true;
	case JSON_NUMBER:
		if (!json_double(value, &v) || !isfinite(v))
			return false;
		gojson_add_double(v, out);
		return true;
	default:
		buf_add_span(out, value); /* null, true, false */
		return true;
	}
}

/* A decimal: its digits, a point behind the first, times ten to `exp`. */
struct decimal {
	char digits[20];
	int len;
	int exp;
};

/* Round v (positive, finite) to some digits. */
static void
round_to(double v, int len, struct decimal *d)
{
	char text[32];

	snprintf(text, sizeof(text), "%.*e", len - 1, v);
	d->len = 0;
	for (const char *p = text; *p != 'e'; p++)
		if (*p >= '0' && *p <= '9') /* the point is the locale's */
			d->digits[d->len++] = *p;
	d->exp = atoi(strchr(text, 'e') + 1);
}

/* The next larger one of as many digits; not from 99...9 on. */
static bool
step_up(struct decimal *d)
{
	int i = d->len - 1;

	while (i >= 0 && d->digits[i] == '9')
		i--;
	if (i < 0)
		return false;
	d->digits[i]++;
	memset(d->digits + i + 1, '0', (size_t)(d->len - i - 1));
	return true;
}

static bool
reads_back(const struct decimal *d, double v)
{
	char text[40]; /* an integer and an exponent: no locale has a say */

	snprintf(text, sizeof(text), "%.*se%d", d->len, d->digits, d->exp - d->len + 1);
	return strtod(text, NULL) == v;
}

/*
 * The shortest decimal that reads back as v. That is v rounded, but for a
 * power of two: above it doubles lie twice as far apart as below, so the next
 * larger decimal may read back where the nearest, a smaller one, does not.
 */
static void
shortest(double v, struct decimal *d)
{
	int unused;

	for (int len = 1; len < 17; len++) {
		round_to(v, len, d);
		if (reads_back(d, v) ||
		    (frexp(v, &unused) == 0.5 && step_up(d) && reads_back(d, v)))
			break;
		d->len = 0;
	}
	if (d->len == 0)
		round_to(v, 17, d);
	while (d->len > 1 && d->digits[d->len - 1] == '0')
		d->len--;
}

static void
add_fixed(const struct decimal *d, struct buf *out)
{
	if (d->exp < 0) {
		buf_add_str(out, "0.");
		for (int i = -1; i > d->exp; i--)
			buf_add_byte(out, '0');
		buf_add(out, d->digits, (size_t)d->len);
		return;
	}
	for (int i = 0; i < d->len || i <= d->exp; i++) {
		if (i == d->exp + 1)
			buf_add_byte(out, '.');
		buf_add_byte(out, i < d->len ? d->digits[i] : '0');
	}
}

void
gojson_add_double(double v, struct buf *out)
{
	struct decimal d;

	if (signbit(v))
		buf_add_byte(out, '-');
	v = fabs(v);
	if (v == 0) {
		buf_add_byte(out, '0');
		return;
	}
	shortest(v, &d);
	if (v >= 1e-6 && v < 1e21) {
		add_fixed(&d, out);
		return;
	}
	buf_add_byte(out, d.digits[0]);
	if (d.len > 1) {
		buf_add_byte(out, '.');
		buf_add(out, d.digits + 1, (size_t)d.len - 1);
	}
	buf_addf(out, "e%c%d", d.exp < 0 ? '-' : '+', abs(d.exp));
}
