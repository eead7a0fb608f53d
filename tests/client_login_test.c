/* Logging in and out, and one's own tokens: what is asked, what is kept, what is said. */
#include "tests/client_test.h"
#include "tests/replica.h"

#include "base/fs.h"
#include "base/hash.h"
#include "base/json.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define URL "https://sync.example.com"

/* A server that answers what a test has written down, and notes what it is asked. */
struct script {
	struct transport base; /* first: a transport is a script */
	const char *const *answers; /* "200 {...}", "-" for none; NULL at the end: "-" */
	int asked;
	struct buf said;       /* "METHOD PATH TOKEN BODY", a line each */
};

static enum rc
answer(struct transport *t, const struct transport_request *rq, struct transport_reply *re,
       struct err *err)
{
	struct script *s = (struct script *)t;
	const char *text = *s->answers == NULL ? "-" : *s->answers++;
	const char *body = strlen(text) > 4 ? text + 4 : "";

	s->asked++;
	buf_addf(&s->said, "%s %s %s %.*s\n", rq->method, rq->path,
	         rq->token == NULL ? "-" : rq->token, (int)rq->body.len, rq->body.p);
	if (text[0] == '-')
		return err_set(err, RC_BUSY, "no answer");
	re->status = atoi(text);
	snprintf(re->content_type, sizeof(re->content_type), "%s",
	         body[0] == '<' ? "text/html" : "application/json");
	buf_add_str(&re->body, body);
	return RC_OK;
}

static void
keep(struct transport *t)
{
	buf_free(&((struct script *)t)->said);
}

static struct tdsync *
open_script(struct script *s, const char *const *answers)
{
	struct tdsync_options o = { .dir = temp, .url = URL, .retries = -1 };
	char why[256];
	struct tdsync *t;

	*s = (struct script){ .base = { answer, keep }, .answers = answers };
	ck_assert_msg(tdsync_open(&o, &t, why, sizeof(why)) == TDSYNC_OK, "%s", why);
	tdsync_use_transport(t, &s->base);
	tdsync_no_pauses(t);
	return t;
}

/* --- auth.json --- */

static const char *
auth_path(void)
{
	static char path[TEMP_PATH + 64];

	snprintf(path, sizeof(path), "%s/.config/td/auth.json", temp);
	return path;
}

static void
put_auth(const char *text)
{
	static const char *const folders[] = { ".config", ".config/td" };
	char path[TEMP_PATH + 64];
	struct err err;

	for (size_t i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "%s/%s", temp, folders[i]);
		ck_assert(mkdir(path, 0700) == 0 || errno == EEXIST);
	}
	ck_assert_msg(fs_write(auth_path(), span_of(text), 0644, &err) == RC_OK, "%s", err.text);
}

static const char *
read_auth(void)
{
	static struct buf text;

	buf_reset(&text);
	ck_assert_int_eq(fs_read(auth_path(), 1 << 20, &text, NULL), RC_OK);
	return buf_cstr(&text);
}

static mode_t
mode_of(const char *path)
{
	struct stat st;

	ck_assert_int_eq(stat(path, &st), 0);
	return st.st_mode & 07777;
}

/* --- login --- */

#define STARTED "200 {\"device_code\":\"c0de\",\"expires_in\":900,\"interval\":5," \
	"\"email_sent\":true}"
#define PENDING "200 {\"status\":\"pending\"}"
#define COMPLETE "200 {\"status\":\"complete\",\"api_key\":\"k.e.y\",\"user_id\":\"u_1\"," \
	"\"email\":\"anna@example.com\",\"expires_at\":\"2027-11-26T10:00:00Z\"}"

static int told;      /* how often mailed() was called */
static char told_email[80];

static void
mailed(void *ctx, const char *email, int seconds)
{
	(void)ctx;
	told++;
	snprintf(told_email, sizeof(told_email), "%s", email);
	ck_assert_int_gt(seconds, 0);
}

static enum tdsync_rc
login(struct tdsync *t, const char *email, struct tdsync_account *out)
{
	told = 0;
	return tdsync_login(t, email, "td-sync@here", mailed, NULL, out);
}

