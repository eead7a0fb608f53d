/*
 * A server's answers as a client reads them: pages, acks, status, conflicts,
 * versions, sums, projects, logins, tokens, errors. An input is a line with the call, then the
 * answers to its requests in their order, each a line "STATUS TYPE LOG" and a
 * body, with a line "--" between. LOG is the X-Log-Id: "=" for the one that the
 * replica knows, "-" for none. After the last one nothing answers.
 *
 * Whatever comes: it is no fault of ours and of no database, the error is one
 * clean line, the database is whole, no action is gone, a push that failed has
 * marked none, td's auth.json is JSON; and afterwards, where anything changed, a sync with a server that
 * is what it should be comes to its end.
 */
#include "client/authfile.h"
#include "client/client.h"

#include "base/fs.h"
#include "fuzz/fuzz.h"
#include "harness/transport_direct.h"
#include "tests/temp.h"

#include <sqlite3.h>
#include <string.h>

#define PROJECT "p_00000000000000aa"
#define LOG_ID_TEXT 33

/* The files as every input finds them: the replica's, and the server's log. */
static struct kept {
	const char *name;
	struct buf content;
} kept[] = {
	{ "td/.todos/issues.db" }, { "td/.todos/td-sync.db" },
	{ "projects/" PROJECT "/events.db" },
};
#define KEPT (sizeof(kept) / sizeof(kept[0]))

static char dir[TEMP_PATH];
static char log_id[LOG_ID_TEXT];
static struct err err;

