/* Who is calling, and what may they do; see auth.h. */
#include "auth/auth.h"

#include "base/hash.h"
#include "base/log.h"
#include "base/metrics.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * Verified tokens, by SHA-256: sets of a few places, the least recently used
 * one gives way. Only tokens whose signature is good get in, so no stranger
 * can push others out.
 */
#define CACHE_SETS 64
#define CACHE_WAYS 4

struct verified {
	unsigned char hash[HASH_LEN]; /* of the token */
	struct claims claims;         /* jti "": the place is free */
	uint64_t used;                /* the cache's clock at its last use */
};

struct auth {
	char *data;                /* the data folder */
	char *keys_dir;            /* its keys/ */
	struct accounts *accounts; /* NULL: to be opened */
	struct keyring *keys;      /* likewise */
	struct verified cache[CACHE_SETS][CACHE_WAYS];
	uint64_t clock;            /* counts uses of the cache */
};

static int64_t
now_s(void)
{
	return clock_now_us() / 1000000;
}

/* --- handles --- */

static void
cache_clear(struct auth *a)
{
	for (size_t i = 0; i < CACHE_SETS; i++)
		for (size_t j = 0; j < CACHE_WAYS; j++)
			claims_free(&a->cache[i][j].claims);
}

enum rc
auth_accounts(struct auth *a, struct accounts **out, struct err *err)
{
	enum rc rc = RC_OK;

	*out = NULL;
	if (a->accounts != NULL && accounts_stale(a->accounts)) {
		cache_clear(a); /* claims were checked against its server id */
		accounts_close(a->accounts);
		a->accounts = NULL;
	}
	if (a->accounts == NULL) {
		rc = accounts_open(a->data, &a->accounts, err);
		/* Without the accounts nobody can be judged: that passes. */
		if (rc == RC_NOT_FOUND)
			rc = RC_UNAVAILABLE;
	}
	*out = a->accounts;
	return rc;
}

/* The keys as they are now; others forget what was verified with the old. */
static enum rc
current_keys(struct auth *a, struct err *err)
{
	if (a->keys != NULL && !keyring_stale(a->keys))
		return RC_OK;
	cache_clear(a);
	keyring_close(a->keys);
	a->keys = NULL;
	return keyring_open(a->keys_dir, &a->keys, err);
}

enum rc
auth_open(const char *data, struct auth **out, struct err *err)
{
	struct auth *a = calloc(1, sizeof(*a));
	struct buf keys = { 0 };
	enum rc rc = RC_OK;

	*out = NULL;
	buf_addf(&keys, "%s/keys", data);
	if (a == NULL || (a->data = strdup(data)) == NULL || buf_cstr(&keys) == NULL) {
		buf_free(&keys);
		rc = err_set(err, RC_FAULT, "out of memory");
	} else {
		a->keys_dir = keys.p;
	}
	if (rc == RC_OK)
		rc = accounts_open(data, &a->accounts, err);
	if (rc == RC_OK)
		rc = current_keys(a, err);
	if (rc != RC_OK) {
		auth_close(a);
		return rc;
	}
	*out = a;
	return RC_OK;
}

void
auth_close(struct auth *a)
{
	if (a == NULL)
		return;
	cache_clear(a);
	keyring_close(a->keys);
	accounts_close(a->accounts);
	free(a->keys_dir);
	free(a->data);
	free(a);
}

/* --- verified tokens --- */

static bool
is_free(const struct verified *v)
{
	return v->claims.jti[0] == '\0';
}

static struct verified *
cache_find(struct auth *a, const unsigned char hash[HASH_LEN])
{
	struct verified *set = a->cache[hash[0] % CACHE_SETS];

	for (size_t i = 0; i < CACHE_WAYS; i++)
		if (!is_free(&set[i]) && memcmp(set[i].hash, hash, HASH_LEN) == 0)
			return &set[i];
	return NULL;
}

