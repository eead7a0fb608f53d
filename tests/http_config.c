/* The configuration: file, environment, command line; and how it is checked. */
#include "http_test.h"

#include "temp.h"

#include "base/fs.h"
#include "http/config.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static char dir[TEMP_PATH];

static void
set_up(void)
{
	temp_make(dir);
}

static void
tear_down(void)
{
	temp_remove(dir);
}

/* Write dir/td-sync.conf. */
static void
write_file(const char *text)
{
	char path[TEMP_PATH + 32];

	snprintf(path, sizeof(path), "%s/td-sync.conf", dir);
	ck_assert_int_eq(fs_write(path, span_of(text), 0644, NULL), RC_OK);
}

static const struct {
	const char *text, *says;
} wrong[] = {
	{ "dta = x\n", ":1: unknown key \"dta\"" },
	{ "\n# comment\nmax_push_bytes = 10 MB\n", ":3: max_push_bytes: must be a number" },
	{ "max_push_bytes = 12\n", ":1: max_push_bytes: must be a number from 1024" },
	{ "max_push_bytes = -1\n", ":1: max_push_bytes" },
	{ "max_push_bytes =\n", ":1: max_push_bytes" },
	{ "page_cache_bytes = -1\n", "must be a number from 0 to 1125899906842624" },
	{ "page_cache_bytes = 1125899906842625\n", ":1: page_cache_bytes" },
	{ "max_push_bytes = 1023\n", "must be a number from 1024 to 1073741824" },
	{ "max_push_bytes = 1073741825\n", "must be a number from 1024 to 1073741824" },
	{ "max_large_bodies = 0\n", "max_large_bodies: must be a number from 1 to 1024" },
	{ "max_large_bodies = 1025\n", "max_large_bodies: must be a number from 1 to 1024" },
	{ "transfer_seconds = 0\n", "transfer_seconds: must be a number from 1 to 3600" },
	{ "transfer_seconds = 3601\n", "transfer_seconds: must be a number from 1 to 3600" },
	{ "max_waiting = 0\n", "max_waiting: must be a number from 1 to 1024" },
	{ "max_waiting = 1025\n", "max_waiting: must be a number from 1 to 1024" },
	{ "max_project_events = -1\n", "max_project_events: must be a number from 0" },
	{ "max_project_bytes = 1125899906842625\n", ":1: max_project_bytes" },
	{ "max_user_projects = many\n", ":1: max_user_projects: must be a number" },
	{ "limits = yes\n", ":1: limits: must be \"on\" or \"off\"" },
	{ "unknown_entities = maybe\n", "must be \"park\" or \"refuse\"" },
	{ "data =\n", ":1: data: must be a folder" },
	{ "profiles =\n", ":1: profiles: must be a folder" },
	{ "error_log =\n", ":1: error_log" },
	{ "mail = post\n", ":1: mail: must be \"auto\", \"off\"" },
	{ "mail_from = td-sync\n", ":1: mail_from: must be one address" },
	{ "mail_from = a@example.com, b@example.com\n", ":1: mail_from: must be one address" },
	{ "mail_seconds = 0\n", "mail_seconds: must be a number from 1 to 30" },
	{ "mail_seconds = 31\n", "mail_seconds: must be a number from 1 to 30" },
	{ "mail_command =\n", ":1: mail_command: must not be empty" },
	{ "mail_file =\n", ":1: mail_file: must be a file" },
	{ "sendmail =\n", ":1: sendmail: must be a file" },
	{ "smtp_url = mail.example.com\n", ":1: smtp_url: must be smtp://HOST" },
	{ "smtp_tls = maybe\n", ":1: smtp_tls: must be \"on\" or \"off\"" },
	{ "smtp_user =\n", ":1: smtp_user: must not be empty" },
	{ "smtp_password_file =\n", ":1: smtp_password_file: must be a file" },
	{ "smtp_ca_file =\n", ":1: smtp_ca_file: must be a file" },
	{ "smtp_program =\n", ":1: smtp_program: must be a file" },
	{ "mail = sendmail\n", ": mail = sendmail needs the key mail_from" },
	{ "mail = smtp\nmail_from = a@b\n", ": mail = smtp needs the key smtp_url" },
	{ "mail = command\nmail_from = a@b\n", ": mail = command needs the key mail_command" },
	{ "mail = file\nmail_from = a@b\n", ": mail = file needs the key mail_file" },
	{ "smtp_user = a\n", ": smtp_user needs smtp_password_file" },
	{ "smtp_password_file = a\n", ": smtp_user needs smtp_password_file" },
	{ "nonsense\n", ":1:" },
};

