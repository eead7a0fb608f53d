/*
 * Who may what: every route of the table, asked by every kind of caller there is, in
 * every role, over HTTP; and what docs/protocol.md says of it ("Who may what"), which is read
 * from there, so that it can't say anything else. A route that is not in the document,
 * or that this test has no request for, fails it.
 */
#include "raw.h"
#include "site.h"
#include "web.h"

#include "base/fs.h"
#include "base/json.h"
#include "http/route.h"
#include "store/db.h"

#include <arpa/inet.h>
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define FULL (SCOPE_READ | SCOPE_WRITE | SCOPE_PROJECT_ADMIN)

/* --- what the document says --- */

#define RULES 80

struct rule {
	char name[120];      /* "PATCH /v1/projects/{id} (visibility)" */
	bool open;           /* no token is asked for */
	unsigned scope;
	enum role role;
	bool limited;        /* a token for certain projects will do */
	bool link, anyone;   /* and a share link; and who has no token, where it is public */
	bool found;
};

static struct rule rules[RULES];
static size_t n_rules;

/* The next cell of a table's line, without blanks and backquotes; false: no more. */
static bool
next_cell(const char **line, char *out, size_t cap)
{
	const char *p = *line + 1, *end = strpbrk(p, "|\n");
	size_t n = 0;

	if (end == NULL || *end != '|')
		return false;
	for (p += strspn(p, " "); p < end && n + 1 < cap; p++)
		if (*p != '`')
			out[n++] = *p;
	while (n > 0 && out[n - 1] == ' ')
		n--;
	out[n] = '\0';
	*line = end;
	return true;
}

static unsigned
scope_of(const char *text)
{
	unsigned scope = 0;

	ck_assert_msg(strcmp(text, "none") == 0 || strcmp(text, "any") == 0 ||
	              scope_parse(span_of(text), &scope), "docs/protocol.md: scope %s", text);
	return scope;
}

static void
read_rule(const char *line)
{
	struct rule *r = &rules[n_rules++];
	char scope[40], role[20], limited[20], others[20];

	ck_assert_uint_lt(n_rules, RULES);
	ck_assert_msg(next_cell(&line, r->name, sizeof(r->name)) &&
	              next_cell(&line, scope, sizeof(scope)) &&
	              next_cell(&line, role, sizeof(role)) &&
	              next_cell(&line, limited, sizeof(limited)) &&
	              next_cell(&line, others, sizeof(others)), "docs/protocol.md: %.60s", line);
	r->open = strcmp(scope, "none") == 0;
	r->scope = scope_of(scope);
	ck_assert(strcmp(role, "-") == 0 || role_find(span_of(role), &r->role));
	r->limited = strcmp(limited, "yes") == 0;
	ck_assert(r->limited || strcmp(limited, "no") == 0);
	r->anyone = strcmp(others, "anyone") == 0;
	r->link = r->anyone || strcmp(others, "link") == 0;
	ck_assert(r->link || strcmp(others, "-") == 0);
}

static void
read_rules(void)
{
	static const char title[] = "\n## Who may what\n";
	struct buf text = { 0 };
	const char *at;
	struct err err;

	ck_assert_msg(fs_read(TOP_SRCDIR "/docs/protocol.md", 1 << 20, &text, &err) == RC_OK, "%s",
	              err.text);
	ck_assert((at = strstr(buf_cstr(&text), title)) != NULL);
	at += sizeof(title) - 1;
	for (; *at != '\0' && strncmp(at, "## ", 3) != 0; at += strcspn(at, "\n") + 1)
		if (strncmp(at, "| `", 3) == 0)
			read_rule(at);
	ck_assert_uint_gt(n_rules, 0);
	buf_free(&text);
}

static struct rule *
rule_of(const char *name)
{
	for (size_t i = 0; i < n_rules; i++)
		if (strcmp(rules[i].name, name) == 0)
			return &rules[i];
	return NULL;
}

/* --- what is asked --- */

/*
 * A request of each route that does as little as may be: who may is told what is wrong
 * with it, and where it does something, `mend` takes that back.
 */
