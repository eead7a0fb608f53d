/*
 * Conflicts over HTTP: the list, page by page, and putting back. (Which conflicts
 * a log holds, conflict_test.c tells; which event puts one back, restore_test.c.)
 */
#include "http_test.h"

#include "patience.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/lock.h"
#include "store/events.h"
#include "store/state.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONFLICTS "/v1/projects/{p}/sync/conflicts"

/* An issue that two of them edit at once: the writer's title stays. */
static void
edit_at_once(struct world *w)
{
	push_event(w, OWNER, "a", "10:00:00", "create issues td-1",
	           "{'schema_version':1,'new_data':{'id':'td-1','title':'First'},"
	           "'previous_data':{}}");
	push_event(w, OWNER, "a", "10:00:02", "update issues td-1",
	           "{'schema_version':1,'new_data':{'id':'td-1','title':'Theirs'},"
	           "'previous_data':{'id':'td-1','title':'First'}}");
	push_event(w, WRITER, "b", "10:00:01", "update issues td-1",
	           "{'schema_version':1,'new_data':{'id':'td-1','title':'Mine \\u003c'},"
	           "'previous_data':{'id':'td-1','title':'First'}}");
}

/* Create issues with a position each on a board, and delete the board. The event
 * that does takes n rows along. Returns its seq. */
static int64_t
lose_positions(struct world *w, const char *board, int n)
{
	char deed[128], payload[512];

	snprintf(deed, sizeof(deed), "create boards %s", board);
	snprintf(payload, sizeof(payload), "{'new_data':{'id':'%s','name':'%s'}}", board, board);
	push_event(w, OWNER, "a", "10:00:00", deed, payload);
	for (int i = 0; i < n; i++) {
		snprintf(deed, sizeof(deed), "create issues td-%s-%d", board, i);
		snprintf(payload, sizeof(payload), "{'new_data':{'id':'td-%s-%d','title':'T'}}", board,
		         i);
		push_event(w, OWNER, "a", "10:00:00", deed, payload);
		snprintf(deed, sizeof(deed), "create board_issue_positions bip_%s_%d", board, i);
		snprintf(payload, sizeof(payload), "{'new_data':{'id':'bip_%s_%d','board_id':'%s',"
		         "'issue_id':'td-%s-%d','position':%d}}", board, i, board, board, i, i + 1);
		push_event(w, OWNER, "a", "10:00:00", deed, payload);
	}
	snprintf(deed, sizeof(deed), "delete boards %s", board);
	snprintf(payload, sizeof(payload), "{'new_data':{},'previous_data':{'id':'%s','name':"
	         "'%s'}}", board, board);
	return push_event(w, WRITER, "b", "10:00:00", deed, payload);
}

static int
get(struct world *w, const char *path)
{
	return ask(w, READER, "GET", path, NULL, NULL);
}

/* --- what it tells --- */

/* Whether the body goes on like that at `*at`, which moves behind it. */
static void
goes_on(const char **at, const char *text)
{
	ck_assert_msg(strncmp(*at, text, strlen(text)) == 0, "not %s\nbut %s", text, *at);
	*at += strlen(text);
}

/* The end of a side: a time of now. */
static void
goes_on_now(const char **at)
{
	struct instant t;
	size_t n = strcspn(*at, "\"");

	ck_assert(time_parse_rfc3339((struct span){ *at, n }, &t));
	ck_assert_int_lt(llabs(t.sec - clock_now_us() / 1000000), 60);
	*at += n;
}

