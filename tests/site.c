/* A real server for tests, see site.h. */
#include "site.h"

#include "temp.h"

#include "base/fs.h"
#include "store/events.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#define START_MS 60000 /* valgrind on a busy machine */
#define STOP_MS 45000


static const char *
nginx_path(void)
{
	static const char *const paths[] = { "/usr/sbin/nginx", "/usr/local/sbin/nginx",
	                                     "/usr/bin/nginx", "/usr/local/bin/nginx" };

	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
		if (access(paths[i], X_OK) == 0)
			return paths[i];
	return NULL;
}

const char *
site_missing(enum site_kind kind)
{
	return kind == SITE_FASTCGI && nginx_path() == NULL ? "nginx is not installed"
	                                                     : NULL;
}

static bool
complain(const char *what)
{
	fprintf(stderr, "site: %s: %s\n", what, strerror(errno));
	return false;
}

/* --- processes --- */

/* Start a program that gets SIGTERM when we die, however: so it can end its
 * workers (nginx's would outlive a SIGKILL of their master). `keep` is a
 * descriptor it gets, -1: none; `out` a file for its stderr, NULL: ours. */
static pid_t
spawn(const char *const *argv, int keep, const char *out)
{
	pid_t parent = getpid(), pid = fork();
	int fd;

	if (pid != 0)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != parent)
		_exit(1);
	fd = open("/dev/null", O_RDWR);
	dup2(fd, STDIN_FILENO);
	if (out != NULL)
		fd = open(out, O_WRONLY | O_CREAT | O_APPEND, 0600);
	if (out != NULL && fd >= 0) {
		dup2(fd, STDOUT_FILENO);
		dup2(fd, STDERR_FILENO);
	}
	if (keep >= 0)
		fcntl(keep, F_SETFD, 0);
	execvp(argv[0], (char *const *)(uintptr_t)argv);
	_exit(127);
}

/* Wait for a child for so long; -1: it still runs. Else its wait status. */
static int
wait_for(pid_t pid, int ms)
{
	int64_t end = clock_mono_ms() + ms;
	int status;

	for (;;) {
		pid_t got = waitpid(pid, &status, WNOHANG);

		if (got == pid)
			return status;
		if (got < 0)
			return 0;
		if (clock_mono_ms() > end)
			return -1;
		usleep(5000);
	}
}

/* Ask a process to end, make it; whether it did so by itself with status 0. */
static bool
end_process(pid_t *pid, int sig)
{
	int status;

	if (*pid == 0)
		return true;
	kill(*pid, sig);
	status = wait_for(*pid, STOP_MS);
	if (status == -1) {
		fprintf(stderr, "site: process %d does not end\n", (int)*pid);
		kill(*pid, SIGKILL);
		waitpid(*pid, NULL, 0);
	}
	*pid = 0;
	if (status > 0)
		fprintf(stderr, "site: a process ended with wait status %#x\n", (unsigned)status);
	return status == 0;
}

/* --- files --- */

/*
 * A template of nginx/ with its places filled in, and edited by sed. Below a path: the
 * same in two files, the second one included in a server of somebody else's.
 */
static bool
fill(const struct site *s, const char *name, const char *listen, bool limits,
     const char *below, const char *edits)
{
	static const char script[] = "to=$1 edits=$2 below=$3 listen=$4; shift 4; "
	    "fill() { " TOP_SRCDIR "/nginx/fill \"$@\" \"$listen\" | sed -e \"$edits\"; }; "
	    "[ -n \"$below\" ] || { fill \"$@\" >\"$to\"; exit; }; "
	    "fill \"$@\" PATH=\"$below\" FOR=path >\"$to-path\" &&"
	    "{ fill \"$@\" PATH=\"$below\" FOR=http; echo \"server { listen ${listen#*=};"
	    " merge_slashes off; include $to-path; location = /own { return 200 own; } }\"; } >\"$to\"";
	const struct passwd *pw = getpwuid(geteuid());
	char to[PATH_MAX], from[PATH_MAX], prefix[PATH_MAX], socket[PATH_MAX + 8];
	char data[PATH_MAX + 16], address[64], user[64];
	const char *const argv[] = {
		"/bin/sh", "-c", script, "sh", to, edits, below, address, from, prefix,
		data, socket, user, limits ? "LIMITS=on" : "LIMITS=off", NULL,
	};

	snprintf(from, sizeof(from), TOP_SRCDIR "/nginx/%s.in", name);
	snprintf(to, sizeof(to), "%s/%s", s->dir, name);
	snprintf(prefix, sizeof(prefix), "PREFIX_DIR=%s", s->dir);
	snprintf(data, sizeof(data), "DATA_DIR=%s", s->data);
	snprintf(socket, sizeof(socket), "SOCKET=%s", s->socket);
	snprintf(address, sizeof(address), "LISTEN=%s", listen);
	snprintf(user, sizeof(user), "USER=%s", pw != NULL ? pw->pw_name : "nobody");
	if (wait_for(spawn(argv, -1, NULL), START_MS) == 0)
		return true;
	fprintf(stderr, "site: %s can't be made\n", to);
	return false;
}

