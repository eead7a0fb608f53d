/*
 * Whether a folder is fit for databases: what its file system promises is tried with
 * two processes, and what SQLite is linked is known (platform.md 4.1, 4.6).
 */
#ifndef TDSYNC_STORE_TRIAL_H
#define TDSYNC_STORE_TRIAL_H

#include "base/rc.h"

#include <stdbool.h>

/*
 * Try in an empty folder: a lock that one process holds keeps another one out, flock(2)
 * and the kind that SQLite uses; what one process commits to a WAL another one reads, and
 * adds to. RC_UNAVAILABLE: err says what doesn't work. What it writes stays there.
 */
enum rc trial_run(const char *dir, struct err *err);

/* The version of SQLite, "3.40.1". Static. Whether it has the WAL-reset bug: 3.7.0 to
 * 3.51.2, but for 3.44.6 and 3.50.7 and what follows them there. */
const char *trial_sqlite(bool *has_bug);

/* The same of any version, by its number: 3051003 is 3.51.3. */
bool trial_has_bug(int version);

#endif
