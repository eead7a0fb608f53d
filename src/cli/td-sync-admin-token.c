/* td-sync-admin token, link: what a client shows to be let in. */
#include "cli/td-sync-admin.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_SCOPE (SCOPE_READ | SCOPE_WRITE | SCOPE_PROJECT_ADMIN)
#define DEFAULT_DAYS 365
#define DAY 86400 /* seconds */

/* Everything that server.db knows of a token; secret NULL: without it. */
static void
show_json(const struct token_row *t, const char *email, const char *secret)
{
	struct buf line, list = { 0 };
	const char *p = t->projects;

	if (strcmp(p, "*") == 0) {
		buf_add_str(&list, "\"*\"");
	} else {
		buf_add_byte(&list, '[');
		while (*p != '\0') {
			size_t n = strcspn(p, " ");

			buf_add_str(&list, p == t->projects ? "" : ",");
			buf_add_json(&list, (struct span){ p, n });
			p += n + (p[n] == ' ');
		}
		buf_add_byte(&list, ']');
	}
	out_begin(&line);
	out_string(&line, "id", t->id);
	if (secret != NULL)
		out_string(&line, "token", secret);
	if (t->link_id[0] == '\0') {
		out_string(&line, "user_id", t->user_id);
		out_string(&line, "email", email);
	} else if (t->made_by[0] != '\0') {
		out_string(&line, "made_by", t->made_by);
	}
	out_string(&line, "name", t->name);
	out_string(&line, "scope", t->scope);
	out_raw(&line, "projects", buf_cstr(&list) != NULL ? list.p : "null");
	out_time(&line, "created_at", t->created_at);
	out_time(&line, "expires_at", t->expires_at);
	out_time(&line, "last_used_at", t->last_used_at);
	out_time(&line, "revoked_at", t->revoked_at);
	out_end(&line);
	buf_free(&list);
}

/* --- create --- */

/* The ids of every --project, each once; NULL for all. free() the list. */
static enum rc
find_projects(struct admin *a, char (**out)[ID_MAX], size_t *n)
{
	struct project p;
	enum rc rc = RC_OK;

	*n = 0;
	*out = calloc(a->n_projects + 1, sizeof(**out));
	if (*out == NULL)
		return err_set(&a->err, RC_FAULT, "out of memory");
	for (size_t i = 0; i < a->n_projects && rc == RC_OK; i++) {
		bool known = false;

		rc = admin_project(a, a->projects[i], &p);
		for (size_t j = 0; j < *n && rc == RC_OK; j++)
			known = known || strcmp((*out)[j], p.id) == 0;
		if (rc == RC_OK && !known)
			memcpy((*out)[(*n)++], p.id, ID_MAX);
	}
	return rc;
}

/* A token that nobody got to see must not stay. */
static int
show_token(struct admin *a, const struct token_row *row, const char *email, struct buf *token)
{
	struct buf line = { 0 };

	if (a->json) {
		show_json(row, email, token->p);
	} else {
		buf_add_span(&line, buf_span(token));
		out_line(&line);
	}
	if (out_flush())
		return 0;
	if (token_revoke(a->accounts, row->id, &a->err) == RC_OK)
		fprintf(stderr, "td-sync-admin: token %s is revoked again\n", row->id);
	return EXIT_ENVIRONMENT;
}

int
token_create_run(struct admin *a)
{
	char (*ids)[ID_MAX] = NULL;
	const char **list = NULL;
	struct buf token = { 0 };
	struct auth *auth = NULL;
	struct token_row row;
	struct user u;
	size_t n = 0;
	enum rc rc;
	int code;

	if (a->read_only && a->scope != 0)
		return admin_fail_with(a, RC_INVALID, "--read-only is --scope sync:read: give one"
		    " of them");
	if (a->read_only)
		a->scope = SCOPE_READ;
	rc = admin_user(a, a->user, &u);
	if (rc == RC_OK)
		rc = find_projects(a, &ids, &n);
	if (rc == RC_OK && n > 0) {
		list = calloc(n, sizeof(*list));
		if (list == NULL)
			rc = err_set(&a->err, RC_FAULT, "out of memory");
		for (size_t i = 0; list != NULL && i < n; i++)
			list[i] = ids[i];
	}
	if (rc == RC_OK)
		rc = auth_open(a->data, &auth, &a->err);
	if (rc == RC_OK)
		rc = auth_issue(auth, &(struct token_plan){
			.user_id = u.id, .name = a->name != NULL ? a->name : "",
			.scope = a->scope != 0 ? a->scope : DEFAULT_SCOPE,
			.projects = list, .n_projects = n,
			.lifetime_s = (a->days < 0 ? DEFAULT_DAYS : a->days) * DAY,
		}, &row, &token, &a->err);
	if (rc == RC_OK && buf_cstr(&token) == NULL)
		rc = err_set(&a->err, RC_FAULT, "out of memory");
	code = rc == RC_OK ? show_token(a, &row, u.email, &token) : admin_fail(a, rc);
	auth_close(auth);
	buf_free(&token);
	free(list);
	free(ids);
	return code;
}

