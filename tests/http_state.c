/*
 * What a project's log adds up to, over HTTP: its digests, an entity's history,
 * and a state that others hold, break or put in the wrong place. (More of that,
 * without a server, is in state_fault_test.c.)
 */
#include "http_test.h"

#include "mishap.h"
#include "patience.h"

#include "base/clock.h"
#include "base/fs.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/lock.h"
#include "store/state.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#define CONFLICTS "/v1/projects/{p}/sync/conflicts"
#define DIGEST "/v1/projects/{p}/sync/digest"

static int
get(struct world *w, const char *path)
{
	return ask(w, READER, "GET", path, NULL, NULL);
}

/* A member of the last answer; empty: it is not there. */
static struct span
member(const struct world *w, const char *name)
{
	struct span answer, value = { NULL, 0 };

	ck_assert_int_eq(json_scan(buf_span(&w->answer.body), 16, &answer, NULL, NULL), RC_OK);
	json_get(answer, name, &value);
	return value;
}

/* A string member, decoded. Until the next call. */
static const char *
text(struct span object, const char *name)
{
	static struct buf b;
	struct span value;

	buf_reset(&b);
	ck_assert_msg(json_get(object, name, &value) && json_string(value, &b), "no %s in %.*s",
	              name, (int)object.len, object.p);
	return buf_cstr(&b);
}

/* --- digests --- */

/* The digest of the last answer, which is what its tables give. */
static struct span
whole(const struct world *w)
{
	struct span key, table, rows, digest = member(w, "digest");
	unsigned char hash[HASH_LEN];
	struct buf lines = { 0 }, hex = { 0 };
	struct json_iter it;

	json_iter_init(&it, member(w, "tables"));
	while (json_next(&it, &key, &table)) {
		buf_addf(&lines, "%s ", text(table, "table"));
		ck_assert(json_get(table, "rows", &rows));
		buf_addf(&lines, "%.*s %s\n", (int)rows.len, rows.p, text(table, "digest"));
	}
	ck_assert_int_eq(hash_sha256(buf_span(&lines), hash), RC_OK);
	buf_add_hex(&hex, hash, HASH_LEN);
	ck_assert(json_string_is(digest, buf_cstr(&hex)));
	buf_free(&lines);
	buf_free(&hex);
	return digest;
}

/* The table of that name in the last answer. */
static struct span
table(const struct world *w, const char *name)
{
	struct span key, table;
	struct json_iter it;

	json_iter_init(&it, member(w, "tables"));
	while (json_next(&it, &key, &table))
		if (strcmp(text(table, "table"), name) == 0)
			return table;
	return (struct span){ NULL, 0 };
}

static void
digests(struct world *w)
{
	struct span rows, columns;
	char before[80];
	int64_t n;

	/* What every td has from the start is there before any event. */
	ck_assert_int_eq(get(w, DIGEST "?seq=0"), 200);
	ck_assert_int_eq(answer_number(w, "server_seq"), 0);
	snprintf(before, sizeof(before), "%.*s", (int)whole(w).len, whole(w).p);
	ck_assert(json_get(table(w, "boards"), "rows", &rows) && span_is(rows, "1"));
	ck_assert_int_eq(push_some(w, "d", 1, 3), 200);
	ck_assert_int_eq(get(w, DIGEST), 200);
	ck_assert_int_eq(answer_number(w, "server_seq"), 3);
	ck_assert(!span_is(whole(w), before));
	ck_assert(json_string_is(member(w, "log_id"), web_header(&w->answer, "X-Log-Id")));
	ck_assert(json_string_is(member(w, "profile"), "td/1"));
	ck_assert(json_get(table(w, "issues"), "rows", &rows) && json_int64(rows, &n));
	ck_assert_int_eq(n, 3);
	ck_assert(json_get(table(w, "work_sessions"), "columns", &columns));
	ck_assert_msg(span_is(columns, "[\"id\",\"name\",\"session_id\",\"started_at\","
	                      "\"ended_at\",\"start_sha\",\"end_sha\"]"), "%.*s",
	              (int)columns.len, columns.p);
	ck_assert_ptr_null(table(w, "sessions").p); /* held back */
	/* The same state by the same name, and none of what is gone by. */
	snprintf(before, sizeof(before), "%.*s", (int)whole(w).len, whole(w).p);
	ck_assert_int_eq(get(w, DIGEST "?seq=3"), 200);
	ck_assert(span_is(whole(w), before));
	ck_assert_int_eq(get(w, DIGEST "?seq=2"), 404);
	ck_assert(has_code(w, "not_found"));
	ck_assert_ptr_nonnull(strstr(w->answer.body.p, "one of the last event, 3 now"));
	ck_assert_int_eq(get(w, DIGEST "?seq=0"), 404);
}

START_TEST(a_digest_tells_tables_rows_and_columns)
{
	with_each(digests);
}
END_TEST

