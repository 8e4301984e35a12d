/*
 * VICI's bytes.  A message is read element by element, so that a hostile or broken one
 * costs no memory; what a reader has seen before it turned bad, its caller throws away.
 */
#include "ike/vici_msg.h"

#include "base/err.h"

/* The numbers on the wire. */
enum {
	SECTION_START = 1,
	SECTION_END,
	KEY_VALUE,
	LIST_START,
	LIST_ITEM,
	LIST_END,
};

static void put_name(struct wr *w, const char *name)
{
	size_t len = strlen(name);

	if (len > VICI_NAME_MAX)
		w->bad = true;
	wr_u8(w, (uint8_t)len);
	wr_bytes(w, name, len);
}

static void put_value(struct wr *w, const void *bytes, size_t len)
{
	if (len > UINT16_MAX)
		w->bad = true;
	wr_u16(w, (uint16_t)len);
	wr_bytes(w, bytes, len);
}

static void put_named(struct wr *w, uint8_t element, const char *name)
{
	wr_u8(w, element);
	put_name(w, name);
}

void vici_head(struct wr *w, enum vici_packet type, const char *name)
{
	wr_u8(w, (uint8_t)type);
	if (name != NULL)
		put_name(w, name);
}

void vici_section(struct wr *w, const char *name)
{
	put_named(w, SECTION_START, name);
}

void vici_section_end(struct wr *w)
{
	wr_u8(w, SECTION_END);
}

void vici_key_bytes(struct wr *w, const char *name, const void *bytes, size_t len)
{
	put_named(w, KEY_VALUE, name);
	put_value(w, bytes, len);
}

void vici_key(struct wr *w, const char *name, const char *text)
{
	vici_key_bytes(w, name, text, strlen(text));
}

void vici_list(struct wr *w, const char *name)
{
	put_named(w, LIST_START, name);
}

void vici_item_bytes(struct wr *w, const void *bytes, size_t len)
{
	wr_u8(w, LIST_ITEM);
	put_value(w, bytes, len);
}

void vici_item(struct wr *w, const char *text)
{
	vici_item_bytes(w, text, strlen(text));
}

void vici_list_end(struct wr *w)
{
	wr_u8(w, LIST_END);
}

void vici_one(struct wr *w, const char *name, const char *text)
{
	vici_list(w, name);
	vici_item(w, text);
	vici_list_end(w);
}

int vici_frame(const uint8_t *stream, size_t left)
{
	struct rd r = rd_init(stream, left);
	uint32_t len = rd_u32(&r);

	if (r.bad)
		return 0;
	if (len == 0 || len > VICI_PACKET_MAX)
		return ERR_MALFORMED;
	return (int)len + 4;
}

int vici_open(const uint8_t *packet, size_t len, struct vici_in *in)
{
	struct rd r = rd_init(packet, len);
	uint8_t type = rd_u8(&r);

	*in = (struct vici_in){ 0 };
	if (r.bad || type > VICI_EVENT)
		return ERR_MALFORMED;
	in->type = (enum vici_packet)type;
	if (type == VICI_REQUEST || type == VICI_REGISTER || type == VICI_UNREGISTER ||
		type == VICI_EVENT)
		rd_bytes(&r, in->name, rd_u8(&r));
	in->body = r.p;
	in->len = rd_left(&r);
	return r.bad ? ERR_MALFORMED : 0;
}

struct vici_rd vici_rd_init(const uint8_t *body, size_t len)
{
	return (struct vici_rd){ .r = rd_init(body, len) };
}

static void get_name(struct vici_rd *r, struct vici_element *e)
{
	e->name_len = rd_u8(&r->r);
	e->name = rd_take(&r->r, e->name_len);
}

static void get_value(struct vici_rd *r, struct vici_element *e)
{
	e->len = rd_u16(&r->r);
	e->value = rd_take(&r->r, e->len);
}

/* What may stand here: in a list items only, elsewhere everything else. */
static enum vici_kind get_element(struct vici_rd *r, struct vici_element *e, uint8_t byte)
{
	if (r->list != (byte == LIST_ITEM || byte == LIST_END))
		return VICI_BAD;
	switch (byte) {
	case SECTION_START:
		get_name(r, e);
		return ++r->depth <= VICI_DEPTH_MAX ? VICI_SECTION : VICI_BAD;
	case SECTION_END:
		if (r->depth == 0)
			return VICI_BAD;
		e->depth = --r->depth;
		return VICI_SECTION_END;
	case KEY_VALUE:
		get_name(r, e);
		get_value(r, e);
		return VICI_KEY;
	case LIST_START:
		get_name(r, e);
		r->list = true;
		return VICI_LIST;
	case LIST_ITEM:
		get_value(r, e);
		return VICI_ITEM;
	case LIST_END:
		r->list = false;
		return VICI_LIST_END;
	default:
		return VICI_BAD;
	}
}

enum vici_kind vici_next(struct vici_rd *r, struct vici_element *e)
{
	*e = (struct vici_element){ .kind = VICI_BAD, .depth = r->depth };
	if (!r->bad && rd_left(&r->r) == 0) {
		r->bad = r->depth > 0 || r->list;
		if (!r->bad)
			e->kind = VICI_END;
		return e->kind;
	}
	if (!r->bad) {
		e->kind = get_element(r, e, rd_u8(&r->r));
		r->bad = e->kind == VICI_BAD || r->r.bad;
	}
	if (r->bad)
		*e = (struct vici_element){ .kind = VICI_BAD };
	return e->kind;
}

bool vici_named(const struct vici_element *e, const char *name)
{
	return e->name != NULL && e->name_len == strlen(name) &&
	       memcmp(e->name, name, e->name_len) == 0;
}

void vici_value(const struct vici_element *e, char *to, size_t to_size)
{
	size_t n = e->len < to_size - 1 ? e->len : to_size - 1;

	for (size_t i = 0; i < n; i++) {
		char c = (char)e->value[i];

		to[i] = c;
		if (c < ' ' || c == 127)
			to[i] = '?';
	}
	to[n] = 0;
}

bool vici_text(
	const uint8_t *body, size_t len, const char *name, char *to, size_t to_size)
{
	struct vici_rd r = vici_rd_init(body, len);
	struct vici_element e;
	bool list = false;

	to[0] = 0;
	while (vici_next(&r, &e) != VICI_END && e.kind != VICI_BAD) {
		if (e.depth != 0)
			continue;
		if ((e.kind == VICI_KEY && vici_named(&e, name)) ||
			(e.kind == VICI_ITEM && list)) {
			vici_value(&e, to, to_size);
			return true;
		}
		if (e.kind == VICI_LIST)
			list = vici_named(&e, name);
	}
	return false;
}
