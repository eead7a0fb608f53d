/*
 * The first owner, where there is no shell (shared hosting): a page that wants the secret
 * of td-sync.conf, makes the data folder, a user, a project and a token, and shows that
 * once. Then it is gone: while no user has a token there is such a page, where
 * setup_secret is set. It is gone, too, once a user has been there for an hour: tokens
 * that are over are cleaned away one day, and nobody may become the owner then.
 *
 * The secret comes in the body of a POST, so it stands in no log and no address. A wrong
 * one is answered late, and by few at a time: with 16 bytes that is no way in. The page
 * stands on no cookie: who makes a browser post here must know the secret himself.
 */
#include "http/handlers.h"

#include "base/clock.h"
#include "base/fs.h"
#include "base/hash.h"
#include "base/lock.h"
#include "http/html.h"
#include "http/post.h"
#include "http/reply.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#define LOCK_FILE "setup.lock" /* in the data folder: who makes the first owner */

/* A wrong secret is answered after that. */
#define WRONG_MS 1000

/* So long a run that broke off, with a user made and no token, can be repeated. */
#define REPEAT_S 3600

#define SCOPE (SCOPE_READ | SCOPE_WRITE | SCOPE_PROJECT_ADMIN)
#define LIFETIME_S (365 * 86400)

/* What the person typed in. */
struct form {
	struct buf secret, email, project;
};

/* What was made of it. */
struct made {
	struct user user;
	struct project project; /* id "": none was asked for */
	struct buf token;
};

/* --- whether the page is there --- */

static enum rc
find_token(void *ctx, const struct token_row *t)
{
	*(bool *)ctx = *(bool *)ctx || t->user_id[0] != '\0';
	return RC_OK;
}

static enum rc
find_old_user(void *ctx, const struct user *u)
{
	*(bool *)ctx = *(bool *)ctx || u->created_at <= clock_now_us() / 1000000 - REPEAT_S;
	return RC_OK;
}

/* Whether a user has a token, or is an old one. Without server.db, there is nobody. */
static enum rc
has_owner(struct request *r, bool *out)
{
	struct accounts *a;
	enum rc rc = accounts_open(r->server->config->data, &a, &r->err);

	*out = false;
	if (rc == RC_OK)
		rc = token_list(a, NULL, find_token, out, &r->err);
	if (rc == RC_OK)
		rc = user_list(a, find_old_user, out, &r->err);
	accounts_close(a);
	return rc == RC_NOT_FOUND ? RC_OK : rc;
}

/* RC_NOT_FOUND, in the words of a path that there isn't: no page, or no more. */
static enum rc
look_for_page(struct request *r)
{
	bool over = r->server->config->setup_secret[0] == '\0';
	enum rc rc = over ? RC_OK : has_owner(r, &over);

	if (rc == RC_OK && over)
		return err_set(&r->err, RC_NOT_FOUND, "no such path");
	return rc;
}

static bool
is_header(const struct request *r, const char *name, const char *value)
{
	const char *text = request_header(r, name);

	return text != NULL && strcasecmp(text, value) == 0;
}

/*
 * Whether secret and token travel as safely as the configured address says. TLS may have
 * ended at a proxy of the host's, which tells so by a header; who says so in
 * its place only deceives himself.
 */
static bool
is_safe(const struct request *r)
{
	return strncmp(r->server->config->url, "https://", 8) != 0 ||
	       is_header(r, "HTTPS", "on") || is_header(r, "REQUEST_SCHEME", "https") ||
	       is_header(r, "HTTP_X_FORWARDED_PROTO", "https");
}

/* Whether this request may go on to secret and token; else it is answered. */
static bool
may_go_on(struct request *r)
{
	const char *url = r->server->config->url;

	if (url[0] == '\0') {
		html_page(r, 503, "No address yet", "Set url in td-sync.conf, the address of this "
		          "server, then load this page again.");
		return false;
	}
	if (is_safe(r))
		return true;
	html_begin(r, 403, "Not encrypted");
	html_paragraph(r, "This page is only there over https. Open:");
	buf_add_str(&r->out, "<p><a href=\"");
	html_text(&r->out, url);
	buf_add_str(&r->out, "/auth/setup\">");
	html_text(&r->out, url);
	buf_add_str(&r->out, "/auth/setup</a></p>\n");
	if (r->method == METHOD_POST)
		html_paragraph(r, "The secret has just gone over the network in plain text: put "
		               "another one into td-sync.conf first.");
	html_end(r);
	return false;
}

