/* Snapshots on disk, see snapshots.h. */
#define _GNU_SOURCE 1 /* sync_file_range; as a test has it that compiles this */
#include "http/snapshots.h"

#include "base/clock.h"
#include "base/fs.h"
#include "base/id.h"
#include "base/json.h"
#include "base/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Raise it when a snapshot of the same rows is made differently: what older
 * versions kept is then made anew. */
#define FORMAT 1

#define LOCK "lock"
#define DRAFT "draft"       /* by who has the lock */
#define PAST ".past-"       /* by anybody, and a random name */
#define STALE_S 300         /* whoever made it is long dead then */
#define NOTE_MAX 4096       /* bytes of a .json */
#define CHUNK 65536

#define FULL_NAME (PATH_MAX + SNAPSHOTS_NAME + 64)

/* --- names --- */

void
snapshots_name(const struct snapshot_key *key, int64_t seq, char out[SNAPSHOTS_NAME])
{
	snprintf(out, SNAPSHOTS_NAME, "/%s/%" PRId64 ".db", key->project, seq);
}

/* A name in the project's folder. */
static void
full_name(const struct snapshot_key *key, const char *name, char out[FULL_NAME])
{
	snprintf(out, FULL_NAME, "%s/snapshots/%s/%s", key->data, key->project, name);
}

static void
seq_name(const struct snapshot_key *key, int64_t seq, const char *suffix,
         char out[FULL_NAME])
{
	char name[64];

	snprintf(name, sizeof(name), "%" PRId64 "%s", seq, suffix);
	full_name(key, name, out);
}

/* The seq that a file's name with this suffix stands for; -1: none. */
static int64_t
seq_of(const char *name, const char *suffix)
{
	struct span digits = { name, strspn(name, "0123456789") };
	int64_t seq;

	return strcmp(name + digits.len, suffix) == 0 && json_int64(digits, &seq) ? seq : -1;
}

/* --- what a file is, in the words of its .json --- */

/* A file's facts, as they are noted and as they are found. */
struct facts {
	struct snapshot_file f;
	int64_t mtime_ns;
};

