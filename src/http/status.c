/* GET .../sync/status: where the log ends. */
#include "http/handlers.h"

#include "http/reply.h"
#include "http/sync.h"

static void
write_status(struct buf *out, const struct events_head *head)
{
	char text[TIME_TEXT];

	buf_add_str(out, "{\"event_count\":");
	buf_add_int(out, head->count);
	buf_add_str(out, ",\"last_server_seq\":");
	buf_add_int(out, head->seq);
	if (head->time_us != 0)
		reply_text(out, ",", "last_event_time",
		           time_text(head->time_us / 1000000, text));
	buf_add_str(out, "}\n");
}

enum rc
status_run(struct request *r)
{
	struct buf *tag = &r->scratch;
	enum rc rc;

	if ((rc = sync_begin(r, false)) != RC_OK)
		return rc;
	buf_reset(tag);
	buf_add_byte(tag, '"');
	buf_add_hex(tag, r->head.log_id, LOG_ID_LEN);
	buf_addf(tag, "-%lld\"", (long long)r->head.seq);
	if (buf_cstr(tag) == NULL)
		return err_set(&r->err, RC_FAULT, "out of memory");
	reply_header(r, "ETag", tag->p);
	r->status = reply_matches(r, tag->p) ? 304 : 200;
	if (r->status == 200)
		write_status(&r->out, &r->head);
	return RC_OK;
}
