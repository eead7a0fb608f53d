/*
 * Bad input: one row each, and for every limit one on either side of it.
 * Whatever a request holds, the answer is the documented one and comes within
 * its time; after it the log holds what it held (or what was accepted), the
 * workers are the same and have given their memory back.
 *
 * In a row's texts, "<x*255>" stands for 255 times x (x any text without '*';
 * "NUL" for that byte), "{p}" for the project's id, "{gone}" for that of a
 * deleted one.
 */
#include "http_test.h"

#include "patience.h"
#include "raw.h"

#include "base/clock.h"
#include "base/json.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define ANSWER_MS SOON_MS
#define REST_KB (SANITIZED ? 0 : 16 << 10) /* 0: not looked at */

#define PUSH "/v1/projects/{p}/sync/push"
#define PULL "/v1/projects/{p}/sync/pull"
#define STATUS "/v1/projects/{p}/sync/status"

/* max_push_bytes of the sites here. */
#define PUSH_MAX 1048576

/* --- a push of one event, all of it good but one part --- */

#define EVENT(number, type, id, payload, time) \
	"{\"client_action_id\":" number ",\"action_type\":\"create\",\"entity_type\":" type \
	",\"entity_id\":" id ",\"payload\":" payload ",\"client_timestamp\":" time "}"
#define OF(device, session, events) \
	"{\"device_id\":" device ",\"session_id\":" session ",\"events\":" events "}"
#define ONE(number, type, id, payload, time) \
	OF("\"d\"", "\"s\"", "[" EVENT(number, type, id, payload, time) "]")
#define TYPE "\"issues\""
#define ID "\"td-1\""
#define PAYLOAD "{\"new_data\":{\"id\":\"td-1\",\"title\":\"T\"}}"
#define TIME "\"2026-03-01T10:00:00Z\""
#define WHOLE EVENT("1", TYPE, ID, PAYLOAD, TIME)

#define NUMBER(n) PUSHED(ONE(n, TYPE, ID, PAYLOAD, TIME))
#define TYPED(t) PUSHED(ONE("1", t, ID, PAYLOAD, TIME))
#define NAMED(i) PUSHED(ONE("1", TYPE, i, PAYLOAD, TIME))
#define HOLDING(p) PUSHED(ONE("1", TYPE, ID, p, TIME))
#define TIMED(t) PUSHED(ONE("1", TYPE, ID, PAYLOAD, t))
#define EVENTS(e) PUSHED(OF("\"d\"", "\"s\"", e))
#define PUSHED(body) "POST", PUSH, body

#define TAKEN 200, "\"accepted\":1,"
#define NO_JSON 400, "invalid json body"
#define NO_PATH 404, "no such path"

/* --- what web servers pass on --- */

