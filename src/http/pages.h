/*
 * Sealed pages, kept compressed: data/pages/{project}/{log_id}/{cursor}.json.gz
 * (design.md, "Pages are sealed"). Derived: what is lost or damaged is made
 * anew, and whatever fails here fails no request.
 *
 * A file is one gzip member. Its header carries a field of ours, which says
 * what the page is and how long the file must be, under a checksum. The field
 * is written last, after the rest was synced: a file that a crash cut short
 * has none. Where a worker sends the file, it checks all of it each time. Where
 * nginx does, the worker checks all of it when it sees it first, or changed (then
 * it knows it by inode, size and time), and once in PAGES_CHECK_EACH times: what
 * rots on a disk changes no time.
 *
 * Files are 0640 and folders 0750 whatever the umask: nginx may run as another
 * user of the workers' group.
 *
 * All files together take `page_cache_bytes`. Whoever keeps pages looks after
 * it: a worker at its first one, and again whenever it has added 1/256 of the
 * bound; so it may be exceeded by that much for each worker. The oldest go
 * first, told apart to an eighth of their age, and what a writer that died left
 * behind for five minutes. Pages of another log of the project are removed when
 * the first of a new one is kept.
 */
#ifndef TDSYNC_HTTP_PAGES_H
#define TDSYNC_HTTP_PAGES_H

#include "engine/page.h"

#include <limits.h>

#define PAGES_CHECK_EACH 64

struct page_seen; /* a file that was checked, private to pages.c */

/* A worker's part in it. */
struct pages {
	const char *data;        /* the data folder; borrowed */
	int64_t max;             /* page_cache_bytes; 0: none are kept or used */
	int64_t unswept;         /* what it may still add before it looks after all */
	int64_t retry_ms;        /* after a failure: not before, clock_mono_ms() */
	int64_t complain_ms;     /* nor is a failure logged before */
	struct page_seen *seen;  /* by hash; NULL: none yet */
};

/* Which page. */
struct page_key {
	const char *project;         /* its id */
	const unsigned char *log_id; /* LOG_ID_LEN bytes */
	int64_t after;               /* the cursor */
};

/* A page's file, and what it says of itself. */
struct page_file {
	int fd;                  /* -1: not open */
	int64_t after, last;     /* as in struct page */
	int64_t count;
	int64_t size;            /* of the file */
	int64_t text;            /* of the page, unpacked */
	unsigned char digest[EVENT_DIGEST_LEN]; /* of the event `last` */
	uint64_t *of;            /* for the caller, as long as the file is the same: 0 at
	                          * first; NULL: nothing can be kept */
};

void pages_init(struct pages *p, const char *data, int64_t max);
void pages_close(struct pages *p);

/* The path of a page below data/pages/, without ".gz": "/p_.../.../0.json". */
#define PAGES_NAME 128
void pages_name(const struct page_key *key, char out[PAGES_NAME]);

/*
 * Open a page's file; `whole`: check all of it. RC_NOT_FOUND: there is none, or
 * it was damaged: then it is removed. Else page_file_close() it.
 */
enum rc pages_open(const struct pages *p, const struct page_key *key, bool whole,
                   struct page_file *out);

/*
 * The same for a file that somebody else sends, by pages_name(): it is not open in
 * *out. A file that was checked and has not changed is not opened, unless `whole`.
 */
enum rc pages_find(struct pages *p, const struct page_key *key, bool whole,
                   char name[PAGES_NAME], struct page_file *out);

/* Close; fine for one without a file. */
void page_file_close(struct page_file *f);

/* Remove a page that is not what it should be, and log why, if that worked. */
void pages_drop(const struct pages *p, const struct page_key *key, const char *why);

/*
 * Keep a page of that text, if nobody is at it already; it takes milliseconds,
 * so do it when the answer is out. Failures are logged (once in ten minutes),
 * and after one none is tried for a minute.
 */
void pages_keep(struct pages *p, const struct page_key *key, const struct page *page,
                struct span text);

/* Remove all that is kept of a project. */
void pages_forget(const struct pages *p, const char *project);

/*
 * Write a page's file to put(), as it is or unpacked. False: it broke, or
 * put() returned false.
 */
bool page_file_send(const struct page_file *f, bool unpack,
                    bool (*put)(void *ctx, const void *p, size_t n), void *ctx);

#endif
