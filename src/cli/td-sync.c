/* td-sync, the client's command: the commands that sync, and the command line. */
#include <config.h>

#include "cli/td-sync.h"

#include "base/conf.h"

#include <getopt.h>
#include <inttypes.h>
#include <locale.h>
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
show_rejection(void *ctx, const struct tdsync_rejection *r)
{
	struct cli *c = ctx;

	if (!c->json) {
		out_line(c, "", "%s %s %s: %s", r->action_type, r->entity_type, r->entity_id,
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
		out_text(c, "lost_devices", s->lost_devices);
	}
	out_list(c, "rejected");
	tdsync_each_rejection(c->t, show_rejection, c);
	out_list_end(c);
}

static void
show_status(struct cli *c, const struct tdsync_status *s)
{
	int64_t ahead = s->clock_ahead_ms / 1000;

	out_line(c, "project", "%s", s->project_id);
	out_line(c, "server", "%s%s", s->url, s->server_reached ? "" : " (not reached)");
	out_line(c, "device", "%s", s->device_id[0] != '\0' ? s->device_id : "(none yet)");
	if (s->server_reached)
		out_line(c, "events", "%" PRId64 " here, %" PRId64 " at the server%s", s->cursor,
		     s->server_seq, s->cursor == s->server_seq ? "" : ": `td-sync pull`");
	else
		out_line(c, "events", "%" PRId64 " here", s->cursor);
	out_line(c, "pending", "%" PRId64 "%s", s->pending,
	     s->pending > 0 ? ": `td-sync push`" : "");
	if (ahead > 60 || ahead < -60)
		out_line(c, "clock", "%" PRId64 " s %s the server's: set it right",
		     ahead < 0 ? -ahead : ahead, ahead < 0 ? "behind" : "ahead of");
	if (s->lost_devices[0] != '\0')
		out_line(c, "lost", "%s: what the server lost to a restore is still there; run"
		     " `td-sync sync` there", s->lost_devices);
	if (s->rejected > 0) {
		out_line(c, "refused", "%" PRId64 " (`td-sync link` again sends %s once more)",
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

/* --- the command line --- */

/* Options that are for some commands only, by their letter to getopt_long(). */
#define OPTIONS "asepRndH"
#define OPTION_ALL "a"
#define OPTION_LOGIN "se"
#define OPTION_TOKEN "pRnd"
#define OPTION_DOCTOR "H"

static const struct command {
	const char *name, *args, *does;
	int min_args, max_args;
	int (*run)(struct cli *c);
	const char *options;
} commands[] = {
	{ "login", "", "log this machine in, for td as well", 0, 0, cli_login, OPTION_LOGIN },
	{ "logout", "", "revoke its key, and forget it", 0, 0, cli_logout, "" },
	{ "whoami", "", "who the server takes you for, and what you may do", 0, 0, cli_whoami, "" },
	{ "link", "PROJECT", "link this folder to a project: its id, slug or name", 1, 1,
	  link_run, "" },
	{ "unlink", "", "undo that; the database keeps its content", 0, 0, unlink_run, "" },
	{ "push", "", "send your changes", 0, 0, push_run, "" },
	{ "pull", "", "fetch and apply the changes of others", 0, 0, pull_run, "" },
	{ "sync", "", "push, then pull", 0, 0, sync_run, "" },
	{ "status", "", "how things stand, here and at the server", 0, 0, status_run, "" },
	{ "conflicts", "", "what somebody's change took from another's", 0, 2, cli_conflicts,
	  OPTION_ALL },
	{ "conflicts", "show ID", "both versions, side by side", 0, 2, cli_conflicts, OPTION_ALL },
	{ "conflicts", "restore ID", "put back what was lost, and sync", 0, 2, cli_conflicts,
	  OPTION_ALL },
	{ "history", "ENTITY", "what happened to an issue, or TYPE/ID", 1, 1, cli_history, "" },
	{ "verify", "", "pull, and compare with the server", 0, 0, cli_verify, "" },
	{ "doctor", "[URL]", "find out why it doesn't work", 0, 1, cli_doctor, OPTION_DOCTOR },
	{ "token", "create", "make a token, as for an agent; it is shown this once", 1, 2, cli_token,
	  OPTION_TOKEN },
	{ "token", "list", "your tokens", 1, 2, cli_token, OPTION_TOKEN },
	{ "token", "revoke ID", "end one of them", 1, 2, cli_token, OPTION_TOKEN },
	{ "invitation", "list", "to which projects you are invited", 1, 2, cli_invitation, "" },
	{ "invitation", "accept ID", "become a member", 1, 2, cli_invitation, "" },
	{ "invitation", "decline ID", "don't", 1, 2, cli_invitation, "" },
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
		printf("  %-10s %-11s %s\n", commands[i].name, commands[i].args,
		       commands[i].does);
	printf("\noptions:\n"
	       "  --dir DIR       the folder that holds .todos/ (default: the current one)\n"
	       "  --json          print one JSON object\n"
	       "  --quiet         print nothing but errors\n"
	       "  --help          this text\n"
	       "  --version       the version\n"
	       "of login:\n"
	       "  --server URL    where to (default: as for all commands)\n"
	       "  --email ADDRESS whose account (default: that of the last login)\n"
	       "of token create:\n"
	       "  --project P     for this project only: id, slug or name (repeatable)\n"
	       "  --read-only     not to push with\n"
	       "  --days N        for how long, 1 to 3650 (default: as yours, a year at most)\n"
	       "  --name TEXT     what it is for\n"
	       "of doctor:\n"
	       "  --hidden PATH   look at the server alone, and whether it hands that out\n"
	       "                  (repeatable)\n"
	       "of conflicts:\n"
	       "  --all           those too whose loss was put back\n"
	       "\nTD_SYNC_URL is the server's address, TD_AUTH_KEY the token; without them\n"
	       "td's own ~/.config/td/auth.json has them, where a login puts them.\n");
	return fflush(stdout) == 0 ? EXIT_OK : EXIT_LOCAL;
}

int
cli_usage(const char *what, const char *which)
{
	struct buf b = { 0 };

	buf_addf(&b, "%s%s: see `td-sync --help`", what, which);
	out_complain(buf_cstr(&b) == NULL ? what : b.p);
	buf_free(&b);
	return EXIT_USAGE;
}

static const struct option long_options[] = {
	{ "dir", required_argument, NULL, 'C' },
	{ "all", no_argument, NULL, 'a' },
	{ "server", required_argument, NULL, 's' },
	{ "email", required_argument, NULL, 'e' },
	{ "project", required_argument, NULL, 'p' },
	{ "read-only", no_argument, NULL, 'R' },
	{ "name", required_argument, NULL, 'n' },
	{ "hidden", required_argument, NULL, 'H' },
	{ "days", required_argument, NULL, 'd' },
	{ "json", no_argument, NULL, 'j' },
	{ "quiet", no_argument, NULL, 'q' },
	{ "help", no_argument, NULL, 'h' },
	{ "version", no_argument, NULL, 'V' },
	{ 0 }
};

/* The long name of an option. */
static const char *
option_name(int letter)
{
	const struct option *o = long_options;

	while (o->name != NULL && o->val != letter)
		o++;
	return o->name;
}

/* Take one option in; the exit code, -1 to go on. */
static int
take_option(struct cli *c, struct tdsync_options *options, int letter)
{
	switch (letter) {
	case 'C':
		options->dir = optarg;
		break;
	case 'a':
		c->all = true;
		break;
	case 's':
		options->url = optarg;
		break;
	case 'e':
		c->email = optarg;
		break;
	case 'p':
		if (c->n_projects == CLI_PROJECTS)
			return cli_usage("too many of --project", "");
		c->projects[c->n_projects++] = optarg;
		break;
	case 'H':
		if (optarg[0] != '/')
			return cli_usage("--hidden is a path with a slash at its start, not ", optarg);
		if (c->n_hidden == CLI_HIDDEN)
			return cli_usage("too many of --hidden", "");
		c->hidden[c->n_hidden++] = optarg;
		break;
	case 'R':
		c->read_only = true;
		break;
	case 'n':
		c->name = optarg;
		break;
	case 'd':
		if (!conf_int(optarg, 1, 3650, &c->days))
			return cli_usage("--days is a number from 1 to 3650, not ", optarg);
		break;
	case 'j':
		c->json = true;
		break;
	case 'q':
		c->quiet = true;
		break;
	case 'h':
		return help();
	case 'V':
		printf("td-sync %s\n", PACKAGE_VERSION);
		return EXIT_OK;
	default:
		return -1;
	}
	if (strchr(OPTIONS, letter) != NULL && strchr(c->given, letter) == NULL)
		c->given[strlen(c->given)] = (char)letter;
	return -1;
}

/* Find the command, and check what was given for it; the exit code, -1 to go on. */
static int
take_command(struct cli *c, int argc, char **argv, const struct command **out)
{
	const struct command *command = NULL;
	int n = argc - 1;

	if (argc == 0)
		return cli_usage("which command?", "");
	if ((command = find_command(argv[0])) == NULL)
		return cli_usage("unknown command ", argv[0]);
	if (n < command->min_args || n > command->max_args)
		return cli_usage(n < command->min_args ? "an argument is missing for "
		                 : "too many arguments for ", command->name);
	for (int i = 0; i < n; i++)
		c->args[i] = argv[1 + i];
	for (const char *p = c->given; *p != '\0'; p++)
		if (strchr(command->options, *p) == NULL) {
			char what[40];

			snprintf(what, sizeof(what), "--%s is not for ", option_name(*p));
			return cli_usage(what, command->name);
		}
	*out = command;
	return -1;
}

int
main(int argc, char **argv)
{
	struct tdsync_options options = { 0 };
	struct cli c = { 0 };
	const struct command *command = NULL;
	char error[256] = "";
	enum tdsync_rc rc;
	int opt, code;

	setlocale(LC_CTYPE, "C.UTF-8"); /* what is printed is UTF-8 (out_width()) */
	opterr = 0;
	while ((opt = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
		if (opt == '?')
			return cli_usage("unknown or incomplete option ", argv[optind - 1]);
		if ((code = take_option(&c, &options, opt)) >= 0)
			return code;
	}
	if ((code = take_command(&c, argc - optind, argv + optind, &command)) >= 0)
		return code;
	if (isatty(STDERR_FILENO) && !c.quiet)
		options.waiting = tell_waiting;
	if (command->run == cli_doctor && c.args[0] != NULL)
		options.url = c.args[0];
	rc = tdsync_open(&options, &c.t, error, sizeof(error));
	if (rc == TDSYNC_INVALID && command->run == cli_doctor)
		return out_finish(&c, cli_doctor_unable(&c, error));
	if (rc != TDSYNC_OK) {
		out_complain(error);
		return rc == TDSYNC_INVALID ? EXIT_USAGE : EXIT_BUG;
	}
	code = command->run(&c);
	tdsync_close(c.t);
	return out_finish(&c, code);
}
