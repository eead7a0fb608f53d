/* The worker's own limits on how often one may ask: what is counted, and how it
 * goes on when clocks jump, processes die, and everybody comes at once. */
#include "http/rates.h"

#include "base/fs.h"
#include "base/log.h"

#include "temp.h"

#include <check.h>
#include <signal.h>
#include <sys/wait.h>

#define NOW 5000000 /* ms: an hour and a half after the machine was started */
#define DAY (24LL * 3600 * 1000)
#define CROWD 100000 /* callers: three times as many as there is room for */

static char dir[TEMP_PATH];
static struct rates rates;

static void
set_up(void)
{
	temp_make(dir);
	rates_init(&rates, dir);
}

static void
tear_down(void)
{
	rates_close(&rates);
	temp_remove(dir);
}

static int64_t
take(enum rate rate, const char *caller, int64_t now)
{
	return rates_take(&rates, rate, span_of(caller), now);
}

/* Take all that there is; how many that were. */
static int64_t
take_all(enum rate rate, const char *caller, int64_t now)
{
	int64_t n = 0;

	while (take(rate, caller, now) == 0)
		n++;
	return n;
}

/* Many others come, once each. */
static void
crowd(int64_t now)
{
	char name[32];

	for (int i = 0; i < CROWD; i++) {
		snprintf(name, sizeof(name), "%lld-%d", (long long)now, i);
		ck_assert_int_eq(take(RATE_PUSH, name, now), 0);
	}
}

START_TEST(a_minutes_worth_passes_at_once_then_one_at_a_time)
{
	for (int rate = 0; rate < RATE__MAX; rate++) {
		int64_t each = rate_limits[rate].each_ms, n = rate_limits[rate].at_once;
		int64_t now = NOW;

		ck_assert_int_eq(take_all(rate, "me", now), n);
		ck_assert_int_eq(take(rate, "me", now), each);
		ck_assert_int_eq(take(rate, "me", now + each - 1), 1);
		now += each;
		ck_assert_int_eq(take_all(rate, "me", now), 1);
		now += 10 * each;
		ck_assert_int_eq(take_all(rate, "me", now), 10);
		now += n * each;
		ck_assert_int_eq(take_all(rate, "me", now), n);
		now += DAY;
		ck_assert_int_eq(take_all(rate, "me", now), n); /* and no more */
	}
}
END_TEST

START_TEST(callers_and_classes_are_counted_apart)
{
	ck_assert_int_eq(take_all(RATE_PUSH, "me", NOW), 300);
	ck_assert_int_eq(take_all(RATE_PUSH, "you", NOW), 300);
	ck_assert_int_eq(take_all(RATE_PULL, "me", NOW), 600);
	ck_assert_int_eq(take_all(RATE_PUSH, "", NOW), 300);
	rates_close(&rates); /* the next process */
	ck_assert_int_gt(take(RATE_PUSH, "me", NOW), 0);
	ck_assert_int_eq(take(RATE_OTHER, "me", NOW), 0);
}
END_TEST

START_TEST(many_processes_have_no_more_than_one)
{
	enum { N = 8 };
	int64_t all = 0, n;
	pid_t pids[N];
	int ends[2];

	ck_assert_int_eq(pipe(ends), 0);
	for (int i = 0; i < N; i++) {
		if ((pids[i] = fork()) != 0)
			continue;
		n = take_all(RATE_ADDRESS, "me", NOW);
		_exit(write(ends[1], &n, sizeof(n)) == sizeof(n) ? 0 : 1);
	}
	for (int i = 0; i < N; i++) {
		int status;

		ck_assert(read(ends[0], &n, sizeof(n)) == sizeof(n));
		ck_assert(waitpid(pids[i], &status, 0) == pids[i] && status == 0);
		all += n;
	}
	ck_assert_int_eq(all, rate_limits[RATE_ADDRESS].at_once);
	close(ends[0]);
	close(ends[1]);
}
END_TEST

START_TEST(a_process_that_dies_at_it_leaves_nothing_half_done)
{
	for (int round = 0; round < 50; round++) {
		pid_t pid = fork();
		char name[32];
		int status;

		if (pid == 0)
			for (int i = 0;; i++) {
				snprintf(name, sizeof(name), "%d", i % CROWD);
				take(RATE_PUSH, name, NOW);
			}
		usleep(1000 + (useconds_t)round * 100);
		kill(pid, SIGKILL);
		ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	}
	/* Nobody waits longer than for the next one. */
	for (int i = 0; i < CROWD; i++) {
		char name[32];

		snprintf(name, sizeof(name), "%d", i);
		ck_assert_int_le(take(RATE_PUSH, name, NOW), rate_limits[RATE_PUSH].each_ms);
	}
	ck_assert_int_eq(take_all(RATE_PUSH, "me", NOW), 300);
}
END_TEST

