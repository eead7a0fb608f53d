/*
 * libtdsync: keeps a td database in step with a td-sync server.
 *
 * A handle works on one td project folder (the one that holds `.todos/`),
 * beside a td that may run at any time, under td's own rules. Our own file is
 * `.todos/td-sync.db`. Nothing local is ever just removed; nothing is sent or
 * changed but by the calls below.
 *
 * A handle belongs to one thread at a time; different handles are independent.
 */
#ifndef TDSYNC_H
#define TDSYNC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default)

/* What a call came to. tdsync_error() has the sentence. */
enum tdsync_rc {
	TDSYNC_OK = 0,
	TDSYNC_INVALID,      /* a bad argument, or a database this can't work on */
	TDSYNC_NOT_LINKED,   /* the folder is not linked to a project */
	TDSYNC_LOCAL,        /* the local database: missing, locked, read-only,
	                      * corrupt, full; nothing was changed */
	TDSYNC_NETWORK,      /* no answer, a cut one, or one that makes no sense;
	                      * worth trying again */
	TDSYNC_BUSY,         /* the server asked to come later (429, 503) */
	TDSYNC_UNAUTHORIZED, /* the token is missing or not valid */
	TDSYNC_FORBIDDEN,    /* not a member, or the role or token does not allow it */
	TDSYNC_NOT_FOUND,    /* no such project, or it was deleted */
	TDSYNC_REFUSED,      /* the server refused what was sent (other 4xx) */
	TDSYNC_LOG_CHANGED,  /* the server's log is another one than before */
	TDSYNC_FAULT         /* our fault: memory, a bug */
};

/* The name of an outcome: "TDSYNC_BUSY". Static. */
const char *tdsync_rc_name(enum tdsync_rc rc);

struct tdsync; /* a handle */

/* How to reach the server. NULL members take their value from the
 * environment and td's own files, as named. All strings are copied. */
struct tdsync_options {
	const char *dir;       /* the folder that holds .todos/; NULL: "." */
	const char *url;       /* NULL: TD_SYNC_URL, else auth.json, else http://localhost:8080 */
	const char *token;     /* NULL: TD_AUTH_KEY, else auth.json's api_key */
	const char *device_id; /* NULL: auth.json's, else one kept in td-sync.db */
	int timeout_s;         /* of one request; 0: 30 */
	int retries;           /* of a failure that may pass; negative: none, 0: 4 */
	/* How many events a log has to have for a new replica to begin with a
	 * snapshot instead of pulling them all; negative: it never does. 0:
	 * TD_SYNC_SNAPSHOT_THRESHOLD (where 0 is never), else 100. */
	int snapshot_threshold;
	/* Called before each pause in which a call waits to try again: one line
	 * that names the cause, and how long, up to a minute. NULL: never. It
	 * must not call the library. */
	void (*waiting)(void *ctx, const char *why, int ms);
	void *waiting_ctx;
};

/*
 * Open a td project. On TDSYNC_OK *out is new: tdsync_close() it. Otherwise
 * *out is NULL and `error` (may be NULL) gets the sentence.
 */
enum tdsync_rc tdsync_open(const struct tdsync_options *options,
                           struct tdsync **out, char *error, size_t error_size);

/* NULL is fine. */
void tdsync_close(struct tdsync *t);

/* The sentence that goes with the last outcome of a call on this handle: one
 * line that names the cause. Borrowed until the next call. */
const char *tdsync_error(const struct tdsync *t);

/* Link the folder to a project (its id or, where unique, its name or slug);
 * asks the server whether it is there and allowed. */
enum tdsync_rc tdsync_link(struct tdsync *t, const char *project);

/* Undo the link; the database keeps its content. */
enum tdsync_rc tdsync_unlink(struct tdsync *t);

/* What a call did. */
struct tdsync_result {
	int64_t pushed;      /* events the server took */
	int64_t duplicates;  /* events it had already */
	int64_t rejected;    /* events it refused, each kept and named by status */
	int64_t snapshot_seq; /* it began with a snapshot of this seq; 0: no */
	int64_t pulled;      /* events received */
	int64_t applied;     /* events that were applied */
	int64_t skipped;     /* events that could not be (quarantined, orphaned) */
	int64_t rows;        /* local rows that changed */
	int64_t conflicts;   /* new ones: see tdsync_each_conflict() */
	int64_t server_seq;  /* the cursor after it */
};

/* Send what is pending; fetch and apply what is new; push, then pull. `out`
 * may be NULL. Work that was done before a failure stays done. */
