/*
 * Snapshots of recorded histories against what stock software made of them, of
 * every seq against a replay, and whatever may be wrong with a state or a disk.
 */
#include "engine/snapshot.h"

#include "base/lock.h"
#include "engine/apply.h"
#include "engine/deed.h"
#include "engine/sums.h"
#include "tests/hungry.h"
#include "tests/recorded.h"
#include "tests/temp.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>

#define FAR 60000 /* ms */

static char dir[TEMP_PATH], log_dir[TEMP_PATH + 16], path[TEMP_PATH + 16];
static struct events *events;
static struct follower *follower;
static struct snapshot made;
static struct err err;

static void
setup(void)
{
	temp_make(dir);
	snprintf(log_dir, sizeof(log_dir), "%s/p", dir);
	snprintf(path, sizeof(path), "%s/s.db", dir);
}

static void
close_log(void)
{
	follower_free(follower);
	follower = NULL;
	events_close(events);
	events = NULL;
}

static void
teardown(void)
{
	close_log();
	temp_remove(dir);
}

static void
must(enum rc rc)
{
	ck_assert_msg(rc == RC_OK, "%s: %s", rc_name(rc), err.text);
}

static void
load(const char *history, int64_t most)
{
	events = recorded_log(history, log_dir, most);
	must(follower_new(log_dir, &profile_td, &follower, &err));
}

static enum rc
write_it(void)
{
	struct events_head head;

	unlink(path);
	must(events_head(events, &head, &err));
	return snapshot_write(follower, events, head.visible, clock_mono_ms() + FAR, path,
	                      &made, &err);
}

static enum rc
replay(int64_t seq)
{
	unlink(path);
	return snapshot_replay(events, &profile_td, seq, clock_mono_ms() + FAR, path, &made, &err);
}

/* --- looking at the file --- */

