/* td-sync-admin project: what is synced. */
#include "cli/td-sync-admin.h"

#include "store/events.h"

static void
show_json(const struct project *p)
{
	struct buf line;

	out_begin(&line);
	out_string(&line, "id", p->id);
	out_string(&line, "name", p->name);
	out_string(&line, "description", p->description);
	out_string(&line, "slug", p->slug);
	out_time(&line, "created_at", p->created_at);
	out_time(&line, "updated_at", p->updated_at);
	out_time(&line, "deleted_at", p->deleted_at);
	out_time(&line, "purged_at", p->purged_at);
	if (p->is_public)
		out_string(&line, "visibility", "public");
	out_end(&line);
}

/* Make the log of a project, so that no project is ever without one. */
static enum rc
make_log(struct admin *a, const char *id, const char *profile)
{
	struct buf dir = { 0 };
	enum rc rc;

	buf_addf(&dir, "%s/projects/%s", a->data, id);
	if (buf_cstr(&dir) == NULL)
		rc = err_set(&a->err, RC_FAULT, "out of memory");
	else
		rc = events_create(dir.p, profile, &a->err);
	buf_free(&dir);
	return rc;
}

int
project_add_run(struct admin *a)
{
	struct span name = span_of(a->args[0]), description = span_of(a->description);
	const char *profile = a->profile != NULL ? a->profile : "td";
	struct buf line = { 0 };
	struct project p;
	struct user owner;
	char id[ID_MAX];
	enum rc rc;

	rc = project_check(name, description, &a->err);
	if (rc == RC_OK)
		rc = admin_user(a, a->owner, &owner);
	if (rc == RC_OK)
		rc = id_new("p_", 8, id);
	if (rc == RC_OK && a->profile != NULL)
		rc = admin_profile(a, profile);
	/* A log without its row, after a crash, is an unused folder. */
	if (rc == RC_OK)
		rc = make_log(a, id, profile);
	if (rc == RC_OK)
		rc = project_add(a->accounts, id, name, description, owner.id, &p, &a->err);
	if (rc != RC_OK)
		return admin_fail(a, rc);
	if (a->json) {
		show_json(&p);
		return 0;
	}
	buf_add_str(&line, p.id);
	out_line(&line);
	return 0;
}

static enum rc
show_one(void *ctx, const struct project *p)
{
	struct admin *a = ctx;
	struct buf line = { 0 };
	char at[TIME_TEXT];

	if (a->json) {
		show_json(p);
		return RC_OK;
	}
	out_column(&line, p->id, 18);
	out_column(&line, time_text(p->created_at, at), 20);
	out_column(&line, p->slug, 24);
	out_clean(&line, p->name);
	buf_add_str(&line, p->purged_at != 0 ? "  (purged)" : p->deleted_at != 0 ? "  (deleted)"
	            : p->is_public ? "  (public)" : "");
	out_line(&line);
	return RC_OK;
}

int
project_list_run(struct admin *a)
{
	enum rc rc = project_list(a->accounts, NULL, show_one, a, &a->err);

	return rc == RC_OK ? 0 : admin_fail(a, rc);
}

int
project_delete_run(struct admin *a)
{
	struct project p;
	struct buf line;
	int code;
	enum rc rc = admin_project(a, a->args[0], &p);

	if (rc != RC_OK)
		return admin_fail(a, rc);
	code = admin_confirm(a, "Delete the project %s (%s), for all its members", p.slug, p.name);
	if (code >= 0)
		return code;
	if ((rc = project_delete(a->accounts, p.id, &a->err)) != RC_OK)
		return admin_fail(a, rc);
	if (!a->json)
		return 0;
	out_begin(&line);
	out_string(&line, "id", p.id);
	out_string(&line, "status", "deleted");
	out_end(&line);
	return 0;
}

static int
set_public(struct admin *a, bool is_public)
{
	struct project before, now;
	enum rc rc = admin_project(a, a->args[0], &before);

	if (rc == RC_OK)
		rc = project_publish(a->accounts, before.id, is_public, &now, &a->err);
	if (rc != RC_OK)
		return admin_fail(a, rc);
	if (a->json)
		show_json(&now);
	return 0;
}

int
project_share_run(struct admin *a)
{
	return set_public(a, true);
}

int
project_unshare_run(struct admin *a)
{
	return set_public(a, false);
}
