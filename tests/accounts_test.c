/* server.db: users, projects, members, tokens, as files on a disk. */
#include "accounts_test.h"

#include <inttypes.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

/* The members of a project as "EMAIL ROLE, EMAIL ROLE". */
static enum rc
add_member(void *ctx, const struct member *m)
{
	buf_addf(ctx, "%s%s %s", ((struct buf *)ctx)->len > 0 ? ", " : "", m->email,
	    role_name(m->role));
	return RC_OK;
}

static void
members_are(const char *project_id, const char *want)
{
	struct buf b = { 0 };

	ok(member_list(a, project_id, add_member, &b, &err));
	ck_assert_str_eq(buf_cstr(&b), want);
	buf_free(&b);
}

static enum rc
add_project_name(void *ctx, const struct project *p)
{
	buf_addf(ctx, "%s%s%s", ((struct buf *)ctx)->len > 0 ? ", " : "", p->name,
	    p->deleted_at != 0 ? " (deleted)" : "");
	return RC_OK;
}

static void
projects_are(const char *user_id, const char *want)
{
	struct buf b = { 0 };

	ok(project_list(a, user_id, add_project_name, &b, &err));
	ck_assert_str_eq(buf_cstr(&b), want);
	buf_free(&b);
}

/* --- the file --- */

START_TEST(every_statement_fits_the_schema)
{
	ok(accounts_prepare(a, &err));
}
END_TEST

START_TEST(the_server_has_an_identity_that_stays)
{
	char id[ID_MAX], dir2[TEMP_PATH];
	struct accounts *b;

	snprintf(id, sizeof(id), "%s", accounts_server_id(a));
	ck_assert(id_is(span_of(id), "srv_", 32));
	accounts_close(a);
	ok(accounts_open(dir, &a, &err));
	ck_assert_str_eq(accounts_server_id(a), id);
	temp_make(dir2);
	ok(accounts_create(dir2, &err));
	ok(accounts_open(dir2, &b, &err));
	ck_assert_str_ne(accounts_server_id(b), id);
	accounts_close(b);
	temp_remove(dir2);
}
END_TEST

START_TEST(a_server_db_is_not_made_twice)
{
	user("a@example.com");
	is(accounts_create(dir, &err), RC_CONFLICT);
	ck_assert(!accounts_stale(a));
	ok(user_by_email(a, span_of("a@example.com"), &(struct user){ 0 }, &err));
}
END_TEST

START_TEST(one_that_was_begun_and_not_finished_is_finished)
{
	struct accounts *b;
	char dir2[TEMP_PATH], file[TEMP_PATH + 16];
	sqlite3 *db;

	temp_make(dir2);
	snprintf(file, sizeof(file), "%s/server.db", dir2);
	fclose(fopen(file, "w"));
	is(accounts_open(dir2, &b, &err), RC_NOT_FOUND);
	ck_assert_ptr_null(b);
	ok(accounts_create(dir2, &err));
	ok(accounts_open(dir2, &b, &err));
	accounts_close(b);
	/* the same, cut off a little later: WAL is set, there are no tables */
	snprintf(file, sizeof(file), "%s/two", dir2);
	ck_assert_int_eq(mkdir(file, 0700), 0);
	snprintf(file, sizeof(file), "%s/two/server.db", dir2);
	ok(db_open(file, DB_SERVER, &db, &err));
	sqlite3_close(db);
	snprintf(file, sizeof(file), "%s/two", dir2);
	is(accounts_open(file, &b, &err), RC_NOT_FOUND);
	ok(accounts_create(file, &err));
	ok(accounts_open(file, &b, &err));
	accounts_close(b);
	temp_remove(dir2);
}
END_TEST

START_TEST(no_server_db_is_not_found_and_nothing_is_made)
{
	struct accounts *b = NULL;
	struct stat st;
	char dir2[TEMP_PATH], file[TEMP_PATH + 16];

	temp_make(dir2);
	snprintf(file, sizeof(file), "%s/server.db", dir2);
	is(accounts_open(dir2, &b, &err), RC_NOT_FOUND);
	ck_assert_ptr_null(b);
	ck_assert_int_ne(stat(file, &st), 0);
	temp_remove(dir2);
	is(accounts_create(dir2, &err), RC_UNAVAILABLE);
}
END_TEST

START_TEST(a_newer_format_is_refused_with_a_sentence)
{
	struct accounts *b;

	alter("UPDATE meta SET value = 4 WHERE key = 'format'");
	is(accounts_open(dir, &b, &err), RC_UNAVAILABLE);
	ck_assert_ptr_nonnull(strstr(err.text, "newer td-sync"));
	ck_assert_ptr_nonnull(strstr(err.text, "format 4"));
	alter("UPDATE meta SET value = 'x' WHERE key = 'format'");
	is(accounts_open(dir, &b, &err), RC_UNAVAILABLE);
	alter("DELETE FROM meta WHERE key = 'format'");
	is(accounts_open(dir, &b, &err), RC_UNAVAILABLE);
}
END_TEST

