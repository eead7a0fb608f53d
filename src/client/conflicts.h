/*
 * Conflicts: the server decides them by the log (design.md, "Conflicts are
 * decided by cause, not by clock"). A replica that stands at an event has the
 * records of all up to it, the same on every replica; td is told once of those
 * that are certain, in its sync_conflicts. Of the others nobody knows whether
 * anything was lost, and td has no column to say so: they are only kept here.
 */
#ifndef TDSYNC_CLIENT_CONFLICTS_H
#define TDSYNC_CLIENT_CONFLICTS_H

#include "client/work.h"

/* A record as it is kept. Spans are borrowed for a visit. */
struct conflict {
	struct span id;          /* the server's name for it: "42-1" */
	int64_t seq;             /* the event it came with */
	struct span kind;        /* "field", "delete", ...; others may come */
	bool certain;
	struct span type, entity;
	struct span fields;      /* JSON: [{"field","kept","lost"}] */
	struct span kept, lost;  /* JSON: whose values, or null */
};

/*
 * Fetch the records up to where the state stands, the log's end at the time of
 * a pull. A server that has none (404, 405: the Go server) is fine.
 */
enum tdsync_rc conflicts_run(struct work *w);

typedef enum rc conflicts_visit(void *ctx, const struct conflict *c, struct err *err);

/* Walk the records, oldest first. */
enum rc conflicts_walk(struct local *l, conflicts_visit *visit, void *ctx, struct err *err);

#endif
