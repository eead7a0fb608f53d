/* Projects: list, create, read, change, delete. */
#include "http/handlers.h"

#include "http/body.h"
#include "http/reply.h"

static void
add_time(struct buf *out, const char *name, int64_t sec)
{
	char text[TIME_TEXT];

	reply_text(out, ",", name, time_text(sec, text));
}

/* The project object of protocol.md section 2. */
static void
add_project(struct buf *out, const struct project *p)
{
	reply_text(out, "{", "id", p->id);
	reply_text(out, ",", "name", p->name);
	reply_text(out, ",", "description", p->description);
	reply_text(out, ",", "slug", p->slug);
	add_time(out, "created_at", p->created_at);
	add_time(out, "updated_at", p->updated_at);
	if (p->deleted_at != 0)
		add_time(out, "deleted_at", p->deleted_at);
	if (p->is_public)
		reply_text(out, ",", "visibility", "public");
	buf_add_byte(out, '}');
}

static enum rc
answer_project(struct request *r, int status, const struct project *p)
{
	r->status = status;
	add_project(&r->out, p);
	buf_add_byte(&r->out, '\n');
	return RC_OK;
}

/* What a walk over projects or members needs. */
struct listing {
	struct request *r;
	struct auth *auth;
	const char *authorization;
};

static enum rc
list_project(void *ctx, const struct project *p)
{
	struct listing *l = ctx;
	struct buf *out = &l->r->out;

	if (!auth_covers(l->auth, l->authorization, p->id))
		return RC_OK;
	if (out->len > 1)
		buf_add_byte(out, ',');
	add_project(out, p);
	return out->failed ? RC_FAULT : RC_OK;
}

enum rc
projects_list_run(struct request *r)
{
	struct listing l = { r, NULL, request_authorization(r) };
	struct accounts *accounts;
	enum rc rc;

	if ((rc = request_accounts(r, &accounts)) != RC_OK ||
	    (rc = server_auth(r->server, &l.auth, &r->err)) != RC_OK)
		return rc;
	r->status = 200;
	buf_add_byte(&r->out, '[');
	rc = project_list(accounts, r->caller.user_id, list_project, &l, &r->err);
	buf_add_str(&r->out, "]\n");
	return rc;
}

/* Judged before anything is made: project_add() says the same. */
static enum rc
check_text(struct request *r, const struct buf *name, const struct buf *description)
{
	if (name->len > PROJECT_NAME_MAX)
		return err_set(&r->err, RC_INVALID, "name is longer than %d bytes",
		               PROJECT_NAME_MAX);
	if (description->len > PROJECT_DESCRIPTION_MAX)
		return err_set(&r->err, RC_INVALID, "description is longer than %d bytes",
		               PROJECT_DESCRIPTION_MAX);
	return RC_OK;
}

/* Make the log, then the project: so none is ever without its log. */
static enum rc
create(struct request *r, struct span name, struct span description,
       const char *profile, struct project *out)
{
	struct accounts *accounts;
	char id[ID_MAX];
	enum rc rc;

	if ((rc = request_accounts(r, &accounts)) != RC_OK)
		return rc;
	if (id_new("p_", 8, id) != RC_OK)
		return err_set(&r->err, RC_FAULT, "no random bytes");
	rc = projects_create(&r->server->projects, id, profile, &r->err);
	if (rc == RC_OK)
		rc = project_add_within(accounts, r->server->config->max_user_projects, id,
		                        name, description, r->caller.user_id, out, &r->err);
	/* After a fault nobody knows whether the row is there: better a log
	 * without a project than a project without a log. */
	if (rc != RC_OK && rc != RC_FAULT && rc != RC_UNAVAILABLE)
		projects_discard(&r->server->projects, id);
	return rc;
}

/* What a project is to be made for: a profile that is there, or none. */
static enum rc
check_profile(struct request *r, const char *name)
{
	const struct profile *p;
	struct err why;
	enum rc rc;

	if (name == NULL)
		return err_set(&r->err, RC_FAULT, "out of memory");
	rc = installed_get(&r->server->projects.profiles, name, &p, &why);
	return rc == RC_OK ? rc : err_set(&r->err, rc == RC_NOT_FOUND ? RC_INVALID : rc,
	                                  "%s", why.text);
}

