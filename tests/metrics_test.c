/* What is counted by many processes, and the file that it is in. */
#include "base/fs.h"
#include "base/log.h"
#include "base/mapped.h"
#include "base/metrics.h"

#include "temp.h"

#include <check.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/wait.h>

#define SIZE 8192

static char dir[TEMP_PATH], path[TEMP_PATH + 32];

static void
set_up(void)
{
	temp_make(dir);
	snprintf(path, sizeof(path), "%s/" METRICS_FILE, dir);
}

static void
tear_down(void)
{
	metrics_close();
	temp_remove(dir);
}

/* Wait for a child. True: it left with 0. */
static bool
ended_well(pid_t pid)
{
	int status;

	return waitpid(pid, &status, 0) == pid && status == 0;
}

/* A number of a mapped file, that all add to. */
static _Atomic uint64_t *
number(struct mapped *m)
{
	return (_Atomic uint64_t *)(void *)((char *)m + sizeof(*m));
}

START_TEST(processes_that_begin_at_once_have_one_file)
{
	enum { N = 24 };
	struct mapped *m;
	pid_t pids[N];
	int start[2];
	char c;

	for (int round = 0; round < 20; round++) {
		unlink(path);
		ck_assert_int_eq(pipe(start), 0);
		for (int i = 0; i < N; i++) {
			if ((pids[i] = fork()) != 0)
				continue;
			close(start[1]);
			if (read(start[0], &c, 1) != 0 ||
			    mapped_open(path, 7, SIZE, &m, NULL) != RC_OK)
				_exit(1);
			atomic_fetch_add(number(m), 1);
			_exit(0);
		}
		close(start[0]);
		close(start[1]); /* now */
		for (int i = 0; i < N; i++)
			ck_assert(ended_well(pids[i]));
		ck_assert_int_eq(mapped_open(path, 7, SIZE, &m, NULL), RC_OK);
		ck_assert_uint_eq(atomic_load(number(m)), N);
		mapped_close(m, SIZE);
	}
}
END_TEST

START_TEST(a_file_of_another_layout_is_made_anew_and_the_old_one_lives_on)
{
	unsigned char random[16];
	struct mapped *old, *m;
	struct stat st;

	ck_assert_int_eq(mapped_open(path, 7, SIZE, &old, NULL), RC_OK);
	atomic_store(number(old), 5);
	memcpy(random, old->random, 16);
	ck_assert_int_eq(mapped_open(path, 7, SIZE, &m, NULL), RC_OK);
	ck_assert_uint_eq(atomic_load(number(m)), 5);
	ck_assert_int_eq(memcmp(m->random, random, 16), 0);
	mapped_close(m, SIZE);
	/* another layout, another size, a file of something else, a part of one */
	for (int i = 0; i < 4; i++) {
		uint64_t layout = i == 0 ? 8 : 9;
		size_t size = i == 0 ? SIZE : 2 * SIZE;

		if (i == 2)
			ck_assert_int_eq(fs_write(path, span_of("something else"), 0644, NULL), RC_OK);
		if (i == 3) {
			ck_assert_int_eq(unlink(path), 0);
			ck_assert_int_eq(fs_write(path, span_of(""), 0600, NULL), RC_OK);
			ck_assert_int_eq(truncate(path, (off_t)size), 0); /* all zero */
		}
		ck_assert_int_eq(mapped_open(path, layout, size, &m, NULL), RC_OK);
		ck_assert_uint_eq(atomic_load(number(m)), 0);
		ck_assert_int_ne(memcmp(m->random, random, 16), 0);
		mapped_close(m, size);
		ck_assert_int_eq(stat(path, &st), 0);
		ck_assert_int_eq(st.st_mode & 0777, 0600);
		ck_assert_int_ge(st.st_blocks * 512, (long long)size);
	}
	atomic_fetch_add(number(old), 1);
	ck_assert_uint_eq(atomic_load(number(old)), 6);
	mapped_close(old, SIZE);
}
END_TEST

START_TEST(what_was_counted_is_there_when_the_process_was_killed)
{
	enum { N = 8, EACH = 5000 };
	struct metric_times t;
	pid_t pids[N];
	int status;

	for (int i = 0; i < N; i++) {
		if ((pids[i] = fork()) != 0)
			continue;
		metrics_open(dir, 1);
		for (int k = 0; k < EACH; k++) {
			metrics_add(METRIC_BYTES_IN, 3);
			metrics_add_time(METRIC_COMMIT_LOG, 2500);
			metrics_add_request(2, 404, 100);
		}
		raise(SIGKILL);
	}
	for (int i = 0; i < N; i++)
		ck_assert(waitpid(pids[i], &status, 0) == pids[i] && WIFSIGNALED(status));
	metrics_open(dir, 1);
	ck_assert_uint_eq(metrics_get(METRIC_BYTES_IN), 3 * N * EACH);
	metrics_get_time(METRIC_COMMIT_LOG, &t);
	ck_assert_uint_eq(t.sum_us, (uint64_t)2500 * N * EACH);
	for (size_t i = 0; i <= METRIC_BUCKETS; i++)
		ck_assert_uint_eq(t.n[i], i < METRIC_BUCKETS && metric_buckets_us[i] == 2500
		                          ? N * EACH : 0);
	ck_assert_uint_eq(metrics_get_requests(2, metric_status_index(404)), N * EACH);
	metrics_get_request_times(2, &t);
	ck_assert_uint_eq(t.n[0], N * EACH);
	/* With other routes the numbers mean something else. */
	metrics_close();
	metrics_open(dir, 2);
	ck_assert_uint_eq(metrics_get_requests(2, metric_status_index(404)), 0);
}
END_TEST

