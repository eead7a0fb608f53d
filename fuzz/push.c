/*
 * A push (engine/push.h): any bytes as a body. What is accepted must be what
 * the envelope allows, go into a log, come out of it in pages as it came in,
 * and be a duplicate when it comes again.
 */
#include "engine/push.h"

#include "base/clock.h"
#include "base/json.h"
#include "engine/page.h"
#include "fuzz/fuzz.h"
#include "tests/temp.h"

#include <string.h>

#define NOW 1700000000000000

static char dir[TEMP_PATH];
static struct err err;

static void
clean_up(void)
{
	temp_remove(dir);
}

static struct events *
new_log(const char *path)
{
	struct events *log;

	FUZZ_CHECK(events_create(path, "td", &err) == RC_OK, "%s", err.text);
	FUZZ_CHECK(events_open(path, &log, &err) == RC_OK, "%s", err.text);
	return log;
}

/* --- the envelope, judged once more --- */

/* A member's value; *times how often it is there. */
static struct span
member(struct span object, const char *name, size_t *times)
{
	struct span key, value, last = { NULL, 0 };
	struct json_iter it;

	*times = 0;
	json_iter_init(&it, object);
	while (json_next(&it, &key, &value))
		if (json_string_is(key, name)) {
			last = value;
			++*times;
		}
	return last;
}

static bool
id_allowed(struct span body, const char *name)
{
	struct buf text = { 0 };
	size_t times;
	struct span id = member(body, name, &times);
	bool ok = times == 1 && json_string(id, &text) && !json_string_odd(id) &&
	    text.len > 0 && text.len <= 255;

	buf_free(&text);
	return ok;
}

/* Whether the envelope is allowed; *events is its array then. */
static bool
envelope_allowed(struct span text, struct span *events)
{
	struct span body, key, value, device;
	struct json_iter it;
	size_t times, n = 0;

	if (json_scan(text, JSON_MAX_DEPTH, &body, NULL, NULL) != RC_OK ||
	    json_type(body) != JSON_OBJECT)
		return false;
	device = member(body, "device_id", &times);
	*events = member(body, "events", &times);
	json_iter_init(&it, *events);
	while (json_next(&it, &key, &value))
		n++;
	return times == 1 && json_type(*events) == JSON_ARRAY && n >= 1 &&
	    n <= PUSH_MAX_EVENTS && id_allowed(body, "device_id") &&
	    id_allowed(body, "session_id") && !json_string_is(device, "td-sync");
}

/* --- what came out of the log is what went in --- */

static bool
is_any(struct span key, const char *const *names)
{
	while (*names != NULL && !json_string_is(key, *names))
		names++;
	return *names != NULL;
}

/* The next member that does not belong to one machine. */
static bool
next_shared(struct json_iter *it, struct span *key, struct span *value)
{
	static const char *const local[] = { "worktree_id", "worktree_root", "repo_root",
	                                     NULL };

	while (json_next(it, key, value))
		if (!is_any(*key, local))
			return true;
	return false;
}

static bool
same_row(struct span sent, struct span got)
{
	struct span ka, kb, va, vb;
	struct json_iter a, b;

	json_iter_init(&a, sent);
	json_iter_init(&b, got);
	while (next_shared(&a, &ka, &va))
		if (!json_next(&b, &kb, &vb) || !span_eq(ka, kb) || !span_eq(va, vb))
			return false;
	return !json_next(&b, &kb, &vb);
}

/* Whether a payload is the one sent, byte for byte, local fields cut out. */
static bool
same_payload(struct span type, struct span sent, struct span got)
{
	static const char *const rows[] = { "new_data", "previous_data", NULL };
	struct span ka, kb, va, vb;
	struct json_iter a, b;

	if (!span_is(type, "work_sessions") || json_type(sent) != JSON_OBJECT)
		return span_eq(sent, got);
	json_iter_init(&a, sent);
	json_iter_init(&b, got);
	while (json_next(&a, &ka, &va)) {
		bool row = is_any(ka, rows) && json_type(va) == JSON_OBJECT;

		if (!json_next(&b, &kb, &vb) || !span_eq(ka, kb) ||
		    !(row ? same_row(va, vb) : span_eq(va, vb)))
			return false;
	}
	return !json_next(&b, &kb, &vb);
}

