/* td's profile against a real td database and the Go server's answers. */
#include "profiles/profile.h"
#include "tests/fixture.h"
#include "tests/temp.h"

#include <check.h>
#include <sqlite3.h>
#include <string.h>

/* --- the schema --- */

/* td's profile with no type held back, so that every table is made. */
static const struct profile *
whole_profile(void)
{
	static struct profile_entity entities[32];
	static struct profile p;
	size_t i;

	p = profile_td;
	p.entities = entities;
	for (i = 0; profile_td.entities[i].table != NULL; i++) {
		ck_assert(i + 1 < sizeof(entities) / sizeof(*entities));
		entities[i] = profile_td.entities[i];
		entities[i].held_back = false;
	}
	entities[i] = (struct profile_entity){ 0 };
	return &p;
}

static sqlite3 *
open_made(const struct profile *p)
{
	struct buf sql = { 0 };
	char *message = NULL;
	sqlite3 *db;

	ck_assert(sqlite3_open(":memory:", &db) == SQLITE_OK);
	profile_schema(p, "main", &sql);
	ck_assert_msg(sqlite3_exec(db, buf_cstr(&sql), NULL, NULL, &message) == SQLITE_OK,
	              "%s", message);
	buf_free(&sql);
	return db;
}

/* Append what a query with the table's name as ?1 gives. */
static void
describe_by(sqlite3 *db, const char *query, const char *table, struct buf *out)
{
	sqlite3_stmt *st;
	int code;

	ck_assert_msg(sqlite3_prepare_v2(db, query, -1, &st, NULL) == SQLITE_OK, "%s",
	              sqlite3_errmsg(db));
	sqlite3_bind_text(st, 1, table, -1, SQLITE_STATIC);
	while ((code = sqlite3_step(st)) == SQLITE_ROW) {
		for (int i = 0; i < sqlite3_column_count(st); i++)
			buf_addf(out, " %s=%s", sqlite3_column_name(st, i),
			         sqlite3_column_type(st, i) == SQLITE_NULL
			             ? "NULL" : (const char *)sqlite3_column_text(st, i));
		buf_add_byte(out, '\n');
	}
	ck_assert(code == SQLITE_DONE);
	sqlite3_finalize(st);
}

/* All that SQLite tells of a table: columns, keys, indexes, collations. */
static void
describe(sqlite3 *db, const struct profile_entity *e, struct buf *out)
{
	static const char *const queries[] = {
		"SELECT * FROM pragma_table_info(?1)",
		"SELECT * FROM pragma_foreign_key_list(?1)",
		"SELECT name, \"unique\", origin, partial FROM pragma_index_list(?1) ORDER BY name",
		"SELECT l.name, x.seqno, x.cid, x.name, x.desc, x.coll, x.key"
		" FROM pragma_index_list(?1) l JOIN pragma_index_xinfo(l.name) x ORDER BY l.name, x.seqno",
		"SELECT name, substr(sql, instr(sql, ' WHERE ')) AS condition FROM sqlite_master"
		" WHERE tbl_name = ?1 AND type = 'index' AND instr(sql, ' WHERE ') > 0 ORDER BY name",
		"SELECT type, name FROM sqlite_master WHERE tbl_name = ?1 ORDER BY type, name",
	};
	const char *type, *collation;

	for (size_t i = 0; i < sizeof(queries) / sizeof(*queries); i++) {
		buf_addf(out, "-- %zu\n", i);
		describe_by(db, queries[i], e->table, out);
	}
	for (const struct profile_column *c = e->columns; c->name != NULL; c++) {
		ck_assert(sqlite3_table_column_metadata(db, "main", e->table, c->name, &type,
		                                        &collation, NULL, NULL, NULL) == SQLITE_OK);
		buf_addf(out, "%s %s %s\n", c->name, type, collation);
	}
	buf_cstr(out);
}

