/* The open logs of a worker, see projects.h. */
#include "http/projects.h"

#include "base/fs.h"
#include "base/metrics.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void
projects_init(struct projects *p, const char *data, const char *profiles)
{
	*p = (struct projects){ .data = data };
	installed_init(&p->profiles, profiles);
}

static void
drop(struct project_log *e)
{
	follower_free(e->follower);
	e->follower = NULL;
	events_close(e->log);
	e->log = NULL;
}

void
projects_close(struct projects *p)
{
	for (size_t i = 0; p->open != NULL && i < PROJECTS_OPEN; i++)
		drop(&p->open[i]);
	free(p->open);
	installed_close(&p->profiles);
	projects_init(p, p->data, p->profiles.folder);
}

/* The folder of a project. Its id is checked here, whoever gave it: nothing
 * else of what a client sends becomes part of a path. */
static enum rc
folder(const struct projects *p, const char *id, char out[PATH_MAX], struct err *err)
{
	int n;

	if (!id_is(span_of(id), "p_", 16))
		return err_set(err, RC_NOT_FOUND, "project not found");
	n = snprintf(out, PATH_MAX, "%s/projects/%s", p->data, id);
	if (n >= PATH_MAX)
		return err_set(err, RC_UNAVAILABLE, "the data folder's path is too long");
	return RC_OK;
}

/* The entry of a project if it is open, else a free one, else the one that
 * was not used for the longest time. */
static struct project_log *
choose(struct projects *p, const char *id)
{
	struct project_log *oldest = NULL, *e;

	for (e = p->open; e < p->open + PROJECTS_OPEN; e++) {
		if (e->log != NULL && span_is(span_of(e->id), id))
			return e;
		if (oldest == NULL || (oldest->log != NULL &&
		    (e->log == NULL || e->used < oldest->used)))
			oldest = e;
	}
	return oldest;
}

static enum rc
open_entry(struct projects *p, const char *id, struct project_log *e,
           struct err *err)
{
	enum rc rc;

	drop(e);
	if ((rc = folder(p, id, e->dir, err)) != RC_OK)
		return rc;
	snprintf(e->id, sizeof(e->id), "%s", id);
	e->devices = (struct devices_known){ 0 };
	e->settled = 0;
	e->unapplied = 0;
	e->opened = ++p->openings;
	rc = events_open(e->dir, &e->log, err);
	if (rc == RC_NOT_FOUND) /* server.db knows the project */
		return err_set(err, RC_UNAVAILABLE, "%s: the project's log is missing or was never "
		               "made to its end: put it back from a backup", e->dir);
	return rc;
}

enum rc
projects_get(struct projects *p, const char *id, struct project_log **out,
             struct err *err)
{
	struct project_log *e;
	bool is_open;
	enum rc rc = RC_OK;

	*out = NULL;
	if (p->open == NULL)
		p->open = calloc(PROJECTS_OPEN, sizeof(*p->open));
	if (p->open == NULL)
		return err_set(err, RC_FAULT, "out of memory");
	e = choose(p, id);
	is_open = e->log != NULL && span_is(span_of(e->id), id) && !events_stale(e->log);
	metrics_add(is_open ? METRIC_PROJECT_HIT : METRIC_PROJECT_MISS, 1);
	if (!is_open)
		rc = open_entry(p, id, e, err);
	if (rc != RC_OK)
		return rc;
	if (p->last != NULL && p->last != e && p->last->log != NULL) {
		events_relax(p->last->log);
		if (p->last->follower != NULL)
			follower_relax(p->last->follower);
	}
	p->last = e;
	e->used = ++p->uses;
	*out = e;
	return RC_OK;
}

enum rc
projects_profile(struct projects *p, const struct project_log *e,
                 const struct profile **out, struct err *err)
{
	const char *name = events_profile(e->log);
	struct err why;
	enum rc rc = installed_get(&p->profiles, name, out, &why);

	if (rc == RC_NOT_FOUND)
		return err_set(err, RC_UNAVAILABLE, "the project is for the profile %s, which is "
		               "not there: put its file, %s" PROFILE_SUFFIX ", into %s", name,
		               name, p->profiles.folder);
	if (rc != RC_OK)
		return err_set(err, rc, "the project is for the profile %s, which can't be used: "
		               "%s", name, why.text);
	return RC_OK;
}

/* Close the state that was not used for the longest time, if too many are open. */
static void
make_room(struct projects *p)
{
	struct project_log *oldest = NULL, *e;
	int n = 0;

	for (e = p->open; e < p->open + PROJECTS_OPEN; e++)
		if (e->follower != NULL) {
			n++;
			if (oldest == NULL || e->used < oldest->used)
				oldest = e;
		}
	if (n < PROJECTS_STATES)
		return;
	follower_free(oldest->follower);
	oldest->follower = NULL;
}

enum rc
projects_follower(struct projects *p, struct project_log *e, struct follower **out,
                  struct err *err)
{
	const struct profile *profile;
	enum rc rc;

	*out = e->follower;
	if (*out != NULL)
		return RC_OK;
	if ((rc = projects_profile(p, e, &profile, err)) != RC_OK)
		return rc;
	if (profile == NULL)
		return err_set(err, RC_NOT_FOUND, "the project is for no profile, so its log adds "
		               "up to nothing");
	make_room(p);
	rc = follower_new(e->dir, profile, &e->follower, err);
	*out = e->follower;
	return rc;
}

enum rc
projects_create(struct projects *p, const char *id, const char *profile, struct err *err)
{
	char dir[PATH_MAX];
	enum rc rc;
	int n;

	n = snprintf(dir, sizeof(dir), "%s/projects", p->data);
	if (n >= (int)sizeof(dir))
		return err_set(err, RC_UNAVAILABLE, "the data folder's path is too long");
	if ((rc = fs_mkdir(dir, err)) != RC_OK ||
	    (rc = folder(p, id, dir, err)) != RC_OK)
		return rc;
	return events_create(dir, profile, err);
}

void
projects_discard(struct projects *p, const char *id)
{
	char dir[PATH_MAX];
	struct dirent *entry;
	DIR *d;

	if (folder(p, id, dir, NULL) != RC_OK || (d = opendir(dir)) == NULL)
		return;
	while ((entry = readdir(d)) != NULL)
		if (entry->d_name[0] != '.')
			unlinkat(dirfd(d), entry->d_name, 0);
	closedir(d);
	rmdir(dir);
}
