/* Pushes and pages, straight on a log: no HTTP, no auth. */
#include "base/clock.h"
#include "base/json.h"
#include "base/lock.h"
#include "engine/digest.h"
#include "engine/page.h"
#include "engine/push.h"
#include "tests/temp.h"

#include <check.h>
#include <inttypes.h>
#include <string.h>

static char dir[TEMP_PATH];
static struct events *lg; /* the log of the test */
static struct buf answer, body, sent, page_text;
static struct err err;

static void
setup(void)
{
	char path[TEMP_PATH + 8];

	temp_make(dir);
	snprintf(path, sizeof(path), "%s/log", dir);
	ck_assert_msg(events_create(path, "td", &err) == RC_OK, "%s", err.text);
	ck_assert_msg(events_open(path, &lg, &err) == RC_OK, "%s", err.text);
}

static void
teardown(void)
{
	events_close(lg);
	buf_free(&answer);
	buf_free(&body);
	buf_free(&sent);
	buf_free(&page_text);
	temp_remove(dir);
}

/* Push a body; the outcome, with the answer in `answer` or the cause in err. */
static enum rc
push_by(const char *user, const char *text, struct push_rules rules)
{
	struct push *p;
	enum rc rc;

	buf_reset(&sent);
	buf_add_str(&sent, text);
	rc = push_parse(&sent, &profile_td, rules, &p, &err);
	if (rc == RC_OK)
		rc = push_append(p, lg, span_of(user), 1700000000000000, clock_mono_ms() + 3000,
		                 &answer, NULL, &err);
	push_free(p);
	if (rc != RC_OK)
		buf_reset(&answer);
	buf_cstr(&answer);
	return rc;
}

static enum rc
push(const char *text)
{
	return push_by("u_1", text, (struct push_rules){ 0 });
}

#define TIME "\"client_timestamp\":\"2026-03-01T10:00:00Z\""
#define PAYLOAD "\"payload\":{\"schema_version\":1,\"new_data\":{\"id\":\"td-1\",\"title\":\"t\"},\"previous_data\":{}}"

/* A push of one event with these members beside the envelope. */
static const char *
one(const char *members)
{
	buf_reset(&body);
	buf_addf(&body, "{\"device_id\":\"d\",\"session_id\":\"s\",\"events\":[{%s}]}", members);
	return buf_cstr(&body);
}

/* A create of an issue under an action id. */
static const char *
issue(int action_id)
{
	char members[400];

	snprintf(members, sizeof(members),
	         "\"client_action_id\":%d,\"action_type\":\"create\","
	         "\"entity_type\":\"issues\",\"entity_id\":\"td-%d\"," PAYLOAD "," TIME,
	         action_id, action_id);
	return one(members);
}

static struct page
pull(int64_t after, int64_t limit)
{
	struct page p;

	buf_reset(&page_text);
	ck_assert_msg(page_write(lg, after, limit, &page_text, &p, &err) == RC_OK,
	              "%s", err.text);
	buf_cstr(&page_text);
	return p;
}

static int64_t
head_seq(void)
{
	struct events_head h;

	ck_assert_int_eq(events_head(lg, &h, &err), RC_OK);
	return h.seq;
}

/* --- push --- */

START_TEST(a_push_is_acked_in_order_with_its_seqs)
{
	ck_assert_int_eq(push(issue(1)), RC_OK);
	ck_assert_str_eq(answer.p, "{\"accepted\":1,\"acks\":[{\"client_action_id\":1,"
	                           "\"server_seq\":1}]}\n");
}
END_TEST

START_TEST(a_push_sent_twice_keeps_its_seq)
{
	push(issue(17));
	ck_assert_int_eq(push(issue(17)), RC_OK);
	ck_assert_str_eq(answer.p,
	                 "{\"accepted\":0,\"acks\":null,\"rejected\":[{\"client_action_id\":17,"
	                 "\"reason\":\"duplicate\",\"server_seq\":1}]}\n");
	ck_assert_int_eq(head_seq(), 1);
}
END_TEST

