/* Putting back what a conflict took: the server does it, see tdsync.h. */
#include "client/work.h"

#include "engine/conflict.h"

struct restore {
	const char *id;
	bool done;        /* the server has done it: not twice, whatever else fails */
};

static enum tdsync_rc
ask_server(struct work *w, const char *id)
{
	struct remote_answer a = { 0 };
	struct buf route = { 0 }, path = { 0 }, body = { 0 };
	enum tdsync_rc rc;

	buf_add_str(&body, "{\"device_id\":");
	buf_add_json(&body, span_of(w->device));
	buf_add_str(&body, ",\"session_id\":\"td-sync\"}");
	buf_addf(&route, "conflicts/%s/restore", id);
	if (buf_cstr(&route) == NULL || body.failed)
		rc = work_local(w, err_set(&w->t->err, RC_FAULT, "out of memory"));
	else if ((rc = work_path(w, route.p, &path)) == TDSYNC_OK)
		rc = remote_call(&w->remote, path.p, buf_span(&body), true, &a, &w->t->err);
	if (rc == TDSYNC_NOT_FOUND) {
		err_set(&w->t->err, RC_NOT_FOUND, "%s: there is no conflict %s", w->remote.url, id);
	} else if (rc != TDSYNC_OK && (a.reply.status == 404 || a.reply.status == 405)) {
		err_set(&w->t->err, RC_NOT_FOUND, "%s: this server knows of no conflicts",
		        w->remote.url);
		rc = TDSYNC_REFUSED;
	}
	buf_free(&route);
	buf_free(&path);
	buf_free(&body);
	remote_answer_free(&a);
	return rc;
}

static enum tdsync_rc
restore_run(struct work *w)
{
	struct restore *r = w->arg;
	enum tdsync_rc rc = r->done ? TDSYNC_OK : ask_server(w, r->id);

	if (rc != TDSYNC_OK)
		return rc;
	r->done = true;
	return sync_run(w);
}

enum tdsync_rc
tdsync_restore(struct tdsync *t, const char *id, struct tdsync_result *out)
{
	struct restore r = { .id = id };
	struct conflict_id unused;

	if (id == NULL || !conflict_id_parse(span_of(id), &unused)) {
		err_set(&t->err, RC_INVALID, "conflicts have names like 42-1: see `td-sync conflicts`");
		return TDSYNC_INVALID;
	}
	return work_run(t, restore_run, &r, out);
}
