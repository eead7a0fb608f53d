/* td-sync-admin key: the keys that sign tokens. */
#include "cli/td-sync-admin.h"

#include <stdio.h>
#include <string.h>

#define DAY 86400 /* seconds */

static int64_t
now_s(void)
{
	return clock_now_us() / 1000000;
}

/* The path of the folder of the keys; NULL when out of memory. */
static const char *
keys_dir(struct admin *a, struct buf *out)
{
	buf_addf(out, "%s/keys", a->data);
	return buf_cstr(out);
}

/* Print the id of a new key. */
static void
show_new(struct admin *a, const char *kid)
{
	struct buf line = { 0 };

	if (a->json) {
		out_begin(&line);
		out_string(&line, "kid", kid);
		out_end(&line);
		return;
	}
	buf_add_str(&line, kid);
	out_line(&line);
}

/* Who can make tokens has changed: that is for the audit log. */
static int
note_new(struct admin *a, const char *action, const char *kid, const char *detail)
{
	enum rc rc = audit_note(a->accounts, action, "", kid, detail, &a->err);
	struct err why = a->err;

	return rc == RC_OK ? 0 : admin_fail_with(a, rc, "the key %s was made, but it could not "
	    "be noted in the audit log: %s", kid, why.text);
}

int
key_create_run(struct admin *a)
{
	struct buf path = { 0 };
	const char *dir = keys_dir(a, &path);
	char kid[40];
	enum rc rc;

	rc = dir != NULL ? keyring_create(dir, kid, &a->err)
	                 : err_set(&a->err, RC_FAULT, "out of memory");
	buf_free(&path);
	if (rc != RC_OK)
		return admin_fail(a, rc);
	show_new(a, kid);
	return note_new(a, "key.create", kid, "");
}

static enum rc
latest_expiry(void *ctx, const struct token_row *t)
{
	int64_t *latest = ctx;

	if (t->revoked_at == 0 && t->expires_at > *latest)
		*latest = t->expires_at;
	return RC_OK;
}

/* Without --overlap the old keys verify until the last token has expired. */
int
key_rotate_run(struct admin *a)
{
	struct buf path = { 0 };
	const char *dir = keys_dir(a, &path);
	int64_t now = now_s(), latest = now, overlap;
	char kid[40], until[TIME_TEXT + 32], at[TIME_TEXT];
	enum rc rc;

	rc = token_list(a->accounts, NULL, latest_expiry, &latest, &a->err);
	overlap = a->days < 0 ? latest - now : a->days * DAY;
	if (rc == RC_OK)
		rc = dir != NULL ? keyring_rotate(dir, overlap, kid, &a->err)
		                 : err_set(&a->err, RC_FAULT, "out of memory");
	buf_free(&path);
	if (rc != RC_OK)
		return admin_fail(a, rc);
	show_new(a, kid);
	snprintf(until, sizeof(until), "the others until %s", time_text(now + overlap, at));
	return note_new(a, "key.rotate", kid, until);
}

static const char *
state(const struct keyring *k, const struct key *key)
{
	if (key == keyring_signer(k))
		return "signs";
	if (key->retired_at != 0 && key->retired_at <= now_s())
		return "retired";
	return "verifies";
}

static void
show_one(struct admin *a, const struct keyring *k, const struct key *key)
{
	struct buf line = { 0 };
	char at[TIME_TEXT];

	if (a->json) {
		out_begin(&line);
		out_string(&line, "kid", key->kid);
		out_string(&line, "alg", key->alg);
		out_string(&line, "state", state(k, key));
		out_time(&line, "created_at", key->created_at);
		out_time(&line, "retired_at", key->retired_at);
		out_end(&line);
		return;
	}
	out_column(&line, key->kid, 18);
	out_column(&line, key->alg, 5);
	out_column(&line, state(k, key), 8);
	out_column(&line, time_text(key->created_at, at), 20);
	if (key->retired_at != 0)
		buf_addf(&line, "until %s", time_text(key->retired_at, at));
	out_line(&line);
}

int
key_list_run(struct admin *a)
{
	struct buf path = { 0 };
	const char *dir = keys_dir(a, &path);
	const struct key *key;
	struct keyring *k = NULL;
	enum rc rc;

	rc = dir != NULL ? keyring_open(dir, &k, &a->err)
	                 : err_set(&a->err, RC_FAULT, "out of memory");
	for (size_t i = 0; rc == RC_OK && (key = keyring_at(k, i)) != NULL; i++)
		show_one(a, k, key);
	keyring_close(k);
	buf_free(&path);
	return rc == RC_OK ? 0 : admin_fail(a, rc);
}
