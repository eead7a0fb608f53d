/*
 * The recordings, played in the order in which they were made: every exchange
 * of a stock client and the Go server, made again with our server, must come
 * to the same status and the same JSON. What is knowingly different (the
 * table of protocol.md section 7) is named below, exchange by exchange; a
 * difference that no longer occurs fails as one that is not named.
 *
 * Ids and numbers of events are other ones here: they are learned where they
 * first come back, and must then stay the same.
 */
#include "http_test.h"

#include "site.h"
#include "web.h"

#include "base/fs.h"
#include "base/json.h"
#include "store/db.h"

#include <check.h>
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- the differences of section 7 --- */

enum difference {
	CONTENT = 1 << 0,  /* same rowid, other content: an event of its own */
	RETRY = 1 << 1,    /* same content from another session or device: a duplicate */
	RANGE = 1 << 2,    /* a part of a snapshot is sent as such */
	UNKNOWN = 1 << 3,  /* an unknown entity type is taken and parked */
	PAYLOAD = 1 << 4,  /* payload missing: rejected for that */
	OWN = 1 << 5,      /* a device's own events are sent to it */
	BLOCK = 1 << 6,    /* a page ends with its block of 1,000 numbers */
	AHEAD = 1 << 7,    /* a cursor beyond the head is an error */
	GONE = 1 << 8,     /* a deleted project is gone for sync, too */
	LARGE = 1 << 9,    /* a body above the limit is 413 */
	FAILED = 1 << 10,  /* a 500 of the Go server's is a 4xx */
	LATER = 1 << 11,   /* the route is a later issue's */
	SCOPES = 1 << 12,  /* our scopes have other names */
	OVER = 1 << 13,    /* a login is over when its time is, not when somebody cleans up */
	/* everywhere, rather than in named exchanges: */
	TEXT = 1 << 14,    /* unknown path and wrong method: JSON, not plain text */
	MEMBERS = 1 << 15, /* pulled events: user_id and server_timestamp, too */
	GAP = 1 << 16,     /* a duplicate burns no number */
};

static const struct {
	const char *file, *name;
	unsigned what;
	int status;        /* ours, where it is another one; 0: the same */
	const char *code;
	int index;         /* in the file, where it has more of the name; else 0 */
} named[] = {
	{ "01", "metrics", LATER | TEXT, 404, "not_found" },
	{ "02", "poll, expired", OVER, 410, "expired" },
	{ "05", "delete again", FAILED, 404, "not_found" },
	{ "05", "push to a deleted project", GONE, 404, "not_found" },
	{ "05", "pull from a deleted project", GONE, 404, "not_found" },
	{ "06", "add again, same role", FAILED, 409, "conflict" },
	{ "06", "add again, other role", FAILED, 409, "conflict" },
	{ "06", "add, unknown role", FAILED, 400, "bad_request" },
	{ "06", "add, unknown user id", FAILED, 404, "not_found" },
	{ "06", "patch, unknown role", FAILED, 400, "bad_request" },
	{ "06", "patch, not a member", FAILED, 404, "not_found" },
	{ "06", "delete, not a member", FAILED, 404, "not_found" },
	{ "08", "a duplicate with other content is still a duplicate", CONTENT, 0, NULL },
	{ "08", "same rowid, other session: a new event", RETRY, 0, NULL },
	{ "08", "same rowid, other device: a new event", RETRY, 0, NULL },
	{ "08", "unknown entity type rejects all", UNKNOWN, 200, NULL },
	{ "08", "payload missing", PAYLOAD, 0, NULL },
	{ "08", "body above 10 MiB", LARGE, 413, "too_large" },
	{ "09", "empty log, after 5", AHEAD, 409, "cursor_ahead" },
	{ "09", "page full: has_more", CONTENT | RETRY, 0, NULL },
	{ "09", "what became of aliases, legacy actions, fractions and offsets",
	  UNKNOWN, 0, NULL },
	{ "09", "cursor beyond the head", AHEAD, 409, "cursor_ahead" },
	{ "09", "limit above 10000: capped", BLOCK, 0, NULL },
	{ "09", "exclude_client: seq of others only", OWN | RETRY, 0, NULL },
	{ "09", "exclude_client of all that is left: last_server_seq stays",
	  AHEAD, 409, "cursor_ahead" },
	{ "11", "range is not supported", RANGE, 206, NULL },
	{ "13", "token without the sync scope: list", SCOPES, 0, NULL },
	{ "13", "token without the sync scope: project", SCOPES, 0, NULL },
	{ "17", "td create (automatic sync): GET pull", OWN, 0, NULL, 24 },
	{ "17", "td create (automatic sync, second device): GET pull", OWN, 0, NULL, 28 },
};
#define NAMED (sizeof(named) / sizeof(named[0]))

/* --- what is played --- */

struct part {
	const char *file;
	int from, to; /* indexes of exchanges, both included */
};

/* What runs against one server from top to bottom; its configuration beside `common`. */
static const struct scene {
	const char *config;
	struct part parts[16];
} scenes[] = {
	{ "signup = closed\n", {
		{ "01-health", 0, 8 },
		{ "02-login-device", 0, 31 },
		{ "05-projects", 0, 24 },
		{ "06-members", 0, 23 },
		{ "07-invitations", 0, 27 },
		{ "10-status", 0, 0 },
		{ "09-pull", 0, 1 },
		{ "11-snapshot", 0, 0 },
		{ "08-push", 0, 47 },
		{ "09-pull", 2, 30 },
		{ "10-status", 1, 2 },
		{ "11-snapshot", 1, 5 },
		{ "13-auth-errors", 0, 17 },
		{ "17-stock-client", 0, 31 },
	} },
	{ "signup = open\ncode_login = on\n", { { "03-login-legacy", 0, 15 } } },
	{ "signup = closed\ncode_login = on\n", { { "03-login-legacy", 16, 16 } } },
};

/* The Go server's limit, so that the body above it is one here, too; and its approval. */
static const char common[] =
	"max_push_bytes = 10485760\n"
	"url = https://sync.example.com\n"
	"approval = link\n"
	"mail = file\n"
	"mail_file = mail.txt\n"
	"mail_from = td-sync@example.com\n";

