/*
 * Logging a device in (protocol.md section 2): the device starts and polls, a person
 * approves in a browser. What a login is, is auth/login.h's; here are its routes,
 * its mail and its pages.
 *
 * The pages stand on no cookie, so a form that another site makes a browser post has
 * nothing of the person's to act with: the link's form carries the link's own secret,
 * and the older flow's, which tools post without a page before, a code that who
 * made the form could have posted himself. Where a browser says that a form comes from
 * another site it is refused all the same.
 */
#include "http/handlers.h"

#include "base/log.h"
#include "http/body.h"
#include "http/html.h"
#include "http/post.h"
#include "http/reply.h"

#include <stdio.h>
#include <string.h>

#define INTERVAL 5 /* seconds between two polls */

/* `start` is answered after that, whether there was a mail to send or not; where mail
 * takes longer, after as long as it took last. */
#define START_MS LOGIN_PACE_MIN

/* A wrong code or link is answered after that. */
#define WRONG_MS 500

/* --- what they share --- */

static void
take_address(const struct request *r, char out[64])
{
	const char *address = request_header(r, "REMOTE_ADDR");

	snprintf(out, 64, "%.63s", address != NULL ? address : "");
}

/* Somebody's name for a device: one line of text, cut between characters. */
static void
take_device(struct span name, char out[LOGIN_DEVICE + 1])
{
	size_t n = name.len < LOGIN_DEVICE ? name.len : LOGIN_DEVICE;

	while (n < name.len && n > 0 && ((unsigned char)name.p[n] & 0xc0) == 0x80)
		n--;
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)name.p[i];

		out[i] = c < ' ' || c == 0x7f ? '?' : name.p[i];
	}
	out[n] = '\0';
}

/* A page is posted by another site, as far as a browser tells. */
static bool
is_foreign(const struct request *r)
{
	const char *from = request_header(r, "HTTP_SEC_FETCH_SITE");

	return from != NULL && (strcmp(from, "cross-site") == 0 || strcmp(from, "same-site") == 0);
}

/* --- start, by link --- */

/* What the person reads before he clicks: who asks, from where, and when. */
static bool
mail_link(struct request *r, const struct login *l, const char *link)
{
	const char *url = r->server->config->url;
	struct buf subject = { 0 }, text = { 0 };
	char at[TIME_TEXT];
	bool sent;

	buf_add_str(&subject, "Approve td CLI login");
	buf_addf(&text, "A login to %s was requested with your address.\n\n", url);
	post_clean(&text, "    device:  ", l->device, LOGIN_DEVICE);
	buf_addf(&text, "\n    from:    %s\n    at:      %s\n\n"
	         "Click the link to approve: %s/auth/device/approve?token=%s\n\n"
	         "This link expires in 15 minutes. If you did not request this, you can ignore "
	         "this email: nobody gets in without that click.\n",
	         l->address, time_text(r->now_us / 1000000, at), url, link);
	sent = post_send(r, l->email, &subject, &text);
	buf_free(&subject);
	buf_free(&text);
	return sent;
}

/*
 * Begin it, if it may be: the answer is the same either way, and comes as late. A failure
 * of ours is for the log, for only a known address could meet it.
 */
static enum rc
begin(struct request *r, const struct login *l, char code[65])
{
	struct login_secrets secrets;
	struct accounts *accounts;
	int64_t before = clock_mono_ms(), pace;
	enum rc rc = request_accounts(r, &accounts);

	if (rc != RC_OK)
		return rc;
	rc = login_begin(accounts, r->server->config->sign_up, l, &secrets, &r->err);
	memcpy(code, secrets.device_code, 65);
	if (rc == RC_OK) {
		if (!mail_link(r, l, secrets.link))
			login_unmailed(accounts, secrets.device_code);
		login_note_pace(accounts, clock_mono_ms() - before);
	} else if (rc != RC_NOT_FOUND && rc != RC_CROWDED) {
		log_write(LOG_ERROR, "a login did not begin: %s", r->err.text);
	}
	/* A quarter more, for what takes longer by less than that is not noted. */
	pace = login_pace(accounts) * 5 / 4;
	post_wait(before, pace > START_MS ? pace : START_MS);
	return code[0] != '\0' ? RC_OK : rc;
}

static enum rc
check_start(struct request *r, struct buf *email, struct buf *challenge, struct buf *method)
{
	if (buf_cstr(email) == NULL || !mail_address_ok(email->p))
		return err_set(&r->err, RC_INVALID, "valid email is required");
	if (challenge->len == 0)
		return err_set(&r->err, RC_INVALID, "code_challenge is required");
	if (!span_is(buf_span(method), "S256"))
		return err_set(&r->err, RC_INVALID, "code_challenge_method must be S256");
	if (!login_challenge_ok(buf_span(challenge)))
		return err_set(&r->err, RC_INVALID, "code_challenge must be 43 characters of "
		               "base64url: the SHA-256 of the verifier");
	return RC_OK;
}

