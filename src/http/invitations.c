/* Invitations to a project, as in protocol.md section 2. */
#include "http/handlers.h"

#include "base/log.h"
#include "http/body.h"
#include "http/post.h"
#include "http/reply.h"

static void
add_invitation(struct buf *out, const struct invitation *i)
{
	char at[TIME_TEXT];

	reply_text(out, "{", "id", i->id);
	reply_text(out, ",", "project_id", i->project_id);
	reply_text(out, ",", "email", i->email);
	reply_text(out, ",", "role", role_name(i->role));
	reply_text(out, ",", "invited_by", i->invited_by);
	reply_text(out, ",", "status", invitation_status_name(i->status));
	reply_text(out, ",", "created_at", time_text(i->created_at, at));
	reply_text(out, ",", "expires_at", time_text(i->expires_at, at));
	if (i->accepted_at != 0)
		reply_text(out, ",", "accepted_at", time_text(i->accepted_at, at));
	buf_add_byte(out, '}');
}

static enum rc
list_one(void *ctx, const struct invitation *i)
{
	struct buf *out = ctx;

	if (out->len > 1)
		buf_add_byte(out, ',');
	add_invitation(out, i);
	return out->failed ? RC_FAULT : RC_OK;
}

enum rc
invitations_list_run(struct request *r)
{
	struct accounts *accounts;
	enum rc rc = request_accounts(r, &accounts);

	if (rc != RC_OK)
		return rc;
	r->status = 200;
	buf_add_byte(&r->out, '[');
	rc = invitation_list(accounts, r->project_id, list_one, &r->out, &r->err);
	buf_add_str(&r->out, "]\n");
	return rc;
}

/* --- invite --- */

/* Tell who was invited. He isn't told of a failure, and who invites isn't, either: the
 * invitation stands, and the error log has the cause. */
static void
mail_invitation(struct request *r, struct accounts *accounts, const struct invitation *i)
{
	struct buf subject = { 0 }, text = { 0 };
	struct project p;
	struct user by;

	if (project_get(accounts, i->project_id, &p, NULL) == RC_OK &&
	    user_by_id(accounts, i->invited_by, &by, NULL) == RC_OK) {
		/* Names are people's words: they stand where they can't pass for ours. */
		post_clean(&subject, "You're invited to ", p.name, 60);
		buf_addf(&text, "%s invites you as %s to a project on the td-sync server\n%s\n\n",
		         by.email, role_name(i->role), r->server->config->url);
		post_clean(&text, "    ", p.name, 200);
		buf_addf(&text, "\n\nTo accept, log in with this address and then say so:\n\n"
		         "    td-sync login --server %s --email %s\n"
		         "    td-sync invitation accept %s\n\n"
		         "The invitation expires in 7 days. If you know nothing of it, ignore this "
		         "mail.\n", r->server->config->url, i->email, i->id);
		post_send(r, i->email, &subject, &text);
	}
	buf_free(&subject);
	buf_free(&text);
}

enum rc
invitations_create_run(struct request *r)
{
	struct buf email = { 0 }, role_text = { 0 };
	struct body_field fields[] = {
		{ "email", &email }, { "role", &role_text }, { NULL, NULL },
	};
	struct accounts *accounts;
	struct invitation i;
	enum role role = ROLE_NONE;
	enum rc rc = body_parse(r, fields);

	if (rc == RC_OK && (buf_cstr(&email) == NULL || !mail_address_ok(email.p)))
		rc = err_set(&r->err, RC_INVALID, "valid email is required");
	if (rc == RC_OK && !role_find(buf_span(&role_text), &role))
		rc = err_set(&r->err, RC_INVALID, "valid role is required");
	if (rc == RC_OK)
		rc = request_accounts(r, &accounts);
	if (rc == RC_OK && !post_place(r))
		goto done;
	if (rc == RC_OK)
		rc = invitation_add(accounts, r->project_id, buf_span(&email), role,
		                    r->caller.user_id, &i, &r->err);
	if (rc == RC_OK) {
		mail_invitation(r, accounts, &i);
		r->status = 201;
		add_invitation(&r->out, &i);
		buf_add_byte(&r->out, '\n');
	}
done:
	buf_free(&email);
	buf_free(&role_text);
	return rc;
}

enum rc
invitation_delete_run(struct request *r)
{
	struct accounts *accounts;
	enum rc rc = request_accounts(r, &accounts);

	if (rc == RC_OK)
		rc = invitation_remove(accounts, r->project_id, r->invitation_id, &r->err);
	if (rc == RC_OK)
		r->status = 204;
	return rc;
}

/* --- who was invited --- */

/* RC_FORBIDDEN: a token for certain projects, or of nobody, can't join others. */
static enum rc
the_invited(struct request *r, struct accounts **accounts, struct user *out)
{
	enum rc rc;

	if (r->caller.user_id[0] == '\0' || !r->caller.all_projects)
		return err_set(&r->err, RC_FORBIDDEN, "this token is for certain projects only");
	rc = request_accounts(r, accounts);
	return rc == RC_OK ? user_by_id(*accounts, r->caller.user_id, out, &r->err) : rc;
}

enum rc
own_invitations_run(struct request *r)
{
	struct accounts *accounts;
	struct user u;
	enum rc rc = the_invited(r, &accounts, &u);

	if (rc != RC_OK)
		return rc;
	r->status = 200;
	buf_add_byte(&r->out, '[');
	rc = invitation_list_of(accounts, span_of(u.email), list_one, &r->out, &r->err);
	buf_add_str(&r->out, "]\n");
	return rc;
}

enum rc
invitation_accept_run(struct request *r)
{
	struct accounts *accounts;
	struct member m;
	struct user u;
	enum rc rc = the_invited(r, &accounts, &u);

	if (rc == RC_OK)
		rc = invitation_answer(accounts, r->invitation_id, u.id, true, &m, &r->err);
	if (rc != RC_OK)
		return rc;
	r->status = 200;
	member_add_object(&r->out, &m, "");
	buf_add_byte(&r->out, '\n');
	return RC_OK;
}

enum rc
invitation_decline_run(struct request *r)
{
	struct accounts *accounts;
	struct member m;
	struct user u;
	enum rc rc = the_invited(r, &accounts, &u);

	if (rc == RC_OK)
		rc = invitation_answer(accounts, r->invitation_id, u.id, false, &m, &r->err);
	if (rc != RC_OK)
		return rc;
	r->status = 200;
	buf_add_str(&r->out, "{\"status\":\"declined\"}\n");
	return RC_OK;
}
