/* What td-sync prints, see td-sync.h. */
#define _XOPEN_SOURCE 700 /* wcwidth() */

#include "cli/td-sync.h"

#include "base/json.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <wchar.h>

static const int exit_codes[] = {
	[TDSYNC_OK] = EXIT_OK,
	[TDSYNC_INVALID] = EXIT_USAGE,
	[TDSYNC_NOT_LINKED] = EXIT_NOT_LINKED,
	[TDSYNC_LOCAL] = EXIT_LOCAL,
	[TDSYNC_NETWORK] = EXIT_LATER,
	[TDSYNC_BUSY] = EXIT_LATER,
	[TDSYNC_UNAUTHORIZED] = EXIT_AUTH,
	[TDSYNC_FORBIDDEN] = EXIT_AUTH,
	[TDSYNC_NOT_FOUND] = EXIT_NOT_FOUND,
	[TDSYNC_REFUSED] = EXIT_REFUSED,
	[TDSYNC_LOG_CHANGED] = EXIT_LOG_CHANGED,
	[TDSYNC_FAULT] = EXIT_BUG,
};

/* --- JSON --- */

void
out_name(struct cli *c, const char *name)
{
	buf_add_str(&c->out, c->members++ == 0 ? "{" : ",");
	buf_add_json(&c->out, span_of(name));
	buf_add_byte(&c->out, ':');
}

void
out_number(struct cli *c, const char *name, int64_t n)
{
	out_name(c, name);
	buf_add_int(&c->out, n);
}

void
out_text(struct cli *c, const char *name, const char *text)
{
	out_name(c, name);
	buf_add_json(&c->out, span_of(text));
}

void
out_bool(struct cli *c, const char *name, bool yes)
{
	out_name(c, name);
	buf_add_str(&c->out, yes ? "true" : "false");
}

void
out_list(struct cli *c, const char *name)
{
	out_name(c, name);
	buf_add_byte(&c->out, '[');
	c->items = 0;
}

void
out_item(struct cli *c)
{
	if (c->items++ > 0)
		buf_add_byte(&c->out, ',');
	c->members = 0;
}

void
out_item_end(struct cli *c)
{
	buf_add_byte(&c->out, '}');
}

void
out_list_end(struct cli *c)
{
	buf_add_byte(&c->out, ']');
	c->members = 1; /* the list itself, at least */
}

void
out_author(struct cli *c, const char *name, const struct tdsync_author *a)
{
	size_t members;

	out_name(c, name);
	if (a == NULL) {
		buf_add_str(&c->out, "null");
		return;
	}
	members = c->members;
	c->members = 0;
	out_number(c, "server_seq", a->server_seq);
	out_text(c, "user_id", a->user_id);
	out_text(c, "device_id", a->device_id);
	out_text(c, "session_id", a->session_id);
	out_text(c, "client_timestamp", a->client_timestamp);
	out_text(c, "server_timestamp", a->server_timestamp);
	buf_add_byte(&c->out, '}');
	c->members = members;
}

/* --- text --- */

/* Append the character that a text begins with, made harmless; its length. */
static size_t
add_character(struct buf *b, const char *text)
{
	const unsigned char *p = (const unsigned char *)text;
	size_t n = utf8_sequence(text, strnlen(text, 4));
	/* C0, DEL and C1, which some terminals obey as well. */
	bool control = *p < 0x20 || *p == 0x7f || (*p == 0xc2 && p[1] >= 0x80 && p[1] < 0xa0);

	if (n == 0 || control)
		buf_add_byte(b, '?');
	else
		buf_add(b, text, n);
	return n == 0 ? 1 : n;
}

void
out_clean(struct buf *b, const char *text)
{
	while (*text != '\0')
		text += add_character(b, text);
}

size_t
out_width(const char *text, size_t *bytes)
{
	size_t n = utf8_sequence(text, strnlen(text, 4));
	mbstate_t state = { 0 };
	wchar_t c;
	int columns = 1;

	if (n > 1 && mbrtowc(&c, text, n, &state) == n)
		columns = wcwidth(c);
	*bytes = n == 0 ? 1 : n;
	return columns < 0 ? 1 : (size_t)columns;
}