START_TEST(whatever_the_clock_does_nobody_is_locked_out)
{
	static const int64_t jumps[] = {
		-1, -1000, -30000, -59000, -61000, -179000, -181000, -NOW, -NOW / 2,
		1, 1000, 59000, 61000, DAY, 24 * DAY, 25 * DAY, 49 * DAY, 50 * DAY,
		1LL << 31, 1LL << 32, (1LL << 32) - 1, (1LL << 32) - 59000, 1LL << 33,
		(1LL << 31) - 1, (1LL << 31) + 1, 365 * DAY,
	};

	for (int rate = 0; rate < RATE__MAX; rate++)
		for (size_t i = 0; i < sizeof(jumps) / sizeof(jumps[0]); i++) {
			char name[32];
			int64_t now = NOW, wait;

			snprintf(name, sizeof(name), "%zu", i);
			take_all(rate, name, now);
			now += jumps[i];
			wait = take(rate, name, now);
			ck_assert_msg(wait <= rate_limits[rate].each_ms, "class %d, %lld: %lld", rate,
			              (long long)jumps[i], (long long)wait);
			ck_assert_int_eq(take(rate, name, now + wait), 0);
		}
}
END_TEST

START_TEST(of_too_many_callers_the_idle_one_gives_way)
{
	take_all(RATE_PUSH, "me", NOW);
	crowd(NOW);
	ck_assert_int_gt(take(RATE_PUSH, "me", NOW), 0);
	/* A minute later it has been idle longer than those are. */
	crowd(NOW + 60000);
	ck_assert_int_eq(take_all(RATE_PUSH, "me", NOW + 60000), 300);
}
END_TEST

START_TEST(what_is_of_before_the_machine_was_started_gives_way_first)
{
	crowd(10 * DAY);
	take_all(RATE_PUSH, "me", NOW);
	crowd(NOW);
	ck_assert_int_gt(take(RATE_PUSH, "me", NOW), 0);
}
END_TEST

START_TEST(without_its_file_all_pass_and_the_log_says_so_once)
{
	char path[TEMP_PATH + 32], log[TEMP_PATH + 32];
	struct buf text = { 0 };

	snprintf(path, sizeof(path), "%s/" RATES_FILE, dir);
	snprintf(log, sizeof(log), "%s/log", dir);
	ck_assert_int_eq(mkdir(path, 0700), 0);
	ck_assert_int_eq(log_open(log, NULL, NULL), RC_OK);
	for (int i = 0; i < 1000; i++)
		ck_assert_int_eq(take(RATE_AUTH, "me", NOW + i * 1000), 0);
	ck_assert_int_eq(fs_read(log, 1 << 20, &text, NULL), RC_OK);
	ck_assert_ptr_nonnull(strstr(buf_cstr(&text), "nothing is limited"));
	ck_assert_ptr_eq(strchr(text.p, '\n'), text.p + text.len - 1);
	buf_free(&text);
	/* Once it can be had, it is. */
	ck_assert_int_eq(rmdir(path), 0);
	ck_assert_int_eq(take_all(RATE_AUTH, "me", NOW + DAY), 30);
	/* Where nothing is to be limited there is none. */
	rates_close(&rates);
	ck_assert_int_eq(unlink(path), 0);
	rates_init(&rates, NULL);
	for (int i = 0; i < 1000; i++)
		ck_assert_int_eq(take(RATE_AUTH, "me", NOW + DAY), 0);
	ck_assert_int_ne(access(path, F_OK), 0);
}
END_TEST

START_TEST(the_rates_are_those_of_nginx)
{
	static const char *const zones[RATE__MAX] = {
		[RATE_PUSH] = "push", [RATE_PULL] = "pull", [RATE_OTHER] = "other",
		[RATE_AUTH] = "auth", [RATE_POLL] = "poll", [RATE_ADDRESS] = "address",
	};
	struct buf conf = { 0 };

	ck_assert_int_eq(fs_read(TOP_SRCDIR "/nginx/td-sync.conf.in", 1 << 20, &conf, NULL),
	                 RC_OK);
	for (int rate = 0; rate < RATE__MAX; rate++) {
		const struct rate_limit *l = &rate_limits[rate];
		int n, burst, delay;
		const char *p;
		char zone[40], per;

		snprintf(zone, sizeof(zone), "zone=td_sync_%s:", zones[rate]);
		ck_assert_ptr_nonnull(p = strstr(buf_cstr(&conf), zone));
		ck_assert_int_eq(sscanf(p + strlen(zone), "%*s rate=%dr/%c", &n, &per), 2);
		ck_assert_int_eq(l->each_ms * n, per == 'm' ? 60000 : 1000);
		snprintf(zone, sizeof(zone), "limit_req zone=td_sync_%s ", zones[rate]);
		ck_assert_ptr_nonnull(p = strstr(conf.p, zone));
		n = sscanf(p + strlen(zone), " burst=%d delay=%d", &burst, &delay);
		ck_assert_int_eq(l->at_once, 1 + (n == 2 ? delay : burst));
	}
	buf_free(&conf);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("rates");
	TCase *tc = tcase_create("rates");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, set_up, tear_down);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, a_minutes_worth_passes_at_once_then_one_at_a_time);
	tcase_add_test(tc, callers_and_classes_are_counted_apart);
	tcase_add_test(tc, many_processes_have_no_more_than_one);
	tcase_add_test(tc, a_process_that_dies_at_it_leaves_nothing_half_done);
	tcase_add_test(tc, whatever_the_clock_does_nobody_is_locked_out);
	tcase_add_test(tc, of_too_many_callers_the_idle_one_gives_way);
	tcase_add_test(tc, what_is_of_before_the_machine_was_started_gives_way_first);
	tcase_add_test(tc, without_its_file_all_pass_and_the_log_says_so_once);
	tcase_add_test(tc, the_rates_are_those_of_nginx);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
