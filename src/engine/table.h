/*
 * The tables that an applier writes to: what they are really like, which may
 * be another version than the profile's, and the statements kept for them.
 * Only the applier uses this.
 */
#ifndef TDSYNC_ENGINE_TABLE_H
#define TDSYNC_ENGINE_TABLE_H

#include "profiles/profile.h"
#include "store/db.h"

#define TABLE_COLUMNS PROFILE_COLUMNS_MAX /* a set of them is a uint64_t */
#define TABLE_PARENTS PROFILE_PARENTS_MAX /* cascading foreign keys of a table */
#define TABLE_UPDATES 24                  /* UPDATE statements kept for a table */

/* A column that the table really has. */
struct column {
	char *name;
	size_t len;
	sqlite3_value *fallback; /* its default; NULL: none, or the current time */
	bool is_key;             /* "id": set by the event's entity_id alone */
	bool not_null;
	bool now;                /* the default is the current time */
	bool never_null;         /* TEXT DEFAULT '': a NULL becomes '' */
	bool local, csv;         /* PROFILE_LOCAL, PROFILE_CSV */
	bool time;               /* holds times */
	bool datetime;           /* declared DATETIME: td writes RFC 3339 for it */
	bool session;            /* says in which session, not what */
};

/* A foreign key. */
struct parent {
	int column;              /* of the child, an index of table.columns */
	char *table, *key;       /* the parent's */
	sqlite3_stmt *gone, *children;
};

/* An UPDATE that sets a certain set of columns. */
struct update {
	uint64_t set;
	sqlite3_stmt *st;
};

/* The statements of a table; table_need() prepares one when first needed. */
enum table_sql {
	SQL_PUT,       /* all columns, in order, as the profile's creates do */
	SQL_FIND,      /* whether the row ?1 is there */
	SQL_ROW,       /* all columns of the row ?1, in order */
	SQL_DELETE,    /* the row ?1 */
	SQL_ORPHAN,    /* empty the `parent` column of rows whose parent is ?1 */
	SQL_HIDE,      /* deleted_at = ?1 of the row ?2 */
	SQL_SHOW,      /* no deleted_at, updated_at = ?1 of the row ?2 */
	SQL_PATH,      /* whether edges lead from ?1 to ?2 with relation ?3 */
	SQL_CUT,       /* the edge from ?1 to ?2 with relation ?3 */
	SQL_CYCLE,     /* the ids of edges that lead from ?1 to ?2 with relation ?3 */
	SQL_BESIDE,    /* the ids of those that lead from ?1, or to ?2 */
	SQL__MAX
};

struct table {
	const struct profile_entity *entity;
	struct column *columns;
	int n_columns;           /* 0: the schema has no such table */
	struct parent parents[TABLE_PARENTS];
	int n_parents;           /* who take their children along; behind them those who ... */
	int n_bound;             /* ... only have to be there: all in all */
	int deleted_at, updated_at, parent; /* columns, -1: there is none */
	int from, to, relation;             /* of the edge rule, likewise */
	bool finds_to;           /* an index finds edges by where they lead */
	sqlite3_stmt *sql[SQL__MAX];
	struct update updates[TABLE_UPDATES];
	size_t next_update;      /* the one to give up next when all are taken */
};

/* All tables of a profile in one schema of a connection. */
struct tables {
	sqlite3 *db;
	char *schema;
	enum profile_create create;
	struct table *list;
	size_t n;
};

/*
 * Read what the tables are like. Zero-initialise *t; tables_free() it in any
 * case. RC_UNAVAILABLE: a table is of a kind that can't be worked on.
 */
enum rc tables_read(struct tables *t, sqlite3 *db, const char *schema,
                    const struct profile *p, struct err *err);
void tables_free(struct tables *t);

/* The place of a table in the profile: its number in a state. */
int tables_number(const struct tables *t, const struct table *table);

/* The table of a canonical type, or NULL. */
struct table *tables_find(struct tables *t, struct span type);

/*
 * The column of a decoded name, -1 when there is none. `hint` is where the
 * search begins: members mostly come in the order of the columns.
 */
int table_column(const struct table *t, struct span name, int hint);

/* Make sure that t->sql[which] is there. */
enum rc table_need(struct tables *all, struct table *t, enum table_sql which,
                   struct err *err);

/* An UPDATE of a set of columns, in order, then the id. Kept by the table. */
enum rc table_need_update(struct tables *all, struct table *t, uint64_t set,
                          sqlite3_stmt **out, struct err *err);

/* Make sure that p->gone is there: it gives ?1 where that names no row of the
 * parent's table, and nothing where it does or is NULL or ''. */
enum rc table_need_gone(struct tables *all, struct parent *p, struct err *err);

/* Whether the row with that id is there. */
enum rc table_exists(struct tables *all, struct table *t, struct span id, bool *yes,
                     struct err *err);

/* All columns of the row with that id, in order: *out stands on it, db_reset() it; NULL:
 * it is not there. The id has to live as long. */
enum rc table_row(struct tables *all, struct table *t, struct span id, sqlite3_stmt **out,
                  struct err *err);

/* The ids of a table's rows that hang on the parent with that id, in order. The id is
 * borrowed for the call. */
enum rc table_children(struct tables *all, struct table *t, struct parent *p, struct span id,
                       enum rc (*visit)(void *ctx, struct span id, struct err *err),
                       void *ctx, struct err *err);

/* The edges of all paths from `to` to `from`: what an edge from `from` to `to`
 * would make a cycle with. The id is borrowed for the call. */
enum rc table_cycle(struct tables *all, struct table *t, struct span from, struct span to,
                    enum rc (*visit)(void *ctx, struct span id, struct err *err), void *ctx,
                    struct err *err);

/* The edges that lead on from `to`, and those that lead to `from`: among them what is left
 * of such paths when one of their edges is gone. Likewise. */
enum rc table_beside(struct tables *all, struct table *t, struct span from, struct span to,
                     enum rc (*visit)(void *ctx, struct span id, struct err *err), void *ctx,
                     struct err *err);

#endif
