/*
 * What keeps somebody's sync from working, see tdsync_diagnose() in tdsync.h: the way
 * to the server step by step, then the token, the project and the database here.
 * Nothing is changed anywhere.
 */
#include "client/work.h"

#include "base/clock.h"
#include "base/id.h"
#include "base/json.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define LOOK_S 15           /* a look at the server may take so long */
#define CLOCK_S 60          /* clocks may differ by so much */
#define CERTIFICATE_DAYS 14 /* a certificate, and a token, should last so long */
#define TOKEN_DAYS 14
#define DAY 86400

/* Above the largest max_push_bytes that can be set: no server takes it. */
#define ANNOUNCED (INT64_C(1) << 31)

/* A token that no server has made: what it is told about it shows whether it came. */
#define MADE_UP "td-sync-doctor"

typedef void diagnosis_visit(void *ctx, const struct tdsync_diagnosis *d);

/* A diagnosis as it is made. */
struct doctor {
	struct tdsync *t;
	diagnosis_visit *visit;
	void *ctx;
	int retries;          /* of the handle */
	bool failed;          /* no memory */
	bool reached;         /* some web server answers */
	bool answers;         /* it is a td-sync, and up */
	bool answers_all;     /* 200, whatever is asked for below the address that is looked at */
	const char *not_sent; /* why the token is kept from the server; NULL: it is not */
	char user[BOOKS_TEXT]; /* whose the token is, "" where that is not known */
};

static void say(struct doctor *d, enum tdsync_level level, const char *check, const char *why,
                const char *todo, const char *fmt, ...)
	__attribute__((format(printf, 6, 7)));

static void
say(struct doctor *d, enum tdsync_level level, const char *check, const char *why,
    const char *todo, const char *fmt, ...)
{
	struct tdsync_diagnosis out = { .level = level, .check = check, .why = why, .todo = todo };
	char what[640];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	out.what = what;
	d->visit(d->ctx, &out);
}

static void
fine(struct doctor *d, const char *check, const char *what)
{
	say(d, TDSYNC_FINE, check, "", "", "%s", what);
}

/* --- the way to the server --- */

/* Ask for a path of the server (or of `base`, where that is not NULL). */
static bool
look(struct doctor *d, const char *base, const char *path, const char *token, int64_t announced,
     struct transport_found *out)
{
	struct transport_question q = { .token = token, .announced = announced,
		.timeout_s = LOOK_S };
	const char *url = base != NULL ? base : d->t->settings.url;
	struct buf all = { 0 };
	size_t n = strlen(url);
	bool ok = false;

	while (n > 0 && url[n - 1] == '/')
		n--;
	buf_addf(&all, "%.*s%s", (int)n, url, path);
	if ((q.url = buf_cstr(&all)) != NULL)
		ok = transport_look(&q, out, &d->t->err) == RC_OK;
	buf_free(&all);
	d->failed = d->failed || !ok;
	return ok;
}

static bool
is_json(const struct transport_found *f)
{
	return strncasecmp(f->reply.content_type, "application/json", 16) == 0;
}

/* The message of an error as this server writes it; "" where it isn't one. */
static void
error_of(const struct transport_found *f, char out[160])
{
	struct span json, error, message;
	struct buf text = { 0 };

	out[0] = '\0';
	if (is_json(f) &&
	    json_scan(buf_span(&f->reply.body), JSON_MAX_DEPTH, &json, NULL, NULL) == RC_OK &&
	    json_get(json, "error", &error) && json_get(error, "message", &message) &&
	    json_string(message, &text) && buf_cstr(&text) != NULL)
		snprintf(out, 160, "%s", text.p);
	buf_free(&text);
}

