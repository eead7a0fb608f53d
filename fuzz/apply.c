/*
 * The applier (engine/apply.h): sequences of events on a state in memory. An
 * input that begins with '{' is a log as it is recorded, a JSON object each;
 * any other is a list of choices from which events are made up: of few ids,
 * so that they meet, with columns that the tables have, and now and then a
 * payload of raw bytes.
 *
 * The same events by one applier and by several, some of them new, must leave
 * the same rows, none of an event that was not applied, and no foreign key
 * broken.
 */
#include "engine/apply.h"

#include "base/json.h"
#include "engine/page.h"
#include "fuzz/fuzz.h"

#include <string.h>

#define EVENTS_MAX 64

static struct err err;

/* --- states --- */

#define TABLES_MAX 32

/* A state as any begins; what is done to it is rolled back. */
static struct state {
	sqlite3 *db;
	struct applier *appliers[2];
	sqlite3_stmt *tables[TABLES_MAX]; /* all rows of each */
} whole, pieces;

static void
exec(sqlite3 *db, const char *sql)
{
	FUZZ_CHECK(db_exec(db, sql, &err) == RC_OK, "%s: %s", sql, err.text);
}

static struct applier *
new_applier(sqlite3 *db)
{
	struct applier *a;

	FUZZ_CHECK(applier_new(db, "main", &profile_td, &a, &err) == RC_OK, "%s", err.text);
	return a;
}

static void
open_state(struct state *s)
{
	struct buf sql = { 0 };
	size_t n = 0;

	FUZZ_CHECK(sqlite3_open(":memory:", &s->db) == SQLITE_OK, "no SQLite");
	exec(s->db, "PRAGMA foreign_keys=ON");
	profile_schema(&profile_td, "main", &sql);
	exec(s->db, buf_cstr(&sql));
	for (const struct profile_entity *e = profile_td.entities; e->table != NULL; e++) {
		if (e->held_back)
			continue;
		buf_reset(&sql);
		buf_addf(&sql, "SELECT * FROM %s ORDER BY id", e->table);
		FUZZ_CHECK(n < TABLES_MAX && db_prepare(s->db, buf_cstr(&sql), &s->tables[n],
		                                        &err) == RC_OK, "%s", err.text);
		n++;
	}
	buf_free(&sql);
	s->appliers[0] = new_applier(s->db);
	s->appliers[1] = new_applier(s->db);
}

static void
close_state(struct state *s)
{
	applier_free(s->appliers[0]);
	applier_free(s->appliers[1]);
	for (size_t n = 0; n < TABLES_MAX; n++)
		sqlite3_finalize(s->tables[n]);
	sqlite3_close(s->db);
}

static void
close_states(void)
{
	close_state(&whole);
	close_state(&pieces);
}

/* All rows of all tables. */
static void
dump(struct state *s, struct buf *out)
{
	bool row;

	buf_reset(out);
	for (size_t n = 0; n < TABLES_MAX && s->tables[n] != NULL; n++) {
		sqlite3_stmt *st = s->tables[n];

		buf_addf(out, "%s\n", sqlite3_column_table_name(st, 0));
		while (db_step(st, &row, &err) == RC_OK && row) {
			for (int i = 0; i < sqlite3_column_count(st); i++) {
				struct span v = db_span(st, i);

				buf_addf(out, "%d:%zu:", sqlite3_column_type(st, i), v.len);
				buf_add_span(out, v);
			}
			buf_add_byte(out, '\n');
		}
		db_reset(st);
	}
}

static void
check_foreign_keys(sqlite3 *db)
{
	sqlite3_stmt *st;
	bool row;

	FUZZ_CHECK(db_prepare(db, "PRAGMA foreign_key_check", &st, &err) == RC_OK, "%s", err.text);
	FUZZ_CHECK(db_step(st, &row, &err) == RC_OK, "%s", err.text);
	FUZZ_CHECK(!row, "%s names a missing %s", sqlite3_column_text(st, 0),
	           sqlite3_column_text(st, 2));
	sqlite3_finalize(st);
}

/* --- events --- */

struct sequence {
	struct event ev[EVENTS_MAX];
	struct buf text[EVENTS_MAX]; /* what each event's spans are in */
	size_t n;
};

static void
sequence_free(struct sequence *s)
{
	for (size_t i = 0; i < EVENTS_MAX; i++)
		buf_free(&s->text[i]);
}

