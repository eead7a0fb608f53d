/*
 * A replica: a folder with a td database of some schema version, of somebody
 * in some time zone with a clock of their own. What td does in it is emit.c's
 * business, what the client library does in it is sync.c's.
 */
#ifndef TDSYNC_HARNESS_REPLICA_H
#define TDSYNC_HARNESS_REPLICA_H

#include "rng.h"
#include "sql.h"

#include "base/clock.h"
#include "base/id.h"

#define PATH_LEN 512

/* The wall clock of a run, which no machine's clock moves: microseconds
 * since 1970, advanced by whoever does something. */
struct wall {
	int64_t us;
};

struct replica {
	char name[8];          /* "A" */
	char dir[PATH_LEN];    /* the project folder, which holds .todos/ */
	char db[PATH_LEN + 24]; /* .todos/issues.db */
	int schema;            /* 27, 31 or 38 (or what a copied one has) */
	int32_t zone;          /* seconds east of UTC */
	const char *zone_name; /* "PST" */
	int64_t skew_s;        /* how far its clock is ahead */
	int threshold;         /* of events, for a snapshot; as in tdsync_options */
	char device[ID_MAX];
	char session[16];      /* of td: "ses_0a0dee" */
	struct rng rng;        /* for ids and choices made here */
	struct wall *wall;     /* the run's */
	bool stock;            /* a stock td alone works here, never our client */
	bool one_shot;         /* TD_AUTH_KEY alone: a device id for each command of td */
	bool linked;
	bool kept;             /* a copy of the database lies aside */
};

/*
 * Fill in who it is: a name, a zone by its place in the run (0 is UTC), ids.
 * The folder is `parent`/NAME; nothing is made yet.
 */
void replica_init(struct replica *r, const char *name, int place, const char *parent,
                  struct wall *wall, struct rng rng);

/* Make the folder and an empty td database of a schema version. */
void replica_make(struct replica *r, int schema);

/* Begin anew in the same folder: an empty td database, never linked, and no file
 * of ours. */
void replica_renew(struct replica *r);

/* Make the folder with a copy of an existing td database. */
enum replica_copying {
	COPY_AS_IT_IS,  /* links, cursor and marks included */
	COPY_UNSYNCED,  /* as if it had never been synced: all actions are pending */
	COPY_ROWS_ONLY  /* and its action log emptied: all rows are older than it */
};
void replica_copy(struct replica *r, const char *from, enum replica_copying how);

/* Another device id, as td makes one up that has no auth.json. */
void replica_new_device(struct replica *r);

/* Another session of td begins: somebody else's, or the next day's. */
void replica_new_session(struct replica *r, sqlite3 *db);

/* Copy the database (and what belongs to it) aside and back again, as git does. */
void replica_keep(const struct replica *r, const char *as);
void replica_set_back(const struct replica *r, const char *as);

/* Open the database as td does: foreign keys on from schema 30, no other
 * journal mode than it has. */
sqlite3 *replica_open(const struct replica *r);

/* Take td's lock, .todos/db.lock. False when `wait` is false and somebody has it. */
bool replica_lock(const struct replica *r, bool wait, int *fd);
void replica_unlock(int fd);

/* Now by its own clock, in its zone. */
struct instant replica_now(const struct replica *r);

/* Entries of the action log that wait to be pushed. */
int64_t replica_pending(const struct replica *r);

/* Its schema version as the database says. */
int replica_version(sqlite3 *db);

/* Make an empty database of a schema version at a path (foreign keys on). */
sqlite3 *replica_empty(const char *path, int schema);

#endif
