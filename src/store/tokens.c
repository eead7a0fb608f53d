/* server.db: what clients are let in by, see accounts.h. */
#include "store/accounts_int.h"

#include <stdio.h>

/* How often the use of a token is noted, in seconds. */
#define USED_EVERY 3600

void
acc_bind_token(sqlite3_stmt *st, const struct token_row *t)
{
	acc_bind(st, ":id", t->id);
	acc_bind(st, ":user", t->user_id);
	acc_bind(st, ":name", t->name);
	acc_bind(st, ":scope", t->scope);
	acc_bind(st, ":projects", t->projects);
	db_bind_int(st, ":created_at", t->created_at);
	db_bind_int(st, ":expires_at", t->expires_at);
}

enum rc
acc_insert_token(struct accounts *a, const struct token_row *t, struct err *err)
{
	char detail[DETAIL_MAX];
	struct project p;
	struct user u;
	sqlite3_stmt *st;
	enum rc rc = RC_OK;

	if (t->user_id[0] != '\0')
		rc = acc_find_user(&a->wr, Q_USER_BY_ID, ":id", span_of(t->user_id), &u, err);
	if (rc == RC_OK && t->link_id[0] != '\0')
		rc = acc_find_live_project(&a->wr, t->link_id, &p, err);
	if (rc == RC_OK && t->made_by[0] != '\0')
		rc = acc_find_user(&a->wr, Q_USER_BY_ID, ":id", span_of(t->made_by), &u, err);
	if (rc == RC_OK)
		rc = acc_query(&a->wr, Q_TOKEN_ADD, &st, err);
	if (rc != RC_OK)
		return rc;
	acc_bind_token(st, t);
	acc_bind(st, ":link", t->link_id);
	acc_bind(st, ":made_by", t->made_by);
	rc = db_run(st, err);
	snprintf(detail, sizeof(detail), "%s%s%s", t->scope, t->user_id[0] != '\0' ? " of " : "",
	         t->user_id);
	if (rc == RC_OK)
		rc = acc_audit(a, t->link_id[0] != '\0' ? "link.create" : "token.create", t->link_id,
		    t->id, detail, err);
	return rc;
}

enum rc
token_add(struct accounts *a, const struct token_row *t, struct err *err)
{
	enum rc rc = acc_begin(a, err);

	return rc != RC_OK ? rc : acc_finish(a, acc_insert_token(a, t, err), err);
}

/* Stamp a token with now by one of the two updates; needs acc_begin(). */
static enum rc
stamp_token(struct accounts *a, enum query q, const char *id, struct err *err)
{
	sqlite3_stmt *st;
	enum rc rc = acc_query(&a->wr, q, &st, err);

	if (rc != RC_OK)
		return rc;
	acc_bind(st, ":id", id);
	db_bind_int(st, ":now", acc_now());
	return db_run(st, err);
}

static void
read_token(sqlite3_stmt *st, struct token_row *out)
{
	*out = (struct token_row){ 0 };
	acc_column(st, 0, out->id, sizeof(out->id));
	acc_column(st, 1, out->user_id, sizeof(out->user_id));
	acc_column(st, 2, out->name, sizeof(out->name));
	acc_column(st, 3, out->scope, sizeof(out->scope));
	acc_column(st, 4, out->projects, sizeof(out->projects));
	out->created_at = sqlite3_column_int64(st, 5);
	out->expires_at = sqlite3_column_int64(st, 6);
	out->last_used_at = sqlite3_column_int64(st, 7);
	out->revoked_at = sqlite3_column_int64(st, 8);
	acc_column(st, 9, out->link_id, sizeof(out->link_id));
	acc_column(st, 10, out->made_by, sizeof(out->made_by));
}

