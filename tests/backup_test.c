/*
 * Backups, and drills of restores: td-sync-admin beside a real server with its
 * workers, our real client, and devices that know nothing of log ids.
 */
#include "tests/mishap.h"
#include "tests/read_only.h"
#include "tests/replica.h"
#include "tests/site.h"
#include "tests/web.h"

#include "base/lock.h"
#include "store/copies.h"

#include <dirent.h>
#include <errno.h>
#include <glob.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

static struct site site;
static struct site_options options = { .kind = SITE_FASTCGI };
static char user[ID_MAX], garden[ID_MAX], shed[ID_MAX], *token;
static char backups[PATH_MAX], said[4096];
static struct web_answer answer;

/* --- the command --- */

/* Run td-sync-admin with these arguments, NULL behind the last; what it says goes to
 * `said`. Its exit code, or -1 where it was killed. */
static int
admin_with(bool mishaps, const char *const *args)
{
	const char *argv[16] = { "td-sync-admin", "--data", site.data };
	char path[PATH_MAX], *const *copy;
	int status, fd, n = 3;
	pid_t pid;
	FILE *f;

	while (*args != NULL)
		argv[n++] = *args++;
	snprintf(path, sizeof(path), "%s/said", temp);
	fflush(NULL);
	if ((pid = fork()) == 0) {
		if (mishaps) {
			setenv("LD_PRELOAD", MISHAP_LIBRARY, 1);
			setenv("TD_SYNC_MISHAP", mishap_file(), 1);
			setenv("ASAN_OPTIONS", "verify_asan_link_order=0", 1);
		}
		fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
		dup2(fd, STDOUT_FILENO);
		dup2(fd, STDERR_FILENO);
		memcpy(&copy, &(const char *const *){ argv }, sizeof(copy)); /* as execv() has it */
		execv(TOP_BUILDDIR "/td-sync-admin", copy);
		_exit(127);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	said[0] = '\0';
	if ((f = fopen(path, "r")) != NULL) { /* it may be killed before */
		said[fread(said, 1, sizeof(said) - 1, f)] = '\0';
		fclose(f);
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

#define admin(...) admin_with(false, (const char *const[]){ __VA_ARGS__, NULL })
#define MUST(...) do { \
		int code_ = admin(__VA_ARGS__); \
		ck_assert_msg(code_ == 0, "exit code %d: %s", code_, said); \
	} while (0)

/* The newest backup of the folder. Until the next call but three. */
static const char *
newest(void)
{
	static char paths[4][PATH_MAX];
	static int turn;
	char pattern[PATH_MAX + 64], *out = paths[turn++ & 3];
	glob_t found;

	snprintf(pattern, sizeof(pattern), "%s/td-sync-*", backups);
	ck_assert_int_eq(glob(pattern, 0, NULL, &found), 0);
	snprintf(out, PATH_MAX, "%s", found.gl_pathv[found.gl_pathc - 1]);
	globfree(&found);
	return out;
}

static const char *
backup(void)
{
	MUST("backup", backups, "--with-keys");
	return newest();
}

/* --- the server, and devices that know nothing of log ids --- */

static int
call(const char *method, const char *project, const char *what, struct span body)
{
	char path[256];
	struct web_call c = { .method = method, .url = site.url, .path = path, .token = token,
	                      .body = body };

	snprintf(path, sizeof(path), "/v1/projects/%s/sync/%s", project, what);
	return web_call(&c, &answer) ? answer.status : 0;
}

static int64_t
number_of(struct span json, const char *key)
{
	struct span v;
	int64_t n = -1;

	return json_get(json, key, &v) && json_int64(v, &n) ? n : -1;
}

static struct span
answered(void)
{
	struct span v;

	ck_assert_int_eq(json_scan(buf_span(&answer.body), 64, &v, NULL, NULL), RC_OK);
	return v;
}

/* Push an issue of that number as a stock client does; its seq, 0: no ack. */
static int64_t
push(const char *project, const char *device, int n)
{
	struct buf b = { 0 };
	struct span acks, key, ack;
	struct json_iter it;
	int64_t seq = 0;

	buf_addf(&b, "{\"device_id\":\"%s\",\"session_id\":\"ses_1\",\"events\":[{"
	         "\"client_action_id\":%d,\"action_type\":\"create\",\"entity_type\":\"issues\","
	         "\"entity_id\":\"td-%s%d\",\"payload\":{\"schema_version\":1,\"new_data\":{\"id\":"
	         "\"td-%s%d\",\"title\":\"T %d\"},\"previous_data\":{}},\"client_timestamp\":"
	         "\"2026-03-01T10:00:00Z\"}]}", device, n, device, n, device, n, n);
	if (call("POST", project, "push", buf_span(&b)) == 200) {
		json_get(answered(), "acks", &acks);
		json_iter_init(&it, acks);
		while (json_next(&it, &key, &ack))
			seq = number_of(ack, "server_seq");
	}
	buf_free(&b);
	return seq;
}

/* A stock device: a cursor, and the ids of what it pulled. */
struct stock {
	const char *name;
	int64_t cursor;
	struct buf seen;   /* " td-a1 td-b2 " */
};

static void
stock_pull(struct stock *s, const char *project)
{
	char what[128];
	struct span events, key, event, id;
	struct json_iter it;
	int n;

	do {
		snprintf(what, sizeof(what), "pull?after_server_seq=%lld&limit=1000&exclude_client=%s",
		         (long long)s->cursor, s->name);
		ck_assert_msg(call("GET", project, what, (struct span){ 0 }) == 200, "%d %s",
		              answer.status, answer.body.p);
		json_get(answered(), "events", &events);
		json_iter_init(&it, events);
		for (n = 0; json_next(&it, &key, &event); n++) {
			ck_assert_int_gt(number_of(event, "server_seq"), s->cursor);
			s->cursor = number_of(event, "server_seq");
			ck_assert(json_get(event, "entity_id", &id) && json_string(id, &s->seen));
			buf_add_byte(&s->seen, ' ');
		}
	} while (n > 0);
}

static bool
has_seen(struct stock *s, const char *id)
{
	char word[80];

	snprintf(word, sizeof(word), "%.64s ", id);
	return buf_cstr(&s->seen) != NULL && strstr(s->seen.p, word) != NULL;
}

static int64_t
head_of(const char *project)
{
	ck_assert_int_eq(call("GET", project, "status", (struct span){ 0 }), 200);
	return number_of(answered(), "last_server_seq");
}

/* --- our client --- */

static void
device_open(struct replica *r)
{
	char device[40], why[256];
	struct tdsync_options o = { .dir = r->dir, .url = site.url, .token = token,
		.device_id = device, .snapshot_threshold = -1 };

	snprintf(device, sizeof(device), "device-%s", strrchr(r->dir, '/') + 1);
	ck_assert_msg(tdsync_open(&o, &r->t, why, sizeof(why)) == TDSYNC_OK, "%s", why);
}

static void
device_make(struct replica *r, const char *name)
{
	char todos[TEMP_PATH + 32];

	memset(r, 0, sizeof(*r));
	snprintf(r->dir, sizeof(r->dir), "%s/%s", temp, name);
	snprintf(todos, sizeof(todos), "%s/.todos", r->dir);
	ck_assert(mkdir(r->dir, 0755) == 0 && mkdir(todos, 0755) == 0);
	fixture_copy("empty-v38.db", replica_file(r, "issues.db"));
	device_open(r);
	CALL_OK(r, tdsync_link(r->t, garden));
}

static void
start(void)
{
	static const char *const arguments[] = { "--workers", "3", "--max-workers", "6", NULL };

	replica_setup();
	snprintf(backups, sizeof(backups), "%s/plan", temp);
	ck_assert(mishap_share(backups));
	options = (struct site_options){ .arguments = arguments,
		.kind = site_missing(SITE_FASTCGI) == NULL ? SITE_FASTCGI : SITE_CGI };
	ck_assert(site_start(&site, &options));
	site_user(&site, "anna@example.com", user);
	site_project(&site, "Garden", user, garden);
	site_project(&site, "Shed", user, shed);
	token = site_token(&site, user, SCOPE_READ | SCOPE_WRITE | SCOPE_PROJECT_ADMIN, NULL, NULL);
	snprintf(backups, sizeof(backups), "%s/backups", temp);
}

static void
stop(void)
{
	ck_assert(site_stop(&site));
	free(token);
	web_free(&answer);
	replica_teardown();
}

/* --- drills --- */

enum drill {
	BESIDE,      /* all of it, beside running workers */
	ONE,         /* one project of two, likewise */
	OLDER,       /* a backup before the last one */
	TWICE,       /* the same backup, and again */
	LOST,        /* after the disk was lost, the keys out of the backup */
	NO_KEYS,     /* likewise, without keys */
	DAMAGED,     /* the log is no database any more */
	NO_ACCOUNTS, /* server.db is none any more */
	PURGED,      /* the project was deleted and purged since */
	DRILLS
};

static void
stop_workers(void)
{
	ck_assert(kill(site.pool, SIGTERM) == 0 && waitpid(site.pool, NULL, 0) == site.pool);
}

/* Put the server where nothing but the backup is left. */
static void
lose_the_disk(void)
{
	char data[PATH_MAX + 8];

	stop_workers();
	snprintf(data, sizeof(data), "%s.lost", site.data);
	ck_assert(rename(site.data, data) == 0);
}

/* While nobody looks, a database is overwritten and loses its WAL. */
static void
damage(const char *file)
{
	char path[PATH_MAX + 64];
	FILE *f;

	stop_workers();
	snprintf(path, sizeof(path), "%s/%s", site.data, file);
	f = fopen(path, "r+");
	ck_assert(f != NULL && fwrite("nothing that SQLite knows ......", 1, 32, f) == 32);
	fclose(f);
	snprintf(path, sizeof(path), "%s/%s-wal", site.data, file);
	ck_assert_int_eq(unlink(path), 0);
	snprintf(path, sizeof(path), "%s/%s-shm", site.data, file);
	ck_assert_int_eq(unlink(path), 0);
}

static void
purge(void)
{
	MUST("project", "delete", garden, "--yes");
	MUST("project", "purge", garden, "--yes");
	ck_assert_int_eq(call("GET", garden, "status", (struct span){ 0 }), 404);
}

static void
restore(enum drill d, const char *from)
{
	char path[128];

	if (d == LOST || d == NO_KEYS)
		lose_the_disk();
	if (d == DAMAGED) {
		snprintf(path, sizeof(path), "projects/%s/events.db", garden);
		damage(path);
		ck_assert(site_start_pool(&site, &options));
		ck_assert_int_eq(call("GET", garden, "status", (struct span){ 0 }), 503);
	}
	if (d == NO_ACCOUNTS)
		damage("server.db");
	if (d == PURGED)
		purge();
	if (d == ONE || d == PURGED)
		MUST("restore", from, "--project", "garden", "--yes");
	else
		MUST("restore", from, "--yes");
	if (d == TWICE)
		MUST("restore", from, "--yes");
	if (d == DAMAGED || d == NO_ACCOUNTS) /* it is kept */
		ck_assert_msg(strstr(said, ".db.damaged-") != NULL, "%s", said);
	if (d == NO_KEYS) {
		ck_assert_msg(strstr(said, "make them anew") != NULL, "%s", said);
		free(token);
		token = site_token(&site, user, SCOPE_READ | SCOPE_WRITE | SCOPE_PROJECT_ADMIN, NULL,
		                   NULL);
	}
	if (d == LOST || d == NO_KEYS || d == NO_ACCOUNTS)
		ck_assert(site_start_pool(&site, &options));
}

/* Whether td-sync status names a device. */
static bool
names(struct replica *r, const char *device)
{
	struct tdsync_status s;

	CALL_OK(r, tdsync_get_status(r->t, true, &s));
	ck_assert(s.server_reached);
	return strstr(s.lost_devices, device) != NULL;
}

/* Open it anew, with the token of now. */
static void
again(struct replica *r)
{
	replica_close(r);
	device_open(r);
}

START_TEST(a_restore_gives_back_what_devices_hold_and_no_number_twice)
{
	static const char *const later[] = { "td-a2", "td-b2", "td-gone1", "td-other2" };
	struct stock s = { .name = "plain" }, reader = { .name = "reader" };
	struct replica a, b;
	const char *from;
	int64_t most, seq, of_shed, visible;
	char log_of_shed[64];

	device_make(&a, "a");
	device_make(&b, "b");
	td_create(&a, "td-a1", "Before");
	SYNC(&a);
	ck_assert_int_gt(push(shed, "x", 1), 0);
	from = backup();
	if (_i == OLDER) {
		ck_assert_int_gt(push(garden, "other", 1), 0);
		ck_assert_str_ne(backup(), from);
	}
	if (_i == NO_KEYS) {
		sleep(1);
		MUST("backup", backups);
		from = newest();
	}

	/* What came since, a device's that is gone now as well. */
	td_create(&a, "td-a2", "After");
	td_update(&a, "td-a1", "title", "Changed after");
	SYNC(&a);
	SYNC(&b);
	td_create(&b, "td-b2", "After, by b");
	SYNC(&b);
	ck_assert_int_gt(push(garden, "gone", 1), 0);
	ck_assert_int_gt(push(garden, "other", 2), 0);
	SYNC(&b);
	stock_pull(&s, garden);
	most = s.cursor;
	ck_assert_int_eq(most, head_of(garden));
	of_shed = head_of(shed);
	snprintf(log_of_shed, sizeof(log_of_shed), "%s", web_header(&answer, "X-Log-Id"));
	ck_assert_int_gt(most, 4);

	restore(_i, from);
	again(&a);
	again(&b);
	ck_assert_int_gt(head_of(garden), most);
	ck_assert_int_gt(head_of(garden), clock_now_us() - 600000000);
	head_of(shed);
	ck_assert((strcmp(web_header(&answer, "X-Log-Id"), log_of_shed) == 0) ==
	          (_i == ONE || _i == PURGED));

	/* A device that knows nothing of it: nothing new, and it is named. */
	ck_assert(!names(&a, "plain"));
	for (int i = 0; i == 0 || (i < 200 && !names(&a, "plain")); i++) {
		stock_pull(&s, garden); /* noted after its answer, where nobody has the file */
		usleep(10000);
	}
	ck_assert_int_eq(s.cursor, most);
	ck_assert(names(&a, "plain"));
	ck_assert(!names(&a, "gone"));

	/* What others push it gets. */
	visible = push(garden, "new", 1);
	ck_assert_int_gt(visible, most);
	stock_pull(&s, garden);
	ck_assert(has_seen(&s, "td-new1"));

	/* Our clients give back what was lost, their own work and others'. */
	SYNC(&a);
	SYNC(&b);
	SYNC(&a);
	stock_pull(&reader, garden);
	for (size_t i = 0; i < sizeof(later) / sizeof(later[0]); i++)
		ck_assert_msg(has_seen(&reader, later[i]), "%s is lost", later[i]);
	assert_same(&a, &b);
	assert_settled(&a);
	ck_assert_str_eq(ask(&b, "SELECT title FROM issues WHERE id = 'td-a1'"), "Changed after");
	ck_assert_str_eq(ask(&b, "SELECT count(*) FROM issues WHERE id IN ('td-a2', 'td-b2',"
	                     " 'td-gone1', 'td-other2', 'td-new1')"), "5");

	/* And the plain one has skipped none of that. */
	stock_pull(&s, garden);
	ck_assert_int_eq(s.cursor, reader.cursor);
	seq = push(garden, "new", 2);
	ck_assert_int_gt(seq, visible);
	ck_assert_int_eq(head_of(garden), seq);
	ck_assert_int_ge(head_of(shed), of_shed);
	MUST("project", "verify", garden);
	if (_i == TWICE) { /* with that in the log that is replaced now */
		restore(BESIDE, from);
		ck_assert_int_gt(head_of(garden), seq);
		stock_pull(&s, garden);
		SYNC(&b);
		SYNC(&a);
		assert_same(&a, &b);
		stock_pull(&reader, garden);
		stock_pull(&s, garden);
		ck_assert_int_eq(s.cursor, reader.cursor);
		ck_assert_int_gt(s.cursor, seq);
		ck_assert_str_eq(ask(&a, "SELECT count(*) FROM issues WHERE id IN ('td-a2', 'td-b2',"
		                     " 'td-gone1', 'td-other2', 'td-new1')"), "5");
	}
	replica_close(&a);
	replica_close(&b);
	buf_free(&s.seen);
	buf_free(&reader.seen);
}
END_TEST

/* --- mishaps --- */

static size_t
count_backups(const char *like)
{
	char pattern[PATH_MAX + 64];
	glob_t found;
	size_t n;

	snprintf(pattern, sizeof(pattern), "%s/%s", backups, like);
	ck_assert(glob(pattern, 0, NULL, &found) != GLOB_ABORTED);
	n = found.gl_pathc;
	globfree(&found);
	return n;
}

/* Events in the log, as the server tells; and it takes another one. */
static void
serves(const char *project, int64_t events)
{
	static int n = 1000;

	ck_assert_msg(call("GET", project, "status", (struct span){ 0 }) == 200, "%d %s",
	              answer.status, answer.body.p);
	ck_assert_int_eq(number_of(answered(), "event_count"), events);
	ck_assert_int_gt(push(project, "again", ++n), 0);
}

#define WITH_MISHAP(at, action, lasting, where, ...) \
	(mishap_plan(at, action, lasting, where), \
	 admin_with(true, (const char *const[]){ __VA_ARGS__, NULL }))

/* What was lost: nothing; a project; all of it. */
START_TEST(a_restore_that_was_killed_anywhere_ends_right_when_it_is_run_again)
{
	int64_t most = 0;
	const char *from;
	int code = -1, n;

	for (int i = 1; i <= 3; i++)
		ck_assert_int_gt(push(garden, "d", i), 0);
	ck_assert_int_gt(push(shed, "d", 1), 0);
	from = backup();
	for (n = 1; code == -1; n++) {
		if (_i == 1)
			purge();
		if (_i == 2)
			lose_the_disk();
		code = _i == 1 ? WITH_MISHAP(n, MISHAP_KILL, false, "", "restore", from, "--project",
		                             garden, "--yes")
		               : WITH_MISHAP(n, MISHAP_KILL, false, "", "restore", from, "--yes");
		mishap_none();
		ck_assert_msg(code <= 0, "%d: %s", code, said);
		if (code == -1 && _i != 2) /* others are not disturbed */
			ck_assert_int_gt(push(shed, "beside", n), 0);
		if (_i == 1)
			MUST("restore", from, "--project", garden, "--yes");
		else
			MUST("restore", from, "--yes");
		if (_i == 2) {
			char lost[PATH_MAX + 8];

			ck_assert(site_start_pool(&site, &options));
			snprintf(lost, sizeof(lost), "%s.lost", site.data);
			temp_remove(lost);
		}
		ck_assert_int_gt(head_of(garden), most);
		serves(garden, 3);
		most = head_of(garden);
		if (_i != 1)
			serves(shed, 1);
	}
	ck_assert_msg(n > 60, "there are only %d writes", n);
	MUST("project", "verify", garden);
	MUST("project", "verify", shed);
}
END_TEST

START_TEST(a_backup_that_was_killed_anywhere_leaves_nothing_that_looks_like_one)
{
	size_t whole = 0;
	int code = -1, n;

	ck_assert_int_gt(push(garden, "d", 1), 0);
	for (n = 1; code == -1; n++) {
		code = WITH_MISHAP(n, _i == 0 ? MISHAP_KILL : ENOSPC, _i == 1, _i == 0 ? "" : "/backups",
		                   "backup", backups, "--with-keys", "--keep", "2");
		mishap_none();
		if (_i == 1 && code > 0) { /* a full disk is told, and nothing is left */
			ck_assert_msg(code == 1 && strstr(said, "backups") != NULL, "%s", said);
			ck_assert_uint_eq(count_backups(".td-sync-*"), 0);
			code = -1;
		}
		/* Whatever there is, is whole. */
		if (count_backups("td-sync-*") > whole) {
			MUST("restore", newest(), "--yes");
			whole = count_backups("td-sync-*");
		}
	}
	ck_assert_msg(n > 30, "there are only %d writes", n);
	MUST("backup", backups, "--keep", "1");
	ck_assert_uint_eq(count_backups("td-sync-*"), 1);
	ck_assert_uint_eq(count_backups(".td-sync-*"), 0);
	MUST("restore", newest(), "--yes");
	serves(garden, 1);
}
END_TEST

START_TEST(a_restore_on_a_full_disk_leaves_one_log_or_the_other)
{
	int64_t events = 2, now;
	const char *from;
	char where[128];
	int code = -1, n;

	ck_assert_int_gt(push(garden, "d", 1), 0);
	from = backup();
	ck_assert_int_gt(push(garden, "d", 2), 0);
	snprintf(where, sizeof(where), "%s", garden);
	for (n = 1; code != 0; n += 3) {
		code = WITH_MISHAP(n, ENOSPC, true, where, "restore", from, "--project", garden,
		                   "--yes");
		mishap_none();
		if (code == 0)
			break;
		ck_assert_int_eq(code, 1);
		head_of(garden);
		now = number_of(answered(), "event_count");
		ck_assert(now == events || now == 1); /* what failed came behind it */
		serves(garden, now);
		events = now + 1;
	}
	ck_assert_int_gt(n, 10);
	serves(garden, 1);
}
END_TEST

/* --- what can't be taken --- */

static void
edit(const char *dir, const char *file, const char *sed)
{
	char command[2 * PATH_MAX];

	snprintf(command, sizeof(command), "sed -i '%s' '%s/%s'", sed, dir, file);
	ck_assert_int_eq(system(command), 0);
}

START_TEST(a_backup_that_is_not_whole_or_not_ours_is_refused_before_anything_is_touched)
{
	static const struct {
		const char *what, *file, *sed, *why;
	} rows[] = {
		{ "no list", NULL, "rm \"$0/backup.json\"", "not made to its end" },
		{ "no log", NULL, "rm \"$0\"/projects/*/events.db", "can.t read" },
		{ "list cut short", NULL, "truncate -s -40 \"$0/backup.json\"", "is damaged" },
		{ "list empty", NULL, ": >\"$0/backup.json\"", "is damaged" },
		{ "list edited", "backup.json", "s/\"event_count\":1/\"event_count\":2/", "is damaged" },
		{ "newer", "backup.json", "s/\"format\":1/\"format\":2/", "made by a newer td-sync" },
		{ "a bit of a log", NULL, "printf x | dd of=\"$(ls \"$0\"/projects/*/events.db"
		  " | head -n 1)\" bs=1 seek=5000 conv=notrunc 2>/dev/null", "not what was written" },
		{ "a bit of server.db", NULL, "printf x | dd of=\"$0/server.db\" bs=1 seek=9000"
		  " conv=notrunc 2>/dev/null", "not what was written" },
		{ "a key that is missing", NULL, "rm \"$0\"/keys/*", "can.t read" },
		{ "no folder", NULL, "rm -r \"$0\"", "is no backup" },
	};
	char copy[PATH_MAX], command[4 * PATH_MAX], id[64];
	const char *from;

	ck_assert_int_gt(push(garden, "d", 1), 0);
	from = backup();
	head_of(garden);
	snprintf(id, sizeof(id), "%s", web_header(&answer, "X-Log-Id"));
	snprintf(copy, sizeof(copy), "%s/copy", temp);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		snprintf(command, sizeof(command), "rm -rf '%s' && cp -r '%s' '%s'", copy, from, copy);
		ck_assert_int_eq(system(command), 0);
		if (rows[i].file != NULL) {
			edit(copy, rows[i].file, rows[i].sed);
		} else {
			snprintf(command, sizeof(command), "sh -c '%s' '%s'", rows[i].sed, copy);
			ck_assert_int_eq(system(command), 0);
		}
		ck_assert_msg(admin("restore", copy, "--yes") > 0, "%s is taken", rows[i].what);
		snprintf(command, sizeof(command), "grep -q \"%s\" '%s/said'", rows[i].why, temp);
		ck_assert_msg(system(command) == 0, "%s: %s", rows[i].what, said);
		head_of(garden);
		ck_assert_str_eq(web_header(&answer, "X-Log-Id"), id);
	}
}
END_TEST

START_TEST(a_backup_of_another_server_is_refused)
{
	char other[PATH_MAX], mine[PATH_MAX];
	const char *from;

	snprintf(mine, sizeof(mine), "%s", site.data);
	from = backup();
	snprintf(other, sizeof(other), "%s/other", temp);
	snprintf(site.data, sizeof(site.data), "%s", other);
	MUST("init");
	ck_assert_int_eq(admin("restore", from, "--yes"), 4);
	ck_assert_msg(strstr(said, "is of another server") != NULL, "%s", said);
	ck_assert_int_eq(admin("restore", from, "--project", "garden", "--yes"), 4);
	MUST("backup", backups, "--keep", "1"); /* beside each other */
	snprintf(site.data, sizeof(site.data), "%s", mine);
	ck_assert_uint_eq(count_backups("td-sync-*"), 2);
	ck_assert_int_eq(admin("restore", from, "--project", "nothing", "--yes"), 3);
	ck_assert_int_eq(admin("restore", from), 2); /* nobody to ask */
}
END_TEST

START_TEST(a_backup_goes_to_a_folder_where_it_is_safe)
{
	char path[PATH_MAX + 64], list[PATH_MAX + 64];
	struct lock *lock;

	ck_assert_int_eq(admin("backup", site.data), 5);
	snprintf(path, sizeof(path), "%s/backups", site.data);
	ck_assert_int_eq(admin("backup", path), 5);
	ck_assert_int_ne(access(path, F_OK), 0);
	ck_assert_int_eq(mkdir(path, 0700), 0);
	ck_assert_int_eq(admin("backup", path), 5);
	ck_assert_int_eq(access(path, F_OK), 0); /* it was there before */
	ck_assert_int_eq(admin("backup", "/nonexistent/folder"), 1);
	snprintf(path, sizeof(path), "%s/said", temp);
	ck_assert_int_eq(admin("backup", path), 1);
	ck_assert_int_eq(admin("backup", backup()), 5);
	ck_assert_int_eq(admin("backup", backups, "--keep", "0"), 5);
	ck_assert_int_eq(admin("backup", backups, "--keep", "100001"), 5);

	/* One at a time, and none beside a restore. */
	snprintf(path, sizeof(path), "%s/backup.lock", site.data);
	ck_assert_int_eq(lock_open(path, &lock, NULL), RC_OK);
	ck_assert_int_eq(lock_take(lock, 0), RC_OK);
	ck_assert_int_eq(admin("backup", backups), 4);
	ck_assert_int_eq(admin("restore", newest(), "--yes"), 4);
	ck_assert_uint_eq(count_backups(".td-sync-*"), 0);
	lock_close(lock);

	/* What is not ours is not counted, and stays. */
	snprintf(path, sizeof(path), "%s/td-sync-20200101T000000Z", backups);
	ck_assert_int_eq(mkdir(path, 0700), 0);
	snprintf(list, sizeof(list), "%s/td-sync-mine", backups);
	ck_assert_int_eq(mkdir(list, 0700), 0);
	MUST("backup", backups, "--keep", "2");
	MUST("backup", backups, "--keep", "2");
	ck_assert_uint_eq(count_backups("td-sync-*"), 4);
	ck_assert(access(path, F_OK) == 0 && access(list, F_OK) == 0);
}
END_TEST

START_TEST(accounts_that_are_newer_stay_and_no_token_comes_back_to_life)
{
	char greta[ID_MAX], fence[ID_MAX], made[ID_MAX], early[ID_MAX], removed[ID_MAX];
	char *now, *old, *gone;
	const char *from;

	old = site_token(&site, user, SCOPE_READ, NULL, early);
	site_user(&site, "otto@example.com", removed);
	gone = site_token(&site, removed, SCOPE_READ, NULL, NULL);
	site_member(&site, shed, removed, ROLE_READER);
	MUST("project", "share", shed);
	from = backup();
	MUST("token", "revoke", early);
	MUST("user", "remove", "otto@example.com", "--yes");
	MUST("project", "unshare", shed);
	MUST("project", "delete", shed, "--yes");
	site_user(&site, "greta@example.com", greta);
	site_project(&site, "Fence", greta, fence);
	now = site_token(&site, greta, SCOPE_READ | SCOPE_WRITE, NULL, made);

	MUST("restore", from, "--yes");
	MUST("project", "list");
	ck_assert(strstr(said, fence) != NULL && strstr(said, "deleted") == NULL);
	MUST("audit");
	ck_assert(strstr(said, "server.restore") != NULL && strstr(said, made) != NULL);
	ck_assert_int_eq(call("GET", shed, "status", (struct span){ 0 }), 200);
	free(token);
	token = now;
	ck_assert_int_eq(call("GET", fence, "status", (struct span){ 0 }), 200);
	ck_assert_int_gt(push(fence, "g", 1), 0);
	token = NULL; /* a guest: it was made private */
	ck_assert_int_eq(call("GET", shed, "status", (struct span){ 0 }), 401);
	token = old;
	ck_assert_int_eq(call("GET", shed, "status", (struct span){ 0 }), 401);
	token = gone;
	ck_assert_int_eq(call("GET", shed, "status", (struct span){ 0 }), 401);
	token = now;
	free(old);
	free(gone);
}
END_TEST

/* --- under load --- */

#define PUSHERS 4
#define PULLERS 3
#define NUMBERS 40000

static atomic_bool over;
static atomic_int given;
static struct { int64_t seq; int who, n; } numbers[NUMBERS];

/* Push until it is over; what had an ack is noted. */
static void *
pushing(void *ctx)
{
	int who = *(int *)ctx;
	struct web_answer a = { 0 };

	for (int n = 1; !over; n++) {
		struct buf b = { 0 };
		char path[128];
		const char *at;
		struct web_call c = { .method = "POST", .url = site.url, .path = path,
		                      .token = token };

		snprintf(path, sizeof(path), "/v1/projects/%s/sync/push", garden);
		buf_addf(&b, "{\"device_id\":\"p%d\",\"session_id\":\"s\",\"events\":[{"
		         "\"client_action_id\":%d,\"action_type\":\"create\",\"entity_type\":"
		         "\"issues\",\"entity_id\":\"td-%d-%d\",\"payload\":{\"schema_version\":1,"
		         "\"new_data\":{\"id\":\"td-%d-%d\",\"title\":\"T\"},\"previous_data\":{}},"
		         "\"client_timestamp\":\"2026-03-01T10:00:00Z\"}]}", who, n, who, n, who, n);
		c.body = buf_span(&b);
		if (web_call(&c, &a) && a.status == 200 &&
		    (at = strstr(a.body.p, "\"server_seq\":")) != NULL) {
			int i = given++;

			if (i < NUMBERS) {
				numbers[i].seq = strtoll(at + 13, NULL, 10);
				numbers[i].who = who;
				numbers[i].n = n;
			}
		} else if (a.status != 503) {
			fprintf(stderr, "push: %d %s\n", a.status, a.body.len > 0 ? a.body.p : "");
			over = true;
		}
		buf_free(&b);
	}
	web_free(&a);
	return NULL;
}

static int
by_seq(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return x < y ? -1 : x > y;
}

START_TEST(under_load_a_restore_gives_no_number_twice_and_stock_devices_skip_nothing)
{
	struct stock s[PULLERS] = { { .name = "s0" }, { .name = "s1" }, { .name = "s2" } };
	pthread_t threads[PUSHERS];
	int who[PUSHERS], n;
	int64_t last = 0;
	sigset_t alarm;

	/* lock.h: the others must keep it blocked */
	sigemptyset(&alarm);
	sigaddset(&alarm, SIGALRM);
	pthread_sigmask(SIG_BLOCK, &alarm, NULL);
	over = false;
	given = 0;
	for (int i = 0; i < PUSHERS; i++) {
		who[i] = i;
		ck_assert_int_eq(pthread_create(&threads[i], NULL, pushing, &who[i]), 0);
	}
	for (int round = 0; round < 4; round++) {
		const char *from = backup();

		for (int i = 0; i < PULLERS; i++) {
			usleep(100000);
			stock_pull(&s[i], garden);
		}
		if (round % 2 == 0)
			MUST("restore", from, "--yes");
		else
			MUST("restore", from, "--project", garden, "--yes");
		last = head_of(garden);
		ck_assert_msg(!over, "a push failed");
	}
	usleep(300000);
	over = true;
	for (int i = 0; i < PUSHERS; i++)
		pthread_join(threads[i], NULL);
	n = given < NUMBERS ? given : NUMBERS;
	ck_assert_int_gt(n, 100);
	qsort(numbers, (size_t)n, sizeof(numbers[0]), by_seq);
	for (int i = 1; i < n; i++)
		ck_assert_int_lt(numbers[i - 1].seq, numbers[i].seq);
	for (int i = 0; i < PULLERS; i++) {
		stock_pull(&s[i], garden);
		for (int k = n - 1; k >= 0 && numbers[k].seq > last; k--) {
			char id[64];

			snprintf(id, sizeof(id), "td-%d-%d", numbers[k].who, numbers[k].n);
			ck_assert_msg(has_seen(&s[i], id), "%s is skipped", id);
		}
		buf_free(&s[i].seen);
	}
	ck_assert_int_gt(numbers[n - 1].seq, last);
	MUST("project", "verify", garden);
}
END_TEST

/* --- upgrades: a data folder that each version left --- */

static char folder[TEMP_PATH + 16];

static void
unpack(int format)
{
	char command[FIXTURE_PATH + 4 * TEMP_PATH], name[32], path[FIXTURE_PATH];

	snprintf(name, sizeof(name), "data-format%d.tar", format);
	ck_assert(fixture_find(name, path));
	snprintf(folder, sizeof(folder), "%s/folder", temp);
	temp_remove(folder);
	snprintf(command, sizeof(command), "mkdir '%s' && tar -C '%s' -xf '%s'", folder, folder,
	         path);
	ck_assert_int_eq(system(command), 0);
	snprintf(site.data, sizeof(site.data), "%s/data", folder);
}

static void
read_file(const char *name, struct buf *out)
{
	char path[TEMP_PATH + 64];

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	buf_reset(out);
	ck_assert_int_eq(fs_read(path, 1 << 24, out, NULL), RC_OK);
	ck_assert_ptr_nonnull(buf_cstr(out));
}

/* A line of a file, for the caller to free. */
static char *
line_of(const char *name)
{
	struct buf b = { 0 };

	read_file(name, &b);
	b.p[strcspn(b.p, "\n")] = '\0';
	return b.p;
}

/* All is served as that version served it. */
static void
serves_as_before(void)
{
	static const struct { const char *file, *what, *token; } rows[] = {
		{ "expected/pull.json", "pull?after_server_seq=0&limit=1000", "token" },
		{ "expected/page.json", "pull?after_server_seq=120&limit=50", "reader" },
		{ "expected/status.json", "status", "token" },
	};
	char data[PATH_MAX], *project = line_of("project");
	struct buf want = { 0 };

	snprintf(data, sizeof(data), "%s", site.data);
	options = (struct site_options){ .kind = SITE_FASTCGI, .data = data };
	ck_assert(site_start(&site, &options));
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		free(token);
		token = line_of(rows[i].token);
		read_file(rows[i].file, &want);
		ck_assert_int_eq(call("GET", project, rows[i].what, (struct span){ 0 }), 200);
		ck_assert_str_eq(answer.body.p, want.p);
	}
	free(token);
	token = line_of("token");
	ck_assert_int_gt(push(project, "today", 1), 303);
	ck_assert_int_eq(call("GET", project, "digest", (struct span){ 0 }), 200);
	ck_assert(site_stop(&site));
	snprintf(site.data, sizeof(site.data), "%s", data);
	MUST("project", "verify", project);
	buf_free(&want);
	free(project);
	free(token);
	token = NULL;
}

