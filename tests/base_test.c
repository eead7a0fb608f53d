/* Tests of the lowest layer, src/base/; json.c's are in base_json_test.c. */
#include "base_test.h"
#include "temp.h"

#include "base/base64url.h"
#include "base/clock.h"
#include "base/conf.h"
#include "base/fs.h"
#include "base/hash.h"
#include "base/id.h"
#include "base/json.h"
#include "base/lock.h"
#include "base/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* --- what fails on demand (linked with --wrap) --- */

int allocations_left = -1;
static int write_chunk;         /* so many bytes a write(2) takes; 0: any */
static int write_errno;         /* every write fails so */
static int fsyncs_left = -1;    /* then fsync() fails with EIO */
static bool rename_fails;       /* with EIO */
static char calls[16];          /* fsync() is 'f', or 'd' for a folder; rename() 'r' */

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
char *__real_strdup(const char *s);
ssize_t __real_write(int fd, const void *p, size_t n);
int __real_fsync(int fd);
int __real_rename(const char *from, const char *to);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
char *__wrap_strdup(const char *s);
ssize_t __wrap_write(int fd, const void *p, size_t n);
int __wrap_fsync(int fd);
int __wrap_rename(const char *from, const char *to);

static bool
no_memory(void)
{
	if (allocations_left > 0)
		allocations_left--;
	else if (allocations_left == 0) {
		errno = ENOMEM;
		return true;
	}
	return false;
}

void *
__wrap_malloc(size_t n)
{
	return no_memory() ? NULL : __real_malloc(n);
}

void *
__wrap_calloc(size_t n, size_t size)
{
	return no_memory() ? NULL : __real_calloc(n, size);
}

void *
__wrap_realloc(void *p, size_t n)
{
	/* no machine has so much, but a sanitizer ends the program over it */
	return n > SIZE_MAX / 4 || no_memory() ? NULL : __real_realloc(p, n);
}

char *
__wrap_strdup(const char *s)
{
	return no_memory() ? NULL : __real_strdup(s);
}

ssize_t
__wrap_write(int fd, const void *p, size_t n)
{
	if (write_errno != 0) {
		errno = write_errno;
		return -1;
	}
	return __real_write(fd, p, write_chunk > 0 && n > (size_t)write_chunk ?
	                    (size_t)write_chunk : n);
}

static void
note_call(char c)
{
	size_t n = strlen(calls);

	if (n + 1 < sizeof(calls))
		calls[n] = c;
}

int
__wrap_fsync(int fd)
{
	struct stat st;

	if (fstat(fd, &st) == 0)
		note_call(S_ISDIR(st.st_mode) ? 'd' : 'f');
	if (fsyncs_left == 0) {
		errno = EIO;
		return -1;
	}
	if (fsyncs_left > 0)
		fsyncs_left--;
	return __real_fsync(fd);
}

int
__wrap_rename(const char *from, const char *to)
{
	note_call('r');
	if (rename_fails) {
		errno = EIO;
		return -1;
	}
	return __real_rename(from, to);
}

/* --- a temporary folder for each test --- */

static char dir[TEMP_PATH];

static void
make_dir(void)
{
	temp_make(dir);
}

static void
remove_dir(void)
{
	temp_remove(dir);
}

/* A path in the folder; valid until eight more were asked for. */
static const char *
in_dir(const char *name)
{
	static char paths[8][TEMP_PATH + 64];
	static int at;
	char *path = paths[at++ % 8];

	snprintf(path, sizeof(paths[0]), "%s/%s", dir, name);
	return path;
}

static void
put_file(const char *path, struct span content)
{
	FILE *f = fopen(path, "w");

	ck_assert_ptr_nonnull(f);
	ck_assert_uint_eq(fwrite(content.p, 1, content.len, f), content.len);
	ck_assert_int_eq(fclose(f), 0);
}

/* The file's text, for the caller to buf_free(). */
static struct buf
get_file(const char *path)
{
	struct buf b = { 0 };
	struct err err = { "" };

	ck_assert_msg(fs_read(path, 1 << 20, &b, &err) == RC_OK, "%s", err.text);
	ck_assert_ptr_nonnull(buf_cstr(&b));
	return b;
}

static int
count_entries(const char *path)
{
	DIR *d = opendir(path);
	int n = -2; /* . and .. */

	ck_assert_ptr_nonnull(d);
	while (readdir(d) != NULL)
		n++;
	closedir(d);
	return n;
}

/* --- rc.c --- */

START_TEST(every_outcome_has_its_own_name)
{
	for (int i = 0; i < RC__MAX; i++) {
		ck_assert_int_eq(strncmp(rc_name((enum rc)i), "RC_", 3), 0);
		for (int j = 0; j < i; j++)
			ck_assert_str_ne(rc_name((enum rc)i), rc_name((enum rc)j));
	}
	ck_assert_str_eq(rc_name(RC_OK), "RC_OK");
	ck_assert_str_eq(rc_name(RC_BUSY), "RC_BUSY");
	ck_assert_str_eq(rc_name(RC__MAX), "RC_?");
	ck_assert_str_eq(rc_name((enum rc)-1), "RC_?");
}
END_TEST

START_TEST(an_error_is_one_line)
{
	struct err err;

	ck_assert_int_eq(err_set(&err, RC_BUSY, "a%cb\n%s\x7f\x1b[0m %d", '\t', "\r", 7), RC_BUSY);
	ck_assert_str_eq(err.text, "a?b???""?[0m 7");
	ck_assert_int_eq(err_set(NULL, RC_FAULT, "%s", "nobody reads it"), RC_FAULT);
	err_set(&err, RC_OK, "%s", "");
	ck_assert_str_eq(err.text, "");
	err_set(&err, RC_INVALID, "%s", "\xc3\xa4\xf0\x9f\x98\x80"); /* short: whole */
	ck_assert_str_eq(err.text, "\xc3\xa4\xf0\x9f\x98\x80");
}
END_TEST

/* Each length of sequence, cut at each of its bytes. */
START_TEST(a_long_error_is_cut_between_characters)
{
	static const char *const chars[] = { "x", "\xc3\xa4", "\xe2\x82\xac", "\xf0\x9f\x98\x80" };
	char text[400];
	struct err err;

	for (size_t c = 0; c < 4; c++)
		for (size_t lead = 0; lead < 8; lead++) {
			size_t width = strlen(chars[c]), n = lead, room = sizeof(err.text) - 1;

			memset(text, 'a', lead);
			while (n + width < sizeof(text)) {
				memcpy(text + n, chars[c], width);
				n += width;
			}
			text[n] = '\0';
			err_set(&err, RC_INVALID, "%s", text);
			ck_assert_uint_eq(strlen(err.text), room - (room - lead) % width);
			ck_assert_mem_eq(err.text, text, strlen(err.text));
		}
}
END_TEST

/* --- buf.c --- */

START_TEST(spans_compare_by_their_bytes)
{
	struct span none = { NULL, 0 };
	char *copy;

	ck_assert(span_eq(LIT("a\0b"), LIT("a\0b")));
	ck_assert(!span_eq(LIT("a\0b"), LIT("a\0c")));
	ck_assert(!span_eq(LIT("a"), LIT("ab")));
	ck_assert(span_eq(none, LIT("")));
	ck_assert_int_lt(span_compare(LIT("a"), LIT("b")), 0);
	ck_assert_int_gt(span_compare(LIT("\xff"), LIT("a")), 0);
	ck_assert_int_lt(span_compare(LIT("a"), LIT("a\0")), 0);
	ck_assert_int_gt(span_compare(LIT("ab"), LIT("a")), 0);
	ck_assert_int_lt(span_compare(none, LIT("a")), 0);
	ck_assert_int_eq(span_compare(none, LIT("")), 0);
	ck_assert_int_eq(span_compare(LIT("a\0b"), LIT("a\0b")), 0);
	ck_assert(span_is(span_of("abc"), "abc"));
	ck_assert(!span_is(LIT("abc\0"), "abc"));
	ck_assert(!span_is(span_of("abc"), "ab"));
	ck_assert(span_is(none, ""));
	ck_assert(span_is_nocase(span_of("aBc-1"), "AbC-1"));
	ck_assert(!span_is_nocase(span_of("abc"), "abd"));
	ck_assert(!span_is_nocase(span_of("abc"), "abcd"));
	ck_assert_uint_eq(span_of(NULL).len, 0);
	copy = span_dup(LIT("a\0b"));
	ck_assert_mem_eq(copy, "a\0b", 4);
	free(copy);
	copy = span_dup(none);
	ck_assert_str_eq(copy, "");
	free(copy);
	ck_assert_ptr_null(STARVED(0, span_dup(LIT("a"))));
}
END_TEST

START_TEST(a_buffer_holds_what_was_added)
{
	struct buf b = { 0 };

	buf_add(&b, NULL, 0);
	ck_assert_ptr_null(b.p);
	buf_add(&b, "a\0b", 3);
	buf_add_span(&b, LIT("cd"));
	buf_add_span(&b, (struct span){ NULL, 0 });
	buf_add_str(&b, "ef");
	buf_add_byte(&b, '|');
	buf_addf(&b, "%s-%03d|", "x", 7);
	buf_add_hex(&b, (const unsigned char *)"\x00\x9f\xff", 3);
	ck_assert(span_eq(buf_span(&b), LIT("a\0bcdef|x-007|009fff")));
	ck_assert_str_eq(buf_cstr(&b) + 7, "|x-007|009fff");
	ck_assert_uint_eq(b.len, 20); /* the NUL is not counted */
	buf_reset(&b);
	ck_assert_uint_eq(b.len, 0);
	ck_assert_str_eq(buf_cstr(&b), "");
	/* large ones, in small steps and in one */
	for (int i = 0; i < 100000; i++)
		buf_add_byte(&b, (char)('a' + i % 26));
	ck_assert_uint_eq(b.len, 100000);
	for (int i = 0; i < 100000; i++)
		if (b.p[i] != 'a' + i % 26)
			ck_abort_msg("at %d", i);
	buf_addf(&b, "%0*d", 5000, 1);
	ck_assert_uint_eq(b.len, 105000);
	ck_assert_int_eq(b.p[104999], '1');
	buf_free(&b);
	ck_assert_ptr_null(b.p);
	ck_assert_uint_eq(b.cap, 0);
}
END_TEST

START_TEST(numbers_are_written_whole)
{
	static const struct { int64_t n; const char *text; } t[] = {
		{ 0, "0" }, { 7, "7" }, { -7, "-7" }, { 10, "10" }, { -10, "-10" },
		{ INT64_MAX, "9223372036854775807" }, { INT64_MIN, "-9223372036854775808" },
	};
	struct buf b = { 0 };

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		buf_reset(&b);
		buf_add_int(&b, t[i].n);
		ck_assert_str_eq(buf_cstr(&b), t[i].text);
	}
	buf_free(&b);
}
END_TEST

