/*
 * What nginx keeps away from the workers: too many requests, too large and too
 * slow ones, forged addresses; and what it answers while they are gone. Each
 * limit is tried from both sides, with its figure or its time made small by sed
 * where the shipped one would take a minute.
 */
#include "http_test.h"

#include "patience.h"

#include "base/fs.h"
#include "base/lock.h"
#include "store/events.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define PUSH "/v1/projects/{p}/sync/push"
#define PULL "/v1/projects/{p}/sync/pull"
#define STATUS "/v1/projects/{p}/sync/status"

/* Rates that give nothing back while a test runs, and how many requests each
 * zone then takes. */
#define SLOW "s/rate=[0-9]*r.[ms]/rate=1r\\/m/;"
#define ZONE(name, burst) "s/zone=td_sync_" name "  *burst=.*/zone=td_sync_" name \
                          " burst=" burst " nodelay;/;"
#define FEW SLOW ZONE("push", "2") ZONE("pull", "3") ZONE("other", "4") \
            ZONE("auth", "1") ZONE("poll", "5")

/* --- asking --- */

static const struct span nothing = { NULL, 0 };

static struct world
start(const char *edits)
{
	struct site_options options = { .kind = SITE_FASTCGI, .limits = true,
	                                .nginx_edits = edits };
	struct world w;

	world_start(&w, &options);
	return w;
}

/* A push of 2 MB of nothing: above what nginx takes elsewhere. Workers answer it
 * with 400. */
static int
push_large(struct world *w)
{
	size_t n = 2 << 20;
	char *blanks = malloc(n);

	ck_assert_ptr_nonnull(blanks);
	memset(blanks, ' ', n);
	ask_as(w, w->tokens[WRITER], "POST", PUSH, (struct span){ blanks, n }, NULL);
	free(blanks);
	return w->answer.status;
}

/* An empty push, which the worker answers with 400. */
static int
push(struct world *w, const char *token, const char *path)
{
	return ask_as(w, token, "POST", path, span_of(""), NULL);
}

static int
get(struct world *w, const char *token, const char *path, const char *header)
{
	return ask_as(w, token, "GET", path, nothing, header);
}

/* Whether the last answer is one of nginx's own. */
static void
check_own(struct world *w, const char *why, int status, const char *code)
{
	char start_of_body[64];

	snprintf(start_of_body, sizeof(start_of_body), "{\"error\":{\"code\":\"%s\",", code);
	ck_assert_msg(w->answer.status == status, "%s: %d %s", why, w->answer.status,
	              w->answer.body.p);
	ck_assert_msg(web_is_json(&w->answer) &&
	              strncmp(w->answer.body.p, start_of_body, strlen(start_of_body)) == 0,
	              "%s: %s", why, w->answer.body.p);
	ck_assert_str_eq(web_header(&w->answer, "Content-Type"), "application/json");
	ck_assert_int_eq(web_header_count(&w->answer, "X-Request-Id"), 1);
	ck_assert(id_is(span_of(web_header(&w->answer, "X-Request-Id")), "", 32));
	ck_assert_str_eq(web_header(&w->answer, "Cache-Control"), "private, no-store");
	ck_assert_msg((status == 429 || status >= 502) && status != 505
	              ? atoi(web_header(&w->answer, "Retry-After")) > 0
	              : web_header_count(&w->answer, "Retry-After") == 0,
	              "%s: Retry-After \"%s\"", why, web_header(&w->answer, "Retry-After"));
}

static void
check_limited(struct world *w, const char *why)
{
	check_own(w, why, 429, "rate_limited");
	ck_assert_str_eq(web_header(&w->answer, "Retry-After"), "6");
}

/* A token that is none, but looks like one; another one for each number. */
static const char *
made_up(int n)
{
	static char token[128];

	snprintf(token, sizeof(token), "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ1In0."
	         "%022dAAAAAAAAAAAAAAAAAAAAA", n);
	return token;
}

static bool
file_has(const char *path, const char *text)
{
	struct buf b = { 0 };
	bool has;

	ck_assert_int_eq(fs_read(path, 1 << 24, &b, NULL), RC_OK);
	has = buf_cstr(&b) != NULL && strstr(b.p, text) != NULL;
	buf_free(&b);
	return has;
}

