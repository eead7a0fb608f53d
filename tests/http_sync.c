/*
 * Sync beyond the recordings: log ids, ETags, lenient pushes, what is noted
 * after the answer, the access log, both forms on one data folder.
 */
#include "http_test.h"

#include "fcgi_client.h"
#include "patience.h"

#include "base/fs.h"
#include "base/json.h"
#include "base/lock.h"
#include "store/events.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PUSH "/v1/projects/{p}/sync/push"
#define STOCK_WAITS_MS 5000 /* then an automatic sync of td gives up */
#define PULL "/v1/projects/{p}/sync/pull"
#define STATUS "/v1/projects/{p}/sync/status"

/* "SEQ:DIGEST" of an event, out of the log itself. */
static void
last_event(const struct world *w, int64_t seq, char out[64])
{
	unsigned char digest[EVENT_DIGEST_LEN];
	struct events *log;
	int n = snprintf(out, 64, "%lld:", (long long)seq);

	ck_assert_int_eq(events_open(project_folder(w), &log, NULL), RC_OK);
	ck_assert_int_eq(events_digest(log, seq, digest, NULL), RC_OK);
	events_close(log);
	for (size_t i = 0; i < sizeof(digest); i++)
		n += snprintf(out + n, 64 - (size_t)n, "%02x", digest[i]);
}

/* A call of the reader's with up to three header lines. */
static int
ask_with(struct world *w, const char *method, const char *path, const char *body,
         const char *h1, const char *h2)
{
	char filled[256];
	struct web_call call = {
		.method = method, .url = w->site.url, .path = filled,
		.token = w->tokens[WRITER], .body = span_of(body), .headers = { h1, h2 },
	};
	const char *rest = path + strlen("/v1/projects/{p}");

	snprintf(filled, sizeof(filled), "/v1/projects/%s%s", w->project, rest);
	return web_call(&call, &w->answer) ? w->answer.status : 0;
}

/* --- which log is it --- */

static void
check_changed(struct world *w, const char *code, const char *log_id)
{
	struct span body, id;

	ck_assert_int_eq(w->answer.status, 409);
	ck_assert_msg(has_code(w, code), "%s", w->answer.body.p);
	ck_assert_int_eq(json_scan(buf_span(&w->answer.body), 8, &body, NULL, NULL), RC_OK);
	ck_assert(json_get(body, "log_id", &id) && json_string_is(id, log_id));
	ck_assert_int_eq(answer_number(w, "last_server_seq"), 3);
	ck_assert_str_eq(web_header(&w->answer, "X-Log-Id"), log_id);
}

static void
log_ids(struct world *w)
{
	static const char one[] =
	    "{\"device_id\":\"z\",\"session_id\":\"s\",\"events\":[{\"client_action_id\":9,"
	    "\"action_type\":\"create\",\"entity_type\":\"issues\",\"entity_id\":\"td-z\","
	    "\"payload\":{\"new_data\":{\"id\":\"td-z\",\"title\":\"Z\"}},"
	    "\"client_timestamp\":\"2026-03-01T10:00:00Z\"}]}";
	static const struct {
		const char *method, *path, *body;
	} calls[] = {
		{ "GET", STATUS, NULL }, { "GET", PULL, NULL }, { "POST", PUSH, one },
	};
	static const char other[] = "X-Log-Id: 00000000000000000000000000000000";
	char id[64], ours[96], last[64], right[96], wrong[96], beyond[96];

	ck_assert_int_eq(push_some(w, "d", 1, 3), 200);
	snprintf(id, sizeof(id), "%s", web_header(&w->answer, "X-Log-Id"));
	ck_assert(id_is(span_of(id), "", 32));
	snprintf(ours, sizeof(ours), "X-Log-Id: %s", id);
	last_event(w, 2, last);
	snprintf(right, sizeof(right), "X-Log-Last: %s", last);
	snprintf(wrong, sizeof(wrong), "X-Log-Last: 3%s", strchr(last, ':'));
	snprintf(beyond, sizeof(beyond), "X-Log-Last: 99%s", strchr(last, ':'));
	for (size_t i = 0; i < 3; i++) {
		const char *m = calls[i].method, *p = calls[i].path, *b = calls[i].body;

		ask_with(w, m, p, b, other, NULL);
		check_changed(w, "log_changed", id);
		ask_with(w, m, p, b, ours, wrong);
		check_changed(w, "log_changed", id);
		ask_with(w, m, p, b, ours, beyond);
		check_changed(w, "log_changed", id);
		ck_assert_int_eq(log_count(w), 3);
	}
	for (size_t i = 0; i < 3; i++) {
		const char *m = calls[i].method, *p = calls[i].path, *b = calls[i].body;

		ck_assert_int_eq(ask_with(w, m, p, b, ours, NULL), 200);
		/* A log that holds the event is good, whatever it was called. */
		ck_assert_int_eq(ask_with(w, m, p, b, other, right), 200);
		ck_assert_str_eq(web_header(&w->answer, "X-Log-Id"), id);
	}
	ck_assert_int_eq(log_count(w), 4);
}

