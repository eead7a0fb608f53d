/*
 * td-sync-admin doctor: a file per group of checks. They look and change nothing but
 * files of their own in the data folder, which go again, also when a signal ends it.
 */
#ifndef TDSYNC_CLI_ADMIN_DOCTOR_H
#define TDSYNC_CLI_ADMIN_DOCTOR_H

#include "cli/td-sync-admin.h"

#include "http/config.h"

/* How bad something is. */
enum level {
	LEVEL_OK,      /* nothing is */
	LEVEL_WARNING, /* it works, but not as it should, or not for long */
	LEVEL_ERROR    /* it doesn't, or something may be lost */
};

/* A finding, but for what it found. */
struct finding {
	enum level level;
	const char *check;      /* a word */
	const char *why, *todo; /* a sentence each; NULL where it is fine */
};

struct doctor {
	struct admin *a;
	char data[PATH_MAX];     /* the data folder's real path */
	struct config config;    /* valid where has_config */
	bool has_config;
	const char *url;         /* of the front door, "" for none */
	struct buf nginx;        /* what nginx -T said, "" for nothing */
	char nginx_why[256];     /* why it said nothing */
	char nginx_edited[PATH_MAX]; /* a file that it has not read since it was changed, "" */
	const char *group;       /* whose findings come next */
	bool shown;              /* its name was printed */
	int errors, warnings;
	bool serves;             /* td-sync answers at the front door */
	int64_t last_us;         /* when the last event was logged, in any project; 0 */
};

/* --- td-sync-admin-doctor.c --- */

/* Findings belong to that group from now on. */
void doctor_group(struct doctor *d, const char *name);

/* Tell of a finding: the sentence that says what it is. */
void doctor_say(struct doctor *d, const struct finding *f, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* The same of something that is fine. */
void doctor_ok(struct doctor *d, const char *check, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/*
 * Files of the doctor's own in the data folder. A signal that would end it waits from
 * doctor_guard() on; doctor_done() removes what the name stands for, and lets it come.
 * `name` is random, and told by doctor_guard().
 */
#define DOCTOR_SCRATCH "td-sync-doctor-"
#define DOCTOR_NAME (sizeof(DOCTOR_SCRATCH) + 16)
bool doctor_guard(struct doctor *d, char name[DOCTOR_NAME]);
void doctor_done(struct doctor *d, const char *name);

/*
 * Run a program and take what it prints: on stdout, or on both outputs. `setting`, where
 * it is not NULL, is one more variable of its environment. The exit code; -1: it could
 * not be run, did not end within so many seconds, or a signal came for us.
 */
int doctor_program(const char *const *argv, const char *setting, bool both, int seconds,
                   struct buf *out);

/* The path of something in the data folder; false: too long. */
bool doctor_path(const struct doctor *d, const char *name, char out[PATH_MAX]);

/* --- the groups --- */

void doctor_disk(struct doctor *d);     /* permissions, space, file system, SQLite */
void doctor_settings(struct doctor *d); /* configuration, keys, mail, backup */
void doctor_front(struct doctor *d);    /* the way from outside */
void doctor_pool(struct doctor *d);     /* who serves, who holds locks, the clock */
void doctor_logs(struct doctor *d);     /* the projects; sets last_us */

/* nginx's configuration: what it has in force, to d->nginx (before root becomes the
 * folder's owner); and what to say of it. */
void doctor_take_nginx(struct doctor *d);
void doctor_nginx(struct doctor *d);

#endif
