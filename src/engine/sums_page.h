/* The sums of a state as JSON, for a replica to check itself by. */
#ifndef TDSYNC_ENGINE_SUMS_PAGE_H
#define TDSYNC_ENGINE_SUMS_PAGE_H

#include "engine/follow.h"

/*
 * Write {"server_seq","log_id","profile","tables":[{"table","rows","digest",
 * "columns"}],"digest"} and a newline to out (appended), of the state that is
 * held: as it was at a seq of its log, or as it stands, where that is below 0 or
 * nothing came after it. RC_NOT_FOUND: err says of which seqs there are sums.
 */
enum rc sums_page_write(struct follower *f, const unsigned char log_id[LOG_ID_LEN],
                        int64_t seq, struct buf *out, struct err *err);

#endif
