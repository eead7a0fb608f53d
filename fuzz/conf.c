/*
 * td-sync.conf. What is taken must be within the bounds that the manual names,
 * and mean the same when it is written out and read again; what is refused is
 * named by file and line.
 */
#include "http/config.h"

#include "fuzz/fuzz.h"
#include "tests/temp.h"

#include <inttypes.h>
#include <string.h>

static char dir[TEMP_PATH];
static char path[TEMP_PATH + 16];

static void
remove_dir(void)
{
	temp_remove(dir);
}

static void
write_file(struct span text)
{
	FILE *f = fopen(path, "wb");

	FUZZ_CHECK(f != NULL && fwrite(text.p, 1, text.len, f) == text.len && fclose(f) == 0,
	           "%s", path);
}

/* The number of lines, the last of which may lack its end. */
static long
count_lines(struct span text)
{
	long n = text.len > 0 && text.p[text.len - 1] != '\n';

	for (size_t i = 0; i < text.len; i++)
		n += text.p[i] == '\n';
	return n;
}

/* "PATH:LINE: what". */
static void
check_refused(struct span text, const char *why)
{
	size_t n = strlen(path);
	char *end;
	long line;

	if (strstr(why, "no data folder") != NULL || strstr(why, "larger than") != NULL ||
	    strstr(why, " needs ") != NULL)
		return;
	FUZZ_CHECK(strncmp(why, path, n) == 0, "%s", why);
	FUZZ_CHECK(why[n] == ':', "%s", why);
	line = strtol(why + n + 1, &end, 10);
	FUZZ_CHECK(line >= 1 && line <= count_lines(text) && end[0] == ':' && end[1] == ' ' &&
	           end[2] != '\0', "%s, of %ld lines", why, count_lines(text));
}

static void
check_number(const char *what, int64_t n, int64_t min, int64_t max)
{
	FUZZ_CHECK(n >= min && n <= max, "%s: %" PRId64, what, n);
}

static void
check_taken(const struct config *c)
{
	check_number("max_push_bytes", c->max_push_bytes, 1024, INT64_C(1) << 30);
	check_number("max_large_bodies", c->max_large_bodies, 1, 1024);
	check_number("transfer_seconds", c->transfer_seconds, 1, 3600);
	check_number("max_waiting", c->max_waiting, 1, 1024);
	check_number("page_cache_bytes", c->page_cache_bytes, 0, INT64_C(1) << 50);
	check_number("snapshot_lag", c->snapshot_lag, 0, INT64_C(1) << 50);
	check_number("max_replay_events", c->max_replay_events, 0, INT64_C(1) << 50);
	check_number("mail_seconds", c->mail.seconds, 1, 30);
	FUZZ_CHECK(mail_check(&c->mail, NULL) == RC_OK &&
	           (c->mail.from[0] == '\0' || mail_address_ok(c->mail.from)) &&
	           (c->mail.smtp_url[0] == '\0' || mail_smtp_url_ok(c->mail.smtp_url)),
	           "%s, %s", c->mail.from, c->mail.smtp_url);
	FUZZ_CHECK(c->data[0] == '/' && c->profiles[0] != '\0', "%s, %s", c->data, c->profiles);
	FUZZ_CHECK(c->error_log[0] == '\0' || c->error_log[0] == '/', "%s", c->error_log);
	FUZZ_CHECK(c->access_log[0] == '\0' || c->access_log[0] == '/', "%s", c->access_log);
}

/* A text that may be missing. */
static void
write_text(const char *key, const char *value, struct buf *out)
{
	if (value[0] != '\0')
		buf_addf(out, "%s = %s\n", key, value);
}

static void
write_mail(const struct mail_settings *m, struct buf *out)
{
	static const char *const ways[] = { "auto", "off", "sendmail", "smtp", "command", "file" };

	buf_addf(out, "mail = %s\nmail_seconds = %" PRId64 "\nsmtp_tls = %s\n", ways[m->way],
	         m->seconds, m->smtp_tls ? "on" : "off");
	write_text("mail_from", m->from, out);
	write_text("mail_command", m->command, out);
	write_text("mail_file", m->file, out);
	write_text("sendmail", m->sendmail, out);
	write_text("smtp_url", m->smtp_url, out);
	write_text("smtp_user", m->smtp_user, out);
	write_text("smtp_password_file", m->smtp_password_file, out);
	write_text("smtp_ca_file", m->smtp_ca_file, out);
	write_text("smtp_program", m->smtp_program, out);
}

static void
write_out(const struct config *c, struct buf *out)
{
	buf_addf(out, "data = %s\nprofiles = %s\nerror_log = %s\naccess_log = %s\n", c->data,
	         c->profiles, c->error_log[0] != '\0' ? c->error_log : "stderr",
	         c->access_log_off ? "off" : c->access_log[0] != '\0' ? c->access_log : "stderr");
	buf_addf(out, "max_push_bytes=%" PRId64 "\nmax_large_bodies=%" PRId64
	         "\ntransfer_seconds=%" PRId64 "\nmax_waiting=%" PRId64 "\n", c->max_push_bytes,
	         c->max_large_bodies, c->transfer_seconds, c->max_waiting);
	buf_addf(out, "page_cache_bytes=%" PRId64 "\nsnapshot_lag=%" PRId64
	         "\nmax_replay_events=%" PRId64 "\nunknown_entities=%s\n", c->page_cache_bytes,
	         c->snapshot_lag, c->max_replay_events, c->refuse_unknown ? "refuse" : "park");
	write_mail(&c->mail, out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct config c, again; /* large */
	struct span copy = fuzz_copy(data, size);
	struct buf first = { 0 }, second = { 0 };
	struct err err = { "" };
	enum rc rc;

	if (dir[0] == '\0') {
		temp_make(dir);
		atexit(remove_dir);
		snprintf(path, sizeof(path), "%s/conf", dir);
	}
	write_file(copy);
	rc = config_load(path, NULL, &c, &err);
	FUZZ_CHECK(rc == RC_OK || rc == RC_INVALID, "%s: %s", rc_name(rc), err.text);
	if (rc == RC_OK) {
		check_taken(&c);
		write_out(&c, &first);
		write_file(buf_span(&first));
		rc = config_load(path, NULL, &again, &err);
		FUZZ_CHECK(rc == RC_OK, "%s", err.text);
		write_out(&again, &second);
		FUZZ_CHECK(span_eq(buf_span(&first), buf_span(&second)), "%.*s, then %.*s",
		           FUZZ_SPAN(buf_span(&first)), FUZZ_SPAN(buf_span(&second)));
	} else {
		check_refused(copy, err.text);
	}
	buf_free(&first);
	buf_free(&second);
	free((char *)(uintptr_t)copy.p);
	return 0;
}
