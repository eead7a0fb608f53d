/*
 * td projects for tests of the client: folders with a real td database, a
 * handle on each, and a server that is a folder of real logs (no HTTP).
 * What td's commands write is written here by SQL, as the recordings have it.
 */
#ifndef TDSYNC_TESTS_REPLICA_H
#define TDSYNC_TESTS_REPLICA_H

#include "base/clock.h"
#include "client/client.h"
#include "engine/push.h"
#include "profiles/profile.h"
#include "store/db.h"
#include "tests/fixture.h"
#include "tests/temp.h"
#include "harness/transport_direct.h"

#include <check.h>
#include <stdarg.h>
#include <sys/stat.h>

#define PROJECT "p_00000000000000aa"

/* A td project with a handle on it. */
struct replica {
	char dir[TEMP_PATH + 16];
	struct tdsync *t;
	struct tdsync_result res; /* of the last call */
};

static char temp[TEMP_PATH];   /* holds all folders of a test */
static int threshold = -1;     /* for a snapshot; of handles opened from now on */

/* Whether servers that are opened from now on write events of their own. */
static bool server_heals;

static inline void
replica_setup(void)
{
	struct err err;

	temp_make(temp);
	ck_assert_msg(direct_project(temp, PROJECT, &err) == RC_OK, "%s", err.text);
	/* Nothing of this machine's user may be read. */
	setenv("HOME", temp, 1);
	unsetenv("TD_SYNC_URL");
	unsetenv("TD_AUTH_KEY");
	unsetenv("TD_SYNC_SNAPSHOT_THRESHOLD");
}

static inline void
replica_teardown(void)
{
	temp_remove(temp);
}

static inline const char *
replica_file(const struct replica *r, const char *name)
{
	static char path[TEMP_PATH + 64];

	snprintf(path, sizeof(path), "%s/.todos/%s", r->dir, name);
	return path;
}