START_TEST(anothers_database_is_refused_and_left_alone)
{
	struct accounts *b;
	FILE *f;

	alter("PRAGMA application_id = 0");
	is(accounts_open(dir, &b, &err), RC_UNAVAILABLE);
	is(accounts_create(dir, &err), RC_CONFLICT);
	accounts_close(a);
	a = NULL;
	unlink(path("server.db-wal"));
	f = fopen(path("server.db"), "w");
	fputs("this is a text, and it is longer than the header of a database file.\n"
	      "this is a text, and it is longer than the header of a database file.\n", f);
	fclose(f);
	is(accounts_open(dir, &b, &err), RC_UNAVAILABLE);
	is(accounts_create(dir, &err), RC_UNAVAILABLE);
}
END_TEST

START_TEST(a_replaced_or_deleted_server_db_makes_the_handle_stale)
{
	char old[2 * TEMP_PATH];

	ok(accounts_ping(a, &err));
	ck_assert(!accounts_stale(a));
	snprintf(old, sizeof(old), "%s", path("old.db"));
	ck_assert_int_eq(rename(path("server.db"), old), 0);
	ck_assert(accounts_stale(a));
	ok(accounts_create(dir, &err));
	ck_assert(accounts_stale(a));
}
END_TEST

START_TEST(nothing_is_written_to_a_file_that_was_replaced)
{
	char old[2 * TEMP_PATH];
	struct user u;

	user("a@example.com");
	snprintf(old, sizeof(old), "%s", path("old.db"));
	ck_assert_int_eq(rename(path("server.db"), old), 0);
	is(user_add(a, span_of("b@example.com"), &u, &err), RC_BUSY);
	unlink(path("server.db-wal"));
	unlink(path("server.db-shm"));
	ok(accounts_create(dir, &err));
	is(user_add(a, span_of("b@example.com"), &u, &err), RC_BUSY);
	accounts_close(a);
	ok(accounts_open(dir, &a, &err));
	user("b@example.com");
}
END_TEST

START_TEST(a_write_that_the_disk_refuses_is_no_write)
{
	struct rlimit limit, was;
	struct stat st;
	struct user u;
	enum rc rc = RC_OK;

	signal(SIGXFSZ, SIG_IGN);
	user("before@example.com");
	ck_assert_int_eq(stat(path("server.db-wal"), &st), 0);
	ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &was), 0);
	limit = was;
	limit.rlim_cur = (rlim_t)st.st_size + 5000; /* a page, not a commit */
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	rc = user_add(a, span_of("full@example.com"), &u, &err);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &was), 0);
	ck_assert_msg(rc == RC_UNAVAILABLE || rc == RC_FAULT, "%s", rc_name(rc));
	is(user_by_email(a, span_of("full@example.com"), &u, &err), RC_NOT_FOUND);
	accounts_close(a);
	ok(accounts_open(dir, &a, &err));
	is(user_by_email(a, span_of("full@example.com"), &u, &err), RC_NOT_FOUND);
	ok(user_by_email(a, span_of("before@example.com"), &u, &err));
	user("full@example.com");
}
END_TEST

START_TEST(a_write_waits_for_the_lock_and_then_is_busy)
{
	struct lock *l;
	struct user u;
	int64_t start;

	ok(lock_open(path("server.lock"), &l, &err));
	ok(lock_take(l, clock_mono_ms() + 1000));
	start = clock_mono_ms();
	is(user_add(a, span_of("a@example.com"), &u, &err), RC_BUSY);
	ck_assert_int_ge(clock_mono_ms() - start, LOCK_WAIT_MS - 50);
	/* Reading needs no lock. */
	is(user_by_email(a, span_of("a@example.com"), &u, &err), RC_NOT_FOUND);
	lock_close(l);
	ok(user_add(a, span_of("a@example.com"), &u, &err));
}
END_TEST

START_TEST(a_failed_write_leaves_no_lock_and_no_transaction)
{
	struct user u = user("a@example.com");
	struct lock *l;

	is(user_add(a, span_of("a@example.com"), &u, &err), RC_CONFLICT);
	ok(lock_open(path("server.lock"), &l, &err));
	is(lock_take(l, 0), RC_OK);
	lock_close(l);
	user("b@example.com");
}
END_TEST