/* The string member of that name in the nth line of what was said. */
static void
said_member(const struct script *s, int n, const char *name, struct buf *out)
{
	const char *line = s->said.p, *body;
	struct span object, value;

	while (n-- > 0)
		line = strchr(line, '\n') + 1;
	body = strchr(line, '{');
	ck_assert_ptr_nonnull(body);
	ck_assert_int_eq(json_scan(span_of(body), 8, &object, NULL, NULL), RC_OK);
	ck_assert_msg(json_get(object, name, &value), "%s", name);
	buf_reset(out);
	ck_assert(json_string(value, out));
	ck_assert_ptr_nonnull(buf_cstr(out));
}

/* base64url of SHA-256, another way than login.c's. */
static void
challenge_of(const struct buf *verifier, char out[44])
{
	static const char digits[] =
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	unsigned char hash[HASH_LEN];

	ck_assert_int_eq(hash_sha256(buf_span(verifier), hash), RC_OK);
	for (int i = 0; i < 43; i++) {
		int digit = 0;

		for (int bit = 6 * i; bit < 6 * i + 6; bit++)
			digit = 2 * digit + (bit < 256 ? hash[bit / 8] >> (7 - bit % 8) & 1 : 0);
		out[i] = digits[digit];
	}
	out[43] = '\0';
}

START_TEST(a_login_keeps_the_key_where_td_looks_for_it)
{
	static const char *const answers[] = { STARTED, PENDING, COMPLETE, NULL };
	struct buf challenge = { 0 }, verifier = { 0 }, first = { 0 };
	struct tdsync_account account;
	char want[44], again[TEMP_PATH + 64];
	struct script s;
	struct tdsync *t;

	put_auth("{\"device_id\":\"d-1\", \"api_key\":\"old\",\n \"theirs\" : {\"n\": 1.10e0,\"s\":"
	         "\"\\u00e9\"},\"server_url\":\"http://elsewhere\",\"email\":\"a@example.com\"}");
	for (int i = 0; i < 2; i++) {
		t = open_script(&s, answers);
		ck_assert_msg(login(t, "anna@example.com", &account) == TDSYNC_OK, "%s",
		              tdsync_error(t));
		ck_assert_int_eq(told, 1);
		ck_assert_str_eq(told_email, "anna@example.com");
		ck_assert_str_eq(account.email, "anna@example.com");
		ck_assert_str_eq(account.user_id, "u_1");
		ck_assert_str_eq(account.expires_at, "2027-11-26T10:00:00Z");
		/* Who logs in shows no token; the verifier comes last, and fits. */
		ck_assert_ptr_nonnull(buf_cstr(&s.said));
		ck_assert_int_eq(s.asked, 3);
		ck_assert_ptr_eq(strstr(s.said.p, "POST /v1/auth/device/start - {\"email\":"
		                        "\"anna@example.com\","), s.said.p);
		said_member(&s, 0, "code_challenge_method", &verifier);
		ck_assert_str_eq(verifier.p, "S256");
		said_member(&s, 0, "device_name", &verifier);
		ck_assert_str_eq(verifier.p, "td-sync@here");
		said_member(&s, 0, "code_challenge", &challenge);
		said_member(&s, 1, "device_code", &verifier);
		ck_assert_str_eq(verifier.p, "c0de");
		said_member(&s, 1, "code_verifier", &verifier);
		ck_assert_ptr_nonnull(strstr(s.said.p, "\nPOST /v1/auth/device/poll - {"));
		ck_assert_int_eq(verifier.len, 43);
		challenge_of(&verifier, want);
		ck_assert_str_eq(challenge.p, want);
		ck_assert(!span_eq(buf_span(&verifier), buf_span(&first)));
		buf_reset(&first);
		buf_add_span(&first, buf_span(&verifier));
		tdsync_close(t);
		ck_assert_str_eq(read_auth(), "{\n  \"theirs\": {\"n\": 1.10e0,\"s\":\"\\u00e9\"},\n"
		                 "  \"api_key\": \"k.e.y\",\n  \"user_id\": \"u_1\",\n"
		                 "  \"email\": \"anna@example.com\",\n  \"server_url\": \"" URL "\",\n"
		                 "  \"expires_at\": \"2027-11-26T10:00:00Z\",\n"
		                 "  \"device_id\": \"d-1\"\n}\n");
		ck_assert_int_eq(mode_of(auth_path()), 0600);
	}
	/* Nothing else is left there. */
	snprintf(again, sizeof(again), "test $(ls -A '%s/.config/td' | wc -l) = 1", temp);
	ck_assert_int_eq(system(again), 0);
	buf_free(&challenge);
	buf_free(&verifier);
	buf_free(&first);
}
END_TEST

