/*
 * td-sync, the client's command: td-sync.c finds the command and reads its
 * options; what shows more than an outcome has a file of its own.
 */
#ifndef TDSYNC_CLI_TD_SYNC_H
#define TDSYNC_CLI_TD_SYNC_H

#include "tdsync.h"

#include "base/buf.h"

/* How a command ends where something differs; the other codes are td-sync.c's. */
#define EXIT_DIFFERS 10

/* A command at work. */
struct cli {
	struct tdsync *t;
	char **args;           /* its arguments, ended by NULL */
	bool json, quiet, all; /* --json, --quiet, --all */
	struct buf out;        /* one JSON object, or text; printed at the end */
	size_t members;        /* in the object */
};

/* Members of the JSON object: a name, for which a value is to follow; a number,
 * a text. */
void cli_name(struct cli *c, const char *name);
void cli_number(struct cli *c, const char *name, int64_t n);
void cli_text(struct cli *c, const char *name, const char *text);

/* Append an author as a JSON object, "null" for NULL. */
void cli_author(struct cli *c, const struct tdsync_author *a);

/* Append text for a terminal, which obeys control characters: they become '?'. */
void cli_clean(struct buf *b, const char *text);

/* Append a JSON value for a person: a string as it reads, on one line, cut to a
 * width of so many bytes (0: whole). */
void cli_value(struct buf *b, const char *json, size_t width);

/* Say what went wrong; the exit code for the outcome. */
int cli_failed(struct cli *c, enum tdsync_rc rc);

/* Say that the command line makes no sense; its exit code. */
int cli_usage(const char *what, const char *which);

/* Show what a sync did; the exit code for its outcome. */
int cli_work(struct cli *c, enum tdsync_rc rc, const struct tdsync_result *r);

int conflicts_main(struct cli *c);
int history_main(struct cli *c);
int verify_main(struct cli *c);

#endif
