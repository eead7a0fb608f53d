/* Answers, see reply.h. */
#include "http/reply.h"

#include "base/log.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define PART_CHUNK 65536

/*
 * What anyone may read, nginx may serve again without asking until so long after it
 * was judged: 5 s less what its clock, and an answer that is on its way, may need.
 */
#define PUBLIC_US 4500000

/*
 * Which status and code an outcome is. A message stands here where the cause
 * is not the caller's to know, or where a plain sentence says what to do: a
 * stock td prints the JSON body as it came.
 */
static const struct {
	int status;
	const char *code;
	const char *message; /* NULL: r->err */
	const char *retry_after;
} table[RC__MAX] = {
	[RC_INVALID]      = { 400, "bad_request" },
	[RC_TOO_LARGE]    = { 413, "too_large" },
	[RC_SLOW]         = { 408, "request_timeout",
	    "The request took too long to arrive: try again." },
	[RC_UNAUTHORIZED] = { 401, "unauthorized" },
	[RC_SCOPE]        = { 403, "insufficient_scope" },
	[RC_QUOTA]        = { 403, "quota_exceeded" },
	[RC_FORBIDDEN]    = { 403, "forbidden" },
	[RC_NOT_FOUND]    = { 404, "not_found" },
	[RC_CONFLICT]     = { 409, "conflict" },
	[RC_LAST_OWNER]   = { 409, "last_owner" },
	[RC_EXPIRED]      = { 410, "expired" },
	[RC_DUPLICATE]    = { 409, "conflict" },
	[RC_LOG_CHANGED]  = { 409, "log_changed",
	    "The server's log is not the one this device last saw: it was restored "
	    "or made anew. Sync with td-sync, which offers again what the new log "
	    "lacks and then takes it over." },
	[RC_CURSOR_AHEAD] = { 409, "cursor_ahead",
	    "This device has seen more than the server's log holds: the log was set "
	    "back or replaced. Nothing was sent; ask whoever runs the server what "
	    "happened to it." },
	[RC_BUSY]         = { 503, "busy",
	    "The project is busy: try again in a moment.", "1" },
	[RC_CROWDED]      = { 503, "busy",
	    "The server takes only a few large requests at a time: try again in a "
	    "moment.", "5" },
	[RC_UNAVAILABLE]  = { 503, "unavailable", NULL, "10" },
	[RC_FAULT]        = { 500, "internal_error", NULL },
};

void
reply_text(struct buf *out, const char *lead, const char *name, const char *text)
{
	buf_add_str(out, lead);
	buf_add_json(out, span_of(name));
	buf_add_byte(out, ':');
	buf_add_json(out, span_of(text));
}

void
reply_header(struct request *r, const char *name, const char *value)
{
	buf_addf(&r->headers, "%s: %s\r\n", name, value);
}

/* Append a text with the folders that are configured under the names of their
 * keys: what is wrong is the caller's to know, where the data lies is not. */
static void
add_without_folders(struct buf *b, const char *text, const struct config *config)
{
	const char *const paths[] = { config->data, config->profiles };
	const char *const names[] = { "data", "profiles" };
	size_t i, n;

	while (*text != '\0') {
		for (i = 0; i < 2; i++)
			if ((n = strlen(paths[i])) > 0 && strncmp(text, paths[i], n) == 0)
				break;
		if (i < 2) {
			buf_add_str(b, names[i]);
			text += n;
		} else {
			buf_add_byte(b, *text++);
		}
	}
}

/* The sentence of an outcome for the caller, in r->scratch. */
static void
compose(struct request *r, enum rc rc)
{
	struct buf *b = &r->scratch;

	buf_reset(b);
	if (table[rc].message != NULL) {
		buf_add_str(b, table[rc].message);
	} else if (rc == RC_FAULT) {
		buf_addf(b, "The server failed; its error log tells why under request %s.",
		         r->id);
	} else if (rc == RC_UNAVAILABLE) {
		buf_add_str(b, "The server can't do this now: ");
		add_without_folders(b, r->err.text, r->server->config);
		buf_add_str(b, ". Whoever runs it must mend that; try again later.");
	} else {
		buf_add_str(b, r->err.text);
	}
}

