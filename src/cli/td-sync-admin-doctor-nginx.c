/*
 * td-sync-admin doctor: nginx's configuration, as `nginx -T` prints it for the nginx
 * that runs. Only the locations are judged that pushes go to.
 */
#include "cli/td-sync-admin-doctor.h"

#include "base/fs.h"

#include <dirent.h>
#include <fnmatch.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECONDS 30
#define TITLE "nginx: master process "
#define FILE_MARK "# configuration file " /* before each file that nginx -T prints */
#define EDIT_SLACK_S 2 /* as exactly as it is known when a process began */

/* --- directives --- */

#define WORDS 8
#define WORD 512

/* A directive: its words, cut. */
struct directive {
	char word[WORDS][WORD];
	size_t n;
	char end;             /* ';', '{', or '}' and 0 where there is none */
};

static void
skip_blank(const char **p, const char *end)
{
	while (*p < end && (strchr(" \t\r\n", **p) != NULL || **p == '#'))
		if (**p == '#')
			while (*p < end && **p != '\n')
				(*p)++;
		else
			(*p)++;
}

static void
read_word(const char **p, const char *end, char out[WORD])
{
	char quote = **p == '"' || **p == '\'' ? *(*p)++ : '\0';
	size_t n = 0;

	for (; *p < end; (*p)++) {
		if (**p == '\\' && *p + 1 < end)
			(*p)++;
		else if (quote != '\0' ? **p == quote : strchr(" \t\r\n;{", **p) != NULL &&
		         !(**p == '{' && n > 0 && out[n - 1] == '$'))
			break;
		if (n < WORD - 1)
			out[n++] = **p;
	}
	if (quote != '\0' && *p < end)
		(*p)++;
	out[n] = '\0';
}

static void
read_directive(const char **p, const char *end, struct directive *out)
{
	char spare[WORD];

	out->n = 0;
	out->end = '\0';
	for (;;) {
		skip_blank(p, end);
		if (*p == end)
			return;
		if (**p == ';' || **p == '{' || **p == '}') {
			out->end = *(*p)++;
			return;
		}
		read_word(p, end, out->n < WORDS ? out->word[out->n] : spare);
		if (out->n < WORDS)
			out->n++;
	}
}

/* --- taking it --- */

/* Whether an option begins there, which is a letter and stands for itself. */
static bool
is_option(const char *p)
{
	return p[0] == '-' && p[1] != '\0' && (p[2] == ' ' || p[2] == '\0');
}

/* Cut off what stands before the next option of a title; where that begins. */
static char *
cut_value(char *p)
{
	char *end = p;

	while (*p != '\0' && !is_option(p)) {
		p += strcspn(p, " ");
		end = p;
		p += strspn(p, " ");
	}
	if (end != p)
		*end = '\0';
	return p;
}

/*
 * The arguments that an nginx was started with, out of its title, which has them with
 * blanks between; of these what names its files. There may be blanks in their names.
 */
static size_t
take_arguments(char *title, const char **argv, size_t max)
{
	size_t n = 0;
	char *p = cut_value(title);

	while (*p != '\0' && n + 2 < max) {
		bool names = strchr("pce", p[1]) != NULL;
		char *value = p[2] == '\0' ? p + 2 : p + 3, *option = p;

		p[2] = '\0';
		p = cut_value(value);
		if (names && *value != '\0') {
			argv[n++] = option;
			argv[n++] = value;
		}
	}
	return n;
}

/* The folder that an `alias` of td-sync's site lies in, against nginx's own. */
static bool
is_below(const struct doctor *d, const char *alias, const char *prefix)
{
	char path[PATH_MAX], real[PATH_MAX];
	size_t n = strlen(alias);

	while (n > 0 && alias[n - 1] == '/')
		n--;
	while (n > 0 && alias[n - 1] != '/') /* "pages" need not be there yet */
		n--;
	return snprintf(path, sizeof(path), "%s%s%.*s", alias[0] == '/' ? "" : prefix,
	                alias[0] == '/' ? "" : "/", (int)n, alias) < PATH_MAX &&
	    realpath(path, real) != NULL && strcmp(real, d->data) == 0;
}

