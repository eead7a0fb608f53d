/*
 * td-sync-harness: runs scenarios, each in a process of its own with its own
 * server and replicas, and tells in a table how they ended.
 *
 *	--list             the scenarios; with --transport those that are for it
 *	--scenario NAME    only this one (may be given again)
 *	--script FILE      only the script in this file (script.h says how), and the
 *	                   scenarios that are named
 *	--transport NAME   only over direct, cgi or fastcgi: those scenarios that are
 *	                   for it, or whichever is named
 *	--seeds N          so many random runs of a kind; 300 of "random" and 100 of "devices"
 *	                   unless said
 *	--seconds N        no new run is begun after that long
 *	--first SEED       the first of the random seeds; 1 unless said
 *	--quiet            no table: progress, and what failed
 *	--replay SEED      from this seed (the scenario "random" unless one is named;
 *	                   over direct unless a transport is)
 *	--self-test        only the self-test: that the checks can fail, and that the stock
 *	                   devices do what recorded ones did
 *	--jobs N           so many runs at the same time; one a processor, 2 at least
 *	--keep             keep the folders of all runs, not only of failed ones
 *	--trace FILE       one trace for all runs, not one in each folder; it, and
 *	                   that of a --replay, has the states after every call
 *	--report DIR       write a page about all runs, DIR/index.html (report.h);
 *	                   not together with --trace
 *
 * Without options everything, as `make check` wants it.
 *
 * Exit: 0 all passed, 1 some failed, 2 the harness itself could not go on.
 */
#include "conflicts.h"
#include "emitter.h"
#include "recorded.h"
#include "report.h"
#include "scenario.h"
#include "selftest.h"
#include "shrink.h"

#include "base/clock.h"
#include "base/fs.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define SEEDS 300
#define PLANS 100
#define EMITTER_SEEDS 6
#define MAX_JOBS 16
#define PROGRESS_MS 10000
#define RUN_SECONDS 120 /* then a run is killed, with all it started */

/* What of the self-test. */
enum part {
	PART_SABOTAGE, /* a check has to see it */
	PART_EMITTER,  /* the emitter against the applier */
	PART_RECORDED, /* the model of a stock device against a recording */
	PART_ODD,      /* the same with events that wedge it */
	PART_UNHEALED, /* a scenario about healing fails without */
	PART_SHRINK    /* a plan that fails is shrunk to what makes it fail */
};

static const char *const parts[] = { "self-test", "emitter", "recorded", "odd",
    "unhealed", "shrink" };

/* A run to be done, and how it ended. */
struct job {
	const struct scenario *scenario; /* NULL: of the self-test */
	enum part part;
	size_t n;                        /* which of them */
	enum server_kind kind;
	uint64_t seed;
	pid_t pid;
	int fd;
	int64_t started_ms;
	struct result {
		bool ok, done;
		int64_t events, servers, clobbered, ms;
		int settled; /* syncs that some device needed after the last push */
		char why[640], skipped[160], dir[PATH_LEN];
	} result;
};

static struct options {
	const char *scenarios[16];
	int n_scenarios;
	int kind;      /* -1: as the scenario says */
	int seeds;     /* -1: the default */
	int seconds;   /* 0: any number */
	bool list, replay, self_test, keep, quiet;
	uint64_t seed, first;
	int jobs;
	const char *trace, *script;
	struct report *report; /* NULL: none is wanted */
	char parent[PATH_LEN - 200];
} opt = { .kind = -1, .seeds = -1, .first = 1 };

static struct job *jobs;
static int n_jobs, cap_jobs;
static volatile sig_atomic_t stop; /* a signal asks us to end */

static void
on_signal(int sig)
{
	stop = sig;
}

static void
add_job(struct job job)
{
	if (n_jobs == cap_jobs) {
		cap_jobs = cap_jobs > 0 ? 2 * cap_jobs : 512;
		if ((jobs = realloc(jobs, (size_t)cap_jobs * sizeof(*jobs))) == NULL)
			die("out of memory");
	}
	job.fd = -1;
	jobs[n_jobs++] = job;
}

static void
add(const struct scenario *s, enum server_kind kind, uint64_t seed)
{
	add_job((struct job){ .scenario = s, .kind = kind, .seed = seed });
}

