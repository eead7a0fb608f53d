/*
 * The conflicts of a run, in one form wherever they come from: what was
 * kept, what was lost, and who wrote it. Each becomes a line of the trace:
 *
 *   kind     what happened: the server's word ("field", "delete", ...), else
 *            "replaced" or "removed", for what a replica found by itself
 *   certain  1: the author of what was kept had not seen what was lost
 *   type, id, seq, time    the entity; the event that was kept; when
 *   where    the replicas that know of it: "A B"
 *   kept, lost             who: {"who":"A","user":"u_..","time":"...","seq":7}
 *   fields   [{"name":"title","kept":"Uno","lost":"Eins","differs":true}, ...]:
 *            those that differ and those that have a value; a side that has
 *            none lacks its member; long values are cut around the difference
 */
#ifndef TDSYNC_HARNESS_CONFLICTS_H
#define TDSYNC_HARNESS_CONFLICTS_H

#include "run.h"

/* Tell the trace of all conflicts of a run that has ended, each once: the
 * server's records, as the replicas have them, and what else they keep in td's
 * sync_conflicts. */
void conflicts_tell(struct run *run);

#endif