/* Whether an answer came; says so where none did. */
static bool
reached(struct doctor *d, const struct transport_found *f)
{
	static const struct {
		const char *check, *why, *todo;
	} steps[] = {
		[STAGE_NAME] = { "name", "without its address nothing can be sent to it",
			"compare the host in the address with what its operator told you; is this "
			"machine online?" },
		[STAGE_CONNECT] = { "connect", "there is no web server at that place, or a firewall is "
			"before it", "is the port right? is the server up? ask its operator" },
		[STAGE_SECURE] = { "tls", "what is at that port speaks plain http, or a TLS that is not "
			"taken here", "is the port right? https has another one than http (443, where none "
			"is given): ask its operator" },
		[STAGE_TLS] = { "tls", "somebody else could read and change what is sent",
			"where the certificate has expired or is for another name, the operator has to "
			"renew it; an organisation's own authority has to be made known to this machine" },
		[STAGE_ANSWER] = { "connect", "what is there does not speak HTTP, or broke off",
			"is it https:// rather than http://, or the other way round?" },
		[STAGE_BODY] = { "connect", "", "" },
		[STAGE_DONE] = { "connect", "", "" },
	};

	if (f->stage == STAGE_DONE)
		return true;
	say(d, TDSYNC_ERROR, steps[f->stage].check, steps[f->stage].why, steps[f->stage].todo,
	    "%s: %s", d->t->settings.url, d->t->err.text);
	return false;
}

static bool
is_same(const struct origin *a, const struct origin *b)
{
	return a->tls == b->tls && a->port == b->port && strcasecmp(a->host, b->host) == 0;
}

/* Why the token is not for an address that somebody only asks about; NULL: it is. */
static const char *
not_for(const struct settings *s)
{
	struct origin asked, usual;

	if (s->token == NULL || s->usual_url == NULL)
		return NULL;
	if (!transport_origin(s->url, &asked) || !transport_origin(s->usual_url, &usual) ||
	    !is_same(&asked, &usual))
		return "it is for the server of TD_SYNC_URL, or of the last login, and this is "
		       "another one: it could keep it, and be you";
	if (!asked.tls && !transport_is_here(s->url))
		return "over http whoever is on the way could read it, and be you";
	return NULL;
}

static void
check_certificate(struct doctor *d, const struct transport_found *f)
{
	int64_t left = f->certificate_until - clock_now_us() / 1000000;

	if (strncasecmp(d->t->settings.url, "https:", 6) != 0) {
		if (!transport_is_here(d->t->settings.url))
			say(d, TDSYNC_WARNING, "tls", "whoever is on the way can read the token, and be you",
			    "use https://: ask its operator for the address",
			    "%s: what is sent is not encrypted", d->t->settings.url);
	} else if (f->certificate_until == 0) {
		fine(d, "tls", "the connection is secure");
	} else if (left < CERTIFICATE_DAYS * DAY) {
		say(d, TDSYNC_WARNING, "tls", "when it ends no client connects any more",
		    "let its operator see to it that it is renewed: certbot renew, for one",
		    "the server's certificate ends in %" PRId64 " days", left / DAY);
	} else {
		say(d, TDSYNC_FINE, "tls", "", "", "the connection is secure, the certificate is good "
		    "for %" PRId64 " days", left / DAY);
	}
}

/* Whether something on the way may keep answers. */
static void
check_cache(struct doctor *d, const struct transport_found *f)
{
	if (strstr(f->reply.cache_control, "no-store") != NULL)
		return;
	say(d, TDSYNC_WARNING, "cache", "what one may read another one may be shown, also when it is "
	    "not public any more", "let the front door leave Cache-Control as the server sends it",
	    "answers come without Cache-Control: no-store (%s)",
	    f->reply.cache_control[0] != '\0' ? f->reply.cache_control : "there is none");
}

static void
check_clock(struct doctor *d, const struct transport_found *f)
{
	int64_t ahead = clock_now_us() / 1000000 + d->t->skew_s - f->reply.server_time;

	if (f->reply.server_time == 0)
		return;
	if (ahead > CLOCK_S || ahead < -CLOCK_S)
		say(d, TDSYNC_WARNING, "clock", "the times of what is changed here are wrong for "
		    "everybody, and tokens may seem to be over", "set it right: `timedatectl set-ntp "
		    "true`, for one", "this machine's clock is %" PRId64 " s %s the server's",
		    ahead < 0 ? -ahead : ahead, ahead < 0 ? "behind" : "ahead of");
	else
		fine(d, "clock", "as the server's");
}

