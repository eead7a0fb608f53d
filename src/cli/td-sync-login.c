/* td-sync login, logout and whoami */
#include "cli/td-sync.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void
cli_here(char out[CLI_HERE])
{
	char host[CLI_HERE - 8] = "";

	if (gethostname(host, sizeof(host) - 1) != 0 || host[0] == '\0')
		snprintf(host, sizeof(host), "unknown");
	snprintf(out, CLI_HERE, "td-sync@%s", host);
}

/* The one thing that the person has to do: said at once, what follows takes a while. */
static void
tell(void *ctx, const char *email, int seconds)
{
	struct cli *c = ctx;
	struct buf b = { 0 };
	char here[CLI_HERE];

	if (c->quiet)
		return;
	cli_here(here);
	buf_addf(&b, "if %s has an account there, a mail comes within moments: approve \"%s\" by its "
	         "link, within %d minute%s", email, here, (seconds + 59) / 60,
	         seconds > 60 ? "s" : "");
	out_complain(buf_cstr(&b) == NULL ? "approve it by the link in your mail" : b.p);
	buf_free(&b);
}

int
cli_login(struct cli *c)
{
	const char *key = getenv("TD_AUTH_KEY");
	struct tdsync_account account;
	char here[CLI_HERE];
	enum tdsync_rc rc;

	cli_here(here);
	rc = tdsync_login(c->t, c->email, here, tell, c, &account);
	if (rc != TDSYNC_OK)
		return out_failed(c, rc);
	if (c->json) {
		out_text(c, "user_id", account.user_id);
		out_text(c, "email", account.email);
		out_text(c, "expires_at", account.expires_at);
	} else {
		buf_add_str(&c->out, "logged in as ");
		out_clean(&c->out, account.email);
		buf_add_str(&c->out, ", td too");
		if (account.expires_at[0] != '\0') {
			buf_add_str(&c->out, "; until ");
			out_clean(&c->out, account.expires_at);
		}
		buf_add_byte(&c->out, '\n');
	}
	if (key != NULL && key[0] != '\0')
		out_complain("TD_AUTH_KEY is set, and goes before the login: unset it");
	return EXIT_OK;
}

int
cli_logout(struct cli *c)
{
	enum tdsync_rc rc = tdsync_logout(c->t);

	if (rc == TDSYNC_OK && c->json)
		out_bool(c, "logged_out", true);
	else if (rc == TDSYNC_OK)
		buf_add_str(&c->out, "logged out, td too\n");
	return out_failed(c, rc);
}

/* --- whoami --- */

static void
show(void *ctx, const struct tdsync_token *token)
{
	struct cli *c = ctx;
	struct buf projects = { 0 };

	if (c->json) {
		cli_token_members(c, token);
		return;
	}
	if (token->user_id[0] != '\0')
		out_line(c, "user", "%s (%s)", token->email, token->user_id);
	else
		out_line(c, "user", "(none: a share link)");
	out_line(c, "token", "%s (%s)", token->name[0] != '\0' ? token->name : "(no name)",
	         token->id);
	out_line(c, "scope", "%s", token->scope);
	cli_token_projects(&projects, token);
	out_line(c, "projects", "%s", buf_cstr(&projects) != NULL ? projects.p : "");
	out_line(c, "until", "%s", token->expires_at);
	c->out.failed = c->out.failed || projects.failed;
	buf_free(&projects);
}

int
cli_whoami(struct cli *c)
{
	return out_failed(c, tdsync_whoami(c->t, show, c));
}
