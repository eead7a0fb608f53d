/* The logs, see log.h. */
#include "base/log.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A log and where it goes; set at start, before threads and forks. */
struct sink {
	char *path; /* NULL: stderr */
	int fd;
};

static struct sink error_log = { NULL, STDERR_FILENO };
static struct sink access_log = { NULL, STDERR_FILENO };
static char request[41];

static int
open_file(const char *path)
{
	return open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
}

/* Point a sink to a path, NULL for stderr; as it was on failure. */
static enum rc
sink_open(struct sink *s, const char *path, struct err *err)
{
	struct sink fresh = { NULL, STDERR_FILENO };

	if (path != NULL) {
		fresh.path = strdup(path);
		if (fresh.path == NULL)
			return err_set(err, RC_FAULT, "out of memory");
		fresh.fd = open_file(path);
		if (fresh.fd < 0) {
			free(fresh.path);
			return err_set(err, RC_UNAVAILABLE, "can't open the log %s: %s",
			               path, strerror(errno));
		}
	}
	if (s->path != NULL)
		close(s->fd);
	free(s->path);
	*s = fresh;
	return RC_OK;
}

enum rc
log_open(const char *error_path, const char *access_path, struct err *err)
{
	enum rc rc = sink_open(&error_log, error_path, err);

	return rc == RC_OK ? sink_open(&access_log, access_path, err) : rc;
}

static void
sink_reopen(struct sink *s)
{
	int fd;

	if (s->path == NULL)
		return;
	fd = open_file(s->path);
	if (fd < 0) {
		log_write(LOG_ERROR, "can't open the log %s again: %s",
		          s->path, strerror(errno));
		return;
	}
	close(s->fd);
	s->fd = fd;
}

void
log_reopen(void)
{
	sink_reopen(&error_log);
	sink_reopen(&access_log);
}

void
log_request(const char *request_id)
{
	snprintf(request, sizeof(request), "%s", request_id == NULL ? "" : request_id);
}

/*
 * Take the control characters out that JSON does not escape but a terminal
 * obeys: DEL, and C1 (U+0080 to U+009F, two bytes). Raw ones below U+0020
 * were escaped before; one that was not would break the line.
 */
static void
disarm(char *p, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)p[i];

		if (c < 0x20 || c == 0x7f)
			p[i] = '?';
		else if (c == 0xc2 && i + 1 < n && (unsigned char)p[i + 1] < 0xa0) {
			p[i++] = '?';
			p[i] = '?';
		}
	}
}

/* Write a line, given without its newline, with one write(2). */
static void
write_line(const struct sink *s, struct buf *line)
{
	ssize_t n;

	disarm(line->p, line->len);
	buf_add_byte(line, '\n');
	do
		n = write(s->fd, line->p, line->len);
	while (n < 0 && errno == EINTR);
}

void
log_write(enum log_level level, const char *fmt, ...)
{
	static const char *const levels[] = { "error", "warn", "info" };
	struct buf text = { 0 }, line = { 0 };
	int saved = errno;
	char when[64];
	int64_t now = clock_now_us();
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n >= 0 && buf_reserve(&text, (size_t)n + 1)) {
		va_start(ap, fmt);
		vsnprintf(text.p, (size_t)n + 1, fmt, ap);
		va_end(ap);
		text.len = (size_t)n;
	}
	time_text(now / 1000000, when);
	when[strlen(when) - 1] = '\0'; /* the "Z" comes after the fraction */
	buf_addf(&line, "{\"time\":\"%s.%06dZ\",\"level\":\"%s\"", when,
	         (int)(now % 1000000), levels[level]);
	if (request[0] != '\0') {
		buf_add_str(&line, ",\"request_id\":");
		buf_add_json(&line, span_of(request));
	}
	buf_addf(&line, ",\"pid\":%ld,\"message\":", (long)getpid());
	buf_add_json(&line, buf_span(&text));
	buf_add_byte(&line, '}');
	/* Out of memory: what is there of the line still says something. */
	if (line.len > 0) {
		if (line.failed || text.failed)
			line.failed = false;
		write_line(&error_log, &line);
	}
	buf_free(&text);
	buf_free(&line);
	errno = saved;
}

void
log_access(struct span json_line)
{
	struct buf line = { 0 };
	int saved = errno;

	buf_add_span(&line, json_line);
	if (line.len > 0)
		write_line(&access_log, &line);
	buf_free(&line);
	errno = saved;
}
