/* Mail that the server sends, see mail.h. */
#include "mail/mail.h"

#include "base/clock.h"
#include "base/log.h"
#include "mail/message.h"
#include "mail/run.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum mail_way
mail_way_of(const struct mail_settings *s)
{
	if (s->way != MAIL_AUTO)
		return s->way;
	return s->from[0] != '\0' && access(s->sendmail, X_OK) == 0 ? MAIL_SENDMAIL : MAIL_OFF;
}

enum rc
mail_check(const struct mail_settings *s, struct err *err)
{
	const char *way = s->way == MAIL_SENDMAIL ? "sendmail" : s->way == MAIL_SMTP ? "smtp"
	                  : s->way == MAIL_COMMAND ? "command" : "file";
	const char *needs = NULL;

	if ((s->smtp_user[0] != '\0') != (s->smtp_password_file[0] != '\0'))
		return err_set(err, RC_INVALID, "smtp_user needs smtp_password_file, and the other way round");
	if (s->way == MAIL_AUTO || s->way == MAIL_OFF)
		return RC_OK;
	if (s->from[0] == '\0')
		needs = "mail_from";
	else if (s->way == MAIL_SMTP && s->smtp_url[0] == '\0')
		needs = "smtp_url";
	else if (s->way == MAIL_COMMAND && s->command[0] == '\0')
		needs = "mail_command";
	else if (s->way == MAIL_FILE && s->file[0] == '\0')
		needs = "mail_file";
	return needs == NULL ? RC_OK
	       : err_set(err, RC_INVALID, "mail = %s needs the key %s", way, needs);
}

void
mail_describe(const struct mail_settings *s, struct buf *out)
{
	switch (mail_way_of(s)) {
	case MAIL_SENDMAIL:
		buf_addf(out, "sendmail (%s)", s->sendmail);
		break;
	case MAIL_SMTP:
		buf_add_str(out, s->smtp_url);
		break;
	case MAIL_COMMAND:
		buf_addf(out, "the command: %s", s->command);
		break;
	case MAIL_FILE:
		buf_addf(out, "the file %s", s->file);
		break;
	default:
		buf_add_str(out, "nobody");
	}
}

/* Run a program with the message; `name` is what people know it by. */
static enum rc
run(const struct mail_settings *s, const char *name, const char *const *argv,
    struct span message, struct err *err)
{
	struct ran ran;
	enum rc rc = run_program(argv, message, s->seconds, &ran, err);
	const char *colon = ran.said[0] != '\0' ? ": " : "";

	if (rc != RC_OK)
		return rc;
	if (ran.late)
		return err_set(err, RC_UNAVAILABLE, "%s did not end within %lld s and was killed%s%s",
		               name, (long long)s->seconds, colon, ran.said);
	if (!WIFEXITED(ran.status))
		return err_set(err, RC_UNAVAILABLE, "%s was ended by signal %d%s%s", name,
		               WTERMSIG(ran.status), colon, ran.said);
	if (WEXITSTATUS(ran.status) != 0)
		return err_set(err, RC_UNAVAILABLE, "%s failed (exit status %d)%s%s", name,
		               WEXITSTATUS(ran.status), colon, ran.said);
	if (ran.said[0] != '\0')
		log_write(LOG_WARN, "%s took a mail over, and said: %s", name, ran.said);
	return RC_OK;
}

/* The envelope by arguments, not by the headers (-t): so nothing in a header
 * can add to it. An address never looks like an option. -i: a line with a dot
 * alone is text. */
static enum rc
by_sendmail(const struct mail_settings *s, const char *to, struct span message,
            struct err *err)
{
	const char *argv[] = { s->sendmail, "-i", "-f", s->from, to, NULL };

	return run(s, "sendmail", argv, message, err);
}

static enum rc
by_smtp(const struct mail_settings *s, const char *to, struct span message, struct err *err)
{
	char seconds[24];
	const char *argv[16] = { s->smtp_program, "--url", s->smtp_url, "--seconds", seconds };
	size_t n = 5;

	snprintf(seconds, sizeof(seconds), "%lld", (long long)s->seconds);
	if (!s->smtp_tls)
		argv[n++] = "--plain";
	if (s->smtp_ca_file[0] != '\0') {
		argv[n++] = "--ca-file";
		argv[n++] = s->smtp_ca_file;
	}
	if (s->smtp_user[0] != '\0') {
		argv[n++] = "--user";
		argv[n++] = s->smtp_user;
		argv[n++] = "--password-file";
		argv[n++] = s->smtp_password_file;
	}
	argv[n++] = "--";
	argv[n++] = s->from;
	argv[n++] = to;
	return run(s, "td-sync-smtp", argv, message, err);
}

/* The command line is the operator's; nothing of the message is put into it. */
static enum rc
by_command(const struct mail_settings *s, struct span message, struct err *err)
{
	const char *argv[] = { "/bin/sh", "-c", s->command, NULL };

	return run(s, "mail_command", argv, message, err);
}

/* As a mailbox (mbox): no line of a message starts with "From ". */
static enum rc
into_file(const struct mail_settings *s, int64_t now, struct span message, struct err *err)
{
	struct buf text = { 0 };
	time_t t = (time_t)now;
	char when[64] = "";
	struct tm tm;
	int fd, why;
	ssize_t n;

	if (gmtime_r(&t, &tm) != NULL)
		strftime(when, sizeof(when), "%a %b %e %H:%M:%S %Y", &tm);
	buf_addf(&text, "From %s %s\n", s->from, when);
	buf_add_span(&text, message);
	buf_add_byte(&text, '\n');
	if (text.failed) {
		buf_free(&text);
		return err_set(err, RC_FAULT, "out of memory");
	}
	fd = open(s->file, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
	n = fd < 0 ? -1 : write(fd, text.p, text.len); /* at once: others append, too */
	why = n < 0 ? errno : (size_t)n < text.len ? ENOSPC : 0;
	if (fd >= 0)
		close(fd);
	buf_free(&text);
	return why == 0 ? RC_OK
	       : err_set(err, RC_UNAVAILABLE, "can't append to %s: %s", s->file, strerror(why));
}

enum rc
mail_send(const struct mail_settings *s, const struct mail *m, struct err *err)
{
	enum mail_way way = mail_way_of(s);
	int64_t now = clock_now_us() / 1000000;
	struct buf message = { 0 };
	enum rc rc;

	assert(mail_check(s, NULL) == RC_OK);
	if (way == MAIL_OFF)
		return err_set(err, RC_UNAVAILABLE, s->way == MAIL_OFF ? "mail is off"
		               : s->from[0] == '\0' ? "mail is off: there is no mail_from"
		               : "mail is off: there is no %s", s->sendmail);
	rc = message_write(s->from, m, now, &message, err);
	if (rc == RC_OK && way == MAIL_SENDMAIL)
		rc = by_sendmail(s, m->to, buf_span(&message), err);
	else if (rc == RC_OK && way == MAIL_SMTP)
		rc = by_smtp(s, m->to, buf_span(&message), err);
	else if (rc == RC_OK && way == MAIL_COMMAND)
		rc = by_command(s, buf_span(&message), err);
	else if (rc == RC_OK)
		rc = into_file(s, now, buf_span(&message), err);
	buf_free(&message);
	return rc;
}
