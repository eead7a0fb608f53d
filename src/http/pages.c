/* Sealed pages on disk, see pages.h. */
#include "http/pages.h"

#include "base/clock.h"
#include "base/fs.h"
#include "base/id.h"
#include "base/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

/* Raise it when a page of the same events is written differently: what older
 * versions kept is then made anew. */
#define FORMAT 1

/* 6 makes a page 20 to 30 % smaller than 1, in 2.3 times its time (5 ms); 9
 * another 2 % in twice that. It is done once. */
#define LEVEL 6

#define FOLDER 0750         /* nginx reads it */
#define SUFFIX ".gz"
#define TEMP ".gz.tmp"
#define STALE_S 300         /* a writer is long dead then */
#define RETRY_MS 60000
#define COMPLAIN_MS 600000
#define CHUNK 32768

#define FULL_NAME (PATH_MAX + PAGES_NAME + 16)

/* --- the file's header: RFC 1952, with a field "Td" --- */

/* Numbers have 8 bytes, the lowest first. */
enum { AT_FORMAT = 16, AT_AFTER = 24, AT_LAST = 32, AT_COUNT = 40, AT_SIZE = 48,
       AT_TEXT = 56, AT_DIGEST = 64,
       AT_BODY_SUM = AT_DIGEST + EVENT_DIGEST_LEN, /* CRC-32 of what follows */
       AT_HEAD_SUM = AT_BODY_SUM + 8,              /* and of what comes before */
       HEAD = AT_HEAD_SUM + 8 };

static const unsigned char magic[AT_FORMAT] = {
	0x1f, 0x8b, 8, 4 /* FEXTRA */, 0, 0, 0, 0, 0, 255,
	HEAD - 12, 0, 'T', 'd', HEAD - 16, 0
};

static void
put_number(unsigned char *at, int64_t n)
{
	for (int i = 0; i < 8; i++)
		at[i] = (unsigned char)((uint64_t)n >> 8 * i);
}

static int64_t
number(const unsigned char *at)
{
	uint64_t n = 0;

	for (int i = 8; i-- > 0;)
		n = n << 8 | at[i];
	return (int64_t)n;
}

static void
make_head(unsigned char head[HEAD], const struct page_file *f, uLong sum)
{
	memcpy(head, magic, sizeof(magic));
	put_number(head + AT_FORMAT, FORMAT);
	put_number(head + AT_AFTER, f->after);
	put_number(head + AT_LAST, f->last);
	put_number(head + AT_COUNT, f->count);
	put_number(head + AT_SIZE, f->size);
	put_number(head + AT_TEXT, f->text);
	memcpy(head + AT_DIGEST, f->digest, EVENT_DIGEST_LEN);
	put_number(head + AT_BODY_SUM, (int64_t)sum);
	put_number(head + AT_HEAD_SUM, (int64_t)crc32(0, head, AT_HEAD_SUM));
}

static bool
read_head(const unsigned char head[HEAD], struct page_file *f)
{
	if (memcmp(head, magic, sizeof(magic)) != 0 ||
	    number(head + AT_HEAD_SUM) != (int64_t)crc32(0, head, AT_HEAD_SUM) ||
	    number(head + AT_FORMAT) != FORMAT)
		return false;
	f->after = number(head + AT_AFTER);
	f->last = number(head + AT_LAST);
	f->count = number(head + AT_COUNT);
	f->size = number(head + AT_SIZE);
	f->text = number(head + AT_TEXT);
	memcpy(f->digest, head + AT_DIGEST, EVENT_DIGEST_LEN);
	return true;
}

/* --- names --- */

void
pages_init(struct pages *p, const char *data, int64_t max)
{
	*p = (struct pages){ .data = data, .max = max };
}

void
pages_close(struct pages *p)
{
	free(p->seen);
	p->seen = NULL;
}

/* The folder of a log's pages, below data/pages/. */
static int
folder_name(const struct page_key *key, char out[PAGES_NAME])
{
	int n = snprintf(out, PAGES_NAME, "/%s/", key->project);

	id_hex(key->log_id, LOG_ID_LEN, out + n);
	return n + 2 * LOG_ID_LEN;
}

