/*
 * td-sync, the client's command: libtdsync for people and scripts. What was
 * done goes to stdout, what went wrong in one line to stderr.
 */
#include <config.h>

#include "tdsync.h"

#include "base/buf.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Exit codes, as the man page has them. */
enum {
	EXIT_OK = 0,
	EXIT_LATER = 1,     /* network or server: may pass, try again */
	EXIT_USAGE = 2,
	EXIT_NOT_LINKED = 3,
	EXIT_LOCAL = 4,     /* the local database */
	EXIT_AUTH = 5,      /* token, role */
	EXIT_NO_PROJECT = 6,
	EXIT_REFUSED = 7,   /* by the server: a request, or some of the events */
	EXIT_LOG_CHANGED = 8,
	EXIT_BUG = 9
};

#define PATIENCE_MS 1000 /* a pause that nobody minds */

static const int exit_codes[] = {
	[TDSYNC_OK] = EXIT_OK,
	[TDSYNC_INVALID] = EXIT_USAGE,
	[TDSYNC_NOT_LINKED] = EXIT_NOT_LINKED,
	[TDSYNC_LOCAL] = EXIT_LOCAL,
	[TDSYNC_NETWORK] = EXIT_LATER,
	[TDSYNC_BUSY] = EXIT_LATER,
	[TDSYNC_UNAUTHORIZED] = EXIT_AUTH,
	[TDSYNC_FORBIDDEN] = EXIT_AUTH,
	[TDSYNC_NOT_FOUND] = EXIT_NO_PROJECT,
	[TDSYNC_REFUSED] = EXIT_REFUSED,
	[TDSYNC_LOG_CHANGED] = EXIT_LOG_CHANGED,
	[TDSYNC_FAULT] = EXIT_BUG,
};

struct cli {
	struct tdsync *t;
	const char *project;   /* the argument of link */
	bool json, quiet;
	struct buf out;        /* one JSON object, or text */
	size_t members;        /* in the object */
};

/* --- output --- */

static void
add_name(struct cli *c, const char *name)
{
	buf_add_str(&c->out, c->members++ == 0 ? "{" : ",");
	buf_add_json(&c->out, span_of(name));
	buf_add_byte(&c->out, ':');
}

static void
add_number(struct cli *c, const char *name, int64_t n)
{
	add_name(c, name);
	buf_add_int(&c->out, n);
}

static void
add_text(struct cli *c, const char *name, const char *text)
{
	add_name(c, name);
	buf_add_json(&c->out, span_of(text));
}

/* Terminals obey control characters: none of what others wrote gets there. */
static void
add_clean(struct buf *b, const char *text)
{
	for (; *text != '\0'; text++)
		buf_add_byte(b, (unsigned char)*text < 0x20 || *text == 0x7f ? '?' : *text);
}

static void
complain(const char *text)
{
	struct buf b = { 0 };

	add_clean(&b, text);
	if (buf_cstr(&b) != NULL)
		fprintf(stderr, "td-sync: %s\n", b.p);
	buf_free(&b);
}

/* Somebody looks on, and it takes a while: say why. */
static void
tell_waiting(void *ctx, const char *why, int ms)
{
	struct buf b = { 0 };

	(void)ctx;
	if (ms < PATIENCE_MS)
		return;
	buf_addf(&b, "%s; trying again in %d s", why, (ms + 999) / 1000);
	complain(buf_cstr(&b) == NULL ? why : b.p);
	buf_free(&b);
}

/* Print what was collected. */
static int
finish(struct cli *c, int code)
{
	if (c->json && c->members > 0)
		buf_add_str(&c->out, "}\n");
	if (c->out.failed) {
		complain("out of memory");
		code = EXIT_BUG;
	} else if (c->out.len > 0 && (c->json || !c->quiet)) {
		fwrite(c->out.p, 1, c->out.len, stdout);
		if (fflush(stdout) != 0 && code == EXIT_OK)
			code = EXIT_LOCAL;
	}
	buf_free(&c->out);
	return code;
}

