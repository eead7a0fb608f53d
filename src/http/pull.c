/* GET .../sync/pull: a page of the log. */
#include "http/handlers.h"

#include "base/metrics.h"
#include "engine/page.h"
#include "http/reply.h"
#include "http/sync.h"
#include "store/devices.h"

#include <stdio.h>
#include <string.h>

/* The tag of the page at the head. A page of history needs none, it is asked for
 * once. */
static char *
tag_of(const struct request *r, int64_t after, int64_t limit, char out[SYNC_TAG])
{
	return sync_tag(r, "pull", after, limit, r->head.seq, out);
}

/* --- kept pages --- */

static struct page_key
key_of(const struct request *r, int64_t after)
{
	return (struct page_key){ r->project_id, r->head.log_id, after };
}

/*
 * Whether a page starts where everyone's does who pulls from the start: behind
 * the block before, or behind a page of its block that the byte limit cut and
 * that is kept. From other cursors, of which there are many, pages are made.
 */
static bool
starts_well(struct request *r)
{
	int64_t at;

	if (events_before(r->project->log, page_block(r->page.first), &at, NULL) != RC_OK)
		return false;
	while (at < r->cursor) {
		struct page_key key = key_of(r, at);
		struct page_file f;

		if (pages_open(&r->server->pages, &key, false, &f) != RC_OK)
			return false;
		page_file_close(&f);
		if (f.last <= at)
			return false;
		at = f.last;
	}
	return at == r->cursor;
}

/*
 * Whether a kept page is of the log as it is: somebody may have put an older
 * copy in its place, by hand; then it was opened anew. Of a log that is open
 * events only ever follow.
 */
static bool
is_of_log(struct request *r, const struct page_file *f)
{
	unsigned char digest[EVENT_DIGEST_LEN];

	if (f->last > r->head.seq)
		return false;
	if (f->of != NULL && *f->of == r->project->opened)
		return true;
	if (events_digest(r->project->log, f->last, digest, NULL) != RC_OK ||
	    memcmp(digest, f->digest, EVENT_DIGEST_LEN) != 0)
		return false;
	if (f->of != NULL)
		*f->of = r->project->opened;
	return true;
}

/* One request in PAGES_CHECK_EACH: ids are random hex digits. */
static bool
is_sampled(const struct request *r)
{
	unsigned char last;

	return id_unhex((struct span){ r->id + 30, 2 }, &last, 1) &&
	       last % PAGES_CHECK_EACH == 0;
}

/*
 * Answer with a kept page, where there is one: nginx sends it if it can, else we
 * do. *last is the page's last seq.
 */
static bool
answer_kept(struct request *r, int64_t after, int64_t limit, int64_t *last)
{
	const char *there = request_file_place(r, "TD_SYNC_PAGES");
	struct page_key key = key_of(r, after);
	char name[PAGES_NAME];
	struct page_file f;
	enum rc rc;

	if (after >= r->head.seq)
		return false;
	rc = there != NULL ? pages_find(&r->server->pages, &key, is_sampled(r), name, &f)
	                   : pages_open(&r->server->pages, &key, true, &f);
	if (rc != RC_OK)
		return false;
	*last = f.last;
	if (f.count > limit || !is_of_log(r, &f)) {
		page_file_close(&f);
		if (f.count <= limit)
			pages_drop(&r->server->pages, &key, "not of the log as it is now");
		return false;
	}
	r->status = 200;
	if (there == NULL) {
		r->file = f;
		return true;
	}
	buf_addf(&r->headers, "X-Accel-Redirect: %s%s\r\n", there, name);
	return true;
}

/* --- after the answer --- */

static void
after_pull(struct request *r)
{
	struct page_key key = key_of(r, r->cursor);
	struct span device = buf_span(&r->device);
	struct events_gap gap;

	if (device.len == 0)
		device = span_of(r->caller.token_id);
	if (r->gap.until != 0)
		devices_lost(r->project->dir, &(struct device_lost){ device, r->gap.after,
		             r->gap.until, r->now_us });
	if (r->seq != 0)
		devices_served(r->project->dir, device, r->seq, r->now_us);
	if (r->seq != 0 && r->knows &&
	    events_gap(r->project->log, INT64_MAX, &gap, NULL) == RC_OK)
		devices_found(r->project->dir, device);
	if (r->page.sealed && starts_well(r)) {
		pages_keep(&r->server->pages, &key, &r->page, buf_span(&r->out));
		/* Whoever purged the project meanwhile did not see that page. */
		if (events_stale(r->project->log))
			pages_forget(&r->server->pages, r->project_id);
	}
	if (r->unsettled)
		sync_after(r);
}

