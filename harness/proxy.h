/*
 * A damaged connection: a transport whose one request goes, by libcurl over
 * real sockets, through a process that stands before the server and does the
 * damage there.
 */
#ifndef TDSYNC_HARNESS_PROXY_H
#define TDSYNC_HARNESS_PROXY_H

#include "faults.h"

/*
 * To the server at `url` (http://127.0.0.1:PORT); `fault` is one of CUT_REQUEST,
 * CUT_ANSWER, LENGTH, GARBLED and HANG, `chance` says where it strikes. For
 * one request; the caller frees it. Ends the program when it can't be made.
 */
struct transport *proxy_new(const char *url, enum fault fault, uint64_t chance);

#endif