enum rc
device_start_run(struct request *r)
{
	struct buf email = { 0 }, challenge = { 0 }, method = { 0 }, device = { 0 };
	struct body_field fields[] = {
		{ "email", &email }, { "code_challenge", &challenge },
		{ "code_challenge_method", &method }, { "device_name", &device }, { NULL, NULL },
	};
	struct login l = { 0 };
	char code[65];
	enum rc rc = body_parse(r, fields);

	if (rc == RC_OK)
		rc = check_start(r, &email, &challenge, &method);
	if (rc == RC_OK && post_place(r)) {
		memcpy(l.email, email.p, email.len + 1);
		memcpy(l.challenge, challenge.p, challenge.len);
		take_device(buf_span(&device), l.device);
		take_address(r, l.address);
		rc = begin(r, &l, code);
		if (rc == RC_OK) {
			r->status = 200;
			reply_text(&r->out, "{", "device_code", code);
			buf_addf(&r->out, ",\"expires_in\":%d,\"interval\":%d,\"email_sent\":true}\n",
			         LOGIN_SECONDS, INTERVAL);
		}
	}
	buf_free(&email);
	buf_free(&challenge);
	buf_free(&method);
	buf_free(&device);
	return rc;
}

/* --- poll --- */

/* Hand out the key: once, whoever else polls. */
static enum rc
complete(struct request *r, const struct login *l)
{
	struct buf key = { 0 };
	struct user u;
	int64_t expires_at;
	char at[TIME_TEXT];
	enum rc rc = login_issue_key(r->server->auth, l, &u, &key, &expires_at, &r->err);

	if (rc == RC_OK && buf_cstr(&key) == NULL)
		rc = err_set(&r->err, RC_FAULT, "out of memory");
	if (rc == RC_OK) {
		r->status = 200;
		reply_text(&r->out, "{", "status", "complete");
		reply_text(&r->out, ",", "api_key", key.p);
		reply_text(&r->out, ",", "user_id", u.id);
		reply_text(&r->out, ",", "email", u.email);
		reply_text(&r->out, ",", "expires_at", time_text(expires_at, at));
		buf_add_str(&r->out, "}\n");
	}
	buf_free(&key);
	return rc;
}

static enum rc
answer_pending(struct request *r)
{
	r->status = 200;
	buf_add_str(&r->out, "{\"status\":\"pending\"}\n");
	return RC_OK;
}

static enum rc
answer_device(struct request *r, const struct login *l, enum login_at at, struct span verifier)
{
	enum rc rc;

	switch (at) {
	case LOGIN_ISSUED:
		return err_set(&r->err, RC_EXPIRED, "key already issued for this device login");
	case LOGIN_OVER:
		return err_set(&r->err, RC_EXPIRED, "device login has expired");
	case LOGIN_APPROVED:
		break;
	default:
		return answer_pending(r);
	}
	if (!login_verifier_ok(l, verifier)) {
		reply_error(r, 401, "invalid_verifier", "code_verifier does not match");
		return RC_OK;
	}
	rc = complete(r, l);
	if (rc == RC_CONFLICT)
		rc = err_set(&r->err, RC_EXPIRED, "key already issued for this device login");
	return rc;
}

enum rc
device_poll_run(struct request *r)
{
	struct buf code = { 0 }, verifier = { 0 };
	struct body_field fields[] = {
		{ "device_code", &code }, { "code_verifier", &verifier }, { NULL, NULL },
	};
	struct accounts *accounts;
	struct login l;
	enum login_at at;
	enum rc rc = body_parse(r, fields);

	if (rc == RC_OK && (code.len == 0 || verifier.len == 0 || buf_cstr(&code) == NULL))
		rc = err_set(&r->err, RC_INVALID, "device_code and code_verifier are required");
	if (rc == RC_OK)
		rc = request_accounts(r, &accounts);
	if (rc == RC_OK)
		rc = login_of_device(accounts, code.p, &l, &at, &r->err);
	/* A login by code has no challenge, and a poll of its own. */
	if (rc == RC_OK && l.n != 0 && l.challenge[0] == '\0')
		at = LOGIN_UNKNOWN;
	if (rc == RC_OK)
		rc = answer_device(r, &l, at, buf_span(&verifier));
	buf_free(&code);
	buf_free(&verifier);
	return rc;
}

/* --- the page of a mailed link --- */

static enum rc
show_outcome(struct request *r, enum login_at at)
{
	switch (at) {
	case LOGIN_APPROVED:
	case LOGIN_ISSUED:
		return html_page(r, 200, "Already used", "This link has already been used.");
	case LOGIN_OVER:
		return html_page(r, 200, "Link expired", "This link has expired.");
	default:
		return html_page(r, 200, "Invalid link", "Invalid or expired link.");
	}
}

