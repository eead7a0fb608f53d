/* td-sync doctor */
#include "cli/td-sync.h"

#include <stdio.h>

/* What was found so far, for the exit code. */
struct findings {
	struct cli *c;
	int errors, warnings;
};

static void
show_json(struct cli *c, const struct tdsync_diagnosis *d)
{
	static const char *const levels[] = {
		[TDSYNC_FINE] = "ok", [TDSYNC_WARNING] = "warning", [TDSYNC_ERROR] = "error",
	};

	out_item(c);
	out_text(c, "level", levels[d->level]);
	out_text(c, "check", d->check);
	out_text(c, "what", d->what);
	if (d->level != TDSYNC_FINE) {
		out_text(c, "why", d->why);
		out_text(c, "todo", d->todo);
	}
	out_item_end(c);
}

static void
add_part(struct cli *c, const char *name, const char *text)
{
	buf_addf(&c->out, "%-9s %s", "", name);
	out_clean(&c->out, text);
	buf_add_byte(&c->out, '\n');
}

static void
show(void *ctx, const struct tdsync_diagnosis *d)
{
	static const char *const levels[] = {
		[TDSYNC_FINE] = "ok", [TDSYNC_WARNING] = "WARNING", [TDSYNC_ERROR] = "ERROR",
	};
	struct findings *f = ctx;

	f->errors += d->level == TDSYNC_ERROR;
	f->warnings += d->level == TDSYNC_WARNING;
	if (f->c->json) {
		show_json(f->c, d);
		return;
	}
	out_line(f->c, levels[d->level], "%s: %s", d->check, d->what);
	if (d->level == TDSYNC_FINE)
		return;
	add_part(f->c, "why:  ", d->why);
	add_part(f->c, "do:   ", d->todo);
}

static int
finish(const struct findings *f, enum tdsync_rc rc)
{
	struct cli *c = f->c;

	if (c->json)
		out_list_end(c);
	if (rc != TDSYNC_OK)
		return out_failed(c, rc);
	return f->errors > 0 ? EXIT_FOUND_ERROR : f->warnings > 0 ? EXIT_FOUND_WARNING : EXIT_OK;
}

int
cli_doctor(struct cli *c)
{
	struct findings f = { .c = c };
	enum tdsync_rc rc;

	if (c->json)
		out_list(c, "findings");
	rc = c->n_hidden > 0 ? tdsync_diagnose_server(c->t, c->hidden, c->n_hidden, show, &f)
	                     : tdsync_diagnose(c->t, show, &f);
	return finish(&f, rc);
}

int
cli_doctor_unable(struct cli *c, const char *error)
{
	struct findings f = { .c = c };
	const struct tdsync_diagnosis d = {
		.level = TDSYNC_ERROR, .check = "address", .what = error,
		.why = "nothing can be asked of a server", .todo = "set it as its operator told you: "
		"https://HOST, perhaps with a path",
	};

	if (c->json)
		out_list(c, "findings");
	show(&f, &d);
	return finish(&f, TDSYNC_OK);
}
