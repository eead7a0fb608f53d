/* Logging in, tokens of one's own, invitations: over HTTP, with mail in a file. */
#include "http_test.h"

#include "base/fs.h"
#include "base/json.h"

#include <fcntl.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAIL "mail = file\nmail_file = mail.txt\nmail_from = td-sync@example.com\n" \
	"url = https://sync.example.com/\n"

#define START "/v1/auth/device/start"
#define POLL "/v1/auth/device/poll"
#define VERIFIER "fixture-verifier-0123456789-0123456789-0123456789"
#define CHALLENGE "YzGKw_dhbUcmTcdRbglznxK65kucMXjSW-24kZzdoYE" /* of that verifier */
#define FORM "Content-Type: application/x-www-form-urlencoded"

/* --- helpers --- */

/* A text of the last answer's JSON object; until the next call. */
static const char *
answer_text(struct world *w, const char *key)
{
	static struct buf text;
	struct span whole, value;

	buf_reset(&text);
	if (json_scan(buf_span(&w->answer.body), JSON_MAX_DEPTH, &whole, NULL, NULL) == RC_OK &&
	    json_get(whole, key, &value))
		json_string(value, &text);
	return buf_cstr(&text);
}

static int
start(struct world *w, const char *email, const char *device)
{
	char body[600];

	snprintf(body, sizeof(body), "{\"email\":\"%s\",\"code_challenge\":\"" CHALLENGE "\","
	         "\"code_challenge_method\":\"S256\",\"device_name\":\"%s\"}", email, device);
	return ask(w, NOBODY, "POST", START, body, NULL);
}

static int
poll_with(struct world *w, const char *code, const char *verifier)
{
	char body[400];

	snprintf(body, sizeof(body), "{\"device_code\":\"%s\",\"code_verifier\":\"%s\"}", code,
	         verifier);
	return ask(w, NOBODY, "POST", POLL, body, NULL);
}

/* All mail so far. For the caller to free. */
static struct buf
mail(const struct world *w)
{
	struct buf text = { 0 };
	char path[PATH_MAX + 16];

	snprintf(path, sizeof(path), "%s/mail.txt", w->site.dir);
	fs_read(path, 1 << 20, &text, NULL);
	ck_assert_ptr_nonnull(buf_cstr(&text));
	return text;
}

static size_t
count_in(const struct buf *text, const char *what)
{
	size_t n = 0;

	for (const char *p = text->p; p != NULL && (p = strstr(p, what)) != NULL; p++)
		n++;
	return n;
}

/* The link's token of the last mail; "": there is none. */
static void
last_link(const struct world *w, char out[100])
{
	struct buf text = mail(w);
	const char *p = buf_cstr(&text), *last = NULL;

	while (p != NULL && (p = strstr(p, "approve?token=")) != NULL)
		last = p += strlen("approve?token=");
	snprintf(out, 100, "%.97s", last != NULL ? last : "");
	buf_free(&text);
}

static int
follow(struct world *w, const char *method, const char *link)
{
	char path[200];

	snprintf(path, sizeof(path), "/auth/device/approve?token=%s", link);
	return ask(w, NOBODY, method, path, NULL, NULL);
}

static int
click(struct world *w, const char *link, const char *header)
{
	char body[200];

	snprintf(body, sizeof(body), "token=%s", link);
	return ask(w, NOBODY, "POST", "/auth/device/approve", body, header != NULL ? header : FORM);
}

static bool
shows(struct world *w, const char *text)
{
	return strstr(buf_cstr(&w->answer.body), text) != NULL;
}

