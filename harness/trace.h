/*
 * The trace of a run: JSON lines that a program can read; the dashboard is
 * made of them (report.h). Kinds, in the order in which they come:
 *   run         scenario, transport, seed
 *   replica     name, schema, zone, skew_s, device
 *   edit        replica, command, id, entries: what a person did
 *   happened    who ("A", "server"), what: a clock, a disk, an older database
 *   request     replica, method, path, fault, status, sent, got (bytes)
 *   call        replica, call, outcome, pushed, pulled, ... , steps, error
 *   step        the line of the script that runs
 *   event       one event of the log at the end: seq, device, action_id, ...
 *   state       who, table, rows, digest: of every replica and of the log at
 *               the end; when asked for, of a replica after each of its calls
 *   row         the first row that differs in a replica: table, id, column,
 *               here, log (the values)
 *   difference  what does not hold, in words; the first is why the run failed
 *   conflict    for a dashboard: conflicts.h
 *   end         outcome, events, ms
 * Every line has "t", the kind, and "run", the run's name. For a dashboard it
 * has a time, too, "at", and some have when it began and how many events went
 * ("began", "batch"); without, two traces of one seed can be compared.
 */
#ifndef TDSYNC_HARNESS_TRACE_H
#define TDSYNC_HARNESS_TRACE_H

#include "base/buf.h"

struct trace {
	int fd;           /* -1: none */
	int64_t zero_us;  /* of the times in it; 0: it has none */
	char run[80];
	struct buf line;
};

/* Start a trace at a path, or go on with one that other runs share. */
void trace_open(struct trace *t, const char *path, const char *run);
void trace_close(struct trace *t);

/* From now on its lines have times, in microseconds from here. */
void trace_time(struct trace *t);

/* Now, for a line that is to say when something began; 0 without times. */
int64_t trace_now(const struct trace *t);

/*
 * One line: pairs of a key and a value, ended by NULL. The key says by its
 * first letter what follows: "s:name" const char *, "i:name" int64_t,
 * "t:name" int64_t that only a trace with times has, "b:name" struct span,
 * "j:name" struct span that is JSON already. Written with one write, so that
 * processes can share a trace.
 */
void trace_line(struct trace *t, const char *kind, ...)
	__attribute__((sentinel));

#endif
