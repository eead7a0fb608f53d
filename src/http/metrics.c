/* GET /metrics: what was counted, as Prometheus reads it (text format 0.0.4). */
#include "http/handlers.h"

#include "base/metrics.h"
#include "http/reply.h"
#include "store/events.h"
#include "store/state.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* How long the sizes of projects may be looked up, of a disk that is slow or asleep. */
#define SIZES_MS 500

/* How often the time is looked at while that is done, in projects. */
#define SIZES_EACH 64

/* --- who may ask --- */

/*
 * Whether the web server was asked by a program of this machine. One that a proxy
 * asks for says so; else everybody behind a proxy of this machine would be local.
 * No address at all tells nothing: only an empty one, or nginx's word, is that of
 * a Unix socket.
 */
static bool
is_local(const struct request *r)
{
	static const char *const forwarded[] = {
		"HTTP_FORWARDED", "HTTP_VIA", "HTTP_X_FORWARDED_FOR", "HTTP_X_REAL_IP",
	};
	const char *address = request_header(r, "REMOTE_ADDR");

	for (size_t i = 0; i < sizeof(forwarded) / sizeof(forwarded[0]); i++)
		if (request_header(r, forwarded[i]) != NULL)
			return false;
	return address != NULL &&
	       (address[0] == '\0' || strncmp(address, "unix:", 5) == 0 ||
	        strncmp(address, "127.", 4) == 0 ||
	        strncmp(address, "::ffff:127.", 11) == 0 || strcmp(address, "::1") == 0);
}

static enum rc
judge(struct request *r)
{
	struct auth *auth;
	enum rc rc;

	if (is_local(r))
		return RC_OK;
	if ((rc = server_auth(r->server, &auth, &r->err)) == RC_OK)
		rc = auth_check(auth, request_authorization(r), NULL, SCOPE_SERVER_ADMIN,
		                ROLE_NONE, GUESTS_NONE, &r->caller, &r->err);
	if (rc == RC_UNAUTHORIZED || rc == RC_SCOPE)
		rc = err_set(&r->err, RC_FORBIDDEN, "/metrics is for this machine itself, "
		             "and for tokens with the scope server:admin");
	return rc;
}

/* --- what is counted --- */

static void
add_head(struct buf *b, const char *name, const char *type, const char *help)
{
	buf_addf(b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* A name's labels but the last: method and route, none of which has to be escaped. */
static void
label_route(size_t number, char *out, size_t n)
{
	const struct route *route = route_at(number);

	if (route == NULL)
		snprintf(out, n, "method=\"\",route=\"none\"");
	else
		snprintf(out, n, "method=\"%s\",route=\"%s\"", method_text(route->method),
		         route->path);
}

static void
add_requests(struct buf *b)
{
	char labels[128];
	uint64_t n;

	add_head(b, "td_sync_requests_total", "counter", "Requests by route and status.");
	for (size_t i = 0; i == 0 || route_at(i) != NULL; i++) {
		label_route(i, labels, sizeof(labels));
		for (size_t s = 0; s < METRIC_STATUSES; s++)
			if ((n = metrics_get_requests(i, s)) > 0)
				buf_addf(b, "td_sync_requests_total{%s,code=\"%d\"} %" PRIu64 "\n",
				         labels, metric_status(s), n);
	}
}

/* A histogram, cumulative as it must be. */
static void
add_times(struct buf *b, const char *name, const char *labels,
          const struct metric_times *t)
{
	uint64_t n = 0;

	for (size_t i = 0; i < METRIC_BUCKETS; i++) {
		n += t->n[i];
		buf_addf(b, "%s_bucket{%s,le=\"%g\"} %" PRIu64 "\n", name, labels,
		         (double)metric_buckets_us[i] / 1e6, n);
	}
	n += t->n[METRIC_BUCKETS];
	buf_addf(b, "%s_bucket{%s,le=\"+Inf\"} %" PRIu64 "\n"
	         "%s_sum{%s} %" PRIu64 ".%06" PRIu64 "\n%s_count{%s} %" PRIu64 "\n",
	         name, labels, n, name, labels, t->sum_us / 1000000, t->sum_us % 1000000,
	         name, labels, n);
}

/* Of routes that were asked for: the page is for machines, but may be read. */
static void
add_request_times(struct buf *b)
{
	static const char name[] = "td_sync_request_duration_seconds";
	struct metric_times t;
	char labels[128];

	add_head(b, name, "histogram", "From a request's arrival to its answer.");
	for (size_t i = 0; i == 0 || route_at(i) != NULL; i++) {
		metrics_get_request_times(i, &t);
		label_route(i, labels, sizeof(labels));
		if (t.sum_us > 0)
			add_times(b, name, labels, &t);
	}
}

/* The other times: a family begins where there is a help text. */
static const struct {
	enum metric_time time;
	const char *name, *labels, *help;
} times[] = {
	{ METRIC_WAIT_LOG, "td_sync_lock_wait_seconds", "lock=\"log\"",
	  "Waits for a project's lock, got or given up." },
	{ METRIC_WAIT_STATE, "td_sync_lock_wait_seconds", "lock=\"state\"", NULL },
	{ METRIC_COMMIT_LOG, "td_sync_commit_seconds", "db=\"log\"",
	  "Commits of a project's database, until they are on the disk." },
	{ METRIC_COMMIT_STATE, "td_sync_commit_seconds", "db=\"state\"", NULL },
	{ METRIC_CHECKPOINT_LOG, "td_sync_checkpoint_seconds", "db=\"log\"",
	  "Checkpoints of a project's database." },
	{ METRIC_CHECKPOINT_STATE, "td_sync_checkpoint_seconds", "db=\"state\"", NULL },
};

/* Likewise the single numbers. */
static const struct {
	enum metric metric;
	const char *name, *labels, *help;
} numbers[] = {
	{ METRIC_EVENTS_ACCEPTED, "td_sync_events_total", "{outcome=\"accepted\"}",
	  "Events that were pushed." },
	{ METRIC_EVENTS_DUPLICATE, "td_sync_events_total", "{outcome=\"duplicate\"}", NULL },
	{ METRIC_BYTES_IN, "td_sync_received_bytes_total", "", "Bodies of requests." },
	{ METRIC_BYTES_OUT, "td_sync_sent_bytes_total", "",
	  "Bodies of answers, without what the web server sends from files." },
	{ METRIC_TOKEN_HIT, "td_sync_cache_lookups_total",
	  "{cache=\"token\",outcome=\"hit\"}",
	  "Verified tokens, sealed pages on disk, open projects: found, or made." },
	{ METRIC_TOKEN_MISS, "td_sync_cache_lookups_total",
	  "{cache=\"token\",outcome=\"miss\"}", NULL },
	{ METRIC_PAGE_HIT, "td_sync_cache_lookups_total",
	  "{cache=\"page\",outcome=\"hit\"}", NULL },
	{ METRIC_PAGE_MISS, "td_sync_cache_lookups_total",
	  "{cache=\"page\",outcome=\"miss\"}", NULL },
	{ METRIC_PROJECT_HIT, "td_sync_cache_lookups_total",
	  "{cache=\"project\",outcome=\"hit\"}", NULL },
	{ METRIC_PROJECT_MISS, "td_sync_cache_lookups_total",
	  "{cache=\"project\",outcome=\"miss\"}", NULL },
};

static void
add_rest(struct buf *b)
{
	struct metric_times t;

	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		if (numbers[i].help != NULL)
			add_head(b, numbers[i].name, "counter", numbers[i].help);
		buf_addf(b, "%s%s %" PRIu64 "\n", numbers[i].name, numbers[i].labels,
		         metrics_get(numbers[i].metric));
	}
	for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
		if (times[i].help != NULL)
			add_head(b, times[i].name, "histogram", times[i].help);
		metrics_get_time(times[i].time, &t);
		add_times(b, times[i].name, times[i].labels, &t);
	}
}

