/*
 * td-sync.fcgi: the server. A FastCGI worker where fd 0 is a listening
 * socket, a CGI program where the environment says so, and with --workers the
 * master of a pool.
 */
#include "base/log.h"
#include "http/cgi.h"
#include "http/config.h"
#include "http/fcgi.h"
#include "http/master.h"
#include "store/db.h"

#include <config.h> /* autoconf's */

#include <getopt.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char usage[] =
"usage: td-sync.fcgi [--config FILE] [--data DIR] [--listen SOCKET]\n"
"                    [--workers N] [--max-workers N] [--max-requests N]\n"
"                    [--idle-seconds N] [--stuck-seconds N] [--pid-file FILE]\n"
"       td-sync.fcgi --check [--config FILE] [--data DIR]\n"
"       td-sync.fcgi --version\n"
"\n"
"Started by a web server it serves FastCGI (fd 0 is a listening socket) or\n"
"CGI. --listen makes the socket itself; --workers runs a pool. See the manual\n"
"page td-sync.fcgi(8).\n";

/* The command line. */
struct arguments {
	struct master_options pool;
	bool is_pool, check;
};

/* A number of an option; false: it is none. */
static bool
number(const char *option, const char *text, int64_t min, int64_t max, int64_t *out)
{
	char *end;

	*out = strtoll(text, &end, 10);
	if (end != text && *end == '\0' && *out >= min && *out <= max)
		return true;
	fprintf(stderr, "td-sync.fcgi: --%s must be a number from %lld to %lld\n",
	        option, (long long)min, (long long)max);
	return false;
}

enum { O_CONFIG = 1, O_DATA, O_LISTEN, O_WORKERS, O_MAX_WORKERS, O_MAX_REQUESTS,
       O_IDLE, O_STUCK, O_PID_FILE, O_CHECK, O_VERSION, O_HELP };

static const struct option options[] = {
	{ "config",         required_argument, NULL, O_CONFIG },
	{ "data",           required_argument, NULL, O_DATA },
	{ "listen",         required_argument, NULL, O_LISTEN },
	{ "workers",        required_argument, NULL, O_WORKERS },
	{ "max-workers",    required_argument, NULL, O_MAX_WORKERS },
	{ "max-requests",   required_argument, NULL, O_MAX_REQUESTS },
	{ "idle-seconds",   required_argument, NULL, O_IDLE },
	{ "stuck-seconds",  required_argument, NULL, O_STUCK },
	{ "pid-file",       required_argument, NULL, O_PID_FILE },
	{ "check",          no_argument,       NULL, O_CHECK },
	{ "version",        no_argument,       NULL, O_VERSION },
	{ "help",           no_argument,       NULL, O_HELP },
	{ NULL, 0, NULL, 0 },
};

/* Take one option; false: usage. */
static bool
take_option(struct arguments *a, int option)
{
	int64_t n = 0;

	switch (option) {
	case O_CONFIG:   a->pool.config_file = optarg; return true;
	case O_DATA:     a->pool.data = optarg; return true;
	case O_LISTEN:   a->pool.listen = optarg; return true;
	case O_PID_FILE: a->pool.pid_file = optarg; return true;
	case O_CHECK:    a->check = true; return true;
	case O_WORKERS:
		a->is_pool = true;
		if (!number("workers", optarg, 1, 1024, &n))
			return false;
		a->pool.workers = (int)n;
		return true;
	case O_MAX_WORKERS:
		a->is_pool = true;
		if (!number("max-workers", optarg, 1, 1024, &n))
			return false;
		a->pool.max_workers = (int)n;
		return true;
	case O_IDLE:
		if (!number("idle-seconds", optarg, 1, 86400, &n))
			return false;
		a->pool.idle_seconds = (int)n;
		return true;
	case O_STUCK:
		if (!number("stuck-seconds", optarg, 1, 86400, &n))
			return false;
		a->pool.stuck_seconds = (int)n;
		return true;
	case O_MAX_REQUESTS:
		return number("max-requests", optarg, 0, INT64_C(1) << 40,
		              &a->pool.max_requests);
	}
	return false;
}