/* Say what went wrong; the exit code. */
static int
failed(struct cli *c, enum tdsync_rc rc)
{
	const char *why = tdsync_error(c->t);

	if (rc == TDSYNC_OK)
		return EXIT_OK;
	if (why[0] == '\0')
		why = tdsync_rc_name(rc);
	complain(why);
	if (c->json) {
		add_name(c, "error");
		buf_add_str(&c->out, "{\"code\":");
		buf_add_json(&c->out, span_of(tdsync_rc_name(rc)));
		buf_add_str(&c->out, ",\"message\":");
		buf_add_json(&c->out, span_of(why));
		buf_add_byte(&c->out, '}');
	}
	return exit_codes[rc];
}

static void
show_result(struct cli *c, const struct tdsync_result *r)
{
	if (c->json) {
		add_number(c, "pushed", r->pushed);
		add_number(c, "duplicates", r->duplicates);
		add_number(c, "rejected", r->rejected);
		add_number(c, "snapshot_seq", r->snapshot_seq);
		add_number(c, "pulled", r->pulled);
		add_number(c, "applied", r->applied);
		add_number(c, "skipped", r->skipped);
		add_number(c, "rows", r->rows);
		add_number(c, "conflicts", r->conflicts);
		add_number(c, "server_seq", r->server_seq);
		return;
	}
	buf_addf(&c->out, "pushed %" PRId64, r->pushed);
	if (r->duplicates > 0)
		buf_addf(&c->out, " (and %" PRId64 " the server had already)", r->duplicates);
	if (r->snapshot_seq > 0)
		buf_addf(&c->out, ", began with a snapshot at event %" PRId64, r->snapshot_seq);
	buf_addf(&c->out, ", pulled %" PRId64, r->pulled);
	if (r->skipped > 0)
		buf_addf(&c->out, " (%" PRId64 " not applicable)", r->skipped);
	buf_addf(&c->out, ", %" PRId64 " row%s changed", r->rows, r->rows == 1 ? "" : "s");
	if (r->conflicts > 0)
		buf_addf(&c->out, ", %" PRId64 " new conflict%s", r->conflicts,
		         r->conflicts == 1 ? "" : "s");
	if (r->server_seq > 0)
		buf_addf(&c->out, "; at event %" PRId64, r->server_seq);
	buf_add_byte(&c->out, '\n');
}

/* --- commands --- */

static int
show_work(struct cli *c, enum tdsync_rc rc, const struct tdsync_result *r)
{
	int code;

	if (c->json || rc == TDSYNC_OK || r->pushed + r->duplicates + r->pulled > 0)
		show_result(c, r);
	code = failed(c, rc);
	if (r->rejected > 0) {
		char line[120];

		snprintf(line, sizeof(line), "%" PRId64 " of your changes %s not taken: "
		         "`td-sync status` names %s", r->rejected,
		         r->rejected == 1 ? "was" : "were", r->rejected == 1 ? "it" : "them");
		complain(line);
		if (code == EXIT_OK)
			code = EXIT_REFUSED;
	}
	return code;
}

static int
push_run(struct cli *c)
{
	struct tdsync_result r;
	enum tdsync_rc rc = tdsync_push(c->t, &r);

	return show_work(c, rc, &r);
}

static int
pull_run(struct cli *c)
{
	struct tdsync_result r;
	enum tdsync_rc rc = tdsync_pull(c->t, &r);

	return show_work(c, rc, &r);
}

static int
sync_run(struct cli *c)
{
	struct tdsync_result r;
	enum tdsync_rc rc = tdsync_sync(c->t, &r);

	return show_work(c, rc, &r);
}

static int
link_run(struct cli *c)
{
	struct tdsync_status s;
	enum tdsync_rc rc = tdsync_link(c->t, c->project);

	if (rc == TDSYNC_OK && (rc = tdsync_get_status(c->t, false, &s)) == TDSYNC_OK) {
		if (c->json)
			add_text(c, "project_id", s.project_id);
		else
			buf_addf(&c->out, "linked to %s at %s\n", s.project_id, s.url);
	}
	return failed(c, rc);
}