static bool
same_text(struct span value, struct span text)
{
	struct buf decoded = { 0 };
	bool same = json_string(value, &decoded) && span_eq(buf_span(&decoded), text);

	buf_free(&decoded);
	return same;
}

/* Whether an event of the log is this element of the body. */
static bool
same_event(struct span sent, const struct event *ev)
{
	struct buf text = { 0 };
	struct instant at, logged;
	struct span type, payload;
	size_t times;
	int64_t action_id = 0;
	bool same;

	json_int64(member(sent, "client_action_id", &times), &action_id);
	payload = member(sent, "payload", &times);
	json_string(member(sent, "client_timestamp", &times), &text);
	same = action_id == ev->action_id && same_text(member(sent, "entity_id", &times), ev->id) &&
	    time_parse_rfc3339(buf_span(&text), &at) &&
	    time_parse_rfc3339(ev->time, &logged) && time_compare(at, logged) == 0;
	buf_reset(&text);
	json_string(member(sent, "entity_type", &times), &text);
	type = buf_span(&text);
	if (profile_entity(&profile_td, type) != NULL)
		type = span_of(profile_entity(&profile_td, type)->table);
	same = same && span_eq(type, ev->type) && same_payload(type, payload, ev->payload);
	buf_reset(&text);
	json_string(member(sent, "action_type", &times), &text);
	same = same && profile_action(&profile_td, buf_span(&text)) == ev->action;
	buf_free(&text);
	return same;
}

/* --- the log --- */

/* Walks the log beside the body's elements and the events of its pages. */
struct walk {
	struct span body;          /* for messages */
	struct json_iter sent;
	struct span page;          /* what the pages' events are taken from */
	struct json_iter paged;
	struct buf scratch;
	struct push_rules rules;
	size_t parked;
	int64_t seq;
};

/* Page through a log; *out gets an array of all events. */
static void
page_all(struct events *log, int64_t limit, struct buf *out)
{
	struct buf text = { 0 };
	struct span page, events, last, key, value;
	struct json_iter it;
	struct page p = { .has_more = true };
	int64_t after = 0, said;
	const char *comma = "";

	buf_add_byte(out, '[');
	while (p.has_more) {
		size_t n = 0;

		buf_reset(&text);
		FUZZ_CHECK(page_write(log, after, limit, &text, &p, &err) == RC_OK, "%s", err.text);
		FUZZ_CHECK(json_scan(buf_span(&text), JSON_MAX_DEPTH + 3, &page, NULL, &err) == RC_OK &&
		           json_get(page, "events", &events) && json_get(page, "last_server_seq", &last) &&
		           json_int64(last, &said) && said == p.last, "%s", err.text);
		json_iter_init(&it, events);
		for (; json_next(&it, &key, &value); n++) {
			buf_add_str(out, comma);
			buf_add_span(out, value);
			comma = ",";
		}
		FUZZ_CHECK(n == p.count && (n > 0 || !p.has_more) && p.last >= after, "a page");
		after = p.last;
	}
	FUZZ_CHECK(after == p.head.visible, "the last page ends at %d", (int)after);
	buf_add_byte(out, ']');
	buf_free(&text);
}

static void
check_paged(struct walk *w, const struct event *ev)
{
	struct span key, value;
	struct event got;

	FUZZ_CHECK(json_next(&w->paged, &key, &value), "the pages lack seq %d", (int)ev->seq);
	FUZZ_CHECK(page_event(value, &got, &w->scratch, &err) == RC_OK, "%s", err.text);
	FUZZ_CHECK(got.seq == ev->seq && got.action == ev->action &&
	           got.action_id == ev->action_id && got.server_us == ev->server_us &&
	           span_eq(got.device, ev->device) && span_eq(got.session, ev->session) &&
	           span_eq(got.user, ev->user) && span_eq(got.type, ev->type) &&
	           span_eq(got.id, ev->id) && span_eq(got.time, ev->time) &&
	           span_eq(got.payload, ev->payload), "%.*s", FUZZ_SPAN(value));
	FUZZ_CHECK(memcmp(got.digest, ev->digest, EVENT_DIGEST_LEN) == 0, "%.*s", FUZZ_SPAN(value));
}

