/* What the two files of base_test share. */
#ifndef TDSYNC_TESTS_BASE_TEST_H
#define TDSYNC_TESTS_BASE_TEST_H

#include "base/buf.h"

#include <check.h>

/* A span over a literal that may hold NUL bytes. */
#define LIT(s) ((struct span){ (s), sizeof(s) - 1 })

/* Fail allocations after this many more; negative: none fails. */
extern int allocations_left;

/*
 * The value of an expression that finds memory n times only. Check's own
 * macros need memory themselves: they go around it.
 */
#define STARVED(n, expr) __extension__ ({ \
	allocations_left = (n); \
	__typeof__(expr) starved_ = (expr); \
	allocations_left = -1; \
	starved_; \
})

/* The tests of json.c. */
Suite *json_suite(void);

#endif