START_TEST(writers_of_several_processes_lose_nothing)
{
	enum { PROCS = 4, EACH = 25 };
	struct buf b = { 0 };
	pid_t pid[PROCS];
	int status;

	accounts_close(a);
	for (int i = 0; i < PROCS; i++) {
		pid[i] = fork();
		if (pid[i] != 0)
			continue;
		if (accounts_open(dir, &a, &err) != RC_OK)
			_exit(1);
		for (int j = 0; j < EACH; j++) {
			char email[64];
			struct user u;

			snprintf(email, sizeof(email), "%d.%d@example.com", i, j);
			if (user_add(a, span_of(email), &u, &err) != RC_OK)
				_exit(2);
		}
		_exit(0);
	}
	for (int i = 0; i < PROCS; i++) {
		ck_assert_int_eq(waitpid(pid[i], &status, 0), pid[i]);
		ck_assert_int_eq(status, 0);
	}
	ok(accounts_open(dir, &a, &err));
	for (int i = 0; i < PROCS; i++)
		for (int j = 0; j < EACH; j++) {
			struct user u;

			buf_reset(&b);
			buf_addf(&b, "%d.%d@example.com", i, j);
			ok(user_by_email(a, buf_span(&b), &u, &err));
		}
	buf_free(&b);
}
END_TEST

/* Bytes of the WAL; 0 where there is none. */
static int64_t
wal_size(void)
{
	struct stat st;

	return stat(path("server.db-wal"), &st) == 0 ? (int64_t)st.st_size : 0;
}

START_TEST(the_wal_is_checkpointed_when_it_has_grown)
{
	char text[PROJECT_DESCRIPTION_MAX + 1];
	struct user u = user("a@example.com");
	struct project p;
	struct span description;
	int64_t greatest = 0;
	sqlite3 *db;

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	description = span_of(text);
	/* A second connection, so that SQLite itself would keep the WAL. */
	ok(db_open(path("server.db"), DB_SERVER, &db, &err));
	project("p_0000000000000001", "one", u.id);
	for (int i = 0; i < 1500; i++) {
		text[i % 100] ^= 1;
		ok(project_change(a, "p_0000000000000001", NULL, &description, &p, &err));
		if (wal_size() > greatest)
			greatest = wal_size();
	}
	ck_assert_int_gt(greatest, 4 << 20);
	ck_assert_int_lt(greatest, 5 << 20);
	sqlite3_close(db);
}
END_TEST

/* --- users --- */

START_TEST(an_address_is_kept_as_given_and_found_in_any_case)
{
	struct user u = user("Alice@Example.com"), v;

	ck_assert(id_is(span_of(u.id), "u_", 16));
	ck_assert_str_eq(u.email, "Alice@Example.com");
	ck_assert_int_le(llabs(clock_now_us() / 1000000 - u.created_at), 5);
	ok(user_by_email(a, span_of("alice@example.COM"), &v, &err));
	ck_assert_str_eq(v.id, u.id);
	ck_assert_str_eq(v.email, "Alice@Example.com");
	ok(user_by_id(a, u.id, &v, &err));
	ck_assert_str_eq(v.email, u.email);
	is(user_add(a, span_of("ALICE@example.com"), &v, &err), RC_CONFLICT);
	is(user_by_id(a, "u_0000000000000000", &v, &err), RC_NOT_FOUND);
	ck_assert_str_eq(err.text, "user not found");
	is(user_by_email(a, span_of(""), &v, &err), RC_NOT_FOUND);
}
END_TEST

START_TEST(an_address_of_any_form_is_taken_up_to_its_limit)
{
	char text[ACCOUNT_TEXT + 1];
	struct user u;

	user("not an address");
	is(user_add(a, span_of(""), &u, &err), RC_INVALID);
	is(user_add(a, (struct span){ "a\0b", 3 }, &u, &err), RC_INVALID);
	is(user_add(a, span_of("a@example.com\r\nBcc: b@example.com"), &u, &err), RC_INVALID);
	is(user_add(a, span_of("a\x7f@example.com"), &u, &err), RC_INVALID);
	memset(text, 'x', sizeof(text));
	is(user_add(a, (struct span){ text, ACCOUNT_TEXT }, &u, &err), RC_INVALID);
	ok(user_add(a, (struct span){ text, ACCOUNT_TEXT - 1 }, &u, &err));
	ck_assert_uint_eq(strlen(u.email), ACCOUNT_TEXT - 1);
}
END_TEST

/* --- projects --- */

