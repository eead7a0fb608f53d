/* What the server tells of an entity, and what it puts back. */
#include "tests/client_test.h"
#include "tests/front.h"

#include <stdlib.h>

/* All versions, a line each. */
static struct buf told;

static void
add_version(void *ctx, const struct tdsync_version *v)
{
	(void)ctx;
	buf_addf(&told, "%s/%s %lld %s %s%s by %s", v->entity_type, v->entity_id,
	         (long long)v->author.server_seq, v->action_type, v->outcome,
	         v->by_server ? " server" : "", v->author.device_id);
	if (v->reason[0] != '\0')
		buf_addf(&told, " because of %lld, %s", (long long)v->cause_seq, v->reason);
	for (size_t i = 0; i < v->n_changes; i++)
		if (strcmp(v->changes[i].name, "title") == 0)
			buf_addf(&told, " %s>%s", v->changes[i].from == NULL ? "?" : v->changes[i].from,
			         v->changes[i].to);
	for (size_t i = 0; i < v->n_conflicts; i++)
		buf_addf(&told, " conflict %s", v->conflicts[i]);
	if (v->restored_conflict[0] != '\0')
		buf_addf(&told, " restored %s", v->restored_conflict);
	if (v->taken_by_type[0] != '\0')
		buf_addf(&told, " with %s/%s", v->taken_by_type, v->taken_by_id);
	buf_add_byte(&told, '\n');
}

static const char *
history(const struct replica *r, const char *entity)
{
	buf_reset(&told);
	CALL_OK(r, tdsync_each_version(r->t, entity, add_version, NULL));
	return told.len == 0 ? "" : buf_cstr(&told);
}

/* A and B set the title of an issue; B's arrives last. */
static void
make_conflict(struct replica *a, struct replica *b)
{
	replica_make(a, "A", "empty-v38.db");
	replica_make(b, "B", "empty-v38.db");
	LINK(a);
	LINK(b);
	td_create(a, "td-00000a", "One");
	td_comment(a, "cm-00000001", "td-00000a", "Seen");
	SYNC(a);
	SYNC(b);
	td_update(a, "td-00000a", "title", "By A");
	td_update(b, "td-00000a", "title", "By B");
	SYNC(a);
	SYNC(b);
	SYNC(a);
}

#define WHOLE \
	"issues/td-00000a 1 create applied by device-A null>\"One\"\n" \
	"issues/td-00000a 3 update applied by device-A \"One\">\"By A\"\n" \
	"issues/td-00000a 4 update applied by device-B \"One\">\"By B\" conflict 4-1\n"

START_TEST(a_history_has_each_version_and_what_is_to_be_said_of_it)
{
	static const char again[] = "{\"client_action_id\":1,\"action_type\":\"create\","
	    "\"entity_type\":\"issues\",\"entity_id\":\"td-00000a\",\"payload\":{\"new_data\":"
	    "{\"id\":\"td-00000a\",\"title\":\"Anew\"}},\"client_timestamp\":"
	    "\"2026-01-01T00:00:00Z\"}";
	struct replica a, b;

	make_conflict(&a, &b);
	ck_assert_str_eq(history(&a, "td-00000a"), WHOLE);
	ck_assert_str_eq(history(&b, "issues/td-00000a"), WHOLE);
	ck_assert_str_eq(history(&b, "issue/td-00000a"), WHOLE);
	ck_assert_str_eq(history(&b, "cm-00000001"),
	                 "comments/cm-00000001 2 create applied by device-A\n");
	CALL_OK(&a, tdsync_restore(a.t, "4-1", &a.res));
	ck_assert_int_eq(a.res.pulled, 1);
	ck_assert_str_eq(ask(&a, "SELECT title FROM issues"), "By A");
	ck_assert_ptr_nonnull(strstr(history(&a, "td-00000a"), " 5 update applied by device-A"
	                             " \"By B\">\"By A\" restored 4-1\n"));
	/* A whole row over the row takes its children along. */
	server_push("device-other", "ses_other", span_of(again));
	ck_assert_ptr_nonnull(strstr(history(&a, "cm-00000001"), "comments/cm-00000001 6 create"
	                             " taken by device-other"));
	ck_assert_ptr_nonnull(strstr(buf_cstr(&told), " with issues/td-00000a\n"));
	replica_close(&a);
	replica_close(&b);
}
END_TEST

/* Of an undone create only what followed comes, and the server says the rest. */
START_TEST(what_the_server_wrote_is_told_and_why)
{
	static const char undone[] = "{\"client_action_id\":1,\"action_type\":\"soft_delete\","
	    "\"entity_type\":\"issues\",\"entity_id\":\"td-00000a\",\"payload\":{\"previous_data\":"
	    "{\"id\":\"td-00000a\",\"title\":\"Undone\"}},\"client_timestamp\":"
	    "\"2026-01-01T00:00:00Z\"}";
	struct replica a;

	server_heals = true;
	replica_make(&a, "A", "empty-v38.db");
	LINK(&a);
	server_push("device-other", "ses_other", span_of(undone));
	SYNC(&a);
	ck_assert_int_eq(a.res.pulled, 2);
	ck_assert_str_eq(history(&a, "td-00000a"),
	                 "issues/td-00000a 1 soft_delete nothing by device-other\n"
	                 "issues/td-00000a 2 create applied server by td-sync because of 1,"
	                 " undone_create null>\"Undone\"\n");
	ck_assert_str_eq(ask(&a, "SELECT title FROM issues WHERE deleted_at NOT NULL"), "Undone");
	replica_close(&a);
}
END_TEST

