/* The parts of http_test. */
#ifndef TDSYNC_TESTS_HTTP_TEST_H
#define TDSYNC_TESTS_HTTP_TEST_H

#include "site.h"

#include <check.h>

TCase *recordings_case(void); /* http_recordings.c */

/* Whether such a site can run here; if not, "skipped: ..." is said once. */
bool http_can_run(enum site_kind kind);

#endif