static bool
nginx_log_has(const struct world *w, const char *text)
{
	char path[PATH_MAX + 32];

	snprintf(path, sizeof(path), "%s/nginx-error.log", w->site.dir);
	return file_has(path, text);
}

/* --- rates --- */

static const struct {
	const char *why, *method, *path;
	bool by_token;
	int takes;
} routes[] = {
	{ "pushes", "POST", PUSH, true, 3 },
	{ "pulls", "GET", PULL, true, 4 },
	{ "other requests", "GET", STATUS, true, 5 },
	{ "logins", "POST", "/v1/auth/device/start", false, 2 },
	{ "polls", "POST", "/v1/auth/device/poll", false, 6 },
};

START_TEST(each_kind_of_request_has_a_limit_by_token_and_project)
{
	struct world w = start(FEW);
	char other[ID_MAX], path[128];

	ck_assert(!file_has(w.site.web_log, "[warn]"));
	site_project(&w.site, "Other", w.users[WRITER], other);
	for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
		const char *method = routes[i].method, *p = routes[i].path;

		for (int n = 0; n < routes[i].takes; n++)
			ck_assert_msg(ask(&w, WRITER, method, p, NULL, NULL) != 429, "%s: %d",
			              routes[i].why, n);
		ask(&w, WRITER, method, p, NULL, NULL);
		check_limited(&w, routes[i].why);
		ask(&w, READER, method, p, NULL, NULL);
		if (!routes[i].by_token) {
			check_limited(&w, routes[i].why);
			continue;
		}
		ck_assert_msg(w.answer.status != 429, "%s: another token", routes[i].why);
		snprintf(path, sizeof(path), "/v1/projects/%s%s", other,
		         p + strlen("/v1/projects/{p}"));
		ck_assert_msg(ask(&w, WRITER, method, path, NULL, NULL) != 429,
		              "%s: another project", routes[i].why);
	}
	ck_assert(nginx_log_has(&w, "[warn]") && nginx_log_has(&w, "zone \"td_sync_push\""));
	world_stop(&w);
}
END_TEST

START_TEST(no_spelling_of_the_path_escapes_the_limit)
{
	static const char *const spellings[] = {
		PUSH "?x=1", PUSH "#x", PUSH "?/sync/pull", "/v1/projects/{p}/sync/pus%68",
		"/v1/projects/{p}/sync%2fpush", "/v1/projects/{p}%2Fsync/push",
		"/%76%31/projects/{p}/sync/push", "/./v1/projects/{p}/sync/push",
		"/v1/projects/{p}/x/../sync/push", "/v1/%2e/projects/{p}/sync/push",
		"/v1/projects/{p}/sync/pull/%2e%2e/push",
		/* no path of the worker's: not taken for a push by either */
		"//v1/projects/{p}/sync/push", "/v1/projects/{p}//sync/push", PUSH "/",
		"/v1/projects/{p}/sync/push%0a", "/v1/projects/{p}/sync/PUSH",
		"/v1/projects/{p}/sync/push;x", "/v1/projects/{p}/sync/push%00",
		"/v1/projects/{p}%20/sync/push", "/v1/projects/{p}%0a/sync/push",
		"/v1/projects/{p}/sync/pus%2568",
	};
	struct world w = start(SLOW ZONE("push", "2"));
	char id[ID_MAX * 3 + 1] = "", path[256];
	struct buf body = { 0 };

	for (int n = 0; n < 3; n++)
		ck_assert_int_eq(push_some(&w, "d", 1 + n, 1), 200);
	ck_assert_int_eq(push_some(&w, "d", 9, 1), 429);
	push_large(&w);
	check_limited(&w, "a large one");
	ask(&w, WRITER, "TRACE", PUSH, NULL, NULL);
	check_limited(&w, "another method");
	make_push(&body, "e", 1, 1);
	for (size_t i = 0; i < sizeof(spellings) / sizeof(spellings[0]); i++) {
		ask_as(&w, w.tokens[WRITER], "POST", spellings[i], buf_span(&body), NULL);
		if (i < 11)
			check_limited(&w, spellings[i]);
		ck_assert_msg(strchr("347", w.answer.status / 100 + '0') != NULL, "%s: %d",
		              spellings[i], w.answer.status);
	}
	for (const char *c = w.project; *c != '\0'; c++)
		snprintf(id + strlen(id), 4, "%%%02x", *c);
	snprintf(path, sizeof(path), "/v1/projects/%s/sync/push", id);
	ask_as(&w, w.tokens[WRITER], "POST", path, buf_span(&body), NULL);
	check_limited(&w, path);
	ck_assert_int_eq(log_count(&w), 3);
	buf_free(&body);
	world_stop(&w);
}
END_TEST

