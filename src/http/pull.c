/* GET .../sync/pull: a page of the log. */
#include "http/handlers.h"

#include "engine/page.h"
#include "http/reply.h"
#include "http/sync.h"
#include "store/devices.h"

#include <stdio.h>
#include <string.h>

/* Room for an ETag of a page: a log id and three numbers. */
#define ETAG_TEXT 128

/*
 * The tag of the page at the head: what it holds follows from these four. A
 * page of history needs none, it is asked for once.
 */
static char *
tag_of(const struct events_head *head, int64_t after, int64_t limit,
       char out[ETAG_TEXT])
{
	char id[LOG_ID_LEN * 2 + 1];

	for (size_t i = 0; i < LOG_ID_LEN; i++)
		snprintf(id + 2 * i, 3, "%02x", head->log_id[i]);
	snprintf(out, ETAG_TEXT, "\"%s-%lld-%lld-%lld\"", id, (long long)after,
	         (long long)limit, (long long)head->seq);
	return out;
}

static enum rc
take_query(struct request *r, int64_t *after, int64_t *limit)
{
	enum rc rc;

	*after = 0;
	*limit = PAGE_LIMIT;
	if ((rc = request_query_int(r, "after_server_seq", after)) != RC_OK ||
	    (rc = request_query_int(r, "limit", limit)) != RC_OK)
		return rc;
	if (*limit <= 0)
		return err_set(&r->err, RC_INVALID, "invalid limit");
	if (*after < 0)
		*after = 0;
	if (*limit > PAGE_MAX_LIMIT)
		*limit = PAGE_MAX_LIMIT;
	return RC_OK;
}

static void
after_pull(struct request *r)
{
	struct span device = buf_span(&r->device);

	devices_served(r->project->dir, device.len > 0 ? device : span_of(r->caller.token_id),
	               r->seq, r->now_us);
}

/* What is noted of a page once it is out: that this device was served. Its
 * own events are sent like others', `exclude_client` only says who asks. */
static void
note_served(struct request *r, int64_t last)
{
	if (r->method == METHOD_HEAD)
		return;
	request_query(r, "exclude_client", &r->device);
	r->seq = last;
	r->after = after_pull;
}

enum rc
pull_run(struct request *r)
{
	int64_t after, limit;
	char tag[ETAG_TEXT];
	struct page page;
	enum rc rc;

	if ((rc = take_query(r, &after, &limit)) != RC_OK ||
	    (rc = sync_begin(r)) != RC_OK)
		return rc;
	if (reply_matches(r, tag_of(&r->head, after, limit, tag))) {
		reply_header(r, "ETag", tag);
		r->status = 304;
		return RC_OK;
	}
	rc = page_write(r->project->log, after, limit, &r->out, &page, &r->err);
	if (rc == RC_OK && memcmp(page.head.log_id, r->head.log_id, LOG_ID_LEN) != 0)
		return err_set(&r->err, RC_BUSY, "the log was replaced during a pull");
	if (rc == RC_OK || rc == RC_CURSOR_AHEAD)
		r->head = page.head;
	if (rc != RC_OK)
		return rc;
	if (!page.has_more)
		reply_header(r, "ETag", tag_of(&r->head, after, limit, tag));
	r->status = 200;
	if (page.count > 0)
		note_served(r, page.last);
	return RC_OK;
}
