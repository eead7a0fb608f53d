/* The generator, see load.h. */
#include "bench/load.h"

#include "base/clock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define STUCK_US 60000000 /* nothing may take longer */

/* What comes next on the connection. */
enum expect { IDLE, HEAD, BODY, CHUNK_SIZE, CHUNK, CHUNK_END, LAST_END };

/* A client's connection within a run. */
struct load_link {
	int fd;              /* -1: not connected */
	enum expect expect;
	size_t sent;         /* of head and body */
	int64_t started_us;  /* the request */
	int64_t due_us;      /* the next one, while IDLE */
	struct buf in;       /* of the answer's head, or a chunk's size */
	int64_t left;        /* of a body or a chunk */
	bool chunked, close; /* what the answer's head said */
};

/* A run. */
struct run {
	struct load_client *clients;
	size_t n;
	int port, epoll;
	int64_t end_us;
	size_t min, good, open; /* open: requests under way */
	int64_t last_us;        /* when the last answer came */
	bool broken;
};

static char scratch[256 << 10];

void
load_head(struct buf *out, const char *method, const char *path, const char *token,
          const char *more, size_t body)
{
	buf_reset(out);
	buf_addf(out, "%s %s HTTP/1.1\r\nHost: 127.0.0.1\r\n", method, path);
	if (token != NULL)
		buf_addf(out, "Authorization: Bearer %s\r\n", token);
	if (more != NULL)
		buf_add_str(out, more);
	if (body > 0)
		buf_addf(out, "Content-Type: application/json\r\nContent-Length: %zu\r\n", body);
	buf_add_str(out, "\r\n");
}

void
load_forget(struct load_client *c)
{
	c->n = c->refused = c->failed = 0;
}

void
load_free(struct load_client *c)
{
	buf_free(&c->head);
	buf_free(&c->answer);
	free(c->us);
	*c = (struct load_client){ 0 };
}

static void
fail(struct run *r, const char *what)
{
	fprintf(stderr, "bench: %s: %s\n", what, strerror(errno));
	r->broken = true;
}

/* --- one answer --- */

static void
note_time(struct load_client *c, int64_t us)
{
	if (c->n % 1024 == 0) {
		uint32_t *more = realloc(c->us, (c->n + 1024) * sizeof(*more));

		if (more == NULL)
			abort();
		c->us = more;
	}
	c->us[c->n++] = (uint32_t)us;
}

static void
hang_up(struct load_link *l)
{
	if (l->fd >= 0)
		close(l->fd);
	l->fd = -1;
}

/* The answer is whole. */
static void
finish(struct run *r, struct load_client *c)
{
	struct load_link *l = c->link;
	int64_t now = clock_mono_us();

	l->expect = IDLE;
	l->due_us = now + c->pause_us;
	r->open--;
	r->last_us = now;
	if (l->close)
		hang_up(l);
	if (c->judge != NULL ? c->judge(c) : c->status == 200) {
		note_time(c, now - l->started_us);
		r->good++;
	} else if (c->status == 503 || c->status == 429) {
		c->refused++;
	} else if (c->failed++ == 0) {
		fprintf(stderr, "bench: unexpected answer %d to %.*s: %.*s\n", c->status,
		        (int)strcspn(c->head.p, "\r"), c->head.p,
		        (int)(c->answer.len < 300 ? c->answer.len : 300),
		        c->answer.p != NULL ? c->answer.p : "");
	}
}

/* A header of the answer, or NULL. */
static const char *
header(const char *head, const char *name)
{
	size_t n = strlen(name);

	for (const char *p = strstr(head, "\r\n"); p != NULL; p = strstr(p + 2, "\r\n"))
		if (strncasecmp(p + 2, name, n) == 0 && p[2 + n] == ':')
			return p + 3 + n + strspn(p + 3 + n, " ");
	return NULL;
}

/* Judge the answer's head, which is in l->in. */
static bool
take_head(struct run *r, struct load_client *c)
{
	struct load_link *l = c->link;
	const char *head = buf_cstr(&l->in), *v;

	if (head == NULL || sscanf(head, "HTTP/1.1 %d", &c->status) != 1) {
		errno = EPROTO;
		fail(r, "the answer is not HTTP");
		return false;
	}
	v = header(head, "Connection");
	l->close = v != NULL && strncasecmp(v, "close", 5) == 0;
	v = header(head, "Transfer-Encoding");
	l->chunked = v != NULL && strncasecmp(v, "chunked", 7) == 0;
	v = header(head, "Content-Length");
	l->left = v != NULL ? atoll(v) : 0;
	if (c->status == 304 || c->status == 204)
		l->left = l->chunked = 0;
	buf_reset(&l->in);
	l->expect = l->chunked ? CHUNK_SIZE : BODY;
	if (!l->chunked && l->left == 0)
		finish(r, c);
	return true;
}

