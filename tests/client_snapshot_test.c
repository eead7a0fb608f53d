/*
 * A replica that begins with a snapshot: it ends as one that pulled the whole
 * log, keeps what is local, and believes no snapshot that is not what it should
 * be.
 */
#include "client/remote.h"
#include "tests/front.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>

/* A replica that would begin with a snapshot, and has not pulled yet. */
static void
make_new(struct replica *r, const char *name)
{
	threshold = 1;
	replica_make(r, name, "empty-v38.db");
	LINK(r);
	threshold = -1;
}

/* A log of some issues, with what hangs on them. */
static void
make_log(int n)
{
	struct replica a;
	char id[16];

	replica_make(&a, "author", "empty-v38.db");
	LINK(&a);
	for (int i = 0; i < n; i++) {
		snprintf(id, sizeof(id), "td-%06d", i);
		td_create(&a, id, "One of many");
	}
	SYNC(&a);
	ck_assert_int_eq(server_seq(), n);
	replica_close(&a);
}

/* --- by a snapshot and the rest, or by all of it --- */

static const struct {
	const char *history;
	int step;      /* of so many seqs one is tried */
} histories[] = {
	{ "autosync", 1 }, { "conflicts", 1 }, { "team", 1 }, { "versions", 1 },
	{ "legacy", 1 }, { "legacy-backfill", 1 }, { "large", 331 },
};

/* The newest is one of the past. */
static bool
ask_for_past(struct front *f, struct transport_request *rq, struct transport_reply *re,
             enum rc *rc, struct err *err)
{
	static char path[200];

	(void)re;
	(void)rc;
	(void)err;
	snprintf(path, sizeof(path), "%s?at_seq=%lld", rq->path, *(const long long *)f->ctx);
	rq->path = path;
	return false;
}

START_TEST(a_snapshot_of_any_seq_and_the_rest_are_the_whole_log)
{
	const char *h = histories[_i].history;
	char whole[80], log[80], f_db[FIXTURE_PATH], name[24];
	int step = histories[_i].step;
	long long seq, last, n = 0;

#ifdef __SANITIZE_ADDRESS__
	step *= 7;
#endif
	snprintf(whole, sizeof(whole), "replay/%s/after/F.db", h);
	snprintf(log, sizeof(log), "replay/%s/log.jsonl", h);
	if (!fixture_find(whole, f_db) || !fixture_find(log, f_db)) {
		fprintf(stderr, "skipped: no recording %s\n", log);
		return;
	}
	ck_assert(fixture_find(whole, f_db));
	server_load(log);
	last = server_seq();
	for (seq = 1; seq <= last; seq = seq + step > last && seq < last ? last : seq + step) {
		struct replica r;
		struct front f;

		snprintf(name, sizeof(name), "R%lld", n++);
		make_new(&r, name);
		front_use(&r, &f, "/sync/snapshot");
		f.answer = ask_for_past;
		f.ctx = &seq;
		PULL(&r);
		ck_assert_int_eq(r.res.snapshot_seq, seq);
		ck_assert_int_eq(r.res.server_seq, last);
		assert_same_rows(replica_file(&r, "issues.db"), f_db);
		assert_settled(&r);
		replica_close(&r);
		if (n % 50 == 0) /* room */
			ck_assert(system("rm -rf \"$HOME\"/R*") == 0);
	}
}
END_TEST