static const struct sample {
	const char *name;    /* as the document has it */
	const char *route;   /* where it is no route of its own; else NULL */
	const char *body;
	int status;          /* for who may */
	const char *mend;    /* SQL */
	const char *header;  /* a further line, of a route that judges by itself: who may
	                      * not is forbidden it, whatever the cause */
} samples[] = {
	{ "GET /healthz", NULL, NULL, 200, NULL, NULL },
	{ "GET /metrics", NULL, NULL, 200, NULL, "X-Forwarded-For: 192.0.2.1" },
	{ "POST /v1/auth/device/start", NULL, "{}", 400, NULL, NULL },
	{ "POST /v1/auth/device/poll", NULL, "{}", 400, NULL, NULL },
	{ "GET /auth/device/approve", NULL, NULL, 400, NULL, NULL },
	{ "POST /auth/device/approve", NULL, "", 400, NULL, NULL },
	{ "POST /v1/auth/login/start", NULL, "{}", 400, NULL, NULL },
	{ "POST /v1/auth/login/poll", NULL, "{}", 400, NULL, NULL },
	{ "GET /auth/verify", NULL, NULL, 200, NULL, NULL },
	{ "POST /auth/verify", NULL, "", 200, NULL, NULL },
	{ "GET /auth/setup", NULL, NULL, 404, NULL, NULL },
	{ "POST /auth/setup", NULL, "", 404, NULL, NULL },
	{ "GET /v1/tokens/self", NULL, NULL, 200, NULL, NULL },
	{ "GET /v1/tokens", NULL, NULL, 200, NULL, NULL },
	{ "POST /v1/tokens", NULL, "{}", 400, NULL, NULL },
	{ "DELETE /v1/tokens/self", "/v1/tokens/{key}", NULL, 204,
	  "UPDATE token SET revoked_at = 0 WHERE name <> 'revoked'", NULL },
	{ "DELETE /v1/tokens/{key}", NULL, NULL, 404, NULL, NULL },
	{ "GET /v1/invitations", NULL, NULL, 200, NULL, NULL },
	{ "POST /v1/invitations/{invitation}/accept", NULL, "", 404, NULL, NULL },
	{ "POST /v1/invitations/{invitation}/decline", NULL, "", 404, NULL, NULL },
	{ "GET /v1/projects", NULL, NULL, 200, NULL, NULL },
	{ "POST /v1/projects", NULL, "{}", 400, NULL, NULL },
	{ "GET /v1/projects/{id}", NULL, NULL, 200, NULL, NULL },
	{ "PATCH /v1/projects/{id}", NULL, "{\"name\":\"\"}", 400, NULL, NULL },
	{ "PATCH /v1/projects/{id} (visibility)", "/v1/projects/{id}", "{\"visibility\":\"x\"}",
	  400, NULL, NULL },
	{ "DELETE /v1/projects/{id}", NULL, NULL, 204,
	  "UPDATE project SET deleted_at = 0 WHERE name <> 'Deleted'", NULL },
	{ "GET /v1/projects/{id}/links", NULL, NULL, 200, NULL, NULL },
	{ "POST /v1/projects/{id}/links", NULL, "[]", 400, NULL, NULL },
	{ "DELETE /v1/projects/{id}/links/{key}", NULL, NULL, 404, NULL, NULL },
	{ "GET /v1/projects/{id}/members", NULL, NULL, 200, NULL, NULL },
	{ "POST /v1/projects/{id}/members", NULL, "{}", 400, NULL, NULL },
	{ "PATCH /v1/projects/{id}/members/{user}", NULL, "{}", 400, NULL, NULL },
	{ "DELETE /v1/projects/{id}/members/{user}", NULL, NULL, 404, NULL, NULL },
	{ "GET /v1/projects/{id}/invitations", NULL, NULL, 200, NULL, NULL },
	{ "POST /v1/projects/{id}/invitations", NULL, "{}", 400, NULL, NULL },
	{ "DELETE /v1/projects/{id}/invitations/{invitation}", NULL, NULL, 404, NULL, NULL },
	{ "POST /v1/projects/{id}/sync/push", NULL, "{}", 400, NULL, NULL },
	{ "GET /v1/projects/{id}/sync/pull", NULL, NULL, 200, NULL, NULL },
	{ "GET /v1/projects/{id}/sync/status", NULL, NULL, 200, NULL, NULL },
	{ "GET /v1/projects/{id}/sync/snapshot", NULL, NULL, 200, NULL, NULL },
	{ "GET /v1/projects/{id}/sync/conflicts", NULL, NULL, 200, NULL, NULL },
	{ "POST /v1/projects/{id}/sync/conflicts/{conflict}/restore", NULL, "", 404, NULL, NULL },
	{ "GET /v1/projects/{id}/sync/digest", NULL, NULL, 200, NULL, NULL },
	{ "GET /v1/projects/{id}/entities/{type}/{entity}/history", NULL, NULL, 200, NULL, NULL },
};
#define SAMPLES (sizeof(samples) / sizeof(samples[0]))

/* What stands in a path for its places; a project's id is the case's. */
static const struct { const char *place, *id; } places[] = {
	{ "{user}", "u_0000000000000000" }, { "{key}", "ak_0000000000000000" },
	{ "{invitation}", "inv_0000000000000000" }, { "{conflict}", "1-1" },
	{ "{type}", "issues" }, { "{entity}", "td-1" },
};

static void
add_path(struct buf *out, const char *name, const char *project)
{
	const char *path = strchr(name, ' ') + 1;

	while (*path != '\0' && *path != ' ') {
		size_t n = strcspn(path, "}") + 1, i;

		if (*path != '{') {
			buf_add_byte(out, *path++);
			continue;
		}
		for (i = 0; i < sizeof(places) / sizeof(places[0]); i++)
			if (strncmp(places[i].place, path, n) == 0)
				break;
		if (strncmp(path, "{id}", n) == 0)
			buf_add_str(out, project);
		else if (i < sizeof(places) / sizeof(places[0]))
			buf_add_str(out, places[i].id);
		else
			ck_abort_msg("nothing stands for %s", path);
		path += n;
	}
}

