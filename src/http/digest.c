/* GET .../sync/digest: for a replica to check itself by. */
#include "http/handlers.h"

#include "engine/sums_page.h"
#include "http/sync.h"

static enum rc
write_page(struct request *r, struct follower *f, bool large, const void *what)
{
	(void)large; /* it never is */
	return sums_page_write(f, r->head.log_id, *(const int64_t *)what, &r->out, &r->err);
}

enum rc
digest_run(struct request *r)
{
	int64_t seq = INT64_MIN; /* as the state stands */
	enum rc rc;

	if ((rc = request_query_int(r, "seq", &seq)) != RC_OK)
		return rc;
	if (seq < 0 && seq != INT64_MIN)
		return err_set(&r->err, RC_INVALID, "invalid seq");
	if ((rc = sync_begin(r, false)) != RC_OK || (rc = sync_cursor(r, seq)) != RC_OK)
		return rc;
	r->status = 200;
	return sync_read(r, write_page, &seq);
}
