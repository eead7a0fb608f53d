/* td-sync history ENTITY */
#include "cli/td-sync.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define INDENT 4

/* --- JSON --- */

static void
add_json(struct cli *c, const struct tdsync_version *v)
{
	out_item(c);
	out_text(c, "action_type", v->action_type);
	out_author(c, "author", &v->author);
	out_text(c, "outcome", v->outcome);
	out_bool(c, "by_server", v->by_server);
	if (v->reason[0] != '\0') {
		out_number(c, "cause_seq", v->cause_seq);
		out_text(c, "reason", v->reason);
	}
	out_name(c, "changed");
	buf_add_byte(&c->out, '[');
	for (size_t i = 0; i < v->n_changes; i++) {
		buf_add_str(&c->out, i == 0 ? "{\"field\":" : ",{\"field\":");
		buf_add_json(&c->out, span_of(v->changes[i].name));
		if (v->changes[i].from != NULL)
			buf_addf(&c->out, ",\"from\":%s", v->changes[i].from);
		buf_addf(&c->out, ",\"to\":%s}", v->changes[i].to);
	}
	buf_add_byte(&c->out, ']');
	out_name(c, "conflicts");
	buf_add_byte(&c->out, '[');
	for (size_t i = 0; i < v->n_conflicts; i++) {
		if (i > 0)
			buf_add_byte(&c->out, ',');
		buf_add_json(&c->out, span_of(v->conflicts[i]));
	}
	buf_add_byte(&c->out, ']');
	if (v->restored_conflict[0] != '\0')
		out_text(c, "restored_conflict", v->restored_conflict);
	if (v->taken_by_type[0] != '\0') {
		out_text(c, "taken_by_type", v->taken_by_type);
		out_text(c, "taken_by_id", v->taken_by_id);
	}
	out_item_end(c);
}

/* --- text --- */

/* One line of it, cut where it does not fit. */
static void
add_line(struct buf *b, size_t indent, struct buf *text)
{
	if (indent > 0)
		out_pad(b, 0, indent);
	if (buf_cstr(text) != NULL)
		out_cut(b, text->p, OUT_COLUMNS - indent);
	buf_add_byte(b, '\n');
	b->failed = b->failed || text->failed;
	buf_reset(text);
}

/* A field and what became of it: "title: One -> Two". */
static void
add_change(struct buf *b, const struct tdsync_change *change, struct buf *text)
{
	struct buf value = { 0 };

	buf_addf(text, "%s: ", change->name);
	if (change->from != NULL && strcmp(change->from, "null") != 0) {
		/* So much of it that the new value still has its place. */
		out_value(&value, change->from);
		if (buf_cstr(&value) != NULL)
			out_cut(text, value.p, (OUT_COLUMNS - INDENT) / 2 - 4);
		buf_add_str(text, " -> ");
	}
	out_value(text, change->to);
	text->failed = text->failed || value.failed;
	buf_free(&value);
	add_line(b, INDENT, text);
}

static const char *
outcome_text(const char *outcome)
{
	static const char *const texts[][2] = {
		{ "nothing", "it did nothing: the row was not there" },
		{ "orphaned_parent", "it was skipped: what it belongs to is gone" },
		{ "cycle", "it was dropped: it would have closed a cycle" },
		{ "quarantined", "it could not be applied" },
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		if (strcmp(outcome, texts[i][0]) == 0)
			return texts[i][1];
	return NULL;
}

static void
show(void *ctx, const struct tdsync_version *v)
{
	struct cli *c = ctx;
	struct buf *b = &c->out, text = { 0 };

	if (c->json) {
		add_json(c, v);
		return;
	}
	if (c->items++ == 0) {
		buf_addf(&text, "%s/%s", v->entity_type, v->entity_id);
		add_line(b, 0, &text);
	}
	buf_add_byte(b, '\n');
	buf_addf(&text, "%" PRId64 "  %s  %s", v->author.server_seq, v->author.server_timestamp,
	         strcmp(v->outcome, "taken") == 0 ? "gone" : v->action_type);
	add_line(b, 0, &text);
	if (v->by_server && v->reason[0] != '\0')
		buf_addf(&text, "by the server itself, because of event %" PRId64 " (%s)",
		         v->cause_seq, v->reason);
	else if (v->by_server)
		buf_add_str(&text, "by the server itself");
	else
		buf_addf(&text, "by %s on %s", v->author.user_id, v->author.device_id);
	add_line(b, INDENT, &text);
	if (v->taken_by_type[0] != '\0') {
		buf_addf(&text, "it went with %s/%s", v->taken_by_type, v->taken_by_id);
		add_line(b, INDENT, &text);
	}
	if (outcome_text(v->outcome) != NULL) {
		buf_add_str(&text, outcome_text(v->outcome));
		add_line(b, INDENT, &text);
	}
	if (v->restored_conflict[0] != '\0') {
		buf_addf(&text, "it put back what conflict %s had taken", v->restored_conflict);
		add_line(b, INDENT, &text);
	}
	for (size_t i = 0; i < v->n_conflicts; i++) {
		buf_addf(&text, "conflict %s", v->conflicts[i]);
		add_line(b, INDENT, &text);
	}
	for (size_t i = 0; i < v->n_changes; i++)
		add_change(b, &v->changes[i], &text);
	buf_free(&text);
}

int
cli_history(struct cli *c)
{
	enum tdsync_rc rc;

	if (c->json)
		out_list(c, "versions");
	rc = tdsync_each_version(c->t, c->args[0], show, c);
	if (c->json)
		out_list_end(c);
	return out_failed(c, rc);
}
