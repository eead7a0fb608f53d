#include "faults.h"

#include "proxy.h"
#include "run.h"
#include "transport_cgi.h"

#include "base/json.h"
#include "tests/mishap.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char *const names[FAULT__MAX] = {
	"none", "slow", "twice", "at-once", "too-large", "killed", "lost-request",
	"lost-answer", "busy", "limited", "gateway", "late", "html", "cut-request",
	"cut-answer", "length", "garbled", "hang"
};

const char *
fault_name(enum fault f)
{
	return names[f];
}

enum fault
fault_find(const char *name)
{
	enum fault f;

	for (f = FAULT_SLOW; f < FAULT__MAX; f++)
		if (strcmp(names[f], name) == 0)
			return f;
	return FAULT_NONE;
}

bool
fault_is_lossy(enum fault f)
{
	return f >= FAULT_LOST_REQUEST;
}

/* --- the record: a file that all processes of a run append to --- */

/* Before the bytes that were sent and those that came back. */
struct frame {
	uint32_t status, sent, answer, log;
	char device[40];
};

static void
record(struct run *run, const struct replica *r, struct span sent, int status,
       struct span answer)
{
	struct frame f = { (uint32_t)status, (uint32_t)sent.len, (uint32_t)answer.len,
	    (uint32_t)run->log, "" };
	struct buf b = { 0 };
	char path[PATH_LEN];
	int fd;

	snprintf(path, sizeof(path), "%s/wire", run->dir);
	snprintf(f.device, sizeof(f.device), "%s", r->device);
	buf_add(&b, &f, sizeof(f));
	buf_add_span(&b, sent);
	buf_add_span(&b, answer);
	fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (b.failed || fd < 0 || write(fd, b.p, b.len) != (ssize_t)b.len)
		die("%s: %s", path, strerror(errno));
	close(fd);
	buf_free(&b);
}

bool
faults_pushes(struct run *run, bool (*visit)(void *ctx, const struct exchange *x),
              void *ctx)
{
	struct buf all = { 0 };
	char path[PATH_LEN], chunk[65536];
	size_t at = 0;
	ssize_t n;
	bool ok = true;
	int fd;

	snprintf(path, sizeof(path), "%s/wire", run->dir);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	while (fd >= 0 && (n = read(fd, chunk, sizeof(chunk))) > 0)
		buf_add(&all, chunk, (size_t)n);
	if (fd >= 0)
		close(fd);
	while (ok && at < all.len) {
		struct frame f;
		struct exchange x;

		memcpy(&f, all.p + at, sizeof(f));
		at += sizeof(f);
		memcpy(x.device, f.device, sizeof(x.device));
		x.status = (int)f.status;
		x.log = (int)f.log;
		x.sent = (struct span){ all.p + at, f.sent };
		x.answer = (struct span){ all.p + at + f.sent, f.answer };
		at += f.sent + f.answer;
		ok = visit(ctx, &x);
	}
	buf_free(&all);
	return ok;
}

/* --- the transport --- */

struct faulty {
	struct transport base; /* first: a transport is a faulty */
	struct transport *inner;
	struct run *run;
	struct replica *r;
	struct faults *planned;
};

static bool
is_push(const struct transport_request *rq)
{
	return strstr(rq->path, "/sync/push") != NULL;
}

/* Send, and write down first what a push was: its sender may die before the
 * answer. The server's clock may be another than ours. */
static enum rc
send_noted(struct faulty *f, struct transport *by, const struct transport_request *rq,
           struct transport_reply *reply, struct err *err)
{
	enum rc rc;

	if (is_push(rq))
		record(f->run, f->r, rq->body, 0, (struct span){ 0 });
	mishap->clock_s = f->run->server.clock_s;
	rc = by->send(by, rq, reply, err);
	mishap->clock_s = 0;
	return rc;
}

/* The same where the answer is as the server gave it: that is noted, too. */
static enum rc
send_by(struct faulty *f, struct transport *by, const struct transport_request *rq,
        struct transport_reply *reply, struct err *err)
{
	enum rc rc = send_noted(f, by, rq, reply, err);

