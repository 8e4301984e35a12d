#pragma once

#include <stddef.h>
#include <stdint.h>

/* The files of src/gateway/page, put in at build time by tools/embed. */
struct page_asset {
	const char *name;
	const uint8_t *bytes;
	size_t len;
};
extern const struct page_asset page_assets[]; /* ends with a NULL name */