/* Whether a configuration has to do with the data folder. */
static bool
serves_folder(const struct doctor *d, const char *text, const char *const *argv)
{
	const char *prefix = "", *end = text + strlen(text);
	struct directive one;

	for (size_t i = 0; argv[i] != NULL; i++)
		if (strcmp(argv[i], "-p") == 0)
			prefix = argv[i + 1];
	for (const char *p = strstr(text, FILE_MARK); p != NULL && p < end;) {
		read_directive(&p, end, &one);
		if (one.n == 2 && strcmp(one.word[0], "alias") == 0 &&
		    is_below(d, one.word[1], prefix))
			return true;
	}
	return false;
}

/* When a process of an nginx was started, in seconds since 1970, where it is a worker of
 * that master; 0: it is none. */
static int64_t
worker_since(long pid, long master)
{
	static const char title[] = "nginx: worker process";
	struct buf text = { 0 }, uptime = { 0 };
	char path[64];
	const char *p = NULL;
	long long ticks = 0;
	long parent = 0;
	int64_t since = 0;

	snprintf(path, sizeof(path), "/proc/%ld/cmdline", pid);
	if (fs_read(path, 1 << 16, &text, NULL) == RC_OK && buf_cstr(&text) != NULL &&
	    strncmp(text.p, title, sizeof(title) - 1) == 0) {
		buf_reset(&text);
		snprintf(path, sizeof(path), "/proc/%ld/stat", pid);
		if (fs_read(path, 1 << 16, &text, NULL) == RC_OK && buf_cstr(&text) != NULL)
			p = strrchr(text.p, ')');
	}
	if (p != NULL && fs_read("/proc/uptime", 256, &uptime, NULL) == RC_OK &&
	    buf_cstr(&uptime) != NULL &&
	    sscanf(p, ") %*c %ld %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d"
	           " %*d %*d %lld", &parent, &ticks) == 2 && parent == master)
		since = clock_now_us() / 1000000 - (int64_t)strtod(uptime.p, NULL) +
		    ticks / sysconf(_SC_CLK_TCK);
	buf_free(&text);
	buf_free(&uptime);
	return since;
}

/* When an nginx read its configuration last: then it started its newest worker. */
static int64_t
read_since(long master)
{
	DIR *dir = opendir("/proc");
	const struct dirent *e;
	int64_t newest = 0;

	while (dir != NULL && (e = readdir(dir)) != NULL) {
		long pid = strtol(e->d_name, NULL, 10);
		int64_t since = pid > 0 ? worker_since(pid, master) : 0;

		if (since > newest)
			newest = since;
	}
	if (dir != NULL)
		closedir(dir);
	return newest;
}

/* Find a file that was changed after that. */
static void
find_edited(struct doctor *d, int64_t since)
{
	char name[PATH_MAX];
	struct stat st;

	for (const char *p = d->nginx.p; since > 0 && (p = strstr(p, FILE_MARK)) != NULL;) {
		p += sizeof(FILE_MARK) - 1;
		snprintf(name, sizeof(name), "%.*s", (int)strcspn(p, "\n") - 1, p);
		if (stat(name, &st) == 0 && st.st_mtime > since + EDIT_SLACK_S)
			snprintf(d->nginx_edited, sizeof(d->nginx_edited), "%s", name);
	}
}

/* The program of a process, where it is that file here, too: a container has others. */
static bool
find_program(long pid, char out[PATH_MAX])
{
	struct stat theirs, here;
	char path[64];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%ld/exe", pid);
	if ((n = readlink(path, out, PATH_MAX - 1)) <= 0)
		return false;
	out[n] = '\0';
	return stat(path, &theirs) == 0 && stat(out, &here) == 0 &&
	    theirs.st_dev == here.st_dev && theirs.st_ino == here.st_ino;
}

