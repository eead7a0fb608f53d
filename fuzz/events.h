/*
 * Sequences of events for fuzz targets. An input that begins with '{' is a log
 * as it is recorded, a JSON object each; any other is a list of choices from
 * which events are made up: of few ids, so that they meet, with columns that
 * the tables have, and now and then a payload of raw bytes.
 */
#ifndef TDSYNC_FUZZ_EVENTS_H
#define TDSYNC_FUZZ_EVENTS_H

#include "profiles/profile.h"

#define EVENTS_MAX 64

struct sequence {
	struct event ev[EVENTS_MAX];
	struct buf text[EVENTS_MAX]; /* what each event's spans are in */
	size_t n;
};

/* Read or make up the events of an input, whose bytes they borrow. Zero-initialise;
 * sequence_free() it. */
void sequence_read(struct sequence *s, struct span input);
void sequence_free(struct sequence *s);

#endif