static void
told(struct world *w)
{
	const char *at;

	ck_assert_int_eq(get(w, CONFLICTS), 200);
	ck_assert_str_eq(w->answer.body.p,
	                 "{\"conflicts\":[],\"last_server_seq\":0,\"has_more\":false}\n");
	edit_at_once(w);
	ck_assert_int_eq(get(w, CONFLICTS), 200);
	ck_assert(web_is_json(&w->answer));
	at = w->answer.body.p;
	goes_on(&at, "{\"conflicts\":[{\"id\":\"3-1\",\"server_seq\":3,\"kind\":\"field\","
	        "\"certain\":true,\"entity_type\":\"issues\",\"entity_id\":\"td-1\","
	        "\"fields\":[{\"field\":\"title\",\"kept\":\"Mine \\u003c\",\"lost\":\"Theirs\","
	        "\"lost_seq\":2}],\"kept\":{\"server_seq\":3,\"user_id\":\"");
	goes_on(&at, w->users[WRITER]);
	goes_on(&at, "\",\"device_id\":\"b\",\"session_id\":\"ses_b\","
	        "\"client_timestamp\":\"2026-03-01T10:00:01Z\",\"server_timestamp\":\"");
	goes_on_now(&at);
	goes_on(&at, "\"},\"lost\":{\"server_seq\":2,\"user_id\":\"");
	goes_on(&at, w->users[OWNER]);
	goes_on(&at, "\",\"device_id\":\"a\",\"session_id\":\"ses_a\","
	        "\"client_timestamp\":\"2026-03-01T10:00:02Z\",\"server_timestamp\":\"");
	goes_on_now(&at);
	goes_on(&at, "\"}}],\"last_server_seq\":3,\"has_more\":false}\n");
	ck_assert_str_eq(at, "");
	/* Behind it there is nothing, and the cursor stays. */
	ck_assert_int_eq(get(w, CONFLICTS "?after_server_seq=3"), 200);
	ck_assert_str_eq(w->answer.body.p,
	                 "{\"conflicts\":[],\"last_server_seq\":3,\"has_more\":false}\n");
}

START_TEST(a_conflict_tells_both_sides)
{
	with_each(told);
}
END_TEST

/* --- pages --- */

/* The ids of a page, with a blank behind each. */
static const char *
ids(const struct world *w)
{
	static char out[4096];
	struct span page, list, key, conflict, id;
	struct json_iter it;
	size_t n = 0;

	ck_assert_int_eq(json_scan(buf_span(&w->answer.body), 8, &page, NULL, NULL), RC_OK);
	ck_assert(json_get(page, "conflicts", &list));
	json_iter_init(&it, list);
	out[0] = '\0';
	while (json_next(&it, &key, &conflict)) {
		ck_assert(json_get(conflict, "id", &id));
		n += (size_t)snprintf(out + n, sizeof(out) - n, "%.*s ", (int)id.len - 2, id.p + 1);
	}
	return out;
}

static bool
has_more(const struct world *w)
{
	struct span page, more;

	ck_assert_int_eq(json_scan(buf_span(&w->answer.body), 8, &page, NULL, NULL), RC_OK);
	ck_assert(json_get(page, "has_more", &more));
	return json_type(more) == JSON_TRUE;
}

static void
paged(struct world *w)
{
	char path[128], want[256];
	int64_t a, b, c;

	a = lose_positions(w, "bd-a", 3);
	b = lose_positions(w, "bd-b", 2);
	c = lose_positions(w, "bd-c", 1);
	for (int limit = 1; limit <= 3; limit++) { /* all of an event, whatever the limit */
		snprintf(path, sizeof(path), CONFLICTS "?limit=%d", limit);
		snprintf(want, sizeof(want), "%d-1 %d-2 %d-3 ", (int)a, (int)a, (int)a);
		ck_assert_int_eq(get(w, path), 200);
		ck_assert_str_eq(ids(w), want);
		ck_assert_int_eq(answer_number(w, "last_server_seq"), a);
		ck_assert(has_more(w));
	}
	snprintf(path, sizeof(path), CONFLICTS "?limit=1&after_server_seq=%d", (int)a);
	snprintf(want, sizeof(want), "%d-1 %d-2 ", (int)b, (int)b);
	ck_assert_int_eq(get(w, path), 200);
	ck_assert_str_eq(ids(w), want);
	ck_assert(has_more(w));
	/* A cursor may be any number below the head: that of a pull, say. */
	snprintf(path, sizeof(path), CONFLICTS "?limit=1&after_server_seq=%d", (int)c - 1);
	snprintf(want, sizeof(want), "%d-1 ", (int)c);
	ck_assert_int_eq(get(w, path), 200);
	ck_assert_str_eq(ids(w), want);
	ck_assert(!has_more(w));
	ck_assert_int_eq(get(w, CONFLICTS "?limit=5"), 200);
	ck_assert_int_eq(answer_number(w, "last_server_seq"), b);
	ck_assert_int_eq(get(w, CONFLICTS "?limit=6&after_server_seq=-7"), 200);
	ck_assert_int_eq(answer_number(w, "last_server_seq"), c);
	ck_assert(!has_more(w));
}

