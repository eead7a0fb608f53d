/* The Range header (RFC 9110, 14.2): which part of a file is wanted. */
#ifndef TDSYNC_HTTP_RANGE_H
#define TDSYNC_HTTP_RANGE_H

#include <stdint.h>

enum range {
	RANGE_ALL,   /* all of it: none is asked for, several are, or what it says
	              * makes no sense */
	RANGE_PART,  /* one part */
	RANGE_NONE   /* a part beyond the end: 416 */
};

/* What the header's value (may be NULL) asks for of so many bytes. *from and *n
 * are the part; with RANGE_ALL all. */
enum range range_of(const char *value, int64_t size, int64_t *from, int64_t *n);

#endif
