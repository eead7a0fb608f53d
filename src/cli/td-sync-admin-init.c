/* td-sync-admin init: a data folder, ready for a server. */
#include "cli/td-sync-admin.h"

static void
show(struct admin *a)
{
	const char *id = accounts_server_id(a->accounts);
	struct buf line = { 0 };

	if (a->json) {
		out_begin(&line);
		out_string(&line, "data", a->data);
		out_string(&line, "server_id", id);
		out_end(&line);
		return;
	}
	out_clean(&line, a->data);
	buf_addf(&line, " is ready, server %s", id);
	out_line(&line);
}

int
init_run(struct admin *a)
{
	enum rc rc = auth_create(a->data, &a->err);

	if (rc == RC_OK)
		rc = admin_open(a);
	if (rc != RC_OK)
		return admin_fail(a, rc);
	show(a);
	return 0;
}
