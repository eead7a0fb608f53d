/* server.db: who may do what in a project, see accounts.h. */
#include "store/accounts_int.h"

#include <assert.h>
#include <stdio.h>

static void
read_member(sqlite3_stmt *st, struct member *out)
{
	*out = (struct member){ 0 };
	acc_column(st, 0, out->project_id, sizeof(out->project_id));
	acc_column(st, 1, out->user_id, sizeof(out->user_id));
	acc_column(st, 2, out->invited_by, sizeof(out->invited_by));
	acc_column(st, 3, out->email, sizeof(out->email));
	out->role = (enum role)sqlite3_column_int(st, 4);
	out->created_at = sqlite3_column_int64(st, 5);
}

enum rc
acc_find_member(struct conn *c, const char *project_id, const char *user_id,
                struct member *out, struct err *err)
{
	sqlite3_stmt *st;
	enum rc rc = acc_query(c, Q_MEMBER_GET, &st, err);

	*out = (struct member){ 0 };
	if (rc != RC_OK)
		return rc;
	acc_bind(st, ":project", project_id);
	acc_bind(st, ":user", user_id);
	rc = acc_row(st, err);
	if (rc == RC_NOT_FOUND)
		return err_set(err, rc, "member not found");
	if (rc != RC_OK)
		return rc;
	read_member(st, out);
	db_reset(st);
	return RC_OK;
}

enum rc
member_get(struct accounts *a, const char *project_id, const char *user_id,
           struct member *out, struct err *err)
{
	return acc_find_member(&a->rd, project_id, user_id, out, err);
}

enum rc
acc_insert_member(struct accounts *a, const char *project_id, const char *user_id,
              enum role role, const char *invited_by, struct err *err)
{
	sqlite3_stmt *st;
	enum rc rc = acc_query(&a->wr, Q_MEMBER_ADD, &st, err);

	if (rc != RC_OK)
		return rc;
	acc_bind(st, ":project", project_id);
	acc_bind(st, ":user", user_id);
	acc_bind(st, ":by", invited_by == NULL ? "" : invited_by);
	db_bind_int(st, ":role", role);
	db_bind_int(st, ":now", acc_now());
	rc = db_run(st, err);
	if (rc == RC_OK)
		rc = acc_audit(a, "member.add", project_id, user_id, role_name(role), err);
	return rc;
}

/* Add who is not a member yet; needs acc_begin(). */
static enum rc
join_member(struct accounts *a, const char *project_id, const char *user_id,
            enum role role, const char *invited_by, struct member *out,
            struct err *err)
{
	struct project p;
	struct user u;
	enum rc rc = acc_find_live_project(&a->wr, project_id, &p, err);

	if (rc == RC_OK)
		rc = acc_find_user(&a->wr, Q_USER_BY_ID, ":id", span_of(user_id), &u, err);
	if (rc != RC_OK)
		return rc;
	rc = acc_find_member(&a->wr, project_id, user_id, out, err);
	if (rc == RC_OK)
		return err_set(err, RC_CONFLICT, "already a member");
	if (rc != RC_NOT_FOUND)
		return rc;
	rc = acc_insert_member(a, project_id, user_id, role, invited_by, err);
	if (rc == RC_OK)
		rc = acc_find_member(&a->wr, project_id, user_id, out, err);
	return rc;
}

enum rc
member_add(struct accounts *a, const char *project_id, const char *user_id,
           enum role role, const char *invited_by, struct member *out,
           struct err *err)
{
	enum rc rc;

	assert(role != ROLE_NONE);
	*out = (struct member){ 0 };
	rc = acc_begin(a, err);
	if (rc == RC_OK)
		rc = acc_finish(a, join_member(a, project_id, user_id, role, invited_by, out,
		    err), err);
	if (rc != RC_OK)
		*out = (struct member){ 0 };
	return rc;
}

