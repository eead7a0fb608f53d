/*
 * The applier against what stock software made of the same logs, and rule by
 * rule (protocol.md section 5).
 */
#include "base/json.h"
#include "engine/apply.h"
#include "engine/page.h"
#include "tests/fixture.h"
#include "tests/temp.h"

#include <check.h>
#include <inttypes.h>
#include <string.h>

/* The synced tables: fixtures/README.md, "How to compare". */
static const char *const synced[] = {
	"issues", "logs", "handoffs", "comments", "boards", "board_issue_positions",
	"work_sessions", "work_session_issues", "issue_files",
	"issue_dependencies", "issue_reviews", "notes"
};
#define N_SYNCED (sizeof(synced) / sizeof(*synced))

static char dir[TEMP_PATH];
static sqlite3 *db;
static struct applier *applier;
static struct err err;
static struct buf text, sql;

static void
setup(void)
{
	temp_make(dir);
}

static void
teardown(void)
{
	applier_free(applier);
	applier = NULL;
	sqlite3_close(db);
	db = NULL;
	buf_free(&text);
	buf_free(&sql);
	temp_remove(dir);
}

static void
exec(const char *statements)
{
	ck_assert_msg(db_exec(db, statements, &err) == RC_OK, "%s: %s", statements,
	              err.text);
}

/* Open a copy of a recorded database under a new name. */
static void
open_copy(const char *recording, const char *name)
{
	char path[TEMP_PATH + 64];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fixture_copy(recording, path);
	ck_assert(sqlite3_open(path, &db) == SQLITE_OK);
	exec("PRAGMA foreign_keys=ON; PRAGMA synchronous=OFF");
}

static void
new_applier(const struct profile *p)
{
	ck_assert_msg(applier_new(db, "main", p, &applier, &err) == RC_OK, "%s", err.text);
}

/* An empty state in memory. */
static void
open_state(const struct profile *p)
{
	ck_assert(sqlite3_open(":memory:", &db) == SQLITE_OK);
	exec("PRAGMA foreign_keys=ON");
	buf_reset(&sql);
	profile_schema(p, "main", &sql);
	exec(buf_cstr(&sql));
	new_applier(p);
}

/* Attach a copy of a recorded database as "f". */
static void
attach_copy(const char *recording)
{
	char path[TEMP_PATH + 64], *attach;

	snprintf(path, sizeof(path), "%s/attached.db", dir);
	fixture_copy(recording, path);
	attach = sqlite3_mprintf("ATTACH %Q AS f", path);
	exec(attach);
	sqlite3_free(attach);
}

/* --- whole logs --- */

/* What was skipped, a line each: "seq reason sentence". */
static struct buf skipped;

static void
apply_event(const struct event *ev)
{
	enum applied what;

	ck_assert_msg(applier_apply(applier, ev, &what, &err) == RC_OK,
	              "seq %" PRId64 ": %s", ev->seq, err.text);
	if (applied_reason(what) != NULL)
		buf_addf(&skipped, "%" PRId64 " %s %s\n", ev->seq, applied_reason(what),
		         err.text);
}

/* Apply the next events of a log, at most n, in one transaction; how many. */
static size_t
apply_page(struct span *log, size_t n, const char *end)
{
	struct buf scratch = { 0 };
	struct event ev;
	struct span line;
	size_t done = 0;

	exec("BEGIN");
	while (done < n && fixture_line(log, &line)) {
		ck_assert_msg(page_event(line, &ev, &scratch, &err) == RC_OK, "%s", err.text);
		apply_event(&ev);
		done++;
	}
	exec(end);
	buf_free(&scratch);
	return done;
}

static size_t
apply_log(struct span log)
{
	return apply_page(&log, SIZE_MAX, "COMMIT");
}

/* A row as text that shows type and value of each column. */
static void
add_row(struct buf *out, sqlite3_stmt *st)
{
	static const char types[] = "?IRTBN"; /* by SQLITE_INTEGER .. SQLITE_NULL */

	for (int i = 0; i < sqlite3_column_count(st); i++) {
		int type = sqlite3_column_type(st, i);

		buf_addf(out, " %s=%c:", sqlite3_column_name(st, i), types[type]);
		buf_add_json(out, db_span(st, i));
	}
	buf_add_byte(out, '\n');
}

/* Append all rows that a query gives. */
static void
dump(const char *query, struct buf *out)
{
	sqlite3_stmt *st;
	bool row;

	ck_assert_msg(db_prepare(db, query, &st, &err) == RC_OK, "%s: %s", query, err.text);
	while (db_step(st, &row, &err) == RC_OK && row)
		add_row(out, st);
	ck_assert_msg(sqlite3_finalize(st) == SQLITE_OK, "%s", err.text);
	buf_cstr(out);
}