/* The first login on a machine: folders, and a device that stays the same. */
START_TEST(a_first_login_makes_the_file_and_a_device)
{
	static const char *const answers[] = { STARTED, COMPLETE, STARTED, COMPLETE, NULL };
	char path[TEMP_PATH + 64];
	struct script s;
	struct tdsync *t = open_script(&s, answers);
	struct buf first = { 0 };
	const char *device;

	ck_assert_int_eq(login(t, NULL, NULL), TDSYNC_INVALID); /* there was no last one */
	ck_assert_ptr_nonnull(strstr(tdsync_error(t), "--email ADDRESS"));
	ck_assert_int_eq(s.asked, 0);
	ck_assert_int_eq(login(t, "anna@example.com", NULL), TDSYNC_OK);
	tdsync_close(t);
	snprintf(path, sizeof(path), "%s/.config/td", temp);
	ck_assert_int_eq(mode_of(path), 0700);
	ck_assert_int_eq(mode_of(auth_path()), 0600);
	device = strstr(read_auth(), "\"device_id\": \"");
	ck_assert_ptr_nonnull(device);
	ck_assert_int_eq(strspn(device + 14, "0123456789abcdef"), 32);
	buf_add_str(&first, read_auth());
	t = open_script(&s, answers);
	ck_assert_int_eq(login(t, NULL, NULL), TDSYNC_OK);
	ck_assert_str_eq(told_email, "anna@example.com");
	tdsync_close(t);
	ck_assert_str_eq(read_auth(), buf_cstr(&first));
	buf_free(&first);
}
END_TEST

/* Whoever has it in a folder of his own, with a link to it, keeps that. */
START_TEST(a_link_to_the_file_stays_one)
{
	static const char *const answers[] = { STARTED, COMPLETE, NULL };
	char real[TEMP_PATH + 64];
	struct stat st;
	struct script s;
	struct tdsync *t;

	put_auth("{}");
	snprintf(real, sizeof(real), "%s/mine.json", temp);
	ck_assert_int_eq(rename(auth_path(), real), 0);
	ck_assert_int_eq(symlink(real, auth_path()), 0);
	t = open_script(&s, answers);
	ck_assert_int_eq(login(t, "anna@example.com", NULL), TDSYNC_OK);
	tdsync_close(t);
	ck_assert(lstat(auth_path(), &st) == 0 && S_ISLNK(st.st_mode));
	ck_assert_int_eq(mode_of(real), 0600);
	ck_assert_ptr_nonnull(strstr(read_auth(), "k.e.y"));
}
END_TEST

