/* Conflicts, see conflict.h. */
#include "engine/conflict.h"

#include "base/gojson.h"
#include "base/json.h"
#include "engine/value.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* How far back a row's events are looked at for who wrote a value. */
#define LOOK_BACK 1000

static const char *const names[] = {
	[CONFLICT_FIELD] = "field",
	[CONFLICT_DELETE] = "delete",
	[CONFLICT_EDIT_OF_DELETED] = "edit_of_deleted",
	[CONFLICT_CREATE] = "create",
	[CONFLICT_CASCADE] = "cascade",
	[CONFLICT_EDGE] = "edge",
};

const char *
conflict_name(enum conflict_kind kind)
{
	return (size_t)kind < sizeof(names) / sizeof(names[0]) && names[kind] != NULL
	    ? names[kind] : "unknown";
}

bool
conflict_id_parse(struct span text, struct conflict_id *out)
{
	const char *dash = text.len == 0 ? NULL : memchr(text.p, '-', text.len);
	size_t first = dash == NULL ? 0 : (size_t)(dash - text.p);
	char again[CONFLICT_ID_TEXT];
	int64_t n;

	if (dash == NULL || !json_int64((struct span){ text.p, first }, &out->seq) ||
	    !json_int64((struct span){ dash + 1, text.len - first - 1 }, &n) ||
	    out->seq <= 0 || n <= 0 || n > INT32_MAX)
		return false;
	out->n = (int)n;
	return span_is(text, conflict_id_text(*out, again)); /* one spelling */
}

char *
conflict_id_text(struct conflict_id id, char out[CONFLICT_ID_TEXT])
{
	snprintf(out, CONFLICT_ID_TEXT, "%" PRId64 "-%d", id.seq, id.n);
	return out;
}

/* Room for this much of rows that went with an event is kept for the next one. */
#define SPOOL_KEEP (1 << 20)

/* The event's row, which goes or is about to change: its values. */
struct old_row {
	const struct table *table; /* NULL: none */
	char *id;
	sqlite3_value *values[TABLE_COLUMNS];
};

/* Another row that goes. */
struct gone_row {
	const struct table *table;
	char *id;
	bool reverse; /* it is the edge that the event turns */
};

struct recorder {
	struct state *state;
	struct events *log;   /* that is applied */
	struct applier *applier;
	struct old_row own;   /* the event's row, before it */
	struct gone_row *gone; /* others that went with it */
	size_t n_gone, cap_gone;
	/* The fields of those, as a record has them. They may be many and large: it
	 * is a database that SQLite has in memory only while it is small. */
	sqlite3 *spool;
	sqlite3_stmt *put, *get;
	size_t spooled;       /* bytes */
	enum rc failed;       /* in the hook, and why */
	struct err why;
	int n;                /* records of this event */
	bool noted;           /* one that struct recorded tells of */
	struct buf fields, text;
	struct deed past;     /* an earlier event that is looked at */
};

static enum rc
no_memory(struct err *err)
{
	return err_set(err, RC_FAULT, "out of memory");
}

enum rc
recorder_new(struct state *s, struct applier *a, struct recorder **out, struct err *err)
{
	struct recorder *r = calloc(1, sizeof(*r));

	*out = r;
	if (r == NULL)
		return no_memory(err);
	r->state = s;
	r->applier = a;
	return RC_OK;
}

static void
clear_row(struct old_row *o)
{
	for (int i = 0; o->table != NULL && i < o->table->n_columns; i++) {
		sqlite3_value_free(o->values[i]);
		o->values[i] = NULL;
	}
	free(o->id);
	o->id = NULL;
	o->table = NULL;
}

static void
close_spool(struct recorder *r)
{
	sqlite3_finalize(r->put);
	sqlite3_finalize(r->get);
	sqlite3_close(r->spool);
	r->put = r->get = NULL;
	r->spool = NULL;
	r->spooled = 0;
}

static void
clear_gone(struct recorder *r)
{
	if (r->spooled > SPOOL_KEEP ||
	    (r->spooled > 0 && db_exec(r->spool, "DELETE FROM gone", NULL) != RC_OK))
		close_spool(r);
	r->spooled = 0;
	while (r->n_gone > 0)
		free(r->gone[--r->n_gone].id);
}

void
recorder_forget(struct recorder *r)
{
	clear_row(&r->own);
	clear_gone(r);
	r->failed = RC_OK;
	r->noted = false;
	r->n = 0;
}

void
recorder_free(struct recorder *r)
{
	if (r == NULL)
		return;
	recorder_forget(r);
	close_spool(r);
	free(r->gone);
	buf_free(&r->fields);
	buf_free(&r->text);
	free(r);
}

static int
number_of(struct recorder *r, const struct table *t)
{
	return tables_number(applier_tables(r->applier), t);
}

/* --- values --- */

