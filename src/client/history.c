/*
 * What only the server knows of a replica's rows: each version of an entity,
 * from the log; and how to have back what was lost in a conflict.
 */
#include "client/work.h"

#include "base/json.h"
#include "client/kinds.h"
#include "client/words.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGE 200 /* versions asked for at a time */

static enum rc
no_memory(struct err *err)
{
	return err_set(err, RC_FAULT, "out of memory");
}

/* --- restore --- */

/* Ask the server to put it back. */
static enum tdsync_rc
ask_restore(struct work *w, const char *id)
{
	struct buf path = { 0 }, body = { 0 };
	struct remote_answer a = { 0 };
	char route[80];
	enum tdsync_rc rc;

	snprintf(route, sizeof(route), "conflicts/%s/restore", id);
	buf_add_str(&body, "{\"device_id\":");
	buf_add_json(&body, span_of(w->device));
	buf_add_str(&body, ",\"session_id\":\"td-sync\"}");
	if (buf_cstr(&body) == NULL)
		rc = work_local(w, no_memory(&w->t->err));
	else if ((rc = work_path(w, route, &path)) == TDSYNC_OK)
		rc = remote_call(&w->remote, path.p, buf_span(&body), true, &a, &w->t->err);
	remote_answer_free(&a);
	buf_free(&path);
	buf_free(&body);
	return rc;
}

enum tdsync_rc
tdsync_restore(struct tdsync *t, const char *id, struct tdsync_result *out)
{
	struct tdsync_result unused = { 0 };
	struct work w;
	enum tdsync_rc rc;

	t->err.text[0] = '\0';
	if (strspn(id, "0123456789-") != strlen(id) || id[0] == '\0' || strlen(id) > 40) {
		err_set(&t->err, RC_INVALID, "\"%s\" is no conflict's id: `td-sync conflicts` "
		        "lists them", id);
		return TDSYNC_INVALID;
	}
	if ((rc = work_open(t, &unused, &w)) == TDSYNC_OK)
		rc = ask_restore(&w, id);
	work_close(&w);
	return rc == TDSYNC_OK ? tdsync_sync(t, out) : rc;
}

/* --- history --- */

/* Versions while they are shown. */
struct versions {
	void (*visit)(void *ctx, const struct tdsync_version *v);
	void *ctx;
	struct words words;
	struct tdsync_change *changes;
	size_t cap;
	int64_t last;     /* the seq of the last one shown */
	bool more;
};

static bool
grow(struct versions *v, size_t n)
{
	size_t cap = v->cap == 0 ? 32 : 2 * v->cap;
	struct tdsync_change *p;

	if (n < v->cap)
		return true;
	if ((p = realloc(v->changes, cap * sizeof(*p))) == NULL)
		return false;
	v->changes = p;
	v->cap = cap;
	return true;
}

static enum rc
show_version(struct versions *v, struct span version, struct err *err)
{
	struct tdsync_author author;
	struct tdsync_version out = { .author = &author };
	struct span seq, list, k, change;
	struct json_iter it;

	words_clear(&v->words);
	if (!json_get(version, "server_seq", &seq) || !json_int64(seq, &out.server_seq) ||
	    out.server_seq <= v->last)
		return err_set(err, RC_INVALID, "a version makes no sense");
	v->last = out.server_seq;
	out.action_type = words_string(&v->words, version, "action_type");
	out.outcome = words_string(&v->words, version, "outcome");
	words_author(&v->words, version, &author);
	if (json_get(version, "changed", &list))
		for (json_iter_init(&it, list); json_next(&it, &k, &change); out.n_changes++) {
			if (!grow(v, out.n_changes))
				return no_memory(err);
			v->changes[out.n_changes] = (struct tdsync_change){
				.name = words_string(&v->words, change, "field"),
				.from = words_json(&v->words, change, "from", "null"),
				.to = words_json(&v->words, change, "to", "null"),
			};
		}
	out.changes = v->changes;
	if (v->words.failed)
		return no_memory(err);
	v->visit(v->ctx, &out);
	return RC_OK;
}

