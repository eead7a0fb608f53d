/*
 * Conflicts in a replica: fetched with a pull, the same on every replica, told
 * to td once.
 */
#include "tests/client_test.h"
#include "tests/front.h"

#include <stdlib.h>

/* A and B in step over an issue, and both set its title: B's arrives last. */
static void
make_conflict(struct replica *a, struct replica *b)
{
	replica_make(a, "A", "empty-v38.db");
	replica_make(b, "B", "empty-v38.db");
	LINK(a);
	LINK(b);
	td_create(a, "td-00000a", "One");
	SYNC(a);
	SYNC(b);
	td_update(a, "td-00000a", "title", "By A");
	td_update(b, "td-00000a", "title", "By \"B\"");
	SYNC(a);
	ck_assert_int_eq(a->res.conflicts, 0);
	SYNC(b);
}

/* The records of a replica, a line each. */
static const char *
records(const struct replica *r)
{
	static char out[4][4096];
	static int turn;
	char *to = out[turn++ & 3];

	snprintf(to, sizeof(out[0]), "%s", ask_books(r, "SELECT group_concat(id || kind || certain ||"
	         " type || entity || fields || kept || lost, char(10)) FROM conflict"));
	return to;
}

#define TD_ROWS "SELECT group_concat(entity_type || ' ' || entity_id || ' ' || server_seq ||" \
	" ' ' || local_data || ' ' || remote_data, '; ') FROM sync_conflicts"
#define TOLD "issues td-00000a 3 {\"id\":\"td-00000a\",\"title\":\"By A\"}" \
	" {\"id\":\"td-00000a\",\"title\":\"By \\\"B\\\"\"}"

START_TEST(a_conflict_reaches_every_replica_and_td)
{
	struct replica a, b;

	make_conflict(&a, &b);
	ck_assert_int_eq(b.res.conflicts, 1);
	ck_assert_str_eq(ask(&b, TD_ROWS), TOLD);
	ck_assert_str_eq(ask(&a, "SELECT count(*) FROM sync_conflicts"), "0");
	SYNC(&a);
	ck_assert_int_eq(a.res.conflicts, 1);
	ck_assert_str_eq(ask(&a, TD_ROWS), TOLD);
	ck_assert_str_eq(records(&a), records(&b));
	ck_assert_str_eq(ask(&a, "SELECT overwritten_at LIKE '2___-__-__ __:__:__%%+00:00'"
	                     " FROM sync_conflicts"), "1");
	replica_close(&a);
	replica_close(&b);
}
END_TEST

static void
count_conflict(void *ctx, const struct tdsync_conflict *c)
{
	(void)c;
	++*(int *)ctx;
}

START_TEST(td_is_told_once_whatever_becomes_of_it)
{
	struct replica a, b;
	int n = 0;

	make_conflict(&a, &b);
	/* td, or a person, has settled it. */
	sql(&b, "DELETE FROM sync_conflicts");
	td_update(&b, "td-00000a", "points", "3");
	SYNC(&b);
	ck_assert_str_eq(ask(&b, "SELECT count(*) FROM sync_conflicts"), "0");
	CALL_OK(&b, tdsync_each_conflict(b.t, count_conflict, &n));
	ck_assert_int_eq(n, 1);

	/* Our books are gone; td still has it. */
	SYNC(&a);
	ck_assert_str_eq(ask(&a, TD_ROWS), TOLD);
	ck_assert(unlink(replica_file(&a, "td-sync.db")) == 0);
	SYNC(&a);
	ck_assert_str_eq(ask(&a, TD_ROWS), TOLD);
	ck_assert_str_eq(records(&a), records(&b));
	replica_close(&a);
	replica_close(&b);
}
END_TEST

START_TEST(a_pull_that_brings_nothing_asks_for_no_conflicts)
{
	struct replica a, b;
	struct front f;

	make_conflict(&a, &b);
	front_use(&b, &f, "/sync/conflicts");
	SYNC(&b);
	PULL(&b);
	ck_assert_int_eq(f.asked, 0);
	td_update(&a, "td-00000a", "points", "3");
	SYNC(&a);
	PULL(&b);
	ck_assert_int_eq(f.asked, 1);
	PUSH(&b);
	ck_assert_int_eq(f.asked, 1);
	replica_close(&a);
	replica_close(&b);
}
END_TEST

/* --- another log --- */