static void
upgrade_setup(void)
{
	char plan[TEMP_PATH + 16];

	replica_setup();
	snprintf(plan, sizeof(plan), "%s/plan", temp);
	ck_assert(mishap_share(plan));
	site = (struct site){ 0 };
}

/* The format of server.db; `known`, that of ours, may be NULL. */
static int
format_of_server(int *known)
{
	int format, ours;

	ck_assert_int_eq(accounts_format(site.data, &format, known != NULL ? known : &ours, NULL), RC_OK);
	return format;
}

static int
known_format(void)
{
	int known;

	format_of_server(&known);
	return known;
}

static bool
is_kept(int format)
{
	char path[PATH_MAX + 64], server_id[ID_MAX];
	struct buf wrong = { 0 };
	sqlite3 *db;

	snprintf(path, sizeof(path), "%s/server.db.format%d", site.data, format);
	if (access(path, F_OK) != 0)
		return false;
	ck_assert_int_eq(db_open(path, DB_KEPT, &db, NULL), RC_OK);
	ck_assert_int_eq(db_check(db, &wrong, NULL), RC_OK);
	ck_assert_uint_eq(wrong.len, 0);
	sqlite3_close(db);
	if (format > 1)
		ck_assert_int_eq(accounts_inspect(path, server_id, NULL, NULL, &wrong, NULL), RC_OK);
	buf_free(&wrong);
	return true;
}

