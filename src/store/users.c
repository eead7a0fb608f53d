/* server.db: who has an account, see accounts.h. */
#include "store/accounts_int.h"

static void
read_user(sqlite3_stmt *st, struct user *out)
{
	*out = (struct user){ 0 };
	acc_column(st, 0, out->id, sizeof(out->id));
	acc_column(st, 1, out->email, sizeof(out->email));
	out->created_at = sqlite3_column_int64(st, 2);
}

enum rc
acc_find_user(struct conn *c, enum query q, const char *name, struct span value,
          struct user *out, struct err *err)
{
	sqlite3_stmt *st;
	enum rc rc = acc_query(c, q, &st, err);

	*out = (struct user){ 0 };
	if (rc != RC_OK)
		return rc;
	db_bind_text(st, name, value);
	rc = acc_row(st, err);
	if (rc == RC_NOT_FOUND)
		return err_set(err, rc, "user not found");
	if (rc != RC_OK)
		return rc;
	read_user(st, out);
	db_reset(st);
	return RC_OK;
}

enum rc
user_by_email(struct accounts *a, struct span email, struct user *out, struct err *err)
{
	return acc_find_user(&a->rd, Q_USER_BY_EMAIL, ":email", email, out, err);
}

enum rc
user_by_id(struct accounts *a, const char *id, struct user *out, struct err *err)
{
	return acc_find_user(&a->rd, Q_USER_BY_ID, ":id", span_of(id), out, err);
}

enum rc
acc_insert_user(struct accounts *a, struct span email, struct user *out, struct err *err)
{
	sqlite3_stmt *st;
	char id[ID_MAX];
	enum rc rc = acc_find_user(&a->wr, Q_USER_BY_EMAIL, ":email", email, out, err);

	if (rc == RC_OK)
		return err_set(err, RC_CONFLICT, "there is a user with that address already");
	if (rc != RC_NOT_FOUND)
		return rc;
	rc = id_new("u_", 8, id);
	if (rc == RC_OK)
		rc = acc_query(&a->wr, Q_USER_ADD, &st, err);
	if (rc != RC_OK)
		return rc;
	acc_bind(st, ":id", id);
	db_bind_text(st, ":email", email);
	db_bind_int(st, ":now", acc_now());
	rc = db_run(st, err);
	if (rc == RC_OK)
		rc = acc_find_user(&a->wr, Q_USER_BY_ID, ":id", span_of(id), out, err);
	return rc == RC_OK ? acc_audit(a, "user.add", "", id, out->email, err) : rc;
}

enum rc
user_add(struct accounts *a, struct span email, struct user *out, struct err *err)
{
	enum rc rc;

	*out = (struct user){ 0 };
	if (email.len == 0)
		return err_set(err, RC_INVALID, "email is required");
	for (size_t i = 0; i < email.len; i++)
		if ((unsigned char)email.p[i] < ' ' || email.p[i] == 0x7f)
			return err_set(err, RC_INVALID, "email holds a control character");
	rc = acc_check_text("email", email, ACCOUNT_TEXT - 1, err);
	if (rc == RC_OK)
		rc = acc_begin(a, err);
	if (rc == RC_OK)
		rc = acc_finish(a, acc_insert_user(a, email, out, err), err);
	if (rc != RC_OK)
		*out = (struct user){ 0 };
	return rc;
}

/* Whether no live project would be without an owner; needs acc_begin(). */
static enum rc
check_sole_owner(struct accounts *a, const char *id, struct err *err)
{
	char project[ID_MAX];
	sqlite3_stmt *st;
	enum rc rc = acc_query(&a->wr, Q_USER_SOLE_OWNER, &st, err);

	if (rc != RC_OK)
		return rc;
	acc_bind(st, ":id", id);
	rc = acc_row(st, err);
	if (rc == RC_NOT_FOUND)
		return RC_OK;
	if (rc != RC_OK)
		return rc;
	acc_column(st, 0, project, sizeof(project));
	db_reset(st);
	return err_set(err, RC_LAST_OWNER, "project %s would have no owner", project);
}

/* Remove a user and what refers to him; needs acc_begin(). */
static enum rc
erase_user(struct accounts *a, const char *id, struct err *err)
{
	static const enum query steps[] = {
		Q_USER_FORGET_TOKENS, Q_USER_FORGET_LINKS, Q_USER_FORGET_INVITED,
		Q_USER_FORGET_MEMBER, Q_USER_FORGET_LOGINS, Q_USER_REMOVE,
	};
	struct user u;
	sqlite3_stmt *st;
	enum rc rc = acc_find_user(&a->wr, Q_USER_BY_ID, ":id", span_of(id), &u, err);

	if (rc == RC_OK)
		rc = check_sole_owner(a, id, err);
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]) && rc == RC_OK; i++) {
		rc = acc_query(&a->wr, steps[i], &st, err);
		if (rc != RC_OK)
			break;
		acc_bind(st, ":id", id);
		rc = db_run(st, err);
	}
	return rc == RC_OK ? acc_audit(a, "user.remove", "", id, u.email, err) : rc;
}

enum rc
user_remove(struct accounts *a, const char *id, struct err *err)
{
	enum rc rc = acc_begin(a, err);

	return rc != RC_OK ? rc : acc_finish(a, erase_user(a, id, err), err);
}

enum rc
user_list(struct accounts *a, user_visit *visit, void *ctx, struct err *err)
{
	struct user u;
	sqlite3_stmt *st;
	bool row = true;
	enum rc rc = acc_query(&a->rd, Q_USER_LIST, &st, err);

	if (rc != RC_OK)
		return rc;
	while ((rc = db_step(st, &row, err)) == RC_OK && row) {
		read_user(st, &u);
		if ((rc = visit(ctx, &u)) != RC_OK)
			break;
	}
	db_reset(st);
	return rc;
}
