/* The server as its clients meet it: over HTTP, through nginx and as CGI. */
#include "http_test.h"

#include "base/fs.h"
#include "base/json.h"
#include "store/events.h"

#include <curl/curl.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

bool
http_can_run(enum site_kind kind)
{
	static bool said;
	const char *why = site_missing(kind);

	if (why != NULL && !said)
		fprintf(stderr, "skipped: everything behind nginx: %s\n", why);
	said = said || why != NULL;
	return why == NULL;
}

void
with_each(void (*body)(struct world *w))
{
	with_each_of(NULL, body);
}

void
with_each_of(const char *config, void (*body)(struct world *w))
{
	static const enum site_kind kinds[] = { SITE_FASTCGI, SITE_CGI };

	for (size_t i = 0; i < 2; i++) {
		struct site_options options = { .kind = kinds[i], .config = config };
		struct world w;

		if (!http_can_run(kinds[i]))
			continue;
		world_start(&w, &options);
		body(&w);
		world_stop(&w);
	}
}

void
world_start(struct world *w, const struct site_options *o)
{
	static const char *const names[] = { "owner", "writer", "reader", "stranger" };
	char email[64];

	memset(w, 0, sizeof(*w));
	ck_assert(site_start(&w->site, o));
	for (size_t i = 0; i < 4; i++) {
		snprintf(email, sizeof(email), "%s@example.com", names[i]);
		site_user(&w->site, email, w->users[i]);
		w->tokens[i] = site_token(&w->site, w->users[i],
		                          SCOPE_READ | SCOPE_WRITE | SCOPE_PROJECT_ADMIN,
		                          NULL, NULL);
	}
	site_project(&w->site, "Garden", w->users[OWNER], w->project);
	site_member(&w->site, w->project, w->users[WRITER], ROLE_WRITER);
	site_member(&w->site, w->project, w->users[READER], ROLE_READER);
	site_project(&w->site, "Gone", w->users[OWNER], w->gone);
	ck_assert_int_eq(ask(w, OWNER, "DELETE", "/v1/projects/{gone}", NULL, NULL), 204);
}

void
world_stop(struct world *w)
{
	for (size_t i = 0; i < 4; i++)
		free(w->tokens[i]);
	web_free(&w->answer);
	ck_assert(site_stop(&w->site));
}

/* Put the ids into a path. */
static const char *
fill_path(const struct world *w, const char *path, struct buf *out)
{
	for (; *path != '\0'; path++) {
		if (strncmp(path, "{p}", 3) == 0) {
			buf_add_str(out, w->project);
			path += 2;
		} else if (strncmp(path, "{gone}", 6) == 0) {
			buf_add_str(out, w->gone);
			path += 5;
		} else {
			buf_add_byte(out, *path);
		}
	}
	return buf_cstr(out);
}

int
ask_as(struct world *w, const char *token, const char *method, const char *path,
       struct span body, const char *header)
{
	struct buf filled = { 0 };
	struct web_call call = {
		.method = method, .url = w->site.url, .token = token, .body = body,
		.headers = { header },
	};

	call.path = fill_path(w, path, &filled);
	if (!web_call(&call, &w->answer))
		w->answer.status = 0;
	buf_free(&filled);
	return w->answer.status;
}

int
ask(struct world *w, enum who who, const char *method, const char *path,
    const char *body, const char *header)
{
	return ask_as(w, who == NOBODY ? NULL : w->tokens[who], method, path,
	              span_of(body), header);
}

void
make_push(struct buf *out, const char *device, int first, int n)
{
	buf_addf(out, "{\"device_id\":\"%s\",\"session_id\":\"ses_1\",\"events\":[", device);
	for (int i = first; i < first + n; i++)
		buf_addf(out, "%s{\"client_action_id\":%d,\"action_type\":\"create\","
		         "\"entity_type\":\"issues\",\"entity_id\":\"td-%s-%d\",\"payload\":"
		         "{\"schema_version\":1,\"new_data\":{\"id\":\"td-%s-%d\",\"title\":\"T %d\"},"
		         "\"previous_data\":{}},\"client_timestamp\":\"2026-03-01T10:00:00Z\"}",
		         i > first ? "," : "", i, device, i, device, i, i);
	buf_add_str(out, "]}");
}

