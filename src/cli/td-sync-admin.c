/*
 * td-sync-admin, the operator's command: finds the command in a table, reads
 * its options, runs it. It works on the data folder itself, beside a server
 * that may run: everything it writes is written under the server's locks.
 */
#include <config.h>

#include "cli/td-sync-admin.h"

#include "base/conf.h"

#include <errno.h>
#include <getopt.h>
#include <grp.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DAYS_MAX 3650
#define KEEP_MAX 100000

/* Options by their letter to getopt_long(); those of one command only have
 * their bit in struct command. */
enum option_id {
	O_OWNER,
	O_DESCRIPTION,
	O_PROFILE,
	O_PROFILES,
	O_USER,
	O_PROJECT,
	O_SCOPE,
	O_DAYS,
	O_NAME,
	O_OVERLAP,
	O_CONFIG,
	O_READ_ONLY,
	O_SINCE,
	O_YES,
	O_URL,
	O_KEEP,
	O_WITH_KEYS,
	O_CHECK,
	O_BACK,
	O_DRY_RUN,
	O_COMMON, /* the ones from here on go with every command */
	O_DATA = O_COMMON,
	O_JSON,
	O_HELP,
	O_VERSION,
	O__MAX
};
#define BIT(o) (1u << (o))

static const struct {
	const char *name, *arg; /* arg NULL: a switch */
	const char *does;
} options[O__MAX] = {
	[O_OWNER] = { "owner", "EMAIL", "who owns the project" },
	[O_DESCRIPTION] = { "description", "TEXT", "what the project is about" },
	[O_PROFILE] = { "profile", "NAME", "what its entities are (default td; none: anything)" },
	[O_PROFILES] = { "profiles", "DIR", "where the profiles are (default: the server's key)" },
	[O_USER] = { "user", "EMAIL", "whose tokens, or deeds" },
	[O_PROJECT] = { "project", "PROJECT", "for this project only (a token: repeatable)" },
	[O_SCOPE] = { "scope", "SCOPE", "sync:read, sync:write, project:admin or"
	    " server:admin (repeatable; default: the first three)" },
	[O_DAYS] = { "days", "N", "days until it expires, 1 to 3650 (default 365; a link: 1 to"
	    " 365, default 30)" },
	[O_NAME] = { "name", "TEXT", "what the token or link is for, or how the project is called" },
	[O_OVERLAP] = { "overlap", "DAYS", "how long the old keys still verify, 0 to 3650"
	    " (default: until the last token expires)" },
	[O_CONFIG] = { "config", "FILE", "the server's configuration (default: td-sync.conf in"
	    " the data folder)" },
	[O_READ_ONLY] = { "read-only", NULL, "as --scope sync:read" },
	[O_SINCE] = { "since", "WHEN", "from so many days ago on, or a date, as 2026-11-26" },
	[O_DRY_RUN] = { "dry-run", NULL, "say what would be done, and change nothing" },
	[O_YES] = { "yes", NULL, "do it without asking" },
	[O_URL] = { "url", "URL", "the server's address for clients (default: the server's key)" },
	[O_KEEP] = { "keep", "N", "remove older backups, but for the newest N, 1 to 100000" },
	[O_WITH_KEYS] = { "with-keys", NULL, "with the keys that sign tokens: keep it as safe" },
	[O_CHECK] = { "check", NULL, "only tell what there is to do: exit code 6" },
	[O_BACK] = { "back", NULL, "to the format of before, for the td-sync of before" },
	[O_DATA] = { "data", "DIR", "the server's data folder (else TD_SYNC_SERVER_DATA)" },
	[O_JSON] = { "json", NULL, "print one JSON object a line" },
	[O_HELP] = { "help", NULL, "show this help, or a command's" },
	[O_VERSION] = { "version", NULL, "show the version" },
};

struct command {
	const char *group, *verb; /* verb NULL: the group is the command */
	const char *args;         /* what follows, as shown */
	int n_args;
	unsigned options;         /* bits of its own options */
	unsigned required;        /* those that must be there */
	const char *does;
	int (*run)(struct admin *a);
	bool anywhere;            /* needs no data folder */
	bool alone;               /* sees to the data folder itself */
	bool opens;               /* opens it itself: there may be none yet */
	int more;                 /* so many more arguments may follow */
};

