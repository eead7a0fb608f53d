/* One request, see request.h. */
#include "http/request.h"

#include "base/log.h"
#include "base/metrics.h"
#include "http/places.h"
#include "http/reply.h"
#include "http/route.h"

#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A buffer that grew above this is given back after the request. */
#define KEEP_BYTES (256 << 10)

void
request_init(struct request *r, struct server *server)
{
	*r = (struct request){
		.server = server, .type = "application/json", .file.fd = -1, .part.fd = -1,
		.large_place = -1, .waiter_place = -1,
	};
}

static struct buf *
buffer(struct request *r, size_t i)
{
	struct buf *all[] = { &r->body, &r->out, &r->headers, &r->device, &r->scratch };

	return i < sizeof(all) / sizeof(all[0]) ? all[i] : NULL;
}

void
request_free(struct request *r)
{
	struct buf *b;

	for (size_t i = 0; (b = buffer(r, i)) != NULL; i++)
		buf_free(b);
}

void
request_leave_large(struct request *r)
{
	if (r->large_place < 0)
		return;
	buf_free(&r->body);
	if (r->out.cap > KEEP_BYTES)
		buf_free(&r->out);
#ifdef __GLIBC__
	malloc_trim(0); /* and what was made of it, piece by piece */
#endif
	place_leave(r->large_place);
	r->large_place = -1;
}

/* Forget the last request; keep the server and small buffers. */
static void
reset(struct request *r)
{
	struct request clean;
	struct buf *b;

	request_init(&clean, r->server);
	page_file_close(&r->file);
	if (r->part.fd >= 0)
		close(r->part.fd);
	request_leave_large(r);
	place_leave(r->waiter_place);
	for (size_t i = 0; (b = buffer(r, i)) != NULL; i++) {
		if (b->cap > KEEP_BYTES)
			buf_free(b);
		buf_reset(b);
		*buffer(&clean, i) = *b;
	}
	*r = clean;
}

static const char *
param(const struct request *r, const char *name)
{
	const char *v = r->io->param(r->io_ctx, name);

	return v != NULL ? v : "";
}

const char *
request_header(const struct request *r, const char *name)
{
	return r->io->param(r->io_ctx, name);
}

const char *
request_file_place(const struct request *r, const char *name)
{
	const char *there = request_header(r, name);

	if (there == NULL || there[0] == '\0' || request_header(r, "HTTP_IF_MATCH") != NULL ||
	    request_header(r, "HTTP_IF_UNMODIFIED_SINCE") != NULL)
		return NULL;
	return there;
}

const char *
request_authorization(const struct request *r)
{
	const char *v = request_header(r, "HTTP_AUTHORIZATION");

	/* Apache's name for it, after an internal redirect */
	return v != NULL ? v : request_header(r, "REDIRECT_HTTP_AUTHORIZATION");
}

const char *
method_text(enum method m)
{
	static const char *const names[] = {
		[METHOD_DELETE] = "DELETE", [METHOD_GET] = "GET",   [METHOD_HEAD] = "HEAD",
		[METHOD_PATCH] = "PATCH",   [METHOD_POST] = "POST", [METHOD_OTHER] = "",
	};

	return names[m];
}

static enum method
find_method(const char *name)
{
	int m;

	for (m = 0; m < METHOD_OTHER && strcmp(name, method_text((enum method)m)) != 0; m++)
		;
	return (enum method)m;
}

/* The web server's id of the request, else one of our own. */
static void
set_id(struct request *r)
{
	const char *given = param(r, "REQUEST_ID");
	char made[ID_MAX];

	if (!id_is(span_of(given), "", 32)) {
		if (id_new("", 16, made) != RC_OK)
			memset(made, '0', 32);
		given = made;
	}
	memcpy(r->id, given, 32);
}

/*
 * The path below the service. Web servers send it decoded as PATH_INFO;
 * where none comes, as with nginx's stock fastcgi_params, SCRIPT_NAME is
 * the whole path. It is only ever compared with the route table.
 */
static void
set_path(struct request *r)
{
	const char *info = param(r, "PATH_INFO");

	r->base = param(r, "SCRIPT_NAME");
	r->path = info;
	if (info[0] == '\0') {
		r->path = r->base;
		r->base = "";
	}
}

/* The announced length of the body. False: that is no number. */
static bool
set_body_length(struct request *r)
{
	const char *text = param(r, "CONTENT_LENGTH");
	char *end;

	r->body_length = 0;
	if (text[0] == '\0') {
		if (strcmp(param(r, "HTTP_TRANSFER_ENCODING"), "chunked") == 0)
			r->body_length = -1;
		return true;
	}
	errno = 0;
	r->body_length = strtoll(text, &end, 10);
	return text[0] >= '0' && text[0] <= '9' && *end == '\0' && errno == 0;
}

