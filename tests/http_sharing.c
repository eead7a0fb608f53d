/*
 * Who is no member and may read: anyone a public project, and for how long after
 * it is private again; what nginx keeps of it, and of nothing else; share links.
 */
#include "http_test.h"

#include "mishap.h"

#include "base/clock.h"
#include "base/fs.h"
#include "http/places.h"

#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PROJECT "/v1/projects/{p}"
#define SYNC PROJECT "/sync/"

/* So long after it was judged an answer may still be served, at most. */
#define PUBLIC_MS 5000

/* nginx says what it kept: HIT, MISS, EXPIRED; nothing where it keeps none. */
#define TELLS "s/^\tadd_header X-Request-Id.*/&\\n\tadd_header X-Kept $upstream_cache_status always;/;"

static const struct span nothing = { NULL, 0 };

static int
get(struct world *w, const char *token, const char *path, const char *header)
{
	return ask_as(w, token, "GET", path, nothing, header);
}

static void
show(struct world *w, bool is_public)
{
	int status = ask(w, OWNER, "PATCH", PROJECT, is_public ? "{\"visibility\":\"public\"}"
	                 : "{\"visibility\":\"private\"}", NULL);

	ck_assert_msg(status == 200, "%d %s", status, w->answer.body.p);
}

static bool
has_text(const struct world *w, const char *text)
{
	return strstr(w->answer.body.p, text) != NULL;
}

/* --- who decides --- */

static void
visibility(struct world *w)
{
	char *limited = site_token(&w->site, w->users[OWNER], SCOPE_READ | SCOPE_WRITE, NULL,
	                           NULL);
	char before[4096];

	ck_assert_int_eq(ask(w, OWNER, "GET", PROJECT, NULL, NULL), 200);
	ck_assert(!has_text(w, "visibility"));
	snprintf(before, sizeof(before), "%s", w->answer.body.p);
	/* Who may rename it may not publish it. */
	ck_assert_int_eq(ask(w, WRITER, "PATCH", PROJECT,
	                     "{\"name\":\"Mine\",\"visibility\":\"public\"}", NULL), 403);
	ck_assert(has_code(w, "forbidden") &&
	          has_text(w, "insufficient permissions: have writer, need owner"));
	ck_assert_int_eq(ask_as(w, limited, "PATCH", PROJECT,
	                        span_of("{\"visibility\":\"public\"}"), NULL), 403);
	ck_assert(has_code(w, "insufficient_scope") && has_text(w, "project:admin"));
	ck_assert_int_eq(ask(w, READER, "PATCH", PROJECT, "{\"visibility\":\"public\"}", NULL),
	                 403);
	ck_assert_int_eq(ask(w, NOBODY, "PATCH", PROJECT, "{\"visibility\":\"public\"}", NULL),
	                 401);
	ck_assert_int_eq(ask(w, OWNER, "PATCH", PROJECT,
	                     "{\"name\":\"Mine\",\"visibility\":\"secret\"}", NULL), 400);
	ck_assert_int_eq(ask(w, OWNER, "PATCH", PROJECT, "{\"visibility\":true}", NULL), 400);
	ck_assert_int_eq(ask(w, OWNER, "PATCH", PROJECT, "{\"visibility\":null}", NULL), 200);
	ck_assert_str_eq(w->answer.body.p, before);
	show(w, true);
	ck_assert(has_text(w, ",\"visibility\":\"public\"}"));
	ck_assert_int_eq(ask(w, READER, "GET", "/v1/projects", NULL, NULL), 200);
	ck_assert(has_text(w, ",\"visibility\":\"public\"}"));
	ck_assert_int_eq(ask(w, WRITER, "PATCH", PROJECT, "{\"name\":\"Ours\"}", NULL), 200);
	ck_assert(has_text(w, "\"name\":\"Ours\"") && has_text(w, "\"public\""));
	ck_assert_int_eq(ask(w, OWNER, "PATCH", PROJECT,
	                     "{\"name\":\"Garden\",\"visibility\":\"private\"}", NULL), 200);
	ck_assert(has_text(w, "\"name\":\"Garden\"") && !has_text(w, "visibility"));
	free(limited);
}

START_TEST(only_an_owner_says_whether_a_project_is_public)
{
	with_each(visibility);
}
END_TEST

/* --- who may read --- */

/* Every route below a project: what there is for whom where it is public. */
static const struct {
	const char *method, *path;
	int anyone, guest; /* status without a token, and for another's token */
} below[] = {
	{ "GET",    SYNC "pull",     200, 200 },
	{ "HEAD",   SYNC "pull",     200, 200 },
	{ "GET",    SYNC "status",   200, 200 },
	{ "HEAD",   SYNC "status",   200, 200 },
	{ "GET",    SYNC "digest",   200, 200 },
	{ "GET",    SYNC "digest?seq=0", 404, 404 },
	{ "GET",    SYNC "snapshot", 200, 200 },
	{ "HEAD",   SYNC "snapshot", 200, 200 },
	{ "GET",    SYNC "snapshot?at_seq=1", 200, 200 },
	{ "GET",    SYNC "pull?limit=0", 400, 400 },
	{ "GET",    PROJECT,         401, 403 },
	{ "PATCH",  PROJECT,         401, 403 },
	{ "DELETE", PROJECT,         401, 403 },
	{ "GET",    PROJECT "/members", 401, 403 },
	{ "POST",   PROJECT "/members", 401, 403 },
	{ "POST",   SYNC "push",     401, 403 },
	{ "POST",   SYNC "pull",     405, 405 },
	{ "GET",    SYNC "conflicts", 401, 403 },
	{ "POST",   SYNC "conflicts/1-1/restore", 401, 403 },
	{ "GET",    PROJECT "/entities/issues/td-d-1/history", 401, 403 },
	{ "GET",    PROJECT "/links", 401, 403 },
	{ "POST",   PROJECT "/links", 401, 403 },
	{ "DELETE", PROJECT "/links/ak_0000000000000000", 401, 403 },
	{ "GET",    "/v1/projects",  401, 200 },
	{ "POST",   "/v1/projects",  401, 400 },
};

