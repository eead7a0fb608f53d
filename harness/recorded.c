#include "recorded.h"

#include "command.h"
#include "compare.h"
#include "stock.h"
#include "tape.h"

#include "base/fs.h"
#include "base/json.h"
#include "profiles/profile.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEVICES 5
#define PAUSE_MS 50 /* between two pulls; events of a page are closer */

/* What the model does not reproduce. */
static const struct exception {
	const char *history, *device, *table, *id, *column, *why;
} exceptions[] = {
	{ "versions", "A", "sync_conflicts", "169", "local_data",
	  "v0.45 wrote a handoff's lists as blobs, and Go tells blobs in base64" },
	{ "versions", "A", "action_log", "55", "previous_data",
	  "v0.45 logs no pinning and archiving of a note, but sets its time" },
	{ NULL, NULL, NULL, NULL, NULL, NULL }
};
#define EXCEPTIONS (sizeof(exceptions) / sizeof(exceptions[0]))

static const struct history {
	const char *name, *says;
	const char *devices; /* each a letter; F pulled all at once, G has a snapshot */
	int schemas[DEVICES];
	bool automatic;      /* A and B never typed `td sync` */
	bool before;         /* A began with a database of its own */
} histories[] = {
	{ "team", "stock devices end as in team",
	  "ABCFG", { 38, 38, 38, 38, 38 }, false, false },
	{ "conflicts", "stock devices end as in conflicts",
	  "ABF",   { 38, 38, 38 },         false, false },
	{ "autosync", "stock devices end as in autosync",
	  "ABF",   { 38, 38, 38 },         true,  false },
	{ "versions", "stock devices end as in versions",
	  "ABF",   { 31, 38, 38 },         false, false },
	{ "large", "stock devices end as in large",
	  "AF",    { 38, 38 },             false, false },
	{ "legacy", "stock devices end as in legacy",
	  "ABF",   { 38, 38, 38 },         false, true },
	{ "legacy-backfill", "stock devices end as in legacy-backfill",
	  "ABF",   { 38, 38, 38 },         false, true },
};

size_t
recorded_count(void)
{
	return sizeof(histories) / sizeof(histories[0]);
}

const char *
recorded_name(size_t n)
{
	return histories[n].says;
}

/* A history while its devices live it, one after the other. */
struct lives {
	struct run *run;
	const struct history *h;
	struct replica *r;        /* whose turn it is */
	struct tape tape;
	bool seen[EXCEPTIONS];    /* of the list: it occurred */
};

/* Whether it is one of those that are known; then it has occurred. Without a
 * column it is the whole row. */
static bool
is_listed(struct lives *t, const char *device, const char *table, const char *id,
          const char *column)
{
	const struct exception *x;

	for (x = exceptions; x->history != NULL; x++)
		if (strcmp(x->history, t->h->name) == 0 && strcmp(x->device, device) == 0 &&
		    strcmp(x->table, table) == 0 && strcmp(x->id, id) == 0 &&
		    strcmp(x->column, column) == 0)
			return t->seen[x - exceptions] = true;
	return false;
}

/* --- what a device did, and when --- */

enum what { AN_ENTRY, A_PUSH, A_PULL }; /* an event of them, as its history has it */

struct moment {
	struct instant at;
	enum what kind;
	int64_t n;   /* rowid, or seq */
	size_t place;
};

struct moments {
	struct moment *list;
	size_t n;
};

static void
add_moments(struct moments *m, sqlite3_stmt *st, enum what kind)
{
	struct moment *one;

	while (sql_next(&st)) {
		m->list = realloc(m->list, (m->n + 1) * sizeof(*m->list));
		if (m->list == NULL)
			die("out of memory");
		one = &m->list[m->n];
		*one = (struct moment){ .kind = kind, .place = m->n++ };
		one->n = sqlite3_column_int64(st, 0);
		if (!time_parse_any(sql_col(st, 1), &one->at))
			die("not a time: %s", (const char *)sqlite3_column_text(st, 1));
	}
}

static int
compare_moments(const void *a, const void *b)
{
	const struct moment *x = a, *y = b;
	int by_time = time_compare(x->at, y->at);

	return by_time != 0 ? by_time : x->place < y->place ? -1 : 1;
}

