/* GET .../sync/status: where the log ends, and who holds what a restore lost. */
#include "http/handlers.h"

#include "http/reply.h"
#include "http/sync.h"
#include "store/devices.h"

/* Append a device of devices_each_lost() to a list. */
static enum rc
add_lost(void *ctx, const struct device_lost *d)
{
	struct buf *out = ctx;
	char text[TIME_TEXT];

	buf_add_str(out, out->len == 0 ? "{\"device_id\":" : ",{\"device_id\":");
	buf_add_json(out, d->name);
	buf_addf(out, ",\"after_server_seq\":%lld,\"cursor\":%lld,\"last_seen_at\":\"%s\"}",
	         (long long)d->after, (long long)d->until,
	         time_text(d->seen_us / 1000000, text));
	return RC_OK;
}

/* The devices that hold events which the server lost, to r->scratch: for members only,
 * and looked for only where there was a restore. */
static void
list_lost(struct request *r)
{
	struct events_gap gap;

	buf_reset(&r->scratch);
	if (!r->caller.guest &&
	    events_gap(r->project->log, INT64_MAX, &gap, NULL) == RC_OK)
		devices_each_lost(r->project->dir, add_lost, &r->scratch);
}

static void
write_status(struct buf *out, const struct events_head *head, struct span lost)
{
	char text[TIME_TEXT];

	buf_add_str(out, "{\"event_count\":");
	buf_add_int(out, head->count);
	buf_add_str(out, ",\"last_server_seq\":");
	buf_add_int(out, head->seq);
	if (head->time_us != 0)
		reply_text(out, ",", "last_event_time",
		           time_text(head->time_us / 1000000, text));
	if (lost.len > 0) {
		buf_add_str(out, ",\"holds_lost_events\":[");
		buf_add_span(out, lost);
		buf_add_byte(out, ']');
	}
	buf_add_str(out, "}\n");
}

enum rc
status_run(struct request *r)
{
	char tag[SYNC_TAG];
	enum rc rc;

	if ((rc = sync_begin(r, false)) != RC_OK)
		return rc;
	list_lost(r);
	r->status = 200;
	if (r->scratch.len == 0) { /* else it follows from more than the head */
		reply_header(r, "ETag", sync_tag(r, "status", r->head.seq, 0, 0, tag));
		r->status = reply_matches(r, tag) ? 304 : 200;
	}
	if (r->status == 200)
		write_status(&r->out, &r->head, buf_span(&r->scratch));
	return RC_OK;
}