static const struct row {
	const char *why;
	int status;
	const char *says;    /* part of the answer */
	const char *method, *path;
	const char *body;    /* NULL: none */
	const char *header;
	enum who who;        /* OWNER where it is not named */
} rows[] = {
	/* no JSON, or other JSON */
	{ "not JSON", NO_JSON, PUSHED("push it") },
	{ "nothing", NO_JSON, PUSHED("") },
	{ "blank", NO_JSON, PUSHED(" \n") },
	{ "cut short", NO_JSON, PUSHED("{\"device_id\":\"d\",\"session_id\":\"s\",\"events\":[") },
	{ "an array", NO_JSON, PUSHED("[]") },
	{ "a string", NO_JSON, PUSHED("\"push\"") },
	{ "single quotes", NO_JSON, PUSHED("{'device_id':'d'}") },
	{ "zeros", NO_JSON, PUSHED("<NUL*100>") },
	{ "NaN", NO_JSON, HOLDING("NaN") },
	{ "invalid UTF-8 in an id", NO_JSON, NAMED("\"td-\xff\"") },
	{ "invalid UTF-8 in a payload", NO_JSON, HOLDING("\"\xc0\xaf\"") },
	{ "a raw newline in a string", NO_JSON, HOLDING("\"a\nb\"") },
	{ "a raw NUL in a string", NO_JSON, HOLDING("\"a<NUL*1>b\"") },
	{ "more behind the push", TAKEN, PUSHED(OF("\"d\"", "\"s\"", "[" EVENT("2", TYPE, ID, PAYLOAD, TIME) "]") "]}garbage") },

	/* the envelope */
	{ "no device", 400, "device_id is required", PUSHED("{\"session_id\":\"s\",\"events\":[" WHOLE "]}") },
	{ "no session", 400, "session_id is required", PUSHED("{\"device_id\":\"d\",\"events\":[" WHOLE "]}") },
	{ "a number for a device", 400, "device_id", PUSHED(OF("1", "\"s\"", "[" WHOLE "]")) },
	{ "the server's own device", 400, "td-sync", PUSHED(OF("\"td-sync\"", "\"s\"", "[" WHOLE "]")) },
	{ "a device of 255 bytes", TAKEN, PUSHED(OF("\"<x*255>\"", "\"s\"", "[" EVENT("10", TYPE, ID, PAYLOAD, TIME) "]")) },
	{ "a device of 256 bytes", 400, "device_id is longer than 255 bytes", PUSHED(OF("\"<x*256>\"", "\"s\"", "[" WHOLE "]")) },
	{ "a session of 255 bytes", TAKEN, PUSHED(OF("\"d\"", "\"<x*255>\"", "[" EVENT("11", TYPE, ID, PAYLOAD, TIME) "]")) },
	{ "a session of 256 bytes", 400, "session_id is longer than 255 bytes", PUSHED(OF("\"d\"", "\"<x*256>\"", "[" WHOLE "]")) },
	{ "the same key twice", 400, "device_id is there twice", PUSHED("{\"device_id\":\"d\",\"device_id\":\"e\",\"session_id\":\"s\",\"events\":[" WHOLE "]}") },
	{ "the same key twice, escaped", 400, "device_id is there twice", PUSHED("{\"device_id\":\"d\",\"device\\u005fid\":\"e\",\"session_id\":\"s\",\"events\":[" WHOLE "]}") },
	{ "no events", 400, "events array is empty", EVENTS("[]") },
	{ "events null", 400, "events array is empty", EVENTS("null") },
	{ "events an object", 400, "events must be an array", EVENTS("{}") },
	{ "an event a number", 400, "an event must be", EVENTS("[1]") },
	{ "1,000 events", 200, "\"accepted\":1000,", EVENTS("[<" EVENT("20", TYPE, "\"{n}\"", PAYLOAD, TIME) ",*999>" EVENT("20", TYPE, "\"{n}\"", PAYLOAD, TIME) "]") },
	{ "1,001 events", 400, "batch size 1001 exceeds max 1000", EVENTS("[<" WHOLE ",*1000>" WHOLE "]") },
	{ "100,000 events", 400, "batch size 100000 exceeds max 1000", EVENTS("[<0,*99999>0]") },

	/* an event */
	{ "the same key of an event twice", 400, "entity_id twice", EVENTS("[{\"entity_id\":\"a\",\"entity_id\":\"b\"}]") },
	{ "an action id that is a string", 400, "client_action_id", NUMBER("\"1\"") },
	{ "an action id with a fraction", 400, "client_action_id", NUMBER("1.5") },
	{ "an action id of 2^63 - 1", TAKEN, NUMBER("9223372036854775807") },
	{ "an action id of 2^63", 400, "client_action_id", NUMBER("9223372036854775808") },
	{ "an action id of -2^63", TAKEN, NUMBER("-9223372036854775808") },
	{ "an action id of -2^63 - 1", 400, "client_action_id", NUMBER("-9223372036854775809") },
	{ "an action id of 10,000 digits", 400, "client_action_id", NUMBER("<9*10000>") },
	{ "an id of 255 bytes", TAKEN, NAMED("\"<x*255>\"") },
	{ "an id of 256 bytes", 400, "entity_id is longer than 255 bytes", NAMED("\"<x*256>\"") },
	{ "an id of 255 bytes, escaped", TAKEN, NAMED("\"<\\u0079*255>\"") },
	{ "an id of 256 bytes, escaped", 400, "entity_id is longer than 255 bytes", NAMED("\"<\\u0079*256>\"") },
	{ "an id of 10,000 bytes", 400, "entity_id is longer than 255 bytes", NAMED("\"<x*10000>\"") },
	{ "an empty id", 200, "\"reason\":\"empty entity_id\"", NAMED("\"\"") },
	{ "a NUL in an id", 400, "entity_id", NAMED("\"td-\\u0000\"") },
	{ "half a surrogate pair in an id", 400, "entity_id", NAMED("\"td-\\ud800\"") },
	{ "an id that is a number", 400, "entity_id", NAMED("7") },
	{ "a type of 64 letters", TAKEN, TYPED("\"<x*64>\"") },
	{ "a type of 65 letters", 400, "invalid entity_type", TYPED("\"<x*65>\"") },
	{ "a type with a blank", 400, "invalid entity_type", TYPED("\"wid gets\"") },
	{ "a type in capitals that nobody knows", 400, "invalid entity_type", TYPED("\"Widgets\"") },
	{ "a type that is SQL", 400, "invalid entity_type", TYPED("\"issues;drop\"") },
	{ "an empty type", 400, "invalid entity_type", TYPED("\"\"") },
	{ "an action of 10,000 letters", TAKEN, EVENTS("[{\"client_action_id\":30,\"action_type\":\"<x*10000>\",\"entity_type\":\"issues\",\"entity_id\":\"i\",\"payload\":" PAYLOAD ",\"client_timestamp\":" TIME "}]") },
	{ "no payload", 200, "\"reason\":\"missing payload\"", EVENTS("[{\"client_action_id\":31,\"action_type\":\"create\",\"entity_type\":\"issues\",\"entity_id\":\"i\",\"client_timestamp\":" TIME "}]") },
	{ "no timestamp", 400, "invalid timestamp for action 0", EVENTS("[{\"action_type\":\"create\",\"entity_type\":\"issues\",\"entity_id\":\"i\",\"payload\":1}]") },
	{ "the first moment there is", TAKEN, TIMED("\"0000-01-01T00:00:00Z\"") },
	{ "the last moment there is", TAKEN, TIMED("\"9999-12-31T23:59:59.999999999Z\"") },
	{ "the year 10000", 400, "invalid timestamp for action 1", TIMED("\"10000-01-01T00:00:00Z\"") },
	{ "a day that is none", 400, "invalid timestamp for action 1", TIMED("\"2026-02-30T10:00:00Z\"") },
	{ "an hour that is none", 400, "invalid timestamp for action 1", TIMED("\"2026-02-20T24:00:00Z\"") },
	{ "a timestamp without zone", 400, "invalid timestamp for action 1", TIMED("\"2026-02-20T10:00:00\"") },
	{ "a timestamp of 10,000 digits", 400, "invalid timestamp for action 1", TIMED("\"<2*10000>\"") },
	{ "a bad event, leniently", 200, "\"accepted\":0,", TIMED("\"now\""), "Prefer: handling=lenient" },

	/* nesting: the envelope has three levels */
	{ "nested 64 deep", TAKEN, HOLDING("<[*61>0<]*61>") },
	{ "nested 65 deep", NO_JSON, HOLDING("<[*62>0<]*62>") },
	{ "nested 1,000 deep", NO_JSON, HOLDING("<[*1000>0<]*1000>") },
	{ "objects nested 1,000 deep", NO_JSON, HOLDING("<{\"a\":*1000>0<}*1000>") },
	{ "nested 200,000 deep", NO_JSON, HOLDING("<[*200000>0<]*200000>") },
	{ "a million open brackets", NO_JSON, PUSHED("<[*1000000>") },

	/* sizes */
	{ "a body of max_push_bytes", TAKEN, PUSHED(OF("\"d\"", "\"s\"", "[" EVENT("40", TYPE, ID, PAYLOAD, TIME) "]") "{fill to 1048576}") },
	{ "one byte more", 413, "send less at a time", PUSHED(OF("\"d\"", "\"s\"", "[" EVENT("41", TYPE, ID, PAYLOAD, TIME) "]") "{fill to 1048577}") },
	{ "a project of 64 KiB", 201, "\"name\":\"n\"", "POST", "/v1/projects", "{\"name\":\"n\"}{fill to 65536}" },
	{ "a project of one byte more", 413, "send less at a time", "POST", "/v1/projects", "{\"name\":\"n\"}{fill to 65537}" },
	{ "a body where none belongs", 200, "event_count", "GET", STATUS, "<x*100000>" },

	/* numbers in the query */
	{ "the least limit", 200, "\"has_more\":true", "GET", PULL "?limit=1", NULL },
	{ "a limit of 0", 400, "invalid limit", "GET", PULL "?limit=0", NULL },
	{ "a limit of -1", 400, "invalid limit", "GET", PULL "?limit=-1", NULL },
	{ "the greatest limit", 200, "\"events\"", "GET", PULL "?limit=10000", NULL },
	{ "a limit above it is cut", 200, "\"events\"", "GET", PULL "?limit=10001", NULL },
	{ "a limit of 2^63 - 1 is cut", 200, "\"events\"", "GET", PULL "?limit=9223372036854775807", NULL },
	{ "a limit of 2^63", 400, "invalid limit", "GET", PULL "?limit=9223372036854775808", NULL },
	{ "a limit of 10,000 digits", 400, "invalid limit", "GET", PULL "?limit=<9*10000>", NULL },
	{ "an empty limit", 200, "\"events\"", "GET", PULL "?limit=", NULL },
	{ "a limit in hex", 400, "invalid limit", "GET", PULL "?limit=0x10", NULL },
	{ "a limit with a blank", 400, "invalid limit", "GET", PULL "?limit=%2010", NULL },
	{ "a limit with a bad escape counts as none", 200, "\"events\"", "GET", PULL "?limit=%zz", NULL },
	{ "a NUL in a number", 400, "invalid after_server_seq", "GET", PULL "?after_server_seq=1%00", NULL },
	{ "a cursor of -2^63", 200, "\"events\"", "GET", PULL "?after_server_seq=-9223372036854775808", NULL },
	{ "a cursor of -2^63 - 1", 400, "invalid after_server_seq", "GET", PULL "?after_server_seq=-9223372036854775809", NULL },
	{ "a cursor of 2^63 - 1", 409, "cursor_ahead", "GET", PULL "?after_server_seq=9223372036854775807", NULL },
	{ "a cursor of 2^63", 400, "invalid after_server_seq", "GET", PULL "?after_server_seq=9223372036854775808", NULL },
	{ "a device of 10,000 bytes in the query", 200, "\"events\"", "GET", PULL "?exclude_client=<x*10000>", NULL },
	{ "5,000 parameters", 200, "\"events\"", "GET", PULL "?<&x*5000>", NULL },

	/* headers */
	{ "a log id that is none", 400, "invalid X-Log-Id", "GET", PULL, NULL, "X-Log-Id: 12" },
	{ "a log id of 31 digits", 400, "invalid X-Log-Id", "GET", PULL, NULL, "X-Log-Id: <0*31>" },
	{ "a log id of 32 digits", 409, "log_changed", "GET", PULL, NULL, "X-Log-Id: <0*32>" },
	{ "a log id of 33 digits", 400, "invalid X-Log-Id", "GET", PULL, NULL, "X-Log-Id: <0*33>" },
	{ "a last event without digest", 400, "invalid X-Log-Last", "GET", PULL, NULL, "X-Log-Last: 5" },
	{ "a last event of no number", 400, "invalid X-Log-Last", "GET", STATUS, NULL, "X-Log-Last: x:<0*32>" },
	{ "a last event of 0", 400, "invalid X-Log-Last", "GET", STATUS, NULL, "X-Log-Last: 0:<0*32>" },
	{ "a last event of 2^63", 400, "invalid X-Log-Last", "GET", STATUS, NULL, "X-Log-Last: 9223372036854775808:<0*32>" },
	{ "a last event of 2^63 - 1", 409, "log_changed", "GET", STATUS, NULL, "X-Log-Last: 9223372036854775807:<0*32>" },
	{ "a last digest of 31 digits", 400, "invalid X-Log-Last", "GET", STATUS, NULL, "X-Log-Last: 1:<0*31>" },
	{ "a last digest of 33 digits", 400, "invalid X-Log-Last", "GET", STATUS, NULL, "X-Log-Last: 1:<0*33>" },
	{ "a header of 15,000 bytes", 200, "event_count", "GET", STATUS, NULL, "X-Large: <x*15000>" },
	{ "15,000 bytes of tags", 200, "event_count", "GET", STATUS, NULL, "If-None-Match: <\"x\",*3500>" },
	{ "15,000 bytes of wishes", TAKEN, "POST", PUSH, ONE("50", TYPE, ID, PAYLOAD, TIME), "Prefer: <handling=,*1500>" },
	{ "a continuation is asked for", TAKEN, "POST", PUSH, ONE("51", TYPE, ID, PAYLOAD, TIME), "Expect: 100-continue" },

	/* methods and paths */
	{ "another method", 405, "method", "DELETE", PULL, NULL },
	{ "OPTIONS", 405, "method", "OPTIONS", PULL, NULL },
	{ "a method nobody knows", 405, "method", "BREW", PULL, NULL },
	{ "a slash at the end", NO_PATH, "GET", PULL "/", NULL },
	{ "an encoded slash in the id", NO_PATH, "GET", "/v1/projects/..%2f..%2fserver/sync/pull", NULL },
	{ "three dots as an id", NO_PATH, "GET", "/v1/projects/.../sync/pull", NULL },
	{ "encoded dots as an id", NO_PATH, "GET", "/v1/projects/%2e%2e%2e/sync/pull", NULL },
	{ "an encoded escape", NO_PATH, "GET", "/v1/projects/%252e%252e/sync/pull", NULL },
	{ "a path below data", NO_PATH, "GET", "/projects/{p}/events.db", NULL },
	{ "invalid UTF-8 in the path", NO_PATH, "GET", "/v1/projects/%ff%fe/sync/pull", NULL },
	{ "a blank after the id", NO_PATH, "GET", "/v1/projects/{p}%20/sync/pull", NULL },
	{ "a newline after the id", NO_PATH, "GET", "/v1/projects/{p}%0a/sync/pull", NULL },
	{ "the path in capitals", NO_PATH, "GET", "/V1/projects/{p}/sync/pull", NULL },
	{ "a path of 10,000 bytes", NO_PATH, "GET", "/v1/<x*10000>", NULL },
	{ "a path of 5,000 folders", NO_PATH, "GET", "</x*5000>", NULL },
	{ "an id of 39 bytes", 403, "not a member", "GET", "/v1/projects/<x*39>/sync/pull", NULL },
	{ "an id of 40 bytes", NO_PATH, "GET", "/v1/projects/<x*40>/sync/pull", NULL },
	{ "an id of other letters", 403, "not a member", "GET", "/v1/projects/p_zzzz/sync/pull", NULL },
	{ "an id with a dot", NO_PATH, "GET", "/v1/projects/server.db/sync/pull", NULL },

	/* projects and members */
	{ "no name", 400, "name is required", "POST", "/v1/projects", "{\"name\":\"\"}" },
	{ "a name that is a number", 400, "name must be a string", "POST", "/v1/projects", "{\"name\":7}" },
	{ "a name with a NUL", 400, "name", "POST", "/v1/projects", "{\"name\":\"a\\u0000b\"}" },
	{ "a name of 255 bytes", 201, "\"name\":\"x", "POST", "/v1/projects", "{\"name\":\"<x*255>\"}" },
	{ "a name of 256 bytes", 400, "name is longer than 255 bytes", "POST", "/v1/projects", "{\"name\":\"<x*256>\"}" },
	{ "a description of 4,000 bytes", 201, "\"name\":\"n\"", "POST", "/v1/projects", "{\"name\":\"n\",\"description\":\"<x*4000>\"}" },
	{ "a description of 4,001 bytes", 400, "description is longer than 4000 bytes", "POST", "/v1/projects", "{\"name\":\"n\",\"description\":\"<x*4001>\"}" },
	{ "a project nested 64 deep", 201, "\"name\":\"n\"", "POST", "/v1/projects", "{\"name\":\"n\",\"x\":<[*63><]*63>}" },
	{ "a project nested 65 deep", NO_JSON, "POST", "/v1/projects", "{\"name\":\"n\",\"x\":<[*64><]*64>}" },
	{ "a role that is none", 400, "unknown role", "PATCH", "/v1/projects/{p}/members/u_0123456789abcdef", "{\"role\":\"god\"}" },
	{ "an address of 320 bytes", 201, "\"role\":\"reader\"", "POST", "/v1/projects/{p}/members", "{\"email\":\"<x*308>@example.com\",\"role\":\"reader\"}" },
	{ "an address of 321 bytes", 400, "email is too long: at most 320 bytes", "POST", "/v1/projects/{p}/members", "{\"email\":\"<x*309>@example.com\",\"role\":\"reader\"}" },
	{ "a user's id of 10,000 bytes", 404, "no such user", "POST", "/v1/projects/{p}/members", "{\"user_id\":\"<x*10000>\",\"role\":\"reader\"}" },

	/* people */
	{ "a reader makes itself an owner", 403, "need owner", "POST", "/v1/projects/{p}/members", "{\"email\":\"reader@example.com\",\"role\":\"owner\"}", NULL, READER },
	{ "a reader pushes", 403, "have reader, need writer", PUSHED(OF("\"d\"", "\"s\"", "[" WHOLE "]")), NULL, READER },
	{ "a stranger pushes", 403, "not a member", PUSHED(OF("\"d\"", "\"s\"", "[" WHOLE "]")), NULL, STRANGER },
	{ "a stranger pulls", 403, "not a member", "GET", PULL, NULL, NULL, STRANGER },
	{ "nobody pushes", 401, "missing authorization header", PUSHED(OF("\"d\"", "\"s\"", "[" WHOLE "]")), NULL, NOBODY },
	{ "a token of 4,096 bytes that is none", 401, "invalid or expired api key", "GET", STATUS, NULL, "Authorization: Bearer <x*4096>", NOBODY },
	{ "a token of 4,097 bytes", 401, "invalid or expired api key", "GET", STATUS, NULL, "Authorization: Bearer <x*4097>", NOBODY },
	{ "a token of 15,000 bytes", 401, "invalid or expired api key", "GET", STATUS, NULL, "Authorization: Bearer <x*15000>", NOBODY },
	{ "another scheme", 401, "invalid authorization format", "GET", STATUS, NULL, "Authorization: Basic eDp5", NOBODY },
	{ "a deleted project", 404, "project not found", "POST", "/v1/projects/{gone}/sync/push", OF("\"d\"", "\"s\"", "[" WHOLE "]") },
	{ "a deleted project is pulled", 404, "project not found", "GET", "/v1/projects/{gone}/sync/pull", NULL },
	{ "a deleted project's status", 404, "project not found", "GET", "/v1/projects/{gone}/sync/status", NULL },
};

