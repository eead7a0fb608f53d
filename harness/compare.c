#include "compare.h"

#include "sql.h"

#include "base/clock.h"
#include "base/hash.h"

#include <stdio.h>
#include <string.h>

const char *const compare_tables[] = {
	"issues", "logs", "handoffs", "comments", "boards", "board_issue_positions",
	"work_sessions", "work_session_issues", "issue_files", "issue_dependencies",
	"issue_reviews", "notes", NULL
};

/* Columns that hold a time, in whatever table. */
static const char *const times[] = {
	"created_at", "updated_at", "closed_at", "deleted_at", "reviewed_at",
	"timestamp", "added_at", "tagged_at", "linked_at", "started_at", "ended_at",
	"superseded_at", "last_viewed_at", NULL
};

static bool
among(const char *const *list, const char *name)
{
	for (; *list != NULL; list++)
		if (strcmp(*list, name) == 0)
			return true;
	return false;
}

/* The SELECT of a table over the columns that both have; false where one has
 * no such table. */
static bool
columns(sqlite3 *a, sqlite3 *b, const char *table, struct buf *sql)
{
	static const char *const local[] = { "worktree_id", "worktree_root", "repo_root",
	    NULL };
	sqlite3_stmt *st;
	const char *name;

	if (!sql_has(a, table, "id") || !sql_has(b, table, "id"))
		return false;
	buf_reset(sql);
	buf_add_str(sql, "SELECT id");
	st = sql_prepare(a, "SELECT name FROM pragma_table_info(?) ORDER BY name", "s",
	    table);
	while (sql_next(&st)) {
		name = (const char *)sqlite3_column_text(st, 0);
		if (strcmp(name, "id") != 0 && !among(local, name) &&
		    sql_has(b, table, name))
			buf_addf(sql, ", \"%s\"", name);
	}
	buf_addf(sql, " FROM \"%s\"", table);
	if (strcmp(table, "boards") == 0)
		buf_add_str(sql, " WHERE is_builtin = 0");
	buf_add_str(sql, " ORDER BY id COLLATE BINARY");
	if (buf_cstr(sql) == NULL)
		die("out of memory");
	return true;
}

static bool
time_of(sqlite3_stmt *st, int col, struct instant *at)
{
	return among(times, sqlite3_column_name(st, col)) &&
	    sqlite3_column_type(st, col) == SQLITE_TEXT &&
	    time_parse_any(sql_col(st, col), at);
}

/* A value in words. */
static void
show(sqlite3_stmt *st, int col, char *out, size_t size)
{
	struct span v;

	if (st == NULL) {
		snprintf(out, size, "absent");
	} else if (sqlite3_column_type(st, col) == SQLITE_NULL) {
		snprintf(out, size, "NULL");
	} else {
		v = sql_col(st, col);
		snprintf(out, size, sqlite3_column_type(st, col) == SQLITE_TEXT ?
		    "'%.*s'" : "%.*s", (int)v.len, v.p);
	}
}

/* What the two are compared by. */
struct comparison {
	bool spelling; /* of times, too */
	bool (*visit)(void *ctx, const struct difference *d);
	void *ctx;
};

static bool
same(sqlite3_stmt *a, sqlite3_stmt *b, int col, bool spelling)
{
	struct instant left, right;

	if (!spelling && time_of(a, col, &left) && time_of(b, col, &right))
		return time_compare(left, right) == 0;
	return sqlite3_column_type(a, col) == sqlite3_column_type(b, col) &&
	    span_eq(sql_col(a, col), sql_col(b, col));
}

/* Two rows of one id. False when the visitor has seen enough. */
static bool
compare_rows(const struct comparison *c, sqlite3_stmt *a, sqlite3_stmt *b,
             struct difference *d)
{
	int col;