	if (is_push(rq) && rc == RC_OK)
		record(f->run, f->r, rq->body, reply->status, buf_span(&reply->body));
	return rc;
}

static enum rc
really_send(struct faulty *f, const struct transport_request *rq,
            struct transport_reply *reply, struct err *err)
{
	return send_by(f, f->inner, rq, reply, err);
}

/* The same, and whatever came of it is not seen, in no file either. */
static void
send_unseen(struct faulty *f, struct transport *by, const struct transport_request *rq)
{
	struct transport_file nowhere = { .fd = -1 };
	struct transport_request copy = *rq;
	struct transport_reply unseen = { 0 };
	struct err err;

	if (rq->file != NULL) {
		copy.file = &nowhere;
		if ((nowhere.fd = memfd_create("unseen", MFD_CLOEXEC)) < 0)
			die("memfd: %s", strerror(errno));
	}
	send_by(f, by, &copy, &unseen, &err);
	if (nowhere.fd >= 0)
		close(nowhere.fd);
	transport_reply_free(&unseen);
}

/* In a process of its own, over a connection of its own. */
static pid_t
send_apart(struct faulty *f, const struct transport_request *rq)
{
	pid_t pid;

	fflush(NULL);
	if ((pid = fork()) < 0)
		die("fork: %s", strerror(errno));
	if (pid == 0) {
		send_unseen(f, server_connect(&f->run->server,
		    (size_t)(f->r - f->run->replicas)), rq);
		_exit(0);
	}
	return pid;
}

static void
await(pid_t pid)
{
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
}

/*
 * Who serves it gets SIGKILL at one of its next writes to the server's files:
 * before COMMIT, after it, or (when it makes fewer) never. Without a server
 * of its own it is a process that has the engine do it.
 */
static enum rc
send_to_killed(struct faulty *f, const struct transport_request *rq,
               struct transport_reply *reply, struct err *err)
{
	/* A push has some 20 of them: its log, the access log, the devices. */
	int at = 1 + (int)rng_below(&f->run->faults.rng, 24);
	enum rc rc;

	mishap_plan(at, MISHAP_KILL, false, "/server/");
	if (f->run->server.kind == SERVER_DIRECT) {
		await(send_apart(f, rq));
		rc = err_set(err, RC_BUSY, "the server died");
	} else {
		rc = really_send(f, rq, reply, err);
	}
	mishap_none();
	return rc;
}

/* The same happens to the file that an answer went into. */
static enum rc
damage_file(struct faulty *f, enum fault fault, struct transport_file *file,
            struct err *err)
{
	int64_t at = file->have == 0 ? 0
	    : (int64_t)rng_below(&f->run->faults.rng, (uint64_t)file->have);
	char c = 0;

	if (fault == FAULT_GARBLED) {
		if (pread(file->fd, &c, 1, at) == 1) {
			c ^= (char)0x80;
			if (pwrite(file->fd, &c, 1, at) != 1)
				die("a file of a replica can't be written");
		}
		return RC_OK;
	}
	if (ftruncate(file->fd, at) != 0)
		die("a file of a replica can't be cut");
	file->have = at;
	return fault == FAULT_LENGTH ? RC_OK
	    : err_set(err, RC_BUSY, "%s", fault == FAULT_HANG ? "it timed out" :
	    "the answer ended in the middle");
}

/* The connection is damaged: really, where there is one. */
static enum rc
send_damaged(struct faulty *f, enum fault fault, const struct transport_request *rq,
             struct transport_reply *reply, struct err *err)
{
	struct server *s = &f->run->server;
	struct rng *rng = &f->run->faults.rng;
	struct transport *proxy;
	size_t at;
	enum rc rc;

