/* A pull's page, see page.h. */
#include "engine/page.h"

#include "base/clock.h"
#include "base/json.h"
#include "engine/digest.h"

#include <string.h>

/* A page while it is written. */
struct writer {
	struct buf *out;
	size_t start;       /* of the page in out */
	int64_t limit;
	int64_t block_end;  /* of the first event's block */
	struct page *page;
};

int64_t
page_block(int64_t seq)
{
	return (seq - 1) / PAGE_BLOCK * PAGE_BLOCK + 1;
}

static void
write_event(struct buf *b, const struct event *ev)
{
	buf_add_str(b, "{\"server_seq\":");
	buf_add_int(b, ev->seq);
	buf_add_str(b, ",\"device_id\":");
	buf_add_json(b, ev->device);
	buf_add_str(b, ",\"session_id\":");
	buf_add_json(b, ev->session);
	buf_add_str(b, ",\"client_action_id\":");
	buf_add_int(b, ev->action_id);
	buf_add_str(b, ",\"action_type\":\"");
	buf_add_str(b, action_name(ev->action));
	buf_add_str(b, "\",\"entity_type\":");
	buf_add_json(b, ev->type);
	buf_add_str(b, ",\"entity_id\":");
	buf_add_json(b, ev->id);
	buf_add_str(b, ",\"payload\":");
	buf_add_span(b, ev->payload); /* as it came */
	buf_add_str(b, ",\"client_timestamp\":");
	buf_add_json(b, ev->time);
	buf_add_str(b, ",\"user_id\":");
	buf_add_json(b, ev->user);
	buf_add_str(b, ",\"server_timestamp\":\"");
	time_add_rfc3339(b, time_of_us(ev->server_us));
	buf_add_str(b, "\"}");
}

static enum rc
visit(void *ctx, const struct event *ev, bool *stop)
{
	struct writer *w = ctx;
	struct page *p = w->page;
	size_t before = w->out->len;
	bool full;

	if (p->count == 0) {
		p->first = ev->seq;
		w->block_end = page_block(ev->seq) + PAGE_BLOCK - 1;
	}
	if (ev->seq > w->block_end) {
		*stop = true;
		return RC_OK;
	}
	/* What is too large by its payload alone takes no memory here. */
	full = p->count > 0 && w->out->len - w->start + ev->payload.len > PAGE_MAX_BYTES;
	if (!full) {
		if (p->count > 0)
			buf_add_byte(w->out, ',');
		write_event(w->out, ev);
		full = p->count > 0 && w->out->len - w->start > PAGE_MAX_BYTES;
	}
	if (w->out->failed)
		return RC_FAULT;
	if (full) {
		w->out->len = before; /* it begins the next page */
		p->has_more = p->sealed = *stop = true;
		return RC_OK;
	}
	p->count++;
	p->last = ev->seq;
	memcpy(p->digest, ev->digest, EVENT_DIGEST_LEN);
	if ((int64_t)p->count == w->limit)
		p->has_more = *stop = true;
	return RC_OK;
}

enum rc
page_write(struct events *log, int64_t after, int64_t limit, struct buf *out,
           struct page *page, struct err *err)
{
	struct writer w = { out, out->len, limit, 0, page };
	enum rc rc;

	if (after < 0)
		after = 0;
	*page = (struct page){ .last = after };
	buf_add_str(out, "{\"events\":[");
	rc = events_walk(log, after, INT64_MAX, false, &page->head, visit, &w, err);
	if (rc == RC_OK && after > page->head.seq)
		rc = err_set(err, RC_CURSOR_AHEAD,
		             "your cursor is beyond the end of this project's log, which "
		             "was set back: ask its operator, then link the project anew");
	/* The block is complete, so nothing is ever added to this. */
	if (page->count > 0 && page->head.seq >= w.block_end) {
		page->has_more = true;
		if ((int64_t)page->count < limit || page->last == w.block_end)
			page->sealed = true;
	}
	buf_add_str(out, "],\"last_server_seq\":");
	buf_add_int(out, page->last);
	buf_add_str(out, page->has_more ? ",\"has_more\":true}\n" : ",\"has_more\":false}\n");
	if (rc == RC_OK && out->failed)
		rc = err_set(err, RC_FAULT, "out of memory");
	if (rc != RC_OK)
		out->len = w.start;
	return rc;
}