/* Whether a stored value is none to anybody: NULL, empty, or the default. */
static bool
is_nothing(const struct column *c, sqlite3_value *v)
{
	int type = v == NULL ? SQLITE_NULL : sqlite3_value_type(v);
	sqlite3_value *d = c->fallback;

	if (type == SQLITE_NULL || (type == SQLITE_TEXT && sqlite3_value_bytes(v) == 0))
		return true;
	if (d == NULL || sqlite3_value_type(d) != type)
		return false;
	switch (type) {
	case SQLITE_INTEGER:
		return sqlite3_value_int64(v) == sqlite3_value_int64(d);
	case SQLITE_FLOAT:
		return sqlite3_value_double(v) == sqlite3_value_double(d);
	case SQLITE_TEXT:
		return span_eq(value_bytes(v), value_bytes(d));
	default:
		return false;
	}
}

/* Whether two texts of a column that holds times are the same second. */
static bool
same_second(struct span a, struct span b)
{
	struct instant ta, tb;

	return time_parse_any(a, &ta) && time_parse_any(b, &tb) && ta.sec == tb.sec;
}

static bool
same_text(struct recorder *r, const struct column *c, struct span string,
          sqlite3_value *v)
{
	struct span text = { string.p + 1, string.len - 2 };
	char number[48], *end;

	if (memchr(text.p, '\\', text.len) != NULL) {
		buf_reset(&r->text);
		json_string(string, &r->text);
		text = buf_span(&r->text);
	}
	if (sqlite3_value_type(v) == SQLITE_TEXT)
		return span_eq(text, value_bytes(v)) || (c->time && same_second(text, value_bytes(v)));
	/* A number that came as text, in a column that makes it one. */
	if (text.len == 0 || text.len >= sizeof(number))
		return false;
	memcpy(number, text.p, text.len);
	number[text.len] = '\0';
	return strtod(number, &end) == sqlite3_value_double(v) && *end == '\0';
}

static bool
same_number(struct span json, sqlite3_value *v)
{
	double number;

	return json_double(json, &number) && isfinite(number) &&
	       sqlite3_value_numeric_type(v) != SQLITE_TEXT &&
	       sqlite3_value_double(v) == number;
}

/* The text that an array or object is stored as; out is reset first. */
static bool
add_json_text(const struct column *c, struct span json, struct buf *out)
{
	struct json_iter it;
	struct span key, value;
	bool first = true;

	buf_reset(out);
	if (!c->csv || json_type(json) != JSON_ARRAY)
		return gojson_add(json, out);
	json_iter_init(&it, json);
	while (json_next(&it, &key, &value)) {
		if (!first)
			buf_add_byte(out, ',');
		first = false;
		if (!json_string(value, out) && !gojson_add(value, out))
			return false;
	}
	return true;
}

/* Whether a stored value is what a payload's value is stored as. An absent one
 * is what td leaves out: nothing. */
static bool
is_value(struct recorder *r, const struct column *c, struct span json, sqlite3_value *v)
{
	switch (json_type(json)) {
	case JSON_NULL:
		return is_nothing(c, v);
	case JSON_FALSE:
	case JSON_TRUE:
		return sqlite3_value_numeric_type(v) == SQLITE_INTEGER &&
		       sqlite3_value_int64(v) == (json_type(json) == JSON_TRUE);
	case JSON_NUMBER:
		return same_number(json, v);
	case JSON_STRING:
		return same_text(r, c, json, v);
	default:
		return add_json_text(c, json, &r->text) &&
		       span_eq(buf_span(&r->text), value_bytes(v));
	}
}

/* --- rows, in the hook --- */

/* Copy the row that a preupdate hook stands on. */
static bool
copy_row(sqlite3 *db, const struct table *t, struct old_row *o)
{
	sqlite3_value *v;

	o->table = t;
	for (int i = 0; i < t->n_columns; i++) {
		if (sqlite3_preupdate_old(db, i, &v) != SQLITE_OK ||
		    (o->values[i] = sqlite3_value_dup(v)) == NULL)
			return false;
		if (t->columns[i].is_key && (o->id = span_dup(value_bytes(v))) == NULL)
			return false;
	}
	return o->id != NULL;
}

/* The id of the row that changes. */
static bool
row_id(sqlite3 *db, const struct table *t, struct span *out)
{
	sqlite3_value *v;

	for (int i = 0; i < t->n_columns; i++)
		if (t->columns[i].is_key) {
			if (sqlite3_preupdate_old(db, i, &v) != SQLITE_OK)
				return false;
			*out = value_bytes(v);
			return true;
		}
	return false;
}

/* Whether anybody may miss what an event does to its own row; most do nothing
 * that its author hasn't seen, and then no row is copied. */
static bool
may_clobber(struct recorder *r, sqlite3 *db, const struct deed *d)
{
	const struct table *t = d->table;
	sqlite3_value *v;

	if (!d->has_before || d->whole || d->set == 0)
		return true; /* a whole row, or a delete */
	for (int i = 0; i < t->n_columns; i++) {
		bool looked_at = (d->set >> i & 1) != 0 || i == t->deleted_at;

		if (!looked_at)
			continue;
		if (sqlite3_preupdate_old(db, i, &v) != SQLITE_OK)
			return true;
		if (!is_nothing(&t->columns[i], v) && !is_value(r, &t->columns[i],
		                                               d->before.values[i], v))
			return true;
	}
	return false;
}