void
pages_name(const struct page_key *key, char out[PAGES_NAME])
{
	int n = folder_name(key, out);

	snprintf(out + n, PAGES_NAME - (size_t)n, "/%lld.json", (long long)key->after);
}

static void
full_name(const struct pages *p, const struct page_key *key, const char *suffix,
          char out[FULL_NAME])
{
	char name[PAGES_NAME];

	pages_name(key, name);
	snprintf(out, FULL_NAME, "%s/pages%s%s", p->data, name, suffix);
}

void
pages_drop(const struct pages *p, const struct page_key *key, const char *why)
{
	char path[FULL_NAME];
	struct stat st;

	full_name(p, key, SUFFIX, path);
	fs_remove(AT_FDCWD, path);
	/* Else each request would say so; who keeps pages says it now and then. */
	if (lstat(path, &st) != 0 && errno == ENOENT)
		log_write(LOG_WARN, "%s: %s; it is made anew", path, why);
}

/* --- reading --- */

/* Whether the rest of the file is what was written. */
static bool
check_body(int fd, int64_t size, uLong want)
{
	unsigned char chunk[CHUNK];
	uLong sum = 0;
	int64_t at = HEAD;
	ssize_t n;

	while (at < size && (n = pread(fd, chunk, sizeof(chunk), at)) > 0) {
		sum = crc32(sum, chunk, (uInt)n);
		at += n;
	}
	return at == size && sum == want;
}

/* What is wrong with an open file; NULL: nothing. */
static const char *
judge(struct page_file *f, int64_t after, bool whole, struct stat *st)
{
	unsigned char head[HEAD];

	if (fstat(f->fd, st) != 0 || !S_ISREG(st->st_mode))
		return "no file";
	if (pread(f->fd, head, HEAD, 0) != HEAD || !read_head(head, f) || f->after != after)
		return "not a page of this version";
	if (st->st_size != f->size)
		return "cut short";
	if (whole && !check_body(f->fd, f->size, (uLong)number(head + AT_BODY_SUM)))
		return "damaged";
	return NULL;
}

/* pages_open(); *st is the file's where there is one. */
static enum rc
open_page(const struct pages *p, const struct page_key *key, bool whole,
          struct page_file *out, struct stat *st)
{
	char path[FULL_NAME];
	const char *wrong;

	*out = (struct page_file){ .fd = -1 };
	if (p->max == 0)
		return RC_NOT_FOUND;
	full_name(p, key, SUFFIX, path);
	/* NONBLOCK: whatever else lies there must not hold us up. */
	out->fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (out->fd < 0 && (errno == ENOENT || errno == EMFILE || errno == ENFILE))
		return RC_NOT_FOUND;
	wrong = out->fd < 0 ? strerror(errno) : judge(out, key->after, whole, st);
	if (wrong == NULL)
		return RC_OK;
	page_file_close(out);
	pages_drop(p, key, wrong);
	return RC_NOT_FOUND;
}

enum rc
pages_open(const struct pages *p, const struct page_key *key, bool whole,
           struct page_file *out)
{
	struct stat st;

	return open_page(p, key, whole, out, &st);
}

/* --- files that were seen --- */

#define SEEN 256 /* so many are known: 50 kB */

struct page_seen {
	char project[ID_MAX];
	unsigned char log_id[LOG_ID_LEN];
	struct stat st;          /* of the file as it was checked */
	struct page_file file;
	uint64_t of;             /* behind file.of */
};

static struct page_seen *
seen_place(struct pages *p, const struct page_key *key)
{
	uint32_t h = 2166136261u ^ (uint32_t)(key->after / 1000); /* FNV-1a */

	if (p->seen == NULL && (p->seen = calloc(SEEN, sizeof(*p->seen))) == NULL)
		return NULL;
	for (size_t i = 0; i < LOG_ID_LEN; i++)
		h = (h ^ key->log_id[i]) * 16777619u;
	return &p->seen[h % SEEN];
}

/* Whether this is the file that was seen, unchanged. */
static bool
is_seen(const struct page_seen *s, const struct page_key *key, const struct stat *st)
{
	return s->st.st_ino == st->st_ino && s->st.st_dev == st->st_dev &&
	       s->st.st_size == st->st_size &&
	       s->st.st_ctim.tv_sec == st->st_ctim.tv_sec &&
	       s->st.st_ctim.tv_nsec == st->st_ctim.tv_nsec &&
	       s->file.after == key->after && strcmp(s->project, key->project) == 0 &&
	       memcmp(s->log_id, key->log_id, LOG_ID_LEN) == 0;
}

