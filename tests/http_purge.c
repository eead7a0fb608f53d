/* Purging a project while a server runs: nothing of it stays or comes back. */
#include "http_test.h"

#include "fcgi_client.h"
#include "mishap.h"

#include <glob.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* Run td-sync-admin project purge; its wait status. */
static int
purge(const struct world *w, bool with_mishaps)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		if (with_mishaps) {
			setenv("LD_PRELOAD", MISHAP_LIBRARY, 1);
			setenv("TD_SYNC_MISHAP", mishap_file(), 1);
			setenv("ASAN_OPTIONS", "verify_asan_link_order=0", 1);
		}
		execl(TOP_BUILDDIR "/td-sync-admin", "td-sync-admin", "--data", w->site.data,
		      "project", "purge", w->project, "--yes", NULL);
		_exit(127);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	return status;
}

/* How many files and folders in the data folder have the project's id in their name. */
static size_t
left(const struct world *w)
{
	char pattern[PATH_MAX + 64];
	glob_t found;
	size_t n;

	snprintf(pattern, sizeof(pattern), "%s/*/%s*", w->site.data, w->project);
	ck_assert(glob(pattern, 0, NULL, &found) != GLOB_ABORTED);
	n = found.gl_pathc;
	globfree(&found);
	return n;
}

static void
new_project(struct world *w)
{
	site_project(&w->site, "Garden", w->users[OWNER], w->project);
	site_member(&w->site, w->project, w->users[WRITER], ROLE_WRITER);
	site_member(&w->site, w->project, w->users[READER], ROLE_READER);
}

static int
pull(struct world *w)
{
	return ask(w, READER, "GET", "/v1/projects/{p}/sync/pull", NULL, NULL);
}

/* Pages and a snapshot are there, and workers have the log open. */
static void
use(struct world *w)
{
	fill(w, 1, 1500);
	ck_assert_int_eq(pull(w), 200);
	ck_assert_int_eq(ask(w, READER, "GET", "/v1/projects/{p}/sync/snapshot", NULL, NULL), 200);
	for (int i = 0; i < 1000 && left(w) < 3; i++) /* the page comes after the answer */
		usleep(5000);
	ck_assert_uint_eq(left(w), 3);
}

static void
purged(struct world *w)
{
	use(w);
	ck_assert_int_eq(purge(w, false), 4 << 8); /* it is not deleted */
	ck_assert_int_eq(pull(w), 200);
	ck_assert_int_eq(ask(w, OWNER, "DELETE", "/v1/projects/{p}", NULL, NULL), 204);
	ck_assert_int_eq(purge(w, false), 0);
	ck_assert_uint_eq(left(w), 0);
	for (int i = 0; i < 20; i++) { /* each worker */
		ck_assert_int_eq(push_some(w, "d", 2000, 1), 404);
		ck_assert_int_eq(pull(w), 404);
		ck_assert_int_eq(ask(w, READER, "GET", "/v1/projects/{p}/sync/snapshot", NULL, NULL),
		                 404);
		ck_assert_int_eq(ask(w, READER, "GET", "/v1/projects/{p}/sync/snapshot?at_seq=7", NULL,
		                     NULL), 404);
	}
	usleep(300000); /* what workers do in spare time */
	ck_assert_uint_eq(left(w), 0);
	ck_assert_int_eq(purge(w, false), 0);
	new_project(w);
	use(w);
}

START_TEST(a_purged_project_is_gone_and_others_go_on)
{
	with_each(purged);
}
END_TEST

/* --- under load --- */

#define CLIENTS 9
#define ROUNDS 6

struct client {
	pthread_t thread;
	const struct world *w;
	atomic_bool *stop;
	int n, good, odd;
};

/* Push, pull or ask for snapshots, until it is told to stop. */
static void *
hammer(void *ctx)
{
	static const char *const paths[] = {
		"push", "pull", "snapshot", "snapshot?at_seq=700", "pull?after_server_seq=1000",
		"conflicts",
	};
	struct client *c = ctx;
	const char *what = paths[c->n % 6];
	struct web_answer answer = { 0 };
	struct buf body = { 0 };
	char path[128], device[16];
	struct web_call call = { .method = c->n % 6 == 0 ? "POST" : "GET", .url = c->w->site.url,
	                         .path = path, .token = c->w->tokens[WRITER] };

	snprintf(path, sizeof(path), "/v1/projects/%s/sync/%s", c->w->project, what);
	snprintf(device, sizeof(device), "h%d", c->n);
	for (int i = 1; !*c->stop; i += 300) {
		if (c->n % 6 == 0) {
			buf_reset(&body);
			make_push(&body, device, i, 300);
			call.body = buf_span(&body);
		}
		if (!web_call(&call, &answer))
			c->odd++;
		else if (answer.status == 200)
			c->good++;
		else if (answer.status != 404 && answer.status != 503)
			c->odd += fprintf(stderr, "%s: %d %s\n", what, answer.status, answer.body.p) > 0;
	}
	buf_free(&body);
	web_free(&answer);
	return NULL;
}

