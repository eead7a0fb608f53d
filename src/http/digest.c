/* GET .../sync/digest: for a replica to check itself by. */
#include "http/handlers.h"

#include "engine/sums_page.h"
#include "http/sync.h"

enum rc
digest_run(struct request *r)
{
	int64_t seq = INT64_MIN; /* as the state stands */
	struct follower *f;
	enum rc rc;

	if ((rc = request_query_int(r, "seq", &seq)) != RC_OK)
		return rc;
	if (seq < 0 && seq != INT64_MIN)
		return err_set(&r->err, RC_INVALID, "invalid seq");
	if ((rc = sync_begin(r, false)) != RC_OK || (rc = sync_cursor(r, seq)) != RC_OK ||
	    (rc = sync_state(r, &f)) != RC_OK)
		return rc;
	rc = sums_page_write(f, r->head.log_id, seq, &r->out, &r->err);
	sync_state_let_go(r, f);
	r->status = 200;
	return rc;
}
