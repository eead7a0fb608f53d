/*
 * A profile says what an application's entities are: their types, aliases
 * and columns, and the rules by which an event changes a row. It is data,
 * read from a file (read.h); the engine holds the code. td's is compiled in.
 */
#ifndef TDSYNC_PROFILES_PROFILE_H
#define TDSYNC_PROFILES_PROFILE_H

#include "base/buf.h"
#include "base/rc.h"
#include "store/events.h"

#define PROFILE_NAME_MAX 64    /* bytes of a name */
#define PROFILE_COLUMNS_MAX 64 /* of a table */
#define PROFILE_PARENTS_MAX 8  /* keys ON DELETE CASCADE of a table */

/* What stands in a log for no profile at all: any entity type is taken as it
 * is, nothing is applied. */
#define PROFILE_NONE "none"

/* What a profile's file is called behind its name. */
#define PROFILE_SUFFIX ".json"

/* A column of an entity's table in the state's schema. */
struct profile_column {
	const char *name;
	const char *decl;  /* as in CREATE TABLE: "TEXT NOT NULL DEFAULT ''" */
	unsigned flags;    /* PROFILE_* below */
};
#define PROFILE_LOCAL 1u  /* belongs to one machine: never stored or forwarded */
#define PROFILE_CSV 2u    /* an array is stored as comma-separated text */

/* An index of an entity's table. */
struct profile_index {
	const char *name;
	const char *on;    /* columns and condition: "(id) WHERE x IS NULL" */
};

/* Edges among entities that may not form a cycle (protocol.md section 5). */
struct profile_edge {
	const char *from, *to;         /* columns: "issue_id", "depends_on_id" */
	const char *relation, *value;  /* only rows with this value count */
};

struct profile_entity {
	const char *table;                    /* canonical type and table name */
	const char *const *aliases;           /* accepted names, NULL-terminated */
	const struct profile_column *columns; /* ends with a NULL name */
	const char *constraints;              /* table constraints, or NULL */
	const struct profile_index *indexes;  /* ends with a NULL name; or NULL */
	const char *seed;                     /* rows that are there before any event:
	                                       * "(columns) VALUES (...)", or NULL */
	const char *unwrap;                   /* member a row may be wrapped in, or NULL */
	const char *parent;                   /* column that names another row of the
	                                       * table, emptied when that row is
	                                       * deleted; or NULL */
	const struct profile_edge *edge;      /* cycle rule, or NULL */
	bool held_back;                       /* logged and forwarded, but never
	                                       * applied: replicas quarantine it */
};

/* What an application's action type means to the log. */
struct profile_alias {
	const char *type;
	enum action action;
};

/* How a create, or an update that says nothing of before, writes a row. */
enum profile_create {
	PROFILE_REPLACE, /* INSERT OR REPLACE, as td: rows in its way go, and with
	                  * them, and with the row's old self, what cascades */
	PROFILE_UPSERT   /* the row takes the new values, no other is touched */
};

/* Where a person who has only td sees that a value was lost: an entry of a table. */
struct profile_note {
	const char *of;            /* the entities whose losses are told */
	const char *table;         /* the entries' */
	const char *prefix;        /* of their ids; 8 hex digits follow */
	const char *owner, *text, *session, *time; /* columns */
};

struct profile {
	const char *name;                     /* "td" */
	int version;                          /* of rules and schema: another one rebuilds */
	enum profile_create create;
	const struct profile_entity *entities; /* ends with a NULL table; parents first */
	const struct profile_alias *actions;  /* ends with a NULL type */
	bool heals;                           /* its replicas are stock clients, too: the
	                                       * server answers where they would disagree */
	const struct profile_note *note;      /* or NULL */
	const char *const *local;             /* statements, NULL at the end, that make what
	                                       * the application keeps in its database
	                                       * beside the entities; no event fills it */
};

/*
 * The profile of td (protocol.md sections 4 and 5, schema 38), made of
 * conf/profiles/td.json by compile.c when td-sync is built. Static.
 */
extern const struct profile profile_td;

/* The profile of that name that is compiled in, or NULL; installed.h has the
 * others, too. */
const struct profile *profile_find(const char *name);

/* Whether it is a name: 1 to PROFILE_NAME_MAX of a-z, 0-9 and _, a letter first. */
bool profile_is_name(struct span name);

/*
 * The entity that a type names, canonical or alias, in any case; NULL when
 * the profile doesn't know it.
 */
const struct profile_entity *profile_entity(const struct profile *p, struct span type);

/* The column of that name (exact), or NULL. */
const struct profile_column *profile_column(const struct profile_entity *e,
                                            struct span name);

/*
 * What a column holds, by its name and declared type: times, in whichever
 * spelling; or the session in which something was done. Neither says by itself
 * that somebody's work was lost, and times are compared as instants.
 */
bool profile_is_time(const char *name, const char *type);
bool profile_is_session(const char *name);

/*
 * The canonical action of a pushed action_type, in any case; any text has
 * one (protocol.md section 4: what is unknown is an update). The profile may
 * be NULL: then only canonical names are known.
 */
enum action profile_action(const struct profile *p, struct span type);

/*
 * The canonical action of an entry of a local action log, where "delete"
 * means soft_delete (protocol.md section 4).
 */
enum action profile_local_action(const struct profile *p, struct span type);

/*
 * Append the SQL that makes the state's tables and indexes and fills in the
 * seeds, but not those of entities that are held back; `schema` is the database's name within the
 * connection ("main").
 */
void profile_schema(const struct profile *p, const char *schema, struct buf *sql);

/* The same for one entity, held back or not: its table and indexes; its seed. */
void profile_table(const struct profile_entity *e, const char *schema, struct buf *sql);
void profile_seed(const struct profile_entity *e, const char *schema, struct buf *sql);

/*
 * Append the SQL that makes an empty database of the application: the tables of
 * all entities, those that are held back, too, but no seeds; and `local`.
 */
void profile_database(const struct profile *p, struct buf *sql);

#endif
