/* The server's configuration, see config.h. */
#include "http/config.h"

#include "base/conf.h"
#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ENV_PREFIX "TD_SYNC_SERVER_"

/* A configuration while it is read. */
struct loading {
	struct config *config;
	const char *folder; /* where relative paths start; "": the current one */
};

typedef enum rc set_key(const struct loading *l, const char *value, struct err *err);

/* Store a path, made absolute against the folder of the file it stands in. */
static enum rc
set_path(const struct loading *l, char out[PATH_MAX], const char *value,
         struct err *err)
{
	bool join = value[0] != '/' && l->folder[0] != '\0';
	int n = snprintf(out, PATH_MAX, "%s%s%s", join ? l->folder : "",
	                 join ? "/" : "", value);

	if (n >= PATH_MAX)
		return err_set(err, RC_INVALID, "the path is too long");
	return RC_OK;
}

static enum rc
set_data(const struct loading *l, const char *value, struct err *err)
{
	if (value[0] == '\0')
		return err_set(err, RC_INVALID, "must be a folder");
	return set_path(l, l->config->data, value, err);
}

static enum rc
set_profiles(const struct loading *l, const char *value, struct err *err)
{
	if (value[0] == '\0')
		return err_set(err, RC_INVALID, "must be a folder");
	return set_path(l, l->config->profiles, value, err);
}

/* A log: a file, or "stderr". */
static enum rc
set_log(const struct loading *l, char out[PATH_MAX], const char *value,
        struct err *err)
{
	out[0] = '\0';
	if (value[0] == '\0')
		return err_set(err, RC_INVALID, "must be a file or \"stderr\"");
	return strcmp(value, "stderr") == 0 ? RC_OK : set_path(l, out, value, err);
}

static enum rc
set_error_log(const struct loading *l, const char *value, struct err *err)
{
	return set_log(l, l->config->error_log, value, err);
}

static enum rc
set_access_log(const struct loading *l, const char *value, struct err *err)
{
	l->config->access_log_off = strcmp(value, "off") == 0;
	if (l->config->access_log_off)
		return RC_OK;
	return set_log(l, l->config->access_log, value, err);
}

static enum rc
set_max_push_bytes(const struct loading *l, const char *value, struct err *err)
{
	if (!conf_int(value, 1024, INT64_C(1) << 30, &l->config->max_push_bytes))
		return err_set(err, RC_INVALID, "must be a number from 1024 to 1073741824");
	return RC_OK;
}

static enum rc
set_max_large_bodies(const struct loading *l, const char *value, struct err *err)
{
	if (!conf_int(value, 1, 1024, &l->config->max_large_bodies))
		return err_set(err, RC_INVALID, "must be a number from 1 to 1024");
	return RC_OK;
}

static enum rc
set_transfer_seconds(const struct loading *l, const char *value, struct err *err)
{
	if (!conf_int(value, 1, 3600, &l->config->transfer_seconds))
		return err_set(err, RC_INVALID, "must be a number from 1 to 3600");
	return RC_OK;
}

static enum rc
set_max_waiting(const struct loading *l, const char *value, struct err *err)
{
	if (!conf_int(value, 1, 1024, &l->config->max_waiting))
		return err_set(err, RC_INVALID, "must be a number from 1 to 1024");
	return RC_OK;
}

/* How much or how many of something, where only the machine sets a bound. */
static enum rc
set_amount(const char *value, int64_t *out, struct err *err)
{
	if (!conf_int(value, 0, INT64_C(1) << 50, out))
		return err_set(err, RC_INVALID, "must be a number from 0 to 1125899906842624");
	return RC_OK;
}

static enum rc
set_page_cache_bytes(const struct loading *l, const char *value, struct err *err)
{
	return set_amount(value, &l->config->page_cache_bytes, err);
}

static enum rc
set_snapshot_lag(const struct loading *l, const char *value, struct err *err)
{
	return set_amount(value, &l->config->snapshot_lag, err);
}

static enum rc
set_max_replay_events(const struct loading *l, const char *value, struct err *err)
{
	return set_amount(value, &l->config->max_replay_events, err);
}

static enum rc
set_max_project_events(const struct loading *l, const char *value, struct err *err)
{
	return set_amount(value, &l->config->max_project_events, err);
}

