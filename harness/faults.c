#include "faults.h"

#include "run.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char *const names[FAULT__MAX] = {
	"none", "slow", "lost-request", "lost-answer", "twice", "busy"
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

/* --- the record: a file that all processes of a run append to --- */

/* Before the bytes that were sent and those that came back. */
struct frame {
	uint32_t status, sent, answer, unused;
	char device[40];
};

static void
record(struct run *run, const struct replica *r, struct span sent, int status,
       struct span answer)
{
	struct frame f = { (uint32_t)status, (uint32_t)sent.len, (uint32_t)answer.len, 0,
	    "" };
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

/* Send for real, and write down what a push was and what it got. What was
 * sent is written first: its sender may die before the answer. */
static enum rc
really_send(struct faulty *f, const struct transport_request *rq,
            struct transport_reply *reply, struct err *err)
{
	bool push = strstr(rq->path, "/sync/push") != NULL;
	enum rc rc;

	if (push)
		record(f->run, f->r, rq->body, 0, (struct span){ 0 });
	rc = f->inner->send(f->inner, rq, reply, err);
	if (push && rc == RC_OK)
		record(f->run, f->r, rq->body, reply->status, buf_span(&reply->body));
	return rc;
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

/* What happens to this request. */
static enum fault
choose(struct faulty *f, const char *path)
{
	struct faults *p = f->planned;

	if (p != NULL && p->kind != FAULT_NONE && p->times != 0 &&
	    (p->where == NULL || strstr(path, p->where) != NULL)) {
		if (p->times > 0)
			p->times--;
		p->struck++;
		return p->kind;
	}
	return by_chance(&f->run->faults);
}

static enum rc
faulty_send(struct transport *t, const struct transport_request *rq,
            struct transport_reply *reply, struct err *err)
{
	struct faulty *f = (struct faulty *)t;
	enum fault fault = choose(f, rq->path);
	struct transport_reply unseen = { 0 };
	struct timespec delay = { 0, 3000000 };
	enum rc rc;

	switch (fault) {
	case FAULT_SLOW:
		nanosleep(&delay, NULL);
		rc = really_send(f, rq, reply, err);
		break;
	case FAULT_LOST_REQUEST:
		rc = err_set(err, RC_BUSY, "the request was lost");
		break;
	case FAULT_LOST_ANSWER:
		really_send(f, rq, &unseen, err);
		transport_reply_free(&unseen);
		rc = err_set(err, RC_BUSY, "the answer was lost");
		break;
	case FAULT_TWICE:
		really_send(f, rq, &unseen, err);
		transport_reply_free(&unseen);
		rc = really_send(f, rq, reply, err);
		break;
	case FAULT_BUSY:
		reply->status = 503;
		reply->retry_after_s = 1;
		snprintf(reply->content_type, sizeof(reply->content_type), "text/html");
		buf_add_str(&reply->body, "<html>Service Unavailable</html>\n");
		rc = RC_OK;
		break;
	default:
		rc = really_send(f, rq, reply, err);
		break;
	}
	if (fault != FAULT_NONE && fault != FAULT_SLOW)
		f->run->faults.struck++;
	trace_line(&f->run->trace, "request", "s:replica", f->r->name, "s:method",
	    rq->method, "s:path", rq->path, "s:fault", fault_name(fault), "s:rc",
	    rc_name(rc), "i:status", (int64_t)reply->status, "i:sent",
	    (int64_t)rq->body.len, "i:got", (int64_t)reply->body.len, NULL);
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
