/*
 * The pool: recycled, reloaded, stopped, crashed and grown under load, without
 * losing a request; and what a worker needs in memory, and leaves behind.
 */
#include "http_test.h"

#include "fcgi_client.h"
#include "patience.h"

#include "base/fs.h"
#include "base/lock.h"
#include "store/events.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define STATUS "/v1/projects/{p}/sync/status"

/* --- load --- */

#define CLIENTS 4

struct load {
	const struct world *w;
	atomic_bool stop;
	atomic_int answered, failed, pushed;
	pthread_t threads[CLIENTS];
	atomic_int next_client;
};

/* One client: status, push, pull, again and again; nothing may fail. */
static void *
be_client(void *ctx)
{
	struct load *l = ctx;
	struct web_answer answer = { 0 };
	struct buf body = { 0 };
	char path[128], device[32];
	static const char *const ends[] = { "status", "push", "pull?limit=5" };

	snprintf(device, sizeof(device), "c%d", atomic_fetch_add(&l->next_client, 1));
	for (int i = 0; !atomic_load(&l->stop); i++) {
		struct web_call call = { .url = l->w->site.url, .path = path,
		                         .token = l->w->tokens[WRITER] };

		snprintf(path, sizeof(path), "/v1/projects/%s/sync/%s", l->w->project, ends[i % 3]);
		if (i % 3 == 1) {
			buf_reset(&body);
			make_push(&body, device, i, 2);
			call.method = "POST";
			call.body = buf_span(&body);
		}
		if (web_call(&call, &answer) && answer.status == 200) {
			atomic_fetch_add(&l->answered, 1);
			if (i % 3 == 1)
				atomic_fetch_add(&l->pushed, 2);
		} else if (atomic_fetch_add(&l->failed, 1) == 0) {
			fprintf(stderr, "%s: %d %s\n", path, answer.status,
			        answer.body.p != NULL ? answer.body.p : "");
		}
	}
	web_free(&answer);
	buf_free(&body);
	return NULL;
}

static void
load_start(struct load *l, const struct world *w)
{
	memset(l, 0, sizeof(*l));
	l->w = w;
	for (size_t i = 0; i < CLIENTS; i++)
		ck_assert_int_eq(pthread_create(&l->threads[i], NULL, be_client, l), 0);
}

/* Stop it; every request was answered, every acked event is in the log. */
static void
load_stop(struct load *l, struct world *w, int at_least)
{
	atomic_store(&l->stop, true);
	for (size_t i = 0; i < CLIENTS; i++)
		pthread_join(l->threads[i], NULL);
	ck_assert_int_eq(atomic_load(&l->failed), 0);
	ck_assert_int_ge(atomic_load(&l->answered), at_least);
	ck_assert_int_eq(log_count(w), atomic_load(&l->pushed));
}

static void
wait_answered(const struct load *l, int n)
{
	for (int i = 0; i < 6000 && atomic_load(&l->answered) < n; i++)
		usleep(10000);
}

/* --- pids --- */

#define PIDS 64

/* Wait until the pool has exactly n workers; whether it came to that. */
static bool
wait_for_workers(const struct world *w, size_t n, int ms)
{
	pid_t pids[PIDS];
	int64_t end = clock_mono_ms() + ms;

	while (clock_mono_ms() < end) {
		if (site_workers(&w->site, pids, PIDS) == n)
			return true;
		usleep(10000);
	}
	return false;
}

static bool
has_pid(const pid_t *pids, size_t n, pid_t pid)
{
	for (size_t i = 0; i < n; i++)
		if (pids[i] == pid)
			return true;
	return false;
}

/* Whether none of these pids is a worker any more. */
static bool
all_gone(const struct world *w, const pid_t *old, size_t n_old)
{
	pid_t pids[PIDS];
	size_t n = site_workers(&w->site, pids, PIDS);

	for (size_t i = 0; i < n_old; i++)
		if (has_pid(pids, n, old[i]))
			return false;
	return n > 0;
}

static bool
log_has(const struct world *w, const char *text)
{
	struct buf log = { 0 };
	bool found;

	ck_assert_int_eq(fs_read(w->site.error_log, 1 << 24, &log, NULL), RC_OK);
	found = strstr(buf_cstr(&log), text) != NULL;
	buf_free(&log);
	return found;
}

/* Whether it has one text, and later the other. */
static bool
log_has_both(const struct world *w, const char *first, const char *then)
{
	struct buf log = { 0 };
	const char *at;
	bool found;

	ck_assert_int_eq(fs_read(w->site.error_log, 1 << 24, &log, NULL), RC_OK);
	at = strstr(buf_cstr(&log), first);
	found = at != NULL && strstr(at, then) != NULL;
	buf_free(&log);
	return found;
}

static void
pool_start(struct world *w, const char *const *arguments)
{
	struct site_options options = { .kind = SITE_FASTCGI, .arguments = arguments };

	world_start(w, &options);
}

/* --- the tests --- */

START_TEST(recycling_loses_no_request)
{
	static const char *const arguments[] = { "--workers", "3", "--max-workers", "6",
	                                         "--max-requests", "20", NULL };
	pid_t before[PIDS];
	struct world w;
	struct load l;
	size_t n;

	pool_start(&w, arguments);
	ck_assert(wait_for_workers(&w, 3, 5000));
	n = site_workers(&w.site, before, PIDS);
	load_start(&l, &w);
	wait_answered(&l, 600);
	load_stop(&l, &w, 600);
	ck_assert(all_gone(&w, before, n));
	ck_assert(!log_has(&w, "failed") && !log_has(&w, "died"));
	world_stop(&w);
}
END_TEST