static enum rc
find_token(struct conn *c, const char *id, struct token_row *out, struct err *err)
{
	sqlite3_stmt *st;
	enum rc rc = acc_query(c, Q_TOKEN_GET, &st, err);

	*out = (struct token_row){ 0 };
	if (rc != RC_OK)
		return rc;
	acc_bind(st, ":id", id);
	rc = acc_row(st, err);
	if (rc == RC_NOT_FOUND)
		return err_set(err, rc, "token not found");
	if (rc != RC_OK)
		return rc;
	read_token(st, out);
	db_reset(st);
	return RC_OK;
}

enum rc
token_by_key(struct accounts *a, const unsigned char key[HASH_LEN], struct token_row *out,
             struct err *err)
{
	sqlite3_stmt *st;
	enum rc rc = acc_query(&a->rd, Q_TOKEN_BY_KEY, &st, err);

	*out = (struct token_row){ 0 };
	if (rc != RC_OK)
		return rc;
	db_bind_blob(st, ":key", key, HASH_LEN);
	if ((rc = acc_row(st, err)) != RC_OK)
		return rc == RC_NOT_FOUND ? err_set(err, rc, "token not found") : rc;
	read_token(st, out);
	db_reset(st);
	return RC_OK;
}

enum rc
token_get(struct accounts *a, const char *id, struct token_row *out, struct err *err)
{
	return find_token(&a->rd, id, out, err);
}

/* Revoke a token that is not; needs acc_begin(). */
static enum rc
mark_revoked(struct accounts *a, const char *id, struct err *err)
{
	struct token_row t;
	enum rc rc = find_token(&a->wr, id, &t, err);

	if (rc == RC_OK && t.revoked_at != 0)
		rc = err_set(err, RC_CONFLICT, "the token is revoked already");
	if (rc == RC_OK)
		rc = stamp_token(a, Q_TOKEN_REVOKE, id, err);
	if (rc == RC_OK)
		rc = acc_audit(a, t.link_id[0] != '\0' ? "link.revoke" : "token.revoke", t.link_id,
		    id, t.user_id, err);
	return rc;
}

enum rc
token_revoke(struct accounts *a, const char *id, struct err *err)
{
	enum rc rc = acc_begin(a, err);

	return rc != RC_OK ? rc : acc_finish(a, mark_revoked(a, id, err), err);
}

/* Show the tokens that a query finds, by a project or a user; NULL: by nothing. */
static enum rc
list_tokens(struct accounts *a, enum query q, const char *name, const char *id,
            token_visit *visit, void *ctx, struct err *err)
{
	struct token_row t;
	sqlite3_stmt *st;
	bool row = true;
	enum rc rc = acc_query(&a->rd, q, &st, err);

	if (rc != RC_OK)
		return rc;
	if (name != NULL)
		acc_bind(st, name, id);
	while ((rc = db_step(st, &row, err)) == RC_OK && row) {
		read_token(st, &t);
		if ((rc = visit(ctx, &t)) != RC_OK)
			break;
	}
	db_reset(st);
	return rc;
}

enum rc
token_list(struct accounts *a, const char *user_id, token_visit *visit, void *ctx,
           struct err *err)
{
	if (user_id == NULL)
		return list_tokens(a, Q_TOKEN_LIST, NULL, NULL, visit, ctx, err);
	return list_tokens(a, Q_TOKEN_LIST_OF, ":user", user_id, visit, ctx, err);
}

enum rc
token_links(struct accounts *a, const char *project_id, token_visit *visit, void *ctx,
            struct err *err)
{
	return list_tokens(a, Q_TOKEN_LINKS, ":project", project_id, visit, ctx, err);
}

bool
token_used(struct accounts *a, const char *id, int64_t last_used_at)
{
	int64_t since = acc_now() - last_used_at;

	if ((since >= 0 && since < USED_EVERY) || acc_begin_until(a, 0, NULL) != RC_OK)
		return false;
	return acc_finish(a, stamp_token(a, Q_TOKEN_USED, id, NULL), NULL) == RC_OK;
}
