/*
 * A request as CGI hands it over, served whole: routes, callers, queries,
 * bodies and handlers, on a data folder with one project of three events, the last
 * of which makes a conflict. An input is NAME=VALUE lines, an empty line, and the body; an HTTP_AUTHORIZATION
 * of "TOKEN" stands for one with a valid token.
 *
 * Whatever comes, the answer must be well-formed and none that says the
 * server failed. After one that changed something the folder is made anew.
 */
#include "http/request.h"

#include "base/fs.h"
#include "base/json.h"
#include "base/log.h"
#include "fuzz/fuzz.h"
#include "tests/temp.h"

#include <ctype.h>
#include <string.h>

#define PROJECT "p_0123456789abcdef"
#define VARIABLES 32

static char dir[TEMP_PATH];
static struct config config;
static struct server server;
static struct request request;
static struct buf bearer;
static struct err err;

#define OK(call) FUZZ_CHECK((call) == RC_OK, "%s", err.text)

/* --- the data folder --- */

/* An issue that two edit at once. */
static void
append_events(struct events *log)
{
	static const char *const payloads[] = {
		"{\"new_data\":{\"title\":\"One\"}}",
		"{\"new_data\":{\"title\":\"Two\"},\"previous_data\":{\"title\":\"One\"}}",
		"{\"new_data\":{\"title\":\"Three\"},\"previous_data\":{\"title\":\"One\"}}",
	};
	int64_t seq;

	OK(events_begin(log, INT64_MAX, &err));
	for (int i = 0; i < 3; i++) {
		struct event ev = { .action = i == 0 ? ACTION_CREATE : ACTION_UPDATE,
			.action_id = i + 1, .device = span_of(i < 2 ? "d" : "e"),
			.session = span_of("s"), .type = span_of("issues"), .id = span_of("td-1"),
			.time = span_of("2026-01-31T10:00:00Z"), .payload = span_of(payloads[i]) };

		OK(events_append(log, &ev, &seq, &err));
	}
	OK(events_commit(log, &err));
}

static void
make_project(struct auth *auth)
{
	char path[TEMP_PATH + 40];
	struct accounts *accounts;
	struct token_row row;
	struct project project;
	struct events *log;
	struct user user;

	OK(auth_accounts(auth, &accounts, &err));
	OK(user_add(accounts, span_of("a@example.com"), &user, &err));
	snprintf(path, sizeof(path), "%s/projects", dir);
	OK(fs_mkdir(path, &err));
	snprintf(path, sizeof(path), "%s/projects/" PROJECT, dir);
	OK(events_create(path, "td", &err));
	OK(events_open(path, &log, &err));
	append_events(log);
	events_close(log);
	OK(project_add(accounts, PROJECT, span_of("p"), span_of(""), user.id, &project, &err));
	buf_reset(&bearer);
	buf_add_str(&bearer, "Bearer ");
	OK(auth_issue(auth, &(struct token_plan){
		.user_id = user.id, .name = "",
		.scope = SCOPE_READ | SCOPE_WRITE | SCOPE_PROJECT_ADMIN, .lifetime_s = 1000000,
	}, &row, &bearer, &err));
	FUZZ_CHECK(buf_cstr(&bearer) != NULL, "no memory");
}

static void
close_folder(void)
{
	server_close(&server);
	temp_remove(dir);
}

static void
open_folder(void)
{
	char path[TEMP_PATH + 40], kid[40];
	struct auth *auth;

	temp_make(dir);
	snprintf(path, sizeof(path), "%s/keys", dir);
	OK(fs_mkdir(path, &err));
	OK(keyring_create(path, kid, &err));
	OK(accounts_create(dir, &err));
	config = (struct config){ .access_log_off = true, .max_push_bytes = 1 << 20,
		.max_large_bodies = 2, .transfer_seconds = 10, .max_waiting = 2,
		.page_cache_bytes = 1 << 20 };
	snprintf(config.data, sizeof(config.data), "%s", dir);
	server_init(&server, &config, 0);
	OK(server_auth(&server, &auth, &err));
	make_project(auth);
}