/* --- who asks --- */

enum place { PRIVATE, PUBLIC, DELETED, UNKNOWN, PLACES };

static const char *const place_names[] = { "a project", "a public project",
                                           "a deleted project", "no project" };

enum kind { NOBODY, REFUSED, USER, LINK };

#define CALLERS 80

struct caller_kind {
	char name[100];
	enum kind kind;
	struct buf header;     /* "Authorization: ..." */
	unsigned scope;
	enum place only;       /* the project that the token is for; PLACES: all */
	enum role role;        /* of its user, in all of them */
};

static struct world {
	struct site site;
	char owner[ID_MAX];
	char project[PLACES][ID_MAX];
	char other[ID_MAX];    /* one more project, of which all are members */
	struct caller_kind callers[CALLERS];
	size_t n_callers;
	struct web_answer answer;
	struct accounts *accounts;
	struct err err;
} w;

#define must(call) ck_assert_msg((call) == RC_OK, "%s", w.err.text)

static struct caller_kind *
add_caller(enum kind kind, const char *name, const char *header)
{
	struct caller_kind *c = &w.callers[w.n_callers++];

	ck_assert_uint_lt(w.n_callers, CALLERS);
	*c = (struct caller_kind){ .kind = kind, .only = PLACES };
	snprintf(c->name, sizeof(c->name), "%s", name);
	if (header != NULL)
		buf_addf(&c->header, "Authorization: %s", header);
	return c;
}

static int64_t
now_s(void)
{
	return clock_now_us() / 1000000;
}

/* The header for a token that says so, and is recorded. */
static void
add_token(struct buf *out, const struct claims *c, const char *name, const char *link)
{
	char keys[PATH_MAX + 8];
	struct token_row row = { .created_at = now_s(), .expires_at = now_s() + 86400 };
	struct keyring *k;

	snprintf(keys, sizeof(keys), "%s/keys", w.site.data);
	must(keyring_open(keys, &k, &w.err));
	buf_add_str(out, "Authorization: Bearer ");
	must(token_sign(k, accounts_server_id(w.accounts), c, out, &w.err));
	keyring_close(k);
	snprintf(row.id, sizeof(row.id), "%s", c->jti);
	snprintf(row.user_id, sizeof(row.user_id), "%s", c->sub);
	snprintf(row.name, sizeof(row.name), "%s", name);
	snprintf(row.link_id, sizeof(row.link_id), "%s", link);
	strcpy(row.scope, "sync:read");
	strcpy(row.projects, "*");
	must(token_add(w.accounts, &row, &w.err));
	ck_assert(buf_cstr(out) != NULL);
}

/* Claims that are good; projects NULL: for all. */
static struct claims
claims_of(const char *user, unsigned scope, char (*project)[ID_MAX])
{
	struct claims c = { .scope = scope, .all_projects = project == NULL,
	                    .projects = project, .n_projects = project != NULL,
	                    .iat = now_s(), .nbf = now_s(), .exp = now_s() + 86400 };

	must(id_new("ak_", 8, c.jti));
	snprintf(c.sub, sizeof(c.sub), "%s", user);
	return c;
}

/* Tokens of a user, of each kind. */
static void
add_user_callers(const char *who, const char *user, enum role role)
{
	static const struct { const char *name; unsigned scope; enum place only; } kinds[] = {
		{ "full token", FULL, PLACES },
		{ "write token", SCOPE_READ | SCOPE_WRITE, PLACES },
		{ "read-only token", SCOPE_READ, PLACES },
		{ "server:admin token", SCOPE_SERVER_ADMIN, PLACES },
		{ "full token for the project", FULL, PRIVATE },
		{ "read-only token for the public project", SCOPE_READ, PUBLIC },
		{ "full token for the deleted project", FULL, DELETED },
		{ "full token for another project", FULL, UNKNOWN },
	};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		struct caller_kind *c = add_caller(USER, who, NULL);
		enum place only = kinds[i].only;
		struct claims claims;

		snprintf(c->name, sizeof(c->name), "%s of %s", kinds[i].name, who);
		c->scope = kinds[i].scope;
		c->only = only;
		c->role = role;
		claims = claims_of(user, c->scope, only == PLACES ? NULL : only == UNKNOWN
		                   ? &w.other : &w.project[only]);
		add_token(&c->header, &claims, "test", "");
	}
}

static void
add_link(const char *name, enum place only, const char *project)
{
	struct caller_kind *c = add_caller(LINK, name, NULL);
	char ids[1][ID_MAX];
	struct claims claims;

	memcpy(ids[0], project, ID_MAX);
	claims = claims_of("", SCOPE_READ, ids);
	c->scope = SCOPE_READ;
	c->only = only;
	/* A deleted project has no new links. */
	add_token(&c->header, &claims, "link", only == DELETED ? "" : project);
}