/* An event of a type that nobody knows stays in the log, and only there. */
static void
parked(struct world *w)
{
	char before[80];

	ck_assert_int_eq(push_some(w, "d", 1, 3), 200);
	ck_assert_int_eq(get(w, DIGEST), 200);
	snprintf(before, sizeof(before), "%.*s", (int)whole(w).len, whole(w).p);
	ck_assert_int_eq(push_event(w, WRITER, "d", "10:00:00", "create wishes w-1",
	                            "{'new_data':{'id':'w-1'}}"), 4);
	ck_assert_int_eq(get(w, DIGEST), 200);
	ck_assert_int_eq(answer_number(w, "server_seq"), 3);
	ck_assert_int_eq(get(w, DIGEST "?seq=4"), 200);
	ck_assert_int_eq(answer_number(w, "server_seq"), 4);
	ck_assert(span_is(whole(w), before));
	ck_assert_int_eq(get(w, DIGEST "?seq=5"), 409);
	ck_assert(has_code(w, "cursor_ahead"));
}

START_TEST(parked_events_change_no_digest)
{
	with_each(parked);
}
END_TEST

/* A digest of seq 1000 is that of the state there, whatever comes after. */
START_TEST(of_each_thousandth_seq_the_digest_is_kept)
{
	struct site_options options = { .kind = SITE_CGI };
	char first[80], second[80];
	struct world w;

	world_start(&w, &options);
	ck_assert_int_eq(push_some(&w, "d", 1, 500), 200);
	ck_assert_int_eq(push_some(&w, "d", 501, 500), 200);
	ck_assert_int_eq(get(&w, DIGEST), 200);
	ck_assert_int_eq(answer_number(&w, "server_seq"), 1000);
	snprintf(first, sizeof(first), "%.*s", (int)whole(&w).len, whole(&w).p);
	/* Beyond it by a push that the same follower applies at once, and on. */
	for (int i = 1001; i < 2500; i += 500) {
		ck_assert_int_eq(push_some(&w, "d", i, 500), 200);
		ck_assert_int_eq(get(&w, DIGEST "?seq=1000"), 200);
		ck_assert_int_eq(answer_number(&w, "server_seq"), 1000);
		ck_assert(span_is(whole(&w), first));
		if (i == 1501) {
			ck_assert_int_eq(get(&w, DIGEST), 200);
			snprintf(second, sizeof(second), "%.*s", (int)whole(&w).len, whole(&w).p);
		}
	}
	ck_assert_int_eq(get(&w, DIGEST "?seq=2000"), 200);
	ck_assert(span_is(whole(&w), second));
	ck_assert_int_eq(get(&w, DIGEST "?seq=2001"), 404);
	ck_assert_ptr_nonnull(strstr(w.answer.body.p, "2500 now, and of each 1000th seq"));
	world_stop(&w);
}
END_TEST

static void
bad_digests(struct world *w)
{
	static const struct {
		const char *query;
		enum who who;
		int status;
		const char *code;
	} rows[] = {
		{ "", NOBODY, 401, "unauthorized" },
		{ "", STRANGER, 403, "forbidden" },
		{ "?seq=-1", READER, 400, "bad_request" },
		{ "?seq=x", READER, 400, "bad_request" },
		{ "?seq=3x", READER, 400, "bad_request" },
		{ "?seq=99999999999999999999", READER, 400, "bad_request" },
		{ "?seq=4", READER, 409, "cursor_ahead" },
	};
	char path[128];

	ck_assert_int_eq(push_some(w, "d", 1, 3), 200);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		snprintf(path, sizeof(path), DIGEST "%s", rows[i].query);
		ck_assert_msg(ask(w, rows[i].who, "GET", path, NULL, NULL) == rows[i].status &&
		              has_code(w, rows[i].code), "%s: %d %s", path, w->answer.status,
		              w->answer.body.p);
	}
	ck_assert_int_eq(get(w, DIGEST "?seq="), 200);
	ck_assert_int_eq(ask(w, READER, "HEAD", DIGEST, NULL, NULL), 200);
}

START_TEST(a_digest_of_nonsense_is_refused)
{
	with_each(bad_digests);
}
END_TEST

/* --- histories --- */

#define ENTITIES "/v1/projects/{p}/entities/"

/* The versions of the last answer, a line each: seq, action, outcome, what changed,
 * and what else there is. Until the next call. */
static const char *
versions(const struct world *w)
{
	static struct buf out;
	struct span key, version, field, value, list, members = member(w, "versions");
	struct json_iter it, fields;

	buf_reset(&out);
	json_iter_init(&it, members);
	while (json_next(&it, &key, &version)) {
		ck_assert(json_get(version, "server_seq", &value));
		buf_addf(&out, "%.*s %s", (int)value.len, value.p, text(version, "action_type"));
		buf_addf(&out, " %s:", text(version, "outcome"));
		ck_assert(json_get(version, "changed", &list));
		json_iter_init(&fields, list);
		while (json_next(&fields, &key, &field)) {
			buf_addf(&out, " %s", text(field, "field"));
			if (json_get(field, "from", &value))
				buf_addf(&out, " %.*s", (int)value.len, value.p);
			ck_assert(json_get(field, "to", &value));
			buf_addf(&out, " -> %.*s;", (int)value.len, value.p);
		}
		if (json_get(version, "conflicts", &value) || json_get(version, "taken_by", &value))
			buf_addf(&out, " %.*s", (int)value.len, value.p);
		buf_add_byte(&out, '\n');
	}
	return buf_cstr(&out);
}

