/* What happened to an entity: the server tells it out of the log, see tdsync.h. */
#include "client/work.h"

#include "base/json.h"
#include "client/words.h"
#include "profiles/profile.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGE 200 /* versions asked for at a time */

struct history {
	struct work w;
	const struct profile_entity *type;
	const char *id;
	void (*visit)(void *ctx, const struct tdsync_version *v);
	void *ctx;
	int64_t after;
	bool more;
	struct words words;
	struct tdsync_change *changes;
	const char **conflicts;
	size_t max_changes, max_conflicts;
};

static enum rc
no_memory(struct err *err)
{
	return err_set(err, RC_FAULT, "out of memory");
}

/* --- which entity is meant --- */

/* Ids of td's begin with what they are of. */
static const struct {
	const char *prefix, *table;
} prefixes[] = {
	{ "td-", "issues" }, { "bd-", "boards" }, { "nt-", "notes" }, { "ws-", "work_sessions" },
};

/* "TYPE/ID" with a type that we know; else false. */
static bool
split(struct history *h, const char *entity)
{
	const char *slash = strchr(entity, '/');

	if (slash == NULL || slash[1] == '\0')
		return false;
	h->type = profile_entity(&profile_td, (struct span){ entity, (size_t)(slash - entity) });
	h->id = slash + 1;
	return h->type != NULL && !h->type->held_back;
}

/* Whether a table here has, or had, a row of that id. */
static enum rc
is_of(struct local *l, const struct profile_entity *e, const char *id, bool *yes,
      struct err *err)
{
	struct buf sql = { 0 };
	sqlite3_stmt *st = NULL;
	enum rc rc;

	*yes = false;
	buf_addf(&sql, "SELECT 1 FROM " TDSYNC ".\"%s\" WHERE id = :id UNION ALL"
	         " SELECT 1 FROM " TDSYNC ".held WHERE type = '%s' AND id = :id", e->table,
	         e->table);
	if (local_has_table(l, e->table))
		buf_addf(&sql, " UNION ALL SELECT 1 FROM main.\"%s\" WHERE id = :id", e->table);
	rc = buf_cstr(&sql) == NULL ? no_memory(err) : db_prepare(l->db, sql.p, &st, err);
	if (rc == RC_OK) {
		db_bind_text(st, ":id", span_of(id));
		rc = db_step(st, yes, err);
	}
	rc = local_failed(l, rc, err);
	sqlite3_finalize(st);
	buf_free(&sql);
	return rc;
}

static enum tdsync_rc
find_type(struct history *h)
{
	const struct profile_entity *found = NULL;
	struct err *err = &h->w.t->err;
	enum tdsync_rc rc;
	bool yes;

	for (const struct profile_entity *e = profile_td.entities; e->table != NULL; e++) {
		if (e->held_back)
			continue;
		rc = work_local(&h->w, is_of(h->w.l, e, h->id, &yes, err));
		if (rc != TDSYNC_OK)
			return rc;
		if (yes && found != NULL) {
			err_set(err, RC_INVALID, "%s is one of %s and of %s: name it as %s/%s", h->id,
			        found->table, e->table, found->table, h->id);
			return TDSYNC_INVALID;
		}
		if (yes)
			found = e;
	}
	for (size_t i = 0; found == NULL && i < sizeof(prefixes) / sizeof(prefixes[0]); i++)
		if (strncmp(h->id, prefixes[i].prefix, strlen(prefixes[i].prefix)) == 0)
			found = profile_entity(&profile_td, span_of(prefixes[i].table));
	h->type = found;
	if (found != NULL)
		return TDSYNC_OK;
	err_set(err, RC_NOT_FOUND, "nothing here has the id %s: name it as TYPE/ID, like "
	        "comments/%s", h->id, h->id);
	return TDSYNC_NOT_FOUND;
}

/* --- the server's answer --- */

/* Room for what a list has; *out is an array of that many. */
static bool
make_room(void *list, size_t size, struct span array, size_t *max)
{
	struct json_iter it;
	struct span k, v;
	size_t n = 0;
	void **p = list, *grown;

	json_iter_init(&it, array);
	while (json_next(&it, &k, &v))
		n++;
	if (n <= *max)
		return true;
	if ((grown = realloc(*p, n * size)) == NULL)
		return false;
	*p = grown;
	*max = n;
	return true;
}

static void
read_changes(struct history *h, struct span list, struct tdsync_version *out)
{
	struct json_iter it;
	struct span k, change;

	json_iter_init(&it, list);
	while (json_next(&it, &k, &change))
		h->changes[out->n_changes++] = (struct tdsync_change){
			words_string(&h->words, change, "field"),
			words_json(&h->words, change, "from", NULL),
			words_json(&h->words, change, "to", "null"),
		};
	out->changes = h->changes;
}

static void
read_conflicts(struct history *h, struct span list, struct tdsync_version *out)
{
	struct json_iter it;
	struct span k, id;
	struct buf text = { 0 };

	json_iter_init(&it, list);
	while (json_next(&it, &k, &id)) {
		buf_reset(&text);
		json_string(id, &text);
		h->conflicts[out->n_conflicts++] = words_add(&h->words, buf_span(&text));
		h->words.failed = h->words.failed || text.failed;
	}
	buf_free(&text);
	out->conflicts = h->conflicts;
}

