/*
 * Kill -9 at random moments: whatever dies, every ack holds, and the server goes
 * on without help.
 */
#include "torture.h"

#include "patience.h"
#include "web.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define KILLS 200         /* of workers, and of the master */
#define CGI_KILLS 60
#define PUSHERS 8
#define WORKERS 8
#define PIDS 64
#define SLOWEST_MS 30000  /* a call; a stock client would give up */
#define MASTER_EACH 5     /* each so many-th kill is the master's; that many young
                           * workers in a row may die without a long pause */

static const char *const pool[] = { "--workers", "8", "--max-workers", "16", NULL };

/* The children of a process. */
static size_t
children(pid_t pid, pid_t *out, size_t max)
{
	char path[64];
	size_t n = 0;
	FILE *f;
	int child;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)pid, (int)pid);
	f = fopen(path, "r");
	while (f != NULL && n < max && fscanf(f, "%d", &child) == 1)
		out[n++] = child;
	if (f != NULL)
		fclose(f);
	return n;
}

/* What a supervisor does: a master that ended is started again. One that
 * starts while workers of the old one answer in its place is refused, and ends. */
static void
supervise(struct torture *t, const struct site_options *o)
{
	if (t->site.pool == 0 || waitpid(t->site.pool, NULL, WNOHANG) != 0)
		t->site.pool = 0;
	if (t->site.pool == 0 && !site_start_pool(&t->site, o))
		t->site.pool = 0;
}

START_TEST(kill_9_of_workers_and_masters_loses_no_ack)
{
	struct site_options options = { .kind = SITE_FASTCGI, .arguments = pool };
	unsigned seed = torture_seed("kill -9");
	int kills = KILLS * torture_soak(), hit = 0, checks = 0;
	struct torture t;
	pid_t pids[PIDS];

	torture_start(&t, &options);
	t.crowd.pushers = PUSHERS;
	t.crowd.followers = 2;
	crowd_start(&t.crowd);
	while (hit < kills) {
		size_t n;

		usleep((useconds_t)rand_r(&seed) % 40000);
		supervise(&t, &options);
		if (t.site.pool == 0)
			continue;
		if (hit % MASTER_EACH == MASTER_EACH - 1) {
			hit += kill(t.site.pool, SIGKILL) == 0;
			waitpid(t.site.pool, NULL, 0);
			t.site.pool = 0;
		} else if ((n = site_workers(&t.site, pids, PIDS)) > 0) {
			hit += kill(pids[(size_t)rand_r(&seed) % n], SIGKILL) == 0;
		}
		if (hit / 50 > checks) { /* while they push on */
			checks++;
			ck_assert(ledger_agrees(t.ledger, t.dir, NULL, 0));
		}
		ck_assert(!atomic_load(&t.crowd.wrong));
	}
	while (!crowd_wait(&t.crowd, atomic_load(&t.crowd.answered) + 1, 100))
		supervise(&t, &options);
	ck_assert(crowd_wait(&t.crowd, atomic_load(&t.crowd.answered) + 5 * PUSHERS, 60000));
	ck_assert(crowd_stop(&t.crowd));
	ck_assert_int_gt(atomic_load(&t.crowd.again), 0); /* pushes were hit */
	torture_check(&t, true);
	ck_assert_int_lt(atomic_load(&t.crowd.slowest_ms), SLOWEST_MS);
	ck_assert_uint_eq(ledger_acked(t.ledger), ledger_made(t.ledger));
	torture_stop(&t);
}
END_TEST

START_TEST(kill_9_of_cgi_processes_loses_no_ack)
{
	struct site_options options = { .kind = SITE_CGI };
	unsigned seed = torture_seed("kill -9 of CGI");
	int kills = CGI_KILLS * torture_soak();
	pid_t serving[PIDS], programs[PIDS];
	struct torture t;

	torture_start(&t, &options);
	t.crowd.pushers = PUSHERS;
	t.crowd.followers = 1;
	crowd_start(&t.crowd);
	for (int hit = 0; hit < kills;) {
		size_t n = children(t.site.web, serving, PIDS), k = 0;

		usleep((useconds_t)rand_r(&seed) % 3000);
		if (n > 0)
			k = children(serving[(size_t)rand_r(&seed) % n], programs, PIDS);
		if (k > 0)
			hit += kill(programs[0], SIGKILL) == 0;
		ck_assert(!atomic_load(&t.crowd.wrong));
	}
	ck_assert(crowd_stop(&t.crowd));
	ck_assert_int_gt(atomic_load(&t.crowd.again), 0);
	torture_check(&t, true);
	ck_assert_int_lt(atomic_load(&t.crowd.slowest_ms), SLOWEST_MS);
	ck_assert_uint_eq(ledger_acked(t.ledger), ledger_made(t.ledger));
	torture_stop(&t);
}
END_TEST

/* --- a worker that dies while it answers --- */

/* Serve one FastCGI request on a socket: half of an answer, then be gone. */
static void *
answer_half(void *ctx)
{
	static const char half[] = "Status: 200 OK\r\nContent-Type: application/json\r\n"
	                           "Content-Length: 4000\r\n\r\n{\"events\":[";
	unsigned char head[8] = { 1, 6, 0, 1, 0, sizeof(half) - 1, 0, 0 };
	int fd = accept(*(int *)ctx, NULL, NULL);
	char request[4096];

	if (read(fd, request, sizeof(request)) > 0 &&
	    write(fd, head, sizeof(head)) == (ssize_t)sizeof(head) &&
	    write(fd, half, sizeof(half) - 1) == (ssize_t)sizeof(half) - 1)
		usleep(50000);
	close(fd);
	return NULL;
}

/* Else its client would wait until it gives up by itself. */
START_TEST(half_an_answer_ends_at_once_and_not_as_a_whole_one)
{
	struct site_options options = { .kind = SITE_FASTCGI };
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct web_answer answer = { 0 };
	struct torture t;
	pthread_t thread;
	int64_t start;
	int fd;

	torture_start(&t, &options);
	kill(t.site.pool, SIGTERM);
	waitpid(t.site.pool, NULL, 0);
	t.site.pool = 0;
	snprintf(addr.sun_path, sizeof(addr.sun_path), "%.100s", t.site.socket);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	ck_assert_int_eq(listen(fd, 8), 0);
	ck_assert_int_eq(pthread_create(&thread, NULL, answer_half, &fd), 0);
	start = clock_mono_ms();
	ck_assert(!web_call(&(struct web_call){ .url = t.site.url, .path = "/healthz",
	                    .headers = { _i == 1 ? "Accept-Encoding: gzip" : NULL } }, &answer));
	ck_assert_int_lt(clock_mono_ms() - start, SOON_MS);
	pthread_join(thread, NULL);
	close(fd);
	web_free(&answer);
	torture_stop(&t);
}
END_TEST

static TCase *
kill_case(void)
{
	TCase *tc = tcase_create("kill");

	tcase_set_timeout(tc, 240 * torture_soak());
	tcase_add_test(tc, kill_9_of_cgi_processes_loses_no_ack);
	if (!torture_can_run())
		return tc;
	tcase_add_test(tc, kill_9_of_workers_and_masters_loses_no_ack);
	tcase_add_loop_test(tc, half_an_answer_ends_at_once_and_not_as_a_whole_one, 0, 2);
	return tc;
}

int
main(void)
{
	TCase *(*const cases[])(void) = { kill_case, NULL };

	return torture_main("kill", cases);
}