START_TEST(an_id_is_enough_where_one_type_has_it)
{
	struct replica a, b;

	make_conflict(&a, &b);
	/* Of one that is gone, and one that never was here: by what ids begin with. */
	sql(&b, "PRAGMA foreign_keys = OFF; DELETE FROM issues");
	ck_assert_str_eq(history(&b, "td-00000a"), WHOLE);
	ck_assert(unlink(replica_file(&b, "td-sync.db")) == 0);
	ck_assert_str_eq(history(&b, "td-00000a"), WHOLE);
	ck_assert_int_ne(access(replica_file(&b, "td-sync.db"), F_OK), 0); /* it only asks */
	ck_assert_int_eq(tdsync_each_version(b.t, "td-00000b", add_version, NULL),
	                 TDSYNC_NOT_FOUND);
	ck_assert_ptr_nonnull(strstr(tdsync_error(b.t), "no event"));
	ck_assert_int_eq(tdsync_each_version(b.t, "xy-1", add_version, NULL), TDSYNC_NOT_FOUND);
	ck_assert_ptr_nonnull(strstr(tdsync_error(b.t), "TYPE/ID"));
	sql(&a, "INSERT INTO notes (id, title, content, created_at, updated_at) VALUES"
	    " ('td-00000a', '', '', '2026', '2026')");
	ck_assert_int_eq(tdsync_each_version(a.t, "td-00000a", add_version, NULL),
	                 TDSYNC_INVALID);
	ck_assert_ptr_nonnull(strstr(tdsync_error(a.t), "issues/td-00000a"));
	ck_assert_int_eq(tdsync_each_version(a.t, "", add_version, NULL), TDSYNC_INVALID);
	ck_assert_int_eq(tdsync_each_version(a.t, NULL, add_version, NULL), TDSYNC_INVALID);
	CALL_OK(&a, tdsync_unlink(a.t));
	ck_assert_int_eq(tdsync_each_version(a.t, "td-00000a", add_version, NULL),
	                 TDSYNC_NOT_LINKED);
	replica_close(&a);
	replica_close(&b);
}
END_TEST

static bool
ask_for_one(struct front *f, struct transport_request *rq, struct transport_reply *re,
            enum rc *rc, struct err *err)
{
	(void)f;
	(void)re;
	(void)rc;
	(void)err;
	front_limit(rq, 1);
	return false;
}

START_TEST(a_long_history_comes_in_pages)
{
	struct replica a, b;
	struct front f;

	make_conflict(&a, &b);
	front_use(&a, &f, "/history");
	f.answer = ask_for_one;
	ck_assert_str_eq(history(&a, "td-00000a"), WHOLE);
	ck_assert_int_eq(f.asked, 3);
	replica_close(&a);
	replica_close(&b);
}
END_TEST

static const struct {
	const char *why;
	int status;
	const char *type, *body;
	enum tdsync_rc history, restore;
	const char *says;
} answers[] = {
	{ "a server without such a route", 404, "text/plain", "404 page not found",
	  TDSYNC_REFUSED, TDSYNC_REFUSED, "this server" },
	{ "one that has another method", 405, "text/plain", "no", TDSYNC_REFUSED, TDSYNC_REFUSED,
	  "this server" },
	{ "no such thing", 404, NULL, "{\"error\":{\"code\":\"not_found\",\"message\":\"x\"}}",
	  TDSYNC_NOT_FOUND, TDSYNC_NOT_FOUND, "no" },
	{ "busy", 503, NULL, "{\"error\":{\"code\":\"busy\",\"message\":\"being made\"}}",
	  TDSYNC_BUSY, TDSYNC_BUSY, "being made" },
	{ "it can't be", 409, NULL, "{\"error\":{\"code\":\"conflict\",\"message\":\"it stands\"}}",
	  TDSYNC_REFUSED, TDSYNC_REFUSED, "it stands" },
	{ "HTML", 200, "text/html", "<html>", TDSYNC_NETWORK, TDSYNC_NETWORK, "text/html" },
	{ "no list", 200, NULL, "{\"has_more\":false}", TDSYNC_NETWORK, TDSYNC_OK, "no sense" },
	{ "no has_more", 200, NULL, "{\"versions\":[]}", TDSYNC_NETWORK, TDSYNC_OK, "no sense" },
	{ "more, and nothing to go on from", 200, NULL, "{\"versions\":[],\"has_more\":true}",
	  TDSYNC_NETWORK, TDSYNC_OK, "no sense" },
	{ "an odd version", 200, NULL, "{\"versions\":[{}],\"has_more\":false}", TDSYNC_NETWORK,
	  TDSYNC_OK, "no sense" },
	{ "versions that go back", 200, NULL, "{\"versions\":[{\"server_seq\":2,\"changed\":[]},"
	  "{\"server_seq\":1,\"changed\":[]}],\"has_more\":false}", TDSYNC_NETWORK, TDSYNC_OK,
	  "no sense" },
};

