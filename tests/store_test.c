/* The log and the devices, as files on a disk. */
#include "base/clock.h"
#include "base/fs.h"
#include "base/id.h"
#include "base/lock.h"
#include "store/db.h"
#include "store/devices.h"
#include "store/events.h"
#include "store/trial.h"
#include "tests/read_only.h"
#include "tests/temp.h"

#include <check.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

static char dir[TEMP_PATH];
static char log_dir[TEMP_PATH + 8];
static struct err err;

static void
setup(void)
{
	temp_make(dir);
	snprintf(log_dir, sizeof(log_dir), "%s/log", dir);
}

static void
teardown(void)
{
	temp_remove(dir);
}

static struct events *
new_log(void)
{
	struct events *e;

	ck_assert_msg(events_create(log_dir, "td", &err) == RC_OK, "%s", err.text);
	ck_assert_msg(events_open(log_dir, &e, &err) == RC_OK, "%s", err.text);
	return e;
}

/* An event that differs from others by its number and digest. */
static struct event
event(int64_t action_id, unsigned char digest)
{
	struct event ev = {
		.device = span_of("device-1"),
		.session = span_of("ses_1"),
		.user = span_of("u_1"),
		.action_id = action_id,
		.action = ACTION_CREATE,
		.type = span_of("issues"),
		.id = span_of("td-000001"),
		.payload = span_of("{\"new_data\":{}}"),
		.time = span_of("2026-03-01T10:00:00Z"),
		.server_us = 1000 + action_id,
	};

	memset(ev.digest, digest, sizeof(ev.digest));
	return ev;
}

static int64_t deadline(void)
{
	return clock_mono_ms() + LOCK_WAIT_MS;
}

/* Append one event in a transaction of its own; its outcome and seq. */
static enum rc
append(struct events *e, struct event ev, int64_t *seq)
{
	enum rc rc;

	ck_assert_int_eq(events_begin(e, deadline(), &err), RC_OK);
	rc = events_append(e, &ev, seq, &err);
	ck_assert_msg(events_commit(e, &err) == RC_OK, "%s", err.text);
	return rc;
}

static struct events_head
head(struct events *e)
{
	struct events_head h;

	ck_assert_msg(events_head(e, &h, &err) == RC_OK, "%s", err.text);
	return h;
}

/* --- the log --- */

START_TEST(a_new_log_is_empty_and_has_an_identity)
{
	struct events *e = new_log(), *other;
	struct events_head h = head(e), h2;
	static const unsigned char zero[LOG_ID_LEN];
	char other_dir[TEMP_PATH + 8];

	ck_assert_int_eq(h.seq, 0);
	ck_assert_int_eq(h.count, 0);
	ck_assert_int_eq(h.time_us, 0);
	ck_assert(memcmp(h.log_id, zero, LOG_ID_LEN) != 0);
	ck_assert_str_eq(events_profile(e), "td");
	events_close(e);

	snprintf(other_dir, sizeof(other_dir), "%s/two", dir);
	ck_assert_int_eq(events_create(other_dir, "td", &err), RC_OK);
	ck_assert_int_eq(events_open(other_dir, &other, &err), RC_OK);
	h2 = head(other);
	ck_assert(memcmp(h.log_id, h2.log_id, LOG_ID_LEN) != 0);
	events_close(other);
}
END_TEST

START_TEST(a_log_is_not_made_twice)
{
	struct events *e = new_log();
	int64_t seq;

	append(e, event(1, 1), &seq);
	events_close(e);
	ck_assert_int_eq(events_create(log_dir, "td", &err), RC_CONFLICT);
	ck_assert_int_eq(events_open(log_dir, &e, &err), RC_OK);
	ck_assert_int_eq(head(e).count, 1);
	events_close(e);
}
END_TEST

START_TEST(no_log_is_not_found_and_nothing_is_made)
{
	struct events *e;
	struct fs_id id;
	char path[TEMP_PATH + 32];

	ck_assert_int_eq(events_open(log_dir, &e, &err), RC_NOT_FOUND);
	ck_assert_ptr_null(e);
	snprintf(path, sizeof(path), "%s/events.db", log_dir);
	ck_assert(!fs_identify(path, &id));
}
END_TEST

START_TEST(what_is_no_log_is_refused_and_left_alone)
{
	static const struct { const char *why, *content; } files[] = {
		{ "empty", "" },
		{ "text", "this is not a database, but it is long enough to look at: "
		  "one hundred bytes and some more, so that SQLite reads a header" },
	};
	char path[TEMP_PATH + 32];
	struct events *e;

	ck_assert_int_eq(fs_mkdir(log_dir, &err), RC_OK);
	snprintf(path, sizeof(path), "%s/events.db", log_dir);
	for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++) {
		ck_assert_int_eq(fs_write(path, span_of(files[i].content), 0600, &err), RC_OK);
		ck_assert_msg(events_open(log_dir, &e, &err) != RC_OK, "%s", files[i].why);
		ck_assert_ptr_null(e);
		/* an operator must hear which file it is */
		ck_assert_msg(strstr(err.text, path) != NULL, "%s: %s", files[i].why, err.text);
	}
}
END_TEST

START_TEST(a_newer_format_is_refused_with_advice)
{
	struct events *e = new_log();
	char path[TEMP_PATH + 32];
	sqlite3 *db;

	events_close(e);
	snprintf(path, sizeof(path), "%s/events.db", log_dir);
	ck_assert_int_eq(db_open(path, DB_SERVER, &db, &err), RC_OK);
	ck_assert_int_eq(db_exec(db, "UPDATE meta SET value = 99 WHERE key = 'format'", &err), RC_OK);
	sqlite3_close(db);
	ck_assert_int_eq(events_open(log_dir, &e, &err), RC_UNAVAILABLE);
	ck_assert_ptr_nonnull(strstr(err.text, "format 99"));
}
END_TEST

START_TEST(events_get_places_from_1_without_gaps)
{
	struct events *e = new_log();
	int64_t seq;

	for (int i = 1; i <= 5; i++) {
		ck_assert_int_eq(append(e, event(i, 1), &seq), RC_OK);
		ck_assert_int_eq(seq, i);
		/* A duplicate burns no number. */
		ck_assert_int_eq(append(e, event(i, 1), &seq), RC_DUPLICATE);
		ck_assert_int_eq(seq, i);
	}
	ck_assert_int_eq(head(e).seq, 5);
	ck_assert_int_eq(head(e).count, 5);
	ck_assert_int_eq(head(e).time_us, 1005);
	events_close(e);
}
END_TEST

