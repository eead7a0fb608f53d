/*
 * td-sync-admin restore: logs and accounts as a backup has them, beside a server that
 * may run (design.md, "A log has an identity"). All of the backup is checked before
 * anything is touched. Logs come first, each under its locks, then the keys, server.db
 * last: where that is, so is the rest. Killed anywhere, the same command does it again
 * from the beginning, and ends as if it had not been.
 */
#include "cli/td-sync-admin-kept.h"

#include "base/fs.h"
#include "http/snapshots.h"
#include "store/devices.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* How long it waits for whoever is in the middle of something. */
#define WAIT_MS 10000

struct restore {
	struct admin *a;
	struct kept kept;
	char server[PATH_MAX];      /* the backup's server.db */
	struct project project;     /* --project's; id "": all */
	bool lost;                  /* there is no server.db, or it is none any more */
	bool made_key;
	int64_t back;               /* of events that are replaced, those that came since */
};

/* --- what is there --- */

/*
 * Whose data folder it is. An empty one, or one whose server.db is no database any
 * more, may be anybody's.
 */
static enum rc
open_data(struct restore *r)
{
	struct admin *a = r->a;
	char path[PATH_MAX];
	enum rc rc = kept_path(path, a->data, "server.db", &a->err);

	if (rc != RC_OK)
		return rc;
	rc = accounts_open(a->data, &a->accounts, &a->err);
	r->lost = rc == RC_NOT_FOUND || (rc != RC_OK && db_is_no_database(path));
	if (r->lost)
		return RC_OK;
	if (rc == RC_OK && strcmp(accounts_server_id(a->accounts), r->kept.server_id) != 0)
		rc = err_set(&a->err, RC_CONFLICT, "the backup is of another server (%s) than %s (%s):"
		             " restore it into an empty data folder", r->kept.server_id, a->data,
		             accounts_server_id(a->accounts));
	return rc;
}

/* An empty data folder, as init makes it. */
static enum rc
make_data(struct restore *r)
{
	struct admin *a = r->a;
	char path[PATH_MAX];
	struct stat st;
	enum rc rc = stat(a->data, &st) == 0 && S_ISDIR(st.st_mode) ? RC_OK
	           : fs_mkdir(a->data, &a->err);

	if (rc == RC_OK && (rc = kept_path(path, a->data, "projects", &a->err)) == RC_OK)
		rc = fs_mkdir(path, &a->err);
	if (rc == RC_OK && (rc = kept_path(path, a->data, "keys", &a->err)) == RC_OK)
		rc = fs_mkdir(path, &a->err);
	return rc;
}

/* A project of the backup, for accounts_inspect(). */
static enum rc
match_project(void *ctx, const struct project *p)
{
	struct restore *r = ctx;
	const char *name = r->a->projects[0];

	if (strcmp(p->id, name) == 0 || strcmp(p->slug, name) == 0)
		r->project = *p;
	return RC_OK;
}

/* What --project names. */
static enum rc
find_project(struct restore *r)
{
	struct admin *a = r->a;
	struct buf wrong = { 0 };
	char server_id[ID_MAX];
	struct project there;
	enum rc rc;

	if (a->n_projects == 0)
		return RC_OK;
	if (r->lost)
		return err_set(&a->err, RC_CONFLICT, "%s holds no server.db: restore all of the "
		               "backup, without --project", a->data);
	rc = accounts_inspect(r->server, server_id, match_project, r, &wrong, &a->err);
	buf_free(&wrong);
	if (rc == RC_OK && (r->project.id[0] == '\0' ||
	    kept_log(&r->kept, r->project.id) == NULL))
		rc = err_set(&a->err, RC_NOT_FOUND, "the backup holds no project with the id or slug "
		             "%s", a->projects[0]);
	if (rc == RC_OK &&
	    (rc = project_get(a->accounts, r->project.id, &there, &a->err)) == RC_NOT_FOUND)
		err_set(&a->err, rc, "%s/server.db knows no project %s: restore all of the backup, "
		        "without --project", a->data, r->project.id);
	return rc;
}

/* --- one log --- */

/* What is made from the log, and no other process may make meanwhile. */
struct derived {
	struct lock *snapshots, *state;
};

static enum rc
take_derived(struct restore *r, const char *id, const char *dir, struct derived *d)
{
	struct snapshot_key key = { .data = r->a->data, .project = id };
	int64_t deadline_ms = clock_mono_ms() + WAIT_MS;
	char path[PATH_MAX];
	enum rc rc = snapshots_lock(&key, deadline_ms, &d->snapshots, &r->a->err);

	if (rc == RC_OK && (rc = kept_path(path, dir, STATE_LOCK, &r->a->err)) == RC_OK)
		rc = lock_open(path, &d->state, &r->a->err);
	if (rc == RC_OK && (rc = lock_take(d->state, deadline_ms)) != RC_OK)
		err_set(&r->a->err, rc, "somebody works at project %s: try again", id);
	return rc;
}