enum tdsync_rc tdsync_push(struct tdsync *t, struct tdsync_result *out);
enum tdsync_rc tdsync_pull(struct tdsync *t, struct tdsync_result *out);
enum tdsync_rc tdsync_sync(struct tdsync *t, struct tdsync_result *out);

/* How things stand. Strings are borrowed until the next call. */
struct tdsync_status {
	const char *url;
	const char *project_id;
	const char *device_id;
	int schema;               /* version of the td database */
	int64_t pending;          /* local actions not yet sent */
	int64_t rejected;         /* actions the server refused */
	int64_t cursor;           /* last server_seq applied here */
	const char *log_id;       /* 32 hex, "" before the first contact */
	/* From the server; server_reached false: not asked or no answer. */
	bool server_reached;
	int64_t server_seq;
	int64_t server_events;
	int64_t clock_ahead_ms;   /* our clock against the server's; to the second */
	/* Devices that hold events which the server lost to a restore: their ids with
	 * ", " between, "" for none. What td-sync syncs there brings them back. */
	const char *lost_devices;
};

/* `ask_server` false: local facts only. */
enum tdsync_rc tdsync_get_status(struct tdsync *t, bool ask_server,
                                 struct tdsync_status *out);

/* An action that the server refused. It stays pending and is shown here; it is
 * not sent again until the folder is linked again (tdsync_link() to the same
 * project), since what it holds will not change. */
struct tdsync_rejection {
	const char *action_id;   /* of td's action log: "al-…" */
	const char *entity_type;
	const char *entity_id;
	const char *action_type; /* in td's words: "board_update" */
	const char *reason;      /* in the server's words */
};

/* Call visit for each of them, in the order of the action log; strings are
 * borrowed for the call. */
enum tdsync_rc tdsync_each_rejection(struct tdsync *t,
                                     void (*visit)(void *ctx, const struct tdsync_rejection *r),
                                     void *ctx);

/* Who wrote something, as the log says. Strings are "" where it doesn't. */
struct tdsync_author {
	int64_t server_seq;           /* the event; 0: not known */
	const char *user_id, *device_id, *session_id;
	const char *client_timestamp; /* when, by the author's clock: RFC 3339 */
	const char *server_timestamp; /* when the server took it */
};

/* A field of which a value was lost. Values are JSON; "null" for none, or for
 * that of a row that is gone. */
struct tdsync_field {
	const char *name;
	const char *kept, *lost;
	int64_t lost_seq;    /* the event that wrote what was lost; 0: not known */
};

/*
 * A conflict: somebody's change took the place of one that its author had not
 * seen. The server decides that, the same for everyone; a pull fetches what is
 * new. Kinds: "field" and "create" (other values stand there now), "delete" and
 * "cascade" (the row was deleted, or taken along), "edit_of_deleted" (the row had
 * been deleted before), "edge" (a dependency that would have closed a cycle);
 * a newer server may have others.
 */
struct tdsync_conflict {
	const char *id;      /* the server's name for it: "42-1" */
	int64_t server_seq;  /* the event it came with */
	const char *kind;
	bool certain;        /* false: the author did not say what it had seen */
	bool restored;       /* what was lost stands there again */
	const char *entity_type, *entity_id;
	const struct tdsync_field *fields;
	size_t n_fields;
	const struct tdsync_author *kept, *lost; /* whose values; NULL: nobody knows */
};

/* Call visit for each conflict that is known here, oldest first; strings are
 * borrowed for the call. Asks nobody. */
enum tdsync_rc tdsync_each_conflict(struct tdsync *t,
                                    void (*visit)(void *ctx, const struct tdsync_conflict *c),
                                    void *ctx);

/*
 * Put back what a conflict took, by an ordinary event of the caller's, which the
 * server makes of the row as it is now; then sync. `out` may be NULL.
 * TDSYNC_NOT_FOUND: there is no such conflict. TDSYNC_REFUSED: there is nothing
 * to put back (any more), or it can't be; the sentence says why.
 */
enum tdsync_rc tdsync_restore(struct tdsync *t, const char *id, struct tdsync_result *out);

/* A field that an event changed. Values are JSON. */
struct tdsync_change {
	const char *name;
	const char *from;    /* NULL: the author did not say */
	const char *to;
};

