/* GET .../entities/{type}/{id}/history: what happened to an entity. */
#include "http/handlers.h"

#include "engine/history.h"
#include "http/sync.h"

static enum rc
write_history(struct request *r, const struct profile_entity *e, int64_t after,
              int64_t limit)
{
	struct events *log = r->project->log;
	struct span id = r->entity_id;
	struct follower *f;
	enum rc rc;

	if ((rc = sync_state(r, &f)) != RC_OK)
		return rc;
	rc = history_write(f, log, e, id, after, limit, false, &r->out, &r->err);
	if (rc == RC_TOO_LARGE && (rc = request_take_large(r)) == RC_OK)
		rc = history_write(f, log, e, id, after, limit, true, &r->out, &r->err);
	sync_state_let_go(r, f);
	r->status = 200;
	return rc;
}

enum rc
history_run(struct request *r)
{
	const struct profile_entity *e;
	int64_t after, limit;
	struct follower *f;
	enum rc rc;

	if ((rc = sync_query(r, &after, &limit)) != RC_OK ||
	    (rc = sync_begin(r, false)) != RC_OK ||
	    (rc = sync_cursor(r, after)) != RC_OK ||
	    (rc = sync_follower(r, &f)) != RC_OK)
		return rc;
	e = profile_entity(follower_profile(f), r->entity_type);
	if (e == NULL || e->held_back)
		return err_set(&r->err, RC_NOT_FOUND, "no entities of that type are known here");
	return write_history(r, e, after, limit);
}
