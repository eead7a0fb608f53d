#include "command.h"

#include "base/hash.h"
#include "base/json.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Members in the order in which td writes them. */
const struct field issue_fields[] = {
	{ "id", FIELD_TEXT },
	{ "title", FIELD_TEXT },
	{ "description", FIELD_OPT },
	{ "status", FIELD_TEXT },
	{ "type", FIELD_TEXT },
	{ "priority", FIELD_TEXT },
	{ "points", FIELD_INT },
	{ "labels", FIELD_LABELS },
	{ "parent_id", FIELD_OPT },
	{ "acceptance", FIELD_OPT },
	{ "sprint", FIELD_OPT },
	{ "implementer_session", FIELD_TEXT },
	{ "creator_session", FIELD_TEXT },
	{ "reviewer_session", FIELD_TEXT },
	{ "review_requested_by_session", FIELD_OPT, 31 },
	{ "closed_by_session", FIELD_OPT, 31 },
	{ "created_at", FIELD_TIME },
	{ "updated_at", FIELD_TIME },
	{ "reviewed_at", FIELD_OPTTIME, 31 },
	{ "closed_at", FIELD_OPTTIME },
	{ "deleted_at", FIELD_OPTTIME },
	{ "minor", FIELD_BOOL },
	{ "created_branch", FIELD_OPT },
	{ "defer_until", FIELD_OPT, 31 },
	{ "due_date", FIELD_OPT, 31 },
	{ "defer_count", FIELD_INT, 31 },
	{ NULL }
};
const struct field board_fields[] = {
	{ "id", FIELD_TEXT },
	{ "name", FIELD_TEXT },
	{ "query", FIELD_TEXT },
	{ "is_builtin", FIELD_BOOL },
	{ "view_mode", FIELD_TEXT },
	{ "created_at", FIELD_TIME },
	{ "updated_at", FIELD_TIME },
	{ NULL }
};
const struct field note_fields[] = {
	{ "id", FIELD_TEXT },
	{ "title", FIELD_TEXT },
	{ "content", FIELD_TEXT },
	{ "created_at", FIELD_TIME },
	{ "updated_at", FIELD_TIME },
	{ "pinned", FIELD_BOOL },
	{ "archived", FIELD_BOOL },
	{ "deleted_at", FIELD_OPTTIME },
	{ NULL }
};
const struct field review_fields[] = {
	{ "id", FIELD_TEXT },
	{ "issue_id", FIELD_TEXT },
	{ "reviewer_session", FIELD_TEXT },
	{ "decision", FIELD_TEXT },
	{ "summary", FIELD_TEXT },
	{ "requested_by_session", FIELD_OPT },
	{ "created_at", FIELD_TIME },
	{ "superseded_at", FIELD_OPTTIME },
	{ "self_review", FIELD_BOOL, 38 },
	{ "reviewed_by", FIELD_OPT, 38 },
	{ NULL }
};
const struct field comment_fields[] = {
	{ "created_at", FIELD_TIME },
	{ "id", FIELD_TEXT },
	{ "issue_id", FIELD_TEXT },
	{ "session_id", FIELD_TEXT },
	{ "text", FIELD_TEXT },
	{ NULL }
};
const struct field log_fields[] = {
	{ "id", FIELD_TEXT },
	{ "issue_id", FIELD_TEXT },
	{ "message", FIELD_TEXT },
	{ "session_id", FIELD_TEXT },
	{ "timestamp", FIELD_TIME },
	{ "type", FIELD_TEXT },
	{ "work_session_id", FIELD_TEXT },
	{ NULL }
};
const struct field handoff_fields[] = {
	{ "decisions", FIELD_TEXT },
	{ "done", FIELD_TEXT },
	{ "id", FIELD_TEXT },
	{ "issue_id", FIELD_TEXT },
	{ "remaining", FIELD_TEXT },
	{ "session_id", FIELD_TEXT },
	{ "timestamp", FIELD_SECOND },
	{ "uncertain", FIELD_TEXT },
	{ NULL }
};
const struct field edge_fields[] = {
	{ "depends_on_id", FIELD_TEXT },
	{ "id", FIELD_TEXT },
	{ "issue_id", FIELD_TEXT },
	{ "relation_type", FIELD_TEXT },
	{ NULL }
};
const struct field file_fields[] = {
	{ "file_path", FIELD_TEXT },
	{ "id", FIELD_TEXT },
	{ "issue_id", FIELD_TEXT },
	{ "linked_at", FIELD_SECOND },
	{ "linked_sha", FIELD_TEXT },
	{ "role", FIELD_TEXT },
	{ NULL }
};
const struct field position_fields[] = {
	{ "added_at", FIELD_TIME },
	{ "board_id", FIELD_TEXT },
	{ "id", FIELD_TEXT },
	{ "issue_id", FIELD_TEXT },
	{ "position", FIELD_INT },
	{ NULL }
};
const struct field unposition_fields[] = {
	{ "board_id", FIELD_TEXT },
	{ "id", FIELD_TEXT },
	{ "issue_id", FIELD_TEXT },
	{ "position", FIELD_INT },
	{ NULL }
};
const struct field ws_start_fields[] = {
	{ "id", FIELD_TEXT },
	{ "name", FIELD_TEXT },
	{ "session_id", FIELD_TEXT },
	{ "start_sha", FIELD_TEXT },
	{ "started_at", FIELD_TIME },
	{ NULL }
};
const struct field ws_end_fields[] = {
	{ "end_sha", FIELD_TEXT },
	{ "ended_at", FIELD_TIME },
	{ "id", FIELD_TEXT },
	{ "name", FIELD_TEXT },
	{ "session_id", FIELD_TEXT },
	{ "start_sha", FIELD_TEXT },
	{ "started_at", FIELD_TIME },
	{ NULL }
};
const struct field tag_fields[] = {
	{ "id", FIELD_TEXT },
	{ "issue_id", FIELD_TEXT },
	{ "tagged_at", FIELD_TIME },
	{ "work_session_id", FIELD_TEXT },
	{ NULL }
};
const struct field untag_fields[] = {
	{ "id", FIELD_TEXT },
	{ "issue_id", FIELD_TEXT },
	{ "work_session_id", FIELD_TEXT },
	{ NULL }
};

