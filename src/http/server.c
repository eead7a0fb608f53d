/* What a worker keeps, see server.h. */
#include "http/server.h"

#include <string.h>

void
server_init(struct server *s, const struct config *config, int max_workers)
{
	memset(s, 0, sizeof(*s));
	s->config = config;
	/* Half of a pool stays free for others. */
	s->max_waiting = max_workers > 1 ? max_workers / 2
	                 : max_workers == 1 ? 1 : (int)config->max_waiting;
	s->max_large = (int)config->max_large_bodies;
	if (max_workers > 0 && s->max_large > max_workers / 2)
		s->max_large = max_workers > 1 ? max_workers / 2 : 1;
	projects_init(&s->projects, config->data, config->profiles);
	pages_init(&s->pages, config->data, config->page_cache_bytes);
	rates_init(&s->rates, config->limits ? config->data : NULL);
}

void
server_close(struct server *s)
{
	projects_close(&s->projects);
	pages_close(&s->pages);
	rates_close(&s->rates);
	auth_close(s->auth);
	s->auth = NULL;
}

enum rc
server_auth(struct server *s, struct auth **out, struct err *err)
{
	enum rc rc = RC_OK;

	if (s->auth == NULL)
		rc = auth_open(s->config->data, &s->auth, err);
	*out = s->auth;
	/* To a caller, a server without its accounts is one out of order. */
	return rc == RC_NOT_FOUND ? RC_UNAVAILABLE : rc;
}

enum rc
server_accounts(struct server *s, struct accounts **out, struct err *err)
{
	struct auth *auth;
	enum rc rc;

	*out = NULL;
	if ((rc = server_auth(s, &auth, err)) != RC_OK)
		return rc;
	rc = auth_accounts(auth, out, err);
	return rc == RC_NOT_FOUND ? RC_UNAVAILABLE : rc;
}

enum rc
server_check(const struct config *config, struct err *err)
{
	struct server s;
	struct accounts *accounts;
	enum rc rc;

	server_init(&s, config, 0);
	rc = server_accounts(&s, &accounts, err);
	if (rc == RC_OK)
		rc = accounts_ping(accounts, err);
	server_close(&s);
	return rc;
}
