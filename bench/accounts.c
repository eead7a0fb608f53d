/* Rows accounts/...: the same at a server with 10,000 users of 10 projects each as at
 * one with 10 users, and what it takes to verify a token. */
#include "bench/bench.h"

#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define CLIENTS 8
#define PROJECTS 10 /* of each user */

enum { FEW, MANY, SERVERS };

static const int users[SERVERS] = { 10, 10000 };

/* Others' accounts, projects and tokens, straight into server.db. */
static const char fill[] =
	"BEGIN IMMEDIATE;"
	"CREATE TEMP TABLE n AS WITH RECURSIVE c (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c"
	"  WHERE i < %d) SELECT i FROM c;"
	"INSERT INTO user (n, id, email, created_at)"
	"  SELECT 1000000 + i, printf('u_%%016x', i), printf('user%%d@example.com', i), 0 FROM n;"
	"INSERT INTO project (n, id, name, description, slug, created_at, updated_at)"
	"  SELECT 10000000 + i * %d + k, printf('p_%%016x', i * %d + k), 'Project', '',"
	"  printf('project-of-%%d-%%d', i, k), 0, 0 FROM n, (SELECT i - 1 AS k FROM n LIMIT %d);"
	"INSERT INTO member (project, user, role, created_at)"
	"  SELECT 10000000 + i * %d + k, 1000000 + i, 3, 0 FROM n,"
	"  (SELECT i - 1 AS k FROM n LIMIT %d);"
	"INSERT INTO token (id, user, name, scope, projects, created_at, expires_at)"
	"  SELECT printf('ak_%%016x', i), 1000000 + i, 'x', 'sync:read', '*', 0, 4000000000 FROM n;"
	"COMMIT";

struct server {
	struct place place;
	struct tally tallies[PROJECTS];
	struct load_client clients[CLIENTS];
	struct spent sum;
	double rates[ROUNDS_MAX];
};