/*
 * Ask an nginx of ours for its configuration. Of ours: else whoever calls a process like
 * that could make root run it.
 */
static void
ask_nginx(struct doctor *d, long pid)
{
	const char *argv[16] = { NULL, "-T" };
	struct buf title = { 0 }, said = { 0 };
	char path[64], exe[PATH_MAX];
	struct stat st;
	int code;

	snprintf(path, sizeof(path), "/proc/%ld", pid);
	if (stat(path, &st) != 0 || st.st_uid != geteuid())
		return;
	snprintf(path, sizeof(path), "/proc/%ld/cmdline", pid);
	fs_read(path, 1 << 16, &title, NULL);
	if (buf_cstr(&title) != NULL && strncmp(title.p, TITLE, sizeof(TITLE) - 1) == 0 &&
	    find_program(pid, exe)) {
		argv[0] = exe;
		take_arguments(title.p + sizeof(TITLE) - 1, argv + 2, 12);
		code = doctor_program(argv, NULL, true, SECONDS, &said);
		if (code == 0 && buf_cstr(&said) != NULL && serves_folder(d, said.p, argv)) {
			buf_free(&d->nginx);
			d->nginx = said;
			said = (struct buf){ 0 };
			find_edited(d, read_since(pid));
		} else if (code != 0) {
			snprintf(d->nginx_why, sizeof(d->nginx_why), "%.64s -T failed: %.*s", exe,
			         (int)(said.len > 150 ? 150 : said.len), said.len > 0 ? said.p : "");
		}
	}
	buf_free(&title);
	buf_free(&said);
}

void
doctor_take_nginx(struct doctor *d)
{
	DIR *dir = opendir("/proc");
	const struct dirent *e;

	while (dir != NULL && d->nginx.len == 0 && (e = readdir(dir)) != NULL) {
		long pid = strtol(e->d_name, NULL, 10);

		if (pid > 0)
			ask_nginx(d, pid);
	}
	if (dir != NULL)
		closedir(dir);
}

/* --- reading it --- */

/* What holds in a block, inherited by those in it. */
struct scope {
	int64_t body;         /* client_max_body_size; 0: any */
	bool keep_conn, buffers, stale, caches;
	bool passes;          /* fastcgi_pass stands in the block itself */
	bool faked;           /* set_real_ip_from everybody */
};

struct reading {
	struct doctor *d;
	int locations;        /* for pushes */
	int depth;
	bool failed;          /* it is no configuration as this knows them */
};

/* On behind a block that was entered; what was in it. */
static struct span
take_block(const char **p, const char *end)
{
	struct span block = { *p, 0 };
	struct directive one;
	const char *last = *p;

	for (int depth = 1; depth > 0 && *p < end;) {
		last = *p;
		read_directive(p, end, &one);
		depth += one.end == '{' ? 1 : one.end == '}' ? -1 : 0;
		if (one.end == '}')
			last = *p - 1;
	}
	block.len = (size_t)(last - block.p);
	return block;
}

/* "64m" in bytes. */
static int64_t
size_of(const char *text)
{
	char *unit;
	int64_t n = strtoll(text, &unit, 10);

	switch (*unit) {
	case 'k': case 'K':
		return n << 10;
	case 'm': case 'M':
		return n << 20;
	case 'g': case 'G':
		return n << 30;
	}
	return n;
}