/* What may happen to an issue, and what its history says of it. */
static void
histories(struct world *w)
{
	static const struct {
		enum who who;
		const char *device, *deed, *payload;
	} events[] = {
		{ OWNER, "a", "create issues td-1",
		  "{'new_data':{'id':'td-1','title':'First','labels':['x','y'],'worktree_id':'w',"
		  "'unheard_of':1},'previous_data':{}}" },
		{ OWNER, "a", "update issues td-1",
		  "{'new_data':{'title':'Second','points':3},'previous_data':{'title':'First',"
		  "'points':0,'sprint':'s'}}" },
		{ WRITER, "b", "update issues td-1",
		  "{'new_data':{'title':'Third'},'previous_data':{'title':'First'}}" },
		{ WRITER, "b", "update issues td-1", "{'new_data':{'title':'Whole'}}" },
		{ WRITER, "b", "soft_delete issues td-1",
		  "{'new_data':{},'previous_data':{'title':'Whole'}}" },
		{ OWNER, "a", "restore issues td-1",
		  "{'new_data':{'title':'Whole'},'previous_data':{'title':'Whole','deleted_at':"
		  "'2026-03-01T10:00:04Z','updated_at':'2026-03-01T09:00:00Z'}}" },
		{ OWNER, "a", "update issues td-1", "{'new_data':5}" },
		{ OWNER, "a", "delete issues td-1",
		  "{'new_data':{},'previous_data':{'title':'Whole','points':0}}" },
		{ WRITER, "b", "update issues td-1",
		  "{'new_data':{'title':'Late'},'previous_data':{'title':'Whole'}}" },
		{ WRITER, "b", "delete issues td-1", "{'new_data':{}}" },
	};
	char time[16];

	for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++) {
		snprintf(time, sizeof(time), "10:00:%02zu", i);
		push_event(w, events[i].who, events[i].device, time, events[i].deed,
		           events[i].payload);
	}
	ck_assert_int_eq(get(w, ENTITIES "issues/td-1/history"), 200);
	ck_assert(web_is_json(&w->answer));
	ck_assert(json_string_is(member(w, "entity_type"), "issues"));
	ck_assert(json_string_is(member(w, "entity_id"), "td-1"));
	ck_assert_str_eq(versions(w),
	    "1 create applied: title null -> \"First\"; labels null -> [\"x\",\"y\"];\n"
	    "2 update applied: title \"First\" -> \"Second\"; points 0 -> 3;"
	    " sprint \"s\" -> null;\n"
	    "3 update applied: title \"First\" -> \"Third\"; [\"3-1\"]\n"
	    "4 update applied: title -> \"Whole\";\n"
	    "5 soft_delete applied: deleted_at null -> \"2026-03-01T10:00:04Z\";\n"
	    "6 restore applied: deleted_at \"2026-03-01T10:00:04Z\" -> null;"
	    " updated_at \"2026-03-01T09:00:00Z\" -> \"2026-03-01T10:00:05Z\";\n"
	    "7 update quarantined:\n"
	    "8 delete applied: title \"Whole\" -> null; points 0 -> null;\n"
	    "9 update nothing: title \"Whole\" -> \"Late\"; [\"9-1\"]\n"
	    "10 delete nothing:\n");
	ck_assert_ptr_nonnull(strstr(w->answer.body.p, w->users[OWNER]));
	ck_assert_ptr_nonnull(strstr(w->answer.body.p, "\"by_server\":false"));
	ck_assert_ptr_nonnull(strstr(w->answer.body.p, "\"device_id\":\"b\",\"session_id\":"
	                             "\"ses_b\",\"client_timestamp\":\"2026-03-01T10:00:02Z\","
	                             "\"server_timestamp\":\"20"));
	/* Page by page; an alias is as good. */
	ck_assert_int_eq(get(w, ENTITIES "ISSUE/td-1/history?limit=2"), 200);
	ck_assert_ptr_nonnull(strstr(w->answer.body.p, "\"has_more\":true}"));
	ck_assert_str_eq(versions(w) + strlen(versions(w)) - strlen("sprint \"s\" -> null;\n"),
	                 "sprint \"s\" -> null;\n");
	ck_assert_int_eq(get(w, ENTITIES "issues/td-1/history?after_server_seq=8&limit=2"), 200);
	ck_assert_ptr_nonnull(strstr(w->answer.body.p, "\"has_more\":false}"));
	ck_assert_int_eq(strncmp(versions(w), "9 update", 8), 0);
	ck_assert_int_eq(get(w, ENTITIES "issues/td-1/history?after_server_seq=10"), 200);
	ck_assert_str_eq(versions(w), "");
}

START_TEST(a_history_tells_each_version)
{
	with_each(histories);
}
END_TEST

