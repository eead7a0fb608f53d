/* HTTP by libcurl, see transport.h. All calls of libcurl are here. */
#include "client/transport.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#include <curl/curl.h>

#include "config.h"

/* An answer above this is no answer of a td-sync server: a page has 4 MB,
 * or one event, which is no larger than a push may be. */
#define MAX_BODY ((size_t)128 << 20)

#define CONNECT_TIMEOUT_S 10

struct http {
	struct transport base; /* first: a transport is an http */
	CURL *curl;
	char *url;             /* without a slash at its end */
	char why[CURL_ERROR_SIZE];
};

/* What the callbacks of one request write to. */
struct sink {
	CURL *curl;
	struct transport_reply *reply;
	struct transport_file *file; /* NULL: everything goes into the reply */
	size_t room;       /* so much of a body is taken, */
	bool cut;          /* and the rest left, which is no failure */
	int64_t from;      /* where the part begins that came, by Content-Range */
	char tag[128];     /* ETag */
	bool into_file;    /* the body goes there, */
	bool begun;        /* from the place that was found for its first byte */
	bool too_large;
	int disk;          /* errno of a write that failed */
};

void
transport_reply_free(struct transport_reply *r)
{
	buf_free(&r->body);
	*r = (struct transport_reply){ 0 };
}

/* The first bytes of a body: is it a file's, and which part of it? */
static bool
begin_file(struct sink *s)
{
	long status = 0;
	int64_t at;

	s->begun = true;
	curl_easy_getinfo(s->curl, CURLINFO_RESPONSE_CODE, &status);
	s->into_file = s->file != NULL && (status == 200 || status == 206);
	if (!s->into_file)
		return true;
	at = status == 206 ? s->from : 0;
	if (at > s->file->have) { /* bytes between were never here: from the start */
		s->file->have = 0;
		s->file->tag[0] = '\0';
		return false;
	}
	if (ftruncate(s->file->fd, at) != 0 || lseek(s->file->fd, at, SEEK_SET) != at) {
		s->disk = errno;
		return false;
	}
	s->file->have = at;
	snprintf(s->file->tag, sizeof(s->file->tag), "%s", s->tag);
	return true;
}

static bool
write_file(struct sink *s, const char *p, size_t n)
{
	ssize_t done;

	for (; n > 0; p += done, n -= (size_t)done) {
		if ((done = write(s->file->fd, p, n)) < 0) {
			if (errno == EINTR) {
				done = 0;
				continue;
			}
			s->disk = errno;
			return false;
		}
		s->file->have += done;
	}
	return true;
}

static size_t
on_body(char *p, size_t size, size_t n, void *ctx)
{
	struct sink *s = ctx;

	n *= size;
	if (!s->begun && !begin_file(s))
		return 0;
	if (s->into_file)
		return write_file(s, p, n) ? n : 0;
	if (n > s->room - s->reply->body.len && !s->cut) {
		s->too_large = true;
		return 0;
	}
	if (n > s->room - s->reply->body.len) {
		buf_add(&s->reply->body, p, s->room - s->reply->body.len);
		return 0;
	}
	buf_add(&s->reply->body, p, n);
	return s->reply->body.failed ? 0 : n;
}

/* The value of a header line with that name, NUL-terminated in out. */
static bool
header(const char *line, size_t len, const char *name, char *out, size_t size)
{
	size_t n = strlen(name);

	if (len <= n || line[n] != ':' || strncasecmp(line, name, n) != 0)
		return false;
	for (line += n + 1, len -= n + 1; len > 0 && (*line == ' ' || *line == '\t'); len--)
		line++;
	while (len > 0 && isspace((unsigned char)line[len - 1]))
		len--;
	snprintf(out, size, "%.*s", (int)len, line);
	return true;
}

/* A decimal number from 1 on; 0 for anything else. */
static int64_t
whole_number(const char *text)
{
	char *end;
	long long n;

	errno = 0;
	n = strtoll(text, &end, 10);
	return errno == 0 && *end == '\0' && end != text && n > 0 ? n : 0;
}

