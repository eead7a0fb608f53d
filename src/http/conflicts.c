/* GET .../sync/conflicts: what was lost on the way. */
#include "http/handlers.h"

#include "engine/conflict_page.h"
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

static enum rc
write_page(struct request *r, int64_t after, int64_t limit)
{
	struct events *log = r->project->log;
	char tag[SYNC_TAG];
	struct follower *f;
	enum rc rc;

	if ((rc = sync_state(r, &f)) != RC_OK)
		return rc;
	rc = conflict_page_write(f, log, after, limit, false, &r->out, &r->err);
	if (rc == RC_TOO_LARGE && (rc = request_take_large(r)) == RC_OK)
		rc = conflict_page_write(f, log, after, limit, true, &r->out, &r->err);
	tag_of(r, f, after, limit, state_seq(follower_state(f)), tag);
	sync_state_let_go(r, f);
	if (rc != RC_OK)
		return rc;
	reply_header(r, "ETag", tag);
	r->status = 200;
	return RC_OK;
}

enum rc
conflicts_run(struct request *r)
{
	int64_t after, limit;
	struct follower *f;
	char tag[SYNC_TAG];
	enum rc rc;

	if ((rc = sync_query(r, &after, &limit)) != RC_OK ||
	    (rc = sync_begin(r, false)) != RC_OK ||
	    (rc = sync_cursor(r, after)) != RC_OK ||
	    (rc = sync_follower(r, &f)) != RC_OK)
		return rc;
	if (!reply_matches(r, tag_of(r, f, after, limit, r->head.visible, tag)))
		return write_page(r, after, limit);
	reply_header(r, "ETag", tag);
	r->status = 304;
	return RC_OK;
}