static const struct command commands[] = {
	{ "init", NULL, "", 0, 0, 0, "make the data folder, its first key and server.db",
	  init_run, .opens = true },
	{ "user", "add", "EMAIL", 1, 0, 0, "make a user; prints its id", user_add_run },
	{ "user", "list", "", 0, 0, 0, "list users", user_list_run },
	{ "user", "remove", "EMAIL", 1, BIT(O_YES), 0,
	  "remove a user, the tokens and the memberships", user_remove_run },
	{ "project", "add", "NAME", 1,
	  BIT(O_OWNER) | BIT(O_DESCRIPTION) | BIT(O_PROFILE) | BIT(O_PROFILES), BIT(O_OWNER),
	  "make a project; prints its id", project_add_run },
	{ "project", "list", "", 0, 0, 0, "list projects, deleted ones too",
	  project_list_run },
	{ "project", "delete", "PROJECT", 1, BIT(O_YES), 0,
	  "let nobody in any more; its files stay", project_delete_run },
	{ "project", "purge", "PROJECT", 1, BIT(O_YES), 0,
	  "remove all files of a deleted project", project_purge_run },
	{ "project", "share", "PROJECT", 1, 0, 0, "let anyone read it", project_share_run },
	{ "project", "unshare", "PROJECT", 1, 0, 0, "let its members only read it",
	  project_unshare_run },
	{ "project", "verify", "PROJECT", 1, BIT(O_PROFILES), 0,
	  "check its log, its state and its snapshots", project_verify_run },
	{ "project", "rebuild", "PROJECT", 1, BIT(O_PROFILES), 0,
	  "make its state anew from its log", project_rebuild_run },
	{ "project", "conflicts", "PROJECT", 1, BIT(O_PROFILES), 0,
	  "list what was lost where two edited at once", project_conflicts_run },
	{ "project", "skipped", "PROJECT", 1, BIT(O_PROFILES), 0,
	  "list events that could not be applied", project_skipped_run },
	{ "profile", "check", "FILE", 1, 0, 0, "tell what is wrong with a profile's file",
	  profile_check_run, true },
	{ "profile", "list", "", 0, BIT(O_PROFILES), 0, "list the profiles that there are",
	  profile_list_run },
	{ "member", "set", "PROJECT EMAIL ROLE", 3, 0, 0,
	  "add a member, or change the role: reader, writer or owner", member_set_run },
	{ "member", "remove", "PROJECT EMAIL", 2, 0, 0, "remove a member",
	  member_remove_run },
	{ "member", "list", "PROJECT", 1, 0, 0, "list a project's members",
	  member_list_run },
	{ "invitation", "create", "PROJECT EMAIL ROLE", 3, 0, 0,
	  "ask somebody to join, without a mail; prints its id", invitation_create_run },
	{ "invitation", "list", "PROJECT", 1, 0, 0, "list a project's invitations",
	  invitation_list_run },
	{ "invitation", "revoke", "PROJECT ID", 2, 0, 0, "take an invitation back",
	  invitation_revoke_run },
	{ "token", "create", "", 0,
	  BIT(O_USER) | BIT(O_PROJECT) | BIT(O_SCOPE) | BIT(O_READ_ONLY) | BIT(O_DAYS) |
	  BIT(O_NAME),
	  BIT(O_USER), "make a token; prints it, and it is shown this once",
	  token_create_run },
	{ "token", "list", "", 0, BIT(O_USER), 0, "list tokens (not the secrets)", token_list_run },
	{ "token", "revoke", "ID", 1, 0, 0, "revoke a token, from the next request on",
	  token_revoke_run },
	{ "link", "create", "PROJECT", 1, BIT(O_DAYS) | BIT(O_NAME), 0,
	  "make a share link, a token that reads it; shown this once", link_create_run },
	{ "link", "list", "PROJECT", 1, 0, 0, "list a project's share links",
	  link_list_run },
	{ "link", "revoke", "ID", 1, 0, 0, "revoke a share link, from the next request on",
	  link_revoke_run },
	{ "key", "create", "", 0, 0, 0, "make a key that signs from now on; prints its id",
	  key_create_run },
	{ "key", "rotate", "", 0, BIT(O_OVERLAP), 0,
	  "make a new key and retire the others; prints its id", key_rotate_run },
	{ "key", "list", "", 0, 0, 0, "list keys", key_list_run },
	{ "mail", "test", "ADDRESS", 1, BIT(O_CONFIG), 0,
	  "send a test mail with the server's configuration", mail_test_run },
	{ "doctor", NULL, "", 0, BIT(O_URL) | BIT(O_CONFIG), 0,
	  "look for what is wrong, or soon will be", doctor_run, false, true },
	{ "export", NULL, "PROJECT [FILE]", 1, 0, 0,
	  "write a project as JSON lines, to FILE or stdout", export_run, .more = 1 },
	{ "import", NULL, "FILE", 1, BIT(O_NAME) | BIT(O_OWNER) | BIT(O_PROFILES), 0,
	  "make a project of what export wrote (-: stdin); prints its id", import_run },
	{ "import-go", NULL, "GODIR", 1, BIT(O_DRY_RUN) | BIT(O_PROFILES), 0,
	  "take over all that a Go server's data folder holds", import_go_run },
	{ "audit", NULL, "", 0, BIT(O_SINCE) | BIT(O_USER) | BIT(O_PROJECT), 0,
	  "list who did what", audit_run },
	{ "backup", NULL, "DIR", 1, BIT(O_WITH_KEYS) | BIT(O_KEEP), 0,
	  "copy everything to a new folder in DIR", backup_run },
	{ "restore", NULL, "BACKUP", 1, BIT(O_PROJECT) | BIT(O_YES), 0,
	  "make everything, or a project, what a backup holds", restore_run, .opens = true },
	{ "upgrade", NULL, "", 0, BIT(O_CHECK) | BIT(O_BACK), 0,
	  "bring the databases to the formats of this td-sync", upgrade_run, .opens = true },
};
#define N_COMMANDS (sizeof(commands) / sizeof(commands[0]))

