/* td-sync-admin doctor: the data folder, and what it lies on. */
#include "cli/td-sync-admin-doctor.h"

#include "base/fs.h"
#include "store/trial.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define MIB (INT64_C(1) << 20)
#define SPACE_ERROR (128 * MIB)  /* less room than that, and pushes fail soon */
#define SPACE_WARNING (1024 * MIB)
#define INODES_ERROR 500
#define INODES_WARNING 5000
#define FUSE_MAGIC 0x65735546
#define SKEW_S 5                 /* the file system's clock against ours */
#define SETUP_FILE ".setup"      /* setup.sh's: which installation made the folder */

/* --- permissions --- */

/* What is wrong with owners and rights, as it is walked. */
struct walk {
	struct doctor *d;
	uid_t owner;
	int foreign, open_keys;            /* how many */
	char first_foreign[PATH_MAX], first_key[PATH_MAX];
};

static void
judge_file(struct walk *w, int dir, const char *below, const char *name, bool is_key)
{
	struct stat st;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return;
	/* What nobody writes while it serves may be root's. */
	if (st.st_uid != w->owner && strcmp(name, CONFIG_FILE) != 0 &&
	    strcmp(name, SETUP_FILE) != 0 && w->foreign++ == 0)
		snprintf(w->first_foreign, PATH_MAX, "%s%s", below, name);
	if (is_key && (st.st_mode & 077) != 0 && w->open_keys++ == 0)
		snprintf(w->first_key, PATH_MAX, "%s%s", below, name);
}

/* All that is in a folder of the data folder; of each folder in it too, `deep`. */
static void
walk_folder(struct walk *w, const char *below, bool is_key, bool deep)
{
	char path[PATH_MAX], next[PATH_MAX];
	const struct dirent *e;
	DIR *dir;

	if (!doctor_path(w->d, below, path) || (dir = opendir(path)) == NULL)
		return;
	while ((e = readdir(dir)) != NULL) {
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 ||
		    strcmp(e->d_name, "lost+found") == 0)
			continue;
		judge_file(w, dirfd(dir), below, e->d_name, is_key);
		if (deep && snprintf(next, sizeof(next), "%s%s/", below, e->d_name) < PATH_MAX)
			walk_folder(w, next, is_key, false);
	}
	closedir(dir);
}

/* Whether we may do what the server has to. */
static bool
check_access(struct doctor *d)
{
	const struct finding f = { LEVEL_ERROR, "permissions", "what can't be read or written can't "
		"be served, nor looked at", "run this as the folder's owner or as root; is the disk "
		"mounted read-only?" };
	static const char *const names[] = { "", "server.db", "projects", "keys" };
	bool ok = true;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]) && ok; i++) {
		char path[PATH_MAX];

		ok = doctor_path(d, names[i], path) && access(path, R_OK | W_OK) == 0;
		if (!ok)
			doctor_say(d, &f, "%s can't be read and written by user %ld: %s", path,
			           (long)geteuid(), strerror(errno));
	}
	return ok;
}

static void
check_permissions(struct doctor *d)
{
	const struct finding foreign = { LEVEL_ERROR, "owner", "the server can't write them: its "
		"requests fail with 503", "chown -R OWNER: the data folder, with the owner of the folder "
		"itself" };
	const struct finding open_keys = { LEVEL_ERROR, "keys", "whoever reads them makes tokens for "
		"anybody, so the server refuses to use them", "chmod 600 keys/*; where others have an "
		"account here: td-sync-admin key rotate --overlap 0" };
	const struct finding open_data = { LEVEL_WARNING, "permissions", "all that has been written "
		"in any project, and all addresses, can be read by every user of this machine",
		"chmod o-rwx the data folder" };
	struct walk w = { .d = d };
	struct stat st;

	if (stat(d->data, &st) != 0 || !check_access(d))
		return;
	w.owner = st.st_uid;
	walk_folder(&w, "", false, false);
	walk_folder(&w, "keys/", true, false);
	walk_folder(&w, "projects/", false, true);
	if (w.foreign > 0)
		doctor_say(d, &foreign, "%d file%s not user %ld's, as the folder is: %s", w.foreign,
		           w.foreign == 1 ? " is" : "s are", (long)w.owner, w.first_foreign);
	if (w.open_keys > 0)
		doctor_say(d, &open_keys, "%s can be read by others (mode 0600 is right)", w.first_key);
	if ((st.st_mode & 07) != 0)
		doctor_say(d, &open_data, "%s is open to everybody (mode %04o)", d->data,
		           st.st_mode & 07777);
	if (w.foreign == 0 && w.open_keys == 0 && (st.st_mode & 07) == 0)
		doctor_ok(d, "permissions", "of the folder, the keys and the logs");
}