START_TEST(a_page_never_ends_within_an_event)
{
	with_each(paged);
}
END_TEST

/* Each event loses 1.5 MB: after the third there are 4. */
START_TEST(a_page_ends_at_some_4_megabytes)
{
	struct site_options options = { .kind = SITE_CGI };
	struct buf payload = { 0 };
	struct world w;

	world_start(&w, &options);
	push_event(&w, OWNER, "a", "10:00:00", "create issues td-1",
	           "{'new_data':{'id':'td-1','title':'T'}}");
	for (int i = 0; i < 5; i++) {
		buf_reset(&payload);
		buf_add_str(&payload, "{'new_data':{'title':'T','description':'");
		for (int k = 0; k < 750000; k++)
			buf_add_byte(&payload, (char)('a' + i));
		buf_add_str(&payload, "'},'previous_data':{'title':'T','description':''}}");
		push_event(&w, OWNER, i % 2 == 0 ? "a" : "b", "10:00:00", "update issues td-1",
		           buf_cstr(&payload));
	}
	/* The first of them found an empty text. */
	ck_assert_int_eq(get(&w, CONFLICTS), 200);
	ck_assert_str_eq(ids(&w), "3-1 4-1 5-1 ");
	ck_assert(has_more(&w));
	ck_assert_uint_lt(w.answer.body.len, (4 << 20) + 1500000 + 1000);
	ck_assert_int_eq(get(&w, CONFLICTS "?after_server_seq=5"), 200);
	ck_assert_str_eq(ids(&w), "6-1 ");
	ck_assert(!has_more(&w));
	buf_free(&payload);
	world_stop(&w);
}
END_TEST

/* --- who may, and what makes no sense --- */

static void
refused(struct world *w)
{
	static const struct {
		const char *why, *query, *header;
		enum who who;
		int status;
		const char *code;
	} rows[] = {
		{ "no token", "", NULL, NOBODY, 401, "unauthorized" },
		{ "not a member", "", NULL, STRANGER, 403, "forbidden" },
		{ "a limit of 0", "?limit=0", NULL, READER, 400, "bad_request" },
		{ "below 0", "?limit=-1", NULL, READER, 400, "bad_request" },
		{ "no number", "?limit=many", NULL, READER, 400, "bad_request" },
		{ "a fraction", "?after_server_seq=1.5", NULL, READER, 400, "bad_request" },
		{ "too large", "?after_server_seq=9223372036854775808", NULL, READER, 400,
		  "bad_request" },
		{ "beyond the head", "?after_server_seq=4", NULL, READER, 409, "cursor_ahead" },
		{ "another log", "", "X-Log-Id: 00000000000000000000000000000000", READER, 409,
		  "log_changed" },
		{ "no such event", "", "X-Log-Last: 3:00000000000000000000000000000000", READER,
		  409, "log_changed" },
	};
	char path[128];

	edit_at_once(w);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		snprintf(path, sizeof(path), CONFLICTS "%s", rows[i].query);
		ck_assert_msg(ask(w, rows[i].who, "GET", path, NULL, rows[i].header) ==
		              rows[i].status && has_code(w, rows[i].code), "%s: %d %s", rows[i].why,
		              w->answer.status, w->answer.body.p);
	}
	ck_assert_int_eq(ask(w, OWNER, "GET", "/v1/projects/{gone}/sync/conflicts", NULL, NULL),
	                 404);
	ck_assert_int_eq(ask(w, READER, "POST", CONFLICTS, "{}", NULL), 405);
	ck_assert_str_eq(web_header(&w->answer, "Allow"), "GET, HEAD");
	/* At its edges it is fine. */
	ck_assert_int_eq(get(w, CONFLICTS "?after_server_seq=3&limit=1"), 200);
	ck_assert_int_eq(get(w, CONFLICTS "?limit=99999999"), 200);
	ck_assert_str_ne(web_header(&w->answer, "X-Log-Id"), "");
}