START_TEST(the_schema_is_that_of_a_fresh_td_database)
{
	const struct profile *p = whole_profile();
	sqlite3 *made = open_made(p), *real;
	struct buf a = { 0 }, b = { 0 };
	char dir[TEMP_PATH], path[TEMP_PATH + 16];
	int tables = 0;

	temp_make(dir);
	snprintf(path, sizeof(path), "%s/td.db", dir);
	fixture_copy("empty-v38.db", path);
	ck_assert(sqlite3_open(path, &real) == SQLITE_OK);
	for (const struct profile_entity *e = p->entities; e->table != NULL; e++, tables++) {
		buf_reset(&a);
		buf_reset(&b);
		describe(made, e, &a);
		describe(real, e, &b);
		ck_assert_msg(strstr(b.p, "name=id") != NULL, "%s is not there", e->table);
		ck_assert_msg(strcmp(a.p, b.p) == 0, "%s: made\n%s\nreal\n%s", e->table, a.p, b.p);
	}
	ck_assert_int_eq(tables, 15);
	/* The seed: the built-in board, but for its times. */
	buf_reset(&a);
	buf_reset(&b);
	for (int i = 0; i < 2; i++)
		describe_by(i == 0 ? made : real, "SELECT ?1, id, name, last_viewed_at, query,"
		            " is_builtin, view_mode FROM boards", "boards", i == 0 ? &a : &b);
	ck_assert_str_eq(buf_cstr(&a), buf_cstr(&b));
	buf_free(&a);
	buf_free(&b);
	sqlite3_close(made);
	sqlite3_close(real);
	temp_remove(dir);
}
END_TEST

START_TEST(a_state_has_no_tables_for_what_is_held_back)
{
	sqlite3 *db = open_made(&profile_td);
	struct buf out = { 0 };

	describe_by(db, "SELECT count(*) AS n, sum(name IN ('sessions', 'git_snapshots',"
	                " 'issue_session_history')) AS held FROM sqlite_master"
	                " WHERE type = 'table' AND ?1 = ''", "", &out);
	ck_assert_str_eq(buf_cstr(&out), " n=12 held=0\n");
	buf_free(&out);
	sqlite3_close(db);
}
END_TEST

/* --- types --- */

static const struct {
	const char *type, *table; /* NULL: unknown */
} types[] = {
	{ "issue", "issues" }, { "log", "logs" }, { "handoff", "handoffs" },
	{ "comment", "comments" }, { "session", "sessions" }, { "board", "boards" },
	{ "board_position", "board_issue_positions" }, { "work_session", "work_sessions" },
	{ "work_session_issue", "work_session_issues" }, { "file_link", "issue_files" },
	{ "dependency", "issue_dependencies" }, { "git_snapshot", "git_snapshots" },
	{ "issue_session_histories", "issue_session_history" },
	{ "issue_review", "issue_reviews" }, { "note", "notes" },
	{ "ISSUES", "issues" }, { "Handoff", "handoffs" }, { "Board_Issue_Positions", "board_issue_positions" },
	{ "", NULL }, { "issues ", NULL }, { " issue", NULL }, { "issuess", NULL }, { "iss", NULL },
	{ "sync_state", NULL }, { "action_log", NULL }, { "sqlite_master", NULL },
};
#define N_TYPES ((int)(sizeof(types) / sizeof(*types)))

START_TEST(a_type_is_known_by_its_name_or_alias_in_any_case)
{
	const struct profile_entity *e = profile_entity(&profile_td, span_of(types[_i].type));

	if (types[_i].table == NULL) {
		ck_assert_msg(e == NULL, "%s", types[_i].type);
		return;
	}
	ck_assert_msg(e != NULL, "%s", types[_i].type);
	ck_assert_str_eq(e->table, types[_i].table);
	ck_assert(profile_entity(&profile_td, span_of(types[_i].table)) == e);
}
END_TEST

