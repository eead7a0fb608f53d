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
 *   state       who, table, rows, digest: of every replica and of the log at
 *               the end; when asked for, of a replica after each of its calls
 *   row         the first row that differs in a replica: table, id, column,
 *               here, log (the values)
 *   difference  what does not hold, in words; the first is why the run failed
 *   end         outcome, events, ms
 * Every line has "t", the kind, and "run", the run's name.
 */
#ifndef TDSYNC_HARNESS_TRACE_H
#define TDSYNC_HARNESS_TRACE_H

#include "base/buf.h"

struct trace {
	int fd;           /* -1: none */
	char run[80];
	struct buf line;
};

/* Start a trace at a path, or go on with one that other runs share. */
void trace_open(struct trace *t, const char *path, const char *run);
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
