/*
 * Mail: what a message looks like, what may stand in it, and the programs that
 * take it over: well-behaved and other commands, and a real mail server (exim4,
 * as an ordinary process with its own configuration in a folder of the test) by
 * SMTP and by its sendmail.
 */
#include "exim.h"
#include "patience.h"
#include "temp.h"

#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "mail/message.h"
#include "mail/run.h"

#include <check.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define FROM "td-sync@sync.example.com"
#define TO "anna@example.com"

static char dir[TEMP_PATH];
static struct mail_settings s;
static struct err err;

static void
set_up(void)
{
	temp_make(dir);
	s = (struct mail_settings){ .way = MAIL_COMMAND, .seconds = 100, .from = FROM,
	                            .smtp_program = TOP_BUILDDIR "/td-sync-smtp", .smtp_tls = true };
	err = (struct err){ "" };
}

static void
tear_down(void)
{
	temp_remove(dir);
}

/* The path of a file in the test's folder. Until the fourth call after it. */
static const char *
in_dir(const char *name)
{
	static char paths[4][TEMP_PATH + 64];
	static unsigned n;
	char *path = paths[n++ % 4];

	snprintf(path, sizeof(paths[0]), "%s/%s", dir, name);
	return path;
}

static void
read_file(const char *path, struct buf *out)
{
	buf_reset(out);
	ck_assert_msg(fs_read(path, 1 << 24, out, &err) == RC_OK, "%s", err.text);
	ck_assert_ptr_nonnull(buf_cstr(out));
}

/* --- a message --- */

/* Write one at a fixed time. */
static enum rc
compose(const char *to, const char *subject, const char *text, struct buf *out)
{
	struct mail m = { to, subject, span_of(text) };

	buf_reset(out);
	err.text[0] = '\0';
	return message_write(FROM, &m, 1795727100, out, &err);
}

/*
 * Take the id of a message (32 hex digits and our host) out of it, which must
 * be one; what is left can be compared.
 */
static void
cut_id(struct buf *message)
{
	static const char name[] = "\nMessage-ID: <";
	char *at = strstr(buf_cstr(message), name), *end;

	ck_assert_msg(at != NULL, "%s", message->p);
	at += strlen(name);
	ck_assert_uint_eq(strspn(at, "0123456789abcdef"), 32);
	end = at + 32;
	ck_assert_int_eq(strncmp(end, "@sync.example.com>\n", 19), 0);
	memmove(at, end, strlen(end) + 1);
	message->len -= 32;
}

START_TEST(a_message_is_the_headers_and_the_text)
{
	struct buf out = { 0 };

	ck_assert_int_eq(compose(TO, "Hello, Anna", "One.\n.\n..two\t\n\nEnd", &out), RC_OK);
	cut_id(&out);
	ck_assert_str_eq(out.p,
		"Date: Thu, 26 Nov 2026 21:05:00 +0000\n"
		"From: <td-sync@sync.example.com>\n"
		"To: <anna@example.com>\n"
		"Subject: Hello, Anna\n"
		"Message-ID: <@sync.example.com>\n"
		"MIME-Version: 1.0\n"
		"Content-Type: text/plain; charset=UTF-8\n"
		"Content-Transfer-Encoding: 7bit\n"
		"Auto-Submitted: auto-generated\n"
		"\n"
		"One.\n.\n..two\t\n\nEnd\n");
	ck_assert_int_eq(compose(TO, "x", "", &out), RC_OK);
	ck_assert_str_eq(strstr(buf_cstr(&out), "\n\n"), "\n\n");
	buf_free(&out);
}
END_TEST

/* The text of a message as it is sent, after its encoding's name; "TO" for
 * quoted-printable. */
static const struct {
	const char *text, *encoding, *sent;
} texts[] = {
	{ "a=b\n", "7bit", "a=b\n" },
	{ "\n", "7bit", "\n" },
	{ "Gr\xc3\xbc\xc3\x9f""e = \xe2\x82\xac\n", "quoted-printable", "Gr=C3=BC=C3=9Fe =3D =E2=82=AC\n" },
	{ "\xc3\xbc \nb\t\n", "quoted-printable", "=C3=BC=20\nb=09\n" },
	{ "a\rb", "quoted-printable", "a=0Db\n" },
	{ "a\x1b[0m\x7f", "quoted-printable", "a=1B[0m=7F\n" },
	{ "From here\n", "quoted-printable", "=46rom here\n" },
	{ "x\nFrom here", "quoted-printable", "x\n=46rom here\n" },
	{ "From: here\n From\n", "7bit", "From: here\n From\n" },
	/* 75 and one more, two of which are three; a start after a soft end */
	{ "\xc3\xbc" "01234567890123456789012345678901234567890123456789012345678901234567890123456789",
	  "quoted-printable",
	  "=C3=BC012345678901234567890123456789012345678901234567890123456789012345678=\n90123456789\n" },
	{ "\xc3\xbc" "012345678901234567890123456789012345678901234567890123456789012345\xc3\xbc",
	  "quoted-printable",
	  "=C3=BC012345678901234567890123456789012345678901234567890123456789012345=C3=\n=BC\n" },
	{ "\xc3\xbc" "012345678901234567890123456789012345678901234567890123456789012345678From home",
	  "quoted-printable",
	  "=C3=BC012345678901234567890123456789012345678901234567890123456789012345678=\n=46rom home\n" },
};

START_TEST(a_text_goes_through_any_mailer)
{
	struct buf out = { 0 };

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		char name[80];

		ck_assert_int_eq(compose(TO, "x", texts[i].text, &out), RC_OK);
		snprintf(name, sizeof(name), "\nContent-Transfer-Encoding: %s\n", texts[i].encoding);
		ck_assert_msg(strstr(buf_cstr(&out), name) != NULL, "%zu: %s", i, out.p);
		ck_assert_str_eq(strstr(out.p, "\n\n") + 2, texts[i].sent);
	}
	buf_free(&out);
}
END_TEST

