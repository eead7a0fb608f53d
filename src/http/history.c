/* GET .../entities/{type}/{id}/history: what happened to an entity. */
#include "http/handlers.h"

#include "engine/history.h"
#include "http/sync.h"

/* What is asked for. */
struct asked {
	const struct profile_entity *entity;
	int64_t after, limit;
};

static enum rc
write_history(struct request *r, struct follower *f, bool large, const void *what)
{
	const struct asked *a = what;

	return history_write(f, r->project->log, a->entity, r->entity_id, a->after, a->limit,
	                     large, &r->out, &r->err);
}

enum rc
history_run(struct request *r)
{
	struct asked a;
	struct follower *f;
	enum rc rc;

	if ((rc = sync_query(r, &a.after, &a.limit)) != RC_OK ||
	    (rc = sync_begin(r, false)) != RC_OK ||
	    (rc = sync_cursor(r, a.after)) != RC_OK ||
	    (rc = sync_follower(r, &f)) != RC_OK)
		return rc;
	a.entity = profile_entity(follower_profile(f), r->entity_type);
	if (a.entity == NULL || a.entity->held_back)
		return err_set(&r->err, RC_NOT_FOUND, "no entities of that type are known here");
	r->status = 200;
	return sync_read(r, write_history, &a);
}