static int
unlink_run(struct cli *c)
{
	enum tdsync_rc rc = tdsync_unlink(c->t);

	if (rc == TDSYNC_OK && c->json)
		add_name(c, "unlinked"), buf_add_str(&c->out, "true");
	else if (rc == TDSYNC_OK)
		buf_add_str(&c->out, "unlinked; the database keeps its content\n");
	return failed(c, rc);
}

static void
line(struct cli *c, const char *name, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* One line of status: a name and what it is, aligned. */
static void
line(struct cli *c, const char *name, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	buf_addf(&c->out, "%-9s ", name);
	add_clean(&c->out, text);
	buf_add_byte(&c->out, '\n');
}

static void
show_rejection(void *ctx, const struct tdsync_rejection *r)
{
	struct cli *c = ctx;

	if (!c->json) {
		line(c, "", "%s %s %s: %s", r->action_type, r->entity_type, r->entity_id,
		     r->reason);
		return;
	}
	if (c->out.p[c->out.len - 1] != '[')
		buf_add_byte(&c->out, ',');
	buf_add_str(&c->out, "{\"action_id\":");
	buf_add_json(&c->out, span_of(r->action_id));
	buf_add_str(&c->out, ",\"action_type\":");
	buf_add_json(&c->out, span_of(r->action_type));
	buf_add_str(&c->out, ",\"entity_type\":");
	buf_add_json(&c->out, span_of(r->entity_type));
	buf_add_str(&c->out, ",\"entity_id\":");
	buf_add_json(&c->out, span_of(r->entity_id));
	buf_add_str(&c->out, ",\"reason\":");
	buf_add_json(&c->out, span_of(r->reason));
	buf_add_byte(&c->out, '}');
}

static void
show_status_json(struct cli *c, const struct tdsync_status *s)
{
	add_text(c, "url", s->url);
	add_text(c, "project_id", s->project_id);
	add_text(c, "device_id", s->device_id);
	add_number(c, "schema", s->schema);
	add_number(c, "pending", s->pending);
	add_number(c, "cursor", s->cursor);
	add_text(c, "log_id", s->log_id);
	add_name(c, "server_reached");
	buf_add_str(&c->out, s->server_reached ? "true" : "false");
	if (s->server_reached) {
		add_number(c, "last_server_seq", s->server_seq);
		add_number(c, "event_count", s->server_events);
		add_number(c, "clock_ahead_ms", s->clock_ahead_ms);
	}
	add_name(c, "rejected");
	buf_add_byte(&c->out, '[');
	tdsync_each_rejection(c->t, show_rejection, c);
	buf_add_byte(&c->out, ']');
}

static void
show_status(struct cli *c, const struct tdsync_status *s)
{
	int64_t ahead = s->clock_ahead_ms / 1000;

	line(c, "project", "%s", s->project_id);
	line(c, "server", "%s%s", s->url, s->server_reached ? "" : " (not reached)");
	line(c, "device", "%s", s->device_id[0] != '\0' ? s->device_id : "(none yet)");
	if (s->server_reached)
		line(c, "events", "%" PRId64 " here, %" PRId64 " at the server%s", s->cursor,
		     s->server_seq, s->cursor == s->server_seq ? "" : ": `td-sync pull`");
	else
		line(c, "events", "%" PRId64 " here", s->cursor);
	line(c, "pending", "%" PRId64 "%s", s->pending,
	     s->pending > 0 ? ": `td-sync push`" : "");
	if (ahead > 60 || ahead < -60)
		line(c, "clock", "%" PRId64 " s %s the server's: set it right",
		     ahead < 0 ? -ahead : ahead, ahead < 0 ? "behind" : "ahead of");
	if (s->rejected > 0) {
		line(c, "refused", "%" PRId64 " (`td-sync link` again sends %s once more)",
		     s->rejected, s->rejected == 1 ? "it" : "them");
		tdsync_each_rejection(c->t, show_rejection, c);
	}
}

static int
status_run(struct cli *c)
{
	struct tdsync_status s;
	enum tdsync_rc rc = tdsync_get_status(c->t, true, &s);

	if (rc != TDSYNC_OK)
		return failed(c, rc);
	if (!s.server_reached)
		complain(tdsync_error(c->t));
	if (c->json)
		show_status_json(c, &s);
	else
		show_status(c, &s);
	return s.server_reached ? EXIT_OK : EXIT_LATER;
}

static const struct command {
	const char *name, *args, *does;
	int (*run)(struct cli *c);
} commands[] = {
	{ "link", "PROJECT", "link this folder to a project: its id, slug or name", link_run },
	{ "unlink", "", "undo that; the database keeps its content", unlink_run },
	{ "push", "", "send your changes", push_run },
	{ "pull", "", "fetch and apply the changes of others", pull_run },
	{ "sync", "", "push, then pull", sync_run },
	{ "status", "", "show how things stand, here and at the server", status_run },
};
#define N_COMMANDS (sizeof(commands) / sizeof(commands[0]))

static const struct command *
find_command(const char *name)
{
	for (size_t i = 0; i < N_COMMANDS; i++)
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	return NULL;
}

static int
help(void)
{
	printf("usage: td-sync [--dir DIR] [--json] [--quiet] COMMAND\n\ncommands:\n");
	for (size_t i = 0; i < N_COMMANDS; i++)
		printf("  %-7s%-8s %s\n", commands[i].name, commands[i].args, commands[i].does);
	printf("\noptions:\n"
	       "  --dir DIR       the folder that holds .todos/ (default: the current one)\n"
	       "  --json          print one JSON object\n"
	       "  --quiet         print nothing but errors\n"
	       "  --help          this text\n"
	       "  --version       the version\n"
	       "\nTD_SYNC_URL is the server's address, TD_AUTH_KEY the token; without them\n"
	       "td's own ~/.config/td/auth.json has them.\n");
	return fflush(stdout) == 0 ? EXIT_OK : EXIT_LOCAL;
}

static int
usage(const char *what, const char *which)
{
	struct buf b = { 0 };

	buf_addf(&b, "%s%s: see `td-sync --help`", what, which);
	complain(buf_cstr(&b) == NULL ? what : b.p);
	buf_free(&b);
	return EXIT_USAGE;
}

int
main(int argc, char **argv)
{
	static const struct option long_options[] = {
		{ "dir", required_argument, NULL, 'C' },
		{ "json", no_argument, NULL, 'j' },
		{ "quiet", no_argument, NULL, 'q' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{ 0 }
	};
	struct tdsync_options options = { 0 };
	struct cli c = { 0 };
	const struct command *command;
	char error[256] = "";
	enum tdsync_rc rc;
	int opt, n, code;

	opterr = 0;
	while ((opt = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
		switch (opt) {
		case 'C':
			options.dir = optarg;
			break;
		case 'j':
			c.json = true;
			break;
		case 'q':
			c.quiet = true;
			break;
		case 'h':
			return help();
		case 'V':
			printf("td-sync %s\n", PACKAGE_VERSION);
			return EXIT_OK;
		default:
			return usage("unknown or incomplete option ", argv[optind - 1]);
		}
	}
	if (optind == argc)
		return usage("which command?", "");
	if ((command = find_command(argv[optind])) == NULL)
		return usage("unknown command ", argv[optind]);
	n = argc - optind - 1;
	if (n != (command->args[0] != '\0'))
		return usage(n == 0 ? "which project?" : "too many arguments for ",
		             n == 0 ? "" : command->name);
	c.project = argv[optind + 1];
	if (isatty(STDERR_FILENO) && !c.quiet)
		options.waiting = tell_waiting;
	if ((rc = tdsync_open(&options, &c.t, error, sizeof(error))) != TDSYNC_OK) {
		complain(error);
		return exit_codes[rc];
	}
	code = command->run(&c);
	tdsync_close(c.t);
	return finish(&c, code);
}
