/* td-sync-admin invitation: who was asked to join a project. */
#include "cli/td-sync-admin.h"

static void
show_json(const struct invitation *i)
{
	struct buf line;

	out_begin(&line);
	out_string(&line, "id", i->id);
	out_string(&line, "project_id", i->project_id);
	out_string(&line, "email", i->email);
	out_string(&line, "role", role_name(i->role));
	out_string(&line, "invited_by", i->invited_by);
	out_string(&line, "status", invitation_status_name(i->status));
	out_time(&line, "created_at", i->created_at);
	out_time(&line, "expires_at", i->expires_at);
	out_time(&line, "accepted_at", i->accepted_at);
	out_end(&line);
}

int
invitation_create_run(struct admin *a)
{
	struct buf line = { 0 };
	struct invitation i;
	struct project p;
	enum role role;
	enum rc rc;

	if (!role_find(span_of(a->args[2]), &role))
		return admin_fail_with(a, RC_INVALID,
		    "there is no role %s: reader, writer or owner", a->args[2]);
	if (a->args[1][0] == '\0')
		return admin_fail_with(a, RC_INVALID, "an invitation needs an address");
	rc = admin_project(a, a->args[0], &p);
	if (rc == RC_OK)
		rc = invitation_add(a->accounts, p.id, span_of(a->args[1]), role, "", &i, &a->err);
	if (rc != RC_OK)
		return admin_fail(a, rc);
	if (a->json) {
		show_json(&i);
		return 0;
	}
	buf_add_str(&line, i.id);
	out_line(&line);
	return 0;
}

/* It is noted that one is over only when somebody wants to accept it. */
static const char *
state(const struct invitation *i)
{
	bool over = i->expires_at <= clock_now_us() / 1000000;

	return invitation_status_name(i->status == INVITATION_PENDING && over
	    ? INVITATION_EXPIRED : i->status);
}

static enum rc
show_one(void *ctx, const struct invitation *i)
{
	struct admin *a = ctx;
	struct buf line = { 0 };
	char at[TIME_TEXT];

	if (a->json) {
		show_json(i);
		return RC_OK;
	}
	out_column(&line, i->id, 20);
	out_column(&line, state(i), 8);
	out_column(&line, time_text(i->expires_at, at), 20);
	out_column(&line, role_name(i->role), 6);
	out_clean(&line, i->email);
	out_line(&line);
	return RC_OK;
}

int
invitation_list_run(struct admin *a)
{
	struct project p;
	enum rc rc = admin_project(a, a->args[0], &p);

	if (rc == RC_OK)
		rc = invitation_list(a->accounts, p.id, show_one, a, &a->err);
	return rc == RC_OK ? 0 : admin_fail(a, rc);
}

int
invitation_revoke_run(struct admin *a)
{
	struct project p;
	struct buf line;
	enum rc rc = admin_project(a, a->args[0], &p);

	if (rc != RC_OK)
		return admin_fail(a, rc);
	rc = invitation_remove(a->accounts, p.id, a->args[1], &a->err);
	if (rc == RC_NOT_FOUND)
		return admin_fail_with(a, rc, "%s has no invitation %s", a->args[0], a->args[1]);
	if (rc != RC_OK)
		return admin_fail(a, rc);
	if (!a->json)
		return 0;
	out_begin(&line);
	out_string(&line, "id", a->args[1]);
	out_string(&line, "status", "revoked");
	out_end(&line);
	return 0;
}
