/*
 * The client: replicas of real td databases against a real log, without HTTP.
 */
#include "client/entries.h"
#include "engine/page.h"
#include "tests/client_test.h"
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
	/* Only what devices took from each other. */
	ck_assert_str_eq(ask(&r, "SELECT count(*) FROM sync_conflicts"),
	                 ask_books(&r, "SELECT count(*) FROM conflict WHERE certain"));
	replica_close(&r);
}
END_TEST

/* --- the wire --- */

/* What a log says of one seq, as recorded; false when it doesn't. */
static bool
recorded_event(struct span log, int64_t seq, struct span *out)
{
	struct span line, v;
	int64_t n;

	while (fixture_line(&log, &line))
		if (json_get(line, "server_seq", &v) && json_int64(v, &n) && n == seq) {
			*out = line;
			return true;
		}
	return false;
}

struct wire {
	struct span log;
	int compared;
};

/* An entry that the stock client pushed, against what it pushed. */
static enum rc
compare_wire(void *ctx, const struct entry *e, bool *stop, struct err *err)
{
	struct wire *w = ctx;
	struct buf scratch = { 0 }, text = { 0 }, ours = { 0 }, theirs = { 0 };
	struct span line, a, b, value;
	struct event ev;

	(void)stop;
	if (e->seq == 0 || !recorded_event(w->log, e->seq, &line))
		return RC_OK;
	ck_assert_msg(entry_event(e, &ev, &scratch, err) == RC_OK, "%s", err->text);
	entry_add_wire(&ev, &text);
	ck_assert(json_scan(buf_span(&text), JSON_MAX_DEPTH, &value, NULL, err) == RC_OK);
	for (size_t i = 0; i < 5; i++) {
		static const char *const members[] = { "client_action_id", "action_type",
			"entity_type", "entity_id", "client_timestamp" };

		ck_assert(json_get(value, members[i], &a) && json_get(line, members[i], &b));
		ck_assert_msg(span_eq(a, b), "seq %lld: %s", (long long)e->seq, members[i]);
	}
	ck_assert(json_get(value, "payload", &a) && json_get(line, "payload", &b));
	json_canonical(a, &ours);
	json_canonical(b, &theirs);
	/* The Go server writes a payload of work_sessions anew, keys sorted. */
	if (span_is(ev.type, "work_sessions"))
		ck_assert_msg(json_equal(a, b), "seq %lld", (long long)e->seq);
	else
		ck_assert_msg(span_eq(buf_span(&ours), buf_span(&theirs)), "seq %lld:\n%s\n%s",
		              (long long)e->seq, buf_cstr(&ours), buf_cstr(&theirs));
	w->compared++;
	buf_free(&scratch);
	buf_free(&text);
	buf_free(&ours);
	buf_free(&theirs);
	return RC_OK;
}

START_TEST(an_entry_is_sent_as_the_stock_client_sends_it)
{
	const char *h = recorded[_i].history;
	char name[80], log[80], path[FIXTURE_PATH];
	struct books books = { .cursor = -1, .foreign_rowid = -1 };
	struct buf text = { 0 };
	struct wire w = { 0 };
	struct replica r;
	struct local *l;
	struct err err;

	snprintf(name, sizeof(name), "replay/%s/after/%s.db", h, recorded[_i].device);
	snprintf(log, sizeof(log), "replay/%s/log.jsonl", h);
	if (!fixture_find(name, path) || !fixture_find(log, path)) {
		fprintf(stderr, "skipped: no recording %s\n", name);
		return;
	}
	if (strcmp(h, "large") == 0)
		return; /* of one kind, and looked up by scanning */
	fixture_read(log, &text);
	w.log = buf_span(&text);
	replica_make(&r, "R", name);
	ck_assert_msg(local_open(r.dir, false, &l, &err) == RC_OK, "%s", err.text);
	ck_assert(books_prepare(l, &err) == RC_OK);
	ck_assert_msg(entries_walk(l, &books, ENTRIES_OVERLAY, compare_wire, &w, &err) == RC_OK,
	              "%s", err.text);
	ck_assert_str_eq(ask(&r, "SELECT count(*) FROM action_log WHERE server_seq > 0"),
	                 ask(&r, "SELECT %d", w.compared));
	local_close(l);
	buf_free(&text);
	replica_close(&r);
}
END_TEST

/* --- backfill --- */

/* Compare the server's log with the first n events of a recorded one. */
static enum rc
same_as_recorded(void *ctx, const struct event *ev, bool *stop)
{
	struct span *rest = ctx, line, v;
	struct buf ours = { 0 }, theirs = { 0 }, scratch = { 0 };
	struct event want;
	struct err err;

	*stop = false;
	ck_assert(fixture_line(rest, &line));
	ck_assert(json_get(line, "payload", &v));
	json_canonical(v, &theirs);
	json_canonical(ev->payload, &ours);
	ck_assert_msg(page_event(line, &want, &scratch, &err) == RC_OK, "%s", err.text);
	ck_assert_msg(span_eq(ev->type, want.type) && span_eq(ev->id, want.id) &&
	              ev->action == want.action && ev->action_id == want.action_id &&
	              span_eq(ev->time, want.time), "seq %lld", (long long)ev->seq);
	ck_assert_msg(span_eq(buf_span(&ours), buf_span(&theirs)), "seq %lld:\n%s\n%s",
	              (long long)ev->seq, buf_cstr(&ours), buf_cstr(&theirs));
	buf_free(&ours);
	buf_free(&theirs);
	buf_free(&scratch);
	return RC_OK;
}

