/* The routes, see route.h. */
#include "http/route.h"

#include "base/clock.h"
#include "base/lock.h"
#include "base/metrics.h"
#include "http/admit.h"
#include "http/handlers.h"
#include "http/reply.h"

#include <stdio.h>
#include <string.h>

/* protocol.md sections 2 and 8. Changing who belongs to a project, or ending it,
 * asks for project:admin beside the owner's role. A row: method, path; scope
 * of the token, role in the project, body, handler, and who may beside members. */
static const struct route routes[] = {
	{ METHOD_GET,    "/healthz",
	  SCOPE_NONE, ROLE_NONE, BODY_NONE, health_run },
	{ METHOD_GET,    "/metrics",
	  SCOPE_NONE, ROLE_NONE, BODY_NONE, metrics_run },
	{ METHOD_POST,   "/v1/auth/device/start",
	  SCOPE_NONE, ROLE_NONE, BODY_SMALL, device_start_run },
	{ METHOD_POST,   "/v1/auth/device/poll",
	  SCOPE_NONE, ROLE_NONE, BODY_SMALL, device_poll_run },
	{ METHOD_GET,    "/auth/device/approve",
	  SCOPE_NONE, ROLE_NONE, BODY_NONE, approve_page_run },
	{ METHOD_POST,   "/auth/device/approve",
	  SCOPE_NONE, ROLE_NONE, BODY_SMALL, approve_run },
	{ METHOD_POST,   "/v1/auth/login/start",
	  SCOPE_NONE, ROLE_NONE, BODY_SMALL, code_start_run },
	{ METHOD_POST,   "/v1/auth/login/poll",
	  SCOPE_NONE, ROLE_NONE, BODY_SMALL, code_poll_run },
	{ METHOD_GET,    "/auth/verify",
	  SCOPE_NONE, ROLE_NONE, BODY_NONE, verify_page_run },
	{ METHOD_POST,   "/auth/verify",
	  SCOPE_NONE, ROLE_NONE, BODY_SMALL, verify_run },
	{ METHOD_GET,    "/auth/setup",
	  SCOPE_NONE, ROLE_NONE, BODY_NONE, setup_page_run },
	{ METHOD_POST,   "/auth/setup",
	  SCOPE_NONE, ROLE_NONE, BODY_SMALL, setup_run },
	{ METHOD_GET,    "/v1/tokens/self",
	  SCOPE_ANY, ROLE_NONE, BODY_NONE, token_self_run },
	{ METHOD_GET,    "/v1/tokens",
	  SCOPE_PROJECT_ADMIN, ROLE_NONE, BODY_NONE, tokens_list_run },
	{ METHOD_POST,   "/v1/tokens",
	  SCOPE_PROJECT_ADMIN, ROLE_NONE, BODY_SMALL, tokens_create_run },
	{ METHOD_DELETE, "/v1/tokens/{key}",
	  SCOPE_ANY, ROLE_NONE, BODY_NONE, token_delete_run },
	{ METHOD_GET,    "/v1/invitations",
	  SCOPE_READ, ROLE_NONE, BODY_NONE, own_invitations_run },
	{ METHOD_POST,   "/v1/invitations/{invitation}/accept",
	  SCOPE_WRITE, ROLE_NONE, BODY_NONE, invitation_accept_run },
	{ METHOD_POST,   "/v1/invitations/{invitation}/decline",
	  SCOPE_WRITE, ROLE_NONE, BODY_NONE, invitation_decline_run },
	{ METHOD_GET,    "/v1/projects",
	  SCOPE_READ, ROLE_NONE, BODY_NONE, projects_list_run },
	{ METHOD_POST,   "/v1/projects",
	  SCOPE_WRITE, ROLE_NONE, BODY_SMALL, projects_create_run },
	{ METHOD_GET,    "/v1/projects/{id}",
	  SCOPE_READ, ROLE_READER, BODY_NONE, project_get_run, GUESTS_LINK },
	{ METHOD_PATCH,  "/v1/projects/{id}",
	  SCOPE_WRITE, ROLE_WRITER, BODY_SMALL, project_patch_run },
	{ METHOD_DELETE, "/v1/projects/{id}",
	  SCOPE_PROJECT_ADMIN, ROLE_OWNER, BODY_NONE, project_delete_run },
	{ METHOD_GET,    "/v1/projects/{id}/members",
	  SCOPE_READ, ROLE_READER, BODY_NONE, members_list_run },
	{ METHOD_POST,   "/v1/projects/{id}/members",
	  SCOPE_PROJECT_ADMIN, ROLE_OWNER, BODY_SMALL, members_add_run },
	{ METHOD_PATCH,  "/v1/projects/{id}/members/{user}",
	  SCOPE_PROJECT_ADMIN, ROLE_OWNER, BODY_SMALL, member_patch_run },
	{ METHOD_DELETE, "/v1/projects/{id}/members/{user}",
	  SCOPE_PROJECT_ADMIN, ROLE_OWNER, BODY_NONE, member_delete_run },
	{ METHOD_GET,    "/v1/projects/{id}/invitations",
	  SCOPE_PROJECT_ADMIN, ROLE_OWNER, BODY_NONE, invitations_list_run },
	{ METHOD_POST,   "/v1/projects/{id}/invitations",
	  SCOPE_PROJECT_ADMIN, ROLE_OWNER, BODY_SMALL, invitations_create_run },
	{ METHOD_DELETE, "/v1/projects/{id}/invitations/{invitation}",
	  SCOPE_PROJECT_ADMIN, ROLE_OWNER, BODY_NONE, invitation_delete_run },
	{ METHOD_GET,    "/v1/projects/{id}/links",
	  SCOPE_PROJECT_ADMIN, ROLE_OWNER, BODY_NONE, links_list_run },
	{ METHOD_POST,   "/v1/projects/{id}/links",
	  SCOPE_PROJECT_ADMIN, ROLE_OWNER, BODY_SMALL, links_create_run },
	{ METHOD_DELETE, "/v1/projects/{id}/links/{key}",
	  SCOPE_PROJECT_ADMIN, ROLE_OWNER, BODY_NONE, link_delete_run },
	{ METHOD_POST,   "/v1/projects/{id}/sync/push",
	  SCOPE_WRITE, ROLE_WRITER, BODY_PUSH, push_run },
	{ METHOD_GET,    "/v1/projects/{id}/sync/pull",
	  SCOPE_READ, ROLE_READER, BODY_NONE, pull_run, GUESTS_ANYONE },
	{ METHOD_GET,    "/v1/projects/{id}/sync/status",
	  SCOPE_READ, ROLE_READER, BODY_NONE, status_run, GUESTS_ANYONE },
	{ METHOD_GET,    "/v1/projects/{id}/sync/snapshot",
	  SCOPE_READ, ROLE_READER, BODY_NONE, snapshot_run, GUESTS_ANYONE },
	{ METHOD_GET,    "/v1/projects/{id}/sync/conflicts",
	  SCOPE_READ, ROLE_READER, BODY_NONE, conflicts_run, GUESTS_LINK },
	{ METHOD_POST,   "/v1/projects/{id}/sync/conflicts/{conflict}/restore",
	  SCOPE_WRITE, ROLE_WRITER, BODY_SMALL, restore_run },
	{ METHOD_GET,    "/v1/projects/{id}/sync/digest",
	  SCOPE_READ, ROLE_READER, BODY_NONE, digest_run, GUESTS_ANYONE },
	{ METHOD_GET,    "/v1/projects/{id}/entities/{type}/{entity}/history",
	  SCOPE_READ, ROLE_READER, BODY_NONE, history_run, GUESTS_LINK },
};
#define ROUTES (sizeof(routes) / sizeof(routes[0]))
_Static_assert(ROUTES < METRIC_ROUTES, "more routes than can be counted");