enum rc
projects_create_run(struct request *r)
{
	struct buf name = { 0 }, description = { 0 }, profile = { 0 };
	struct body_field fields[] = {
		{ "name", &name }, { "description", &description }, { "profile", &profile },
		{ NULL, NULL },
	};
	struct project p;
	enum rc rc;

	if (!r->caller.all_projects || r->caller.user_id[0] == '\0')
		return err_set(&r->err, RC_FORBIDDEN, "this token is for certain projects "
		               "only: it can't make new ones");
	rc = body_parse(r, fields);
	if (rc == RC_OK && name.len == 0)
		rc = err_set(&r->err, RC_INVALID, "name is required");
	if (rc == RC_OK)
		rc = check_text(r, &name, &description);
	if (rc == RC_OK && !fields[2].given)
		buf_add_str(&profile, PROJECTS_PROFILE);
	if (rc == RC_OK)
		rc = check_profile(r, buf_cstr(&profile));
	if (rc == RC_OK)
		rc = create(r, buf_span(&name), buf_span(&description), profile.p, &p);
	if (rc == RC_OK)
		rc = answer_project(r, 201, &p);
	buf_free(&profile);
	buf_free(&name);
	buf_free(&description);
	return rc;
}

enum rc
project_get_run(struct request *r)
{
	struct accounts *accounts;
	struct project p;
	enum rc rc;

	if ((rc = request_accounts(r, &accounts)) != RC_OK ||
	    (rc = project_get(accounts, r->project_id, &p, &r->err)) != RC_OK)
		return rc;
	return answer_project(r, 200, &p);
}

/* Whether it is to be public is for its owners to say. */
static enum rc
take_visibility(struct request *r, const struct body_field *field, bool *is_public)
{
	enum rc rc;

	*is_public = false;
	if (!field->given)
		return RC_OK;
	if ((rc = auth_allows(&r->caller, SCOPE_PROJECT_ADMIN, ROLE_OWNER, &r->err)) != RC_OK)
		return rc;
	*is_public = span_is(buf_span(field->text), "public");
	if (!*is_public && !span_is(buf_span(field->text), "private"))
		return err_set(&r->err, RC_INVALID, "unknown visibility: must be public or "
		               "private");
	if (*is_public && !r->server->config->public_projects)
		return err_set(&r->err, RC_FORBIDDEN, "this server has no public projects: its "
		               "operator has switched them off (public_projects)");
	return RC_OK;
}

enum rc
project_patch_run(struct request *r)
{
	struct buf name = { 0 }, description = { 0 }, visibility = { 0 };
	struct body_field fields[] = {
		{ "name", &name }, { "description", &description },
		{ "visibility", &visibility }, { NULL, NULL },
	};
	struct span new_name, new_description;
	struct accounts *accounts;
	struct project p;
	bool is_public;
	enum rc rc;

	rc = body_parse(r, fields);
	if (rc == RC_OK && fields[0].given && name.len == 0)
		rc = err_set(&r->err, RC_INVALID, "name cannot be empty");
	if (rc == RC_OK)
		rc = check_text(r, &name, &description);
	if (rc == RC_OK)
		rc = take_visibility(r, &fields[2], &is_public);
	if (rc == RC_OK)
		rc = request_accounts(r, &accounts);
	new_name = buf_span(&name);
	new_description = buf_span(&description);
	if (rc == RC_OK && fields[2].given)
		rc = project_publish(accounts, r->project_id, is_public, &p, &r->err);
	if (rc == RC_OK)
		rc = project_change(accounts, r->project_id,
		                    fields[0].given ? &new_name : NULL,
		                    fields[1].given ? &new_description : NULL, &p, &r->err);
	if (rc == RC_OK)
		rc = answer_project(r, 200, &p);
	buf_free(&name);
	buf_free(&description);
	buf_free(&visibility);
	return rc;
}

enum rc
project_delete_run(struct request *r)
{
	struct accounts *accounts;
	enum rc rc;

	if ((rc = request_accounts(r, &accounts)) != RC_OK ||
	    (rc = project_delete(accounts, r->project_id, &r->err)) != RC_OK)
		return rc;
	r->status = 204;
	return RC_OK;
}
