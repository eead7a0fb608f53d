/* server.db: who did what, see accounts.h. */
#include "store/accounts_int.h"

void
accounts_act_for(struct accounts *a, const struct actor *by)
{
	a->actor = by != NULL ? *by : (struct actor){ 0 };
}

enum rc
acc_audit(struct accounts *a, const char *action, const char *project_id,
          const char *subject, const char *detail, struct err *err)
{
	sqlite3_stmt *st;
	enum rc rc = acc_query(&a->wr, Q_AUDIT_ADD, &st, err);

	if (rc != RC_OK)
		return rc;
	db_bind_int(st, ":now", acc_now());
	acc_bind(st, ":user", a->actor.user_id);
	acc_bind(st, ":token", a->actor.token_id);
	acc_bind(st, ":address", a->actor.address);
	acc_bind(st, ":action", action);
	acc_bind(st, ":project", project_id);
	acc_bind(st, ":subject", subject);
	acc_bind(st, ":detail", detail);
	return db_run(st, err);
}

enum rc
audit_note(struct accounts *a, const char *action, const char *project_id,
           const char *subject, const char *detail, struct err *err)
{
	enum rc rc = acc_begin(a, err);

	return rc != RC_OK ? rc : acc_finish(a, acc_audit(a, action, project_id, subject, detail,
	    err), err);
}

static void
read_line(sqlite3_stmt *st, struct deed_line *out)
{
	*out = (struct deed_line){ .n = sqlite3_column_int64(st, 0),
	                           .at = sqlite3_column_int64(st, 1) };
	acc_column(st, 2, out->by.user_id, sizeof(out->by.user_id));
	acc_column(st, 3, out->by.token_id, sizeof(out->by.token_id));
	acc_column(st, 4, out->by.address, sizeof(out->by.address));
	acc_column(st, 5, out->action, sizeof(out->action));
	acc_column(st, 6, out->project_id, sizeof(out->project_id));
	acc_column(st, 7, out->subject, sizeof(out->subject));
	acc_column(st, 8, out->detail, sizeof(out->detail));
}

enum rc
audit_list(struct accounts *a, int64_t since, const char *user_id, const char *project_id,
           audit_visit *visit, void *ctx, struct err *err)
{
	struct deed_line d;
	sqlite3_stmt *st;
	bool row = true;
	enum rc rc = acc_query(&a->rd, Q_AUDIT_LIST, &st, err);

	if (rc != RC_OK)
		return rc;
	db_bind_int(st, ":since", since);
	acc_bind(st, ":user", user_id);
	acc_bind(st, ":project", project_id);
	while ((rc = db_step(st, &row, err)) == RC_OK && row) {
		read_line(st, &d);
		if ((rc = visit(ctx, &d)) != RC_OK)
			break;
	}
	db_reset(st);
	return rc;
}

void
audit_clean(struct accounts *a, int64_t before)
{
	static const enum query steps[] = { Q_AUDIT_CLEAN, Q_TOKEN_CLEAN, Q_INVITATION_CLEAN };
	sqlite3_stmt *st;
	enum rc rc = acc_begin_until(a, 0, NULL);

	if (rc != RC_OK)
		return;
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]) && rc == RC_OK; i++) {
		rc = acc_query(&a->wr, steps[i], &st, NULL);
		if (rc != RC_OK)
			break;
		db_bind_int(st, ":before", before);
		rc = db_run(st, NULL);
	}
	acc_finish(a, rc, NULL);
}
