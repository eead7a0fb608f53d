/* Healing over HTTP: what a pull gets, what a push is told, and switching it off.
 * (What is answered how, heal_test.c tells.) */
#include "http_test.h"

#include "base/json.h"
#include "http/places.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PUSH "/v1/projects/{p}/sync/push"
#define PULL "/v1/projects/{p}/sync/pull"
#define DIGEST "/v1/projects/{p}/sync/digest"

/* Whose the nth event of a pull is, in *device; false: there is none. */
static bool
device_of(struct world *w, size_t n, struct buf *device)
{
	struct span whole, events, key, event, v;
	struct json_iter it;

	buf_reset(device);
	ck_assert_int_eq(ask(w, READER, "GET", PULL, NULL, NULL), 200);
	ck_assert(json_scan(buf_span(&w->answer.body), JSON_MAX_DEPTH, &whole, NULL, NULL) == RC_OK);
	ck_assert(json_get(whole, "events", &events));
	json_iter_init(&it, events);
	while (json_next(&it, &key, &event))
		if (n-- == 0)
			return json_get(event, "device_id", &v) && json_string(v, device);
	return false;
}

/* A row that was made and deleted again before a device sent anything. */
static void
undo(struct world *w, const char *id)
{
	char deed[64], payload[160];

	snprintf(deed, sizeof(deed), "soft_delete issues %s", id);
	snprintf(payload, sizeof(payload), "{'new_data':{},'previous_data':{'id':'%s','title':'T'}}",
	         id);
	push_event(w, WRITER, "a", "10:00:00", deed, payload);
}

/* Who pulls right after a push gets what the server says to it. */
static void
healed(struct world *w)
{
	struct buf device = { 0 };

	for (int i = 0; i < 5; i++) {
		char id[16];

		snprintf(id, sizeof(id), "td-%d", i);
		undo(w, id);
		ck_assert_msg(device_of(w, (size_t)(2 * i + 1), &device), "after %d", i);
		ck_assert_str_eq(buf_cstr(&device), "td-sync");
		ck_assert(!device_of(w, (size_t)(2 * i + 2), &device));
	}
	ck_assert_int_eq(log_count(w), 10);
	ck_assert_int_eq(ask(w, READER, "GET", "/v1/projects/{p}/entities/issues/td-0/history", NULL,
	                     NULL), 200);
	ck_assert_ptr_nonnull(strstr(w->answer.body.p, "\"by_server\":true,\"cause_seq\":1,"
	                          "\"reason\":\"undone_create\""));
	buf_free(&device);
}

START_TEST(a_pull_has_what_the_server_says)
{
	with_each_of("heal = on\n", healed);
}
END_TEST

static void
left_alone(struct world *w)
{
	undo(w, "td-1");
	ck_assert_int_eq(ask(w, READER, "GET", PULL, NULL, NULL), 200);
	ck_assert_int_eq(log_count(w), 1);
}

START_TEST(switched_off_it_says_nothing)
{
	with_each_of("heal = off\n", left_alone);
}
END_TEST

/* Push a create with any number, session and time; 1: it was taken, 0: a duplicate
 * of `seq`. */
static int
create(struct world *w, const char *type, const char *row, int number, int64_t seq)
{
	char body[512], duplicate[128];

	snprintf(body, sizeof(body), "{\"device_id\":\"d%d\",\"session_id\":\"s%d\",\"events\":[{"
	         "\"client_action_id\":%d,\"action_type\":\"create\",\"entity_type\":\"%s\","
	         "\"entity_id\":\"x-1\",\"client_timestamp\":\"2026-03-01T10:00:%02dZ\","
	         "\"payload\":{\"new_data\":%s,\"previous_data\":{}}}]}", number, number, number, type,
	         number, row);
	ck_assert_int_eq(ask(w, WRITER, "POST", PUSH, body, NULL), 200);
	if (strstr(w->answer.body.p, "\"accepted\":1") != NULL)
		return 1;
	snprintf(duplicate, sizeof(duplicate), "\"rejected\":[{\"client_action_id\":%d,\"reason\":"
	         "\"duplicate\",\"server_seq\":%d}]", number, (int)seq);
	ck_assert_msg(strstr(w->answer.body.p, duplicate) != NULL, "%s", w->answer.body.p);
	return 0;
}