static enum rc
visit(void *ctx, const struct event *ev, bool *stop)
{
	struct walk *w = ctx;
	struct span key, sent;

	(void)stop;
	FUZZ_CHECK(ev->seq == ++w->seq, "seq %d", (int)ev->seq);
	do {
		FUZZ_CHECK(json_next(&w->sent, &key, &sent), "seq %d is none of %.*s", (int)ev->seq,
		           FUZZ_SPAN(w->body));
	} while (!same_event(sent, ev));
	FUZZ_CHECK(ev->parked || profile_entity(&profile_td, ev->type) != NULL, "%.*s",
	           FUZZ_SPAN(ev->type));
	FUZZ_CHECK(!w->rules.refuse_unknown || profile_entity(&profile_td, ev->type) != NULL,
	           "%.*s", FUZZ_SPAN(ev->type));
	if (!ev->parked)
		check_paged(w, ev);
	return RC_OK;
}

/* What the log holds after one push of these elements. */
static void
check_log(struct events *log, struct span body, struct span elements,
          struct push_rules rules, size_t accepted)
{
	struct walk w = { .body = body, .rules = rules };
	struct buf pages = { 0 };
	struct events_head head;
	struct span key, value;

	page_all(log, 1 + (int64_t)(body.len % 5), &pages);
	json_iter_init(&w.sent, elements);
	json_iter_init(&w.paged, buf_span(&pages));
	FUZZ_CHECK(events_walk(log, 0, INT64_MAX, true, &head, visit, &w, &err) == RC_OK, "%s",
	           err.text);
	FUZZ_CHECK(!json_next(&w.paged, &key, &value), "more in the pages: %.*s", FUZZ_SPAN(value));
	FUZZ_CHECK((size_t)head.count == accepted && head.seq == head.count, "%d, not %zu",
	           (int)head.count, accepted);
	buf_free(&w.scratch);
	buf_free(&pages);
}

/* --- the answer --- */

struct answer {
	size_t accepted, duplicates, refused; /* refused: for a cause of its own */
};

static struct answer
read_answer(const struct buf *text, size_t sent)
{
	struct answer a = { 0 };
	struct span all, rest, v, key, item, reason, seq;
	struct json_iter it;
	int64_t n, last = 0;
	size_t rejected = 0;

	FUZZ_CHECK(json_scan(buf_span(text), 8, &all, &rest, &err) == RC_OK && span_is(rest, "\n"),
	           "%.*s", FUZZ_SPAN(buf_span(text)));
	FUZZ_CHECK(json_get(all, "accepted", &v) && json_int64(v, &n), "%.*s", FUZZ_SPAN(all));
	json_get(all, "acks", &v);
	json_iter_init(&it, v);
	for (; json_next(&it, &key, &item); a.accepted++) {
		int64_t this;

		FUZZ_CHECK(json_get(item, "server_seq", &seq) && json_int64(seq, &this) && this > last,
		           "%.*s", FUZZ_SPAN(all));
		last = this;
	}
	FUZZ_CHECK((int64_t)a.accepted == n, "%.*s", FUZZ_SPAN(all));
	json_get(all, "rejected", &v);
	json_iter_init(&it, v);
	for (; json_next(&it, &key, &item); rejected++) {
		bool has_seq = json_get(item, "server_seq", &seq);

		FUZZ_CHECK(json_get(item, "reason", &reason), "%.*s", FUZZ_SPAN(all));
		FUZZ_CHECK(has_seq == json_string_is(reason, "duplicate"), "%.*s", FUZZ_SPAN(item));
		a.duplicates += has_seq;
		a.refused += !has_seq && !json_string_is(reason, "empty entity_id") &&
		    !json_string_is(reason, "missing payload");
	}
	FUZZ_CHECK(a.accepted + rejected == sent, "%zu sent: %.*s", sent, FUZZ_SPAN(all));
	return a;
}

