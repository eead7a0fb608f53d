/* td-sync history: who changed an entity, when, and what. */
#include "cli/td-sync.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define VALUE_WIDTH 28 /* of each value */

struct shown {
	struct cli *c;
	size_t n;
};

static void
show_json(void *ctx, const struct tdsync_version *v)
{
	struct shown *s = ctx;
	struct buf *b = &s->c->out;

	buf_addf(b, "%s{\"server_seq\":%" PRId64 ",\"action_type\":", s->n++ > 0 ? "," : "",
	         v->server_seq);
	buf_add_json(b, span_of(v->action_type));
	buf_add_str(b, ",\"outcome\":");
	buf_add_json(b, span_of(v->outcome));
	buf_add_str(b, ",\"by\":");
	cli_author(s->c, v->author);
	buf_add_str(b, ",\"changed\":[");
	for (size_t i = 0; i < v->n_changes; i++) {
		buf_add_str(b, i == 0 ? "{\"field\":" : ",{\"field\":");
		buf_add_json(b, span_of(v->changes[i].name));
		buf_addf(b, ",\"from\":%s,\"to\":%s}", v->changes[i].from, v->changes[i].to);
	}
	buf_add_str(b, "]}");
}

static bool
is_nothing(const char *json)
{
	return strcmp(json, "null") == 0 || strcmp(json, "\"\"") == 0;
}

static void
show(void *ctx, const struct tdsync_version *v)
{
	struct shown *s = ctx;
	struct buf *b = &s->c->out;

	s->n++;
	buf_addf(b, "%-6" PRId64 " %-11s ", v->server_seq, v->action_type);
	cli_clean(b, v->author->client_timestamp);
	buf_add_str(b, "  ");
	cli_clean(b, v->author->user_id[0] != '\0' ? v->author->user_id : v->author->device_id);
	if (strcmp(v->outcome, "applied") != 0) {
		buf_add_str(b, "  (");
		cli_clean(b, v->outcome);
		buf_add_byte(b, ')');
	}
	buf_add_byte(b, '\n');
	for (size_t i = 0; i < v->n_changes; i++) {
		if (strcmp(v->changes[i].from, "null") == 0 && is_nothing(v->changes[i].to))
			continue; /* what a create leaves empty */
		buf_add_str(b, "         ");
		cli_clean(b, v->changes[i].name);
		buf_add_str(b, ": ");
		if (strcmp(v->changes[i].from, "null") != 0) {
			cli_value(b, v->changes[i].from, VALUE_WIDTH);
			buf_add_str(b, " -> ");
		}
		cli_value(b, v->changes[i].to, VALUE_WIDTH);
		buf_add_byte(b, '\n');
	}
}

/* The argument is ID or TYPE/ID; a type has no more than letters and '_'. */
int
history_main(struct cli *c)
{
	const char *id = c->args[0], *slash = strchr(id, '/');
	struct shown s = { .c = c };
	char type[65] = "";
	enum tdsync_rc rc;

	if (slash != NULL && slash > id && slash - id < (long)sizeof(type) &&
	    strspn(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_") ==
	    (size_t)(slash - id)) {
		snprintf(type, sizeof(type), "%.*s", (int)(slash - id), id);
		id = slash + 1;
	}
	if (c->json) {
		cli_text(c, "entity_id", id);
		cli_name(c, "versions");
		buf_add_byte(&c->out, '[');
	}
	rc = tdsync_each_version(c->t, type[0] != '\0' ? type : NULL, id,
	                         c->json ? show_json : show, &s);
	if (c->json)
		buf_add_byte(&c->out, ']');
	return cli_failed(c, rc);
}