/* Until when a web server may serve the last answer again, which was asked for at that
 * time: throughout a second that is over within five. */
static void
check_expiry(struct world *w, int64_t before_us, bool may)
{
	const char *until = web_header(&w->answer, "X-Accel-Expires");
	int64_t end_us;

	ck_assert_int_eq(web_header_count(&w->answer, "X-Accel-Expires"), may);
	if (!may)
		return;
	ck_assert_int_eq(until[0], '@');
	end_us = (strtoll(until + 1, NULL, 10) + 1) * 1000000;
	ck_assert_int_lt(end_us, clock_now_us() + PUBLIC_MS * 1000);
	ck_assert_int_gt(end_us, before_us + 3 * 1000000);
}

static void
readers(struct world *w)
{
	char *old = site_expired_token(&w->site, w->users[OWNER]);
	char *narrow = site_token(&w->site, w->users[OWNER], SCOPE_SERVER_ADMIN, NULL, NULL);
	struct device_state seen;
	char match[256];
	int64_t before;

	ck_assert_int_eq(push_some(w, "d", 1, 3), 200);
	for (int open = 0; open < 2; open++) {
		show(w, open != 0);
		for (size_t i = 0; i < sizeof(below) / sizeof(below[0]); i++) {
			int anyone = below[i].anyone, guest = below[i].guest;

			if (!open && strncmp(below[i].path, PROJECT, strlen(PROJECT)) == 0 &&
			    anyone != 405) {
				anyone = 401;
				guest = 403;
			}
			before = clock_now_us();
			ask(w, NOBODY, below[i].method, below[i].path, "", NULL);
			ck_assert_msg(w->answer.status == anyone, "%s %s: %d", below[i].method,
			              below[i].path, w->answer.status);
			ck_assert_str_eq(web_header(&w->answer, "Cache-Control"),
			                 "private, no-store");
			if (w->site.kind == SITE_CGI)
				check_expiry(w, before, anyone == 200);
			ask(w, STRANGER, below[i].method, below[i].path, "", NULL);
			ck_assert_msg(w->answer.status == guest, "stranger, %s %s: %d",
			              below[i].method, below[i].path, w->answer.status);
			ck_assert_int_eq(web_header_count(&w->answer, "X-Accel-Expires"), 0);
		}
		/* A token that is not good is no token, and says so. */
		ck_assert_int_eq(get(w, old, SYNC "pull", NULL), 401);
		ck_assert_int_eq(get(w, "x.y.z", SYNC "pull", NULL), 401);
		ck_assert_int_eq(get(w, NULL, SYNC "pull", "Authorization: Basic YTpi"), 401);
		ck_assert_int_eq(get(w, narrow, SYNC "pull", NULL), open ? 200 : 403);
		ck_assert_int_eq(ask(w, READER, "GET", SYNC "pull", NULL, NULL), 200);
		ck_assert_int_eq(web_header_count(&w->answer, "X-Accel-Expires"), 0);
	}
	/* It has a tag for who asks again, and no answer that isn't whole is kept. */
	ck_assert_int_eq(get(w, NULL, SYNC "status", NULL), 200);
	snprintf(match, sizeof(match), "If-None-Match: %s", web_header(&w->answer, "ETag"));
	ck_assert_int_eq(get(w, NULL, SYNC "status", match), 304);
	ck_assert_int_eq(web_header_count(&w->answer, "X-Accel-Expires"), 0);
	/* What guests say of devices is not noted. */
	get(w, NULL, SYNC "pull?exclude_client=shelf", NULL);
	ask(w, STRANGER, "GET", SYNC "pull?exclude_client=shelf", NULL, NULL);
	ck_assert(until_device(w, w->tokens[READER], SYNC "pull?exclude_client=desk", nothing,
	                       "desk", 3, &seen));
	ck_assert_int_eq(devices_get(project_folder(w), span_of("shelf"), &seen), RC_NOT_FOUND);
	/* One that is gone is as one that never was. */
	ck_assert_int_eq(ask(w, OWNER, "DELETE", PROJECT, NULL, NULL), 204);
	ck_assert_int_eq(get(w, NULL, SYNC "pull?limit=7", NULL), 401);
	ck_assert_int_eq(ask(w, STRANGER, "GET", SYNC "pull", NULL, NULL), 403);
	ck_assert_int_eq(ask(w, READER, "GET", SYNC "pull", NULL, NULL), 404);
	free(narrow);
	free(old);
}

START_TEST(anyone_reads_a_public_project_and_does_nothing_else)
{
	with_each(readers);
}
END_TEST

static int
lock_place(const char *path, int i)
{
	struct flock byte = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = i,
	                      .l_len = 1 };
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0660);

	ck_assert_int_eq(fcntl(fd, F_OFD_SETLK, &byte), 0);
	return fd;
}

/* A replay is much work, which strangers may ask for: what they take members do not
 * lack, and the other way round. */