static size_t
on_header(char *line, size_t size, size_t n, void *ctx)
{
	struct sink *s = ctx;
	struct transport_reply *r = s->reply;
	char value[128];

	n *= size;
	if (n > 5 && strncmp(line, "HTTP/", 5) == 0) {
		/* A new answer begins (after a "100 Continue"). */
		r->content_type[0] = r->log_id[0] = r->log_last[0] = '\0';
		r->snapshot_digest[0] = r->cache_control[0] = s->tag[0] = '\0';
		r->retry_after_s = 0;
		r->server_time = r->snapshot_seq = s->from = 0;
	} else if (header(line, n, "Content-Type", value, sizeof(value))) {
		snprintf(r->content_type, sizeof(r->content_type), "%.63s", value);
	} else if (header(line, n, "X-Log-Id", value, sizeof(value))) {
		if (strlen(value) == sizeof(r->log_id) - 1)
			memcpy(r->log_id, value, sizeof(r->log_id));
	} else if (header(line, n, "X-Log-Last", value, sizeof(value))) {
		snprintf(r->log_last, sizeof(r->log_last), "%.63s", value);
	} else if (header(line, n, "X-Snapshot-Digest", value, sizeof(value))) {
		snprintf(r->snapshot_digest, sizeof(r->snapshot_digest), "%.64s", value);
	} else if (header(line, n, "X-Snapshot-Seq", value, sizeof(value))) {
		r->snapshot_seq = whole_number(value);
	} else if (header(line, n, "Content-Range", value, sizeof(value))) {
		if (strncmp(value, "bytes ", 6) == 0)
			s->from = strtoll(value + 6, NULL, 10);
	} else if (header(line, n, "ETag", value, sizeof(value))) {
		if (value[0] == '"') /* a weak one names no bytes */
			snprintf(s->tag, sizeof(s->tag), "%s", value);
	} else if (header(line, n, "Retry-After", value, sizeof(value))) {
		long wait = strtol(value, NULL, 10); /* the form with a date counts as none */

		r->retry_after_s = wait < 0 ? 0 : wait > 86400 ? 86400 : (int)wait;
	} else if (header(line, n, "Cache-Control", value, sizeof(value))) {
		snprintf(r->cache_control, sizeof(r->cache_control), "%.63s", value);
	} else if (header(line, n, "Date", value, sizeof(value))) {
		time_t t = curl_getdate(value, NULL);

		r->server_time = t < 0 ? 0 : t;
	}
	return n;
}

/* Add a header; false (and the list as it was) when out of memory. */
static bool
add_header(struct curl_slist **list, const char *name, const char *value)
{
	struct buf b = { 0 };
	struct curl_slist *grown = NULL;

	buf_addf(&b, "%s%s", name, value);
	if (buf_cstr(&b) != NULL)
		grown = curl_slist_append(*list, b.p);
	buf_free(&b);
	if (grown != NULL)
		*list = grown;
	return grown != NULL;
}

static bool
add_headers(struct curl_slist **list, const struct transport_request *rq)
{
	bool ok = add_header(list, "Accept: ", rq->file != NULL ? "application/x-sqlite3, "
	                     "application/json" : "application/json");

	if (rq->token != NULL)
		ok = ok && add_header(list, "Authorization: Bearer ", rq->token);
	if (rq->log_id != NULL)
		ok = ok && add_header(list, "X-Log-Id: ", rq->log_id);
	if (rq->log_last != NULL)
		ok = ok && add_header(list, "X-Log-Last: ", rq->log_last);
	if (rq->prefer != NULL)
		ok = ok && add_header(list, "Prefer: ", rq->prefer);
	if (rq->file != NULL && rq->file->have > 0 && rq->file->tag[0] != '\0') {
		char range[40];

		snprintf(range, sizeof(range), "bytes=%lld-", (long long)rq->file->have);
		ok = ok && add_header(list, "Range: ", range);
		ok = ok && add_header(list, "If-Range: ", rq->file->tag);
	}
	if (rq->body.len > 0) {
		ok = ok && add_header(list, "Content-Type: ", "application/json");
		ok = ok && add_header(list, "Expect:", ""); /* none: it costs a round trip */
	}
	return ok;
}

