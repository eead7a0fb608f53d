/* td-sync-admin doctor: configuration, keys, mail, backup. */
#include "cli/td-sync-admin-doctor.h"

#include "base/fs.h"
#include "base/json.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DAY 86400
#define BACKUP_DAYS 2 /* a backup may be so old */
#define BACKUP_FILE "last-backup.json"

static void
check_config(struct doctor *d)
{
	const struct finding wrong = { LEVEL_ERROR, "configuration", "the server does not start with "
		"it, nor read it anew", "mend that line; td-sync.conf(5) has all keys, td-sync.fcgi "
		"--check tries it" };
	char path[PATH_MAX];
	struct stat st;

	if (!d->has_config) {
		doctor_say(d, &wrong, "%s", d->a->err.text);
		return;
	}
	if (d->a->config != NULL)
		snprintf(path, sizeof(path), "%s", d->a->config);
	else if (!doctor_path(d, CONFIG_FILE, path))
		return;
	if (stat(path, &st) != 0)
		doctor_ok(d, "configuration", "no file: each key has its default, or its variable");
	else
		doctor_ok(d, "configuration", "%s is valid", path);
}

/* --- keys --- */

static void
tell_keys(struct doctor *d, const struct keyring *k)
{
	const struct finding none = { LEVEL_ERROR, "keys", "no token can be made: no logins, no links",
		"td-sync-admin key create" };
	const struct key *signer = keyring_signer(k), *key;
	int64_t now = clock_now_us() / 1000000;
	int good = 0, retired = 0;

	for (size_t i = 0; (key = keyring_at(k, i)) != NULL; i++)
		*(key->retired_at != 0 && key->retired_at <= now ? &retired : &good) += 1;
	if (signer == NULL)
		doctor_say(d, &none, "there is no key that signs (%d verify, %d are retired)", good,
		           retired);
	else
		doctor_ok(d, "keys", "%s (%s) signs; %d verif%s, %d %s retired", signer->kid, signer->alg,
		          good, good == 1 ? "ies" : "y", retired, retired == 1 ? "is" : "are");
}

static void
check_keys(struct doctor *d)
{
	const struct finding f = { LEVEL_ERROR, "keys", "the server takes no token at all until they "
		"are right", "mend what it names: rights (0600), or the file from a backup" };
	struct keyring *k = NULL;
	char path[PATH_MAX];

	if (!doctor_path(d, "keys", path))
		return;
	if (keyring_open(path, &k, &d->a->err) != RC_OK)
		doctor_say(d, &f, "%s", d->a->err.text);
	else
		tell_keys(d, k);
	keyring_close(k);
}

/* --- mail --- */

/* A program that the way needs. */
static bool
check_program(struct doctor *d, const char *path)
{
	const struct finding f = { LEVEL_ERROR, "mail", "links for login and invitations don't get to "
		"anybody", "install it, or set another way: `mail` in td-sync.conf" };

	if (access(path, X_OK) == 0)
		return true;
	doctor_say(d, &f, "mail goes through %s, which can't be run: %s", path, strerror(errno));
	return false;
}

static bool
check_password(struct doctor *d, const char *path)
{
	const struct finding absent = { LEVEL_ERROR, "mail", "the mail server takes no mail without it",
		"put the password there, for the server's user alone (0600)" };
	const struct finding open_file = { LEVEL_ERROR, "mail", "whoever reads it can send mail as you",
		"chmod 600 the file" };
	struct stat st;

	if (path[0] == '\0')
		return true;
	if (stat(path, &st) != 0 || access(path, R_OK) != 0)
		doctor_say(d, &absent, "smtp_password_file %s can't be read: %s", path, strerror(errno));
	else if ((st.st_mode & 077) != 0)
		doctor_say(d, &open_file, "smtp_password_file %s can be read by others (mode %04o)", path,
		           st.st_mode & 07777);
	else
		return true;
	return false;
}