/* The seed of a scenario that is given none: its name's, so that it stays the
 * same when others come and go. */
static uint64_t
seed_of(const struct scenario *s)
{
	uint64_t h = 14695981039346656037u;
	const char *p;

	for (p = s->name; *p != '\0'; p++)
		h = (h ^ (unsigned char)*p) * 1099511628211u;
	return h % 1000000;
}

/* A scenario over the transports it is for, or the one that is asked for. */
static void
add_scenario(const struct scenario *s)
{
	int k;

	for (k = 0; k < SERVER__MAX; k++)
		if (opt.kind >= 0 ? opt.kind == k : opt.replay ? k == SERVER_DIRECT :
		    (s->on & 1u << k) != 0)
			add(s, (enum server_kind)k, opt.replay ? opt.seed : seed_of(s));
}

/* Whether a scenario belongs to a run of everything over the transport that is
 * asked for: not every mishap can happen to every server. */
static bool
is_for(const struct scenario *s)
{
	return opt.kind < 0 || s->script == NULL || (s->on & 1u << opt.kind) != 0;
}

/* Random runs; of thirty one over CGI and one over FastCGI, which are slower,
 * unless a transport is asked for. Plans, which are many, over none. */
static void
add_random(const struct scenario *s)
{
	int n = opt.seeds >= 0 ? opt.seeds : s->plan != NULL ? PLANS : SEEDS;
	uint64_t seed = opt.first;

	for (; n > 0; n--, seed++)
		add(s, s->plan != NULL && opt.kind < 0 ? SERVER_DIRECT : opt.kind >= 0 ? (enum server_kind)opt.kind :
		    seed % 30 == 10 ? SERVER_CGI : seed % 30 == 20 ? SERVER_FASTCGI :
		    SERVER_DIRECT, seed);
}

static void
add_self_test(void)
{
	size_t n;

	for (n = 1; n <= EMITTER_SEEDS; n++)
		add_job((struct job){ .part = PART_EMITTER, .seed = n });
	for (n = 0; n < selftest_count(); n++)
		add_job((struct job){ .part = PART_SABOTAGE, .n = n, .seed = 1 });
	for (n = 0; n < recorded_count(); n++)
		add_job((struct job){ .part = PART_RECORDED, .n = n, .seed = 1 });
	add_job((struct job){ .part = PART_ODD, .seed = 1 });
	for (n = 0; scenarios[n].name != NULL; n++)
		if (scenarios[n].heals)
			add_job((struct job){ .part = PART_UNHEALED, .n = n, .seed = 1 });
	add_job((struct job){ .part = PART_SHRINK, .seed = 1 });
}

/* What was asked for; without options what `make check` wants: everything. */
static void
plan(void)
{
	const struct scenario *s;
	int i;

	for (i = 0; i < opt.n_scenarios; i++) {
		if ((s = scenario_find(opt.scenarios[i])) == NULL)
			die("no scenario is called %s (see --list)", opt.scenarios[i]);
		if (s->script != NULL || opt.replay)
			add_scenario(s);
		else
			add_random(s);
	}
	if (opt.n_scenarios > 0)
		return;
	if (opt.replay) {
		add_scenario(scenario_find("random"));
		return;
	}
	if (opt.kind < 0 || opt.self_test)
		add_self_test();
	if (opt.self_test)
		return;
	for (s = scenarios; s->name != NULL; s++) {
		if (s->script == NULL)
			add_random(s);
		else if (is_for(s))
			add_scenario(s);
	}
}

/* A scenario read from a file. */
static void
add_script(const char *path)
{
	static struct scenario s = { "script", "of a file", ON_DIRECT, NULL };
	struct buf text = { 0 };
	struct err err;

	if (fs_read(path, 1 << 20, &text, &err) != RC_OK || buf_cstr(&text) == NULL)
		die("%s", err.text);
	s.script = text.p; /* kept until the end */
	add(&s, opt.kind >= 0 ? (enum server_kind)opt.kind : SERVER_DIRECT,
	    opt.replay ? opt.seed : 1);
}