/* --- who wrote what --- */

/* What is looked for among a row's earlier events. */
struct search {
	struct recorder *r;
	const struct event *ev;     /* the event at hand */
	const struct table *table;
	uint64_t wanted;            /* columns whose writer isn't known yet */
	int64_t writer[TABLE_COLUMNS]; /* seq, 0: not known */
	uint64_t by_device;         /* columns that the event's own device wrote */
	int64_t own_device, own_user; /* the author's own last event on the row */
	int64_t made;               /* the event that made the row */
	int64_t written;            /* the last event that wrote anything */
	bool written_by_device;
	int64_t ended;              /* the event that took the row away, if nothing
	                             * has made it anew since */
	bool ended_by_device;
	bool knew;                  /* there were earlier events at all */
	bool until_own;             /* the author's own last event is wanted, too */
};

/* Read the rows of an event's payload. */
static void
read_past(struct recorder *r, const struct event *ev)
{
	applier_read(r->applier, ev, &r->past);
}

/* The columns that an event wrote, as it was applied. */
static uint64_t
columns_written(struct recorder *r, const struct event *ev, const struct table *t)
{
	uint64_t all = t->n_columns == 64 ? ~UINT64_C(0) : (UINT64_C(1) << t->n_columns) - 1;
	uint64_t stamps = (t->deleted_at < 0 ? 0 : UINT64_C(1) << t->deleted_at) |
	                  (t->updated_at < 0 ? 0 : UINT64_C(1) << t->updated_at);

	switch (ev->action) {
	case ACTION_CREATE:
		return all;
	case ACTION_UPDATE:
		read_past(r, ev);
		return r->past.set != 0 ? r->past.set : all;
	case ACTION_SOFT_DELETE:
		return t->deleted_at < 0 ? 0 : UINT64_C(1) << t->deleted_at;
	case ACTION_RESTORE:
		return stamps;
	case ACTION_DELETE:
		return 0;
	}
	return 0;
}

/* An event that wrote to the row: whose, and which columns. */
static void
look_at_writer(struct search *s, const struct event *past, bool own)
{
	uint64_t wrote = columns_written(s->r, past, s->table);

	if (s->written == 0) {
		s->written = past->seq;
		s->written_by_device = own;
	}
	for (int i = 0; i < s->table->n_columns; i++)
		if ((s->wanted & wrote) >> i & 1) {
			s->writer[i] = past->seq;
			if (own)
				s->by_device |= UINT64_C(1) << i;
		}
	s->wanted &= ~wrote;
}

static enum rc
look_at(void *ctx, int64_t seq, enum version_what what, bool *stop, struct err *err)
{
	struct search *s = ctx;
	struct event past;
	bool own;
	enum rc rc;

	s->knew = true;
	if ((rc = events_get(s->r->log, seq, &past, err)) != RC_OK)
		return rc == RC_NOT_FOUND ? state_doubt(s->r->state, seq, err) : rc;
	own = span_eq(past.device, s->ev->device);
	if (what == VERSION_TAKEN ||
	    (what == VERSION_APPLIED && past.action == ACTION_DELETE)) {
		/* What lies behind is an earlier life of the row. */
		*stop = true;
		if (s->written == 0) {
			s->ended = seq;
			s->ended_by_device = own;
		}
		return RC_OK;
	}
	if (own && s->own_device == 0)
		s->own_device = seq;
	if (span_eq(past.user, s->ev->user) && s->own_user == 0)
		s->own_user = seq;
	if (what != VERSION_APPLIED)
		return RC_OK;
	look_at_writer(s, &past, own);
	if (past.action == ACTION_CREATE)
		s->made = seq;
	/* A row that is written all the time has many events: not all are read. */
	*stop = s->wanted == 0 && (!s->until_own || (s->ev->action == ACTION_CREATE &&
	                                             s->own_device != 0));
	return RC_OK;
}

/* Look for the writers of some columns of a row, before the event at hand; and,
 * `until_own`, for what its author itself did last and when the row was made. */
static enum rc
search(struct recorder *r, const struct event *ev, const struct table *t, struct span id,
       uint64_t wanted, bool until_own, struct search *s, struct err *err)
{
	enum rc rc;

	*s = (struct search){ .r = r, .ev = ev, .table = t, .wanted = wanted,
	                      .until_own = until_own };
	rc = state_walk_versions(r->state, number_of(r, t), id, ev->seq, LOOK_BACK, look_at,
	                         s, err);
	events_got(r->log);
	return rc;
}

/* --- records --- */

/* A record while its fields are collected in r->fields. */
struct record {
	enum conflict_kind kind;
	bool certain;
	bool counts;      /* more than times and sessions were lost */
	int64_t kept_seq, lost_seq;
};

static void
begin(struct recorder *r, struct record *c, enum conflict_kind kind, bool certain)
{
	*c = (struct record){ .kind = kind, .certain = certain };
	buf_reset(&r->fields);
}

/* Append a payload's value as JSON of what it is stored as: so that both sides
 * of a conflict read alike. */