START_TEST(nothing_but_the_rows_is_the_log_s)
{
	struct replica whole, r;
	char copy[TEMP_PATH + 64];

	server_load("replay/team/log.jsonl");
	replica_make(&whole, "W", "empty-v38.db");
	LINK(&whole);
	SYNC(&whole);
	make_new(&r, "R");
	sql(&r, "INSERT INTO sessions (id, name, started_at) VALUES ('ses_mine', 'x', '2026-01-01');"
	    "INSERT INTO session_state (session_id, focused_issue_id) VALUES ('ses_mine', 'td-1');"
	    "INSERT INTO sync_history (direction, action_type, entity_type, entity_id)"
	    " VALUES ('pull', 'create', 'issues', 'td-old');"
	    "INSERT INTO sync_conflicts (entity_type, entity_id, server_seq, local_data)"
	    " VALUES ('issues', 'td-old', 1, '{}');"
	    "INSERT INTO action_log (id, session_id, action_type, entity_type, entity_id,"
	    " timestamp, undone) VALUES ('al-undone', 's', 'create', 'issue', 'td-gone', 'x', 1);"
	    "CREATE TABLE mine (x); INSERT INTO mine VALUES (7)");
	SYNC(&r);
	ck_assert_int_gt(r.res.snapshot_seq, 600);
	ck_assert_int_eq(r.res.pulled, 0);
	ck_assert_int_eq(r.res.pushed, 0);
	assert_same(&r, &whole);
	assert_settled(&r);
	ck_assert_str_eq(ask(&r, "SELECT (SELECT focused_issue_id FROM session_state"
	                     " WHERE session_id = 'ses_mine') || ' ' ||"
	                     " (SELECT count(*) FROM sync_history WHERE entity_id = 'td-old') ||"
	                     " ' ' || (SELECT count(*) FROM sync_conflicts WHERE"
	                     "  entity_id = 'td-old') || ' ' || (SELECT count(*) FROM action_log)"
	                     " || ' ' || (SELECT x FROM mine)"), "td-1 1 1 1 7");
	ck_assert_str_eq(ask(&r, "PRAGMA journal_mode"), "delete");
	/* As it was: with what was local, without the log's rows. */
	snprintf(copy, sizeof(copy), "%s", replica_file(&r, "issues.db.pre-snapshot-backup"));
	ck_assert(rename(copy, replica_file(&r, "issues.db")) == 0);
	ck_assert_str_eq(ask(&r, "SELECT (SELECT count(*) FROM issues) || ' ' ||"
	                     " (SELECT x FROM mine) || ' ' ||"
	                     " (SELECT last_pulled_server_seq FROM sync_state)"), "0 7 0");
	ck_assert_str_eq(ask(&r, "PRAGMA integrity_check"), "ok");
	ck_assert_int_ne(access(replica_file(&r, "td-sync.snapshot"), F_OK), 0);
	ck_assert_int_ne(access(replica_file(&r, "issues.db.pre-snapshot-backup.new"), F_OK), 0);
	replica_close(&r);
	replica_close(&whole);
}
END_TEST

/* A folder that was unlinked and linked again has all its rows. */
START_TEST(rows_that_are_in_the_snapshot_stay_as_they_are)
{
	static const char local[] = "INSERT INTO issue_session_history (id, issue_id, session_id,"
	    " action) SELECT 'ish-1', min(id), 's', 'started' FROM issues;"
	    "INSERT INTO git_snapshots (id, issue_id, event, commit_sha, branch) SELECT 'gs-1',"
	    " min(id), 'start', 'abc', 'main' FROM issues;"
	    "UPDATE work_sessions SET worktree_root = '/home/user/greenhouse'";
	struct replica whole, r;

	server_load("replay/team/log.jsonl");
	replica_make(&whole, "W", "empty-v38.db");
	LINK(&whole);
	SYNC(&whole);
	sql(&whole, "%s", local);
	replica_close(&whole);
	threshold = 1;
	replica_open(&whole);
	CALL_OK(&whole, tdsync_unlink(whole.t));
	ck_assert(unlink(replica_file(&whole, "td-sync.db")) == 0);
	LINK(&whole);
	SYNC(&whole);
	ck_assert_int_gt(whole.res.snapshot_seq, 0);
	ck_assert_int_eq(whole.res.rows, 0);
	ck_assert_str_eq(ask(&whole, "SELECT (SELECT count(*) FROM issue_session_history) || ' ' ||"
	                     " (SELECT count(*) FROM git_snapshots) || ' ' ||"
	                     " (SELECT count(*) FROM work_sessions WHERE worktree_root <> '') =="
	                     " '1 1 ' || (SELECT count(*) FROM work_sessions)"), "1");
	/* A value that differs, and nobody logged: kept aside, then the log's. */
	CALL_OK(&whole, tdsync_unlink(whole.t));
	ck_assert(unlink(replica_file(&whole, "td-sync.db")) == 0);
	sql(&whole, "DELETE FROM sync_conflicts; UPDATE issues SET title = 'Mine' WHERE id ="
	    " (SELECT min(id) FROM issues)");
	LINK(&whole);
	SYNC(&whole);
	ck_assert_int_gt(whole.res.snapshot_seq, 0);
	ck_assert_str_eq(ask(&whole, "SELECT count(*) FROM sync_conflicts WHERE local_data LIKE"
	                     " '%%\"title\":\"Mine\"%%'"), "1");
	make_new(&r, "R");
	SYNC(&r);
	assert_same(&whole, &r);
	replica_close(&whole);
	replica_close(&r);
}
END_TEST

