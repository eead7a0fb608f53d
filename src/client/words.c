/* Texts handed out, see words.h. */
#include "client/words.h"

#include "base/json.h"

#include <stdlib.h>

void
words_clear(struct words *w)
{
	while (w->n > 0)
		free(w->list[--w->n]);
	w->failed = false;
}

void
words_free(struct words *w)
{
	words_clear(w);
	free(w->list);
	*w = (struct words){ 0 };
}

const char *
words_add(struct words *w, struct span text)
{
	char *copy;

	if (w->n == w->cap) {
		size_t cap = w->cap == 0 ? 32 : 2 * w->cap;
		char **grown = realloc(w->list, cap * sizeof(*grown));

		if (grown == NULL) {
			w->failed = true;
			return "";
		}
		w->list = grown;
		w->cap = cap;
	}
	if ((copy = span_dup(text)) == NULL) {
		w->failed = true;
		return "";
	}
	return w->list[w->n++] = copy;
}

const char *
words_string(struct words *w, struct span object, const char *name)
{
	struct buf text = { 0 };
	struct span v;
	const char *out = "";

	if (json_get(object, name, &v) && json_string(v, &text))
		out = words_add(w, buf_span(&text));
	w->failed = w->failed || text.failed;
	buf_free(&text);
	return out;
}

const char *
words_json(struct words *w, struct span object, const char *name, const char *otherwise)
{
	struct span v;

	return json_get(object, name, &v) ? words_add(w, v) : otherwise;
}

void
words_author(struct words *w, struct span object, struct tdsync_author *out)
{
	struct span v;

	*out = (struct tdsync_author){
		.user_id = words_string(w, object, "user_id"),
		.device_id = words_string(w, object, "device_id"),
		.session_id = words_string(w, object, "session_id"),
		.client_timestamp = words_string(w, object, "client_timestamp"),
		.server_timestamp = words_string(w, object, "server_timestamp"),
	};
	if (json_get(object, "server_seq", &v))
		json_int64(v, &out->server_seq);
}
