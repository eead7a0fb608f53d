/* Rows offered to the log, see offer.h. */
#include "client/offer.h"

#include "base/clock.h"
#include "base/json.h"
#include "client/entries.h"

#include <stdlib.h>
#include <string.h>

/* Whose entries ours are: no session of td's, so its `undo` leaves them alone. */
#define SESSION "td-sync"

static const char insert_entry[] =
    "INSERT INTO main.action_log (id, session_id, action_type, entity_type, entity_id,"
    " previous_data, new_data, timestamp, undone)"
    " VALUES (:id, '" SESSION "', :action, :type, :entity, :previous, :new, :time, 0)";
static const char insert_offered[] =
    "INSERT INTO " TDSYNC ".offered (action_id, type, id, first)"
    " VALUES (:action, :type, :id, :first)";

/* The entries of one entity, the newest first. */
static const char entries_of[] =
    "SELECT entity_type, action_type, coalesce(new_data, ''), timestamp,"
    " synced_at IS NULL FROM main.action_log a WHERE entity_id = :id"
    " AND " BOOKS_COUNTS("a") " ORDER BY rowid DESC";

/* Ids in a buffer, one NUL-terminated string after the other. */
struct ids {
	struct buf b;
	size_t n;
};

struct offer {
	struct local *l;
	struct kinds *kinds;
	int64_t now_us;
	int64_t made;
	sqlite3_stmt *entry, *offered, *entries;
};

static enum rc
no_memory(struct err *err)
{
	return err_set(err, RC_FAULT, "out of memory");
}

static enum rc
find_ids(struct offer *o, const char *sql, const char *type, struct ids *out, struct err *err)
{
	sqlite3_stmt *st = NULL;
	bool row = false;
	enum rc rc = db_prepare(o->l->db, sql, &st, err);

	*out = (struct ids){ 0 };
	if (rc == RC_OK && sqlite3_bind_parameter_count(st) > 0)
		db_bind_text(st, ":type", span_of(type));
	while (rc == RC_OK && (rc = db_step(st, &row, err)) == RC_OK && row) {
		buf_add_span(&out->b, db_span(st, 0));
		buf_add_byte(&out->b, '\0');
		out->n++;
	}
	sqlite3_finalize(st);
	return rc == RC_OK && out->b.failed ? no_memory(err) : local_failed(o->l, rc, err);
}

/* A fresh "al-" + 8 hex, as td makes them. */
static enum rc
new_entry_id(char out[ID_MAX], struct err *err)
{
	return id_new("al-", 4, out) == RC_OK ? RC_OK
	    : err_set(err, RC_FAULT, "no random numbers");
}

/* What a new entry holds; all borrowed. */
struct draft {
	const struct kind *table;
	struct span id;
	enum action action;
	struct span previous, now, time;
	bool first;
};

static enum rc
add_offered(struct offer *o, const struct draft *d, const char *entry, struct err *err)
{
	enum rc rc;

	db_bind_text(o->offered, ":action", span_of(entry));
	db_bind_text(o->offered, ":type", span_of(d->table->entity->table));
	db_bind_text(o->offered, ":id", d->id);
	db_bind_int(o->offered, ":first", d->first);
	rc = local_failed(o->l, db_run(o->offered, err), err);
	db_reset(o->offered);
	return rc;
}

static enum rc
add_entry(struct offer *o, const struct draft *d, struct err *err)
{
	const char *table = d->table->entity->table;
	char id[ID_MAX];
	enum rc rc = RC_OK;
	int code = SQLITE_CONSTRAINT;

	/* Ids are of 32 bits: one may be taken. */
	for (int i = 0; i < 10 && (code & 0xff) == SQLITE_CONSTRAINT; i++) {
		if ((rc = new_entry_id(id, err)) != RC_OK)
			return rc;
		db_bind_text(o->entry, ":id", span_of(id));
		db_bind_text(o->entry, ":action", span_of(action_name(d->action)));
		db_bind_text(o->entry, ":type",
		             span_of(strcmp(table, "issues") == 0 ? "issue" : table));
		db_bind_text(o->entry, ":entity", d->id);
		db_bind_text(o->entry, ":previous", d->previous);
		db_bind_text(o->entry, ":new", d->now);
		db_bind_text(o->entry, ":time", d->time);
		code = sqlite3_step(o->entry);
		rc = local_failed(o->l, db_rc(o->l->db, code, "action_log", err), err);
		db_reset(o->entry);
	}
	if (rc != RC_OK)
		return rc;
	o->made++;
	return add_offered(o, d, id, err);
}

