/* GET /metrics: what is counted, and who may see it. */
#include "http_test.h"

#include "patience.h"
#include "raw.h"

#include "base/clock.h"
#include "base/metrics.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ROUTE(method, path) "method=\"" method "\",route=\"" path "\""
#define PROJECT "/v1/projects/{id}"

/* It becomes true, and soon. */
#define SOON(is_so) do { \
		int64_t end = clock_mono_ms() + SOON_MS; \
		while (!(is_so)) { \
			ck_assert_msg(clock_mono_ms() < end, "not soon: " #is_so); \
			usleep(10000); \
		} \
	} while (0)

static void
get_metrics(struct world *w)
{
	ck_assert_int_eq(ask(w, NOBODY, "GET", "/metrics", NULL, NULL), 200);
}

/* The value of a sample of the last answer; -1: it isn't there. */
static double
sample(const struct world *w, const char *name)
{
	size_t n = strlen(name);

	for (const char *p = w->answer.body.p; p != NULL; p = strchr(p, '\n')) {
		p += *p == '\n';
		if (strncmp(p, name, n) == 0 && p[n] == ' ')
			return atof(p + n);
	}
	return -1;
}

static double
requests(const struct world *w, const char *route, int status)
{
	char name[256];

	snprintf(name, sizeof(name), "td_sync_requests_total{%s,code=\"%d\"}", route, status);
	return sample(w, name);
}

static void
numbers(struct world *w)
{
	struct stat st;
	char file[PATH_MAX + 64];

	ck_assert_int_eq(push_some(w, "d", 1, 20), 200);
	ck_assert_int_eq(push_some(w, "d", 1, 30), 200); /* 20 of them again */
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(ask(w, READER, "GET", "/v1/projects/{p}/sync/pull", NULL, NULL), 200);
	ck_assert_int_eq(ask(w, NOBODY, "GET", "/v1/projects/{p}/sync/pull", NULL, NULL), 401);
	ck_assert_int_eq(ask(w, NOBODY, "GET", "/nowhere", NULL, NULL), 404);
	ck_assert_int_eq(ask(w, NOBODY, "PATCH", "/healthz", NULL, NULL), 405);
	get_metrics(w);
	ck_assert_str_eq(web_header(&w->answer, "Content-Type"),
	                 "text/plain; version=0.0.4; charset=utf-8");
	ck_assert(requests(w, ROUTE("POST", PROJECT "/sync/push"), 200) == 2);
	ck_assert(requests(w, ROUTE("GET", PROJECT "/sync/pull"), 200) == 3);
	ck_assert(requests(w, ROUTE("GET", PROJECT "/sync/pull"), 401) == 1);
	ck_assert(requests(w, ROUTE("", "none"), 404) == 1);
	ck_assert(requests(w, ROUTE("", "none"), 405) == 1);
	ck_assert(requests(w, ROUTE("DELETE", PROJECT), 204) == 1);
	ck_assert(sample(w, "td_sync_request_duration_seconds_count{"
	                    ROUTE("GET", PROJECT "/sync/pull") "}") == 4);
	ck_assert(sample(w, "td_sync_request_duration_seconds_bucket{"
	                    ROUTE("GET", PROJECT "/sync/pull") ",le=\"+Inf\"}") == 4);
	ck_assert(sample(w, "td_sync_request_duration_seconds_bucket{"
	                    ROUTE("GET", PROJECT "/sync/pull") ",le=\"60\"}") == 4);
	ck_assert(sample(w, "td_sync_events_total{outcome=\"accepted\"}") == 30);
	ck_assert(sample(w, "td_sync_events_total{outcome=\"duplicate\"}") == 20);
	ck_assert(sample(w, "td_sync_received_bytes_total") > 50 * 200);
	ck_assert(sample(w, "td_sync_sent_bytes_total") > 3 * 30 * 200);
	ck_assert(sample(w, "td_sync_lock_wait_seconds_count{lock=\"log\"}") >= 2);
	ck_assert(sample(w, "td_sync_commit_seconds_count{db=\"log\"}") >= 2);
	ck_assert(sample(w, "td_sync_commit_seconds_sum{db=\"log\"}") > 0);
	ck_assert(sample(w, "td_sync_checkpoint_seconds_count{db=\"log\"}") == 0);
	ck_assert(sample(w, "td_sync_cache_lookups_total{cache=\"token\",outcome=\"miss\"}") >= 3);
	ck_assert(sample(w, "td_sync_cache_lookups_total{cache=\"project\",outcome=\"miss\"}") >= 1);
	ck_assert(sample(w, "td_sync_projects") == 2);
	ck_assert(sample(w, "td_sync_sizes_complete") == 1);
	snprintf(file, sizeof(file), "%s/events.db", project_folder(w));
	ck_assert_int_eq(stat(file, &st), 0);
	ck_assert(sample(w, "td_sync_log_bytes") >= (double)st.st_size);
	/* Another one may have something to do after its answer. */
	if (w->site.kind == SITE_FASTCGI)
		ck_assert(sample(w, "td_sync_workers{state=\"busy\"}") >= 1);
	snprintf(file, sizeof(file), "%s/" METRICS_FILE, w->site.data);
	ck_assert_int_eq(stat(file, &st), 0);
	ck_assert_int_eq(st.st_mode & 0777, 0600);
	/* And the call before is among those of the next. */
	get_metrics(w);
	ck_assert(requests(w, ROUTE("GET", "/metrics"), 200) == 1);
}