/* All that was made from the log goes; the locks' files stay. */
static void
clear_derived(struct restore *r, const char *id, const char *dir)
{
	char path[2 * PATH_MAX], folder[PATH_MAX];
	struct dirent *e;
	DIR *d;

	snprintf(path, sizeof(path), "%s/" STATE_DB, dir);
	db_remove(path);
	snprintf(path, sizeof(path), "%s/pages/%s", r->a->data, id);
	fs_remove(AT_FDCWD, path);
	snprintf(folder, sizeof(folder), "%s/snapshots/%s", r->a->data, id);
	if ((d = opendir(folder)) == NULL)
		return;
	while ((e = readdir(d)) != NULL)
		if (e->d_name[0] != '.' && strcmp(e->d_name, "lock") != 0)
			fs_remove(dirfd(d), e->d_name);
	closedir(d);
}

static void
show_log(struct restore *r, const struct kept_file *f, const struct events_head *was,
         const struct events_head *now, struct buf *aside)
{
	struct buf line = { 0 };

	if (r->a->json) {
		out_begin(&line);
		out_string(&line, "project", f->project);
		out_int(&line, "event_count", now->count);
		out_int(&line, "events_before", was->count);
		out_int(&line, "last_server_seq", now->seq);
		if (aside->len > 0)
			out_span(&line, "kept_damaged", buf_span(aside));
		out_end(&line);
		return;
	}
	buf_addf(&line, "%s: %" PRId64 " events, where %" PRId64 " were; the next is behind %" PRId64,
	         f->project, now->count, was->count, now->seq);
	if (aside->len > 0 && buf_cstr(aside) != NULL) {
		buf_add_str(&line, "; the damaged log is now ");
		out_clean(&line, aside->p);
	}
	out_line(&line);
}

/* Where the log goes on at least: behind each cursor that was served, and behind the time
 * of the backup, for the clock of a new machine may be wrong. (Numbers that were given
 * since, and are lost, count from the time of an earlier restore, if there was one.) */
static int64_t
least_seq(const struct restore *r, const char *dir)
{
	int64_t served = devices_greatest(dir);
	struct instant at;

	return time_parse_rfc3339(span_of(r->kept.at), &at) && at.sec * 1000000 > served
	       ? at.sec * 1000000 : served;
}

static enum rc
restore_log(struct restore *r, const struct kept_file *f)
{
	struct err *err = &r->a->err;
	char projects[PATH_MAX], dir[PATH_MAX], copy[PATH_MAX];
	struct derived d = { NULL, NULL };
	struct events_head was, now;
	struct buf aside = { 0 };
	enum rc rc;

	if ((rc = kept_path(projects, r->a->data, "projects", err)) != RC_OK ||
	    (rc = kept_path(dir, projects, f->project, err)) != RC_OK ||
	    (rc = kept_path(copy, r->kept.dir, f->path, err)) != RC_OK ||
	    (rc = fs_mkdir(projects, err)) != RC_OK || (rc = fs_mkdir(dir, err)) != RC_OK)
		return rc;
	rc = take_derived(r, f->project, dir, &d);
	if (rc == RC_OK) {
		clear_derived(r, f->project, dir);
		rc = events_restore(dir, copy, least_seq(r, dir), clock_mono_ms() + WAIT_MS, &was, &now,
		                    &aside, err);
	}
	if (rc == RC_OK)
		rc = fs_sync(dir, err);
	if (rc == RC_OK)
		show_log(r, f, &was, &now, &aside);
	lock_close(d.state);
	lock_close(d.snapshots);
	buf_free(&aside);
	return rc;
}

/* --- keys and accounts --- */

/* One that lies there stays as it is, retired or not. */
static enum rc
restore_key(struct restore *r, const struct kept_file *f, bool *written)
{
	char from[PATH_MAX], to[PATH_MAX];
	struct buf key = { 0 };
	enum rc rc;

	if ((rc = kept_path(from, r->kept.dir, f->path, &r->a->err)) == RC_OK &&
	    (rc = kept_path(to, r->a->data, f->path, &r->a->err)) == RC_OK &&
	    access(to, F_OK) != 0 && (rc = fs_read(from, 1 << 20, &key, &r->a->err)) == RC_OK) {
		rc = fs_write(to, buf_span(&key), 0600, &r->a->err);
		*written = true;
	}
	buf_free(&key);
	return rc;
}

