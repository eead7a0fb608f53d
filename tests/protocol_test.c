/*
 * docs/protocol.md against the server: every route of the table has a section there, and
 * every section a route; and what its examples ask is asked of a real server, one after
 * the other as they stand, and answered as they say: status, headers, and the JSON, member
 * by member. Ids, digests and times may be others there, but always the same ones: what an
 * answer brings is what stands for it in the requests that follow. So is $NAME.
 */
#include "site.h"
#include "web.h"

#include "base/fs.h"
#include "base/json.h"
#include "http/route.h"

#include <check.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONFIG "mail = file\nmail_file = mail.txt\nmail_from = td-sync@example.com\n" \
	"url = https://sync.example.com\ncode_login = on\n"

/* Hex digits that are no word. */
#define HEX_RUN 16

static struct buf doc;

static void
read_doc(void)
{
	struct err err;

	ck_assert_msg(fs_read(TOP_SRCDIR "/docs/protocol.md", 1 << 20, &doc, &err) == RC_OK, "%s",
	              err.text);
	ck_assert_ptr_nonnull(buf_cstr(&doc));
}

/* The next line of a text; false: no more. */
static bool
next_line(const char **at, struct span *line)
{
	if (**at == '\0')
		return false;
	*line = (struct span){ *at, strcspn(*at, "\n") };
	*at += line->len + ((*at)[line->len] == '\n');
	return true;
}

/* Whether a path, with or without a query, is one of a route's. */
static bool
fits(const char *pattern, const char *path)
{
	while (*pattern != '\0' && *path != '\0' && *path != '?') {
		if (*pattern == '{') {
			pattern += strcspn(pattern, "}") + 1;
			path += strcspn(path, "/?");
		} else if (*pattern++ != *path++) {
			return false;
		}
	}
	return *pattern == '\0' && (*path == '\0' || *path == '?');
}

/* --- what stands for what --- */

#define WORDS 200

static struct {
	char *said, *meant;
} words[WORDS];
static size_t n_words;

static char *
copy(const char *p, size_t n)
{
	char *s = strndup(p, n);

	ck_assert_ptr_nonnull(s);
	return s;
}

static const char *
meant(const char *said, size_t n)
{
	for (size_t i = 0; i < n_words; i++)
		if (strlen(words[i].said) == n && memcmp(words[i].said, said, n) == 0)
			return words[i].meant;
	return NULL;
}

static void
learn(const char *said, size_t n, const char *p, size_t len)
{
	ck_assert_uint_lt(n_words, WORDS);
	words[n_words].said = copy(said, n);
	words[n_words++].meant = copy(p, len);
}

static size_t
hex_run(const char *p)
{
	size_t n = strspn(p, "0123456789abcdef");

	return n >= HEX_RUN ? n : 0;
}

