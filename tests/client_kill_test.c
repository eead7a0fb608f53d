/*
 * The client killed at each of its writes in turn, and each of its writes
 * failing in turn: the database stays whole, and the next sync ends as if
 * nothing had happened, each event in the log once.
 *
 * Most of it with the library straight into a log, where a round takes some
 * milliseconds; once with the command, over HTTP.
 */
#include "tests/mishap.h"
#include "tests/patience.h"
#include "tests/replica.h"
#include "tests/site.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

/* A command ends as the man page has it. */
#define EXIT_LOCAL 4
#define KILLED (-1)

static struct replica a;
static int which;           /* of beginnings[] */
static struct site site;     /* where the command is run */
static char project[ID_MAX], *token;
static bool over_http;
static int64_t events;       /* that the log must have */

/* --- one call, in a process of its own --- */

/* DO_OLDER: a sync that finds books of an older format. */
enum call { DO_LINK, DO_UNLINK, DO_PUSH, DO_PULL, DO_SYNC, DO_OLDER };
static const char *const names[] = { "link", "unlink", "push", "pull", "sync", "sync" };

static int
run_library(struct replica *r, enum call c)
{
	static const int codes[] = { [TDSYNC_OK] = 0, [TDSYNC_LOCAL] = EXIT_LOCAL };
	enum tdsync_rc rc = TDSYNC_OK;

	replica_open(r);
	switch (c) {
	case DO_LINK:
		rc = tdsync_link(r->t, PROJECT);
		break;
	case DO_UNLINK:
		rc = tdsync_unlink(r->t);
		break;
	case DO_PUSH:
		rc = tdsync_push(r->t, NULL);
		break;
	case DO_PULL:
		rc = tdsync_pull(r->t, NULL);
		break;
	case DO_SYNC:
	case DO_OLDER:
		rc = tdsync_sync(r->t, NULL);
		break;
	}
	if (rc != TDSYNC_OK)
		fprintf(stderr, "%s\n", tdsync_error(r->t));
	replica_close(r);
	return rc == TDSYNC_OK || rc == TDSYNC_LOCAL ? codes[rc] : 100 + (int)rc;
}

static void
exec_command(const struct replica *r, enum call c, bool with_mishaps)
{
	setenv("TD_SYNC_URL", site.url, 1);
	setenv("TD_AUTH_KEY", token, 1);
	if (with_mishaps) {
		setenv("LD_PRELOAD", MISHAP_LIBRARY, 1);
		setenv("TD_SYNC_MISHAP", mishap_file(), 1);
		/* In a build with sanitizers theirs need not be the first library. */
		setenv("ASAN_OPTIONS", "verify_asan_link_order=0", 1);
	}
	execl(TOP_BUILDDIR "/td-sync", "td-sync", "--quiet", "--dir", r->dir, names[c],
	      c == DO_LINK ? project : NULL, NULL);
	_exit(127);
}

/*
 * Make a call; what it says goes to the file "said". Returns its exit code, or
 * KILLED. `at`: the action strikes at that write; 0: nothing does.
 */
