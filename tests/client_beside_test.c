/*
 * The client beside a td that runs at any time, over databases that are set
 * back or replaced, and through deaths at any step.
 */
#include "engine/apply.h"
#include "tests/client_test.h"
#include "tests/replica.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/wait.h>

/* --- a stock td --- */

struct stock {
	struct applier *applier;
	const char *exclude; /* device whose events it leaves out, or NULL */
	int64_t cursor;
};

static enum rc
stock_apply(void *ctx, const struct event *ev, bool *stop)
{
	struct stock *s = ctx;
	enum applied what;
	struct err err;

	*stop = false;
	s->cursor = ev->seq;
	if (s->exclude != NULL && span_is(ev->device, s->exclude))
		return RC_OK;
	ck_assert_msg(applier_apply(s->applier, ev, &what, &err) == RC_OK, "%s", err.text);
	return RC_OK;
}

/* What `td sync --pull` does: apply to its own tables, move its cursor. */
static void
stock_pull(const struct replica *r, const char *exclude)
{
	struct stock s = { .exclude = exclude };
	struct events *log = server_log();
	sqlite3 *db = replica_db(r);
	struct err err;
	char *text;

	s.cursor = atoll(ask(r, "SELECT last_pulled_server_seq FROM sync_state"));
	ck_assert(sqlite3_exec(db, "BEGIN", NULL, NULL, NULL) == SQLITE_OK);
	ck_assert(applier_new(db, "main", &profile_td, &s.applier, &err) == RC_OK);
	ck_assert(events_walk(log, s.cursor, INT64_MAX, false, NULL, stock_apply, &s,
	                      &err) == RC_OK);
	applier_free(s.applier);
	text = sqlite3_mprintf("UPDATE sync_state SET last_pulled_server_seq = %lld; COMMIT",
	                       (long long)s.cursor);
	ck_assert(sqlite3_exec(db, text, NULL, NULL, NULL) == SQLITE_OK);
	sqlite3_free(text);
	sqlite3_close(db);
	events_close(log);
}

/* Two replicas, linked, with an issue each, in step. */
static void
make_pair(struct replica *a, struct replica *b)
{
	replica_make(a, "A", "empty-v38.db");
	replica_make(b, "B", "empty-v38.db");
	LINK(a);
	LINK(b);
	td_create(a, "td-00000a", "Of A");
	td_create(b, "td-00000b", "Of B");
	SYNC(a);
	SYNC(b);
	SYNC(a);
	assert_same(a, b);
}

static void
settle_pair(struct replica *a, struct replica *b)
{
	SYNC(a);
	SYNC(b);
	SYNC(a);
	assert_same(a, b);
	assert_settled(a);
	assert_settled(b);
	ck_assert_str_eq(ask(a, "SELECT count(*) FROM action_log WHERE synced_at IS NULL"
	                     " AND undone = 0"), "0");
}

START_TEST(td_may_pull_in_between)
{
	static const char *const exclude[] = { NULL, "device-A" };
	struct replica a, b;

	make_pair(&a, &b);
	td_update(&b, "td-00000a", "title", "By B");
	td_comment(&b, "cm-00000001", "td-00000a", "By B");
	SYNC(&b);
	td_update(&a, "td-00000a", "points", "3");
	PUSH(&a);
	stock_pull(&a, exclude[_i]);
	td_update(&b, "td-00000b", "title", "By B again");
	SYNC(&b);
	settle_pair(&a, &b);
	ck_assert_str_eq(ask(&a, "SELECT title || points FROM issues WHERE id='td-00000a'"),
	                 "By B3");
	ck_assert_str_eq(ask(&a, "SELECT count(*) FROM sync_conflicts"), "0");
	replica_close(&a);
	replica_close(&b);
}
END_TEST

/* Something that happens while a call is on the network. */
struct meanwhile {
	const char *at;
	void (*what)(struct replica *r);
	struct replica *r;
	int times;
};

static bool
meanwhile_step(void *ctx, const char *name)
{
	struct meanwhile *m = ctx;

	if (strcmp(name, m->at) == 0 && m->times > 0) {
		m->times--;
		m->what(m->r);
	}
	return true;
}

static void
then_td_pulls(struct replica *r)
{
	stock_pull(r, "device-A");
}

static void
then_td_edits(struct replica *r)
{
	td_update(r, "td-00000b", "title", "Edited meanwhile");
	td_comment(r, "cm-0000000e", "td-00000b", "Commented meanwhile");
}

static void
then_td_undoes(struct replica *r)
{
	char before[4096], after[4096];

	td_undo_mark(r, "td-00000a");
	snprintf(before, sizeof(before), "%s", td_issue_json(r, "td-00000a"));
	sql(r, "UPDATE issues SET title = 'Of A' WHERE id = 'td-00000a'");
	snprintf(after, sizeof(after), "%s", td_issue_json(r, "td-00000a"));
	td_log(r, "update", "issue", "td-00000a", before, after);
}

static void
then_the_file_is_copied_anew(struct replica *r)
{
	char cmd[2 * TEMP_PATH + 200];

	snprintf(cmd, sizeof(cmd), "cd %s/.todos && cp issues.db x && mv x issues.db", r->dir);
	ck_assert_int_eq(system(cmd), 0);
}

static const struct {
	const char *why, *at;
	void (*what)(struct replica *r);
} meanwhiles[] = {
	{ "td pulls", "push.sent", then_td_pulls },
	{ "td pulls", "pull.fetched", then_td_pulls },
	{ "td edits", "push.gathered", then_td_edits },
	{ "td edits", "push.sent", then_td_edits },
	{ "td edits", "pull.fetched", then_td_edits },
	{ "td undoes", "push.gathered", then_td_undoes },
	{ "td undoes", "push.sent", then_td_undoes },
	{ "td undoes", "pull.fetched", then_td_undoes },
	{ "another file", "push.sent", then_the_file_is_copied_anew },
	{ "another file", "pull.fetched", then_the_file_is_copied_anew },
};

