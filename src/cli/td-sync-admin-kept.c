/* A backup's folder, see td-sync-admin-kept.h. */
#include "cli/td-sync-admin-kept.h"

#include "base/fs.h"
#include "base/json.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* backup.json tells of some hundred bytes for each file. */
#define LIST_MAX (256 << 20)

/* What ends it: the hash of all before. */
#define CHECK_KEY ",\n\"sha256\":\""

void
kept_free(struct kept *k)
{
	free(k->files);
	k->files = NULL;
	k->n = 0;
}

enum rc
kept_path(char out[PATH_MAX], const char *dir, const char *name, struct err *err)
{
	if (snprintf(out, PATH_MAX, "%s/%s", dir, name) >= PATH_MAX)
		return err_set(err, RC_INVALID, "the path %s/%s is too long", dir, name);
	return RC_OK;
}

enum rc
kept_lock(const char *data, struct lock **out, struct err *err)
{
	char path[PATH_MAX];
	enum rc rc = kept_path(path, data, "backup.lock", err);

	*out = NULL;
	if (rc != RC_OK || (rc = lock_open(path, out, err)) != RC_OK)
		return rc;
	if ((rc = lock_take(*out, clock_mono_ms() - 1)) == RC_OK)
		return RC_OK;
	lock_close(*out);
	*out = NULL;
	return rc != RC_BUSY ? rc : err_set(err, RC_CONFLICT, "another backup or restore of %s is "
	    "at work: wait for it", data);
}

/* --- files --- */

static enum rc
hash_file(const char *path, int64_t *bytes, unsigned char out[HASH_LEN], struct err *err)
{
	static char block[1 << 16];
	struct hash h;
	ssize_t n = -1;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	enum rc rc;

	*bytes = 0;
	if (fd < 0)
		return err_set(err, RC_UNAVAILABLE, "can't read %s: %s", path, strerror(errno));
	hash_begin(&h);
	while ((n = read(fd, block, sizeof(block))) > 0 || (n < 0 && errno == EINTR))
		if (n > 0) {
			hash_add(&h, (struct span){ block, (size_t)n });
			*bytes += n;
		}
	rc = hash_end(&h, out);
	if (n < 0)
		rc = err_set(err, RC_UNAVAILABLE, "can't read %s: %s", path, strerror(errno));
	else if (rc != RC_OK)
		err_set(err, rc, "%s can't be hashed", path);
	close(fd);
	return rc;
}

/* Room for one more file in the list. */
static struct kept_file *
more(struct kept *k, struct err *err)
{
	struct kept_file *all = realloc(k->files, (k->n + 1) * sizeof(*all));

	if (all == NULL) {
		err_set(err, RC_FAULT, "out of memory");
		return NULL;
	}
	k->files = all;
	all[k->n] = (struct kept_file){ "" };
	return &all[k->n++];
}

enum rc
kept_add(struct kept *k, const char *path, struct kept_file **out, struct err *err)
{
	struct kept_file *f = more(k, err);
	char whole[PATH_MAX];
	enum rc rc;

	if (f == NULL)
		return RC_FAULT;
	if (snprintf(f->path, sizeof(f->path), "%s", path) >= (int)sizeof(f->path))
		return err_set(err, RC_INVALID, "the name %s is too long", path);
	rc = kept_path(whole, k->dir, path, err);
	if (rc == RC_OK)
		rc = hash_file(whole, &f->bytes, f->hash, err);
	if (out != NULL)
		*out = f;
	return rc;
}

const struct kept_file *
kept_log(const struct kept *k, const char *project)
{
	for (size_t i = 0; i < k->n; i++)
		if (strcmp(k->files[i].project, project) == 0)
			return &k->files[i];
	return NULL;
}

int64_t
kept_logs(const struct kept *k)
{
	int64_t logs = 0;

	for (size_t i = 0; i < k->n; i++)
		logs += k->files[i].project[0] != '\0';
	return logs;
}

int64_t
kept_events(const struct kept *k)
{
	int64_t events = 0;

	for (size_t i = 0; i < k->n; i++)
		events += k->files[i].head.count;
	return events;
}

/* --- checking --- */

static enum rc
check_log(const struct kept_file *f, const char *path, struct buf *wrong, struct err *err)
{
	struct events_head head;
	enum rc rc = events_inspect(path, &head, wrong, err);

	if (rc == RC_OK && wrong->len == 0 &&
	    (head.seq != f->head.seq || head.count != f->head.count ||
	     memcmp(head.log_id, f->head.log_id, LOG_ID_LEN) != 0))
		buf_add_str(wrong, "it is not the log that the backup's list tells of");
	return rc;
}

static enum rc
check_server(const struct kept *k, const char *path, struct buf *wrong, struct err *err)
{
	char server_id[ID_MAX];
	enum rc rc = accounts_inspect(path, server_id, NULL, NULL, wrong, err);

	if (rc == RC_OK && wrong->len == 0 && strcmp(server_id, k->server_id) != 0)
		buf_addf(wrong, "it is of the server %s", server_id);
	return rc;
}