/* Rows that went along, had no parent, or would have closed a cycle. */
static void
lots(struct world *w)
{
	push_event(w, OWNER, "a", "10:00:00", "create boards bd-1",
	           "{'new_data':{'id':'bd-1','name':'B'}}");
	push_event(w, OWNER, "a", "10:00:00", "create issues td-1",
	           "{'new_data':{'id':'td-1','title':'One'}}");
	push_event(w, OWNER, "a", "10:00:00", "create issues td-2",
	           "{'new_data':{'id':'td-2','title':'Two'}}");
	push_event(w, OWNER, "a", "10:00:00", "create board_issue_positions bip_1",
	           "{'new_data':{'id':'bip_1','board_id':'bd-1','issue_id':'td-1','position':1}}");
	push_event(w, WRITER, "b", "10:00:00", "delete boards bd-1", "{'new_data':{}}");
	push_event(w, OWNER, "a", "10:00:00", "create board_issue_positions bip_2",
	           "{'new_data':{'id':'bip_2','board_id':'bd-1','issue_id':'td-1','position':1}}");
	push_event(w, OWNER, "a", "10:00:00", "create issue_dependencies dep_1",
	           "{'new_data':{'issue_id':'td-1','depends_on_id':'td-2'}}");
	push_event(w, OWNER, "a", "10:00:00", "create issue_dependencies dep_2",
	           "{'new_data':{'issue_id':'td-2','depends_on_id':'td-1'}}");
	ck_assert_int_eq(get(w, ENTITIES "board_issue_positions/bip_1/history"), 200);
	ck_assert_str_eq(versions(w),
	    "4 create applied: board_id null -> \"bd-1\"; issue_id null -> \"td-1\";"
	    " position null -> 1;\n"
	    "5 delete taken: [\"5-1\"]\n");
	ck_assert_ptr_nonnull(strstr(w->answer.body.p, "\"changed\":[],\"taken_by\":"
	                             "{\"entity_type\":\"boards\",\"entity_id\":\"bd-1\"}"));
	ck_assert_int_eq(get(w, ENTITIES "board_position/bip_2/history"), 200);
	ck_assert_ptr_nonnull(strstr(w->answer.body.p, "\"outcome\":\"orphaned_parent\""));
	ck_assert_int_eq(get(w, ENTITIES "dependency/dep_2/history"), 200);
	ck_assert_ptr_nonnull(strstr(w->answer.body.p, "\"outcome\":\"cycle\""));
}

START_TEST(a_history_tells_what_became_of_rows_that_never_were_or_went_along)
{
	with_each(lots);
}
END_TEST

/* Ids are any text; in a path they are written with %XX, and decoded once. */
static void
odd_ids(struct world *w)
{
	static const struct {
		const char *id, *path;
	} rows[] = {
		{ "a b", "a%20b" }, { "a%41", "a%2541" }, { "+", "+" }, { "a/b", "a%2Fb" },
		{ "a/b", "a/b" }, { "a/history", "a%2Fhistory" }, { "//", "%2F%2F" },
		{ "history", "history" }, { "\xc3\xbc\xe2\x82\xac", "%c3%BC%E2%82%AC" },
		{ "'\"<&>;\\", "%27%22%3C%26%3E%3B%5C" }, { "a?b#c", "a%3Fb%23c" },
	};
	char deed[128], path[1200], *at = path;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		snprintf(deed, sizeof(deed), "create notes %s", rows[i].id);
		snprintf(path, sizeof(path), "{'new_data':{'title':'%zu','content':'','created_at':"
		         "'2026-03-01T10:00:00Z','updated_at':'2026-03-01T10:00:00Z'}}", i);
		push_event(w, WRITER, "a", "10:00:00", deed, path);
		snprintf(path, sizeof(path), ENTITIES "notes/%s/history", rows[i].path);
		ck_assert_msg(get(w, path) == 200, "%s: %d %s", path, w->answer.status,
		              w->answer.body.p);
		ck_assert_msg(json_string_is(member(w, "entity_id"), rows[i].id), "%s: %s", path,
		              w->answer.body.p);
		/* A plus sign is one, and other case another id. */
		snprintf(deed, sizeof(deed), "title null -> \"%zu\"; ", i);
		ck_assert_ptr_nonnull(strstr(versions(w), deed));
	}
	/* As long as an id can be, and longer. */
	at += snprintf(path, sizeof(path), ENTITIES "notes/");
	for (int i = 0; i < 255; i++)
		at += sprintf(at, "%%61");
	strcpy(at, "/history");
	snprintf(deed, sizeof(deed), "create notes ");
	{
		struct buf longest = { 0 };

		buf_add_str(&longest, deed);
		for (int i = 0; i < 255; i++)
			buf_add_byte(&longest, 'a');
		push_event(w, WRITER, "a", "10:00:00", buf_cstr(&longest),
		           "{'new_data':{'title':'T','content':'','created_at':'x','updated_at':'x'}}");
		buf_free(&longest);
	}
	ck_assert_int_eq(get(w, path), 200);
	strcpy(at, "a/history");
	ck_assert_int_eq(get(w, path), 404);
}

START_TEST(ids_of_any_text_have_a_history)
{
	with_each(odd_ids);
}
END_TEST

static void
bad_histories(struct world *w)
{
	static const struct {
		const char *path;
		enum who who;
		int status;
		const char *code;
	} rows[] = {
		{ "issues/td-d-1/history", NOBODY, 401, "unauthorized" },
		{ "issues/td-d-1/history", STRANGER, 403, "forbidden" },
		{ "issues/td-d-9/history", READER, 404, "not_found" },
		{ "issues/TD-d-1/history", READER, 404, "not_found" },
		{ "logs/td-d-1/history", READER, 404, "not_found" },
		{ "wishes/td-d-1/history", READER, 404, "not_found" },
		{ "sessions/td-d-1/history", READER, 404, "not_found" },
		{ "issues//history", READER, 307, NULL },
		{ "issues/history", READER, 404, "not_found" },
		{ "/td-d-1/history", READER, 307, NULL },
		{ "issues/td-d-1/historys", READER, 404, "not_found" },
		{ "issues/td-d-1/history/", READER, 404, "not_found" },
		{ "issues/td-d-1/history?limit=0", READER, 400, "bad_request" },
		{ "issues/td-d-1/history?after_server_seq=x", READER, 400, "bad_request" },
		{ "issues/td-d-1/history?after_server_seq=4", READER, 409, "cursor_ahead" },
	};
	char path[128];

	ck_assert_int_eq(push_some(w, "d", 1, 3), 200);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		snprintf(path, sizeof(path), ENTITIES "%s", rows[i].path);
		ck_assert_msg(ask(w, rows[i].who, "GET", path, NULL, NULL) == rows[i].status &&
		              (rows[i].code == NULL || has_code(w, rows[i].code)), "%s: %d %s", path,
		              w->answer.status, w->answer.body.p);
	}
	ck_assert_int_eq(ask(w, WRITER, "POST", ENTITIES "issues/td-d-1/history", "{}", NULL),
	                 405);
}

