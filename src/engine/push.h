/*
 * A push: parsed and judged at the edge, once (protocol.md section 3), then
 * appended to the log in one transaction.
 */
#ifndef TDSYNC_ENGINE_PUSH_H
#define TDSYNC_ENGINE_PUSH_H

#include "engine/follow.h"

/* The most events a push may hold. */
#define PUSH_MAX_EVENTS 1000

/* The longest id of a device, session or entity, in bytes. */
#define PUSH_ID_BYTES 255

/* The server's own device: no client may claim it (protocol.md section 8). */
#define PUSH_SERVER_DEVICE "td-sync"

/* How a push is judged. */
struct push_rules {
	bool lenient;        /* a bad event is rejected alone (Prefer: handling=lenient) */
	bool refuse_unknown; /* an unknown entity type is an error, not parked */
	/* How much the log may hold behind it, the server's own events included; 0:
	 * any. Bytes are those of the log before it and of its payloads. */
	int64_t max_events, max_bytes;
};

struct push; /* fields are private to push.c */

/*
 * Parse a request body. It is borrowed, must live as long as the push, and is
 * changed: the fields that belong to one machine are cut out of it in place,
 * so that a large push needs no memory beside its body. On RC_OK *out is new: push_free() it. RC_INVALID: err names the cause, in
 * the Go server's words where it has some.
 */
enum rc push_parse(struct buf *body, const struct profile *p,
                   struct push_rules rules, struct push **out, struct err *err);

/* NULL is fine. */
void push_free(struct push *p);

/* The device that sends. Borrowed. */
struct span push_device(const struct push *p);

/*
 * The newest timestamp of its events in microseconds since 1970; 0 when no
 * event was taken.
 */
int64_t push_newest_us(const struct push *p);

/*
 * Find what the log has already, though under another number or time: a create
 * whose entity and new_data are those of the last event about it, as td's backfill
 * sends them again where an answer was lost. It becomes a duplicate of that event.
 * Looked up without waiting, where the state is at the log's head and stays there until
 * the push is appended, and nothing earlier in the push touches it; of a push of many,
 * some first, for new rows are never known. What is missed is harmless.
 */
enum rc push_find_known(struct push *p, struct follower *f, struct events *log,
                        struct err *err);

/*
 * Append to the log what was not rejected and write the answer,
 * {"accepted","acks","rejected"}, with a newline. All waits end at the
 * deadline. RC_QUOTA: the log would hold more than it may; a push that adds
 * nothing is answered all the same, for its acks may have been lost. Anything but
 * RC_OK: nothing was written and *answer is reset; else
 * events_log_id() tells which log they went into. *accepted (may be NULL) is the
 * number of new events.
 */
enum rc push_append(struct push *p, struct events *log, struct span user,
                    int64_t now_us, int64_t deadline_ms, struct buf *answer,
                    size_t *accepted, struct err *err);

/*
 * Judge an event that another server has taken, as a push would: its type becomes the
 * canonical one, it is parked or not, and its digest is computed; seq, author, action,
 * time and payload stay. RC_INVALID: it can't be taken, err says why. `scratch` as for
 * event_digest().
 */
enum rc push_adopt(const struct profile *profile, struct event *ev, struct buf *scratch,
                   struct err *err);

#endif
