/*
 * What the fuzz targets share. A target is one file, fuzz/NAME.c, with
 * libFuzzer's entry point; `make fuzz` runs it with clang's libFuzzer, and
 * `make check` replays its seeds and fuzz/corpus/NAME (fuzz/replay.c).
 */
#ifndef TDSYNC_FUZZ_H
#define TDSYNC_FUZZ_H

#include "base/buf.h"

#include <stdio.h>
#include <stdlib.h>

/* Try one input. What a target finds is an abort; it returns 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Abort unless this holds; what follows says what it means, printf-like. */
#define FUZZ_CHECK(ok, ...) do { \
	if (!(ok)) { \
		fprintf(stderr, "%s:%d: %s: ", __FILE__, __LINE__, #ok); \
		fprintf(stderr, __VA_ARGS__); \
		fputc('\n', stderr); \
		abort(); \
	} \
} while (0)

/* For "%.*s". */
#define FUZZ_SPAN(s) (int)(s).len, (s).p != NULL ? (s).p : ""

/* A copy without room behind it, so that ASan sees one byte too far. */
static inline struct span
fuzz_copy(const uint8_t *data, size_t size)
{
	char *p = malloc(size > 0 ? size : 1);

	if (p == NULL)
		exit(1);
	for (size_t i = 0; i < size; i++)
		p[i] = (char)data[i];
	return (struct span){ p, size };
}

/* Numbers that depend on the input alone: a seed, then one after the other. */
static inline uint32_t
fuzz_seed(const uint8_t *data, size_t size)
{
	uint32_t h = 2166136261u;

	for (size_t i = 0; i < size; i++)
		h = (h ^ data[i]) * 16777619u;
	return h | 1;
}

static inline uint32_t
fuzz_next(uint32_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 17;
	*state ^= *state << 5;
	return *state;
}

#endif