/* A td that had the database open before writes to it after. */
START_TEST(a_td_at_work_writes_where_it_always_did)
{
	static const char edit[] = "INSERT INTO notes (id, title, content, created_at, updated_at)"
	    " VALUES ('nt-1', 'Mine', '', '2026-01-01', '2026-01-01');"
	    "INSERT INTO action_log (id, session_id, action_type, entity_type, entity_id,"
	    " new_data, timestamp, undone) VALUES ('al-1', 's', 'create', 'notes', 'nt-1',"
	    " '{\"id\":\"nt-1\",\"title\":\"Mine\",\"content\":\"\",\"created_at\":\"2026-01-01\","
	    "\"updated_at\":\"2026-01-01\"}', '2026-01-01', 0)";
	struct replica r, other;
	sqlite3 *td;

	make_log(5);
	make_new(&r, "R");
	td = replica_db(&r);
	ck_assert(sqlite3_exec(td, "SELECT count(*) FROM issues", NULL, NULL, NULL) == SQLITE_OK);
	SYNC(&r);
	ck_assert_int_eq(r.res.snapshot_seq, 5);
	ck_assert(sqlite3_exec(td, edit, NULL, NULL, NULL) == SQLITE_OK);
	sqlite3_close(td);
	SYNC(&r);
	ck_assert_int_eq(r.res.pushed, 1);
	make_new(&other, "O");
	SYNC(&other);
	ck_assert_str_eq(ask(&other, "SELECT title FROM notes"), "Mine");
	replica_close(&r);
	replica_close(&other);
}
END_TEST

/* --- when it is due --- */

static const struct {
	int events, given;
	const char *env;
	bool begins;
} thresholds[] = {
	{ 4, 5, NULL, false }, { 5, 5, NULL, true }, { 6, 5, NULL, true },
	{ 5, -1, NULL, false }, { 5, -1, "1", false }, { 5, 6, "1", false },
	{ 5, 0, "5", true }, { 5, 0, "6", false }, { 5, 0, "0", false }, { 5, 0, "1", true },
	{ 99, 0, NULL, false }, { 100, 0, NULL, true }, { 100, 0, "", true },
};

START_TEST(the_threshold_is_the_caller_s_the_environment_s_or_td_s)
{
	struct replica r;
	int n = thresholds[_i].events;

	make_log(n);
	if (thresholds[_i].env != NULL)
		setenv("TD_SYNC_SNAPSHOT_THRESHOLD", thresholds[_i].env, 1);
	threshold = thresholds[_i].given;
	replica_make(&r, "R", "empty-v38.db");
	threshold = -1;
	LINK(&r);
	SYNC(&r);
	ck_assert_int_eq(r.res.snapshot_seq, thresholds[_i].begins ? n : 0);
	ck_assert_int_eq(r.res.pulled, thresholds[_i].begins ? 0 : n);
	ck_assert_str_eq(ask(&r, "SELECT count(*) FROM issues"), ask(&r, "SELECT %d", n));
	ck_assert_int_eq(access(replica_file(&r, "issues.db.pre-snapshot-backup"), F_OK),
	                 thresholds[_i].begins ? 0 : -1);
	replica_close(&r);
}
END_TEST

START_TEST(a_threshold_that_is_no_number_is_told)
{
	static const char *const bad[] = { "many", "-1", "1x", "99999999999999999999", "2147483648" };
	struct tdsync_options o = { .dir = temp, .url = "http://x", .token = "t" };
	char error[256];
	struct tdsync *t;

	setenv("TD_SYNC_SNAPSHOT_THRESHOLD", bad[_i], 1);
	ck_assert_int_eq(tdsync_open(&o, &t, error, sizeof(error)), TDSYNC_INVALID);
	ck_assert_ptr_nonnull(strstr(error, "TD_SYNC_SNAPSHOT_THRESHOLD"));
	setenv("TD_SYNC_SNAPSHOT_THRESHOLD", "2147483647", 1);
	ck_assert_int_eq(tdsync_open(&o, &t, error, sizeof(error)), TDSYNC_OK);
	tdsync_close(t);
}
END_TEST

