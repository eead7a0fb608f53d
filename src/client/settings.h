/*
 * How to reach the server: what the caller said, else the environment, else
 * td's own ~/.config/td/auth.json (protocol.md section 1).
 */
#ifndef TDSYNC_CLIENT_SETTINGS_H
#define TDSYNC_CLIENT_SETTINGS_H

#include "base/rc.h"

#include <stdbool.h>

struct settings {
	char *url;       /* "http://…" or "https://…" */
	char *token;     /* NULL: none known. Never in a message. */
	bool token_kept; /* it is auth.json's */
	char *usual_url; /* where the caller said an address and no token: that of all other
	                  * calls, which the token is for. Else NULL. */
	char *device_id; /* NULL: none known */
};

/*
 * From how many events on a new replica begins with a snapshot: what the caller
 * said, else TD_SYNC_SNAPSHOT_THRESHOLD, else td's 100; 0 or less: never.
 */
enum rc settings_threshold(int given, int *out, struct err *err);

/*
 * Fill *out; a NULL argument is looked up. On RC_OK settings_free() it.
 * RC_INVALID: err names what is wrong and where it came from.
 */
enum rc settings_load(const char *url, const char *token, const char *device_id,
                      struct settings *out, struct err *err);

/* Printable ASCII without blanks, and not too much of it: what may stand in a header or
 * a URL. */
bool settings_plain(const char *s);

/* Free what *s holds. */
void settings_free(struct settings *s);

#endif
