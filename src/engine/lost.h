/* What a conflict lists as lost, as the row that it was. */
#ifndef TDSYNC_ENGINE_LOST_H
#define TDSYNC_ENGINE_LOST_H

#include "engine/deed.h"

/* The values that a conflict's `fields` (store/state.h) list, as JSON that lies in
 * them. A lost NULL is none. False: no memory. */
bool lost_read(const struct table *t, struct span fields, struct row *out);

/* Append a lost value as td writes it. */
void lost_spell(const struct column *c, struct span json, struct buf *out);

/*
 * Append the row as an object. What is not listed is left out: it was empty, or the
 * column's default; but where `all` is listed and the column can't do without a
 * value, that was an empty text. `now` (RFC 3339) is its updated_at, and every time that
 * is not listed and for which each replica would put its own; empty: all is as it was.
 */
void lost_row(const struct table *t, struct span id, const struct row *lost, bool all,
              struct span now, struct buf *out);

/* Append a member to an object that is begun with its first. */
void lost_member(const struct column *c, struct span json, struct buf *out);

#endif
