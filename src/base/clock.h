/*
 * Time: the clocks of the machine, and timestamps in the forms that td, the
 * wire and Go write (fixtures/action-logs.md lists those found in the wild).
 */
#ifndef TDSYNC_BASE_CLOCK_H
#define TDSYNC_BASE_CLOCK_H

#include "base/buf.h"
#include "base/rc.h"

/* A point in time with the offset it was written with. */
struct instant {
	int64_t sec;    /* seconds since 1970-01-01T00:00:00Z */
	int32_t nsec;   /* 0 to 999,999,999 */
	int32_t offset; /* seconds east of UTC */
};

/* The wall clock in microseconds since 1970. */
int64_t clock_now_us(void);

/* A clock that never jumps, in milliseconds; for deadlines and durations. */
int64_t clock_mono_ms(void);

/* As clock_mono_ms(), in microseconds. */
int64_t clock_mono_us(void);

/*
 * Parse RFC 3339 as Go's time.Parse(time.RFC3339) takes it: "T" in the
 * middle, a fraction of any length allowed (digits beyond the ninth are
 * dropped), "Z" or an offset; the date must exist. Go also takes an hour of
 * one digit, a comma before the fraction, and offsets up to 24:60: forward
 * what time_add_rfc3339() makes of it, other parsers are stricter (Go's own
 * for JSON is). False otherwise.
 */
bool time_parse_rfc3339(struct span text, struct instant *out);

/*
 * Parse any form that td databases hold: RFC 3339; "YYYY-MM-DD
 * HH:MM:SS[.frac]" with "Z", "±hh:mm", "±hhmm", or nothing (UTC); Go's
 * "YYYY-MM-DD HH:MM:SS.frac ±hhmm ZONE[ m=±N]"; a date alone (midnight UTC);
 * and, as SQLite's drivers do, "T" for the space and a clock without seconds.
 * False otherwise.
 */
bool time_parse_any(struct span text, struct instant *out);

/* <0, 0, >0: whether a is before, at or after b; offsets don't count. */
int time_compare(struct instant a, struct instant b);

/*
 * Append RFC 3339 with the instant's offset ("Z" for 0; an offset of a day
 * or more becomes UTC) and the fraction, if any, without trailing zeros.
 */
void time_add_rfc3339(struct buf *out, struct instant at);

/*
 * Append "YYYY-MM-DD HH:MM:SS[.frac]±hh:mm": how td's SQLite driver writes
 * a time (protocol.md section 5). An offset of a day or more becomes UTC.
 */
void time_add_sqlite(struct buf *out, struct instant at);

/* An instant in UTC from microseconds since 1970. */
struct instant time_of_us(int64_t us);

/* Room for "2026-11-23T17:44:09Z" and its NUL. */
#define TIME_TEXT 32

/* Seconds since 1970 as RFC 3339 in UTC, to the second. Returns out. */
char *time_text(int64_t sec, char out[TIME_TEXT]);

#endif