/* --- when --- */

/* The time of a member; false without one. */
static bool
member_time(struct span json, const char *member, struct instant *out)
{
	struct buf text = { 0 };
	struct span v;
	bool ok;

	ok = json_get(json, member, &v) && json_string(v, &text) &&
	    time_parse_any(buf_span(&text), out);
	buf_free(&text);
	return ok;
}

/* Append it as td's action log has times. */
static bool
add_member_time(struct span json, const char *member, struct buf *out)
{
	struct instant at;
	bool ok = member_time(json, member, &at);

	if (ok)
		time_add_sqlite(out, at);
	return ok;
}

/* The time at which a row came to be, by its own columns; else now. */
static void
add_birth(struct span json, int64_t now_us, struct buf *out)
{
	static const char *const members[] = {
		"created_at", "timestamp", "started_at", "linked_at", "tagged_at", "added_at"
	};

	for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++)
		if (add_member_time(json, members[i], out))
			return;
	time_add_sqlite(out, time_of_us(now_us));
}

/* --- rows the log never held --- */

/* SELECT the ids of rows of td's that the log never held and nobody offers. */
static void
add_unheld(struct buf *sql, const struct kind *t)
{
	const char *table = t->entity->table;

	buf_addf(sql,
	    "SELECT m.id FROM main.\"%s\" m"
	    " WHERE NOT EXISTS (SELECT 1 FROM " TDSYNC ".\"%s\" s WHERE s.id = m.id)"
	    " AND NOT EXISTS (SELECT 1 FROM " TDSYNC ".held h WHERE h.type = :type AND h.id = m.id)"
	    " AND NOT EXISTS (SELECT 1 FROM " TDSYNC ".offered o WHERE o.type = :type AND o.id = m.id)"
	    /* SQLite takes any key: these could be no entity of the log. */
	    " AND typeof(m.id) = 'text' AND m.id <> '' AND instr(m.id, char(0)) = 0"
	    "%s%s", table, table,
	    t->places.len > 0 ? t->places.p : "", /* a create would replace that row */
	    strcmp(table, "boards") == 0 ? " AND m.is_builtin = 0" : "");
}

/* --- creates that were undone --- */

struct undone {
	struct kinds *kinds;
	struct buf ids;      /* of entries to revive, each ended by a NUL */
	size_t n;
};

/* Whether the row is one to offer. */
static enum rc
is_needed(struct kinds *ts, const struct kind *t, struct span id, bool *yes, struct err *err)
{
	struct buf sql = { 0 };
	sqlite3_stmt *st = NULL;
	enum rc rc;

	*yes = false;
	add_unheld(&sql, t);
	buf_add_str(&sql, " AND m.id = :id");
	rc = buf_cstr(&sql) == NULL ? no_memory(err) : db_prepare(ts->l->db, sql.p, &st, err);
	if (rc == RC_OK) {
		db_bind_text(st, ":type", span_of(t->entity->table));
		db_bind_text(st, ":id", id);
		rc = db_step(st, yes, err);
	}
	rc = local_failed(ts->l, rc, err);
	sqlite3_finalize(st);
	buf_free(&sql);
	return rc;
}

static enum rc
look_at_undone(void *ctx, const struct entry *e, bool *stop, struct err *err)
{
	struct undone *u = ctx;
	const struct profile_entity *p = profile_entity(&profile_td, e->entity_type);
	struct kind *t = p == NULL ? NULL : kinds_find(u->kinds, p->table);
	bool needed = false;
	enum rc rc = RC_OK;

	(void)stop;
	if (t != NULL && profile_local_action(&profile_td, e->action_type) == ACTION_CREATE)
		rc = is_needed(u->kinds, t, e->entity_id, &needed, err);
	if (rc != RC_OK || !needed)
		return rc;
	buf_add_span(&u->ids, e->id);
	buf_add_byte(&u->ids, '\0');
	u->n++;
	return u->ids.failed ? no_memory(err) : RC_OK;
}