static const struct kind kinds[] = {
	{ "issues", issue_fields, "created_at" },
	{ "logs", log_fields, NULL },
	{ "handoffs", handoff_fields, NULL },
	{ "comments", comment_fields, NULL },
	{ "boards", board_fields, "created_at" },
	{ "board_issue_positions", position_fields, NULL },
	{ "work_sessions", ws_end_fields, "started_at" },
	{ "work_session_issues", tag_fields, NULL },
	{ "issue_files", file_fields, NULL },
	{ "issue_dependencies", edge_fields, NULL },
	{ "issue_reviews", review_fields, "created_at" },
	{ "notes", note_fields, "created_at" },
	{ NULL, NULL, NULL }
};

const struct kind *
kind_find(const char *table)
{
	const struct kind *k;

	for (k = kinds; k->table != NULL; k++)
		if (strcmp(k->table, table) == 0)
			return k;
	return NULL;
}

struct emit *
emit_open(struct replica *r, bool wait)
{
	struct emit *e = calloc(1, sizeof(*e));

	if (e == NULL)
		die("out of memory");
	e->r = r;
	if (!replica_lock(r, wait, &e->lock)) {
		free(e);
		return NULL;
	}
	e->db = replica_open(r);
	sql_run(e->db, "BEGIN IMMEDIATE", "");
	return e;
}

void
emit_close(struct emit *e)
{
	sql_run(e->db, "COMMIT", "");
	sql_close(e->db);
	replica_unlock(e->lock);
	buf_free(&e->prev);
	buf_free(&e->next);
	buf_free(&e->text);
	free(e);
}

int
emit_entries(const struct emit *e)
{
	return e->entries;
}

/* --- times --- */

/* A command starts: up to three seconds after the one before. */
static void
start(struct emit *e)
{
	e->r->wall->us += 1000 + (int64_t)rng_below(&e->r->rng, 3000000);
	e->now = replica_now(e->r);
	if (e->r->schema >= 31) /* Linux's clock; the v27 database is a Mac's */
		e->now.nsec += (int32_t)rng_below(&e->r->rng, 1000);
}

void
tick(struct emit *e)
{
	int64_t us = 200 + (int64_t)rng_below(&e->r->rng, 9000);
	int32_t nsec = e->now.nsec % 1000;

	e->r->wall->us += us;
	e->now = replica_now(e->r);
	e->now.nsec += nsec;
}

/* Go's time.Time as text: "2026-02-03 20:53:53.519728 -0800 PST m=+0.036937834" */
static void
add_go_time(struct emit *e, struct buf *out)
{
	struct instant at = e->now;
	struct buf s = { 0 };
	int minutes = at.offset / 60;

	time_add_sqlite(&s, at);
	if (s.len < 6)
		die("out of memory");
	buf_add(out, s.p, s.len - 6); /* without the offset */
	buf_addf(out, " %c%02d%02d %s m=+0.%09d", minutes < 0 ? '-' : '+',
	         abs(minutes) / 60, abs(minutes) % 60, e->r->zone_name,
	         (int)rng_below(&e->r->rng, 900000000));
	buf_free(&s);
}