int
push_some(struct world *w, const char *device, int first, int n)
{
	struct buf body = { 0 };
	int status;

	make_push(&body, device, first, n);
	status = ask_as(w, w->tokens[WRITER], "POST", "/v1/projects/{p}/sync/push",
	                buf_span(&body), NULL);
	buf_free(&body);
	return status;
}

int64_t
push_event(struct world *w, enum who who, const char *device, const char *time,
           const char *deed, const char *payload)
{
	static int64_t n; /* so that no event is another's retry */
	struct buf body = { 0 };
	char action[32], type[64], id[300];
	int status;

	ck_assert_int_eq(sscanf(deed, "%31s %63s %299[^\n]", action, type, id), 3);
	buf_addf(&body, "{\"device_id\":\"%s\",\"session_id\":\"ses_%s\",\"events\":[{"
	         "\"client_action_id\":%lld,\"action_type\":\"%s\",\"entity_type\":\"%s\","
	         "\"entity_id\":", device, device, (long long)++n, action, type);
	buf_add_json(&body, span_of(id));
	buf_add_str(&body, ",\"payload\":");
	for (const char *p = payload; *p != '\0'; p++)
		buf_add_byte(&body, *p == '\'' ? '"' : *p);
	buf_addf(&body, ",\"client_timestamp\":\"2026-03-01T%sZ\"}]}", time);
	status = ask_as(w, w->tokens[who], "POST", "/v1/projects/{p}/sync/push",
	                buf_span(&body), NULL);
	ck_assert_msg(status == 200 && answer_number(w, "accepted") == 1, "%s: %d %s", deed,
	              status, w->answer.body.p);
	buf_free(&body);
	/* {"accepted":1,"acks":[{"client_action_id":1,"server_seq":42}]} */
	return strtoll(strrchr(w->answer.body.p, ':') + 1, NULL, 10);
}

const char *
project_folder(const struct world *w)
{
	static char path[PATH_MAX + 64];

	snprintf(path, sizeof(path), "%s/projects/%s", w->site.data, w->project);
	return path;
}

bool
until_device(struct world *w, const char *token, const char *path, struct span body,
             const char *device, int64_t seq, struct device_state *out)
{
	for (int i = 0; i < 30; i++) {
		if (ask_as(w, token, body.p == NULL ? "GET" : "POST", path, body, NULL) != 200)
			return false;
		usleep(50000);
		if (devices_get(project_folder(w), span_of(device), out) == RC_OK &&
		    out->served_seq >= seq)
			return true;
	}
	return false;
}

bool
has_code(const struct world *w, const char *code)
{
	char want[64];

	snprintf(want, sizeof(want), "{\"error\":{\"code\":\"%s\",\"message\":\"", code);
	return strncmp(w->answer.body.p, want, strlen(want)) == 0;
}

int64_t
answer_number(const struct world *w, const char *key)
{
	struct span value, number;
	int64_t n;

	if (json_scan(buf_span(&w->answer.body), 64, &value, NULL, NULL) != RC_OK ||
	    !json_get(value, key, &number) || !json_int64(number, &n))
		return -1;
	return n;
}

int64_t
log_count(struct world *w)
{
	ck_assert_int_eq(ask(w, READER, "GET", "/v1/projects/{p}/sync/status", NULL, NULL), 200);
	ck_assert_int_eq(answer_number(w, "event_count"), answer_number(w, "last_server_seq"));
	return answer_number(w, "event_count");
}

void
fill(struct world *w, int first, int n)
{
	for (int done = 0; done < n; done += 500)
		ck_assert_int_eq(push_some(w, "d", first + done, n - done < 500 ? n - done : 500), 200);
}

void
fill_large(struct world *w, int first, int n, size_t bytes)
{
	for (int i = first; i < first + n; i++) {
		struct buf b = { 0 };
		unsigned noise = (unsigned)i;

		buf_addf(&b, "{\"device_id\":\"large\",\"session_id\":\"s\",\"events\":["
		         "{\"client_action_id\":%d,\"action_type\":\"create\",\"entity_type\":"
		         "\"issues\",\"entity_id\":\"td-l%d\",\"payload\":{\"schema_version\":1,"
		         "\"new_data\":{\"id\":\"td-l%d\",\"title\":\"", i, i, i);
		for (size_t k = 0; k < bytes; k++) { /* compresses to about a half */
			noise = noise * 1103515245 + 12345;
			buf_add_byte(&b, "abcdefghijklmnop"[noise >> 16 & 15]);
		}
		buf_add_str(&b, "\"},\"previous_data\":{}},\"client_timestamp\":"
		            "\"2026-03-01T10:00:00Z\"}]}");
		ck_assert_int_eq(ask_as(w, w->tokens[WRITER], "POST", "/v1/projects/{p}/sync/push",
		                        buf_span(&b), NULL), 200);
		buf_free(&b);
	}
}

