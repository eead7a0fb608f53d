/* Whose requests are counted together, see admit.h. */
#include "http/admit.h"

#include "http/reply.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

/* How much of a token tells it from others: 132 bits of what nobody can make up, a
 * signature or an opaque key. nginx's configuration says the same. */
#define TOKEN_PART 22
#define ALNUM "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

static bool
ends_with(const char *text, const char *end)
{
	size_t n = strlen(text), m = strlen(end);

	return n >= m && strcmp(text + n - m, end) == 0;
}

static enum rate
rate_of(const char *path)
{
	if (strcmp(path, "/v1/auth/device/poll") == 0 ||
	    strcmp(path, "/v1/auth/login/poll") == 0)
		return RATE_POLL;
	if (strncmp(path, "/v1/auth/", 9) == 0 || strncmp(path, "/auth/", 6) == 0)
		return RATE_AUTH;
	return ends_with(path, "/sync/push") ? RATE_PUSH
	       : ends_with(path, "/sync/pull") ? RATE_PULL : RATE_OTHER;
}

/* An address; of IPv6 its network, for everybody has 2^64 addresses there. */
static void
add_address(struct buf *out, const char *text)
{
	static const unsigned char v4[12] = { [10] = 0xff, [11] = 0xff };
	unsigned char a[16];

	if (text != NULL && inet_pton(AF_INET6, text, a) == 1 && memcmp(a, v4, 12) == 0)
		buf_add(out, (const char *)a + 12, 4);
	else if (text != NULL && inet_pton(AF_INET6, text, a) == 1)
		buf_add(out, (const char *)a, 8);
	else if (text != NULL && inet_pton(AF_INET, text, a) == 1)
		buf_add(out, (const char *)a, 4);
	else
		buf_add_str(out, text == NULL ? "" : text);
}

/* What is behind a text of such characters and `end`; NULL: that isn't there. */
static const char *
skip(const char *p, const char *set, char end)
{
	size_t n = p == NULL ? 0 : strspn(p, set);

	return n == 0 || p[n] != end ? NULL : p + n + (end != '\0');
}

/* The part of a token that looks like one; empty for anything else. */
static struct span
token_part(const char *authorization)
{
	static const char scheme[] = "Bearer ", opaque[] = "td_live_";
	const char *p = authorization, *end;

	if (p == NULL || strncmp(p, scheme, sizeof(scheme) - 1) != 0)
		return (struct span){ "", 0 };
	p += sizeof(scheme) - 1;
	if (strncmp(p, opaque, sizeof(opaque) - 1) == 0) {
		p += sizeof(opaque) - 1;
		end = skip(p, ALNUM, '\0');
	} else {
		p = skip(skip(p, ALNUM "_-", '.'), ALNUM "_-", '.');
		end = skip(p, ALNUM "_-", '\0');
	}
	return end == NULL || end - p < TOKEN_PART ? (struct span){ "", 0 }
	                                           : (struct span){ p, TOKEN_PART };
}

/* Who calls: a token in a project; anything else is its address. */
static void
add_caller(struct buf *out, const struct request *r, enum rate rate)
{
	struct span token = { "", 0 };

	if (rate == RATE_PUSH || rate == RATE_PULL || rate == RATE_OTHER)
		token = token_part(request_authorization(r));
	if (token.len == 0) {
		add_address(out, request_header(r, "REMOTE_ADDR"));
		return;
	}
	buf_add_span(out, token);
	buf_add_byte(out, ' ');
	buf_add_str(out, r->project_id);
}

/* After how many milliseconds one more of this kind may come; 0: now. */
static int64_t
take(struct request *r, enum rate rate)
{
	struct buf *caller = &r->scratch;

	buf_reset(caller);
	add_caller(caller, r, rate);
	return caller->failed ? 0 : rates_take(&r->server->rates, rate, buf_span(caller),
	                                       r->started_us / 1000);
}

bool
admit(struct request *r)
{
	char seconds[24];
	int64_t ms;

	if (r->server->rates.data == NULL)
		return true;
	/* In this order: who makes up tokens makes no place for them. */
	if ((ms = take(r, RATE_ADDRESS)) == 0)
		ms = take(r, rate_of(r->path));
	if (ms == 0)
		return true;
	snprintf(seconds, sizeof(seconds), "%lld", (long long)(ms + 999) / 1000);
	reply_header(r, "Retry-After", seconds);
	reply_error(r, 429, "rate_limited",
	            "Too many requests: wait a few seconds, then try again.");
	return false;
}
