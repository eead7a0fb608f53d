/*
 * td-sync, the client's command: libtdsync for people and scripts. What was
 * done goes to stdout, what went wrong in one line to stderr.
 */
#include <config.h>

#include "cli/td-sync.h"

#include "base/json.h"

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

/* --- output --- */

void
cli_name(struct cli *c, const char *name)
{
	buf_add_str(&c->out, c->members++ == 0 ? "{" : ",");
	buf_add_json(&c->out, span_of(name));
	buf_add_byte(&c->out, ':');
}

void
cli_number(struct cli *c, const char *name, int64_t n)
{
	cli_name(c, name);
	buf_add_int(&c->out, n);
}

void
cli_text(struct cli *c, const char *name, const char *text)
{
	cli_name(c, name);
	buf_add_json(&c->out, span_of(text));
}

/* Terminals obey control characters: none of what others wrote gets there. */
void
cli_clean(struct buf *b, const char *text)
{
	for (; *text != '\0'; text++)
		buf_add_byte(b, (unsigned char)*text < 0x20 || *text == 0x7f ? '?' : *text);
}

void
cli_author(struct cli *c, const struct tdsync_author *a)
{
	static const char *const names[] = { "user_id", "device_id", "session_id",
	                                     "client_timestamp", "server_timestamp" };

	if (a == NULL) {
		buf_add_str(&c->out, "null");
		return;
	}
	buf_addf(&c->out, "{\"server_seq\":%" PRId64, a->server_seq);
	for (size_t i = 0; i < 5; i++) {
		const char *const values[] = { a->user_id, a->device_id, a->session_id,
		                               a->client_timestamp, a->server_timestamp };

		buf_addf(&c->out, ",\"%s\":", names[i]);
		buf_add_json(&c->out, span_of(values[i]));
	}
	buf_add_byte(&c->out, '}');
}

void
cli_value(struct buf *b, const char *json, size_t width)
{
	struct buf text = { 0 };
	size_t end;

	if (!json_string(span_of(json), &text))
		buf_add_str(&text, json);
	if (buf_cstr(&text) == NULL) {
		b->failed = true;
		return;
	}
	end = text.len;
	if (width > 0 && end > width) {
		for (end = width; end > 0 && ((unsigned char)text.p[end] & 0xc0) == 0x80; end--)
			;
		text.p[end] = '\0';
	}
	cli_clean(b, text.p);
	buf_add_str(b, end < text.len ? "..." : "");
	buf_free(&text);
}