static void
add_as_stored(struct recorder *r, const struct column *c, struct span v)
{
	switch (json_type(v)) {
	case JSON_NULL:
		buf_add_str(&r->fields, c->never_null ? "\"\"" : "null");
		break;
	case JSON_FALSE:
	case JSON_TRUE:
		buf_add_byte(&r->fields, json_type(v) == JSON_TRUE ? '1' : '0');
		break;
	case JSON_ARRAY:
	case JSON_OBJECT:
		if (add_json_text(c, v, &r->text))
			buf_add_json(&r->fields, buf_span(&r->text));
		else
			buf_add_str(&r->fields, "null"); /* can't be stored */
		break;
	default:
		buf_add_span(&r->fields, v);
	}
}

/* The name of a field, and the "kept" that is to follow. */
static void
add_name(struct recorder *r, struct record *c, const struct column *column)
{
	buf_add_byte(&r->fields, r->fields.len == 0 ? '[' : ',');
	buf_add_str(&r->fields, "{\"field\":");
	buf_add_json(&r->fields, span_of(column->name));
	buf_add_str(&r->fields, ",\"kept\":");
	c->counts = c->counts || (!column->time && !column->session);
}

static void
add_lost_seq(struct recorder *r, struct record *c, int64_t seq)
{
	if (seq != 0) {
		buf_add_str(&r->fields, ",\"lost_seq\":");
		buf_add_int(&r->fields, seq);
	}
	buf_add_byte(&r->fields, '}');
	if (seq > c->lost_seq)
		c->lost_seq = seq;
}

/* A field whose stored value was lost; `kept` is what a payload put there,
 * empty for nothing. */
static void
add_lost(struct recorder *r, struct record *c, const struct column *column,
         struct span kept, sqlite3_value *lost, int64_t seq)
{
	add_name(r, c, column);
	if (c->kind == CONFLICT_FIELD || c->kind == CONFLICT_CREATE)
		add_as_stored(r, column, kept);
	else
		buf_add_str(&r->fields, "null"); /* the row is gone, or deleted */
	buf_add_str(&r->fields, ",\"lost\":");
	value_json(lost, false, &r->fields);
	add_lost_seq(r, c, seq);
}

/* A field that a payload would have set. */
static void
add_unset(struct recorder *r, struct record *c, const struct column *column,
          struct span lost, int64_t seq)
{
	add_name(r, c, column);
	buf_add_str(&r->fields, "null,\"lost\":");
	add_as_stored(r, column, lost);
	add_lost_seq(r, c, seq);
}

static enum rc
write_record(struct recorder *r, const struct deed *d, const struct table *t,
             struct span id, const struct record *c, struct err *err)
{
	struct state_conflict row = {
		.seq = d->ev->seq, .n = r->n + 1, .kind = c->kind, .certain = c->certain,
		.type = number_of(r, t), .id = id,
		.kept_seq = c->kept_seq, .lost_seq = c->lost_seq,
	};

	if (r->fields.len == 0)
		buf_add_byte(&r->fields, '[');
	buf_add_byte(&r->fields, ']');
	if (r->fields.failed)
		return no_memory(err);
	row.fields = buf_span(&r->fields);
	r->n++;
	r->noted = r->noted || (c->certain && (c->kind == CONFLICT_FIELD ||
	                                       c->kind == CONFLICT_DELETE));
	return state_add_conflict(r->state, &row, err);
}

/* Whether the payload has a value for a column, in one of its rows. */
static bool
gives(const struct deed *d, int column)
{
	return (d->has_row && json_type(d->row.values[column]) != JSON_NULL) ||
	       (d->has_before && json_type(d->before.values[column]) != JSON_NULL);
}

/* The columns of the event's row that hold what its author may not have seen. */
static uint64_t
unseen(struct recorder *r, const struct deed *d)
{
	const struct table *t = d->table;
	bool writes = d->ev->action == ACTION_CREATE || d->ev->action == ACTION_UPDATE;
	uint64_t found = 0;

	for (int i = 0; i < t->n_columns; i++) {
		const struct column *c = &t->columns[i];
		sqlite3_value *was = r->own.values[i];

		if (c->is_key || c->local || i == t->updated_at || is_nothing(c, was))
			continue;
		if (writes && !d->whole && (d->set >> i & 1) == 0)
			continue; /* not touched */
		if (c->now && !gives(d, i))
			continue; /* td always does: nothing was said of it */
		if (writes && is_value(r, c, d->row.values[i], was))
			continue; /* the same value twice */
		if (d->has_before && is_value(r, c, d->before.values[i], was))
			continue; /* seen */
		found |= UINT64_C(1) << i;
	}
	return found;
}

/* Until which event the author has seen others', where it doesn't say. */
static int64_t
seen_until(const struct search *s, enum action action)
{
	int64_t own = s->own_device != 0 ? s->own_device : s->own_user;

	/* Who changes or deletes a row has seen it made. */
	return action != ACTION_CREATE && s->made > own ? s->made : own;
}

