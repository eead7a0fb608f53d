/* Members of a project: list, add, change, remove. */
#include "http/handlers.h"

#include "http/body.h"
#include "http/reply.h"

void
member_add_object(struct buf *out, const struct member *m, const char *email)
{
	char text[TIME_TEXT];

	reply_text(out, "{", "project_id", m->project_id);
	reply_text(out, ",", "user_id", m->user_id);
	reply_text(out, ",", "email", email);
	reply_text(out, ",", "role", role_name(m->role));
	reply_text(out, ",", "invited_by", m->invited_by);
	reply_text(out, ",", "created_at", time_text(m->created_at, text));
	buf_add_byte(out, '}');
}

static enum rc
list_member(void *ctx, const struct member *m)
{
	struct buf *out = ctx;

	if (out->len > 1)
		buf_add_byte(out, ',');
	member_add_object(out, m, m->email);
	return out->failed ? RC_FAULT : RC_OK;
}

enum rc
members_list_run(struct request *r)
{
	struct accounts *accounts;
	enum rc rc;

	if ((rc = request_accounts(r, &accounts)) != RC_OK)
		return rc;
	r->status = 200;
	buf_add_byte(&r->out, '[');
	rc = member_list(accounts, r->project_id, list_member, &r->out, &r->err);
	buf_add_str(&r->out, "]\n");
	return rc;
}

static enum rc
take_role(struct request *r, const struct buf *text, enum role *out)
{
	*out = ROLE_NONE;
	if (text->len == 0)
		return err_set(&r->err, RC_INVALID, "role is required");
	if (!role_find(buf_span(text), out) || *out == ROLE_NONE)
		return err_set(&r->err, RC_INVALID,
		               "unknown role: must be owner, writer or reader");
	return RC_OK;
}

/* The user of an address, made where there is none (as at the Go server). */
static enum rc
user_of(struct accounts *a, struct span email, struct user *out, struct err *err)
{
	enum rc rc = user_by_email(a, email, out, err);

	if (rc == RC_NOT_FOUND)
		rc = user_add(a, email, out, err);
	if (rc == RC_CONFLICT) /* somebody was faster */
		rc = user_by_email(a, email, out, err);
	return rc;
}

static enum rc
add(struct request *r, struct buf *user_id, const struct buf *email, enum role role)
{
	struct accounts *accounts;
	struct member m;
	struct user u;
	enum rc rc;

	if ((rc = request_accounts(r, &accounts)) != RC_OK)
		return rc;
	if (user_id->len > 0) {
		if (buf_cstr(user_id) == NULL)
			return RC_FAULT;
		rc = user_by_id(accounts, user_id->p, &u, &r->err);
	} else {
		rc = user_of(accounts, buf_span(email), &u, &r->err);
	}
	if (rc == RC_NOT_FOUND)
		return err_set(&r->err, rc, "no such user");
	if (rc != RC_OK)
		return rc;
	rc = member_add(accounts, r->project_id, u.id, role, r->caller.user_id, &m,
	                &r->err);
	if (rc == RC_CONFLICT)
		return err_set(&r->err, rc, "This user is a member already: change the role "
		               "with PATCH, or leave it as it is.");
	if (rc != RC_OK)
		return rc;
	r->status = 201;
	member_add_object(&r->out, &m, user_id->len > 0 ? "" : u.email);
	buf_add_byte(&r->out, '\n');
	return RC_OK;
}

enum rc
members_add_run(struct request *r)
{
	struct buf user_id = { 0 }, email = { 0 }, role_text = { 0 };
	struct body_field fields[] = {
		{ "user_id", &user_id }, { "email", &email }, { "role", &role_text },
		{ NULL, NULL },
	};
	enum role role;
	enum rc rc;

	rc = body_parse(r, fields);
	if (rc == RC_OK && user_id.len == 0 && email.len == 0)
		rc = err_set(&r->err, RC_INVALID, "user_id or email is required");
	if (rc == RC_OK)
		rc = take_role(r, &role_text, &role);
	if (rc == RC_OK)
		rc = add(r, &user_id, &email, role);
	buf_free(&user_id);
	buf_free(&email);
	buf_free(&role_text);
	return rc;
}

/* The words for a user that is no member, whatever the store calls it. */
static enum rc
not_a_member(struct request *r, enum rc rc)
{
	return rc == RC_NOT_FOUND
	       ? err_set(&r->err, rc, "%s is not a member of project %s", r->user_id,
	                 r->project_id)
	       : rc;
}

enum rc
member_patch_run(struct request *r)
{
	struct buf role_text = { 0 };
	struct body_field fields[] = { { "role", &role_text }, { NULL, NULL } };
	struct accounts *accounts;
	enum role role;
	enum rc rc;

	rc = body_parse(r, fields);
	if (rc == RC_OK)
		rc = take_role(r, &role_text, &role);
	if (rc == RC_OK)
		rc = request_accounts(r, &accounts);
	if (rc == RC_OK)
		rc = not_a_member(r, member_change(accounts, r->project_id, r->user_id,
		                                   role, &r->err));
	buf_free(&role_text);
	if (rc != RC_OK)
		return rc;
	r->status = 200;
	buf_add_str(&r->out, "{\"status\":\"updated\"}\n");
	return RC_OK;
}

enum rc
member_delete_run(struct request *r)
{
	struct accounts *accounts;
	enum rc rc;

	if ((rc = request_accounts(r, &accounts)) != RC_OK)
		return rc;
	rc = not_a_member(r, member_remove(accounts, r->project_id, r->user_id, &r->err));
	if (rc == RC_OK)
		r->status = 204;
	return rc;
}
