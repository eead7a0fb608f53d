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
add_note(struct buf *b, size_t i, const char *id, const char *text)
{
	buf_addf(b, "{\"id\":\"%s\",\"issue_id\":\"td-%06x\","
	         "\"session_id\":\"ses_%06x\",\"%s\":\"", id, below(1 << 24),
	         below(1 << 24), text);
	add_words(b, 20);
	buf_add_str(b, text[0] == 'm' ? "\",\"type\":\"progress\",\"timestamp\":\""
	                              : "\",\"created_at\":\"");
	add_time(b, i);
	buf_add_str(b, "\"}");
}

static void
make_event(size_t i)
{
	struct event *ev = &events[i];
	struct texts *t = &texts[i];
	unsigned kind = below(10);
	const char *prefix = kind < 5 ? "td" : kind < 9 ? "lg" : "cm";

	buf_addf(&t->id, "%s-%06x", prefix, below(1 << 24));
	buf_addf(&t->time, "2026-03-%02zuT%02zu:%02zu:%02uZ", 1 + i / 40, i / 2 % 24, i % 60,
	         below(60));
	ev->type = span_of(kind < 5 ? "issues" : kind < 9 ? "logs" : "comments");
	ev->action = kind < 4 ? ACTION_UPDATE : ACTION_CREATE;
	buf_cstr(&t->id);
	buf_add_str(&t->payload, "{\"new_data\":");
	if (kind < 5)
		add_issue(&t->payload, i, t->id.p, kind < 4 ? "in_progress" : "open");
	else
		add_note(&t->payload, i, t->id.p, kind < 9 ? "message" : "text");
	buf_add_str(&t->payload, ",\"previous_data\":");
	if (kind < 4)
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

void
body_make(struct body *b, size_t n, const char *device)
{
	struct buf *t = &b->text;

	*b = (struct body){ .places = calloc(n, sizeof(*b->places)), .n = n };
	buf_addf(t, "{\"device_id\":\"%s\",\"session_id\":\"ses_5e5510\",\"events\":[", device);
	for (size_t i = 0; i < n; i++) {
		const struct event *ev = sample_event(i);

		buf_add_str(t, i > 0 ? ",{\"client_action_id\":" : "{\"client_action_id\":");
		b->places[i] = t->len;
		buf_addf(t, "%0*d,\"action_type\":\"%s\",\"entity_type\":", ID_DIGITS, 0,
		         action_name(ev->action));
		buf_add_json(t, ev->type);
		buf_add_str(t, ",\"entity_id\":");
		buf_add_json(t, ev->id);
		buf_add_str(t, ",\"payload\":");
		buf_add_span(t, ev->payload);
		buf_add_str(t, ",\"client_timestamp\":");
		buf_add_json(t, ev->time);
		buf_add_byte(t, '}');
	}
	buf_add_str(t, "]}");
	if (t->failed || b->places == NULL)
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
	for (size_t i = 0; i < b->n; i++) {
		char *p = b->text.p + b->places[i] + ID_DIGITS;

		for (int64_t v = first + (int64_t)i, d = 0; d < ID_DIGITS; d++, v /= 10)
			*--p = (char)('0' + v % 10);
	}
}
