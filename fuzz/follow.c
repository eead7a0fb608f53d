/*
 * A state that follows its log (engine/follow.h): the same events followed one
 * by one, by a handle that is now and then a new one, and all at once. The rows,
 * the conflicts, what was skipped and the events of each row must be the same,
 * and the sums what summing up all rows gives. Now and then the server answers
 * (engine/heal.h): that settles, each answer gets in, and a state that is made
 * anew has nothing more to say.
 */
#include "engine/heal.h"

#include "base/clock.h"
#include "engine/conflict.h"
#include "engine/digest.h"
#include "engine/sums.h"
#include "fuzz/events.h"
#include "fuzz/fuzz.h"
#include "tests/temp.h"

#include <inttypes.h>
#include <string.h>

static char dir[TEMP_PATH];
static struct err err;

static void
remove_dir(void)
{
	temp_remove(dir);
}

static void
must(enum rc rc)
{
	FUZZ_CHECK(rc == RC_OK, "%s: %s", rc_name(rc), err.text);
}

static struct follower *
new_follower(const char *log_dir)
{
	struct follower *f;

	must(follower_new(log_dir, &profile_td, &f, &err));
	return f;
}

static void
follow(struct follower *f, struct events *log)
{
	int64_t end = clock_mono_ms() + 60000;

	must(follower_run(f, log, &(struct follow_limits){ end, end, false }, &err));
}

static int64_t
head_of(struct events *log)
{
	struct events_head head;

	must(events_head(log, &head, &err));
	return head.seq;
}

/* Until nothing is left to say. */
static void
heal(struct follower *f, struct events *log)
{
	struct heal_rules rules = { true, INT64_C(1767312000000000) };
	bool more = true;

	while (more)
		must(heal_run(f, log, &rules, clock_mono_ms() + 60000, &more, &err));
}

static enum rc
check_answer(void *ctx, int64_t seq, const char *reason, const char *why, struct err *e)
{
	struct event ev;

	(void)e;
	must(events_glance(ctx, seq, &ev, &err));
	FUZZ_CHECK(!ev.by_server, "an answer did not get in: %s: %s", reason, why);
	events_got(ctx);
	return RC_OK;
}

/* What tells one state from another, as SQL that gives a text a row. */
static const char *const queries[] = {
	"SELECT seq || hex(digest) FROM tdsync_state",
	"SELECT type || ' ' || hex(id) || ' ' || seq || ' ' || what FROM tdsync_version",
	"SELECT seq || '-' || n || ' ' || kind || certain || ' ' || type || ' ' || hex(id) || ' '"
	" || kept_seq || ' ' || lost_seq || fields FROM tdsync_conflict ORDER BY seq, n",
	"SELECT seq || reason || why FROM tdsync_skipped",
	"SELECT type || ' ' || rows || hex(sum) FROM tdsync_sum WHERE seq = 0",
};

static void
describe(struct follower *f, struct buf *out)
{
	sqlite3_stmt *st = NULL;
	bool row;

	buf_reset(out);
	for (size_t i = 0; i < sizeof(queries) / sizeof(queries[0]); i++) {
		must(db_prepare(state_db(follower_state(f)), queries[i], &st, &err));
		while (db_step(st, &row, &err) == RC_OK && row) {
			buf_add_span(out, db_span(st, 0));
			buf_add_byte(out, '\n');
		}
		sqlite3_finalize(st);
	}
}

static enum rc
check_sum(void *ctx, int type, int64_t rows, const unsigned char sum[STATE_SUM],
          struct err *e)
{
	struct tables *all = follower_tables(ctx);
	struct sum now;

	(void)e;
	must(sums_scan(all, &all->list[type], &now, &err));
	FUZZ_CHECK(now.rows == rows && memcmp(now.sum, sum, STATE_SUM) == 0, "%s: %" PRId64
	           " rows, summed up %" PRId64, all->list[type].entity->table, rows, now.rows);
	return RC_OK;
}

/* Append an event as one of three devices of two people. */
static void
append(struct events *log, struct event *ev, uint32_t random)
{
	static const char *const devices[] = { "one", "two", "three" };
	struct buf scratch = { 0 };
	struct instant at;
	int64_t seq;
	enum rc rc;

	ev->device = span_of(devices[random % 3]);
	ev->user = span_of(devices[random % 3 / 2]);
	ev->session = span_of("s");
	if (!time_parse_rfc3339(ev->time, &at))
		return; /* no push lets it in */
	must(event_digest(ev, at, &scratch));
	buf_free(&scratch);
	must(events_begin(log, clock_mono_ms() + 60000, &err));
	rc = events_append(log, ev, &seq, &err);
	FUZZ_CHECK(rc == RC_OK || rc == RC_DUPLICATE, "%s", err.text);
	must(events_commit(log, &err));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct sequence s;
	struct span copy = fuzz_copy(data, size);
	uint32_t random = fuzz_seed(data, size);
	struct buf once = { 0 }, again = { 0 };
	char log_dir[TEMP_PATH + 8];
	struct follower *f;
	struct events *log;
	int64_t head;

	if (dir[0] == '\0') {
		temp_make(dir);
		atexit(remove_dir);
	}
	snprintf(log_dir, sizeof(log_dir), "%s/log", dir);
	sequence_read(&s, copy);
	must(events_create(log_dir, "td", &err));
	must(events_open(log_dir, &log, &err));
	f = new_follower(log_dir);
	for (size_t i = 0; i < s.n; i++) {
		uint32_t r = fuzz_next(&random);

		append(log, &s.ev[i], r);
		if (r / 8 % 16 == 0) {
			follower_free(f);
			f = new_follower(log_dir);
		}
		follow(f, log);
		if (r / 128 % 8 == 0)
			heal(f, log);
	}
	follow(f, log);
	heal(f, log);
	if (s.n > 0 && state_db(follower_state(f)) != NULL) {
		describe(f, &once);
		must(state_hold(follower_state(f), log, &err));
		must(state_walk_sums(follower_state(f), 0, check_sum, f, &err));
		must(state_walk_skipped(follower_state(f), check_answer, log, &err));
		state_let_go(follower_state(f));
		must(follower_rebuild(f, log, clock_mono_ms() + 60000, &err));
		describe(f, &again);
		FUZZ_CHECK(span_eq(buf_span(&once), buf_span(&again)), "%.*s\nis not\n%.*s",
		           FUZZ_SPAN(buf_span(&once)), FUZZ_SPAN(buf_span(&again)));
		head = head_of(log);
		heal(f, log);
		if (head_of(log) != head) {
			struct event ev;

			must(events_get(log, head + 1, &ev, &err));
			FUZZ_CHECK(false, "made anew, it says more: %s %.*s/%.*s %.*s",
			           action_name(ev.action), FUZZ_SPAN(ev.type), FUZZ_SPAN(ev.id),
			           FUZZ_SPAN(ev.payload));
		}
	}
	follower_free(f);
	events_close(log);
	temp_remove(log_dir);
	buf_free(&once);
	buf_free(&again);
	sequence_free(&s);
	free((char *)(uintptr_t)copy.p);
	return 0;
}