/* --- room --- */

static void
check_space(struct doctor *d)
{
	const char *why = "no push is taken when there is none left, and SQLite needs some to make any";
	const char *todo = "make room: old backups, data/snapshots and data/pages are made anew; "
		"td-sync-admin project purge";
	struct finding f = { LEVEL_WARNING, "space", why, todo };
	struct statvfs st;
	int64_t room;

	if (statvfs(d->data, &st) != 0)
		return;
	room = (int64_t)st.f_bavail * (int64_t)st.f_frsize;
	if (room < SPACE_WARNING) {
		f.level = room < SPACE_ERROR ? LEVEL_ERROR : LEVEL_WARNING;
		doctor_say(d, &f, "%" PRId64 " MiB are free", room / MIB);
	} else {
		doctor_ok(d, "space", "%" PRId64 " MiB are free", room / MIB);
	}
	if (st.f_files > 0 && st.f_favail < INODES_WARNING) {
		f.level = st.f_favail < INODES_ERROR ? LEVEL_ERROR : LEVEL_WARNING;
		f.check = "inodes";
		doctor_say(d, &f, "%ju more files can be made", (uintmax_t)st.f_favail);
	}
}

/* --- the file system --- */

static void
judge_system(struct doctor *d)
{
	const struct finding network = { LEVEL_ERROR, "file_system", "SQLite's WAL needs memory that "
		"all processes share, which is there on one machine's disk alone",
		"move the data folder to a local disk" };
	const struct finding fuse = { LEVEL_WARNING, "file_system", "behind it may be a network, where "
		"locks and WAL are not to be relied on", "use a local disk, unless you know that it is one" };
	const char *name = fs_network(d->data);
	struct statfs st;

	if (name != NULL)
		doctor_say(d, &network, "the data folder is on a network file system (%s)", name);
	else if (statfs(d->data, &st) == 0 && (uint32_t)st.f_type == FUSE_MAGIC)
		doctor_say(d, &fuse, "the data folder is on a FUSE file system");
}

/* The clock that files get their times from, against ours. */
static void
judge_time(struct doctor *d, const char *path)
{
	const struct finding f = { LEVEL_WARNING, "clock", "the disk is another machine's, or one of "
		"the clocks is wrong", "set them right: timedatectl set-ntp true, for one" };
	int64_t now = clock_now_us() / 1000000;
	struct stat st;

	if (stat(path, &st) == 0 && (st.st_mtime > now + SKEW_S || st.st_mtime < now - SKEW_S))
		doctor_say(d, &f, "a file that is made now gets a time %" PRId64 " s from it",
		           (int64_t)st.st_mtime - now);
}

static void
try_system(struct doctor *d)
{
	const struct finding f = { LEVEL_ERROR, "file_system", "two workers at once would damage the "
		"databases, or lose what was acked", "move the data folder to another file system, as "
		"ext4 or xfs on a local disk" };
	const struct finding full = { LEVEL_ERROR, "file_system", "then the server can't either",
		"is the disk full, or mounted read-only?" };
	char name[DOCTOR_NAME], path[PATH_MAX];

	if (!doctor_path(d, DOCTOR_SCRATCH "0123456789abcdef/trial.db-journal", path)) {
		doctor_say(d, &full, "the data folder's path is too long");
		return;
	}
	if (!doctor_guard(d, name))
		return;
	doctor_path(d, name, path);
	if (mkdir(path, 0700) != 0)
		doctor_say(d, &full, "nothing can be made in the data folder: %s", strerror(errno));
	else if (trial_run(path, &d->a->err) != RC_OK)
		doctor_say(d, &f, "%s", d->a->err.text);
	else
		doctor_ok(d, "file_system", "locks and WAL work between two processes");
	judge_time(d, path);
	doctor_done(d, name);
}

/* Not a fault of anybody's: said, since it matters for what else touches the files. */
static void
check_sqlite(struct doctor *d)
{
	bool has_bug;
	const char *version = trial_sqlite(&has_bug);

	if (has_bug)
		doctor_ok(d, "sqlite", "%s. Good to know: in that version a checkpoint beside a commit "
		          "can damage a database. td-sync does both under one lock, so it is safe; but let "
		          "no other program checkpoint its files (litestream, PRAGMA wal_checkpoint)",
		          version);
	else
		doctor_ok(d, "sqlite", "%s", version);
}

void
doctor_disk(struct doctor *d)
{
	check_permissions(d);
	check_space(d);
	judge_system(d);
	try_system(d);
	check_sqlite(d);
}