/* The key is given once: so that it can't be kept is seen before. */
START_TEST(a_link_into_a_folder_that_can_t_be_written_is_seen_before)
{
	static const char *const answers[] = { STARTED, COMPLETE, NULL };
	char folder[TEMP_PATH + 64], real[TEMP_PATH + 80], command[TEMP_PATH + 64];
	struct script s;
	struct tdsync *t;
	int status = -1;
	pid_t pid;

	put_auth("{}");
	snprintf(folder, sizeof(folder), "%s/mine", temp);
	snprintf(real, sizeof(real), "%s/auth.json", folder);
	ck_assert_int_eq(mkdir(folder, 0700), 0);
	ck_assert_int_eq(rename(auth_path(), real), 0);
	ck_assert_int_eq(symlink(real, auth_path()), 0);
	ck_assert_int_eq(chmod(folder, 0500), 0);
	snprintf(command, sizeof(command), "chown -R 65534 '%s'", temp);
	if (geteuid() == 0) /* whom no mode stops */
		ck_assert_int_eq(system(command), 0);
	if ((pid = fork()) == 0) {
		if (geteuid() == 0 && setuid(65534) != 0)
			_exit(2);
		t = open_script(&s, answers);
		_exit(login(t, "anna@example.com", NULL) != TDSYNC_LOCAL || s.asked != 0 ||
		      strstr(tdsync_error(t), real) == NULL);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(chmod(folder, 0700), 0);
	ck_assert_int_eq(status, 0);
}
END_TEST

#define ERROR(code) "{\"error\":{\"code\":\"" code "\",\"message\":\"m\"}}"

/* What a server may answer, and what becomes of the login. */
static const struct {
	const char *answers[8];
	enum tdsync_rc rc;
	const char *says;     /* in the error; NULL: it went well */
	int asked;
} courses[] = {
	/* what passes while the person is at his mail */
	{ { STARTED, "-", PENDING, "503 " ERROR("busy"), "429 " ERROR("rate_limited"),
	    "502 <html>", COMPLETE }, TDSYNC_OK, NULL, 7 },
	/* how it ends */
	{ { STARTED, PENDING, "410 " ERROR("expired") }, TDSYNC_REFUSED,
	  URL ": this login is over: begin again with `td-sync login`", 3 },
	{ { STARTED, "401 " ERROR("invalid_verifier") }, TDSYNC_UNAUTHORIZED, "invalid_verifier", 2 },
	{ { STARTED, "400 " ERROR("bad_request") }, TDSYNC_REFUSED, "bad_request", 2 },
	{ { "200 {\"device_code\":\"c\",\"expires_in\":3,\"interval\":1}", PENDING, PENDING, PENDING,
	    COMPLETE }, TDSYNC_REFUSED, "nobody approved in time. Where no mail came: is "
	  "anna@example.com the address of your account at " URL "?", 4 },
	{ { "200 {\"device_code\":\"c\",\"expires_in\":2,\"interval\":1}", PENDING, "-" },
	  TDSYNC_NETWORK, "no answer", 3 },
	/* how it does not begin: once is enough */
	{ { "-" }, TDSYNC_NETWORK, "no answer", 1 },
	{ { "503 " ERROR("busy") }, TDSYNC_BUSY, "can't serve now", 1 },
	{ { "429 " ERROR("rate_limited") }, TDSYNC_BUSY, "too many logins from here", 1 },
	{ { "400 " ERROR("bad_request") }, TDSYNC_INVALID, "does not take \"anna@example.com\"", 1 },
	{ { "404 <html>" }, TDSYNC_REFUSED, "no login by mail at this address", 1 },
	{ { "405 " ERROR("method") }, TDSYNC_REFUSED, "no login by mail at this address", 1 },
	{ { "410 " ERROR("endpoint_disabled") }, TDSYNC_REFUSED, "make you a token for TD_AUTH_KEY",
	  1 },
	{ { "302 <html>" }, TDSYNC_NETWORK, "sends elsewhere", 1 },
	/* what is no answer of a td-sync server */
	{ { "200 <html>" }, TDSYNC_NETWORK, "is it a td-sync server?", 1 },
	{ { "200 {}" }, TDSYNC_NETWORK, "makes no sense", 1 },
	{ { "200 []" }, TDSYNC_NETWORK, "makes no sense", 1 },
	{ { "200 {\"device_code\":\"a b\",\"expires_in\":900,\"interval\":5}" }, TDSYNC_NETWORK,
	  "makes no sense", 1 },
	{ { "200 {\"device_code\":\"c\",\"expires_in\":0,\"interval\":5}" }, TDSYNC_NETWORK,
	  "makes no sense", 1 },
	{ { "200 {\"device_code\":\"c\",\"expires_in\":900,\"interval\":-5}" }, TDSYNC_NETWORK,
	  "makes no sense", 1 },
	{ { "200 {\"device_code\":\"c\",\"expires_in\":\"900\",\"interval\":5}" }, TDSYNC_NETWORK,
	  "makes no sense", 1 },
	{ { STARTED, "200 {\"status\":\"complete\"}" }, TDSYNC_NETWORK, "its key makes no sense", 2 },
	{ { STARTED, "200 {\"status\":\"complete\",\"api_key\":\"a\\nb\"}" }, TDSYNC_NETWORK,
	  "its key makes no sense", 2 },
	{ { STARTED, "200 {\"status\":\"complete\",\"api_key\":7}" }, TDSYNC_NETWORK,
	  "its key makes no sense", 2 },
	{ { STARTED, "200 {\"status\":\"done\"}" }, TDSYNC_NETWORK, "makes no sense", 2 },
	{ { STARTED, "200 {\"status\":null}" }, TDSYNC_NETWORK, "makes no sense", 2 },
	{ { STARTED, "200 <html>" }, TDSYNC_NETWORK, "is it a td-sync server?", 2 },
};
#define COURSES (int)(sizeof(courses) / sizeof(*courses))

START_TEST(a_login_takes_its_course)
{
	static const char before[] = "{\"api_key\":\"old\"}";
	struct script s;
	struct tdsync *t;

	put_auth(before);
	t = open_script(&s, courses[_i].answers);
	ck_assert_int_eq(login(t, "anna@example.com", NULL), courses[_i].rc);
	ck_assert_int_eq(s.asked, courses[_i].asked);
	ck_assert_int_eq(told, courses[_i].asked > 1);
	if (courses[_i].says == NULL)
		ck_assert_ptr_nonnull(strstr(read_auth(), "k.e.y"));
	else
		ck_assert_str_eq(read_auth(), before);
	ck_assert_msg(courses[_i].says == NULL || strstr(tdsync_error(t), courses[_i].says) != NULL,
	              "%s", tdsync_error(t));
	tdsync_close(t);
}
END_TEST

/* A server can't make it last: it is asked no more often than its bounds allow. */
START_TEST(a_login_does_not_last_for_ever)
{
	static const char *const answers[] = {
		"200 {\"device_code\":\"c\",\"expires_in\":9000000000,\"interval\":9000000000}", NULL };
	struct script s;
	struct tdsync *t = open_script(&s, answers);

	ck_assert_int_eq(login(t, "anna@example.com", NULL), TDSYNC_NETWORK);
	ck_assert_int_eq(s.asked, 1 + 60);
	tdsync_close(t);
}
END_TEST

/* --- files that are none --- */

START_TEST(a_file_that_is_not_ours_is_left_alone)
{
	static const char *const texts[] = { "", "[]", "{\"api_key\":", "key", "{]" };
	static const char *const answers[] = { STARTED, COMPLETE, NULL };
	struct tdsync_options o = { .dir = temp, .url = URL };
	char why[256], *large = malloc(70000);
	struct script s;
	struct tdsync *t;

	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		put_auth(texts[i]);
		ck_assert_int_eq(tdsync_open(&o, &t, why, sizeof(why)), TDSYNC_INVALID);
		ck_assert_ptr_nonnull(strstr(why, "auth.json is not a JSON object: move it away, then "
		                             "log in again with `td-sync login`"));
		/* With another token the rest works; but there is no place for a key. */
		setenv("TD_AUTH_KEY", "other", 1);
		t = open_script(&s, answers);
		unsetenv("TD_AUTH_KEY");
		ck_assert_int_eq(login(t, "anna@example.com", NULL), TDSYNC_INVALID);
		ck_assert_ptr_nonnull(strstr(tdsync_error(t), "move it away"));
		ck_assert_int_eq(s.asked, 0);
		tdsync_close(t);
		ck_assert_str_eq(read_auth(), texts[i]);
	}
	memset(large, ' ', 70000);
	large[69999] = '\0';
	put_auth(large);
	ck_assert_int_eq(tdsync_open(&o, &t, why, sizeof(why)), TDSYNC_INVALID);
	ck_assert_int_eq(unlink(auth_path()), 0);
	ck_assert_int_eq(mkdir(auth_path(), 0700), 0);
	ck_assert_int_eq(tdsync_open(&o, &t, why, sizeof(why)), TDSYNC_INVALID);
	free(large);
}
END_TEST