/* As td's backfill makes them anew. */
static void
doubled(struct world *w)
{
	static const char row[] = "{\"id\":\"x-1\",\"title\":\"T\"}",
		again[] = "{ \"title\" : \"T\", \"id\":\"x-1\" }", other[] = "{\"id\":\"x-1\",\"title\":\"U\"}";

	ck_assert_int_eq(create(w, "issues", row, 1, 0), 1);
	ck_assert_int_eq(ask(w, READER, "GET", PULL, NULL, NULL), 200); /* so it is healed */
	ck_assert_int_eq(ask(w, READER, "GET", DIGEST, NULL, NULL), 200); /* and applied */
	ck_assert_int_eq(create(w, "issues", again, 2, 1), 0);
	ck_assert_int_eq(create(w, "issues", other, 3, 0), 1);
	ck_assert_int_eq(ask(w, READER, "GET", PULL, NULL, NULL), 200);
	ck_assert_int_eq(create(w, "issues", row, 4, 0), 1); /* that is an edit by now */
	/* What was deleted is made again; what never got in is no duplicate. */
	push_event(w, WRITER, "a", "10:01:00", "delete issues x-1", "{}");
	ck_assert_int_eq(ask(w, READER, "GET", PULL, NULL, NULL), 200);
	ck_assert_int_eq(create(w, "issues", row, 5, 0), 1);
	for (int i = 6; i < 8; i++) {
		ck_assert_int_eq(create(w, "comments", "{\"id\":\"x-1\",\"issue_id\":\"x-2\","
		                        "\"session_id\":\"s\",\"text\":\"c\"}", i, 0), 1);
		ck_assert_int_eq(ask(w, READER, "GET", PULL, NULL, NULL), 200);
	}
	ck_assert_int_eq(log_count(w), 7);
}

/* Push these events, "ACTION TYPE ID ROW;...", in one; how many were new. */
static int
push_all(struct world *w, const char *device, const char *const *deeds, size_t n)
{
	static int number = 100;
	struct buf body = { 0 };
	int64_t accepted;

	buf_addf(&body, "{\"device_id\":\"%s\",\"session_id\":\"s\",\"events\":[", device);
	for (size_t i = 0; i < n; i++)
		buf_addf(&body, "%s{\"client_action_id\":%d,\"client_timestamp\":"
		         "\"2026-03-01T11:00:00Z\",%s}", i > 0 ? "," : "", ++number, deeds[i]);
	buf_add_str(&body, "]}");
	ck_assert_int_eq(ask(w, WRITER, "POST", PUSH, buf_cstr(&body), NULL), 200);
	accepted = answer_number(w, "accepted");
	buf_free(&body);
	return (int)accepted;
}

#define ISSUE_MADE "\"action_type\":\"create\",\"entity_type\":\"issues\",\"entity_id\":\"x-1\"," \
	"\"payload\":{\"new_data\":{\"id\":\"x-1\",\"title\":\"T\"}}"
#define COMMENT_MADE "\"action_type\":\"create\",\"entity_type\":\"comments\",\"entity_id\":" \
	"\"c-1\",\"payload\":{\"new_data\":{\"id\":\"c-1\",\"issue_id\":\"x-1\",\"session_id\":\"s\"," \
	"\"text\":\"c\"}}"
#define ISSUE_DELETED "\"action_type\":\"delete\",\"entity_type\":\"issues\",\"entity_id\":\"x-1\"," \
	"\"payload\":{}"
#define COMMENT_DELETED "\"action_type\":\"delete\",\"entity_type\":\"comments\",\"entity_id\":" \
	"\"c-1\",\"payload\":{}"