/* A line of n bytes: at the limit it stays, above it is broken. */
START_TEST(no_line_is_longer_than_998)
{
	struct buf out = { 0 };
	char text[1001];

	for (int n = 998; n <= 999; n++) {
		snprintf(text, sizeof(text), "%0*d", n, 0);
		ck_assert_int_eq(compose(TO, "x", text, &out), RC_OK);
		ck_assert((strstr(buf_cstr(&out), "7bit") != NULL) == (n == 998));
		ck_assert((strstr(out.p, text) != NULL) == (n == 998));
	}
	buf_free(&out);
}
END_TEST

static const struct {
	const char *subject, *line;
} subjects[] = {
	{ "x", "x" },
	{ "Your link: a, b & <c>", "Your link: a, b & <c>" },
	{ "123456789012345678901234567890123456789012345678901234567890123456789",
	  "123456789012345678901234567890123456789012345678901234567890123456789" },
	{ "1234567890123456789012345678901234567890123456789012345678901234567890",
	  "=?UTF-8?Q?1234567890123456789012345678901234567890123456789012345678901?=\n"
	  " =?UTF-8?Q?234567890?=" },
	{ "Gr\xc3\xbc\xc3\x9f""e an \xf0\x9f\x90\xa7 (=?_",
	  "=?UTF-8?Q?Gr=C3=BC=C3=9Fe_an_=F0=9F=90=A7_=28=3D=3F=5F?=" },
	{ "=?UTF-8?Q?Bank?=", "=?UTF-8?Q?=3D=3FUTF=2D8=3FQ=3FBank=3F=3D?=" },
	{ " x", "=?UTF-8?Q?_x?=" },
	/* a character is never in two words */
	{ "1234567890123456789012345678901234567890123456789012345678\xf0\x9f\x90\xa7",
	  "=?UTF-8?Q?1234567890123456789012345678901234567890123456789012345678?=\n"
	  " =?UTF-8?Q?=F0=9F=90=A7?=" },
};

START_TEST(a_subject_is_encoded_where_it_must)
{
	struct buf out = { 0 }, want = { 0 };

	for (size_t i = 0; i < sizeof(subjects) / sizeof(subjects[0]); i++) {
		ck_assert_int_eq(compose(TO, subjects[i].subject, "", &out), RC_OK);
		buf_reset(&want);
		buf_addf(&want, "\nSubject: %s\nMessage-ID: ", subjects[i].line);
		ck_assert_msg(strstr(buf_cstr(&out), buf_cstr(&want)) != NULL, "%zu: %s", i, out.p);
	}
	buf_free(&want);
	buf_free(&out);
}
END_TEST

#define TEN "1234567890"
#define L63 TEN TEN TEN TEN TEN TEN "123"

static const struct {
	const char *why, *address;
	bool ok;
} addresses[] = {
	{ "usual", "anna@example.com", true },
	{ "a tag and dots", "a.b+c_d-e@mail.example.com", true },
	{ "an apostrophe", "o'neil@example.com", true },
	{ "one letter, one label", "a@b", true },
	{ "a digit first, an IDN", "1@xn--bcher-kva.example", true },
	{ "a local part of 64", TEN TEN TEN TEN TEN TEN "1234@b", true },
	{ "of 65", TEN TEN TEN TEN TEN TEN "12345@b", false },
	{ "a label of 63", "a@" L63, true },
	{ "of 64", "a@" L63 "4", false },
	{ "254 in all", "12345678901234@" L63 "." L63 "." L63 "." TEN TEN TEN TEN "1234567", true },
	{ "255", "123456789012345@" L63 "." L63 "." L63 "." TEN TEN TEN TEN "1234567", false },
	{ "nothing", "", false },
	{ "no @", "anna", false },
	{ "two @", "a@b@c", false },
	{ "no local part", "@example.com", false },
	{ "no host", "anna@", false },
	{ "two addresses", "a@b.c,d@e.f", false },
	{ "two addresses with a blank", "a@b.c, d@e.f", false },
	{ "a blank", "a b@c.d", false },
	{ "a blank at its end", "a@b.c ", false },
	{ "a name", "Anna <a@b.c>", false },
	{ "brackets", "<a@b.c>", false },
	{ "a quoted local part", "\"a b\"@c.d", false },
	{ "a comment", "a@b.c(d)", false },
	{ "a header", "a@b.c\nBcc: d@e.f", false },
	{ "CR", "a@b.c\rBcc: d@e.f", false },
	{ "CR in the local part", "a\rb@c.d", false },
	{ "a tab", "a\tb@c.d", false },
	{ "DEL", "a\x7f@b.c", false },
	{ "a line end at its end", "a@b.c\n", false },
	{ "UTF-8 before the @", "ann\xc3\xa4@example.com", false },
	{ "UTF-8 behind it", "a@b\xc3\xbc""cher.example", false },
	{ "an address literal", "a@[127.0.0.1]", false },
	{ "an option", "-C/etc/passwd@b.c", false },
	{ "a pipe", "|/bin/sh@b.c", false },
	{ "a file", "/etc/passwd@b.c", false },
	{ "a dot first", ".a@b.c", false },
	{ "a dot last", "a.@b.c", false },
	{ "two dots", "a..b@c.d", false },
	{ "an empty label", "a@b..c", false },
	{ "a dot at the host's end", "a@b.c.", false },
	{ "a label that begins with -", "a@-b.c", false },
	{ "one that ends with it", "a@b-.c", false },
	{ "an underscore in the host", "a@b_c.d", false },
	{ "a route", "a%b:c@d.e", false },
};

