/* td-sync-admin user: who has an account. */
#include "cli/td-sync-admin.h"

static void
show_json(const struct user *u)
{
	struct buf line;

	out_begin(&line);
	out_string(&line, "id", u->id);
	out_string(&line, "email", u->email);
	out_time(&line, "created_at", u->created_at);
	out_end(&line);
}

int
user_add_run(struct admin *a)
{
	struct buf line = { 0 };
	struct user u;
	enum rc rc = user_add(a->accounts, span_of(a->args[0]), &u, &a->err);

	if (rc != RC_OK)
		return admin_fail(a, rc);
	if (a->json) {
		show_json(&u);
		return 0;
	}
	buf_add_str(&line, u.id);
	out_line(&line);
	return 0;
}

static enum rc
show_one(void *ctx, const struct user *u)
{
	struct admin *a = ctx;
	struct buf line = { 0 };
	char at[TIME_TEXT];

	if (a->json) {
		show_json(u);
		return RC_OK;
	}
	out_column(&line, u->id, 18);
	out_column(&line, time_text(u->created_at, at), 20);
	out_clean(&line, u->email);
	out_line(&line);
	return RC_OK;
}

int
user_list_run(struct admin *a)
{
	enum rc rc = user_list(a->accounts, show_one, a, &a->err);

	return rc == RC_OK ? 0 : admin_fail(a, rc);
}

static enum rc
count_one(void *ctx, const struct token_row *t)
{
	if (t->revoked_at == 0)
		++*(int *)ctx;
	return RC_OK;
}

int
user_remove_run(struct admin *a)
{
	struct buf line;
	struct user u;
	int tokens = 0, code;
	enum rc rc = admin_user(a, a->args[0], &u);

	if (rc == RC_OK)
		rc = token_list(a->accounts, u.id, count_one, &tokens, &a->err);
	if (rc != RC_OK)
		return admin_fail(a, rc);
	code = admin_confirm(a, "Remove %s, %d token%s and all memberships", u.email, tokens,
	                     tokens == 1 ? "" : "s");
	if (code >= 0)
		return code;
	if ((rc = user_remove(a->accounts, u.id, &a->err)) != RC_OK)
		return admin_fail(a, rc);
	if (!a->json)
		return 0;
	out_begin(&line);
	out_string(&line, "id", u.id);
	out_string(&line, "status", "removed");
	out_end(&line);
	return 0;
}