static void
take_bytes(struct load_client *c, const char *p, size_t n)
{
	c->answer_bytes += n;
	c->link->left -= (int64_t)n;
	if (c->keep)
		buf_add(&c->answer, p, n);
}

/* Take lines up to and with `end` into l->in; how many bytes that were. */
static size_t
take_until(struct load_link *l, const char *p, size_t n, const char *end, bool *whole)
{
	size_t before = l->in.len, e = strlen(end), from = before >= e ? before - e : 0;
	const char *at;

	buf_add(&l->in, p, n);
	at = memmem(l->in.p + from, l->in.len - from, end, e);
	*whole = at != NULL;
	if (at == NULL)
		return n;
	l->in.len = (size_t)(at - l->in.p) + e;
	return l->in.len - before;
}

/* The bytes that came. False: they make no sense. */
static bool
take(struct run *r, struct load_client *c, const char *p, size_t n)
{
	struct load_link *l = c->link;
	bool whole;

	while (n > 0) {
		size_t part = n;

		switch (l->expect) {
		case IDLE:
			errno = EPROTO;
			fail(r, "an answer that nobody asked for");
			return false;
		case HEAD:
			part = take_until(l, p, n, "\r\n\r\n", &whole);
			if (whole && !take_head(r, c))
				return false;
			break;
		case BODY:
		case CHUNK:
			part = (int64_t)n < l->left ? n : (size_t)l->left;
			take_bytes(c, p, part);
			if (l->left == 0 && l->expect == BODY)
				finish(r, c);
			else if (l->left == 0)
				l->expect = CHUNK_END;
			break;
		case CHUNK_SIZE:
			part = take_until(l, p, n, "\r\n", &whole);
			if (!whole)
				break;
			l->left = strtoll(buf_cstr(&l->in), NULL, 16);
			buf_reset(&l->in);
			l->expect = l->left > 0 ? CHUNK : LAST_END;
			break;
		case CHUNK_END:
		case LAST_END:
			part = take_until(l, p, n, "\r\n", &whole);
			if (!whole)
				break;
			buf_reset(&l->in);
			if (l->expect == LAST_END)
				finish(r, c);
			else
				l->expect = CHUNK_SIZE;
			break;
		}
		p += part;
		n -= part;
	}
	return true;
}

/* --- one connection --- */

static bool
hook_up(struct run *r, struct load_client *c)
{
	struct sockaddr_in addr = {
		.sin_family = AF_INET, .sin_port = htons((uint16_t)r->port),
	};
	struct epoll_event ev = { .events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = c };
	struct load_link *l = c->link;
	int one = 1;

	addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	l->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (l->fd < 0 || connect(l->fd, (struct sockaddr *)&addr, sizeof(addr)) != 0 ||
	    setsockopt(l->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) != 0 ||
	    fcntl(l->fd, F_SETFL, O_NONBLOCK) != 0 ||
	    epoll_ctl(r->epoll, EPOLL_CTL_ADD, l->fd, &ev) != 0) {
		fail(r, "can't connect");
		return false;
	}
	return true;
}

/* Send as much as the socket takes. */
static bool
send_more(struct run *r, struct load_client *c)
{
	struct load_link *l = c->link;
	size_t head = c->head.len, all = head + c->body.len;

	while (l->sent < all) {
		size_t in_body = l->sent > head ? l->sent - head : 0;
		struct iovec parts[] = {
			{ c->head.p + (l->sent < head ? l->sent : head),
			  l->sent < head ? head - l->sent : 0 },
			{ (char *)(uintptr_t)c->body.p + in_body, c->body.len - in_body },
		};
		struct msghdr msg = { .msg_iov = parts, .msg_iovlen = 2 };
		ssize_t n = sendmsg(l->fd, &msg, MSG_NOSIGNAL);

		if (n < 0 && errno == EAGAIN)
			return true;
		if (n < 0) {
			fail(r, "can't send");
			return false;
		}
		l->sent += (size_t)n;
	}
	return true;
}

