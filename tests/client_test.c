/*
 * The client: replicas of real td databases against a real log, without HTTP.
 */
#include "tests/replica.h"

#include <stdlib.h>

/* --- pushing and pulling --- */

START_TEST(two_databases_that_sync_end_up_identical)
{
	struct replica a, b;

	replica_make(&a, "A", "empty-v38.db");
	replica_make(&b, "B", "empty-v38.db");
	LINK(&a);
	LINK(&b);
	td_create(&a, "td-000001", "Made on A, with <markup> & an \"ümlaut\"");
	td_comment(&a, "cm-00000001", "td-000001", "A comment");
	td_create(&b, "td-000002", "Made on B");
	SYNC(&a);
	ck_assert_int_eq(a.res.pushed, 2);
	ck_assert_int_eq(a.res.pulled, 2);
	SYNC(&b);
	ck_assert_int_eq(b.res.pushed, 1);
	ck_assert_int_eq(b.res.pulled, 3);
	SYNC(&a);
	assert_same(&a, &b);
	assert_settled(&a);
	assert_settled(&b);
	ck_assert_str_eq(ask(&a, "SELECT count(*) FROM issues"), "2");

	/* Different fields of one issue: both survive. */
	td_update(&a, "td-000001", "priority", "P0");
	td_update(&b, "td-000001", "points", "8");
	SYNC(&a);
	SYNC(&b);
	SYNC(&a);
	assert_same(&a, &b);
	ck_assert_str_eq(ask(&b, "SELECT priority || points FROM issues WHERE id='td-000001'"),
	                 "P08");

	/* A deletes: td sets updated_at too, the log does not. */
	td_delete(&a, "td-000002");
	SYNC(&a);
	SYNC(&b);
	assert_same(&a, &b);
	assert_settled(&a);
	ck_assert_str_eq(ask(&b, "SELECT deleted_at IS NOT NULL FROM issues"
	                     " WHERE id='td-000002'"), "1");
	ck_assert_str_eq(ask(&a, "SELECT count(*) FROM sync_conflicts"), "0");
	ck_assert_str_eq(ask(&b, "SELECT count(*) FROM sync_conflicts"), "0");
	replica_close(&a);
	replica_close(&b);
}
END_TEST

START_TEST(td_s_books_are_kept_as_td_would)
{
	struct replica a;

	replica_make(&a, "A", "empty-v38.db");
	LINK(&a);
	td_create(&a, "td-000001", "One");
	td_update(&a, "td-000001", "title", "Two");
	SYNC(&a);
	ck_assert_str_eq(ask(&a, "SELECT project_id || ' ' || last_pushed_action_id || ' ' ||"
	                     " last_pulled_server_seq || ' ' || sync_disabled FROM sync_state"),
	                 PROJECT " 2 2 0");
	ck_assert_str_eq(ask(&a, "SELECT last_sync_at LIKE '2___-__-__ __:__:__'"
	                     " FROM sync_state"), "1");
	ck_assert_str_eq(ask(&a, "SELECT group_concat(server_seq) FROM action_log"
	                     " WHERE synced_at LIKE '2___-__-__ __:__:__'"), "1,2");
	ck_assert_str_eq(ask(&a, "SELECT group_concat(direction || ' ' || action_type || ' ' ||"
	                     " entity_type || ' ' || entity_id || ' ' || server_seq || ' ' ||"
	                     " device_id, ';') FROM sync_history"),
	                 "push create issues td-000001 1 device-A;"
	                 "push update issues td-000001 2 device-A;"
	                 "pull create issues td-000001 1 device-A;"
	                 "pull update issues td-000001 2 device-A");
	replica_close(&a);
}
END_TEST

/* --- recorded histories --- */

