/* The other end of FastCGI, see fcgi_client.h. */
#include "fcgi_client.h"

#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { BEGIN = 1, END = 3, PARAMS = 4, STDIN = 5, STDOUT = 6 };

int
fcgi_connect(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strncpy(addr.sun_path, path, sizeof(addr.sun_path) - 1);
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0)
		return fd;
	close(fd);
	return -1;
}

/* A record: eight bytes of header, then the content. */
static void
add_record(struct buf *out, int type, const void *p, size_t n)
{
	const char header[8] = { 1, (char)type, 0, 1, (char)(n >> 8), (char)n, 0, 0 };

	buf_add(out, header, sizeof(header));
	buf_add(out, p, n);
}

static void
add_length(struct buf *out, size_t n)
{
	if (n > 127)
		buf_add_byte(out, (char)(n >> 24 | 0x80));
	if (n > 127)
		buf_add_byte(out, (char)(n >> 16));
	if (n > 127)
		buf_add_byte(out, (char)(n >> 8));
	buf_add_byte(out, (char)n);
}

static bool
write_all(int fd, struct span s)
{
	while (s.len > 0) {
		ssize_t put = send(fd, s.p, s.len, MSG_NOSIGNAL);

		if (put <= 0)
			return false;
		s.p += put;
		s.len -= (size_t)put;
	}
	return true;
}

bool
fcgi_begin(int fd, const char *const *params, bool keep)
{
	const char begin[8] = { 0, 1, keep, 0, 0, 0, 0, 0 };
	struct buf out = { 0 }, pairs = { 0 };
	bool ok;

	add_record(&out, BEGIN, begin, sizeof(begin));
	for (; params[0] != NULL; params += 2) {
		add_length(&pairs, strlen(params[0]));
		add_length(&pairs, strlen(params[1]));
		buf_add_str(&pairs, params[0]);
		buf_add_str(&pairs, params[1]);
	}
	for (size_t at = 0, n; at < pairs.len; at += n) {
		n = pairs.len - at > 32768 ? 32768 : pairs.len - at;
		add_record(&out, PARAMS, pairs.p + at, n);
	}
	add_record(&out, PARAMS, NULL, 0);
	ok = write_all(fd, buf_span(&out));
	buf_free(&out);
	buf_free(&pairs);
	return ok;
}

bool
fcgi_body(int fd, struct span part)
{
	struct buf out = { 0 };
	bool ok = true;

	do {
		size_t n = part.len > 32768 ? 32768 : part.len;

		buf_reset(&out);
		add_record(&out, STDIN, part.p, n);
		ok = write_all(fd, buf_span(&out));
		part.p += n;
		part.len -= n;
	} while (ok && part.len > 0);
	buf_free(&out);
	return ok;
}

bool
fcgi_send(int fd, const char *const *params, struct span body, bool keep)
{
	return fcgi_begin(fd, params, keep) && (body.len == 0 || fcgi_body(fd, body)) &&
	       fcgi_body(fd, (struct span){ NULL, 0 });
}

static bool
read_all(int fd, void *p, size_t n)
{
	char *at = p;

	while (n > 0) {
		ssize_t got = read(fd, at, n);

		if (got <= 0)
			return false;
		at += got;
		n -= (size_t)got;
	}
	return true;
}

bool
fcgi_receive(int fd, struct buf *out)
{
	unsigned char header[8];
	char content[65536 + 256];
	bool ended = false;

	buf_reset(out);
	while (!ended && read_all(fd, header, sizeof(header))) {
		size_t n = (size_t)header[4] << 8 | header[5];

		if (!read_all(fd, content, n + header[6]))
			break;
		if (header[1] == STDOUT)
			buf_add(out, content, n);
		ended = header[1] == END;
	}
	close(fd);
	return buf_cstr(out) != NULL && ended;
}