static enum rc
set_max_project_bytes(const struct loading *l, const char *value, struct err *err)
{
	return set_amount(value, &l->config->max_project_bytes, err);
}

static enum rc
set_max_user_projects(const struct loading *l, const char *value, struct err *err)
{
	return set_amount(value, &l->config->max_user_projects, err);
}

static enum rc
set_unknown_entities(const struct loading *l, const char *value, struct err *err)
{
	l->config->refuse_unknown = strcmp(value, "refuse") == 0;
	if (!l->config->refuse_unknown && strcmp(value, "park") != 0)
		return err_set(err, RC_INVALID, "must be \"park\" or \"refuse\"");
	return RC_OK;
}

static enum rc
set_switch(const char *value, bool *out, struct err *err)
{
	*out = strcmp(value, "on") == 0;
	if (!*out && strcmp(value, "off") != 0)
		return err_set(err, RC_INVALID, "must be \"on\" or \"off\"");
	return RC_OK;
}

static enum rc
set_heal(const struct loading *l, const char *value, struct err *err)
{
	return set_switch(value, &l->config->heal, err);
}

static enum rc
set_limits(const struct loading *l, const char *value, struct err *err)
{
	return set_switch(value, &l->config->limits, err);
}

static enum rc
set_conflict_note(const struct loading *l, const char *value, struct err *err)
{
	return set_switch(value, &l->config->conflict_note, err);
}

/* http:// or https://, a host, perhaps a path: what stands in mails and pages. */
static enum rc
set_url(const struct loading *l, const char *value, struct err *err)
{
	size_t n = strlen(value), scheme;

	l->config->url[0] = '\0';
	if (n == 0) /* none */
		return RC_OK;
	scheme = strncmp(value, "https://", 8) == 0 ? 8 : strncmp(value, "http://", 7) == 0 ? 7 : 0;
	while (n > scheme && value[n - 1] == '/')
		n--;
	if (scheme == 0 || n == scheme || value[scheme] == '/' || n >= sizeof(l->config->url) ||
	    strspn(value, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	           "-._~:/[]%@+") != strlen(value))
		return err_set(err, RC_INVALID, "must be https://HOST[:PORT][/PATH], or http://");
	snprintf(l->config->url, sizeof(l->config->url), "%.*s", (int)n, value);
	return RC_OK;
}

static enum rc
set_signup(const struct loading *l, const char *value, struct err *err)
{
	static const char *const names[] = {
		[SIGN_UP_CLOSED] = "closed", [SIGN_UP_INVITED] = "invited", [SIGN_UP_OPEN] = "open",
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(value, names[i]) == 0) {
			l->config->sign_up = (enum sign_up)i;
			return RC_OK;
		}
	return err_set(err, RC_INVALID, "must be \"closed\", \"invited\" or \"open\"");
}

static enum rc
set_approval(const struct loading *l, const char *value, struct err *err)
{
	l->config->approve_by_link = strcmp(value, "link") == 0;
	if (!l->config->approve_by_link && strcmp(value, "click") != 0)
		return err_set(err, RC_INVALID, "must be \"click\" or \"link\"");
	return RC_OK;
}

static enum rc
set_code_login(const struct loading *l, const char *value, struct err *err)
{
	return set_switch(value, &l->config->code_login, err);
}

static enum rc
set_public_projects(const struct loading *l, const char *value, struct err *err)
{
	return set_switch(value, &l->config->public_projects, err);
}

static enum rc
set_setup_secret(const struct loading *l, const char *value, struct err *err)
{
	struct config *c = l->config;
	size_t n = strlen(value);

	if (n != 0 && (n < SETUP_SECRET_MIN || n >= sizeof(c->setup_secret)))
		return err_set(err, RC_INVALID, "must have %d to %zu bytes", SETUP_SECRET_MIN,
		               sizeof(c->setup_secret) - 1);
	snprintf(c->setup_secret, sizeof(c->setup_secret), "%s", value);
	return RC_OK;
}

static enum rc
set_audit_days(const struct loading *l, const char *value, struct err *err)
{
	if (!conf_int(value, 0, 36500, &l->config->audit_days))
		return err_set(err, RC_INVALID, "must be a number from 0 to 36500");
	return RC_OK;
}

/* --- mail --- */

