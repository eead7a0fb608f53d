/*
 * The error log and the access log: one JSON object a line, written with
 * one write(2) each, to stderr or to a file opened with O_APPEND. Control
 * characters of what is logged are escaped here, for everyone.
 */
#ifndef TDSYNC_BASE_LOG_H
#define TDSYNC_BASE_LOG_H

#include "base/buf.h"
#include "base/rc.h"

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO };

/*
 * Where the logs go: paths, or NULL for stderr. Called while there are no
 * threads. RC_UNAVAILABLE when a file can't be opened; err names it.
 */
enum rc log_open(const char *error_path, const char *access_path, struct err *err);

/* Open the files again (rotation); a file that can't be opened stays. */
void log_reopen(void);

/*
 * The request id that log_write() adds until the next call; NULL for none.
 * The string is copied (40 bytes at most).
 */
void log_request(const char *request_id);

/* A line of the error log: {"time","level","request_id"?,"pid","message"}. */
void log_write(enum log_level level, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* A line of the access log: the caller's JSON object, without newline. */
void log_access(struct span json_line);

#endif
