/*
 * server.db: how it became what it is since format 3, how people and tokens come
 * in (invitations, logins, share links) and go, and what the audit log says of it.
 */
#include "fixture.h"
#include "mishap.h"
#include "read_only.h"

#include "accounts_test.h"

#include <errno.h>
#include <stdarg.h>

#define CROWD 6 /* processes that do the same at once */

static struct user owner, guest; /* of the project p_1, and of none */

/* Who does what is written where a test doesn't say otherwise. */
static const struct actor somebody = { "u_somebody", "ak_somebody", "192.0.2.7" };

static int64_t
now(void)
{
	return clock_now_us() / 1000000;
}

/* --- what the audit log says --- */

static int64_t heard; /* the last line that a test has seen */

static enum rc
add_line(void *ctx, const struct deed_line *d)
{
	if (d->n <= heard)
		return RC_OK;
	ck_assert_str_eq(d->by.user_id, somebody.user_id);
	ck_assert_str_eq(d->by.token_id, somebody.token_id);
	ck_assert_str_eq(d->by.address, somebody.address);
	ck_assert_int_le(llabs(now() - d->at), 5);
	buf_addf(ctx, "%s|%s|%s|%s\n", d->action, d->project_id, d->subject, d->detail);
	heard = d->n;
	return RC_OK;
}

/* The lines since the last call are these, "ACTION|PROJECT|SUBJECT|DETAIL" each. */
static void __attribute__((format(printf, 1, 2)))
said(const char *fmt, ...)
{
	struct buf lines = { 0 };
	char want[1000];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(want, sizeof(want), fmt, ap);
	va_end(ap);
	ok(audit_list(a, 0, "", "", add_line, &lines, &err));
	ck_assert_str_eq(buf_cstr(&lines), want);
	buf_free(&lines);
}

/* An owner, his project p_1, and a guest; with nothing said yet. */
static void
setup_people(void)
{
	setup();
	ck_assert(mishap_share(path("mishap")));
	owner = user("owner@example.com");
	guest = user("guest@example.com");
	project("p_1", "one", owner.id);
	alter("DELETE FROM audit");
	heard = 0;
	accounts_act_for(a, &somebody);
}

/* The number that a statement gives. */
static int64_t
count(const char *sql)
{
	sqlite3_stmt *st;
	sqlite3 *db;
	int64_t n;

	ok(db_open(path("server.db"), DB_SERVER, &db, &err));
	ok(db_prepare(db, sql, &st, &err));
	ck_assert_int_eq(sqlite3_step(st), SQLITE_ROW);
	n = sqlite3_column_int64(st, 0);
	sqlite3_finalize(st);
	sqlite3_close(db);
	return n;
}

/* Do something in many processes at once, each with a handle of its own. How many came
 * to `want`; all others came to `other`. */
static int
in_a_crowd(enum rc (*deed)(int i), enum rc want, enum rc other)
{
	int gate[2], status, n = 0;
	pid_t pid[CROWD];

	accounts_close(a);
	a = NULL;
	ck_assert_int_eq(pipe(gate), 0);
	for (int i = 0; i < CROWD; i++) {
		if ((pid[i] = fork()) != 0)
			continue;
		close(gate[1]);
		while (read(gate[0], &status, 1) != 0)
			; /* until all are there */
		_exit(accounts_open(dir, &a, &err) == RC_OK ? (int)deed(i) : 100);
	}
	close(gate[0]);
	close(gate[1]);
	for (int i = 0; i < CROWD; i++) {
		ck_assert_int_eq(waitpid(pid[i], &status, 0), pid[i]);
		ck_assert(WIFEXITED(status));
		ck_assert(WEXITSTATUS(status) == (int)want || WEXITSTATUS(status) == (int)other);
		n += WEXITSTATUS(status) == (int)want;
	}
	ok(accounts_open(dir, &a, &err));
	accounts_act_for(a, &somebody);
	return n;
}

/* --- the format --- */

/* A server.db of format 1, as the version before made it, and closed. */
static void
make_format_1(void)
{
	accounts_close(a);
	a = NULL;
	unlink(path("server.db-wal"));
	unlink(path("server.db-shm"));
	fixture_copy("server-format1.db", path("server.db"));
	ck_assert_int_eq(chmod(path("server.db"), 0600), 0);
}

/* All statements that made a database, a line each. */
static void
schema_of(const char *file, struct buf *out)
{
	sqlite3_stmt *st;
	sqlite3 *db;

	ok(db_open(file, DB_SERVER, &db, &err));
	ok(db_prepare(db, "SELECT name || ': ' || coalesce(sql, '') || char(10) FROM sqlite_schema"
	              " ORDER BY name", &st, &err));
	while (sqlite3_step(st) == SQLITE_ROW)
		buf_add_span(out, db_span(st, 0));
	sqlite3_finalize(st);
	sqlite3_close(db);
}

static enum rc
keep_token(void *ctx, const struct token_row *t)
{
	struct token_row **next = ctx;

	*(*next)++ = *t;
	return RC_OK;
}

/* What the recording holds is there, and what format 3 has beside. */
static void
must_be_format_3(void)
{
	static struct token_row rows[4];
	struct token_row *next = rows;
	struct user alice, bob;
	struct project p;
	struct member m;

	ok(accounts_prepare(a, &err));
	ck_assert_int_eq(count("SELECT value FROM meta WHERE key = 'format'"), 3);
	ck_assert_str_eq(accounts_server_id(a), "srv_0677a290a0a30d24e4fdb0e88cabdf70");
	ok(user_by_email(a, span_of("ALICE@example.com"), &alice, &err));
	ok(user_by_email(a, span_of("bob@example.com"), &bob, &err));
	ck_assert_str_eq(bob.email, "Bob@Example.com");
	ok(project_by_slug(a, span_of("gone"), &p, &err));
	ck_assert_int_ne(p.deleted_at, 0);
	ok(project_by_slug(a, span_of("garden"), &p, &err));
	ck_assert(p.deleted_at == 0 && p.purged_at == 0 && !p.is_public);
	ok(member_get(a, p.id, alice.id, &m, &err));
	ck_assert_int_eq(m.role, ROLE_OWNER);
	ok(member_get(a, p.id, bob.id, &m, &err));
	ck_assert_int_eq(m.role, ROLE_WRITER);
	ok(token_list(a, NULL, keep_token, &next, &err));
	ck_assert_int_eq(next - rows, 2);
	ck_assert_int_eq(rows[0].last_used_at - rows[0].created_at, 60);
	ck_assert_int_eq(rows[0].revoked_at, 0);
	ck_assert_str_eq(rows[1].name, "old");
	ck_assert_int_eq(rows[1].revoked_at - rows[1].created_at, 5);
	for (int i = 0; i < 2; i++)
		ck_assert(rows[i].link_id[0] == '\0' && rows[i].made_by[0] == '\0');
	ck_assert_int_eq(count("SELECT count(*) FROM audit"), 0);
	ck_assert_int_eq(count("SELECT count(*) FROM pragma_foreign_key_check"), 0);
}

START_TEST(a_server_db_of_format_1_is_brought_to_format_3)
{
	struct buf new = { 0 }, old = { 0 };
	struct project p, q;

	schema_of(path("server.db"), &new);
	make_format_1();
	ok(accounts_open(dir, &a, &err));
	must_be_format_3();
	schema_of(path("server.db"), &old);
	ck_assert_str_eq(buf_cstr(&old), buf_cstr(&new));
	/* and works as one */
	ok(project_by_slug(a, span_of("garden"), &p, &err));
	ok(project_publish(a, p.id, true, &q, &err));
	accounts_close(a);
	ok(accounts_open(dir, &a, &err));
	ok(project_get(a, p.id, &q, &err));
	ck_assert(q.is_public);
	buf_free(&old);
	buf_free(&new);
}
END_TEST

static enum rc
nothing_more(int i)
{
	(void)i;
	return accounts_prepare(a, &err);
}

START_TEST(many_that_open_one_of_format_1_at_once_find_format_3)
{
	for (int i = 0; i < 5; i++) {
		make_format_1();
		ck_assert_int_eq(in_a_crowd(nothing_more, RC_OK, RC_OK), CROWD);
		must_be_format_3();
	}
}
END_TEST