enum rc
offer_undone(struct kinds *ts, const struct books *b, int64_t *made, struct err *err)
{
	struct undone u = { .kinds = ts };
	enum rc rc = entries_walk(ts->l, b, ENTRIES_UNDONE, look_at_undone, &u, err);
	const char *p = u.ids.p;

	for (size_t i = 0; i < u.n && rc == RC_OK; i++, p += strlen(p) + 1)
		rc = books_revive(ts->l, &(struct entry){ .id = span_of(p) }, err);
	*made = (int64_t)u.n;
	buf_free(&u.ids);
	return rc;
}

/* --- rows without a create --- */

/* Whether one of the pending entries will make the row. */
static enum rc
has_create(struct offer *o, const struct kind *t, struct span id, bool *out,
           struct err *err)
{
	bool row = false;
	enum rc rc = RC_OK;

	*out = false;
	db_bind_text(o->entries, ":id", id);
	while (!*out && (rc = db_step(o->entries, &row, err)) == RC_OK && row)
		*out = sqlite3_column_int(o->entries, 4) != 0 &&
		    profile_entity(&profile_td, db_span(o->entries, 0)) == t->entity &&
		    profile_local_action(&profile_td, db_span(o->entries, 1)) == ACTION_CREATE;
	db_reset(o->entries);
	return local_failed(o->l, rc, err);
}

static enum rc
offer_row(struct offer *o, const struct kind *t, struct span id, struct err *err)
{
	struct draft d = { .table = t, .id = id, .action = ACTION_CREATE, .first = true };
	struct buf json = { 0 }, time = { 0 };
	bool already;
	enum rc rc = has_create(o, t, id, &already, err);

	if (rc != RC_OK || already)
		return rc;
	if ((rc = kind_local_json(o->kinds, t, id, &json, err)) == RC_OK) {
		d.now = buf_span(&json);
		add_birth(d.now, o->now_us, &time);
		d.time = buf_span(&time);
		rc = json.failed || time.failed ? no_memory(err) : add_entry(o, &d, err);
	}
	buf_free(&json);
	buf_free(&time);
	return rc;
}

static enum rc
offer_unheld(struct offer *o, const struct kind *t, struct err *err)
{
	const char *table = t->entity->table;
	struct buf sql = { 0 };
	struct ids ids = { 0 };
	const char *p;
	enum rc rc;

	add_unheld(&sql, t);
	buf_add_str(&sql, " ORDER BY m.rowid");
	rc = buf_cstr(&sql) == NULL ? no_memory(err) : find_ids(o, sql.p, table, &ids, err);
	p = ids.b.p;
	for (size_t i = 0; i < ids.n && rc == RC_OK; i++, p += strlen(p) + 1)
		rc = offer_row(o, t, span_of(p), err);
	buf_free(&ids.b);
	buf_free(&sql);
	return rc;
}

/* --- issues whose log lags behind --- */

/* The newest entry of an entity, copied. */
struct newest {
	bool there;
	struct buf data;   /* its new_data */
	struct instant at;
	bool is_create;
};

static enum rc
find_newest(struct offer *o, struct span id, struct newest *out, struct err *err)
{
	enum rc rc;

	*out = (struct newest){ 0 };
	db_bind_text(o->entries, ":id", id);
	rc = db_step(o->entries, &out->there, err);
	if (rc == RC_OK && out->there) {
		buf_add_span(&out->data, db_span(o->entries, 2));
		out->is_create = profile_local_action(&profile_td, db_span(o->entries, 1)) ==
		    ACTION_CREATE;
		if (!time_parse_any(db_span(o->entries, 3), &out->at))
			out->at = (struct instant){ 0 };
	}
	db_reset(o->entries);
	return rc == RC_OK && out->data.failed ? no_memory(err) : local_failed(o->l, rc, err);
}

