/*
 * td's auth.json, which tells the client where the server is and who it is
 * there. What is taken of it goes into a request: the address, the token, the
 * device id must be fit for that.
 */
#include "client/settings.h"

#include "fuzz/fuzz.h"
#include "tests/temp.h"

#include <string.h>
#include <strings.h>

static char dir[TEMP_PATH];
static char path[TEMP_PATH + 32];

static void
remove_dir(void)
{
	temp_remove(dir);
}

static void
prepare(void)
{
	temp_make(dir);
	atexit(remove_dir);
	snprintf(path, sizeof(path), "%s/.config", dir);
	FUZZ_CHECK(mkdir(path, 0700) == 0, "%s", path);
	snprintf(path, sizeof(path), "%s/.config/td", dir);
	FUZZ_CHECK(mkdir(path, 0700) == 0, "%s", path);
	snprintf(path, sizeof(path), "%s/.config/td/auth.json", dir);
	setenv("HOME", dir, 1);
	unsetenv("TD_SYNC_URL");
	unsetenv("TD_AUTH_KEY");
}

/* One word of printable ASCII. */
static void
check_word(const char *what, const char *s)
{
	FUZZ_CHECK(*s != '\0', "%s is empty", what);
	for (; *s != '\0'; s++)
		FUZZ_CHECK(*s > ' ' && *s < 0x7f, "%s holds %#x", what, (unsigned char)*s);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct settings s;
	struct err err = { "" };
	enum rc rc;
	FILE *f;

	if (dir[0] == '\0')
		prepare();
	f = fopen(path, "wb");
	FUZZ_CHECK(f != NULL && fwrite(data, 1, size, f) == size && fclose(f) == 0, "%s", path);
	rc = settings_load(NULL, NULL, NULL, &s, &err);
	FUZZ_CHECK(rc == RC_OK || rc == RC_INVALID || rc == RC_TOO_LARGE, "%s: %s", rc_name(rc),
	           err.text);
	if (rc != RC_OK) {
		FUZZ_CHECK(strstr(err.text, "auth.json") != NULL && s.url == NULL, "%s", err.text);
		return 0;
	}
	check_word("the address", s.url);
	FUZZ_CHECK(strncasecmp(s.url, "http", 4) == 0 && strpbrk(s.url, "@?#") == NULL, "%s", s.url);
	if (s.token != NULL)
		check_word("the token", s.token);
	if (s.device_id != NULL)
		check_word("the device id", s.device_id);
	FUZZ_CHECK(s.device_id == NULL || strlen(s.device_id) <= 255, "%s", s.device_id);
	settings_free(&s);
	return 0;
}
