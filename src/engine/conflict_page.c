/* A page of conflicts, see conflict_page.h. */
#include "engine/conflict_page.h"

#include "engine/conflict.h"
#include "engine/page.h"

#include <inttypes.h>

/* Who sent an event, as JSON. Most conflicts of a page have one in common with
 * the one before. */
struct author {
	int64_t seq; /* 0: none yet */
	struct buf text;
};

/* A page while it is written. */
struct writer {
	struct tables *all;
	struct state *state;
	struct events *log;
	struct buf *out;
	size_t start;       /* of the page in out */
	int64_t limit, count;
	bool large;
	int64_t last;       /* seq of the last conflict, or the cursor */
	bool has_more;
	struct author kept, lost;
};

static enum rc
no_memory(struct err *err)
{
	return err_set(err, RC_FAULT, "out of memory");
}

static enum rc
write_author(struct writer *w, struct author *a, int64_t seq, struct err *err)
{
	struct buf *b = &a->text;
	struct event ev;
	enum rc rc;

	if (seq == a->seq)
		return RC_OK;
	if ((rc = events_glance(w->log, seq, &ev, err)) != RC_OK)
		return rc == RC_NOT_FOUND ? state_doubt(w->state, seq, err) : rc;
	buf_reset(b);
	buf_add_str(b, "{\"server_seq\":");
	buf_add_int(b, seq);
	buf_add_byte(b, ',');
	page_add_author(b, &ev);
	buf_add_byte(b, '}');
	events_got(w->log);
	a->seq = seq;
	return b->failed ? no_memory(err) : RC_OK;
}

/* A side of a conflict; null where it isn't known whose it is. */
static enum rc
add_side(struct writer *w, const char *name, struct author *a, int64_t seq,
         struct err *err)
{
	enum rc rc = seq == 0 ? RC_OK : write_author(w, a, seq, err);

	buf_add_str(w->out, name);
	if (seq == 0)
		buf_add_str(w->out, "null");
	else
		buf_add_span(w->out, buf_span(&a->text));
	return rc;
}

static enum rc
add_conflict(struct writer *w, const struct state_conflict *c, struct err *err)
{
	struct buf *b = w->out;
	char id[CONFLICT_ID_TEXT];
	enum rc rc;

	buf_add_str(b, w->count > 0 ? ",{\"id\":\"" : "{\"id\":\"");
	buf_add_str(b, conflict_id_text((struct conflict_id){ c->seq, c->n }, id));
	buf_add_str(b, "\",\"server_seq\":");
	buf_add_int(b, c->seq);
	buf_add_str(b, ",\"kind\":\"");
	buf_add_str(b, conflict_name((enum conflict_kind)c->kind));
	buf_add_str(b, c->certain ? "\",\"certain\":true" : "\",\"certain\":false");
	buf_add_str(b, ",\"entity_type\":");
	buf_add_json(b, span_of(w->all->list[c->type].entity->table));
	buf_add_str(b, ",\"entity_id\":");
	buf_add_json(b, c->id);
	buf_add_str(b, ",\"fields\":");
	buf_add_span(b, c->fields);
	if ((rc = add_side(w, ",\"kept\":", &w->kept, c->kept_seq, err)) == RC_OK)
		rc = add_side(w, ",\"lost\":", &w->lost, c->lost_seq, err);
	buf_add_byte(b, '}');
	return rc;
}

static enum rc
visit(void *ctx, const struct state_conflict *c, bool *stop, struct err *err)
{
	struct writer *w = ctx;
	size_t bytes = w->out->len - w->start;
	bool full = w->count >= w->limit || bytes >= PAGE_MAX_BYTES;
	enum rc rc;

	if (full && c->seq != w->last) {
		w->has_more = *stop = true;
		return RC_OK;
	}
	if (!w->large && (c->fields.len > PAGE_MAX_BYTES || bytes >= 2 * PAGE_MAX_BYTES))
		return err_set(err, RC_TOO_LARGE, "what an event took is larger than a page");
	if (c->type < 0 || (size_t)c->type >= w->all->n)
		return err_set(err, RC_FAULT, "conflict %" PRId64 "-%d is of no table", c->seq,
		               c->n);
	if ((rc = add_conflict(w, c, err)) != RC_OK)
		return rc;
	w->last = c->seq;
	w->count++;
	return w->out->failed ? no_memory(err) : RC_OK;
}

enum rc
conflict_page_write(struct follower *f, struct events *log, int64_t after, int64_t limit,
                    bool large, struct buf *out, struct err *err)
{
	struct writer w = {
		.all = follower_tables(f), .state = follower_state(f), .log = log, .out = out,
		.start = out->len, .limit = limit, .large = large, .last = after,
	};
	enum rc rc;

	buf_add_str(out, "{\"conflicts\":[");
	rc = state_walk_conflicts(w.state, after, visit, &w, err);
	buf_add_str(out, "],\"last_server_seq\":");
	buf_add_int(out, w.last);
	buf_add_str(out, w.has_more ? ",\"has_more\":true}\n" : ",\"has_more\":false}\n");
	if (rc == RC_OK && out->failed)
		rc = no_memory(err);
	if (rc != RC_OK)
		out->len = w.start;
	buf_free(&w.kept.text);
	buf_free(&w.lost.text);
	return rc;
}