/* --- writing out what a row says --- */

/* "<text*n>" at p; the byte behind it, NULL when it is none. */
static const char *
repeated(const char *p, struct span *text, long *n)
{
	const char *star = *p == '<' ? strchr(p, '*') : NULL, *end;

	if (star == NULL)
		return NULL;
	*text = (struct span){ p + 1, (size_t)(star - p - 1) };
	*n = strtol(star + 1, (char **)(uintptr_t)&end, 10);
	return end > star + 1 && *end == '>' ? end + 1 : NULL;
}

/* A part of a text, n times; "{n}" in it counts. */
static void
repeat(struct buf *out, struct span text, long n)
{
	static const char count[] = "{n}";
	const char *at = memmem(text.p, text.len, count, 3);

	for (long i = 0; i < n; i++) {
		if (span_is(text, "NUL")) {
			buf_add_byte(out, '\0');
		} else if (at != NULL) {
			buf_add(out, text.p, (size_t)(at - text.p));
			buf_add_int(out, i);
			buf_add(out, at + 3, text.len - (size_t)(at - text.p) - 3);
		} else {
			buf_add_span(out, text);
		}
	}
}

/* A text of a row as it is sent. "{fill to N}" adds blanks up to N bytes. */
static struct span
expand(const struct world *w, const char *p, struct buf *out)
{
	struct span text;
	const char *next;
	long n;

	buf_reset(out);
	while (p != NULL && *p != '\0') {
		if ((next = repeated(p, &text, &n)) != NULL) {
			repeat(out, text, n);
			p = next;
		} else if (strncmp(p, "{p}", 3) == 0) {
			buf_add_str(out, w->project);
			p += 3;
		} else if (strncmp(p, "{fill to ", 9) == 0) {
			for (n = atol(p + 9); out->len < (size_t)n;)
				buf_add_byte(out, ' ');
			p = strchr(p, '}') + 1;
		} else {
			buf_add_byte(out, *p++);
		}
	}
	ck_assert_ptr_nonnull(buf_cstr(out));
	return p == NULL ? (struct span){ NULL, 0 } : buf_span(out);
}

