/*
 * The dashboard: one HTML page about the runs of an invocation, with all it
 * needs in it. The page is report/page.html with page.css and page.js (which
 * draws everything), and the runs as JSON, each made from its trace:
 *
 *   n, scenario, about, via, seed, outcome, why, events, ms, again, trace
 *   lanes      [["A",38], ...]: the replicas and their schemas
 *   marks      what happened, times in microseconds from the run's beginning;
 *              a lane is the place of a replica in `lanes`, -1 the server:
 *     ["e",lane,at,took,edits,entries,{"create":3}]     edits in a row
 *     ["c",lane,at,took,call,outcome,{"pushed":2},step,error]  a call
 *     ["r",lane,at,took,what,fault,status,outcome,events,sent,got]  a request
 *     ["h",lane,at,what]    something happened to a replica or the server
 *     ["s",at,line]         a line of the script begins
 *   left_out   how many ordinary marks there were besides
 *   conflicts  as conflicts.h has them
 *   healed     what the server itself wrote: {"seq","action","type","id","cause","reason"}
 *   rows       the first row that differs in each replica that differs
 *   noticed    what the check said, though all is well (in the self-test)
 */
#ifndef TDSYNC_HARNESS_REPORT_H
#define TDSYNC_HARNESS_REPORT_H

#include <stdint.h>

/* A run has at most so many ordinary marks; faults, failures, and what happened
 * to the server are never left out. */
#define REPORT_MARKS 2000

struct report; /* what the page will hold */

/* Begin: make the folder where there is none, and read the page's parts; the
 * page will name the command. Ends the program when that fails. Free by
 * report_write(). */
struct report *report_new(const char *dir, int argc, char **argv);

/* A run that ended; strings are copied, "" for none. */
struct report_run {
	int n;               /* its place among all runs */
	const char *scenario, *about, *via, *outcome, *why, *again, *kept;
	uint64_t seed;
	int64_t events, ms;
};

/* Add it, with what its trace says (trace_time() was called in it). */
void report_add(struct report *p, const struct report_run *r, const char *trace);

/* Write DIR/index.html, aside and renamed, say where it is, and free. */
void report_write(struct report *p);

#endif