/* What was done beside an exchange, before it. */
static const struct {
	const char *file;
	int index;
	const char *sql; /* done to server.db; NULL: the mailed link is followed */
} deeds[] = {
	{ "02-login-device", 26, "UPDATE login SET expires_at = expires_at - 900"
	                         " WHERE verified_at = 0" },
	{ "03-login-legacy", 15, "UPDATE login SET expires_at = expires_at - 900"
	                         " WHERE verified_at = 0" },
	{ "07-invitations", 23, "UPDATE invitation SET expires_at = created_at"
	                        " WHERE status = 0" },
	{ "17-stock-client", 1, NULL },
	{ "17-stock-client", 3, NULL },
};

/* --- the player --- */

#define MAX_PAIRS 96
#define MAX_SEQ 4096

struct pair {
	char *theirs, *ours;
};

/* A token of the recordings and what stands for it here. */
struct token {
	const char *theirs;
	char *ours;
};

struct player {
	struct site *site;
	struct web_answer answer;
	struct token tokens[16];
	struct pair ids[MAX_PAIRS];     /* of users, projects, invitations; codes, keys */
	size_t n_ids;
	bool begins[256];               /* with which bytes theirs do */
	int64_t ours[MAX_SEQ];          /* by their seq: ours, 0: not known */
	int64_t theirs[MAX_SEQ];        /* by our seq */
	bool retried[MAX_SEQ];          /* by their seq: a duplicate here */
	unsigned only[MAX_SEQ];         /* by our seq: why only we have it */
	int64_t head, their_head;       /* the last ones */
	char project[ID_MAX];           /* whose numbers these are (theirs) */
	unsigned found;                 /* differences in this exchange */
	unsigned everywhere;            /* of the last three, ever */
	bool seen[NAMED];
	const char *file, *name;        /* of the exchange */
	int index;
	bool elsewhere;                 /* it is about another project */
	struct buf text;                /* for messages of mismatch() */
	int wrong;                      /* mismatches in all */
};

static void __attribute__((format(printf, 2, 3)))
mismatch(struct player *p, const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "%s \"%s\": ", p->file, p->name);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	if (p->wrong++ == 0 && p->answer.body.p != NULL)
		fprintf(stderr, "  status %d, body: %.600s\n", p->answer.status,
		        p->answer.body.p);
}

/* --- ids --- */

static bool
is_id(struct span s)
{
	return id_is(s, "p_", 16) || id_is(s, "u_", 16) || id_is(s, "inv_", 16);
}

/* The pair whose text of theirs this one begins with; NULL: none. */
static const struct pair *
pair_at(const struct player *p, struct span text)
{
	if (text.len == 0 || !p->begins[(unsigned char)*text.p])
		return NULL;
	for (size_t i = 0; i < p->n_ids; i++) {
		size_t n = strlen(p->ids[i].theirs);

		if (n <= text.len && memcmp(p->ids[i].theirs, text.p, n) == 0)
			return &p->ids[i];
	}
	return NULL;
}

static const char *
our_id(const struct player *p, struct span theirs)
{
	for (size_t i = 0; i < p->n_ids; i++)
		if (span_is(theirs, p->ids[i].theirs))
			return p->ids[i].ours;
	return NULL;
}

static void
learn_id(struct player *p, struct span theirs, struct span ours)
{
	struct pair *pair = &p->ids[p->n_ids++];

	ck_assert(p->n_ids < MAX_PAIRS && theirs.len > 0);
	p->begins[(unsigned char)*theirs.p] = true;
	*pair = (struct pair){ span_dup(theirs), span_dup(ours) };
}

static void
forget_ids(struct player *p)
{
	while (p->n_ids > 0) {
		free(p->ids[--p->n_ids].theirs);
		free(p->ids[p->n_ids].ours);
	}
	memset(p->begins, 0, sizeof(p->begins));
}

/* Append a text with all of theirs that is known replaced by ours. */
static void
translate(const struct player *p, struct span text, struct buf *out)
{
	for (size_t i = 0; i < text.len; i++) {
		const struct pair *pair = pair_at(p, (struct span){ text.p + i, text.len - i });

		if (pair == NULL) {
			buf_add_byte(out, text.p[i]);
			continue;
		}
		buf_add_str(out, pair->ours);
		i += strlen(pair->theirs) - 1;
	}
}

/* --- numbers of events --- */

static void
link_seq(struct player *p, int64_t theirs, int64_t ours)
{
	ck_assert(theirs < MAX_SEQ && ours < MAX_SEQ);
	if (theirs > 0)
		p->ours[theirs] = ours;
	if (ours > 0 && theirs > 0)
		p->theirs[ours] = theirs;
	if (ours > p->head)
		p->head = ours;
	if (theirs > p->their_head)
		p->their_head = theirs;
	if (theirs > 0 && theirs != ours)
		p->everywhere |= GAP;
}

/* Where a cursor of theirs stands in our log; one beyond their head stays. */
static int64_t
our_cursor(const struct player *p, int64_t theirs)
{
	if (theirs > p->their_head)
		return theirs;
	for (int64_t s = theirs; s > 0; s--)
		if (p->ours[s] != 0 && !p->retried[s])
			return p->ours[s];
	return 0;
}

static void
forget_seqs(struct player *p, const char *project)
{
	memset(p->ours, 0, sizeof(p->ours));
	memset(p->theirs, 0, sizeof(p->theirs));
	memset(p->retried, 0, sizeof(p->retried));
	memset(p->only, 0, sizeof(p->only));
	p->head = p->their_head = 0;
	snprintf(p->project, sizeof(p->project), "%s", project);
}

/* --- JSON --- */

static struct span
member(struct span object, const char *key)
{
	struct span v = { NULL, 0 };

	json_get(object, key, &v);
	return v;
}

static int64_t
number(struct span object, const char *key)
{
	int64_t n = 0;

	json_int64(member(object, key), &n);
	return n;
}

/* The text between the quotes of a string without escapes. */
static struct span
plain(struct span string)
{
	return string.len < 2 ? (struct span){ NULL, 0 }
	                      : (struct span){ string.p + 1, string.len - 2 };
}

/* What somebody gets to say again. */
static bool
is_code(const char *key)
{
	return strcmp(key, "device_code") == 0 || strcmp(key, "user_code") == 0 ||
	       strcmp(key, "api_key") == 0;
}