static inline sqlite3 *
replica_db(const struct replica *r)
{
	sqlite3 *db;

	ck_assert_int_eq(sqlite3_open_v2(replica_file(r, "issues.db"), &db,
	                                 SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
	sqlite3_busy_timeout(db, 5000);
	sqlite3_exec(db, "PRAGMA foreign_keys=ON; PRAGMA synchronous=OFF", NULL, NULL, NULL);
	return db;
}

/* Run SQL on a replica's database, printf-like (%Q quotes). */
static inline void
sql(const struct replica *r, const char *fmt, ...)
{
	sqlite3 *db = replica_db(r);
	char *text, *why = NULL;
	va_list ap;

	va_start(ap, fmt);
	text = sqlite3_vmprintf(fmt, ap);
	va_end(ap);
	ck_assert_msg(sqlite3_exec(db, text, NULL, NULL, &why) == SQLITE_OK, "%s: %s", text, why);
	sqlite3_free(text);
	sqlite3_close(db);
}

/* The one text that a query gives ("" for NULL, "-" for no row). */
static inline const char *
ask(const struct replica *r, const char *fmt, ...)
{
	static char out[4][4096];
	static int turn;
	char *text, *to = out[turn++ & 3];
	sqlite3 *db = replica_db(r);
	sqlite3_stmt *st = NULL;
	va_list ap;

	va_start(ap, fmt);
	text = sqlite3_vmprintf(fmt, ap);
	va_end(ap);
	ck_assert_msg(sqlite3_prepare_v2(db, text, -1, &st, NULL) == SQLITE_OK, "%s: %s", text,
	              sqlite3_errmsg(db));
	snprintf(to, sizeof(out[0]), "%s", sqlite3_step(st) != SQLITE_ROW ? "-"
	         : sqlite3_column_text(st, 0) == NULL ? ""
	         : (const char *)sqlite3_column_text(st, 0));
	sqlite3_finalize(st);
	sqlite3_free(text);
	sqlite3_close(db);
	return to;
}

/* The same of td-sync.db. */
static inline const char *
ask_books(const struct replica *r, const char *query)
{
	static char out[4][256];
	static int turn;
	char *to = out[turn++ & 3];
	sqlite3_stmt *st = NULL;
	sqlite3 *db;

	ck_assert_int_eq(sqlite3_open_v2(replica_file(r, "td-sync.db"), &db,
	                                 SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
	ck_assert_msg(sqlite3_prepare_v2(db, query, -1, &st, NULL) == SQLITE_OK, "%s: %s", query,
	              sqlite3_errmsg(db));
	snprintf(to, sizeof(out[0]), "%s", sqlite3_step(st) != SQLITE_ROW ? "-"
	         : sqlite3_column_text(st, 0) == NULL ? ""
	         : (const char *)sqlite3_column_text(st, 0));
	sqlite3_finalize(st);
	sqlite3_close(db);
	return to;
}

/* td-sync.db as the first version wrote it. */
static inline void
books_make_older(const struct replica *r)
{
	sqlite3 *db;

	ck_assert_int_eq(sqlite3_open(replica_file(r, "td-sync.db"), &db), SQLITE_OK);
	ck_assert_int_eq(sqlite3_exec(db, "DROP TABLE conflict; DROP TABLE told; DROP TABLE revived;"
	    "ALTER TABLE replica DROP COLUMN conflict_seq;"
	    "ALTER TABLE replica DROP COLUMN snapshot_seq; PRAGMA user_version = 1",
	    NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
}

/* Whether it is kept whole as it was then. */
static inline bool
books_are_kept(const struct replica *r)
{
	sqlite3_stmt *st = NULL;
	sqlite3 *db;
	bool is_whole;

	if (sqlite3_open_v2(replica_file(r, "td-sync.db.format1"), &db, SQLITE_OPEN_READONLY,
	                    NULL) != SQLITE_OK) {
		sqlite3_close(db);
		return false;
	}
	is_whole = sqlite3_prepare_v2(db, "SELECT user_version = 1 AND integrity_check = 'ok'"
	    " AND length(device) = 32 AND NOT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'told')"
	    " FROM pragma_user_version, pragma_integrity_check, replica", -1, &st, NULL) ==
	    SQLITE_OK && sqlite3_step(st) == SQLITE_ROW && sqlite3_column_int(st, 0) == 1;
	sqlite3_finalize(st);
	sqlite3_close(db);
	return is_whole;
}

static inline void
replica_open(struct replica *r)
{
	char device[40];
	struct tdsync_options o = { .dir = r->dir, .url = "http://direct.invalid",
		.token = "token", .device_id = device, .retries = -1,
		.snapshot_threshold = threshold };
	struct transport *tr;
	struct err err;

	snprintf(device, sizeof(device), "device-%s", strrchr(r->dir, '/') + 1);
	ck_assert_msg(tdsync_open(&o, &r->t, err.text, sizeof(err.text)) == TDSYNC_OK, "%s",
	              err.text);
	ck_assert(transport_direct(temp, "u_0000000000000001", &tr, &err) == RC_OK);
	if (server_heals)
		direct_heals(tr);
	tdsync_use_transport(r->t, tr);
}

/* Make a td project of a recorded database and open a handle on it. */
static inline void
replica_make(struct replica *r, const char *name, const char *recording)
{
	char todos[TEMP_PATH + 32];

	memset(r, 0, sizeof(*r));
	snprintf(r->dir, sizeof(r->dir), "%s/%s", temp, name);
	ck_assert(mkdir(r->dir, 0755) == 0);
	snprintf(todos, sizeof(todos), "%s/.todos", r->dir);
	ck_assert(mkdir(todos, 0755) == 0);
	fixture_copy(recording, replica_file(r, "issues.db"));
	replica_open(r);
}

static inline void
replica_close(struct replica *r)
{
	tdsync_close(r->t);
	r->t = NULL;
}

#define CALL_OK(r, call) \
	ck_assert_msg((call) == TDSYNC_OK, "%s: %s", (r)->dir, tdsync_error((r)->t))
#define SYNC(r) CALL_OK(r, tdsync_sync((r)->t, &(r)->res))
#define PUSH(r) CALL_OK(r, tdsync_push((r)->t, &(r)->res))
#define PULL(r) CALL_OK(r, tdsync_pull((r)->t, &(r)->res))
#define LINK(r) CALL_OK(r, tdsync_link((r)->t, PROJECT))

/* --- what td's commands write --- */

/* An entry of td's action log, now. */
static inline void
td_log(const struct replica *r, const char *action, const char *type, const char *id,
       const char *previous, const char *new_data)
{
	sql(r, "INSERT INTO action_log (id, session_id, action_type, entity_type, entity_id,"
	    " previous_data, new_data, timestamp, undone)"
	    " VALUES ('al-' || lower(hex(randomblob(4))), 'ses_test', %Q, %Q, %Q, %Q, %Q,"
	    " strftime('%%Y-%%m-%%dT%%H:%%M:%%fZ', 'now'), 0)",
	    action, type, id, previous, new_data);
}

/* The row as td's new_data has it. */
static inline const char *
td_issue_json(const struct replica *r, const char *id)
{
	return ask(r, "SELECT json_object('id', id, 'title', title, 'status', status,"
	           " 'type', type, 'priority', priority, 'points', points,"
	           " 'description', description, 'created_at', created_at,"
	           " 'updated_at', updated_at, 'deleted_at', deleted_at,"
	           " 'parent_id', parent_id) FROM issues WHERE id = %Q", id);
}

static inline void
td_create(const struct replica *r, const char *id, const char *title)
{
	sql(r, "INSERT INTO issues (id, title, created_at, updated_at) VALUES (%Q, %Q,"
	    " strftime('%%Y-%%m-%%dT%%H:%%M:%%fZ', 'now'),"
	    " strftime('%%Y-%%m-%%dT%%H:%%M:%%fZ', 'now'))", id, title);
	td_log(r, "create", "issue", id, "", td_issue_json(r, id));
}

/* Set one column of an issue as an edit of td's does. */
static inline void
td_update(const struct replica *r, const char *id, const char *column, const char *value)
{
	char before[4096];

	snprintf(before, sizeof(before), "%s", td_issue_json(r, id));
	sql(r, "UPDATE issues SET \"%w\" = %Q,"
	    " updated_at = strftime('%%Y-%%m-%%dT%%H:%%M:%%fZ', 'now') WHERE id = %Q",
	    column, value, id);
	td_log(r, "update", "issue", id, before, td_issue_json(r, id));
}

static inline void
td_delete(const struct replica *r, const char *id)
{
	char before[4096];

	snprintf(before, sizeof(before), "%s", td_issue_json(r, id));
	sql(r, "UPDATE issues SET deleted_at = strftime('%%Y-%%m-%%dT%%H:%%M:%%fZ', 'now'),"
	    " updated_at = strftime('%%Y-%%m-%%dT%%H:%%M:%%fZ', 'now') WHERE id = %Q", id);
	td_log(r, "delete", "issue", id, before, "");
}

static inline void
td_comment(const struct replica *r, const char *id, const char *issue, const char *text)
{
	sql(r, "INSERT INTO comments (id, issue_id, session_id, text, created_at)"
	    " VALUES (%Q, %Q, 'ses_test', %Q, strftime('%%Y-%%m-%%dT%%H:%%M:%%fZ', 'now'))",
	    id, issue, text);
	td_log(r, "create", "comments", id, "",
	       ask(r, "SELECT json_object('id', id, 'issue_id', issue_id, 'session_id', session_id,"
	           " 'text', text, 'created_at', created_at) FROM comments WHERE id = %Q", id));
}

/* `td undo` of the newest entry for an entity: marked, and nothing else. */
static inline void
td_undo_mark(const struct replica *r, const char *id)
{
	sql(r, "UPDATE action_log SET undone = 1 WHERE rowid ="
	    " (SELECT max(rowid) FROM action_log WHERE entity_id = %Q AND undone = 0)", id);
}

/* --- comparing --- */

/* Append a value; times as instants. */
static inline void
dump_value(struct buf *out, const char *column, sqlite3_stmt *st, int i)
{
	struct span s = db_span(st, i);
	struct instant at;
	size_t n = strlen(column);
	bool time = (n > 3 && strcmp(column + n - 3, "_at") == 0) ||
	    strcmp(column, "timestamp") == 0;

	if (sqlite3_column_type(st, i) == SQLITE_NULL) {
		buf_add_str(out, "NULL");
	} else if (time && time_parse_any(s, &at)) {
		at.offset = 0;
		time_add_rfc3339(out, at);
	} else {
		buf_add_byte(out, sqlite3_column_type(st, i) == SQLITE_TEXT ? '\'' : '#');
		buf_add_span(out, s);
	}
}

static inline bool
dump_has(sqlite3 *db, const char *table, const char *column)
{
	return sqlite3_table_column_metadata(db, NULL, table, column, NULL, NULL, NULL, NULL,
	                                     NULL) == SQLITE_OK;
}

/* The columns of a table that the profile and both databases have. */
static inline void
dump_columns(sqlite3 *db, sqlite3 *other, const struct profile_entity *e, struct buf *out)
{
	for (const struct profile_column *c = e->columns; c->name != NULL; c++)
		if ((c->flags & PROFILE_LOCAL) == 0 && dump_has(db, e->table, c->name) &&
		    dump_has(other, e->table, c->name))
			buf_addf(out, "%s\"%s\"", out->len == 0 ? "" : ", ", c->name);
}

/*
 * All synced rows of a database, a line each (fixtures/README.md, "How to
 * compare"). `like`: only columns and tables that this database has too.
 */
static inline void
dump_like(const char *path, const char *like, struct buf *out)
{
	sqlite3 *db, *other;

	ck_assert_int_eq(sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
	ck_assert_int_eq(sqlite3_open_v2(like, &other, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
	for (const struct profile_entity *e = profile_td.entities; e->table != NULL; e++) {
		struct buf columns = { 0 }, query = { 0 };
		sqlite3_stmt *st = NULL;

		dump_columns(db, other, e, &columns);
		if (e->held_back || columns.len == 0)
			goto next;
		buf_addf(&query, "SELECT %s FROM \"%s\"%s ORDER BY id", buf_cstr(&columns),
		         e->table, strcmp(e->table, "boards") == 0 ? " WHERE is_builtin = 0" : "");
		ck_assert_msg(sqlite3_prepare_v2(db, buf_cstr(&query), -1, &st, NULL) == SQLITE_OK,
		              "%s", sqlite3_errmsg(db));
		while (sqlite3_step(st) == SQLITE_ROW) {
			buf_addf(out, "%s", e->table);
			for (int i = 0; i < sqlite3_column_count(st); i++) {
				buf_addf(out, " %s=", sqlite3_column_name(st, i));
				dump_value(out, sqlite3_column_name(st, i), st, i);
			}
			buf_add_byte(out, '\n');
		}
next:
		sqlite3_finalize(st);
		buf_free(&columns);
		buf_free(&query);
	}
	sqlite3_close(db);
	sqlite3_close(other);
	buf_cstr(out);
}

/* Whether two databases hold the same rows; the first difference is shown. */
static inline void
assert_same_rows(const char *a, const char *b)
{
	struct buf x = { 0 }, y = { 0 };
	char pa[FIXTURE_PATH], pb[FIXTURE_PATH];
	const char *p, *q;

	snprintf(pa, sizeof(pa), "%s", a);
	snprintf(pb, sizeof(pb), "%s", b);
	dump_like(pa, pb, &x);
	dump_like(pb, pa, &y);
	if (!span_eq(buf_span(&x), buf_span(&y))) {
		p = x.p == NULL ? "" : x.p;
		q = y.p == NULL ? "" : y.p;
		while (*p != '\0' && strcspn(p, "\n") == strcspn(q, "\n") &&
		       strncmp(p, q, strcspn(p, "\n") + 1) == 0) {
			p += strcspn(p, "\n") + 1;
			q += strcspn(q, "\n") + 1;
		}
		ck_abort_msg("%s and %s differ:\n  %.*s\n  %.*s", pa, pb,
		             (int)strcspn(p, "\n"), p, (int)strcspn(q, "\n"), q);
	}
	buf_free(&x);
	buf_free(&y);
}

static inline void
assert_same(const struct replica *a, const struct replica *b)
{
	char pa[FIXTURE_PATH];

	snprintf(pa, sizeof(pa), "%s", replica_file(a, "issues.db"));
	assert_same_rows(pa, replica_file(b, "issues.db"));
}

/* Whether td's rows are what the log adds up to, as this client knows it. */
static inline void
assert_settled(const struct replica *r)
{
	char state[FIXTURE_PATH];

	snprintf(state, sizeof(state), "%s", replica_file(r, "td-sync.db"));
	assert_same_rows(replica_file(r, "issues.db"), state);
}

/* --- the server's log --- */

static inline struct events *
server_log(void)
{
	char path[TEMP_PATH + 64];
	struct events *log;
	struct err err;

	snprintf(path, sizeof(path), "%s/projects/" PROJECT, temp);
	ck_assert_msg(events_open(path, &log, &err) == RC_OK, "%s", err.text);
	return log;
}

static inline int64_t
server_seq(void)
{
	struct events *log = server_log();
	struct events_head head;

	ck_assert(events_head(log, &head, NULL) == RC_OK);
	events_close(log);
	return head.seq;
}

/* Push a body of events, as JSON without the brackets, as some device. */
static inline void
server_push(const char *device, const char *session, struct span events)
{
	struct events *log = server_log();
	struct push_rules rules = { 0 };
	struct buf body = { 0 }, answer = { 0 };
	struct push *p;
	struct err err = { "" };

	buf_addf(&body, "{\"device_id\":\"%s\",\"session_id\":\"%s\",\"events\":[", device, session);
	buf_add_span(&body, events);
	buf_add_str(&body, "]}");
	ck_assert_msg(push_parse(&body, &profile_td, rules, &p, &err) == RC_OK, "%s",
	              err.text);
	ck_assert_msg(push_append(p, log, span_of("u_0000000000000002"), clock_now_us(),
	              clock_mono_ms() + 3000, &answer, NULL, &err) == RC_OK, "%s", err.text);
	push_free(p);
	buf_free(&body);
	buf_free(&answer);
	events_close(log);
}

/* Fill the server's log with a recorded one, seq for seq. */
static inline void
server_load(const char *recording)
{
	struct buf log = { 0 }, events = { 0 };
	char device[128] = "", session[128] = "";
	struct span rest, line, v;
	int64_t seq, n = 0;

	fixture_read(recording, &log);
	rest = buf_span(&log);
	while (fixture_line(&rest, &line)) {
		struct buf d = { 0 }, s = { 0 };

		ck_assert(json_get(line, "device_id", &v) && json_string(v, &d));
		ck_assert(json_get(line, "session_id", &v) && json_string(v, &s));
		ck_assert(json_get(line, "server_seq", &v) && json_int64(v, &seq) && seq == ++n);
		if (events.len > 0 && (strcmp(device, buf_cstr(&d)) != 0 ||
		    strcmp(session, buf_cstr(&s)) != 0 || n % 500 == 0)) {
			server_push(device, session, buf_span(&events));
			buf_reset(&events);
		}
		snprintf(device, sizeof(device), "%s", buf_cstr(&d));
		snprintf(session, sizeof(session), "%s", buf_cstr(&s));
		if (events.len > 0)
			buf_add_byte(&events, ',');
		buf_add_span(&events, line);
		buf_free(&d);
		buf_free(&s);
	}
	if (events.len > 0)
		server_push(device, session, buf_span(&events));
	ck_assert_int_eq(server_seq(), n);
	buf_free(&events);
	buf_free(&log);
}

#endif