static bool
write_config(const struct site *s, const char *more)
{
	struct buf b = { 0 };
	char path[PATH_MAX + 32];
	enum rc rc;

	snprintf(path, sizeof(path), "%s/server.conf", s->dir);
	buf_addf(&b, "data = %s\nerror_log = %s\naccess_log = %s\n%s\n", s->data,
	         s->error_log, s->access_log, more);
	if (strstr(more, "heal") == NULL)
		buf_add_str(&b, "heal = off\n");
	rc = fs_write(path, buf_span(&b), 0644, NULL);
	buf_free(&b);
	return rc == RC_OK || complain(path);
}

/* The data folder: accounts without users, and a key. */
static bool
make_data(const struct site *s)
{
	char keys[PATH_MAX + 8], kid[40];
	struct err err;

	snprintf(keys, sizeof(keys), "%s/keys", s->data);
	if (fs_mkdir(s->data, &err) == RC_OK && fs_mkdir(keys, &err) == RC_OK &&
	    accounts_create(s->data, &err) == RC_OK &&
	    keyring_create(keys, kid, &err) == RC_OK)
		return true;
	fprintf(stderr, "site: %s\n", err.text);
	return false;
}

/* --- the parts --- */

/* A listening socket on a free port. It is handed to the web server: so no
 * other test can take the port in between. */
static int
listen_anywhere(int *port)
{
	struct sockaddr_in addr = { .sin_family = AF_INET };
	socklen_t n = sizeof(addr);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof(addr)) != 0 ||
	    listen(fd, 511) != 0 || getsockname(fd, (struct sockaddr *)&addr, &n) != 0) {
		complain("no free port");
		return -1;
	}
	*port = ntohs(addr.sin_port);
	return fd;
}

/* Start a program of ours with a configuration, wrapped if asked for. */
static size_t
program(const struct site_options *o, const char **argv, const char *config)
{
	size_t n = 0;

	for (const char *const *w = o->wrapper; w != NULL && *w != NULL; w++)
		argv[n++] = *w;
	argv[n++] = TOP_BUILDDIR "/td-sync.fcgi";
	argv[n++] = "--config";
	argv[n++] = config;
	return n;
}

static bool
wait_for_socket(const char *path, pid_t pid)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int64_t end = clock_mono_ms() + START_MS;

	if (strlen(path) >= sizeof(addr.sun_path))
		return complain("the socket's path is too long");
	memcpy(addr.sun_path, path, strlen(path));
	while (clock_mono_ms() < end && waitpid(pid, NULL, WNOHANG) == 0) {
		int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		bool up = connect(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0;

		close(fd);
		if (up)
			return true;
		usleep(5000);
	}
	fprintf(stderr, "site: the workers don't listen on %s\n", path);
	return false;
}

bool
site_start_pool(struct site *s, const struct site_options *o)
{
	static const char *const two[] = { "--workers", "2", "--max-workers", "8", NULL };
	const char *argv[64];
	char config[PATH_MAX + 32];
	size_t n;

	snprintf(config, sizeof(config), "%s/server.conf", s->dir);
	n = program(o, argv, config);
	argv[n++] = "--listen";
	argv[n++] = s->socket;
	for (const char *const *a = o->arguments != NULL ? o->arguments : two; *a != NULL; a++)
		argv[n++] = *a;
	argv[n] = NULL;
	s->pool = spawn(argv, -1, s->error_log);
	return s->pool > 0 && wait_for_socket(s->socket, s->pool);
}

/* The edits of nginx's td-sync.conf: those that are asked for, and further
 * locations, from a file, before its main one. */