START_TEST(hup_replaces_the_workers_and_loses_no_request)
{
	static const char *const arguments[] = { "--workers", "3", "--max-workers", "8", NULL };
	pid_t before[PIDS];
	struct world w;
	struct load l;
	size_t n;

	pool_start(&w, arguments);
	load_start(&l, &w);
	for (int i = 1; i <= 3; i++) {
		wait_answered(&l, 60 * i);
		n = site_workers(&w.site, before, PIDS);
		kill(w.site.pool, SIGHUP);
		for (int k = 0; k < 1000 && !all_gone(&w, before, n); k++)
			usleep(10000);
		ck_assert(all_gone(&w, before, n));
	}
	wait_answered(&l, 300);
	load_stop(&l, &w, 300);
	world_stop(&w);
}
END_TEST

START_TEST(hup_reads_the_configuration_again)
{
	struct site_options options = { .kind = SITE_FASTCGI };
	char path[PATH_MAX + 32], other[PATH_MAX + 32];
	struct buf text = { 0 }, old = { 0 };
	struct world w;
	int i;

	world_start(&w, &options);
	snprintf(path, sizeof(path), "%s/server.conf", w.site.dir);
	ck_assert_int_eq(fs_read(path, 4096, &old, NULL), RC_OK);
	ck_assert_int_eq(push_some(&w, "d", 1, 20), 200);
	/* A wrong one changes nothing. */
	ck_assert_int_eq(fs_write(path, span_of("max_push_bytes = much\n"), 0644, NULL), RC_OK);
	kill(w.site.pool, SIGHUP);
	for (i = 0; i < 500 && !log_has(&w, "stays as it was"); i++)
		usleep(10000);
	ck_assert(log_has(&w, "server.conf:1: max_push_bytes"));
	ck_assert_int_eq(push_some(&w, "d", 21, 20), 200);
	buf_add_span(&text, buf_span(&old));
	buf_add_str(&text, "max_push_bytes = 1024\n");
	ck_assert_int_eq(fs_write(path, buf_span(&text), 0644, NULL), RC_OK);
	kill(w.site.pool, SIGHUP);
	for (i = 0; i < 500 && push_some(&w, "d", 41, 20) == 200; i++)
		usleep(10000);
	ck_assert_int_eq(w.answer.status, 413);
	/* Another log is taken from now on. */
	snprintf(other, sizeof(other), "%s/other.log", w.site.dir);
	buf_reset(&text);
	buf_add_span(&text, buf_span(&old));
	buf_addf(&text, "error_log = %s\n", other);
	ck_assert_int_eq(fs_write(path, buf_span(&text), 0644, NULL), RC_OK);
	kill(w.site.pool, SIGHUP);
	for (i = 0; i < 500 && access(other, F_OK) != 0; i++)
		usleep(10000);
	buf_reset(&text);
	for (i = 0; i < 500 && (text.len == 0 || strstr(buf_cstr(&text), "read again") == NULL); i++) {
		usleep(10000);
		fs_read(other, 1 << 20, &text, NULL);
	}
	ck_assert_int_lt(i, 500);
	buf_free(&text);
	buf_free(&old);
	world_stop(&w);
}
END_TEST

#define WAITING 20

/* All that were connected when TERM came are answered: here by one worker,
 * which is busy with the first when TERM comes. */
START_TEST(term_serves_all_who_wait)
{
	static const char *const arguments[] = { "--workers", "1", "--max-workers", "1", NULL };
	char path[PATH_MAX + 128], authorization[5000], length[WAITING][16];
	struct buf body[WAITING] = { { 0 } }, answer = { 0 };
	int fds[WAITING], status;
	struct lock *lock;
	struct world w;

	pool_start(&w, arguments);
	snprintf(authorization, sizeof(authorization), "Bearer %s", w.tokens[WRITER]);
	snprintf(path, sizeof(path), "%s/projects/%s/" EVENTS_LOCK, w.site.data, w.project);
	ck_assert_int_eq(lock_open(path, &lock, NULL), RC_OK);
	ck_assert_int_eq(lock_take(lock, clock_mono_ms() + 1000), RC_OK);
	snprintf(path, sizeof(path), "/v1/projects/%s/sync/push", w.project);
	for (int i = 0; i < WAITING; i++) {
		const char *const params[] = {
			"REQUEST_METHOD", "POST", "PATH_INFO", path, "HTTP_AUTHORIZATION", authorization,
			"CONTENT_LENGTH", length[i], NULL,
		};

		make_push(&body[i], "d", 1 + i, 1);
		snprintf(length[i], sizeof(length[i]), "%zu", body[i].len);
		fds[i] = fcgi_connect(w.site.socket);
		ck_assert_int_ge(fds[i], 0);
		ck_assert(fcgi_send(fds[i], params, buf_span(&body[i]), false));
	}
	usleep(200000); /* the worker waits for the lock now */
	kill(w.site.pool, SIGTERM);
	for (int i = 0; i < 1000 && access(w.site.socket, F_OK) == 0; i++)
		usleep(10000);
	ck_assert_int_eq(fcgi_connect(w.site.socket), -1);
	lock_close(lock);
	for (int i = 0; i < WAITING; i++) {
		ck_assert_msg(fcgi_receive(fds[i], &answer), "request %d got no answer", i);
		ck_assert_msg(strstr(answer.p, "Status: 200 ") != NULL, "%s", answer.p);
		buf_free(&body[i]);
	}
	ck_assert_int_eq(waitpid(w.site.pool, &status, 0), w.site.pool);
	ck_assert_int_eq(status, 0);
	ck_assert_int_ne(access(w.site.socket, F_OK), 0);
	w.site.pool = 0;
	ck_assert(site_start_pool(&w.site, &(struct site_options){ .arguments = arguments }));
	ck_assert_int_eq(log_count(&w), WAITING);
	buf_free(&answer);
	world_stop(&w);
}
END_TEST