static void
cursor_ahead(struct world *w)
{
	char id[64];

	/* a negative one is the start, as at the Go server */
	ck_assert_int_eq(ask(w, READER, "GET", PULL "?after_server_seq=-5", NULL, NULL), 200);
	ck_assert_int_eq(answer_number(w, "last_server_seq"), 0);
	ck_assert_int_eq(push_some(w, "d", 1, 3), 200);
	snprintf(id, sizeof(id), "%s", web_header(&w->answer, "X-Log-Id"));
	ask(w, READER, "GET", PULL "?after_server_seq=4", NULL, NULL);
	check_changed(w, "cursor_ahead", id);
	ck_assert_int_eq(ask(w, READER, "GET", PULL "?after_server_seq=3", NULL, NULL), 200);
}

START_TEST(a_caller_that_knows_another_log_is_told_so)
{
	with_each(log_ids);
}
END_TEST

START_TEST(a_cursor_beyond_the_head_is_an_error)
{
	with_each(cursor_ahead);
}
END_TEST

/* --- ETags --- */

/* A call that names the last answer's ETag, with something before it. */
static int
ask_again(struct world *w, const char *path, const char *before)
{
	char line[512];

	snprintf(line, sizeof(line), "If-None-Match: %s%s", before,
	         web_header(&w->answer, "ETag"));
	return ask(w, READER, "GET", path, NULL, line);
}

static void
etags(struct world *w)
{
	static const char *const paths[] = { STATUS, PULL, PULL "?after_server_seq=2&limit=7",
	                                     PULL "?after_server_seq=3" };
	static const char *const before[] = { "", "W/", "\"x\", ", "\"a,b\",W/" };
	char tag[256];

	ck_assert_int_eq(push_some(w, "d", 1, 3), 200);
	for (size_t i = 0; i < 4; i++) {
		ck_assert_int_eq(ask(w, READER, "GET", paths[i], NULL, NULL), 200);
		snprintf(tag, sizeof(tag), "%s", web_header(&w->answer, "ETag"));
		ck_assert_int_eq(tag[0], '"');
		ck_assert_int_eq(ask_again(w, paths[i], before[i]), 304);
		ck_assert_uint_eq(w->answer.body.len, 0);
		ck_assert_str_eq(web_header(&w->answer, "ETag"), tag);
		ck_assert_str_ne(web_header(&w->answer, "X-Log-Id"), "");
		/* Another page has another tag. */
		ck_assert_int_eq(ask_again(w, PULL "?after_server_seq=1", ""), 200);
	}
	ck_assert_int_eq(ask(w, READER, "GET", PULL, NULL, NULL), 200);
	snprintf(tag, sizeof(tag), "If-None-Match: %s", web_header(&w->answer, "ETag"));
	ck_assert_int_eq(push_some(w, "d", 4, 1), 200);
	ck_assert_int_eq(ask(w, READER, "GET", PULL, NULL, tag), 200);
	ck_assert_int_eq(answer_number(w, "last_server_seq"), 4);
	/* A page with more behind it is history. */
	ck_assert_int_eq(ask(w, READER, "GET", PULL "?limit=2", NULL, NULL), 200);
	ck_assert_str_eq(web_header(&w->answer, "ETag"), "");
}