static int64_t
mtime_ns(const struct stat *st)
{
	return (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec;
}

static void
add_hex(struct buf *out, const char *name, const unsigned char *p, size_t n)
{
	buf_addf(out, ",\"%s\":\"", name);
	buf_add_hex(out, p, n);
	buf_add_byte(out, '"');
}

/* All but the checksum. */
static void
write_facts(const struct facts *a, const char *mark, struct buf *out)
{
	buf_addf(out, "{\"format\":%d,\"seq\":%" PRId64 ",\"profile\":", FORMAT, a->f.what.seq);
	buf_add_json(out, span_of(mark));
	add_hex(out, "log_id", a->f.what.log_id, LOG_ID_LEN);
	add_hex(out, "last", a->f.what.last, EVENT_DIGEST_LEN);
	add_hex(out, "digest", a->f.what.digest, HASH_LEN);
	buf_addf(out, ",\"size\":%" PRId64 ",\"mtime_ns\":%" PRId64, a->f.size, a->mtime_ns);
	add_hex(out, "sha256", a->f.hash, HASH_LEN);
}

/* The checksum of what was written, and the end. */
static bool
add_check(struct buf *out)
{
	unsigned char sum[HASH_LEN];

	if (out->failed || hash_sha256(buf_span(out), sum) != RC_OK)
		return false;
	add_hex(out, "check", sum, HASH_LEN);
	buf_add_str(out, "}\n");
	return !out->failed;
}

static bool
take_hex(struct span json, unsigned char *out, size_t n)
{
	return json_type(json) == JSON_STRING &&
	       id_unhex((struct span){ json.p + 1, json.len - 2 }, out, n);
}

/* Read what was noted; by writing it again it is known to be whole, and of this
 * format and profile. */
static bool
parse_facts(struct span text, const char *mark, struct facts *a)
{
	static const char *const keys[] = { "seq", "log_id", "last", "digest", "size",
	                                    "mtime_ns", "sha256" };
	struct span all, v[7];
	struct buf again = { 0 };
	bool same;

	if (json_scan(text, JSON_MAX_DEPTH, &all, NULL, NULL) != RC_OK ||
	    json_type(all) != JSON_OBJECT)
		return false;
	json_pick(all, keys, 7, v);
	if (!json_int64(v[0], &a->f.what.seq) ||
	    !take_hex(v[1], a->f.what.log_id, LOG_ID_LEN) ||
	    !take_hex(v[2], a->f.what.last, EVENT_DIGEST_LEN) ||
	    !take_hex(v[3], a->f.what.digest, HASH_LEN) ||
	    !json_int64(v[4], &a->f.size) || !json_int64(v[5], &a->mtime_ns) ||
	    !take_hex(v[6], a->f.hash, HASH_LEN))
		return false;
	write_facts(a, mark, &again);
	same = add_check(&again) && span_eq(text, buf_span(&again));
	buf_free(&again);
	return same;
}

/* --- reading --- */

/* Open what may be anything, for reading. */
static int
open_any(const char *path, struct stat *st)
{
	/* NONBLOCK: whatever else lies there must not hold us up. */
	int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

	if (fd >= 0 && (fstat(fd, st) != 0 || !S_ISREG(st->st_mode))) {
		close(fd);
		errno = EINVAL;
		fd = -1;
	}
	return fd;
}

static bool
hash_file(int fd, int64_t size, unsigned char out[HASH_LEN])
{
	static char chunk[CHUNK];
	struct hash h;
	int64_t at = 0;
	ssize_t n;

	hash_begin(&h);
	while (at < size && (n = pread(fd, chunk, sizeof(chunk), at)) > 0) {
		hash_add(&h, (struct span){ chunk, (size_t)n });
		at += n;
	}
	return hash_end(&h, out) == RC_OK && at == size;
}

static bool
read_facts(const struct snapshot_key *key, int64_t seq, struct facts *a)
{
	char path[FULL_NAME], mark[FOLLOW_MARK], text[NOTE_MAX];
	struct stat st;
	ssize_t n;
	int fd;

	seq_name(key, seq, ".json", path);
	if ((fd = open_any(path, &st)) < 0)
		return false;
	n = read(fd, text, sizeof(text));
	close(fd);
	follow_mark(key->profile, mark);
	return n > 0 && parse_facts((struct span){ text, (size_t)n }, mark, a) &&
	       a->f.what.seq == seq;
}

/* Whether it is of the log as it is: it may be a copy of another one's. */
static bool
is_of_log(const struct snapshot_key *key, const struct snapshot *s)
{
	unsigned char digest[EVENT_DIGEST_LEN];

	return memcmp(s->log_id, key->head->log_id, LOG_ID_LEN) == 0 &&
	       events_digest(key->log, s->seq, digest, NULL) == RC_OK &&
	       memcmp(s->last, digest, EVENT_DIGEST_LEN) == 0;
}

/* Open one; what is wrong with it, or NULL. */
static const char *
open_one(const struct snapshot_key *key, int64_t seq, bool whole, struct snapshot_file *out)
{
	unsigned char hash[HASH_LEN];
	char path[FULL_NAME];
	struct facts a;
	struct stat st;

	out->fd = -1;
	if (!read_facts(key, seq, &a))
		return "its .json is not what was written, or of another version";
	if (!is_of_log(key, &a.f.what))
		return "not of the log as it is now";
	seq_name(key, seq, ".db", path);
	if ((a.f.fd = open_any(path, &st)) < 0)
		return strerror(errno);
	*out = a.f;
	if (st.st_size != a.f.size || mtime_ns(&st) != a.mtime_ns)
		return "not the file that was made";
	if (whole && (!hash_file(a.f.fd, a.f.size, hash) ||
	              memcmp(hash, a.f.hash, HASH_LEN) != 0))
		return "damaged";
	return NULL;
}

/* The greatest seq below another that there is a .json of; -1: none. */
static int64_t
newest_below(const struct snapshot_key *key, int64_t seq)
{
	char path[FULL_NAME];
	struct dirent *entry;
	int64_t found = -1;
	DIR *d;

	full_name(key, ".", path);
	d = opendir(path);
	while (d != NULL && (entry = readdir(d)) != NULL) {
		int64_t n = seq_of(entry->d_name, ".json");

		if (n > found && n < seq)
			found = n;
	}
	if (d != NULL)
		closedir(d);
	return found;
}

static void
close_file(struct snapshot_file *f)
{
	if (f->fd >= 0)
		close(f->fd);
	f->fd = -1;
}

enum rc
snapshots_open(const struct snapshot_key *key, bool whole, struct snapshot_file *out,
               struct err *err)
{
	int64_t seq = key->head->visible + 1;
	const char *wrong;

	err->text[0] = '\0';
	out->fd = -1;
	while ((seq = newest_below(key, seq)) >= key->from) {
		if ((wrong = open_one(key, seq, whole, out)) == NULL)
			return RC_OK;
		close_file(out);
		err_set(err, RC_NOT_FOUND, "the snapshot at %" PRId64 ": %s", seq, wrong);
	}
	return RC_NOT_FOUND;
}

enum rc
snapshots_each(const struct snapshot_key *key, snapshots_visit *visit, void *ctx)
{
	struct snapshot_file f;
	char path[FULL_NAME];
	int64_t seq = INT64_MAX;
	const char *wrong;
	enum rc rc = RC_OK;

	while (rc == RC_OK && (seq = newest_below(key, seq)) >= 0) {
		f = (struct snapshot_file){ .fd = -1 };
		wrong = open_one(key, seq, true, &f);
		close_file(&f);
		seq_name(key, seq, ".db", path);
		if (wrong == NULL || access(path, F_OK) == 0) /* else it made room */
			rc = visit(ctx, seq, path, &f.what, wrong);
	}
	return rc;
}

/* --- making --- */

static enum rc
failed(struct err *err, const char *what, const char *path)
{
	return err_set(err, RC_UNAVAILABLE, "can't %s %s: %s", what, path, strerror(errno));
}

/* Make them, but not for a log that was taken away: the project was purged, and who
 * did that removes a folder that was made before, and nobody one that is made after. */
static enum rc
make_folders(const struct snapshot_key *key, struct err *err)
{
	char path[FULL_NAME];
	bool made;

	snprintf(path, sizeof(path), "%s/snapshots", key->data);
	if (!fs_folder(path, 0750, &made))
		return failed(err, "make folder", path);
	snprintf(path, sizeof(path), "%s/snapshots/%s", key->data, key->project);
	if (!fs_folder(path, 0750, &made))
		return failed(err, "make folder", path);
	if (key->log == NULL || !events_stale(key->log))
		return RC_OK;
	if (made)
		rmdir(path);
	return err_set(err, RC_BUSY, "the project's log was removed or replaced meanwhile");
}

enum rc
snapshots_lock(const struct snapshot_key *key, int64_t deadline_ms, struct lock **out,
               struct err *err)
{
	char path[FULL_NAME];
	enum rc rc;

	*out = NULL;
	full_name(key, LOCK, path);
	if ((rc = make_folders(key, err)) != RC_OK || (rc = lock_open(path, out, err)) != RC_OK)
		return rc;
	if ((rc = lock_take(*out, deadline_ms)) == RC_OK)
		return RC_OK;
	lock_close(*out);
	*out = NULL;
	return err_set(err, rc, "a snapshot of the project is being made");
}

/* Open what was made, and see what its file is; `keep`: on the disk. */
static enum rc
take_in(const char *path, bool keep, struct facts *a, struct err *err)
{
	struct stat st;

	if ((a->f.fd = open_any(path, &st)) < 0)
		return failed(err, "read", path);
	a->f.size = st.st_size;
	a->mtime_ns = mtime_ns(&st);
	if (keep) /* it is on its way while we read */
		sync_file_range(a->f.fd, 0, 0, SYNC_FILE_RANGE_WRITE);
	if (!hash_file(a->f.fd, a->f.size, a->f.hash))
		return failed(err, "read", path);
	return keep && fsync(a->f.fd) != 0 ? failed(err, "sync", path) : RC_OK;
}

/* Give the draft its name, then its .json, which makes it count. */
static enum rc
put_in_place(const struct snapshot_key *key, const char *draft, const struct facts *a,
             struct err *err)
{
	char path[FULL_NAME], note[FULL_NAME], mark[FOLLOW_MARK];
	struct buf text = { 0 };
	enum rc rc;

	seq_name(key, a->f.what.seq, ".json", note);
	fs_remove(AT_FDCWD, note);
	seq_name(key, a->f.what.seq, ".db", path);
	if (rename(draft, path) != 0) {
		fs_remove(AT_FDCWD, path); /* a folder may be in its place */
		if (rename(draft, path) != 0)
			return failed(err, "write", path);
	}
	follow_mark(key->profile, mark);
	write_facts(a, mark, &text);
	rc = add_check(&text) ? fs_write(note, buf_span(&text), 0640, err)
	                      : err_set(err, RC_FAULT, "out of memory");
	buf_free(&text);
	if (rc != RC_OK)
		unlink(path);
	return rc;
}

static bool
is_stale(int dir, const char *name)
{
	struct stat st;

	return fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	       st.st_mtime < clock_now_us() / 1000000 - STALE_S;
}

/* Whether a file in the folder stays, beside the snapshots of two seqs; NULL:
 * beside all. */
static bool
stays(int dir, const char *name, const int64_t *seqs)
{
	int64_t seq = seq_of(name, ".db");

	if (strncmp(name, PAST, strlen(PAST)) == 0)
		return !is_stale(dir, name);
	if (seqs == NULL)
		return true;
	if (seq < 0)
		seq = seq_of(name, ".json");
	return name[0] == '.' || strcmp(name, LOCK) == 0 ||
	       (seq >= 0 && (seq == seqs[0] || seq == seqs[1]));
}

/* Remove what doesn't stay. */
static void
remove_rest(const struct snapshot_key *key, const int64_t *seqs)
{
	char path[FULL_NAME];
	struct dirent *entry;
	DIR *d;

	full_name(key, ".", path);
	d = opendir(path);
	while (d != NULL && (entry = readdir(d)) != NULL)
		if (!stays(dirfd(d), entry->d_name, seqs))
			fs_remove(dirfd(d), entry->d_name);
	if (d != NULL)
		closedir(d);
}

/* Remove all that is neither the new one nor the newest before it. */
static void
sweep(const struct snapshot_key *key, int64_t seq)
{
	int64_t seqs[2] = { seq, newest_below(key, seq) };
	struct snapshot_file f;

	while (seqs[1] >= 0 && open_one(key, seqs[1], false, &f) != NULL) {
		close_file(&f);
		seqs[1] = newest_below(key, seqs[1]);
	}
	if (seqs[1] >= 0)
		close_file(&f);
	remove_rest(key, seqs);
}

enum rc
snapshots_make(const struct snapshot_key *key, struct follower *f, int64_t deadline_ms,
               struct snapshot_file *out, struct err *err)
{
	int64_t start_ms = clock_mono_ms();
	struct facts a = { .f.fd = -1 };
	char draft[FULL_NAME];
	enum rc rc;

	full_name(key, DRAFT, draft);
	fs_remove(AT_FDCWD, draft); /* of one that was killed */
	rc = snapshot_write(f, key->log, key->from, deadline_ms, draft, &a.f.what, err);
	if (rc == RC_OK && (rc = take_in(draft, true, &a, err)) == RC_OK)
		rc = put_in_place(key, draft, &a, err);
	*out = a.f;
	if (rc != RC_OK) {
		close_file(out);
		unlink(draft);
		return rc;
	}
	sweep(key, a.f.what.seq);
	log_write(LOG_INFO, "snapshot of %s at %" PRId64 ": %" PRId64 " bytes in %" PRId64 " ms",
	          key->project, a.f.what.seq, a.f.size, clock_mono_ms() - start_ms);
	return RC_OK;
}

enum rc
snapshots_past(const struct snapshot_key *key, int64_t seq, int64_t deadline_ms,
               struct snapshot_file *out, struct err *err)
{
	struct facts a = { .f.fd = -1 };
	char name[ID_MAX], path[FULL_NAME];
	enum rc rc;

	*out = a.f;
	if ((rc = make_folders(key, err)) != RC_OK)
		return rc;
	remove_rest(key, NULL);
	if (id_new(PAST, 8, name) != RC_OK)
		return err_set(err, RC_FAULT, "no random numbers");
	full_name(key, name, path);
	rc = snapshot_replay(key->log, key->profile, seq, deadline_ms, path, &a.f.what, err);
	if (rc == RC_OK)
		rc = take_in(path, false, &a, err);
	unlink(path);
	*out = a.f;
	if (rc != RC_OK)
		close_file(out);
	return rc;
}