/* What answers /healthz: a td-sync, one that can't, or something else. */
static void
judge_health(struct doctor *d, const struct transport_found *f)
{
	struct span json, status;
	bool sense = is_json(f) && json_scan(buf_span(&f->reply.body), JSON_MAX_DEPTH, &json, NULL,
	                                     NULL) == RC_OK &&
	    (json_get(json, "status", &status) || json_get(json, "error", &status));

	d->answers = sense && f->reply.status == 200;
	if (d->answers) {
		fine(d, "health", "the server answers, and reaches its database");
	} else if (f->reply.status >= 500) {
		say(d, TDSYNC_ERROR, "health", "nobody can sync until that is mended",
		    "on its machine: td-sync-admin doctor, and the end of its error log",
		    "the server is there, but %s (%d)", sense ? "out of order"
		    : "what answers is not td-sync, which is down or misplaced", f->reply.status);
	} else if (sense && f->reply.status == 429) {
		say(d, TDSYNC_WARNING, "health", "so many requests come from this address that it is "
		    "made to wait", "wait a minute", "the server asks to come later");
	} else if (f->reply.status >= 300 && f->reply.status < 400) {
		say(d, TDSYNC_ERROR, "health", "a token is sent to one address only, never on to another",
		    "set the address that it moved to: is it https:// rather than http://?",
		    "%s sends elsewhere (%d)", d->t->settings.url, f->reply.status);
	} else {
		say(d, TDSYNC_ERROR, "health", "what answers is a web server, a proxy or a login page of "
		    "the network", "is the address all of it, with its path (https://host/td-sync)? "
		    "does a page of the network want a login first?",
		    "%s is no td-sync server: it answers %s (%d)", d->t->settings.url,
		    f->reply.content_type[0] != '\0' ? f->reply.content_type : "without a type",
		    f->reply.status);
	}
}

static void
check_health(struct doctor *d)
{
	struct transport_found f = { 0 };

	d->reached = look(d, NULL, "/healthz", NULL, 0, &f) && reached(d, &f);
	if (d->reached) {
		check_certificate(d, &f);
		judge_health(d, &f);
		check_clock(d, &f);
		if (d->answers)
			check_cache(d, &f);
	}
	transport_found_free(&f);
}

/* What is larger than anybody takes has to be refused at once, and in our words. */
static void
check_large(struct doctor *d)
{
	struct transport_found f = { 0 };
	char message[160];

	if (!look(d, NULL, "/v1/projects/p_0000000000000000/sync/push", NULL, ANNOUNCED, &f))
		return;
	error_of(&f, message);
	if (f.stage == STAGE_DONE && f.reply.status == 413 && message[0] != '\0')
		fine(d, "large", "a push that is too large is told so");
	else if (f.stage == STAGE_DONE && f.reply.status == 401 && message[0] != '\0')
		fine(d, "large", "the server itself judges how large a push is");
	else if (f.stage == STAGE_BODY)
		say(d, TDSYNC_WARNING, "large", "it is written to the server's disk before it is refused",
		    "nginx: client_max_body_size as td-sync's site has it", "the front door begins to "
		    "take a body of %" PRId64 " GiB", ANNOUNCED >> 30);
	else if (f.stage == STAGE_DONE)
		say(d, TDSYNC_WARNING, "large", "a client can't tell that it has to send less at a time, "
		    "so its push fails again and again", "nginx: error_page 413 as td-sync's site has it; "
		    "Apache: ErrorDocument 413", "to a body that is too large the front door answers %s "
		    "(%d)", f.reply.content_type[0] != '\0' ? f.reply.content_type : "without a type",
		    f.reply.status);
	else
		say(d, TDSYNC_WARNING, "large", "a client takes that for a network that fails, and sends "
		    "the same again and again", "nginx: error_page 413 as td-sync's site has it",
		    "to a body that is too large there is no answer: %s", d->t->err.text);
	transport_found_free(&f);
}

