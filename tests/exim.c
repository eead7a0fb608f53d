/* A mail server for tests, see exim.h. */
#include "exim.h"

#include "base/clock.h"
#include "base/fs.h"

#include <arpa/inet.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define EXIM "/usr/sbin/exim4"

/* Abort, with what its logs say. */
static void
give_up(const struct exim *e, const char *what)
{
	char command[2 * TEMP_PATH + 32];

	fprintf(stderr, "exim: %s\n", what);
	snprintf(command, sizeof(command), "cat '%s'/log/* '%s'/said >&2", e->dir, e->dir);
	if (system(command) != 0)
		fprintf(stderr, "(no log)\n");
	abort();
}

bool
exim_can_run(void)
{
	return access(EXIM, X_OK) == 0 && system("openssl version >/dev/null 2>&1") == 0;
}

int
exim_listen(int port)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port),
	                          .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
	    bind(fd, (struct sockaddr *)&at, sizeof(at)) != 0 || listen(fd, 8) != 0) {
		perror("listen");
		abort();
	}
	return fd;
}

int
exim_free_port(void)
{
	struct sockaddr_in at;
	socklen_t len = sizeof(at);
	int fd = exim_listen(0);

	if (getsockname(fd, (struct sockaddr *)&at, &len) != 0)
		abort();
	close(fd);
	return ntohs(at.sin_port);
}

/* Write a file of the server's folder. */
static void
put(const struct exim *e, const char *name, const struct buf *text, mode_t mode)
{
	char path[TEMP_PATH + 32];

	snprintf(path, sizeof(path), "%s/%s", e->dir, name);
	if (text->failed || fs_write(path, buf_span(text), mode, NULL) != RC_OK)
		give_up(e, name);
}

static void
make_certificates(const struct exim *e)
{
	struct buf script = { 0 };

	buf_addf(&script, "cd '%s' && exec 2>said && set -e\n"
	         "key='-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes'\n"
	         "openssl req -x509 $key -keyout ca.key -out ca.pem -subj '/CN=Test CA' -days 2\n"
	         "openssl req -x509 $key -keyout other.key -out other.pem -subj '/CN=Other CA' -days 2\n"
	         "openssl req $key -keyout server.key -out server.csr -subj /CN=localhost\n"
	         "echo subjectAltName=DNS:localhost >ext\n"
	         "openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial"
	         " -days 2 -extfile ext -out server.pem\n", e->dir);
	if (buf_cstr(&script) == NULL || system(script.p) != 0)
		give_up(e, "the certificates could not be made");
	buf_free(&script);
}

/*
 * Its configuration. Its user is the one that we are; where that is root it
 * delivers as nobody, as it never does that as root.
 */
static void
configure(const struct exim *e)
{
	bool root = geteuid() == 0;
	struct buf text = { 0 };

	buf_addf(&text,
		"exim_user = %d\n"
		"exim_group = %d\n"
		"primary_hostname = mail.test\n"
		"qualify_domain = mail.test\n"
		"spool_directory = %s/spool\n"
		"log_file_path = %s/log/%%slog\n"
		"pid_file_path = %s/pid\n"
		"local_interfaces = 127.0.0.1\n"
		"daemon_smtp_ports = %d : %d : %d\n"
		"tls_on_connect_ports = %d\n"
		"tls_advertise_hosts = ${if eq{$received_port}{%d}{}{*}}\n"
		"tls_certificate = %s/server.pem\n"
		"tls_privatekey = %s/server.key\n"
		"received_header_text =\n"
		"untrusted_set_sender = *\n"
		"local_from_check = false\n"
		"keep_environment =\n"
		"host_lookup =\n"
		"rfc1413_query_timeout = 0s\n"
		"smtp_accept_max = 0\n"
		"acl_smtp_rcpt = rcpt\n"
		"acl_smtp_data = data\n"
		"begin acl\n"
		"rcpt:\n"
		"  deny message = authentication is required\n"
		"       !authenticated = *\n"
		"  deny message = no such mailbox:\\nask the postmaster\n"
		"       local_parts = refused\n"
		"  defer message = 452 the mailbox is full\n"
		"       local_parts = full\n"
		"  accept\n"
		"data:\n"
		"  deny message = this is spam\n"
		"       condition = ${if match{$message_body}{buy this}}\n"
		"  accept\n", (int)geteuid(), (int)getegid(), e->dir, e->dir, e->dir,
		e->port, e->port_tls, e->port_plain, e->port_tls, e->port_plain, e->dir, e->dir);
	buf_addf(&text,
		"begin routers\n"
		"all:\n"
		"  driver = accept\n"
		"  transport = mailbox\n"
		"begin transports\n"
		"mailbox:\n"
		"  driver = appendfile\n"
		"  directory = %s/mail\n"
		"  maildir_format\n"
		"  return_path_add\n"
		"  envelope_to_add\n"
		"  headers_add = X-Protocol: $received_protocol${if def:sender_helo_name{ $sender_helo_name}}\n"
		"  user = %d\n"
		"  group = %d\n"
		"begin authenticators\n"
		"plain:\n"
		"  driver = plaintext\n"
		"  public_name = PLAIN\n"
		"  server_prompts = :\n"
		"  server_condition = ${if and{{eq{$auth2}{" EXIM_USER "}}"
		"{eq{${sha256:$auth3}}{${sha256:${readfile{%s/password}}}}}}}\n"
		"  server_set_id = $auth2\n",
		e->dir, root ? 65534 : (int)geteuid(), root ? 65534 : (int)getegid(), e->dir);
	put(e, "exim.conf", &text, 0644);
	buf_reset(&text);
	buf_add_str(&text, EXIM_PASSWORD);
	put(e, "password", &text, 0644);
	buf_reset(&text);
	buf_addf(&text, "#!/bin/sh\nexec " EXIM " -C '%s/exim.conf' \"$@\"\n", e->dir);
	put(e, "sendmail", &text, 0755);
	buf_free(&text);
}