/* --- shared by the commands --- */

static int
exit_code(enum rc rc)
{
	switch (rc) {
	case RC_OK:
		return EXIT_SUCCESS;
	case RC_NOT_FOUND:
		return EXIT_NOT_FOUND;
	case RC_CONFLICT:
	case RC_LAST_OWNER:
	case RC_EXPIRED:
		return EXIT_CONFLICT;
	case RC_INVALID:
	case RC_TOO_LARGE:
		return EXIT_INVALID;
	default:
		return EXIT_ENVIRONMENT;
	}
}

int
admin_fail(struct admin *a, enum rc rc)
{
	struct buf line = { 0 };

	out_clean(&line, a->err.text[0] != '\0' ? a->err.text : rc_name(rc));
	if (buf_cstr(&line) != NULL)
		fprintf(stderr, "td-sync-admin: %s\n", line.p);
	buf_free(&line);
	return exit_code(rc);
}

int
admin_fail_with(struct admin *a, enum rc rc, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(a->err.text, sizeof(a->err.text), fmt, ap);
	va_end(ap);
	return admin_fail(a, rc);
}

enum rc
admin_open(struct admin *a)
{
	enum rc rc = accounts_open(a->data, &a->accounts, &a->err);

	if (rc == RC_NOT_FOUND)
		return err_set(&a->err, RC_UNAVAILABLE,
		    "%s is no data folder of td-sync yet: run td-sync-admin --data DIR init",
		    a->data);
	return rc;
}

enum rc
admin_any_project(struct admin *a, const char *id_or_slug, struct project *out)
{
	enum rc rc = project_get(a->accounts, id_or_slug, out, &a->err);

	if (rc == RC_NOT_FOUND)
		rc = project_by_slug(a->accounts, span_of(id_or_slug), out, &a->err);
	if (rc == RC_NOT_FOUND)
		return err_set(&a->err, rc, "there is no project with the id or slug %s",
		    id_or_slug);
	return rc;
}

