/* The server as a client sees it, see remote.h. */
#include "client/remote.h"

#include "base/id.h"
#include "base/json.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#define BACKOFF_MS 500          /* before the first retry, doubled each time */
#define BACKOFF_MAX_MS 16000
#define RETRY_AFTER_MAX_S 60    /* of a Retry-After: longer waits are not ours */
#define MESSAGE_MAX 140         /* bytes of the server's words that are shown */

void
remote_answer_free(struct remote_answer *a)
{
	transport_reply_free(&a->reply);
	a->json = (struct span){ 0 };
}

/* What a status means. The server's words are put after `says`. */
static const struct meaning {
	int status;
	enum tdsync_rc rc;
	bool again;        /* may pass: try again */
	const char *says;
} meanings[] = {
	{ 401, TDSYNC_UNAUTHORIZED, false,
	  "the token is missing or not valid (log in with `td-sync login`, or set TD_AUTH_KEY)" },
	{ 403, TDSYNC_FORBIDDEN, false, "not allowed" },
	{ 404, TDSYNC_NOT_FOUND, false, "no such project, or it was deleted" },
	{ 409, TDSYNC_REFUSED, false, "refused" },
	{ 413, TDSYNC_REFUSED, false, "too much at once" },
	{ 429, TDSYNC_BUSY, true, "asks to come later" },
	{ 500, TDSYNC_NETWORK, false, "failed" },
	{ 502, TDSYNC_NETWORK, true, "can't be reached behind its front end" },
	{ 503, TDSYNC_BUSY, true, "can't serve now" },
	{ 504, TDSYNC_NETWORK, true, "did not answer its front end in time" },
};

static struct meaning
meaning_of(int status)
{
	for (size_t i = 0; i < sizeof(meanings) / sizeof(meanings[0]); i++)
		if (meanings[i].status == status)
			return meanings[i];
	if (status >= 300 && status < 400)
		return (struct meaning){ status, TDSYNC_NETWORK, false,
			"sends elsewhere: set TD_SYNC_URL to the address it moved to" };
	if (status >= 400 && status < 500)
		return (struct meaning){ status, TDSYNC_REFUSED, false, "refused" };
	return (struct meaning){ status, TDSYNC_NETWORK, false, "failed" };
}

#define JSON "application/json"

/* Whether a Content-Type is of that type, whatever parameters it has. */
static bool
is_type(const char *content_type, const char *type)
{
	size_t n = strlen(type);

	return strncasecmp(content_type, type, n) == 0 &&
	    (content_type[n] == '\0' || content_type[n] == ';' || content_type[n] == ' ');
}

/* Find the JSON of a body; false when it isn't JSON from end to end. */
static bool
find_json(struct remote_answer *a)
{
	struct span rest;

	if (json_scan(buf_span(&a->reply.body), 2 * JSON_MAX_DEPTH, &a->json, &rest,
	              NULL) != RC_OK)
		return false;
	for (; rest.len > 0; rest.p++, rest.len--)
		if (strchr(" \t\r\n", *rest.p) == NULL || *rest.p == '\0') {
			a->json = (struct span){ 0 };
			return false;
		}
	return true;
}

/* The members of {"error":{"code","message"}}, "" where there is none. */
static void
find_error(struct span json, char code[40], char message[MESSAGE_MAX + 1])
{
	struct span error, v;
	struct buf b = { 0 };

	code[0] = message[0] = '\0';
	if (json.len == 0 || !json_get(json, "error", &error))
		return;
	if (json_get(error, "code", &v) && json_string(v, &b) && buf_cstr(&b) != NULL)
		snprintf(code, 40, "%s", b.p);
	buf_reset(&b);
	if (json_get(error, "message", &v) && json_string(v, &b) && buf_cstr(&b) != NULL)
		snprintf(message, MESSAGE_MAX + 1, "%s", b.p);
	buf_free(&b);
}

enum tdsync_rc
remote_nonsense(const struct remote *r, const char *what, struct err *err)
{
	err_set(err, RC_BUSY, "%s: %s: is it a td-sync server?", r->url, what);
	return TDSYNC_NETWORK;
}

/* A good answer: is it of the type that was asked for? */
static enum tdsync_rc
judge_good(struct remote *r, struct remote_answer *a, const char *type, bool *again,
           struct err *err)
{
	const char *is = a->reply.content_type;
	char what[160];

	if (is_type(is, type) && (strcmp(type, JSON) != 0 || find_json(a)))
		return TDSYNC_OK;
	if (is_type(is, type)) {
		*again = true; /* cut by something on the way */
		return remote_nonsense(r, "the answer is not whole JSON", err);
	}
	snprintf(what, sizeof(what), "the answer is %s, not %s", is[0] != '\0' ? is : "of no type",
	         strcmp(type, JSON) == 0 ? "JSON" : type);
	return remote_nonsense(r, what, err);
}

/* What an answer means; *again tells whether it may pass. */
static enum tdsync_rc
judge(struct remote *r, const struct transport_request *rq, const char *type,
      struct remote_answer *a, bool *again, struct err *err)
{
	char code[40], message[MESSAGE_MAX + 1];
	struct meaning m;