static void
past_of_guests(struct world *w)
{
	static const char past[] = SYNC "snapshot?at_seq=5";
	char path[PATH_MAX + 32];
	int places[4];

	fill(w, 1, 10);
	show(w, true);
	snprintf(path, sizeof(path), "%s/" GUEST_REPLAY, w->site.data);
	places[0] = lock_place(path, 0);
	ck_assert_int_eq(get(w, NULL, past, NULL), 503);
	ck_assert_str_eq(web_header(&w->answer, "Retry-After"), "5");
	ck_assert_int_eq(ask(w, STRANGER, "GET", past, NULL, NULL), 503);
	ck_assert_int_eq(ask(w, READER, "GET", past, NULL, NULL), 200);
	ck_assert_int_eq(get(w, NULL, SYNC "snapshot", NULL), 200);
	close(places[0]);
	snprintf(path, sizeof(path), "%s/" LARGE_FILE, w->site.data);
	for (int i = 0; i < 4; i++)
		places[i] = lock_place(path, i);
	ck_assert_int_eq(ask(w, READER, "GET", past, NULL, NULL), 503);
	ck_assert_int_eq(get(w, NULL, past, NULL), 200);
	ck_assert_int_eq(get(w, NULL, past, NULL), 200);
	for (int i = 0; i < 4; i++)
		close(places[i]);
}

/* Switched off: nothing can be published, and what was before is not open any more. */
static void
switched_off(struct world *w)
{
	struct accounts *accounts;
	struct project p;
	struct err err;

	ck_assert_int_eq(ask(w, OWNER, "PATCH", PROJECT, "{\"visibility\":\"public\"}", NULL),
	                 403);
	ck_assert(has_code(w, "forbidden") && has_text(w, "public_projects"));
	ck_assert_int_eq(accounts_open(w->site.data, &accounts, &err), RC_OK);
	ck_assert_int_eq(project_publish(accounts, w->project, true, &p, &err), RC_OK);
	accounts_close(accounts);
	ck_assert_int_eq(ask(w, NOBODY, "GET", SYNC "pull", NULL, NULL), 401);
	ck_assert_int_eq(ask(w, STRANGER, "GET", SYNC "status", NULL, NULL), 403);
	ck_assert_int_eq(ask(w, READER, "GET", SYNC "pull", NULL, NULL), 200);
	ck_assert_int_eq(ask(w, OWNER, "PATCH", PROJECT, "{\"visibility\":\"private\"}", NULL),
	                 200);
}

START_TEST(an_operator_may_switch_public_projects_off)
{
	with_each_of("public_projects = off\n", switched_off);
}
END_TEST

START_TEST(who_replays_a_public_project_takes_no_place_of_a_member)
{
	with_each(past_of_guests);
}
END_TEST

/* --- share links --- */

#define LINKS PROJECT "/links"

/* The token of the last answer, to be freed. */
static char *
secret(const struct world *w)
{
	const char *p = strstr(w->answer.body.p, "\"token\":\"");

	ck_assert_msg(p != NULL, "%d %s", w->answer.status, w->answer.body.p);
	p += strlen("\"token\":\"");
	return span_dup((struct span){ p, strcspn(p, "\"") });
}

/* Make a link; its path goes to out. */
static char *
make_link(struct world *w, const char *body, char out[128])
{
	char id[ID_MAX] = "";

	ck_assert_msg(ask(w, OWNER, "POST", LINKS, body, NULL) == 201, "%d %s",
	              w->answer.status, w->answer.body.p);
	ck_assert_int_eq(sscanf(w->answer.body.p, "{\"id\":\"%39[^\"]", id), 1);
	snprintf(out, 128, LINKS "/%s", id);
	return secret(w);
}

static const struct {
	const char *body;
	int status;
} wishes[] = {
	{ "", 400 },
	{ "[]", 400 },
	{ "null", 400 },
	{ "{}", 400 },
	{ "{\"name\":\"\"}", 400 },
	{ "{\"name\":7}", 400 },
	{ "{\"name\":\"a\\u0000b\"}", 400 },
	{ "{\"name\":\"a\",\"days\":0}", 400 },
	{ "{\"name\":\"a\",\"days\":-1}", 400 },
	{ "{\"name\":\"a\",\"days\":1}", 201 },
	{ "{\"name\":\"a\",\"days\":365}", 201 },
	{ "{\"name\":\"a\",\"days\":366}", 400 },
	{ "{\"name\":\"a\",\"days\":1.5}", 400 },
	{ "{\"name\":\"a\",\"days\":\"7\"}", 400 },
	{ "{\"name\":\"a\",\"days\":99999999999999999999}", 400 },
	{ "{\"name\":\"a\",\"days\":null}", 201 },
	{ "{\"name\":\"a\",\"scope\":\"sync:write\",\"projects\":\"*\"}", 201 },
};

/* What a link may do. */
static const struct {
	const char *method, *path;
	int status;
} link_may[] = {
	{ "GET",    PROJECT,                 200 },
	{ "GET",    SYNC "pull",             200 },
	{ "GET",    SYNC "status",           200 },
	{ "GET",    SYNC "digest",           200 },
	{ "GET",    SYNC "snapshot",         200 },
	{ "GET",    SYNC "conflicts",        200 },
	{ "GET",    PROJECT "/entities/issues/td-d-1/history", 200 },
	{ "GET",    "/v1/tokens/self",       200 },
	{ "GET",    "/v1/tokens",            403 },
	{ "POST",   "/v1/tokens",            403 },
	{ "GET",    "/v1/invitations",       403 },
	{ "POST",   "/v1/projects",          403 },
	{ "PATCH",  PROJECT,                 403 },
	{ "DELETE", PROJECT,                 403 },
	{ "GET",    PROJECT "/members",      403 },
	{ "POST",   PROJECT "/members",      403 },
	{ "GET",    PROJECT "/invitations",  403 },
	{ "POST",   PROJECT "/invitations",  403 },
	{ "GET",    LINKS,                   403 },
	{ "POST",   LINKS,                   403 },
	{ "POST",   SYNC "push",             403 },
	{ "POST",   SYNC "conflicts/1-1/restore", 403 },
};

