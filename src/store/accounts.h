/*
 * server.db: users, projects, members and tokens. Every write happens under
 * server.lock; the hot path only reads. Roles and scopes are plain data here:
 * what they allow is auth's business.
 */
#ifndef TDSYNC_STORE_ACCOUNTS_H
#define TDSYNC_STORE_ACCOUNTS_H

#include "base/buf.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/id.h"
#include "base/rc.h"

/* A member's role in a project, weakest first. */
enum role { ROLE_NONE = 0, ROLE_READER, ROLE_WRITER, ROLE_OWNER };

const char *role_name(enum role r);              /* "writer"; static */
bool role_find(struct span name, enum role *out); /* false: no such role */

#define ACCOUNT_TEXT 321 /* room for an address, with NUL */

struct user {
	char id[ID_MAX];
	char email[ACCOUNT_TEXT]; /* as given; compared without case */
	int64_t created_at;       /* seconds since 1970 */
};

#define PROJECT_NAME_MAX 255         /* bytes */
#define PROJECT_DESCRIPTION_MAX 4000 /* bytes */

struct project {
	char id[ID_MAX];
	char name[PROJECT_NAME_MAX + 1];
	char description[PROJECT_DESCRIPTION_MAX + 1];
	char slug[PROJECT_NAME_MAX + 33];
	int64_t created_at, updated_at; /* seconds since 1970 */
	int64_t deleted_at;             /* 0: not deleted */
	bool is_public;                 /* anyone may read it */
	int64_t purged_at;              /* its files were removed; 0: they are there */
};

struct member {
	char project_id[ID_MAX], user_id[ID_MAX], invited_by[ID_MAX];
	char email[ACCOUNT_TEXT];
	enum role role;
	int64_t created_at;
};

/* What server.db knows of a token; its secret is nowhere. */
struct token_row {
	char id[ID_MAX];        /* its jti: ak_ + 16 hex */
	char user_id[ID_MAX];   /* "" for a token without a user */
	char name[ACCOUNT_TEXT];
	char scope[128];        /* "sync:read sync:write" */
	char projects[4096];    /* "*" or ids with blanks between */
	int64_t created_at, expires_at, last_used_at;
	int64_t revoked_at;     /* 0: not revoked */
	char link_id[ID_MAX];   /* a share link's project; "": it is none */
	char made_by[ID_MAX];   /* a share link's maker, a user's id */
};

/* Who does something, for the audit log. */
struct actor {
	char user_id[ID_MAX];  /* "": the operator, or nobody known */
	char token_id[ID_MAX]; /* "": by no token */
	char address[64];      /* from where; "": this machine's command line */
};

#define DETAIL_MAX (ACCOUNT_TEXT + 16)

/* A line of the audit log. Ids stay when what they name has gone. */
struct deed_line {
	int64_t n, at;          /* seconds since 1970 */
	struct actor by;
	char action[40];        /* "token.create" */
	char project_id[ID_MAX];
	char subject[ACCOUNT_TEXT]; /* to whom or what: an id */
	char detail[DETAIL_MAX + 1];
};

struct accounts; /* fields are private to accounts.c */

/*
 * Make server.db and server.lock in the data folder (which must exist), with
 * a random server id. RC_CONFLICT when it is there already.
 */
enum rc accounts_create(const char *data, struct err *err);

/*
 * Open it. On RC_OK *out is new: accounts_close() it. RC_NOT_FOUND: none,
 * or one that accounts_create() did not get done. RC_UNAVAILABLE: err says what to mend (another program's file, a format
 * newer than this td-sync knows). Calls that write wait for server.lock for
 * LOCK_WAIT_MS at most: RC_BUSY, nothing was changed.
 */
enum rc accounts_open(const char *data, struct accounts **out, struct err *err);

/* NULL is fine. */
void accounts_close(struct accounts *a);

/*
 * Whether server.db was deleted or replaced behind the handle, or a commit
 * ended in an unknown state: close it and open anew. One stat call.
 */
bool accounts_stale(const struct accounts *a);

/* The server's identity, the `iss` of its tokens. Borrowed. */
const char *accounts_server_id(const struct accounts *a);

/* Whether the database answers at all (healthz). */
enum rc accounts_ping(struct accounts *a, struct err *err);