START_TEST(a_mistake_is_named_with_file_and_line)
{
	static struct config c;
	char path[TEMP_PATH + 32];
	struct err err;

	snprintf(path, sizeof(path), "%s/td-sync.conf", dir);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		write_file(wrong[i].text);
		ck_assert_int_eq(config_load(NULL, dir, &c, &err), RC_INVALID);
		ck_assert_msg(strstr(err.text, path) != NULL && strstr(err.text, wrong[i].says) != NULL,
		              "%s: %s", wrong[i].text, err.text);
	}
	ck_assert_int_eq(config_load("/nonexistent/x.conf", dir, &c, &err), RC_INVALID);
	ck_assert_ptr_nonnull(strstr(err.text, "/nonexistent/x.conf"));
}
END_TEST

START_TEST(a_number_may_be_at_either_end_of_its_range)
{
	static const char *const right[] = {
		"max_push_bytes = 1024\nmax_large_bodies = 1\ntransfer_seconds = 1\n"
		"max_waiting = 1\nmax_project_events = 0\nmax_project_bytes = 0\n"
		"max_user_projects = 0\nmail_seconds = 1\n",
		"max_push_bytes = 1073741824\nmax_large_bodies = 1024\ntransfer_seconds = 3600\n"
		"max_waiting = 1024\nmax_project_events = 1125899906842624\n"
		"max_project_bytes = 1125899906842624\nmax_user_projects = 1125899906842624\n"
		"mail_seconds = 30\n",
	};
	static struct config c;
	struct err err;

	for (size_t i = 0; i < 2; i++) {
		write_file(right[i]);
		ck_assert_msg(config_load(NULL, dir, &c, &err) == RC_OK, "%s", err.text);
	}
	ck_assert_int_eq(c.max_push_bytes, 1 << 30);
	ck_assert_int_eq(c.transfer_seconds, 3600);
	ck_assert_int_eq(c.max_project_events, INT64_C(1) << 50);
	ck_assert_int_eq(c.mail.seconds, 30);
}
END_TEST

/* A line "KEY = " and n times 'x', and whether it is taken. */
static bool
takes_long(const char *key, int n)
{
	static struct config c;
	struct buf line = { 0 };
	bool taken;

	buf_addf(&line, "%s = %0*d\n", key, n, 0);
	write_file(buf_cstr(&line));
	taken = config_load(NULL, dir, &c, NULL) == RC_OK;
	buf_free(&line);
	return taken;
}

START_TEST(a_text_may_be_as_long_as_its_place)
{
	ck_assert(takes_long("mail_command", 1023));
	ck_assert(!takes_long("mail_command", 1024));
	ck_assert(!takes_long("mail_file", PATH_MAX));
	ck_assert(takes_long("setup_secret", 16));
	ck_assert(!takes_long("setup_secret", 15));
	ck_assert(takes_long("setup_secret", 255));
	ck_assert(!takes_long("setup_secret", 256));
	ck_assert(takes_long("smtp_user = x\nsmtp_password_file = x\nsmtp_user", 255));
	ck_assert(!takes_long("smtp_user = x\nsmtp_password_file = x\nsmtp_user", 256));
}
END_TEST

START_TEST(mail_goes_where_the_keys_say)
{
	static struct config c;
	struct err err;
	char want[TEMP_PATH + 32];

	write_file("mail = smtp\nmail_from = td-sync@example.com\nsmtp_url = smtps://mail.example.com\n"
	           "smtp_user = u\nsmtp_password_file = secret\nsmtp_tls = off\n"
	           "mail_file = mails\nsmtp_ca_file = /etc/ca.pem\n");
	snprintf(want, sizeof(want), "%s/td-sync.conf", dir);
	ck_assert_msg(config_load(want, dir, &c, &err) == RC_OK, "%s", err.text);
	ck_assert_int_eq(c.mail.way, MAIL_SMTP);
	ck_assert_str_eq(c.mail.from, "td-sync@example.com");
	ck_assert_str_eq(c.mail.smtp_url, "smtps://mail.example.com");
	ck_assert_str_eq(c.mail.smtp_user, "u");
	ck_assert(!c.mail.smtp_tls);
	snprintf(want, sizeof(want), "%s/secret", dir);
	ck_assert_str_eq(c.mail.smtp_password_file, want);
	snprintf(want, sizeof(want), "%s/mails", dir);
	ck_assert_str_eq(c.mail.file, want);
	ck_assert_str_eq(c.mail.smtp_ca_file, "/etc/ca.pem");
	write_file("mail = off\nsendmail = /bin/mailer\nmail_command = msmtp -t  --read-envelope-from\n"
	           "smtp_program = /opt/smtp\n");
	ck_assert_msg(config_load(NULL, dir, &c, &err) == RC_OK, "%s", err.text);
	ck_assert_int_eq(c.mail.way, MAIL_OFF);
	ck_assert_str_eq(c.mail.sendmail, "/bin/mailer");
	ck_assert_str_eq(c.mail.command, "msmtp -t  --read-envelope-from");
	ck_assert_str_eq(c.mail.smtp_program, "/opt/smtp");
	write_file("");
	ck_assert_int_eq(config_load(NULL, dir, &c, &err), RC_OK);
	ck_assert_int_eq(c.mail.way, MAIL_AUTO);
	ck_assert_str_eq(c.mail.from, "");
	ck_assert_str_eq(c.mail.smtp_program, LIBEXECDIR "/td-sync-smtp");
}
END_TEST