START_TEST(without_a_home_there_is_no_place_for_a_key)
{
	static const char *const answers[] = { STARTED, COMPLETE, NULL };
	struct script s;
	struct tdsync *t = open_script(&s, answers);

	unsetenv("HOME");
	ck_assert_int_eq(login(t, "anna@example.com", NULL), TDSYNC_INVALID);
	ck_assert_ptr_nonnull(strstr(tdsync_error(t), "HOME is not set"));
	ck_assert_int_eq(s.asked, 0);
	tdsync_close(t);
}
END_TEST

/* --- logout --- */

#define LOGGED_IN "{\"api_key\":\"k.e.y\",\"user_id\":\"u_1\",\"email\":\"a@example.com\"," \
	"\"server_url\":\"" URL "\",\"device_id\":\"d\",\"expires_at\":\"x\",\"more\":[1]}"
#define LOGGED_OUT "{\n  \"email\": \"a@example.com\",\n  \"server_url\": \"" URL "\",\n" \
	"  \"device_id\": \"d\",\n  \"more\": [1]\n}\n"

static const struct {
	const char *answer;
	enum tdsync_rc rc;
} logouts[] = {
	{ "204", TDSYNC_OK },
	{ "401 " ERROR("unauthorized"), TDSYNC_OK }, /* it was over before */
	{ "-", TDSYNC_NETWORK },
	{ "503 " ERROR("busy"), TDSYNC_BUSY },
	{ "404 <html>", TDSYNC_NETWORK },
	{ "500 " ERROR("internal_error"), TDSYNC_NETWORK },
};

