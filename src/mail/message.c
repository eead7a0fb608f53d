/* A message in the form of RFC 5322, see message.h. */
#include "mail/message.h"

#include "base/id.h"

#include <ctype.h>
#include <string.h>
#include <time.h>

/* A line, without its end: of a message (RFC 5322 2.1.1), in quoted-printable
 * (RFC 2045 6.7), and an encoded word (RFC 2047 2). */
#define LINE_MAX_BYTES 998
#define QUOTED_MAX 76
#define WORD_MAX 75

/* A subject up to this is left as it is where it can be: its line has 78 then. */
#define PLAIN_SUBJECT_MAX 69

/* Whether a host name's bytes are labels with dots between (RFC 1123 2.1). */
static bool
is_host(struct span host)
{
	size_t label = 0;

	if (host.len == 0 || host.len > 253)
		return false;
	for (size_t i = 0; i <= host.len; i++) {
		if (i == host.len || host.p[i] == '.') {
			if (label == 0 || label > 63 || host.p[i - 1] == '-' ||
			    host.p[i - label] == '-')
				return false;
			label = 0;
		} else if (isascii((unsigned char)host.p[i]) &&
		           (isalnum((unsigned char)host.p[i]) || host.p[i] == '-'))
			label++;
		else
			return false;
	}
	return true;
}

/* A byte of an atom (RFC 5322 3.2.3). */
static bool
is_atext(char c)
{
	return isascii((unsigned char)c) &&
	       (isalnum((unsigned char)c) || (c != '\0' && strchr("!#$%&'*+-/=?^_`{|}~", c) != NULL));
}

static bool
is_dot_atom(struct span local)
{
	if (local.len == 0 || local.len > MAIL_LOCAL_MAX || strchr("-|/", local.p[0]) != NULL)
		return false;
	for (size_t i = 0; i < local.len; i++) {
		bool dot = local.p[i] == '.' && i > 0 && i + 1 < local.len && local.p[i - 1] != '.';

		if (!dot && !is_atext(local.p[i]))
			return false;
	}
	return true;
}

bool
mail_address_ok(const char *address)
{
	const char *at = strchr(address, '@');

	return at != NULL && strlen(address) <= MAIL_ADDRESS_MAX &&
	       is_dot_atom((struct span){ address, (size_t)(at - address) }) &&
	       is_host(span_of(at + 1));
}

bool
mail_smtp_url_ok(const char *url)
{
	const char *host, *colon;
	int port = 0;

	if (strncmp(url, "smtp://", 7) == 0)
		host = url + 7;
	else if (strncmp(url, "smtps://", 8) == 0)
		host = url + 8;
	else
		return false;
	colon = strchr(host, ':');
	if (colon == NULL)
		return is_host(span_of(host));
	for (const char *p = colon + 1; *p != '\0'; p++) {
		if (!isdigit((unsigned char)*p) || p - colon > 5)
			return false;
		port = port * 10 + (*p - '0');
	}
	return port >= 1 && port <= 65535 &&
	       is_host((struct span){ host, (size_t)(colon - host) });
}

/* A byte that a terminal or a header line would obey; of UTF-8: C1, too. */
static bool
is_control(const char *p, size_t len)
{
	unsigned char c = (unsigned char)p[0];

	return c < 0x20 || c == 0x7f || (len == 2 && c == 0xc2 && (unsigned char)p[1] < 0xa0);
}

/* Judge a subject; *plain: it can stand in a header as it is. */
static enum rc
judge_subject(const char *subject, bool *plain, struct err *err)
{
	size_t n = strlen(subject), len;

	*plain = n <= PLAIN_SUBJECT_MAX && subject[0] != ' ' && strstr(subject, "=?") == NULL;
	if (n == 0 || n > MAIL_SUBJECT_MAX)
		return err_set(err, RC_INVALID, "the subject must have 1 to %d bytes",
		               MAIL_SUBJECT_MAX);
	for (size_t i = 0; i < n; i += len) {
		len = utf8_sequence(subject + i, n - i);
		if (len == 0)
			return err_set(err, RC_INVALID, "the subject is not UTF-8");
		if (is_control(subject + i, len))
			return err_set(err, RC_INVALID, "the subject has control characters");
		if (len > 1)
			*plain = false;
	}
	return RC_OK;
}

/* "=XX" */
static void
add_quoted(struct buf *out, char c)
{
	static const char digits[] = "0123456789ABCDEF";

	buf_add_byte(out, '=');
	buf_add_byte(out, digits[(unsigned char)c >> 4]);
	buf_add_byte(out, digits[(unsigned char)c & 15]);
}

/* A character in the encoding Q of RFC 2047 (5, rule 3: safe in any header). */
static void
add_word_char(struct buf *out, const char *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (p[i] == ' ')
			buf_add_byte(out, '_');
		else if (isascii((unsigned char)p[i]) && isalnum((unsigned char)p[i]))
			buf_add_byte(out, p[i]);
		else
			add_quoted(out, p[i]);
}

