/*
 * The state against what stock software made of the same logs, and its sums. (What
 * may happen to its files: state_fault_test.c.)
 */
#include "base/json.h"
#include "engine/follow.h"
#include "engine/sums.h"
#include "profiles/read.h"
#include "tests/recorded.h"
#include "tests/steps.h"
#include "tests/temp.h"

#include <check.h>
#include <inttypes.h>
#include <string.h>

static char dir[TEMP_PATH], log_dir[TEMP_PATH + 16];
static struct events *events;
static const struct profile *profile = &profile_td;
static struct follower *follower;
static struct err err;

static void
setup(void)
{
	temp_make(dir);
	snprintf(log_dir, sizeof(log_dir), "%s/p", dir);
}

static void
teardown(void)
{
	follower_free(follower);
	follower = NULL;
	events_close(events);
	events = NULL;
	temp_remove(dir);
}

static void
must(enum rc rc)
{
	ck_assert_msg(rc == RC_OK, "%s: %s", rc_name(rc), err.text);
}

static void
load(const char *name)
{
	events = recorded_log(name, log_dir, INT64_MAX);
}

static void
follow(void)
{
	int64_t end = clock_mono_ms() + 30000;

	if (follower == NULL)
		must(follower_new(log_dir, profile, &follower, &err));
	must(follower_run(follower, events, &(struct follow_limits){ end, end, false }, &err));
}

/* --- whole logs --- */

static sqlite3 *
db(void)
{
	return state_db(follower_state(follower));
}

/* The text that a query gives. */
static void
query(const char *sql, struct buf *out)
{
	sqlite3_stmt *st = NULL;
	bool row;

	buf_reset(out);
	ck_assert_msg(db_prepare(db(), sql, &st, &err) == RC_OK, "%s: %s", sql, err.text);
	while (db_step(st, &row, &err) == RC_OK && row)
		buf_add_span(out, db_span(st, 0));
	ck_assert(sqlite3_finalize(st) == SQLITE_OK);
	buf_cstr(out);
}

/* The table's columns that f has, too, quoted, as SQL. */
static void
columns_of(const char *table, struct buf *out)
{
	struct buf sql = { 0 };

	buf_addf(&sql, "SELECT group_concat('quote(\"' || m.name || '\")', '||''|''||')"
	         " FROM pragma_table_info('%s', 'main') m"
	         " JOIN pragma_table_info('%s', 'f') f ON f.name = m.name"
	         " WHERE m.name NOT IN ('worktree_id', 'worktree_root', 'repo_root')", table,
	         table);
	query(buf_cstr(&sql), out);
	buf_free(&sql);
}

/* No row of a table may be on one side only, to the letter. */
static void
compare(const char *history, const char *table)
{
	const char *where = strcmp(table, "boards") == 0 ? " WHERE is_builtin = 0" : "";
	struct buf columns = { 0 }, sql = { 0 }, found = { 0 };

	columns_of(table, &columns);
	for (int i = 0; i < 2; i++) {
		const char *a = i == 0 ? "main" : "f", *b = i == 0 ? "f" : "main";

		buf_reset(&sql);
		buf_addf(&sql, "SELECT %s FROM %s.%s%s EXCEPT SELECT %s FROM %s.%s%s",
		         columns.p, a, table, where, columns.p, b, table, where);
		query(buf_cstr(&sql), &found);
		ck_assert_msg(found.len == 0, "%s: only in %s: %s", history, a, found.p);
	}
	buf_free(&columns);
	buf_free(&sql);
	buf_free(&found);
}

START_TEST(a_state_is_what_stock_software_makes_of_the_log)
{
	static const char *const tables[] = {
		"issues", "logs", "handoffs", "comments", "boards", "board_issue_positions",
		"work_sessions", "work_session_issues", "issue_files", "issue_dependencies",
		"issue_reviews", "notes"
	};
	const char *history = recorded[_i];
	char name[128], path[TEMP_PATH + 16], *attach;
	struct buf found = { 0 };

	if (!recorded_there(history))
		return;
	load(history);
	follow();
	snprintf(name, sizeof(name), "replay/%s/after/F.db", history);
	snprintf(path, sizeof(path), "%s/F.db", dir);
	fixture_copy(name, path);
	attach = sqlite3_mprintf("ATTACH %Q AS f", path);
	must(db_exec(db(), attach, &err));
	sqlite3_free(attach);
	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++)
		compare(history, tables[i]);
	/* Skipped are the same events, for the same reasons. */
	query("SELECT group_concat(seq || ' ' || reason) FROM (SELECT seq, reason FROM"
	      " tdsync_skipped WHERE reason <> 'cycle' EXCEPT SELECT server_seq, reason FROM"
	      " f.sync_skipped_events UNION ALL SELECT * FROM (SELECT server_seq, reason FROM"
	      " f.sync_skipped_events EXCEPT SELECT seq, reason FROM tdsync_skipped))", &found);
	ck_assert_msg(found.len == 0, "%s: skipped: %s", history, found.p);
	buf_free(&found);
}
END_TEST