size_t
out_cut(struct buf *b, const char *text, size_t columns)
{
	/* Where the last column is still free, for the sign that more follows. */
	size_t n = 0, end = b->len, before = 0;

	while (*text != '\0') {
		size_t bytes, width = out_width(text, &bytes);

		if (n + width > columns) {
			if (columns == 0)
				break;
			b->len = end;
			buf_add_str(b, "…");
			return before + 1;
		}
		text += add_character(b, text);
		n += width;
		if (n < columns) {
			end = b->len;
			before = n;
		}
	}
	return n;
}

size_t
out_pad(struct buf *b, size_t at, size_t column)
{
	do
		buf_add_byte(b, ' ');
	while (++at < column);
	return at;
}

void
out_line(struct cli *c, const char *name, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	buf_addf(&c->out, "%-9s ", name);
	out_clean(&c->out, text);
	buf_add_byte(&c->out, '\n');
}

void
out_value(struct buf *b, const char *json)
{
	if (strcmp(json, "null") == 0)
		buf_add_str(b, "(none)");
	else if (!json_string(span_of(json), b))
		buf_add_str(b, json);
}

void
out_complain(const char *text)
{
	struct buf b = { 0 };

	out_clean(&b, text);
	if (buf_cstr(&b) != NULL)
		fprintf(stderr, "td-sync: %s\n", b.p);
	buf_free(&b);
}

/* --- the end --- */

int
out_failed(struct cli *c, enum tdsync_rc rc)
{
	const char *why = tdsync_error(c->t);

	if (rc == TDSYNC_OK)
		return EXIT_OK;
	if (why[0] == '\0')
		why = tdsync_rc_name(rc);
	out_complain(why);
	if (c->json) {
		out_name(c, "error");
		buf_add_str(&c->out, "{\"code\":");
		buf_add_json(&c->out, span_of(tdsync_rc_name(rc)));
		buf_add_str(&c->out, ",\"message\":");
		buf_add_json(&c->out, span_of(why));
		buf_add_byte(&c->out, '}');
	}
	return exit_codes[rc];
}

int
out_finish(struct cli *c, int code)
{
	if (c->json && c->members > 0)
		buf_add_str(&c->out, "}\n");
	if (c->out.failed) {
		out_complain("out of memory");
		code = EXIT_BUG;
	} else if (c->out.len > 0 && (c->json || !c->quiet)) {
		fwrite(c->out.p, 1, c->out.len, stdout);
		if ((fflush(stdout) != 0 || ferror(stdout)) && code == EXIT_OK) {
			out_complain("the answer can't be written");
			code = EXIT_LOCAL;
		}
	}
	buf_free(&c->out);
	return code;
}

void
out_result(struct cli *c, const struct tdsync_result *r)
{
	if (c->json) {
		out_number(c, "pushed", r->pushed);
		out_number(c, "duplicates", r->duplicates);
		out_number(c, "rejected", r->rejected);
		out_number(c, "snapshot_seq", r->snapshot_seq);
		out_number(c, "pulled", r->pulled);
		out_number(c, "applied", r->applied);
		out_number(c, "skipped", r->skipped);
		out_number(c, "rows", r->rows);
		out_number(c, "conflicts", r->conflicts);
		out_number(c, "server_seq", r->server_seq);
		return;
	}
	buf_addf(&c->out, "pushed %" PRId64, r->pushed);
	if (r->duplicates > 0)
		buf_addf(&c->out, " (and %" PRId64 " the server had already)", r->duplicates);
	if (r->snapshot_seq > 0)
		buf_addf(&c->out, ", began with a snapshot at event %" PRId64, r->snapshot_seq);
	buf_addf(&c->out, ", pulled %" PRId64, r->pulled);
	if (r->skipped > 0)
		buf_addf(&c->out, " (%" PRId64 " not applicable)", r->skipped);
	buf_addf(&c->out, ", %" PRId64 " row%s changed", r->rows, r->rows == 1 ? "" : "s");
	if (r->conflicts > 0)
		buf_addf(&c->out, ", %" PRId64 " new conflict%s", r->conflicts,
		         r->conflicts == 1 ? "" : "s");
	if (r->server_seq > 0)
		buf_addf(&c->out, "; at event %" PRId64, r->server_seq);
	buf_add_byte(&c->out, '\n');
}
