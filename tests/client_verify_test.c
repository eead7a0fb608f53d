/* A replica that checks itself against the server. */
#include "tests/client_test.h"
#include "tests/front.h"

#include <stdlib.h>

/* All findings, a line each. */
static struct buf found;
static struct tdsync_verification verified;

static void
add_found(void *ctx, const struct tdsync_difference *d)
{
	static const char *const names[] = { "state", "row", "columns" };

	(void)ctx;
	buf_addf(&found, "%s %s %s %s %s|%s\n", names[d->finding], d->table, d->id, d->column,
	         d->here == NULL ? "-" : d->here, d->there == NULL ? "-" : d->there);
}

static const char *
verify(const struct replica *r)
{
	buf_reset(&found);
	CALL_OK(r, tdsync_verify(r->t, add_found, NULL, &verified));
	return found.len == 0 ? "" : buf_cstr(&found);
}

static void
change_books(const struct replica *r, const char *change)
{
	char *why = NULL;
	sqlite3 *db;

	ck_assert_int_eq(sqlite3_open(replica_file(r, "td-sync.db"), &db), SQLITE_OK);
	ck_assert_msg(sqlite3_exec(db, change, NULL, NULL, &why) == SQLITE_OK, "%s", why);
	sqlite3_close(db);
}

/* A replica of a recorded log. */
static void
make_team(struct replica *r)
{
	server_load("replay/team/log.jsonl");
	replica_make(r, "R", "empty-v38.db");
	LINK(r);
	SYNC(r);
}

START_TEST(a_replica_in_step_is_found_so)
{
	struct replica r;

	threshold = _i == 0 ? -1 : 1;
	make_team(&r);
	ck_assert_str_eq(verify(&r), "");
	ck_assert_int_eq(verified.server_seq, 698);
	ck_assert_int_eq(verified.tables, 12);
	ck_assert_int_gt(verified.rows, 100);
	ck_assert_int_eq(verified.differences, 0);
	/* With something that waits to be sent. */
	td_create(&r, "td-00000a", "Mine");
	td_update(&r, ask(&r, "SELECT min(id) FROM issues"), "title", "Mine too");
	td_log(&r, "create", "issue", "td-none", "", "{}");
	ck_assert_str_eq(verify(&r), "");
	SYNC(&r);
	ck_assert_str_eq(verify(&r), "");
	ck_assert_int_eq(verified.server_seq, 700); /* one is parked */
	replica_close(&r);
}
END_TEST

START_TEST(an_empty_log_has_a_digest_too)
{
	struct replica r;

	replica_make(&r, "R", "empty-v38.db");
	LINK(&r);
	ck_assert_str_eq(verify(&r), "");
	ck_assert_int_eq(verified.server_seq, 0);
	ck_assert_int_eq(verified.tables, 12);
	replica_close(&r);
}
END_TEST

/* One that brings news is pulled first. */
START_TEST(it_pulls_first)
{
	struct replica a, b;

	replica_make(&a, "A", "empty-v38.db");
	replica_make(&b, "B", "empty-v38.db");
	LINK(&a);
	LINK(&b);
	td_create(&a, "td-00000a", "One");
	SYNC(&a);
	ck_assert_str_eq(verify(&b), "");
	ck_assert_int_eq(verified.server_seq, 1);
	ck_assert_str_eq(ask(&b, "SELECT title FROM issues"), "One");
	replica_close(&a);
	replica_close(&b);
}
END_TEST

