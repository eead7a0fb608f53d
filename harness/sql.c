#include "sql.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void
die(const char *fmt, ...)
{
	va_list ap;

	fflush(stdout);
	fputs("td-sync-harness: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(2);
}

sqlite3 *
sql_open(const char *path, bool create)
{
	sqlite3 *db = NULL;
	int flags = SQLITE_OPEN_READWRITE | (create ? SQLITE_OPEN_CREATE : 0);

	if (sqlite3_open_v2(path, &db, flags, NULL) != SQLITE_OK)
		die("%s: %s", path, db ? sqlite3_errmsg(db) : "out of memory");
	sqlite3_busy_timeout(db, 5000);
	return db;
}

sqlite3 *
sql_open_frozen(const char *path)
{
	struct buf uri = { 0 };
	sqlite3 *db = NULL;

	buf_addf(&uri, "file:%s?immutable=1", path);
	if (sqlite3_open_v2(buf_cstr(&uri), &db, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI,
	    NULL) != SQLITE_OK)
		die("%s: %s", path, db ? sqlite3_errmsg(db) : "out of memory");
	buf_free(&uri);
	return db;
}

void
sql_close(sqlite3 *db)
{
	if (sqlite3_close(db) != SQLITE_OK)
		die("close: %s", sqlite3_errmsg(db));
}

static sqlite3_stmt *
vprepare(sqlite3 *db, const char *sql, const char *types, va_list ap)
{
	sqlite3_stmt *st = NULL;
	struct span b;
	const char *s;
	int i, code = SQLITE_OK;

	if (sqlite3_prepare_v2(db, sql, -1, &st, NULL) != SQLITE_OK)
		die("%s: %s", sql, sqlite3_errmsg(db));
	for (i = 1; *types != '\0' && code == SQLITE_OK; types++, i++) {
		switch (*types) {
		case 's':
			s = va_arg(ap, const char *);
			code = sqlite3_bind_text(st, i, s, -1, SQLITE_STATIC);
			break;
		case 'i':
			code = sqlite3_bind_int64(st, i, va_arg(ap, int64_t));
			break;
		case 'b':
			b = va_arg(ap, struct span);
			code = sqlite3_bind_text(st, i, b.p ? b.p : "",
			                         (int)b.len, SQLITE_STATIC);
			break;
		default:
			die("no parameter type '%c'", *types);
		}
	}
	if (code != SQLITE_OK)
		die("%s: %s", sql, sqlite3_errmsg(db));
	return st;
}

sqlite3_stmt *
sql_prepare(sqlite3 *db, const char *sql, const char *types, ...)
{
	sqlite3_stmt *st;
	va_list ap;

	va_start(ap, types);
	st = vprepare(db, sql, types, ap);
	va_end(ap);
	return st;
}

bool
sql_next(sqlite3_stmt **st)
{
	int code = sqlite3_step(*st);

	if (code == SQLITE_ROW)
		return true;
	if (code != SQLITE_DONE)
		die("%s: %s", sqlite3_sql(*st),
		    sqlite3_errmsg(sqlite3_db_handle(*st)));
	sqlite3_finalize(*st);
	*st = NULL;
	return false;
}

void
sql_run(sqlite3 *db, const char *sql, const char *types, ...)
{
	sqlite3_stmt *st;
	va_list ap;

	if (*types == '\0') {
		if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
			die("%.200s: %s", sql, sqlite3_errmsg(db));
		return;
	}
	va_start(ap, types);
	st = vprepare(db, sql, types, ap);
	va_end(ap);
	while (sql_next(&st))
		;
}

int64_t
sql_int(sqlite3 *db, int64_t none, const char *sql, const char *types, ...)
{
	sqlite3_stmt *st;
	int64_t v = none;
	va_list ap;

	va_start(ap, types);
	st = vprepare(db, sql, types, ap);
	va_end(ap);
	if (sql_next(&st) && sqlite3_column_type(st, 0) != SQLITE_NULL)
		v = sqlite3_column_int64(st, 0);
	sqlite3_finalize(st);
	return v;
}

bool
sql_text(sqlite3 *db, struct buf *out, const char *sql, const char *types, ...)
{
	sqlite3_stmt *st;
	bool found = false;
	va_list ap;

	va_start(ap, types);
	st = vprepare(db, sql, types, ap);
	va_end(ap);
	buf_reset(out);
	if (sql_next(&st) && sqlite3_column_type(st, 0) != SQLITE_NULL) {
		buf_add_span(out, sql_col(st, 0));
		found = true;
	}
	sqlite3_finalize(st);
	if (buf_cstr(out) == NULL)
		die("out of memory");
	return found;
}

bool
sql_has(sqlite3 *db, const char *table, const char *column)
{
	return sqlite3_table_column_metadata(db, NULL, table, column, NULL, NULL, NULL, NULL,
	    NULL) == SQLITE_OK;
}

struct span
sql_col(sqlite3_stmt *st, int col)
{
	const void *p = sqlite3_column_blob(st, col);

	return (struct span){ p, (size_t)sqlite3_column_bytes(st, col) };
}
