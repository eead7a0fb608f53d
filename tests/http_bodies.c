/*
 * Large and slow bodies: what they cost a worker in memory, how few of them
 * there may be, and that nobody waits for a client that dallies.
 */
#include "http_test.h"

#include "fcgi_client.h"
#include "patience.h"
#include "raw.h"

#include "base/clock.h"
#include "http/places.h"
#include "http/request.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define PUSH "/v1/projects/{p}/sync/push"
#define PULL "/v1/projects/{p}/sync/pull"

/* --- memory --- */

#define MB (1L << 20)
#define ROOM (8 * MB) /* what a worker may need beside a body */

/* A number of /proc/PID/status, in bytes. */
static long
memory_of(pid_t pid, const char *what)
{
	char path[64], line[256];
	long kb = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	f = fopen(path, "r");
	while (f != NULL && fgets(line, sizeof(line), f) != NULL)
		if (strncmp(line, what, strlen(what)) == 0)
			kb = atol(line + strlen(what) + 1);
	if (f != NULL)
		fclose(f);
	ck_assert_int_gt(kb, 0);
	return kb * 1024;
}

/* The peak is measured from now on. */
static void
forget_peak(pid_t pid)
{
	char path[64];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/clear_refs", (int)pid);
	f = fopen(path, "w");
	ck_assert_ptr_nonnull(f);
	fputs("5\n", f);
	ck_assert_int_eq(fclose(f), 0);
}

/* How the events of a body are filled. */
enum filling { PLAIN, LOCAL, NO_ID, DEEP, ESCAPED };

static void
fill_value(struct buf *out, enum filling how, size_t bytes)
{
	static const char *const units[] = {
		[PLAIN] = "plain text, ", [LOCAL] = "plain text, ", [NO_ID] = "plain text, ",
		[ESCAPED] = "\\u0041\\n\\/",
		[DEEP] = "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["
		         "]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]],",	};
	size_t unit = strlen(units[how]), end = out->len + bytes;

	buf_reserve(out, bytes + 256);
	buf_add_byte(out, how == DEEP ? '[' : '"');
	while (out->len + unit < end)
		buf_add(out, units[how], unit);
	buf_add_str(out, how == DEEP ? "0]" : "\"");
}

static void
make_events(struct buf *out, const char *device, enum filling how, int n, size_t bytes)
{
	buf_addf(out, "{\"device_id\":\"%s\",\"session_id\":\"s\",\"events\":[", device);
	for (int i = 1; i <= n; i++) {
		buf_addf(out, "%s{\"client_action_id\":%d,\"action_type\":\"create\","
		         "\"entity_type\":\"%s\",\"entity_id\":\"%s\","
		         "\"client_timestamp\":\"2026-03-01T10:00:00Z\",\"payload\":{\"new_data\":"
		         "{\"id\":\"x\",%s\"%s\":", i > 1 ? "," : "", i,
		         how == LOCAL ? "work_sessions" : "issues", how == NO_ID ? "" : "x",
		         how == LOCAL ? "\"worktree_id\":\"w\"," : "",
		         how == LOCAL ? "name" : "title");
		fill_value(out, how, bytes);
		buf_add_str(out, "}}}");
	}
	buf_add_str(out, "]}");
}

static const struct {
	const char *why;
	enum filling how;
	int n;
	size_t bytes;  /* of each */
	int status;
} shapes[] = {
	{ "1,000 small events", PLAIN, 1000, 300, 200 },
	{ "500 events of 120 kB", PLAIN, 500, 120000, 200 },
	{ "500 events of 120 kB, rejected", NO_ID, 500, 120000, 200 },
	{ "6 events of 900 kB", PLAIN, 6, 900000, 200 },
	{ "500 events of 120 kB, local fields cut", LOCAL, 500, 120000, 200 },
	{ "1,001 events of 60 kB, refused", PLAIN, 1001, 60000, 400 },
	{ "one event of 60 MiB", PLAIN, 1, 60 * MB, 200 },
	{ "one event of 60 MiB, local fields cut", LOCAL, 1, 60 * MB, 200 },
	{ "one event of 60 MiB, nested deeply", DEEP, 1, 60 * MB, 200 },
	{ "one event of 60 MiB, full of escapes", ESCAPED, 1, 60 * MB, 200 },
};