START_TEST(a_buffer_remembers_that_memory_ran_out)
{
	struct buf b = { 0 };

	buf_add_str(&b, "kept");
	allocations_left = 0;
	for (int i = 0; i < 200; i++)
		buf_add_str(&b, "12345");
	allocations_left = -1;
	ck_assert(b.failed);
	buf_add_str(&b, "x"); /* there is memory again, but a hole already */
	ck_assert(b.failed);
	ck_assert(!buf_reserve(&b, 1));
	ck_assert_ptr_null(buf_cstr(&b));
	ck_assert_mem_eq(b.p, "kept12345", 9);
	buf_reset(&b);
	ck_assert(!b.failed);
	buf_add_str(&b, "new");
	ck_assert_str_eq(buf_cstr(&b), "new");
	/* more than any memory */
	ck_assert(!buf_reserve(&b, SIZE_MAX));
	ck_assert(b.failed);
	buf_reset(&b);
	ck_assert(!buf_reserve(&b, SIZE_MAX / 2));
	buf_free(&b);
	allocations_left = 0;
	buf_addf(&b, "%d", 1);
	allocations_left = -1;
	ck_assert(b.failed);
	buf_free(&b);
}
END_TEST

/* The right-hand sides are what Go's encoding/json writes. */
START_TEST(text_becomes_a_json_string_as_go_writes_it)
{
	static const struct { struct span in; const char *out; } t[] = {
		{ LIT(""), "\"\"" },
		{ LIT("plain /text"), "\"plain /text\"" },
		{ LIT("\"\\\n\r\t\b\f"), "\"\\\"\\\\\\n\\r\\t\\b\\f\"" },
		{ LIT("\0\x01\x1f\x7f"), "\"\\u0000\\u0001\\u001f\x7f\"" },
		{ LIT("<a href=\"x\">&"), "\"\\u003ca href=\\\"x\\\"\\u003e\\u0026\"" },
		{ LIT("\xe2\x80\xa7\xe2\x80\xa8\xe2\x80\xa9\xe2\x80\xaa"),
		  "\"\xe2\x80\xa7\\u2028\\u2029\xe2\x80\xaa\"" },
		{ LIT("\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80"), "\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\"" },
		{ LIT("a\xff""b\xed\xa0\x80"), "\"a\\ufffdb\\ufffd\\ufffd\\ufffd\"" },
		{ LIT("\xc3"), "\"\\ufffd\"" }, { LIT("\xe2\x80"), "\"\\ufffd\\ufffd\"" },
		{ LIT("\xe2\x80<"), "\"\\ufffd\\ufffd\\u003c\"" },
		{ LIT("\xc3\n"), "\"\\ufffd\\n\"" },
	};
	struct buf b = { 0 };
	struct span value, rest;

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		buf_reset(&b);
		buf_add_json(&b, t[i].in);
		ck_assert_str_eq(buf_cstr(&b), t[i].out);
		ck_assert_int_eq(json_scan(buf_span(&b), 0, &value, &rest, NULL), RC_OK);
		ck_assert_uint_eq(rest.len, 0);
	}
	buf_free(&b);
}
END_TEST

/* Against the definition: a sequence is valid that encodes a character. */
START_TEST(utf8_is_told_from_what_only_looks_like_it)
{
	unsigned long valid = 0;

	/* every sequence of up to three bytes, and all fours with a tail of 0x80 or 0xbf */
	for (unsigned a = 0x80; a < 0x100; a++)
		for (unsigned b = 0; b < 0x100; b++)
			for (unsigned c = 0x7f; c <= 0xc0; c++) {
				char s[4] = { (char)a, (char)b, (char)c, (char)0x80 };
				bool tail2 = (b & 0xc0) == 0x80, tail3 = (c & 0xc0) == 0x80;
				unsigned two = (a & 0x1f) << 6 | (b & 0x3f);
				unsigned three = (a & 0x0f) << 12 | (b & 0x3f) << 6 | (c & 0x3f);
				unsigned four = (a & 7) << 18 | (b & 0x3f) << 12 | (c & 0x3f) << 6;
				size_t want = 0;

				if ((a & 0xe0) == 0xc0 && tail2 && two >= 0x80)
					want = 2;
				if ((a & 0xf0) == 0xe0 && tail2 && tail3 && three >= 0x800 &&
				    (three < 0xd800 || three > 0xdfff))
					want = 3;
				if ((a & 0xf8) == 0xf0 && tail2 && tail3 && four >= 0x10000 && four <= 0x10ffff)
					want = 4;
				if (utf8_sequence(s, 4) != want ||
				    (want > 0 && utf8_sequence(s, want - 1) != 0))
					ck_abort_msg("%02x %02x %02x", a, b, c);
				valid += want > 0;
			}
	ck_assert_uint_gt(valid, 100000);
	ck_assert_uint_eq(utf8_sequence("a\x80", 2), 1);
	ck_assert_uint_eq(utf8_sequence("\0", 1), 1);
	ck_assert_uint_eq(utf8_sequence("", 0), 0);
}
END_TEST

/* --- clock.c --- */

/* What Go 1.26's time.Parse(time.RFC3339) makes of these: made by running it. */
static const struct {
	const char *text;
	int64_t sec;
	int32_t nsec, offset;
	const char *again; /* as time_add_rfc3339() writes it; NULL: refused */
} rfc3339[] = {
	{ "2026-03-01T10:00:00Z", 1772359200, 0, 0, "2026-03-01T10:00:00Z" },
	{ "2026-03-01t10:00:00Z", 0, 0, 0, NULL },
	{ "2026-03-01T10:00:00z", 0, 0, 0, NULL },
	{ "2026-03-01T1:00:00Z", 1772326800, 0, 0, "2026-03-01T01:00:00Z" },
	{ "2026-03-01T10:0:00Z", 0, 0, 0, NULL },
	{ "2026-03-01T10:00:0Z", 0, 0, 0, NULL },
	{ "2026-3-01T10:00:00Z", 0, 0, 0, NULL },
	{ "2026-03-1T10:00:00Z", 0, 0, 0, NULL },
	{ "2026-03-01T10:00:00.5Z", 1772359200, 500000000, 0, "2026-03-01T10:00:00.5Z" },
	{ "2026-03-01T10:00:00,5Z", 1772359200, 500000000, 0, "2026-03-01T10:00:00.5Z" },
	{ "2026-03-01T10:00:00.Z", 0, 0, 0, NULL },
	{ "2026-03-01T10:00:00,Z", 0, 0, 0, NULL },
	{ "2026-03-01T10:00:00.1234567891234567890123Z", 1772359200, 123456789, 0,
	  "2026-03-01T10:00:00.123456789Z" },
	{ "2026-03-01T10:00:00.0000000000000Z", 1772359200, 0, 0, "2026-03-01T10:00:00Z" },
	{ "2026-03-01T10:00:00.999999999999Z", 1772359200, 999999999, 0,
	  "2026-03-01T10:00:00.999999999Z" },
	{ "2026-03-01T10:00:00.000000001Z", 1772359200, 1, 0, "2026-03-01T10:00:00.000000001Z" },
	{ "2026-03-01T10:00:00.5x5Z", 0, 0, 0, NULL },
	{ "2026-03-01T10:00:00.1.2Z", 0, 0, 0, NULL },
	{ "2026-03-01T00:00:00Z", 1772323200, 0, 0, "2026-03-01T00:00:00Z" },
	{ "2026-03-01T23:59:59Z", 1772409599, 0, 0, "2026-03-01T23:59:59Z" },
	{ "2026-03-01T24:00:00Z", 0, 0, 0, NULL },
	{ "2026-03-01T23:59:60Z", 0, 0, 0, NULL },
	{ "2026-03-01T23:60:00Z", 0, 0, 0, NULL },
	{ "2026-02-29T10:00:00Z", 0, 0, 0, NULL },
	{ "2024-02-29T10:00:00Z", 1709200800, 0, 0, "2024-02-29T10:00:00Z" },
	{ "1900-02-29T10:00:00Z", 0, 0, 0, NULL },
	{ "2000-02-29T10:00:00Z", 951818400, 0, 0, "2000-02-29T10:00:00Z" },
	{ "2026-00-01T10:00:00Z", 0, 0, 0, NULL },
	{ "2026-13-01T10:00:00Z", 0, 0, 0, NULL },
	{ "2026-01-00T10:00:00Z", 0, 0, 0, NULL },
	{ "2026-01-32T10:00:00Z", 0, 0, 0, NULL },
	{ "2026-04-31T10:00:00Z", 0, 0, 0, NULL },
	{ "1969-12-31T23:59:59.25Z", -1, 250000000, 0, "1969-12-31T23:59:59.25Z" },
	{ "0000-01-01T00:00:00Z", -62167219200, 0, 0, "0000-01-01T00:00:00Z" },
	{ "0000-02-29T00:00:00Z", -62162121600, 0, 0, "0000-02-29T00:00:00Z" },
	{ "9999-12-31T23:59:59Z", 253402300799, 0, 0, "9999-12-31T23:59:59Z" },
	{ "10000-01-01T00:00:00Z", 0, 0, 0, NULL },
	{ "-001-01-01T00:00:00Z", 0, 0, 0, NULL },
	{ "+2026-01-01T00:00:00Z", 0, 0, 0, NULL },
	{ "2026-03-01T10:00:00+00:00", 1772359200, 0, 0, "2026-03-01T10:00:00Z" },
	{ "2026-03-01T10:00:00-00:00", 1772359200, 0, 0, "2026-03-01T10:00:00Z" },
	{ "2026-03-01T10:00:00.5+02:00", 1772352000, 500000000, 7200, "2026-03-01T10:00:00.5+02:00" },
	{ "2026-03-01T10:00:00-03:30", 1772371800, 0, -12600, "2026-03-01T10:00:00-03:30" },
	{ "2026-03-01T10:00:00+23:59", 1772272860, 0, 86340, "2026-03-01T10:00:00+23:59" },
	/* Go takes these and writes offsets that others refuse: ours become UTC */
	{ "2026-03-01T10:00:00+24:00", 1772272800, 0, 86400, "2026-02-28T10:00:00Z" },
	{ "2026-03-01T10:00:00+23:60", 1772272800, 0, 86400, "2026-02-28T10:00:00Z" },
	{ "2026-03-01T10:00:00+24:60", 1772269200, 0, 90000, "2026-02-28T09:00:00Z" },
	{ "2026-03-01T10:00:00-24:60", 1772449200, 0, -90000, "2026-03-02T11:00:00Z" },
	{ "2026-03-01T10:00:00+25:00", 0, 0, 0, NULL },
	{ "2026-03-01T10:00:00+00:61", 0, 0, 0, NULL },
	{ "2026-03-01T10:00:00+0000", 0, 0, 0, NULL },
	{ "2026-03-01T10:00:00+00", 0, 0, 0, NULL },
	{ "2026-03-01T10:00:00+0:00", 0, 0, 0, NULL },
	{ "2026-03-01T10:00:00+-1:00", 0, 0, 0, NULL },
	{ "2026-03-01T10:00:00 +00:00", 0, 0, 0, NULL },
	{ "2026-03-01T10:00:00", 0, 0, 0, NULL },
	{ "2026-03-01T10:00Z", 0, 0, 0, NULL },
	{ "2026-03-01 10:00:00Z", 0, 0, 0, NULL },
	{ "2026-03-01T10:00:00ZZ", 0, 0, 0, NULL },
	{ "2026-03-01T10:00:00Z ", 0, 0, 0, NULL },
	{ " 2026-03-01T10:00:00Z", 0, 0, 0, NULL },
	{ "2026-03-01T10:00:00Z07:00", 0, 0, 0, NULL },
	{ "2026-03-01T 1:00:00Z", 0, 0, 0, NULL },
	{ "2026-03-01T+1:00:00Z", 0, 0, 0, NULL },
	{ "2026-03-01T10:00:00.+01:00", 0, 0, 0, NULL },
	{ "2026-03-01", 0, 0, 0, NULL },
	{ "yesterday", 0, 0, 0, NULL },
	{ "", 0, 0, 0, NULL },
	/* local years at both ends; Go takes the last two, but they can't be
	 * written again as UTC */
	{ "0000-01-01T00:00:00+14:00", -62167269600, 0, 50400, "0000-01-01T00:00:00+14:00" },
	{ "9999-12-31T23:59:59-12:00", 253402343999, 0, -43200, "9999-12-31T23:59:59-12:00" },
	{ "0000-01-01T00:00:00+24:00", 0, 0, 0, NULL },
	{ "9999-12-31T23:59:59-24:60", 0, 0, 0, NULL },
};