static enum rc
show_page(struct versions *v, struct span json, struct err *err)
{
	struct span list, k, version, more;
	struct json_iter it;
	int64_t before = v->last;
	enum rc rc = RC_OK;

	if (!json_get(json, "versions", &list) || json_type(list) != JSON_ARRAY)
		return err_set(err, RC_INVALID, "a history without versions");
	json_iter_init(&it, list);
	while (rc == RC_OK && json_next(&it, &k, &version))
		rc = show_version(v, version, err);
	/* A page that does not go on ends it, whatever it says. */
	v->more = rc == RC_OK && v->last > before && json_get(json, "has_more", &more) &&
	    json_type(more) == JSON_TRUE;
	return rc;
}

/* Append a segment of a path. */
static void
add_segment(struct buf *out, const char *text)
{
	for (; *text != '\0'; text++)
		if (isalnum((unsigned char)*text) || strchr("-_.~", *text) != NULL)
			buf_add_byte(out, *text);
		else
			buf_addf(out, "%%%02X", (unsigned char)*text);
}

static enum tdsync_rc
ask_page(struct work *w, const char *type, const char *id, struct versions *v)
{
	struct buf route = { 0 }, path = { 0 };
	struct remote_answer a = { 0 };
	struct err *err = &w->t->err, why = { "" };
	enum tdsync_rc rc;
	enum rc did;

	buf_add_str(&route, "entities/");
	add_segment(&route, type);
	buf_add_byte(&route, '/');
	add_segment(&route, id);
	buf_addf(&route, "/history?after_server_seq=%lld&limit=%d", (long long)v->last, PAGE);
	if (buf_cstr(&route) == NULL)
		rc = work_local(w, no_memory(err));
	else if ((rc = work_project_path(w, route.p, &path)) == TDSYNC_OK)
		rc = remote_call(&w->remote, path.p, (struct span){ 0 }, true, &a, err);
	if (rc == TDSYNC_OK && (did = show_page(v, a.json, &why)) != RC_OK)
		rc = did == RC_INVALID ? remote_nonsense(&w->remote, why.text, err)
		    : work_local(w, err_set(err, did, "%s", why.text));
	remote_answer_free(&a);
	buf_free(&route);
	buf_free(&path);
	return rc;
}

/* The table that has a row of that id, here or in the log; several: NULL. */
static enum tdsync_rc
find_type(struct work *w, const char *id, const char **out)
{
	struct err *err = &w->t->err;
	struct kinds *kinds;
	struct buf row = { 0 };
	int found = 0;
	enum tdsync_rc rc;

	*out = NULL;
	if ((rc = work_local(w, kinds_new(w->l, &kinds, err))) != TDSYNC_OK)
		return rc;
	for (size_t i = 0; i < kinds->n; i++) {
		const struct kind *k = &kinds->list[i];

		if (kind_local_json(kinds, k, span_of(id), &row, NULL) != RC_OK &&
		    kind_state_json(kinds, k, span_of(id), &row, NULL) != RC_OK)
			continue;
		*out = k->entity->table;
		found++;
	}
	kinds_free(kinds);
	buf_free(&row);
	if (found == 1)
		return TDSYNC_OK;
	err_set(err, RC_NOT_FOUND, found == 0 ? "nothing here has the id \"%s\": say what it is, "
	        "as issues/%s" : "several things have the id \"%s\": say which, as issues/%s",
	        id, id);
	return TDSYNC_NOT_FOUND;
}

enum tdsync_rc
tdsync_each_version(struct tdsync *t, const char *type, const char *id,
                    void (*visit)(void *ctx, const struct tdsync_version *v), void *ctx)
{
	struct tdsync_result unused = { 0 };
	struct versions v = { .visit = visit, .ctx = ctx };
	struct work w;
	enum tdsync_rc rc;

	t->err.text[0] = '\0';
	if ((rc = work_open(t, &unused, &w)) == TDSYNC_OK && type == NULL)
		rc = find_type(&w, id, &type);
	if (rc == TDSYNC_OK)
		do
			rc = ask_page(&w, type, id, &v);
		while (rc == TDSYNC_OK && v.more);
	work_close(&w);
	words_free(&v.words);
	free(v.changes);
	return rc;
}
