/* Putting back what a conflict took, see restore.h. */
#include "engine/restore.h"

#include "base/json.h"
#include "engine/conflict.h"
#include "engine/deed.h"
#include "engine/digest.h"
#include "engine/lost.h"
#include "engine/value.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Of what the conflict lists, and of the row as it is: more than this is large. */
#define SMALL_BYTES (1 << 20)

/* A restore while it is made. */
struct job {
	struct follower *f;
	struct events *log;
	struct conflict_id conflict;
	bool large;                     /* so may it be */
	enum conflict_kind kind;
	int64_t lost_seq;
	struct table *table;
	struct buf id, fields;          /* copies of the conflict's */
	struct row lost;                /* values as JSON, in `fields` or the log */
	sqlite3_stmt *row;              /* on the row as it is now; NULL: it is gone */
	struct span now;                /* the time, RFC 3339 */
	bool undelete;                  /* the row is there, and softly deleted */
	enum action action;
	struct buf new_row, old_row;    /* JSON */
	size_t differing;               /* fields that are put back */
	struct buf payload, time, scratch;
	struct err *err;
};

static enum rc
no_memory(struct job *j)
{
	return err_set(j->err, RC_FAULT, "out of memory");
}

/* Each byte is in memory ten times before the event is in the log. */
static enum rc
check_size(struct job *j, size_t bytes)
{
	return j->large || bytes <= SMALL_BYTES ? RC_OK
	    : err_set(j->err, RC_TOO_LARGE, "what was lost is large");
}

/* --- what was lost --- */

static enum rc
take_conflict(void *ctx, const struct state_conflict *c, bool *stop, struct err *err)
{
	struct job *j = ctx;
	struct tables *all = follower_tables(j->f);
	enum rc rc = check_size(j, c->fields.len);

	(void)stop;
	if (rc != RC_OK)
		return rc;
	if (c->type < 0 || (size_t)c->type >= all->n)
		return err_set(err, RC_FAULT, "a conflict is of no table");
	j->kind = (enum conflict_kind)c->kind;
	j->lost_seq = c->lost_seq;
	j->table = &all->list[c->type];
	buf_add_span(&j->id, c->id);
	buf_add_span(&j->fields, c->fields);
	return j->id.failed || j->fields.failed ? no_memory(j) : RC_OK;
}

/*
 * All that the lost event would have written: a conflict with a deleted row lists
 * what the event changed, and the row may be gone altogether since. The event
 * stays read.
 */
static enum rc
read_lost_event(struct job *j)
{
	struct event ev;
	struct deed d;
	enum rc rc;

	if ((rc = events_get(j->log, j->lost_seq, &ev, j->err)) != RC_OK)
		return rc;
	applier_read(follower_applier(j->f), &ev, &d);
	if (d.table == j->table && d.has_row)
		j->lost = d.row;
	return RC_OK;
}

/* Read the row as it is now. */
static enum rc
read_row(struct job *j)
{
	size_t bytes = 0;
	enum rc rc = table_row(follower_tables(j->f), j->table, buf_span(&j->id), &j->row, j->err);

	if (j->row == NULL)
		return rc;
	for (int i = 0; i < j->table->n_columns; i++)
		if (sqlite3_column_type(j->row, i) == SQLITE_TEXT)
			bytes += (size_t)sqlite3_column_bytes(j->row, i);
	return check_size(j, bytes);
}

/* --- which event puts it back --- */

/* Whether the conflict's own event was a hard delete, which lists all of the row. */
static enum rc
lists_all(struct job *j, bool *all)
{
	struct event ev;
	enum rc rc = events_glance(j->log, j->conflict.seq, &ev, j->err);

	*all = rc == RC_OK && ev.action == ACTION_DELETE;
	events_got(j->log);
	return rc;
}

/* The row is gone: it is made anew, where all of it is known. */
static enum rc
choose_for_gone(struct job *j)
{
	bool all = j->kind == CONFLICT_CASCADE || j->kind == CONFLICT_EDGE;
	enum rc rc = RC_OK;

	j->action = ACTION_CREATE;
	if (j->kind == CONFLICT_DELETE)
		rc = lists_all(j, &all);
	else if (j->kind == CONFLICT_EDIT_OF_DELETED) {
		all = true;
		rc = read_lost_event(j);
	}
	if (rc == RC_OK && !all)
		return err_set(j->err, RC_CONFLICT, "The row is gone: there is nothing to put "
		               "the lost values back into.");
	return rc;
}

