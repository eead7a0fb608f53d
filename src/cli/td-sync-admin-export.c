/*
 * td-sync-admin export: a project as JSON lines, so that nobody is locked in. The first
 * line says what it is; then comes an event a line, in order, as a pull has it, with who
 * and when. It is what stood in the log when it began: a log is only added to.
 */
#include "cli/td-sync-admin.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BATCH_BYTES (4 << 20) /* are read at one moment, then written */

struct exporting {
	struct admin *a;
	struct project p;
	struct events *log;
	struct events_head head;
	struct buf members, gaps; /* of the header */
	struct buf out;
	int64_t last;        /* event that is in `out`, or was written */
	FILE *to;
};

static enum rc
no_memory(struct exporting *x)
{
	return err_set(&x->a->err, RC_FAULT, "out of memory");
}

static enum rc
flush(struct exporting *x, const char *name)
{
	if (x->out.failed)
		return no_memory(x);
	if (fwrite(x->out.p, 1, x->out.len, x->to) != x->out.len)
		return err_set(&x->a->err, RC_UNAVAILABLE, "can't write %s: %s", name, strerror(errno));
	buf_reset(&x->out);
	return RC_OK;
}

/* --- the header --- */

static void
add_text(struct buf *b, const char *name, const char *value)
{
	buf_addf(b, ",\"%s\":", name);
	buf_add_json(b, span_of(value));
}

static void
add_number(struct buf *b, const char *name, int64_t n)
{
	buf_addf(b, ",\"%s\":", name);
	buf_add_int(b, n);
}

static void
add_time(struct buf *b, const char *name, int64_t sec)
{
	char text[TIME_TEXT];

	add_text(b, name, time_text(sec, text));
}

static enum rc
add_member(void *ctx, const struct member *m)
{
	struct exporting *x = ctx;
	struct buf *b = &x->members;

	buf_add_str(b, b->len > 0 ? ",{\"user_id\":" : "{\"user_id\":");
	buf_add_json(b, span_of(m->user_id));
	add_text(b, "email", m->email);
	add_text(b, "role", role_name(m->role));
	add_time(b, "created_at", m->created_at);
	buf_add_byte(b, '}');
	return RC_OK;
}

static enum rc
add_gap(void *ctx, const struct events_gap *g)
{
	struct buf *b = ctx;

	if (b->len > 0)
		buf_add_byte(b, ',');
	buf_addf(b, "{\"after_seq\":%" PRId64 ",\"until_seq\":%" PRId64 "}", g->after, g->until);
	return RC_OK;
}

static enum rc
add_header(struct exporting *x)
{
	struct buf *b = &x->out;
	char log_id[2 * LOG_ID_LEN + 1];
	int64_t heal_from = 0, moved_to = 0;
	enum rc rc = member_list(x->a->accounts, x->p.id, add_member, x, &x->a->err);

	if (rc == RC_OK)
		rc = events_head(x->log, &x->head, &x->a->err);
	if (rc == RC_OK)
		rc = events_heal_from(x->log, &heal_from, &x->a->err);
	if (rc == RC_OK)
		rc = events_moved_to(x->log, &moved_to, &x->a->err);
	if (rc == RC_OK)
		rc = events_each_gap(x->log, add_gap, &x->gaps, &x->a->err);
	if (rc != RC_OK)
		return rc;
	id_hex(x->head.log_id, LOG_ID_LEN, log_id);
	buf_addf(b, "{\"format\":\"" EXPORT_FORMAT "\",\"version\":%d", EXPORT_VERSION);
	add_text(b, "project_id", x->p.id);
	add_text(b, "name", x->p.name);
	add_text(b, "description", x->p.description);
	add_text(b, "slug", x->p.slug);
	add_time(b, "created_at", x->p.created_at);
	add_time(b, "updated_at", x->p.updated_at);
	add_text(b, "profile", events_profile(x->log));
	add_text(b, "log_id", log_id);
	add_number(b, "last_server_seq", x->head.seq);
	add_number(b, "event_count", x->head.count);
	add_number(b, "heal_from_seq", heal_from);
	add_number(b, "moved_to_seq", moved_to);
	buf_add_str(b, ",\"gaps\":[");
	buf_add_span(b, buf_span(&x->gaps));
	buf_add_str(b, "],\"members\":[");
	buf_add_span(b, buf_span(&x->members));
	buf_add_str(b, "]}\n");
	return x->members.failed || x->gaps.failed ? no_memory(x) : RC_OK;
}

/* --- the events --- */

/* The bytes as they are stored: where they hold an end of a line, as text. */
static void
add_payload(struct buf *b, struct span payload)
{
	bool lines = memchr(payload.p, '\n', payload.len) != NULL ||
	             memchr(payload.p, '\r', payload.len) != NULL;

	buf_add_str(b, ",\"payload\":");
	if (!lines) {
		buf_add_span(b, payload);
		return;
	}
	buf_add_str(b, "null,\"payload_text\":");
	buf_add_json(b, payload);
}

static void
add_span(struct buf *b, const char *name, struct span value)
{
	buf_addf(b, ",\"%s\":", name);
	buf_add_json(b, value);
}