START_TEST(a_reused_number_with_other_content_is_a_new_event)
{
	struct events *e = new_log();
	struct event ev = event(7, 2);
	int64_t seq;

	append(e, event(7, 1), &seq);
	ck_assert_int_eq(append(e, ev, &seq), RC_OK);
	ck_assert_int_eq(seq, 2);
	/* Who sends it doesn't count: the digest says what happened. */
	ev.device = span_of("device-2");
	ev.session = span_of("ses_9");
	ck_assert_int_eq(append(e, ev, &seq), RC_DUPLICATE);
	ck_assert_int_eq(seq, 2);
	events_close(e);
}
END_TEST

START_TEST(what_is_rolled_back_was_never_there)
{
	struct events *e = new_log();
	struct event ev = event(1, 1);
	int64_t seq;

	ck_assert_int_eq(events_begin(e, deadline(), &err), RC_OK);
	ck_assert_int_eq(events_append(e, &ev, &seq, &err), RC_OK);
	events_rollback(e);
	ck_assert_int_eq(head(e).seq, 0);
	ck_assert_int_eq(append(e, event(2, 1), &seq), RC_OK);
	ck_assert_int_eq(seq, 1);
	events_close(e);
}
END_TEST

/* A copy of what a walk saw. */
struct seen {
	int64_t seqs[16];
	size_t n, stop_at;
	char text[256];
};

static enum rc
see(void *ctx, const struct event *ev, bool *stop)
{
	struct seen *s = ctx;

	s->seqs[s->n++] = ev->seq;
	snprintf(s->text, sizeof(s->text), "%.*s|%.*s|%.*s|%" PRId64 "|%s|%.*s|%.*s|%.*s|%.*s|%d|%d",
	         (int)ev->device.len, ev->device.p, (int)ev->session.len, ev->session.p,
	         (int)ev->user.len, ev->user.p, ev->action_id, action_name(ev->action),
	         (int)ev->type.len, ev->type.p, (int)ev->id.len, ev->id.p,
	         (int)ev->time.len, ev->time.p, (int)ev->payload.len, ev->payload.p,
	         ev->by_server, ev->parked);
	*stop = s->n == s->stop_at;
	return RC_OK;
}

START_TEST(an_event_is_read_as_it_was_written)
{
	struct events *e = new_log();
	struct event ev = event(-3, 1);
	struct seen s = { 0 };
	int64_t seq;

	ev.action = ACTION_SOFT_DELETE;
	ev.by_server = true;
	ev.payload = span_of("{ \"a\" : 1.0 }");
	append(e, ev, &seq);
	ck_assert_int_eq(events_walk(e, 0, INT64_MAX, false, NULL, see, &s, &err), RC_OK);
	ck_assert_str_eq(s.text, "device-1|ses_1|u_1|-3|soft_delete|issues|td-000001|"
	                         "2026-03-01T10:00:00Z|{ \"a\" : 1.0 }|1|0");
	events_close(e);
}
END_TEST

/* A payload that events_walk() is to find as it was. */
static enum rc
compare_payload(void *ctx, const struct event *ev, bool *stop)
{
	ck_assert(span_eq(ev->payload, *(struct span *)ctx));
	*stop = true;
	return RC_OK;
}

/* From a mebibyte on it is written another way (events.c). */
START_TEST(a_payload_is_kept_whatever_its_size)
{
	static const size_t sizes[] = { 0, 4096, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 5 << 20 };
	struct events *e = new_log();
	char *text = malloc(5 << 20);
	int64_t seq, again, large;

	ck_assert_ptr_nonnull(text);
	for (size_t b = 0; b < 5 << 20; b++)
		text[b] = (char)(b % 251 + 1);
	for (int i = 0; i < 6; i++) {
		struct event ev = event(i + 1, 1);

		ev.payload = (struct span){ text, sizes[i] };
		ck_assert_int_eq(append(e, ev, &seq), RC_OK);
		ck_assert_int_eq(append(e, ev, &again), RC_DUPLICATE);
		ck_assert_int_eq(again, seq);
		ck_assert_int_eq(events_walk(e, seq - 1, seq, false, NULL, compare_payload,
		                             &ev.payload, &err), RC_OK);
		ck_assert_int_eq(events_large_next(e, seq - 1, &large, &err), RC_OK);
		ck_assert_int_eq(large, sizes[i] < 1 << 20 ? 0 : (int64_t)sizes[i]);
		ck_assert_int_eq(events_large_next(e, seq, &large, &err), RC_OK);
		ck_assert_int_eq(large, 0);
	}
	free(text);
	events_close(e);
}
END_TEST

START_TEST(a_walk_keeps_its_bounds_and_leaves_out_parked_events)
{
	struct events *e = new_log();
	struct events_head h;
	struct seen s = { 0 };
	int64_t seq;

	for (int i = 1; i <= 6; i++) {
		struct event ev = event(i, 1);

		ev.parked = i == 3 || i == 6;
		append(e, ev, &seq);
	}
	ck_assert_int_eq(head(e).visible, 5);
	ck_assert_int_eq(events_walk(e, 1, 4, false, &h, see, &s, &err), RC_OK);
	ck_assert_uint_eq(s.n, 2);
	ck_assert_int_eq(s.seqs[0], 2);
	ck_assert_int_eq(s.seqs[1], 4);
	ck_assert_int_eq(h.seq, 6);

	s = (struct seen){ 0 };
	ck_assert_int_eq(events_walk(e, 1, 6, true, NULL, see, &s, &err), RC_OK);
	ck_assert_uint_eq(s.n, 5);

	s = (struct seen){ .stop_at = 2 };
	ck_assert_int_eq(events_walk(e, 0, INT64_MAX, false, NULL, see, &s, &err), RC_OK);
	ck_assert_uint_eq(s.n, 2);

	s = (struct seen){ 0 };
	ck_assert_int_eq(events_walk(e, 5, INT64_MAX, false, NULL, see, &s, &err), RC_OK);
	ck_assert_uint_eq(s.n, 0);
	events_close(e);
}
END_TEST

START_TEST(the_digest_at_a_seq_is_told)
{
	struct events *e = new_log();
	unsigned char d[EVENT_DIGEST_LEN], want[EVENT_DIGEST_LEN];
	int64_t seq;

	append(e, event(1, 0xab), &seq);
	memset(want, 0xab, sizeof(want));
	ck_assert_int_eq(events_digest(e, 1, d, &err), RC_OK);
	ck_assert_mem_eq(d, want, sizeof(want));
	ck_assert_int_eq(events_digest(e, 2, d, &err), RC_NOT_FOUND);
	events_close(e);
}
END_TEST

