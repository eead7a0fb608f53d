/* server.db: what is synced, see accounts.h. */
#include "store/accounts_int.h"

#include <inttypes.h>
#include <stdio.h>

enum rc
project_check(struct span name, struct span description, struct err *err)
{
	enum rc rc;

	if (name.len == 0)
		return err_set(err, RC_INVALID, "name is required");
	rc = acc_check_text("name", name, PROJECT_NAME_MAX, err);
	if (rc == RC_OK)
		rc = acc_check_text("description", description, PROJECT_DESCRIPTION_MAX, err);
	return rc;
}

static void
read_project(sqlite3_stmt *st, struct project *out)
{
	*out = (struct project){ 0 };
	acc_column(st, 0, out->id, sizeof(out->id));
	acc_column(st, 1, out->name, sizeof(out->name));
	acc_column(st, 2, out->description, sizeof(out->description));
	acc_column(st, 3, out->slug, sizeof(out->slug));
	out->created_at = sqlite3_column_int64(st, 4);
	out->updated_at = sqlite3_column_int64(st, 5);
	out->deleted_at = sqlite3_column_int64(st, 6);
	out->is_public = sqlite3_column_int(st, 7) != 0;
	out->purged_at = sqlite3_column_int64(st, 8);
}

/* The project that one of the two queries finds by :id or :slug. */
static enum rc
find_project(struct conn *c, enum query q, const char *name, struct span value,
             struct project *out, struct err *err)
{
	sqlite3_stmt *st;
	enum rc rc = acc_query(c, q, &st, err);

	*out = (struct project){ 0 };
	if (rc != RC_OK)
		return rc;
	db_bind_text(st, name, value);
	rc = acc_row(st, err);
	if (rc == RC_NOT_FOUND)
		return err_set(err, rc, "project not found");
	if (rc != RC_OK)
		return rc;
	read_project(st, out);
	db_reset(st);
	return RC_OK;
}

enum rc
acc_find_project(struct conn *c, const char *id, struct project *out, struct err *err)
{
	return find_project(c, Q_PROJECT_BY_ID, ":id", span_of(id), out, err);
}

enum rc
acc_find_live_project(struct conn *c, const char *id, struct project *out, struct err *err)
{
	enum rc rc = acc_find_project(c, id, out, err);

	if (rc == RC_OK && out->deleted_at != 0)
		rc = err_set(err, RC_NOT_FOUND, "project not found");
	return rc;
}

enum rc
project_get(struct accounts *a, const char *id, struct project *out, struct err *err)
{
	return find_project(&a->rd, Q_PROJECT_BY_ID, ":id", span_of(id), out, err);
}

enum rc
project_by_slug(struct accounts *a, struct span slug, struct project *out,
                struct err *err)
{
	return find_project(&a->rd, Q_PROJECT_BY_SLUG, ":slug", slug, out, err);
}

/*
 * The slug of a name, without regard to others (protocol.md section 2): ASCII
 * letters in lower case and digits stay, runs of anything else become '-',
 * none at the ends.
 */
static void
slug_of(struct span name, char out[PROJECT_NAME_MAX + 1])
{
	size_t n = 0;
	bool gap = false;

	for (size_t i = 0; i < name.len; i++) {
		char c = name.p[i];

		if (c >= 'A' && c <= 'Z')
			c = (char)(c - 'A' + 'a');
		if ((c < 'a' || c > 'z') && (c < '0' || c > '9')) {
			gap = true;
			continue;
		}
		if (gap && n > 0)
			out[n++] = '-';
		gap = false;
		out[n++] = c;
	}
	out[n] = '\0';
}

/* SLUG-i, which for 1 is SLUG; whether somebody has it. */
static enum rc
try_slug(struct accounts *a, const char *base, unsigned i, char out[PROJECT_NAME_MAX + 33],
         bool *taken, struct err *err)
{
	struct project p;
	enum rc rc;

	snprintf(out, PROJECT_NAME_MAX + 33, i == 1 ? "%s" : "%s-%u", base, i);
	rc = find_project(&a->wr, Q_PROJECT_BY_SLUG, ":slug", span_of(out), &p, err);
	*taken = rc == RC_OK;
	return rc == RC_NOT_FOUND ? RC_OK : rc;
}

/*
 * SLUG, SLUG-2, SLUG-3 …: one that nobody has, the first as a rule; the id for none. They
 * are given in turn and never given back: so one looks in ever larger steps, and then
 * between the last that was taken and the first that was not.
 */