	*again = false;
	if (a->reply.status == 200 || a->reply.status == 201 ||
	    (rq->file != NULL && a->reply.status == 206))
		return judge_good(r, a, type, again, err);
	if (a->reply.status == 204 && strcmp(rq->method, "DELETE") == 0)
		return TDSYNC_OK;
	if (is_type(a->reply.content_type, JSON))
		find_json(a);
	m = meaning_of(a->reply.status);
	*again = m.again;
	find_error(a->json, code, message);
	if (a->reply.status == 404 && code[0] == '\0')
		return remote_nonsense(r, "there is nothing at this address (404)", err);
	if (a->reply.status == 409 &&
	    (strcmp(code, "log_changed") == 0 || strcmp(code, "cursor_ahead") == 0)) {
		m.rc = TDSYNC_LOG_CHANGED;
		snprintf(r->changed_to, sizeof(r->changed_to), "%s", a->reply.log_id);
	}
	err_set(err, RC_BUSY, "%s: %s (%d%s%s)%s%s", r->url, m.says, a->reply.status,
	        code[0] != '\0' ? " " : "", code, message[0] != '\0' ? ": " : "", message);
	return m.rc;
}

/*
 * How long to wait before the nth retry, in milliseconds: between half and the
 * whole of the back-off, so that many clients don't come back at once; at
 * least what the server asked.
 */
static int
pause_before(int n, int retry_after_s)
{
	int ms = n < 6 ? BACKOFF_MS << n : BACKOFF_MAX_MS;
	uint32_t random = 0;

	if (ms > BACKOFF_MAX_MS)
		ms = BACKOFF_MAX_MS;
	id_random(&random, sizeof(random));
	ms = ms / 2 + (int)(random % (uint32_t)(ms / 2 + 1));
	if (retry_after_s > RETRY_AFTER_MAX_S)
		retry_after_s = RETRY_AFTER_MAX_S;
	if (ms < retry_after_s * 1000)
		ms = retry_after_s * 1000 + (int)(random % 1000);
	return ms;
}

static void
wait_ms(int ms)
{
	struct timespec ts = { ms / 1000, ms % 1000 * 1000000L };

	while (nanosleep(&ts, &ts) != 0 && errno == EINTR)
		;
}

static enum tdsync_rc
send_once(struct remote *r, const struct transport_request *rq, const char *type,
          struct remote_answer *out, bool *again, struct err *err)
{
	enum rc rc;

	*again = false;
	remote_answer_free(out);
	rc = r->transport->send(r->transport, rq, &out->reply, err);
	if (rc == RC_OK)
		return judge(r, rq, type, out, again, err);
	remote_answer_free(out);
	*again = rc == RC_BUSY;
	return rc == RC_BUSY ? TDSYNC_NETWORK : rc == RC_UNAVAILABLE ? TDSYNC_LOCAL
	    : TDSYNC_FAULT;
}

/* Send a request until it is answered well, or there is no hope or patience left. */
static enum tdsync_rc
send_all(struct remote *r, const struct transport_request *rq, const char *type,
         struct remote_answer *out, struct err *err)
{
	int64_t have = 0;
	enum tdsync_rc rc;
	bool again;
	int ms;

	for (int n = 0;; n++) {
		rc = send_once(r, rq, type, out, &again, err);
		if (rq->file != NULL && rq->file->have > have && rq->file->tag[0] != '\0') {
			have = rq->file->have;
			n = 0; /* the next one goes on from there */
		}
		if (rc == TDSYNC_OK || !again || n >= r->retries)
			return rc;
		ms = pause_before(n, out->reply.retry_after_s);
		if (r->waiting != NULL)
			r->waiting(r->waiting_ctx, err->text, ms);
		wait_ms(ms);
	}
}

enum tdsync_rc
remote_call(struct remote *r, const char *path, struct span body, bool sync,
            struct remote_answer *out, struct err *err)
{
	struct transport_request rq = {
		.method = body.len > 0 ? "POST" : "GET",
		.path = path,
		.token = r->token,
		.log_id = sync && r->log_id[0] != '\0' ? r->log_id : NULL,
		.log_last = sync && r->log_last[0] != '\0' ? r->log_last : NULL,
		.prefer = sync && body.len > 0 ? "handling=lenient" : NULL,
		.body = body,
		.timeout_s = r->timeout_s,
	};

	return send_all(r, &rq, JSON, out, err);
}

enum tdsync_rc
remote_delete(struct remote *r, const char *path, struct remote_answer *out, struct err *err)
{
	struct transport_request rq = {
		.method = "DELETE", .path = path, .token = r->token, .timeout_s = r->timeout_s,
	};

	return send_all(r, &rq, JSON, out, err);
}

enum tdsync_rc
remote_fetch(struct remote *r, const char *path, const char *type,
             struct transport_file *file, struct remote_answer *out, struct err *err)
{
	struct transport_request rq = {
		.method = "GET",
		.path = path,
		.token = r->token,
		.log_id = r->log_id[0] != '\0' ? r->log_id : NULL,
		.log_last = r->log_last[0] != '\0' ? r->log_last : NULL,
		.file = file,
		.timeout_s = r->timeout_s,
	};

	return send_all(r, &rq, type, out, err);
}
