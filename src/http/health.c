/* GET /healthz: whether the server can reach its data. */
#include "http/handlers.h"

#include "base/log.h"

enum rc
health_run(struct request *r)
{
	struct accounts *accounts;
	enum rc rc = server_accounts(r->server, &accounts, &r->err);

	if (rc == RC_OK)
		rc = accounts_ping(accounts, &r->err);
	if (rc == RC_OK) {
		r->status = 200;
		buf_add_str(&r->out, "{\"status\":\"ok\"}\n");
		return RC_OK;
	}
	/* Anyone may ask: the cause is for the log. */
	log_write(LOG_ERROR, "health: %s: %s", rc_name(rc), r->err.text);
	r->status = 503;
	buf_add_str(&r->out, "{\"status\":\"error\",\"detail\":\"the database can't be "
	                     "reached; the error log tells why\"}\n");
	return RC_OK;
}