START_TEST(slugs_follow_the_recorded_rule)
{
	static const struct { const char *name, *slug; } rows[] = {
		{ "Green House", "green-house" },
		{ "Green  House!", "green-house-2" },
		{ "green_house", "green-house-3" },
		{ "\xc3\x9cn\xc3\xaf" "code \xe6\x97\xa5\xe6\x9c\xac", "n-code" },
		{ "--a--b--", "a-b" },
		{ "42", "42" },
		{ "green house 2", "green-house-2-2" },
		{ "***", NULL },
		{ "  ", NULL },
	};
	struct user u = user("owner@example.com");
	struct project p, q;
	char id[ID_MAX];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		snprintf(id, sizeof(id), "p_%016zx", i);
		p = project(id, rows[i].name, u.id);
		ck_assert_str_eq(p.name, rows[i].name);
		ck_assert_str_eq(p.slug, rows[i].slug != NULL ? rows[i].slug : id);
		ok(project_by_slug(a, span_of(p.slug), &q, &err));
		ck_assert_str_eq(q.id, id);
	}
	is(project_by_slug(a, span_of("nope"), &q, &err), RC_NOT_FOUND);
}
END_TEST

/* So many of one name that who tried them all would be long at it. */
START_TEST(many_projects_of_one_name_have_slugs_in_turn)
{
	struct user u = user("u@example.com");
	struct project p;
	char id[ID_MAX], slug[40];

	for (int i = 1; i <= 70; i++) {
		snprintf(id, sizeof(id), "p_%d", i);
		ok(project_add(a, id, span_of("Same"), span_of(""), u.id, &p, &err));
		snprintf(slug, sizeof(slug), i == 1 ? "same" : "same-%d", i);
		ck_assert_str_eq(p.slug, slug);
	}
	/* One that somebody took by its name is passed over. */
	ok(project_add(a, "p_x", span_of("same 71"), span_of(""), u.id, &p, &err));
	ck_assert_str_eq(p.slug, "same-71");
	ok(project_add(a, "p_y", span_of("Same"), span_of(""), u.id, &p, &err));
	ck_assert_str_eq(p.slug, "same-72");
}
END_TEST

START_TEST(the_longest_name_has_a_slug_and_one_byte_more_is_refused)
{
	struct user u = user("owner@example.com");
	char name[PROJECT_NAME_MAX + 2], text[PROJECT_DESCRIPTION_MAX + 1];
	struct span longest = { name, PROJECT_NAME_MAX };
	struct span longer = { name, PROJECT_NAME_MAX + 1 };
	struct span description = { text, PROJECT_DESCRIPTION_MAX };
	struct project p;

	memset(name, 'a', sizeof(name));
	memset(text, 'b', sizeof(text));
	ok(project_add(a, "p_1", longest, description, u.id, &p, &err));
	ck_assert_uint_eq(strlen(p.slug), PROJECT_NAME_MAX);
	ck_assert_uint_eq(strlen(p.description), PROJECT_DESCRIPTION_MAX);
	ok(project_add(a, "p_2", longest, span_of(""), u.id, &p, &err));
	ck_assert_uint_eq(strlen(p.slug), PROJECT_NAME_MAX + 2);
	is(project_add(a, "p_3", longer, span_of(""), u.id, &p, &err), RC_INVALID);
	description.len++;
	is(project_add(a, "p_3", longest, description, u.id, &p, &err), RC_INVALID);
	is(project_add(a, "p_3", span_of(""), span_of(""), u.id, &p, &err), RC_INVALID);
	ck_assert_str_eq(err.text, "name is required");
	is(project_add(a, "p_3", (struct span){ "a\0", 2 }, span_of(""), u.id, &p, &err),
	    RC_INVALID);
	is(project_get(a, "p_3", &p, &err), RC_NOT_FOUND);
	ck_assert_str_eq(err.text, "project not found");
}
END_TEST

START_TEST(a_project_without_a_known_owner_is_not_made)
{
	struct project p;

	is(project_add(a, "p_1", span_of("x"), span_of(""), "u_nobody", &p, &err),
	    RC_NOT_FOUND);
	is(project_get(a, "p_1", &p, &err), RC_NOT_FOUND);
}
END_TEST

START_TEST(a_project_changes_but_its_slug_never_does)
{
	struct user u = user("owner@example.com");
	struct span name = span_of("Glass House"), description = span_of("warm"), empty = { 0 };
	struct project p = project("p_1", "Green House", u.id);

	alter("UPDATE project SET created_at = 1000, updated_at = 1000");
	ok(project_change(a, "p_1", NULL, NULL, &p, &err));
	ck_assert_int_eq(p.updated_at, 1000);
	ok(project_change(a, "p_1", &name, NULL, &p, &err));
	ck_assert_str_eq(p.name, "Glass House");
	ck_assert_str_eq(p.slug, "green-house");
	ck_assert_int_eq(p.created_at, 1000);
	ck_assert_int_gt(p.updated_at, 1000);
	ok(project_change(a, "p_1", NULL, &description, &p, &err));
	ck_assert_str_eq(p.name, "Glass House");
	ck_assert_str_eq(p.description, "warm");
	ok(project_change(a, "p_1", NULL, &empty, &p, &err));
	ck_assert_str_eq(p.description, "");
	is(project_change(a, "p_1", &empty, NULL, &p, &err), RC_INVALID);
	ck_assert_str_eq(err.text, "name cannot be empty");
	is(project_change(a, "p_2", &name, NULL, &p, &err), RC_NOT_FOUND);
}
END_TEST

