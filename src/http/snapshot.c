/* GET .../sync/snapshot: what the log adds up to, now or once, as a database. */
#include "http/handlers.h"

#include "base/clock.h"
#include "base/log.h"
#include "http/places.h"
#include "http/range.h"
#include "http/reply.h"
#include "http/snapshots.h"
#include "http/sync.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* For how long it waits, applies and replays, all together: a stock td gives up
 * after 30 s, and wants to read the answer, too. */
#define WAIT_MS 25000

/* Bytes of the file's hash in an ETag. */
#define ETAG_HASH 8

static struct snapshot_key
key_of(const struct request *r, const struct profile *profile)
{
	int64_t from = r->head.visible - r->server->config->snapshot_lag;

	return (struct snapshot_key){
		.data = r->server->config->data, .project = r->project_id,
		.profile = profile, .log = r->project->log, .head = &r->head,
		.from = from > 1 ? from : 1,
	};
}

/* --- the answer --- */

static void
add_hex_header(struct request *r, const char *name, const unsigned char *p, size_t n)
{
	buf_addf(&r->headers, "%s: ", name);
	buf_add_hex(&r->headers, p, n);
	buf_add_str(&r->headers, "\r\n");
}

/* The file's bytes, not only what it says: made anew it may be another one. */
static enum rc
make_tag(const struct snapshot_file *f, struct buf *out)
{
	buf_reset(out);
	buf_add_byte(out, '"');
	buf_add_hex(out, f->what.log_id, LOG_ID_LEN);
	buf_addf(out, "-%" PRId64 "-", f->what.seq);
	buf_add_hex(out, f->hash, ETAG_HASH);
	buf_add_byte(out, '"');
	return buf_cstr(out) != NULL ? RC_OK : RC_FAULT;
}

/* The part that is asked for of the file that was asked for (If-Range). */
static enum range
part_asked(const struct request *r, const char *tag, int64_t size, struct file_part *part)
{
	const char *only = request_header(r, "HTTP_IF_RANGE");
	const char *range = request_header(r, "HTTP_RANGE");

	if (only != NULL && strcmp(only, tag) != 0)
		range = NULL;
	return range_of(range, size, &part->from, &part->n);
}

/* Send the file ourselves, or the part of it that is asked for. */
static void
send_file(struct request *r, const struct snapshot_file *f, const char *tag)
{
	struct file_part part = { .fd = f->fd };

	r->part = part; /* closed with the request */
	reply_header(r, "Accept-Ranges", "bytes");
	switch (part_asked(r, tag, f->size, &r->part)) {
	case RANGE_ALL:
		r->status = 200;
		break;
	case RANGE_PART:
		r->status = 206;
		buf_addf(&r->headers, "Content-Range: bytes %" PRId64 "-%" PRId64 "/%" PRId64 "\r\n",
		         r->part.from, r->part.from + r->part.n - 1, f->size);
		break;
	case RANGE_NONE:
		buf_addf(&r->headers, "Content-Range: bytes */%" PRId64 "\r\n", f->size);
		close(f->fd);
		r->part.fd = -1;
		reply_error(r, 416, "range_not_satisfiable", "the snapshot ends before that");
	}
}

/*
 * Answer with an open file, which becomes the request's. nginx sends it by its
 * name, if it can and it has one.
 */
static enum rc
answer(struct request *r, const struct snapshot_key *key, const struct snapshot_file *f,
       const char *by_nginx)
{
	struct buf *tag = &r->scratch;
	char name[SNAPSHOTS_NAME];
	enum rc rc = RC_OK;

	if (memcmp(f->what.log_id, r->head.log_id, LOG_ID_LEN) != 0)
		rc = err_set(&r->err, RC_BUSY, "the log was replaced during a request");
	else if (make_tag(f, tag) != RC_OK)
		rc = err_set(&r->err, RC_FAULT, "out of memory");
	if (rc != RC_OK) {
		close(f->fd);
		return rc;
	}
	r->type = "application/x-sqlite3";
	buf_addf(&r->headers, "X-Snapshot-Seq: %" PRId64 "\r\n", f->what.seq);
	add_hex_header(r, "X-Snapshot-Digest", f->what.digest, HASH_LEN);
	reply_header(r, "ETag", tag->p);
	if (reply_matches(r, tag->p)) {
		close(f->fd);
		r->status = 304;
	} else if (by_nginx != NULL) {
		close(f->fd);
		snapshots_name(key, f->what.seq, name);
		buf_addf(&r->headers, "Content-Type: %s\r\nX-Accel-Redirect: %s%s\r\n", r->type,
		         by_nginx, name);
		r->status = 200;
	} else {
		send_file(r, f, tag->p);
	}
	return RC_OK;
}

/* --- the newest --- */

/* Make one under the lock, of the log as it is now. */
static enum rc
make(struct request *r, const struct snapshot_key *key, int64_t deadline_ms,
     struct snapshot_file *out)
{
	struct follower *f;
	enum rc rc = sync_follow(r, key->from, deadline_ms, &f);

	if (rc == RC_OK)
		rc = snapshots_make(key, f, deadline_ms, out, &r->err);
	request_leave_large(r);
	return rc;
}

/* Wait for whoever makes one, then look again, and make one if need be. What is
 * as new as the log was when the request came will do. */
static enum rc
wait_or_make(struct request *r, const struct snapshot_key *key, bool whole,
             struct snapshot_file *out)
{
	int64_t deadline_ms = clock_mono_ms() + WAIT_MS;
	unsigned char log_id[LOG_ID_LEN];
	struct lock *lock;
	enum rc rc;

