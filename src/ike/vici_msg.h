#pragma once

#include "base/rd.h"
#include "base/wr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The bytes of strongSwan's VICI: packets behind a four-byte length, in them named
 * sections, keys and lists.  Pure: no socket, no allocation.
 */

#define VICI_PACKET_MAX ((size_t)512 * 1024) /* charon itself takes no more */
#define VICI_DEPTH_MAX  16
#define VICI_NAME_MAX   255

enum vici_packet {
	VICI_REQUEST = 0,
	VICI_RESPONSE,
	VICI_UNKNOWN_COMMAND,
	VICI_REGISTER,
	VICI_UNREGISTER,
	VICI_CONFIRM,
	VICI_UNKNOWN_EVENT,
	VICI_EVENT,
};

/* --- writing --------------------------------------------------------------------------
 * A name longer than 255 bytes or a value longer than 65,535 makes the writer bad.
 */

/* A packet's head behind its length; name is NULL where the type has none. */
void vici_head(struct wr *w, enum vici_packet type, const char *name);
void vici_section(struct wr *w, const char *name);
void vici_section_end(struct wr *w);
void vici_key(struct wr *w, const char *name, const char *text);
void vici_key_bytes(struct wr *w, const char *name, const void *bytes, size_t len);
void vici_list(struct wr *w, const char *name);
void vici_item(struct wr *w, const char *text);
void vici_item_bytes(struct wr *w, const void *bytes, size_t len);
void vici_list_end(struct wr *w);
/* A list of one text. */
void vici_one(struct wr *w, const char *name, const char *text);

/* --- reading --------------------------------------------------------------------------
 */

/* What a packet is; body and name borrow from it. */
struct vici_in {
	enum vici_packet type;
	char name[VICI_NAME_MAX + 1]; /* "" where the type has none */
	const uint8_t *body;
	size_t len;
};

/*
 * How long the first packet of a stream is with its length bytes: 0 when more is needed
 * to know, ERR_MALFORMED for one that is empty or over VICI_PACKET_MAX.
 */
int vici_frame(const uint8_t *stream, size_t left);
/* A packet without its length bytes.  0 or ERR_MALFORMED. */
int vici_open(const uint8_t *packet, size_t len, struct vici_in *in);

enum vici_kind {
	VICI_END, /* of the message */
	VICI_SECTION,
	VICI_SECTION_END,
	VICI_KEY,
	VICI_LIST,
	VICI_ITEM,
	VICI_LIST_END,
	VICI_BAD, /* does not follow the format; stays so */
};

struct vici_element {
	enum vici_kind kind;
	const uint8_t *name; /* not for ITEM and the ends */
	size_t name_len;
	const uint8_t *value; /* KEY, ITEM */
	size_t len;
	unsigned int
		depth; /* sections around it; of SECTION and its end, itself left out */
};

struct vici_rd {
	struct rd r;
	unsigned int depth;
	bool list, bad;
};

struct vici_rd vici_rd_init(const uint8_t *body, size_t len);
/* The next element; after END and BAD the same again. */
enum vici_kind vici_next(struct vici_rd *r, struct vici_element *e);
bool vici_named(const struct vici_element *e, const char *name);

/*
 * The text of a key (or a list's first item) at the top of a message, cut to size; false
 * where there is none.  Bytes that are no printable ASCII become '?'.
 */
bool vici_text(
	const uint8_t *body, size_t len, const char *name, char *to, size_t to_size);
/* The value of an element in the same way. */
void vici_value(const struct vici_element *e, char *to, size_t to_size);
