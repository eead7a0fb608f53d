/*
 * The profiles that are there: td's, which is compiled in, and those that the
 * operator has put into a folder, a file NAME.json each.
 */
#ifndef TDSYNC_PROFILES_INSTALLED_H
#define TDSYNC_PROFILES_INSTALLED_H

#include "profiles/profile.h"

struct installed_file; /* a profile that was read; private to installed.c */

struct installed {
	const char *folder; /* borrowed; it may be missing */
	struct installed_file *files;
};

void installed_init(struct installed *in, const char *folder);
void installed_close(struct installed *in);

/*
 * The profile of a name, kept once it was read: a file that changes counts for
 * the next process. Borrowed until installed_close(); NULL for PROFILE_NONE.
 * RC_NOT_FOUND: there is none of that name, err names those that there are.
 * RC_UNAVAILABLE: its file is wrong or can't be read, err says where and why.
 */
enum rc installed_get(struct installed *in, const char *name,
                      const struct profile **out, struct err *err);

/*
 * Call for each name that there is: td, then files by their names, whether
 * they are right or not. Anything but RC_OK ends it with that outcome.
 */
typedef enum rc installed_visit(void *ctx, const char *name);
enum rc installed_each(const struct installed *in, installed_visit *visit, void *ctx,
                       struct err *err);

#endif
