/*
 * What another server knew, taken over into server.db with its ids and times: all of
 * an import, or nothing, in one transaction. What is there already stays as it is,
 * so an import may be run again.
 */
#ifndef TDSYNC_STORE_IMPORTS_H
#define TDSYNC_STORE_IMPORTS_H

#include "store/accounts.h"

/* When a key ends that never ends: 9999-12-31T23:59:59Z. */
#define IMPORT_NEVER INT64_C(253402300799)

/*
 * Begin it: server.lock is held until its end, so be quick. RC_BUSY: others write.
 * End it by import_end(), which commits where rc is RC_OK (and returns what came of
 * that), or by import_forget(), after which nothing has happened.
 */
enum rc import_begin(struct accounts *a, struct err *err);
enum rc import_end(struct accounts *a, enum rc rc, struct err *err);
void import_forget(struct accounts *a);

/*
 * Each of these needs import_begin(). *made: it was not there. RC_CONFLICT: the id is
 * there with other content, err says which. RC_INVALID: a text that can't be taken.
 */

/* An address is there under another id: RC_CONFLICT, too. */
enum rc import_user(struct accounts *a, const struct user *u, bool *made, struct err *err);

/*
 * An opaque key, of which only the SHA-256 is known: whoever sends it as a bearer is
 * let in as by a token. One that was revoked here stays revoked.
 */
enum rc import_key(struct accounts *a, const struct token_row *t,
                   const unsigned char key[HASH_LEN], bool *made, struct err *err);

/* p->slug is kept where it is free, else (or where it is "") a new one is made; p then
 * says what it is here. One that is there is left alone, whatever it is called. */
enum rc import_project(struct accounts *a, struct project *p, bool *made, struct err *err);

/* A member or an invitation of a project that was made by this import. RC_NOT_FOUND: no
 * such user. */
enum rc import_member(struct accounts *a, const struct member *m, struct err *err);
enum rc import_invitation(struct accounts *a, const struct invitation *i, struct err *err);

#endif
