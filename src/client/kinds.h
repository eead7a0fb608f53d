/*
 * The kinds of rows that td and the state both have, each in a table of its
 * own, as this database has it: an older td has fewer columns, and other keys.
 * And what a row is to a person: as JSON, and which differences matter.
 */
#ifndef TDSYNC_CLIENT_KINDS_H
#define TDSYNC_CLIENT_KINDS_H

#include "client/local.h"
#include "profiles/profile.h"

/* A column that both sides have. */
struct kind_column {
	char *name;
	int state_cid;    /* its place in the state's table */
	bool is_datetime; /* declared DATETIME: td reads and writes a time */
	bool is_time;     /* holds times, whatever it is declared */
	bool is_session;  /* says in which session, not what */
};

#define KIND_COLUMNS 40
#define KIND_UNIQUES 4
#define KINDS_MAX 16

/* A table; columns sorted by name, as td writes JSON. */
struct kind {
	const struct profile_entity *entity;
	struct kind_column columns[KIND_COLUMNS];
	size_t n;
	size_t id;       /* index of the id among them */
	int state_id_cid;
	/* For each UNIQUE of td's: SELECT the ids of the rows in the way of one
	 * with the values :NAME and another :id. */
	char *uniques[KIND_UNIQUES];
	size_t n_uniques;
	struct buf places; /* condition (" AND ...") on a row m of main: nobody in
	                    * the state has its UNIQUE places; "" for none */
	/* Columns in order; written ones are :c0, :c1, ..., a row is :id. */
	sqlite3_stmt *get_local, *get_state, *update, *insert, *del;
};

/* A child table of td's whose rows go with their parent, by td's schema. */
struct cascade {
	const struct kind *parent;
	const struct kind *child; /* NULL: local to the machine */
	char *find;              /* SELECT the ids of the children of :id */
	char *remove;            /* DELETE them */
};

struct kinds {
	struct local *l;
	struct kind list[KINDS_MAX]; /* in the profile's order: parents first */
	size_t n;
	struct cascade *cascades;
	size_t n_cascades;
};

/* Describe them. On RC_OK *out is new: kinds_free() it before the connection
 * is closed. */
enum rc kinds_new(struct local *l, struct kinds **out, struct err *err);
void kinds_free(struct kinds *t);

/* The table of that name, in any case; NULL when there is none. */
struct kind *kinds_find(struct kinds *t, const char *name);

/* A row: of a statement that stands on it, or a copy; both NULL: no row. */
struct row {
	sqlite3_stmt *st;
	sqlite3_value *const *copy;
};

/* Step a get_* statement; the row is there until db_reset(). */
enum rc kind_get(struct kinds *t, sqlite3_stmt *st, struct span id, bool *there,
                  struct err *err);

/* Whether two rows differ; times are compared as times. */
bool kind_differs(const struct kind *t, struct row a, struct row b);

/*
 * Whether a person might miss the local row if the other took its place.
 * `migrated`: td may have made columns since it was written.
 */
bool kind_misses(const struct kind *t, struct row local, struct row other, bool migrated);

/* Append the row as td would write it in new_data: times as RFC 3339. */
void kind_json(const struct kind *t, struct row row, struct buf *out);

/* The same of the local row, or the state's, of an id. RC_NOT_FOUND: none. */
enum rc kind_local_json(struct kinds *t, const struct kind *table, struct span id,
                         struct buf *out, struct err *err);
enum rc kind_state_json(struct kinds *t, const struct kind *table, struct span id,
                         struct buf *out, struct err *err);

/* Whether local rows of synced tables go with this one, by td's schema. */
enum rc kind_has_children(struct kinds *t, const struct kind *table, struct span id,
                           bool *out, struct err *err);

#endif