START_TEST(td_may_do_anything_while_we_are_on_the_network)
{
	struct replica a, b;
	struct meanwhile m = { meanwhiles[_i].at, meanwhiles[_i].what, &a, 1 };

	make_pair(&a, &b);
	td_update(&b, "td-00000b", "priority", "P0");
	td_create(&b, "td-00000c", "New on B");
	SYNC(&b);
	td_update(&a, "td-00000a", "title", "Edited on A");
	tdsync_on_step(a.t, meanwhile_step, &m);
	SYNC(&a);
	ck_assert_int_eq(m.times, 0);
	tdsync_on_step(a.t, NULL, NULL);
	settle_pair(&a, &b);
	ck_assert_str_eq(ask(&b, "SELECT title FROM issues WHERE id='td-00000a'"),
	                 m.what == then_td_undoes ? "Of A" : "Edited on A");
	ck_assert_str_eq(ask(&b, "SELECT title || priority FROM issues WHERE id='td-00000b'"),
	                 m.what == then_td_edits ? "Edited meanwhileP0" : "Of BP0");
	ck_assert_str_eq(ask(&b, "SELECT count(*) FROM comments"),
	                 m.what == then_td_edits ? "1" : "0");
	ck_assert_str_eq(ask(&a, "SELECT count(*) FROM sync_conflicts"), "0");
	ck_assert_str_eq(ask(&b, "SELECT count(*) FROM sync_conflicts"), "0");
	replica_close(&a);
	replica_close(&b);
}
END_TEST

/* An issue with a comment, whose create is undone before anybody sent it. */
static void
make_undone(struct replica *r, const char *id)
{
	char before[4096];

	td_create(r, id, "A mistake");
	td_comment(r, "cm-00000001", id, "Of somebody else");
	td_undo_mark(r, id);
	snprintf(before, sizeof(before), "%s", td_issue_json(r, id));
	sql(r, "UPDATE issues SET deleted_at = '2026-01-01T00:00:00Z' WHERE id = %Q", id);
	td_log(r, "delete", "issue", id, before, "");
}

/* td never sends an undone create, but its reverse; the row it left is this device's
 * alone, and what hangs on it would be nobody's. So the entry is sent, in its place. */
START_TEST(an_undone_create_of_a_row_that_is_left_is_sent)
{
	struct replica a, b;

	make_pair(&a, &b);
	make_undone(&a, "td-00000c");
	SYNC(&a);
	ck_assert_int_eq(a.res.pushed, 3);
	ck_assert_int_eq(a.res.pulled, 3);
	ck_assert_str_eq(ask(&a, "SELECT group_concat(server_seq || ' ' || action_type || ' ' ||"
	                     " undone, ', ') FROM (SELECT * FROM action_log WHERE server_seq > 2"
	                     " ORDER BY server_seq)"), "3 create 1, 4 create 0, 5 delete 0");
	settle_pair(&a, &b);
	ck_assert_str_eq(ask(&b, "SELECT count(*) FROM issues WHERE deleted_at IS NOT NULL"), "1");
	ck_assert_str_eq(ask(&b, "SELECT count(*) FROM comments"), "1");
	ck_assert_str_eq(ask(&a, "SELECT count(*) FROM sync_conflicts"), "0");
	SYNC(&a);
	ck_assert_int_eq(a.res.pushed + a.res.pulled + a.res.rows, 0);
	replica_close(&a);
	replica_close(&b);
}
END_TEST

/* --- set back, replaced --- */

static void
copy_file(const char *from, const char *to, bool same_inode)
{
	char cmd[1024];

	snprintf(cmd, sizeof(cmd), "%s && cat %s > %s", same_inode ? "true" : "rm -f", from, to);
	if (!same_inode)
		snprintf(cmd, sizeof(cmd), "rm -f %s && cp %s %s", to, from, to);
	ck_assert_int_eq(system(cmd), 0);
}

START_TEST(a_database_set_back_loses_nothing)
{
	char backup[TEMP_PATH + 32], file[FIXTURE_PATH];
	struct replica a, b;

	make_pair(&a, &b);
	snprintf(backup, sizeof(backup), "%s/backup.db", temp);
	snprintf(file, sizeof(file), "%s", replica_file(&a, "issues.db"));
	td_comment(&a, "cm-00000001", "td-00000a", "In the backup, not sent");
	copy_file(file, backup, false);
	td_update(&b, "td-00000a", "title", "By B");
	td_comment(&a, "cm-00000002", "td-00000a", "Sent after the backup");
	SYNC(&b);
	SYNC(&a);
	SYNC(&a);
	copy_file(backup, file, _i != 0);
	td_comment(&a, "cm-00000003", "td-00000a", "Written over the backup");
	settle_pair(&a, &b);
	ck_assert_str_eq(ask(&a, "SELECT group_concat(id) FROM comments ORDER BY id"),
	                 "cm-00000001,cm-00000002,cm-00000003");
	ck_assert_str_eq(ask(&a, "SELECT title FROM issues WHERE id = 'td-00000a'"), "By B");
	replica_close(&a);
	replica_close(&b);
}
END_TEST

/* What a bootstrap of td's leaves: another file, without the action log. */
START_TEST(a_bootstrapped_database_is_taken_as_it_is)
{
	char file[FIXTURE_PATH], other[FIXTURE_PATH];
	struct replica a, b;

	make_pair(&a, &b);
	td_update(&b, "td-00000a", "title", "By B");
	SYNC(&b);
	snprintf(file, sizeof(file), "%s", replica_file(&a, "issues.db"));
	snprintf(other, sizeof(other), "%s", replica_file(&b, "issues.db"));
	copy_file(other, file, false);
	sql(&a, "DELETE FROM action_log; DELETE FROM sync_history");
	td_update(&a, "td-00000a", "points", "5"); /* rowids begin again */
	settle_pair(&a, &b);
	ck_assert_str_eq(ask(&b, "SELECT title || points FROM issues WHERE id='td-00000a'"),
	                 "By B5");
	ck_assert_str_eq(ask(&a, "SELECT count(*) FROM sync_conflicts"), "0");
	replica_close(&a);
	replica_close(&b);
}
END_TEST

