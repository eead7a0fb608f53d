/* td-sync-admin mail: whether mail can be sent. */
#include "cli/td-sync-admin.h"

#include "http/config.h"
#include "mail/mail.h"

static const char text[] =
"This is a test: td-sync-admin mail test has sent it with the configuration of\n"
"the server. Links for login and invitations will come the same way.\n";

static void
show(const struct admin *a, const struct config *config)
{
	struct buf line = { 0 }, by = { 0 };

	mail_describe(&config->mail, &by);
	if (a->json) {
		out_begin(&line);
		out_string(&line, "to", a->args[0]);
		out_string(&line, "from", config->mail.from);
		out_span(&line, "by", buf_span(&by));
		out_end(&line);
	} else {
		buf_addf(&line, "a mail to %s was taken over by ", a->args[0]);
		if (buf_cstr(&by) != NULL)
			out_clean(&line, by.p);
		buf_addf(&line, "; it comes from %s", config->mail.from);
		out_line(&line);
	}
	buf_free(&by);
}

int
mail_test_run(struct admin *a)
{
	static struct config config; /* large */
	struct mail m = { a->args[0], "Test mail from td-sync", span_of(text) };
	enum rc rc = config_load(a->config, a->data, &config, &a->err);

	if (rc == RC_OK)
		rc = mail_send(&config.mail, &m, &a->err);
	if (rc != RC_OK)
		return admin_fail(a, rc);
	show(a, &config);
	return 0;
}