START_TEST(a_data_folder_of_each_version_is_upgraded_and_served_byte_for_byte)
{
	bool old;

	unpack(_i);
	old = _i < known_format();
	ck_assert_int_eq(admin("upgrade", "--check"), old ? 6 : 0);
	ck_assert(!is_kept(_i));
	MUST("upgrade");
	ck_assert(strstr(said, old ? "upgraded" : "current") != NULL);
	ck_assert(is_kept(_i) == old);
	ck_assert_int_eq(admin("upgrade", "--check"), 0);
	serves_as_before();
	/* where nobody runs commands */
	unpack(_i);
	serves_as_before();
	ck_assert(is_kept(_i) == old);
	if (_i > 1) { /* what was backed up then comes back */
		snprintf(backups, sizeof(backups), "%s/backups", temp);
		unpack(_i);
		MUST("backup", backups, "--with-keys");
		temp_remove(site.data);
		MUST("restore", newest(), "--yes");
		MUST("upgrade");
	}
}
END_TEST

START_TEST(there_is_a_data_folder_of_each_format)
{
	char name[32], path[FIXTURE_PATH];

	unpack(1);
	for (int format = known_format(); format > 0; format--) {
		snprintf(name, sizeof(name), "data-format%d.tar", format);
		ck_assert_msg(fixture_find(name, path), "%s is missing", name);
	}
}
END_TEST