/* Take in what is asked; RC_INVALID where it makes no sense. */
static enum rc
parse(struct request *r)
{
	set_id(r);
	r->method_name = param(r, "REQUEST_METHOD");
	r->method = find_method(r->method_name);
	r->query = param(r, "QUERY_STRING");
	set_path(r);
	if (!set_body_length(r))
		return err_set(&r->err, RC_INVALID, "invalid Content-Length");
	return RC_OK;
}

/* A member of the access log's line; nothing where the text is empty. */
static void
log_text(struct buf *b, const char *key, const char *text)
{
	if (text[0] != '\0')
		reply_text(b, ",", key, text);
}

static void
log_line(struct request *r, int64_t us)
{
	struct buf *b = &r->scratch;

	if (r->server->config->access_log_off)
		return;
	buf_reset(b);
	buf_add_str(b, "{\"time\":\"");
	time_add_rfc3339(b, time_of_us(r->now_us));
	buf_add_byte(b, '"');
	log_text(b, "request_id", r->id);
	log_text(b, "address", param(r, "REMOTE_ADDR"));
	log_text(b, "method", r->method_name);
	if (r->route != NULL)
		log_text(b, "route", r->route->path);
	else
		log_text(b, "path", r->path);
	log_text(b, "project", r->project_id);
	log_text(b, "user", r->caller.user_id);
	log_text(b, "token", r->caller.token_id);
	buf_addf(b, ",\"status\":%d,\"bytes_in\":%zu,\"bytes_out\":%lld,\"ms\":%lld.%03d}",
	         r->status, r->body.len, (long long)r->bytes_out,
	         (long long)(us / 1000), (int)(us % 1000));
	if (!b->failed)
		log_access(buf_span(b));
}

/* Both before finish(): the strings are the web server's, and who has an answer
 * finds it counted. */
static void
note_request(struct request *r)
{
	int64_t us = clock_mono_us() - r->started_us;

	metrics_add_request(route_number(r->route), r->status, us);
	metrics_add(METRIC_BYTES_IN, r->body.len);
	metrics_add(METRIC_BYTES_OUT, (uint64_t)r->bytes_out);
	log_line(r, us);
}

/* When a token was used last is noted once an hour; as often, old lines of the audit log go. */
static void
note_token(struct request *r)
{
	int64_t days = r->server->config->audit_days;
	struct accounts *accounts;

	if (r->caller.token_id[0] != '\0' && r->status != 401 &&
	    server_accounts(r->server, &accounts, NULL) == RC_OK &&
	    token_used(accounts, r->caller.token_id, r->caller.last_used_at) && days > 0)
		audit_clean(accounts, r->now_us / 1000000 - days * 86400);
}

void
request_serve(struct request *r, const struct io *io, void *io_ctx)
{
	enum rc rc;

	reset(r);
	r->io = io;
	r->io_ctx = io_ctx;
	r->now_us = clock_now_us();
	r->started_us = clock_mono_us();
	if (!metrics_are_on())
		metrics_open(r->server->config->data, route_table());
	rc = parse(r);
	log_request(r->id);
	if (rc == RC_OK)
		route_run(r);
	else
		reply_rc(r, rc);
	reply_send(r);
	note_request(r);
	io->finish(io_ctx);
	if (r->body.len > LARGE_BODY)
		request_leave_large(r); /* before anything else is done: others want its place */
	note_token(r);
	if (r->after != NULL)
		r->after(r);
	log_request(NULL);
	reset(r);
}

