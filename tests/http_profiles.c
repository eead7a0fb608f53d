/*
 * Projects of another profile than td's, of one that is missing or wrong, and
 * of none at all: made, pushed to and pulled from.
 */
#include "http_test.h"

#include "temp.h"

#include "base/fs.h"
#include "base/json.h"
#include "store/events.h"

#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static char dir[TEMP_PATH]; /* of the profiles */

static void
set_up(void)
{
	temp_make(dir);
}

static void
tear_down(void)
{
	temp_remove(dir);
}

/* Put a profile into the folder. */
static void
write_profile(const char *name, struct span text)
{
	char path[TEMP_PATH + 80];

	snprintf(path, sizeof(path), "%s/%s.json", dir, name);
	ck_assert_int_eq(fs_write(path, text, 0644, NULL), RC_OK);
}

/* Put shelf's into the folder, under any name. */
static void
write_shelf(const char *name)
{
	static const char is[] = "\"name\": \"shelf\"";
	struct buf text = { 0 }, renamed = { 0 };
	const char *at;

	ck_assert_int_eq(fs_read(TOP_SRCDIR "/conf/profiles/shelf.json", 1 << 16, &text, NULL),
	                 RC_OK);
	at = strstr(buf_cstr(&text), is);
	ck_assert_ptr_nonnull(at);
	buf_addf(&renamed, "{\"name\": \"%s\"%s", name, at + strlen(is));
	write_profile(name, buf_span(&renamed));
	buf_free(&renamed);
	buf_free(&text);
}

/* Runs a test's body with each kind of site, whose profiles are in the folder. */
static void
with_profiles(const char *more, void (*body)(struct world *w))
{
	char config[TEMP_PATH + 80];

	snprintf(config, sizeof(config), "profiles = %s\n%s", dir, more);
	with_each_of(config, body);
}

/* Ask for a project of that profile (JSON), which becomes the world's. */
static int
make_project(struct world *w, const char *profile)
{
	char body[128];
	struct span value, id;
	struct buf text = { 0 };

	snprintf(body, sizeof(body), "{\"name\":\"More\",\"profile\":%s}", profile);
	if (ask(w, WRITER, "POST", "/v1/projects", body, NULL) == 201) {
		ck_assert_int_eq(json_scan(buf_span(&w->answer.body), 8, &value, NULL, NULL), RC_OK);
		ck_assert(json_get(value, "id", &id) && json_string(id, &text));
		snprintf(w->project, sizeof(w->project), "%s", buf_cstr(&text));
		buf_free(&text);
	}
	return w->answer.status;
}

/* Push one event as the writer. */
static int
push_one(struct world *w, int number, const char *action, const char *type, const char *id,
         const char *new_data)
{
	struct buf body = { 0 };
	int status;

	buf_addf(&body, "{\"device_id\":\"d\",\"session_id\":\"s\",\"events\":[{"
	         "\"client_action_id\":%d,\"action_type\":\"%s\",\"entity_type\":\"%s\","
	         "\"entity_id\":\"%s\",\"payload\":{\"new_data\":%s},"
	         "\"client_timestamp\":\"2026-03-01T10:00:00Z\"}]}", number, action, type, id,
	         new_data);
	status = ask(w, WRITER, "POST", "/v1/projects/{p}/sync/push", buf_cstr(&body), NULL);
	buf_free(&body);
	return status;
}

/* What a pull gives, as "seq action type new_data;" for each event. */
static const char *
pulled(struct world *w, struct buf *out)
{
	static const char *const keys[] = { "server_seq", "action_type", "entity_type",
	                                    "payload" };
	struct span body, list, key, ev, v[4];
	struct json_iter it;

	buf_reset(out);
	ck_assert_int_eq(ask(w, WRITER, "GET", "/v1/projects/{p}/sync/pull", NULL, NULL), 200);
	ck_assert_int_eq(json_scan(buf_span(&w->answer.body), 64, &body, NULL, NULL), RC_OK);
	ck_assert(json_get(body, "events", &list));
	json_iter_init(&it, list);
	while (json_next(&it, &key, &ev)) {
		json_pick(ev, keys, 4, v);
		for (size_t i = 0; i < 3; i++) {
			buf_add_span(out, v[i]);
			buf_add_byte(out, ' ');
		}
		ck_assert(json_get(v[3], "new_data", &v[3]));
		buf_add_span(out, v[3]);
		buf_add_byte(out, ';');
	}
	return buf_cstr(out);
}