START_TEST(what_happened_is_the_key_whoever_sends_it)
{
	static const struct { const char *why, *body; bool same; } rows[] = {
		{ "another session",
		  "{\"device_id\":\"d\",\"session_id\":\"other\",\"events\":[{\"client_action_id\":1,"
		  "\"action_type\":\"create\",\"entity_type\":\"issues\",\"entity_id\":\"td-1\","
		  PAYLOAD "," TIME "}]}", true },
		{ "another device",
		  "{\"device_id\":\"e\",\"session_id\":\"s\",\"events\":[{\"client_action_id\":1,"
		  "\"action_type\":\"create\",\"entity_type\":\"issues\",\"entity_id\":\"td-1\","
		  PAYLOAD "," TIME "}]}", true },
		{ "alias, old action, offset, white space, escapes",
		  "{\"device_id\":\"d\",\"session_id\":\"s\",\"events\":[{\"client_action_id\":1,"
		  "\"action_type\":\"board_create\",\"entity_type\":\"Issue\",\"entity_id\":\"td-\\u0031\","
		  "\"payload\": {\"schema_version\": 1, \"new_data\": {\"id\":\"td-1\",\"title\":\"\\u0074\"}"
		  ", \"previous_data\": {}},\"client_timestamp\":\"2026-03-01T12:00:00.0+02:00\"}]}", true },
		{ "another entity",
		  "{\"device_id\":\"d\",\"session_id\":\"s\",\"events\":[{\"client_action_id\":1,"
		  "\"action_type\":\"create\",\"entity_type\":\"issues\",\"entity_id\":\"td-2\","
		  PAYLOAD "," TIME "}]}", false },
		{ "another instant",
		  "{\"device_id\":\"d\",\"session_id\":\"s\",\"events\":[{\"client_action_id\":1,"
		  "\"action_type\":\"create\",\"entity_type\":\"issues\",\"entity_id\":\"td-1\","
		  PAYLOAD ",\"client_timestamp\":\"2026-03-01T10:00:01Z\"}]}", false },
		{ "another action",
		  "{\"device_id\":\"d\",\"session_id\":\"s\",\"events\":[{\"client_action_id\":1,"
		  "\"action_type\":\"update\",\"entity_type\":\"issues\",\"entity_id\":\"td-1\","
		  PAYLOAD "," TIME "}]}", false },
		{ "another number",
		  "{\"device_id\":\"d\",\"session_id\":\"s\",\"events\":[{\"client_action_id\":2,"
		  "\"action_type\":\"create\",\"entity_type\":\"issues\",\"entity_id\":\"td-1\","
		  PAYLOAD "," TIME "}]}", false },
		{ "another value",
		  "{\"device_id\":\"d\",\"session_id\":\"s\",\"events\":[{\"client_action_id\":1,"
		  "\"action_type\":\"create\",\"entity_type\":\"issues\",\"entity_id\":\"td-1\","
		  "\"payload\":{\"schema_version\":1,\"new_data\":{\"id\":\"td-1\",\"title\":\"T\"},\"previous_data\":{}},"
		  TIME "}]}", false },
	};

	push(issue(1));
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		int64_t before = head_seq();

		ck_assert_msg(push_by("u_2", rows[i].body, (struct push_rules){ 0 }) == RC_OK,
		              "%s: %s", rows[i].why, err.text);
		ck_assert_msg(head_seq() - before == !rows[i].same, "%s", rows[i].why);
	}
}
END_TEST

START_TEST(without_a_number_device_and_session_join_the_key)
{
	static const char fmt[] = "{\"device_id\":\"%s\",\"session_id\":\"%s\",\"events\":[{"
	    "\"action_type\":\"create\",\"entity_type\":\"issues\",\"entity_id\":\"td-1\","
	    PAYLOAD "," TIME "}]}";
	static const struct { const char *device, *session; int64_t head; } rows[] = {
		{ "a", "s", 1 }, { "a", "s", 1 }, { "b", "s", 2 }, { "a", "t", 3 }, { "b", "s", 3 },
	};
	char text[800];

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		snprintf(text, sizeof(text), fmt, rows[i].device, rows[i].session);
		ck_assert_int_eq(push(text), RC_OK);
		ck_assert_int_eq(head_seq(), rows[i].head);
	}
}
END_TEST

