/* td-sync-admin project verify: whether a project's files are what they should be. */
#include "cli/td-sync-admin.h"

#include "base/fs.h"
#include "engine/verify.h"
#include "http/snapshots.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WAIT_MS 10000

/* What a walk over the snapshots needs. */
struct checking {
	struct view *v;
	struct state_check state;
	bool wrong; /* something was, anywhere */
};

/* Begin the line of a check, to which its facts are added. */
static void
begin(struct checking *c, const char *check, const struct buf *wrong, struct buf *line)
{
	bool ok = wrong->len == 0;

	c->wrong = c->wrong || !ok;
	*line = (struct buf){ 0 };
	if (c->v->a->json) {
		out_begin(line);
		out_string(line, "check", check);
		out_raw(line, "ok", ok ? "true" : "false");
	} else {
		out_column(line, check, 8);
		out_column(line, ok ? "ok" : "WRONG", 5);
	}
}

/* A fact: a member, or a number between words. */
static void
add(const struct checking *c, const char *name, int64_t n, const char *before,
    const char *behind, struct buf *line)
{
	if (c->v->a->json)
		out_int(line, name, n);
	else
		buf_addf(line, "%s%" PRId64 "%s", before, n, behind);
}

static void
end(const struct checking *c, const struct buf *wrong, struct buf *line)
{
	struct buf why = { 0 };

	buf_add_span(&why, buf_span(wrong));
	if (why.len > 0 && c->v->a->json) {
		out_span(line, "wrong", buf_span(&why));
	} else if (why.len > 0 && buf_cstr(&why) != NULL) {
		buf_add_str(line, ": ");
		out_clean(line, why.p);
	}
	buf_free(&why);
	if (c->v->a->json)
		out_end(line);
	else
		out_line(line);
}

/* That a file can't be read is something wrong with it, and no end of the rest. */
static enum rc
unreadable(struct view *v, enum rc rc, struct buf *wrong)
{
	if (rc != RC_UNAVAILABLE)
		return rc;
	buf_reset(wrong);
	buf_add_str(wrong, v->a->err.text);
	return RC_OK;
}

/* --- the log --- */

static enum rc
check_log(struct checking *c)
{
	struct log_check log = { 0 };
	struct buf line;
	enum rc rc = unreadable(c->v, verify_log(c->v->log, &log, &c->v->a->err), &log.wrong);

	if (rc == RC_OK) {
		begin(c, "log", &log.wrong, &line);
		add(c, "event_count", log.events, "", " events", &line);
		add(c, "parked", log.parked, ", ", " of them parked", &line);
		add(c, "last_server_seq", log.last, ", the last is ", "", &line);
		end(c, &log.wrong, &line);
	}
	buf_free(&log.wrong);
	return rc;
}

/* --- the state --- */

/* Make an empty folder for the other state: it may be large. */
static enum rc
make_scratch(struct admin *a, char out[PATH_MAX])
{
	const char *base = getenv("TMPDIR");

	if (snprintf(out, PATH_MAX, "%s/td-sync-verify-XXXXXX",
	             base != NULL && base[0] != '\0' ? base : "/var/tmp") >= PATH_MAX ||
	    mkdtemp(out) == NULL)
		return err_set(&a->err, RC_UNAVAILABLE, "can't make a folder %s: %s", out,
		               strerror(errno));
	return RC_OK;
}

static enum rc
check_state(struct checking *c)
{
	struct state_check *s = &c->state;
	char scratch[PATH_MAX];
	struct buf line;
	enum rc rc = make_scratch(c->v->a, scratch);

	if (rc != RC_OK)
		return rc;
	rc = unreadable(c->v, verify_state(c->v->f, c->v->log, scratch, WAIT_MS, s,
	                                   &c->v->a->err), &s->wrong);
	fs_remove(AT_FDCWD, scratch);
	if (rc != RC_OK)
		return rc;
	begin(c, "state", &s->wrong, &line);
	add(c, "server_seq", s->seq, "at ", "", &line);
	add(c, "rows", s->rows, ", ", " rows", &line);
	add(c, "conflicts", s->conflicts, ", ", " conflicts", &line);
	add(c, "skipped", s->skipped, ", ", " skipped", &line);
	end(c, &s->wrong, &line);
	return RC_OK;
}

/* --- snapshots --- */

static enum rc
check_snapshot(void *ctx, int64_t seq, const char *path, const struct snapshot *what,
               const char *wrong)
{
	struct checking *c = ctx;
	struct buf why = { 0 }, line;
	enum rc rc = RC_OK;

	if (wrong != NULL)
		buf_add_str(&why, wrong);
	else
		rc = unreadable(c->v, snapshot_check(path, c->v->profile, what, &why,
		                                     &c->v->a->err), &why);
	if (why.len == 0 && seq == c->state.seq &&
	    memcmp(what->digest, c->state.digest, HASH_LEN) != 0)
		buf_add_str(&why, "its rows are not those of the state there");
	if (rc == RC_OK) {
		begin(c, "snapshot", &why, &line);
		add(c, "server_seq", seq, "at ", "", &line);
		end(c, &why, &line);
	}
	buf_free(&why);
	return rc;
}

static enum rc
check_snapshots(struct checking *c)
{
	struct events_head head;
	struct snapshot_key key = {
		.data = c->v->a->data, .project = c->v->id, .profile = c->v->profile,
		.log = c->v->log, .head = &head,
	};
	enum rc rc = events_head(c->v->log, &head, &c->v->a->err);

	return rc == RC_OK ? snapshots_each(&key, check_snapshot, c) : rc;
}

int
project_verify_run(struct admin *a)
{
	struct view v;
	struct checking c = { .v = &v };
	enum rc rc = admin_view(a, &v);

	if (rc == RC_OK)
		rc = check_log(&c);
	if (rc == RC_OK && v.f != NULL && (rc = check_state(&c)) == RC_OK)
		rc = check_snapshots(&c);
	buf_free(&c.state.wrong);
	admin_view_close(&v);
	if (rc != RC_OK)
		return admin_fail(a, rc);
	return c.wrong ? EXIT_WRONG : 0;
}
