/* The profiles that are there, see installed.h. */
#include "profiles/installed.h"

#include "profiles/read.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct installed_file {
	struct installed_file *next;
	struct profile *profile;
};

const struct profile *
profile_find(const char *name)
{
	return strcmp(name, profile_td.name) == 0 ? &profile_td : NULL;
}

void
installed_init(struct installed *in, const char *folder)
{
	*in = (struct installed){ .folder = folder };
}

void
installed_close(struct installed *in)
{
	struct installed_file *f;

	while ((f = in->files) != NULL) {
		in->files = f->next;
		profile_free(f->profile);
		free(f);
	}
}

/* --- what there is --- */

/* The files that are a profile's by their names. */
static int
is_profile(const struct dirent *e)
{
	const char *suffix = strstr(e->d_name, PROFILE_SUFFIX);
	struct span name = { e->d_name, suffix == NULL ? 0 : (size_t)(suffix - e->d_name) };

	return suffix != NULL && strcmp(suffix, PROFILE_SUFFIX) == 0 &&
	       profile_is_name(name) && !span_is(name, profile_td.name) &&
	       !span_is(name, PROFILE_NONE);
}

enum rc
installed_each(const struct installed *in, installed_visit *visit, void *ctx,
               struct err *err)
{
	struct dirent **files = NULL;
	enum rc rc = visit(ctx, profile_td.name);
	int n = scandir(in->folder, &files, is_profile, alphasort);

	for (int i = 0; i < n; i++) {
		if (rc == RC_OK) {
			*strstr(files[i]->d_name, PROFILE_SUFFIX) = '\0';
			rc = visit(ctx, files[i]->d_name);
		}
		free(files[i]);
	}
	free(files);
	if (rc == RC_OK && n < 0 && errno != ENOENT)
		return err_set(err, RC_UNAVAILABLE, "can't read folder %s: %s", in->folder,
		               strerror(errno));
	return rc;
}

/* --- one of them --- */

static enum rc
add_name(void *ctx, const char *name)
{
	struct buf *names = ctx;

	buf_addf(names, "%s%s", names->len > 0 ? ", " : "", name);
	return RC_OK;
}

/* Say that there is no such profile, and which there are. */
static enum rc
not_found(const struct installed *in, const char *name, struct err *err)
{
	struct buf names = { 0 };
	enum rc rc = installed_each(in, add_name, &names, err);

	if (rc == RC_OK && buf_cstr(&names) == NULL)
		rc = err_set(err, RC_FAULT, "out of memory");
	if (rc == RC_OK)
		rc = err_set(err, RC_NOT_FOUND, "there is no profile \"%.*s\": known are %s and "
		             PROFILE_NONE, PROFILE_NAME_MAX, name, names.p);
	buf_free(&names);
	return rc;
}

static enum rc
read_file(struct installed *in, const char *name, struct profile **out, struct err *err)
{
	struct buf path = { 0 };
	enum rc rc = RC_FAULT;

	*out = NULL;
	buf_addf(&path, "%s/%s" PROFILE_SUFFIX, in->folder, name);
	if (buf_cstr(&path) == NULL)
		err_set(err, rc, "out of memory");
	else
		rc = profile_read(path.p, out, err);
	buf_free(&path);
	if (rc == RC_NOT_FOUND)
		return not_found(in, name, err);
	return rc == RC_INVALID ? RC_UNAVAILABLE : rc; /* the operator's fault */
}

enum rc
installed_get(struct installed *in, const char *name, const struct profile **out,
              struct err *err)
{
	struct installed_file *f;
	enum rc rc;

	*out = profile_find(name);
	if (*out != NULL || strcmp(name, PROFILE_NONE) == 0)
		return RC_OK;
	if (!profile_is_name(span_of(name))) /* it becomes a part of a path */
		return not_found(in, name, err);
	for (f = in->files; f != NULL; f = f->next)
		if (strcmp(f->profile->name, name) == 0) {
			*out = f->profile;
			return RC_OK;
		}
	if ((f = calloc(1, sizeof(*f))) == NULL)
		return err_set(err, RC_FAULT, "out of memory");
	if ((rc = read_file(in, name, &f->profile, err)) != RC_OK) {
		free(f);
		return rc;
	}
	f->next = in->files;
	in->files = f;
	*out = f->profile;
	return RC_OK;
}