START_TEST(a_bad_push_is_refused_whole_with_its_cause)
{
	static const struct { const char *why, *body, *cause; } rows[] = {
		{ "empty", "", "invalid json body" },
		{ "not JSON", "not json", "invalid json body" },
		{ "an array", "[]", "invalid json body" },
		{ "cut short", "{\"device_id\":\"d\",\"session_id\":\"s\",\"events\":[{", "invalid json body" },
		{ "no device", "{\"session_id\":\"s\",\"events\":[{}]}", "device_id is required" },
		{ "null device", "{\"device_id\":null,\"session_id\":\"s\",\"events\":[{}]}", "device_id is required" },
		{ "number for a device", "{\"device_id\":1,\"session_id\":\"s\",\"events\":[{}]}", "device_id must be a string" },
		{ "no session", "{\"device_id\":\"d\",\"events\":[{}]}", "session_id is required" },
		{ "no events", "{\"device_id\":\"d\",\"session_id\":\"s\",\"events\":[]}", "events array is empty" },
		{ "events missing", "{\"device_id\":\"d\",\"session_id\":\"s\"}", "events array is empty" },
		{ "events null", "{\"device_id\":\"d\",\"session_id\":\"s\",\"events\":null}", "events array is empty" },
		{ "events an object", "{\"device_id\":\"d\",\"session_id\":\"s\",\"events\":{}}", "invalid json body" },
		{ "an event that is a number", "{\"device_id\":\"d\",\"session_id\":\"s\",\"events\":[1]}", "invalid json body" },
		{ "events twice", "{\"device_id\":\"d\",\"session_id\":\"s\",\"events\":[],\"events\":[]}", "events is there twice" },
		{ "the server's device", "{\"device_id\":\"td-sync\",\"session_id\":\"s\",\"events\":[{}]}", "td-sync is the server's own" },
		{ "NUL in the device", "{\"device_id\":\"d\\u0000\",\"session_id\":\"s\",\"events\":[{}]}", "device_id holds a NUL" },
		{ "invalid UTF-8", "{\"device_id\":\"d\xff\",\"session_id\":\"s\",\"events\":[{}]}", "invalid json body" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		ck_assert_msg(push(rows[i].body) == RC_INVALID, "%s", rows[i].why);
		ck_assert_msg(strstr(err.text, rows[i].cause) != NULL, "%s: %s", rows[i].why, err.text);
	}
	ck_assert_int_eq(head_seq(), 0);
}
END_TEST

#define GOOD "\"client_action_id\":1,\"action_type\":\"create\",\"entity_type\":\"issues\",\"entity_id\":\"td-1\"," PAYLOAD "," TIME

/* Events that refuse the whole push, or are rejected alone when lenient. */
static const struct { const char *why, *members, *cause; } bad_events[] = {
	{ "empty", "", "invalid entity_type: " },
	{ "malformed type", "\"entity_type\":\"No Type\",\"entity_id\":\"x\",\"payload\":{}," TIME, "invalid entity_type: No Type" },
	{ "type a number", "\"entity_type\":1,\"entity_id\":\"x\",\"payload\":{}," TIME, "entity_type must be a string" },
	{ "action id a string", "\"client_action_id\":\"1\",\"entity_type\":\"issues\",\"entity_id\":\"x\",\"payload\":{}," TIME, "client_action_id must be an integer" },
	{ "action id a fraction", "\"client_action_id\":1.5,\"entity_type\":\"issues\",\"entity_id\":\"x\",\"payload\":{}," TIME, "client_action_id must be an integer" },
	{ "action id above 2^63", "\"client_action_id\":9223372036854775808,\"entity_type\":\"issues\",\"entity_id\":\"x\",\"payload\":{}," TIME, "client_action_id must be an integer" },
	{ "no timestamp", "\"client_action_id\":12,\"entity_type\":\"issues\",\"entity_id\":\"x\",\"payload\":{}", "invalid timestamp for action 12" },
	{ "timestamp with a space", "\"client_action_id\":12,\"entity_type\":\"issues\",\"entity_id\":\"x\",\"payload\":{},\"client_timestamp\":\"2026-03-01 10:00:00Z\"", "invalid timestamp for action 12" },
	{ "30 February", "\"entity_type\":\"issues\",\"entity_id\":\"x\",\"payload\":{},\"client_timestamp\":\"2026-02-30T10:00:00Z\"", "invalid timestamp for action 0" },
	{ "id a number", "\"entity_type\":\"issues\",\"entity_id\":5,\"payload\":{}," TIME, "entity_id must be a string" },
	{ "id with NUL", "\"entity_type\":\"issues\",\"entity_id\":\"a\\u0000b\",\"payload\":{}," TIME, "entity_id holds a NUL" },
	{ "id with half a pair", "\"entity_type\":\"issues\",\"entity_id\":\"a\\ud800b\",\"payload\":{}," TIME, "half a surrogate pair" },
	{ "payload twice", "\"entity_type\":\"issues\",\"entity_id\":\"x\",\"payload\":{},\"payload\":{}," TIME, "payload twice" },
};

START_TEST(a_bad_event_refuses_the_whole_push)
{
	for (size_t i = 0; i < sizeof(bad_events) / sizeof(*bad_events); i++) {
		buf_reset(&body);
		buf_addf(&body, "{\"device_id\":\"d\",\"session_id\":\"s\",\"events\":[{" GOOD "},{%s}]}",
		         bad_events[i].members);
		ck_assert_msg(push(buf_cstr(&body)) == RC_INVALID, "%s", bad_events[i].why);
		ck_assert_msg(strstr(err.text, bad_events[i].cause) != NULL, "%s: %s",
		              bad_events[i].why, err.text);
	}
	ck_assert_int_eq(head_seq(), 0);
}
END_TEST

START_TEST(a_lenient_push_rejects_a_bad_event_alone)
{
	for (size_t i = 0; i < sizeof(bad_events) / sizeof(*bad_events); i++) {
		buf_reset(&body);
		buf_addf(&body, "{\"device_id\":\"d\",\"session_id\":\"s\",\"events\":[{" GOOD "},{%s}]}",
		         bad_events[i].members);
		ck_assert_msg(push_by("u_1", buf_cstr(&body), (struct push_rules){ .lenient = true }) == RC_OK,
		              "%s: %s", bad_events[i].why, err.text);
		ck_assert_msg(strstr(answer.p, bad_events[i].cause) != NULL, "%s: %s",
		              bad_events[i].why, answer.p);
		ck_assert_int_eq(head_seq(), 1); /* the good one, once */
	}
}
END_TEST

START_TEST(an_event_without_id_or_payload_is_rejected_alone)
{
	static const struct { const char *members, *reason; } rows[] = {
		{ "\"client_action_id\":6,\"entity_type\":\"issues\",\"entity_id\":\"\"," PAYLOAD "," TIME, "empty entity_id" },
		{ "\"client_action_id\":6,\"entity_type\":\"issues\",\"entity_id\":\"td-9\"," TIME, "missing payload" },
	};
	char want[200];

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		ck_assert_int_eq(push(one(rows[i].members)), RC_OK);
		snprintf(want, sizeof(want), "{\"accepted\":0,\"acks\":null,\"rejected\":["
		         "{\"client_action_id\":6,\"reason\":\"%s\"}]}\n", rows[i].reason);
		ck_assert_str_eq(answer.p, want);
	}
	ck_assert_int_eq(head_seq(), 0);
}
END_TEST

START_TEST(ids_have_a_limit_tested_on_both_sides)
{
	char id[300], members[800];

	for (int n = 255; n <= 256; n++) {
		memset(id, 'x', sizeof(id));
		id[n] = '\0';
		snprintf(members, sizeof(members), "\"client_action_id\":1,\"entity_type\":\"issues\","
		         "\"entity_id\":\"%s\"," PAYLOAD "," TIME, id);
		ck_assert_int_eq(push(one(members)), n == 255 ? RC_OK : RC_INVALID);
	}
	ck_assert_ptr_nonnull(strstr(err.text, "entity_id is longer than 255 bytes"));
}
END_TEST