/*
 * One line for a request that got no whole answer. Nothing of the request
 * goes into it: the token must not.
 */
static enum rc
no_answer(struct http *h, CURLcode code, const struct sink *s, struct err *err)
{
	if (code == CURLE_OUT_OF_MEMORY || s->reply->body.failed)
		return err_set(err, RC_FAULT, "out of memory");
	if (s->disk != 0)
		return err_set(err, RC_UNAVAILABLE, "can't write what the server sends: %s",
		               strerror(s->disk));
	if (s->too_large)
		return err_set(err, RC_BUSY, "%s: an answer of more than %zu MB",
		               h->url, MAX_BODY >> 20);
	if (code == CURLE_PARTIAL_FILE)
		return err_set(err, RC_BUSY, "%s: the answer ended in the middle", h->url);
	return err_set(err, RC_BUSY, "%s: %s", h->url,
	               h->why[0] != '\0' ? h->why : curl_easy_strerror(code));
}

/* What every request is made with. */
static void
set_up(CURL *c, const char *url, char why[CURL_ERROR_SIZE], struct curl_slist *headers,
       struct sink *s)
{
	why[0] = '\0';
	curl_easy_setopt(c, CURLOPT_ERRORBUFFER, why);
	curl_easy_setopt(c, CURLOPT_URL, url);
#if LIBCURL_VERSION_NUM >= 0x075500 /* 7.85 */
	curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
#else
	curl_easy_setopt(c, CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
	curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L); /* a token goes to one host */
	if (transport_is_here(url))
		curl_easy_setopt(c, CURLOPT_NOPROXY, "*");
	curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(c, CURLOPT_USERAGENT, "td-sync/" PACKAGE_VERSION);
	curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_TIMEOUT_S);
	curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(c, CURLOPT_WRITEDATA, s);
	curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(c, CURLOPT_HEADERDATA, s);
}

static CURLcode
perform(struct http *h, const struct transport_request *rq, struct curl_slist *headers,
        const char *url, struct sink *s)
{
	CURL *c = h->curl;

	curl_easy_reset(c); /* keeps connections and their TLS sessions */
	set_up(c, url, h->why, headers, s);
	curl_easy_setopt(c, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
	if (rq->file == NULL)
		curl_easy_setopt(c, CURLOPT_ACCEPT_ENCODING, "gzip");
	if (rq->file == NULL) {
		curl_easy_setopt(c, CURLOPT_TIMEOUT, (long)rq->timeout_s);
	} else { /* as large as it is, over whatever line */
		curl_easy_setopt(c, CURLOPT_LOW_SPEED_LIMIT, 1L);
		curl_easy_setopt(c, CURLOPT_LOW_SPEED_TIME, (long)rq->timeout_s);
	}
	if (rq->body.len > 0) {
		curl_easy_setopt(c, CURLOPT_POST, 1L);
		curl_easy_setopt(c, CURLOPT_POSTFIELDS, rq->body.p);
		curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)rq->body.len);
	}
	if (strcmp(rq->method, "DELETE") == 0)
		curl_easy_setopt(c, CURLOPT_CUSTOMREQUEST, rq->method);
	return curl_easy_perform(c);
}

static enum rc
http_send(struct transport *t, const struct transport_request *rq,
          struct transport_reply *reply, struct err *err)
{
	struct http *h = (struct http *)t;
	struct sink s = { .curl = h->curl, .reply = reply, .file = rq->file,
	                  .room = MAX_BODY };
	struct curl_slist *headers = NULL;
	struct buf url = { 0 };
	enum rc rc = RC_OK;
	CURLcode code;
	long status = 0;

