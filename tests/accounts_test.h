/* An open server.db in a folder of its own, for the tests of accounts.h. */
#ifndef TDSYNC_TESTS_ACCOUNTS_TEST_H
#define TDSYNC_TESTS_ACCOUNTS_TEST_H

#include "base/clock.h"
#include "base/lock.h"
#include "store/accounts.h"
#include "store/db.h"
#include "tests/temp.h"

#include <check.h>
#include <string.h>

static char dir[TEMP_PATH];
static struct accounts *a;
static struct err err;

#define ok(call) ck_assert_msg((call) == RC_OK, "%s", err.text)
#define is(call, want) \
	do { \
		enum rc rc_ = (call); \
		ck_assert_msg(rc_ == (want), "%s, not %s: %s", rc_name(rc_), \
		    rc_name(want), err.text); \
	} while (0)

static inline void
setup(void)
{
	temp_make(dir);
	ok(accounts_create(dir, &err));
	ok(accounts_open(dir, &a, &err));
}

static inline void
teardown(void)
{
	accounts_close(a);
	temp_remove(dir);
}

static inline const char *
path(const char *name)
{
	static char out[2 * TEMP_PATH];

	snprintf(out, sizeof(out), "%s/%s", dir, name);
	return out;
}

static inline struct user
user(const char *email)
{
	struct user u;

	ok(user_add(a, span_of(email), &u, &err));
	return u;
}

static inline struct project
project(const char *id, const char *name, const char *owner)
{
	struct project p;

	ok(project_add(a, id, span_of(name), span_of(""), owner, &p, &err));
	return p;
}

/* Change server.db as somebody else would: behind the handle. */
static inline void
alter(const char *sql)
{
	sqlite3 *db;

	ok(db_open(path("server.db"), DB_SERVER, &db, &err));
	ok(db_exec(db, sql, &err));
	sqlite3_close(db);
}

#endif