static enum rc
set_mail(const struct loading *l, const char *value, struct err *err)
{
	static const char *const ways[] = {
		[MAIL_AUTO] = "auto", [MAIL_OFF] = "off", [MAIL_SENDMAIL] = "sendmail",
		[MAIL_SMTP] = "smtp", [MAIL_COMMAND] = "command", [MAIL_FILE] = "file",
	};

	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++)
		if (strcmp(value, ways[i]) == 0) {
			l->config->mail.way = (enum mail_way)i;
			return RC_OK;
		}
	return err_set(err, RC_INVALID, "must be \"auto\", \"off\", \"sendmail\", \"smtp\","
	               " \"command\" or \"file\"");
}

static enum rc
set_mail_seconds(const struct loading *l, const char *value, struct err *err)
{
	if (!conf_int(value, 1, 30, &l->config->mail.seconds))
		return err_set(err, RC_INVALID, "must be a number from 1 to 30");
	return RC_OK;
}

static enum rc
set_mail_from(const struct loading *l, const char *value, struct err *err)
{
	if (!mail_address_ok(value))
		return err_set(err, RC_INVALID, "must be one address, as td-sync@example.com");
	snprintf(l->config->mail.from, sizeof(l->config->mail.from), "%s", value);
	return RC_OK;
}

/* Store a text that must be there. */
static enum rc
set_text(char *out, size_t size, const char *value, struct err *err)
{
	int n;

	if (value[0] == '\0')
		return err_set(err, RC_INVALID, "must not be empty");
	n = snprintf(out, size, "%s", value);
	return (size_t)n < size ? RC_OK
	       : err_set(err, RC_INVALID, "must not be longer than %zu bytes", size - 1);
}

static enum rc
set_mail_command(const struct loading *l, const char *value, struct err *err)
{
	return set_text(l->config->mail.command, sizeof(l->config->mail.command), value, err);
}

static enum rc
set_smtp_user(const struct loading *l, const char *value, struct err *err)
{
	return set_text(l->config->mail.smtp_user, sizeof(l->config->mail.smtp_user), value, err);
}

static enum rc
set_smtp_url(const struct loading *l, const char *value, struct err *err)
{
	if (!mail_smtp_url_ok(value))
		return err_set(err, RC_INVALID, "must be smtp://HOST, smtps://HOST, or one of them"
		               " with a port, as smtp://mail.example.com:587");
	snprintf(l->config->mail.smtp_url, sizeof(l->config->mail.smtp_url), "%s", value);
	return RC_OK;
}

/* A file that must be named where the key is. */
static enum rc
set_file(const struct loading *l, char out[PATH_MAX], const char *value, struct err *err)
{
	if (value[0] == '\0')
		return err_set(err, RC_INVALID, "must be a file");
	return set_path(l, out, value, err);
}

static enum rc
set_mail_file(const struct loading *l, const char *value, struct err *err)
{
	return set_file(l, l->config->mail.file, value, err);
}

static enum rc
set_sendmail(const struct loading *l, const char *value, struct err *err)
{
	return set_file(l, l->config->mail.sendmail, value, err);
}

static enum rc
set_smtp_program(const struct loading *l, const char *value, struct err *err)
{
	return set_file(l, l->config->mail.smtp_program, value, err);
}

static enum rc
set_smtp_password_file(const struct loading *l, const char *value, struct err *err)
{
	return set_file(l, l->config->mail.smtp_password_file, value, err);
}

static enum rc
set_smtp_ca_file(const struct loading *l, const char *value, struct err *err)
{
	return set_file(l, l->config->mail.smtp_ca_file, value, err);
}

static enum rc
set_smtp_tls(const struct loading *l, const char *value, struct err *err)
{
	return set_switch(value, &l->config->mail.smtp_tls, err);
}

/* --- all keys --- */