/*
 * The backup's keys, where the data folder has none that signs: one that was retired or
 * taken away since, for a reason, does not come back. Without any, a new one is made.
 */
static enum rc
restore_keys(struct restore *r)
{
	char path[PATH_MAX], kid[40];
	struct keyring *k = NULL;
	bool has, kept = false;
	enum rc rc = kept_path(path, r->a->data, "keys", &r->a->err);

	if (rc != RC_OK || (rc = keyring_open(path, &k, &r->a->err)) != RC_OK)
		return rc;
	/* Keys of this backup, the last of which a run that died did not write, are none
	 * to keep. */
	has = keyring_signer(k) != NULL && !r->lost;
	for (size_t i = 0; i < r->kept.n && !has && rc == RC_OK; i++)
		if (strncmp(r->kept.files[i].path, "keys/", 5) == 0)
			rc = restore_key(r, &r->kept.files[i], &kept);
	if (rc == RC_OK && !kept && keyring_signer(k) == NULL) {
		rc = keyring_create(path, kid, &r->a->err);
		r->made_key = rc == RC_OK;
	}
	keyring_close(k);
	return rc;
}

static enum rc
restore_server(struct restore *r)
{
	struct buf aside = { 0 }, line = { 0 };
	enum rc rc = accounts_restore(r->a->data, r->server, &aside, &r->a->err);

	if (rc == RC_OK && aside.len > 0 && !r->a->json) {
		buf_add_str(&line, "the damaged server.db is now ");
		out_clean(&line, buf_cstr(&aside) != NULL ? aside.p : "");
		out_line(&line);
	}
	buf_free(&aside);
	return rc;
}

/* --- all of it --- */

static enum rc
restore_all(struct restore *r)
{
	const char *only = r->project.id;
	enum rc rc = make_data(r);

	for (size_t i = 0; i < r->kept.n && rc == RC_OK; i++)
		if (r->kept.files[i].project[0] != '\0' &&
		    (only[0] == '\0' || strcmp(only, r->kept.files[i].project) == 0))
			rc = restore_log(r, &r->kept.files[i]);
	if (rc != RC_OK || only[0] != '\0')
		return rc != RC_OK ? rc : project_restored(r->a->accounts, only,
		                                           r->project.deleted_at != 0, &r->a->err);
	if ((rc = restore_keys(r)) == RC_OK)
		rc = restore_server(r);
	return rc;
}

static int
confirm(struct restore *r)
{
	const char *from = r->kept.at;

	if (r->project.id[0] != '\0')
		return admin_confirm(r->a, "Replace the log of the project %s by that of %s: what came "
		    "since is lost here, but for what devices offer again", r->project.slug, from);
	if (r->lost)
		return admin_confirm(r->a, "Restore the server %s of %s into %s", r->kept.server_id,
		    from, r->a->data);
	return admin_confirm(r->a, "Replace %" PRId64 " logs and the accounts of %s by those of %s:"
	    " what came since is lost here, but for what devices offer again. Projects and users"
	    " that are newer stay. Go on", kept_logs(&r->kept), r->a->data, from);
}

static void
say_what_is_left(struct restore *r)
{
	if (r->made_key)
		fputs("td-sync-admin: the backup holds no keys, so a new one was made: tokens that"
		      " were given out are void, make them anew (td-sync-admin token create)\n", stderr);
}

int
restore_run(struct admin *a)
{
	struct restore r = { .a = a };
	struct lock *lock = NULL;
	int code = -1;
	enum rc rc = kept_read(a->args[0], &r.kept, &a->err);

	if (rc == RC_OK)
		rc = kept_path(r.server, a->args[0], "server.db", &a->err);
	if (rc == RC_OK && a->n_projects > 1)
		rc = err_set(&a->err, RC_INVALID, "one --project, or none for all of the backup");
	if (rc == RC_OK)
		rc = open_data(&r);
	if (rc == RC_OK)
		rc = find_project(&r);
	if (rc == RC_OK)
		rc = kept_check(&r.kept, &a->err);
	if (rc == RC_OK && (code = confirm(&r)) < 0) {
		if ((rc = make_data(&r)) == RC_OK && (rc = kept_lock(a->data, &lock, &a->err)) == RC_OK)
			rc = restore_all(&r);
		code = 0;
	}
	if (rc == RC_OK && code == 0)
		say_what_is_left(&r);
	lock_close(lock);
	kept_free(&r.kept);
	return rc == RC_OK ? code : admin_fail(a, rc);
}