static sqlite3 *
open_file(const char *file)
{
	sqlite3 *db;

	ck_assert_int_eq(sqlite3_open_v2(file, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
	return db;
}

/* All that a query gives, a row a line. */
static const char *
query(sqlite3 *db, const char *sql, struct buf *out)
{
	sqlite3_stmt *st = NULL;
	bool row;

	buf_reset(out);
	ck_assert_msg(db_prepare(db, sql, &st, &err) == RC_OK, "%s: %s", sql, err.text);
	while (db_step(st, &row, &err) == RC_OK && row)
		for (int i = 0; i < sqlite3_column_count(st); i++) {
			buf_add_span(out, db_span(st, i));
			buf_add_byte(out, i + 1 < sqlite3_column_count(st) ? '|' : '\n');
		}
	ck_assert_msg(sqlite3_finalize(st) == SQLITE_OK, "%s: %s", sql, sqlite3_errmsg(db));
	return buf_cstr(out);
}

static void
attach(sqlite3 *db, const char *file)
{
	char *sql = sqlite3_mprintf("ATTACH %Q AS f", file);

	ck_assert_msg(sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK, "%s",
	              sqlite3_errmsg(db));
	sqlite3_free(sql);
}

/* What the file's rows add up to. */
static void
digest(const char *file, unsigned char out[HASH_LEN])
{
	struct tables all = { 0 };
	struct sum sums[64];
	sqlite3 *db = open_file(file);

	must(tables_read(&all, db, "main", &profile_td, &err));
	ck_assert_uint_le(all.n, 64);
	must(sums_scan_all(&all, sums, &err));
	must(sums_digest(&all, sums, out));
	tables_free(&all);
	sqlite3_close(db);
}

static void
check_digest(const char *what)
{
	unsigned char got[HASH_LEN];

	digest(path, got);
	ck_assert_msg(memcmp(got, made.digest, HASH_LEN) == 0, "%s", what);
}

/* No row of a table may be on one side only, to the letter. */
static void
compare(sqlite3 *db, const char *history, const char *table)
{
	const char *where = strcmp(table, "boards") == 0 ? " WHERE is_builtin = 0" : "";
	struct buf columns = { 0 }, sql = { 0 }, found = { 0 };

	buf_addf(&sql, "SELECT group_concat('quote(\"' || m.name || '\")', '||''|''||')"
	         " FROM pragma_table_info('%s', 'main') m"
	         " JOIN pragma_table_info('%s', 'f') f ON f.name = m.name"
	         " WHERE m.name NOT IN ('worktree_id', 'worktree_root', 'repo_root')", table,
	         table);
	query(db, buf_cstr(&sql), &columns);
	for (int i = 0; i < 2; i++) {
		const char *a = i == 0 ? "main" : "f", *b = i == 0 ? "f" : "main";

		buf_reset(&sql);
		buf_addf(&sql, "SELECT %s FROM %s.%s%s EXCEPT SELECT %s FROM %s.%s%s",
		         columns.p, a, table, where, columns.p, b, table, where);
		ck_assert_msg(*query(db, buf_cstr(&sql), &found) == '\0', "%s: only in %s: %s",
		              history, a, found.p);
	}
	buf_free(&columns);
	buf_free(&sql);
	buf_free(&found);
}

static void
compare_with_replica(const char *history)
{
	static const char *const tables[] = {
		"issues", "logs", "handoffs", "comments", "boards", "board_issue_positions",
		"work_sessions", "work_session_issues", "issue_files", "issue_dependencies",
		"issue_reviews", "notes"
	};
	char name[128], copy[TEMP_PATH + 16];
	sqlite3 *db = open_file(path);

	snprintf(name, sizeof(name), "replay/%s/after/F.db", history);
	snprintf(copy, sizeof(copy), "%s/F.db", dir);
	fixture_copy(name, copy);
	attach(db, copy);
	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++)
		compare(db, history, tables[i]);
	sqlite3_close(db);
}

/* A file that a stock td takes for its own, and for a clean one. */
static void
check_clean(const char *history)
{
	static const char *const empty[] = {
		"sessions", "git_snapshots", "issue_session_history", "session_state",
		"action_log", "sync_state", "sync_conflicts", "sync_history",
		"sync_skipped_events", "sqlite_sequence"
	};
	sqlite3 *db = open_file(path);
	struct buf b = { 0 }, sql = { 0 };
	struct stat st;
	char other[TEMP_PATH + 32];

	ck_assert_str_eq(query(db, "PRAGMA integrity_check", &b), "ok\n");
	ck_assert_str_eq(query(db, "PRAGMA foreign_key_check", &b), "");
	ck_assert_str_eq(query(db, "SELECT name FROM sqlite_schema WHERE name LIKE '%tdsync%'"
	                           " OR type IN ('view', 'trigger')", &b), "");
	ck_assert_str_eq(query(db, "PRAGMA journal_mode", &b), "delete\n");
	ck_assert_str_eq(query(db, "PRAGMA freelist_count", &b), "0\n");
	ck_assert_str_eq(query(db, "SELECT * FROM schema_info", &b), "version|38\n");
	ck_assert_str_eq(query(db, "SELECT count(*) FROM work_sessions WHERE worktree_id <> ''"
	                           " OR worktree_root <> '' OR repo_root <> ''", &b), "0\n");
	for (size_t i = 0; i < sizeof(empty) / sizeof(empty[0]); i++) {
		buf_reset(&sql);
		buf_addf(&sql, "SELECT count(*) FROM \"%s\"", empty[i]);
		ck_assert_msg(strcmp(query(db, buf_cstr(&sql), &b), "0\n") == 0, "%s: %s", history,
		              empty[i]);
	}
	sqlite3_close(db);
	ck_assert(stat(path, &st) == 0);
	ck_assert_int_eq(st.st_mode & 07777, 0640);
	for (int i = 0; i < 3; i++) {
		snprintf(other, sizeof(other), "%s-%s", path,
		         (const char *const[]){ "wal", "shm", "journal" }[i]);
		ck_assert(access(other, F_OK) != 0);
	}
	buf_free(&b);
	buf_free(&sql);
}

START_TEST(a_snapshot_is_what_a_replica_that_replayed_the_log_holds)
{
	const char *history = recorded[_i];
	struct events_head head;

	if (!recorded_there(history))
		return;
	load(history, INT64_MAX);
	must(events_head(events, &head, &err));
	must(write_it());
	ck_assert_int_eq(made.seq, head.visible);
	ck_assert(memcmp(made.log_id, head.log_id, LOG_ID_LEN) == 0);
	compare_with_replica(history);
	check_clean(history);
	check_digest(history);
	/* and so is one that is replayed beside the state */
	must(replay(head.visible));
	compare_with_replica(history);
	check_clean(history);
	check_digest(history);
}
END_TEST

/* Everything that PRAGMAs tell of the tables and indexes, but the text of the
 * statements that made them: stock td has made some of them in steps. */
static void
describe(const char *file, struct buf *out)
{
	static const char *const sql[] = {
		"SELECT type, name, tbl_name FROM sqlite_schema ORDER BY 1, 2",
		"SELECT s.name, c.* FROM sqlite_schema s, pragma_table_xinfo(s.name) c"
		" WHERE s.type = 'table' ORDER BY 1, 2",
		"SELECT s.name, k.\"table\", k.\"from\", k.\"to\", k.on_update, k.on_delete, k.match"
		" FROM sqlite_schema s, pragma_foreign_key_list(s.name) k"
		" WHERE s.type = 'table' ORDER BY 1, 2, 3",
		"SELECT s.name, i.name, i.\"unique\", i.origin, i.partial"
		" FROM sqlite_schema s, pragma_index_list(s.name) i"
		" WHERE s.type = 'table' ORDER BY 1, 2",
		"SELECT s.name, c.* FROM sqlite_schema s, pragma_index_xinfo(s.name) c"
		" WHERE s.type = 'index' ORDER BY 1, 2",
		"SELECT name FROM sqlite_schema WHERE sql LIKE '%AUTOINCREMENT%' ORDER BY 1",
		"SELECT name, substr(sql, instr(sql, ' WHERE ')) FROM sqlite_schema"
		" WHERE type = 'index' AND sql LIKE '% WHERE %' ORDER BY 1",
		"SELECT * FROM schema_info",
		"PRAGMA page_size", "PRAGMA encoding", "PRAGMA user_version",
		"PRAGMA application_id", "PRAGMA auto_vacuum",
	};
	struct buf b = { 0 };
	sqlite3 *db = open_file(file);

	for (size_t i = 0; i < sizeof(sql) / sizeof(sql[0]); i++)
		buf_add_str(out, query(db, sql[i], &b));
	sqlite3_close(db);
	buf_free(&b);
}

START_TEST(a_snapshot_has_all_that_a_stock_one_has_and_no_more)
{
	struct buf ours = { 0 }, theirs = { 0 };
	char copy[TEMP_PATH + 16];

	load("team", INT64_MAX);
	must(write_it());
	snprintf(copy, sizeof(copy), "%s/stock.db", dir);
	fixture_copy("replay/team/snapshot.db", copy);
	describe(path, &ours);
	describe(copy, &theirs);
	ck_assert_str_eq(buf_cstr(&ours), buf_cstr(&theirs));
	buf_free(&ours);
	buf_free(&theirs);
}
END_TEST

/* --- the past --- */

/* Applies events one by one and looks at all rows after each. */
struct stepper {
	struct applier *applier;
	unsigned char (*digests)[HASH_LEN];
};

static enum rc
step(void *ctx, const struct event *ev, bool *stop)
{
	struct stepper *s = ctx;
	struct tables *all = applier_tables(s->applier);
	struct sum sums[64];
	enum applied what;

	(void)stop;
	must(applier_apply(s->applier, ev, &what, &err));
	must(sums_scan_all(all, sums, &err));
	must(sums_digest(all, sums, s->digests[ev->seq]));
	return RC_OK;
}

static const char *const short_ones[] = { "autosync", "conflicts", "team", "versions" };

START_TEST(the_past_is_what_the_log_added_up_to_then)
{
	struct stepper s = { NULL, NULL };
	struct buf schema = { 0 };
	struct events_head head;
	sqlite3 *db;

	load(short_ones[_i], INT64_MAX);
	must(events_head(events, &head, &err));
	s.digests = calloc((size_t)head.seq + 1, HASH_LEN);
	ck_assert_int_eq(sqlite3_open(":memory:", &db), SQLITE_OK);
	profile_schema(&profile_td, "main", &schema);
	must(db_exec(db, "PRAGMA foreign_keys = ON; BEGIN", &err));
	must(db_exec(db, buf_cstr(&schema), &err));
	must(applier_new(db, "main", &profile_td, &s.applier, &err));
	must(events_walk(events, 0, head.seq, false, NULL, step, &s, &err));
	for (int64_t seq = 1; seq <= head.seq; seq += head.seq < 200 ? 1 : 7) {
		must(replay(seq));
		ck_assert_int_eq(made.seq, seq);
		ck_assert_msg(memcmp(made.digest, s.digests[seq], HASH_LEN) == 0, "%s, seq %lld",
		              short_ones[_i], (long long)seq);
	}
	/* beside it, the state goes its way, and a snapshot of it says the same */
	must(write_it());
	ck_assert(memcmp(made.digest, s.digests[head.seq], HASH_LEN) == 0);
	applier_free(s.applier);
	sqlite3_close(db);
	buf_free(&schema);
	free(s.digests);
}
END_TEST

START_TEST(a_replay_in_transactions_is_the_same)
{
	struct events_head head;
	unsigned char want[HASH_LEN];

	load("large", 2500); /* two transactions and a half */
	must(events_head(events, &head, &err));
	ck_assert_int_eq(head.seq, 2500);
	must(write_it());
	memcpy(want, made.digest, HASH_LEN);
	must(replay(2500));
	ck_assert(memcmp(made.digest, want, HASH_LEN) == 0);
	close_log();
	temp_remove(log_dir);
	load("large", 2000); /* to the very end of one */
	must(replay(2000));
	memcpy(want, made.digest, HASH_LEN);
	must(write_it());
	ck_assert(memcmp(made.digest, want, HASH_LEN) == 0);
}
END_TEST

/* --- the state goes on --- */

START_TEST(each_snapshot_has_what_was_pushed_since)
{
	struct buf text = { 0 }, scratch = { 0 };
	unsigned char before[HASH_LEN];
	struct span rest, line;
	struct event ev;
	int64_t seq;

	load("team", 300);
	fixture_read("replay/team/log.jsonl", &text);
	rest = buf_span(&text);
	for (int i = 0; i < 300; i++)
		ck_assert(fixture_line(&rest, &line));
	must(write_it());
	memcpy(before, made.digest, HASH_LEN);
	while (fixture_line(&rest, &line)) {
		must(page_event(line, &ev, &scratch, &err));
		ev.user = ev.device;
		ev.server_us = 1767225600000000 + ev.seq;
		must(events_begin(events, clock_mono_ms() + 3000, &err));
		must(events_append(events, &ev, &seq, &err));
		must(events_commit(events, &err));
		if (seq % 50 != 0)
			continue;
		must(write_it());
		ck_assert_int_eq(made.seq, seq);
		ck_assert(memcmp(made.digest, before, HASH_LEN) != 0);
		memcpy(before, made.digest, HASH_LEN);
		check_digest("team");
		must(replay(seq));
		ck_assert(memcmp(made.digest, before, HASH_LEN) == 0);
	}
	must(write_it());
	compare_with_replica("team");
	buf_free(&text);
	buf_free(&scratch);
}
END_TEST

/* --- what may be wrong --- */

/* A state that is not this log's, though it stands at its head or beyond it:
 * another project's, or one from the future. */
START_TEST(the_state_of_another_log_is_not_copied)
{
	static const char *const others[] = { "team", "conflicts" };
	char mine[TEMP_PATH + 64], other[TEMP_PATH + 64], elsewhere[TEMP_PATH + 32];

	load(others[_i], INT64_MAX);
	must(write_it());
	close_log();
	snprintf(elsewhere, sizeof(elsewhere), "%s/other", dir);
	ck_assert_int_eq(rename(log_dir, elsewhere), 0);
	load("conflicts", 100);
	must(write_it()); /* its own state is open */
	for (int i = 0; i < 2; i++) {
		static const char *const names[] = { "state.db", "state.db-wal" };

		snprintf(mine, sizeof(mine), "%s/%s", log_dir, names[i]);
		snprintf(other, sizeof(other), "%s/%s", elsewhere, names[i]);
		ck_assert_int_eq(rename(other, mine), 0);
	}
	snprintf(mine, sizeof(mine), "%s/state.db-shm", log_dir);
	unlink(mine);
	must(write_it());
	ck_assert_int_eq(made.seq, 100);
	check_digest("conflicts");
	must(replay(100));
	check_digest("conflicts");
}
END_TEST

/* The head of the log, with the state's row set to it by hand. */
START_TEST(a_state_from_the_future_is_made_anew)
{
	unsigned char want[HASH_LEN];

	load("conflicts", 100);
	must(write_it());
	memcpy(want, made.digest, HASH_LEN);
	must(db_exec(state_db(follower_state(follower)), "UPDATE tdsync_state SET seq = 5000;"
	             "UPDATE issues SET title = 'Not yet'", &err));
	must(write_it());
	ck_assert_int_eq(made.seq, 100);
	ck_assert(memcmp(made.digest, want, HASH_LEN) == 0);
	check_digest("conflicts");
}
END_TEST

/* Write over the middle of the state's file, which has more pages than are in
 * memory. */
static void
harm_state(void)
{
	char state[TEMP_PATH + 32], noise[8192];
	struct stat st;
	int fd;

	must(db_exec(state_db(follower_state(follower)), "PRAGMA wal_checkpoint(TRUNCATE)", &err));
	follower_relax(follower);
	snprintf(state, sizeof(state), "%s/state.db", log_dir);
	memset(noise, 0x5a, sizeof(noise));
	fd = open(state, O_WRONLY);
	ck_assert(fd >= 0 && fstat(fd, &st) == 0 && st.st_size > 1 << 20);
	for (off_t at = 65536; at + (off_t)sizeof(noise) < st.st_size; at += 65536)
		ck_assert_int_eq(pwrite(fd, noise, sizeof(noise), at), sizeof(noise));
	close(fd);
}

START_TEST(a_damaged_state_is_made_anew)
{
	unsigned char want[HASH_LEN];

	load("large", INT64_MAX);
	must(write_it());
	memcpy(want, made.digest, HASH_LEN);
	harm_state();
	must(write_it());
	ck_assert(memcmp(made.digest, want, HASH_LEN) == 0);
	check_clean("large");
	check_digest("large");
}
END_TEST

START_TEST(a_deadline_ends_a_replay)
{
	struct snapshot s;

	load("large", INT64_MAX);
	ck_assert_int_eq(snapshot_replay(events, &profile_td, 6000, clock_mono_ms() - 1, path, &s,
	                                 &err), RC_BUSY);
	ck_assert_ptr_nonnull(strstr(err.text, "too long"));
	unlink(path);
	ck_assert_int_eq(snapshot_replay(events, &profile_td, 6000, clock_mono_ms() + 2, path, &s,
	                                 &err), RC_BUSY);
}
END_TEST

START_TEST(a_deadline_ends_the_wait_for_the_state)
{
	char lock_path[TEMP_PATH + 64];
	struct lock *lock;
	struct snapshot s;

	load("large", INT64_MAX);
	snprintf(lock_path, sizeof(lock_path), "%s/" STATE_LOCK,
	         state_dir(follower_state(follower)));
	must(lock_open(lock_path, &lock, &err));
	ck_assert_int_eq(lock_take(lock, clock_mono_ms() + 1000), RC_OK);
	ck_assert_int_eq(snapshot_write(follower, events, 6301, clock_mono_ms() + 50, path, &s,
	                                &err), RC_BUSY);
	lock_close(lock);
	must(write_it());
	ck_assert_int_eq(made.seq, 6301);
	check_digest("large");
}
END_TEST

START_TEST(no_file_can_be_made)
{
	struct snapshot s;
	char none[TEMP_PATH + 32];

	load("conflicts", INT64_MAX);
	snprintf(none, sizeof(none), "%s/none/s.db", dir);
	ck_assert_int_eq(snapshot_write(follower, events, 1, clock_mono_ms() + FAR, none, &s,
	                                &err), RC_UNAVAILABLE);
	ck_assert_int_eq(snapshot_replay(events, &profile_td, 1, clock_mono_ms() + FAR, none, &s,
	                                 &err), RC_UNAVAILABLE);
	must(write_it());
	check_digest("conflicts");
}
END_TEST

START_TEST(a_full_disk_harms_nothing)
{
	char small[TEMP_PATH + 32], there[TEMP_PATH + 64], size[32];
	struct snapshot s;
	struct stat st;

	load("team", INT64_MAX);
	must(write_it());
	ck_assert(stat(path, &st) == 0);
	snprintf(small, sizeof(small), "%s/small", dir);
	ck_assert_int_eq(mkdir(small, 0700), 0);
	snprintf(there, sizeof(there), "%s/s.db", small);
	for (int kib = 4; kib < st.st_size / 1024; kib += 60) {
		snprintf(size, sizeof(size), "size=%dk", kib);
		if (mount("small", small, "tmpfs", 0, size) != 0) {
			printf("skipped: a full disk: no disk can be mounted here\n");
			return;
		}
		ck_assert_int_eq(snapshot_write(follower, events, made.seq, clock_mono_ms() + FAR,
		                                there, &s, &err), RC_UNAVAILABLE);
		unlink(there);
		ck_assert_int_eq(snapshot_replay(events, &profile_td, made.seq,
		                                 clock_mono_ms() + FAR, there, &s, &err),
		                 RC_UNAVAILABLE);
		ck_assert_int_eq(umount2(small, MNT_DETACH), 0);
		must(write_it());
		check_digest("team");
	}
	check_clean("team");
}
END_TEST

/* With each allocation failing in turn, of ours and of SQLite's: it is told, and
 * nothing is harmed, or it is right all the same. */
START_TEST(without_memory_it_is_told)
{
	unsigned char want[HASH_LEN];
	bool over = false, past = _i == 1;

	load("conflicts", INT64_MAX);
	must(write_it());
	memcpy(want, made.digest, HASH_LEN);
	/* by more than one at a time: it makes a hundred statements */
	for (long n = 0; !over; n += n / 100 + 1) {
		int64_t end = clock_mono_ms() + FAR;
		enum rc rc;

		unlink(path);
		hungry_at = n;
		rc = past ? snapshot_replay(events, &profile_td, 106, end, path, &made, &err)
		          : snapshot_write(follower, events, 106, end, path, &made, &err);
		over = hungry_at >= 0;
		hungry_at = -1;
		ck_assert_msg(rc == RC_OK || rc == RC_FAULT || rc == RC_BUSY || rc == RC_UNAVAILABLE,
		              "%ld: %s: %s", n, rc_name(rc), err.text);
		if (rc == RC_OK) {
			ck_assert(memcmp(made.digest, want, HASH_LEN) == 0);
			check_digest("conflicts");
		}
	}
	must(write_it());
	ck_assert(memcmp(made.digest, want, HASH_LEN) == 0);
	check_clean("conflicts");
	check_digest("conflicts");
}
END_TEST

/* There was no memory to detach the last one. */
START_TEST(what_stayed_attached_is_in_nobodys_way)
{
	load("conflicts", INT64_MAX);
	must(write_it());
	must(db_exec(state_db(follower_state(follower)), "ATTACH ':memory:' AS snapshot", &err));
	must(write_it());
	check_digest("conflicts");
}
END_TEST

/* The same for a worker that opens a state for the first time: the next request
 * finds nothing that is half made. */
START_TEST(whoever_had_no_memory_at_first_goes_on)
{
	struct follow_limits limits = { .lock_ms = INT64_MAX, .until_ms = INT64_MAX };
	static const char lost[] = "SELECT seq, n, type, id, fields FROM tdsync_conflict"
	                           " ORDER BY seq, n";
	struct buf want = { 0 }, got = { 0 };
	bool over = false;

	load("conflicts", INT64_MAX);
	must(write_it()); /* another worker brought the state up */
	query(state_db(follower_state(follower)), lost, &want);
	for (long n = 0; !over; n += n / 100 + 1) {
		follower_free(follower);
		must(follower_new(log_dir, &profile_td, &follower, &err));
		hungry_at = n;
		if (_i == 0)
			follower_run(follower, events, &limits, &err);
		else
			follower_rebuild(follower, events, clock_mono_ms() + FAR, &err);
		over = hungry_at >= 0;
		hungry_at = -1;
		must(follower_hold(follower, events, 106, clock_mono_ms() + FAR, &err));
		query(state_db(follower_state(follower)), lost, &got);
		ck_assert_msg(span_eq(buf_span(&want), buf_span(&got)), "%ld: %s", n, got.p);
		state_let_go(follower_state(follower));
		must(follower_rebuild(follower, events, clock_mono_ms() + FAR, &err));
	}
	must(write_it());
	check_digest("conflicts");
	buf_free(&want);
	buf_free(&got);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("snapshot");
	TCase *t = tcase_create("snapshot");
	SRunner *runner;
	int failed;

	hungry_sqlite_too();
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 120);
	tcase_add_loop_test(t, a_snapshot_is_what_a_replica_that_replayed_the_log_holds, 0,
	                    RECORDED);
	tcase_add_test(t, a_snapshot_has_all_that_a_stock_one_has_and_no_more);
	tcase_add_loop_test(t, the_past_is_what_the_log_added_up_to_then, 0,
	                    sizeof(short_ones) / sizeof(short_ones[0]));
	tcase_add_test(t, a_replay_in_transactions_is_the_same);
	tcase_add_test(t, each_snapshot_has_what_was_pushed_since);
	tcase_add_loop_test(t, the_state_of_another_log_is_not_copied, 0, 2);
	tcase_add_test(t, a_state_from_the_future_is_made_anew);
	tcase_add_test(t, a_damaged_state_is_made_anew);
	tcase_add_test(t, a_deadline_ends_a_replay);
	tcase_add_test(t, a_deadline_ends_the_wait_for_the_state);
	tcase_add_test(t, no_file_can_be_made);
	tcase_add_test(t, a_full_disk_harms_nothing);
	tcase_add_loop_test(t, without_memory_it_is_told, 0, 2);
	tcase_add_test(t, what_stayed_attached_is_in_nobodys_way);
	tcase_add_loop_test(t, whoever_had_no_memory_at_first_goes_on, 0, 2);
	suite_add_tcase(s, t);
	runner = srunner_create(s);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
