/* td-sync-admin profile: what a project's entities can be. */
#include "cli/td-sync-admin.h"

#include "http/config.h"
#include "profiles/installed.h"
#include "profiles/read.h"

#include <stdio.h>

enum rc
admin_profiles(struct admin *a, char out[PATH_MAX])
{
	struct config config;
	enum rc rc = RC_OK;

	if (a->profiles == NULL)
		rc = config_load(NULL, a->data, &config, &a->err);
	if (rc == RC_OK &&
	    snprintf(out, PATH_MAX, "%s", a->profiles != NULL ? a->profiles : config.profiles) >=
	    PATH_MAX)
		rc = err_set(&a->err, RC_INVALID, "the path of the profiles is too long");
	return rc;
}

enum rc
admin_profile(struct admin *a, const char *name)
{
	char folder[PATH_MAX];
	const struct profile *p;
	struct installed in;
	struct err why;
	enum rc rc;

	if ((rc = admin_profiles(a, folder)) != RC_OK)
		return rc;
	installed_init(&in, folder);
	rc = installed_get(&in, name, &p, &why);
	installed_close(&in);
	if (rc == RC_NOT_FOUND)
		return err_set(&a->err, rc, "%s (others are files in %s)", why.text, folder);
	return rc == RC_OK ? rc : err_set(&a->err, rc, "%s", why.text);
}

static int
count_entities(const struct profile *p)
{
	int n = 0;

	while (p->entities[n].table != NULL)
		n++;
	return n;
}

static const char *
create_rule(const struct profile *p)
{
	return p->create == PROFILE_UPSERT ? "upsert" : "replace";
}

/* One that is right; `file` is where it stands, NULL for what is compiled in. */
static void
show_right(const struct admin *a, const struct profile *p, const char *file)
{
	struct buf line = { 0 };
	char number[16];

	snprintf(number, sizeof(number), "%d", p->version);
	if (!a->json) {
		out_column(&line, p->name, 16);
		out_column(&line, number, 4);
		out_column(&line, create_rule(p), 7);
		out_clean(&line, file != NULL ? file : "compiled in");
		out_line(&line);
		return;
	}
	out_begin(&line);
	out_string(&line, "name", p->name);
	out_raw(&line, "version", number);
	out_string(&line, "create", create_rule(p));
	snprintf(number, sizeof(number), "%d", count_entities(p));
	out_raw(&line, "entities", number);
	if (file != NULL)
		out_string(&line, "file", file);
	out_end(&line);
}

/* One that is not. */
static void
show_wrong(const struct admin *a, const char *name, const char *why)
{
	struct buf line = { 0 };

	if (!a->json) {
		out_column(&line, name, 16);
		out_column(&line, "-", 4);
		out_column(&line, "wrong", 7);
		out_clean(&line, why);
		out_line(&line);
		return;
	}
	out_begin(&line);
	out_string(&line, "name", name);
	out_string(&line, "error", why);
	out_end(&line);
}

int
profile_check_run(struct admin *a)
{
	struct profile *p;
	enum rc rc = profile_read(a->args[0], &p, &a->err);

	if (rc != RC_OK)
		return admin_fail(a, rc);
	show_right(a, p, a->args[0]);
	profile_free(p);
	return 0;
}

/* What a walk over the profiles needs. */
struct listing {
	struct admin *a;
	struct installed in;
};

static enum rc
show_one(void *ctx, const char *name)
{
	struct listing *l = ctx;
	const struct profile *p;
	struct buf file = { 0 };
	struct err why;
	enum rc rc = installed_get(&l->in, name, &p, &why);

	if (rc == RC_FAULT)
		return err_set(&l->a->err, rc, "%s", why.text);
	buf_addf(&file, "%s/%s" PROFILE_SUFFIX, l->in.folder, name);
	if (buf_cstr(&file) == NULL)
		rc = err_set(&l->a->err, RC_FAULT, "out of memory");
	else if (rc == RC_OK)
		show_right(l->a, p, p == profile_find(name) ? NULL : file.p);
	else
		show_wrong(l->a, name, why.text);
	buf_free(&file);
	return rc == RC_FAULT ? rc : RC_OK;
}

int
profile_list_run(struct admin *a)
{
	char folder[PATH_MAX];
	struct listing l = { .a = a };
	enum rc rc;

	if ((rc = admin_profiles(a, folder)) != RC_OK)
		return admin_fail(a, rc);
	installed_init(&l.in, folder);
	rc = installed_each(&l.in, show_one, &l, &a->err);
	installed_close(&l.in);
	return rc == RC_OK ? 0 : admin_fail(a, rc);
}