/* An entry that the backfill made, which is the model's to make again. */
#define MADE_UP "(timestamp NOT LIKE '____-__-__T%' AND rowid > ?1)"

/* In order of time; entries up to `known` were there before. */
static void
read_moments(struct moments *m, sqlite3 *recorded, int64_t known)
{
	add_moments(m, sql_prepare(recorded, "SELECT rowid, timestamp FROM action_log"
	    " WHERE rowid > ?1 AND NOT " MADE_UP, "i", known), AN_ENTRY);
	add_moments(m, sql_prepare(recorded, "SELECT server_seq, timestamp FROM sync_history"
	    " WHERE direction = 'push' ORDER BY id", ""), A_PUSH);
	add_moments(m, sql_prepare(recorded, "SELECT server_seq, timestamp FROM sync_history"
	    " WHERE direction = 'pull' ORDER BY id", ""), A_PULL);
	if (m->n > 0)
		qsort(m->list, m->n, sizeof(*m->list), compare_moments);
}

static int64_t
us_of(const struct moment *m)
{
	return m->at.sec * 1000000 + m->at.nsec / 1000;
}

/* Append JSON without the time of the undo. */
static void
add_timeless(struct buf *out, struct span json)
{
	static const char name[] = "\"updated_at\":\"";
	const char *at = json.len == 0 ? NULL : memmem(json.p, json.len, name, sizeof(name) - 1);
	struct span rest;

	if (at != NULL) {
		buf_add(out, json.p, (size_t)(at - json.p));
		at += sizeof(name) - 1;
		rest = (struct span){ at, (size_t)(json.p + json.len - at) };
		at = memchr(rest.p, '"', rest.len);
		json = (struct span){ at, (size_t)(rest.p + rest.len - at) };
	}
	buf_add_span(out, json);
}

/* What the log says from a rowid on, `n` entries. */
static void
told(sqlite3 *db, int64_t rowid, int n, struct buf *out)
{
	sqlite3_stmt *st = sql_prepare(db, "SELECT action_type, entity_type, entity_id,"
	    " previous_data, new_data FROM action_log WHERE rowid >= ?1 AND rowid < ?1 + ?2"
	    " ORDER BY rowid", "ii", rowid, (int64_t)n);
	int col;

	while (sql_next(&st))
		for (col = 0; col < 5; col++, buf_add_byte(out, '\n'))
			add_timeless(out, sql_col(st, col));
}

/*
 * Whether what was recorded from a rowid on is what an undo at this moment would
 * log, by the model; then the entry that it undoes is marked. (Who takes a
 * dependency back by a command logs the same: there it was not.)
 */
static bool
is_undo(struct emit *e, sqlite3 *recorded, int64_t rowid)
{
	static const char sum[] = "SELECT sum(rowid) FROM action_log WHERE undone = 1";
	struct buf here = { 0 }, there = { 0 };
	struct emit_args none = { 0 };
	int before = emit_entries(e);
	int64_t undone = sql_int(e->db, 0, sum, "");
	bool same = false;

	sql_run(e->db, "SAVEPOINT undo", "");
	if (emit_run(e, command_find("undo"), &none, NULL)) {
		undone = sql_int(e->db, 0, sum, "") - undone;
		told(e->db, rowid, emit_entries(e) - before, &here);
		told(recorded, rowid, emit_entries(e) - before, &there);
		same = span_eq(buf_span(&here), buf_span(&there)) && sql_int(recorded, 0,
		    "SELECT undone FROM action_log WHERE rowid = ?", "i", undone) != 0;
	}
	sql_run(e->db, "ROLLBACK TO undo; RELEASE undo", "");
	if (same)
		sql_run(e->db, "UPDATE action_log SET undone = 1 WHERE rowid = ?", "i", undone);
	buf_free(&here);
	buf_free(&there);
	return same;
}

static struct span
scanned(struct span text)
{
	struct span v;

	if (json_scan(text, JSON_MAX_DEPTH, &v, NULL, NULL) != RC_OK)
		die("no JSON: %.*s", (int)text.len, text.p);
	return v;
}

