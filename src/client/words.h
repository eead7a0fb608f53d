/*
 * Copies of texts that are handed out for the time of a visit: as C strings,
 * freed together.
 */
#ifndef TDSYNC_CLIENT_WORDS_H
#define TDSYNC_CLIENT_WORDS_H

#include "base/buf.h"
#include "tdsync.h"

/* Zero-initialise, words_free() after. */
struct words {
	char **list;
	size_t n, cap;
	bool failed;     /* no memory: what was handed out is not whole */
};

/* Free all texts; the memory for more is kept. */
void words_clear(struct words *w);
void words_free(struct words *w);

/* A copy of a text; "" when out of memory. */
const char *words_add(struct words *w, struct span text);

/* A string member of an object, decoded; "" where there is none. */
const char *words_string(struct words *w, struct span object, const char *name);

/* A member's value as it is spelt; `otherwise` where there is none. */
const char *words_json(struct words *w, struct span object, const char *name,
                       const char *otherwise);

/* The author that an object tells of. */
void words_author(struct words *w, struct span object, struct tdsync_author *out);

#endif
