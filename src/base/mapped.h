/*
 * A file of fixed size that all processes of a data folder have in their
 * memory: what one writes others see at once, and it outlives them all, however
 * they end. For figures that may be lost: it is never synced, and made anew where
 * it is not what was expected.
 */
#ifndef TDSYNC_BASE_MAPPED_H
#define TDSYNC_BASE_MAPPED_H

#include "base/rc.h"

#include <stddef.h>
#include <stdint.h>

/* What such a file begins with; the user's part follows, all zero at first. */
struct mapped {
	_Atomic uint64_t layout;  /* what the part is; written last: the file is whole */
	unsigned char random[16]; /* of this file, as long as it lives */
	char reserved[40];        /* the part begins at a cache line */
};

/*
 * Map a file of `size` bytes with all, made (0600) where it is missing or of
 * another size or layout, which is any number but 0. One that is replaced lives
 * on, for those who have it mapped. All its blocks are there: writing to it never
 * fails. On RC_OK *out is new: mapped_close() it. RC_UNAVAILABLE: err says why not.
 */
enum rc mapped_open(const char *path, uint64_t layout, size_t size,
                    struct mapped **out, struct err *err);

/* NULL is fine. */
void mapped_close(struct mapped *m, size_t size);

#endif
