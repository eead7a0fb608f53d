/* Invitations that wait for the user, see tdsync.h. */
#include "client/work.h"

#include "base/id.h"
#include "base/json.h"

#include <ctype.h>
#include <stdio.h>

#define INVITATIONS "/v1/invitations"

enum tdsync_rc
tdsync_each_invitation(struct tdsync *t,
                       void (*visit)(void *ctx, const struct tdsync_invitation *invitation),
                       void *ctx)
{
	struct remote r = work_remote(t);
	struct remote_answer a = { 0 };
	struct words *w = &t->words;
	struct json_iter it;
	struct span key, o;
	enum tdsync_rc rc;

	t->err.text[0] = '\0';
	rc = remote_call(&r, INVITATIONS, (struct span){ 0 }, false, &a, &t->err);
	if (rc == TDSYNC_OK && json_type(a.json) != JSON_ARRAY)
		rc = remote_nonsense(&r, "its list of invitations makes no sense", &t->err);
	json_iter_init(&it, rc == TDSYNC_OK ? a.json : (struct span){ 0 });
	while (rc == TDSYNC_OK && json_next(&it, &key, &o)) {
		struct tdsync_invitation i;

		words_clear(w);
		i = (struct tdsync_invitation){
			.id = words_string(w, o, "id"),
			.project_id = words_string(w, o, "project_id"),
			.email = words_string(w, o, "email"),
			.role = words_string(w, o, "role"),
			.invited_by = words_string(w, o, "invited_by"),
			.expires_at = words_string(w, o, "expires_at"),
		};
		if (w->failed) {
			err_set(&t->err, RC_FAULT, "out of memory");
			rc = TDSYNC_FAULT;
		} else if (i.id[0] == '\0') {
			rc = remote_nonsense(&r, "an invitation that makes no sense", &t->err);
		} else {
			visit(ctx, &i);
		}
	}
	remote_answer_free(&a);
	return rc;
}

/* An id as it may stand in a path. */
static bool
is_id(const char *id)
{
	size_t n = 0;

	while (isalnum((unsigned char)id[n]) || id[n] == '_')
		n++;
	return n > 0 && n < ID_MAX && id[n] == '\0';
}

enum tdsync_rc
tdsync_answer_invitation(struct tdsync *t, const char *id, bool accept)
{
	struct remote r = work_remote(t);
	struct remote_answer a = { 0 };
	char path[ID_MAX + 40];
	enum tdsync_rc rc;

	t->err.text[0] = '\0';
	r.retries = 0; /* a second answer would be refused */
	if (!is_id(id)) {
		err_set(&t->err, RC_INVALID, "invitations have ids like inv_0123456789abcdef: see "
		        "`td-sync invitation list`");
		return TDSYNC_INVALID;
	}
	snprintf(path, sizeof(path), INVITATIONS "/%s/%s", id, accept ? "accept" : "decline");
	rc = remote_call(&r, path, span_of("{}"), false, &a, &t->err);
	if (rc == TDSYNC_NOT_FOUND)
		err_set(&t->err, RC_NOT_FOUND, "%s: nobody has invited you by %s", r.url, id);
	remote_answer_free(&a);
	return rc;
}
