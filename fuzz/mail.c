/*
 * A message: the first line of the input is the recipient, the second the subject,
 * the rest the text. What is taken must have our headers and no others, be made of
 * lines that every mailer passes on as they are, and say the same when it is decoded.
 */
#include "mail/message.h"

#include "base/id.h"
#include "fuzz/fuzz.h"

#include <ctype.h>
#include <string.h>

static const char *const headers[] = {
	"Date: ", "From: <td-sync@example.com>", "To: <", "Subject: ", "Message-ID: <",
	"MIME-Version: 1.0", "Content-Type: text/plain; charset=UTF-8",
	"Content-Transfer-Encoding: ", "Auto-Submitted: auto-generated",
};
#define N_HEADERS (sizeof(headers) / sizeof(headers[0]))

/* Cut the first line off; its end belongs to neither. */
static struct span
cut_line(struct span *rest)
{
	const char *end = rest->len > 0 ? memchr(rest->p, '\n', rest->len) : NULL;
	struct span line = { rest->p, end != NULL ? (size_t)(end - rest->p) : rest->len };
	size_t used = line.len + (end != NULL);

	rest->p += used;
	rest->len -= used;
	return line;
}

static bool
starts(struct span line, const char *with)
{
	return line.len >= strlen(with) && memcmp(line.p, with, strlen(with)) == 0;
}

/* Undo "=XX"; '_' is a blank in a header's word. */
static void
add_decoded(struct span part, bool word, struct buf *out)
{
	for (size_t i = 0; i < part.len; i++) {
		unsigned char byte;

		if (part.p[i] != '=') {
			buf_add_byte(out, word && part.p[i] == '_' ? ' ' : part.p[i]);
			continue;
		}
		FUZZ_CHECK(i + 2 < part.len && id_unhex((struct span){ part.p + i + 1, 2 }, &byte, 1),
		           "%.*s", FUZZ_SPAN(part));
		buf_add(out, &byte, 1);
		i += 2;
	}
}

/* A header's line, of a subject: words, or itself. */
static void
add_subject(struct span line, struct buf *out)
{
	if (!starts(line, "=?UTF-8?Q?")) {
		buf_add_span(out, line);
		return;
	}
	FUZZ_CHECK(line.len <= 75 && line.len > 12 && memcmp(line.p + line.len - 2, "?=", 2) == 0,
	           "%.*s", FUZZ_SPAN(line));
	add_decoded((struct span){ line.p + 10, line.len - 12 }, true, out);
}

/* The headers, one after the other; *quoted: how the text is written. */
static void
check_headers(struct span *rest, const char *to, const char *subject, bool *quoted)
{
	struct buf got = { 0 };

	for (size_t i = 0; i < N_HEADERS; i++) {
		struct span line = cut_line(rest);

		FUZZ_CHECK(starts(line, headers[i]), "%s: %.*s", headers[i], FUZZ_SPAN(line));
		if (i == 2)
			FUZZ_CHECK(line.len == strlen(to) + 6 && memcmp(line.p + 5, to, strlen(to)) == 0,
			           "%.*s", FUZZ_SPAN(line));
		if (i == 3) {
			add_subject((struct span){ line.p + 9, line.len - 9 }, &got);
			while (rest->len > 0 && rest->p[0] == ' ') {
				line = cut_line(rest);
				add_subject((struct span){ line.p + 1, line.len - 1 }, &got);
			}
		}
		if (i == 7)
			*quoted = span_is(line, "Content-Transfer-Encoding: quoted-printable");
	}
	FUZZ_CHECK(strcmp(buf_cstr(&got), subject) == 0, "%s, not %s", got.p, subject);
	FUZZ_CHECK(cut_line(rest).len == 0, "%.*s", FUZZ_SPAN(*rest));
	buf_free(&got);
}

static void
check_text(struct span rest, struct span text, bool quoted)
{
	struct buf got = { 0 };

	while (rest.len > 0) {
		struct span line = cut_line(&rest);
		bool soft = quoted && line.len > 0 && line.p[line.len - 1] == '=';

		FUZZ_CHECK(!quoted || line.len <= 76, "%.*s", FUZZ_SPAN(line));
		FUZZ_CHECK(!quoted || line.len == 0 || !isblank((unsigned char)line.p[line.len - 1]),
		           "%.*s", FUZZ_SPAN(line));
		line.len -= soft;
		if (quoted)
			add_decoded(line, false, &got);
		else
			buf_add_span(&got, line);
		if (!soft)
			buf_add_byte(&got, '\n');
	}
	if (text.len > 0 && text.p[text.len - 1] != '\n')
		got.len--; /* the end that a text always gets */
	FUZZ_CHECK(span_eq(buf_span(&got), text), "%.*s", FUZZ_SPAN(buf_span(&got)));
	buf_free(&got);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span copy = fuzz_copy(data, size), rest = copy;
	char *to = span_dup(cut_line(&rest)), *subject = span_dup(cut_line(&rest));
	struct mail m = { to, subject, rest };
	struct buf out = { 0 };
	struct err err = { "" };
	enum rc rc = message_write("td-sync@example.com", &m, (int64_t)size * 1000003, &out, &err);
	bool quoted = false;

	FUZZ_CHECK((rc == RC_OK) == (err.text[0] == '\0'), "%s", err.text);
	if (rc == RC_OK) {
		for (struct span all = buf_span(&out), line; all.len > 0;) {
			line = cut_line(&all);
			FUZZ_CHECK(line.len <= 998 && !starts(line, "From "), "%.*s", FUZZ_SPAN(line));
			for (size_t i = 0; i < line.len; i++)
				FUZZ_CHECK(line.p[i] == '\t' || (line.p[i] >= 0x20 && line.p[i] < 0x7f),
				           "%.*s", FUZZ_SPAN(line));
		}
		rest = buf_span(&out);
		check_headers(&rest, to, subject, &quoted);
		check_text(rest, m.text, quoted);
	} else {
		FUZZ_CHECK(rc == RC_INVALID && out.len == 0, "%s", rc_name(rc));
	}
	buf_free(&out);
	free(subject);
	free(to);
	free((char *)(uintptr_t)copy.p);
	return 0;
}