/* The value of a hex digit, or -1. */
static int
hex(char c)
{
	return c >= '0' && c <= '9' ? c - '0' :
	       c >= 'a' && c <= 'f' ? c - 'a' + 10 :
	       c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Append a query's key or value, decoded. False: a bad escape. */
static bool
decode(struct span text, struct buf *out)
{
	for (size_t i = 0; i < text.len; i++) {
		int hi, lo;

		if (text.p[i] != '%') {
			buf_add_byte(out, text.p[i] == '+' ? ' ' : text.p[i]);
			continue;
		}
		if (i + 2 >= text.len || (hi = hex(text.p[i + 1])) < 0 ||
		    (lo = hex(text.p[i + 2])) < 0)
			return false;
		buf_add_byte(out, (char)(hi << 4 | lo));
		i += 2;
	}
	return true;
}

/* The first value of that name in "a=b&c=d". */
static bool
find_pair(struct span pairs, const char *name, struct buf *out)
{
	const char *p = pairs.p, *end = pairs.p + pairs.len;

	while (p < end) {
		const char *amp = memchr(p, '&', (size_t)(end - p));
		size_t len = (size_t)((amp != NULL ? amp : end) - p);
		const char *eq = memchr(p, '=', len);
		size_t key = eq != NULL ? (size_t)(eq - p) : len;
		struct span value = { p + key + 1, len > key ? len - key - 1 : 0 };

		buf_reset(out);
		if (memchr(p, ';', len) == NULL && decode((struct span){ p, key }, out) &&
		    span_is(buf_span(out), name)) {
			buf_reset(out);
			if (decode(value, out))
				return true;
		}
		p += len + 1;
	}
	buf_reset(out);
	return false;
}

bool
request_query(const struct request *r, const char *name, struct buf *out)
{
	return find_pair(span_of(r->query), name, out);
}

bool
request_form(const struct request *r, const char *name, struct buf *out)
{
	return find_pair(buf_span(&r->body), name, out);
}

enum rc
request_accounts(struct request *r, struct accounts **out)
{
	const char *address = param(r, "REMOTE_ADDR");
	struct actor by = { .address = "" };
	enum rc rc = server_accounts(r->server, out, &r->err);

	if (rc != RC_OK)
		return rc;
	memcpy(by.user_id, r->caller.user_id, ID_MAX);
	memcpy(by.token_id, r->caller.token_id, ID_MAX);
	snprintf(by.address, sizeof(by.address), "%.63s", address[0] != '\0' ? address : "unknown");
	accounts_act_for(*out, &by);
	return RC_OK;
}

enum rc
request_query_int(struct request *r, const char *name, int64_t *value)
{
	struct buf *b = &r->scratch;
	const char *text;
	long long n;
	char *end;

	if (!request_query(r, name, b) || b->len == 0)
		return RC_OK;
	text = buf_cstr(b);
	if (text == NULL)
		return err_set(&r->err, RC_FAULT, "out of memory");
	errno = 0;
	n = strtoll(text, &end, 10);
	if (end != text + b->len || errno != 0 || strchr("+-0123456789", text[0]) == NULL)
		return err_set(&r->err, RC_INVALID, "invalid %s", name);
	*value = n;
	return RC_OK;
}

enum rc
request_take_large(struct request *r)
{
	char path[PATH_MAX + sizeof("/" LARGE_FILE)];

	snprintf(path, sizeof(path), "%s/" LARGE_FILE, r->server->config->data);
	if (r->large_place < 0 &&
	    place_take(path, r->server->max_large, &r->large_place) != RC_OK)
		return err_set(&r->err, RC_CROWDED, "%d large requests are here already",
		               r->server->max_large);
	return RC_OK;
}

static enum rc
too_large(struct request *r, int64_t max)
{
	return err_set(&r->err, RC_TOO_LARGE, "the body is larger than the %lld bytes "
	               "this server takes: send less at a time", (long long)max);
}

/* Read up to `want` bytes, fewer where the body ends, breaks or dallies. */
static enum rc
read_body(struct request *r, size_t want)
{
	struct buf *b = &r->body;
	enum rc rc = RC_OK;

	while (rc == RC_OK && b->len < want) {
		size_t n = want - b->len, got;

		/* One without an announced length takes room as it comes. */
		if (r->body_length < 0 && n > 65536)
			n = 65536;
		if (b->len + n > LARGE_BODY)
			rc = request_take_large(r);
		if (rc == RC_OK && !buf_reserve(b, n))
			rc = err_set(&r->err, RC_FAULT, "out of memory for a body of %zu bytes",
			             b->len + n);
		if (rc != RC_OK)
			break;
		got = r->io->read(r->io_ctx, b->p + b->len, n);
		b->len += got;
		if (got < n)
			break;
	}
	return rc;
}

enum rc
request_read_body(struct request *r, int64_t max)
{
	int64_t limit_ms = r->server->config->transfer_seconds * 1000;
	int64_t end_ms = clock_mono_ms() + limit_ms;
	bool open_end = r->body_length < 0;
	size_t want = open_end ? (size_t)max + 1 : (size_t)r->body_length;
	enum rc rc;

	if (!open_end && r->body_length > max)
		return too_large(r, max);
	r->io->limit(r->io_ctx, limit_ms);
	rc = read_body(r, want);
	r->io->limit(r->io_ctx, 0);
	if (rc != RC_OK)
		return rc;
	if (open_end && r->body.len == want)
		return too_large(r, max);
	if (r->body.len < want && clock_mono_ms() >= end_ms)
		return err_set(&r->err, RC_SLOW, "%zu bytes of a body in %lld s", r->body.len,
		               (long long)limit_ms / 1000);
	if (!open_end && r->body.len < want)
		return err_set(&r->err, RC_INVALID, "the body ended after %zu of %zu bytes",
		               r->body.len, want);
	return RC_OK;
}