/* Whether a token gets to the server at all; the words are those of auth. */
static void
check_arrival(struct doctor *d)
{
	struct transport_found f = { 0 };
	char message[160];

	if (!look(d, NULL, "/v1/tokens/self", MADE_UP, 0, &f))
		return;
	error_of(&f, message);
	if (f.stage == STAGE_DONE && f.reply.status == 401 &&
	    strstr(message, "missing authorization") != NULL)
		say(d, TDSYNC_ERROR, "token_arrives", "the server takes everybody for nobody: no token "
		    "works", "Apache: CGIPassAuth On, or the RewriteRule of the .htaccess; a proxy: let "
		    "it pass Authorization on", "the front door drops the Authorization header");
	else if (f.stage == STAGE_DONE && f.reply.status == 401 && message[0] != '\0')
		fine(d, "token_arrives", "a token gets through to the server");
	else if (f.stage == STAGE_DONE && f.reply.status == 429)
		say(d, TDSYNC_WARNING, "token_arrives", "so many requests come from this address that it "
		    "is made to wait", "wait a minute", "the server asks to come later");
	else
		say(d, TDSYNC_ERROR, "token_arrives", "something before the server judges tokens",
		    "no login of the web server's own (auth_basic, auth_request) may be on these paths",
		    "a token is answered %s (%d), not by td-sync",
		    f.reply.content_type[0] != '\0' ? f.reply.content_type : "without a type",
		    f.reply.status);
	transport_found_free(&f);
}

/* --- files that nobody may have --- */

/* Whether it is the file: it says its own name, or is a database; or, where the server
 * does not answer everything, it is no page and no error. */
static bool
is_file(const struct doctor *d, const struct transport_found *f, const char *name)
{
	struct span body = buf_span(&f->reply.body);
	size_t n = strlen(name);

	if (f->stage != STAGE_DONE || f->reply.status != 200 || body.len == 0)
		return false;
	if ((body.len >= n && memcmp(body.p, name, n) == 0) ||
	    (body.len >= 15 && memcmp(body.p, "SQLite format 3", 15) == 0))
		return true;
	return !d->answers_all && !is_json(f) &&
	    strncasecmp(f->reply.content_type, "text/html", 9) != 0;
}

/* Whether what nobody has is answered well below an address, too. */
static bool
answers_all(struct doctor *d, const char *base)
{
	struct transport_found f = { 0 };
	bool yes = look(d, base, "/td-sync-doctor-has-no-such-file", NULL, 0, &f) &&
	           f.reply.status == 200;

	transport_found_free(&f);
	return yes;
}

/* Ask for it below an address. */
static bool
is_served(struct doctor *d, const char *base, const char *path)
{
	const char *slash = strrchr(path, '/');
	struct transport_found f = { 0 };
	bool yes = look(d, base, path, NULL, 0, &f) && is_file(d, &f, slash + 1);

	if (yes)
		say(d, TDSYNC_ERROR, "exposed", "the log, the accounts and the keys that sign tokens can be "
		    "had by anybody: whoever read them may be anyone", "move the data folder out of the "
		    "web root now; then td-sync-admin key rotate --overlap 0, and new tokens for all",
		    "%s%s is handed out by the web server", base, path);
	transport_found_free(&f);
	return yes;
}

/* Whether one of them is, there. */
static bool
any_served(struct doctor *d, const char *base, const char *const *hidden, size_t n)
{
	d->answers_all = answers_all(d, base);
	for (size_t i = 0; i < n && !d->failed; i++)
		if (is_served(d, base, hidden[i]))
			return true;
	return false;
}

/* Below the server's address, and below its host, which may be another's site. */
static void
check_hidden(struct doctor *d, const char *const *hidden, size_t n)
{
	const char *url = d->t->settings.url, *host = strstr(url, "://");
	size_t length = host == NULL ? strlen(url)
	                             : (size_t)(host + 3 - url) + strcspn(host + 3, "/");
	char origin[1100];
	bool served = any_served(d, url, hidden, n);

	snprintf(origin, sizeof(origin), "%.*s", (int)length, url);
	if (!served && strspn(url + length, "/") != strlen(url + length))
		served = any_served(d, origin, hidden, n);
	if (!served && n > 0 && !d->failed)
		fine(d, "exposed", "the data folder is not handed out");
}