/* A person's code as the recordings have it typed: "abc-def". */
static void
learn_typed(struct player *p, struct span theirs, struct span ours)
{
	char text[2][8];
	struct span code[] = { theirs, ours };

	ck_assert(theirs.len == 6 && ours.len == 6);
	for (size_t i = 0; i < 2; i++) {
		snprintf(text[i], sizeof(text[i]), "%.3s-%.3s", code[i].p, code[i].p + 3);
		for (char *c = text[i]; *c != '\0'; c++)
			*c = (char)tolower((unsigned char)*c);
	}
	learn_id(p, span_of(text[0]), span_of(text[1]));
}

/* A member that differs in every run: its shape must be right. */
static bool
same_volatile(struct player *p, const char *key, struct span theirs, struct span ours)
{
	struct instant at;

	if (json_type(ours) != JSON_STRING)
		return json_type(ours) == json_type(theirs);
	if (is_id(plain(theirs))) {
		if (!is_id(plain(ours)) || plain(ours).p[0] != plain(theirs).p[0])
			return false;
		if (our_id(p, plain(theirs)) == NULL)
			learn_id(p, plain(theirs), plain(ours));
		return span_is(plain(ours), our_id(p, plain(theirs)));
	}
	if (is_code(key)) {
		if (our_id(p, plain(theirs)) == NULL)
			learn_id(p, plain(theirs), plain(ours));
		if (strcmp(key, "user_code") == 0)
			learn_typed(p, plain(theirs), plain(ours));
		return strcmp(key, "api_key") == 0 || plain(ours).len == plain(theirs).len;
	}
	if (strstr(key, "_at") != NULL || strstr(key, "_time") != NULL)
		return time_parse_rfc3339(plain(ours), &at) && plain(ours).len == 20;
	return json_equal(theirs, ours);
}

static void compare(struct player *p, const char *key, struct span theirs,
                    struct span ours);

static void
compare_objects(struct player *p, struct span theirs, struct span ours)
{
	struct span key, value, mine;
	struct json_iter it;
	char name[128];

	json_iter_init(&it, theirs);
	while (json_next(&it, &key, &value)) {
		snprintf(name, sizeof(name), "%.*s", (int)plain(key).len, plain(key).p);
		if (!json_get(ours, name, &mine))
			mismatch(p, "no member %s", name);
		else
			compare(p, name, value, mine);
	}
	json_iter_init(&it, ours);
	while (json_next(&it, &key, &value)) {
		snprintf(name, sizeof(name), "%.*s", (int)plain(key).len, plain(key).p);
		if (!json_get(theirs, name, &mine))
			mismatch(p, "a member more: %s", name);
	}
}

static void
compare_arrays(struct player *p, const char *key, struct span theirs, struct span ours)
{
	struct json_iter a, b;
	struct span none, one, other;
	bool more_a, more_b;

	json_iter_init(&a, theirs);
	json_iter_init(&b, ours);
	for (;;) {
		more_a = json_next(&a, &none, &one);
		more_b = json_next(&b, &none, &other);
		if (!more_a || !more_b)
			break;
		compare(p, key, one, other);
	}
	if (more_a != more_b)
		mismatch(p, "%s has %s elements", key, more_a ? "fewer" : "more");
}

static void
compare(struct player *p, const char *key, struct span theirs, struct span ours)
{
	struct buf want = { 0 };

	if (json_type(theirs) == JSON_OBJECT && json_type(ours) == JSON_OBJECT) {
		compare_objects(p, theirs, ours);
		return;
	}
	if (json_type(theirs) == JSON_ARRAY && json_type(ours) == JSON_ARRAY) {
		compare_arrays(p, key, theirs, ours);
		return;
	}
	if (strcmp(key, "id") == 0 || strstr(key, "_id") != NULL ||
	    strcmp(key, "invited_by") == 0 || strstr(key, "_at") != NULL ||
	    strstr(key, "_time") != NULL || is_code(key)) {
		if (!same_volatile(p, key, theirs, ours))
			mismatch(p, "%s is %.*s", key, (int)ours.len, ours.p);
		return;
	}
	translate(p, theirs, &want);
	if (!json_equal(buf_span(&want), ours))
		mismatch(p, "%s is %.*s, not %.*s", key, (int)ours.len, ours.p,
		         (int)want.len, want.p);
	buf_free(&want);
}

/* --- pushes --- */

/* Takes acks and rejections in the order of the request's events. */
struct outcomes {
	struct span acks[1001], rejected[1001];
	size_t n_acks, n_rejected, ack, rejection;
};

static size_t
elements(struct span array, struct span *out, size_t max)
{
	struct json_iter it;
	struct span key, value;
	size_t n = 0;

	json_iter_init(&it, array);
	while (json_next(&it, &key, &value) && n < max)
		out[n++] = value;
	return n;
}

static struct outcomes *
outcomes_of(struct span answer)
{
	struct outcomes *o = calloc(1, sizeof(*o));

	o->n_acks = elements(member(answer, "acks"), o->acks, 1001);
	o->n_rejected = elements(member(answer, "rejected"), o->rejected, 1001);
	return o;
}

/* What became of the next event, by its action id: *seq its place (0: none),
 * *reason why it was rejected, empty where it was not. */
static bool
next_outcome(struct outcomes *o, int64_t action, int64_t *seq, struct span *reason)
{
	*seq = 0;
	*reason = (struct span){ NULL, 0 };
	if (o->ack < o->n_acks && number(o->acks[o->ack], "client_action_id") == action) {
		*seq = number(o->acks[o->ack++], "server_seq");
		return true;
	}
	if (o->rejection < o->n_rejected &&
	    number(o->rejected[o->rejection], "client_action_id") == action) {
		*seq = number(o->rejected[o->rejection], "server_seq");
		*reason = plain(member(o->rejected[o->rejection++], "reason"));
		return true;
	}
	return false;
}

static void
compare_event_outcome(struct player *p, int64_t action, int64_t their_seq,
                      struct span theirs, int64_t seq, struct span ours)
{
	bool they_took = theirs.len == 0, we_took = ours.len == 0;

