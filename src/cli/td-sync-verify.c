/* td-sync verify: this replica beside the server, at the same event. */
#include "cli/td-sync.h"

#include <inttypes.h>
#include <string.h>

#define VALUE_WIDTH 30 /* of each value */
#define SHOWN_MAX 100  /* differences that a person is shown */

struct shown {
	struct cli *c;
	size_t n, more;
};

static const char *const words[] = {
	[TDSYNC_STATE_DIFFERS] = "state_differs",
	[TDSYNC_ROWS_DIFFER] = "rows_differ",
	[TDSYNC_NOT_COMPARABLE] = "not_comparable",
};

static void
show_json(void *ctx, const struct tdsync_difference *d)
{
	struct shown *s = ctx;
	struct buf *b = &s->c->out;

	buf_addf(b, "%s{\"finding\":\"%s\",\"table\":", s->n++ > 0 ? "," : "", words[d->finding]);
	buf_add_json(b, span_of(d->table));
	buf_add_str(b, ",\"id\":");
	buf_add_json(b, span_of(d->id));
	buf_add_str(b, ",\"column\":");
	buf_add_json(b, span_of(d->column));
	buf_addf(b, ",\"here\":%s,\"there\":%s}", d->here == NULL ? "null" : d->here,
	         d->there == NULL ? "null" : d->there);
}

static void
add_value(struct buf *b, const char *json)
{
	if (json == NULL)
		buf_add_str(b, "no row");
	else
		cli_value(b, json, VALUE_WIDTH);
}

static void
show(void *ctx, const struct tdsync_difference *d)
{
	struct shown *s = ctx;
	struct buf *b = &s->c->out;

	if (s->n == SHOWN_MAX) {
		s->more++;
		return;
	}
	s->n++;
	cli_clean(b, d->table);
	if (d->finding == TDSYNC_NOT_COMPARABLE) {
		buf_add_str(b, ": not comparable: columns ");
		cli_clean(b, d->column);
		buf_add_byte(b, '\n');
		return;
	}
	if (d->id[0] != '\0') {
		buf_add_byte(b, '/');
		cli_clean(b, d->id);
	}
	if (d->column[0] != '\0') {
		buf_add_byte(b, ' ');
		cli_clean(b, d->column);
	}
	if (d->id[0] == '\0') {
		buf_add_str(b, ": differs from the server's\n");
		return;
	}
	buf_addf(b, ": %s ", d->finding == TDSYNC_STATE_DIFFERS ? "here" : "in td's table");
	add_value(b, d->here);
	buf_addf(b, ", %s ", d->finding == TDSYNC_STATE_DIFFERS ? "at the server" : "by the log");
	add_value(b, d->there);
	buf_add_byte(b, '\n');
}

int
verify_main(struct cli *c)
{
	struct tdsync_verification v = { 0 };
	struct shown s = { .c = c };
	enum tdsync_rc rc;

	if (c->json) {
		cli_name(c, "differences");
		buf_add_byte(&c->out, '[');
	}
	rc = tdsync_verify(c->t, c->json ? show_json : show, &s, &v);
	if (c->json)
		buf_add_byte(&c->out, ']');
	if (rc != TDSYNC_OK)
		return cli_failed(c, rc);
	if (c->json) {
		cli_number(c, "server_seq", v.server_seq);
		cli_number(c, "tables", v.tables);
		cli_number(c, "rows", v.rows);
	} else if (v.differences == 0) {
		buf_addf(&c->out, "the same as at the server, at event %" PRId64 ": %" PRId64
		         " rows in %" PRId64 " tables\n", v.server_seq, v.rows, v.tables);
	} else if (s.more > 0) {
		buf_addf(&c->out, "and %zu more\n", s.more);
	}
	return v.differences == 0 ? 0 : EXIT_DIFFERS;
}