static void
read_log(struct span text, struct sequence *s)
{
	struct span value;

	while (s->n < EVENTS_MAX &&
	       json_scan(text, JSON_MAX_DEPTH, &value, &text, NULL) == RC_OK)
		if (json_type(value) == JSON_OBJECT &&
		    page_event(value, &s->ev[s->n], &s->text[s->n], &err) == RC_OK)
			s->n++;
}

/* Choices are bytes; behind the last one all are 0. */
struct choices {
	const uint8_t *p, *end;
};

static unsigned
choose(struct choices *c, unsigned n)
{
	return c->p < c->end ? *c->p++ % n : 0;
}

static const char *
choose_id(struct choices *c)
{
	static const char *const ids[] = { "a", "b", "c", "d", "bd-all-issues", "B", "x|y",
	                                   "\\u00e9" };

	return ids[choose(c, 8)];
}

static void
add_value(struct choices *c, struct buf *out)
{
	static const char *const values[] = {
		"null", "true", "false", "0", "1", "-1.50", "9007199254740993", "1e400", "\"\"",
		"\"text\"", "\"depends_on\"", "\"2026-01-31T10:00:00Z\"", "\"1\"", "\"\\ud800\"",
		"[]", "[\"a\",\"b,c\",1,null]", "{}", "{\"k\":[1.0,{\"k\":null}]}", "\"a\\u0000b\"",
		"\"\\u0041\"",
	};
	unsigned i = choose(c, 32);

	if (i < sizeof(values) / sizeof(values[0]))
		buf_add_str(out, values[i]);
	else
		buf_addf(out, "\"%s\"", choose_id(c));
}

/* What a column needs so that its row gets in. */
static void
add_needed(struct choices *c, const struct profile_column *col, struct buf *out)
{
	size_t len = strlen(col->name);

	if (len > 3 && strcmp(col->name + len - 3, "_id") == 0)
		buf_addf(out, "\"%s\"", choose_id(c));
	else
		buf_add_str(out, "\"x\"");
}

static void
add_member(struct choices *c, const struct profile_entity *e, struct buf *out)
{
	unsigned n = 0;

	while (e->columns[n].name != NULL)
		n++;
	n = choose(c, n + 1);
	buf_addf(out, "\"%s\":", e->columns[n].name != NULL ? e->columns[n].name : "unknown");
	add_value(c, out);
}

/* A row, maybe wrapped, maybe with all that its table asks for. */
static void
add_row(struct choices *c, const struct profile_entity *e, struct buf *out)
{
	unsigned form = choose(c, 8), n = choose(c, 5);
	const char *comma = "";

	if (form == 7) {
		add_value(c, out);
		return;
	}
	if (form == 6)
		buf_add_str(out, "{\"issue\":");
	buf_add_byte(out, '{');
	for (const struct profile_column *col = e->columns; form < 4 && col->name != NULL; col++) {
		if (strstr(col->decl, "NOT NULL") == NULL || strstr(col->decl, "DEFAULT") != NULL)
			continue;
		buf_addf(out, "%s\"%s\":", comma, col->name);
		add_needed(c, col, out);
		comma = ",";
	}
	for (; n > 0; n--, comma = ",") {
		buf_add_str(out, comma);
		add_member(c, e, out);
	}
	buf_add_str(out, form == 6 ? "},\"other\":1}" : "}");
}

static void
add_payload(struct choices *c, const struct profile_entity *e, struct buf *out)
{
	unsigned form = choose(c, 8);
	size_t n;

	if (form == 7) {
		n = choose(c, 64);
		for (; n > 0 && c->p < c->end; n--)
			buf_add_byte(out, (char)*c->p++);
		return;
	}
	buf_add_str(out, "{\"schema_version\":1,\"new_data\":");
	add_row(c, e, out);
	if (form > 2) {
		buf_add_str(out, ",\"previous_data\":");
		if (form == 3)
			buf_add_str(out, "{}");
		else
			add_row(c, e, out);
	}
	buf_add_byte(out, '}');
}