/*
 * That a device was served is noted once the answer is out; but not for a
 * sealed page with more behind it: the device comes again; nor of a guest, who may be
 * anyone. Its own events are sent like others', `exclude_client` only says who asks.
 */
static void
note_served(struct request *r, int64_t last, bool sealed)
{
	if ((sealed && last < r->head.visible) || r->method == METHOD_HEAD ||
	    r->caller.guest)
		return;
	request_query(r, "exclude_client", &r->device);
	r->knows = sync_claims(r);
	r->seq = last;
	r->after = after_pull;
}

/*
 * A cursor inside the gap that a restore or an import made is that of a device which got
 * events that the server lost: it is noted, once the answer is out, for whoever asks
 * after them. Our client, which says what it knows, is told by a 409 instead.
 */
static void
note_lost(struct request *r, int64_t after)
{
	struct events_gap gap;

	if (after == 0 || after == r->head.visible || r->method == METHOD_HEAD ||
	    r->caller.guest || sync_claims(r) ||
	    events_gap(r->project->log, after, &gap, NULL) != RC_OK || after > gap.until)
		return;
	request_query(r, "exclude_client", &r->device);
	r->gap = (struct events_gap){ gap.after, after };
	r->after = after_pull;
}

/* An event that is larger than a page is one of its own, and of those only few
 * are held at a time: the place is taken before it is read. */
static enum rc
take_place(struct request *r, int64_t after)
{
	int64_t bytes = 0;
	enum rc rc = RC_OK;

	if (after < r->head.visible)
		rc = events_large_next(r->project->log, after, &bytes, &r->err);
	return rc == RC_OK && bytes > LARGE_BODY ? request_take_large(r) : rc;
}

/* A page that is made: from the log to r->out. */
static enum rc
make_page(struct request *r, int64_t after, int64_t limit)
{
	struct page *page = &r->page;
	char tag[SYNC_TAG];
	enum rc rc;

	if ((rc = take_place(r, after)) == RC_OK)
		rc = page_write(r->project->log, after, limit, &r->out, page, &r->err);
	if (rc != RC_OK)
		return rc;
	if (!page->has_more)
		reply_header(r, "ETag", tag_of(r, after, limit, tag));
	r->status = 200;
	r->cursor = after;
	if (page->sealed) {
		r->after = after_pull;
		metrics_add(METRIC_PAGE_MISS, 1);
	}
	if (page->count > 0)
		note_served(r, page->last, page->sealed);
	return RC_OK;
}

/* What is after the cursor, in the log that is held. */
static enum rc
answer(struct request *r, int64_t after, int64_t limit)
{
	char tag[SYNC_TAG];
	int64_t last;

	note_lost(r, after);
	if (reply_matches(r, tag_of(r, after, limit, tag))) {
		reply_header(r, "ETag", tag);
		r->status = 304;
		return RC_OK;
	}
	if (!answer_kept(r, after, limit, &last))
		return make_page(r, after, limit);
	metrics_add(METRIC_PAGE_HIT, 1);
	note_served(r, last, true);
	return RC_OK;
}

enum rc
pull_run(struct request *r)
{
	int64_t after, limit;
	enum rc rc;

	if ((rc = sync_query(r, &after, &limit)) != RC_OK ||
	    (rc = sync_begin(r, true)) != RC_OK)
		return rc;
	if (r->head.visible != r->project->settled) {
		events_let_go(r->project->log);
		r->unsettled = !sync_settle(r);
		if ((rc = sync_begin(r, true)) != RC_OK)
			return rc;
	}
	rc = answer(r, after, limit);
	events_let_go(r->project->log);
	/* What a push left, for want of a worker to spare or for its size. */
	if (r->unsettled)
		r->after = after_pull;
	return rc;
}
