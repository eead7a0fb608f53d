/* Stored values, see value.h. */
#include "engine/value.h"

#include "base/clock.h"
#include "base/gojson.h"

struct span
value_bytes(sqlite3_value *v)
{
	const void *p = sqlite3_value_blob(v); /* no copy for a NUL at its end */

	return (struct span){ p, (size_t)sqlite3_value_bytes(v) };
}

bool
value_is_number(sqlite3_value *v)
{
	int type = sqlite3_value_type(v);

	return type == SQLITE_INTEGER || type == SQLITE_FLOAT;
}

static bool
same_time(struct span a, struct span b)
{
	struct instant x, y;

	return time_parse_any(a, &x) && time_parse_any(b, &y) && time_compare(x, y) == 0;
}

bool
value_same(sqlite3_value *a, sqlite3_value *b, bool time)
{
	int x = sqlite3_value_type(a), y = sqlite3_value_type(b);

	if (x == SQLITE_NULL || y == SQLITE_NULL)
		return x == y;
	if (x == SQLITE_INTEGER && y == SQLITE_INTEGER)
		return sqlite3_value_int64(a) == sqlite3_value_int64(b);
	if (value_is_number(a) && value_is_number(b))
		return sqlite3_value_double(a) == sqlite3_value_double(b);
	if (value_is_number(a) != value_is_number(b))
		return false;
	return span_eq(value_bytes(a), value_bytes(b)) ||
	       (time && same_time(value_bytes(a), value_bytes(b)));
}

void
value_json(sqlite3_value *v, bool datetime, struct buf *out)
{
	switch (v == NULL ? SQLITE_NULL : sqlite3_value_type(v)) {
	case SQLITE_NULL:
		buf_add_str(out, "null");
		break;
	case SQLITE_INTEGER:
		buf_add_int(out, sqlite3_value_int64(v));
		break;
	case SQLITE_FLOAT:
		gojson_add_double(sqlite3_value_double(v), out);
		break;
	default:
		value_text_json(value_bytes(v), datetime, out);
	}
}

void
value_text_json(struct span text, bool datetime, struct buf *out)
{
	struct instant at;

	if (!datetime || !time_parse_any(text, &at)) {
		buf_add_json(out, text);
		return;
	}
	buf_add_byte(out, '"');
	time_add_rfc3339(out, at);
	buf_add_byte(out, '"');
}
