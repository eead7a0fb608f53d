/*
 * Mail that the server sends: a message is written to the standard input of a
 * program that takes it over, or appended to a file. The worker itself talks to
 * no mail server, and links no library for it.
 */
#ifndef TDSYNC_MAIL_MAIL_H
#define TDSYNC_MAIL_MAIL_H

#include "base/buf.h"
#include "base/rc.h"

#include <limits.h>

/* Bounds, in bytes: an address (RFC 5321 4.5.3.1: a path of 256 with its
 * brackets), its local part, a subject. */
#define MAIL_ADDRESS_MAX 254
#define MAIL_LOCAL_MAX 64
#define MAIL_SUBJECT_MAX 500

/* Which program it is, the key `mail`. */
enum mail_way {
	MAIL_AUTO,     /* sendmail where it is installed and there is a `from`, else off */
	MAIL_OFF,
	MAIL_SENDMAIL, /* the system's */
	MAIL_SMTP,     /* our td-sync-smtp, which talks to a mail server */
	MAIL_COMMAND,  /* any command line */
	MAIL_FILE,     /* none: a file that grows, for development */
};

/* The keys of td-sync.conf, see td-sync.conf(5); "" where one is not set. */
struct mail_settings {
	enum mail_way way;
	int64_t seconds;                 /* a program may take, then it is killed */
	char from[MAIL_ADDRESS_MAX + 1];
	char sendmail[PATH_MAX];
	char command[1024];              /* for /bin/sh -c */
	char file[PATH_MAX];             /* made with mode 0600 */
	char smtp_program[PATH_MAX];
	char smtp_url[512];
	bool smtp_tls;                   /* smtp:// begins TLS, or nothing is sent */
	char smtp_user[256];
	char smtp_password_file[PATH_MAX];
	char smtp_ca_file[PATH_MAX];     /* "": the system's */
};

/* A message; all borrowed. */
struct mail {
	const char *to, *subject; /* UTF-8; judged by mail_send() */
	struct span text;         /* UTF-8, lines end with LF */
};

/*
 * Whether it is one address as we write it into headers and give it to
 * programs: a dot-atom, '@', a host name (RFC 5321 4.1.2 without quoted local
 * parts and address literals), ASCII only. A host beyond ASCII is spelt in its
 * xn-- form. None starts with '-', '|' or '/', which programs give a meaning to.
 */
bool mail_address_ok(const char *address);

/* Whether it is smtp://HOST[:PORT] or smtps://HOST[:PORT], and nothing more. */
bool mail_smtp_url_ok(const char *url);

/* Whether the way has what it needs. RC_INVALID: err names the key. */
enum rc mail_check(const struct mail_settings *s, struct err *err);

/* How it is sent, with what `auto` leaves open decided: never MAIL_AUTO. */
enum mail_way mail_way_of(const struct mail_settings *s);

/* What takes the mail, for people: "sendmail (/usr/sbin/sendmail)". */
void mail_describe(const struct mail_settings *s, struct buf *out);

/*
 * Send a message. `s` must have passed mail_check(). Returns when the program
 * has ended, after s->seconds at most.
 *
 * RC_OK: it was taken over: the program ended with 0, or the file has it. What
 * the program printed then is a line of the error log.
 * RC_INVALID: `to` is not one address (mail_address_ok()), or `subject` is empty,
 * too long, not UTF-8, or has control characters; nothing was sent.
 * RC_UNAVAILABLE: it was not taken over, and err says why, with what the program
 * printed; not logged. RC_FAULT: out of memory.
 */
enum rc mail_send(const struct mail_settings *s, const struct mail *m, struct err *err);

#endif
