/* A ledger for tests that torture a server, see ledger.h. */
#include "ledger.h"

#include "base/json.h"

#include <limits.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEVICES 256
#define NONE SIZE_MAX

struct entry {
	int64_t action_id; /* the device's number for it */
	int64_t seq;       /* its place as acked; 0: not yet */
};

struct ledger {
	pthread_mutex_t mutex;
	struct entry *entries;
	size_t n, cap, acked;
	int64_t next_action[DEVICES];
};

static bool __attribute__((format(printf, 1, 2)))
wrong(const char *fmt, ...)
{
	va_list ap;

	fputs("ledger: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	return false;
}

static void *
grow(void *p, size_t *cap, size_t need, size_t size)
{
	if (need > *cap) {
		*cap = need * 2;
		p = realloc(p, *cap * size);
		if (p == NULL)
			abort();
	}
	return p;
}

struct ledger *
ledger_new(void)
{
	struct ledger *l = calloc(1, sizeof(*l));

	if (l == NULL)
		abort();
	pthread_mutex_init(&l->mutex, NULL);
	return l;
}

void
ledger_free(struct ledger *l)
{
	pthread_mutex_destroy(&l->mutex);
	free(l->entries);
	free(l);
}

size_t
ledger_make(struct ledger *l, int device, size_t n)
{
	size_t first;

	pthread_mutex_lock(&l->mutex);
	first = l->n;
	l->entries = grow(l->entries, &l->cap, l->n + n, sizeof(*l->entries));
	for (; l->n < first + n; l->n++)
		l->entries[l->n] = (struct entry){ ++l->next_action[device], 0 };
	pthread_mutex_unlock(&l->mutex);
	return first;
}

static struct entry
entry(struct ledger *l, size_t i)
{
	struct entry e = { 0 };

	pthread_mutex_lock(&l->mutex);
	if (i < l->n)
		e = l->entries[i];
	pthread_mutex_unlock(&l->mutex);
	return e;
}

size_t
ledger_acked(struct ledger *l)
{
	size_t n;

	pthread_mutex_lock(&l->mutex);
	n = l->acked;
	pthread_mutex_unlock(&l->mutex);
	return n;
}

size_t
ledger_made(struct ledger *l)
{
	size_t n;

	pthread_mutex_lock(&l->mutex);
	n = l->n;
	pthread_mutex_unlock(&l->mutex);
	return n;
}

/* The payload of an event: of many lengths (one in 32 needs pages of its own),
 * with what a careless copy would change. */
static void
add_payload(struct buf *out, size_t i)
{
	size_t length = i % 32 == 7 ? 6000 + i % 5000 : i * 2654435761u % 600;

	buf_addf(out, "{ \"schema_version\":1,\"new_data\":{\"id\":\"td-%zu\","
	         "\"title\":\"\\u00fc \xc3\xbc \\/ <&> %zu\",\"points\":-0,"
	         "\"sprint\":12345678901234567890123,\"description\":\"", i, i);
	for (size_t k = 0; k < length; k++)
		buf_add_byte(out, (char)('a' + (i + k) % 26));
	buf_add_str(out, "\"},\t\"previous_data\":{}}");
}

void
ledger_write_push(struct ledger *l, size_t first, size_t n, const char *device,
                  const char *session, struct buf *out)
{
	buf_addf(out, "{\"device_id\":\"%s\",\"session_id\":\"%s\",\"events\":[", device,
	         session);
	for (size_t i = first; i < first + n; i++) {
		buf_addf(out, "%s{\"client_action_id\":%lld,\"action_type\":\"create\","
		         "\"entity_type\":\"issues\",\"entity_id\":\"td-%zu\",\"client_timestamp\":"
		         "\"2026-03-01T10:00:00Z\",\"payload\":", i > first ? "," : "",
		         (long long)entry(l, i).action_id, i);
		add_payload(out, i);
		buf_add_byte(out, '}');
	}
	buf_add_str(out, "]}");
}

/* --- answers --- */

/* Note that an event's number is seq. */
static bool
note(struct ledger *l, size_t i, int64_t seq)
{
	struct entry *e;
	int64_t had;

	pthread_mutex_lock(&l->mutex);
	e = &l->entries[i];
	had = e->seq;
	if (had == 0)
		l->acked++;
	e->seq = seq;
	pthread_mutex_unlock(&l->mutex);
	if (seq < 1)
		return wrong("event %zu is acked without a number", i);
	if (had != 0 && had != seq)
		return wrong("event %zu is acked as %lld, then as %lld", i, (long long)had,
		             (long long)seq);
	return true;
}

/* Note the numbers in one list of an answer; *seen counts them. */
static bool
take_list(struct ledger *l, size_t first, size_t n, struct span list, size_t *seen)
{
	struct span key, one, value;
	struct json_iter it;

	json_iter_init(&it, list);
	while (json_next(&it, &key, &one)) {
		int64_t action = 0, seq = 0;
		size_t i;

		if (json_get(one, "reason", &value) && !json_string_is(value, "duplicate"))
			return wrong("an event is rejected: %.*s", (int)one.len, one.p);
		if (json_get(one, "client_action_id", &value))
			json_int64(value, &action);
		if (json_get(one, "server_seq", &value))
			json_int64(value, &seq);
		/* The numbers of a batch follow each other. */
		i = first + (size_t)(action - entry(l, first).action_id);
		if (i < first || i >= first + n || entry(l, i).action_id != action)
			return wrong("an answer is about action %lld, which wasn't sent",
			             (long long)action);
		if (!note(l, i, seq))
			return false;
		++*seen;
	}
	return true;
}

bool
ledger_take_answer(struct ledger *l, size_t first, size_t n, struct span answer)
{
	struct span value, acks, rejected;
	size_t seen = 0;

	if (json_scan(answer, 64, &value, NULL, NULL) != RC_OK)
		return wrong("an answer is no JSON: %.*s", (int)answer.len, answer.p);
	json_get(value, "acks", &acks);
	json_get(value, "rejected", &rejected);
	if (!take_list(l, first, n, acks, &seen) || !take_list(l, first, n, rejected, &seen))
		return false;
	return seen == n || wrong("%zu of %zu events are in the answer", seen, n);
}

/* --- what the log says --- */

/* Which event that is, if it is whole. */
static bool
know(struct ledger *l, struct span entity, struct span payload, int64_t action_id,
     size_t *out)
{
	struct buf want = { 0 };
	size_t i = 0;
	bool same;

	*out = NONE;
	buf_add_span(&want, entity);
	if (buf_cstr(&want) == NULL || sscanf(want.p, "td-%zu", &i) != 1 ||
	    entry(l, i).action_id == 0)
		return wrong("nobody pushed %.*s", (int)entity.len, entity.p);
	buf_reset(&want);
	add_payload(&want, i);
	same = span_eq(buf_span(&want), payload) && entry(l, i).action_id == action_id;
	buf_free(&want);
	*out = i;
	return same || wrong("event %zu is not as it was pushed: %.*s", i,
	                     payload.len > 200 ? 200 : (int)payload.len, payload.p);
}

void
follower_free(struct follower *f)
{
	free(f->seen);
	*f = (struct follower){ 0 };
}

static bool
follow(struct ledger *l, struct follower *f, struct span one)
{
	struct span seq, entity, payload, action;
	int64_t number = 0, action_id = 0;
	size_t i;

	if (!json_get(one, "server_seq", &seq) || !json_int64(seq, &number) ||
	    !json_get(one, "entity_id", &entity) || entity.len < 2 ||
	    !json_get(one, "payload", &payload) ||
	    !json_get(one, "client_action_id", &action) || !json_int64(action, &action_id))
		return wrong("no event: %.*s", (int)one.len, one.p);
	if (number != f->cursor + 1)
		return wrong("a follower at %lld is sent %lld", (long long)f->cursor,
		             (long long)number);
	if (!know(l, (struct span){ entity.p + 1, entity.len - 2 }, payload, action_id, &i))
		return false;
	f->seen = grow(f->seen, &f->cap, (size_t)number, sizeof(*f->seen));
	f->seen[number - 1] = i;
	f->cursor = number;
	return true;
}

bool
follower_take(struct ledger *l, struct follower *f, struct span page, bool *more)
{
	struct span value, events, key, one, last;
	struct json_iter it;
	int64_t end = -1;

	if (json_scan(page, 64, &value, NULL, NULL) != RC_OK)
		return wrong("a page is no JSON");
	json_get(value, "events", &events);
	json_iter_init(&it, events);
	while (json_next(&it, &key, &one))
		if (!follow(l, f, one))
			return false;
	if (!json_get(value, "last_server_seq", &last) || !json_int64(last, &end) ||
	    end != f->cursor)
		return wrong("a page that ends with %lld says %lld", (long long)f->cursor,
		             (long long)end);
	if (more != NULL)
		*more = json_get(value, "has_more", &one) && json_type(one) == JSON_TRUE;
	return true;
}

/* --- the check --- */

/* Open the log beside whoever has it open, never writing nor checkpointing. */
static sqlite3 *
open_log(const char *dir)
{
	char path[PATH_MAX];
	sqlite3 *db = NULL;

	snprintf(path, sizeof(path), "%s/events.db", dir);
	/* A worker that was killed may have left a WAL that another one recovers. */
	if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL) == SQLITE_OK &&
	    sqlite3_busy_timeout(db, 30000) == SQLITE_OK &&
	    sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL) == SQLITE_OK &&
	    sqlite3_exec(db, "PRAGMA query_only=1; PRAGMA wal_autocheckpoint=0", NULL, NULL,
	                 NULL) == SQLITE_OK)
		return db;
	wrong("%s: %s", path, sqlite3_errmsg(db));
	sqlite3_close(db);
	return NULL;
}