/* Ask the next question. */
static bool
begin(struct run *r, struct load_client *c)
{
	struct load_link *l = c->link;

	if (c->next != NULL)
		c->next(c);
	buf_reset(&c->answer);
	c->answer_bytes = 0;
	l->sent = 0;
	l->expect = HEAD;
	l->started_us = clock_mono_us();
	r->open++;
	return (l->fd >= 0 || hook_up(r, c)) && send_more(r, c);
}

static bool
receive(struct run *r, struct load_client *c)
{
	struct load_link *l = c->link;

	while (l->fd >= 0) {
		ssize_t n = recv(l->fd, scratch, sizeof(scratch), 0);

		if (n < 0 && errno == EAGAIN)
			return true;
		if (n == 0 && l->expect == IDLE) {
			hang_up(l);
			return true;
		}
		if (n <= 0) {
			if (n == 0)
				errno = ECONNRESET;
			fail(r, "no whole answer");
			return false;
		}
		if (!take(r, c, scratch, (size_t)n))
			return false;
	}
	return true;
}

/* --- all of them --- */

static bool
is_over(const struct run *r)
{
	return r->good >= r->min && clock_mono_us() >= r->end_us;
}

/* Ask whatever is due. How many milliseconds to wait then; -1: for an answer. */
static int
begin_due(struct run *r)
{
	int64_t now = clock_mono_us(), first = INT64_MAX;

	if (is_over(r))
		return -1;
	for (size_t i = 0; i < r->n && !r->broken; i++) {
		struct load_link *l = r->clients[i].link;

		if (l->expect != IDLE)
			continue;
		if (l->due_us <= now)
			begin(r, &r->clients[i]);
		else if (l->due_us < first)
			first = l->due_us;
	}
	return first == INT64_MAX ? -1 : (int)((first - now + 999) / 1000);
}

static void
loop(struct run *r)
{
	struct epoll_event events[64];

	for (;;) {
		int wait = begin_due(r), n;

		if (r->broken || (r->open == 0 && is_over(r)))
			return;
		n = epoll_wait(r->epoll, events, 64, wait < 0 ? 1000 : wait);
		for (int i = 0; i < n && !r->broken; i++) {
			struct load_client *c = events[i].data.ptr;

			if (c->link->expect != IDLE && !send_more(r, c))
				return;
			receive(r, c);
		}
		if (clock_mono_us() - r->last_us > STUCK_US) {
			errno = ETIMEDOUT;
			fail(r, "no answer for a minute");
		}
	}
}

double
load_run(struct load_client *clients, size_t n, int port, double seconds, size_t min)
{
	int64_t start = clock_mono_us();
	struct run r = {
		.clients = clients, .n = n, .port = port,
		.epoll = epoll_create1(EPOLL_CLOEXEC),
		.end_us = start + (int64_t)(seconds * 1e6), .min = min, .last_us = start,
	};

	if (r.epoll < 0)
		fail(&r, "epoll");
	for (size_t i = 0; i < n; i++) {
		clients[i].link = calloc(1, sizeof(*clients[i].link));
		if (clients[i].link == NULL)
			abort();
		clients[i].link->fd = -1;
	}
	loop(&r);
	for (size_t i = 0; i < n; i++) {
		hang_up(clients[i].link);
		buf_free(&clients[i].link->in);
		free(clients[i].link);
		clients[i].link = NULL;
	}
	close(r.epoll);
	return r.broken ? -1 : (double)(r.last_us - start) / 1e6;
}

/* --- what came out --- */

static int
ascending(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

uint32_t *
load_times(const struct load_client *clients, size_t n, size_t *count)
{
	uint32_t *all;

	*count = 0;
	for (size_t i = 0; i < n; i++)
		*count += clients[i].n;
	all = malloc((*count + 1) * sizeof(*all));
	if (all == NULL)
		abort();
	*count = 0;
	for (size_t i = 0; i < n; i++) {
		if (clients[i].n > 0)
			memcpy(all + *count, clients[i].us, clients[i].n * sizeof(*all));
		*count += clients[i].n;
	}
	qsort(all, *count, sizeof(*all), ascending);
	return all;
}

double
load_quantile(const uint32_t *times, size_t n, double part)
{
	size_t i = (size_t)((double)n * part);

	return n == 0 ? NAN : times[i < n ? i : n - 1] / 1000.0;
}
