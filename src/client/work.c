/* The working set of a call, see work.h. */
#include "client/work.h"

#include "base/clock.h"
#include "base/id.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define PAUSE_MS 40 /* before a call's second beginning; longer before later ones */

int64_t
work_now_us(const struct work *w)
{
	return clock_now_us() + w->t->skew_s * 1000000;
}

struct remote
work_remote(struct tdsync *t)
{
	return (struct remote){ .transport = t->transport, .url = t->settings.url,
		.token = t->settings.token, .timeout_s = t->timeout_s, .retries = t->retries,
		.waiting = t->waiting, .waiting_ctx = t->waiting_ctx };
}

enum tdsync_rc
work_local(struct work *w, enum rc rc)
{
	switch (rc) {
	case RC_OK:
		return TDSYNC_OK;
	case RC_INVALID:
		return TDSYNC_INVALID;
	case RC_CONFLICT:
		w->replaced = true;
		return TDSYNC_LOCAL;
	case RC_BUSY:
	case RC_UNAVAILABLE:
	case RC_NOT_FOUND:
		return TDSYNC_LOCAL;
	default:
		return TDSYNC_FAULT;
	}
}

enum tdsync_rc
work_step(struct work *w, const char *name)
{
	struct tdsync *t = w->t;

	if (t->step == NULL || t->step(t->step_ctx, name))
		return TDSYNC_OK;
	err_set(&t->err, RC_FAULT, "stopped at %s", name);
	return TDSYNC_FAULT;
}

/*
 * How td's side stands against the books. Where it is not as we left it (td
 * pulled, the file was set back or replaced, another project was linked), rows
 * are compared at the place where they should stand (design.md, "Beside td").
 */
static enum rc
settle(struct work *w, struct err *err)
{
	struct books *b = &w->books;
	char file[48];
	bool moved, lost, again;
	enum rc rc;

	books_file_id(w->l, file);
	if ((rc = books_undone(w->l, &w->undone, err)) != RC_OK)
		return rc;
	if (strcmp(b->project, w->td.project) != 0) {
		bool fresh = b->project[0] == '\0';

		if ((rc = books_forget_project(w->l, err)) != RC_OK ||
		    (rc = books_reset_state(w->l, b, err)) != RC_OK)
			return rc;
		/* Unless td has synced this project, its marks speak of another. */
		b->foreign_rowid = 0;
		if ((!fresh || w->td.cursor == 0) &&
		    (rc = books_foreign(w->l, &b->foreign_rowid, err)) != RC_OK)
			return rc;
		snprintf(b->project, sizeof(b->project), "%s", w->td.project);
		b->log_id[0] = '\0';
		b->rehome = false;
		b->target = TARGET_CURSOR;
	}
	if ((rc = books_lost_offers(w->l, &lost, err)) != RC_OK)
		return rc;
	moved = lost || w->td.cursor != b->td_cursor || strcmp(file, b->td_file) != 0;
	/* What the log made and removed before a snapshot is not known: where rows
	 * may be here that nobody compared with it, only all of the log tells. */
	again = moved && b->snapshot_seq > 0 && w->td.cursor == 0;
	if (b->target == TARGET_NONE && moved)
		b->target = TARGET_CURSOR;
	if (b->target == TARGET_CURSOR && w->td.cursor == 0)
		b->target = TARGET_HEAD;
	else if (b->target == TARGET_HEAD && w->td.cursor > 0 && !b->rehome)
		b->target = TARGET_CURSOR;
	if (again || (b->target == TARGET_CURSOR && w->td.cursor < b->cursor))
		return books_reset_state(w->l, b, err); /* the state can't go back */
	/*
	 * td undid something that was never sent: no entry says what became of
	 * the rows (an undone `board delete` has lost the board's places).
	 */
	if (b->target == TARGET_NONE &&
	    (b->td_undone != w->undone || b->td_schema != w->l->schema))
		b->target = TARGET_CURSOR;
	return RC_OK;
}

