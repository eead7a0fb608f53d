/*
 * How long a test waits for what should be quick. The machine may have other
 * things to do, and a sanitizer makes a program several times as slow: so a
 * bound of time lies far above what is usual, and below what it would be if it
 * were wrong. How fast something is, the bench tells.
 */
#ifndef TDSYNC_TESTS_PATIENCE_H
#define TDSYNC_TESTS_PATIENCE_H

#include <stdbool.h>

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED true
#else
#define SANITIZED false
#endif

/* Where else it would be a minute, or never. */
#define SOON_MS 20000

#endif