	if (p->elsewhere) {
		if (!they_took || !we_took || their_seq != seq)
			mismatch(p, "got seq %lld", (long long)seq);
	} else if (they_took && we_took) {
		link_seq(p, their_seq, seq);
		if (seq != p->head)
			mismatch(p, "action %lld got seq %lld, the head is %lld",
			         (long long)action, (long long)seq, (long long)p->head);
	} else if (they_took && span_is(ours, "duplicate")) {
		p->found |= RETRY;
		link_seq(p, their_seq, 0);
		p->ours[their_seq] = seq;
		p->retried[their_seq] = true;
	} else if (we_took && span_is(theirs, "duplicate")) {
		p->found |= p->only[seq] = CONTENT;
		link_seq(p, 0, seq);
	} else if (span_is(ours, "missing payload") && their_seq == 0) {
		p->found |= PAYLOAD;
	} else if (!span_eq(theirs, ours) || (their_seq == 0) != (seq == 0) ||
	           (seq != 0 && p->ours[their_seq] != seq)) {
		mismatch(p, "action %lld: %.*s of %lld, not %.*s of %lld", (long long)action,
		         (int)ours.len, ours.p, (long long)seq, (int)theirs.len, theirs.p,
		         (long long)their_seq);
	}
}

/* What a push holds that the Go server refused as a whole, and we took. */
static void
learn_unknown(struct player *p, struct outcomes *o)
{
	for (size_t i = 0; i < o->n_acks; i++) {
		link_seq(p, 0, number(o->acks[i], "server_seq"));
		p->only[number(o->acks[i], "server_seq")] = UNKNOWN;
	}
	p->found |= UNKNOWN;
}

static void
compare_push(struct player *p, struct span request, struct span theirs, struct span ours)
{
	struct outcomes *a = outcomes_of(theirs), *b = outcomes_of(ours);
	struct span event, key, their_reason, our_reason, events = member(request, "events");
	struct json_iter it;
	int64_t action, their_seq, our_seq;

	if (json_get(theirs, "error", &key) && b->n_acks > 0)
		learn_unknown(p, b);
	json_iter_init(&it, events);
	while (p->found != UNKNOWN && json_next(&it, &key, &event)) {
		action = number(event, "client_action_id");
		if (!next_outcome(a, action, &their_seq, &their_reason) ||
		    !next_outcome(b, action, &our_seq, &our_reason)) {
			mismatch(p, "action %lld has no outcome", (long long)action);
			break;
		}
		compare_event_outcome(p, action, their_seq, their_reason, our_seq, our_reason);
	}
	if (a->n_acks != 0 && b->n_acks != 0 &&
	    number(ours, "accepted") != (int64_t)b->n_acks)
		mismatch(p, "accepted is not the number of acks");
	if (b->n_acks == 0 && json_type(member(ours, "acks")) != JSON_NULL)
		mismatch(p, "acks is not null");
	if (b->n_rejected == 0 && json_get(ours, "rejected", &key))
		mismatch(p, "rejected is there, and empty");
	free(a);
	free(b);
}

/* --- pulls --- */

/* An event that both sent: all recorded members, and our two. */
static void
compare_event(struct player *p, struct span theirs, struct span ours)
{
	static const char *const more[] = { "user_id", "server_timestamp" };
	struct span key, value, mine;
	struct json_iter it;
	struct instant at;
	size_t n = 0, extra = 0;
	char name[64];

	json_iter_init(&it, theirs);
	for (; json_next(&it, &key, &value); n++) {
		snprintf(name, sizeof(name), "%.*s", (int)plain(key).len, plain(key).p);
		if (strcmp(name, "server_seq") == 0)
			continue;
		if (!json_get(ours, name, &mine) || !json_equal(value, mine))
			mismatch(p, "%s of seq %lld is %.*s, not %.*s", name,
			         (long long)number(ours, "server_seq"), (int)mine.len, mine.p,
			         (int)value.len, value.p);
	}
	json_iter_init(&it, ours);
	while (json_next(&it, &key, &value))
		for (size_t i = 0; i < 2; i++)
			extra += json_string_is(key, more[i]);
	if (extra == 2 && id_is(plain(member(ours, more[0])), "u_", 16) &&
	    time_parse_rfc3339(plain(member(ours, more[1])), &at))
		p->everywhere |= MEMBERS;
	else
		mismatch(p, "user_id or server_timestamp is not right");
	json_iter_init(&it, ours);
	while (json_next(&it, &key, &value))
		n--;
	if (n + 2 != 0)
		mismatch(p, "an event has other members");
}

/*
 * Two pages: event by event in the order of the log. One that only the Go
 * server holds was a retry here; one that only we hold, or that it left out
 * for exclude_client, is a difference, too. Such differences may leave the end
 * of its page to our next one.
 */
static void
compare_pages(struct player *p, struct span theirs, struct span ours, bool excluded)
{
	static struct span a[10001], b[10001];
	size_t n_a = elements(member(theirs, "events"), a, 10001);
	size_t n_b = elements(member(ours, "events"), b, 10001), i = 0, j = 0;
	int64_t last = number(ours, "last_server_seq"), seq = 0;

	while (i < n_a && j < n_b) {
		int64_t their_seq = number(a[i], "server_seq");

		seq = number(b[j], "server_seq");
		if (p->only[seq] != 0) {
			p->found |= p->only[seq];
			j++;
		} else if (p->retried[their_seq]) {
			p->found |= RETRY;
			i++;
		} else if (p->theirs[seq] == their_seq) {
			compare_event(p, a[i++], b[j++]);
		} else if (p->theirs[seq] < their_seq && excluded) {
			p->found |= OWN;
			j++;
		} else {
			mismatch(p, "seq %lld where theirs is %lld", (long long)seq,
			         (long long)their_seq);
			return;
		}
	}
	for (; i < n_a && p->found == 0; i++)
		mismatch(p, "event %lld is missing", (long long)number(a[i], "server_seq"));
	for (; j < n_b && (excluded || p->only[number(b[j], "server_seq")] != 0); j++)
		p->found |= excluded ? OWN : p->only[number(b[j], "server_seq")];
	if (j < n_b && p->found == 0)
		mismatch(p, "events more");
	if (n_b > 0 && number(b[n_b - 1], "server_seq") != last)
		mismatch(p, "last_server_seq is not the last one's");
	if (n_b == 0 && last != our_cursor(p, number(theirs, "last_server_seq")))
		mismatch(p, "an empty page moves the cursor");
	if (p->found == 0 &&
	    json_type(member(theirs, "has_more")) != json_type(member(ours, "has_more")))
		mismatch(p, "has_more differs");
}

/* --- pages and pushes whose bodies were too long to record --- */