START_TEST(a_deleted_project_is_gone_for_its_members_and_keeps_its_slug)
{
	struct user u = user("owner@example.com"), v = user("v@example.com");
	struct project p;
	struct span name = span_of("y");
	struct member m;

	project("p_1", "one", u.id);
	project("p_2", "two", u.id);
	ok(project_delete(a, "p_1", &err));
	is(project_delete(a, "p_1", &err), RC_NOT_FOUND);
	is(project_delete(a, "p_3", &err), RC_NOT_FOUND);
	ok(project_get(a, "p_1", &p, &err));
	ck_assert_int_ne(p.deleted_at, 0);
	projects_are(u.id, "two");
	projects_are(NULL, "one (deleted), two");
	is(project_change(a, "p_1", &name, NULL, &p, &err), RC_NOT_FOUND);
	is(member_add(a, "p_1", v.id, ROLE_READER, "", &m, &err), RC_NOT_FOUND);
	is(member_change(a, "p_1", u.id, ROLE_OWNER, &err), RC_NOT_FOUND);
	ck_assert_str_eq(project("p_4", "One", u.id).slug, "one-2");
}
END_TEST

START_TEST(projects_are_listed_as_they_were_made_to_their_members_only)
{
	struct user u = user("u@example.com"), v = user("v@example.com");
	struct member m;

	project("p_9", "zebra", u.id);
	project("p_5", "apple", v.id);
	project("p_1", "mango", u.id);
	projects_are(u.id, "zebra, mango");
	projects_are(v.id, "apple");
	projects_are("u_nobody", "");
	projects_are(NULL, "zebra, apple, mango");
	ok(member_add(a, "p_5", u.id, ROLE_READER, v.id, &m, &err));
	projects_are(u.id, "zebra, apple, mango");
}
END_TEST

/* --- members --- */

START_TEST(members_come_change_and_go)
{
	struct user u = user("owner@example.com"), w = user("writer@example.com");
	struct user r = user("reader@example.com");
	struct member m;

	project("p_1", "one", u.id);
	members_are("p_1", "owner@example.com owner");
	ok(member_add(a, "p_1", w.id, ROLE_WRITER, u.id, &m, &err));
	ck_assert_str_eq(m.project_id, "p_1");
	ck_assert_str_eq(m.user_id, w.id);
	ck_assert_str_eq(m.email, "writer@example.com");
	ck_assert_str_eq(m.invited_by, u.id);
	ck_assert_int_eq(m.role, ROLE_WRITER);
	ck_assert_int_gt(m.created_at, 0);
	ok(member_add(a, "p_1", r.id, ROLE_READER, "", &m, &err));
	ck_assert_str_eq(m.invited_by, "");
	members_are("p_1", "owner@example.com owner, writer@example.com writer,"
	    " reader@example.com reader");
	ok(member_change(a, "p_1", w.id, ROLE_READER, &err));
	members_are("p_1", "owner@example.com owner, writer@example.com reader,"
	    " reader@example.com reader");
	ok(member_remove(a, "p_1", w.id, &err));
	is(member_get(a, "p_1", w.id, &m, &err), RC_NOT_FOUND);
	ok(member_add(a, "p_1", w.id, ROLE_OWNER, u.id, &m, &err));
	members_are("p_1", "owner@example.com owner, reader@example.com reader,"
	    " writer@example.com owner");
	ok(member_get(a, "p_1", w.id, &m, &err));
	ck_assert_int_eq(m.role, ROLE_OWNER);
}
END_TEST

START_TEST(member_mistakes_have_outcomes_of_their_own)
{
	struct user u = user("owner@example.com"), w = user("writer@example.com");
	struct member m;

	project("p_1", "one", u.id);
	ok(member_add(a, "p_1", w.id, ROLE_WRITER, u.id, &m, &err));
	is(member_add(a, "p_1", w.id, ROLE_WRITER, u.id, &m, &err), RC_CONFLICT);
	ck_assert_str_eq(err.text, "already a member");
	is(member_add(a, "p_1", w.id, ROLE_READER, u.id, &m, &err), RC_CONFLICT);
	members_are("p_1", "owner@example.com owner, writer@example.com writer");
	is(member_add(a, "p_1", "u_nobody", ROLE_READER, u.id, &m, &err), RC_NOT_FOUND);
	ck_assert_str_eq(err.text, "user not found");
	is(member_add(a, "p_0", w.id, ROLE_READER, u.id, &m, &err), RC_NOT_FOUND);
	ck_assert_str_eq(err.text, "project not found");
	is(member_change(a, "p_1", "u_nobody", ROLE_READER, &err), RC_NOT_FOUND);
	ck_assert_str_eq(err.text, "member not found");
	ok(member_remove(a, "p_1", w.id, &err));
	is(member_remove(a, "p_1", w.id, &err), RC_NOT_FOUND);
	is(member_change(a, "p_1", w.id, ROLE_READER, &err), RC_NOT_FOUND);
}
END_TEST