/* The one worker of a pool, at rest. */
static pid_t
the_worker(struct world *w)
{
	pid_t pid;

	ck_assert_int_ge(log_count(w), 0);
	ck_assert_uint_eq(site_workers(&w->site, &pid, 1), 1);
	return pid;
}

/* Make a call of the only worker, and see what it needed for it. Under a
 * sanitizer memory says nothing, and 0 is told; all else is tested there, too. */
static long
measured(struct world *w, const char *why, const char *method, const char *path,
         struct span body, int status)
{
	pid_t pid = the_worker(w);
	long rest = memory_of(pid, "VmRSS:"), peak;
	int got;

	if (!SANITIZED)
		forget_peak(pid);
	got = ask_as(w, w->tokens[WRITER], method, path, body, NULL);
	ck_assert_msg(got == status, "%s: %d %.300s", why, got, w->answer.body.p);
	web_free(&w->answer);
	ck_assert_int_eq(the_worker(w), pid);
	if (SANITIZED)
		return 0;
	peak = memory_of(pid, "VmHWM:");
	ck_assert_msg(memory_of(pid, "VmRSS:") < 16 * MB, "%s: it kept %ld MB", why,
	              memory_of(pid, "VmRSS:") / MB);
	return peak - rest;
}

static const char *const one_worker[] = { "--workers", "1", "--max-workers", "1", NULL };

START_TEST(a_push_needs_the_memory_of_its_body_and_8_mb)
{
	struct site_options options = { .kind = SITE_FASTCGI, .arguments = one_worker };
	struct world w;

	world_start(&w, &options);
	for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
		struct buf body = { 0 };
		char device[16];
		long needed;

		snprintf(device, sizeof(device), "d%zu", i);
		make_events(&body, device, shapes[i].how, shapes[i].n, shapes[i].bytes);
		ck_assert(!body.failed);
		needed = measured(&w, shapes[i].why, "POST", PUSH, buf_span(&body),
		                  shapes[i].status);
		ck_assert_msg(needed <= (long)body.len + ROOM, "%s: %ld MB for %zu", shapes[i].why,
		              needed / MB, body.len / MB);
		buf_free(&body);
	}
	world_stop(&w);
}
END_TEST

/* A page is 4 MB, or one larger event: in SQLite's hands and in the answer. */
START_TEST(a_pull_needs_the_memory_of_two_pages_and_8_mb)
{
	struct site_options options = { .kind = SITE_FASTCGI, .arguments = one_worker };
	struct buf body = { 0 };
	struct world w;

	world_start(&w, &options);
	make_events(&body, "d", PLAIN, 1, 40 * MB);
	ck_assert_int_eq(ask_as(&w, w.tokens[WRITER], "POST", PUSH, buf_span(&body), NULL), 200);
	buf_free(&body);
	make_events(&body, "e", PLAIN, 500, 20000);
	ck_assert_int_eq(ask_as(&w, w.tokens[WRITER], "POST", PUSH, buf_span(&body), NULL), 200);
	ck_assert_int_le(measured(&w, "one event of 40 MiB", "GET", PULL,
	                          (struct span){ NULL, 0 }, 200), 2 * 40 * MB + ROOM);
	ck_assert_int_le(measured(&w, "events of 20 kB", "GET", PULL "?after_server_seq=1",
	                          (struct span){ NULL, 0 }, 200), 2 * 4 * MB + ROOM);
	buf_free(&body);
	world_stop(&w);
}
END_TEST

/* --- few at a time --- */

