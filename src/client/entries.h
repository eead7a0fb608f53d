/*
 * td's action log as events: what a stock client would send of an entry
 * (protocol.md sections 3 and 4), and which entries are not yet in the state.
 */
#ifndef TDSYNC_CLIENT_ENTRIES_H
#define TDSYNC_CLIENT_ENTRIES_H

#include "client/books.h"

/* An entry of td's action_log. The spans are borrowed, see entries_walk(). */
struct entry {
	int64_t rowid;        /* the client_action_id */
	bool first;           /* sent before those without */
	int64_t seq;          /* its place in the server's log; 0: pending */
	struct span id;       /* "al-…": what we remember it by */
	struct span action_type, entity_type, entity_id;
	struct span previous_data, new_data; /* JSON or "" */
	struct span timestamp;
};

/* Which entries to walk, and in which order. */
enum entries_which {
	/* Pending and not refused, as they are sent: rows that are older than
	 * the log first (others hang on them), then by rowid. */
	ENTRIES_TO_SEND,
	/* All that local rows show and the state does not: acked beyond its
	 * cursor, by seq; then everything pending, as it is (or was) sent. */
	ENTRIES_OVERLAY,
	/* Acked by a log that is no more, and not found in the new one. */
	ENTRIES_LOST,
	/* Undone before they were sent. */
	ENTRIES_UNDONE
};

/* Called for each entry, borrowed for the call; *stop ends the walk. */
typedef enum rc entries_visit(void *ctx, const struct entry *a, bool *stop,
                              struct err *err);

/* `b`: the books, for their cursor. */
enum rc entries_walk(struct local *l, const struct books *b, enum entries_which which,
                     entries_visit *visit, void *ctx, struct err *err);

/* Visit the entry of that number and entity if no seq is known for it. */
enum rc entry_find(struct local *l, int64_t rowid, struct span entity_id,
                   entries_visit *visit, void *ctx, struct err *err);

/*
 * The event an entry stands for. It borrows from the entry and from
 * `scratch`, which is reset first.
 *   RC_OK         *out is filled, but for device, session, seq and digest
 *   RC_NOT_FOUND  entries of this type are not synced
 *   RC_INVALID    it can't be an event: err says why
 */
enum rc entry_event(const struct entry *a, struct event *out, struct buf *scratch,
                     struct err *err);

/* Append an event as a member of a push's "events". */
void entry_add_wire(const struct event *ev, struct buf *out);

#endif