START_TEST(an_address_is_one_and_nothing_else)
{
	struct buf out = { 0 };

	for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++) {
		bool ok = addresses[i].ok;

		ck_assert_msg(mail_address_ok(addresses[i].address) == ok, "%s", addresses[i].why);
		ck_assert_msg(compose(addresses[i].address, "x", "x", &out) ==
		              (ok ? RC_OK : RC_INVALID), "%s", addresses[i].why);
		ck_assert_msg((out.len > 0) == ok, "%s", addresses[i].why);
		ck_assert_msg((err.text[0] == '\0') == ok, "%s", addresses[i].why);
	}
	buf_free(&out);
}
END_TEST

START_TEST(a_subject_is_one_line_of_text)
{
	static const struct {
		const char *subject, *says;
	} wrong[] = {
		{ "", "1 to 500 bytes" },
		{ "a\nBcc: b@c.d", "control characters" },
		{ "a\r\nBcc: b@c.d", "control characters" },
		{ "a\rb", "control characters" },
		{ "a\tb", "control characters" },
		{ "a\x7f", "control characters" },
		{ "a\xc2\x85""b", "control characters" },
		{ "a\xff", "not UTF-8" },
		{ "a\xc3", "not UTF-8" },
	};
	struct buf out = { 0 };
	char text[MAIL_SUBJECT_MAX + 2];

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		ck_assert_int_eq(compose(TO, wrong[i].subject, "x", &out), RC_INVALID);
		ck_assert_msg(strstr(err.text, wrong[i].says) != NULL, "%zu: %s", i, err.text);
		ck_assert_uint_eq(out.len, 0);
	}
	snprintf(text, sizeof(text), "%0*d", MAIL_SUBJECT_MAX, 0);
	ck_assert_int_eq(compose(TO, text, "x", &out), RC_OK);
	snprintf(text, sizeof(text), "%0*d", MAIL_SUBJECT_MAX + 1, 0);
	ck_assert_int_eq(compose(TO, text, "x", &out), RC_INVALID);
	buf_free(&out);
}
END_TEST

START_TEST(an_smtp_url_is_a_host_and_a_port)
{
	static const char *const right[] = {
		"smtp://a", "smtps://mail.example.com", "smtp://127.0.0.1:1", "smtp://a:65535",
	};
	static const char *const wrong[] = {
		"", "smtp://", "mail.example.com:25", "http://a", "SMTP://a", "smtp://a:", "smtp://a:0",
		"smtp://a:65536", "smtp://a:99999999999999999999", "smtp://a:000025", "smtp://a:2x", "smtp://a/b",
		"smtp://a:25/", "smtp://u:p@a", "smtp://a b", "smtp://a\nb", "smtp://a?x", "smtp://[::1]",
	};

	for (size_t i = 0; i < sizeof(right) / sizeof(right[0]); i++)
		ck_assert_msg(mail_smtp_url_ok(right[i]), "%s", right[i]);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		ck_assert_msg(!mail_smtp_url_ok(wrong[i]), "%s", wrong[i]);
}
END_TEST

/* --- commands --- */

/* Send a mail to a command. */
static enum rc
send_to(const char *command, const char *text)
{
	struct mail m = { TO, "Test", span_of(text) };

	s.way = MAIL_COMMAND;
	snprintf(s.command, sizeof(s.command), "%s", command);
	err.text[0] = '\0';
	return mail_send(&s, &m, &err);
}

#define ck_sent(rc) ck_assert_msg((rc) == RC_OK, "%s", err.text)

/* It was not sent, and this is what is said. */
#define ck_unsent(rc, says) do { \
		ck_assert_int_eq((rc), RC_UNAVAILABLE); \
		ck_assert_str_eq(err.text, (says)); \
	} while (0)

START_TEST(a_command_gets_the_message)
{
	struct buf got = { 0 };
	char command[TEMP_PATH + 80];

	snprintf(command, sizeof(command), "cat >'%s'; exit 0", in_dir("got"));
	ck_sent(send_to(command, "Hello\n"));
	read_file(in_dir("got"), &got);
	ck_assert_ptr_nonnull(strstr(got.p, "\nTo: <" TO ">\n"));
	ck_assert_str_eq(strstr(got.p, "\n\n"), "\n\nHello\n");
	buf_free(&got);
}
END_TEST

START_TEST(a_command_that_fails_is_quoted)
{
	char big[] = "yes 0123456789 | head -c 3000000; exit 1";

	ck_unsent(send_to("exit 1", ""), "mail_command failed (exit status 1)");
	ck_unsent(send_to("echo 'no such user' >&2; exit 67", ""),
	          "mail_command failed (exit status 67): no such user");
	ck_unsent(send_to("echo; echo ' out '; echo err >&2; exit 3", ""),
	          "mail_command failed (exit status 3): out err");
	ck_unsent(send_to("kill -9 $$", ""), "mail_command was ended by signal 9");
	ck_unsent(send_to("printf '\\033[31m\\377\\000a\\nb\\r\\nc\\t\\302\\205\\303\\274\\303'; exit 3", ""),
	          "mail_command failed (exit status 3): ?[31m??a b c ?\xc3\xbc?");
	ck_assert_int_eq(send_to(big, ""), RC_UNAVAILABLE);
	ck_assert_ptr_nonnull(strstr(err.text, "(exit status 1): 0123456789 0123456789 "));
	ck_assert_uint_gt(strlen(err.text), 200);
	ck_assert_int_eq(send_to("/nonexistent/mailer -t", ""), RC_UNAVAILABLE);
	ck_assert_ptr_nonnull(strstr(err.text, "(exit status 127): "));
	ck_assert_ptr_nonnull(strstr(err.text, "/nonexistent/mailer"));
}
END_TEST

