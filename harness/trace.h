/*
 * The trace of a run: JSON lines that a program can read. Kinds, in the
 * order in which they come:
 *   run         scenario, transport, seed
 *   replica     name, schema, zone, skew_s, device
 *   edit        replica, command, id, entries: what a person did
 *   request     replica, method, path, fault, status, sent, got (bytes)
 *   call        replica, call, outcome, pushed, pulled, ... , steps, error
 *   step        the line of the script that runs
 *   event       one event of the log at the end: seq, device, action_id, ...
 *   state       who, table, rows, digest: of every replica and of the log
 *   difference  the first thing that does not hold: what, and where
 *   end         outcome, events, ms
 * Every line has "t", the kind.
 */
#ifndef TDSYNC_HARNESS_TRACE_H
#define TDSYNC_HARNESS_TRACE_H

#include "base/buf.h"

struct trace {
	int fd;           /* -1: none */
	struct buf line;
};

/* Start a trace at a path, or go on with one. */
void trace_open(struct trace *t, const char *path);
void trace_close(struct trace *t);

/*
 * One line: pairs of a key and a value, ended by NULL. The key says by its
 * first letter what follows: "s:name" const char *, "i:name" int64_t,
 * "b:name" struct span. Written with one write, so that processes can share
 * a trace.
 */
void trace_line(struct trace *t, const char *kind, ...)
	__attribute__((sentinel));

#endif