size_t
route_number(const struct route *route)
{
	return route == NULL ? 0 : (size_t)(route - routes) + 1;
}

const struct route *
route_at(size_t number)
{
	return number > 0 && number <= ROUTES ? &routes[number - 1] : NULL;
}

/* FNV-1a over methods and paths. */
uint64_t
route_table(void)
{
	uint64_t h = 14695981039346656037u;

	for (size_t i = 0; i < ROUTES; i++) {
		h = (h ^ (uint64_t)routes[i].method) * 1099511628211u;
		for (const char *p = routes[i].path; *p != '\0'; p++)
			h = (h ^ (unsigned char)*p) * 1099511628211u;
	}
	return h;
}

/* Copy an id out of a path: one segment of letters, digits, '_' and '-'. */
static size_t
take_id(const char *path, char out[ID_MAX])
{
	size_t n = strspn(path, "abcdefghijklmnopqrstuvwxyz0123456789_-"
	                        "ABCDEFGHIJKLMNOPQRSTUVWXYZ");

	if (n == 0 || n >= ID_MAX || (path[n] != '\0' && path[n] != '/'))
		return 0;
	memcpy(out, path, n);
	out[n] = '\0';
	return n;
}

/* Take a segment of any text. */
static size_t
take_segment(const char *path, struct span *out)
{
	*out = (struct span){ path, strcspn(path, "/") };
	return out->len;
}