/* Change server.db by hand. */
static void
change(const struct world *w, const char *sql)
{
	char path[PATH_MAX + 16];
	sqlite3 *db;

	snprintf(path, sizeof(path), "%s/server.db", w->site.data);
	ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
	sqlite3_busy_timeout(db, 5000);
	ck_assert_int_eq(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
}

/* Log in as somebody, by a click; *key is for the caller to free. */
static void
log_in(struct world *w, const char *email, char **key)
{
	char code[80], link[100];

	change(w, "UPDATE login SET created_at = created_at - 61");
	ck_assert_int_eq(start(w, email, "laptop"), 200);
	snprintf(code, sizeof(code), "%s", answer_text(w, "device_code"));
	last_link(w, link);
	ck_assert_int_eq(click(w, link, NULL), 200);
	ck_assert_int_eq(poll_with(w, code, VERIFIER), 200);
	*key = strdup(answer_text(w, "api_key"));
	ck_assert_str_ne(*key, "");
}

/* --- login by link --- */

static void
by_link(struct world *w)
{
	char code[80], link[100], key[4200], path[PATH_MAX + 32];
	struct buf logs = { 0 };

	ck_assert_int_eq(start(w, "Owner@Example.com", "td-cli@laptop"), 200);
	snprintf(code, sizeof(code), "%s", answer_text(w, "device_code"));
	ck_assert_uint_eq(strlen(code), 64);
	ck_assert_int_eq(answer_number(w, "expires_in"), 900);
	ck_assert_int_eq(answer_number(w, "interval"), 5);
	last_link(w, link);
	ck_assert_uint_eq(strlen(link), 97);
	/* Nobody clicked: a mail scanner that follows the link changes nothing. */
	ck_assert_int_eq(poll_with(w, code, VERIFIER), 200);
	ck_assert_str_eq(answer_text(w, "status"), "pending");
	ck_assert_int_eq(follow(w, "GET", link), 200);
	ck_assert(shows(w, "td-cli@laptop") && shows(w, "Owner@Example.com"));
	ck_assert(shows(w, w->site.kind == SITE_CGI ? "From" : "127.0.0.1"));
	ck_assert_str_eq(web_header(&w->answer, "Referrer-Policy"), "no-referrer");
	ck_assert_ptr_nonnull(strstr(web_header(&w->answer, "Content-Security-Policy"),
	                             "default-src 'none'"));
	ck_assert_int_eq(follow(w, "HEAD", link), 200);
	ck_assert_int_eq(poll_with(w, code, VERIFIER), 200);
	ck_assert_str_eq(answer_text(w, "status"), "pending");
	/* The click. Before the poll no verifier is judged, after it a wrong one is. */
	ck_assert_int_eq(click(w, link, NULL), 200);
	ck_assert(shows(w, "Device approved"));
	ck_assert_int_eq(poll_with(w, code, "wrong"), 401);
	ck_assert(has_code(w, "invalid_verifier"));
	ck_assert_int_eq(poll_with(w, code, CHALLENGE), 401);
	ck_assert_int_eq(poll_with(w, code, VERIFIER), 200);
	ck_assert_str_eq(answer_text(w, "status"), "complete");
	ck_assert_str_eq(answer_text(w, "email"), "owner@example.com");
	ck_assert_str_eq(answer_text(w, "user_id"), w->users[OWNER]);
	snprintf(key, sizeof(key), "%s", answer_text(w, "api_key"));
	/* The key is the user's; link and code are used up. */
	ck_assert_int_eq(ask_as(w, key, "GET", "/v1/projects/{p}", (struct span){ 0 }, NULL), 200);
	ck_assert_int_eq(poll_with(w, code, VERIFIER), 410);
	ck_assert(has_code(w, "expired"));
	ck_assert_int_eq(click(w, link, NULL), 200);
	ck_assert(shows(w, "already been used"));
	ck_assert_int_eq(follow(w, "GET", link), 200);
	ck_assert(shows(w, "already been used"));
	/* Nothing of it is in a log. */
	ck_assert_int_eq(fs_read(w->site.error_log, 1 << 24, &logs, NULL), RC_OK);
	ck_assert_int_eq(fs_read(w->site.access_log, 1 << 24, &logs, NULL), RC_OK);
	snprintf(path, sizeof(path), "%s/nginx-access.log", w->site.dir);
	ck_assert(fs_read(path, 1 << 24, &logs, NULL) == RC_OK || w->site.kind != SITE_FASTCGI);
	ck_assert_ptr_null(strstr(buf_cstr(&logs), link + 33));
	ck_assert_ptr_null(strstr(logs.p, code));
	ck_assert_ptr_null(strstr(logs.p, key));
	buf_free(&logs);
}

START_TEST(a_login_by_link_takes_a_click_and_gives_one_key)
{
	with_each_of(MAIL, by_link);
}
END_TEST

static void
no_account(struct world *w)
{
	struct buf text;
	char code[80];
	int64_t before, known, unknown;

	before = clock_mono_ms();
	ck_assert_int_eq(start(w, "owner@example.com", "x"), 200);
	known = clock_mono_ms() - before;
	before = clock_mono_ms();
	ck_assert_int_eq(start(w, "nobody@example.com", "x"), 200);
	unknown = clock_mono_ms() - before;
	/* The same members, and as late: the second that both take hides a mailer. */
	ck_assert_ptr_nonnull(strstr(w->answer.body.p, "\"email_sent\":true"));
	snprintf(code, sizeof(code), "%s", answer_text(w, "device_code"));
	ck_assert_uint_eq(strlen(code), 64);
	ck_assert_int_ge(known, 1000);
	ck_assert_int_ge(unknown, 1000);
	ck_assert_int_eq(poll_with(w, code, VERIFIER), 200);
	ck_assert_str_eq(answer_text(w, "status"), "pending");
	/* One mail a minute to an address, and none to those without an account. */
	ck_assert_int_eq(start(w, "owner@example.com", "y"), 200);
	text = mail(w);
	ck_assert_uint_eq(count_in(&text, "Approve td CLI login"), 1);
	ck_assert_uint_eq(count_in(&text, "nobody@"), 0);
	buf_free(&text);
	change(w, "UPDATE login SET created_at = created_at - 59");
	ck_assert_int_eq(start(w, "OWNER@example.com", "y"), 200);
	change(w, "UPDATE login SET created_at = created_at - 2");
	ck_assert_int_eq(start(w, "owner@example.com", "y"), 200);
	text = mail(w);
	ck_assert_uint_eq(count_in(&text, "Approve td CLI login"), 2);
	buf_free(&text);
}

START_TEST(an_unknown_address_is_answered_like_a_known_one)
{
	with_each_of(MAIL, no_account);
}
END_TEST

static int
poll_code(struct world *w, const char *code)
{
	char body[120];

	snprintf(body, sizeof(body), "{\"device_code\":\"%s\"}", code);
	return ask(w, NOBODY, "POST", "/v1/auth/login/poll", body, NULL);
}

/* Slower than what was noted last, but by so little that it isn't noted. */
static void
a_slower_mailer(struct world *w)
{
	int64_t before, known, unknown, apart = INT64_MAX;

	/* Once of five: other programs make this machine's calls slower, too. */
	for (int i = 0; i < 5 && apart >= 60; i++) {
		change(w, "INSERT OR REPLACE INTO meta VALUES ('login_pace_ms', 1200);"
		          "UPDATE login SET created_at = created_at - 120");
		before = clock_mono_ms();
		ck_assert_int_eq(start(w, "owner@example.com", "x"), 200);
		known = clock_mono_ms() - before;
		before = clock_mono_ms();
		ck_assert_int_eq(start(w, "nobody@example.com", "x"), 200);
		unknown = clock_mono_ms() - before;
		ck_assert_int_ge(known, 1400);
		apart = llabs(known - unknown);
	}
	ck_assert_int_lt(apart, 60);
}

START_TEST(an_unknown_address_is_as_slow_as_a_slow_mailer)
{
	with_each_of("mail = command\nmail_command = cat >/dev/null; sleep 1.4\n"
	             "mail_from = td-sync@example.com\nurl = https://sync.example.com\n",
	             a_slower_mailer);
}
END_TEST

/* Take every place for requests that take their time; to close(). */
static int
take_places(const struct world *w)
{
	struct flock all = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	char path[PATH_MAX + 16];
	int fd;

	snprintf(path, sizeof(path), "%s/logins", w->site.data);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0660);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(fcntl(fd, F_OFD_SETLK, &all), 0);
	return fd;
}