START_TEST(a_history_of_nonsense_is_refused)
{
	with_each(bad_histories);
}
END_TEST

/* Versions of 3 MB come by two, one of 6 MB alone. */
START_TEST(large_versions_come_few_at_a_time)
{
	struct site_options options = { .kind = SITE_CGI };
	static const int sizes[] = { 3, 3, 3, 6, 1 };
	struct buf payload = { 0 };
	struct world w;

	world_start(&w, &options);
	for (int i = 0; i < 5; i++) {
		buf_reset(&payload);
		buf_add_str(&payload, "{'new_data':{'title':'");
		for (int k = 0; k < sizes[i] << 20; k++)
			buf_add_byte(&payload, 'x');
		buf_add_str(&payload, "'}}");
		push_event(&w, WRITER, "a", "10:00:00", i == 0 ? "create issues td-1"
		           : "update issues td-1", buf_cstr(&payload));
	}
	ck_assert_int_eq(get(&w, ENTITIES "issues/td-1/history"), 200);
	ck_assert_ptr_nonnull(strstr(w.answer.body.p, "\"has_more\":true}"));
	ck_assert_uint_lt(w.answer.body.len, 7 << 20);
	ck_assert_uint_gt(w.answer.body.len, 6 << 20);
	ck_assert_int_eq(get(&w, ENTITIES "issues/td-1/history?after_server_seq=3"), 200);
	ck_assert_uint_gt(w.answer.body.len, 6 << 20);
	ck_assert_uint_lt(w.answer.body.len, 7 << 20);
	ck_assert_ptr_nonnull(strstr(w.answer.body.p, "\"has_more\":true}"));
	ck_assert_int_eq(get(&w, ENTITIES "issues/td-1/history?after_server_seq=4"), 200);
	ck_assert_ptr_nonnull(strstr(w.answer.body.p, "\"has_more\":false}"));
	/* What is read counts, though little is told of it: a column that nobody knows. */
	buf_reset(&payload);
	buf_add_str(&payload, "{'new_data':{'title':'T','x':'");
	for (int k = 0; k < 3 << 20; k++)
		buf_add_byte(&payload, 'x');
	buf_add_str(&payload, "'}}");
	for (int i = 0; i < 3; i++)
		push_event(&w, WRITER, "a", "10:00:01", i == 0 ? "create issues td-2"
		           : "update issues td-2", buf_cstr(&payload));
	ck_assert_int_eq(get(&w, ENTITIES "issues/td-2/history"), 200);
	ck_assert_str_eq(versions(&w), "6 create applied: title null -> \"T\";\n"
	                               "7 update applied: title -> \"T\";\n");
	ck_assert_ptr_nonnull(strstr(w.answer.body.p, "\"has_more\":true}"));
	ck_assert_int_eq(get(&w, ENTITIES "issues/td-2/history?after_server_seq=7"), 200);
	ck_assert_ptr_nonnull(strstr(w.answer.body.p, "\"has_more\":false}"));
	buf_free(&payload);
	world_stop(&w);
}
END_TEST

/* --- harm --- */