/* What a push deletes, it may make again: that is no duplicate. */
static void
made_again(struct world *w)
{
	static const char *const made[] = { ISSUE_MADE, COMMENT_MADE },
		*const again[] = { COMMENT_DELETED, COMMENT_MADE },
		*const anew[] = { ISSUE_DELETED, ISSUE_MADE, COMMENT_MADE },
		*const deleted[] = { COMMENT_DELETED }, *const later[] = { COMMENT_MADE };

	ck_assert_int_eq(push_all(w, "a", made, 2), 2);
	ck_assert_int_eq(ask(w, READER, "GET", PULL, NULL, NULL), 200);
	ck_assert_int_eq(push_all(w, "b", made, 2), 0);
	ck_assert_int_eq(push_all(w, "a", again, 2), 2);
	ck_assert_int_eq(ask(w, READER, "GET", PULL, NULL, NULL), 200);
	ck_assert_int_eq(push_all(w, "a", anew, 3), 3);
	ck_assert_int_eq(ask(w, READER, "GET", PULL, NULL, NULL), 200);
	/* Right after one another, applied or not. */
	ck_assert_int_eq(push_all(w, "a", deleted, 1), 1);
	ck_assert_int_eq(push_all(w, "a", later, 1), 1);
	ck_assert_int_eq(ask(w, READER, "GET", "/v1/projects/{p}/entities/comments/c-1/history",
	                     NULL, NULL), 200);
}

START_TEST(what_is_deleted_and_made_again_is_no_duplicate)
{
	with_each_of("heal = on\nconflict_note = off\n", made_again);
}
END_TEST

/* A large event does not end healing. */
static void
large(struct world *w)
{
	struct buf payload = { 0 };

	buf_add_str(&payload, "{'new_data':{'id':'nt-1','title':'T','content':'");
	while (payload.len < 1200000)
		buf_add_byte(&payload, 'x');
	buf_add_str(&payload, "'}}");
	push_event(w, WRITER, "a", "10:00:00", "create notes nt-1", buf_cstr(&payload));
	undo(w, "td-1");
	for (int i = 0; i < 500 && log_count(w) < 3; i++) {
		ck_assert_int_eq(ask(w, READER, "GET", PULL "?after_server_seq=1", NULL, NULL), 200);
		usleep(20000);
	}
	ck_assert_int_eq(log_count(w), 3);
	buf_free(&payload);
}

START_TEST(a_large_event_does_not_end_it)
{
	with_each_of("heal = on\n", large);
}
END_TEST

START_TEST(a_create_that_is_there_already_is_a_duplicate)
{
	with_each_of("heal = on\nconflict_note = off\n", doubled);
}
END_TEST

/* A create whose row was edited and set back since: a retry of it is told its number, not
 * that of the edit that says the same. */
static void
set_back(struct world *w)
{
	static const char row[] = "{\"id\":\"x-1\",\"title\":\"T\"}";

	ck_assert_int_eq(create(w, "issues", row, 1, 0), 1);
	push_event(w, WRITER, "a", "10:01:00", "update issues x-1",
	           "{'new_data':{'id':'x-1','title':'U'},'previous_data':{'id':'x-1','title':'T'}}");
	push_event(w, WRITER, "a", "10:02:00", "update issues x-1",
	           "{'new_data':{'id':'x-1','title':'T'},'previous_data':{'id':'x-1','title':'U'}}");
	ck_assert_int_eq(ask(w, READER, "GET", PULL, NULL, NULL), 200);
	ck_assert_int_eq(ask(w, READER, "GET", DIGEST, NULL, NULL), 200);
	ck_assert_int_eq(create(w, "issues", row, 1, 1), 0);
	ck_assert_int_eq(create(w, "issues", row, 2, 3), 0);
	ck_assert_int_eq(log_count(w), 3);
}

START_TEST(a_retry_is_told_its_own_number)
{
	with_each_of("heal = on\nconflict_note = off\n", set_back);
}
END_TEST

