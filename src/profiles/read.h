/*
 * A profile's file: JSON, NAME.json, as td-sync-profile(5) describes it, read
 * whole and judged whole, with the SQL in it (schema.h).
 */
#ifndef TDSYNC_PROFILES_READ_H
#define TDSYNC_PROFILES_READ_H

#include "profiles/profile.h"

/* The largest file of a profile. */
#define PROFILE_FILE_BYTES (256 << 10)

/*
 * Read a profile. On RC_OK *out is new: profile_free() it. RC_NOT_FOUND: there
 * is no such file. RC_INVALID: err names the file, where in it, and the cause.
 * RC_UNAVAILABLE: it can't be read.
 */
enum rc profile_read(const char *path, struct profile **out, struct err *err);

/* Free what profile_read() gave. NULL is fine. */
void profile_free(struct profile *p);

#endif
