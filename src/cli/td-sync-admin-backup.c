/*
 * td-sync-admin backup: a copy of everything, beside a server that runs. It is made
 * under a name that nobody takes for a backup's, checked, and then renamed.
 *
 * server.db is copied first, then the logs of the projects that it knows: a project's
 * log is made before its row is, so none is missing; and what is newer than the copy of
 * server.db belongs to the next backup. Each is of one moment, and nobody waits for it:
 * readers of a WAL need no lock.
 */
#include "cli/td-sync-admin-kept.h"

#include "base/fs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* How often it begins anew where a project is purged meanwhile. */
#define TRIES 5

#define STAMP_LEN 16 /* 20261127T004100Z */

struct backup {
	struct admin *a;
	char dir[PATH_MAX];         /* where backups are kept */
	char part[PATH_MAX];        /* one that is being made */
	char gone[PATH_MAX];        /* one that is being removed */
	char path[PATH_MAX];        /* what it is called in the end */
	struct kept kept;
	struct buf projects;        /* ids of the projects with a log, with blanks behind */
};

/* --- where to --- */

/* Whether a path is a folder or lies in it; both are real paths. */
static bool
is_within(const char *path, const char *folder)
{
	size_t n = strlen(folder);

	return strncmp(path, folder, n) == 0 && (path[n] == '\0' || path[n] == '/');
}

/* The folder is there, writable, and nothing that a backup would disturb. */
static enum rc
find_dir(struct backup *b)
{
	struct admin *a = b->a;
	char data[PATH_MAX], list[PATH_MAX];
	bool made;
	enum rc rc;

	if (!fs_folder(a->args[0], 0700, &made) || realpath(a->args[0], b->dir) == NULL ||
	    realpath(a->data, data) == NULL)
		return err_set(&a->err, RC_UNAVAILABLE, "can't make the folder %s: %s", a->args[0],
		               strerror(errno));
	if (is_within(b->dir, data)) {
		if (made)
			rmdir(b->dir);
		return err_set(&a->err, RC_INVALID, "%s lies in the data folder: whatever takes that "
		               "takes the backup along", a->args[0]);
	}
	if ((rc = fs_mkdir(b->dir, &a->err)) != RC_OK) /* durably */
		return rc;
	if ((rc = kept_path(list, b->dir, KEPT_LIST, &a->err)) != RC_OK)
		return rc;
	if (access(list, F_OK) == 0)
		return err_set(&a->err, RC_INVALID, "%s is a backup itself: name the folder that it "
		               "lies in", a->args[0]);
	if (access(b->dir, W_OK | X_OK) != 0)
		return err_set(&a->err, RC_UNAVAILABLE, "can't write to %s as user %ld: %s",
		               a->args[0], (long)geteuid(), strerror(errno));
	return RC_OK;
}

/* Two servers may keep their backups in the same folder. */
static enum rc
name_all(struct backup *b)
{
	const char *id = accounts_server_id(b->a->accounts);
	char name[80];
	enum rc rc;

	snprintf(name, sizeof(name), ".td-sync-%s.part", id);
	rc = kept_path(b->part, b->dir, name, &b->a->err);
	snprintf(name, sizeof(name), ".td-sync-%s.gone", id);
	if (rc == RC_OK)
		rc = kept_path(b->gone, b->dir, name, &b->a->err);
	return rc;
}

/* Its time, which is its name: one that no backup has. */
static enum rc
name_time(struct backup *b)
{
	char stamp[STAMP_LEN + 1], name[sizeof(KEPT_NAME) + STAMP_LEN];
	struct stat st;
	struct tm tm;
	time_t now;
	enum rc rc;

	for (;;) {
		now = (time_t)(clock_now_us() / 1000000);
		if (gmtime_r(&now, &tm) == NULL ||
		    strftime(stamp, sizeof(stamp), "%Y%m%dT%H%M%SZ", &tm) == 0)
			return err_set(&b->a->err, RC_UNAVAILABLE, "the clock of this machine makes no "
			               "sense");
		snprintf(name, sizeof(name), KEPT_NAME "%s", stamp);
		if ((rc = kept_path(b->path, b->dir, name, &b->a->err)) != RC_OK ||
		    lstat(b->path, &st) != 0)
			break;
		sleep(1);
	}
	time_text(now, b->kept.at);
	return rc;
}

