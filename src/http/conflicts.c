/* .../sync/conflicts: what was lost on the way, and putting it back. */
#include "http/handlers.h"

#include "engine/conflict_page.h"
#include "engine/push.h"
#include "engine/restore.h"
#include "http/body.h"
#include "http/places.h"
#include "http/reply.h"
#include "http/sync.h"

#include <stdio.h>

/* What the list holds follows from the log up to there, and from the rules. */
static char *
tag_of(const struct request *r, struct follower *f, int64_t after, int64_t limit,
       int64_t seq, char out[SYNC_TAG])
{
	char what[FOLLOW_MARK + 16], mark[FOLLOW_MARK];

	follow_mark(follower_profile(f), mark);
	snprintf(what, sizeof(what), "conflicts-%s", mark);
	return sync_tag(r, what, after, limit, seq, out);
}

/* What is asked for. */
struct asked {
	int64_t after, limit;
};

static enum rc
write_page(struct request *r, struct follower *f, bool large, const void *what)
{
	const struct asked *a = what;
	char tag[SYNC_TAG];
	enum rc rc = conflict_page_write(f, r->project->log, a->after, a->limit, large, &r->out,
	                                 &r->err);

	if (rc == RC_OK)
		reply_header(r, "ETag", tag_of(r, f, a->after, a->limit,
		                               state_seq(follower_state(f)), tag));
	return rc;
}

enum rc
conflicts_run(struct request *r)
{
	struct asked a;
	struct follower *f;
	char tag[SYNC_TAG];
	enum rc rc;

	if ((rc = sync_query(r, &a.after, &a.limit)) != RC_OK ||
	    (rc = sync_begin(r, false)) != RC_OK ||
	    (rc = sync_cursor(r, a.after)) != RC_OK ||
	    (rc = sync_follower(r, &f)) != RC_OK)
		return rc;
	if (!reply_matches(r, tag_of(r, f, a.after, a.limit, r->head.visible, tag))) {
		r->status = 200;
		return sync_read(r, write_page, &a);
	}
	reply_header(r, "ETag", tag);
	r->status = 304;
	return RC_OK;
}

/* --- restore --- */

/* Who says to be it: a member of the body, else the default. */
static enum rc
take_name(struct request *r, struct body_field *f, const char *fallback)
{
	if (f->text->len > PUSH_ID_BYTES)
		return err_set(&r->err, RC_INVALID, "%s is longer than %d bytes", f->name,
		               PUSH_ID_BYTES);
	if (f->text->len == 0)
		buf_add_str(f->text, fallback);
	return RC_OK;
}

/* The body may be missing. */
static enum rc
take_body(struct request *r, struct buf *device, struct buf *session)
{
	struct body_field fields[] = {
		{ "device_id", device }, { "session_id", session }, { NULL, NULL },
	};
	enum rc rc = r->body.len == 0 ? RC_OK : body_parse(r, fields);

	if (rc == RC_OK && span_is(buf_span(device), PUSH_SERVER_DEVICE))
		rc = err_set(&r->err, RC_INVALID, "device_id " PUSH_SERVER_DEVICE " is the "
		             "server's own");
	if (rc == RC_OK && (rc = take_name(r, &fields[0], "web")) == RC_OK)
		rc = take_name(r, &fields[1], "web");
	if (rc == RC_OK && (device->failed || session->failed))
		rc = err_set(&r->err, RC_FAULT, "out of memory");
	return rc;
}

static void
after_restore(struct request *r)
{
	events_maintain(r->project->log, false);
	sync_after(r);
}

/* Both locks are taken in turn: with a place, for whoever waits for the state. */
static enum rc
put_back(struct request *r, struct conflict_id id, const struct restorer *by)
{
	struct events *log = r->project->log;
	struct follower *f;
	int place;
	enum rc rc;

	/* As who reads it does: what there is to apply is not done under the locks. */
	if ((rc = sync_state(r, &f)) != RC_OK)
		return rc;
	sync_state_let_go(r, f);
	if ((rc = sync_wait(r, &place)) != RC_OK)
		return rc;
	rc = restore_conflict(f, log, id, by, false, r->deadline_ms, &r->out, &r->err);
	if (rc == RC_TOO_LARGE && (rc = request_take_large(r)) == RC_OK)
		rc = restore_conflict(f, log, id, by, true, r->deadline_ms, &r->out, &r->err);
	place_leave(place);
	return rc == RC_OK ? sync_confirm(r) : rc;
}

enum rc
restore_run(struct request *r)
{
	struct buf device = { 0 }, session = { 0 };
	struct conflict_id id;
	enum rc rc;

	if ((rc = take_body(r, &device, &session)) == RC_OK &&
	    (rc = sync_begin(r, false)) == RC_OK &&
	    !conflict_id_parse(span_of(r->conflict_id), &id))
		rc = err_set(&r->err, RC_NOT_FOUND, "no such conflict");
	if (rc == RC_OK)
		rc = put_back(r, id, &(struct restorer){
			span_of(r->caller.user_id), buf_span(&device), buf_span(&session),
			r->now_us });
	buf_free(&device);
	buf_free(&session);
	if (rc != RC_OK)
		return rc;
	r->status = 200;
	r->after = after_restore;
	return RC_OK;
}