/*
 * Who does what is written from now on, by any of the calls below: each deed goes into
 * the audit log in the same transaction. NULL: the operator, which is also so at first.
 */
void accounts_act_for(struct accounts *a, const struct actor *by);

/*
 * Make every statement ready: proves that the schema fits the code (tests).
 */
enum rc accounts_prepare(struct accounts *a, struct err *err);

/* RC_CONFLICT when the address is taken; RC_INVALID when it is too long or empty, or has
 * control characters. Else its form is not judged (the Go server takes any). */
enum rc user_add(struct accounts *a, struct span email, struct user *out, struct err *err);
enum rc user_by_email(struct accounts *a, struct span email, struct user *out, struct err *err);
enum rc user_by_id(struct accounts *a, const char *id, struct user *out, struct err *err);

/*
 * Remove a user, his tokens and memberships; what he wrote stays his by his id.
 * RC_LAST_OWNER: a live project would have no owner (err names it). RC_NOT_FOUND.
 */
enum rc user_remove(struct accounts *a, const char *id, struct err *err);

typedef enum rc user_visit(void *ctx, const struct user *u);
enum rc user_list(struct accounts *a, user_visit *visit, void *ctx, struct err *err);

/*
 * Whether a project may be called that; project_add() asks it too. For callers
 * that make the log first. RC_INVALID with the Go server's words for an empty
 * name, or when one of them is too long.
 */
enum rc project_check(struct span name, struct span description, struct err *err);

/*
 * Make a project and its owner's membership; `id` was made by the caller (who
 * has made the log under it first, so that no project is without one).
 * RC_INVALID as project_check(); RC_NOT_FOUND: no such owner.
 */
enum rc project_add(struct accounts *a, const char *id, struct span name,
                    struct span description, const char *owner_id,
                    struct project *out, struct err *err);

/* The same where the user owns fewer than `most` live projects, else RC_QUOTA; 0: any
 * number. */
enum rc project_add_within(struct accounts *a, int64_t most, const char *id,
                           struct span name, struct span description,
                           const char *owner_id, struct project *out, struct err *err);

/* RC_NOT_FOUND when there is none; deleted ones are found, see deleted_at. */
enum rc project_get(struct accounts *a, const char *id, struct project *out, struct err *err);

/* The same by slug. A slug is never given twice, not even after a deletion. */
enum rc project_by_slug(struct accounts *a, struct span slug, struct project *out,
                        struct err *err);

/* NULL leaves that text as it is. The slug never changes. RC_NOT_FOUND when
 * there is none or it is deleted, RC_INVALID as project_check(). */
enum rc project_change(struct accounts *a, const char *id, const struct span *name,
                       const struct span *description, struct project *out,
                       struct err *err);

/* Let anyone read it, or no longer. RC_NOT_FOUND when there is none or it is deleted. */
enum rc project_publish(struct accounts *a, const char *id, bool is_public,
                        struct project *out, struct err *err);

/* A deleted project's files are gone. RC_NOT_FOUND: no such, RC_CONFLICT: not deleted. */
enum rc project_purged(struct accounts *a, const char *id, struct err *err);

/* Soft delete. RC_NOT_FOUND when there is none or it is deleted already. */
enum rc project_delete(struct accounts *a, const char *id, struct err *err);

/* The live projects of a user (of everyone with NULL, deleted ones too), oldest first. */
typedef enum rc project_visit(void *ctx, const struct project *p);
enum rc project_list(struct accounts *a, const char *user_id, project_visit *visit,
                     void *ctx, struct err *err);

/*
 * RC_CONFLICT: a member already. RC_NOT_FOUND: no such user or (live)
 * project. invited_by is "" where nobody did (the operator).
 */
enum rc member_add(struct accounts *a, const char *project_id, const char *user_id,
                   enum role role, const char *invited_by, struct member *out,
                   struct err *err);

/* RC_NOT_FOUND: not a member. RC_LAST_OWNER: there would be no owner left. The share links
 * that he made are revoked where he is no owner any more. */
enum rc member_change(struct accounts *a, const char *project_id, const char *user_id,
                      enum role role, struct err *err);