START_TEST(a_second_writer_waits_and_then_is_busy)
{
	struct events *a = new_log(), *b;
	int64_t seq, before;

	ck_assert_int_eq(events_open(log_dir, &b, &err), RC_OK);
	ck_assert_int_eq(events_begin(a, deadline(), &err), RC_OK);
	before = clock_mono_ms();
	ck_assert_int_eq(events_begin(b, before + 100, &err), RC_BUSY);
	ck_assert_int_ge(clock_mono_ms() - before, 100);
	events_rollback(a);
	ck_assert_int_eq(append(b, event(1, 1), &seq), RC_OK);
	events_close(a);
	events_close(b);
}
END_TEST

START_TEST(readers_see_only_what_is_committed)
{
	struct events *a = new_log(), *b;
	struct event ev = event(1, 1);
	int64_t seq;

	ck_assert_int_eq(events_open(log_dir, &b, &err), RC_OK);
	ck_assert_int_eq(events_begin(a, deadline(), &err), RC_OK);
	ck_assert_int_eq(events_append(a, &ev, &seq, &err), RC_OK);
	ck_assert_int_eq(head(b).seq, 0);
	ck_assert_int_eq(events_commit(a, &err), RC_OK);
	ck_assert_int_eq(head(b).seq, 1);
	events_close(a);
	events_close(b);
}
END_TEST

START_TEST(a_log_that_is_held_stays_as_it_is)
{
	struct events *e = new_log(), *other;
	struct seen s = { 0 };
	struct events_head h;
	int64_t seq;

	append(e, event(1, 1), &seq);
	ck_assert_int_eq(events_open(log_dir, &other, &err), RC_OK);
	ck_assert_int_eq(events_hold(e, &err), RC_OK);
	ck_assert_int_eq(head(e).seq, 1);
	append(other, event(2, 2), &seq);
	ck_assert_int_eq(events_walk(e, 0, INT64_MAX, false, &h, see, &s, &err), RC_OK);
	ck_assert_uint_eq(s.n, 1);
	ck_assert_int_eq(h.seq, 1);
	ck_assert_int_eq(head(e).seq, 1);
	events_let_go(e);
	events_let_go(e);
	ck_assert_int_eq(head(e).seq, 2);
	ck_assert_mem_eq(events_log_id(e), h.log_id, LOG_ID_LEN);
	append(e, event(3, 3), &seq);
	ck_assert_int_eq(seq, 3);
	events_close(other);
	events_close(e);
}
END_TEST

START_TEST(a_replaced_or_deleted_log_makes_the_handle_stale)
{
	struct events *e = new_log();
	char moved[TEMP_PATH + 16];

	ck_assert(!events_stale(e));
	snprintf(moved, sizeof(moved), "%s/moved", dir);
	ck_assert_int_eq(rename(log_dir, moved), 0);
	ck_assert(events_stale(e));
	ck_assert_int_eq(events_create(log_dir, "td", &err), RC_OK);
	ck_assert(events_stale(e));
	events_close(e);
}
END_TEST

/* Else what is appended, and acked, would be in a file that is no more. */
START_TEST(a_log_replaced_while_its_lock_is_waited_for_is_not_written)
{
	struct events *e = new_log(), *now;
	char path[TEMP_PATH + 32], moved[TEMP_PATH + 32];
	int64_t seq;

	snprintf(path, sizeof(path), "%s/" EVENTS_DB, log_dir);
	snprintf(moved, sizeof(moved), "%s/moved", log_dir);
	ck_assert(!events_stale(e)); /* looked at by the caller, in time */
	ck_assert_int_eq(rename(path, moved), 0);
	ck_assert_int_eq(events_begin(e, deadline(), &err), RC_BUSY);
	ck_assert_int_eq(events_create(log_dir, "td", &err), RC_OK);
	ck_assert_int_eq(events_begin(e, deadline(), &err), RC_BUSY);
	/* The lock is free again. */
	ck_assert_int_eq(events_open(log_dir, &now, &err), RC_OK);
	ck_assert_int_eq(append(now, event(1, 1), &seq), RC_OK);
	events_close(now);
	events_close(e);
}
END_TEST

/* A copy of the log's files, put in their place. */
static void
put_back(const char *from, const char *to)
{
	char command[4 * TEMP_PATH];

	snprintf(command, sizeof(command), "rm -f '%s'/events.db* && cp '%s'/events.db* '%s'/",
	         to, from, to);
	ck_assert_int_eq(system(command), 0);
}

START_TEST(an_older_copy_or_another_log_is_not_taken_for_the_log)
{
	char old[TEMP_PATH + 16], other[TEMP_PATH + 16], lock[TEMP_PATH + 32];
	struct events *e = new_log();
	int64_t seq;

	snprintf(old, sizeof(old), "%s/old", dir);
	snprintf(other, sizeof(other), "%s/other", dir);
	snprintf(lock, sizeof(lock), "%s/" EVENTS_LOCK, log_dir);
	ck_assert_int_eq(mkdir(old, 0700), 0);
	ck_assert_int_eq(events_create(other, "td", &err), RC_OK);
	append(e, event(1, 1), &seq);
	put_back(log_dir, old);
	append(e, event(2, 2), &seq);
	events_close(e);

	ck_assert_int_eq(events_open(log_dir, &e, &err), RC_OK);
	put_back(other, log_dir); /* while it is open */
	ck_assert_int_eq(events_begin(e, deadline(), &err), RC_BUSY);
	events_close(e);
	ck_assert_int_eq(events_open(log_dir, &e, &err), RC_UNAVAILABLE);
	put_back(old, log_dir);
	ck_assert_int_eq(events_open(log_dir, &e, &err), RC_UNAVAILABLE);
	ck_assert_ptr_nonnull(strstr(err.text, "it ends at 1, that one at 2"));
	ck_assert_int_eq(unlink(lock), 0); /* on purpose */
	ck_assert_int_eq(events_open(log_dir, &e, &err), RC_OK);
	append(e, event(3, 3), &seq);
	ck_assert_int_eq(seq, 2);
	events_close(e);
}
END_TEST