/* --- the form --- */

static void
show_field(struct request *r, const char *label, const char *name, const char *attributes,
           const struct buf *value)
{
	struct buf *out = &r->out;

	buf_addf(out, "<label for=\"%s\">%s</label>\n<input id=\"%s\" name=\"%s\" %s", name,
	         label, name, name, attributes);
	if (value != NULL && value->len > 0) {
		buf_add_str(out, " value=\"");
		html_text(out, value->p);
		buf_add_byte(out, '"');
	}
	buf_add_str(out, ">\n");
}

/* error NULL: none. The secret is never shown again. */
static enum rc
show_form(struct request *r, int status, const struct form *f, const char *error)
{
	html_begin(r, status, "The first owner");
	html_paragraph(r, "This server has no owner yet. Whoever knows the secret of its "
	               "configuration (setup_secret) makes one here, once.");
	if (error != NULL) {
		buf_add_str(&r->out, "<p class=\"error\" role=\"alert\">");
		html_text(&r->out, error);
		buf_add_str(&r->out, "</p>\n");
	}
	buf_add_str(&r->out, "<form method=\"post\" action=\"setup\">\n");
	show_field(r, "Secret, from td-sync.conf", "secret",
	           "type=\"password\" autocomplete=\"off\" required", NULL);
	show_field(r, "Your e-mail address", "email", "type=\"email\" autocomplete=\"email\" "
	           "maxlength=\"254\" required", f != NULL ? &f->email : NULL);
	show_field(r, "Name of a first project (may be left empty)", "project",
	           "type=\"text\" autocomplete=\"off\" maxlength=\"255\"",
	           f != NULL ? &f->project : NULL);
	buf_add_str(&r->out, "<button type=\"submit\">Make the owner</button>\n</form>\n");
	html_end(r);
	return RC_OK;
}

enum rc
setup_page_run(struct request *r)
{
	enum rc rc = look_for_page(r);

	if (rc != RC_OK)
		return rc;
	return may_go_on(r) ? show_form(r, 200, NULL, NULL) : RC_OK;
}

/* --- making it --- */

static bool
take_field(const struct request *r, const char *name, struct buf *out)
{
	request_form(r, name, out);
	return buf_cstr(out) != NULL && strlen(out->p) == out->len;
}

/* Whether it is the configured one; how much of it is right takes no other time. */
static bool
is_secret(const struct request *r, const struct buf *given)
{
	unsigned char a[HASH_LEN], b[HASH_LEN];

	return hash_sha256(span_of(r->server->config->setup_secret), a) == RC_OK &&
	       hash_sha256(buf_span(given), b) == RC_OK && CRYPTO_memcmp(a, b, HASH_LEN) == 0;
}

struct wanted {
	struct span name;
	struct project *out;
};

static enum rc
find_project(void *ctx, const struct project *p)
{
	struct wanted *w = ctx;

	if (span_is(w->name, p->name))
		*w->out = *p;
	return RC_OK;
}

/* The project, made unless one who was interrupted here has made it. */
static enum rc
make_project(struct request *r, struct accounts *a, const struct form *f, struct made *m)
{
	struct wanted w = { buf_span(&f->project), &m->project };
	struct projects *projects = &r->server->projects;
	char id[ID_MAX];
	enum rc rc;

	if (w.name.len == 0)
		return RC_OK;
	rc = project_list(a, m->user.id, find_project, &w, &r->err);
	if (rc != RC_OK || m->project.id[0] != '\0')
		return rc;
	rc = id_new("p_", 8, id);
	if (rc == RC_OK)
		rc = projects_create(projects, id, PROJECTS_PROFILE, &r->err);
	if (rc == RC_OK)
		rc = project_add(a, id, w.name, span_of(""), m->user.id, &m->project, &r->err);
	return rc;
}

