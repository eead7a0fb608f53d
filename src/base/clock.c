/* Time, see clock.h. */
#include "base/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define DAY 86400

/* The last seconds that RFC 3339 can write in UTC: its years have 4 digits. */
#define FIRST_SECOND (-INT64_C(62167219200)) /* 0000-01-01T00:00:00Z */
#define LAST_SECOND INT64_C(253402300799)    /* 9999-12-31T23:59:59Z */

int64_t
clock_now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

int64_t
clock_mono_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

int64_t
clock_mono_ms(void)
{
	return clock_mono_us() / 1000;
}

/* The day that y-m-d is, counted from 1970-01-01 (proleptic Gregorian). */
static int64_t
days_of(int64_t y, int m, int d)
{
	int64_t era, yoe, doy;

	y -= m <= 2; /* years start in March: the leap day comes last */
	era = (y >= 0 ? y : y - 399) / 400;
	yoe = y - era * 400;
	doy = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
	return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

/* The reverse of days_of(). */
static void
date_of(int64_t days, int64_t *y, int *m, int *d)
{
	int64_t z = days + 719468;
	int64_t era = (z >= 0 ? z : z - 146096) / 146097;
	int64_t doe = z - era * 146097;
	int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
	int64_t mp = (5 * doy + 2) / 153;

	*d = (int)(doy - (153 * mp + 2) / 5 + 1);
	*m = (int)(mp < 10 ? mp + 3 : mp - 9);
	*y = yoe + era * 400 + (*m <= 2);
}

static bool
leap(int64_t y)
{
	return y % 4 == 0 && (y % 100 != 0 || y % 400 == 0);
}

static int
month_days(int64_t y, int m)
{
	static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };

	return m == 2 && leap(y) ? 29 : days[m - 1];
}

/* Parsing takes text off the front of a span. */

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool
take_char(struct span *s, char c)
{
	if (s->len == 0 || s->p[0] != c)
		return false;
	s->p++;
	s->len--;
	return true;
}

/* Exactly n digits. */
static bool
take_number(struct span *s, size_t n, int *out)
{
	int v = 0;

	if (s->len < n)
		return false;
	for (size_t i = 0; i < n; i++) {
		if (!is_digit(s->p[i]))
			return false;
		v = v * 10 + (s->p[i] - '0');
	}
	s->p += n;
	s->len -= n;
	*out = v;
	return true;
}

/* YYYY-MM-DD, a date that exists, as days since 1970. */
static bool
take_date(struct span *s, int64_t *days)
{
	int y, m, d;

	if (!take_number(s, 4, &y) || !take_char(s, '-') ||
	    !take_number(s, 2, &m) || !take_char(s, '-') || !take_number(s, 2, &d))
		return false;
	if (m < 1 || m > 12 || d < 1 || d > month_days(y, m))
		return false;
	*days = days_of(y, m, d);
	return true;
}

/*
 * HH:MM:SS with its fraction, as seconds of the day. As in Go the hour may
 * have one digit, and a comma may start the fraction.
 */
static bool
take_clock(struct span *s, bool seconds_needed, int *sec, int32_t *nsec)
{
	int h, m, sc = 0;
	int32_t unit = 100000000;

	*nsec = 0;
	if (!take_number(s, 2, &h) && !take_number(s, 1, &h))
		return false;
	if (!take_char(s, ':') || !take_number(s, 2, &m))
		return false;
	if (take_char(s, ':')) {
		if (!take_number(s, 2, &sc))
			return false;
		if (s->len > 1 && (s->p[0] == '.' || s->p[0] == ',') && is_digit(s->p[1])) {
			s->p++;
			s->len--;
			for (; s->len > 0 && is_digit(s->p[0]); s->p++, s->len--) {
				*nsec += unit * (s->p[0] - '0');
				unit /= 10;
			}
		}
	} else if (seconds_needed)
		return false;
	*sec = h * 3600 + m * 60 + sc;
	return h < 24 && m < 60 && sc < 60;
}

/* +hh:mm or, where the colon may be missing, +hhmm. Ranges are Go's. */
static bool
take_offset(struct span *s, bool colon_needed, int32_t *offset)
{
	int h, m, sign;

	if (take_char(s, '+'))
		sign = 1;
	else if (take_char(s, '-'))
		sign = -1;
	else
		return false;
	if (!take_number(s, 2, &h))
		return false;
	if (!take_char(s, ':') && colon_needed)
		return false;
	if (!take_number(s, 2, &m) || h > 24 || m > 60)
		return false;
	*offset = sign * (h * 3600 + m * 60);
	return true;
}

bool
time_parse_rfc3339(struct span s, struct instant *out)
{
	struct instant at = { 0 };
	int64_t days;
	int sec;

	*out = at;
	if (!take_date(&s, &days) || !take_char(&s, 'T') ||
	    !take_clock(&s, true, &sec, &at.nsec))
		return false;
	if (!take_char(&s, 'Z') && !take_offset(&s, true, &at.offset))
		return false;
	if (s.len != 0)
		return false;
	at.sec = days * DAY + sec - at.offset;
	/* Such an offset is written as UTC, which must have a year then. */
	if ((at.offset <= -DAY || at.offset >= DAY) &&
	    (at.sec < FIRST_SECOND || at.sec > LAST_SECOND))
		return false;
	*out = at;
	return true;
}

