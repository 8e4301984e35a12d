#pragma once

#include "gateway/control.h"

/*
 * The status page: files that are part of the program, and the JSON that they ask for.
 * Read only; what it costs is bounded whatever the number of leases and viewers.
 */
#define PAGE_EVENTS 24

/* An event worth a line, without its object. */
struct page_event {
	enum event_kind kind;
	uint64_t wall_ms;
	uint32_t host, address;
	enum end_reason reason;
	uint16_t error;
	bool high;
};

struct page {
	struct control_source *source;
	struct event_sink sink;
	struct page_event latest[PAGE_EVENTS]; /* a ring */
	size_t n;                              /* that there ever were */
	char *text; /* the last answer, and when and how long */
	size_t len;
	uint64_t made_ns, took_ns;
};

void page_open(struct page *p, struct control_source *source, struct events *events);
void page_close(struct page *p);
/* For metrics_http_conf: the context is the control_source. */
const void *page_file(void *source, const char *url, const char **type, size_t *len);
