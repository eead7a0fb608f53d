/* td-sync conflicts: what was lost when changes met, and how to have it back. */
#include "cli/td-sync.h"

#include <inttypes.h>
#include <string.h>

#define VALUE_WIDTH 30 /* of a value in the list */

/* A list, or one of it, while it is shown. */
struct list {
	struct cli *c;
	const char *id;     /* only this one, whole; NULL: all, a line each */
	bool uncertain;     /* those of which it is not certain */
	size_t shown, hidden;
};

/* --- for programs --- */

static void
add_json(struct cli *c, const struct tdsync_conflict *k)
{
	struct buf *b = &c->out;

	buf_addf(b, "{\"id\":\"%s\",\"server_seq\":%" PRId64 ",\"kind\":", k->id, k->server_seq);
	buf_add_json(b, span_of(k->kind));
	buf_addf(b, ",\"certain\":%s,\"restored\":%s,\"entity_type\":",
	         k->certain ? "true" : "false", k->restored ? "true" : "false");
	buf_add_json(b, span_of(k->entity_type));
	buf_add_str(b, ",\"entity_id\":");
	buf_add_json(b, span_of(k->entity_id));
	buf_add_str(b, ",\"fields\":[");
	for (size_t i = 0; i < k->n_fields; i++) {
		buf_add_str(b, i == 0 ? "{\"field\":" : ",{\"field\":");
		buf_add_json(b, span_of(k->fields[i].name));
		buf_addf(b, ",\"kept\":%s,\"lost\":%s,\"lost_seq\":%" PRId64 "}", k->fields[i].kept,
		         k->fields[i].lost, k->fields[i].lost_seq);
	}
	buf_add_str(b, "],\"kept\":");
	cli_author(c, k->kept);
	buf_add_str(b, ",\"lost\":");
	cli_author(c, k->lost);
	buf_add_byte(b, '}');
}

static void
show_json(void *ctx, const struct tdsync_conflict *k)
{
	struct list *l = ctx;

	if (l->id != NULL && strcmp(l->id, k->id) != 0)
		return;
	if (l->shown++ > 0)
		buf_add_byte(&l->c->out, ',');
	add_json(l->c, k);
}

/* --- for people --- */

/* Append text and blanks up to a column. */
static void
add_column(struct buf *b, const char *text, size_t width)
{
	size_t start = b->len;

	cli_clean(b, text);
	while (b->len - start < width)
		buf_add_byte(b, ' ');
	buf_add_byte(b, ' ');
}

/* A line: its id, what happened to what, and the first field. */
static void
show_line(void *ctx, const struct tdsync_conflict *k)
{
	struct list *l = ctx;
	struct buf *b = &l->c->out;

	if (k->certain == l->uncertain)
		return;
	if (k->restored && !l->c->all) {
		l->hidden++;
		return;
	}
	l->shown++;
	add_column(b, k->id, 8);
	add_column(b, k->kind, 15);
	add_column(b, k->entity_id, 12);
	for (size_t i = 0; i < k->n_fields && i < 1; i++) {
		cli_clean(b, k->fields[i].name);
		buf_add_str(b, ": ");
		cli_value(b, k->fields[i].lost, VALUE_WIDTH);
	}
	if (k->n_fields > 1)
		buf_addf(b, " (and %zu more)", k->n_fields - 1);
	buf_add_str(b, k->restored ? " (restored)\n" : "\n");
}

static void
add_side(struct buf *b, const char *side, const struct tdsync_author *a)
{
	if (a == NULL) {
		buf_addf(b, "%s nobody knows by whom\n", side);
		return;
	}
	buf_addf(b, "%s event %" PRId64 ", by ", side, a->server_seq);
	cli_clean(b, a->user_id[0] != '\0' ? a->user_id : "nobody known");
	buf_add_str(b, " on ");
	cli_clean(b, a->device_id);
	buf_add_str(b, ", ");
	cli_clean(b, a->client_timestamp);
	buf_add_byte(b, '\n');
}