static const struct {
	const char *why, *sql;
} local_things[] = {
	{ "an action that was not sent", "INSERT INTO notes (id, title, content, created_at,"
	  " updated_at) VALUES ('nt-1', 'Mine', '', '2026', '2026'); INSERT INTO action_log (id,"
	  " session_id, action_type, entity_type, entity_id, new_data, timestamp, undone) VALUES"
	  " ('al-1', 's', 'create', 'notes', 'nt-1', '{\"id\":\"nt-1\",\"title\":\"Mine\","
	  "\"content\":\"\",\"created_at\":\"2026\",\"updated_at\":\"2026\"}', '2026-01-01', 0)" },
	{ "a row that nobody logged", "INSERT INTO notes (id, title, content, created_at,"
	  " updated_at) VALUES ('nt-1', 'Mine', '', '2026', '2026')" },
};

START_TEST(what_is_only_here_makes_it_pull_the_log)
{
	struct replica r, other;

	make_log(5);
	make_new(&r, "R");
	sql(&r, "%s", local_things[_i].sql);
	SYNC(&r);
	ck_assert_int_eq(r.res.snapshot_seq, 0);
	ck_assert_int_eq(r.res.pushed, 1);
	ck_assert_int_ne(access(replica_file(&r, "issues.db.pre-snapshot-backup"), F_OK), 0);
	ck_assert_int_ne(access(replica_file(&r, "td-sync.snapshot"), F_OK), 0);
	make_new(&other, "O");
	SYNC(&other);
	assert_same(&r, &other);
	ck_assert_str_eq(ask(&other, "SELECT title FROM notes"), "Mine");
	replica_close(&r);
	replica_close(&other);
}
END_TEST

START_TEST(who_meets_another_at_it_pulls_the_log)
{
	struct replica r;
	int fd;

	make_log(5);
	make_new(&r, "R");
	fd = open(replica_file(&r, "td-sync.snapshot"), O_RDWR | O_CREAT, 0600);
	ck_assert(fd >= 0 && write(fd, "half of it", 10) == 10 && flock(fd, LOCK_EX) == 0);
	SYNC(&r);
	ck_assert_int_eq(r.res.snapshot_seq, 0);
	ck_assert_int_eq(r.res.pulled, 5);
	ck_assert_int_eq(lseek(fd, 0, SEEK_END), 10); /* the other's file, untouched */
	close(fd);
	replica_close(&r);

	/* One that was left by who died is nobody's. */
	make_new(&r, "S");
	fd = open(replica_file(&r, "td-sync.snapshot"), O_RDWR | O_CREAT, 0600);
	ck_assert(fd >= 0 && write(fd, "half of it", 10) == 10 && close(fd) == 0);
	SYNC(&r);
	ck_assert_int_eq(r.res.snapshot_seq, 5);
	ck_assert_int_ne(access(replica_file(&r, "td-sync.snapshot"), F_OK), 0);
	replica_close(&r);
}
END_TEST

/* --- bad snapshots --- */

/* What becomes of the file, or of what is told of it. */
static char *bytes;
static size_t n_bytes;

static void
read_file(const struct transport_request *rq)
{
	struct transport_file *f = rq->file;

	n_bytes = (size_t)f->have;
	bytes = malloc(n_bytes + 1);
	ck_assert(bytes != NULL && pread(f->fd, bytes, n_bytes, 0) == (ssize_t)n_bytes);
}

static void
put_file(const struct transport_request *rq, const void *p, size_t n)
{
	struct transport_file *f = rq->file;

	ck_assert(ftruncate(f->fd, 0) == 0 && pwrite(f->fd, p, n, 0) == (ssize_t)n);
	f->have = (int64_t)n;
}

