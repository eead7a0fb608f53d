#include "sync.h"

#include "check.h"
#include "stock.h"

#include "store/events.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define SETTLED 2 /* syncs of each device after the last push: then all is said */

static const char *const calls[] = { "link", "push", "pull", "sync", "status",
    "put-back" };

bool
sync_find(const char *name, enum call *c)
{
	for (*c = CALL_LINK; *c <= CALL_PUT_BACK; (*c)++)
		if (strcmp(calls[*c], name) == 0)
			return true;
	return false;
}

/* What the step hook needs. */
struct steps {
	const struct plan *p;
	struct outcome *out;
};

static bool
on_step(void *ctx, const char *name)
{
	struct steps *s = ctx;

	s->out->steps++;
	snprintf(s->out->step, sizeof(s->out->step), "%s", name);
	if (s->p->die_at == s->out->steps)
		raise(SIGKILL);
	if (s->p->hook != NULL && (strcmp(s->p->at_step, "*") == 0 ||
	    strcmp(s->p->at_step, name) == 0))
		s->p->hook(s->p->ctx, name);
	return true;
}

static void
note_conflict(void *ctx, const struct tdsync_conflict *c)
{
	if (!c->restored)
		snprintf(ctx, ID_MAX, "%s", c->id);
}

/* Restore the last conflict that isn't; where there is none, only sync. */
static enum tdsync_rc
put_back(struct tdsync *t, struct outcome *out)
{
	char id[ID_MAX] = "";
	enum tdsync_rc rc = tdsync_each_conflict(t, note_conflict, id);

	if (rc != TDSYNC_OK)
		return rc;
	return id[0] != '\0' ? tdsync_restore(t, id, &out->result)
	    : tdsync_sync(t, &out->result);
}

/* The call itself, in this process. */
static enum tdsync_rc
perform(struct run *run, struct replica *r, enum call c, struct plan *p,
        struct outcome *out)
{
	size_t place = (size_t)(r - run->replicas);
	struct tdsync_options options = {
		.dir = r->dir,
		.url = "http://harness.invalid",
		.token = run->server.tokens[place % SERVER_TOKENS],
		.device_id = r->device,
		.retries = p->retries > 0 ? p->retries : -1,
		.snapshot_threshold = r->threshold,
	};
	struct tdsync_status status;
	struct steps steps = { p, out };
	struct tdsync *t;
	enum tdsync_rc rc;

	if (options.token == NULL)
		options.token = "none";
	rc = tdsync_open(&options, &t, out->error, sizeof(out->error));
	if (rc != TDSYNC_OK)
		return rc;
	p->faults.snapshot_at = p->snapshot_at;
	tdsync_use_transport(t, faults_wrap(run, r, &p->faults,
	    server_connect(&run->server, place)));
	tdsync_skew_clock(t, r->skew_s);
	if (!r->linked || c == CALL_LINK) {
		rc = tdsync_link(t, run->server.project);
		r->linked = rc == TDSYNC_OK;
	}
	tdsync_on_step(t, on_step, &steps);
	if (rc == TDSYNC_OK && c == CALL_PUSH)
		rc = tdsync_push(t, &out->result);
	else if (rc == TDSYNC_OK && c == CALL_PULL)
		rc = tdsync_pull(t, &out->result);
	else if (rc == TDSYNC_OK && c == CALL_SYNC)
		rc = tdsync_sync(t, &out->result);
	else if (rc == TDSYNC_OK && c == CALL_PUT_BACK)
		rc = put_back(t, out);
	if (rc == TDSYNC_OK && c == CALL_STATUS &&
	    (rc = tdsync_get_status(t, false, &status)) == TDSYNC_OK) {
		out->pending = status.pending;
		out->cursor = status.cursor;
		out->rejected = status.rejected;
	}
	if (rc != TDSYNC_OK)
		snprintf(out->error, sizeof(out->error), "%s", tdsync_error(t));
	tdsync_close(t);
	return rc;
}

