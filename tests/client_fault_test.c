/*
 * What goes wrong around the client: the network, the server's answers, the
 * local files. One clear line each, and nothing lost.
 */
#include "client/books.h"
#include "client/remote.h"
#include "client/settings.h"
#include "tests/client_test.h"
#include "tests/patience.h"
#include "tests/replica.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define TOKEN "td_live_EXAMPLEsecretEXAMPLE"

/* --- a web server that answers canned bytes --- */

struct seen {
	int requests;
	char last[16384]; /* the last request, as it came */
};

struct web {
	int port;
	pid_t pid;
	struct seen *seen;
	char url[64];
};

/* Read a request: its head, and as much body as it announces. */
static void
web_read(int fd, struct seen *seen)
{
	size_t n = 0, want = SIZE_MAX;
	char *end, *length;
	ssize_t got;

	while (n < want && n < sizeof(seen->last) - 1 &&
	       (got = read(fd, seen->last + n, sizeof(seen->last) - 1 - n)) > 0) {
		n += (size_t)got;
		seen->last[n] = '\0';
		if (want == SIZE_MAX && (end = strstr(seen->last, "\r\n\r\n")) != NULL) {
			length = strcasestr(seen->last, "\r\nContent-Length:");
			want = (size_t)(end - seen->last) + 4 +
			    (length == NULL ? 0 : strtoul(length + 17, NULL, 10));
		}
	}
}

/* Answer each connection with the next reply (ends with NULL; the last one
 * again and again). */
static void
web_serve(int listener, const char *const *replies, struct seen *seen)
{
	for (;;) {
		int fd = accept(listener, NULL, NULL);
		size_t len = strlen(*replies), done = 0;
		ssize_t n;

		if (fd < 0)
			_exit(1);
		web_read(fd, seen);
		seen->requests++;
		while (done < len && (n = write(fd, *replies + done, len - done)) > 0)
			done += (size_t)n;
		shutdown(fd, SHUT_WR);
		close(fd);
		if (replies[1] != NULL)
			replies++;
	}
}

