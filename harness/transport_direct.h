/*
 * A server without HTTP: a transport that calls straight into the engine, on
 * a real data folder (DIR/projects/{id}/events.db). It serves what a client
 * needs: the projects that have a log, push, pull and status, with the 409s
 * of protocol.md section 8. Tokens are not looked at.
 */
#ifndef TDSYNC_HARNESS_TRANSPORT_DIRECT_H
#define TDSYNC_HARNESS_TRANSPORT_DIRECT_H

#include "client/transport.h"

/* Make the log of a project ("p_" + 16 hex) in a data folder that exists. */
enum rc direct_project(const char *dir, const char *project, struct err *err);

/*
 * A transport to the projects of a data folder; `user` is who pushes. Any
 * number may work on one folder. On RC_OK *out is new: (*out)->free(*out).
 */
enum rc transport_direct(const char *dir, const char *user, struct transport **out,
                         struct err *err);

/* From now on it writes events of its own (engine/heal.h), as the real one does; else
 * it doesn't: a test counts its own. */
void direct_heals(struct transport *t);

#endif
