/*
 * A strict, validating span scanner for JSON (RFC 8259): it finds values and
 * changes nothing, because json-c alters data even when strict (platform.md
 * section 5). Push, pull and apply use it; everything else uses json-c.
 *
 * json_scan() and the reader validate a text; all other functions take spans
 * that came out of a validated value, and never fail on them.
 *
 * Accepted on purpose: any number of any size, duplicate keys, lone
 * surrogate escapes and \u0000 inside strings (a payload is forwarded as it
 * came). Refused: invalid UTF-8, control characters, nesting above the depth.
 *
 * json-c has a `json_type` too. Where a file needs both, it includes this
 * first and then json-c between `#define json_type json_c_type` and #undef.
 */
#ifndef TDSYNC_BASE_JSON_H
#define TDSYNC_BASE_JSON_H

#include "base/buf.h"
#include "base/rc.h"

/* The greatest nesting that a request or a payload may have. */
#define JSON_MAX_DEPTH 64

enum json_type {
	JSON_NULL,
	JSON_FALSE,
	JSON_TRUE,
	JSON_NUMBER,
	JSON_STRING,
	JSON_ARRAY,
	JSON_OBJECT
};

/*
 * Validate the first JSON value of a text. On RC_OK *value spans exactly it
 * (no white space around) and *rest (may be NULL) what follows it, unread.
 * RC_INVALID: err says what is wrong and at which byte; *value is empty.
 * A scalar is at depth 0, [] at depth 1.
 */
enum rc json_scan(struct span text, int max_depth, struct span *value,
                  struct span *rest, struct err *err);

/*
 * Reads a text that was not validated yet, and judges it on the way: so a
 * large body is walked over once. The fields are the reader's own.
 *
 *     json_reader_init(&r, text, JSON_MAX_DEPTH);
 *     if (json_enter(&r, '{'))
 *             while (json_member(&r, &key))
 *                     json_value(&r, &value);    or json_enter(&r, '[') ...
 *     rc = json_reader_outcome(&r, err);
 */
struct json_reader {
	const char *start, *p, *end;
	int depth, max_depth;
	bool first;      /* nothing of the container that was entered is read */
	const char *why; /* what is wrong, NULL so far */
	const char *at;  /* where */
};

/* Depth as in json_scan(). The text stays the caller's. */
void json_reader_init(struct json_reader *r, struct span text, int max_depth);

/*
 * Go into the object ('{') or array ('[') that comes next. False, and nothing
 * read, where something else comes: then json_value() says what.
 */
bool json_enter(struct json_reader *r, char bracket);

/*
 * On to the next member of the object, or element of the array, that was
 * entered last. Its value has to be read or entered before the next call.
 * False at the container's end, which is left, or where the text is wrong.
 */
bool json_member(struct json_reader *r, struct span *key);
bool json_element(struct json_reader *r);

/* Read a whole value. False, and *value empty, where the text is wrong. */
bool json_value(struct json_reader *r, struct span *value);

/* RC_INVALID where the text was found wrong: err says what, and at which byte. */
enum rc json_reader_outcome(const struct json_reader *r, struct err *err);

/* The type of a validated value. An empty span is JSON_NULL. */
enum json_type json_type(struct span value);

/* Walks the members of an object or the elements of an array, in order. */
struct json_iter {
	const char *p, *end;
};

/* Start at a validated object or array; any other value has no members. */
void json_iter_init(struct json_iter *it, struct span value);

/*
 * The next member: key spans the key's text with its quotes (empty for an
 * array), value the value. False when there is none left.
 */
bool json_next(struct json_iter *it, struct span *key, struct span *value);

/* Whether a string value or key (with its quotes) decodes to exactly s. */
bool json_string_is(struct span str, const char *s);

/* Which of n names a string value or key decodes to; n where it is none. */
size_t json_which(struct span str, const char *const *names, size_t n);

/*
 * Find a member by its decoded key; with duplicates the last one, as Go's
 * and json-c's parsers do. False (and *value empty) when there is none or
 * the value is not an object.
 */
bool json_get(struct span object, const char *key, struct span *value);

/*
 * Find several members in one pass: values[i] is that of keys[i], empty when
 * there is none, the last one where there are more. Returns the index of a
 * key that occurs twice, -1 when none does.
 */
int json_pick(struct span object, const char *const *keys, size_t n,
              struct span *values);

/*
 * Append the decoded text of a string value as UTF-8. A lone surrogate
 * becomes U+FFFD, as in Go. False when the value is not a string.
 */
bool json_string(struct span str, struct buf *out);

/*
 * Whether the string holds a \u0000 escape or a lone surrogate: fine in a
 * payload, refused in an id. False for other types.
 */
bool json_string_odd(struct span str);

/*
 * An integer that fits; false for any other type, a fraction, an exponent,
 * or a number out of range. "-0" is 0.
 */
bool json_int64(struct span value, int64_t *out);

/* A number as the nearest double (or infinity); false for any other type. */
bool json_double(struct span value, double *out);

/*
 * Deep equality as Go's reflect.DeepEqual of two decoded values: members in
 * any order (of equal keys the last one), numbers as doubles, strings decoded,
 * every lone surrogate as U+FFFD; an empty span equals only an empty span.
 * Numbers beyond the doubles, which Go refuses, are equal when spelt equal.
 */
bool json_equal(struct span a, struct span b);

/*
 * Append the canonical spelling of a value: no white space, members in
 * their order, numbers as they came, every string with one form of escapes:
 * \" \\ \b \f \n \r \t, other control characters below U+0020 as \u00xx, a lone
 * surrogate as \udxxx, hex in lower case; all else as UTF-8. Two spellings
 * that differ only so give the same bytes. Digests rest on it: never change it.
 */
void json_canonical(struct span value, struct buf *out);

/*
 * The same in pieces, for a reader that keeps no copy: most values are one
 * piece, a piece of the value itself.
 */
typedef void json_put(void *ctx, struct span piece);
void json_canonical_pieces(struct span value, json_put *put, void *ctx);

/*
 * Append the value as it came, without white space outside strings: what
 * Go's json.Compact writes.
 */
void json_compact(struct span value, struct buf *out);

#endif