static const struct {
	const char *name;
	set_key *set;
} keys[] = {
	{ "data",             set_data },
	{ "profiles",         set_profiles },
	{ "error_log",        set_error_log },
	{ "access_log",       set_access_log },
	{ "max_push_bytes",   set_max_push_bytes },
	{ "max_large_bodies", set_max_large_bodies },
	{ "transfer_seconds", set_transfer_seconds },
	{ "max_waiting",      set_max_waiting },
	{ "page_cache_bytes", set_page_cache_bytes },
	{ "snapshot_lag",     set_snapshot_lag },
	{ "max_replay_events", set_max_replay_events },
	{ "max_project_events", set_max_project_events },
	{ "max_project_bytes", set_max_project_bytes },
	{ "max_user_projects", set_max_user_projects },
	{ "limits",           set_limits },
	{ "unknown_entities", set_unknown_entities },
	{ "heal",             set_heal },
	{ "conflict_note",    set_conflict_note },
	{ "url",              set_url },
	{ "signup",           set_signup },
	{ "approval",         set_approval },
	{ "code_login",       set_code_login },
	{ "public_projects",  set_public_projects },
	{ "setup_secret",     set_setup_secret },
	{ "audit_days",       set_audit_days },
	{ "mail",             set_mail },
	{ "mail_from",        set_mail_from },
	{ "mail_seconds",     set_mail_seconds },
	{ "mail_command",     set_mail_command },
	{ "mail_file",        set_mail_file },
	{ "sendmail",         set_sendmail },
	{ "smtp_url",         set_smtp_url },
	{ "smtp_tls",         set_smtp_tls },
	{ "smtp_user",        set_smtp_user },
	{ "smtp_password_file", set_smtp_password_file },
	{ "smtp_ca_file",     set_smtp_ca_file },
	{ "smtp_program",     set_smtp_program },
};
#define KEYS (sizeof(keys) / sizeof(keys[0]))

const char *
config_key(size_t i)
{
	return i < KEYS ? keys[i].name : NULL;
}

static enum rc
set(void *ctx, const char *key, const char *value, struct err *err)
{
	for (size_t i = 0; i < KEYS; i++)
		if (strcmp(key, keys[i].name) == 0)
			return keys[i].set(ctx, value, err);
	return RC_NOT_FOUND;
}

/* Read one file; a missing one is fine unless it was asked for by name. */
static enum rc
read_file(const char *path, bool must_exist, struct config *config, struct err *err)
{
	char folder[PATH_MAX];
	const char *slash = strrchr(path, '/');
	struct loading l = { config, folder };
	enum rc rc;

	snprintf(folder, sizeof(folder), "%.*s",
	         slash == NULL ? 0 : slash == path ? 1 : (int)(slash - path), path);
	rc = conf_read(path, set, &l, err);
	if (rc != RC_NOT_FOUND)
		return rc;
	return must_exist ? err_set(err, RC_INVALID, "%s: no such file", path) : RC_OK;
}

enum rc
config_load(const char *file, const char *data, struct config *out, struct err *err)
{
	struct loading here = { out, "" };
	char path[PATH_MAX + sizeof("/" CONFIG_FILE)];
	const char *named = data;
	struct err why;
	enum rc rc;

	*out = (struct config){
		.profiles = DATADIR "/profiles",
		.max_push_bytes = 64 << 20, .max_large_bodies = 4,
		.transfer_seconds = 60, .max_waiting = 16, .page_cache_bytes = 1 << 30,
		.max_replay_events = 200000, .heal = true, .conflict_note = true,
		.public_projects = true,
		.audit_days = 90,
		.mail = {
			.way = MAIL_AUTO, .seconds = 10, .sendmail = "/usr/sbin/sendmail",
			.smtp_program = LIBEXECDIR "/td-sync-smtp", .smtp_tls = true,
		},
	};
	if (named == NULL)
		named = getenv(ENV_PREFIX "DATA");
	if (file != NULL)
		snprintf(path, sizeof(path), "%s", file);
	else if (named != NULL)
		snprintf(path, sizeof(path), "%s/" CONFIG_FILE, named);
	else
		snprintf(path, sizeof(path), CONFIG_FILE);
	rc = read_file(path, file != NULL, out, err);
	if (rc == RC_OK)
		rc = conf_read_env(ENV_PREFIX, set, &here, err);
	if (rc == RC_OK && data != NULL)
		rc = set_data(&here, data, err);
	if (rc == RC_OK && out->data[0] == '\0')
		rc = err_set(err, RC_INVALID,
		             "no data folder: give --data DIR, or set `data` in %s", path);
	if (rc == RC_OK && mail_check(&out->mail, &why) != RC_OK)
		rc = err_set(err, RC_INVALID, "%s: %s", path, why.text);
	return rc;
}

enum rc
config_open_logs(const struct config *config, struct err *err)
{
	return log_open(config->error_log[0] != '\0' ? config->error_log : NULL,
	                config->access_log[0] != '\0' ? config->access_log : NULL, err);
}