	if (s->kind == SERVER_FASTCGI) {
		proxy = proxy_new(s->url, fault, rng_next(rng));
		rc = send_noted(f, proxy, rq, reply, err);
		proxy->free(proxy);
		return rc;
	}
	if (fault == FAULT_CUT_REQUEST) {
		if (s->kind == SERVER_CGI && rq->body.len > 0) {
			transport_cgi_cut(f->inner, rng_below(rng, rq->body.len));
			send_unseen(f, f->inner, rq);
		}
		return err_set(err, RC_BUSY, "the connection was reset");
	}
	if ((rc = really_send(f, rq, reply, err)) != RC_OK)
		return rc;
	if (rq->file != NULL && reply->status / 100 == 2)
		return damage_file(f, fault, rq->file, err);
	at = reply->body.len == 0 ? 0 : rng_below(rng, reply->body.len);
	if (fault == FAULT_GARBLED && at < reply->body.len)
		reply->body.p[at] ^= (char)0x80;
	else if (fault == FAULT_LENGTH)
		reply->body.len = at;
	if (fault == FAULT_GARBLED || fault == FAULT_LENGTH)
		return RC_OK;
	transport_reply_free(reply);
	return err_set(err, RC_BUSY, "%s", fault == FAULT_HANG ? "it timed out" :
	    "the answer ended in the middle");
}

/* An answer of something on the way. */
static enum rc
answer(struct transport_reply *reply, int status, const char *type, const char *body)
{
	reply->status = status;
	reply->retry_after_s = status == 429 || status == 503;
	snprintf(reply->content_type, sizeof(reply->content_type), "%s", type);
	buf_add_str(&reply->body, body);
	return RC_OK;
}

static enum fault
by_chance(struct faults *fs)
{
	enum fault f;

	for (f = FAULT_SLOW; f < FAULT__MAX; f++)
		if (fs->percent[f] != 0 && rng_chance(&fs->rng, fs->percent[f]))
			return f;
	return FAULT_NONE;
}

/* Whether a request is a push of several events. */
static bool
is_many(const struct transport_request *rq)
{
	static const char number[] = "\"client_action_id\"";
	const char *first = rq->body.len == 0 ? NULL :
	    memmem(rq->body.p, rq->body.len, number, sizeof(number) - 1);

	return first != NULL && memmem(first + 1, rq->body.len -
	    (size_t)(first + 1 - rq->body.p), number, sizeof(number) - 1) != NULL;
}

/* What happens to this request. */
static enum fault
choose(struct faulty *f, const struct transport_request *rq)
{
	struct faults *p = f->planned;
	enum fault fault;

	if (p != NULL && p->kind != FAULT_NONE && p->times != 0 &&
	    (p->where == NULL || strstr(rq->path, p->where) != NULL) &&
	    (p->kind != FAULT_TOO_LARGE || is_many(rq))) {
		if (p->times > 0)
			p->times--;
		p->struck++;
		return p->kind;
	}
	fault = by_chance(&f->run->faults);
	return fault == FAULT_TOO_LARGE && !is_many(rq) ? FAULT_NONE : fault;
}

static enum rc
send_with(struct faulty *f, enum fault fault, const struct transport_request *rq,
          struct transport_reply *reply, struct err *err)
{
	struct timespec delay = { 0, 3000000 };
	enum rc rc;
	pid_t pid;

