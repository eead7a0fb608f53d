/* What may happen to a file. */
#ifndef TDSYNC_TESTS_HARM_H
#define TDSYNC_TESTS_HARM_H

#include "base/buf.h"

/* Write a file, whole. */
void harm_put(const char *path, struct span text);

/* Each does its harm to the file at a path, whose content is in b. */
struct harm {
	const char *what;
	void (*harm)(const char *path, struct buf *b);
};

#define HARMS 10
extern const struct harm harms[HARMS];

#endif
