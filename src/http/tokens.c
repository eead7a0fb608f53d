/* A user's own tokens: list, make, revoke. The secret is shown once, when it is made. */
#include "http/handlers.h"

#include "base/json.h"
#include "http/body.h"
#include "http/reply.h"

#include <string.h>

#define DEFAULT_DAYS 365
#define MAX_DAYS 3650
#define DAY 86400 /* seconds */
#define TOKEN_PROJECTS 80 /* that one token may name: more would not fit TOKEN_MAX */

/* --- the token object --- */

static void
add_projects(struct buf *out, const char *projects)
{
	buf_add_str(out, ",\"projects\":");
	if (strcmp(projects, "*") == 0) {
		buf_add_str(out, "\"*\"");
		return;
	}
	buf_add_byte(out, '[');
	for (const char *p = projects; *p != '\0';) {
		size_t n = strcspn(p, " ");

		buf_add_str(out, p == projects ? "" : ",");
		buf_add_json(out, (struct span){ p, n });
		p += n + (p[n] == ' ');
	}
	buf_add_byte(out, ']');
}

void
token_add_object(struct buf *out, const struct token_row *t, const char *email,
                 const char *secret)
{
	char at[TIME_TEXT];

	reply_text(out, "{", "id", t->id);
	if (secret != NULL)
		reply_text(out, ",", "token", secret);
	if (t->user_id[0] != '\0') {
		reply_text(out, ",", "user_id", t->user_id);
		reply_text(out, ",", "email", email);
	}
	reply_text(out, ",", "name", t->name);
	reply_text(out, ",", "scope", t->scope);
	add_projects(out, t->projects);
	reply_text(out, ",", "created_at", time_text(t->created_at, at));
	reply_text(out, ",", "expires_at", time_text(t->expires_at, at));
	if (t->last_used_at != 0)
		reply_text(out, ",", "last_used_at", time_text(t->last_used_at, at));
	buf_add_byte(out, '}');
}

/* --- who --- */

/* Tokens are a user's: a share link has none. */
static enum rc
the_user(struct request *r, struct accounts **accounts, struct user *out)
{
	enum rc rc;

	*out = (struct user){ 0 };
	if (r->caller.user_id[0] == '\0')
		return err_set(&r->err, RC_FORBIDDEN, "this token belongs to no user");
	rc = request_accounts(r, accounts);
	return rc == RC_OK ? user_by_id(*accounts, r->caller.user_id, out, &r->err) : rc;
}

enum rc
token_self_run(struct request *r)
{
	struct accounts *accounts;
	struct token_row t;
	struct user u = { 0 };
	enum rc rc = request_accounts(r, &accounts);

	if (rc == RC_OK)
		rc = token_get(accounts, r->caller.token_id, &t, &r->err);
	if (rc == RC_OK && t.user_id[0] != '\0')
		rc = user_by_id(accounts, t.user_id, &u, &r->err);
	if (rc != RC_OK)
		return rc;
	r->status = 200;
	token_add_object(&r->out, &t, u.email, NULL);
	buf_add_byte(&r->out, '\n');
	return RC_OK;
}

/* A token for certain projects is not told of others, nor ends them: it may be an agent's. */
static enum rc
check_unlimited(struct request *r)
{
	return r->caller.all_projects ? RC_OK
	       : err_set(&r->err, RC_FORBIDDEN, "this token is for certain projects only");
}

/* --- list --- */

enum rc
token_list_valid(struct request *r, const struct token_row *t, const char *email)
{
	if (t->revoked_at != 0 || t->expires_at * INT64_C(1000000) <= r->now_us)
		return RC_OK;
	if (r->out.len > 1)
		buf_add_byte(&r->out, ',');
	token_add_object(&r->out, t, email, NULL);
	return r->out.failed ? RC_FAULT : RC_OK;
}

struct listing {
	struct request *r;
	const struct user *user;
};

