/* The sums of a state as JSON, see sums_page.h. */
#include "engine/sums_page.h"

#include <inttypes.h>
#include <stdlib.h>

static void
add_table(const struct table *t, const struct sum *sum, struct buf *out)
{
	buf_add_str(out, "{\"table\":");
	buf_add_json(out, span_of(t->entity->table));
	buf_add_str(out, ",\"rows\":");
	buf_add_int(out, sum->rows);
	buf_add_str(out, ",\"digest\":\"");
	buf_add_hex(out, sum->sum, HASH_LEN);
	buf_add_str(out, "\",\"columns\":");
	sums_columns(t, out);
	buf_add_byte(out, '}');
}

static void
add_page(struct follower *f, const unsigned char log_id[LOG_ID_LEN], int64_t seq,
         const struct sum *sums, const unsigned char whole[HASH_LEN], struct buf *out)
{
	const struct tables *all = follower_tables(f);
	char mark[FOLLOW_MARK], comma = '[';

	follow_mark(follower_profile(f), mark);
	buf_add_str(out, "{\"server_seq\":");
	buf_add_int(out, seq);
	buf_add_str(out, ",\"log_id\":\"");
	buf_add_hex(out, log_id, LOG_ID_LEN);
	buf_add_str(out, "\",\"profile\":");
	buf_add_json(out, span_of(mark));
	buf_add_str(out, ",\"tables\":");
	for (size_t i = 0; i < all->n; i++) {
		if (all->list[i].entity->held_back)
			continue;
		buf_add_byte(out, comma);
		comma = ',';
		add_table(&all->list[i], &sums[i], out);
	}
	buf_add_str(out, comma == '[' ? "[]" : "]");
	buf_add_str(out, ",\"digest\":\"");
	buf_add_hex(out, whole, HASH_LEN);
	buf_add_str(out, "\"}\n");
}

enum rc
sums_page_write(struct follower *f, const unsigned char log_id[LOG_ID_LEN], int64_t seq,
                struct buf *out, struct err *err)
{
	int64_t now = state_seq(follower_state(f));
	struct sum *sums = calloc(follower_tables(f)->n + 1, sizeof(*sums));
	unsigned char whole[HASH_LEN];
	enum rc rc;

	if (sums == NULL)
		return err_set(err, RC_FAULT, "out of memory");
	rc = follower_sums(f, seq < 0 || seq > now ? now : seq, sums, err);
	if (rc == RC_NOT_FOUND)
		err_set(err, rc, "There is no digest of seq %" PRId64 ": there is one of the last "
		        "event, %" PRId64 " now, and of each %dth seq before it. Pull, then ask "
		        "again.", seq, now, SUMS_EACH);
	if (rc == RC_OK)
		rc = sums_digest(follower_tables(f), sums, whole);
	if (rc == RC_OK)
		add_page(f, log_id, seq < 0 ? now : seq, sums, whole, out);
	free(sums);
	return rc == RC_OK && out->failed ? err_set(err, RC_FAULT, "out of memory") : rc;
}
