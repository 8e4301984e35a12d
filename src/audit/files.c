/* Which files there are: by their names alone, so nothing else has to be kept. */
#include "audit/files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

char *files_name(uint32_t number, char buf[static FILES_NAME_MAX])
{
	(void)snprintf(buf, FILES_NAME_MAX, "audit.%08u.log", number);
	return buf;
}

static bool number_of(const char *name, uint32_t *number)
{
	char again[FILES_NAME_MAX], *end;
	unsigned long n;

	if (strncmp(name, "audit.", 6) != 0 || name[6] < '0' || name[6] > '9')
		return false;
	errno = 0;
	n = strtoul(name + 6, &end, 10);
	if (errno != 0 || n > UINT32_MAX)
		return false;
	*number = (uint32_t)n;
	return strcmp(files_name(*number, again), name) == 0;
}

static int compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static int files_add(struct files *f, uint32_t number)
{
	uint32_t *more = realloc(f->numbers, (f->n + 1) * sizeof(*more));

	if (more == NULL)
		return -ENOMEM;
	f->numbers = more;
	f->numbers[f->n++] = number;
	return 0;
}

int files_list(int dir_fd, struct files *f)
{
	/* A descriptor of its own: closedir() takes it along. */
	int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), err = 0;
	DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
	const struct dirent *entry;

	*f = (struct files){ 0 };
	if (dir == NULL) {
		err = -errno;
		if (fd >= 0)
			(void)close(fd);
		return err;
	}
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): each thread has a stream of its own */
	while (err == 0 && (entry = readdir(dir)) != NULL) {
		uint32_t number;

		if (number_of(entry->d_name, &number))
			err = files_add(f, number);
	}
	(void)closedir(dir);
	if (err != 0) {
		files_fini(f);
		return err;
	}
	if (f->n > 1)
		qsort(f->numbers, f->n, sizeof(*f->numbers), compare);
	return 0;
}

void files_fini(struct files *f)
{
	free(f->numbers);
	*f = (struct files){ 0 };
}
