/* What happened to an entity, see history.h. */
#include "engine/history.h"

#include "base/json.h"
#include "engine/cause.h"
#include "engine/deed.h"
#include "engine/page.h"

/* What came of an event for the entity: the wire's names. */
static const char *const outcomes[] = {
	[VERSION_APPLIED] = "applied",
	[VERSION_ORPHAN] = "orphaned_parent",
	[VERSION_EDGE] = "cycle",
	[VERSION_BAD] = "quarantined",
	[VERSION_NOTHING] = "nothing",
	[VERSION_TAKEN] = "taken",
};

/* A history while it is written. */
struct writer {
	struct follower *f;
	struct events *log;
	int type;           /* of the entity, by number */
	struct span id;
	bool large;
	struct buf *out;
	size_t start;       /* of it in out */
	int64_t limit, count;
	size_t read;        /* bytes of payloads */
	bool has_more;
	int64_t seq;        /* of the version at hand, */
	bool any_field;     /* and what of it is written */
	bool any_conflict;
	struct deed deed;
};

static enum rc
no_memory(struct err *err)
{
	return err_set(err, RC_FAULT, "out of memory");
}

/* --- what an event changed --- */

static void
add_value(struct buf *out, const char *name, struct span json)
{
	buf_add_str(out, name);
	if (json.len > 0)
		buf_add_span(out, json); /* as it came */
	else
		buf_add_str(out, "null");
}

/* A field that changed; `known`: the author told what it was before. */
static void
add_field(struct writer *w, int column, bool known, struct span from, struct span to)
{
	struct buf *b = w->out;

	if (w->any_field)
		buf_add_byte(b, ',');
	w->any_field = true;
	buf_add_str(b, "{\"field\":");
	buf_add_json(b, span_of(w->deed.table->columns[column].name));
	if (known)
		add_value(b, ",\"from\":", from);
	add_value(b, ",\"to\":", to);
	buf_add_byte(b, '}');
}

/* A time that the event itself gives a column; column -1: the table has none. */
static void
add_stamp(struct writer *w, int column, struct span time)
{
	const struct deed *d = &w->deed;
	struct buf json = { 0 };

	if (column < 0)
		return;
	if (time.len > 0)
		buf_add_json(&json, time);
	add_field(w, column, d->has_before,
	          d->has_before ? d->before.values[column] : (struct span){ NULL, 0 },
	          buf_span(&json));
	w->out->failed = w->out->failed || json.failed;
	buf_free(&json);
}

/* The values of a row, made or gone. */
static void
add_row(struct writer *w, const struct row *row, bool made, bool known)
{
	static const struct span nothing = { NULL, 0 };

	for (int i = 0; i < w->deed.table->n_columns; i++)
		if (row->values[i].len > 0 && made)
			add_field(w, i, known, nothing, row->values[i]);
		else if (row->values[i].len > 0)
			add_field(w, i, known, row->values[i], nothing);
}

static void
add_update(struct writer *w)
{
	const struct deed *d = &w->deed;

	if (!d->has_before) {
		add_row(w, &d->row, true, false);
		return;
	}
	for (int i = 0; i < d->table->n_columns; i++)
		if ((d->set >> i & 1) != 0)
			add_field(w, i, true, d->before.values[i], d->row.values[i]);
}

/* What an event says that it changed. */
static void
add_changed(struct writer *w, const struct event *ev)
{
	struct deed *d = &w->deed;

	w->any_field = false;
	buf_add_str(w->out, ",\"changed\":[");
	applier_read(follower_applier(w->f), ev, d);
	switch (ev->action) {
	case ACTION_CREATE:
		if (d->has_row)
			add_row(w, &d->row, true, true);
		break;
	case ACTION_UPDATE:
		if (d->has_row)
			add_update(w);
		break;
	case ACTION_DELETE:
		if (d->has_before)
			add_row(w, &d->before, false, true);
		break;
	case ACTION_SOFT_DELETE:
		add_stamp(w, d->table->deleted_at, ev->time);
		break;
	case ACTION_RESTORE:
		add_stamp(w, d->table->deleted_at, (struct span){ NULL, 0 });
		add_stamp(w, d->table->updated_at, ev->time);
		break;
	}
	buf_add_byte(w->out, ']');
}

/* --- a version --- */

static enum rc
add_conflict(void *ctx, const struct state_conflict *c, bool *stop, struct err *err)
{
	struct writer *w = ctx;
	char id[CONFLICT_ID_TEXT];

	(void)err;
	*stop = c->seq != w->seq;
	if (*stop || c->type != w->type || !span_eq(c->id, w->id))
		return RC_OK;
	buf_add_str(w->out, w->any_conflict ? ",\"" : ",\"conflicts\":[\"");
	w->any_conflict = true;
	buf_add_str(w->out, conflict_id_text((struct conflict_id){ c->seq, c->n }, id));
	buf_add_byte(w->out, '"');
	return RC_OK;
}

/* Why the server wrote it. */
static void
add_cause(struct buf *b, const struct event *ev)
{
	static const char *const keys[] = { CAUSE_SEQ, CAUSE_REASON };
	struct span payload, v[2];

	if (!ev->by_server ||
	    json_scan(ev->payload, JSON_MAX_DEPTH, &payload, NULL, NULL) != RC_OK)
		return;
	json_pick(payload, keys, 2, v);
	if (json_type(v[0]) != JSON_NUMBER || json_type(v[1]) != JSON_STRING)
		return;
	buf_add_str(b, ",\"" CAUSE_SEQ "\":");
	buf_add_span(b, v[0]);
	buf_add_str(b, ",\"" CAUSE_REASON "\":");
	buf_add_span(b, v[1]);
}