static const struct {
	const char *history, *device;
	int schema_like_f;   /* whether it has all of F's columns */
	int unheld;          /* rows that only this device has */
} recorded[] = {
	{ "autosync", "A", 1, 0 }, { "autosync", "B", 1, 0 },
	{ "conflicts", "A", 1, 0 }, { "conflicts", "B", 1, 0 },
	{ "team", "A", 1, 2 }, { "team", "B", 1, 1 }, { "team", "C", 1, 0 },
	{ "versions", "A", 0, 0 }, { "versions", "B", 1, 0 },
	{ "large", "A", 1, 0 },
	{ "legacy", "A", 1, 0 }, { "legacy", "B", 1, 0 },
	{ "legacy-backfill", "A", 1, 0 }, { "legacy-backfill", "B", 1, 0 },
};

/*
 * A stock device that has pulled all, taken over by td-sync: its rows become
 * what the log adds up to, and what only it has is offered.
 */
START_TEST(a_stock_device_taken_over_ends_as_the_log_says)
{
	const char *h = recorded[_i].history;
	char name[80], f[FIXTURE_PATH], log[80], fname[80];
	struct replica r;
	int64_t n;

	snprintf(name, sizeof(name), "replay/%s/after/%s.db", h, recorded[_i].device);
	snprintf(fname, sizeof(fname), "replay/%s/after/F.db", h);
	snprintf(log, sizeof(log), "replay/%s/log.jsonl", h);
	if (!fixture_find(name, f) || !fixture_find(fname, f)) {
		fprintf(stderr, "skipped: no recording %s\n", name);
		return;
	}
	server_load(log);
	n = server_seq();
	replica_make(&r, "R", name);
	sql(&r, "UPDATE sync_state SET project_id = '" PROJECT "'");
	SYNC(&r);
	ck_assert_int_eq(r.res.pushed, recorded[_i].unheld);
	ck_assert_int_eq(server_seq(), n + recorded[_i].unheld);
	assert_settled(&r);
	if (recorded[_i].unheld == 0)
		assert_same_rows(replica_file(&r, "issues.db"), f);
	SYNC(&r);
	ck_assert_int_eq(r.res.pushed + r.res.pulled + r.res.rows, 0);
	ck_assert_str_eq(ask(&r, "PRAGMA foreign_key_check"), "-");
	replica_close(&r);
}
END_TEST

/* A fresh database pulls the whole log. */
START_TEST(a_fresh_replica_equals_a_stock_one_that_replayed)
{
	static const char *const histories[] = { "autosync", "conflicts", "team", "versions",
		"large", "legacy", "legacy-backfill" };
	char f[FIXTURE_PATH], log[80], fname[80];
	struct replica r;

	snprintf(fname, sizeof(fname), "replay/%s/after/F.db", histories[_i]);
	snprintf(log, sizeof(log), "replay/%s/log.jsonl", histories[_i]);
	if (!fixture_find(fname, f)) {
		fprintf(stderr, "skipped: no recording %s\n", fname);
		return;
	}
	server_load(log);
	replica_make(&r, "R", "empty-v38.db");
	LINK(&r);
	PULL(&r);
	assert_same_rows(replica_file(&r, "issues.db"), f);
	ck_assert_str_eq(ask(&r, "SELECT count(*) FROM sync_conflicts"), "0");
	replica_close(&r);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("client");
	TCase *tc = tcase_create("sync");

	tcase_add_checked_fixture(tc, replica_setup, replica_teardown);
	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, two_databases_that_sync_end_up_identical);
	tcase_add_test(tc, td_s_books_are_kept_as_td_would);
	tcase_add_loop_test(tc, a_stock_device_taken_over_ends_as_the_log_says, 0,
	                    sizeof(recorded) / sizeof(recorded[0]));
	tcase_add_loop_test(tc, a_fresh_replica_equals_a_stock_one_that_replayed, 0, 7);
	suite_add_tcase(s, tc);
	return s;
}

int
main(void)
{
	SRunner *r = srunner_create(suite());
	int failed;

	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