/* --- sums --- */

struct kept_sums {
	int n;
	struct sum sums[64];
};

static enum rc
keep_sum(void *ctx, int type, int64_t rows, const unsigned char sum[STATE_SUM],
         struct err *e)
{
	struct kept_sums *k = ctx;

	(void)e;
	ck_assert_int_lt(type, 64);
	k->sums[type].rows = rows;
	memcpy(k->sums[type].sum, sum, STATE_SUM);
	k->n++;
	return RC_OK;
}

/* The sums that are kept are those of the rows that are there. */
static void
check_sums(void)
{
	struct tables *all;
	struct kept_sums kept = { 0 };
	struct sum now;

	must(state_hold(follower_state(follower), events, &err));
	must(state_walk_sums(follower_state(follower), 0, keep_sum, &kept, &err));
	all = follower_tables(follower);
	for (size_t i = 0; i < all->n; i++) {
		if (all->list[i].entity->held_back)
			continue;
		kept.n--;
		must(sums_scan(all, &all->list[i], &now, &err));
		ck_assert_int_eq(now.rows, kept.sums[i].rows);
		ck_assert_msg(memcmp(now.sum, kept.sums[i].sum, HASH_LEN) == 0, "%s",
		              all->list[i].entity->table);
	}
	ck_assert_int_eq(kept.n, 0);
	state_let_go(follower_state(follower));
}

START_TEST(sums_are_kept_as_rows_change)
{
	if (!recorded_there(recorded[_i]))
		return;
	load(recorded[_i]);
	follow();
	check_sums();
}
END_TEST

/* --- another profile than td's: conf/profiles/shelf.json --- */

#define EVENT(seq, action, type, id, row) "{\"server_seq\":" #seq ",\"device_id\":\"d\"," \
	"\"session_id\":\"s\",\"client_action_id\":" #seq ",\"action_type\":\"" action "\"," \
	"\"entity_type\":\"" type "\",\"entity_id\":\"" id "\",\"payload\":{\"new_data\":" row "}," \
	"\"client_timestamp\":\"2026-03-01T10:00:00Z\"}\n"

START_TEST(a_state_of_another_profile_has_its_tables_and_rules)
{
	static const char log[] =
	    EVENT(1, "create", "books", "a", "{\"title\":\"A\",\"isbn\":\"1234567890\"}")
	    EVENT(2, "create", "loans", "l", "{\"book_id\":\"a\",\"borrower\":\"Anna\"}")
	    EVENT(3, "create", "books", "a", "{\"title\":\"B\",\"isbn\":\"1234567890\"}")
	    EVENT(4, "create", "books", "c", "{\"title\":\"C\",\"isbn\":\"1234567890\"}")
	    EVENT(5, "create", "books", "d", "{\"title\":\"D\",\"tags\":[\"x\",\"y\"]}")
	    EVENT(6, "delete", "places", "place-none", "{}")
	    EVENT(7, "create", "readings", "r", "{\"book_id\":\"a\"}");
	struct buf found = { 0 };
	struct profile *shelf;

	must(profile_read(TOP_SRCDIR "/conf/profiles/shelf.json", &shelf, &err));
	profile = shelf;
	events = recorded_lines(span_of(log), profile->name, log_dir, INT64_MAX);
	follow();
	query("SELECT group_concat(id || title || tags || ',' || (SELECT count(*) FROM loans"
	      " WHERE book_id = books.id)) FROM books", &found);
	ck_assert_str_eq(found.p, "aB,1,dDx,y,0");
	query("SELECT count(*) FROM places", &found);
	ck_assert_str_eq(found.p, "0");
	query("SELECT group_concat(seq || ' ' || why, '; ') FROM tdsync_skipped", &found);
	ck_assert_str_eq(found.p, "4 create books/c: constraint failed: UNIQUE constraint failed:"
	                 " books.isbn (2067); 7 invalid entity type: \"readings\"");
	query("SELECT mark FROM tdsync_state", &found);
	ck_assert_str_eq(found.p, "shelf/1");
	check_sums();
	buf_free(&found);
	follower_free(follower);
	follower = NULL;
	profile_free(shelf);
	profile = &profile_td;
}
END_TEST