START_TEST(rfc3339_is_taken_as_go_takes_it)
{
	const char *text = rfc3339[_i].text;
	struct instant at = { 1, 1, 1 }, again;
	struct buf b = { 0 };
	char *copy = malloc(strlen(text) + 1); /* without NUL: no look beyond */

	memcpy(copy, text, strlen(text));
	ck_assert_msg(time_parse_rfc3339((struct span){ copy, strlen(text) }, &at) ==
	              (rfc3339[_i].again != NULL), "%s", text);
	ck_assert_msg(at.sec == rfc3339[_i].sec, "%s: %" PRId64, text, at.sec);
	ck_assert_int_eq(at.nsec, rfc3339[_i].nsec);
	ck_assert_int_eq(at.offset, rfc3339[_i].offset);
	if (rfc3339[_i].again != NULL) {
		time_add_rfc3339(&b, at);
		ck_assert_str_eq(buf_cstr(&b), rfc3339[_i].again);
		ck_assert(time_parse_rfc3339(buf_span(&b), &again));
		ck_assert_int_eq(time_compare(at, again), 0);
		ck_assert(time_parse_any(span_of(text), &again));
		ck_assert_int_eq(time_compare(at, again), 0);
		ck_assert_int_eq(at.offset, again.offset);
	}
	buf_free(&b);
	free(copy);
}
END_TEST

/* All forms of fixtures/action-logs.md, and what resembles them. */
static const struct {
	const char *text;
	int64_t sec;
	int32_t nsec, offset;
	bool ok;
} anyform[] = {
	{ "2026-02-03T20:53:53.519728Z", 1770152033, 519728000, 0, true },
	{ "2026-02-03T20:53:53Z", 1770152033, 0, 0, true },
	{ "2026-02-03T20:53:53-08:00", 1770180833, 0, -28800, true },
	{ "2026-02-03T20:53:53.519728+01:00", 1770148433, 519728000, 3600, true },
	{ "2026-02-03 20:53:53.519728 -0800 PST m=+0.036937834", 1770180833, 519728000, -28800, true },
	{ "2026-02-03 20:53:53.519728 -0800 PST m=-0.036937834", 1770180833, 519728000, -28800, true },
	{ "2026-02-03 20:53:53.519728 -0800 PST", 1770180833, 519728000, -28800, true },
	{ "2026-11-23 17:49:24 +0000 UTC", 1795456164, 0, 0, true },
	{ "2026-11-23 17:49:24.5 +0000 UTC m=+12", 1795456164, 500000000, 0, true },
	{ "2026-02-03 20:53:53 -0300 -03", 1770162833, 0, -10800, true },
	{ "2026-02-03 20:53:53 +0530 +0530", 1770132233, 0, 19800, true },
	{ "2026-02-03 20:53:53.519728-08:00", 1770180833, 519728000, -28800, true },
	{ "2026-02-03 20:53:53-08:00", 1770180833, 0, -28800, true },
	{ "2026-02-03 20:53:53+0100", 1770148433, 0, 3600, true },
	{ "2026-02-03 20:53:53 +0100", 1770148433, 0, 3600, true },
	{ "2026-02-03 20:53:53 +01:00", 1770148433, 0, 3600, true },
	{ "2026-02-03 20:53:53Z", 1770152033, 0, 0, true },
	{ "2026-02-03 20:53:53", 1770152033, 0, 0, true },
	{ "2026-02-03 20:53:53.519728", 1770152033, 519728000, 0, true },
	{ "2026-02-03T20:53:53", 1770152033, 0, 0, true },
	{ "2026-02-03 20:53", 1770151980, 0, 0, true },
	{ "2026-02-03", 1770076800, 0, 0, true },
	{ "2024-02-29", 1709164800, 0, 0, true },
	{ "", 0, 0, 0, false },
	{ "tomorrow", 0, 0, 0, false },
	{ "2026-02-30", 0, 0, 0, false },
	{ "2026-02-03 ", 0, 0, 0, false },
	{ "2026-02-03T", 0, 0, 0, false },
	{ "2026-02-03 24:00:00", 0, 0, 0, false },
	{ "2026-02-03 20:53:60", 0, 0, 0, false },
	{ "2026-02-03 20:53:53 PST", 0, 0, 0, false }, /* which PST? */
	{ "2026-02-03 20:53:53 -0800 PST ", 0, 0, 0, false },
	{ "2026-02-03 20:53:53 -0800 ", 0, 0, 0, false },
	{ "2026-02-03 20:53:53 -0800 PST m=", 0, 0, 0, false },
	{ "2026-02-03 20:53:53 -0800 PST m=+", 0, 0, 0, false },
	{ "2026-02-03 20:53:53 -0800 PST m=0.1", 0, 0, 0, false },
	{ "2026-02-03 20:53:53 -0800 PST m=+0.1 x", 0, 0, 0, false },
	{ "2026-02-03 20:53:53 -08", 0, 0, 0, false },
	{ "2026-02-03 20:53:53 +2500", 0, 0, 0, false },
	{ "2026-02-03  20:53:53", 0, 0, 0, false },
	{ "2026-02-03_20:53:53", 0, 0, 0, false },
	{ "2026-02-03 20:53:53.", 0, 0, 0, false },
	{ "20260203", 0, 0, 0, false },
	{ "1770152033", 0, 0, 0, false },
};

START_TEST(every_form_of_the_wild_is_understood)
{
	const char *text = anyform[_i].text;
	struct instant at = { 1, 1, 1 };
	char *copy = malloc(strlen(text) + 1);

	memcpy(copy, text, strlen(text));
	ck_assert_msg(time_parse_any((struct span){ copy, strlen(text) }, &at) == anyform[_i].ok,
	              "%s", text);
	ck_assert_msg(at.sec == anyform[_i].sec, "%s: %" PRId64, text, at.sec);
	ck_assert_int_eq(at.nsec, anyform[_i].nsec);
	ck_assert_int_eq(at.offset, anyform[_i].offset);
	free(copy);
}
END_TEST

START_TEST(times_are_written_as_td_s_driver_writes_them)
{
	static const struct { const char *in, *out; } t[] = {
		{ "2026-02-03T20:53:53Z", "2026-02-03 20:53:53+00:00" },
		{ "2026-02-03T20:53:53.519728-08:00", "2026-02-03 20:53:53.519728-08:00" },
		{ "2026-02-03T20:53:53.100+05:30", "2026-02-03 20:53:53.1+05:30" },
		{ "0001-01-01T00:00:00Z", "0001-01-01 00:00:00+00:00" },
		{ "2026-02-03T00:30:00+23:59", "2026-02-03 00:30:00+23:59" },
		{ "2026-02-03T00:30:00+24:00", "2026-02-02 00:30:00+00:00" },
		{ "2026-02-03T00:30:00-24:60", "2026-02-04 01:30:00+00:00" },
	};
	struct buf b = { 0 };
	struct instant at, again;

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		buf_reset(&b);
		ck_assert(time_parse_rfc3339(span_of(t[i].in), &at));
		time_add_sqlite(&b, at);
		ck_assert_str_eq(buf_cstr(&b), t[i].out);
		ck_assert(time_parse_any(buf_span(&b), &again));
		ck_assert_int_eq(time_compare(at, again), 0);
	}
	buf_free(&b);
}
END_TEST

