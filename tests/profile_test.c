/*
 * td's profile against a real td database and the Go server's answers; and
 * profiles as files: right ones, and all that can be wrong with one.
 */
#include "profiles/installed.h"
#include "profiles/read.h"
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

/* What else td has: its own, on one machine. */
static const char *const local_tables[] = { "action_log", "schema_info", "session_state",
	"sync_conflicts", "sync_history", "sync_skipped_events", "sync_state" };

static bool
is_local(struct span name)
{
	for (size_t i = 0; i < sizeof(local_tables) / sizeof(*local_tables); i++)
		if (span_is(name, local_tables[i]))
			return true;
	return false;
}

START_TEST(every_table_of_td_is_an_entitys_or_local)
{
	char path[FIXTURE_PATH];
	sqlite3_stmt *st;
	sqlite3 *real;
	int entities = 0;

	ck_assert(fixture_find("empty-v38.db", path));
	ck_assert(sqlite3_open_v2(path, &real, SQLITE_OPEN_READONLY, NULL) == SQLITE_OK);
	ck_assert(sqlite3_prepare_v2(real, "SELECT name FROM sqlite_schema WHERE type = 'table'"
	                             " AND name NOT LIKE 'sqlite_%'", -1, &st, NULL) == SQLITE_OK);
	while (sqlite3_step(st) == SQLITE_ROW) {
		struct span name = span_of((const char *)sqlite3_column_text(st, 0));
		const struct profile_entity *e = profile_entity(&profile_td, name);

		ck_assert_msg((e != NULL) != is_local(name), "%s", name.p);
		ck_assert(e == NULL || span_is(name, e->table));
		entities += e != NULL;
	}
	ck_assert_int_eq(entities, 15);
	sqlite3_finalize(st);
	sqlite3_close(real);
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

/* A text that may be missing. */
static void
same_text(const char *a, const char *b)
{
	ck_assert_pstr_eq(a, b);
}

/* Two profiles, member by member, but for what their schemas say. */
static void
same_taxonomy(const struct profile *a, const struct profile *b)
{
	size_t i, j;

	for (i = 0; a->actions[i].type != NULL; i++) {
		same_text(a->actions[i].type, b->actions[i].type);
		ck_assert_int_eq(a->actions[i].action, b->actions[i].action);
	}
	ck_assert_ptr_null(b->actions[i].type);
	for (i = 0; a->entities[i].table != NULL; i++) {
		const struct profile_entity *e = &a->entities[i], *f = &b->entities[i];

		same_text(e->unwrap, f->unwrap);
		same_text(e->parent, f->parent);
		ck_assert(e->held_back == f->held_back && !e->edge == !f->edge);
		if (e->edge != NULL) {
			same_text(e->edge->from, f->edge->from);
			same_text(e->edge->to, f->edge->to);
			same_text(e->edge->relation, f->edge->relation);
			same_text(e->edge->value, f->edge->value);
		}
		for (j = 0; e->aliases[j] != NULL; j++)
			same_text(e->aliases[j], f->aliases[j]);
		ck_assert_ptr_null(f->aliases[j]);
		for (j = 0; e->columns[j].name != NULL; j++)
			ck_assert_uint_eq(e->columns[j].flags, f->columns[j].flags);
	}
	ck_assert_ptr_null(b->entities[i].table);
	ck_assert(a->heals && b->heals);
	same_text(a->note->of, b->note->of);
	same_text(a->note->table, b->note->table);
	same_text(a->note->prefix, b->note->prefix);
	same_text(a->note->owner, b->note->owner);
	same_text(a->note->text, b->note->text);
	same_text(a->note->session, b->note->session);
	same_text(a->note->time, b->note->time);
}

START_TEST(what_is_compiled_in_is_what_the_file_says)
{
	struct buf compiled = { 0 }, read = { 0 };
	struct profile *p;
	struct err err;

	ck_assert_msg(profile_read(TOP_SRCDIR "/conf/profiles/td.json", &p, &err) == RC_OK, "%s",
	              err.text);
	same_text(p->name, profile_td.name);
	ck_assert_int_eq(p->version, profile_td.version);
	ck_assert(p->create == PROFILE_REPLACE && profile_td.create == PROFILE_REPLACE);
	same_taxonomy(&profile_td, p);
	profile_schema(&profile_td, "main", &compiled);
	profile_schema(p, "main", &read);
	profile_database(&profile_td, &compiled);
	profile_database(p, &read);
	ck_assert_str_eq(buf_cstr(&compiled), buf_cstr(&read));
	buf_free(&compiled);
	buf_free(&read);
	profile_free(p);
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

/* --- files --- */

static char dir[TEMP_PATH];
static struct err err;

static void
make_folder(void)
{
	temp_make(dir);
}

static void
remove_folder(void)
{
	temp_remove(dir);
}

/* Write a file into the folder; its path. */
static const char *
write_file(const char *name, struct span text)
{
	static char path[TEMP_PATH + 80];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	ck_assert_int_eq(fs_write(path, text, 0644, NULL), RC_OK);
	return path;
}

/* A small profile that is right; ` stands for ". */
static const char right[] =
    "{`name`: `x`, `version`: 7, `create`: `upsert`, `comment`: `c`,\n"
    "`actions`: {`make`: `create`, `drop`: `delete`},\n"
    "`entities`: [\n"
    "{`table`: `dogs`, `aliases`: [`dog`, `hound`], `comment`: `c`, `unwrap`: `animal`,"
    " `parent`: `dam`,"
    " `columns`: [[`id`, `TEXT PRIMARY KEY`], [`name`, `TEXT NOT NULL DEFAULT 'it''s \u00fc'`],"
    " [`dam`, `TEXT DEFAULT ''`], [`toys`, `TEXT`, `csv`], [`path`, `TEXT`, `local`, `csv`]],"
    " `constraints`: [`CHECK (length(name) > 0)`, `UNIQUE(name, dam)`],"
    " `indexes`: [[`by_name`, `(name) WHERE toys IS NOT NULL`]],"
    " `seed`: {`columns`: [`id`, `name`, `toys`],"
    " `rows`: [[`d1`, `O'Neil`, null], [`d2`, `T\\u00e9o`, -5]]}},\n"
    "{`table`: `walks`, `held_back`: false,"
    " `edge`: {`from`: `dog`, `to`: `after`, `relation`: `kind`, `value`: `v`},"
    " `columns`: [[`id`, `TEXT PRIMARY KEY`], [`dog`, `TEXT REFERENCES dogs(id)"
    " ON DELETE CASCADE`], [`after`, `TEXT`], [`kind`, `TEXT`]]},\n"
    "{`table`: `fleas`, `held_back`: true, `columns`: [[`id`, `TEXT PRIMARY KEY`]]}\n"
    "],\n"
    "`local`: [`CREATE TABLE settings(n INTEGER PRIMARY KEY AUTOINCREMENT, v JSON)`,"
    " `INSERT INTO settings(v) VALUES ('a'), ('b') -- both`\n"
    "],\n"
    "`heal`: {`comment`: `c`, `note`: {`of`: `dogs`, `table`: `walks`, `prefix`: `w-`,"
    " `owner`: `dog`, `text`: `kind`, `session`: `after`, `time`: `after`}}\n"
    "}\n";

/* Append a text with ` as ". */
static void
add_text(struct buf *out, const char *text, size_t n)
{
	for (size_t i = 0; i < n; i++)
		buf_add_byte(out, text[i] == '`' ? '"' : text[i]);
}

/* The right profile with the first `find` changed. */
static void
change(const char *find, const char *put, struct buf *out)
{
	const char *at = strstr(right, find);

	ck_assert_msg(at != NULL, "%s", find);
	buf_reset(out);
	add_text(out, right, (size_t)(at - right));
	add_text(out, put, strlen(put));
	add_text(out, at + strlen(find), strlen(at + strlen(find)));
}

START_TEST(a_profile_is_what_its_file_says)
{
	const struct profile_entity *e;
	struct buf text = { 0 }, out = { 0 };
	struct profile *p;
	sqlite3 *db;

	change(" ", " ", &text);
	ck_assert_msg(profile_read(write_file("x.json", buf_span(&text)), &p, &err) == RC_OK,
	              "%s", err.text);
	ck_assert_str_eq(p->name, "x");
	ck_assert_int_eq(p->version, 7);
	ck_assert_int_eq(p->create, PROFILE_UPSERT);
	ck_assert(p->heals);
	ck_assert_str_eq(p->note->of, "dogs");
	ck_assert_str_eq(p->note->table, "walks");
	ck_assert_str_eq(p->note->prefix, "w-");
	ck_assert_str_eq(p->note->owner, "dog");
	ck_assert_str_eq(p->note->text, "kind");
	ck_assert_str_eq(p->note->session, "after");
	ck_assert_str_eq(p->note->time, "after");
	ck_assert_int_eq(profile_action(p, span_of("Make")), ACTION_CREATE);
	ck_assert_int_eq(profile_action(p, span_of("drop")), ACTION_DELETE);
	ck_assert_int_eq(profile_action(p, span_of("handoff")), ACTION_UPDATE);
	e = profile_entity(p, span_of("HOUND"));
	ck_assert(e == p->entities && e == profile_entity(p, span_of("dogs")));
	ck_assert_str_eq(e->unwrap, "animal");
	ck_assert_str_eq(e->parent, "dam");
	ck_assert_ptr_null(e->edge);
	ck_assert_uint_eq(profile_column(e, span_of("name"))->flags, 0);
	ck_assert_uint_eq(profile_column(e, span_of("toys"))->flags, PROFILE_CSV);
	ck_assert_uint_eq(profile_column(e, span_of("path"))->flags, PROFILE_LOCAL | PROFILE_CSV);
	e = profile_entity(p, span_of("walks"));
	ck_assert_str_eq(e->edge->from, "dog");
	ck_assert_str_eq(e->edge->to, "after");
	ck_assert_str_eq(e->edge->relation, "kind");
	ck_assert_str_eq(e->edge->value, "v");
	ck_assert(!e->held_back && profile_entity(p, span_of("fleas"))->held_back);
	ck_assert_ptr_null(profile_entity(p, span_of("issues")));

	db = open_made(p);
	describe_by(db, "SELECT id, name, dam, toys FROM dogs WHERE ?1 = '' ORDER BY id", "", &out);
	ck_assert_str_eq(buf_cstr(&out), " id=d1 name=O'Neil dam= toys=NULL\n"
	                                 " id=d2 name=T\xc3\xa9o dam= toys=-5\n");
	buf_reset(&out);
	describe_by(db, "SELECT name FROM sqlite_schema WHERE name NOT LIKE 'sqlite%' AND ?1 = ''"
	                " ORDER BY name", "", &out);
	ck_assert_str_eq(buf_cstr(&out), " name=by_name\n name=dogs\n name=walks\n");
	sqlite3_close(db);

	/* a database of the application's: all tables, no rows but its own */
	buf_reset(&text);
	buf_reset(&out);
	profile_database(p, &text);
	ck_assert_int_eq(sqlite3_open(":memory:", &db), SQLITE_OK);
	ck_assert_int_eq(sqlite3_exec(db, buf_cstr(&text), NULL, NULL, NULL), SQLITE_OK);
	describe_by(db, "SELECT name FROM sqlite_schema WHERE name NOT LIKE 'sqlite%' AND ?1 = ''"
	                " ORDER BY name", "", &out);
	describe_by(db, "SELECT n, v, (SELECT count(*) FROM dogs) AS dogs FROM settings"
	                " WHERE ?1 = '' ORDER BY n", "", &out);
	ck_assert_str_eq(buf_cstr(&out), " name=by_name\n name=dogs\n name=fleas\n name=settings\n"
	                                 " name=walks\n n=1 v=a dogs=0\n n=2 v=b dogs=0\n");
	sqlite3_close(db);
	buf_free(&text);
	buf_free(&out);
	profile_free(p);
}
END_TEST

/* What may be wrong: change the right one, and this is said of it. */
static const struct {
	const char *find, *put, *says;
} faults[] = {
	/* the text */
	{ "{`name`", "[`name`", "line 1: invalid JSON: " },
	{ "`comment`: `c`,\n", "\n\n,", "line 3: invalid JSON: " },
	{ "]}\n", "]},\n", "line 7: invalid JSON: " },
	{ "\n}\n", "\n}\n{}\n", "line 12: invalid JSON: something follows" },
	{ "{`name`", "[{`name`", "line 12: invalid JSON: " },
	{ "`v`}", "[[[[[[[[`v`]]]]]]]]}", "line 5: invalid JSON: " },
	{ "`name`: `x`", "`name`: `\xff`", "line 1: invalid JSON: " },

	/* the profile */
	{ "`version`: 7, ", "", "there is no \"version\"" },
	{ "`version`: 7", "`version`: `7`",
	  "\"version\" must be a whole number from 1 to 2147483647" },
	{ "`version`: 7", "`version`: 7.0",
	  "\"version\" must be a whole number from 1 to 2147483647" },
	{ "`version`: 7", "`version`: 0",
	  "\"version\" must be a whole number from 1 to 2147483647" },
	{ "`version`: 7", "`version`: 2147483648",
	  "\"version\" must be a whole number from 1 to 2147483647" },
	{ "`version`", "`versoin`", "unknown member \"versoin\"" },
	{ "`version`: 7", "`version`: 7, `version`: 7", "\"version\" is there twice" },
	{ "`name`: `x`, ", "", "there is no \"name\"" },
	{ "`name`: `x`", "`name`: null", "\"name\" must be a text" },
	{ "`name`: `x`", "`name`: ``", "\"name\" is empty" },
	{ "`name`: `x`", "`name`: `X`",
	  "\"X\" is no name: 1 to 64 of a-z, 0-9 and _, a letter first" },
	{ "`name`: `x`", "`name`: `a\\u0000`",
	  "\"name\" holds a NUL or half a surrogate pair" },
	{ "`name`: `x`", "`name`: `y`", "its name is y, so the file must be called y.json" },
	{ "`create`: `upsert`, ", "", "there is no \"create\"" },
	{ "`upsert`", "`insert`", "\"create\" must be \"replace\" or \"upsert\"" },
	{ "`upsert`", "true", "\"create\" must be \"replace\" or \"upsert\"" },
	{ "`comment`: `c`", "`comment`: 1", "\"comment\" must be a text" },
	{ "{`make`: `create`, `drop`: `delete`}", "[]", "\"actions\" must be an object" },
	{ "`make`: `create`", "`make`: `insert`", "action make: it must be \"create\", "
	  "\"update\", \"delete\", \"soft_delete\" or \"restore\"" },
	{ "`make`: `create`", "`make`: 1", "action make: it must be \"create\", "
	  "\"update\", \"delete\", \"soft_delete\" or \"restore\"" },
	{ "`make`", "`Make`", "\"Make\" is no name: 1 to 64 of a-z, 0-9 and _, a letter first" },
	{ "`make`", "`drop`", "action drop: it is there twice" },
	{ "`make`", "`restore`", "action restore: it is one of the five itself" },

	/* entities */
	{ "`entities`: [", "`entities`: {}, `x`: [", "unknown member \"x\"" },
	{ "`entities`: [", "`comment`: [", "\"comment\" is there twice" },
	{ "{`table`: `dogs`", "1, {`table`: `dogs`", "entity 1: it must be an object" },
	{ "{`table`: `walks`", "{`tables`: `walks`", "entity 2: there is no \"table\"" },
	{ "`walks`", "`dogs`", "entity dogs: the name dogs is there twice" },
	{ "`walks`", "`dog`", "entity dog: the name dog is there twice" },
	{ "`dog`", "`dogs`", "entity dogs: the name dogs is there twice" },
	{ "`hound`", "`dog`", "entity dogs: the name dog is there twice" },
	{ "`table`: `walks`", "`table`: `walks`, `aliases`: [`hound`]",
	  "entity walks: the name hound is there twice" },
	{ "`walks`", "`9walks`",
	  "entity 2: \"9walks\" is no name: 1 to 64 of a-z, 0-9 and _, a letter first" },
	{ "`walks`", "`walks\\`; DROP TABLE dogs; --`", "entity 2: \"walks\"; DROP TABLE dogs; --\" "
	  "is no name: 1 to 64 of a-z, 0-9 and _, a letter first" },
	{ "`walks`", "`sqlite_walks`",
	  "entity 2: \"sqlite_walks\" is not free: sqlite_ is SQLite's" },
	{ "`walks`", "`tdsync_walks`",
	  "entity 2: \"tdsync_walks\" is not free: tdsync_ is td-sync's" },
	{ "[`dog`, `hound`]", "`dog`", "entity dogs: \"aliases\" must be a list of names" },
	{ "`hound`", "`Hound`",
	  "entity dogs: \"Hound\" is no name: 1 to 64 of a-z, 0-9 and _, a letter first" },
	{ "`hound`", "2", "entity dogs: \"alias\" must be a text" },
	{ "`comment`: `c`, `unwrap`", "`comment`: {}, `unwrap`",
	  "entity dogs: \"comment\" must be a text" },
	{ "`unwrap`", "`wrap`", "entity dogs: unknown member \"wrap\"" },
	{ "`unwrap`: `animal`", "`unwrap`: `toys`", "entity dogs: \"unwrap\": toys is a column" },
	{ "`unwrap`: `animal`", "`unwrap`: [`animal`]", "entity dogs: \"unwrap\" must be a text" },
	{ "`parent`: `dam`", "`parent`: `sire`",
	  "entity dogs: \"parent\": there is no column sire" },
	{ "`held_back`: true", "`held_back`: 1",
	  "entity fleas: \"held_back\" must be true or false" },
	{ "`held_back`: true", "`held_back`: `true`",
	  "entity fleas: \"held_back\" must be true or false" },

	/* columns */
	{ "`held_back`: true, `columns`: [[`id`, `TEXT PRIMARY KEY`]]", "`held_back`: true",
	  "entity fleas: there is no \"columns\"" },
	{ "`held_back`: true, `columns`: [[`id`, `TEXT PRIMARY KEY`]]", "`columns`: {}",
	  "entity fleas: \"columns\" must be a list" },
	{ "[[`id`, `TEXT PRIMARY KEY`]]", "[]", "entity fleas: it has no column id" },
	{ "[[`id`, `TEXT PRIMARY KEY`]]", "[[`key`, `TEXT PRIMARY KEY`]]",
	  "entity fleas: it has no column id" },
	{ "[`after`, `TEXT`]", "`after`",
	  "entity walks, column 3: it must be a list: name, declaration, flags" },
	{ "[`after`, `TEXT`]", "[]", "entity walks, column 3: there is no \"name\"" },
	{ "[`after`, `TEXT`]", "[`after`]",
	  "entity walks, column after: there is no \"declaration\"" },
	{ "[`after`, `TEXT`]", "[`after`, ``]",
	  "entity walks, column after: \"declaration\" is empty" },
	{ "[`after`, `TEXT`]", "[`after`, `TEXT`, `cvs`]",
	  "entity walks, column after: unknown flag \"cvs\": \"local\" or \"csv\"" },
	{ "[`after`, `TEXT`]", "[`after`, `TEXT`, 1]",
	  "entity walks, column after: unknown flag 1: \"local\" or \"csv\"" },
	{ "[`after`, `TEXT`]", "[`after`, `TEXT`, `csv`, `csv`]",
	  "entity walks, column after: the flag \"csv\" is there twice" },
	{ "[`after`, `TEXT`]", "[`dog`, `TEXT`]", "entity walks, column dog: it is there twice" },
	{ "[`after`, `TEXT`]", "[`After`, `TEXT`]", "entity walks, column 3: \"After\" is no "
	  "name: 1 to 64 of a-z, 0-9 and _, a letter first" },

	/* SQL that would not stay in its place */
	{ "[`after`, `TEXT`]", "[`after`, `TEXT); DROP TABLE dogs`]", "entity walks, column after: "
	  "a bracket is closed that is not open: TEXT); DROP TABLE dogs" },
	{ "[`after`, `TEXT`]", "[`after`, `TEXT; DROP TABLE dogs`]",
	  "entity walks, column after: a semicolon: TEXT; DROP TABLE dogs" },
	{ "[`after`, `TEXT`]", "[`after`, `TEXT, more TEXT`]",
	  "entity walks, column after: a comma outside of brackets: TEXT, more TEXT" },
	{ "[`after`, `TEXT`]", "[`after`, `TEXT -- more`]",
	  "entity walks, column after: a comment: TEXT -- more" },
	{ "[`after`, `TEXT`]", "[`after`, `TEXT /* more`]",
	  "entity walks, column after: a comment: TEXT /* more" },
	{ "[`after`, `TEXT`]", "[`after`, `TEXT CHECK (1`]",
	  "entity walks, column after: a bracket is not closed: TEXT CHECK (1" },
	{ "[`after`, `TEXT`]", "[`after`, `TEXT DEFAULT 'x''`]",
	  "entity walks, column after: a quote is not closed: TEXT DEFAULT 'x''" },
	{ "[`after`, `TEXT`]", "[`after`, `TEXT DEFAULT [x`]",
	  "entity walks, column after: a quote is not closed: TEXT DEFAULT [x" },
	{ "[`after`, `TEXT`]", "[`after`, `TEXT \\`x`]",
	  "entity walks, column after: a quote is not closed: TEXT \"x" },
	{ "`UNIQUE(name, dam)`", "`UNIQUE(name, dam)) WITHOUT ROWID; DROP TABLE x`",
	  "entity dogs, constraint 2: a bracket is closed that is not open: "
	  "UNIQUE(name, dam)) WITHOUT ROWID; DROP TABLE x" },
	{ "`(name) WHERE toys IS NOT NULL`", "`(name); DELETE FROM dogs`",
	  "entity dogs, index by_name: a semicolon: (name); DELETE FROM dogs" },

	/* SQL that is no such declaration */
	{ "[`after`, `TEXT`]", "[`after`, `TEXT NOTNULL`]",
	  "entity walks: near \"NOTNULL\": syntax error, in: \"after\" TEXT NOTNULL," },
	{ "[`after`, `TEXT`]", "[`after`, `TEXT COLLATE GREEK`]",
	  "entity walks: no such collation sequence: GREEK" },
	{ "`TEXT`], [`kind`", "`TEXT CHECK (after <> 'x' COLLATE GREEK)`], [`kind`",
	  "entity walks: no such collation sequence: GREEK" },
	{ "[`after`, `TEXT`]", "[`after`, `TEXT NOT NULL ON\xef\xbb\xbf" "CONFLICT REPLACE`]",
	  "entity walks, column after: a character outside of quotes that is not ASCII: "
	  "TEXT NOT NULL ON\xef\xbb\xbf" "CONFLICT REPLACE" },
	{ "[`after`, `TEXT`]", "[`after`, `TEXT DEFAULT e`]", "entity walks: column after: a "
	  "DEFAULT must be a text, a number, NULL or CURRENT_TIMESTAMP, not e" },
	{ "[`after`, `TEXT`]", "[`after`, `TEXT ON CONFLICT REPLACE`]", "entity walks, column after: "
	  "ON CONFLICT is not for a profile's file: \"create\" says what happens: "
	  "TEXT ON CONFLICT REPLACE" },
	{ "ON DELETE CASCADE`", "DEFERRABLE INITIALLY DEFERRED`", "entity walks, column dog: "
	  "a key that is DEFERRED would fail too late, with others' events: "
	  "TEXT REFERENCES dogs(id) DEFERRABLE INITIALLY DEFERRED" },
	{ "[`after`, `TEXT`]", "[`after`, `TEXT AS (dog || kind)`]",
	  "entity walks: column after: it must not be GENERATED" },
	{ "`TEXT PRIMARY KEY`]]}\n]", "`TEXT`]]}\n]",
	  "entity fleas: the primary key must be id alone, as TEXT" },
	{ "`TEXT PRIMARY KEY`]]}\n]", "`INTEGER PRIMARY KEY`]]}\n]",
	  "entity fleas: the primary key must be id alone, as TEXT" },
	{ "`TEXT PRIMARY KEY`]]}\n]", "`TEXT COLLATE NOCASE PRIMARY KEY`]]}\n]",
	  "entity fleas: ids must be told apart by each byte: no COLLATE" },
	{ "`TEXT PRIMARY KEY`]]}\n]", "`TEXT`]], `constraints`: [`PRIMARY KEY (id COLLATE RTRIM)`]}\n]",
	  "entity fleas: ids must be told apart by each byte: no COLLATE" },
	{ "`TEXT PRIMARY KEY`]]}\n]", "`TEXT COLLATE NOCASE`]], `constraints`: [`PRIMARY KEY (id COLLATE "
	  "BINARY)`]}\n]", "entity fleas: ids must be told apart by each byte: no COLLATE" },
	{ "`UNIQUE(name, dam)`", "`PRIMARY KEY (name)`",
	  "entity dogs: table \"dogs\" has more than one primary key" },
	{ "[`after`, `TEXT`]", "[`after`, `TEXT DEFAULT (random())`]", "entity walks: column after: a "
	  "DEFAULT must be a text, a number, NULL or CURRENT_TIMESTAMP, not random()" },
	{ "[`after`, `TEXT`]", "[`after`, `TEXT DEFAULT ('a' || random())`]", "entity walks: column "
	  "after: a DEFAULT must be a text, a number, NULL or CURRENT_TIMESTAMP, not 'a' || random()" },
	{ "[`after`, `TEXT`]", "[`after`, `TEXT DEFAULT (1 + random())`]", "entity walks: column "
	  "after: a DEFAULT must be a text, a number, NULL or CURRENT_TIMESTAMP, not 1 + random()" },
	{ "[`after`, `TEXT`]", "[`after`, `TEXT DEFAULT CURRENT_DATE`]", "entity walks: column after: "
	  "a DEFAULT must be a text, a number, NULL or CURRENT_TIMESTAMP, not CURRENT_DATE" },
	{ "[`after`, `TEXT`]", "[`after`, `TEXT CHECK (json_extract(after, '$') > 1)`]",
	  "entity walks: not authorized to use function: json_extract, in: "
	  "\"after\" TEXT CHECK (json_extract(after, '$') > 1)," },
	{ "[`after`, `TEXT`]", "[`after`, `TEXT CHECK (datetime(after) > '2026')`]",
	  "entity walks: not authorized to use function: datetime, in: "
	  "\"after\" TEXT CHECK (datetime(after) > '2026')," },
	{ "`CHECK (length(name) > 0)`", "`CHECK (name IN (SELECT id FROM dogs))`",
	  "entity dogs: subqueries prohibited in CHECK constraints, in: "
	  "CHECK (name IN (SELECT id FROM dogs))," },
	{ "`CHECK (length(name) > 0)`", "`CHECK (colour <> 1)`",
	  "entity dogs: no such column: colour, in: CHECK (colour <> 1)," },
	{ "`CHECK (length(name) > 0)`", "`CHECK (name <> \\`x\\`)`",
	  "entity dogs: no such column: x, in: CHECK (name <> \"x\")," },
	{ "`CHECK (length(name) > 0)`", "`more TEXT`",
	  "entity dogs: its SQL makes a column more that is not in its columns" },
	{ "[`CHECK (length(name) > 0)`, `UNIQUE(name, dam)`]", "`UNIQUE(name)`",
	  "entity dogs: \"constraints\" must be a list of texts" },
	{ "`CHECK (length(name) > 0)`", "[]", "entity dogs, constraint 1: \"constraint\" must be a text" },

	/* keys */
	{ "REFERENCES dogs(id)", "REFERENCES cats(id)",
	  "entity walks: it references cats, which is no entity" },
	{ "REFERENCES dogs(id)", "REFERENCES sqlite_schema(name)",
	  "entity walks: it references sqlite_schema, which is no entity" },
	{ "`UNIQUE(name, dam)`", "`FOREIGN KEY (dam) REFERENCES walks(id)`",
	  "entity dogs: it references walks, which must come before it" },
	{ "`TEXT DEFAULT ''`", "`TEXT REFERENCES dogs(id) ON DELETE CASCADE`",
	  "entity dogs: it references itself ON DELETE CASCADE" },
	{ "REFERENCES dogs(id)", "REFERENCES dogs(name)",
	  "entity walks: foreign key mismatch - \"walks\" referencing \"dogs\"" },
	{ "REFERENCES dogs(id)", "REFERENCES dogs(colour)",
	  "entity walks: foreign key mismatch - \"walks\" referencing \"dogs\"" },
	{ "`UNIQUE(name, dam)`", "`FOREIGN KEY (dam) REFERENCES dogs(id)`", /* '' is none */
	  "entity dogs: FOREIGN KEY constraint failed" },
	{ "REFERENCES dogs(id)", "REFERENCES Dogs(id)",
	  "entity walks: it references Dogs, which is no entity" },
	{ "`UNIQUE(name, dam)`", "`FOREIGN KEY (owner) REFERENCES dogs(id)`",
	  "entity dogs: unknown column \"owner\" in foreign key definition" },
	{ "`dogs`, `aliases`", "`dogs`, `held_back`: true, `aliases`",
	  "entity walks: it references dogs, which is held back" },

	/* indexes, edges, seeds */
	{ "[[`by_name`, `(name) WHERE toys IS NOT NULL`]]", "{}",
	  "entity dogs: \"indexes\" must be a list" },
	{ "[`by_name`, `(name) WHERE toys IS NOT NULL`]", "[`by_name`, `(name)`, 1]",
	  "entity dogs, index 1: it must be a list: name, columns" },
	{ "[`by_name`, `(name) WHERE toys IS NOT NULL`]", "`by_name`",
	  "entity dogs, index 1: it must be a list: name, columns" },
	{ "[`by_name`, `(name) WHERE toys IS NOT NULL`]", "[`by_name`]",
	  "entity dogs, index by_name: there is no \"columns\"" },
	{ "`(name) WHERE", "`name WHERE",
	  "entity dogs, index by_name: its columns must be in brackets" },
	{ "`(name) WHERE", "`(colour) WHERE", "entity dogs: no such column: colour, in: "
	  "CREATE INDEX \"main\".\"by_name\" ON \"dogs\"(colour) WHERE toys IS NOT NULL;" },
	{ "`by_name`", "`tdsync_by_name`",
	  "entity dogs, index 1: \"tdsync_by_name\" is not free: tdsync_ is td-sync's" },
	{ "`by_name`", "`dogs`", "entity dogs: there is already a table named dogs" },
	{ "`value`: `v`", "`value`: ``", "entity walks, edge: \"value\" is empty" },
	{ "`to`: `after`", "`to`: `before`", "entity walks, edge: \"to\": there is no column before" },
	{ "`from`: `dog`, ", "", "entity walks, edge: there is no \"from\"" },
	{ "`relation`: `kind`", "`relation`: 1", "entity walks, edge: \"relation\" must be a text" },
	{ "`from`: `dog`", "`from`: `dog`, `on`: 1", "entity walks, edge: unknown member \"on\"" },
	{ "`edge`: {", "`edge`: 1, `aliases`: [], `comment`: {",
	  "entity walks: \"comment\" must be a text" },
	{ "`seed`: {", "`seed`: [], `comments`: {", "entity dogs: unknown member \"comments\"" },
	{ "[`id`, `name`, `toys`]", "[`id`, `colour`, `toys`]",
	  "entity dogs, seed: \"column\": there is no column colour" },
	{ "[`id`, `name`, `toys`]", "[]", "entity dogs: near \")\": syntax error, in: " },
	{ "[`id`, `name`, `toys`]", "`id`", "entity dogs, seed: \"columns\" must be a list of names" },
	{ "`O'Neil`, null]", "`O'Neil`]",
	  "entity dogs: all VALUES must have the same number of terms" },
	{ "`O'Neil`, null]", "`O'Neil`, true]", "entity dogs, seed row 1: a value must be a text, a "
	  "whole number or null, not true" },
	{ "-5]", "-5.5]", "entity dogs, seed row 2: a value must be a text, a whole number or null, "
	  "not -5.5" },
	{ "[`d2`, ", "1, [`d2`, ", "entity dogs, seed row 2: it must be a list of values" },
	{ "`O'Neil`", "null", "entity dogs: NOT NULL constraint failed: dogs.name" },
	{ "`d2`", "`d1`", "entity dogs: UNIQUE constraint failed: dogs.id" },

	/* healing */
	{ "`heal`: {", "`heal`: 1, `actions`: {", "\"actions\" is there twice" },
	{ "{`comment`: `c`, `note`: {`of`: `dogs`, `table`: `walks`, `prefix`: `w-`,"
	  " `owner`: `dog`, `text`: `kind`, `session`: `after`, `time`: `after`}}", "1",
	  "\"heal\" must be an object" },
	{ "`heal`: {", "`heal`: {`on`: 1, ", "heal: unknown member \"on\"" },
	{ "`of`: `dogs`", "`of`: `cats`", "heal, note: there is no entity cats" },
	{ "`of`: `dogs`, ", "", "heal, note: there is no \"of\"" },
	{ "`table`: `walks`, `prefix`: `w-`", "`table`: `fleas`, `prefix`: `w-`",
	  "heal, note: \"owner\": there is no column dog" },
	{ "`time`: `after`", "`time`: `before`", "heal, note: \"time\": there is no column before" },
	{ "`prefix`: `w-`", "`prefix`: ``", "heal, note: \"prefix\" is empty" },

	/* what is beside the entities */
	{ "`local`: [`CREATE", "`local`: [1, `CREATE", "\"local\" must be a text" },
	{ "`INSERT INTO settings(v) VALUES ('a'), ('b') -- both`", "{}",
	  "\"local\" must be a text" },
	{ "AUTOINCREMENT, v JSON", "AUTOINCREASE, v JSON", "statement 1 of local: near "
	  "\"AUTOINCREASE\": syntax error, in: CREATE TABLE settings(n INTEGER PRIMARY KEY "
	  "AUTOINCREASE, v JSON)" },
	{ "CREATE TABLE settings(n", "CREATE TABLE walks(n", "statement 1 of local: table walks "
	  "already exists, in: CREATE TABLE walks(n INTEGER PRIMARY KEY AUTOINCREMENT, v JSON)" },
	{ "INSERT INTO settings", "INSERT INTO cats", "statement 2 of local: no such table: cats" },
	{ "INSERT INTO settings(v) VALUES ('a')", "INSERT INTO dogs(id) VALUES ('d9')",
	  "statement 2 of local: not authorized" },
	{ "INSERT INTO settings(v) VALUES ('a'), ('b') -- both", "CREATE INDEX i ON Fleas(id)",
	  "statement 2 of local: not authorized" },
	{ "INSERT INTO settings(v) VALUES ('a'), ('b') -- both", "DELETE FROM settings",
	  "statement 2 of local: not authorized" },
	{ "INSERT INTO settings(v) VALUES ('a'), ('b') -- both", "ATTACH 'x' AS x",
	  "statement 2 of local: not authorized" },
	{ "INSERT INTO settings(v) VALUES ('a'), ('b') -- both",
	  "CREATE TRIGGER t AFTER INSERT ON settings BEGIN SELECT 1; END",
	  "statement 2 of local: not authorized" },
	{ " -- both", "; DROP TABLE dogs", "statement 2 of local: something follows it:  DROP TABLE "
	  "dogs" },
	{ "INSERT INTO settings(v) VALUES ('a'), ('b') -- both", " ", "statement 2 of local: " },
};
#define N_FAULTS ((int)(sizeof(faults) / sizeof(*faults)))

START_TEST(a_fault_in_a_file_is_named_in_a_sentence)
{
	struct profile *p = NULL;
	struct buf text = { 0 };
	const char *path, *says = faults[_i].says;
	/* what the scanner or SQLite says of a text that is cut short is theirs */
	bool whole = says[strlen(says) - 1] != ' ';

	change(faults[_i].find, faults[_i].put, &text);
	path = write_file("x.json", buf_span(&text));
	ck_assert_msg(profile_read(path, &p, &err) == RC_INVALID, "%s", faults[_i].put);
	ck_assert_ptr_null(p);
	ck_assert(strncmp(err.text, path, strlen(path)) == 0);
	ck_assert_msg(strncmp(err.text + strlen(path), ": ", 2) == 0, "%s", err.text);
	ck_assert_msg(whole ? strcmp(err.text + strlen(path) + 2, says) == 0
	                    : strncmp(err.text + strlen(path) + 2, says, strlen(says)) == 0,
	              "%s: \"%s\"", says, err.text);
	buf_free(&text);
}
END_TEST

/* Read x.json with this in it. */
static enum rc
read_text(struct buf *text)
{
	struct profile *p;
	enum rc rc = profile_read(write_file("x.json", buf_span(text)), &p, &err);

	profile_free(p);
	return rc;
}

START_TEST(a_table_has_at_most_64_columns)
{
	struct buf columns = { 0 }, text = { 0 };

	for (int n = PROFILE_COLUMNS_MAX; n <= PROFILE_COLUMNS_MAX + 1; n++) {
		buf_reset(&columns);
		buf_add_str(&columns, "[`id`, `TEXT PRIMARY KEY`]");
		for (int i = 2; i <= n; i++)
			buf_addf(&columns, ", [`c%d`, `TEXT`]", i);
		buf_add_str(&columns, "]}\n]");
		change("[`id`, `TEXT PRIMARY KEY`]]}\n]", buf_cstr(&columns), &text);
		if (n == PROFILE_COLUMNS_MAX)
			ck_assert_msg(read_text(&text) == RC_OK, "%s", err.text);
		else
			ck_assert(read_text(&text) == RC_INVALID);
	}
	ck_assert_ptr_nonnull(strstr(err.text, "x.json: entity fleas: it has 65 columns: "
	                             "64 are the most"));
	buf_free(&columns);
	buf_free(&text);
}
END_TEST

START_TEST(a_table_has_at_most_8_keys_that_cascade)
{
	struct buf columns = { 0 }, text = { 0 };

	for (int n = PROFILE_PARENTS_MAX; n <= PROFILE_PARENTS_MAX + 1; n++) {
		buf_reset(&columns);
		buf_add_str(&columns, "[`id`, `TEXT PRIMARY KEY`]");
		for (int i = 1; i <= n; i++)
			buf_addf(&columns, ", [`c%d`, `TEXT REFERENCES dogs(id) ON DELETE CASCADE`]", i);
		/* others don't count */
		buf_add_str(&columns, ", [`more`, `TEXT REFERENCES dogs`]]}\n]");
		change("[`id`, `TEXT PRIMARY KEY`]]}\n]", buf_cstr(&columns), &text);
		if (n == PROFILE_PARENTS_MAX)
			ck_assert_msg(read_text(&text) == RC_OK, "%s", err.text);
		else
			ck_assert(read_text(&text) == RC_INVALID);
	}
	ck_assert_ptr_nonnull(strstr(err.text, "x.json: entity fleas: it has 9 foreign keys ON "
	                             "DELETE CASCADE: 8 are the most"));
	buf_free(&columns);
	buf_free(&text);
}
END_TEST

START_TEST(a_name_has_at_most_64_bytes)
{
	char put[80];
	struct buf text = { 0 };

	for (int n = PROFILE_NAME_MAX; n <= PROFILE_NAME_MAX + 1; n++) {
		snprintf(put, sizeof(put), "`f%0*d`", n - 1, 0);
		change("`fleas`", put, &text);
		ck_assert_int_eq(read_text(&text), n == PROFILE_NAME_MAX ? RC_OK : RC_INVALID);
	}
	ck_assert_ptr_nonnull(strstr(err.text, "0\" is no name: 1 to 64 of a-z"));
	buf_free(&text);
}
END_TEST

START_TEST(a_file_has_at_most_256_kib)
{
	struct buf text = { 0 };

	for (size_t n = PROFILE_FILE_BYTES; n <= PROFILE_FILE_BYTES + 1; n++) {
		change(" ", " ", &text);
		while (text.len < n)
			buf_add_byte(&text, '\n');
		ck_assert_int_eq(read_text(&text), n == PROFILE_FILE_BYTES ? RC_OK : RC_INVALID);
	}
	ck_assert_ptr_nonnull(strstr(err.text, "x.json is larger than 262144 bytes"));
	buf_free(&text);
}
END_TEST

/* --- those that are there --- */

static enum rc
add_line(void *ctx, const char *name)
{
	buf_addf(ctx, "%s\n", name);
	return RC_OK;
}

START_TEST(a_profile_is_read_when_it_is_asked_for_and_kept)
{
	struct buf text = { 0 }, names = { 0 };
	const struct profile *p, *again;
	struct installed in;

	installed_init(&in, dir);
	ck_assert_int_eq(installed_get(&in, "x", &p, &err), RC_NOT_FOUND);
	ck_assert_str_eq(err.text, "there is no profile \"x\": known are td and none");
	change(" ", " ", &text);
	write_file("x.json", buf_span(&text));
	ck_assert_msg(installed_get(&in, "x", &p, &err) == RC_OK, "%s", err.text);
	ck_assert_str_eq(p->name, "x");
	/* What becomes of the file is for the next process. */
	write_file("x.json", span_of("broken"));
	ck_assert_int_eq(installed_get(&in, "x", &again, &err), RC_OK);
	ck_assert(again == p);
	installed_close(&in);
	ck_assert_int_eq(installed_get(&in, "x", &p, &err), RC_UNAVAILABLE);
	ck_assert_ptr_null(p);
	ck_assert_ptr_nonnull(strstr(err.text, "/x.json: line 1: invalid JSON: "));
	/* td and none are themselves, whatever lies in the folder. */
	write_file("td.json", span_of("broken"));
	write_file("none.json", span_of("broken"));
	ck_assert_int_eq(installed_get(&in, "td", &p, &err), RC_OK);
	ck_assert(p == &profile_td);
	ck_assert_int_eq(installed_get(&in, "none", &p, &err), RC_OK);
	ck_assert_ptr_null(p);

	write_file("b.json", span_of(""));
	write_file("Big.json", span_of(""));
	write_file("x.json.bak", span_of(""));
	write_file("x.conf", span_of(""));
	write_file(".json", span_of(""));
	ck_assert_int_eq(installed_each(&in, add_line, &names, &err), RC_OK);
	ck_assert_str_eq(buf_cstr(&names), "td\nb\nx\n");
	installed_close(&in);
	buf_free(&names);
	buf_free(&text);
}
END_TEST

START_TEST(what_is_no_name_is_never_a_path)
{
	static const char *const names[] = { "", "../x", "a/b", "TD", "x.json", "-", "\xc3\xa9" };
	char folder[TEMP_PATH + 8];
	const struct profile *p;
	struct buf text = { 0 };
	struct installed in;

	change(" ", " ", &text);
	write_file("x.json", buf_span(&text));
	snprintf(folder, sizeof(folder), "%s/sub", dir);
	installed_init(&in, folder); /* which there is not */
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		ck_assert_int_eq(installed_get(&in, names[i], &p, &err), RC_NOT_FOUND);
		ck_assert_ptr_null(p);
		ck_assert_ptr_nonnull(strstr(err.text, "\": known are td and none"));
	}
	ck_assert_int_eq(mkdir(folder, 0700), 0);
	ck_assert_int_eq(installed_get(&in, "../x", &p, &err), RC_NOT_FOUND);
	installed_close(&in);
	buf_free(&text);
}
END_TEST

START_TEST(a_profile_is_not_called_none)
{
	struct profile *p;
	struct buf text = { 0 };

	change("`name`: `x`", "`name`: `none`", &text);
	ck_assert_int_eq(profile_read(write_file("none.json", buf_span(&text)), &p, &err),
	                 RC_INVALID);
	ck_assert_ptr_nonnull(strstr(err.text, "none.json: its name can't be none: that is for "
	                             "no profile"));
	buf_free(&text);
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
	tcase_add_test(t, every_table_of_td_is_an_entitys_or_local);
	tcase_add_test(t, a_state_has_no_tables_for_what_is_held_back);
	tcase_add_loop_test(t, a_type_is_known_by_its_name_or_alias_in_any_case, 0, N_TYPES);
	tcase_add_test(t, a_column_is_known_by_its_exact_name);
	tcase_add_test(t, parents_come_before_their_children);
	tcase_add_test(t, a_profile_is_found_by_its_name);
	tcase_add_loop_test(t, every_action_type_has_a_canonical_action, 0, N_ACTIONS);
	tcase_add_test(t, without_a_profile_only_canonical_actions_are_known);
	tcase_add_test(t, the_go_server_made_the_same_of_types_and_actions);
	tcase_add_test(t, what_is_compiled_in_is_what_the_file_says);
	suite_add_tcase(s, t);
	t = tcase_create("files");
	tcase_add_checked_fixture(t, make_folder, remove_folder);
	tcase_add_test(t, a_profile_is_what_its_file_says);
	tcase_add_loop_test(t, a_fault_in_a_file_is_named_in_a_sentence, 0, N_FAULTS);
	tcase_add_test(t, a_table_has_at_most_64_columns);
	tcase_add_test(t, a_table_has_at_most_8_keys_that_cascade);
	tcase_add_test(t, a_name_has_at_most_64_bytes);
	tcase_add_test(t, a_file_has_at_most_256_kib);
	tcase_add_test(t, a_profile_is_read_when_it_is_asked_for_and_kept);
	tcase_add_test(t, what_is_no_name_is_never_a_path);
	tcase_add_test(t, a_profile_is_not_called_none);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? 0 : 1;
}
