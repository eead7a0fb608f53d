/* What may happen to a file, see harm.h. */
#include "harm.h"

#include "base/fs.h"

#include <check.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void
harm_put(const char *path, struct span text)
{
	ck_assert_int_eq(fs_write(path, text, 0640, NULL), RC_OK);
}

static void
cut(const char *path, struct buf *b)
{
	harm_put(path, (struct span){ b->p, b->len - 1 });
}

static void
cut_head(const char *path, struct buf *b)
{
	harm_put(path, (struct span){ b->p, 40 });
}

static void
grow(const char *path, struct buf *b)
{
	buf_add_byte(b, 'x');
	harm_put(path, buf_span(b));
}

static void
flip_head(const char *path, struct buf *b)
{
	b->p[41] ^= 1;
	harm_put(path, buf_span(b));
}

static void
zero(const char *path, struct buf *b)
{
	memset(b->p, 0, b->len);
	harm_put(path, buf_span(b));
}

static void
empty(const char *path, struct buf *b)
{
	(void)b;
	harm_put(path, (struct span){ "", 0 });
}

static void
lose(const char *path, struct buf *b)
{
	(void)b;
	ck_assert_int_eq(unlink(path), 0);
}

static void
to_folder(const char *path, struct buf *b)
{
	char below[PATH_MAX + 256];

	lose(path, b);
	ck_assert_int_eq(mkdir(path, 0700), 0);
	snprintf(below, sizeof(below), "%s/x", path);
	harm_put(below, buf_span(b));
}

static void
to_fifo(const char *path, struct buf *b)
{
	lose(path, b);
	ck_assert_int_eq(mkfifo(path, 0600), 0);
}

static void
to_link(const char *path, struct buf *b)
{
	lose(path, b);
	ck_assert_int_eq(symlink("/etc/passwd", path), 0);
}

const struct harm harms[HARMS] = {
	{ "cut by a byte", cut },         { "cut in its header", cut_head },
	{ "a byte too long", grow },      { "a bit of its header", flip_head },
	{ "all zero", zero },             { "empty", empty },
	{ "lost", lose },                 { "a folder in its place", to_folder },
	{ "a pipe in its place", to_fifo }, { "a link in its place", to_link },
};