/* --- who asks --- */

struct who {
	struct doctor *d;
	int64_t days;
};

static void
show_token(void *ctx, const struct tdsync_token *token)
{
	struct who *who = ctx;
	struct doctor *d = who->d;
	struct instant until;
	int64_t left = INT64_MAX;

	snprintf(d->user, sizeof(d->user), "%s", token->user_id);
	if (time_parse_rfc3339(span_of(token->expires_at), &until))
		left = until.sec - clock_now_us() / 1000000;
	if (left < TOKEN_DAYS * DAY)
		say(d, TDSYNC_WARNING, "token", "when it ends nothing is synced any more",
		    "`td-sync login`, or have another one made", "the token of %s ends in %" PRId64
		    " days", token->email[0] != '\0' ? token->email : "a share link", left / DAY);
	else if (strstr(token->scope, "sync:write") == NULL)
		say(d, TDSYNC_FINE, "token", "", "", "good for %s, to read alone (%s), until %s",
		    token->email[0] != '\0' ? token->email : "whoever has the link", token->scope,
		    token->expires_at);
	else
		say(d, TDSYNC_FINE, "token", "", "", "good for %s (%s) until %s",
		    token->email[0] != '\0' ? token->email : "whoever has the link", token->scope,
		    token->expires_at);
}

static void
check_token(struct doctor *d)
{
	struct who who = { .d = d };
	enum tdsync_rc rc;

	if (d->not_sent != NULL) {
		say(d, TDSYNC_WARNING, "token", d->not_sent, "set TD_SYNC_URL to the https:// address of "
		    "the server that the token is for, and ask without an address", "the token was "
		    "not sent");
		return;
	}
	if (d->t->settings.token == NULL) {
		say(d, TDSYNC_WARNING, "token", "without one nothing but public projects can be read",
		    "`td-sync login`, or set TD_AUTH_KEY", "there is no token");
		return;
	}
	rc = tdsync_whoami(d->t, show_token, &who);
	if (rc == TDSYNC_UNAUTHORIZED)
		say(d, TDSYNC_ERROR, "token", "the server lets nobody in by it: it is over, was revoked, "
		    "or is another server's", "`td-sync login`, or set TD_AUTH_KEY to a good one; unset "
		    "it where an old one is in the way", "the server does not take the token");
	else if (rc == TDSYNC_REFUSED)
		fine(d, "token", "this server tells of no tokens, so nothing is known of it");
	else if (rc != TDSYNC_OK)
		say(d, TDSYNC_ERROR, "token", "whether it is good is not known", "try again",
		    "%s", d->t->err.text);
}

/* --- the database here --- */

/* What a look at td's database takes, one after the other. */
static enum rc
look_at_database(struct doctor *d, struct local *l)
{
	struct buf wrong = { 0 };
	char mode[16];
	enum rc rc = local_check(l, mode, &wrong, &d->t->err);

	if (rc == RC_OK && wrong.len > 0)
		say(d, TDSYNC_ERROR, "database", "what is in it may be lost, and can't be synced",
		    "put .todos/issues.db back from a backup; or move it away, `td init`, and link anew: "
		    "the server has all that was pushed", ".todos/issues.db is damaged: %.*s",
		    (int)wrong.len, wrong.p);
	else if (rc == RC_OK && fs_network(l->file) != NULL)
		say(d, TDSYNC_WARNING, "database", "locks and SQLite's WAL are not to be relied on there: "
		    "two machines that write at once damage it", "keep the folder on a local disk of each "
		    "machine, and let td-sync bring them together",
		    ".todos/issues.db is on a network file system (%s)", fs_network(l->file));
	else if (rc == RC_OK)
		say(d, TDSYNC_FINE, "database", "", "", "whole; schema %d, journal mode %s", l->schema,
		    mode);
	buf_free(&wrong);
	return rc == RC_OK ? local_try_lock(l, &d->t->err) : rc;
}