/* Whether a row's JSON is what an entry tells of it. */
static bool
is_seen(struct emit *e, const struct kind *k, const struct field *fields, const char *id,
        struct span told)
{
	struct buf row = { 0 };
	bool same = row_json(e, k->table, fields, id, &row) &&
	    json_equal(scanned(buf_span(&row)), scanned(told));

	buf_free(&row);
	return same;
}

/* td board edit --view-mode writes twice, and logs the second time alone. */
static void
write_mode(struct emit *e, const char *id, struct span seen)
{
	struct buf mode = { 0 };

	json_string(tape_member(scanned(seen), "view_mode"), &mode);
	if (strcmp(get(e, "boards", id, "view_mode"), buf_cstr(&mode)) != 0)
		write_row(e, kind_find("boards"), id, scanned(seen), false);
	buf_free(&mode);
}

/* The row that td saw, by an entry, has to be the one that is here. */
static void
check_seen(struct lives *t, struct emit *e, sqlite3_stmt *st, int64_t rowid)
{
	const struct kind *k = kind_find(profile_entity(&profile_td, sql_col(st, 3))->table);
	const char *action = (const char *)sqlite3_column_text(st, 2);
	const char *id = (const char *)sqlite3_column_text(st, 4);
	struct span told = sql_col(st, 5);
	char number[24];

	if (told.len == 0)
		return;
	if (strcmp(action, "board_update") == 0)
		write_mode(e, id, told);
	snprintf(number, sizeof(number), "%lld", (long long)rowid);
	if (!is_seen(e, k, strcmp(action, "board_unposition") == 0 ? unposition_fields :
	    k->fields, id, told) && !is_listed(t, t->r->name, "action_log", number,
	    "previous_data"))
		run_fail(t->run, "%s of %s: %s %s: td saw another row: %.*s", t->r->name,
		    t->h->name, action, id, (int)told.len, told.p);
}

/* All entries from `i` on until a sync; returns the place behind them. */
static size_t
live_entries(struct lives *t, sqlite3 *recorded, const struct moments *m, size_t i)
{
	bool undoes = sql_int(recorded, 0, "SELECT max(undone) FROM action_log", "") != 0;
	struct emit *e = emit_open(t->r, true);

	for (; i < m->n && m->list[i].kind == AN_ENTRY; i++) {
		sqlite3_stmt *st = sql_prepare(recorded, "SELECT id, session_id, action_type,"
		    " entity_type, entity_id, previous_data, new_data, timestamp, 0"
		    " FROM action_log WHERE rowid = ?", "i", m->list[i].n);

		if (undoes && is_undo(e, recorded, m->list[i].n))
			trace_line(&t->run->trace, "undo", "s:replica", t->r->name, "i:entry",
			    m->list[i].n, NULL);
		sql_next(&st);
		check_seen(t, e, st, m->list[i].n);
		emit_entry(e, st);
		sqlite3_finalize(st);
	}
	emit_close(e);
	return i;
}

static size_t
end_of(const struct moments *m, size_t i, enum what kind)
{
	int64_t last = i < m->n ? us_of(&m->list[i]) : 0;

	for (; i < m->n && m->list[i].kind == kind; i++) {
		if (kind == A_PULL && us_of(&m->list[i]) - last > PAUSE_MS * 1000)
			break;
		last = us_of(&m->list[i]);
	}
	return i;
}

static void
sync_now(struct lives *t, enum stock_how how)
{
	struct stock_server server = { &t->tape.base, "", "none" };
	struct plan none = { 0 };
	struct outcome out;

	stock_call_to(&server, t->r, how, &none, &out);
	if (out.rc != TDSYNC_OK)
		run_fail(t->run, "%s of %s: %s %s", t->r->name, t->h->name,
		    out.wedged ? "wedged:" : "", out.error);
}

/* A sync that begins at `i`; returns the place behind it. */
static size_t
live_sync(struct lives *t, const struct moments *m, size_t i)
{
	bool automatic = t->h->automatic && t->r->name[0] != 'F';
	size_t pushed = end_of(m, i, A_PUSH), pulled = end_of(m, pushed, A_PULL);

	if (pushed > i)
		t->tape.push_us = us_of(&m->list[pushed - 1]);
	if (pulled > pushed) {
		t->tape.pull_us = us_of(&m->list[pulled - 1]);
		t->tape.head = m->list[pulled - 1].n;
	}
	sync_now(t, automatic ? STOCK_AUTO : pulled == pushed ? STOCK_PUSH :
	    pushed == i ? STOCK_PULL : STOCK_SYNC);
	return pulled;
}