const char *
local_time(struct emit *e)
{
	buf_reset(&e->text);
	if (e->r->schema >= 38)
		time_add_sqlite(&e->text, e->now);
	else
		add_go_time(e, &e->text);
	return buf_cstr(&e->text);
}

/* --- rows --- */

static void
add_time(struct buf *out, struct span stored, bool whole)
{
	struct instant at;
	struct buf text = { 0 };

	if (!time_parse_any(stored, &at))
		die("not a time: %.*s", (int)stored.len, stored.p);
	if (whole)
		at.nsec = 0;
	time_add_rfc3339(&text, at);
	buf_add_json(out, buf_span(&text));
	buf_free(&text);
}

static void
add_labels(struct buf *out, struct span csv)
{
	struct span one = { csv.p, 0 };
	size_t i;

	buf_add_byte(out, '[');
	for (i = 0; i <= csv.len; i++) {
		if (i < csv.len && csv.p[i] != ',')
			continue;
		one.len = (size_t)(csv.p + i - one.p);
		if (one.p != csv.p)
			buf_add_byte(out, ',');
		buf_add_json(out, one);
		one.p = csv.p + i + 1;
	}
	buf_add_byte(out, ']');
}

/* Whether a value is left out of the JSON. */
static bool
left_out(enum field_kind kind, struct span value)
{
	return value.len == 0 &&
	    (kind == FIELD_OPT || kind == FIELD_OPTTIME || kind == FIELD_LABELS);
}

static void
add_value(struct buf *out, enum field_kind kind, struct span value)
{
	switch (kind) {
	case FIELD_TEXT:
	case FIELD_OPT:
		buf_add_json(out, value);
		break;
	case FIELD_INT:
		buf_add_span(out, value);
		break;
	case FIELD_BOOL:
		buf_add_str(out, span_is(value, "1") ? "true" : "false");
		break;
	case FIELD_TIME:
	case FIELD_OPTTIME:
	case FIELD_SECOND:
		add_time(out, value, kind == FIELD_SECOND);
		break;
	case FIELD_LABELS:
		add_labels(out, value);
		break;
	}
}

bool
row_json(struct emit *e, const char *table, const struct field *fields,
         const char *id, struct buf *out)
{
	struct buf sql = { 0 };
	const struct field *f;
	sqlite3_stmt *st;
	int col = 0;
	bool first = true;

	buf_add_str(&sql, "SELECT ");
	for (f = fields; f->name != NULL; f++)
		if (f->since <= e->r->schema)
			buf_addf(&sql, "%s\"%s\"", f == fields ? "" : ",", f->name);
	buf_addf(&sql, " FROM \"%s\" WHERE id = ?", table);
	buf_reset(out);
	st = sql_prepare(e->db, buf_cstr(&sql), "s", id);
	buf_free(&sql);
	if (!sql_next(&st))
		return false;
	for (f = fields; f->name != NULL; f++) {
		if (f->since > e->r->schema)
			continue;
		if (!left_out(f->kind, sql_col(st, col))) {
			buf_addf(out, "%c\"%s\":", first ? '{' : ',', f->name);
			add_value(out, f->kind, sql_col(st, col));
			first = false;
		}
		col++;
	}
	buf_add_byte(out, '}');
	sqlite3_finalize(st);
	return true;
}

bool
field_value(struct emit *e, struct span object, const struct field *f, struct buf *out)
{
	struct span value, key, one;
	struct json_iter it;
	struct instant at;

	buf_reset(out);
	if (!json_get(object, f->name, &value) || json_type(value) == JSON_NULL)
		return f->kind != FIELD_OPTTIME && strcmp(f->name, "defer_until") != 0 &&
		    strcmp(f->name, "due_date") != 0;
	switch (f->kind) {
	case FIELD_TIME:
	case FIELD_OPTTIME:
	case FIELD_SECOND:
		json_string(value, out);
		if (!time_parse_any(buf_span(out), &at))
			die("not a time: %.*s", (int)value.len, value.p);
		buf_reset(out);
		if (e->r->schema >= 38)
			time_add_sqlite(out, at);
		else
			time_add_rfc3339(out, at);
		break;
	case FIELD_LABELS:
		for (json_iter_init(&it, value); json_next(&it, &key, &one);) {
			if (out->len > 0)
				buf_add_byte(out, ',');
			json_string(one, out);
		}
		break;
	case FIELD_BOOL:
		buf_add_str(out, json_type(value) == JSON_TRUE ? "1" : "0");
		break;
	default:
		if (!json_string(value, out))
			buf_add_span(out, value);
	}
	return true;
}