/* Of columns, those whose value somebody else wrote, unseen by the author. */
static uint64_t
of_others(const struct search *s, const struct deed *d, uint64_t columns)
{
	int64_t seen = d->has_before ? 0 : seen_until(s, d->ev->action);
	uint64_t found = 0;

	for (int i = 0; i < d->table->n_columns; i++)
		if ((columns & ~s->by_device) >> i & 1 && s->writer[i] > seen)
			found |= UINT64_C(1) << i;
	return found;
}

/* An update, or a create over a row: values that it wrote over. */
static enum rc
judge_write(struct recorder *r, const struct deed *d, struct err *err)
{
	uint64_t columns = unseen(r, d);
	struct record c;
	struct search s;
	enum rc rc;

	if (columns == 0)
		return RC_OK;
	rc = search(r, d->ev, d->table, d->ev->id, columns, !d->has_before, &s, err);
	if (rc != RC_OK)
		return rc;
	columns = of_others(&s, d, columns);
	begin(r, &c, d->whole ? CONFLICT_CREATE : CONFLICT_FIELD, d->has_before);
	for (int i = 0; i < d->table->n_columns; i++)
		if (columns >> i & 1)
			add_lost(r, &c, &d->table->columns[i], d->row.values[i],
			         r->own.values[i], s.writer[i]);
	c.kept_seq = d->ev->seq;
	return c.counts ? write_record(r, d, d->table, d->ev->id, &c, err) : RC_OK;
}

/* A delete, soft or hard: edits that its author had not seen. Of a row that is
 * gone all is listed, so that it can be made again. */
static enum rc
judge_delete(struct recorder *r, const struct deed *d, struct err *err)
{
	bool hard = d->ev->action == ACTION_DELETE;
	uint64_t columns = unseen(r, d);
	struct record c;
	struct search s;
	enum rc rc;

	if (columns == 0)
		return RC_OK;
	rc = search(r, d->ev, d->table, d->ev->id, columns, !d->has_before, &s, err);
	if (rc != RC_OK)
		return rc;
	columns = of_others(&s, d, columns);
	begin(r, &c, CONFLICT_DELETE, d->has_before);
	for (int i = 0; i < d->table->n_columns; i++)
		if (columns >> i & 1)
			add_lost(r, &c, &d->table->columns[i], (struct span){ 0 },
			         r->own.values[i], s.writer[i]);
	if (!c.counts)
		return RC_OK;
	for (int i = 0; hard && i < d->table->n_columns; i++)
		if ((columns >> i & 1) == 0 && !d->table->columns[i].is_key &&
		    !d->table->columns[i].local && !is_nothing(&d->table->columns[i],
		                                               r->own.values[i]))
			add_lost(r, &c, &d->table->columns[i], (struct span){ 0 },
			         r->own.values[i], 0);
	c.kept_seq = d->ev->seq;
	return write_record(r, d, d->table, d->ev->id, &c, err);
}

/* What an event would have written, all of it lost. */
static void
add_payload(struct recorder *r, struct record *c, const struct deed *d, uint64_t columns)
{
	for (int i = 0; i < d->table->n_columns; i++) {
		const struct column *column = &d->table->columns[i];

		if (columns >> i & 1 && !column->is_key && !column->local &&
		    json_type(d->row.values[i]) != JSON_NULL)
			add_unset(r, c, column, d->row.values[i], d->ev->seq);
	}
}

/* An edit of a row that somebody else deleted, softly: nobody sees it. */
static enum rc
judge_edit_of_deleted(struct recorder *r, const struct deed *d, struct err *err)
{
	const struct table *t = d->table;
	uint64_t deleted = UINT64_C(1) << t->deleted_at;
	struct record c;
	struct search s;
	enum rc rc;

	if ((rc = search(r, d->ev, t, d->ev->id, deleted, false, &s, err)) != RC_OK)
		return rc;
	if (s.writer[t->deleted_at] == 0 || (s.by_device & deleted) != 0)
		return RC_OK;
	begin(r, &c, CONFLICT_EDIT_OF_DELETED, true);
	add_payload(r, &c, d, d->set & ~(t->updated_at < 0 ? 0 : UINT64_C(1) << t->updated_at));
	c.kept_seq = s.writer[t->deleted_at];
	c.lost_seq = d->ev->seq;
	return c.counts ? write_record(r, d, t, d->ev->id, &c, err) : RC_OK;
}

/* Whether the event edits a row that is softly deleted, which it does not know. */
static bool
edits_deleted(struct recorder *r, const struct deed *d)
{
	int at = d->table->deleted_at;

	return d->ev->action == ACTION_UPDATE && d->set != 0 && at >= 0 &&
	       r->own.values[at] != NULL &&
	       sqlite3_value_type(r->own.values[at]) != SQLITE_NULL &&
	       (d->set >> at & 1) == 0 && json_type(d->before.values[at]) == JSON_NULL;
}