START_TEST(a_killed_worker_is_replaced)
{
	pid_t before[PIDS], pids[PIDS];
	struct site_options options = { .kind = SITE_FASTCGI };
	struct world w;

	world_start(&w, &options);
	ck_assert(wait_for_workers(&w, 2, 5000));
	for (int i = 0; i < 5; i++) {
		ck_assert_uint_eq(site_workers(&w.site, before, PIDS), 2);
		kill(before[i % 2], SIGKILL);
		for (int k = 0; k < 500 && !all_gone(&w, &before[i % 2], 1); k++)
			usleep(10000);
		ck_assert(wait_for_workers(&w, 2, 15000));
		ck_assert_uint_eq(site_workers(&w.site, pids, PIDS), 2);
		ck_assert(!has_pid(pids, 2, before[i % 2]));
		ck_assert_int_eq(push_some(&w, "d", i, 1), 200);
	}
	ck_assert_int_eq(log_count(&w), 5);
	ck_assert(log_has(&w, "died of signal 9"));
	world_stop(&w);
}
END_TEST

/* Workers that die at once are started again slower and slower. */
START_TEST(a_crash_loop_does_not_spin)
{
	static const char *const arguments[] = { "--workers", "1", "--max-workers", "1", NULL };
	pid_t pids[PIDS], seen[PIDS];
	int64_t end = clock_mono_ms() + 2500;
	size_t n_seen = 0;
	struct world w;

	pool_start(&w, arguments);
	while (clock_mono_ms() < end) {
		size_t n = site_workers(&w.site, pids, PIDS);

		for (size_t i = 0; i < n; i++) {
			if (!has_pid(seen, n_seen, pids[i]) && n_seen < PIDS)
				seen[n_seen++] = pids[i];
			kill(pids[i], SIGKILL);
		}
		usleep(1000);
	}
	/* 0.1 + 0.2 + 0.4 + 0.8 + 1.6 s between them */
	ck_assert_uint_ge(n_seen, 3); /* of which each takes a moment to start */
	ck_assert_uint_le(n_seen, 7);
	/* Left alone, it recovers. */
	ck_assert(wait_for_workers(&w, 1, 15000));
	ck_assert_int_eq(push_some(&w, "d", 1, 1), 200);
	world_stop(&w);
}
END_TEST

#define PUSHERS 6

struct waiting {
	struct load *load;
	pthread_t thread;
	int number, status;
};

static void *
push_once(void *ctx)
{
	struct waiting *p = ctx;
	struct web_answer answer = { 0 };
	struct buf body = { 0 };
	char path[128];
	struct web_call call = { .method = "POST", .url = p->load->w->site.url, .path = path,
	                         .token = p->load->w->tokens[WRITER] };

	snprintf(path, sizeof(path), "/v1/projects/%s/sync/push", p->load->w->project);
	make_push(&body, "d", p->number, 1);
	call.body = buf_span(&body);
	p->status = web_call(&call, &answer) ? answer.status : 0;
	web_free(&answer);
	buf_free(&body);
	return NULL;
}

/* How many places of a project's queue are taken. */
static int
places_taken(const struct world *w)
{
	char path[PATH_MAX + 128];
	int fd, taken = 0;

	snprintf(path, sizeof(path), "%s/projects/%s/waiters", w->site.data, w->project);
	fd = open(path, O_RDWR | O_CLOEXEC);
	for (int i = 0; fd >= 0 && i < 64; i++) {
		struct flock place = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = i,
		                       .l_len = 1 };

		taken += fcntl(fd, F_OFD_GETLK, &place) == 0 && place.l_type != F_UNLCK;
	}
	if (fd >= 0)
		close(fd);
	return taken;
}

/* Take a project's lock, as a stranger would. */
static struct lock *
take_lock(const struct world *w, const char *project)
{
	char path[PATH_MAX + 128];
	struct lock *lock;

	snprintf(path, sizeof(path), "%s/projects/%s/" EVENTS_LOCK, w->site.data, project);
	ck_assert_int_eq(lock_open(path, &lock, NULL), RC_OK);
	ck_assert_int_eq(lock_take(lock, clock_mono_ms() + 10000), RC_OK);
	return lock;
}

static void
start_pushers(struct waiting *pushers, int n, struct load *l, int first)
{
	for (int i = 0; i < n; i++) {
		pushers[i] = (struct waiting){ .load = l, .number = first + i };
		ck_assert_int_eq(pthread_create(&pushers[i].thread, NULL, push_once, &pushers[i]), 0);
	}
}