enum rc
admin_project(struct admin *a, const char *id_or_slug, struct project *out)
{
	enum rc rc = admin_any_project(a, id_or_slug, out);

	if (rc == RC_OK && out->deleted_at != 0)
		return err_set(&a->err, RC_NOT_FOUND, "project %s is deleted", id_or_slug);
	return rc;
}

enum rc
admin_user(struct admin *a, const char *email, struct user *out)
{
	enum rc rc = user_by_email(a->accounts, span_of(email), out, &a->err);

	if (rc == RC_NOT_FOUND)
		return err_set(&a->err, rc, "there is no user %s", email);
	return rc;
}

int
admin_confirm(struct admin *a, const char *fmt, ...)
{
	struct buf line = { 0 };
	char question[512], answer[16];
	bool yes;
	va_list ap;

	if (a->yes)
		return -1;
	if (!isatty(STDIN_FILENO) || !isatty(STDERR_FILENO)) {
		fputs("td-sync-admin: nobody can be asked whether it is meant: give --yes\n", stderr);
		return EXIT_USAGE;
	}
	va_start(ap, fmt);
	vsnprintf(question, sizeof(question), fmt, ap);
	va_end(ap);
	out_clean(&line, question);
	fprintf(stderr, "%s? [y/N] ", buf_cstr(&line) != NULL ? line.p : "Is that meant");
	buf_free(&line);
	yes = fgets(answer, sizeof(answer), stdin) != NULL &&
	      (strcmp(answer, "y\n") == 0 || strcmp(answer, "yes\n") == 0);
	if (!yes)
		fputs("td-sync-admin: nothing was changed\n", stderr);
	return yes ? -1 : EXIT_USAGE;
}

/* --- help --- */

static void
show_option(enum option_id o)
{
	char left[40];

	snprintf(left, sizeof(left), "--%s%s%s", options[o].name,
	    options[o].arg != NULL ? " " : "",
	    options[o].arg != NULL ? options[o].arg : "");
	printf("  %-20s %s\n", left, options[o].does);
}

static void
show_command(const struct command *c, const char *indent)
{
	char left[64];

	snprintf(left, sizeof(left), "%s%s%s%s%s", c->group, c->verb != NULL ? " " : "",
	    c->verb != NULL ? c->verb : "", c->args[0] != '\0' ? " " : "", c->args);
	printf("%s%-31s %s\n", indent, left, c->does);
}

static void
show_help(const struct command *c)
{
	if (c != NULL) {
		printf("usage: td-sync-admin --data DIR [--json] %s%s%s%s%s [options]\n\n",
		    c->group, c->verb != NULL ? " " : "", c->verb != NULL ? c->verb : "",
		    c->args[0] != '\0' ? " " : "", c->args);
		printf("%s\n\noptions:\n", c->does);
	} else {
		printf("usage: td-sync-admin --data DIR [--json] COMMAND [options]\n\n"
		    "commands:\n");
		for (size_t i = 0; i < N_COMMANDS; i++)
			show_command(&commands[i], "  ");
		printf("\nA PROJECT is an id or a slug. Options for all commands:\n");
	}
	for (int o = 0; o < O__MAX; o++)
		if (o >= O_COMMON || (c != NULL && (c->options & BIT(o)) != 0))
			show_option((enum option_id)o);
	printf("\nexit codes: 0 done; 1 the environment failed (disk, lock, no data"
	    " folder);\n2 usage; 3 not found; 4 conflict (there already, last owner,"
	    " revoked already);\n5 invalid value; 6 verify found something wrong,"
	    " or upgrade --check something to do\n");
}