START_TEST(an_upgrade_that_was_killed_anywhere_is_done_when_it_is_run_again)
{
	int code = -1, n;

	for (n = 1; code == -1; n++) {
		unpack(1);
		code = WITH_MISHAP(n, MISHAP_KILL, false, "", "upgrade");
		mishap_none();
		ck_assert_msg(code <= 0, "%d: %s", code, said);
		MUST("upgrade");
		ck_assert(is_kept(1));
		ck_assert_int_eq(admin("upgrade", "--check"), 0);
	}
	ck_assert_int_gt(n, 20);
	serves_as_before();
}
END_TEST

static void
run_sql(const char *file, const char *sql)
{
	char path[PATH_MAX + 64];
	sqlite3 *db;

	snprintf(path, sizeof(path), "%s/%s", site.data, file);
	ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
	sqlite3_busy_timeout(db, 5000); /* workers write, too */
	ck_assert_msg(sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK, "%s",
	              sqlite3_errmsg(db));
	sqlite3_close(db);
}

/* All that is in server.db, the schema too, as text. */
static void
dump(struct buf *out)
{
	static const char tables[] =
	    "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name";
	struct buf sql = { 0 };
	char path[PATH_MAX + 64];
	sqlite3_stmt *list, *rows;
	sqlite3 *db;

	buf_reset(out);
	snprintf(path, sizeof(path), "%s/server.db", site.data);
	ck_assert_int_eq(sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
	ck_assert_int_eq(sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL), SQLITE_OK);
	buf_add_str(&sql, "SELECT type, name, sql FROM sqlite_schema ORDER BY name");
	ck_assert_int_eq(sqlite3_prepare_v2(db, tables, -1, &list, NULL), SQLITE_OK);
	do {
		ck_assert_ptr_nonnull(buf_cstr(&sql));
		ck_assert_int_eq(sqlite3_prepare_v2(db, sql.p, -1, &rows, NULL), SQLITE_OK);
		while (sqlite3_step(rows) == SQLITE_ROW) {
			for (int i = 0; i < sqlite3_column_count(rows); i++)
				buf_addf(out, "%s|", sqlite3_column_type(rows, i) == SQLITE_NULL ? "NULL"
				         : (const char *)sqlite3_column_text(rows, i));
			buf_add_str(out, "\n");
		}
		sqlite3_finalize(rows);
		buf_reset(&sql);
		if (sqlite3_step(list) == SQLITE_ROW)
			buf_addf(&sql, "SELECT * FROM \"%s\"", (const char *)sqlite3_column_text(list, 0));
	} while (sql.len > 0);
	sqlite3_finalize(list);
	sqlite3_close(db);
	buf_free(&sql);
	ck_assert_ptr_nonnull(buf_cstr(out));
}