static void
wait_for_places(const struct world *w, int n)
{
	for (int i = 0; i < 500 && places_taken(w) != n; i++)
		usleep(10000);
	ck_assert_int_eq(places_taken(w), n);
}

/* Wait for pushers; how many of them have such a status. */
static int
join_pushers(struct waiting *pushers, int n, int status)
{
	int found = 0;

	for (int i = 0; i < n; i++) {
		pthread_join(pushers[i].thread, NULL);
		found += pushers[i].status == status;
	}
	return found;
}

/*
 * Let six wait for the lock: somebody is there for others, and who would be the
 * seventh has to come again. False: that took so long here that some of the six
 * had waited their time before.
 */
static bool
try_to_fill_queue(struct world *w, struct load *l, int first)
{
	struct lock *lock = take_lock(w, w->project);
	struct waiting pushers[PUSHERS];
	int64_t count;
	pid_t pids[PIDS];
	bool waited;
	int acked;

	start_pushers(pushers, PUSHERS, l, first);
	for (int i = 0; i < 500 && places_taken(w) < PUSHERS; i++)
		usleep(10000);
	count = log_count(w);
	ck_assert_int_eq(ask(w, NOBODY, "GET", "/healthz", NULL, NULL), 200);
	ck_assert_int_eq(push_some(w, "d", first + PUSHERS, 1), 503);
	waited = places_taken(w) == PUSHERS;
	if (waited) {
		ck_assert_uint_gt(site_workers(&w->site, pids, PIDS), PUSHERS);
		ck_assert_ptr_nonnull(strstr(w->answer.body.p, "\"busy\""));
		ck_assert_str_eq(web_header(&w->answer, "Retry-After"), "1");
	}
	lock_close(lock);
	acked = join_pushers(pushers, PUSHERS, 200);
	ck_assert_int_eq(log_count(w), count + acked);
	return waited && acked == PUSHERS;
}

START_TEST(the_pool_grows_while_all_are_busy_and_shrinks_after)
{
	static const char *const arguments[] = { "--workers", "2", "--max-workers", "10",
	                                         "--idle-seconds", "1", NULL };
	struct load l = { 0 };
	struct world w;
	int tries = 0;

	pool_start(&w, arguments);
	ck_assert(wait_for_workers(&w, 2, 5000));
	l.w = &w;
	while (!try_to_fill_queue(&w, &l, 100 * tries))
		ck_assert_int_lt(++tries, 5);
	ck_assert(wait_for_workers(&w, 2, 20000));
	usleep(1500000);
	ck_assert(wait_for_workers(&w, 2, 10));
	ck_assert(!log_has(&w, "died") && !log_has(&w, "failed"));
	world_stop(&w);
}
END_TEST

static int
compare_us(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return x < y ? -1 : x > y;
}

#define OTHERS 101

/* Push to another project, numbered from `first`: what half of the calls take,
 * in us. Nine of ten don't take as long as waiting for a lock does. */
static int64_t
push_elsewhere(struct world *w, const char *project, int first)
{
	int64_t took[OTHERS];
	char here[ID_MAX];

	memcpy(here, w->project, ID_MAX);
	memcpy(w->project, project, ID_MAX);
	for (int i = 0; i < OTHERS; i++) {
		int64_t start = clock_mono_us();

		ck_assert_int_eq(push_some(w, "other", first + i, 1), 200);
		took[i] = clock_mono_us() - start;
	}
	memcpy(w->project, here, ID_MAX);
	qsort(took, OTHERS, sizeof(took[0]), compare_us);
	ck_assert_int_lt(took[OTHERS * 9 / 10], 2500 * 1000);
	return took[OTHERS / 2];
}

/* Nobody waits longer for the lock than a request may; meanwhile the others
 * don't notice, and all who were not acked may come again. */
START_TEST(a_project_that_a_stranger_locks_takes_nothing_from_others)
{
	static const char *const arguments[] = { "--workers", "2", "--max-workers", "8", NULL };
	enum { MANY = 12, MAY_WAIT = 5 };
	struct waiting pushers[MANY];
	struct load l = { 0 };
	char other[ID_MAX];
	struct lock *lock;
	struct world w;
	int64_t start, usual;

	pool_start(&w, arguments);
	l.w = &w;
	site_project(&w.site, "Other", w.users[WRITER], other);
	usual = push_elsewhere(&w, other, 0);
	lock = take_lock(&w, w.project);
	start = clock_mono_ms();
	start_pushers(pushers, MANY, &l, 1);
	wait_for_places(&w, MAY_WAIT);
	ck_assert_int_lt(push_elsewhere(&w, other, OTHERS), 5 * usual + 20000);
	ck_assert_int_eq(join_pushers(pushers, MANY, 503), MANY);
	ck_assert_int_lt(clock_mono_ms() - start, SOON_MS);
	ck_assert_int_eq(places_taken(&w), 0);
	lock_close(lock);
	start_pushers(pushers, MAY_WAIT, &l, 1);
	ck_assert_int_eq(join_pushers(pushers, MAY_WAIT, 200), MAY_WAIT);
	ck_assert_int_eq(log_count(&w), MAY_WAIT);
	world_stop(&w);
}
END_TEST