START_TEST(a_logout_ends_the_key_there_and_here)
{
	const char *const answers[] = { logouts[_i].answer, NULL };
	struct script s;
	struct tdsync *t;

	put_auth(LOGGED_IN);
	t = open_script(&s, answers);
	ck_assert_int_eq(tdsync_logout(t), logouts[_i].rc);
	ck_assert_str_eq(buf_cstr(&s.said), "DELETE /v1/tokens/self k.e.y \n");
	ck_assert_str_eq(read_auth(), LOGGED_OUT);
	if (logouts[_i].rc != TDSYNC_OK)
		ck_assert_msg(strncmp(tdsync_error(t), "logged out here, but the server was not told, so "
		              "the key is still good for who has it: ", 60) == 0, "%s", tdsync_error(t));
	ck_assert_int_eq(tdsync_logout(t), TDSYNC_UNAUTHORIZED);
	ck_assert_str_eq(tdsync_error(t), "nobody is logged in here");
	ck_assert_int_eq(s.asked, 1);
	tdsync_close(t);
}
END_TEST

START_TEST(another_server_than_the_login_s_is_not_told_its_key)
{
	static const char elsewhere[] =
	    "{\"api_key\":\"k.e.y\",\"server_url\":\"https://other.example.com\"}";
	static const char *const answers[] = { "401 " ERROR("unauthorized"), NULL };
	struct script s;
	struct tdsync *t;

	put_auth(elsewhere);
	t = open_script(&s, answers);
	ck_assert_int_eq(tdsync_logout(t), TDSYNC_INVALID);
	ck_assert_ptr_nonnull(strstr(tdsync_error(t), "the login is one at "
	                             "https://other.example.com, not at " URL));
	ck_assert_int_eq(s.asked, 0);
	ck_assert_str_eq(read_auth(), elsewhere);
	tdsync_close(t);
}
END_TEST

START_TEST(another_token_than_the_login_s_is_not_logged_out)
{
	static const char *const answers[] = { "204", NULL };
	struct script s;
	struct tdsync *t;

	put_auth(LOGGED_IN);
	setenv("TD_AUTH_KEY", "other", 1);
	t = open_script(&s, answers);
	unsetenv("TD_AUTH_KEY");
	ck_assert_int_eq(tdsync_logout(t), TDSYNC_INVALID);
	ck_assert_ptr_nonnull(strstr(tdsync_error(t), "TD_AUTH_KEY: unset that"));
	ck_assert_int_eq(s.asked, 0);
	ck_assert_str_eq(read_auth(), LOGGED_IN);
	tdsync_close(t);
}
END_TEST

/* --- tokens --- */

#define TOKEN(more) "{\"id\":\"ak_1\"," more "\"user_id\":\"u_1\",\"email\":\"a@example.com\"," \
	"\"name\":\"n\",\"scope\":\"sync:read\",\"projects\":[\"p_1\",\"p_2\"],\"created_at\":" \
	"\"c\",\"expires_at\":\"e\"}"
#define LINK_TOKEN "{\"id\":\"ak_2\",\"name\":\"\",\"scope\":\"s\",\"projects\":\"*\"}"

static struct buf shown;