enum rc
pages_find(struct pages *p, const struct page_key *key, bool whole,
           char name[PAGES_NAME], struct page_file *out)
{
	struct page_seen *s;
	char path[FULL_NAME];
	struct stat st;
	bool there;
	enum rc rc;

	*out = (struct page_file){ .fd = -1 };
	if (p->max == 0)
		return RC_NOT_FOUND;
	s = seen_place(p, key);
	pages_name(key, name);
	snprintf(path, sizeof(path), "%s/pages%s" SUFFIX, p->data, name);
	there = lstat(path, &st) == 0;
	if (!there && errno == ENOENT)
		return RC_NOT_FOUND;
	if (there && s != NULL && !whole && is_seen(s, key, &st)) {
		*out = s->file;
		return RC_OK;
	}
	if ((rc = open_page(p, key, true, out, &st)) != RC_OK)
		return rc;
	page_file_close(out);
	if (s == NULL)
		return RC_OK;
	snprintf(s->project, sizeof(s->project), "%s", key->project);
	memcpy(s->log_id, key->log_id, LOG_ID_LEN);
	s->st = st;
	s->of = 0;
	out->of = &s->of;
	s->file = *out;
	return RC_OK;
}

void
page_file_close(struct page_file *f)
{
	if (f->fd >= 0)
		close(f->fd);
	f->fd = -1;
}

/* Unpack what was read; *ended: the stream is at its end. */
static bool
unpack_chunk(z_stream *z, bool *ended,
             bool (*put)(void *ctx, const void *p, size_t n), void *ctx)
{
	unsigned char out[CHUNK];
	int rc;

	do {
		z->next_out = out;
		z->avail_out = sizeof(out);
		rc = inflate(z, Z_NO_FLUSH);
		if (rc != Z_OK && rc != Z_STREAM_END && rc != Z_BUF_ERROR)
			return false;
		if (!put(ctx, out, sizeof(out) - z->avail_out))
			return false;
	} while (z->avail_out == 0 && rc == Z_OK);
	*ended = rc == Z_STREAM_END;
	return true;
}

bool
page_file_send(const struct page_file *f, bool unpack,
               bool (*put)(void *ctx, const void *p, size_t n), void *ctx)
{
	unsigned char chunk[CHUNK];
	z_stream z = { 0 };
	bool ok = true, ended = false;
	int64_t at = 0;
	ssize_t n;

	if (unpack && inflateInit2(&z, MAX_WBITS + 16) != Z_OK)
		return false;
	while (ok && at < f->size && (n = pread(f->fd, chunk, sizeof(chunk), at)) > 0) {
		at += n;
		z.next_in = chunk;
		z.avail_in = (uInt)n;
		ok = unpack ? unpack_chunk(&z, &ended, put, ctx) : put(ctx, chunk, (size_t)n);
	}
	if (unpack)
		inflateEnd(&z);
	return ok && at == f->size && ended == unpack;
}

/* --- writing --- */

static bool
write_all(int fd, const void *p, size_t n)
{
	const char *at = p;
	ssize_t put;

	while (n > 0) {
		put = write(fd, at, n);
		if (put < 0 && errno == EINTR)
			continue;
		if (put <= 0)
			return false;
		at += put;
		n -= (size_t)put;
	}
	return true;
}

/* Compress the text into the file; its checksum goes to *sum. */
static bool
write_deflated(int fd, z_stream *z, uLong *sum)
{
	unsigned char out[CHUNK];
	int rc;

	do {
		z->next_out = out;
		z->avail_out = sizeof(out);
		rc = deflate(z, Z_FINISH);
		*sum = crc32(*sum, out, sizeof(out) - z->avail_out);
		if (!write_all(fd, out, sizeof(out) - z->avail_out))
			return false;
	} while (rc == Z_OK);
	return rc == Z_STREAM_END;
}