/* A zone's name as Go prints it: "PST", "UTC", "-03". */
static bool
take_zone_name(struct span *s)
{
	size_t n = 0;

	while (n < s->len && s->p[n] > ' ' && s->p[n] < 0x7f)
		n++;
	if (n == 0 || n > 32)
		return false;
	s->p += n;
	s->len -= n;
	return true;
}

/* Go's reading of the monotonic clock: "m=+0.036937834". */
static bool
take_monotonic(struct span *s)
{
	if (!take_char(s, 'm') || !take_char(s, '=') ||
	    (!take_char(s, '+') && !take_char(s, '-')))
		return false;
	if (s->len == 0 || !is_digit(s->p[0]))
		return false;
	while (s->len > 0 && (is_digit(s->p[0]) || s->p[0] == '.')) {
		s->p++;
		s->len--;
	}
	return true;
}

/* What may follow the clock in a database: nothing is UTC. */
static bool
take_any_zone(struct span *s, int32_t *offset)
{
	if (s->len == 0 || take_char(s, 'Z'))
		return s->len == 0;
	if (!take_char(s, ' ')) /* "+hh:mm" right behind the clock */
		return take_offset(s, false, offset) && s->len == 0;
	if (!take_offset(s, false, offset))
		return false;
	if (s->len > 0 && (!take_char(s, ' ') || !take_zone_name(s)))
		return false;
	if (s->len > 0 && (!take_char(s, ' ') || !take_monotonic(s)))
		return false;
	return s->len == 0;
}

bool
time_parse_any(struct span s, struct instant *out)
{
	struct instant at = { 0 };
	int64_t days;
	int sec = 0;

	*out = at;
	if (!take_date(&s, &days))
		return false;
	if (s.len > 0) {
		if (!take_char(&s, 'T') && !take_char(&s, ' '))
			return false;
		if (!take_clock(&s, false, &sec, &at.nsec) ||
		    !take_any_zone(&s, &at.offset))
			return false;
	}
	at.sec = days * DAY + sec - at.offset;
	*out = at;
	return true;
}

int
time_compare(struct instant a, struct instant b)
{
	if (a.sec != b.sec)
		return a.sec < b.sec ? -1 : 1;
	return (a.nsec > b.nsec) - (a.nsec < b.nsec);
}

static void
add_number(struct buf *out, int64_t n, int width)
{
	char s[20];
	int i = (int)sizeof(s);

	do {
		s[--i] = (char)('0' + n % 10);
		n /= 10;
	} while (n != 0);
	while ((int)sizeof(s) - i < width)
		s[--i] = '0';
	buf_add(out, s + i, sizeof(s) - (size_t)i);
}

/* "YYYY-MM-DD" + sep + "HH:MM:SS[.frac]", in the instant's own offset. */
static void
add_local(struct buf *out, struct instant at, char sep)
{
	int64_t local = at.sec + at.offset;
	int64_t days = local / DAY, y;
	int m, d, sec = (int)(local % DAY);

	if (sec < 0) {
		sec += DAY;
		days--;
	}
	date_of(days, &y, &m, &d);
	if (y < 0) {
		buf_add_byte(out, '-');
		y = -y;
	}
	add_number(out, y, 4);
	buf_add_byte(out, '-');
	add_number(out, m, 2);
	buf_add_byte(out, '-');
	add_number(out, d, 2);
	buf_add_byte(out, sep);
	add_number(out, sec / 3600, 2);
	buf_add_byte(out, ':');
	add_number(out, sec / 60 % 60, 2);
	buf_add_byte(out, ':');
	add_number(out, sec % 60, 2);
	if (at.nsec > 0) {
		int32_t frac = at.nsec;
		int width = 9;

		for (; frac % 10 == 0; frac /= 10)
			width--;
		buf_add_byte(out, '.');
		add_number(out, frac, width);
	}
}

static void
add_offset(struct buf *out, int32_t offset)
{
	int32_t min = (offset < 0 ? -offset : offset) / 60;

	buf_add_byte(out, offset < 0 ? '-' : '+');
	add_number(out, min / 60, 2);
	buf_add_byte(out, ':');
	add_number(out, min % 60, 2);
}

/* No notation has an offset of a day or more: such an instant goes as UTC. */
static void
bound_offset(struct instant *at)
{
	if (at->offset <= -DAY || at->offset >= DAY)
		at->offset = 0;
}

void
time_add_rfc3339(struct buf *out, struct instant at)
{
	bound_offset(&at);
	add_local(out, at, 'T');
	if (at.offset == 0)
		buf_add_byte(out, 'Z');
	else
		add_offset(out, at.offset);
}

void
time_add_sqlite(struct buf *out, struct instant at)
{
	bound_offset(&at);
	add_local(out, at, ' ');
	add_offset(out, at.offset);
}

struct instant
time_of_us(int64_t us)
{
	struct instant at = { us / 1000000, 0, 0 };
	int64_t rest = us % 1000000;

	if (rest < 0) {
		rest += 1000000;
		at.sec--;
	}
	at.nsec = (int32_t)rest * 1000;
	return at;
}

char *
time_text(int64_t sec, char out[TIME_TEXT])
{
	int64_t days = sec / DAY, y;
	int m, d, rest = (int)(sec % DAY);

	if (rest < 0) {
		rest += DAY;
		days--;
	}
	date_of(days, &y, &m, &d);
	snprintf(out, TIME_TEXT, "%04" PRId64 "-%02d-%02dT%02d:%02d:%02dZ",
	         y, m, d, rest / 3600, rest / 60 % 60, rest % 60);
	return out;
}