/* --- what is true after every row --- */

/* A site under trial. */
struct trial {
	struct world w;
	int64_t events;      /* in the log */
	int64_t start_ms;    /* of the row */
	pid_t workers[2];    /* 0: CGI */
};

static long
resident_kb(pid_t pid)
{
	char path[64];
	long pages = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/statm", (int)pid);
	f = fopen(path, "r");
	if (f == NULL || fscanf(f, "%*s %ld", &pages) != 1)
		pages = -1;
	if (f != NULL)
		fclose(f);
	return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

static void
check_workers(struct trial *t, const char *why)
{
	pid_t now[2] = { 0, 0 };

	if (t->workers[0] == 0)
		return;
	ck_assert_msg(site_workers(&t->w.site, now, 2) == 2 && now[0] == t->workers[0] &&
	              now[1] == t->workers[1], "%s: a worker died", why);
	/* It may be at work still, after its answer. */
	for (int i = 0, k = 0; REST_KB > 0 && i < 2; i++) {
		for (; resident_kb(now[i]) > REST_KB && k < 100; k++)
			usleep(10000);
		ck_assert_msg(resident_kb(now[i]) <= REST_KB, "%s: a worker keeps %ld kB", why,
		              resident_kb(now[i]));
	}
}

static void
begin_row(struct trial *t)
{
	t->start_ms = clock_mono_ms();
}

/* In time, nothing but what was accepted in the log, all workers well. */
static void
end_row(struct trial *t, const char *why, int64_t accepted)
{
	int64_t took = clock_mono_ms() - t->start_ms, count;

	ck_assert_msg(took < ANSWER_MS, "%s: it took %lld ms", why, (long long)took);
	t->events += accepted;
	count = log_count(&t->w);
	ck_assert_msg(count == t->events, "%s: %lld events in the log, not %lld", why,
	              (long long)count, (long long)t->events);
	check_workers(t, why);
}

/* --- the documented answers --- */

/* The codes that go with a status, in protocol.md and the manual. */
static const struct { int status; const char *codes; } codes[] = {
	{ 400, " bad_request " }, { 401, " unauthorized " },
	{ 403, " forbidden insufficient_scope " }, { 404, " not_found " },
	{ 405, " method_not_allowed " }, { 408, " request_timeout " },
	{ 409, " cursor_ahead log_changed conflict last_owner " }, { 411, " bad_request " },
	{ 413, " too_large " }, { 414, " bad_request " }, { 500, " internal_error " },
	{ 501, " not_implemented " }, { 502, " bad_gateway " },
	{ 503, " busy unavailable " }, { 505, " bad_request " },
};

static bool
code_fits(int status, struct span code)
{
	char text[64];

	snprintf(text, sizeof(text), " %.*s ", (int)code.len - 2, code.p + 1);
	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
		if (codes[i].status == status)
			return strstr(codes[i].codes, text) != NULL;
	return false;
}

/* {"error":{"code","message"}} with the code of its status. */
static void
check_body(const char *why, int status, const char *says, struct span answer)
{
	struct span body, error, message, code;

	ck_assert_msg(json_scan(answer, 8, &body, NULL, NULL) == RC_OK &&
	              json_get(body, "error", &error) && json_get(error, "code", &code) &&
	              json_get(error, "message", &message) && code_fits(status, code),
	              "%s: %.*s", why, (int)answer.len, answer.p);
	ck_assert_msg(memmem(error.p, error.len, says, strlen(says)) != NULL,
	              "%s: %.*s does not say \"%s\"", why, (int)answer.len, answer.p, says);
}

/* Whether the last answer is the error of that status and message, with the
 * headers that belong to it. */
static void
check_refused(struct world *w, const char *why, int status, const char *says)
{
	const struct web_answer *a = &w->answer;

	ck_assert_msg(a->status == status, "%s: status %d, not %d: %.300s", why, a->status,
	              status, a->body.p);
	check_body(why, status, says, buf_span(&a->body));
	ck_assert_msg(id_is(span_of(web_header(a, "X-Request-Id")), "", 32) &&
	              web_header_count(a, "X-Request-Id") == 1, "%s: X-Request-Id", why);
	ck_assert_msg(strcmp(web_header(a, "Content-Type"), "application/json") == 0,
	              "%s: Content-Type", why);
	ck_assert_msg((web_header(a, "Retry-After")[0] != '\0') == (status >= 502),
	              "%s: Retry-After", why);
	ck_assert_msg((web_header(a, "Allow")[0] != '\0') == (status == 405), "%s: Allow", why);
	ck_assert_msg((web_header(a, "WWW-Authenticate")[0] != '\0') == (status == 401),
	              "%s: WWW-Authenticate", why);
	ck_assert_msg(strstr(a->body.p, w->site.dir) == NULL, "%s: %s", why, a->body.p);
}

/* What a push that was answered added to the log. */
static int64_t
accepted(const struct world *w)
{
	int64_t n = w->answer.status == 200 ? answer_number(w, "accepted") : 0;

	return n > 0 ? n : 0;
}

static void
try_rows(struct trial *t)
{
	struct buf path = { 0 }, body = { 0 }, header = { 0 };
	struct world *w = &t->w;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct row *r = &rows[i];

		expand(w, r->path, &path);
		expand(w, r->header, &header);
		begin_row(t);
		ask_as(w, r->who == NOBODY ? NULL : w->tokens[r->who], r->method, path.p,
		       expand(w, r->body, &body), r->header != NULL ? header.p : NULL);
		if (r->status >= 400)
			check_refused(w, r->why, r->status, r->says);
		else
			ck_assert_msg(w->answer.status == r->status &&
			              strstr(w->answer.body.p, r->says) != NULL, "%s: %d %.300s",
			              r->why, w->answer.status, w->answer.body.p);
		end_row(t, r->why, accepted(w));
	}
	buf_free(&path);
	buf_free(&body);
	buf_free(&header);
}