/* The same file, written over by somebody without the lock. */
START_TEST(a_log_that_was_set_back_in_place_is_not_written)
{
	struct events *e = new_log();
	char path[TEMP_PATH + 32];
	sqlite3 *db;
	int64_t seq;

	append(e, event(1, 1), &seq);
	append(e, event(2, 2), &seq);
	snprintf(path, sizeof(path), "%s/" EVENTS_DB, log_dir);
	ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
	ck_assert_int_eq(sqlite3_exec(db, "DELETE FROM event WHERE seq = 2; UPDATE head SET seq = 1",
	                              NULL, NULL, NULL), SQLITE_OK);
	ck_assert_int_eq(events_begin(e, deadline(), &err), RC_UNAVAILABLE);
	ck_assert_int_eq(sqlite3_exec(db, "UPDATE head SET seq = 2", NULL, NULL, NULL), SQLITE_OK);
	append(e, event(3, 3), &seq);
	ck_assert_int_eq(seq, 3);
	sqlite3_close(db);
	events_close(e);
}
END_TEST

START_TEST(a_log_ends_at_the_greatest_number)
{
	struct events *e = new_log();
	struct event ev = event(1, 1);
	int64_t seq;

	ck_assert_int_eq(events_begin(e, deadline(), &err), RC_OK);
	events_raise(e, EVENTS_SEQ_MAX - 1);
	ev.seq = EVENTS_SEQ_MAX + 1;
	ck_assert_int_eq(events_append_at(e, &ev, &err), RC_UNAVAILABLE);
	ck_assert_int_eq(events_append(e, &ev, &seq, &err), RC_OK);
	ck_assert_int_eq(seq, EVENTS_SEQ_MAX);
	ck_assert_int_eq(events_commit(e, &err), RC_OK);
	ck_assert_int_eq(append(e, event(2, 2), &seq), RC_UNAVAILABLE);
	ck_assert_int_eq(head(e).seq, EVENTS_SEQ_MAX);
	ck_assert_int_eq(head(e).count, 1);
	events_close(e);
}
END_TEST

/* What a restore passes over: to the greatest number that the log here, its lock file or
 * a device tells of, but to none that only a damaged file can tell of. */
START_TEST(a_restore_leaves_numbers_to_give_whatever_it_is_told)
{
	static const struct {
		int64_t least, was, noted, want; /* want 0: the time */
	} rows[] = {
		{ 0, 1, 1, 0 },
		{ EVENTS_SEQ_TAKEN, 1, 1, EVENTS_SEQ_TAKEN },
		{ EVENTS_SEQ_TAKEN + 1, 1, 1, 0 },
		{ INT64_MAX, 1, 1, 0 },
		{ 0, EVENTS_SEQ_TAKEN, 1, EVENTS_SEQ_TAKEN },
		{ 0, EVENTS_SEQ_TAKEN + 1, 1, 0 },
		{ 0, 1, EVENTS_SEQ_TAKEN, EVENTS_SEQ_TAKEN },
		{ 0, 1, EVENTS_SEQ_TAKEN + 1, 0 },
		{ EVENTS_SEQ_TAKEN - 1, EVENTS_SEQ_TAKEN - 2, INT64_MAX, EVENTS_SEQ_TAKEN - 1 },
	};
	char copy[TEMP_PATH + 32], lock[TEMP_PATH + 32], text[80], id[2 * LOG_ID_LEN + 1];
	struct events_head was, now;
	struct buf aside = { 0 };
	struct events_gap gap;
	struct events *e;
	int64_t seq, start;

	snprintf(copy, sizeof(copy), "%s/copy.db", dir);
	snprintf(lock, sizeof(lock), "%s/" EVENTS_LOCK, log_dir);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		e = new_log();
		append(e, event(1, 1), &seq);
		unlink(copy);
		ck_assert_int_eq(events_copy(e, copy, &err), RC_OK);
		ck_assert_int_eq(events_begin(e, deadline(), &err), RC_OK);
		events_raise(e, rows[i].was);
		ck_assert_int_eq(events_commit(e, &err), RC_OK);
		id_hex(head(e).log_id, LOG_ID_LEN, id);
		events_close(e);
		snprintf(text, sizeof(text), "log %s ends at %19" PRId64 "\n", id, rows[i].noted);
		ck_assert_int_eq(fs_write(lock, span_of(text), 0600, &err), RC_OK);
		start = clock_now_us();
		ck_assert_msg(events_restore(log_dir, copy, rows[i].least, deadline(), &was, &now,
		                             &aside, &err) == RC_OK, "%s", err.text);
		if (rows[i].want != 0)
			ck_assert_int_eq(now.seq, rows[i].want);
		else
			ck_assert(now.seq >= start && now.seq <= clock_now_us());
		ck_assert_int_eq(events_open(log_dir, &e, &err), RC_OK);
		ck_assert_int_eq(events_gap(e, INT64_MAX, &gap, &err), RC_OK);
		ck_assert_int_eq(gap.after, 1);
		ck_assert_int_eq(gap.until, now.seq);
		ck_assert_int_eq(append(e, event(2, 2), &seq), RC_OK);
		ck_assert_int_eq(seq, now.seq + 1);
		events_close(e);
		temp_remove(log_dir);
	}
	buf_free(&aside);
}
END_TEST

static enum rc
add_gap(void *ctx, const struct events_gap *g)
{
	buf_addf(ctx, "%d-%d ", (int)g->after, (int)g->until);
	return ((struct buf *)ctx)->len > 20 ? RC_FAULT : RC_OK;
}

START_TEST(a_log_knows_what_numbers_were_passed_over)
{
	struct events *e = new_log();
	struct events_gap gap;
	struct buf text = { 0 };
	int64_t seq, start = clock_now_us();

	ck_assert_int_eq(events_each_gap(e, add_gap, &text, &err), RC_OK);
	ck_assert_uint_eq(text.len, 0);
	append(e, event(1, 1), &seq);
	ck_assert_int_eq(events_begin(e, deadline(), &err), RC_OK);
	ck_assert_int_eq(events_set_gap(e, &(struct events_gap){ 1, 9 }, &err), RC_OK);
	ck_assert_int_eq(events_set_gap(e, &(struct events_gap){ 10, 200 }, &err), RC_OK);
	ck_assert_int_eq(events_set_gap(e, &(struct events_gap){ 20, 30 }, &err), RC_OK);
	ck_assert_int_eq(events_commit(e, &err), RC_OK);
	ck_assert_int_eq(head(e).seq, 200);
	ck_assert_int_eq(head(e).count, 1);
	ck_assert_int_eq(events_each_gap(e, add_gap, &text, &err), RC_OK);
	ck_assert_str_eq(buf_cstr(&text), "1-9 10-200 20-30 ");
	ck_assert_int_eq(events_each_gap(e, add_gap, &text, &err), RC_FAULT);

	/* Up to the time; one that the clock is behind of passes over nothing. */
	ck_assert_int_eq(events_begin(e, deadline(), &err), RC_OK);
	ck_assert_int_eq(events_pass(e, &err), RC_OK);
	ck_assert_int_eq(events_commit(e, &err), RC_OK);
	ck_assert_int_ge(head(e).seq, start);
	ck_assert_int_eq(events_gap(e, INT64_MAX, &gap, &err), RC_OK);
	ck_assert_int_eq(gap.after, 200);
	ck_assert_int_eq(gap.until, head(e).seq);
	ck_assert_int_eq(append(e, event(2, 2), &seq), RC_OK);
	ck_assert_int_eq(seq, gap.until + 1);
	ck_assert_int_eq(events_begin(e, deadline(), &err), RC_OK);
	events_raise(e, EVENTS_SEQ_TAKEN);
	ck_assert_int_eq(events_pass(e, &err), RC_OK);
	ck_assert_int_eq(events_commit(e, &err), RC_OK);
	ck_assert_int_eq(head(e).seq, EVENTS_SEQ_TAKEN);
	buf_free(&text);
	events_close(e);
}
END_TEST

