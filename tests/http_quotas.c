/* Quotas: how a push or a new project is refused that goes beyond one. */
#include "http_test.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>

#define QUOTAS "max_project_events = 20\nmax_user_projects = 3\n"

static void
check_exceeded(struct world *w, const char *says)
{
	ck_assert_int_eq(w->answer.status, 403);
	ck_assert(has_code(w, "quota_exceeded"));
	ck_assert(web_is_json(&w->answer));
	ck_assert_msg(strstr(w->answer.body.p, says) != NULL, "%s", w->answer.body.p);
}

static void
events(struct world *w)
{
	ck_assert_int_eq(push_some(w, "d", 1, 15), 200);
	ck_assert_int_eq(push_some(w, "d", 16, 6), 403);
	check_exceeded(w, "15 of the 20 events that it may have (max_project_events)");
	ck_assert_int_eq(log_count(w), 15);
	ck_assert_int_eq(push_some(w, "d", 16, 5), 200);
	ck_assert_int_eq(push_some(w, "d", 21, 1), 403);
	ck_assert_int_eq(push_some(w, "d", 11, 10), 200); /* its acks, again */
	ck_assert_int_eq(answer_number(w, "accepted"), 0);
	ck_assert_int_eq(ask(w, READER, "GET", "/v1/projects/{p}/sync/pull", NULL, NULL), 200);
	ck_assert_int_eq(log_count(w), 20);
}

START_TEST(a_push_beyond_the_quota_is_refused_whole)
{
	with_each_of(QUOTAS, events);
}
END_TEST

static void
healed(struct world *w)
{
	int64_t seq;

	/* A handoff that is undone is sent as a soft_delete, which stock devices
	 * don't take: the server says what it means, quota or not. */
	push_event(w, WRITER, "d", "10:00:00", "create issues td-1",
	           "{'new_data':{'id':'td-1','title':'T'}}");
	push_event(w, WRITER, "d", "10:00:01", "create handoffs ho-1",
	           "{'new_data':{'id':'ho-1','issue_id':'td-1','session_id':'s'}}");
	seq = push_event(w, WRITER, "d", "10:00:02", "soft_delete handoffs ho-1",
	                 "{'previous_data':{'id':'ho-1'}}");
	ck_assert_int_eq(seq, 3);
	for (int i = 0; i < 200 && log_count(w) < 4; i++)
		ck_assert_int_eq(ask(w, READER, "GET", "/v1/projects/{p}/sync/pull?after_server_seq=3",
		                     NULL, NULL), 200);
	ck_assert_int_eq(log_count(w), 4);
	ck_assert_int_eq(push_some(w, "d", 1000, 1), 403);
	check_exceeded(w, "4 of the 3 events");
}

START_TEST(what_the_server_has_to_say_is_not_refused)
{
	with_each_of("max_project_events = 3\nheal = on\n", healed);
}
END_TEST

static void
bytes(struct world *w)
{
	int n = 0;

	while (push_some(w, "d", 1 + 50 * n, 50) == 200)
		ck_assert_int_lt(++n, 1000);
	check_exceeded(w, "of the 200000 bytes that it may have (max_project_bytes)");
	ck_assert_int_gt(n, 1);
	ck_assert_int_eq(log_count(w), 50 * n);
	ck_assert_int_eq(push_some(w, "d", 1, 50), 200);
	/* Half of it, and again half: until not even one fits. */
	for (int part = 25, first = 1 + 50 * n; part > 0; part /= 2)
		while (push_some(w, "d", first, part) == 200)
			first += part;
	ck_assert_int_eq(w->answer.status, 403);
	ck_assert_int_lt(log_count(w), 50 * (n + 1) + 25);
}

START_TEST(a_log_that_is_large_enough_takes_no_more)
{
	with_each_of("max_project_bytes = 200000\n", bytes);
}
END_TEST

/* Folders in data/projects. */
static int
folders(const struct world *w)
{
	char path[PATH_MAX + 32];
	struct dirent *entry;
	int n = 0;
	DIR *d;

	snprintf(path, sizeof(path), "%s/projects", w->site.data);
	ck_assert_ptr_nonnull(d = opendir(path));
	while ((entry = readdir(d)) != NULL)
		n += entry->d_name[0] == 'p';
	closedir(d);
	return n;
}

static int
new_project(struct world *w, enum who who)
{
	return ask(w, who, "POST", "/v1/projects", "{\"name\":\"New\"}", NULL);
}

static void
owned(struct world *w)
{
	char other[ID_MAX];
	int n;

	/* The owner has one, and one that is deleted; others have none. */
	ck_assert_int_eq(new_project(w, OWNER), 201);
	ck_assert_int_eq(new_project(w, OWNER), 201);
	n = folders(w);
	ck_assert_int_eq(new_project(w, OWNER), 403);
	check_exceeded(w, "You own 3 of the 3 projects that a user may own (max_user_projects)");
	ck_assert_int_eq(folders(w), n);
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(new_project(w, READER), 201);
	ck_assert_int_eq(new_project(w, READER), 403);
	/* Where one only writes, it is another's; where one was made an owner, one's own. */
	ck_assert_int_eq(new_project(w, WRITER), 201);
	ck_assert_int_eq(new_project(w, WRITER), 201);
	site_project(&w->site, "Other", w->users[STRANGER], other);
	site_member(&w->site, other, w->users[WRITER], ROLE_OWNER);
	ck_assert_int_eq(new_project(w, WRITER), 403);
	/* What is deleted makes room. */
	ck_assert_int_eq(ask(w, OWNER, "DELETE", "/v1/projects/{p}", NULL, NULL), 204);
	ck_assert_int_eq(new_project(w, OWNER), 201);
	ck_assert_int_eq(new_project(w, OWNER), 403);
}

START_TEST(a_user_owns_as_many_projects_as_he_may)
{
	with_each_of(QUOTAS, owned);
}
END_TEST

TCase *
quotas_case(void)
{
	TCase *tc = tcase_create("quotas");

	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, a_push_beyond_the_quota_is_refused_whole);
	tcase_add_test(tc, what_the_server_has_to_say_is_not_refused);
	tcase_add_test(tc, a_log_that_is_large_enough_takes_no_more);
	tcase_add_test(tc, a_user_owns_as_many_projects_as_he_may);
	return tc;
}
