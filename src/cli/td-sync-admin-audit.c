/* td-sync-admin audit: who did what. */
#include "cli/td-sync-admin.h"

#include "base/conf.h"

#include <string.h>

#define DAYS_MAX 36500
#define DAY 86400 /* seconds */

/* A number of days ago, or a time: seconds since 1970. */
static enum rc
since(struct admin *a, int64_t *out)
{
	struct instant at;
	int64_t days;

	*out = 0;
	if (a->since == NULL)
		return RC_OK;
	if (conf_int(a->since, 0, DAYS_MAX, &days))
		*out = clock_now_us() / 1000000 - days * DAY;
	else if (time_parse_any(span_of(a->since), &at))
		*out = at.sec;
	else
		return err_set(&a->err, RC_INVALID, "--since must be a number of days, or a date as"
		    " 2026-11-26, not %s", a->since);
	return RC_OK;
}

/* The id of a user, who may be gone: then his id itself is good, too. */
static enum rc
user_id(struct admin *a, const char *user, char out[ID_MAX])
{
	struct user u;
	enum rc rc;

	if (id_is(span_of(user), "u_", 16)) {
		memcpy(out, user, strlen(user) + 1);
		return RC_OK;
	}
	rc = admin_user(a, user, &u);
	memcpy(out, u.id, sizeof(u.id));
	return rc;
}

/* --- a line --- */

static void
show_json(const struct deed_line *d)
{
	struct buf line;

	out_begin(&line);
	out_time(&line, "at", d->at);
	out_string(&line, "user_id", d->by.user_id);
	out_string(&line, "token_id", d->by.token_id);
	out_string(&line, "address", d->by.address);
	out_string(&line, "action", d->action);
	out_string(&line, "project_id", d->project_id);
	out_string(&line, "subject", d->subject);
	out_string(&line, "detail", d->detail);
	out_end(&line);
}

/* What an id is for people: a user's address, a project's slug, or the id itself
 * where that has gone. */
static enum rc
name_of(struct admin *a, const char *id, struct buf *out)
{
	struct project p;
	struct user u;
	enum rc rc = RC_NOT_FOUND;

	if (id_is(span_of(id), "u_", 16)) {
		rc = user_by_id(a->accounts, id, &u, &a->err);
		if (rc == RC_OK)
			buf_add_str(out, u.email);
	} else if (id_is(span_of(id), "p_", 16)) {
		rc = project_get(a->accounts, id, &p, &a->err);
		if (rc == RC_OK)
			buf_add_str(out, p.slug);
	}
	if (rc == RC_NOT_FOUND)
		buf_add_str(out, id);
	return rc == RC_NOT_FOUND ? RC_OK : rc;
}

/* "member.change  of bob@example.com, writer, in green-house". */
static enum rc
add_deed(struct admin *a, const struct deed_line *d, struct buf *out)
{
	enum rc rc = RC_OK;

	if (d->subject[0] != '\0' && strcmp(d->subject, d->project_id) != 0) {
		buf_add_str(out, "  ");
		rc = name_of(a, d->subject, out);
	}
	if (d->project_id[0] != '\0' && rc == RC_OK) {
		buf_add_str(out, "  in ");
		rc = name_of(a, d->project_id, out);
	}
	if (d->detail[0] != '\0')
		buf_addf(out, "  (%s)", d->detail);
	return rc;
}

static enum rc
show_one(void *ctx, const struct deed_line *d)
{
	struct admin *a = ctx;
	struct buf line = { 0 }, who = { 0 }, deed = { 0 };
	char at[TIME_TEXT];
	enum rc rc = RC_OK;

	if (a->json) {
		show_json(d);
		return RC_OK;
	}
	if (d->by.user_id[0] != '\0')
		rc = name_of(a, d->by.user_id, &who);
	else
		buf_add_str(&who, d->by.address[0] == '\0' ? "the operator" : "(nobody known)");
	if (rc == RC_OK)
		rc = add_deed(a, d, &deed);
	if (rc == RC_OK && (buf_cstr(&who) == NULL || buf_cstr(&deed) == NULL))
		rc = err_set(&a->err, RC_FAULT, "out of memory");
	if (rc == RC_OK) {
		out_column(&line, time_text(d->at, at), 20);
		out_column(&line, who.p, 24);
		out_column(&line, d->by.address, 15);
		out_clean(&line, d->action);
		out_clean(&line, deed.p != NULL ? deed.p : "");
		out_line(&line);
	}
	buf_free(&who);
	buf_free(&deed);
	return rc;
}

int
audit_run(struct admin *a)
{
	char user[ID_MAX] = "";
	struct project p = { 0 };
	int64_t from;
	enum rc rc = since(a, &from);

	if (rc == RC_OK && a->n_projects > 1)
		rc = err_set(&a->err, RC_INVALID, "audit takes one --project");
	if (rc == RC_OK && a->n_projects == 1)
		rc = admin_any_project(a, a->projects[0], &p);
	if (rc == RC_OK && a->user != NULL)
		rc = user_id(a, a->user, user);
	if (rc == RC_OK)
		rc = audit_list(a->accounts, from, user, p.id, show_one, a, &a->err);
	return rc == RC_OK ? 0 : admin_fail(a, rc);
}