START_TEST(td_sync_db_may_be_deleted)
{
	struct replica a, b;

	make_pair(&a, &b);
	td_update(&a, "td-00000a", "title", "Pending");
	td_update(&b, "td-00000b", "title", "By B");
	SYNC(&b);
	ck_assert_int_eq(unlink(replica_file(&a, "td-sync.db")), 0);
	settle_pair(&a, &b);
	ck_assert_str_eq(ask(&a, "SELECT count(*) FROM sync_conflicts"), "0");
	replica_close(&a);
	replica_close(&b);
}
END_TEST

START_TEST(a_folder_may_be_unlinked_and_linked_again)
{
	struct replica a, b;

	make_pair(&a, &b);
	CALL_OK(&a, tdsync_unlink(a.t));
	ck_assert_int_eq(tdsync_sync(a.t, NULL), TDSYNC_NOT_LINKED);
	ck_assert_int_eq(tdsync_unlink(a.t), TDSYNC_NOT_LINKED);
	td_update(&a, "td-00000a", "title", "While unlinked");
	td_update(&b, "td-00000a", "points", "2");
	SYNC(&b);
	LINK(&a);
	LINK(&a);
	settle_pair(&a, &b);
	ck_assert_str_eq(ask(&b, "SELECT title || points FROM issues WHERE id='td-00000a'"),
	                 "While unlinked2");
	ck_assert_str_eq(ask(&a, "SELECT count(*) FROM sync_conflicts"), "0");

	/* td's own link begins at 0. */
	sql(&a, "DELETE FROM sync_state;"
	    "INSERT INTO sync_state (project_id) VALUES ('" PROJECT "')");
	td_update(&a, "td-00000b", "title", "Linked by td");
	settle_pair(&a, &b);
	ck_assert_str_eq(ask(&b, "SELECT title FROM issues WHERE id='td-00000b'"),
	                 "Linked by td");
	replica_close(&a);
	replica_close(&b);
}
END_TEST

START_TEST(a_folder_linked_to_another_project_takes_its_content_there)
{
	static const char other[] = "p_00000000000000bb";
	struct replica a, b, c;
	struct err err;

	make_pair(&a, &b);
	td_comment(&a, "cm-00000001", "td-00000b", "On B's issue");
	td_update(&b, "td-00000a", "title", "Renamed by B");
	settle_pair(&a, &b);
	td_update(&a, "td-00000a", "points", "1"); /* pending when it moves */
	ck_assert(direct_project(temp, other, &err) == RC_OK);
	ck_assert_int_eq(tdsync_link(a.t, other), TDSYNC_INVALID);
	CALL_OK(&a, tdsync_unlink(a.t));
	CALL_OK(&a, tdsync_link(a.t, other));
	SYNC(&a);
	assert_settled(&a);
	replica_make(&c, "C", "empty-v38.db");
	CALL_OK(&c, tdsync_link(c.t, other));
	SYNC(&c);
	assert_same(&a, &c);
	ck_assert_str_eq(ask(&c, "SELECT title || points FROM issues WHERE id='td-00000a'"),
	                 "Renamed by B1");
	ck_assert_str_eq(ask(&c, "SELECT count(*) FROM comments"), "1");
	ck_assert_str_eq(ask(&a, "SELECT count(*) FROM sync_conflicts"), "0");
	replica_close(&a);
	replica_close(&b);
	replica_close(&c);
}
END_TEST

/* --- nothing local is just removed --- */

START_TEST(rows_nobody_logged_are_offered)
{
	struct replica a, b;

	make_pair(&a, &b);
	/* Written by another program, past td's log. */
	sql(&a, "INSERT INTO issues (id, title) VALUES ('td-00000c', 'Imported');"
	    "INSERT INTO comments (id, issue_id, session_id, text)"
	    " VALUES ('cm-00000001', 'td-00000c', 's', 'On it'),"
	    " ('cm-00000002', 'td-00000b', 's', 'On the other')");
	then_the_file_is_copied_anew(&a);
	settle_pair(&a, &b);
	ck_assert_str_eq(ask(&b, "SELECT group_concat(id) FROM comments"),
	                 "cm-00000001,cm-00000002");
	ck_assert_str_eq(ask(&b, "SELECT title FROM issues WHERE id='td-00000c'"), "Imported");
	replica_close(&a);
	replica_close(&b);
}
END_TEST

static bool
before_the_push(void *ctx, const char *name)
{
	(void)ctx;
	return strcmp(name, "push.gathered") != 0;
}

/* The offer is made, the push fails, and the database is set back to where it
 * was: what td-sync.db tells of the offer means nothing then. */
START_TEST(an_offer_that_was_set_back_is_made_again)
{
	char backup[TEMP_PATH + 32], file[FIXTURE_PATH];
	struct replica a;

	replica_make(&a, "A", "empty-v38.db");
	sql(&a, "INSERT INTO issues (id, title) VALUES ('td-00000c', 'Imported')");
	LINK(&a);
	snprintf(backup, sizeof(backup), "%s/backup.db", temp);
	snprintf(file, sizeof(file), "%s", replica_file(&a, "issues.db"));
	copy_file(file, backup, false);
	tdsync_on_step(a.t, before_the_push, NULL);
	ck_assert_int_eq(tdsync_sync(a.t, NULL), TDSYNC_FAULT);
	ck_assert_str_eq(ask(&a, "SELECT count(*) FROM action_log"), "1");
	tdsync_on_step(a.t, NULL, NULL);
	copy_file(backup, file, _i != 0);
	SYNC(&a);
	ck_assert_int_eq(server_seq(), 1);
	assert_settled(&a);
	replica_close(&a);
}
END_TEST

/* SQLite takes a row without an id, or one that is no text; td makes none. */
START_TEST(a_row_without_a_proper_id_stops_nothing)
{
	struct replica a;

	replica_make(&a, "A", "empty-v38.db");
	sql(&a, "INSERT INTO issues (id, title) VALUES (NULL, 'None'), ('', 'Empty'),"
	    " (x'7464', 'Bytes'), ('td-' || char(0) || '1', 'NUL'), ('td-00000c', 'Proper')");
	LINK(&a);
	SYNC(&a);
	ck_assert_int_eq(a.res.pushed, 1);
	ck_assert_str_eq(ask(&a, "SELECT count(*) FROM issues"), "5");
	replica_close(&a);
}
END_TEST