START_TEST(what_a_mailer_says_is_logged_in_one_line)
{
	struct buf log = { 0 };
	char *end;

	ck_assert_int_eq(log_open(in_dir("log"), NULL, &err), RC_OK);
	ck_sent(send_to("cat >/dev/null; echo queued; echo 'as 7' >&2", ""));
	read_file(in_dir("log"), &log);
	ck_assert_ptr_nonnull(strstr(log.p, "\"level\":\"warn\""));
	ck_assert_ptr_nonnull(strstr(log.p, "\"mail_command took a mail over, and said: queued as 7\"}"));
	end = strchr(log.p, '\n');
	ck_assert(end != NULL && end[1] == '\0');
	ck_sent(send_to("cat >/dev/null", ""));
	ck_unsent(send_to("exit 9", ""), "mail_command failed (exit status 9)");
	read_file(in_dir("log"), &log); /* that is the caller's to log */
	ck_assert(strchr(log.p, '\n')[1] == '\0');
	log_open(NULL, NULL, &err);
	buf_free(&log);
}
END_TEST

START_TEST(a_mailer_need_not_read)
{
	struct buf text = { 0 };

	/* more than a pipe holds: who writes to nobody gets SIGPIPE */
	ck_assert(buf_reserve(&text, 1 << 20));
	for (int i = 0; i < 1 << 14; i++)
		buf_add_str(&text, "A line that nobody reads, of sixty-four bytes and its end.....\n");
	signal(SIGPIPE, SIG_DFL);
	ck_sent(send_to("exit 0", buf_cstr(&text)));
	ck_sent(send_to("exec <&-; exit 0", text.p));
	ck_sent(send_to("head -c 10 >/dev/null", text.p));
	buf_free(&text);
}
END_TEST

/* Whether the process whose id stands in a file is gone soon (a zombie is). */
static bool
ends_soon(const char *path)
{
	struct buf pid = { 0 }, stat = { 0 };
	char name[64];
	bool gone = false;

	read_file(path, &pid);
	snprintf(name, sizeof(name), "/proc/%d/stat", atoi(pid.p));
	for (int i = 0; !gone && i < SOON_MS / 10; i++) {
		buf_reset(&stat);
		gone = fs_read(name, 4096, &stat, NULL) != RC_OK || strstr(buf_cstr(&stat), ") Z ") != NULL;
		if (!gone)
			usleep(10000);
	}
	buf_free(&stat);
	buf_free(&pid);
	return gone;
}

START_TEST(a_mailer_that_hangs_is_killed_with_its_children)
{
	int64_t start = clock_mono_ms();
	char command[3 * TEMP_PATH];

	s.seconds = 3; /* for it to say so, on a busy machine */
	snprintf(command, sizeof(command), "trap '' TERM HUP; (echo $$ >'%s'; exec sleep 1000) &"
	         " echo $! >'%s'; echo waiting; sleep 1000", in_dir("one"), in_dir("two"));
	ck_unsent(send_to(command, ""), "mail_command did not end within 3 s and was killed: waiting");
	ck_assert_int_ge(clock_mono_ms() - start, 3000);
	ck_assert_int_lt(clock_mono_ms() - start, SOON_MS);
	ck_assert(ends_soon(in_dir("one")));
	ck_assert(ends_soon(in_dir("two")));
}
END_TEST

START_TEST(what_a_mailer_leaves_behind_is_not_waited_for)
{
	int64_t start = clock_mono_ms();
	struct buf pid = { 0 };
	char command[2 * TEMP_PATH];

	snprintf(command, sizeof(command), "sleep 1000 & echo $! >'%s'", in_dir("pid"));
	ck_sent(send_to(command, ""));
	ck_assert_int_lt(clock_mono_ms() - start, SOON_MS);
	read_file(in_dir("pid"), &pid);
	ck_assert_int_eq(kill(atoi(pid.p), SIGKILL), 0); /* it was left alive */
	buf_free(&pid);
}
END_TEST

static void
on_alarm(int sig)
{
	(void)sig;
}

/* As in a worker: fd 0 a listening socket, others open, signals held, a timer. */
START_TEST(a_mailer_begins_with_nothing_of_the_worker)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	struct sigaction sa = { .sa_handler = on_alarm };
	struct itimerval timer = { { 0, 3000 }, { 0, 3000 } };
	struct buf got = { 0 };
	char command[2 * TEMP_PATH];
	sigset_t held, after;
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(at.sun_path, sizeof(at.sun_path), "%.100s", in_dir("socket"));
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	ck_assert_int_eq(listen(fd, 1), 0);
	ck_assert_int_eq(dup2(fd, STDIN_FILENO), STDIN_FILENO);
	ck_assert_int_eq(dup2(fd, 50), 50);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGCHLD, SIG_IGN);
	sigemptyset(&held);
	sigaddset(&held, SIGTERM);
	sigaddset(&held, SIGINT);
	sigprocmask(SIG_BLOCK, &held, NULL);
	sigaction(SIGALRM, &sa, NULL);
	setitimer(ITIMER_REAL, &timer, NULL);
	setenv("HTTP_PROXY", "http://evil.example", 1);
	setenv("SECRET", "x", 1);
	setenv("HOME", dir, 1);

	ck_sent(send_to("test ! -e /proc/$$/fd/50 || { echo 'fd 50 is open'; exit 1; }", ""));
	/* (32 and 33 are the C library's own.) */
	ck_sent(send_to("! grep -E '^Sig(Blk|Ign):' /proc/$$/status |"
	                " grep -vE ':[[:space:]]*0*(180000000)?$'", ""));
	ck_sent(send_to("test \"$(cut -d' ' -f5 /proc/$$/stat)\" = $$", ""));
	ck_sent(send_to("test -z \"$HTTP_PROXY$SECRET\" && test -n \"$PATH\" && test -d \"$HOME\"", ""));
	/* Its end is seen though the signal of it is ignored; slow and fast. */
	ck_unsent(send_to("sleep 0.2; exit 3", ""), "mail_command failed (exit status 3)");
	snprintf(command, sizeof(command), "cat >'%s'", in_dir("got"));
	ck_sent(send_to(command, "Hello"));
	read_file(in_dir("got"), &got);
	ck_assert_str_eq(strstr(got.p, "\n\n"), "\n\nHello\n");

	/* And we are as we were. */
	setitimer(ITIMER_REAL, &(struct itimerval){ { 0 } }, NULL);
	sigaction(SIGCHLD, NULL, &sa);
	ck_assert(sa.sa_handler == SIG_IGN);
	sigprocmask(SIG_BLOCK, NULL, &after);
	ck_assert_int_eq(sigismember(&after, SIGTERM), 1);
	ck_assert_int_eq(sigismember(&after, SIGALRM), 0);
	for (int low = 0; low < 3; low++)
		close(low);
	ck_sent(send_to(command, "Hello"));
	for (int low = 2; low >= 0; low--) {
		ck_assert_int_eq(dup2(50, low), low);
		for (int other = 0; other < low; other++)
			close(other);
		ck_sent(send_to(command, "Hello"));
	}
	buf_free(&got);
}
END_TEST