static void
lose_log(void)
{
	static const char *const names[] = { EVENTS_DB, EVENTS_DB "-wal", EVENTS_DB "-shm",
		EVENTS_LOCK };
	char path[TEMP_PATH + 80];
	struct err err;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(path, sizeof(path), "%s/projects/" PROJECT "/%s", temp, names[i]);
		unlink(path);
	}
	snprintf(path, sizeof(path), "%s/projects/" PROJECT, temp);
	ck_assert(events_create(path, profile_td.name, &err) == RC_OK);
}

START_TEST(records_of_a_lost_log_go_with_it)
{
	struct replica a, b, c;

	make_conflict(&a, &b);
	SYNC(&a);
	lose_log();
	SYNC(&b);
	SYNC(&a);
	/* Whole rows were offered: nobody took anything from anybody. */
	ck_assert_str_eq(records(&b), "");
	ck_assert_str_eq(records(&a), "");
	ck_assert_str_eq(ask(&a, TD_ROWS), TOLD); /* td's are td's */
	/* The same thing happens again, under another number. */
	td_update(&a, "td-00000a", "title", "By A again");
	td_update(&b, "td-00000a", "title", "By B again");
	SYNC(&a);
	SYNC(&b);
	replica_make(&c, "C", "empty-v38.db");
	LINK(&c);
	SYNC(&a);
	SYNC(&c);
	ck_assert_str_eq(ask_books(&a, "SELECT count(*) FROM conflict"), "1");
	ck_assert_str_eq(records(&a), records(&b));
	ck_assert_str_eq(records(&a), records(&c));
	ck_assert_str_eq(ask(&a, "SELECT count(*) FROM sync_conflicts"), "2");
	ck_assert_str_eq(ask(&c, "SELECT count(*) FROM sync_conflicts"), "1");
	replica_close(&a);
	replica_close(&b);
	replica_close(&c);
}
END_TEST

/* What the events themselves say is the same under any number. */
static bool
give_other_numbers(struct front *f, struct transport_request *rq, struct transport_reply *re,
                   enum rc *rc, struct err *err)
{
	struct buf body = { 0 };
	char *p;

	*rc = f->real->send(f->real, rq, re, err);
	for (p = (char *)(uintptr_t)buf_cstr(&re->body); p != NULL && *p != '\0'; p++) {
		if (strncmp(p, "\"3-1\"", 5) == 0) {
			buf_add_str(&body, "\"2-1\"");
			p += 4;
		} else if (strncmp(p, "\"server_seq\":3", 14) == 0) {
			buf_add_str(&body, "\"server_seq\":2");
			p += 13;
		} else {
			buf_add_byte(&body, *p);
		}
	}
	buf_free(&re->body);
	re->body = body;
	return true;
}

START_TEST(a_conflict_under_another_number_is_known_again)
{
	struct replica a, b;
	struct front f;

	make_conflict(&a, &b);
	sql(&b, "DELETE FROM sync_conflicts");
	/* As after the state was made anew: all is pulled from the start. */
	sql(&b, "UPDATE sync_state SET last_pulled_server_seq = 1");
	front_use(&b, &f, "/sync/conflicts");
	f.answer = give_other_numbers;
	SYNC(&b);
	ck_assert_int_eq(f.asked, 1);
	ck_assert_str_eq(ask_books(&b, "SELECT id FROM conflict"), "2-1");
	ck_assert_str_eq(ask(&b, "SELECT count(*) FROM sync_conflicts"), "0");
	replica_close(&a);
	replica_close(&b);
}
END_TEST

/* --- histories --- */

static const char *const histories[] = { "autosync", "conflicts", "team", "versions" };

/* Ask for a few at a time. */
static bool
ask_for_few(struct front *f, struct transport_request *rq, struct transport_reply *re,
            enum rc *rc, struct err *err)
{
	(void)f;
	(void)re;
	(void)rc;
	(void)err;
	front_limit(rq, 3);
	return false;
}

START_TEST(pages_of_any_size_give_the_same_records)
{
	struct replica a, b;
	struct front f;
	char log[80];

	snprintf(log, sizeof(log), "replay/%s/log.jsonl", histories[_i]);
	server_load(log);
	replica_make(&a, "A", "empty-v38.db");
	replica_make(&b, "B", "empty-v38.db");
	LINK(&a);
	LINK(&b);
	SYNC(&a);
	front_use(&b, &f, "/sync/conflicts");
	f.answer = ask_for_few;
	SYNC(&b);
	ck_assert_int_ge(f.asked, 2);
	ck_assert_int_gt(atoi(ask_books(&a, "SELECT count(*) FROM conflict")), 3);
	ck_assert_str_eq(records(&a), records(&b));
	ck_assert_int_eq(a.res.conflicts, b.res.conflicts);
	/* td hears of those that are certain. */
	ck_assert_str_eq(ask(&b, "SELECT count(*) FROM sync_conflicts"),
	                 ask_books(&b, "SELECT count(*) FROM conflict WHERE certain"));
	replica_close(&a);
	replica_close(&b);
}
END_TEST