/* A pending entry may hang on a row that no entry made. */
START_TEST(a_row_without_entries_is_sent_before_what_hangs_on_it)
{
	struct replica a, b;

	replica_make(&a, "A", "empty-v38.db");
	replica_make(&b, "B", "empty-v38.db");
	sql(&a, "INSERT INTO issues (id, title) VALUES ('td-00000a', 'Older than the log')");
	td_comment(&a, "cm-00000001", "td-00000a", "Logged");
	td_update(&a, "td-00000a", "title", "Renamed, logged");
	LINK(&a);
	LINK(&b);
	settle_pair(&a, &b);
	ck_assert_str_eq(ask(&b, "SELECT count(*) FROM comments"), "1");
	ck_assert_str_eq(ask(&b, "SELECT title FROM issues"), "Renamed, logged");
	ck_assert_str_eq(ask(&b, "SELECT count(*) FROM sync_skipped_events"), "0");
	replica_close(&a);
	replica_close(&b);
}
END_TEST

/* td would send a second create, which takes the comment along everywhere. */
START_TEST(an_issue_that_lags_behind_keeps_its_children)
{
	struct replica a, b;

	replica_make(&a, "A", "empty-v38.db");
	replica_make(&b, "B", "empty-v38.db");
	td_create(&a, "td-00000a", "Logged title");
	td_comment(&a, "cm-00000001", "td-00000a", "Logged");
	td_create(&a, "td-00000b", "Deleted before the first sync");
	td_delete(&a, "td-00000b");
	sql(&a, "UPDATE issues SET title = 'Later title', status = 'closed',"
	    " updated_at = '2999-01-01T00:00:00Z' WHERE id = 'td-00000a'");
	LINK(&a);
	LINK(&b);
	settle_pair(&a, &b);
	ck_assert_str_eq(ask(&b, "SELECT count(*) FROM comments"), "1");
	ck_assert_str_eq(ask(&b, "SELECT title || status FROM issues WHERE id='td-00000a'"),
	                 "Later titleclosed");
	ck_assert_str_eq(ask(&b, "SELECT deleted_at IS NULL FROM issues WHERE id='td-00000b'"), "0");
	replica_close(&a);
	replica_close(&b);
}
END_TEST

START_TEST(a_difference_nobody_logged_is_kept_as_a_conflict)
{
	struct replica a, b;

	make_pair(&a, &b);
	sql(&a, "UPDATE issues SET title = 'Changed past the log', updated_at = '2026-05-05'"
	    " WHERE id = 'td-00000b'");
	td_update(&b, "td-00000b", "points", "13");
	SYNC(&b);
	SYNC(&a);
	assert_same(&a, &b);
	ck_assert_str_eq(ask(&a, "SELECT entity_type || ' ' || entity_id || ' ' ||"
	                     " json_extract(local_data, '$.title') || ' ' ||"
	                     " json_extract(remote_data, '$.title') FROM sync_conflicts"),
	                 "issues td-00000b Changed past the log Of B");
	ck_assert_str_eq(ask(&a, "SELECT count(*) FROM sync_conflicts"), "1");
	ck_assert_str_eq(ask(&b, "SELECT count(*) FROM sync_conflicts"), "0");
	replica_close(&a);
	replica_close(&b);
}
END_TEST

/* A create of an issue that is there replaces it, and with a stock client its
 * children: here only what the log says goes. */
START_TEST(what_is_local_to_the_machine_stays)
{
	struct replica a, b;
	static const char again[] = "{\"client_action_id\":99,\"action_type\":\"create\","
	    "\"entity_type\":\"issues\",\"entity_id\":\"td-00000a\",\"payload\":{\"new_data\":"
	    "{\"id\":\"td-00000a\",\"title\":\"Created again\"},\"previous_data\":{},"
	    "\"schema_version\":1},\"client_timestamp\":\"2026-01-01T00:00:00Z\"}";

	make_pair(&a, &b);
	td_comment(&a, "cm-00000001", "td-00000a", "Taken along by the log");
	sql(&a, "INSERT INTO issue_session_history (id, issue_id, session_id, action)"
	    " VALUES ('ish', 'td-00000a', 's', 'x');"
	    "INSERT INTO work_sessions (id, name, session_id, repo_root)"
	    " VALUES ('ws-0001', 'Round', 's', '/home/me')");
	td_log(&a, "create", "work_sessions", "ws-0001", "",
	       "{\"id\":\"ws-0001\",\"name\":\"Round\",\"session_id\":\"s\"}");
	SYNC(&a);
	server_push("device-X", "s", span_of(again));
	td_log(&a, "update", "work_sessions", "ws-0001", "",
	       "{\"id\":\"ws-0001\",\"name\":\"Ended\",\"session_id\":\"s\"}");
	settle_pair(&a, &b);
	ck_assert_str_eq(ask(&a, "SELECT title FROM issues WHERE id='td-00000a'"), "Created again");
	ck_assert_str_eq(ask(&a, "SELECT count(*) FROM comments"), "0");
	ck_assert_str_eq(ask(&a, "SELECT count(*) FROM issue_session_history"), "1");
	ck_assert_str_eq(ask(&a, "SELECT name || repo_root FROM work_sessions"), "Ended/home/me");
	replica_close(&a);
	replica_close(&b);
}
END_TEST

/* What the log's rules refuse is refused on the device that wrote it, too:
 * `td undo` of `td board delete`, and an edge from an issue to itself. */
