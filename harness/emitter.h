/*
 * The emitter against the applier: what it logs, sent as a client would send
 * it and applied to an empty state, has to give the rows it wrote.
 */
#ifndef TDSYNC_HARNESS_EMITTER_H
#define TDSYNC_HARNESS_EMITTER_H

#include "run.h"

/* Emit by chance in one replica of some schema and compare. */
void emitter_run(struct run *run);

#endif