/* The whole entity that new_data holds, unwrapped; empty when it holds none. */
static struct span
entity_of(const struct buf *data, const struct profile_entity *e)
{
	struct span v, inner;

	if (json_scan(buf_span(data), JSON_MAX_DEPTH, &v, NULL, NULL) != RC_OK ||
	    json_type(v) != JSON_OBJECT)
		return (struct span){ 0 };
	if (e->unwrap != NULL && json_get(v, e->unwrap, &inner) &&
	    json_type(inner) == JSON_OBJECT)
		v = inner;
	return v;
}

static bool
is_set(struct span json, const char *member)
{
	struct span v;

	return json_get(json, member, &v) && json_type(v) == JSON_STRING && v.len > 2;
}

/* td's rule: a later updated_at, another status, or deleted. */
static bool
lags(struct span row, const struct newest *n, struct span logged)
{
	struct instant updated;
	struct span a, b;

	if ((member_time(row, "updated_at", &updated) && time_compare(updated, n->at) > 0) ||
	    (is_set(row, "deleted_at") && !is_set(logged, "deleted_at")))
		return true;
	return json_get(row, "status", &a) && json_get(logged, "status", &b) &&
	    !json_equal(a, b);
}

static enum rc
offer_lagging(struct offer *o, const struct kind *t, struct span id, struct err *err)
{
	struct draft d = { .table = t, .id = id, .action = ACTION_CREATE };
	struct buf json = { 0 }, time = { 0 }, previous = { 0 };
	struct newest n = { 0 };
	struct span logged;
	bool children = false;
	enum rc rc;

	if ((rc = find_newest(o, id, &n, err)) != RC_OK || !n.there ||
	    (rc = kind_local_json(o->kinds, t, id, &json, err)) != RC_OK)
		goto done;
	logged = entity_of(&n.data, t->entity);
	d.now = buf_span(&json);
	if (!lags(d.now, &n, logged))
		goto done;
	if ((rc = kind_has_children(o->kinds, t, id, &children, err)) != RC_OK)
		goto done;
	if (children) {
		/* A second create would take them along, on every replica. */
		if (json_equal(logged, d.now))
			goto done; /* the log has it all: it was offered just now */
		d.action = ACTION_UPDATE;
		if (logged.len > 2)
			json_compact(logged, &previous);
		else
			buf_addf(&previous, "{\"id\":\"%.*s\"}", (int)id.len, id.p);
		d.previous = buf_span(&previous);
	}
	if (!add_member_time(d.now, "updated_at", &time))
		add_birth(d.now, o->now_us, &time);
	d.time = buf_span(&time);
	rc = json.failed || time.failed || previous.failed ? no_memory(err)
	    : add_entry(o, &d, err);
done:
	buf_free(&n.data);
	buf_free(&json);
	buf_free(&time);
	buf_free(&previous);
	return rc;
}

static enum rc
offer_backfill(struct offer *o, const struct kind *t, struct err *err)
{
	struct ids ids = { 0 };
	const char *p;
	enum rc rc;

	if (strcmp(t->entity->table, "issues") != 0)
		return RC_OK;
	rc = find_ids(o, "SELECT m.id FROM main.issues m"
	              " WHERE NOT EXISTS (SELECT 1 FROM " TDSYNC ".held h"
	              "  WHERE h.type = :type AND h.id = m.id) ORDER BY m.rowid",
	              "issues", &ids, err);
	p = ids.b.p;
	for (size_t i = 0; i < ids.n && rc == RC_OK; i++, p += strlen(p) + 1)
		rc = offer_lagging(o, t, span_of(p), err);
	buf_free(&ids.b);
	return rc;
}

/* --- rows that are newer than the log's --- */

/* What moves when a row becomes another: a delete leaves updated_at as it was. */
static const char *const moves[] = {
	"updated_at", "deleted_at", "ended_at", "superseded_at", "added_at"
};
#define N_MOVES (sizeof(moves) / sizeof(moves[0]))

/* Since when a row is what it is, as far as its times tell. */
struct age {
	struct instant last; /* of them */
	size_t n;
};

static struct age
find_age(struct span json)
{
	struct age age = { 0 };
	struct instant at;

	for (size_t i = 0; i < N_MOVES; i++)
		if (member_time(json, moves[i], &at) &&
		    (age.n++ == 0 || time_compare(at, age.last) > 0))
			age.last = at;
	return age;
}

