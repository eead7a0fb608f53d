/* server.db: who was asked to join a project, see accounts.h. */
#include "store/accounts_int.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

const char *
invitation_status_name(enum invitation_status s)
{
	static const char *const names[] = {
		[INVITATION_PENDING] = "pending", [INVITATION_ACCEPTED] = "accepted",
		[INVITATION_DECLINED] = "declined", [INVITATION_EXPIRED] = "expired",
	};

	return s >= INVITATION_PENDING && s <= INVITATION_EXPIRED ? names[s] : "unknown";
}

static void
read_invitation(sqlite3_stmt *st, struct invitation *out)
{
	*out = (struct invitation){ 0 };
	acc_column(st, 0, out->id, sizeof(out->id));
	acc_column(st, 1, out->project_id, sizeof(out->project_id));
	acc_column(st, 2, out->email, sizeof(out->email));
	out->role = (enum role)sqlite3_column_int(st, 3);
	acc_column(st, 4, out->invited_by, sizeof(out->invited_by));
	out->status = (enum invitation_status)sqlite3_column_int(st, 5);
	out->created_at = sqlite3_column_int64(st, 6);
	out->expires_at = sqlite3_column_int64(st, 7);
	out->accepted_at = sqlite3_column_int64(st, 8);
}

/* An invitation to a live project; needs acc_begin(). */
static enum rc
find_invitation(struct accounts *a, const char *id, struct invitation *out, struct err *err)
{
	sqlite3_stmt *st;
	enum rc rc = acc_query(&a->wr, Q_INVITATION_GET, &st, err);

	*out = (struct invitation){ 0 };
	if (rc != RC_OK)
		return rc;
	acc_bind(st, ":id", id);
	rc = acc_row(st, err);
	if (rc == RC_NOT_FOUND)
		return err_set(err, rc, "invitation not found");
	if (rc != RC_OK)
		return rc;
	read_invitation(st, out);
	db_reset(st);
	return RC_OK;
}

/* ASCII letters in lower case, as the Go server stores an address. */
static void
lower(struct span email, char out[ACCOUNT_TEXT])
{
	size_t n = email.len < ACCOUNT_TEXT ? email.len : ACCOUNT_TEXT - 1;

	for (size_t i = 0; i < n; i++)
		out[i] = email.p[i] >= 'A' && email.p[i] <= 'Z' ? (char)(email.p[i] - 'A' + 'a')
		                                                : email.p[i];
	out[n] = '\0';
}

/* An owner floods nobody; needs acc_begin(). */
static enum rc
check_waiting(struct accounts *a, const char *project_id, struct span email, struct err *err)
{
	sqlite3_stmt *st;
	int64_t n;
	enum rc rc = acc_query(&a->wr, Q_INVITATION_WAITING, &st, err);

	if (rc != RC_OK)
		return rc;
	acc_bind(st, ":project", project_id);
	db_bind_text(st, ":email", email);
	if ((rc = acc_row(st, err)) != RC_OK)
		return rc;
	n = sqlite3_column_int64(st, 0);
	db_reset(st);
	return n < INVITATIONS_WAITING ? RC_OK : err_set(err, RC_CONFLICT, "%d invitations to this "
	    "project wait for that address already", INVITATIONS_WAITING);
}

/* Needs acc_begin(). */
static enum rc
insert_invitation(struct accounts *a, const char *project_id, struct span email,
                  enum role role, const char *invited_by, struct invitation *out,
                  struct err *err)
{
	char id[ID_MAX], address[ACCOUNT_TEXT], detail[ACCOUNT_TEXT + 16];
	struct project p;
	sqlite3_stmt *st;
	int64_t now = acc_now();
	enum rc rc = acc_find_live_project(&a->wr, project_id, &p, err);