/* All years, some days of each month, all times of the day. */
START_TEST(days_are_the_c_library_s_days)
{
	char text[TIME_TEXT], want[64];
	struct instant at;

	for (int64_t sec = -62167219200; sec <= 253402300799; sec += 10 * 86400 - 1) {
		time_t t = (time_t)sec;
		struct tm tm;

		ck_assert_ptr_nonnull(gmtime_r(&t, &tm));
		snprintf(want, sizeof(want), "%04d-%02d-%02dT%02d:%02d:%02dZ", tm.tm_year + 1900,
		         tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
		time_text(sec, text);
		if (strcmp(text, want) != 0)
			ck_abort_msg("%" PRId64 ": %s, want %s", sec, text, want);
		if (!time_parse_rfc3339(span_of(text), &at) || at.sec != sec)
			ck_abort_msg("%s: %" PRId64 ", want %" PRId64, text, at.sec, sec);
	}
}
END_TEST

START_TEST(instants_compare_without_their_offsets)
{
	struct instant a = { 10, 5, 0 }, same = { 10, 5, 3600 };
	struct instant later = { 10, 6, 0 }, before = { 9, 999999999, 0 };

	ck_assert_int_eq(time_compare(a, same), 0);
	ck_assert_int_lt(time_compare(a, later), 0);
	ck_assert_int_gt(time_compare(later, a), 0);
	ck_assert_int_gt(time_compare(a, before), 0);
	ck_assert_int_lt(time_compare(before, a), 0);
	ck_assert_int_eq(time_of_us(-1).sec, -1);
	ck_assert_int_eq(time_of_us(-1).nsec, 999999000);
	ck_assert_int_eq(time_of_us(1500000).sec, 1);
	ck_assert_int_eq(time_of_us(1500000).nsec, 500000000);
	ck_assert_int_eq(time_of_us(0).offset, 0);
}
END_TEST

START_TEST(the_clocks_run)
{
	int64_t mono = clock_mono_us(), now = clock_now_us();
	int64_t diff = now / 1000000 - (int64_t)time(NULL);

	ck_assert(diff >= -5 && diff <= 5);
	ck_assert_int_ge(clock_mono_us(), mono);
	ck_assert_int_ge(clock_mono_ms(), mono / 1000);
	ck_assert_int_lt(clock_mono_ms() - mono / 1000, 60000);
	nanosleep(&(struct timespec){ 0, 2000000 }, NULL);
	ck_assert_int_ge(clock_mono_us(), mono + 2000);
}
END_TEST

/* --- id.c, hash.c --- */

START_TEST(ids_are_random_and_of_their_shape)
{
	char id[ID_MAX], other[ID_MAX];
	unsigned char raw[10000], zero[64] = { 0 };

	ck_assert_int_eq(id_new("p_", 8, id), RC_OK);
	ck_assert_int_eq(id_new("p_", 8, other), RC_OK);
	ck_assert_str_ne(id, other);
	ck_assert_uint_eq(strlen(id), 18);
	ck_assert(id_is(span_of(id), "p_", 16));
	ck_assert_int_eq(id_new("", 16, id), RC_OK);
	ck_assert(id_is(span_of(id), "", 32));
	/* the longest that fits, and one more */
	ck_assert_int_eq(id_new("abcdefg", 16, id), RC_OK);
	ck_assert_uint_eq(strlen(id), ID_MAX - 1);
	ck_assert_int_eq(id_new("abcdefgh", 16, id), RC_FAULT);
	ck_assert_str_eq(id, "");
	ck_assert_int_eq(id_new("", SIZE_MAX, id), RC_FAULT);
	memset(raw, 0, sizeof(raw));
	ck_assert_int_eq(id_random(raw, sizeof(raw)), RC_OK);
	for (size_t i = 0; i + sizeof(zero) <= sizeof(raw); i += sizeof(zero))
		ck_assert_mem_ne(raw + i, zero, sizeof(zero));
}
END_TEST

START_TEST(other_shapes_are_no_ids)
{
	static const char *const wrong[] = {
		"", "p_", "p_0123456789abcde", "p_0123456789abcdef0", "p_0123456789abcdeF",
		"p_0123456789abcdeg", "q_0123456789abcdef", "p-0123456789abcdef",
		"P_0123456789abcdef", "p_0123456789abcde ", " p_0123456789abcdef",
		"p_../../etc/passwd", "p_0123456789abc/..",
	};
	struct span nul = LIT("p_0123456789abcd\0f");

	ck_assert(id_is(span_of("p_0123456789abcdef"), "p_", 16));
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		ck_assert_msg(!id_is(span_of(wrong[i]), "p_", 16), "%s", wrong[i]);
	ck_assert(!id_is(nul, "p_", 16));
	ck_assert(!id_is((struct span){ NULL, 0 }, "p_", 16));
}
END_TEST

START_TEST(bytes_are_written_as_hex)
{
	char text[] = "xxxxxxxxx";

	id_hex((const unsigned char *)"\x00\x9f\xff", 3, text);
	ck_assert_str_eq(text, "009fff");
	ck_assert_int_eq(text[7], 'x');
	id_hex((const unsigned char *)"", 0, text);
	ck_assert_str_eq(text, "");
}
END_TEST

/* RFC 4648, section 10, in the alphabet of URLs and without padding. */
START_TEST(base64url_has_one_spelling)
{
	static const struct { const char *bytes, *text; } rows[] = {
		{ "", "" }, { "f", "Zg" }, { "fo", "Zm8" }, { "foo", "Zm9v" }, { "foob", "Zm9vYg" },
		{ "fooba", "Zm9vYmE" }, { "foobar", "Zm9vYmFy" }, { "\xfb\xff", "-_8" },
	};
	static const char *const wrong[] = { "Zh", "Zm9", "Z", "Zg==", "+/8", "Zm 8" };
	char text[BASE64URL_MAX(6)], bytes[8];
	size_t n;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		size_t len = strlen(rows[i].bytes);

		base64url_encode((const unsigned char *)rows[i].bytes, len, text);
		ck_assert_str_eq(text, rows[i].text);
		ck_assert_uint_lt(strlen(text), BASE64URL_MAX(len));
		ck_assert(base64url_decode(span_of(text), bytes, &n));
		ck_assert(n == len && memcmp(bytes, rows[i].bytes, n) == 0);
	}
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		ck_assert_msg(!base64url_decode(span_of(wrong[i]), bytes, &n), "%s", wrong[i]);
}
END_TEST

START_TEST(hex_is_decoded_whole_or_not_at_all)
{
	unsigned char out[4];

	ck_assert(id_unhex(span_of("00fFa9B1"), out, 4));
	ck_assert_mem_eq(out, "\x00\xff\xa9\xb1", 4);
	ck_assert(!id_unhex(span_of("00ffa9b"), out, 4));
	ck_assert(!id_unhex(span_of("00ffa9b1c"), out, 4));
	ck_assert(!id_unhex(span_of("00ffa9b1c2"), out, 4));
	ck_assert(!id_unhex(span_of("00ffa9g1"), out, 4));
	ck_assert(!id_unhex(span_of("00ffa9-1"), out, 4));
	ck_assert(!id_unhex(span_of("0x00ffa9"), out, 4));
	ck_assert(id_unhex((struct span){ NULL, 0 }, out, 0));
}
END_TEST

/* FIPS 180-4's examples. */
START_TEST(sha256_is_sha256)
{
	static const struct { const char *text, *hex; } t[] = {
		{ "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" },
		{ "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" },
		{ "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
		  "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1" },
	};
	unsigned char out[HASH_LEN], want[HASH_LEN];
	struct hash h;

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct span s = span_of(t[i].text);

		ck_assert(id_unhex(span_of(t[i].hex), want, HASH_LEN));
		hash_begin(&h);
		hash_add(&h, (struct span){ s.p, s.len / 3 });
		hash_add(&h, (struct span){ s.p + s.len / 3, s.len - s.len / 3 });
		ck_assert_int_eq(hash_end(&h, out), RC_OK);
		ck_assert_mem_eq(out, want, HASH_LEN);
		ck_assert_int_eq(hash_sha256(span_of(t[i].text), out), RC_OK);
		ck_assert_mem_eq(out, want, HASH_LEN);
	}
	ck_assert_int_eq(hash_sha256((struct span){ NULL, 0 }, out), RC_OK);
	ck_assert(id_unhex(span_of(t[0].hex), want, HASH_LEN));
	ck_assert_mem_eq(out, want, HASH_LEN);
}
END_TEST

/* --- fs.c --- */

START_TEST(a_folder_is_made_and_made_durable)
{
	struct err err = { "" };
	struct stat st;

	umask(027);
	calls[0] = '\0';
	ck_assert_int_eq(fs_mkdir(in_dir("new"), &err), RC_OK);
	ck_assert_str_eq(calls, "d");
	ck_assert_int_eq(stat(in_dir("new"), &st), 0);
	ck_assert(S_ISDIR(st.st_mode));
	ck_assert_uint_eq(st.st_mode & 0777, 0750);
	ck_assert_int_eq(fs_mkdir(in_dir("new"), &err), RC_OK); /* again */
	ck_assert_int_eq(fs_mkdir(in_dir("new/"), &err), RC_OK);
	ck_assert_str_eq(calls, "ddd"); /* its maker may have died before */
	fsyncs_left = 0;
	ck_assert_int_eq(fs_mkdir(in_dir("other"), &err), RC_UNAVAILABLE);
	fsyncs_left = -1;
}
END_TEST

START_TEST(a_folder_that_can_t_be_made_is_named)
{
	struct err err = { "" };

	ck_assert_int_eq(fs_mkdir(in_dir("a/b"), &err), RC_UNAVAILABLE);
	ck_assert_ptr_nonnull(strstr(err.text, in_dir("a/b")));
	ck_assert_ptr_nonnull(strstr(err.text, "No such file"));
	put_file(in_dir("file"), LIT("x"));
	ck_assert_int_eq(fs_mkdir(in_dir("file"), &err), RC_UNAVAILABLE);
	ck_assert_ptr_nonnull(strstr(err.text, "Not a directory"));
	ck_assert_int_eq(fs_mkdir(in_dir("file/x"), NULL), RC_UNAVAILABLE);
}
END_TEST

START_TEST(a_file_is_read_whole_up_to_its_limit)
{
	struct buf b = { 0 };
	struct err err = { "" };

	buf_add_str(&b, "before ");
	put_file(in_dir("file"), LIT("ten\0bytes\n"));
	ck_assert_int_eq(fs_read(in_dir("file"), 10, &b, &err), RC_OK);
	ck_assert(span_eq(buf_span(&b), LIT("before ten\0bytes\n")));
	ck_assert_int_eq(fs_read(in_dir("file"), 9, &b, &err), RC_TOO_LARGE);
	ck_assert_ptr_nonnull(strstr(err.text, in_dir("file")));
	ck_assert_uint_eq(b.len, 17); /* as before */
	ck_assert_int_eq(fs_read(in_dir("none"), 10, &b, &err), RC_NOT_FOUND);
	ck_assert_int_eq(fs_read(in_dir("file/none"), 10, &b, &err), RC_NOT_FOUND);
	ck_assert_int_eq(fs_read(dir, 10, &b, &err), RC_UNAVAILABLE);
	ck_assert_ptr_nonnull(strstr(err.text, "directory"));
	ck_assert_int_eq(fs_read("/dev/zero", 100000, &b, &err), RC_TOO_LARGE);
	ck_assert_uint_eq(b.len, 17);
	put_file(in_dir("empty"), LIT(""));
	ck_assert_int_eq(fs_read(in_dir("empty"), 0, &b, &err), RC_OK);
	ck_assert_uint_eq(b.len, 17);
	buf_free(&b);
	ck_assert_int_eq(STARVED(0, fs_read(in_dir("file"), 10, &b, &err)), RC_FAULT);
	buf_free(&b);
}
END_TEST

