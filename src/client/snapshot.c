/* A snapshot's file, see snapshot.h. */
#include "client/snapshot.h"

#include "base/id.h"
#include "engine/sums.h"
#include "profiles/profile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define TYPE "application/x-sqlite3"
#define HEADER_LEN 100 /* of an SQLite file */

static enum rc
no_memory(struct err *err)
{
	return err_set(err, RC_FAULT, "out of memory");
}

/* --- the file --- */

static bool
is_at(const char *path, int fd)
{
	struct stat a, b;

	return stat(path, &a) == 0 && fstat(fd, &b) == 0 && a.st_dev == b.st_dev &&
	    a.st_ino == b.st_ino;
}

static enum rc
set_path(struct snapshot *s, const struct local *l, struct err *err)
{
	struct buf path = { 0 };

	buf_addf(&path, "%.*s/td-sync.snapshot", (int)(strrchr(l->file, '/') - l->file),
	         l->file);
	if (buf_cstr(&path) == NULL)
		return no_memory(err);
	s->path = path.p;
	return RC_OK;
}

/* Open the file to have it alone. RC_BUSY: another td-sync has it. */
static enum rc
open_alone(struct snapshot *s, int flags, mode_t mode, struct err *err)
{
	do {
		if (s->fd >= 0)
			close(s->fd);
		s->fd = open(s->path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | flags, mode);
		if (s->fd < 0)
			return err_set(err, errno == ENOENT ? RC_NOT_FOUND : RC_UNAVAILABLE,
			               "can't write .todos/td-sync.snapshot: %s", strerror(errno));
		if (flock(s->fd, LOCK_EX | LOCK_NB) != 0)
			return err_set(err, RC_BUSY, "another td-sync fetches a snapshot here");
	} while (!is_at(s->path, s->fd)); /* removed by who had it */
	return RC_OK;
}

/* Make the file, empty, with the rights of td's. */
static enum rc
open_file(const struct local *l, struct snapshot *s, struct err *err)
{
	struct stat st;
	enum rc rc;

	if (stat(l->file, &st) != 0)
		st.st_mode = 0600;
	if ((rc = set_path(s, l, err)) == RC_OK &&
	    (rc = open_alone(s, O_CREAT, st.st_mode & 0666, err)) == RC_OK &&
	    ftruncate(s->fd, 0) != 0)
		rc = err_set(err, RC_UNAVAILABLE, "can't write .todos/td-sync.snapshot: %s",
		             strerror(errno));
	return rc;
}

static void
forget(struct snapshot *s)
{
	if (s->fd >= 0)
		close(s->fd);
	free(s->path);
	s->fd = -1;
	s->path = NULL;
}

void
snapshot_drop(struct snapshot *s, struct local *l)
{
	if (s->attached)
		db_exec(l->db, "DETACH " SNAPSHOT, NULL);
	s->attached = false;
	if (s->path != NULL)
		unlink(s->path);
	forget(s);
}

enum rc
snapshot_clean(const struct local *l, bool *left, struct err *err)
{
	struct snapshot s = { .fd = -1 };
	enum rc rc;

	*left = false;
	if ((rc = set_path(&s, l, err)) == RC_OK && access(s.path, F_OK) == 0 &&
	    open_alone(&s, 0, 0, NULL) == RC_OK) {
		*left = true;
		unlink(s.path);
	}
	forget(&s);
	return rc;
}

enum rc
snapshot_attach(struct snapshot *s, struct local *l, struct err *err)
{
	sqlite3_stmt *st = NULL;
	enum rc rc = db_prepare(l->db, "ATTACH :path AS " SNAPSHOT, &st, err);

	if (rc == RC_OK) {
		db_bind_text(st, ":path", span_of(s->path));
		rc = db_run(st, err);
	}
	sqlite3_finalize(st);
	s->attached = rc == RC_OK;
	return local_failed(l, rc, err);
}

/* --- what the server says of it --- */

/* It is no good, and why. */
static enum tdsync_rc
bad(struct work *w, const char *why)
{
	err_set(&w->t->err, RC_BUSY, "%s: the snapshot that it sent is no good: %s",
	        w->remote.url, why);
	return TDSYNC_NETWORK;
}