/* How many of the places for large bodies are taken. */
static int
large_taken(const struct world *w)
{
	char path[PATH_MAX + 32];
	int fd, taken = 0;

	snprintf(path, sizeof(path), "%s/" LARGE_FILE, w->site.data);
	fd = open(path, O_RDWR | O_CLOEXEC);
	for (int i = 0; fd >= 0 && i < 16; i++) {
		struct flock place = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = i,
		                       .l_len = 1 };

		taken += fcntl(fd, F_OFD_GETLK, &place) == 0 && place.l_type != F_UNLCK;
	}
	if (fd >= 0)
		close(fd);
	return taken;
}

static bool
wait_for_large(const struct world *w, int n)
{
	for (int i = 0; i < 1000 && large_taken(w) != n; i++)
		usleep(10000);
	return large_taken(w) == n;
}

/* The parameters of a push of so many bytes, -1: as they come. */
struct push_params {
	char path[128], authorization[5000], length[24];
	const char *list[14];
};

static const char *const *
push_params(struct push_params *p, const struct world *w, long length)
{
	const char *const list[] = {
		"REQUEST_METHOD", "POST", "PATH_INFO", p->path,
		"HTTP_AUTHORIZATION", p->authorization,
		length < 0 ? "HTTP_TRANSFER_ENCODING" : "CONTENT_LENGTH",
		length < 0 ? "chunked" : p->length, NULL,
	};

	snprintf(p->path, sizeof(p->path), "/v1/projects/%s/sync/push", w->project);
	snprintf(p->authorization, sizeof(p->authorization), "Bearer %s", w->tokens[WRITER]);
	snprintf(p->length, sizeof(p->length), "%ld", length);
	memcpy(p->list, list, sizeof(list));
	return p->list;
}

#define LARGE_PLACES 2

/* A small push is answered as if nothing else were going on. */
static void
push_small(struct world *w, int number)
{
	int64_t start = clock_mono_ms();

	ck_assert_int_eq(push_some(w, "small", number, 2), 200);
	ck_assert_int_lt(clock_mono_ms() - start, SOON_MS);
}

static void
push_large(struct world *w, struct span body, int status)
{
	ck_assert_int_eq(ask_as(w, w->tokens[WRITER], "POST", PUSH, body, NULL), status);
	if (status != 503)
		return;
	ck_assert_str_eq(web_header(&w->answer, "Retry-After"), "5");
	ck_assert_ptr_nonnull(strstr(w->answer.body.p, "only a few large requests at a time"));
}

/* Begin a large push of which only a part comes. */
static void
begin_large(struct raw *r, const struct world *w, struct span body, bool chunked)
{
	struct push_params p;

	ck_assert(raw_begin(r, &w->site, push_params(&p, w, chunked ? -1 : (long)body.len)));
	ck_assert(raw_body(r, (struct span){ body.p, LARGE_BODY + 100000 }));
}

static void
few_large_bodies(enum site_kind kind)
{
	struct site_options options = { .kind = kind, .config = "max_large_bodies = 2\n" };
	struct raw slow[LARGE_PLACES];
	struct buf body = { 0 }, answer = { 0 };
	struct world w;

	world_start(&w, &options);
	make_events(&body, "large", PLAIN, 500, 9000);
	ck_assert_uint_gt(body.len, LARGE_BODY + 200000);
	/* They arrive slowly, one of them with no length announced. */
	for (int i = 0; i < LARGE_PLACES; i++)
		begin_large(&slow[i], &w, buf_span(&body), i == 1);
	ck_assert(wait_for_large(&w, LARGE_PLACES));
	push_small(&w, 1);
	push_large(&w, buf_span(&body), 503);
	/* One is killed, one hangs up: the places are free again. */
	if (kind == SITE_CGI) {
		kill(slow[0].pid, SIGKILL);
	} else {
		pid_t pids[16];
		size_t n = site_workers(&w.site, pids, 16);

		for (size_t i = 0; i < n && i < 16; i++)
			kill(pids[i], SIGKILL);
	}
	raw_close(&slow[1]);
	ck_assert(wait_for_large(&w, 0));
	raw_close(&slow[0]);
	push_large(&w, buf_span(&body), 200);
	ck_assert(wait_for_large(&w, 0));
	/* Those that get one are served in the end, and give it back. */
	begin_large(&slow[0], &w, buf_span(&body), false);
	ck_assert(wait_for_large(&w, 1));
	push_small(&w, 3);
	push_large(&w, buf_span(&body), 200);
	ck_assert(raw_body(&slow[0], (struct span){ body.p + LARGE_BODY + 100000,
	                                            body.len - LARGE_BODY - 100000 }));
	ck_assert(raw_end(&slow[0]) && raw_receive(&slow[0], &answer));
	ck_assert_ptr_nonnull(strstr(answer.p, "Status: 200 "));
	ck_assert(wait_for_large(&w, 0));
	ck_assert_int_eq(log_count(&w), 504);
	buf_free(&body);
	buf_free(&answer);
	world_stop(&w);
}

