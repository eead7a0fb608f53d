#include "conflicts.h"

#include "base/json.h"
#include "store/events.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define VALUE_MAX 240 /* bytes of a value that are shown */
#define VALUE_LEAD 80 /* of them before the first that differs */

/* Who wrote a version, and when by their own clock. */
struct author {
	struct span device, user, time; /* empty: not known */
	int64_t seq;                    /* 0: it has none */
};

struct conflict {
	const char *kind;
	bool certain;
	struct span type, id, time, where;
	int64_t seq;
	struct author kept, lost;
	struct buf fields; /* by add_field(), with commas between */
};

/* --- fields --- */

static bool
same(struct span a, struct span b)
{
	struct buf left = { 0 }, right = { 0 };
	struct instant x, y;
	bool equal = json_equal(a, b);

	if (!equal && json_string(a, &left) && json_string(b, &right))
		equal = time_parse_any(buf_span(&left), &x) &&
		    time_parse_any(buf_span(&right), &y) && time_compare(x, y) == 0;
	buf_free(&left);
	buf_free(&right);
	return equal;
}

/* Nothing that td would show: "", 0, null, false, no member at all. */
static bool
is_nothing(struct span v)
{
	return v.len == 0 || span_is(v, "\"\"") || span_is(v, "0") || span_is(v, "null") ||
	    span_is(v, "false") || span_is(v, "[]");
}

/* A string as it reads, any other value as it is spelt. */
static void
text_of(struct span v, struct buf *out)
{
	buf_reset(out);
	if (!json_string(v, out))
		buf_add_span(out, v);
}

static size_t
first_difference(struct span a, struct span b)
{
	size_t i = 0;

	while (i < a.len && i < b.len && a.p[i] == b.p[i])
		i++;
	return i;
}

/* The beginning of a UTF-8 sequence at or before a byte. */
static size_t
whole(struct span s, size_t at)
{
	while (at > 0 && at < s.len && ((unsigned char)s.p[at] & 0xc0) == 0x80)
		at--;
	return at;
}

/* One side's value, as JSON: a long one is cut, to what begins a little before
 * the first byte in which the two differ. */
static void
add_value(struct buf *out, const char *side, struct span v, struct span text, size_t differ)
{
	struct buf cut = { 0 };
	size_t from = 0, to = text.len;

	if (v.len == 0)
		return;
	buf_addf(out, ",\"%s\":", side);
	if (text.len <= VALUE_MAX) {
		if (json_type(v) == JSON_STRING || json_type(v) >= JSON_ARRAY)
			buf_add_json(out, text);
		else
			buf_add_span(out, v);
		return;
	}
	if (differ < text.len && differ > VALUE_LEAD)
		from = whole(text, differ - VALUE_LEAD);
	if (to > from + VALUE_MAX)
		to = whole(text, from + VALUE_MAX);
	if (from > 0)
		buf_add_str(&cut, "\xe2\x80\xa6");
	buf_add(&cut, text.p + from, to - from);
	buf_addf(&cut, "%s (%zu bytes)", to < text.len ? "\xe2\x80\xa6" : "", text.len);
	buf_add_json(out, buf_span(&cut));
	buf_free(&cut);
}

/* A field: its name, and as JSON what was kept and what was lost; empty where
 * that side has none. */
static void
add_field(struct conflict *c, struct span name, struct span kept, struct span lost)
{
	struct buf left = { 0 }, right = { 0 };
	bool differs = kept.len == 0 || lost.len == 0 || !same(kept, lost);
	size_t at;

	if (is_nothing(kept) && is_nothing(lost))
		return;
	text_of(kept, &left);
	text_of(lost, &right);
	at = first_difference(buf_span(&left), buf_span(&right));
	buf_addf(&c->fields, "%s{\"name\":", c->fields.len > 0 ? "," : "");
	buf_add_json(&c->fields, name);
	add_value(&c->fields, "kept", kept, buf_span(&left), at);
	add_value(&c->fields, "lost", lost, buf_span(&right), at);
	buf_add_str(&c->fields, differs ? ",\"differs\":true}" : "}");
	buf_free(&left);
	buf_free(&right);
}

/* The fields of two rows, whichever has them. */
static void
add_rows(struct conflict *c, struct span kept, struct span lost)
{
	struct span key, value, other;
	struct json_iter it;
	struct buf name = { 0 };

	for (json_iter_init(&it, lost); json_next(&it, &key, &value);) {
		text_of(key, &name);
		json_get(kept, buf_cstr(&name), &other);
		add_field(c, buf_span(&name), other, value);
	}
	for (json_iter_init(&it, kept); json_next(&it, &key, &value);) {
		text_of(key, &name);
		if (!json_get(lost, buf_cstr(&name), &other))
			add_field(c, buf_span(&name), value, (struct span){ 0 });
	}
	buf_free(&name);
}

