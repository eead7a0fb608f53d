/*
 * The books of a replica: ours (td-sync.db, beside the state's tables) and
 * td's own (sync_state, sync_history, sync_conflicts, sync_skipped_events,
 * action_log), kept as td would, so that both can be used by turns. All SQL
 * is here but that on entities' rows and on conflicts (conflicts.h).
 *
 * Everything in td-sync.db can be made again from the log and issues.db; it
 * may be deleted at any time. Functions that write need local_begin().
 */
#ifndef TDSYNC_CLIENT_BOOKS_H
#define TDSYNC_CLIENT_BOOKS_H

#include "base/id.h"
#include "client/local.h"
#include "store/events.h"

/* Until where the state has to be brought before local rows may be touched:
 * they are compared there, every one, and then follow the log again. */
enum books_target {
	TARGET_NONE = 0,   /* local rows stand where the books say */
	TARGET_CURSOR = 1, /* td's cursor: its rows stand there */
	TARGET_HEAD = 2    /* the end of the log: nobody knows where they stand */
};

#define BOOKS_TEXT 256

/* The row of tdsync.replica. */
struct books {
	char device[BOOKS_TEXT];  /* our id where td's auth.json has none */
	char project[BOOKS_TEXT]; /* the state is this project's; "" for none */
	char log_id[2 * LOG_ID_LEN + 1]; /* "" before the first contact */
	int64_t cursor;           /* the state is the log up to here */
	int64_t last_seq;         /* the last event the state has, 0 for none */
	char last_digest[2 * EVENT_DIGEST_LEN + 1];
	/* How we left td's side; something else now: rows are compared. */
	int64_t td_cursor;
	char td_file[48];         /* device and inode of issues.db */
	int td_schema;
	int64_t td_undone;        /* entries it undid before they were sent */
	enum books_target target;
	bool rehome;              /* the log was changed: offer what it lacks */
	bool other_profile;       /* the state was made by other rules */
	int64_t foreign_rowid;    /* actions up to it may be acked by another log */
	int64_t conflict_seq;     /* conflicts are known up to here */
	int64_t snapshot_seq;     /* the state began as a snapshot of this seq: what
	                           * the log made and removed before, nobody knows.
	                           * 0: it was pulled from the start */
};

/* td's sync_state. */
struct td_state {
	bool linked;
	char project[BOOKS_TEXT];
	int64_t cursor;
	bool disabled;
};

struct entry; /* of td's action log, entries.h */

/*
 * Make or check td-sync.db's tables; an older format becomes ours, and is kept as it was
 * as td-sync.db.formatN; a state of another profile version is dropped, to be pulled
 * again. Needs local_begin(), unless it is in memory. RC_INVALID: written by a newer
 * td-sync.
 */
enum rc books_prepare(struct local *l, struct err *err);

/* Whether td-sync.db has its tables (a file may be empty). */
bool books_ready(struct local *l);

enum rc books_load(struct local *l, struct books *b, struct err *err);
enum rc books_save(struct local *l, const struct books *b, struct err *err);

/* Empty the state, and forget the conflicts: all is pulled again from the start.
 * Foreign keys are switched off and on. */
enum rc books_reset_state(struct local *l, struct books *b, struct err *err);

/* Device and inode of the open issues.db, as books.td_file has it. */
void books_file_id(const struct local *l, char out[48]);

enum rc td_state_load(struct local *l, struct td_state *out, struct err *err);
enum rc td_state_link(struct local *l, const char *project, int64_t cursor, struct err *err);
enum rc td_state_unlink(struct local *l, struct err *err);

/* td's cursor, and when it last synced. */
enum rc td_state_pulled(struct local *l, int64_t cursor, int64_t now_us, struct err *err);
/* The greatest rowid that was pushed. */
enum rc td_state_pushed(struct local *l, int64_t rowid, int64_t now_us, struct err *err);

/* What became of one action: marked in td's log if it is still the same, and
 * remembered by its id. *marked tells whether it was. */
enum rc books_acked(struct local *l, const struct entry *a, int64_t seq,
                    const char *log_id, int64_t now_us, bool *marked, struct err *err);
enum rc books_rejected(struct local *l, const struct entry *a, struct span reason,
                       int64_t now_us, struct err *err);
/* Forget rejections: those actions are sent again. */
enum rc books_forgive(struct local *l, struct err *err);

/*
 * The log is another one but holds our last event: own actions that were
 * acked under a seq after it become pending again. *any: there were some.
 * `foreign`: as in books; a seq of the project before is left as it is.
 */
enum rc books_unack(struct local *l, int64_t after, int64_t foreign, bool *any,
                    struct err *err);

/*
 * The log is another one altogether: no seq means anything any more. Own
 * actions keep their synced_at until it is known whether the new log holds
 * them (ENTRIES_LOST); offers are forgotten. Those of the project before stay
 * what they are: the log of this one never had them.
 */
enum rc books_lose_log(struct local *l, int64_t foreign, struct err *err);

/* SQL: an entry of td's log (by that name) counts, it was not undone; or it was
 * revived, since the log can't do without it. */
#define BOOKS_COUNTS(a) \
	"(" a ".undone = 0 OR EXISTS" \
	" (SELECT 1 FROM " TDSYNC ".revived v WHERE v.action_id = " a ".id))"

/* An undone action that is to be sent all the same. */
enum rc books_revive(struct local *l, const struct entry *a, struct err *err);

/* Make an action pending again. */
enum rc books_resend(struct local *l, const struct entry *a, struct err *err);

/* Forget what belongs to the project of before: acks, offers, rejections, and
 * of which conflicts td was told. */
enum rc books_forget_project(struct local *l, struct err *err);

/* Forget offers that are no longer in td's action log; *any: there were some,
 * so the database was set back or replaced, and rows may lack an offer. */
enum rc books_lost_offers(struct local *l, bool *any, struct err *err);

/* That the log held (or tells of) this row; and whether it did. */
enum rc books_held(struct local *l, const char *type, struct span id, struct err *err);
enum rc books_is_held(struct local *l, const char *type, struct span id, bool *out,
                      struct err *err);

/* A line of td's sync_history. */
enum rc td_history(struct local *l, const char *direction, const struct event *ev,
                   int64_t seq, int64_t now_us, struct err *err);

/* An event that could not be applied, in td's sync_skipped_events (schema 38). */
enum rc td_skipped(struct local *l, const struct event *ev, const char *reason,
                   const char *why, int64_t now_us, struct err *err);

/* A row that the log wins over, kept in td's sync_conflicts. `remote` empty:
 * the log has no such row. */
enum rc td_conflict(struct local *l, const char *type, struct span id, int64_t seq,
                    struct span local_json, struct span remote_json, int64_t now_us,
                    struct err *err);

/* How many pending actions the server refused; and each of them. */
enum rc books_rejections(struct local *l, int64_t *out, struct err *err);
struct tdsync_rejection;
enum rc books_each_rejection(struct local *l,
                             void (*visit)(void *ctx, const struct tdsync_rejection *r),
                             void *ctx, struct err *err);

/* How many entries td undid before anybody sent them. */
enum rc books_undone(struct local *l, int64_t *out, struct err *err);

/* The greatest rowid of an action that some log has acked. */
enum rc books_foreign(struct local *l, int64_t *out, struct err *err);

/* A statement of books.c, for its test: that each compiles. NULL past the end. */
const char *books_query(size_t i);

#endif