static bool
make_edits(const struct site *s, const struct site_options *o, struct buf *edits)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/locations.conf", s->dir);
	if (o->locations != NULL) {
		if (fs_write(path, span_of(o->locations), 0644, NULL) != RC_OK)
			return complain(path);
		buf_addf(edits, "s,^\tlocation / {,include %s;\\n&,;", path);
	}
	buf_add_str(edits, o->nginx_edits != NULL ? o->nginx_edits : "");
	return buf_cstr(edits) != NULL;
}

static bool
start_nginx(struct site *s, const struct site_options *o, int fd, int port)
{
	char address[32], to[PATH_MAX], prefix[PATH_MAX], inherited[16];
	const char *argv[] = { nginx_path(), "-p", prefix, "-c", to, "-e", s->web_log,
	                       "-g", "daemon off;", NULL };
	struct buf edits = { 0 };
	bool filled;

	snprintf(address, sizeof(address), "127.0.0.1:%d", port);
	snprintf(prefix, sizeof(prefix), "%s/", s->dir);
	snprintf(to, sizeof(to), "%s/nginx.conf", s->dir);
	filled = make_edits(s, o, &edits) && fill(s, "nginx.conf", address, o->limits, "", "") &&
	         fill(s, "td-sync.conf", address, o->limits,
	              o->below != NULL ? o->below : "", edits.p);
	buf_free(&edits);
	if (!filled)
		return false;
	/* nginx takes over the sockets this names, as after a binary upgrade; it
	 * believes them to be its own, which never block. */
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	snprintf(inherited, sizeof(inherited), "%d;", fd);
	setenv("NGINX", inherited, 1);
	s->web = spawn(argv, fd, s->web_log);
	unsetenv("NGINX");
	snprintf(s->url, sizeof(s->url), "http://127.0.0.1:%d%s", port,
	         o->below != NULL ? o->below : "");
	return s->web > 0;
}

static bool
start_gateway(struct site *s, const struct site_options *o, int fd, int port)
{
	const char *argv[64] = { TOP_BUILDDIR "/tests/cgi_gateway" };
	char number[16], config[PATH_MAX + 32];
	size_t n = 2;

	snprintf(number, sizeof(number), "%d", fd);
	argv[1] = number;
	snprintf(config, sizeof(config), "%s/server.conf", s->dir);
	n += program(o, argv + n, config);
	argv[n] = NULL;
	s->web = spawn(argv, fd, s->web_log);
	snprintf(s->url, sizeof(s->url), "http://127.0.0.1:%d/cgi-bin/td-sync.cgi", port);
	return s->web > 0;
}

static void
name_files(struct site *s, const struct site_options *o)
{
	if (o->dir != NULL) {
		snprintf(s->dir, sizeof(s->dir), "%s", o->dir);
	} else {
		temp_make(s->dir);
		s->own_dir = true;
	}
	if (o->data != NULL)
		snprintf(s->data, sizeof(s->data), "%s", o->data);
	else
		snprintf(s->data, sizeof(s->data), "%s/data", s->dir);
	snprintf(s->error_log, sizeof(s->error_log), "%s/error.log", s->dir);
	snprintf(s->access_log, sizeof(s->access_log), "%s/access.log", s->dir);
	snprintf(s->web_log, sizeof(s->web_log), "%s/web.log", s->dir);
	snprintf(s->socket, sizeof(s->socket), "%s/s", s->dir);
}

bool
site_start(struct site *s, const struct site_options *o)
{
	int port = 0, fd;
	bool up;

	memset(s, 0, sizeof(*s));
	s->kind = o->kind;
	name_files(s, o);
	fd = listen_anywhere(&port);
	up = fd >= 0 && (o->data != NULL || make_data(s)) && write_config(s, o->config != NULL ? o->config : "");
	if (up && o->kind == SITE_FASTCGI)
		up = site_start_pool(s, o) && start_nginx(s, o, fd, port);
	else if (up)
		up = start_gateway(s, o, fd, port);
	/* Who connects now waits in the socket's queue until the server is up. */
	if (fd >= 0)
		close(fd);
	if (!up) {
		site_print_logs(s);
		site_stop(s);
	}
	return up;
}

static void
print_file(const char *path)
{
	struct buf b = { 0 };

	if (fs_read(path, 1 << 24, &b, NULL) == RC_OK && b.len > 0)
		fprintf(stderr, "--- %s\n%.*s", path, (int)b.len, b.p);
	buf_free(&b);
}

/* Whether a log tells of what a sanitizer found: the master of a pool ends
 * well whatever its workers did. */