static const struct {
	const char *why, *books, *td, *found;
} spoilt[] = {
	{ "a value here", "UPDATE notes SET title = 'x\"y' WHERE id = 'nt-1'", NULL,
	  "state notes nt-1 title \"x\\\"y\"|\"One\"\nrow notes nt-1 title \"One\"|\"x\\\"y\"\n" },
	{ "a number that became a text", "UPDATE notes SET pinned = x'30' WHERE id = 'nt-1'", NULL,
	  "state notes nt-1 pinned \"0\"|0\nrow notes nt-1 pinned 0|\"0\"\n" },
	{ "a row is gone here", "DELETE FROM notes WHERE id = 'nt-1'", NULL,
	  "state notes nt-1  -|\nrow notes nt-1  |-\n" },
	{ "a row more here", "INSERT INTO notes (id, title, content, created_at, updated_at)"
	  " VALUES ('nt-0', '', '', '2026', '2026')", NULL,
	  "state notes nt-0  |-\nrow notes nt-0  -|\n" },
	{ "a value of td's", NULL, "UPDATE notes SET title = 'x' WHERE id = 'nt-2'",
	  "row notes nt-2 title \"x\"|\"Two\"\n" },
	{ "NULL in td's", NULL, "UPDATE notes SET deleted_at = '2026-01-01' WHERE id = 'nt-2'",
	  "row notes nt-2 deleted_at \"2026-01-01\"|null\n" },
	{ "a row that td lost", NULL, "DELETE FROM notes WHERE id = 'nt-2'",
	  "row notes nt-2  -|\n" },
	{ "a row that the log removed", NULL, "INSERT INTO notes (id, title, content, created_at,"
	  " updated_at) VALUES ('nt-3', '', '', '2026', '2026')", "row notes nt-3  |-\n" },
	{ "a row that the log never held", NULL, "INSERT INTO notes (id, title, content,"
	  " created_at, updated_at) VALUES ('nt-4', '', '', '2026', '2026')", "" },
	{ "another spelling of a time", "UPDATE notes SET created_at = '2026-01-01T01:00:00+01:00'",
	  "UPDATE notes SET created_at = '2026-01-01'", "" },
};

/* A replica with two notes, of another device; a third one is gone. */
static void
make_notes(struct replica *r)
{
	static const char notes[] = "{\"client_action_id\":1,\"action_type\":\"create\","
	    "\"entity_type\":\"notes\",\"entity_id\":\"nt-1\",\"payload\":{\"new_data\":{\"id\":"
	    "\"nt-1\",\"title\":\"One\",\"content\":\"\",\"created_at\":\"2026-01-01T00:00:00Z\","
	    "\"updated_at\":\"2026-01-01T00:00:00Z\"}},\"client_timestamp\":"
	    "\"2026-01-01T00:00:00Z\"},{\"client_action_id\":2,\"action_type\":\"create\","
	    "\"entity_type\":\"notes\",\"entity_id\":\"nt-2\",\"payload\":{\"new_data\":{\"id\":"
	    "\"nt-2\",\"title\":\"Two\",\"content\":\"\",\"created_at\":\"2026-01-01T00:00:00Z\","
	    "\"updated_at\":\"2026-01-01T00:00:00Z\"}},\"client_timestamp\":"
	    "\"2026-01-01T00:00:00Z\"},{\"client_action_id\":3,\"action_type\":\"create\","
	    "\"entity_type\":\"notes\",\"entity_id\":\"nt-3\",\"payload\":{\"new_data\":{\"id\":"
	    "\"nt-3\",\"title\":\"Gone\"}},\"client_timestamp\":\"2026-01-01T00:00:00Z\"},"
	    "{\"client_action_id\":4,\"action_type\":\"delete\",\"entity_type\":\"notes\","
	    "\"entity_id\":\"nt-3\",\"payload\":{},\"client_timestamp\":"
	    "\"2026-01-01T00:00:00Z\"}";

	server_push("device-other", "ses_other", span_of(notes));
	replica_make(r, "R", "empty-v38.db");
	LINK(r);
	SYNC(r);
}

START_TEST(what_is_otherwise_is_named)
{
	const char *says;
	struct replica r;

	make_notes(&r);
	if (spoilt[_i].books != NULL)
		change_books(&r, spoilt[_i].books);
	if (spoilt[_i].td != NULL)
		sql(&r, "%s", spoilt[_i].td);
	says = verify(&r);
	ck_assert_msg(strcmp(says, spoilt[_i].found) == 0, "%s: %s", spoilt[_i].why, says);
	ck_assert_int_eq(verified.differences, (spoilt[_i].found[0] != '\0') +
	                 (strstr(says, "\nrow") != NULL));
	ck_assert_int_ne(access(replica_file(&r, "td-sync.snapshot"), F_OK), 0);
	/* It only looks. */
	ck_assert_str_eq(verify(&r), spoilt[_i].found);
	/* What mends it: the state is made again from the log. */
	ck_assert(unlink(replica_file(&r, "td-sync.db")) == 0);
	SYNC(&r);
	ck_assert_str_eq(verify(&r), "");
	replica_close(&r);
}
END_TEST