/* Keep claims (now the cache's) in place of the least recently used. */
static struct verified *
cache_add(struct auth *a, const unsigned char hash[HASH_LEN],
          const struct claims *claims)
{
	struct verified *set = a->cache[hash[0] % CACHE_SETS], *v = &set[0];

	for (size_t i = 1; i < CACHE_WAYS && !is_free(v); i++)
		if (is_free(&set[i]) || set[i].used < v->used)
			v = &set[i];
	claims_free(&v->claims);
	memcpy(v->hash, hash, HASH_LEN);
	v->claims = *claims;
	return v;
}

/* The token of a header "Bearer TOKEN". */
static enum rc
bearer(const char *authorization, struct span *token, struct err *err)
{
	static const char scheme[] = "Bearer ";
	size_t n = sizeof(scheme) - 1;

	*token = (struct span){ 0 };
	if (authorization == NULL || authorization[0] == '\0')
		return err_set(err, RC_UNAUTHORIZED, "missing authorization header");
	if (strncmp(authorization, scheme, n) != 0 || authorization[n] == '\0')
		return err_set(err, RC_UNAUTHORIZED, "invalid authorization format");
	*token = span_of(authorization + n);
	return RC_OK;
}

/* --- keys of another server --- */

/*
 * Whether it is an opaque key and no JWT, which has dots. Of such keys, which came with
 * an import, the SHA-256 is known, and the row says what is else a claim.
 */
static bool
is_opaque(struct span token)
{
	return memchr(token.p, '.', token.len) == NULL;
}

/* The claims that stand for a key. RC_UNAUTHORIZED: it is unknown. */
static enum rc
key_claims(struct auth *a, const unsigned char hash[HASH_LEN], struct claims *out,
           struct err *err)
{
	struct token_row row;
	enum rc rc = token_by_key(a->accounts, hash, &row, err);

	*out = (struct claims){ 0 };
	if (rc == RC_NOT_FOUND || (rc == RC_OK && !scope_parse(span_of(row.scope), &out->scope)))
		return err_set(err, RC_UNAUTHORIZED, "token refused: it is no key that is known");
	if (rc != RC_OK)
		return rc;
	memcpy(out->jti, row.id, sizeof(out->jti));
	memcpy(out->sub, row.user_id, sizeof(out->sub));
	out->all_projects = true;
	out->iat = row.created_at;
	out->exp = out->until = row.expires_at;
	return RC_OK;
}

/* --- claims --- */

/*
 * The claims of a token whose signature and times are good. They are borrowed
 * until the next call. RC_UNAUTHORIZED: err says why, for the log.
 */
static enum rc
find_claims(struct auth *a, struct span token, const struct claims **out,
            struct err *err)
{
	unsigned char hash[HASH_LEN];
	struct claims claims;
	struct verified *v;
	int64_t now = now_s();
	enum rc rc;

	*out = NULL;
	if (token.len > TOKEN_MAX)
		return err_set(err, RC_UNAUTHORIZED, "token refused: it is too long");
	rc = hash_sha256(token, hash);
	if (rc != RC_OK)
		return err_set(err, rc, "SHA-256 can't be computed");
	v = cache_find(a, hash);
	metrics_add(v != NULL ? METRIC_TOKEN_HIT : METRIC_TOKEN_MISS, 1);
	if (v == NULL) {
		rc = is_opaque(token) ? key_claims(a, hash, &claims, err)
		    : token_verify(a->keys, accounts_server_id(a->accounts), token, now, &claims,
		          err);
		if (rc != RC_OK)
			return rc;
		v = cache_add(a, hash, &claims);
	}
	if (v->claims.until <= now)
		return err_set(err, RC_UNAUTHORIZED, "token refused: it is expired");
	v->used = ++a->clock;
	*out = &v->claims;
	return RC_OK;
}

/* Handles that are not stale, then the claims behind a header. */
static enum rc
read_header(struct auth *a, const char *authorization, const struct claims **out,
            struct err *err)
{
	struct accounts *accounts;
	struct span token;
	enum rc rc;