/* Parse the command line. -1: go on; else the exit status. */
static int
parse(int argc, char **argv, struct arguments *a)
{
	int c;

	*a = (struct arguments){ .pool = { .max_requests = -1, .idle_seconds = 10,
	                                   .stuck_seconds = 180 } };
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == O_VERSION) {
			puts("td-sync " PACKAGE_VERSION);
			return 0;
		}
		if (c == O_HELP) {
			fputs(usage, stdout);
			return 0;
		}
		if (c == '?' || !take_option(a, c)) {
			fputs(usage, stderr);
			return 2;
		}
	}
	if (optind < argc) {
		fputs(usage, stderr);
		return 2;
	}
	if (a->pool.workers == 0)
		a->pool.workers = a->pool.max_workers == 0 || a->pool.max_workers > 4
		                  ? 4 : a->pool.max_workers;
	if (a->pool.max_workers == 0)
		a->pool.max_workers = a->pool.workers > 64 ? a->pool.workers : 64;
	if (a->pool.max_requests < 0) /* alone, nobody would start the next one */
		a->pool.max_requests = a->is_pool ? 5000 : 0;
	if (a->pool.workers > a->pool.max_workers) {
		fputs("td-sync.fcgi: --workers is above --max-workers\n", stderr);
		return 2;
	}
	return -1;
}

/* Read the configuration and open the logs. */
static enum rc
set_up(const struct arguments *a, struct config *config, struct err *err)
{
	enum rc rc = config_load(a->pool.config_file, a->pool.data, config, err);

	return rc == RC_OK ? config_open_logs(config, err) : rc;
}

static int
fail(const struct err *err)
{
	fprintf(stderr, "td-sync.fcgi: %s\n", err->text);
	return 1;
}

/* FastCGI: a pool or one worker, on a socket of our own or the one given. */
static int
serve(const struct arguments *a, struct config *config)
{
	struct server s;
	struct err err;
	int rc;

	if (a->pool.listen != NULL && master_listen(a->pool.listen, &err) != RC_OK)
		return fail(&err);
	if (a->is_pool) {
		/* Said now, once, rather than by each worker. */
		if (server_check(config, &err) != RC_OK)
			return fail(&err);
		return master_run(config, &a->pool);
	}
	server_init(&s, config, 0);
	rc = fcgi_run(&s, NULL, 0, a->pool.max_requests);
	server_close(&s);
	if (a->pool.listen != NULL)
		unlink(a->pool.listen);
	return rc;
}

int
main(int argc, char **argv)
{
	static struct config config; /* large */
	struct arguments a;
	struct server s;
	struct err err;
	bool socket;
	int rc;

	if ((rc = parse(argc, argv, &a)) >= 0)
		return rc;
	db_lean();
#ifdef M_MMAP_THRESHOLD
	/* Large bodies and pages go back to the system when they are done. */
	mallopt(M_MMAP_THRESHOLD, 128 << 10);
#endif
	socket = a.pool.listen != NULL || fcgi_asked();
	if (!socket && !a.check && !cgi_asked()) {
		fprintf(stderr, "td-sync.fcgi: fd 0 is no listening socket and the "
		        "environment not that of CGI\n%s", usage);
		return 2;
	}
	if (set_up(&a, &config, &err) != RC_OK) {
		fail(&err);
		if (!socket && !a.check)
			cgi_fail();
		return 1;
	}
	if (a.check)
		return server_check(&config, &err) == RC_OK ? 0 : fail(&err);
	if (socket)
		return serve(&a, &config);
	server_init(&s, &config, 0);
	rc = cgi_run(&s);
	server_close(&s);
	return rc;
}