/* Who gets no place for a large event has not read it. */
START_TEST(large_events_are_few_at_a_time_in_pulls_too)
{
	struct site_options options = { .kind = SITE_FASTCGI, .arguments = one_worker };
	struct flock all = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	char path[PATH_MAX + sizeof(LARGE_FILE)];
	struct buf body = { 0 };
	struct world w;
	int fd;

	world_start(&w, &options);
	make_events(&body, "d", PLAIN, 1, 30 * MB);
	ck_assert_int_eq(ask_as(&w, w.tokens[WRITER], "POST", PUSH, buf_span(&body), NULL), 200);
	snprintf(path, sizeof(path), "%s/" LARGE_FILE, w.site.data);
	ck_assert_int_ge(fd = open(path, O_RDWR | O_CLOEXEC), 0);
	/* A worker lets its place go after the answer. */
	ck_assert_int_eq(fcntl(fd, F_OFD_SETLKW, &all), 0);
	ck_assert_int_le(measured(&w, "a large event without a place", "GET", PULL,
	                          (struct span){ NULL, 0 }, 503), ROOM);
	close(fd);
	ck_assert_int_eq(ask_as(&w, w.tokens[WRITER], "GET", PULL, (struct span){ NULL, 0 }, NULL), 200);
	buf_free(&body);
	world_stop(&w);
}
END_TEST

START_TEST(large_bodies_are_few_at_a_time_in_a_pool)
{
	few_large_bodies(SITE_FASTCGI);
}
END_TEST

START_TEST(large_bodies_are_few_at_a_time_by_cgi)
{
	few_large_bodies(SITE_CGI);
}
END_TEST

/* The limit itself is no large body; one byte more is. */
START_TEST(a_body_is_large_above_4_mib)
{
	struct site_options options = { .kind = SITE_CGI };
	struct push_params p;
	struct buf body = { 0 };
	struct raw r;
	struct world w;

	world_start(&w, &options);
	while (body.len < LARGE_BODY)
		buf_add(&body, "                                                                ", 64);
	for (int over = 0; over < 2; over++) {
		ck_assert(raw_begin(&r, &w.site, push_params(&p, &w, LARGE_BODY + over)));
		/* Once that much is taken it was decided. */
		ck_assert(raw_body(&r, (struct span){ body.p, LARGE_BODY - 1 }));
		ck_assert(wait_for_large(&w, over));
		raw_close(&r);
	}
	ck_assert(wait_for_large(&w, 0));
	buf_free(&body);
	world_stop(&w);
}
END_TEST

/* --- slow clients --- */

#define TRANSFER_MS 1000 /* the server's limit; else it would be a minute */

/* One byte after the other until there is an answer. */
static void
dribble(struct raw *r, struct span body)
{
	struct pollfd answer = { r->out, POLLIN, 0 };

	for (size_t i = 0; i < body.len && poll(&answer, 1, 50) == 0; i++)
		raw_body(r, (struct span){ body.p + i, 1 });
}