static void
links(struct world *w)
{
	char *narrow = site_token(&w->site, w->users[OWNER], SCOPE_READ | SCOPE_WRITE, NULL,
	                          NULL);
	char path[128], other[ID_MAX], foreign[128], text[256];
	char *link;

	ck_assert_int_eq(push_some(w, "d", 1, 3), 200);
	ck_assert_int_eq(ask(w, OWNER, "GET", LINKS, NULL, NULL), 200);
	ck_assert_str_eq(w->answer.body.p, "[]\n");
	/* Owners make them. */
	for (int who = WRITER; who <= STRANGER; who++)
		ck_assert_int_eq(ask(w, (enum who)who, "POST", LINKS, "{\"name\":\"x\"}", NULL),
		                 403);
	ck_assert_int_eq(ask(w, NOBODY, "POST", LINKS, "{\"name\":\"x\"}", NULL), 401);
	ck_assert_int_eq(ask_as(w, narrow, "POST", LINKS, span_of("{\"name\":\"x\"}"), NULL),
	                 403);
	link = make_link(w, "{\"name\":\"for \\\"Bob\\\"\",\"days\":7}", path);
	snprintf(text, sizeof(text), ",\"name\":\"for \\\"Bob\\\"\",\"scope\":\"sync:read\","
	         "\"projects\":[\"%s\"],\"created_at\":\"", w->project);
	ck_assert_msg(has_text(w, text) && has_text(w, "\"expires_at\":\""), "%s",
	              w->answer.body.p);
	ck_assert(!has_text(w, "user_id"));
	ck_assert_int_eq(ask(w, OWNER, "GET", LINKS, NULL, NULL), 200);
	ck_assert(has_text(w, text) && !has_text(w, "token"));
	ck_assert(w->answer.body.p[0] == '[' && web_is_json(&w->answer));
	/* It reads the project. */
	for (size_t i = 0; i < sizeof(link_may) / sizeof(link_may[0]); i++) {
		ask_as(w, link, link_may[i].method, link_may[i].path, span_of(""), NULL);
		ck_assert_msg(w->answer.status == link_may[i].status, "%s %s: %d",
		              link_may[i].method, link_may[i].path, w->answer.status);
	}
	/* And no other one, nor more of its own, public or not. */
	site_project(&w->site, "Other", w->users[OWNER], other);
	snprintf(foreign, sizeof(foreign), "/v1/projects/%s/sync/pull", other);
	ck_assert_int_eq(get(w, link, foreign, NULL), 403);
	show(w, true);
	ck_assert_int_eq(get(w, link, PROJECT "/members", NULL), 403);
	ck_assert_int_eq(get(w, link, SYNC "conflicts", NULL), 200);
	show(w, false);
	/* Another project's owner doesn't end it, nor is another token one. */
	snprintf(foreign, sizeof(foreign), "/v1/projects/%s/links%s", other,
	         strrchr(path, '/'));
	ck_assert_int_eq(ask(w, OWNER, "DELETE", foreign, NULL, NULL), 404);
	ck_assert_int_eq(ask(w, WRITER, "DELETE", path, NULL, NULL), 403);
	ck_assert_int_eq(ask_as(w, link, "DELETE", path, nothing, NULL), 403);
	ck_assert_int_eq(ask(w, OWNER, "DELETE", LINKS "/ak_0000000000000000", NULL, NULL), 404);
	ck_assert_int_eq(ask(w, OWNER, "GET", "/v1/tokens/self", NULL, NULL), 200);
	ck_assert_int_eq(sscanf(w->answer.body.p, "{\"id\":\"%39[^\"]", other), 1);
	snprintf(foreign, sizeof(foreign), LINKS "/%s", other);
	ck_assert_int_eq(ask(w, OWNER, "DELETE", foreign, NULL, NULL), 404);
	ck_assert_int_eq(get(w, link, SYNC "pull", NULL), 200);
	/* Revoked is revoked, at once. */
	ck_assert_int_eq(ask(w, OWNER, "DELETE", path, NULL, NULL), 204);
	ck_assert_int_eq(get(w, link, SYNC "pull", NULL), 401);
	ck_assert_int_eq(ask(w, OWNER, "GET", LINKS, NULL, NULL), 200);
	ck_assert_str_eq(w->answer.body.p, "[]\n");
	ck_assert_int_eq(ask(w, OWNER, "DELETE", path, NULL, NULL), 204);
	free(link);
	for (size_t i = 0; i < sizeof(wishes) / sizeof(wishes[0]); i++) {
		ask(w, OWNER, "POST", LINKS, wishes[i].body, NULL);
		ck_assert_msg(w->answer.status == wishes[i].status, "%s: %d %s", wishes[i].body,
		              w->answer.status, w->answer.body.p);
		ck_assert(wishes[i].status != 201 ||
		          (has_text(w, "\"sync:read\"") && has_text(w, w->project)));
	}
	/* A project that is gone takes its links along. */
	link = make_link(w, "{\"name\":\"last\"}", path);
	ck_assert_int_eq(get(w, link, SYNC "pull", NULL), 200);
	ck_assert_int_eq(ask(w, OWNER, "DELETE", PROJECT, NULL, NULL), 204);
	ck_assert_int_eq(get(w, link, SYNC "pull", NULL), 404);
	free(link);
	free(narrow);
}

START_TEST(a_share_link_reads_its_project_until_it_is_revoked)
{
	with_each(links);
}
END_TEST

/* --- what nginx keeps --- */

static struct world
start(const char *edits)
{
	struct site_options options = { .kind = SITE_FASTCGI, .nginx_edits = edits };
	struct world w;

	world_start(&w, &options);
	return w;
}

/* So long nothing is kept under the same name, whatever the clock says. */
#define MOMENT_S 10

/* Wait until a moment has only begun: what is kept now is found for some seconds. */
static void
await_moment(void)
{
	while (clock_now_us() / 1000000 % MOMENT_S >= 3)
		usleep(50000);
}

/* What nginx did for the last answer; "" where it keeps none. */
static const char *
kept(const struct world *w)
{
	return web_header(&w->answer, "X-Kept");
}