static bool
check_database(struct doctor *d)
{
	struct local *l = NULL;
	struct fs_id id;
	struct buf path = { 0 };
	bool there;
	enum rc rc;

	buf_addf(&path, "%s/.todos/issues.db", d->t->dir);
	there = buf_cstr(&path) != NULL && fs_identify(path.p, &id);
	buf_free(&path);
	if (!there) {
		fine(d, "database", "no td project in this folder: nothing of it was looked at");
		return false;
	}
	rc = local_open(d->t->dir, false, &l, &d->t->err);
	if (rc == RC_OK)
		rc = look_at_database(d, l);
	local_close(l);
	if (rc == RC_BUSY)
		say(d, TDSYNC_WARNING, "lock", "as long as that is so, nothing can be synced, nor changed "
		    "by td", "which td is it? `fuser .todos/db.lock`; end one that hangs", "%s",
		    d->t->err.text);
	else if (rc == RC_INVALID)
		say(d, TDSYNC_ERROR, "database", "this td-sync can't work on it", "see what it says",
		    "%s", d->t->err.text);
	else if (rc != RC_OK)
		say(d, TDSYNC_ERROR, "database", "nothing can be synced", "see what it says", "%s",
		    d->t->err.text);
	return rc == RC_OK;
}

/* --- the project --- */

/* The role of the user in a list of members; "" where it isn't there. */
static void
role_of(const char *user, struct span list, char out[16])
{
	struct json_iter it;
	struct span key, member, id, role;
	struct buf text = { 0 };

	json_iter_init(&it, list);
	while (json_next(&it, &key, &member))
		if (json_get(member, "user_id", &id) && json_string_is(id, user) &&
		    json_get(member, "role", &role) && json_string(role, &text) &&
		    buf_cstr(&text) != NULL)
			snprintf(out, 16, "%s", text.p);
	buf_free(&text);
}

/* Whether we are let in, and as what; `reads`: it was read just now. */
static bool
check_role(struct doctor *d, const char *project, bool reads)
{
	struct remote r = work_remote(d->t);
	struct remote_answer a = { 0 };
	char path[BOOKS_TEXT + 32], role[16] = "";
	enum tdsync_rc rc;

	snprintf(path, sizeof(path), "/v1/projects/%s/members", project);
	rc = remote_call(&r, path, (struct span){ 0 }, false, &a, &d->t->err);
	if (rc == TDSYNC_OK)
		role_of(d->user, a.json, role);
	remote_answer_free(&a);
	if (rc == TDSYNC_OK && strcmp(role, "reader") == 0)
		say(d, TDSYNC_FINE, "project", "", "", "%s is there; you may read it, not push", project);
	else if (rc == TDSYNC_OK)
		say(d, TDSYNC_FINE, "project", "", "", "%s is there; you are %s%s", project,
		    role[0] != '\0' ? "its " : "let in", role);
	else if (reads && (rc == TDSYNC_FORBIDDEN || rc == TDSYNC_UNAUTHORIZED))
		say(d, TDSYNC_FINE, "project", "", "", "%s is there; you may read it as anyone may, not "
		    "push", project);
	else if (rc == TDSYNC_FORBIDDEN)
		say(d, TDSYNC_ERROR, "project", "you are no member of it (any more), or the token is for "
		    "others", "ask an owner of it; or `td-sync unlink`, and link to one of yours",
		    "the server does not let you into %s", project);
	else if (rc == TDSYNC_NOT_FOUND)
		say(d, TDSYNC_ERROR, "project", "it was deleted there; what is here stays here",
		    "`td-sync unlink`, and link to one that is there", "%s is gone from the server",
		    project);
	else if (rc != TDSYNC_UNAUTHORIZED)
		say(d, TDSYNC_ERROR, "project", "nothing of it can be synced", "try again", "%s",
		    d->t->err.text);
	return rc == TDSYNC_OK || reads;
}

