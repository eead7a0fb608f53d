/* td-sync-admin member: who may do what in a project. */
#include "cli/td-sync-admin.h"

static void
show_json(const struct member *m)
{
	struct buf line;

	out_begin(&line);
	out_string(&line, "project_id", m->project_id);
	out_string(&line, "user_id", m->user_id);
	out_string(&line, "email", m->email);
	out_string(&line, "role", role_name(m->role));
	out_string(&line, "invited_by", m->invited_by);
	out_time(&line, "created_at", m->created_at);
	out_end(&line);
}

/* The project and the user that the first two arguments name. */
static enum rc
find_both(struct admin *a, struct project *p, struct user *u)
{
	enum rc rc = admin_project(a, a->args[0], p);

	return rc == RC_OK ? admin_user(a, a->args[1], u) : rc;
}

/* Add a member, or change the role of one. */
int
member_set_run(struct admin *a)
{
	struct project p;
	struct member m;
	struct user u;
	enum role role;
	enum rc rc;

	if (!role_find(span_of(a->args[2]), &role))
		return admin_fail_with(a, RC_INVALID,
		    "there is no role %s: reader, writer or owner", a->args[2]);
	rc = find_both(a, &p, &u);
	if (rc == RC_OK)
		rc = member_add(a->accounts, p.id, u.id, role, "", &m, &a->err);
	if (rc == RC_CONFLICT) {
		rc = member_change(a->accounts, p.id, u.id, role, &a->err);
		if (rc == RC_OK)
			rc = member_get(a->accounts, p.id, u.id, &m, &a->err);
	}
	if (rc != RC_OK)
		return admin_fail(a, rc);
	if (a->json)
		show_json(&m);
	return 0;
}

int
member_remove_run(struct admin *a)
{
	struct project p = { 0 };
	struct user u = { 0 };
	struct buf line;
	enum rc rc = find_both(a, &p, &u);

	if (rc == RC_OK)
		rc = member_remove(a->accounts, p.id, u.id, &a->err);
	if (rc == RC_NOT_FOUND && u.id[0] != '\0')
		return admin_fail_with(a, rc, "%s is not a member of %s", a->args[1],
		    a->args[0]);
	if (rc != RC_OK)
		return admin_fail(a, rc);
	if (!a->json)
		return 0;
	out_begin(&line);
	out_string(&line, "project_id", p.id);
	out_string(&line, "user_id", u.id);
	out_string(&line, "status", "removed");
	out_end(&line);
	return 0;
}

static enum rc
show_one(void *ctx, const struct member *m)
{
	struct admin *a = ctx;
	struct buf line = { 0 };
	char at[TIME_TEXT];

	if (a->json) {
		show_json(m);
		return RC_OK;
	}
	out_column(&line, m->user_id, 18);
	out_column(&line, time_text(m->created_at, at), 20);
	out_column(&line, role_name(m->role), 6);
	out_clean(&line, m->email);
	out_line(&line);
	return RC_OK;
}

int
member_list_run(struct admin *a)
{
	struct project p;
	enum rc rc = admin_project(a, a->args[0], &p);

	if (rc == RC_OK)
		rc = member_list(a->accounts, p.id, show_one, a, &a->err);
	return rc == RC_OK ? 0 : admin_fail(a, rc);
}