enum tdsync_rc
work_check_linked(struct work *w)
{
	if (!w->td.linked) {
		err_set(&w->t->err, RC_NOT_FOUND, "not linked to a project: `td-sync link PROJECT`");
		return TDSYNC_NOT_LINKED;
	}
	if (w->td.disabled) {
		err_set(&w->t->err, RC_NOT_FOUND, "sync is switched off for this project in td");
		return TDSYNC_NOT_LINKED;
	}
	for (const char *p = w->td.project; *p != '\0'; p++)
		if (!isalnum((unsigned char)*p) && strchr("_-.", *p) == NULL) {
			err_set(&w->t->err, RC_INVALID, "linked to a project of the odd id \"%s\"",
			        w->td.project);
			return TDSYNC_INVALID;
		}
	return TDSYNC_OK;
}

static enum rc
open_books(struct work *w, struct err *err)
{
	enum rc rc = books_prepare(w->l, err);

	if (rc == RC_OK && (rc = books_load(w->l, &w->books, err)) == RC_OK)
		rc = td_state_load(w->l, &w->td, err);
	return rc;
}

enum tdsync_rc
work_open(struct tdsync *t, struct tdsync_result *result, struct work *w)
{
	enum tdsync_rc rc;

	*w = (struct work){ .t = t, .result = result };
	w->remote = work_remote(t);
	if ((rc = work_local(w, local_open(t->dir, true, &w->l, &t->err))) != TDSYNC_OK ||
	    (rc = work_local(w, local_begin(w->l, &t->err))) != TDSYNC_OK)
		goto done;
	local_tidy(w->l);
	if ((rc = work_local(w, open_books(w, &t->err))) == TDSYNC_OK &&
	    (rc = work_check_linked(w)) == TDSYNC_OK &&
	    (rc = work_local(w, settle(w, &t->err))) == TDSYNC_OK &&
	    (rc = work_local(w, books_save(w->l, &w->books, &t->err))) == TDSYNC_OK)
		rc = work_local(w, local_commit(w->l, &t->err));
	w->device = t->settings.device_id != NULL ? t->settings.device_id : w->books.device;
	work_tell_log(w);
done:
	if (rc != TDSYNC_OK)
		work_close(w);
	return rc;
}

void
work_close(struct work *w)
{
	local_close(w->l);
	w->l = NULL;
}

/* Whether books and td's state are still those that this call read. */
static bool
unchanged(const struct work *w, const struct books *b, const struct td_state *td)
{
	return b->cursor == w->books.cursor && b->target == w->books.target &&
	    strcmp(b->project, w->books.project) == 0 &&
	    strcmp(b->log_id, w->books.log_id) == 0 && td->linked &&
	    td->cursor == w->td.cursor && strcmp(td->project, w->td.project) == 0;
}

enum tdsync_rc
work_begin(struct work *w)
{
	struct err *err = &w->t->err;
	struct books b;
	struct td_state td;
	enum rc rc;

	if ((rc = local_begin(w->l, err)) != RC_OK)
		return work_local(w, rc);
	if ((rc = books_load(w->l, &b, err)) == RC_OK &&
	    (rc = td_state_load(w->l, &td, err)) == RC_OK && !unchanged(w, &b, &td))
		rc = err_set(err, RC_CONFLICT, "td or another td-sync keeps changing "
		             ".todos/issues.db: try again");
	if (rc != RC_OK) {
		local_rollback(w->l);
		return work_local(w, rc);
	}
	w->books = b;
	w->td = td;
	return TDSYNC_OK;
}

enum tdsync_rc
work_commit(struct work *w)
{
	struct err *err = &w->t->err;
	enum rc rc = books_save(w->l, &w->books, err);

	if (rc == RC_OK)
		rc = local_commit(w->l, err);
	else
		local_rollback(w->l);
	work_tell_log(w);
	return work_local(w, rc);
}

void
work_tell_log(struct work *w)
{
	const struct books *b = &w->books;

	snprintf(w->remote.log_id, sizeof(w->remote.log_id), "%s", b->log_id);
	w->remote.log_last[0] = '\0';
	if (b->last_seq > 0 && b->last_digest[0] != '\0')
		snprintf(w->remote.log_last, sizeof(w->remote.log_last), "%lld:%s",
		         (long long)b->last_seq, b->last_digest);
}