/* The same where a stock td alone works. */
static void
perform_stock(struct run *run, struct replica *r, enum call c, struct plan *p,
              struct outcome *out)
{
	if (r->one_shot)
		replica_new_device(r);
	if (c == CALL_LINK || c == CALL_STATUS)
		out->pending = replica_pending(r);
	else
		stock_call(run, r, c == CALL_PUSH ? STOCK_PUSH : c == CALL_PULL ? STOCK_PULL :
		    STOCK_SYNC, p, out);
}

/* Either in a process of its own; *fd is where its outcome comes from. */
static pid_t
perform_apart(struct run *run, struct replica *r, enum call c, struct plan *p, int *fd)
{
	struct outcome out = { 0 };
	int ends[2];
	pid_t pid;

	fflush(NULL);
	if (pipe(ends) != 0 || (pid = fork()) < 0)
		die("fork: %s", strerror(errno));
	if (pid == 0) {
		close(ends[0]);
		if (r->stock)
			perform_stock(run, r, c, p, &out);
		else
			out.rc = perform(run, r, c, p, &out);
		out.ended = trace_now(&run->trace);
		if (write(ends[1], &out, sizeof(out)) != (ssize_t)sizeof(out))
			_exit(3);
		_exit(0);
	}
	r->rng = rng_split(&r->rng); /* what the other makes up is its own */
	close(ends[1]);
	*fd = ends[0];
	return pid;
}

