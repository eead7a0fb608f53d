/*
 * What the files behind accounts.h share: accounts.c holds the handle, the
 * schema and every statement; users.c, projects.c, members.c and tokens.c use
 * them.
 */
#ifndef TDSYNC_STORE_ACCOUNTS_INT_H
#define TDSYNC_STORE_ACCOUNTS_INT_H

#include "base/fs.h"
#include "base/lock.h"
#include "store/accounts.h"
#include "store/db.h"

/* The statements; their text is in accounts.c. */
enum query {
	Q_META,
	Q_META_ADD,
	Q_VERSION,
	Q_ACCESS,
	Q_USER_ADD,
	Q_USER_BY_EMAIL,
	Q_USER_BY_ID,
	Q_USER_LIST,
	Q_PROJECT_ADD,
	Q_PROJECT_BY_ID,
	Q_PROJECT_BY_SLUG,
	Q_PROJECT_CHANGE,
	Q_PROJECT_DELETE,
	Q_PROJECT_LIST,
	Q_PROJECT_LIST_OF,
	Q_MEMBER_ADD,
	Q_MEMBER_GET,
	Q_MEMBER_CHANGE,
	Q_MEMBER_REMOVE,
	Q_MEMBER_LIST,
	Q_OTHER_OWNER,
	Q_TOKEN_ADD,
	Q_TOKEN_GET,
	Q_TOKEN_REVOKE,
	Q_TOKEN_LIST,
	Q_TOKEN_USED,
	Q__MAX
};

/* A connection and its statements, prepared when first needed. */
struct conn {
	sqlite3 *db;
	sqlite3_stmt *st[Q__MAX];
};

/* What access_get() was asked, and its answer; token "": nothing. */
struct known {
	char token[ID_MAX], user[ID_MAX], project[ID_MAX];
	struct access access;
};

struct accounts {
	char *path;         /* of server.db */
	char *lock_path;    /* of server.lock */
	struct fs_id file;  /* server.db as it was opened */
	struct conn rd;     /* query_only */
	struct conn wr;     /* open from the first write on */
	struct lock *lock;  /* likewise */
	int wal_pages;      /* in the WAL after the last commit of wr */
	bool broken;        /* a commit's outcome is unknown */
	bool making;        /* within accounts_create(): file is not set */
	char server_id[ID_MAX];
	struct known *known; /* KNOWN of them, by hash; NULL: none yet */
	int64_t version;     /* of what is known: rd's data_version */
};

/* Seconds since 1970. */
int64_t acc_now(void);

/* The statement of a query, reset and without bindings. Borrowed. */
enum rc acc_query(struct conn *c, enum query q, sqlite3_stmt **out, struct err *err);

/* Bind a string. */
void acc_bind(sqlite3_stmt *st, const char *name, const char *s);

/*
 * Step a bound statement for its one row. RC_OK: the row is there, db_reset()
 * when done with it. RC_NOT_FOUND: there is none, err is untouched.
 */
enum rc acc_row(sqlite3_stmt *st, struct err *err);

/* Copy a text column; what does not fit is cut. NULL gives "". */
void acc_column(sqlite3_stmt *st, int col, char *out, size_t cap);

/* RC_INVALID for a text of more than max bytes, or with a NUL in it. */
enum rc acc_check_text(const char *what, struct span s, size_t max, struct err *err);

/*
 * Begin a write on a->wr: server.lock is waited for, until LOCK_WAIT_MS or the
 * deadline. On RC_OK end it by acc_finish(). RC_BUSY: nothing is held.
 */
enum rc acc_begin(struct accounts *a, struct err *err);
enum rc acc_begin_until(struct accounts *a, int64_t deadline_ms, struct err *err);

/*
 * End a write: commit on RC_OK, else roll back; the lock is let go. Returns
 * rc, or what came of the commit.
 */
enum rc acc_finish(struct accounts *a, enum rc rc, struct err *err);

/* The user that Q_USER_BY_EMAIL or _BY_ID finds by :email or :id. */
enum rc acc_find_user(struct conn *c, enum query q, const char *name,
                      struct span value, struct user *out, struct err *err);

/* The project of that id, unless it is deleted. */
enum rc acc_find_live_project(struct conn *c, const char *id, struct project *out,
                              struct err *err);

/* Insert a membership; needs acc_begin(), and all three to be there. */
enum rc acc_insert_member(struct accounts *a, const char *project_id,
                          const char *user_id, enum role role,
                          const char *invited_by, struct err *err);

#endif