/* --- tokens --- */

/* Base64url without padding, appended. */
static void
add_base64(struct buf *out, const void *p, size_t n)
{
	unsigned char *text = malloc(n * 2 + 8);
	int len = EVP_EncodeBlock(text, p, (int)n);

	for (int i = 0; i < len && text[i] != '='; i++)
		buf_add_byte(out, text[i] == '+' ? '-' : text[i] == '/' ? '_' : (char)text[i]);
	free(text);
}

/* A part of a token, decoded. */
static void
decode_part(struct span part, struct buf *out)
{
	struct buf text = { 0 };
	size_t pad = (4 - part.len % 4) % 4;

	for (size_t i = 0; i < part.len; i++)
		buf_add_byte(&text, part.p[i] == '-' ? '+' : part.p[i] == '_' ? '/' : part.p[i]);
	buf_add(&text, "===", pad);
	buf_reserve(out, text.len);
	out->len = (size_t)EVP_DecodeBlock((unsigned char *)out->p,
	                                   (const unsigned char *)text.p, (int)text.len) - pad;
	buf_free(&text);
}

/* A text with one part of it replaced. */
static void
replace(struct buf *text, const char *from, const char *to)
{
	struct buf out = { 0 };
	const char *at = strstr(buf_cstr(text), from);

	ck_assert_msg(at != NULL, "%s has no %s", text->p, from);
	buf_add(&out, text->p, (size_t)(at - text->p));
	buf_add_str(&out, to);
	buf_add_str(&out, at + strlen(from));
	buf_free(text);
	*text = out;
}

/* How a good token is spoilt. */
static const struct forgery {
	const char *why;
	const char *alg;        /* NULL: HS256 */
	const char *claim, *as; /* replaced in the claims */
	int64_t move;           /* nbf, iat and exp by so many seconds */
	enum { GOOD, WRONG_KEY, NO_KEY, CUT, TWO_PARTS } signature;
} forgeries[] = {
	{ "forged, but in every way right", NULL, NULL, NULL, 0, GOOD },
	{ "alg none", "none", NULL, NULL, 0, NO_KEY },
	{ "alg none with a signature", "none", NULL, NULL, 0, GOOD },
	{ "another algorithm", "HS512", NULL, NULL, 0, GOOD },
	{ "an algorithm that is not there", "XS256", NULL, NULL, 0, GOOD },
	{ "another key", NULL, NULL, NULL, 0, WRONG_KEY },
	{ "no signature", NULL, NULL, NULL, 0, NO_KEY },
	{ "two parts", NULL, NULL, NULL, 0, TWO_PARTS },
	{ "a signature cut short", NULL, NULL, NULL, 0, CUT },
	{ "expired", NULL, NULL, NULL, -100000, GOOD },
	{ "not yet valid", NULL, NULL, NULL, 1000, GOOD },
	{ "another issuer", NULL, "\"iss\":\"", "\"iss\":\"x", 0, GOOD },
	{ "another audience", NULL, "\"aud\":\"", "\"aud\":\"x", 0, GOOD },
	{ "an id that was never given", NULL, "\"jti\":\"ak_", "\"jti\":\"ak_0", 0, GOOD },
	{ "without expiry", NULL, "\"exp\":", "\"xep\":", 0, GOOD },
	{ "expiry as text", NULL, "\"exp\":", "\"exp\":\"9\",\"x\":", 0, GOOD },
};

static int64_t
claim_of(struct span claims, const char *name)
{
	struct span value;
	int64_t n = 0;

	ck_assert(json_get(claims, name, &value) && json_int64(value, &n));
	return n;
}

/* Move the times of a token's claims. */
static void
move_times(struct buf *claims, int64_t by)
{
	static const char *const names[] = { "iat", "nbf", "exp" };
	char from[64], to[64];

	for (size_t i = 0; i < 3 && by != 0; i++) {
		int64_t at = claim_of(buf_span(claims), names[i]);

		snprintf(from, sizeof(from), "\"%s\":%lld", names[i], (long long)at);
		snprintf(to, sizeof(to), "\"%s\":%lld", names[i], (long long)(at + by));
		replace(claims, from, to);
	}
}

static char *
forge(const struct site *s, const char *good, const struct forgery *f)
{
	const char *dot = strchr(good, '.'), *dot2 = strchr(dot + 1, '.');
	struct buf header = { 0 }, claims = { 0 }, token = { 0 };
	unsigned char mac[EVP_MAX_MD_SIZE];
	char keys_dir[PATH_MAX + 8];
	struct keyring *keys;
	const struct key *key;
	unsigned mac_len;
	char *spoilt;

	decode_part((struct span){ good, (size_t)(dot - good) }, &header);
	decode_part((struct span){ dot + 1, (size_t)(dot2 - dot - 1) }, &claims);
	if (f->alg != NULL)
		replace(&header, "HS256", f->alg);
	if (f->claim != NULL)
		replace(&claims, f->claim, f->as);
	move_times(&claims, f->move);
	add_base64(&token, header.p, header.len);
	buf_add_byte(&token, '.');
	add_base64(&token, claims.p, claims.len);
	snprintf(keys_dir, sizeof(keys_dir), "%s/keys", s->data);
	ck_assert_int_eq(keyring_open(keys_dir, &keys, NULL), RC_OK);
	key = keyring_signer(keys);
	HMAC(f->alg != NULL && strcmp(f->alg, "HS512") == 0 ? EVP_sha512() : EVP_sha256(),
	     f->signature == WRONG_KEY ? (const unsigned char *)"another key, 32 bytes and more.."
	                               : key->secret,
	     f->signature == WRONG_KEY ? 32 : (int)key->secret_len,
	     (const unsigned char *)token.p, token.len, mac, &mac_len);
	keyring_close(keys);
	if (f->signature != TWO_PARTS)
		buf_add_byte(&token, '.');
	if (f->signature == GOOD || f->signature == WRONG_KEY)
		add_base64(&token, mac, mac_len);
	if (f->signature == CUT)
		add_base64(&token, mac, mac_len - 2);
	buf_free(&header);
	buf_free(&claims);
	spoilt = span_dup(buf_span(&token));
	buf_free(&token);
	return spoilt;
}