/* What an event was to an entity. */
struct tdsync_version {
	const char *entity_type, *entity_id;
	const char *action_type; /* "create", "update", "delete", "soft_delete", "restore" */
	struct tdsync_author author;
	/* "applied", "nothing" (the row was not there), "taken" (it went with
	 * another one), "orphaned_parent", "cycle", "quarantined" */
	const char *outcome;
	bool by_server;          /* the server itself wrote it, */
	int64_t cause_seq;       /* because of that event, */
	const char *reason;      /* for such a reason: "cycle"; "" else */
	const struct tdsync_change *changes;
	size_t n_changes;
	const char *const *conflicts; /* that it came with, by their ids */
	size_t n_conflicts;
	const char *restored_conflict; /* it put back what that one took; "": none */
	const char *taken_by_type, *taken_by_id; /* with which it went; "" else */
};

/*
 * What happened to an entity, out of the log: call visit for each event that was
 * about it, oldest first; strings are borrowed for the call. `entity` is
 * "TYPE/ID", or the id alone where one type has it ("td-" are issues).
 * TDSYNC_INVALID: several have it. TDSYNC_NOT_FOUND: none has, or no event is
 * about it. TDSYNC_REFUSED: the server tells no histories (a Go server).
 */
enum tdsync_rc tdsync_each_version(struct tdsync *t, const char *entity,
                                   void (*visit)(void *ctx, const struct tdsync_version *v),
                                   void *ctx);

/* What tdsync_verify() found to be otherwise. */
enum tdsync_finding {
	TDSYNC_STATE_DIFFERS,  /* what the log adds up to here and at the server */
	TDSYNC_ROWS_DIFFER,    /* a row of td's and what the log adds up to, with all
	                        * that is not in it yet on top */
	TDSYNC_NOT_COMPARABLE  /* columns that only one side has: nothing is wrong,
	                        * td or a td-sync is of another version */
};

struct tdsync_difference {
	enum tdsync_finding finding;
	const char *table;
	const char *id;        /* of the row; "" where only the table is known */
	const char *column;    /* the first that differs; "" where a row is missing;
	                        * of TDSYNC_NOT_COMPARABLE all, "a, b" */
	const char *here, *there; /* the values as JSON; NULL: no row there. "Here"
	                        * is td-sync.db; of TDSYNC_ROWS_DIFFER td's table */
};

struct tdsync_verification {
	int64_t server_seq;    /* the event at which both sides were compared */
	int64_t tables, rows;  /* of the state here, compared with the server's */
	int64_t differences;   /* TDSYNC_NOT_COMPARABLE left out */
};

/*
 * Pull, then compare this replica with the server at the same event: what the
 * log adds up to here, by digests of its tables, and td's own rows with that.
 * Call visit for each difference; strings are borrowed for the call. TDSYNC_OK
 * also where there are some: out->differences tells. TDSYNC_REFUSED: the server
 * has no digests (a Go server).
 */
enum tdsync_rc tdsync_verify(struct tdsync *t,
                             void (*visit)(void *ctx, const struct tdsync_difference *d),
                             void *ctx, struct tdsync_verification *out);

/* A login that came to its end. Strings are borrowed until the next call. */
struct tdsync_account {
	const char *user_id, *email;
	const char *expires_at;  /* RFC 3339; "" where the server doesn't say */
};

/*
 * Log this machine in, for td as well: the server mails a link to the address (NULL:
 * that of the last login, out of auth.json), and what it hands out when the person
 * has approved, the key, goes into td's ~/.config/td/auth.json, beside what else that
 * holds. `device` is what the person is told of this machine. mailed() is called once the
 * server has taken it on, with how many seconds there are for it; then the call
 * waits so long at most. `out` may be NULL. TDSYNC_INVALID: no such address, or an
 * auth.json that is none. TDSYNC_REFUSED: nobody approved in time. TDSYNC_LOCAL:
 * auth.json can't be written.
 */
enum tdsync_rc tdsync_login(struct tdsync *t, const char *email, const char *device,
                            void (*mailed)(void *ctx, const char *email, int seconds),
                            void *ctx, struct tdsync_account *out);

/*
 * Revoke the key that auth.json holds, and remove it there, also where the server
 * could not be told: then the outcome says why. TDSYNC_INVALID: the token in use
 * is another one. TDSYNC_UNAUTHORIZED: nobody is logged in.
 */
enum tdsync_rc tdsync_logout(struct tdsync *t);