START_TEST(the_shipped_file_holds_the_defaults)
{
	static struct config defaults, shipped;
	char set[TEMP_PATH + 32];
	struct buf text = { 0 }, on = { 0 };
	struct err err;

	buf_add_byte(&on, '\n');
	/* Every key stands there, commented out, with its default: on with them. */
	ck_assert_int_eq(fs_read(TOP_SRCDIR "/conf/td-sync.conf", 1 << 16, &text, NULL), RC_OK);
	for (char *line = strtok((char *)(uintptr_t)buf_cstr(&text), "\n"); line != NULL;
	     line = strtok(NULL, "\n"))
		if (line[0] == '#' && line[1] >= 'a' && line[1] <= 'z')
			buf_addf(&on, "%s\n", line + 1);
	for (size_t i = 0; config_key(i) != NULL; i++) {
		char key[64];

		snprintf(key, sizeof(key), "\n%s =", config_key(i));
		ck_assert_msg(strstr(buf_cstr(&on), key) != NULL, "no %s", config_key(i));
	}
	ck_assert_int_eq(config_load(NULL, dir, &defaults, &err), RC_OK);
	snprintf(set, sizeof(set), "%s/all.conf", dir);
	ck_assert_int_eq(fs_write(set, buf_span(&on), 0644, NULL), RC_OK);
	ck_assert_msg(config_load(set, dir, &shipped, &err) == RC_OK, "%s", err.text);
	ck_assert_str_eq(shipped.error_log, defaults.error_log);
	ck_assert_str_eq(shipped.access_log, defaults.access_log);
	ck_assert(shipped.access_log_off == defaults.access_log_off);
	ck_assert_int_eq(shipped.max_push_bytes, defaults.max_push_bytes);
	ck_assert_int_eq(shipped.max_large_bodies, defaults.max_large_bodies);
	ck_assert_int_eq(shipped.transfer_seconds, defaults.transfer_seconds);
	ck_assert_int_eq(shipped.max_waiting, defaults.max_waiting);
	ck_assert_int_eq(shipped.page_cache_bytes, defaults.page_cache_bytes);
	ck_assert(shipped.refuse_unknown == defaults.refuse_unknown);
	ck_assert_int_eq(shipped.mail.way, defaults.mail.way);
	ck_assert_int_eq(shipped.mail.seconds, defaults.mail.seconds);
	ck_assert_str_eq(shipped.mail.sendmail, defaults.mail.sendmail);
	ck_assert(shipped.mail.smtp_tls == defaults.mail.smtp_tls);
	ck_assert(!shipped.limits && !defaults.limits);
	ck_assert_int_eq(shipped.max_project_events + shipped.max_project_bytes +
	                 shipped.max_user_projects, 0);
	buf_free(&text);
	buf_free(&on);
}
END_TEST

START_TEST(environment_beats_file_and_arguments_beat_both)
{
	static struct config c;
	struct err err;
	char want[TEMP_PATH + 32];

	ck_assert_int_eq(config_load(NULL, "/elsewhere", &c, &err), RC_OK);
	ck_assert_str_eq(c.profiles, DATADIR "/profiles");
	write_file("data = below\nmax_push_bytes = 2048\nunknown_entities = refuse\nprofiles = p\n"
	           "limits = on\n"
	           "error_log = logs/e\naccess_log = off\n");
	snprintf(want, sizeof(want), "%s/td-sync.conf", dir);
	ck_assert_int_eq(config_load(want, NULL, &c, &err), RC_OK);
	snprintf(want, sizeof(want), "%s/below", dir);
	ck_assert_str_eq(c.data, want);
	snprintf(want, sizeof(want), "%s/p", dir);
	ck_assert_str_eq(c.profiles, want);
	snprintf(want, sizeof(want), "%s/logs/e", dir);
	ck_assert_str_eq(c.error_log, want);
	ck_assert(c.refuse_unknown && c.access_log_off && c.limits);
	ck_assert_int_eq(c.max_push_bytes, 2048);
	setenv("TD_SYNC_SERVER_MAX_PUSH_BYTES", "4096", 1);
	setenv("TD_SYNC_SERVER_DATA", dir, 1);
	ck_assert_int_eq(config_load(NULL, NULL, &c, &err), RC_OK);
	ck_assert_int_eq(c.max_push_bytes, 4096);
	ck_assert_str_eq(c.data, dir);
	ck_assert_int_eq(config_load(NULL, "/elsewhere", &c, &err), RC_OK);
	ck_assert_str_eq(c.data, "/elsewhere");
	setenv("TD_SYNC_SERVER_MAX_PUSH_BYTES", "many", 1);
	ck_assert_int_eq(config_load(NULL, NULL, &c, &err), RC_INVALID);
	ck_assert_ptr_nonnull(strstr(err.text, "TD_SYNC_SERVER_MAX_PUSH_BYTES"));
	unsetenv("TD_SYNC_SERVER_MAX_PUSH_BYTES");
	setenv("TD_SYNC_SERVER_NOPE", "1", 1);
	ck_assert_int_eq(config_load(NULL, NULL, &c, &err), RC_INVALID);
	ck_assert_ptr_nonnull(strstr(err.text, "TD_SYNC_SERVER_NOPE"));
	unsetenv("TD_SYNC_SERVER_NOPE");
	unsetenv("TD_SYNC_SERVER_DATA");
	ck_assert_int_eq(config_load(NULL, NULL, &c, &err), RC_INVALID);
	ck_assert_ptr_nonnull(strstr(err.text, "--data"));
}
END_TEST