START_TEST(requests_events_waits_and_sizes_are_counted)
{
	with_each(numbers);
}
END_TEST

/* Every line is a comment or a sample, every family is named once, before its
 * samples; and no sample is there twice. */
static void
form(struct world *w)
{
	struct buf seen = { 0 };
	char family[128] = "", line[512], key[600];
	int samples = 0;

	ck_assert_int_eq(push_some(w, "d", 1, 1), 200);
	get_metrics(w);
	buf_add_byte(&seen, '\n');
	for (char *p = w->answer.body.p; *p != '\0'; p += strlen(line) + 1) {
		size_t n = strcspn(p, "\n");
		char *end;

		ck_assert(p[n] == '\n' && n > 0 && n < sizeof(line));
		snprintf(line, sizeof(line), "%.*s", (int)n, p);
		if (line[0] == '#') {
			if (sscanf(line, "# TYPE %127s", key) != 1)
				continue;
			snprintf(family, sizeof(family), "%.127s", key);
			snprintf(key, sizeof(key), "\n# %s\n", family);
		} else {
			ck_assert_msg(strncmp(line, family, strlen(family)) == 0, "%s", line);
			n = (size_t)(strrchr(line, ' ') - line);
			strtod(line + n + 1, &end);
			ck_assert_msg(*end == '\0' && end > line + n + 1, "%s", line);
			snprintf(key, sizeof(key), "\n%.*s\n", (int)n, line);
			samples++;
		}
		ck_assert_msg(strstr(buf_cstr(&seen), key) == NULL, "twice: %s", line);
		buf_add_str(&seen, key + 1);
	}
	ck_assert_int_gt(samples, 100);
	buf_free(&seen);
}

START_TEST(the_answer_is_what_prometheus_reads)
{
	with_each(form);
}
END_TEST

/* Ask the program itself, as a web server does for a client of that address (NULL:
 * it doesn't say); the status. */
static int
ask_from(struct world *w, const char *address, const char *header, const char *value,
         const char *token)
{
	const char *params[16] = { "REQUEST_METHOD", "GET", "PATH_INFO", "/metrics", "SCRIPT_NAME", "" };
	char bearer[5000];
	struct buf out = { 0 };
	int status = 0, n = 6;

	if (address != NULL) {
		params[n++] = "REMOTE_ADDR";
		params[n++] = address;
	}
	if (header != NULL) {
		params[n++] = header;
		params[n++] = value;
	}
	if (token != NULL) {
		snprintf(bearer, sizeof(bearer), "Bearer %s", token);
		params[n++] = "HTTP_AUTHORIZATION";
		params[n++] = bearer;
	}
	ck_assert(raw_call(&w->site, params, (struct span){ NULL, 0 }, &out));
	ck_assert_int_eq(sscanf(out.p, "Status: %d", &status), 1);
	buf_free(&out);
	return status;
}