START_TEST(a_push_holds_1000_events_and_not_1001)
{
	for (int n = 1000; n <= 1001; n++) {
		buf_reset(&body);
		buf_add_str(&body, "{\"device_id\":\"d\",\"session_id\":\"s\",\"events\":[");
		for (int i = 1; i <= n; i++)
			buf_addf(&body, "%s{\"client_action_id\":%d,\"action_type\":\"create\","
			         "\"entity_type\":\"issues\",\"entity_id\":\"td-1\"," PAYLOAD "," TIME "}",
			         i == 1 ? "" : ",", i);
		buf_add_str(&body, "]}");
		ck_assert_int_eq(push(buf_cstr(&body)), n == 1000 ? RC_OK : RC_INVALID);
	}
	ck_assert_str_eq(err.text, "batch size 1001 exceeds max 1000");
	ck_assert_int_eq(head_seq(), 1000);
}
END_TEST

START_TEST(nesting_has_a_limit_tested_on_both_sides)
{
	/* body, events, event and payload are four levels */
	for (int deep = JSON_MAX_DEPTH - 4; deep <= JSON_MAX_DEPTH - 3; deep++) {
		buf_reset(&body);
		buf_add_str(&body, "{\"device_id\":\"d\",\"session_id\":\"s\",\"events\":[{"
		            "\"entity_type\":\"issues\",\"entity_id\":\"x\",\"payload\":{\"new_data\":");
		for (int i = 0; i < deep; i++)
			buf_add_byte(&body, '[');
		for (int i = 0; i < deep; i++)
			buf_add_byte(&body, ']');
		buf_add_str(&body, "}," TIME "}]}");
		ck_assert_int_eq(push(buf_cstr(&body)),
		                 deep == JSON_MAX_DEPTH - 4 ? RC_OK : RC_INVALID);
	}
}
END_TEST

START_TEST(what_the_profile_does_not_know_is_acked_and_parked)
{
	static const struct { const char *why, *members; } rows[] = {
		{ "unknown type", "\"client_action_id\":1,\"action_type\":\"create\",\"entity_type\":\"widgets\",\"entity_id\":\"w1\",\"payload\":{\"new_data\":{\"id\":\"w1\"}}," TIME },
		{ "only an id", "\"client_action_id\":2,\"action_type\":\"create\",\"entity_type\":\"issues\",\"entity_id\":\"w1\",\"payload\":{\"new_data\":{\"id\":\"w1\"}}," TIME },
		{ "only unknown columns", "\"client_action_id\":3,\"action_type\":\"update\",\"entity_type\":\"issues\",\"entity_id\":\"w1\",\"payload\":{\"new_data\":{\"id\":\"w1\",\"flavour\":1}}," TIME },
		{ "no columns", "\"client_action_id\":4,\"action_type\":\"create\",\"entity_type\":\"issues\",\"entity_id\":\"w1\",\"payload\":{\"new_data\":{}}," TIME },
		{ "new_data null", "\"client_action_id\":5,\"action_type\":\"create\",\"entity_type\":\"issues\",\"entity_id\":\"w1\",\"payload\":{\"new_data\":null}," TIME },
		{ "only local columns", "\"client_action_id\":6,\"action_type\":\"create\",\"entity_type\":\"work_sessions\",\"entity_id\":\"w1\",\"payload\":{\"new_data\":{\"id\":\"w1\",\"repo_root\":\"/x\"}}," TIME },
	};
	size_t n = sizeof(rows) / sizeof(*rows);
	struct page p;

	for (size_t i = 0; i < n; i++) {
		ck_assert_msg(push(one(rows[i].members)) == RC_OK, "%s: %s", rows[i].why, err.text);
		ck_assert_msg(strstr(answer.p, "\"accepted\":1") != NULL, "%s", rows[i].why);
		ck_assert_int_eq(head_seq(), (int64_t)i + 1);
		p = pull(0, PAGE_LIMIT);
		ck_assert_msg(p.count == 0, "%s: not parked", rows[i].why);
	}
	/* A page with a real event after them skips them. */
	push(issue(9));
	p = pull(0, PAGE_LIMIT);
	ck_assert_uint_eq(p.count, 1);
	ck_assert_int_eq(p.last, (int64_t)n + 1);
}
END_TEST

START_TEST(what_sets_a_known_column_or_needs_none_is_not_parked)
{
	static const struct { const char *why, *members; } rows[] = {
		{ "soft delete without data", "\"client_action_id\":1,\"action_type\":\"soft_delete\",\"entity_type\":\"issues\",\"entity_id\":\"w1\",\"payload\":{\"new_data\":{}}," TIME },
		{ "wrapped issue", "\"client_action_id\":2,\"action_type\":\"update\",\"entity_type\":\"issues\",\"entity_id\":\"w1\",\"payload\":{\"new_data\":{\"issue\":{\"id\":\"w1\",\"status\":\"closed\"}}}," TIME },
		{ "payload null: every client quarantines it", "\"client_action_id\":3,\"action_type\":\"create\",\"entity_type\":\"issues\",\"entity_id\":\"w1\",\"payload\":null," TIME },
		{ "payload a string", "\"client_action_id\":4,\"action_type\":\"create\",\"entity_type\":\"issues\",\"entity_id\":\"w1\",\"payload\":\"text\"," TIME },
		{ "no new_data", "\"client_action_id\":5,\"action_type\":\"create\",\"entity_type\":\"issues\",\"entity_id\":\"w1\",\"payload\":{\"schema_version\":1}," TIME },
	};
	size_t n = sizeof(rows) / sizeof(*rows);

	for (size_t i = 0; i < n; i++) {
		ck_assert_msg(push(one(rows[i].members)) == RC_OK, "%s: %s", rows[i].why, err.text);
		ck_assert_msg(pull(0, PAGE_LIMIT).count == i + 1, "%s", rows[i].why);
	}
}
END_TEST

