/*
 * `key = value` files: '#' starts a comment line, blank lines are skipped,
 * white space around key and value is dropped. What the keys are is the
 * caller's table; an unknown key or a bad value is an error that names file
 * and line.
 */
#ifndef TDSYNC_BASE_CONF_H
#define TDSYNC_BASE_CONF_H

#include "base/buf.h"
#include "base/rc.h"

/*
 * Called for each pair. Returns RC_OK, or RC_INVALID with err saying what is
 * wrong with the value ("must be a number from 1 to 64"); "FILE:LINE: key: "
 * is put before it. RC_NOT_FOUND for a key it does not know.
 */
typedef enum rc conf_set(void *ctx, const char *key, const char *value,
                         struct err *err);

/*
 * Read a file. RC_INVALID with err naming file, line and cause at the first
 * mistake; RC_NOT_FOUND when there is no such file; RC_UNAVAILABLE when it
 * can't be read.
 */
enum rc conf_read(const char *path, conf_set *set, void *ctx, struct err *err);

/*
 * Offer every environment variable that starts with the prefix to `set`, the
 * rest of its name in lower case as the key. Errors name the variable.
 */
enum rc conf_read_env(const char *prefix, conf_set *set, void *ctx, struct err *err);

/* Parse helpers for `set`: false when the text is not such a value. */
bool conf_bool(const char *value, bool *out);             /* on, off, yes, no */
bool conf_int(const char *value, int64_t min, int64_t max, int64_t *out);

#endif