/* Values of a column, and the canonical text that engine/sums.h says they have;
 * closed_at holds times. */
static const struct {
	const char *column, *sql, *text;
} values[] = {
	{ "points", "0", "I1:0" },
	{ "points", "-7", "I2:-7" },
	{ "points", "9223372036854775807", "I19:9223372036854775807" },
	{ "points", "-9223372036854775807 - 1", "I20:-9223372036854775808" },
	{ "points", "NULL", "N" },
	{ "points", "1.5", "R3:1.5" },
	{ "points", "0.1", "R19:0.10000000000000001" },
	{ "points", "x'00ff'", "B2:\\0\\377" },
	{ "sprint", "''", "S0:" },
	{ "sprint", "'a b'", "S3:a b" },
	{ "closed_at", "'2026-01-31T10:00:00Z'", "T20:1769853600.000000000" },
	{ "closed_at", "'2026-01-31 11:00:00.25+01:00'", "T20:1769853600.250000000" },
	{ "closed_at", "'1970-01-01 00:00:00'", "T11:0.000000000" },
	{ "closed_at", "'1969-12-31T23:59:59.5Z'", "T12:-1.500000000" },
	{ "closed_at", "'0001-01-01 00:00:00'", "T22:-62135596800.000000000" },
	{ "closed_at", "'9999-12-31T23:59:59.999999999Z'", "T22:253402300799.999999999" },
	{ "closed_at", "'soon'", "S4:soon" },
	{ "closed_at", "''", "S0:" },
};

/* The text of an issue, in which a column has that text. */
static void
row_text(const struct table *t, const char *column, const char *text, struct buf *out)
{
	buf_reset(out);
	buf_add_str(out, "issues");
	for (int i = 0; i < t->n_columns; i++) {
		const char *name = t->columns[i].name;

		buf_addf(out, " %s ", name);
		if (strcmp(name, column) != 0) {
			buf_add_str(out, strcmp(name, "id") == 0 ? "S4:td-1" :
			                 strcmp(name, "title") == 0 ? "S1:T" : "N");
			continue;
		}
		for (const char *p = text; *p != '\0'; p++)
			if (*p == '\\') { /* a byte in octal */
				buf_add_byte(out, (char)strtol(p + 1, (char **)(uintptr_t)&p, 8));
				p--;
			} else {
				buf_add_byte(out, *p);
			}
	}
}

START_TEST(the_sum_of_a_row_is_of_the_text_that_is_documented)
{
	unsigned char want[HASH_LEN];
	struct tables all = { 0 };
	struct buf sql = { 0 };
	struct table *issues;
	struct sum sum;
	sqlite3 *memory;

	ck_assert_int_eq(sqlite3_open(":memory:", &memory), SQLITE_OK);
	profile_schema(&profile_td, "main", &sql);
	must(db_exec(memory, buf_cstr(&sql), &err));
	must(tables_read(&all, memory, "main", &profile_td, &err));
	issues = tables_find(&all, span_of("issues"));
	buf_reset(&sql);
	buf_addf(&sql, "DELETE FROM issues; INSERT INTO issues(id, title, status, type, priority,"
	         " created_at, updated_at) VALUES ('td-1', 'T', 'x', 'x', 'x', 'x', 'x');"
	         "CREATE TABLE plain AS SELECT * FROM issues; DROP TABLE issues;"
	         "ALTER TABLE plain RENAME TO issues; UPDATE issues SET id = 'td-1'");
	for (int i = 0; i < issues->n_columns; i++) /* no NOT NULL any more */
		if (i > 0 && strcmp(issues->columns[i].name, "title") != 0)
			buf_addf(&sql, ", %s = NULL", issues->columns[i].name);
	must(db_exec(memory, buf_cstr(&sql), &err));
	buf_reset(&sql);
	buf_addf(&sql, "UPDATE issues SET %s = %s", values[_i].column, values[_i].sql);
	must(db_exec(memory, buf_cstr(&sql), &err));
	must(sums_scan(&all, issues, &sum, &err));
	row_text(issues, values[_i].column, values[_i].text, &sql);
	ck_assert_int_eq(hash_sha256(buf_span(&sql), want), RC_OK);
	ck_assert_int_eq(sum.rows, 1);
	ck_assert_msg(memcmp(sum.sum, want, HASH_LEN) == 0, "%s", values[_i].sql);
	tables_free(&all);
	sqlite3_close(memory);
	buf_free(&sql);
}
END_TEST

/* --- spare time --- */

#define NOTHING "A delete notes nt-none {}"
#define FAR 100000 /* events that a state may be behind a busy log */

