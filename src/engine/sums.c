/* Digests of what a state holds, see sums.h. */
#include "engine/sums.h"

#include "base/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* --- numbers of 256 bits, the greatest byte first --- */

static void
add(unsigned char a[HASH_LEN], const unsigned char b[HASH_LEN])
{
	unsigned carry = 0;

	for (int i = HASH_LEN; i-- > 0;) {
		carry += (unsigned)a[i] + b[i];
		a[i] = (unsigned char)carry;
		carry >>= 8;
	}
}

static void
subtract(unsigned char a[HASH_LEN], const unsigned char b[HASH_LEN])
{
	int borrow = 0;

	for (int i = HASH_LEN; i-- > 0;) {
		int d = a[i] - b[i] - borrow;

		a[i] = (unsigned char)d;
		borrow = d < 0;
	}
}

/* --- the text of a row --- */

static void
add_field(struct buf *out, char type, struct span text)
{
	buf_add_byte(out, type);
	buf_add_int(out, (int64_t)text.len);
	buf_add_byte(out, ':');
	buf_add_span(out, text);
}

#define DIGITS 24 /* room for a number, and a sign */

/* A number as text that ends before `end`; printf would cost more than the hash. */
static struct span
decimal(int64_t n, char *end)
{
	uint64_t u = n < 0 ? -(uint64_t)n : (uint64_t)n;
	char *p = end;

	do
		*--p = (char)('0' + u % 10);
	while ((u /= 10) != 0);
	if (n < 0)
		*--p = '-';
	return (struct span){ p, (size_t)(end - p) };
}

static void
add_text(struct buf *out, const struct column *c, struct span text)
{
	char room[DIGITS + 10], *end = room + sizeof(room);
	struct instant at;
	struct span sec;

	if (!c->time || !time_parse_any(text, &at)) {
		add_field(out, 'S', text);
		return;
	}
	for (int i = 1; i <= 9; i++, at.nsec /= 10)
		end[-i] = (char)('0' + at.nsec % 10);
	end[-10] = '.';
	sec = decimal(at.sec, end - 10);
	add_field(out, 'T', (struct span){ sec.p, sec.len + 10 });
}

static void
add_value(struct buf *out, const struct column *c, sqlite3_value *v)
{
	char room[DIGITS], number[40];
	const void *bytes;

	switch (sqlite3_value_type(v)) {
	case SQLITE_NULL:
		buf_add_byte(out, 'N');
		break;
	case SQLITE_INTEGER:
		add_field(out, 'I', decimal(sqlite3_value_int64(v), room + sizeof(room)));
		break;
	case SQLITE_FLOAT:
		snprintf(number, sizeof(number), "%.17g", sqlite3_value_double(v));
		add_field(out, 'R', span_of(number));
		break;
	case SQLITE_TEXT:
		bytes = sqlite3_value_blob(v); /* no copy for a NUL at its end */
		add_text(out, c, (struct span){ bytes, (size_t)sqlite3_value_bytes(v) });
		break;
	default:
		bytes = sqlite3_value_blob(v);
		add_field(out, 'B', (struct span){ bytes, (size_t)sqlite3_value_bytes(v) });
	}
}

enum rc
sums_add(const struct table *t, sums_value *value, void *ctx, bool add_it,
         struct sum *sum, struct buf *scratch)
{
	unsigned char hash[HASH_LEN];

	buf_reset(scratch);
	buf_add_str(scratch, t->entity->table);
	for (int i = 0; i < t->n_columns; i++) {
		const struct column *c = &t->columns[i];
		sqlite3_value *v;

		if (c->local)
			continue;
		if ((v = value(ctx, i)) == NULL)
			return RC_FAULT;
		buf_add_byte(scratch, ' ');
		buf_add(scratch, c->name, c->len);
		buf_add_byte(scratch, ' ');
		add_value(scratch, c, v);
	}
	if (scratch->failed || hash_sha256(buf_span(scratch), hash) != RC_OK)
		return RC_FAULT;
	if (add_it)
		add(sum->sum, hash);
	else
		subtract(sum->sum, hash);
	sum->rows += add_it ? 1 : -1;
	return RC_OK;
}

static sqlite3_value *
read_column(void *ctx, int column)
{
	return sqlite3_column_value(ctx, column);
}

enum rc
sums_scan(struct tables *all, const struct table *t, struct sum *out, struct err *err)
{
	struct buf sql = { 0 }, scratch = { 0 };
	sqlite3_stmt *st = NULL;
	bool row;
	enum rc rc;

	*out = (struct sum){ 0 };
	if (t->n_columns == 0)
		return RC_OK;
	/* All columns, in the order of the schema, as t->columns. */
	buf_addf(&sql, "SELECT * FROM \"%s\".\"%s\" /*scan*/", all->schema, t->entity->table);
	rc = buf_cstr(&sql) == NULL ? err_set(err, RC_FAULT, "out of memory")
	                            : db_prepare(all->db, sql.p, &st, err);
	while (rc == RC_OK && (rc = db_step(st, &row, err)) == RC_OK && row)
		if ((rc = sums_add(t, read_column, st, true, out, &scratch)) != RC_OK)
			err_set(err, rc, "out of memory");
	sqlite3_finalize(st);
	buf_free(&sql);
	buf_free(&scratch);
	return rc;
}

enum rc
sums_scan_all(struct tables *all, struct sum *out, struct err *err)
{
	enum rc rc = RC_OK;

	for (size_t i = 0; i < all->n && rc == RC_OK; i++)
		rc = sums_scan(all, &all->list[i], &out[i], err);
	return rc;
}

enum rc
sums_digest(const struct tables *all, const struct sum *sums, unsigned char out[HASH_LEN])
{
	struct buf text = { 0 };
	enum rc rc;

	for (size_t i = 0; i < all->n; i++) {
		if (all->list[i].entity->held_back)
			continue;
		buf_addf(&text, "%s %" PRId64 " ", all->list[i].entity->table, sums[i].rows);
		buf_add_hex(&text, sums[i].sum, HASH_LEN);
		buf_add_byte(&text, '\n');
	}
	rc = text.failed ? RC_FAULT : hash_sha256(buf_span(&text), out);
	buf_free(&text);
	return rc;
}

void
sums_columns(const struct table *t, struct buf *out)
{
	char lead = '[';

	for (int i = 0; i < t->n_columns; i++) {
		if (t->columns[i].local)
			continue;
		buf_add_byte(out, lead);
		buf_add_json(out, span_of(t->columns[i].name));
		lead = ',';
	}
	buf_add_str(out, lead == '[' ? "[]" : "]");
}
