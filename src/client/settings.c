/* How to reach the server, see settings.h. */
#include "client/settings.h"

#include "client/authfile.h"
#include "client/words.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define DEFAULT_URL "http://localhost:8080" /* td's */
#define THRESHOLD_ENV "TD_SYNC_SNAPSHOT_THRESHOLD" /* td's, likewise */
#define THRESHOLD 100
#define TEXT_MAX 8192 /* of a URL, a token, a device id */

/* One setting while it is looked for. */
struct source {
	const char *given;   /* by the caller */
	const char *env;     /* name of a variable, NULL: none */
	const char *member;  /* of auth.json */
	const char *from;    /* where the value came from, for messages */
	const char *value;   /* borrowed; NULL: none */
	bool kept;           /* it is auth.json's */
};

bool
settings_plain(const char *s)
{
	size_t n = strlen(s);

	if (n == 0 || n > TEXT_MAX)
		return false;
	for (; *s != '\0'; s++)
		if (*s <= ' ' || *s > '~')
			return false;
	return true;
}

static enum rc
check(const struct settings *s, const struct source *url, const struct source *token,
      const struct source *device, struct err *err)
{
	if (!settings_plain(s->url) ||
	    (strncasecmp(s->url, "http://", 7) != 0 && strncasecmp(s->url, "https://", 8) != 0))
		return err_set(err, RC_INVALID,
		               "the server's address (%s) must begin with http:// or https://",
		               url->from);
	if (strpbrk(s->url, "@?#") != NULL)
		return err_set(err, RC_INVALID, "the server's address (%s) can't hold a user, "
		               "a query or a fragment", url->from);
	if (s->token != NULL && !settings_plain(s->token))
		return err_set(err, RC_INVALID, "the token (%s) holds blanks or control "
		               "characters", token->from);
	if (s->device_id != NULL &&
	    (!settings_plain(s->device_id) || strlen(s->device_id) > 255 ||
	     strcmp(s->device_id, "td-sync") == 0))
		return err_set(err, RC_INVALID, "the device id (%s) is not a valid one",
		               device->from);
	return RC_OK;
}

/* auth: of auth.json; what is taken of it is in words. */
static void
find(struct source *s, struct span auth, struct words *words)
{
	const char *env = s->env == NULL ? NULL : getenv(s->env);

	if (s->given != NULL) {
		s->value = s->given;
		s->from = "given";
	} else if (env != NULL && env[0] != '\0') {
		s->value = env;
		s->from = s->env;
	} else {
		s->value = words_string(words, auth, s->member);
		s->from = AUTHFILE;
		s->kept = true;
		if (s->value[0] == '\0')
			s->value = NULL;
	}
}

enum rc
settings_load(const char *url, const char *token, const char *device_id,
              struct settings *out, struct err *err)
{
	struct source u = { url, "TD_SYNC_URL", "server_url", "", NULL, false };
	struct source t = { token, "TD_AUTH_KEY", "api_key", "", NULL, false };
	struct source d = { device_id, NULL, "device_id", "", NULL, false };
	struct source usual = { NULL, u.env, u.member, "", NULL, false };
	struct words words = { 0 };
	struct buf text = { 0 };
	struct span auth;
	enum rc rc;

	*out = (struct settings){ 0 };
	rc = authfile_read(&text, &auth, err);
	find(&u, auth, &words);
	find(&t, auth, &words);
	find(&d, auth, &words);
	find(&usual, auth, &words);
	/* A bad file is no matter to one who brings all that is needed. */
	if (rc != RC_OK && (u.value == NULL || t.value == NULL))
		goto done;
	out->url = strdup(u.value != NULL ? u.value : DEFAULT_URL);
	out->token = t.value == NULL ? NULL : strdup(t.value);
	out->device_id = d.value == NULL ? NULL : strdup(d.value);
	out->token_kept = t.value != NULL && t.kept;
	if (url != NULL && token == NULL)
		out->usual_url = strdup(usual.value != NULL ? usual.value : DEFAULT_URL);
	if (words.failed || out->url == NULL ||
	    (url != NULL && token == NULL && out->usual_url == NULL) || (t.value != NULL && out->token == NULL) ||
	    (d.value != NULL && out->device_id == NULL))
		rc = err_set(err, RC_FAULT, "out of memory");
	else
		rc = check(out, &u, &t, &d, err);
done:
	words_free(&words);
	buf_free(&text);
	if (rc != RC_OK)
		settings_free(out);
	return rc;
}

void
settings_free(struct settings *s)
{
	free(s->url);
	free(s->token);
	free(s->device_id);
	free(s->usual_url);
	*s = (struct settings){ 0 };
}

enum rc
settings_threshold(int given, int *out, struct err *err)
{
	const char *env = getenv(THRESHOLD_ENV);
	char *end;
	long n;

	*out = given != 0 ? given : THRESHOLD;
	if (given != 0 || env == NULL || env[0] == '\0')
		return RC_OK;
	errno = 0;
	n = strtol(env, &end, 10);
	if (*end != '\0' || errno != 0 || n < 0 || n > INT_MAX)
		return err_set(err, RC_INVALID, THRESHOLD_ENV " is not a number of events");
	*out = (int)n;
	return RC_OK;
}