START_TEST(no_descriptor_is_left_open)
{
	int before = dup(0), after;

	close(before);
	ck_sent(send_to("exit 0", ""));
	ck_assert_int_eq(send_to("exit 1", ""), RC_UNAVAILABLE);
	s.way = MAIL_SENDMAIL;
	ck_assert_int_eq(mail_send(&s, &(struct mail){ TO, "x", { 0 } }, &err), RC_UNAVAILABLE);
	after = dup(0);
	ck_assert_int_eq(after, before);
	close(after);
}
END_TEST

/* --- the other ways --- */

START_TEST(a_file_grows_by_each_mail)
{
	struct mail m = { TO, "Test", span_of("From A\nB") };
	struct buf got = { 0 };
	struct stat st;
	char *second;

	s.way = MAIL_FILE;
	snprintf(s.file, sizeof(s.file), "%s", in_dir("mails"));
	umask(0);
	ck_sent(mail_send(&s, &m, &err));
	m.text = span_of("C\n");
	ck_sent(mail_send(&s, &m, &err));
	ck_assert_int_eq(stat(s.file, &st), 0);
	ck_assert_int_eq(st.st_mode & 07777, 0600);
	read_file(s.file, &got);
	ck_assert_int_eq(strncmp(got.p, "From " FROM " ", strlen("From " FROM " ")), 0);
	second = strstr(got.p, "\n\nFrom ");
	ck_assert_ptr_nonnull(second);
	ck_assert_ptr_null(strstr(second + 3, "\n\nFrom "));
	ck_assert_ptr_nonnull(strstr(got.p, "\n\n=46rom A\nB\n\nFrom "));
	ck_assert_str_eq(strstr(second + 3, "\n\n"), "\n\nC\n\n");
	snprintf(s.file, sizeof(s.file), "/dev/full");
	ck_unsent(mail_send(&s, &m, &err), "can't append to /dev/full: No space left on device");
	snprintf(s.file, sizeof(s.file), "/nonexistent/x");
	ck_unsent(mail_send(&s, &m, &err), "can't append to /nonexistent/x: No such file or directory");
	buf_free(&got);
}
END_TEST

START_TEST(nothing_is_sent_to_or_about_what_is_no_header)
{
	struct mail m = { "a@b.c\nBcc: d@e.f", "Test", { 0 } };
	char path[TEMP_PATH + 64];

	snprintf(path, sizeof(path), "%s", in_dir("got"));
	snprintf(s.command, sizeof(s.command), "cat >'%s'", path);
	ck_assert_int_eq(mail_send(&s, &m, &err), RC_INVALID);
	ck_assert_ptr_nonnull(strstr(err.text, "not an address"));
	m = (struct mail){ TO, "Test\r\nBcc: d@e.f", { 0 } };
	ck_assert_int_eq(mail_send(&s, &m, &err), RC_INVALID);
	s.way = MAIL_FILE;
	snprintf(s.file, sizeof(s.file), "%s", path);
	ck_assert_int_eq(mail_send(&s, &m, &err), RC_INVALID);
	ck_assert_int_ne(access(path, F_OK), 0);
}
END_TEST

START_TEST(off_is_off_and_auto_is_what_is_there)
{
	struct mail m = { TO, "Test", { 0 } };
	struct buf what = { 0 };

	s.way = MAIL_OFF;
	ck_unsent(mail_send(&s, &m, &err), "mail is off");
	s.way = MAIL_AUTO;
	snprintf(s.sendmail, sizeof(s.sendmail), "%s", in_dir("sendmail"));
	ck_assert_int_eq(mail_send(&s, &m, &err), RC_UNAVAILABLE);
	ck_assert_ptr_nonnull(strstr(err.text, "mail is off: there is no /"));
	mail_describe(&s, &what);
	ck_assert_str_eq(buf_cstr(&what), "nobody");
	ck_assert_int_eq(fs_write(s.sendmail, span_of("#!/bin/sh\necho \"$@\"; exit 7\n"), 0700, NULL), RC_OK);
	ck_unsent(mail_send(&s, &m, &err),
	          "sendmail failed (exit status 7): -i -f " FROM " " TO);
	buf_reset(&what);
	mail_describe(&s, &what);
	ck_assert_ptr_nonnull(strstr(buf_cstr(&what), "sendmail (/"));
	s.from[0] = '\0';
	ck_unsent(mail_send(&s, &m, &err), "mail is off: there is no mail_from");
	snprintf(s.from, sizeof(s.from), "%s", FROM);
	s.way = MAIL_SENDMAIL;
	snprintf(s.sendmail, sizeof(s.sendmail), "/nonexistent/sendmail");
	ck_unsent(mail_send(&s, &m, &err), "can't run /nonexistent/sendmail: No such file or directory");
	buf_free(&what);
}
END_TEST

