/*
 * The idempotency key is what happened (design.md): 128 bits of SHA-256 over
 * canonical type, id, canonical action, instant and payload as stored,
 * whoever sends it. Where the author gave no number (action_id 0), device
 * and session are part of it.
 */
#ifndef TDSYNC_ENGINE_DIGEST_H
#define TDSYNC_ENGINE_DIGEST_H

#include "store/events.h"

/*
 * Compute ev->digest from its other members; `at` is ev->time parsed.
 * `scratch` is reset and used for pieces of the canonical text. RC_FAULT: no memory.
 */
enum rc event_digest(struct event *ev, struct instant at, struct buf *scratch);

/*
 * The digest of what stands in an imported log a second time (its first server took a
 * retry for another event): of ev->digest, as event_digest() left it, and ev->seq. A
 * further retry is one of the first. RC_FAULT: no memory.
 */
enum rc event_digest_twin(struct event *ev);

#endif
