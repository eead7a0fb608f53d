/*
 * A stock td as a device: how it syncs, by protocol.md sections 3, 5 and 6, with
 * all that the recordings show (recorded.c has it against them). What its
 * commands write is emit.h's business; both together are the model of a stock
 * device, that a server or the client library meets in a run.
 *
 * Of which td it is, its schema says: v0.62 is 38, v0.45 is 31. Where an event
 * can't be passed its cursor stays for ever, as theirs does: it is wedged.
 */
#ifndef TDSYNC_HARNESS_STOCK_H
#define TDSYNC_HARNESS_STOCK_H

#include "emit.h"
#include "sync.h"

enum stock_how {
	STOCK_SYNC, /* td sync: a snapshot if that is due, push, pull */
	STOCK_PUSH, /* td sync --push */
	STOCK_PULL, /* td sync --pull */
	STOCK_AUTO  /* its automatic sync: push, pull without its own events */
};

/* The way of that name ("sync", "push", "pull", "auto"); false when there is none. */
bool stock_find(const char *name, enum stock_how *how);

/*
 * One sync. Of the plan its faults, its hook and die_at count; the process dies
 * at one of these steps, and what it had not committed is undone:
 *	backfilled, pushed (the answer is there), marked, pushed-all (committed)
 *	fetched (a page), applied, pulled (committed)
 *	snapshot (is there), replaced (the file; the cursor is not yet set), began
 * TDSYNC_NETWORK: a request did not come through, or the server would not. Else
 * see `wedged`.
 */
void stock_call(struct run *run, struct replica *r, enum stock_how how, struct plan *p,
                struct outcome *out);

/* The same with a server that is no run's; all borrowed. */
struct stock_server {
	struct transport *transport;
	const char *project, *token;
};
void stock_call_to(const struct stock_server *server, struct replica *r,
                   enum stock_how how, struct plan *p, struct outcome *out);

/* td sync-project unlink: the next sync links it anew, as if it had never pulled. */
void stock_unlink(struct replica *r);

/*
 * A command of td in a linked project: an automatic sync, the command, and where
 * it changed something another one; whatever becomes of the syncs, which td is
 * silent about (`p` is for each of them; NULL: nothing happens). The command runs
 * with these arguments, or by chance where there are none: `c` too may be NULL
 * then. False when it would refuse, or died.
 */
bool stock_command(struct run *run, struct replica *r, const struct command *c,
                   const struct emit_args *a, struct plan *p, char id[ID_MAX]);

#endif