static sqlite3_stmt *
ask(sqlite3 *db, const char *sql)
{
	sqlite3_stmt *st = NULL;

	if (sqlite3_prepare_v2(db, sql, -1, &st, NULL) != SQLITE_OK)
		wrong("%s: %s", sql, sqlite3_errmsg(db));
	return st;
}

static struct span
text(sqlite3_stmt *st, int col)
{
	const void *p = sqlite3_column_blob(st, col);

	return (struct span){ p, (size_t)sqlite3_column_bytes(st, col) };
}

static bool
is_sound(sqlite3 *db)
{
	sqlite3_stmt *st = ask(db, "PRAGMA integrity_check");
	bool ok = st != NULL && sqlite3_step(st) == SQLITE_ROW &&
	          strcmp((const char *)sqlite3_column_text(st, 0), "ok") == 0;

	if (!ok)
		wrong("integrity_check: %s", st != NULL && sqlite3_column_count(st) > 0 &&
		      sqlite3_column_text(st, 0) != NULL
		          ? (const char *)sqlite3_column_text(st, 0) : sqlite3_errmsg(db));
	sqlite3_finalize(st);
	return ok;
}

/* Read the log: places[i] is the number of event i in it, 0 for none. */
static bool
read_log(struct ledger *l, sqlite3 *db, int64_t *places, size_t n, int64_t *count)
{
	sqlite3_stmt *st = ask(db, "SELECT seq, entity, payload, action_id FROM event"
	                           " ORDER BY seq");
	bool ok = st != NULL;
	int code = SQLITE_DONE;
	size_t i;

	*count = 0;
	while (ok && (code = sqlite3_step(st)) == SQLITE_ROW) {
		int64_t seq = sqlite3_column_int64(st, 0);

		if (seq != ++*count)
			ok = wrong("number %lld comes after %lld", (long long)seq,
			           (long long)*count - 1);
		ok = ok && know(l, text(st, 1), text(st, 2), sqlite3_column_int64(st, 3), &i);
		if (ok && i < n) { /* others were made while we read */
			if (places[i] != 0)
				ok = wrong("event %zu is there as %lld and %lld", i,
				           (long long)places[i], (long long)seq);
			places[i] = seq;
		}
	}
	if (ok && code != SQLITE_DONE)
		ok = wrong("the log can't be read: %s", sqlite3_errmsg(db));
	sqlite3_finalize(st);
	return ok;
}

