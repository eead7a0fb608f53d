/*
 * A log as people write it: the recorded history "large" (6,301 events of td 0.62:
 * issues, logs, comments, positions, dependencies; each row written, changed,
 * deleted and restored as it was), again and again, each time under ids of its
 * own and a year later. So it may be as long as one likes, and what it adds up to grows with it.
 */
#ifndef TDSYNC_BENCH_HISTORY_H
#define TDSYNC_BENCH_HISTORY_H

#include "store/events.h"

/* Event i, from 0 on, complete but for its seq; borrowed until the next call. It
 * aborts where the recording is not there. */
const struct event *history_event(int64_t i);

/* Append the events from `first` on, n of them, to a log, a thousand in a
 * transaction. */
enum rc history_append(struct events *log, int64_t first, int64_t n, struct err *err);

#endif