/* That it put back what a conflict had taken (restore.h). */
static void
add_restored(struct buf *out, const struct event *ev)
{
	struct span payload, conflict;

	if (json_scan(ev->payload, JSON_MAX_DEPTH, &payload, NULL, NULL) != RC_OK ||
	    !json_get(payload, "restored_conflict", &conflict) ||
	    json_type(conflict) != JSON_STRING)
		return;
	buf_add_str(out, ",\"restored_conflict\":");
	buf_add_span(out, conflict);
}

static void
add_event(struct writer *w, const struct event *ev, enum version_what what)
{
	struct buf *b = w->out;

	buf_add_str(b, w->count > 0 ? ",{\"server_seq\":" : "{\"server_seq\":");
	buf_add_int(b, ev->seq);
	buf_add_str(b, ",\"action_type\":\"");
	buf_add_str(b, action_name(ev->action));
	buf_add_str(b, "\",");
	page_add_author(b, ev);
	buf_add_str(b, ",\"outcome\":\"");
	buf_add_str(b, outcomes[what]);
	buf_add_str(b, ev->by_server ? "\",\"by_server\":true" : "\",\"by_server\":false");
	add_cause(b, ev);
	if (what != VERSION_TAKEN) {
		add_changed(w, ev);
		add_restored(b, ev);
		return;
	}
	/* The event was about another entity, and said nothing of this one. */
	buf_add_str(b, ",\"changed\":[],\"taken_by\":{\"entity_type\":");
	buf_add_json(b, ev->type);
	buf_add_str(b, ",\"entity_id\":");
	buf_add_json(b, ev->id);
	buf_add_byte(b, '}');
}

/* The event of a version; one that is larger than a page only where it may be. */
static enum rc
read_event(struct writer *w, int64_t seq, struct event *ev, struct err *err)
{
	int64_t bytes = 0;
	enum rc rc = RC_OK;

	if (!w->large)
		rc = events_large_next(w->log, seq - 1, &bytes, err);
	if (rc == RC_OK && bytes > PAGE_MAX_BYTES)
		return err_set(err, RC_TOO_LARGE, "an event is larger than a page");
	return rc == RC_OK ? events_get(w->log, seq, ev, err) : rc;
}

static enum rc
visit(void *ctx, int64_t seq, enum version_what what, bool *stop, struct err *err)
{
	struct writer *w = ctx;
	struct event ev;
	enum rc rc;

	if (w->count == w->limit || w->out->len - w->start >= PAGE_MAX_BYTES ||
	    w->read >= PAGE_MAX_BYTES) {
		w->has_more = *stop = true;
		return RC_OK;
	}
	if ((size_t)what >= sizeof(outcomes) / sizeof(outcomes[0]))
		return err_set(err, RC_FAULT, "a version of no known outcome");
	if ((rc = read_event(w, seq, &ev, err)) != RC_OK)
		return rc == RC_NOT_FOUND ? state_doubt(follower_state(w->f), seq, err) : rc;
	add_event(w, &ev, what);
	w->read += ev.payload.len;
	events_got(w->log);
	w->count++;
	w->seq = seq;
	w->any_conflict = false;
	rc = state_walk_conflicts(follower_state(w->f), seq - 1, add_conflict, w, err);
	buf_add_str(w->out, w->any_conflict ? "]}" : "}");
	return rc == RC_OK && w->out->failed ? no_memory(err) : rc;
}

/* Whether there is any version, of whatever seq. */
static enum rc
see(void *ctx, int64_t seq, enum version_what what, bool *stop, struct err *err)
{
	(void)seq;
	(void)what;
	(void)stop;
	(void)err;
	*(bool *)ctx = true;
	return RC_OK;
}

enum rc
history_write(struct follower *f, struct events *log, const struct profile_entity *entity,
              struct span id, int64_t after, int64_t limit, bool large, struct buf *out,
              struct err *err)
{
	struct table *t = tables_find(follower_tables(f), span_of(entity->table));
	struct state *s = follower_state(f);
	struct writer w = {
		.f = f, .log = log, .type = tables_number(follower_tables(f), t), .id = id,
		.large = large, .out = out, .start = out->len, .limit = limit,
	};
	bool known = false;
	enum rc rc;

	buf_add_str(out, "{\"entity_type\":");
	buf_add_json(out, span_of(entity->table));
	buf_add_str(out, ",\"entity_id\":");
	buf_add_json(out, id);
	buf_add_str(out, ",\"versions\":[");
	/* One more than are asked for tells whether there are more. */
	rc = state_walk_history(s, w.type, id, after, limit + 1, visit, &w, err);
	buf_add_str(out, w.has_more ? "],\"has_more\":true}\n" : "],\"has_more\":false}\n");
	if (rc == RC_OK && w.count == 0) {
		rc = state_walk_history(s, w.type, id, 0, 1, see, &known, err);
		if (rc == RC_OK && !known)
			rc = err_set(err, RC_NOT_FOUND, "no event of this project is about it");
	}
	if (rc == RC_OK && out->failed)
		rc = no_memory(err);
	if (rc != RC_OK)
		out->len = w.start;
	return rc;
}
