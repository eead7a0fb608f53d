/* The user's tokens, see tdsync.h: the server makes and revokes them. */
#include "client/work.h"

#include "base/id.h"
#include "base/json.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define TOKENS "/v1/tokens"

typedef void token_visit(void *ctx, const struct tdsync_token *token);

/* --- what the server tells --- */

static enum tdsync_rc
no_memory(struct tdsync *t)
{
	err_set(&t->err, RC_FAULT, "out of memory");
	return TDSYNC_FAULT;
}

/* The ids in a list; false where it is none. */
static bool
read_projects(struct words *w, struct span list, const char ***ids, struct tdsync_token *out)
{
	struct json_iter it;
	struct span key, id;
	struct buf text = { 0 };
	size_t n = 0;

	out->all_projects = json_string_is(list, "*");
	if (out->all_projects)
		return true;
	if (json_type(list) != JSON_ARRAY)
		return false;
	json_iter_init(&it, list);
	while (json_next(&it, &key, &id))
		n++;
	if ((*ids = calloc(n + 1, sizeof(**ids))) == NULL) {
		w->failed = true;
		return true;
	}
	json_iter_init(&it, list);
	while (json_next(&it, &key, &id)) {
		buf_reset(&text);
		json_string(id, &text);
		(*ids)[out->n_projects++] = words_add(w, buf_span(&text));
		w->failed = w->failed || text.failed;
	}
	out->projects = *ids;
	buf_free(&text);
	return true;
}

/* Show a token object; `secret`: it has one. */
static enum tdsync_rc
show(struct tdsync *t, struct remote *r, struct span object, bool secret, token_visit *visit,
     void *ctx)
{
	struct words *w = &t->words;
	const char **ids = NULL;
	struct span projects;
	struct tdsync_token out;
	enum tdsync_rc rc = TDSYNC_OK;

	words_clear(w);
	out = (struct tdsync_token){
		.id = words_string(w, object, "id"),
		.secret = secret ? words_string(w, object, "token") : "",
		.user_id = words_string(w, object, "user_id"),
		.email = words_string(w, object, "email"),
		.name = words_string(w, object, "name"),
		.scope = words_string(w, object, "scope"),
		.created_at = words_string(w, object, "created_at"),
		.expires_at = words_string(w, object, "expires_at"),
		.last_used_at = words_string(w, object, "last_used_at"),
	};
	json_get(object, "projects", &projects);
	if (out.id[0] == '\0' || !read_projects(w, projects, &ids, &out) ||
	    (secret && !settings_plain(out.secret)))
		rc = remote_nonsense(r, "a token that makes no sense", &t->err);
	if (w->failed)
		rc = no_memory(t);
	if (rc == TDSYNC_OK)
		visit(ctx, &out);
	free(ids);
	return rc;
}

/* What a refusal means here. */
static enum tdsync_rc
explain(struct tdsync *t, const struct remote *r, const struct remote_answer *a,
        enum tdsync_rc rc)
{
	if (rc == TDSYNC_OK || (a->reply.status != 404 && a->reply.status != 405) ||
	    rc == TDSYNC_NOT_FOUND)
		return rc;
	err_set(&t->err, RC_NOT_FOUND, "%s: this server tells of no tokens", r->url);
	return TDSYNC_REFUSED;
}

/* Ask for what lies at a path. */
static enum tdsync_rc
ask(struct tdsync *t, struct remote *r, const char *path, struct remote_answer *a)
{
	enum tdsync_rc rc;

	t->err.text[0] = '\0';
	rc = remote_call(r, path, (struct span){ 0 }, false, a, &t->err);
	return explain(t, r, a, rc);
}

enum tdsync_rc
tdsync_whoami(struct tdsync *t, token_visit *visit, void *ctx)
{
	struct remote r = work_remote(t);
	struct remote_answer a = { 0 };
	enum tdsync_rc rc = ask(t, &r, TOKENS "/self", &a);

	if (rc == TDSYNC_OK)
		rc = show(t, &r, a.json, false, visit, ctx);
	remote_answer_free(&a);
	return rc;
}