START_TEST(who_has_the_page_at_the_head_is_told_304)
{
	with_each(etags);
}
END_TEST

/* --- lenient pushes --- */

static void
lenient(struct world *w)
{
	static const char body[] =
	    "{\"device_id\":\"d\",\"session_id\":\"s\",\"events\":["
	    "{\"client_action_id\":1,\"action_type\":\"create\",\"entity_type\":\"issues\","
	    "\"entity_id\":\"td-1\",\"payload\":{\"new_data\":{\"id\":\"td-1\",\"title\":\"A\"}},"
	    "\"client_timestamp\":\"yesterday\"},"
	    "{\"client_action_id\":2,\"action_type\":\"create\",\"entity_type\":\"issues\","
	    "\"entity_id\":\"td-2\",\"payload\":{\"new_data\":{\"id\":\"td-2\",\"title\":\"B\"}},"
	    "\"client_timestamp\":\"2026-03-01T10:00:00Z\"}]}";

	ck_assert_int_eq(ask(w, WRITER, "POST", PUSH, body, NULL), 400);
	ck_assert_int_eq(ask(w, WRITER, "POST", PUSH, body, "Prefer: handling=strict"), 400);
	ck_assert_int_eq(ask(w, WRITER, "POST", PUSH, body, "Prefer: handling=lenientx"), 400);
	ck_assert_int_eq(log_count(w), 0);
	ck_assert_int_eq(ask(w, WRITER, "POST", PUSH, body,
	                     "Prefer: respond-async, handling=lenient; x=1"), 200);
	ck_assert_str_eq(w->answer.body.p,
	                 "{\"accepted\":1,\"acks\":[{\"client_action_id\":2,\"server_seq\":1}],"
	                 "\"rejected\":[{\"client_action_id\":1,"
	                 "\"reason\":\"invalid timestamp for action 1\"}]}\n");
	ck_assert_int_eq(log_count(w), 1);
}

START_TEST(a_lenient_push_loses_its_bad_events_only)
{
	with_each(lenient);
}
END_TEST

/* --- what is noted after the answer --- */

static void
devices(struct world *w)
{
	static const struct span nothing = { NULL, 0 };
	static const char ahead[] =
	    "{\"device_id\":\"clock\",\"session_id\":\"s\",\"events\":[{\"client_action_id\":9,"
	    "\"action_type\":\"create\",\"entity_type\":\"issues\",\"entity_id\":\"td-z\","
	    "\"payload\":{\"new_data\":{\"id\":\"td-z\",\"title\":\"Z\"}},"
	    "\"client_timestamp\":\"%s\"}]}";
	char id[ID_MAX], text[TIME_TEXT], body[512];
	char *token = site_token(&w->site, w->users[READER], SCOPE_READ, NULL, id);
	struct device_state state;

	ck_assert_int_eq(push_some(w, "mine", 1, 5), 200);
	ck_assert(until_device(w, w->tokens[READER], PULL "?exclude_client=mine&limit=3",
	                       nothing, "mine", 3, &state));
	/* its own events are sent all the same */
	ck_assert_int_eq(answer_number(w, "last_server_seq"), 3);
	ck_assert_int_eq(state.served_seq, 3);
	ck_assert(until_device(w, token, PULL, nothing, id, 5, &state));
	ck_assert_int_eq(ask(w, READER, "HEAD", PULL "?exclude_client=head", NULL, NULL), 200);
	usleep(50000);
	ck_assert_int_eq(devices_get(project_folder(w), span_of("head"), &state), RC_NOT_FOUND);
	snprintf(body, sizeof(body), ahead, time_text(clock_now_us() / 1000000 + 3600, text));
	ck_assert(until_device(w, w->tokens[WRITER], PUSH, span_of(body), "clock", 0, &state));
	ck_assert_int_gt(state.ahead_ms, 3500 * 1000);
	ck_assert_int_lt(state.ahead_ms, 3700 * 1000);
	free(token);
}