START_TEST(who_can_not_get_the_lock_to_change_the_format_says_what_is_going_on)
{
	struct lock *l;

	make_format_1();
	ok(lock_open(path("server.lock"), &l, &err));
	ok(lock_take(l, clock_mono_ms() + 1000));
	is(accounts_open(dir, &a, &err), RC_UNAVAILABLE);
	ck_assert_ptr_null(a);
	ck_assert_ptr_nonnull(strstr(err.text, "is being brought to format 3"));
	lock_close(l);
	ok(accounts_open(dir, &a, &err));
	must_be_format_3();
}
END_TEST

/* Open it with mishaps from the nth write on; the child's wait status. */
static int
open_with(int n, int action, bool lasting)
{
	int status;
	pid_t pid;

	mishap_plan(n, action, lasting, "/server.db");
	if ((pid = fork()) == 0) {
		enum rc rc = accounts_open(dir, &a, &err);

		/* A commit whose sync failed may be there or not; the rest is told. */
		_exit(rc == RC_OK || rc == RC_UNAVAILABLE || rc == RC_FAULT ? 0 : 1);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	return status;
}

/* It is of one format or the other. Which? */
static int
whole_format(void)
{
	int64_t format = count("SELECT value FROM meta WHERE key = 'format'");
	int64_t tables = count("SELECT count(*) FROM sqlite_schema WHERE type = 'table'"
	                       " AND name IN ('invitation', 'login', 'audit')");
	int64_t columns = count("SELECT count(*) FROM pragma_table_info('token')"
	                        " WHERE name IN ('link', 'made_by', 'key')");

	ck_assert(format == 1 || format == 3);
	ck_assert_int_eq(tables, format == 3 ? 3 : 0);
	ck_assert_int_eq(columns, format == 3 ? 3 : 0);
	ck_assert_int_eq(count("SELECT count(*) FROM pragma_integrity_check"
	                       " WHERE integrity_check = 'ok'"), 1);
	return (int)format;
}

START_TEST(a_process_that_dies_at_any_write_leaves_one_format_or_the_other)
{
	int n = 0, seen[4] = { 0 };
	bool struck;

	do {
		ck_assert_int_lt(++n, 500);
		make_format_1();
		ck_assert_int_eq(WIFSIGNALED(open_with(n, MISHAP_KILL, false)), mishap->struck > 0);
		struck = mishap->struck > 0;
		mishap_none();
		seen[whole_format()] += struck;
		ok(accounts_open(dir, &a, &err));
		must_be_format_3();
	} while (struck);
	ck_assert_int_gt(seen[1], 10);
	ck_assert_int_gt(seen[3], 0);
}
END_TEST

START_TEST(a_disk_that_fails_at_any_write_leaves_one_format_or_the_other)
{
	static const struct { int action; bool lasting; } ways[] = {
		{ ENOSPC, true }, { ENOSPC, false }, { EIO, true }, { EIO, false },
		{ MISHAP_SHORT, false },
	};
	int n = 0;
	bool struck;

	do {
		ck_assert_int_lt(++n, 500);
		make_format_1();
		ck_assert_int_eq(open_with(n, ways[_i].action, ways[_i].lasting), 0);
		struck = mishap->struck > 0;
		mishap_none();
		whole_format();
		ok(accounts_open(dir, &a, &err));
		must_be_format_3();
	} while (struck);
	ck_assert_int_gt(n, 10);
}
END_TEST

/* What an operator is told whose disk takes nothing. */
static int
read_only_child(void)
{
	if (!read_only(dir))
		return READ_ONLY_REFUSED;
	if (accounts_open(dir, &a, &err) != RC_UNAVAILABLE || a != NULL)
		return 1;
	return strstr(err.text, "server.db has format 1 and can't be brought to format 3: ") != NULL &&
	       strstr(err.text, "Read-only") != NULL ? 0 : 2;
}

START_TEST(format_1_on_a_read_only_disk_is_refused_with_a_sentence)
{
	pid_t pid;

	make_format_1();
	if ((pid = fork()) == 0)
		_exit(read_only_child());
	read_only_ended(pid);
	ok(accounts_open(dir, &a, &err));
	must_be_format_3();
}
END_TEST

/* --- invitations --- */

static struct invitation
invite(const char *email, enum role role)
{
	struct invitation i;

	ok(invitation_add(a, "p_1", span_of(email), role, owner.id, &i, &err));
	said("invitation.create|p_1|%s|%s for %s\n", i.id, role_name(role), i.email);
	return i;
}

/* Invitations as "EMAIL STATUS, EMAIL STATUS". */
static enum rc
add_invitation(void *ctx, const struct invitation *i)
{
	buf_addf(ctx, "%s%s %s", ((struct buf *)ctx)->len > 0 ? ", " : "", i->email,
	    invitation_status_name(i->status));
	return RC_OK;
}

static void
invitations_are(const char *want)
{
	struct buf b = { 0 };

	ok(invitation_list(a, "p_1", add_invitation, &b, &err));
	ck_assert_str_eq(buf_cstr(&b), want);
	buf_free(&b);
}

/* Those that wait for an address. */
static void
waiting_are(const char *email, const char *want)
{
	struct buf b = { 0 };

	ok(invitation_list_of(a, span_of(email), add_invitation, &b, &err));
	ck_assert_str_eq(buf_cstr(&b), want);
	buf_free(&b);
}

START_TEST(an_invitation_is_kept_in_lower_case_for_seven_days)
{
	struct invitation i = invite("Guest@Example.COM", ROLE_WRITER);

	ck_assert(id_is(span_of(i.id), "inv_", 16));
	ck_assert_str_eq(i.project_id, "p_1");
	ck_assert_str_eq(i.email, "guest@example.com");
	ck_assert_str_eq(i.invited_by, owner.id);
	ck_assert_int_eq(i.role, ROLE_WRITER);
	ck_assert_int_eq(i.status, INVITATION_PENDING);
	ck_assert_int_le(llabs(now() - i.created_at), 5);
	ck_assert_int_eq(i.expires_at - i.created_at, 7 * 86400);
	ck_assert_int_eq(i.accepted_at, 0);
}
END_TEST

START_TEST(invitations_are_listed_newest_first_and_any_number_may_wait)
{
	struct member m;
	struct invitation i;

	invitations_are("");
	invite("guest@example.com", ROLE_READER);
	invite("nobody@example.com", ROLE_READER);
	i = invite("GUEST@example.com", ROLE_OWNER);
	invitations_are("guest@example.com pending, nobody@example.com pending,"
	    " guest@example.com pending");
	waiting_are("Guest@example.com", "guest@example.com pending, guest@example.com pending");
	waiting_are("other@example.com", "");
	ok(invitation_answer(a, i.id, guest.id, false, NULL, &err));
	waiting_are("guest@example.com", "guest@example.com pending");
	invitations_are("guest@example.com declined, nobody@example.com pending,"
	    " guest@example.com pending");
	ok(invitation_list(a, "p_2", add_invitation, NULL, &err));
	is(member_get(a, "p_1", guest.id, &m, &err), RC_NOT_FOUND);
	ok(project_delete(a, "p_1", &err));
	waiting_are("guest@example.com", "");
}
END_TEST

START_TEST(an_invitation_takes_an_address_up_to_its_limit_and_a_live_project)
{
	char text[ACCOUNT_TEXT + 1];
	struct invitation i;

	memset(text, 'x', sizeof(text));
	is(invitation_add(a, "p_1", (struct span){ text, ACCOUNT_TEXT }, ROLE_READER, owner.id, &i,
	    &err), RC_INVALID);
	is(invitation_add(a, "p_1", (struct span){ "a\0b", 3 }, ROLE_READER, owner.id, &i, &err),
	    RC_INVALID);
	is(invitation_add(a, "p_1", span_of(""), ROLE_READER, owner.id, &i, &err), RC_INVALID);
	is(invitation_add(a, "p_2", span_of("x"), ROLE_READER, owner.id, &i, &err), RC_NOT_FOUND);
	said("%s", "");
	ok(invitation_add(a, "p_1", (struct span){ text, ACCOUNT_TEXT - 1 }, ROLE_READER, owner.id,
	    &i, &err));
	ck_assert_uint_eq(strlen(i.email), ACCOUNT_TEXT - 1);
	said("invitation.create|p_1|%s|reader for %s\n", i.id, i.email);
	ok(project_delete(a, "p_1", &err));
	is(invitation_add(a, "p_1", span_of("x"), ROLE_READER, owner.id, &i, &err), RC_NOT_FOUND);
	said("project.delete|p_1|p_1|\n");
}
END_TEST

START_TEST(who_accepts_becomes_a_member_once)
{
	struct invitation i = invite("guest@example.com", ROLE_WRITER);
	struct member m;

	is(invitation_answer(a, i.id, owner.id, true, &m, &err), RC_NOT_FOUND);
	is(invitation_answer(a, i.id, owner.id, false, &m, &err), RC_NOT_FOUND);
	is(invitation_answer(a, i.id, "u_nobody", true, &m, &err), RC_NOT_FOUND);
	is(invitation_answer(a, "inv_0", guest.id, true, &m, &err), RC_NOT_FOUND);
	ck_assert_str_eq(err.text, "invitation not found");
	said("%s", "");
	ok(invitation_answer(a, i.id, guest.id, true, &m, &err));
	ck_assert_str_eq(m.project_id, "p_1");
	ck_assert_str_eq(m.user_id, guest.id);
	ck_assert_str_eq(m.invited_by, owner.id);
	ck_assert_str_eq(m.email, "");
	ck_assert_int_eq(m.role, ROLE_WRITER);
	said("member.add|p_1|%s|writer\ninvitation.accept|p_1|%s|\n", guest.id, i.id);
	ok(member_get(a, "p_1", guest.id, &m, &err));
	ck_assert_int_eq(m.role, ROLE_WRITER);
	ck_assert_int_le(llabs(now() - count("SELECT accepted_at FROM invitation")), 5);
	is(invitation_answer(a, i.id, guest.id, true, &m, &err), RC_CONFLICT);
	is(invitation_answer(a, i.id, guest.id, false, NULL, &err), RC_CONFLICT);
	said("%s", "");
	invitations_are("guest@example.com accepted");
}
END_TEST

START_TEST(who_declines_is_no_member_and_can_not_accept_later)
{
	struct invitation i = invite("guest@example.com", ROLE_WRITER);
	struct member m;

	ok(invitation_answer(a, i.id, guest.id, false, NULL, &err));
	said("invitation.decline|p_1|%s|\n", i.id);
	is(invitation_answer(a, i.id, guest.id, true, &m, &err), RC_CONFLICT);
	is(member_get(a, "p_1", guest.id, &m, &err), RC_NOT_FOUND);
	ck_assert_int_eq(count("SELECT accepted_at FROM invitation"), 0);
	invitations_are("guest@example.com declined");
}
END_TEST

START_TEST(a_member_who_accepts_keeps_his_role)
{
	struct invitation i = invite("guest@example.com", ROLE_READER);
	struct member m;

	ok(member_add(a, "p_1", guest.id, ROLE_OWNER, "", &m, &err));
	said("member.add|p_1|%s|owner\n", guest.id);
	ok(invitation_answer(a, i.id, guest.id, true, &m, &err));
	ck_assert_int_eq(m.role, ROLE_OWNER);
	said("invitation.accept|p_1|%s|\n", i.id);
	i = invite("owner@example.com", ROLE_READER);
	ok(invitation_answer(a, i.id, owner.id, true, &m, &err));
	ck_assert_int_eq(m.role, ROLE_OWNER);
}
END_TEST

START_TEST(an_invitation_ends_with_its_seventh_day)
{
	struct invitation i = invite("guest@example.com", ROLE_WRITER);
	struct invitation late = invite("guest@example.com", ROLE_WRITER);
	struct member m;

	mishap->clock_s = INVITATION_SECONDS - 10;
	waiting_are("guest@example.com", "guest@example.com pending, guest@example.com pending");
	ok(invitation_answer(a, i.id, guest.id, true, &m, &err));
	ok(member_remove(a, "p_1", guest.id, &err));
	said("member.add|p_1|%s|writer\ninvitation.accept|p_1|%s|\nmember.remove|p_1|%s|writer\n",
	    guest.id, i.id, guest.id);
	mishap->clock_s = INVITATION_SECONDS;
	waiting_are("guest@example.com", "");
	invitations_are("guest@example.com pending, guest@example.com accepted");
	is(invitation_answer(a, late.id, owner.id, true, &m, &err), RC_NOT_FOUND);
	is(invitation_answer(a, late.id, guest.id, true, &m, &err), RC_EXPIRED);
	said("invitation.expire|p_1|%s|\n", late.id);
	is(invitation_answer(a, late.id, guest.id, true, &m, &err), RC_CONFLICT);
	is(invitation_answer(a, late.id, guest.id, false, &m, &err), RC_CONFLICT);
	said("%s", "");
	is(member_get(a, "p_1", guest.id, &m, &err), RC_NOT_FOUND);
	invitations_are("guest@example.com expired, guest@example.com accepted");
}
END_TEST

START_TEST(an_invitation_that_was_taken_back_can_not_be_accepted)
{
	struct invitation i = invite("guest@example.com", ROLE_WRITER);
	struct member m;

	project("p_2", "two", guest.id);
	said("project.create|p_2|p_2|two\nmember.add|p_2|%s|owner\n", guest.id);
	is(invitation_remove(a, "p_2", i.id, &err), RC_NOT_FOUND);
	is(invitation_remove(a, "p_1", "inv_0", &err), RC_NOT_FOUND);
	said("%s", "");
	ok(invitation_remove(a, "p_1", i.id, &err));
	said("invitation.remove|p_1|%s|%s\n", i.id, i.email);
	is(invitation_remove(a, "p_1", i.id, &err), RC_NOT_FOUND);
	is(invitation_answer(a, i.id, guest.id, true, &m, &err), RC_NOT_FOUND);
	invitations_are("");
}
END_TEST

static enum rc
count_one(void *ctx, const struct invitation *i)
{
	(void)i;
	++*(int *)ctx;
	return RC_OK;
}

/* Who was an owner can't let himself in again by an invitation that he sent before. */
START_TEST(an_invitation_is_good_for_as_long_as_who_invited_is_an_owner)
{
	struct user late = user("late@example.com");
	struct invitation i, other;
	struct member m;
	int n = 0;

	ok(member_add(a, "p_1", guest.id, ROLE_OWNER, "", &m, &err));
	ok(invitation_add(a, "p_1", span_of("late@example.com"), ROLE_OWNER, guest.id, &i, &err));
	ok(invitation_add(a, "p_1", span_of("late@example.com"), ROLE_READER, "", &other, &err));
	ok(member_change(a, "p_1", guest.id, ROLE_WRITER, &err));
	is(invitation_answer(a, i.id, late.id, true, &m, &err), RC_CONFLICT);
	ck_assert_ptr_nonnull(strstr(err.text, "no longer an owner"));
	ok(member_remove(a, "p_1", guest.id, &err));
	is(invitation_answer(a, i.id, late.id, true, &m, &err), RC_CONFLICT);
	ok(invitation_list_of(a, span_of("late@example.com"), count_one, &n, &err));
	ck_assert_int_eq(n, 1);
	ok(member_add(a, "p_1", guest.id, ROLE_OWNER, "", &m, &err));
	ok(invitation_answer(a, i.id, late.id, true, &m, &err));
	ck_assert_int_eq(m.role, ROLE_OWNER);
	/* The operator's is good anyway; with its project it goes. */
	ok(user_remove(a, guest.id, &err));
	ok(invitation_answer(a, other.id, late.id, true, &m, &err));
	ok(invitation_add(a, "p_1", span_of("x@example.com"), ROLE_READER, "", &i, &err));
	ok(project_delete(a, "p_1", &err));
	is(invitation_answer(a, i.id, late.id, true, &m, &err), RC_NOT_FOUND);
	is(invitation_remove(a, "p_1", i.id, &err), RC_NOT_FOUND);
}
END_TEST

static char shared_id[ID_MAX];

static enum rc
accept_it(int i)
{
	struct member m;

	return invitation_answer(a, shared_id, guest.id, i % 2 == 0, &m, &err);
}

START_TEST(of_many_answers_at_once_one_counts)
{
	struct invitation i = invite("guest@example.com", ROLE_WRITER);

	snprintf(shared_id, sizeof(shared_id), "%s", i.id);
	ck_assert_int_eq(in_a_crowd(accept_it, RC_OK, RC_CONFLICT), 1);
	ck_assert_int_eq(count("SELECT count(*) FROM audit WHERE action IN"
	                       " ('invitation.accept', 'invitation.decline')"), 1);
	ck_assert_int_eq(count("SELECT (SELECT count(*) FROM member) - 1"
	                       " = (SELECT status = 1 FROM invitation)"), 1);
}
END_TEST

/* --- logins --- */

/* Begin a login by a mailed link; n makes its keys. */
static enum rc
begin_link(const char *email, unsigned char n)
{
	struct login_keys k = { .code = { n }, .secret = { n, 1 } };
	struct login l = { .challenge = "challenge", .device = "laptop", .address = "192.0.2.9" };
	char selector[20];

	snprintf(selector, sizeof(selector), "selector%d", n);
	k.selector = selector;
	snprintf(l.email, sizeof(l.email), "%s", email);
	return login_add(a, &k, &l, &err);
}

/* By a code that is typed in. */
static enum rc
begin_code(const char *email, unsigned char n, const char *user_code)
{
	struct login_keys k = { .code = { n }, .user_code = user_code };
	struct login l = { .device = "phone", .address = "192.0.2.9" };

	snprintf(l.email, sizeof(l.email), "%s", email);
	return login_add(a, &k, &l, &err);
}

static struct login
login(unsigned char n)
{
	unsigned char code[32] = { n };
	struct login l;

	ok(login_by_code(a, code, &l, &err));
	return l;
}

static enum rc
find_login(unsigned char n)
{
	unsigned char code[32] = { n };
	struct login l;

	return login_by_code(a, code, &l, &err);
}

/* The token of a login. */
static struct token_row
key(const char *id, const char *user_id)
{
	struct token_row t = { .scope = "sync:read", .projects = "*", .created_at = now(),
	                       .expires_at = now() + 1000 };

	snprintf(t.id, sizeof(t.id), "%s", id);
	snprintf(t.user_id, sizeof(t.user_id), "%s", user_id);
	return t;
}

START_TEST(a_login_is_found_by_its_code_and_by_what_proves_it)
{
	unsigned char code[32] = { 3 }, secret[32] = { 1, 1 };
	struct login l;

	ok(begin_link("guest@example.com", 1));
	ok(begin_code("Nobody@example.com", 2, "ABC234"));
	said("%s", "");
	l = login(1);
	ck_assert_str_eq(l.email, "guest@example.com");
	ck_assert_mem_eq(l.secret, secret, 32);
	ck_assert_str_eq(l.challenge, "challenge");
	ck_assert_str_eq(l.device, "laptop");
	ck_assert_str_eq(l.address, "192.0.2.9");
	ck_assert_int_le(llabs(now() - l.created_at), 5);
	ck_assert_int_eq(l.expires_at - l.created_at, 900);
	ck_assert(l.verified_at == 0 && l.issued_at == 0);
	ok(login_by_selector(a, "selector1", &l, &err));
	ck_assert_int_eq(l.n, login(1).n);
	ok(login_by_user_code(a, "ABC234", &l, &err));
	ck_assert_int_eq(l.n, login(2).n);
	ck_assert_str_eq(l.email, "Nobody@example.com");
	ck_assert_str_eq(l.challenge, "");
	is(login_by_code(a, code, &l, &err), RC_NOT_FOUND);
	is(login_by_selector(a, "selector2", &l, &err), RC_NOT_FOUND);
	is(login_by_selector(a, "", &l, &err), RC_NOT_FOUND);
	is(login_by_user_code(a, "ABC235", &l, &err), RC_NOT_FOUND);
	is(login_by_user_code(a, "", &l, &err), RC_NOT_FOUND);
}
END_TEST

START_TEST(an_address_gets_one_link_a_minute)
{
	ok(begin_link("guest@example.com", 1));
	is(begin_link("guest@example.com", 2), RC_CROWDED);
	is(begin_link("GUEST@example.com", 2), RC_CROWDED);
	is(find_login(2), RC_NOT_FOUND);
	ok(begin_link("other@example.com", 2));
	/* No mail goes out for a code. */
	ok(begin_code("guest@example.com", 3, "ABC234"));
	ok(begin_code("guest@example.com", 4, "ABC235"));
	mishap->clock_s = LOGIN_MAIL_SECONDS - 5;
	is(begin_link("guest@example.com", 5), RC_CROWDED);
	mishap->clock_s = LOGIN_MAIL_SECONDS;
	ok(begin_link("guest@example.com", 5));
	is(begin_link("guest@example.com", 6), RC_CROWDED);
}
END_TEST

START_TEST(a_clock_that_was_set_back_keeps_nobody_out)
{
	mishap->clock_s = 86400;
	ok(begin_link("guest@example.com", 1));
	mishap->clock_s = 0;
	ok(begin_link("guest@example.com", 2));
	is(begin_link("guest@example.com", 3), RC_CROWDED);
}
END_TEST

START_TEST(codes_that_are_taken_are_refused)
{
	ok(begin_link("guest@example.com", 1));
	ok(begin_code("guest@example.com", 2, "ABC234"));
	is(begin_code("other@example.com", 3, "ABC234"), RC_CONFLICT);
	is(find_login(3), RC_NOT_FOUND);
	is(begin_code("other@example.com", 1, "ABC235"), RC_CONFLICT);
	is(begin_link("other@example.com", 1), RC_CONFLICT);
	ok(begin_link("other@example.com", 4));
}
END_TEST

START_TEST(a_login_is_verified_once)
{
	struct login l;

	ok(begin_link("Guest@example.com", 1));
	l = login(1);
	ok(login_verify(a, &l, false, &err));
	said("login.approve||%s|laptop\n", guest.id);
	ck_assert_int_le(llabs(now() - login(1).verified_at), 5);
	is(login_verify(a, &l, false, &err), RC_CONFLICT);
	is(login_verify(a, &l, true, &err), RC_CONFLICT);
	is(login_verify(a, &(struct login){ .n = 99 }, true, &err), RC_CONFLICT);
	said("%s", "");
}
END_TEST

START_TEST(an_address_that_nobody_has_is_verified_where_people_may_sign_up)
{
	struct login l;
	struct user u;

	ok(begin_code("New@example.com", 1, "ABC234"));
	l = login(1);
	is(login_verify(a, &l, false, &err), RC_NOT_FOUND);
	ck_assert_int_eq(login(1).verified_at, 0);
	is(user_by_email(a, span_of("new@example.com"), &u, &err), RC_NOT_FOUND);
	said("%s", "");
	ok(login_verify(a, &l, true, &err));
	ok(user_by_email(a, span_of("new@example.com"), &u, &err));
	ck_assert_str_eq(u.email, "New@example.com");
	said("user.add||%s|%s\nlogin.approve||%s|phone\n", u.id, u.email, u.id);
}
END_TEST

START_TEST(a_login_that_is_over_is_not_verified)
{
	struct login l, late;

	ok(begin_link("guest@example.com", 1));
	ok(begin_link("owner@example.com", 2));
	l = login(1);
	late = login(2);
	mishap->clock_s = LOGIN_SECONDS - 5;
	ok(login_verify(a, &l, false, &err));
	said("login.approve||%s|laptop\n", guest.id);
	mishap->clock_s = LOGIN_SECONDS;
	is(login_verify(a, &late, true, &err), RC_CONFLICT);
	ck_assert_int_eq(login(2).verified_at, 0);
	said("%s", "");
}
END_TEST

START_TEST(a_login_gets_its_key_once_and_after_it_was_verified)
{
	struct token_row t = key("ak_1", guest.id), u = key("ak_2", guest.id), got;
	struct login l;

	ok(begin_link("guest@example.com", 1));
	l = login(1);
	is(login_issue(a, &l, &t, &err), RC_CONFLICT);
	is(token_get(a, "ak_1", &got, &err), RC_NOT_FOUND);
	ok(login_verify(a, &l, false, &err));
	said("login.approve||%s|laptop\n", guest.id);
	ok(login_issue(a, &l, &t, &err));
	ck_assert_int_le(llabs(now() - login(1).issued_at), 5);
	said("token.create||ak_1|sync:read of %s\nlogin||%s|laptop\n", guest.id, guest.id);
	is(login_issue(a, &l, &u, &err), RC_CONFLICT);
	is(token_get(a, "ak_2", &got, &err), RC_NOT_FOUND);
	is(login_issue(a, &(struct login){ .n = 99 }, &u, &err), RC_CONFLICT);
	said("%s", "");
}
END_TEST

START_TEST(a_login_whose_key_can_not_be_made_can_have_it_later)
{
	struct token_row bad = key("ak_1", "u_nobody"), t = key("ak_1", guest.id);
	struct login l;

	ok(begin_link("guest@example.com", 1));
	l = login(1);
	ok(login_verify(a, &l, false, &err));
	said("login.approve||%s|laptop\n", guest.id);
	is(login_issue(a, &l, &bad, &err), RC_NOT_FOUND);
	ck_assert_int_eq(login(1).issued_at, 0);
	said("%s", "");
	ok(login_issue(a, &l, &t, &err));
}
END_TEST

START_TEST(a_user_who_went_gets_no_key)
{
	struct token_row t = key("ak_1", guest.id), got;
	struct login l;

	ok(begin_link("GUEST@example.com", 1));
	l = login(1);
	ok(login_verify(a, &l, false, &err));
	ok(user_remove(a, guest.id, &err));
	is(find_login(1), RC_NOT_FOUND);
	ck_assert_int_ne(login_issue(a, &l, &t, &err), RC_OK);
	is(token_get(a, "ak_1", &got, &err), RC_NOT_FOUND);
}
END_TEST

static struct login shared_login;

static enum rc
take_key(int i)
{
	struct token_row t = key("ak_x", guest.id);

	snprintf(t.id, sizeof(t.id), "ak_%d", i);
	return login_issue(a, &shared_login, &t, &err);
}

START_TEST(many_polls_at_once_get_one_key)
{
	ok(begin_link("guest@example.com", 1));
	shared_login = login(1);
	ok(login_verify(a, &shared_login, false, &err));
	ck_assert_int_eq(in_a_crowd(take_key, RC_OK, RC_CONFLICT), 1);
	ck_assert_int_eq(count("SELECT count(*) FROM token"), 1);
	ck_assert_int_eq(count("SELECT count(*) FROM audit WHERE action = 'login'"), 1);
}
END_TEST

static enum rc
ask_for_a_link(int i)
{
	return begin_link("guest@example.com", (unsigned char)i);
}

START_TEST(many_that_ask_at_once_get_one_link)
{
	ck_assert_int_eq(in_a_crowd(ask_for_a_link, RC_OK, RC_CROWDED), 1);
	ck_assert_int_eq(count("SELECT count(*) FROM login"), 1);
}
END_TEST

/* To the second, whether somebody cleaned up or not: an address that is known must not
 * be told from one that is not by when the end of its login is forgotten. */
START_TEST(a_login_is_forgotten_half_an_hour_after_its_end)
{
	struct login l;

	ok(begin_link("guest@example.com", 1));
	ok(begin_code("guest@example.com", 2, "ABC234"));
	mishap->clock_s = LOGIN_SECONDS + LOGIN_KEPT_SECONDS - 5;
	ok(begin_code("guest@example.com", 3, "ABC235"));
	ok(find_login(1));
	ok(find_login(2));
	mishap->clock_s = LOGIN_SECONDS + LOGIN_KEPT_SECONDS;
	is(find_login(1), RC_NOT_FOUND);
	is(login_by_selector(a, "selector1", &l, &err), RC_NOT_FOUND);
	is(login_by_user_code(a, "ABC234", &l, &err), RC_NOT_FOUND);
	ck_assert_int_eq(l.n, 0);
	ok(find_login(3));
	ck_assert_int_eq(count("SELECT count(*) FROM login"), 3);
	ok(begin_code("guest@example.com", 4, "ABC234"));
	ck_assert_int_eq(count("SELECT count(*) FROM login"), 2);
}
END_TEST

START_TEST(how_long_a_login_takes_is_noted_where_it_takes_long)
{
	ck_assert_int_eq(login_pace(a), 0);
	login_note_pace(a, LOGIN_PACE_MIN - 1);
	ck_assert_int_eq(count("SELECT count(*) FROM meta WHERE key = 'login_pace_ms'"), 0);
	login_note_pace(a, LOGIN_PACE_MIN);
	ck_assert_int_eq(login_pace(a), LOGIN_PACE_MIN);
	/* Within a quarter it stays. */
	login_note_pace(a, LOGIN_PACE_MIN * 5 / 4 - 1);
	ck_assert_int_eq(login_pace(a), LOGIN_PACE_MIN);
	login_note_pace(a, LOGIN_PACE_MIN * 4 / 5 + 1);
	ck_assert_int_eq(login_pace(a), LOGIN_PACE_MIN);
	login_note_pace(a, LOGIN_PACE_MIN * 5 / 4);
	ck_assert_int_eq(login_pace(a), LOGIN_PACE_MIN * 5 / 4);
	login_note_pace(a, LOGIN_PACE_MIN);
	ck_assert_int_eq(login_pace(a), LOGIN_PACE_MIN);
	login_note_pace(a, LOGIN_PACE_MAX * 2);
	ck_assert_int_eq(login_pace(a), LOGIN_PACE_MAX);
	login_note_pace(a, 0);
	ck_assert_int_eq(login_pace(a), 0);
	said("%s", "");
}
END_TEST

/* --- users that go --- */

static struct token_row
token(const char *id, const char *user_id, const char *link)
{
	struct token_row t = key(id, link[0] == '\0' ? user_id : "");

	snprintf(t.link_id, sizeof(t.link_id), "%s", link);
	if (link[0] != '\0')
		snprintf(t.made_by, sizeof(t.made_by), "%s", user_id);
	ok(token_add(a, &t, &err));
	return t;
}

START_TEST(everything_that_refers_to_a_user_goes_with_him)
{
	struct user third = user("third@example.com");
	struct invitation i;
	struct access acc;
	struct token_row t;
	struct member m;

	ok(member_add(a, "p_1", guest.id, ROLE_OWNER, owner.id, &m, &err));
	ok(member_add(a, "p_1", third.id, ROLE_READER, guest.id, &m, &err));
	token("ak_mine", guest.id, "");
	token("ak_his", owner.id, "");
	token("ak_link", guest.id, "p_1");
	ok(begin_link("Guest@example.com", 1));
	ok(begin_code("owner@example.com", 2, "ABC234"));
	ok(invitation_add(a, "p_1", span_of("x@example.com"), ROLE_READER, guest.id, &i, &err));
	heard = count("SELECT max(n) FROM audit");

	ok(user_remove(a, guest.id, &err));
	said("user.remove||%s|%s\n", guest.id, guest.email);
	is(user_by_id(a, guest.id, &guest, &err), RC_NOT_FOUND);
	is(user_by_email(a, span_of("guest@example.com"), &guest, &err), RC_NOT_FOUND);
	is(token_get(a, "ak_mine", &t, &err), RC_NOT_FOUND);
	ok(token_get(a, "ak_his", &t, &err));
	ok(token_get(a, "ak_link", &t, &err));
	ck_assert_str_eq(t.made_by, "");
	ck_assert_str_eq(t.link_id, "p_1");
	ok(member_get(a, "p_1", third.id, &m, &err));
	ck_assert_str_eq(m.invited_by, "");
	is(find_login(1), RC_NOT_FOUND);
	ok(find_login(2));
	ck_assert_int_eq(count("SELECT count(*) FROM member"), 2);
	ck_assert_int_eq(count("SELECT count(*) FROM pragma_foreign_key_check"), 0);
	ok(access_get(a, "ak_mine", "u_whoever", "p_1", &acc, &err));
	ck_assert(!acc.token_known && !acc.user_known);
}
END_TEST

START_TEST(a_user_without_whom_a_project_has_no_owner_stays)
{
	struct access acc;
	struct member m;

	token("ak_1", owner.id, "");
	said("token.create||ak_1|sync:read of %s\n", owner.id);
	is(user_remove(a, owner.id, &err), RC_LAST_OWNER);
	ck_assert_ptr_nonnull(strstr(err.text, "p_1"));
	ok(access_get(a, "ak_1", owner.id, "p_1", &acc, &err));
	ck_assert(acc.token_known && acc.user_known && acc.role == ROLE_OWNER);
	is(user_remove(a, "u_nobody", &err), RC_NOT_FOUND);
	said("%s", "");
	/* A writer beside him is none who could own it. */
	ok(member_add(a, "p_1", guest.id, ROLE_WRITER, "", &m, &err));
	is(user_remove(a, owner.id, &err), RC_LAST_OWNER);
	ok(member_change(a, "p_1", guest.id, ROLE_OWNER, &err));
	ok(user_remove(a, owner.id, &err));
	is(user_remove(a, owner.id, &err), RC_NOT_FOUND);
	is(user_remove(a, guest.id, &err), RC_LAST_OWNER);
	/* A deleted project needs no owner. */
	ok(project_delete(a, "p_1", &err));
	ok(user_remove(a, guest.id, &err));
	ck_assert_int_eq(count("SELECT count(*) FROM user"), 0);
	ck_assert_int_eq(count("SELECT count(*) FROM member"), 0);
	/* The address may come back, as somebody else. */
	ck_assert_str_ne(user("owner@example.com").id, owner.id);
}
END_TEST

/* --- projects: who may read them, and their end --- */

START_TEST(a_project_is_public_from_one_moment_to_another)
{
	struct accounts *other;
	struct access acc;
	struct project p;

	ok(accounts_open(dir, &other, &err));
	ok(access_get(other, "", "", "p_1", &acc, &err));
	ck_assert(acc.project_known && !acc.project_public);
	ok(project_publish(a, "p_1", true, &p, &err));
	ck_assert(p.is_public);
	ck_assert_str_eq(p.slug, "one");
	said("project.visibility|p_1|p_1|public\n");
	ok(access_get(other, "", "", "p_1", &acc, &err));
	ck_assert(acc.project_public);
	ok(project_publish(a, "p_1", true, &p, &err));
	ck_assert(p.is_public);
	said("%s", "");
	ok(project_publish(a, "p_1", false, &p, &err));
	ck_assert(!p.is_public);
	said("project.visibility|p_1|p_1|private\n");
	ok(access_get(other, "", "", "p_1", &acc, &err));
	ck_assert(!acc.project_public);
	is(project_publish(a, "p_2", true, &p, &err), RC_NOT_FOUND);
	ok(project_delete(a, "p_1", &err));
	said("project.delete|p_1|p_1|\n");
	is(project_publish(a, "p_1", true, &p, &err), RC_NOT_FOUND);
	is(project_publish(a, "p_1", false, &p, &err), RC_NOT_FOUND);
	said("%s", "");
	accounts_close(other);
}
END_TEST

START_TEST(only_a_deleted_project_is_purged)
{
	struct access acc;
	struct project p;

	ok(project_publish(a, "p_1", true, &p, &err));
	said("project.visibility|p_1|p_1|public\n");
	is(project_purged(a, "p_1", &err), RC_CONFLICT);
	is(project_purged(a, "p_2", &err), RC_NOT_FOUND);
	ok(project_get(a, "p_1", &p, &err));
	ck_assert_int_eq(p.purged_at, 0);
	said("%s", "");
	ok(project_delete(a, "p_1", &err));
	ok(project_purged(a, "p_1", &err));
	said("project.delete|p_1|p_1|\nproject.purge|p_1|p_1|\n");
	ok(project_get(a, "p_1", &p, &err));
	ck_assert_int_le(llabs(now() - p.purged_at), 5);
	ck_assert(!p.is_public && p.deleted_at != 0);
	ok(access_get(a, "", "", "p_1", &acc, &err));
	ck_assert(acc.project_deleted && !acc.project_public);
	/* Its slug stays its own. */
	ck_assert_str_eq(project("p_2", "one", owner.id).slug, "one-2");
}
END_TEST

/* Make a project of the owner's where he may have so many. */
static enum rc
add_within(int64_t most, const char *id)
{
	struct project p;

	return project_add_within(a, most, id, span_of("more"), span_of(""), owner.id, &p, &err);
}

START_TEST(a_user_owns_as_many_live_projects_as_he_may)
{
	struct project p;
	struct member m;

	/* What is another's, and what is deleted, does not count. */
	ok(project_add(a, "p_g", span_of("guest's"), span_of(""), guest.id, &p, &err));
	ok(member_add(a, "p_g", owner.id, ROLE_WRITER, "", &m, &err));
	heard = count("SELECT max(n) FROM audit");
	is(add_within(1, "p_2"), RC_QUOTA);
	is(project_get(a, "p_2", &p, &err), RC_NOT_FOUND);
	said("%s", "");
	ok(add_within(2, "p_2"));
	is(add_within(2, "p_3"), RC_QUOTA);
	ok(add_within(0, "p_3"));
	is(add_within(2, "p_4"), RC_QUOTA);
	ok(project_delete(a, "p_1", &err));
	ok(project_delete(a, "p_2", &err));
	ok(add_within(2, "p_4"));
	is(add_within(2, "p_5"), RC_QUOTA);
	/* Who is made an owner has one more. */
	ok(member_change(a, "p_g", owner.id, ROLE_OWNER, &err));
	is(add_within(3, "p_5"), RC_QUOTA);
	ok(add_within(4, "p_5"));
}
END_TEST

static enum rc
add_one_of_three(int i)
{
	char id[8];

	snprintf(id, sizeof(id), "p_x%d", i);
	return add_within(3, id);
}

START_TEST(many_projects_at_once_are_as_many_as_may_be)
{
	ck_assert_int_eq(in_a_crowd(add_one_of_three, RC_OK, RC_QUOTA), 2);
	ck_assert_int_eq(count("SELECT count(*) FROM project"), 3);
}
END_TEST

/* --- share links --- */

START_TEST(a_share_link_is_good_for_as_long_as_who_made_it_is_an_owner)
{
	struct token_row t;
	struct member m;

	ok(member_add(a, "p_1", guest.id, ROLE_OWNER, "", &m, &err));
	project("p_2", "two", guest.id);
	token("ak_a", guest.id, "p_1");
	token("ak_b", owner.id, "p_1");
	token("ak_c", guest.id, "p_2");
	heard = count("SELECT max(n) FROM audit");
	ok(member_change(a, "p_1", guest.id, ROLE_WRITER, &err));
	said("member.change|p_1|%s|owner to writer\nlink.revoke|p_1|%s|all that he made\n",
	    guest.id, guest.id);
	ok(token_get(a, "ak_a", &t, &err));
	ck_assert_int_ne(t.revoked_at, 0);
	ok(token_get(a, "ak_b", &t, &err));
	ck_assert_int_eq(t.revoked_at, 0);
	ok(token_get(a, "ak_c", &t, &err));
	ck_assert_int_eq(t.revoked_at, 0);
	/* Also where the maker goes altogether. */
	ok(member_add(a, "p_2", owner.id, ROLE_OWNER, "", &m, &err));
	ok(user_remove(a, guest.id, &err));
	ok(token_get(a, "ak_c", &t, &err));
	ck_assert_int_ne(t.revoked_at, 0);
	ck_assert_str_eq(t.made_by, "");
}
END_TEST

START_TEST(only_so_many_invitations_wait_for_an_address)
{
	struct invitation i;

	for (int n = 0; n < INVITATIONS_WAITING; n++)
		ok(invitation_add(a, "p_1", span_of("x@example.com"), ROLE_READER, owner.id, &i, &err));
	is(invitation_add(a, "p_1", span_of("X@example.com"), ROLE_READER, owner.id, &i, &err),
	    RC_CONFLICT);
	ok(invitation_add(a, "p_1", span_of("y@example.com"), ROLE_READER, owner.id, &i, &err));
}
END_TEST

START_TEST(share_links_are_listed_by_project)
{
	static struct token_row rows[4];
	struct token_row *next = rows;

	project("p_2", "two", owner.id);
	said("project.create|p_2|p_2|two\nmember.add|p_2|%s|owner\n", owner.id);
	token("ak_a", owner.id, "p_1");
	token("ak_b", owner.id, "");
	token("ak_c", owner.id, "p_2");
	token("ak_d", guest.id, "p_1");
	said("link.create|p_1|ak_a|sync:read\ntoken.create||ak_b|sync:read of %s\n"
	    "link.create|p_2|ak_c|sync:read\nlink.create|p_1|ak_d|sync:read\n", owner.id);
	ok(token_revoke(a, "ak_d", &err));
	ok(token_revoke(a, "ak_b", &err));
	said("link.revoke|p_1|ak_d|\ntoken.revoke||ak_b|%s\n", owner.id);
	ok(token_links(a, "p_1", keep_token, &next, &err));
	ck_assert_int_eq(next - rows, 2);
	ck_assert_str_eq(rows[0].id, "ak_a");
	ck_assert_str_eq(rows[0].link_id, "p_1");
	ck_assert_str_eq(rows[0].made_by, owner.id);
	ck_assert_str_eq(rows[0].user_id, "");
	ck_assert_int_eq(rows[0].revoked_at, 0);
	ck_assert_str_eq(rows[1].id, "ak_d");
	ck_assert_int_ne(rows[1].revoked_at, 0);
	next = rows;
	ok(token_list(a, owner.id, keep_token, &next, &err));
	ck_assert_int_eq(next - rows, 1);
	ck_assert_str_eq(rows[0].id, "ak_b");
	ok(token_links(a, "p_3", keep_token, &next, &err));
	ck_assert_int_eq(next - rows, 1);
}
END_TEST

START_TEST(a_share_link_is_of_a_project_that_lives_and_by_a_user_who_is_there)
{
	struct token_row t = key("ak_1", "");

	strcpy(t.link_id, "p_2");
	strcpy(t.made_by, owner.id);
	is(token_add(a, &t, &err), RC_NOT_FOUND);
	strcpy(t.link_id, "p_1");
	strcpy(t.made_by, "u_nobody");
	is(token_add(a, &t, &err), RC_NOT_FOUND);
	is(token_get(a, "ak_1", &t, &err), RC_NOT_FOUND);
	said("%s", "");
	ok(project_delete(a, "p_1", &err));
	said("project.delete|p_1|p_1|\n");
	t = key("ak_1", "");
	strcpy(t.link_id, "p_1");
	strcpy(t.made_by, owner.id);
	is(token_add(a, &t, &err), RC_NOT_FOUND);
	said("%s", "");
}
END_TEST

/* --- the audit log --- */

START_TEST(every_other_write_leaves_its_lines_too)
{
	struct span name = span_of("new name");
	struct token_row t = key("ak_1", guest.id);
	struct project p;
	struct member m;
	struct user u;

	u = user("u@example.com");
	said("user.add||%s|%s\n", u.id, u.email);
	ok(member_add(a, "p_1", u.id, ROLE_READER, owner.id, &m, &err));
	ok(member_change(a, "p_1", u.id, ROLE_WRITER, &err));
	ok(member_remove(a, "p_1", u.id, &err));
	said("member.add|p_1|%s|reader\nmember.change|p_1|%s|reader to writer\n"
	    "member.remove|p_1|%s|writer\n", u.id, u.id, u.id);
	ok(project_change(a, "p_1", &name, NULL, &p, &err));
	said("project.change|p_1|p_1|\n");
	ok(project_change(a, "p_1", NULL, NULL, &p, &err));
	said("%s", "");
	ok(token_add(a, &t, &err));
	token_used(a, "ak_1", 0);
	said("token.create||ak_1|sync:read of %s\n", guest.id);
	ok(audit_note(a, "key.rotate", "", "k_1", "overlap 5 days", &err));
	said("key.rotate||k_1|overlap 5 days\n");
}
END_TEST

START_TEST(what_failed_left_no_line)
{
	struct span empty = span_of(""), name = span_of("x");
	struct token_row t = key("ak_1", "u_nobody");
	struct project p;
	struct member m;
	struct user u;

	is(user_add(a, span_of("GUEST@example.com"), &u, &err), RC_CONFLICT);
	is(user_add(a, empty, &u, &err), RC_INVALID);
	is(project_add(a, "p_2", name, empty, "u_nobody", &p, &err), RC_NOT_FOUND);
	is(project_add(a, "p_2", empty, empty, owner.id, &p, &err), RC_INVALID);
	is(project_change(a, "p_2", &name, NULL, &p, &err), RC_NOT_FOUND);
	is(project_delete(a, "p_2", &err), RC_NOT_FOUND);
	is(member_add(a, "p_1", owner.id, ROLE_READER, "", &m, &err), RC_CONFLICT);
	is(member_add(a, "p_1", "u_nobody", ROLE_READER, "", &m, &err), RC_NOT_FOUND);
	is(member_change(a, "p_1", guest.id, ROLE_READER, &err), RC_NOT_FOUND);
	is(member_change(a, "p_1", owner.id, ROLE_READER, &err), RC_LAST_OWNER);
	is(member_remove(a, "p_1", owner.id, &err), RC_LAST_OWNER);
	is(token_add(a, &t, &err), RC_NOT_FOUND);
	is(token_revoke(a, "ak_1", &err), RC_NOT_FOUND);
	said("%s", "");
}
END_TEST

START_TEST(what_the_disk_refused_left_no_line)
{
	struct user u;
	bool struck, there;
	int n = 0;
	enum rc rc;

	do {
		char email[40];

		ck_assert_int_lt(++n, 200);
		snprintf(email, sizeof(email), "n%d@example.com", n);
		mishap_plan(n, ENOSPC, true, "/server.db");
		rc = user_add(a, span_of(email), &u, &err);
		struck = mishap->struck > 0;
		mishap_none();
		ck_assert(rc == RC_OK || struck);
		if (accounts_stale(a)) {
			accounts_close(a);
			ok(accounts_open(dir, &a, &err));
			accounts_act_for(a, &somebody);
		}
		/* A commit that could not be synced may have come about: then with its line. */
		there = user_by_email(a, span_of(email), &u, &err) == RC_OK;
		ck_assert(there || rc != RC_OK);
		if (there)
			said("user.add||%s|%s\n", u.id, u.email);
		else
			said("%s", "");
	} while (struck);
	ck_assert_int_gt(n, 2);
}
END_TEST

START_TEST(the_actor_is_the_operator_where_nobody_is_named)
{
	struct user u;

	accounts_act_for(a, NULL);
	u = user("u@example.com");
	ck_assert_int_eq(count("SELECT count(*) FROM audit WHERE user = '' AND token = ''"
	                       " AND address = ''"), 1);
	accounts_act_for(a, &somebody);
	ok(user_remove(a, u.id, &err));
	ck_assert_int_eq(count("SELECT count(*) FROM audit WHERE user = 'u_somebody'"
	                       " AND token = 'ak_somebody' AND address = '192.0.2.7'"), 1);
	accounts_close(a);
	ok(accounts_open(dir, &a, &err));
	user("v@example.com");
	ck_assert_int_eq(count("SELECT count(*) FROM audit WHERE user = ''"), 2);
}
END_TEST

/* Lines as "ACTION ACTION". */
static enum rc
add_action(void *ctx, const struct deed_line *d)
{
	buf_addf(ctx, "%s%s", ((struct buf *)ctx)->len > 0 ? " " : "", d->action);
	return strcmp(d->action, "stop") == 0 ? RC_CONFLICT : RC_OK;
}

static void
actions_are(int64_t since, const char *user_id, const char *project_id, const char *want)
{
	struct buf b = { 0 };
	enum rc rc = audit_list(a, since, user_id, project_id, add_action, &b, &err);

	ck_assert(rc == RC_OK || strstr(want, "stop") != NULL);
	ck_assert_str_eq(buf_cstr(&b), want);
	buf_free(&b);
}

START_TEST(the_log_is_read_since_a_time_of_a_user_and_of_a_project)
{
	ok(audit_note(a, "first", "p_1", "x", "", &err));
	ok(audit_note(a, "second", "p_2", "u_2", "", &err));
	ok(audit_note(a, "third", "p_1", "u_2", "", &err));
	alter("UPDATE audit SET at = 1000 * n, user = 'u_' || n, n = n + 100");
	actions_are(0, "", "", "first second third");
	actions_are(1000, "", "", "first second third");
	actions_are(1001, "", "", "second third");
	actions_are(3000, "", "", "third");
	actions_are(3001, "", "", "");
	actions_are(0, "", "p_1", "first third");
	actions_are(0, "u_1", "", "first");
	actions_are(0, "u_2", "", "second third");
	actions_are(0, "u_2", "p_1", "third");
	actions_are(3001, "u_2", "p_1", "");
	alter("UPDATE audit SET action = 'stop' WHERE at = 2000");
	actions_are(0, "", "", "first stop");
	actions_are(0, "", "p_1", "first third");
}
END_TEST

START_TEST(the_log_forgets_what_is_older_than_its_limit)
{
	struct lock *l;
	int64_t start;

	for (int i = 0; i < 3; i++)
		ok(audit_note(a, "note", "", "", "", &err));
	alter("UPDATE audit SET at = 1000 * n, action = 'n' || n");
	audit_clean(a, 1000);
	actions_are(0, "", "", "n1 n2 n3");
	ok(lock_open(path("server.lock"), &l, &err));
	ok(lock_take(l, clock_mono_ms() + 1000));
	start = clock_mono_ms();
	audit_clean(a, 1001);
	ck_assert_int_lt(clock_mono_ms() - start, LOCK_WAIT_MS - 50);
	lock_close(l);
	actions_are(0, "", "", "n1 n2 n3");
	audit_clean(a, 1001);
	actions_are(0, "", "", "n2 n3");
	audit_clean(a, 3000);
	actions_are(0, "", "", "n3");
	audit_clean(a, 3001);
	actions_are(0, "", "", "");
}
END_TEST

START_TEST(what_has_been_over_for_long_is_forgotten)
{
	struct invitation i;
	struct token_row t;

	token("ak_over", owner.id, "");
	token("ak_revoked", owner.id, "p_1");
	token("ak_good", owner.id, "");
	ok(token_revoke(a, "ak_revoked", &err));
	ok(invitation_add(a, "p_1", span_of("x@example.com"), ROLE_READER, owner.id, &i, &err));
	alter("UPDATE token SET expires_at = 4000000000; UPDATE invitation SET expires_at = 2000;"
	    "UPDATE token SET expires_at = 2000 WHERE id = 'ak_over';"
	    "UPDATE token SET revoked_at = 2000 WHERE id = 'ak_revoked'");
	audit_clean(a, 2000);
	ok(token_get(a, "ak_over", &t, &err));
	ok(token_get(a, "ak_revoked", &t, &err));
	ck_assert_int_eq(count("SELECT count(*) FROM invitation"), 1);
	audit_clean(a, 2001);
	is(token_get(a, "ak_over", &t, &err), RC_NOT_FOUND);
	is(token_get(a, "ak_revoked", &t, &err), RC_NOT_FOUND);
	ok(token_get(a, "ak_good", &t, &err));
	ck_assert_int_eq(count("SELECT count(*) FROM invitation"), 0);
}
END_TEST

static enum rc
keep_line(void *ctx, const struct deed_line *d)
{
	*(struct deed_line *)ctx = *d;
	return RC_OK;
}

START_TEST(a_long_detail_is_cut)
{
	char text[DETAIL_MAX + 3];
	struct deed_line d;

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	ok(audit_note(a, "note", "", "", text + 2, &err));
	ok(audit_list(a, 0, "", "", keep_line, &d, &err));
	ck_assert_str_eq(d.detail, text + 2);
	ok(audit_note(a, "note", "", "", text, &err));
	ok(audit_list(a, 0, "", "", keep_line, &d, &err));
	ck_assert_str_eq(d.detail, text + 2);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("entry");
	TCase *t = tcase_create("entry");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(t, setup_people, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, a_server_db_of_format_1_is_brought_to_format_3);
	tcase_add_test(t, many_that_open_one_of_format_1_at_once_find_format_3);
	tcase_add_test(t, who_can_not_get_the_lock_to_change_the_format_says_what_is_going_on);
	tcase_add_test(t, a_process_that_dies_at_any_write_leaves_one_format_or_the_other);
	tcase_add_loop_test(t, a_disk_that_fails_at_any_write_leaves_one_format_or_the_other, 0, 5);
	tcase_add_test(t, format_1_on_a_read_only_disk_is_refused_with_a_sentence);
	tcase_add_test(t, an_invitation_is_kept_in_lower_case_for_seven_days);
	tcase_add_test(t, invitations_are_listed_newest_first_and_any_number_may_wait);
	tcase_add_test(t, an_invitation_takes_an_address_up_to_its_limit_and_a_live_project);
	tcase_add_test(t, who_accepts_becomes_a_member_once);
	tcase_add_test(t, who_declines_is_no_member_and_can_not_accept_later);
	tcase_add_test(t, a_member_who_accepts_keeps_his_role);
	tcase_add_test(t, an_invitation_ends_with_its_seventh_day);
	tcase_add_test(t, an_invitation_that_was_taken_back_can_not_be_accepted);
	tcase_add_test(t, an_invitation_is_good_for_as_long_as_who_invited_is_an_owner);
	tcase_add_test(t, of_many_answers_at_once_one_counts);
	tcase_add_test(t, a_login_is_found_by_its_code_and_by_what_proves_it);
	tcase_add_test(t, an_address_gets_one_link_a_minute);
	tcase_add_test(t, a_clock_that_was_set_back_keeps_nobody_out);
	tcase_add_test(t, codes_that_are_taken_are_refused);
	tcase_add_test(t, a_login_is_verified_once);
	tcase_add_test(t, an_address_that_nobody_has_is_verified_where_people_may_sign_up);
	tcase_add_test(t, a_login_that_is_over_is_not_verified);
	tcase_add_test(t, a_login_gets_its_key_once_and_after_it_was_verified);
	tcase_add_test(t, a_login_whose_key_can_not_be_made_can_have_it_later);
	tcase_add_test(t, a_user_who_went_gets_no_key);
	tcase_add_test(t, many_polls_at_once_get_one_key);
	tcase_add_test(t, many_that_ask_at_once_get_one_link);
	tcase_add_test(t, a_login_is_forgotten_half_an_hour_after_its_end);
	tcase_add_test(t, how_long_a_login_takes_is_noted_where_it_takes_long);
	tcase_add_test(t, everything_that_refers_to_a_user_goes_with_him);
	tcase_add_test(t, a_user_without_whom_a_project_has_no_owner_stays);
	tcase_add_test(t, a_project_is_public_from_one_moment_to_another);
	tcase_add_test(t, only_a_deleted_project_is_purged);
	tcase_add_test(t, a_user_owns_as_many_live_projects_as_he_may);
	tcase_add_test(t, many_projects_at_once_are_as_many_as_may_be);
	tcase_add_test(t, share_links_are_listed_by_project);
	tcase_add_test(t, a_share_link_is_good_for_as_long_as_who_made_it_is_an_owner);
	tcase_add_test(t, only_so_many_invitations_wait_for_an_address);
	tcase_add_test(t, a_share_link_is_of_a_project_that_lives_and_by_a_user_who_is_there);
	tcase_add_test(t, every_other_write_leaves_its_lines_too);
	tcase_add_test(t, what_failed_left_no_line);
	tcase_add_test(t, what_the_disk_refused_left_no_line);
	tcase_add_test(t, the_actor_is_the_operator_where_nobody_is_named);
	tcase_add_test(t, the_log_is_read_since_a_time_of_a_user_and_of_a_project);
	tcase_add_test(t, the_log_forgets_what_is_older_than_its_limit);
	tcase_add_test(t, a_long_detail_is_cut);
	tcase_add_test(t, what_has_been_over_for_long_is_forgotten);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? 0 : 1;
}
