/*
 * td-sync, the client's command: libtdsync for people and scripts. What was
 * done goes to stdout, what went wrong in one line to stderr. td-sync.c finds the
 * command; what several files share is here.
 */
#ifndef TDSYNC_CLI_SYNC_H
#define TDSYNC_CLI_SYNC_H

#include "tdsync.h"

#include "base/buf.h"

/* Exit codes, as the man page has them. */
enum {
	EXIT_OK = 0,
	EXIT_LATER = 1,     /* network or server: may pass, try again */
	EXIT_USAGE = 2,
	EXIT_NOT_LINKED = 3,
	EXIT_LOCAL = 4,     /* the local database */
	EXIT_AUTH = 5,      /* token, role */
	EXIT_NOT_FOUND = 6, /* no such project, conflict or entity */
	EXIT_REFUSED = 7,   /* by the server: a request, or some of the events */
	EXIT_LOG_CHANGED = 8,
	EXIT_BUG = 9,
	EXIT_DIFFERS = 10,  /* verify: something is not what it should be */
	/* of doctor, as those of td-sync-admin doctor: for monitoring */
	EXIT_FOUND_ERROR = 6,
	EXIT_FOUND_WARNING = 7
};

/* A terminal of a usual width: lines are made for it. */
#define OUT_COLUMNS 80

#define CLI_ARGS 2
#define CLI_PROJECTS 80
#define CLI_HIDDEN 16

/* A command that runs. */
struct cli {
	struct tdsync *t;
	const char *args[CLI_ARGS]; /* of the command, NULL where there is none */
	bool all, json, quiet;      /* options */
	bool read_only;
	const char *email, *name;   /* NULL: not given */
	int64_t days;               /* 0: likewise */
	const char *projects[CLI_PROJECTS];
	size_t n_projects;
	const char *hidden[CLI_HIDDEN];
	size_t n_hidden;
	char given[16];             /* those that are not for all commands */
	struct buf out;             /* one JSON object, or text */
	size_t members;             /* in the object */
	size_t items;               /* in its list, or shown */
};

/* --- td-sync-out.c --- */

/* Add a member to the JSON object; out_name(): its value is to follow. */
void out_name(struct cli *c, const char *name);
void out_number(struct cli *c, const char *name, int64_t n);
void out_text(struct cli *c, const char *name, const char *text);
void out_bool(struct cli *c, const char *name, bool yes);

/* A list as a member: each item begins with out_item(), which opens an object;
 * its members are added as above, and out_item_end() closes it. */
void out_list(struct cli *c, const char *name);
void out_item(struct cli *c);
void out_item_end(struct cli *c);
void out_list_end(struct cli *c);

/* An author as a member: an object; NULL: null. */
void out_author(struct cli *c, const char *name, const struct tdsync_author *a);

/*
 * Append what others wrote so that a terminal does not obey it: control
 * characters and what is no UTF-8 become '?'. out_cut(): at most `columns` of it,
 * the last one '…' where it is longer; returns how many.
 */
void out_clean(struct buf *b, const char *text);
size_t out_cut(struct buf *b, const char *text, size_t columns);

/* How many columns the character takes that a text begins with, and how many bytes:
 * some take two (CJK), some none (accents that join another). */
size_t out_width(const char *text, size_t *bytes);

/* Append blanks up to a column, one at least, where a line stands at `at`; returns
 * where it stands then. */
size_t out_pad(struct buf *b, size_t at, size_t column);

/* A line with a name and what it is, aligned, made harmless. */
void out_line(struct cli *c, const char *name, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* A JSON value as a person reads it: a string decoded, "(none)" for null. The
 * text is appended as it is. */
void out_value(struct buf *b, const char *json);

/* Say something on stderr, in one line. */
void out_complain(const char *text);

/* Say what a call of the library came to, in the object too; the exit code. */
int out_failed(struct cli *c, enum tdsync_rc rc);

/* Print what was collected; the exit code. */
int out_finish(struct cli *c, int code);

/* What a push, pull or sync did. */
void out_result(struct cli *c, const struct tdsync_result *r);

/* --- commands: each returns the exit code --- */

int cli_login(struct cli *c);     /* td-sync-login.c */
int cli_logout(struct cli *c);
int cli_whoami(struct cli *c);
int cli_token(struct cli *c);     /* td-sync-token.c */
int cli_invitation(struct cli *c); /* td-sync-invitation.c */
int cli_conflicts(struct cli *c); /* td-sync-conflicts.c */
int cli_history(struct cli *c);   /* td-sync-history.c */
int cli_verify(struct cli *c);    /* td-sync-verify.c */
int cli_doctor(struct cli *c);    /* td-sync-doctor.c */

/* The doctor's word where no handle can be had: an address that is none. */
int cli_doctor_unable(struct cli *c, const char *error);

/* Complain about the command line; the exit code. */
int cli_usage(const char *what, const char *which);

/* A token as members of an object, but for its secret. */
void cli_token_members(struct cli *c, const struct tdsync_token *token);

/* The projects that it is for, as text: "all", or their ids. */
void cli_token_projects(struct buf *out, const struct tdsync_token *token);

/* This machine's name, as others are told: "td-sync@HOST". */
#define CLI_HERE 80
void cli_here(char out[CLI_HERE]);

/* The end of push, pull and sync: what was done and what was not (td-sync.c). */
int cli_work_done(struct cli *c, enum tdsync_rc rc, const struct tdsync_result *r);

#endif
