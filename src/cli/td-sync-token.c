/* td-sync token: a user's own tokens, as for agents. */
#include "cli/td-sync.h"

#include <stdio.h>
#include <string.h>

void
cli_token_projects(struct buf *out, const struct tdsync_token *token)
{
	if (token->all_projects)
		buf_add_str(out, "all");
	for (size_t i = 0; i < token->n_projects; i++) {
		buf_add_str(out, i == 0 ? "" : " ");
		buf_add_str(out, token->projects[i]);
	}
}

void
cli_token_members(struct cli *c, const struct tdsync_token *token)
{
	out_text(c, "id", token->id);
	if (token->user_id[0] != '\0') {
		out_text(c, "user_id", token->user_id);
		out_text(c, "email", token->email);
	}
	out_text(c, "name", token->name);
	out_text(c, "scope", token->scope);
	if (token->all_projects) {
		out_text(c, "projects", "*");
	} else {
		out_name(c, "projects");
		buf_add_byte(&c->out, '[');
		for (size_t i = 0; i < token->n_projects; i++) {
			buf_add_str(&c->out, i == 0 ? "" : ",");
			buf_add_json(&c->out, span_of(token->projects[i]));
		}
		buf_add_byte(&c->out, ']');
	}
	out_text(c, "created_at", token->created_at);
	out_text(c, "expires_at", token->expires_at);
	if (token->last_used_at[0] != '\0')
		out_text(c, "last_used_at", token->last_used_at);
}

/* --- create --- */

/* One that is made, and whether anybody got to see it. */
struct making {
	struct cli *c;
	char id[64];
	int code;
};

/* The secret alone goes to stdout, at once, so that a shell can take it. */
static void
show_new(void *ctx, const struct tdsync_token *token)
{
	struct making *m = ctx;
	struct cli *c = m->c;
	struct buf b = { 0 };

	snprintf(m->id, sizeof(m->id), "%s", token->id);
	if (c->json) {
		out_text(c, "token", token->secret);
		cli_token_members(c, token);
	} else {
		if (!c->quiet) {
			buf_addf(&b, "token %s for ", token->id);
			cli_token_projects(&b, token);
			buf_addf(&b, "%s: %s, until %s", token->all_projects ? " your projects" : "",
			         token->scope, token->expires_at);
			out_complain(buf_cstr(&b) == NULL ? token->id : b.p);
		}
		buf_addf(&c->out, "%s\n", token->secret);
		c->quiet = false; /* it was asked for */
	}
	buf_free(&b);
	m->code = out_finish(c, EXIT_OK);
	c->members = 0;
}

static int
create(struct cli *c)
{
	struct making m = { .c = c };
	char here[CLI_HERE], name[CLI_HERE + 16];
	struct tdsync_token_wish wish = {
		.name = c->name != NULL ? c->name : name, .projects = c->projects,
		.n_projects = c->n_projects, .read_only = c->read_only, .days = (int)c->days,
	};
	enum tdsync_rc rc;

	cli_here(here);
	snprintf(name, sizeof(name), "made by %s", here);
	rc = tdsync_create_token(c->t, &wish, show_new, &m);
	/* One that nobody got to see must not stay. */
	if (rc == TDSYNC_OK && m.code != EXIT_OK && tdsync_revoke_token(c->t, m.id) == TDSYNC_OK)
		out_complain("the token is revoked again");
	return rc == TDSYNC_OK ? m.code : out_failed(c, rc);
}

/* --- list --- */

static void
show(void *ctx, const struct tdsync_token *token)
{
	struct cli *c = ctx;
	struct buf line = { 0 };

	if (c->json) {
		out_item(c);
		cli_token_members(c, token);
		out_item_end(c);
		return;
	}
	buf_addf(&line, "%-19s  %-20s  %-20s  ", token->id, token->expires_at, token->scope);
	cli_token_projects(&line, token);
	buf_addf(&line, "  %s", token->name);
	if (buf_cstr(&line) != NULL)
		out_clean(&c->out, line.p);
	buf_add_byte(&c->out, '\n');
	c->out.failed = c->out.failed || line.failed;
	buf_free(&line);
}

static int
list(struct cli *c)
{
	enum tdsync_rc rc;

	if (c->json)
		out_list(c, "tokens");
	rc = tdsync_each_token(c->t, show, c);
	if (c->json)
		out_list_end(c);
	return out_failed(c, rc);
}

static int
revoke(struct cli *c)
{
	enum tdsync_rc rc = tdsync_revoke_token(c->t, c->args[1]);

	if (rc == TDSYNC_OK && c->json)
		out_bool(c, "revoked", true);
	return out_failed(c, rc);
}

int
cli_token(struct cli *c)
{
	static const struct {
		const char *verb;
		int args;
		int (*run)(struct cli *c);
	} verbs[] = { { "create", 1, create }, { "list", 1, list }, { "revoke", 2, revoke } };

	for (size_t i = 0; i < sizeof(verbs) / sizeof(*verbs); i++) {
		if (strcmp(c->args[0], verbs[i].verb) != 0)
			continue;
		if ((c->args[1] != NULL) != (verbs[i].args == 2))
			return cli_usage(verbs[i].args == 2 ? "an argument is missing for token "
			                 : "too many arguments for token ", verbs[i].verb);
		if (i > 0 && c->given[0] != '\0')
			return cli_usage("that option is not for token ", verbs[i].verb);
		return verbs[i].run(c);
	}
	return cli_usage("unknown command token ", c->args[0]);
}