static enum tdsync_rc
path_of(struct work *w, const char *folder, const char *route, struct buf *out)
{
	buf_reset(out);
	buf_addf(out, "/v1/projects/%s/%s%s", w->books.project, folder, route);
	if (buf_cstr(out) != NULL)
		return TDSYNC_OK;
	return work_local(w, err_set(&w->t->err, RC_FAULT, "out of memory"));
}

enum tdsync_rc
work_project_path(struct work *w, const char *route, struct buf *out)
{
	return path_of(w, "", route, out);
}

enum tdsync_rc
work_path(struct work *w, const char *route, struct buf *out)
{
	return path_of(w, "sync/", route, out);
}

enum rc
work_log_id(struct work *w, const char *log_id)
{
	struct books *b = &w->books;
	bool news = b->log_id[0] != '\0' && strcmp(b->log_id, log_id) != 0, any;
	enum rc rc;

	if (log_id[0] == '\0') /* a Go server */
		return RC_OK;
	snprintf(b->log_id, sizeof(b->log_id), "%s", log_id);
	if (!news)
		return RC_OK;
	/* It holds the last event we have, but maybe not what came after. */
	if ((rc = books_unack(w->l, b->cursor, b->foreign_rowid, &any, &w->t->err)) == RC_OK && any)
		w->send_again = true;
	return rc;
}

enum tdsync_rc
work_rehome(struct work *w, const char *log_id)
{
	struct books *b = &w->books;
	struct err *err = &w->t->err;
	enum tdsync_rc rc;
	enum rc did;

	if ((rc = work_begin(w)) != TDSYNC_OK)
		return rc;
	b->target = TARGET_HEAD;
	b->rehome = true;
	b->td_cursor = 0;
	snprintf(b->log_id, sizeof(b->log_id), "%s", log_id);
	if ((did = books_lose_log(w->l, b->foreign_rowid, err)) == RC_OK &&
	    (did = books_reset_state(w->l, b, err)) == RC_OK)
		did = td_state_pulled(w->l, 0, work_now_us(w), err);
	if (did != RC_OK) {
		local_rollback(w->l);
		return work_local(w, did);
	}
	if ((rc = work_commit(w)) == TDSYNC_OK)
		w->td.cursor = 0;
	return rc;
}

/* --- calls --- */

void
work_let_others(int i)
{
	uint32_t random = 0;
	struct timespec ts = { 0 };

	/* By chance: two that wait alike would meet again. */
	id_random(&random, sizeof(random));
	ts.tv_nsec = (long)(random % (uint32_t)(i * PAUSE_MS + 1)) * 1000000;
	nanosleep(&ts, NULL);
}

/* Only sync answers a changed log by itself: it takes a push and a pull. */
static enum tdsync_rc
explain(struct tdsync *t, enum tdsync_rc rc)
{
	if (rc == TDSYNC_OK)
		t->err.text[0] = '\0';
	if (rc == TDSYNC_LOG_CHANGED)
		err_set(&t->err, RC_LOG_CHANGED, "the server's log is not the one this copy was "
		        "synced with (it was restored or replaced); nothing was changed here: "
		        "`td-sync sync` offers it what it lacks, then follows it");
	return rc;
}

enum tdsync_rc
work_run(struct tdsync *t, enum tdsync_rc (*call)(struct work *w), void *arg,
         struct tdsync_result *out)
{
	struct tdsync_result unused;
	enum tdsync_rc rc = TDSYNC_FAULT;
	struct work w;

	if (out == NULL)
		out = &unused;
	*out = (struct tdsync_result){ 0 };
	t->err.text[0] = '\0';
	for (int i = 0; i < WORK_TRIES; i++) {
		work_let_others(i);
		if ((rc = work_open(t, out, &w)) == TDSYNC_OK) {
			w.arg = arg;
			rc = call(&w);
		}
		work_close(&w);
		if (rc == TDSYNC_OK || !w.replaced)
			break;
	}
	return explain(t, rc);
}