static enum rc
list_one(void *ctx, const struct token_row *t)
{
	struct listing *l = ctx;

	return token_list_valid(l->r, t, l->user->email);
}

enum rc
tokens_list_run(struct request *r)
{
	struct accounts *accounts;
	struct user u;
	enum rc rc = the_user(r, &accounts, &u);

	if (rc == RC_OK)
		rc = check_unlimited(r);
	if (rc != RC_OK)
		return rc;
	r->status = 200;
	buf_add_byte(&r->out, '[');
	rc = token_list(accounts, u.id, list_one, &(struct listing){ r, &u }, &r->err);
	buf_add_str(&r->out, "]\n");
	return rc;
}

/* --- make --- */

/* What is asked for: the plan's texts are in the buffers. */
struct wish {
	struct token_plan plan;
	struct buf name, scope;
	char ids[TOKEN_PROJECTS][ID_MAX];
	const char *list[TOKEN_PROJECTS];
};

/* A project that the user is in, and that this token is for. */
static enum rc
take_project(struct request *r, struct accounts *accounts, struct wish *w, struct span value)
{
	struct buf id = { 0 };
	struct member m;
	size_t n = w->plan.n_projects;
	enum rc rc = RC_OK;

	if (n == TOKEN_PROJECTS)
		rc = err_set(&r->err, RC_INVALID, "too many projects: at most %d", TOKEN_PROJECTS);
	else if (!json_string(value, &id) || json_string_odd(value) || buf_cstr(&id) == NULL)
		rc = err_set(&r->err, RC_INVALID, "projects must be \"*\" or a list of ids");
	else if (id.len >= ID_MAX || member_get(accounts, id.p, r->caller.user_id, &m,
	                                        NULL) != RC_OK)
		rc = err_set(&r->err, RC_FORBIDDEN, "not a member of project %s", id.p);
	else if (!auth_covers(r->server->auth, request_authorization(r), id.p))
		rc = err_set(&r->err, RC_FORBIDDEN, "this token is not for project %s", id.p);
	if (rc == RC_OK) {
		memcpy(w->ids[n], id.p, id.len + 1);
		w->list[n] = w->ids[n];
		w->plan.n_projects++;
	}
	buf_free(&id);
	return rc;
}

static enum rc
take_projects(struct request *r, struct accounts *accounts, struct wish *w, struct span value)
{
	struct json_iter it;
	struct span key, id;
	enum rc rc = RC_OK;

	if (json_type(value) == JSON_NULL || json_string_is(value, "*")) {
		if (!r->caller.all_projects)
			return err_set(&r->err, RC_FORBIDDEN, "this token is for certain projects "
			               "only: name them");
		return RC_OK;
	}
	if (json_type(value) != JSON_ARRAY)
		return err_set(&r->err, RC_INVALID, "projects must be \"*\" or a list of ids");
	w->plan.projects = w->list;
	json_iter_init(&it, value);
	while (rc == RC_OK && json_next(&it, &key, &id))
		rc = take_project(r, accounts, w, id);
	if (rc == RC_OK && w->plan.n_projects == 0)
		rc = err_set(&r->err, RC_INVALID, "projects is empty");
	return rc;
}

/* No more than the caller's own scope. */
static enum rc
take_scope(struct request *r, struct wish *w, bool given)
{
	if (!given)
		buf_add_str(&w->scope, "sync:read");
	if (!scope_parse(buf_span(&w->scope), &w->plan.scope))
		return err_set(&r->err, RC_INVALID, "scope must be of sync:read, sync:write, "
		               "project:admin and server:admin, with blanks between");
	if ((w->plan.scope & ~r->caller.scope) != 0)
		return err_set(&r->err, RC_SCOPE, "this token can't give a scope that it has not");
	return RC_OK;
}