/* Queries: what nginx keeps their answer as, "" where each goes to a worker. Two of
 * the same name have one answer, two of different names have not, nor those
 * that have none. */
static const struct {
	const char *path, *as;
} spellings[] = {
	{ "pull",                                   "a" },
	{ "pull?",                                  "a" },
	{ "pull?limit=1000",                        "a" },
	{ "pull?after_server_seq=0",                "a" },
	{ "pull?after_server_seq=0&limit=1000",     "a" },
	{ "pull?limit=1000&after_server_seq=0",     "a" },
	{ "pull?after_server_seq=7",                "b" },
	{ "pull?limit=1000&after_server_seq=7",     "b" },
	{ "pull?after_server_seq=7&limit=5",        "c" },
	{ "pull?limit=5&after_server_seq=7",        "c" },
	{ "pull?limit=5",                           "d" },
	{ "pull?after_server_seq=0&limit=5",        "d" },
	{ "pull?limit=7",                           "e" },
	{ "pull?after_server_seq=5",                "f" },
	{ "pull?after_server_seq=1000",             "g" },
	{ "pull?limit=999",                         "h" },
	{ "status",                                 "i" },
	{ "status?",                                "i" },
	{ "digest",                                 "j" },
	{ "digest?seq=1000",                        "k" },
	{ "digest?seq=1500",                        "l" },
	/* other spellings of the same, and what means something else */
	{ "pull?after_server_seq=07",               "" },
	{ "pull?after_server_seq=+7",               "" },
	{ "pull?after_server_seq=%37",              "" },
	{ "pull?after%5fserver_seq=7",              "" },
	{ "pull?after_server_seq=7&",               "" },
	{ "pull?&after_server_seq=7",               "" },
	{ "pull?after_server_seq=7&after_server_seq=9", "" },
	{ "pull?after_server_seq=9&after_server_seq=7", "" },
	{ "pull?after_server_seq=7&limit=5&limit=9", "" },
	{ "pull?limit=9&after_server_seq=7&limit=5", "" },
	{ "pull?after_server_seq=-7",               "" },
	{ "pull?after_server_seq=",                 "" },
	{ "pull?limit=05",                          "" },
	{ "pull?limit=0",                           "" },
	{ "pull?limit=-1",                          "" },
	{ "pull?limit=100000",                      "" },
	{ "pull?limit=5;after_server_seq=7",        "" },
	{ "pull?limit=5&x=1",                       "" },
	{ "pull?Limit=5",                           "" },
	{ "pull?seq=7",                             "" },
	{ "pull?exclude_client=d&limit=5",          "" },
	{ "pull?after_server_seq=99999999999999999999", "" },
	{ "pull?limit=5?",                          "" },
	{ "pull?limit=5%0a",                        "" },
	{ "pull?0%205",                             "" },
	{ "status?x=1",                             "" },
	{ "digest?seq=",                            "" },
	{ "digest?seq=01000",                       "" },
	{ "digest?seq=1000&seq=2000",               "" },
	{ "digest?limit=5",                         "" },
	/* paths that are others */
	{ "pull%3flimit=5",                         "" },
	{ "pull%3flimit=5?",                        "" },
	{ "pull%0a",                                "" },
	{ "pull/",                                  "" },
	{ "PULL",                                   "" },
	{ "/pull",                                  "" },
	{ "snapshot",                               "" },
	{ "snapshot?at_seq=1000",                   "" },
	{ "status/../pull?limit=5",                 "d" },
	{ "%70ull?limit=5",                         "d" },
};
#define SPELLINGS (sizeof(spellings) / sizeof(spellings[0]))

START_TEST(no_spelling_of_a_query_gets_the_answer_of_another)
{
	struct world w = start(TELLS);
	struct buf bodies[SPELLINGS] = { 0 };
	int statuses[SPELLINGS];
	char path[256];

	fill(&w, 1, 2500);
	show(&w, true);
	/* What a worker says, whom nobody asks for: */
	for (size_t i = 0; i < SPELLINGS; i++) {
		snprintf(path, sizeof(path), SYNC "%s", spellings[i].path);
		statuses[i] = ask(&w, READER, "GET", path, NULL, NULL);
		ck_assert_msg(kept(&w)[0] == '\0', "%s with a token: %s", path, kept(&w));
		buf_add_span(&bodies[i], buf_span(&w.answer.body));
		for (size_t j = 0; j < i; j++)
			if (spellings[i].as[0] != '\0' && spellings[j].as[0] != '\0')
				ck_assert_msg(span_eq(buf_span(&bodies[i]), buf_span(&bodies[j])) ==
				              (spellings[i].as[0] == spellings[j].as[0]), "%s and %s",
				              spellings[i].path, spellings[j].path);
	}
	/* And what comes to who has no token, in this order and in the other. */
	for (size_t n = 0; n < 3 * SPELLINGS; n++) {
		size_t i = n / SPELLINGS == 1 ? 2 * SPELLINGS - 1 - n : n % SPELLINGS;
		bool may_be_kept = spellings[i].as[0] != '\0';

		snprintf(path, sizeof(path), SYNC "%s", spellings[i].path);
		get(&w, NULL, path, NULL);
		ck_assert_msg(w.answer.status == statuses[i] ||
		              (statuses[i] == 404 && w.answer.status == 401), "%s: %d, not %d",
		              path, w.answer.status, statuses[i]);
		/* (A request's id is in the message of an error.) */
		ck_assert_msg(w.answer.status != 200 ||
		              span_eq(buf_span(&w.answer.body), buf_span(&bodies[i])), "%s: %s",
		              path, w.answer.body.p);
		ck_assert_msg((kept(&w)[0] != '\0') == may_be_kept, "%s: %s", path, kept(&w));
	}
	for (size_t i = 0; i < SPELLINGS; i++)
		buf_free(&bodies[i]);
	world_stop(&w);
}
END_TEST

