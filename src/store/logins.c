/* server.db: logins in progress, see accounts.h. */
#include "store/accounts_int.h"

#include <string.h>

static void
bind_blob(sqlite3_stmt *st, const char *name, const unsigned char p[32])
{
	sqlite3_bind_blob(st, sqlite3_bind_parameter_index(st, name), p, 32, SQLITE_TRANSIENT);
}

static void
read_login(sqlite3_stmt *st, struct login *out)
{
	struct span secret = db_span(st, 2);

	*out = (struct login){ .n = sqlite3_column_int64(st, 0) };
	acc_column(st, 1, out->email, sizeof(out->email));
	if (secret.len == sizeof(out->secret))
		memcpy(out->secret, secret.p, secret.len);
	acc_column(st, 3, out->challenge, sizeof(out->challenge));
	acc_column(st, 4, out->device, sizeof(out->device));
	acc_column(st, 5, out->address, sizeof(out->address));
	out->created_at = sqlite3_column_int64(st, 6);
	out->expires_at = sqlite3_column_int64(st, 7);
	out->verified_at = sqlite3_column_int64(st, 8);
	out->issued_at = sqlite3_column_int64(st, 9);
}

/* The login that a bound statement finds. */
static enum rc
take_login(sqlite3_stmt *st, struct login *out, struct err *err)
{
	enum rc rc = acc_row(st, err);

	if (rc == RC_OK) {
		read_login(st, out);
		db_reset(st);
		/* Cleaned up or not. */
		if (out->expires_at <= acc_now() - LOGIN_KEPT_SECONDS)
			rc = RC_NOT_FOUND;
	}
	if (rc != RC_OK)
		*out = (struct login){ 0 };
	return rc != RC_NOT_FOUND ? rc : err_set(err, rc, "there is no such login");
}

enum rc
login_by_code(struct accounts *a, const unsigned char code[32], struct login *out,
              struct err *err)
{
	sqlite3_stmt *st;
	enum rc rc = acc_query(&a->rd, Q_LOGIN_BY_CODE, &st, err);

	if (rc != RC_OK)
		return rc;
	bind_blob(st, ":code", code);
	return take_login(st, out, err);
}

enum rc
login_by_selector(struct accounts *a, const char *selector, struct login *out,
                  struct err *err)
{
	sqlite3_stmt *st;
	enum rc rc = acc_query(&a->rd, Q_LOGIN_BY_SELECTOR, &st, err);

	if (rc != RC_OK)
		return rc;
	acc_bind(st, ":selector", selector);
	return take_login(st, out, err);
}

enum rc
login_by_user_code(struct accounts *a, const char *user_code, struct login *out,
                   struct err *err)
{
	sqlite3_stmt *st;
	enum rc rc = acc_query(&a->rd, Q_LOGIN_BY_USER_CODE, &st, err);

	if (rc != RC_OK)
		return rc;
	acc_bind(st, ":user_code", user_code);
	return take_login(st, out, err);
}

/* Whether a link was mailed to the address a moment ago; needs acc_begin(). (One that was
 * mailed in the future was so before the clock was set back.) */
static enum rc
check_pace(struct accounts *a, const char *email, struct err *err)
{
	int64_t now = acc_now();
	sqlite3_stmt *st;
	enum rc rc = acc_query(&a->wr, Q_LOGIN_SINCE, &st, err);

	if (rc != RC_OK)
		return rc;
	acc_bind(st, ":email", email);
	db_bind_int(st, ":now", now);
	db_bind_int(st, ":since", now - LOGIN_MAIL_SECONDS);
	rc = acc_row(st, err);
	if (rc == RC_NOT_FOUND)
		return RC_OK;
	db_reset(st);
	return rc != RC_OK ? rc : err_set(err, RC_CROWDED, "a link was mailed a moment ago");
}

/* Forget what is long over; needs acc_begin(). */
static enum rc
clean(struct accounts *a, struct err *err)
{
	sqlite3_stmt *st;
	enum rc rc = acc_query(&a->wr, Q_LOGIN_CLEAN, &st, err);

	if (rc != RC_OK)
		return rc;
	db_bind_int(st, ":before", acc_now() - LOGIN_KEPT_SECONDS);
	return db_run(st, err);
}

/* Needs acc_begin(). */
static enum rc
insert_login(struct accounts *a, const struct login_keys *k, const struct login *l,
             struct err *err)
{
	int64_t now = acc_now();
	sqlite3_stmt *st;
	enum rc rc = clean(a, err);

	if (rc == RC_OK && k->selector != NULL)
		rc = check_pace(a, l->email, err);
	if (rc == RC_OK)
		rc = acc_query(&a->wr, Q_LOGIN_ADD, &st, err);
	if (rc != RC_OK)
		return rc;
	bind_blob(st, ":code", k->code);
	acc_bind(st, ":email", l->email);
	if (k->selector != NULL) {
		acc_bind(st, ":selector", k->selector);
		bind_blob(st, ":secret", k->secret);
		acc_bind(st, ":challenge", l->challenge);
	}
	if (k->user_code != NULL)
		acc_bind(st, ":user_code", k->user_code);
	acc_bind(st, ":device", l->device);
	acc_bind(st, ":address", l->address);
	db_bind_int(st, ":now", now);
	db_bind_int(st, ":expires", now + LOGIN_SECONDS);
	rc = db_run(st, err);
	if (rc != RC_OK && sqlite3_extended_errcode(a->wr.db) == SQLITE_CONSTRAINT_UNIQUE)
		rc = err_set(err, RC_CONFLICT, "that code is taken");
	return rc;
}

