/* Looking things up in a profile, see profile.h. */
#include "profiles/profile.h"

#include <string.h>

bool
profile_is_name(struct span name)
{
	if (name.len == 0 || name.len > PROFILE_NAME_MAX || name.p[0] < 'a' || name.p[0] > 'z')
		return false;
	for (size_t i = 1; i < name.len; i++) {
		char c = name.p[i];

		if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '_')
			return false;
	}
	return true;
}

static bool
names(const struct profile_entity *e, struct span type)
{
	if (span_is_nocase(type, e->table))
		return true;
	for (const char *const *a = e->aliases; *a != NULL; a++)
		if (span_is_nocase(type, *a))
			return true;
	return false;
}

const struct profile_entity *
profile_entity(const struct profile *p, struct span type)
{
	for (const struct profile_entity *e = p->entities; e->table != NULL; e++)
		if (names(e, type))
			return e;
	return NULL;
}

const struct profile_column *
profile_column(const struct profile_entity *e, struct span name)
{
	for (const struct profile_column *c = e->columns; c->name != NULL; c++)
		if (span_is(name, c->name))
			return c;
	return NULL;
}

static bool
ends_with(const char *s, const char *end)
{
	size_t n = strlen(s), m = strlen(end);

	return n >= m && strcmp(s + n - m, end) == 0;
}

bool
profile_is_time(const char *name, const char *type)
{
	return span_is_nocase(span_of(type), "DATETIME") || ends_with(name, "_at") ||
	       strcmp(name, "timestamp") == 0;
}

bool
profile_is_session(const char *name)
{
	return ends_with(name, "_session") || strcmp(name, "session_id") == 0;
}

enum action
profile_action(const struct profile *p, struct span type)
{
	for (enum action a = ACTION_CREATE; a <= ACTION_RESTORE; a++)
		if (span_is_nocase(type, action_name(a)))
			return a;
	if (p != NULL)
		for (const struct profile_alias *a = p->actions; a->type != NULL; a++)
			if (span_is_nocase(type, a->type))
				return a->action;
	return ACTION_UPDATE;
}

enum action
profile_local_action(const struct profile *p, struct span type)
{
	if (span_is_nocase(type, action_name(ACTION_DELETE)))
		return ACTION_SOFT_DELETE;
	return profile_action(p, type);
}

void
profile_table(const struct profile_entity *e, const char *schema, struct buf *sql)
{
	buf_addf(sql, "CREATE TABLE \"%s\".\"%s\" (", schema, e->table);
	for (const struct profile_column *c = e->columns; c->name != NULL; c++)
		buf_addf(sql, "%s\n\t\"%s\" %s", c == e->columns ? "" : ",", c->name, c->decl);
	if (e->constraints != NULL)
		buf_addf(sql, ",\n\t%s", e->constraints);
	buf_add_str(sql, "\n);\n");
	for (const struct profile_index *i = e->indexes; i != NULL && i->name != NULL; i++)
		buf_addf(sql, "CREATE INDEX \"%s\".\"%s\" ON \"%s\"%s;\n", schema,
		         i->name, e->table, i->on);
}

void
profile_seed(const struct profile_entity *e, const char *schema, struct buf *sql)
{
	if (e->seed != NULL)
		buf_addf(sql, "INSERT INTO \"%s\".\"%s\" %s;\n", schema, e->table, e->seed);
}

void
profile_schema(const struct profile *p, const char *schema, struct buf *sql)
{
	for (const struct profile_entity *e = p->entities; e->table != NULL; e++)
		if (!e->held_back) {
			profile_table(e, schema, sql);
			profile_seed(e, schema, sql);
		}
}

void
profile_database(const struct profile *p, struct buf *sql)
{
	for (const struct profile_entity *e = p->entities; e->table != NULL; e++)
		profile_table(e, "main", sql);
	for (const char *const *s = p->local; *s != NULL; s++)
		buf_addf(sql, "%s\n;\n", *s); /* it may end with a comment */
}