/* --- copying --- */

static enum rc
make_folder(struct backup *b, const char *name)
{
	char path[PATH_MAX];
	enum rc rc = kept_path(path, b->part, name, &b->a->err);

	return rc == RC_OK ? fs_mkdir(path, &b->a->err) : rc;
}

static enum rc
add_project(void *ctx, const struct project *p)
{
	struct backup *b = ctx;

	if (p->purged_at == 0) {
		buf_add_str(&b->projects, p->id);
		buf_add_byte(&b->projects, ' ');
	}
	return RC_OK;
}

static enum rc
copy_server(struct backup *b)
{
	struct err *err = &b->a->err;
	char path[PATH_MAX];
	struct buf wrong = { 0 };
	enum rc rc = kept_path(path, b->part, "server.db", err);

	buf_reset(&b->projects);
	if (rc == RC_OK)
		rc = accounts_copy(b->a->accounts, path, err);
	if (rc == RC_OK)
		rc = accounts_inspect(path, b->kept.server_id, add_project, b, &wrong, err);
	if (rc == RC_OK && wrong.len > 0)
		rc = err_set(err, RC_UNAVAILABLE, "server.db is damaged: %s", buf_cstr(&wrong));
	if (rc == RC_OK)
		rc = kept_add(&b->kept, "server.db", NULL, err);
	buf_free(&wrong);
	return rc;
}

/* No log, and server.db says why by now: RC_BUSY, begin anew. */
static enum rc
missing(struct backup *b, const char *id)
{
	struct project p;

	if (project_get(b->a->accounts, id, &p, NULL) == RC_OK && p.purged_at != 0)
		return RC_BUSY;
	return err_set(&b->a->err, RC_UNAVAILABLE, "the log of project %s is missing: restore it "
	               "from an older backup, or delete and purge the project", id);
}

static enum rc
copy_log(struct backup *b, const char *id)
{
	struct err *err = &b->a->err;
	char from[PATH_MAX], to[PATH_MAX], folder[64], name[96];
	struct events *log = NULL;
	struct kept_file *f;
	struct buf wrong = { 0 };
	enum rc rc;

	snprintf(folder, sizeof(folder), "projects/%s", id);
	snprintf(name, sizeof(name), "%s/" EVENTS_DB, folder);
	if ((rc = kept_path(from, b->a->data, folder, err)) != RC_OK ||
	    (rc = kept_path(to, b->part, name, err)) != RC_OK ||
	    (rc = make_folder(b, folder)) != RC_OK)
		return rc;
	if ((rc = events_open(from, &log, err)) == RC_NOT_FOUND ||
	    (rc != RC_OK && access(from, F_OK) != 0)) /* no folder for the lock */
		return missing(b, id);
	if (rc == RC_OK)
		rc = events_copy(log, to, err);
	events_close(log);
	if (rc == RC_OK)
		rc = kept_add(&b->kept, name, &f, err);
	if (rc == RC_OK) {
		snprintf(f->project, sizeof(f->project), "%s", id);
		rc = events_inspect(to, &f->head, &wrong, err);
	}
	if (rc == RC_OK && wrong.len > 0)
		rc = err_set(err, RC_UNAVAILABLE, "the log of project %s is damaged: %s", id,
		             buf_cstr(&wrong));
	buf_free(&wrong);
	return rc;
}

static enum rc
copy_key(struct backup *b, const char *name)
{
	struct err *err = &b->a->err;
	char from[PATH_MAX], to[PATH_MAX], path[NAME_MAX + 8];
	struct buf key = { 0 };
	enum rc rc;

	snprintf(path, sizeof(path), "keys/%s", name);
	if ((rc = kept_path(from, b->a->data, path, err)) == RC_OK &&
	    (rc = kept_path(to, b->part, path, err)) == RC_OK &&
	    (rc = fs_read(from, 1 << 20, &key, err)) == RC_OK &&
	    (rc = fs_write(to, buf_span(&key), 0600, err)) == RC_OK)
		rc = kept_add(&b->kept, path, NULL, err);
	buf_free(&key);
	return rc;
}