	*out = NULL;
	rc = bearer(authorization, &token, err);
	if (rc != RC_OK)
		return rc;
	rc = auth_accounts(a, &accounts, err);
	if (rc == RC_OK)
		rc = current_keys(a, err);
	if (rc == RC_OK)
		rc = find_claims(a, token, out, err);
	if (rc == RC_UNAUTHORIZED) {
		log_write(LOG_INFO, "%s", err->text);
		err_set(err, rc, "invalid or expired api key");
	}
	return rc;
}

/* --- judging --- */

/* The highest role that a token of that scope can be used for. */
static enum role
reach(unsigned scope)
{
	if ((scope & SCOPE_PROJECT_ADMIN) != 0)
		return ROLE_OWNER;
	if ((scope & SCOPE_WRITE) != 0)
		return ROLE_WRITER;
	return (scope & SCOPE_READ) != 0 ? ROLE_READER : ROLE_NONE;
}

/* The scope that is needed for a role. */
static unsigned
scope_for(enum role role)
{
	static const unsigned need[] = {
		[ROLE_NONE] = 0,
		[ROLE_READER] = SCOPE_READ,
		[ROLE_WRITER] = SCOPE_WRITE,
		[ROLE_OWNER] = SCOPE_PROJECT_ADMIN,
	};

	return need[role];
}

static enum rc
check_scope(unsigned have, unsigned scope, enum role role, struct err *err)
{
	unsigned missing = scope & ~have;
	struct buf names = { 0 };

	if (missing == 0 && reach(have) < role)
		missing = scope_for(role);
	if (missing == 0)
		return RC_OK;
	scope_add(&names, missing);
	err_set(err, RC_SCOPE, "key does not have the %s scope required for this route",
	    buf_cstr(&names) == NULL ? "" : names.p);
	buf_free(&names);
	return RC_SCOPE;
}

static enum rc
check_role(enum role have, enum role role, struct err *err)
{
	return have >= role ? RC_OK
	    : err_set(err, RC_FORBIDDEN, "insufficient permissions: have %s, need %s",
	          role_name(have), role_name(role));
}

/* Membership and role; `have` is the caller's role as server.db has it. */
static enum rc
check_project(const struct claims *claims, const char *project_id,
              const struct access *access, enum role have, enum role role,
              struct err *err)
{
	if (!claims_cover(claims, project_id))
		return err_set(err, RC_FORBIDDEN, "the token is not for project %s",
		    project_id);
	if (!access->project_known || have == ROLE_NONE)
		return err_set(err, RC_FORBIDDEN, "not a member of project %s", project_id);
	if (access->project_deleted)
		return err_set(err, RC_NOT_FOUND, "project not found");
	return check_role(have, role, err);
}

/* Let anyone in who asks to read what anyone may. */
static bool
is_welcome(const struct access *access, enum guests guests, struct caller *out)
{
	out->guest = guests == GUESTS_ANYONE && access->project_known &&
	    access->project_public && !access->project_deleted;
	if (out->guest)
		out->role = ROLE_READER;
	return out->guest;
}

/* Who sends no token at all. */
static enum rc
check_nobody(struct auth *a, const char *project_id, enum guests guests,
             struct caller *out, struct err *err)
{
	struct accounts *accounts;
	struct access access;
	struct span token;
	enum rc rc = RC_OK;

	if (guests != GUESTS_ANYONE || project_id == NULL)
		return bearer(NULL, &token, err);
	if ((rc = auth_accounts(a, &accounts, err)) == RC_OK)
		rc = access_get(accounts, "", "", project_id, &access, err);
	if (rc != RC_OK || is_welcome(&access, guests, out))
		return rc;
	return bearer(NULL, &token, err);
}

