/* The parts of http_test, and what they share. */
#ifndef TDSYNC_TESTS_HTTP_TEST_H
#define TDSYNC_TESTS_HTTP_TEST_H

#include "site.h"
#include "web.h"

#include "store/devices.h"

#include <check.h>

TCase *recordings_case(void); /* http_recordings.c */
TCase *bad_input_case(void);  /* http_bad.c */
TCase *bodies_case(void);     /* http_bodies.c */
TCase *sync_case(void);       /* http_sync.c */
TCase *pool_case(void);       /* http_pool.c */
TCase *pages_case(void);      /* http_pages.c */
TCase *snapshot_case(void);   /* http_snapshot.c */
TCase *purge_case(void);      /* http_purge.c */
TCase *limits_case(void);     /* http_limits.c */
TCase *metrics_case(void);    /* http_metrics.c */
TCase *rates_case(void);      /* http_rates.c */
TCase *quotas_case(void);     /* http_quotas.c */
TCase *config_case(void);     /* http_config.c */
TCase *profiles_case(void);   /* http_profiles.c */
TCase *conflicts_case(void);  /* http_conflicts.c */
TCase *state_case(void);      /* http_state.c */
TCase *heal_case(void);       /* http_heal.c */
TCase *login_case(void);      /* http_login.c */
TCase *sharing_case(void);    /* http_sharing.c */

/* Whether such a site can run here; if not, "skipped: ..." is said once. */
bool http_can_run(enum site_kind kind);

/* A site with people and a project. */
enum who { OWNER, WRITER, READER, STRANGER, NOBODY };

struct world {
	struct site site;
	char users[4][ID_MAX];    /* by enum who */
	char *tokens[4];
	char project[ID_MAX];
	char gone[ID_MAX];        /* a project that was deleted */
	struct web_answer answer; /* the last one */
};

/* Runs a test's body with each kind of site that can be here; with_each_of(): with
 * lines for its td-sync.conf. */
void with_each(void (*body)(struct world *w));
void with_each_of(const char *config, void (*body)(struct world *w));

void world_start(struct world *w, const struct site_options *o);
void world_stop(struct world *w);

/*
 * Make a call; "{p}" in the path is the project's id, "{gone}" the deleted
 * one's. `body` and `header` may be NULL. Returns the status, 0 for none.
 */
int ask(struct world *w, enum who who, const char *method, const char *path,
        const char *body, const char *header);

/* As ask(), with any token (NULL: none) and bytes (p NULL: no body). */
int ask_as(struct world *w, const char *token, const char *method, const char *path,
           struct span body, const char *header);

/* Append a push of n events of a device, numbered from `first`. */
void make_push(struct buf *out, const char *device, int first, int n);

/* Push n events of a device as the writer; the status. */
int push_some(struct world *w, const char *device, int first, int n);

/* Push n events with distinct numbers from `first`, 500 at a time; n events of that
 * many bytes each. */
void fill(struct world *w, int first, int n);
void fill_large(struct world *w, int first, int n, size_t bytes);

/* The log's id, as files are named by it. The last answer stays. */
void log_id(const struct world *w, char out[33]);

/* How often the error log says a text. */
int said(const struct world *w, const char *what);

/* Ask for what is below the project (its path and query), as a web server does that
 * runs CGI; kill what works at it after a while, 0: never. Its wait status. */
int run_cgi(struct world *w, const char *what, useconds_t kill_us);

/* Change the log by hand, as no server does. */
void change_log(const struct world *w, const char *sql);

/*
 * Push one event of a device, made at a time of day ("10:00:03"): what it does,
 * to what ("update issues td-1"), with which payload, in which ' stands for ".
 * Returns its seq.
 */
int64_t push_event(struct world *w, enum who who, const char *device, const char *time,
                   const char *deed, const char *payload);

/* The folder of the world's project. Until the next call. */
const char *project_folder(const struct world *w);

/*
 * Make a call (body p NULL: a GET) until a device is known to be served so far;
 * false: it is not after many. What is noted after an answer is advice: it is
 * skipped where somebody else has the file open, as we have when we look.
 */
bool until_device(struct world *w, const char *token, const char *path, struct span body,
                  const char *device, int64_t seq, struct device_state *out);

/* Whether the last answer is an error of that code. */
bool has_code(const struct world *w, const char *code);

/* A number out of the last answer's JSON object; -1: not there. */
int64_t answer_number(const struct world *w, const char *key);

/* Events in the log and its last seq, by a status call. */
int64_t log_count(struct world *w);

#endif