/* The folder is what was packed, byte for byte, but for what the command names. */
static bool
is_as_packed(int format, const char *exclude)
{
	struct buf command = { 0 };
	char name[32], path[FIXTURE_PATH];
	int status;

	snprintf(name, sizeof(name), "data-format%d.tar", format);
	ck_assert(fixture_find(name, path));
	buf_addf(&command, "rm -rf '%s/packed' && mkdir '%s/packed' && tar -C '%s/packed' -xf '%s'"
	         " && diff -r %s '%s/packed/data' '%s' >&2", temp, temp, temp, path, exclude, temp,
	         site.data);
	ck_assert_ptr_nonnull(buf_cstr(&command));
	status = system(command.p);
	buf_free(&command);
	return status == 0;
}

/* (SQLite's index of a WAL, -shm, is made anew by each first reader.) */
#define NOT_ACCOUNTS "-x '*-shm' -x 'server.db*'"

START_TEST(after_an_upgrade_went_back_all_is_as_it_was)
{
	struct buf was = { 0 }, is = { 0 };

	unpack(_i);
	dump(&was);
	ck_assert_int_eq(admin("upgrade", "--back"), 0); /* it is there already */
	ck_assert_ptr_nonnull(strstr(said, "older"));
	MUST("upgrade");
	dump(&is);
	ck_assert(strcmp(is.p, was.p) != 0);
	ck_assert_int_eq(admin("upgrade", "--back", "--check"), 5);
	for (int i = 0; i < 2; i++) {
		MUST("upgrade", "--back");
		ck_assert_ptr_nonnull(strstr(said, i == 0 ? "back: from format 3 to " : "older"));
		dump(&is);
		ck_assert(strcmp(is.p, was.p) == 0);
		ck_assert(is_as_packed(_i, NOT_ACCOUNTS));
	}
	ck_assert_int_eq(admin("upgrade", "--check"), 6);
	MUST("upgrade");
	serves_as_before();
	buf_free(&was);
	buf_free(&is);
}
END_TEST