/* A reader that keeps the WAL from being emptied; close it. */
static sqlite3 *
hold_wal(const struct world *w)
{
	char path[PATH_MAX + 128];
	sqlite3 *db;

	snprintf(path, sizeof(path), "%s/projects/%s/" EVENTS_DB, w->site.data, w->project);
	ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
	ck_assert_int_eq(sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL),
	                 SQLITE_OK);
	ck_assert_int_eq(sqlite3_exec(db, "BEGIN; SELECT * FROM head", NULL, NULL, NULL),
	                 SQLITE_OK);
	return db;
}

/* Push again and again, whatever comes of it. */
static void *
push_on(void *ctx)
{
	struct load *l = ctx;
	struct waiting p = { .load = l };

	while (!atomic_load(&l->stop)) {
		p.number = atomic_fetch_add(&l->next_client, 1);
		push_once(&p);
		atomic_fetch_add(&l->answered, p.status == 200);
	}
	return NULL;
}

/*
 * Where the WAL is large, whoever pushed takes the lock once more, after the
 * answer, and a reader may keep it waiting there. Of these there is one, and
 * it is counted: four workers, of which three may wait, have one for others.
 */
START_TEST(who_waits_to_checkpoint_is_one_of_those_who_may_wait)
{
	static const char *const arguments[] = { "--workers", "4", "--max-workers", "4", NULL };
	enum { PUSHING = 3 };
	pthread_t threads[PUSHING];
	struct load l = { 0 };
	struct buf large = { 0 };
	struct world w;
	sqlite3 *reader;
	int64_t end;
	int calls = 0;

	pool_start(&w, arguments);
	l.w = &w;
	ck_assert(wait_for_workers(&w, 4, 5000));
	reader = hold_wal(&w);
	for (int i = 0; i < 2; i++) { /* 66 MiB: it waits for readers, for a second */
		buf_reset(&large);
		buf_addf(&large, "{\"device_id\":\"large\",\"session_id\":\"s\",\"events\":[{"
		         "\"client_action_id\":%d,\"action_type\":\"create\",\"entity_type\":\"issues\","
		         "\"entity_id\":\"x\",\"client_timestamp\":\"2026-03-01T10:00:00Z\","
		         "\"payload\":{\"new_data\":{\"title\":\"", i);
		while (large.len < 33 << 20)
			buf_add_str(&large, "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx");
		buf_add_str(&large, "\"}}}]}");
		ck_assert_int_eq(ask_as(&w, w.tokens[WRITER], "POST", "/v1/projects/{p}/sync/push",
		                        buf_span(&large), NULL), 200);
	}
	buf_free(&large);
	for (int i = 0; i < PUSHING; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, push_on, &l), 0);
	end = clock_mono_ms() + 4000;
	for (; clock_mono_ms() < end; calls++) {
		ck_assert_int_eq(ask(&w, NOBODY, "GET", "/healthz", NULL, NULL), 200);
		usleep(20000);
	}
	/* Were there none for it, each would wait for a second or more. */
	ck_assert_int_gt(calls, 16);
	atomic_store(&l.stop, true);
	for (int i = 0; i < PUSHING; i++)
		pthread_join(threads[i], NULL);
	ck_assert_int_ge(atomic_load(&l.answered), 2);
	ck_assert_int_eq(log_count(&w), 2 + atomic_load(&l.answered));
	sqlite3_close(reader);
	world_stop(&w);
}
END_TEST

START_TEST(a_stuck_worker_is_named_and_then_replaced)
{
	static const char *const arguments[] = { "--workers", "1", "--max-workers", "1",
	                                         "--stuck-seconds", "1", NULL };
	struct waiting pusher[1];
	struct load l = { 0 };
	char text[64];
	struct lock *lock;
	struct world w;
	pid_t pid;

	pool_start(&w, arguments);
	l.w = &w;
	ck_assert(wait_for_workers(&w, 1, 5000));
	ck_assert_uint_eq(site_workers(&w.site, &pid, 1), 1);
	lock = take_lock(&w, w.project);
	start_pushers(pusher, 1, &l, 1);
	wait_for_places(&w, 1);
	kill(pid, SIGSTOP); /* it hears of nothing any more */
	snprintf(text, sizeof(text), "worker %d has been at one request for 1 s", (int)pid);
	for (int i = 0; i < SOON_MS / 10 && !all_gone(&w, &pid, 1); i++)
		usleep(10000);
	ck_assert(all_gone(&w, &pid, 1));
	ck_assert(log_has_both(&w, text, "does not end its request: killed"));
	lock_close(lock);
	ck_assert_int_eq(join_pushers(pusher, 1, 502), 1);
	/* It was not acked: it comes again. */
	start_pushers(pusher, 1, &l, 1);
	ck_assert_int_eq(join_pushers(pusher, 1, 200), 1);
	ck_assert_int_eq(log_count(&w), 1);
	world_stop(&w);
}
END_TEST

/* One that answers again and again is not stuck. */
START_TEST(a_busy_worker_is_not_stuck)
{
	static const char *const arguments[] = { "--workers", "1", "--max-workers", "1",
	                                         "--stuck-seconds", "2", NULL };
	int64_t end = clock_mono_ms() + 5000;
	struct world w;

	pool_start(&w, arguments);
	for (int i = 0; clock_mono_ms() < end; i++)
		ck_assert_int_eq(push_some(&w, "d", i, 1), 200);
	ck_assert(!log_has(&w, "at one request"));
	world_stop(&w);
}
END_TEST