void
log_id(const struct world *w, char out[33])
{
	char dir[PATH_MAX + 64];
	struct events_head head;
	struct events *log;

	snprintf(dir, sizeof(dir), "%s/projects/%s", w->site.data, w->project);
	ck_assert_int_eq(events_open(dir, &log, NULL), RC_OK);
	ck_assert_int_eq(events_head(log, &head, NULL), RC_OK);
	events_close(log);
	for (size_t i = 0; i < LOG_ID_LEN; i++)
		snprintf(out + 2 * i, 3, "%02x", head.log_id[i]);
}

int
said(const struct world *w, const char *what)
{
	struct buf log = { 0 };
	int n = 0;

	fs_read(w->site.error_log, 1 << 24, &log, NULL);
	for (const char *p = buf_cstr(&log); p != NULL && (p = strstr(p, what)) != NULL; p++)
		n++;
	buf_free(&log);
	return n;
}

int
run_cgi(struct world *w, const char *what, useconds_t kill_us)
{
	char bearer[5000], path[256], config[PATH_MAX + 32];
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		snprintf(bearer, sizeof(bearer), "Bearer %s", w->tokens[READER]);
		snprintf(path, sizeof(path), "/v1/projects/%s/%.*s", w->project,
		         (int)strcspn(what, "?"), what);
		snprintf(config, sizeof(config), "%s/server.conf", w->site.dir);
		setenv("REQUEST_METHOD", "GET", 1);
		setenv("PATH_INFO", path, 1);
		setenv("QUERY_STRING", strchr(what, '?') != NULL ? strchr(what, '?') + 1 : "", 1);
		setenv("HTTP_AUTHORIZATION", bearer, 1);
		if (freopen("/dev/null", "w", stdout) != NULL)
			execl(TOP_BUILDDIR "/td-sync.fcgi", "td-sync.fcgi", "--config", config, NULL);
		_exit(127);
	}
	if (kill_us > 0) {
		usleep(kill_us);
		kill(pid, SIGKILL);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	return status;
}

void
change_log(const struct world *w, const char *sql)
{
	char path[PATH_MAX + 64];
	sqlite3 *db;

	snprintf(path, sizeof(path), "%s/projects/%s/events.db", w->site.data, w->project);
	ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
	sqlite3_busy_timeout(db, 3000);
	ck_assert_msg(sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK, "%s",
	              sqlite3_errmsg(db));
	sqlite3_close(db);
	snprintf(path, sizeof(path), "%s/projects/%s/lock", w->site.data, w->project);
	ck_assert_int_eq(unlink(path), 0); /* which knows where the log ended */
}

int
main(void)
{
	Suite *s = suite_create("http");
	SRunner *sr;
	int failed;

	curl_global_init(CURL_GLOBAL_DEFAULT);
	suite_add_tcase(s, config_case());
	suite_add_tcase(s, recordings_case());
	suite_add_tcase(s, bad_input_case());
	suite_add_tcase(s, bodies_case());
	suite_add_tcase(s, sync_case());
	suite_add_tcase(s, conflicts_case());
	suite_add_tcase(s, state_case());
	suite_add_tcase(s, heal_case());
	suite_add_tcase(s, login_case());
	suite_add_tcase(s, pages_case());
	suite_add_tcase(s, snapshot_case());
	suite_add_tcase(s, purge_case());
	suite_add_tcase(s, profiles_case());
	suite_add_tcase(s, sharing_case());
	suite_add_tcase(s, pool_case());
	suite_add_tcase(s, limits_case());
	suite_add_tcase(s, metrics_case());
	suite_add_tcase(s, rates_case());
	suite_add_tcase(s, quotas_case());
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