static void
write_notes(struct player *p, int n, const char *device, struct buf *out)
{
	(void)p;
	buf_addf(out, "{\"device_id\":\"%s\",\"session_id\":\"ses_000001\",\"events\":[", device);
	for (int i = 2000; i < 2000 + n; i++)
		buf_addf(out, "%s{\"client_action_id\":%d,\"action_type\":\"create\","
		         "\"entity_type\":\"notes\",\"entity_id\":\"nt-%06x\",\"payload\":"
		         "{\"schema_version\":1,\"new_data\":{\"id\":\"nt-%06x\",\"title\":\"N\","
		         "\"content\":\"\",\"created_at\":\"2026-03-01T10:00:00Z\","
		         "\"updated_at\":\"2026-03-01T10:00:00Z\"},\"previous_data\":{}},"
		         "\"client_timestamp\":\"2026-03-01T10:00:00Z\"}", i > 2000 ? "," : "", i, i, i);
	buf_add_str(out, "]}");
}

static void
write_large(size_t bytes, int action, struct buf *out)
{
	buf_addf(out, "{\"device_id\":\"device-1\",\"session_id\":\"ses_000001\",\"events\":["
	         "{\"client_action_id\":%d,\"action_type\":\"create\",\"entity_type\":\"issues\","
	         "\"entity_id\":\"td-large\",\"payload\":{\"schema_version\":1,\"new_data\":"
	         "{\"id\":\"td-large\",\"title\":\"L\",\"description\":\"", action);
	for (size_t i = 0; i < bytes; i++)
		buf_add_byte(out, 'y');
	buf_add_str(out, "\"},\"previous_data\":{}},\"client_timestamp\":\"2026-03-01T10:00:51Z\"}]}");
}

/* The request's body where the recording only describes it. */
static void
make_body(struct player *p, struct span request, struct buf *out)
{
	int64_t length = 0;
	struct buf text = { 0 };

	json_string(member(member(request, "headers"), "Content-Length"), &text);
	length = buf_cstr(&text) != NULL ? atoll(text.p) : 0;
	buf_free(&text);
	if (strcmp(p->name, "1001 events") == 0)
		write_notes(p, 1001, "device-1", out);
	else if (strcmp(p->name, "1000 events") == 0)
		write_notes(p, 1000, "device-9", out);
	else if (strcmp(p->name, "body above 10 MiB") == 0)
		write_large(10 << 20, 50, out);
	else if (strcmp(p->name, "1 MiB payload (another project)") == 0)
		write_large(1 << 20, 51, out);
	else
		mismatch(p, "a body that nobody knows");
	if (strstr(p->name, "events") != NULL)
		ck_assert_int_eq((int64_t)out->len, length); /* the very same bytes */
}

/* The answer where the recording only describes it. */
static void
compare_described(struct player *p, struct span ours)
{
	static struct span list[10001];
	size_t n = elements(member(ours, "events"), list, 10001);

	if (strcmp(p->name, "1000 events") == 0) {
		n = elements(member(ours, "acks"), list, 10001);
		if (n != 1000 || number(ours, "accepted") != 1000)
			mismatch(p, "%zu acks", n);
		for (size_t i = 0; i < n; i++) {
			if (number(list[i], "client_action_id") != 2000 + (int64_t)i ||
			    number(list[i], "server_seq") != p->head + 1)
				mismatch(p, "ack %zu is not in its place", i);
			link_seq(p, 38 + (int64_t)i, p->head + 1);
		}
		return;
	}
	/* A page of 1,000 numbers, whatever was asked for. */
	if (number(ours, "last_server_seq") != 1000 ||
	    json_type(member(ours, "has_more")) != JSON_TRUE || n < 990 || n > 1000)
		mismatch(p, "%zu events, last_server_seq %lld", n,
		         (long long)number(ours, "last_server_seq"));
	if (strstr(p->name, "capped") != NULL)
		p->found |= BLOCK;
}

/* --- answers --- */

static const char *
our_token(const struct player *p, struct span theirs)
{
	for (size_t i = 0; p->tokens[i].theirs != NULL; i++)
		if (span_is(theirs, p->tokens[i].theirs))
			return p->tokens[i].ours;
	return our_id(p, theirs); /* of a login that was played */
}

/* The Authorization header, with our token where theirs is known. */
static void
set_authorization(struct player *p, struct span request, struct web_call *call,
                  struct buf *line)
{
	struct span header = plain(member(member(request, "headers"), "Authorization"));
	static const char bearer[] = "Bearer ";
	struct span token = header;

	if (header.p == NULL)
		return;
	if (header.len > 7 && memcmp(header.p, bearer, 7) == 0)
		token = (struct span){ header.p + 7, header.len - 7 };
	call->token = our_token(p, token);
	if (call->token != NULL)
		return;
	buf_add_str(line, "Authorization: ");
	buf_add_span(line, header);
	call->headers[0] = buf_cstr(line);
}

/* The path and its query, with our ids and our cursor. */
static void
set_path(struct player *p, struct span request, struct buf *path)
{
	struct span query = plain(member(request, "query"));
	static const char after[] = "after_server_seq=";

	translate(p, plain(member(request, "path")), path);
	if (query.len == 0)
		return;
	buf_add_byte(path, '?');
	for (size_t i = 0; i < query.len; i++) {
		const struct pair *pair = pair_at(p, (struct span){ query.p + i, query.len - i });
		size_t digits = i + sizeof(after) - 1, end;

		if (pair != NULL) {
			buf_add_str(path, pair->ours);
			i += strlen(pair->theirs) - 1;
			continue;
		}
		buf_add_byte(path, query.p[i]);
		if (query.len - i < sizeof(after) ||
		    memcmp(query.p + i, after, sizeof(after) - 1) != 0)
			continue;
		for (end = digits; end < query.len && query.p[end] >= '0' && query.p[end] <= '9';)
			end++;
		if (end == digits || end - digits > 6)
			continue;
		buf_add_str(path, after + 1);
		buf_add_int(path, our_cursor(p, atoll(query.p + digits)));
		i = end - 1;
	}
}

/* Whose numbers count: a new project starts over. */
static void
watch_project(struct player *p, struct span path)
{
	const char *at = strstr(path.p, "/v1/projects/p_");
	char id[ID_MAX];

	p->elsewhere = false;
	if (at == NULL || at >= path.p + path.len)
		return;
	snprintf(id, sizeof(id), "%.18s", at + 13);
	p->elsewhere = strstr(p->name, "another project") != NULL ||
	               strcmp(id, "p_0000000000000000") == 0;
	if (strcmp(id, p->project) != 0 && !p->elsewhere)
		forget_seqs(p, id);
}