static enum rc
copy_keys(struct backup *b)
{
	char path[PATH_MAX];
	struct dirent *e;
	DIR *d;
	enum rc rc;

	if ((rc = kept_path(path, b->a->data, "keys", &b->a->err)) != RC_OK ||
	    (rc = make_folder(b, "keys")) != RC_OK)
		return rc;
	if ((d = opendir(path)) == NULL)
		return err_set(&b->a->err, RC_UNAVAILABLE, "can't read %s: %s", path, strerror(errno));
	while (rc == RC_OK && (e = readdir(d)) != NULL) {
		size_t n = strlen(e->d_name);

		if (e->d_name[0] != '.' && n > 5 && strcmp(e->d_name + n - 5, ".json") == 0)
			rc = copy_key(b, e->d_name);
	}
	closedir(d);
	return rc;
}

/* All of it into a new folder. RC_BUSY: begin anew. */
static enum rc
copy_all(struct backup *b)
{
	struct err *err = &b->a->err;
	enum rc rc;

	kept_free(&b->kept);
	fs_remove(AT_FDCWD, b->part);
	if ((rc = fs_mkdir(b->part, err)) != RC_OK ||
	    (rc = make_folder(b, "projects")) != RC_OK || (rc = copy_server(b)) != RC_OK)
		return rc;
	if (buf_cstr(&b->projects) == NULL)
		return err_set(err, RC_FAULT, "out of memory");
	for (char *more = b->projects.p, *id; rc == RC_OK && (id = strtok_r(more, " ", &more));)
		rc = copy_log(b, id);
	if (rc == RC_OK && b->a->with_keys)
		rc = copy_keys(b);
	return rc;
}

/* The names in each folder, the folders first made last synced. */
static enum rc
sync_folders(struct backup *b)
{
	char path[PATH_MAX], *slash;
	enum rc rc = RC_OK;

	for (size_t i = 0; i < b->kept.n && rc == RC_OK; i++)
		if ((rc = kept_path(path, b->part, b->kept.files[i].path, &b->a->err)) == RC_OK) {
			slash = strrchr(path, '/');
			*slash = '\0';
			rc = fs_sync(path, &b->a->err);
		}
	if (rc == RC_OK && (rc = kept_path(path, b->part, "projects", &b->a->err)) == RC_OK)
		rc = fs_sync(path, &b->a->err);
	return rc;
}

static enum rc
make(struct backup *b)
{
	struct err *err = &b->a->err;
	struct kept again;
	enum rc rc = RC_BUSY;

	if ((rc = name_time(b)) != RC_OK)
		return rc;
	snprintf(b->kept.dir, sizeof(b->kept.dir), "%s", b->part);
	for (int i = 0; i < TRIES && (i == 0 || rc == RC_BUSY); i++)
		rc = copy_all(b);
	if (rc == RC_OK)
		rc = kept_check(&b->kept, err);
	if (rc == RC_OK)
		rc = sync_folders(b);
	if (rc == RC_OK)
		rc = kept_write(&b->kept, err);
	if (rc == RC_OK && (rc = kept_read(b->part, &again, err)) == RC_OK)
		kept_free(&again);
	if (rc == RC_OK && rename(b->part, b->path) != 0)
		rc = err_set(err, RC_UNAVAILABLE, "can't rename %s to %s: %s", b->part, b->path,
		             strerror(errno));
	if (rc == RC_OK)
		return fs_sync(b->dir, err);
	fs_remove(AT_FDCWD, b->part);
	return rc;
}

/* --- afterwards --- */