	if (rc == RC_OK)
		rc = check_waiting(a, project_id, email, err);
	if (rc == RC_OK && (rc = id_new("inv_", 8, id)) != RC_OK)
		err_set(err, rc, "the system gives no random bytes");
	if (rc == RC_OK)
		rc = acc_query(&a->wr, Q_INVITATION_ADD, &st, err);
	if (rc != RC_OK)
		return rc;
	lower(email, address);
	acc_bind(st, ":id", id);
	acc_bind(st, ":project", project_id);
	acc_bind(st, ":email", address);
	db_bind_int(st, ":role", role);
	acc_bind(st, ":by", invited_by);
	db_bind_int(st, ":now", now);
	db_bind_int(st, ":expires", now + INVITATION_SECONDS);
	rc = db_run(st, err);
	if (rc == RC_OK) {
		snprintf(detail, sizeof(detail), "%s for %s", role_name(role), address);
		rc = acc_audit(a, "invitation.create", project_id, id, detail, err);
	}
	return rc == RC_OK ? find_invitation(a, id, out, err) : rc;
}

enum rc
invitation_add(struct accounts *a, const char *project_id, struct span email,
               enum role role, const char *invited_by, struct invitation *out,
               struct err *err)
{
	enum rc rc;

	assert(role != ROLE_NONE);
	*out = (struct invitation){ 0 };
	if (email.len == 0)
		return err_set(err, RC_INVALID, "email is required");
	rc = acc_check_text("email", email, ACCOUNT_TEXT - 1, err);
	if (rc == RC_OK)
		rc = acc_begin(a, err);
	if (rc == RC_OK)
		rc = acc_finish(a, insert_invitation(a, project_id, email, role, invited_by, out,
		    err), err);
	return rc;
}

/* Show what a query finds that is bound already. */
static enum rc
show_all(sqlite3_stmt *st, invitation_visit *visit, void *ctx, struct err *err)
{
	struct invitation i;
	bool row = true;
	enum rc rc;

	while ((rc = db_step(st, &row, err)) == RC_OK && row) {
		read_invitation(st, &i);
		if ((rc = visit(ctx, &i)) != RC_OK)
			break;
	}
	db_reset(st);
	return rc;
}

enum rc
invitation_list(struct accounts *a, const char *project_id, invitation_visit *visit,
                void *ctx, struct err *err)
{
	sqlite3_stmt *st;
	enum rc rc = acc_query(&a->rd, Q_INVITATION_LIST, &st, err);

	if (rc != RC_OK)
		return rc;
	acc_bind(st, ":project", project_id);
	return show_all(st, visit, ctx, err);
}

enum rc
invitation_list_of(struct accounts *a, struct span email, invitation_visit *visit,
                   void *ctx, struct err *err)
{
	sqlite3_stmt *st;
	enum rc rc = acc_query(&a->rd, Q_INVITATION_LIST_OF, &st, err);

	if (rc != RC_OK)
		return rc;
	db_bind_text(st, ":email", email);
	db_bind_int(st, ":now", acc_now());
	return show_all(st, visit, ctx, err);
}

/* Needs acc_begin(). */
static enum rc
erase_invitation(struct accounts *a, const char *project_id, const char *id, struct err *err)
{
	struct invitation i;
	sqlite3_stmt *st;
	enum rc rc = find_invitation(a, id, &i, err);

	if (rc == RC_OK && strcmp(i.project_id, project_id) != 0)
		rc = err_set(err, RC_NOT_FOUND, "invitation not found");
	if (rc == RC_OK)
		rc = acc_query(&a->wr, Q_INVITATION_REMOVE, &st, err);
	if (rc != RC_OK)
		return rc;
	acc_bind(st, ":id", id);
	rc = db_run(st, err);
	return rc == RC_OK ? acc_audit(a, "invitation.remove", project_id, id, i.email, err) : rc;
}

enum rc
invitation_remove(struct accounts *a, const char *project_id, const char *id,
                  struct err *err)
{
	enum rc rc = acc_begin(a, err);