/* Write a page's file; f->size becomes known. */
static bool
write_file(int fd, struct page_file *f, struct span text)
{
	unsigned char head[HEAD] = { 0 }, tail[8];
	uLong whole = crc32_z(0, (const unsigned char *)text.p, text.len), sum = 0;
	z_stream z = { 0 };
	bool ok;

	if (deflateInit2(&z, LEVEL, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY) != Z_OK) {
		errno = ENOMEM;
		return false;
	}
	z.next_in = (unsigned char *)(uintptr_t)text.p;
	z.avail_in = (uInt)text.len;
	ok = fchmod(fd, 0640) == 0 && write_all(fd, head, HEAD) &&
	     write_deflated(fd, &z, &sum);
	f->size = HEAD + (int64_t)z.total_out + (int64_t)sizeof(tail);
	deflateEnd(&z);
	for (int i = 0; i < 4; i++) {
		tail[i] = (unsigned char)(whole >> 8 * i);
		tail[4 + i] = (unsigned char)(text.len >> 8 * i);
	}
	sum = crc32(sum, tail, sizeof(tail));
	make_head(head, f, sum);
	/* With this field the file counts: not before the rest is on the disk. */
	return ok && write_all(fd, tail, sizeof(tail)) && fsync(fd) == 0 &&
	       pwrite(fd, head, HEAD, 0) == HEAD;
}

/* Remove what the project's folder holds beside one log's pages. */
static void
remove_others(const char *project, const char *log)
{
	struct dirent *entry;
	DIR *d = opendir(project);

	while (d != NULL && (entry = readdir(d)) != NULL)
		if (entry->d_name[0] != '.' && strcmp(entry->d_name, log) != 0)
			fs_remove(dirfd(d), entry->d_name);
	if (d != NULL)
		closedir(d);
}

/* Make the folders above a page. */
static bool
make_folders(const struct pages *p, const struct page_key *key)
{
	char path[FULL_NAME], log[PAGES_NAME];
	size_t n = (size_t)snprintf(path, sizeof(path), "%s/pages", p->data);
	bool made;

	if (!fs_folder(path, FOLDER, &made))
		return false;
	folder_name(key, log);
	snprintf(path + n, sizeof(path) - n, "/%s", key->project);
	if (!fs_folder(path, FOLDER, &made))
		return false;
	n += strlen(key->project) + 1;
	snprintf(path + n, sizeof(path) - n, "%s", strrchr(log, '/'));
	if (!fs_folder(path, FOLDER, &made))
		return false;
	path[n] = '\0';
	if (made)
		remove_others(path, path + n + 1);
	return true;
}

/* Whether a file was last written long ago. */
static bool
is_stale(const struct stat *st)
{
	return st->st_mtime < clock_now_us() / 1000000 - STALE_S;
}

/* Open the temporary file; -1 with errno EEXIST: another is at this page. */
static int
open_temp(const struct pages *p, const struct page_key *key, const char *path)
{
	static const int flags = O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC;
	int fd = open(path, flags, 0640);
	struct stat st;

	if (fd < 0 && errno == ENOENT && make_folders(p, key))
		fd = open(path, flags, 0640);
	if (fd < 0 && errno == EEXIST && lstat(path, &st) == 0 && is_stale(&st)) {
		fs_remove(AT_FDCWD, path);
		fd = open(path, flags, 0640);
	}
	return fd;
}

/* Keep one page; its size is in *f. False: errno says why not. */
static bool
keep(const struct pages *p, const struct page_key *key, struct page_file *f,
     struct span text)
{
	char temp[FULL_NAME], path[FULL_NAME];
	bool ok;
	int fd;

	full_name(p, key, TEMP, temp);
	full_name(p, key, SUFFIX, path);
	if ((fd = open_temp(p, key, temp)) < 0)
		return errno == EEXIST;
	ok = write_file(fd, f, text);
	if (close(fd) != 0)
		ok = false;
	if (ok && f->size > p->max) {
		errno = EFBIG;
		ok = false;
	}
	if (!ok || rename(temp, path) != 0) {
		int why = errno;

		unlink(temp);
		errno = why;
		return false;
	}
	return true;
}

static void
complain(struct pages *p)
{
	int why = errno;
	int64_t now = clock_mono_ms();

	p->retry_ms = now + RETRY_MS;
	if (now < p->complain_ms)
		return;
	p->complain_ms = now + COMPLAIN_MS;
	log_write(LOG_WARN, "pages can't be kept in %s/pages, so they are made for each who "
	          "asks: %s", p->data,
	          why == EFBIG ? "one is larger than page_cache_bytes" : strerror(why));
}

