/*
 * Plans: random runs of stock devices, and of our client beside them, as scripts
 * (script.h). Each line has its time and its chance with it (`at`), so that one can
 * be left out and the others still do what they did: shrink.h lives on that.
 */
#ifndef TDSYNC_HARNESS_PLAN_H
#define TDSYNC_HARNESS_PLAN_H

#include "base/buf.h"

#include <stdint.h>

/* Append the plan of a seed to out. */
void plan_make(uint64_t seed, struct buf *out);

#endif