START_TEST(devices_are_noted_when_they_were_served)
{
	with_each(devices);
}
END_TEST

/* --- answers --- */

static void
heads(struct world *w)
{
	static const char *const paths[] = { "/healthz", "/v1/projects", "/v1/projects/{p}",
	                                     "/v1/projects/{p}/members", STATUS, PULL };
	char length[32];

	ck_assert_int_eq(push_some(w, "d", 1, 5), 200);
	for (size_t i = 0; i < 6; i++) {
		ck_assert_int_eq(ask(w, OWNER, "GET", paths[i], NULL, NULL), 200);
		snprintf(length, sizeof(length), "%zu", w->answer.body.len);
		ck_assert_str_eq(web_header(&w->answer, "Content-Length"), length);
		ck_assert_str_eq(web_header(&w->answer, "Cache-Control"), "private, no-store");
		ck_assert_int_eq(ask(w, OWNER, "HEAD", paths[i], NULL, NULL), 200);
		ck_assert_uint_eq(w->answer.body.len, 0);
		ck_assert_str_eq(web_header(&w->answer, "Content-Length"), length);
	}
}

START_TEST(head_tells_what_get_would)
{
	with_each(heads);
}
END_TEST

/* 8 MiB go in as one event and come out as a page of their own. */
static void
large(struct world *w)
{
	struct buf body = { 0 };
	struct span page, events, event, payload, data, text;
	struct json_iter it;

	buf_add_str(&body, "{\"device_id\":\"d\",\"session_id\":\"s\",\"events\":["
	            "{\"client_action_id\":1,\"action_type\":\"create\",\"entity_type\":\"issues\","
	            "\"entity_id\":\"td-1\",\"payload\":{\"new_data\":{\"id\":\"td-1\",\"title\":\"");
	for (int i = 0; i < 8 << 20; i++)
		buf_add_byte(&body, 'y');
	buf_add_str(&body, "\"}},\"client_timestamp\":\"2026-03-01T10:00:00Z\"}]}");
	ck_assert_int_eq(push_some(w, "d", 5, 1), 200);
	ck_assert_int_eq(ask_as(w, w->tokens[WRITER], "POST", PUSH, buf_span(&body), NULL), 200);
	ck_assert_int_eq(push_some(w, "d", 6, 1), 200);
	ck_assert_int_eq(ask(w, READER, "GET", PULL "?after_server_seq=1", NULL, NULL), 200);
	ck_assert_int_eq(answer_number(w, "last_server_seq"), 2);
	ck_assert_int_eq(json_scan(buf_span(&w->answer.body), 64, &page, NULL, NULL), RC_OK);
	ck_assert(json_get(page, "events", &events));
	json_iter_init(&it, events);
	ck_assert(json_next(&it, &text, &event));
	ck_assert(json_get(event, "payload", &payload) && json_get(payload, "new_data", &data) &&
	          json_get(data, "title", &text));
	ck_assert_uint_eq(text.len, (8 << 20) + 2);
	ck_assert_int_eq(ask(w, READER, "GET", PULL "?after_server_seq=2", NULL, NULL), 200);
	ck_assert_int_eq(answer_number(w, "last_server_seq"), 3);
	buf_free(&body);
}

/* "/\evil.example" is another host to a browser. */
START_TEST(a_doubled_slash_never_leads_to_another_server)
{
	struct site_options options = { .kind = SITE_FASTCGI };
	struct world w;

	world_start(&w, &options);
	ck_assert_int_eq(ask(&w, NOBODY, "GET", "//v1//projects?a=/b", NULL, NULL), 307);
	ck_assert_str_eq(web_header(&w.answer, "Location"), "/v1/projects?a=/b");
	ck_assert_int_eq(ask(&w, NOBODY, "GET", "///evil.example/", NULL, NULL), 307);
	ck_assert_str_eq(web_header(&w.answer, "Location"), "/evil.example/");
	ck_assert_int_eq(ask(&w, NOBODY, "GET", "//%5cevil.example/", NULL, NULL), 307);
	ck_assert_str_eq(web_header(&w.answer, "Location"), "/%5Cevil.example/");
	world_stop(&w);
}
END_TEST

