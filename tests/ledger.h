/*
 * A ledger for tests that torture a server: which events clients made, and
 * under which number each was acked. What the log and its readers say in the
 * end must agree with it: every ack ever given holds, under its number, once,
 * with the bytes that were pushed; and no number is given twice or left out.
 *
 * An event is known by its index. Its entity id is made of that, and its
 * payload of the id, so the ledger tells from an event alone what it must be.
 * All functions may be called from several threads; what is wrong is said on
 * stderr, once.
 */
#ifndef TDSYNC_TESTS_LEDGER_H
#define TDSYNC_TESTS_LEDGER_H

#include "base/buf.h"

#include <stddef.h>
#include <stdint.h>

struct ledger;

struct ledger *ledger_new(void); /* aborts when out of memory */
void ledger_free(struct ledger *l);

/* Make n events with a device's next numbers; their indices follow the one
 * returned. A device is 0 to 255. */
size_t ledger_make(struct ledger *l, int device, size_t n);

/*
 * Append the body of a push of n events from `first` on. Who sends them is
 * part of the text alone: a retry may name another device or session.
 */
void ledger_write_push(struct ledger *l, size_t first, size_t n, const char *device,
                       const char *session, struct buf *out);

/*
 * Take an answer 200 to that push: each event is acked, or a duplicate, with
 * a number; once it had one, with the same. False: it isn't so.
 */
bool ledger_take_answer(struct ledger *l, size_t first, size_t n, struct span answer);

/* How many events have an ack; how many there are. */
size_t ledger_acked(struct ledger *l);
size_t ledger_made(struct ledger *l);

/* --- followers --- */

/* What one reader was served, from its first page on. */
struct follower {
	int64_t cursor;    /* last number it saw */
	size_t *seen;      /* the event it saw as number i + 1 */
	size_t cap;
};
void follower_free(struct follower *f);

/*
 * Take an answer 200 to a pull from its cursor: the numbers follow each other,
 * and the events are whole. *more (may be NULL): has_more. False: not so.
 */
bool follower_take(struct ledger *l, struct follower *f, struct span page, bool *more);

/* --- the check --- */

/*
 * Whether the log in a folder (which nobody need have open) is sound, without
 * gaps from 1 on, and agrees with every ack and with what these followers saw.
 * An event without an ack may be there once or not at all.
 */
bool ledger_agrees(struct ledger *l, const char *dir, const struct follower *const *f,
                   size_t n_followers);

#endif