START_TEST(a_time_belongs_to_the_first_bucket_that_it_is_not_above)
{
	struct metric_times t;

	metrics_open(dir, 1);
	for (size_t i = 0; i < METRIC_BUCKETS; i++) {
		ck_assert(i == 0 || metric_buckets_us[i] > metric_buckets_us[i - 1]);
		metrics_add_time(METRIC_WAIT_LOG, metric_buckets_us[i]);
		metrics_add_time(METRIC_WAIT_LOG, metric_buckets_us[i] + 1);
	}
	metrics_add_time(METRIC_WAIT_LOG, -1); /* none is less than nothing */
	metrics_get_time(METRIC_WAIT_LOG, &t);
	for (size_t i = 0; i < METRIC_BUCKETS; i++)
		ck_assert_uint_eq(t.n[i], 2);
	ck_assert_uint_eq(t.n[METRIC_BUCKETS], 1);
}
END_TEST

START_TEST(statuses_and_routes_beyond_the_table_are_not_counted)
{
	for (size_t i = 0; i < METRIC_STATUSES; i++)
		ck_assert_uint_eq(metric_status_index(metric_status(i)), i);
	ck_assert_uint_eq(metric_status_index(199), METRIC_STATUSES);
	ck_assert_uint_eq(metric_status_index(600), METRIC_STATUSES);
	ck_assert_uint_eq(metric_status_index(432), METRIC_STATUSES);
	ck_assert_uint_eq(metric_status_index(-200), METRIC_STATUSES);
	metrics_open(dir, 1);
	metrics_add_request(METRIC_ROUTES - 1, 531, 1);
	metrics_add_request(METRIC_ROUTES, 200, 1);
	metrics_add_request(0, 99, 1);
	ck_assert_uint_eq(metrics_get_requests(METRIC_ROUTES - 1, METRIC_STATUSES - 1), 1);
}
END_TEST

/* Count where it can't be, with one line in the log; twice. */
static void
count_nowhere(void)
{
	char log[TEMP_PATH + 32];
	struct buf text = { 0 };

	snprintf(log, sizeof(log), "%s/log", dir);
	ck_assert_int_eq(log_open(log, NULL, NULL), RC_OK);
	for (int i = 0; i < 2; i++) {
		metrics_open(dir, 1);
		ck_assert(!metrics_are_on());
		metrics_add(METRIC_BYTES_IN, 1);
		metrics_add_time(METRIC_WAIT_LOG, 1);
		metrics_add_request(0, 200, 1);
		ck_assert_uint_eq(metrics_get(METRIC_BYTES_IN), 0);
		metrics_close(); /* and so tried again */
	}
	ck_assert_int_eq(fs_read(log, 1 << 20, &text, NULL), RC_OK);
	ck_assert_ptr_nonnull(strstr(buf_cstr(&text), "nothing is counted"));
	ck_assert_ptr_eq(strchr(text.p, '\n'), text.p + text.len - 1);
	buf_free(&text);
}

START_TEST(where_the_folder_takes_no_file_nothing_is_counted)
{
	ck_assert_int_eq(mkdir(path, 0700), 0); /* root may write anywhere */
	count_nowhere();
}
END_TEST

START_TEST(on_a_full_disk_nothing_is_counted_and_nothing_is_left)
{
	struct rlimit full = { 4096, 4096 };

	signal(SIGXFSZ, SIG_IGN);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &full), 0);
	count_nowhere();
	ck_assert_int_ne(access(path, F_OK), 0);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("metrics");
	TCase *tc = tcase_create("metrics");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, set_up, tear_down);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, processes_that_begin_at_once_have_one_file);
	tcase_add_test(tc, a_file_of_another_layout_is_made_anew_and_the_old_one_lives_on);
	tcase_add_test(tc, what_was_counted_is_there_when_the_process_was_killed);
	tcase_add_test(tc, a_time_belongs_to_the_first_bucket_that_it_is_not_above);
	tcase_add_test(tc, statuses_and_routes_beyond_the_table_are_not_counted);
	tcase_add_test(tc, where_the_folder_takes_no_file_nothing_is_counted);
	tcase_add_test(tc, on_a_full_disk_nothing_is_counted_and_nothing_is_left);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