/* Whether our message is theirs and, after a colon, the cause. */
static bool
says_more(struct span theirs, struct span ours)
{
	size_t n = theirs.len - 1; /* without the quote */

	return ours.len > n && memcmp(theirs.p, ours.p, n) == 0 && ours.p[n] == ':';
}

static void
compare_error(struct player *p, struct span theirs, struct span ours)
{
	struct span a = member(theirs, "error"), b = member(ours, "error");

	if (!json_equal(member(a, "code"), member(b, "code")))
		mismatch(p, "the code is %.*s", (int)member(b, "code").len, member(b, "code").p);
	else if (strcmp(p->file, "13-auth-errors") == 0 &&
	         json_string_is(member(a, "code"), "insufficient_scope") &&
	         !json_equal(member(a, "message"), member(b, "message")))
		p->found |= SCOPES;
	else if (!says_more(member(a, "message"), member(b, "message")))
		compare_objects(p, theirs, ours);
}

static void
compare_bodies(struct player *p, struct span request, struct span sent,
               struct span theirs, struct span ours)
{
	struct span path = plain(member(request, "path")), ignored;
	bool push = strstr(p->name, "wrong") == NULL && path.len > 10 &&
	            memcmp(path.p + path.len - 10, "/sync/push", 10) == 0;
	struct span query = plain(member(request, "query"));

	if (theirs.p == NULL)
		compare_described(p, ours);
	else if (json_get(theirs, "error", &ignored) && !json_get(ours, "accepted", &ignored))
		compare_error(p, theirs, ours);
	else if (push)
		compare_push(p, sent, theirs, ours);
	else if (json_get(theirs, "events", &ignored))
		compare_pages(p, theirs, ours,
		              query.p != NULL && memmem(query.p, query.len, "exclude_client", 14));
	else if (json_get(theirs, "event_count", &ignored)) {
		if (number(ours, "last_server_seq") != p->head ||
		    number(ours, "event_count") != p->head)
			mismatch(p, "the head is not %lld", (long long)p->head);
		if ((p->head > 0) != json_get(ours, "last_event_time", &ignored))
			mismatch(p, "last_event_time");
	} else
		compare(p, "body", theirs, ours);
}

/* The named differences of this exchange; 0: none. *row is its place. */
static unsigned
expected(struct player *p, size_t *row)
{
	for (*row = 0; *row < NAMED; ++*row)
		if (strncmp(named[*row].file, p->file, 2) == 0 &&
		    strcmp(named[*row].name, p->name) == 0 &&
		    (named[*row].index == 0 || named[*row].index == p->index))
			return named[*row].what;
	return 0;
}

/* An exchange whose status is knowingly another one. */
static void
compare_status(struct player *p, size_t row, int theirs, struct span ours)
{
	struct span code = member(member(ours, "error"), "code");

	if (theirs == named[row].status || p->answer.status != named[row].status)
		mismatch(p, "status %d, not %d as named", p->answer.status, named[row].status);
	if (named[row].code != NULL && !json_string_is(code, named[row].code))
		mismatch(p, "the code is %.*s", (int)code.len, code.p);
	p->found |= named[row].what & ~(unsigned)(UNKNOWN | TEXT);
}

/* A snapshot, whose bytes are others here: it is one, of our log's end. */
static void
judge_snapshot(struct player *p, int status)
{
	static const char magic[] = "SQLite format 3";
	int64_t seq = atoll(web_header(&p->answer, "X-Snapshot-Seq"));
	size_t length = (size_t)atoll(web_header(&p->answer, "Content-Length")), row;
	struct buf *body = &p->answer.body;
	unsigned want = expected(p, &row);

	if ((want & RANGE) != 0 && p->answer.status == named[row].status) {
		p->found |= RANGE;
		p->seen[row] = true;
	} else if (p->answer.status != status) {
		mismatch(p, "status %d, not %d", p->answer.status, status);
	}
	if (strcmp(web_header(&p->answer, "Content-Type"), "application/x-sqlite3") != 0)
		mismatch(p, "Content-Type is %s", web_header(&p->answer, "Content-Type"));
	if (seq < 1 || seq > p->head)
		mismatch(p, "X-Snapshot-Seq is %lld, the head %lld", (long long)seq,
		         (long long)p->head);
	if (strstr(p->name, "HEAD") != NULL ? body->len != 0 || length < 100000 :
	    body->len != length || memcmp(body->p, magic, sizeof(magic)) != 0)
		mismatch(p, "no database of %zu bytes", length);
	if (p->found != want)
		mismatch(p, "differences %#x, named are %#x", p->found, want);
}

/* A page for people: ours has another look, the same title, and all that theirs says. */
static void
compare_pages_of_text(struct player *p, const char *theirs)
{
	const char *ours = p->answer.body.p, *at = strstr(theirs, "<title>"), *end;
	char text[200];

	if (strcmp(web_header(&p->answer, "Content-Type"), "text/html; charset=utf-8") != 0)
		mismatch(p, "Content-Type is %s", web_header(&p->answer, "Content-Type"));
	ck_assert(at != NULL && (end = strstr(at, " - td</title>")) != NULL);
	snprintf(text, sizeof(text), "%.*s - td-sync</title>", (int)(end - at), at);
	if (strstr(ours, text) == NULL)
		mismatch(p, "the title is not %s", text);
	at = strstr(at, "</style>");
	while (at != NULL && (at = strchr(at, '>')) != NULL) {
		at += 1 + strspn(at + 1, " \n\t");
		snprintf(text, sizeof(text), "%.*s", (int)strcspn(at, "<\n"), at);
		if (strstr(ours, text) == NULL)
			mismatch(p, "the page does not say: %s", text);
	}
}