	for (col = 1; col < sqlite3_column_count(a); col++) {
		if (same(a, b, col, c->spelling))
			continue;
		snprintf(d->column, sizeof(d->column), "%s", sqlite3_column_name(a, col));
		show(a, col, d->left, sizeof(d->left));
		show(b, col, d->right, sizeof(d->right));
		if (!c->visit(c->ctx, d))
			return false;
	}
	return true;
}

static bool
compare_table(const struct comparison *c, sqlite3 *left, sqlite3 *right,
              const char *table, const char *sql)
{
	sqlite3_stmt *a = sql_prepare(left, sql, ""), *b = sql_prepare(right, sql, "");
	bool more_a = sql_next(&a), more_b = sql_next(&b), on = true;
	struct difference d;
	int order;

	snprintf(d.table, sizeof(d.table), "%s", table);
	while (on && (more_a || more_b)) {
		order = !more_a ? 1 : !more_b ? -1 :
		    strcmp((const char *)sqlite3_column_text(a, 0),
		           (const char *)sqlite3_column_text(b, 0));
		snprintf(d.id, sizeof(d.id), "%s",
		    (const char *)sqlite3_column_text(order <= 0 ? a : b, 0));
		d.column[0] = '\0';
		snprintf(d.left, sizeof(d.left), order <= 0 ? "present" : "absent");
		snprintf(d.right, sizeof(d.right), order >= 0 ? "present" : "absent");
		on = order != 0 ? c->visit(c->ctx, &d) : compare_rows(c, a, b, &d);
		if (on && order <= 0)
			more_a = sql_next(&a);
		if (on && order >= 0)
			more_b = sql_next(&b);
	}
	sqlite3_finalize(a);
	sqlite3_finalize(b);
	return on;
}

void
compare_each(sqlite3 *left, sqlite3 *right, bool spelling,
             bool (*visit)(void *ctx, const struct difference *d), void *ctx)
{
	struct comparison c = { spelling, visit, ctx };
	struct buf sql = { 0 };
	bool on = true;
	int i;

	for (i = 0; compare_tables[i] != NULL && on; i++)
		if (columns(left, right, compare_tables[i], &sql))
			on = compare_table(&c, left, right, compare_tables[i], sql.p);
	buf_free(&sql);
}

void
compare_query(sqlite3 *left, sqlite3 *right, const char *name, const char *sql,
              bool (*visit)(void *ctx, const struct difference *d), void *ctx)
{
	struct comparison c = { true, visit, ctx };

	compare_table(&c, left, right, name, sql);
}

static bool
keep_first(void *ctx, const struct difference *d)
{
	*(struct difference *)ctx = *d;
	return false;
}

bool
compare(sqlite3 *left, sqlite3 *right, struct difference *first)
{
	first->table[0] = '\0';
	compare_each(left, right, false, keep_first, first);
	return first->table[0] == '\0';
}

void
compare_digest(sqlite3 *db, sqlite3 *cols, const char *table, char hex[65],
               int64_t *rows)
{
	struct buf sql = { 0 }, text = { 0 };
	unsigned char sha[HASH_LEN];
	struct instant at;
	sqlite3_stmt *st;
	int col;

	*rows = 0;
	if (columns(db, cols, table, &sql)) {
		st = sql_prepare(db, sql.p, "");
		while (sql_next(&st)) {
			(*rows)++;
			for (col = 0; col < sqlite3_column_count(st); col++) {
				buf_addf(&text, "%d:", sqlite3_column_type(st, col));
				if (time_of(st, col, &at))
					buf_addf(&text, "%lld.%09d", (long long)at.sec,
					    (int)at.nsec);
				else
					buf_add_span(&text, sql_col(st, col));
				buf_add_byte(&text, '\0');
			}
		}
	}
	if (text.failed || hash_sha256(buf_span(&text), sha) != RC_OK)
		die("no SHA-256");
	buf_reset(&text);
	buf_add_hex(&text, sha, HASH_LEN);
	snprintf(hex, 65, "%s", buf_cstr(&text));
	buf_free(&sql);
	buf_free(&text);
}