/* Tokens that nobody is let in by. */
static void
add_refused(void)
{
	struct claims c = claims_of(w.owner, FULL, NULL);

	add_caller(NOBODY, "no token", NULL);
	add_caller(REFUSED, "garbage", "Bearer garbage");
	add_caller(REFUSED, "a JWT of nobody's", "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.");
	add_caller(REFUSED, "another scheme", "Basic b3duZXI6b3duZXI=");
	c.iat = c.nbf = now_s() - 1000;
	c.exp = now_s() - 1;
	add_token(&add_caller(REFUSED, "expired", NULL)->header, &c, "test", "");
	c = claims_of(w.owner, FULL, NULL);
	c.nbf = now_s() + TOKEN_SKEW + 60;
	add_token(&add_caller(REFUSED, "not valid yet", NULL)->header, &c, "test", "");
	c = claims_of(w.owner, FULL, NULL);
	c.iat = c.nbf = now_s() + TOKEN_SKEW + 60;
	add_token(&add_caller(REFUSED, "made in the future", NULL)->header, &c, "test", "");
	c = claims_of(w.owner, FULL, NULL);
	add_token(&add_caller(REFUSED, "revoked", NULL)->header, &c, "revoked", "");
	must(token_revoke(w.accounts, c.jti, &w.err));
	/* Signed well, and never recorded: as after a server.db from a backup. */
	c = claims_of(w.owner, FULL, NULL);
	add_token(&add_caller(REFUSED, "unknown to server.db", NULL)->header, &c, "unknown", "");
}

/* --- asking --- */

/* Either header may be NULL. The status, 0 for none. */
static int
ask_also(const char *method, const char *path, const char *header, const char *further,
         const char *body)
{
	struct web_call call = { .method = method, .url = w.site.url, .path = path,
	                         .body = span_of(body) };

	call.headers[0] = header != NULL ? header : further;
	call.headers[1] = header != NULL ? further : NULL;
	return web_call(&call, &w.answer) ? w.answer.status : 0;
}

static int
ask(const char *method, const char *path, const char *header, const char *body)
{
	return ask_also(method, path, header, NULL, body);
}

static void
alter(const char *sql)
{
	char path[PATH_MAX + 16];
	sqlite3 *db;

	snprintf(path, sizeof(path), "%s/server.db", w.site.data);
	must(db_open(path, DB_SERVER, &db, &w.err));
	must(db_exec(db, sql, &w.err));
	sqlite3_close(db);
}

enum verdict { MAY, UNAUTHORIZED, OUT_OF_SCOPE, FORBIDDEN, NO_PROJECT, ODD };

static const char *const verdicts[] = { "may", "401 unauthorized", "403 insufficient_scope",
                                        "403 forbidden", "404 of the project", "odd" };

/* What a code stands for. */
static bool
has_code(int status, const char *code)
{
	struct span answer, error, member;

	return w.answer.status == status && w.answer.body.len > 0 &&
	       json_scan(buf_span(&w.answer.body), 8, &answer, NULL, NULL) == RC_OK &&
	       json_get(answer, "error", &error) && json_get(error, "code", &member) &&
	       json_string_is(member, code);
}

static enum verdict
judge(int status)
{
	if (has_code(401, "unauthorized"))
		return UNAUTHORIZED;
	if (has_code(403, "insufficient_scope"))
		return OUT_OF_SCOPE;
	if (has_code(403, "forbidden"))
		return FORBIDDEN;
	if (has_code(404, "not_found") && strstr(w.answer.body.p, "project not found") != NULL)
		return NO_PROJECT;
	return w.answer.status == status ? MAY : ODD;
}

/* --- what must come of it --- */

/* What the document means, for a caller; `place` is PLACES where the path has none. */
static enum verdict
expected(const struct rule *r, const struct caller_kind *c, enum place place)
{
	bool guest = r->anyone && place == PUBLIC;
	enum role role = c->kind == LINK && r->link ? ROLE_READER : c->role;

	if (r->open)
		return MAY;
	if (c->kind == REFUSED)
		return UNAUTHORIZED;
	if (guest)
		return MAY;
	if (c->kind == NOBODY)
		return UNAUTHORIZED;
	if ((r->scope & ~c->scope) != 0)
		return OUT_OF_SCOPE;
	if (place == PLACES)
		return (c->kind == LINK && !r->link) || (c->only != PLACES && !r->limited)
		       ? FORBIDDEN : MAY;
	if ((c->only != PLACES && c->only != place) || place == UNKNOWN || role == ROLE_NONE)
		return FORBIDDEN;
	if (place == DELETED)
		return NO_PROJECT;
	return role >= r->role ? MAY : FORBIDDEN;
}

