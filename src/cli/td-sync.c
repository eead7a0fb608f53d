/* td-sync, the client's command: the commands that sync, and the command line. */
#include <config.h>

#include "cli/td-sync.h"

#include <getopt.h>
#include <inttypes.h>
#include <locale.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PATIENCE_MS 1000 /* a pause that nobody minds */

/* Somebody looks on, and it takes a while: say why. */
static void
tell_waiting(void *ctx, const char *why, int ms)
{
	struct buf b = { 0 };

	(void)ctx;
	if (ms < PATIENCE_MS)
		return;
	buf_addf(&b, "%s; trying again in %d s", why, (ms + 999) / 1000);
	out_complain(buf_cstr(&b) == NULL ? why : b.p);
	buf_free(&b);
}

/* --- commands --- */

int
cli_work_done(struct cli *c, enum tdsync_rc rc, const struct tdsync_result *r)
{
	int code;

	if (c->json || rc == TDSYNC_OK || r->pushed + r->duplicates + r->pulled > 0)
		out_result(c, r);
	code = out_failed(c, rc);
	if (r->rejected > 0) {
		char line[120];

		snprintf(line, sizeof(line), "%" PRId64 " of your changes %s not taken: "
		         "`td-sync status` names %s", r->rejected,
		         r->rejected == 1 ? "was" : "were", r->rejected == 1 ? "it" : "them");
		out_complain(line);
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

	return cli_work_done(c, rc, &r);
}

static int
pull_run(struct cli *c)
{
	struct tdsync_result r;
	enum tdsync_rc rc = tdsync_pull(c->t, &r);

	return cli_work_done(c, rc, &r);
}

static int
sync_run(struct cli *c)
{
	struct tdsync_result r;
	enum tdsync_rc rc = tdsync_sync(c->t, &r);

	return cli_work_done(c, rc, &r);
}

static int
link_run(struct cli *c)
{
	struct tdsync_status s;
	enum tdsync_rc rc = tdsync_link(c->t, c->args[0]);

	if (rc == TDSYNC_OK && (rc = tdsync_get_status(c->t, false, &s)) == TDSYNC_OK) {
		if (c->json)
			out_text(c, "project_id", s.project_id);
		else
			buf_addf(&c->out, "linked to %s at %s\n", s.project_id, s.url);
	}
	return out_failed(c, rc);
}

static int
unlink_run(struct cli *c)
{
	enum tdsync_rc rc = tdsync_unlink(c->t);

	if (rc == TDSYNC_OK && c->json)
		out_bool(c, "unlinked", true);
	else if (rc == TDSYNC_OK)
		buf_add_str(&c->out, "unlinked; the database keeps its content\n");
	return out_failed(c, rc);
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
	out_clean(&c->out, text);
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
	out_item(c);
	out_text(c, "action_id", r->action_id);
	out_text(c, "action_type", r->action_type);
	out_text(c, "entity_type", r->entity_type);
	out_text(c, "entity_id", r->entity_id);
	out_text(c, "reason", r->reason);
	out_item_end(c);
}

static void
show_status_json(struct cli *c, const struct tdsync_status *s)
{
	out_text(c, "url", s->url);
	out_text(c, "project_id", s->project_id);
	out_text(c, "device_id", s->device_id);
	out_number(c, "schema", s->schema);
	out_number(c, "pending", s->pending);
	out_number(c, "cursor", s->cursor);
	out_text(c, "log_id", s->log_id);
	out_bool(c, "server_reached", s->server_reached);
	if (s->server_reached) {
		out_number(c, "last_server_seq", s->server_seq);
		out_number(c, "event_count", s->server_events);
		out_number(c, "clock_ahead_ms", s->clock_ahead_ms);
	}
	out_list(c, "rejected");
	tdsync_each_rejection(c->t, show_rejection, c);
	out_list_end(c);
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
		return out_failed(c, rc);
	if (!s.server_reached)
		out_complain(tdsync_error(c->t));
	if (c->json)
		show_status_json(c, &s);
	else
		show_status(c, &s);
	return s.server_reached ? EXIT_OK : EXIT_LATER;
}

static const struct command {
	const char *name, *args, *does;
	int min_args, max_args;
	int (*run)(struct cli *c);
} commands[] = {
	{ "link", "PROJECT", "link this folder to a project: its id, slug or name", 1, 1,
	  link_run },
	{ "unlink", "", "undo that; the database keeps its content", 0, 0, unlink_run },
	{ "push", "", "send your changes", 0, 0, push_run },
	{ "pull", "", "fetch and apply the changes of others", 0, 0, pull_run },
	{ "sync", "", "push, then pull", 0, 0, sync_run },
	{ "status", "", "how things stand, here and at the server", 0, 0, status_run },
	{ "conflicts", "", "what somebody's change took from another's", 0, 2, cli_conflicts },
	{ "conflicts", "show ID", "both versions, side by side", 0, 2, cli_conflicts },
	{ "conflicts", "restore ID", "put back what was lost, and sync", 0, 2, cli_conflicts },
	{ "history", "ENTITY", "what happened to an issue, or TYPE/ID", 1, 1, cli_history },
	{ "verify", "", "pull, and compare with the server", 0, 0, cli_verify },
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
		printf("  %-9s %-11s %s\n", commands[i].name, commands[i].args,
		       commands[i].does);
	printf("\noptions:\n"
	       "  --dir DIR       the folder that holds .todos/ (default: the current one)\n"
	       "  --all           of conflicts: those too whose loss was put back\n"
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
	out_complain(buf_cstr(&b) == NULL ? what : b.p);
	buf_free(&b);
	return EXIT_USAGE;
}

int
main(int argc, char **argv)
{
	static const struct option long_options[] = {
		{ "dir", required_argument, NULL, 'C' },
		{ "all", no_argument, NULL, 'a' },
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

	setlocale(LC_CTYPE, "C.UTF-8"); /* what is printed is UTF-8 (out_width()) */
	opterr = 0;
	while ((opt = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
		switch (opt) {
		case 'C':
			options.dir = optarg;
			break;
		case 'a':
			c.all = true;
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
	if (n < command->min_args || n > command->max_args)
		return usage(n < command->min_args ? "an argument is missing for "
		             : "too many arguments for ", command->name);
	for (int i = 0; i < n; i++)
		c.args[i] = argv[optind + 1 + i];
	if (c.all && command->run != cli_conflicts)
		return usage("--all is not for ", command->name);
	if (isatty(STDERR_FILENO) && !c.quiet)
		options.waiting = tell_waiting;
	if ((rc = tdsync_open(&options, &c.t, error, sizeof(error))) != TDSYNC_OK) {
		out_complain(error);
		return rc == TDSYNC_INVALID ? EXIT_USAGE : EXIT_BUG;
	}
	code = command->run(&c);
	tdsync_close(c.t);
	return out_finish(&c, code);
}
