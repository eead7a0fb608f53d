/*
 * A replica that begins with a snapshot instead of the whole log. What it fills is
 * our own state; then the log is pulled from there, and td's rows become what the
 * state says with all that is local on top, as at the end of any pull. So td's
 * file is never replaced: one that td has open stays the one it writes to, what
 * is local to the machine needs no copying, td's schema and journal mode are
 * whatever they are, and a death leaves the one state or the other.
 *
 * Only what the log made and removed before the snapshot is unknown then. Where
 * rows are here that are not in it, it may matter: then the log is pulled.
 */
#include "client/snapshot.h"

#include "base/json.h"
#include "client/entries.h"
#include "client/kinds.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static enum rc
no_memory(struct err *err)
{
	return err_set(err, RC_FAULT, "out of memory");
}

/* --- when it is due --- */

static enum rc
is_pending(void *ctx, const struct entry *e, bool *stop, struct err *err)
{
	const struct profile_entity *p = profile_entity(&profile_td, e->entity_type);

	(void)err;
	*(bool *)ctx = *stop = p != NULL && !p->held_back;
	return RC_OK;
}

static enum rc
is_due(struct work *w, bool *due)
{
	const struct books *b = &w->books;
	bool pending = false;
	enum rc rc;

	*due = false;
	if (w->t->snapshot_threshold <= 0 || b->rehome || b->cursor != 0 || w->td.cursor != 0)
		return RC_OK;
	rc = entries_walk(w->l, b, ENTRIES_TO_SEND, is_pending, &pending, &w->t->err);
	*due = rc == RC_OK && !pending;
	return rc;
}

/* What the server's status says of its log. */
struct log_status {
	int64_t events, last_seq;
	char id[33];
};

static enum tdsync_rc
ask_log(struct work *w, struct log_status *out)
{
	struct remote_answer a = { 0 };
	struct buf path = { 0 };
	struct span v;
	enum tdsync_rc rc;

	*out = (struct log_status){ 0 };
	if ((rc = work_path(w, "status", &path)) == TDSYNC_OK &&
	    (rc = remote_call(&w->remote, path.p, (struct span){ 0 }, true, &a,
	                      &w->t->err)) == TDSYNC_OK) {
		if (!json_get(a.json, "event_count", &v) || !json_int64(v, &out->events) ||
		    !json_get(a.json, "last_server_seq", &v) || !json_int64(v, &out->last_seq))
			rc = remote_nonsense(&w->remote, "its status makes no sense", &w->t->err);
		snprintf(out->id, sizeof(out->id), "%s", a.reply.log_id);
	}
	buf_free(&path);
	remote_answer_free(&a);
	return rc;
}

/* Whether the snapshot can be of the log: of its id, and not beyond its end. */
static enum tdsync_rc
check_place(struct work *w, const struct snapshot *s, struct log_status *log)
{
	enum tdsync_rc rc = TDSYNC_OK;

	if (s->seq > log->last_seq)
		rc = ask_log(w, log); /* it goes on, meanwhile */
	if (rc != TDSYNC_OK)
		return rc;
	if (strcmp(log->id, s->log_id) != 0)
		return remote_nonsense(&w->remote, "the snapshot that it sent is of another log",
		                       &w->t->err);
	if (s->seq > log->last_seq)
		return remote_nonsense(&w->remote, "the snapshot that it sent is of events that "
		                       "the log has not", &w->t->err);
	return TDSYNC_OK;
}

