#include "run.h"

#include "tests/mishap.h"

#include <errno.h>
#include <ftw.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool
run_fail(struct run *run, const char *fmt, ...)
{
	char why[sizeof(run->why)];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	trace_line(&run->trace, "difference", "s:what", why, NULL);
	if (run->why[0] == '\0')
		memcpy(run->why, why, sizeof(why));
	return false;
}

bool
run_ok(const struct run *run)
{
	return run->why[0] == '\0';
}

void
run_tell(struct run *run, const struct replica *r, const char *what)
{
	trace_line(&run->trace, "happened", "s:who", r != NULL ? r->name : "server", "s:what",
	    what, NULL);
}

const char *
run_fixture(const char *name, char out[PATH_LEN])
{
	snprintf(out, PATH_LEN, "%s/tests/fixtures/%s", TOP_BUILDDIR, name);
	if (access(out, R_OK) != 0)
		snprintf(out, PATH_LEN, "%s/../shared/fixtures/%s", TOP_SRCDIR, name);
	return out;
}

static struct replica *
add(struct run *run)
{
	struct replica *r = &run->replicas[run->n];
	char name[2] = { (char)('A' + run->n), '\0' };

	if (run->n == RUN_REPLICAS)
		die("%s: more than %d replicas", run->scenario, RUN_REPLICAS);
	replica_init(r, name, (int)run->n, run->dir, &run->wall, rng_split(&run->rng));
	run->n++;
	return r;
}

static struct replica *
tell(struct run *run, struct replica *r)
{
	trace_line(&run->trace, "replica", "s:name", r->name, "i:schema",
	    (int64_t)r->schema, "i:zone", (int64_t)r->zone, "s:device", r->device, NULL);
	return r;
}

struct replica *
run_add(struct run *run, int schema)
{
	struct replica *r = add(run);

	replica_make(r, schema);
	return tell(run, r);
}

struct replica *
run_copy(struct run *run, const char *from, enum replica_copying how)
{
	struct replica *r = add(run);

	replica_copy(r, from, how);
	return tell(run, r);
}

void
run_at(struct run *run, int64_t seconds, uint64_t seed)
{
	struct rng rng = { seed };
	int64_t us = (RUN_BEGINS + seconds) * INT64_C(1000000);
	size_t i;

	if (run->wall.us < us)
		run->wall.us = us;
	run->rng = rng_split(&rng);
	run->faults.rng = rng_split(&rng);
	for (i = 0; i < run->n; i++)
		run->replicas[i].rng = rng_split(&rng);
}

struct replica *
run_replica(struct run *run, const char *name)
{
	size_t i;

	for (i = 0; i < run->n; i++)
		if (strcmp(run->replicas[i].name, name) == 0)
			return &run->replicas[i];
	return NULL;
}

/* What a run is called, and its folder. */
static void
call_it(char name[80], const char *scenario, enum server_kind kind, uint64_t seed)
{
	snprintf(name, 80, "%s-%s-%llu", scenario, server_kind_name(kind),
	    (unsigned long long)seed);
}

void
run_begin(struct run *run, const char *scenario, enum server_kind kind, uint64_t seed,
          const char *parent, const char *trace)
{
	char path[PATH_LEN], project[ID_MAX], name[80];

	memset(run, 0, sizeof(*run));
	run->scenario = scenario;
	run->seed = seed;
	run->rng.state = seed;
	run->wall.us = RUN_BEGINS * INT64_C(1000000);
	call_it(name, scenario, kind, seed);
	snprintf(run->dir, sizeof(run->dir), "%s/%s", parent, name);
	if (mkdir(run->dir, 0700) != 0)
		die("%s: %s", run->dir, strerror(errno));
	snprintf(path, sizeof(path), "%s/trace.jsonl", run->dir);
	trace_open(&run->trace, trace != NULL ? trace : path, name);
	trace_line(&run->trace, "run", "s:scenario", scenario, "s:transport",
	    server_kind_name(kind), "i:seed", (int64_t)seed, NULL);
	rng_id(&run->rng, "p_", 16, project, sizeof(project));
	snprintf(path, sizeof(path), "%s/mishap", run->dir);
	/* Built with sanitizers: theirs need not be the first library. */
	setenv("ASAN_OPTIONS", "verify_asan_link_order=0", getenv("ASAN_OPTIONS") == NULL);
	if (!mishap_share(path) || access(MISHAP_LIBRARY, R_OK) != 0)
		die("%s or " MISHAP_LIBRARY ": %s", path, strerror(errno));
	snprintf(path, sizeof(path), "%s/server", run->dir);
	if (server_missing(kind) != NULL)
		snprintf(run->skipped, sizeof(run->skipped), "%s", server_missing(kind));
	else
		server_start(&run->server, kind, path, project);
}

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

void
run_end(struct run *run, bool keep)
{
	server_stop(&run->server);
	trace_close(&run->trace);
	if (!keep)
		nftw(run->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

void
run_remove(const char *parent, const char *scenario, enum server_kind kind, uint64_t seed)
{
	char name[80], path[PATH_LEN];

	call_it(name, scenario, kind, seed);
	snprintf(path, sizeof(path), "%s/%s", parent, name);
	nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}