static void
crowded(struct world *w)
{
	char code[80], form[64];
	struct span none = { 0 };
	int places;

	ck_assert_int_eq(ask(w, NOBODY, "POST", "/v1/auth/login/start",
	                     "{\"email\":\"owner@example.com\"}", NULL), 200);
	snprintf(code, sizeof(code), "%s", answer_text(w, "device_code"));
	snprintf(form, sizeof(form), "user_code=%s", answer_text(w, "user_code"));
	places = take_places(w);
	ck_assert_int_eq(start(w, "owner@example.com", "x"), 503);
	ck_assert_str_eq(web_header(&w->answer, "Retry-After"), "2");
	/* Who mails holds a worker for as long as the mailer takes. */
	ck_assert_int_eq(ask(w, OWNER, "POST", "/v1/projects/{p}/invitations",
	                     "{\"email\":\"a@example.com\",\"role\":\"reader\"}", NULL), 503);
	/* A guess that isn't slowed down isn't looked at, either. */
	ck_assert_int_eq(ask(w, NOBODY, "POST", "/auth/verify", form, FORM), 503);
	close(places);
	ck_assert_int_eq(ask_as(w, w->tokens[OWNER], "GET", "/v1/projects/{p}/invitations", none,
	                        NULL), 200);
	ck_assert_str_eq(w->answer.body.p, "[]\n");
	ck_assert_int_eq(poll_code(w, code), 200);
	ck_assert_str_eq(answer_text(w, "status"), "pending");
	ck_assert_int_eq(ask(w, NOBODY, "POST", "/auth/verify", form, FORM), 200);
	ck_assert_int_eq(poll_code(w, code), 200);
	ck_assert_str_eq(answer_text(w, "status"), "complete");
}

START_TEST(few_at_a_time_mail_or_guess)
{
	with_each_of(MAIL "code_login = on\n", crowded);
}
END_TEST

/* Polls at the same instant. */
struct poller {
	struct world *w;
	const char *code;
	pthread_barrier_t *together;
	int status;
};

static void *
be_poller(void *ctx)
{
	struct poller *p = ctx;
	struct web_answer answer = { 0 };
	char body[400];
	struct web_call call = { .method = "POST", .url = p->w->site.url, .path = POLL };

	snprintf(body, sizeof(body), "{\"device_code\":\"%s\",\"code_verifier\":\"" VERIFIER "\"}",
	         p->code);
	call.body = span_of(body);
	pthread_barrier_wait(p->together);
	p->status = web_call(&call, &answer) ? answer.status : 0;
	web_free(&answer);
	return NULL;
}

START_TEST(two_polls_at_the_same_instant_get_one_key)
{
	struct site_options options = { .kind = SITE_FASTCGI, .config = MAIL };
	struct poller pollers[8];
	pthread_t threads[8];
	pthread_barrier_t together;
	char code[80], link[100];
	int keys = 0, gone = 0;
	struct world w;

	if (!http_can_run(SITE_FASTCGI))
		return;
	world_start(&w, &options);
	ck_assert_int_eq(start(&w, "owner@example.com", "x"), 200);
	snprintf(code, sizeof(code), "%s", answer_text(&w, "device_code"));
	last_link(&w, link);
	ck_assert_int_eq(click(&w, link, NULL), 200);
	pthread_barrier_init(&together, NULL, 8);
	for (size_t i = 0; i < 8; i++) {
		pollers[i] = (struct poller){ &w, code, &together, 0 };
		pthread_create(&threads[i], NULL, be_poller, &pollers[i]);
	}
	for (size_t i = 0; i < 8; i++) {
		pthread_join(threads[i], NULL);
		keys += pollers[i].status == 200;
		gone += pollers[i].status == 410;
	}
	pthread_barrier_destroy(&together);
	ck_assert_int_eq(keys, 1);
	ck_assert_int_eq(gone, 7);
	world_stop(&w);
}
END_TEST