/* Take everything, slashes too, up to what the path ends with. */
static size_t
take_until(const char *path, const char *end, struct span *out)
{
	size_t n = strlen(path), m = strlen(end);

	*out = (struct span){ path, n > m ? n - m : 0 };
	return out->len;
}

/*
 * Take what stands in a path for the place that a pattern begins with; `end` is
 * the pattern behind it. 0: nothing that fits. (Web servers decode paths: what
 * comes is what is meant.)
 */
static size_t
take(const char *pattern, const char *end, const char *path, struct request *r)
{
	switch (pattern[1]) {
	case 'i':
		return take_id(path, pattern[2] == 'd' ? r->project_id : r->invitation_id);
	case 'k':
		return take_id(path, r->token_id);
	case 'u':
		return take_id(path, r->user_id);
	case 'c':
		return take_id(path, r->conflict_id);
	case 't':
		return take_segment(path, &r->entity_type);
	default:
		return take_until(path, end, &r->entity_id);
	}
}

/* Whether a path fits a pattern; its ids go to r. */
static bool
fits(const char *pattern, const char *path, struct request *r)
{
	while (*pattern != '\0') {
		const char *end = pattern + 1;
		size_t n = 1;

		if (*pattern != '{') {
			if (*pattern != *path)
				return false;
		} else {
			end = pattern + strcspn(pattern, "}") + 1;
			if ((n = take(pattern, end, path, r)) == 0)
				return false;
		}
		pattern = end;
		path += n;
	}
	return *path == '\0';
}

static void
forget_ids(struct request *r)
{
	r->project_id[0] = r->user_id[0] = r->conflict_id[0] = '\0';
	r->token_id[0] = r->invitation_id[0] = '\0';
	r->entity_type = r->entity_id = (struct span){ NULL, 0 };
}

/* Find the route of a request and the ids in its path. RC_NOT_FOUND: no such
 * path; RC_INVALID: not with this method, *allow has those, a bit each. */
static enum rc
find(struct request *r, unsigned *allow)
{
	enum method asked = r->method == METHOD_HEAD ? METHOD_GET : r->method;

	*allow = 0;
	for (size_t i = 0; i < ROUTES; i++) {
		const struct route *route = &routes[i];

		forget_ids(r);
		if (!fits(route->path, r->path, r))
			continue;
		if (route->method == asked) {
			r->route = route;
			return RC_OK;
		}
		*allow |= 1u << route->method;
		if (route->method == METHOD_GET)
			*allow |= 1u << METHOD_HEAD;
	}
	forget_ids(r);
	return *allow == 0 ? RC_NOT_FOUND : RC_INVALID;
}