static void
show_question(struct request *r, const struct login *l, const char *link)
{
	struct buf *out = &r->out;
	char at[TIME_TEXT];

	html_begin(r, 200, "Approve this login?");
	html_paragraph(r, "A device asks for access to your projects. Approve it only if it "
	               "is yours and you asked for this just now.");
	buf_add_str(out, "<dl><dt>Account</dt><dd>");
	html_text(out, l->email);
	buf_add_str(out, "</dd><dt>Device</dt><dd>");
	html_text(out, l->device[0] != '\0' ? l->device : "(has no name)");
	buf_add_str(out, "</dd><dt>From</dt><dd>");
	html_text(out, l->address);
	buf_add_str(out, "</dd><dt>At</dt><dd>");
	html_text(out, time_text(l->created_at, at));
	buf_add_str(out, "</dd></dl>\n<form method=\"post\" action=\"approve\">\n"
	                 "<input type=\"hidden\" name=\"token\" value=\"");
	html_text(out, link);
	buf_add_str(out, "\">\n<button type=\"submit\">Approve</button>\n</form>\n");
	html_paragraph(r, "If you did not ask for it, close this page: nothing happens.");
	html_end(r);
}

static enum rc
approve(struct request *r, struct accounts *accounts, const struct login *l)
{
	enum rc rc = login_approve(accounts, r->server->config->sign_up, l, &r->err);

	if (rc == RC_CONFLICT)
		return show_outcome(r, LOGIN_APPROVED);
	if (rc == RC_NOT_FOUND) /* the user went meanwhile */
		return show_outcome(r, LOGIN_UNKNOWN);
	if (rc != RC_OK)
		return rc;
	return html_page(r, 200, "Device approved", "Device approved \xe2\x80\x94 return to "
	                 "your terminal. You can close this window.");
}

/* The link of the query or form is in r->scratch: what becomes of it. */
static enum rc
follow_link(struct request *r, bool clicked)
{
	char link[160];
	struct accounts *accounts;
	struct login l;
	enum login_at at;
	enum rc rc;

	if (buf_cstr(&r->scratch) == NULL || !login_link_ok(r->scratch.p))
		return html_page(r, 400, "Invalid link", "Invalid link.");
	snprintf(link, sizeof(link), "%.159s", r->scratch.p);
	rc = request_accounts(r, &accounts);
	if (rc == RC_OK)
		rc = login_of_link(accounts, link, &l, &at, &r->err);
	if (rc != RC_OK)
		return rc;
	if (at != LOGIN_PENDING) {
		if (at == LOGIN_UNKNOWN && post_place(r))
			post_wait(clock_mono_ms(), WRONG_MS);
		return r->status == 503 ? RC_OK : show_outcome(r, at);
	}
	if (clicked)
		return approve(r, accounts, &l);
	show_question(r, &l, link);
	return RC_OK;
}

/* A GET approves only where the configuration says so: mail scanners follow links. */
enum rc
approve_page_run(struct request *r)
{
	request_query(r, "token", &r->scratch);
	return follow_link(r, r->server->config->approve_by_link && r->method == METHOD_GET);
}

enum rc
approve_run(struct request *r)
{
	if (is_foreign(r))
		return html_page(r, 403, "Not approved", "This form came from another site.");
	request_form(r, "token", &r->scratch);
	return follow_link(r, true);
}

/* --- the older flow --- */

static enum rc
disabled(struct request *r, const char *instead)
{
	char text[128];

	snprintf(text, sizeof(text), "this endpoint has been disabled; use %s", instead);
	reply_error(r, 410, "endpoint_disabled", text);
	return RC_OK;
}

enum rc
code_start_run(struct request *r)
{
	struct buf email = { 0 };
	struct body_field fields[] = { { "email", &email }, { NULL, NULL } };
	struct login_secrets secrets;
	struct accounts *accounts;
	struct login l = { 0 };
	struct buf *out = &r->out;
	enum rc rc;

	if (!r->server->config->code_login)
		return disabled(r, "/v1/auth/web/start or /v1/auth/device/start");
	rc = body_parse(r, fields);
	if (rc == RC_OK && (buf_cstr(&email) == NULL || !mail_address_ok(email.p)))
		rc = err_set(&r->err, RC_INVALID, "valid email is required");
	if (rc == RC_OK)
		rc = request_accounts(r, &accounts);
	if (rc == RC_OK) {
		memcpy(l.email, email.p, email.len + 1);
		take_address(r, l.address);
		rc = login_begin_code(accounts, r->server->config->sign_up, &l, &secrets, &r->err);
	}
	buf_free(&email);
	if (rc == RC_FORBIDDEN) {
		reply_error(r, 403, "signup_disabled", r->err.text);
		return RC_OK;
	}
	if (rc != RC_OK)
		return rc;
	r->status = 200;
	reply_text(out, "{", "device_code", secrets.device_code);
	reply_text(out, ",", "user_code", secrets.user_code);
	buf_reset(&r->scratch);
	buf_addf(&r->scratch, "%s/auth/verify", r->server->config->url);
	reply_text(out, ",", "verification_uri", buf_cstr(&r->scratch) != NULL ? r->scratch.p : "");
	buf_addf(out, ",\"expires_in\":%d,\"interval\":%d}\n", LOGIN_SECONDS, INTERVAL);
	return RC_OK;
}

