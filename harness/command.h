/* What emit.c offers to the commands of command.c. */
#ifndef TDSYNC_HARNESS_COMMAND_H
#define TDSYNC_HARNESS_COMMAND_H

#include "emit.h"

struct emit {
	struct replica *r;
	sqlite3 *db;
	int lock;
	struct instant now;    /* of the command that runs */
	struct buf prev, next; /* JSON of a row before and after */
	struct buf text;       /* scratch */
	char id[ID_MAX];       /* what the command made or changed */
	int entries;
};

/* How a column stands in td's JSON. */
enum field_kind {
	FIELD_TEXT,   /* always there */
	FIELD_OPT,    /* left out when empty */
	FIELD_INT,
	FIELD_BOOL,
	FIELD_TIME,   /* RFC 3339 with its own offset */
	FIELD_SECOND, /* the same without a fraction */
	FIELD_OPTTIME, /* left out when NULL */
	FIELD_LABELS  /* commas in the table, an array in JSON, left out when empty */
};
struct field {
	const char *name; /* NULL ends the list */
	enum field_kind kind;
	int since;        /* schema version that has it; 0: all */
};
extern const struct field issue_fields[], board_fields[], note_fields[],
    review_fields[], comment_fields[], log_fields[], handoff_fields[],
    edge_fields[], file_fields[], position_fields[], unposition_fields[],
    ws_start_fields[], ws_end_fields[], tag_fields[], untag_fields[];

/* What td writes of an entity, and how it writes it again. */
struct kind {
	const char *table;
	const struct field *fields;
	const char *keeps;    /* the column that an update leaves as it is, or NULL */
};
const struct kind *kind_find(const char *table); /* NULL: none */

/* Put the member of a JSON object into out as a row of that field holds it; false
 * where that is NULL. */
bool field_value(struct emit *e, struct span object, const struct field *f,
                 struct buf *out);

/* Write a row as a JSON object says: all of it, or, where it is there and not to be
 * inserted, without what td keeps. */
void write_row(struct emit *e, const struct kind *k, const char *id, struct span object,
               bool insert);

/* Put the JSON of a row into out; false when there is no such row. */
bool row_json(struct emit *e, const char *table, const struct field *fields,
              const char *id, struct buf *out);

/* Write an entry of the action log; NULL for '' in prev or next. */
void entry(struct emit *e, const char *action, const char *type, const char *id,
           const struct buf *prev, const struct buf *next);

/* A few milliseconds pass within a command. */
void tick(struct emit *e);

/* The time of now as a local row holds it; borrowed until the next call. */
const char *local_time(struct emit *e);

/* Set a column of a row; a column this schema lacks is left alone. */
void set(struct emit *e, const char *table, const char *id, const char *column,
         const char *value);

/* A text column of a row, put into e->text; "" when there is none. */
const char *get(struct emit *e, const char *table, const char *id, const char *column);

/* A new random id with that prefix that the table has not. */
void new_id(struct emit *e, const char *table, const char *prefix, size_t digits,
            char out[ID_MAX]);

/* The id that two devices make alike: prefix and 16 hex of SHA-256. */
void digest_id(const char *prefix, const char *a, const char *b, const char *c,
               char out[ID_MAX]);

/* Whether a row is there; whether an issue is there and not deleted. */
bool exists(struct emit *e, const char *table, const char *id);
bool live(struct emit *e, const char *id);

/* The text where it is one of the list (ended by NULL), else one by chance. */
const char *one_of(struct emit *e, const char *const *list, const char *text);

/* Now to the second as RFC 3339; borrowed until the next call. */
const char *second_text(struct emit *e, bool utc);

/* Begin and end a change of an issue: e->prev gets the row before it; then
 * updated_at is set and the entry written. */
void issue_before(struct emit *e, const char *id);
void issue_after(struct emit *e, const char *id, const char *action);

/* Steps that commands and undo share, each with its entry. */
void delete_issue(struct emit *e, const char *id);
void restore_issue(struct emit *e, const char *id);
void add_log(struct emit *e, const char *issue, const char *ws, const char *type,
             const char *message);
void add_edge(struct emit *e, const char *id, const char *issue, const char *on);
void remove_row(struct emit *e, const char *table, const struct field *fields,
                const char *action, const char *type, const char *id);

/* Whether `from` leads to `to` along the edges. */
bool leads(struct emit *e, const char *from, const char *to);

/* Commands of board.c and undo.c. */
bool run_board(struct emit *e, const struct emit_args *a);
bool run_board_edit(struct emit *e, const struct emit_args *a);
bool run_board_delete(struct emit *e, const struct emit_args *a);
bool run_place(struct emit *e, const struct emit_args *a);
bool run_unplace(struct emit *e, const struct emit_args *a);
bool run_ws_start(struct emit *e, const struct emit_args *a);
bool run_ws_tag(struct emit *e, const struct emit_args *a);
bool run_ws_untag(struct emit *e, const struct emit_args *a);
bool run_ws_log(struct emit *e, const struct emit_args *a);
bool run_ws_end(struct emit *e, const struct emit_args *a);
bool run_note(struct emit *e, const struct emit_args *a);
bool run_note_edit(struct emit *e, const struct emit_args *a);
bool run_note_pin(struct emit *e, const struct emit_args *a);
bool run_note_delete(struct emit *e, const struct emit_args *a);
bool run_note_restore(struct emit *e, const struct emit_args *a);
bool run_undo(struct emit *e, const struct emit_args *a);

#endif