	switch (fault) {
	case FAULT_SLOW:
		nanosleep(&delay, NULL);
		return really_send(f, rq, reply, err);
	case FAULT_TWICE:
		send_unseen(f, f->inner, rq);
		return really_send(f, rq, reply, err);
	case FAULT_AT_ONCE:
		pid = send_apart(f, rq);
		rc = really_send(f, rq, reply, err);
		await(pid);
		return rc;
	case FAULT_KILLED:
		return send_to_killed(f, rq, reply, err);
	case FAULT_LOST_REQUEST:
		return err_set(err, RC_BUSY, "the request was lost");
	case FAULT_LOST_ANSWER:
		send_unseen(f, f->inner, rq);
		return err_set(err, RC_BUSY, "the answer was lost");
	case FAULT_BUSY:
		return answer(reply, 503, "text/html", "<html>Service Unavailable</html>\n");
	case FAULT_LIMITED:
		return answer(reply, 429, "application/json",
		    "{\"error\":{\"code\":\"rate_limited\",\"message\":\"slow down\"}}\n");
	case FAULT_TOO_LARGE:
		return answer(reply, 413, "application/json",
		    "{\"error\":{\"code\":\"too_large\",\"message\":\"send less\"}}\n");
	case FAULT_GATEWAY:
		return answer(reply, 502, "text/html", "<html>Bad Gateway</html>\n");
	case FAULT_LATE:
		send_unseen(f, f->inner, rq);
		return answer(reply, 504, "text/html", "<html>Gateway Timeout</html>\n");
	case FAULT_HTML:
		return answer(reply, 200, "text/html", "<html>Welcome to our hotel!</html>\n");
	case FAULT_CUT_REQUEST:
	case FAULT_CUT_ANSWER:
	case FAULT_LENGTH:
	case FAULT_GARBLED:
	case FAULT_HANG:
		return send_damaged(f, fault, rq, reply, err);
	default:
		return really_send(f, rq, reply, err);
	}
}

/* For a trace with times: how many events a push or a page has. */
static int64_t
batch(const struct run *run, struct span body)
{
	struct span root, events, key, one;
	struct json_iter it;
	int64_t n = 0;

	if (run->trace.zero_us == 0 ||
	    json_scan(body, JSON_MAX_DEPTH, &root, NULL, NULL) != RC_OK ||
	    !json_get(root, "events", &events))
		return 0;
	for (json_iter_init(&it, events); json_next(&it, &key, &one);)
		n++;
	return n;
}

/* A snapshot of the past, as an older one that is kept would be. */
static void
ask_for_past(const struct faulty *f, struct transport_request *rq, char path[200])
{
	static const char newest[] = "/sync/snapshot";
	size_t n = strlen(rq->path);

	if (f->planned == NULL || f->planned->snapshot_at == 0 || n < sizeof(newest) - 1 ||
	    strcmp(rq->path + n - (sizeof(newest) - 1), newest) != 0)
		return;
	snprintf(path, 200, "%s?at_seq=%lld", rq->path, (long long)f->planned->snapshot_at);
	rq->path = path;
}

static enum rc
faulty_send(struct transport *t, const struct transport_request *asked,
            struct transport_reply *reply, struct err *err)
{
	struct faulty *f = (struct faulty *)t;
	struct transport_request copy = *asked, *rq = &copy;
	enum fault fault = choose(f, rq);
	int64_t began = trace_now(&f->run->trace);
	char path[200];
	enum rc rc;

	ask_for_past(f, rq, path);
	rc = send_with(f, fault, rq, reply, err);

	if (fault != FAULT_NONE && fault != FAULT_SLOW)
		f->run->faults.struck++;
	trace_line(&f->run->trace, "request", "s:replica", f->r->name, "s:method",
	    rq->method, "s:path", rq->path, "s:fault", fault_name(fault), "s:rc",
	    rc_name(rc), "i:status", (int64_t)reply->status, "i:sent",
	    (int64_t)rq->body.len, "i:got", (int64_t)reply->body.len, "t:began", began,
	    "t:batch", batch(f->run, is_push(rq) ? rq->body : buf_span(&reply->body)), NULL);
	return rc;
}

static void
faulty_free(struct transport *t)
{
	struct faulty *f = (struct faulty *)t;

	f->inner->free(f->inner);
	free(f);
}

struct transport *
faults_wrap(struct run *run, struct replica *r, struct faults *planned,
            struct transport *inner)
{
	struct faulty *f = calloc(1, sizeof(*f));

	if (f == NULL)
		die("out of memory");
	f->base.send = faulty_send;
	f->base.free = faulty_free;
	f->inner = inner;
	f->run = run;
	f->r = r;
	f->planned = planned;
	return &f->base;
}