static void *
be_starter(void *ctx)
{
	struct poller *p = ctx;
	struct web_answer answer = { 0 };
	struct web_call call = { .method = "POST", .url = p->w->site.url, .path = START };

	call.body = span_of("{\"email\":\"nobody@example.com\",\"code_challenge\":\"" CHALLENGE "\","
	                    "\"code_challenge_method\":\"S256\"}");
	pthread_barrier_wait(p->together);
	p->status = web_call(&call, &answer) ? answer.status : 0;
	if (p->status == 503 && strstr(answer.headers.p, "Retry-After: ") == NULL)
		p->status = -1;
	web_free(&answer);
	return NULL;
}

#define AT_ONCE 8 /* logins that begin */

/* How many of n that begin at once are let in. */
static int
begin_at_once(struct world *w, int n)
{
	struct poller starters[2 * AT_ONCE];
	pthread_t threads[2 * AT_ONCE];
	pthread_barrier_t together;
	int in = 0, out = 0;

	pthread_barrier_init(&together, NULL, (unsigned)n);
	for (int i = 0; i < n; i++) {
		starters[i] = (struct poller){ w, NULL, &together, 0 };
		pthread_create(&threads[i], NULL, be_starter, &starters[i]);
	}
	for (int i = 0; i < n; i++) {
		pthread_join(threads[i], NULL);
		in += starters[i].status == 200;
		out += starters[i].status == 503;
	}
	pthread_barrier_destroy(&together);
	ck_assert_int_eq(in + out, n);
	return in;
}

START_TEST(few_logins_begin_at_the_same_time)
{
	static const char *const arguments[] = { "--workers", "20", "--max-workers", "32", NULL };
	struct site_options options = { .kind = SITE_FASTCGI, .config = MAIL,
	                                .arguments = arguments };
	struct world w;
	int in = 2 * AT_ONCE;

	if (!http_can_run(SITE_FASTCGI))
		return;
	world_start(&w, &options);
	ck_assert_int_eq(begin_at_once(&w, AT_ONCE), AT_ONCE);
	/* On a busy machine the last come when the first have ended. */
	for (int i = 0; i < 5 && in == 2 * AT_ONCE; i++)
		in = begin_at_once(&w, 2 * AT_ONCE);
	ck_assert_int_lt(in, 2 * AT_ONCE);
	ck_assert_int_ge(in, AT_ONCE);
	/* Others are served meanwhile. */
	ck_assert_int_eq(ask(&w, OWNER, "GET", "/v1/projects", NULL, NULL), 200);
	world_stop(&w);
}
END_TEST

static void
bad_starts(struct world *w)
{
	static const char *const addresses[] = { "not an address", "", "a@b@c", "a\\r\\nBcc: x@y.z",
	                                         "a@example.com,b@example.com", "-f@example.com" };
	static const char *const bodies[] = {
		"hello", "[]", "{\"email\":1}",
		"{\"email\":\"owner@example.com\",\"code_challenge\":\"" CHALLENGE "\"}",
		"{\"email\":\"owner@example.com\",\"code_challenge\":\"" CHALLENGE
		"\",\"code_challenge_method\":\"plain\"}",
		"{\"email\":\"owner@example.com\",\"code_challenge\":\"\","
		"\"code_challenge_method\":\"S256\"}",
		"{\"email\":\"owner@example.com\",\"code_challenge\":\"" CHALLENGE
		"A\",\"code_challenge_method\":\"S256\"}",
	};
	struct buf text;

	for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++) {
		ck_assert_int_eq(start(w, addresses[i], "x"), 400);
		ck_assert(has_code(w, "bad_request"));
	}
	for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++)
		ck_assert_msg(ask(w, NOBODY, "POST", START, bodies[i], NULL) == 400, "%s", bodies[i]);
	ck_assert_int_eq(ask(w, NOBODY, "GET", START, NULL, NULL), 405);
	ck_assert_int_eq(poll_with(w, "", VERIFIER), 400);
	ck_assert_int_eq(poll_with(w, CHALLENGE, ""), 400);
	ck_assert_int_eq(ask(w, NOBODY, "POST", POLL, "{", NULL), 400);
	text = mail(w);
	ck_assert_uint_eq(text.len, 0);
	buf_free(&text);
	/* Links that are none, or another's. */
	ck_assert_int_eq(ask(w, NOBODY, "GET", "/auth/device/approve", NULL, NULL), 400);
	ck_assert_int_eq(follow(w, "GET", "abc"), 400);
	ck_assert_int_eq(follow(w, "GET", "abc."), 400);
	ck_assert_int_eq(follow(w, "GET", "abcdef.012345"), 200);
	ck_assert(shows(w, "Invalid or expired link."));
	ck_assert_int_eq(click(w, "", NULL), 400);
}