/* SQL in the file, and optionally the digest made right again. */
static void
change_file(const struct transport_request *rq, const char *change)
{
	char path[TEMP_PATH + 16], *why = NULL;
	struct buf b = { 0 };
	struct err err;
	sqlite3 *db;
	FILE *f;

	snprintf(path, sizeof(path), "%s/changed.db", temp);
	unlink(path);
	read_file(rq);
	f = fopen(path, "wb");
	ck_assert(f != NULL && fwrite(bytes, 1, n_bytes, f) == n_bytes && fclose(f) == 0);
	ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
	sqlite3_exec(db, "PRAGMA writable_schema = ON", NULL, NULL, NULL);
	ck_assert_msg(sqlite3_exec(db, change, NULL, NULL, &why) == SQLITE_OK, "%s", why);
	sqlite3_close(db);
	ck_assert_msg(fs_read(path, 64 << 20, &b, &err) == RC_OK, "%s", err.text);
	put_file(rq, b.p, b.len);
	buf_free(&b);
	free(bytes);
}

static void
cut(const struct transport_request *rq, struct transport_reply *re)
{
	(void)re;
	read_file(rq);
	put_file(rq, bytes, n_bytes / 2);
	free(bytes);
}

static void
cut_within_a_page(const struct transport_request *rq, struct transport_reply *re)
{
	(void)re;
	read_file(rq);
	put_file(rq, bytes, n_bytes - 1);
	free(bytes);
}

static void
cut_to_nothing(const struct transport_request *rq, struct transport_reply *re)
{
	(void)re;
	put_file(rq, "", 0);
}

static void
add_more(const struct transport_request *rq, struct transport_reply *re)
{
	(void)re;
	read_file(rq);
	bytes[n_bytes] = 'x';
	put_file(rq, bytes, n_bytes + 1);
	free(bytes);
}

static void
overwrite_a_page(const struct transport_request *rq, struct transport_reply *re)
{
	(void)re;
	read_file(rq);
	memset(bytes + 4096, 0xa5, 4096);
	put_file(rq, bytes, n_bytes);
	free(bytes);
}

static void
send_zip(const struct transport_request *rq, struct transport_reply *re)
{
	static const char zip[4096] = "PK\003\004\024";

	(void)re;
	put_file(rq, zip, sizeof(zip));
}

static void
send_html(const struct transport_request *rq, struct transport_reply *re)
{
	static const char page[] = "<html>Welcome to our hotel!</html>";

	put_file(rq, page, sizeof(page) - 1);
	snprintf(re->content_type, sizeof(re->content_type), "text/html");
}

/* The same, of a front end that says that all is of one type. */
static void
send_html_as_it(const struct transport_request *rq, struct transport_reply *re)
{
	send_html(rq, re);
	snprintf(re->content_type, sizeof(re->content_type), "application/x-sqlite3");
}

static void
use_wal(const struct transport_request *rq, struct transport_reply *re)
{
	(void)re;
	read_file(rq);
	bytes[18] = bytes[19] = 2;
	put_file(rq, bytes, n_bytes);
	free(bytes);
}

static void
add_a_row(const struct transport_request *rq, struct transport_reply *re)
{
	(void)re;
	change_file(rq, "INSERT INTO issues (id, title) VALUES ('td-ffffff', 'x')");
}

static void
change_a_value(const struct transport_request *rq, struct transport_reply *re)
{
	(void)re;
	change_file(rq, "UPDATE issues SET title = 'x' WHERE id = 'td-000002'");
}

static void
leave_an_orphan(const struct transport_request *rq, struct transport_reply *re)
{
	(void)re;
	change_file(rq, "PRAGMA foreign_keys = OFF; INSERT INTO comments (id, issue_id, session_id,"
	            " text) VALUES ('cm-1', 'td-none', 's', 'x')");
}

static void
use_another_digest(const struct transport_request *rq, struct transport_reply *re)
{
	(void)rq;
	re->snapshot_digest[5] = re->snapshot_digest[5] == '0' ? '1' : '0';
}

static void
use_a_short_digest(const struct transport_request *rq, struct transport_reply *re)
{
	(void)rq;
	re->snapshot_digest[63] = '\0';
}

static void
use_no_digest(const struct transport_request *rq, struct transport_reply *re)
{
	(void)rq;
	re->snapshot_digest[0] = '\0';
}

static void
use_no_seq(const struct transport_request *rq, struct transport_reply *re)
{
	(void)rq;
	re->snapshot_seq = 0;
}

static void
use_absurd_seq(const struct transport_request *rq, struct transport_reply *re)
{
	(void)rq;
	re->snapshot_seq = INT64_MAX;
}