START_TEST(what_is_no_token_is_counted_by_its_address)
{
	/* Each looks a little like one; none is of the form of ours. */
	static const char *const before[] = { "", "a.b.", "td_live_", "x " };
	static const char after[] = "=.+/% ";
	struct world w = start(SLOW ZONE("pull", "29"));
	char token[6000], path[128];
	int n = 0;

	/* That many, and each time another project: */
	for (; n < 30; n++) {
		snprintf(path, sizeof(path), "/v1/projects/p_%016d/sync/pull", n);
		if (n % 2 == 0)
			snprintf(token, sizeof(token), "%s%d", before[n / 2 % 4], n);
		else
			snprintf(token, sizeof(token), "%s%c%d", w.tokens[READER], after[n / 2 % 6], n);
		ck_assert_int_eq(get(&w, n > 0 ? token : NULL, path, NULL), 401);
	}
	get(&w, "31st", path, NULL);
	check_limited(&w, "rubbish");
	get(&w, NULL, PULL, NULL);
	check_limited(&w, "no token");
	get(&w, NULL, PULL, "Authorization: Basic YTpi");
	check_limited(&w, "another scheme");
	ck_assert_int_eq(get(&w, NULL, PULL, "Authorization:\tBearer\t1"), 429);
	/* Who has a token doesn't suffer for that. */
	ck_assert_int_eq(ask(&w, READER, "GET", PULL, NULL, NULL), 200);
	/* An opaque key counts for itself. */
	ck_assert_int_eq(get(&w, "td_live_EXAMPLElimited000000000000000001", PULL, NULL), 401);
	world_stop(&w);
}
END_TEST

START_TEST(tokens_that_are_made_up_are_limited_by_address)
{
	struct world w = start(SLOW ZONE("address", "19"));
	int n = 1; /* world_start() made one request */

	for (; n < 20; n++)
		ck_assert_int_eq(get(&w, made_up(n), PULL, NULL), 401);
	get(&w, made_up(n), PULL, NULL);
	check_limited(&w, "the 21st made up token");
	world_stop(&w);
}
END_TEST

START_TEST(two_tokens_at_once_are_refused)
{
	struct world w = start(NULL);
	char second[6000];

	snprintf(second, sizeof(second), "Authorization: Bearer %s", made_up(1));
	get(&w, w.tokens[READER], PULL, second);
	check_own(&w, "two tokens", 400, "bad_request");
	world_stop(&w);
}
END_TEST

/* --- the shipped figures --- */

#define AT_ONCE 30

static void *
push_alone(void *ctx)
{
	struct world *w = ctx, mine = *w;

	memset(&mine.answer, 0, sizeof(mine.answer));
	if (push(&mine, w->tokens[WRITER], PUSH) == 429)
		__atomic_add_fetch(&w->answer.status, 1, __ATOMIC_RELAXED);
	web_free(&mine.answer);
	return NULL;
}

/* Push as that many at once; how many are refused. */
static int
push_at_once(struct world *w)
{
	pthread_t threads[AT_ONCE];

	w->answer.status = 0;
	for (size_t i = 0; i < AT_ONCE; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, push_alone, w), 0);
	for (size_t i = 0; i < AT_ONCE; i++)
		pthread_join(threads[i], NULL);
	return w->answer.status;
}

/* A stock td shows a 429 and gives up: one that pushes alone never gets it, nor
 * do thirty that share a token. */