static void
callers(struct world *w)
{
	static const struct {
		const char *address, *header, *value;
		int status;
	} calls[] = {
		{ "127.0.0.1", NULL, NULL, 200 },
		{ "127.255.255.254", NULL, NULL, 200 },
		{ "::1", NULL, NULL, 200 },
		{ "::ffff:127.0.0.1", NULL, NULL, 200 },
		{ "unix:", NULL, NULL, 200 },
		{ "", NULL, NULL, 200 },
		{ NULL, NULL, NULL, 403 },
		{ "128.0.0.1", NULL, NULL, 403 },
		{ "126.255.255.255", NULL, NULL, 403 },
		{ "1270.0.0.1", NULL, NULL, 403 },
		{ "10.0.0.1", NULL, NULL, 403 },
		{ "::2", NULL, NULL, 403 },
		{ "::11", NULL, NULL, 403 },
		{ "::ffff:10.0.0.1", NULL, NULL, 403 },
		{ "127.0.0.1", "HTTP_X_FORWARDED_FOR", "127.0.0.1", 403 },
		{ "127.0.0.1", "HTTP_X_FORWARDED_FOR", "", 403 },
		{ "127.0.0.1", "HTTP_FORWARDED", "for=127.0.0.1", 403 },
		{ "127.0.0.1", "HTTP_X_REAL_IP", "127.0.0.1", 403 },
		{ "127.0.0.1", "HTTP_VIA", "1.1 proxy", 403 },
	};
	char *admin = site_token(&w->site, w->users[READER], SCOPE_SERVER_ADMIN, NULL, NULL);

	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
		ck_assert_msg(ask_from(w, calls[i].address, calls[i].header, calls[i].value, NULL) ==
		              calls[i].status, "%zu: %s", i,
		              calls[i].address == NULL ? "-" : calls[i].address);
	ck_assert_int_eq(ask_from(w, "192.0.2.1", NULL, NULL, admin), 200);
	ck_assert_int_eq(ask_from(w, "127.0.0.1", "HTTP_X_FORWARDED_FOR", "192.0.2.1", admin), 200);
	ck_assert_int_eq(ask_from(w, "192.0.2.1", NULL, NULL, w->tokens[OWNER]), 403);
	ck_assert_int_eq(ask_from(w, "192.0.2.1", NULL, NULL, "nonsense"), 403);
	/* Through the web server. */
	ck_assert_int_eq(ask(w, NOBODY, "GET", "/metrics", NULL, "X-Forwarded-For: 127.0.0.1"), 403);
	ck_assert(has_code(w, "forbidden"));
	ck_assert_int_eq(ask(w, NOBODY, "HEAD", "/metrics", NULL, NULL), 200);
	ck_assert_int_eq(ask(w, NOBODY, "POST", "/metrics", "", NULL), 405);
	free(admin);
}

START_TEST(only_this_machine_and_an_operators_token_may_ask)
{
	with_each(callers);
}
END_TEST

START_TEST(what_killed_workers_counted_is_counted)
{
	struct site_options options = { .kind = SITE_FASTCGI };
	struct world w;
	pid_t pids[8];
	double n = 0, before;
	size_t workers;

	if (!http_can_run(SITE_FASTCGI))
		return;
	world_start(&w, &options);
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 10; i++, n++)
			ck_assert_int_eq(ask(&w, READER, "GET", "/v1/projects/{p}", NULL, NULL), 200);
		workers = site_workers(&w.site, pids, 8);
		for (size_t i = 0; i < workers; i++)
			kill(pids[i], SIGKILL);
		SOON(ask(&w, NOBODY, "GET", "/metrics", NULL, NULL) == 200);
		ck_assert(requests(&w, ROUTE("GET", PROJECT), 200) == n);
	}
	/* A CGI process beside the pool counts into the same file. */
	before = requests(&w, ROUTE("GET", PROJECT "/sync/pull"), 200);
	ck_assert(before == -1);
	ck_assert_int_eq(run_cgi(&w, "sync/pull", 0), 0);
	get_metrics(&w);
	ck_assert(requests(&w, ROUTE("GET", PROJECT "/sync/pull"), 200) == 1);
	world_stop(&w);
}
END_TEST

static void
no_file(struct world *w)
{
	char file[PATH_MAX + 32];

	snprintf(file, sizeof(file), "%s/" METRICS_FILE, w->site.data);
	if (w->site.kind == SITE_FASTCGI)
		ck_assert_int_eq(kill(w->site.pool, SIGHUP), 0); /* new workers, soon */
	SOON(unlink(file) == 0 || access(file, F_OK) != 0);
	ck_assert_int_eq(mkdir(file, 0700), 0);
	SOON(ask(w, NOBODY, "GET", "/metrics", NULL, NULL) == 503);
	ck_assert(has_code(w, "unavailable"));
	ck_assert_ptr_null(strstr(w->answer.body.p, w->site.data));
	ck_assert_int_eq(push_some(w, "d", 1, 5), 200);
	ck_assert_int_ge(said(w, "nothing is counted"), 1);
}

START_TEST(a_worker_that_cant_count_works)
{
	with_each(no_file);
}
END_TEST

TCase *
metrics_case(void)
{
	TCase *tc = tcase_create("metrics");

	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, requests_events_waits_and_sizes_are_counted);
	tcase_add_test(tc, the_answer_is_what_prometheus_reads);
	tcase_add_test(tc, only_this_machine_and_an_operators_token_may_ask);
	tcase_add_test(tc, what_killed_workers_counted_is_counted);
	tcase_add_test(tc, a_worker_that_cant_count_works);
	return tc;
}