/* Not a thing that this could use: a sentence, and no failure. */
static enum tdsync_rc
none(struct work *w, const char *why)
{
	err_set(&w->t->err, RC_NOT_FOUND, "%s: %s", w->remote.url, why);
	return TDSYNC_OK;
}

/* Take the headers; *none_such: of a server that has no such snapshots. */
static enum tdsync_rc
read_headers(struct work *w, const struct transport_reply *re, struct snapshot *s)
{
	unsigned char digest[HASH_LEN];
	char *digits;
	long long seq;

	if (re->snapshot_seq == 0 || !id_is(span_of(re->log_id), "", 2 * LOG_ID_LEN) ||
	    !id_unhex(span_of(re->snapshot_digest), digest, HASH_LEN))
		return bad(w, "it has no proper seq, log id and digest");
	s->seq = re->snapshot_seq;
	snprintf(s->log_id, sizeof(s->log_id), "%s", re->log_id);
	seq = strtoll(re->log_last, &digits, 10);
	if (seq == s->seq && *digits == ':' &&
	    id_is(span_of(digits + 1), "", 2 * EVENT_DIGEST_LEN))
		snprintf(s->last_digest, sizeof(s->last_digest), "%s", digits + 1);
	return TDSYNC_OK;
}

/* --- what is in it --- */

static uint32_t
big_endian(const unsigned char *p, size_t n)
{
	uint32_t v = 0;

	while (n-- > 0)
		v = v << 8 | *p++;
	return v;
}

/* The head of an SQLite file: no journal belongs to it, and it is as long as it
 * says. A sentence where not. */
static const char *
judge_header(int fd)
{
	unsigned char h[HEADER_LEN];
	struct stat st;
	uint32_t page;

	if (fstat(fd, &st) != 0 || pread(fd, h, sizeof(h), 0) != (ssize_t)sizeof(h) ||
	    memcmp(h, "SQLite format 3", 16) != 0)
		return "it is no SQLite database";
	if (h[18] != 1 || h[19] != 1)
		return "it is a database in WAL mode";
	page = big_endian(h + 16, 2);
	if (page == 1)
		page = 65536;
	if ((int64_t)page * big_endian(h + 28, 4) != st.st_size)
		return "it is not as long as it says";
	return NULL;
}

/* A check that gives one text, or none: whether it gives what it should. */
static bool
gives(sqlite3 *db, const char *sql, const char *want)
{
	sqlite3_stmt *st = NULL;
	bool row = false, ok;

	ok = db_prepare(db, sql, &st, NULL) == RC_OK && db_step(st, &row, NULL) == RC_OK &&
	    row == (want != NULL) && (!row || span_is(db_span(st, 0), want));
	sqlite3_finalize(st);
	return ok;
}

/* Whether the tables are those of our profile, column by column; none is a view. */
static bool
is_our_schema(const struct tables *all)
{
	for (size_t i = 0; i < all->n; i++) {
		const struct table *t = &all->list[i];
		int n = 0;

		if (t->entity->held_back)
			continue;
		if (sqlite3_table_column_metadata(all->db, all->schema, t->entity->table, "id",
		                                  NULL, NULL, NULL, NULL, NULL) != SQLITE_OK)
			return false;
		for (const struct profile_column *c = t->entity->columns; c->name != NULL; c++)
			if (table_column(t, span_of(c->name), n++) < 0)
				return false;
		if (t->n_columns != n)
			return false;
	}
	return true;
}

static enum rc
digest_of(struct tables *all, char hex[2 * HASH_LEN + 1], struct err *err)
{
	struct sum *sums = calloc(all->n, sizeof(*sums));
	unsigned char digest[HASH_LEN];
	struct buf text = { 0 };
	enum rc rc = sums == NULL ? no_memory(err) : sums_scan_all(all, sums, err);

	if (rc == RC_OK && sums_digest(all, sums, digest) != RC_OK)
		rc = no_memory(err);
	if (rc == RC_OK) {
		buf_add_hex(&text, digest, HASH_LEN);
		snprintf(hex, 2 * HASH_LEN + 1, "%s", buf_cstr(&text) == NULL ? "" : text.p);
	}
	buf_free(&text);
	free(sums);
	return rc;
}