static void
close_all(void)
{
	close_folder();
	request_free(&request);
	buf_free(&bearer);
}

/* --- the outside --- */

struct cgi {
	char *names[VARIABLES], *values[VARIABLES];
	size_t n;
	struct span body;
	struct buf answer;
	bool finished;
};

static const char *
cgi_param(void *ctx, const char *name)
{
	struct cgi *c = ctx;

	for (size_t i = 0; i < c->n; i++)
		if (strcmp(c->names[i], name) == 0)
			return strcmp(name, "HTTP_AUTHORIZATION") == 0 &&
			    strcmp(c->values[i], "TOKEN") == 0 ? bearer.p : c->values[i];
	return NULL;
}

static void
cgi_limit(void *ctx, int64_t ms)
{
	(void)ctx;
	(void)ms;
}

static size_t
cgi_read(void *ctx, void *p, size_t n)
{
	struct cgi *c = ctx;
	size_t got = n < c->body.len ? n : c->body.len;

	if (got == 0)
		return 0;
	memcpy(p, c->body.p, got);
	c->body.p += got;
	c->body.len -= got;
	return got;
}

static bool
cgi_write(void *ctx, const void *p, size_t n)
{
	struct cgi *c = ctx;

	FUZZ_CHECK(!c->finished, "written after the end");
	buf_add(&c->answer, p, n);
	return true;
}

static void
cgi_finish(void *ctx)
{
	struct cgi *c = ctx;

	FUZZ_CHECK(!c->finished, "finished twice");
	c->finished = true;
}

static bool
cgi_wanted(void *ctx, int ms)
{
	(void)ctx;
	(void)ms;
	return false;
}

static const struct io io = {
	cgi_param, cgi_limit, cgi_read, cgi_write, cgi_finish, cgi_wanted,
};

/* Take the input apart. A variable ends at a NUL, as in an environment. */
static void
read_input(char *text, size_t len, struct cgi *c)
{
	char *p = text, *end = text + len;

	while (p < end && *p != '\n' && c->n < VARIABLES) {
		char *line = memchr(p, '\n', (size_t)(end - p));
		char *equals;

		if (line == NULL)
			line = end; /* text has room for a NUL there */
		*line = '\0';
		if ((equals = strchr(p, '=')) != NULL) {
			*equals = '\0';
			c->names[c->n] = p;
			c->values[c->n++] = equals + 1;
		}
		p = line < end ? line + 1 : end;
	}
	if (p < end && *p == '\n')
		c->body = (struct span){ p + 1, (size_t)(end - p - 1) };
}

/* --- the answer --- */

struct answer {
	int status;
	bool json, html, has_length;
	size_t length;
	struct span body;
};

static void
read_header(struct span line, struct answer *a)
{
	const char *colon = memchr(line.p, ':', line.len);
	struct span name, value;

	for (size_t i = 0; i < line.len; i++)
		FUZZ_CHECK((unsigned char)line.p[i] >= ' ' && (unsigned char)line.p[i] < 0x7f,
		           "%.*s", FUZZ_SPAN(line));
	FUZZ_CHECK(colon != NULL && colon > line.p && colon[1] == ' ', "%.*s", FUZZ_SPAN(line));
	name = (struct span){ line.p, (size_t)(colon - line.p) };
	value = (struct span){ colon + 2, line.len - name.len - 2 };
	if (span_is(name, "Status"))
		a->status = atoi(value.p);
	if (span_is(name, "Content-Type")) {
		a->json = span_is(value, "application/json");
		a->html = span_is(value, "text/html; charset=utf-8");
	}
	if (span_is(name, "Content-Length")) {
		a->has_length = true;
		a->length = (size_t)atoll(value.p);
	}
}

static struct answer
read_answer(struct span text)
{
	struct answer a = { 0 };
	const char *p = text.p, *end = text.p + text.len, *line;

	for (;; p = line + 2) {
		line = memmem(p, (size_t)(end - p), "\r\n", 2);
		FUZZ_CHECK(line != NULL, "no end: %.*s", FUZZ_SPAN(text));
		if (line == p)
			break;
		read_header((struct span){ p, (size_t)(line - p) }, &a);
	}
	a.body = (struct span){ line + 2, (size_t)(end - line - 2) };
	return a;
}