START_TEST(a_first_sync_is_served_at_once_and_then_slowed)
{
	struct world w = start(NULL);
	int64_t began = clock_mono_ms();
	int n, refused;

	ck_assert_int_eq(push_some(&w, "d", 1, 500), 200);
	ck_assert_int_eq(push_at_once(&w), 0);
	for (n = 0; n < 120; n++)
		ck_assert_int_eq(ask(&w, WRITER, "GET", PULL "?limit=1", NULL, NULL), 200);
	for (n = 1 + AT_ONCE; n < 299; n++)
		ck_assert_int_eq(push(&w, w.tokens[WRITER], PUSH), 400);
	for (n = 1; n <= 11; n++)
		ck_assert_int_eq(push_some(&w, "e", n, 1), 200);
	/* 310 at 5 a second, but for the first 300 */
	ck_assert_int_ge(clock_mono_ms() - began, 1500);
	/* More than ten that wait are too many. */
	refused = push_at_once(&w);
	ck_assert_msg(refused > 0 && refused <= AT_ONCE - 10, "%d refused", refused);
	ck_assert_int_eq(log_count(&w), 511);
	world_stop(&w);
}
END_TEST

/* --- addresses --- */

/* A login from an address that a proxy tells. */
static int
login_from(struct world *w, const char *told)
{
	char header[256];

	snprintf(header, sizeof(header), "X-Forwarded-For: %s", told);
	return ask_as(w, NULL, "POST", "/v1/auth/device/start", span_of("{}"), header);
}

START_TEST(a_forged_address_is_not_believed)
{
	struct world w = start(FEW);

	ck_assert_int_ne(login_from(&w, "203.0.113.7"), 429);
	ck_assert_int_ne(login_from(&w, "203.0.113.8"), 429);
	ck_assert_int_eq(login_from(&w, "203.0.113.9"), 429);
	ck_assert(file_has(w.site.access_log, "\"address\":\"127.0.0.1\""));
	ck_assert(!file_has(w.site.access_log, "203.0.113."));
	world_stop(&w);
}
END_TEST

START_TEST(a_trusted_proxy_tells_who_is_limited)
{
	struct world w = start(FEW "s/#set_real_ip_from .*/set_real_ip_from 127.0.0.1;/");

	ck_assert_int_ne(login_from(&w, "203.0.113.7"), 429);
	ck_assert_int_ne(login_from(&w, "198.51.100.1, 203.0.113.7"), 429);
	ck_assert_int_eq(login_from(&w, "198.51.100.2, 203.0.113.7"), 429);
	ck_assert_int_ne(login_from(&w, "203.0.113.8"), 429);
	ck_assert_int_ne(login_from(&w, "203.0.113.8, 127.0.0.1"), 429);
	ck_assert_int_eq(login_from(&w, "203.0.113.8, 127.0.0.1"), 429);
	ck_assert(file_has(w.site.access_log, "\"address\":\"203.0.113.7\""));
	/* Of IPv6 the network counts, however it is written. */
	ck_assert_int_ne(login_from(&w, "2001:db8:1:2:3:4:5:6"), 429);
	ck_assert_int_ne(login_from(&w, "2001:db8:1:2::7"), 429);
	ck_assert_int_eq(login_from(&w, "2001:DB8:1:2:f::8"), 429);
	ck_assert_int_ne(login_from(&w, "2001:db8:1:3::8"), 429);
	ck_assert_int_ne(login_from(&w, "2001:db8::8"), 429);
	ck_assert_int_ne(login_from(&w, "2001:db8::9"), 429);
	ck_assert_int_eq(login_from(&w, "2001:db8::8:9"), 429);
	ck_assert_int_ne(login_from(&w, "2001:db9::8"), 429);
	world_stop(&w);
}
END_TEST

/* --- bytes on a socket --- */

static int
dial(const struct world *w, int rcvbuf)
{
	struct sockaddr_in to = { .sin_family = AF_INET };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	to.sin_port = htons((uint16_t)atoi(strrchr(w->site.url, ':') + 1));
	if (rcvbuf > 0)
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &rcvbuf, sizeof(rcvbuf));
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	return fd;
}

static bool
say(int fd, const char *text)
{
	return send(fd, text, strlen(text), MSG_NOSIGNAL) == (ssize_t)strlen(text);
}

/* What comes until the other side closes; w->answer has its header and body. */
static void
hear(struct world *w, int fd)
{
	struct web_answer *a = &w->answer;
	struct buf all = { 0 };
	char chunk[65536];
	const char *end;
	ssize_t n;

	while ((n = recv(fd, chunk, sizeof(chunk), 0)) > 0)
		buf_add(&all, chunk, (size_t)n);
	close(fd);
	buf_reset(&a->headers);
	buf_reset(&a->body);
	end = buf_cstr(&all) != NULL ? strstr(all.p, "\r\n\r\n") : NULL;
	a->status = end != NULL ? atoi(all.p + strlen("HTTP/1.1 ")) : 0;
	if (end != NULL) {
		buf_add(&a->headers, all.p, (size_t)(end + 2 - all.p));
		buf_add(&a->body, end + 4, all.len - (size_t)(end + 4 - all.p));
	}
	buf_cstr(&a->headers);
	buf_cstr(&a->body);
	buf_free(&all);
}