/* Check the tables and their digest; *fits: they are of our version. */
static enum tdsync_rc
check_tables(struct work *w, sqlite3 *db, const char *digest, bool *fits)
{
	char version[16], hex[2 * HASH_LEN + 1] = "";
	struct tables all = { 0 };
	enum tdsync_rc rc = TDSYNC_OK;

	snprintf(version, sizeof(version), "%d", LOCAL_SCHEMA_MAX);
	if (!gives(db, "SELECT value FROM schema_info WHERE key = 'version'", version)) {
		*fits = false;
		return TDSYNC_OK;
	}
	if (tables_read(&all, db, "main", &profile_td, &w->t->err) != RC_OK)
		rc = bad(w, "its tables can't be read");
	else if (!is_our_schema(&all))
		*fits = false;
	else if (digest_of(&all, hex, &w->t->err) != RC_OK)
		rc = bad(w, "its rows can't be read");
	else if (strcasecmp(hex, digest) != 0)
		rc = bad(w, "its rows are not those of its digest");
	tables_free(&all);
	return rc;
}

static enum tdsync_rc
check(struct work *w, const struct snapshot *s, const char *digest, bool *fits)
{
	const char *why = judge_header(s->fd);
	sqlite3 *db = NULL;
	enum tdsync_rc rc;

	*fits = true;
	if (why != NULL)
		return bad(w, why);
	if (sqlite3_open_v2(s->path, &db, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX,
	                    NULL) != SQLITE_OK ||
	    db_exec(db, "PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON", NULL) != RC_OK)
		rc = bad(w, "it can't be opened");
	else if (!gives(db, "PRAGMA integrity_check(1)", "ok"))
		rc = bad(w, "it is damaged");
	else if (!gives(db, "PRAGMA foreign_key_check", NULL))
		rc = bad(w, "it has rows without their parents");
	else
		rc = check_tables(w, db, digest, fits);
	sqlite3_close(db);
	return rc;
}

/* --- fetching --- */

static enum tdsync_rc
download(struct work *w, int64_t at_seq, struct snapshot *s, bool *fits)
{
	struct transport_file file = { .fd = s->fd };
	struct remote_answer a = { 0 };
	struct buf path = { 0 };
	char route[48] = "snapshot";
	enum tdsync_rc rc;

	*fits = false;
	if (at_seq > 0)
		snprintf(route, sizeof(route), "snapshot?at_seq=%lld", (long long)at_seq);
	if ((rc = work_path(w, route, &path)) != TDSYNC_OK)
		return rc;
	rc = remote_fetch(&w->remote, path.p, TYPE, &file, &a, &w->t->err);
	switch (a.reply.status) {
	case 400:
	case 404:
	case 405:
		rc = TDSYNC_OK; /* the server said why */
		break;
	default:
		if (rc == TDSYNC_OK && a.reply.snapshot_digest[0] == '\0' &&
		    a.reply.log_id[0] == '\0')
			rc = none(w, "its snapshots have no digest");
		else if (rc == TDSYNC_OK && (rc = read_headers(w, &a.reply, s)) == TDSYNC_OK &&
		         (rc = work_step(w, "snapshot.fetched")) == TDSYNC_OK &&
		         (rc = check(w, s, a.reply.snapshot_digest, fits)) == TDSYNC_OK && !*fits)
			rc = none(w, "its snapshots are of another version");
	}
	buf_free(&path);
	remote_answer_free(&a);
	return rc;
}

enum tdsync_rc
snapshot_fetch(struct work *w, int64_t at_seq, struct snapshot *out)
{
	struct err *err = &w->t->err;
	bool fits = false;
	enum tdsync_rc rc;
	enum rc did;

	*out = (struct snapshot){ .fd = -1 };
	if ((did = open_file(w->l, out, err)) == RC_BUSY) {
		forget(out); /* the file is another's */
		return TDSYNC_OK;
	}
	if ((rc = work_local(w, did)) == TDSYNC_OK)
		rc = download(w, at_seq, out, &fits);
	if (rc == TDSYNC_OK && fits)
		return work_step(w, "snapshot.checked");
	snapshot_drop(out, NULL);
	return rc;
}
