/*
 * The open logs of a worker: the 32 used last, each with its prepared
 * statements, checked at each use for having been deleted or replaced. Only
 * the one used last caches pages: 32 times 2 MB would be a heavy worker.
 */
#ifndef TDSYNC_HTTP_PROJECTS_H
#define TDSYNC_HTTP_PROJECTS_H

#include "base/id.h"
#include "engine/follow.h"
#include "profiles/installed.h"
#include "store/devices.h"
#include "store/events.h"

#include <limits.h>

#define PROJECTS_OPEN 32

/* Of these, how many have their state open: its statements are some 1 MB. */
#define PROJECTS_STATES 8

/* The profile that projects are made for where nobody says which. */
#define PROJECTS_PROFILE "td"

/* A project's folder and its open log. */
struct project_log {
	char id[ID_MAX];
	char dir[PATH_MAX];
	struct events *log;             /* NULL: this entry is free */
	struct follower *follower;      /* of its state; NULL: not open */
	struct devices_known devices;
	int64_t settled;                /* the log up to here is applied and healed,
	                                 * as far as this process knows */
	int unapplied;                  /* pushes after which nobody saw to the state */
	uint64_t used;                  /* when, in uses of all */
	uint64_t opened;                /* the number of this opening, of all */
};

struct projects {
	const char *data;               /* borrowed */
	struct installed profiles;
	uint64_t uses, openings;
	struct project_log *open;       /* PROJECTS_OPEN of them, or NULL */
	struct project_log *last;       /* of these, the one used last, or NULL */
};

/* `profiles` is the folder of the profiles; both must live as long. */
void projects_init(struct projects *p, const char *data, const char *profiles);
void projects_close(struct projects *p);

/*
 * The log of a project, opened where it is not. Borrowed until the next call.
 * RC_UNAVAILABLE: err says what an operator must do.
 */
enum rc projects_get(struct projects *p, const char *id, struct project_log **out,
                     struct err *err);

/*
 * The profile of an open log, for who judges events or applies them; NULL
 * where the log is for none. Borrowed until projects_close(). RC_UNAVAILABLE:
 * it names one that is missing or wrong, err says what an operator must do;
 * what needs no profile goes on.
 */
enum rc projects_profile(struct projects *p, const struct project_log *e,
                         const struct profile **out, struct err *err);

/*
 * What follows the project's log, made where it isn't yet. Borrowed until the
 * next call. RC_NOT_FOUND: the log is for no profile, and adds up to nothing;
 * else as projects_profile().
 */
enum rc projects_follower(struct projects *p, struct project_log *e,
                          struct follower **out, struct err *err);

/* Make the folder and the empty log of a new project. */
enum rc projects_create(struct projects *p, const char *id, const char *profile,
                        struct err *err);

/* Take back what projects_create() made, where nothing came of it. */
void projects_discard(struct projects *p, const char *id);

#endif