/* Whether the snapshot has all rows that td has, but for what every init makes. */
static enum rc
has_all(struct work *w, bool *yes, struct err *err)
{
	struct kinds *kinds;
	bool row = false;
	enum rc rc = kinds_new(w->l, &kinds, err);

	for (size_t i = 0; rc == RC_OK && !row && i < kinds->n; i++) {
		const char *table = kinds->list[i].entity->table;
		sqlite3_stmt *st = NULL;
		struct buf sql = { 0 };

		buf_addf(&sql, "SELECT 1 FROM main.\"%s\" m WHERE NOT EXISTS"
		         " (SELECT 1 FROM " SNAPSHOT ".\"%s\" s WHERE s.id = m.id)%s LIMIT 1",
		         table, table, strcmp(table, "boards") == 0 ? " AND is_builtin = 0" : "");
		rc = buf_cstr(&sql) == NULL ? no_memory(err)
		    : db_prepare(w->l->db, sql.p, &st, err);
		if (rc == RC_OK)
			rc = db_step(st, &row, err);
		rc = local_failed(w->l, rc, err);
		sqlite3_finalize(st);
		buf_free(&sql);
	}
	kinds_free(kinds);
	*yes = rc == RC_OK && !row;
	return rc;
}

/* --- the copy of before --- */

/*
 * Copy td's database through SQLite: to open and close the file ourselves would
 * drop the locks that it has there. By a connection of its own, since one that is
 * about to write can't be copied from.
 */
static bool
copy_database(const char *from, const char *to)
{
	sqlite3 *source = NULL, *copy = NULL;
	sqlite3_backup *b;
	bool ok;

	ok = sqlite3_open_v2(from, &source, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX,
	                     NULL) == SQLITE_OK &&
	    sqlite3_db_config(source, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL) == SQLITE_OK &&
	    sqlite3_open_v2(to, &copy, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX,
	                    NULL) == SQLITE_OK &&
	    (b = sqlite3_backup_init(copy, "main", source, "main")) != NULL &&
	    (sqlite3_backup_step(b, -1), sqlite3_backup_finish(b)) == SQLITE_OK;
	sqlite3_close(source);
	return sqlite3_close(copy) == SQLITE_OK && ok;
}

#define COPY ".pre-snapshot-backup"

/* Its name, and the one that it has until it is whole. */
static enum rc
name_copy(const struct local *l, struct buf *path, struct buf *new, struct err *err)
{
	buf_addf(path, "%s" COPY, l->file);
	buf_addf(new, "%s" COPY ".new", l->file);
	return buf_cstr(path) == NULL || buf_cstr(new) == NULL ? no_memory(err) : RC_OK;
}

/* Keep it beside the database, as td does: whole, or not at all. */
static enum rc
keep_copy(const struct local *l, struct err *err)
{
	struct buf path = { 0 }, new = { 0 };
	struct stat st;
	enum rc rc = name_copy(l, &path, &new, err);
	int fd = -1;

	if (rc != RC_OK)
		goto done;
	unlink(new.p);
	if (stat(l->file, &st) == 0)
		fd = open(new.p, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, st.st_mode & 0777);
	if (fd < 0 || close(fd) != 0 || !copy_database(l->file, new.p) ||
	    fs_sync(new.p, NULL) != RC_OK || rename(new.p, path.p) != 0) {
		rc = err_set(err, RC_UNAVAILABLE, "can't keep a copy of .todos/issues.db as "
		             "issues.db" COPY ": is there room?");
		unlink(new.p);
	}
done:
	buf_free(&path);
	buf_free(&new);
	return rc;
}

/* Remove what was left half-way by who died. */
static enum rc
clean(const struct local *l, struct err *err)
{
	struct buf path = { 0 }, new = { 0 };
	bool left;
	enum rc rc = snapshot_clean(l, &left, err);

	if (rc == RC_OK && left && (rc = name_copy(l, &path, &new, err)) == RC_OK)
		unlink(new.p);
	buf_free(&path);
	buf_free(&new);
	return rc;
}

/* --- filling the state --- */