static bool
answer_so(struct front *f, struct transport_request *rq, struct transport_reply *re,
          enum rc *rc, struct err *err)
{
	int i = *(const int *)f->ctx;

	(void)rq;
	(void)rc;
	(void)err;
	front_reply(re, answers[i].status, answers[i].type, answers[i].body);
	return true;
}

static void
assert_one_line(const struct replica *r)
{
	ck_assert_msg(strchr(tdsync_error(r->t), '\n') == NULL, "%s", tdsync_error(r->t));
}

START_TEST(every_bad_answer_is_one_line)
{
	struct replica a, b;
	struct front f;
	enum tdsync_rc rc;

	make_conflict(&a, &b);
	front_use(&a, &f, "/history");
	f.answer = answer_so;
	f.ctx = &_i;
	rc = tdsync_each_version(a.t, "td-00000a", add_version, NULL);
	ck_assert_msg(rc == answers[_i].history, "%s: %s", answers[_i].why, tdsync_error(a.t));
	ck_assert_msg(strstr(tdsync_error(a.t), answers[_i].says) != NULL, "%s: %s",
	              answers[_i].why, tdsync_error(a.t));
	assert_one_line(&a);
	f.ask = "/restore";
	rc = tdsync_restore(a.t, "4-1", &a.res);
	ck_assert_msg(rc == answers[_i].restore, "%s: %s", answers[_i].why, tdsync_error(a.t));
	assert_one_line(&a);
	ck_assert_str_eq(ask(&a, "SELECT title FROM issues"), "By B");
	replica_close(&a);
	replica_close(&b);
}
END_TEST

START_TEST(only_what_looks_like_a_conflict_s_name_is_asked_for)
{
	static const char *const ids[] = { "", "4", "-1", "4-", "4-1-1", "4-x", "../4-1", "4-1/",
		"1111111111111111111111111111111111111111-1", NULL };
	struct replica a, b;
	struct front f;

	make_conflict(&a, &b);
	front_use(&a, &f, "/restore");
	for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++)
		ck_assert_int_eq(tdsync_restore(a.t, ids[i], NULL), TDSYNC_INVALID);
	ck_assert_int_eq(f.asked, 0);
	/* Once is once: the second time there is nothing to put back. */
	CALL_OK(&a, tdsync_restore(a.t, "4-1", NULL));
	ck_assert_int_eq(tdsync_restore(a.t, "4-1", NULL), TDSYNC_REFUSED);
	ck_assert_ptr_nonnull(strstr(tdsync_error(a.t), "stand there already"));
	ck_assert_int_eq(server_seq(), 5);
	replica_close(&a);
	replica_close(&b);
}
END_TEST

/* td moves its cursor while we sync after the server has put it back. */
static bool
move_td(void *ctx, const char *name)
{
	static int moved;

	if (strcmp(name, "pull.fetched") == 0 && moved++ == 0)
		sql(ctx, "UPDATE sync_state SET last_pulled_server_seq = 1");
	return true;
}

START_TEST(a_call_that_begins_again_puts_back_once)
{
	struct replica a, b;
	struct front f;

	make_conflict(&a, &b);
	front_use(&a, &f, "/restore");
	tdsync_on_step(a.t, move_td, &a);
	CALL_OK(&a, tdsync_restore(a.t, "4-1", NULL));
	ck_assert_int_eq(f.asked, 1);
	ck_assert_int_eq(server_seq(), 5);
	ck_assert_str_eq(ask(&a, "SELECT title FROM issues"), "By A");
	replica_close(&a);
	replica_close(&b);
}
END_TEST

static void
forget_told(void)
{
	buf_free(&told);
	replica_teardown();
}

TCase *
client_history_cases(void)
{
	TCase *tc = tcase_create("history");

	tcase_add_checked_fixture(tc, replica_setup, forget_told);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, a_history_has_each_version_and_what_is_to_be_said_of_it);
	tcase_add_test(tc, what_the_server_wrote_is_told_and_why);
	tcase_add_test(tc, an_id_is_enough_where_one_type_has_it);
	tcase_add_test(tc, a_long_history_comes_in_pages);
	tcase_add_loop_test(tc, every_bad_answer_is_one_line, 0,
	                    sizeof(answers) / sizeof(answers[0]));
	tcase_add_test(tc, only_what_looks_like_a_conflict_s_name_is_asked_for);
	tcase_add_test(tc, a_call_that_begins_again_puts_back_once);
	return tc;
}