/* Run the server, and end it when we are told to, or our parent ends. (It is
 * set-user-ID, so the system would not tell it.) */
static void
watch(const struct exim *e)
{
	char path[TEMP_PATH + 32];
	sigset_t wanted;
	pid_t pid;
	int sig;

	sigemptyset(&wanted);
	sigaddset(&wanted, SIGTERM);
	sigaddset(&wanted, SIGCHLD);
	sigprocmask(SIG_BLOCK, &wanted, NULL);
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	snprintf(path, sizeof(path), "%s/said", e->dir);
	if (freopen(path, "w", stdout) == NULL || dup2(fileno(stdout), STDERR_FILENO) < 0)
		_exit(1);
	snprintf(path, sizeof(path), "%s/exim.conf", e->dir);
	if ((pid = fork()) == 0) {
		setpgid(0, 0);
		sigprocmask(SIG_UNBLOCK, &wanted, NULL);
		execl(EXIM, EXIM, "-bdf", "-C", path, (char *)NULL);
		_exit(127);
	}
	setpgid(pid, pid);
	sigwait(&wanted, &sig);
	kill(-pid, SIGKILL); /* and who still talks to somebody */
	waitpid(pid, NULL, 0);
	_exit(0);
}

static bool
connects(int port)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port),
	                          .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool there = connect(fd, (struct sockaddr *)&at, sizeof(at)) == 0;

	close(fd);
	return there;
}

void
exim_start(struct exim *e)
{
	static const char *const folders[] = { "spool", "log", "mail", "mail/new", "mail/cur", "mail/tmp" };
	char path[TEMP_PATH + 32];
	int64_t end = clock_mono_ms() + 60000;

	temp_make(e->dir);
	chmod(e->dir, 0711);
	for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", e->dir, folders[i]);
		if (mkdir(path, 0777) != 0 || chmod(path, 0777) != 0)
			give_up(e, path);
	}
	e->port = exim_free_port();
	e->port_tls = exim_free_port();
	e->port_plain = exim_free_port();
	make_certificates(e);
	configure(e);
	if ((e->pid = fork()) == 0)
		watch(e);
	while (!connects(e->port) || !connects(e->port_tls) || !connects(e->port_plain)) {
		if (clock_mono_ms() > end || waitpid(e->pid, NULL, WNOHANG) != 0)
			give_up(e, "it does not start");
		usleep(10000);
	}
}

void
exim_stop(struct exim *e)
{
	kill(e->pid, SIGTERM);
	waitpid(e->pid, NULL, 0);
	temp_remove(e->dir);
}

/* Look once for a mail with this line. */
static bool
find(const struct exim *e, const char *line, struct buf *out)
{
	char path[4096];
	struct dirent *entry;
	bool found = false;
	DIR *dir;

	snprintf(path, sizeof(path), "%s/mail/new", e->dir);
	dir = opendir(path);
	while (!found && dir != NULL && (entry = readdir(dir)) != NULL) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/mail/new/%s", e->dir, entry->d_name);
		buf_reset(out);
		found = fs_read(path, 1 << 24, out, NULL) == RC_OK && buf_cstr(out) != NULL &&
		        strstr(out->p, line) != NULL;
	}
	if (dir != NULL)
		closedir(dir);
	return found;
}

bool
exim_delivered(const struct exim *e, const char *to, int ms, struct buf *out)
{
	int64_t end = clock_mono_ms() + ms;
	struct buf line = { 0 }, own = { 0 };
	bool found;

	buf_addf(&line, "\nEnvelope-to: %s\n", to);
	buf_cstr(&line);
	while (!(found = find(e, line.p, out != NULL ? out : &own)) && clock_mono_ms() < end)
		usleep(10000);
	buf_free(&own);
	buf_free(&line);
	return found;
}