/* What must come of a sample. A part of a route is judged after the whole. */
static enum verdict
expected_of(const struct sample *s, const struct caller_kind *c, enum place place)
{
	char whole[120];
	enum verdict want = MAY;

	snprintf(whole, sizeof(whole), "%.*s", (int)strcspn(s->name, "("), s->name);
	if (strcmp(whole, s->name) != 0) {
		whole[strlen(whole) - 1] = '\0'; /* the blank before it */
		want = expected(rule_of(whole), c, place);
	}
	if (want == MAY)
		want = expected(rule_of(s->name), c, place);
	return s->header != NULL && want != MAY ? FORBIDDEN : want;
}

/* --- the world --- */

static void
add_member(const char *user, enum role role)
{
	for (enum place i = PRIVATE; i < UNKNOWN; i++)
		site_member(&w.site, w.project[i], user, role);
	site_member(&w.site, w.other, user, role);
}

/* Both workers have seen the caller, as what he was. */
static void
must_be_known(const struct caller_kind *c, int status)
{
	struct buf path = { 0 };

	add_path(&path, "DELETE /v1/projects/{id}/members/{user}", w.project[PRIVATE]);
	for (int i = 0; i < 6; i++)
		ck_assert_int_eq(ask("DELETE", buf_cstr(&path), c->header.p, NULL), status);
	buf_free(&path);
}

/* People, and what became of them a moment ago. */
static void
make_people(void)
{
	static const struct { const char *name; enum role was, is; } people[] = {
		{ "a stranger", ROLE_NONE, ROLE_NONE },
		{ "a reader", ROLE_READER, ROLE_READER },
		{ "a writer", ROLE_WRITER, ROLE_WRITER },
		{ "an owner", ROLE_OWNER, ROLE_OWNER },
		{ "one who was removed", ROLE_OWNER, ROLE_NONE },
		{ "one who was demoted", ROLE_OWNER, ROLE_READER },
	};
	char user[ID_MAX];

	for (size_t i = 0; i < sizeof(people) / sizeof(people[0]); i++) {
		char email[40];
		size_t first = w.n_callers;

		snprintf(email, sizeof(email), "%zu@example.com", i);
		site_user(&w.site, email, user);
		if (people[i].was != ROLE_NONE)
			add_member(user, people[i].was);
		add_user_callers(people[i].name, user, people[i].is);
		if (people[i].was == people[i].is)
			continue;
		must_be_known(&w.callers[first], 404);
		for (enum place p = PRIVATE; p < UNKNOWN; p++)
			if (people[i].is == ROLE_NONE)
				must(member_remove(w.accounts, w.project[p], user, &w.err));
			else
				must(member_change(w.accounts, w.project[p], user, people[i].is,
				    &w.err));
	}
	/* And one who is no more. */
	site_user(&w.site, "gone@example.com", user);
	add_member(user, ROLE_OWNER);
	add_user_callers("who is gone", user, ROLE_OWNER);
	for (int i = 8; i > 1; i--)
		buf_free(&w.callers[--w.n_callers].header);
	must_be_known(&w.callers[w.n_callers - 1], 404);
	w.callers[w.n_callers - 1].kind = REFUSED;
	must(user_remove(w.accounts, user, &w.err));
}

/* A token whose key was retired: signed while it was in use. */
static void
retire_key(void)
{
	struct caller_kind *c = add_caller(REFUSED, "signed by a retired key", NULL);
	struct claims claims = claims_of(w.owner, FULL, NULL);
	char keys[PATH_MAX + 8], kid[40];

	add_token(&c->header, &claims, "test", "");
	must_be_known(c, 404);
	snprintf(keys, sizeof(keys), "%s/keys", w.site.data);
	must(keyring_rotate(keys, 1, kid, &w.err));
	sleep(3);
}

static void
push_one(const char *project)
{
	static const char body[] = "{\"device_id\":\"d\",\"session_id\":\"s\",\"events\":[{"
	    "\"client_action_id\":1,\"action_type\":\"create\",\"entity_type\":\"issues\","
	    "\"entity_id\":\"td-1\",\"payload\":{\"schema_version\":1,\"new_data\":{\"id\":"
	    "\"td-1\",\"title\":\"T\"},\"previous_data\":{}},"
	    "\"client_timestamp\":\"2026-03-01T10:00:00Z\"}]}";
	char *token = site_token(&w.site, w.owner, FULL, NULL, NULL);
	struct buf path = { 0 }, header = { 0 };

	buf_addf(&path, "/v1/projects/%s/sync/push", project);
	buf_addf(&header, "Authorization: Bearer %s", token);
	ck_assert_int_eq(ask("POST", buf_cstr(&path), buf_cstr(&header), body), 200);
	buf_free(&path);
	buf_free(&header);
	free(token);
}