/* --- the bound --- */

/* What is there, in bytes by age; then what is to go. */
#define AGES 512
struct sweep {
	int64_t now_us;
	int64_t bytes[AGES];
	bool removing;
	int oldest_kept;     /* of what is older, all goes */
	int64_t excess;      /* and so much of what is as old */
};

/* A class of ages: eight for each power of two of microseconds. */
static int
age_class(const struct sweep *s, const struct stat *st)
{
	int64_t us = s->now_us - (int64_t)st->st_mtim.tv_sec * 1000000 -
	             st->st_mtim.tv_nsec / 1000;
	int log;

	if (us < 8)
		return us < 0 ? 0 : (int)us;
	log = 63 - __builtin_clzll((unsigned long long)us);
	return (log - 2) * 8 + (int)(us >> (log - 3) & 7);
}

static bool
is_page(const char *name)
{
	size_t n = strlen(name);

	return n > 3 && strcmp(name + n - 3, SUFFIX) == 0;
}

static void
sweep_file(struct sweep *s, int dir, const char *name)
{
	struct stat st;
	int age;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return;
	age = age_class(s, &st);
	if (!s->removing) {
		if (!is_page(name) && is_stale(&st))
			fs_remove(dir, name);
		else
			s->bytes[age] += st.st_size;
	} else if (age > s->oldest_kept || (age == s->oldest_kept && s->excess > 0)) {
		if (age == s->oldest_kept)
			s->excess -= st.st_size;
		fs_remove(dir, name);
	}
}

/* Go through a folder; its files lie `depth` folders below. */
static void
sweep_folder(struct sweep *s, int dir, const char *name, int depth)
{
	int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	while (d != NULL && (entry = readdir(d)) != NULL) {
		if (entry->d_name[0] == '.')
			continue;
		if (depth == 0) {
			sweep_file(s, fd, entry->d_name);
			continue;
		}
		sweep_folder(s, fd, entry->d_name, depth - 1);
		if (s->removing) /* where nothing is left in it */
			unlinkat(fd, entry->d_name, AT_REMOVEDIR);
	}
	if (d != NULL)
		closedir(d);
	else if (fd >= 0)
		close(fd);
}

/* Remove the oldest pages until the rest is within the bound. */
static void
sweep(const struct pages *p)
{
	struct sweep s = { .now_us = clock_now_us() };
	char path[FULL_NAME];
	int64_t total = 0;

	/* It may be a link to another disk: "/." follows it. */
	snprintf(path, sizeof(path), "%s/pages/.", p->data);
	sweep_folder(&s, AT_FDCWD, path, 2);
	for (int i = 0; i < AGES; i++)
		total += s.bytes[i];
	if (total <= p->max)
		return;
	s.removing = true;
	s.excess = total - p->max;
	for (s.oldest_kept = AGES - 1; s.bytes[s.oldest_kept] < s.excess; s.oldest_kept--)
		s.excess -= s.bytes[s.oldest_kept];
	sweep_folder(&s, AT_FDCWD, path, 2);
}

void
pages_keep(struct pages *p, const struct page_key *key, const struct page *page,
           struct span text)
{
	struct page_file f = {
		.after = key->after, .last = page->last, .count = (int64_t)page->count,
		.text = (int64_t)text.len,
	};

	struct page_file there;

	if (p->max == 0 || clock_mono_ms() < p->retry_ms)
		return;
	if (pages_open(p, key, false, &there) == RC_OK) { /* since the answer was made */
		page_file_close(&there);
		return;
	}
	memcpy(f.digest, page->digest, EVENT_DIGEST_LEN);
	if (!keep(p, key, &f, text)) {
		complain(p);
		return;
	}
	p->unswept -= f.size;
	if (p->unswept < 0) {
		sweep(p);
		p->unswept = p->max / 256;
	}
}

void
pages_forget(const struct pages *p, const char *project)
{
	char path[FULL_NAME];

	snprintf(path, sizeof(path), "%s/pages/%s", p->data, project);
	fs_remove(AT_FDCWD, path);
}
