/*
 * What the SQL in a profile's file may be. It is pasted into statements of
 * ours (profile_schema()), so it must stay in its place there, and it must not
 * make a table that an event could stop for ever.
 */
#ifndef TDSYNC_PROFILES_SCHEMA_H
#define TDSYNC_PROFILES_SCHEMA_H

#include "profiles/profile.h"

/*
 * What is wrong with a piece of SQL (a column's declaration, a constraint, an
 * index's columns), or NULL. Static. A piece that passes can't end what it
 * stands in: quotes and brackets are closed, and outside of them there is no
 * comma, no semicolon and no comment.
 */
const char *schema_piece(const char *sql);

/*
 * Make the profile's tables in a database in memory, with nothing allowed but
 * that, and look at what came of it. Every piece of SQL has passed
 * schema_piece(). RC_INVALID: err names the entity and the cause.
 */
enum rc schema_try(const struct profile *p, struct err *err);

#endif