static const char *
job_name(const struct job *j)
{
	if (j->scenario != NULL)
		return j->scenario->name;
	switch (j->part) {
	case PART_EMITTER:
		return "the emitter's rows are what its log says";
	case PART_RECORDED:
		return recorded_name(j->n);
	case PART_UNHEALED:
		return scenarios[j->n].about;
	case PART_SHRINK:
		return "a plan is shrunk to what makes it fail";
	case PART_ODD:
		return "a stock td is wedged where td is";
	default:
		return selftest_name(j->n);
	}
}

/* The command that has a run again. */
static const char *
job_again(const struct job *j, char out[PATH_LEN])
{
	bool named;

	if (j->scenario == NULL)
		return "td-sync-harness --self-test";
	named = scenario_find(j->scenario->name) != NULL;
	snprintf(out, PATH_LEN, "td-sync-harness %s %s --transport %s --replay %llu",
	    named ? "--scenario" : "--script", named ? j->scenario->name : opt.script,
	    server_kind_name(j->kind), (unsigned long long)j->seed);
	return out;
}

/* --- one run, in its own process --- */

/* What its trace is called for the report, whatever becomes of its folder. */
static const char *
traced(const struct job *j, char out[PATH_LEN])
{
	snprintf(out, PATH_LEN, "%s/%d.jsonl", opt.parent, (int)(j - jobs));
	return out;
}

/* The run is to be in the report. */
static void
follow(const struct job *j, struct run *run)
{
	char from[PATH_LEN], to[PATH_LEN];

	snprintf(from, sizeof(from), "%s/trace.jsonl", run->dir);
	if (link(from, traced(j, to)) != 0)
		die("%s: %s", to, strerror(errno));
	trace_time(&run->trace);
}

static void
do_job(const struct job *j, struct result *out)
{
	static struct run run;
	int64_t start = clock_mono_ms();
	char name[40];

	if (j->scenario != NULL)
		snprintf(name, sizeof(name), "%s", j->scenario->name);
	else
		snprintf(name, sizeof(name), "%s-%zu", parts[j->part], j->n);
	run_begin(&run, name, j->kind, j->seed, opt.parent, opt.trace);
	run.tell_states = opt.trace != NULL || opt.replay;
	if (opt.report != NULL)
		follow(j, &run);
	if (j->scenario != NULL)
		scenario_run(&run, j->scenario);
	else if (j->part == PART_EMITTER)
		emitter_run(&run);
	else if (j->part == PART_RECORDED)
		recorded_run(&run, j->n);
	else if (j->part == PART_ODD)
		recorded_odd(&run);
	else if (j->part == PART_UNHEALED)
		selftest_unhealed(&run, &scenarios[j->n]);
	else if (j->part == PART_SHRINK)
		selftest_shrink(&run);
	else
		selftest_run(&run, j->n);
	if (opt.report != NULL && run.skipped[0] == '\0')
		conflicts_tell(&run);
	out->ok = run_ok(&run);
	out->done = true;
	out->events = run.events;
	out->servers = run.servers;
	out->clobbered = run.clobbered;
	out->settled = run.settled;
	out->ms = clock_mono_ms() - start;
	snprintf(out->why, sizeof(out->why), "%s", run.why);
	snprintf(out->skipped, sizeof(out->skipped), "%s", run.skipped);
	snprintf(out->dir, sizeof(out->dir), "%s", run.dir);
	trace_line(&run.trace, "end", "s:outcome", out->ok ? "passed" : "failed", "i:events",
	    out->events, "i:ms", out->ms, NULL);
	run_end(&run, opt.keep || !out->ok);
}

static void
start(struct job *j)
{
	struct result r = { 0 };
	pid_t parent = getpid();
	int ends[2];

	fflush(NULL);
	if (pipe(ends) != 0 || (j->pid = fork()) < 0)
		die("fork: %s", strerror(errno));
	j->started_ms = clock_mono_ms();
	if (j->pid == 0) {
		close(ends[0]);
		setpgid(0, 0); /* so that all of it can be ended together */
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			exit(2);
		signal(SIGINT, SIG_DFL);
		signal(SIGTERM, SIG_DFL);
		do_job(j, &r);
		if (write(ends[1], &r, sizeof(r)) != (ssize_t)sizeof(r))
			exit(2);
		exit(0);
	}
	setpgid(j->pid, j->pid);
	close(ends[1]);
	j->fd = ends[0];
}