START_TEST(a_push_of_8_mib_passes)
{
	with_each(large);
}
END_TEST

START_TEST(json_is_compressed_for_who_takes_it)
{
	struct site_options options = { .kind = SITE_FASTCGI };
	struct world w;
	size_t plain;

	world_start(&w, &options);
	ck_assert_int_eq(push_some(&w, "d", 1, 100), 200);
	ck_assert_int_eq(ask(&w, READER, "GET", PULL, NULL, NULL), 200);
	plain = w.answer.body.len;
	ck_assert_int_eq(ask(&w, READER, "GET", PULL, NULL, "Accept-Encoding: gzip"), 200);
	ck_assert_str_eq(web_header(&w.answer, "Content-Encoding"), "gzip");
	ck_assert_uint_lt(w.answer.body.len, plain / 4);
	/* nginx weakened the tag; it still counts. */
	ck_assert_int_eq(strncmp(web_header(&w.answer, "ETag"), "W/\"", 3), 0);
	ck_assert_int_eq(ask_again(&w, PULL, ""), 304);
	world_stop(&w);
}
END_TEST

/* --- when the data can't be had --- */

static void
no_accounts(struct world *w)
{
	char from[PATH_MAX + 16], to[PATH_MAX + 16];

	snprintf(from, sizeof(from), "%s/server.db", w->site.data);
	snprintf(to, sizeof(to), "%s/elsewhere", w->site.data);
	ck_assert_int_eq(ask(w, NOBODY, "GET", "/healthz", NULL, NULL), 200);
	ck_assert_int_eq(rename(from, to), 0);
	ck_assert_int_eq(ask(w, NOBODY, "GET", "/healthz", NULL, NULL), 503);
	ck_assert_ptr_nonnull(strstr(w->answer.body.p, "{\"status\":\"error\",\"detail\":"));
	ck_assert_ptr_null(strstr(w->answer.body.p, w->site.dir));
	ck_assert_int_eq(ask(w, READER, "GET", STATUS, NULL, NULL), 503);
	ck_assert(has_code(w, "unavailable"));
	ck_assert_str_ne(web_header(&w->answer, "Retry-After"), "");
	ck_assert_ptr_null(strstr(w->answer.body.p, w->site.dir));
	ck_assert_int_eq(rename(to, from), 0);
	ck_assert_int_eq(ask(w, NOBODY, "GET", "/healthz", NULL, NULL), 200);
	ck_assert_int_eq(ask(w, READER, "GET", STATUS, NULL, NULL), 200);
}

START_TEST(without_its_accounts_a_server_says_503_until_they_are_back)
{
	with_each(no_accounts);
}
END_TEST

/* Whether the error log holds a line with that request id and text. */
static bool
logged(const struct world *w, const char *request_id, const char *text)
{
	struct buf log = { 0 };
	bool found = false;

	ck_assert_int_eq(fs_read(w->site.error_log, 1 << 24, &log, NULL), RC_OK);
	buf_cstr(&log);
	for (char *line = strtok(log.p, "\n"); line != NULL; line = strtok(NULL, "\n"))
		found = found || (strstr(line, request_id) != NULL && strstr(line, text) != NULL);
	buf_free(&log);
	return found;
}

static void
no_log(struct world *w)
{
	char from[PATH_MAX + 128], to[PATH_MAX + 128], id[64];

	ck_assert_int_eq(push_some(w, "d", 1, 2), 200);
	snprintf(from, sizeof(from), "%s", project_folder(w));
	snprintf(to, sizeof(to), "%s.away", project_folder(w));
	ck_assert_int_eq(rename(from, to), 0);
	ck_assert_int_eq(push_some(w, "d", 3, 1), 503);
	ck_assert(has_code(w, "unavailable"));
	ck_assert_ptr_null(strstr(w->answer.body.p, w->site.dir));
	snprintf(id, sizeof(id), "%s", web_header(&w->answer, "X-Request-Id"));
	ck_assert(logged(w, id, "RC_UNAVAILABLE"));
	ck_assert_int_eq(rename(to, from), 0);
	ck_assert_int_eq(push_some(w, "d", 3, 1), 200);
	ck_assert_int_eq(log_count(w), 3);
}

