/* What td-sync-admin prints: JSON lines, or lines for people. */
#include "cli/td-sync-admin.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static void
name_member(struct buf *line, const char *name)
{
	if (line->len > 1)
		buf_add_byte(line, ',');
	buf_add_json(line, span_of(name));
	buf_add_byte(line, ':');
}

void
out_begin(struct buf *line)
{
	*line = (struct buf){ 0 };
	buf_add_byte(line, '{');
}

void
out_string(struct buf *line, const char *name, const char *value)
{
	name_member(line, name);
	buf_add_json(line, span_of(value));
}

void
out_span(struct buf *line, const char *name, struct span value)
{
	name_member(line, name);
	buf_add_json(line, value);
}

void
out_int(struct buf *line, const char *name, int64_t n)
{
	name_member(line, name);
	buf_add_int(line, n);
}

void
out_time(struct buf *line, const char *name, int64_t sec)
{
	char text[TIME_TEXT];

	if (sec != 0)
		out_string(line, name, time_text(sec, text));
}

void
out_raw(struct buf *line, const char *name, const char *json)
{
	name_member(line, name);
	buf_add_str(line, json);
}

void
out_end(struct buf *line)
{
	buf_add_byte(line, '}');
	out_line(line);
}

void
out_clean(struct buf *line, const char *text)
{
	for (const unsigned char *p = (const unsigned char *)text; *p != '\0'; p++) {
		if (*p < 0x20 || *p == 0x7f) {
			buf_add_byte(line, '?');
		} else if (*p == 0xc2 && p[1] >= 0x80 && p[1] < 0xa0) {
			buf_add_byte(line, '?'); /* U+0080 to U+009F */
			p++;
		} else {
			buf_add_byte(line, (char)*p);
		}
	}
}

void
out_column(struct buf *line, const char *text, size_t width)
{
	size_t n = 0; /* characters */

	for (const char *p = text; *p != '\0'; p++)
		n += ((unsigned char)*p & 0xc0) != 0x80;
	out_clean(line, text);
	for (; n < width; n++)
		buf_add_byte(line, ' ');
	buf_add_str(line, "  ");
}

void
out_line(struct buf *line)
{
	while (line->len > 0 && line->p[line->len - 1] == ' ')
		line->len--;
	buf_add_byte(line, '\n');
	if (line->failed)
		fputs("td-sync-admin: out of memory\n", stderr);
	else
		fwrite(line->p, 1, line->len, stdout);
	buf_free(line);
}

bool
out_flush(void)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return true;
	fprintf(stderr, "td-sync-admin: can't write the output: %s\n", strerror(errno));
	return false;
}