/* It ends with the token that makes it at the latest: so a short-lived one stays so. */
static enum rc
take_days(struct request *r, struct wish *w, struct span value)
{
	int64_t days = DEFAULT_DAYS, left = r->caller.expires_at - r->now_us / 1000000;

	if (json_type(value) != JSON_NULL &&
	    (!json_int64(value, &days) || days < 1 || days > MAX_DAYS))
		return err_set(&r->err, RC_INVALID, "days must be a number from 1 to %d", MAX_DAYS);
	w->plan.lifetime_s = days * DAY < left ? days * DAY : left;
	return w->plan.lifetime_s > 0 ? RC_OK
	       : err_set(&r->err, RC_UNAUTHORIZED, "invalid or expired api key");
}

static enum rc
take_wish(struct request *r, struct accounts *accounts, struct wish *w)
{
	struct body_field fields[] = {
		{ "name", &w->name }, { "scope", &w->scope }, { "projects", NULL },
		{ "days", NULL }, { NULL, NULL },
	};
	enum rc rc = body_parse(r, fields);

	if (rc == RC_OK && w->name.len == 0)
		rc = err_set(&r->err, RC_INVALID, "name is required: say what the token is for");
	if (rc == RC_OK && buf_cstr(&w->name) == NULL)
		rc = err_set(&r->err, RC_FAULT, "out of memory");
	if (rc != RC_OK)
		return rc;
	w->plan.user_id = r->caller.user_id;
	w->plan.name = w->name.p;
	rc = take_scope(r, w, fields[1].given);
	if (rc == RC_OK)
		rc = take_projects(r, accounts, w, fields[2].value);
	return rc == RC_OK ? take_days(r, w, fields[3].value) : rc;
}

enum rc
tokens_create_run(struct request *r)
{
	struct wish w = { .plan = { 0 } };
	struct buf secret = { 0 };
	struct accounts *accounts;
	struct token_row row;
	struct user u;
	enum rc rc = the_user(r, &accounts, &u);

	if (rc == RC_OK)
		rc = take_wish(r, accounts, &w);
	if (rc == RC_OK)
		rc = auth_issue(r->server->auth, &w.plan, &row, &secret, &r->err);
	if (rc == RC_OK && buf_cstr(&secret) == NULL)
		rc = err_set(&r->err, RC_FAULT, "out of memory");
	if (rc == RC_OK) {
		r->status = 201;
		token_add_object(&r->out, &row, u.email, secret.p);
		buf_add_byte(&r->out, '\n');
	}
	buf_free(&secret);
	buf_free(&w.name);
	buf_free(&w.scope);
	return rc;
}

/* --- revoke --- */

/* Any token of a user's may end itself (a share link is in several hands: its project's
 * owners end it); another one of the same user's takes project:admin. */
enum rc
token_delete_run(struct request *r)
{
	bool self = strcmp(r->token_id, "self") == 0 ||
	            strcmp(r->token_id, r->caller.token_id) == 0;
	struct accounts *accounts;
	struct token_row t;
	struct user u;
	enum rc rc = the_user(r, &accounts, &u);

	if (rc == RC_OK && !self && (r->caller.scope & SCOPE_PROJECT_ADMIN) == 0)
		rc = err_set(&r->err, RC_SCOPE,
		             "key does not have the project:admin scope required for this route");
	if (rc == RC_OK && !self)
		rc = check_unlimited(r);
	if (rc == RC_OK)
		rc = token_get(accounts, self ? r->caller.token_id : r->token_id, &t, &r->err);
	if (rc == RC_OK && strcmp(t.user_id, u.id) != 0)
		rc = err_set(&r->err, RC_NOT_FOUND, "token not found");
	if (rc == RC_OK)
		rc = token_revoke(accounts, t.id, &r->err);
	if (rc == RC_OK || rc == RC_CONFLICT) /* it was: so it is */
		r->status = 204;
	return rc == RC_CONFLICT ? RC_OK : rc;
}
