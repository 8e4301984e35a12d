#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The files of the audit in a directory: audit.00000001.log and so on, numbers rising. */

#define FILES_NAME_MAX 32

struct files {
	uint32_t *numbers; /* rising */
	size_t n;
};

/* 0, -errno; free with files_fini(). */
int files_list(int dir_fd, struct files *f);
void files_fini(struct files *f);
char *files_name(uint32_t number, char buf[static FILES_NAME_MAX]);