/* Read how a run ended; its process is gone. */
static void
finish(struct job *j, int status)
{
	struct result *r = &j->result;
	ssize_t n = read(j->fd, r, sizeof(*r));

	close(j->fd);
	j->fd = -1;
	if (n == (ssize_t)sizeof(*r) && WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return;
	memset(r, 0, sizeof(*r));
	r->done = true;
	r->ms = clock_mono_ms() - j->started_ms;
	if (WIFSIGNALED(status))
		snprintf(r->why, sizeof(r->why), "%s", r->ms >= RUN_SECONDS * 1000 ?
		    "took too long" : strsignal(WTERMSIG(status)));
	else
		snprintf(r->why, sizeof(r->why), "the harness gave up (see above)");
	kill(-j->pid, SIGKILL); /* its group: what it started and left behind */
}

/* What failed is told at once, and how to have it again. */
static void
tell(const struct job *j)
{
	const struct result *r = &j->result;
	char again[PATH_LEN];

	if (r->ok)
		return;
	printf("%s over %s, seed %llu: %s\n", job_name(j), server_kind_name(j->kind),
	    (unsigned long long)j->seed, r->why);
	printf("    again: %s\n", job_again(j, again));
	if (r->dir[0])
		printf("    trace: %s/trace.jsonl\n", r->dir);
	fflush(stdout);
}

static const char *
outcome_of(const struct result *r)
{
	return r->skipped[0] ? "skipped" : r->ok ? "passed" : "failed";
}

static void
report(const struct job *j)
{
	const struct result *r = &j->result;
	char again[PATH_LEN], trace[PATH_LEN];
	struct report_run run = {
		.n = (int)(j - jobs),
		.scenario = j->scenario != NULL ? job_name(j) : "self-test",
		.about = j->scenario != NULL ? j->scenario->about : job_name(j),
		.via = server_kind_name(j->kind),
		.seed = j->seed,
		.outcome = outcome_of(r),
		.why = r->skipped[0] ? r->skipped : r->why,
		.events = r->events,
		.ms = r->ms,
		.again = job_again(j, again),
		.kept = opt.keep || !r->ok ? r->dir : "",
	};

	report_add(opt.report, &run, traced(j, trace));
	unlink(trace);
}

/* The table at the end. */
static void
print_table(void)
{
	int i;

	printf("%-20s %-8s %6s  %-7s %7s %7s\n", "scenario", "over", "seed", "outcome",
	    "events", "ms");
	for (i = 0; i < n_jobs; i++) {
		const struct job *j = &jobs[i];
		const struct result *r = &j->result;

		printf("%-20s %-8s %6llu  %-7s %7lld %7lld%s%s\n",
		    j->scenario ? job_name(j) : "self-test", server_kind_name(j->kind),
		    (unsigned long long)j->seed,
		    r->skipped[0] ? "skipped" : r->ok ? "passed" : "FAILED",
		    (long long)r->events, (long long)r->ms,
		    r->skipped[0] || !j->scenario ? "  " : "",
		    r->skipped[0] ? r->skipped : !j->scenario ? job_name(j) : "");
	}
}

/* Asked to end: take all that was started along. */
static void
end_all(int first, int until)
{
	int i;

	for (i = first; i < until; i++)
		if (jobs[i].fd >= 0)
			kill(-jobs[i].pid, SIGKILL);
	if (opt.report != NULL)
		report_write(opt.report); /* what there is */
	die("ended by signal %d; %s is left", (int)stop, opt.parent);
}

/* Wait until one of the running jobs ends. */
static void
wait_one(int first, int until)
{
	int status, i;
	pid_t pid;

	for (;;) {
		if (stop != 0)
			end_all(first, until);
		pid = waitpid(-1, &status, WNOHANG);
		if (pid < 0 && errno != EINTR)
			die("waitpid: %s", strerror(errno));
		for (i = first; i < until; i++) {
			if (jobs[i].fd < 0)
				continue;
			if (pid == jobs[i].pid) {
				finish(&jobs[i], status);
				tell(&jobs[i]);
				if (opt.report != NULL)
					report(&jobs[i]);
				return;
			}
			if (clock_mono_ms() - jobs[i].started_ms > RUN_SECONDS * 1000)
				kill(-jobs[i].pid, SIGKILL);
		}
		if (pid <= 0)
			usleep(1000);
	}
}

static void
tell_progress(int done, int64_t began_ms, int64_t *told_ms)
{
	int64_t now = clock_mono_ms();
	int i, failed = 0;

	if (!opt.quiet || (now - *told_ms < PROGRESS_MS && done < n_jobs))
		return;
	*told_ms = now;
	for (i = 0; i < n_jobs; i++)
		failed += jobs[i].result.done && !jobs[i].result.ok;
	printf("%d of %d runs, %d failed, %lld s\n", done, n_jobs, failed,
	    (long long)(now - began_ms) / 1000);
	fflush(stdout);
}

static void
run_all(void)
{
	int64_t began = clock_mono_ms(), told = began;
	int first = 0, next = 0, running = 0;

	while (next < n_jobs || running > 0) {
		if (opt.seconds > 0 && clock_mono_ms() - began >= opt.seconds * INT64_C(1000))
			n_jobs = next; /* the others are not begun */
		while (next < n_jobs && running < opt.jobs) {
			start(&jobs[next++]);
			running++;
		}
		if (running == 0)
			break;
		wait_one(first, next);
		running--;
		while (first < next && jobs[first].fd < 0)
			first++;
		tell_progress(next - running, began, &told);
	}
}

/* --- plans --- */

#define SHRUNK 5 /* of those that failed: it takes a while */

/* The shortest plan that fails still, for each of the first that did. */
static void
shrink_failed(void)
{
	struct buf plan = { 0 }, less = { 0 };
	int i, n = 0;

	for (i = 0; i < n_jobs && n < SHRUNK; i++) {
		struct job *j = &jobs[i];
		struct shrink s = { .kind = j->kind, .seed = j->seed, .parent = opt.parent };

		if (j->scenario == NULL || j->scenario->plan == NULL || j->result.ok)
			continue;
		n++;
		buf_reset(&plan);
		j->scenario->plan(j->seed, &plan);
		if (shrink_script(&s, buf_cstr(&plan), &less))
			printf("seed %llu fails with no less than this (%d runs): %s\n%s",
			    (unsigned long long)j->seed, s.runs, s.why, buf_cstr(&less));
		else
			printf("seed %llu did not fail again\n", (unsigned long long)j->seed);
		fflush(stdout);
	}
	buf_free(&plan);
	buf_free(&less);
}

/* What the plans that passed came to. */
static void
tell_plans(void)
{
	int64_t clients = 0, servers = 0, clobbered = 0;
	int i, n = 0, settled = 0;

	for (i = 0; i < n_jobs; i++) {
		const struct result *r = &jobs[i].result;

		if (jobs[i].scenario == NULL || jobs[i].scenario->plan == NULL || !r->ok)
			continue;
		n++;
		clients += r->events - r->servers;
		servers += r->servers;
		clobbered += r->clobbered;
		settled = r->settled > settled ? r->settled : settled;
	}
	if (n > 0)
		printf("%d plans: settled after %d syncs of a device at most; %lld events of"
		    " clients, %lld of the server's (one for %.1f); %lld values written over\n",
		    n, settled, (long long)clients, (long long)servers,
		    servers > 0 ? (double)clients / (double)servers : 0.0,
		    (long long)clobbered);
}

/* --- the command --- */

static void
list(void)
{
	const struct scenario *s;

	for (s = scenarios; s->name != NULL; s++)
		if (is_for(s))
			printf("%-20s %s%s%s  %s\n", s->name, s->on & ON_DIRECT ? "direct " : "",
			    s->on & ON_CGI ? "cgi " : "", s->on & ON_FASTCGI ? "fastcgi " : "",
			    s->about);
}

static int
kind_of(const char *name)
{
	int k;

	for (k = 0; k < SERVER__MAX; k++)
		if (strcmp(server_kind_name((enum server_kind)k), name) == 0)
			return k;
	die("no transport is called %s (direct, cgi, fastcgi)", name);
}

static void
read_options(int argc, char **argv)
{
	static const struct option longs[] = {
		{ "list", no_argument, NULL, 'l' },
		{ "scenario", required_argument, NULL, 's' },
		{ "script", required_argument, NULL, 'f' },
		{ "transport", required_argument, NULL, 't' },
		{ "seeds", required_argument, NULL, 'n' },
		{ "seconds", required_argument, NULL, 'x' },
		{ "first", required_argument, NULL, 'F' },
		{ "quiet", no_argument, NULL, 'q' },
		{ "replay", required_argument, NULL, 'r' },
		{ "self-test", no_argument, NULL, 'S' },
		{ "jobs", required_argument, NULL, 'j' },
		{ "keep", no_argument, NULL, 'k' },
		{ "trace", required_argument, NULL, 'T' },
		{ "report", required_argument, NULL, 'R' },
		{ NULL, 0, NULL, 0 }
	};
	int c;

	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		switch (c) {
		case 'l':
			opt.list = true;
			break;
		case 's':
			if (opt.n_scenarios == 16)
				die("more than 16 scenarios");
			opt.scenarios[opt.n_scenarios++] = optarg;
			break;
		case 'f':
			opt.script = optarg;
			break;
		case 't':
			opt.kind = kind_of(optarg);
			break;
		case 'n':
			opt.seeds = atoi(optarg);
			break;
		case 'x':
			opt.seconds = atoi(optarg);
			break;
		case 'F':
			opt.first = strtoull(optarg, NULL, 10);
			break;
		case 'q':
			opt.quiet = true;
			break;
		case 'r':
			opt.replay = true;
			opt.seed = strtoull(optarg, NULL, 10);
			break;
		case 'S':
			opt.self_test = true;
			break;
		case 'j':
			opt.jobs = atoi(optarg);
			if (opt.jobs < 1 || opt.jobs > MAX_JOBS)
				die("--jobs takes 1 to %d", MAX_JOBS);
			break;
		case 'k':
			opt.keep = true;
			break;
		case 'T':
			opt.trace = optarg;
			unlink(opt.trace);
			break;
		case 'R':
			opt.report = report_new(optarg, argc, argv);
			break;
		default:
			exit(2);
		}
	}
	if (opt.report != NULL && opt.trace != NULL)
		die("--report reads the trace of each run: there is none with --trace");
	if (optind < argc)
		die("what is %s? (see the head of main.c)", argv[optind]);
}

