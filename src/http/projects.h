/*
 * The open logs of a worker: the 32 used last, each with its prepared
 * statements, checked at each use for having been deleted or replaced. Only
 * the one used last caches pages: 32 times 2 MB would be a heavy worker.
 */
#ifndef TDSYNC_HTTP_PROJECTS_H
#define TDSYNC_HTTP_PROJECTS_H

#include "base/id.h"
#include "profiles/profile.h"
#include "store/devices.h"
#include "store/events.h"

#include <limits.h>

#define PROJECTS_OPEN 32

/* The profile that new projects are made for. */
#define PROJECTS_PROFILE "td"

/* A project's folder and its open log. */
struct project_log {
	char id[ID_MAX];
	char dir[PATH_MAX];
	struct events *log;             /* NULL: this entry is free */
	const struct profile *profile;
	struct devices_known devices;
	uint64_t used;                  /* when, in uses of all */
	uint64_t opened;                /* the number of this opening, of all */
};

struct projects {
	const char *data;               /* borrowed */
	uint64_t uses, openings;
	struct project_log *open;       /* PROJECTS_OPEN of them, or NULL */
	struct project_log *last;       /* of these, the one used last, or NULL */
};

void projects_init(struct projects *p, const char *data);
void projects_close(struct projects *p);

/*
 * The log of a project, opened where it is not. Borrowed until the next call.
 * RC_UNAVAILABLE: err says what an operator must do.
 */
enum rc projects_get(struct projects *p, const char *id, struct project_log **out,
                     struct err *err);

/* Make the folder and the empty log of a new project. */
enum rc projects_create(struct projects *p, const char *id, struct err *err);

/* Take back what projects_create() made, where nothing came of it. */
void projects_discard(struct projects *p, const char *id);

#endif