/* --- other versions --- */

static bool
say_otherwise(struct front *f, struct transport_request *rq, struct transport_reply *re,
              enum rc *rc, struct err *err)
{
	static const char ours[] = "\"pinned\"", theirs[] = "\"colour\"";
	char *p;

	*rc = f->real->send(f->real, rq, re, err);
	p = memmem(re->body.p, re->body.len, ours, strlen(ours));
	ck_assert_ptr_nonnull(p);
	memcpy(p, theirs, strlen(theirs)); /* of the same length */
	return true;
}

START_TEST(columns_that_one_side_lacks_are_no_alarm)
{
	struct replica r;
	struct front f;

	make_notes(&r);
	front_use(&r, &f, "/sync/digest");
	f.answer = say_otherwise;
	ck_assert_str_eq(verify(&r), "columns notes  pinned, colour -|-\n");
	ck_assert_int_eq(verified.tables, 11);
	ck_assert_int_eq(verified.differences, 0);
	replica_close(&r);
}
END_TEST

START_TEST(an_older_td_is_compared_in_what_it_has)
{
	static const char *const files[] = { "nightshift-v27.db", "sindri-v31.db" };
	char path[FIXTURE_PATH];
	struct replica old;

	if (!fixture_find(files[_i], path)) {
		fprintf(stderr, "skipped: no recording %s\n", files[_i]);
		return;
	}
	replica_make(&old, "old", files[_i]);
	LINK(&old);
	SYNC(&old);
	ck_assert_ptr_nonnull(strstr(verify(&old), "columns "));
	ck_assert_ptr_null(strstr(verify(&old), "state "));
	ck_assert_ptr_null(strstr(verify(&old), "row "));
	ck_assert_int_eq(verified.differences, 0);
	ck_assert_int_eq(verified.tables, 12);
	sql(&old, "UPDATE issues SET title = 'x' WHERE id = (SELECT min(id) FROM issues)");
	ck_assert_ptr_nonnull(strstr(verify(&old), "row issues "));
	ck_assert_int_eq(verified.differences, 1);
	replica_close(&old);
}
END_TEST

/* --- the server --- */

static int to_come;

/* Others push between the pull and the question. */
static bool
push_meanwhile(void *ctx, const char *name)
{
	static const char event[] = "{\"client_action_id\":%d,\"action_type\":\"create\","
	    "\"entity_type\":\"notes\",\"entity_id\":\"nt-m%d\",\"payload\":{\"new_data\":{\"id\":"
	    "\"nt-m%d\",\"title\":\"x\"}},\"client_timestamp\":\"2026-01-01T00:00:00Z\"}";
	struct buf b = { 0 };

	(void)ctx;
	if (strcmp(name, "verify.pulled") == 0 && to_come-- > 0) {
		buf_addf(&b, event, 100 + to_come, to_come, to_come);
		server_push("device-other", "ses_other", buf_span(&b));
		buf_free(&b);
	}
	return true;
}

START_TEST(a_log_that_moves_on_is_followed_for_a_while)
{
	struct replica r;

	make_notes(&r);
	tdsync_on_step(r.t, push_meanwhile, NULL);
	to_come = 4;
	ck_assert_str_eq(verify(&r), "");
	ck_assert_int_eq(verified.server_seq, 8);
	to_come = 1000;
	ck_assert_int_eq(tdsync_verify(r.t, add_found, NULL, &verified), TDSYNC_BUSY);
	ck_assert_ptr_nonnull(strstr(tdsync_error(r.t), "moves on"));
	replica_close(&r);
}
END_TEST