/* An edit of a row that is not there: lost, if somebody took the row away. */
static enum rc
judge_missing(struct recorder *r, const struct deed *d, struct err *err)
{
	struct record c;
	struct search s;
	enum rc rc;

	if (!d->has_row)
		return RC_OK;
	if ((rc = search(r, d->ev, d->table, d->ev->id, 0, false, &s, err)) != RC_OK)
		return rc;
	if (s.ended == 0 || s.ended_by_device)
		return RC_OK;
	begin(r, &c, CONFLICT_EDIT_OF_DELETED, true);
	add_payload(r, &c, d, ~UINT64_C(0));
	c.kept_seq = s.ended;
	c.lost_seq = d->ev->seq;
	return write_record(r, d, d->table, d->ev->id, &c, err);
}

/* --- the rows that go --- */

static bool
grow(struct recorder *r)
{
	size_t cap = r->cap_gone == 0 ? 16 : 2 * r->cap_gone;
	struct gone_row *p;

	if (r->n_gone < r->cap_gone)
		return true;
	if ((p = realloc(r->gone, cap * sizeof(*p))) == NULL)
		return false;
	r->gone = p;
	r->cap_gone = cap;
	return true;
}

static enum rc
open_spool(struct recorder *r, struct err *err)
{
	enum rc rc;
	int code;

	if (r->get != NULL)
		return RC_OK;
	close_spool(r);
	code = sqlite3_open("", &r->spool);
	if ((rc = db_rc(r->spool, code, "a temporary database", err)) == RC_OK)
		rc = db_exec(r->spool, "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;"
		             " CREATE TABLE gone(n INTEGER PRIMARY KEY, fields TEXT)", err);
	if (rc == RC_OK)
		rc = db_prepare(r->spool, "INSERT INTO gone(n, fields) VALUES (:n, :fields)",
		                &r->put, err);
	if (rc == RC_OK)
		rc = db_prepare(r->spool, "SELECT fields FROM gone WHERE n = :n", &r->get, err);
	return rc;
}

/* Put the fields away that were collected in r->fields. */
static enum rc
put_gone(struct recorder *r, struct err *err)
{
	enum rc rc = r->fields.failed ? no_memory(err) : open_spool(r, err);

	if (rc != RC_OK)
		return rc;
	db_bind_int(r->put, ":n", (int64_t)r->n_gone);
	db_bind_text(r->put, ":fields", buf_span(&r->fields));
	r->spooled += r->fields.len + 1;
	return db_run(r->put, err);
}

/* Fetch those of a row back. */
static enum rc
read_gone(struct recorder *r, size_t i, struct err *err)
{
	bool row;
	enum rc rc;

	db_bind_int(r->get, ":n", (int64_t)i);
	if ((rc = db_step(r->get, &row, err)) == RC_OK)
		buf_add_span(&r->fields, db_span(r->get, 0));
	db_reset(r->get);
	return rc;
}

/* The value of a column, before. */
static sqlite3_value *
old_value(sqlite3 *db, int column)
{
	sqlite3_value *v = NULL;

	return sqlite3_preupdate_old(db, column, &v) == SQLITE_OK ? v : NULL;
}

/* Whether the row that goes is the reverse of the edge that the event makes. */
static bool
is_reverse(struct recorder *r, sqlite3 *db, const struct table *t, const struct deed *d)
{
	sqlite3_value *from, *to;

	if (t != d->table || t->from < 0 || t->to < 0 || !d->has_row ||
	    (from = old_value(db, t->from)) == NULL || (to = old_value(db, t->to)) == NULL)
		return false;
	return is_value(r, &t->columns[t->to], d->row.values[t->from], to) &&
	       is_value(r, &t->columns[t->from], d->row.values[t->to], from);
}

/* Take note of a row that goes with the event: what there is to lose. */
static enum rc
take_gone(struct recorder *r, sqlite3 *db, const struct table *t, struct span id,
          struct err *err)
{
	struct gone_row *o;
	struct record c;
	enum rc rc;

	begin(r, &c, CONFLICT_CASCADE, true);
	for (int i = 0; i < t->n_columns; i++) {
		const struct column *column = &t->columns[i];
		sqlite3_value *v = old_value(db, i);

		if (v == NULL)
			return no_memory(err);
		if (!column->is_key && !column->local && !is_nothing(column, v))
			add_lost(r, &c, column, (struct span){ 0 }, v, 0);
	}
	if (!grow(r))
		return no_memory(err);
	if ((rc = put_gone(r, err)) != RC_OK)
		return rc;
	o = &r->gone[r->n_gone];
	o->table = t;
	o->reverse = is_reverse(r, db, t, applier_deed(r->applier));
	o->id = span_dup(id);
	r->n_gone += o->id != NULL;
	return o->id != NULL ? RC_OK : no_memory(err);
}

/* --- the hook --- */

/* Copy the event's row, or do without where nobody misses anything. */
static enum rc
take_own(struct recorder *r, sqlite3 *db, const struct deed *d, struct err *err)
{
	bool copied = r->own.table != NULL || !may_clobber(r, db, d) ||
	              copy_row(db, d->table, &r->own);

	/* That it was there counts, though nothing of it is needed. */
	r->own.table = d->table;
	return copied ? RC_OK : no_memory(err);
}