/* A delete's time is to the second: it may lie before that of the edit it followed. */
static bool
is_newer(struct age mine, struct age theirs)
{
	int cmp = mine.n == 0 || theirs.n == 0 ? 0 : time_compare(mine.last, theirs.last);

	return cmp > 0 || (cmp == 0 && mine.n > theirs.n);
}

static enum rc
offer_newer_row(struct offer *o, const struct kind *t, struct span id, struct err *err)
{
	struct draft d = { .table = t, .id = id, .action = ACTION_UPDATE };
	struct buf json = { 0 }, state = { 0 }, time = { 0 };
	struct age mine;
	enum rc rc;

	if ((rc = kind_local_json(o->kinds, t, id, &json, err)) != RC_OK ||
	    (rc = kind_state_json(o->kinds, t, id, &state, err)) != RC_OK)
		goto done;
	mine = find_age(buf_span(&json));
	if (!is_newer(mine, find_age(buf_span(&state))))
		goto done;
	time_add_sqlite(&time, mine.last);
	d.previous = buf_span(&state);
	d.now = buf_span(&json);
	d.time = buf_span(&time);
	rc = json.failed || state.failed || time.failed ? no_memory(err) : add_entry(o, &d, err);
done:
	buf_free(&json);
	buf_free(&state);
	buf_free(&time);
	return rc;
}

static enum rc
offer_newer(struct offer *o, const struct kind *t, struct err *err)
{
	struct buf sql = { 0 }, moved = { 0 };
	struct ids ids = { 0 };
	const char *p;
	enum rc rc = RC_OK;

	for (size_t i = 0; i < t->n; i++)
		for (size_t j = 0; j < N_MOVES; j++)
			if (strcmp(t->columns[i].name, moves[j]) == 0)
				buf_addf(&moved, "%sm.%s IS NOT s.%s", moved.len == 0 ? "" : " OR ",
				         moves[j], moves[j]);
	if (moved.len == 0 && !moved.failed)
		goto done;
	if (buf_cstr(&moved) != NULL)
		buf_addf(&sql, "SELECT m.id FROM main.\"%s\" m JOIN " TDSYNC ".\"%s\" s"
		         " ON s.id = m.id WHERE (%s)%s ORDER BY m.rowid", t->entity->table,
		         t->entity->table, moved.p,
		         strcmp(t->entity->table, "boards") == 0 ? " AND m.is_builtin = 0" : "");
	rc = moved.failed || buf_cstr(&sql) == NULL ? no_memory(err)
	    : find_ids(o, sql.p, NULL, &ids, err);
	p = ids.b.p;
	for (size_t i = 0; i < ids.n && rc == RC_OK; i++, p += strlen(p) + 1)
		rc = offer_newer_row(o, t, span_of(p), err);
done:
	buf_free(&ids.b);
	buf_free(&moved);
	buf_free(&sql);
	return rc;
}

enum rc
offer_rows(struct kinds *ts, const struct books *b, enum offer_what what, int64_t now_us,
           int64_t *made, struct err *err)
{
	struct local *l = ts->l;
	struct offer o = { .l = l, .kinds = ts, .now_us = now_us };
	enum rc rc;

	*made = 0;
	if ((rc = offer_undone(ts, b, &o.made, err)) == RC_OK &&
	    (rc = db_prepare(l->db, insert_entry, &o.entry, err)) == RC_OK &&
	    (rc = db_prepare(l->db, insert_offered, &o.offered, err)) == RC_OK)
		rc = db_prepare(l->db, entries_of, &o.entries, err);
	rc = local_failed(l, rc, err);
	for (size_t i = 0; rc == RC_OK && i < ts->n; i++)
		rc = offer_unheld(&o, &ts->list[i], err);
	for (size_t i = 0; rc == RC_OK && i < ts->n; i++) {
		if (what == OFFER_BACKFILL)
			rc = offer_backfill(&o, &ts->list[i], err);
		else if (what == OFFER_NEWER)
			rc = offer_newer(&o, &ts->list[i], err);
	}
	sqlite3_finalize(o.entry);
	sqlite3_finalize(o.offered);
	sqlite3_finalize(o.entries);
	*made = o.made;
	return rc;
}
