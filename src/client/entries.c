/* td's action log as events, see entries.h. */
#include "client/entries.h"

#include "base/clock.h"
#include "base/json.h"
#include "profiles/profile.h"

#include <string.h>

/* Of new_data and previous_data: what is left of the wire's depth below
 * {"events":[{"payload":{"new_data": }}]}. */
#define DATA_DEPTH (JSON_MAX_DEPTH - 4)

#define COLUMNS \
	"SELECT a.rowid, coalesce(a.server_seq, 0), a.id, a.action_type, a.entity_type," \
	" a.entity_id, coalesce(a.previous_data, ''), coalesce(a.new_data, '')," \
	" a.timestamp, o.first IS 1 AS first FROM main.action_log a" \
	" LEFT JOIN " TDSYNC ".offered o ON o.action_id = a.id"

static const char find[] =
    COLUMNS " WHERE a.rowid = :rowid AND a.entity_id = :id AND a.server_seq IS NULL";

static const char *const queries[] = {
	[ENTRIES_TO_SEND] =
	    COLUMNS
	    " WHERE a.synced_at IS NULL AND " BOOKS_COUNTS("a")
	    " AND NOT EXISTS (SELECT 1 FROM " TDSYNC ".rejected r WHERE r.action_id = a.id)"
	    " AND :cursor IS NOT NULL AND :foreign IS NOT NULL" /* same parameters for both */
	    " ORDER BY first DESC, a.rowid",
	[ENTRIES_OVERLAY] =
	    COLUMNS
	    " WHERE (a.synced_at IS NULL AND " BOOKS_COUNTS("a") ")"
	    " OR (a.server_seq > :cursor AND (a.rowid > :foreign OR"
	    "  EXISTS (SELECT 1 FROM " TDSYNC ".acked k WHERE k.action_id = a.id)))"
	    " ORDER BY a.synced_at IS NULL, a.server_seq, first DESC, a.rowid",
	[ENTRIES_LOST] =
	    COLUMNS
	    " WHERE a.synced_at IS NOT NULL AND a.server_seq IS NULL AND " BOOKS_COUNTS("a")
	    " AND :cursor IS NOT NULL AND :foreign IS NOT NULL"
	    " ORDER BY a.rowid",
	[ENTRIES_UNDONE] =
	    COLUMNS
	    " WHERE a.synced_at IS NULL AND a.server_seq IS NULL AND NOT " BOOKS_COUNTS("a")
	    " AND :cursor IS NOT NULL AND :foreign IS NOT NULL"
	    " ORDER BY a.rowid",
};

static struct entry
read_entry(sqlite3_stmt *st)
{
	return (struct entry){
		.rowid = sqlite3_column_int64(st, 0),
		.seq = sqlite3_column_int64(st, 1),
		.id = db_span(st, 2),
		.action_type = db_span(st, 3),
		.entity_type = db_span(st, 4),
		.entity_id = db_span(st, 5),
		.previous_data = db_span(st, 6),
		.new_data = db_span(st, 7),
		.timestamp = db_span(st, 8),
		.first = sqlite3_column_int(st, 9) != 0,
	};
}

/* Step a statement to its end and visit what it gives. */
static enum rc
walk(struct local *l, sqlite3_stmt *st, entries_visit *visit, void *ctx, struct err *err)
{
	bool row = false, stop = false;
	enum rc rc = RC_OK;

	while (!stop && (rc = local_failed(l, db_step(st, &row, err), err)) == RC_OK && row) {
		struct entry a = read_entry(st);

		if ((rc = visit(ctx, &a, &stop, err)) != RC_OK)
			break;
	}
	return rc;
}

enum rc
entry_find(struct local *l, int64_t rowid, struct span entity_id, entries_visit *visit,
           void *ctx, struct err *err)
{
	sqlite3_stmt *st = NULL;
	enum rc rc = local_failed(l, db_prepare(l->db, find, &st, err), err);

	if (rc != RC_OK)
		return rc;
	db_bind_int(st, ":rowid", rowid);
	db_bind_text(st, ":id", entity_id);
	rc = walk(l, st, visit, ctx, err);
	sqlite3_finalize(st);
	return rc;
}

enum rc
entries_walk(struct local *l, const struct books *b, enum entries_which which,
             entries_visit *visit, void *ctx, struct err *err)
{
	sqlite3_stmt *st = NULL;
	enum rc rc = local_failed(l, db_prepare(l->db, queries[which], &st, err), err);

	if (rc != RC_OK)
		return rc;
	db_bind_int(st, ":cursor", b->cursor);
	db_bind_int(st, ":foreign", b->foreign_rowid);
	rc = walk(l, st, visit, ctx, err);
	sqlite3_finalize(st);
	return rc;
}

/* Append one side of the payload: {} where the entry has none. */
static bool
add_data(struct span text, struct buf *out)
{
	struct span value, rest;

	if (text.len == 0) {
		buf_add_str(out, "{}");
		return true;
	}
	if (json_scan(text, DATA_DEPTH, &value, &rest, NULL) != RC_OK)
		return false;
	for (; rest.len > 0; rest.p++, rest.len--)
		if (*rest.p != ' ' && *rest.p != '\n' && *rest.p != '\t' && *rest.p != '\r')
			return false;
	json_compact(value, out);
	return true;
}

/*
 * The entry's time as it is sent: to the second, with its offset. One that
 * can't be read becomes the epoch: the same at every try, so that a retry is
 * known again.
 */
static void
add_time(struct span text, struct buf *out)
{
	struct instant at;

	if (!time_parse_any(text, &at))
		at = (struct instant){ 0 };
	at.nsec = 0;
	time_add_rfc3339(out, at);
}

enum rc
entry_event(const struct entry *a, struct event *out, struct buf *scratch,
             struct err *err)
{
	const struct profile_entity *e = profile_entity(&profile_td, a->entity_type);
	size_t payload;

	*out = (struct event){ 0 };
	buf_reset(scratch);
	if (e == NULL || e->held_back)
		return RC_NOT_FOUND;
	if (a->entity_id.len == 0)
		return err_set(err, RC_INVALID, "it names no entity");
	buf_add_str(scratch, "{\"new_data\":");
	if (!add_data(a->new_data, scratch))
		return err_set(err, RC_INVALID, "its new_data is not JSON");
	buf_add_str(scratch, ",\"previous_data\":");
	if (!add_data(a->previous_data, scratch))
		return err_set(err, RC_INVALID, "its previous_data is not JSON");
	buf_add_str(scratch, ",\"schema_version\":1}");
	payload = scratch->len;
	add_time(a->timestamp, scratch);
	if (scratch->failed)
		return err_set(err, RC_FAULT, "out of memory");
	out->action_id = a->rowid;
	out->action = profile_local_action(&profile_td, a->action_type);
	out->type = span_of(e->table);
	out->id = a->entity_id;
	out->payload = (struct span){ scratch->p, payload };
	out->time = (struct span){ scratch->p + payload, scratch->len - payload };
	return RC_OK;
}

void
entry_add_wire(const struct event *ev, struct buf *out)
{
	buf_add_str(out, "{\"client_action_id\":");
	buf_add_int(out, ev->action_id);
	buf_addf(out, ",\"action_type\":\"%s\",\"entity_type\":", action_name(ev->action));
	buf_add_json(out, ev->type);
	buf_add_str(out, ",\"entity_id\":");
	buf_add_json(out, ev->id);
	buf_add_str(out, ",\"payload\":");
	buf_add_span(out, ev->payload);
	buf_add_str(out, ",\"client_timestamp\":");
	buf_add_json(out, ev->time);
	buf_add_byte(out, '}');
}
