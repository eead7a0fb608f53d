/*
 * What lies behind tdsync.h: a handle, and the working set of one call on it.
 */
#ifndef TDSYNC_CLIENT_WORK_H
#define TDSYNC_CLIENT_WORK_H

#include "client/books.h"
#include "client/client.h"
#include "client/remote.h"
#include "client/settings.h"
#include "client/words.h"

struct tdsync {
	char *dir;
	struct settings settings;
	struct transport *transport;
	int timeout_s;
	int retries;
	int snapshot_threshold; /* events from which on one begins with a snapshot */
	void (*waiting)(void *ctx, const char *why, int ms);
	void *waiting_ctx;
	bool (*step)(void *ctx, const char *name);
	void *step_ctx;
	int64_t skew_s;      /* added to the clock */
	bool no_pauses;      /* between polls (tests) */
	struct err err;      /* of the last call */
	struct words words;  /* that the last call lent */
	/* What tdsync_status borrows. */
	char project[BOOKS_TEXT], device[BOOKS_TEXT], log_id[2 * LOG_ID_LEN + 1];
	struct buf lost_devices;
};

/* One call at work on an open database. */
struct work {
	struct tdsync *t;
	struct local *l;
	struct books books;      /* as last loaded or saved */
	struct td_state td;      /* likewise */
	struct remote remote;
	const char *device;      /* whose events we push */
	struct tdsync_result *result;
	bool replaced;           /* something else changed the databases since they
	                          * were read: close, open, begin again */
	int64_t undone;          /* unsent entries that td undid, when it began */
	bool send_again;         /* a pull made entries pending */
	void *arg;               /* the call's own */
};

/* How often a call begins where td or others change the file meanwhile; and the
 * pause before the i-th time, from 0 on: let others get it done. */
#define WORK_TRIES 10
void work_let_others(int i);

/*
 * Make a call on the open databases; begun again where td put another file in
 * place or moved its cursor while we were on the network. `out` may be NULL.
 */
enum tdsync_rc work_run(struct tdsync *t, enum tdsync_rc (*call)(struct work *w), void *arg,
                        struct tdsync_result *out);

/*
 * Open the databases and look at how td's side stands against the books;
 * what follows from that is in w->books.target. On TDSYNC_OK work_close() it.
 */
enum tdsync_rc work_open(struct tdsync *t, struct tdsync_result *result, struct work *w);
void work_close(struct work *w);

/* Whether td's state, which was loaded, is linked to a project of a proper id. */
enum tdsync_rc work_check_linked(struct work *w);

/* A fresh look at the databases, in a transaction that work_begin() opens;
 * TDSYNC_FAULT with w->replaced: they are not as this call knows them. */
enum tdsync_rc work_begin(struct work *w);
enum tdsync_rc work_commit(struct work *w);

/* The server as a handle reaches it; nothing of the log is told yet. */
struct remote work_remote(struct tdsync *t);

/* Ask the server which of the caller's projects is meant by an id, a name or a slug. */
enum tdsync_rc work_find_project(struct tdsync *t, const char *project, char out[ID_MAX]);

/* Now, by the handle's clock. */
int64_t work_now_us(const struct work *w);

/* The outcome of a local function that put its sentence into w->t->err. */
enum tdsync_rc work_local(struct work *w, enum rc rc);

/* A named step is reached; anything but TDSYNC_OK: stop here. */
enum tdsync_rc work_step(struct work *w, const char *name);

/* Set what the remote is told of our log from the books. */
void work_tell_log(struct work *w);

/* The path of a project's route ("sync/pull"), or of a sync route ("pull"); *out
 * is reset first. */
enum tdsync_rc work_project_path(struct work *w, const char *route, struct buf *out);
enum tdsync_rc work_path(struct work *w, const char *route, struct buf *out);

/* An answer came from a log of this id: where it is news, own actions that it
 * may lack become pending again. Needs work_begin(). */
enum rc work_log_id(struct work *w, const char *log_id);

/* The server's log is another one: prepare to offer it what this copy has. */
enum tdsync_rc work_rehome(struct work *w, const char *log_id);

/* Push what is pending (send.c). */
enum tdsync_rc send_run(struct work *w);

/* Pull what is new of the log (fetch.c). */
enum tdsync_rc fetch_run(struct work *w);

/* The same, and then what the server made of it (tdsync.c). */
enum tdsync_rc pull_run(struct work *w);

/* Push, then pull, whatever became of the server's log (tdsync.c). */
enum tdsync_rc sync_run(struct work *w);

/* Call with the state as own entries make it, which is taken back afterwards
 * (fetch.c). Needs work_begin(). */
enum rc fetch_with_own(struct work *w, enum rc (*call)(void *ctx, struct err *err),
                       void *ctx, struct err *err);

#endif