/* An event of one of many authors. */
static struct event
event_of(const char *device, int64_t action_id)
{
	struct event ev = event(action_id, 1);

	ev.device = span_of(device);
	return ev;
}

static enum rc
list_devices(void *ctx, const struct event *ev, bool *stop)
{
	(void)stop;
	buf_addf(ctx, "%.*s ", (int)ev->device.len, ev->device.p);
	return RC_OK;
}

/* A handle knows who wrote last: that is of no use where that is gone since. */
START_TEST(events_keep_their_authors_whoever_writes_in_between)
{
	static const char anew[] = "DELETE FROM event; DELETE FROM author; UPDATE head SET"
	    " seq = 0, count = 0, log_id = randomblob(16);"
	    "INSERT INTO author(device, session, user) VALUES ('new', 's', 'u')";
	struct events *e = new_log(), *other;
	char path[TEMP_PATH + 32];
	struct buf devices = { 0 };
	struct event ev;
	sqlite3 *db;
	int64_t seq;

	ck_assert_int_eq(events_open(log_dir, &other, &err), RC_OK);
	for (int64_t i = 1; i <= 3; i++) {
		append(e, event_of("a", i), &seq);
		append(e, event_of(i == 2 ? "a" : "b", i + 10), &seq);
		append(other, event_of("b", i + 20), &seq);
	}
	/* One that is made in a transaction that comes to nothing. */
	ev = event_of("c", 30);
	ck_assert_int_eq(events_begin(e, deadline(), &err), RC_OK);
	ck_assert_int_eq(events_append(e, &ev, &seq, &err), RC_OK);
	events_rollback(e);
	append(other, event_of("d", 31), &seq);
	append(e, ev, &seq);
	/* Another log in the same file, as a restore leaves it. */
	append(e, event_of("a", 40), &seq);
	ck_assert_int_eq(events_walk(e, 0, INT64_MAX, true, NULL, list_devices, &devices, &err),
	                 RC_OK);
	ck_assert_str_eq(buf_cstr(&devices), "a b b a a b a b b d c a ");
	snprintf(path, sizeof(path), "%s/" EVENTS_DB, log_dir);
	ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
	ck_assert_int_eq(sqlite3_exec(db, anew, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
	snprintf(path, sizeof(path), "%s/" EVENTS_LOCK, log_dir);
	ck_assert_int_eq(truncate(path, 0), 0);
	append(e, event_of("a", 41), &seq);
	buf_reset(&devices);
	ck_assert_int_eq(events_walk(e, 0, INT64_MAX, true, NULL, list_devices, &devices, &err),
	                 RC_OK);
	ck_assert_str_eq(buf_cstr(&devices), "a ");
	buf_free(&devices);
	events_close(other);
	events_close(e);
}
END_TEST

START_TEST(many_processes_append_without_loss_or_gap)
{
	enum { PROCESSES = 4, EACH = 50 };
	struct events *e = new_log();
	pid_t pids[PROCESSES];
	int status;

	events_close(e);
	for (int p = 0; p < PROCESSES; p++) {
		if ((pids[p] = fork()) == 0) {
			int64_t seq;

			if (events_open(log_dir, &e, &err) != RC_OK)
				_exit(1);
			for (int i = 0; i < EACH; i++) {
				struct event ev = event(p * 1000 + i + 1, 1);

				if (events_begin(e, clock_mono_ms() + 20000, &err) != RC_OK ||
				    events_append(e, &ev, &seq, &err) != RC_OK ||
				    events_commit(e, &err) != RC_OK)
					_exit(2);
				events_maintain(e, true);
			}
			events_close(e);
			_exit(0);
		}
	}
	for (int p = 0; p < PROCESSES; p++) {
		ck_assert_int_eq(waitpid(pids[p], &status, 0), pids[p]);
		ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %d", status);
	}
	ck_assert_int_eq(events_open(log_dir, &e, &err), RC_OK);
	ck_assert_int_eq(head(e).seq, PROCESSES * EACH);
	ck_assert_int_eq(head(e).count, PROCESSES * EACH);
	events_close(e);
}
END_TEST

START_TEST(a_killed_writer_leaves_all_or_nothing)
{
	struct events *e = new_log();
	int64_t seq;
	pid_t pid;
	int status;

	events_close(e);
	if ((pid = fork()) == 0) {
		struct event ev = event(1, 1);

		if (events_open(log_dir, &e, &err) != RC_OK ||
		    events_begin(e, deadline(), &err) != RC_OK ||
		    events_append(e, &ev, &seq, &err) != RC_OK)
			_exit(1);
		kill(getpid(), SIGKILL); /* holding the lock, in a transaction */
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFSIGNALED(status));
	ck_assert_int_eq(events_open(log_dir, &e, &err), RC_OK);
	ck_assert_int_eq(head(e).seq, 0);
	ck_assert_int_eq(append(e, event(1, 1), &seq), RC_OK);
	ck_assert_int_eq(seq, 1);
	events_close(e);
}
END_TEST

START_TEST(the_wal_is_checkpointed_after_an_answer)
{
	struct events *e = new_log();
	struct event ev = event(1, 1);
	char *big = malloc(1 << 20), path[TEMP_PATH + 32];
	struct stat st;
	int64_t seq;

	memset(big, 'x', 1 << 20);
	ev.payload = (struct span){ big, 1 << 20 };
	snprintf(path, sizeof(path), "%s/events.db", log_dir);
	for (int i = 1; i <= 6; i++) {
		ev.action_id = i;
		append(e, ev, &seq);
	}
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_int_lt(st.st_size, 1 << 20); /* all of it is in the WAL */
	events_maintain(e, true);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_int_gt(st.st_size, 6 << 20);
	events_close(e);
	free(big);
}
END_TEST

START_TEST(no_checkpoint_happens_at_close)
{
	struct events *e = new_log();
	char path[TEMP_PATH + 32];
	struct stat st;
	int64_t seq;

	append(e, event(1, 1), &seq);
	events_close(e);
	snprintf(path, sizeof(path), "%s/events.db-wal", log_dir);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_int_gt(st.st_size, 0);
}
END_TEST

enum { CHILD_OK, CHILD_SKIPPED, CHILD_FAILED };

/* What a reader finds on a read-only disk. */
static int
read_only_child(bool whole)
{
	struct events_head h;
	struct events *e;
	enum rc rc;

	if (!read_only(log_dir))
		return CHILD_SKIPPED;
	rc = events_open(log_dir, &e, &err);
	if (!whole)
		return rc == RC_UNAVAILABLE && strstr(err.text, "read-only") != NULL &&
		       strstr(err.text, "make it writable once") != NULL ? CHILD_OK : CHILD_FAILED;
	if (rc != RC_OK || events_stale(e) || events_head(e, &h, &err) != RC_OK || h.seq != 1)
		return CHILD_FAILED;
	if (events_begin(e, deadline(), &err) != RC_UNAVAILABLE ||
	    strstr(err.text, "read-only disk") == NULL)
		return CHILD_FAILED;
	events_maintain(e, true);
	/* Writable again: what was taken for unchanging must be opened anew. */
	if (umount2(log_dir, MNT_DETACH) != 0 || !events_stale(e))
		return CHILD_FAILED;
	events_close(e);
	return CHILD_OK;
}

START_TEST(a_log_on_a_read_only_disk_is_read_where_it_is_whole)
{
	struct events *e = new_log();
	char path[TEMP_PATH + 32];
	bool whole = _i == 1;
	int64_t seq;
	int status;
	pid_t pid;

	append(e, event(1, 1), &seq);
	events_close(e);
	snprintf(path, sizeof(path), "%s/events.db-shm", log_dir);
	ck_assert_int_eq(unlink(path), 0); /* as after a start of the machine */
	if (whole) {
		sqlite3 *db;

		snprintf(path, sizeof(path), "%s/events.db", log_dir);
		ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
		ck_assert_int_eq(db_exec(db, "PRAGMA wal_checkpoint(TRUNCATE)", &err), RC_OK);
		sqlite3_close(db);
	}
	if ((pid = fork()) == 0)
		_exit(read_only_child(whole));
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFEXITED(status));
	if (WEXITSTATUS(status) == CHILD_SKIPPED)
		printf("skipped: a read-only mount needs root\n");
	else
		ck_assert_int_eq(WEXITSTATUS(status), CHILD_OK);
}
END_TEST

/* --- devices --- */

START_TEST(devices_are_noted_and_a_lost_file_is_nothing_known)
{
	struct device_state d;
	char path[TEMP_PATH + 32];

	ck_assert_int_eq(devices_get(dir, span_of("a"), &d), RC_NOT_FOUND);
	ck_assert_int_eq(devices_greatest(dir), 0);
	devices_served(dir, span_of("a"), 10, 77);
	devices_served(dir, span_of("b"), 30, 78);
	devices_served(dir, span_of("a"), 5, 79); /* no news */
	ck_assert_int_eq(devices_get(dir, span_of("a"), &d), RC_OK);
	ck_assert_int_eq(d.served_seq, 10);
	ck_assert_int_eq(d.served_us, 77);
	ck_assert_int_eq(devices_greatest(dir), 30);
	snprintf(path, sizeof(path), "%s/devices.db", dir);
	ck_assert_int_eq(unlink(path), 0);
	ck_assert_int_eq(devices_greatest(dir), 0);
}
END_TEST

START_TEST(a_clock_is_noted_when_it_is_half_a_minute_off_what_is_known)
{
	/* A push now, then what stands in devices.db; 0 for a device without. */
	static const int64_t rows[][2] = {
		{ 30000, 0 }, { 30001, 30001 }, { 60001, 30001 }, { 1, 30001 },
		{ 60002, 60002 }, { -5, -5 }, { INT32_MIN, INT32_MIN },
	};
	struct devices_known known = { 0 }, other = { 0 };
	struct device_state d;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		devices_clock(dir, &known, span_of("a"), rows[i][0]);
		devices_get(dir, span_of("a"), &d);
		ck_assert_int_eq(d.ahead_ms, rows[i][1]);
	}
	/* What another process noted is seen where ours is news. */
	devices_clock(dir, &other, span_of("a"), 7);
	devices_clock(dir, &known, span_of("a"), 8);
	devices_get(dir, span_of("a"), &d);
	ck_assert_int_eq(d.ahead_ms, 7);
}
END_TEST

