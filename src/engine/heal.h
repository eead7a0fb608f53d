/*
 * The server heals (design.md): it answers causes (cause.h) by events of its own, in
 * words that every stock client understands. Computed from what the log adds up to
 * at its head, under both locks, in one transaction of some causes: so a crash
 * repeats nothing, and there are no answers to answers.
 *
 *	undone_create	the row, as its author has it; and what hung on it, which came before
 *			it, also where it is made by a client
 *	no_such_column	what its author did: a delete, or the row again; what hangs on it
 *	updated_at	an update that sets it for all
 *	cycle		the edge that closes it goes, for all; the others stay, for all
 *	cascade		the rows again that nobody meant to take
 *	lost_value	a log entry on the issue
 *
 * Where later events have settled it, nothing is said.
 */
#ifndef TDSYNC_ENGINE_HEAL_H
#define TDSYNC_ENGINE_HEAL_H

#include "engine/follow.h"

struct heal_rules {
	bool notes;        /* lost values are told, too */
	int64_t now_us;    /* since 1970 */
};

/*
 * Answer some causes of a log whose profile heals. The first time it only begins:
 * what was there before is left alone. *more: there are others. All waits end at
 * the deadline (clock_mono_ms()); RC_BUSY: the locks were not got, or the log runs
 * ahead of its state: try later.
 */
enum rc heal_run(struct follower *f, struct events *log, const struct heal_rules *rules,
                 int64_t deadline_ms, bool *more, struct err *err);

/* Healing is switched off: what comes from now on is left alone, until it is
 * switched on again. */
enum rc heal_off(struct events *log, int64_t deadline_ms, struct err *err);

#endif