START_TEST(what_is_no_login_is_refused)
{
	with_each_of(MAIL, bad_starts);
}
END_TEST

static void
others_words(struct world *w)
{
	char link[100], wrong[100];
	struct buf text;

	ck_assert_int_eq(start(w, "owner@example.com",
	    "<script>alert(1)</script>\\r\\nBcc: all@example.com\\n\\nhttp://evil.example"), 200);
	text = mail(w);
	/* Neither a header nor a link of the mail's own. */
	ck_assert_uint_eq(count_in(&text, "\nBcc:"), 0);
	ck_assert_uint_eq(count_in(&text, "http://evil"), 0);
	buf_free(&text);
	last_link(w, link);
	ck_assert_int_eq(follow(w, "GET", link), 200);
	ck_assert(!shows(w, "<script>") && shows(w, "&lt;script&gt;"));
	/* A form that another site makes a browser post. */
	ck_assert_int_eq(click(w, link, "Sec-Fetch-Site: cross-site"), 403);
	ck_assert_int_eq(follow(w, "GET", link), 200);
	ck_assert(shows(w, "Approve this login?"));
	/* The right selector with another's secret. */
	snprintf(wrong, sizeof(wrong), "%s", link);
	wrong[96] = wrong[96] == '0' ? '1' : '0';
	ck_assert_int_eq(click(w, wrong, NULL), 200);
	ck_assert(shows(w, "Invalid or expired link."));
	/* In its time, and after. */
	change(w, "UPDATE login SET expires_at = expires_at - 890");
	ck_assert_int_eq(follow(w, "GET", link), 200);
	ck_assert(shows(w, "Approve this login?"));
	change(w, "UPDATE login SET expires_at = expires_at - 10");
	ck_assert_int_eq(click(w, link, NULL), 200);
	ck_assert(shows(w, "This link has expired."));
}

START_TEST(words_of_others_are_only_words)
{
	with_each_of(MAIL, others_words);
}
END_TEST

static void
at_the_get(struct world *w)
{
	char code[80], link[100];

	ck_assert_int_eq(start(w, "owner@example.com", "x"), 200);
	snprintf(code, sizeof(code), "%s", answer_text(w, "device_code"));
	last_link(w, link);
	ck_assert_int_eq(follow(w, "HEAD", link), 200);
	ck_assert_int_eq(poll_with(w, code, VERIFIER), 200);
	ck_assert_str_eq(answer_text(w, "status"), "pending");
	ck_assert_int_eq(follow(w, "GET", link), 200);
	ck_assert(shows(w, "Device approved"));
	ck_assert_int_eq(poll_with(w, code, VERIFIER), 200);
	ck_assert_str_eq(answer_text(w, "status"), "complete");
}

START_TEST(a_link_alone_approves_where_that_is_configured)
{
	with_each_of(MAIL "approval = link\n", at_the_get);
}
END_TEST

static void
no_mailer(struct world *w)
{
	ck_assert_int_eq(start(w, "owner@example.com", "x"), 200);
	ck_assert_ptr_nonnull(strstr(w->answer.body.p, "\"email_sent\":true"));
	ck_assert_int_eq(said(w, "no mail was sent: "), 1);
	ck_assert_int_eq(start(w, "nobody@example.com", "x"), 200);
	ck_assert_int_eq(said(w, "no mail was sent: "), 1);
	/* Who got none need not wait for a minute. */
	ck_assert_int_eq(start(w, "owner@example.com", "x"), 200);
	ck_assert_int_eq(said(w, "no mail was sent: "), 2);
}

START_TEST(a_mailer_that_fails_is_a_fault_in_the_log)
{
	with_each_of("mail = command\nmail_command = echo no such host >&2; exit 75\n"
	             "mail_from = td-sync@example.com\nurl = https://sync.example.com\n", no_mailer);
}
END_TEST

static void
sign_up(struct world *w)
{
	char *key;

	log_in(w, "new@example.com", &key);
	ck_assert_int_eq(ask_as(w, key, "GET", "/v1/projects", (struct span){ 0 }, NULL), 200);
	ck_assert_str_eq(w->answer.body.p, "[]\n");
	free(key);
}

START_TEST(an_open_server_takes_new_people)
{
	with_each_of(MAIL "signup = open\n", sign_up);
}
END_TEST

static void
sign_up_invited(struct world *w)
{
	struct buf text;
	char id[ID_MAX], path[100], *key;

	ck_assert_int_eq(start(w, "guest@example.com", "x"), 200);
	text = mail(w);
	ck_assert_uint_eq(text.len, 0);
	buf_free(&text);
	ck_assert_int_eq(ask(w, OWNER, "POST", "/v1/projects/{p}/invitations",
	    "{\"email\":\"Guest@Example.com\",\"role\":\"reader\"}", NULL), 201);
	ck_assert_str_eq(answer_text(w, "email"), "guest@example.com");
	snprintf(id, sizeof(id), "%s", answer_text(w, "id"));
	text = mail(w);
	ck_assert_uint_eq(count_in(&text, id), 1);
	ck_assert_uint_eq(count_in(&text, "To: <guest@example.com>"), 1);
	buf_free(&text);
	log_in(w, "guest@example.com", &key);
	ck_assert_int_eq(ask_as(w, key, "GET", "/v1/projects/{p}", (struct span){ 0 }, NULL), 403);
	snprintf(path, sizeof(path), "/v1/invitations/%s/accept", id);
	ck_assert_int_eq(ask_as(w, w->tokens[STRANGER], "POST", path, (struct span){ 0 }, NULL), 404);
	ck_assert_int_eq(ask_as(w, key, "POST", path, (struct span){ 0 }, NULL), 200);
	ck_assert_str_eq(answer_text(w, "role"), "reader");
	ck_assert_int_eq(ask_as(w, key, "GET", "/v1/projects/{p}", (struct span){ 0 }, NULL), 200);
	free(key);
}