START_TEST(an_unknown_type_can_be_refused_instead)
{
	ck_assert_int_eq(push_by("u_1", one("\"entity_type\":\"widgets\",\"entity_id\":\"w1\",\"payload\":{}," TIME),
	                         (struct push_rules){ .refuse_unknown = true }), RC_INVALID);
	ck_assert_str_eq(err.text, "invalid entity_type: widgets");
}
END_TEST

START_TEST(local_fields_are_cut_out_and_the_rest_stays_as_it_came)
{
	push(one("\"client_action_id\":30,\"action_type\":\"create\",\"entity_type\":\"work_sessions\","
	         "\"entity_id\":\"ws-1\",\"payload\":{ \"zeta\":[1.0,1e3,-0], \"new_data\":{\"id\":\"ws-1\","
	         "\"worktree_id\":\"wt\",\"name\":\"a\\/b\",\"repo_\\u0072oot\":\"/x\",\"session_id\":\"s\","
	         "\"worktree_root\":\"/y\"},\"previous_data\":{}}," TIME));
	pull(0, PAGE_LIMIT);
	ck_assert_ptr_nonnull(strstr(page_text.p, "\"payload\":{\"zeta\":[1.0,1e3,-0],\"new_data\":"
	    "{\"id\":\"ws-1\",\"name\":\"a\\/b\",\"session_id\":\"s\"},\"previous_data\":{}},"));
}
END_TEST

START_TEST(a_payload_is_forwarded_byte_for_byte)
{
	static const char payload[] = "{ \"schema_version\": 1, \"zeta\":[1.0,1e3,12345678901234567890,-0,0.1],"
	    " \"new_data\": {\"title\":\"<b>&amp;</b> \\u003c \\/ \\ud83c\\udf31 \\ud800 \xc3\xa9\", \"id\":\"td-1\"} }";

	buf_reset(&body);
	buf_addf(&body, "{\"device_id\":\"d\",\"session_id\":\"s\",\"events\":[{\"client_action_id\":1,"
	         "\"action_type\":\"create\",\"entity_type\":\"issues\",\"entity_id\":\"td-1\",\"payload\":%s," TIME "}]} trailing",
	         payload);
	ck_assert_msg(push(buf_cstr(&body)) == RC_OK, "%s", err.text);
	pull(0, PAGE_LIMIT);
	ck_assert_ptr_nonnull(strstr(page_text.p, payload));
}
END_TEST

START_TEST(a_timestamp_goes_out_in_a_spelling_that_every_parser_takes)
{
	static const struct { const char *in, *out; } rows[] = {
		{ "2026-03-01T10:00:00Z", "2026-03-01T10:00:00Z" },
		{ "2026-03-01T12:00:00.5+02:00", "2026-03-01T12:00:00.5+02:00" },
		{ "2026-03-01T10:00:00.123456789Z", "2026-03-01T10:00:00.123456789Z" },
		{ "2026-03-01T10:00:00,25Z", "2026-03-01T10:00:00.25Z" },
		{ "2026-03-01T9:00:00Z", "2026-03-01T09:00:00Z" },
		{ "2026-03-01T10:00:00.500+00:00", "2026-03-01T10:00:00.5Z" },
	};
	char members[400], want[100];

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		snprintf(members, sizeof(members), "\"client_action_id\":%zu,\"entity_type\":\"issues\","
		         "\"entity_id\":\"td-1\"," PAYLOAD ",\"client_timestamp\":\"%s\"", i + 1, rows[i].in);
		ck_assert_msg(push(one(members)) == RC_OK, "%s: %s", rows[i].in, err.text);
		snprintf(want, sizeof(want), "\"client_timestamp\":\"%s\"", rows[i].out);
		pull((int64_t)i, PAGE_LIMIT);
		ck_assert_msg(strstr(page_text.p, want) != NULL, "%s: %s", rows[i].in, page_text.p);
	}
}
END_TEST

START_TEST(a_busy_log_writes_nothing)
{
	struct events *other;
	struct push *p;
	char path[TEMP_PATH + 8];

	snprintf(path, sizeof(path), "%s/log", dir);
	ck_assert_int_eq(events_open(path, &other, &err), RC_OK);
	ck_assert_int_eq(events_begin(other, clock_mono_ms() + 1000, &err), RC_OK);
	buf_reset(&sent);
	buf_add_str(&sent, issue(1));
	ck_assert_int_eq(push_parse(&sent, &profile_td, (struct push_rules){ 0 }, &p, &err), RC_OK);
	ck_assert_int_eq(push_append(p, lg, span_of("u"), 1, clock_mono_ms() + 50, &answer, NULL, &err), RC_BUSY);
	ck_assert_uint_eq(answer.len, 0);
	events_rollback(other);
	ck_assert_int_eq(push_append(p, lg, span_of("u"), 1, clock_mono_ms() + 1000, &answer, NULL, &err), RC_OK);
	ck_assert_int_eq(head_seq(), 1);
	push_free(p);
	events_close(other);
}
END_TEST

/* --- quotas --- */

/* A push of the issues from `first` to `last`, each with so many bytes more. */
static const char *
issues(int first, int last, int bytes)
{
	buf_reset(&body);
	buf_add_str(&body, "{\"device_id\":\"d\",\"session_id\":\"s\",\"events\":[");
	for (int i = first; i <= last; i++)
		buf_addf(&body, "%s{\"client_action_id\":%d,\"action_type\":\"create\","
		         "\"entity_type\":\"issues\",\"entity_id\":\"td-%d\",\"payload\":"
		         "{\"new_data\":{\"id\":\"td-%d\",\"title\":\"%*s\"}}," TIME "}",
		         i > first ? "," : "", i, i, i, bytes, "");
	buf_add_str(&body, "]}");
	return buf_cstr(&body);
}