START_TEST(the_last_owner_can_neither_go_nor_step_down)
{
	struct user u = user("owner@example.com"), w = user("second@example.com");
	struct member m;

	project("p_1", "one", u.id);
	project("p_2", "two", w.id);
	is(member_remove(a, "p_1", u.id, &err), RC_LAST_OWNER);
	ck_assert_str_eq(err.text, "a project must always have at least one owner");
	is(member_change(a, "p_1", u.id, ROLE_WRITER, &err), RC_LAST_OWNER);
	ok(member_change(a, "p_1", u.id, ROLE_OWNER, &err));
	ok(member_add(a, "p_1", w.id, ROLE_WRITER, u.id, &m, &err));
	is(member_remove(a, "p_1", u.id, &err), RC_LAST_OWNER);
	ok(member_change(a, "p_1", w.id, ROLE_OWNER, &err));
	ok(member_change(a, "p_1", u.id, ROLE_READER, &err));
	is(member_remove(a, "p_1", w.id, &err), RC_LAST_OWNER);
	members_are("p_1", "owner@example.com reader, second@example.com owner");
}
END_TEST

START_TEST(role_names_are_exact)
{
	static const struct { const char *name; enum role want; } rows[] = {
		{ "reader", ROLE_READER }, { "writer", ROLE_WRITER },
		{ "owner", ROLE_OWNER }, { "Owner", ROLE_NONE }, { "boss", ROLE_NONE },
		{ "none", ROLE_NONE }, { "", ROLE_NONE }, { "owner ", ROLE_NONE },
	};
	enum role r;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		ck_assert_int_eq(role_find(span_of(rows[i].name), &r),
		    rows[i].want != ROLE_NONE);
		ck_assert_int_eq(r, rows[i].want);
		if (r != ROLE_NONE)
			ck_assert_str_eq(role_name(r), rows[i].name);
	}
}
END_TEST

/* --- access and tokens --- */

static struct token_row
token(const char *id, const char *user_id)
{
	struct token_row t = { .name = "laptop", .scope = "sync:read sync:write",
	                       .projects = "*", .created_at = 1000, .expires_at = 2000 };

	snprintf(t.id, sizeof(t.id), "%s", id);
	snprintf(t.user_id, sizeof(t.user_id), "%s", user_id);
	ok(token_add(a, &t, &err));
	return t;
}

static struct access
access_of(const char *token_id, const char *user_id, const char *project_id)
{
	struct access acc;

	ok(access_get(a, token_id, user_id, project_id, &acc, &err));
	return acc;
}

START_TEST(access_tells_all_of_a_request_in_one_read)
{
	struct user u = user("u@example.com"), v = user("v@example.com");
	struct access acc;
	struct member m;

	project("p_1", "one", u.id);
	ok(member_add(a, "p_1", v.id, ROLE_READER, u.id, &m, &err));
	token("ak_u", u.id);
	token("ak_v", v.id);

	acc = access_of("ak_u", u.id, "p_1");
	ck_assert(acc.token_known && acc.user_known && acc.project_known);
	ck_assert(!acc.project_deleted);
	ck_assert_int_eq(acc.token_expires_at, 2000);
	ck_assert_int_eq(acc.token_revoked_at, 0);
	ck_assert_int_eq(acc.token_last_used_at, 0);
	ck_assert_int_eq(acc.role, ROLE_OWNER);
	ck_assert_int_eq(access_of("ak_v", v.id, "p_1").role, ROLE_READER);

	/* a token of somebody else, none, no project, an unknown one */
	acc = access_of("ak_v", u.id, "p_1");
	ck_assert(acc.token_known && !acc.user_known);
	acc = access_of("ak_x", u.id, "p_1");
	ck_assert(!acc.token_known && !acc.user_known);
	acc = access_of("ak_x", "", NULL);
	ck_assert(!acc.token_known && !acc.user_known);
	acc = access_of("ak_u", "u_nobody", NULL);
	ck_assert(acc.token_known && !acc.user_known);
	acc = access_of("ak_u", "", NULL);
	ck_assert(acc.token_known && !acc.user_known);
	acc = access_of("ak_u", u.id, NULL);
	ck_assert(acc.token_known && acc.user_known && !acc.project_known);
	ck_assert_int_eq(acc.role, ROLE_NONE);
	acc = access_of("ak_u", u.id, "p_2");
	ck_assert(acc.user_known && !acc.project_known);

	/* changes by other handles show at once */
	ok(project_delete(a, "p_1", &err));
	acc = access_of("ak_u", u.id, "p_1");
	ck_assert(acc.project_known && acc.project_deleted);
	ck_assert_int_eq(acc.role, ROLE_OWNER);
}
END_TEST