START_TEST(a_column_is_known_by_its_exact_name)
{
	const struct profile_entity *e = profile_entity(&profile_td, span_of("work_sessions"));

	ck_assert(profile_column(e, span_of("name")) != NULL);
	ck_assert(profile_column(e, span_of("Name")) == NULL);
	ck_assert(profile_column(e, span_of("nam")) == NULL);
	ck_assert(profile_column(e, span_of("")) == NULL);
	ck_assert(profile_column(e, span_of("worktree_id"))->flags & PROFILE_LOCAL);
	ck_assert(profile_column(e, span_of("worktree_root"))->flags & PROFILE_LOCAL);
	ck_assert(profile_column(e, span_of("repo_root"))->flags & PROFILE_LOCAL);
	ck_assert(!(profile_column(e, span_of("start_sha"))->flags & PROFILE_LOCAL));
}
END_TEST

START_TEST(parents_come_before_their_children)
{
	static const char reference[] = "REFERENCES ";
	const struct profile_entity *all = profile_td.entities;

	for (const struct profile_entity *e = all; e->table != NULL; e++) {
		const char *at = e->constraints != NULL ? e->constraints : "";

		while ((at = strstr(at, reference)) != NULL) {
			const struct profile_entity *parent;

			at += strlen(reference);
			parent = profile_entity(&profile_td,
			                        (struct span){ at, strcspn(at, "(") });
			ck_assert_msg(parent != NULL && parent < e, "%s", e->table);
		}
	}
}
END_TEST

START_TEST(a_profile_is_found_by_its_name)
{
	ck_assert(profile_find("td") == &profile_td);
	ck_assert(profile_find("TD") == NULL);
	ck_assert(profile_find("") == NULL);
}
END_TEST

/* --- actions --- */

static const struct {
	const char *type;
	enum action pushed, local;
} actions[] = {
	{ "create", ACTION_CREATE, ACTION_CREATE },
	{ "update", ACTION_UPDATE, ACTION_UPDATE },
	{ "delete", ACTION_DELETE, ACTION_SOFT_DELETE },
	{ "Delete", ACTION_DELETE, ACTION_SOFT_DELETE },
	{ "soft_delete", ACTION_SOFT_DELETE, ACTION_SOFT_DELETE },
	{ "restore", ACTION_RESTORE, ACTION_RESTORE },
	{ "handoff", ACTION_CREATE, ACTION_CREATE },
	{ "add_dependency", ACTION_CREATE, ACTION_CREATE },
	{ "link_file", ACTION_CREATE, ACTION_CREATE },
	{ "board_create", ACTION_CREATE, ACTION_CREATE },
	{ "board_update", ACTION_CREATE, ACTION_CREATE },
	{ "board_add_issue", ACTION_CREATE, ACTION_CREATE },
	{ "board_set_position", ACTION_CREATE, ACTION_CREATE },
	{ "work_session_tag", ACTION_CREATE, ACTION_CREATE },
	{ "remove_dependency", ACTION_DELETE, ACTION_DELETE },
	{ "unlink_file", ACTION_DELETE, ACTION_DELETE },
	{ "board_delete", ACTION_DELETE, ACTION_DELETE },
	{ "work_session_untag", ACTION_DELETE, ACTION_DELETE },
	{ "review_delete", ACTION_DELETE, ACTION_DELETE },
	{ "board_unposition", ACTION_SOFT_DELETE, ACTION_SOFT_DELETE },
	{ "board_remove_issue", ACTION_SOFT_DELETE, ACTION_SOFT_DELETE },
	{ "start", ACTION_UPDATE, ACTION_UPDATE },
	{ "approve", ACTION_UPDATE, ACTION_UPDATE },
	{ "close", ACTION_UPDATE, ACTION_UPDATE },
	{ "", ACTION_UPDATE, ACTION_UPDATE },
	{ "create ", ACTION_UPDATE, ACTION_UPDATE },
	{ "RESTORE", ACTION_RESTORE, ACTION_RESTORE },
	{ "Link_File", ACTION_CREATE, ACTION_CREATE },
};
#define N_ACTIONS ((int)(sizeof(actions) / sizeof(*actions)))

START_TEST(every_action_type_has_a_canonical_action)
{
	struct span type = span_of(actions[_i].type);

	ck_assert_str_eq(action_name(profile_action(&profile_td, type)),
	                 action_name(actions[_i].pushed));
	ck_assert_str_eq(action_name(profile_local_action(&profile_td, type)),
	                 action_name(actions[_i].local));
}
END_TEST