START_TEST(a_project_without_its_log_is_503_and_the_log_tells_why)
{
	with_each(no_log);
}
END_TEST

static void
busy(struct world *w)
{
	char path[PATH_MAX + 128];
	struct lock *lock;
	int64_t took = SOON_MS;

	snprintf(path, sizeof(path), "%s/" EVENTS_LOCK, project_folder(w));
	ck_assert_int_eq(push_some(w, "d", 1, 1), 200);
	ck_assert_int_eq(lock_open(path, &lock, NULL), RC_OK);
	ck_assert_int_eq(lock_take(lock, clock_mono_ms() + 1000), RC_OK);
	/* A machine that is busy may be late, but not each time. */
	for (int i = 0; i < 5 && took >= STOCK_WAITS_MS; i++) {
		int64_t start = clock_mono_ms();

		ck_assert_int_eq(push_some(w, "d", 2, 1), 503);
		took = clock_mono_ms() - start;
		ck_assert_int_ge(took, 2500);
		ck_assert(has_code(w, "busy"));
		ck_assert_str_eq(web_header(&w->answer, "Retry-After"), "1");
	}
	ck_assert_int_lt(took, STOCK_WAITS_MS);
	/* Reading waits for nobody, else it could not be 200. */
	ck_assert_int_eq(log_count(w), 1);
	ck_assert_int_eq(ask(w, READER, "GET", PULL, NULL, NULL), 200);
	lock_close(lock);
	ck_assert_int_eq(push_some(w, "d", 2, 1), 200);
}

START_TEST(a_push_to_a_locked_project_is_503_in_time)
{
	with_each(busy);
}
END_TEST

/* --- the access log --- */

/* The access log's line of the last answer. */
static struct span
access_line(const struct world *w, struct buf *text)
{
	char id[64];
	struct span line = { NULL, 0 };

	snprintf(id, sizeof(id), "%s", web_header(&w->answer, "X-Request-Id"));
	buf_reset(text);
	ck_assert_int_eq(fs_read(w->site.access_log, 1 << 24, text, NULL), RC_OK);
	buf_cstr(text);
	for (char *p = strtok(text->p, "\n"); p != NULL; p = strtok(NULL, "\n"))
		if (strstr(p, id) != NULL) {
			ck_assert_ptr_null(line.p); /* one line a request */
			ck_assert_int_eq(json_scan(span_of(p), 4, &line, NULL, NULL), RC_OK);
		}
	ck_assert_ptr_nonnull(line.p);
	return line;
}

static void
check_member(struct span line, const char *key, const char *want)
{
	struct span value = { NULL, 0 };

	ck_assert_msg(json_get(line, key, &value) == (want != NULL), "%s: %.*s", key,
	              (int)line.len, line.p);
	if (want != NULL)
		ck_assert_msg(json_string_is(value, want), "%s is %.*s, not %s", key,
		              (int)value.len, value.p, want);
}

static int64_t
number_of(struct span line, const char *key)
{
	struct span value;
	int64_t n = -1;

	ck_assert_msg(json_get(line, key, &value) && json_int64(value, &n), "%s: %.*s", key,
	              (int)line.len, line.p);
	return n;
}