static void
show(void *ctx, const struct tdsync_token *token)
{
	(void)ctx;
	buf_addf(&shown, "%s %s %s %s %s %s %s", token->id, token->secret, token->user_id,
	         token->email, token->name, token->scope, token->all_projects ? "all" : "");
	for (size_t i = 0; i < token->n_projects; i++)
		buf_addf(&shown, " %s", token->projects[i]);
	buf_addf(&shown, " %s %s %s\n", token->created_at, token->expires_at, token->last_used_at);
}

static const char *
what_was_shown(void)
{
	return shown.len > 0 ? buf_cstr(&shown) : "";
}

START_TEST(tokens_are_asked_for_and_told)
{
	static const char *const answers[] = {
		"200 " TOKEN(""), "200 [" TOKEN("") "," LINK_TOKEN "]", "200 []",
		"201 " TOKEN("\"token\":\"se.cr.et\","),
		"200 [{\"id\":\"p_00000000000000ab\",\"slug\":\"garden\"}]",
		"201 " TOKEN("\"token\":\"se.cr.et\","), "204", "404 " ERROR("not_found"), NULL };
	static const char *const projects[] = { PROJECT, "garden" };
	struct tdsync_token_wish wish = { .name = "for \"it\"" };
	struct script s;
	struct tdsync *t;

	put_auth(LOGGED_IN);
	t = open_script(&s, answers);
	buf_reset(&shown);
	ck_assert_int_eq(tdsync_whoami(t, show, NULL), TDSYNC_OK);
	ck_assert_int_eq(tdsync_each_token(t, show, NULL), TDSYNC_OK);
	ck_assert_str_eq(what_was_shown(), "ak_1  u_1 a@example.com n sync:read  p_1 p_2 c e \n"
	                 "ak_1  u_1 a@example.com n sync:read  p_1 p_2 c e \n"
	                 "ak_2     s all   \n");
	buf_reset(&shown);
	ck_assert_int_eq(tdsync_each_token(t, show, NULL), TDSYNC_OK);
	ck_assert_str_eq(what_was_shown(), "");
	ck_assert_int_eq(tdsync_create_token(t, &wish, show, NULL), TDSYNC_OK);
	ck_assert_str_eq(what_was_shown(), "ak_1 se.cr.et u_1 a@example.com n sync:read  p_1 p_2 c "
	                 "e \n");
	wish = (struct tdsync_token_wish){ "x", projects, 2, true, 7 };
	ck_assert_int_eq(tdsync_create_token(t, &wish, show, NULL), TDSYNC_OK);
	ck_assert_int_eq(tdsync_revoke_token(t, "ak_1"), TDSYNC_OK);
	ck_assert_int_eq(tdsync_revoke_token(t, "ak_2"), TDSYNC_NOT_FOUND);
	ck_assert_str_eq(tdsync_error(t), URL ": you have no token ak_2");
	ck_assert_str_eq(buf_cstr(&s.said), "GET /v1/tokens/self k.e.y \nGET /v1/tokens k.e.y \n"
	                 "GET /v1/tokens k.e.y \nPOST /v1/tokens k.e.y {\"name\":\"for \\\"it\\\"\","
	                 "\"scope\":\"sync:read sync:write\",\"projects\":\"*\"}\n"
	                 "GET /v1/projects k.e.y \n"
	                 "POST /v1/tokens k.e.y {\"name\":\"x\",\"scope\":\"sync:read\",\"days\":7,"
	                 "\"projects\":[\"" PROJECT "\",\"p_00000000000000ab\"]}\n"
	                 "DELETE /v1/tokens/ak_1 k.e.y \nDELETE /v1/tokens/ak_2 k.e.y \n");
	tdsync_close(t);
	buf_free(&shown);
}
END_TEST

START_TEST(an_id_that_is_none_is_not_sent)
{
	static const char *const ids[] = { "", "../projects/p_1", "ak_1/", "ak 1", "ak_1?x=1", "é",
		"ak_0123456789012345678901234567890123456789" };
	static const char *const answers[] = { "204", NULL };
	struct script s;
	struct tdsync *t = open_script(&s, answers);

	for (size_t i = 0; i < sizeof(ids) / sizeof(*ids); i++)
		ck_assert_int_eq(tdsync_revoke_token(t, ids[i]), TDSYNC_INVALID);
	ck_assert_int_eq(tdsync_revoke_token(t, NULL), TDSYNC_INVALID);
	ck_assert_int_eq(s.asked, 0);
	tdsync_close(t);
}
END_TEST