static size_t
name_run(const char *p)
{
	size_t n = *p == '$' ? strspn(p + 1, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") : 0;

	return n > 0 ? n + 1 : 0;
}

/* RFC 3339 in UTC: "2026-11-26T10:00:00Z", with a fraction or none. */
static size_t
time_run(const char *p)
{
	static const char form[] = "dddd-dd-ddTdd:dd:dd";
	size_t n = sizeof(form) - 1;

	for (size_t i = 0; i < n; i++)
		if (form[i] == 'd' ? !isdigit((unsigned char)p[i]) : p[i] != form[i])
			return 0;
	if (p[n] == '.')
		n += 1 + strspn(p + n + 1, "0123456789");
	return p[n] == 'Z' ? n + 1 : 0;
}

/* A text of the document as it is meant: with what was learned. */
static void
add_meant(struct buf *out, const char *text)
{
	while (*text != '\0') {
		size_t n = hex_run(text) + name_run(text);
		const char *word = n > 0 ? meant(text, n) : NULL;

		if (word != NULL)
			buf_add_str(out, word);
		else
			buf_add(out, text, n = n > 0 ? n : 1);
		text += n;
	}
}

/* Whether a text is what the document says, but for what may be another one. */
static bool
same_text(const char *said, const char *got)
{
	while (*said != '\0') {
		size_t hex = hex_run(said), name = name_run(said), time = time_run(said), n;
		const char *word = hex + name > 0 ? meant(said, hex + name) : NULL;

		if (word != NULL) {
			n = strlen(word);
			if (strncmp(got, word, n) != 0)
				return false;
		} else if (time > 0) {
			n = time_run(got);
		} else if (hex > 0) {
			n = hex_run(got) == hex ? hex : 0;
		} else if (name > 0) {
			n = strlen(got);
		} else {
			n = *got == *said ? 1 : 0;
		}
		if (n == 0)
			return false;
		if (word == NULL && hex + name > 0 && time == 0)
			learn(said, hex + name, got, n);
		got += n;
		said += time > 0 ? time : hex + name > 0 ? hex + name : 1;
	}
	return *got == '\0';
}

/* --- JSON --- */

static bool same_json(struct span said, struct span got);

static bool
same_strings(struct span said, struct span got)
{
	struct buf a = { 0 }, b = { 0 };
	bool same = json_string(said, &a) && json_string(got, &b) &&
	            same_text(buf_cstr(&a), buf_cstr(&b));

	buf_free(&a);
	buf_free(&b);
	return same;
}

static size_t
members(struct span value)
{
	struct json_iter it;
	struct span k, v;
	size_t n = 0;

	for (json_iter_init(&it, value); json_next(&it, &k, &v);)
		n++;
	return n;
}

static bool
same_objects(struct span said, struct span got)
{
	struct json_iter it;
	struct span key, value, other;
	struct buf name = { 0 };
	bool same = members(said) == members(got);

	for (json_iter_init(&it, said); same && json_next(&it, &key, &value);) {
		buf_reset(&name);
		json_string(key, &name);
		same = json_get(got, buf_cstr(&name), &other) && same_json(value, other);
	}
	buf_free(&name);
	return same;
}

/* ["..."] is any list. */
static bool
same_arrays(struct span said, struct span got)
{
	struct json_iter a, b;
	struct span k, value, other;

	json_iter_init(&a, said);
	if (members(said) == 1 && json_next(&a, &k, &value) && json_string_is(value, "..."))
		return true;
	if (members(said) != members(got))
		return false;
	json_iter_init(&a, said);
	json_iter_init(&b, got);
	while (json_next(&a, &k, &value) && json_next(&b, &k, &other))
		if (!same_json(value, other))
			return false;
	return true;
}

static bool
same_json(struct span said, struct span got)
{
	enum json_type type = json_type(said);

	if (type != json_type(got))
		return false;
	switch (type) {
	case JSON_OBJECT: return same_objects(said, got);
	case JSON_ARRAY:  return same_arrays(said, got);
	case JSON_STRING: return same_strings(said, got);
	default:          return span_eq(said, got);
	}
}

static bool
same_bodies(const char *said, const struct buf *got)
{
	struct span a, b;
	struct err err;

	if (*said == '\0')
		return got->len == 0;
	if (*said != '{' && *said != '[') /* "(a page)" */
		return *said == '(' && got->len > 0;
	ck_assert_msg(json_scan(span_of(said), JSON_MAX_DEPTH, &a, NULL, &err) == RC_OK,
	              "an example is no JSON: %s: %s", err.text, said);
	return json_scan(buf_span(got), JSON_MAX_DEPTH, &b, NULL, &err) == RC_OK &&
	       same_json(a, b);
}

/* --- examples --- */

struct example {
	char method[8], path[400];
	char request[8][400], answer[8][400]; /* header lines, "" at the end */
	struct buf body, want;
	int status;
};

static void
take_headers(const char **at, char lines[8][400])
{
	struct span line;
	size_t n = 0;

	while (strncmp(*at, "```", 3) != 0 && strncmp(*at, "HTTP/", 5) != 0 &&
	       next_line(at, &line) && line.len > 0) {
		ck_assert_uint_lt(n, 7);
		ck_assert_uint_lt(line.len, 400);
		snprintf(lines[n++], 400, "%.*s", (int)line.len, line.p);
	}
	lines[n][0] = '\0';
}

/* Lines up to the answer, or the block's end; without the empty ones at their end. */
static void
take_text(const char **at, struct buf *out)
{
	struct span line;

	while (strncmp(*at, "```", 3) != 0 && strncmp(*at, "HTTP/", 5) != 0 &&
	       next_line(at, &line)) {
		buf_add_span(out, line);
		buf_add_byte(out, '\n');
	}
	while (out->len > 0 && out->p[out->len - 1] == '\n')
		out->len--;
	ck_assert_ptr_nonnull(buf_cstr(out));
}

static void
take_example(const char **at, struct example *e)
{
	struct span line;

	*e = (struct example){ .status = 0 };
	ck_assert(next_line(at, &line));
	ck_assert_msg(sscanf(line.p, "%7[A-Z] %399[^ \n]", e->method, e->path) == 2,
	              "an example begins with %.*s", (int)line.len, line.p);
	take_headers(at, e->request);
	take_text(at, &e->body);
	ck_assert(next_line(at, &line));
	ck_assert_msg(sscanf(line.p, "HTTP/1.1 %d", &e->status) == 1, "%s %s has no answer",
	              e->method, e->path);
	take_headers(at, e->answer);
	take_text(at, &e->want);
}

static void
free_example(struct example *e)
{
	buf_free(&e->body);
	buf_free(&e->want);
}

/* What the last mail's link holds is $MAILED. */
static void
read_mail(const struct site *s)
{
	struct buf text = { 0 };
	char path[PATH_MAX + 16];
	const char *link = NULL;

	snprintf(path, sizeof(path), "%s/mail.txt", s->dir);
	if (meant("$MAILED", 7) == NULL && fs_read(path, 1 << 20, &text, NULL) == RC_OK &&
	    (link = strstr(buf_cstr(&text), "approve?token=")) != NULL)
		learn("$MAILED", 7, link + 14, strcspn(link + 14, "\r\n \""));
	buf_free(&text);
}

/* Send it as it is meant. */
static bool
send_example(const struct site *s, const struct example *e, struct web_answer *a)
{
	struct buf path = { 0 }, body = { 0 }, lines[8] = { { 0 } };
	struct web_call c = { .method = e->method, .url = s->url };
	bool ok;

	read_mail(s);
	add_meant(&path, e->path);
	if (e->body.len > 0)
		add_meant(&body, e->body.p);
	c.path = buf_cstr(&path);
	c.body = buf_span(&body);
	for (size_t i = 0; e->request[i][0] != '\0'; i++) {
		add_meant(&lines[i], e->request[i]);
		c.headers[i] = buf_cstr(&lines[i]);
	}
	if (e->body.len == 0 && strcmp(e->method, "POST") == 0)
		c.body = span_of("");
	ok = web_call(&c, a);
	buf_free(&path);
	buf_free(&body);
	for (size_t i = 0; i < 8; i++)
		buf_free(&lines[i]);
	return ok;
}

static bool
is_as_said(const struct example *e, const struct web_answer *a)
{
	bool same = a->status == e->status;

	for (size_t i = 0; same && e->answer[i][0] != '\0'; i++) {
		char name[400];
		const char *value = strchr(e->answer[i], ':');

		ck_assert_msg(value != NULL, "no header: %s", e->answer[i]);
		snprintf(name, sizeof(name), "%.*s", (int)(value - e->answer[i]), e->answer[i]);
		same = same_text(value + 2, web_header(a, name));
	}
	return same && same_bodies(e->want.len > 0 ? e->want.p : "", &a->body);
}

START_TEST(examples_are_answered_as_the_document_says)
{
	struct site_options options = { .config = CONFIG };
	struct site s;
	struct example e;
	struct web_answer a = { 0 };
	char id[ID_MAX];
	const char *at;
	int n = 0, wrong = 0;

	read_doc();
	ck_assert(site_start(&s, &options));
	site_user(&s, "anna@example.com", id);
	site_user(&s, "bob@example.com", id);
	for (at = doc.p; (at = strstr(at, "\n```http\n")) != NULL;) {
		at += strlen("\n```http\n");
		take_example(&at, &e);
		n++;
		if (!send_example(&s, &e, &a) || !is_as_said(&e, &a)) {
			fprintf(stderr, "%s %s is not answered as docs/protocol.md says, but:\n"
			        "%.3000s%.3000s\n", e.method, e.path, a.headers.p, a.body.p);
			wrong++;
		}
		free_example(&e);
	}
	web_free(&a);
	buf_free(&doc);
	if (wrong > 0)
		site_print_logs(&s);
	ck_assert(site_stop(&s));
	printf("%d examples\n", n);
	ck_assert_int_eq(wrong, 0);
	ck_assert_int_gt(n, 40);
}
END_TEST

/* --- sections --- */

/* Whether a section has an example of its route. */
static bool
has_example(const char *section, const struct route *r)
{
	const char *end = strstr(section, "\n#");
	const char *method = method_text(r->method);

	while ((section = strstr(section, "\n```http\n")) != NULL && (end == NULL || section < end)) {
		char path[400];

		section += strlen("\n```http\n");
		if (strncmp(section, method, strlen(method)) == 0 &&
		    sscanf(section + strlen(method), " %399[^ \n]", path) == 1 &&
		    fits(r->path, path))
			return true;
	}
	return false;
}

START_TEST(every_route_has_a_section_with_an_example_and_no_other_has)
{
	const struct route *r;
	size_t sections = 0, routes = 0;

	read_doc();
	for (const char *p = doc.p; (p = strstr(p, "\n### `")) != NULL; p++)
		sections++;
	for (; (r = route_at(routes + 1)) != NULL; routes++) {
		char title[200];
		const char *at;

		snprintf(title, sizeof(title), "\n### `%s %s`\n", method_text(r->method), r->path);
		at = strstr(doc.p, title);
		ck_assert_msg(at != NULL, "docs/protocol.md has no section%s", title);
		ck_assert_msg(strstr(at + 1, title) == NULL, "docs/protocol.md has two%s", title);
		ck_assert_msg(has_example(at + strlen(title) - 1, r),
		              "docs/protocol.md has no example of%s", title);
	}
	ck_assert_msg(sections == routes, "docs/protocol.md has %zu sections for %zu routes",
	              sections, routes);
	buf_free(&doc);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("protocol");
	TCase *t = tcase_create("protocol");
	SRunner *r;
	int failed;

	tcase_set_timeout(t, 120);
	tcase_add_test(t, every_route_has_a_section_with_an_example_and_no_other_has);
	if (site_missing(SITE_FASTCGI) == NULL)
		tcase_add_test(t, examples_are_answered_as_the_document_says);
	else
		printf("skipped: the examples: %s\n", site_missing(SITE_FASTCGI));
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? 0 : 1;
}