/* What the last answer says is wrong. */
static void
check_error(const struct world *w, int status, const char *code, const char *message)
{
	struct buf want = { 0 };

	buf_addf(&want, "{\"error\":{\"code\":\"%s\",\"message\":", code);
	buf_add_json(&want, span_of(message));
	buf_add_str(&want, "}}\n");
	ck_assert_int_eq(w->answer.status, status);
	ck_assert_str_eq(w->answer.body.p, buf_cstr(&want));
	buf_free(&want);
}

/* --- a profile of its own --- */

/* A snapshot has shelf's tables and rows, and nothing of td's. */
static void
check_snapshot(struct world *w)
{
	struct buf path = { 0 };
	sqlite3_stmt *st;
	sqlite3 *db;

	ck_assert_int_eq(ask(w, WRITER, "GET", "/v1/projects/{p}/sync/snapshot", NULL, NULL), 200);
	ck_assert_str_eq(web_header(&w->answer, "X-Snapshot-Seq"), "7");
	buf_addf(&path, "%s/s.db", dir);
	ck_assert_int_eq(fs_write(buf_cstr(&path), buf_span(&w->answer.body), 0600, NULL), RC_OK);
	ck_assert_int_eq(sqlite3_open(path.p, &db), SQLITE_OK);
	ck_assert_int_eq(sqlite3_prepare_v2(db, "SELECT title, deleted_at, (SELECT count(*) FROM sqlite_schema WHERE name IN ('issues', 'action_log'))"
	    " FROM books WHERE id = 'b'", -1, &st, NULL), SQLITE_OK);
	ck_assert_int_eq(sqlite3_step(st), SQLITE_ROW);
	ck_assert_str_eq((const char *)sqlite3_column_text(st, 0), "C");
	ck_assert_int_eq(sqlite3_column_type(st, 1), SQLITE_TEXT);
	ck_assert_int_eq(sqlite3_column_int(st, 2), 0);
	sqlite3_finalize(st);
	sqlite3_close(db);
	buf_free(&path);
}

static void
shelf(struct world *w)
{
	struct buf out = { 0 };

	ck_assert_int_eq(make_project(w, "\"shelf\""), 201);
	ck_assert_int_eq(push_one(w, 1, "shelve", "Book", "b", "{\"title\":\"B\",\"file\":\"/b\"}"),
	                 200);
	ck_assert_int_eq(push_one(w, 2, "lend", "loans", "l", "{\"book_id\":\"b\"}"), 200);
	/* td's, and what nobody knows, is parked; td's actions are nothing here */
	ck_assert_int_eq(push_one(w, 3, "create", "issues", "td-1", "{\"title\":\"T\"}"), 200);
	ck_assert_int_eq(answer_number(w, "accepted"), 1);
	ck_assert_int_eq(push_one(w, 4, "create", "books", "c", "{\"colour\":\"red\"}"), 200);
	ck_assert_int_eq(push_one(w, 5, "link_file", "volume", "b", "{\"title\":\"C\"}"), 200);
	ck_assert_int_eq(push_one(w, 6, "lose", "books", "b", "{}"), 200);
	ck_assert_int_eq(push_one(w, 7, "create", "reading", "r", "{\"book_id\":\"b\"}"), 200);
	ck_assert_str_eq(pulled(w, &out), "1 \"create\" \"books\" {\"title\":\"B\"};"
	                 "2 \"create\" \"loans\" {\"book_id\":\"b\"};"
	                 "5 \"update\" \"books\" {\"title\":\"C\"};"
	                 "6 \"soft_delete\" \"books\" {};"
	                 "7 \"create\" \"readings\" {\"book_id\":\"b\"};");
	ck_assert_int_eq(ask(w, WRITER, "GET", "/v1/projects/{p}/sync/status", NULL, NULL), 200);
	ck_assert_int_eq(answer_number(w, "event_count"), 7);
	check_snapshot(w);
	buf_free(&out);
}

START_TEST(a_project_has_the_types_of_its_profile)
{
	write_shelf("shelf");
	with_profiles("", shelf);
}
END_TEST