static void
judge(struct player *p, struct span request, struct span sent, struct span response)
{
	struct span theirs = { NULL, 0 }, ours = { NULL, 0 };
	struct buf body = { 0 }, type = { 0 }, header = { 0 };
	int status = (int)number(response, "status");
	struct span headers = member(response, "headers");
	bool plain_text, page;
	unsigned want;
	size_t row;

	want = expected(p, &row);
	json_string(member(headers, "Content-Type"), &type);
	if (strcmp(buf_cstr(&type), "application/x-sqlite3") == 0) {
		judge_snapshot(p, status);
		buf_free(&type);
		return;
	}
	plain_text = strncmp(buf_cstr(&type), "text/plain", 10) == 0;
	/* (A redirect's is no page.) */
	page = strncmp(buf_cstr(&type), "text/html", 9) == 0 && status != 307;
	if (json_string(member(response, "body"), &body) && body.len > 0 && !plain_text &&
	    !page && status != 307)
		ck_assert_int_eq(json_scan(buf_span(&body), 64, &theirs, NULL, NULL), RC_OK);
	if (page) {
		compare_pages_of_text(p, buf_cstr(&body));
	} else if (p->answer.body.len > 0) {
		if (json_scan(buf_span(&p->answer.body), 64, &ours, NULL, NULL) != RC_OK ||
		    !web_is_json(&p->answer))
			mismatch(p, "the body is no JSON with a newline");
		if (strcmp(web_header(&p->answer, "Content-Type"), "application/json") != 0)
			mismatch(p, "Content-Type is %s", web_header(&p->answer, "Content-Type"));
	}
	if (!id_is(span_of(web_header(&p->answer, "X-Request-Id")), "", 32) ||
	    web_header_count(&p->answer, "X-Request-Id") != 1)
		mismatch(p, "no X-Request-Id");
	if (want != 0 && named[row].status != 0)
		compare_status(p, row, status, ours);
	else if (p->answer.status != status)
		mismatch(p, "status %d, not %d", p->answer.status, status);
	if (plain_text && status >= 400) {
		p->everywhere |= TEXT;
		if (member(ours, "error").p == NULL && !span_is(member(request, "method"), "\"HEAD\""))
			mismatch(p, "no JSON error");
	} else if (!page && ((want & UNKNOWN) != 0 || named[row < NAMED ? row : 0].status == 0 || want == 0)) {
		if (p->answer.body.len > 0 || theirs.p != NULL)
			compare_bodies(p, request, sent, theirs, ours);
	}
	if (json_string(member(headers, "Allow"), &header) &&
	    strcmp(buf_cstr(&header), web_header(&p->answer, "Allow")) != 0)
		mismatch(p, "Allow is %s", web_header(&p->answer, "Allow"));
	buf_reset(&header);
	if (json_string(member(headers, "Referrer-Policy"), &header) &&
	    strcmp(buf_cstr(&header), web_header(&p->answer, "Referrer-Policy")) != 0)
		mismatch(p, "Referrer-Policy is %s", web_header(&p->answer, "Referrer-Policy"));
	buf_reset(&header);
	if (json_string(member(headers, "Location"), &header)) {
		const char *base = strchr(p->site->url + 8, '/');
		struct buf to = { 0 };

		buf_addf(&to, "%s%s", base != NULL ? base : "", buf_cstr(&header));
		if (strstr(web_header(&p->answer, "Location"), buf_cstr(&to)) == NULL)
			mismatch(p, "Location is %s", web_header(&p->answer, "Location"));
		buf_free(&to);
	}
	if ((p->found | (want & TEXT)) != want)
		mismatch(p, "differences %#x, named are %#x", p->found, want);
	if (row < NAMED)
		p->seen[row] = true;
	buf_free(&body);
	buf_free(&type);
	buf_free(&header);
}

/* --- what happened beside the exchanges --- */

/* The token of the last link in a text, SELECTOR.SECRET; empty: there is none. */
static struct span
last_link(const char *text)
{
	static const char before[] = "approve?token=";
	struct span link = { NULL, 0 };

	for (const char *at = text; (at = strstr(at, before)) != NULL; at++) {
		link.p = at + sizeof(before) - 1;
		link.len = strspn(link.p, "0123456789abcdef.");
	}
	return link;
}

/* Our last mail's link. Free the text. */
static struct span
our_link(const struct player *p, struct buf *text)
{
	char path[PATH_MAX + 16];

	snprintf(path, sizeof(path), "%s/mail.txt", p->site->dir);
	fs_read(path, 1 << 20, text, NULL);
	ck_assert_ptr_nonnull(buf_cstr(text));
	return last_link(text->p);
}

/* The Go server's look-up of the last mail is not ours: its link is learned. */
static void
learn_mail(struct player *p, struct span response)
{
	struct buf theirs = { 0 }, ours = { 0 };
	struct span a, b;

	json_string(member(response, "body"), &theirs);
	ck_assert_ptr_nonnull(buf_cstr(&theirs));
	a = last_link(theirs.p);
	b = our_link(p, &ours);
	if (a.len > 0) {
		ck_assert_uint_eq(a.len, b.len);
		learn_id(p, a, b);
		/* And its selector, which the recordings have with a wrong secret. */
		learn_id(p, (struct span){ a.p, strcspn(a.p, ".") },
		         (struct span){ b.p, strcspn(b.p, ".") });
	}
	buf_free(&theirs);
	buf_free(&ours);
}

static void
change(const struct player *p, const char *sql)
{
	char path[PATH_MAX + 16];
	struct err err;
	sqlite3 *db;

	snprintf(path, sizeof(path), "%s/server.db", p->site->data);
	ck_assert_msg(db_open(path, DB_SERVER, &db, &err) == RC_OK, "%s", err.text);
	ck_assert_msg(db_exec(db, sql, &err) == RC_OK, "%s", err.text);
	sqlite3_close(db);
}

static void
follow_link(struct player *p)
{
	struct buf mail = { 0 }, path = { 0 };
	struct web_call call = { .url = p->site->url };

	buf_add_str(&path, "/auth/device/approve?token=");
	buf_add_span(&path, our_link(p, &mail));
	call.path = buf_cstr(&path);
	if (!web_call(&call, &p->answer) || p->answer.status != 200)
		mismatch(p, "the mailed link can't be followed");
	buf_free(&path);
	buf_free(&mail);
}

static void
do_deeds(struct player *p)
{
	for (size_t i = 0; i < sizeof(deeds) / sizeof(deeds[0]); i++)
		if (strcmp(deeds[i].file, p->file) == 0 && deeds[i].index == p->index) {
			if (deeds[i].sql != NULL)
				change(p, deeds[i].sql);
			else
				follow_link(p);
		}
}

/* --- one exchange, and all of them --- */