/* --- list, revoke --- */

static const char *
state(const struct token_row *t)
{
	if (t->revoked_at != 0)
		return "revoked";
	return t->expires_at <= clock_now_us() / 1000000 ? "expired" : "valid";
}

static enum rc
show_one(void *ctx, const struct token_row *t)
{
	struct admin *a = ctx;
	struct buf line = { 0 };
	struct user u = { 0 };
	char at[TIME_TEXT];
	enum rc rc = RC_OK;

	if (t->user_id[0] != '\0')
		rc = user_by_id(a->accounts, t->user_id, &u, &a->err);
	if (rc != RC_OK)
		return rc;
	if (a->json) {
		show_json(t, u.email, NULL);
		return RC_OK;
	}
	out_column(&line, t->id, 19);
	out_column(&line, state(t), 7);
	out_column(&line, time_text(t->expires_at, at), 20);
	out_column(&line, u.email, 24);
	out_column(&line, t->scope, 34);
	out_column(&line, t->projects, 18);
	out_clean(&line, t->name);
	out_line(&line);
	return RC_OK;
}

int
token_list_run(struct admin *a)
{
	struct user u = { 0 };
	enum rc rc = a->user != NULL ? admin_user(a, a->user, &u) : RC_OK;

	if (rc == RC_OK)
		rc = token_list(a->accounts, a->user != NULL ? u.id : NULL, show_one, a, &a->err);
	return rc == RC_OK ? 0 : admin_fail(a, rc);
}

int
token_revoke_run(struct admin *a)
{
	struct buf line;
	enum rc rc = token_revoke(a->accounts, a->args[0], &a->err);

	if (rc == RC_NOT_FOUND)
		return admin_fail_with(a, rc, "there is no token %s", a->args[0]);
	if (rc != RC_OK)
		return admin_fail(a, rc);
	if (!a->json)
		return 0;
	out_begin(&line);
	out_string(&line, "id", a->args[0]);
	out_string(&line, "status", "revoked");
	out_end(&line);
	return 0;
}

/* --- share links --- */

int
link_create_run(struct admin *a)
{
	struct buf token = { 0 };
	struct auth *auth = NULL;
	struct token_row row;
	struct project p;
	enum rc rc = admin_project(a, a->args[0], &p);
	int code;

	if (rc == RC_OK)
		rc = auth_open(a->data, &auth, &a->err);
	if (rc == RC_OK)
		rc = auth_share(auth, p.id, a->name != NULL ? a->name : "",
		    a->days < 0 ? LINK_DAYS : a->days, 0, "", &row, &token, &a->err);
	if (rc == RC_OK && buf_cstr(&token) == NULL)
		rc = err_set(&a->err, RC_FAULT, "out of memory");
	code = rc == RC_OK ? show_token(a, &row, "", &token) : admin_fail(a, rc);
	auth_close(auth);
	buf_free(&token);
	return code;
}

static enum rc
show_link(void *ctx, const struct token_row *t)
{
	struct admin *a = ctx;
	struct buf line = { 0 };
	struct user u = { 0 };
	char at[TIME_TEXT];
	enum rc rc = RC_OK;

	if (a->json) {
		show_json(t, "", NULL);
		return RC_OK;
	}
	if (t->made_by[0] != '\0')
		rc = user_by_id(a->accounts, t->made_by, &u, &a->err);
	if (rc != RC_OK)
		return rc;
	out_column(&line, t->id, 19);
	out_column(&line, state(t), 7);
	out_column(&line, time_text(t->expires_at, at), 20);
	out_column(&line, u.email, 24);
	out_clean(&line, t->name);
	out_line(&line);
	return RC_OK;
}

int
link_list_run(struct admin *a)
{
	struct project p;
	enum rc rc = admin_project(a, a->args[0], &p);

	if (rc == RC_OK)
		rc = token_links(a->accounts, p.id, show_link, a, &a->err);
	return rc == RC_OK ? 0 : admin_fail(a, rc);
}

int
link_revoke_run(struct admin *a)
{
	struct token_row t;
	enum rc rc = token_get(a->accounts, a->args[0], &t, &a->err);

	if (rc == RC_NOT_FOUND || (rc == RC_OK && t.link_id[0] == '\0'))
		return admin_fail_with(a, RC_NOT_FOUND, "there is no share link %s", a->args[0]);
	return rc == RC_OK ? token_revoke_run(a) : admin_fail(a, rc);
}