static void
default_is_td(struct world *w)
{
	struct buf out = { 0 };

	ck_assert_int_eq(make_project(w, "null"), 201);
	ck_assert_int_eq(push_one(w, 1, "link_file", "file_link", "f", "{\"file_path\":\"a\"}"),
	                 200);
	ck_assert_int_eq(push_one(w, 2, "shelve", "books", "b", "{\"title\":\"B\"}"), 200);
	ck_assert_str_eq(pulled(w, &out), "1 \"create\" \"issue_files\" {\"file_path\":\"a\"};");
	ck_assert_int_eq(make_project(w, "\"td\""), 201);
	ck_assert_int_eq(push_one(w, 1, "create", "issue", "i", "{\"title\":\"T\"}"), 200);
	ck_assert_str_eq(pulled(w, &out), "1 \"create\" \"issues\" {\"title\":\"T\"};");
	buf_free(&out);
}

START_TEST(a_project_that_names_no_profile_is_tds)
{
	write_shelf("shelf");
	write_profile("td", span_of("which nobody reads"));
	with_profiles("", default_is_td);
}
END_TEST

static int
count_projects(struct world *w)
{
	int n = 0;

	ck_assert_int_eq(ask(w, WRITER, "GET", "/v1/projects", NULL, NULL), 200);
	for (const char *at = w->answer.body.p; (at = strstr(at, "\"slug\"")) != NULL; at++)
		n++;
	return n;
}

static void
no_such_profile(struct world *w)
{
	static const char known[] = "there is no profile \"%s\": known are td, bad, shelf and none";
	static const char *const names[] = { "xyz", "TD", "", "../shelf", "bad.json" };
	char json[32], says[128];

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		snprintf(json, sizeof(json), "\"%s\"", names[i]);
		snprintf(says, sizeof(says), known, names[i]);
		make_project(w, json);
		check_error(w, 400, "bad_request", says);
	}
	make_project(w, "7");
	check_error(w, 400, "bad_request", "invalid json body: profile must be a string");
	make_project(w, "\"bad\"");
	check_error(w, 503, "unavailable", "The server can't do this now: profiles/bad.json: there "
	            "is no \"name\". Whoever runs it must mend that; try again later.");
	ck_assert_int_eq(count_projects(w), 1);
}

START_TEST(a_profile_that_is_not_there_makes_no_project)
{
	write_shelf("shelf");
	write_profile("bad", span_of("{}"));
	with_profiles("", no_such_profile);
}
END_TEST

/* --- none --- */

/* Of what its log adds up to nothing is known. */
static void
no_state(struct world *w)
{
	static const char *const paths[][2] = {
		{ "GET", "/v1/projects/{p}/sync/conflicts" },
		{ "POST", "/v1/projects/{p}/sync/conflicts/1-1/restore" },
		{ "GET", "/v1/projects/{p}/sync/digest" },
		{ "GET", "/v1/projects/{p}/entities/issues/i/history" },
		{ "GET", "/v1/projects/{p}/sync/snapshot" },
		{ "GET", "/v1/projects/{p}/sync/snapshot?at_seq=1" },
	};

	for (size_t i = 0; i < sizeof(paths) / sizeof(*paths); i++) {
		ask(w, WRITER, paths[i][0], paths[i][1], NULL, NULL);
		check_error(w, 404, "not_found", "the project is for no profile, so its log adds up "
		            "to nothing");
	}
}

static void
none(struct world *w)
{
	struct buf out = { 0 };

	ck_assert_int_eq(make_project(w, "\"none\""), 201);
	ck_assert_int_eq(push_one(w, 1, "create", "planets", "p", "{\"repo_root\":1}"), 200);
	ck_assert_int_eq(push_one(w, 2, "Restore", "issue", "i", "{}"), 200);
	ck_assert_int_eq(push_one(w, 3, "link_file", "work_sessions", "x",
	                          "{\"repo_root\":\"/r\"}"), 200);
	ck_assert_str_eq(pulled(w, &out), "1 \"create\" \"planets\" {\"repo_root\":1};"
	                 "2 \"restore\" \"issue\" {};"
	                 "3 \"update\" \"work_sessions\" {\"repo_root\":\"/r\"};");
	/* a name must be one all the same */
	ck_assert_int_eq(push_one(w, 4, "create", "Planets", "p", "{}"), 400);
	ck_assert_int_eq(push_one(w, 4, "create", "a-b", "p", "{}"), 400);
	/* and what is sent again is the same event */
	ck_assert_int_eq(push_one(w, 1, "create", "planets", "p", "{\"repo_root\":1}"), 200);
	ck_assert_int_eq(answer_number(w, "accepted"), 0);
	no_state(w);
	buf_free(&out);
}

