/*
 * td's ~/.config/td/auth.json (protocol.md section 1): who is logged in on this
 * machine, for td and for us. Whoever writes it keeps what it does not know.
 */
#ifndef TDSYNC_CLIENT_AUTHFILE_H
#define TDSYNC_CLIENT_AUTHFILE_H

#include "base/buf.h"
#include "base/rc.h"

#define AUTHFILE "~/.config/td/auth.json" /* for messages */

/*
 * Read it: *object is the JSON object in *text (reset first), empty where there is no
 * file, or no HOME to find it by. RC_INVALID: it is no JSON object, RC_TOO_LARGE,
 * RC_UNAVAILABLE: it can't be read; err says what to do.
 */
enum rc authfile_read(struct buf *text, struct span *object, struct err *err);

/* A string member to be set; value NULL: to be removed. */
struct authfile_member {
	const char *name, *value;
};

/*
 * Set members, and leave all others as they are spelt: whole and durably, for its owner
 * only (0600; the folders are made where they are not there). Other outcomes as
 * authfile_read(); RC_INVALID also where there is no HOME.
 */
enum rc authfile_write(const struct authfile_member *members, size_t n, struct err *err);

/* Whether authfile_write() can work, before anything is done for it. */
enum rc authfile_check(struct err *err);

#endif