/* --- a mail server --- */

static struct exim exim;

static void
exim_up(void)
{
	exim_start(&exim);
}

static void
exim_down(void)
{
	exim_stop(&exim);
}

/* Point the settings to a port of the server, with the password of its user. */
static void
use_smtp(const char *scheme, int port)
{
	s.way = MAIL_SMTP;
	snprintf(s.smtp_url, sizeof(s.smtp_url), "%s://localhost:%d", scheme, port);
	snprintf(s.smtp_ca_file, sizeof(s.smtp_ca_file), "%s/ca.pem", exim.dir);
	snprintf(s.smtp_user, sizeof(s.smtp_user), "%s", EXIM_USER);
	snprintf(s.smtp_password_file, sizeof(s.smtp_password_file), "%s", in_dir("password"));
	ck_assert_int_eq(fs_write(s.smtp_password_file, span_of(EXIM_PASSWORD "\n"), 0600, NULL), RC_OK);
}

static enum rc
send_mail(const char *to, const char *subject, const char *text)
{
	struct mail m = { to, subject, span_of(text) };

	err.text[0] = '\0';
	return mail_send(&s, &m, &err);
}

/* It was not sent, and this is in the sentence. */
static void
ck_says(const char *to, const char *what)
{
	ck_assert_int_eq(send_mail(to, "Test", "x"), RC_UNAVAILABLE);
	ck_assert_msg(strstr(err.text, what) != NULL, "%s", err.text);
}

/* A mail was delivered to this address, as it was written but for date and id; it
 * came by this protocol (s: TLS, a: authenticated), from who calls himself so. */
static void
ck_delivered(const char *to, const char *by, const char *subject, const char *encoding,
             const char *text)
{
	struct buf got = { 0 }, want = { 0 };
	char *date;

	ck_assert_msg(exim_delivered(&exim, to, SOON_MS, &got), "nothing came for %s", to);
	cut_id(&got);
	date = strstr(got.p, "\nDate: ");
	ck_assert_ptr_nonnull(date);
	ck_assert_int_eq(strncmp(strchr(date + 1, '\n') - 6, " +0000", 6), 0);
	memmove(date + 7, strchr(date + 1, '\n'), strlen(strchr(date + 1, '\n')) + 1);
	buf_addf(&want, "Return-path: <%s>\nEnvelope-to: %s\nDate: \nFrom: <%s>\nTo: <%s>\n"
	         "Subject: %s\nMessage-ID: <@sync.example.com>\nMIME-Version: 1.0\n"
	         "Content-Type: text/plain; charset=UTF-8\nContent-Transfer-Encoding: %s\n"
	         "Auto-Submitted: auto-generated\nX-Protocol: %s\n\n%s", FROM, to, FROM, to, subject,
	         encoding, by, text);
	ck_assert_str_eq(got.p, buf_cstr(&want));
	buf_free(&want);
	buf_free(&got);
}

/* What mailers are known to change: dots, From, blanks at ends, 8 bits. */
#define ODD "Hi.\n.\n..\n.x\n>From x\nhttps://sync.example.com/?a=b&c=d\n \t\n\nEnd"

START_TEST(a_mail_arrives_by_starttls)
{
	use_smtp("smtp", exim.port);
	ck_sent(send_mail("starttls@example.com", "Test", ODD));
	ck_delivered("starttls@example.com", "esmtpsa sync.example.com", "Test", "7bit", ODD "\n");
	ck_sent(send_mail("utf8@example.com", "Gr\xc3\xbc\xc3\x9f""e", "From \xc3\xbc\n.\n"));
	ck_delivered("utf8@example.com", "esmtpsa sync.example.com",
	             "=?UTF-8?Q?Gr=C3=BC=C3=9Fe?=", "quoted-printable", "=46rom =C3=BC\n.\n");
}
END_TEST

START_TEST(a_mail_arrives_by_smtps)
{
	use_smtp("smtps", exim.port_tls);
	ck_sent(send_mail("smtps@example.com", "Test", ODD));
	ck_delivered("smtps@example.com", "esmtpsa sync.example.com", "Test", "7bit", ODD "\n");
}
END_TEST

START_TEST(a_mail_arrives_in_plain_text_where_that_is_said)
{
	use_smtp("smtp", exim.port_plain);
	ck_says("plain@example.com", ": the server offers no TLS; nothing was sent");
	s.smtp_tls = false;
	ck_sent(send_mail("plain@example.com", "Test", "only this\n"));
	ck_delivered("plain@example.com", "esmtpa sync.example.com", "Test", "7bit", "only this\n");
}
END_TEST

START_TEST(a_large_mail_arrives_whole)
{
	struct buf text = { 0 };

	for (int i = 0; i < 20000; i++)
		buf_addf(&text, "Line %d\n.\n", i);
	use_smtp("smtp", exim.port);
	ck_sent(send_mail("large@example.com", "Test", buf_cstr(&text)));
	ck_delivered("large@example.com", "esmtpsa sync.example.com", "Test", "7bit", text.p);
	buf_free(&text);
}
END_TEST