START_TEST(an_own_edit_that_no_replica_takes_is_kept_as_a_conflict)
{
	static const char board[] = "INSERT INTO boards (id, name, created_at, updated_at)"
	    " VALUES ('bd-00000001', 'Mine', '2026-01-01', '2026-01-01')";
	static const char json[] = "{\"id\":\"bd-00000001\",\"name\":\"Mine\","
	    "\"created_at\":\"2026-01-01\",\"updated_at\":\"2026-01-01\"}";
	struct replica a, b;

	make_pair(&a, &b);
	sql(&a, "%s", board);
	td_log(&a, "board_create", "board", "bd-00000001", "", json);
	settle_pair(&a, &b);
	sql(&a, "DELETE FROM boards WHERE id = 'bd-00000001'");
	td_log(&a, "board_delete", "board", "bd-00000001", json, "");
	settle_pair(&a, &b);
	sql(&a, "%s", board);
	td_log(&a, "restore", "board", "bd-00000001", "", json);
	sql(&b, "INSERT INTO issue_dependencies (id, issue_id, depends_on_id)"
	    " VALUES ('dep_1', 'td-00000b', 'td-00000b')");
	td_log(&b, "add_dependency", "issue_dependencies", "dep_1", "",
	       "{\"id\":\"dep_1\",\"issue_id\":\"td-00000b\","
	       "\"depends_on_id\":\"td-00000b\",\"relation_type\":\"depends_on\"}");
	settle_pair(&a, &b);
	/* The server says of the edge that it was dropped: that is told besides. */
	ck_assert_str_eq(ask(&a, "SELECT group_concat(entity_id) FROM sync_conflicts"),
	                 "bd-00000001,dep_1");
	ck_assert_str_eq(ask(&b, "SELECT group_concat(entity_id) FROM sync_conflicts"),
	                 "dep_1,dep_1");
	replica_close(&a);
	replica_close(&b);
}
END_TEST

/* Two rows that change places under a UNIQUE, and a local one in the way. */
START_TEST(unique_places_are_given_to_those_the_log_says)
{
	struct replica a, b;
	static const char files[] =
	    "{\"client_action_id\":1,\"action_type\":\"create\",\"entity_type\":\"issue_files\","
	    "\"entity_id\":\"f1\",\"payload\":{\"new_data\":{\"id\":\"f1\",\"issue_id\":"
	    "\"td-00000a\",\"file_path\":\"one\"}},\"client_timestamp\":\"2026-01-01T00:00:00Z\"},"
	    "{\"client_action_id\":2,\"action_type\":\"create\",\"entity_type\":\"issue_files\","
	    "\"entity_id\":\"f2\",\"payload\":{\"new_data\":{\"id\":\"f2\",\"issue_id\":"
	    "\"td-00000a\",\"file_path\":\"two\"}},\"client_timestamp\":\"2026-01-01T00:00:00Z\"}";
	static const char swapped[] =
	    "{\"client_action_id\":3,\"action_type\":\"update\",\"entity_type\":\"issue_files\","
	    "\"entity_id\":\"f2\",\"payload\":{\"new_data\":{\"id\":\"f2\",\"file_path\":\"x\"},"
	    "\"previous_data\":{\"id\":\"f2\",\"file_path\":\"two\"}},"
	    "\"client_timestamp\":\"2026-01-01T00:00:00Z\"},"
	    "{\"client_action_id\":4,\"action_type\":\"update\",\"entity_type\":\"issue_files\","
	    "\"entity_id\":\"f1\",\"payload\":{\"new_data\":{\"id\":\"f1\",\"file_path\":\"two\"},"
	    "\"previous_data\":{\"id\":\"f1\",\"file_path\":\"one\"}},"
	    "\"client_timestamp\":\"2026-01-01T00:00:00Z\"},"
	    "{\"client_action_id\":5,\"action_type\":\"update\",\"entity_type\":\"issue_files\","
	    "\"entity_id\":\"f2\",\"payload\":{\"new_data\":{\"id\":\"f2\",\"file_path\":\"one\"},"
	    "\"previous_data\":{\"id\":\"f2\",\"file_path\":\"x\"}},"
	    "\"client_timestamp\":\"2026-01-01T00:00:00Z\"},"
	    "{\"client_action_id\":6,\"action_type\":\"create\",\"entity_type\":\"issue_files\","
	    "\"entity_id\":\"f3\",\"payload\":{\"new_data\":{\"id\":\"f3\",\"issue_id\":"
	    "\"td-00000a\",\"file_path\":\"three\"}},\"client_timestamp\":\"2026-01-01T00:00:00Z\"}";

	make_pair(&a, &b);
	server_push("device-X", "s", span_of(files));
	settle_pair(&a, &b);
	sql(&a, "INSERT INTO issue_files (id, issue_id, file_path, role)"
	    " VALUES ('mine', 'td-00000a', 'three', 'unlogged')");
	server_push("device-X", "s", span_of(swapped));
	settle_pair(&a, &b);
	ck_assert_str_eq(ask(&a, "SELECT group_concat(id || file_path) FROM"
	                     " (SELECT * FROM issue_files ORDER BY id)"), "f1two,f2one,f3three");
	ck_assert_str_eq(ask(&a, "SELECT entity_id || json_extract(local_data, '$.role')"
	                     " FROM sync_conflicts"), "mineunlogged");
	replica_close(&a);
	replica_close(&b);
}
END_TEST

/* --- the server's log changes --- */

static void
new_server_log(void)
{
	char cmd[TEMP_PATH + 64];
	struct err err;

	snprintf(cmd, sizeof(cmd), "rm -rf %s/projects/" PROJECT, temp);
	ck_assert_int_eq(system(cmd), 0);
	ck_assert(direct_project(temp, PROJECT, &err) == RC_OK);
}

START_TEST(a_log_that_was_lost_is_filled_again)
{
	struct replica a, b, c;

	make_pair(&a, &b);
	td_comment(&a, "cm-00000001", "td-00000b", "By A");
	td_update(&b, "td-00000a", "title", "By B");
	settle_pair(&a, &b);
	td_update(&a, "td-00000b", "points", "1"); /* pending */
	new_server_log();

	/* push and pull alone tell, and change nothing. */
	ck_assert_int_eq(tdsync_push(a.t, NULL), TDSYNC_LOG_CHANGED);
	ck_assert_ptr_nonnull(strstr(tdsync_error(a.t), "restored or replaced"));
	ck_assert_int_eq(tdsync_pull(a.t, NULL), TDSYNC_LOG_CHANGED);
	ck_assert_int_eq(server_seq(), 0);
	ck_assert_str_eq(ask(&a, "SELECT count(*) FROM action_log WHERE synced_at IS NULL"), "1");

	/* A alone brings back B's work too. */
	SYNC(&a);
	assert_settled(&a);
	replica_make(&c, "C", "empty-v38.db");
	LINK(&c);
	SYNC(&c);
	assert_same(&a, &c);
	ck_assert_str_eq(ask(&c, "SELECT title FROM issues WHERE id='td-00000a'"), "By B");
	ck_assert_str_eq(ask(&c, "SELECT title || points FROM issues WHERE id='td-00000b'"),
	                 "Of B1");
	ck_assert_str_eq(ask(&c, "SELECT count(*) FROM comments"), "1");
	settle_pair(&a, &b);
	ck_assert_str_eq(ask(&b, "SELECT title FROM issues WHERE id='td-00000a'"), "By B");
	SYNC(&c);
	assert_same(&a, &c);
	replica_close(&a);
	replica_close(&b);
	replica_close(&c);
}
END_TEST