/* Make an event up; false where its payload is no JSON. */
static bool
make_event(struct choices *c, struct event *ev, struct buf *text)
{
	static const char *const times[] = { "2026-01-31T10:00:00Z", "2026-01-31T10:00:00.5+02:00",
	                                     "2025-12-31T23:59:59Z", "yesterday" };
	const struct profile_entity *e = profile_td.entities;
	unsigned n = 0, type;

	while (e[n].table != NULL)
		n++;
	*ev = (struct event){ .action = (enum action)(1 + choose(c, 5)), .action_id = 1 };
	type = choose(c, n + 1);
	ev->type = span_of(type < n ? e[type].table : "unknown");
	ev->id = span_of(choose_id(c));
	ev->time = span_of(times[choose(c, 16) % 5 % 4]);
	buf_reset(text);
	add_payload(c, &e[type < n ? type : 0], text);
	return json_scan(buf_span(text), JSON_MAX_DEPTH, &ev->payload, NULL, NULL) == RC_OK;
}

static void
make_up(struct choices c, struct sequence *s)
{
	while (s->n < EVENTS_MAX && c.p < c.end)
		if (make_event(&c, &s->ev[s->n], &s->text[s->n]))
			s->n++;
}

/* --- applying --- */

static enum applied
apply(struct applier *a, const struct event *ev)
{
	enum applied what;

	err.text[0] = '\0';
	FUZZ_CHECK(applier_apply(a, ev, &what, &err) == RC_OK, "%s: %s %.*s %.*s", err.text,
	           action_name(ev->action), FUZZ_SPAN(ev->type), FUZZ_SPAN(ev->payload));
	FUZZ_CHECK(what == APPLIED || err.text[0] != '\0', "no word of why");
	return what;
}

/*
 * All by one applier. Some events are watched: one that is not applied must
 * leave nothing.
 */
static void
apply_whole(const struct sequence *s, enum applied *what, uint32_t random,
            struct buf *rows)
{
	struct buf before = { 0 };

	exec(whole.db, "BEGIN");
	for (size_t i = 0; i < s->n; i++) {
		bool watched = s->n <= 8 || fuzz_next(&random) % 8 == 0;

		if (watched)
			dump(&whole, &before);
		what[i] = apply(whole.appliers[0], &s->ev[i]);
		if (!watched || what[i] == APPLIED)
			continue;
		dump(&whole, rows);
		FUZZ_CHECK(span_eq(buf_span(rows), buf_span(&before)),
		           "left behind: %s %.*s %.*s", action_name(s->ev[i].action),
		           FUZZ_SPAN(s->ev[i].type), FUZZ_SPAN(s->ev[i].payload));
	}
	dump(&whole, rows);
	check_foreign_keys(whole.db);
	exec(whole.db, "ROLLBACK");
	buf_free(&before);
}

/* The same each for itself, by two that take turns and may be new. */
static void
apply_pieces(const struct sequence *s, const enum applied *what, uint32_t random,
             struct buf *rows)
{
	exec(pieces.db, "BEGIN");
	for (size_t i = 0; i < s->n; i++) {
		uint32_t r = fuzz_next(&random);
		struct applier **a = &pieces.appliers[r % 2];

		if (r / 2 % 128 == 0) {
			applier_free(*a);
			*a = new_applier(pieces.db);
		}
		exec(pieces.db, "SAVEPOINT piece");
		FUZZ_CHECK(apply(*a, &s->ev[i]) == what[i], "event %zu", i);
		exec(pieces.db, "RELEASE piece");
	}
	dump(&pieces, rows);
	exec(pieces.db, "ROLLBACK");
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct sequence s;
	struct span copy = fuzz_copy(data, size);
	struct buf once = { 0 }, again = { 0 };
	enum applied what[EVENTS_MAX];
	uint32_t random = fuzz_seed(data, size);

	if (whole.db == NULL) {
		open_state(&whole);
		open_state(&pieces);
		atexit(close_states);
	}
	s.n = 0;
	if (size > 0 && data[0] == '{')
		read_log(copy, &s);
	else
		make_up((struct choices){ data, data + size }, &s);
	apply_whole(&s, what, random, &once);
	apply_pieces(&s, what, random, &again);
	FUZZ_CHECK(span_eq(buf_span(&once), buf_span(&again)), "%.*s\nis not\n%.*s",
	           FUZZ_SPAN(buf_span(&once)), FUZZ_SPAN(buf_span(&again)));
	buf_free(&once);
	buf_free(&again);
	sequence_free(&s);
	free((char *)(uintptr_t)copy.p);
	return 0;
}