/* Each ends in a sentence that tells what is wrong. */
START_TEST(what_a_mail_server_refuses_is_told)
{
	static const char refused[] = "td-sync-smtp failed (exit status 1): smtp://localhost:%d: %s";
	char want[256];

	use_smtp("smtp", exim.port);
	ck_assert_int_eq(send_mail("refused@example.com", "Test", "x"), RC_UNAVAILABLE);
	snprintf(want, sizeof(want), refused, exim.port,
	         "the server refused the mail: 550 no such mailbox: ask the postmaster");
	ck_assert_str_eq(err.text, want);
	ck_assert_int_eq(send_mail("full@example.com", "Test", "x"), RC_UNAVAILABLE);
	snprintf(want, sizeof(want), refused, exim.port,
	         "the server refused the mail: 452 the mailbox is full");
	ck_assert_str_eq(err.text, want);
	ck_assert_int_eq(send_mail("spam@example.com", "Test", "buy this\n"), RC_UNAVAILABLE);
	snprintf(want, sizeof(want), refused, exim.port,
	         "the server refused the mail: 550 this is spam");
	ck_assert_str_eq(err.text, want);

	ck_assert_int_eq(fs_write(s.smtp_password_file, span_of("wrong"), 0600, NULL), RC_OK);
	ck_assert_int_eq(send_mail("login@example.com", "Test", "x"), RC_UNAVAILABLE);
	snprintf(want, sizeof(want), refused, exim.port, "the server refused smtp_user or the"
	         " password: 535 Incorrect authentication data");
	ck_assert_str_eq(err.text, want);
	s.smtp_user[0] = s.smtp_password_file[0] = '\0';
	ck_assert_int_eq(send_mail("login@example.com", "Test", "x"), RC_UNAVAILABLE);
	snprintf(want, sizeof(want), refused, exim.port,
	         "the server refused the mail: 550 authentication is required");
	ck_assert_str_eq(err.text, want);
	ck_assert(!exim_delivered(&exim, "login@example.com", 0, NULL));
}
END_TEST

START_TEST(a_certificate_must_be_trusted)
{
	static const char to[] = "trust@example.com", not_trusted[] = "certificate is not trusted: ";

	use_smtp("smtp", exim.port);
	snprintf(s.smtp_ca_file, sizeof(s.smtp_ca_file), "%s/other.pem", exim.dir);
	ck_says(to, not_trusted);
	use_smtp("smtps", exim.port_tls);
	snprintf(s.smtp_ca_file, sizeof(s.smtp_ca_file), "%s/other.pem", exim.dir);
	ck_says(to, not_trusted);
	use_smtp("smtp", exim.port); /* signed, but for another name */
	snprintf(s.smtp_url, sizeof(s.smtp_url), "smtp://127.0.0.1:%d", exim.port);
	ck_says(to, not_trusted);
	snprintf(s.smtp_ca_file, sizeof(s.smtp_ca_file), "/nonexistent/ca.pem");
	ck_says(to, "smtp_ca_file can't be used: /nonexistent/ca.pem");
	use_smtp("smtp", exim.port);
	s.smtp_ca_file[0] = '\0'; /* the system's list, where there is one, doesn't have it */
	ck_says(to, access("/etc/ssl/certs/ca-certificates.crt", R_OK) == 0
	            ? not_trusted : "list of certificate authorities can't be used");
	ck_assert(!exim_delivered(&exim, to, 0, NULL));
}
END_TEST

START_TEST(a_sendmail_takes_a_mail_over)
{
	s.way = MAIL_SENDMAIL;
	snprintf(s.sendmail, sizeof(s.sendmail), "%s/sendmail", exim.dir);
	ck_sent(send_mail("sendmail@example.com", "Test", ODD));
	ck_delivered("sendmail@example.com", "local", "Test", "7bit", ODD "\n");
	ck_sent(send_mail("o'neil+a=b@example.com", "Gr\xc3\xbc\xc3\x9f""e", "\xc3\xbc"));
	ck_delivered("o'neil+a=b@example.com", "local", "=?UTF-8?Q?Gr=C3=BC=C3=9Fe?=",
	             "quoted-printable", "=C3=BC\n");
	/* As any program that reads the recipient from the message. */
	s.way = MAIL_COMMAND;
	snprintf(s.command, sizeof(s.command), "'%s/sendmail' -t -i -f " FROM, exim.dir);
	ck_sent(send_mail("command@example.com", "Test", ODD));
	ck_delivered("command@example.com", "local", "Test", "7bit", ODD "\n");
	snprintf(s.command, sizeof(s.command), "'%s/sendmail' -bogus", exim.dir);
	ck_says("command@example.com", "mail_command failed (exit status 1): ");
}
END_TEST

/* --- no mail server --- */

START_TEST(a_server_that_is_not_there_is_told)
{
	int fd, port = exim_free_port();

	use_smtp("smtp", port);
	ck_says(TO, ": no connection: ");
	snprintf(s.smtp_url, sizeof(s.smtp_url), "smtp://nowhere.invalid:25");
	ck_says(TO, "smtp://nowhere.invalid:25: the host is not known");
	/* One that takes the connection and says nothing. */
	fd = exim_listen(port);
	use_smtp("smtp", port);
	s.seconds = 1;
	ck_assert_int_eq(send_mail(TO, "Test", "x"), RC_UNAVAILABLE);
	ck_assert_msg(strstr(err.text, ": not done within 1 s") != NULL ||
	              strstr(err.text, "did not end within 1 s") != NULL, "%s", err.text);
	s.seconds = 100;
	close(fd);
}
END_TEST