/* Headers that an answer may depend on: who sends one is answered by a worker. */
static const struct {
	const char *header;
	int status;
} headers[] = {
	{ "Cookie: a=b", 200 },
	{ "Range: bytes=0-3", 200 },
	{ "If-Range: \"x\"", 200 },
	{ "If-None-Match: \"x\"", 200 },
	{ "If-None-Match: W/\"x\"", 200 },
	{ "If-Match: \"x\"", 200 },
	{ "If-Modified-Since: Sun, 01 Mar 2026 10:00:00 GMT", 200 },
	{ "If-Unmodified-Since: Sun, 01 Mar 2026 10:00:00 GMT", 200 },
	{ "X-Log-Id: 00000000000000000000000000000000", 409 },
	{ "X-Log-Id: x", 400 },
	{ "X-Log-Last: 1:00000000000000000000000000000000", 409 },
	{ "Authorization: Basic YTpi", 401 },
	{ "Authorization: Bearer x", 401 },
	{ "authorization: x", 401 },
};

START_TEST(what_an_answer_depends_on_is_never_answered_out_of_the_cache)
{
	struct world w = start(TELLS);

	ck_assert_int_eq(push_some(&w, "d", 1, 3), 200);
	show(&w, true);
	for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
		ck_assert_int_eq(get(&w, NULL, SYNC "pull", NULL), 200);
		ck_assert_str_ne(kept(&w), "");
		ck_assert_msg(get(&w, NULL, SYNC "pull", headers[i].header) == headers[i].status,
		              "%s: %d", headers[i].header, w.answer.status);
		ck_assert_msg(kept(&w)[0] == '\0', "%s: %s", headers[i].header, kept(&w));
	}
	/* A header without a value is none, for a worker too. */
	ck_assert_int_eq(get(&w, NULL, SYNC "pull", "Authorization;"), 200);
	world_stop(&w);
}
END_TEST

START_TEST(an_answer_to_a_token_and_one_to_anyone_are_never_mixed_up)
{
	struct world w = start(TELLS);

	ck_assert_int_eq(push_some(&w, "d", 1, 1), 200);
	show(&w, true);
	/* Within a second or so: what is kept is what it was. */
	await_moment();
	ck_assert_int_eq(get(&w, NULL, SYNC "status", NULL), 200);
	ck_assert_int_eq(push_some(&w, "d", 2, 1), 200);
	ck_assert_int_eq(get(&w, NULL, SYNC "status", NULL), 200);
	ck_assert_str_eq(kept(&w), "HIT");
	ck_assert_int_eq(answer_number(&w, "event_count"), 1);
	ck_assert_int_eq(ask(&w, READER, "GET", SYNC "status", NULL, NULL), 200);
	ck_assert_int_eq(answer_number(&w, "event_count"), 2);
	ck_assert_int_eq(ask(&w, STRANGER, "GET", SYNC "status", NULL, NULL), 200);
	ck_assert_int_eq(answer_number(&w, "event_count"), 2);
	/* Nor is what tokens were told. */
	ck_assert_int_eq(get(&w, NULL, SYNC "status", NULL), 200);
	ck_assert_int_eq(answer_number(&w, "event_count"), 1);
	usleep(PUBLIC_MS * 1000);
	ck_assert_int_eq(get(&w, NULL, SYNC "status", NULL), 200);
	ck_assert_str_eq(kept(&w), "EXPIRED");
	ck_assert_int_eq(answer_number(&w, "event_count"), 2);
	world_stop(&w);
}
END_TEST

START_TEST(a_head_does_not_poison_a_get_nor_the_other_way_round)
{
	static const char *const paths[] = { SYNC "pull", SYNC "status", SYNC "digest",
	                                     SYNC "pull?limit=2", SYNC "pull?limit=3" };
	struct world w = start(TELLS);

	ck_assert_int_eq(push_some(&w, "d", 1, 3), 200);
	show(&w, true);
	await_moment();
	for (size_t i = 0; i < 10; i++) {
		const char *path = paths[i % 5];
		size_t n;

		if (i % 2 == 0)
			ck_assert_int_eq(ask(&w, NOBODY, "HEAD", path, NULL, NULL), 200);
		ck_assert_int_eq(get(&w, NULL, path, NULL), 200);
		n = w.answer.body.len;
		ck_assert(n > 20 && web_is_json(&w.answer));
		ck_assert_int_eq(ask(&w, NOBODY, "HEAD", path, NULL, NULL), 200);
		ck_assert_int_eq(w.answer.body.len, 0);
		ck_assert_int_eq(atoi(web_header(&w.answer, "Content-Length")), (int)n);
	}
	ck_assert_str_eq(kept(&w), "HIT");
	world_stop(&w);
}
END_TEST

/* A kept page of history is of two kinds, packed and not. */
START_TEST(a_page_of_history_is_kept_for_each_who_reads_it_packed_or_not)
{
	struct world w = start(TELLS);
	struct buf plain = { 0 };

	fill(&w, 1, 2500);
	show(&w, true);
	ck_assert_int_eq(ask(&w, READER, "GET", SYNC "pull", NULL, NULL), 200);
	buf_add_span(&plain, buf_span(&w.answer.body));
	usleep(200000); /* a page is kept after its answer */
	await_moment();
	for (int i = 0; i < 6; i++) {
		ck_assert_int_eq(get(&w, NULL, SYNC "pull", i % 2 == 0 ? "Accept-Encoding: gzip"
		                                                        : NULL), 200);
		ck_assert_str_eq(kept(&w), i < 2 ? "MISS" : "HIT");
		ck_assert_str_eq(web_header(&w.answer, "Content-Encoding"),
		                 i % 2 == 0 ? "gzip" : "");
		ck_assert(span_eq(buf_span(&w.answer.body), buf_span(&plain)) == (i % 2 != 0));
	}
	buf_free(&plain);
	world_stop(&w);
}
END_TEST