static void
complain(const char *text)
{
	struct buf b = { 0 };

	cli_clean(&b, text);
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
int
cli_failed(struct cli *c, enum tdsync_rc rc)
{
	const char *why = tdsync_error(c->t);

	if (rc == TDSYNC_OK)
		return EXIT_OK;
	if (why[0] == '\0')
		why = tdsync_rc_name(rc);
	complain(why);
	if (c->json) {
		cli_name(c, "error");
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
		cli_number(c, "pushed", r->pushed);
		cli_number(c, "duplicates", r->duplicates);
		cli_number(c, "rejected", r->rejected);
		cli_number(c, "snapshot_seq", r->snapshot_seq);
		cli_number(c, "pulled", r->pulled);
		cli_number(c, "applied", r->applied);
		cli_number(c, "skipped", r->skipped);
		cli_number(c, "rows", r->rows);
		cli_number(c, "conflicts", r->conflicts);
		cli_number(c, "server_seq", r->server_seq);
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

int
cli_work(struct cli *c, enum tdsync_rc rc, const struct tdsync_result *r)
{
	int code;

	if (c->json || rc == TDSYNC_OK || r->pushed + r->duplicates + r->pulled > 0)
		show_result(c, r);
	code = cli_failed(c, rc);
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

	return cli_work(c, rc, &r);
}

static int
pull_run(struct cli *c)
{
	struct tdsync_result r;
	enum tdsync_rc rc = tdsync_pull(c->t, &r);

	return cli_work(c, rc, &r);
}

static int
sync_run(struct cli *c)
{
	struct tdsync_result r;
	enum tdsync_rc rc = tdsync_sync(c->t, &r);

	return cli_work(c, rc, &r);
}

static int
link_run(struct cli *c)
{
	struct tdsync_status s;
	enum tdsync_rc rc = tdsync_link(c->t, c->args[0]);

	if (rc == TDSYNC_OK && (rc = tdsync_get_status(c->t, false, &s)) == TDSYNC_OK) {
		if (c->json)
			cli_text(c, "project_id", s.project_id);
		else
			buf_addf(&c->out, "linked to %s at %s\n", s.project_id, s.url);
	}
	return cli_failed(c, rc);
}

static int
unlink_run(struct cli *c)
{
	enum tdsync_rc rc = tdsync_unlink(c->t);

	if (rc == TDSYNC_OK && c->json)
		cli_name(c, "unlinked"), buf_add_str(&c->out, "true");
	else if (rc == TDSYNC_OK)
		buf_add_str(&c->out, "unlinked; the database keeps its content\n");
	return cli_failed(c, rc);
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
	cli_clean(&c->out, text);
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
	cli_text(c, "url", s->url);
	cli_text(c, "project_id", s->project_id);
	cli_text(c, "device_id", s->device_id);
	cli_number(c, "schema", s->schema);
	cli_number(c, "pending", s->pending);
	cli_number(c, "cursor", s->cursor);
	cli_text(c, "log_id", s->log_id);
	cli_name(c, "server_reached");
	buf_add_str(&c->out, s->server_reached ? "true" : "false");
	if (s->server_reached) {
		cli_number(c, "last_server_seq", s->server_seq);
		cli_number(c, "event_count", s->server_events);
		cli_number(c, "clock_ahead_ms", s->clock_ahead_ms);
	}
	cli_name(c, "rejected");
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
		return cli_failed(c, rc);
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
	int min, max; /* arguments */
} commands[] = {
	{ "link", "PROJECT", "link this folder to a project: its id, slug or name", link_run, 1, 1 },
	{ "unlink", "", "undo that; the database keeps its content", unlink_run },
	{ "push", "", "send your changes", push_run },
	{ "pull", "", "fetch and apply the changes of others", pull_run },
	{ "sync", "", "push, then pull", sync_run },
	{ "status", "", "show how things stand, here and at the server", status_run },
	{ "conflicts", "", "list what was lost when changes met", conflicts_main, 0, 2 },
	{ "", "show ID", "both versions of one, who wrote them, and when", NULL },
	{ "", "restore ID", "put back what was lost in it", NULL },
	{ "history", "ENTITY", "who changed it, when, and what: td-1a2b3c, or TYPE/ID", history_main,
	  1, 1 },
	{ "verify", "", "compare this copy with the server, row by row", verify_main, 0, 0 },
};
#define N_COMMANDS (sizeof(commands) / sizeof(commands[0]))

static const struct command *
find_command(const char *name)
{
	for (size_t i = 0; i < N_COMMANDS; i++)
		if (commands[i].run != NULL && strcmp(commands[i].name, name) == 0)
			return &commands[i];
	return NULL;
}

static int
help(void)
{
	printf("usage: td-sync [--dir DIR] [--json] [--quiet] COMMAND\n\ncommands:\n");
	for (size_t i = 0; i < N_COMMANDS; i++)
		printf("  %-10s%-11s %s\n", commands[i].name, commands[i].args, commands[i].does);
	printf("\noptions:\n"
	       "  --dir DIR       the folder that holds .todos/ (default: the current one)\n"
	       "  --json          print one JSON object\n"
	       "  --all           of conflicts: those that were restored, too\n"
	       "  --quiet         print nothing but errors\n"
	       "  --help          this text\n"
	       "  --version       the version\n"
	       "\nTD_SYNC_URL is the server's address, TD_AUTH_KEY the token; without them\n"
	       "td's own ~/.config/td/auth.json has them.\n");
	return fflush(stdout) == 0 ? EXIT_OK : EXIT_LOCAL;
}

int
cli_usage(const char *what, const char *which)
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
		{ "all", no_argument, NULL, 'a' },
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
		case 'a':
			c.all = true;
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
			return cli_usage("unknown or incomplete option ", argv[optind - 1]);
		}
	}
	if (optind == argc)
		return cli_usage("which command?", "");
	if ((command = find_command(argv[optind])) == NULL)
		return cli_usage("unknown command ", argv[optind]);
	n = argc - optind - 1;
	if (n < command->min)
		return cli_usage(command->run == link_run ? "which project?" : "of what?", "");
	if (n > command->max)
		return cli_usage("too many arguments for ", command->name);
	c.args = argv + optind + 1;
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
