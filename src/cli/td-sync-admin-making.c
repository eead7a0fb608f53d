/*
 * td-sync-admin import, import-go: a log that nobody sees before it is whole. It is
 * made in large transactions, in a folder of its own.
 */
#include "cli/td-sync-admin.h"

#include "base/fs.h"
#include "engine/digest.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* What the folder is called meanwhile: a name that no worker has. */
#define UNFINISHED ".import"

/* So much is committed at once: larger ones are no faster. */
#define COMMIT_BYTES (8 << 20)
#define EVENT_BYTES 200 /* of an event, beside its payload */

enum rc
making_lock(struct admin *a, struct lock **out)
{
	char path[PATH_MAX];
	enum rc rc;

	*out = NULL;
	if (snprintf(path, sizeof(path), "%s/import.lock", a->data) >= (int)sizeof(path))
		return err_set(&a->err, RC_INVALID, "the data folder's path is too long");
	rc = lock_open(path, out, &a->err);
	if (rc == RC_OK && (rc = lock_take(*out, clock_mono_ms() - 1)) != RC_OK)
		err_set(&a->err, rc, "another import is at work in %s: wait for its end", a->data);
	return rc;
}

static enum rc
begin(struct making *m)
{
	enum rc rc = events_begin(m->log, clock_mono_ms() + LOCK_WAIT_MS, &m->a->err);

	m->writing = rc == RC_OK;
	return rc;
}

static enum rc
commit(struct making *m)
{
	enum rc rc;

	m->writing = false;
	m->waiting = 0;
	rc = events_commit(m->log, &m->a->err);
	if (rc == RC_OK)
		events_maintain(m->log, true);
	return rc;
}

enum rc
making_begin(struct making *m, struct admin *a, const char *id, const char *profile)
{
	enum rc rc;

	*m = (struct making){ .a = a };
	snprintf(m->id, sizeof(m->id), "%s", id);
	if (snprintf(m->place, sizeof(m->place), "%s/projects/%s", a->data, id) >=
	    (int)sizeof(m->place) ||
	    snprintf(m->dir, sizeof(m->dir), "%s/projects/%s" UNFINISHED, a->data, id) >=
	    (int)sizeof(m->dir))
		return err_set(&a->err, RC_INVALID, "the data folder's path is too long");
	fs_remove(AT_FDCWD, m->dir);
	rc = events_create(m->dir, profile, &a->err);
	if (rc == RC_OK)
		rc = events_open(m->dir, &m->log, &a->err);
	return rc == RC_OK ? begin(m) : rc;
}

enum rc
making_add(struct making *m, struct event *ev)
{
	enum rc rc = RC_OK;

	if (!m->writing)
		rc = begin(m);
	if (rc == RC_OK)
		rc = events_append_at(m->log, ev, &m->a->err);
	if (rc == RC_DUPLICATE) {
		rc = event_digest_twin(ev);
		if (rc == RC_OK)
			rc = events_append_at(m->log, ev, &m->a->err);
		else
			err_set(&m->a->err, rc, "out of memory");
	}
	if (rc != RC_OK)
		return rc == RC_DUPLICATE ? err_set(&m->a->err, RC_INVALID, "event %" PRId64 " is there "
		                                    "twice", ev->seq) : rc;
	m->waiting += (int64_t)ev->payload.len + EVENT_BYTES;
	return m->waiting < COMMIT_BYTES ? RC_OK : commit(m);
}

enum rc
making_gap(struct making *m, const struct events_gap *g)
{
	enum rc rc = m->writing ? RC_OK : begin(m);

	return rc == RC_OK ? events_set_gap(m->log, g, &m->a->err) : rc;
}

enum rc
making_end(struct making *m, int64_t head, int64_t heal_from, int64_t moved_to)
{
	enum rc rc = m->writing ? RC_OK : begin(m);

	if (rc == RC_OK)
		events_raise(m->log, head);
	if (rc == RC_OK)
		rc = events_set_heal_from(m->log, heal_from, &m->a->err);
	if (rc == RC_OK && moved_to != 0)
		rc = events_set_moved_to(m->log, moved_to, &m->a->err);
	return rc == RC_OK ? commit(m) : rc;
}

enum rc
making_pass(struct admin *a, struct events *log)
{
	enum rc rc = events_begin(log, clock_mono_ms() + LOCK_WAIT_MS, &a->err);

	if (rc != RC_OK)
		return rc;
	if ((rc = events_pass(log, &a->err)) == RC_OK)
		return events_commit(log, &a->err);
	events_rollback(log);
	return rc;
}

enum rc
making_place(struct making *m)
{
	char projects[PATH_MAX];

	events_close(m->log);
	m->log = NULL;
	if (rename(m->dir, m->place) != 0)
		return err_set(&m->a->err, RC_UNAVAILABLE, "can't rename %s to %s: %s", m->dir, m->place,
		               strerror(errno));
	m->dir[0] = '\0';
	if (snprintf(projects, sizeof(projects), "%s/projects", m->a->data) >= (int)sizeof(projects))
		return RC_INVALID;
	return fs_sync(projects, &m->a->err);
}

void
making_drop(struct making *m)
{
	if (m->writing)
		events_rollback(m->log);
	events_close(m->log);
	if (m->dir[0] != '\0')
		fs_remove(AT_FDCWD, m->dir);
	*m = (struct making){ 0 };
}