static bool
is_sane(const char *path)
{
	struct buf log = { 0 };
	bool sane = true;

	if (fs_read(path, 1 << 26, &log, NULL) == RC_OK && buf_cstr(&log) != NULL)
		sane = strstr(log.p, "Sanitizer") == NULL &&
		       strstr(log.p, "runtime error:") == NULL;
	if (!sane)
		print_file(path);
	buf_free(&log);
	return sane;
}

bool
site_stop(struct site *s)
{
	bool ok = true;

	if (s->kind == SITE_FASTCGI)
		ok = end_process(&s->web, SIGQUIT);
	else if (s->web != 0) { /* the gateway knows no other end */
		kill(s->web, SIGKILL);
		waitpid(s->web, NULL, 0);
		s->web = 0;
	}
	ok = end_process(&s->pool, SIGTERM) && ok;
	ok = is_sane(s->error_log) && is_sane(s->web_log) && ok;
	if (s->own_dir)
		temp_remove(s->dir);
	return ok;
}

size_t
site_workers(const struct site *s, pid_t *pids, size_t max)
{
	char path[64];
	size_t n = 0;
	FILE *f;
	int pid;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)s->pool, (int)s->pool);
	f = fopen(path, "r");
	while (f != NULL && fscanf(f, "%d", &pid) == 1) {
		if (n < max)
			pids[n] = pid;
		n++;
	}
	if (f != NULL)
		fclose(f);
	return n;
}

void
site_print_logs(const struct site *s)
{
	print_file(s->error_log);
	print_file(s->web_log);
}

/* --- accounts --- */

static void
must(enum rc rc, const struct err *err)
{
	if (rc == RC_OK)
		return;
	fprintf(stderr, "site: %s: %s\n", rc_name(rc), err->text);
	abort();
}

static struct accounts *
open_accounts(const struct site *s)
{
	struct accounts *a;
	struct err err;

	must(accounts_open(s->data, &a, &err), &err);
	return a;
}

void
site_user(const struct site *s, const char *email, char id[ID_MAX])
{
	struct accounts *a = open_accounts(s);
	struct user u;
	struct err err;

	must(user_add(a, span_of(email), &u, &err), &err);
	memcpy(id, u.id, ID_MAX);
	accounts_close(a);
}

void
site_project(const struct site *s, const char *name, const char *owner_id,
             char id[ID_MAX])
{
	struct accounts *a = open_accounts(s);
	char dir[PATH_MAX + 64];
	struct project p;
	struct err err;

	must(id_new("p_", 8, id), &err);
	snprintf(dir, sizeof(dir), "%s/projects", s->data);
	must(fs_mkdir(dir, &err), &err);
	snprintf(dir, sizeof(dir), "%s/projects/%s", s->data, id);
	must(events_create(dir, "td", &err), &err);
	must(project_add(a, id, span_of(name), span_of(""), owner_id, &p, &err), &err);
	accounts_close(a);
}

void
site_member(const struct site *s, const char *project_id, const char *user_id,
            enum role role)
{
	struct accounts *a = open_accounts(s);
	struct member m;
	struct err err;

	must(member_add(a, project_id, user_id, role, "", &m, &err), &err);
	accounts_close(a);
}

static char *
issue(const struct site *s, const char *user_id, unsigned scope, const char *project,
      int64_t lifetime_s, char id[ID_MAX])
{
	struct buf token = { 0 };
	struct token_row row;
	struct auth *auth;
	struct err err;
	char *text;

	must(auth_open(s->data, &auth, &err), &err);
	must(auth_issue(auth, &(struct token_plan){
		.user_id = user_id, .name = "test", .scope = scope,
		.projects = project != NULL ? &project : NULL, .n_projects = project != NULL,
		.lifetime_s = lifetime_s,
	}, &row, &token, &err), &err);
	auth_close(auth);
	if (id != NULL)
		memcpy(id, row.id, ID_MAX);
	text = span_dup(buf_span(&token));
	buf_free(&token);
	return text;
}

char *
site_token(const struct site *s, const char *user_id, unsigned scope,
           const char *project, char id[ID_MAX])
{
	return issue(s, user_id, scope, project, 86400, id);
}

char *
site_expired_token(const struct site *s, const char *user_id)
{
	char *token = issue(s, user_id, SCOPE_READ, NULL, 1, NULL);

	usleep(2100000);
	return token;
}