START_TEST(a_file_is_written_synced_renamed_and_its_folder_synced)
{
	struct err err = { "" };
	struct stat st;
	struct buf b;

	umask(077);
	ck_assert_int_eq(fs_write(in_dir("file"), LIT("first"), 0644, &err), RC_OK);
	ck_assert_str_eq(calls, "frd");
	ck_assert_int_eq(stat(in_dir("file"), &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0644); /* whatever the umask */
	write_chunk = 3; /* a kernel may take less than all */
	ck_assert_int_eq(fs_write(in_dir("file"), LIT("second, longer"), 0600, &err), RC_OK);
	write_chunk = 0;
	b = get_file(in_dir("file"));
	ck_assert_str_eq(b.p, "second, longer");
	ck_assert_int_eq(stat(in_dir("file"), &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0600);
	ck_assert_int_eq(fs_write(in_dir("file"), LIT(""), 0600, &err), RC_OK);
	ck_assert_int_eq(count_entries(dir), 1);
	buf_free(&b);
}
END_TEST

/* Whatever fails: the old content stays, and no temporary file. */
START_TEST(a_file_that_can_t_be_written_stays_as_it_was)
{
	struct err err = { "" };
	struct buf b;

	put_file(in_dir("file"), LIT("old"));
	write_errno = ENOSPC;
	ck_assert_int_eq(fs_write(in_dir("file"), LIT("new"), 0600, &err), RC_UNAVAILABLE);
	ck_assert_ptr_nonnull(strstr(err.text, "No space left"));
	write_errno = 0;
	fsyncs_left = 0;
	ck_assert_int_eq(fs_write(in_dir("file"), LIT("new"), 0600, &err), RC_UNAVAILABLE);
	ck_assert_str_eq(calls, "f");
	fsyncs_left = -1;
	rename_fails = true;
	ck_assert_int_eq(fs_write(in_dir("file"), LIT("new"), 0600, &err), RC_UNAVAILABLE);
	rename_fails = false;
	ck_assert_int_eq(STARVED(0, fs_write(in_dir("file"), LIT("new"), 0600, &err)), RC_FAULT);
	ck_assert_int_eq(fs_write(in_dir("none/file"), LIT("new"), 0600, &err), RC_UNAVAILABLE);
	b = get_file(in_dir("file"));
	ck_assert_str_eq(b.p, "old");
	ck_assert_int_eq(count_entries(dir), 1);
	buf_free(&b);
	/* The folder's sync failed: there, but nobody may count on it. */
	fsyncs_left = 1;
	ck_assert_int_eq(fs_write(in_dir("file"), LIT("new"), 0600, &err), RC_UNAVAILABLE);
	fsyncs_left = -1;
}
END_TEST

START_TEST(a_path_is_synced_or_named)
{
	struct err err = { "" };

	put_file(in_dir("file"), LIT("x"));
	ck_assert_int_eq(fs_sync(in_dir("file"), &err), RC_OK);
	ck_assert_int_eq(fs_sync(dir, &err), RC_OK);
	ck_assert_str_eq(calls, "fd");
	ck_assert_int_eq(fs_sync(in_dir("none"), &err), RC_UNAVAILABLE);
	ck_assert_ptr_nonnull(strstr(err.text, in_dir("none")));
	fsyncs_left = 0;
	ck_assert_int_eq(fs_sync(in_dir("file"), &err), RC_UNAVAILABLE);
	ck_assert_ptr_nonnull(strstr(err.text, in_dir("file")));
	fsyncs_left = -1;
}
END_TEST

START_TEST(a_replaced_file_is_another_one)
{
	struct fs_id first, second;
	struct err err;
	int fd;

	put_file(in_dir("file"), LIT("old"));
	put_file(in_dir("file2"), LIT("old"));
	fd = open(in_dir("file"), O_RDONLY | O_CLOEXEC);
	ck_assert(fs_identify(in_dir("file"), &first));
	ck_assert(fs_identify(in_dir("file"), &second));
	ck_assert(fs_same(first, second));
	put_file(in_dir("file"), LIT("written over"));
	ck_assert(fs_identify(in_dir("file"), &second));
	ck_assert(fs_same(first, second));
	ck_assert(fs_identify(in_dir("file2"), &second));
	ck_assert(!fs_same(first, second));
	ck_assert_int_eq(fs_write(in_dir("file"), LIT("old"), 0600, &err), RC_OK);
	ck_assert(fs_identify(in_dir("file"), &second));
	ck_assert(!fs_same(first, second));
	ck_assert(fs_identify_open(fd, &second));
	ck_assert(fs_same(first, second));
	close(fd);
	ck_assert(!fs_identify_open(fd, &second));
	ck_assert(!fs_identify(in_dir("none"), &second));
}
END_TEST

START_TEST(network_file_systems_are_known_by_name)
{
	ck_assert_str_eq(fs_network_type(0x6969), "NFS");
	ck_assert_str_eq(fs_network_type(0xff534d42u), "CIFS");
	ck_assert_str_eq(fs_network_type(0xfe534d42u), "SMB2");
	ck_assert_str_eq(fs_network_type(0x01021997), "9p");
	ck_assert_ptr_null(fs_network_type(0x65735546)); /* FUSE: local or not */
	ck_assert_ptr_null(fs_network_type(0xef53));     /* ext4 */
	ck_assert_ptr_null(fs_network_type(0x01021994)); /* tmpfs */
	ck_assert_ptr_null(fs_network_type(0));
	/* where it lies, or will lie */
	ck_assert_ptr_null(fs_network("/proc"));
	ck_assert_ptr_null(fs_network("/proc/none/such/"));
	ck_assert_ptr_eq(fs_network(in_dir("not/yet/there")), fs_network(dir));
	ck_assert_ptr_eq(fs_network("not-there-either"), fs_network("."));
}
END_TEST

/* --- lock.c --- */

#define LONG_MS 20000 /* nothing that works takes so long */

/* A process that does something and then waits to be told to end. */
struct other {
	pid_t pid;
	int said; /* read one byte: it has come so far */
	int tell; /* write one byte: it ends */
};

/* In the child: say so, then wait. */
static void
say_and_wait(struct other *o)
{
	char c = '.';

	if (write(o->said, &c, 1) != 1 || read(o->tell, &c, 1) != 1)
		_exit(3);
}

static struct lock *
open_lock(const char *path)
{
	struct lock *l;
	struct err err = { "" };

	ck_assert_msg(lock_open(path, &l, &err) == RC_OK, "%s", err.text);
	return l;
}

/* Start a process that takes the lock, says so, holds it until told. */
static struct other
start_holder(const char *path)
{
	int said[2], tell[2];
	struct other o;

	ck_assert_int_eq(pipe(said), 0);
	ck_assert_int_eq(pipe(tell), 0);
	o.pid = fork();
	ck_assert_int_ge(o.pid, 0);
	if (o.pid == 0) {
		struct other me = { 0, said[1], tell[0] };
		struct lock *l;

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(said[0]);
		close(tell[1]);
		if (lock_open(path, &l, NULL) != RC_OK ||
		    lock_take(l, clock_mono_ms() + LONG_MS) != RC_OK)
			_exit(2);
		say_and_wait(&me);
		lock_close(l);
		_exit(0);
	}
	close(said[1]);
	close(tell[0]);
	o.said = said[0];
	o.tell = tell[1];
	return o;
}

static void
wait_said(struct other *o)
{
	char c;

	ck_assert_int_eq(read(o->said, &c, 1), 1);
}

/* Tell it to end and see that it did well. */
static void
end_other(struct other *o)
{
	int status;

	ck_assert_int_eq(write(o->tell, ".", 1), 1);
	ck_assert_int_eq(waitpid(o->pid, &status, 0), o->pid);
	ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	close(o->tell);
	close(o->said);
}

START_TEST(a_lock_excludes_other_processes)
{
	struct lock *l = open_lock(in_dir("lock"));
	struct other o = start_holder(in_dir("lock"));

	wait_said(&o);
	ck_assert_int_eq(lock_take(l, 0), RC_BUSY); /* a deadline in the past: once */
	ck_assert(!lock_held(l));
	ck_assert_int_eq(lock_take(l, clock_mono_ms()), RC_BUSY);
	end_other(&o);
	ck_assert_int_eq(lock_take(l, 0), RC_OK); /* free: it is got all the same */
	ck_assert(lock_held(l));
	lock_release(l);
	ck_assert(!lock_held(l));
	lock_release(l);
	ck_assert_int_eq(lock_take(l, INT64_MIN), RC_OK);
	lock_close(l);
	lock_close(NULL);
	ck_assert_int_eq(access(in_dir("lock"), F_OK), 0); /* the file stays */
}
END_TEST

START_TEST(a_wait_ends_at_its_deadline)
{
	struct lock *l = open_lock(in_dir("lock"));
	struct other o = start_holder(in_dir("lock"));
	int64_t start;

	wait_said(&o);
	start = clock_mono_ms();
	ck_assert_int_eq(lock_take(l, start + 150), RC_BUSY);
	ck_assert_int_ge(clock_mono_ms(), start + 150);
	ck_assert_int_lt(clock_mono_ms(), start + LONG_MS);
	ck_assert(!lock_held(l));
	end_other(&o);
	lock_close(l);
}
END_TEST

START_TEST(a_killed_holder_frees_its_lock)
{
	struct lock *l = open_lock(in_dir("lock"));
	struct other o = start_holder(in_dir("lock"));
	pid_t killer;

	wait_said(&o);
	killer = fork(); /* it strikes while this process waits, or before */
	if (killer == 0) {
		nanosleep(&(struct timespec){ 0, 50000000 }, NULL);
		kill(o.pid, SIGKILL);
		_exit(0);
	}
	ck_assert_int_eq(lock_take(l, clock_mono_ms() + LONG_MS), RC_OK);
	ck_assert_int_eq(waitpid(o.pid, NULL, 0), o.pid);
	ck_assert_int_eq(waitpid(killer, NULL, 0), killer);
	close(o.said);
	close(o.tell);
	lock_close(l);
}
END_TEST

/* Whether a process stands in the kernel's queue for a flock. */
static bool
is_queued(pid_t pid)
{
	FILE *f = fopen("/proc/locks", "r");
	char line[256];
	long at;
	bool found = false;

	if (f == NULL)
		return false;
	while (!found && fgets(line, sizeof(line), f) != NULL)
		found = sscanf(line, "%*d: -> FLOCK %*s %*s %ld", &at) == 1 && at == (long)pid;
	fclose(f);
	return found;
}

static bool
wait_queued(pid_t pid)
{
	int64_t end = clock_mono_ms() + LONG_MS;

	while (!is_queued(pid)) {
		if (clock_mono_ms() > end)
			return false;
		nanosleep(&(struct timespec){ 0, 1000000 }, NULL);
	}
	return true;
}

START_TEST(those_who_wait_are_served_in_their_order)
{
	struct lock *l = open_lock(in_dir("lock"));
	struct other o[5];

	ck_assert_int_eq(lock_take(l, 0), RC_OK);
	for (int i = 0; i < 5; i++) {
		o[i] = start_holder(in_dir("lock"));
		ck_assert_msg(wait_queued(o[i].pid), "process %d never stood in /proc/locks", i);
	}
	lock_release(l);
	for (int i = 0; i < 5; i++) {
		wait_said(&o[i]); /* it holds the lock now: all later ones wait */
		for (int j = i + 1; j < 5; j++)
			ck_assert(is_queued(o[j].pid));
		end_other(&o[i]);
	}
	lock_close(l);
}
END_TEST

/* Many at once, each adding 1 to the same number: none is lost. */
START_TEST(a_number_under_a_lock_loses_nothing)
{
	enum { PROCESSES = 4, TIMES = 100 };
	pid_t pids[PROCESSES];
	int status;
	struct buf b;

	put_file(in_dir("number"), LIT("0"));
	for (int i = 0; i < PROCESSES; i++) {
		pids[i] = fork();
		ck_assert_int_ge(pids[i], 0);
		if (pids[i] != 0)
			continue;
		for (int n = 0; n < TIMES; n++) {
			struct lock *l;
			char text[32] = "";
			int fd = open(in_dir("number"), O_RDWR);

			if (fd < 0 || lock_open(in_dir("lock"), &l, NULL) != RC_OK ||
			    lock_take(l, clock_mono_ms() + LONG_MS) != RC_OK ||
			    pread(fd, text, sizeof(text) - 1, 0) <= 0)
				_exit(1);
			if (n % 8 == 0)
				nanosleep(&(struct timespec){ 0, 100000 }, NULL);
			snprintf(text, sizeof(text), "%d", atoi(text) + 1);
			if (pwrite(fd, text, strlen(text), 0) <= 0)
				_exit(1);
			lock_close(l);
			close(fd);
		}
		_exit(0);
	}
	for (int i = 0; i < PROCESSES; i++) {
		ck_assert_int_eq(waitpid(pids[i], &status, 0), pids[i]);
		ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	}
	b = get_file(in_dir("number"));
	ck_assert_int_eq(atoi(b.p), PROCESSES * TIMES);
	buf_free(&b);
}
END_TEST

static volatile sig_atomic_t alarms, usr1s;

static void
count_signal(int sig)
{
	*(sig == SIGALRM ? &alarms : &usr1s) += 1;
}

START_TEST(a_wait_works_with_all_signals_blocked_and_puts_all_back)
{
	struct lock *l = open_lock(in_dir("lock"));
	struct other o = start_holder(in_dir("lock"));
	struct sigaction ours = { .sa_handler = count_signal, .sa_flags = SA_RESTART }, after;
	struct itimerval timer = { { 700, 0 }, { 1000, 0 } }, left;
	sigset_t all, mask;

	wait_said(&o);
	ck_assert_int_eq(sigaction(SIGALRM, &ours, NULL), 0);
	ck_assert_int_eq(setitimer(ITIMER_REAL, &timer, NULL), 0);
	sigfillset(&all);
	ck_assert_int_eq(sigprocmask(SIG_SETMASK, &all, NULL), 0);
	ck_assert_int_eq(lock_take(l, clock_mono_ms() + 120), RC_BUSY);

	ck_assert_int_eq(sigprocmask(SIG_SETMASK, NULL, &mask), 0);
	for (int sig = 1; sig < 32; sig++)
		if (sig != SIGKILL && sig != SIGSTOP)
			ck_assert_msg(sigismember(&mask, sig) == 1, "signal %d", sig);
	ck_assert_int_eq(sigaction(SIGALRM, NULL, &after), 0);
	ck_assert(after.sa_handler == count_signal);
	ck_assert_int_ne(after.sa_flags & SA_RESTART, 0);
	ck_assert_int_eq(getitimer(ITIMER_REAL, &left), 0);
	ck_assert_int_eq(left.it_interval.tv_sec, 700);
	ck_assert_int_ge(left.it_value.tv_sec, 900); /* it ran on meanwhile */
	ck_assert_int_lt(left.it_value.tv_sec, 1000);
	ck_assert_int_eq(sigpending(&mask), 0);
	ck_assert_int_eq(sigismember(&mask, SIGALRM), 0); /* none of ours is left */
	sigemptyset(&all);
	ck_assert_int_eq(sigprocmask(SIG_SETMASK, &all, NULL), 0);
	ck_assert_int_eq(alarms, 0);
	end_other(&o);
	lock_close(l);
}
END_TEST

START_TEST(an_alarm_that_was_due_meanwhile_comes_after_the_wait)
{
	struct lock *l = open_lock(in_dir("lock"));
	struct other o = start_holder(in_dir("lock"));
	struct sigaction ours = { .sa_handler = count_signal };
	struct itimerval timer = { { 0, 0 }, { 0, 20000 } };
	int64_t end = clock_mono_ms() + LONG_MS;

	wait_said(&o);
	ck_assert_int_eq(sigaction(SIGALRM, &ours, NULL), 0);
	ck_assert_int_eq(setitimer(ITIMER_REAL, &timer, NULL), 0);
	ck_assert_int_eq(lock_take(l, clock_mono_ms() + 100), RC_BUSY);
	while (alarms == 0 && clock_mono_ms() < end)
		nanosleep(&(struct timespec){ 0, 1000000 }, NULL);
	ck_assert_int_eq(alarms, 1);
	end_other(&o);
	lock_close(l);
}
END_TEST

START_TEST(other_signals_don_t_end_a_wait)
{
	struct lock *l = open_lock(in_dir("lock"));
	struct other o = start_holder(in_dir("lock"));
	struct sigaction ours = { .sa_handler = count_signal }; /* no SA_RESTART */
	pid_t parent = getpid(), child;
	int64_t start;

	wait_said(&o);
	ck_assert_int_eq(sigaction(SIGUSR1, &ours, NULL), 0);
	child = fork();
	ck_assert_int_ge(child, 0);
	if (child == 0) {
		if (!wait_queued(parent))
			_exit(1);
		for (int i = 0; i < 5; i++) {
			kill(parent, SIGUSR1);
			nanosleep(&(struct timespec){ 0, 2000000 }, NULL);
		}
		_exit(0);
	}
	start = clock_mono_ms();
	ck_assert_int_eq(lock_take(l, start + 1000), RC_BUSY);
	ck_assert_int_ge(clock_mono_ms(), start + 1000);
	ck_assert_int_eq(waitpid(child, NULL, 0), child);
	ck_assert_int_gt(usr1s, 0);
	end_other(&o);
	lock_close(l);
}
END_TEST

/* An operator who removes a lock file must not let two processes in. */
START_TEST(a_lock_follows_its_path)
{
	struct lock *l = open_lock(in_dir("lock"));
	struct lock *other = open_lock(in_dir("lock"));
	struct err err = { "" };

	ck_assert_int_eq(unlink(in_dir("lock")), 0);
	ck_assert_int_eq(lock_take(l, 0), RC_OK); /* of a new file */
	ck_assert_int_eq(access(in_dir("lock"), F_OK), 0);
	ck_assert_int_eq(lock_take(other, 0), RC_BUSY); /* and not of the old one */
	lock_release(l);
	ck_assert_int_eq(rename(in_dir("lock"), in_dir("aside")), 0);
	put_file(in_dir("lock"), LIT(""));
	ck_assert_int_eq(lock_take(l, 0), RC_OK);
	ck_assert_int_eq(lock_take(other, clock_mono_ms() + 50), RC_BUSY);
	lock_close(l);
	ck_assert_int_eq(lock_take(other, 0), RC_OK);
	lock_close(other);

	ck_assert_int_eq(fs_mkdir(in_dir("folder"), &err), RC_OK);
	l = open_lock(in_dir("folder/lock"));
	ck_assert_int_eq(unlink(in_dir("folder/lock")), 0);
	ck_assert_int_eq(rmdir(in_dir("folder")), 0);
	ck_assert_int_eq(lock_take(l, 0), RC_UNAVAILABLE);
	ck_assert(!lock_held(l));
	ck_assert_int_eq(lock_take(l, 0), RC_UNAVAILABLE); /* again */
	ck_assert_int_eq(fs_mkdir(in_dir("folder"), &err), RC_OK);
	ck_assert_int_eq(lock_take(l, 0), RC_OK); /* it is back */
	lock_close(l);
	unlink(in_dir("folder/lock"));
}
END_TEST

START_TEST(a_lock_file_keeps_what_its_holder_noted)
{
	struct lock *l, *next;
	char note[8] = "";
	struct stat st;

	umask(007);
	l = open_lock(in_dir("lock"));
	next = open_lock(in_dir("lock"));
	ck_assert_int_eq(stat(in_dir("lock"), &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0660);
	ck_assert_uint_eq(lock_noted(next, note, sizeof(note)), 0);
	for (char c = '1'; c <= '2'; c++) { /* never longer than one of them */
		ck_assert_int_eq(lock_take(l, 0), RC_OK);
		lock_note(l, (char[]){ 'n', c }, 2);
		lock_release(l);
		ck_assert_uint_eq(lock_noted(next, note, sizeof(note)), 2);
		ck_assert(note[0] == 'n' && note[1] == c);
		ck_assert_uint_eq(lock_noted(next, note, 1), 1);
	}
	lock_close(l);
	lock_close(next);
}
END_TEST

START_TEST(a_lock_knows_which_file_it_holds)
{
	struct lock *l = open_lock(in_dir("lock"));
	struct fs_id first = lock_file(l), now;

	ck_assert(fs_identify(in_dir("lock"), &now) && fs_same(now, first));
	ck_assert_int_eq(rename(in_dir("lock"), in_dir("old")), 0);
	ck_assert(fs_same(lock_file(l), first));
	ck_assert_int_eq(lock_take(l, 0), RC_OK);
	ck_assert(fs_identify(in_dir("lock"), &now) && fs_same(now, lock_file(l)));
	ck_assert(!fs_same(now, first));
	lock_close(l);
}
END_TEST

START_TEST(a_lock_that_can_t_be_opened_is_named)
{
	struct lock *l = (struct lock *)dir;
	struct err err = { "" };

	ck_assert_int_eq(lock_open(in_dir("none/lock"), &l, &err), RC_UNAVAILABLE);
	ck_assert_ptr_null(l);
	ck_assert_ptr_nonnull(strstr(err.text, in_dir("none/lock")));
	ck_assert_int_eq(lock_open(dir, &l, &err), RC_UNAVAILABLE);
	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(STARVED(i, lock_open(in_dir("lock"), &l, &err)), RC_FAULT);
		ck_assert_ptr_null(l);
	}
}
END_TEST

/* --- log.c --- */

/* The next line of a text; it must be one JSON object. */
static struct span
next_object(char **p)
{
	char *end = strchr(*p, '\n');
	struct span value, rest;
	struct err err = { "" };

	ck_assert_msg(end != NULL, "no newline: %s", *p);
	ck_assert_msg(json_scan((struct span){ *p, (size_t)(end - *p) }, 8, &value, &rest,
	                        &err) == RC_OK && rest.len == 0, "%s: %s", *p, err.text);
	ck_assert_int_eq(json_type(value), JSON_OBJECT);
	*p = end + 1;
	return value;
}

static void
check_member(struct span object, const char *key, const char *want)
{
	struct span v;

	ck_assert_msg(json_get(object, key, &v), "no %s", key);
	ck_assert_msg(json_string_is(v, want), "%s: %.*s, want %s", key, (int)v.len, v.p, want);
}

START_TEST(a_line_of_the_error_log_is_one_json_object)
{
	struct span line, v;
	struct buf b, text = { 0 };
	struct instant at;
	int64_t pid;
	char *p;

	ck_assert_int_eq(log_open(in_dir("error"), in_dir("access"), NULL), RC_OK);
	log_write(LOG_ERROR, "%s of %d", "one", 2);
	write_errno = EIO; /* a line that can't be written is lost, nothing else: */
	errno = ENOSPC;
	log_write(LOG_ERROR, "lost");
	log_access(LIT("{}"));
	ck_assert_int_eq(errno, ENOSPC); /* whoever logs may still look at it */
	write_errno = 0;
	log_request("0123456789abcdef0123456789abcdef");
	log_write(LOG_WARN, "a\nb\x1b[31m \"q\" \xc3\xa4 \xff \x7f \xc2\x9b" "2J");
	log_request(NULL);
	log_write(LOG_INFO, "%s", "");
	log_request("longer than the forty bytes that a request id may have");
	log_write(LOG_INFO, "%0*d", 5000, 7);
	b = get_file(in_dir("error"));
	p = b.p;

	line = next_object(&p);
	check_member(line, "level", "error");
	check_member(line, "message", "one of 2");
	ck_assert(!json_get(line, "request_id", &v));
	ck_assert(json_get(line, "pid", &v) && json_int64(v, &pid));
	ck_assert_int_eq(pid, getpid());
	ck_assert(json_get(line, "time", &v) && json_string(v, &text));
	ck_assert(time_parse_rfc3339(buf_span(&text), &at));
	ck_assert_int_lt(clock_now_us() / 1000000 - at.sec, 60);

	line = next_object(&p);
	check_member(line, "level", "warn");
	check_member(line, "request_id", "0123456789abcdef0123456789abcdef");
	/* one line, valid, and nothing that a terminal obeys */
	check_member(line, "message", "a\nb\x1b[31m \"q\" \xc3\xa4 \xef\xbf\xbd ? ??2J");
	for (size_t i = 0; i < line.len; i++)
		ck_assert_uint_ge((unsigned char)line.p[i], 0x20);

	line = next_object(&p);
	check_member(line, "level", "info");
	check_member(line, "message", "");
	ck_assert(!json_get(line, "request_id", &v));

	line = next_object(&p);
	check_member(line, "request_id", "longer than the forty bytes that a reque");
	ck_assert(json_get(line, "message", &v));
	ck_assert_uint_eq(v.len, 5002);
	ck_assert_str_eq(p, "");
	buf_free(&b);
	buf_free(&text);
	ck_assert_int_eq(log_open(NULL, NULL, NULL), RC_OK);
}
END_TEST

START_TEST(the_access_log_has_a_file_of_its_own)
{
	struct buf b;

	ck_assert_int_eq(log_open(in_dir("error"), in_dir("access"), NULL), RC_OK);
	log_access(LIT("{\"a\":1}"));
	log_access(LIT("{\"a\":\"x\ny\x7f\"}")); /* a mistake of the caller */
	log_access(LIT(""));
	b = get_file(in_dir("access"));
	ck_assert_str_eq(b.p, "{\"a\":1}\n{\"a\":\"x?y?\"}\n");
	buf_free(&b);
	b = get_file(in_dir("error"));
	ck_assert_str_eq(b.p, "");
	buf_free(&b);
	ck_assert_int_eq(log_open(NULL, NULL, NULL), RC_OK);
}
END_TEST

START_TEST(after_a_rotation_the_new_file_is_written)
{
	struct buf b;
	char *p;

	ck_assert_int_eq(log_open(in_dir("error"), NULL, NULL), RC_OK);
	log_write(LOG_INFO, "first");
	ck_assert_int_eq(rename(in_dir("error"), in_dir("error.1")), 0);
	log_write(LOG_INFO, "second"); /* still to the old one */
	log_reopen();
	log_write(LOG_INFO, "third");
	/* a file that can't be opened stays, and says why */
	ck_assert_int_eq(rename(in_dir("error"), in_dir("error.2")), 0);
	ck_assert_int_eq(mkdir(in_dir("error"), 0700), 0);
	log_reopen();
	log_write(LOG_INFO, "fourth");

	b = get_file(in_dir("error.1"));
	p = b.p;
	check_member(next_object(&p), "message", "first");
	check_member(next_object(&p), "message", "second");
	ck_assert_str_eq(p, "");
	buf_free(&b);
	b = get_file(in_dir("error.2"));
	p = b.p;
	check_member(next_object(&p), "message", "third");
	check_member(next_object(&p), "level", "error");
	check_member(next_object(&p), "message", "fourth");
	ck_assert_str_eq(p, "");
	buf_free(&b);
	ck_assert_int_eq(log_open(NULL, NULL, NULL), RC_OK);
}
END_TEST

START_TEST(a_log_that_can_t_be_opened_is_named)
{
	struct err err = { "" };

	ck_assert_int_eq(log_open(in_dir("none/error"), NULL, &err), RC_UNAVAILABLE);
	ck_assert_ptr_nonnull(strstr(err.text, in_dir("none/error")));
	ck_assert_int_eq(log_open(NULL, in_dir("none/access"), &err), RC_UNAVAILABLE);
	ck_assert_ptr_nonnull(strstr(err.text, in_dir("none/access")));
}
END_TEST

START_TEST(without_files_both_logs_go_to_stderr)
{
	int saved = dup(STDERR_FILENO);
	int fd = open(in_dir("stderr"), O_RDWR | O_CREAT, 0600);
	struct buf b;
	char *p;

	ck_assert_int_ge(dup2(fd, STDERR_FILENO), 0);
	log_write(LOG_WARN, "to %s", "stderr");
	log_access(LIT("{\"access\":true}"));
	log_reopen(); /* nothing to open */
	log_write(LOG_INFO, "still");
	dup2(saved, STDERR_FILENO);
	close(saved);
	close(fd);
	b = get_file(in_dir("stderr"));
	p = b.p;
	check_member(next_object(&p), "message", "to stderr");
	next_object(&p);
	check_member(next_object(&p), "message", "still");
	ck_assert_str_eq(p, "");
	buf_free(&b);
}
END_TEST

START_TEST(lines_of_many_processes_don_t_mix)
{
	enum { PROCESSES = 4, LINES = 200 };
	pid_t pids[PROCESSES];
	int lines = 0;
	struct buf b;
	char *p;

	ck_assert_int_eq(log_open(in_dir("error"), NULL, NULL), RC_OK);
	for (int i = 0; i < PROCESSES; i++) {
		pids[i] = fork();
		ck_assert_int_ge(pids[i], 0);
		if (pids[i] == 0) {
			for (int n = 0; n < LINES; n++)
				log_write(LOG_INFO, "%0*d", 100 + n, i);
			_exit(0);
		}
	}
	for (int i = 0; i < PROCESSES; i++)
		ck_assert_int_eq(waitpid(pids[i], NULL, 0), pids[i]);
	b = get_file(in_dir("error"));
	for (p = b.p; *p != '\0'; lines++)
		check_member(next_object(&p), "level", "info");
	ck_assert_int_eq(lines, PROCESSES * LINES);
	buf_free(&b);
	ck_assert_int_eq(log_open(NULL, NULL, NULL), RC_OK);
}
END_TEST

START_TEST(without_memory_a_log_still_harms_nobody)
{
	struct buf b;

	ck_assert_int_eq(log_open(in_dir("error"), in_dir("access"), NULL), RC_OK);
	for (int n = 0; n < 6; n++) {
		allocations_left = n;
		log_write(LOG_ERROR, "%0*d", 5000, 7);
		log_access(LIT("{}"));
		allocations_left = -1;
	}
	b = get_file(in_dir("error"));
	ck_assert(b.len > 0 && b.p[b.len - 1] == '\n');
	buf_free(&b);
	ck_assert_int_eq(log_open(NULL, NULL, NULL), RC_OK);
}
END_TEST

/* --- conf.c --- */

/* Notes all pairs; knows no key that starts with 'u', wants no value "bad". */
static enum rc
note_pair(void *ctx, const char *key, const char *value, struct err *err)
{
	if (key[0] == 'u')
		return RC_NOT_FOUND;
	if (strcmp(value, "bad") == 0)
		return err_set(err, RC_INVALID, "must be good");
	buf_addf(ctx, "%s=%s;", key, value);
	return RC_OK;
}

START_TEST(pairs_are_read_without_comments_and_white_space)
{
	static const struct { struct span text; const char *pairs; } t[] = {
		{ LIT(""), "" }, { LIT("\n\n"), "" }, { LIT("# a comment = none"), "" },
		{ LIT("a = 1\nb=2\n"), "a=1;b=2;" },
		{ LIT("  a\t=  1 2  \r\n\n \t# c = 3\n b = # no comment\n"), "a=1 2;b=# no comment;" },
		{ LIT("a = b = c"), "a=b = c;" }, /* and no newline at the end */
		{ LIT("a =\nb = "), "a=;b=;" },
		{ LIT("a = 1\na = 2\n"), "a=1;a=2;" },
		{ LIT("a = \xc3\xa4\n"), "a=\xc3\xa4;" },
	};
	struct buf pairs = { 0 };
	struct err err = { "" };

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		put_file(in_dir("conf"), t[i].text);
		buf_reset(&pairs);
		ck_assert_msg(conf_read(in_dir("conf"), note_pair, &pairs, &err) == RC_OK, "%s", err.text);
		ck_assert_str_eq(buf_cstr(&pairs), t[i].pairs);
	}
	buf_free(&pairs);
}
END_TEST

START_TEST(a_mistake_is_named_by_file_and_line)
{
	static const struct { struct span text; const char *pairs, *error; } t[] = {
		{ LIT("a = 1\n\nb = bad\nc = 3\n"), "a=1;", ":3: b: must be good" },
		{ LIT("unknown = 1"), "", ":1: unknown key \"unknown\"" },
		{ LIT("# x\r\n#\r\nuser = 1"), "", ":3: unknown key \"user\"" },
		{ LIT("a = 1\nnonsense\n"), "a=1;", ":2: not a \"key = value\" line" },
		{ LIT("[section]\n"), "", ":1: not a \"key = value\" line" },
		{ LIT(" = 1\n"), "", ":1: no key before \"=\"" },
		{ LIT("a = 1\nb = 2\0x\n"), "a=1;", ":2: a NUL byte" },
		{ LIT("a = 1\n\0"), "a=1;", ":2: a NUL byte" },
	};
	struct buf pairs = { 0 };
	struct err err = { "" };
	char want[TEMP_PATH + 128];

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		put_file(in_dir("conf"), t[i].text);
		buf_reset(&pairs);
		ck_assert_int_eq(conf_read(in_dir("conf"), note_pair, &pairs, &err), RC_INVALID);
		snprintf(want, sizeof(want), "%s%s", in_dir("conf"), t[i].error);
		ck_assert_str_eq(err.text, want);
		ck_assert_str_eq(buf_cstr(&pairs), t[i].pairs);
	}
	buf_free(&pairs);
}
END_TEST