enum tdsync_rc
tdsync_each_token(struct tdsync *t, token_visit *visit, void *ctx)
{
	struct remote r = work_remote(t);
	struct remote_answer a = { 0 };
	struct json_iter it;
	struct span key, object;
	enum tdsync_rc rc = ask(t, &r, TOKENS, &a);

	if (rc == TDSYNC_OK && json_type(a.json) != JSON_ARRAY)
		rc = remote_nonsense(&r, "its list of tokens makes no sense", &t->err);
	json_iter_init(&it, rc == TDSYNC_OK ? a.json : (struct span){ 0 });
	while (rc == TDSYNC_OK && json_next(&it, &key, &object))
		rc = show(t, &r, object, false, visit, ctx);
	remote_answer_free(&a);
	return rc;
}

/* --- make, revoke --- */

/* ,"projects":["p_...",...]; "*" where none is named. */
static enum tdsync_rc
add_projects(struct tdsync *t, const struct tdsync_token_wish *wish, struct buf *out)
{
	char id[ID_MAX];
	enum tdsync_rc rc;

	if (wish->n_projects == 0) {
		buf_add_str(out, ",\"projects\":\"*\"");
		return TDSYNC_OK;
	}
	for (size_t i = 0; i < wish->n_projects; i++) {
		const char *project = wish->projects[i];

		if (!id_is(span_of(project), "p_", 16)) {
			if ((rc = work_find_project(t, project, id)) != TDSYNC_OK)
				return rc;
			project = id;
		}
		buf_addf(out, "%s\"%s\"", i == 0 ? ",\"projects\":[" : ",", project);
	}
	buf_add_byte(out, ']');
	return TDSYNC_OK;
}

enum tdsync_rc
tdsync_create_token(struct tdsync *t, const struct tdsync_token_wish *wish, token_visit *visit,
                    void *ctx)
{
	struct remote r = work_remote(t);
	struct remote_answer a = { 0 };
	struct buf body = { 0 };
	enum tdsync_rc rc;

	t->err.text[0] = '\0';
	r.retries = 0;
	buf_add_str(&body, "{\"name\":");
	buf_add_json(&body, span_of(wish->name));
	buf_addf(&body, ",\"scope\":\"sync:read%s\"", wish->read_only ? "" : " sync:write");
	if (wish->days > 0)
		buf_addf(&body, ",\"days\":%d", wish->days);
	rc = add_projects(t, wish, &body);
	buf_add_byte(&body, '}');
	if (rc == TDSYNC_OK && body.failed)
		rc = no_memory(t);
	if (rc == TDSYNC_OK) {
		rc = remote_call(&r, TOKENS, buf_span(&body), false, &a, &t->err);
		rc = explain(t, &r, &a, rc);
	}
	if (rc == TDSYNC_OK)
		rc = show(t, &r, a.json, true, visit, ctx);
	buf_free(&body);
	remote_answer_free(&a);
	return rc;
}

enum tdsync_rc
tdsync_revoke_token(struct tdsync *t, const char *id)
{
	struct remote r = work_remote(t);
	struct remote_answer a = { 0 };
	struct buf path = { 0 };
	size_t n = id == NULL ? 0 : strlen(id);
	enum tdsync_rc rc;

	t->err.text[0] = '\0';
	for (size_t i = 0; i < n && n < ID_MAX; i++)
		if (!isalnum((unsigned char)id[i]) && id[i] != '_')
			n = 0;
	if (n == 0 || n >= ID_MAX) {
		err_set(&t->err, RC_INVALID, "tokens have ids like ak_0123456789abcdef: see `td-sync "
		        "token list`");
		return TDSYNC_INVALID;
	}
	buf_addf(&path, TOKENS "/%s", id);
	rc = buf_cstr(&path) == NULL ? no_memory(t) : remote_delete(&r, path.p, &a, &t->err);
	rc = explain(t, &r, &a, rc);
	if (rc == TDSYNC_NOT_FOUND)
		err_set(&t->err, RC_NOT_FOUND, "%s: you have no token %s", r.url, id);
	buf_free(&path);
	remote_answer_free(&a);
	return rc;
}