static enum rc
fill_table(struct local *l, const struct profile_entity *e, struct err *err)
{
	struct buf sql = { 0 }, columns = { 0 };
	enum rc rc;

	for (const struct profile_column *c = e->columns; c->name != NULL; c++)
		buf_addf(&columns, "%s\"%s\"", columns.len == 0 ? "" : ", ", c->name);
	if (buf_cstr(&columns) != NULL)
		buf_addf(&sql, "DELETE FROM " TDSYNC ".\"%s\"; INSERT INTO " TDSYNC ".\"%s\" (%s)"
		         " SELECT %s FROM " SNAPSHOT ".\"%s\"; INSERT INTO " TDSYNC ".held"
		         " (type, id) SELECT '%s', id FROM " SNAPSHOT ".\"%s\"",
		         e->table, e->table, columns.p, columns.p, e->table, e->table, e->table);
	rc = columns.failed || buf_cstr(&sql) == NULL ? no_memory(err)
	    : local_failed(l, db_exec(l->db, sql.p, err), err);
	buf_free(&sql);
	buf_free(&columns);
	return rc;
}

/* The state becomes the snapshot. Needs work_begin(). */
static enum rc
fill(struct work *w, const struct snapshot *s, struct err *err)
{
	struct books *b = &w->books;
	enum rc rc = books_reset_state(w->l, b, err);

	local_foreign_keys(w->l, false);
	for (const struct profile_entity *e = profile_td.entities;
	     e->table != NULL && rc == RC_OK; e++)
		if (!e->held_back)
			rc = fill_table(w->l, e, err);
	local_foreign_keys(w->l, true);
	if (rc != RC_OK || (rc = work_log_id(w, s->log_id)) != RC_OK)
		return rc;
	b->target = TARGET_HEAD;
	b->cursor = b->snapshot_seq = s->seq;
	b->last_seq = s->last_digest[0] == '\0' ? 0 : s->seq;
	snprintf(b->last_digest, sizeof(b->last_digest), "%s", s->last_digest);
	books_file_id(w->l, b->td_file); /* whose rows are all in it */
	return RC_OK;
}

static enum tdsync_rc
take(struct work *w, const struct snapshot *s)
{
	struct err *err = &w->t->err;
	bool due = false;
	enum tdsync_rc rc;

	if ((rc = work_begin(w)) != TDSYNC_OK)
		return rc;
	/* td may have been at work since. */
	if ((rc = work_local(w, is_due(w, &due))) == TDSYNC_OK && due)
		rc = work_local(w, has_all(w, &due, err));
	if (rc != TDSYNC_OK || !due)
		goto done;
	if ((rc = work_local(w, keep_copy(w->l, err))) == TDSYNC_OK &&
	    (rc = work_step(w, "snapshot.kept")) == TDSYNC_OK &&
	    (rc = work_local(w, fill(w, s, err))) == TDSYNC_OK &&
	    (rc = work_step(w, "snapshot.filled")) == TDSYNC_OK &&
	    (rc = work_commit(w)) == TDSYNC_OK) {
		w->result->snapshot_seq = s->seq;
		return work_step(w, "snapshot.committed");
	}
done:
	local_rollback(w->l);
	return rc;
}

enum tdsync_rc
bootstrap_run(struct work *w)
{
	struct snapshot s = { .fd = -1 };
	struct log_status log;
	bool due = false;
	enum tdsync_rc rc;

	if ((rc = work_local(w, clean(w->l, &w->t->err))) != TDSYNC_OK ||
	    (rc = work_local(w, is_due(w, &due))) != TDSYNC_OK || !due ||
	    (rc = ask_log(w, &log)) != TDSYNC_OK || log.events < w->t->snapshot_threshold)
		return rc;
	/* Another log than before: what of ours it lacks, only all of it tells. */
	if (w->books.log_id[0] != '\0' && strcmp(w->books.log_id, log.id) != 0)
		return TDSYNC_OK;
	if ((rc = snapshot_fetch(w, 0, &s)) == TDSYNC_OK && s.path != NULL &&
	    (rc = check_place(w, &s, &log)) == TDSYNC_OK &&
	    (rc = work_local(w, snapshot_attach(&s, w->l, &w->t->err))) == TDSYNC_OK)
		rc = take(w, &s);
	snapshot_drop(&s, w->l);
	return rc;
}