START_TEST(what_makes_no_sense_is_refused)
{
	with_each(refused);
}
END_TEST

static void
tagged(struct world *w)
{
	char tag[300];

	edit_at_once(w);
	ck_assert_int_eq(get(w, CONFLICTS), 200);
	snprintf(tag, sizeof(tag), "If-None-Match: %s", web_header(&w->answer, "ETag"));
	ck_assert_int_eq(ask(w, READER, "GET", CONFLICTS, NULL, tag), 304);
	ck_assert_uint_eq(w->answer.body.len, 0);
	ck_assert_int_eq(ask(w, READER, "GET", CONFLICTS "?limit=7", NULL, tag), 200);
	ck_assert_int_eq(ask(w, READER, "GET", CONFLICTS "?after_server_seq=1", NULL, tag), 200);
	push_event(w, OWNER, "a", "10:00:03", "create issues td-2",
	           "{'new_data':{'id':'td-2','title':'Second'}}");
	ck_assert_int_eq(ask(w, READER, "GET", CONFLICTS, NULL, tag), 200);
	ck_assert_int_eq(ask(w, READER, "HEAD", CONFLICTS, NULL, NULL), 200);
	ck_assert_uint_eq(w->answer.body.len, 0);
}

START_TEST(who_has_the_list_already_is_told_304)
{
	with_each(tagged);
}
END_TEST

/* --- putting back --- */

#define RESTORE CONFLICTS "/3-1/restore"

static void
put_back(struct world *w)
{
	char want[256];

	edit_at_once(w);
	ck_assert_int_eq(ask(w, WRITER, "POST", RESTORE, NULL, NULL), 200);
	ck_assert_str_eq(w->answer.body.p, "{\"server_seq\":4,\"entity_type\":\"issues\","
	                 "\"entity_id\":\"td-1\",\"action_type\":\"update\"}\n");
	ck_assert_str_ne(web_header(&w->answer, "X-Log-Id"), "");
	/* An event like any other. */
	ck_assert_int_eq(get(w, "/v1/projects/{p}/sync/pull?after_server_seq=3"), 200);
	ck_assert_ptr_nonnull(strstr(w->answer.body.p, "\"server_seq\":4,\"device_id\":\"web\","
	                             "\"session_id\":\"web\",\"client_action_id\":0,"
	                             "\"action_type\":\"update\""));
	ck_assert_ptr_nonnull(strstr(w->answer.body.p, "{\"schema_version\":1,"
	                             "\"restored_conflict\":\"3-1\",\"new_data\":{\"id\":\"td-1\","
	                             "\"title\":\"Theirs\","));
	snprintf(want, sizeof(want), "\"user_id\":\"%s\"", w->users[WRITER]);
	ck_assert_ptr_nonnull(strstr(w->answer.body.p, want));
	ck_assert_int_eq(get(w, "/v1/projects/{p}/entities/issues/td-1/history"), 200);
	ck_assert_ptr_nonnull(strstr(w->answer.body.p, "{\"field\":\"title\",\"from\":\"Mine "
	                             "\\u003c\",\"to\":\"Theirs\"}"));
	ck_assert_ptr_nonnull(strstr(w->answer.body.p, ",\"restored_conflict\":\"3-1\""));
	/* Once is enough. */
	ck_assert_int_eq(ask(w, OWNER, "POST", RESTORE, "{}", NULL), 409);
	ck_assert(has_code(w, "conflict"));
	ck_assert_ptr_nonnull(strstr(w->answer.body.p, "The lost values stand there already."));
	ck_assert_int_eq(log_count(w), 4);
	/* By a device that says its name: of the second that is lost, the first. */
	push_event(w, OWNER, "a", "10:00:09", "update issues td-1",
	           "{'new_data':{'title':'Again'},'previous_data':{'title':'First'}}");
	ck_assert_int_eq(ask(w, OWNER, "POST", RESTORE,
	                     "{\"device_id\":\"phone\",\"session_id\":\"ses_p\",\"x\":[1]}", NULL),
	                 200);
	ck_assert_int_eq(get(w, "/v1/projects/{p}/sync/pull?after_server_seq=5"), 200);
	ck_assert_ptr_nonnull(strstr(w->answer.body.p, "\"device_id\":\"phone\","
	                             "\"session_id\":\"ses_p\""));
}

