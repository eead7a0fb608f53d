/* Share links of a project: tokens without a user that read it, and nothing else. */
#include "http/handlers.h"

#include "base/json.h"
#include "http/body.h"

#include <string.h>

/* --- list --- */

static enum rc
list_one(void *ctx, const struct token_row *t)
{
	return token_list_valid(ctx, t, "");
}

enum rc
links_list_run(struct request *r)
{
	struct accounts *accounts;
	enum rc rc;

	if ((rc = request_accounts(r, &accounts)) != RC_OK)
		return rc;
	r->status = 200;
	buf_add_byte(&r->out, '[');
	rc = token_links(accounts, r->project_id, list_one, r, &r->err);
	buf_add_str(&r->out, "]\n");
	return rc;
}

/* --- make --- */

/* What it is for and how long it lasts, out of the body. */
static enum rc
take_body(struct request *r, struct buf *name, int64_t *days)
{
	struct body_field fields[] = { { "name", name }, { "days", NULL }, { NULL, NULL } };
	enum rc rc = body_parse(r, fields);

	*days = LINK_DAYS;
	if (rc == RC_OK && name->len == 0)
		rc = err_set(&r->err, RC_INVALID, "name is required: say whom the link is for");
	if (rc == RC_OK && buf_cstr(name) == NULL)
		rc = err_set(&r->err, RC_FAULT, "out of memory");
	if (rc == RC_OK && fields[1].given && !json_int64(fields[1].value, days))
		*days = 0; /* no number of days */
	return rc;
}

enum rc
links_create_run(struct request *r)
{
	struct buf name = { 0 }, secret = { 0 };
	struct accounts *accounts;
	struct token_row row;
	int64_t days;
	enum rc rc = take_body(r, &name, &days);

	if (rc == RC_OK)
		rc = request_accounts(r, &accounts);
	if (rc == RC_OK)
		rc = auth_share(r->server->auth, r->project_id, name.p, days,
		                r->caller.expires_at, r->caller.user_id, &row, &secret, &r->err);
	if (rc == RC_OK && buf_cstr(&secret) == NULL)
		rc = err_set(&r->err, RC_FAULT, "out of memory");
	if (rc == RC_OK) {
		r->status = 201;
		token_add_object(&r->out, &row, "", secret.p);
		buf_add_byte(&r->out, '\n');
	}
	buf_free(&secret);
	buf_free(&name);
	return rc;
}

/* --- revoke --- */

enum rc
link_delete_run(struct request *r)
{
	struct accounts *accounts;
	struct token_row t;
	enum rc rc = request_accounts(r, &accounts);

	if (rc == RC_OK)
		rc = token_get(accounts, r->token_id, &t, &r->err);
	if (rc == RC_NOT_FOUND || (rc == RC_OK && strcmp(t.link_id, r->project_id) != 0))
		rc = err_set(&r->err, RC_NOT_FOUND, "the project has no such link");
	if (rc == RC_OK)
		rc = token_revoke(accounts, t.id, &r->err);
	if (rc == RC_OK || rc == RC_CONFLICT) /* it was: so it is */
		r->status = 204;
	return rc == RC_CONFLICT ? RC_OK : rc;
}