static int
usage(const char *fmt, ...)
{
	va_list ap;

	fputs("td-sync-admin: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputs("\ntry td-sync-admin --help\n", stderr);
	return EXIT_USAGE;
}

/* --- the command line --- */

/* The value of an option of one command. RC_INVALID: a->err says why. */
static enum rc
set_option(struct admin *a, enum option_id o, const char *value)
{
	const char **more;
	unsigned bits;

	switch (o) {
	case O_OWNER:
		a->owner = value;
		break;
	case O_DESCRIPTION:
		a->description = value;
		break;
	case O_PROFILE:
		a->profile = value;
		break;
	case O_PROFILES:
		a->profiles = value;
		break;
	case O_CONFIG:
		a->config = value;
		break;
	case O_URL:
		a->url = value;
		break;
	case O_USER:
		a->user = value;
		break;
	case O_NAME:
		a->name = value;
		break;
	case O_PROJECT:
		more = realloc(a->projects, (a->n_projects + 1) * sizeof(*more));
		if (more == NULL)
			return err_set(&a->err, RC_FAULT, "out of memory");
		a->projects = more;
		a->projects[a->n_projects++] = value;
		break;
	case O_SCOPE:
		if (!scope_parse(span_of(value), &bits))
			return err_set(&a->err, RC_INVALID, "there is no scope %s: sync:read,"
			    " sync:write, project:admin or server:admin", value);
		a->scope |= bits;
		break;
	case O_READ_ONLY:
		a->read_only = true;
		break;
	case O_SINCE:
		a->since = value;
		break;
	case O_YES:
		a->yes = true;
		break;
	case O_WITH_KEYS:
		a->with_keys = true;
		break;
	case O_CHECK:
		a->check = true;
		break;
	case O_BACK:
		a->back = true;
		break;
	case O_KEEP:
		if (!conf_int(value, 1, KEEP_MAX, &a->keep))
			return err_set(&a->err, RC_INVALID, "--keep must be a number from 1 to %d, not %s",
			    KEEP_MAX, value);
		break;
	case O_DRY_RUN:
		a->dry_run = true;
		break;
	case O_DAYS:
	case O_OVERLAP:
		if (!conf_int(value, o == O_DAYS ? 1 : 0, DAYS_MAX, &a->days))
			return err_set(&a->err, RC_INVALID, "--%s must be a number from %d to"
			    " %d, not %s", options[o].name, o == O_DAYS, DAYS_MAX, value);
		break;
	default:
		break;
	}
	return RC_OK;
}

/* The options of a command (NULL: those of all) for getopt_long(). */
static void
fill_longopts(const struct command *c, struct option out[O__MAX + 1])
{
	size_t n = 0;

	for (int o = 0; o < O__MAX; o++)
		if (o >= O_COMMON || (c != NULL && (c->options & BIT(o)) != 0))
			out[n++] = (struct option){ options[o].name,
				options[o].arg != NULL ? required_argument : no_argument, NULL,
				256 + o };
	out[n] = (struct option){ 0 };
}

/*
 * Read options until the first argument (no command yet) or all of them.
 * *given gets their bits. Returns an exit code, -1 to go on.
 */
static int
read_options(struct admin *a, const struct command *c, int argc, char **argv,
             unsigned *given)
{
	struct option longopts[O__MAX + 1];
	int o;

	fill_longopts(c, longopts);
	while ((o = getopt_long(argc, argv, c == NULL ? "+" : "", longopts, NULL)) != -1) {
		if (o == '?') {
			fputs("try td-sync-admin --help\n", stderr);
			return EXIT_USAGE;
		}
		o -= 256;
		*given |= BIT(o);
		if (o == O_DATA)
			a->data = optarg;
		else if (o == O_JSON)
			a->json = true;
		else if (o == O_VERSION)
			return printf("td-sync-admin %s\n", PACKAGE_VERSION) > 0 && out_flush()
			    ? EXIT_SUCCESS : EXIT_ENVIRONMENT;
		else if (o == O_HELP) {
			show_help(c);
			return out_flush() ? EXIT_SUCCESS : EXIT_ENVIRONMENT;
		} else {
			enum rc rc = set_option(a, (enum option_id)o, optarg);

			if (rc != RC_OK)
				return admin_fail(a, rc);
		}
	}
	return -1;
}

/* The command that argv begins with, and how many words name it. */
static const struct command *
find_command(int argc, char **argv, int *words)
{
	*words = 0;
	for (size_t i = 0; i < N_COMMANDS && argc > 0; i++) {
		const struct command *c = &commands[i];

		if (strcmp(c->group, argv[0]) != 0)
			continue;
		if (c->verb == NULL || (argc > 1 && strcmp(c->verb, argv[1]) == 0)) {
			*words = c->verb == NULL ? 1 : 2;
			return c;
		}
	}
	return NULL;
}

/* Whether text is UTF-8: it ends in server.db and in JSON. */
static bool
is_utf8(const char *text)
{
	size_t n = strlen(text), len;

	for (size_t i = 0; i < n; i += len)
		if ((len = utf8_sequence(text + i, n - i)) == 0)
			return false;
	return true;
}

/* --- who we are --- */

/* It also keeps root from following links that this user may have laid. */
enum rc
admin_become_owner(struct admin *a)
{
	struct passwd *pw;
	struct stat st;

	if (geteuid() != 0 || stat(a->data, &st) != 0 || st.st_uid == 0)
		return RC_OK;
	pw = getpwuid(st.st_uid);
	if ((pw != NULL ? initgroups(pw->pw_name, st.st_gid)
	                : setgroups(1, &st.st_gid)) != 0 ||
	    setgid(st.st_gid) != 0 || setuid(st.st_uid) != 0)
		return err_set(&a->err, RC_UNAVAILABLE,
		    "can't become the owner of %s (user %ld): %s", a->data,
		    (long)st.st_uid, strerror(errno));
	return RC_OK;
}

static int
run(struct admin *a, const struct command *c)
{
	enum rc rc;
	int code;

	umask(077);
	rc = c->anywhere || c->alone ? RC_OK : admin_become_owner(a);
	if (rc == RC_OK && !c->anywhere && !c->alone && !c->opens)
		rc = admin_open(a);
	if (rc != RC_OK)
		return admin_fail(a, rc);
	code = c->run(a);
	if (!out_flush() && code == EXIT_SUCCESS)
		code = EXIT_ENVIRONMENT;
	return code;
}

/* Read what comes behind the command's name, check it, run it. */
static int
run_command(struct admin *a, const struct command *c, int argc, char **argv)
{
	unsigned given = 0;
	int code;

	optind = 0; /* glibc: begin anew, with another set of options */
	code = read_options(a, c, argc, argv, &given);
	if (code >= 0)
		return code;
	a->args = argv + optind;
	if (argc - optind < c->n_args || argc - optind > c->n_args + c->more)
		return usage("%s%s%s takes %s", c->group, c->verb != NULL ? " " : "",
		    c->verb != NULL ? c->verb : "",
		    c->args[0] != '\0' ? c->args : "no arguments");
	for (int o = 0; o < O_COMMON; o++)
		if ((c->required & BIT(o)) != 0 && (given & BIT(o)) == 0)
			return usage("%s %s needs --%s", c->group, c->verb, options[o].name);
	if (!c->anywhere && (a->data == NULL || a->data[0] == '\0'))
		return usage("no data folder: give --data DIR, or set TD_SYNC_SERVER_DATA");
	for (int i = 1; i < argc; i++)
		if (!is_utf8(argv[i]))
			return admin_fail_with(a, RC_INVALID, "%s is not UTF-8", argv[i]);
	return run(a, c);
}

int
main(int argc, char **argv)
{
	struct admin a = { .data = getenv("TD_SYNC_SERVER_DATA"), .days = -1 };
	const struct command *c;
	unsigned given = 0;
	char *program = argv[0];
	int words, code;

	db_lean();
	code = read_options(&a, NULL, argc, argv, &given);
	if (code >= 0)
		return code;
	argc -= optind;
	argv += optind;
	c = find_command(argc, argv, &words);
	if (c == NULL)
		return argc == 0 ? usage("which command?")
		    : usage("there is no command %s%s%s", argv[0], argc > 1 ? " " : "",
		    argc > 1 ? argv[1] : "");
	/* getopt names argv[0], now the last word of the command, in its errors */
	argv[words - 1] = program;
	code = run_command(&a, c, argc - words + 1, argv + words - 1);
	accounts_close(a.accounts);
	free(a.projects);
	return code;
}
