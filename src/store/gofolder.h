/*
 * The data folder of a Go td-sync server, read to be moved over: server.db, and an
 * events.db for each project. It is only read: no file is made or changed there, and
 * while a database is open its server can't write to it.
 */
#ifndef TDSYNC_STORE_GOFOLDER_H
#define TDSYNC_STORE_GOFOLDER_H

#include "store/accounts.h"
#include "store/events.h"

/* The newest schema of a Go server that we know. */
#define GO_SCHEMA 6

struct go_folder; /* fields are private to gofolder.c */

/*
 * Open and check its server.db. On RC_OK *out is new: go_close() it. RC_NOT_FOUND: there
 * is none. RC_UNAVAILABLE: it is in use, or can't be read. RC_INVALID: it is not a Go
 * server's, a newer one's, or damaged. err says what to do.
 */
enum rc go_open(const char *dir, struct go_folder **out, struct err *err);

/* NULL is fine. */
void go_close(struct go_folder *g);

/* What server.db holds, in the order it was made. RC_INVALID: a row that can't be taken,
 * or two users with one address; any outcome of `visit` but RC_OK ends the walk with it. */
enum rc go_users(struct go_folder *g, user_visit *visit, void *ctx, struct err *err);
enum rc go_projects(struct go_folder *g, project_visit *visit, void *ctx, struct err *err);
enum rc go_members(struct go_folder *g, const char *project_id, member_visit *visit,
                   void *ctx, struct err *err);
enum rc go_invitations(struct go_folder *g, const char *project_id, invitation_visit *visit,
                       void *ctx, struct err *err);

/* The keys: in t->scope what the Go server calls scopes, "sync", with commas between; in
 * t->expires_at 0 for one that never ends. */
typedef enum rc go_key_visit(void *ctx, const struct token_row *t,
                             const unsigned char key[HASH_LEN]);
enum rc go_keys(struct go_folder *g, go_key_visit *visit, void *ctx, struct err *err);

/*
 * Open and check a project's log, then walk it in order: action is as it is stored (and
 * ev->action not set), ev->time is RFC 3339 where it was a time, ev->user empty: the Go
 * server doesn't know who it was. A project that nobody ever pushed to may have no file.
 * `given`, if not NULL: look at all of the file first, too, and tell the last number that
 * was given there, which may be above the last event's. Outcomes as go_open()'s, and
 * visit's.
 */
typedef enum rc go_event_visit(void *ctx, struct event *ev, struct span action);
enum rc go_events(struct go_folder *g, const char *project_id, int64_t *given,
                  go_event_visit *visit, void *ctx, struct err *err);

/* The folders that hold a log, in no order, whether server.db knows of a project or not. */
typedef enum rc go_folder_visit(void *ctx, const char *project_id);
enum rc go_folders(struct go_folder *g, go_folder_visit *visit, void *ctx, struct err *err);

#endif