/* The columns that a row gets, by name; one that the schema lacks is none. */
static bool
is_written(struct emit *e, const struct kind *k, const struct field *f, bool insert)
{
	return f->since <= e->r->schema &&
	    (insert || k->keeps == NULL || strcmp(f->name, k->keeps) != 0);
}

void
write_row(struct emit *e, const struct kind *k, const char *id, struct span object,
          bool insert)
{
	struct buf sql = { 0 }, value = { 0 };
	const struct field *f;
	sqlite3_stmt *st;
	int n = 0, col = 0;

	buf_addf(&sql, insert ? "INSERT OR REPLACE INTO \"%s\"(" : "UPDATE \"%s\" SET ",
	    k->table);
	for (f = k->fields; f->name != NULL; f++)
		if (is_written(e, k, f, insert))
			buf_addf(&sql, insert ? "%s\"%s\"" : "%s\"%s\" = ?", n++ == 0 ? "" : ", ",
			    f->name);
	buf_add_str(&sql, insert ? ") VALUES(?" : " WHERE id = ?");
	while (insert && --n > 0)
		buf_add_str(&sql, ", ?");
	buf_add_str(&sql, insert ? ")" : "");
	st = sql_prepare(e->db, buf_cstr(&sql), "");
	for (f = k->fields; f->name != NULL; f++) {
		if (!is_written(e, k, f, insert))
			continue;
		if (strcmp(f->name, "id") == 0)
			sqlite3_bind_text(st, ++col, id, -1, SQLITE_TRANSIENT);
		else if (field_value(e, object, f, &value))
			sqlite3_bind_text(st, ++col, buf_cstr(&value), -1, SQLITE_TRANSIENT);
		else
			sqlite3_bind_null(st, ++col);
	}
	if (!insert)
		sqlite3_bind_text(st, ++col, id, -1, SQLITE_TRANSIENT);
	while (sql_next(&st))
		;
	buf_free(&sql);
	buf_free(&value);
}

void
set(struct emit *e, const char *table, const char *id, const char *column,
    const char *value)
{
	char sql[160];

	if (!sql_has(e->db, table, column))
		return;
	snprintf(sql, sizeof(sql), "UPDATE \"%s\" SET \"%s\" = ? WHERE id = ?", table,
	         column);
	sql_run(e->db, sql, "ss", value, id);
}

const char *
get(struct emit *e, const char *table, const char *id, const char *column)
{
	char sql[160];

	snprintf(sql, sizeof(sql), "SELECT \"%s\" FROM \"%s\" WHERE id = ?", column, table);
	sql_text(e->db, &e->text, sql, "s", id);
	return buf_cstr(&e->text);
}

void
new_id(struct emit *e, const char *table, const char *prefix, size_t digits,
       char out[ID_MAX])
{
	char sql[80];

	snprintf(sql, sizeof(sql), "SELECT 1 FROM \"%s\" WHERE id = ?", table);
	do
		rng_id(&e->r->rng, prefix, digits, out, ID_MAX);
	while (sql_int(e->db, 0, sql, "s", out) != 0);
}

void
digest_id(const char *prefix, const char *a, const char *b, const char *c,
          char out[ID_MAX])
{
	unsigned char sha[HASH_LEN];
	struct buf text = { 0 }, hex = { 0 };

	buf_addf(&text, "%s|%s", a, b);
	if (c != NULL)
		buf_addf(&text, "|%s", c);
	if (hash_sha256(buf_span(&text), sha) != RC_OK)
		die("no SHA-256");
	buf_add_hex(&hex, sha, 8);
	snprintf(out, ID_MAX, "%s%s", prefix, buf_cstr(&hex));
	buf_free(&text);
	buf_free(&hex);
}

void
entry(struct emit *e, const char *action, const char *type, const char *id,
      const struct buf *prev, const struct buf *next)
{
	char al[ID_MAX];
	struct buf at = { 0 };
	struct instant utc = e->now;
	bool note = strncmp(type, "note", 4) == 0;

	utc.offset = 0;
	if (e->r->schema >= 31)
		time_add_rfc3339(&at, utc);
	else
		add_go_time(e, &at);
	new_id(e, "action_log", "al-", 8, al);
	sql_run(e->db, "INSERT INTO action_log(id, session_id, action_type, entity_type,"
	    " entity_id, previous_data, new_data, timestamp) VALUES(?,?,?,?,?,?,?,?)",
	    "sssssbbb", al, !note ? e->r->session : e->r->schema < 31 ? "sidecar" : "",
	    action, type, id, prev ? buf_span(prev) : (struct span){ 0 },
	    next ? buf_span(next) : (struct span){ 0 }, buf_span(&at));
	buf_free(&at);
	e->entries++;
}

