/* The open logs of a worker, see projects.h. */
#include "http/projects.h"

#include "base/fs.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void
projects_init(struct projects *p, const char *data)
{
	*p = (struct projects){ .data = data };
}

void
projects_close(struct projects *p)
{
	for (size_t i = 0; p->open != NULL && i < PROJECTS_OPEN; i++)
		events_close(p->open[i].log);
	free(p->open);
	projects_init(p, p->data);
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

static void
drop(struct project_log *e)
{
	events_close(e->log);
	e->log = NULL;
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
	e->opened = ++p->openings;
	rc = events_open(e->dir, &e->log, err);
	if (rc == RC_NOT_FOUND) /* server.db knows the project */
		return err_set(err, RC_UNAVAILABLE, "%s: the project's log is missing or was never "
		               "made to its end: put it back from a backup", e->dir);
	if (rc != RC_OK)
		return rc;
	e->profile = profile_find(events_profile(e->log));
	if (e->profile != NULL)
		return RC_OK;
	rc = err_set(err, RC_UNAVAILABLE, "%s: made for the profile \"%s\", which this "
	             "version does not know", e->dir, events_profile(e->log));
	drop(e);
	return rc;
}

enum rc
projects_get(struct projects *p, const char *id, struct project_log **out,
             struct err *err)
{
	struct project_log *e;
	enum rc rc = RC_OK;

	*out = NULL;
	if (p->open == NULL)
		p->open = calloc(PROJECTS_OPEN, sizeof(*p->open));
	if (p->open == NULL)
		return err_set(err, RC_FAULT, "out of memory");
	e = choose(p, id);
	if (e->log == NULL || !span_is(span_of(e->id), id) || events_stale(e->log))
		rc = open_entry(p, id, e, err);
	if (rc != RC_OK)
		return rc;
	if (p->last != NULL && p->last != e && p->last->log != NULL)
		events_relax(p->last->log);
	p->last = e;
	e->used = ++p->uses;
	*out = e;
	return RC_OK;
}

enum rc
projects_create(struct projects *p, const char *id, struct err *err)
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
	return events_create(dir, PROJECTS_PROFILE, err);
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