static void
use_next_seq(const struct transport_request *rq, struct transport_reply *re)
{
	(void)rq;
	re->snapshot_seq++;
}

static void
use_another_log(const struct transport_request *rq, struct transport_reply *re)
{
	(void)rq;
	memset(re->log_id, 'a', 32);
}

static void
use_an_odd_log(const struct transport_request *rq, struct transport_reply *re)
{
	(void)rq;
	re->log_id[31] = '\0';
}

/* What a Go server's has: neither log id nor digest. */
static void
say_nothing(const struct transport_request *rq, struct transport_reply *re)
{
	(void)rq;
	re->log_id[0] = re->snapshot_digest[0] = re->log_last[0] = '\0';
}

static void
use_another_schema(const struct transport_request *rq, struct transport_reply *re)
{
	(void)re;
	change_file(rq, "UPDATE schema_info SET value = '39' WHERE key = 'version'");
}

static void
use_another_column(const struct transport_request *rq, struct transport_reply *re)
{
	(void)re;
	change_file(rq, "ALTER TABLE notes ADD COLUMN colour TEXT DEFAULT ''");
}

static void
lack_a_table(const struct transport_request *rq, struct transport_reply *re)
{
	(void)re;
	change_file(rq, "DROP TABLE notes");
}

static void
be_another_database(const struct transport_request *rq, struct transport_reply *re)
{
	(void)re;
	change_file(rq, "DROP TABLE schema_info; CREATE TABLE recipes (x)");
}

static void
show_a_view(const struct transport_request *rq, struct transport_reply *re)
{
	(void)re;
	change_file(rq, "ALTER TABLE notes RENAME TO n; CREATE VIEW notes AS SELECT * FROM n");
}

/* Whose rows are another project's, and so is all that is told of them. */
static void
be_another_project_s(const struct transport_request *rq, struct transport_reply *re)
{
	struct transport_request other = *rq;
	struct transport *t;
	struct err err;

	ck_assert(direct_project(temp, "p_00000000000000bb", &err) == RC_OK);
	ck_assert(transport_direct(temp, "u_0000000000000001", &t, &err) == RC_OK);
	{
		/* It needs an event. */
		static const char event[] = "{\"device_id\":\"d\",\"session_id\":\"s\",\"events\":["
		    "{\"client_action_id\":1,\"action_type\":\"create\",\"entity_type\":\"issues\","
		    "\"entity_id\":\"td-0000bb\",\"payload\":{\"new_data\":{\"id\":\"td-0000bb\","
		    "\"title\":\"Theirs\"}},\"client_timestamp\":\"2026-01-01T00:00:00Z\"}]}";
		struct transport_request push = { .method = "POST",
			.path = "/v1/projects/p_00000000000000bb/sync/push", .token = "t",
			.body = span_of(event) };
		struct transport_reply acked = { 0 };

		ck_assert(t->send(t, &push, &acked, &err) == RC_OK && acked.status == 200);
		transport_reply_free(&acked);
	}
	other.path = "/v1/projects/p_00000000000000bb/sync/snapshot";
	transport_reply_free(re);
	ck_assert(t->send(t, &other, re, &err) == RC_OK && re->status == 200);
	t->free(t);
}

/* ... and only the rows are. */
static void
have_another_project_s_rows(const struct transport_request *rq, struct transport_reply *re)
{
	struct transport_reply right = *re;

	*re = (struct transport_reply){ 0 };
	be_another_project_s(rq, re);
	transport_reply_free(re);
	*re = right;
}