START_TEST(a_configuration_that_can_t_be_read_is_named)
{
	struct buf pairs = { 0 }, large = { 0 };
	struct err err = { "" };

	ck_assert_int_eq(conf_read(in_dir("none"), note_pair, &pairs, &err), RC_NOT_FOUND);
	ck_assert_ptr_nonnull(strstr(err.text, in_dir("none")));
	ck_assert_int_eq(conf_read(dir, note_pair, &pairs, &err), RC_UNAVAILABLE);
	ck_assert_ptr_nonnull(strstr(err.text, dir));
	for (int i = 0; i < 1 << 20; i++)
		buf_add_str(&large, "#\n");
	put_file(in_dir("large"), buf_span(&large));
	ck_assert_int_eq(conf_read(in_dir("large"), note_pair, &pairs, &err), RC_INVALID);
	ck_assert_ptr_nonnull(strstr(err.text, in_dir("large")));
	buf_free(&large);
	buf_free(&pairs);
	put_file(in_dir("conf"), LIT("a = 1\n"));
	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(STARVED(i, conf_read(in_dir("conf"), note_pair, &pairs, &err)), RC_FAULT);
	}
	buf_free(&pairs);
}
END_TEST

START_TEST(the_environment_is_read_by_its_prefix)
{
	struct buf pairs = { 0 };
	struct err err = { "" };

	setenv("BASETEST_MAX_WORKERS", "4", 1);
	setenv("BASETES_MAX_WORKERS", "5", 1);
	ck_assert_int_eq(conf_read_env("BASETEST_", note_pair, &pairs, &err), RC_OK);
	ck_assert_str_eq(buf_cstr(&pairs), "max_workers=4;");
	setenv("BASETEST_LISTEN", "bad", 1);
	ck_assert_int_eq(conf_read_env("BASETEST_LIS", note_pair, &pairs, &err), RC_INVALID);
	ck_assert_str_eq(err.text, "BASETEST_LISTEN: ten: must be good");
	setenv("BASETEST_UNKNOWN", "1", 1);
	ck_assert_int_eq(conf_read_env("BASETEST_U", note_pair, &pairs, &err), RC_OK);
	unsetenv("BASETEST_LISTEN");
	ck_assert_int_eq(conf_read_env("BASETEST_", note_pair, &pairs, &err), RC_INVALID);
	ck_assert_str_eq(err.text, "BASETEST_UNKNOWN: unknown key \"unknown\"");
	unsetenv("BASETEST_UNKNOWN");
	ck_assert_int_eq(STARVED(0, conf_read_env("BASETEST_", note_pair, &pairs, &err)), RC_FAULT);
	buf_free(&pairs);
}
END_TEST