/* --- telling --- */

static void
add_author(struct buf *out, const struct run *run, const struct author *a)
{
	struct span who = a->device;
	size_t i;

	for (i = 0; i < run->n; i++)
		if (span_is(a->device, run->replicas[i].device))
			who = span_of(run->replicas[i].name);
	buf_add_str(out, "{\"who\":");
	buf_add_json(out, who);
	buf_add_str(out, ",\"user\":");
	buf_add_json(out, a->user);
	buf_add_str(out, ",\"time\":");
	buf_add_json(out, a->time);
	buf_addf(out, ",\"seq\":%lld}", (long long)a->seq);
}

static void
tell(struct run *run, struct conflict *c)
{
	struct buf kept = { 0 }, lost = { 0 }, fields = { 0 };

	add_author(&kept, run, &c->kept);
	add_author(&lost, run, &c->lost);
	buf_add_byte(&fields, '[');
	buf_add_span(&fields, buf_span(&c->fields));
	buf_add_byte(&fields, ']');
	trace_line(&run->trace, "conflict", "s:kind", c->kind, "i:certain",
	    (int64_t)c->certain, "b:type", c->type, "b:id", c->id, "i:seq", c->seq, "b:time",
	    c->time, "b:where", c->where, "j:kept", buf_span(&kept), "j:lost",
	    buf_span(&lost), "j:fields", buf_span(&fields), NULL);
	buf_free(&kept);
	buf_free(&lost);
	buf_free(&fields);
}

/* --- what the replicas have of the server --- */

static struct span
member(struct span object, const char *name)
{
	struct span v;

	json_get(object, name, &v);
	return v;
}

/* The text of a string, kept in a buffer; empty for anything else. */
static struct span
string(struct span v, struct buf *keep)
{
	buf_reset(keep);
	json_string(v, keep);
	return buf_span(keep);
}

/* Fill an author in from the server's words for him, which may be null. */
static void
read_author(struct span json, struct author *a, struct buf keep[3])
{
	a->device = string(member(json, "device_id"), &keep[0]);
	a->user = string(member(json, "user_id"), &keep[1]);
	a->time = string(member(json, "client_timestamp"), &keep[2]);
	json_int64(member(json, "server_seq"), &a->seq);
}

static struct span
json_of(sqlite3_stmt *st, int col)
{
	struct span v = { 0 };

	json_scan(sql_col(st, col), JSON_MAX_DEPTH, &v, NULL, NULL);
	return v;
}

/* A row of all(): kind, certain, type, id, seq, fields, kept, lost, replicas. */
static void
tell_record(struct run *run, sqlite3_stmt *st)
{
	struct conflict c = { .kind = (const char *)sqlite3_column_text(st, 0),
	    .certain = sqlite3_column_int(st, 1) != 0, .type = sql_col(st, 2),
	    .id = sql_col(st, 3), .seq = sqlite3_column_int64(st, 4),
	    .where = sql_col(st, 8) };
	struct buf keep[6] = { { 0 } }, name = { 0 };
	struct json_iter it;
	struct span key, field;

	read_author(json_of(st, 6), &c.kept, keep);
	read_author(json_of(st, 7), &c.lost, keep + 3);
	c.time = c.kept.time;
	for (json_iter_init(&it, json_of(st, 5)); json_next(&it, &key, &field);)
		add_field(&c, string(member(field, "field"), &name), member(field, "kept"),
		    member(field, "lost"));
	tell(run, &c);
	for (size_t i = 0; i < 6; i++)
		buf_free(&keep[i]);
	buf_free(&name);
	buf_free(&c.fields);
}

/* --- what the replicas keep --- */

/* The event that was kept says who wrote it; told while it is there. */
struct visit {
	struct run *run;
	struct conflict *c;
};

static enum rc
visit_kept(void *ctx, const struct event *ev, bool *stop)
{
	struct visit *v = ctx;

	(void)stop;
	v->c->kept.device = ev->device;
	v->c->kept.user = ev->user;
	v->c->kept.time = ev->time;
	tell(v->run, v->c);
	return RC_OK;
}

/* A row of all(): type, id, seq, the row that was lost, the one that took its
 * place (NULL: none), when, which replicas. */
