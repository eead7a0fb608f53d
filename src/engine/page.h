/*
 * A pull's page (design.md, "Pages are sealed"): it starts at the first event
 * after the cursor and ends with its block of 1,000 numbers, at the limit, or
 * at a byte limit. Never empty unless nothing follows.
 */
#ifndef TDSYNC_ENGINE_PAGE_H
#define TDSYNC_ENGINE_PAGE_H

#include "profiles/profile.h"
#include "store/events.h"

#define PAGE_BLOCK 1000            /* numbers in a block: 1..1000, 1001..2000 */
#define PAGE_MAX_BYTES (4u << 20)  /* a larger event is a page of its own */
#define PAGE_LIMIT 1000            /* events when the caller asks for nothing */
#define PAGE_MAX_LIMIT 10000

struct page {
	int64_t first;   /* first seq in it; 0 when it is empty */
	int64_t last;    /* last seq in it, or the cursor when it is empty */
	unsigned char digest[EVENT_DIGEST_LEN]; /* of the last event in it */
	size_t count;    /* events in it */
	bool has_more;
	bool sealed;     /* the limit did not cut it, and more events change nothing:
	                  * these bytes are the same for everyone, for ever */
	struct events_head head;
};

/* The first number of the block that a seq lies in. */
int64_t page_block(int64_t seq);

/*
 * Write the page after a cursor as JSON, {"events","last_server_seq",
 * "has_more"} and a newline, to out (appended). RC_CURSOR_AHEAD when the
 * cursor lies beyond the head (page->head is set then).
 */
enum rc page_write(struct events *log, int64_t after, int64_t limit,
                   struct buf *out, struct page *page, struct err *err);

/*
 * Append who sent an event, and when, as members of an object: user_id, device_id,
 * session_id, client_timestamp, server_timestamp.
 */
void page_add_author(struct buf *out, const struct event *ev);

/*
 * Parse one event of a page (a validated JSON object) as a replica reads it,
 * digest included. The event borrows from `text` and from `scratch`, which is
 * reset first: it lives until either changes.
 * RC_INVALID: err says what is missing.
 */
enum rc page_event(struct span text, struct event *out, struct buf *scratch,
                   struct err *err);

#endif
