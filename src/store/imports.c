/* server.db: what comes from another server, see imports.h. */
#include "store/imports.h"

#include "store/accounts_int.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

enum rc
import_begin(struct accounts *a, struct err *err)
{
	return acc_begin(a, err);
}

enum rc
import_end(struct accounts *a, enum rc rc, struct err *err)
{
	return acc_finish(a, rc, err);
}

void
import_forget(struct accounts *a)
{
	acc_finish(a, RC_CONFLICT, NULL);
}

/* --- users and keys --- */

static enum rc
insert_user(struct accounts *a, const struct user *u, struct err *err)
{
	sqlite3_stmt *st;
	enum rc rc = acc_query(&a->wr, Q_IMPORT_USER, &st, err);

	if (rc != RC_OK)
		return rc;
	acc_bind(st, ":id", u->id);
	acc_bind(st, ":email", u->email);
	db_bind_int(st, ":created_at", u->created_at);
	rc = db_run(st, err);
	return rc == RC_OK ? acc_audit(a, "user.add", "", u->id, u->email, err) : rc;
}

enum rc
import_user(struct accounts *a, const struct user *u, bool *made, struct err *err)
{
	struct user there;
	enum rc rc = acc_find_user(&a->wr, Q_USER_BY_ID, ":id", span_of(u->id), &there, err);

	*made = false;
	if (rc == RC_OK)
		return strcasecmp(there.email, u->email) == 0 ? rc
		    : err_set(err, RC_CONFLICT, "the user %s is %s here and %s there", u->id,
		          there.email, u->email);
	if (rc == RC_NOT_FOUND)
		rc = acc_find_user(&a->wr, Q_USER_BY_EMAIL, ":email", span_of(u->email), &there, err);
	if (rc == RC_OK)
		return err_set(err, RC_CONFLICT, "there is a user %s here already (%s, there %s): "
		               "remove that one first (td-sync-admin user remove)", there.email,
		               there.id, u->id);
	*made = rc == RC_NOT_FOUND;
	return *made ? insert_user(a, u, err) : rc;
}

/* Whether the token that is there is of that key; RC_NOT_FOUND: there is none. */
static enum rc
same_key(struct accounts *a, const char *id, const unsigned char key[HASH_LEN], bool *same,
         struct err *err)
{
	sqlite3_stmt *st;
	struct span there;
	enum rc rc = acc_query(&a->wr, Q_TOKEN_KEY, &st, err);

	*same = false;
	if (rc != RC_OK)
		return rc;
	acc_bind(st, ":id", id);
	if ((rc = acc_row(st, err)) != RC_OK)
		return rc;
	there = db_span(st, 0);
	*same = there.len == HASH_LEN && memcmp(there.p, key, HASH_LEN) == 0;
	db_reset(st);
	return RC_OK;
}

static enum rc
insert_key(struct accounts *a, const struct token_row *t, const unsigned char key[HASH_LEN],
           struct err *err)
{
	char detail[DETAIL_MAX];
	struct user u;
	sqlite3_stmt *st;
	enum rc rc = acc_find_user(&a->wr, Q_USER_BY_ID, ":id", span_of(t->user_id), &u, err);

	if (rc == RC_OK)
		rc = acc_query(&a->wr, Q_IMPORT_KEY, &st, err);
	if (rc != RC_OK)
		return rc;
	acc_bind_token(st, t);
	db_bind_int(st, ":last_used_at", t->last_used_at);
	db_bind_blob(st, ":key", key, HASH_LEN);
	rc = db_run(st, err);
	snprintf(detail, sizeof(detail), "%s of %s", t->scope, t->user_id);
	return rc == RC_OK ? acc_audit(a, "token.create", "", t->id, detail, err) : rc;
}

