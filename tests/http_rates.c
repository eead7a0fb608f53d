/*
 * The worker's own limits on how often one may ask (rates_test.c has their
 * figures): that each kind of request is counted where it belongs, by all
 * processes together, and how it is refused.
 */
#include "http_test.h"

#include "patience.h"

#include "base/clock.h"
#include "http/rates.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define LEFT 3 /* of a caller's requests, when a test begins to ask */

/* An address as it is counted. */
static const struct span here = { "\x7f\0\0\1", 4 };

/* Leave a caller so many of its requests, as if other processes had asked. */
static void
use_up(const struct world *w, enum rate rate, struct span caller, int64_t left)
{
	struct rates rates;

	rates_init(&rates, w->site.data);
	for (int64_t n = rate_limits[rate].at_once; n > left; n--)
		rates_take(&rates, rate, caller, clock_mono_ms());
	rates_close(&rates);
}

/* How a token in the project is counted. */
static struct span
token_of(const struct world *w, const char *token, char out[128])
{
	snprintf(out, 128, "%.22s %s", strrchr(token, '.') + 1, w->project);
	return span_of(out);
}

static void
check_refused(struct world *w)
{
	const char *after;

	ck_assert(web_is_json(&w->answer));
	ck_assert_str_eq(w->answer.body.p, "{\"error\":{\"code\":\"rate_limited\",\"message\":"
	                 "\"Too many requests: wait a few seconds, then try again.\"}}\n");
	ck_assert_str_eq(web_header(&w->answer, "Content-Type"), "application/json");
	ck_assert_str_eq(web_header(&w->answer, "Cache-Control"), "private, no-store");
	after = web_header(&w->answer, "Retry-After");
	ck_assert_msg(atoi(after) >= 1 && atoi(after) <= 6, "Retry-After: %s", after);
}

/* Ask until it is too many: as many as were left, and those that time gave back. */
static void
check_class(struct world *w, enum rate rate, struct span caller, const char *token,
            const char *method, const char *path)
{
	int64_t each = rate_limits[rate].each_ms, start, most;
	int n = 0;

	start = clock_mono_ms();
	use_up(w, rate, caller, LEFT);
	while (ask_as(w, token, method, path, span_of(""), NULL) != 429)
		ck_assert_int_lt(++n, 1000);
	most = LEFT + (clock_mono_ms() - start) / each + 1;
	ck_assert_msg(n >= LEFT && n <= most, "%s: %d of %d to %lld", path, n, LEFT,
	              (long long)most);
	check_refused(w);
	/* It passes when it has waited as long as it was told. */
	usleep((useconds_t)atoi(web_header(&w->answer, "Retry-After")) * 1000000);
	ck_assert_int_ne(ask_as(w, token, method, path, span_of(""), NULL), 429);
}

static void
classes(struct world *w)
{
	const char *token = w->tokens[WRITER];
	char key[128];
	struct span caller = token_of(w, token, key);

	check_class(w, RATE_PUSH, caller, token, "POST", "/v1/projects/{p}/sync/push");
	check_class(w, RATE_PULL, caller, token, "GET", "/v1/projects/{p}/sync/pull");
	check_class(w, RATE_OTHER, caller, token, "GET", "/v1/projects/{p}/sync/status");
	check_class(w, RATE_AUTH, here, NULL, "GET", "/auth/device/approve");
	check_class(w, RATE_POLL, here, NULL, "POST", "/v1/auth/device/poll");
	/* What is no token is the address; and what is no route is counted, too. */
	check_class(w, RATE_OTHER, here, "nonsense", "GET", "/v1/nowhere");
	check_class(w, RATE_PUSH, here, NULL, "POST", "/v1/projects/{p}/sync/push");
}

START_TEST(each_kind_of_request_has_its_own_limit)
{
	with_each_of("limits = on\n", classes);
}
END_TEST

static void
others(struct world *w)
{
	char key[128];

	/* Use up all of the writer's pulls: nobody and nothing else is touched. */
	use_up(w, RATE_PULL, token_of(w, w->tokens[WRITER], key), 0);
	for (int i = 0; ask(w, WRITER, "GET", "/v1/projects/{p}/sync/pull", NULL, NULL) != 429; i++)
		ck_assert_int_lt(i, 1000);
	ck_assert_int_eq(ask(w, READER, "GET", "/v1/projects/{p}/sync/pull", NULL, NULL), 200);
	ck_assert_int_eq(ask(w, WRITER, "GET", "/v1/projects/{gone}/sync/pull", NULL, NULL), 403);
	ck_assert_int_eq(ask(w, WRITER, "GET", "/v1/projects/{p}/sync/status", NULL, NULL), 200);
	ck_assert_int_eq(push_some(w, "d", 1, 1), 200);
	ck_assert_int_eq(ask(w, NOBODY, "GET", "/healthz", NULL, NULL), 200);
}

START_TEST(who_asks_too_often_is_refused_alone)
{
	with_each_of("limits = on\n", others);
}
END_TEST

/* Whoever makes up tokens, or takes one after the other, has one address. */
static void
address(struct world *w)
{
	int64_t end = clock_mono_ms() + SOON_MS;
	pid_t other = fork(); /* it gets one back every 10 ms: somebody takes those */
	char token[64];
	int i = 0;

	if (other == 0)
		for (prctl(PR_SET_PDEATHSIG, SIGKILL);; usleep(500))
			use_up(w, RATE_ADDRESS, here, 0);
	do {
		snprintf(token, sizeof(token), "a.b.%022d", i++);
		ck_assert_int_lt(clock_mono_ms(), end);
	} while (ask_as(w, token, "GET", "/v1/projects", span_of(""), NULL) != 429);
	check_refused(w);
	kill(other, SIGKILL);
	ck_assert_int_eq(waitpid(other, NULL, 0), other);
	usleep(1000000);
	ck_assert_int_eq(ask_as(w, token, "GET", "/v1/projects", span_of(""), NULL), 401);
}

START_TEST(an_address_has_a_limit_whatever_its_tokens)
{
	with_each_of("limits = on\n", address);
}
END_TEST

static void
unlimited(struct world *w)
{
	char key[128], path[PATH_MAX + 32];
	struct span caller = token_of(w, w->tokens[WRITER], key);

	use_up(w, RATE_PULL, caller, 0); /* which makes the file: nobody looks at it */
	use_up(w, RATE_ADDRESS, here, 0);
	for (int i = 0; i < 5; i++)
		ck_assert_int_eq(ask(w, WRITER, "GET", "/v1/projects/{p}/sync/pull", NULL, NULL), 200);
	snprintf(path, sizeof(path), "%s/" RATES_FILE, w->site.data);
	ck_assert_int_eq(unlink(path), 0);
	ck_assert_int_eq(ask(w, WRITER, "GET", "/v1/projects/{p}/sync/pull", NULL, NULL), 200);
	ck_assert_int_ne(access(path, F_OK), 0);
}

START_TEST(nothing_is_limited_where_it_is_not_switched_on)
{
	with_each(unlimited);
}
END_TEST

TCase *
rates_case(void)
{
	TCase *tc = tcase_create("rates");

	tcase_set_timeout(tc, 180);
	tcase_add_test(tc, each_kind_of_request_has_its_own_limit);
	tcase_add_test(tc, who_asks_too_often_is_refused_alone);
	tcase_add_test(tc, an_address_has_a_limit_whatever_its_tokens);
	tcase_add_test(tc, nothing_is_limited_where_it_is_not_switched_on);
	return tc;
}
