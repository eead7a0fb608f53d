/*
 * What an edit took from somebody else, by our own reckoning: while the log is
 * replayed, each value that a person wrote is noted with its author; an update that
 * writes over one it did not see (its previous_data says another) has to be among
 * the server's conflicts. Only texts and numbers that people write are looked at.
 */
#ifndef TDSYNC_HARNESS_CLOBBER_H
#define TDSYNC_HARNESS_CLOBBER_H

#include "run.h"

#include "store/events.h"

/* Begin in the database that a log is replayed into. Notes are TEMP tables there. */
void clobber_begin(sqlite3 *db);

/* Before and after an event is applied. */
void clobber_before(sqlite3 *db, const struct event *ev);
void clobber_after(sqlite3 *db, const struct event *ev);

/* Whether each of them is in the server's list of conflicts, a JSON array. */
bool clobber_check(struct run *run, sqlite3 *db, struct span list);

#endif