static void
take_setting(const struct directive *d, struct scope *s)
{
	const char *name = d->word[0], *value = d->n > 1 ? d->word[1] : "";

	if (strcmp(name, "client_max_body_size") == 0)
		s->body = size_of(value);
	else if (strcmp(name, "fastcgi_keep_conn") == 0)
		s->keep_conn = strcmp(value, "on") == 0;
	else if (strcmp(name, "fastcgi_request_buffering") == 0)
		s->buffers = strcmp(value, "on") == 0;
	else if (strcmp(name, "fastcgi_cache") == 0)
		s->caches = strcmp(value, "off") != 0;
	else if (strcmp(name, "fastcgi_cache_use_stale") == 0)
		s->stale = strcmp(value, "off") != 0;
	else if (strcmp(name, "fastcgi_pass") == 0)
		s->passes = true;
	else if (strcmp(name, "set_real_ip_from") == 0)
		s->faked = s->faked || strcmp(value, "0.0.0.0/0") == 0 || strcmp(value, "::/0") == 0;
}

/* --- judging it --- */

static void
judge(struct reading *r, const struct directive *where, const struct scope *s)
{
	struct doctor *d = r->d;
	int64_t most = d->config.max_push_bytes;
	const char *place = where->word[where->n - 1];
	const struct finding small = { LEVEL_ERROR, "nginx", "nginx refuses larger pushes before td-sync "
		"sees them, so clients never get them through", "set client_max_body_size in that location "
		"a bit above max_push_bytes, then nginx -s reload" };
	const struct finding any = { LEVEL_WARNING, "nginx", "it writes a body of any size to its disk "
		"before td-sync refuses it", "set client_max_body_size in that location a bit above "
		"max_push_bytes" };
	const struct finding conn = { LEVEL_WARNING, "nginx", "it takes the end of a connection for the "
		"end of an answer: when a worker dies, half an answer passes for the whole",
		"fastcgi_keep_conn on;" };
	const struct finding buffering = { LEVEL_WARNING, "nginx", "a worker waits for each slow client, "
		"and a few of them take the whole pool", "fastcgi_request_buffering on;" };
	const struct finding stale = { LEVEL_WARNING, "nginx", "a project that is not public any more "
		"stays readable for as long as it is asked for", "fastcgi_cache_use_stale off;" };
	const struct finding faked = { LEVEL_WARNING, "nginx", "anybody can send a header that makes "
		"him another address, so the limits by address hold nobody",
		"set_real_ip_from with the addresses of your own proxies alone" };
	int before = d->errors + d->warnings;

	r->locations++;
	if (s->body != 0 && s->body < most)
		doctor_say(d, &small, "client_max_body_size is %" PRId64 " bytes for %s, max_push_bytes %"
		           PRId64, s->body, place, most);
	if (s->body == 0)
		doctor_say(d, &any, "client_max_body_size is off for %s", place);
	if (!s->keep_conn)
		doctor_say(d, &conn, "fastcgi_keep_conn is off for %s", place);
	if (!s->buffers)
		doctor_say(d, &buffering, "fastcgi_request_buffering is off for %s", place);
	if (s->caches && s->stale)
		doctor_say(d, &stale, "fastcgi_cache_use_stale is on for %s", place);
	if (s->faked)
		doctor_say(d, &faked, "set_real_ip_from is everybody, for %s", place);
	if (before == d->errors + d->warnings)
		doctor_ok(d, "nginx", "limits, buffers and cache are right for %s", place);
}

static void read_blocks(struct reading *r, struct span text, const struct scope *around);

/* Call with each file that an include names: nginx -T has them one behind the other. */
static void
each_file(struct reading *r, const char *pattern,
          void (*take)(struct reading *r, struct span text, struct scope *s), struct scope *s)
{
	const char *p = r->d->nginx.p, *next;
	char name[PATH_MAX], full[PATH_MAX];

	for (p = strstr(p, FILE_MARK); p != NULL && !r->failed; p = next) {
		const char *start = p + sizeof(FILE_MARK) - 1, *line = strchr(start, '\n');

		if (line == NULL)
			return;
		snprintf(name, sizeof(name), "%.*s", (int)(line - start - 1), start);
		next = strstr(line, FILE_MARK);
		/* A relative one is below the folder of the first file. */
		snprintf(full, sizeof(full), "%s%s", pattern[0] == '/' ? "" : "*/", pattern);
		if (fnmatch(full, name, 0) == 0)
			take(r, (struct span){ line, next != NULL ? (size_t)(next - line) : strlen(line) },
			     s);
	}
}