START_TEST(more_devices_than_are_known_by_heart_are_noted)
{
	struct devices_known known = { 0 };
	struct device_state d;
	char name[24];

	for (int round = 1; round <= 2; round++)
		for (int i = 1; i <= 3 * DEVICES_KNOWN; i++) {
			snprintf(name, sizeof(name), "device %d", i);
			devices_clock(dir, &known, span_of(name), i * 100000 * round);
		}
	for (int i = 1; i <= 3 * DEVICES_KNOWN; i++) {
		snprintf(name, sizeof(name), "device %d", i);
		ck_assert_int_eq(devices_get(dir, span_of(name), &d), RC_OK);
		ck_assert_int_eq(d.ahead_ms, i * 200000);
	}
}
END_TEST

START_TEST(a_clock_that_is_known_costs_no_file)
{
	struct devices_known known = { 0 };
	struct device_state d;
	char path[TEMP_PATH + 32];

	snprintf(path, sizeof(path), "%s/devices.db", dir);
	devices_clock(dir, &known, span_of("a"), 50000);
	ck_assert_int_eq(unlink(path), 0);
	devices_clock(dir, &known, span_of("a"), 50001);
	ck_assert_int_eq(access(path, F_OK), -1);
	devices_clock(dir, &known, span_of("a"), 90000);
	ck_assert_int_eq(devices_get(dir, span_of("a"), &d), RC_OK);
}
END_TEST

