/* td-sync verify */
#include "cli/td-sync.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define SHOWN 40 /* lines for people; JSON has all */

static void
add_json(struct cli *c, const struct tdsync_difference *d)
{
	static const char *const names[] = {
		[TDSYNC_STATE_DIFFERS] = "state_differs",
		[TDSYNC_ROWS_DIFFER] = "rows_differ",
		[TDSYNC_NOT_COMPARABLE] = "not_comparable",
	};

	out_item(c);
	out_text(c, "finding", names[d->finding]);
	out_text(c, "table", d->table);
	if (d->finding == TDSYNC_NOT_COMPARABLE) {
		out_text(c, "columns", d->column);
	} else if (d->id[0] != '\0') {
		out_text(c, "id", d->id);
		out_text(c, "column", d->column);
		/* A row that is there, and no column: both sides have only that. */
		out_name(c, "here");
		buf_add_str(&c->out, d->here == NULL ? "null" : d->here[0] != '\0' ? d->here : "true");
		out_name(c, "there");
		buf_add_str(&c->out, d->there == NULL ? "null" : d->there[0] != '\0' ? d->there
		            : "true");
	}
	out_item_end(c);
}

/* Where the two sides of a finding are. */
static const char *
place(const struct tdsync_difference *d, bool here)
{
	if (d->finding == TDSYNC_ROWS_DIFFER)
		return here ? "in td's table" : "by the log";
	return here ? "here" : "at the server";
}

static void
add_text(struct buf *line, const struct tdsync_difference *d)
{
	if (d->finding == TDSYNC_NOT_COMPARABLE) {
		buf_addf(line, "%s: not comparable: columns %s", d->table, d->column);
	} else if (d->id[0] == '\0') {
		buf_addf(line, "%s: differs, and the server tells no rows of then", d->table);
	} else if (d->column[0] == '\0') {
		buf_addf(line, "%s/%s: only %s", d->table, d->id, place(d, d->here != NULL));
	} else {
		struct buf here = { 0 }, there = { 0 };

		out_value(&here, d->here);
		out_value(&there, d->there);
		buf_addf(line, "%s/%s %s: ", d->table, d->id, d->column);
		if (buf_cstr(&here) != NULL && buf_cstr(&there) != NULL) {
			out_cut(line, here.p, 24);
			buf_addf(line, " %s, ", place(d, true));
			out_cut(line, there.p, 24);
			buf_addf(line, " %s", place(d, false));
		}
		buf_free(&here);
		buf_free(&there);
	}
}

static void
show(void *ctx, const struct tdsync_difference *d)
{
	struct cli *c = ctx;
	struct buf line = { 0 };

	if (c->json) {
		add_json(c, d);
		return;
	}
	if (c->items++ >= SHOWN)
		return;
	add_text(&line, d);
	if (buf_cstr(&line) != NULL)
		out_clean(&c->out, line.p);
	buf_add_byte(&c->out, '\n');
	c->out.failed = c->out.failed || line.failed;
	buf_free(&line);
}

int
cli_verify(struct cli *c)
{
	struct tdsync_verification v;
	enum tdsync_rc rc;
	int code;

	if (c->json)
		out_list(c, "findings");
	rc = tdsync_verify(c->t, show, c, &v);
	if (c->json) {
		out_list_end(c);
		out_number(c, "server_seq", v.server_seq);
		out_number(c, "tables", v.tables);
		out_number(c, "rows", v.rows);
		out_number(c, "differences", v.differences);
	} else if (rc == TDSYNC_OK) {
		if (c->items > SHOWN)
			buf_addf(&c->out, "and %zu more (--json has all)\n", c->items - SHOWN);
		buf_addf(&c->out, "%s at event %" PRId64 ": %" PRId64 " tables, %" PRId64 " rows\n",
		         v.differences == 0 ? "the same as the server" : "not what it should be",
		         v.server_seq, v.tables, v.rows);
	}
	code = out_failed(c, rc);
	if (rc == TDSYNC_OK && v.differences > 0) {
		out_complain("this copy is not what the log adds up to: move .todos/td-sync.db away, "
		             "then `td-sync sync` makes it anew");
		code = EXIT_DIFFERS;
	}
	return code;
}