static void
access_log(struct world *w)
{
	struct buf text = { 0 }, body = { 0 };
	struct span line, value;
	struct instant at;
	struct buf time = { 0 };
	double ms;

	make_push(&body, "d", 1, 2);
	ck_assert_int_eq(push_some(w, "d", 1, 2), 200);
	line = access_line(w, &text);
	check_member(line, "request_id", web_header(&w->answer, "X-Request-Id"));
	check_member(line, "method", "POST");
	check_member(line, "route", "/v1/projects/{id}/sync/push");
	check_member(line, "path", NULL);
	check_member(line, "project", w->project);
	check_member(line, "user", w->users[WRITER]);
	ck_assert_int_eq(number_of(line, "status"), 200);
	ck_assert_int_eq(number_of(line, "bytes_in"), (int64_t)body.len);
	ck_assert_int_eq(number_of(line, "bytes_out"), (int64_t)w->answer.body.len);
	ck_assert(json_get(line, "ms", &value) && json_double(value, &ms) && ms > 0 && ms < 60000);
	ck_assert(json_get(line, "time", &value) && json_string(value, &time) &&
	          time_parse_rfc3339(buf_span(&time), &at));
	ck_assert_int_lt(llabs(at.sec - clock_now_us() / 1000000), 60);
	ask(w, NOBODY, "GET", "/nope/\"%0a\xff", NULL, NULL);
	line = access_line(w, &text);
	check_member(line, "route", NULL);
	check_member(line, "path", "/nope/\"\n\xef\xbf\xbd");
	check_member(line, "user", NULL);
	ck_assert_int_eq(number_of(line, "status"), 404);
	ask(w, STRANGER, "GET", PULL, NULL, NULL);
	line = access_line(w, &text);
	check_member(line, "project", w->project);
	ck_assert_int_eq(number_of(line, "status"), 403);
	buf_free(&text);
	buf_free(&body);
	buf_free(&time);
}

START_TEST(each_request_is_one_line_of_the_access_log)
{
	with_each(access_log);
}
END_TEST

/* --- parameters as web servers send them --- */

START_TEST(the_worker_understands_what_other_web_servers_send)
{
	struct site_options options = { .kind = SITE_FASTCGI };
	struct world w;
	struct buf answer = { 0 };
	char bearer[5000], path[256];

	world_start(&w, &options);
	snprintf(bearer, sizeof(bearer), "Bearer %s", w.tokens[READER]);
	snprintf(path, sizeof(path), "/v1/projects/%s/sync/status", w.project);
	const char *const sets[][16] = {
		/* Apache after a rewrite, at a sub-path */
		{ "REQUEST_METHOD", "GET", "SCRIPT_NAME", "/x/td-sync.fcgi", "PATH_INFO", path,
		  "REDIRECT_HTTP_AUTHORIZATION", bearer, NULL },
		/* nginx with its stock fastcgi_params, at the root */
		{ "REQUEST_METHOD", "GET", "SCRIPT_NAME", path, "HTTP_AUTHORIZATION", bearer, NULL },
		{ "REQUEST_METHOD", "GET", "SCRIPT_NAME", path, "PATH_INFO", "",
		  "HTTP_AUTHORIZATION", bearer, "CONTENT_LENGTH", "", NULL },
		/* an id of the web server's, and one that is none */
		{ "REQUEST_METHOD", "GET", "PATH_INFO", path, "HTTP_AUTHORIZATION", bearer,
		  "REQUEST_ID", "00112233445566778899aabbccddeeff", NULL },
		{ "REQUEST_METHOD", "GET", "PATH_INFO", path, "HTTP_AUTHORIZATION", bearer,
		  "REQUEST_ID", "x\r\nSet-Cookie: y", NULL },
	};
	for (size_t i = 0; i < sizeof(sets) / sizeof(sets[0]); i++) {
		int fd = fcgi_connect(w.site.socket);

		/* The third asks to keep the connection: it is answered, and closed. */
		ck_assert(fcgi_send(fd, sets[i], (struct span){ NULL, 0 }, i == 2));
		ck_assert(fcgi_receive(fd, &answer));
		ck_assert_msg(strstr(answer.p, "Status: 200 ") != NULL, "%zu: %s", i, answer.p);
		ck_assert_ptr_null(strstr(answer.p, "Set-Cookie"));
		if (i == 3)
			ck_assert_ptr_nonnull(
			    strstr(answer.p, "X-Request-Id: 00112233445566778899aabbccddeeff\r\n"));
	}
	buf_free(&answer);
	world_stop(&w);
}
END_TEST

/* --- CGI and FastCGI on one data folder --- */

#define PUSHERS 4
#define PUSHES 10
#define EVENTS 20

struct pusher {
	pthread_t thread;
	const struct world *w; /* whose project and tokens */
	const char *url;
	int number;
	int failed;
};

