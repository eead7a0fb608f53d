/* What the tests that torture a server share: a site with one project, and
 * the ledger of its clients. */
#ifndef TDSYNC_TESTS_TORTURE_H
#define TDSYNC_TESTS_TORTURE_H

#include "crowd.h"
#include "site.h"

#include <check.h>

struct torture {
	struct site site;
	struct ledger *ledger;
	char user[ID_MAX], project[ID_MAX];
	char *token;
	char dir[PATH_MAX + 64];  /* the project's folder */
	struct crowd crowd;       /* filled for torture_crowd() */
};

/* Start a site; make the project; fill the crowd's address and token. */
void torture_start(struct torture *t, const struct site_options *o);

/* Stop it and free all. */
void torture_stop(struct torture *t);

/* The log agrees with the ledger, and with the crowd's followers if asked for;
 * a fresh reader over HTTP is served the same. */
void torture_check(struct torture *t, bool followers);

/* One push of n new events; its status. */
int torture_push(struct torture *t, size_t n);

/* Whether the error log holds that text. */
bool torture_logged(const struct torture *t, const char *text);

/* How many times a count is multiplied: $TD_SYNC_SOAK, else 1. */
int torture_soak(void);

/* Where random draws start: $TD_SYNC_SEED, else the time. It is printed. */
unsigned torture_seed(const char *what);

/* Whether behind nginx can be tested; if not, "skipped: ..." is said. */
bool torture_can_run(void);

/* main() of such a program. */
int torture_main(const char *name, TCase *(*const *cases)(void));

#endif