static enum rc
check_file(const struct kept *k, const struct kept_file *f, struct buf *wrong,
           struct err *err)
{
	unsigned char hash[HASH_LEN];
	char path[PATH_MAX];
	int64_t bytes;
	enum rc rc = kept_path(path, k->dir, f->path, err);

	buf_reset(wrong);
	if (rc == RC_OK)
		rc = hash_file(path, &bytes, hash, err);
	if (rc != RC_OK)
		return rc;
	if (bytes != f->bytes || memcmp(hash, f->hash, HASH_LEN) != 0)
		buf_add_str(wrong, "it is not what was written");
	else if (f->project[0] != '\0')
		rc = check_log(f, path, wrong, err);
	else if (strcmp(f->path, "server.db") == 0)
		rc = check_server(k, path, wrong, err);
	if (rc == RC_OK && wrong->len > 0)
		rc = err_set(err, RC_UNAVAILABLE, "%s: %s", path,
		             buf_cstr(wrong) != NULL ? wrong->p : "out of memory");
	return rc;
}

enum rc
kept_check(const struct kept *k, struct err *err)
{
	struct buf wrong = { 0 };
	enum rc rc = RC_OK;

	for (size_t i = 0; i < k->n && rc == RC_OK; i++)
		rc = check_file(k, &k->files[i], &wrong, err);
	buf_free(&wrong);
	return rc;
}

/* --- the list --- */

static void
write_file(struct buf *out, const struct kept_file *f)
{
	buf_add_str(out, "{\"path\":");
	buf_add_json(out, span_of(f->path));
	buf_addf(out, ",\"bytes\":%" PRId64 ",\"sha256\":\"", f->bytes);
	buf_add_hex(out, f->hash, HASH_LEN);
	buf_add_byte(out, '"');
	if (f->project[0] != '\0') {
		buf_addf(out, ",\"project\":\"%s\",\"log_id\":\"", f->project);
		buf_add_hex(out, f->head.log_id, LOG_ID_LEN);
		buf_addf(out, "\",\"last_server_seq\":%" PRId64 ",\"event_count\":%" PRId64,
		         f->head.seq, f->head.count);
	}
	buf_add_byte(out, '}');
}

enum rc
kept_write(const struct kept *k, struct err *err)
{
	unsigned char hash[HASH_LEN];
	char path[PATH_MAX];
	struct buf b = { 0 };
	enum rc rc = kept_path(path, k->dir, KEPT_LIST, err);

	buf_addf(&b, "{\"format\":%d,\n\"at\":\"%s\",\n\"server_id\":\"%s\",\n\"projects\":%" PRId64
	         ",\n\"events\":%" PRId64 ",\n\"files\":[\n", KEPT_FORMAT, k->at, k->server_id,
	         kept_logs(k), kept_events(k));
	for (size_t i = 0; i < k->n; i++) {
		buf_add_str(&b, i == 0 ? "" : ",\n");
		write_file(&b, &k->files[i]);
	}
	buf_add_str(&b, "]");
	if (rc == RC_OK && (b.failed || hash_sha256(buf_span(&b), hash) != RC_OK))
		rc = err_set(err, RC_FAULT, "out of memory");
	buf_add_str(&b, CHECK_KEY);
	buf_add_hex(&b, hash, HASH_LEN);
	buf_add_str(&b, "\"}\n");
	if (rc == RC_OK)
		rc = b.failed ? err_set(err, RC_FAULT, "out of memory")
		              : fs_write(path, buf_span(&b), 0600, err);
	buf_free(&b);
	return rc;
}

static bool
get_text(struct span object, const char *key, char *out, size_t cap)
{
	struct buf b = { 0 };
	struct span v;
	bool ok = json_get(object, key, &v) && json_string(v, &b) && buf_cstr(&b) != NULL &&
	          b.len < cap && strlen(b.p) == b.len;

	snprintf(out, cap, "%s", ok ? b.p : "");
	buf_free(&b);
	return ok;
}

static bool
get_int(struct span object, const char *key, int64_t *out)
{
	struct span v;

	return json_get(object, key, &v) && json_int64(v, out) && *out >= 0;
}

/* Nothing that is read here may lead out of the folder. */
static bool
is_path(const struct kept_file *f)
{
	char log[96];

	if (f->project[0] != '\0') {
		snprintf(log, sizeof(log), "projects/%s/" EVENTS_DB, f->project);
		return id_is(span_of(f->project), "p_", 16) && strcmp(f->path, log) == 0;
	}
	return strcmp(f->path, "server.db") == 0 ||
	       (strncmp(f->path, "keys/", 5) == 0 && strchr(f->path + 5, '/') == NULL &&
	        f->path[5] != '.' && f->path[5] != '\0');
}