static void
fill_accounts(struct bench *b, const struct place *p, int n)
{
	char path[PATH_MAX + 16], sql[sizeof(fill) + 100];
	sqlite3 *db;

	snprintf(path, sizeof(path), "%s/server.db", p->site.data);
	snprintf(sql, sizeof(sql), fill, n, PROJECTS, PROJECTS, PROJECTS, PROJECTS, PROJECTS);
	if (sqlite3_open(path, &db) != SQLITE_OK ||
	    sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
		bench_fail(b, "%s: %s", path, sqlite3_errmsg(db));
	sqlite3_close(db);
}

/* Both servers in turn; then the row, with the figures of the large one. */
static void
measure(struct bench *b, struct server servers[SERVERS], const char *id)
{
	double ratios[ROUNDS_MAX] = { 0 };
	struct row *row;

	for (int s = 0; s < SERVERS; s++) {
		servers[s].sum = (struct spent){ 0 };
		bench_warm_up(b, &servers[s].place, servers[s].clients, CLIENTS);
	}
	for (size_t r = 0; r < b->rounds && !b->failed; r++) {
		for (int s = 0; s < SERVERS; s++)
			servers[s].rates[r] = bench_slot(b, &servers[s].place, servers[s].clients, CLIENTS,
			                                 b->slot, CLIENTS, &servers[s].sum);
		ratios[r] = servers[FEW].rates[r] / servers[MANY].rates[r];
	}
	row = table_add(&b->table, id, bench_median(ratios, b->rounds), "x", AIM_AT_MOST, 1.2);
	bench_figures(row, servers[MANY].clients, CLIENTS, &servers[MANY].sum, 0);
	row->figures[F_REFERENCE] = bench_median(servers[FEW].rates, b->rounds);
}

/* A route below a project, or with '!' one of its own. */
static void
get_row(struct bench *b, struct server servers[SERVERS], const char *id, const char *route)
{
	char path[200];

	if (!bench_wants(b, id) || b->failed)
		return;
	for (int s = 0; s < SERVERS; s++) {
		if (route[0] == '!')
			snprintf(path, sizeof(path), "%.100s", route + 1);
		else
			snprintf(path, sizeof(path), "/v1/projects/%.*s%.100s", ID_MAX,
			         servers[s].tallies[0].id, route);
		getters_init(servers[s].clients, CLIENTS, &servers[s].place, path, NULL);
	}
	measure(b, servers, id);
	for (int s = 0; s < SERVERS; s++)
		clients_free(servers[s].clients, CLIENTS);
}

static void
push_row(struct bench *b, struct server servers[SERVERS], const char *id)
{
	static struct pusher pushers[SERVERS][CLIENTS];

	if (!bench_wants(b, id) || b->failed)
		return;
	for (int s = 0; s < SERVERS; s++)
		for (size_t i = 0; i < CLIENTS; i++)
			pusher_init(&pushers[s][i], &servers[s].clients[i], &servers[s].place, i, 1,
			            servers[s].tallies, PROJECTS);
	measure(b, servers, id);
	for (int s = 0; s < SERVERS; s++)
		for (size_t i = 0; i < CLIENTS; i++)
			pusher_free(&pushers[s][i], &servers[s].clients[i]);
}

/* --- a token, in this process --- */

static double
now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

/* Microseconds of a check, role included: with a handle that has seen the token, or with
 * one that hasn't. */
static double
check_us(struct bench *b, const struct server *s, struct auth *a, const char *header, int n)
{
	struct caller who;
	struct err err;
	double start = now_us();

	for (int i = 0; i < n; i++)
		if (auth_check(a, header, s->tallies[0].id, SCOPE_WRITE, ROLE_WRITER, GUESTS_NONE, &who,
		               &err) != RC_OK)
			bench_fail(b, "a good token is refused: %s", err.text);
	return (now_us() - start) / n;
}

static void
verify_rows(struct bench *b, const struct server *s)
{
	double warm[ROUNDS_MAX], cold[ROUNDS_MAX];
	char header[4200];
	struct auth *a;
	struct err err;

	if (!bench_wants(b, "accounts/verify") || b->failed)
		return;
	snprintf(header, sizeof(header), "Bearer %s", s->place.token);
	for (size_t r = 0; r < b->rounds; r++) {
		if (auth_open(s->place.site.data, &a, &err) != RC_OK) {
			bench_fail(b, "%s", err.text);
			return;
		}
		cold[r] = check_us(b, s, a, header, 1);
		warm[r] = check_us(b, s, a, header, 20000);
		auth_close(a);
	}
	table_add(&b->table, "accounts/verify-warm", bench_median(warm, b->rounds), "us",
	          AIM_AT_MOST, 8);
	table_add(&b->table, "accounts/verify-cold", bench_median(cold, b->rounds), "us",
	          AIM_AT_MOST, 1000);
}

void
accounts_rows(struct bench *b)
{
	static struct server servers[SERVERS];

	bench_say("%d users with %d projects each", users[MANY], PROJECTS);
	for (int s = 0; s < SERVERS; s++) {
		if (!place_start(b, &servers[s].place, NULL)) {
			if (s == MANY)
				place_stop(b, &servers[FEW].place);
			return;
		}
		fill_accounts(b, &servers[s].place, b->quick ? 10 : users[s]);
		for (size_t i = 0; i < PROJECTS; i++)
			tally_new(&servers[s].place, &servers[s].tallies[i]);
	}
	get_row(b, servers, "accounts/projects", "!/v1/projects");
	get_row(b, servers, "accounts/project", "");
	get_row(b, servers, "accounts/members", "/members");
	get_row(b, servers, "accounts/invitations", "/invitations");
	get_row(b, servers, "accounts/tokens", "!/v1/tokens");
	get_row(b, servers, "accounts/token", "!/v1/tokens/self");
	get_row(b, servers, "accounts/status", "/sync/status");
	push_row(b, servers, "accounts/push");
	verify_rows(b, &servers[MANY]);
	for (int s = 0; s < SERVERS; s++) {
		for (size_t i = 0; i < PROJECTS; i++)
			tally_check(b, &servers[s].place, &servers[s].tallies[i]);
		place_stop(b, &servers[s].place);
	}
}
