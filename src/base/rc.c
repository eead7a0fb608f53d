/* Outcomes, see rc.h. */
#include "base/rc.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char *const names[RC__MAX] = {
	[RC_OK] = "RC_OK",
	[RC_INVALID] = "RC_INVALID",
	[RC_TOO_LARGE] = "RC_TOO_LARGE",
	[RC_SLOW] = "RC_SLOW",
	[RC_UNAUTHORIZED] = "RC_UNAUTHORIZED",
	[RC_SCOPE] = "RC_SCOPE",
	[RC_QUOTA] = "RC_QUOTA",
	[RC_FORBIDDEN] = "RC_FORBIDDEN",
	[RC_NOT_FOUND] = "RC_NOT_FOUND",
	[RC_CONFLICT] = "RC_CONFLICT",
	[RC_LAST_OWNER] = "RC_LAST_OWNER",
	[RC_EXPIRED] = "RC_EXPIRED",
	[RC_DUPLICATE] = "RC_DUPLICATE",
	[RC_LOG_CHANGED] = "RC_LOG_CHANGED",
	[RC_CURSOR_AHEAD] = "RC_CURSOR_AHEAD",
	[RC_BUSY] = "RC_BUSY",
	[RC_CROWDED] = "RC_CROWDED",
	[RC_UNAVAILABLE] = "RC_UNAVAILABLE",
	[RC_FAULT] = "RC_FAULT",
};

const char *
rc_name(enum rc rc)
{
	return (unsigned)rc < RC__MAX ? names[rc] : "RC_?";
}

/* Drop the bytes of a UTF-8 sequence that the end of the text cut off. */
static void
drop_cut_sequence(char *s)
{
	size_t n = strlen(s), back = 0;

	while (back < n && back < 3 && ((unsigned char)s[n - 1 - back] & 0xc0) == 0x80)
		back++;
	if (back < n) {
		unsigned char c = (unsigned char)s[n - 1 - back];
		size_t want = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : c >= 0xc0 ? 1 : 0;

		if (back < want)
			s[n - 1 - back] = '\0';
	}
}

enum rc
err_set(struct err *err, enum rc rc, const char *fmt, ...)
{
	va_list ap;
	int n;

	if (err == NULL)
		return rc;
	va_start(ap, fmt);
	n = vsnprintf(err->text, sizeof(err->text), fmt, ap);
	va_end(ap);
	if (n < 0)
		err->text[0] = '\0';
	for (char *p = err->text; *p != '\0'; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = '?';
	if (n >= (int)sizeof(err->text))
		drop_cut_sequence(err->text);
	return rc;
}