static enum rc
answer_code(struct request *r, const struct login *l, enum login_at at)
{
	enum rc rc;

	switch (at) {
	case LOGIN_UNKNOWN:
		return err_set(&r->err, RC_NOT_FOUND, "auth request not found");
	case LOGIN_OVER:
		return err_set(&r->err, RC_EXPIRED, "auth request has expired");
	case LOGIN_PENDING:
		return answer_pending(r);
	case LOGIN_APPROVED:
		if ((rc = complete(r, l)) != RC_CONFLICT)
			return rc;
		break;
	case LOGIN_ISSUED:
		break;
	}
	reply_error(r, 410, "already_used", "auth request already used");
	return RC_OK;
}

enum rc
code_poll_run(struct request *r)
{
	struct buf code = { 0 };
	struct body_field fields[] = { { "device_code", &code }, { NULL, NULL } };
	struct accounts *accounts;
	struct login l;
	enum login_at at;
	enum rc rc;

	if (!r->server->config->code_login)
		return disabled(r, "/v1/auth/device/poll");
	rc = body_parse(r, fields);
	if (rc == RC_OK && (code.len == 0 || buf_cstr(&code) == NULL))
		rc = err_set(&r->err, RC_INVALID, "device_code is required");
	if (rc == RC_OK)
		rc = request_accounts(r, &accounts);
	if (rc == RC_OK)
		rc = login_of_device(accounts, code.p, &l, &at, &r->err);
	/* A login by link is proven by its verifier, which this poll has not. */
	if (rc == RC_OK && (l.n == 0 || l.challenge[0] != '\0'))
		at = LOGIN_UNKNOWN;
	if (rc == RC_OK)
		rc = answer_code(r, &l, at);
	buf_free(&code);
	return rc;
}

static enum rc
show_form(struct request *r, const char *error)
{
	struct buf *out = &r->out;

	html_begin(r, 200, "Authorize Device");
	html_paragraph(r, "Enter the code shown in your terminal.");
	if (error != NULL) {
		buf_add_str(out, "<p class=\"error\">");
		html_text(out, error);
		buf_add_str(out, "</p>\n");
	}
	buf_add_str(out, "<form method=\"post\" action=\"verify\">\n"
	    "<label for=\"user_code\">Device Code</label>\n"
	    "<input type=\"text\" id=\"user_code\" name=\"user_code\" maxlength=\"10\" "
	    "autocomplete=\"off\" autofocus required>\n"
	    "<button type=\"submit\">Authorize</button>\n</form>\n");
	html_end(r);
	return RC_OK;
}

enum rc
verify_page_run(struct request *r)
{
	if (!r->server->config->code_login)
		return err_set(&r->err, RC_NOT_FOUND, "no such path");
	return show_form(r, NULL);
}

enum rc
verify_run(struct request *r)
{
	struct accounts *accounts;
	struct login l;
	enum login_at at;
	enum rc rc;

	if (!r->server->config->code_login)
		return err_set(&r->err, RC_NOT_FOUND, "no such path");
	if (is_foreign(r))
		return html_page(r, 403, "Not authorized", "This form came from another site.");
	if (!request_form(r, "user_code", &r->scratch) || r->scratch.len == 0)
		return show_form(r, "Please enter a code.");
	/* Few and slow: of 730 million codes some are good at any moment. So nobody looks
	 * who has no place to wait in where it is wrong. */
	if (!post_place(r))
		return RC_OK;
	rc = request_accounts(r, &accounts);
	if (rc == RC_OK)
		rc = login_of_user_code(accounts, buf_span(&r->scratch), &l, &at, &r->err);
	if (rc == RC_OK && at == LOGIN_PENDING)
		rc = login_approve(accounts, r->server->config->sign_up, &l, &r->err);
	else if (rc == RC_OK)
		rc = RC_CONFLICT;
	if (rc == RC_OK)
		return html_page(r, 200, "Authorize Device", "Device authorized. Close this tab.");
	if (rc != RC_CONFLICT && rc != RC_NOT_FOUND)
		return rc;
	post_wait(clock_mono_ms(), WRONG_MS);
	return show_form(r, "Invalid or expired code.");
}