/* The columns that a table has in both schemas, with commas between. */
static void
common_columns(const char *table, struct buf *out)
{
	static const char query[] =
	    "SELECT m.name FROM pragma_table_info(:t, 'main') m"
	    " JOIN pragma_table_info(:t, 'f') f ON f.name = m.name"
	    " WHERE m.name NOT IN ('worktree_id', 'worktree_root', 'repo_root')"
	    " ORDER BY f.cid";
	sqlite3_stmt *st;
	bool row;

	ck_assert(db_prepare(db, query, &st, &err) == RC_OK);
	db_bind_text(st, ":t", span_of(table));
	while (db_step(st, &row, &err) == RC_OK && row) {
		if (out->len > 0)
			buf_add_str(out, ", ");
		buf_addf(out, "\"%s\"", sqlite3_column_text(st, 0));
	}
	sqlite3_finalize(st);
}

/* Append the rows of a synced table in "main" or "f" as common columns. */
static void
dump_table(const char *schema, const char *table, struct buf *out)
{
	struct buf columns = { 0 }, query = { 0 };

	common_columns(table, &columns);
	if (columns.len > 0) {
		buf_addf(&query, "SELECT %s FROM %s.%s%s ORDER BY id", buf_cstr(&columns),
		         schema, table,
		         strcmp(table, "boards") == 0 ? " WHERE is_builtin = 0" : "");
		dump(buf_cstr(&query), out);
	}
	buf_free(&columns);
	buf_free(&query);
}

/* Show the first line in which two texts differ. */
static void
assert_same(const char *what, struct buf *got, struct buf *want)
{
	const char *g = buf_cstr(got), *w = buf_cstr(want);
	size_t i = 0, line = 0;

	if (span_eq(buf_span(got), buf_span(want)))
		return;
	for (; g[i] != '\0' && g[i] == w[i]; i++)
		if (g[i] == '\n')
			line = i + 1;
	ck_abort_msg("%s differs:\n got  %.*s\n want %.*s", what,
	             (int)strcspn(g + line, "\n"), g + line,
	             (int)strcspn(w + line, "\n"), w + line);
}

/* Main and f hold the same in all synced tables; how many rows. */
static size_t
assert_equal_tables(const char *history)
{
	struct buf got = { 0 }, want = { 0 };
	char what[128];
	size_t rows = 0;

	for (size_t i = 0; i < N_SYNCED; i++) {
		buf_reset(&got);
		buf_reset(&want);
		dump_table("main", synced[i], &got);
		dump_table("f", synced[i], &want);
		snprintf(what, sizeof(what), "%s, table %s", history, synced[i]);
		assert_same(what, &got, &want);
		for (size_t k = 0; k < want.len; k++)
			rows += want.p[k] == '\n';
	}
	buf_free(&got);
	buf_free(&want);
	return rows;
}

/* Skipped were the same seqs, for the same reasons, with the same sentences. */
static void
assert_same_skipped(const char *history)
{
	struct buf want = { 0 };
	sqlite3_stmt *st;
	bool row;

	ck_assert(db_prepare(db, "SELECT server_seq, reason, error"
	                         " FROM f.sync_skipped_events ORDER BY server_seq",
	                     &st, &err) == RC_OK);
	while (db_step(st, &row, &err) == RC_OK && row)
		buf_addf(&want, "%s %s %s\n", sqlite3_column_text(st, 0),
		         sqlite3_column_text(st, 1), sqlite3_column_text(st, 2));
	sqlite3_finalize(st);
	buf_cstr(&want);
	buf_cstr(&skipped);
	assert_same(history, &skipped, &want);
	buf_free(&want);
}

static const struct history {
	const char *name;
	size_t events;       /* in its log */
	size_t rows;         /* in F's synced tables */
	bool third_party;    /* in ../shared only */
} histories[] = {
	{ "autosync", 26, 16, false },
	{ "conflicts", 106, 56, false },
	{ "team", 698, 333, false },
	{ "versions", 174, 75, false },
	{ "large", 6301, 4651, false },
	{ "legacy", 128, 83, true },
	{ "legacy-backfill", 34, 18, true },
};
#define N_HISTORIES ((int)(sizeof(histories) / sizeof(*histories)))

/* Read a file of a history; false when it is not there and need not be. */
static bool
history_file(const struct history *h, const char *file, char name[128])
{
	char path[FIXTURE_PATH];

	snprintf(name, 128, "replay/%s/%s", h->name, file);
	if (fixture_find(name, path) || !h->third_party)
		return true;
	printf("skipped: replay/%s is not there\n", h->name);
	return false;
}