START_TEST(the_first_push_of_an_old_database_is_the_stock_client_s)
{
	static const struct {
		const char *history;
		int events, backfilled;
	} cases[] = { { "legacy", 119, 0 }, { "legacy-backfill", 25, 25 } };
	char before[80], log[80], path[FIXTURE_PATH];
	struct buf text = { 0 };
	struct events *events;
	struct replica a, b;
	struct span rest;
	struct err err;

	snprintf(before, sizeof(before), "replay/%s/before/A.db", cases[_i].history);
	snprintf(log, sizeof(log), "replay/%s/log.jsonl", cases[_i].history);
	if (!fixture_find(before, path)) {
		fprintf(stderr, "skipped: no recording %s\n", before);
		return;
	}
	replica_make(&a, "A", before);
	sql(&a, "UPDATE sync_state SET project_id = '" PROJECT "'");
	SYNC(&a);
	ck_assert_int_eq(a.res.pushed, cases[_i].events);
	ck_assert_int_eq(server_seq(), cases[_i].events);
	ck_assert_str_eq(ask(&a, "SELECT count(*) FROM action_log WHERE session_id='td-sync'"),
	                 ask(&a, "SELECT %d", cases[_i].backfilled));
	fixture_read(log, &text);
	rest = buf_span(&text);
	events = server_log();
	ck_assert(events_walk(events, 0, INT64_MAX, true, NULL, same_as_recorded, &rest,
	                      &err) == RC_OK);
	events_close(events);
	buf_free(&text);
	assert_settled(&a);

	replica_make(&b, "B", "empty-v38.db");
	LINK(&b);
	SYNC(&b);
	assert_same(&a, &b);
	ck_assert_int_eq(b.res.pushed, 0);
	ck_assert_str_eq(ask(&a, "SELECT count(*) FROM sync_conflicts"), "0");
	replica_close(&a);
	replica_close(&b);
}
END_TEST

/* Real projects of old schemas, as found. */
START_TEST(databases_of_old_schemas_sync_with_new_ones)
{
	static const char *const files[] = { "nightshift-v27.db", "sindri-v31.db" };
	char path[FIXTURE_PATH], mode[16];
	struct replica old, new, third;

	if (!fixture_find(files[_i], path)) {
		fprintf(stderr, "skipped: no recording %s\n", files[_i]);
		return;
	}
	replica_make(&old, "old", files[_i]);
	replica_make(&new, "new", "empty-v38.db");
	replica_make(&third, "third", files[_i]); /* a copy of the first */
	snprintf(mode, sizeof(mode), "%s", ask(&old, "PRAGMA journal_mode"));
	LINK(&old);
	LINK(&new);
	td_create(&new, "td-00000f", "Made on the new one");
	SYNC(&old);
	ck_assert_int_gt(old.res.pushed, 10);
	SYNC(&new);
	SYNC(&old);
	assert_same(&old, &new);
	assert_settled(&old);
	ck_assert_str_eq(ask(&old, "PRAGMA journal_mode"), mode);
	ck_assert_str_eq(ask(&old, "SELECT count(*) FROM sync_conflicts"), "0");

	/* The copy: the same entries, pushed by somebody else, are known. */
	LINK(&third);
	td_update(&third, ask(&third, "SELECT min(id) FROM issues"), "title", "Edited in the copy");
	SYNC(&third);
	ck_assert_int_eq(third.res.pushed, 1);
	ck_assert_int_eq(third.res.duplicates, 0); /* seen in the log, not sent */
	SYNC(&old);
	SYNC(&new);
	assert_same(&old, &new);
	assert_same(&third, &new);
	replica_close(&old);
	replica_close(&new);
	replica_close(&third);
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
	tcase_add_loop_test(tc, an_entry_is_sent_as_the_stock_client_sends_it, 0,
	                    sizeof(recorded) / sizeof(recorded[0]));
	tcase_add_loop_test(tc, the_first_push_of_an_old_database_is_the_stock_client_s, 0, 2);
	tcase_add_loop_test(tc, databases_of_old_schemas_sync_with_new_ones, 0, 2);
	suite_add_tcase(s, tc);
	suite_add_tcase(s, client_beside_cases());
	suite_add_tcase(s, client_conflict_cases());
	suite_add_tcase(s, client_fault_cases());
	suite_add_tcase(s, client_history_cases());
	suite_add_tcase(s, client_login_cases());
	suite_add_tcase(s, client_verify_cases());
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
