/*
 * A disk that fails: at each call that writes which a push, a first push, a
 * checkpoint or a sealed page makes. After each of them what was acked, or
 * served, would survive a power cut, and the server goes on without help.
 */
#include "torture.h"

#include "mishap.h"
#include "powercut.h"
#include "temp.h"
#include "web.h"

#include "base/json.h"
#include "store/events.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MOST_CALLS 500   /* of one of these; more would be a loop */
#define CHECKPOINT_POINTS 12
#define LARGE_EVENTS 1000

/* The ways a call fails. */
static const struct {
	int action;
	bool lasting;      /* so do all after it, until the request is answered */
	enum site_kind kind;
} ways[] = {
	{ EIO, false, SITE_FASTCGI },       { EIO, true, SITE_FASTCGI },
	{ ENOSPC, false, SITE_FASTCGI },    { ENOSPC, true, SITE_FASTCGI },
	{ MISHAP_SHORT, false, SITE_FASTCGI },
	{ EIO, false, SITE_CGI },           { ENOSPC, false, SITE_CGI },
	{ MISHAP_KILL, false, SITE_CGI }, /* a pool would wait before it forks again */
};
#define WAYS (int)(sizeof(ways) / sizeof(ways[0]))

/* A site whose disk is ours. */
struct lab {
	struct torture t;
	struct follower follower;
	char dir[TEMP_PATH];
	char disk[TEMP_PATH + 16], after[TEMP_PATH + 16]; /* see powercut.h */
};

static void
lab_start(struct lab *l, enum site_kind kind)
{
	static const char *const one[] = { "--workers", "1", "--max-workers", "1", NULL };
	char plan[TEMP_PATH + 16], env[TEMP_PATH + 48];
	const char *const wrapper[] = { "/usr/bin/env", "LD_PRELOAD=" MISHAP_LIBRARY, env,
		"ASAN_OPTIONS=verify_asan_link_order=0", NULL };
	struct site_options options = { .kind = kind, .arguments = one, .wrapper = wrapper };

	memset(l, 0, sizeof(*l));
	temp_make(l->dir);
	options.dir = l->dir;
	snprintf(plan, sizeof(plan), "%s/plan", l->dir);
	ck_assert(mishap_share(plan));
	snprintf(env, sizeof(env), "TD_SYNC_MISHAP=%s", plan);
	snprintf(l->disk, sizeof(l->disk), "%s/disk", l->dir);
	snprintf(l->after, sizeof(l->after), "%s/after", l->dir);
	ck_assert(mkdir(l->disk, 0700) == 0 && mkdir(l->after, 0700) == 0);
	torture_start(&l->t, &options);
	snprintf(mishap->disk, sizeof(mishap->disk), "%s", l->disk);
	ck_assert_int_eq(powercut_begin(l->disk, l->t.dir), 0);
}

static void
lab_stop(struct lab *l)
{
	follower_free(&l->follower);
	mishap->disk[0] = '\0';
	torture_stop(&l->t);
	temp_remove(l->dir);
}

/* What was acked and what was served: the log has it, and so would it have
 * after a power cut now. */
static void
lab_check(struct lab *l, const char *what, int n)
{
	const struct follower *f = &l->follower;

	ck_assert_msg(ledger_agrees(l->t.ledger, l->t.dir, &f, 1), "%s: call %d", what, n);
	ck_assert_int_eq(powercut_copy(l->disk, l->t.dir, l->after), 0);
	ck_assert_msg(ledger_agrees(l->t.ledger, l->after, &f, 1),
	              "%s: call %d: gone after a power cut", what, n);
	temp_remove(l->after);
	ck_assert_int_eq(mkdir(l->after, 0700), 0);
}

static bool
lab_follow(struct lab *l)
{
	return crowd_follow(&l->t.crowd, l->t.site.url, &l->follower);
}

/*
 * Push n events, with a failure at the at-th call; then again as the client
 * would. False: the push did not come that far.
 */
static bool
push_through(struct lab *l, size_t n, int at, int action, bool lasting)
{
	struct crowd *c = &l->t.crowd;
	size_t first = ledger_make(l->t.ledger, 0, n);
	bool struck;
	int status;

	mishap_plan(at, action, lasting, "/projects/");
	status = crowd_push(c, l->t.site.url, 0, first, n, "ses_0");
	if (!lasting)
		lab_follow(l); /* whatever a reader is told holds as well */
	mishap_none();
	struck = mishap->struck > 0;
	ck_assert_msg(status == 200 || (struck && status >= 500), "call %d: %d", at, status);
	lab_check(l, "the push", at);
	status = crowd_push(c, l->t.site.url, 0, first, n, "ses_1");
	ck_assert_msg(status == 200, "after call %d: %d", at, status);
	ck_assert(lab_follow(l));
	lab_check(l, "the push again", at);
	return struck;
}

START_TEST(a_push_on_a_disk_that_fails_at_any_call_acks_nothing_it_may_lose)
{
	struct lab l;
	int n = 0;

	lab_start(&l, ways[_i].kind);
	do
		ck_assert_int_lt(++n, MOST_CALLS);
	while (push_through(&l, 3, n, ways[_i].action, ways[_i].lasting));
	ck_assert_int_gt(n, 5);
	/* Which call is the nth differs from push to push; these are few. */
	strcpy(mishap->call, "sync");
	n = 0;
	do
		ck_assert_int_lt(++n, MOST_CALLS);
	while (push_through(&l, 3, n, ways[_i].action, ways[_i].lasting));
	mishap->call[0] = '\0';
	lab_stop(&l);
}
END_TEST

static TCase *
disk_case(void)
{
	TCase *tc = tcase_create("disk");
	int from = torture_can_run() ? 0 : 5;

	tcase_set_timeout(tc, 240);
	tcase_add_loop_test(tc,
	    a_push_on_a_disk_that_fails_at_any_call_acks_nothing_it_may_lose, from, WAYS);
	return tc;
}

int
main(void)
{
	TCase *(*const cases[])(void) = { disk_case, NULL };

	return torture_main("disk", cases);
}