/* A token that is valid: what it may do, whose it is, and in the project. */
static enum rc
check_token(const struct claims *claims, const struct access *access,
            const char *project_id, unsigned scope, enum role role, enum guests guests,
            struct caller *out, struct err *err)
{
	enum role have = access->role;
	enum rc rc = check_scope(claims->scope, scope, role, err);

	if (rc != RC_OK || project_id == NULL)
		return rc;
	if (guests != GUESTS_NONE && claims->sub[0] == '\0' && !claims->all_projects &&
	    access->project_known)
		have = ROLE_READER; /* a share link */
	out->role = have < reach(claims->scope) ? have : reach(claims->scope);
	return check_project(claims, project_id, access, have, role, err);
}

enum rc
auth_check(struct auth *a, const char *authorization, const char *project_id,
           unsigned scope, enum role role, enum guests guests, struct caller *out,
           struct err *err)
{
	const struct claims *claims;
	struct access access;
	struct err why;
	enum rc rc;

	*out = (struct caller){ 0 };
	if (err == NULL)
		err = &why;
	if (authorization == NULL || authorization[0] == '\0')
		return check_nobody(a, project_id, guests, out, err);
	rc = read_header(a, authorization, &claims, err);
	if (rc != RC_OK)
		return rc;
	rc = access_get(a->accounts, claims->jti, claims->sub, project_id, &access, err);
	if (rc != RC_OK)
		return rc;
	memcpy(out->token_id, claims->jti, sizeof(out->token_id));
	if (!access.token_known || !access.user_known || access.token_revoked_at != 0 ||
	    access.token_expires_at <= now_s())
		return err_set(err, RC_UNAUTHORIZED, "invalid or expired api key");
	memcpy(out->user_id, claims->sub, sizeof(out->user_id));
	out->scope = claims->scope;
	out->all_projects = claims->all_projects;
	out->last_used_at = access.token_last_used_at;
	out->expires_at = access.token_expires_at;
	rc = check_token(claims, &access, project_id, scope, role, guests, out, err);
	/* A token is never worth less than none. */
	if ((rc == RC_SCOPE || rc == RC_FORBIDDEN) && is_welcome(&access, guests, out)) {
		err->text[0] = '\0';
		rc = RC_OK;
	}
	return rc;
}

enum rc
auth_allows(const struct caller *c, unsigned scope, enum role role, struct err *err)
{
	enum rc rc = check_scope(c->scope, scope, role, err);

	return rc == RC_OK ? check_role(c->role, role, err) : rc;
}

bool
auth_covers(struct auth *a, const char *authorization, const char *project_id)
{
	const struct claims *claims;
	struct span token;

	/* Not read_header(): the caller walks through the accounts, which that
	 * closes where they became stale. */
	return a->accounts != NULL && a->keys != NULL &&
	    bearer(authorization, &token, NULL) == RC_OK &&
	    find_claims(a, token, &claims, NULL) == RC_OK &&
	    claims_cover(claims, project_id);
}

/* --- issuing --- */

/* Fill what server.db keeps of a token. */
static enum rc
fill_row(struct token_row *t, const struct claims *c, const struct token_plan *plan,
         struct err *err)
{
	struct buf scope = { 0 }, projects = { 0 };
	enum rc rc = RC_OK;

	scope_add(&scope, c->scope);
	if (c->all_projects)
		buf_add_str(&projects, "*");
	for (size_t i = 0; i < c->n_projects; i++) {
		buf_add_str(&projects, i == 0 ? "" : " ");
		buf_add_str(&projects, c->projects[i]);
	}
	if (buf_cstr(&scope) == NULL || buf_cstr(&projects) == NULL)
		rc = err_set(err, RC_FAULT, "out of memory");
	else if (strlen(plan->name) >= sizeof(t->name))
		rc = err_set(err, RC_INVALID, "name is too long: at most %zu bytes",
		    sizeof(t->name) - 1);
	else if (scope.len >= sizeof(t->scope) || projects.len >= sizeof(t->projects))
		rc = err_set(err, RC_INVALID, "too many projects for one token");
	if (rc == RC_OK) {
		memcpy(t->id, c->jti, sizeof(t->id));
		memcpy(t->user_id, c->sub, sizeof(t->user_id));
		strcpy(t->name, plan->name);
		strcpy(t->scope, scope.p);
		strcpy(t->projects, projects.p);
		t->created_at = c->iat;
		t->expires_at = c->exp;
		snprintf(t->link_id, sizeof(t->link_id), "%s", plan->link_id != NULL ? plan->link_id : "");
		snprintf(t->made_by, sizeof(t->made_by), "%s", plan->made_by != NULL ? plan->made_by : "");
	}
	buf_free(&projects);
	buf_free(&scope);
	return rc;
}

