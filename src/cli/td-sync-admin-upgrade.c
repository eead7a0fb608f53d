/*
 * td-sync-admin upgrade: bring the data folder's databases to the formats of this
 * td-sync. Each is changed in one transaction, and kept as it was before. A worker does
 * the same when it opens server.db, for there may be nobody who runs commands. What is
 * derived (state.db, snapshots, pages) needs nothing: it is made anew where it is of
 * other rules. --back is for the td-sync of before, where this one does not work.
 */
#include "cli/td-sync-admin.h"

#include "store/copies.h"

#include <stdio.h>

struct upgrade {
	struct admin *a;
	bool due;            /* something was not of our format */
};

static void
show(struct upgrade *u, const char *file, const char *status, const char *more)
{
	struct buf line = { 0 };

	if (u->a->json) {
		out_begin(&line);
		out_string(&line, "file", file);
		out_string(&line, "status", status);
		if (more[0] != '\0')
			out_string(&line, "detail", more);
		out_end(&line);
		return;
	}
	out_column(&line, file, 36);
	buf_add_str(&line, status);
	if (more[0] != '\0') {
		buf_add_str(&line, ": ");
		out_clean(&line, more);
	}
	out_line(&line);
}

static enum rc
upgrade_server(struct upgrade *u)
{
	struct admin *a = u->a;
	char more[PATH_MAX + 80] = "";
	int format, known;
	enum rc rc = accounts_format(a->data, &format, &known, &a->err);

	if (rc == RC_OK && (format >= known || !a->check))
		rc = admin_open(a); /* which says why, where it is newer */
	if (rc != RC_OK)
		return rc;
	if (format < known)
		snprintf(more, sizeof(more), a->check ? "format %d, to become %d"
		         : "from format %d to %d; as it was: %s/server.db.format%d", format, known,
		         a->data, format);
	u->due = format < known;
	show(u, "server.db", format == known ? "current" : a->check ? "due" : "upgraded", more);
	return RC_OK;
}

/* A log has had one format so far; one that can't be opened, a newer one too, says
 * why. */
static enum rc
upgrade_log(void *ctx, const struct project *p)
{
	struct upgrade *u = ctx;
	char dir[PATH_MAX], file[96];
	struct events *log = NULL;
	enum rc rc;

	if (p->purged_at != 0)
		return RC_OK;
	snprintf(file, sizeof(file), "projects/%s/" EVENTS_DB, p->id);
	if (snprintf(dir, sizeof(dir), "%s/projects/%s", u->a->data, p->id) >= PATH_MAX)
		return err_set(&u->a->err, RC_INVALID, "the data folder's path is too long");
	if ((rc = events_open(dir, &log, &u->a->err)) == RC_OK)
		show(u, file, "current", "");
	events_close(log);
	return rc;
}

/* Of logs there is nothing to bring back. */
static int
go_back(struct upgrade *u)
{
	struct admin *a = u->a;
	char more[80] = "";
	int from, to;
	enum rc rc = accounts_go_back(a->data, &from, &to, &a->err);

	if (rc != RC_OK)
		return admin_fail(a, rc == RC_NOT_FOUND ? RC_UNAVAILABLE : rc);
	if (to < from)
		snprintf(more, sizeof(more), "from format %d to %d", from, to);
	show(u, "server.db", to < from ? "back" : "older", more);
	return 0;
}

int
upgrade_run(struct admin *a)
{
	struct upgrade u = { .a = a };
	enum rc rc;

	if (a->back && a->check)
		return admin_fail_with(a, RC_INVALID, "--check and --back do not go together");
	if (a->back)
		return go_back(&u);
	rc = upgrade_server(&u);
	/* What is not there to be listed yet is of an older format, as far as that matters. */
	if (rc == RC_OK && a->accounts != NULL)
		rc = project_list(a->accounts, NULL, upgrade_log, &u, &a->err);
	if (rc != RC_OK)
		return admin_fail(a, rc == RC_NOT_FOUND ? RC_UNAVAILABLE : rc);
	return a->check && u.due ? EXIT_WRONG : 0;
}