static enum rc
add_lost(void *ctx, const struct device_lost *d)
{
	buf_addf(ctx, "%.*s %d-%d %d;", (int)d->name.len, d->name.p, (int)d->after,
	         (int)d->until, (int)(d->seen_us / 1000000));
	return RC_OK;
}

START_TEST(devices_that_hold_lost_events_are_named_until_they_bring_them_back)
{
	static const struct {
		const char *name;
		int64_t after, until, at;
		const char *then;
	} rows[] = {
		{ "b", 10, 12, 1000, "b 10-12 1000;" },
		{ "a", 10, 11, 1001, "a 10-11 1001;b 10-12 1000;" },
		{ "b", 10, 12, 4600, "a 10-11 1001;b 10-12 1000;" }, /* no news for an hour */
		{ "b", 10, 12, 4601, "a 10-11 1001;b 10-12 4601;" },
		{ "b", 20, 25, 4602, "a 10-11 1001;b 10-25 4602;" }, /* another restore */
		{ "a", 5, 7, 4603, "a 5-11 4603;b 10-25 4602;" },
	};
	struct buf text = { 0 };

	ck_assert_int_eq(devices_each_lost(dir, add_lost, &text), RC_OK);
	ck_assert_uint_eq(text.len, 0);
	devices_served(dir, span_of("c"), 100, 1);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		devices_lost(dir, &(struct device_lost){ span_of(rows[i].name), rows[i].after,
		             rows[i].until, rows[i].at * 1000000 });
		buf_reset(&text);
		ck_assert_int_eq(devices_each_lost(dir, add_lost, &text), RC_OK);
		ck_assert_str_eq(buf_cstr(&text), rows[i].then);
	}
	devices_found(dir, span_of("b"));
	devices_found(dir, span_of("nobody"));
	buf_reset(&text);
	ck_assert_int_eq(devices_each_lost(dir, add_lost, &text), RC_OK);
	ck_assert_str_eq(buf_cstr(&text), "a 5-11 4603;");
	ck_assert_int_eq(devices_greatest(dir), 100);
	buf_free(&text);
}
END_TEST

START_TEST(a_locked_devices_file_is_skipped_without_waiting)
{
	char path[TEMP_PATH + 32];
	struct device_state d;
	int64_t before;
	sqlite3 *db;

	devices_served(dir, span_of("a"), 1, 1);
	snprintf(path, sizeof(path), "%s/devices.db", dir);
	ck_assert_int_eq(db_open(path, DB_ADVICE, &db, &err), RC_OK);
	ck_assert_int_eq(db_exec(db, "BEGIN EXCLUSIVE", &err), RC_OK);
	before = clock_mono_ms();
	devices_served(dir, span_of("a"), 9, 9);
	ck_assert_int_lt(clock_mono_ms() - before, LOCK_WAIT_MS - 50);
	db_exec(db, "ROLLBACK", &err);
	sqlite3_close(db);
	ck_assert_int_eq(devices_get(dir, span_of("a"), &d), RC_OK);
	ck_assert_int_eq(d.served_seq, 1);
}
END_TEST

/* --- a look, for a diagnosis --- */

static void
add_event(struct events *e, int64_t action_id, bool parked, const char *type)
{
	struct event ev = event(action_id, 1);
	int64_t seq;

	ev.parked = parked;
	ev.type = span_of(type);
	ck_assert_int_eq(events_append(e, &ev, &seq, &err), RC_OK);
}

static void
take_parked(void *ctx, struct span type, int64_t n, int64_t seq, int64_t server_us)
{
	buf_addf(ctx, "%.*s %" PRId64 " from %" PRId64 " at %" PRId64 ";", (int)type.len, type.p, n,
	         seq, server_us);
}

START_TEST(a_look_tells_what_the_newest_events_are)
{
	struct events *e = new_log();
	struct events_glance g;
	struct events_head head;
	struct buf parked = { 0 };

	ck_assert_int_eq(events_begin(e, clock_mono_ms() + 1000, &err), RC_OK);
	add_event(e, 1, false, "issues");
	add_event(e, 2, true, "gizmos");
	add_event(e, 3, true, "boxes");
	add_event(e, 4, true, "gizmos");
	for (int64_t i = 5; i <= EVENTS_NEWEST + 2; i++)
		add_event(e, i, false, "issues");
	ck_assert_int_eq(events_commit(e, &err), RC_OK);
	ck_assert_int_eq(events_head(e, &head, &err), RC_OK);
	ck_assert_int_eq(events_each_parked(e, take_parked, &parked, &err), RC_OK);
	ck_assert_str_eq(buf_cstr(&parked), "boxes 1 from 3 at 1003;gizmos 1 from 4 at 1004;");
	events_close(e);
	ck_assert_msg(events_look(log_dir, &g, &err) == RC_OK, "%s", err.text);
	ck_assert_int_eq(g.head.seq, EVENTS_NEWEST + 2);
	ck_assert_int_eq(g.head.count, EVENTS_NEWEST + 2);
	ck_assert_int_eq(g.head.visible, head.visible);
	ck_assert_int_eq(g.head.time_us, head.time_us);
	ck_assert_mem_eq(g.head.log_id, head.log_id, LOG_ID_LEN);
	ck_assert_str_eq(g.profile, "td");
	ck_assert_int_eq(g.rows, EVENTS_NEWEST);
	ck_assert_int_eq(g.last, EVENTS_NEWEST + 2);
	ck_assert_int_eq(g.parked, 2);
	buf_free(&parked);
}
END_TEST

