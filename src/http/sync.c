/* What push, pull and status share, see sync.h. */
#include "http/sync.h"

#include "base/json.h"

#include <string.h>

#define ID "HTTP_X_LOG_ID"
#define LAST "HTTP_X_LOG_LAST"

/* "SEQ:DIGEST", the last event the caller has. */
static bool
parse_last(const char *text, int64_t *seq, unsigned char digest[EVENT_DIGEST_LEN])
{
	const char *colon = strchr(text, ':');
	struct span number = { text, colon == NULL ? 0 : (size_t)(colon - text) };

	return colon != NULL && json_int64(number, seq) && *seq > 0 &&
	       id_unhex(span_of(colon + 1), digest, EVENT_DIGEST_LEN);
}

/* Whether the log holds the event that the caller saw last. */
static enum rc
check_last(struct request *r, const char *text)
{
	unsigned char theirs[EVENT_DIGEST_LEN], ours[EVENT_DIGEST_LEN];
	int64_t seq;
	enum rc rc;

	if (!parse_last(text, &seq, theirs))
		return err_set(&r->err, RC_INVALID, "invalid X-Log-Last");
	rc = events_digest(r->project->log, seq, ours, &r->err);
	if (rc == RC_NOT_FOUND || (rc == RC_OK && memcmp(ours, theirs, sizeof(ours)) != 0))
		return RC_LOG_CHANGED;
	return rc;
}

/*
 * What a stock client sends, nothing, is fine. The event decides where it is
 * given: a restored log that holds it is as good as the old one, and its new
 * id goes out with the answer. The id decides for who has no event yet.
 */
static enum rc
check_known(struct request *r)
{
	const char *id = request_header(r, ID);
	const char *last = request_header(r, LAST);
	unsigned char theirs[LOG_ID_LEN];

	if (id != NULL && !id_unhex(span_of(id), theirs, LOG_ID_LEN))
		return err_set(&r->err, RC_INVALID, "invalid X-Log-Id");
	if (last != NULL)
		return check_last(r, last);
	if (id != NULL && memcmp(theirs, r->head.log_id, LOG_ID_LEN) != 0)
		return RC_LOG_CHANGED;
	return RC_OK;
}

enum rc
sync_open(struct request *r)
{
	return projects_get(&r->server->projects, r->project_id, &r->project, &r->err);
}

bool
sync_claims(const struct request *r)
{
	return request_header(r, ID) != NULL || request_header(r, LAST) != NULL;
}

enum rc
sync_begin(struct request *r, bool hold)
{
	struct events *log;
	enum rc rc;

	if ((rc = sync_open(r)) != RC_OK)
		return rc;
	log = r->project->log;
	if (hold && (rc = events_hold(log, &r->err)) != RC_OK)
		return rc;
	if ((rc = events_head(log, &r->head, &r->err)) == RC_OK) {
		r->has_head = true;
		rc = check_known(r);
	}
	if (rc != RC_OK)
		events_let_go(log);
	return rc;
}