/* What was sent to the project linked before is none of this log's loss: sent
 * again it would undo the work of others, and take their comments along. */
START_TEST(a_lost_log_is_not_filled_with_another_project_s_edits)
{
	struct replica a, b;
	struct err err;

	ck_assert(direct_project(temp, "p_00000000000000bb", &err) == RC_OK);
	replica_make(&a, "A", "empty-v38.db");
	CALL_OK(&a, tdsync_link(a.t, "p_00000000000000bb"));
	td_create(&a, "td-00000a", "First");
	td_update(&a, "td-00000a", "title", "Second");
	SYNC(&a);
	CALL_OK(&a, tdsync_unlink(a.t));
	LINK(&a);
	SYNC(&a);
	replica_make(&b, "B", "empty-v38.db");
	LINK(&b);
	SYNC(&b);
	td_update(&b, "td-00000a", "title", "By B");
	td_comment(&b, "cm-00000001", "td-00000a", "By B");
	SYNC(&b);
	SYNC(&a);
	new_server_log();
	SYNC(&b);
	settle_pair(&a, &b);
	ck_assert_str_eq(ask(&a, "SELECT title FROM issues"), "By B");
	ck_assert_str_eq(ask(&a, "SELECT count(*) FROM comments"), "1");
	/* Nor with the built-in board, whose times are those of `td init`. */
	ck_assert_int_eq(server_seq(), 2); /* the issue and the comment */
	replica_close(&a);
	replica_close(&b);
}
END_TEST

/* The log of a backup: the beginning is the same, the end is gone. */
START_TEST(a_log_restored_from_a_backup_gets_back_what_it_lost)
{
	char cmd[4 * TEMP_PATH];
	struct replica a, b;
	sqlite3 *db;

	make_pair(&a, &b);
	snprintf(cmd, sizeof(cmd), "cp -r %s/projects %s/backup", temp, temp);
	ck_assert_int_eq(system(cmd), 0);
	td_update(&a, "td-00000a", "title", "Lost");
	td_update(&b, "td-00000b", "title", "Lost too");
	make_undone(&a, "td-00000c");
	PUSH(&a); /* acked, but not pulled again */
	if (_i == 1)
		settle_pair(&a, &b);
	snprintf(cmd, sizeof(cmd), "rm -rf %s/projects && mv %s/backup %s/projects", temp, temp,
	         temp);
	ck_assert_int_eq(system(cmd), 0);
	snprintf(cmd, sizeof(cmd), "%s/projects/" PROJECT "/events.db", temp);
	ck_assert_int_eq(sqlite3_open(cmd, &db), SQLITE_OK);
	ck_assert_int_eq(sqlite3_exec(db, "UPDATE head SET log_id = randomblob(16)", NULL, NULL,
	                              NULL), SQLITE_OK);
	sqlite3_close(db);
	snprintf(cmd, sizeof(cmd), "%s/projects/" PROJECT "/lock", temp);
	ck_assert_int_eq(unlink(cmd), 0);
	if (_i == 2) { /* a push is the first to hear of it */
		td_update(&a, "td-00000a", "title", "Newer than the lost one");
		PUSH(&a);
		ck_assert_int_eq(a.res.pushed, 5);
	}
	settle_pair(&a, &b);
	ck_assert_str_eq(ask(&b, "SELECT count(*) FROM comments WHERE issue_id = 'td-00000c'"), "1");
	ck_assert_str_eq(ask(&b, "SELECT title FROM issues WHERE id='td-00000a'"),
	                 _i == 2 ? "Newer than the lost one" : "Lost");
	ck_assert_str_eq(ask(&a, "SELECT title FROM issues WHERE id='td-00000b'"), "Lost too");
	replica_close(&a);
	replica_close(&b);
}
END_TEST

/* What another deleted, brought back, or ended: rows of that tell it by other times
 * than updated_at. This copy is the last one that knows. */
START_TEST(what_others_did_without_a_newer_row_is_offered_too)
{
	char cmd[4 * TEMP_PATH];
	struct replica a, b, c;

	make_pair(&a, &b);
	td_delete(&b, "td-00000b");
	sql(&b, "INSERT INTO work_sessions (id, name, session_id, started_at) VALUES"
	    " ('ws-1', 'One', 'ses_test', '2026-01-01 10:00:00')");
	td_log(&b, "create", "work_session", "ws-1", "", "{\"id\":\"ws-1\",\"name\":\"One\","
	       "\"session_id\":\"ses_test\",\"started_at\":\"2026-01-01T10:00:00Z\"}");
	settle_pair(&a, &b);
	snprintf(cmd, sizeof(cmd), "cp -r %s/projects %s/backup", temp, temp);
	ck_assert_int_eq(system(cmd), 0);
	if (_i == 1)
		sleep(1); /* what a log has of a delete's time is to the second */
	td_delete(&b, "td-00000a");
	sql(&b, "UPDATE issues SET deleted_at = NULL WHERE id = 'td-00000b'");
	td_log(&b, "restore", "issue", "td-00000b", "", "");
	sql(&b, "UPDATE work_sessions SET ended_at = '2026-01-01 11:00:00'");
	td_log(&b, "update", "work_session", "ws-1", "", "{\"id\":\"ws-1\",\"name\":\"One\","
	       "\"session_id\":\"ses_test\",\"started_at\":\"2026-01-01T10:00:00Z\","
	       "\"ended_at\":\"2026-01-01T11:00:00Z\"}");
	settle_pair(&a, &b);
	snprintf(cmd, sizeof(cmd), "rm -rf %s/projects && mv %s/backup %s/projects", temp, temp,
	         temp);
	ck_assert_int_eq(system(cmd), 0);
	SYNC(&a);
	assert_settled(&a);
	ck_assert_str_eq(ask(&a, "SELECT deleted_at IS NOT NULL FROM issues WHERE"
	                     " id = 'td-00000a'"), "1");
	if (_i == 1)
		ck_assert_str_eq(ask(&a, "SELECT deleted_at IS NULL FROM issues WHERE"
		                     " id = 'td-00000b'"), "1");
	ck_assert_str_eq(ask(&a, "SELECT ended_at IS NOT NULL FROM work_sessions"), "1");
	replica_make(&c, "C", "empty-v38.db");
	LINK(&c);
	SYNC(&c);
	assert_same(&a, &c);
	settle_pair(&a, &b);
	SYNC(&c);
	assert_same(&a, &c);
	replica_close(&a);
	replica_close(&b);
	replica_close(&c);
}
END_TEST

