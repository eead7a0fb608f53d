/*
 * Times and ids (base/clock.h, base/id.h): any text. What is read must be
 * what libc's calendar says, and come back from each way of writing it. The
 * rules themselves were compared with Go's; a plain regular expression of RFC
 * 3339 stands in for them here.
 */
#include "base/clock.h"

#include "base/id.h"
#include "fuzz/fuzz.h"

#include <inttypes.h>
#include <regex.h>
#include <string.h>
#include <time.h>

#define DAY 86400

/* Seconds since 1970 of "YYYY-MM-DDxHH:MM:SS"; false: no such date or time. */
static bool
ref_seconds(const char *text, int64_t *sec)
{
	struct tm tm = { 0 }, again;
	time_t t;
	int n = sscanf(text, "%4d-%2d-%2d%*c%2d:%2d:%2d", &tm.tm_year, &tm.tm_mon, &tm.tm_mday,
	               &tm.tm_hour, &tm.tm_min, &tm.tm_sec);

	FUZZ_CHECK(n == 6, "%s", text);
	tm.tm_year -= 1900;
	tm.tm_mon--;
	t = timegm(&(struct tm){ .tm_year = tm.tm_year, .tm_mon = tm.tm_mon,
		.tm_mday = tm.tm_mday, .tm_hour = tm.tm_hour, .tm_min = tm.tm_min,
		.tm_sec = tm.tm_sec });
	gmtime_r(&t, &again);
	*sec = t;
	return again.tm_mon == tm.tm_mon && again.tm_mday == tm.tm_mday &&
	    again.tm_hour == tm.tm_hour && again.tm_min == tm.tm_min &&
	    again.tm_sec == tm.tm_sec;
}

/* "Z" or "+hh:mm" in seconds. */
static int
ref_offset(const char *text)
{
	int h = 0, m = 0;

	if (text[0] != 'Z')
		sscanf(text + 1, "%2d:%2d", &h, &m);
	return (text[0] == '-' ? -1 : 1) * (h * 3600 + m * 60);
}

static bool
is_rfc3339(const char *text)
{
	static regex_t re;
	static bool ready;

	if (!ready)
		ready = regcomp(&re, "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}"
		                "(\\.[0-9]+)?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$",
		                REG_EXTENDED | REG_NOSUB) == 0;
	return regexec(&re, text, 0, NULL, 0) == 0;
}

/* What was written of an instant is well spelt and reads back. */
static void
check_written(struct instant at)
{
	struct buf text = { 0 }, again = { 0 };
	bool far = at.offset <= -DAY || at.offset >= DAY; /* written as UTC */
	struct instant back;
	int64_t local;

	time_add_rfc3339(&text, at);
	FUZZ_CHECK(is_rfc3339(buf_cstr(&text)) && ref_seconds(text.p, &local), "%s", text.p);
	FUZZ_CHECK(local - (far ? 0 : at.offset) == at.sec, "%s", text.p);
	FUZZ_CHECK(time_parse_rfc3339(buf_span(&text), &back) && time_compare(at, back) == 0 &&
	           back.offset == (far ? 0 : at.offset), "%s", text.p);
	time_add_rfc3339(&again, back);
	FUZZ_CHECK(span_eq(buf_span(&text), buf_span(&again)), "%s", text.p);
	FUZZ_CHECK(time_parse_any(buf_span(&text), &back) && time_compare(at, back) == 0, "%s",
	           text.p);
	buf_reset(&text);
	time_add_sqlite(&text, at);
	FUZZ_CHECK(time_parse_any(buf_span(&text), &back) && time_compare(at, back) == 0, "%s",
	           buf_cstr(&text));
	buf_free(&text);
	buf_free(&again);
}

static void
check_text(struct span text)
{
	char *s = span_dup(text);
	struct instant at, any;
	bool nul = strlen(s) != text.len, known;
	int64_t local;

	if (time_parse_rfc3339(text, &at)) {
		FUZZ_CHECK(!nul && at.nsec >= 0 && at.nsec < 1000000000, "%s", s);
		FUZZ_CHECK(time_parse_any(text, &any) && time_compare(at, any) == 0, "%s", s);
		check_written(at);
	} else {
		FUZZ_CHECK(at.sec == 0 && at.nsec == 0 && at.offset == 0, "%s", s);
	}
	if (!nul && is_rfc3339(s)) {
		known = ref_seconds(s, &local);
		FUZZ_CHECK(time_parse_rfc3339(text, &at) == known, "%s", s);
		FUZZ_CHECK(!known || at.sec == local - ref_offset(s + strcspn(s + 19, "Z+-") + 19),
		           "%s", s);
	}
	if (time_parse_any(text, &any))
		FUZZ_CHECK(any.nsec >= 0 && any.nsec < 1000000000 && !nul, "%s", s);
	free(s);
}

/* Any number as microseconds, within the years that can be written. */
static void
check_number(int64_t us)
{
	struct instant at = time_of_us(us);
	char text[TIME_TEXT];
	int64_t sec;

	FUZZ_CHECK(at.nsec >= 0 && at.offset == 0 &&
	           (__int128)at.sec * 1000000 + at.nsec / 1000 == us, "%" PRId64, us);
	if (at.sec < -62167219200 || at.sec > 253402300799)
		return;
	check_written(at);
	FUZZ_CHECK(ref_seconds(time_text(at.sec, text), &sec) && sec == at.sec, "%s", text);
}

static void
check_id(struct span text)
{
	unsigned char bytes[8];
	struct buf hex = { 0 };
	bool is = id_is(text, "p_", 16);

	if (text.len >= 2 && id_unhex((struct span){ text.p + 2, text.len - 2 }, bytes, 8)) {
		FUZZ_CHECK(text.len == 18, "%.*s", FUZZ_SPAN(text));
		buf_add_str(&hex, "p_");
		buf_add_hex(&hex, bytes, 8);
		FUZZ_CHECK(is == span_eq(buf_span(&hex), text), "%.*s", FUZZ_SPAN(text));
		buf_free(&hex);
	} else {
		FUZZ_CHECK(!is, "%.*s", FUZZ_SPAN(text));
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span text = fuzz_copy(data, size);
	int64_t us;

	check_text(text);
	check_id(text);
	if (size >= sizeof(us)) {
		memcpy(&us, data, sizeof(us));
		check_number(us);
	}
	free((char *)(uintptr_t)text.p);
	return 0;
}