static void
make_world(void)
{
	struct site_options options = { .kind = SITE_FASTCGI, .config =
		"code_login = on\nurl = https://sync.example.com\n" };
	struct project p;

	ck_assert(site_start(&w.site, &options));
	must(accounts_open(w.site.data, &w.accounts, &w.err));
	site_user(&w.site, "first@example.com", w.owner);
	site_project(&w.site, "Private", w.owner, w.project[PRIVATE]);
	site_project(&w.site, "Public", w.owner, w.project[PUBLIC]);
	site_project(&w.site, "Deleted", w.owner, w.project[DELETED]);
	site_project(&w.site, "Other", w.owner, w.other);
	strcpy(w.project[UNKNOWN], "p_0000000000000000");
	push_one(w.project[PRIVATE]);
	push_one(w.project[PUBLIC]);
	retire_key();
	add_refused();
	make_people();
	add_link("share link", PRIVATE, w.project[PRIVATE]);
	add_link("share link of the public project", PUBLIC, w.project[PUBLIC]);
	add_link("share link of the deleted project", DELETED, w.project[DELETED]);
	add_link("share link of another project", UNKNOWN, w.other);
	must(project_publish(w.accounts, w.project[PUBLIC], true, &p, &w.err));
	must(project_publish(w.accounts, w.project[DELETED], true, &p, &w.err));
	must(project_delete(w.accounts, w.project[DELETED], &w.err));
	alter("DELETE FROM token WHERE name = 'unknown'");
}

static void
end_world(int wrong)
{
	if (wrong > 0)
		site_print_logs(&w.site);
	for (size_t i = 0; i < w.n_callers; i++)
		buf_free(&w.callers[i].header);
	accounts_close(w.accounts);
	web_free(&w.answer);
	ck_assert(site_stop(&w.site));
	ck_assert_int_eq(wrong, 0);
}

/* --- the tests --- */

static const char *const methods[] = { "DELETE", "GET", "HEAD", "PATCH", "POST" };

START_TEST(every_route_is_in_the_document_and_asked_here)
{
	size_t asked[SAMPLES] = { 0 };
	const struct route *route;

	read_rules();
	for (size_t i = 1; (route = route_at(i)) != NULL; i++) {
		char name[120];
		bool found = false;

		snprintf(name, sizeof(name), "%s %s", methods[route->method], route->path);
		for (size_t k = 0; k < SAMPLES; k++) {
			const char *s = samples[k].name, *path = strchr(s, ' ') + 1;
			const char *of = samples[k].route != NULL ? samples[k].route : path;

			if (strncmp(s, name, (size_t)(path - s)) == 0 &&
			    strcmp(of, route->path) == 0) {
				asked[k]++;
				found = found || samples[k].route == NULL;
			}
		}
		ck_assert_msg(found, "this test has no request of %s", name);
	}
	for (size_t k = 0; k < SAMPLES; k++) {
		struct rule *r = rule_of(samples[k].name);

		ck_assert_msg(asked[k] == 1, "there is no route %s", samples[k].name);
		ck_assert_msg(r != NULL, "docs/protocol.md does not say who may %s", samples[k].name);
		ck_assert_msg(!r->found, "docs/protocol.md has %s twice", samples[k].name);
		r->found = true;
		/* Only projects have members. */
		ck_assert((strstr(r->name, "{id}") != NULL) == (r->role != ROLE_NONE));
	}
	for (size_t i = 0; i < n_rules; i++)
		ck_assert_msg(rules[i].found, "docs/protocol.md has %s, which is no route",
		              rules[i].name);
}
END_TEST

/* One request of a route by a caller, a GET as HEAD, too. False: something else came of it. */
static bool
right_is_as_documented(const struct sample *s, const struct caller_kind *c, enum place place,
                       enum verdict want)
{
	struct buf path = { 0 };
	char method[8];
	enum verdict got;
	int status;

	snprintf(method, sizeof(method), "%.*s", (int)strcspn(s->name, " "), s->name);
	add_path(&path, s->name, place < PLACES ? w.project[place] : "");
	ask_also(method, buf_cstr(&path), c->header.p, s->header, s->body);
	got = judge(s->status);
	status = w.answer.status;
	if (strcmp(method, "GET") == 0 &&
	    ask_also("HEAD", buf_cstr(&path), c->header.p, s->header, NULL) != status)
		got = ODD;
	buf_free(&path);
	if (got == MAY && s->mend != NULL)
		alter(s->mend);
	/* Of a share link that lacks the scope and has no user either may be told. */
	if (got == want || (c->kind == LINK && place == PLACES && got == FORBIDDEN &&
	                    want == OUT_OF_SCOPE))
		return true;
	fprintf(stderr, "%s: %s, %s: %s (%d), not %s: %.120s\n", s->name, c->name,
	        place < PLACES ? place_names[place] : "-", verdicts[got], w.answer.status,
	        verdicts[want], w.answer.body.p != NULL ? w.answer.body.p : "");
	return false;
}