static const struct {
	const char *answer;
	enum tdsync_rc whoami, list, create;
} odd[] = {
	{ "-", TDSYNC_NETWORK, TDSYNC_NETWORK, TDSYNC_NETWORK },
	{ "200 {}", TDSYNC_NETWORK, TDSYNC_NETWORK, TDSYNC_NETWORK },
	{ "200 7", TDSYNC_NETWORK, TDSYNC_NETWORK, TDSYNC_NETWORK },
	{ "200 [[]]", TDSYNC_NETWORK, TDSYNC_NETWORK, TDSYNC_NETWORK },
	{ "200 " LINK_TOKEN, TDSYNC_OK, TDSYNC_NETWORK, TDSYNC_NETWORK }, /* without a secret */
	{ "200 {\"id\":\"ak_1\",\"token\":\"a b\",\"projects\":[]}", TDSYNC_OK, TDSYNC_NETWORK,
	  TDSYNC_NETWORK },
	{ "200 {\"id\":\"ak_1\",\"token\":\"ab\",\"projects\":{}}", TDSYNC_NETWORK, TDSYNC_NETWORK,
	  TDSYNC_NETWORK },
	{ "404 <html>", TDSYNC_REFUSED, TDSYNC_REFUSED, TDSYNC_REFUSED }, /* a Go server */
	{ "405 " ERROR("method"), TDSYNC_REFUSED, TDSYNC_REFUSED, TDSYNC_REFUSED },
	{ "401 " ERROR("unauthorized"), TDSYNC_UNAUTHORIZED, TDSYNC_UNAUTHORIZED,
	  TDSYNC_UNAUTHORIZED },
	{ "403 " ERROR("insufficient_scope"), TDSYNC_FORBIDDEN, TDSYNC_FORBIDDEN, TDSYNC_FORBIDDEN },
};

START_TEST(odd_answers_about_tokens_are_told_as_such)
{
	static const struct tdsync_token_wish wish = { .name = "x" };
	const char *const answers[] = { odd[_i].answer, odd[_i].answer, odd[_i].answer, NULL };
	struct script s;
	struct tdsync *t = open_script(&s, answers);

	ck_assert_int_eq(tdsync_whoami(t, show, NULL), odd[_i].whoami);
	ck_assert(odd[_i].whoami == TDSYNC_OK || tdsync_error(t)[0] != '\0');
	ck_assert_int_eq(tdsync_each_token(t, show, NULL), odd[_i].list);
	ck_assert_int_eq(tdsync_create_token(t, &wish, show, NULL), odd[_i].create);
	tdsync_close(t);
	buf_free(&shown);
}
END_TEST

TCase *
client_login_cases(void)
{
	TCase *tc = tcase_create("login");

	tcase_add_checked_fixture(tc, replica_setup, replica_teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, a_login_keeps_the_key_where_td_looks_for_it);
	tcase_add_test(tc, a_first_login_makes_the_file_and_a_device);
	tcase_add_test(tc, a_link_to_the_file_stays_one);
	tcase_add_test(tc, a_link_into_a_folder_that_can_t_be_written_is_seen_before);
	tcase_add_loop_test(tc, a_login_takes_its_course, 0, COURSES);
	tcase_add_test(tc, a_login_does_not_last_for_ever);
	tcase_add_test(tc, a_file_that_is_not_ours_is_left_alone);
	tcase_add_test(tc, without_a_home_there_is_no_place_for_a_key);
	tcase_add_loop_test(tc, a_logout_ends_the_key_there_and_here, 0,
	                    sizeof(logouts) / sizeof(*logouts));
	tcase_add_test(tc, another_server_than_the_login_s_is_not_told_its_key);
	tcase_add_test(tc, another_token_than_the_login_s_is_not_logged_out);
	tcase_add_test(tc, tokens_are_asked_for_and_told);
	tcase_add_test(tc, an_id_that_is_none_is_not_sent);
	tcase_add_loop_test(tc, odd_answers_about_tokens_are_told_as_such, 0,
	                    sizeof(odd) / sizeof(*odd));
	return tc;
}