static void
judge_status(struct doctor *d, const struct tdsync_status *s, const char *log_id)
{
	if (s->rejected > 0)
		say(d, TDSYNC_WARNING, "refused", "others don't see them, and they are not sent again",
		    "`td-sync status` names each with the server's reason", "%" PRId64 " of your changes "
		    "the server did not take", s->rejected);
	if (log_id[0] != '\0' && s->log_id[0] != '\0' && strcmp(log_id, s->log_id) != 0)
		say(d, TDSYNC_WARNING, "lost", "its log is another one than before: it was restored from "
		    "a backup, and lacks what came after that", "`td-sync sync`: what it lacks is offered "
		    "to it again, others' work too", "this device may hold events that the server lost");
	else if (s->cursor > s->server_seq)
		say(d, TDSYNC_WARNING, "lost", "the server's log is older than this copy: it was set back",
		    "`td-sync sync`: what it lacks is offered to it again", "this device is at event %"
		    PRId64 ", the server at %" PRId64, s->cursor, s->server_seq);
	else
		say(d, TDSYNC_FINE, "events", "", "", "%" PRId64 " here, %" PRId64 " at the server, %"
		    PRId64 " to send", s->cursor, s->server_seq, s->pending);
}

/* Which log the server has now. */
static bool
ask_log(struct doctor *d, const char *project, char out[33])
{
	struct remote r = work_remote(d->t);
	struct remote_answer a = { 0 };
	char path[BOOKS_TEXT + 32];
	bool ok;

	snprintf(path, sizeof(path), "/v1/projects/%s/sync/status", project);
	ok = remote_call(&r, path, (struct span){ 0 }, false, &a, &d->t->err) == TDSYNC_OK;
	snprintf(out, 33, "%s", ok ? a.reply.log_id : "");
	remote_answer_free(&a);
	return ok;
}

static void
check_project(struct doctor *d)
{
	struct tdsync_status s;
	char log_id[33] = "";
	enum tdsync_rc rc = tdsync_get_status(d->t, d->answers, &s);

	if (rc == TDSYNC_NOT_LINKED) {
		say(d, TDSYNC_WARNING, "project", "so there is nothing to sync with",
		    "`td-sync link PROJECT`", "this folder is linked to no project");
		return;
	}
	if (rc != TDSYNC_OK) {
		say(d, TDSYNC_ERROR, "project", "nothing can be synced", "see what it says", "%s",
		    d->t->err.text);
		return;
	}
	if (!d->answers || !check_role(d, s.project_id, s.server_reached))
		return;
	if (ask_log(d, s.project_id, log_id) && s.server_reached)
		judge_status(d, &s, log_id);
	else
		say(d, TDSYNC_ERROR, "events", "nothing can be pushed or pulled", "try again; where it stays "
		    "so, its operator has to look: td-sync-admin doctor", "%s", d->t->err.text);
}

/* --- the calls --- */

/* Nothing is tried again: what fails once is what is to be found. */
static void
begin(struct doctor *d)
{
	d->t->err.text[0] = '\0';
	d->retries = d->t->retries;
	d->t->retries = 0;
}

static enum tdsync_rc
end(struct doctor *d)
{
	d->t->retries = d->retries;
	if (!d->failed)
		return TDSYNC_OK;
	err_set(&d->t->err, RC_FAULT, "out of memory");
	return TDSYNC_FAULT;
}

static void
check_server(struct doctor *d)
{
	check_health(d);
	if (!d->answers)
		return;
	check_large(d);
	check_arrival(d);
}

enum tdsync_rc
tdsync_diagnose(struct tdsync *t, diagnosis_visit *visit, void *ctx)
{
	struct doctor d = { .t = t, .visit = visit, .ctx = ctx, .not_sent = not_for(&t->settings) };
	char *token = t->settings.token;

	if (d.not_sent != NULL)
		t->settings.token = NULL;
	begin(&d);
	check_server(&d);
	if (d.answers)
		check_token(&d);
	if (check_database(&d))
		check_project(&d);
	t->settings.token = token;
	return end(&d);
}

enum tdsync_rc
tdsync_diagnose_server(struct tdsync *t, const char *const *hidden, size_t n,
                       diagnosis_visit *visit, void *ctx)
{
	struct doctor d = { .t = t, .visit = visit, .ctx = ctx };

	begin(&d);
	check_server(&d);
	if (d.reached)
		check_hidden(&d, hidden, n);
	return end(&d);
}
