#include "emitter.h"

#include "compare.h"
#include "emit.h"

#include <stdio.h>
#include <string.h>

/*
 * What td's own rows and a replay of its log do not agree in, by td's ways
 * (fixtures/README.md, "What does not hold with stock software"): commands
 * whose event takes children along that its author keeps, and undo, whose
 * create is never sent.
 */
static const char *const left_out[] = { "board-edit", "ws-end", "undo", NULL };

/* Times that only the author has: of a deletion, a position, a link and a handoff
 * to the nanosecond, of a note to the second. */
static const char forget[] =
    "UPDATE issues SET deleted_at = 'then' WHERE deleted_at IS NOT NULL;"
    "UPDATE board_issue_positions SET deleted_at = 'then' WHERE deleted_at IS NOT NULL;"
    "UPDATE board_issue_positions SET added_at = ''; UPDATE issue_files SET linked_at = '';"
    "UPDATE handoffs SET timestamp = '';"
    "UPDATE notes SET deleted_at = 'then' WHERE deleted_at IS NOT NULL;"
    "UPDATE notes SET created_at = '', updated_at = ''";

static bool
wanted(const struct command *c)
{
	int i;

	for (i = 0; left_out[i] != NULL; i++)
		if (strcmp(c->name, left_out[i]) == 0)
			return false;
	return true;
}

static void
emit_some(struct run *run, struct replica *r, int n)
{
	struct emit *e = emit_open(r, true);
	size_t all = 0;
	char id[ID_MAX];

	while (commands[all].name != NULL)
		all++;
	while (n-- > 0) {
		const struct command *c = &commands[rng_below(&run->rng, all)];

		if (wanted(c) && emit_chance(e, c, 10, id))
			trace_line(&run->trace, "edit", "s:replica", r->name, "s:command",
			    c->name, "s:id", id, NULL);
	}
	emit_close(e);
}

/* updated_at of what was ever deleted or restored: the author's own clock
 * goes on, the event's does not say. */
static void
forget_times(sqlite3 *db, sqlite3 *author)
{
	sqlite3_stmt *st;

	sql_run(db, forget, "");
	st = sql_prepare(author, "SELECT DISTINCT entity_id FROM action_log"
	    " WHERE action_type IN ('delete', 'restore') AND entity_type = 'issue'", "");
	while (sql_next(&st))
		sql_run(db, "UPDATE issues SET updated_at = '' WHERE id = ?", "b",
		    sql_col(st, 0));
}

void
emitter_run(struct run *run)
{
	static const int schemas[] = { 38, 31, 27 };
	struct replica *r = run_add(run, schemas[run->seed % 3]), *copy;
	struct difference d;
	struct emit *e;
	sqlite3 *db, *own;

	emit_some(run, r, 400);
	copy = run_add(run, 38);
	e = emit_open(copy, true);
	run->events = emit_log(e, r->db, 0, INT64_MAX);
	emit_close(e);
	own = sql_open(r->db, false);
	db = sql_open(copy->db, false);
	forget_times(db, own);
	forget_times(own, own);
	if (!compare(own, db, &d))
		run_fail(run, "the emitter wrote one thing and logged another: %s %s %s: %s in"
		    " its row, %s by its log", d.table, d.id, d.column, d.left, d.right);
	else if (run->events < 150)
		run_fail(run, "the emitter wrote only %lld entries", (long long)run->events);
	sql_close(own);
	sql_close(db);
}