static const char *
path_of(const char *name)
{
	static char path[TEMP_PATH + 80];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

/* --- the database --- */

static sqlite3 *
open_db(void)
{
	sqlite3 *db;

	FUZZ_CHECK(sqlite3_open(path_of(kept[0].name), &db) == SQLITE_OK, "it can't be opened");
	return db;
}

static void
run_sql(sqlite3 *db, const char *sql)
{
	FUZZ_CHECK(sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK, "%s: %s", sql,
	           sqlite3_errmsg(db));
}

/* The one text that a query gives. */
static void
ask(const char *sql, char *out, size_t size)
{
	sqlite3 *db = open_db();
	sqlite3_stmt *st = NULL;

	FUZZ_CHECK(sqlite3_prepare_v2(db, sql, -1, &st, NULL) == SQLITE_OK &&
	           sqlite3_step(st) == SQLITE_ROW, "%s: %s", sql, sqlite3_errmsg(db));
	snprintf(out, size, "%s", (const char *)sqlite3_column_text(st, 0));
	sqlite3_finalize(st);
	sqlite3_close(db);
}

static int
ask_number(const char *sql)
{
	char text[32];

	ask(sql, text, sizeof(text));
	return atoi(text);
}

/* Make issues as td does, with their actions. */
static void
make_issues(int first, int n)
{
	sqlite3 *db = open_db();
	char sql[1200];

	for (int i = first; i < first + n; i++) {
		snprintf(sql, sizeof(sql),
		         "INSERT INTO issues(id, title, created_at, updated_at) VALUES('td-%d', 'T %d',"
		         " '2026-03-01T10:00:00Z', '2026-03-01T10:00:00Z');"
		         "INSERT INTO action_log(id, session_id, action_type, entity_type, entity_id,"
		         " previous_data, new_data, timestamp, undone) VALUES('al-%d', 's', 'create',"
		         " 'issue', 'td-%d', '', '{\"id\":\"td-%d\",\"title\":\"T %d\"}',"
		         " '2026-03-01T10:00:00Z', 0)", i, i, i, i, i, i);
		run_sql(db, sql);
	}
	sqlite3_close(db);
}

/* --- the handle --- */

static struct tdsync *
open_handle(struct transport *tr)
{
	char why[256];
	struct tdsync_options o = { .dir = path_of("td"), .url = "http://direct.invalid",
		.token = "token", .device_id = "device", .retries = -1, .snapshot_threshold = -1 };
	struct tdsync *t;

	FUZZ_CHECK(tdsync_open(&o, &t, why, sizeof(why)) == TDSYNC_OK, "%s", why);
	tdsync_use_transport(t, tr);
	return t;
}

static struct transport *
good_server(void)
{
	struct transport *tr;

	FUZZ_CHECK(transport_direct(dir, "u_0000000000000001", &tr, &err) == RC_OK, "%s", err.text);
	return tr;
}

static void
remove_dir(void)
{
	temp_remove(dir);
}

/* A replica that has synced, and has made more since; its server's log. */
static void
prepare(void)
{
	struct buf schema = { 0 };
	struct tdsync_status status;
	struct tdsync *t;
	sqlite3 *db;

	/* In memory where that can be had: each input makes databases sync. */
	if (access("/dev/shm", W_OK) == 0)
		setenv("TMPDIR", "/dev/shm", 0);
	temp_make(dir);
	atexit(remove_dir);
	setenv("HOME", dir, 1);
	FUZZ_CHECK(mkdir(path_of("td"), 0700) == 0 && mkdir(path_of("td/.todos"), 0700) == 0,
	           "%s", dir);
	FUZZ_CHECK(direct_project(dir, PROJECT, &err) == RC_OK, "%s", err.text);
	FUZZ_CHECK(fs_read(TOP_SRCDIR "/harness/schema/v38.sql", 1 << 20, &schema, &err) == RC_OK,
	           "%s", err.text);
	db = open_db();
	run_sql(db, buf_cstr(&schema));
	sqlite3_close(db);
	buf_free(&schema);
	make_issues(1, 3);
	t = open_handle(good_server());
	FUZZ_CHECK(tdsync_link(t, PROJECT) == TDSYNC_OK && tdsync_sync(t, NULL) == TDSYNC_OK &&
	           tdsync_get_status(t, false, &status) == TDSYNC_OK, "%s", tdsync_error(t));
	snprintf(log_id, sizeof(log_id), "%s", status.log_id);
	tdsync_close(t);
	make_issues(4, 3);
	FUZZ_CHECK(sqlite3_open(path_of(kept[2].name), &db) == SQLITE_OK, "the log");
	run_sql(db, "PRAGMA wal_checkpoint(TRUNCATE)");
	sqlite3_close(db);
	for (size_t i = 0; i < KEPT; i++)
		FUZZ_CHECK(fs_read(path_of(kept[i].name), 64u << 20, &kept[i].content, &err) == RC_OK,
		           "%s", err.text);
}

/* Put the files back as they were, and nothing else. */
static void
put_back(void)
{
	static const char *const folders[] = { "td/.todos", "projects/" PROJECT };

	for (size_t i = 0; i < 2; i++) {
		temp_remove(path_of(folders[i]));
		FUZZ_CHECK(mkdir(path_of(folders[i]), 0700) == 0, "%s", folders[i]);
	}
	for (size_t i = 0; i < KEPT; i++) {
		struct buf *b = &kept[i].content;
		FILE *f = fopen(path_of(kept[i].name), "wb");

		FUZZ_CHECK(f != NULL && fwrite(b->p, 1, b->len, f) == b->len && fclose(f) == 0, "%s",
		           kept[i].name);
	}
}

/* --- a server that says what the input has --- */

struct speaker {
	struct transport base; /* first: a transport is a speaker */
	struct span rest;
};

/* The text up to a line "--", or the end. */
static struct span
next_part(struct span *rest)
{
	struct span part = *rest;
	const char *at;

	if (part.len == 0)
		return part;
	at = memmem(part.p, part.len, "\n--\n", 4);
	if (at != NULL)
		part.len = (size_t)(at - part.p);
	rest->p += part.len + (at != NULL ? 4 : 0);
	rest->len -= part.len + (at != NULL ? 4 : 0);
	return part;
}

static enum rc
speak(struct transport *t, const struct transport_request *rq,
      struct transport_reply *reply, struct err *why)
{
	struct speaker *s = (struct speaker *)t;
	struct span part = next_part(&s->rest);
	char line[128], log[64] = "-";
	const char *end;
	size_t n;

	end = part.len == 0 ? NULL : memchr(part.p, '\n', part.len);
	n = end != NULL ? (size_t)(end - part.p) : part.len;
	snprintf(line, sizeof(line), "%.*s", (int)n, part.p);
	if (n == 0 || n >= sizeof(line) || rq->file != NULL ||
	    sscanf(line, "%3d %63s %63s", &reply->status, reply->content_type, log) < 2 ||
	    reply->status < 100)
		return err_set(why, RC_BUSY, "no answer");
	if (strcmp(log, "=") == 0)
		memcpy(reply->log_id, log_id, sizeof(log_id));
	else if (strlen(log) == sizeof(log_id) - 1) /* else it is none, see transport.c */
		memcpy(reply->log_id, log, sizeof(log_id));
	if (end != NULL)
		buf_add(&reply->body, end + 1, part.len - n - 1);
	return RC_OK;
}

static void
keep(struct transport *t)
{
	(void)t; /* it is on the stack */
}

/* --- what must be so --- */

static void
check_outcome(const struct tdsync *t, const char *call, enum tdsync_rc rc)
{
	const char *text = tdsync_error(t);

	FUZZ_CHECK(rc != TDSYNC_FAULT && rc != TDSYNC_LOCAL, "%s: %s: %s", call,
	           tdsync_rc_name(rc), text);
	FUZZ_CHECK(rc == TDSYNC_OK || text[0] != '\0', "%s: %s without a word", call,
	           tdsync_rc_name(rc));
	for (; rc != TDSYNC_OK && *text != '\0'; text++)
		FUZZ_CHECK((unsigned char)*text >= ' ' && *text != 0x7f, "%s: %s", call,
		           tdsync_error(t));
}

/* Whether the replica is as it was put there. */
static bool
is_unchanged(void)
{
	bool same = true;

	for (size_t i = 0; same && i < 2; i++) {
		struct buf now = { 0 };

		FUZZ_CHECK(fs_read(path_of(kept[i].name), 64u << 20, &now, &err) == RC_OK, "%s",
		           err.text);
		same = span_eq(buf_span(&now), buf_span(&kept[i].content));
		buf_free(&now);
	}
	return same;
}

static void
check_db(void)
{
	char text[64];

	ask("PRAGMA integrity_check", text, sizeof(text));
	FUZZ_CHECK(strcmp(text, "ok") == 0, "%s", text);
	FUZZ_CHECK(ask_number("SELECT count(*) FROM action_log") >= 6, "actions are gone");
}

/* A sync with a server that is what it should be. */
static void
sync_well(struct tdsync *t, bool may_fail)
{
	enum tdsync_rc rc;

	tdsync_use_transport(t, good_server());
	rc = tdsync_sync(t, NULL);
	check_outcome(t, "a sync after it", rc);
	FUZZ_CHECK(rc == TDSYNC_OK || may_fail, "a sync after it: %s", tdsync_error(t));
	check_db();
}

static void
see_version(void *ctx, const struct tdsync_version *v)
{
	*(int64_t *)ctx += (int64_t)strlen(v->action_type) + (int64_t)v->n_changes;
}

static void
see_difference(void *ctx, const struct tdsync_difference *d)
{
	*(int64_t *)ctx += d->finding;
}

static void
see_token(void *ctx, const struct tdsync_token *token)
{
	*(int64_t *)ctx += (int64_t)strlen(token->id) + (int64_t)token->n_projects;
}

static void
see_mail(void *ctx, const char *email, int seconds)
{
	*(int64_t *)ctx += (int64_t)strlen(email) + seconds;
}

/* Log in; whatever came, the file that the key is kept in can be read again. */
static enum tdsync_rc
log_in(struct tdsync *t, int64_t *seen)
{
	struct buf text = { 0 };
	struct span object;
	enum tdsync_rc rc;

	temp_remove(path_of(".config"));
	tdsync_no_pauses(t);
	rc = tdsync_login(t, "a@example.com", "device", see_mail, seen, NULL);
	FUZZ_CHECK(authfile_read(&text, &object, &err) == RC_OK, "%s", err.text);
	FUZZ_CHECK((object.len > 2) == (rc == TDSYNC_OK), "%s: %.*s", tdsync_rc_name(rc),
	           (int)object.len, object.p);
	buf_free(&text);
	return rc;
}

static enum tdsync_rc
call(struct tdsync *t, const char *name)
{
	static const struct tdsync_token_wish wish = { .name = "w" };
	struct tdsync_verification verification;
	struct tdsync_status status;
	int64_t seen = 0;

	switch (name[0]) {
	case 'p': /* push, pull */
		return name[1] == 'u' && name[2] == 's' ? tdsync_push(t, NULL) : tdsync_pull(t, NULL);
	case 'l': /* login, link */
		if (name[1] == 'o')
			return log_in(t, &seen);
		return tdsync_link(t, name[1] == 'i' && name[2] == ' ' ? "Garden" : PROJECT);
	case 't':
		return tdsync_get_status(t, true, &status);
	case 'h': /* history */
		return tdsync_each_version(t, "issues/td-1", see_version, &seen);
	case 'r': /* restore */
		return tdsync_restore(t, "2-1", NULL);
	case 'w':
		return tdsync_whoami(t, see_token, &seen);
	case 'k':
		return tdsync_each_token(t, see_token, &seen);
	case 'm': /* make a token */
		return tdsync_create_token(t, &wish, see_token, &seen);
	case 'v':
		return tdsync_verify(t, see_difference, &seen, &verification);
	default:
		return tdsync_sync(t, NULL);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char marked[] = "SELECT count(*) FROM action_log WHERE synced_at IS NOT NULL";
	struct speaker s = { { speak, keep }, { 0 } };
	struct span copy = fuzz_copy(data, size);
	const char *end = size == 0 ? NULL : memchr(copy.p, '\n', size);
	char name[16] = "";
	struct tdsync *t;
	enum tdsync_rc rc;

	if (dir[0] == '\0')
		prepare();
	put_back();
	if (end != NULL && end - copy.p < (long)sizeof(name)) {
		memcpy(name, copy.p, (size_t)(end - copy.p));
		s.rest = (struct span){ end + 1, size - (size_t)(end + 1 - copy.p) };
	}
	t = open_handle(&s.base);
	rc = call(t, name);
	check_outcome(t, name, rc);
	if (rc != TDSYNC_OK && strcmp(name, "push") == 0)
		FUZZ_CHECK(ask_number(marked) == 3, "%s: %d are marked", tdsync_rc_name(rc),
		           ask_number(marked));
	if (!is_unchanged()) {
		check_db();
		sync_well(t, name[0] == 'l'); /* it may be linked elsewhere now */
	}
	tdsync_close(t);
	free((char *)(uintptr_t)copy.p);
	return 0;
}
