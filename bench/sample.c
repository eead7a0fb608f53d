/* Events as td writes them, see sample.h. */
#include "bench/sample.h"

#include "engine/digest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ID_DIGITS 10

/* Texts of one sample, NUL-terminated. */
struct texts {
	struct buf id, payload, time;
};

static struct event events[SAMPLES];
static struct texts texts[SAMPLES];

/* --- chance, the same in every run --- */

static uint64_t state = 42;

static unsigned
below(unsigned n)
{
	state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (unsigned)(state >> 33) % n;
}

/* Made-up words: text that compresses like text. */
static void
add_words(struct buf *b, unsigned n)
{
	static const char *const syllables[] = {
		"re", "port", "con", "fig", "ser", "ver", "test", "ing", "read", "er",
		"val", "ue", "load", "ed", "lim", "it", "sync", "tab", "le", "page",
		"in", "put", "er", "ror", "lock", "ti", "me", "out", "fix", "es",
		"the", "a", "of", "to", "and", "for", "is", "not", "at", "when",
	};

	for (unsigned i = 0; i < n; i++) {
		unsigned parts = 1 + below(3);

		if (i > 0)
			buf_add_byte(b, i % 11 == 0 ? '.' : ' ');
		if (i > 0 && i % 11 == 0)
			buf_add_byte(b, ' ');
		while (parts-- > 0)
			buf_add_str(b, syllables[below(sizeof(syllables) / sizeof(syllables[0]))]);
	}
}

static void
add_time(struct buf *b, size_t i)
{
	buf_addf(b, "2026-03-%02zuT%02zu:%02zu:%02u.%09u+01:00", 1 + i / 40, i / 2 % 24,
	         i % 60, below(60), below(1000000000));
}

/* --- payloads, as td 0.62 orders them --- */

static void
add_issue(struct buf *b, size_t i, const char *id, const char *status)
{
	buf_addf(b, "{\"id\":\"%s\",\"title\":\"", id);
	add_words(b, 6);
	buf_add_str(b, "\",\"description\":\"");
	add_words(b, 9);
	buf_addf(b, "\",\"status\":\"%s\",\"type\":\"task\",\"priority\":\"P%u\",\"points\":%u,"
	         "\"labels\":[\"server\",\"sync\"],\"implementer_session\":\"ses_%06x\","
	         "\"creator_session\":\"ses_%06x\",\"reviewer_session\":\"\",\"created_at\":\"",
	         status, below(5), below(9), below(1 << 24), below(1 << 24));
	add_time(b, i);
	buf_add_str(b, "\",\"updated_at\":\"");
	add_time(b, i);
	buf_add_str(b, "\",\"minor\":false,\"created_branch\":\"main\",\"defer_count\":0}");
}

static void
add_log(struct buf *b, size_t i, const char *id)
{
	buf_addf(b, "{\"id\":\"%s\",\"issue_id\":\"td-%06x\",\"session_id\":\"ses_%06x\","
	         "\"message\":\"", id, below(1 << 24), below(1 << 24));
	add_words(b, 20);
	buf_add_str(b, "\",\"type\":\"progress\",\"timestamp\":\"");
	add_time(b, i);
	buf_add_str(b, "\"}");
}

static void
add_note(struct buf *b, size_t i, const char *id)
{
	buf_addf(b, "{\"id\":\"%s\",\"title\":\"", id);
	add_words(b, 4);
	buf_add_str(b, "\",\"content\":\"");
	add_words(b, 16);
	buf_add_str(b, "\",\"created_at\":\"");
	add_time(b, i);
	buf_add_str(b, "\",\"updated_at\":\"");
	add_time(b, i);
	buf_add_str(b, "\"}");
}

/* Of ten: an issue is created and updated four times, then logs, and a note. */
#define UPDATES 4
#define LOGS 4

/* The sample that makes the entity which sample i is about. */
static size_t
maker(size_t i)
{
	return i % 10 <= UPDATES ? i - i % 10 : i;
}

