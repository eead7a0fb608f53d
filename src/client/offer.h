/*
 * Local rows that the log never held are offered to it: as entries of td's
 * action log, so that td or we may send them. That is td's backfill
 * (protocol.md section 6) and the design's "Nothing local is ever just
 * removed" in one.
 *
 * A create that td undid before it was sent is such a case, too: td never sends
 * it, but what came after it (what takes it back, a restore, a comment). Where
 * its row is still here the entry itself is sent, in its place.
 *
 * Where we know better than td's backfill: rows without any entry are sent
 * before everything else (entries of others hang on them); a row that lags
 * behind is sent as a second `create` only if no other rows would go with the
 * REPLACE, else as an `update`; and nothing is sent for a row that the log
 * holds already (a copy of another device's database).
 */
#ifndef TDSYNC_CLIENT_OFFER_H
#define TDSYNC_CLIENT_OFFER_H

#include "client/books.h"
#include "client/kinds.h"

/* What is offered beside rows that the log never held. */
enum offer_what {
	OFFER_ROWS,      /* nothing */
	OFFER_BACKFILL,  /* issues of ours whose log lags behind the row */
	OFFER_NEWER      /* rows that are newer than the log's */
};

/* Revive undone creates of rows that are here and that the log never held. Needs
 * local_begin(). *made is their number. */
enum rc offer_undone(struct kinds *ts, const struct books *b, int64_t *made,
                     struct err *err);

/*
 * Make the entries, the undone ones included; the state must stand at the log's end. Needs
 * local_begin(). *made is their number.
 */
enum rc offer_rows(struct kinds *ts, const struct books *b, enum offer_what what,
                   int64_t now_us, int64_t *made, struct err *err);

#endif