	buf_addf(&url, "%s%s", h->url, rq->path);
	if (buf_cstr(&url) == NULL || !add_headers(&headers, rq)) {
		rc = err_set(err, RC_FAULT, "out of memory");
		goto done;
	}
	code = perform(h, rq, headers, url.p, &s);
	if (code != CURLE_OK) {
		rc = no_answer(h, code, &s, err);
		goto done;
	}
	if (!s.begun && !begin_file(&s)) { /* an empty body */
		rc = no_answer(h, CURLE_WRITE_ERROR, &s, err);
		goto done;
	}
	curl_easy_getinfo(h->curl, CURLINFO_RESPONSE_CODE, &status);
	reply->status = (int)status;
done:
	curl_slist_free_all(headers);
	buf_free(&url);
	return rc;
}

static void
http_free(struct transport *t)
{
	struct http *h = (struct http *)t;

	curl_easy_cleanup(h->curl);
	free(h->url);
	free(h);
}

enum rc
transport_http(const char *url, struct transport **out, struct err *err)
{
	struct http *h = calloc(1, sizeof(*h));
	size_t n = strlen(url);

	*out = NULL;
	while (n > 0 && url[n - 1] == '/')
		n--;
	if (h != NULL) {
		h->base.send = http_send;
		h->base.free = http_free;
		h->url = strndup(url, n);
		h->curl = curl_easy_init();
	}
	if (h == NULL || h->url == NULL || h->curl == NULL) {
		if (h != NULL)
			http_free(&h->base);
		return err_set(err, RC_FAULT, "out of memory");
	}
	*out = &h->base;
	return RC_OK;
}

/* A part of an address. */
static bool
get_part(CURLU *u, CURLUPart which, unsigned flags, char *out, size_t size)
{
	char *part = NULL;
	bool fits = curl_url_get(u, which, &part, flags) == CURLUE_OK && strlen(part) < size;

	if (fits)
		strcpy(out, part);
	curl_free(part);
	return fits;
}

bool
transport_origin(const char *url, struct origin *out)
{
	char scheme[8], port[8];
	CURLU *u = curl_url();
	bool ok = u != NULL && curl_url_set(u, CURLUPART_URL, url, 0) == CURLUE_OK &&
	    get_part(u, CURLUPART_SCHEME, 0, scheme, sizeof(scheme)) &&
	    get_part(u, CURLUPART_HOST, 0, out->host, sizeof(out->host)) &&
	    get_part(u, CURLUPART_PORT, CURLU_DEFAULT_PORT, port, sizeof(port));

	curl_url_cleanup(u);
	if (ok) {
		out->tls = strcasecmp(scheme, "https") == 0;
		out->port = strtol(port, NULL, 10);
	}
	return ok;
}

bool
transport_is_here(const char *url)
{
	unsigned char address[4];
	struct origin o;

	if (!transport_origin(url, &o))
		return false;
	return strcasecmp(o.host, "localhost") == 0 || strcmp(o.host, "[::1]") == 0 ||
	       (inet_pton(AF_INET, o.host, address) == 1 && address[0] == 127);
}

/* --- a look at the way to a server --- */

#define LOOK_BODY 4096   /* of an answer's body so much is told */
#define LOOK_WAIT_MS 5000 /* for an answer to what is only announced */

void
transport_found_free(struct transport_found *f)
{
	transport_reply_free(&f->reply);
	*f = (struct transport_found){ 0 };
}

/* The server wants the body that was announced: that is what there was to learn. */
static size_t
on_asked(char *p, size_t size, size_t n, void *ctx)
{
	(void)p;
	(void)size;
	(void)n;
	*(bool *)ctx = true;
	return CURL_READFUNC_ABORT;
}