/* A user, a token, a project; an event, by a worker. */
static void
write_on(const char *project)
{
	char data[PATH_MAX];

	MUST("user", "add", "late@example.com");
	MUST("token", "create", "--user", "late@example.com", "--name", "late");
	MUST("project", "add", "late", "--owner", "late@example.com");
	snprintf(data, sizeof(data), "%s", site.data);
	options = (struct site_options){ .kind = SITE_FASTCGI, .data = data };
	ck_assert(site_start(&site, &options));
	ck_assert_int_gt(push(project, "late", 1), 303);
	ck_assert(site_stop(&site));
	snprintf(site.data, sizeof(site.data), "%s", data);
}

START_TEST(what_was_written_since_goes_back_along)
{
	struct buf b = { 0 };
	char *project;

	unpack(2);
	project = line_of("project");
	token = line_of("token");
	MUST("upgrade");
	write_on(project);
	MUST("upgrade", "--back");
	ck_assert_int_eq(format_of_server(NULL), 2);
	dump(&b);
	ck_assert_ptr_nonnull(strstr(b.p, "|late@example.com|"));
	ck_assert_ptr_nonnull(strstr(b.p, "|late|"));
	ck_assert_ptr_null(strstr(b.p, "token_key"));
	MUST("upgrade");
	MUST("token", "list");
	ck_assert_ptr_nonnull(strstr(said, "late"));
	MUST("project", "verify", project);
	ck_assert_ptr_nonnull(strstr(said, "304 events"));
	free(project);
	free(token);
	token = NULL;
	buf_free(&b);
}
END_TEST