static void
judge_one(void *ctx, const struct tdsync_conflict *c)
{
	int *n = ctx;

	n[0]++;
	n[1] += !c->certain;
	ck_assert_str_eq(c->entity_id, "td-00000a");
	ck_assert_str_eq(c->kept->device_id, "device-B");
	ck_assert_str_eq(c->lost->device_id, "device-A");
	ck_assert_int_eq(c->kept->server_seq, c->server_seq);
	ck_assert_int_eq(c->lost->server_seq, 2);
	ck_assert_str_ne(c->kept->user_id, "");
	ck_assert_uint_eq(strlen(c->kept->server_timestamp) >= 20, 1);
	for (size_t i = 0; i < c->n_fields; i++)
		if (strcmp(c->fields[i].name, "title") == 0) {
			ck_assert_str_eq(c->fields[i].lost, "\"By A\"");
			ck_assert_int_eq(c->fields[i].lost_seq, 2);
			n[2]++;
		}
}

START_TEST(uncertain_ones_are_kept_and_not_told)
{
	struct transport *other;
	struct replica a, b;
	struct err err;
	int n[3] = { 0 };

	replica_make(&a, "A", "empty-v38.db");
	replica_make(&b, "B", "empty-v38.db");
	LINK(&a);
	LINK(&b);
	td_create(&a, "td-00000a", "One");
	SYNC(&a);
	SYNC(&b);
	td_update(&a, "td-00000a", "title", "By A");
	SYNC(&a);
	/* Somebody else, as `ws end` writes: the whole row, and not what it found. */
	ck_assert(transport_direct(temp, "u_0000000000000003", &other, &err) == RC_OK);
	tdsync_use_transport(b.t, other);
	sql(&b, "UPDATE issues SET title = 'By B'");
	td_log(&b, "update", "issue", "td-00000a", "", td_issue_json(&b, "td-00000a"));
	SYNC(&b);
	ck_assert_int_eq(b.res.conflicts, 0);
	CALL_OK(&b, tdsync_each_conflict(b.t, judge_one, n));
	ck_assert_int_eq(n[0], 1);
	ck_assert_int_eq(n[1], 1);
	ck_assert_int_eq(n[2], 1);
	ck_assert_str_eq(ask(&b, "SELECT count(*) FROM sync_conflicts"), "0");
	SYNC(&a);
	ck_assert_str_eq(records(&a), records(&b));
	replica_close(&a);
	replica_close(&b);
}
END_TEST

static void
note_restored(void *ctx, const struct tdsync_conflict *c)
{
	*(bool *)ctx = c->restored;
}

START_TEST(what_was_lost_may_stand_again)
{
	struct replica a, b;
	bool restored = true;

	make_conflict(&a, &b);
	CALL_OK(&b, tdsync_each_conflict(b.t, note_restored, &restored));
	ck_assert(!restored);
	td_update(&b, "td-00000a", "title", "By A");
	SYNC(&b);
	CALL_OK(&b, tdsync_each_conflict(b.t, note_restored, &restored));
	ck_assert(restored);
	replica_close(&a);
	replica_close(&b);
}
END_TEST

/* --- bad answers --- */

#define GOOD "{\"id\":\"3-1\",\"server_seq\":3,\"kind\":\"field\",\"certain\":true," \
	"\"entity_type\":\"issues\",\"entity_id\":\"td-00000a\",\"fields\":[{\"field\":\"title\"," \
	"\"kept\":\"x\",\"lost\":\"y\"}],\"kept\":null,\"lost\":null}"
#define LIST(items) "{\"conflicts\":[" items "],\"last_server_seq\":3,\"has_more\":false}"
#define FIELDS(fields) LIST("{\"id\":\"3-1\",\"server_seq\":3,\"kind\":\"field\"," \
	"\"certain\":true,\"entity_type\":\"issues\",\"entity_id\":\"td-00000a\",\"fields\":" \
	fields ",\"kept\":null,\"lost\":null}")

