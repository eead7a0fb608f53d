#include "trace.h"

#include "sql.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

void
trace_open(struct trace *t, const char *path, const char *run)
{
	snprintf(t->run, sizeof(t->run), "%s", run);
	t->fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (t->fd < 0)
		die("%s: %s", path, strerror(errno));
}

void
trace_close(struct trace *t)
{
	if (t->fd >= 0)
		close(t->fd);
	t->fd = -1;
	buf_free(&t->line);
}

void
trace_time(struct trace *t)
{
	t->zero_us = clock_mono_us();
}

int64_t
trace_now(const struct trace *t)
{
	return t->zero_us == 0 ? 0 : clock_mono_us() - t->zero_us;
}

void
trace_line(struct trace *t, const char *kind, ...)
{
	const char *key, *s;
	int64_t n;
	va_list ap;

	if (t->fd < 0)
		return;
	buf_reset(&t->line);
	buf_addf(&t->line, "{\"t\":\"%s\",\"run\":\"%s\"", kind, t->run);
	if (t->zero_us != 0)
		buf_addf(&t->line, ",\"at\":%lld", (long long)trace_now(t));
	va_start(ap, kind);
	while ((key = va_arg(ap, const char *)) != NULL) {
		if (key[0] == 't') {
			n = va_arg(ap, int64_t);
			if (t->zero_us != 0)
				buf_addf(&t->line, ",\"%s\":%lld", key + 2, (long long)n);
			continue;
		}
		buf_addf(&t->line, ",\"%s\":", key + 2);
		switch (key[0]) {
		case 's':
			s = va_arg(ap, const char *);
			buf_add_json(&t->line, span_of(s ? s : ""));
			break;
		case 'i':
			buf_add_int(&t->line, va_arg(ap, int64_t));
			break;
		case 'b':
			buf_add_json(&t->line, va_arg(ap, struct span));
			break;
		case 'j':
			buf_add_span(&t->line, va_arg(ap, struct span));
			break;
		default:
			die("trace: no type in key %s", key);
		}
	}
	va_end(ap);
	buf_add_str(&t->line, "}\n");
	if (t->line.failed ||
	    write(t->fd, t->line.p, t->line.len) != (ssize_t)t->line.len)
		die("trace: %s", strerror(errno));
}
