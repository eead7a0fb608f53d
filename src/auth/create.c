/* Making what a data folder holds, see auth.h. */
#include "auth/auth.h"

#include "auth/keyring.h"
#include "base/fs.h"

#include <sys/stat.h>

/* Make the data folder. One that is there is taken as it is: its parent may
 * be closed to its owner. */
static enum rc
make_data(const char *data, struct err *err)
{
	struct stat st;

	if (stat(data, &st) == 0 && S_ISDIR(st.st_mode))
		return RC_OK;
	return fs_mkdir(data, err);
}

/* Make a folder in the data folder; its path to out. */
static enum rc
make_folder(const char *data, const char *name, struct buf *out, struct err *err)
{
	buf_reset(out);
	buf_addf(out, "%s/%s", data, name);
	if (buf_cstr(out) == NULL)
		return err_set(err, RC_FAULT, "out of memory");
	return fs_mkdir(out->p, err);
}

/* Make the first key, unless one who was interrupted here has made it. */
static enum rc
make_key(const char *dir, struct err *err)
{
	struct keyring *k;
	char kid[40];
	enum rc rc = keyring_open(dir, &k, err);

	if (rc == RC_OK && keyring_signer(k) == NULL)
		rc = keyring_create(dir, kid, err);
	keyring_close(k);
	return rc;
}

/* server.db comes last: where it is whole, so is the rest. */
enum rc
auth_create(const char *data, struct err *err)
{
	struct accounts *there;
	struct buf path = { 0 };
	enum rc rc = accounts_open(data, &there, err);

	accounts_close(there);
	if (rc == RC_OK)
		return err_set(err, RC_CONFLICT, "%s is a data folder already, left as it is", data);
	if (rc != RC_NOT_FOUND)
		return rc;
	rc = make_data(data, err);
	if (rc == RC_OK)
		rc = make_folder(data, "projects", &path, err);
	if (rc == RC_OK)
		rc = make_folder(data, "keys", &path, err);
	if (rc == RC_OK)
		rc = make_key(path.p, err);
	if (rc == RC_OK)
		rc = accounts_create(data, err);
	buf_free(&path);
	return rc;
}
