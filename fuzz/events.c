/* Sequences of events for fuzz targets, see events.h. */
#include "fuzz/events.h"

#include "base/json.h"
#include "engine/page.h"

#include <string.h>

void
sequence_free(struct sequence *s)
{
	for (size_t i = 0; i < EVENTS_MAX; i++)
		buf_free(&s->text[i]);
	s->n = 0;
}

static void
read_log(struct span text, struct sequence *s)
{
	struct span value;

	while (s->n < EVENTS_MAX &&
	       json_scan(text, JSON_MAX_DEPTH, &value, &text, NULL) == RC_OK)
		if (json_type(value) == JSON_OBJECT &&
		    page_event(value, &s->ev[s->n], &s->text[s->n], NULL) == RC_OK)
			s->n++;
}

/* Choices are bytes; behind the last one all are 0. */
struct choices {
	const uint8_t *p, *end;
};

static unsigned
choose(struct choices *c, unsigned n)
{
	return c->p < c->end ? *c->p++ % n : 0;
}

static const char *
choose_id(struct choices *c)
{
	static const char *const ids[] = { "a", "b", "c", "d", "bd-all-issues", "B", "x|y",
	                                   "\\u00e9" };

	return ids[choose(c, 8)];
}

static void
add_value(struct choices *c, struct buf *out)
{
	static const char *const values[] = {
		"null", "true", "false", "0", "1", "-1.50", "9007199254740993", "1e400", "\"\"",
		"\"text\"", "\"depends_on\"", "\"2026-01-31T10:00:00Z\"", "\"1\"", "\"\\ud800\"",
		"[]", "[\"a\",\"b,c\",1,null]", "{}", "{\"k\":[1.0,{\"k\":null}]}", "\"a\\u0000b\"",
		"\"\\u0041\"",
	};
	unsigned i = choose(c, 32);

	if (i < sizeof(values) / sizeof(values[0]))
		buf_add_str(out, values[i]);
	else
		buf_addf(out, "\"%s\"", choose_id(c));
}

/* What a column needs so that its row gets in. */
static void
add_needed(struct choices *c, const struct profile_column *col, struct buf *out)
{
	size_t len = strlen(col->name);

	if (len > 3 && strcmp(col->name + len - 3, "_id") == 0)
		buf_addf(out, "\"%s\"", choose_id(c));
	else
		buf_add_str(out, "\"x\"");
}

static void
add_member(struct choices *c, const struct profile_entity *e, struct buf *out)
{
	unsigned n = 0;

	while (e->columns[n].name != NULL)
		n++;
	n = choose(c, n + 1);
	buf_addf(out, "\"%s\":", e->columns[n].name != NULL ? e->columns[n].name : "unknown");
	add_value(c, out);
}

/* A row, maybe wrapped, maybe with all that its table asks for. */
static void
add_row(struct choices *c, const struct profile_entity *e, struct buf *out)
{
	unsigned form = choose(c, 8), n = choose(c, 5);
	const char *comma = "";

	if (form == 7) {
		add_value(c, out);
		return;
	}
	if (form == 6)
		buf_add_str(out, "{\"issue\":");
	buf_add_byte(out, '{');
	for (const struct profile_column *col = e->columns; form < 4 && col->name != NULL; col++) {
		if (strstr(col->decl, "NOT NULL") == NULL || strstr(col->decl, "DEFAULT") != NULL)
			continue;
		buf_addf(out, "%s\"%s\":", comma, col->name);
		add_needed(c, col, out);
		comma = ",";
	}
	for (; n > 0; n--, comma = ",") {
		buf_add_str(out, comma);
		add_member(c, e, out);
	}
	buf_add_str(out, form == 6 ? "},\"other\":1}" : "}");
}

static void
add_payload(struct choices *c, const struct profile_entity *e, struct buf *out)
{
	unsigned form = choose(c, 8);
	size_t n;

	if (form == 7) {
		n = choose(c, 64);
		for (; n > 0 && c->p < c->end; n--)
			buf_add_byte(out, (char)*c->p++);
		return;
	}
	buf_add_str(out, "{\"schema_version\":1,\"new_data\":");
	add_row(c, e, out);
	if (form > 2) {
		buf_add_str(out, ",\"previous_data\":");
		if (form == 3)
			buf_add_str(out, "{}");
		else
			add_row(c, e, out);
	}
	buf_add_byte(out, '}');
}

/* Make an event up; false where its payload is no JSON. */
static bool
make_event(struct choices *c, struct event *ev, struct buf *text)
{
	static const char *const times[] = { "2026-01-31T10:00:00Z", "2026-01-31T10:00:00.5+02:00",
	                                     "2025-12-31T23:59:59Z", "yesterday" };
	const struct profile_entity *e = profile_td.entities;
	unsigned n = 0, type;

	while (e[n].table != NULL)
		n++;
	*ev = (struct event){ .action = (enum action)(1 + choose(c, 5)), .action_id = 1 };
	type = choose(c, n + 1);
	ev->type = span_of(type < n ? e[type].table : "unknown");
	ev->id = span_of(choose_id(c));
	ev->time = span_of(times[choose(c, 16) % 5 % 4]);
	buf_reset(text);
	add_payload(c, &e[type < n ? type : 0], text);
	return json_scan(buf_span(text), JSON_MAX_DEPTH, &ev->payload, NULL, NULL) == RC_OK;
}

static void
make_up(struct choices c, struct sequence *s)
{
	while (s->n < EVENTS_MAX && c.p < c.end)
		if (make_event(&c, &s->ev[s->n], &s->text[s->n]))
			s->n++;
}

void
sequence_read(struct sequence *s, struct span input)
{
	const uint8_t *p = (const uint8_t *)input.p;

	s->n = 0;
	if (input.len > 0 && p[0] == '{')
		read_log(input, s);
	else
		make_up((struct choices){ p, p + input.len }, s);
}
