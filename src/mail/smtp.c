/*
 * td-sync-smtp: hands one message to a mail server, by libcurl. mail.c runs it,
 * with the message on standard input, lines ended by LF:
 *
 *	td-sync-smtp --url URL --seconds N [--plain] [--ca-file FILE]
 *	             [--user USER --password-file FILE] -- FROM TO
 *
 * Ends with 0 when the server has taken the message over. Otherwise with 1, and
 * one sentence on standard error; nothing else is ever printed, and no secret.
 */
#include "base/buf.h"
#include "base/conf.h"
#include "base/fs.h"
#include "mail/mail.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <curl/curl.h>

/* What a message or a password may have; the server's own are far smaller. */
#define MESSAGE_MAX ((size_t)16 << 20)
#define PASSWORD_MAX 1000

/* So much before we would be killed, we end by ourselves and can say why. */
#define EARLY_MS 500

/* The command line. */
struct order {
	const char *url, *ca_file, *user, *password_file, *from, *to;
	int64_t seconds;
	bool plain;
};

/* A message that is sent, and what the server refused last. */
struct session {
	struct span left;
	struct buf refusal; /* "550 no such mailbox": one line, of however many */
	bool goes_on;       /* its next line belongs to it */
};

static bool
parse(int argc, char **argv, struct order *o)
{
	static const struct option options[] = {
		{ "url", required_argument, NULL, 'u' },
		{ "seconds", required_argument, NULL, 's' },
		{ "plain", no_argument, NULL, 'p' },
		{ "ca-file", required_argument, NULL, 'c' },
		{ "user", required_argument, NULL, 'n' },
		{ "password-file", required_argument, NULL, 'f' },
		{ NULL, 0, NULL, 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1)
		switch (c) {
		case 'u': o->url = optarg; break;
		case 'p': o->plain = true; break;
		case 'c': o->ca_file = optarg; break;
		case 'n': o->user = optarg; break;
		case 'f': o->password_file = optarg; break;
		case 's':
			if (!conf_int(optarg, 1, 3600, &o->seconds))
				return false;
			break;
		default:
			return false;
		}
	if (argc - optind != 2)
		return false;
	o->from = argv[optind];
	o->to = argv[optind + 1];
	return o->seconds > 0 && o->url != NULL && mail_smtp_url_ok(o->url) &&
	       mail_address_ok(o->from) && mail_address_ok(o->to) &&
	       (o->user == NULL) == (o->password_file == NULL);
}

/* The first line of a file that nobody else may read. */
static enum rc
read_password(const char *path, struct buf *out, struct err *err)
{
	struct stat st;
	enum rc rc;

	if (stat(path, &st) != 0)
		return err_set(err, RC_UNAVAILABLE, "can't read smtp_password_file: %s: %s", path,
		               strerror(errno));
	if (!S_ISREG(st.st_mode) || (st.st_mode & 077) != 0)
		return err_set(err, RC_UNAVAILABLE, "smtp_password_file must be a file that only its"
		               " owner may read (mode 0600): %s", path);
	if ((rc = fs_read(path, PASSWORD_MAX, out, err)) != RC_OK)
		return rc;
	if (buf_cstr(out) == NULL)
		return err_set(err, RC_FAULT, "out of memory");
	out->p[strcspn(out->p, "\r\n")] = '\0';
	return out->p[0] != '\0' ? RC_OK
	       : err_set(err, RC_UNAVAILABLE, "smtp_password_file is empty: %s", path);
}

/* Read the message, with the line ends that SMTP has. */
static enum rc
read_message(struct buf *out, struct err *err)
{
	char part[8192];
	size_t n;

	while ((n = fread(part, 1, sizeof(part), stdin)) > 0)
		for (size_t i = 0; i < n; i++) {
			if (part[i] == '\n')
				buf_add_byte(out, '\r');
			buf_add_byte(out, part[i]);
			if (out->len > MESSAGE_MAX)
				return err_set(err, RC_TOO_LARGE, "the message is too large");
		}
	if (out->failed)
		return err_set(err, RC_FAULT, "out of memory");
	return out->len > 0 && !ferror(stdin) ? RC_OK
	       : err_set(err, RC_INVALID, "there is no message on standard input");
}

static size_t
on_read(char *p, size_t size, size_t n, void *ctx)
{
	struct session *s = ctx;

	n = size * n < s->left.len ? size * n : s->left.len;
	memcpy(p, s->left.p, n);
	s->left.p += n;
	s->left.len -= n;
	return n;
}

/*
 * A line from the server: its answers come here as HTTP's headers do. Those that
 * refuse (4xx, 5xx) are kept; of one in several lines, "550-" and "550 ", the
 * lines are joined.
 */
static size_t
on_answer(char *p, size_t size, size_t n, void *ctx)
{
	struct session *s = ctx;
	size_t len = size * n;

	while (len > 0 && (p[len - 1] == '\r' || p[len - 1] == '\n'))
		len--;
	if (len < 4 || (p[0] != '4' && p[0] != '5'))
		return size * n;
	if (!s->goes_on)
		buf_reset(&s->refusal);
	if (s->refusal.len == 0)
		buf_add(&s->refusal, p, 3);
	buf_add_byte(&s->refusal, ' ');
	buf_add(&s->refusal, p + 4, len - 4);
	s->goes_on = p[3] == '-';
	return size * n;
}

/* Say in a sentence why it was not sent. */
static enum rc
explain(const struct order *o, CURL *c, CURLcode code, const char *why,
        struct session *s, struct err *err)
{
	const char *refusal = buf_cstr(&s->refusal);
	long answer = 0;

	if (why[0] == '\0')
		why = curl_easy_strerror(code);
	/* An earlier one may have been got over (EHLO, a way to authenticate). */
	curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &answer);
	if (refusal != NULL && (answer < 400 || strtol(refusal, NULL, 10) != answer))
		refusal = NULL;
	switch (code) {
	case CURLE_COULDNT_RESOLVE_HOST:
		return err_set(err, RC_UNAVAILABLE, "%s: the host is not known", o->url);
	case CURLE_COULDNT_CONNECT:
		return err_set(err, RC_UNAVAILABLE, "%s: no connection: %s", o->url, why);
	case CURLE_OPERATION_TIMEDOUT:
		return err_set(err, RC_UNAVAILABLE, "%s: not done within %lld s", o->url,
		               (long long)o->seconds);
	case CURLE_PEER_FAILED_VERIFICATION:
		return err_set(err, RC_UNAVAILABLE, "%s: the server's certificate is not trusted: %s",
		               o->url, why);
	case CURLE_SSL_CACERT_BADFILE:
		return o->ca_file != NULL
		       ? err_set(err, RC_UNAVAILABLE, "smtp_ca_file can't be used: %s", o->ca_file)
		       : err_set(err, RC_UNAVAILABLE, "the system's list of certificate authorities"
		                 " can't be used (Debian: ca-certificates), and there is no smtp_ca_file");
	case CURLE_USE_SSL_FAILED:
		return err_set(err, RC_UNAVAILABLE, "%s: the server offers no TLS; nothing was sent",
		               o->url);
	case CURLE_LOGIN_DENIED:
		return err_set(err, RC_UNAVAILABLE, "%s: the server refused smtp_user or the password: %s",
		               o->url, refusal != NULL ? refusal : why);
	default:
		return refusal != NULL
		       ? err_set(err, RC_UNAVAILABLE, "%s: the server refused the mail: %s", o->url, refusal)
		       : err_set(err, RC_UNAVAILABLE, "%s: %s", o->url, why);
	}
}