enum rc member_remove(struct accounts *a, const char *project_id, const char *user_id,
                      struct err *err);

/* A member as he is now. RC_NOT_FOUND: not a member. */
enum rc member_get(struct accounts *a, const char *project_id, const char *user_id,
                   struct member *out, struct err *err);

/* The members in the order they came. */
typedef enum rc member_visit(void *ctx, const struct member *m);
enum rc member_list(struct accounts *a, const char *project_id, member_visit *visit,
                    void *ctx, struct err *err);

/* Everything a request needs to know, in one read. */
struct access {
	bool token_known;
	int64_t token_revoked_at, token_expires_at, token_last_used_at;
	bool user_known;        /* the token was made for that user (or for none),
	                         * who is there */
	bool project_known, project_deleted;
	bool project_public;
	enum role role;         /* of the token's user in the project; ROLE_NONE: none */
};

/*
 * On the path of every request: one statement, or none but whether anything was
 * changed since the same was asked last. user_id is "" for a token
 * without a user; project_id may be NULL: then only token and user are looked
 * up.
 */
enum rc access_get(struct accounts *a, const char *token_id, const char *user_id,
                   const char *project_id, struct access *out, struct err *err);

/* RC_NOT_FOUND: no such user; of a share link, no such live project or maker. */
enum rc token_add(struct accounts *a, const struct token_row *t, struct err *err);
/* RC_NOT_FOUND: no such token. */
enum rc token_get(struct accounts *a, const char *id, struct token_row *out, struct err *err);
/* The token whose secret is an opaque key, by the key's SHA-256 (store/imports.h): all
 * that is known of such a key. RC_NOT_FOUND: there is none. */
enum rc token_by_key(struct accounts *a, const unsigned char key[HASH_LEN],
                     struct token_row *out, struct err *err);
/* RC_NOT_FOUND: no such token. RC_CONFLICT: revoked already. */
enum rc token_revoke(struct accounts *a, const char *id, struct err *err);

/* Tokens in the order they were made: all (user_id NULL) or a user's, expired and
 * revoked ones too. */
typedef enum rc token_visit(void *ctx, const struct token_row *t);
enum rc token_list(struct accounts *a, const char *user_id, token_visit *visit, void *ctx,
                   struct err *err);
/* The share links of a project, likewise. */
enum rc token_links(struct accounts *a, const char *project_id, token_visit *visit, void *ctx,
                    struct err *err);

/*
 * Note the use of a token, last known to be used at that time. Writes at most
 * once an hour; skipped when somebody else is writing. Whether it wrote.
 */
bool token_used(struct accounts *a, const char *id, int64_t last_used_at);

/* --- invitations (protocol.md section 2) --- */

enum invitation_status {
	INVITATION_PENDING = 0,
	INVITATION_ACCEPTED,
	INVITATION_DECLINED,
	INVITATION_EXPIRED
};

const char *invitation_status_name(enum invitation_status s); /* "pending"; static */

#define INVITATION_SECONDS (7 * 86400)
#define INVITATIONS_WAITING 100 /* for an address, of a project */

struct invitation {
	char id[ID_MAX], project_id[ID_MAX], invited_by[ID_MAX];
	char email[ACCOUNT_TEXT];
	enum role role;
	enum invitation_status status;
	int64_t created_at, expires_at, accepted_at; /* accepted_at 0: not accepted */
};

/* The address is stored in lower case. RC_INVALID as user_add(). RC_NOT_FOUND: no such
 * live project. RC_CONFLICT: INVITATIONS_WAITING wait for that address already. */
enum rc invitation_add(struct accounts *a, const char *project_id, struct span email,
                       enum role role, const char *invited_by, struct invitation *out,
                       struct err *err);

/* Newest first: all of a project, or those that wait for an address (1000 at most). */
typedef enum rc invitation_visit(void *ctx, const struct invitation *i);
enum rc invitation_list(struct accounts *a, const char *project_id, invitation_visit *visit,
                        void *ctx, struct err *err);
enum rc invitation_list_of(struct accounts *a, struct span email, invitation_visit *visit,
                           void *ctx, struct err *err);

/* RC_NOT_FOUND: the project has no such invitation. */
enum rc invitation_remove(struct accounts *a, const char *project_id, const char *id,
                          struct err *err);

