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
	Q_META_SET,
	Q_VERSION,
	Q_ACCESS,
	Q_USER_ADD,
	Q_USER_BY_EMAIL,
	Q_USER_BY_ID,
	Q_USER_LIST,
	Q_USER_FORGET_TOKENS,
	Q_USER_FORGET_LINKS,
	Q_USER_FORGET_INVITED,
	Q_USER_FORGET_MEMBER,
	Q_USER_FORGET_LOGINS,
	Q_USER_REMOVE,
	Q_USER_SOLE_OWNER,
	Q_PROJECT_ADD,
	Q_PROJECT_BY_ID,
	Q_PROJECT_BY_SLUG,
	Q_PROJECT_CHANGE,
	Q_PROJECT_DELETE,
	Q_PROJECT_PUBLIC,
	Q_PROJECT_PURGED,
	Q_PROJECT_LIST,
	Q_PROJECT_LIST_OF,
	Q_PROJECT_OWNED,
	Q_MEMBER_ADD,
	Q_MEMBER_GET,
	Q_MEMBER_CHANGE,
	Q_MEMBER_REMOVE,
	Q_MEMBER_LIST,
	Q_OTHER_OWNER,
	Q_TOKEN_ADD,
	Q_TOKEN_GET,
	Q_TOKEN_BY_KEY,
	Q_TOKEN_KEY,
	Q_TOKEN_REVOKE,
	Q_TOKEN_LIST,
	Q_TOKEN_LIST_OF,
	Q_TOKEN_LINKS,
	Q_TOKEN_REVOKE_LINKS,
	Q_TOKEN_USED,
	Q_TOKEN_CLEAN,
	Q_INVITATION_ADD,
	Q_INVITATION_GET,
	Q_INVITATION_LIST,
	Q_INVITATION_WAITING,
	Q_INVITATION_LIST_OF,
	Q_INVITATION_STATUS,
	Q_INVITATION_CLEAN,
	Q_INVITATION_REMOVE,
	Q_LOGIN_ADD,
	Q_LOGIN_SINCE,
	Q_LOGIN_BY_CODE,
	Q_LOGIN_BY_SELECTOR,
	Q_LOGIN_BY_USER_CODE,
	Q_LOGIN_VERIFIED,
	Q_LOGIN_ISSUED,
	Q_LOGIN_REMOVE,
	Q_LOGIN_CLEAN,
	Q_IMPORT_USER,
	Q_IMPORT_KEY,
	Q_IMPORT_PROJECT,
	Q_IMPORT_MEMBER,
	Q_IMPORT_INVITATION,
	Q_AUDIT_ADD,
	Q_AUDIT_CLEAN,
	Q_AUDIT_LIST,
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
	struct actor actor; /* who does what is written */
	struct known *known; /* KNOWN of them, by hash; NULL: none yet */
	int64_t version;     /* of what is known: rd's data_version */
};

/* Seconds since 1970. */
int64_t acc_now(void);

/* Refuse a server.db of another program before it is opened, which would change it. */
enum rc acc_check_ours(const char *path, struct err *err);

/* The format of server.db that we read and write. */
int acc_format(void);

/* Bring it back to an older format, as accounts_go_back() says. */
enum rc acc_go_back(struct accounts *a, int to, struct err *err);

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

/* Note a deed in the audit log, as part of it; needs acc_begin(). Any text may be "". */
enum rc acc_audit(struct accounts *a, const char *action, const char *project_id,
                  const char *subject, const char *detail, struct err *err);

/* What all statements that add a token have of it. */
void acc_bind_token(sqlite3_stmt *st, const struct token_row *t);

/* Record a token; needs acc_begin(). */
enum rc acc_insert_token(struct accounts *a, const struct token_row *t, struct err *err);

/* Insert a user whose address is free; needs acc_begin(). RC_CONFLICT: it is not. */
enum rc acc_insert_user(struct accounts *a, struct span email, struct user *out,
                        struct err *err);

/* A member as he is now. RC_NOT_FOUND: not a member. */
enum rc acc_find_member(struct conn *c, const char *project_id, const char *user_id,
                        struct member *out, struct err *err);

/* The user that Q_USER_BY_EMAIL or _BY_ID finds by :email or :id. */
enum rc acc_find_user(struct conn *c, enum query q, const char *name,
                      struct span value, struct user *out, struct err *err);

/* The project of that id, unless it is deleted. */
enum rc acc_find_live_project(struct conn *c, const char *id, struct project *out,
                              struct err *err);

/* A slug for a project of that name that nobody has; needs acc_begin(). */
enum rc acc_free_slug(struct accounts *a, const char *id, struct span name,
                      char out[PROJECT_NAME_MAX + 33], struct err *err);

/* A project, deleted or not. RC_NOT_FOUND: there is none. */
enum rc acc_find_project(struct conn *c, const char *id, struct project *out,
                         struct err *err);

/* Insert a membership; needs acc_begin(), and all three to be there. */
enum rc acc_insert_member(struct accounts *a, const char *project_id,
                          const char *user_id, enum role role,
                          const char *invited_by, struct err *err);

#endif