START_TEST(an_invited_person_may_sign_up_and_nobody_else)
{
	with_each_of(MAIL "signup = invited\n", sign_up_invited);
}
END_TEST

/* --- the older flow --- */

static void
by_code(struct world *w)
{
	char code[80], user_code[10], body[200];

	ck_assert_int_eq(ask(w, NOBODY, "POST", "/v1/auth/login/start",
	                     "{\"email\":\"nobody@example.com\"}", NULL), 403);
	ck_assert(has_code(w, "signup_disabled"));
	ck_assert_int_eq(ask(w, NOBODY, "POST", "/v1/auth/login/start",
	                     "{\"email\":\"owner@example.com\"}", NULL), 200);
	snprintf(code, sizeof(code), "%s", answer_text(w, "device_code"));
	snprintf(user_code, sizeof(user_code), "%s", answer_text(w, "user_code"));
	ck_assert_uint_eq(strlen(code), 40);
	ck_assert_uint_eq(strspn(user_code, "ABCDEFGHJKMNPQRSTUVWXYZ23456789"), 6);
	ck_assert_str_eq(answer_text(w, "verification_uri"), "https://sync.example.com/auth/verify");
	snprintf(body, sizeof(body), "{\"device_code\":\"%s\"}", code);
	ck_assert_int_eq(ask(w, NOBODY, "POST", "/v1/auth/login/poll", body, NULL), 200);
	ck_assert_str_eq(answer_text(w, "status"), "pending");
	/* A poll of the other flow knows nothing of it, nor this one of a link's. */
	snprintf(body, sizeof(body), "{\"device_code\":\"%064d\"}", 0);
	ck_assert_int_eq(ask(w, NOBODY, "POST", "/v1/auth/login/poll", body, NULL), 404);
	ck_assert_int_eq(poll_with(w, code, VERIFIER), 200);
	ck_assert_int_eq(ask(w, NOBODY, "POST", "/auth/verify", "user_code=ZZZZZZ", FORM), 200);
	ck_assert(shows(w, "Invalid or expired code."));
	ck_assert_int_eq(ask(w, NOBODY, "POST", "/auth/verify", "user_code=", FORM), 200);
	ck_assert(shows(w, "Please enter a code."));
	snprintf(body, sizeof(body), "user_code=%.3s-%s", user_code, user_code + 3);
	for (char *p = body + 10; *p != '\0'; p++)
		*p = *p >= 'A' && *p <= 'Z' ? (char)(*p - 'A' + 'a') : *p;
	ck_assert_int_eq(ask(w, NOBODY, "POST", "/auth/verify", body, FORM), 200);
	ck_assert(shows(w, "Device authorized."));
	ck_assert_int_eq(ask(w, NOBODY, "POST", "/auth/verify", body, FORM), 200);
	ck_assert(shows(w, "Invalid or expired code."));
	ck_assert_int_eq(poll_with(w, code, VERIFIER), 200);
	ck_assert_str_eq(answer_text(w, "status"), "pending");
	snprintf(body, sizeof(body), "{\"device_code\":\"%s\"}", code);
	ck_assert_int_eq(ask(w, NOBODY, "POST", "/v1/auth/login/poll", body, NULL), 200);
	ck_assert_str_eq(answer_text(w, "user_id"), w->users[OWNER]);
	ck_assert_int_eq(ask(w, NOBODY, "POST", "/v1/auth/login/poll", body, NULL), 410);
	ck_assert(has_code(w, "already_used"));
}

START_TEST(the_older_flow_works_where_it_is_switched_on)
{
	with_each_of(MAIL "code_login = on\n", by_code);
}
END_TEST

static void
no_code(struct world *w)
{
	ck_assert_int_eq(ask(w, NOBODY, "POST", "/v1/auth/login/start",
	                     "{\"email\":\"owner@example.com\"}", NULL), 410);
	ck_assert(has_code(w, "endpoint_disabled"));
	ck_assert_int_eq(ask(w, NOBODY, "POST", "/v1/auth/login/poll",
	                     "{\"device_code\":\"x\"}", NULL), 410);
	ck_assert_int_eq(ask(w, NOBODY, "GET", "/auth/verify", NULL, NULL), 404);
	ck_assert_int_eq(ask(w, NOBODY, "POST", "/auth/verify", "user_code=ABC234", FORM), 404);
}

START_TEST(and_is_off_where_it_is_not)
{
	with_each_of(MAIL, no_code);
}
END_TEST

/* --- tokens --- */