START_TEST(a_key_that_others_may_read_is_named_with_what_to_do)
{
	struct site_options options = { .kind = SITE_FASTCGI };
	char path[PATH_MAX + 300], dir[PATH_MAX + 8];
	struct dirent *entry;
	struct world w;
	DIR *d;

	world_start(&w, &options);
	snprintf(dir, sizeof(dir), "%s/keys", w.site.data);
	d = opendir(dir);
	while ((entry = readdir(d)) != NULL && strstr(entry->d_name, ".json") == NULL)
		;
	ck_assert_ptr_nonnull(entry);
	snprintf(path, sizeof(path), "%s/%s", dir, entry->d_name);
	closedir(d);
	ck_assert_int_eq(chmod(path, 0640), 0);
	kill(w.site.pool, SIGHUP); /* or whenever a key is looked at again */
	for (int i = 0; i < 500 && push_some(&w, "d", i, 1) == 200; i++)
		usleep(10000);
	ck_assert_int_eq(w.answer.status, 503);
	ck_assert_ptr_nonnull(strstr(w.answer.body.p, "chmod 600 it"));
	ck_assert_str_eq(web_header(&w.answer, "Retry-After"), "10");
	ck_assert_int_eq(chmod(path, 0600), 0);
	for (int i = 0; i < 500 && push_some(&w, "d", 0, 1) != 200; i++)
		usleep(10000);
	ck_assert_int_eq(w.answer.status, 200);
	world_stop(&w);
}
END_TEST

START_TEST(a_killed_master_leaves_no_workers)
{
	struct site_options options = { .kind = SITE_FASTCGI };
	pid_t pids[PIDS];
	struct world w;
	size_t n, left = 1;

	world_start(&w, &options);
	n = site_workers(&w.site, pids, PIDS);
	ck_assert_uint_ge(n, 2);
	kill(w.site.pool, SIGKILL);
	waitpid(w.site.pool, NULL, 0);
	for (int i = 0; i < 500 && left > 0; i++) {
		char path[64];

		left = 0;
		for (size_t k = 0; k < n; k++) {
			/* Whoever adopted them may not have collected them yet. */
			snprintf(path, sizeof(path), "/proc/%d/exe", (int)pids[k]);
			left += readlink(path, (char[8]){ 0 }, 8) > 0;
		}
		usleep(10000);
	}
	ck_assert_uint_eq(left, 0);
	/* Its socket is stale: the next one takes its place. */
	w.site.pool = 0;
	ck_assert(site_start_pool(&w.site, &options));
	ck_assert_int_eq(push_some(&w, "d", 1, 1), 200);
	world_stop(&w);
}
END_TEST

/* Run td-sync.fcgi with arguments until it ends; its status, stderr in out. */
static int
run(const char *const *arguments, struct buf *out)
{
	const char *argv[24] = { "td-sync.fcgi" };
	int ends[2], status, n = 1;
	char part[4096];
	ssize_t got;
	pid_t pid;

	while (arguments[n - 1] != NULL && n < 23) {
		argv[n] = arguments[n - 1];
		n++;
	}
	ck_assert_int_eq(pipe(ends), 0);
	pid = fork();
	if (pid == 0) {
		int null = open("/dev/null", O_RDWR);

		dup2(null, STDIN_FILENO);
		dup2(ends[1], STDERR_FILENO);
		execv(TOP_BUILDDIR "/td-sync.fcgi", (char *const *)(uintptr_t)argv);
		_exit(127);
	}
	close(ends[1]);
	buf_reset(out);
	while ((got = read(ends[0], part, sizeof(part))) > 0)
		buf_add(out, part, (size_t)got);
	buf_cstr(out);
	close(ends[0]);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

START_TEST(a_second_master_is_refused)
{
	char pid_file[PATH_MAX], other[PATH_MAX + 8], text[32];
	const char *const arguments[] = { "--workers", "1", "--pid-file", pid_file, NULL };
	struct buf out = { 0 };
	struct world w;
	struct stat st;

	snprintf(pid_file, sizeof(pid_file), "/tmp/td-sync-test-%d.pid", (int)getpid());
	pool_start(&w, arguments);
	ck_assert_int_eq(fs_read(pid_file, 64, &out, NULL), RC_OK);
	snprintf(text, sizeof(text), "%d\n", (int)w.site.pool);
	ck_assert_str_eq(buf_cstr(&out), text);
	ck_assert_int_eq(stat(w.site.socket, &st), 0);
	ck_assert_int_eq(st.st_mode & 0777, 0660);
	ck_assert_int_eq(run((const char *const[]){ "--data", w.site.data, "--workers", "1",
	                     "--listen", w.site.socket, NULL }, &out), 1);
	ck_assert_msg(strstr(out.p, "listens there already") != NULL, "%s", out.p);
	snprintf(other, sizeof(other), "%s.2", w.site.socket);
	ck_assert_int_eq(run((const char *const[]){ "--data", w.site.data, "--workers", "1",
	                     "--listen", other, "--pid-file", pid_file, NULL }, &out), 1);
	ck_assert_msg(strstr(out.p, "runs with this pid file") != NULL, "%s", out.p);
	ck_assert_int_eq(push_some(&w, "d", 1, 1), 200);
	buf_free(&out);
	world_stop(&w);
	ck_assert_int_ne(access(pid_file, F_OK), 0);
}
END_TEST

/* Start a pool on a socket that somebody else holds, as systemd does. */
static pid_t
start_on(int sock, const struct world *w)
{
	pid_t pid = fork();

	if (pid != 0)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	dup2(sock, STDIN_FILENO);
	dup2(open(w->site.error_log, O_WRONLY | O_APPEND), STDERR_FILENO);
	execl(TOP_BUILDDIR "/td-sync.fcgi", "td-sync.fcgi", "--data", w->site.data,
	      "--workers", "2", (char *)NULL);
	_exit(127);
}

START_TEST(who_calls_while_the_pool_is_started_anew_waits)
{
	static const char *const params[] = { "REQUEST_METHOD", "GET", "PATH_INFO",
	                                      "/healthz", NULL };
	struct site_options options = { .kind = SITE_FASTCGI };
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct buf answer = { 0 };
	struct world w;
	int sock, fd, status;
	pid_t pid;

	world_start(&w, &options);
	snprintf(addr.sun_path, sizeof(addr.sun_path), "%.90s/t", w.site.dir);
	sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(sock, (struct sockaddr *)&addr, sizeof(addr)), 0);
	ck_assert_int_eq(listen(sock, 64), 0);
	for (int i = 0; i < 3; i++) {
		fd = fcgi_connect(addr.sun_path); /* before anybody serves it */
		ck_assert(fcgi_send(fd, params, (struct span){ NULL, 0 }, false));
		pid = start_on(sock, &w);
		ck_assert(fcgi_receive(fd, &answer));
		ck_assert_ptr_nonnull(strstr(answer.p, "Status: 200 "));
		kill(pid, SIGTERM);
		ck_assert_int_eq(waitpid(pid, &status, 0), pid);
		ck_assert_int_eq(status, 0);
	}
	close(sock);
	buf_free(&answer);
	world_stop(&w);
}
END_TEST