START_TEST(who_has_no_token_is_counted_by_address_also_where_nginx_has_the_answer)
{
	struct site_options options = { .kind = SITE_FASTCGI, .limits = true, .nginx_edits =
		TELLS "s/rate=[0-9]*r.[ms]/rate=1r\\/m/;"
		"s/zone=td_sync_pull  *burst=.*/zone=td_sync_pull burst=5 nodelay;/;" };
	struct world w;

	world_start(&w, &options);
	show(&w, true);
	await_moment();
	for (int i = 0; i < 6; i++) {
		ck_assert_int_eq(get(&w, NULL, SYNC "pull", NULL), 200);
		ck_assert_str_eq(kept(&w), i == 0 ? "MISS" : "HIT");
	}
	ck_assert_int_eq(get(&w, NULL, SYNC "pull", NULL), 429);
	ck_assert_int_eq(ask(&w, STRANGER, "GET", SYNC "pull", NULL, NULL), 200);
	world_stop(&w);
}
END_TEST

/* --- its files --- */

static struct {
	const char *text;
	int files, having; /* files in the cache, and those that hold the text */
} seek;

static int
look(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	struct buf b = { 0 };

	(void)st;
	(void)ftw;
	if (type != FTW_F || fs_read(path, 1 << 24, &b, NULL) != RC_OK)
		return 0; /* a folder, or gone meanwhile */
	seek.files++;
	seek.having += memmem(b.p, b.len, seek.text, strlen(seek.text)) != NULL;
	buf_free(&b);
	return 0;
}

/* How many files of the cache hold a text. */
static int
files_with(const struct world *w, const char *text)
{
	char path[PATH_MAX];

	seek.text = text;
	seek.files = seek.having = 0;
	snprintf(path, sizeof(path), "%s/nginx-cache", w->site.dir);
	ck_assert_int_eq(nftw(path, look, 16, FTW_PHYS), 0);
	return seek.having;
}

static void
ask_all(struct world *w)
{
	static const char *const paths[] = { "pull", "pull?limit=2", "status", "digest", "snapshot",
	                                     "pull?limit=0", "conflicts", "nothing" };
	char path[64];

	for (size_t i = 0; i < 2 * sizeof(paths) / sizeof(paths[0]); i++)
		for (int who = OWNER; who <= NOBODY; who++) {
			snprintf(path, sizeof(path), SYNC "%s", paths[i / 2]);
			ask(w, (enum who)who, i % 2 == 0 ? "GET" : "HEAD", path, NULL, NULL);
		}
}

START_TEST(nothing_of_a_private_project_nor_of_a_token_is_in_the_cache)
{
	struct world w = start(TELLS);

	ck_assert_int_eq(push_some(&w, "secret", 1, 3), 200);
	ask_all(&w);
	ck_assert_int_eq(files_with(&w, w.project), 0);
	ck_assert_int_eq(files_with(&w, "td-secret-1"), 0);
	ck_assert_int_eq(seek.files, 0);
	show(&w, true);
	ask_all(&w);
	/* GET and HEAD of pull, a smaller one, status and digest; no error, no snapshot. */
	ck_assert_int_eq(files_with(&w, w.project), 8);
	ck_assert_int_eq(seek.files, 8);
	ck_assert_int_eq(files_with(&w, "\nTitle"), 0);
	ck_assert_int_eq(files_with(&w, "SQLite format 3"), 0);
	for (int who = OWNER; who < NOBODY; who++)
		ck_assert_int_eq(files_with(&w, w.tokens[who]), 0);
	ck_assert_int_eq(files_with(&w, "uthorization"), 0);
	world_stop(&w);
}
END_TEST

/* --- private again --- */

#define PROJECTS 5
#define READERS 8
#define STAGGER_MS 230 /* they change at different moments of a second */

/* Reads all projects, all the time, as anyone. */
static struct load {
	struct world *w;
	char projects[PROJECTS][ID_MAX];
	int64_t closed_ms[PROJECTS]; /* the answer that said so came; 0: not yet */
	/* of answers: */
	int64_t last_ms[PROJECTS];   /* the last good one came, after closed_ms */
	int good[PROJECTS], refused[PROJECTS], hits;
	int strange;                 /* another status */
	bool stop;
} load;

static void
read_one(struct web_answer *a, unsigned n)
{
	static const char *const what[] = { "pull", "status", "digest", "pull?limit=2",
	                                    "snapshot", "pull?after_server_seq=1" };
	size_t p = n % PROJECTS;
	char path[128];
	struct web_call call = { .url = load.w->site.url, .path = path };
	int64_t closed, now;

	snprintf(path, sizeof(path), "/v1/projects/%s/sync/%s", load.projects[p],
	         what[n / PROJECTS % 6]);
	if (!web_call(&call, a))
		a->status = 0;
	now = clock_mono_ms();
	closed = __atomic_load_n(&load.closed_ms[p], __ATOMIC_ACQUIRE);
	if (strcmp(web_header(a, "X-Kept"), "HIT") == 0)
		__atomic_add_fetch(&load.hits, 1, __ATOMIC_RELAXED);
	if (a->status == 200) {
		__atomic_add_fetch(&load.good[p], 1, __ATOMIC_RELAXED);
		if (closed != 0)
			__atomic_store_n(&load.last_ms[p], now, __ATOMIC_RELAXED);
	} else if (a->status == 401) {
		__atomic_add_fetch(&load.refused[p], 1, __ATOMIC_RELAXED);
	} else if (a->status != 503) { /* so many at once: some may be told to come again */
		__atomic_store_n(&load.strange, a->status, __ATOMIC_RELAXED);
	}
}