START_TEST(a_look_refuses_what_opening_refuses)
{
	char path[TEMP_PATH + 32], note[TEMP_PATH + 64];
	struct events_glance g;
	struct events *e;

	ck_assert_int_eq(events_look(log_dir, &g, &err), RC_NOT_FOUND);
	e = new_log();
	ck_assert_int_eq(events_begin(e, clock_mono_ms() + 1000, &err), RC_OK);
	add_event(e, 1, false, "issues");
	ck_assert_int_eq(events_commit(e, &err), RC_OK);
	events_close(e);
	/* Of another log, by what is noted. */
	snprintf(note, sizeof(note), "%s/" EVENTS_LOCK, log_dir);
	ck_assert_int_eq(fs_write(note, span_of("log 00000000000000000000000000000000 ends at"
	                                        "                   1\n"), 0600, &err), RC_OK);
	ck_assert_int_eq(events_look(log_dir, &g, &err), RC_UNAVAILABLE);
	ck_assert_ptr_nonnull(strstr(err.text, "is not the log that was written here last"));
	ck_assert_int_eq(unlink(note), 0);
	ck_assert_int_eq(events_look(log_dir, &g, &err), RC_OK);
	/* No log, and no database. */
	snprintf(path, sizeof(path), "%s/" EVENTS_DB, log_dir);
	ck_assert_int_eq(unlink(path), 0);
	snprintf(note, sizeof(note), "%s-wal", path);
	unlink(note);
	snprintf(note, sizeof(note), "%s-shm", path);
	unlink(note);
	ck_assert_int_eq(fs_write(path, (struct span){ "", 0 }, 0600, &err), RC_OK);
	ck_assert_int_eq(events_look(log_dir, &g, &err), RC_NOT_FOUND);
	ck_assert_int_eq(fs_write(path, span_of("this is no database, however long one looks"),
	                          0600, &err), RC_OK);
	ck_assert_int_eq(events_look(log_dir, &g, &err), RC_UNAVAILABLE);
}
END_TEST

/* A file system whose locks hold nobody: flock(2) says yes to all. */
static bool locks_are_nothing;
int __real_flock(int fd, int operation);
int __wrap_flock(int fd, int operation);

int
__wrap_flock(int fd, int operation)
{
	return locks_are_nothing ? 0 : __real_flock(fd, operation);
}

START_TEST(a_trial_finds_a_file_system_fit_or_says_what_is_not)
{
	char path[TEMP_PATH + 32];

	ck_assert_msg(trial_run(dir, &err) == RC_OK, "%s", err.text);
	ck_assert_int_eq(trial_run("/nonexistent", &err), RC_UNAVAILABLE);
	snprintf(path, sizeof(path), "%s/second", dir);
	ck_assert_int_eq(mkdir(path, 0700), 0);
	locks_are_nothing = true;
	ck_assert_int_eq(trial_run(path, &err), RC_UNAVAILABLE);
	locks_are_nothing = false;
	ck_assert_ptr_nonnull(strstr(err.text, "does not keep another one out"));
	/* What is in the way of its database is no fault that it overlooks. */
	snprintf(path, sizeof(path), "%s/second/trial.db", dir);
	ck_assert_int_eq(fs_write(path, span_of("this is no database, however long one looks"),
	                          0600, &err), RC_OK);
	path[strlen(path) - strlen("/trial.db")] = '\0';
	ck_assert_int_eq(trial_run(path, &err), RC_UNAVAILABLE);
}
END_TEST

START_TEST(versions_of_sqlite_with_the_bug_are_known)
{
	static const struct {
		int version;
		bool has_bug;
	} versions[] = {
		{ 3006023, false }, { 3007000, true }, { 3040001, true }, { 3044005, true },
		{ 3044006, false }, { 3045000, true }, { 3050006, true }, { 3050007, false },
		{ 3051000, true }, { 3051002, true }, { 3051003, false }, { 3053002, false },
	};
	bool has_bug;

	for (size_t i = 0; i < sizeof(versions) / sizeof(versions[0]); i++)
		ck_assert_msg(trial_has_bug(versions[i].version) == versions[i].has_bug, "%d",
		              versions[i].version);
	ck_assert_int_eq(trial_sqlite(&has_bug)[0], '3');
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("store");
	TCase *t = tcase_create("events");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, a_new_log_is_empty_and_has_an_identity);
	tcase_add_test(t, a_log_is_not_made_twice);
	tcase_add_test(t, no_log_is_not_found_and_nothing_is_made);
	tcase_add_test(t, what_is_no_log_is_refused_and_left_alone);
	tcase_add_test(t, a_newer_format_is_refused_with_advice);
	tcase_add_test(t, events_get_places_from_1_without_gaps);
	tcase_add_test(t, a_reused_number_with_other_content_is_a_new_event);
	tcase_add_test(t, what_is_rolled_back_was_never_there);
	tcase_add_test(t, an_event_is_read_as_it_was_written);
	tcase_add_test(t, a_payload_is_kept_whatever_its_size);
	tcase_add_test(t, a_walk_keeps_its_bounds_and_leaves_out_parked_events);
	tcase_add_test(t, the_digest_at_a_seq_is_told);
	tcase_add_test(t, a_second_writer_waits_and_then_is_busy);
	tcase_add_test(t, readers_see_only_what_is_committed);
	tcase_add_test(t, a_log_that_is_held_stays_as_it_is);
	tcase_add_test(t, a_replaced_or_deleted_log_makes_the_handle_stale);
	tcase_add_test(t, a_log_replaced_while_its_lock_is_waited_for_is_not_written);
	tcase_add_test(t, an_older_copy_or_another_log_is_not_taken_for_the_log);
	tcase_add_test(t, a_log_that_was_set_back_in_place_is_not_written);
	tcase_add_test(t, a_log_ends_at_the_greatest_number);
	tcase_add_test(t, a_restore_leaves_numbers_to_give_whatever_it_is_told);
	tcase_add_test(t, a_log_knows_what_numbers_were_passed_over);
	tcase_add_test(t, events_keep_their_authors_whoever_writes_in_between);
	tcase_add_test(t, many_processes_append_without_loss_or_gap);
	tcase_add_test(t, a_killed_writer_leaves_all_or_nothing);
	tcase_add_test(t, the_wal_is_checkpointed_after_an_answer);
	tcase_add_test(t, no_checkpoint_happens_at_close);
	tcase_add_loop_test(t, a_log_on_a_read_only_disk_is_read_where_it_is_whole, 0, 2);
	suite_add_tcase(s, t);
	t = tcase_create("devices");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, devices_are_noted_and_a_lost_file_is_nothing_known);
	tcase_add_test(t, a_clock_is_noted_when_it_is_half_a_minute_off_what_is_known);
	tcase_add_test(t, more_devices_than_are_known_by_heart_are_noted);
	tcase_add_test(t, a_clock_that_is_known_costs_no_file);
	tcase_add_test(t, devices_that_hold_lost_events_are_named_until_they_bring_them_back);
	tcase_add_test(t, a_locked_devices_file_is_skipped_without_waiting);
	suite_add_tcase(s, t);
	t = tcase_create("looks");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, a_look_tells_what_the_newest_events_are);
	tcase_add_test(t, a_look_refuses_what_opening_refuses);
	tcase_add_test(t, a_trial_finds_a_file_system_fit_or_says_what_is_not);
	tcase_add_test(t, versions_of_sqlite_with_the_bug_are_known);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? 0 : 1;
}