void
recorder_on_change(struct recorder *r, sqlite3 *db, int op, const struct table *t)
{
	const struct deed *d = applier_deed(r->applier);
	struct err why;
	struct span id;
	enum rc rc = RC_OK;

	if (op == SQLITE_INSERT || r->failed != RC_OK)
		return;
	if (!row_id(db, t, &id))
		rc = no_memory(&why);
	else if (t == d->table && span_eq(id, d->ev->id))
		rc = take_own(r, db, d, &why);
	else if (op == SQLITE_DELETE) /* not td's parent_id of a row whose parent went */
		rc = take_gone(r, db, t, id, &why);
	if (rc != RC_OK) {
		r->failed = rc;
		r->why = why;
	}
}

/* --- what became of them --- */

/*
 * A row that went with the event: the edge it turned, one in the way of its own
 * by UNIQUE, or a child. What the author itself wrote counts only where it did
 * not mean to delete anything.
 */
static enum rc
judge_gone(struct recorder *r, const struct deed *d, size_t i, struct err *err)
{
	const struct gone_row *o = &r->gone[i];
	bool hard = d->ev->action == ACTION_DELETE;
	struct span id = span_of(o->id);
	struct record c;
	struct search s;
	enum rc rc;

	if ((rc = search(r, d->ev, o->table, id, 0, false, &s, err)) != RC_OK)
		return rc;
	if (s.written_by_device && (hard || o->table == d->table))
		return RC_OK;
	begin(r, &c, o->reverse ? CONFLICT_EDGE : CONFLICT_CASCADE, !hard);
	if ((rc = read_gone(r, i, err)) != RC_OK)
		return rc;
	c.kept_seq = d->ev->seq;
	c.lost_seq = s.written;
	return write_record(r, d, o->table, id, &c, err);
}

/* --- events that were not applied --- */

/* A row that could not be made, and who is in the way: the event with the seq
 * `kept`. */
static enum rc
record_unmade(struct recorder *r, const struct deed *d, enum conflict_kind kind,
              int64_t kept, struct err *err)
{
	struct record c;

	begin(r, &c, kind, true);
	add_payload(r, &c, d, ~UINT64_C(0));
	c.kept_seq = kept;
	c.lost_seq = d->ev->seq;
	return write_record(r, d, d->table, d->ev->id, &c, err);
}

static const struct table *
table_named(struct recorder *r, const char *name)
{
	return tables_find(applier_tables(r->applier), span_of(name));
}

/* A create whose parent somebody else deleted. One whose parent never was here
 * is only skipped. */
static enum rc
judge_orphan(struct recorder *r, const struct deed *d, struct err *err)
{
	int64_t ended = 0;
	enum rc rc = RC_OK;

	for (int i = 0; i < d->table->n_parents && rc == RC_OK; i++) {
		const struct parent *p = &d->table->parents[i];
		const struct table *t = table_named(r, p->table);
		struct buf id = { 0 };
		struct search s;

		if (t == NULL || !json_string(d->row.values[p->column], &id))
			continue;
		rc = search(r, d->ev, t, buf_span(&id), 0, false, &s, err);
		if (rc == RC_OK && s.ended > ended && !s.ended_by_device)
			ended = s.ended;
		buf_free(&id);
	}
	return rc != RC_OK || ended == 0 ? rc
	    : record_unmade(r, d, CONFLICT_CASCADE, ended, err);
}

/* The newest writer of the edges that close the cycle. */
struct closing {
	struct recorder *r;
	const struct deed *d;
	int64_t seq;
	bool by_device;
};

static enum rc
look_at_edge(void *ctx, struct span id, struct err *err)
{
	struct closing *c = ctx;
	struct search s;
	enum rc rc = search(c->r, c->d->ev, c->d->table, id, 0, false, &s, err);

	if (rc == RC_OK && s.written > c->seq) {
		c->seq = s.written;
		c->by_device = s.written_by_device;
	}
	return rc;
}

/* An edge that the cycle rule dropped. */
static enum rc
judge_edge(struct recorder *r, const struct deed *d, struct err *err)
{
	struct closing c = { r, d, 0, false };
	struct buf from = { 0 }, to = { 0 };
	enum rc rc = RC_OK;

	if (json_string(d->row.values[d->table->from], &from) &&
	    json_string(d->row.values[d->table->to], &to))
		rc = table_cycle(applier_tables(r->applier), d->table, buf_span(&from),
		                 buf_span(&to), look_at_edge, &c, err);
	if (from.failed || to.failed)
		rc = no_memory(err);
	buf_free(&from);
	buf_free(&to);
	if (rc != RC_OK || c.by_device)
		return rc;
	return record_unmade(r, d, CONFLICT_EDGE, c.seq, err);
}

/* An edge that the server cuts out of a cycle, and rows that a delete of its takes
 * along. What else it does is computed from what there is, and takes nothing. */