/* For doctor: when the last good one was made. */
static enum rc
note_last(struct backup *b)
{
	struct buf text = { 0 };
	char path[PATH_MAX];
	enum rc rc = kept_path(path, b->a->data, "last-backup.json", &b->a->err);

	buf_addf(&text, "{\"at\":\"%s\",\"path\":", b->kept.at);
	buf_add_json(&text, span_of(b->path));
	buf_addf(&text, ",\"projects\":%" PRId64 ",\"events\":%" PRId64 "}\n", kept_logs(&b->kept),
	         kept_events(&b->kept));
	if (rc == RC_OK)
		rc = text.failed ? err_set(&b->a->err, RC_FAULT, "out of memory")
		                 : fs_write(path, buf_span(&text), 0640, &b->a->err);
	buf_free(&text);
	return rc;
}

static int
is_name(const struct dirent *e)
{
	const char *p = e->d_name + strlen(KEPT_NAME);

	return strncmp(e->d_name, KEPT_NAME, strlen(KEPT_NAME)) == 0 &&
	       strlen(p) == STAMP_LEN && p[8] == 'T' && p[STAMP_LEN - 1] == 'Z' &&
	       strspn(p, "0123456789TZ") == STAMP_LEN;
}

/* Whether it is a whole backup of this server, in a folder of its own. */
static bool
is_ours(struct backup *b, const char *path)
{
	struct kept k;
	struct stat st;
	bool ours;

	if (lstat(path, &st) != 0 || !S_ISDIR(st.st_mode) || kept_read(path, &k, NULL) != RC_OK)
		return false;
	ours = strcmp(k.server_id, b->kept.server_id) == 0;
	kept_free(&k);
	return ours;
}

/*
 * Remove our oldest backups but for the newest `keep`, the one just made among them. Each
 * gets another name first: half of one is never taken for one. What is not ours, or can't
 * be read, stays.
 */
static enum rc
remove_old(struct backup *b)
{
	struct dirent **names;
	char path[PATH_MAX];
	int64_t ours = 0;
	int n = scandir(b->dir, &names, is_name, alphasort);
	enum rc rc = RC_OK;

	if (n < 0)
		return err_set(&b->a->err, RC_UNAVAILABLE, "can't read %s: %s", b->dir,
		               strerror(errno));
	for (int i = n - 1; i >= 0; i--) {
		if (rc == RC_OK &&
		    (rc = kept_path(path, b->dir, names[i]->d_name, &b->a->err)) == RC_OK &&
		    is_ours(b, path) && ++ours > b->a->keep && strcmp(path, b->path) != 0) {
			fs_remove(AT_FDCWD, b->gone);
			if (rename(path, b->gone) != 0)
				rc = err_set(&b->a->err, RC_UNAVAILABLE, "can't remove the old backup %s: %s",
				             path, strerror(errno));
			fs_remove(AT_FDCWD, b->gone);
		}
		free(names[i]);
	}
	free(names);
	return rc;
}

static void
show(struct backup *b)
{
	struct buf line = { 0 };

	if (b->a->json) {
		out_begin(&line);
		out_string(&line, "path", b->path);
		out_string(&line, "at", b->kept.at);
		out_int(&line, "projects", kept_logs(&b->kept));
		out_int(&line, "events", kept_events(&b->kept));
		out_raw(&line, "keys", b->a->with_keys ? "true" : "false");
		out_end(&line);
		return;
	}
	out_clean(&line, b->path);
	buf_addf(&line, ": %" PRId64 " projects, %" PRId64 " events, %s, checked",
	         kept_logs(&b->kept), kept_events(&b->kept),
	         b->a->with_keys ? "with keys" : "no keys");
	out_line(&line);
}

int
backup_run(struct admin *a)
{
	struct backup b = { .a = a };
	struct lock *lock = NULL;
	enum rc rc = find_dir(&b);

	if (rc == RC_OK)
		rc = name_all(&b);
	if (rc == RC_OK)
		rc = kept_lock(a->data, &lock, &a->err);
	if (rc == RC_OK) {
		fs_remove(AT_FDCWD, b.gone); /* of a run that died */
		rc = make(&b);
	}
	if (rc == RC_OK && (rc = note_last(&b)) == RC_OK) {
		show(&b);
		if (a->keep > 0)
			rc = remove_old(&b);
	}
	lock_close(lock);
	kept_free(&b.kept);
	buf_free(&b.projects);
	return rc == RC_OK ? 0 : admin_fail(a, rc);
}