static bool
read_file(struct span v, struct kept_file *f)
{
	char hex[2 * HASH_LEN + 1], id[2 * LOG_ID_LEN + 1];

	if (!get_text(v, "path", f->path, sizeof(f->path)) || !get_int(v, "bytes", &f->bytes) ||
	    !get_text(v, "sha256", hex, sizeof(hex)) ||
	    !id_unhex(span_of(hex), f->hash, HASH_LEN))
		return false;
	if (get_text(v, "project", f->project, sizeof(f->project)) &&
	    (!get_text(v, "log_id", id, sizeof(id)) ||
	     !id_unhex(span_of(id), f->head.log_id, LOG_ID_LEN) ||
	     !get_int(v, "last_server_seq", &f->head.seq) ||
	     !get_int(v, "event_count", &f->head.count)))
		return false;
	return is_path(f);
}

/* Whether the text ends with the hash of what comes before it. */
static bool
is_whole(struct span text)
{
	size_t end = strlen(CHECK_KEY) + 2 * HASH_LEN + 3;
	unsigned char said[HASH_LEN], hash[HASH_LEN];
	const char *p;

	if (text.len < end)
		return false;
	p = text.p + text.len - end;
	return memcmp(p, CHECK_KEY, strlen(CHECK_KEY)) == 0 &&
	       id_unhex((struct span){ p + strlen(CHECK_KEY), 2 * HASH_LEN }, said, HASH_LEN) &&
	       hash_sha256((struct span){ text.p, text.len - end }, hash) == RC_OK &&
	       memcmp(said, hash, HASH_LEN) == 0;
}

static int
by_path(const void *a, const void *b)
{
	const struct kept_file *const *x = a, *const *y = b;

	return strcmp((*x)->path, (*y)->path);
}

/* Whether each file is named once, and server.db is among them. */
static enum rc
check_names(const struct kept *k, struct err *err)
{
	const struct kept_file **all = calloc(k->n + 1, sizeof(*all)), *twice = NULL;
	bool server = false;

	if (all == NULL)
		return err_set(err, RC_FAULT, "out of memory");
	for (size_t i = 0; i < k->n; i++) {
		all[i] = &k->files[i];
		server = server || strcmp(all[i]->path, "server.db") == 0;
	}
	qsort(all, k->n, sizeof(*all), by_path);
	for (size_t i = 1; i < k->n && twice == NULL; i++)
		if (by_path(&all[i - 1], &all[i]) == 0)
			twice = all[i];
	free(all);
	if (twice != NULL)
		return err_set(err, RC_UNAVAILABLE, "%s/" KEPT_LIST " tells of %s twice", k->dir,
		               twice->path);
	return server ? RC_OK : err_set(err, RC_UNAVAILABLE, "%s/" KEPT_LIST " tells of no "
	                                "server.db", k->dir);
}

static enum rc
parse(struct span text, struct kept *k, struct err *err)
{
	struct span v, files, key, file;
	struct kept_file *f;
	struct json_iter it;
	int64_t format;

	/* The format first: what a newer one looks like nobody knows. */
	if (json_scan(text, JSON_MAX_DEPTH, &v, NULL, NULL) != RC_OK ||
	    !get_int(v, "format", &format))
		return err_set(err, RC_UNAVAILABLE, "%s/" KEPT_LIST " is damaged: the backup can't "
		               "be trusted", k->dir);
	if (format > KEPT_FORMAT)
		return err_set(err, RC_UNAVAILABLE, "the backup %s has format %" PRId64 ", made by a "
		               "newer td-sync; this one knows formats up to %d", k->dir, format,
		               KEPT_FORMAT);
	if (!is_whole(text) || !get_text(v, "at", k->at, sizeof(k->at)) ||
	    !get_text(v, "server_id", k->server_id, sizeof(k->server_id)) ||
	    !json_get(v, "files", &files))
		return err_set(err, RC_UNAVAILABLE, "%s/" KEPT_LIST " is damaged: the backup can't "
		               "be trusted", k->dir);
	json_iter_init(&it, files);
	while (json_next(&it, &key, &file)) {
		if ((f = more(k, err)) == NULL)
			return RC_FAULT;
		if (!read_file(file, f))
			return err_set(err, RC_UNAVAILABLE, "%s/" KEPT_LIST " tells of a file that no "
			               "backup holds", k->dir);
	}
	return check_names(k, err);
}

enum rc
kept_read(const char *dir, struct kept *out, struct err *err)
{
	char path[PATH_MAX];
	struct buf text = { 0 };
	enum rc rc;

	*out = (struct kept){ "" };
	if (snprintf(out->dir, sizeof(out->dir), "%s", dir) >= (int)sizeof(out->dir))
		return err_set(err, RC_INVALID, "the path is too long");
	rc = kept_path(path, dir, KEPT_LIST, err);
	if (rc == RC_OK)
		rc = fs_read(path, LIST_MAX, &text, err);
	if (rc == RC_NOT_FOUND)
		err_set(err, rc, "%s is no backup, or one that was not made to its end: it holds no "
		        KEPT_LIST, dir);
	if (rc == RC_OK)
		rc = parse(buf_span(&text), out, err);
	buf_free(&text);
	if (rc != RC_OK)
		kept_free(out);
	return rc;
}