START_TEST(a_log_adds_up_to_what_a_stock_replica_made_of_it)
{
	const struct history *h = &histories[_i];
	struct buf log = { 0 };
	char name[128];

	if (!history_file(h, "log.jsonl", name))
		return;
	fixture_read(name, &log);
	open_copy("empty-v38.db", "replica.db");
	new_applier(&profile_td);
	buf_free(&skipped);
	ck_assert_uint_eq(apply_log(buf_span(&log)), h->events);
	history_file(h, "after/F.db", name);
	attach_copy(name);
	ck_assert_uint_eq(assert_equal_tables(h->name), h->rows);
	assert_same_skipped(h->name);
	buf_free(&skipped);
	buf_free(&log);
}
END_TEST

/* td's profile with its foreign keys taken out and no type held back: how
 * the Go server builds a snapshot. */
static const struct profile *
profile_of_snapshots(void)
{
	static struct profile_entity entities[32];
	static char constraints[32][256];
	static struct profile p;
	char *cut;

	p = profile_td;
	p.entities = entities;
	for (size_t i = 0; profile_td.entities[i].table != NULL; i++) {
		ck_assert(i + 1 < 32);
		entities[i] = profile_td.entities[i];
		entities[i].held_back = false;
		if (entities[i].constraints == NULL)
			continue;
		snprintf(constraints[i], sizeof(*constraints), "%s", entities[i].constraints);
		cut = strstr(constraints[i], "FOREIGN KEY");
		ck_assert(cut != NULL);
		while (cut > constraints[i] && strchr(", \n\t", cut[-1]) != NULL)
			cut--;
		*cut = '\0';
		entities[i].constraints = *constraints[i] == '\0' ? NULL : constraints[i];
	}
	return &p;
}

START_TEST(without_foreign_keys_a_log_adds_up_to_the_stock_snapshot)
{
	const struct history *h = &histories[_i];
	struct buf log = { 0 };
	char name[128];

	if (!history_file(h, "log.jsonl", name))
		return;
	fixture_read(name, &log);
	open_state(profile_of_snapshots());
	buf_free(&skipped);
	apply_log(buf_span(&log));
	history_file(h, "snapshot.db", name);
	attach_copy(name);
	ck_assert_uint_ge(assert_equal_tables(h->name), h->rows);
	buf_free(&skipped);
	buf_free(&log);
}
END_TEST

START_TEST(a_state_of_the_profiles_own_schema_is_the_same)
{
	const struct history *h = &histories[_i];
	struct buf log = { 0 };
	char name[128];

	if (!history_file(h, "log.jsonl", name))
		return;
	fixture_read(name, &log);
	open_state(&profile_td);
	buf_free(&skipped);
	apply_log(buf_span(&log));
	history_file(h, "after/F.db", name);
	attach_copy(name);
	ck_assert_uint_eq(assert_equal_tables(h->name), h->rows);
	assert_same_skipped(h->name);
	buf_free(&skipped);
	buf_free(&log);
}
END_TEST

/* Everything in the synced tables of main. */
static void
dump_all(struct buf *out)
{
	char query[128];

	for (size_t i = 0; i < N_SYNCED; i++) {
		snprintf(query, sizeof(query), "SELECT * FROM %s ORDER BY id", synced[i]);
		dump(query, out);
	}
}

/* Apply the team's log page by page, each page twice: rolled back, then kept. */
static void
apply_in_pages(struct span log, size_t page, struct buf *end)
{
	struct buf once = { 0 }, again = { 0 };
	struct span rest = log;

	open_copy("empty-v38.db", "replica.db");
	new_applier(&profile_td);
	while (rest.len > 1) {
		struct span same = rest;

		exec("BEGIN");
		exec("COMMIT");
		apply_page(&same, page, "SAVEPOINT page");
		buf_reset(&once);
		dump_all(&once);
		exec("ROLLBACK");
		apply_page(&rest, page, "COMMIT");
		buf_reset(&again);
		dump_all(&again);
		assert_same("the second time", &again, &once);
	}
	buf_add_span(end, buf_span(&again));
	applier_free(applier);
	applier = NULL;
	sqlite3_close(db);
	db = NULL;
	buf_free(&once);
	buf_free(&again);
}

