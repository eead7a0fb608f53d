/*
 * A small web server that runs one CGI program for every request, as shared
 * hosting does: `cgi_gateway FD PROGRAM [ARGUMENT...]`, FD a listening socket.
 * For tests, after kcgi's kcgiregress: the program is real, only the server
 * in front of it is as small as can be (RFC 3875; bodies are read whole before
 * the program starts; a connection serves one request).
 *
 * The service lies under /cgi-bin/td-sync.cgi.
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SCRIPT "/cgi-bin/td-sync.cgi"
#define HEADER_MAX 65536

static void
send_all(int fd, const char *p, size_t n)
{
	while (n > 0) {
		ssize_t put = send(fd, p, n, MSG_NOSIGNAL);

		if (put <= 0)
			_exit(1);
		p += put;
		n -= (size_t)put;
	}
}

static void __attribute__((format(printf, 2, 3)))
sendf(int fd, const char *fmt, ...)
{
	char text[1024];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	send_all(fd, text, n < (int)sizeof(text) ? (size_t)n : sizeof(text) - 1);
}

/* End the request with an answer of the gateway's own. */
static void
refuse(int fd, const char *status)
{
	sendf(fd, "HTTP/1.1 %s\r\nContent-Type: text/html\r\nContent-Length: %zu\r\n"
	      "Connection: close\r\n\r\n<h1>%s</h1>\n", status, strlen(status) + 10, status);
	_exit(0);
}

/* Read until the blank line; what came beyond it is *extra bytes at *body. */
static void
read_header(int fd, char *text, char **body, size_t *extra)
{
	size_t len = 0;
	char *end;

	for (;;) {
		ssize_t got = len + 1 < HEADER_MAX ? read(fd, text + len, HEADER_MAX - 1 - len) : 0;

		if (got <= 0)
			_exit(0);
		len += (size_t)got;
		text[len] = '\0';
		end = strstr(text, "\r\n\r\n");
		if (end != NULL)
			break;
	}
	end[2] = '\0';
	*body = end + 4;
	*extra = len - (size_t)(*body - text);
}

/* Make a request header known to the program. */
static void
set_header(char *line)
{
	char name[256] = "HTTP_";
	char *value = strchr(line, ':');
	size_t n = 5;

	if (value == NULL)
		return;
	*value++ = '\0';
	value += strspn(value, " \t");
	for (const char *p = line; *p != '\0' && n + 1 < sizeof(name); p++)
		name[n++] = *p == '-' ? '_' : (char)toupper((unsigned char)*p);
	name[n] = '\0';
	if (strcasecmp(line, "Content-Type") == 0)
		setenv("CONTENT_TYPE", value, 1);
	else if (strcasecmp(line, "Content-Length") == 0)
		setenv("CONTENT_LENGTH", value, 1);
	else
		setenv(name, value, 1);
}

static int
hex(int c)
{
	return isdigit(c) ? c - '0' : isxdigit(c) ? tolower(c) - 'a' + 10 : -1;
}

/* Decode a path in place; false: a bad escape, or a NUL in it. */
static bool
decode(char *s)
{
	char *out = s;

	for (; *s != '\0'; s++) {
		int hi, lo;

		if (*s != '%') {
			*out++ = *s;
			continue;
		}
		hi = hex((unsigned char)s[1]);
		lo = hi < 0 ? -1 : hex((unsigned char)s[2]);
		if (hi < 0 || lo < 0 || (hi == 0 && lo == 0))
			return false;
		*out++ = (char)(hi << 4 | lo);
		s += 2;
	}
	*out = '\0';
	return true;
}

/* The request line: "METHOD /path?query HTTP/1.1". */
static void
set_request(int fd, char *line)
{
	char *target = strchr(line, ' '), *version, *query;
	const char *info;

	if (target == NULL || (version = strchr(target + 1, ' ')) == NULL)
		refuse(fd, "400 Bad Request");
	*target++ = '\0';
	*version++ = '\0';
	setenv("REQUEST_METHOD", line, 1);
	setenv("SERVER_PROTOCOL", version, 1);
	setenv("REQUEST_URI", target, 1);
	query = strchr(target, '?');
	if (query != NULL)
		*query++ = '\0';
	setenv("QUERY_STRING", query != NULL ? query : "", 1);
	if (!decode(target))
		refuse(fd, "400 Bad Request");
	if (strncmp(target, SCRIPT, strlen(SCRIPT)) != 0)
		refuse(fd, "404 Not Found");
	info = target + strlen(SCRIPT);
	if (*info != '\0' && *info != '/')
		refuse(fd, "404 Not Found");
	setenv("SCRIPT_NAME", SCRIPT, 1);
	if (*info != '\0')
		setenv("PATH_INFO", info, 1);
}