/* Whether the project keeps an owner without this user; needs acc_begin(). */
static enum rc
check_other_owner(struct accounts *a, const char *project_id, const char *user_id,
                  struct err *err)
{
	sqlite3_stmt *st;
	enum rc rc = acc_query(&a->wr, Q_OTHER_OWNER, &st, err);

	if (rc != RC_OK)
		return rc;
	acc_bind(st, ":project", project_id);
	acc_bind(st, ":user", user_id);
	rc = acc_row(st, err);
	if (rc == RC_NOT_FOUND)
		return err_set(err, RC_LAST_OWNER,
		    "a project must always have at least one owner");
	db_reset(st);
	return rc;
}

/* Who is no longer an owner reads no more by the share links that he made; needs
 * acc_begin(). */
static enum rc
revoke_links(struct accounts *a, const char *project_id, const char *user_id, struct err *err)
{
	sqlite3_stmt *st;
	enum rc rc = acc_query(&a->wr, Q_TOKEN_REVOKE_LINKS, &st, err);

	if (rc != RC_OK)
		return rc;
	acc_bind(st, ":project", project_id);
	acc_bind(st, ":user", user_id);
	db_bind_int(st, ":now", acc_now());
	rc = db_run(st, err);
	if (rc == RC_OK && sqlite3_changes(a->wr.db) > 0)
		rc = acc_audit(a, "link.revoke", project_id, user_id, "all that he made", err);
	return rc;
}

/* Give a member another role, ROLE_NONE: remove him; needs acc_begin(). */
static enum rc
set_role(struct accounts *a, const char *project_id, const char *user_id,
         enum role role, struct err *err)
{
	char detail[40];
	struct member m;
	sqlite3_stmt *st;
	enum rc rc = acc_find_member(&a->wr, project_id, user_id, &m, err);

	if (rc == RC_OK && m.role == ROLE_OWNER && role != ROLE_OWNER)
		rc = check_other_owner(a, project_id, user_id, err);
	if (rc == RC_OK)
		rc = acc_query(&a->wr, role == ROLE_NONE ? Q_MEMBER_REMOVE : Q_MEMBER_CHANGE,
		    &st, err);
	if (rc != RC_OK)
		return rc;
	acc_bind(st, ":project", project_id);
	acc_bind(st, ":user", user_id);
	if (role != ROLE_NONE)
		db_bind_int(st, ":role", role);
	rc = db_run(st, err);
	snprintf(detail, sizeof(detail), role == ROLE_NONE ? "%s" : "%s to %s", role_name(m.role),
	         role_name(role));
	if (rc == RC_OK)
		rc = acc_audit(a, role == ROLE_NONE ? "member.remove" : "member.change", project_id,
		    user_id, detail, err);
	if (rc == RC_OK && role != ROLE_OWNER)
		rc = revoke_links(a, project_id, user_id, err);
	return rc;
}

enum rc
member_change(struct accounts *a, const char *project_id, const char *user_id,
              enum role role, struct err *err)
{
	enum rc rc;

	assert(role != ROLE_NONE);
	rc = acc_begin(a, err);
	return rc != RC_OK ? rc : acc_finish(a, set_role(a, project_id, user_id, role, err),
	    err);
}

enum rc
member_remove(struct accounts *a, const char *project_id, const char *user_id,
              struct err *err)
{
	enum rc rc = acc_begin(a, err);

	return rc != RC_OK ? rc : acc_finish(a, set_role(a, project_id, user_id, ROLE_NONE,
	    err), err);
}

enum rc
member_list(struct accounts *a, const char *project_id, member_visit *visit,
            void *ctx, struct err *err)
{
	struct member m;
	sqlite3_stmt *st;
	bool row = true;
	enum rc rc = acc_query(&a->rd, Q_MEMBER_LIST, &st, err);

	if (rc != RC_OK)
		return rc;
	acc_bind(st, ":project", project_id);
	while ((rc = db_step(st, &row, err)) == RC_OK && row) {
		read_member(st, &m);
		if ((rc = visit(ctx, &m)) != RC_OK)
			break;
	}
	db_reset(st);
	return rc;
}