/*
 * Own edits that a lost log had are sent again where the row still is as they
 * found it: not over what others wrote since, which another brought back; but
 * over the edits of one's own before them, which are sent again as well.
 */
START_TEST(an_edit_that_was_overtaken_is_not_sent_again)
{
	char cmd[4 * TEMP_PATH];
	struct replica a, b;

	make_pair(&a, &b);
	snprintf(cmd, sizeof(cmd), "cp -r %s/projects %s/backup", temp, temp);
	ck_assert_int_eq(system(cmd), 0);
	td_update(&a, "td-00000a", "title", "By A");
	td_update(&a, "td-00000a", "points", "3");
	SYNC(&a);
	td_update(&a, "td-00000a", "points", "5");
	settle_pair(&a, &b);
	td_update(&b, "td-00000a", "title", "By B");
	settle_pair(&a, &b);
	if (_i == 0) {
		new_server_log();
	} else {
		snprintf(cmd, sizeof(cmd), "rm -rf %s/projects && mv %s/backup %s/projects", temp,
		         temp, temp);
		ck_assert_int_eq(system(cmd), 0);
	}
	if (_i < 2)
		SYNC(&b);
	SYNC(&a);
	settle_pair(&a, &b);
	ck_assert_str_eq(ask(&a, "SELECT title || points FROM issues WHERE id='td-00000a'"),
	                 "By B5");
	replica_close(&a);
	replica_close(&b);
}
END_TEST

/* --- several handles --- */

/* Whether another process finds a byte that SQLite locks for a writer locked. */
static bool
is_reserved(const struct replica *r)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET,
			.l_start = 0x40000001, .l_len = 1 };
		int fd = open(replica_file(r, "td-sync.db"), O_RDWR);

		_exit(fd < 0 || fcntl(fd, F_GETLK, &lock) != 0 ? 2 : lock.l_type != F_UNLCK);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFEXITED(status) && WEXITSTATUS(status) < 2);
	return WEXITSTATUS(status) == 1;
}

static bool
open_another(void *ctx, const char *name)
{
	struct replica *r = ctx, second = { 0 };

	if (strcmp(name, "pull.begun") != 0)
		return true;
	ck_assert(is_reserved(r));
	snprintf(second.dir, sizeof(second.dir), "%s", r->dir);
	replica_open(&second);
	ck_assert_int_eq(tdsync_push(second.t, NULL), TDSYNC_LOCAL); /* it waits for the first */
	replica_close(&second);
	ck_assert(is_reserved(r));
	return true;
}

/* In one process: to open and close a file would drop the locks of the other. */
START_TEST(a_second_handle_leaves_the_first_its_locks)
{
	struct replica r;

	replica_make(&r, "R", "empty-v38.db");
	LINK(&r);
	tdsync_on_step(r.t, open_another, &r);
	PULL(&r);
	replica_close(&r);
}
END_TEST

/* --- deaths --- */

static const char *const steps[] = {
	"push.gathered", "push.sent", "push.marked", "push.committed", "pull.fetched",
	"pull.begun", "pull.applied", "pull.written", "pull.committed"
};
#define N_STEPS (sizeof(steps) / sizeof(steps[0]))

static bool
die_at(void *ctx, const char *name)
{
	if (strcmp(name, ctx) == 0)
		_exit(42);
	return true;
}

static bool
stop_at(void *ctx, const char *name)
{
	return strcmp(name, ctx) != 0;
}

static void
kill_at(struct replica *r, const char *step)
{
	char copy[32];
	pid_t pid;
	int status;

	snprintf(copy, sizeof(copy), "%s", step);
	if ((pid = fork()) == 0) {
		tdsync_on_step(r->t, die_at, copy);
		tdsync_sync(r->t, NULL);
		_exit(1);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 42, "%s was not reached", step);
}

/* Die (for real, and as the harness does), then go on as if nothing was. */
START_TEST(a_death_at_any_step_loses_and_doubles_nothing)
{
	const char *step = steps[_i % (int)N_STEPS];
	bool wal = _i >= (int)N_STEPS;
	struct replica a, b;
	int64_t seq;

	replica_make(&a, "A", "empty-v38.db");
	replica_make(&b, "B", "empty-v38.db");
	if (wal)
		sql(&a, "PRAGMA journal_mode = WAL");
	LINK(&a);
	LINK(&b);
	td_create(&b, "td-00000b", "Of B");
	SYNC(&b);
	td_create(&a, "td-00000a", "Of A");
	replica_close(&a);
	replica_open(&a);
	kill_at(&a, step);
	replica_close(&a);
	replica_open(&a);
	ck_assert_str_eq(ask(&a, "PRAGMA integrity_check"), "ok");
	if (wal)
		ck_assert_str_eq(ask(&a, "PRAGMA journal_mode"), "wal");
	td_update(&a, "td-00000a", "title", "After the death");
	SYNC(&a);
	tdsync_on_step(a.t, stop_at, (void *)(uintptr_t)step);
	td_update(&a, "td-00000a", "points", "1");
	ck_assert_int_eq(tdsync_sync(a.t, NULL), TDSYNC_FAULT);
	ck_assert_ptr_nonnull(strstr(tdsync_error(a.t), step));
	tdsync_on_step(a.t, NULL, NULL);
	seq = 5; /* B's create, A's create and two edits, B's edit */
	td_update(&b, "td-00000b", "points", "2");
	settle_pair(&a, &b);
	ck_assert_int_eq(server_seq(), seq);
	ck_assert_str_eq(ask(&b, "SELECT title || points FROM issues WHERE id='td-00000a'"),
	                 "After the death1");
	ck_assert_str_eq(ask(&a, "SELECT count(*) FROM sync_conflicts"), "0");
	replica_close(&a);
	replica_close(&b);
}
END_TEST

