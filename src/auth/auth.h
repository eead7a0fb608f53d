/*
 * Who is calling, and what may they do: a token's scope and projects, cut
 * down to the user's role in the project now. One handle a process; it keeps
 * server.db, the keyring and an LRU of verified tokens. Signature and claims
 * are cached, revocation and role are read at every request. Opaque keys that came
 * from a Go server (store/imports.h) are tokens, too, for all projects of their user.
 */
#ifndef TDSYNC_AUTH_AUTH_H
#define TDSYNC_AUTH_AUTH_H

#include "auth/token.h"
#include "store/accounts.h"

struct auth; /* fields are private to auth.c */

/*
 * Make what the data folder holds: itself, projects/, keys/ with the first key, server.db.
 * What one who was interrupted left is built upon. RC_CONFLICT: all of it is there;
 * RC_UNAVAILABLE: err says what can't be made.
 */
enum rc auth_create(const char *data, struct err *err);

/*
 * Open what lies in the data folder. On RC_OK *out is new: auth_close() it.
 * Other outcomes as accounts_open() and keyring_open().
 */
enum rc auth_open(const char *data, struct auth **out, struct err *err);

/* NULL is fine. */
void auth_close(struct auth *a);

/* The accounts behind it, reopened where stale. Borrowed until the next call. */
enum rc auth_accounts(struct auth *a, struct accounts **out, struct err *err);

/* The caller, as far as it is known. */
struct caller {
	char user_id[ID_MAX];  /* "" for none */
	char token_id[ID_MAX];
	unsigned scope;
	bool all_projects;     /* the token is good for all of the user's projects */
	enum role role;        /* in the project asked for, as far as the token
	                        * lets it reach; ROLE_NONE without a project */
	int64_t last_used_at;  /* of the token, for token_used() after the answer */
	int64_t expires_at;    /* of the token */
	bool guest;            /* let in because anyone is; without a token, token_id is "" */
};

/* Who is let in beside a project's members. */
enum guests {
	GUESTS_NONE = 0,
	GUESTS_LINK,  /* the share links of the project */
	GUESTS_ANYONE /* those, and where the project is public, everyone */
};

/*
 * Judge an Authorization header (NULL or "": none was sent) in the order of
 * protocol.md section 2: token, scope, membership, role. project_id is NULL
 * for a route without one; then role is ROLE_NONE and not asked.
 *   RC_UNAUTHORIZED  header missing or malformed, token not valid
 *   RC_SCOPE         the token lacks a scope of `scope`, or all that reach
 *                    `role` (sync:read reader, sync:write writer,
 *                    project:admin owner)
 *   RC_FORBIDDEN     not a member, role below `role`, unknown project, or a
 *                    token for other projects
 *   RC_NOT_FOUND     the project is deleted, and the caller a member
 * err holds the Go server's message for each (a scope's is ours: it names the
 * scope). *out is filled as far as known. Where `guests` says so, a token without a
 * user (a share link) is a reader of the projects that it lists, and of a public
 * project everyone is: without a header, and with any valid token (one that is not
 * valid is refused all the same).
 */
enum rc auth_check(struct auth *a, const char *authorization, const char *project_id,
                   unsigned scope, enum role role, enum guests guests,
                   struct caller *out, struct err *err);

/*
 * Whether a caller that was let in may do what needs more, as a part of a route
 * does. RC_SCOPE, RC_FORBIDDEN: likewise.
 */
enum rc auth_allows(const struct caller *c, unsigned scope, enum role role, struct err *err);

/*
 * Whether the caller's token covers a project (for lists). It only reads the
 * token: ask it about a header that auth_check() let pass. No handle is opened
 * anew: it may be asked while a list is walked through.
 */
bool auth_covers(struct auth *a, const char *authorization, const char *project_id);

/* A token to be made. */
struct token_plan {
	const char *user_id;          /* "": without a user (a share link) */
	const char *name;             /* what it is for */
	unsigned scope;
	const char *const *projects;  /* NULL: all */
	size_t n_projects;
	int64_t lifetime_s;           /* seconds, above 0 */
	const char *link_id, *made_by; /* a share link's project and maker; NULL: none */
};

/*
 * Make a token: signed, appended to out, and what server.db is to know of it in *row, but
 * not recorded there yet: until then nobody is let in by it. RC_INVALID: too
 * many projects for one token, or a name that is too long.
 */
enum rc auth_make(struct auth *a, const struct token_plan *plan, struct token_row *row,
                  struct buf *out, struct err *err);

/* The same, recorded. RC_NOT_FOUND: no such user. */
enum rc auth_issue(struct auth *a, const struct token_plan *plan, struct token_row *row,
                   struct buf *out, struct err *err);

#define LINK_DAYS 30      /* so long a share link lasts where nobody says otherwise */
#define LINK_DAYS_MAX 365

/*
 * Likewise a share link: it reads one project, whoever has it. made_by is the user who
 * shares, "" for the operator; the link ends at `until` at the latest (seconds since 1970,
 * of his own token; 0: as the days say). RC_INVALID: days is not 1 to LINK_DAYS_MAX.
 */
enum rc auth_share(struct auth *a, const char *project_id, const char *name, int64_t days,
                   int64_t until, const char *made_by, struct token_row *row, struct buf *out,
                   struct err *err);

#endif