static void
tell_row(struct run *run, struct events *log, sqlite3_stmt *st)
{
	struct conflict c = { .type = sql_col(st, 0), .id = sql_col(st, 1),
	    .seq = sqlite3_column_int64(st, 2), .time = sql_col(st, 5),
	    .where = sql_col(st, 6), .certain = true };
	struct visit v = { run, &c };
	struct span lost = { 0 }, kept = { 0 };
	struct err err;

	json_scan(sql_col(st, 3), JSON_MAX_DEPTH, &lost, NULL, NULL);
	json_scan(sql_col(st, 4), JSON_MAX_DEPTH, &kept, NULL, NULL);
	c.kind = kept.len > 0 ? "replaced" : "removed";
	add_rows(&c, kept, lost);
	c.kept.seq = c.seq;
	if (log == NULL || c.seq < 1 ||
	    events_walk(log, c.seq - 1, c.seq, true, NULL, visit_kept, &v, &err) != RC_OK ||
	    c.kept.device.len == 0) /* it is not in the log */
		tell(run, &c);
	buf_free(&c.fields);
}

/* The server's records, as a replica has them; none, where it never synced. */
static void
take_records(sqlite3 *to, const struct replica *r)
{
	char path[PATH_LEN + 24];
	sqlite3 *from;
	sqlite3_stmt *st;

	snprintf(path, sizeof(path), "%s/.todos/td-sync.db", r->dir);
	if (access(path, R_OK) != 0)
		return;
	from = sql_open(path, false);
	if (sql_has(from, "conflict", "fields")) {
		st = sql_prepare(from, "SELECT id, kind, certain, type, entity, seq, fields, kept,"
		    " lost FROM conflict ORDER BY place", "");
		while (sql_next(&st))
			sql_run(to, "INSERT INTO r VALUES(?,?,?,?,?,?,?,?,?,?)", "bbibbibbbs",
			    sql_col(st, 0), sql_col(st, 1), sqlite3_column_int64(st, 2),
			    sql_col(st, 3), sql_col(st, 4), sqlite3_column_int64(st, 5),
			    sql_col(st, 6), sql_col(st, 7), sql_col(st, 8), r->name);
	}
	sql_close(from);
}

/* Tables of all of them, the server's records in r, td's in c; a copy of a
 * replica has its conflicts, too. */
static sqlite3 *
all(const struct run *run)
{
	sqlite3 *to = sql_open(":memory:", true), *from;
	sqlite3_stmt *st;
	size_t i;

	sql_run(to, "CREATE TABLE c(type, id, seq, lost, kept, at, replica);"
	    "CREATE TABLE r(name, kind, certain, type, id, seq, fields, kept, lost, replica)",
	    "");
	for (i = 0; i < run->n; i++) {
		take_records(to, &run->replicas[i]);
		from = sql_open(run->replicas[i].db, false);
		st = sql_prepare(from, "SELECT entity_type, entity_id, server_seq, local_data,"
		    " remote_data, overwritten_at FROM sync_conflicts ORDER BY id", "");
		while (sql_next(&st))
			sql_run(to, "INSERT INTO c VALUES(?,?,?,?,?,?,?)", "bbibbbs",
			    sql_col(st, 0), sql_col(st, 1), sqlite3_column_int64(st, 2),
			    sql_col(st, 3), sql_col(st, 4), sql_col(st, 5),
			    run->replicas[i].name);
		sql_close(from);
	}
	return to;
}

void
conflicts_tell(struct run *run)
{
	struct events *log = NULL;
	struct err err;
	char dir[700];
	sqlite3 *db = all(run);
	sqlite3_stmt *st;

	if (events_open(server_log(&run->server, dir), &log, &err) != RC_OK)
		log = NULL; /* lost in this run: then nobody knows who */
	st = sql_prepare(db, "SELECT kind, certain, type, id, seq, fields, kept, lost,"
	    " group_concat(replica, ' ') FROM r GROUP BY name, kind, type, id, fields"
	    " ORDER BY seq, min(rowid)", "");
	while (sql_next(&st))
		tell_record(run, st);
	/* What td was told of them is not told again. */
	st = sql_prepare(db, "SELECT type, id, seq, lost, kept, min(at),"
	    " group_concat(replica, ' ') FROM c WHERE NOT EXISTS (SELECT 1 FROM r"
	    " WHERE r.type = c.type AND r.id = c.id AND r.seq = c.seq)"
	    " GROUP BY type, id, seq, lost, kept ORDER BY seq, type, id", "");
	while (sql_next(&st))
		tell_row(run, log, st);
	events_close(log);
	sql_close(db);
}
