/* Recorded histories as logs of ours. */
#ifndef TDSYNC_TESTS_RECORDED_H
#define TDSYNC_TESTS_RECORDED_H

#include "base/clock.h"
#include "engine/page.h"
#include "store/events.h"
#include "tests/fixture.h"

static const char *const recorded[] = { "autosync", "conflicts", "team", "versions",
                                        "large", "legacy", "legacy-backfill" };
#define RECORDED (int)(sizeof(recorded) / sizeof(*recorded))

/* A history of others' data may be missing. */
static inline bool
recorded_there(const char *history)
{
	char name[128], path[FIXTURE_PATH];

	snprintf(name, sizeof(name), "replay/%s/after/F.db", history);
	if (fixture_find(name, path))
		return true;
	printf("skipped: %s: no such recording here\n", history);
	return false;
}

/* Make a log of the first of these lines, at most `most`; each device is its own
 * user. */
static inline struct events *
recorded_lines(struct span rest, const char *profile, const char *dir, int64_t most)
{
	struct events *log = NULL;
	struct buf scratch = { 0 };
	struct span line;
	struct event ev;
	struct err err;
	int64_t seq;

	ck_assert_msg(events_create(dir, profile, &err) == RC_OK, "%s", err.text);
	ck_assert_msg(events_open(dir, &log, &err) == RC_OK, "%s", err.text);
	ck_assert_msg(events_begin(log, clock_mono_ms() + 3000, &err) == RC_OK, "%s", err.text);
	while (most-- > 0 && fixture_line(&rest, &line)) {
		ck_assert_msg(page_event(line, &ev, &scratch, &err) == RC_OK, "%s", err.text);
		ev.user = ev.device;
		ev.server_us = 1767225600000000 + ev.seq;
		ck_assert_msg(events_append(log, &ev, &seq, &err) == RC_OK, "%s", err.text);
		ck_assert_int_eq(seq, ev.seq);
	}
	ck_assert_msg(events_commit(log, &err) == RC_OK, "%s", err.text);
	buf_free(&scratch);
	return log;
}

/* Make a log of a history's first events. */
static inline struct events *
recorded_log(const char *history, const char *dir, int64_t most)
{
	struct buf text = { 0 };
	struct events *log;
	char path[128];

	snprintf(path, sizeof(path), "replay/%s/log.jsonl", history);
	fixture_read(path, &text);
	log = recorded_lines(buf_span(&text), "td", dir, most);
	buf_free(&text);
	return log;
}

#endif