static void
make_event(size_t i)
{
	struct event *ev = &events[i];
	struct texts *t = &texts[i];
	size_t kind = i % 10;
	bool issue = kind <= UPDATES, update = issue && kind > 0, log = kind <= UPDATES + LOGS;

	buf_addf(&t->id, "%s-%0*zu", issue ? "td" : log ? "lg" : "nt", ID_DIGITS, maker(i));
	buf_addf(&t->time, "2026-03-%02zuT%02zu:%02zu:%02uZ", 1 + i / 40, i / 2 % 24, i % 60,
	         below(60));
	ev->type = span_of(issue ? "issues" : log ? "logs" : "notes");
	ev->action = update ? ACTION_UPDATE : ACTION_CREATE;
	buf_cstr(&t->id);
	buf_add_str(&t->payload, "{\"new_data\":");
	if (issue)
		add_issue(&t->payload, i, t->id.p, update ? "in_progress" : "open");
	else if (log)
		add_log(&t->payload, i, t->id.p);
	else
		add_note(&t->payload, i, t->id.p);
	buf_add_str(&t->payload, ",\"previous_data\":");
	if (update)
		add_issue(&t->payload, i, t->id.p, "open");
	else
		buf_add_str(&t->payload, "{}");
	buf_add_str(&t->payload, ",\"schema_version\":1}");
	ev->id = buf_span(&t->id);
	ev->payload = buf_span(&t->payload);
	ev->time = buf_span(&t->time);
}

static void
make_all(void)
{
	struct buf scratch = { 0 };

	for (size_t i = 0; i < SAMPLES; i++) {
		struct instant at;

		make_event(i);
		if (!time_parse_rfc3339(events[i].time, &at) ||
		    event_digest(&events[i], at, &scratch) != RC_OK)
			abort();
	}
	buf_free(&scratch);
}

const struct event *
sample_event(size_t i)
{
	if (events[0].id.p == NULL)
		make_all();
	return &events[i];
}

/* --- bodies --- */

/* Ten digits that the number of an event goes to, in the text behind `from`. */
static void
add_places(struct body *b, size_t from, const char *digits, size_t event)
{
	char *p;

	if (buf_cstr(&b->text) == NULL)
		abort();
	for (p = b->text.p + from; (p = strstr(p, digits)) != NULL; p += ID_DIGITS) {
		if (b->n_places % 64 == 0 &&
		    (b->places = realloc(b->places, (b->n_places + 64) * sizeof(*b->places))) == NULL)
			abort();
		b->places[b->n_places++] = (struct body_place){ (size_t)(p - b->text.p), event };
	}
}

void
body_make(struct body *b, size_t n, const char *device)
{
	struct buf *t = &b->text;

	*b = (struct body){ .n = n };
	buf_addf(t, "{\"device_id\":\"%s\",\"session_id\":\"ses_5e5510\",\"events\":[", device);
	for (size_t i = 0; i < n; i++) {
		const struct event *ev = sample_event(i);
		size_t from;

		buf_addf(t, "%s{\"client_action_id\":", i > 0 ? "," : "");
		buf_addf(t, "%0*d", ID_DIGITS, 0);
		add_places(b, t->len - ID_DIGITS, "0000000000", i);
		buf_addf(t, ",\"action_type\":\"%s\",\"entity_type\":", action_name(ev->action));
		buf_add_json(t, ev->type);
		from = t->len;
		buf_add_str(t, ",\"entity_id\":");
		buf_add_json(t, ev->id);
		buf_add_str(t, ",\"payload\":");
		buf_add_span(t, ev->payload);
		buf_add_str(t, ",\"client_timestamp\":");
		buf_add_json(t, ev->time);
		buf_add_byte(t, '}');
		add_places(b, from, ev->id.p + 3, maker(i));
	}
	buf_add_str(t, "]}");
	if (t->failed)
		abort();
}

void
body_free(struct body *b)
{
	buf_free(&b->text);
	free(b->places);
	*b = (struct body){ 0 };
}

void
body_number(struct body *b, int64_t first)
{
	for (size_t i = 0; i < b->n_places; i++) {
		char *p = b->text.p + b->places[i].at + ID_DIGITS;

		for (int64_t v = first + (int64_t)b->places[i].event, d = 0; d < ID_DIGITS; d++, v /= 10)
			*--p = (char)('0' + v % 10);
	}
}
