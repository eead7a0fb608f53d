/*
 * td-sync-admin doctor: the way from outside. It is asked by td-sync, the client's
 * command beside this one, so that this one needs no libcurl.
 */
#include "cli/td-sync-admin-doctor.h"

#include "base/fs.h"
#include "base/json.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define SECONDS 120

/* The path of the client's command: beside our own file. False: it isn't there. */
static bool
find_client(char out[PATH_MAX])
{
	ssize_t n = readlink("/proc/self/exe", out, PATH_MAX - sizeof("/td-sync"));
	char *slash;

	if (n <= 0)
		return false;
	out[n] = '\0';
	if ((slash = strrchr(out, '/')) == NULL)
		return false;
	memcpy(slash, "/td-sync", sizeof("/td-sync"));
	return access(out, X_OK) == 0;
}

/* --- what it found --- */

/* A string member of an object, decoded; "" where there is none. */
static const char *
text(struct span object, const char *name, struct buf *out)
{
	struct span value;

	buf_reset(out);
	if (json_get(object, name, &value))
		json_string(value, out);
	return buf_cstr(out) != NULL ? out->p : "";
}

/* Tell one of its findings as ours. */
static void
pass_on(struct doctor *d, struct span finding)
{
	struct buf level = { 0 }, check = { 0 }, what = { 0 }, why = { 0 }, todo = { 0 };
	struct finding f = { .check = text(finding, "check", &check),
		.why = text(finding, "why", &why), .todo = text(finding, "todo", &todo) };

	text(finding, "level", &level);
	f.level = strcmp(level.p, "ok") == 0 ? LEVEL_OK
	          : strcmp(level.p, "warning") == 0 ? LEVEL_WARNING : LEVEL_ERROR;
	d->serves = d->serves || (f.level == LEVEL_OK && strcmp(f.check, "health") == 0);
	doctor_say(d, &f, "%s", text(finding, "what", &what));
	buf_free(&level);
	buf_free(&check);
	buf_free(&what);
	buf_free(&why);
	buf_free(&todo);
}

static bool
pass_all(struct doctor *d, struct span said)
{
	struct span all, list, key, finding;
	struct json_iter it;
	bool any = false;

	if (json_scan(said, JSON_MAX_DEPTH, &all, NULL, NULL) != RC_OK ||
	    !json_get(all, "findings", &list))
		return false;
	json_iter_init(&it, list);
	while (json_next(&it, &key, &finding)) {
		pass_on(d, finding);
		any = true;
	}
	return any;
}

/* --- asking it --- */

/* A folder's name as it stands in an address. */
static void
encode(const char *name, char *out, size_t size)
{
	size_t n = 0;

	for (const char *p = name; *p != '\0' && n + 4 <= size; p++)
		if (isalnum((unsigned char)*p) || strchr("-._~", *p) != NULL)
			out[n++] = *p;
		else
			n += (size_t)snprintf(out + n, size - n, "%%%02X", (unsigned char)*p);
	out[n] = '\0';
}

/*
 * Lay a file into the data folder whose content is its name, for all to read, and ask
 * for it from outside, in the places where a folder ends up by mistake; and for those
 * that a web server has that shows some files alone. No token is made: one that nobody
 * made shows whether tokens arrive.
 */
static void
ask(struct doctor *d, const char *client, const char *name)
{
	char base[3 * NAME_MAX + 4], canary[4][PATH_MAX];
	const char *argv[] = { client, "--json", "doctor", "--hidden", canary[0], "--hidden",
		canary[1], "--hidden", canary[2], "--hidden", "/server.db", "--hidden", "/data/server.db",
		"--hidden", canary[3], "--hidden", "/td-sync.conf", "--hidden", "/data/td-sync.conf",
		d->url, NULL };
	const struct finding f = { LEVEL_WARNING, "front_door", "so nothing is known of the way from "
		"outside", "run td-sync doctor with the address by hand" };
	struct buf said = { 0 };

	encode(strrchr(d->data, '/') + 1, base, sizeof(base));
	snprintf(canary[0], PATH_MAX, "/%s", name);
	snprintf(canary[1], PATH_MAX, "/data/%s", name);
	snprintf(canary[2], PATH_MAX, "/%s/%s", base, name);
	snprintf(canary[3], PATH_MAX, "/%s/server.db", base);
	if (doctor_program(argv, "TD_AUTH_KEY=td-sync-doctor", false, SECONDS, &said) < 0 ||
	    !pass_all(d, buf_span(&said)))
		doctor_say(d, &f, "%s could not tell of %s", client, d->url);
	buf_free(&said);
}

static void
ask_with_file(struct doctor *d, const char *client)
{
	const struct finding f = { LEVEL_WARNING, "exposed", "so whether the data folder is handed out "
		"is known by halves", "see the findings on the data folder" };
	char name[DOCTOR_NAME], path[PATH_MAX], content[DOCTOR_NAME + 1];

	if (!doctor_guard(d, name))
		return;
	snprintf(content, sizeof(content), "%s\n", name);
	if (!doctor_path(d, name, path) ||
	    fs_write(path, span_of(content), 0644, &d->a->err) != RC_OK)
		doctor_say(d, &f, "no file can be laid into the data folder: %s", d->a->err.text);
	ask(d, client, name);
	doctor_done(d, name);
}

void
doctor_front(struct doctor *d)
{
	char client[PATH_MAX];

	if (d->url[0] == '\0')
		doctor_ok(d, "front_door", "not looked at: no address is known; give --url, or set `url`");
	else if (!find_client(client))
		doctor_ok(d, "front_door", "not looked at: td-sync is not installed beside this program; "
		          "from another machine: td-sync doctor %s", d->url);
	else
		ask_with_file(d, client);
}