START_TEST(without_a_profile_only_canonical_actions_are_known)
{
	ck_assert(profile_action(NULL, span_of("Restore")) == ACTION_RESTORE);
	ck_assert(profile_action(NULL, span_of("link_file")) == ACTION_UPDATE);
}
END_TEST

/* Find an exchange of a recording by its name and decode one of its bodies. */
static void
recorded_body(const char *file, const char *name, const char *side, struct buf *out,
              struct span *json)
{
	struct buf text = { 0 };
	struct span rest, line, v;
	struct err err;

	fixture_read(file, &text);
	rest = buf_span(&text);
	while (fixture_line(&rest, &line)) {
		ck_assert(json_get(line, "name", &v));
		if (!json_string_is(v, name))
			continue;
		ck_assert(json_get(line, side, &v) && json_get(v, "body", &v));
		ck_assert(json_string(v, out));
		ck_assert(json_scan(buf_span(out), JSON_MAX_DEPTH, json, NULL, &err) == RC_OK);
		buf_free(&text);
		return;
	}
	ck_abort_msg("%s has no exchange \"%s\"", file, name);
}

/* The event of that action id in a body's list. */
static struct span
event_of(struct span body, int64_t action_id)
{
	struct span list, key, ev, v;
	struct json_iter it;
	int64_t id;

	ck_assert(json_get(body, "events", &list));
	json_iter_init(&it, list);
	while (json_next(&it, &key, &ev))
		if (json_get(ev, "client_action_id", &v) && json_int64(v, &id) && id == action_id)
			return ev;
	return (struct span){ NULL, 0 };
}

START_TEST(the_go_server_made_the_same_of_types_and_actions)
{
	struct buf push_text = { 0 }, pull_text = { 0 }, name = { 0 };
	struct span pushed, pulled, a, b, v;
	int n = 0;

	recorded_body("http/08-push.jsonl", "aliases and legacy actions", "request",
	              &push_text, &pushed);
	recorded_body("http/09-pull.jsonl",
	              "what became of aliases, legacy actions, fractions and offsets", "response",
	              &pull_text, &pulled);
	for (int64_t id = 20; id < 30; id++, n++) {
		a = event_of(pushed, id);
		b = event_of(pulled, id);
		ck_assert(json_get(a, "entity_type", &v));
		buf_reset(&name);
		json_string(v, &name);
		ck_assert(json_get(b, "entity_type", &v));
		ck_assert(json_string_is(v, profile_entity(&profile_td, buf_span(&name))->table));
		ck_assert(json_get(a, "action_type", &v));
		buf_reset(&name);
		json_string(v, &name);
		ck_assert(json_get(b, "action_type", &v));
		ck_assert_msg(json_string_is(v, action_name(profile_action(&profile_td,
		                                                           buf_span(&name)))),
		              "%s", buf_cstr(&name));
	}
	ck_assert_int_eq(n, 10);
	buf_free(&push_text);
	buf_free(&pull_text);
	buf_free(&name);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("profile");
	TCase *t = tcase_create("td");
	SRunner *r;
	int failed;

	tcase_add_test(t, the_schema_is_that_of_a_fresh_td_database);
	tcase_add_test(t, a_state_has_no_tables_for_what_is_held_back);
	tcase_add_loop_test(t, a_type_is_known_by_its_name_or_alias_in_any_case, 0, N_TYPES);
	tcase_add_test(t, a_column_is_known_by_its_exact_name);
	tcase_add_test(t, parents_come_before_their_children);
	tcase_add_test(t, a_profile_is_found_by_its_name);
	tcase_add_loop_test(t, every_action_type_has_a_canonical_action, 0, N_ACTIONS);
	tcase_add_test(t, without_a_profile_only_canonical_actions_are_known);
	tcase_add_test(t, the_go_server_made_the_same_of_types_and_actions);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? 0 : 1;
}