enum rc
login_add(struct accounts *a, const struct login_keys *k, const struct login *l,
          struct err *err)
{
	enum rc rc = acc_begin(a, err);

	return rc != RC_OK ? rc : acc_finish(a, insert_login(a, k, l, err), err);
}

void
login_forget(struct accounts *a, const unsigned char code[32])
{
	sqlite3_stmt *st;
	enum rc rc = acc_begin(a, NULL);

	if (rc != RC_OK)
		return;
	if ((rc = acc_query(&a->wr, Q_LOGIN_REMOVE, &st, NULL)) == RC_OK) {
		bind_blob(st, ":code", code);
		rc = db_run(st, NULL);
	}
	acc_finish(a, rc, NULL);
}

/* Stamp a login by one of the two updates; needs acc_begin(). RC_CONFLICT: it is not in
 * the state for that. */
static enum rc
stamp(struct accounts *a, enum query q, const struct login *l, const char *why,
      struct err *err)
{
	sqlite3_stmt *st;
	enum rc rc = acc_query(&a->wr, q, &st, err);

	if (rc != RC_OK)
		return rc;
	db_bind_int(st, ":n", l->n);
	db_bind_int(st, ":now", acc_now());
	rc = db_run(st, err);
	if (rc == RC_OK && sqlite3_changes(a->wr.db) == 0)
		rc = err_set(err, RC_CONFLICT, "%s", why);
	return rc;
}

/* Where no token says who does it, it is who the login is for. */
static void
act_as(struct accounts *a, const char *user_id)
{
	if (a->actor.user_id[0] == '\0')
		memcpy(a->actor.user_id, user_id, strlen(user_id) + 1);
}

/* Needs acc_begin(). */
static enum rc
verify(struct accounts *a, const struct login *l, bool sign_up, struct err *err)
{
	struct user u;
	enum rc rc = stamp(a, Q_LOGIN_VERIFIED, l, "the login was approved before, or is over", err);

	if (rc == RC_OK)
		rc = acc_find_user(&a->wr, Q_USER_BY_EMAIL, ":email", span_of(l->email), &u, err);
	if (rc == RC_NOT_FOUND && sign_up)
		rc = acc_insert_user(a, span_of(l->email), &u, err);
	if (rc != RC_OK)
		return rc;
	act_as(a, u.id);
	return acc_audit(a, "login.approve", "", u.id, l->device, err);
}

enum rc
login_verify(struct accounts *a, const struct login *l, bool sign_up, struct err *err)
{
	enum rc rc = acc_begin(a, err);

	return rc != RC_OK ? rc : acc_finish(a, verify(a, l, sign_up, err), err);
}

/* Needs acc_begin(). */
static enum rc
issue(struct accounts *a, const struct login *l, const struct token_row *t, struct err *err)
{
	enum rc rc = stamp(a, Q_LOGIN_ISSUED, l, "the login has its key, or is not approved", err);

	if (rc == RC_OK) {
		act_as(a, t->user_id);
		rc = acc_insert_token(a, t, err);
	}
	if (rc == RC_OK)
		rc = acc_audit(a, "login", "", t->user_id, l->device, err);
	return rc;
}

enum rc
login_issue(struct accounts *a, const struct login *l, const struct token_row *t,
            struct err *err)
{
	enum rc rc = acc_begin(a, err);

	return rc != RC_OK ? rc : acc_finish(a, issue(a, l, t, err), err);
}

int64_t
login_pace(struct accounts *a)
{
	sqlite3_stmt *st;
	int64_t ms = 0;

	if (acc_query(&a->rd, Q_META, &st, NULL) != RC_OK)
		return 0;
	acc_bind(st, ":key", "login_pace_ms");
	if (acc_row(st, NULL) == RC_OK) {
		ms = sqlite3_column_int64(st, 0);
		db_reset(st);
	}
	return ms < LOGIN_PACE_MAX ? ms : LOGIN_PACE_MAX;
}

void
login_note_pace(struct accounts *a, int64_t ms)
{
	int64_t known = login_pace(a);
	sqlite3_stmt *st;
	enum rc rc;

	if ((ms < LOGIN_PACE_MIN && known == 0) || (ms > known * 4 / 5 && ms < known * 5 / 4) ||
	    acc_begin(a, NULL) != RC_OK)
		return;
	rc = acc_query(&a->wr, Q_META_SET, &st, NULL);
	if (rc == RC_OK) {
		acc_bind(st, ":key", "login_pace_ms");
		db_bind_int(st, ":value", ms < LOGIN_PACE_MIN ? 0 : ms);
		rc = db_run(st, NULL);
	}
	acc_finish(a, rc, NULL);
}
