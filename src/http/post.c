/* Mail that handlers send, see post.h. */
#include "http/post.h"

#include "base/log.h"
#include "http/places.h"
#include "http/reply.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PLACES_FILE "logins"
#define PLACES_MAX 8

bool
post_place(struct request *r)
{
	char path[PATH_MAX + sizeof("/" PLACES_FILE)];
	int n = r->server->max_waiting < PLACES_MAX ? r->server->max_waiting : PLACES_MAX;

	snprintf(path, sizeof(path), "%s/" PLACES_FILE, r->server->config->data);
	if (place_take(path, n > 0 ? n : 1, &r->waiter_place) == RC_OK)
		return true;
	reply_header(r, "Retry-After", "2");
	reply_error(r, 503, "busy", "Too many logins and invitations at this moment: try again in a "
	            "moment.");
	return false;
}

void
post_wait(int64_t since_ms, int64_t ms)
{
	int64_t left = since_ms + ms - clock_mono_ms();

	if (left > 0)
		usleep((useconds_t)left * 1000);
}

void
post_clean(struct buf *out, const char *before, const char *text, size_t n)
{
	const char *cut = text;

	buf_add_str(out, before);
	for (; *cut != '\0' && (size_t)(cut - text) < n; cut++) {
		unsigned char c = (unsigned char)*cut;

		/* U+0080 to U+009F, U+2028, U+2029 are line ends and worse to some. */
		if (c == 0xc2 && (unsigned char)cut[1] < 0xa0 && cut[1] != '\0') {
			buf_add_byte(out, '_');
			cut++;
			continue;
		}
		if (c == 0xe2 && (strncmp(cut, "\xe2\x80\xa8", 3) == 0 ||
		                  strncmp(cut, "\xe2\x80\xa9", 3) == 0)) {
			buf_add_byte(out, '_');
			cut += 2;
			continue;
		}
		/* "http://…" is one where it begins, "www.example.com" by its dots. */
		if (c < ' ' || c == 0x7f || c == ':' || c == '/')
			buf_add_byte(out, '_');
		else if (c == '.' && cut[1] != ' ' && cut[1] != '\0')
			buf_add_byte(out, '_');
		else
			buf_add_byte(out, *cut);
	}
	/* Never half a UTF-8 sequence. */
	if (*cut != '\0')
		while (out->len > 0 && ((unsigned char)*cut & 0xc0) == 0x80) {
			out->len--;
			cut--;
		}
}

bool
post_send(struct request *r, const char *to, struct buf *subject, struct buf *text)
{
	struct mail m = { .to = to };
	struct err err;
	enum rc rc;

	if (r->server->config->url[0] == '\0') {
		log_write(LOG_ERROR, "no mail was sent: td-sync.conf has no url for its links");
		return false;
	}
	m.subject = buf_cstr(subject);
	m.text = buf_span(text);
	if (m.subject == NULL || text->failed)
		rc = err_set(&err, RC_FAULT, "out of memory");
	else
		rc = mail_send(&r->server->config->mail, &m, &err);
	if (rc != RC_OK)
		log_write(LOG_ERROR, "no mail was sent: %s", err.text);
	return rc == RC_OK;
}
