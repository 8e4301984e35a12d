/*
 * Texts of the program's error codes.
 */
#include "base/err.h"

#include <stddef.h>
#include <string.h>

static const char *const texts[] = {
	[ERR_BASE - ERR_MALFORMED] = "malformed",
	[ERR_BASE - ERR_RANGE] = "out of range",
	[ERR_BASE - ERR_NOSPACE] = "no space",
	[ERR_BASE - ERR_EXISTS] = "exists already",
	[ERR_BASE - ERR_NOTFOUND] = "not found",
	[ERR_BASE - ERR_CONFIG] = "configuration refused",
	[ERR_BASE - ERR_UNREACHABLE] = "not reachable",
	[ERR_BASE - ERR_PROTOCOL] = "protocol broken by the other end",
	[ERR_BASE - ERR_VERSION] = "newer format version",
	[ERR_BASE - ERR_CORRUPT] = "corrupt data",
	[ERR_BASE - ERR_UNSUPPORTED] = "not supported here",
	[ERR_BASE - ERR_REFUSED] = "refused",
};

const char *err_text(int code)
{
	size_t i = (size_t)(ERR_BASE - code);

	if (code == ERR_OK)
		return "success";
	if (code > ERR_BASE && code < 0)
		return strerrordesc_np(-code) ? strerrordesc_np(-code)
					      : "unknown system error";
	if (code < ERR_BASE && i < sizeof texts / sizeof *texts && texts[i])
		return texts[i];
	return "unknown error";
}