/* The settings of a block itself; and of the files it includes. */
static void
read_settings(struct reading *r, struct span text, struct scope *s)
{
	const char *p = text.p, *end = text.p + text.len;
	struct directive one;

	if (++r->depth > 20)
		r->failed = true;
	while (p < end && !r->failed) {
		read_directive(&p, end, &one);
		if (one.end == '{')
			take_block(&p, end);
		else if (one.n == 2 && strcmp(one.word[0], "include") == 0)
			each_file(r, one.word[1], read_settings, s);
		else if (one.n > 0)
			take_setting(&one, s);
	}
	r->depth--;
}

static void
read_block(struct reading *r, const struct directive *name, struct span text,
           const struct scope *around)
{
	struct scope s = *around;

	s.passes = false;
	read_settings(r, text, &s);
	if (strcmp(name->word[0], "location") == 0 && s.passes &&
	    strstr(name->word[name->n - 1], "/sync/push") != NULL)
		judge(r, name, &s);
	read_blocks(r, text, &s);
}

static void
read_included(struct reading *r, struct span text, struct scope *s)
{
	read_blocks(r, text, s);
}

/* The blocks in a block, when its settings are known. */
static void
read_blocks(struct reading *r, struct span text, const struct scope *around)
{
	const char *p = text.p, *end = text.p + text.len;
	struct scope s = *around;
	struct directive one;

	if (++r->depth > 20)
		r->failed = true;
	while (p < end && !r->failed) {
		read_directive(&p, end, &one);
		if (one.end == '{' && one.n > 0)
			read_block(r, &one, take_block(&p, end), around);
		else if (one.end == ';' && one.n == 2 && strcmp(one.word[0], "include") == 0)
			each_file(r, one.word[1], read_included, &s);
	}
	r->depth--;
}

void
doctor_nginx(struct doctor *d)
{
	const struct finding f = { LEVEL_WARNING, "nginx", "so large pushes are refused before td-sync "
		"sees them", "put td-sync's site as it is shipped beside the others" };
	const struct finding edited = { LEVEL_WARNING, "nginx", "it goes on with what it read before",
		"nginx -t, then nginx -s reload" };
	const struct finding unread = { LEVEL_WARNING, "nginx", "it would not start with it again, nor "
		"take it; if it serves this folder, that could not be looked at", "set right what it says, "
		"then nginx -t" };
	struct reading r = { .d = d };
	struct scope all = { .body = 1 << 20, .buffers = true };
	const char *first, *line, *next;

	if (d->nginx.len == 0 && d->nginx_why[0] != '\0') {
		doctor_say(d, &unread, "an nginx that runs here has a configuration that is wrong: %s",
		           d->nginx_why);
		return;
	}
	if (d->nginx.len == 0) {
		doctor_ok(d, "nginx", "not looked at: %s", geteuid() == 0
		          ? "no nginx was found here that serves this folder"
		          : "no nginx of this user's runs here; as root its configuration is read, too");
		return;
	}
	if (!d->has_config || (first = strstr(d->nginx.p, FILE_MARK)) == NULL ||
	    (line = strchr(first, '\n')) == NULL)
		return;
	next = strstr(line, FILE_MARK);
	/* The first file is the one that includes the others. */
	read_blocks(&r, (struct span){ line, next != NULL ? (size_t)(next - line) : strlen(line) },
	            &all);
	if (d->nginx_edited[0] != '\0')
		doctor_say(d, &edited, "%s was changed after nginx read it", d->nginx_edited);
	if (r.locations == 0)
		doctor_say(d, &f, "nginx has no location for pushes (/sync/push) that goes to td-sync");
}