static void
under_load(struct world *w)
{
	struct client clients[CLIENTS];
	atomic_bool stop;

	for (int round = 0; round < ROUNDS; round++) {
		new_project(w);
		use(w);
		stop = false;
		for (int i = 0; i < CLIENTS; i++) {
			clients[i] = (struct client){ .w = w, .stop = &stop, .n = i };
			ck_assert_int_eq(pthread_create(&clients[i].thread, NULL, hammer, &clients[i]), 0);
		}
		usleep(400000);
		ck_assert_int_eq(ask(w, OWNER, "DELETE", "/v1/projects/{p}", NULL, NULL), 204);
		ck_assert_int_eq(purge(w, false), 0);
		usleep(400000);
		stop = true;
		for (int i = 0; i < CLIENTS; i++) {
			pthread_join(clients[i].thread, NULL);
			ck_assert_int_eq(clients[i].odd, 0);
		}
		ck_assert_int_gt(clients[0].good, 0);
		usleep(100000);
		ck_assert_uint_eq(left(w), 0);
	}
}

START_TEST(workers_in_the_middle_of_it_bring_nothing_back)
{
	with_each(under_load);
}
END_TEST

/* A page is kept when its answer is out: here, only after the purge. */
START_TEST(a_page_that_a_worker_keeps_afterwards_goes_too)
{
	struct site_options options = { .kind = SITE_FASTCGI };
	struct buf answer = { 0 };
	char bearer[5000], path[128];
	struct world w;
	int fd;

	if (!http_can_run(options.kind))
		return;
	world_start(&w, &options);
	fill_large(&w, 1, 6, 600000);
	fill(&w, 1, 1500);
	snprintf(bearer, sizeof(bearer), "Bearer %s", w.tokens[READER]);
	snprintf(path, sizeof(path), "/v1/projects/%s/sync/pull", w.project);
	{
		const char *const params[] = {
			"REQUEST_METHOD", "GET", "SCRIPT_NAME", "", "PATH_INFO", path,
			"REQUEST_URI", path, "QUERY_STRING", "", "REMOTE_ADDR", "127.0.0.1",
			"HTTP_AUTHORIZATION", bearer, NULL,
		};

		fd = fcgi_connect(w.site.socket);
		ck_assert(fcgi_send(fd, params, (struct span){ NULL, 0 }, false));
	}
	usleep(500000); /* it is made, and does not fit into the socket */
	ck_assert_int_eq(ask(&w, OWNER, "DELETE", "/v1/projects/{p}", NULL, NULL), 204);
	ck_assert_int_eq(purge(&w, false), 0);
	ck_assert_uint_eq(left(&w), 0);
	ck_assert(fcgi_receive(fd, &answer));
	ck_assert_msg(answer.len > 3500000, "%.300s", answer.p);
	for (int i = 0; i < 300; i++) {
		usleep(5000);
		if (i > 100)
			ck_assert_uint_eq(left(&w), 0);
	}
	buf_free(&answer);
	world_stop(&w);
}
END_TEST

/* --- one that dies --- */

static void
dies(struct world *w)
{
	int status = -1, struck = 0;
	char plan[PATH_MAX + 16];

	snprintf(plan, sizeof(plan), "%s/mishaps", w->site.dir);
	ck_assert(mishap_share(plan));
	for (int n = 1; status != 0; n++) {
		new_project(w);
		use(w);
		ck_assert_int_eq(ask(w, OWNER, "DELETE", "/v1/projects/{p}", NULL, NULL), 204);
		mishap_plan(n, MISHAP_KILL, false, w->site.data);
		status = purge(w, true);
		mishap_none();
		ck_assert_msg(status == 0 || (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL),
		              "%d: %x", n, (unsigned)status);
		struck += status != 0;
		ck_assert_int_eq(pull(w), 404);
		ck_assert_int_eq(purge(w, false), 0);
		ck_assert_uint_eq(left(w), 0);
	}
	ck_assert_int_gt(struck, 5);
}

START_TEST(one_that_dies_half_way_is_run_again)
{
	struct site_options options = { .kind = SITE_FASTCGI };
	struct world w;

	if (!http_can_run(options.kind))
		return;
	world_start(&w, &options);
	dies(&w);
	world_stop(&w);
}
END_TEST

TCase *
purge_case(void)
{
	TCase *t = tcase_create("purge");

	tcase_set_timeout(t, 300);
	tcase_add_test(t, a_purged_project_is_gone_and_others_go_on);
	tcase_add_test(t, workers_in_the_middle_of_it_bring_nothing_back);
	tcase_add_test(t, a_page_that_a_worker_keeps_afterwards_goes_too);
	tcase_add_test(t, one_that_dies_half_way_is_run_again);
	return t;
}