/* How far the state has come; -1: there is none. */
static int64_t
applied(const struct world *w)
{
	char path[PATH_MAX + 64];
	sqlite3_stmt *st = NULL;
	int64_t seq = -1;
	sqlite3 *db;

	snprintf(path, sizeof(path), "%s/state.db", project_folder(w));
	if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL) == SQLITE_OK &&
	    sqlite3_busy_timeout(db, 3000) == SQLITE_OK &&
	    sqlite3_prepare_v2(db, "SELECT seq FROM tdsync_state", -1, &st, NULL) == SQLITE_OK &&
	    sqlite3_step(st) == SQLITE_ROW)
		seq = sqlite3_column_int64(st, 0);
	sqlite3_finalize(st);
	sqlite3_close(db);
	return seq;
}

/* Take the state away when those who push have made it. */
static void
lose_state(const struct world *w, int64_t seq)
{
	char command[PATH_MAX + 64];

	for (int i = 0; i < 1000 && applied(w) != seq; i++)
		usleep(20000);
	ck_assert_int_eq(applied(w), seq);
	usleep(300000); /* they let go of it */
	snprintf(command, sizeof(command), "rm '%s'/state.db*", project_folder(w));
	ck_assert_int_eq(system(command), 0);
}

#define NEAR 1000 /* events that a pull waits for */

static void
near(struct world *w)
{
	struct flock byte = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1 };
	char path[PATH_MAX + 64];
	int spare;

	fill(w, 1, NEAR);
	lose_state(w, NEAR);
	/* In 200 ms; on a busy machine in some more pulls. */
	for (int i = 0; i < 100 && applied(w) != NEAR; i++)
		ck_assert_int_eq(ask(w, READER, "GET", PULL, NULL, NULL), 200);
	ck_assert_int_eq(applied(w), NEAR);
	fill(w, NEAR + 1, 1);
	lose_state(w, NEAR + 1);
	/* Somebody else seems to apply it in spare time. */
	snprintf(path, sizeof(path), "%s/" SPARE, project_folder(w));
	spare = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0660);
	ck_assert_int_eq(fcntl(spare, F_OFD_SETLK, &byte), 0);
	for (int i = 0; i < 10; i++)
		ck_assert_int_eq(ask(w, READER, "GET", PULL, NULL, NULL), 200);
	ck_assert_int_le(applied(w), 0);
	close(spare);
	/* After its answer it is applied. */
	for (int i = 0; i < 100 && applied(w) != NEAR + 1; i++) {
		ck_assert_int_eq(ask(w, READER, "GET", PULL, NULL, NULL), 200);
		usleep(50000);
	}
	ck_assert_int_eq(applied(w), NEAR + 1);
}

START_TEST(a_pull_waits_for_what_is_near)
{
	with_each_of("heal = on\n", near);
}
END_TEST

/* No other worker is ever idle where there is none. */
START_TEST(a_pool_of_one_applies_what_was_pushed)
{
	static const char *const one[] = { "--workers", "1", "--max-workers", "1", NULL };
	struct site_options options = { .kind = SITE_FASTCGI, .arguments = one,
	                                .config = "heal = on\n" };
	struct world w;

	world_start(&w, &options);
	undo(&w, "td-1");
	fill(&w, 1, NEAR + 1);
	for (int i = 0; i < 500 && applied(&w) < NEAR + 3; i++)
		usleep(20000);
	ck_assert_int_ge(applied(&w), NEAR + 2);
	ck_assert_int_ge(log_count(&w), NEAR + 3); /* one is the server's */
	world_stop(&w);
}
END_TEST

TCase *
heal_case(void)
{
	TCase *t = tcase_create("heal");

	tcase_set_timeout(t, 120);
	tcase_add_test(t, a_pull_has_what_the_server_says);
	tcase_add_test(t, switched_off_it_says_nothing);
	tcase_add_test(t, a_pull_waits_for_what_is_near);
	if (http_can_run(SITE_FASTCGI))
		tcase_add_test(t, a_pool_of_one_applies_what_was_pushed);
	tcase_add_test(t, what_is_deleted_and_made_again_is_no_duplicate);
	tcase_add_test(t, a_large_event_does_not_end_it);
	tcase_add_test(t, a_create_that_is_there_already_is_a_duplicate);
	tcase_add_test(t, a_retry_is_told_its_own_number);
	return t;
}
