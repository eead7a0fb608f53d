#include "tape.h"

#include "base/fs.h"
#include "base/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct span
tape_member(struct span object, const char *name)
{
	struct span v = { 0 };

	json_get(object, name, &v);
	return v;
}

static enum rc tape_send(struct transport *base, const struct transport_request *rq,
                         struct transport_reply *reply, struct err *err);

/* Cut the text into its lines. */
static void
read_lines(struct tape *t)
{
	struct span rest, line;
	struct tape_line *l;
	struct err err;

	for (rest = buf_span(&t->text); rest.len > 0; t->n++) {
		if (json_scan(rest, JSON_MAX_DEPTH, &line, &rest, &err) != RC_OK)
			die("%s: %s", t->history, err.text);
		while (rest.len > 0 && *rest.p == '\n') {
			rest.p++;
			rest.len--;
		}
		t->lines = realloc(t->lines, (t->n + 1) * sizeof(*t->lines));
		if (t->lines == NULL)
			die("out of memory");
		l = &t->lines[t->n];
		*l = (struct tape_line){ .text = line, .device = tape_member(line, "device_id") };
		if (!json_int64(tape_member(line, "server_seq"), &l->seq) ||
		    !json_int64(tape_member(line, "client_action_id"), &l->number))
			die("%s: no event: %.*s", t->history, (int)line.len, line.p);
	}
}

void
tape_init(struct tape *t, struct run *run, const char *history, struct span text)
{
	*t = (struct tape){ .base.send = tape_send, .run = run, .history = history };
	buf_add_span(&t->text, text);
	read_lines(t);
}

void
tape_free(struct tape *t)
{
	free(t->lines);
	buf_free(&t->text);
}

/* The event that a device recorded under that number. */
static const struct tape_line *
find_line(const struct tape *t, struct span device, int64_t number)
{
	size_t i;

	for (i = 0; i < t->n; i++)
		if (t->lines[i].number == number && span_eq(t->lines[i].device, device))
			return &t->lines[i];
	return NULL;
}

/* Each pushed event has to be one that was recorded; it is acked as it was then. */
static void
take_push(struct tape *t, struct span body, struct transport_reply *reply)
{
	static const char *const names[] = { "action_type", "entity_type", "entity_id",
	    "payload", "client_timestamp" };
	struct span root, key, one;
	struct json_iter it;
	const struct tape_line *line;
	int64_t number = 0;
	const char *comma = "";
	size_t i;

	if (json_scan(body, JSON_MAX_DEPTH, &root, NULL, NULL) != RC_OK)
		die("a push that is no JSON");
	buf_add_str(&reply->body, "{\"acks\":[");
	for (json_iter_init(&it, tape_member(root, "events")); json_next(&it, &key, &one);) {
		json_int64(tape_member(one, "client_action_id"), &number);
		line = find_line(t, tape_member(root, "device_id"), number);
		if (line == NULL) {
			run_fail(t->run, "%s of %s pushes what it did not: %.*s", t->who,
			    t->history, (int)one.len, one.p);
			continue;
		}
		if (!json_equal(tape_member(root, "session_id"),
		    tape_member(line->text, "session_id")))
			run_fail(t->run, "%s of %s pushes in another session", t->who, t->history);
		for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
			if (!json_equal(tape_member(one, names[i]), tape_member(line->text, names[i])))
				run_fail(t->run, "%s of %s pushes another %s for %lld: %.*s",
				    t->who, t->history, names[i], (long long)line->seq,
				    (int)one.len, one.p);
		buf_addf(&reply->body, "%s{\"client_action_id\":%lld,\"server_seq\":%lld}", comma,
		    (long long)number, (long long)line->seq);
		comma = ",";
	}
	buf_add_str(&reply->body, "]}\n");
}

/* A page as the Go server has it. */
static void
give_page(struct tape *t, int64_t after, struct span but, struct transport_reply *reply)
{
	int64_t last = after;
	int events = 0;
	size_t i;

	buf_add_str(&reply->body, "{\"events\":[");
	for (i = 0; i < t->n && events < 1000; i++) {
		const struct tape_line *l = &t->lines[i];
		struct span device = { l->device.p + 1, l->device.len - 2 };

		if (l->seq <= after || l->seq > t->head || span_eq(device, but))
			continue;
		buf_add_str(&reply->body, events++ == 0 ? "" : ",");
		buf_add_span(&reply->body, l->text);
		last = l->seq;
	}
	buf_addf(&reply->body, "],\"last_server_seq\":%lld,\"has_more\":%s}\n", (long long)last,
	    events == 1000 ? "true" : "false");
}

static void
set_clock(struct tape *t, int64_t us)
{
	if (us > 0)
		t->run->wall.us = us;
}

static enum rc
tape_send(struct transport *base, const struct transport_request *rq,
          struct transport_reply *reply, struct err *err)
{
	struct tape *t = (struct tape *)base;
	const char *pull = strstr(rq->path, "pull?after_server_seq=");
	const char *but = strstr(rq->path, "exclude_client=");
	char name[80], path[PATH_LEN];

	reply->status = 200;
	if (strstr(rq->path, "/push") != NULL) {
		set_clock(t, t->push_us);
		take_push(t, rq->body, reply);
	} else if (pull != NULL) {
		set_clock(t, t->pull_us);
		give_page(t, strtoll(pull + 22, NULL, 10),
		    span_of(but == NULL ? NULL : but + 15), reply);
	} else if (strstr(rq->path, "/status") != NULL) {
		buf_addf(&reply->body, "{\"event_count\":%zu}\n", t->n);
	} else {
		snprintf(name, sizeof(name), "replay/%s/snapshot.db", t->history);
		reply->snapshot_seq = t->lines[t->n - 1].seq;
		return fs_read(run_fixture(name, path), SIZE_MAX / 2, &reply->body, err);
	}
	return RC_OK;
}
