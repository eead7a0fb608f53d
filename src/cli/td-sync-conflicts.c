/* td-sync conflicts [show ID | restore ID] */
#include "cli/td-sync.h"

#include "base/json.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Columns of the list; a long name moves what comes after it. */
enum { AT_KIND = 9, AT_ENTITY = 25, AT_LOST = 48 };

/* The longest name, which one types to `show`: a restored log's seq has 16 digits. */
#define ID_COLUMNS 24

/* Two versions side by side, each with a margin before it. */
#define MARGIN 2
#define HALF ((OUT_COLUMNS - 2 * MARGIN) / 2)

/* What is gone through. */
struct list {
	struct cli *c;
	bool certain;       /* of the list for people: those that are, or the others */
	const char *id;     /* of `show`; NULL: all */
	bool found;
	size_t restored;    /* not shown, since what was lost stands there again */
};

/* --- JSON --- */

static void
add_json(struct cli *c, const struct tdsync_conflict *x)
{
	out_item(c);
	out_text(c, "id", x->id);
	out_number(c, "server_seq", x->server_seq);
	out_text(c, "kind", x->kind);
	out_bool(c, "certain", x->certain);
	out_bool(c, "restored", x->restored);
	out_text(c, "entity_type", x->entity_type);
	out_text(c, "entity_id", x->entity_id);
	out_name(c, "fields");
	buf_add_byte(&c->out, '[');
	for (size_t i = 0; i < x->n_fields; i++) {
		const struct tdsync_field *f = &x->fields[i];

		buf_add_str(&c->out, i == 0 ? "{\"field\":" : ",{\"field\":");
		buf_add_json(&c->out, span_of(f->name));
		buf_addf(&c->out, ",\"kept\":%s,\"lost\":%s", f->kept, f->lost);
		if (f->lost_seq > 0)
			buf_addf(&c->out, ",\"lost_seq\":%" PRId64, f->lost_seq);
		buf_add_byte(&c->out, '}');
	}
	buf_add_byte(&c->out, ']');
	out_author(c, "kept", x->kept);
	out_author(c, "lost", x->lost);
	out_item_end(c);
}

/* --- the list --- */

/* The first value that was lost, so much of it as fits, and how many there are. */
static void
add_lost(struct buf *b, const struct tdsync_conflict *x, size_t columns)
{
	struct buf text = { 0 }, more = { 0 };

	if (x->n_fields > 1)
		buf_addf(&more, " (+%zu)", x->n_fields - 1);
	buf_addf(&text, "%s: ", x->fields[0].name);
	out_value(&text, x->fields[0].lost);
	if (buf_cstr(&text) != NULL)
		out_cut(b, text.p, columns - more.len);
	buf_add_span(b, buf_span(&more));
	b->failed = b->failed || text.failed || more.failed;
	buf_free(&text);
	buf_free(&more);
}

static void
add_line(struct buf *b, const struct tdsync_conflict *x)
{
	char entity[160];
	size_t at;

	snprintf(entity, sizeof(entity), "%.40s/%.100s", x->entity_type, x->entity_id);
	at = out_pad(b, out_cut(b, x->id, ID_COLUMNS), AT_KIND);
	at += out_cut(b, x->kind, AT_ENTITY - AT_KIND - 1);
	at = out_pad(b, at, AT_ENTITY);
	at += out_cut(b, entity, x->n_fields == 0 ? OUT_COLUMNS - at : AT_LOST - AT_ENTITY - 1);
	if (x->n_fields > 0) {
		at = out_pad(b, at, AT_LOST);
		add_lost(b, x, OUT_COLUMNS - at);
	}
	buf_add_byte(b, '\n');
}

static void
list_one(void *ctx, const struct tdsync_conflict *x)
{
	struct list *l = ctx;
	struct cli *c = l->c;

	if (x->restored && !c->all) {
		l->restored += c->json || x->certain == l->certain;
		return;
	}
	if (c->json) {
		add_json(c, x);
	} else if (x->certain == l->certain) {
		if (c->items++ == 0 && !l->certain)
			buf_addf(&c->out, "%sUncertain: the author did not say what it had seen. "
			         "td does not list these.\n", c->out.len > 0 ? "\n" : "");
		add_line(&c->out, x);
	}
}

static int
list_all(struct cli *c)
{
	struct list l = { .c = c, .certain = true };
	size_t shown;
	enum tdsync_rc rc;

	if (c->json)
		out_list(c, "conflicts");
	rc = tdsync_each_conflict(c->t, list_one, &l);
	shown = c->items;
	if (c->json) {
		out_list_end(c);
		return out_failed(c, rc);
	}
	if (rc == TDSYNC_OK) {
		l.certain = false;
		c->items = 0;
		rc = tdsync_each_conflict(c->t, list_one, &l);
		shown += c->items;
	}
	if (rc == TDSYNC_OK && shown == 0)
		buf_add_str(&c->out, "no conflicts\n");
	if (rc == TDSYNC_OK && l.restored > 0)
		buf_addf(&c->out, "%s(%zu more, where what was lost stands again: --all)\n",
		         shown > 0 ? "\n" : "", l.restored);
	return out_failed(c, rc);
}

/* --- one of them --- */

/* Append the next line of a text within so many columns, and step behind it;
 * returns the columns. Lines break where the text does, or where they must. */
