/*
 * td-sync-admin: the operator's command. td-sync-admin.c finds the command
 * and reads its options; a file per command group does the work. They share
 * what is here.
 */
#ifndef TDSYNC_CLI_ADMIN_H
#define TDSYNC_CLI_ADMIN_H

#include "auth/auth.h"
#include "base/lock.h"
#include "engine/follow.h"
#include "profiles/installed.h"

#include <limits.h>

/* How the command ends; documented in --help and the man page. */
enum {
	EXIT_ENVIRONMENT = 1, /* disk, lock, no data folder, a newer format */
	EXIT_USAGE = 2,       /* the command line makes no sense */
	EXIT_NOT_FOUND = 3,   /* no such user, project, member, token */
	EXIT_CONFLICT = 4,    /* it is there already, or not in the needed state */
	EXIT_INVALID = 5,     /* a value that can't be taken */
	EXIT_WRONG = 6,       /* verify, doctor: something is not what it should be */
	EXIT_WARNED = 7       /* doctor: nothing worse than warnings */
};

/* A command's options and arguments, and what it opened. */
struct admin {
	const char *data;        /* the data folder */
	bool json;
	char **args;             /* arguments of the command */
	const char *owner;       /* --owner, else NULL; likewise the others */
	const char *description;
	const char *user;
	const char *name;
	const char *profile;
	const char *profiles;
	const char *config;
	const char *url;
	const char **projects;   /* every --project; owned */
	size_t n_projects;
	unsigned scope;          /* all --scope together; 0: none was given */
	bool read_only, yes, dry_run; /* --read-only, --yes, --dry-run */
	bool with_keys;          /* --with-keys */
	bool check, back;        /* --check, --back */
	int64_t keep;            /* --keep; 0: all */
	const char *since;
	int64_t days;            /* --days or --overlap; -1: not given */
	struct accounts *accounts; /* set by admin_open() */
	struct err err;          /* the sentence of the last failure */
};

/* --- what commands share; td-sync-admin.c --- */

/* Open server.db. The keys are not looked at: a broken one must not keep
 * anybody from revoking a token. */
enum rc admin_open(struct admin *a);

/* What root makes in a folder of the server's user, the server could not read or write:
 * so root becomes that user. Of the doctor alone; all others are it already. */
enum rc admin_become_owner(struct admin *a);

/* Say a->err on stderr; returns the exit code for the outcome. */
int admin_fail(struct admin *a, enum rc rc);