/* User, project and last the token: with it there is an owner. */
static enum rc
make_owner(struct request *r, const struct form *f, struct made *m)
{
	struct token_row row;
	struct accounts *a;
	enum rc rc = auth_create(r->server->config->data, &r->err);

	if (rc == RC_OK || rc == RC_CONFLICT)
		rc = request_accounts(r, &a);
	if (rc == RC_OK)
		rc = user_by_email(a, buf_span(&f->email), &m->user, &r->err);
	if (rc == RC_NOT_FOUND)
		rc = user_add(a, buf_span(&f->email), &m->user, &r->err);
	if (rc == RC_OK)
		rc = make_project(r, a, f, m);
	if (rc == RC_OK)
		rc = auth_issue(r->server->auth, &(struct token_plan){
			.user_id = m->user.id, .name = "setup", .scope = SCOPE,
			.lifetime_s = LIFETIME_S,
		}, &row, &m->token, &r->err);
	if (rc == RC_OK && buf_cstr(&m->token) == NULL)
		rc = err_set(&r->err, RC_FAULT, "out of memory");
	return rc;
}

/* The same, by one at a time: who comes second finds an owner, and no page. */
static enum rc
make_once(struct request *r, const struct form *f, struct made *m)
{
	char path[PATH_MAX + sizeof("/" LOCK_FILE)];
	struct lock *lock;
	enum rc rc;

	snprintf(path, sizeof(path), "%s/" LOCK_FILE, r->server->config->data);
	rc = lock_open(path, &lock, &r->err);
	if (rc == RC_OK && lock_take(lock, r->deadline_ms) != RC_OK)
		rc = err_set(&r->err, RC_BUSY, "somebody else is making the first owner");
	if (rc == RC_OK)
		rc = look_for_page(r);
	if (rc == RC_OK)
		rc = make_owner(r, f, m);
	lock_close(lock);
	return rc;
}

static void
show_term(struct buf *out, const char *term, const char *text)
{
	buf_addf(out, "<dt>%s</dt><dd>", term);
	html_text(out, text);
	buf_add_str(out, "</dd>");
}

static enum rc
show_made(struct request *r, const struct made *m)
{
	struct buf *out = &r->out;

	html_begin(r, 200, "The server has its owner");
	html_paragraph(r, "This is the token, shown this once: whoever has it is you. Keep it "
	               "as a password.");
	buf_add_str(out, "<dl>");
	show_term(out, "TD_SYNC_URL", r->server->config->url);
	show_term(out, "TD_AUTH_KEY", m->token.p);
	show_term(out, "Owner", m->user.email);
	if (m->project.id[0] != '\0') {
		show_term(out, "Project", m->project.name);
		show_term(out, "Its id", m->project.id);
	}
	buf_add_str(out, "</dl>\n");
	html_paragraph(r, "td and td-sync read the first two from the environment. Now remove "
	               "setup_secret from td-sync.conf: it is good for nothing any more.");
	html_end(r);
	return RC_OK;
}

/* The form is read, and the address safe: is the secret right, what is to be made? */
static enum rc
judge(struct request *r, const struct form *f)
{
	struct made m = { 0 };
	mode_t mask;
	enum rc rc;

	/* Places and rates lie in the data folder: it must be there before a guess is
	 * judged. So one can come before there is anything in it. */
	if ((rc = fs_mkdir(r->server->config->data, &r->err)) != RC_OK || !post_place(r))
		return rc;
	if (!is_secret(r, &f->secret)) {
		post_wait(clock_mono_ms(), WRONG_MS);
		return show_form(r, 403, f, "That is not the secret of td-sync.conf.");
	}
	if (!mail_address_ok(f->email.p))
		return show_form(r, 400, f, "That is no e-mail address.");
	if (f->project.len > 0 &&
	    project_check(buf_span(&f->project), span_of(""), &r->err) != RC_OK)
		return show_form(r, 400, f, r->err.text);
	mask = umask(077); /* as td-sync-admin: nobody else's business on a shared machine */
	rc = make_once(r, f, &m);
	umask(mask);
	if (rc == RC_OK)
		rc = show_made(r, &m);
	buf_free(&m.token);
	return rc;
}

enum rc
setup_run(struct request *r)
{
	struct form f = { 0 };
	enum rc rc = look_for_page(r);

	if (rc == RC_OK && may_go_on(r)) {
		if (take_field(r, "secret", &f.secret) && take_field(r, "email", &f.email) &&
		    take_field(r, "project", &f.project))
			rc = judge(r, &f);
		else
			rc = show_form(r, 400, NULL, "The form was not complete.");
	}
	buf_free(&f.secret);
	buf_free(&f.email);
	buf_free(&f.project);
	return rc;
}
