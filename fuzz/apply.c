/*
 * The applier (engine/apply.h): sequences of events (events.h) on a state in
 * memory. The same events by one applier and by several, some of them new, must leave
 * the same rows, none of an event that was not applied, and no foreign key
 * broken.
 */
#include "engine/apply.h"

#include "fuzz/events.h"
#include "fuzz/fuzz.h"

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
	sequence_read(&s, copy);
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