static const struct {
	const char *why;
	int status;
	const char *type, *body;
	enum tdsync_rc rc;
	const char *says;
} answers[] = {
	{ "a server without such a route", 404, "text/plain", "404 page not found", TDSYNC_OK, "" },
	{ "the same in JSON", 404, NULL, "{\"error\":{\"code\":\"not_found\",\"message\":\"\"}}",
	  TDSYNC_OK, "" },
	{ "a server that has another method", 405, "text/plain", "Method Not Allowed", TDSYNC_OK,
	  "" },
	{ "busy", 503, NULL, "{\"error\":{\"code\":\"busy\",\"message\":\"being made\"}}",
	  TDSYNC_BUSY, "being made" },
	{ "failed", 500, NULL, "{}", TDSYNC_NETWORK, "500" },
	{ "HTML", 200, "text/html", "<html>", TDSYNC_NETWORK, "text/html" },
	{ "not an object", 200, NULL, "[]", TDSYNC_NETWORK, "makes no sense" },
	{ "no list", 200, NULL, "{\"conflicts\":{},\"has_more\":false}", TDSYNC_NETWORK,
	  "makes no sense" },
	{ "no has_more", 200, NULL, "{\"conflicts\":[]}", TDSYNC_NETWORK, "makes no sense" },
	{ "more, and nothing to go on from", 200, NULL, "{\"conflicts\":[],\"has_more\":true}",
	  TDSYNC_NETWORK, "makes no sense" },
	{ "numbers", 200, NULL, LIST("1,2"), TDSYNC_NETWORK, "makes no sense" },
	{ "an empty record", 200, NULL, LIST("{}"), TDSYNC_NETWORK, "makes no sense" },
	{ "a bad record after a good one", 200, NULL, LIST(GOOD ",{}"), TDSYNC_NETWORK,
	  "makes no sense" },
	{ "records that go back", 200, NULL, LIST(GOOD ",{\"id\":\"2-1\",\"server_seq\":2,"
	  "\"kind\":\"field\",\"certain\":true,\"entity_type\":\"issues\",\"entity_id\":\"x\","
	  "\"fields\":[],\"kept\":null,\"lost\":null}"), TDSYNC_NETWORK, "makes no sense" },
	{ "seq 0", 200, NULL, LIST("{\"id\":\"0-1\",\"server_seq\":0,\"kind\":\"field\","
	  "\"certain\":true,\"entity_type\":\"issues\",\"entity_id\":\"x\",\"fields\":[],"
	  "\"kept\":null,\"lost\":null}"), TDSYNC_NETWORK, "makes no sense" },
	{ "an id with a NUL", 200, NULL, LIST("{\"id\":\"3\\u0000\",\"server_seq\":3,"
	  "\"kind\":\"field\",\"certain\":true,\"entity_type\":\"issues\",\"entity_id\":\"x\","
	  "\"fields\":[],\"kept\":null,\"lost\":null}"), TDSYNC_NETWORK, "makes no sense" },
	{ "fields that are none", 200, NULL, FIELDS("{}"), TDSYNC_NETWORK, "makes no sense" },
	{ "a field without a name", 200, NULL, FIELDS("[{\"kept\":1,\"lost\":2}]"),
	  TDSYNC_NETWORK, "makes no sense" },
	{ "a value that no row has", 200, NULL,
	  FIELDS("[{\"field\":\"title\",\"kept\":[1],\"lost\":2}]"), TDSYNC_NETWORK,
	  "makes no sense" },
	{ "half of one", 200, NULL, "{\"conflicts\":[", TDSYNC_NETWORK, "not whole JSON" },
};

static bool
answer_so(struct front *f, struct transport_request *rq, struct transport_reply *re,
          enum rc *rc, struct err *err)
{
	int i = *(const int *)f->ctx;

	/* What the real one says of its log stays. */
	*rc = f->real->send(f->real, rq, re, err);
	front_reply(re, answers[i].status, answers[i].type, answers[i].body);
	return true;
}

START_TEST(every_bad_answer_is_one_line_and_changes_nothing)
{
	struct replica a, b;
	struct front f;

	make_conflict(&a, &b);
	front_use(&a, &f, "/sync/conflicts");
	f.answer = answer_so;
	f.ctx = &_i;
	ck_assert_msg(tdsync_sync(a.t, &a.res) == answers[_i].rc, "%s: %s", answers[_i].why,
	              tdsync_error(a.t));
	ck_assert_msg(strstr(tdsync_error(a.t), answers[_i].says) != NULL &&
	              strchr(tdsync_error(a.t), '\n') == NULL, "%s: %s", answers[_i].why,
	              tdsync_error(a.t));
	ck_assert_int_eq(f.asked, 1);
	/* The log was applied, whatever became of the conflicts. */
	assert_same(&a, &b);
	assert_settled(&a);
	ck_assert_str_eq(ask_books(&a, "SELECT count(*) FROM conflict"), "0");
	ck_assert_str_eq(ask(&a, "SELECT count(*) FROM sync_conflicts"), "0");
	f.answer = NULL;
	SYNC(&a);
	ck_assert_int_eq(f.asked, 2);
	ck_assert_str_eq(records(&a), records(&b));
	replica_close(&a);
	replica_close(&b);
}
END_TEST