static enum rc
judge_server(struct recorder *r, const struct deed *d, struct err *err)
{
	const struct table *t = d->table;
	struct record c;
	struct search s;
	enum rc rc = RC_OK;

	if (d->ev->action != ACTION_DELETE || r->own.id == NULL)
		return RC_OK;
	for (size_t i = 0; i < r->n_gone && rc == RC_OK; i++)
		rc = judge_gone(r, d, i, err);
	if (rc != RC_OK || t->from < 0)
		return rc;
	if ((rc = search(r, d->ev, t, d->ev->id, 0, false, &s, err)) != RC_OK)
		return rc;
	begin(r, &c, CONFLICT_EDGE, true);
	for (int i = 0; i < t->n_columns; i++)
		if (!t->columns[i].is_key && !t->columns[i].local &&
		    !is_nothing(&t->columns[i], r->own.values[i]))
			add_lost(r, &c, &t->columns[i], (struct span){ 0 }, r->own.values[i], 0);
	c.kept_seq = d->ev->seq;
	c.lost_seq = s.written;
	return write_record(r, d, t, d->ev->id, &c, err);
}

/* --- an event --- */

static enum rc
judge_applied(struct recorder *r, const struct deed *d, struct err *err)
{
	enum action action = d->ev->action;
	bool there = r->own.table != NULL, copied = r->own.id != NULL;
	enum rc rc = RC_OK;

	if (!there && (action == ACTION_UPDATE || action == ACTION_RESTORE))
		rc = judge_missing(r, d, err);
	else if (copied && edits_deleted(r, d))
		rc = judge_edit_of_deleted(r, d, err);
	else if (copied && (action == ACTION_CREATE || action == ACTION_UPDATE))
		rc = judge_write(r, d, err);
	else if (copied && (action == ACTION_DELETE || action == ACTION_SOFT_DELETE))
		rc = judge_delete(r, d, err);
	for (size_t i = 0; i < r->n_gone && rc == RC_OK; i++)
		rc = judge_gone(r, d, i, err);
	return rc;
}

/* A delete of what is deleted already takes nothing from anybody. */
static bool
deletes_deleted(struct recorder *r, const struct deed *d)
{
	int at = d->table->deleted_at;

	return d->ev->action == ACTION_SOFT_DELETE && at >= 0 && r->own.values[at] != NULL &&
	       sqlite3_value_type(r->own.values[at]) != SQLITE_NULL;
}

static enum rc
add_versions(struct recorder *r, const struct deed *d, enum version_what what,
             struct err *err)
{
	int64_t seq = d->ev->seq;
	enum rc rc = state_add_version(r->state, number_of(r, d->table), d->ev->id, seq, what,
	                               err);

	for (size_t i = 0; i < r->n_gone && rc == RC_OK; i++)
		rc = state_add_version(r->state, number_of(r, r->gone[i].table),
		                       span_of(r->gone[i].id), seq, VERSION_TAKEN, err);
	return rc;
}

static enum rc
done(struct recorder *r, const struct deed *d, enum applied what, const char *why,
     struct recorded *out, struct err *err)
{
	static const enum version_what versions[] = {
		[APPLIED] = VERSION_APPLIED, [APPLIED_ORPHAN] = VERSION_ORPHAN,
		[APPLIED_EDGE] = VERSION_EDGE, [APPLIED_BAD] = VERSION_BAD,
	};
	enum version_what version = versions[what];
	enum rc rc = RC_OK;

	if (what == APPLIED && d->ev->action != ACTION_CREATE && r->own.table == NULL)
		version = VERSION_NOTHING;
	out->version = version;
	for (size_t i = 0; i < r->n_gone; i++)
		out->took = out->took || (d->ev->action != ACTION_DELETE &&
		                          r->gone[i].table != d->table);
	if (d->ev->by_server)
		rc = what == APPLIED ? judge_server(r, d, err) : RC_OK;
	else if (what == APPLIED && !deletes_deleted(r, d))
		rc = judge_applied(r, d, err);
	else if (what == APPLIED_ORPHAN)
		rc = judge_orphan(r, d, err);
	else if (what == APPLIED_EDGE)
		rc = judge_edge(r, d, err);
	if (rc == RC_OK && what != APPLIED)
		rc = state_add_skipped(r->state, d->ev->seq, what == APPLIED_EDGE ? "cycle"
		                       : applied_reason(what), why, err);
	out->noted = r->noted;
	return rc == RC_OK ? add_versions(r, d, version, err) : rc;
}

enum rc
recorder_done(struct recorder *r, struct events *log, const struct deed *d,
              enum applied what, const char *why, struct recorded *out, struct err *err)
{
	enum rc rc;

	*out = (struct recorded){ .version = VERSION_BAD };
	r->log = log;
	if (d->table == NULL || d->table->entity->held_back || d->ev->id.len == 0) {
		recorder_forget(r);
		return state_add_skipped(r->state, d->ev->seq, applied_reason(what), why, err);
	}
	if (what != APPLIED) { /* what the hook saw was taken back */
		clear_row(&r->own);
		clear_gone(r);
	}
	rc = r->failed != RC_OK ? err_set(err, r->failed, "%s", r->why.text)
	                        : done(r, d, what, why, out, err);
	recorder_forget(r);
	return rc;
}