/* --- commands --- */

const struct command *
command_find(const char *name)
{
	const struct command *c;

	for (c = commands; c->name != NULL; c++)
		if (strcmp(c->name, name) == 0)
			return c;
	return NULL;
}

bool
emit_run(struct emit *e, const struct command *c, const struct emit_args *a,
         char id[ID_MAX])
{
	int before = e->entries;

	start(e);
	if (a->id != NULL)
		snprintf(e->id, sizeof(e->id), "%s", a->id);
	if (!c->run(e, a)) {
		assert(e->entries == before);
		return false;
	}
	if (id != NULL)
		memcpy(id, e->id, ID_MAX);
	return true;
}

/* What a letter of `takes` can stand for here. */
static const char *
candidates(char letter)
{
	switch (letter) {
	case 'i':
	case 'j':
		return "SELECT id FROM issues WHERE deleted_at IS NULL ORDER BY id";
	case 'd':
		return "SELECT id FROM issues WHERE deleted_at IS NOT NULL ORDER BY id";
	case 'b':
		return "SELECT id FROM boards WHERE is_builtin = 0 ORDER BY id";
	case 'n':
		return "SELECT id FROM notes WHERE deleted_at IS NULL ORDER BY id";
	case 'm':
		return "SELECT id FROM notes WHERE deleted_at IS NOT NULL ORDER BY id";
	case 'w':
		return "SELECT id FROM work_sessions ORDER BY id";
	default:
		return NULL;
	}
}

static bool
pick(struct emit *e, char letter, char id[ID_MAX])
{
	struct buf out = { 0 };
	char sql[160];
	int64_t n;
	bool found = false;

	snprintf(sql, sizeof(sql), "SELECT count(*) FROM (%s)", candidates(letter));
	n = sql_int(e->db, 0, sql, "");
	if (n > 0) {
		snprintf(sql, sizeof(sql), "%s LIMIT 1 OFFSET ?", candidates(letter));
		found = sql_text(e->db, &out, sql, "i",
		    (int64_t)rng_below(&e->r->rng, (uint64_t)n));
		snprintf(id, ID_MAX, "%s", found ? out.p : "");
	}
	buf_free(&out);
	return found;
}

/* Texts with everything in them that some layer could trip over. */
static const char *
any_text(struct emit *e)
{
	static const char *const texts[] = {
		"Check the valve wiring",
		"A < B && C > \"D\"",
		"日本語のメモ",
		"emoji 🌱🚿",
		"line one\nline two\r\nback\\slash and tab\there",
		"{\"volts\": 3.3}",
		"it's 50% done; DROP TABLE issues; --",
		"works below 5 °C \xe2\x80\xa8 after a line separator",
		"null",
		"",
		"\x01 control \x1f and \x7f delete",
		"0123456789012345678901234567890123456789",
	};

	buf_reset(&e->prev); /* free between commands */
	buf_add_str(&e->prev, texts[rng_below(&e->r->rng, sizeof(texts) / sizeof(*texts))]);
	buf_addf(&e->prev, " %d", (int)rng_below(&e->r->rng, 100));
	return buf_cstr(&e->prev);
}

bool
emit_chance(struct emit *e, const struct command *c, int tries, char id[ID_MAX])
{
	char first[ID_MAX], second[ID_MAX], text[256];
	const char *t;

	while (tries-- > 0) {
		struct emit_args a = { 0 };
		bool ok = true;

		for (t = c->takes; *t != '\0' && ok; t++) {
			if (*t == 't') {
				snprintf(text, sizeof(text), "%s", any_text(e));
				a.text = text;
			} else if (*t != '+' && a.id == NULL) {
				ok = pick(e, *t, first);
				a.id = first;
			} else if (*t != '+') {
				ok = pick(e, *t, second);
				a.other = second;
			}
		}
		if (ok && emit_run(e, c, &a, id))
			return true;
	}
	return false;
}

const struct command *
emit_random(struct emit *e, char id[ID_MAX])
{
	const struct command *c;
	uint64_t total = 0, n;
	int tries;

	for (c = commands; c->name != NULL; c++)
		total += c->weight;
	for (tries = 0; tries < 20; tries++) {
		n = rng_below(&e->r->rng, total);
		for (c = commands; n >= c->weight; c++)
			n -= c->weight;
		if (emit_chance(e, c, 1, id))
			return c;
	}
	return NULL;
}