static const struct {
	const char *why, *request;
	int status;
	const char *code;
} strange[] = {
	{ "TRACE", "TRACE /healthz HTTP/1.1\r\nHost: a\r\n", 405, "method_not_allowed" },
	{ "CONNECT", "CONNECT a:80 HTTP/1.1\r\nHost: a\r\n", 400, "bad_request" },
	{ "CONNECT to a path", "CONNECT / HTTP/1.1\r\nHost: a\r\n", 404, "not_found" },
	{ "a method in small letters", "get / HTTP/1.1\r\nHost: a\r\n", 400, "bad_request" },
	{ "no HTTP at all", "HELLO\r\n", 400, "bad_request" },
	{ "HTTP/9.9", "GET / HTTP/9.9\r\nHost: a\r\n", 505, "bad_request" },
	{ "HTTP/2 without TLS", "PRI * HTTP/2.0\r\n\r\nSM\r\n", 400, "bad_request" },
	{ "no Host", "GET / HTTP/1.1\r\n", 400, "bad_request" },
	{ "no path", "OPTIONS * HTTP/1.1\r\nHost: a\r\n", 400, "bad_request" },
	{ "a compressed body", "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n",
	  501, "not_implemented" },
	{ "an encoding nobody knows", "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: x\r\n",
	  501, "not_implemented" },
	{ "chunks with a length",
	  "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n",
	  400, "bad_request" },
	{ "two lengths", "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n",
	  400, "bad_request" },
	{ "a negative length", "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n",
	  400, "bad_request" },
	{ "a chunk that is none",
	  "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
	  400, "bad_request" },
	{ "a bad escape", "GET /%zz HTTP/1.1\r\nHost: a\r\n", 400, "bad_request" },
	{ "nginx's own place", "GET /.td-sync/error HTTP/1.1\r\nHost: a\r\n", 404, "not_found" },
	{ "another one", "GET /.td-sync/502 HTTP/1.1\r\nHost: a\r\n", 404, "not_found" },
};

START_TEST(strange_requests_get_the_documented_answer)
{
	struct world w = start(NULL);

	for (size_t i = 0; i < sizeof(strange) / sizeof(strange[0]); i++) {
		int fd = dial(&w, 0);

		ck_assert(say(fd, strange[i].request) && say(fd, "Connection: close\r\n\r\n"));
		if (strange[i].status == 400)
			shutdown(fd, SHUT_WR);
		hear(&w, fd);
		check_own(&w, strange[i].why, strange[i].status, strange[i].code);
		ck_assert_str_eq(web_header(&w.answer, "Allow"),
		                 strange[i].status == 405 ? "GET, HEAD" : "");
	}
	world_stop(&w);
}
END_TEST

/* --- slow ones --- */

#define TWO_SECONDS "s/_timeout [0-9]*s/_timeout 2s/;"
#define FROM 1000 /* nginx may have begun to count before us */

/* Send a byte each 100 ms until the other side has enough; for how long. */
static int64_t
drip(int fd, int64_t give_up_ms)
{
	int64_t began = clock_mono_ms();
	char c;

	while (clock_mono_ms() - began < give_up_ms && say(fd, "x") &&
	       recv(fd, &c, 1, MSG_DONTWAIT) < 0 && (errno == EAGAIN || errno == EINTR))
		usleep(100000);
	return clock_mono_ms() - began;
}

static void
check_within(int64_t ms, int64_t from, int64_t to)
{
	ck_assert_msg(ms >= from && ms <= to, "%lld ms", (long long)ms);
}