static struct answer
append(struct push *p, struct events *log, size_t sent)
{
	struct buf text = { 0 };
	struct answer a;
	size_t accepted;

	FUZZ_CHECK(push_append(p, log, span_of("u_1"), NOW, clock_mono_ms() + 3000, &text,
	                       &accepted, &err) == RC_OK, "%s", err.text);
	a = read_answer(&text, sent);
	FUZZ_CHECK(a.accepted == accepted, "%zu", accepted);
	buf_free(&text);
	return a;
}

/* --- a body --- */

/* A body in a buffer of its own, which the push changes: buf_free() it after. */
static struct push *
parse(struct span body, struct push_rules rules, struct buf *own, enum rc *rc)
{
	struct span copy = fuzz_copy((const uint8_t *)body.p, body.len);
	struct push *p;

	*own = (struct buf){ .p = (char *)(uintptr_t)copy.p, .len = body.len,
	                     .cap = body.len };
	*rc = push_parse(own, &profile_td, rules, &p, &err);
	FUZZ_CHECK((p != NULL) == (*rc == RC_OK), "%d", *rc);
	return p;
}

static void
check_pushed(struct span body, struct span elements, struct push *lenient, bool refuse)
{
	struct push_rules strict = { .refuse_unknown = refuse };
	char path[TEMP_PATH + 8];
	struct answer first, again;
	struct events *log;
	struct push *p;
	struct span key, value;
	struct json_iter it;
	struct buf own;
	size_t sent = 0;
	enum rc rc;

	json_iter_init(&it, elements);
	while (json_next(&it, &key, &value))
		sent++;
	snprintf(path, sizeof(path), "%s/log", dir);
	log = new_log(path);
	first = append(lenient, log, sent);
	check_log(log, body, elements, (struct push_rules){ true, refuse }, first.accepted);

	/* Strict: as a whole or not at all, and by now it is all there. */
	p = parse(body, strict, &own, &rc);
	FUZZ_CHECK(rc == (first.refused > 0 ? RC_INVALID : RC_OK), "%s: %.*s", err.text,
	           FUZZ_SPAN(body));
	if (rc == RC_OK) {
		again = append(p, log, sent);
		FUZZ_CHECK(again.accepted == 0 && again.refused == 0 &&
		           again.duplicates == first.accepted + first.duplicates, "%.*s",
		           FUZZ_SPAN(body));
	}
	push_free(p);
	buf_free(&own);
	events_close(log);
	temp_remove(path);
}

static void
check_body(struct span body, bool refuse)
{
	struct push_rules rules = { .lenient = true, .refuse_unknown = refuse };
	struct span elements = { NULL, 0 };
	bool allowed = envelope_allowed(body, &elements);
	struct buf own;
	enum rc rc;
	struct push *p = parse(body, rules, &own, &rc);

	FUZZ_CHECK(rc == (allowed ? RC_OK : RC_INVALID), "%s: %.*s", err.text, FUZZ_SPAN(body));
	if (allowed)
		check_pushed(body, elements, p, refuse);
	push_free(p);
	buf_free(&own);
	if (allowed)
		return;
	rules.lenient = false;
	p = parse(body, rules, &own, &rc);
	FUZZ_CHECK(rc == RC_INVALID, "%.*s", FUZZ_SPAN(body));
	buf_free(&own);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span body = fuzz_copy(data, size);

	if (dir[0] == '\0') {
		temp_make(dir);
		atexit(clean_up);
	}
	check_body(body, fuzz_seed(data, size) % 4 == 1);
	free((char *)(uintptr_t)body.p);
	return 0;
}