/* A subject in encoded words, a line each; no character is in two of them. */
static void
add_words(struct buf *out, const char *subject)
{
	static const char begin[] = "=?UTF-8?Q?", end[] = "?=";
	size_t n = strlen(subject), len, start = out->len;

	buf_add_str(out, begin);
	for (size_t i = 0; i < n; i += len) {
		len = utf8_sequence(subject + i, n - i);
		if (out->len - start + 3 * len + strlen(end) > WORD_MAX) {
			buf_addf(out, "%s\n ", end);
			start = out->len;
			buf_add_str(out, begin);
		}
		add_word_char(out, subject + i, len);
	}
	buf_add_str(out, end);
}

/* The line that text starts with, without its end. */
static struct span
first_line(struct span text)
{
	const char *end = memchr(text.p, '\n', text.len);

	return (struct span){ text.p, end != NULL ? (size_t)(end - text.p) : text.len };
}

/* What some mailers put a '>' before, as mailboxes need it. */
static bool
is_from_line(struct span line)
{
	return line.len >= 5 && memcmp(line.p, "From ", 5) == 0;
}

/* Whether the line may stand in a message as it is. */
static bool
is_plain_line(struct span line)
{
	if (line.len > LINE_MAX_BYTES || is_from_line(line))
		return false;
	for (size_t i = 0; i < line.len; i++)
		if (line.p[i] != '\t' && (line.p[i] < 0x20 || line.p[i] > 0x7e))
			return false;
	return true;
}

/* A line in quoted-printable, in as many lines as it takes. */
static void
add_quoted_line(struct buf *out, struct span line)
{
	size_t start = out->len;

	for (size_t i = 0; i < line.len; i++) {
		char c = line.p[i];
		bool blank = c == ' ' || c == '\t';
		bool literal = blank ? i + 1 < line.len : c > 0x20 && c < 0x7f && c != '=';

		if (i == 0 && is_from_line(line))
			literal = false;
		if (out->len - start + (literal ? 1 : 3) >= QUOTED_MAX) {
			buf_add_str(out, "=\n");
			start = out->len;
			/* A soft end is no end of text: this may be a start as well. */
			if (is_from_line((struct span){ line.p + i, line.len - i }))
				literal = false;
		}
		if (literal)
			buf_add_byte(out, c);
		else
			add_quoted(out, c);
	}
}

/* Call with each line of a text; an end at its end begins no further one. */
static bool
next_line(struct span *text, struct span *line)
{
	if (text->len == 0)
		return false;
	*line = first_line(*text);
	text->p += line->len;
	text->len -= line->len;
	if (text->len > 0) {
		text->p++;
		text->len--;
	}
	return true;
}

static bool
is_plain_text(struct span text)
{
	struct span line;

	while (next_line(&text, &line))
		if (!is_plain_line(line))
			return false;
	return true;
}

static void
add_text(struct buf *out, struct span text, bool plain)
{
	struct span line;

	while (next_line(&text, &line)) {
		if (plain)
			buf_add_span(out, line);
		else
			add_quoted_line(out, line);
		buf_add_byte(out, '\n');
	}
}

/* "Date: Thu, 26 Nov 2026 21:05:00 +0000" (the locale is C: nobody sets one). */
static void
add_date(struct buf *out, int64_t now)
{
	char text[64];
	time_t t = (time_t)now;
	struct tm tm;

	if (gmtime_r(&t, &tm) != NULL &&
	    strftime(text, sizeof(text), "%a, %d %b %Y %H:%M:%S +0000", &tm) > 0)
		buf_addf(out, "Date: %s\n", text);
}

enum rc
message_write(const char *from, const struct mail *m, int64_t now, struct buf *out,
              struct err *err)
{
	bool plain_subject, plain = is_plain_text(m->text);
	char id[ID_MAX];
	enum rc rc;

	if (!mail_address_ok(m->to))
		return err_set(err, RC_INVALID, "this is not an address that mail can be sent to: %s",
		               m->to);
	if ((rc = judge_subject(m->subject, &plain_subject, err)) != RC_OK)
		return rc;
	if (id_new("", 16, id) != RC_OK)
		return err_set(err, RC_FAULT, "no random numbers");
	add_date(out, now);
	buf_addf(out, "From: <%s>\nTo: <%s>\nSubject: ", from, m->to);
	if (plain_subject)
		buf_add_str(out, m->subject);
	else
		add_words(out, m->subject);
	buf_addf(out, "\nMessage-ID: <%s%s>\n", id, strchr(from, '@'));
	buf_addf(out, "MIME-Version: 1.0\nContent-Type: text/plain; charset=UTF-8\n"
	         "Content-Transfer-Encoding: %s\nAuto-Submitted: auto-generated\n\n",
	         plain ? "7bit" : "quoted-printable");
	add_text(out, m->text, plain);
	return out->failed ? err_set(err, RC_FAULT, "out of memory") : RC_OK;
}