/* A token, as the server tells of it. Strings are "" where it doesn't. */
struct tdsync_token {
	const char *id;
	const char *secret;      /* of one that was just made: it is told this once */
	const char *user_id, *email; /* whose it is; "" for a share link */
	const char *name;
	const char *scope;       /* "sync:read sync:write" */
	bool all_projects;       /* it is for all projects of the user, */
	const char *const *projects; /* or for those of these ids */
	size_t n_projects;
	const char *created_at, *expires_at, *last_used_at; /* RFC 3339 */
};

/* Call visit with the token in use; with each that the user has. Strings are
 * borrowed for the call. TDSYNC_REFUSED: the server tells no tokens (a Go server). */
enum tdsync_rc tdsync_whoami(struct tdsync *t,
                             void (*visit)(void *ctx, const struct tdsync_token *token),
                             void *ctx);
enum tdsync_rc tdsync_each_token(struct tdsync *t,
                                 void (*visit)(void *ctx, const struct tdsync_token *token),
                                 void *ctx);

/* What a new token is to be; all are the most that the one in use can give. */
struct tdsync_token_wish {
	const char *name;             /* what it is for; not empty */
	const char *const *projects;  /* ids or, where unique, names or slugs */
	size_t n_projects;            /* 0: all of the user's */
	bool read_only;               /* else it may write as well */
	int days;                     /* until it expires; 0: as the server has it */
};

/* Make a token: visit is called with it. Not tried again where no answer comes: it may
 * have been made. Otherwise as above. */
enum tdsync_rc tdsync_create_token(struct tdsync *t, const struct tdsync_token_wish *wish,
                                   void (*visit)(void *ctx, const struct tdsync_token *token),
                                   void *ctx);

/* Revoke a token by its id. TDSYNC_NOT_FOUND: the user has none of that id. */
enum tdsync_rc tdsync_revoke_token(struct tdsync *t, const char *id);

/* An invitation to a project that waits for the user's answer. */
struct tdsync_invitation {
	const char *id, *project_id, *email;
	const char *role;        /* that one would have: "writer" */
	const char *invited_by;  /* a user's id; "": the operator */
	const char *expires_at;  /* RFC 3339 */
};

/* Call visit with each, newest first. Strings are borrowed for the call. */
enum tdsync_rc tdsync_each_invitation(struct tdsync *t,
    void (*visit)(void *ctx, const struct tdsync_invitation *invitation), void *ctx);

/* Accept one, or decline it. TDSYNC_NOT_FOUND: the user has none of that id;
 * TDSYNC_REFUSED: it is over, or was answered before. */
enum tdsync_rc tdsync_answer_invitation(struct tdsync *t, const char *id, bool accept);

/* How bad it is. */
enum tdsync_level {
	TDSYNC_FINE,     /* nothing is: what was looked at */
	TDSYNC_WARNING,  /* it works, or will not for long; or a part doesn't */
	TDSYNC_ERROR     /* that has to be mended first */
};

/* One thing that was looked at. */
struct tdsync_diagnosis {
	enum tdsync_level level;
	const char *check; /* a word for it: "address", "name", "connect", "tls", "health",
	                    * "clock", "cache", "large", "token_arrives", "exposed", "token",
	                    * "database", "lock", "project", "refused", "lost", "events" */
	const char *what;  /* a sentence each; the last two are "" where it is fine */
	const char *why;   /* why it matters */
	const char *todo;  /* what to do */
};

/*
 * Find out why a sync doesn't work: the way to the server step by step, the token, the
 * database here, the project. Changes nothing, there or here, and goes on after what is
 * wrong as far as it can. Call visit with each thing; strings are borrowed for the call,
 * and it must not call the library. TDSYNC_OK whatever was found. Where the handle was
 * opened with a url and no token, the one it found is sent only if it is for that server (by
 * scheme, host and port of what the url would be otherwise), and not over http to another
 * machine.
 */
enum tdsync_rc tdsync_diagnose(struct tdsync *t,
                               void (*visit)(void *ctx, const struct tdsync_diagnosis *d),
                               void *ctx);

/*
 * The same of the server alone, as its operator asks it: no token of anybody's is sent,
 * nothing here is looked at. `hidden` are paths ("/server.db") that its web server must
 * hand out neither below the server's address nor below its host: a file of such a name
 * begins with its name, or is an SQLite database.
 */
enum tdsync_rc tdsync_diagnose_server(struct tdsync *t, const char *const *hidden, size_t n,
                                      void (*visit)(void *ctx,
                                                    const struct tdsync_diagnosis *d),
                                      void *ctx);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

#endif