START_TEST(a_project_of_no_profile_takes_any_type)
{
	with_profiles("", none);
	with_profiles("unknown_entities = refuse\n", none); /* nothing is known */
}
END_TEST

/* --- a profile that is gone --- */

/* Make the log of the world's project anew, for a profile. */
static void
make_log(const struct world *w, const char *profile)
{
	char path[PATH_MAX + 64];
	struct err err;

	snprintf(path, sizeof(path), "%s/projects/%s", w->site.data, w->project);
	temp_remove(path);
	ck_assert_msg(events_create(path, profile, &err) == RC_OK, "%s", err.text);
}

/* Push and be refused; pull and status go on, with so many events. */
static void
check_refused(struct world *w, const char *why, int64_t events)
{
	struct buf says = { 0 };

	buf_addf(&says, "The server can't do this now: the project is for the profile ghost, %s. "
	         "Whoever runs it must mend that; try again later.", why);
	push_one(w, 9, "create", "books", "b9", "{\"title\":\"B\"}");
	check_error(w, 503, "unavailable", buf_cstr(&says));
	ck_assert_int_eq(ask(w, READER, "GET", "/v1/projects/{p}/sync/status", NULL, NULL), 200);
	ck_assert_int_eq(answer_number(w, "event_count"), events);
	ck_assert_int_eq(ask(w, READER, "GET", "/v1/projects/{p}/sync/pull", NULL, NULL), 200);
	ck_assert_int_eq(answer_number(w, "last_server_seq"), events);
	buf_free(&says);
}

static void
ghost(struct world *w)
{
	static const char missing[] = "which is not there: put its file, ghost.json, into profiles";
	char path[TEMP_PATH + 16];
	struct buf out = { 0 };

	snprintf(path, sizeof(path), "%s/ghost.json", dir);
	unlink(path);
	make_log(w, "ghost");
	check_refused(w, missing, 0);
	write_profile("ghost", span_of("{\"name\": \"ghost\"}"));
	check_refused(w, "which can't be used: profiles/ghost.json: there is no \"version\"", 0);
	/* mended, and nothing has to be started again */
	write_shelf("ghost");
	ck_assert_int_eq(push_one(w, 1, "create", "book", "b", "{\"title\":\"B\"}"), 200);
	ck_assert_str_eq(pulled(w, &out), "1 \"create\" \"books\" {\"title\":\"B\"};");
	if (w->site.kind == SITE_CGI) { /* each process reads it */
		unlink(path);
		check_refused(w, missing, 1);
	}
	buf_free(&out);
}

START_TEST(without_its_profile_a_project_is_read_only)
{
	with_profiles("", ghost);
}
END_TEST

/* An edit of what nobody has created, and the same create under two numbers: healing
 * is td's business. */
static void
not_healed(struct world *w)
{
	static const char *const profiles[] = { "\"shelf\"", "\"none\"" };

	for (size_t i = 0; i < 2; i++) {
		ck_assert_int_eq(make_project(w, profiles[i]), 201);
		push_event(w, WRITER, "d", "10:00:00", "soft_delete places p-1",
		           "{'previous_data':{'id':'p-1','name':'Hall'}}");
		for (int k = 0; k < 2; k++) {
			push_event(w, WRITER, "d", "10:00:01", "create places p-2",
			           "{'new_data':{'id':'p-2','name':'Loft'}}");
			ck_assert_int_eq(ask(w, WRITER, "GET", "/v1/projects/{p}/sync/pull", NULL, NULL),
			                 200);
		}
		ck_assert_int_eq(ask(w, WRITER, "GET", "/v1/projects/{p}/sync/status", NULL, NULL),
		                 200);
		ck_assert_int_eq(answer_number(w, "event_count"), 3);
	}
}

START_TEST(what_is_not_td_s_is_not_healed)
{
	write_shelf("shelf");
	with_profiles("heal = on\n", not_healed);
}
END_TEST

TCase *
profiles_case(void)
{
	TCase *tc = tcase_create("profiles");

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, set_up, tear_down);
	tcase_add_test(tc, a_project_has_the_types_of_its_profile);
	tcase_add_test(tc, a_project_that_names_no_profile_is_tds);
	tcase_add_test(tc, a_profile_that_is_not_there_makes_no_project);
	tcase_add_test(tc, a_project_of_no_profile_takes_any_type);
	tcase_add_test(tc, without_its_profile_a_project_is_read_only);
	tcase_add_test(tc, what_is_not_td_s_is_not_healed);
	return tc;
}