/* {"error":{"code","message"}}, with what the log now is where that matters. */
static void
write_error(struct request *r, int status, const char *code, struct span message,
            bool with_head)
{
	struct buf *out = &r->out;

	r->status = status;
	r->after = NULL;
	r->type = "application/json";
	buf_reset(out);
	buf_add_str(out, "{\"error\":{\"code\":");
	buf_add_json(out, span_of(code));
	buf_add_str(out, ",\"message\":");
	buf_add_json(out, message);
	buf_add_byte(out, '}');
	if (with_head) {
		buf_add_str(out, ",\"log_id\":\"");
		buf_add_hex(out, r->head.log_id, LOG_ID_LEN);
		buf_add_str(out, "\",\"last_server_seq\":");
		buf_add_int(out, r->head.seq);
	}
	buf_add_str(out, "}\n");
}

void
reply_error(struct request *r, int status, const char *code, const char *message)
{
	write_error(r, status, code, span_of(message), false);
}

void
reply_rc(struct request *r, enum rc rc)
{
	bool of_log = rc == RC_LOG_CHANGED || rc == RC_CURSOR_AHEAD;

	if (rc == RC_OK || rc >= RC__MAX)
		rc = RC_FAULT;
	if (rc == RC_FAULT || rc == RC_UNAVAILABLE)
		log_write(LOG_ERROR, "%s: %s", rc_name(rc), r->err.text);
	else if (rc == RC_BUSY || rc == RC_CROWDED || rc == RC_SLOW)
		log_write(LOG_WARN, "%s: %s", rc_name(rc), r->err.text);
	compose(r, rc);
	if (table[rc].retry_after != NULL)
		reply_header(r, "Retry-After", table[rc].retry_after);
	if (rc == RC_UNAUTHORIZED)
		reply_header(r, "WWW-Authenticate", "Bearer");
	write_error(r, table[rc].status, table[rc].code, buf_span(&r->scratch),
	            of_log && r->has_head);
}

/* Compared weakly: a compressing web server makes "x" into W/"x". */
bool
reply_matches(const struct request *r, const char *etag)
{
	const char *p = request_header(r, "HTTP_IF_NONE_MATCH");
	size_t n = strlen(etag);

	while (p != NULL && *p != '\0') {
		p += strspn(p, " \t,");
		if (strncmp(p, "W/", 2) == 0)
			p += 2;
		if (strncmp(p, etag, n) == 0 && strchr(" \t,", p[n]) != NULL)
			return true;
		p += strcspn(p, ",");
	}
	return false;
}

static const char *
reason(int status)
{
	switch (status) {
	case 200: return "OK";
	case 201: return "Created";
	case 204: return "No Content";
	case 206: return "Partial Content";
	case 304: return "Not Modified";
	case 307: return "Temporary Redirect";
	case 400: return "Bad Request";
	case 401: return "Unauthorized";
	case 403: return "Forbidden";
	case 404: return "Not Found";
	case 405: return "Method Not Allowed";
	case 408: return "Request Timeout";
	case 409: return "Conflict";
	case 410: return "Gone";
	case 413: return "Content Too Large";
	case 416: return "Range Not Satisfiable";
	case 429: return "Too Many Requests";
	case 500: return "Internal Server Error";
	case 503: return "Service Unavailable";
	}
	return "Status";
}

/* Whether the client takes gzip (RFC 9110, 12.5.3; a weight of 0 is a no). */
static bool
takes_gzip(const struct request *r)
{
	const char *p = request_header(r, "HTTP_ACCEPT_ENCODING");

	while (p != NULL && *p != '\0') {
		p += strspn(p, " \t,");
		if (strncasecmp(p, "gzip", 4) == 0 && strchr(" \t,;", p[4]) != NULL) {
			const char *q = p + 4 + strspn(p + 4, " \t;");

			return strncasecmp(q, "q=0", 3) != 0 || q[3 + strspn(q + 3, ".0")] > '0';
		}
		p += strcspn(p, ",");
	}
	return false;
}

