/*
 * Outcomes: one enum for the whole of td-sync. SQLite, errno, JSON and curl
 * codes become one of these in the wrapper that met them; which HTTP status
 * an outcome is, is decided in one table (http/reply.c).
 */
#ifndef TDSYNC_BASE_RC_H
#define TDSYNC_BASE_RC_H

enum rc {
	RC_OK = 0,
	RC_INVALID,      /* the caller's fault: malformed, or over a limit */
	RC_TOO_LARGE,    /* a body above its limit */
	RC_SLOW,         /* the request did not arrive in time */
	RC_UNAUTHORIZED, /* no token, or one that is not valid (any more) */
	RC_SCOPE,        /* the token's scope does not cover this */
	RC_QUOTA,        /* as much as is allowed is there already */
	RC_FORBIDDEN,    /* not a member, role too low, other project's token */
	RC_NOT_FOUND,    /* no such thing, or deleted */
	RC_CONFLICT,     /* it is there already, or not in the needed state */
	RC_LAST_OWNER,   /* a project would be left without an owner */
	RC_EXPIRED,      /* it could be had until a moment that has passed */
	RC_DUPLICATE,    /* the event is already in the log, under an earlier seq */
	RC_LOG_CHANGED,  /* the caller's last event is not in this log */
	RC_CURSOR_AHEAD, /* the caller's cursor is beyond the head */
	RC_BUSY,         /* locked past the deadline; safe to retry */
	RC_CROWDED,      /* too many do the same thing now; safe to retry */
	RC_UNAVAILABLE,  /* can't serve now, for a cause that an operator mends */
	RC_FAULT,        /* our fault: memory, a bug */
	RC__MAX
};

/* The name of an outcome for logs and tests, as "RC_BUSY". Static. */
const char *rc_name(enum rc rc);

/*
 * The sentence that goes with an outcome: for a client's mistake it names
 * the cause and is shown to the caller; for a fault it is for the log.
 * Always a NUL-terminated string, cut when too long, never with a newline.
 */
struct err {
	char text[256];
};

/*
 * Say why, printf-like; NULL for err is fine. Returns rc, so that a caller
 * can write `return err_set(err, RC_INVALID, "...");`. Control characters
 * become '?'; a UTF-8 sequence is never cut in two.
 */
enum rc err_set(struct err *err, enum rc rc, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#endif