/* --- what is looked up --- */

struct sizes {
	int64_t projects, log, state; /* how many, and bytes */
	bool all;                     /* none is missing */
};

static int64_t
file_bytes(int dir, const char *project, const char *file)
{
	char path[NAME_MAX + 32];
	struct stat st;

	snprintf(path, sizeof(path), "%s/%s", project, file);
	return fstatat(dir, path, &st, 0) == 0 ? st.st_size : 0;
}

/* Two looks at each project's folder, some 5 us; no more than there is time for. */
static void
look_up(const struct request *r, struct sizes *s)
{
	int64_t end_ms = clock_mono_ms() + SIZES_MS, n;
	char path[PATH_MAX + sizeof("/projects")];
	struct dirent *entry;
	DIR *d;

	*s = (struct sizes){ .all = true };
	snprintf(path, sizeof(path), "%s/projects", r->server->config->data);
	if ((d = opendir(path)) == NULL) {
		s->all = errno == ENOENT; /* there is no project yet */
		return;
	}
	while (s->all && (entry = readdir(d)) != NULL) {
		if (!id_is(span_of(entry->d_name), "p_", 16))
			continue;
		n = file_bytes(dirfd(d), entry->d_name, EVENTS_DB);
		s->projects += n > 0;
		s->log += n;
		s->state += file_bytes(dirfd(d), entry->d_name, STATE_DB);
		if (s->projects % SIZES_EACH == 0)
			s->all = clock_mono_ms() < end_ms;
	}
	closedir(d);
}

static void
add_gauge(struct buf *b, const char *name, const char *help, int64_t value)
{
	add_head(b, name, "gauge", help);
	buf_addf(b, "%s %" PRId64 "\n", name, value);
}

static void
add_sizes(struct buf *b, const struct sizes *s)
{
	add_gauge(b, "td_sync_projects", "Projects on disk, deleted ones too.", s->projects);
	add_gauge(b, "td_sync_log_bytes", "Logs of all projects on disk (events.db).", s->log);
	add_gauge(b, "td_sync_state_bytes", "What they add up to (state.db).", s->state);
	add_gauge(b, "td_sync_sizes_complete", "0: there was no time to look at all projects, "
	          "the three above are too low.", s->all);
}

static void
add_workers(struct buf *b, const struct board *board)
{
	static const char name[] = "td_sync_workers";

	add_head(b, name, "gauge", "Workers of the pool that answers.");
	buf_addf(b, "%s{state=\"starting\"} %d\n%s{state=\"idle\"} %d\n%s{state=\"busy\"} %d\n",
	         name, board_count(board, SLOT_STARTING), name,
	         board_count(board, SLOT_IDLE), name, board_count(board, SLOT_BUSY));
}

enum rc
metrics_run(struct request *r)
{
	struct sizes sizes;
	enum rc rc;

	if ((rc = judge(r)) != RC_OK)
		return rc;
	if (!metrics_are_on())
		return err_set(&r->err, RC_UNAVAILABLE, "nothing is counted: the file " METRICS_FILE
		               " in the data folder can't be had, and the error log tells why");
	r->status = 200;
	r->type = "text/plain; version=0.0.4; charset=utf-8";
	add_requests(&r->out);
	add_request_times(&r->out);
	add_rest(&r->out);
	look_up(r, &sizes);
	add_sizes(&r->out, &sizes);
	if (r->server->board != NULL)
		add_workers(&r->out, r->server->board);
	return RC_OK;
}