/* What comes to pass while an applier lets time pass. */
struct meanwhile {
	int looks, busy;      /* so many, so many of which see `events` more */
	int64_t events;
	int wanted;           /* from that look on there is something better to do; 0: never */
	int64_t seq;          /* of the state at the last look */
};

static bool
let_pass(void *ctx, int ms)
{
	struct meanwhile *m = ctx;

	if (ms == 0)
		return false;
	m->seq = state_seq(follower_state(follower));
	if (++m->looks <= m->busy)
		step_append_times(events, NOTHING, m->events);
	return m->wanted > 0 && m->looks >= m->wanted;
}

static enum rc
spend(struct meanwhile *m)
{
	return follower_spare(follower, events, &(struct follow_spare){ let_pass, m },
	                      &err);
}

/* An empty log with its state. */
static void
begin_empty(void)
{
	must(events_create(log_dir, "td", &err));
	must(events_open(log_dir, &events, &err));
	must(follower_new(log_dir, &profile_td, &follower, &err));
}

START_TEST(while_events_come_thick_they_are_not_applied)
{
	struct meanwhile many = { .busy = 30, .events = 50 };

	begin_empty();
	step_append(events, NOTHING);
	must(spend(&many));
	ck_assert_int_eq(many.looks, 31);
	ck_assert_int_eq(many.seq, 0);
	ck_assert_int_eq(state_seq(follower_state(follower)), 1501);
}
END_TEST

START_TEST(while_events_come_slowly_they_are_gathered_for_a_while)
{
	struct meanwhile some = { .busy = 24, .events = 49 }, on = { .busy = 26, .events = 1 };

	begin_empty();
	step_append(events, NOTHING);
	must(spend(&some));
	ck_assert_int_eq(some.looks, 25); /* at which there were none */
	ck_assert_int_eq(some.seq, 0);
	ck_assert_int_eq(state_seq(follower_state(follower)), 1 + 24 * 49);
	step_append(events, NOTHING);
	must(spend(&on));
	ck_assert_int_eq(on.looks, 25);
	ck_assert_int_eq(on.seq, 1 + 24 * 49);
	ck_assert_int_eq(state_seq(follower_state(follower)), on.seq + 1 + 25);
}
END_TEST

START_TEST(who_is_wanted_leaves_it_for_later)
{
	struct meanwhile at_once = { .wanted = 1 }, later = { .busy = 9, .events = 50, .wanted = 3 };

	begin_empty();
	step_append(events, NOTHING);
	ck_assert_int_eq(spend(&at_once), RC_BUSY);
	ck_assert_int_eq(spend(&later), RC_BUSY);
	ck_assert_int_eq(later.looks, 3);
	ck_assert_int_eq(state_seq(follower_state(follower)), 0);
}
END_TEST

START_TEST(a_state_that_is_far_behind_is_brought_nearer_all_the_same)
{
	struct meanwhile wanted = { .wanted = 1 }, busy = { .busy = 2, .events = 50 };

	begin_empty();
	step_append_times(events, NOTHING, FAR - 1);
	ck_assert_int_eq(spend(&wanted), RC_BUSY);
	ck_assert_int_eq(state_seq(follower_state(follower)), 0);
	step_append(events, NOTHING);
	wanted.looks = 0;
	must(spend(&wanted));
	ck_assert_int_gt(state_seq(follower_state(follower)), 0);
	must(follower_rebuild(follower, events, clock_mono_ms() + 1000, &err));
	step_append_times(events, NOTHING, FAR - 100);
	must(spend(&busy));
	ck_assert_int_eq(busy.looks, 2);
	ck_assert_int_eq(busy.seq, FAR);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("state");
	TCase *t = tcase_create("state");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 120);
	tcase_add_loop_test(t, a_state_is_what_stock_software_makes_of_the_log, 0, RECORDED);
	tcase_add_loop_test(t, sums_are_kept_as_rows_change, 0, RECORDED);
	tcase_add_loop_test(t, the_sum_of_a_row_is_of_the_text_that_is_documented, 0,
	                    sizeof(values) / sizeof(values[0]));
	tcase_add_test(t, a_state_of_another_profile_has_its_tables_and_rules);
	tcase_add_test(t, while_events_come_thick_they_are_not_applied);
	tcase_add_test(t, while_events_come_slowly_they_are_gathered_for_a_while);
	tcase_add_test(t, who_is_wanted_leaves_it_for_later);
	tcase_add_test(t, a_state_that_is_far_behind_is_brought_nearer_all_the_same);
	suite_add_tcase(s, t);
	runner = srunner_create(s);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