static void
try_tokens(struct world *w)
{
	static const char *const garbage[] = {
		"", "x", "...", "a.b.c", "td_live_00000000000000000000000000000000",
		"eyJhbGciOiJIUzI1NiJ9.e30.", "\xff\xfe", "a b",
	};

	for (size_t i = 0; i < sizeof(forgeries) / sizeof(forgeries[0]); i++) {
		char *token = forge(&w->site, w->tokens[WRITER], &forgeries[i]);
		int status = ask_as(w, token, "GET", STATUS, (struct span){ NULL, 0 }, NULL);

		if (i == 0) /* the forger can forge */
			ck_assert_int_eq(status, 200);
		else
			check_refused(w, forgeries[i].why, 401, "invalid or expired api key");
		free(token);
	}
	for (size_t i = 0; i < sizeof(garbage) / sizeof(garbage[0]); i++) {
		ask_as(w, garbage[i], "GET", STATUS, (struct span){ NULL, 0 }, NULL);
		check_refused(w, "garbage for a token", 401, "inval");
	}
}

/* A token's scope and projects cut down what its user may do. */
static void
try_scopes(struct world *w)
{
	static const struct span nothing = { NULL, 0 };
	char *reads = site_token(&w->site, w->users[OWNER], SCOPE_READ, NULL, NULL);
	char *writes = site_token(&w->site, w->users[OWNER], SCOPE_READ | SCOPE_WRITE, NULL, NULL);
	char *other = site_token(&w->site, w->users[OWNER],
	                         SCOPE_READ | SCOPE_WRITE | SCOPE_PROJECT_ADMIN, w->gone, NULL);
	char id[ID_MAX], *revoked = site_token(&w->site, w->users[OWNER], SCOPE_READ, NULL, id);
	struct accounts *a;

	ask_as(w, reads, "POST", PUSH, span_of(OF("\"d\"", "\"s\"", "[" WHOLE "]")), NULL);
	check_refused(w, "a read-only token pushes", 403, "scope");
	ck_assert_ptr_nonnull(strstr(w->answer.body.p, "insufficient_scope"));
	ask_as(w, writes, "DELETE", "/v1/projects/{p}", nothing, NULL);
	check_refused(w, "a token without project:admin deletes", 403, "scope");
	ask_as(w, other, "GET", STATUS, nothing, NULL);
	check_refused(w, "a token for another project", 403, "project");
	ask_as(w, other, "POST", "/v1/projects", span_of("{\"name\":\"x\"}"), NULL);
	check_refused(w, "a token for one project makes another", 403, "certain projects");
	ck_assert_int_eq(ask_as(w, other, "GET", "/v1/projects", nothing, NULL), 200);
	ck_assert_str_eq(w->answer.body.p, "[]\n");
	ck_assert_int_eq(ask_as(w, revoked, "GET", STATUS, nothing, NULL), 200);
	ck_assert_int_eq(accounts_open(w->site.data, &a, NULL), RC_OK);
	ck_assert_int_eq(token_revoke(a, id, NULL), RC_OK);
	accounts_close(a);
	ask_as(w, revoked, "GET", STATUS, nothing, NULL);
	check_refused(w, "a token revoked a moment ago", 401, "invalid or expired api key");
	free(reads);
	free(writes);
	free(other);
	free(revoked);
}

/* --- what no web server passes on --- */

/* Parameters are a good push's, but for these: "NAME=value"; without "=" it is
 * left out. */
static const struct raw_row {
	const char *why;
	int status;
	const char *says;
	const char *change[3];
	const char *body;     /* NULL: a good one */
	int headers;          /* so many more */
} raw_rows[] = {
	{ "nothing changed", 200, "\"accepted\":", { NULL } },
	{ "a body shorter than its length", 400, "ended after", { "CONTENT_LENGTH=1000" }, "{}" },
	{ "no body at all", 400, "ended after", { "CONTENT_LENGTH=7" }, "" },
	{ "a body longer than its length", 400, "invalid json body", { "CONTENT_LENGTH=1" } },
	{ "no length", 400, "invalid json body", { "CONTENT_LENGTH" } },
	{ "a length that is no number", 400, "invalid Content-Length", { "CONTENT_LENGTH=abc" } },
	{ "a negative length", 400, "invalid Content-Length", { "CONTENT_LENGTH=-5" } },
	{ "a length with a sign", 400, "invalid Content-Length", { "CONTENT_LENGTH=+5" } },
	{ "a length with a blank", 400, "invalid Content-Length", { "CONTENT_LENGTH= 5" } },
	{ "a length with a unit", 400, "invalid Content-Length", { "CONTENT_LENGTH=10k" } },
	{ "a length in hex", 400, "invalid Content-Length", { "CONTENT_LENGTH=0x10" } },
	{ "two lengths", 400, "invalid Content-Length", { "CONTENT_LENGTH=5, 6" } },
	{ "a length of 2^63 - 1", 413, "send less", { "CONTENT_LENGTH=9223372036854775807" } },
	{ "a length of 2^63", 400, "invalid Content-Length", { "CONTENT_LENGTH=9223372036854775808" } },
	{ "a length of 100,000 digits", 400, "invalid Content-Length", { "CONTENT_LENGTH=<9*100000>" } },
	{ "a length above max_push_bytes", 413, "send less", { "CONTENT_LENGTH=1048577" } },
	{ "chunked", 200, "\"accepted\":", { "CONTENT_LENGTH", "HTTP_TRANSFER_ENCODING=chunked" } },
	{ "chunked, of max_push_bytes", 400, "invalid json", { "CONTENT_LENGTH", "HTTP_TRANSFER_ENCODING=chunked" }, "< *1048576>" },
	{ "chunked, one byte more", 413, "send less", { "CONTENT_LENGTH", "HTTP_TRANSFER_ENCODING=chunked" }, "< *1048577>" },
	{ "a header of 100 kB", 200, "\"accepted\":", { "HTTP_X_LARGE=<x*100000>" } },
	{ "a token of 100 kB", 401, "invalid or expired", { "HTTP_AUTHORIZATION=Bearer <x*100000>" } },
	{ "a token of blanks", 401, "invalid or expired", { "HTTP_AUTHORIZATION=Bearer < *100>" } },
	{ "a token of 3,000 dots", 401, "invalid or expired", { "HTTP_AUTHORIZATION=Bearer <.*3000>" } },
	{ "a query of 100 kB", 200, "\"accepted\":", { "QUERY_STRING=<a=b&*25000>" } },
	{ "a path of 100 kB", 404, "no such path", { "PATH_INFO=</x*50000>" } },
	{ "dots in the path", 404, "no such path", { "PATH_INFO=/v1/projects/../../etc/passwd" } },
	{ "dots as a project", 404, "no such path", { "PATH_INFO=/v1/projects/../sync/push" } },
	{ "no path", 404, "no such path", { "PATH_INFO" } },
	{ "no method", 405, "method", { "REQUEST_METHOD=" } },
	{ "a method of 100 kB", 405, "method", { "REQUEST_METHOD=<x*100000>" } },
	{ "a request id that is none", 200, "\"accepted\":", { "REQUEST_ID=../<x*100>" } },
	{ "1,000 headers", 200, "\"accepted\":", { NULL }, NULL, 1000 },
};

