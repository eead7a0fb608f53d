/*
 * Makes C of a profile's file: compile FILE >td_json.c. Run when td-sync is built,
 * so that td's profile is there without any file, and costs a process nothing.
 */
#include "profiles/read.h"

#include <stdio.h>

/* A text as C has it; NULL as NULL. */
static void
put_text(const char *text)
{
	if (text == NULL) {
		fputs("NULL", stdout);
		return;
	}
	putchar('"');
	for (const unsigned char *c = (const unsigned char *)text; *c != '\0'; c++)
		if (*c < 0x20 || *c >= 0x7f || *c == '"' || *c == '\\' || *c == '?')
			printf("\\%03o", *c);
		else
			putchar(*c);
	putchar('"');
}

/* "LEAD = TEXT," */
static void
put_member(const char *name, const char *text)
{
	printf("\t  .%s = ", name);
	put_text(text);
	fputs(",\n", stdout);
}

static void
put_columns(const struct profile_entity *e)
{
	fputs("\t  .columns = (const struct profile_column[]){\n", stdout);
	for (const struct profile_column *c = e->columns; c->name != NULL; c++) {
		printf("\t\t{ \"%s\", ", c->name);
		put_text(c->decl);
		printf(", %u },\n", c->flags);
	}
	fputs("\t\t{ 0 } },\n", stdout);
}

static void
put_indexes(const struct profile_entity *e)
{
	fputs("\t  .indexes = (const struct profile_index[]){\n", stdout);
	for (const struct profile_index *i = e->indexes; i->name != NULL; i++) {
		printf("\t\t{ \"%s\", ", i->name);
		put_text(i->on);
		fputs(" },\n", stdout);
	}
	fputs("\t\t{ 0 } },\n", stdout);
}

static void
put_edge(const struct profile_edge *e)
{
	printf("\t  .edge = &(const struct profile_edge){ \"%s\", \"%s\", \"%s\", ", e->from,
	       e->to, e->relation);
	put_text(e->value);
	fputs(" },\n", stdout);
}

static void
put_entity(const struct profile_entity *e)
{
	printf("\t{ .table = \"%s\",\n\t  .aliases = (const char *const[]){ ", e->table);
	for (const char *const *a = e->aliases; *a != NULL; a++)
		printf("\"%s\", ", *a);
	fputs("NULL },\n", stdout);
	put_columns(e);
	put_member("constraints", e->constraints);
	if (e->indexes != NULL)
		put_indexes(e);
	put_member("seed", e->seed);
	put_member("unwrap", e->unwrap);
	put_member("parent", e->parent);
	if (e->edge != NULL)
		put_edge(e->edge);
	printf("\t  .held_back = %s },\n", e->held_back ? "true" : "false");
}

static void
put_note(const struct profile_note *n)
{
	const char *const parts[] = { n->of, n->table, n->prefix, n->owner, n->text, n->session,
	                              n->time };

	fputs("\t.note = &(const struct profile_note){ ", stdout);
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		put_text(parts[i]);
		fputs(", ", stdout);
	}
	fputs("},\n", stdout);
}

static void
put_profile(const struct profile *p)
{
	puts("/* Made by compile.c. */\n#include \"profiles/profile.h\"\n\n"
	     "static const struct profile_entity entities[] = {");
	for (const struct profile_entity *e = p->entities; e->table != NULL; e++)
		put_entity(e);
	puts("\t{ 0 }\n};\n\nstatic const struct profile_alias actions[] = {");
	for (const struct profile_alias *a = p->actions; a->type != NULL; a++)
		printf("\t{ \"%s\", %d },\n", a->type, (int)a->action);
	puts("\t{ 0 }\n};\n\nstatic const char *const local[] = {");
	for (const char *const *s = p->local; *s != NULL; s++) {
		putchar('\t');
		put_text(*s);
		puts(",");
	}
	printf("\tNULL\n};\n\nconst struct profile profile_%s = {\n\t.name = \"%s\",\n"
	       "\t.version = %d,\n\t.create = %s,\n\t.entities = entities,\n"
	       "\t.actions = actions,\n\t.local = local,\n\t.heals = %s,\n", p->name, p->name,
	       p->version, p->create == PROFILE_UPSERT ? "PROFILE_UPSERT" : "PROFILE_REPLACE",
	       p->heals ? "true" : "false");
	if (p->note != NULL)
		put_note(p->note);
	puts("};");
}

int
main(int argc, char **argv)
{
	struct profile *p;
	struct err err;

	if (argc != 2) {
		fputs("usage: compile FILE\n", stderr);
		return 2;
	}
	if (profile_read(argv[1], &p, &err) != RC_OK) {
		fprintf(stderr, "%s\n", err.text);
		return 1;
	}
	put_profile(p);
	profile_free(p);
	return fflush(stdout) == 0 && !ferror(stdout) ? 0 : 1;
}