static int64_t
log_bytes(void)
{
	int64_t n;

	ck_assert_int_eq(events_bytes(lg, &n, &err), RC_OK);
	return n;
}

/* A push within a quota: its outcome, and how many events the log has then. */
static void
push_within(struct push_rules rules, const char *text, enum rc want, int64_t head)
{
	enum rc rc = push_by("u_1", text, rules);

	ck_assert_msg(rc == want, "%s, not %s: %s", rc_name(rc), rc_name(want), err.text);
	ck_assert_int_eq(head_seq(), head);
}

START_TEST(a_log_holds_as_many_events_as_it_may)
{
	struct push_rules ten = { .max_events = 10 };

	push_within(ten, issues(1, 11, 0), RC_QUOTA, 0); /* whole */
	push_within(ten, issues(1, 6, 0), RC_OK, 6);
	push_within(ten, issues(7, 11, 0), RC_QUOTA, 6);
	ck_assert_ptr_nonnull(strstr(err.text, "6 of the 10 events"));
	ck_assert_ptr_nonnull(strstr(err.text, "max_project_events"));
	ck_assert_uint_lt(strlen(err.text), sizeof(err.text) - 1);
	push_within(ten, issues(7, 9, 0), RC_OK, 9); /* half of it */
	push_within(ten, issues(1, 10, 0), RC_OK, 10); /* what is known doesn't count */
	ck_assert_ptr_nonnull(strstr(answer.p, "{\"accepted\":1,"));
	push_within(ten, issues(11, 11, 0), RC_QUOTA, 10);
	push_within(ten, issues(10, 11, 0), RC_QUOTA, 10);
	/* An ack that was lost is told again; so is what is wrong. */
	push_within(ten, issues(1, 10, 0), RC_OK, 10);
	ck_assert_ptr_nonnull(strstr(answer.p, "\"duplicate\",\"server_seq\":10"));
	ten.lenient = true;
	push_within(ten, one("\"client_action_id\":1"), RC_OK, 10);
	push_within((struct push_rules){ .max_events = 5 }, issues(1, 10, 0), RC_OK, 10);
	push_within((struct push_rules){ .max_events = 11 }, issues(11, 11, 0), RC_OK, 11);
	push_within((struct push_rules){ 0 }, issues(12, 12, 0), RC_OK, 12);
}
END_TEST

START_TEST(a_log_grows_as_large_as_it_may)
{
	struct push_rules rules = { .max_bytes = 1 };
	int64_t before, n, payload;

	push_within(rules, issues(1, 1, 0), RC_QUOTA, 0);
	push_within((struct push_rules){ 0 }, issues(1, 20, 1000), RC_OK, 20);
	before = log_bytes();
	ck_assert_int_gt(before, 20 * 1000);
	payload = (int64_t)strlen("{\"new_data\":{\"id\":\"td-21\",\"title\":\"\"}}") + 5000;
	rules.max_bytes = before + 2 * payload - 1;
	push_within(rules, issues(21, 22, 5000), RC_QUOTA, 20);
	ck_assert_ptr_nonnull(strstr(err.text, "max_project_bytes"));
	ck_assert_uint_lt(strlen(err.text), sizeof(err.text) - 1);
	ck_assert_int_eq(log_bytes(), before);
	rules.max_bytes++;
	push_within(rules, issues(1, 20, 1000), RC_OK, 20);
	push_within(rules, issues(21, 22, 5000), RC_OK, 22);
	push_within(rules, issues(21, 22, 5000), RC_OK, 22);
	ck_assert_int_gt(log_bytes(), before + 2 * 5000);
	/* One payload that is written piece by piece counts before it is written. */
	n = log_bytes();
	rules.max_bytes = n + 3000000 - 1;
	push_within(rules, issues(30, 30, 3000000), RC_QUOTA, 22);
	ck_assert_int_eq(log_bytes(), n);
	rules.max_bytes = n + 3000100;
	push_within(rules, issues(30, 30, 3000000), RC_OK, 23);
}
END_TEST

/* --- pages --- */

/* Put n small events into the log. */
static void
fill(int from, int n)
{
	for (int done = 0; done < n;) {
		int batch = n - done < 500 ? n - done : 500;

		buf_reset(&body);
		buf_add_str(&body, "{\"device_id\":\"d\",\"session_id\":\"s\",\"events\":[");
		for (int i = 0; i < batch; i++)
			buf_addf(&body, "%s{\"client_action_id\":%d,\"action_type\":\"create\","
			         "\"entity_type\":\"issues\",\"entity_id\":\"td-1\"," PAYLOAD "," TIME "}",
			         i == 0 ? "" : ",", from + done + i);
		buf_add_str(&body, "]}");
		ck_assert_msg(push(buf_cstr(&body)) == RC_OK, "%s", err.text);
		done += batch;
	}
}

START_TEST(an_empty_log_gives_an_empty_page)
{
	struct page p = pull(0, PAGE_LIMIT);

	ck_assert_str_eq(page_text.p, "{\"events\":[],\"last_server_seq\":0,\"has_more\":false}\n");
	ck_assert(!p.sealed);
	pull(-5, PAGE_LIMIT);
	ck_assert_str_eq(page_text.p, "{\"events\":[],\"last_server_seq\":0,\"has_more\":false}\n");
}
END_TEST

