/* A log as people write it, see history.h. */
#include "bench/history.h"

#include "base/fs.h"
#include "base/json.h"
#include "engine/digest.h"
#include "engine/page.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RECORDING TOP_BUILDDIR "/tests/fixtures/replay/large/log.jsonl"
#define EVENTS 6301
#define ID_DIGITS 6 /* an id is "td-", "bip_" or the like and at least so many hex digits */
#define YEAR 2026
#define ACTIONS 100000 /* action ids of a time; a device's are fewer */

static struct event recorded[EVENTS];

static void
fail(const char *what)
{
	fprintf(stderr, "bench: " RECORDING ": %s\n", what);
	abort();
}

static struct span
keep(struct span s)
{
	return (struct span){ span_dup(s), s.len };
}

static void
read_recording(void)
{
	struct buf text = { 0 }, scratch = { 0 };
	struct span rest, line;
	struct err err;

	if (fs_read(RECORDING, 64 << 20, &text, &err) != RC_OK)
		fail(err.text);
	rest = buf_span(&text);
	for (size_t i = 0; i < EVENTS; i++) {
		struct event *ev = &recorded[i];

		if (json_scan(rest, JSON_MAX_DEPTH, &line, &rest, &err) != RC_OK ||
		    page_event(line, ev, &scratch, &err) != RC_OK)
			fail(err.text);
		ev->device = keep(ev->device);
		ev->session = keep(ev->session);
		ev->user = ev->device;
		ev->type = keep(ev->type);
		ev->id = keep(ev->id);
		ev->payload = keep(ev->payload);
		ev->time = keep(ev->time);
	}
	buf_free(&text);
	buf_free(&scratch);
}

static size_t
hex_digits(struct span s, size_t at)
{
	size_t n = 0;

	while (at + n < s.len && strchr("0123456789abcdef", s.p[at + n]) != NULL)
		n++;
	return n;
}

static bool
is_at(struct span s, size_t at, const char *text)
{
	size_t n = strlen(text);

	return at + n <= s.len && memcmp(s.p + at, text, n) == 0;
}

/* Append a text in which each id is another one, and it is so many years later. */
static void
play_again(struct span s, int64_t time, struct buf *out)
{
	for (size_t i = 0; i < s.len; i++) {
		bool mark = s.p[i] == '-' || (s.p[i] == '_' && (i < 3 || !is_at(s, i - 3, "ses")));
		size_t n = mark ? hex_digits(s, i + 1) : 0;

		if (is_at(s, i, "2026-")) {
			buf_addf(out, "%04lld", (long long)(YEAR + time));
			i += 3;
			continue;
		}
		buf_add_byte(out, s.p[i]);
		if (n < ID_DIGITS)
			continue;
		buf_add(out, s.p + i + 1, n);
		buf_addf(out, "%04llx", (unsigned long long)time);
		i += n;
	}
}

const struct event *
history_event(int64_t i)
{
	static struct buf id, payload, time, scratch;
	static struct event ev;
	struct instant at;

	if (recorded[0].id.p == NULL)
		read_recording();
	ev = recorded[i % EVENTS];
	buf_reset(&id);
	buf_reset(&payload);
	buf_reset(&time);
	play_again(ev.id, i / EVENTS, &id);
	play_again(ev.payload, i / EVENTS, &payload);
	play_again(ev.time, i / EVENTS, &time);
	ev.id = buf_span(&id);
	ev.payload = buf_span(&payload);
	ev.time = buf_span(&time);
	ev.action_id += i / EVENTS * ACTIONS;
	ev.server_us = 1790000000000000 + i * 1000;
	if (!time_parse_rfc3339(ev.time, &at) || event_digest(&ev, at, &scratch) != RC_OK)
		fail("no digest");
	return &ev;
}

enum rc
history_append(struct events *log, int64_t first, int64_t n, struct err *err)
{
	int64_t end = first + n, seq;
	enum rc rc = RC_OK;

	while (first < end && rc == RC_OK) {
		rc = events_begin(log, clock_mono_ms() + 10000, err);
		for (int i = 0; i < 1000 && first < end && rc == RC_OK; i++)
			rc = events_append(log, history_event(first++), &seq, err);
		if (rc == RC_OK)
			rc = events_commit(log, err);
		events_maintain(log, true);
	}
	return rc;
}