START_TEST(a_password_that_others_may_read_is_refused)
{
	use_smtp("smtp", exim_free_port());
	ck_assert_int_eq(chmod(s.smtp_password_file, 0640), 0);
	ck_says(TO, "only its owner may read (mode 0600): /");
	ck_assert_int_eq(chmod(s.smtp_password_file, 0604), 0);
	ck_says(TO, "only its owner may read (mode 0600): /");
	ck_assert_int_eq(chmod(s.smtp_password_file, 0400), 0);
	ck_says(TO, ": no connection: ");
	ck_assert_int_eq(fs_write(s.smtp_password_file, span_of("\n"), 0600, NULL), RC_OK);
	ck_says(TO, "smtp_password_file is empty: /");
	ck_assert_int_eq(unlink(s.smtp_password_file), 0);
	ck_says(TO, "can't read smtp_password_file: /");
	snprintf(s.smtp_program, sizeof(s.smtp_program), "/nonexistent/td-sync-smtp");
	ck_unsent(send_mail(TO, "Test", "x"),
	          "can't run /nonexistent/td-sync-smtp: No such file or directory");
}
END_TEST

START_TEST(td_sync_smtp_judges_its_arguments)
{
	static const struct {
		const char *why, *argv[10];
	} wrong[] = {
		{ "nothing", { NULL } },
		{ "no url", { "--seconds", "5", "--", FROM, TO } },
		{ "no seconds", { "--url", "smtp://localhost", "--", FROM, TO } },
		{ "another scheme", { "--url", "file:///etc/passwd", "--seconds", "5", "--", FROM, TO } },
		{ "no recipient", { "--url", "smtp://localhost", "--seconds", "5", "--", FROM } },
		{ "one more", { "--url", "smtp://localhost", "--seconds", "5", "--", FROM, TO, TO } },
		{ "no address", { "--url", "smtp://localhost", "--seconds", "5", "--", FROM, "x" } },
		{ "a user alone", { "--url", "smtp://localhost", "--seconds", "5", "--user", "x", "--",
		                    FROM, TO } },
		{ "an option of none", { "--url", "smtp://localhost", "--nope", "--", FROM, TO } },
		{ "0 s", { "--url", "smtp://localhost", "--seconds", "0", "--", FROM, TO } },
	};
	struct ran ran;

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		const char *argv[12] = { s.smtp_program };

		memcpy(argv + 1, wrong[i].argv, sizeof(wrong[i].argv));
		ck_assert_int_eq(run_program(argv, span_of("x\n"), 100, &ran, &err), RC_OK);
		ck_assert_msg(WIFEXITED(ran.status) && WEXITSTATUS(ran.status) == 1 &&
		              strstr(ran.said, "wrong arguments") != NULL, "%s: %s", wrong[i].why, ran.said);
	}
}
END_TEST

/* Workers stay small, and there are hosts without libcurl. */
START_TEST(a_worker_does_not_link_libcurl)
{
	ck_sent(send_to("cd '" TOP_BUILDDIR "' && for p in td-sync.fcgi td-sync-admin; do"
	                " grep -q libcurl $p && { echo $p has it; exit 1; }; done;"
	                " grep -q libcurl td-sync-smtp", ""));
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("mail");
	TCase *message = tcase_create("message"), *commands = tcase_create("commands"),
	      *server = tcase_create("server"), *smtp = tcase_create("smtp");
	SRunner *runner;
	int failed;

	tcase_add_test(message, a_message_is_the_headers_and_the_text);
	tcase_add_test(message, a_text_goes_through_any_mailer);
	tcase_add_test(message, no_line_is_longer_than_998);
	tcase_add_test(message, a_subject_is_encoded_where_it_must);
	tcase_add_test(message, an_address_is_one_and_nothing_else);
	tcase_add_test(message, a_subject_is_one_line_of_text);
	tcase_add_test(message, an_smtp_url_is_a_host_and_a_port);
	suite_add_tcase(suite, message);

	tcase_set_timeout(commands, 120);
	tcase_add_checked_fixture(commands, set_up, tear_down);
	tcase_add_test(commands, a_command_gets_the_message);
	tcase_add_test(commands, a_command_that_fails_is_quoted);
	tcase_add_test(commands, what_a_mailer_says_is_logged_in_one_line);
	tcase_add_test(commands, a_mailer_need_not_read);
	tcase_add_test(commands, a_mailer_that_hangs_is_killed_with_its_children);
	tcase_add_test(commands, what_a_mailer_leaves_behind_is_not_waited_for);
	tcase_add_test(commands, a_mailer_begins_with_nothing_of_the_worker);
	tcase_add_test(commands, no_descriptor_is_left_open);
	tcase_add_test(commands, a_file_grows_by_each_mail);
	tcase_add_test(commands, nothing_is_sent_to_or_about_what_is_no_header);
	tcase_add_test(commands, off_is_off_and_auto_is_what_is_there);
	tcase_add_test(commands, a_worker_does_not_link_libcurl);
	suite_add_tcase(suite, commands);

	tcase_set_timeout(smtp, 240);
	tcase_add_checked_fixture(smtp, set_up, tear_down);
	tcase_add_test(smtp, a_server_that_is_not_there_is_told);
	tcase_add_test(smtp, a_password_that_others_may_read_is_refused);
	tcase_add_test(smtp, td_sync_smtp_judges_its_arguments);
	suite_add_tcase(suite, smtp);

	tcase_set_timeout(server, 240);
	tcase_add_unchecked_fixture(server, exim_up, exim_down);
	tcase_add_checked_fixture(server, set_up, tear_down);
	tcase_add_test(server, a_mail_arrives_by_starttls);
	tcase_add_test(server, a_mail_arrives_by_smtps);
	tcase_add_test(server, a_mail_arrives_in_plain_text_where_that_is_said);
	tcase_add_test(server, a_large_mail_arrives_whole);
	tcase_add_test(server, what_a_mail_server_refuses_is_told);
	tcase_add_test(server, a_certificate_must_be_trusted);
	tcase_add_test(server, a_sendmail_takes_a_mail_over);
	if (exim_can_run())
		suite_add_tcase(suite, server);
	else
		puts("skipped: mail by a real server: exim4 or openssl is not installed");

	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