static const struct {
	const char *why;
	void (*what)(const struct transport_request *rq, struct transport_reply *re);
	const char *says; /* NULL: not for us, the log is pulled */
} snapshots[] = {
	{ "half of it", cut, "not as long as it says" },
	{ "a byte short", cut_within_a_page, "not as long as it says" },
	{ "an empty file", cut_to_nothing, "no SQLite database" },
	{ "a byte more", add_more, "not as long as it says" },
	{ "a page overwritten", overwrite_a_page, "damaged" },
	{ "a zip", send_zip, "no SQLite database" },
	{ "an HTML page", send_html, "text/html" },
	{ "an HTML page of that type", send_html_as_it, "no SQLite database" },
	{ "in WAL mode", use_wal, "WAL mode" },
	{ "a row more", add_a_row, "not those of its digest" },
	{ "another value", change_a_value, "not those of its digest" },
	{ "an orphan", leave_an_orphan, "without their parents" },
	{ "another digest", use_another_digest, "not those of its digest" },
	{ "a digest cut off", use_a_short_digest, "no proper seq, log id and digest" },
	{ "no digest", use_no_digest, "no proper seq, log id and digest" },
	{ "no seq", use_no_seq, "no proper seq, log id and digest" },
	{ "an absurd seq", use_absurd_seq, "events that the log has not" },
	{ "the next seq", use_next_seq, "events that the log has not" },
	{ "another log", use_another_log, "of another log" },
	{ "an odd log id", use_an_odd_log, "no proper seq, log id and digest" },
	{ "another project's", be_another_project_s, "of another log" },
	{ "another project's rows", have_another_project_s_rows, "not those of its digest" },
	{ "a Go server's", say_nothing, NULL },
	{ "another schema", use_another_schema, NULL },
	{ "another column", use_another_column, NULL },
	{ "a table less", lack_a_table, NULL },
	{ "a view for a table", show_a_view, NULL },
	{ "another database", be_another_database, NULL },
};

static void
spoil(struct front *f, const struct transport_request *rq, struct transport_reply *re)
{
	snapshots[*(const int *)f->ctx].what(rq, re);
}

static void
keep_aside(const struct replica *r)
{
	char cmd[4 * TEMP_PATH];

	snprintf(cmd, sizeof(cmd), "cp %s/.todos/issues.db %s/aside.db", r->dir, temp);
	ck_assert_int_eq(system(cmd), 0);
}

static void
assert_as_aside(const struct replica *r)
{
	char cmd[4 * TEMP_PATH];

	snprintf(cmd, sizeof(cmd), "cmp %s/.todos/issues.db %s/aside.db && test ! -e"
	         " %s/.todos/td-sync.snapshot", r->dir, temp, r->dir);
	ck_assert_int_eq(system(cmd), 0);
	ck_assert_str_eq(ask_books(r, "SELECT (SELECT cursor FROM replica) ||"
	                           " (SELECT count(*) FROM issues) || (SELECT count(*) FROM held)"),
	                 "000");
	ck_assert_int_ne(access(replica_file(r, "issues.db.pre-snapshot-backup"), F_OK), 0);
}

START_TEST(a_snapshot_that_is_no_good_is_one_line_and_changes_nothing)
{
	struct replica r, whole;
	struct front f;

	make_log(5);
	replica_make(&whole, "W", "empty-v38.db");
	LINK(&whole);
	SYNC(&whole);
	make_new(&r, "R");
	keep_aside(&r);
	front_use(&r, &f, "/sync/snapshot");
	f.after = spoil;
	f.ctx = &_i;
	if (snapshots[_i].says == NULL) {
		SYNC(&r);
		ck_assert_int_eq(r.res.snapshot_seq, 0);
		ck_assert_int_eq(r.res.pulled, 5);
	} else {
		ck_assert_msg(tdsync_sync(r.t, &r.res) == TDSYNC_NETWORK, "%s: %s",
		              snapshots[_i].why, tdsync_error(r.t));
		ck_assert_msg(strstr(tdsync_error(r.t), snapshots[_i].says) != NULL &&
		              strchr(tdsync_error(r.t), '\n') == NULL, "%s: %s",
		              snapshots[_i].why, tdsync_error(r.t));
		assert_as_aside(&r);
		f.after = NULL;
		SYNC(&r);
		ck_assert_int_eq(r.res.snapshot_seq, 5);
	}
	assert_same(&r, &whole);
	assert_settled(&r);
	replica_close(&r);
	replica_close(&whole);
}
END_TEST

/* A bit at some place. */
static size_t flipped;

static void
flip(struct front *f, const struct transport_request *rq, struct transport_reply *re)
{
	(void)f;
	(void)re;
	read_file(rq);
	ck_assert_uint_lt(flipped, n_bytes);
	bytes[flipped] ^= (char)(1 << flipped % 8);
	put_file(rq, bytes, n_bytes);
	free(bytes);
}

