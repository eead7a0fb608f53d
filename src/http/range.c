/* The Range header, see range.h. */
#include "http/range.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

/* Read digits; -1: there are none. What is too large for a file stays so. */
static int64_t
number(const char **p)
{
	int64_t n = -1;

	for (; **p >= '0' && **p <= '9'; ++*p)
		n = n > INT64_MAX / 10 - 1 ? n : (n < 0 ? 0 : n * 10) + (**p - '0');
	return n;
}

static void
skip_space(const char **p)
{
	*p += strspn(*p, " \t");
}

enum range
range_of(const char *value, int64_t size, int64_t *from, int64_t *n)
{
	const char *p = value;
	int64_t first, last;

	*from = 0;
	*n = size;
	if (p == NULL || strncasecmp(p, "bytes=", 6) != 0)
		return RANGE_ALL;
	p += 6;
	skip_space(&p);
	first = number(&p);
	if (*p++ != '-')
		return RANGE_ALL;
	last = number(&p);
	skip_space(&p);
	if (*p != '\0' || (first < 0 && last < 0) || (first >= 0 && last >= 0 && last < first))
		return RANGE_ALL;
	if (first < 0 ? last == 0 : first >= size)
		return RANGE_NONE;
	if (first < 0) /* the last so many bytes */
		first = last < size ? size - last : 0;
	else if (last >= 0 && last < size - 1)
		*n = last + 1;
	*from = first;
	*n -= first;
	return RANGE_PART;
}