static void *
read_all(void *ctx)
{
	struct web_answer a = { 0 };
	unsigned n = *(unsigned *)ctx;

	while (!__atomic_load_n(&load.stop, __ATOMIC_RELAXED))
		read_one(&a, n++);
	web_free(&a);
	return NULL;
}

/* Delete each project, or make it private. */
static void
close_all(bool by_deletion)
{
	struct world *w = load.w;

	for (size_t i = 0; i < PROJECTS; i++) {
		usleep(STAGGER_MS * 1000);
		memcpy(w->project, load.projects[i], ID_MAX);
		if (by_deletion)
			ck_assert_int_eq(ask(w, OWNER, "DELETE", PROJECT, NULL, NULL), 204);
		else
			show(w, false);
		__atomic_store_n(&load.closed_ms[i], clock_mono_ms(), __ATOMIC_RELEASE);
	}
}

START_TEST(not_one_byte_is_served_5_s_after_a_project_ceased_to_be_public)
{
	struct world w = start(TELLS);
	pthread_t threads[READERS];
	unsigned from[READERS];
	int64_t longest = 0;

	memset(&load, 0, sizeof(load));
	load.w = &w;
	for (size_t i = 0; i < PROJECTS; i++) {
		site_project(&w.site, "Shown", w.users[OWNER], load.projects[i]);
		memcpy(w.project, load.projects[i], ID_MAX);
		site_member(&w.site, w.project, w.users[WRITER], ROLE_WRITER);
		ck_assert_int_eq(push_some(&w, "d", 1, 5), 200);
		show(&w, true);
	}
	for (unsigned i = 0; i < READERS; i++) {
		from[i] = i * 7;
		ck_assert_int_eq(pthread_create(&threads[i], NULL, read_all, &from[i]), 0);
	}
	usleep(1500000);
	close_all(_i != 0);
	usleep((PUBLIC_MS + 2000) * 1000);
	__atomic_store_n(&load.stop, true, __ATOMIC_RELAXED);
	for (size_t i = 0; i < READERS; i++)
		pthread_join(threads[i], NULL);
	ck_assert_int_eq(load.strange, 0);
	ck_assert_int_gt(load.hits, 100);
	for (size_t i = 0; i < PROJECTS; i++) {
		int64_t after = load.last_ms[i] - load.closed_ms[i];

		longest = after > longest ? after : longest;
		ck_assert_msg(after < PUBLIC_MS, "project %zu: served %lld ms after", i,
		              (long long)after);
		/* It was read, and then no more. */
		ck_assert_int_gt(load.good[i], 50);
		ck_assert_int_gt(load.refused[i], 50);
	}
	ck_assert_int_gt(longest, 1000); /* out of the cache for a while, that is */
	world_stop(&w);
}
END_TEST

/* For nginx the clock is an hour back from when what it keeps was judged. */
START_TEST(a_clock_that_is_set_back_keeps_nothing_public)
{
	char env[PATH_MAX + 32], plan[PATH_MAX], folder[] = "/tmp/td-sync-test-XXXXXX";
	const char *const wrapper[] = { "/usr/bin/env", "LD_PRELOAD=" MISHAP_LIBRARY, env,
		"ASAN_OPTIONS=verify_asan_link_order=0", NULL };
	struct site_options options = { .kind = SITE_FASTCGI, .wrapper = wrapper };
	struct world w;

	ck_assert_ptr_nonnull(mkdtemp(folder));
	snprintf(plan, sizeof(plan), "%s/plan", folder);
	snprintf(env, sizeof(env), "TD_SYNC_MISHAP=%s", plan);
	ck_assert(mishap_share(plan));
	world_start(&w, &options);
	mishap->clock_s = 3600;
	show(&w, true);
	ck_assert_int_eq(get(&w, NULL, SYNC "status", NULL), 200);
	mishap->clock_s = 0;
	show(&w, false);
	for (int i = 0; i <= MOMENT_S * 4; i++) { /* what nobody asks for goes anyway */
		get(&w, NULL, SYNC "status", NULL);
		usleep(250000);
	}
	ck_assert_int_eq(w.answer.status, 401);
	world_stop(&w);
	ck_assert(unlink(plan) == 0 && rmdir(folder) == 0);
}
END_TEST

TCase *
sharing_case(void)
{
	TCase *tc = tcase_create("sharing");

	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, only_an_owner_says_whether_a_project_is_public);
	tcase_add_test(tc, anyone_reads_a_public_project_and_does_nothing_else);
	tcase_add_test(tc, an_operator_may_switch_public_projects_off);
	tcase_add_test(tc, who_replays_a_public_project_takes_no_place_of_a_member);
	tcase_add_test(tc, a_share_link_reads_its_project_until_it_is_revoked);
	if (!http_can_run(SITE_FASTCGI))
		return tc;
	tcase_add_test(tc, no_spelling_of_a_query_gets_the_answer_of_another);
	tcase_add_test(tc, what_an_answer_depends_on_is_never_answered_out_of_the_cache);
	tcase_add_test(tc, an_answer_to_a_token_and_one_to_anyone_are_never_mixed_up);
	tcase_add_test(tc, a_head_does_not_poison_a_get_nor_the_other_way_round);
	tcase_add_test(tc, a_page_of_history_is_kept_for_each_who_reads_it_packed_or_not);
	tcase_add_test(tc, who_has_no_token_is_counted_by_address_also_where_nginx_has_the_answer);
	tcase_add_test(tc, nothing_of_a_private_project_nor_of_a_token_is_in_the_cache);
	tcase_add_test(tc, a_clock_that_is_set_back_keeps_nothing_public);
	tcase_add_loop_test(tc, not_one_byte_is_served_5_s_after_a_project_ceased_to_be_public,
	                    0, 2);
	return tc;
}