static void
check_answer(const struct cgi *c, const char *method)
{
	static const int known[] = { 200, 201, 204, 304, 307, 400, 401, 403, 404, 405, 409, 410, 413,
	                             503 };
	struct span text = buf_span(&c->answer), value, rest;
	struct answer a = read_answer(text);
	bool empty = a.status == 204 || a.status == 304, head = strcmp(method, "HEAD") == 0;
	size_t i = 0;

	while (i < sizeof(known) / sizeof(known[0]) && known[i] != a.status)
		i++;
	FUZZ_CHECK(i < sizeof(known) / sizeof(known[0]), "%.*s", FUZZ_SPAN(text));
	FUZZ_CHECK(c->finished && a.has_length == !empty, "%.*s", FUZZ_SPAN(text));
	FUZZ_CHECK(a.body.len == (head || empty ? 0 : a.length), "%.*s", FUZZ_SPAN(text));
	FUZZ_CHECK(a.status < 400 || a.json || a.html, "%.*s", FUZZ_SPAN(text));
	if (a.json && a.body.len > 0)
		FUZZ_CHECK(json_scan(a.body, JSON_MAX_DEPTH + 3, &value, &rest, &err) == RC_OK &&
		           span_is(rest, "\n"), "%s: %.*s", err.text, FUZZ_SPAN(text));
	if (a.status < 300 && !head && strcmp(method, "GET") != 0) {
		close_folder();
		open_folder();
	}
}

/* --- queries, as Go's url.ParseQuery reads them --- */

static bool
ref_unescape(const char *p, const char *end, struct buf *out)
{
	buf_reset(out);
	for (; p < end; p++) {
		char hex[3] = { 0 };

		if (*p == '%') {
			if (end - p < 3 || !isxdigit((unsigned char)p[1]) ||
			    !isxdigit((unsigned char)p[2]))
				return false;
			memcpy(hex, p + 1, 2);
			buf_add_byte(out, (char)strtol(hex, NULL, 16));
			p += 2;
		} else {
			buf_add_byte(out, *p == '+' ? ' ' : *p);
		}
	}
	return true;
}

static bool
ref_query(const char *query, const char *name, struct buf *out)
{
	while (*query != '\0') {
		const char *end = strchrnul(query, '&'), *equals = memchr(query, '=', (size_t)(end - query));

		if (equals == NULL)
			equals = end;
		if (end > query && memchr(query, ';', (size_t)(end - query)) == NULL &&
		    ref_unescape(query, equals, out) && span_is(buf_span(out), name) &&
		    ref_unescape(equals < end ? equals + 1 : end, end, out))
			return true;
		query = *end == '&' ? end + 1 : end;
	}
	buf_reset(out);
	return false;
}

static void
check_query(const char *query)
{
	static const char *const names[] = { "after_server_seq", "limit", "a" };
	struct request r = { .query = query };
	struct buf got = { 0 }, want = { 0 };

	for (size_t i = 0; i < 3; i++) {
		bool there = ref_query(query, names[i], &want);

		FUZZ_CHECK(request_query(&r, names[i], &got) == there, "%s in %s", names[i], query);
		FUZZ_CHECK(span_eq(buf_span(&got), buf_span(&want)), "%s in %s", names[i], query);
	}
	buf_free(&got);
	buf_free(&want);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cgi c = { .n = 0 };
	char *text = malloc(size + 1);
	const char *v;

	if (dir[0] == '\0') {
		OK(log_open("/dev/null", NULL, &err));
		open_folder();
		request_init(&request, &server);
		atexit(close_all);
	}
	if (text == NULL)
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	read_input(text, size, &c);
	if ((v = cgi_param(&c, "QUERY_STRING")) != NULL)
		check_query(v);
	request_serve(&request, &io, &c);
	v = cgi_param(&c, "REQUEST_METHOD");
	check_answer(&c, v != NULL ? v : "");
	buf_free(&c.answer);
	free(text);
	return 0;
}