void
page_add_author(struct buf *out, const struct event *ev)
{
	buf_add_str(out, "\"user_id\":");
	buf_add_json(out, ev->user);
	buf_add_str(out, ",\"device_id\":");
	buf_add_json(out, ev->device);
	buf_add_str(out, ",\"session_id\":");
	buf_add_json(out, ev->session);
	buf_add_str(out, ",\"client_timestamp\":");
	buf_add_json(out, ev->time);
	buf_add_str(out, ",\"server_timestamp\":\"");
	time_add_rfc3339(out, time_of_us(ev->server_us));
	buf_add_byte(out, '"');
}

/* --- reading --- */

enum member { M_SEQ, M_DEVICE, M_SESSION, M_ACTION_ID, M_ACTION, M_TYPE, M_ID,
              M_PAYLOAD, M_TIME, M_USER, M_SERVER_TIME, M__MAX };

static const char *const members[M__MAX] = {
	[M_SEQ] = "server_seq",
	[M_DEVICE] = "device_id",
	[M_SESSION] = "session_id",
	[M_ACTION_ID] = "client_action_id",
	[M_ACTION] = "action_type",
	[M_TYPE] = "entity_type",
	[M_ID] = "entity_id",
	[M_PAYLOAD] = "payload",
	[M_TIME] = "client_timestamp",
	[M_USER] = "user_id",              /* (ours) */
	[M_SERVER_TIME] = "server_timestamp", /* (ours) */
};

/* A string, decoded into scratch, which has the room; empty when absent. */
static bool
text(struct span value, struct buf *scratch, struct span *out)
{
	size_t start = scratch->len;

	*out = (struct span){ "", 0 };
	if (value.len == 0)
		return true;
	if (!json_string(value, scratch))
		return false;
	*out = (struct span){ scratch->p + start, scratch->len - start };
	return true;
}

/* Fill the event; the member that is missing or malformed, M__MAX when none. */
static enum member
read_members(const struct span v[M__MAX], struct event *ev, struct instant *at,
             struct buf *scratch)
{
	struct span action, server_time;
	struct instant server;

	if (!json_int64(v[M_SEQ], &ev->seq) || ev->seq <= 0)
		return M_SEQ;
	if (!json_int64(v[M_ACTION_ID], &ev->action_id))
		return M_ACTION_ID;
	if (!text(v[M_DEVICE], scratch, &ev->device))
		return M_DEVICE;
	if (!text(v[M_SESSION], scratch, &ev->session))
		return M_SESSION;
	if (!text(v[M_ACTION], scratch, &action) ||
	    (ev->action = action_find(action)) == 0)
		return M_ACTION;
	if (!text(v[M_TYPE], scratch, &ev->type) || ev->type.len == 0)
		return M_TYPE;
	if (!text(v[M_ID], scratch, &ev->id))
		return M_ID;
	if (!text(v[M_TIME], scratch, &ev->time) || !time_parse_rfc3339(ev->time, at))
		return M_TIME;
	if (!text(v[M_USER], scratch, &ev->user))
		return M_USER;
	if (!text(v[M_SERVER_TIME], scratch, &server_time))
		return M_SERVER_TIME;
	if (time_parse_rfc3339(server_time, &server))
		ev->server_us = server.sec * 1000000 + server.nsec / 1000;
	if (v[M_PAYLOAD].len == 0)
		return M_PAYLOAD;
	ev->payload = v[M_PAYLOAD];
	return M__MAX;
}

enum rc
page_event(struct span t, struct event *out, struct buf *scratch, struct err *err)
{
	struct span values[M__MAX];
	struct buf canonical = { 0 };
	struct instant at;
	enum member bad;
	enum rc rc;

	*out = (struct event){ 0 };
	buf_reset(scratch);
	if (!buf_reserve(scratch, t.len)) /* decoded text is never longer */
		return err_set(err, RC_FAULT, "out of memory");
	json_pick(t, members, M__MAX, values);
	bad = read_members(values, out, &at, scratch);
	if (bad != M__MAX)
		return err_set(err, RC_INVALID, "an event's %s is missing or malformed",
		               members[bad]);
	rc = event_digest(out, at, &canonical);
	buf_free(&canonical);
	return rc == RC_OK ? rc : err_set(err, rc, "out of memory");
}