/* Whether the server, which may have one worker only, is there for others. */
static void
check_free(struct world *w, const char *why)
{
	int64_t start = clock_mono_ms();

	ck_assert_msg(ask(w, NOBODY, "GET", "/healthz", NULL, NULL) == 200, "%s", why);
	ck_assert_msg(clock_mono_ms() - start < SOON_MS, "%s: %lld ms", why,
	              (long long)(clock_mono_ms() - start));
}

static void
check_slow_body(struct world *w, struct span body, bool chunked)
{
	struct push_params p;
	struct buf answer = { 0 };
	struct raw r;
	int64_t start = clock_mono_ms();

	ck_assert(raw_begin(&r, &w->site, push_params(&p, w, chunked ? -1 : (long)body.len)));
	dribble(&r, body);
	ck_assert_int_ge(clock_mono_ms() - start, TRANSFER_MS);
	ck_assert_int_lt(clock_mono_ms() - start, SOON_MS);
	ck_assert(raw_receive(&r, &answer));
	ck_assert_msg(strstr(answer.p, "Status: 408 ") != NULL &&
	              strstr(answer.p, "\"request_timeout\"") != NULL, "%s", answer.p);
	check_free(w, "after a slow body");
	buf_free(&answer);
}

/* It never stops to send, whatever it was told. */
static void
check_endless(struct world *w, struct span body)
{
	struct push_params p;
	struct raw r;

	ck_assert(raw_begin(&r, &w->site, push_params(&p, w, (long)body.len)));
	dribble(&r, body);
	for (int i = 0; i < 3 * TRANSFER_MS / 50; i++) {
		if (!raw_body(&r, (struct span){ body.p, 1 }))
			break;
		usleep(50000);
	}
	check_free(w, "while one dribbles on");
	raw_close(&r);
}

static void
check_hang_up(struct world *w, struct span body)
{
	struct push_params p;
	struct raw r;

	ck_assert(raw_begin(&r, &w->site, push_params(&p, w, (long)body.len)));
	ck_assert(raw_body(&r, (struct span){ body.p, body.len / 2 }));
	raw_close(&r);
	check_free(w, "after one that hung up");
}

/* It asks for a page and never takes it. */
static void
check_deaf(struct world *w)
{
	char path[128], authorization[5000];
	const char *const params[] = {
		"REQUEST_METHOD", "GET", "PATH_INFO", path, "HTTP_AUTHORIZATION", authorization, NULL,
	};
	struct raw r;

	snprintf(path, sizeof(path), "/v1/projects/%s/sync/pull", w->project);
	snprintf(authorization, sizeof(authorization), "Bearer %s", w->tokens[READER]);
	ck_assert(raw_begin(&r, &w->site, params));
	ck_assert(raw_end(&r));
	check_free(w, "while one does not take its answer");
	for (int i = 0; r.pid != 0 && i < 100; i++) {
		if (waitpid(r.pid, NULL, WNOHANG) == r.pid)
			r.pid = 0;
		usleep(3 * TRANSFER_MS * 10);
	}
	ck_assert_msg(r.pid == 0, "it waits for ever");
	close(r.in);
	if (r.out != r.in)
		close(r.out);
}

/* Parameters that never end, at the socket itself. */
static void
check_slow_parameters(struct world *w)
{
	/* The begin of a request, then 100 bytes of parameters, of which come few. */
	static const char begin[] = "\1\1\0\1\0\10\0\0" "\0\1\0\0\0\0\0\0" "\1\4\0\1\0\144\0\0";
	int fd = fcgi_connect(w->site.socket);

	ck_assert_int_eq(send(fd, begin, sizeof(begin) - 1, MSG_NOSIGNAL), sizeof(begin) - 1);
	for (int i = 0; i < TRANSFER_MS / 50; i++) {
		send(fd, "\1", 1, MSG_NOSIGNAL);
		usleep(30000);
	}
	check_free(w, "while parameters come slowly");
	close(fd);
}