START_TEST(a_flipped_bit_is_found_or_changes_nothing)
{
	struct replica whole;
	size_t size, step = 1499;
	int found = 0, n = 0;
	struct stat st;

#ifdef __SANITIZE_ADDRESS__
	step *= 7;
#endif
	make_log(20);
	replica_make(&whole, "W", "empty-v38.db");
	LINK(&whole);
	SYNC(&whole);
	ck_assert(stat(replica_file(&whole, "issues.db"), &st) == 0);
	size = 4096 * 40; /* the first pages have the schema, then come rows */
	for (flipped = 0; flipped < size; flipped += flipped < 100 ? 1 : step) {
		struct replica r;
		struct front f;
		char name[16];

		snprintf(name, sizeof(name), "R%d", n++);
		make_new(&r, name);
		keep_aside(&r);
		front_use(&r, &f, "/sync/snapshot");
		f.after = flip;
		if (tdsync_sync(r.t, &r.res) == TDSYNC_OK) {
			assert_same(&r, &whole);
			assert_settled(&r);
		} else {
			found++;
			ck_assert(strchr(tdsync_error(r.t), '\n') == NULL);
			assert_as_aside(&r);
		}
		replica_close(&r);
	}
	ck_assert_int_gt(found, 30);
	replica_close(&whole);
}
END_TEST

/* --- on the way --- */

static bool
refuse_snapshots(struct front *f, struct transport_request *rq, struct transport_reply *re,
                 enum rc *rc, struct err *err)
{
	static const struct { int status; const char *type, *body; } refusals[] = {
		{ 404, NULL, "{\"error\":{\"code\":\"no_events\",\"message\":\"none\"}}" },
		{ 404, "text/plain", "404 page not found" },
		{ 405, "text/plain", "Method Not Allowed" },
	};
	int i = *(const int *)f->ctx;

	(void)rq;
	(void)rc;
	(void)err;
	front_reply(re, refusals[i].status, refusals[i].type, refusals[i].body);
	return true;
}

START_TEST(a_server_without_snapshots_has_its_log)
{
	struct replica r;
	struct front f;

	make_log(5);
	make_new(&r, "R");
	front_use(&r, &f, "/sync/snapshot");
	f.answer = refuse_snapshots;
	f.ctx = &_i;
	SYNC(&r);
	ck_assert_int_eq(f.asked, 1);
	ck_assert_int_eq(r.res.pulled, 5);
	replica_close(&r);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("client_snapshot");
	TCase *tc = tcase_create("snapshots");
	SRunner *sr;
	int failed;

	/* What is lost with the power is not what this is about; and a thousand
	 * replicas take their time. */
	if (getenv("TMPDIR") == NULL && access("/dev/shm", W_OK) == 0)
		setenv("TMPDIR", "/dev/shm", 1);
	sqlite3_config(SQLITE_CONFIG_SINGLETHREAD);
	sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);

	tcase_add_checked_fixture(tc, replica_setup, replica_teardown);
	tcase_set_timeout(tc, 300);
	tcase_add_loop_test(tc, a_snapshot_of_any_seq_and_the_rest_are_the_whole_log, 0,
	                    sizeof(histories) / sizeof(histories[0]));
	tcase_add_test(tc, nothing_but_the_rows_is_the_log_s);
	tcase_add_test(tc, rows_that_are_in_the_snapshot_stay_as_they_are);
	tcase_add_test(tc, a_td_at_work_writes_where_it_always_did);
	tcase_add_loop_test(tc, the_threshold_is_the_caller_s_the_environment_s_or_td_s, 0,
	                    sizeof(thresholds) / sizeof(thresholds[0]));
	tcase_add_loop_test(tc, a_threshold_that_is_no_number_is_told, 0, 5);
	tcase_add_loop_test(tc, what_is_only_here_makes_it_pull_the_log, 0,
	                    sizeof(local_things) / sizeof(local_things[0]));
	tcase_add_test(tc, who_meets_another_at_it_pulls_the_log);
	tcase_add_loop_test(tc, a_snapshot_that_is_no_good_is_one_line_and_changes_nothing, 0,
	                    sizeof(snapshots) / sizeof(snapshots[0]));
	tcase_add_test(tc, a_flipped_bit_is_found_or_changes_nothing);
	tcase_add_loop_test(tc, a_server_without_snapshots_has_its_log, 0, 3);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