static void
play_one(struct player *p, struct span exchange)
{
	struct span request = member(exchange, "request");
	struct buf name = { 0 }, body = { 0 }, path = { 0 }, method = { 0 }, line = { 0 };
	struct buf sent = { 0 }, range = { 0 };
	struct web_call call = { .url = p->site->url };
	struct span parsed = { NULL, 0 };

	json_string(member(exchange, "name"), &name);
	p->name = buf_cstr(&name);
	p->found = 0;
	do_deeds(p);
	watch_project(p, plain(member(request, "path")));
	set_path(p, request, &path);
	set_authorization(p, request, &call, &line);
	if (json_type(member(request, "body")) == JSON_NULL)
		make_body(p, request, &body);
	else
		json_string(member(request, "body"), &body);
	translate(p, buf_span(&body), &sent);
	json_string(member(request, "method"), &method);
	call.method = buf_cstr(&method);
	call.path = buf_cstr(&path);
	buf_add_str(&range, "Range: ");
	if (json_string(member(member(request, "headers"), "Range"), &range))
		call.headers[call.headers[0] != NULL] = buf_cstr(&range);
	if (sent.len > 0 || strcmp(call.method, "POST") == 0)
		call.body = (struct span){ buf_cstr(&sent), sent.len };
	if (!web_call(&call, &p->answer))
		mismatch(p, "no answer");
	else {
		json_scan(buf_span(&sent), 64, &parsed, NULL, NULL);
		judge(p, request, parsed, member(exchange, "response"));
	}
	buf_free(&name);
	buf_free(&body);
	buf_free(&sent);
	buf_free(&range);
	buf_free(&path);
	buf_free(&method);
	buf_free(&line);
}

static void
play_file(struct player *p, const char *file, int from, int to)
{
	struct buf text = { 0 };
	char path[512];
	struct span rest, exchange;
	struct err err;

	snprintf(path, sizeof(path), TOP_BUILDDIR "/tests/fixtures/http/%s.jsonl", file);
	ck_assert_msg(fs_read(path, 16 << 20, &text, &err) == RC_OK, "%s", err.text);
	p->file = file;
	rest = buf_span(&text);
	for (int i = 0; i <= to; i++) {
		ck_assert_int_eq(json_scan(rest, 64, &exchange, &rest, &err), RC_OK);
		p->index = i;
		if (i < from)
			continue;
		if (json_string_is(member(member(exchange, "request"), "path"),
		                   "/internal/dev/last-email"))
			learn_mail(p, member(exchange, "response"));
		else
			play_one(p, exchange);
	}
	buf_free(&text);
}

/* --- the people of the recordings --- */

static const char *const people[] = { "owner", "writer", "reader", "stranger", "alice", "bob" };

static void
add_token(struct player *p, const char *theirs, char *ours)
{
	size_t i;

	for (i = 0; p->tokens[i].theirs != NULL; i++)
		;
	p->tokens[i].theirs = theirs;
	p->tokens[i].ours = ours;
}

static void
make_people(struct player *p)
{
	static const char *const tokens[] = {
		"td_live_EXAMPLEowner00000000000000000000",
		"td_live_EXAMPLEwriter0000000000000000000",
		"td_live_EXAMPLEreader0000000000000000000",
		"td_live_EXAMPLEstranger00000000000000000",
	};
	const unsigned all = SCOPE_READ | SCOPE_WRITE | SCOPE_PROJECT_ADMIN;
	char ids[6][ID_MAX], email[64], jti[ID_MAX];
	struct accounts *a;

	for (size_t i = 0; i < 6; i++) {
		snprintf(email, sizeof(email), "%s@example.com", people[i]);
		site_user(p->site, email, ids[i]);
		if (i < sizeof(tokens) / sizeof(tokens[0])) /* the others log in */
			add_token(p, tokens[i], site_token(p->site, ids[i], all, NULL, NULL));
	}
	/* The one user whose id a request names before any answer did. */
	learn_id(p, span_of("u_e531e25665bab8d6"), span_of(ids[2]));
	add_token(p, "td_live_EXAMPLEnoscope000000000000000000",
	          site_token(p->site, ids[0], SCOPE_SERVER_ADMIN, NULL, NULL));
	add_token(p, "td_live_EXAMPLErevoked000000000000000000",
	          site_token(p->site, ids[0], all, NULL, jti));
	ck_assert_int_eq(accounts_open(p->site->data, &a, NULL), RC_OK);
	ck_assert_int_eq(token_revoke(a, jti, NULL), RC_OK);
	accounts_close(a);
	add_token(p, "td_live_EXAMPLEexpired000000000000000000", site_expired_token(p->site, ids[0]));
}

static void
play_scene(struct player *p, enum site_kind kind, const struct scene *scene)
{
	char config[500];
	struct site_options options = { .kind = kind, .config = config };
	struct site site;

	snprintf(config, sizeof(config), "%s%s", common, scene->config);
	ck_assert(site_start(&site, &options));
	p->site = &site;
	forget_seqs(p, "");
	if (scene == scenes) /* the others' begin with nobody */
		make_people(p);
	for (size_t i = 0; scene->parts[i].file != NULL; i++)
		play_file(p, scene->parts[i].file, scene->parts[i].from, scene->parts[i].to);
	if (p->wrong > 0)
		site_print_logs(&site);
	for (size_t i = 0; p->tokens[i].theirs != NULL; i++)
		free(p->tokens[i].ours);
	memset(p->tokens, 0, sizeof(p->tokens));
	forget_ids(p);
	ck_assert(site_stop(&site));
	p->site = NULL;
}

static void
play_all(enum site_kind kind)
{
	struct player p = { .file = "", .name = "" };

	for (size_t i = 0; i < sizeof(scenes) / sizeof(scenes[0]); i++)
		play_scene(&p, kind, &scenes[i]);
	for (size_t i = 0; i < NAMED; i++)
		if (!p.seen[i])
			mismatch(&p, "named, but not played: %s \"%s\"", named[i].file, named[i].name);
	if (p.everywhere != (TEXT | MEMBERS | GAP))
		mismatch(&p, "of the differences everywhere only %#x occurred", p.everywhere);
	web_free(&p.answer);
	ck_assert_int_eq(p.wrong, 0);
}

START_TEST(recordings_get_the_same_answers_from_workers_behind_nginx)
{
	play_all(SITE_FASTCGI);
}
END_TEST

START_TEST(recordings_get_the_same_answers_from_cgi)
{
	play_all(SITE_CGI);
}
END_TEST

TCase *
recordings_case(void)
{
	TCase *tc = tcase_create("recordings");

	tcase_set_timeout(tc, 120);
	if (http_can_run(SITE_FASTCGI))
		tcase_add_test(tc, recordings_get_the_same_answers_from_workers_behind_nginx);
	tcase_add_test(tc, recordings_get_the_same_answers_from_cgi);
	return tc;
}