static void
web_start(struct web *w, const char *const *replies)
{
	struct sockaddr_in a = { .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	ck_assert(bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0 && listen(fd, 16) == 0);
	ck_assert(getsockname(fd, (struct sockaddr *)&a, &len) == 0);
	w->port = ntohs(a.sin_port);
	snprintf(w->url, sizeof(w->url), "http://127.0.0.1:%d", w->port);
	w->seen = mmap(NULL, sizeof(*w->seen), PROT_READ | PROT_WRITE,
	               MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ck_assert(w->seen != MAP_FAILED);
	if ((w->pid = fork()) == 0) {
		signal(SIGPIPE, SIG_IGN);
		web_serve(fd, replies, w->seen);
	}
	close(fd);
}

static void
web_stop(struct web *w)
{
	kill(w->pid, SIGKILL);
	waitpid(w->pid, NULL, 0);
	munmap(w->seen, sizeof(*w->seen));
}

/* A replica in step with the direct server, with one edit pending, then put
 * before the web server. */
static void
make_before_web(struct replica *r, struct web *w, const char *const *replies, int retries)
{
	struct tdsync_options o = { .token = TOKEN, .device_id = "device-A", .timeout_s = 2,
		.retries = retries };
	struct err err;

	replica_make(r, "A", "empty-v38.db");
	LINK(r);
	td_create(r, "td-00000a", "Synced");
	SYNC(r);
	td_update(r, "td-00000a", "title", "Pending");
	replica_close(r);
	if (replies != NULL)
		web_start(w, replies);
	o.dir = r->dir;
	o.url = w->url;
	ck_assert_msg(tdsync_open(&o, &r->t, err.text, sizeof(err.text)) == TDSYNC_OK, "%s",
	              err.text);
}

static void
assert_one_clean_line(const char *text)
{
	ck_assert_msg(text[0] != '\0', "no sentence");
	ck_assert_msg(strchr(text, '\n') == NULL, "%s", text);
	ck_assert_msg(strstr(text, TOKEN) == NULL, "the token is in: %s", text);
}

/* After whatever happened: the edit is still there and reaches the server. */
static void
assert_nothing_lost(struct replica *r)
{
	ck_assert_str_eq(ask(r, "SELECT title FROM issues"), "Pending");
	ck_assert_str_eq(ask(r, "PRAGMA integrity_check"), "ok");
	replica_close(r);
	replica_open(r);
	SYNC(r);
	ck_assert_int_eq(server_seq(), 2);
	ck_assert_str_eq(ask(r, "SELECT count(*) FROM action_log WHERE synced_at IS NULL"), "0");
	assert_settled(r);
}

#define JSON_HEAD "Content-Type: application/json\r\n"
#define ERROR(status, code, message) \
	"HTTP/1.1 " status "\r\n" JSON_HEAD "\r\n" \
	"{\"error\":{\"code\":\"" code "\",\"message\":\"" message "\"}}\n"

static const struct {
	const char *why, *reply;
	enum tdsync_rc rc;
	const char *says; /* part of the sentence */
} answers[] = {
	{ "400", ERROR("400 Bad Request", "bad_request", "device_id is missing"),
	  TDSYNC_REFUSED, "400 bad_request): device_id is missing" },
	{ "401", ERROR("401 Unauthorized", "unauthorized", "invalid or expired api key"),
	  TDSYNC_UNAUTHORIZED, "TD_AUTH_KEY" },
	{ "403", ERROR("403 Forbidden", "forbidden", "not a member of project p"),
	  TDSYNC_FORBIDDEN, "not a member of project p" },
	{ "403, scope", ERROR("403 Forbidden", "insufficient_scope", "needs sync:write"),
	  TDSYNC_FORBIDDEN, "insufficient_scope" },
	{ "404", ERROR("404 Not Found", "not_found", "project not found"),
	  TDSYNC_NOT_FOUND, "deleted" },
	{ "404 of another server", "HTTP/1.1 404 Not Found\r\nContent-Type: text/html\r\n\r\n"
	  "<html>nothing</html>", TDSYNC_NETWORK, "is it a td-sync server?" },
	{ "409", ERROR("409 Conflict", "conflict", "no"), TDSYNC_REFUSED, "409 conflict" },
	{ "409, changed", ERROR("409 Conflict", "log_changed", "other log"),
	  TDSYNC_LOG_CHANGED, "restored or replaced" },
	{ "409, ahead", ERROR("409 Conflict", "cursor_ahead", "beyond"),
	  TDSYNC_LOG_CHANGED, "restored or replaced" },
	{ "410", ERROR("410 Gone", "expired", "gone"), TDSYNC_REFUSED, "410 expired" },
	{ "418", "HTTP/1.1 418 I'm a teapot\r\n\r\nshort and stout", TDSYNC_REFUSED, "418" },
	{ "429", ERROR("429 Too Many Requests", "rate_limited", "slow down"), TDSYNC_BUSY,
	  "come later" },
	{ "500", ERROR("500 Internal Server Error", "internal_error", "sorry"),
	  TDSYNC_NETWORK, "500 internal_error): sorry" },
	{ "502 of a front end", "HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\n\r\n"
	  "<html>nginx</html>", TDSYNC_NETWORK, "502" },
	{ "503", ERROR("503 Service Unavailable", "unavailable", "the log is busy"),
	  TDSYNC_BUSY, "the log is busy" },
	{ "504", "HTTP/1.1 504 Gateway Timeout\r\n\r\n", TDSYNC_NETWORK, "504" },
	{ "599", "HTTP/1.1 599 ?\r\n\r\n", TDSYNC_NETWORK, "599" },
	{ "an error with control characters",
	  ERROR("400 Bad Request", "bad\\nline", "two\\nlines \\u001b[31m"), TDSYNC_REFUSED, "two?lines" },
	{ "a redirect", "HTTP/1.1 301 Moved\r\nLocation: http://127.0.0.1:1/\r\n\r\n",
	  TDSYNC_NETWORK, "set TD_SYNC_URL" },
	{ "HTML with 200", "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>login</html>",
	  TDSYNC_NETWORK, "the answer is text/html, not JSON" },
	{ "no type", "HTTP/1.1 200 OK\r\n\r\n{}", TDSYNC_NETWORK, "of no type" },
	{ "a body that ends in the middle", "HTTP/1.1 200 OK\r\n" JSON_HEAD
	  "Content-Length: 500\r\n\r\n{\"accepted\":1,\"acks\":[{\"client_act", TDSYNC_NETWORK,
	  "ended in the middle" },
	{ "chunks that end in the middle", "HTTP/1.1 200 OK\r\n" JSON_HEAD
	  "Transfer-Encoding: chunked\r\n\r\n20\r\n{\"accepted\":1", TDSYNC_NETWORK, "127.0.0.1" },
	{ "half JSON of full length", "HTTP/1.1 200 OK\r\n" JSON_HEAD
	  "Content-Length: 14\r\n\r\n{\"accepted\":1,", TDSYNC_NETWORK, "not whole JSON" },
	{ "something after the JSON", "HTTP/1.1 200 OK\r\n" JSON_HEAD "\r\n{}{}",
	  TDSYNC_NETWORK, "not whole JSON" },
	{ "JSON of another kind", "HTTP/1.1 200 OK\r\n" JSON_HEAD "\r\n"
	  "{\"accepted\":1,\"acks\":{\"a\":1}}", TDSYNC_NETWORK, "makes no sense" },
	{ "an ack without a seq", "HTTP/1.1 200 OK\r\n" JSON_HEAD "\r\n"
	  "{\"accepted\":1,\"acks\":[{\"client_action_id\":2}]}", TDSYNC_NETWORK,
	  "makes no sense" },
	{ "no answer at all", "", TDSYNC_NETWORK, "127.0.0.1" },
	{ "no HTTP", "SSH-2.0-OpenSSH_9.2\r\n", TDSYNC_NETWORK, "127.0.0.1" },
};

START_TEST(every_bad_answer_to_a_push_is_one_line_and_loses_nothing)
{
	const char *const replies[] = { answers[_i].reply, NULL };
	struct replica r;
	struct web w;

	make_before_web(&r, &w, replies, -1);
	ck_assert_msg(tdsync_push(r.t, &r.res) == answers[_i].rc, "%s: %s", answers[_i].why,
	              tdsync_error(r.t));
	assert_one_clean_line(tdsync_error(r.t));
	ck_assert_msg(strstr(tdsync_error(r.t), answers[_i].says) != NULL, "%s: %s",
	              answers[_i].why, tdsync_error(r.t));
	ck_assert_int_eq(w.seen->requests, 1);
	ck_assert_int_eq(r.res.pushed, 0);
	web_stop(&w);
	assert_nothing_lost(&r);
	replica_close(&r);
}
END_TEST

static const struct {
	const char *why, *body, *says;
} pages[] = {
	{ "not an object", "[]", "makes no sense" },
	{ "no events", "{\"last_server_seq\":1,\"has_more\":false}", "makes no sense" },
	{ "no has_more", "{\"events\":[],\"last_server_seq\":1}", "makes no sense" },
	{ "seq is text", "{\"events\":[],\"last_server_seq\":\"1\",\"has_more\":false}",
	  "makes no sense" },
	{ "an event before the cursor", "{\"events\":[{\"server_seq\":1,\"device_id\":\"d\","
	  "\"session_id\":\"s\",\"client_action_id\":1,\"action_type\":\"create\","
	  "\"entity_type\":\"issues\",\"entity_id\":\"td-1\",\"payload\":{},"
	  "\"client_timestamp\":\"2026-01-01T00:00:00Z\"}],\"last_server_seq\":1,"
	  "\"has_more\":false}", "makes no sense" },
	{ "an event without a payload", "{\"events\":[{\"server_seq\":9,\"device_id\":\"d\","
	  "\"session_id\":\"s\",\"client_action_id\":1,\"action_type\":\"create\","
	  "\"entity_type\":\"issues\",\"entity_id\":\"td-1\","
	  "\"client_timestamp\":\"2026-01-01T00:00:00Z\"}],\"last_server_seq\":9,"
	  "\"has_more\":false}", "makes no sense" },
	{ "a bad event before a good one", "{\"events\":[{\"server_seq\":8},{\"server_seq\":9,"
	  "\"device_id\":\"d\",\"session_id\":\"s\",\"client_action_id\":1,"
	  "\"action_type\":\"create\",\"entity_type\":\"issues\",\"entity_id\":\"td-1\","
	  "\"payload\":{},\"client_timestamp\":\"2026-01-01T00:00:00Z\"}],\"last_server_seq\":9,"
	  "\"has_more\":false}", "missing or malformed" },
};

START_TEST(every_page_that_makes_no_sense_changes_nothing)
{
	char reply[2048];
	const char *const replies[] = { reply, NULL };
	struct replica r;
	struct web w;

	snprintf(reply, sizeof(reply), "HTTP/1.1 200 OK\r\n" JSON_HEAD "\r\n%s", pages[_i].body);
	make_before_web(&r, &w, replies, -1);
	ck_assert_msg(tdsync_pull(r.t, &r.res) == TDSYNC_NETWORK, "%s", pages[_i].why);
	assert_one_clean_line(tdsync_error(r.t));
	ck_assert_msg(strstr(tdsync_error(r.t), pages[_i].says) != NULL, "%s: %s", pages[_i].why,
	              tdsync_error(r.t));
	ck_assert_int_eq(r.res.pulled + r.res.rows, 0);
	web_stop(&w);
	ck_assert_str_eq(ask(&r, "SELECT last_pulled_server_seq FROM sync_state"), "1");
	assert_nothing_lost(&r);
	replica_close(&r);
}
END_TEST

START_TEST(no_network_is_one_line)
{
	static const char *const urls[] = { "http://127.0.0.1:1", "http://no-such-host.invalid" };
	struct replica r;
	struct web w = { 0 };

	snprintf(w.url, sizeof(w.url), "%s", urls[_i]);
	make_before_web(&r, &w, NULL, -1);
	ck_assert_int_eq(tdsync_sync(r.t, &r.res), TDSYNC_NETWORK);
	assert_one_clean_line(tdsync_error(r.t));
	ck_assert_ptr_nonnull(strstr(tdsync_error(r.t), urls[_i]));
	assert_nothing_lost(&r);
	replica_close(&r);
}
END_TEST

/* One that never answers is given up after the timeout. */
START_TEST(a_server_that_hangs_is_given_up)
{
	struct sockaddr_in a = { .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	int64_t start = clock_mono_ms();
	struct web w = { 0 };
	struct replica r;

	ck_assert(bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0 && listen(fd, 4) == 0);
	ck_assert(getsockname(fd, (struct sockaddr *)&a, &len) == 0);
	snprintf(w.url, sizeof(w.url), "http://127.0.0.1:%d", ntohs(a.sin_port));
	make_before_web(&r, &w, NULL, -1);
	ck_assert_int_eq(tdsync_push(r.t, NULL), TDSYNC_NETWORK);
	assert_one_clean_line(tdsync_error(r.t));
	ck_assert_int_lt(clock_mono_ms() - start, SOON_MS);
	close(fd);
	assert_nothing_lost(&r);
	replica_close(&r);
}
END_TEST

#define EMPTY_PAGE "HTTP/1.1 200 OK\r\n" JSON_HEAD "\r\n" \
	"{\"events\":[],\"last_server_seq\":1,\"has_more\":false}\n"

static const struct {
	const char *why;
	const char *replies[4];
	int retries, requests;
	enum tdsync_rc rc;
	int64_t at_least_ms;
} retries[] = {
	{ "a 503 that passes", { ERROR("503 x", "unavailable", "x"), EMPTY_PAGE }, 2, 2,
	  TDSYNC_OK, 200 },
	{ "a 429 that says when", { "HTTP/1.1 429 x\r\nRetry-After: 1\r\n\r\n", EMPTY_PAGE }, 1,
	  2, TDSYNC_OK, 1000 },
	{ "no answer, 502, then one", { "", "HTTP/1.1 502 x\r\n\r\n", EMPTY_PAGE }, 2, 3,
	  TDSYNC_OK, 500 },
	{ "cut, then whole", { "HTTP/1.1 200 OK\r\n" JSON_HEAD "Content-Length: 99\r\n\r\n{",
	  EMPTY_PAGE }, 1, 2, TDSYNC_OK, 200 },
	{ "504 for good", { "HTTP/1.1 504 x\r\n\r\n" }, 1, 2, TDSYNC_NETWORK, 200 },
	{ "a 400 is final", { ERROR("400 x", "bad_request", "x"), EMPTY_PAGE }, 3, 1,
	  TDSYNC_REFUSED, 0 },
	{ "a 401 is final", { ERROR("401 x", "unauthorized", "x"), EMPTY_PAGE }, 3, 1,
	  TDSYNC_UNAUTHORIZED, 0 },
	{ "a 500 is final", { ERROR("500 x", "internal_error", "x"), EMPTY_PAGE }, 3, 1,
	  TDSYNC_NETWORK, 0 },
};

START_TEST(only_what_may_pass_is_tried_again)
{
	int64_t start;
	struct replica r;
	struct web w;

	make_before_web(&r, &w, retries[_i].replies, retries[_i].retries);
	start = clock_mono_ms();
	ck_assert_msg(tdsync_pull(r.t, NULL) == retries[_i].rc, "%s: %s", retries[_i].why,
	              tdsync_error(r.t));
	ck_assert_int_ge(clock_mono_ms() - start, retries[_i].at_least_ms);
	ck_assert_msg(w.seen->requests == retries[_i].requests, "%s: %d", retries[_i].why,
	              w.seen->requests);
	web_stop(&w);
	replica_close(&r);
}
END_TEST

/* Run `td-sync pull` with stderr on a terminal (or not), and read what it says. */
static void
pull_by_command(const struct replica *r, const struct web *w, bool terminal, bool quiet,
                char *said, size_t size)
{
	int master = posix_openpt(O_RDWR | O_NOCTTY), ends[2], status;
	const char *name;
	size_t n = 0;
	ssize_t got;
	pid_t pid;

	ck_assert(master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0);
	ck_assert((name = ptsname(master)) != NULL && pipe(ends) == 0);
	if ((pid = fork()) == 0) {
		setenv("TD_SYNC_URL", w->url, 1);
		setenv("TD_AUTH_KEY", TOKEN, 1);
		dup2(terminal ? open(name, O_RDWR | O_NOCTTY) : ends[1], STDERR_FILENO);
		close(ends[1]);
		execl(TOP_BUILDDIR "/td-sync", "td-sync", "--dir", r->dir, "pull",
		      quiet ? "--quiet" : NULL, NULL);
		_exit(127);
	}
	close(ends[1]);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	fcntl(master, F_SETFL, O_NONBLOCK);
	while ((got = read(terminal ? master : ends[0], said + n, size - 1 - n)) > 0)
		n += (size_t)got;
	said[n] = '\0';
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%#x: %s", status, said);
	close(ends[0]);
	close(master);
}

static const struct {
	bool terminal, quiet, told;
} lookers_on[] = { { true, false, true }, { true, true, false }, { false, false, false } };

START_TEST(a_long_pause_is_told_on_a_terminal)
{
	static const char *const replies[] = {
		"HTTP/1.1 429 x\r\nRetry-After: 1\r\n" JSON_HEAD "\r\n"
		"{\"error\":{\"code\":\"rate_limited\",\"message\":\"slow down\"}}\n",
		EMPTY_PAGE, NULL };
	struct replica r;
	struct web w;
	char said[1024];

	make_before_web(&r, &w, replies, -1);
	pull_by_command(&r, &w, lookers_on[_i].terminal, lookers_on[_i].quiet, said,
	                sizeof(said));
	if (lookers_on[_i].told) {
		ck_assert_msg(strstr(said, "slow down; trying again in ") != NULL, "%s",
		              said);
		ck_assert_ptr_null(strstr(said, TOKEN));
	} else {
		ck_assert_str_eq(said, "");
	}
	ck_assert_int_eq(w.seen->requests, 2);
	web_stop(&w);
	replica_close(&r);
}
END_TEST

/* --- a file that is fetched --- */

#define FILE_HEAD "Content-Type: application/x-sqlite3\r\n"
#define HALF "HTTP/1.1 200 OK\r\n" FILE_HEAD "ETag: \"one\"\r\nContent-Length: 10\r\n\r\n01234"
#define REST "HTTP/1.1 206 Partial Content\r\n" FILE_HEAD "ETag: \"one\"\r\n" \
	"Content-Range: bytes 5-9/10\r\nContent-Length: 5\r\n\r\n56789"
#define OTHER "HTTP/1.1 200 OK\r\n" FILE_HEAD "ETag: \"two\"\r\nContent-Length: 4\r\n\r\nabcd"

static const struct {
	const char *why;
	const char *replies[4];
	enum tdsync_rc rc;
	const char *content;   /* of the file, then */
	const char *asks;      /* in the last request; NULL: no part is asked for */
} files[] = {
	{ "whole", { OTHER }, TDSYNC_OK, "abcd", NULL },
	{ "the rest", { HALF, REST }, TDSYNC_OK, "0123456789",
	  "\r\nRange: bytes=5-\r\nIf-Range: \"one\"\r\n" },
	{ "another file meanwhile", { HALF, OTHER }, TDSYNC_OK, "abcd", "\r\nRange: bytes=5-" },
	{ "an answer of something else in between", { HALF, "HTTP/1.1 503 x\r\n\r\nlater", REST },
	  TDSYNC_OK, "0123456789", "\r\nRange: bytes=5-" },
	{ "a part that begins too late", { HALF, "HTTP/1.1 206 Partial Content\r\n" FILE_HEAD
	  "Content-Range: bytes 7-9/10\r\nContent-Length: 3\r\n\r\n789", OTHER }, TDSYNC_OK,
	  "abcd", NULL },
	{ "without a name", { "HTTP/1.1 200 OK\r\n" FILE_HEAD "Content-Length: 10\r\n\r\n01234",
	  OTHER }, TDSYNC_OK, "abcd", NULL },
	{ "with a weak one", { "HTTP/1.1 200 OK\r\n" FILE_HEAD "ETag: W/\"one\"\r\n"
	  "Content-Length: 10\r\n\r\n01234", OTHER }, TDSYNC_OK, "abcd", NULL },
	{ "nothing in it", { "HTTP/1.1 200 OK\r\n" FILE_HEAD "Content-Length: 0\r\n\r\n" },
	  TDSYNC_OK, "", NULL },
	{ "of another type", { "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>" },
	  TDSYNC_NETWORK, "<html>", NULL },
	{ "refused", { ERROR("403 x", "forbidden", "no") }, TDSYNC_FORBIDDEN, "", NULL },
	{ "never whole", { HALF, HALF, HALF }, TDSYNC_NETWORK, "01234",
	  "\r\nRange: bytes=5-" },
};

START_TEST(a_file_that_breaks_off_is_gone_on_with)
{
	struct remote remote = { .token = TOKEN, .timeout_s = 2, .retries = 2 };
	char path[TEMP_PATH + 16], content[64] = "";
	struct transport_file file = { 0 };
	struct remote_answer a = { 0 };
	struct err err = { "" };
	enum tdsync_rc rc;
	struct web w;

	snprintf(path, sizeof(path), "%s/file", temp);
	file.fd = open(path, O_RDWR | O_CREAT, 0600);
	web_start(&w, files[_i].replies);
	remote.url = w.url;
	ck_assert(transport_http(w.url, &remote.transport, &err) == RC_OK);
	rc = remote_fetch(&remote, "/file", "application/x-sqlite3", &file, &a, &err);
	ck_assert_msg(rc == files[_i].rc, "%s: %s: %s", files[_i].why, tdsync_rc_name(rc),
	              err.text);
	ck_assert(pread(file.fd, content, sizeof(content) - 1, 0) >= 0);
	ck_assert_str_eq(content, files[_i].content);
	ck_assert_int_eq(file.have, (int64_t)strlen(content));
	if (files[_i].asks != NULL)
		ck_assert_ptr_nonnull(strstr(w.seen->last, files[_i].asks));
	else
		ck_assert_ptr_null(strcasestr(w.seen->last, "\r\nRange:"));
	ck_assert_ptr_null(strcasestr(w.seen->last, "\r\nAccept-Encoding:"));
	remote_answer_free(&a);

	/* A file that can't be written to is ours to mend: nothing is tried again. */
	if (strcmp(content, "abcd") == 0) {
		int n = w.seen->requests;

		close(file.fd);
		file = (struct transport_file){ .fd = open(path, O_RDONLY) };
		ck_assert_int_eq(remote_fetch(&remote, "/file", "application/x-sqlite3", &file, &a,
		                              &err), TDSYNC_LOCAL);
		ck_assert_int_eq(w.seen->requests, n + 1);
		assert_one_clean_line(err.text);
		remote_answer_free(&a);
	}
	close(file.fd);
	remote.transport->free(remote.transport);
	web_stop(&w);
}
END_TEST

START_TEST(a_push_tells_who_it_is_and_what_it_knows)
{
	static const char *const replies[] = { ERROR("400 x", "bad_request", "x"), NULL };
	const char *log_id, *digest;
	char want[128];
	struct replica r;
	struct web w;

	make_before_web(&r, &w, replies, -1);
	ck_assert_int_eq(tdsync_push(r.t, NULL), TDSYNC_REFUSED);
	ck_assert_ptr_nonnull(strstr(w.seen->last, "POST /v1/projects/" PROJECT "/sync/push HTTP/1.1\r\n"));
	ck_assert_ptr_nonnull(strstr(w.seen->last, "\r\nAuthorization: Bearer " TOKEN "\r\n"));
	ck_assert_ptr_nonnull(strstr(w.seen->last, "\r\nUser-Agent: td-sync/"));
	ck_assert_ptr_nonnull(strstr(w.seen->last, "\r\nPrefer: handling=lenient\r\n"));
	ck_assert_ptr_nonnull(strstr(w.seen->last, "\r\nContent-Type: application/json\r\n"));
	log_id = ask_books(&r, "SELECT log_id FROM replica");
	digest = ask_books(&r, "SELECT last_digest FROM replica");
	ck_assert_uint_eq(strlen(log_id), 32);
	ck_assert_uint_eq(strlen(digest), 32);
	snprintf(want, sizeof(want), "\r\nX-Log-Id: %s\r\n", log_id);
	ck_assert_ptr_nonnull(strstr(w.seen->last, want));
	snprintf(want, sizeof(want), "\r\nX-Log-Last: 1:%s\r\n", digest);
	ck_assert_ptr_nonnull(strstr(w.seen->last, want));
	ck_assert_ptr_nonnull(strstr(w.seen->last, "{\"device_id\":\"device-A\","
	                             "\"session_id\":\"td-sync\",\"events\":[{\"client_action_id\":2,"));
	web_stop(&w);
	replica_close(&r);
}
END_TEST

/* --- a transport with faults in front of the real one --- */

struct faulty {
	struct transport base;
	struct transport *real;
	int lose;      /* answers to lose, after the server did it */
	int max_events; /* more in a push: 413; 0: any number */
	int pushes;
};

static enum rc
faulty_send(struct transport *t, const struct transport_request *rq,
            struct transport_reply *reply, struct err *err)
{
	struct faulty *f = (struct faulty *)t;
	int events = 0;
	enum rc rc;

	for (size_t i = 0; i + 18 < rq->body.len; i++)
		events += memcmp(rq->body.p + i, "\"client_action_id\"", 18) == 0;
	f->pushes += rq->body.len > 0;
	if (f->max_events > 0 && events > f->max_events) {
		reply->status = 413;
		return RC_OK;
	}
	rc = f->real->send(f->real, rq, reply, err);
	if (rc == RC_OK && rq->body.len > 0 && f->lose > 0) {
		f->lose--;
		transport_reply_free(reply);
		return err_set(err, RC_BUSY, "the answer was lost");
	}
	return rc;
}

static void
faulty_free(struct transport *t)
{
	struct faulty *f = (struct faulty *)t;

	f->real->free(f->real);
}

static void
use_faulty(struct replica *r, struct faulty *f)
{
	struct err err;

	*f = (struct faulty){ .base = { faulty_send, faulty_free } };
	ck_assert(transport_direct(temp, "u_0000000000000001", &f->real, &err) == RC_OK);
	tdsync_use_transport(r->t, &f->base);
}

START_TEST(a_lost_answer_doubles_nothing)
{
	struct replica r;
	struct faulty f;

	replica_make(&r, "A", "empty-v38.db");
	use_faulty(&r, &f);
	LINK(&r);
	PULL(&r);
	td_create(&r, "td-00000a", "One");
	td_comment(&r, "cm-00000001", "td-00000a", "Two");
	f.lose = 1;
	ck_assert_int_eq(tdsync_push(r.t, &r.res), TDSYNC_NETWORK);
	ck_assert_str_eq(ask(&r, "SELECT count(*) FROM action_log WHERE synced_at IS NULL"), "2");
	if (_i == 0) {
		SYNC(&r); /* pushes again: they are known */
		ck_assert_int_eq(r.res.duplicates, 2);
	} else {
		PULL(&r); /* meets them, and knows them */
		SYNC(&r);
		ck_assert_int_eq(r.res.duplicates, 0);
	}
	ck_assert_int_eq(server_seq(), 2);
	ck_assert_str_eq(ask(&r, "SELECT group_concat(server_seq) FROM action_log"), "1,2");
	assert_settled(&r);
	replica_close(&r);
}
END_TEST

START_TEST(a_push_that_is_too_large_is_halved)
{
	struct replica r;
	struct faulty f;

	replica_make(&r, "A", "empty-v38.db");
	use_faulty(&r, &f);
	LINK(&r);
	for (int i = 0; i < 20; i++) {
		char id[16];

		snprintf(id, sizeof(id), "td-%06d", i);
		td_create(&r, id, "One of many");
	}
	f.max_events = 3;
	SYNC(&r);
	ck_assert_int_eq(r.res.pushed, 20);
	ck_assert_int_eq(server_seq(), 20);
	ck_assert_int_le(f.pushes, 14);
	assert_settled(&r);
	replica_close(&r);
}
END_TEST

static void
count_rejection(void *ctx, const struct tdsync_rejection *r)
{
	ck_assert_ptr_nonnull(r->reason);
	ck_assert_int_eq(strncmp(r->action_id, "al-", 3), 0);
	++*(int *)ctx;
}

START_TEST(a_refused_action_is_kept_named_and_not_sent_again)
{
	struct tdsync_status s;
	struct replica r;
	struct faulty f;
	char id[301];
	int n = 0;

	replica_make(&r, "A", "empty-v38.db");
	use_faulty(&r, &f);
	LINK(&r);
	memset(id, 'x', sizeof(id) - 1);
	id[300] = '\0';
	td_create(&r, "td-00000a", "Good");
	td_log(&r, "create", "issue", id, "", "{}");           /* refused by the server */
	td_log(&r, "update", "issue", "td-00000a", "", "{\"a"); /* no JSON: never sent */
	td_log(&r, "create", "sessions", "ses_1", "", "{}");    /* not synced at all */
	td_log(&r, "update", "widget", "w1", "", "{}");
	td_create(&r, "td-00000b", "Good too");
	SYNC(&r);
	ck_assert_int_eq(r.res.pushed, 2);
	ck_assert_int_eq(r.res.rejected, 2);
	CALL_OK(&r, tdsync_each_rejection(r.t, count_rejection, &n));
	ck_assert_int_eq(n, 2);
	CALL_OK(&r, tdsync_get_status(r.t, false, &s));
	ck_assert_int_eq(s.rejected, 2);
	ck_assert_int_eq(s.pending, 0);
	f.pushes = 0;
	SYNC(&r);
	ck_assert_int_eq(f.pushes, 0);
	LINK(&r); /* once more, on demand */
	SYNC(&r);
	ck_assert_int_eq(r.res.rejected, 2);
	ck_assert_str_eq(ask(&r, "SELECT count(*) FROM issues"), "2");
	replica_close(&r);
}
END_TEST

START_TEST(one_who_may_only_read_still_gets_what_there_is)
{
	static const char *const replies[] = {
		ERROR("403 Forbidden", "forbidden", "role reader"), EMPTY_PAGE, NULL };
	struct replica r;
	struct web w;

	make_before_web(&r, &w, replies, -1);
	ck_assert_int_eq(tdsync_sync(r.t, NULL), TDSYNC_FORBIDDEN);
	ck_assert_ptr_nonnull(strstr(tdsync_error(r.t), "role reader"));
	ck_assert_int_eq(w.seen->requests, 2);
	ck_assert_ptr_nonnull(strstr(w.seen->last, "/sync/pull"));
	web_stop(&w);
	assert_nothing_lost(&r);
	replica_close(&r);
}
END_TEST

/* --- the local files --- */

static void
replace_db(struct replica *r, const char *content, size_t n)
{
	FILE *f;

	unlink(replica_file(r, "issues.db"));
	if (content == NULL)
		return;
	f = fopen(replica_file(r, "issues.db"), "wb");
	ck_assert(f != NULL && fwrite(content, 1, n, f) == n && fclose(f) == 0);
}

static void
break_missing(struct replica *r)
{
	replace_db(r, NULL, 0);
}

static void
break_text(struct replica *r)
{
	static char text[8192];

	memset(text, 'x', sizeof(text));
	replace_db(r, text, sizeof(text));
}

static void
break_empty(struct replica *r)
{
	replace_db(r, "", 0);
}

static void
break_other(struct replica *r)
{
	replace_db(r, "", 0);
	sql(r, "CREATE TABLE recipes (id INTEGER PRIMARY KEY)");
}

static void
break_old(struct replica *r)
{
	sql(r, "UPDATE schema_info SET value = '26' WHERE key = 'version'");
}

static void
break_new(struct replica *r)
{
	sql(r, "UPDATE schema_info SET value = '39' WHERE key = 'version'");
}

/* A page in the middle overwritten. */
static void
break_page(struct replica *r)
{
	int fd = open(replica_file(r, "issues.db"), O_RDWR);
	char junk[4096];

	memset(junk, 0xa5, sizeof(junk));
	for (int i = 1; i < 60; i++)
		ck_assert(pwrite(fd, junk, sizeof(junk), 4096 * i) == (ssize_t)sizeof(junk));
	close(fd);
}

static void
break_books(struct replica *r)
{
	FILE *f = fopen(replica_file(r, "td-sync.db"), "wb");
	static char text[8192];

	memset(text, 'x', sizeof(text));
	ck_assert(f != NULL && fwrite(text, 1, sizeof(text), f) == sizeof(text) &&
	          fclose(f) == 0);
}

static void
break_books_newer(struct replica *r)
{
	sqlite3 *db;

	ck_assert_int_eq(sqlite3_open(replica_file(r, "td-sync.db"), &db), SQLITE_OK);
	ck_assert_int_eq(sqlite3_exec(db, "PRAGMA user_version = 99", NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
}

static const struct {
	const char *why;
	void (*what)(struct replica *r);
	enum tdsync_rc rc;
	const char *says;
} broken[] = {
	{ "no database", break_missing, TDSYNC_LOCAL, "td init" },
	{ "a text file", break_text, TDSYNC_LOCAL, "damaged" },
	{ "an empty file", break_empty, TDSYNC_INVALID, "not a td database" },
	{ "another database", break_other, TDSYNC_INVALID, "not a td database" },
	{ "too old", break_old, TDSYNC_INVALID, "schema 26" },
	{ "too new", break_new, TDSYNC_INVALID, "newer td-sync" },
	{ "damaged pages", break_page, TDSYNC_LOCAL, "damaged" },
	{ "td-sync.db is a text file", break_books, TDSYNC_LOCAL, "move the second away" },
	{ "td-sync.db is newer", break_books_newer, TDSYNC_INVALID,
	  "td-sync.db was written by a newer td-sync: use that one" },
};

START_TEST(every_broken_file_is_one_line_and_left_as_it_is)
{
	struct tdsync_status s;
	struct replica r;
	char cmd[512];

	replica_make(&r, "A", "empty-v38.db");
	LINK(&r);
	td_create(&r, "td-00000a", "x");
	SYNC(&r);
	td_update(&r, "td-00000a", "title", "y");
	broken[_i].what(&r);
	snprintf(cmd, sizeof(cmd), "cd %s/.todos && cp td-sync.db ../books.db;"
	         " cp -f issues.db ../before.db 2>/dev/null", r.dir);
	if (system(cmd) != 0)
		ck_assert_ptr_eq(broken[_i].what, break_missing);
	ck_assert_msg(tdsync_sync(r.t, NULL) == broken[_i].rc, "%s: %s", broken[_i].why,
	              tdsync_error(r.t));
	assert_one_clean_line(tdsync_error(r.t));
	ck_assert_msg(strstr(tdsync_error(r.t), broken[_i].says) != NULL, "%s: %s",
	              broken[_i].why, tdsync_error(r.t));
	ck_assert_msg(tdsync_get_status(r.t, false, &s) != TDSYNC_FAULT, "%s", tdsync_error(r.t));
	if (broken[_i].what == break_missing) {
		ck_assert_int_ne(access(replica_file(&r, "issues.db"), F_OK), 0);
	} else {
		snprintf(cmd, sizeof(cmd), "cd %s/.todos && cmp issues.db ../before.db &&"
		         " cmp td-sync.db ../books.db", r.dir);
		ck_assert_int_eq(system(cmd), 0);
	}
	replica_close(&r);
}
END_TEST

START_TEST(no_folder_and_no_project_are_told)
{
	struct tdsync_options o = { .url = "http://direct.invalid", .token = "t" };
	struct tdsync *t;
	char dir[TEMP_PATH + 16];

	snprintf(dir, sizeof(dir), "%s/none", temp);
	o.dir = dir;
	ck_assert_int_eq(tdsync_open(&o, &t, NULL, 0), TDSYNC_OK);
	ck_assert_int_eq(tdsync_sync(t, NULL), TDSYNC_LOCAL);
	ck_assert_ptr_nonnull(strstr(tdsync_error(t), "no such folder"));
	ck_assert(mkdir(dir, 0755) == 0);
	ck_assert_int_eq(tdsync_link(t, PROJECT), TDSYNC_LOCAL);
	ck_assert_ptr_nonnull(strstr(tdsync_error(t), "td init"));
	tdsync_close(t);
}
END_TEST

/* Somebody holds td's lock, or SQLite's, for longer than td waits. */
START_TEST(a_locked_database_is_waited_for_then_told)
{
	struct replica r;
	pid_t pid;
	int fd, ready[2];
	char c;

	replica_make(&r, "A", "empty-v38.db");
	LINK(&r);
	td_create(&r, "td-00000a", "Pending");
	ck_assert(pipe(ready) == 0);
	if ((pid = fork()) == 0) {
		if (_i == 0) {
			fd = open(replica_file(&r, "db.lock"), O_RDWR | O_CREAT, 0644);
			if (flock(fd, LOCK_EX) != 0)
				_exit(1);
		} else {
			sqlite3 *db = replica_db(&r);

			if (sqlite3_exec(db, "BEGIN EXCLUSIVE", NULL, NULL, NULL) != SQLITE_OK)
				_exit(1);
		}
		if (write(ready[1], "x", 1) != 1)
			_exit(1);
		sleep(_i == 2 ? 1 : 30);
		_exit(0);
	}
	ck_assert(read(ready[0], &c, 1) == 1);
	if (_i == 2) {
		SYNC(&r); /* it lets go in time */
	} else {
		ck_assert_int_eq(tdsync_sync(r.t, NULL), TDSYNC_LOCAL);
		assert_one_clean_line(tdsync_error(r.t));
		ck_assert_ptr_nonnull(strstr(tdsync_error(r.t), "for 5 s"));
	}
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	close(ready[0]);
	close(ready[1]);
	SYNC(&r);
	ck_assert_int_eq(server_seq(), 1);
	replica_close(&r);
}
END_TEST

/* As somebody who may not write: root may always. */
START_TEST(a_read_only_database_is_told)
{
	struct replica r;
	pid_t pid;
	int status;
	char cmd[512];

	replica_make(&r, "A", "empty-v38.db");
	LINK(&r);
	td_create(&r, "td-00000a", "Pending");
	snprintf(cmd, sizeof(cmd), "chmod 755 %s && chmod 555 %s/.todos && chmod 444 %s/.todos/*",
	         temp, r.dir, r.dir);
	ck_assert_int_eq(system(cmd), 0);
	if (_i == 1) { /* the files could be written, the folder not */
		snprintf(cmd, sizeof(cmd), "chmod 666 %s/.todos/*", r.dir);
		ck_assert_int_eq(system(cmd), 0);
	}
	if ((pid = fork()) == 0) {
		if (geteuid() == 0 && setuid(65534) != 0)
			_exit(9);
		if (tdsync_sync(r.t, NULL) != TDSYNC_LOCAL)
			_exit(1);
		if (strstr(tdsync_error(r.t), "read-only") == NULL &&
		    strstr(tdsync_error(r.t), "who may write") == NULL &&
		    strstr(tdsync_error(r.t), "Permission denied") == NULL) {
			fprintf(stderr, "%s\n", tdsync_error(r.t));
			_exit(2);
		}
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 9) {
		fprintf(stderr, "skipped: can't become another user\n");
	} else {
		ck_assert(WIFEXITED(status));
		ck_assert_int_eq(WEXITSTATUS(status), 0);
	}
	snprintf(cmd, sizeof(cmd), "chmod 755 %s/.todos && chmod 644 %s/.todos/*", r.dir, r.dir);
	ck_assert_int_eq(system(cmd), 0);
	SYNC(&r);
	ck_assert_int_eq(server_seq(), 1);
	replica_close(&r);
}
END_TEST

/* Writes fail from a size of the file on. */
START_TEST(a_disk_that_takes_no_more_is_told)
{
	struct replica r;
	pid_t pid;
	int status;

	replica_make(&r, "A", "empty-v38.db");
	LINK(&r);
	SYNC(&r);
	server_load("replay/team/log.jsonl");
	if ((pid = fork()) == 0) {
		struct rlimit limit = { 400000, 400000 };

		signal(SIGXFSZ, SIG_IGN);
		setrlimit(RLIMIT_FSIZE, &limit);
		if (tdsync_sync(r.t, NULL) != TDSYNC_LOCAL || tdsync_error(r.t)[0] == '\0')
			_exit(1);
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	ck_assert_str_eq(ask(&r, "PRAGMA integrity_check"), "ok");
	ck_assert_str_eq(ask(&r, "SELECT count(*) FROM issues"), "0");
	SYNC(&r);
	assert_settled(&r);
	replica_close(&r);
}
END_TEST

/* A full file system, where one may be mounted. */
START_TEST(a_full_disk_is_told)
{
	char dir[TEMP_PATH + 16], cmd[512];
	struct replica r;

	replica_make(&r, "A", "empty-v38.db");
	LINK(&r);
	SYNC(&r);
	server_load("replay/team/log.jsonl");
	snprintf(dir, sizeof(dir), "%s/A/.todos", temp);
	snprintf(cmd, sizeof(cmd), "mv %s %s/keep && mkdir %s", dir, temp, dir);
	ck_assert_int_eq(system(cmd), 0);
	if (mount("none", dir, "tmpfs", 0, "size=700k") != 0) {
		fprintf(stderr, "skipped: can't mount a small file system\n");
		replica_close(&r);
		return;
	}
	snprintf(cmd, sizeof(cmd), "cp %s/keep/* %s", temp, dir);
	ck_assert_int_eq(system(cmd), 0);
	ck_assert_int_eq(tdsync_sync(r.t, NULL), TDSYNC_LOCAL);
	assert_one_clean_line(tdsync_error(r.t));
	ck_assert_msg(strstr(tdsync_error(r.t), "no room") != NULL, "%s", tdsync_error(r.t));
	ck_assert_str_eq(ask(&r, "PRAGMA integrity_check"), "ok");
	ck_assert_str_eq(ask(&r, "SELECT count(*) FROM issues"), "0");
	replica_close(&r);
	ck_assert(umount(dir) == 0);
}
END_TEST

/* --- settings --- */

static void
write_auth(const char *text)
{
	char path[TEMP_PATH + 64];
	FILE *f;

	snprintf(path, sizeof(path), "%s/.config", temp);
	mkdir(path, 0755);
	snprintf(path, sizeof(path), "%s/.config/td", temp);
	mkdir(path, 0755);
	snprintf(path, sizeof(path), "%s/.config/td/auth.json", temp);
	f = fopen(path, "w");
	ck_assert(f != NULL && fputs(text, f) >= 0 && fclose(f) == 0);
}

START_TEST(settings_come_from_the_caller_the_environment_and_td)
{
	struct settings s;
	struct err err;

	ck_assert(settings_load(NULL, NULL, NULL, &s, &err) == RC_OK);
	ck_assert_str_eq(s.url, "http://localhost:8080");
	ck_assert_ptr_null(s.token);
	ck_assert_ptr_null(s.device_id);
	settings_free(&s);
	write_auth("{\"api_key\":\"from-file\",\"server_url\":\"https://file.example\","
	           "\"device_id\":\"d-file\",\"email\":\"a@example.com\"}");
	ck_assert(settings_load(NULL, NULL, NULL, &s, &err) == RC_OK);
	ck_assert_str_eq(s.url, "https://file.example");
	ck_assert_str_eq(s.token, "from-file");
	ck_assert_str_eq(s.device_id, "d-file");
	settings_free(&s);
	setenv("TD_SYNC_URL", "http://env.example", 1);
	setenv("TD_AUTH_KEY", "from-env", 1);
	ck_assert(settings_load(NULL, NULL, NULL, &s, &err) == RC_OK);
	ck_assert_str_eq(s.url, "http://env.example");
	ck_assert_str_eq(s.token, "from-env");
	ck_assert_str_eq(s.device_id, "d-file");
	settings_free(&s);
	ck_assert(settings_load("http://given.example/", "given", "d-given", &s, &err) == RC_OK);
	ck_assert_str_eq(s.url, "http://given.example/");
	ck_assert_str_eq(s.token, "given");
	ck_assert_str_eq(s.device_id, "d-given");
	settings_free(&s);
	write_auth("{\"api_key\":"); /* broken, but nothing of it is needed */
	ck_assert(settings_load(NULL, NULL, NULL, &s, &err) == RC_OK);
	settings_free(&s);
	unsetenv("TD_AUTH_KEY");
	ck_assert(settings_load(NULL, NULL, NULL, &s, &err) == RC_INVALID);
	ck_assert_ptr_nonnull(strstr(err.text, "auth.json"));
}
END_TEST

START_TEST(settings_that_can_t_be_meant_are_refused)
{
	static const struct {
		const char *url, *token, *device, *says;
	} bad[] = {
		{ "ftp://x", "t", "d", "http://" },
		{ "x.example", "t", "d", "http://" },
		{ "", "t", "d", "http://" },
		{ "http://user:pass@x", "t", "d", "user" },
		{ "http://x?y=1", "t", "d", "query" },
		{ "http://x y", "t", "d", "http://" },
		{ "http://x", "two words", "d", "token" },
		{ "http://x", "line\nX-Evil: 1", "d", "token" },
		{ "http://x", "", "d", "token" },
		{ "http://x", "t", "td-sync", "device" },
		{ "http://x", "t", "d d", "device" },
	};
	struct settings s;
	struct err err;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		ck_assert_msg(settings_load(bad[i].url, bad[i].token, bad[i].device, &s, &err) ==
		              RC_INVALID, "%s %s %s", bad[i].url, bad[i].token, bad[i].device);
		ck_assert_msg(strstr(err.text, bad[i].says) != NULL, "%s", err.text);
		ck_assert_msg(strstr(err.text, "pass") == NULL && strstr(err.text, "words") == NULL,
		              "a secret is in: %s", err.text);
	}
}
END_TEST

/* --- link --- */

START_TEST(a_project_is_found_by_id_name_or_slug)
{
	static const char *const list[] = { "HTTP/1.1 200 OK\r\n" JSON_HEAD "\r\n"
	    "[{\"id\":\"p_0000000000000001\",\"name\":\"One\",\"slug\":\"one\"},"
	    "{\"id\":\"p_0000000000000002\",\"name\":\"Twin\",\"slug\":\"twin\"},"
	    "{\"id\":\"p_0000000000000003\",\"name\":\"Twin\",\"slug\":\"twin-2\"},"
	    "{\"id\":\"../../evil\",\"name\":\"Evil\",\"slug\":\"evil\"}]", NULL };
	static const struct {
		const char *name;
		enum tdsync_rc rc;
		const char *id;
	} cases[] = {
		{ "One", TDSYNC_OK, "p_0000000000000001" },
		{ "twin-2", TDSYNC_OK, "p_0000000000000003" },
		{ "twin", TDSYNC_OK, "p_0000000000000002" },
		{ "Twin", TDSYNC_INVALID, NULL },
		{ "none", TDSYNC_NOT_FOUND, NULL },
		{ "evil", TDSYNC_NETWORK, NULL },
		{ "", TDSYNC_INVALID, NULL },
	};
	struct tdsync_options o = { .token = TOKEN, .retries = -1 };
	struct replica r;
	struct web w;

	replica_make(&r, "A", "empty-v38.db");
	replica_close(&r);
	web_start(&w, list);
	o.dir = r.dir;
	o.url = w.url;
	ck_assert(tdsync_open(&o, &r.t, NULL, 0) == TDSYNC_OK);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		ck_assert_msg(tdsync_link(r.t, cases[i].name) == cases[i].rc, "%s: %s",
		              cases[i].name, tdsync_error(r.t));
		ck_assert_str_eq(ask(&r, "SELECT project_id FROM sync_state"),
		                 cases[i].id == NULL ? "-" : cases[i].id);
		if (cases[i].id != NULL)
			CALL_OK(&r, tdsync_unlink(r.t));
		else
			assert_one_clean_line(tdsync_error(r.t));
	}
	web_stop(&w);
	replica_close(&r);
}
END_TEST

START_TEST(status_tells_both_sides)
{
	static const char *const reply[] = { "HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\n"
	    JSON_HEAD "\r\n{\"event_count\":7,\"last_server_seq\":9}", "HTTP/1.1 500 x\r\n\r\n", NULL };
	struct tdsync_status s;
	struct replica r;
	struct web w;

	make_before_web(&r, &w, reply, -1);
	CALL_OK(&r, tdsync_get_status(r.t, true, &s));
	ck_assert(s.server_reached);
	ck_assert_int_eq(s.server_seq, 9);
	ck_assert_int_eq(s.server_events, 7);
	ck_assert_int_eq(s.pending, 1);
	ck_assert_int_eq(s.cursor, 1);
	ck_assert_int_eq(s.schema, 38);
	ck_assert_str_eq(s.project_id, PROJECT);
	ck_assert_str_eq(s.device_id, "device-A");
	ck_assert_uint_eq(strlen(s.log_id), 32);
	ck_assert_int_gt(s.clock_ahead_ms, 0);
	CALL_OK(&r, tdsync_get_status(r.t, true, &s));
	ck_assert(!s.server_reached);
	ck_assert_ptr_nonnull(strstr(tdsync_error(r.t), "500"));
	ck_assert_int_eq(s.pending, 1);
	web_stop(&w);
	replica_close(&r);
}
END_TEST

/* Looking leaves no trace. */
START_TEST(status_makes_no_files)
{
	struct tdsync_status s;
	struct replica r;

	replica_make(&r, "A", "empty-v38.db");
	ck_assert_int_eq(tdsync_get_status(r.t, false, &s), TDSYNC_NOT_LINKED);
	ck_assert_int_ne(access(replica_file(&r, "td-sync.db"), F_OK), 0);
	ck_assert_int_ne(access(replica_file(&r, "db.lock"), F_OK), 0);
	replica_close(&r);
}
END_TEST

/* --- the books --- */

START_TEST(every_statement_of_the_books_compiles)
{
	struct replica r;
	struct local *l;
	struct err err;

	replica_make(&r, "A", "empty-v38.db");
	ck_assert(local_open(r.dir, false, &l, &err) == RC_OK);
	ck_assert(books_prepare(l, &err) == RC_OK);
	for (size_t i = 0; books_query(i) != NULL; i++) {
		sqlite3_stmt *st = NULL;

		ck_assert_msg(db_prepare(l->db, books_query(i), &st, &err) == RC_OK, "%s: %s",
		              books_query(i), err.text);
		sqlite3_finalize(st);
	}
	local_close(l);
	replica_close(&r);
}
END_TEST

TCase *
client_fault_cases(void)
{
	TCase *tc = tcase_create("faults");

#define N(a) (int)(sizeof(a) / sizeof((a)[0]))
	tcase_add_checked_fixture(tc, replica_setup, replica_teardown);
	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, every_bad_answer_to_a_push_is_one_line_and_loses_nothing, 0,
	                    N(answers));
	tcase_add_loop_test(tc, every_page_that_makes_no_sense_changes_nothing, 0, N(pages));
	tcase_add_loop_test(tc, no_network_is_one_line, 0, 2);
	tcase_add_test(tc, a_server_that_hangs_is_given_up);
	tcase_add_loop_test(tc, only_what_may_pass_is_tried_again, 0, N(retries));
	tcase_add_loop_test(tc, a_long_pause_is_told_on_a_terminal, 0, N(lookers_on));
	tcase_add_loop_test(tc, a_file_that_breaks_off_is_gone_on_with, 0,
	                    sizeof(files) / sizeof(files[0]));
	tcase_add_test(tc, a_push_tells_who_it_is_and_what_it_knows);
	tcase_add_loop_test(tc, a_lost_answer_doubles_nothing, 0, 2);
	tcase_add_test(tc, a_push_that_is_too_large_is_halved);
	tcase_add_test(tc, a_refused_action_is_kept_named_and_not_sent_again);
	tcase_add_test(tc, one_who_may_only_read_still_gets_what_there_is);
	tcase_add_loop_test(tc, every_broken_file_is_one_line_and_left_as_it_is, 0, N(broken));
	tcase_add_test(tc, no_folder_and_no_project_are_told);
	tcase_add_loop_test(tc, a_locked_database_is_waited_for_then_told, 0, 3);
	tcase_add_loop_test(tc, a_read_only_database_is_told, 0, 2);
	tcase_add_test(tc, a_disk_that_takes_no_more_is_told);
	tcase_add_test(tc, a_full_disk_is_told);
	tcase_add_test(tc, settings_come_from_the_caller_the_environment_and_td);
	tcase_add_test(tc, settings_that_can_t_be_meant_are_refused);
	tcase_add_test(tc, a_project_is_found_by_id_name_or_slug);
	tcase_add_test(tc, status_tells_both_sides);
	tcase_add_test(tc, status_makes_no_files);
	tcase_add_test(tc, every_statement_of_the_books_compiles);
	return tc;
}
