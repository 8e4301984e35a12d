#pragma once

#include "store/store.h"

#include <lmdb.h>

/* The newest format of the file that this program reads; it writes this one. */
#define STORE_FORMAT 1U

/*
 * Walks the whole file and verifies each record, in a child process: LMDB follows the
 * page numbers in the file, so a damaged one can make it touch what is not there.  0,
 * ERR_CORRUPT or ERR_VERSION, with the finding in `text` (STORE_WHY bytes).
 */
int check_file(const char *path, char *text);

/* An LMDB result as one of our codes. */
int check_code(int rc);

/* The sentence for the operator: file, cause, next step. */
void check_explain(
	int err, const char *path, const char *detail, char *why, size_t why_size);