START_TEST(exactly_the_documented_callers_pass_on_every_route)
{
	int count[ODD + 1] = { 0 }, wrong = 0;

	read_rules();
	make_world();
	for (size_t i = 0; i < SAMPLES; i++) {
		bool of_project = strstr(samples[i].name, "{id}") != NULL;
		enum place first = of_project ? PRIVATE : PLACES;

		for (size_t k = 0; k < w.n_callers; k++)
			for (enum place p = first; p < PLACES || p == first; p++) {
				enum verdict want = expected_of(&samples[i], &w.callers[k], p);

				count[want]++;
				wrong += !right_is_as_documented(&samples[i], &w.callers[k], p, want);
			}
	}
	printf("%d may, %d 401, %d out of scope, %d forbidden, %d without their project\n",
	       count[MAY], count[UNAUTHORIZED], count[OUT_OF_SCOPE], count[FORBIDDEN],
	       count[NO_PROJECT]);
	for (enum verdict v = MAY; v < ODD; v++)
		ck_assert_int_gt(count[v], 50);
	end_world(wrong);
}
END_TEST

/* --- headers that are not as they should be --- */

/* Send bytes as they are to the web server; the status of its answer, 0: none. */
static int
send_bytes(struct span bytes)
{
	struct sockaddr_in addr = { .sin_family = AF_INET };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), status = 0;
	char answer[4096] = "";
	ssize_t n;

	addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	addr.sin_port = htons((uint16_t)atoi(strrchr(w.site.url, ':') + 1));
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	while (bytes.len > 0 && (n = send(fd, bytes.p, bytes.len, MSG_NOSIGNAL)) > 0) {
		bytes.p += n;
		bytes.len -= (size_t)n;
	}
	n = recv(fd, answer, sizeof(answer) - 1, MSG_WAITALL);
	if (n > 0)
		sscanf(answer, "HTTP/1.1 %d", &status);
	close(fd);
	return status;
}

/* A text with the token for {t}, garbage for {g}, and 100,000 letters for {x}. */
static void
add_filled(struct buf *out, const char *text, const char *token)
{
	for (; *text != '\0'; text++) {
		if (text[0] != '{' || text[1] == '\0' || text[2] != '}') {
			buf_add_byte(out, *text);
			continue;
		}
		if (text[1] == 't')
			buf_add_str(out, token);
		else if (text[1] == 'g')
			buf_add_str(out, "garbage");
		else
			for (int i = 0; i < 100000; i++)
				buf_add_byte(out, 'x');
		text += 2;
	}
}

/* The owner's full token, which everything is for. */
static const char *
good_token(void)
{
	for (size_t i = 0; i < w.n_callers; i++)
		if (strcmp(w.callers[i].name, "full token of an owner") == 0)
			return strstr(w.callers[i].header.p, "Bearer ") + 7;
	ck_abort();
}

/* What comes of them: 0: what comes of a good one. */
static const struct { const char *why, *query, *lines; int status; } tricks[] = {
	{ "as it should be", "", "Authorization: Bearer {t}\r\n", 0 },
	{ "the name in lower case", "", "authorization: Bearer {t}\r\n", 0 },
	{ "blanks at its end", "", "Authorization: Bearer {t}   \r\n", 0 },
	{ "a tab at its end", "", "Authorization: Bearer {t}\t\r\n", 401 },
	{ "a tab before it", "", "Authorization:\tBearer {t}\r\n", 401 },
	{ "a tab within", "", "Authorization: Bearer\t{t}\r\n", 401 },
	{ "two blanks within", "", "Authorization: Bearer  {t}\r\n", 401 },
	{ "a blank before the colon", "", "Authorization : Bearer {t}\r\n", 400 },
	{ "in two lines", "", "Authorization: Bearer\r\n {t}\r\n", 400 },
	{ "two, the first good", "",
	  "Authorization: Bearer {t}\r\nAuthorization: Bearer {g}\r\n", 400 },
	{ "two, the second good", "",
	  "Authorization: Bearer {g}\r\nAuthorization: Bearer {t}\r\n", 400 },
	{ "the same twice", "",
	  "Authorization: Bearer {t}\r\nAuthorization: Bearer {t}\r\n", 400 },
	{ "two in one", "", "Authorization: Bearer {t}, Bearer {t}\r\n", 401 },
	{ "the scheme in lower case", "", "Authorization: bearer {t}\r\n", 401 },
	{ "the scheme in capitals", "", "Authorization: BEARER {t}\r\n", 401 },
	{ "no scheme", "", "Authorization: {t}\r\n", 401 },
	{ "100 kB", "", "Authorization: Bearer {t}{x}\r\n", 400 },
	{ "100 kB of another header", "", "X-Large: {x}\r\n", 400 },
	{ "in the query", "?token={t}", "", 401 },
	{ "in the query, as OAuth does", "?access_token={t}", "", 401 },
	{ "in the query, as the header", "?Authorization=Bearer%20{t}", "", 401 },
	{ "in a cookie", "", "Cookie: token={t}; Authorization=Bearer {t}\r\n", 401 },
	{ "for a proxy", "", "Proxy-Authorization: Bearer {t}\r\n", 401 },
	{ "as an internal redirect would have it", "",
	  "Redirect-HTTP-Authorization: Bearer {t}\r\n", 401 },
	{ "with the name that CGI gives it", "", "HTTP_AUTHORIZATION: Bearer {t}\r\n", 401 },
};