static void
refuse_method(struct request *r, unsigned allow)
{
	char list[40] = "";

	for (size_t m = 0; m < METHOD_OTHER; m++)
		if (allow & 1u << m)
			snprintf(list + strlen(list), sizeof(list) - strlen(list), "%s%s",
			         list[0] == '\0' ? "" : ", ", method_text((enum method)m));
	reply_header(r, "Allow", list);
	reply_error(r, 405, "method_not_allowed", "method not allowed");
}

/* Append a part of a URL; what can't stand in a header line, and the given
 * characters, go as %XX. */
static void
add_url(struct buf *out, const char *text, const char *special)
{
	for (; *text != '\0'; text++) {
		unsigned char c = (unsigned char)*text;

		if (c <= ' ' || c >= 0x7f || strchr(special, c) != NULL)
			buf_addf(out, "%%%02X", c);
		else
			buf_add_byte(out, *text);
	}
}

/* As the Go server does, send a path with doubled slashes to the one meant. */
static bool
redirect(struct request *r)
{
	/* A browser takes '\' for '/', and what follows two for a host. */
	static const char special[] = "%?#\\";
	struct buf *to = &r->scratch;
	size_t start;

	if (strstr(r->path, "//") == NULL)
		return false;
	buf_reset(to);
	add_url(to, r->base, special);
	start = to->len;
	for (const char *p = r->path; *p != '\0'; p++)
		if (*p != '/' || to->len == start || to->p[to->len - 1] != '/')
			add_url(to, (const char[]){ *p, '\0' }, special);
	if (r->query[0] != '\0') {
		buf_add_byte(to, '?');
		add_url(to, r->query, "");
	}
	if (buf_cstr(to) == NULL)
		return false;
	reply_header(r, "Location", to->p);
	r->status = 307;
	return true;
}

/* Who is it, and may they? */
static enum rc
judge_caller(struct request *r)
{
	enum guests guests = r->route->guests;
	struct auth *auth;
	enum rc rc;

	if (r->route->scope == SCOPE_NONE)
		return RC_OK;
	if (guests == GUESTS_ANYONE && !r->server->config->public_projects)
		guests = GUESTS_LINK;
	if ((rc = server_auth(r->server, &auth, &r->err)) != RC_OK)
		return rc;
	return auth_check(auth, request_authorization(r),
	                  r->project_id[0] != '\0' ? r->project_id : NULL,
	                  r->route->scope, r->route->role, guests, &r->caller, &r->err);
}

static enum rc
take_body(struct request *r)
{
	if (r->route->body == BODY_NONE)
		return RC_OK;
	return request_read_body(r, r->route->body == BODY_PUSH
	                            ? r->server->config->max_push_bytes : BODY_SMALL_MAX);
}

void
route_run(struct request *r)
{
	unsigned allow;
	enum rc rc;

	rc = find(r, &allow);
	if (!admit(r))
		return;
	if (rc == RC_NOT_FOUND) {
		if (!redirect(r))
			reply_error(r, 404, "not_found", "no such path");
		return;
	}
	if (rc != RC_OK) {
		refuse_method(r, allow);
		return;
	}
	if ((rc = judge_caller(r)) == RC_OK && (rc = take_body(r)) == RC_OK) {
		/* Not before: a slow upload is no wait of ours. */
		r->deadline_ms = clock_mono_ms() + LOCK_WAIT_MS;
		rc = r->route->run(r);
	}
	if (rc == RC_OK && r->out.failed)
		rc = err_set(&r->err, RC_FAULT, "out of memory for the answer");
	if (rc != RC_OK)
		reply_rc(r, rc);
}