static int
make_token(struct world *w, const char *by, const char *body)
{
	return ask_as(w, by, "POST", "/v1/tokens", span_of(body), NULL);
}

static void
own_tokens(struct world *w)
{
	char id[ID_MAX], path[100], body[300], *agent, *login = w->tokens[OWNER];
	struct span none = { 0 };

	snprintf(body, sizeof(body), "{\"name\":\"cloud agent\",\"scope\":\"sync:read sync:write\","
	         "\"projects\":[\"%s\"],\"days\":7}", w->project);
	ck_assert_int_eq(make_token(w, login, body), 201);
	agent = strdup(answer_text(w, "token"));
	snprintf(id, sizeof(id), "%s", answer_text(w, "id"));
	ck_assert_str_eq(answer_text(w, "scope"), "sync:read sync:write");
	/* It does what it is for, and no more. */
	ck_assert_int_eq(ask_as(w, agent, "GET", "/v1/projects/{p}/sync/status", none, NULL), 200);
	ck_assert_int_eq(ask_as(w, agent, "DELETE", "/v1/projects/{p}", none, NULL), 403);
	ck_assert_int_eq(make_token(w, agent, body), 403);
	ck_assert(has_code(w, "insufficient_scope"));
	ck_assert_int_eq(ask_as(w, agent, "GET", "/v1/tokens", none, NULL), 403);
	ck_assert_int_eq(ask_as(w, agent, "GET", "/v1/tokens/self", none, NULL), 200);
	ck_assert_str_eq(answer_text(w, "id"), id);
	ck_assert_str_eq(answer_text(w, "email"), "owner@example.com");
	/* It is listed, without its secret. */
	ck_assert_int_eq(ask_as(w, login, "GET", "/v1/tokens", none, NULL), 200);
	ck_assert_ptr_nonnull(strstr(w->answer.body.p, id));
	ck_assert_ptr_null(strstr(w->answer.body.p, agent));
	/* Another's can't be ended, one's own can, at once. */
	snprintf(path, sizeof(path), "/v1/tokens/%s", id);
	ck_assert_int_eq(ask_as(w, w->tokens[WRITER], "DELETE", path, none, NULL), 404);
	ck_assert_int_eq(ask_as(w, agent, "GET", "/v1/tokens/self", none, NULL), 200);
	ck_assert_int_eq(ask_as(w, login, "DELETE", path, none, NULL), 204);
	ck_assert_int_eq(ask_as(w, agent, "GET", "/v1/tokens/self", none, NULL), 401);
	ck_assert_int_eq(ask_as(w, login, "GET", "/v1/tokens", none, NULL), 200);
	ck_assert_ptr_null(strstr(w->answer.body.p, id));
	free(agent);
	/* A token that ends itself. */
	ck_assert_int_eq(make_token(w, login, "{\"name\":\"reader\"}"), 201);
	agent = strdup(answer_text(w, "token"));
	ck_assert_str_eq(answer_text(w, "scope"), "sync:read");
	ck_assert_int_eq(ask_as(w, agent, "DELETE", "/v1/tokens/self", none, NULL), 204);
	ck_assert_int_eq(ask_as(w, agent, "DELETE", "/v1/tokens/self", none, NULL), 401);
	free(agent);
}

START_TEST(a_user_makes_lists_and_revokes_tokens)
{
	with_each(own_tokens);
}
END_TEST

static void
too_much(struct world *w)
{
	static const char *const bad[] = {
		"{}", "{\"name\":\"\"}", "{\"name\":\"x\",\"scope\":\"all\"}",
		"{\"name\":\"x\",\"scope\":\"\"}", "{\"name\":\"x\",\"days\":0}",
		"{\"name\":\"x\",\"days\":3651}", "{\"name\":\"x\",\"days\":\"7\"}",
		"{\"name\":\"x\",\"projects\":[]}", "{\"name\":\"x\",\"projects\":\"all\"}",
		"{\"name\":\"x\",\"projects\":[1]}", "{\"name\":\"x\",\"projects\":{}}",
	};
	char body[200], *narrow;
	char *brief = NULL;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ck_assert_msg(make_token(w, w->tokens[OWNER], bad[i]) == 400, "%s: %d", bad[i],
		              w->answer.status);
	ck_assert_int_eq(make_token(w, w->tokens[OWNER], "{\"name\":\"x\",\"days\":3650}"), 201);
	ck_assert_int_eq(make_token(w, w->tokens[OWNER],
	                            "{\"name\":\"x\",\"scope\":\"server:admin\"}"), 403);
	ck_assert(has_code(w, "insufficient_scope"));
	snprintf(body, sizeof(body), "{\"name\":\"x\",\"projects\":[\"%s\"]}", w->project);
	ck_assert_int_eq(make_token(w, w->tokens[STRANGER], body), 403);
	ck_assert(has_code(w, "forbidden"));
	/* A token for one project makes none for others, nor for all. */
	narrow = site_token(&w->site, w->users[OWNER], SCOPE_READ | SCOPE_PROJECT_ADMIN, w->project,
	                    NULL);
	ck_assert_int_eq(make_token(w, narrow, "{\"name\":\"x\"}"), 403);
	ck_assert_int_eq(make_token(w, narrow, "{\"name\":\"x\",\"projects\":\"*\"}"), 403);
	ck_assert_int_eq(make_token(w, narrow, body), 201);
	/* It ends with who made it: a token of a day makes none of a year. */
	brief = strdup(answer_text(w, "expires_at"));
	ck_assert_int_eq(ask_as(w, narrow, "GET", "/v1/tokens/self", (struct span){ 0 }, NULL), 200);
	ck_assert_str_eq(answer_text(w, "expires_at"), brief);
	free(brief);
	free(narrow);
}

