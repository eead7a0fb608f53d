/* Lost rows, see lost.h. */
#include "engine/lost.h"

#include "base/json.h"
#include "engine/value.h"

bool
lost_read(const struct table *t, struct span fields, struct row *out)
{
	struct json_iter it;
	struct span key, entry, field, lost;
	struct buf name = { 0 };
	bool failed = false;
	int i;

	*out = (struct row){ 0 };
	json_iter_init(&it, fields);
	while (json_next(&it, &key, &entry)) {
		json_get(entry, "lost", &lost);
		buf_reset(&name);
		if (json_type(lost) == JSON_NULL || !json_get(entry, "field", &field) ||
		    !json_string(field, &name))
			continue;
		failed = failed || name.failed;
		i = table_column(t, buf_span(&name), 0);
		if (i >= 0)
			out->values[i] = lost;
	}
	buf_free(&name);
	return !failed;
}

void
lost_spell(const struct column *c, struct span json, struct buf *out)
{
	struct buf text = { 0 };

	if (c->datetime && json_string(json, &text))
		value_text_json(buf_span(&text), true, out);
	else
		buf_add_span(out, json);
	out->failed = out->failed || text.failed;
	buf_free(&text);
}

void
lost_member(const struct column *c, struct span json, struct buf *out)
{
	buf_add_byte(out, out->len == 0 ? '{' : ',');
	buf_add_json(out, span_of(c->name));
	buf_add_byte(out, ':');
	buf_add_span(out, json);
}

void
lost_row(const struct table *t, struct span id, const struct row *lost, bool all,
         struct span now, struct buf *out)
{
	struct buf value = { 0 };

	for (int i = 0; i < t->n_columns; i++) {
		const struct column *c = &t->columns[i];

		buf_reset(&value);
		if (c->local)
			continue;
		if (c->is_key)
			buf_add_json(&value, id);
		else if (i == t->updated_at && now.len > 0)
			buf_add_json(&value, now);
		else if (lost->values[i].len > 0)
			lost_spell(c, lost->values[i], &value);
		else if (c->now && now.len > 0)
			buf_add_json(&value, now);
		else if (all && c->not_null && c->fallback == NULL && !c->now)
			buf_add_str(&value, "\"\"");
		else
			continue;
		lost_member(c, buf_span(&value), out);
	}
	buf_add_byte(out, '}');
	out->failed = out->failed || value.failed;
	buf_free(&value);
}