/* A route's request with a trick. */
static int
ask_with(const struct sample *s, size_t trick)
{
	struct buf b = { 0 };
	int status;

	buf_addf(&b, "%.*s ", (int)strcspn(s->name, " "), s->name);
	add_path(&b, s->name, w.project[PRIVATE]);
	add_filled(&b, tricks[trick].query, good_token());
	buf_add_str(&b, " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
	if (s->body != NULL)
		buf_addf(&b, "Content-Length: %zu\r\n", strlen(s->body));
	add_filled(&b, tricks[trick].lines, good_token());
	buf_addf(&b, "\r\n%s", s->body != NULL ? s->body : "");
	status = send_bytes(buf_span(&b));
	buf_free(&b);
	return status;
}

START_TEST(a_token_lets_in_only_where_its_header_is_as_it_should_be)
{
	int wrong = 0;

	read_rules();
	make_world();
	for (size_t i = 0; i < SAMPLES; i++) {
		const struct rule *r = rule_of(samples[i].name);

		for (size_t k = 0; k < sizeof(tricks) / sizeof(tricks[0]); k++) {
			int status, want = tricks[k].status;

			if (r->open || samples[i].header != NULL)
				continue;
			want = want != 0 ? want : samples[i].status;
			if ((status = ask_with(&samples[i], k)) != want) {
				fprintf(stderr, "%s, %s: %d, not %d\n", samples[i].name, tricks[k].why,
				        status, want);
				wrong++;
			}
			if (tricks[k].status == 0 && samples[i].mend != NULL)
				alter(samples[i].mend);
		}
	}
	end_world(wrong);
}
END_TEST

/* What a web server might hand on that strips and limits nothing. */
START_TEST(a_worker_judges_the_header_as_it_comes)
{
	static const struct { const char *value; bool passes; } values[] = {
		{ "Bearer {t}", true }, { "Bearer {t} ", false }, { "Bearer {t}\t", false },
		{ " Bearer {t}", false }, { "\tBearer {t}", false }, { "bearer {t}", false },
		{ "Bearer {t}\r", false }, { "Bearer {t}\nBearer {t}", false },
		{ "Bearer {t},Bearer {t}", false }, { "Bearer {g}, Bearer {t}", false },
		{ "Bearer {t}{x}", false }, { "Bearer {x}", false }, { "{x}", false },
		{ "Bearer ", false }, { "Bearer", false }, { "", false },
	};
	int wrong = 0;

	read_rules();
	make_world();
	for (size_t i = 0; i < SAMPLES; i++) {
		const struct sample *s = &samples[i];

		for (size_t k = 0; k < sizeof(values) / sizeof(values[0]); k++) {
			struct buf value = { 0 }, path = { 0 }, answer = { 0 };
			char method[8], length[24];
			int status = 0;

			if (rule_of(s->name)->open || s->header != NULL)
				continue;
			snprintf(method, sizeof(method), "%.*s", (int)strcspn(s->name, " "), s->name);
			snprintf(length, sizeof(length), "%zu", s->body != NULL ? strlen(s->body) : 0);
			add_path(&path, s->name, w.project[PRIVATE]);
			add_filled(&value, values[k].value, good_token());
			ck_assert(raw_call(&w.site, (const char *const[]){
				"REQUEST_METHOD", method, "PATH_INFO", buf_cstr(&path),
				"CONTENT_LENGTH", length, "HTTP_AUTHORIZATION", buf_cstr(&value), NULL,
			}, span_of(s->body), &answer));
			sscanf(answer.p, "Status: %d", &status);
			if (status != (values[k].passes ? s->status : 401)) {
				fprintf(stderr, "%s, \"%.40s\": %d\n", s->name, values[k].value, status);
				wrong++;
			}
			if (s->mend != NULL)
				alter(s->mend);
			buf_free(&value);
			buf_free(&path);
			buf_free(&answer);
		}
	}
	end_world(wrong);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("rights");
	TCase *t = tcase_create("rights");
	SRunner *r;
	int failed;

	tcase_set_timeout(t, 120);
	tcase_add_test(t, every_route_is_in_the_document_and_asked_here);
	if (site_missing(SITE_FASTCGI) == NULL) {
		tcase_add_test(t, exactly_the_documented_callers_pass_on_every_route);
		tcase_add_test(t, a_token_lets_in_only_where_its_header_is_as_it_should_be);
		tcase_add_test(t, a_worker_judges_the_header_as_it_comes);
	} else
		printf("skipped: who may what: %s\n", site_missing(SITE_FASTCGI));
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? 0 : 1;
}