static void
slow_clients(enum site_kind kind)
{
	struct site_options options = { .kind = kind, .arguments = one_worker,
	                                .config = "transfer_seconds = 1\n" };
	struct buf body = { 0 };
	struct world w;
	pid_t pid = 0;

	world_start(&w, &options);
	make_events(&body, "d", PLAIN, 100, 20000);
	ck_assert_int_eq(ask_as(&w, w.tokens[WRITER], "POST", PUSH, buf_span(&body), NULL), 200);
	if (kind == SITE_FASTCGI)
		pid = the_worker(&w);
	check_slow_body(&w, buf_span(&body), false);
	check_slow_body(&w, buf_span(&body), true);
	check_endless(&w, buf_span(&body));
	check_hang_up(&w, buf_span(&body));
	check_deaf(&w);
	if (kind == SITE_FASTCGI)
		check_slow_parameters(&w);
	ck_assert_int_eq(log_count(&w), 100);
	if (kind == SITE_FASTCGI)
		ck_assert_int_eq(the_worker(&w), pid);
	buf_free(&body);
	world_stop(&w);
}

START_TEST(nobody_waits_for_a_slow_client_of_a_worker)
{
	slow_clients(SITE_FASTCGI);
}
END_TEST

START_TEST(nobody_waits_for_a_slow_client_by_cgi)
{
	slow_clients(SITE_CGI);
}
END_TEST

/* nginx takes the body first: a worker does not see such a client at all. */
START_TEST(behind_nginx_a_slow_client_needs_no_worker)
{
	struct site_options options = { .kind = SITE_FASTCGI, .arguments = one_worker };
	struct sockaddr_in addr = { .sin_family = AF_INET };
	char head[6000];
	struct world w;
	int fd, n;

	world_start(&w, &options);
	addr.sin_port = htons((uint16_t)atoi(strrchr(w.site.url, ':') + 1));
	addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	n = snprintf(head, sizeof(head), "POST /v1/projects/%s/sync/push HTTP/1.1\r\nHost: x\r\n"
	             "Authorization: Bearer %s\r\nContent-Length: 1000\r\n\r\n", w.project,
	             w.tokens[WRITER]);
	ck_assert_int_eq(send(fd, head, (size_t)n, MSG_NOSIGNAL), n);
	for (int i = 0; i < 20; i++) {
		int64_t start = clock_mono_ms();

		ck_assert_int_eq(send(fd, " ", 1, MSG_NOSIGNAL), 1);
		ck_assert_int_eq(push_some(&w, "d", i, 1), 200);
		ck_assert_int_lt(clock_mono_ms() - start, SOON_MS);
		usleep(50000);
	}
	close(fd); /* in the middle */
	ck_assert_int_eq(log_count(&w), 20);
	world_stop(&w);
}
END_TEST

TCase *
bodies_case(void)
{
	TCase *tc = tcase_create("bodies");

	tcase_set_timeout(tc, 240);
	tcase_add_test(tc, large_bodies_are_few_at_a_time_by_cgi);
	tcase_add_test(tc, a_body_is_large_above_4_mib);
	tcase_add_test(tc, nobody_waits_for_a_slow_client_by_cgi);
	if (!http_can_run(SITE_FASTCGI))
		return tc;
	tcase_add_test(tc, large_bodies_are_few_at_a_time_in_a_pool);
	tcase_add_test(tc, large_events_are_few_at_a_time_in_pulls_too);
	tcase_add_test(tc, nobody_waits_for_a_slow_client_of_a_worker);
	tcase_add_test(tc, behind_nginx_a_slow_client_needs_no_worker);
	if (SANITIZED)
		fprintf(stderr, "skipped: memory of a request: built with sanitizers\n");
	tcase_add_test(tc, a_push_needs_the_memory_of_its_body_and_8_mb);
	tcase_add_test(tc, a_pull_needs_the_memory_of_two_pages_and_8_mb);
	return tc;
}