static void
live_all(struct lives *t, sqlite3 *recorded, int64_t known)
{
	struct moments m = { 0 };
	size_t i = 0;

	t->tape.head = 0;
	read_moments(&m, recorded, known);
	while (i < m.n && run_ok(t->run))
		i = m.list[i].kind == AN_ENTRY ? live_entries(t, recorded, &m, i) :
		    live_sync(t, &m, i);
	free(m.list);
}

/* --- how it ended --- */

/* What there is beside the rows; the first column tells which. */
static const struct local {
	const char *name, *sql;
} locals[] = {
	{ "action_log", "SELECT CAST(rowid AS TEXT) AS id, session_id, action_type,"
	  " entity_type, entity_id, previous_data, new_data, timestamp, server_seq,"
	  " undone, synced_at FROM action_log ORDER BY id" },
	{ "sync_state", "SELECT '' AS id, last_pushed_action_id, last_pulled_server_seq,"
	  " last_sync_at FROM sync_state" },
	{ "sync_conflicts", "SELECT CAST(server_seq AS TEXT) AS id, entity_type, entity_id,"
	  " local_data, remote_data FROM sync_conflicts ORDER BY id" },
	{ "sync_skipped_events", "SELECT CAST(server_seq AS TEXT) AS id, device_id,"
	  " action_type, entity_type, entity_id, reason, error FROM sync_skipped_events"
	  " ORDER BY id" },
};

static bool
judge(void *ctx, const struct difference *d)
{
	struct lives *t = ctx;

	if (!is_listed(t, t->r->name, d->table, d->id, d->column))
		run_fail(t->run, "%s of %s ends otherwise: %s %s %s: %s, recorded is %s",
		    t->r->name, t->h->name, d->table, d->id, d->column, d->left, d->right);
	return true; /* the trace has them all */
}

static void
compare_end(struct lives *t, sqlite3 *recorded)
{
	sqlite3 *db = sql_open(t->r->db, false);
	size_t i;

	compare_each(db, recorded, true, judge, t);
	for (i = 0; i < sizeof(locals) / sizeof(locals[0]); i++)
		if (sql_has(recorded, locals[i].name, "rowid"))
			compare_query(db, recorded, locals[i].name, locals[i].sql, judge, t);
	sql_close(db);
}

/* --- the differences --- */

/* A value as JSON; of the column ROW whether the row is there. */
static void
cell(sqlite3 *db, const char *table, const char *id, const char *column, struct buf *out)
{
	bool row = strcmp(column, "ROW") == 0;
	char sql[200];
	sqlite3_stmt *st;
	bool found;

	buf_reset(out);
	snprintf(sql, sizeof(sql), row ? "SELECT 1 FROM \"%s\" WHERE id = ?%s" :
	    "SELECT \"%2$s\" FROM \"%1$s\" WHERE id = ?", table, row ? "" : column);
	st = sql_prepare(db, sql, "s", id);
	found = sql_next(&st);
	if (row)
		buf_add_str(out, found ? "\"present\"" : "\"absent\"");
	else if (!found || sqlite3_column_type(st, 0) == SQLITE_NULL)
		buf_add_str(out, "null");
	else if (sqlite3_column_type(st, 0) == SQLITE_TEXT)
		buf_add_json(out, sql_col(st, 0));
	else
		buf_add_span(out, sql_col(st, 0));
	sqlite3_finalize(st);
}

/* Whether both sides of a difference are as recorded. */
static bool
is_reproduced(sqlite3 *left, sqlite3 *right, char *const col[8])
{
	struct buf l = { 0 }, r = { 0 };
	bool same;

	cell(left, col[2], col[3], col[4], &l);
	cell(right, col[2], col[3], col[4], &r);
	same = json_equal(scanned(buf_span(&l)), scanned(span_of(col[5]))) &&
	    json_equal(scanned(buf_span(&r)), scanned(span_of(col[6])));
	buf_free(&l);
	buf_free(&r);
	return same;
}