static void
await(pid_t pid, int fd, struct outcome *out)
{
	ssize_t n = read(fd, out, sizeof(*out));
	int status;

	close(fd);
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			die("waitpid: %s", strerror(errno));
	if (n == (ssize_t)sizeof(*out) && WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return;
	memset(out, 0, sizeof(*out));
	out->died = true;
	out->rc = TDSYNC_FAULT;
	if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
		snprintf(out->error, sizeof(out->error), "ended with status %d", status);
}

static void
tell(struct run *run, const struct replica *r, enum call c, int64_t began,
     const struct outcome *o)
{
	trace_line(&run->trace, "call", "s:replica", r->name, "s:call", calls[c],
	    "s:outcome", o->died ? "died" : tdsync_rc_name(o->rc), "i:pushed",
	    o->result.pushed, "i:duplicates", o->result.duplicates, "i:rejected",
	    o->result.rejected, "i:pulled", o->result.pulled, "i:applied",
	    o->result.applied, "i:skipped", o->result.skipped, "i:rows", o->result.rows,
	    "i:server_seq", o->result.server_seq, "i:steps", (int64_t)o->steps, "s:step",
	    o->step, "s:error", o->error, "t:began", began, "t:ended",
	    o->ended > 0 ? o->ended : trace_now(&run->trace), NULL);
	if (run->tell_states) {
		sqlite3 *db = sql_open(r->db, false);

		check_tell_state(run, r->name, db, db);
		sql_close(db);
	}
}

void
sync_call(struct run *run, struct replica *r, enum call c, struct plan *p,
          struct outcome *out)
{
	int64_t began = trace_now(&run->trace);
	int fd;
	pid_t pid;

	memset(out, 0, sizeof(*out));
	if (r->stock) {
		perform_stock(run, r, c, p, out);
		return;
	}
	run->depth++;
	if (p->die_at > 0) {
		pid = perform_apart(run, r, c, p, &fd);
		await(pid, fd, out);
		if (out->died && out->error[0] != '\0')
			run_fail(run, "%s: %s did not die of us: %s", r->name, calls[c],
			    out->error);
	} else {
		out->rc = perform(run, r, c, p, out);
	}
	run->depth--;
	if (c != CALL_STATUS)
		tell(run, r, c, began, out);
}

bool
sync_crowd(struct run *run)
{
	struct plan p[RUN_REPLICAS] = { 0 };
	struct outcome out;
	int64_t began = trace_now(&run->trace);
	pid_t pids[RUN_REPLICAS];
	int fds[RUN_REPLICAS];
	size_t i;

	for (i = 0; i < run->n; i++)
		pids[i] = perform_apart(run, &run->replicas[i], CALL_SYNC, &p[i], &fds[i]);
	for (i = 0; i < run->n; i++) {
		await(pids[i], fds[i], &out);
		if (!run->replicas[i].stock)
			tell(run, &run->replicas[i], CALL_SYNC, began, &out);
		if (out.died || out.rc != TDSYNC_OK)
			run_fail(run, "%s: sync in a crowd: %s %s",
			    run->replicas[i].name, tdsync_rc_name(out.rc), out.error);
	}
	return run_ok(run);
}

bool
sync_quiet(struct run *run)
{
	struct faults ambient = run->faults;
	struct outcome out = { 0 };
	bool still = false;
	int syncs[RUN_REPLICAS] = { 0 }; /* of each since the last push */
	int round;
	size_t i;

	memset(&run->faults, 0, sizeof(run->faults));
	run->settled = 0;
	for (round = 0; round < 5 && !still && run_ok(run); round++) {
		still = true;
		for (i = 0; i < run->n && run_ok(run); i++) {
			struct plan p = { 0 };

			sync_call(run, &run->replicas[i], CALL_SYNC, &p, &out);
			if (out.rc != TDSYNC_OK) {
				run_fail(run, "%s: sync without faults: %s: %s%s",
				    run->replicas[i].name, tdsync_rc_name(out.rc),
				    out.wedged ? "wedged: " : "", out.error);
				break;
			}
			syncs[i]++;
			if (out.result.pushed > 0) {
				memset(syncs, 0, sizeof(syncs));
				run->settled = 0;
			} else if (out.result.pulled > 0 && syncs[i] > run->settled) {
				run->settled = syncs[i];
			}
			/* Its own events come back: that is no news. */
			if (out.result.pushed + out.result.duplicates + out.result.pulled > 0 ||
			    replica_pending(&run->replicas[i]) > 0)
				still = false;
		}
	}
	run->faults = ambient;
	run->rounds = round;
	if (run_ok(run) && !still)
		return run_fail(run, "not quiet after %d rounds", round);
	if (run_ok(run) && run->settled > SETTLED)
		return run_fail(run, "settled after %d syncs of a device", run->settled);
	return run_ok(run);
}

/* The last event that a pull gives; 0: none. */
static int64_t
last_event(struct run *run)
{
	struct events *log;
	struct events_head head;
	struct err err;
	char dir[700];

	if (events_open(server_log(&run->server, dir), &log, &err) != RC_OK ||
	    events_head(log, &head, &err) != RC_OK)
		die("%s", err.text);
	events_close(log);
	return head.visible;
}

bool
sync_join(struct run *run)
{
	struct faults ambient = run->faults;
	int64_t last = last_event(run);
	struct outcome out;
	int i;

	if (last == 0)
		return true;
	memset(&run->faults, 0, sizeof(run->faults));
	for (i = 0; i < 2 && run_ok(run); i++) {
		struct replica *r = run_add(run, 38);
		struct plan p = { 0 };

		r->threshold = i == 0 ? 1 : -1;
		if (i == 0)
			p.snapshot_at = 1 + (int64_t)rng_below(&run->rng, (uint64_t)last);
		sync_call(run, r, CALL_SYNC, &p, &out);
		if (out.rc != TDSYNC_OK)
			run_fail(run, "%s: joins: %s: %s", r->name, tdsync_rc_name(out.rc), out.error);
		else if (out.result.snapshot_seq != p.snapshot_at)
			run_fail(run, "%s: began with a snapshot of %lld, not of %lld", r->name,
			    (long long)out.result.snapshot_seq, (long long)p.snapshot_at);
	}
	run->faults = ambient;
	return run_ok(run);
}