START_TEST(what_was_lost_is_put_back_by_an_event_of_who_does)
{
	with_each(put_back);
}
END_TEST

static void
not_put_back(struct world *w)
{
	static const struct {
		const char *why, *id, *body, *header;
		enum who who;
		int status;
		const char *code;
	} rows[] = {
		{ "no token", "3-1", NULL, NULL, NOBODY, 401, "unauthorized" },
		{ "a reader", "3-1", NULL, NULL, READER, 403, "forbidden" },
		{ "not a member", "3-1", NULL, NULL, STRANGER, 403, "forbidden" },
		{ "no such event", "9-1", NULL, NULL, WRITER, 404, "not_found" },
		{ "an event without", "2-1", NULL, NULL, WRITER, 404, "not_found" },
		{ "the second of one", "3-2", NULL, NULL, WRITER, 404, "not_found" },
		{ "no id", "x", NULL, NULL, WRITER, 404, "not_found" },
		{ "another spelling", "03-1", NULL, NULL, WRITER, 404, "not_found" },
		{ "no JSON", "3-1", "{", NULL, WRITER, 400, "bad_request" },
		{ "no object", "3-1", "[]", NULL, WRITER, 400, "bad_request" },
		{ "no text", "3-1", "{\"device_id\":7}", NULL, WRITER, 400, "bad_request" },
		{ "a NUL", "3-1", "{\"session_id\":\"a\\u0000b\"}", NULL, WRITER, 400,
		  "bad_request" },
		{ "the server's device", "3-1", "{\"device_id\":\"td-sync\"}", NULL, WRITER, 400,
		  "bad_request" },
		{ "another log", "3-1", NULL, "X-Log-Id: 00000000000000000000000000000000", WRITER,
		  409, "log_changed" },
	};
	char path[128], body[400], id[257];

	edit_at_once(w);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		snprintf(path, sizeof(path), CONFLICTS "/%s/restore", rows[i].id);
		ck_assert_msg(ask(w, rows[i].who, "POST", path, rows[i].body, rows[i].header) ==
		              rows[i].status && has_code(w, rows[i].code), "%s: %d %s", rows[i].why,
		              w->answer.status, w->answer.body.p);
	}
	memset(id, 'd', 256);
	id[256] = '\0';
	snprintf(body, sizeof(body), "{\"device_id\":\"%s\"}", id);
	ck_assert_int_eq(ask(w, WRITER, "POST", RESTORE, body, NULL), 400);
	ck_assert_int_eq(ask(w, WRITER, "GET", RESTORE, NULL, NULL), 405);
	ck_assert_int_eq(log_count(w), 3);
	id[255] = '\0';
	snprintf(body, sizeof(body), "{\"device_id\":\"%s\",\"session_id\":\"%s\"}", id, "");
	ck_assert_int_eq(ask(w, WRITER, "POST", RESTORE, body, NULL), 200);
	ck_assert_int_eq(log_count(w), 4);
}

START_TEST(who_may_not_or_asks_for_nonsense_puts_nothing_back)
{
	with_each(not_put_back);
}
END_TEST

/* A large one is put back by who has a place for what is large. */
static void
large(struct world *w)
{
	struct buf payload = { 0 };

	push_event(w, OWNER, "a", "10:00:00", "create issues td-1", "{'new_data':{'title':'T'}}");
	for (int i = 0; i < 2; i++) {
		buf_reset(&payload);
		buf_add_str(&payload, "{'previous_data':{'title':'T'},'new_data':{'title':'");
		for (int k = 0; k < 1500000; k++)
			buf_add_byte(&payload, (char)('a' + i));
		buf_add_str(&payload, "'}}");
		push_event(w, OWNER, i == 0 ? "a" : "b", "10:00:01", "update issues td-1",
		           buf_cstr(&payload));
	}
	ck_assert_int_eq(ask(w, WRITER, "POST", RESTORE, NULL, NULL), 200);
	ck_assert_int_eq(answer_number(w, "server_seq"), 4);
	ck_assert_int_eq(log_count(w), 4);
	ck_assert_int_eq(ask(w, WRITER, "POST", RESTORE, NULL, NULL), 409);
	buf_free(&payload);
}