static int
run(struct replica *r, enum call c, int at, int action, bool lasting)
{
	char said[TEMP_PATH + 16];
	int status, fd;
	pid_t pid;

	snprintf(said, sizeof(said), "%s/said", temp);
	fflush(NULL);
	if ((pid = fork()) == 0) {
		fd = open(said, O_WRONLY | O_CREAT | O_TRUNC, 0600);
		dup2(fd, STDERR_FILENO);
		/* The command is killed at any write, to the network as well; of the
		 * library's, those that are the server's are none of ours. */
		if (at > 0)
			mishap_plan(at, action, lasting, over_http ? "" : "/.todos/");
		if (over_http)
			exec_command(r, c, at > 0);
		_exit(run_library(r, c));
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	mishap_none();
	if (WIFSIGNALED(status)) {
		ck_assert_int_eq(WTERMSIG(status), SIGKILL);
		return KILLED;
	}
	return WEXITSTATUS(status);
}

static const char *
said(void)
{
	static char text[1000];
	char path[TEMP_PATH + 16];
	FILE *f;
	size_t n;

	snprintf(path, sizeof(path), "%s/said", temp);
	f = fopen(path, "r");
	n = f == NULL ? 0 : fread(text, 1, sizeof(text) - 1, f);
	text[n] = '\0';
	if (f != NULL)
		fclose(f);
	return text;
}

static void
must(struct replica *r, enum call c)
{
	int code = run(r, c, 0, 0, false);

	ck_assert_msg(code == 0, "%s: %s: exit code %d: %s", r->dir, names[c], code, said());
}

/* --- edits, to be told apart by their number --- */

#define ISSUE "td-00000a"

/* A's td writes a title. */
static void
edit(int n)
{
	sql(&a, "INSERT INTO action_log (id, session_id, action_type, entity_type, entity_id,"
	    " previous_data, new_data, timestamp, undone)"
	    " SELECT 'al-' || lower(hex(randomblob(4))), 'ses_test', 'update', 'issue', id,"
	    " json_object('id', id, 'title', title), json_object('id', id, 'title', '%d'),"
	    " strftime('%%Y-%%m-%%dT%%H:%%M:%%fZ', 'now'), 0 FROM issues;"
	    "UPDATE issues SET title = '%d'", n, n);
	events++;
}

/* Somebody else's description arrives at the server. */
static void
others_edit(int n)
{
	struct buf event = { 0 };

	buf_addf(&event, "{\"client_action_id\":%d,\"action_type\":\"update\","
	    "\"entity_type\":\"issues\",\"entity_id\":\"" ISSUE "\",\"payload\":"
	    "{\"schema_version\":1,\"new_data\":{\"id\":\"" ISSUE "\",\"description\":"
	    "\"%d\"},\"previous_data\":{\"id\":\"" ISSUE "\",\"description\":\"\"}},"
	    "\"client_timestamp\":\"2027-01-31T10:00:00Z\"}", n, n);
	server_push("device-other", "ses_other", buf_span(&event));
	buf_free(&event);
	events++;
}

/* --- what holds after each --- */

/* As td finds it when it opens the database next. */
static void
assert_whole(void)
{
	ck_assert_str_eq(ask(&a, "SELECT (SELECT group_concat(integrity_check)"
	    " FROM pragma_integrity_check) || (SELECT count(*) FROM pragma_foreign_key_check)"),
	    "ok0");
}

static void
assert_as_if_nothing_had_happened(enum call c, int n)
{
	char want[80];

	if (c == DO_LINK || c == DO_UNLINK)
		must(&a, DO_LINK);
	must(&a, DO_SYNC);
	snprintf(want, sizeof(want), "title %d text %d pending 0 cursor %lld conflicts 0", n, n,
	    (long long)events);
	ck_assert_str_eq(ask(&a, "SELECT 'title ' || title || ' text ' || description ||"
	    " ' pending ' || (SELECT count(*) FROM action_log WHERE synced_at IS NULL) ||"
	    " ' cursor ' || (SELECT last_pulled_server_seq FROM sync_state) ||"
	    " ' conflicts ' || (SELECT count(*) FROM sync_conflicts) FROM issues"), want);
	ck_assert_str_eq(ask_books(&a, "PRAGMA integrity_check"), "ok");
}

/* A replica in step. */
static void
begin(const char *journal)
{
	char path[TEMP_PATH + 16];

	snprintf(path, sizeof(path), "%s/mishap", temp);
	ck_assert(mishap_share(path));
	replica_make(&a, "A", "empty-v38.db");
	replica_close(&a);
	sql(&a, "PRAGMA journal_mode = %s", journal);
	td_create(&a, ISSUE, "0");
	must(&a, DO_LINK);
	must(&a, DO_SYNC);
	events = 1;
}

/*
 * The call meets the action at its first write, its second, ... until it has
 * no more; of `step` writes one. Each time there is something to send and
 * something to fetch. Returns how many writes there are.
 */
static int
at_each_write(enum call c, int action, bool lasting, int first, int step)
{
	int n, code;

	if (SANITIZED)
		step *= 7; /* each process takes ten times as long */
	for (n = first;; n += step) {
		if (c == DO_LINK)
			must(&a, DO_UNLINK);
		if (c == DO_OLDER) {
			books_make_older(&a);
			unlink(replica_file(&a, "td-sync.db.format1"));
		}
		edit(n);
		others_edit(n);
		code = run(&a, c, n, action, lasting);
		if (mishap->struck == 0)
			break;
		if (action == MISHAP_KILL)
			ck_assert_msg(code == KILLED, "%s, write %d: exit code %d", names[c], n, code);
		else
			ck_assert_msg(code == 0 || (code == EXIT_LOCAL && said()[0] != '\0' &&
			    strchr(said(), '\n') == strrchr(said(), '\n')),
			    "%s, write %d: exit code %d: %s", names[c], n, code, said());
		assert_whole();
		if (c == DO_OLDER && strcmp(ask_books(&a, "PRAGMA user_version"), "1") != 0)
			ck_assert(books_are_kept(&a));
		assert_as_if_nothing_had_happened(c, n);
		ck_assert(c != DO_OLDER || books_are_kept(&a));
		ck_assert_int_lt(n, 1000);
	}
	ck_assert_msg(code == 0, "%s: exit code %d: %s", names[c], code, said());
	assert_as_if_nothing_had_happened(c, n);
	return n - 1;
}

/* --- the tests --- */

/* A write fails in one of three ways; TD_SYNC_TEST_ALL=1: in each of them. */
static const struct {
	enum call call;
	const char *journal;
	int action;
	bool lasting;
	int first, step;
	int least;        /* it has more writes than that */
} cases[] = {
	{ DO_LINK, "TRUNCATE", MISHAP_KILL, false, 1, 1, 4 },
	{ DO_UNLINK, "TRUNCATE", MISHAP_KILL, false, 1, 1, 4 },
	{ DO_PUSH, "TRUNCATE", MISHAP_KILL, false, 1, 1, 20 },
	{ DO_PULL, "TRUNCATE", MISHAP_KILL, false, 1, 1, 20 },
	{ DO_SYNC, "TRUNCATE", MISHAP_KILL, false, 1, 1, 80 },
	{ DO_SYNC, "WAL", MISHAP_KILL, false, 1, 1, 20 },
	{ DO_SYNC, "TRUNCATE", EIO, false, 1, 3, 80 },
	{ DO_SYNC, "TRUNCATE", ENOSPC, true, 2, 3, 80 },
	{ DO_SYNC, "TRUNCATE", EROFS, true, 3, 3, 80 },
	{ DO_SYNC, "WAL", EIO, false, 1, 3, 20 },
	{ DO_SYNC, "WAL", ENOSPC, true, 2, 3, 20 },
	{ DO_SYNC, "WAL", EROFS, true, 3, 3, 20 },
	{ DO_LINK, "TRUNCATE", EIO, false, 1, 1, 4 },
	{ DO_OLDER, "TRUNCATE", MISHAP_KILL, false, 1, 1, 90 },
	{ DO_OLDER, "WAL", MISHAP_KILL, false, 1, 1, 30 },
	{ DO_OLDER, "TRUNCATE", ENOSPC, true, 1, 3, 90 },
	{ DO_OLDER, "WAL", EROFS, true, 2, 3, 30 },
};

START_TEST(a_mishap_at_any_write_loses_and_doubles_nothing)
{
	int n;

	begin(cases[_i].journal);
	n = getenv("TD_SYNC_TEST_ALL") != NULL
	    ? at_each_write(cases[_i].call, cases[_i].action, cases[_i].lasting, 1, 1)
	    : at_each_write(cases[_i].call, cases[_i].action, cases[_i].lasting,
	                    cases[_i].first, cases[_i].step);
	ck_assert_msg(n > cases[_i].least, "%s has only %d writes", names[cases[_i].call], n);
}
END_TEST

/* --- a replica that begins with a snapshot --- */

#define ISSUES 8

/* Issues of somebody else, at the server. */
static void
fill_log(void)
{
	struct buf event = { 0 };

	for (int i = 0; i < ISSUES; i++)
		buf_addf(&event, "%s{\"client_action_id\":%d,\"action_type\":\"create\","
		         "\"entity_type\":\"issues\",\"entity_id\":\"td-00000%d\",\"payload\":"
		         "{\"schema_version\":1,\"new_data\":{\"id\":\"td-00000%d\",\"title\":"
		         "\"%d\"}},\"client_timestamp\":\"2027-01-31T10:00:00Z\"}", i > 0 ? "," : "",
		         i + 1, i, i, i);
	server_push("device-other", "ses_other", buf_span(&event));
	buf_free(&event);
}

/* What is left beside the two databases when all is over. */
static void
assert_tidy(void)
{
	static const char *const known[] = { "issues.db", "issues.db-journal", "issues.db-wal",
		"issues.db-shm", "td-sync.db", "td-sync.db-journal", "td-sync.db-wal",
		"td-sync.db-shm", "db.lock", "issues.db.pre-snapshot-backup", ".", ".." };
	const struct dirent *e;
	DIR *d = opendir(replica_file(&a, ""));

	ck_assert_ptr_nonnull(d);
	while ((e = readdir(d)) != NULL) {
		bool expected = false;

		for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
			expected = expected || strcmp(e->d_name, known[i]) == 0;
		ck_assert_msg(expected, "%s is left", e->d_name);
	}
	closedir(d);
	ck_assert(access(replica_file(&a, "issues.db.pre-snapshot-backup"), F_OK) == 0);
}

static const struct {
	const char *journal;
	int action;
	bool lasting;
	int step;
} beginnings[] = {
	{ "TRUNCATE", MISHAP_KILL, false, 1 }, { "WAL", MISHAP_KILL, false, 1 },
	{ "TRUNCATE", EIO, false, 3 }, { "TRUNCATE", ENOSPC, true, 3 },
	{ "TRUNCATE", EROFS, true, 3 },
};

/* A new replica's pull meets the action at its n-th write; then it syncs. */
static bool
begin_at_write(int n)
{
	int action = beginnings[which].action, code;
	char name[16], command[3 * TEMP_PATH];

	snprintf(name, sizeof(name), "B%d", n);
	snprintf(command, sizeof(command), "cp -r %s/new %s/%s", temp, temp, name);
	ck_assert_int_eq(system(command), 0);
	snprintf(a.dir, sizeof(a.dir), "%s/%s", temp, name);
	code = run(&a, DO_PULL, n, action, beginnings[which].lasting);
	if (mishap->struck > 0 && action == MISHAP_KILL)
		ck_assert_msg(code == KILLED, "write %d: exit code %d", n, code);
	else
		ck_assert_msg(code == 0 || (mishap->struck > 0 && code == EXIT_LOCAL &&
		    said()[0] != '\0' && strchr(said(), '\n') == strrchr(said(), '\n')),
		    "write %d: exit code %d: %s", n, code, said());
	assert_whole();
	ck_assert_str_eq(ask(&a, "SELECT count(*) IN (0, %d) FROM issues", ISSUES), "1");
	must(&a, DO_SYNC);
	ck_assert_str_eq(ask(&a, "SELECT (SELECT count(*) FROM issues) || ' ' ||"
	    " (SELECT last_pulled_server_seq FROM sync_state) || ' ' ||"
	    " (SELECT count(*) FROM sync_conflicts) || ' ' || (SELECT count(*) FROM action_log)"),
	    "8 8 0 0");
	ck_assert_str_eq(ask_books(&a, "SELECT snapshot_seq || (SELECT integrity_check"
	    " FROM pragma_integrity_check) FROM replica"), "8ok");
	assert_settled(&a);
	must(&a, DO_SYNC);
	assert_tidy();
	return mishap->struck > 0;
}

START_TEST(a_mishap_at_any_write_of_a_beginning_changes_nothing)
{
	char path[TEMP_PATH + 16];
	int n = 1, step = beginnings[_i].step;

#ifdef __SANITIZE_ADDRESS__
	step *= 7;
#endif
	if (getenv("TD_SYNC_TEST_ALL") != NULL)
		step = 1;
	which = _i;
	threshold = 1;
	snprintf(path, sizeof(path), "%s/mishap", temp);
	ck_assert(mishap_share(path));
	/* Its books are made before, and the log is empty: that is looked at above. */
	replica_make(&a, "new", "empty-v38.db");
	replica_close(&a);
	sql(&a, "PRAGMA journal_mode = %s", beginnings[which].journal);
	must(&a, DO_LINK);
	must(&a, DO_SYNC);
	fill_log();
	while (begin_at_write(n)) {
		n += step;
		ck_assert_int_lt(n, 2000);
	}
	ck_assert_msg(n > 100, "there are only %d writes", n - 1);
}
END_TEST

/* The log that server_push() writes to is then the site's. */
static void
use_log_of_site(void)
{
	char log[PATH_MAX + 64], at[TEMP_PATH + 64], aside[TEMP_PATH + 64];

	snprintf(log, sizeof(log), "%s/projects/%s", site.data, project);
	snprintf(at, sizeof(at), "%s/projects/" PROJECT, temp);
	snprintf(aside, sizeof(aside), "%s/unused", temp);
	ck_assert(rename(at, aside) == 0 && symlink(log, at) == 0);
}

START_TEST(the_command_may_be_killed_at_any_write)
{
	struct site_options o = { .kind = site_missing(SITE_FASTCGI) == NULL ? SITE_FASTCGI
	                                                                     : SITE_CGI };
	char user[ID_MAX];

	ck_assert(access(MISHAP_LIBRARY, R_OK) == 0);
	ck_assert(site_start(&site, &o));
	site_user(&site, "anna@example.com", user);
	site_project(&site, "Greenhouse", user, project);
	token = site_token(&site, user, SCOPE_READ | SCOPE_WRITE, project, NULL);
	over_http = true;
	use_log_of_site();
	begin("TRUNCATE");
	ck_assert_int_gt(at_each_write(DO_SYNC, MISHAP_KILL, false, 1, 1), 80);
	ck_assert(site_stop(&site));
	free(token);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("client_kill");
	TCase *tc = tcase_create("writes");
	SRunner *sr;
	int failed;

	/* What is lost with the power is not what this is about. */
	if (getenv("TMPDIR") == NULL && access("/dev/shm", W_OK) == 0)
		setenv("TMPDIR", "/dev/shm", 1);
	tcase_set_timeout(tc, 300);
	tcase_add_checked_fixture(tc, replica_setup, replica_teardown);
	tcase_add_loop_test(tc, a_mishap_at_any_write_loses_and_doubles_nothing, 0,
	                    (int)(sizeof(cases) / sizeof(cases[0])));
	tcase_add_loop_test(tc, a_mishap_at_any_write_of_a_beginning_changes_nothing, 0,
	                    (int)(sizeof(beginnings) / sizeof(beginnings[0])));
	tcase_add_test(tc, the_command_may_be_killed_at_any_write);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