#define ASKED 600 /* more than are known by heart */

/* What is known from the last time is what is so now, whoever changed it. */
START_TEST(access_that_was_asked_for_before_is_never_an_old_one)
{
	struct user u = user("u@example.com"), v = user("v@example.com");
	char id[ASKED][ID_MAX];
	struct accounts *other;
	struct member m;

	project("p_1", "one", u.id);
	project("p_2", "two", v.id);
	ok(member_add(a, "p_1", v.id, ROLE_READER, u.id, &m, &err));
	token("ak_u", u.id);
	token("ak_v", v.id);
	for (int i = 0; i < ASKED; i++) {
		snprintf(id[i], ID_MAX, "ak_%d", i);
		token(id[i], i % 2 == 0 ? u.id : v.id);
	}
	for (int i = 0; i < 2 * ASKED; i++) {
		const char *who = i % 2 == 0 ? u.id : v.id;

		ck_assert_int_eq(access_of(id[i % ASKED], who, "p_1").role,
		                 i % 2 == 0 ? ROLE_OWNER : ROLE_READER);
		ck_assert_int_eq(access_of(id[i % ASKED], who, "p_2").role,
		                 i % 2 == 0 ? ROLE_NONE : ROLE_OWNER);
		ck_assert(!access_of(id[i % ASKED], who, NULL).project_known);
	}
	ok(accounts_open(dir, &other, &err));
	for (int i = 0; i < 6; i++) {
		struct accounts *writer = i % 2 == 0 ? a : other;

		ok(member_change(writer, "p_1", v.id, i % 2 == 0 ? ROLE_WRITER : ROLE_READER, &err));
		for (int k = 0; k < 2; k++)
			ck_assert_int_eq(access_of("ak_v", v.id, "p_1").role,
			                 i % 2 == 0 ? ROLE_WRITER : ROLE_READER);
	}
	ck_assert_int_eq(access_of("ak_u", u.id, "p_1").token_revoked_at, 0);
	ok(token_revoke(other, "ak_u", &err));
	ck_assert_int_ne(access_of("ak_u", u.id, "p_1").token_revoked_at, 0);
	ck_assert_int_eq(access_of("ak_v", v.id, "p_1").token_revoked_at, 0);
	ok(member_remove(other, "p_1", v.id, &err));
	ck_assert_int_eq(access_of("ak_v", v.id, "p_1").role, ROLE_NONE);
	ok(project_delete(other, "p_2", &err));
	ck_assert(access_of("ak_v", v.id, "p_2").project_deleted);
	/* What fits nowhere is judged all the same. */
	ck_assert(!access_of("ak_0123456789012345678901234567890123456789", v.id, NULL).token_known);
	accounts_close(other);
}
END_TEST

START_TEST(a_token_without_a_user_is_known_by_itself)
{
	struct user u = user("u@example.com");
	struct access acc;

	token("ak_link", "");
	acc = access_of("ak_link", "", NULL);
	ck_assert(acc.token_known && acc.user_known);
	acc = access_of("ak_link", u.id, NULL);
	ck_assert(acc.token_known && !acc.user_known);
	acc = access_of("ak_link", "u_nobody", NULL);
	ck_assert(acc.token_known && !acc.user_known);
}
END_TEST

static enum rc
keep_token(void *ctx, const struct token_row *t)
{
	struct token_row **next = ctx;

	*(*next)++ = *t;
	return RC_OK;
}

