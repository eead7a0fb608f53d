/* td-sync-admin init: a data folder, ready for a server. */
#include "cli/td-sync-admin.h"

#include "base/fs.h"

#include <sys/stat.h>

/* Make a folder in the data folder; its path to out. */
static enum rc
make_folder(struct admin *a, const char *name, struct buf *out)
{
	buf_reset(out);
	buf_addf(out, "%s/%s", a->data, name);
	if (buf_cstr(out) == NULL)
		return err_set(&a->err, RC_FAULT, "out of memory");
	return fs_mkdir(out->p, &a->err);
}

/* Make the first key, unless an init that was cut short has made one. */
static enum rc
make_key(struct admin *a, const char *dir)
{
	struct keyring *k;
	char kid[40];
	enum rc rc = keyring_open(dir, &k, &a->err);

	if (rc == RC_OK && keyring_signer(k) == NULL)
		rc = keyring_create(dir, kid, &a->err);
	keyring_close(k);
	return rc;
}

static void
show(struct admin *a)
{
	const char *id = accounts_server_id(a->accounts);
	struct buf line = { 0 };

	if (a->json) {
		out_begin(&line);
		out_string(&line, "data", a->data);
		out_string(&line, "server_id", id);
		out_end(&line);
		return;
	}
	out_clean(&line, a->data);
	buf_addf(&line, " is ready, server %s", id);
	out_line(&line);
}

/* Make the data folder. One that is there is taken as it is: its parent may
 * be closed to its owner. */
static enum rc
make_data(struct admin *a)
{
	struct stat st;

	if (stat(a->data, &st) == 0 && S_ISDIR(st.st_mode))
		return RC_OK;
	return fs_mkdir(a->data, &a->err);
}

/* server.db comes last: where it is whole, so is the rest. */
int
init_run(struct admin *a)
{
	struct accounts *there;
	struct buf path = { 0 };
	enum rc rc;

	rc = accounts_open(a->data, &there, &a->err);
	accounts_close(there);
	if (rc == RC_OK)
		return admin_fail_with(a, RC_CONFLICT, "%s is a data folder already, left"
		    " as it is", a->data);
	if (rc != RC_NOT_FOUND)
		return admin_fail(a, rc);
	rc = make_data(a);
	if (rc == RC_OK)
		rc = make_folder(a, "projects", &path);
	if (rc == RC_OK)
		rc = make_folder(a, "keys", &path);
	if (rc == RC_OK)
		rc = make_key(a, path.p);
	if (rc == RC_OK)
		rc = accounts_create(a->data, &a->err);
	if (rc == RC_OK)
		rc = admin_open(a);
	buf_free(&path);
	if (rc != RC_OK)
		return admin_fail(a, rc);
	show(a);
	return 0;
}
