/* Mail that handlers send, see post.h. */
#include "http/post.h"

#include "base/log.h"

#include <string.h>

void
post_clean(struct buf *out, const char *before, const char *text, size_t n)
{
	const char *cut = text;

	buf_add_str(out, before);
	for (; *cut != '\0' && (size_t)(cut - text) < n; cut++) {
		unsigned char c = (unsigned char)*cut;

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