START_TEST(no_token_makes_one_that_can_more)
{
	with_each(too_much);
}
END_TEST

/* --- the audit log --- */

static int
audited(const struct world *w, const char *where)
{
	char path[PATH_MAX + 16], sql[400];
	sqlite3_stmt *st;
	sqlite3 *db;
	int n;

	snprintf(path, sizeof(path), "%s/server.db", w->site.data);
	snprintf(sql, sizeof(sql), "SELECT count(*) FROM audit WHERE %s", where);
	ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
	sqlite3_busy_timeout(db, 5000);
	ck_assert_int_eq(sqlite3_prepare_v2(db, sql, -1, &st, NULL), SQLITE_OK);
	ck_assert_int_eq(sqlite3_step(st), SQLITE_ROW);
	n = sqlite3_column_int(st, 0);
	sqlite3_finalize(st);
	sqlite3_close(db);
	return n;
}

static void
deeds(struct world *w)
{
	char where[300], body[200], path[100], *key;

	log_in(w, "writer@example.com", &key);
	snprintf(where, sizeof(where), "action = 'login' AND subject = '%s' AND address LIKE '127.%%'",
	         w->users[WRITER]);
	ck_assert_int_eq(audited(w, where), 1);
	snprintf(path, sizeof(path), "/v1/projects/{p}/members/%s", w->users[READER]);
	ck_assert_int_eq(ask(w, OWNER, "PATCH", path, "{\"role\":\"writer\"}", NULL), 200);
	snprintf(where, sizeof(where), "action = 'member.change' AND user = '%s' AND subject = '%s'"
	         " AND detail = 'reader to writer' AND project = '%s' AND token LIKE 'ak_%%'",
	         w->users[OWNER], w->users[READER], w->project);
	ck_assert_int_eq(audited(w, where), 1);
	ck_assert_int_eq(ask(w, READER, "PATCH", path, "{\"role\":\"owner\"}", NULL), 403);
	ck_assert_int_eq(audited(w, "action = 'member.change'"), 1);
	/* Never a secret: neither the key, nor what is in its signature. */
	snprintf(body, sizeof(body), "%.60s", strrchr(key, '.') + 1);
	snprintf(where, sizeof(where), "instr(user || token || address || action || project ||"
	         " subject || detail, '%.40s') > 0", body);
	ck_assert_int_eq(audited(w, where), 0);
	ck_assert_int_eq(audited(w, "detail LIKE '%eyJ%'"), 0);
	/* What is too old goes when a token's use is noted. */
	change(w, "UPDATE audit SET at = at - 91 * 86400 WHERE action = 'login';"
	          "UPDATE audit SET at = at - 89 * 86400 WHERE action = 'login.approve';"
	          "UPDATE token SET last_used_at = 0");
	ck_assert_int_eq(ask(w, OWNER, "GET", "/v1/projects", NULL, NULL), 200);
	for (int i = 0; i < 500 && audited(w, "action = 'login'") > 0; i++)
		usleep(10000);
	ck_assert_int_eq(audited(w, "action = 'login'"), 0);
	ck_assert_int_eq(audited(w, "action = 'login.approve'"), 1);
	free(key);
}

START_TEST(the_audit_log_says_who_did_what_from_where)
{
	with_each_of(MAIL, deeds);
}
END_TEST

TCase *
login_case(void)
{
	TCase *tc = tcase_create("login");

	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, a_login_by_link_takes_a_click_and_gives_one_key);
	tcase_add_test(tc, an_unknown_address_is_answered_like_a_known_one);
	tcase_add_test(tc, an_unknown_address_is_as_slow_as_a_slow_mailer);
	tcase_add_test(tc, few_at_a_time_mail_or_guess);
	tcase_add_test(tc, two_polls_at_the_same_instant_get_one_key);
	tcase_add_test(tc, few_logins_begin_at_the_same_time);
	tcase_add_test(tc, what_is_no_login_is_refused);
	tcase_add_test(tc, words_of_others_are_only_words);
	tcase_add_test(tc, a_link_alone_approves_where_that_is_configured);
	tcase_add_test(tc, a_mailer_that_fails_is_a_fault_in_the_log);
	tcase_add_test(tc, an_open_server_takes_new_people);
	tcase_add_test(tc, an_invited_person_may_sign_up_and_nobody_else);
	tcase_add_test(tc, the_older_flow_works_where_it_is_switched_on);
	tcase_add_test(tc, and_is_off_where_it_is_not);
	tcase_add_test(tc, a_user_makes_lists_and_revokes_tokens);
	tcase_add_test(tc, no_token_makes_one_that_can_more);
	tcase_add_test(tc, the_audit_log_says_who_did_what_from_where);
	return tc;
}
