/*
 * Stands in for libFuzzer in the ordinary test run: plays every file of the folders
 * given. The first folder, the corpus, must have some; the others may be missing.
 */
#include "fuzz.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <string.h>

#define INPUT_MAX (1U << 20)

static uint8_t input[INPUT_MAX];

/* The name is printed first, so that the last one printed is the one that crashed. */
static void play(const char *path)
{
	FILE *f = fopen(path, "rb");
	size_t n;

	MUST(f);
	n = fread(input, 1, sizeof(input), f);
	MUST(!ferror(f));
	(void)fclose(f);
	(void)printf("%s\n", path);
	(void)fflush(stdout);
	LLVMFuzzerTestOneInput(input, n);
}

static size_t play_folder(const char *folder)
{
	DIR *dir = opendir(folder);
	char path[PATH_MAX];
	size_t n = 0;

	if (!dir) {
		MUST(errno == ENOENT);
		return 0;
	}
	for (struct dirent *e; (e = readdir(dir));) {
		if (e->d_name[0] == '.')
			continue;
		(void)snprintf(path, sizeof(path), "%s/%s", folder, e->d_name);
		play(path);
		n++;
	}
	(void)closedir(dir);
	return n;
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		size_t n = play_folder(argv[i]);

		if (n == 0 && i == 1) {
			(void)fprintf(stderr, "%s: no corpus\n", argv[i]);
			return 1;
		}
	}
	return argc > 1 ? 0 : 1;
}