/* The body, in a file for the program's stdin. */
static int
read_body(int fd, const char *start, size_t extra)
{
	const char *text = getenv("CONTENT_LENGTH");
	const char *expect = getenv("HTTP_EXPECT");
	long long left = text != NULL ? atoll(text) : 0;
	int file = memfd_create("body", MFD_CLOEXEC);
	char part[65536];

	if (getenv("HTTP_TRANSFER_ENCODING") != NULL)
		refuse(fd, "411 Length Required");
	if (expect != NULL && strcasecmp(expect, "100-continue") == 0)
		sendf(fd, "HTTP/1.1 100 Continue\r\n\r\n");
	if ((long long)extra > left)
		extra = (size_t)left;
	if (file < 0 || write(file, start, extra) != (ssize_t)extra)
		refuse(fd, "500 Internal Server Error");
	left -= (long long)extra;
	while (left > 0) {
		ssize_t got = read(fd, part, left < (long long)sizeof(part) ? (size_t)left
		                                                            : sizeof(part));

		if (got <= 0)
			_exit(0); /* the client left in the middle */
		if (write(file, part, (size_t)got) != got)
			refuse(fd, "500 Internal Server Error");
		left -= got;
	}
	lseek(file, 0, SEEK_SET);
	return file;
}

/* Start the program; *out gets its stdout. */
static pid_t
start(int body, char **argv, int *out)
{
	int ends[2];
	pid_t pid;

	if (pipe(ends) != 0 || (pid = fork()) < 0)
		return -1;
	if (pid == 0) {
		dup2(body, STDIN_FILENO);
		dup2(ends[1], STDOUT_FILENO);
		close(ends[0]);
		close(ends[1]);
		execv(argv[0], argv);
		_exit(127);
	}
	close(ends[1]);
	*out = ends[0];
	return pid;
}

/* All the program says. */
static char *
collect(int fd, size_t *len)
{
	size_t cap = 65536;
	char *p = malloc(cap);
	ssize_t got;

	*len = 0;
	while (p != NULL && (got = read(fd, p + *len, cap - *len - 1)) > 0) {
		*len += (size_t)got;
		if (cap - *len < 2)
			p = realloc(p, cap *= 2);
	}
	if (p != NULL)
		p[*len] = '\0';
	return p;
}

static void
send_answer(int fd, char *text, size_t len)
{
	char *end = strstr(text, "\r\n\r\n"), *line, *next;
	const char *status = "200 OK";
	char date[64];
	time_t now = time(NULL);

	if (end == NULL)
		refuse(fd, "500 Internal Server Error");
	end[2] = '\0';
	for (line = text; (next = strstr(line, "\r\n")) != NULL; line = next + 2) {
		*next = '\0';
		if (strncasecmp(line, "Status: ", 8) == 0)
			status = line + 8;
	}
	strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S GMT", gmtime(&now));
	sendf(fd, "HTTP/1.1 %s\r\nDate: %s\r\nConnection: close\r\n", status, date);
	for (line = text; line < end + 2; line += strlen(line) + 2)
		if (strncasecmp(line, "Status: ", 8) != 0)
			sendf(fd, "%s\r\n", line);
	send_all(fd, "\r\n", 2);
	send_all(fd, end + 4, len - (size_t)(end + 4 - text));
}

/* One connection, in a process of its own. */
static void
serve(int fd, char **argv)
{
	static char text[HEADER_MAX];
	char *body, *line, *next, *answer;
	size_t extra, len;
	int in, out;
	pid_t pid;

	signal(SIGCHLD, SIG_DFL);
	read_header(fd, text, &body, &extra);
	next = strstr(text, "\r\n");
	*next = '\0';
	for (line = next + 2; (next = strstr(line, "\r\n")) != NULL; line = next + 2) {
		*next = '\0';
		set_header(line);
	}
	set_request(fd, text);
	setenv("GATEWAY_INTERFACE", "CGI/1.1", 1);
	setenv("SERVER_NAME", "127.0.0.1", 1);
	setenv("REMOTE_ADDR", "127.0.0.1", 1);
	in = read_body(fd, body, extra);
	pid = start(in, argv, &out);
	answer = pid < 0 ? NULL : collect(out, &len);
	if (answer == NULL)
		refuse(fd, "500 Internal Server Error");
	send_answer(fd, answer, len);
	free(answer);
	shutdown(fd, SHUT_WR);
	close(fd);
	waitpid(pid, NULL, 0); /* what it does after its answer */
	_exit(0);
}

int
main(int argc, char **argv)
{
	int sock, fd;

	if (argc < 3) {
		fputs("usage: cgi_gateway FD PROGRAM [ARGUMENT...]\n", stderr);
		return 2;
	}
	sock = atoi(argv[1]);
	fcntl(sock, F_SETFD, FD_CLOEXEC);
	signal(SIGCHLD, SIG_IGN);
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	for (;;) {
		fd = accept4(sock, NULL, NULL, SOCK_CLOEXEC);
		if (fd < 0 && errno != EINTR && errno != ECONNABORTED)
			return 1;
		if (fd < 0)
			continue;
		switch (fork()) {
		case 0:
			close(sock);
			serve(fd, argv + 2);
			break; /* not reached */
		default:
			close(fd);
		}
	}
}