/* Only over FastCGI: no process can be started with these. */
static const struct raw_row socket_rows[] = {
	{ "a token of 9 MB", 401, "invalid or expired", { "HTTP_AUTHORIZATION=Bearer <x*9000000>" } },
	{ "a path of 9 MB", 404, "no such path", { "PATH_INFO=/<x*9000000>" } },
	{ "a query of 9 MB", 200, "\"accepted\":", { "QUERY_STRING=<x=y&*2250000>" } },
	{ "a header of 9 MB", 200, "\"accepted\":", { "HTTP_PREFER=<handling=,*900000>" } },
	{ "20,000 headers", 200, "\"accepted\":", { NULL }, NULL, 20000 },
};

/* A request's parameters as they grow. */
struct params {
	const char **list;  /* name, value, ..., NULL; each one malloc'ed */
	size_t n, room;
};

static void
params_set(struct params *p, const char *name, const char *value)
{
	size_t i;

	for (i = 0; i < p->n && strcmp(p->list[i], name) != 0; i += 2)
		;
	if (i < p->n) {
		free((char *)(uintptr_t)p->list[i + 1]);
		p->list[i + 1] = strdup(value);
		return;
	}
	if (p->n + 3 > p->room) {
		p->room = 2 * p->room + 32;
		p->list = realloc(p->list, p->room * sizeof(*p->list));
	}
	p->list[p->n++] = strdup(name);
	p->list[p->n++] = strdup(value);
	p->list[p->n] = NULL;
}

static void
params_drop(struct params *p, const char *name)
{
	for (size_t i = 0; i < p->n; i += 2)
		if (strcmp(p->list[i], name) == 0) {
			free((char *)(uintptr_t)p->list[i]);
			free((char *)(uintptr_t)p->list[i + 1]);
			memmove(p->list + i, p->list + i + 2, (p->n - i - 1) * sizeof(*p->list));
			p->n -= 2;
		}
}

static void
params_free(struct params *p)
{
	for (size_t i = 0; i < p->n; i++)
		free((char *)(uintptr_t)p->list[i]);
	free(p->list);
}

static void
params_make(struct params *p, struct world *w, const struct raw_row *r, size_t length)
{
	struct buf text = { 0 };
	char name[32];

	*p = (struct params){ 0 };
	buf_addf(&text, "Bearer %s", w->tokens[WRITER]);
	params_set(p, "HTTP_AUTHORIZATION", buf_cstr(&text));
	expand(w, PUSH, &text);
	params_set(p, "PATH_INFO", text.p);
	params_set(p, "REQUEST_METHOD", "POST");
	snprintf(name, sizeof(name), "%zu", length);
	params_set(p, "CONTENT_LENGTH", name);
	for (int i = 0; i < r->headers; i++) {
		snprintf(name, sizeof(name), "HTTP_X_%d", i);
		params_set(p, name, "x");
	}
	for (size_t i = 0; i < 3 && r->change[i] != NULL; i++) {
		const char *equals = strchr(r->change[i], '=');

		if (equals == NULL) {
			params_drop(p, r->change[i]);
			continue;
		}
		snprintf(name, sizeof(name), "%.*s", (int)(equals - r->change[i]), r->change[i]);
		expand(w, equals + 1, &text);
		params_set(p, name, text.p);
	}
	buf_free(&text);
}

static void
try_raw(struct trial *t, const struct raw_row *table, size_t n)
{
	struct buf answer = { 0 }, body = { 0 };
	struct world *w = &t->w;
	struct params params;
	char status[32];

	for (size_t i = 0; i < n; i++) {
		const struct raw_row *r = &table[i];
		const char *content;

		/* A number of its own, so that it is accepted. */
		if (r->body != NULL)
			expand(w, r->body, &body);
		else
			buf_reset(&body), make_push(&body, "raw", (int)t->events + 100000, 1);
		params_make(&params, w, r, body.len);
		begin_row(t);
		ck_assert_msg(raw_call(&w->site, params.list, buf_span(&body), &answer),
		              "%s: no answer", r->why);
		snprintf(status, sizeof(status), "Status: %d ", r->status);
		content = strstr(answer.p, "\r\n\r\n");
		ck_assert_msg(strncmp(answer.p, status, strlen(status)) == 0 && content != NULL,
		              "%s: %.300s", r->why, answer.p);
		if (r->status >= 400)
			check_body(r->why, r->status, r->says, span_of(content + 4));
		ck_assert_msg(strstr(content, r->says) != NULL, "%s: %.300s", r->why, answer.p);
		end_row(t, r->why, r->status == 200);
		params_free(&params);
	}
	buf_free(&answer);
	buf_free(&body);
}

static void
trial_start(struct trial *t, enum site_kind kind)
{
	static const char *const two[] = { "--workers", "2", "--max-workers", "2",
	                                   "--max-requests", "0", NULL };
	struct site_options options = { .kind = kind, .arguments = two,
	                                .config = "max_push_bytes = 1048576\n" };

	*t = (struct trial){ .events = 3 };
	world_start(&t->w, &options);
	ck_assert_int_eq(push_some(&t->w, "before", 1, 3), 200);
	if (kind == SITE_CGI)
		return;
	for (int i = 0; i < 500 && site_workers(&t->w.site, t->workers, 2) != 2; i++)
		usleep(10000);
	ck_assert_int_gt(t->workers[1], 0);
}

/* And it still works. */
static void
trial_stop(struct trial *t)
{
	begin_row(t);
	ck_assert_int_eq(push_some(&t->w, "after", 1, 1), 200);
	end_row(t, "after it all", 1);
	world_stop(&t->w);
}

static void
try_all(enum site_kind kind)
{
	struct trial t;

	trial_start(&t, kind);
	try_rows(&t);
	try_tokens(&t.w);
	try_scopes(&t.w);
	try_raw(&t, raw_rows, sizeof(raw_rows) / sizeof(raw_rows[0]));
	if (kind == SITE_FASTCGI)
		try_raw(&t, socket_rows, sizeof(socket_rows) / sizeof(socket_rows[0]));
	trial_stop(&t);
}

START_TEST(bad_input_changes_nothing_behind_nginx)
{
	try_all(SITE_FASTCGI);
}
END_TEST

START_TEST(bad_input_changes_nothing_by_cgi)
{
	try_all(SITE_CGI);
}
END_TEST

/* --- what nginx judges itself: bytes as they come --- */

#define HOST "Host: x\r\n"
#define AUTH "Authorization: Bearer {t}\r\n"
#define CLOSE "Connection: close\r\n"
#define POSTED "POST " PUSH " HTTP/1.1\r\n" HOST AUTH CLOSE
#define ASKED(path) "GET " path " HTTP/1.1\r\n" HOST AUTH CLOSE

