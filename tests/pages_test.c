/*
 * What a worker knows of the pages that it has seen (http/pages.h): with the
 * insides of pages.c, for here a disk must lose a bit and its file stay as old as
 * it was.
 */
#include "http/pages.c"

#include "temp.h"

#include "base/fs.h"

#include <check.h>

#define PROJECT "p_0123456789abcdef"

static const unsigned char log_id[LOG_ID_LEN] = "0123456789abcdef";
static const struct page_key key = { PROJECT, log_id, 1000 };

static char dir[TEMP_PATH];
static struct pages pages;
static char path[FULL_NAME], name[PAGES_NAME];
static struct page_file found;

static void
setup(void)
{
	temp_make(dir);
	pages_init(&pages, dir, 1 << 20);
	full_name(&pages, &key, SUFFIX, path);
}

static void
teardown(void)
{
	pages_close(&pages);
	temp_remove(dir);
}

/* Keep a page of some text. */
static void
keep_page(const char *text)
{
	struct page page = { .last = 2000, .count = 1000 };

	pages_keep(&pages, &key, &page, span_of(text));
	ck_assert_int_eq(access(path, F_OK), 0);
}

/* Turn a bit of the file's last byte but eight, which is of the content. */
static void
turn_bit(void)
{
	struct buf b = { 0 };
	FILE *f = fopen(path, "r+b");

	ck_assert_int_eq(fs_read(path, 1 << 20, &b, NULL), RC_OK);
	ck_assert_int_eq(fseek(f, (long)b.len - 9, SEEK_SET), 0);
	ck_assert_int_eq(fputc(b.p[b.len - 9] ^ 1, f), (unsigned char)(b.p[b.len - 9] ^ 1));
	ck_assert_int_eq(fclose(f), 0);
	buf_free(&b);
}

static enum rc
find(bool whole)
{
	return pages_find(&pages, &key, whole, name, &found);
}

START_TEST(a_page_that_was_seen_is_told_without_being_opened)
{
	uint64_t *of;

	ck_assert_int_eq(find(false), RC_NOT_FOUND);
	keep_page("text");
	ck_assert_int_eq(find(false), RC_OK);
	ck_assert_int_eq(found.fd, -1);
	ck_assert(found.last == 2000 && found.count == 1000 && found.text == 4);
	ck_assert_uint_eq(*found.of, 0);
	*(of = found.of) = 7;
	ck_assert_int_eq(find(false), RC_OK);
	ck_assert(found.of == of && *of == 7 && found.last == 2000);
	ck_assert_int_eq(unlink(path), 0);
	ck_assert_int_eq(find(false), RC_NOT_FOUND);
	keep_page("another text");
	ck_assert_int_eq(find(false), RC_OK);
	ck_assert_int_eq(found.text, 12);
	ck_assert_uint_eq(*found.of, 0);
}
END_TEST

START_TEST(what_changed_is_checked_whole)
{
	keep_page("text");
	ck_assert_int_eq(find(false), RC_OK);
	turn_bit();
	ck_assert_int_eq(find(false), RC_NOT_FOUND);
	ck_assert_int_ne(access(path, F_OK), 0);
}
END_TEST

START_TEST(what_is_seen_first_is_checked_whole)
{
	keep_page("text");
	turn_bit();
	ck_assert_int_eq(find(false), RC_NOT_FOUND);
	ck_assert_int_ne(access(path, F_OK), 0);
}
END_TEST

START_TEST(what_rots_is_found_where_all_of_it_is_asked_for)
{
	keep_page("text");
	ck_assert_int_eq(find(false), RC_OK);
	turn_bit();
	ck_assert_int_eq(lstat(path, &seen_place(&pages, &key)->st), 0);
	ck_assert_int_eq(find(false), RC_OK);
	ck_assert_int_eq(find(true), RC_NOT_FOUND);
	ck_assert_int_ne(access(path, F_OK), 0);
}
END_TEST

/* Pages that share a place push each other out, and are never mixed up. */
START_TEST(pages_of_many_logs_are_told_apart)
{
	static const unsigned char other_id[LOG_ID_LEN] = "fedcba9876543210";
	const struct page_key keys[] = {
		key, { PROJECT, log_id, 0 }, { PROJECT, other_id, 1000 },
		{ "p_fedcba9876543210", log_id, 1000 }, /* a copy: the same id */
	};

	pages.max = 1 << 30;
	for (int round = 0; round < 3; round++)
		for (int64_t i = 0; i < 4; i++) {
			struct page page = { .last = keys[i].after + 100 + i, .count = 1 };

			if (round == 0 && i != 2) /* which removes those of the log before */
				pages_keep(&pages, &keys[i], &page, span_of("x"));
			ck_assert_int_eq(pages_find(&pages, &keys[i], false, name, &found),
			                 i != 2 ? RC_OK : RC_NOT_FOUND);
			ck_assert(i == 2 || found.last == page.last);
		}
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("pages");
	TCase *t = tcase_create("seen");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, a_page_that_was_seen_is_told_without_being_opened);
	tcase_add_test(t, what_changed_is_checked_whole);
	tcase_add_test(t, what_is_seen_first_is_checked_whole);
	tcase_add_test(t, what_rots_is_found_where_all_of_it_is_asked_for);
	tcase_add_test(t, pages_of_many_logs_are_told_apart);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? 0 : 1;
}