static const struct { int format; const char *sql, *says; } since[] = {
	{ 2, "UPDATE token SET key = x'00' WHERE n = 2", " is a key" },
	{ 1, "UPDATE token SET key = x'00' WHERE n = 2", " is a key" },
	{ 1, "UPDATE project SET public = 1 WHERE slug = 'garden'", "the project garden is public" },
	{ 1, "UPDATE project SET purged_at = 1 WHERE slug = 'gone'", "the project gone was purged" },
	{ 1, "UPDATE token SET link = 1 WHERE n = 2", "there is the share link ak_" },
	{ 1, "UPDATE token SET made_by = 1 WHERE n = 2", "there is the share link ak_" },
	{ 1, "INSERT INTO invitation VALUES (1, 'inv_1', 1, 'a@b', 1, 'u', 0, 1, 1, 0)",
	  "there is the invitation inv_1" },
	{ 1, "INSERT INTO audit VALUES (1, 1, '', '', '', 'token.create', '', '', '')",
	  "there is the audit log" },
};

START_TEST(what_an_older_format_has_no_place_for_is_not_thrown_away)
{
	struct buf was = { 0 }, is = { 0 };

	unpack(since[_i].format);
	MUST("upgrade");
	run_sql("server.db", since[_i].sql);
	dump(&was);
	ck_assert_int_eq(admin("upgrade", "--back"), 4);
	ck_assert_msg(strstr(said, since[_i].says) != NULL && strstr(said, "no place for") != NULL,
	              "%s", said);
	dump(&is);
	ck_assert(strcmp(is.p, was.p) == 0);
	buf_free(&was);
	buf_free(&is);
}
END_TEST

START_TEST(where_there_was_no_older_format_nothing_goes_back)
{
	char path[PATH_MAX + 64];

	unpack(2);
	MUST("upgrade");
	snprintf(path, sizeof(path), "%s/server.db.format2", site.data);
	ck_assert_int_eq(unlink(path), 0);
	ck_assert_int_eq(admin("upgrade", "--back"), 1);
	ck_assert_msg(strstr(said, "no format to go back to") != NULL, "%s", said);
	ck_assert_int_eq(format_of_server(NULL), 3);
	run_sql("server.db", "UPDATE meta SET value = '99' WHERE key = 'format'");
	ck_assert_int_eq(admin("upgrade", "--back"), 1);
	ck_assert_msg(strstr(said, "made by a newer td-sync") != NULL, "%s", said);
	temp_remove(site.data);
	ck_assert_int_eq(mkdir(site.data, 0700), 0);
	ck_assert_int_eq(admin("upgrade", "--back"), 1);
	ck_assert_msg(strstr(said, "there is no server.db") != NULL, "%s", said);
}
END_TEST

START_TEST(a_way_back_that_was_killed_anywhere_is_gone_when_it_is_run_again)
{
	struct buf was = { 0 }, is = { 0 };
	int code = -1, n;

	for (n = 1; code == -1; n++) {
		unpack(1);
		dump(&was);
		MUST("upgrade");
		code = WITH_MISHAP(n, MISHAP_KILL, false, "", "upgrade", "--back");
		mishap_none();
		ck_assert_msg(code <= 0, "%d: %s", code, said);
		ck_assert(format_of_server(NULL) == 1 || format_of_server(NULL) == 3);
		MUST("upgrade", "--back");
		dump(&is);
		ck_assert(strcmp(is.p, was.p) == 0);
	}
	ck_assert_int_gt(n, 10);
	buf_free(&was);
	buf_free(&is);
}
END_TEST

