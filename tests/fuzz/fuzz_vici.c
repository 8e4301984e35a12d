/*
 * What charon sends: a stream of VICI packets, read to the last element.  A message that
 * reads well must write back to the same bytes.
 */
#include "fuzz.h"
#include "ike/vici_msg.h"

#include <string.h>

static void put(struct wr *w, const struct vici_element *e)
{
	char name[VICI_NAME_MAX + 1] = "";

	if (e->name_len > 0)
		memcpy(name, e->name, e->name_len);
	/* The writer takes C strings: a NUL in a name would cut it. */
	if (strlen(name) != e->name_len)
		w->bad = true;
	switch (e->kind) {
	case VICI_SECTION:
		vici_section(w, name);
		break;
	case VICI_SECTION_END:
		vici_section_end(w);
		break;
	case VICI_KEY:
		vici_key_bytes(w, name, e->value, e->len);
		break;
	case VICI_LIST:
		vici_list(w, name);
		break;
	case VICI_ITEM:
		vici_item_bytes(w, e->value, e->len);
		break;
	case VICI_LIST_END:
		vici_list_end(w);
		break;
	default:
		break;
	}
}

static void message(const uint8_t *body, size_t len)
{
	static uint8_t again[65536];
	struct vici_rd r = vici_rd_init(body, len);
	struct wr w = wr_init(again, sizeof(again));
	struct vici_element e;
	char text[16];

	(void)vici_text(body, len, "up", text, sizeof(text));
	MUST(strlen(text) < sizeof(text));
	while (vici_next(&r, &e) != VICI_END && e.kind != VICI_BAD) {
		MUST(e.depth <= VICI_DEPTH_MAX);
		MUST(e.value == NULL ||
			(e.value >= body && e.value + e.len <= body + len));
		put(&w, &e);
	}
	MUST(vici_next(&r, &e) == VICI_END || e.kind == VICI_BAD);
	if (e.kind == VICI_END && !w.bad) {
		MUST(wr_len(&w) == len);
		MUST(len == 0 || memcmp(again, body, len) == 0);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t at = 0;
	int n;

	while ((n = vici_frame(data + at, size - at)) > 0 && (size_t)n <= size - at) {
		struct vici_in in;

		if (vici_open(data + at + 4, (size_t)n - 4, &in) == 0) {
			MUST(in.body + in.len == data + at + n);
			message(in.body, in.len);
		}
		at += (size_t)n;
	}
	return 0;
}