/* Each line of differences.tsv but those of the Go server's own snapshot. */
static void
compare_differences(struct lives *t)
{
	struct buf text = { 0 };
	char name[80], path[PATH_LEN], *line, *next, *col[8];
	struct replica *left, *right = run_replica(t->run, "F");
	int64_t n = 0, reproduced = 0;
	sqlite3 *a, *b;
	struct err err;
	int i;

	snprintf(name, sizeof(name), "replay/%s/differences.tsv", t->h->name);
	if (fs_read(run_fixture(name, path), SIZE_MAX / 2, &text, &err) != RC_OK)
		die("%s", err.text);
	buf_cstr(&text);
	strtok_r(text.p, "\n", &next); /* the heads */
	while ((line = strtok_r(NULL, "\n", &next)) != NULL) {
		for (i = 0; i < 8; i++)
			if ((col[i] = strsep(&line, "\t")) == NULL)
				die("%s: a line has no %d columns", path, i + 1);
		if ((left = run_replica(t->run, col[0])) == NULL)
			continue;
		a = sql_open(left->db, false);
		b = sql_open(right->db, false);
		n++;
		if (is_reproduced(a, b, col))
			reproduced++;
		else if (!is_listed(t, col[0], col[2], col[3],
		    strcmp(col[4], "ROW") == 0 ? "" : col[4]))
			run_fail(t->run, "%s and F of %s do not differ as recorded in %s %s %s",
			    col[0], t->h->name, col[2], col[3], col[4]);
		sql_close(a);
		sql_close(b);
	}
	trace_line(&t->run->trace, "recorded", "s:history", t->h->name, "i:differences", n,
	    "i:reproduced", reproduced, NULL);
	buf_free(&text);
}

/* --- a history --- */

/* Who a device was. */
static void
identify(struct lives *t, sqlite3 *recorded)
{
	struct buf text = { 0 };
	size_t i;

	if (sql_text(recorded, &text, "SELECT device_id FROM sync_history"
	    " WHERE direction = 'push'", ""))
		snprintf(t->r->device, sizeof(t->r->device), "%s", text.p);
	for (i = 0; i < t->tape.n; i++) {
		if (!json_string_is(t->tape.lines[i].device, t->r->device))
			continue;
		buf_reset(&text);
		json_string(tape_member(t->tape.lines[i].text, "session_id"), &text);
		snprintf(t->r->session, sizeof(t->r->session), "%s", buf_cstr(&text));
		break;
	}
	buf_free(&text);
}

/* What G did. */
static void
begin(struct lives *t, sqlite3 *recorded)
{
	struct buf text = { 0 };
	struct instant at;

	sql_text(recorded, &text, "SELECT last_sync_at FROM sync_state", "");
	if (!time_parse_any(buf_span(&text), &at))
		die("not a time: %s", text.p);
	t->run->wall.us = t->tape.pull_us = at.sec * 1000000;
	sync_now(t, STOCK_SYNC);
	buf_free(&text);
}

static void
live_device(struct lives *t, char letter, int schema)
{
	const struct history *h = t->h;
	char name[80], path[PATH_LEN];
	sqlite3 *recorded, *own;
	int64_t known = 0;

	if (h->before && letter == 'A') {
		snprintf(name, sizeof(name), "replay/%s/before/A.db", h->name);
		t->r = run_copy(t->run, run_fixture(name, path), COPY_AS_IT_IS);
		own = sql_open(t->r->db, false);
		known = sql_int(own, 0, "SELECT max(rowid) FROM action_log", "");
		sql_close(own);
	} else {
		t->r = run_add(t->run, schema);
	}
	t->r->name[0] = letter; /* F and G are not the next ones everywhere */
	t->r->threshold = letter == 'G' ? 0 : -1;
	snprintf(name, sizeof(name), "replay/%s/after/%c.db", h->name, letter);
	recorded = sql_open_frozen(run_fixture(name, path));
	identify(t, recorded);
	t->tape.who = t->r->name;
	t->tape.head = t->tape.lines[t->tape.n - 1].seq;
	if (letter == 'G')
		begin(t, recorded);
	else
		live_all(t, recorded, known);
	if (run_ok(t->run))
		compare_end(t, recorded);
	sql_close(recorded);
}