/* There (1) or back (0) on a full disk: one format or the other, whole, and why. */
START_TEST(an_upgrade_on_a_full_disk_says_so_and_is_done_when_there_is_room)
{
	struct buf was = { 0 }, is = { 0 };
	char tmp[PATH_MAX + 64];
	int code = 1, n;

	for (n = 1; code != 0; n += 2) {
		unpack(2);
		if (_i == 0)
			MUST("upgrade");
		dump(&was);
		code = _i == 0 ? WITH_MISHAP(n, ENOSPC, true, "/server.db", "upgrade", "--back")
		               : WITH_MISHAP(n, ENOSPC, true, "/server.db", "upgrade");
		mishap_none();
		if (code == 0)
			break;
		ck_assert_msg(code == 1 && strchr(said, '\n') == said + strlen(said) - 1, "%d: %s", code,
		              said);
		/* (SQLite does not tell what kept it from making -shm, or from opening.) */
		ck_assert_msg(strstr(said, "full") != NULL || strstr(said, "No space") != NULL ||
		              strstr(said, "the disk fails") != NULL ||
		              strstr(said, "unable to open") != NULL, "%s", said);
		dump(&is);
		if (format_of_server(NULL) == (_i == 0 ? 3 : 2))
			ck_assert(strcmp(is.p, was.p) == 0);
		ck_assert_int_eq(_i == 0 ? admin("upgrade", "--back") : admin("upgrade"), 0);
		ck_assert_int_eq(format_of_server(NULL), _i == 0 ? 2 : 3);
		snprintf(tmp, sizeof(tmp), "%s/server.db.format2.tmp", site.data);
		ck_assert_int_ne(access(tmp, F_OK), 0);
	}
	ck_assert_int_gt(n, 4);
	buf_free(&was);
	buf_free(&is);
}
END_TEST

/* 0 where the command is refused as it should be on a disk that takes nothing. */
static int
read_only_child(const char *option, const char *says)
{
	if (!read_only(site.data))
		return READ_ONLY_REFUSED;
	if (admin_with(false, (const char *const[]){ "upgrade", option, NULL }) == 1 &&
	    strstr(said, says) != NULL && strstr(said, "ead-only") != NULL &&
	    strchr(said, '\n') == said + strlen(said) - 1)
		return 0;
	fprintf(stderr, "%s", said);
	return 1;
}

START_TEST(on_a_read_only_disk_an_upgrade_changes_nothing_and_says_why)
{
	static const struct { const char *option, *says; } rows[] = {
		{ NULL, "/server.db has format 2 and can't be brought to format 3: " },
		{ "--back", "td-sync-admin: " },
	};
	struct buf was = { 0 }, is = { 0 };
	pid_t pid;

	unpack(2);
	if (_i == 1)
		MUST("upgrade");
	dump(&was);
	fflush(NULL);
	if ((pid = fork()) == 0)
		_exit(read_only_child(rows[_i].option, rows[_i].says));
	read_only_ended(pid);
	dump(&is);
	ck_assert(strcmp(is.p, was.p) == 0);
	if (_i == 0)
		ck_assert(is_as_packed(2, "-x '*-shm'"));
	ck_assert_int_eq(admin_with(false, (const char *const[]){ "upgrade", rows[_i].option, NULL }), 0);
	buf_free(&was);
	buf_free(&is);
}
END_TEST

START_TEST(a_newer_format_is_refused_by_worker_and_admin)
{
	char data[PATH_MAX], file[128], *project;

	unpack(2);
	MUST("upgrade");
	project = line_of("project");
	token = line_of("token");
	snprintf(file, sizeof(file), "projects/%s/events.db", project);
	run_sql(file, "UPDATE meta SET value = 99 WHERE key = 'format'");
	ck_assert_int_eq(admin("upgrade"), 1);
	ck_assert_msg(strstr(said, "has format 99") != NULL, "%s", said);
	snprintf(data, sizeof(data), "%s", site.data);
	options = (struct site_options){ .kind = SITE_FASTCGI, .data = data };
	ck_assert(site_start(&site, &options));
	ck_assert_int_eq(call("GET", project, "status", (struct span){ 0 }), 503);
	run_sql("server.db", "UPDATE meta SET value = '99' WHERE key = 'format'");
	ck_assert(site_stop(&site));
	snprintf(site.data, sizeof(site.data), "%s", data);
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(i == 0 ? admin("upgrade") : i == 1 ? admin("upgrade", "--check")
		                 : admin("user", "list"), 1);
		ck_assert_msg(strstr(said, "made by a newer td-sync") != NULL, "%s", said);
	}
	free(project);
	free(token);
	token = NULL;
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("backup");
	TCase *tc = tcase_create("drills");
	SRunner *sr;
	int failed;

	/* What is lost with the power is not what this is about. */
	if (getenv("TMPDIR") == NULL && access("/dev/shm", W_OK) == 0)
		setenv("TMPDIR", "/dev/shm", 1);
	if (site_missing(SITE_FASTCGI) != NULL) {
		printf("skipped: %s\n", site_missing(SITE_FASTCGI));
		return 77;
	}
	tcase_set_timeout(tc, 600);
	tcase_add_checked_fixture(tc, start, stop);
	tcase_add_loop_test(tc, a_restore_gives_back_what_devices_hold_and_no_number_twice, 0,
	                    DRILLS);
	tcase_add_loop_test(tc, a_restore_that_was_killed_anywhere_ends_right_when_it_is_run_again,
	                    0, 3);
	tcase_add_loop_test(tc, a_backup_that_was_killed_anywhere_leaves_nothing_that_looks_like_one,
	                    0, 2);
	tcase_add_test(tc, a_restore_on_a_full_disk_leaves_one_log_or_the_other);
	tcase_add_test(tc,
	    a_backup_that_is_not_whole_or_not_ours_is_refused_before_anything_is_touched);
	tcase_add_test(tc, a_backup_of_another_server_is_refused);
	tcase_add_test(tc, a_backup_goes_to_a_folder_where_it_is_safe);
	tcase_add_test(tc, accounts_that_are_newer_stay_and_no_token_comes_back_to_life);
	tcase_add_test(tc,
	    under_load_a_restore_gives_no_number_twice_and_stock_devices_skip_nothing);
	suite_add_tcase(s, tc);
	tc = tcase_create("upgrades");
	tcase_set_timeout(tc, 600);
	tcase_add_checked_fixture(tc, upgrade_setup, replica_teardown);
	tcase_add_loop_test(tc, a_data_folder_of_each_version_is_upgraded_and_served_byte_for_byte,
	                    1, 4);
	tcase_add_test(tc, there_is_a_data_folder_of_each_format);
	tcase_add_test(tc, an_upgrade_that_was_killed_anywhere_is_done_when_it_is_run_again);
	tcase_add_loop_test(tc, after_an_upgrade_went_back_all_is_as_it_was, 1, 3);
	tcase_add_test(tc, what_was_written_since_goes_back_along);
	tcase_add_loop_test(tc, what_an_older_format_has_no_place_for_is_not_thrown_away, 0,
	                    sizeof(since) / sizeof(since[0]));
	tcase_add_test(tc, where_there_was_no_older_format_nothing_goes_back);
	tcase_add_test(tc, a_way_back_that_was_killed_anywhere_is_gone_when_it_is_run_again);
	tcase_add_loop_test(tc, an_upgrade_on_a_full_disk_says_so_and_is_done_when_there_is_room, 0, 2);
	tcase_add_loop_test(tc, on_a_read_only_disk_an_upgrade_changes_nothing_and_says_why, 0, 2);
	tcase_add_test(tc, a_newer_format_is_refused_by_worker_and_admin);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