static int __attribute__((format(printf, 1, 2)))
shell(const char *fmt, ...)
{
	char command[2048];
	va_list ap;
	int status;

	va_start(ap, fmt);
	vsnprintf(command, sizeof(command), fmt, ap);
	va_end(ap);
	status = system(command);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* The exit code of td-sync-admin project verify, beside the server. */
static int
verify(const struct world *w)
{
	return shell("'%s/td-sync-admin' --data '%s' project verify %s >'%s/verify' 2>&1",
	             TOP_BUILDDIR, w->site.data, w->project, w->site.dir);
}

static void
must_verify(const struct world *w, const char *what)
{
	struct buf said = { 0 };
	char path[PATH_MAX];

	if (verify(w) == 0)
		return;
	snprintf(path, sizeof(path), "%s/verify", w->site.dir);
	fs_read(path, 1 << 20, &said, NULL);
	ck_abort_msg("%s:\n%s", what, buf_cstr(&said));
}

/* The owner's title is lost to the writer's, in an issue of its own. */
static void
lose_title(struct world *w, int n)
{
	char create[64], update[64];

	snprintf(create, sizeof(create), "create issues td-%d", n);
	snprintf(update, sizeof(update), "update issues td-%d", n);
	push_event(w, OWNER, "a", "10:00:00", create, "{'new_data':{'title':'First'}}");
	push_event(w, OWNER, "a", "10:00:01", update,
	           "{'new_data':{'title':'Theirs'},'previous_data':{'title':'First'}}");
	push_event(w, WRITER, "b", "10:00:02", update,
	           "{'new_data':{'title':'Mine'},'previous_data':{'title':'First'}}");
}

/* What is done to the files of the state, in their folder; other/ has another
 * project's, old/ its own as they were after the first conflict. */
static const char *const harms[] = {
	"rm state.db", "rm state.db*", ": >state.db", "truncate -s 5000 state.db",
	"n=$(stat -c %s state.db); head -c $n /dev/urandom >state.db",
	"mv other/state.db state.db", "cat other/state.db >state.db",
	"cat old/state.db >state.db", "rm state.db*; cp old/* .", "rm state.db; mkdir state.db",
	"rm state.lock", "head -c 100 /dev/urandom >state.lock",
	"sqlite3 state.db \"UPDATE tdsync_state SET seq = 1000, mark = 'td/99'\"",
	"sqlite3 state.db 'UPDATE tdsync_state SET log_id = zeroblob(16)'",
	"sqlite3 state.db 'UPDATE tdsync_conflict SET lost_seq = -1'",
};

static void
harmed(struct world *w)
{
	char other[ID_MAX], first[ID_MAX];
	struct buf want = { 0 };
	const char *dir = project_folder(w);

	/* The other project has more of everything. */
	snprintf(first, sizeof(first), "%s", w->project);
	site_project(&w->site, "Other", w->users[OWNER], other);
	site_member(&w->site, other, w->users[WRITER], ROLE_WRITER);
	site_member(&w->site, other, w->users[READER], ROLE_READER);
	memcpy(w->project, other, sizeof(other));
	for (int i = 50; i < 60; i++)
		lose_title(w, i);
	ck_assert_int_eq(get(w, CONFLICTS), 200);
	memcpy(w->project, first, sizeof(first));
	lose_title(w, 1);
	ck_assert_int_eq(get(w, CONFLICTS), 200);
	ck_assert_int_eq(shell("cd '%s' && mkdir old && cp state.db* old", dir), 0);
	lose_title(w, 2);
	ck_assert_int_eq(get(w, CONFLICTS), 200);
	for (size_t i = 0; i < sizeof(harms) / sizeof(*harms); i++) {
		buf_reset(&want);
		buf_add_span(&want, buf_span(&w->answer.body));
		ck_assert_int_eq(shell("cd '%s' && rm -rf other && mkdir other && cp "
		                       "../%s/state.db* other && sqlite3 other/state.db "
		                       "'PRAGMA wal_checkpoint(TRUNCATE)' >/dev/null", dir, other), 0);
		usleep(30000); /* a file that is written to gets another time */
		ck_assert_msg(shell("cd '%s' && { %s; }", dir, harms[i]) == 0, "%s", harms[i]);
		ck_assert_msg(get(w, CONFLICTS) == 200, "%s: %d %s", harms[i], w->answer.status,
		              w->answer.body.p);
		ck_assert_msg(span_eq(buf_span(&want), buf_span(&w->answer.body)), "%s:\n%s\n%s",
		              harms[i], w->answer.body.p, want.p);
		lose_title(w, 3 + (int)i);
		must_verify(w, harms[i]);
		ck_assert_int_eq(get(w, CONFLICTS), 200);
	}
	/* The log was never concerned. */
	ck_assert_int_eq(log_count(w), 6 + 3 * (int)(sizeof(harms) / sizeof(*harms)));
	buf_free(&want);
}

START_TEST(a_state_that_is_harmed_is_served_as_the_log_says)
{
	with_each(harmed);
}
END_TEST

/* --- locked --- */

static struct lock *
lock_state(const struct world *w)
{
	char path[PATH_MAX + 128];
	struct lock *lock;

	snprintf(path, sizeof(path), "%s/" STATE_LOCK, project_folder(w));
	ck_assert_int_eq(lock_open(path, &lock, NULL), RC_OK);
	ck_assert_int_eq(lock_take(lock, clock_mono_ms() + 20000), RC_OK);
	return lock;
}

/* If a push waited for the lock it would be for 3 s; and a stock td gives up after 5. */
#define AT_ONCE_MS 2000

static void
applier_at_work(struct world *w)
{
	int64_t start, longest = 0;
	struct lock *lock;

	lose_title(w, 1);
	lock = lock_state(w);
	for (int i = 0; i < 20; i++) {
		start = clock_mono_ms();
		ck_assert_int_eq(push_some(w, "d", 1 + 20 * i, 20), 200);
		start = clock_mono_ms() - start;
		longest = start > longest ? start : longest;
	}
	ck_assert_int_lt(longest, AT_ONCE_MS);
	/* Nor does a pull. */
	start = clock_mono_ms();
	ck_assert_int_eq(get(w, "/v1/projects/{p}/sync/pull"), 200);
	ck_assert_int_lt(clock_mono_ms() - start, AT_ONCE_MS);
	/* Who needs the state does, and is told in time. */
	start = clock_mono_ms();
	ck_assert_int_eq(get(w, CONFLICTS), 503);
	ck_assert_int_ge(clock_mono_ms() - start, 2500);
	ck_assert_int_lt(clock_mono_ms() - start, SOON_MS);
	ck_assert(has_code(w, "busy"));
	ck_assert_str_ne(web_header(&w->answer, "Retry-After"), "");
	lock_close(lock);
	ck_assert_int_eq(get(w, DIGEST), 200);
	ck_assert_int_eq(answer_number(w, "server_seq"), 403);
	must_verify(w, "after the lock");
}

START_TEST(no_push_ever_waits_for_an_applier)
{
	with_each(applier_at_work);
}
END_TEST

#define READERS 7

struct reader {
	const struct world *w;
	pthread_t thread;
	int status;
	int64_t ms;
};

static void *
read_conflicts(void *ctx)
{
	struct reader *r = ctx;
	struct web_answer answer = { 0 };
	char path[128];
	struct web_call call = { .url = r->w->site.url, .path = path,
	                         .token = r->w->tokens[READER] };

	snprintf(path, sizeof(path), "/v1/projects/%s/sync/conflicts", r->w->project);
	r->ms = clock_mono_ms();
	r->status = web_call(&call, &answer) ? answer.status : 0;
	r->ms = clock_mono_ms() - r->ms;
	web_free(&answer);
	return NULL;
}

/* A pool of 8: 4 may wait for a project's log, 2 for its state. */
START_TEST(who_waits_for_a_state_leaves_the_pool_to_others)
{
	struct site_options options = { .kind = SITE_FASTCGI };
	struct reader readers[READERS];
	int waited = 0, turned_away = 0;
	struct lock *lock;
	int64_t start;
	struct world w;

	world_start(&w, &options);
	lose_title(&w, 1);
	lock = lock_state(&w);
	push_event(&w, OWNER, "a", "10:00:00", "create issues td-9", "{'new_data':{'title':'T'}}");
	for (int i = 0; i < READERS; i++) {
		readers[i] = (struct reader){ .w = &w };
		ck_assert_int_eq(pthread_create(&readers[i].thread, NULL, read_conflicts, &readers[i]),
		                 0);
	}
	usleep(600000);
	start = clock_mono_ms();
	ck_assert_int_eq(push_some(&w, "d", 1, 5), 200);
	ck_assert_int_eq(get(&w, "/v1/projects"), 200);
	ck_assert_int_lt(clock_mono_ms() - start, AT_ONCE_MS);
	for (int i = 0; i < READERS; i++) {
		pthread_join(readers[i].thread, NULL);
		ck_assert_int_eq(readers[i].status, 503);
		waited += readers[i].ms >= 2500;
		turned_away += readers[i].ms < 2500;
	}
	ck_assert_int_eq(waited, 2);
	ck_assert_int_eq(turned_away, READERS - 2);
	lock_close(lock);
	ck_assert_int_eq(get(&w, CONFLICTS), 200);
	world_stop(&w);
}
END_TEST

/* --- kills --- */

/* Workers apply what they took after their answers: there they die. */
START_TEST(workers_that_die_leave_a_state_that_goes_on)
{
	struct site_options options = { .kind = SITE_FASTCGI };
	struct world w;
	pid_t pids[16];
	size_t n;

	world_start(&w, &options);
	/* Not more: the master takes its time with workers that keep dying. */
	for (int i = 0; i < 4; i++) {
		while (push_some(&w, "d", 1 + 500 * i, 500) != 200)
			usleep(20000);
		usleep((useconds_t)(rand() % 15000));
		n = site_workers(&w.site, pids, 16);
		for (size_t k = 0; k < n && k < 16; k++)
			kill(pids[k], SIGKILL);
	}
	while (get(&w, DIGEST) != 200)
		usleep(50000);
	ck_assert_int_eq(answer_number(&w, "server_seq"), 2000);
	must_verify(&w, "after kills");
	world_stop(&w);
}
END_TEST

/* --- disks --- */

/* Whatever is written to state.db finds no room; the log does. */
START_TEST(a_disk_that_is_full_for_the_state_is_none_for_a_push)
{
	char env[PATH_MAX + 32], plan[PATH_MAX], folder[] = "/tmp/td-sync-test-XXXXXX";
	const char *const wrapper[] = { "/usr/bin/env", "LD_PRELOAD=" MISHAP_LIBRARY, env,
		"ASAN_OPTIONS=verify_asan_link_order=0", NULL };
	struct site_options options = { .kind = _i == 0 ? SITE_FASTCGI : SITE_CGI,
		.wrapper = wrapper };
	struct world w;

	if (!http_can_run(options.kind))
		return;
	ck_assert_ptr_nonnull(mkdtemp(folder));
	snprintf(plan, sizeof(plan), "%s/plan", folder);
	snprintf(env, sizeof(env), "TD_SYNC_MISHAP=%s", plan);
	ck_assert(mishap_share(plan));
	world_start(&w, &options);
	lose_title(&w, 1);
	ck_assert_int_eq(get(&w, CONFLICTS), 200);
	strcpy(mishap->call, "write");
	mishap_plan(1, ENOSPC, true, "/" STATE_DB);
	ck_assert_int_eq(push_some(&w, "d", 1, 50), 200);
	lose_title(&w, 2);
	ck_assert_int_eq(get(&w, CONFLICTS), 503);
	ck_assert(has_code(&w, "unavailable"));
	ck_assert_ptr_nonnull(strstr(w.answer.body.p, "full"));
	ck_assert_ptr_null(strstr(w.answer.body.p, w.site.dir));
	ck_assert_int_eq(get(&w, "/v1/projects/{p}/sync/pull"), 200);
	mishap_none();
	mishap->call[0] = '\0';
	ck_assert_int_eq(get(&w, CONFLICTS), 200);
	ck_assert_int_eq(answer_number(&w, "last_server_seq"), 56);
	must_verify(&w, "when there is room again");
	world_stop(&w);
	ck_assert_int_eq(shell("rm -r '%s'", folder), 0);
}
END_TEST

/* A small disk of its own for the project, which nothing can be written to. */
START_TEST(on_a_read_only_disk_a_state_is_refused_with_what_to_do)
{
	struct site_options options = { .kind = SITE_CGI };
	int64_t deadline;
	const char *dir;
	struct world w;

	world_start(&w, &options);
	dir = project_folder(&w);
	lose_title(&w, 1);
	ck_assert_int_eq(shell("mkdir '%s.keep' && mv '%s'/* '%s.keep'", dir, dir, dir), 0);
	if (mount("none", dir, "tmpfs", 0, "size=8m") != 0) {
		printf("skipped: can't mount a small file system\n");
		world_stop(&w);
		return;
	}
	ck_assert_int_eq(shell("mv '%s.keep'/* '%s'", dir, dir), 0);
	deadline = clock_mono_ms() + 5000;
	while (mount("none", dir, "tmpfs", MS_REMOUNT | MS_RDONLY, NULL) != 0) {
		ck_assert(errno == EBUSY && clock_mono_ms() < deadline);
		usleep(10000);
	}
	ck_assert_int_eq(get(&w, CONFLICTS), 503);
	ck_assert(has_code(&w, "unavailable"));
	ck_assert_ptr_nonnull(strstr(w.answer.body.p, "ead-only"));
	ck_assert_int_eq(mount("none", dir, "tmpfs", MS_REMOUNT, NULL), 0);
	ck_assert_int_eq(get(&w, CONFLICTS), 200);
	ck_assert_int_eq(answer_number(&w, "last_server_seq"), 3);
	ck_assert_int_eq(umount2(dir, MNT_DETACH), 0);
	world_stop(&w);
}
END_TEST

/* --- the operator, beside a server --- */

struct busy {
	struct world *w;
	pthread_t thread;
	volatile bool stop;
	int pushes, failed;
};

static void *
push_on(void *ctx)
{
	struct busy *b = ctx;
	struct web_answer answer = { 0 };
	char path[128], device[32];
	struct web_call call = { .method = "POST", .url = b->w->site.url, .path = path,
	                         .token = b->w->tokens[WRITER] };

	snprintf(path, sizeof(path), "/v1/projects/%s/sync/push", b->w->project);
	while (!b->stop) {
		struct buf body = { 0 };

		snprintf(device, sizeof(device), "d%d", ++b->pushes);
		make_push(&body, device, 1, 50);
		call.body = buf_span(&body);
		b->failed += !web_call(&call, &answer) || answer.status != 200;
		buf_free(&body);
		/* Ever slower, or the log grows faster than it is read. */
		usleep(10000 + 1000 * (useconds_t)b->pushes);
	}
	web_free(&answer);
	return NULL;
}

static void
operated(struct world *w)
{
	struct busy b = { .w = w };

	ck_assert_int_eq(pthread_create(&b.thread, NULL, push_on, &b), 0);
	for (int i = 0; i < 4; i++) {
		must_verify(w, "beside a server");
		ck_assert_int_eq(shell("'%s/td-sync-admin' --data '%s' project rebuild %s >/dev/null",
		                       TOP_BUILDDIR, w->site.data, w->project), 0);
	}
	b.stop = true;
	pthread_join(b.thread, NULL);
	ck_assert_int_gt(b.pushes, 4);
	ck_assert_int_eq(b.failed, 0);
	ck_assert_int_eq(get(w, DIGEST), 200);
	ck_assert_int_eq(answer_number(w, "server_seq"), 50 * b.pushes);
}

START_TEST(verify_and_rebuild_work_beside_a_server)
{
	with_each(operated);
}
END_TEST

TCase *
state_case(void)
{
	TCase *tc = tcase_create("state");

	tcase_set_timeout(tc, 240);
	tcase_add_test(tc, a_digest_tells_tables_rows_and_columns);
	tcase_add_test(tc, parked_events_change_no_digest);
	tcase_add_test(tc, of_each_thousandth_seq_the_digest_is_kept);
	tcase_add_test(tc, a_digest_of_nonsense_is_refused);
	tcase_add_test(tc, a_history_tells_each_version);
	tcase_add_test(tc, a_history_tells_what_became_of_rows_that_never_were_or_went_along);
	tcase_add_test(tc, ids_of_any_text_have_a_history);
	tcase_add_test(tc, a_history_of_nonsense_is_refused);
	tcase_add_test(tc, large_versions_come_few_at_a_time);
	tcase_add_test(tc, a_state_that_is_harmed_is_served_as_the_log_says);
	tcase_add_test(tc, no_push_ever_waits_for_an_applier);
	tcase_add_loop_test(tc, a_disk_that_is_full_for_the_state_is_none_for_a_push, 0, 2);
	tcase_add_test(tc, on_a_read_only_disk_a_state_is_refused_with_what_to_do);
	tcase_add_test(tc, verify_and_rebuild_work_beside_a_server);
	if (!http_can_run(SITE_FASTCGI))
		return tc;
	tcase_add_test(tc, who_waits_for_a_state_leaves_the_pool_to_others);
	tcase_add_test(tc, workers_that_die_leave_a_state_that_goes_on);
	return tc;
}