static const struct {
	const char *why;
	int status;
	const char *type, *body;
	enum tdsync_rc rc;
	const char *says;
} answers[] = {
	{ "a server without such a route", 404, "text/plain", "404 page not found",
	  TDSYNC_REFUSED, "no digests" },
	{ "one that has another method", 405, "text/plain", "no", TDSYNC_REFUSED, "no digests" },
	{ "busy", 503, NULL, "{\"error\":{\"code\":\"busy\",\"message\":\"being made\"}}",
	  TDSYNC_BUSY, "being made" },
	{ "HTML", 200, "text/html", "<html>", TDSYNC_NETWORK, "text/html" },
	{ "nothing", 200, NULL, "{}", TDSYNC_NETWORK, "makes no sense" },
	{ "another seq", 200, NULL, "{\"server_seq\":1,\"tables\":[]}", TDSYNC_NETWORK,
	  "makes no sense" },
	{ "no tables", 200, NULL, "{\"server_seq\":4,\"tables\":{}}", TDSYNC_NETWORK,
	  "makes no sense" },
	{ "an odd table", 200, NULL, "{\"server_seq\":4,\"tables\":[{\"table\":\"notes\"}]}",
	  TDSYNC_NETWORK, "makes no sense" },
	{ "another log", 409, NULL, "{\"error\":{\"code\":\"log_changed\",\"message\":\"x\"}}",
	  TDSYNC_LOG_CHANGED, "restored or replaced" },
};

static bool
answer_so(struct front *f, struct transport_request *rq, struct transport_reply *re,
          enum rc *rc, struct err *err)
{
	int i = *(const int *)f->ctx;

	(void)rq;
	(void)rc;
	(void)err;
	front_reply(re, answers[i].status, answers[i].type, answers[i].body);
	return true;
}

START_TEST(every_bad_digest_is_one_line)
{
	struct replica r;
	struct front f;
	enum tdsync_rc rc;

	make_notes(&r);
	front_use(&r, &f, "/sync/digest");
	f.answer = answer_so;
	f.ctx = &_i;
	buf_reset(&found);
	rc = tdsync_verify(r.t, add_found, NULL, &verified);
	ck_assert_msg(rc == answers[_i].rc, "%s: %s", answers[_i].why, tdsync_error(r.t));
	ck_assert_msg(strstr(tdsync_error(r.t), answers[_i].says) != NULL &&
	              strchr(tdsync_error(r.t), '\n') == NULL, "%s: %s", answers[_i].why,
	              tdsync_error(r.t));
	ck_assert_uint_eq(found.len, 0);
	replica_close(&r);
}
END_TEST

static bool
refuse(struct front *f, struct transport_request *rq, struct transport_reply *re,
       enum rc *rc, struct err *err)
{
	(void)f;
	(void)rq;
	(void)rc;
	(void)err;
	front_reply(re, 400, NULL, "{\"error\":{\"code\":\"bad_request\",\"message\":\"too far\"}}");
	return true;
}

START_TEST(without_a_snapshot_the_table_is_named)
{
	struct replica r;
	struct front f;

	make_notes(&r);
	change_books(&r, "UPDATE notes SET title = 'x' WHERE id = 'nt-1'");
	front_use(&r, &f, "/sync/snapshot");
	f.answer = refuse;
	ck_assert_str_eq(verify(&r), "state notes   -|-\nrow notes nt-1 title \"One\"|\"x\"\n");
	ck_assert_int_eq(f.asked, 1);
	replica_close(&r);
}
END_TEST

static void
forget_found(void)
{
	threshold = -1;
	buf_free(&found);
	replica_teardown();
}

TCase *
client_verify_cases(void)
{
	TCase *tc = tcase_create("verify");

	tcase_add_checked_fixture(tc, replica_setup, forget_found);
	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, a_replica_in_step_is_found_so, 0, 2);
	tcase_add_test(tc, an_empty_log_has_a_digest_too);
	tcase_add_test(tc, it_pulls_first);
	tcase_add_loop_test(tc, what_is_otherwise_is_named, 0, sizeof(spoilt) / sizeof(spoilt[0]));
	tcase_add_test(tc, columns_that_one_side_lacks_are_no_alarm);
	tcase_add_loop_test(tc, an_older_td_is_compared_in_what_it_has, 0, 2);
	tcase_add_test(tc, a_log_that_moves_on_is_followed_for_a_while);
	tcase_add_loop_test(tc, every_bad_digest_is_one_line, 0,
	                    sizeof(answers) / sizeof(answers[0]));
	tcase_add_test(tc, without_a_snapshot_the_table_is_named);
	return tc;
}