/* Read the recorded log. False, and the run is skipped, where it is not here. */
static bool
read_tape(struct lives *t)
{
	char name[80], path[PATH_LEN];
	struct buf text = { 0 };
	struct err err;

	snprintf(name, sizeof(name), "replay/%s/log.jsonl", t->h->name);
	if (access(run_fixture(name, path), R_OK) != 0) {
		snprintf(t->run->skipped, sizeof(t->run->skipped), "%s is not here", name);
		return false;
	}
	if (fs_read(path, SIZE_MAX / 2, &text, &err) != RC_OK)
		die("%s", err.text);
	tape_init(&t->tape, t->run, t->h->name, buf_span(&text));
	buf_free(&text);
	return true;
}

void
recorded_run(struct run *run, size_t n)
{
	struct lives t = { .run = run, .h = &histories[n] };
	const struct exception *x;
	int i;

	if (!read_tape(&t))
		return;
	for (i = 0; t.h->devices[i] != '\0' && run_ok(run); i++)
		live_device(&t, t.h->devices[i], t.h->schemas[i]);
	if (run_ok(run))
		compare_differences(&t);
	for (x = exceptions; x->history != NULL && run_ok(run); x++)
		if (strcmp(x->history, t.h->name) == 0 && !t.seen[x - exceptions])
			run_fail(run, "%s of %s ends as recorded in %s %s %s, which is listed as"
			    " not", x->device, t.h->name, x->table, x->id, x->column);
	run->events = (int64_t)t.tape.n;
	tape_free(&t.tape);
}

/* --- events that a td can't get past --- */

#define EVENT(seq, type, id, row) "{\"server_seq\":" seq ",\"device_id\":\"d\"," \
	"\"session_id\":\"s\",\"client_action_id\":" seq ",\"action_type\":\"create\"," \
	"\"entity_type\":\"" type "\",\"entity_id\":\"" id "\",\"payload\":{\"new_data\":" row \
	",\"previous_data\":{}},\"client_timestamp\":\"2027-01-31T10:00:00Z\"}\n"

static const char odd[] =
    EVENT("1", "issues", "td-000001", "{\"id\":\"td-000001\",\"title\":\"One\"}")
    EVENT("2", "widgets", "wd-000002", "{\"id\":\"wd-000002\",\"title\":\"Two\"}")
    EVENT("3", "issues", "td-000003", "{\"id\":\"td-000003\",\"flavour\":\"Three\"}");

/* Pull until `head`: whether td is wedged then, and where its cursor is. */
static void
pull_odd(struct tape *t, struct replica *r, int64_t head, bool wedged, int64_t cursor)
{
	struct stock_server server = { &t->base, "", "none" };
	struct plan none = { 0 };
	struct outcome out;
	int64_t is, rows;
	sqlite3 *db;

	t->head = head;
	stock_call_to(&server, r, STOCK_PULL, &none, &out);
	db = sql_open(r->db, false);
	is = sql_int(db, -1, "SELECT last_pulled_server_seq FROM sync_state", "");
	rows = sql_int(db, -1, "SELECT count(*) FROM issues", "");
	sql_close(db);
	if (out.wedged != wedged || is != cursor || rows != (cursor > 0))
		run_fail(t->run, "td of schema %d is %swedged by event %lld, with its cursor at"
		    " %lld and %lld issues", r->schema, out.wedged ? "" : "not ",
		    (long long)head, (long long)is, (long long)rows);
}

void
recorded_odd(struct run *run)
{
	struct replica *todays = run_add(run, 38), *older = run_add(run, 31);
	struct tape t;

	tape_init(&t, run, "an odd log", span_of(odd));
	pull_odd(&t, older, 1, false, 1);
	pull_odd(&t, older, 2, true, 1);
	pull_odd(&t, todays, 2, false, 2); /* an unknown type is skipped */
	pull_odd(&t, todays, 3, true, 2);
	pull_odd(&t, todays, 3, true, 2);
	run->events = (int64_t)t.n;
	tape_free(&t);
}
