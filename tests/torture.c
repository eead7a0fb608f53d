/* What the tests that torture a server share, see torture.h. */
#include "torture.h"

#include "web.h"

#include "base/fs.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void
torture_start(struct torture *t, const struct site_options *o)
{
	memset(t, 0, sizeof(*t));
	ck_assert(site_start(&t->site, o));
	t->ledger = ledger_new();
	site_user(&t->site, "owner@example.com", t->user);
	site_project(&t->site, "Garden", t->user, t->project);
	t->token = site_token(&t->site, t->user, SCOPE_READ | SCOPE_WRITE, NULL, NULL);
	snprintf(t->dir, sizeof(t->dir), "%s/projects/%s", t->site.data, t->project);
	t->crowd = (struct crowd){ .ledger = t->ledger, .urls = { t->site.url },
	                           .project = t->project, .token = t->token };
}

void
torture_stop(struct torture *t)
{
	for (int i = 0; i < t->crowd.followers; i++)
		follower_free(&t->crowd.follow[i]);
	free(t->token);
	ledger_free(t->ledger);
	ck_assert(site_stop(&t->site));
}

void
torture_check(struct torture *t, bool followers)
{
	const struct follower *all[CROWD_MAX + 1];
	struct follower fresh = { 0 };
	size_t n = 0;

	ck_assert(crowd_follow(&t->crowd, t->site.url, &fresh));
	all[n++] = &fresh;
	for (int i = 0; followers && i < t->crowd.followers; i++)
		all[n++] = &t->crowd.follow[i];
	ck_assert(ledger_agrees(t->ledger, t->dir, all, n));
	ck_assert_int_ge(fresh.cursor, (int64_t)ledger_acked(t->ledger));
	follower_free(&fresh);
}

int
torture_push(struct torture *t, size_t n)
{
	return crowd_push(&t->crowd, t->site.url, 0, ledger_make(t->ledger, 0, n), n, "ses_0");
}

bool
torture_logged(const struct torture *t, const char *text)
{
	struct buf log = { 0 };
	bool found;

	ck_assert_int_eq(fs_read(t->site.error_log, 1 << 24, &log, NULL), RC_OK);
	found = buf_cstr(&log) != NULL && strstr(log.p, text) != NULL;
	buf_free(&log);
	return found;
}

int
torture_soak(void)
{
	const char *text = getenv("TD_SYNC_SOAK");
	int n = text != NULL ? atoi(text) : 1;

	return n > 0 ? n : 1;
}

unsigned
torture_seed(const char *what)
{
	const char *text = getenv("TD_SYNC_SEED");
	unsigned seed = text != NULL ? (unsigned)strtoul(text, NULL, 10)
	                             : (unsigned)clock_now_us();

	fprintf(stderr, "%s: TD_SYNC_SEED=%u\n", what, seed);
	return seed;
}

bool
torture_can_run(void)
{
	const char *why = site_missing(SITE_FASTCGI);

	if (why != NULL)
		fprintf(stderr, "skipped: %s\n", why);
	return why == NULL;
}

int
torture_main(const char *name, TCase *(*const *cases)(void))
{
	Suite *s = suite_create(name);
	SRunner *sr;
	int failed;

	curl_global_init(CURL_GLOBAL_DEFAULT);
	for (; *cases != NULL; cases++)
		suite_add_tcase(s, (*cases)());
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