static void
check_no_mail(struct doctor *d)
{
	const struct mail_settings *m = &d->config.mail;
	const struct finding wanted = { LEVEL_WARNING, "mail", "links for login and invitations don't "
		"get to anybody", "install a sendmail, or set `mail` to another way" };
	const struct finding needed = { LEVEL_WARNING, "mail", "who signs up is mailed a link",
		"set mail_from and, where there is no sendmail, `mail`; or signup = closed" };

	if (m->way == MAIL_AUTO && m->from[0] != '\0')
		doctor_say(d, &wanted, "no mail is sent: mail_from is set, but %s can't be run",
		           m->sendmail);
	else if (d->config.sign_up != SIGN_UP_CLOSED)
		doctor_say(d, &needed, "no mail is sent, yet signup is not closed");
	else
		doctor_ok(d, "mail", "none is sent: tokens are made by td-sync-admin token create");
}

static void
check_mail(struct doctor *d)
{
	const struct mail_settings *m = &d->config.mail;
	enum mail_way way = mail_way_of(m);
	struct buf by = { 0 };
	bool ok = true;

	if (way == MAIL_OFF) {
		check_no_mail(d);
		return;
	}
	if (way == MAIL_SENDMAIL)
		ok = check_program(d, m->sendmail);
	else if (way == MAIL_SMTP)
		ok = check_program(d, m->smtp_program) && check_password(d, m->smtp_password_file);
	mail_describe(m, &by);
	if (ok && buf_cstr(&by) != NULL)
		doctor_ok(d, "mail", "from %s by %s (td-sync-admin mail test ADDRESS sends one)", m->from,
		          by.p);
	buf_free(&by);
}

/* --- the last backup --- */

/* When it was made, and where it is; false where the note makes no sense. */
static bool
read_backup(const char *path, int64_t *at, char where[PATH_MAX], struct err *err)
{
	struct buf text = { 0 }, word = { 0 };
	struct span note, value;
	struct instant t;
	bool ok = fs_read(path, 1 << 16, &text, err) == RC_OK &&
	    json_scan(buf_span(&text), JSON_MAX_DEPTH, &note, NULL, err) == RC_OK &&
	    json_get(note, "at", &value) && json_string(value, &word) &&
	    time_parse_rfc3339(buf_span(&word), &t);

	*at = ok ? t.sec : 0;
	where[0] = '\0';
	buf_reset(&word);
	if (ok && json_get(note, "path", &value) && json_string(value, &word) &&
	    buf_cstr(&word) != NULL)
		snprintf(where, PATH_MAX, "%s", word.p);
	buf_free(&text);
	buf_free(&word);
	return ok;
}

static void
check_backup(struct doctor *d)
{
	const struct finding f = { LEVEL_WARNING, "backup", "what is lost with this disk, or by a "
		"mistake, is lost for all who have no copy of it", "td-sync-admin backup DIR, by a timer "
		"each night, and DIR to another machine" };
	char path[PATH_MAX], where[PATH_MAX];
	int64_t at, old;
	struct stat st;

	if (!doctor_path(d, BACKUP_FILE, path))
		return;
	if (stat(path, &st) != 0) {
		doctor_say(d, &f, "there never was a backup by td-sync-admin backup");
		return;
	}
	if (!read_backup(path, &at, where, &d->a->err)) {
		doctor_say(d, &f, "%s tells of no backup", path);
		return;
	}
	old = clock_now_us() / 1000000 - at;
	if (old > BACKUP_DAYS * DAY)
		doctor_say(d, &f, "the last backup is %" PRId64 " days old (%s)", old / DAY, where);
	else
		doctor_ok(d, "backup", "%" PRId64 " h old: %s", old / 3600, where);
}

void
doctor_settings(struct doctor *d)
{
	check_config(d);
	check_keys(d);
	if (d->has_config)
		check_mail(d);
	check_backup(d);
}