static bool
head_is(sqlite3 *db, int64_t count)
{
	sqlite3_stmt *st = ask(db, "SELECT seq, count FROM head");
	bool ok = st != NULL && sqlite3_step(st) == SQLITE_ROW &&
	          sqlite3_column_int64(st, 0) == count &&
	          sqlite3_column_int64(st, 1) == count;

	sqlite3_finalize(st);
	return ok || wrong("the head is not at %lld", (long long)count);
}

/* All acks given until `acked` was copied hold. */
static bool
acks_hold(const int64_t *acked, const int64_t *places, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (acked[i] != 0 && acked[i] != places[i])
			return wrong("event %zu was acked as %lld and is %lld in the log", i,
			             (long long)acked[i], (long long)places[i]);
	return true;
}

static bool
follower_agrees(const struct follower *f, const int64_t *places, size_t n)
{
	for (int64_t seq = 1; seq <= f->cursor; seq++)
		if (f->seen[seq - 1] >= n || places[f->seen[seq - 1]] != seq)
			return wrong("a follower saw event %zu as %lld, which it is not",
			             f->seen[seq - 1], (long long)seq);
	return true;
}

bool
ledger_agrees(struct ledger *l, const char *dir, const struct follower *const *f,
              size_t n_followers)
{
	int64_t *acked, *places, count;
	sqlite3 *db;
	size_t n;
	bool ok;

	/* The acks first: what is acked while we read may be missing. */
	pthread_mutex_lock(&l->mutex);
	n = l->n;
	acked = calloc(n + 1, sizeof(*acked));
	places = calloc(n + 1, sizeof(*places));
	if (acked == NULL || places == NULL)
		abort();
	for (size_t i = 0; i < n; i++)
		acked[i] = l->entries[i].seq;
	pthread_mutex_unlock(&l->mutex);
	db = open_log(dir);
	ok = db != NULL && sqlite3_exec(db, "BEGIN", NULL, NULL, NULL) == SQLITE_OK &&
	     is_sound(db) && read_log(l, db, places, n, &count) && head_is(db, count) &&
	     acks_hold(acked, places, n);
	for (size_t i = 0; ok && i < n_followers; i++)
		ok = follower_agrees(f[i], places, n);
	sqlite3_close_v2(db);
	free(acked);
	free(places);
	return ok;
}