START_TEST(tokens_are_listed_as_made_and_revoked_once)
{
	static struct token_row rows[4];
	struct token_row *next = rows, bad;
	struct user u = user("u@example.com");

	token("ak_2", u.id);
	token("ak_1", "");
	bad = *rows;
	snprintf(bad.id, sizeof(bad.id), "ak_3");
	snprintf(bad.user_id, sizeof(bad.user_id), "u_nobody");
	is(token_add(a, &bad, &err), RC_NOT_FOUND);
	ok(token_revoke(a, "ak_2", &err));
	is(token_revoke(a, "ak_2", &err), RC_CONFLICT);
	is(token_revoke(a, "ak_9", &err), RC_NOT_FOUND);
	ck_assert_str_eq(err.text, "token not found");
	ok(token_list(a, NULL, keep_token, &next, &err));
	ck_assert_int_eq(next - rows, 2);
	ck_assert_str_eq(rows[0].id, "ak_2");
	ck_assert_str_eq(rows[0].user_id, u.id);
	ck_assert_str_eq(rows[0].name, "laptop");
	ck_assert_str_eq(rows[0].scope, "sync:read sync:write");
	ck_assert_str_eq(rows[0].projects, "*");
	ck_assert_int_eq(rows[0].created_at, 1000);
	ck_assert_int_eq(rows[0].expires_at, 2000);
	ck_assert_int_ne(rows[0].revoked_at, 0);
	ck_assert_str_eq(rows[1].user_id, "");
	ck_assert_int_eq(rows[1].revoked_at, 0);
	ck_assert_int_ne(access_of("ak_2", u.id, NULL).token_revoked_at, 0);
}
END_TEST

START_TEST(the_use_of_a_token_is_noted_once_an_hour_and_never_waited_for)
{
	struct user u = user("u@example.com");
	int64_t now = clock_now_us() / 1000000, start;
	struct lock *l;

	token("ak_1", u.id);
	token_used(a, "ak_1", now - 3500);
	ck_assert_int_eq(access_of("ak_1", u.id, NULL).token_last_used_at, 0);
	ok(lock_open(path("server.lock"), &l, &err));
	ok(lock_take(l, clock_mono_ms() + 1000));
	start = clock_mono_ms();
	token_used(a, "ak_1", 0);
	ck_assert_int_lt(clock_mono_ms() - start, LOCK_WAIT_MS - 50);
	lock_close(l);
	ck_assert_int_eq(access_of("ak_1", u.id, NULL).token_last_used_at, 0);
	token_used(a, "ak_1", now - 3601);
	ck_assert_int_ge(access_of("ak_1", u.id, NULL).token_last_used_at, now);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("accounts");
	TCase *t = tcase_create("accounts");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, every_statement_fits_the_schema);
	tcase_add_test(t, the_server_has_an_identity_that_stays);
	tcase_add_test(t, a_server_db_is_not_made_twice);
	tcase_add_test(t, one_that_was_begun_and_not_finished_is_finished);
	tcase_add_test(t, no_server_db_is_not_found_and_nothing_is_made);
	tcase_add_test(t, a_newer_format_is_refused_with_a_sentence);
	tcase_add_test(t, anothers_database_is_refused_and_left_alone);
	tcase_add_test(t, a_replaced_or_deleted_server_db_makes_the_handle_stale);
	tcase_add_test(t, nothing_is_written_to_a_file_that_was_replaced);
	tcase_add_test(t, a_write_that_the_disk_refuses_is_no_write);
	tcase_add_test(t, a_write_waits_for_the_lock_and_then_is_busy);
	tcase_add_test(t, a_failed_write_leaves_no_lock_and_no_transaction);
	tcase_add_test(t, writers_of_several_processes_lose_nothing);
	tcase_add_test(t, the_wal_is_checkpointed_when_it_has_grown);
	tcase_add_test(t, an_address_is_kept_as_given_and_found_in_any_case);
	tcase_add_test(t, an_address_of_any_form_is_taken_up_to_its_limit);
	tcase_add_test(t, slugs_follow_the_recorded_rule);
	tcase_add_test(t, many_projects_of_one_name_have_slugs_in_turn);
	tcase_add_test(t, the_longest_name_has_a_slug_and_one_byte_more_is_refused);
	tcase_add_test(t, a_project_without_a_known_owner_is_not_made);
	tcase_add_test(t, a_project_changes_but_its_slug_never_does);
	tcase_add_test(t, a_deleted_project_is_gone_for_its_members_and_keeps_its_slug);
	tcase_add_test(t, projects_are_listed_as_they_were_made_to_their_members_only);
	tcase_add_test(t, members_come_change_and_go);
	tcase_add_test(t, member_mistakes_have_outcomes_of_their_own);
	tcase_add_test(t, the_last_owner_can_neither_go_nor_step_down);
	tcase_add_test(t, role_names_are_exact);
	tcase_add_test(t, access_tells_all_of_a_request_in_one_read);
	tcase_add_test(t, access_that_was_asked_for_before_is_never_an_old_one);
	tcase_add_test(t, a_token_without_a_user_is_known_by_itself);
	tcase_add_test(t, tokens_are_listed_as_made_and_revoked_once);
	tcase_add_test(t, the_use_of_a_token_is_noted_once_an_hour_and_never_waited_for);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? 0 : 1;
}