	return rc != RC_OK ? rc : acc_finish(a, erase_invitation(a, project_id, id, err), err);
}

/* Needs acc_begin(). */
static enum rc
set_status(struct accounts *a, const struct invitation *i, enum invitation_status status,
           struct err *err)
{
	static const char *const actions[] = {
		[INVITATION_ACCEPTED] = "invitation.accept", [INVITATION_DECLINED] =
		"invitation.decline", [INVITATION_EXPIRED] = "invitation.expire",
	};
	sqlite3_stmt *st;
	enum rc rc = acc_query(&a->wr, Q_INVITATION_STATUS, &st, err);

	if (rc != RC_OK)
		return rc;
	acc_bind(st, ":id", i->id);
	db_bind_int(st, ":status", status);
	db_bind_int(st, ":accepted", status == INVITATION_ACCEPTED ? acc_now() : 0);
	rc = db_run(st, err);
	return rc == RC_OK ? acc_audit(a, actions[status], i->project_id, i->id, "", err) : rc;
}

/* Make the user a member, unless he is one; needs acc_begin(). */
static enum rc
join(struct accounts *a, const struct invitation *i, const char *user_id, struct member *out,
     struct err *err)
{
	enum rc rc = acc_find_member(&a->wr, i->project_id, user_id, out, err);

	if (rc == RC_NOT_FOUND) {
		rc = acc_insert_member(a, i->project_id, user_id, i->role, i->invited_by, err);
		if (rc == RC_OK)
			rc = acc_find_member(&a->wr, i->project_id, user_id, out, err);
	}
	out->email[0] = '\0';
	return rc;
}

/* Who invited must still be one who may: so a removed owner can't let himself in again. */
static enum rc
check_inviter(struct accounts *a, const struct invitation *i, struct err *err)
{
	struct member m;
	enum rc rc;

	if (i->invited_by[0] == '\0') /* the operator */
		return RC_OK;
	rc = acc_find_member(&a->wr, i->project_id, i->invited_by, &m, err);
	if (rc == RC_NOT_FOUND || (rc == RC_OK && m.role != ROLE_OWNER))
		rc = err_set(err, RC_CONFLICT, "who invited you is no longer an owner of the project");
	return rc;
}

/* Needs acc_begin(). *over: it has expired, which is noted. */
static enum rc
answer(struct accounts *a, const char *id, const char *user_id, bool accept,
       struct member *out, bool *over, struct err *err)
{
	struct invitation i;
	struct user u;
	enum rc rc = acc_find_user(&a->wr, Q_USER_BY_ID, ":id", span_of(user_id), &u, err);

	*over = false;
	if (rc == RC_OK)
		rc = find_invitation(a, id, &i, err);
	if (rc == RC_OK && strcasecmp(i.email, u.email) != 0)
		rc = err_set(err, RC_NOT_FOUND, "invitation not found");
	if (rc == RC_OK && i.status != INVITATION_PENDING)
		rc = err_set(err, RC_CONFLICT, "invitation is not pending");
	if (rc != RC_OK)
		return rc;
	*over = i.expires_at <= acc_now();
	if (*over)
		return set_status(a, &i, INVITATION_EXPIRED, err);
	if (accept && (rc = check_inviter(a, &i, err)) == RC_OK)
		rc = join(a, &i, user_id, out, err);
	if (rc == RC_OK)
		rc = set_status(a, &i, accept ? INVITATION_ACCEPTED : INVITATION_DECLINED, err);
	return rc;
}

enum rc
invitation_answer(struct accounts *a, const char *id, const char *user_id, bool accept,
                  struct member *out, struct err *err)
{
	bool over = false;
	enum rc rc = acc_begin(a, err);

	if (rc == RC_OK)
		rc = acc_finish(a, answer(a, id, user_id, accept, out, &over, err), err);
	if (rc == RC_OK && over)
		rc = err_set(err, RC_EXPIRED, "invitation has expired");
	return rc;
}