/*
 * Accept or decline it as the user whose address it is for. Who is a member already
 * keeps his role; out (may be NULL where it is declined) is what he is then, without
 * his address. RC_NOT_FOUND: no such, or another's. RC_EXPIRED: it is over,
 * which is noted: from then on, where it is not pending, and where who invited is no
 * longer an owner, RC_CONFLICT.
 */
enum rc invitation_answer(struct accounts *a, const char *id, const char *user_id,
                          bool accept, struct member *out, struct err *err);

/* --- logins in progress (protocol.md section 2) --- */

#define LOGIN_SECONDS 900    /* so long a login may take */
#define LOGIN_KEPT_SECONDS 1800 /* and so long after that it is still known */
#define LOGIN_MAIL_SECONDS 60 /* one mail to an address within */
#define LOGIN_DEVICE 80      /* bytes of a device's name that are kept */

struct login {
	int64_t n;
	char email[ACCOUNT_TEXT];
	unsigned char secret[32];   /* SHA-256 of a link's second half */
	char challenge[64];         /* PKCE; "": by code */
	char device[LOGIN_DEVICE + 1], address[64];
	int64_t created_at, expires_at;
	int64_t verified_at, issued_at; /* 0: not yet */
};

/* What a new login is known by: by a mailed link, or by a code that a person types in. */
struct login_keys {
	unsigned char code[32];     /* SHA-256 of what the device polls with */
	const char *selector;       /* of a link; NULL: by code */
	unsigned char secret[32];
	const char *user_code;      /* NULL: by link */
};

/* Keep a login of l's email, challenge, device and address; logins that are not known
 * any longer go. RC_CROWDED: a link was mailed to that address within the last minute. RC_CONFLICT:
 * a code is taken. */
enum rc login_add(struct accounts *a, const struct login_keys *k, const struct login *l,
                  struct err *err);

#define LOGIN_PACE_MIN 1000  /* ms: what takes no longer is not noted */
#define LOGIN_PACE_MAX 31000 /* a mailer has 30 s at most */

/* How long it takes to begin a login and mail its link, in ms, as far as it is more than
 * LOGIN_PACE_MIN: for an unknown address it must seem to take as long. Written only when
 * it changes by a quarter. */
int64_t login_pace(struct accounts *a);
void login_note_pace(struct accounts *a, int64_t ms);

/* Forget one whose mail did not go out: the next one need not wait for a minute. */
void login_forget(struct accounts *a, const unsigned char code[32]);

/* Find one, whatever became of it. RC_NOT_FOUND: there is none, or it was over
 * LOGIN_KEPT_SECONDS ago. */
enum rc login_by_code(struct accounts *a, const unsigned char code[32], struct login *out,
                      struct err *err);
enum rc login_by_selector(struct accounts *a, const char *selector, struct login *out,
                          struct err *err);
enum rc login_by_user_code(struct accounts *a, const char *user_code, struct login *out,
                           struct err *err);

/* Its address was proven. Where nobody has it and sign_up says so, a user is made.
 * RC_CONFLICT: it was verified before, or is over. RC_NOT_FOUND: nobody has the address. */
enum rc login_verify(struct accounts *a, const struct login *l, bool sign_up, struct err *err);

/* Give it its token, once. RC_CONFLICT: it has one, or was not verified. */
enum rc login_issue(struct accounts *a, const struct login *l, const struct token_row *t,
                    struct err *err);

/* --- the audit log --- */

/* Note what is no change of server.db, as "key.rotate". Any text may be "". */
enum rc audit_note(struct accounts *a, const char *action, const char *project_id,
                   const char *subject, const char *detail, struct err *err);

/* The lines since a time, oldest first; of a user (by whom, or to whom) and of a project
 * where these are not "". */
typedef enum rc audit_visit(void *ctx, const struct deed_line *d);
enum rc audit_list(struct accounts *a, int64_t since, const char *user_id,
                   const char *project_id, audit_visit *visit, void *ctx, struct err *err);

/* Forget what is older than that: lines of the audit log, and tokens, share links and
 * invitations that were over by then. Skipped when somebody else is writing. */
void audit_clean(struct accounts *a, int64_t before);

#endif
