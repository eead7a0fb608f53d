/* td-sync invitation: those that wait for the user. */
#include "cli/td-sync.h"

#include <string.h>

static void
show(void *ctx, const struct tdsync_invitation *i)
{
	struct cli *c = ctx;
	struct buf line = { 0 };

	if (c->json) {
		out_item(c);
		out_text(c, "id", i->id);
		out_text(c, "project_id", i->project_id);
		out_text(c, "email", i->email);
		out_text(c, "role", i->role);
		out_text(c, "invited_by", i->invited_by);
		out_text(c, "expires_at", i->expires_at);
		out_item_end(c);
		return;
	}
	buf_addf(&line, "%-20s  %-6s of project %s, until %s", i->id, i->role, i->project_id,
	         i->expires_at);
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
		out_list(c, "invitations");
	rc = tdsync_each_invitation(c->t, show, c);
	if (c->json)
		out_list_end(c);
	return out_failed(c, rc);
}

static int
answer(struct cli *c, bool accept)
{
	enum tdsync_rc rc = tdsync_answer_invitation(c->t, c->args[1], accept);

	if (rc == TDSYNC_OK && c->json)
		out_text(c, "status", accept ? "accepted" : "declined");
	return out_failed(c, rc);
}

int
cli_invitation(struct cli *c)
{
	bool lists = strcmp(c->args[0], "list") == 0, accepts = strcmp(c->args[0], "accept") == 0;

	if (!lists && !accepts && strcmp(c->args[0], "decline") != 0)
		return cli_usage("unknown command invitation ", c->args[0]);
	if ((c->args[1] == NULL) != lists)
		return cli_usage(lists ? "too many arguments for invitation "
		                 : "an argument is missing for invitation ", c->args[0]);
	return lists ? list(c) : answer(c, accepts);
}