/* The same with a sentence of its own. */
int admin_fail_with(struct admin *a, enum rc rc, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* The live project of that id or slug. RC_NOT_FOUND: a->err names it. */
enum rc admin_project(struct admin *a, const char *id_or_slug, struct project *out);

/* The same, also one that was deleted. */
enum rc admin_any_project(struct admin *a, const char *id_or_slug, struct project *out);

/* The user of that address. RC_NOT_FOUND: a->err names it. */
enum rc admin_user(struct admin *a, const char *email, struct user *out);

/* Ask whether it is meant, where --yes doesn't say so: -1 to go on, else the exit
 * code. The question is a sentence up to its '?', with what will be gone. */
int admin_confirm(struct admin *a, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* The folder of the profiles: --profiles, else the server's, as td-sync.conf
 * in the data folder and the environment have it. */
enum rc admin_profiles(struct admin *a, char out[PATH_MAX]);

/* Whether a profile is there, and right. RC_NOT_FOUND: a->err names those that
 * are there. */
enum rc admin_profile(struct admin *a, const char *name);

/* A project's log, and what follows it. */
struct view {
	struct admin *a;
	char id[ID_MAX];
	char dir[PATH_MAX], profiles[PATH_MAX];
	struct installed in;
	struct events *log;
	const struct profile *profile; /* NULL: it is for none */
	struct follower *f;            /* NULL: likewise */
};

/* Open the project that a->args[0] names. admin_view_close() it in any case. */
enum rc admin_view(struct admin *a, struct view *v);
void admin_view_close(struct view *v);

/* --- a log that is taken over; td-sync-admin-making.c --- */

/* What an exported file says it is, in its first line. */
#define EXPORT_FORMAT "td-sync-export"
#define EXPORT_VERSION 1

/*
 * A project's log while it is made, in a folder that no worker looks into
 * (projects/ID.import); it gets its place when it is whole. All zero: none.
 */
struct making {
	struct admin *a;
	char id[ID_MAX];
	char dir[PATH_MAX], place[PATH_MAX];
	struct events *log;  /* NULL: there is none */
	bool writing;
	int64_t waiting;     /* bytes that are not committed yet */
};

/* One process at a time takes anything over: hold this meanwhile, lock_close() it.
 * RC_BUSY: another does. */
enum rc making_lock(struct admin *a, struct lock **out);

/* Begin an empty log; what a run that was cut short has left is removed. */
enum rc making_begin(struct making *m, struct admin *a, const char *id, const char *profile);

/* Append an event at its seq. What is there twice keeps its place (event_digest_twin()). */
enum rc making_add(struct making *m, struct event *ev);

/* Record a gap of its numbers, behind all events before it. */
enum rc making_gap(struct making *m, const struct events_gap *g);

/* The last of it: where its head is, events_heal_from() and events_moved_to(). The log is
 * durable then, and can be read. */
enum rc making_end(struct making *m, int64_t head, int64_t heal_from, int64_t moved_to);

/* Pass over the numbers that may have been given since it left its server, in such a log
 * or in one that is in its place: events_pass(). */
enum rc making_pass(struct admin *a, struct events *log);

/* Put it in its place. */
enum rc making_place(struct making *m);

/* Remove what was not put in its place. Fine in any case. */
void making_drop(struct making *m);

/* --- what they print; td-sync-admin-out.c --- */

/* An object of one line: out_begin(), members, out_end() prints it. */
void out_begin(struct buf *line);
void out_string(struct buf *line, const char *name, const char *value);
void out_span(struct buf *line, const char *name, struct span value);
void out_int(struct buf *line, const char *name, int64_t n);
void out_time(struct buf *line, const char *name, int64_t sec); /* 0: left out */
void out_raw(struct buf *line, const char *name, const char *json);
void out_end(struct buf *line);

/* Append text for a terminal: control characters become '?'. */
void out_clean(struct buf *line, const char *text);

/* The same, filled up with blanks to a width, and two more. */
void out_column(struct buf *line, const char *text, size_t width);

/* Print the line with a newline, and free it. */
void out_line(struct buf *line);

/* Whether everything printed arrived; false: said why on stderr. */
bool out_flush(void);

/* --- the commands: each returns an exit code --- */

int init_run(struct admin *a);
int user_add_run(struct admin *a);
int user_list_run(struct admin *a);
int user_remove_run(struct admin *a);
int project_add_run(struct admin *a);
int project_list_run(struct admin *a);
int project_delete_run(struct admin *a);
int project_purge_run(struct admin *a);
int project_share_run(struct admin *a);
int project_unshare_run(struct admin *a);
int project_rebuild_run(struct admin *a);
int project_skipped_run(struct admin *a);
int project_conflicts_run(struct admin *a);
int project_verify_run(struct admin *a);
int profile_check_run(struct admin *a);
int profile_list_run(struct admin *a);
int member_set_run(struct admin *a);
int member_remove_run(struct admin *a);
int member_list_run(struct admin *a);
int invitation_create_run(struct admin *a);
int invitation_list_run(struct admin *a);
int invitation_revoke_run(struct admin *a);
int token_create_run(struct admin *a);
int token_list_run(struct admin *a);
int token_revoke_run(struct admin *a);
int mail_test_run(struct admin *a);
int link_create_run(struct admin *a);
int link_list_run(struct admin *a);
int link_revoke_run(struct admin *a);
int key_create_run(struct admin *a);
int key_rotate_run(struct admin *a);
int key_list_run(struct admin *a);
int audit_run(struct admin *a);
int backup_run(struct admin *a);
int restore_run(struct admin *a);
int upgrade_run(struct admin *a);
int doctor_run(struct admin *a);
int import_go_run(struct admin *a);
int export_run(struct admin *a);
int import_run(struct admin *a);

#endif