START_TEST(pages_give_the_same_state_whenever_applied_and_wherever_cut)
{
	static const size_t pages[] = { 349, 97, 1000 };
	struct buf log = { 0 }, want = { 0 }, got = { 0 };

	fixture_read("replay/team/log.jsonl", &log);
	apply_in_pages(buf_span(&log), pages[0], &want);
	for (size_t i = 1; i < sizeof(pages) / sizeof(*pages); i++) {
		buf_reset(&got);
		apply_in_pages(buf_span(&log), pages[i], &got);
		assert_same("cut elsewhere", &got, &want);
	}
	buf_free(&log);
	buf_free(&want);
	buf_free(&got);
	buf_free(&skipped);
}
END_TEST

/* --- older schemas --- */

/* Every row that a log adds up to is in main, as far as it has the columns. */
static void
assert_holds_tables(const char *what)
{
	struct buf columns = { 0 }, query = { 0 }, missing = { 0 }, none = { 0 };
	size_t tables = 0;

	for (size_t i = 0; i < N_SYNCED; i++) {
		buf_reset(&columns);
		buf_reset(&query);
		common_columns(synced[i], &columns);
		if (columns.len == 0)
			continue;
		tables++;
		buf_cstr(&columns);
		buf_addf(&query, "SELECT %s FROM f.%s%s EXCEPT SELECT %s FROM main.%s",
		         columns.p, synced[i],
		         strcmp(synced[i], "boards") == 0 ? " WHERE is_builtin = 0" : "",
		         columns.p, synced[i]);
		dump(buf_cstr(&query), &missing);
	}
	ck_assert_uint_ge(tables, N_SYNCED - 1);
	buf_cstr(&none);
	assert_same(what, &missing, &none);
	buf_free(&columns);
	buf_free(&query);
	buf_free(&missing);
	buf_free(&none);
}

static const struct {
	const char *recording;
	const char *before;   /* td of that version sets this */
	const char *skipped;  /* sentence of what more than usual is skipped */
} older[] = {
	/* v27 has no cascades (td turned foreign keys on later), so orphans go in;
	 * it has no table of reviews. */
	{ "nightshift-v27.db", "PRAGMA foreign_keys=OFF", "no such table: issue_reviews (1)" },
	{ "sindri-v31.db", "PRAGMA foreign_keys=ON", "(none)" },
};

/* Everything that was skipped is an orphan, the known restore of a board, or
 * has that sentence. */
static void
assert_only_skipped(const char *sentence)
{
	buf_cstr(&skipped);
	for (char *p = skipped.p, *end; *p != '\0'; p = end + 1) {
		end = strchr(p, '\n');
		*end = '\0';
		ck_assert_msg(strstr(p, " orphaned_parent ") != NULL ||
		              strstr(p, "no such column: deleted_at (1)") != NULL ||
		              strstr(p, sentence) != NULL, "%s", p);
	}
}

START_TEST(an_older_schema_takes_what_it_has_columns_for)
{
	static const char *const logs[] = { "team", "versions", "conflicts" };
	struct buf log = { 0 };
	char path[FIXTURE_PATH], name[128];

	if (!fixture_find(older[_i].recording, path)) {
		printf("skipped: %s is not there\n", older[_i].recording);
		return;
	}
	for (size_t i = 0; i < sizeof(logs) / sizeof(*logs); i++) {
		open_copy(older[_i].recording, "replica.db");
		exec(older[_i].before);
		new_applier(&profile_td);
		buf_reset(&log);
		buf_reset(&skipped);
		snprintf(name, sizeof(name), "replay/%s/log.jsonl", logs[i]);
		fixture_read(name, &log);
		apply_log(buf_span(&log));
		assert_only_skipped(older[_i].skipped);
		snprintf(name, sizeof(name), "replay/%s/after/F.db", logs[i]);
		attach_copy(name);
		assert_holds_tables(name);
		applier_free(applier);
		applier = NULL;
		sqlite3_close(db);
		db = NULL;
	}
	buf_free(&log);
	buf_free(&skipped);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("apply");
	TCase *t = tcase_create("recorded logs");

	tcase_set_timeout(t, 120);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_loop_test(t, a_log_adds_up_to_what_a_stock_replica_made_of_it, 0,
	                    N_HISTORIES);
	tcase_add_loop_test(t, a_state_of_the_profiles_own_schema_is_the_same, 0,
	                    N_HISTORIES);
	tcase_add_loop_test(t, without_foreign_keys_a_log_adds_up_to_the_stock_snapshot,
	                    0, N_HISTORIES);
	tcase_add_test(t, pages_give_the_same_state_whenever_applied_and_wherever_cut);
	tcase_add_loop_test(t, an_older_schema_takes_what_it_has_columns_for, 0, 2);
	suite_add_tcase(s, t);
	return s;
}

int
main(void)
{
	SRunner *r = srunner_create(suite());
	int failed;

	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? 0 : 1;
}
