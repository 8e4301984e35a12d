/* The one table between error names on a control socket and codes of base/err.h. */
#include "ipc/error.h"

#include "base/err.h"
#include "ipc/ipc.h"

#include <string.h>

static const struct {
	int code;
	const char *name;
} errors[] = {
	{ ERR_NOTFOUND, IPC_NOT_FOUND },
	{ ERR_REFUSED, IPC_REFUSED },
	{ ERR_CONFIG, IPC_CONFIG },
	{ ERR_UNREACHABLE, IPC_UNREACHABLE },
	{ ERR_MALFORMED, IPC_INVALID_PARAMETER },
	{ ERR_UNSUPPORTED, IPC_METHOD_NOT_FOUND },
	/* Seen from outside an internal failure is a refusal; the text has the cause. */
	{ ERR_REFUSED, IPC_INTERNAL },
};

#define N_ERRORS (sizeof(errors) / sizeof(errors[0]))

int ipc_error_to_code(const char *name)
{
	for (size_t i = 0; i < N_ERRORS; i++)
		if (strcmp(errors[i].name, name) == 0)
			return errors[i].code;
	return ERR_REFUSED;
}

const char *ipc_error_from_code(int code)
{
	for (size_t i = 0; i < N_ERRORS; i++)
		if (errors[i].code == code)
			return errors[i].name;
	return IPC_INTERNAL;
}
