/* POST .../sync/push: into the log, then the answer, then the housekeeping. */
#include "http/handlers.h"

#include "base/log.h"
#include "engine/push.h"
#include "http/places.h"
#include "http/reply.h"
#include "http/sync.h"
#include "store/devices.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

/* Whether the Prefer header asks for handling=lenient (RFC 7240). */
static bool
prefers_lenient(const struct request *r)
{
	static const char wish[] = "handling=lenient";
	const char *p = request_header(r, "HTTP_PREFER");

	while (p != NULL && *p != '\0') {
		p += strspn(p, " \t,");
		if (strncasecmp(p, wish, sizeof(wish) - 1) == 0 &&
		    strchr(" \t,;", p[sizeof(wish) - 1]) != NULL)
			return true;
		p += strcspn(p, ",");
	}
	return false;
}

static void
after(struct request *r)
{
	events_maintain(r->project->log, r->waiter_place >= 0);
	place_leave(r->waiter_place); /* what follows waits for nobody */
	r->waiter_place = -1;
	buf_free(&r->body);
	sync_after(r);
	if (r->seq != 0) /* the newest timestamp of the push, in microseconds */
		devices_clock(r->project->dir, &r->project->devices, buf_span(&r->device),
		              (r->seq - r->now_us) / 1000);
}

/*
 * Whether this worker is to wait for the lock once more, after its answer, to
 * checkpoint: one does it for all, and keeps its place for that. So those who
 * wait for a project are never more than its places, whatever they wait for.
 */
static bool
waits_to_checkpoint(const struct request *r)
{
	return events_maintain_waits(r->project->log) &&
	       place_add(r->waiter_place, WAITERS_CHECKPOINT);
}

/* Append under the log's lock, if not too many wait for it. */
static enum rc
append(struct request *r, struct push *p)
{
	char path[PATH_MAX + sizeof("/" WAITERS_FILE)];
	/* One more has the lock and does not wait. */
	int n = r->server->max_waiting + 1;
	enum rc rc;

	snprintf(path, sizeof(path), "%s/" WAITERS_FILE, r->project->dir);
	if (place_take(path, n, &r->waiter_place) != RC_OK)
		return err_set(&r->err, RC_BUSY, "%d requests wait for this project already", n);
	rc = push_append(p, r->project->log, span_of(r->caller.user_id), r->now_us,
	                 r->deadline_ms, &r->out, NULL, &r->err);
	if (rc != RC_OK || !waits_to_checkpoint(r)) {
		place_leave(r->waiter_place);
		r->waiter_place = -1;
	}
	return rc;
}

/* What td sends again under other numbers; part of healing. A state that can't be
 * read is no reason to refuse a push. */
static void
find_known(struct request *r, const struct profile *profile, struct push *p)
{
	struct follower *f;
	struct err err = { "" };
	enum rc rc;

	if (!sync_heals(r, profile))
		return;
	rc = projects_follower(&r->server->projects, r->project, &f, &err);
	if (rc == RC_OK)
		rc = push_find_known(p, f, r->project->log, &err);
	if (rc != RC_OK)
		log_write(LOG_ERROR, "the state of %s: %s", r->project_id, err.text);
}

enum rc
push_run(struct request *r)
{
	struct push_rules rules = {
		.lenient = prefers_lenient(r),
		.refuse_unknown = r->server->config->refuse_unknown,
		.max_events = r->server->config->max_project_events,
		.max_bytes = r->server->config->max_project_bytes,
	};
	const struct profile *profile;
	struct push *p = NULL;
	enum rc rc;

	/* Who claims nothing is not compared with the log: its head is read once,
	 * under the lock. Without the rules that it was made for nothing may be
	 * judged. */
	rc = sync_claims(r) ? sync_begin(r, false) : sync_open(r);
	if (rc == RC_OK)
		rc = projects_profile(&r->server->projects, r->project, &profile, &r->err);
	if (rc != RC_OK)
		return rc;
	rc = push_parse(&r->body, profile, rules, &p, &r->err);
	if (rc == RC_OK) {
		find_known(r, profile, p);
		rc = append(r, p);
	}
	if (rc == RC_OK)
		rc = sync_confirm(r);
	else if (!r->has_head)
		r->has_head = events_head(r->project->log, &r->head, NULL) == RC_OK;
	if (rc == RC_OK) {
		r->status = 200;
		r->seq = push_newest_us(p);
		buf_add_span(&r->device, push_device(p));
		r->after = after;
	}
	push_free(p);
	return rc;
}