START_TEST(values_are_what_they_must_be)
{
	static const char *const no_bools[] = { "", "On", "true", "1", "0", "on ", "onn", "o" };
	static const char *const no_ints[] = { "", "-", "a", "1a", " 1", "1 ", "+1", "--1", "1.0",
		"0x10", "9223372036854775808", "-9223372036854775809", "-6", "11" };
	int64_t n;
	bool b;

	ck_assert(conf_bool("on", &b) && b);
	ck_assert(conf_bool("yes", &b) && b);
	ck_assert(conf_bool("off", &b) && !b);
	ck_assert(conf_bool("no", &b) && !b);
	for (size_t i = 0; i < sizeof(no_bools) / sizeof(no_bools[0]); i++)
		ck_assert_msg(!conf_bool(no_bools[i], &b), "%s", no_bools[i]);
	ck_assert(conf_int("-5", -5, 10, &n) && n == -5);
	ck_assert(conf_int("10", -5, 10, &n) && n == 10);
	ck_assert(conf_int("007", -5, 10, &n) && n == 7);
	ck_assert(conf_int("9223372036854775807", 0, INT64_MAX, &n) && n == INT64_MAX);
	ck_assert(conf_int("-9223372036854775808", INT64_MIN, 0, &n) && n == INT64_MIN);
	for (size_t i = 0; i < sizeof(no_ints) / sizeof(no_ints[0]); i++)
		ck_assert_msg(!conf_int(no_ints[i], -5, 10, &n), "%s", no_ints[i]);
}
END_TEST