#define ODD "{\"id\":\"4-1\",\"server_seq\":4,\"kind\":\"odd\",\"certain\":true," \
	"\"entity_type\":\"gadgets\",\"entity_id\":\"g\",\"fields\":[],\"kept\":null,\"lost\":null}"

/* One of an event that the pull did not bring, and a name twice. */
static bool
answer_too_much(struct front *f, struct transport_request *rq, struct transport_reply *re,
                enum rc *rc, struct err *err)
{
	*rc = f->real->send(f->real, rq, re, err);
	front_reply(re, 200, NULL, f->asked == 1 ? LIST(GOOD "," GOOD "," ODD) : LIST(ODD));
	return true;
}

START_TEST(what_came_after_the_pull_is_left_for_the_next)
{
	struct replica a, b;
	struct front f;
	int n = 0;

	make_conflict(&a, &b);
	front_use(&a, &f, "/sync/conflicts");
	f.answer = answer_too_much;
	SYNC(&a);
	ck_assert_str_eq(ask_books(&a, "SELECT group_concat(id) FROM conflict"), "3-1");
	ck_assert_str_eq(ask(&a, "SELECT count(*) FROM sync_conflicts"), "1");
	ck_assert_str_eq(ask_books(&a, "SELECT conflict_seq FROM replica"), "3");
	/* It is of a kind and a type that are new to us: kept and shown all the same. */
	td_update(&b, "td-00000a", "points", "3");
	SYNC(&b);
	SYNC(&a);
	CALL_OK(&a, tdsync_each_conflict(a.t, count_conflict, &n));
	ck_assert_int_eq(n, 2);
	replica_close(&a);
	replica_close(&b);
}
END_TEST

/* Books as the first version wrote them. */
START_TEST(older_books_are_brought_up_to_date)
{
	struct replica a, b;
	struct stat st;

	make_conflict(&a, &b);
	SYNC(&a);
	ck_assert(!books_are_kept(&a));
	books_make_older(&a);
	ck_assert_int_eq(chmod(replica_file(&a, "td-sync.db"), 0600), 0);
	td_update(&a, "td-00000a", "points", "3");
	SYNC(&a);
	ck_assert(books_are_kept(&a));
	ck_assert_int_eq(stat(replica_file(&a, "td-sync.db.format1"), &st), 0);
	ck_assert_int_eq(st.st_mode & 0777, 0600);
	ck_assert_int_eq(a.res.pushed, 1);
	ck_assert_int_eq(a.res.pulled, 1);
	ck_assert_str_eq(records(&a), records(&b));
	ck_assert_str_eq(ask(&a, TD_ROWS), TOLD);
	replica_close(&a);
	replica_close(&b);
}
END_TEST

TCase *
client_conflict_cases(void)
{
	TCase *tc = tcase_create("conflicts");

	tcase_add_checked_fixture(tc, replica_setup, replica_teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, a_conflict_reaches_every_replica_and_td);
	tcase_add_test(tc, td_is_told_once_whatever_becomes_of_it);
	tcase_add_test(tc, a_pull_that_brings_nothing_asks_for_no_conflicts);
	tcase_add_test(tc, records_of_a_lost_log_go_with_it);
	tcase_add_test(tc, a_conflict_under_another_number_is_known_again);
	tcase_add_loop_test(tc, pages_of_any_size_give_the_same_records, 0,
	                    sizeof(histories) / sizeof(histories[0]));
	tcase_add_test(tc, uncertain_ones_are_kept_and_not_told);
	tcase_add_test(tc, what_was_lost_may_stand_again);
	tcase_add_loop_test(tc, every_bad_answer_is_one_line_and_changes_nothing, 0,
	                    sizeof(answers) / sizeof(answers[0]));
	tcase_add_test(tc, what_came_after_the_pull_is_left_for_the_next);
	tcase_add_test(tc, older_books_are_brought_up_to_date);
	return tc;
}
