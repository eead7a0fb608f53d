/* JSON as Go's encoding/json writes it (the answers are Go 1.26's own). */
#include "base/gojson.h"
#include "base/json.h"

#include <check.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static const struct {
	const char *json, *go; /* NULL: refused */
} values[] = {
	{ "null", "null" },
	{ "true", "true" },
	{ "false", "false" },
	{ "\"\"", "\"\"" },
	{ "\"\\u003c\\/\\u0026>\"", "\"\\u003c/\\u0026\\u003e\"" },
	{ "\"\\n\\t\\\"\\\\\"", "\"\\n\\t\\\"\\\\\"" },
	{ "\"\\ud83c\\udf31\"", "\"\xf0\x9f\x8c\xb1\"" },
	{ "[]", "[]" },
	{ "{}", "{}" },
	{ " [ 1 , [ ] , { } ] ", "[1,[],{}]" },
	{ "{\"b\":1,\"a\":{\"d\":2,\"c\":3}}", "{\"a\":{\"c\":3,\"d\":2},\"b\":1}" },
	{ "{\"a\":1,\"b\":2,\"\\u0061\":3}", "{\"a\":3,\"b\":2}" },
	{ "{\"ab\":1,\"a\":2,\"\":3,\"B\":4}", "{\"\":3,\"B\":4,\"a\":2,\"ab\":1}" },
	{ "{\"\xc3\xa9\":1,\"z\":2}", "{\"z\":2,\"\xc3\xa9\":1}" },
	{ "0", "0" },
	{ "-0", "-0" },
	{ "-0.0e5", "-0" },
	{ "1.0", "1" },
	{ "1.50", "1.5" },
	{ "-12.25", "-12.25" },
	{ "100", "100" },
	{ "0.1", "0.1" },
	{ "0.000001", "0.000001" },
	{ "0.0000001", "1e-7" },
	{ "1.25e-10", "1.25e-10" },
	{ "123456789012345678901", "123456789012345680000" },
	{ "999999999999999900000", "999999999999999900000" },
	{ "1e21", "1e+21" },
	{ "-1.5e+300", "-1.5e+300" },
	{ "9007199254740993", "9007199254740992" },
	{ "12345678901234567890", "12345678901234567000" },
	{ "5e-324", "5e-324" },
	{ "2e-400", "0" },
	{ "1.7976931348623157e308", "1.7976931348623157e+308" },
	/* Powers of two, where the nearest decimal is not the shortest. */
	{ "6.1832600368276134e+172", "6.183260036827614e+172" },
	{ "6.1299821634635554e+54", "6.129982163463556e+54" },
	{ "{\"\":1}", "{\"\":1}" },
	{ "1e309", NULL },
	{ "[[-1e309]]", NULL },
	{ "{\"a\":{\"b\":1e309}}", NULL },
};
#define N_VALUES ((int)(sizeof(values) / sizeof(*values)))

START_TEST(a_value_is_written_as_go_does)
{
	struct buf out = { 0 };
	struct span v;
	struct err err;

	ck_assert(json_scan(span_of(values[_i].json), JSON_MAX_DEPTH, &v, NULL, &err) == RC_OK);
	if (values[_i].go == NULL) {
		ck_assert(!gojson_add(v, &out));
	} else {
		ck_assert(gojson_add(v, &out));
		ck_assert_str_eq(buf_cstr(&out), values[_i].go);
	}
	buf_free(&out);
}
END_TEST

/* A generator of its own, so that a failure comes again. */
static uint64_t
next(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

START_TEST(a_double_reads_back_as_the_same)
{
	uint64_t state = 88172645463325252u;
	struct buf out = { 0 };

	for (int i = 0; i < 20000; i++) {
		union { uint64_t bits; double v; } u = { .bits = next(&state) };

		if (!isfinite(u.v))
			continue;
		buf_reset(&out);
		gojson_add_double(u.v, &out);
		ck_assert_msg(strtod(buf_cstr(&out), NULL) == u.v, "%a: %s", u.v, out.p);
		ck_assert_msg(out.len <= 25, "%a: %s", u.v, out.p);
	}
	buf_free(&out);
}
END_TEST

/* A program that uses the library may have set one with a decimal comma. */
START_TEST(the_locale_makes_no_difference)
{
	struct buf out = { 0 };

	if (setlocale(LC_NUMERIC, "de_DE.UTF-8") == NULL) {
		printf("skipped: there is no locale de_DE.UTF-8\n");
		return;
	}
	gojson_add_double(1234.5, &out);
	setlocale(LC_NUMERIC, "C");
	ck_assert_str_eq(buf_cstr(&out), "1234.5");
	buf_free(&out);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("gojson");
	TCase *t = tcase_create("values");
	SRunner *r;
	int failed;

	tcase_add_loop_test(t, a_value_is_written_as_go_does, 0, N_VALUES);
	tcase_add_test(t, a_double_reads_back_as_the_same);
	tcase_add_test(t, the_locale_makes_no_difference);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? 0 : 1;
}