START_TEST(slow_clients_are_let_go)
{
	struct world w = start(TWO_SECONDS);
	char head[512];
	int64_t began;
	int fd;

	/* A header that drips has two seconds in all. */
	fd = dial(&w, 0);
	say(fd, "GET /healthz HTTP/1.1\r\nX: ");
	check_within(drip(fd, 2 * SOON_MS), FROM, SOON_MS);
	close(fd);
	/* Nothing at all. */
	fd = dial(&w, 0);
	began = clock_mono_ms();
	hear(&w, fd);
	check_within(clock_mono_ms() - began, FROM, SOON_MS);
	/* A body that stops: closed, and no push. One that drips goes on. */
	snprintf(head, sizeof(head), "POST /v1/projects/%s/sync/push HTTP/1.1\r\nHost: a\r\n"
	         "Content-Length: 1000\r\n\r\n{", w.project);
	fd = dial(&w, 0);
	say(fd, head);
	check_within(drip(fd, 5000), 5000, SOON_MS);
	began = clock_mono_ms();
	hear(&w, fd);
	ck_assert_int_eq(w.answer.status, 0);
	check_within(clock_mono_ms() - began, FROM, SOON_MS);
	/* A connection that is kept, without a further request. */
	fd = dial(&w, 0);
	say(fd, "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
	began = clock_mono_ms();
	hear(&w, fd);
	ck_assert_int_eq(w.answer.status, 200);
	check_within(clock_mono_ms() - began, FROM, SOON_MS);
	ck_assert_int_eq(log_count(&w), 0);
	world_stop(&w);
}
END_TEST

/* A page of 4 MB that nobody reads: its connection ends before it is out. */
START_TEST(a_reader_that_stops_is_let_go)
{
	struct world w = start(TWO_SECONDS);
	struct pollfd gone = { .events = 0 };
	struct buf body = { 0 };
	char head[6000];
	int fd;

	for (int n = 1; n <= 8; n++) {
		buf_reset(&body);
		buf_addf(&body, "{\"device_id\":\"d\",\"session_id\":\"s\",\"events\":[{"
		         "\"client_action_id\":%d,\"action_type\":\"create\",\"entity_type\":\"issues\","
		         "\"entity_id\":\"td-%d\",\"client_timestamp\":\"2026-03-01T10:00:00Z\","
		         "\"payload\":{\"new_data\":{\"title\":\"", n, n);
		while (body.len < 500000)
			buf_add_byte(&body, 'x');
		buf_add_str(&body, "\"}}}]}");
		ck_assert_int_eq(ask_as(&w, w.tokens[WRITER], "POST", PUSH, buf_span(&body), NULL),
		                 200);
	}
	snprintf(head, sizeof(head), "GET /v1/projects/%s/sync/pull HTTP/1.1\r\nHost: a\r\n"
	         "Authorization: Bearer %s\r\nConnection: close\r\n\r\n", w.project,
	         w.tokens[READER]);
	fd = dial(&w, 0);
	say(fd, head);
	hear(&w, fd);
	ck_assert_int_eq(w.answer.status, 200);
	ck_assert_uint_gt(w.answer.body.len, 3500000);
	fd = dial(&w, 4096);
	say(fd, head);
	gone.fd = fd;
	ck_assert_int_eq(poll(&gone, 1, SOON_MS), 1);
	hear(&w, fd);
	ck_assert_uint_lt(w.answer.body.len, 3500000);
	buf_free(&body);
	world_stop(&w);
}
END_TEST

/* A request whose body stays away. One that went before may still be counted
 * when its answer is here already: refused, it is made once more. */
static int hold(struct world *w)
{
	struct pollfd answer = { .events = POLLIN };
	char head[256];

	snprintf(head, sizeof(head), "POST /v1/projects/%s/sync/push HTTP/1.1\r\nHost: a\r\n"
	         "Content-Length: 10\r\n\r\n", w->project);
	for (int i = 0; i < 100; i++) {
		say(answer.fd = dial(w, 0), head);
		if (poll(&answer, 1, 200) == 0)
			return answer.fd;
		close(answer.fd);
	}
	ck_abort_msg("a request was never held");
}

/* Until nginx has heard of what was begun or ended before. */
static void ask_until(struct world *w, int status)
{
	for (int i = 0; i < 1000 && ask(w, READER, "GET", STATUS, NULL, NULL) != status; i++)
		usleep(20000);
	ck_assert_int_eq(w->answer.status, status);
}

START_TEST(an_address_has_so_many_requests_at_once)
{
	struct world w = start("s/limit_conn td_sync_connections .*/limit_conn td_sync_connections 2;/");
	int fds[2];

	for (size_t i = 0; i < 2; i++) {
		ask_until(&w, 200);
		fds[i] = hold(&w);
	}
	ask_until(&w, 429);
	check_limited(&w, "the third");
	close(fds[0]);
	ask_until(&w, 200);
	close(fds[1]);
	world_stop(&w);
}
END_TEST

/* --- large ones --- */

START_TEST(a_body_may_be_as_large_as_its_route_takes)
{
	static const struct {
		const char *path;
		size_t limit;
		const char *worker_says; /* of a body that nginx lets through */
	} rows[] = {
		{ PUSH, 65 << 20, "larger than the 67108864 bytes" },
		{ "/v1/projects", 1 << 20, "larger than the 65536 bytes" },
	};
	struct world w = start(NULL);

	for (size_t i = 0; i < 2; i++) {
		char *bytes = malloc(rows[i].limit + 1);

		ck_assert_ptr_nonnull(bytes);
		memset(bytes, ' ', rows[i].limit + 1);
		ask_as(&w, w.tokens[WRITER], "POST", rows[i].path,
		       (struct span){ bytes, rows[i].limit }, NULL);
		ck_assert_int_eq(w.answer.status, 413);
		ck_assert_ptr_nonnull(strstr(w.answer.body.p, rows[i].worker_says));
		ask_as(&w, w.tokens[WRITER], "POST", rows[i].path,
		       (struct span){ bytes, rows[i].limit + 1 }, NULL);
		check_own(&w, "a byte more", 413, "too_large");
		ask_as(&w, w.tokens[WRITER], "POST", rows[i].path,
		       (struct span){ bytes, rows[i].limit + 1 }, "Transfer-Encoding: chunked");
		check_own(&w, "a byte more, in chunks", 413, "too_large");
		free(bytes);
	}
	world_stop(&w);
}
END_TEST

/* --- no answer --- */

static void *
push_blocked(void *ctx)
{
	push_some(ctx, "d", 1, 1);
	return NULL;
}

START_TEST(dead_missing_and_stuck_workers_are_told_apart)
{
	static const char *const arguments[] = { "--workers", "1", "--max-workers", "1", NULL };
	struct site_options options = { .kind = SITE_FASTCGI, .limits = true,
	    .arguments = arguments, .nginx_edits = "s/\\(fastcgi_[a-z]*_timeout\\) .*/\\1 1s;/" };
	char path[PATH_MAX + 128];
	struct lock *lock;
	pthread_t thread;
	struct world w;
	pid_t pid;

	world_start(&w, &options);
	/* Stuck: it never answers. */
	ck_assert_uint_eq(site_workers(&w.site, &pid, 1), 1);
	kill(pid, SIGSTOP);
	ask(&w, WRITER, "GET", STATUS, NULL, NULL);
	check_own(&w, "a stuck worker", 504, "timeout");
	push_large(&w);
	check_own(&w, "a stuck worker and a large body", 504, "timeout");
	kill(pid, SIGCONT);
	ck_assert_int_eq(log_count(&w), 0);
	/* Killed while it serves. */
	snprintf(path, sizeof(path), "%s/projects/%s/" EVENTS_LOCK, w.site.data, w.project);
	ck_assert_int_eq(lock_open(path, &lock, NULL), RC_OK);
	ck_assert_int_eq(lock_take(lock, clock_mono_ms() + 1000), RC_OK);
	ck_assert_int_eq(pthread_create(&thread, NULL, push_blocked, &w), 0);
	usleep(300000);
	kill(pid, SIGKILL);
	pthread_join(thread, NULL);
	check_own(&w, "a killed worker", 502, "bad_gateway");
	lock_close(lock);
	ck_assert_int_eq(push_some(&w, "d", 1, 1), 200);
	ck_assert_int_eq(log_count(&w), 1);
	/* None. */
	kill(w.site.pool, SIGTERM);
	waitpid(w.site.pool, NULL, 0);
	w.site.pool = 0;
	ask(&w, WRITER, "GET", STATUS, NULL, NULL);
	check_own(&w, "no workers", 503, "unavailable");
	push_large(&w);
	check_own(&w, "no workers and a large body", 503, "unavailable");
	ask(&w, WRITER, "TRACE", STATUS, NULL, NULL);
	check_own(&w, "no workers and another method", 503, "unavailable");
	ck_assert(site_start_pool(&w.site, &options));
	ck_assert_int_eq(log_count(&w), 1);
	world_stop(&w);
}
END_TEST

/* --- below a path --- */

START_TEST(below_a_path_all_of_it_works)
{
	struct site_options options = { .kind = SITE_FASTCGI, .limits = true, .below = "/sync",
	    .nginx_edits = SLOW ZONE("push", "3") ZONE("other", "9") ZONE("address", "60") };
	struct buf large = { 0 };
	struct world w;

	world_start(&w, &options);
	ck_assert(!file_has(w.site.web_log, "[warn]"));
	ck_assert_int_eq(push_some(&w, "d", 1, 3), 200);
	ck_assert_int_eq(push_some(&w, "d", 4, 3), 200);
	ck_assert_int_eq(ask(&w, READER, "GET", PULL "?after_server_seq=4", NULL, NULL), 200);
	ck_assert_int_eq(answer_number(&w, "last_server_seq"), 6);
	ck_assert_int_eq(web_header_count(&w.answer, "X-Request-Id"), 1);
	ck_assert_int_eq(log_count(&w), 6);
	ask(&w, READER, "GET", "//v1/projects", NULL, NULL);
	ck_assert_int_eq(w.answer.status, 307);
	ck_assert_str_eq(strstr(web_header(&w.answer, "Location"), "/sync"), "/sync/v1/projects");
	/* Sizes, */
	while (large.len <= 1 << 20)
		buf_add_byte(&large, ' ');
	ask_as(&w, w.tokens[WRITER], "POST", "/v1/projects", buf_span(&large), NULL);
	check_own(&w, "1 MiB and a byte", 413, "too_large");
	ck_assert_int_eq(ask_as(&w, w.tokens[WRITER], "POST", PUSH, buf_span(&large), NULL), 400);
	/* rates, */
	ck_assert_int_eq(push_some(&w, "d", 7, 1), 200);
	ck_assert_int_eq(push_some(&w, "d", 8, 1), 429);
	check_limited(&w, "pushes");
	ck_assert_int_eq(push(&w, w.tokens[WRITER], "/v1/projects/{p}/sync/pus%68"), 429);
	/* nginx's own answers, but for TRACE: that is judged before any path is. */
	kill(w.site.pool, SIGTERM);
	waitpid(w.site.pool, NULL, 0);
	w.site.pool = 0;
	ask(&w, READER, "GET", PULL, NULL, NULL);
	check_own(&w, "no workers", 503, "unavailable");
	/* The rest of that server is nobody's business: it isn't counted. */
	*strrchr(w.site.url, '/') = '\0';
	for (int n = 0; n < 70; n++)
		ck_assert_int_eq(get(&w, NULL, "/own", NULL), 200);
	ck_assert_str_eq(w.answer.body.p, "own");
	buf_free(&large);
	world_stop(&w);
}
END_TEST

TCase *
limits_case(void)
{
	TCase *tc = tcase_create("limits");

	tcase_set_timeout(tc, 120);
	if (!http_can_run(SITE_FASTCGI))
		return tc;
	tcase_add_test(tc, each_kind_of_request_has_a_limit_by_token_and_project);
	tcase_add_test(tc, no_spelling_of_the_path_escapes_the_limit);
	tcase_add_test(tc, what_is_no_token_is_counted_by_its_address);
	tcase_add_test(tc, tokens_that_are_made_up_are_limited_by_address);
	tcase_add_test(tc, two_tokens_at_once_are_refused);
	tcase_add_test(tc, a_first_sync_is_served_at_once_and_then_slowed);
	tcase_add_test(tc, a_forged_address_is_not_believed);
	tcase_add_test(tc, a_trusted_proxy_tells_who_is_limited);
	tcase_add_test(tc, strange_requests_get_the_documented_answer);
	tcase_add_test(tc, slow_clients_are_let_go);
	tcase_add_test(tc, a_reader_that_stops_is_let_go);
	tcase_add_test(tc, an_address_has_so_many_requests_at_once);
	tcase_add_test(tc, a_body_may_be_as_large_as_its_route_takes);
	tcase_add_test(tc, dead_missing_and_stuck_workers_are_told_apart);
	tcase_add_test(tc, below_a_path_all_of_it_works);
	return tc;
}
