/*
 * Events as td writes them (issues created and updated with what was there
 * before, logs, notes), the same thousand in every run: about 0.8 kB each on
 * the wire. What the server gets as JSON, the plain loop gets as rows.
 */
#ifndef TDSYNC_BENCH_SAMPLE_H
#define TDSYNC_BENCH_SAMPLE_H

#include "store/events.h"

#define SAMPLES 1000

/* The first action id: ten digits, so that a body can be renumbered in place. */
#define SAMPLE_FIRST INT64_C(1000000000)

/* Numbers for one client: no two write the same. */
#define SAMPLE_STRIDE INT64_C(20000000)

/* Event i of SAMPLES, its digest computed; seq, device, session, user and
 * action_id are the caller's. Static, as is what it borrows. */
const struct event *sample_event(size_t i);

/* Where the digits of an event's number are in a body: its action id, and within the
 * id of the entity that it makes. */
struct body_place {
	size_t at, event;
};

/* A push's body that is used again and again, with new numbers: so it is of other
 * entities each time. */
struct body {
	struct buf text;
	struct body_place *places;
	size_t n_places;
	size_t n;         /* events */
};

/* The first n samples as a push of that device. */
void body_make(struct body *b, size_t n, const char *device);
void body_free(struct body *b);

/* Number the events from `first` on. */
void body_number(struct body *b, int64_t first);

#endif