/* How long the body is: what was made, a page's file, or a part of a file. */
static int64_t
body_size(const struct request *r, bool unpack)
{
	if (r->part.fd >= 0)
		return r->part.n;
	if (r->file.fd >= 0)
		return unpack ? r->file.text : r->file.size;
	return (int64_t)r->out.len;
}

static void
body_headers(const struct request *r, bool unpack, struct buf *head)
{
	int64_t size = body_size(r, unpack);

	if (r->file.fd >= 0)
		buf_add_str(head, "Vary: Accept-Encoding\r\n");
	if (r->file.fd >= 0 && !unpack)
		buf_add_str(head, "Content-Encoding: gzip\r\n");
	if (size > 0)
		buf_addf(head, "Content-Type: %s\r\n", r->type);
	buf_addf(head, "Content-Length: %lld\r\n", (long long)size);
}

static bool
send_part(struct request *r)
{
	static char chunk[PART_CHUNK];
	int64_t at = r->part.from, end = at + r->part.n;
	ssize_t n;

	while (at < end) {
		n = pread(r->part.fd, chunk, end - at < PART_CHUNK ? (size_t)(end - at) : PART_CHUNK,
		          at);
		if (n <= 0 || !r->io->write(r->io_ctx, chunk, (size_t)n))
			return false;
		at += n;
	}
	return true;
}

static void
send_body(struct request *r, bool unpack)
{
	bool ok = true;

	r->bytes_out = body_size(r, unpack);
	if (r->part.fd >= 0)
		ok = send_part(r);
	else if (r->file.fd >= 0)
		ok = page_file_send(&r->file, unpack, r->io->write, r->io_ctx);
	else if (r->out.len > 0)
		r->io->write(r->io_ctx, r->out.p, r->out.len);
	if (!ok)
		log_write(LOG_WARN, "a file went out in part only: it broke, or nobody took it");
}

/* nginx serves an answer throughout the second that it may be served until. No one else
 * is to keep it: what is not public any more can't be called back. It is said before
 * Cache-Control, which counts for nginx 1.22 where it comes first. */
static void
public_header(const struct request *r, struct buf *head)
{
	if (r->status == 200 && r->caller.guest && r->caller.token_id[0] == '\0')
		buf_addf(head, "X-Accel-Expires: @%lld\r\n",
		         (long long)(r->now_us + PUBLIC_US) / 1000000 - 1);
}

void
reply_send(struct request *r)
{
	struct buf *head = &r->scratch;
	bool empty = r->status == 204 || r->status == 304;
	bool unpack = r->file.fd >= 0 && !takes_gzip(r);

	buf_reset(head);
	buf_addf(head, "Status: %d %s\r\nX-Request-Id: %s\r\n", r->status,
	         reason(r->status), r->id);
	if (r->has_head) {
		buf_add_str(head, "X-Log-Id: ");
		buf_add_hex(head, r->head.log_id, LOG_ID_LEN);
		buf_add_str(head, "\r\n");
	}
	if (!empty)
		body_headers(r, unpack, head);
	public_header(r, head);
	buf_add_str(head, "Cache-Control: private, no-store\r\n"
	                  "X-Content-Type-Options: nosniff\r\n");
	buf_add_span(head, buf_span(&r->headers));
	buf_add_str(head, "\r\n");
	if (head->failed || r->headers.failed) /* nothing whole can be said */
		return;
	r->io->limit(r->io_ctx, r->server->config->transfer_seconds * 1000);
	if (r->io->write(r->io_ctx, head->p, head->len) && !empty && r->method != METHOD_HEAD)
		send_body(r, unpack);
}
