/*
 * Causes: events by which stock devices would disagree for good, or a person would
 * never hear of a loss (design.md, "The server heals"). Noted while the log is
 * applied, so they follow from the log alone; heal.h answers them in their order by
 * events of the server's own, each of which names its cause: when one is applied,
 * that cause has ended, and all before it. What the server itself wrote is no cause.
 */
#ifndef TDSYNC_ENGINE_CAUSE_H
#define TDSYNC_ENGINE_CAUSE_H

#include "engine/conflict.h"

/* Why an event wants an answer. The values are stored. */
enum cause_reason {
	CAUSE_UNBORN = 1,    /* about a row that nobody may have created: it was undone
	                      * before it was sent; or a create that came before its parent */
	CAUSE_NO_COLUMN = 2, /* a soft_delete or restore that the table can't take */
	CAUSE_STAMP = 3,     /* a soft_delete: its author has an updated_at of its own */
	CAUSE_CYCLE = 4,     /* an edge that would close a cycle; or did, of more than two */
	CAUSE_CASCADE = 5,   /* REPLACE took rows along */
	CAUSE_NOTE = 6       /* a loss that stock users see nowhere */
};

/* The word for it in payloads: "cycle". Static. */
const char *cause_name(enum cause_reason reason);

/*
 * An event was applied: note what it causes, or that it answers a cause. Also which
 * parents one names that could not be applied: it is looked at again when one of
 * them is made. The profile is one that heals.
 */
enum rc cause_note(struct state *s, struct applier *a, const struct profile *p,
                   const struct deed *d, enum applied what, const struct recorded *r,
                   struct err *err);

/* The members of a payload that name the cause. */
#define CAUSE_SEQ "cause_seq"
#define CAUSE_REASON "reason"

#endif