static void *
push_away(void *ctx)
{
	struct pusher *p = ctx;
	struct web_answer answer = { 0 };
	char path[128], device[32];

	snprintf(path, sizeof(path), "/v1/projects/%s/sync/push", p->w->project);
	snprintf(device, sizeof(device), "dev%d", p->number);
	for (int i = 0; i < PUSHES; i++) {
		struct buf body = { 0 };
		struct web_call call = { .method = "POST", .url = p->url, .path = path,
		                         .token = p->w->tokens[WRITER] };

		make_push(&body, device, 1 + i * EVENTS, EVENTS);
		call.body = buf_span(&body);
		for (int tries = 0; !web_call(&call, &answer) || answer.status != 200; tries++)
			if (answer.status != 503 || tries == 20) {
				fprintf(stderr, "push: %d %s\n", answer.status,
				        answer.body.p != NULL ? answer.body.p : "");
				p->failed++;
				break;
			}
		buf_free(&body);
	}
	web_free(&answer);
	return NULL;
}

START_TEST(workers_and_cgi_write_one_log)
{
	struct site_options fast = { .kind = SITE_FASTCGI }, slow = { .kind = SITE_CGI };
	struct pusher pushers[PUSHERS];
	struct buf page = { 0 };
	struct world w;
	struct site cgi;
	struct web_call call = { 0 };
	char path[128];

	world_start(&w, &fast);
	slow.data = w.site.data;
	ck_assert(site_start(&cgi, &slow));
	for (int i = 0; i < PUSHERS; i++) {
		pushers[i] = (struct pusher){ .w = &w, .number = i };
		pushers[i].url = i % 2 == 0 ? w.site.url : cgi.url;
		ck_assert_int_eq(pthread_create(&pushers[i].thread, NULL, push_away, &pushers[i]), 0);
	}
	for (int i = 0; i < PUSHERS; i++) {
		pthread_join(pushers[i].thread, NULL);
		ck_assert_int_eq(pushers[i].failed, 0);
	}
	ck_assert_int_eq(log_count(&w), PUSHERS * PUSHES * EVENTS);
	/* Both serve the same bytes. */
	ck_assert_int_eq(ask(&w, READER, "GET", PULL, NULL, NULL), 200);
	buf_add_span(&page, buf_span(&w.answer.body));
	snprintf(path, sizeof(path), "/v1/projects/%s/sync/pull", w.project);
	call = (struct web_call){ .url = cgi.url, .path = path, .token = w.tokens[READER] };
	ck_assert(web_call(&call, &w.answer));
	ck_assert_int_eq(w.answer.status, 200);
	ck_assert(span_eq(buf_span(&page), buf_span(&w.answer.body)));
	buf_free(&page);
	ck_assert(site_stop(&cgi));
	world_stop(&w);
}
END_TEST

TCase *
sync_case(void)
{
	TCase *tc = tcase_create("sync");

	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, a_caller_that_knows_another_log_is_told_so);
	tcase_add_test(tc, a_cursor_beyond_the_head_is_an_error);
	tcase_add_test(tc, who_has_the_page_at_the_head_is_told_304);
	tcase_add_test(tc, a_lenient_push_loses_its_bad_events_only);
	tcase_add_test(tc, devices_are_noted_when_they_were_served);
	tcase_add_test(tc, head_tells_what_get_would);
	tcase_add_test(tc, a_push_of_8_mib_passes);
	tcase_add_test(tc, without_its_accounts_a_server_says_503_until_they_are_back);
	tcase_add_test(tc, a_project_without_its_log_is_503_and_the_log_tells_why);
	tcase_add_test(tc, a_push_to_a_locked_project_is_503_in_time);
	tcase_add_test(tc, each_request_is_one_line_of_the_access_log);
	if (!http_can_run(SITE_FASTCGI))
		return tc;
	tcase_add_test(tc, a_doubled_slash_never_leads_to_another_server);
	tcase_add_test(tc, json_is_compressed_for_who_takes_it);
	tcase_add_test(tc, the_worker_understands_what_other_web_servers_send);
	tcase_add_test(tc, workers_and_cgi_write_one_log);
	return tc;
}