static enum rc
choose(struct job *j)
{
	const struct table *t = j->table;
	bool deleted;

	if (j->row == NULL)
		return choose_for_gone(j);
	/* And it was not deleted when it was lost: so it is to be. */
	deleted = t->deleted_at >= 0 &&
	          sqlite3_column_type(j->row, t->deleted_at) != SQLITE_NULL &&
	          json_type(j->lost.values[t->deleted_at]) == JSON_NULL;
	j->undelete = deleted && j->kind != CONFLICT_FIELD && j->kind != CONFLICT_CREATE;
	/* A table without updated_at has no restore: every td would refuse it. */
	j->action = j->undelete && t->updated_at >= 0 ? ACTION_RESTORE : ACTION_UPDATE;
	return RC_OK;
}

/* --- its rows --- */

static void
spell_now(struct job *j)
{
	buf_reset(&j->scratch);
	buf_add_json(&j->scratch, j->now);
}

/* What a column of the row is to be, in j->scratch, where it holds `old` now. */
static void
spell_new(struct job *j, int i, struct span old)
{
	const struct table *t = j->table;

	buf_reset(&j->scratch);
	if (i == t->updated_at) {
		spell_now(j);
	} else if (j->undelete && i == t->deleted_at) {
		buf_add_str(&j->scratch, "null");
		j->differing++;
	} else if (j->action == ACTION_UPDATE && j->lost.values[i].len > 0) {
		lost_spell(&t->columns[i], j->lost.values[i], &j->scratch);
		j->differing += !json_equal(buf_span(&j->scratch), old);
	} else {
		buf_add_span(&j->scratch, old);
	}
}

/* The row as it is now and as it is to be. */
static enum rc
write_changed(struct job *j)
{
	struct buf old = { 0 };

	for (int i = 0; i < j->table->n_columns; i++) {
		const struct column *c = &j->table->columns[i];

		if (c->local)
			continue;
		buf_reset(&old);
		value_json(sqlite3_column_value(j->row, i), c->datetime, &old);
		if (old.failed)
			break;
		spell_new(j, i, buf_span(&old));
		lost_member(c, buf_span(&old), &j->old_row);
		lost_member(c, buf_span(&j->scratch), &j->new_row);
		j->new_row.failed = j->new_row.failed || j->scratch.failed;
	}
	j->old_row.failed = j->old_row.failed || old.failed;
	buf_free(&old);
	buf_add_byte(&j->old_row, '}');
	buf_add_byte(&j->new_row, '}');
	return j->differing > 0 ? RC_OK
	    : err_set(j->err, RC_CONFLICT, "The lost values stand there already.");
}

static enum rc
write_payload(struct job *j)
{
	char id[CONFLICT_ID_TEXT];
	enum rc rc = RC_OK;

	if (j->action == ACTION_CREATE) { /* what an event doesn't give, nobody knows */
		lost_row(j->table, buf_span(&j->id), &j->lost,
		         j->kind != CONFLICT_EDIT_OF_DELETED, j->now, &j->new_row);
		buf_add_str(&j->old_row, "{}");
	} else {
		rc = write_changed(j);
	}
	buf_add_str(&j->payload, "{\"schema_version\":1,\"restored_conflict\":\"");
	buf_add_str(&j->payload, conflict_id_text(j->conflict, id));
	buf_add_str(&j->payload, "\",\"new_data\":");
	buf_add_span(&j->payload, buf_span(&j->new_row));
	buf_add_str(&j->payload, ",\"previous_data\":");
	buf_add_span(&j->payload, buf_span(&j->old_row));
	buf_add_byte(&j->payload, '}');
	if (j->payload.failed || j->new_row.failed || j->old_row.failed)
		return no_memory(j);
	return rc;
}

/* --- into the log --- */