static void
show_whole(void *ctx, const struct tdsync_conflict *k)
{
	struct list *l = ctx;
	struct buf *b = &l->c->out;

	if (strcmp(l->id, k->id) != 0)
		return;
	l->shown++;
	buf_addf(b, "%s  %s of ", k->id, k->kind);
	cli_clean(b, k->entity_type);
	buf_add_byte(b, '/');
	cli_clean(b, k->entity_id);
	buf_addf(b, "%s%s\n\n", k->certain ? "" : "  (not certain: its author did not say what "
	         "it had seen)", k->restored ? "  (restored)" : "");
	add_side(b, "kept:", k->kept);
	add_side(b, "lost:", k->lost);
	for (size_t i = 0; i < k->n_fields; i++) {
		buf_add_byte(b, '\n');
		cli_clean(b, k->fields[i].name);
		buf_add_str(b, "\n  lost  ");
		cli_value(b, k->fields[i].lost, 0);
		buf_add_str(b, "\n  kept  ");
		cli_value(b, k->fields[i].kept, 0);
		buf_add_byte(b, '\n');
	}
	buf_addf(b, "\n`td-sync conflicts restore %s` has it back.\n", k->id);
}

/* --- the command --- */

static int
list_all(struct cli *c)
{
	struct list l = { .c = c };
	enum tdsync_rc rc;

	if (c->json) {
		cli_name(c, "conflicts");
		buf_add_byte(&c->out, '[');
		rc = tdsync_each_conflict(c->t, show_json, &l);
		buf_add_byte(&c->out, ']');
		return cli_failed(c, rc);
	}
	rc = tdsync_each_conflict(c->t, show_line, &l);
	if (rc == TDSYNC_OK) {
		size_t certain = l.shown, at = c->out.len;

		l.uncertain = true;
		rc = tdsync_each_conflict(c->t, show_line, &l);
		if (l.shown > certain) {
			struct buf rest = { 0 };

			buf_add(&rest, c->out.p + at, c->out.len - at);
			c->out.len = at;
			buf_add_str(&c->out, certain > 0 ? "\n" : "");
			buf_add_str(&c->out, "Not certain (their author did not say what it had seen):\n");
			buf_add_span(&c->out, buf_span(&rest));
			buf_free(&rest);
		}
	}
	if (rc == TDSYNC_OK && l.shown == 0)
		buf_add_str(&c->out, "no conflicts\n");
	if (rc == TDSYNC_OK && l.hidden > 0)
		buf_addf(&c->out, "(%zu restored: --all shows them)\n", l.hidden);
	return cli_failed(c, rc);
}

static int
show_one(struct cli *c, const char *id)
{
	struct list l = { .c = c, .id = id };
	enum tdsync_rc rc;

	if (c->json)
		cli_name(c, "conflict");
	rc = tdsync_each_conflict(c->t, c->json ? show_json : show_whole, &l);
	if (l.shown > 0)
		return cli_failed(c, rc);
	if (c->json)
		buf_add_str(&c->out, "null");
	if (rc != TDSYNC_OK)
		return cli_failed(c, rc);
	return cli_usage("no conflict here has the id ", id);
}

int
conflicts_main(struct cli *c)
{
	const char *what = c->args[0], *id = what == NULL ? NULL : c->args[1];
	struct tdsync_result r = { 0 };
	enum tdsync_rc rc;

	if (what == NULL)
		return list_all(c);
	if (id == NULL)
		return cli_usage("which conflict?", "");
	if (strcmp(what, "show") == 0)
		return show_one(c, id);
	if (strcmp(what, "restore") != 0)
		return cli_usage("unknown: conflicts ", what);
	rc = tdsync_restore(c->t, id, &r);
	if (rc == TDSYNC_OK && !c->json)
		buf_addf(&c->out, "restored %s; ", id);
	return cli_work(c, rc, &r);
}