/* --- what a worker needs, and leaves behind --- */

static long
resident_kb(pid_t pid)
{
	char path[64], line[256];
	long kb = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	f = fopen(path, "r");
	while (f != NULL && fgets(line, sizeof(line), f) != NULL)
		if (sscanf(line, "VmRSS: %ld kB", &kb) == 1)
			break;
	if (f != NULL)
		fclose(f);
	return kb;
}

/* A bit of everything. */
static void
use_everything(struct world *w, int rounds)
{
	static const struct {
		enum who who;
		const char *method, *path, *body;
	} calls[] = {
		{ NOBODY, "GET", "/healthz", NULL },
		{ OWNER, "GET", "/v1/projects", NULL },
		{ OWNER, "GET", "/v1/projects/{p}", NULL },
		{ OWNER, "PATCH", "/v1/projects/{p}", "{\"description\":\"d\"}" },
		{ OWNER, "GET", "/v1/projects/{p}/members", NULL },
		{ OWNER, "POST", "/v1/projects/{p}/members",
		  "{\"email\":\"new@example.com\",\"role\":\"reader\"}" },
		{ OWNER, "PATCH", "/v1/projects/{p}/members/u_0000000000000000",
		  "{\"role\":\"reader\"}" },
		{ READER, "GET", "/v1/projects/{p}/sync/status", NULL },
		{ READER, "GET", "/v1/projects/{p}/sync/pull?limit=10", NULL },
		{ READER, "POST", "/v1/projects/{p}/sync/push", "{}" },
		{ WRITER, "POST", "/v1/projects/{p}/sync/push", "{\"device_id\":" },
		{ STRANGER, "GET", "/v1/projects/{p}/sync/pull", NULL },
		{ NOBODY, "GET", "/nope", NULL },
		{ NOBODY, "GET", "//healthz", NULL },
	};
	size_t n = sizeof(calls) / sizeof(calls[0]);

	for (int i = 0; i < rounds; i++) {
		ck_assert_int_gt(ask(w, calls[(size_t)i % n].who, calls[(size_t)i % n].method,
		                     calls[(size_t)i % n].path, calls[(size_t)i % n].body, NULL), 0);
		if (i % 10 == 0)
			ck_assert_int_eq(push_some(w, "d", i, 3), 200);
	}
	ck_assert_int_eq(ask(w, OWNER, "POST", "/v1/projects", "{\"name\":\"n\"}", NULL), 201);
}

/* Push 1,000 events into each of n projects, and read them again. */
static void
use_projects(struct world *w, int n)
{
	char first[ID_MAX], name[32];

	memcpy(first, w->project, ID_MAX);
	for (int i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "p%d", i);
		site_project(&w->site, name, w->users[WRITER], w->project);
		ck_assert_int_eq(push_some(w, "many", 1, 1000), 200);
		ck_assert_int_eq(ask(w, WRITER, "GET", "/v1/projects/{p}/sync/pull", NULL, NULL), 200);
	}
	memcpy(w->project, first, ID_MAX);
}

START_TEST(a_worker_at_rest_needs_less_than_16_mb)
{
	static const char *const arguments[] = { "--workers", "1", "--max-workers", "1", NULL };
	struct buf large = { 0 };
	pid_t pids[PIDS];
	struct world w;
	long kb;

	pool_start(&w, arguments);
	use_everything(&w, 100);
	use_projects(&w, 40);
	/* And after something large: a body of 20 MiB. */
	while (large.len < 20 << 20)
		buf_add_str(&large, "                                                                ");
	ck_assert_int_eq(ask_as(&w, w.tokens[WRITER], "POST", "/v1/projects/{p}/sync/push",
	                        buf_span(&large), NULL), 400);
	usleep(100000);
	ck_assert_uint_eq(site_workers(&w.site, pids, PIDS), 1);
	kb = resident_kb(pids[0]);
	ck_assert_int_gt(kb, 0);
	ck_assert_msg(kb < 16 * 1024, "%ld kB", kb);
	buf_free(&large);
	world_stop(&w);
}
END_TEST

