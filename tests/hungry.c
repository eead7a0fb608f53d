/* No memory, see hungry.h. */
#include "tests/hungry.h"

#include <sqlite3.h>
#include <stdbool.h>
#include <stdlib.h>

long hungry_at = -1;

static bool
fails(void)
{
	return hungry_at >= 0 && hungry_at-- == 0;
}

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
char *__real_strdup(const char *s);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
char *__wrap_strdup(const char *s);

void *
__wrap_malloc(size_t n)
{
	return fails() ? NULL : __real_malloc(n);
}

void *
__wrap_calloc(size_t n, size_t size)
{
	return fails() ? NULL : __real_calloc(n, size);
}

void *
__wrap_realloc(void *p, size_t n)
{
	return fails() ? NULL : __real_realloc(p, n);
}

char *
__wrap_strdup(const char *s)
{
	return fails() ? NULL : __real_strdup(s);
}

static sqlite3_mem_methods sqlites;

static void *
sqlite_malloc(int n)
{
	return fails() ? NULL : sqlites.xMalloc(n);
}

static void *
sqlite_realloc(void *p, int n)
{
	return fails() ? NULL : sqlites.xRealloc(p, n);
}

void
hungry_sqlite_too(void)
{
	sqlite3_mem_methods ours;

	if (sqlite3_config(SQLITE_CONFIG_GETMALLOC, &sqlites) != SQLITE_OK)
		abort();
	ours = sqlites;
	ours.xMalloc = sqlite_malloc;
	ours.xRealloc = sqlite_realloc;
	if (sqlite3_config(SQLITE_CONFIG_MALLOC, &ours) != SQLITE_OK)
		abort();
}