/* A folder for all runs: in memory where there is such a place, for what is
 * lost with the power is not what these tests are about. */
static void
make_parent(void)
{
	const char *tmp = getenv("TMPDIR");

	if (tmp == NULL)
		tmp = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
	snprintf(opt.parent, sizeof(opt.parent), "%s/td-sync-harness-XXXXXX", tmp);
	if (mkdtemp(opt.parent) == NULL)
		die("%s: %s", opt.parent, strerror(errno));
}

int
main(int argc, char **argv)
{
	int i, passed = 0, failed = 0, skipped = 0;

	/* A run has one thread, and opens databases all the time. */
	sqlite3_config(SQLITE_CONFIG_SINGLETHREAD);
	sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);

	opt.jobs = (int)sysconf(_SC_NPROCESSORS_ONLN);
	opt.jobs = opt.jobs < 2 ? 2 : opt.jobs > 8 ? 8 : opt.jobs;
	read_options(argc, argv);
	if (opt.list) {
		list();
		return 0;
	}
	signal(SIGINT, on_signal);
	signal(SIGTERM, on_signal);
	make_parent();
	if (opt.script != NULL)
		add_script(opt.script);
	if (opt.script == NULL || opt.n_scenarios > 0)
		plan();
	run_all();
	if (!opt.quiet)
		print_table();
	if (opt.report != NULL)
		report_write(opt.report);
	shrink_failed();
	tell_plans();
	for (i = 0; i < n_jobs; i++) {
		if (jobs[i].result.skipped[0] != '\0')
			skipped++;
		else if (jobs[i].result.ok)
			passed++;
		else
			failed++;
	}
	rmdir(opt.parent); /* stays when something in it was kept */
	printf("%d passed, %d failed", passed, failed);
	if (skipped > 0)
		printf(", %d skipped", skipped);
	printf("\n");
	return failed > 0 ? 1 : 0;
}
