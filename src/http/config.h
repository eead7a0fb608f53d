/*
 * The server's configuration: td-sync.conf, the environment (TD_SYNC_SERVER_
 * and the key in capitals), the command line; the later of them wins. Every
 * key with its default is in conf/td-sync.conf.
 */
#ifndef TDSYNC_HTTP_CONFIG_H
#define TDSYNC_HTTP_CONFIG_H

#include "auth/login.h"
#include "base/buf.h"
#include "base/rc.h"
#include "mail/mail.h"

#include <limits.h>

#define CONFIG_FILE "td-sync.conf"

#define SETUP_SECRET_MIN 16 /* bytes */

struct config {
	char data[PATH_MAX];       /* the data folder; never empty */
	char profiles[PATH_MAX];   /* the folder of profiles; it may be missing */
	char error_log[PATH_MAX];  /* a file; "": stderr */
	char access_log[PATH_MAX]; /* a file; "": stderr */
	bool access_log_off;       /* write no access log at all */
	int64_t max_push_bytes;    /* the largest body of a push */
	int64_t max_large_bodies;  /* bodies above LARGE_BODY at the same time */
	int64_t transfer_seconds;  /* for a body to come, and an answer to go */
	int64_t max_waiting;       /* requests at one project's lock, where no
	                            * pool says how many */
	int64_t page_cache_bytes;  /* pages kept on disk, all together; 0: none */
	int64_t snapshot_lag;      /* events that a snapshot may be behind */
	int64_t max_replay_events; /* for a snapshot of the past */
	int64_t max_project_events; /* in a project's log; 0: any number */
	int64_t max_project_bytes; /* likewise, of the log on disk */
	int64_t max_user_projects; /* that a user may own; 0: any number */
	bool heal;                 /* answer where stock devices would disagree */
	bool conflict_note;        /* and tell of lost values */
	char url[1024];            /* where clients find us, without a last '/'; "" */
	enum sign_up sign_up;      /* who may get an account by logging in */
	bool approve_by_link;      /* a GET of the mailed link approves a login */
	bool code_login;           /* the older flow is there, too */
	bool public_projects;      /* anyone reads what its owners made public */
	char setup_secret[256];    /* of the page that makes the first owner; "": no page */
	int64_t audit_days;        /* the audit log is kept so long; 0: for ever */
	bool limits;               /* on how often one may ask, see rates.h */
	bool refuse_unknown;       /* unknown entity types: refused, not parked */
	struct mail_settings mail; /* mail_check() is RC_OK */
};

/* The name of the i-th key, NULL past the last. */
const char *config_key(size_t i);

/*
 * Read the configuration. `file` is --config (NULL: td-sync.conf in the data
 * folder or, where nothing names one, in the current folder; it may be
 * missing), `data` is --data (NULL: not given). Relative paths in the file
 * start at its folder. RC_INVALID: err names file, line and cause.
 */
enum rc config_load(const char *file, const char *data, struct config *out,
                    struct err *err);

/* Send the logs where it says, see log_open(). */
enum rc config_open_logs(const struct config *config, struct err *err);

#endif