/* Each open log caches up to 2 MB of pages: only the last one may. */
START_TEST(a_worker_with_many_projects_needs_less_than_16_mb)
{
	static const char *const arguments[] = { "--workers", "1", "--max-workers", "1", NULL };
	enum { PROJECTS = 10, EVENTS = 1000, BYTES = 2400 };
	struct buf body = { 0 };
	char path[100], id[ID_MAX];
	pid_t pids[PIDS];
	struct world w;
	long kb;

	pool_start(&w, arguments);
	buf_add_str(&body, "{\"device_id\":\"d\",\"session_id\":\"s\",\"events\":[");
	for (int i = 1; i <= EVENTS; i++) {
		buf_addf(&body, "%s{\"client_action_id\":%d,\"action_type\":\"create\","
		         "\"entity_type\":\"issues\",\"entity_id\":\"td-%d\","
		         "\"client_timestamp\":\"2026-03-01T10:00:00Z\","
		         "\"payload\":{\"new_data\":{\"title\":\"", i == 1 ? "" : ",", i, i);
		for (int n = 0; n < BYTES; n++)
			buf_add_byte(&body, 'x');
		buf_add_str(&body, "\"}}}");
	}
	buf_add_str(&body, "]}");
	for (int i = 0; i < PROJECTS; i++) {
		site_project(&w.site, "many", w.users[OWNER], id);
		snprintf(path, sizeof(path), "/v1/projects/%s/sync/push", id);
		ck_assert_int_eq(ask_as(&w, w.tokens[OWNER], "POST", path, buf_span(&body), NULL),
		                 200);
	}
	usleep(100000);
	ck_assert_uint_eq(site_workers(&w.site, pids, PIDS), 1);
	kb = resident_kb(pids[0]);
	ck_assert_int_gt(kb, 0);
	ck_assert_msg(kb < 16 * 1024, "%ld kB", kb);
	buf_free(&body);
	world_stop(&w);
}
END_TEST

START_TEST(valgrind_finds_nothing_in_a_worker)
{
	static const char *const arguments[] = { NULL }; /* one worker, no master */
	static const char *const valgrind[] = {
		"valgrind", "-q", "--error-exitcode=99", "--leak-check=full",
		"--errors-for-leak-kinds=definite,indirect", "--track-fds=no", NULL,
	};
	struct site_options options = { .kind = SITE_FASTCGI, .arguments = arguments,
	                                .wrapper = valgrind };
	struct world w;
	int status;

	world_start(&w, &options);
	use_everything(&w, 300);
	ck_assert_int_eq(push_some(&w, "many", 1, 500), 200);
	ck_assert_int_eq(ask(&w, READER, "GET", "/v1/projects/{p}/sync/pull", NULL, NULL), 200);
	kill(w.site.pool, SIGTERM);
	ck_assert_int_eq(waitpid(w.site.pool, &status, 0), w.site.pool);
	w.site.pool = 0;
	if (status != 0)
		site_print_logs(&w.site);
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "wait status %#x",
	              (unsigned)status);
	world_stop(&w);
}
END_TEST

TCase *
pool_case(void)
{
	TCase *tc = tcase_create("pool");

	tcase_set_timeout(tc, 240);
	if (!http_can_run(SITE_FASTCGI))
		return tc;
	tcase_add_test(tc, recycling_loses_no_request);
	tcase_add_test(tc, hup_replaces_the_workers_and_loses_no_request);
	tcase_add_test(tc, hup_reads_the_configuration_again);
	tcase_add_test(tc, term_serves_all_who_wait);
	tcase_add_test(tc, a_killed_worker_is_replaced);
	tcase_add_test(tc, a_crash_loop_does_not_spin);
	tcase_add_test(tc, the_pool_grows_while_all_are_busy_and_shrinks_after);
	tcase_add_test(tc, a_project_that_a_stranger_locks_takes_nothing_from_others);
	tcase_add_test(tc, who_waits_to_checkpoint_is_one_of_those_who_may_wait);
	tcase_add_test(tc, a_stuck_worker_is_named_and_then_replaced);
	tcase_add_test(tc, a_busy_worker_is_not_stuck);
	tcase_add_test(tc, a_key_that_others_may_read_is_named_with_what_to_do);
	tcase_add_test(tc, a_killed_master_leaves_no_workers);
	tcase_add_test(tc, a_second_master_is_refused);
	tcase_add_test(tc, who_calls_while_the_pool_is_started_anew_waits);
	if (SANITIZED) {
		fprintf(stderr, "skipped: memory of a worker, valgrind: built with sanitizers\n");
		return tc;
	}
	tcase_add_test(tc, a_worker_at_rest_needs_less_than_16_mb);
	tcase_add_test(tc, a_worker_with_many_projects_needs_less_than_16_mb);
	if (access("/usr/bin/valgrind", X_OK) == 0)
		tcase_add_test(tc, valgrind_finds_nothing_in_a_worker);
	else
		fprintf(stderr, "skipped: valgrind is not installed\n");
	return tc;
}