static size_t
add_wrapped(struct buf *b, const char **text, size_t columns)
{
	const char *p = *text, *blank = NULL;
	size_t n = 0, bytes;
	struct buf line = { 0 };

	while (*p != '\0' && *p != '\n' && (n += out_width(p, &bytes)) <= columns) {
		if (*p == ' ')
			blank = p;
		p += bytes;
	}
	if (*p != '\0' && *p != '\n' && *p != ' ' && blank != NULL)
		p = blank;
	buf_add(&line, *text, (size_t)(p - *text));
	n = buf_cstr(&line) == NULL ? 0 : out_cut(b, line.p, columns);
	b->failed = b->failed || line.failed;
	buf_free(&line);
	*text = p + (*p == '\n' || *p == ' ');
	return n;
}

/* Two texts side by side. */
static void
add_both(struct buf *b, const char *kept, const char *lost)
{
	do {
		size_t n;

		out_pad(b, 0, MARGIN);
		n = add_wrapped(b, &kept, HALF);
		if (*lost != '\0') {
			out_pad(b, MARGIN + n, MARGIN + HALF + MARGIN);
			add_wrapped(b, &lost, HALF);
		}
		buf_add_byte(b, '\n');
	} while (*kept != '\0' || *lost != '\0');
}

static void
add_field(struct buf *b, const struct tdsync_conflict *x, const struct tdsync_field *f)
{
	bool gone = strcmp(x->kind, "field") != 0 && strcmp(x->kind, "create") != 0;
	struct buf kept = { 0 }, lost = { 0 };

	buf_add_byte(b, '\n');
	out_clean(b, f->name);
	buf_add_byte(b, '\n');
	if (!gone)
		out_value(&kept, f->kept);
	out_value(&lost, f->lost);
	if (buf_cstr(&kept) != NULL && buf_cstr(&lost) != NULL)
		add_both(b, kept.p, lost.p);
	b->failed = b->failed || kept.failed || lost.failed;
	buf_free(&kept);
	buf_free(&lost);
}

static const char *
or_unknown(const char *text)
{
	return text[0] != '\0' ? text : "(not known)";
}

/* What became of the row, where no other values stand in the place of these. */
static const char *
what_stands(const char *kind)
{
	return strcmp(kind, "delete") == 0 ? "deleted"
	    : strcmp(kind, "cascade") == 0 ? "gone with what it belonged to"
	    : strcmp(kind, "edit_of_deleted") == 0 ? "deleted before"
	    : strcmp(kind, "edge") == 0 ? "dropped: it would close a cycle" : "kept";
}

static void
add_authors(struct buf *b, const struct tdsync_author *kept, const struct tdsync_author *lost)
{
	static const struct tdsync_author nobody = { 0, "", "", "", "", "" };
	char k[40], l[40];

	kept = kept == NULL ? &nobody : kept;
	lost = lost == NULL ? &nobody : lost;
	snprintf(k, sizeof(k), "event %" PRId64, kept->server_seq);
	snprintf(l, sizeof(l), "event %" PRId64, lost->server_seq);
	add_both(b, kept->server_seq > 0 ? k : "event not known",
	         lost->server_seq > 0 ? l : "event not known");
	add_both(b, or_unknown(kept->user_id), or_unknown(lost->user_id));
	add_both(b, or_unknown(kept->device_id), or_unknown(lost->device_id));
	add_both(b, or_unknown(kept->server_timestamp), or_unknown(lost->server_timestamp));
}

static void
show_one(void *ctx, const struct tdsync_conflict *x)
{
	struct list *l = ctx;
	struct buf *b = &l->c->out;

	if (strcmp(x->id, l->id) != 0)
		return;
	l->found = true;
	if (l->c->json) {
		add_json(l->c, x);
		return;
	}
	out_clean(b, x->id);
	buf_add_str(b, "  ");
	out_clean(b, x->kind);
	buf_add_str(b, x->certain ? " of " : " (uncertain) of ");
	out_clean(b, x->entity_type);
	buf_add_byte(b, '/');
	out_clean(b, x->entity_id);
	buf_add_str(b, x->restored ? "  (what was lost stands there again)\n\n" : "\n\n");
	add_both(b, what_stands(x->kind), "lost");
	add_authors(b, x->kept, x->lost);
	for (size_t i = 0; i < x->n_fields; i++)
		add_field(b, x, &x->fields[i]);
}

static int
show(struct cli *c)
{
	struct list l = { .c = c, .id = c->args[1] };
	enum tdsync_rc rc;
	int code;

	if (c->json)
		out_list(c, "conflicts");
	rc = tdsync_each_conflict(c->t, show_one, &l);
	if (c->json)
		out_list_end(c);
	code = out_failed(c, rc);
	if (rc == TDSYNC_OK && !l.found) {
		out_complain("no such conflict is known here: `td-sync conflicts` names them, "
		             "`td-sync pull` fetches what is new");
		code = EXIT_NOT_FOUND;
	}
	return code;
}

static int
restore(struct cli *c)
{
	struct tdsync_result r = { 0 };
	enum tdsync_rc rc = tdsync_restore(c->t, c->args[1], &r);

	return cli_work_done(c, rc, &r);
}

int
cli_conflicts(struct cli *c)
{
	struct tdsync_status s;
	enum tdsync_rc rc;

	if (c->args[0] != NULL && (c->args[1] == NULL ||
	    (strcmp(c->args[0], "show") != 0 && strcmp(c->args[0], "restore") != 0))) {
		out_complain("conflicts takes nothing, `show ID` or `restore ID`: "
		             "see `td-sync --help`");
		return EXIT_USAGE;
	}
	if (c->args[0] != NULL && strcmp(c->args[0], "restore") == 0)
		return restore(c);
	if ((rc = tdsync_get_status(c->t, false, &s)) != TDSYNC_OK)
		return out_failed(c, rc);
	return c->args[0] != NULL ? show(c) : list_all(c);
}
