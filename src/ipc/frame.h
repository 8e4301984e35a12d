#pragma once

#include <jansson.h>
#include <stddef.h>

/*
 * The framing of both ends: bytes go in as they come, JSON objects that ended with a NUL
 * come out.  Bounded: a message longer than max never enters memory.
 */

struct ipc_frame {
	char *bytes;
	size_t len, size;
	size_t max;     /* bytes of one message with its NUL */
	size_t scanned; /* no NUL before this */
};

void ipc_frame_init(struct ipc_frame *f, size_t max);
void ipc_frame_fini(struct ipc_frame *f);

/*
 * Where the next bytes may be written, at least 1 and at most `want`; ipc_frame_added()
 * then says how many were.  ERR_NOSPACE when one message fills the bound, -ENOMEM.
 */
int ipc_frame_room(struct ipc_frame *f, size_t want, char **at, size_t *room);
void ipc_frame_added(struct ipc_frame *f, size_t n);

/*
 * The next whole message, a JSON object owned by the caller.  ERR_NOTFOUND when there is
 * none yet, ERR_MALFORMED when what ended with a NUL is no JSON object.
 */
int ipc_frame_next(struct ipc_frame *f, json_t **message);

/* The message as bytes with its NUL, to be freed by the caller; NULL when memory is
 * short. */
char *ipc_frame_encode(const json_t *message, size_t *len);
