/*
 * Message boundaries on a control socket.  What a message means is for server.c and
 * client.c; this file answers for never holding more than the bound, and for looking at
 * each byte once however slowly they arrive.
 */
#include "ipc/frame.h"

#include "base/err.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_SIZE 4096

void ipc_frame_init(struct ipc_frame *f, size_t max)
{
	*f = (struct ipc_frame){ .max = max };
}

void ipc_frame_fini(struct ipc_frame *f)
{
	free(f->bytes);
	*f = (struct ipc_frame){ .max = f->max };
}

int ipc_frame_room(struct ipc_frame *f, size_t want, char **at, size_t *room)
{
	if (f->len == f->max)
		return ERR_NOSPACE;
	if (f->len == f->size) {
		size_t size = f->size > 0 ? f->size * 2 : FIRST_SIZE;
		char *bytes;

		if (size > f->max)
			size = f->max;
		bytes = realloc(f->bytes, size);
		if (bytes == NULL)
			return -ENOMEM;
		f->bytes = bytes;
		f->size = size;
	}
	*at = f->bytes + f->len;
	*room = f->size - f->len < want ? f->size - f->len : want;
	return 0;
}

void ipc_frame_added(struct ipc_frame *f, size_t n)
{
	f->len += n;
}

int ipc_frame_next(struct ipc_frame *f, json_t **message)
{
	const char *nul = NULL;
	json_t *parsed;
	size_t n;

	if (f->len > f->scanned)
		nul = memchr(f->bytes + f->scanned, 0, f->len - f->scanned);
	if (nul == NULL) {
		f->scanned = f->len;
		return ERR_NOTFOUND;
	}
	n = (size_t)(nul - f->bytes);
	parsed = json_loadb(f->bytes, n, JSON_REJECT_DUPLICATES, NULL);
	f->len -= n + 1;
	memmove(f->bytes, f->bytes + n + 1, f->len);
	f->scanned = 0;
	if (!json_is_object(parsed)) {
		json_decref(parsed);
		return ERR_MALFORMED;
	}
	*message = parsed;
	return 0;
}

char *ipc_frame_encode(const json_t *message, size_t *len)
{
	char *text = json_dumps(message, JSON_COMPACT);

	if (text != NULL)
		*len = strlen(text) + 1;
	return text;
}
