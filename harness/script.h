/*
 * The language of scenarios: a line is a step, words with blanks between,
 * 'quotes' around a text with blanks. A name ("i1") stands for the id of
 * what the line that first had it made. "X & Y" is X, then Y; a step with a
 * colon takes all that follows. '@' and a number is a text of so many bytes.
 *
 *	A COMMAND ARGS…           a td command on replica A (emit.h's table)
 *	A random N                N commands by chance
 *	A try COMMAND             this command with arguments by chance, where it can be
 *	A walk                    every command there is, once, as far as it can
 *	A push|pull|sync|status   a call of the client library, with, after it:
 *	    FAULT                 one of faults.h ("lost-answer"), of its push
 *	    on pull, on snapshot  ... of its pull, or its fetching a snapshot, instead
 *	    die N                 the process is killed at its N-th step
 *	    meanwhile STEP : …    another line runs at the steps of that name (*: all)
 *	    retries N             the library tries again by itself
 *	    fails                 it must not succeed (faults that are lossy imply that)
 *	    may                   it may fail, for the network's sake; and no fault need strike
 *	    begins, replays       it must begin with a snapshot, or must not
 *	A put-back                what the last conflict took is restored (with the same)
 *	A stock sync|push|pull|auto   a stock td does it (auto: its automatic sync; with
 *	                          the same), and "wedged": it never gets past an event
 *	A td COMMAND ARGS…        a td command between two automatic syncs
 *	A td chance               one by chance, with what may follow a call (for each sync)
 *	A one-shot                from now on its td has another device id each time
 *	A new-session             another session of td begins
 *	A stock unlink            its td is unlinked: the next sync links it anew
 *	A die-everywhere : …      the line, then a sync killed at its 1st step, the
 *	                          line, a sync killed at its 2nd … until none is left
 *	A entries N               its action log has to have so many
 *	A keep NAME, A set-back NAME   the database aside, and back, as git does it
 *	A replay PATH [FROM TO]   live another database's action log again
 *	A sql SQL                 change its database behind td's back
 *	A threshold N             how many events a log must have for a snapshot
 *	A renew                   another td database, empty, in place of its own
 *	A forget-log              empty the action log: its numbers start again
 *	A new-device              another device id (td without auth.json makes one
 *	                          up for every command)
 *	A clock SECONDS           set its clock off by that much
 *	all …                     the same for every replica, in order
 *	crowd N                   N times, all replicas sync at once, in processes
 *	server clock SECONDS      set the server's clock off by that much
 *	server keep-log NAME, server set-back-log NAME   the log aside, and back
 *	server WHAT               something else happens to it (server.h)
 *	quiet                     everybody syncs until there is nothing to do
 *	new SCHEMA, copy PATH, copy-rows PATH    another replica joins
 *	stock SCHEMA              a stock device joins: whatever syncs there is its td
 *	clone A, fork A           another joins with a copy of A's database, as if it
 *	                          had never been synced, or as it is
 *	name NAME ID              call something that is there already by a name
 *	repeat N : …              the line N times
 *	at SECONDS SEED : …       the line, then, from that seed: whatever was before
 *	expect NAME COLUMN VALUE  every replica has that value (NULL, absent)
 *	expect-rows TABLE N       every replica has so many rows (not deleted)
 *	expect-conflicts N        every replica knows of so many that are certain
 *	expect-log N              the log has so many events of clients
 *	expect-server N           and so many of the server's own
 *	skip-unless PATH          the scenario can't run here without that file
 */
#ifndef TDSYNC_HARNESS_SCRIPT_H
#define TDSYNC_HARNESS_SCRIPT_H

#include "run.h"

/* Run all lines (ended by newlines or semicolons). False at the first that
 * fails; the run then says why. */
bool script_run(struct run *run, const char *script);

#endif