/* The claims of a new token; claims_free() them in any case. */
static enum rc
new_claims(const struct token_plan *plan, struct claims *c, struct err *err)
{
	int64_t now = now_s();

	*c = (struct claims){ .scope = plan->scope, .all_projects = plan->projects == NULL,
	                      .iat = now, .nbf = now, .exp = now + plan->lifetime_s };
	snprintf(c->sub, sizeof(c->sub), "%s", plan->user_id);
	if (id_new("ak_", 8, c->jti) != RC_OK)
		return err_set(err, RC_FAULT, "the system gives no random bytes");
	if (plan->projects == NULL)
		return RC_OK;
	c->projects = calloc(plan->n_projects + 1, sizeof(*c->projects));
	if (c->projects == NULL)
		return err_set(err, RC_FAULT, "out of memory");
	for (size_t i = 0; i < plan->n_projects; i++)
		snprintf(c->projects[c->n_projects++], ID_MAX, "%s", plan->projects[i]);
	return RC_OK;
}

enum rc
auth_make(struct auth *a, const struct token_plan *plan, struct token_row *row,
          struct buf *out, struct err *err)
{
	struct buf token = { 0 };
	struct accounts *accounts;
	struct claims c;
	enum rc rc;

	assert(plan->scope != 0 && plan->lifetime_s > 0);
	*row = (struct token_row){ 0 };
	rc = auth_accounts(a, &accounts, err);
	if (rc == RC_OK)
		rc = current_keys(a, err);
	if (rc != RC_OK)
		return rc;
	rc = new_claims(plan, &c, err);
	if (rc == RC_OK)
		rc = fill_row(row, &c, plan, err);
	if (rc == RC_OK)
		rc = token_sign(a->keys, accounts_server_id(accounts), &c, &token, err);
	if (rc == RC_OK)
		buf_add_span(out, buf_span(&token));
	if (rc == RC_OK && out->failed)
		rc = err_set(err, RC_FAULT, "out of memory");
	buf_free(&token);
	claims_free(&c);
	return rc;
}

enum rc
auth_issue(struct auth *a, const struct token_plan *plan, struct token_row *row,
           struct buf *out, struct err *err)
{
	size_t before = out->len;
	enum rc rc = auth_make(a, plan, row, out, err);

	if (rc == RC_OK)
		rc = token_add(a->accounts, row, err);
	if (rc != RC_OK)
		out->len = before; /* a token that nothing knows lets nobody in */
	return rc;
}

enum rc
auth_share(struct auth *a, const char *project_id, const char *name, int64_t days,
           int64_t until, const char *made_by, struct token_row *row, struct buf *out,
           struct err *err)
{
	int64_t left = until - now_s(), lifetime = days * 86400;

	if (days < 1 || days > LINK_DAYS_MAX)
		return err_set(err, RC_INVALID, "days must be a number from 1 to %d",
		    LINK_DAYS_MAX);
	return auth_issue(a, &(struct token_plan){
		.user_id = "", .name = name, .scope = SCOPE_READ, .projects = &project_id,
		.n_projects = 1, .lifetime_s = until > 0 && left < lifetime ? (left > 0 ? left : 1) : lifetime,
		.link_id = project_id, .made_by = made_by,
	}, row, out, err);
}