enum rc
acc_free_slug(struct accounts *a, const char *id, struct span name,
              char out[PROJECT_NAME_MAX + 33], struct err *err)
{
	char base[PROJECT_NAME_MAX + 1];
	unsigned had = 0, not_had = 1;
	bool taken = true;
	enum rc rc = RC_OK;

	slug_of(name, base);
	if (base[0] == '\0') {
		snprintf(out, ID_MAX, "%s", id);
		return RC_OK;
	}
	while ((rc = try_slug(a, base, not_had, out, &taken, err)) == RC_OK && taken) {
		had = not_had;
		not_had *= 2;
	}
	while (rc == RC_OK && had + 1 < not_had) {
		unsigned i = had + (not_had - had) / 2;

		rc = try_slug(a, base, i, out, &taken, err);
		*(taken ? &had : &not_had) = i;
	}
	return rc != RC_OK ? rc : try_slug(a, base, not_had, out, &taken, err);
}

/* Insert a checked project and its owner; needs acc_begin(). */
static enum rc
insert_project(struct accounts *a, const char *id, struct span name,
               struct span description, const char *owner_id,
               struct project *out, struct err *err)
{
	char slug[PROJECT_NAME_MAX + 33];
	struct user owner;
	sqlite3_stmt *st;
	enum rc rc;

	rc = acc_find_user(&a->wr, Q_USER_BY_ID, ":id", span_of(owner_id), &owner, err);
	if (rc == RC_OK)
		rc = acc_free_slug(a, id, name, slug, err);
	if (rc == RC_OK)
		rc = acc_query(&a->wr, Q_PROJECT_ADD, &st, err);
	if (rc != RC_OK)
		return rc;
	acc_bind(st, ":id", id);
	db_bind_text(st, ":name", name);
	db_bind_text(st, ":description", description);
	acc_bind(st, ":slug", slug);
	db_bind_int(st, ":now", acc_now());
	rc = db_run(st, err);
	if (rc == RC_OK)
		rc = acc_audit(a, "project.create", id, id, slug, err);
	if (rc == RC_OK)
		rc = acc_insert_member(a, id, owner_id, ROLE_OWNER, "", err);
	if (rc == RC_OK)
		rc = acc_find_live_project(&a->wr, id, out, err);
	return rc;
}

/* Whether a user may own one more live project; needs acc_begin(). */
static enum rc
check_owned(struct accounts *a, const char *owner_id, int64_t most, struct err *err)
{
	sqlite3_stmt *st;
	int64_t n;
	enum rc rc = acc_query(&a->wr, Q_PROJECT_OWNED, &st, err);

	if (rc != RC_OK)
		return rc;
	acc_bind(st, ":user", owner_id);
	if ((rc = acc_row(st, err)) != RC_OK)
		return rc;
	n = sqlite3_column_int64(st, 0);
	db_reset(st);
	if (n >= most)
		return err_set(err, RC_QUOTA, "You own %" PRId64 " of the %" PRId64 " projects that "
		               "a user may own (max_user_projects): delete one that is no longer "
		               "needed, or ask whoever runs the server for more.", n, most);
	return RC_OK;
}

enum rc
project_add_within(struct accounts *a, int64_t most, const char *id, struct span name,
                   struct span description, const char *owner_id,
                   struct project *out, struct err *err)
{
	enum rc rc = project_check(name, description, err);

	*out = (struct project){ 0 };
	if (rc == RC_OK)
		rc = acc_begin(a, err);
	if (rc != RC_OK)
		return rc;
	if (most > 0)
		rc = check_owned(a, owner_id, most, err);
	if (rc == RC_OK)
		rc = insert_project(a, id, name, description, owner_id, out, err);
	rc = acc_finish(a, rc, err);
	if (rc != RC_OK)
		*out = (struct project){ 0 };
	return rc;
}

enum rc
project_add(struct accounts *a, const char *id, struct span name,
            struct span description, const char *owner_id,
            struct project *out, struct err *err)
{
	return project_add_within(a, 0, id, name, description, owner_id, out, err);
}

/* Change a live project; needs acc_begin(). */
static enum rc
update_project(struct accounts *a, const char *id, const struct span *name,
               const struct span *description, struct project *out,
               struct err *err)
{
	sqlite3_stmt *st;
	enum rc rc = acc_find_live_project(&a->wr, id, out, err);

	if (rc != RC_OK || (name == NULL && description == NULL))
		return rc;
	rc = acc_query(&a->wr, Q_PROJECT_CHANGE, &st, err);
	if (rc != RC_OK)
		return rc;
	acc_bind(st, ":id", id);
	db_bind_text(st, ":name", name != NULL ? *name : span_of(out->name));
	db_bind_text(st, ":description",
	    description != NULL ? *description : span_of(out->description));
	db_bind_int(st, ":now", acc_now());
	rc = db_run(st, err);
	if (rc == RC_OK)
		rc = acc_audit(a, "project.change", id, id, "", err);
	if (rc == RC_OK)
		rc = acc_find_live_project(&a->wr, id, out, err);
	return rc;
}