static const struct {
	const char *why;
	int status;          /* 0: it hung up, there is no answer */
	const char *says;
	const char *text;
} wire_rows[] = {
	{ "all well", 200, "event_count", ASKED(STATUS) "\r\n" },
	{ "two lengths that differ", 400, "can't be read", POSTED "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}" },
	{ "two lengths that agree", 400, "can't be read", POSTED "Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}" },
	{ "a length and chunks", 400, "can't be read", POSTED "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" },
	{ "a negative length", 400, "can't be read", POSTED "Content-Length: -1\r\n\r\n" },
	{ "a length beyond numbers", 400, "can't be read", POSTED "Content-Length: 99999999999999999999\r\n\r\n" },
	{ "chunks", 400, "invalid json body: it must be an object", POSTED "Transfer-Encoding: chunked\r\n\r\n1\r\n[\r\n1\r\n]\r\n0\r\n\r\n" },
	{ "a chunk that is none", 400, "can't be read", POSTED "Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n" },
	{ "a chunk beyond numbers", 400, "can't be read", POSTED "Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n{}" },
	{ "another encoding", 501, "not known here", POSTED "Transfer-Encoding: gzip\r\n\r\n{}" },
	{ "a continuation is asked for", 100, "it must be an object", POSTED "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n[]" },
	{ "a body above nginx's limit", 413, "send less at a time", POSTED "Content-Length: 70000000\r\n\r\n" },
	{ "headers of 15,000 bytes each", 200, "event_count", ASKED(STATUS) "X-A: <x*15000>\r\nX-B: <x*15000>\r\n\r\n" },
	{ "100 kB of headers", 400, "header is too large", ASKED(STATUS) "<X-Large: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n*2000>\r\n" },
	{ "a header of 17,000 bytes", 400, "header is too large", ASKED(STATUS) "X-Large: <x*17000>\r\n\r\n" },
	{ "a token of 9 MB", 400, "header is too large", "GET " STATUS " HTTP/1.1\r\n" HOST CLOSE "Authorization: Bearer <x*9000000>\r\n\r\n" },
	{ "an address of 15,000 bytes", 404, "no such path", ASKED("/<x*15000>") "\r\n" },
	{ "an address of 17,000 bytes", 414, "too long", ASKED("/<x*17000>") "\r\n" },
	{ "a NUL in the address", 400, "can't be read", ASKED("/v1/<NUL*1>") "\r\n" },
	{ "an encoded NUL in the path", 400, "can't be read", ASKED("/v1/projects/%00") "\r\n" },
	{ "out of the root", 400, "can't be read", ASKED("/../../etc/passwd") "\r\n" },
	{ "out of the root, encoded", 400, "can't be read", ASKED("/%2e%2e/%2e%2e/etc/passwd") "\r\n" },
	{ "a bad escape in the path", 400, "can't be read", ASKED("/v1/%zz") "\r\n" },
	{ "dots that lead to a path", 200, "event_count", ASKED("/v1/x/../projects/{p}/sync/status") "\r\n" },
	{ "no host", 400, "can't be read", "GET " STATUS " HTTP/1.1\r\n" AUTH CLOSE "\r\n" },
	{ "a method in small letters", 400, "can't be read", "get " STATUS " HTTP/1.1\r\n" HOST "\r\n" },
	{ "a version that is none", 400, "can't be read", "GET " STATUS " HTTP/x\r\n" HOST "\r\n" },
	{ "a version to come", 505, "spoken here", "GET " STATUS " HTTP/3.0\r\n" HOST "\r\n" },
	{ "TRACE", 405, "method", "TRACE " STATUS " HTTP/1.1\r\n" HOST CLOSE "\r\n" },
	{ "CONNECT", 400, "can't be read", "CONNECT example.com:443 HTTP/1.1\r\n" HOST CLOSE "\r\n" },
	{ "bytes", 400, "can't be read", "\x16\x03\x01\x02\r\n\r\n" },
	{ "a client that leaves in its header", 0, "", "GET " STATUS " HTTP/1.1\r\nHost:" },
	{ "a client that leaves in its body", 0, "", POSTED "Content-Length: 1000\r\n\r\n{\"device_id\"" },
};

/* Put the writer's token where "{t}" is. */
static void
add_token(const struct world *w, struct buf *text)
{
	struct buf out = { 0 };
	const char *at = memmem(text->p, text->len, "{t}", 3);

	if (at == NULL)
		return;
	buf_add(&out, text->p, (size_t)(at - text->p));
	buf_add_str(&out, w->tokens[WRITER]);
	buf_add(&out, at + 3, text->len - (size_t)(at - text->p) - 3);
	buf_free(text);
	*text = out;
}

/* Whether an answer came to its end; nginx may go on to read what it refused. */
static bool
is_whole(struct buf *answer)
{
	const char *length = strstr(buf_cstr(answer), "Content-Length: ");
	const char *content = strstr(answer->p, "\r\n\r\n");

	return length != NULL && content != NULL && length < content &&
	       answer->len >= (size_t)(content + 4 - answer->p) + strtoul(length + 16, NULL, 10);
}

/* Send bytes to the web server; its answer. */
static void
exchange(const struct world *w, struct span text, bool leave, struct buf *out)
{
	struct sockaddr_in addr = { .sin_family = AF_INET };
	struct timeval patience = { ANSWER_MS / 1000, 0 };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char part[4096];
	ssize_t got;

	addr.sin_port = htons((uint16_t)atoi(strrchr(w->site.url, ':') + 1));
	addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	while (text.len > 0 && (got = send(fd, text.p, text.len, MSG_NOSIGNAL)) > 0) {
		text.p += got;
		text.len -= (size_t)got;
	}
	buf_reset(out);
	while (!leave && !is_whole(out) && (got = recv(fd, part, sizeof(part), 0)) > 0)
		buf_add(out, part, (size_t)got);
	close(fd);
	ck_assert_ptr_nonnull(buf_cstr(out));
}

START_TEST(what_nginx_answers_itself_is_json_with_an_id)
{
	struct buf text = { 0 }, answer = { 0 };
	struct trial t;

	trial_start(&t, SITE_FASTCGI);
	for (size_t i = 0; i < sizeof(wire_rows) / sizeof(wire_rows[0]); i++) {
		const char *why = wire_rows[i].why, *content;
		char status[32];

		expand(&t.w, wire_rows[i].text, &text);
		add_token(&t.w, &text);
		begin_row(&t);
		exchange(&t.w, buf_span(&text), wire_rows[i].status == 0, &answer);
		snprintf(status, sizeof(status), "HTTP/1.1 %d ", wire_rows[i].status);
		content = strstr(answer.p, "\r\n\r\n");
		if (wire_rows[i].status != 0)
			ck_assert_msg(strncmp(answer.p, status, strlen(status)) == 0 &&
			              content != NULL && strstr(answer.p, "X-Request-Id: ") != NULL &&
			              strstr(answer.p, "Connection: close\r\n") != NULL,
			              "%s: %.400s", why, answer.p);
		if (wire_rows[i].status >= 400)
			check_body(why, wire_rows[i].status, wire_rows[i].says, span_of(content + 4));
		ck_assert_msg(strstr(answer.p, wire_rows[i].says) != NULL, "%s: %.400s", why,
		              answer.p);
		end_row(&t, why, 0);
	}
	kill(t.w.site.pool, SIGTERM);
	waitpid(t.w.site.pool, NULL, 0);
	t.w.site.pool = 0;
	ask(&t.w, OWNER, "GET", STATUS, NULL, NULL);
	check_refused(&t.w, "no workers", 503, "The server is not running");
	buf_free(&text);
	buf_free(&answer);
	world_stop(&t.w);
}
END_TEST

TCase *
bad_input_case(void)
{
	TCase *tc = tcase_create("bad input");

	tcase_set_timeout(tc, 240);
	if (http_can_run(SITE_FASTCGI)) {
		tcase_add_test(tc, bad_input_changes_nothing_behind_nginx);
		tcase_add_test(tc, what_nginx_answers_itself_is_json_with_an_id);
	}
	tcase_add_test(tc, bad_input_changes_nothing_by_cgi);
	return tc;
}