/* A crash between the commits of the two files (WAL mode): main is ahead. */
START_TEST(books_that_are_behind_catch_up)
{
	char old[FIXTURE_PATH], books[FIXTURE_PATH];
	struct replica a, b;

	make_pair(&a, &b);
	snprintf(old, sizeof(old), "%s/old-books.db", temp);
	snprintf(books, sizeof(books), "%s", replica_file(&a, "td-sync.db"));
	copy_file(books, old, false);
	td_update(&b, "td-00000b", "title", "By B");
	SYNC(&b);
	td_update(&a, "td-00000a", "title", "By A");
	SYNC(&a);
	copy_file(old, books, true);
	td_update(&a, "td-00000a", "points", "4");
	settle_pair(&a, &b);
	ck_assert_int_eq(server_seq(), 5);
	ck_assert_str_eq(ask(&a, "SELECT count(*) FROM sync_conflicts"), "0");
	replica_close(&a);
	replica_close(&b);
}
END_TEST

/* --- several td-sync at once --- */

/* Somebody who has it done first, so many times. */
struct faster {
	struct replica *r; /* another handle on the same folder */
	int left, events;
};

static bool
be_faster(void *ctx, const char *step)
{
	struct faster *f = ctx;
	char event[400];

	if (strcmp(step, "pull.fetched") != 0 || f->left == 0)
		return true;
	f->left--;
	snprintf(event, sizeof(event), "{\"client_action_id\":%d,\"action_type\":\"create\","
	         "\"entity_type\":\"issues\",\"entity_id\":\"td-f%d\",\"payload\":"
	         "{\"schema_version\":1,\"new_data\":{\"id\":\"td-f%d\",\"title\":\"x\"},"
	         "\"previous_data\":{}},\"client_timestamp\":\"2026-01-01T00:00:00Z\"}",
	         f->events, f->events, f->events);
	f->events++;
	server_push("device-x", "ses_x", span_of(event));
	SYNC(f->r);
	return true;
}

/* Others who move the cursor while a call is on the network make it begin
 * again; seven of them, it bears; where it never gets a turn, it says so. */
START_TEST(others_may_be_faster_several_times)
{
	struct replica a, again;
	struct faster f = { &again, _i == 0 ? 7 : 1000, 1 };
	int64_t start = clock_mono_ms();

	replica_make(&a, "A", "empty-v38.db");
	LINK(&a);
	again = a;
	replica_open(&again);
	td_create(&a, "td-00000a", "x");
	tdsync_on_step(a.t, be_faster, &f);
	if (_i == 0) {
		SYNC(&a);
		ck_assert_int_eq(f.left, 0);
		ck_assert_str_eq(ask(&a, "SELECT count(*) FROM issues"), "8");
	} else {
		ck_assert_int_eq(tdsync_sync(a.t, NULL), TDSYNC_LOCAL);
		ck_assert_ptr_nonnull(strstr(tdsync_error(a.t), "keeps changing"));
		ck_assert_int_lt(clock_mono_ms() - start, 20000);
	}
	replica_close(&again);
	replica_close(&a);
}
END_TEST

TCase *
client_beside_cases(void)
{
	TCase *tc = tcase_create("beside");

	tcase_add_checked_fixture(tc, replica_setup, replica_teardown);
	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, td_may_pull_in_between, 0, 2);
	tcase_add_loop_test(tc, td_may_do_anything_while_we_are_on_the_network, 0,
	                    sizeof(meanwhiles) / sizeof(meanwhiles[0]));
	tcase_add_test(tc, an_undone_create_of_a_row_that_is_left_is_sent);
	tcase_add_loop_test(tc, a_database_set_back_loses_nothing, 0, 2);
	tcase_add_test(tc, a_bootstrapped_database_is_taken_as_it_is);
	tcase_add_test(tc, td_sync_db_may_be_deleted);
	tcase_add_test(tc, a_folder_may_be_unlinked_and_linked_again);
	tcase_add_test(tc, a_folder_linked_to_another_project_takes_its_content_there);
	tcase_add_test(tc, rows_nobody_logged_are_offered);
	tcase_add_loop_test(tc, an_offer_that_was_set_back_is_made_again, 0, 2);
	tcase_add_test(tc, a_row_without_a_proper_id_stops_nothing);
	tcase_add_test(tc, a_row_without_entries_is_sent_before_what_hangs_on_it);
	tcase_add_test(tc, an_issue_that_lags_behind_keeps_its_children);
	tcase_add_test(tc, a_difference_nobody_logged_is_kept_as_a_conflict);
	tcase_add_test(tc, what_is_local_to_the_machine_stays);
	tcase_add_test(tc, an_own_edit_that_no_replica_takes_is_kept_as_a_conflict);
	tcase_add_test(tc, unique_places_are_given_to_those_the_log_says);
	tcase_add_test(tc, a_log_that_was_lost_is_filled_again);
	tcase_add_test(tc, a_lost_log_is_not_filled_with_another_project_s_edits);
	tcase_add_loop_test(tc, a_log_restored_from_a_backup_gets_back_what_it_lost, 0, 3);
	tcase_add_test(tc, a_second_handle_leaves_the_first_its_locks);
	tcase_add_loop_test(tc, what_others_did_without_a_newer_row_is_offered_too, 0, 2);
	tcase_add_loop_test(tc, an_edit_that_was_overtaken_is_not_sent_again, 0, 3);
	tcase_add_loop_test(tc, a_death_at_any_step_loses_and_doubles_nothing, 0,
	                    2 * (int)N_STEPS);
	tcase_add_test(tc, books_that_are_behind_catch_up);
	tcase_add_loop_test(tc, others_may_be_faster_several_times, 0, 2);
	return tc;
}
