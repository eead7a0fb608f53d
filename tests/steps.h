/* Events of tests, in short. */
#ifndef TDSYNC_TESTS_STEPS_H
#define TDSYNC_TESTS_STEPS_H

#include "base/json.h"
#include "engine/digest.h"
#include "store/events.h"

#include <check.h>
#include <string.h>

/* Take the next word. */
static inline struct span
step_word(const char **text)
{
	struct span w = { *text, strcspn(*text, " ") };

	*text += w.len;
	*text += **text == ' ';
	return w;
}

/*
 * Append an event so many times, in one transaction: "DEVICE ACTION TYPE ID PAYLOAD";
 * a device is its user unless it is "USER/DEVICE". In the payload ' stands for ".
 * Each is made a second after the one before.
 */
static inline void
step_append_times(struct events *log, const char *text, int64_t times)
{
	struct buf payload = { 0 }, scratch = { 0 };
	struct event ev = { .session = span_of("s") };
	struct events_head head;
	const char *slash;
	char time[TIME_TEXT];
	struct instant at;
	struct err err;
	int64_t seq;

	ck_assert_int_eq(events_begin(log, clock_mono_ms() + 3000, &err), RC_OK);
	ck_assert_int_eq(events_head(log, &head, &err), RC_OK);
	ev.device = ev.user = step_word(&text);
	if ((slash = memchr(ev.device.p, '/', ev.device.len)) != NULL) {
		ev.user.len = (size_t)(slash - ev.device.p);
		ev.device = (struct span){ slash + 1, ev.device.len - ev.user.len - 1 };
	}
	ev.action = action_find(step_word(&text));
	ev.type = step_word(&text);
	ev.id = step_word(&text);
	buf_add_str(&payload, text);
	for (size_t i = 0; i < payload.len; i++)
		if (payload.p[i] == '\'')
			payload.p[i] = '"';
	ev.payload = buf_span(&payload);
	ck_assert_msg(json_scan(ev.payload, JSON_MAX_DEPTH, &ev.payload, NULL, &err) == RC_OK,
	              "%s: %s", text, err.text);
	for (int64_t i = 1; i <= times; i++) {
		ev.time = span_of(time_text(1767225600 + head.seq + i, time));
		ev.action_id = head.seq + i;
		ck_assert(time_parse_rfc3339(ev.time, &at));
		ck_assert_int_eq(event_digest(&ev, at, &scratch), RC_OK);
		ck_assert_int_eq(events_append(log, &ev, &seq, &err), RC_OK);
	}
	ck_assert_int_eq(events_commit(log, &err), RC_OK);
	buf_free(&payload);
	buf_free(&scratch);
}

static inline void
step_append(struct events *log, const char *text)
{
	step_append_times(log, text, 1);
}

#endif
