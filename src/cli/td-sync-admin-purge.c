/*
 * td-sync-admin project purge: a deleted project's files go, everywhere. What it
 * did not get done when it died, it does when it is run again.
 */
#include "cli/td-sync-admin.h"

#include "base/fs.h"
#include "http/snapshots.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* How long it waits for whoever is in the middle of something. */
#define WAIT_MS 10000

/* How often it looks whether a folder is gone. */
#define ROUNDS 5

/* What the log's folder is called before it is removed: a name that no worker has. */
#define GONE ".purge"

/* Everything that has the project's id in its name. */
enum { LOG, LOG_GONE, PAGES, SNAPSHOTS, FOLDERS };

struct purge {
	struct admin *a;
	struct project p;
	char folder[FOLDERS][PATH_MAX];
	struct lock *snapshots, *state, *log; /* NULL: not held */
};

static enum rc
name_folders(struct purge *u)
{
	static const struct {
		const char *in, *suffix;
	} names[] = {
		[LOG] = { "projects", "" }, [LOG_GONE] = { "projects", GONE },
		[PAGES] = { "pages", "" }, [SNAPSHOTS] = { "snapshots", "" },
	};

	for (int i = 0; i < FOLDERS; i++)
		if (snprintf(u->folder[i], PATH_MAX, "%s/%s/%s%s", u->a->data, names[i].in, u->p.id,
		             names[i].suffix) >= PATH_MAX)
			return err_set(&u->a->err, RC_INVALID, "the data folder's path is too long");
	return RC_OK;
}

static bool
is_there(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0 || errno != ENOENT;
}

/* Take a lock of the log's folder. */
static enum rc
take(struct purge *u, const char *name, int64_t deadline_ms, struct lock **out)
{
	struct buf path = { 0 };
	enum rc rc;

	buf_addf(&path, "%s/%s", u->folder[LOG], name);
	rc = buf_cstr(&path) != NULL ? lock_open(path.p, out, &u->a->err)
	                             : err_set(&u->a->err, RC_FAULT, "out of memory");
	if (rc == RC_OK && (rc = lock_take(*out, deadline_ms)) != RC_OK)
		err_set(&u->a->err, rc, "somebody works at the project: try again (%s)", path.p);
	buf_free(&path);
	return rc;
}

/* The project's locks, in the order that all take them, so that nobody is in the
 * middle of anything. */
static enum rc
take_all(struct purge *u)
{
	struct snapshot_key key = { .data = u->a->data, .project = u->p.id };
	int64_t deadline_ms = clock_mono_ms() + WAIT_MS;
	enum rc rc = snapshots_lock(&key, deadline_ms, &u->snapshots, &u->a->err);

	if (rc == RC_OK)
		rc = take(u, STATE_LOCK, deadline_ms, &u->state);
	if (rc == RC_OK)
		rc = take(u, EVENTS_LOCK, deadline_ms, &u->log);
	return rc;
}

/*
 * Take the log's folder away from everybody at once, under the locks: whoever waited
 * for one of them, or has the log open, finds that its files are no longer there.
 */
static enum rc
take_away(struct purge *u)
{
	enum rc rc;

	if (!is_there(u->folder[LOG])) /* by a run that died */
		return RC_OK;
	if ((rc = take_all(u)) != RC_OK)
		return rc;
	if (rename(u->folder[LOG], u->folder[LOG_GONE]) != 0)
		return err_set(&u->a->err, RC_UNAVAILABLE, "can't rename %s: %s", u->folder[LOG],
		    strerror(errno));
	return RC_OK;
}

/* A worker may just be keeping something there; it sees afterwards that the log is
 * gone, and removes it as well. */
static enum rc
remove_folder(struct purge *u, const char *path)
{
	for (int i = 0; i < ROUNDS && is_there(path); i++)
		fs_remove(AT_FDCWD, path);
	return is_there(path) ? err_set(&u->a->err, RC_UNAVAILABLE, "can't remove %s: %s", path,
	    strerror(errno)) : RC_OK;
}

static enum rc
purge(struct purge *u)
{
	struct buf projects = { 0 };
	enum rc rc = take_away(u);

	for (int i = LOG_GONE; i < FOLDERS && rc == RC_OK; i++)
		rc = remove_folder(u, u->folder[i]);
	buf_addf(&projects, "%s/projects", u->a->data);
	if (rc == RC_OK && buf_cstr(&projects) == NULL)
		rc = err_set(&u->a->err, RC_FAULT, "out of memory");
	if (rc == RC_OK)
		rc = fs_sync(projects.p, &u->a->err);
	if (rc == RC_OK && u->p.purged_at == 0)
		rc = project_purged(u->a->accounts, u->p.id, &u->a->err);
	buf_free(&projects);
	lock_close(u->log);
	lock_close(u->state);
	lock_close(u->snapshots);
	return rc;
}

int
project_purge_run(struct admin *a)
{
	struct purge u = { .a = a };
	struct buf line;
	int code;
	enum rc rc = admin_any_project(a, a->args[0], &u.p);

	if (rc == RC_OK && u.p.deleted_at == 0)
		rc = err_set(&a->err, RC_CONFLICT, "project %s is not deleted: its members still use "
		    "it", a->args[0]);
	if (rc == RC_OK)
		rc = name_folders(&u);
	if (rc != RC_OK)
		return admin_fail(a, rc);
	code = admin_confirm(a, "Remove all files of the project %s (%s), for good", u.p.slug,
	                     u.p.name);
	if (code >= 0)
		return code;
	if ((rc = purge(&u)) != RC_OK)
		return admin_fail(a, rc);
	if (!a->json)
		return 0;
	out_begin(&line);
	out_string(&line, "id", u.p.id);
	out_string(&line, "status", "purged");
	out_end(&line);
	return 0;
}