START_TEST(what_was_large_is_put_back)
{
	with_each(large);
}
END_TEST

#define AT_ONCE 8

struct call {
	const struct world *w;
	pthread_t thread;
	int status;
};

static void *
put_back_once(void *ctx)
{
	struct call *c = ctx;
	struct web_answer answer = { 0 };
	char path[128];
	struct web_call call = { .method = "POST", .url = c->w->site.url, .path = path,
	                         .token = c->w->tokens[WRITER] };

	snprintf(path, sizeof(path), "/v1/projects/%s/sync/conflicts/3-1/restore",
	         c->w->project);
	c->status = web_call(&call, &answer) ? answer.status : 0;
	web_free(&answer);
	return NULL;
}

static void
many_put_back(struct world *w)
{
	struct call calls[AT_ONCE];
	int done = 0, too_late = 0, busy = 0;

	edit_at_once(w);
	for (int i = 0; i < AT_ONCE; i++) {
		calls[i] = (struct call){ .w = w };
		ck_assert_int_eq(pthread_create(&calls[i].thread, NULL, put_back_once, &calls[i]), 0);
	}
	for (int i = 0; i < AT_ONCE; i++) {
		pthread_join(calls[i].thread, NULL);
		done += calls[i].status == 200;
		too_late += calls[i].status == 409;
		busy += calls[i].status == 503;
	}
	ck_assert_int_eq(done, 1);
	ck_assert_int_eq(done + too_late + busy, AT_ONCE);
	ck_assert_int_eq(log_count(w), 4);
}

START_TEST(of_many_who_put_back_the_same_one_does)
{
	with_each(many_put_back);
}
END_TEST

static void
locked(struct world *w)
{
	static const char *const files[] = { STATE_LOCK, EVENTS_LOCK };
	char path[PATH_MAX + 128];
	struct lock *lock;
	int64_t start;

	edit_at_once(w);
	ck_assert_int_eq(get(w, CONFLICTS), 200);
	for (int i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "%s/%s", project_folder(w), files[i]);
		ck_assert_int_eq(lock_open(path, &lock, NULL), RC_OK);
		ck_assert_int_eq(lock_take(lock, clock_mono_ms() + 1000), RC_OK);
		start = clock_mono_ms();
		ck_assert_int_eq(ask(w, WRITER, "POST", RESTORE, NULL, NULL), 503);
		ck_assert(has_code(w, "busy"));
		ck_assert_int_ge(clock_mono_ms() - start, 2500);
		ck_assert_int_lt(clock_mono_ms() - start, SOON_MS);
		lock_close(lock);
		ck_assert_int_eq(log_count(w), 3);
	}
	ck_assert_int_eq(ask(w, WRITER, "POST", RESTORE, NULL, NULL), 200);
}

START_TEST(who_finds_a_lock_taken_is_told_so_in_time)
{
	with_each(locked);
}
END_TEST

TCase *
conflicts_case(void)
{
	TCase *tc = tcase_create("conflicts");

	tcase_set_timeout(tc, 240);
	tcase_add_test(tc, a_conflict_tells_both_sides);
	tcase_add_test(tc, a_page_never_ends_within_an_event);
	tcase_add_test(tc, a_page_ends_at_some_4_megabytes);
	tcase_add_test(tc, what_makes_no_sense_is_refused);
	tcase_add_test(tc, who_has_the_list_already_is_told_304);
	tcase_add_test(tc, what_was_lost_is_put_back_by_an_event_of_who_does);
	tcase_add_test(tc, who_may_not_or_asks_for_nonsense_puts_nothing_back);
	tcase_add_test(tc, what_was_large_is_put_back);
	tcase_add_test(tc, of_many_who_put_back_the_same_one_does);
	tcase_add_test(tc, who_finds_a_lock_taken_is_told_so_in_time);
	return tc;
}