enum rc
project_change(struct accounts *a, const char *id, const struct span *name,
               const struct span *description, struct project *out,
               struct err *err)
{
	static const struct span any = { "x", 1 };
	enum rc rc;

	*out = (struct project){ 0 };
	if (name != NULL && name->len == 0)
		return err_set(err, RC_INVALID, "name cannot be empty");
	rc = project_check(name != NULL ? *name : any,
	    description != NULL ? *description : any, err);
	if (rc == RC_OK)
		rc = acc_begin(a, err);
	if (rc == RC_OK)
		rc = acc_finish(a, update_project(a, id, name, description, out, err), err);
	if (rc != RC_OK)
		*out = (struct project){ 0 };
	return rc;
}

/* Mark a live project; needs acc_begin(). */
static enum rc
mark_deleted(struct accounts *a, const char *id, struct err *err)
{
	struct project p;
	sqlite3_stmt *st;
	enum rc rc = acc_find_live_project(&a->wr, id, &p, err);

	if (rc == RC_OK)
		rc = acc_query(&a->wr, Q_PROJECT_DELETE, &st, err);
	if (rc != RC_OK)
		return rc;
	acc_bind(st, ":id", id);
	db_bind_int(st, ":now", acc_now());
	rc = db_run(st, err);
	return rc == RC_OK ? acc_audit(a, "project.delete", id, id, "", err) : rc;
}

enum rc
project_delete(struct accounts *a, const char *id, struct err *err)
{
	enum rc rc = acc_begin(a, err);

	return rc != RC_OK ? rc : acc_finish(a, mark_deleted(a, id, err), err);
}

/* Let anyone read a live project, or no longer; needs acc_begin(). */
static enum rc
mark_public(struct accounts *a, const char *id, bool is_public, struct project *out,
            struct err *err)
{
	sqlite3_stmt *st;
	enum rc rc = acc_find_live_project(&a->wr, id, out, err);

	if (rc != RC_OK || out->is_public == is_public)
		return rc;
	rc = acc_query(&a->wr, Q_PROJECT_PUBLIC, &st, err);
	if (rc != RC_OK)
		return rc;
	acc_bind(st, ":id", id);
	db_bind_int(st, ":public", is_public);
	db_bind_int(st, ":now", acc_now());
	rc = db_run(st, err);
	if (rc == RC_OK)
		rc = acc_audit(a, "project.visibility", id, id, is_public ? "public" : "private", err);
	return rc == RC_OK ? acc_find_live_project(&a->wr, id, out, err) : rc;
}

enum rc
project_publish(struct accounts *a, const char *id, bool is_public, struct project *out,
                struct err *err)
{
	enum rc rc;

	*out = (struct project){ 0 };
	rc = acc_begin(a, err);
	if (rc == RC_OK)
		rc = acc_finish(a, mark_public(a, id, is_public, out, err), err);
	if (rc != RC_OK)
		*out = (struct project){ 0 };
	return rc;
}

/* Note that a deleted project's files are gone; needs acc_begin(). */
static enum rc
mark_purged(struct accounts *a, const char *id, struct err *err)
{
	struct project p;
	sqlite3_stmt *st;
	enum rc rc = find_project(&a->wr, Q_PROJECT_BY_ID, ":id", span_of(id), &p, err);

	if (rc == RC_OK && p.deleted_at == 0)
		rc = err_set(err, RC_CONFLICT, "the project is not deleted");
	if (rc == RC_OK)
		rc = acc_query(&a->wr, Q_PROJECT_PURGED, &st, err);
	if (rc != RC_OK)
		return rc;
	acc_bind(st, ":id", id);
	db_bind_int(st, ":now", acc_now());
	rc = db_run(st, err);
	return rc == RC_OK ? acc_audit(a, "project.purge", id, id, "", err) : rc;
}

enum rc
project_purged(struct accounts *a, const char *id, struct err *err)
{
	enum rc rc = acc_begin(a, err);

	return rc != RC_OK ? rc : acc_finish(a, mark_purged(a, id, err), err);
}

enum rc
project_list(struct accounts *a, const char *user_id, project_visit *visit,
             void *ctx, struct err *err)
{
	struct project p;
	sqlite3_stmt *st;
	bool row = true;
	enum rc rc;

	rc = acc_query(&a->rd, user_id == NULL ? Q_PROJECT_LIST : Q_PROJECT_LIST_OF, &st, err);
	if (rc != RC_OK)
		return rc;
	if (user_id != NULL)
		acc_bind(st, ":user", user_id);
	while ((rc = db_step(st, &row, err)) == RC_OK && row) {
		read_project(st, &p);
		if ((rc = visit(ctx, &p)) != RC_OK)
			break;
	}
	db_reset(st);
	return rc;
}