enum rc
import_key(struct accounts *a, const struct token_row *t, const unsigned char key[HASH_LEN],
           bool *made, struct err *err)
{
	bool same;
	enum rc rc = same_key(a, t->id, key, &same, err);

	*made = false;
	if (rc == RC_OK && !same)
		return err_set(err, RC_CONFLICT, "there is another token %s here already", t->id);
	if (rc != RC_NOT_FOUND)
		return rc;
	*made = true;
	return insert_key(a, t, key, err);
}

/* --- projects --- */

static enum rc
choose_slug(struct accounts *a, struct project *p, struct err *err)
{
	sqlite3_stmt *st;
	enum rc rc = acc_query(&a->wr, Q_PROJECT_BY_SLUG, &st, err);

	if (rc != RC_OK)
		return rc;
	acc_bind(st, ":slug", p->slug);
	rc = acc_row(st, err);
	db_reset(st);
	if (rc == RC_NOT_FOUND && p->slug[0] != '\0')
		return RC_OK;
	if (rc != RC_OK && rc != RC_NOT_FOUND)
		return rc;
	return acc_free_slug(a, p->id, span_of(p->name), p->slug, err);
}

enum rc
import_project(struct accounts *a, struct project *p, bool *made, struct err *err)
{
	struct project there;
	sqlite3_stmt *st;
	enum rc rc = acc_find_project(&a->wr, p->id, &there, err);

	*made = false;
	if (rc == RC_OK)
		*p = there;
	if (rc != RC_NOT_FOUND)
		return rc;
	rc = project_check(span_of(p->name), span_of(p->description), err);
	if (rc == RC_OK)
		rc = choose_slug(a, p, err);
	if (rc == RC_OK)
		rc = acc_query(&a->wr, Q_IMPORT_PROJECT, &st, err);
	if (rc != RC_OK)
		return rc;
	acc_bind(st, ":id", p->id);
	acc_bind(st, ":name", p->name);
	acc_bind(st, ":description", p->description);
	acc_bind(st, ":slug", p->slug);
	db_bind_int(st, ":created_at", p->created_at);
	db_bind_int(st, ":updated_at", p->updated_at);
	db_bind_int(st, ":deleted_at", p->deleted_at);
	rc = db_run(st, err);
	*made = rc == RC_OK;
	return rc == RC_OK ? acc_audit(a, "project.import", p->id, p->id, p->slug, err) : rc;
}

enum rc
import_member(struct accounts *a, const struct member *m, struct err *err)
{
	struct user u;
	sqlite3_stmt *st;
	enum rc rc = acc_find_user(&a->wr, Q_USER_BY_ID, ":id", span_of(m->user_id), &u, err);

	if (rc == RC_OK)
		rc = acc_query(&a->wr, Q_IMPORT_MEMBER, &st, err);
	if (rc != RC_OK)
		return rc;
	acc_bind(st, ":project", m->project_id);
	acc_bind(st, ":user", m->user_id);
	acc_bind(st, ":by", m->invited_by);
	db_bind_int(st, ":role", m->role);
	db_bind_int(st, ":created_at", m->created_at);
	rc = db_run(st, err);
	return rc == RC_OK ? acc_audit(a, "member.add", m->project_id, m->user_id,
	                               role_name(m->role), err) : rc;
}

enum rc
import_invitation(struct accounts *a, const struct invitation *i, struct err *err)
{
	sqlite3_stmt *st;
	enum rc rc = acc_query(&a->wr, Q_IMPORT_INVITATION, &st, err);

	if (rc != RC_OK)
		return rc;
	acc_bind(st, ":id", i->id);
	acc_bind(st, ":project", i->project_id);
	acc_bind(st, ":email", i->email);
	acc_bind(st, ":by", i->invited_by);
	db_bind_int(st, ":role", i->role);
	db_bind_int(st, ":status", i->status);
	db_bind_int(st, ":created_at", i->created_at);
	db_bind_int(st, ":expires_at", i->expires_at);
	db_bind_int(st, ":accepted_at", i->accepted_at);
	return db_run(st, err);
}