static enum rc
send_message(const struct order *o, const char *password, struct span message,
             struct err *err)
{
	struct session s = { .left = message };
	char why[CURL_ERROR_SIZE] = "", from[MAIL_ADDRESS_MAX + 3], to[MAIL_ADDRESS_MAX + 3];
	char url[1024];
	struct curl_slist *recipients;
	CURL *c = curl_easy_init();
	CURLcode code;
	enum rc rc;

	/* curl takes the name for EHLO from the path: the host's own is often none
	 * that a mail server would believe. */
	snprintf(url, sizeof(url), "%s/%s", o->url, strchr(o->from, '@') + 1);
	snprintf(from, sizeof(from), "<%s>", o->from);
	snprintf(to, sizeof(to), "<%s>", o->to);
	recipients = curl_slist_append(NULL, to);
	if (c == NULL || recipients == NULL) {
		rc = err_set(err, RC_FAULT, "out of memory");
		goto done;
	}
	curl_easy_setopt(c, CURLOPT_URL, url);
	curl_easy_setopt(c, CURLOPT_USE_SSL, (long)(o->plain ? CURLUSESSL_NONE : CURLUSESSL_ALL));
	if (o->ca_file != NULL)
		curl_easy_setopt(c, CURLOPT_CAINFO, o->ca_file);
	if (o->user != NULL) {
		curl_easy_setopt(c, CURLOPT_USERNAME, o->user);
		curl_easy_setopt(c, CURLOPT_PASSWORD, password);
	}
	curl_easy_setopt(c, CURLOPT_MAIL_FROM, from);
	curl_easy_setopt(c, CURLOPT_MAIL_RCPT, recipients);
	curl_easy_setopt(c, CURLOPT_UPLOAD, 1L);
	curl_easy_setopt(c, CURLOPT_INFILESIZE_LARGE, (curl_off_t)message.len);
	curl_easy_setopt(c, CURLOPT_READFUNCTION, on_read);
	curl_easy_setopt(c, CURLOPT_READDATA, &s);
	curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_answer);
	curl_easy_setopt(c, CURLOPT_HEADERDATA, &s);
	curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, (long)(o->seconds * 1000 - EARLY_MS));
	curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(c, CURLOPT_PROXY, "");
	curl_easy_setopt(c, CURLOPT_ERRORBUFFER, why);
	code = curl_easy_perform(c);
	rc = code == CURLE_OK ? RC_OK : explain(o, c, code, why, &s, err);
done:
	buf_free(&s.refusal);
	curl_slist_free_all(recipients);
	curl_easy_cleanup(c);
	return rc;
}

int
main(int argc, char **argv)
{
	struct order o = { 0 };
	struct buf password = { 0 }, message = { 0 };
	struct err err = { "" };
	enum rc rc = RC_OK;

	opterr = 0;
	if (!parse(argc, argv, &o))
		rc = err_set(&err, RC_INVALID, "wrong arguments; td-sync runs this for mail = smtp");
	if (rc == RC_OK && o.password_file != NULL)
		rc = read_password(o.password_file, &password, &err);
	if (rc == RC_OK)
		rc = read_message(&message, &err);
	if (rc == RC_OK)
		rc = send_message(&o, password.p, buf_span(&message), &err);
	if (rc != RC_OK)
		fprintf(stderr, "%s\n", err.text);
	buf_free(&message);
	buf_free(&password);
	return rc == RC_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}
