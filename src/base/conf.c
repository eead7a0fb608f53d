/* `key = value` files, see conf.h. */
#include "base/conf.h"

#include "base/fs.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern char **environ; /* POSIX: the program declares it */

/* A configuration is small; anything larger is the wrong file. */
#define MAX_BYTES (1u << 20)

/* Cut white space off both ends, in place. */
static char *
trim(char *s)
{
	size_t n;

	while (isspace((unsigned char)*s))
		s++;
	n = strlen(s);
	while (n > 0 && isspace((unsigned char)s[n - 1]))
		n--;
	s[n] = '\0';
	return s;
}

/* Offer one pair; `where` is put before the sentence of a refusal. */
static enum rc
offer(const char *where, const char *key, const char *value, conf_set *set,
      void *ctx, struct err *err)
{
	struct err why = { "" };
	enum rc rc = set(ctx, key, value, &why);

	if (rc == RC_OK)
		return RC_OK;
	if (rc == RC_NOT_FOUND)
		return err_set(err, RC_INVALID, "%s: unknown key \"%s\"", where, key);
	return err_set(err, rc, "%s: %s: %s", where, key, why.text);
}

/* One line of a file, without its newline; it is changed. */
static enum rc
read_line(const char *where, char *line, conf_set *set, void *ctx, struct err *err)
{
	char *key = trim(line), *eq;

	if (*key == '\0' || *key == '#')
		return RC_OK;
	eq = strchr(key, '=');
	if (eq == NULL)
		return err_set(err, RC_INVALID, "%s: not a \"key = value\" line", where);
	*eq = '\0';
	key = trim(key);
	if (*key == '\0')
		return err_set(err, RC_INVALID, "%s: no key before \"=\"", where);
	return offer(where, key, trim(eq + 1), set, ctx, err);
}

enum rc
conf_read(const char *path, conf_set *set, void *ctx, struct err *err)
{
	struct buf text = { 0 }, where = { 0 };
	char *line, *end;
	int number = 1;
	enum rc rc = fs_read(path, MAX_BYTES, &text, err);

	if (rc == RC_TOO_LARGE)
		rc = RC_INVALID;
	if (rc != RC_OK)
		goto done;
	if (buf_cstr(&text) == NULL) {
		rc = err_set(err, RC_FAULT, "out of memory");
		goto done;
	}
	for (line = text.p; rc == RC_OK && line < text.p + text.len; line = end + 1, number++) {
		end = memchr(line, '\n', text.len - (size_t)(line - text.p));
		if (end == NULL)
			end = text.p + text.len;
		*end = '\0';
		buf_reset(&where);
		buf_addf(&where, "%s:%d", path, number);
		if (buf_cstr(&where) == NULL)
			rc = err_set(err, RC_FAULT, "out of memory");
		else if (strlen(line) != (size_t)(end - line))
			rc = err_set(err, RC_INVALID, "%s: a NUL byte", where.p);
		else
			rc = read_line(where.p, line, set, ctx, err);
	}
done:
	buf_free(&where);
	buf_free(&text);
	return rc;
}

enum rc
conf_read_env(const char *prefix, conf_set *set, void *ctx, struct err *err)
{
	size_t skip = strlen(prefix);
	enum rc rc = RC_OK;

	for (char **e = environ; rc == RC_OK && e != NULL && *e != NULL; e++) {
		const char *eq = strchr(*e, '=');
		char *name, *key;

		if (eq == NULL || strncmp(*e, prefix, skip) != 0 || eq < *e + skip)
			continue;
		name = span_dup((struct span){ *e, (size_t)(eq - *e) });
		key = span_dup((struct span){ *e + skip, (size_t)(eq - *e) - skip });
		if (name == NULL || key == NULL)
			rc = err_set(err, RC_FAULT, "out of memory");
		else {
			for (char *c = key; *c != '\0'; c++)
				*c = (char)tolower((unsigned char)*c);
			rc = offer(name, key, eq + 1, set, ctx, err);
		}
		free(key);
		free(name);
	}
	return rc;
}

bool
conf_bool(const char *value, bool *out)
{
	bool yes = strcmp(value, "on") == 0 || strcmp(value, "yes") == 0;

	*out = yes;
	return yes || strcmp(value, "off") == 0 || strcmp(value, "no") == 0;
}

bool
conf_int(const char *value, int64_t min, int64_t max, int64_t *out)
{
	const char *digits = value + (*value == '-');
	char *end;
	long long n;

	*out = 0;
	if (!isdigit((unsigned char)*digits)) /* strtoll() takes spaces and '+' */
		return false;
	errno = 0;
	n = strtoll(value, &end, 10);
	if (errno != 0 || *end != '\0' || n < min || n > max)
		return false;
	*out = n;
	return true;
}
