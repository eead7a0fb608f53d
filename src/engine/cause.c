/* What wants an answer, see cause.h. */
#include "engine/cause.h"

#include "base/json.h"

#include <string.h>

static const char *const names[] = {
	[CAUSE_UNBORN] = "undone_create",
	[CAUSE_NO_COLUMN] = "no_such_column",
	[CAUSE_STAMP] = "updated_at",
	[CAUSE_CYCLE] = "cycle",
	[CAUSE_CASCADE] = "cascade",
	[CAUSE_NOTE] = "lost_value",
};

const char *
cause_name(enum cause_reason reason)
{
	return names[reason];
}

/* --- what ends one --- */

/* The reason that a payload names; 0: none. */
static enum cause_reason
reason_named(struct span v)
{
	for (int r = CAUSE_UNBORN; r <= CAUSE_NOTE; r++)
		if (json_type(v) == JSON_STRING && json_string_is(v, names[r]))
			return (enum cause_reason)r;
	return 0;
}

static enum rc
end_causes(struct state *s, const struct event *ev, struct err *err)
{
	static const char *const keys[] = { CAUSE_SEQ, CAUSE_REASON };
	enum cause_reason reason;
	struct span values[2];
	int64_t seq;

	json_pick(ev->payload, keys, 2, values);
	reason = reason_named(values[1]);
	return reason != 0 && json_int64(values[0], &seq) ? state_end_causes(s, seq, reason, err)
	                                                  : RC_OK;
}

/* --- what is one --- */

static bool
changes_unborn(const struct deed *d, const struct recorded *r)
{
	return r->version == VERSION_NOTHING && d->ev->action != ACTION_DELETE;
}

static bool
lacks_column(const struct deed *d, enum applied what)
{
	enum action a = d->ev->action;

	return what == APPLIED_BAD && json_type(d->ev->payload) == JSON_OBJECT &&
	       ((a == ACTION_SOFT_DELETE && d->table->deleted_at < 0) ||
	        (a == ACTION_RESTORE && (d->table->deleted_at < 0 || d->table->updated_at < 0)));
}

static bool
leaves_stamp(const struct deed *d, const struct recorded *r)
{
	return r->version == VERSION_APPLIED && d->ev->action == ACTION_SOFT_DELETE &&
	       d->table->updated_at >= 0;
}

static bool
is_noteworthy(const struct profile *p, const struct deed *d, const struct recorded *r)
{
	return r->noted && p->note != NULL && span_is(d->ev->type, p->note->of);
}

/* --- parents --- */

/* Note the parents of the row that an event carries. */
static enum rc
add_parents(struct state *s, struct tables *all, const struct deed *d, int reason,
            struct err *err)
{
	const struct row *row = deed_row(d);
	struct buf id = { 0 };
	enum rc rc = RC_OK;

	for (int i = 0; row != NULL && i < d->table->n_bound && rc == RC_OK; i++) {
		const struct parent *p = &d->table->parents[i];
		const struct table *t = tables_find(all, span_of(p->table));

		buf_reset(&id);
		if (t != NULL && json_string(row->values[p->column], &id) && id.len > 0)
			rc = state_add_orphan(s, tables_number(all, t), buf_span(&id), d->ev->seq,
			                      reason, err);
	}
	if (rc == RC_OK && id.failed)
		rc = err_set(err, RC_FAULT, "out of memory");
	buf_free(&id);
	return rc;
}

/* Whether rows of a table may hang on others of this one. */
static bool
is_parent(const struct tables *all, const struct table *t)
{
	for (size_t i = 0; i < all->n; i++)
		for (int k = 0; k < all->list[i].n_bound; k++)
			if (strcmp(all->list[i].parents[k].table, t->entity->table) == 0)
				return true;
	return false;
}

/* A row was made: what may have waited for it is a cause again; what was skipped for
 * want of it is one now. */
static enum rc
wake_children(struct state *s, struct tables *all, const struct deed *d, struct err *err)
{
	int64_t seq = 0;
	int reason;
	enum rc rc;

	while ((rc = state_next_orphan(s, tables_number(all, d->table), d->ev->id, seq, &seq,
	                               &reason, err)) == RC_OK)
		if ((rc = state_add_cause(s, seq, reason, err)) != RC_OK)
			return rc;
	return rc == RC_NOT_FOUND ? RC_OK : rc;
}

/* --- an event --- */

static enum rc
note_parents(struct state *s, struct applier *a, const struct deed *d, enum applied what,
             const struct recorded *r, struct err *err)
{
	struct tables *all = applier_tables(a);

	if (d->table == NULL)
		return RC_OK;
	if (what == APPLIED_ORPHAN || (what == APPLIED_BAD && d->has_row &&
	    d->ev->action == ACTION_CREATE))
		return add_parents(s, all, d, CAUSE_UNBORN, err);
	if (changes_unborn(d, r) || lacks_column(d, what))
		return add_parents(s, all, d, what == APPLIED ? CAUSE_UNBORN : CAUSE_NO_COLUMN, err);
	if (r->version == VERSION_APPLIED && d->ev->action == ACTION_CREATE &&
	    is_parent(all, d->table))
		return wake_children(s, all, d, err);
	return RC_OK;
}

enum rc
cause_note(struct state *s, struct applier *a, const struct profile *p,
           const struct deed *d, enum applied what, const struct recorded *r,
           struct err *err)
{
	const bool is[] = {
		[CAUSE_UNBORN] = d->table != NULL && changes_unborn(d, r),
		[CAUSE_NO_COLUMN] = d->table != NULL && lacks_column(d, what),
		[CAUSE_STAMP] = d->table != NULL && leaves_stamp(d, r),
		[CAUSE_CYCLE] = d->table != NULL && d->cycle,
		[CAUSE_CASCADE] = r->took,
		[CAUSE_NOTE] = d->table != NULL && is_noteworthy(p, d, r),
	};
	enum rc rc = RC_OK;

	/* What it answers, and all before that, has been looked at: then what it wakes. */
	if (d->ev->by_server && what != APPLIED_BAD)
		rc = end_causes(s, d->ev, err);
	if (rc == RC_OK)
		rc = note_parents(s, a, d, what, r, err);
	for (int i = CAUSE_UNBORN; i <= CAUSE_NOTE && rc == RC_OK && !d->ev->by_server; i++)
		if (is[i])
			rc = state_add_cause(s, d->ev->seq, i, err);
	return rc;
}