/* Whether the event would do what it is for; and nothing else. */
static enum rc
judge(struct job *j, const struct event *ev)
{
	struct tried tried;
	const char *why;
	enum rc rc;

	if ((rc = follower_try(j->f, ev, &tried, j->err)) != RC_OK)
		return rc;
	why = strstr(tried.why, ": ");
	why = why != NULL ? why + 2 : tried.why;
	switch (tried.what) {
	case APPLIED:
		break;
	case APPLIED_ORPHAN:
		return err_set(j->err, RC_CONFLICT, "What it belonged to is gone (%s): put "
		               "that back first.", why);
	case APPLIED_EDGE:
		return err_set(j->err, RC_CONFLICT, "The dependency would close a cycle again.");
	case APPLIED_BAD:
		return err_set(j->err, RC_CONFLICT, "It can't be put back: %s.", why);
	}
	if (!tried.changes)
		return err_set(j->err, RC_CONFLICT, "The lost values stand there already.");
	if (tried.takes[0] != '\0')
		return err_set(j->err, RC_CONFLICT, "Another row has its place, and would be "
		               "lost: %s.", tried.takes);
	return RC_OK;
}

static void
write_answer(const struct event *ev, int64_t seq, struct buf *out)
{
	buf_add_str(out, "{\"server_seq\":");
	buf_add_int(out, seq);
	buf_add_str(out, ",\"entity_type\":");
	buf_add_json(out, ev->type);
	buf_add_str(out, ",\"entity_id\":");
	buf_add_json(out, ev->id);
	buf_add_str(out, ",\"action_type\":\"");
	buf_add_str(out, action_name(ev->action));
	buf_add_str(out, "\"}\n");
}

static enum rc
append(struct job *j, const struct restorer *by, struct buf *answer)
{
	struct instant at = time_of_us(by->now_us);
	struct event ev = {
		.device = by->device, .session = by->session, .user = by->user,
		.action = j->action, .type = span_of(j->table->entity->table),
		.id = buf_span(&j->id), .payload = buf_span(&j->payload), .time = j->now,
		.server_us = by->now_us,
	};
	int64_t seq;
	enum rc rc;

	if ((rc = judge(j, &ev)) != RC_OK)
		return rc;
	if (event_digest(&ev, at, &j->scratch) != RC_OK)
		return no_memory(j);
	if ((rc = events_append(j->log, &ev, &seq, j->err)) != RC_OK)
		return rc;
	/* Written before COMMIT, so that nothing can fail after it. */
	write_answer(&ev, seq, answer);
	return answer->failed ? no_memory(j) : RC_OK;
}

/* Under both locks, with the state at the head. */
static enum rc
restore(struct job *j, const struct restorer *by, struct buf *answer)
{
	enum rc rc;

	time_add_rfc3339(&j->time, time_of_us(by->now_us));
	if (j->time.failed)
		return no_memory(j);
	j->now = buf_span(&j->time);
	rc = state_find_conflict(follower_state(j->f), j->conflict.seq, j->conflict.n,
	                         take_conflict, j, j->err);
	if (rc != RC_OK)
		return rc;
	if (!lost_read(j->table, buf_span(&j->fields), &j->lost))
		return no_memory(j);
	if ((rc = read_row(j)) != RC_OK || (rc = choose(j)) != RC_OK ||
	    (rc = write_payload(j)) != RC_OK)
		return rc;
	/* A statement that stands on a row keeps the trial from being rolled back. */
	db_reset(j->row);
	events_got(j->log);
	return append(j, by, answer);
}

enum rc
restore_conflict(struct follower *f, struct events *log, struct conflict_id id,
                 const struct restorer *by, bool large, int64_t deadline_ms,
                 struct buf *answer, struct err *err)
{
	struct err unread;
	struct job j = { .f = f, .log = log, .conflict = id, .large = large,
	                 .err = err != NULL ? err : &unread };
	struct buf *bufs[] = { &j.id, &j.fields, &j.new_row, &j.old_row, &j.payload,
	                       &j.time, &j.scratch };
	enum rc rc;

	buf_reset(answer);
	if ((rc = follower_begin(f, log, false, deadline_ms, err)) != RC_OK)
		return rc;
	rc = restore(&j, by, answer);
	db_reset(j.row);
	events_got(log);
	if (rc == RC_OK)
		rc = events_commit(log, err);
	else
		events_rollback(log);
	follower_end(f);
	if (rc != RC_OK)
		buf_reset(answer);
	for (size_t i = 0; i < sizeof(bufs) / sizeof(bufs[0]); i++)
		buf_free(bufs[i]);
	return rc;
}
