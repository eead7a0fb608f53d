/*
 * The main of a fuzz target without libFuzzer: tries every input of the
 * files and folders it is given; of fuzz/seeds.d/NAME in the build folder and
 * fuzz/corpus/NAME in the source when it is given none. Names each one first,
 * so that the last one named is the one that failed.
 */
#include "base/fs.h"
#include "fuzz/fuzz.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static size_t tried;

static void
try_file(const char *path)
{
	struct buf text = { 0 };
	struct err err;

	puts(path);
	fflush(stdout);
	if (fs_read(path, 64u << 20, &text, &err) != RC_OK) {
		fprintf(stderr, "%s\n", err.text);
		exit(99);
	}
	LLVMFuzzerTestOneInput((const uint8_t *)text.p, text.len);
	buf_free(&text);
	tried++;
}

static void
try_path(const char *path)
{
	struct dirent **names;
	char inside[1024];
	int n = scandir(path, &names, NULL, alphasort);

	if (n < 0) {
		try_file(path);
		return;
	}
	for (int i = 0; i < n; i++) {
		if (names[i]->d_name[0] != '.') {
			snprintf(inside, sizeof(inside), "%s/%s", path, names[i]->d_name);
			try_path(inside);
		}
		free(names[i]);
	}
	free(names);
}

/* The inputs of NAME_fuzz in a folder of inputs, which may have none. */
static void
try_known(const char *folder, const char *program)
{
	char path[1024];

	snprintf(path, sizeof(path), "%s/%.*s", folder, (int)strcspn(program, "_"), program);
	if (access(path, F_OK) == 0)
		try_path(path);
}

int
main(int argc, char **argv)
{
	const char *name = program_invocation_short_name;

	for (int i = 1; i < argc; i++)
		try_path(argv[i]);
	if (argc == 1) {
		if (strncmp(name, "lt-", 3) == 0) /* libtool's, not yet installed */
			name += 3;
		try_known(TOP_BUILDDIR "/fuzz/seeds.d", name);
		try_known(TOP_SRCDIR "/fuzz/corpus", name);
	}
	printf("%zu inputs\n", tried);
	return tried > 0 ? 0 : 99;
}