static enum transport_stage
stage_of(CURLcode code, const struct sink *s, bool asked)
{
	if (asked)
		return STAGE_BODY;
	switch (code) {
	case CURLE_OK:
		return STAGE_DONE;
	case CURLE_COULDNT_RESOLVE_HOST:
	case CURLE_COULDNT_RESOLVE_PROXY:
		return STAGE_NAME;
	case CURLE_COULDNT_CONNECT:
		return STAGE_CONNECT;
	case CURLE_SSL_CONNECT_ERROR:
	case CURLE_SSL_CIPHER:
		return STAGE_SECURE;
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CERTPROBLEM:
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_SSL_ISSUER_ERROR:
		return STAGE_TLS;
	case CURLE_WRITE_ERROR: /* longer than we wanted to know */
		return s->reply->body.len == LOOK_BODY ? STAGE_DONE : STAGE_ANSWER;
	default:
		return STAGE_ANSWER;
	}
}

/* When the server's own certificate ends. */
static int64_t
certificate_until(CURL *c)
{
	static const char name[] = "Expire date:";
	struct curl_certinfo *info = NULL;
	time_t t = 0;

	if (curl_easy_getinfo(c, CURLINFO_CERTINFO, &info) != CURLE_OK || info == NULL ||
	    info->num_of_certs < 1)
		return 0;
	for (struct curl_slist *p = info->certinfo[0]; p != NULL; p = p->next)
		if (strncmp(p->data, name, sizeof(name) - 1) == 0)
			t = curl_getdate(p->data + sizeof(name) - 1, NULL);
	return t < 0 ? 0 : t;
}

/* A connection that stays open until its time is over never got to an answer. */
static bool
is_connected(CURL *c)
{
	double seconds = 0;

	return curl_easy_getinfo(c, CURLINFO_CONNECT_TIME, &seconds) == CURLE_OK && seconds > 0;
}

static void
announce(CURL *c, int64_t bytes, bool *asked)
{
	curl_easy_setopt(c, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(c, CURLOPT_POST, 1L);
	curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)bytes);
	curl_easy_setopt(c, CURLOPT_EXPECT_100_TIMEOUT_MS, (long)LOOK_WAIT_MS);
	curl_easy_setopt(c, CURLOPT_READFUNCTION, on_asked);
	curl_easy_setopt(c, CURLOPT_READDATA, asked);
}

enum rc
transport_look(const struct transport_question *q, struct transport_found *out, struct err *err)
{
	struct curl_slist *headers = NULL;
	CURL *c = curl_easy_init();
	struct sink s = { .curl = c, .reply = &out->reply, .room = LOOK_BODY, .cut = true };
	char why[CURL_ERROR_SIZE];
	bool asked = false, ok;
	enum rc rc = RC_OK;
	CURLcode code;
	long status = 0;

	ok = c != NULL && add_header(&headers, "Accept: ", "application/json");
	if (ok && q->token != NULL)
		ok = add_header(&headers, "Authorization: Bearer ", q->token);
	if (ok && q->announced > 0)
		ok = add_header(&headers, "Content-Type: ", "application/json") &&
		    add_header(&headers, "Expect: ", "100-continue");
	if (!ok) {
		rc = err_set(err, RC_FAULT, "out of memory");
		goto done;
	}
	set_up(c, q->url, why, headers, &s);
	curl_easy_setopt(c, CURLOPT_TIMEOUT, (long)q->timeout_s);
	curl_easy_setopt(c, CURLOPT_CERTINFO, 1L);
	if (q->announced > 0)
		announce(c, q->announced, &asked);
	code = curl_easy_perform(c);
	out->stage = stage_of(code, &s, asked);
	if (code == CURLE_OPERATION_TIMEDOUT && !is_connected(c))
		out->stage = STAGE_CONNECT;
	out->certificate_until = certificate_until(c);
	curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &status);
	out->reply.status = (int)status;
	if (code == CURLE_OUT_OF_MEMORY || out->reply.body.failed)
		rc = err_set(err, RC_FAULT, "out of memory");
	else if (out->stage != STAGE_DONE)
		err_set(err, RC_BUSY, "%s", why[0] != '\0' ? why : curl_easy_strerror(code));
done:
	curl_slist_free_all(headers);
	curl_easy_cleanup(c);
	return rc;
}