START_TEST(an_event_on_a_page_says_who_and_when)
{
	push(issue(5));
	pull(0, PAGE_LIMIT);
	ck_assert_str_eq(page_text.p,
	    "{\"events\":[{\"server_seq\":1,\"device_id\":\"d\",\"session_id\":\"s\","
	    "\"client_action_id\":5,\"action_type\":\"create\",\"entity_type\":\"issues\","
	    "\"entity_id\":\"td-5\"," PAYLOAD "," TIME ",\"user_id\":\"u_1\","
	    "\"server_timestamp\":\"2023-11-14T22:13:20Z\"}],\"last_server_seq\":1,\"has_more\":false}\n");
}
END_TEST

START_TEST(pages_end_with_their_block)
{
	static const struct {
		int64_t after, limit;
		size_t count;
		int64_t last;
		bool more, sealed;
	} rows[] = {
		{ 0, 1000, 1000, 1000, true, true },
		{ 0, 10000, 1000, 1000, true, true },
		{ 990, 1000, 10, 1000, true, true },
		{ 999, 1000, 1, 1000, true, true },
		{ 1000, 1000, 1000, 2000, true, true },
		{ 2000, 1000, 500, 2500, false, false },
		{ 2500, 1000, 0, 2500, false, false },
		{ 0, 4, 4, 4, true, false },
		{ 990, 9, 9, 999, true, false },
		{ 990, 10, 10, 1000, true, true }, /* the limit cuts nothing */
		{ 2496, 4, 4, 2500, true, false }, /* full, though nothing follows: as recorded */
		{ 2497, 4, 3, 2500, false, false },
	};

	fill(1, 2500);
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct page p = pull(rows[i].after, rows[i].limit);

		ck_assert_msg(p.count == rows[i].count && p.last == rows[i].last &&
		              p.has_more == rows[i].more && p.sealed == rows[i].sealed,
		              "after %" PRId64 " limit %" PRId64 ": %zu to %" PRId64 "%s",
		              rows[i].after, rows[i].limit, p.count, p.last, p.has_more ? ", more" : "");
	}
}
END_TEST

START_TEST(a_sealed_page_never_changes)
{
	struct buf first = { 0 };

	fill(1, 1000);
	pull(400, PAGE_LIMIT); /* ends at the head, which is the block's end */
	ck_assert_ptr_nonnull(strstr(page_text.p, "\"has_more\":true"));
	buf_add_span(&first, buf_span(&page_text));
	pull(1000, PAGE_LIMIT);
	ck_assert_str_eq(page_text.p, "{\"events\":[],\"last_server_seq\":1000,\"has_more\":false}\n");
	fill(5000, 1500);
	pull(400, PAGE_LIMIT);
	ck_assert(span_eq(buf_span(&first), buf_span(&page_text)));
	buf_free(&first);
}
END_TEST

START_TEST(a_cursor_beyond_the_head_is_told)
{
	struct page p;

	push(issue(1));
	buf_reset(&page_text);
	ck_assert_int_eq(page_write(lg, 2, PAGE_LIMIT, &page_text, &p, &err), RC_CURSOR_AHEAD);
	ck_assert_uint_eq(page_text.len, 0);
	ck_assert_int_eq(p.head.seq, 1);
	pull(1, PAGE_LIMIT);
}
END_TEST

START_TEST(a_page_has_a_byte_limit_and_a_larger_event_its_own_page)
{
	char *big = malloc(5 << 20);
	struct page p;
	size_t sizes[] = { 1 << 20, 1 << 20, 1 << 20, 1 << 20, 4 << 20, 10 };

	for (int i = 0; i < 6; i++) {
		memset(big, 'y', sizes[i]);
		big[sizes[i]] = '\0';
		buf_reset(&body);
		buf_addf(&body, "{\"device_id\":\"d\",\"session_id\":\"s\",\"events\":[{\"client_action_id\":%d,"
		         "\"action_type\":\"create\",\"entity_type\":\"issues\",\"entity_id\":\"td-1\","
		         "\"payload\":{\"new_data\":{\"title\":\"%s\"}}," TIME "}]}", i + 1, big);
		ck_assert_int_eq(push(buf_cstr(&body)), RC_OK);
	}
	p = pull(0, PAGE_LIMIT);
	ck_assert_uint_eq(p.count, 3);
	ck_assert(p.has_more);
	ck_assert_uint_le(page_text.len, PAGE_MAX_BYTES + 100);
	p = pull(3, PAGE_LIMIT);
	ck_assert_uint_eq(p.count, 1);
	p = pull(4, PAGE_LIMIT);
	ck_assert_uint_eq(p.count, 1); /* larger than a page */
	ck_assert(p.has_more);
	p = pull(5, PAGE_LIMIT);
	ck_assert_uint_eq(p.count, 1);
	ck_assert(!p.has_more);
	free(big);
}
END_TEST

/* Else whoever pulls what is before a large event needs the memory of both. */
START_TEST(a_page_takes_no_room_for_a_large_event_behind_it)
{
	struct page p;

	push(issue(1));
	buf_reset(&body);
	buf_add_str(&body, "{\"device_id\":\"d\",\"session_id\":\"s\",\"events\":[{\"client_action_id\":2,"
	            "\"action_type\":\"create\",\"entity_type\":\"issues\",\"entity_id\":\"td-1\","
	            TIME ",\"payload\":{\"new_data\":{\"title\":\"");
	for (size_t i = 0; i < 2 * PAGE_MAX_BYTES; i++)
		buf_add_byte(&body, 'y');
	buf_add_str(&body, "\"}}}]}");
	ck_assert_int_eq(push(buf_cstr(&body)), RC_OK);
	buf_free(&page_text);
	p = pull(0, PAGE_LIMIT);
	ck_assert_uint_eq(p.count, 1);
	ck_assert(p.has_more && p.sealed);
	ck_assert_uint_le(page_text.cap, PAGE_MAX_BYTES);
}
END_TEST

