/*
 * td-sync-bench: how fast the real server is, nginx and a pool of workers as
 * they are installed, beside the fastest that could be had without it on the
 * same machine, disk and minute. What is printed are ratios.
 */
#include "bench/bench.h"

#include "store/db.h"
#include "tests/temp.h"

#include <errno.h>
#include <getopt.h>
#include <linux/magic.h>
#include <math.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/vfs.h>
#include <sys/wait.h>

static const char usage[] =
"usage: td-sync-bench [--only ROW,...] [--dir DIR] [--json FILE] [--commit NAME]\n"
"                     [--rounds N] [--mixed-seconds N] [--quick]\n"
"       td-sync-bench --compare BEFORE.json AFTER.json\n"
"\n"
"  --only ROW,...       only these rows; \"push\" and \"push/100\" stand for all\n"
"                       that begin so\n"
"  --dir DIR            where to work (/var/tmp): on the disk that is to be\n"
"                       measured; what is made there is removed at the end\n"
"  --json FILE          write the results there, too\n"
"  --commit NAME        what is measured, for that file\n"
"  --rounds N           of each comparison; the median counts (5)\n"
"  --mixed-seconds N    of mixed load before memory is measured (60)\n"
"  --quick              a moment of each row: whether they work, not how good\n"
"                       the figures are\n"
"  --compare            two such files side by side\n";

/* The rows by the beginning of their ids. */
static const struct {
	const char *id;
	void (*run)(struct bench *b);
} groups[] = {
	{ "push", push_rows },
	{ "first", first_rows },
	{ "poll", poll_rows },
	{ "pull", pull_rows },
	{ "flat", flat_rows },
	{ "fair", fair_rows },
	{ "memory", memory_rows },
	{ "state", state_rows },
	{ "snapshot", snapshot_rows },
	{ "heal", heal_rows },
	{ "accounts", accounts_rows },
};

enum { O_ONLY = 1, O_DIR, O_JSON, O_COMMIT, O_ROUNDS, O_MIXED, O_QUICK, O_COMPARE,
       O_HELP };

static const struct option options[] = {
	{ "only",          required_argument, NULL, O_ONLY },
	{ "dir",           required_argument, NULL, O_DIR },
	{ "json",          required_argument, NULL, O_JSON },
	{ "commit",        required_argument, NULL, O_COMMIT },
	{ "rounds",        required_argument, NULL, O_ROUNDS },
	{ "mixed-seconds", required_argument, NULL, O_MIXED },
	{ "quick",         no_argument,       NULL, O_QUICK },
	{ "compare",       no_argument,       NULL, O_COMPARE },
	{ "help",          no_argument,       NULL, O_HELP },
	{ NULL, 0, NULL, 0 },
};

struct arguments {
	struct bench bench;
	const char *base, *json, *commit;
	bool compare, help;
};

/* False: usage. */
static bool
parse(int argc, char **argv, struct arguments *a)
{
	struct bench *b = &a->bench;
	int c;

	*a = (struct arguments){
		.base = "/var/tmp", .commit = "",
		.bench = { .rounds = 5, .slot = 0.5, .long_log = 1000000, .mixed_seconds = 60 },
	};
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1)
		switch (c) {
		case O_ONLY:    b->only = optarg; break;
		case O_DIR:     a->base = optarg; break;
		case O_JSON:    a->json = optarg; break;
		case O_COMMIT:  a->commit = optarg; break;
		case O_ROUNDS:  b->rounds = (size_t)atoi(optarg); break;
		case O_MIXED:   b->mixed_seconds = atof(optarg); break;
		case O_QUICK:   b->quick = true; break;
		case O_COMPARE: a->compare = true; break;
		case O_HELP:    a->help = true; break;
		default:        return false;
		}
	if (b->quick) {
		b->rounds = 1;
		b->slot = 0.02;
		b->long_log = 5000;
		b->mixed_seconds = 1;
	}
	b->table.judged = !b->quick;
	return b->rounds >= 1 && b->rounds <= ROUNDS_MAX && b->mixed_seconds > 0 &&
	       argc - optind == (a->compare ? 2 : 0);
}

/* What the figures depend on, above the table. */
static void
print_heading(const struct arguments *a)
{
	struct statfs fs;

	printf("td-sync %s, %ld cores, %zu rounds of %g s, SQLite %s\n", a->commit,
	       sysconf(_SC_NPROCESSORS_ONLN), a->bench.rounds, a->bench.slot,
	       sqlite3_libversion());
	if (statfs(a->bench.dir, &fs) == 0 && (unsigned)fs.f_type == TMPFS_MAGIC)
		printf("%s is in memory: a sync costs nothing there, the figures mean little\n",
		       a->base);
}

/* All rows that are wanted, and what came out. */
static int
run(struct arguments *a)
{
	struct bench *b = &a->bench;
	struct err err;

	for (size_t i = 0; i < sizeof(groups) / sizeof(groups[0]); i++)
		if (!b->failed && bench_wants(b, groups[i].id))
			groups[i].run(b);
	print_heading(a);
	table_print(&b->table);
	if (b->table.n == 0)
		bench_fail(b, "no row");
	for (size_t i = 0; i < b->table.n; i++)
		if (!isfinite(b->table.rows[i].value))
			bench_fail(b, "%s could not be measured", b->table.rows[i].id);
	if (b->failed)
		puts("\nSomething failed: these figures don't count.");
	else if (a->json != NULL && table_write(&b->table, a->commit, a->json, &err) != RC_OK)
		bench_fail(b, "%s", err.text);
	table_free(&b->table);
	return b->failed ? 1 : 0;
}

static pid_t runner;

static void
on_signal(int sig)
{
	kill(runner, sig);
}

/* Run in a process of its own, so that gigabytes are removed however it ends. */
static int
run_aside(struct arguments *a)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP };
	struct sigaction sa = { .sa_handler = on_signal };
	char dir[TEMP_PATH];
	int status;

	setenv("TMPDIR", a->base, 1);
	temp_make(dir);
	a->bench.dir = dir;
	runner = fork();
	if (runner == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		exit(run(a));
	}
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		sigaction(signals[i], &sa, NULL);
	while (runner > 0 && waitpid(runner, &status, 0) < 0)
		if (errno != EINTR)
			return 1;
	if (runner < 0 || !WIFEXITED(status)) {
		fputs("bench: broken off\n", stderr);
		sleep(1); /* the server is just ending */
		status = -1;
	}
	temp_remove(dir);
	return status == -1 ? 1 : WEXITSTATUS(status);
}

int
main(int argc, char **argv)
{
	static struct arguments a;

	if (!parse(argc, argv, &a) || a.help) {
		fputs(usage, a.help ? stdout : stderr);
		return a.help ? 0 : 2;
	}
	if (a.compare)
		return table_compare(argv[optind], argv[optind + 1]) ? 0 : 1;
	db_lean(); /* as in the server; the plain loops, too */
	if (site_missing(SITE_FASTCGI) != NULL) {
		fprintf(stderr, "skipped: %s\n", site_missing(SITE_FASTCGI));
		return 77;
	}
	return run_aside(&a);
}