/* --- */

static Suite *
base_suite(void)
{
	Suite *s = suite_create("base");
	TCase *t = tcase_create("rc and buf");

	tcase_add_test(t, every_outcome_has_its_own_name);
	tcase_add_test(t, an_error_is_one_line);
	tcase_add_test(t, a_long_error_is_cut_between_characters);
	tcase_add_test(t, spans_compare_by_their_bytes);
	tcase_add_test(t, a_buffer_holds_what_was_added);
	tcase_add_test(t, numbers_are_written_whole);
	tcase_add_test(t, a_buffer_remembers_that_memory_ran_out);
	tcase_add_test(t, text_becomes_a_json_string_as_go_writes_it);
	tcase_add_test(t, utf8_is_told_from_what_only_looks_like_it);
	tcase_set_timeout(t, 60);
	suite_add_tcase(s, t);

	t = tcase_create("clock");
	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, rfc3339_is_taken_as_go_takes_it, 0,
	                    sizeof(rfc3339) / sizeof(rfc3339[0]));
	tcase_add_loop_test(t, every_form_of_the_wild_is_understood, 0,
	                    sizeof(anyform) / sizeof(anyform[0]));
	tcase_add_test(t, times_are_written_as_td_s_driver_writes_them);
	tcase_add_test(t, days_are_the_c_library_s_days);
	tcase_add_test(t, instants_compare_without_their_offsets);
	tcase_add_test(t, the_clocks_run);
	suite_add_tcase(s, t);

	t = tcase_create("id and hash");
	tcase_add_test(t, ids_are_random_and_of_their_shape);
	tcase_add_test(t, other_shapes_are_no_ids);
	tcase_add_test(t, bytes_are_written_as_hex);
	tcase_add_test(t, hex_is_decoded_whole_or_not_at_all);
	tcase_add_test(t, base64url_has_one_spelling);
	tcase_add_test(t, sha256_is_sha256);
	suite_add_tcase(s, t);

	t = tcase_create("fs");
	tcase_add_checked_fixture(t, make_dir, remove_dir);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, a_folder_is_made_and_made_durable);
	tcase_add_test(t, a_folder_that_can_t_be_made_is_named);
	tcase_add_test(t, a_file_is_read_whole_up_to_its_limit);
	tcase_add_test(t, a_file_is_written_synced_renamed_and_its_folder_synced);
	tcase_add_test(t, a_file_that_can_t_be_written_stays_as_it_was);
	tcase_add_test(t, a_path_is_synced_or_named);
	tcase_add_test(t, a_replaced_file_is_another_one);
	tcase_add_test(t, network_file_systems_are_known_by_name);
	suite_add_tcase(s, t);

	t = tcase_create("lock");
	tcase_add_checked_fixture(t, make_dir, remove_dir);
	tcase_set_timeout(t, 120);
	tcase_add_test(t, a_lock_excludes_other_processes);
	tcase_add_test(t, a_wait_ends_at_its_deadline);
	tcase_add_test(t, a_killed_holder_frees_its_lock);
	tcase_add_test(t, those_who_wait_are_served_in_their_order);
	tcase_add_test(t, a_number_under_a_lock_loses_nothing);
	tcase_add_test(t, a_wait_works_with_all_signals_blocked_and_puts_all_back);
	tcase_add_test(t, an_alarm_that_was_due_meanwhile_comes_after_the_wait);
	tcase_add_test(t, other_signals_don_t_end_a_wait);
	tcase_add_test(t, a_lock_follows_its_path);
	tcase_add_test(t, a_lock_file_keeps_what_its_holder_noted);
	tcase_add_test(t, a_lock_knows_which_file_it_holds);
	tcase_add_test(t, a_lock_that_can_t_be_opened_is_named);
	suite_add_tcase(s, t);

	t = tcase_create("log");
	tcase_add_checked_fixture(t, make_dir, remove_dir);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, a_line_of_the_error_log_is_one_json_object);
	tcase_add_test(t, the_access_log_has_a_file_of_its_own);
	tcase_add_test(t, after_a_rotation_the_new_file_is_written);
	tcase_add_test(t, a_log_that_can_t_be_opened_is_named);
	tcase_add_test(t, without_files_both_logs_go_to_stderr);
	tcase_add_test(t, lines_of_many_processes_don_t_mix);
	tcase_add_test(t, without_memory_a_log_still_harms_nobody);
	suite_add_tcase(s, t);

	t = tcase_create("conf");
	tcase_add_checked_fixture(t, make_dir, remove_dir);
	tcase_add_test(t, pairs_are_read_without_comments_and_white_space);
	tcase_add_test(t, a_mistake_is_named_by_file_and_line);
	tcase_add_test(t, a_configuration_that_can_t_be_read_is_named);
	tcase_add_test(t, the_environment_is_read_by_its_prefix);
	tcase_add_test(t, values_are_what_they_must_be);
	suite_add_tcase(s, t);
	return s;
}

int
main(void)
{
	SRunner *r = srunner_create(base_suite());
	int failed;

	srunner_add_suite(r, json_suite());
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
