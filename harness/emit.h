/*
 * The emitter: what td itself would write for a command, the changed rows
 * and the entries of the action log, to the letter as the recordings show
 * it (fixtures/action-logs.md; action_log of replay/.../after): member order,
 * what is left out when empty, forms of ids and times, singular and plural
 * type names. All chance comes from the replica's generator.
 */
#ifndef TDSYNC_HARNESS_EMIT_H
#define TDSYNC_HARNESS_EMIT_H

#include "replica.h"

/*
 * What a command takes and makes, as letters: 'i' a live issue, 'd' a
 * deleted one, 'j' another live issue, 'b' a board, 'n' a live note, 'm' a
 * deleted one, 'w' a work session; '+' it makes something new; then 't' a
 * text and so on: what the text means is the command's business.
 */
struct emit;
struct emit_args {
	const char *id;    /* of the thing it works on; NULL where it makes one */
	const char *other; /* of the second thing */
	const char *text;  /* NULL where it takes none */
};
struct command {
	const char *name;
	const char *takes;
	unsigned weight; /* how often it is picked at random */
	bool (*run)(struct emit *e, const struct emit_args *a);
};

/* The table, ended by a NULL name; and one row of it, NULL when unknown. */
extern const struct command commands[];
const struct command *command_find(const char *name);

/*
 * Begin to work on a replica as one td command (or several) would: lock,
 * open, transaction. NULL when somebody has the lock and `wait` is false.
 */
struct emit *emit_open(struct replica *r, bool wait);

/* Commit and let go. */
void emit_close(struct emit *e);

/*
 * Run one command. False, and nothing is written, where td would refuse it
 * (no such issue, closed already, a cycle). The id of what it made or
 * changed is put into `id`.
 */
bool emit_run(struct emit *e, const struct command *c, const struct emit_args *a,
              char id[ID_MAX]);

/* Run this command with arguments by chance; so many tries. */
bool emit_chance(struct emit *e, const struct command *c, int tries, char id[ID_MAX]);

/* Run a command picked by chance, with arguments that exist here. Returns
 * its row, NULL when nothing that was tried could be done. */
const struct command *emit_random(struct emit *e, char id[ID_MAX]);

/* How many entries of the action log were written since emit_open(). */
int emit_entries(const struct emit *e);

/*
 * Replay: do again in this replica what another td database's action log
 * tells, entry by entry in order, by the rules for events. `from` < rowid <= `to`.
 * Returns how many entries there were.
 */
int emit_log(struct emit *e, const char *path, int64_t from, int64_t to);

/*
 * Do again what one entry tells, writing what td wrote. The statement is at it: id,
 * session_id, action_type, entity_type, entity_id, previous_data, new_data,
 * timestamp, undone.
 */
void emit_entry(struct emit *e, sqlite3_stmt *st);

#endif