static enum rc
add_event(void *ctx, const struct event *ev, bool *stop)
{
	struct exporting *x = ctx;
	struct buf *b = &x->out;

	buf_add_str(b, "{\"server_seq\":");
	buf_add_int(b, ev->seq);
	add_span(b, "device_id", ev->device);
	add_span(b, "session_id", ev->session);
	add_number(b, "client_action_id", ev->action_id);
	add_text(b, "action_type", action_name(ev->action));
	add_span(b, "entity_type", ev->type);
	add_span(b, "entity_id", ev->id);
	add_payload(b, ev->payload);
	add_span(b, "client_timestamp", ev->time);
	add_span(b, "user_id", ev->user);
	buf_add_str(b, ",\"server_timestamp\":\"");
	time_add_rfc3339(b, time_of_us(ev->server_us));
	buf_add_str(b, "\"");
	if (ev->by_server)
		buf_add_str(b, ",\"by_server\":true");
	if (ev->parked)
		buf_add_str(b, ",\"parked\":true");
	buf_add_str(b, "}\n");
	x->last = ev->seq;
	*stop = b->len >= BATCH_BYTES;
	return b->failed ? no_memory(x) : RC_OK;
}

/* A restore in between puts another log there: then what was written is of none. */
static enum rc
check_log(struct exporting *x, const struct events_head *now)
{
	return memcmp(now->log_id, x->head.log_id, LOG_ID_LEN) == 0 ? RC_OK
	    : err_set(&x->a->err, RC_UNAVAILABLE, "the project was restored meanwhile: export it anew");
}

static enum rc
write_all(struct exporting *x, const char *name)
{
	struct events_head now;
	bool more = true;
	enum rc rc = add_header(x);

	while (rc == RC_OK && more) {
		rc = events_walk(x->log, x->last, x->head.seq, true, &now, add_event, x, &x->a->err);
		if (rc == RC_OK)
			rc = check_log(x, &now);
		more = x->out.len >= BATCH_BYTES;
		if (rc == RC_OK)
			rc = flush(x, name);
	}
	if (rc == RC_OK && fflush(x->to) != 0)
		rc = err_set(&x->a->err, RC_UNAVAILABLE, "can't write %s: %s", name, strerror(errno));
	return rc;
}

/* To what is no file of its own, as a FIFO, a device, or a link to one. */
static enum rc
write_through(struct exporting *x, const char *name)
{
	enum rc rc;

	if ((x->to = fopen(name, "we")) == NULL)
		return err_set(&x->a->err, RC_UNAVAILABLE, "can't open %s: %s", name, strerror(errno));
	rc = write_all(x, name);
	if (fclose(x->to) != 0 && rc == RC_OK)
		rc = err_set(&x->a->err, RC_UNAVAILABLE, "can't write %s: %s", name, strerror(errno));
	return rc;
}

/* Never half a file under its name. */
static enum rc
write_file(struct exporting *x, const char *name)
{
	char part[PATH_MAX];
	struct stat st;
	enum rc rc;

	if (lstat(name, &st) == 0 && !S_ISREG(st.st_mode))
		return write_through(x, name);
	if (snprintf(part, sizeof(part), "%s.part", name) >= (int)sizeof(part))
		return err_set(&x->a->err, RC_INVALID, "the path %s is too long", name);
	if ((x->to = fopen(part, "we")) == NULL)
		return err_set(&x->a->err, RC_UNAVAILABLE, "can't make %s: %s", part, strerror(errno));
	rc = write_all(x, name);
	if (rc == RC_OK && fsync(fileno(x->to)) != 0)
		rc = err_set(&x->a->err, RC_UNAVAILABLE, "can't write %s: %s", part, strerror(errno));
	if (fclose(x->to) != 0 && rc == RC_OK)
		rc = err_set(&x->a->err, RC_UNAVAILABLE, "can't write %s: %s", part, strerror(errno));
	if (rc == RC_OK && rename(part, name) != 0)
		rc = err_set(&x->a->err, RC_UNAVAILABLE, "can't rename %s to %s: %s", part, name,
		             strerror(errno));
	if (rc != RC_OK)
		unlink(part);
	return rc;
}

int
export_run(struct admin *a)
{
	const char *name = a->args[1] != NULL ? a->args[1] : "-";
	struct exporting x = { .a = a, .to = stdout };
	char dir[PATH_MAX];
	enum rc rc = admin_project(a, a->args[0], &x.p);

	if (rc == RC_OK && snprintf(dir, sizeof(dir), "%s/projects/%s", a->data, x.p.id) >=
	                   (int)sizeof(dir))
		rc = err_set(&a->err, RC_INVALID, "the data folder's path is too long");
	if (rc == RC_OK && (rc = events_open(dir, &x.log, &a->err)) == RC_NOT_FOUND)
		rc = err_set(&a->err, RC_UNAVAILABLE, "%s: the project's log is missing: put it back "
		             "from a backup", dir);
	if (rc == RC_OK)
		rc = strcmp(name, "-") == 0 ? write_all(&x, "stdout") : write_file(&x, name);
	events_close(x.log);
	buf_free(&x.members);
	buf_free(&x.gaps);
	buf_free(&x.out);
	return rc == RC_OK ? 0 : admin_fail(a, rc);
}