/* Run the program; its exit status. What it prints goes to out. */
static int
run(const char *const *argv, bool cgi, struct buf *out)
{
	int ends[2], status;
	char part[4096];
	ssize_t got;
	pid_t pid;

	ck_assert_int_eq(pipe(ends), 0);
	pid = fork();
	if (pid == 0) {
		int null = open("/dev/null", O_RDWR);

		if (cgi)
			setenv("REQUEST_METHOD", "GET", 1);
		dup2(null, STDIN_FILENO);
		dup2(ends[1], STDOUT_FILENO);
		dup2(ends[1], STDERR_FILENO);
		execv(TOP_BUILDDIR "/td-sync.fcgi", (char *const *)(uintptr_t)argv);
		_exit(127);
	}
	close(ends[1]);
	buf_reset(out);
	while ((got = read(ends[0], part, sizeof(part))) > 0)
		buf_add(out, part, (size_t)got);
	buf_cstr(out);
	close(ends[0]);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFEXITED(status));
	return WEXITSTATUS(status);
}

START_TEST(the_command_line_is_judged)
{
	static const struct {
		const char *argv[8];
		int status;
		const char *says;
	} runs[] = {
		{ { "x" }, 2, "usage:" },
		{ { "x", "--nope" }, 2, "usage:" },
		{ { "x", "more" }, 2, "usage:" },
		{ { "x", "--workers", "0" }, 2, "--workers must be a number from 1" },
		{ { "x", "--workers", "x" }, 2, "--workers must be a number" },
		{ { "x", "--workers", "5", "--max-workers", "4" }, 2, "above --max-workers" },
		{ { "x", "--workers", "2", "--data", "/nonexistent" }, 2, "no listening socket" },
		{ { "x", "--check", "--data", "/nonexistent" }, 1, "/nonexistent" },
		{ { "x", "--version" }, 0, "td-sync " },
		{ { "x", "--help" }, 0, "usage:" },
	};
	struct buf out = { 0 };

	for (size_t i = 0; i < sizeof(runs) / sizeof(runs[0]); i++) {
		int status = run(runs[i].argv, false, &out);

		ck_assert_msg(status == runs[i].status && strstr(out.p, runs[i].says) != NULL,
		              "%zu: %d, %s", i, status, out.p);
	}
	/* As CGI it answers even then. */
	write_file("nonsense = 1\n");
	ck_assert_int_eq(run((const char *const[]){ "x", "--data", dir, NULL }, true, &out), 1);
	ck_assert_ptr_nonnull(strstr(out.p, "Status: 500 "));
	ck_assert_ptr_nonnull(strstr(out.p, "{\"error\":{\"code\":\"internal_error\""));
	ck_assert_ptr_nonnull(strstr(out.p, "td-sync.conf:1: unknown key"));
	buf_free(&out);
}
END_TEST

TCase *
config_case(void)
{
	TCase *tc = tcase_create("configuration");

	tcase_add_checked_fixture(tc, set_up, tear_down);
	tcase_add_test(tc, a_mistake_is_named_with_file_and_line);
	tcase_add_test(tc, a_number_may_be_at_either_end_of_its_range);
	tcase_add_test(tc, a_text_may_be_as_long_as_its_place);
	tcase_add_test(tc, mail_goes_where_the_keys_say);
	tcase_add_test(tc, the_shipped_file_holds_the_defaults);
	tcase_add_test(tc, environment_beats_file_and_arguments_beat_both);
	tcase_add_test(tc, the_command_line_is_judged);
	return tc;
}