/* --- reading a page --- */

START_TEST(an_event_read_from_a_page_has_the_digest_of_the_log)
{
	struct span text, events, key, value;
	struct json_iter it;
	struct buf scratch = { 0 };
	struct event ev;
	unsigned char digest[EVENT_DIGEST_LEN];
	int n = 0;

	push(issue(1));
	push(one("\"client_action_id\":0,\"action_type\":\"close\",\"entity_type\":\"issue\",\"entity_id\":\"t\\u00e9\","
	         "\"payload\": {\"new_data\" : {\"title\":\"\\u0041\\u2028<\"} },\"client_timestamp\":\"2026-03-01T10:00:00.25+02:00\""));
	pull(0, PAGE_LIMIT);
	ck_assert_int_eq(json_scan(buf_span(&page_text), JSON_MAX_DEPTH, &text, NULL, &err), RC_OK);
	ck_assert(json_get(text, "events", &events));
	json_iter_init(&it, events);
	while (json_next(&it, &key, &value)) {
		ck_assert_msg(page_event(value, &ev, &scratch, &err) == RC_OK, "%s", err.text);
		ck_assert_int_eq(ev.seq, ++n);
		ck_assert_int_eq(events_digest(lg, ev.seq, digest, &err), RC_OK);
		ck_assert_mem_eq(digest, ev.digest, sizeof(digest));
		ck_assert(span_is(ev.user, "u_1"));
		ck_assert_int_eq(ev.server_us, 1700000000000000);
	}
	ck_assert_int_eq(n, 2);
	ck_assert(span_is(ev.id, "t\xc3\xa9"));
	ck_assert_int_eq(ev.action, ACTION_UPDATE);
	buf_free(&scratch);
}
END_TEST

START_TEST(an_event_that_lacks_a_member_is_refused_by_name)
{
	static const struct { const char *text, *member; } rows[] = {
		{ "{}", "server_seq" },
		{ "{\"server_seq\":0,\"client_action_id\":1}", "server_seq" },
		{ "{\"server_seq\":\"1\"}", "server_seq" },
		{ "{\"server_seq\":1}", "client_action_id" },
		{ "{\"server_seq\":1,\"client_action_id\":1,\"action_type\":\"fly\"}", "action_type" },
		{ "{\"server_seq\":1,\"client_action_id\":1,\"action_type\":\"create\"}", "entity_type" },
		{ "{\"server_seq\":1,\"client_action_id\":1,\"action_type\":\"create\",\"entity_type\":\"issues\",\"client_timestamp\":\"x\"}", "client_timestamp" },
		{ "{\"server_seq\":1,\"client_action_id\":1,\"action_type\":\"create\",\"entity_type\":\"issues\"," TIME "}", "payload" },
	};
	struct buf scratch = { 0 };
	struct event ev;

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		ck_assert_int_eq(page_event(span_of(rows[i].text), &ev, &scratch, &err), RC_INVALID);
		ck_assert_msg(strstr(err.text, rows[i].member) != NULL, "%s: %s", rows[i].text, err.text);
	}
	buf_free(&scratch);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("engine");
	TCase *t = tcase_create("push");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, a_push_is_acked_in_order_with_its_seqs);
	tcase_add_test(t, a_log_holds_as_many_events_as_it_may);
	tcase_add_test(t, a_log_grows_as_large_as_it_may);
	tcase_add_test(t, a_push_sent_twice_keeps_its_seq);
	tcase_add_test(t, what_happened_is_the_key_whoever_sends_it);
	tcase_add_test(t, without_a_number_device_and_session_join_the_key);
	tcase_add_test(t, a_bad_push_is_refused_whole_with_its_cause);
	tcase_add_test(t, a_bad_event_refuses_the_whole_push);
	tcase_add_test(t, a_lenient_push_rejects_a_bad_event_alone);
	tcase_add_test(t, an_event_without_id_or_payload_is_rejected_alone);
	tcase_add_test(t, ids_have_a_limit_tested_on_both_sides);
	tcase_add_test(t, a_push_holds_1000_events_and_not_1001);
	tcase_add_test(t, nesting_has_a_limit_tested_on_both_sides);
	tcase_add_test(t, what_the_profile_does_not_know_is_acked_and_parked);
	tcase_add_test(t, what_sets_a_known_column_or_needs_none_is_not_parked);
	tcase_add_test(t, an_unknown_type_can_be_refused_instead);
	tcase_add_test(t, local_fields_are_cut_out_and_the_rest_stays_as_it_came);
	tcase_add_test(t, a_payload_is_forwarded_byte_for_byte);
	tcase_add_test(t, a_timestamp_goes_out_in_a_spelling_that_every_parser_takes);
	tcase_add_test(t, a_busy_log_writes_nothing);
	suite_add_tcase(s, t);
	t = tcase_create("page");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, an_empty_log_gives_an_empty_page);
	tcase_add_test(t, an_event_on_a_page_says_who_and_when);
	tcase_add_test(t, pages_end_with_their_block);
	tcase_add_test(t, a_sealed_page_never_changes);
	tcase_add_test(t, a_cursor_beyond_the_head_is_told);
	tcase_add_test(t, a_page_has_a_byte_limit_and_a_larger_event_its_own_page);
	tcase_add_test(t, a_page_takes_no_room_for_a_large_event_behind_it);
	tcase_add_test(t, an_event_read_from_a_page_has_the_digest_of_the_log);
	tcase_add_test(t, an_event_that_lacks_a_member_is_refused_by_name);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? 0 : 1;
}