	if ((rc = snapshots_lock(key, deadline_ms, &lock, &r->err)) != RC_OK)
		return rc;
	memcpy(log_id, r->head.log_id, LOG_ID_LEN);
	rc = events_head(key->log, &r->head, &r->err);
	if (rc == RC_OK && memcmp(log_id, r->head.log_id, LOG_ID_LEN) != 0)
		rc = err_set(&r->err, RC_BUSY, "the log was replaced meanwhile");
	if (rc == RC_OK && snapshots_open(key, whole, out, &r->err) != RC_OK) {
		if (r->err.text[0] != '\0')
			log_write(LOG_WARN, "%s: %s; it is made anew", r->project_id, r->err.text);
		rc = make(r, key, deadline_ms, out);
	}
	lock_close(lock);
	return rc;
}

static enum rc
find_or_make(struct request *r, const struct snapshot_key *key, bool whole,
             struct snapshot_file *out)
{
	enum rc rc;

	if (snapshots_open(key, whole, out, &r->err) == RC_OK)
		return RC_OK;
	if ((rc = sync_wait(r, &r->waiter_place)) != RC_OK)
		return rc;
	rc = wait_or_make(r, key, whole, out);
	place_leave(r->waiter_place);
	r->waiter_place = -1;
	return rc;
}

static enum rc
present(struct request *r, const struct profile *profile)
{
	const char *there = request_file_place(r, "TD_SYNC_SNAPSHOTS");
	/* Ids are random hex digits. */
	bool whole = there == NULL || r->id[31] % SNAPSHOTS_CHECK_EACH == 0;
	struct snapshot_key key = key_of(r, profile);
	struct snapshot_file f;
	enum rc rc;

	if ((rc = find_or_make(r, &key, whole, &f)) != RC_OK)
		return rc;
	/* Who has no event yet can tell this one: its log may be restored. */
	buf_addf(&r->headers, "X-Log-Last: %" PRId64 ":", f.what.seq);
	buf_add_hex(&r->headers, f.what.last, EVENT_DIGEST_LEN);
	buf_add_str(&r->headers, "\r\n");
	return answer(r, &key, &f, there);
}

/* --- the past --- */

/* One project's readers can't take all places for what is large; and guests, who may be
 * anyone, take none of them: one is served at a time, whichever project it is. */
static enum rc
take_places(struct request *r)
{
	char path[PATH_MAX + sizeof("/" GUEST_REPLAY)];
	int n = r->server->max_large > 1 ? r->server->max_large / 2 : 1;

	if (r->caller.guest) {
		snprintf(path, sizeof(path), "%s/" GUEST_REPLAY, r->server->config->data);
		return place_take(path, 1, &r->waiter_place) == RC_OK ? RC_OK
		    : err_set(&r->err, RC_CROWDED, "a guest replays a project already");
	}
	snprintf(path, sizeof(path), "%s/" REPLAYS, r->project->dir);
	if (place_take(path, n, &r->waiter_place) != RC_OK)
		return err_set(&r->err, RC_CROWDED, "%d requests replay this project already", n);
	return request_take_large(r);
}

/* How many events there may be up to a seq. */
static int64_t
events_until(const struct request *r, int64_t seq)
{
	return seq < r->head.count ? seq : r->head.count;
}

static enum rc
past(struct request *r, const struct profile *profile, int64_t seq)
{
	int64_t max = r->server->config->max_replay_events;
	struct snapshot_key key = key_of(r, profile);
	struct snapshot_file f;
	enum rc rc;

	if (events_until(r, seq) > max)
		return err_set(&r->err, RC_INVALID, "at_seq is too far from the log's beginning: "
		               "this server replays %" PRId64 " events at most", max);
	if ((rc = take_places(r)) != RC_OK)
		return rc;
	rc = snapshots_past(&key, seq, clock_mono_ms() + WAIT_MS, &f, &r->err);
	request_leave_large(r);
	place_leave(r->waiter_place);
	r->waiter_place = -1;
	return rc == RC_OK ? answer(r, &key, &f, NULL) : rc;
}

/* --- */

/* at_seq; 0: not given. */
static enum rc
take_query(struct request *r, int64_t *seq)
{
	bool given = request_query(r, "at_seq", &r->scratch) && r->scratch.len > 0;
	enum rc rc;

	*seq = 0;
	if ((rc = request_query_int(r, "at_seq", seq)) == RC_OK && given && *seq < 1)
		rc = err_set(&r->err, RC_INVALID, "invalid at_seq");
	return rc;
}

enum rc
snapshot_run(struct request *r)
{
	const struct profile *profile;
	int64_t seq;
	enum rc rc;

	if ((rc = take_query(r, &seq)) != RC_OK || (rc = sync_begin(r, false)) != RC_OK ||
	    (rc = projects_profile(&r->server->projects, r->project, &profile,
	                           &r->err)) != RC_OK)
		return rc;
	if (profile == NULL)
		return err_set(&r->err, RC_NOT_FOUND, "the project is for no profile, so its "
		               "log adds up to nothing");
	if (r->head.visible == 0) {
		reply_error(r, 404, "no_events", "no events to snapshot");
		return RC_OK;
	}
	if (seq > r->head.seq)
		return RC_CURSOR_AHEAD;
	return seq == 0 || seq >= r->head.visible ? present(r, profile)
	                                            : past(r, profile, seq);
}