/* Show a version; false where it makes no sense. */
static bool
show(struct history *h, struct span version, enum rc *rc, struct err *err)
{
	struct tdsync_version out = { .entity_type = h->type->table, .entity_id = h->id };
	struct words *w = &h->words;
	struct span changed = { 0 }, conflicts = { 0 }, taken = { 0 }, server, cause;

	words_clear(w);
	words_author(w, version, &out.author);
	json_get(version, "changed", &changed);
	json_get(version, "conflicts", &conflicts);
	json_get(version, "taken_by", &taken);
	if (out.author.server_seq <= h->after || json_type(changed) != JSON_ARRAY)
		return false;
	h->after = out.author.server_seq;
	out.action_type = words_string(w, version, "action_type");
	out.outcome = words_string(w, version, "outcome");
	out.by_server = json_get(version, "by_server", &server) &&
	    json_type(server) == JSON_TRUE;
	if (json_get(version, "cause_seq", &cause))
		json_int64(cause, &out.cause_seq);
	out.reason = words_string(w, version, "reason");
	out.restored_conflict = words_string(w, version, "restored_conflict");
	out.taken_by_type = words_string(w, taken, "entity_type");
	out.taken_by_id = words_string(w, taken, "entity_id");
	if (!make_room(&h->changes, sizeof(*h->changes), changed, &h->max_changes) ||
	    !make_room(&h->conflicts, sizeof(*h->conflicts), conflicts, &h->max_conflicts)) {
		*rc = no_memory(err);
		return true;
	}
	read_changes(h, changed, &out);
	read_conflicts(h, conflicts, &out);
	if (w->failed)
		*rc = no_memory(err);
	else
		h->visit(h->ctx, &out);
	return true;
}

static enum tdsync_rc
show_page(struct history *h, struct span json)
{
	struct err *err = &h->w.t->err;
	struct json_iter it;
	struct span list = { 0 }, v, k;
	int64_t before = h->after;
	enum rc rc = RC_OK;
	bool ok;

	ok = json_get(json, "has_more", &v) && json_get(json, "versions", &list) &&
	    json_type(list) == JSON_ARRAY;
	h->more = ok && json_type(v) == JSON_TRUE;
	json_iter_init(&it, list);
	while (ok && rc == RC_OK && json_next(&it, &k, &v))
		ok = show(h, v, &rc, err);
	if (!ok || (h->more && h->after == before))
		return remote_nonsense(&h->w.remote, "its history makes no sense", err);
	return work_local(&h->w, rc);
}

/*
 * Append an id to a path. A slash goes as it is: Apache refuses %2F unless the host's own
 * configuration allows it. Not beside another sign, though: web servers make one of two
 * slashes, and take dots between them away.
 */
static void
add_id(struct buf *out, const char *id)
{
	for (const char *p = id; *p != '\0'; p++)
		if (isalnum((unsigned char)*p) || strchr("-._~", *p) != NULL ||
		    (*p == '/' && p > id && isalnum((unsigned char)p[-1]) &&
		     isalnum((unsigned char)p[1])))
			buf_add_byte(out, *p);
		else
			buf_addf(out, "%%%02X", (unsigned char)*p);
}

static enum tdsync_rc
fetch_page(struct history *h)
{
	struct work *w = &h->w;
	struct remote_answer a = { 0 };
	struct buf route = { 0 }, path = { 0 };
	enum tdsync_rc rc;

	buf_addf(&route, "entities/%s/", h->type->table);
	add_id(&route, h->id);
	buf_addf(&route, "/history?after_server_seq=%lld&limit=%d", (long long)h->after, PAGE);
	if (buf_cstr(&route) == NULL)
		rc = work_local(w, no_memory(&w->t->err));
	else if ((rc = work_project_path(w, route.p, &path)) == TDSYNC_OK)
		rc = remote_call(&w->remote, path.p, (struct span){ 0 }, false, &a, &w->t->err);
	if (rc == TDSYNC_OK) {
		rc = show_page(h, a.json);
	} else if (rc == TDSYNC_NOT_FOUND) {
		err_set(&w->t->err, RC_NOT_FOUND, "%s: no event of this project is about %s %s",
		        w->remote.url, h->type->table, h->id);
	} else if (a.reply.status == 404 || a.reply.status == 405) {
		err_set(&w->t->err, RC_NOT_FOUND, "%s: this server tells no histories",
		        w->remote.url);
		rc = TDSYNC_REFUSED;
	}
	buf_free(&route);
	buf_free(&path);
	remote_answer_free(&a);
	return rc;
}

/* What is needed of the databases: the project, and whose id it is. */
static enum tdsync_rc
look_here(struct history *h, const char *entity)
{
	struct work *w = &h->w;
	struct err *err = &w->t->err;
	enum tdsync_rc rc;

	if ((rc = work_local(w, local_open(w->t->dir, false, &w->l, err))) != TDSYNC_OK ||
	    (rc = work_local(w, td_state_load(w->l, &w->td, err))) != TDSYNC_OK ||
	    (rc = work_check_linked(w)) != TDSYNC_OK)
		return rc;
	snprintf(w->books.project, sizeof(w->books.project), "%s", w->td.project);
	if (split(h, entity))
		return TDSYNC_OK;
	if (!w->l->has_books && (rc = work_local(w, books_prepare(w->l, err))) != TDSYNC_OK)
		return rc;
	h->id = entity;
	return find_type(h);
}

enum tdsync_rc
tdsync_each_version(struct tdsync *t, const char *entity,
                    void (*visit)(void *ctx, const struct tdsync_version *v), void *ctx)
{
	struct history h = { .w = { .t = t, .remote = work_remote(t) }, .visit = visit,
		.ctx = ctx, .more = true };
	enum tdsync_rc rc;

	t->err.text[0] = '\0';
	if (entity == NULL || entity[0] == '\0') {
		err_set(&t->err, RC_INVALID, "whose history?");
		return TDSYNC_INVALID;
	}
	rc = look_here(&h, entity);
	while (rc == TDSYNC_OK && h.more)
		rc = fetch_page(&h);
	work_close(&h.w);
	words_free(&h.words);
	free(h.changes);
	free(h.conflicts);
	return rc;
}
